/* Host programs: control flow, lists, maybes and texts around parts that are written by hand. */
#include "runtime/exec/exec.h"
#include "runtime/module/program_check.h"
#include "runtime/module/writer.h"
#include "tests/runtime/host_programs.h"
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static const uint8_t yes = 1;

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

/* y = x + one per turn; as many turns as l has elements. z: x itself. */
static void build_counted(host_builder *b) {
  uint32_t n, l, x, more, y, go, in, out, body;
  hb_begin(b);
  n = hb_dim(b, "N", TSR_DIM_FROM_INPUT, 0, 1 << 20);
  l = hb_dim(b, "L", TSR_DIM_FROM_INPUT, 0, 1 << 20);
  x = hb_input(b, "x", hb_tensor(b, TSR_I32, SHAPE(BIND(n))));
  more = hb_input(b, "l", hb_tensor(b, TSR_I32, SHAPE(BIND(l))));
  (void)more;
  go = hb_constant(b, hb_tensor(b, TSR_BOOL, SCALAR), &yes, 1);
  (void)hb_part(b, ADD_ONE, 1, "N", TSR_I32);
  body = hb_regions(b, 1);
  in = hb_param(b, body, hb_tensor(b, TSR_I32, SHAPE(DIM(n))));
  out = hb_tensor(b, TSR_I32, SHAPE(DIM(n)));
  hb_call(b, body, 0, VALUES(in), out);
  hb_yield(b, body, go);
  hb_yield(b, body, out);
  y = hb_tensor(b, TSR_I32, SHAPE(DIM(n)));
  (void)hb_loop(b, 0, body, DIM(l), VALUES(x), VALUES(y));
  hb_output(b, "y", y);
  hb_output(b, "z", x);
}

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
  tsr_exec_destroy(exec);
  tsr_module_release(module);
  ck_assert_int_eq(atomic_load(&heap.live), 0);
  hb_end(&b);
}
END_TEST

/* While v < bound, at least once: v = v + 1. In each turn of an outer loop of `turns`, bound grows
 * by what the inner one gave, which is captured by nothing: v begins at 0. */
static void build_nested(host_builder *b, int64_t turns) {
  static const int32_t zero = 0;
  uint32_t start_value, go, outer, inner, bound, v, next, less, found, sum, result;
  hb_begin(b);
  start_value = hb_input(b, "bound", hb_tensor(b, TSR_I32, SCALAR));
  go = hb_constant(b, hb_tensor(b, TSR_BOOL, SCALAR), &yes, 1);
  v = hb_constant(b, hb_tensor(b, TSR_I32, SCALAR), &zero, sizeof zero);
  (void)hb_part(b, ADD_ONE, 1, NULL, TSR_I32);
  (void)hb_part(b, LESS, 2, NULL, TSR_BOOL);
  (void)hb_part(b, SUM, 2, NULL, TSR_I32);
  outer = hb_regions(b, 1);
  inner = hb_regions(b, 1);
  bound = hb_param(b, outer, hb_tensor(b, TSR_I32, SCALAR));
  {
    uint32_t in = hb_param(b, inner, hb_tensor(b, TSR_I32, SCALAR));
    next = hb_tensor(b, TSR_I32, SCALAR);
    less = hb_tensor(b, TSR_BOOL, SCALAR);
    hb_call(b, inner, 0, VALUES(in), next);
    hb_call(b, inner, 1, VALUES(next, bound), less);
    hb_yield(b, inner, less);
    hb_yield(b, inner, next);
  }
  found = hb_tensor(b, TSR_I32, SCALAR);
  (void)hb_loop(b, outer, inner, INT64_MIN, VALUES(v), VALUES(found));
  sum = hb_tensor(b, TSR_I32, SCALAR);
  hb_call(b, outer, 2, VALUES(found, bound), sum);
  hb_yield(b, outer, go);
  hb_yield(b, outer, sum);
  result = hb_tensor(b, TSR_I32, SCALAR);
  (void)hb_loop(b, 0, outer, turns, VALUES(start_value), VALUES(result));
  hb_output(b, "result", result);
}

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

/* which: 0 by an operand, 1 by whether N is 0. then: x + 1; else: the first m of x's elements,
 * which are as many as are not 0 (a device dim), all fresh dims of the result. */
static void build_if(host_builder *b, int which) {
  static const tsr_index_step filter_steps[] = {{TSR_INDEX_DIM, 0}, {TSR_INDEX_DIM, 1}};
  uint32_t n, m, r, x, c, then, other, a, y;
  tsr_host_step *step;
  hb_begin(b);
  n = hb_dim(b, "N", TSR_DIM_FROM_INPUT, 0, 1 << 20);
  m = hb_dim(b, "M", TSR_DIM_FROM_HOST, 0, 1000);
  r = hb_dim(b, "R", TSR_DIM_FROM_HOST, 0, 500);
  x = hb_input(b, "x", hb_tensor(b, TSR_I32, SHAPE(BIND(n))));
  c = hb_input(b, "c", hb_tensor(b, TSR_BOOL, SCALAR));
  (void)filter_steps;
  (void)hb_part(b, ADD_ONE, 1, "N", TSR_I32);
  b->parts[b->program.part_count] = test_filter_program();
  {
    static const tsr_dim_desc dims[] = {{"N", TSR_DIM_FROM_CALLER, 0, 1 << 20},
                                        {"M", TSR_DIM_FROM_DEVICE, 0, 1000}};
    b->parts[b->program.part_count].dims = dims;
  }
  b->program.part_count++;
  then = hb_regions(b, 2);
  other = then + 1;
  a = hb_tensor(b, TSR_I32, SHAPE(DIM(n)));
  hb_call(b, then, 0, VALUES(x), a);
  hb_yield(b, then, a);
  {
    uint32_t twice = hb_value(b, TSR_HOST_LIST, TSR_I32, ANY_SHAPE);
    uint32_t both = hb_dim(b, "B", TSR_DIM_FROM_HOST, 0, 1 << 21);
    uint32_t joined = hb_tensor(b, TSR_I32, SHAPE(BIND(both)));
    uint32_t found = hb_tensor(b, TSR_I32, SHAPE(DIM(m)));
    static const int64_t numbers[] = {0, 0, 0};
    (void)hb_step(b, other, TSR_HOST_LIST_MAKE, VALUES(x, x), VALUES(twice));
    hb_numbers(b, hb_step(b, other, TSR_HOST_LIST_CONCAT, VALUES(twice), VALUES(joined)), numbers,
               3);
    hb_call(b, other, 1, VALUES(x, joined), found);
    hb_yield(b, other, found);
  }
  y = hb_tensor(b, TSR_I32, SHAPE(BIND(r)));
  step = hb_step(b, 0, TSR_HOST_IF, which == 0 ? &c : NULL, which == 0 ? 1 : 0, VALUES(y));
  if (which != 0)
    step->code = hb_code(b, DIM(n));
  step->first_region = then;
  step->region_count = 2;
  step->nodes = "/if,/If_1";
  hb_output(b, "y", y);
}

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

/* ---- Suite ---- */

static Suite *suite(void) {
  Suite *s = suite_create("host");
  TCase *tc = tcase_create("host");
  if (TEST_HAS_KERNELS) {
    tcase_add_test(tc, loops_count);
    tcase_add_test(tc, many_turns_need_no_new_memory);
    tcase_add_test(tc, loops_nest_and_stop);
    tcase_add_test(tc, either_branch);
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
