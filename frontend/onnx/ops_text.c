/* TfIdfVectorizer over integers and texts: each n-gram of the pool is compared with the row at
 * every position and distance at once. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"
#include <string.h>

typedef struct grams {
  tsr_lower *l;
  tsr_value rows;  /* i64 [B, C] */
  tsr_value found; /* i32 [B, outputs], counts so far; 0: none yet */
  int64_t outputs, skips, least, most;
  const int64_t *pool, *columns; /* of the result, by number of the n-gram */
  uint32_t pool_size, column_count;
} grams;

/* The counts of `count` n-grams of `size`, the first of which is number `first`, [B, count]. */
static tsr_value count_grams(const grams *g, const int64_t *items, uint32_t count, int64_t size,
                             int64_t distance) {
  tsr_lower *l = g->l;
  static const int64_t last = 2;
  tsr_value here = 0;
  tsr_expr width = v_dim(l, g->rows, 1), zero = e_int(l, 0);
  tsr_expr low[2] = {zero, zero}, high[2] = {zero, e_int(l, distance * (size - 1))};
  tsr_value padded =
      tsr_graph_pad(l->b, g->rows, v_number(l, g->rows, 0), low, high, NULL, "constant");
  int64_t *column = tsr_lower_alloc(l, count, sizeof *column);
  if (!column)
    return 0;
  for (int64_t i = 0; i < size; i++) {
    for (uint32_t k = 0; k < count; k++)
      column[k] = items[k * size + i];
    tsr_value shifted = v_slice_axis(l, padded, 1, e_int(l, i * distance), width);
    tsr_value same =
        v_eq(l, v_unsqueeze(l, shifted, 1), v_along(l, v_vector_i64(l, column, count), 1, 3));
    here = here ? v_and(l, here, same) : same;
  }
  /* An n-gram must end inside the row. */
  tsr_value end = tsr_graph_index(l->b, TSR_I64, e_sub(l, width, high[1]));
  here = v_and(l, here, v_lt(l, tsr_graph_iota(l->b, TSR_I64, &width, 1, 0), end));
  return tsr_graph_reduce(l->b, v_cast(l, here, TSR_I32), "add", &last, 1);
}

/* Marks the n-grams that occur again further on. */
static bool *find_repeated(tsr_lower *l, const int64_t *items, uint32_t count, int64_t size) {
  size_t bytes = (size_t)size * sizeof *items;
  uint64_t room = 4;
  while (room < 2 * (uint64_t)count)
    room *= 2;
  bool *repeated = tsr_lower_alloc(l, count, sizeof *repeated);
  uint32_t *table = tsr_lower_alloc(l, room, sizeof *table); /* number + 1 */
  if (!repeated || !table)
    return NULL;
  memset(table, 0, (size_t)room * sizeof *table);
  for (uint32_t k = count; k-- > 0;) {
    const int64_t *gram = items + k * size;
    uint64_t at = 0;
    for (int64_t i = 0; i < size; i++)
      at = (at ^ (uint64_t)gram[i]) * 0x9E3779B97F4A7C15u;
    at = (at >> 32) & (room - 1);
    while (table[at] && memcmp(gram, items + (table[at] - 1) * size, bytes) != 0)
      at = (at + 1) & (room - 1);
    repeated[k] = table[at] != 0;
    table[at] = k + 1;
  }
  return repeated;
}

/* Adds the n-grams of one size; one that the pool repeats later counts there only. */
static void add_size(grams *g, const int64_t *items, uint32_t count, int64_t size, uint32_t first) {
  tsr_lower *l = g->l;
  int64_t *kept = tsr_lower_alloc(l, (uint64_t)count * (uint64_t)size, sizeof *kept);
  int64_t *columns = tsr_lower_alloc(l, count, sizeof *columns);
  size_t bytes = (size_t)size * sizeof *kept;
  uint32_t used = 0;
  tsr_value sum = 0;
  const bool *repeated = find_repeated(l, items, count, size);
  if (!kept || !columns || !repeated)
    return;
  for (uint32_t k = 0; k < count; k++) {
    if (repeated[k])
      continue;
    memcpy(kept + used * size, items + k * size, bytes);
    columns[used++] = g->columns[first + k];
  }
  if (used == 0)
    return;
  /* Single items do not depend on the distance. */
  for (int64_t distance = 1; distance <= (size == 1 ? 1 : g->skips + 1); distance++) {
    tsr_value part = count_grams(g, kept, used, size, distance);
    sum = sum ? v_add(l, sum, part) : part;
  }
  tsr_expr dims[2] = {v_dim(l, g->rows, 0), e_int(l, used)};
  tsr_value at = v_along(l, v_vector_i64(l, columns, used), 1, 2);
  at = tsr_graph_broadcast(l->b, at, dims, 2);
  g->found = tsr_graph_scatter_elements(l->b, g->found, at, sum, 1, "add");
}

static tsr_status read_grams(tsr_lower *l, grams *g) {
  memset(g, 0, sizeof *g);
  g->l = l;
  TSR_TRY(tsr_lower_need(l, 1));
  bool text = tsr_lower_is_text(l, 0);
  g->pool = text ? tsr_lower_text_numbers(l, "pool_strings", &g->pool_size)
                 : tsr_lower_ints(l, "pool_int64s", &g->pool_size);
  g->columns = tsr_lower_ints(l, "ngram_indexes", &g->column_count);
  g->skips = tsr_lower_int(l, "max_skip_count", 0);
  g->least = tsr_lower_int(l, "min_gram_length", 1);
  g->most = tsr_lower_int(l, "max_gram_length", 1);
  if (!g->pool)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "%s is missing",
                           text ? "pool_strings" : "pool_int64s");
  if (g->skips < 0 || g->skips > 64)
    return tsr_lower_unsupported(l, "max_skip_count %lld; 0 to 64 are", (long long)g->skips);
  for (uint32_t i = 0; i < g->column_count; i++) {
    if (g->columns[i] < 0 || g->columns[i] >= INT32_MAX)
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "ngram_indexes has %lld", (long long)g->columns[i]);
    g->outputs = g->columns[i] >= g->outputs ? g->columns[i] + 1 : g->outputs;
  }
  tsr_value x = tsr_lower_value(l, 0);
  uint32_t rank = v_rank(l, x);
  if (rank > 2 || v_is_float(l, x))
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "needs integers of rank 1 or 2, not rank %u", rank);
  tsr_expr dims[2] = {e_int(l, 1), e_int(l, 1)};
  for (uint32_t i = 0; i < rank; i++)
    dims[i + 2 - rank] = v_dim(l, x, i);
  g->rows = v_cast(l, v_reshape(l, x, dims, 2), TSR_I64);
  dims[1] = e_int(l, g->outputs);
  g->found = tsr_graph_splat(l->b, TSR_I32, 0, dims, 2);
  return TSR_OK;
}

static tsr_status add_all_sizes(grams *g) {
  tsr_lower *l = g->l;
  uint32_t sizes, number = 0;
  const int64_t *starts = tsr_lower_ints(l, "ngram_counts", &sizes);
  for (uint32_t i = 0; starts && i < sizes; i++) {
    int64_t end = i + 1 < sizes ? starts[i + 1] : (int64_t)g->pool_size, size = (int64_t)i + 1;
    if (starts[i] < 0 || end < starts[i] || end > (int64_t)g->pool_size)
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "ngram_counts does not fit the pool");
    uint32_t count = (uint32_t)((end - starts[i]) / size);
    if (count > g->column_count - number)
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%u ngram_indexes are too few", g->column_count);
    if (size >= g->least && size <= g->most && count > 0)
      add_size(g, g->pool + starts[i], count, size, number);
    number += count;
  }
  return TSR_OK;
}

tsr_status tsr_lower_op_tf_idf(tsr_lower *l) {
  grams g;
  uint32_t weight_count;
  TSR_TRY(read_grams(l, &g));
  TSR_TRY(add_all_sizes(&g));
  const char *mode = tsr_lower_text(l, "mode", "");
  const float *weights = tsr_lower_floats(l, "weights", &weight_count);
  bool idf = strcmp(mode, "IDF") == 0, plain = strcmp(mode, "TF") == 0;
  if (!idf && !plain && strcmp(mode, "TFIDF") != 0)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "mode '%s'", mode);
  tsr_value y = g.found;
  if (idf)
    y = v_gt(l, y, v_number(l, y, 0));
  y = v_cast(l, y, TSR_F32);
  /* The i-th weight is that of the i-th n-gram, wherever in the result it is counted. */
  if (!plain && weights) {
    double *numbers = tsr_lower_alloc(l, (uint64_t)g.outputs, sizeof *numbers);
    if (weight_count < g.column_count)
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%u weights for %u n-grams", weight_count,
                             g.column_count);
    for (int64_t i = 0; numbers && i < g.outputs; i++)
      numbers[i] = 0;
    for (uint32_t i = 0; numbers && i < g.column_count; i++)
      numbers[g.columns[i]] = (double)weights[i];
    if (numbers)
      y = v_mul(l, y, v_vector_float(l, TSR_F32, numbers, (uint32_t)g.outputs));
  }
  tsr_expr dim = e_int(l, g.outputs);
  tsr_lower_set(l, 0, l->in[0]->rank == 2 ? y : v_reshape(l, y, &dim, 1));
  return TSR_OK;
}
