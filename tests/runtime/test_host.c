/* Host programs: control flow, lists, maybes and texts around parts that are written by hand. */
#include "runtime/exec/exec.h"
#include "runtime/module/program_check.h"
#include "runtime/module/writer.h"
#include "tests/runtime/host_models.h"
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

typedef struct machine {
  tsr_module *module;
  tsr_exec *exec;
} machine;

static tsr_module *load(const tsr_program *program, const tsr_allocator *allocator) {
  tsr_module_options options = {.size = sizeof options, .allocator = allocator};
  tsr_module *module;
  tsr_message message;
  tsr_diag diag;
  void *data;
  size_t size;
  tsr_diag_clear(&diag);
  ck_assert_msg(tsr_module_write_memory(&program, 1, NULL, &data, &size, &diag) == TSR_OK, "%s",
                diag.message);
  ck_assert_msg(tsr_module_load_memory(data, size, &options, &module, &message) == TSR_OK, "%s",
                message.text);
  free(data);
  return module;
}

static tsr_exec *create(tsr_module *module) {
  tsr_exec_options options = {.size = sizeof options, .threads = 1};
  tsr_exec *exec;
  tsr_message message;
  ck_assert_msg(tsr_exec_create(module, &options, &exec, &message) == TSR_OK, "%s", message.text);
  return exec;
}

static machine start(host_builder *b) {
  machine m;
  m.module = load(hb_finish(b), NULL);
  m.exec = create(m.module);
  hb_end(b);
  return m;
}

static void stop(machine m) {
  tsr_exec_destroy(m.exec);
  tsr_module_release(m.module);
}

static void must(tsr_exec *exec, tsr_status status) {
  ck_assert_msg(status == TSR_OK, "%s", tsr_exec_last_error(exec));
}

static void bind(tsr_exec *exec, uint32_t index, int32_t *data, int64_t n) {
  DLTensor tensor = test_tensor(data, TSR_I32, &n, 1);
  must(exec, tsr_exec_bind_input(exec, index, &tensor));
}

static void bind_scalar(tsr_exec *exec, uint32_t index, void *data, tsr_dtype dtype) {
  DLTensor tensor = test_tensor(data, dtype, NULL, 0);
  must(exec, tsr_exec_bind_input(exec, index, &tensor));
}

/* Output `index`, item `item`, is the i32 vector. */
static void check_vector(tsr_exec *exec, uint32_t index, uint64_t item, const int32_t *wanted,
                         int64_t n) {
  DLTensor tensor;
  must(exec, tsr_exec_output_item(exec, index, item, &tensor));
  ck_assert_int_eq(tensor.ndim, 1);
  ck_assert_int_eq(tensor.shape[0], n);
  ck_assert_int_eq(tensor.device.device_type, kDLCPU);
  for (int64_t i = 0; i < n; i++)
    ck_assert_int_eq(((const int32_t *)tensor.data)[i], wanted[i]);
}

static void check_scalar(tsr_exec *exec, uint32_t index, int64_t wanted) {
  DLTensor tensor;
  must(exec, tsr_exec_output(exec, index, &tensor));
  ck_assert_int_eq(tensor.ndim, 0);
  ck_assert_int_eq(tensor.dtype.bits == 64  ? *(const int64_t *)tensor.data
                   : tensor.dtype.bits == 8 ? *(const uint8_t *)tensor.data
                                            : *(const int32_t *)tensor.data,
                   wanted);
}

static void refused(tsr_exec *exec, tsr_status status, tsr_status wanted, const char *text) {
  ck_assert_int_eq(status, wanted);
  ck_assert_msg(strstr(tsr_exec_last_error(exec), text) != NULL, "'%s' has no '%s'",
                tsr_exec_last_error(exec), text);
}

/* ---- Loops ---- */

START_TEST(loops_count) {
  static const int64_t turns[] = {0, 1, 2, 3, 1000, 0, 5}, sizes[] = {5, 5, 0, 1, 7, 100, 100};
  host_builder b;
  machine m;
  int32_t x[100], l[1000], y[100];
  build_counted(&b);
  m = start(&b);
  for (int i = 0; i < 7; i++) {
    for (int j = 0; j < 100; j++) {
      x[j] = j * i;
      y[j] = x[j] + (int32_t)turns[i];
    }
    bind(m.exec, 0, x, sizes[i]);
    bind(m.exec, 1, l, turns[i]);
    for (int run = 0; run < 2; run++) {
      tsr_exec_stats stats;
      int64_t n;
      must(m.exec, tsr_exec_run(m.exec));
      check_vector(m.exec, 0, 0, y, sizes[i]);
      check_vector(m.exec, 1, 0, x, sizes[i]);
      tsr_exec_get_stats(m.exec, &stats);
      ck_assert_uint_eq(stats.launches, sizes[i] != 0 ? (uint64_t)turns[i] : 0);
      must(m.exec, tsr_exec_dim_value(m.exec, 0, &n));
      ck_assert_int_eq(n, sizes[i]);
    }
  }
  stop(m);
}
END_TEST

START_TEST(many_turns_need_no_new_memory) {
  host_builder b;
  test_heap heap;
  tsr_module *module;
  tsr_exec *exec;
  tsr_exec_options options = {.size = sizeof options, .threads = 1};
  tsr_exec_stats before, after;
  int32_t x[3] = {1, 2, 3}, l[20000], y[3] = {10001, 10002, 10003};
  int calls;
  build_counted(&b);
  test_heap_init(&heap, 0);
  options.allocator = &heap.allocator;
  module = load(hb_finish(&b), NULL);
  must(NULL, tsr_exec_create(module, &options, &exec, NULL));
  bind(exec, 0, x, 3);
  bind(exec, 1, l, 10);
  must(exec, tsr_exec_run(exec));
  tsr_exec_get_stats(exec, &before);
  calls = atomic_load(&heap.calls);
  bind(exec, 1, l, 10000);
  must(exec, tsr_exec_run(exec));
  check_vector(exec, 0, 0, y, 3);
  tsr_exec_get_stats(exec, &after);
  ck_assert_int_le(atomic_load(&heap.calls) - calls, 4);
  ck_assert_uint_eq(before.plans, after.plans);
  ck_assert_uint_ge(after.persistent_bytes, 2 * sizeof x);
  ck_assert_uint_le(after.persistent_bytes, 4 * sizeof x);
  tsr_exec_destroy(exec);
  tsr_module_release(module);
  ck_assert_int_eq(atomic_load(&heap.live), 0);
  hb_end(&b);
}
END_TEST

START_TEST(loops_nest_and_stop) {
  for (int64_t turns = 0; turns < 5; turns++)
    for (int32_t bound = -1; bound < 5; bound++) {
      host_builder b;
      machine m;
      int32_t wanted = bound;
      build_nested(&b, turns);
      m = start(&b);
      for (int64_t i = 0; i < turns; i++)
        wanted += wanted > 1 ? wanted : 1;
      bind_scalar(m.exec, 0, &bound, TSR_I32);
      must(m.exec, tsr_exec_run(m.exec));
      check_scalar(m.exec, 0, wanted);
      stop(m);
    }
}
END_TEST

/* ---- If ---- */

START_TEST(either_branch) {
  int32_t x[600] = {0, 0, 5, 6, 0, 7}, plus[600], found[3] = {2, 2, 7};
  for (int i = 0; i < 600; i++)
    plus[i] = x[i] + 1;
  for (int which = 0; which < 2; which++) {
    host_builder b;
    machine m;
    uint8_t truth;
    build_if(&b, which);
    m = start(&b);
    for (truth = 0; truth < 2; truth++) {
      int64_t dim, n = which == 0 ? 6 : truth * 6;
      bind(m.exec, 0, x, n);
      bind_scalar(m.exec, 1, &truth, TSR_BOOL);
      for (int run = 0; run < 3; run++) {
        must(m.exec, tsr_exec_run(m.exec));
        if (truth != 0)
          check_vector(m.exec, 0, 0, plus, 6);
        else
          check_vector(m.exec, 0, 0, found, n == 0 ? 0 : 3);
        must(m.exec, tsr_exec_dim_value(m.exec, 2, &dim));
        ck_assert_int_eq(dim, truth != 0 ? 6 : n == 0 ? 0 : 3);
      }
    }
    truth = 1;
    bind(m.exec, 0, x, 600); /* more than R may be */
    refused(m.exec, tsr_exec_run(m.exec), TSR_ERR_SHAPE, "'R' is 600");
    refused(m.exec, TSR_ERR_SHAPE, TSR_ERR_SHAPE, "/if,/If_1");
    bind(m.exec, 0, x, 6);
    must(m.exec, tsr_exec_run(m.exec));
    check_vector(m.exec, 0, 0, plus, 6);
    stop(m);
  }
}
END_TEST

/* ---- Lists ---- */

typedef struct model_list {
  int32_t *data[40];
  int64_t sizes[40];
  uint64_t count;
} model_list;

static void bind_list(tsr_exec *exec, uint32_t index, model_list *l) {
  DLTensor items[40];
  for (uint64_t i = 0; i < l->count; i++)
    items[i] = test_tensor(l->data[i], TSR_I32, &l->sizes[i], 1);
  must(exec, tsr_exec_bind_input_list(exec, index, items, l->count));
}

static void check_list(tsr_exec *exec, uint32_t index, const model_list *wanted) {
  uint64_t count;
  int32_t present;
  DLTensor tensor;
  must(exec, tsr_exec_output_count(exec, index, &count, &present));
  ck_assert_uint_eq(count, wanted->count);
  ck_assert_int_eq(present, 1);
  for (uint64_t i = 0; i < count; i++)
    check_vector(exec, index, i, wanted->data[i], wanted->sizes[i]);
  ck_assert_int_eq(tsr_exec_output_item(exec, index, count, &tensor), TSR_ERR_ARGUMENT);
}

static model_list inserted(model_list l, uint64_t at, int32_t *data, int64_t n) {
  for (uint64_t i = l.count; i > at; i--) {
    l.data[i] = l.data[i - 1];
    l.sizes[i] = l.sizes[i - 1];
  }
  l.data[at] = data;
  l.sizes[at] = n;
  l.count++;
  return l;
}

static model_list erased(model_list l, uint64_t at) {
  l.count--;
  for (uint64_t i = at; i < l.count; i++) {
    l.data[i] = l.data[i + 1];
    l.sizes[i] = l.sizes[i + 1];
  }
  return l;
}

static void check_joined(tsr_exec *exec, uint32_t index, const model_list *l) {
  int32_t all[4000];
  int64_t n = 0;
  for (uint64_t i = 0; i < l->count; i++)
    for (int64_t j = 0; j < l->sizes[i]; j++)
      all[n++] = l->data[i][j];
  check_vector(exec, index, 0, all, n);
}

static void try_lists(machine m, model_list *l, int32_t *t, int64_t n, int64_t p, int32_t q) {
  model_list wanted;
  uint64_t at = (uint64_t)(p < 0 ? p + (int64_t)l->count : p);
  uint64_t from = (uint64_t)(q < 0 ? q + (int64_t)l->count : q);
  bool empty = l->count == 0;
  bind_list(m.exec, 0, l);
  bind(m.exec, 1, t, n);
  bind_scalar(m.exec, 2, &p, TSR_I64);
  bind_scalar(m.exec, 3, &q, TSR_I32);
  must(m.exec, tsr_exec_run(m.exec));
  wanted = inserted(*l, at, t, n);
  check_list(m.exec, 0, &wanted);
  wanted = inserted(*l, l->count, t, n);
  check_list(m.exec, 1, &wanted);
  if (!empty) {
    wanted = erased(*l, from);
    check_list(m.exec, 2, &wanted);
    wanted = erased(*l, l->count - 1);
    check_list(m.exec, 3, &wanted);
    check_vector(m.exec, 4, 0, l->data[from], l->sizes[from]);
  }
  check_scalar(m.exec, 5, (int64_t)l->count);
  check_joined(m.exec, 6, l);
  wanted = (model_list){{t, t, t}, {n, n, n}, 3};
  check_list(m.exec, 7, &wanted);
  check_list(m.exec, 8, l);
}

START_TEST(lists_change) {
  int32_t t[7] = {9, 8, 7, 6, 5, 4, 3}, data[20][7];
  for (int i = 0; i < 20; i++)
    for (int j = 0; j < 7; j++)
      data[i][j] = 100 * i + j;
  for (uint64_t count = 0; count < 20; count = count * 2 + 1) {
    host_builder b;
    machine m;
    model_list l = {.count = count};
    build_lists(&b, count == 0);
    m = start(&b);
    for (uint64_t i = 0; i < count; i++) {
      l.data[i] = data[i];
      l.sizes[i] = (int64_t)(i * 3 % 8);
    }
    for (int64_t p = -(int64_t)count; p <= (int64_t)count; p++)
      try_lists(m, &l, t, p & 7, p, (int32_t)(p == (int64_t)count ? 0 : p));
    stop(m);
  }
}
END_TEST

START_TEST(positions_are_checked) {
  static const int64_t ps[] = {4, -4, INT64_MIN, INT64_MAX};
  int32_t t[3] = {0}, q = 0;
  int64_t p;
  model_list l = {{t, t, t}, {1, 2, 3}, 3};
  host_builder b;
  machine m;
  build_lists(&b, false);
  m = start(&b);
  bind_list(m.exec, 0, &l);
  bind(m.exec, 1, t, 3);
  bind_scalar(m.exec, 3, &q, TSR_I32);
  for (int i = 0; i < 4; i++) {
    p = ps[i];
    bind_scalar(m.exec, 2, &p, TSR_I64);
    refused(m.exec, tsr_exec_run(m.exec), TSR_ERR_SHAPE, "outside of a list of 3 items");
    p = 3;
    bind_scalar(m.exec, 2, &p, TSR_I64);
    must(m.exec, tsr_exec_run(m.exec));
  }
  q = 3;
  refused(m.exec, tsr_exec_run(m.exec), TSR_ERR_SHAPE, "nodes 'Erase'");
  stop(m);
}
END_TEST

static void bind_matrix(tsr_exec *exec, uint32_t index, int32_t *data, int64_t a, int64_t b) {
  int64_t shape[2] = {a, b};
  DLTensor tensor = test_tensor(data, TSR_I32, shape, 2);
  must(exec, tsr_exec_bind_input(exec, index, &tensor));
}

/* Item `item` of output `index` is i32[a, b], element (i, j) of which is x[f(i), g(j)] with rows of
 * `pitch`: f(i) = first_row + i, g(j) = first_column + j, swapped when `transposed`. */
static void check_matrix(tsr_exec *exec, uint32_t index, uint64_t item, const int32_t *x,
                         int64_t pitch, int64_t a, int64_t b, int64_t row, int64_t column,
                         bool transposed) {
  DLTensor tensor;
  must(exec, tsr_exec_output_item(exec, index, item, &tensor));
  ck_assert_int_eq(tensor.ndim, 2);
  ck_assert_int_eq(tensor.shape[0], a);
  ck_assert_int_eq(tensor.shape[1], b);
  for (int64_t i = 0; i < a; i++)
    for (int64_t j = 0; j < b; j++)
      ck_assert_int_eq(((const int32_t *)tensor.data)[i * b + j],
                       transposed ? x[j * pitch + i] : x[(row + i) * pitch + column + j]);
}

static uint64_t count_of(tsr_exec *exec, uint32_t index) {
  uint64_t count;
  must(exec, tsr_exec_output_count(exec, index, &count, NULL));
  return count;
}

static void try_pieces(machine m, int32_t *x, int64_t rows, int32_t *sizes, int64_t count,
                       int64_t k) {
  int64_t columns = 0, at = 0, back = 0;
  DLTensor tensor;
  for (int64_t i = 0; i < count; i++)
    columns += sizes[i];
  bind_matrix(m.exec, 0, x, rows, columns);
  bind(m.exec, 1, sizes, count);
  bind_scalar(m.exec, 2, &k, TSR_I64);
  must(m.exec, tsr_exec_run(m.exec));
  ck_assert_uint_eq(count_of(m.exec, 0), (uint64_t)count);
  for (int64_t i = 0; i < count; at += sizes[i++])
    check_matrix(m.exec, 0, (uint64_t)i, x, columns, rows, sizes[i], 0, at, false);
  check_matrix(m.exec, 1, 0, x, columns, rows, columns, 0, 0, false);
  must(m.exec, tsr_exec_output(m.exec, 2, &tensor));
  for (int64_t s = count - 1; s >= 0; s--) {
    at -= sizes[s];
    for (int64_t j = 0; j < sizes[s]; j++, back++)
      for (int64_t i = 0; i < rows; i++)
        ck_assert_int_eq(((const int32_t *)tensor.data)[i * columns + back],
                         x[i * columns + at + j]);
  }
  ck_assert_uint_eq(count_of(m.exec, 3), (uint64_t)rows);
  for (int64_t i = 0; i < rows; i++)
    check_vector(m.exec, 3, (uint64_t)i, x + i * columns, columns);
  check_matrix(m.exec, 4, 0, x, columns, columns, rows, 0, 0, true);
  ck_assert_uint_eq(count_of(m.exec, 5), (uint64_t)((rows + k - 1) / k));
  for (int64_t i = 0; i * k < rows; i++)
    check_matrix(m.exec, 5, (uint64_t)i, x, columns, rows - i * k < k ? rows - i * k : k, columns,
                 i * k, 0, false);
  check_matrix(m.exec, 6, 0, x, columns, rows, columns, 0, 0, false);
}

START_TEST(tensors_are_split_and_joined) {
  static int32_t x[10000];
  int32_t one[] = {7}, several[] = {3, 0, 1, 5, 2}, none[] = {0, 0}, wrong[] = {3, -1, 9};
  int64_t k = 0;
  host_builder b;
  machine m;
  build_pieces(&b);
  m = start(&b);
  for (int i = 0; i < 10000; i++)
    x[i] = i * 7 + 1;
  try_pieces(m, x, 5, several, 5, 2);
  try_pieces(m, x, 5, one, 1, 5);
  try_pieces(m, x, 1, several, 4, 7);
  try_pieces(m, x, 3, none, 2, 1);
  try_pieces(m, x, 20, several, 5, 3);
  bind(m.exec, 1, wrong, 3);
  refused(m.exec, tsr_exec_run(m.exec), TSR_ERR_SHAPE, "add up to 11");
  bind(m.exec, 1, several, 4);
  refused(m.exec, tsr_exec_run(m.exec), TSR_ERR_SHAPE, "add up to 9, but dim 1 has 11");
  bind(m.exec, 1, several, 5);
  bind_scalar(m.exec, 2, &k, TSR_I64);
  refused(m.exec, tsr_exec_run(m.exec), TSR_ERR_SHAPE, "size of a piece is 0");
  stop(m);
}
END_TEST

START_TEST(shapes_grow_in_loops) {
  host_builder b;
  machine m;
  int32_t x[3] = {10, 20, 30}, l[20], v[100], all[4000];
  build_growing(&b);
  m = start(&b);
  for (int64_t turns = 0; turns < 20; turns = turns * 2 + 1) {
    for (int64_t n = 0; n <= 3; n++) {
      model_list wanted = {.count = (uint64_t)turns};
      int64_t size = n, total = 0;
      memcpy(v, x, sizeof x);
      for (int64_t t = 0; t < turns; t++) {
        wanted.data[t] = all + total;
        wanted.sizes[t] = size;
        memcpy(all + total, v, (size_t)size * sizeof *v);
        total += size;
        for (int64_t i = 0; i < size; i++)
          v[i]++;
        for (int64_t i = 0; i < n; i++)
          v[size++] = x[i];
      }
      bind(m.exec, 0, x, n);
      bind(m.exec, 1, l, turns);
      must(m.exec, tsr_exec_run(m.exec));
      check_vector(m.exec, 0, 0, v, size);
      check_list(m.exec, 1, &wanted);
      check_vector(m.exec, 2, 0, all, total);
    }
  }
  stop(m);
}
END_TEST

/* Appending never copies the list, also inside of an if: the arrays of items double. */
START_TEST(lists_grow_in_place) {
  enum { TURNS = 3000 };
  static int32_t l[TURNS];
  int32_t x[2] = {4, 5};
  host_builder b;
  test_heap heap;
  tsr_module *module;
  tsr_exec_options options = {.size = sizeof options, .threads = 1};
  tsr_exec *exec;
  build_branches(&b);
  test_heap_init(&heap, 0);
  options.allocator = &heap.allocator;
  module = load(hb_finish(&b), NULL);
  hb_end(&b);
  must(NULL, tsr_exec_create(module, &options, &exec, NULL));
  for (int64_t n = 0; n <= 2; n += 2) {
    uint64_t count;
    int calls = atomic_load(&heap.calls);
    bind(exec, 0, x, n);
    bind(exec, 1, l, TURNS);
    must(exec, tsr_exec_run(exec));
    ck_assert_int_le(atomic_load(&heap.calls) - calls, 30);
    must(exec, tsr_exec_output_count(exec, 0, &count, NULL));
    ck_assert_uint_eq(count, n == 0 ? 2 * TURNS : TURNS);
    check_vector(exec, 0, 0, x, n);
    check_vector(exec, 0, count - 1, x, n);
  }
  tsr_exec_destroy(exec);
  tsr_module_release(module);
  ck_assert_int_eq(atomic_load(&heap.live), 0);
}
END_TEST

/* ---- Maybes ---- */

START_TEST(optionals_are_there_or_not) {
  int32_t mine[3] = {1, 2, 3}, plus[3] = {2, 3, 4}, x[2] = {7, 8}, other[1] = {5};
  model_list items = {{mine, other}, {3, 1}, 2}, made;
  host_builder b;
  machine m;
  DLTensor tensor;
  uint64_t count;
  int32_t present;
  build_maybes(&b);
  m = start(&b);
  bind(m.exec, 2, x, 2);
  refused(m.exec, tsr_exec_run(m.exec), TSR_ERR_STATE, "input 'm' is not bound");
  for (int i = 0; i < 8; i++) {
    bool has = (i & 1) != 0, listed = (i & 2) != 0;
    if (has)
      bind(m.exec, 0, mine, 3);
    else
      must(m.exec, tsr_exec_bind_input_absent(m.exec, 0));
    if (listed)
      bind_list(m.exec, 1, &items);
    else
      must(m.exec, tsr_exec_bind_input_absent(m.exec, 1));
    must(m.exec, tsr_exec_run(m.exec));
    must(m.exec, tsr_exec_output_count(m.exec, 0, &count, &present));
    ck_assert_int_eq(present, has);
    ck_assert_uint_eq(count, has ? 1 : 0);
    if (has)
      check_vector(m.exec, 0, 0, mine, 3);
    else
      refused(m.exec, tsr_exec_output(m.exec, 0, &tensor), TSR_ERR_ARGUMENT, "no item");
    check_scalar(m.exec, 1, has);
    check_vector(m.exec, 2, 0, has ? plus : x, has ? 3 : 2);
    made = (model_list){{has ? plus : x, x}, {has ? 3 : 2, 2}, 2};
    check_list(m.exec, 3, listed ? &items : &made);
    must(m.exec, tsr_exec_output_count(m.exec, 4, &count, &present));
    ck_assert_int_eq(present, 0);
    must(m.exec, tsr_exec_output_count(m.exec, 5, &count, &present));
    ck_assert_int_eq(present, listed);
    ck_assert_uint_eq(count, listed ? 2 : 0);
  }
  stop(m);
}
END_TEST

/* ---- Strings ---- */

static DLTensor strings(const char **data, int64_t *shape, int rank) {
  DLTensor tensor = test_tensor((void *)data, TSR_I64, shape, rank);
  tensor.dtype = (DLDataType){kDLOpaqueHandle, 64, 1};
  return tensor;
}

static void check_strings(tsr_exec *exec, uint32_t index, uint64_t item, const char *const *wanted,
                          int64_t n) {
  DLTensor tensor;
  must(exec, tsr_exec_output_item(exec, index, item, &tensor));
  ck_assert_int_eq(tensor.dtype.code, kDLOpaqueHandle);
  ck_assert_int_eq(tensor.dtype.bits, 64);
  ck_assert_int_eq(tensor.shape[0], n);
  for (int64_t i = 0; i < n; i++)
    ck_assert_str_eq(((const char *const *)tensor.data)[i], wanted[i]);
}

START_TEST(strings_go_in_and_out) {
  static const char *const loud[] = {"a!", "!", "\303\244b!", "a!"};
  const char *a[] = {"a", "", "\303\244b", "a"}, *item[] = {"x", "y"}, *hole[] = {NULL};
  int64_t n = 4, two = 2, one = 1;
  DLTensor tensor = strings(a, &n, 1), items[2] = {strings(item, &two, 1), strings(item, NULL, 0)};
  DLTensor numbers = test_tensor(&n, TSR_I64, &one, 1), bad = strings(hole, &one, 1), match;
  tsr_port_info info;
  host_builder b;
  machine m;
  build_strings(&b);
  m = start(&b);
  ck_assert_int_eq(tsr_module_get_input(m.module, 0, &info), TSR_OK);
  ck_assert_int_eq(info.is_text, 1);
  ck_assert_int_eq(info.dtype, TSR_I64);
  ck_assert_int_eq(tsr_module_get_input(m.module, 1, &info), TSR_OK);
  ck_assert_int_eq(info.kind, TSR_PORT_LIST);
  ck_assert_uint_eq(info.rank, TSR_ANY_RANK);
  refused(m.exec, tsr_exec_bind_input(m.exec, 0, &numbers), TSR_ERR_TYPE, "strings");
  must(m.exec, tsr_exec_bind_input_list(m.exec, 1, items, 2));
  must(m.exec, tsr_exec_bind_input(m.exec, 0, &bad));
  refused(m.exec, tsr_exec_run(m.exec), TSR_ERR_ARGUMENT, "input 'a': string 0 is NULL");
  must(m.exec, tsr_exec_bind_input(m.exec, 0, &tensor));
  for (int run = 0; run < 2; run++) {
    must(m.exec, tsr_exec_run(m.exec));
    check_strings(m.exec, 0, 0, loud, 4);
    check_strings(m.exec, 1, 0, item, 2);
    check_strings(m.exec, 1, 2, loud, 4);
    check_strings(m.exec, 2, 0, a, 4);
    must(m.exec, tsr_exec_output(m.exec, 3, &match));
    ck_assert_mem_eq(match.data, "\1\0\0\1", 4);
  }
  refused(m.exec, tsr_exec_bind_output(m.exec, 0, &tensor), TSR_ERR_STATE, "cannot be bound");
  stop(m);
}
END_TEST

/* ---- Outputs ---- */

START_TEST(outputs_are_views_bound_or_taken) {
  host_builder b;
  machine m;
  int32_t x[4] = {1, 2, 3, 4}, l[2], mine[4], wrong[3];
  int64_t n = 4, three = 3;
  DLTensor bound = test_tensor(mine, TSR_I32, &n, 1), view, small;
  DLManagedTensor *taken, *same;
  build_counted(&b);
  m = start(&b);
  bind(m.exec, 0, x, 4);
  bind(m.exec, 1, l, 2);
  ck_assert_int_eq(tsr_exec_output(m.exec, 0, &view), TSR_ERR_STATE);
  must(m.exec, tsr_exec_run(m.exec));
  must(m.exec, tsr_exec_output(m.exec, 1, &view));
  ck_assert_ptr_ne(view.data, x); /* of its own, though the model gives the input */
  must(m.exec, tsr_exec_take_output(m.exec, 0, &taken));
  must(m.exec, tsr_exec_take_output(m.exec, 1, &same));
  taken->deleter(taken);
  ck_assert_int_eq(tsr_exec_output(m.exec, 0, &view), TSR_ERR_STATE);
  must(m.exec, tsr_exec_bind_output(m.exec, 0, &bound));
  x[0] = 100;
  must(m.exec, tsr_exec_run(m.exec));
  ck_assert_int_eq(mine[0], 102);
  ck_assert_int_eq(mine[3], 6);
  ck_assert_int_eq(tsr_exec_take_output(m.exec, 0, &taken), TSR_ERR_STATE);
  must(m.exec, tsr_exec_output(m.exec, 0, &view));
  ck_assert_ptr_eq(view.data, mine);
  small = test_tensor(wrong, TSR_I32, &three, 1);
  must(m.exec, tsr_exec_bind_output(m.exec, 0, &small));
  refused(m.exec, tsr_exec_run(m.exec), TSR_ERR_SHAPE, "output 'y'");
  must(m.exec, tsr_exec_bind_output(m.exec, 0, NULL));
  must(m.exec, tsr_exec_run(m.exec));
  stop(m);
  ck_assert_ptr_nonnull(same);
  ck_assert_int_eq(((const int32_t *)same->dl_tensor.data)[3], 4);
  same->deleter(same);
}
END_TEST

START_TEST(taken_outputs_outlive_the_exec) {
  host_builder b;
  machine m;
  int32_t x[4] = {1, 2, 3, 4}, l[2];
  DLManagedTensor *first, *second;
  build_counted(&b);
  m = start(&b);
  bind(m.exec, 0, x, 4);
  bind(m.exec, 1, l, 2);
  must(m.exec, tsr_exec_run(m.exec));
  must(m.exec, tsr_exec_take_output(m.exec, 0, &first));
  x[0] = 5;
  must(m.exec, tsr_exec_run(m.exec));
  must(m.exec, tsr_exec_take_output(m.exec, 0, &second));
  stop(m);
  ck_assert_int_eq(((const int32_t *)first->dl_tensor.data)[0], 3);
  ck_assert_int_eq(((const int32_t *)second->dl_tensor.data)[0], 7);
  first->deleter(first);
  second->deleter(second);
}
END_TEST

START_TEST(wrong_binds_are_refused) {
  int32_t x[4] = {0};
  int64_t n = 4;
  int64_t shape[2] = {2, 2};
  DLTensor vector = test_tensor(x, TSR_I32, &n, 1), matrix = test_tensor(x, TSR_I32, shape, 2);
  DLTensor floats = test_tensor(x, TSR_F32, &n, 1);
  tsr_program chain = test_chain_program();
  host_builder b;
  machine m;
  build_lists(&b, true);
  m = start(&b);
  refused(m.exec, tsr_exec_bind_input(m.exec, 0, &vector), TSR_ERR_ARGUMENT, "is a list");
  refused(m.exec, tsr_exec_bind_input_list(m.exec, 1, &vector, 1), TSR_ERR_ARGUMENT, "is no list");
  refused(m.exec, tsr_exec_bind_input_list(m.exec, 9, &vector, 1), TSR_ERR_ARGUMENT, "number 9");
  refused(m.exec, tsr_exec_bind_input_list(m.exec, 0, NULL, 1), TSR_ERR_ARGUMENT, "NULL");
  refused(m.exec, tsr_exec_bind_input_list(m.exec, 0, &matrix, 1), TSR_ERR_TYPE, "rank");
  refused(m.exec, tsr_exec_bind_input_list(m.exec, 0, &floats, 1), TSR_ERR_TYPE, "dtype");
  refused(m.exec, tsr_exec_bind_input_absent(m.exec, 0), TSR_ERR_ARGUMENT, "no optional");
  refused(m.exec, tsr_exec_bind_output(m.exec, 0, &vector), TSR_ERR_STATE, "is a list");
  stop(m);
  m.module = load(&chain, NULL);
  m.exec = create(m.module);
  refused(m.exec, tsr_exec_bind_input_list(m.exec, 0, &vector, 1), TSR_ERR_ARGUMENT, "is no list");
  refused(m.exec, tsr_exec_bind_input_absent(m.exec, 0), TSR_ERR_ARGUMENT, "no optional");
  stop(m);
}
END_TEST

/* ---- Dims ---- */

/* A list of two vectors that must be of one size, and a formula. */
START_TEST(contradictions_name_the_dim) {
  static const int64_t zero = 0, one = 1;
  int32_t x[4] = {0};
  model_list l = {{x, x}, {3, 3}, 2};
  uint32_t d, list, first, second, i, j;
  host_builder b;
  machine m;
  hb_begin(&b);
  d = hb_dim(&b, "length", TSR_DIM_FROM_HOST, 2, 3);
  list = hb_input(&b, "l", hb_list(&b, ANY_SHAPE));
  i = hb_constant(&b, hb_tensor(&b, TSR_I64, SCALAR), &zero, sizeof zero);
  j = hb_constant(&b, hb_tensor(&b, TSR_I64, SCALAR), &one, sizeof one);
  first = hb_tensor(&b, TSR_I32, SHAPE(BIND(d)));
  second = hb_tensor(&b, TSR_I32, SHAPE(DIM(d)));
  (void)hb_step(&b, 0, TSR_HOST_LIST_AT, VALUES(list, i), VALUES(first));
  hb_step(&b, 0, TSR_HOST_LIST_AT, VALUES(list, j), VALUES(second))->nodes = "SequenceAt_1";
  hb_output(&b, "first", first);
  hb_output(&b, "second", second);
  m = start(&b);
  bind_list(m.exec, 0, &l);
  must(m.exec, tsr_exec_run(m.exec));
  l.sizes[1] = 2;
  bind_list(m.exec, 0, &l);
  refused(m.exec, tsr_exec_run(m.exec), TSR_ERR_SHAPE,
          "nodes 'SequenceAt_1': result number 0: dim 0 ('length') is 2, but it must be 3 here");
  l.sizes[0] = 4;
  bind_list(m.exec, 0, &l);
  refused(m.exec, tsr_exec_run(m.exec), TSR_ERR_SHAPE,
          "list_at: result number 0: dim 'length' is 4, the module was compiled for 2..3");
  stop(m);
}
END_TEST

START_TEST(inputs_must_agree_in_host_programs) {
  int32_t x[4] = {0}, y[4] = {0};
  uint32_t n, a, c;
  host_builder b;
  machine m;
  hb_begin(&b);
  n = hb_dim(&b, "N", TSR_DIM_FROM_INPUT, 1, 4);
  a = hb_input(&b, "a", hb_tensor(&b, TSR_I32, SHAPE(BIND(n))));
  c = hb_input(&b, "c", hb_tensor(&b, TSR_I32, SHAPE(DIM(n))));
  hb_output(&b, "a", a);
  hb_output(&b, "c", c);
  m = start(&b);
  bind(m.exec, 0, x, 3);
  bind(m.exec, 1, y, 3);
  must(m.exec, tsr_exec_run(m.exec));
  bind(m.exec, 1, y, 2);
  refused(m.exec, tsr_exec_run(m.exec), TSR_ERR_SHAPE,
          "input 'c': dim 0 ('N') is 2, but it must be 3 here");
  bind(m.exec, 0, x, 2);
  must(m.exec, tsr_exec_run(m.exec));
  stop(m);
}
END_TEST

/* ---- Tables ---- */

static void *little(void *context, size_t size, size_t alignment) {
  (void)context;
  return size > 1 << 22 ? NULL : tsr_allocator_default()->allocate(NULL, size, alignment);
}

static void give_back(void *context, void *pointer, size_t size) {
  (void)context;
  tsr_allocator_default()->release(NULL, pointer, size);
}

static void do_nothing(void *context, int64_t tasks, tsr_task_function function,
                       void *function_context) {
  (void)context;
  (void)tasks;
  (void)function;
  (void)function_context;
}

/* Some tensor for every input. */
static bool bind_any(tsr_module *module, tsr_exec *exec, void *memory) {
  tsr_port_info info;
  int64_t shape[TSR_MAX_RANK];
  DLTensor tensor;
  for (uint32_t i = 0; tsr_module_get_input(module, i, &info) == TSR_OK; i++) {
    tsr_status status;
    bool list = info.kind == TSR_PORT_LIST || info.kind == TSR_PORT_OPTIONAL_LIST;
    uint32_t rank = info.rank == TSR_ANY_RANK ? 1 : info.rank;
    for (uint32_t d = 0; d < rank; d++)
      shape[d] = info.rank != TSR_ANY_RANK && info.dims[d] >= 0 ? info.dims[d] : 2;
    if (rank > 4)
      return false;
    tensor = test_tensor(memory, info.dtype, shape, (int)rank);
    if (info.is_text != 0)
      tensor.dtype = (DLDataType){kDLOpaqueHandle, 64, 1};
    status = list ? tsr_exec_bind_input_list(exec, i, &tensor, 1)
                  : tsr_exec_bind_input(exec, i, &tensor);
    if (status != TSR_OK)
      return false;
  }
  return true;
}

static bool may_be_endless(const tsr_program *p) {
  for (uint32_t i = 0; i < p->host_step_count; i++)
    if (p->host_steps[i].op == TSR_HOST_LOOP && p->host_steps[i].code.count == 0)
      return true;
  return false;
}

/* Refused, or run without machine code to some status: sanitizers watch. */
static bool survives(const tsr_program *p) {
  static const tsr_executor executor = {NULL, 1, do_nothing};
  static const tsr_allocator allocator = {NULL, little, give_back};
  static const char *memory[512];
  tsr_module_options options = {.size = sizeof options, .allocator = &allocator};
  tsr_exec_options exec_options = {
      .size = sizeof exec_options, .allocator = &allocator, .executor = &executor};
  tsr_module *module;
  tsr_exec *exec;
  tsr_arena arena;
  void *data;
  size_t size;
  tsr_status status;
  tsr_arena_init(&arena, tsr_allocator_default());
  status = tsr_program_check(p, &arena, NULL);
  tsr_arena_reset(&arena);
  if (status != TSR_OK)
    return false;
  for (int i = 0; i < 512; i++)
    memory[i] = "";
  ck_assert_int_eq(tsr_module_write_memory(&p, 1, NULL, &data, &size, NULL), TSR_OK);
  ck_assert_int_eq(tsr_module_load_memory(data, size, &options, &module, NULL), TSR_OK);
  free(data);
  if (tsr_exec_create(module, &exec_options, &exec, NULL) == TSR_OK) {
    for (int run = 0; run < 2 && !may_be_endless(p) && bind_any(module, exec, memory); run++)
      (void)!tsr_exec_run(exec);
    tsr_exec_destroy(exec);
  }
  tsr_module_release(module);
  return true;
}

typedef void (*test_builder)(host_builder *b);

static void lists_with_items(host_builder *b) {
  build_lists(b, false);
}
static void nested_twice(host_builder *b) {
  build_nested(b, 2);
}
static void if_by_operand(host_builder *b) {
  build_if(b, 0);
}
static void if_by_dim(host_builder *b) {
  build_if(b, 1);
}

static const test_builder builders[] = {
    build_counted, nested_twice,  if_by_operand, if_by_dim,     lists_with_items,
    build_pieces,  build_growing, build_maybes,  build_strings, build_branches};

/* Every 32-bit word of a table, one after the other, becomes something else. */
static void mutate(const tsr_program *p, void *table, size_t bytes, const uint32_t *values,
                   uint32_t value_count, uint32_t *inout_tried, uint32_t *inout_taken) {
  uint32_t *words = (uint32_t *)table;
  for (size_t w = 0; w < bytes / 4; w++) {
    uint32_t before = words[w];
    for (uint32_t v = 0; v < value_count; v++) {
      words[w] = v == 0 ? before + 1 : v == 1 ? before - 1 : values[v];
      (*inout_tried)++;
      *inout_taken += survives(p);
    }
    words[w] = before;
  }
}

START_TEST(hostile_tables) {
  static const uint32_t values[] = {0, 0, 0, 1, 2, 3, 5, 16, 0x7fffffff, 0x80000000, 0xffffffff};
  static const uint32_t small[] = {0, 0, 0, 1, 2, 3};
  host_builder b;
  uint32_t tried = 0, taken = 0;
  tsr_program *p;
  const tsr_program *finished;
  tsr_host_step steps[HB_MOST];
  builders[_i](&b);
  finished = hb_finish(&b);
  p = &b.program;
  ck_assert_ptr_eq(p, finished);
  ck_assert(survives(p));
  mutate(p, b.values, p->host_value_count * sizeof *b.values, values, TEST_LENGTH(values), &tried,
         &taken);
  mutate(p, b.regions, p->host_region_count * sizeof *b.regions, values, TEST_LENGTH(values),
         &tried, &taken);
  mutate(p, b.arguments, p->argument_count * 4, values, TEST_LENGTH(values), &tried, &taken);
  mutate(p, b.host_constants, p->host_constant_count * sizeof *b.host_constants, values,
         TEST_LENGTH(values), &tried, &taken);
  mutate(p, b.buffers, p->buffer_count * sizeof *b.buffers, values, TEST_LENGTH(values), &tried,
         &taken);
  mutate(p, b.numbers, p->host_number_count * sizeof *b.numbers, values, TEST_LENGTH(values),
         &tried, &taken);
  mutate(p, b.codes, p->code_count * sizeof *b.codes, small, TEST_LENGTH(small), &tried, &taken);
  mutate(p, b.steps, p->step_count * sizeof *b.steps, small, TEST_LENGTH(small), &tried, &taken);
  memcpy(steps, b.host_steps, sizeof steps);
  for (uint32_t i = 0; i < p->host_step_count; i++) {
    mutate(p, &b.host_steps[i], offsetof(tsr_host_step, nodes), values, TEST_LENGTH(values), &tried,
           &taken);
    b.host_steps[i].nodes = NULL;
    ck_assert(!survives(p));
    b.host_steps[i] = steps[i];
  }
  ck_assert_uint_gt(taken, 0);
  ck_assert_uint_gt(tried - taken, tried / 4);
  hb_end(&b);
}
END_TEST

static tsr_status check_program(const tsr_program *p, tsr_diag *diag) {
  tsr_arena arena;
  tsr_status status;
  tsr_arena_init(&arena, tsr_allocator_default());
  tsr_diag_clear(diag);
  status = tsr_program_check(p, &arena, diag);
  tsr_arena_reset(&arena);
  return status;
}

static void must_refuse(host_builder *b, const char *text) {
  tsr_diag diag;
  ck_assert_int_eq(check_program(&b->program, &diag), TSR_ERR_FORMAT);
  ck_assert_msg(strstr(diag.message, text) != NULL, "'%s' has no '%s'", diag.message, text);
}

/* Each breaks one rule of tsr_host_check. */
START_TEST(rules_of_host_tables) {
  host_builder b;
  tsr_program other;
  static const tsr_dim_desc from_device[] = {{"N", TSR_DIM_FROM_DEVICE, 0, 1}};
  static const tsr_dim_desc unknown[] = {{"Unknown", TSR_DIM_FROM_CALLER, 0, 1}};
#define RULE(change, text)                                                                         \
  do {                                                                                             \
    tsr_diag diag;                                                                                 \
    build_counted(&b);                                                                             \
    ck_assert_int_eq(check_program(hb_finish(&b), &diag), TSR_OK);                                 \
    change;                                                                                        \
    must_refuse(&b, text);                                                                         \
    hb_end(&b);                                                                                    \
  } while (0)
  RULE(b.parts[0].target = "cpu:other", "another target");
  RULE(b.parts[0].dims = unknown, "not known");
  RULE(b.parts[0].dims = from_device, "no input and no read");
  RULE(b.dims[1].name = "N", "same name");
  RULE(b.dims[1].source = TSR_DIM_FROM_DEVICE, "only other programs have");
  RULE(b.values[0].kind = 4, "unknown kind");
  RULE(b.values[0].text = 1, "not i64");
  RULE(b.values[0].kind = TSR_HOST_LIST, "inconsistent");
  RULE(b.host_steps[0].op = TSR_HOST_OP_COUNT, "no operation");
  RULE(b.host_steps[0].first_region = 0, "carries not as many");
  RULE(b.host_steps[0].operand_count = 70000, "not as many operands");
  RULE(b.host_steps[1].part = 1, "does not exist");
  RULE(b.host_steps[1].code = b.host_steps[0].code, "expression");
  RULE(b.regions[1].yield_count = 1, "carries not as many");
  RULE(b.regions[0].param_count = 1, "used before it is known");
  RULE(b.program.segment_count = 1, "inconsistent");
  RULE(b.program.image_bytes = 1, "inconsistent");
  RULE(b.host_constants[0].constant = 1, "constant value does not exist");
  RULE(b.constants[0].bytes = 2, "bytes do not fit");
  RULE(b.program.part_count = 0, "does not exist");
  RULE(b.inputs[0].buffer = 2, "wrong input");
  RULE((other = b.program, other.part_count = 1, b.parts[0] = other, b.parts[0].parts = NULL),
       "tables of one");
#undef RULE
}
END_TEST

/* ---- Threads, memory ---- */

typedef struct worker {
  tsr_module *module;
  int32_t number;
} worker;

static void *work(void *context) {
  worker *self = (worker *)context;
  tsr_exec *exec = create(self->module);
  int32_t x[3] = {self->number, 0, 1}, l[20], v[3];
  for (int64_t turns = 1; turns < 20; turns++) {
    DLTensor tensor;
    bind(exec, 0, x, 3);
    bind(exec, 1, l, turns);
    must(exec, tsr_exec_run(exec));
    must(exec, tsr_exec_output(exec, 0, &tensor));
    memcpy(v, tensor.data, sizeof v);
    ck_assert_int_eq(v[0], self->number + turns);
  }
  tsr_exec_destroy(exec);
  return NULL;
}

START_TEST(threads_share_a_host_program) {
  host_builder b;
  pthread_t threads[4];
  worker workers[4];
  tsr_module *module;
  build_growing(&b);
  module = load(hb_finish(&b), NULL);
  hb_end(&b);
  for (int i = 0; i < 4; i++) {
    workers[i] = (worker){module, i * 100};
    ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
  }
  for (int i = 0; i < 4; i++)
    (void)pthread_join(threads[i], NULL);
  tsr_module_release(module);
}
END_TEST

/* Creates, binds and runs with the `fail_at`-th allocation and all later ones failing; then, when
 * there is an exec, once more with memory. */
static tsr_status run_with_heap(const tsr_program *p, int fail_at, int *out_live) {
  static const char *memory[512];
  test_heap heap;
  tsr_module *module = load(p, NULL);
  tsr_exec *exec = NULL;
  tsr_status status;
  tsr_exec_options options = {.size = sizeof options, .threads = 1};
  for (int i = 0; i < 512; i++)
    memory[i] = "";
  test_heap_init(&heap, fail_at);
  options.allocator = &heap.allocator;
  status = tsr_exec_create(module, &options, &exec, NULL);
  if (status == TSR_OK && !bind_any(module, exec, memory))
    status = tsr_exec_last_status(exec);
  if (status == TSR_OK)
    status = tsr_exec_run(exec);
  if (exec != NULL && fail_at != 0) {
    heap.fail_at = 0;
    ck_assert(bind_any(module, exec, memory));
    must(exec, tsr_exec_run(exec));
  }
  tsr_exec_destroy(exec);
  tsr_module_release(module);
  *out_live = atomic_load(&heap.live);
  return status;
}

/* Those that run with what bind_any binds. */
START_TEST(memory_may_end_anywhere) {
  static const test_builder some[] = {build_counted, build_growing, build_maybes, build_strings};
  host_builder b;
  int live, failures = 0;
  tsr_status status = TSR_ERR_OUT_OF_MEMORY;
  const tsr_program *p;
  some[_i](&b);
  p = hb_finish(&b);
  for (int k = 1; status != TSR_OK; k++) {
    status = run_with_heap(p, k, &live);
    ck_assert_int_eq(live, 0);
    ck_assert(status == TSR_OK || status == TSR_ERR_OUT_OF_MEMORY);
    failures++;
  }
  ck_assert_int_gt(failures, 10);
  hb_end(&b);
}
END_TEST

START_TEST(traces_show_the_parts) {
  host_builder b;
  machine m;
  char path[300], text[20000];
  const char *folder = getenv("TESSERA_TEST_TMP");
  int32_t x[3] = {1}, l[5];
  size_t length;
  int events = 0;
  FILE *file;
  build_growing(&b);
  m = start(&b);
  (void)snprintf(path, sizeof path, "%s/%ld-host.json", folder != NULL ? folder : "/tmp",
                 (long)getpid());
  must(m.exec, tsr_exec_set_trace(m.exec, path));
  bind(m.exec, 0, x, 3);
  bind(m.exec, 1, l, 5);
  for (int i = 0; i < 2; i++)
    must(m.exec, tsr_exec_run(m.exec));
  must(m.exec, tsr_exec_set_trace(m.exec, NULL));
  must(m.exec, tsr_exec_run(m.exec));
  file = fopen(path, "r");
  ck_assert_ptr_nonnull(file);
  length = fread(text, 1, sizeof text - 1, file);
  text[length] = '\0';
  (void)fclose(file);
  (void)remove(path);
  for (const char *at = text; (at = strstr(at, "\"name\":\"add_one\"")) != NULL; at++)
    events++;
  ck_assert_int_eq(events, 10);
  events = 0;
  for (const char *at = text; (at = strstr(at, "\"name\":\"list_insert\"")) != NULL; at++)
    events++;
  ck_assert_int_eq(events, 10);
  ck_assert_ptr_nonnull(strstr(text, "\n]\n"));
  stop(m);
}
END_TEST

START_TEST(modules_tell_of_all_parts) {
  host_builder b;
  machine m;
  tsr_module_info info;
  tsr_kernel_info kernel;
  tsr_target_info target;
  tsr_dim_info dim;
  build_nested(&b, 1);
  m = start(&b);
  tsr_module_get_info(m.module, &info);
  ck_assert_uint_eq(info.target_count, 1);
  ck_assert_uint_eq(info.kernel_count, 3);
  ck_assert_uint_eq(info.launch_count, 3);
  ck_assert_uint_eq(info.code_bytes, 3 * sizeof test_image);
  ck_assert_int_eq(tsr_module_get_kernel(m.module, 2, &kernel), TSR_OK);
  ck_assert_str_eq(kernel.name, "sum");
  ck_assert_int_eq(tsr_module_get_kernel(m.module, 3, &kernel), TSR_ERR_ARGUMENT);
  ck_assert_int_eq(tsr_module_get_target(m.module, 0, &target), TSR_OK);
  ck_assert_int_eq(target.selected, 1);
  ck_assert_int_eq(tsr_module_get_target(m.module, 1, &target), TSR_ERR_ARGUMENT);
  stop(m);
  build_if(&b, 0);
  m = start(&b);
  ck_assert_int_eq(tsr_module_get_dim(m.module, 1, &dim), TSR_OK);
  ck_assert_str_eq(dim.name, "M");
  ck_assert_int_eq(dim.from_results, 1);
  stop(m);
}
END_TEST

/* ---- Suite ---- */

static Suite *suite(void) {
  Suite *s = suite_create("host");
  TCase *tc = tcase_create("host");
  if (TEST_HAS_KERNELS) {
    tcase_add_test(tc, loops_count);
    tcase_add_test(tc, many_turns_need_no_new_memory);
    tcase_add_test(tc, loops_nest_and_stop);
    tcase_add_test(tc, either_branch);
    tcase_add_test(tc, lists_change);
    tcase_add_test(tc, positions_are_checked);
    tcase_add_test(tc, tensors_are_split_and_joined);
    tcase_add_test(tc, shapes_grow_in_loops);
    tcase_add_test(tc, lists_grow_in_place);
    tcase_add_test(tc, optionals_are_there_or_not);
    tcase_add_test(tc, strings_go_in_and_out);
    tcase_add_test(tc, outputs_are_views_bound_or_taken);
    tcase_add_test(tc, taken_outputs_outlive_the_exec);
    tcase_add_test(tc, wrong_binds_are_refused);
    tcase_add_test(tc, contradictions_name_the_dim);
    tcase_add_test(tc, inputs_must_agree_in_host_programs);
    tcase_add_loop_test(tc, hostile_tables, 0, (int)(sizeof builders / sizeof builders[0]));
    tcase_add_test(tc, rules_of_host_tables);
    tcase_add_test(tc, threads_share_a_host_program);
    tcase_add_loop_test(tc, memory_may_end_anywhere, 0, 4);
    tcase_add_test(tc, traces_show_the_parts);
    tcase_add_test(tc, modules_tell_of_all_parts);
  }
  suite_add_tcase(s, tc);
  return s;
}

int main(void) {
  SRunner *runner = srunner_create(suite());
  int failed;
  srunner_run_all(runner, CK_NORMAL);
  failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
