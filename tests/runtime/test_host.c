/* Host programs: control flow, lists, maybes and texts around parts that are written by hand. */
#include "tests/runtime/host_machine.h"
#include <check.h>

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
