#include "frontend/onnx/build.h"
#include "runtime/float_convert.h"
#include <string.h>

tsr_expr e_min(tsr_lower *l, tsr_expr a, tsr_expr b) {
  if (a == b || tsr_expr_prove_nonnegative(l->ir, e_sub(l, b, a), NULL, 0))
    return a;
  if (tsr_expr_prove_nonnegative(l->ir, e_sub(l, a, b), NULL, 0))
    return b;
  return tsr_expr_binary(l->ir, TSR_INDEX_MIN, a, b);
}

tsr_expr e_max(tsr_lower *l, tsr_expr a, tsr_expr b) {
  tsr_expr smaller = e_min(l, a, b);
  if (smaller == a)
    return b;
  return smaller == b ? a : tsr_expr_binary(l->ir, TSR_INDEX_MAX, a, b);
}

tsr_value v_reduce_keep(tsr_lower *l, tsr_value x, const char *combine, const int64_t *axes,
                        uint32_t count) {
  tsr_expr dims[TSR_MAX_RANK];
  if (!x || count == 0)
    return x;
  uint32_t rank = v_rank(l, x);
  for (uint32_t i = 0; i < rank; i++)
    dims[i] = v_dim(l, x, i);
  for (uint32_t i = 0; i < count; i++)
    dims[axes[i]] = e_int(l, 1);
  return v_reshape(l, tsr_graph_reduce(l->b, x, combine, axes, count), dims, rank);
}

tsr_value v_extent(tsr_lower *l, tsr_value x, const int64_t *axes, uint32_t count,
                   tsr_dtype dtype) {
  tsr_expr product = e_int(l, 1);
  int64_t number;
  for (uint32_t i = 0; i < count; i++)
    product = e_mul(l, product, v_dim(l, x, (uint32_t)axes[i]));
  if (tsr_expr_is_int(l->ir, product, &number))
    return tsr_graph_scalar_int(l->b, dtype, number);
  return v_cast(l, tsr_graph_index(l->b, TSR_I64, product), dtype);
}

tsr_value v_mean_keep(tsr_lower *l, tsr_value x, const int64_t *axes, uint32_t count) {
  tsr_value sum = v_reduce_keep(l, x, "add", axes, count);
  return v_div(l, sum, v_extent(l, x, axes, count, v_dtype(l, x)));
}

tsr_value v_unsqueeze(tsr_lower *l, tsr_value x, uint32_t axis) {
  tsr_expr dims[TSR_MAX_RANK + 1];
  uint32_t rank = v_rank(l, x);
  for (uint32_t i = 0; i <= rank; i++)
    dims[i] = i == axis ? e_int(l, 1) : v_dim(l, x, i < axis ? i : i - 1);
  return v_reshape(l, x, dims, rank + 1);
}

tsr_value v_along(tsr_lower *l, tsr_value x, uint32_t axis, uint32_t rank) {
  tsr_expr dims[TSR_MAX_RANK];
  for (uint32_t i = 0; i < rank; i++)
    dims[i] = i == axis ? v_dim(l, x, 0) : e_int(l, 1);
  return v_reshape(l, x, dims, rank);
}

tsr_value v_slice_axis(tsr_lower *l, tsr_value x, uint32_t axis, tsr_expr start, tsr_expr extent) {
  tsr_expr starts[TSR_MAX_RANK], extents[TSR_MAX_RANK];
  int64_t steps[TSR_MAX_RANK];
  uint32_t rank = v_rank(l, x);
  for (uint32_t i = 0; i < rank; i++) {
    starts[i] = i == axis ? start : e_int(l, 0);
    extents[i] = i == axis ? extent : v_dim(l, x, i);
    steps[i] = 1;
  }
  return tsr_graph_slice(l->b, x, starts, steps, extents);
}

tsr_value v_fit_axis(tsr_lower *l, tsr_value x, uint32_t axis, tsr_expr extent, double fill) {
  tsr_expr low[TSR_MAX_RANK], high[TSR_MAX_RANK];
  if (!x || axis >= v_rank(l, x) || v_dim(l, x, axis) == extent)
    return x;
  for (uint32_t i = 0; i < v_rank(l, x); i++)
    low[i] = high[i] = e_int(l, 0);
  high[axis] = e_sub(l, extent, v_dim(l, x, axis));
  return tsr_graph_pad(l->b, x, v_number(l, x, fill), low, high, NULL, "constant");
}

tsr_value v_move_axis(tsr_lower *l, tsr_value x, uint32_t from, uint32_t to) {
  int64_t perm[TSR_MAX_RANK];
  uint32_t rank = v_rank(l, x), next = 0;
  if (from == to)
    return x;
  for (uint32_t i = 0; i < rank; i++) {
    next += next == from;
    perm[i] = i == to ? from : next++;
  }
  return tsr_graph_transpose(l->b, x, perm);
}

tsr_value v_vector_i64(tsr_lower *l, const int64_t *numbers, uint32_t count) {
  int64_t dim = count;
  return tsr_graph_const(l->b, TSR_I64, &dim, 1, numbers, true);
}

tsr_value v_vector_float(tsr_lower *l, tsr_dtype dtype, const double *numbers, uint32_t count) {
  int64_t dim = count;
  char *bytes = tsr_lower_alloc(l, count, sizeof(double));
  for (uint32_t i = 0; bytes && i < count; i++)
    tsr_element_store_f64(dtype, bytes, i, numbers[i]);
  return bytes ? tsr_graph_const(l->b, dtype, &dim, 1, bytes, false) : 0;
}

tsr_value v_to_scalar(tsr_lower *l, tsr_value x) {
  return v_rank(l, x) == 0 ? x : v_reshape(l, x, NULL, 0);
}

/* One division for each row: the sum lies in 1..count (the greatest element gives 1), so that its
 * reciprocal is a normal number. */
tsr_value v_softmax(tsr_lower *l, tsr_value x, const int64_t *axes, uint32_t count) {
  tsr_value wide = v_widen(l, x);
  tsr_value shifted = v_sub(l, wide, v_reduce_keep(l, wide, "max", axes, count));
  tsr_value e = v_exp(l, shifted);
  tsr_value y = v_mul(l, e, v_recip(l, v_reduce_keep(l, e, "add", axes, count)));
  return v_cast(l, y, v_dtype(l, x));
}

/* exp(-x) may become infinite: the result is then 0, as it should. */
tsr_value v_sigmoid(tsr_lower *l, tsr_value x) {
  return v_recip(l, v_add_number(l, v_exp(l, v_neg(l, x)), 1));
}

tsr_value v_clip(tsr_lower *l, tsr_value x, double low, double high) {
  return v_min(l, v_max(l, x, v_number(l, x, low)), v_number(l, x, high));
}

/* --- matmul --- */

typedef struct spec {
  char text[3 * TSR_MAX_RANK + 8];
  uint32_t length;
} spec;

static void put(spec *s, char letter) {
  s->text[s->length++] = letter;
  s->text[s->length] = '\0';
}

/* Removes batch dims that are 1 and broadcast: they need no letter. `keep` marks what stays. */
static tsr_value drop_ones(tsr_lower *l, tsr_value x, uint32_t keep) {
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t rank = v_rank(l, x), kept = 0;
  for (uint32_t i = 0; i < rank; i++)
    if ((keep >> i & 1) != 0)
      dims[kept++] = v_dim(l, x, i);
  return v_reshape(l, x, dims, kept);
}

typedef struct batch_side {
  tsr_value x;
  uint32_t batch; /* leading axes */
  uint32_t keep;
  spec letters;
} batch_side;

static void begin_side(tsr_lower *l, batch_side *side, tsr_value x) {
  uint32_t rank = v_rank(l, x);
  memset(side, 0, sizeof *side);
  side->x = x;
  side->batch = rank >= 2 ? rank - 2 : 0;
  for (uint32_t i = side->batch; i < rank; i++)
    side->keep |= 1u << i;
}

/* Batch axis `i` of the result (of `batch`), from the left: gives the sides their letters. */
static void batch_letter(tsr_lower *l, batch_side *x, batch_side *y, uint32_t i, uint32_t batch,
                         char letter) {
  batch_side *sides[2] = {x, y};
  tsr_expr dims[2] = {0, 0};
  for (int k = 0; k < 2; k++)
    if (i + sides[k]->batch >= batch)
      dims[k] = v_dim(l, sides[k]->x, i + sides[k]->batch - batch);
  for (int k = 0; k < 2; k++) {
    bool one = dims[k] && tsr_expr_equals_int(l->ir, dims[k], 1);
    if (!dims[k] || (one && dims[1 - k] && dims[1 - k] != dims[k]))
      continue;
    put(&sides[k]->letters, letter);
    sides[k]->keep |= 1u << (i + sides[k]->batch - batch);
  }
}

/* The result is [batch, m, n] without the axes that a vector operand lacks. */
tsr_value v_matmul(tsr_lower *l, tsr_value x, tsr_value y, bool transpose_x, bool transpose_y) {
  if (!x || !y)
    return 0;
  uint32_t rank_x = v_rank(l, x), rank_y = v_rank(l, y);
  if (rank_x == 0 || rank_y == 0)
    return tsr_ir_poison(l->ir, TSR_ERR_SHAPE, "matrix product of a scalar");
  batch_side a, b;
  spec all = {{0}, 0};
  begin_side(l, &a, x);
  begin_side(l, &b, y);
  uint32_t batch = a.batch > b.batch ? a.batch : b.batch;
  for (uint32_t i = 0; i < batch; i++) {
    batch_letter(l, &a, &b, i, batch, (char)('a' + i));
    put(&all, (char)('a' + i));
  }
  if (rank_x > 1)
    put(&a.letters, transpose_x ? 'y' : 'x');
  put(&a.letters, transpose_x && rank_x > 1 ? 'x' : 'y');
  if (rank_y > 1 && transpose_y)
    put(&b.letters, 'z');
  put(&b.letters, 'y');
  if (rank_y > 1 && !transpose_y)
    put(&b.letters, 'z');
  if (rank_x > 1)
    put(&all, 'x');
  if (rank_y > 1)
    put(&all, 'z');
  char text[3 * sizeof a.letters.text];
  memset(text, 0, sizeof text);
  strcat(strcat(strcat(text, a.letters.text), ","), b.letters.text);
  strcat(strcat(text, "->"), all.text);
  return tsr_graph_einsum(l->b, text, drop_ones(l, x, a.keep), drop_ones(l, y, b.keep));
}
