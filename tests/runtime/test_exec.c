#include "runtime/cpu_features.h"
#include "runtime/exec/exec.h"
#include "runtime/module/writer.h"
#include "tests/runtime/programs.h"
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static tsr_module *load_program(const tsr_program *program, const tsr_allocator *allocator) {
  tsr_module_options options = {.size = sizeof options, .allocator = allocator};
  tsr_module *module;
  tsr_message message;
  void *data;
  size_t size;
  ck_assert_int_eq(tsr_module_write_memory(&program, 1, NULL, &data, &size, NULL), TSR_OK);
  ck_assert_msg(tsr_module_load_memory(data, size, &options, &module, &message) == TSR_OK, "%s",
                message.text);
  free(data);
  return module;
}

static tsr_module *load_chain(void) {
  tsr_program program = test_chain_program();
  return load_program(&program, NULL);
}

static tsr_module *load_filter(void) {
  tsr_program program = test_filter_program();
  return load_program(&program, NULL);
}

static tsr_exec *create_exec(tsr_module *module, uint32_t threads) {
  tsr_exec_options options = {.size = sizeof options, .threads = threads};
  tsr_exec *exec;
  tsr_message message;
  ck_assert_msg(tsr_exec_create(module, &options, &exec, &message) == TSR_OK, "%s", message.text);
  return exec;
}

/* Runs the chain on 0, 1, ... and checks y and z. */
static void check_chain(tsr_exec *exec, int64_t n) {
  int32_t *x = (int32_t *)malloc((size_t)n * sizeof *x);
  int32_t added = n <= 4 ? 103 : 4;
  DLTensor tensor = test_tensor(x, TSR_I32, &n, 1), y, z;
  for (int64_t i = 0; i < n; i++)
    x[i] = (int32_t)i;
  ck_assert_int_eq(tsr_exec_bind_input_name(exec, "x", &tensor), TSR_OK);
  ck_assert_msg(tsr_exec_run(exec) == TSR_OK, "%s", tsr_exec_last_error(exec));
  ck_assert_int_eq(tsr_exec_output(exec, 0, &y), TSR_OK);
  ck_assert_int_eq(y.ndim, 1);
  ck_assert_int_eq(y.shape[0], n);
  ck_assert_uint_eq((uintptr_t)y.data % 64, 0);
  for (int64_t i = 0; i < n; i++)
    ck_assert_int_eq(((const int32_t *)y.data)[i], x[i] + added);
  ck_assert_int_eq(tsr_exec_output_name(exec, "z", &z), TSR_OK);
  ck_assert_int_eq(z.shape[0], 4);
  for (int i = 0; i < 4; i++)
    ck_assert_int_eq(((const int32_t *)z.data)[i], 2 * test_weight[i]);
  free(x);
}

START_TEST(chain_runs_on_any_shape_and_threads) {
  static const int64_t sizes[] = {1, 4, 5, 16, 17, 1000, 65536, 3, 100000};
  tsr_module *module = load_chain();
  for (uint32_t threads = 1; threads <= 4; threads++) {
    tsr_exec *exec = create_exec(module, threads);
    for (size_t i = 0; i < TEST_LENGTH(sizes); i++)
      check_chain(exec, sizes[i]);
    tsr_exec_destroy(exec);
  }
  tsr_module_release(module);
}
END_TEST

START_TEST(plan_is_reused_and_tight) {
  tsr_module *module = load_chain();
  tsr_exec *exec = create_exec(module, 1);
  tsr_exec_stats stats;
  int64_t n;
  for (int i = 0; i < 5; i++)
    check_chain(exec, 1000);
  tsr_exec_get_stats(exec, &stats);
  ck_assert_uint_eq(stats.plans, 1);
  ck_assert_uint_eq(stats.runs, 5);
  ck_assert_uint_eq(stats.launches, 5);
  ck_assert_uint_eq(stats.temporary_bytes, 3 * 4032);
  ck_assert_uint_eq(stats.arena_bytes, 2 * 4032); /* two of the three live at a time */
  ck_assert_uint_eq(stats.persistent_bytes, 0);
  check_chain(exec, 999);
  tsr_exec_get_stats(exec, &stats);
  ck_assert_uint_eq(stats.plans, 2);
  ck_assert_int_eq(tsr_exec_dim_value(exec, 0, &n), TSR_OK);
  ck_assert_int_eq(n, 999);
  tsr_exec_destroy(exec);
  tsr_module_release(module);
}
END_TEST

/* The first `zeros` of n elements are 0. */
static tsr_status run_filter(tsr_exec *exec, int64_t n, int64_t zeros) {
  int64_t twice = 2 * n;
  int32_t *x = (int32_t *)malloc((size_t)n * sizeof *x + 1), *b = x;
  DLTensor tensor = test_tensor(x, TSR_I32, &n, 1), second = test_tensor(b, TSR_I32, &twice, 1), y;
  tsr_status status;
  for (int64_t i = 0; i < n; i++)
    x[i] = i < zeros ? 0 : (int32_t)i + 1;
  ck_assert_int_eq(tsr_exec_bind_input(exec, 0, &tensor), TSR_OK);
  ck_assert_int_eq(tsr_exec_bind_input(exec, 1, &second), TSR_OK);
  status = tsr_exec_run(exec);
  if (status == TSR_OK) {
    ck_assert_int_eq(tsr_exec_output(exec, 0, &y), TSR_OK);
    ck_assert_int_eq(y.shape[0], n - zeros);
    for (int64_t i = 0; i < n - zeros; i++)
      ck_assert_int_eq(((const int32_t *)y.data)[i], x[i] + 2);
  }
  free(x);
  return status;
}

START_TEST(dims_are_read_between_segments) {
  tsr_module *module = load_filter();
  tsr_exec *exec = create_exec(module, 2);
  tsr_exec_stats stats;
  int64_t m;
  ck_assert_int_eq(run_filter(exec, 100, 30), TSR_OK);
  tsr_exec_get_stats(exec, &stats);
  ck_assert_uint_eq(stats.plans, 2);
  ck_assert_uint_ge(stats.persistent_bytes, 400);
  ck_assert_int_eq(tsr_exec_dim_value(exec, 1, &m), TSR_OK);
  ck_assert_int_eq(m, 70);
  ck_assert_int_eq(run_filter(exec, 100, 30), TSR_OK);
  tsr_exec_get_stats(exec, &stats);
  ck_assert_uint_eq(stats.plans, 2);
  ck_assert_int_eq(run_filter(exec, 100, 0), TSR_OK);
  tsr_exec_get_stats(exec, &stats);
  ck_assert_uint_eq(stats.plans, 3); /* only what follows the read */
  ck_assert_int_eq(run_filter(exec, 100, 100), TSR_OK);
  tsr_exec_get_stats(exec, &stats);
  ck_assert_uint_eq(stats.launches, 2); /* nothing to do after the read */
  ck_assert_int_eq(run_filter(exec, 0, 0), TSR_OK);
  for (int64_t n = 1; n < 300; n += 7)
    ck_assert_int_eq(run_filter(exec, n, n / 3), TSR_OK);
  tsr_exec_destroy(exec);
  tsr_module_release(module);
}
END_TEST

START_TEST(read_dims_are_checked) {
  tsr_module *module = load_filter();
  tsr_exec *exec = create_exec(module, 1);
  DLTensor y;
  ck_assert_int_eq(run_filter(exec, 1001, 0), TSR_ERR_SHAPE);
  ck_assert_ptr_nonnull(strstr(tsr_exec_last_error(exec), "'M' = 1001 is outside"));
  ck_assert_int_eq(tsr_exec_output(exec, 0, &y), TSR_ERR_STATE);
  ck_assert_int_eq(run_filter(exec, 1001, 1), TSR_OK);
  tsr_exec_destroy(exec);
  tsr_module_release(module);
}
END_TEST

/* A read outside its buffer: the counter has one element. */
START_TEST(reads_are_bounded) {
  static const tsr_dim_read reads[] = {{1, 3, 1}};
  tsr_program program = test_filter_program();
  tsr_module *module;
  tsr_exec *exec;
  program.reads = reads;
  module = load_program(&program, NULL);
  exec = create_exec(module, 1);
  ck_assert_int_eq(run_filter(exec, 10, 0), TSR_ERR_SHAPE);
  ck_assert_ptr_nonnull(strstr(tsr_exec_last_error(exec), "number 1 is wanted"));
  tsr_exec_destroy(exec);
  tsr_module_release(module);
}
END_TEST

static void expect_bind(tsr_exec *exec, const DLTensor *tensor, tsr_status status,
                        const char *words) {
  ck_assert_int_eq(tsr_exec_bind_input(exec, 0, tensor), status);
  ck_assert_int_eq(tsr_exec_last_status(exec), status);
  ck_assert_msg(strstr(tsr_exec_last_error(exec), words) != NULL, "'%s' lacks '%s'",
                tsr_exec_last_error(exec), words);
  ck_assert_int_eq(tsr_exec_run(exec), TSR_ERR_STATE);
}

START_TEST(bad_inputs_are_named) {
  tsr_module *module = load_chain();
  tsr_exec *exec = create_exec(module, 1);
  int32_t data[64] = {0};
  int64_t n = 8, shape[2] = {2, 4}, strides[1] = {2};
  DLTensor good = test_tensor(data, TSR_I32, &n, 1), bad;
  ck_assert_str_eq(tsr_exec_last_error(exec), "");
  ck_assert_int_eq(tsr_exec_run(exec), TSR_ERR_STATE);
  ck_assert_ptr_nonnull(strstr(tsr_exec_last_error(exec), "'x' is not bound"));
  expect_bind(exec, NULL, TSR_ERR_ARGUMENT, "NULL");
  bad = test_tensor(data, TSR_F32, &n, 1);
  expect_bind(exec, &bad, TSR_ERR_TYPE, "input 'x': dtype is f32, the module wants i32");
  bad.dtype.lanes = 4;
  expect_bind(exec, &bad, TSR_ERR_TYPE, "4 lanes");
  bad = test_tensor(data, TSR_I32, shape, 2);
  expect_bind(exec, &bad, TSR_ERR_TYPE, "rank is 2, the module wants 1");
  bad = good;
  bad.device.device_type = kDLCUDA;
  expect_bind(exec, &bad, TSR_ERR_DEVICE, "host memory");
  bad = good;
  bad.strides = strides;
  expect_bind(exec, &bad, TSR_ERR_ARGUMENT, "row-major");
  bad = good;
  bad.byte_offset = 2;
  expect_bind(exec, &bad, TSR_ERR_ARGUMENT, "misaligned");
  bad = good;
  bad.data = NULL;
  expect_bind(exec, &bad, TSR_ERR_ARGUMENT, "data is NULL");
  bad = good;
  bad.shape = NULL;
  expect_bind(exec, &bad, TSR_ERR_ARGUMENT, "shape is NULL");
  n = -1;
  expect_bind(exec, &good, TSR_ERR_SHAPE, "negative");
  n = 0;
  expect_bind(exec, &good, TSR_ERR_SHAPE, "('N') is 0, the module was compiled for 1..1048576");
  n = (1 << 20) + 1;
  expect_bind(exec, &good, TSR_ERR_SHAPE, "1048577");
  n = INT64_MAX;
  expect_bind(exec, &good, TSR_ERR_SHAPE, "'N'");
  ck_assert_int_eq(tsr_exec_bind_input(exec, 1, &good), TSR_ERR_ARGUMENT);
  ck_assert_int_eq(tsr_exec_bind_input_name(exec, "y", &good), TSR_ERR_NOT_FOUND);
  n = 1;
  bad = good; /* the stride of a dim of size 1 is meaningless */
  bad.strides = strides;
  ck_assert_int_eq(tsr_exec_bind_input(exec, 0, &bad), TSR_OK);
  check_chain(exec, 50);
  tsr_exec_destroy(exec);
  tsr_module_release(module);
}
END_TEST

START_TEST(inputs_must_agree) {
  tsr_module *module = load_filter();
  tsr_exec *exec = create_exec(module, 1);
  int32_t data[16] = {0};
  int64_t n = 5, twice = 9;
  DLTensor x = test_tensor(data, TSR_I32, &n, 1), b = test_tensor(data, TSR_I32, &twice, 1);
  ck_assert_int_eq(tsr_exec_bind_input(exec, 0, &x), TSR_OK);
  ck_assert_int_eq(tsr_exec_bind_input(exec, 1, &b), TSR_OK);
  ck_assert_int_eq(tsr_exec_run(exec), TSR_ERR_SHAPE);
  ck_assert_str_eq(tsr_exec_last_error(exec),
                   "input 'b': dim 0 is 9, but the other inputs make it 10 (2 * N)");
  twice = 10;
  ck_assert_int_eq(tsr_exec_bind_input(exec, 1, &b), TSR_OK);
  ck_assert_int_eq(tsr_exec_run(exec), TSR_OK);
  tsr_exec_destroy(exec);
  tsr_module_release(module);
}
END_TEST

/* Both inputs of the filter made plain [N]. */
START_TEST(shared_dims_name_both_inputs) {
  tsr_program program = test_filter_program();
  tsr_buffer_desc buffers[6];
  tsr_module *module;
  tsr_exec *exec;
  int32_t data[16] = {0};
  int64_t five = 5, six = 6;
  DLTensor x = test_tensor(data, TSR_I32, &five, 1), b = test_tensor(data, TSR_I32, &six, 1);
  memcpy(buffers, program.buffers, sizeof buffers);
  buffers[1].first_dim = 0;
  program.buffers = buffers;
  module = load_program(&program, NULL);
  exec = create_exec(module, 1);
  ck_assert_int_eq(tsr_exec_bind_input(exec, 0, &x), TSR_OK);
  ck_assert_int_eq(tsr_exec_bind_input(exec, 1, &b), TSR_OK);
  ck_assert_int_eq(tsr_exec_run(exec), TSR_ERR_SHAPE);
  ck_assert_str_eq(tsr_exec_last_error(exec),
                   "input 'b': dim 0 ('N') is 6, but input 'x' has 5 there");
  tsr_exec_destroy(exec);
  tsr_module_release(module);
}
END_TEST

/* Temporaries of N * 2^62 bytes. */
START_TEST(sizes_that_overflow_are_shape_errors) {
  static const tsr_index_step steps[] = {{TSR_INDEX_DIM, 0}, {TSR_INDEX_INT, 4}, {TSR_INDEX_DIM, 0},
                                         {TSR_INDEX_INT, 4}, {TSR_INDEX_LE, 0},  {TSR_INDEX_DIM, 0},
                                         {TSR_INDEX_INT, 0}, {TSR_INDEX_MUL, 0}};
  static const tsr_code codes[] = {{0, 1}, {1, 1}, {5, 3}};
  static const int64_t factors[] = {(int64_t)1 << 62, (int64_t)1 << 60, ((int64_t)1 << 60) - 8};
  int32_t data[8] = {0};
  int64_t n = 8;
  DLTensor x = test_tensor(data, TSR_I32, &n, 1);
  for (int i = 0; i < 3; i++) {
    tsr_program program = test_chain_program();
    tsr_index_step changed[TEST_LENGTH(steps)];
    tsr_buffer_desc buffers[8];
    tsr_module *module;
    tsr_exec *exec;
    memcpy(changed, steps, sizeof changed);
    changed[6].operand = factors[i];
    TEST_TABLE(program, steps, step_count, changed);
    TEST_TABLE(program, codes, code_count, codes);
    memcpy(buffers, program.buffers, sizeof buffers);
    buffers[1].first_dim = buffers[2].first_dim = 2;
    program.buffers = buffers;
    module = load_program(&program, NULL);
    exec = create_exec(module, 1);
    ck_assert_int_eq(tsr_exec_bind_input(exec, 0, &x), TSR_OK);
    ck_assert_int_eq(tsr_exec_run(exec), TSR_ERR_SHAPE);
    ck_assert_ptr_nonnull(strstr(tsr_exec_last_error(exec), "overflows"));
    tsr_exec_destroy(exec);
    tsr_module_release(module);
  }
}
END_TEST

START_TEST(outputs_can_be_bound_and_taken) {
  tsr_module *module = load_chain();
  tsr_exec *exec = create_exec(module, 1);
  int32_t in[8] = {1, 2, 3, 4, 5, 6, 7, 8}, out[8] = {0};
  int64_t n = 8, wrong = 7;
  DLTensor x = test_tensor(in, TSR_I32, &n, 1), y = test_tensor(out, TSR_I32, &n, 1), view;
  DLTensor wrong_y = test_tensor(out, TSR_I32, &wrong, 1);
  DLManagedTensor *taken;
  ck_assert_int_eq(tsr_exec_output(exec, 0, &view), TSR_ERR_STATE);
  ck_assert_int_eq(tsr_exec_take_output(exec, 0, &taken), TSR_ERR_STATE);
  ck_assert_int_eq(tsr_exec_bind_input(exec, 0, &x), TSR_OK);
  ck_assert_int_eq(tsr_exec_bind_output_name(exec, "y", &wrong_y), TSR_OK);
  ck_assert_int_eq(tsr_exec_run(exec), TSR_ERR_SHAPE);
  ck_assert_str_eq(tsr_exec_last_error(exec),
                   "output 'y': dim 0 of the bound tensor is 7, the result has 8");
  ck_assert_int_eq(tsr_exec_bind_output(exec, 0, &y), TSR_OK);
  ck_assert_int_eq(tsr_exec_run(exec), TSR_OK);
  for (int i = 0; i < 8; i++)
    ck_assert_int_eq(out[i], in[i] + 4);
  ck_assert_int_eq(tsr_exec_output(exec, 0, &view), TSR_OK);
  ck_assert_ptr_eq(view.data, out);
  ck_assert_int_eq(tsr_exec_take_output(exec, 0, &taken), TSR_ERR_STATE);
  ck_assert_int_eq(tsr_exec_bind_output(exec, 0, NULL), TSR_OK);
  ck_assert_int_eq(tsr_exec_output(exec, 0, &view), TSR_ERR_STATE);
  out[0] = -1;
  ck_assert_int_eq(tsr_exec_run(exec), TSR_OK);
  ck_assert_int_eq(out[0], -1);
  ck_assert_int_eq(tsr_exec_take_output(exec, 0, &taken), TSR_OK);
  ck_assert_int_eq(tsr_exec_output(exec, 0, &view), TSR_ERR_STATE);
  taken->deleter(taken);
  ck_assert_int_eq(tsr_exec_take_output(exec, 2, &taken), TSR_ERR_ARGUMENT);
  ck_assert_ptr_null(taken);
  ck_assert_int_eq(tsr_exec_take_output(exec, 1, &taken), TSR_OK);
  taken->deleter(taken);
  in[0] = 100;
  ck_assert_int_eq(tsr_exec_run(exec), TSR_OK);
  ck_assert_int_eq(tsr_exec_take_output(exec, 0, &taken), TSR_OK);
  in[0] = 200;
  ck_assert_int_eq(tsr_exec_run(exec), TSR_OK);
  ck_assert_int_eq(tsr_exec_output(exec, 0, &view), TSR_OK);
  ck_assert_int_eq(((int32_t *)view.data)[0], 204);
  tsr_exec_destroy(exec);
  tsr_module_release(module);
  ck_assert_int_eq(taken->dl_tensor.shape[0], 8);
  ck_assert_int_eq(((int32_t *)taken->dl_tensor.data)[0], 104);
  taken->deleter(taken);
}
END_TEST

/* The module's own reference ends before the last exec. */
static void *thread_main(void *argument) {
  tsr_exec *exec = create_exec((tsr_module *)argument, 2);
  tsr_module_release((tsr_module *)argument);
  for (int64_t n = 1; n < 400; n += 13)
    check_chain(exec, n);
  tsr_exec_destroy(exec);
  return NULL;
}

START_TEST(threads_share_a_module) {
  tsr_module *module = load_chain();
  pthread_t threads[4];
  for (int i = 0; i < 4; i++)
    ck_assert_int_eq(pthread_create(&threads[i], NULL, thread_main, tsr_module_retain(module)), 0);
  tsr_module_release(module);
  for (int i = 0; i < 4; i++)
    pthread_join(threads[i], NULL);
}
END_TEST

/* Runs the tasks one by one, backwards. */
static void backwards(void *context, int64_t tasks, tsr_task_function function,
                      void *function_context) {
  ++*(int *)context;
  for (int64_t i = tasks - 1; i >= 0; i--)
    function(function_context, i, i + 1, (uint32_t)(i % 3));
}

START_TEST(executors_can_be_replaced) {
  tsr_module *module = load_chain();
  int calls = 0;
  tsr_executor executor = {&calls, 3, backwards}, empty = {NULL, 0, NULL};
  tsr_exec_options options = {.size = sizeof options, .executor = &executor};
  tsr_exec *exec;
  tsr_message message;
  ck_assert_int_eq(tsr_exec_create(module, &options, &exec, &message), TSR_OK);
  check_chain(exec, 77);
  ck_assert_int_eq(calls, 5);
  tsr_exec_destroy(exec);
  options.executor = &empty;
  ck_assert_int_eq(tsr_exec_create(module, &options, &exec, &message), TSR_ERR_ARGUMENT);
  ck_assert_ptr_null(exec);
  ck_assert_uint_ne(strlen(message.text), 0);
  options.size = 0;
  ck_assert_int_eq(tsr_exec_create(module, &options, &exec, &message), TSR_ERR_ARGUMENT);
  ck_assert_int_eq(tsr_exec_create(NULL, NULL, &exec, &message), TSR_ERR_ARGUMENT);
  ck_assert_int_eq(tsr_exec_run(NULL), TSR_ERR_ARGUMENT);
  tsr_exec_destroy(NULL);
  tsr_module_release(module);
}
END_TEST

START_TEST(execs_share_a_pool) {
  tsr_module *module = load_chain();
  tsr_pool *pool;
  tsr_executor executor;
  tsr_exec_options options = {.size = sizeof options, .executor = &executor};
  tsr_exec *a, *b;
  ck_assert_int_eq(tsr_pool_create(3, NULL, &pool), TSR_OK);
  executor = tsr_pool_executor(pool);
  ck_assert_int_eq(tsr_exec_create(module, &options, &a, NULL), TSR_OK);
  ck_assert_int_eq(tsr_exec_create(module, &options, &b, NULL), TSR_OK);
  for (int64_t n = 5; n < 100; n++) {
    check_chain(a, n);
    check_chain(b, 2 * n);
  }
  tsr_exec_destroy(a);
  tsr_exec_destroy(b);
  tsr_pool_destroy(pool);
  tsr_module_release(module);
}
END_TEST

static int count_text(const char *text, const char *part) {
  int count = 0;
  for (; (text = strstr(text, part)) != NULL; text += strlen(part))
    count++;
  return count;
}

START_TEST(trace_has_an_event_per_launch) {
  tsr_module *module = load_chain();
  tsr_exec *exec = create_exec(module, 1);
  const char *folder = getenv("TESSERA_TEST_TMP");
  char path[512], text[8192] = {0};
  FILE *file;
  (void)snprintf(path, sizeof path, "%s/%ld-trace.json", folder != NULL ? folder : "/tmp",
                 (long)getpid());
  ck_assert_int_eq(tsr_exec_set_trace(exec, "/no/such/folder/trace.json"), TSR_ERR_IO);
  ck_assert_int_eq(tsr_exec_set_trace(exec, path), TSR_OK);
  check_chain(exec, 10);
  check_chain(exec, 2);
  ck_assert_int_eq(tsr_exec_set_trace(exec, NULL), TSR_OK);
  check_chain(exec, 10);
  file = fopen(path, "r");
  ck_assert_ptr_nonnull(file);
  ck_assert_uint_gt(fread(text, 1, sizeof text - 1, file), 0);
  fclose(file);
  (void)unlink(path);
  ck_assert_int_eq(count_text(text, "\"ph\":\"X\""), 10);
  ck_assert_int_eq(count_text(text, "\"name\":\"add_hundred\""), 1);
  ck_assert_int_eq(count_text(text, "\"nodes\":\"Add \\\"quoted\\\"\""), 1);
  ck_assert_int_eq(text[0], '[');
  ck_assert_str_eq(text + strlen(text) - 3, "\n]\n");
  tsr_exec_destroy(exec);
  tsr_module_release(module);
}
END_TEST

/* One whole life of a module and an exec in which the k-th allocation fails. */
static bool live_once(const void *data, size_t size, int k) {
  test_heap heap;
  tsr_module_options options = {.size = sizeof options, .allocator = &heap.allocator};
  tsr_exec_options exec_options = {
      .size = sizeof exec_options, .allocator = &heap.allocator, .threads = 2};
  tsr_module *module;
  tsr_exec *exec = NULL;
  DLManagedTensor *taken = NULL;
  int32_t x[10] = {0, 1, 2};
  int64_t n = 10, twice = 20;
  DLTensor tensor = test_tensor(x, TSR_I32, &n, 1), second;
  int32_t b[20] = {0};
  tsr_status status;
  test_heap_init(&heap, k);
  second = test_tensor(b, TSR_I32, &twice, 1);
  status = tsr_module_load_memory(data, size, &options, &module, NULL);
  if (status == TSR_OK)
    status = tsr_exec_create(module, &exec_options, &exec, NULL);
  if (status == TSR_OK)
    status = tsr_exec_bind_input(exec, 0, &tensor);
  if (status == TSR_OK)
    status = tsr_exec_bind_input(exec, 1, &second);
  if (status == TSR_OK)
    status = tsr_exec_run(exec);
  if (status == TSR_OK)
    status = tsr_exec_take_output(exec, 0, &taken);
  if (status == TSR_OK)
    status = tsr_exec_set_trace(exec, "/dev/null");
  if (status == TSR_OK)
    status = tsr_exec_run(exec);
  ck_assert(status == TSR_OK || status == TSR_ERR_OUT_OF_MEMORY);
  if (taken != NULL)
    taken->deleter(taken);
  tsr_exec_destroy(exec);
  tsr_module_release(module);
  ck_assert_int_eq(heap.live, 0);
  return status == TSR_OK;
}

START_TEST(allocation_failures_are_clean) {
  tsr_program filter = test_filter_program();
  const tsr_program *program = &filter;
  void *data;
  size_t size;
  int k = 1;
  ck_assert_int_eq(tsr_module_write_memory(&program, 1, NULL, &data, &size, NULL), TSR_OK);
  while (!live_once(data, size, k) && k < 1000)
    k++;
  ck_assert_int_gt(k, 10);
  ck_assert_int_lt(k, 1000);
  free(data);
}
END_TEST

/* After memory ran out in a run, the next run works. */
START_TEST(exec_recovers_from_failure) {
  test_heap heap;
  tsr_module *module = load_chain();
  tsr_exec_options options = {.size = sizeof options, .allocator = &heap.allocator, .threads = 1};
  tsr_exec *exec;
  int32_t x[100] = {0};
  int64_t n = 100;
  DLTensor tensor = test_tensor(x, TSR_I32, &n, 1);
  test_heap_init(&heap, 0);
  ck_assert_int_eq(tsr_exec_create(module, &options, &exec, NULL), TSR_OK);
  ck_assert_int_eq(tsr_exec_bind_input(exec, 0, &tensor), TSR_OK);
  for (int k = 1; k < 4; k++) {
    heap.fail_at = atomic_load(&heap.calls) + k;
    ck_assert_int_eq(tsr_exec_run(exec), k <= 2 ? TSR_ERR_OUT_OF_MEMORY : TSR_OK);
  }
  heap.fail_at = 0;
  check_chain(exec, 100);
  check_chain(exec, 3000);
  heap.fail_at = atomic_load(&heap.calls) + 1;
  n = 100;
  ck_assert_int_eq(tsr_exec_bind_input(exec, 0, &tensor), TSR_OK);
  ck_assert_int_eq(tsr_exec_run(exec), TSR_OK); /* smaller: needs no memory */
  tsr_exec_destroy(exec);
  ck_assert_int_eq(heap.live, 0);
  tsr_module_release(module);
}
END_TEST

/* Memory that a later stage asked for in vain is missed by the stages before it too. */
START_TEST(stages_recover_together) {
  test_heap heap;
  tsr_module *module = load_filter();
  tsr_exec_options options = {.size = sizeof options, .allocator = &heap.allocator, .threads = 1};
  tsr_exec *exec;
  int32_t x[100] = {1, 2, 3}, b[200] = {0};
  int64_t n = 100, twice = 200;
  DLTensor in = test_tensor(x, TSR_I32, &n, 1), other = test_tensor(b, TSR_I32, &twice, 1), y;
  test_heap_init(&heap, 0);
  ck_assert_int_eq(tsr_exec_create(module, &options, &exec, NULL), TSR_OK);
  ck_assert_int_eq(tsr_exec_bind_input(exec, 0, &in), TSR_OK);
  ck_assert_int_eq(tsr_exec_bind_input(exec, 1, &other), TSR_OK);
  ck_assert_int_eq(tsr_exec_run(exec), TSR_OK);
  for (int i = 0; i < 100; i++)
    x[i] = i + 1;
  heap.fail_at = atomic_load(&heap.calls) + 1;
  ck_assert_int_eq(tsr_exec_run(exec), TSR_ERR_OUT_OF_MEMORY);
  heap.fail_at = 0;
  ck_assert_int_eq(tsr_exec_run(exec), TSR_OK);
  ck_assert_int_eq(tsr_exec_output(exec, 0, &y), TSR_OK);
  ck_assert_int_eq(y.shape[0], 100);
  for (int i = 0; i < 100; i++)
    ck_assert_int_eq(((const int32_t *)y.data)[i], x[i] + 2);
  tsr_exec_destroy(exec);
  ck_assert_int_eq(heap.live, 0);
  tsr_module_release(module);
}
END_TEST

/* y = 0 + x, by a launch that adds to what it had cleared; memory starts as garbage. */
START_TEST(results_are_cleared_before_a_launch) {
  static const uint32_t arguments[] = {1, 0, 4, 1, 5, 6, 7};
  static const tsr_launch_desc launches[] = {{2, 1, 0, 3, 3, 1}, {2, 1, 4, 3, 0, 0}};
  static const tsr_segment_desc segments[] = {{0, 2, 0, 0}};
  static const tsr_variant_desc variants[] = {
      {{0, 0}, ADD_ONE, 1, {{0, 1}}}, {{0, 0}, ADD_ONE, 1, {{0, 1}}}, {{0, 0}, SUM, 1, {{1, 1}}}};
  tsr_program program = test_chain_program();
  test_heap heap;
  tsr_exec_options options = {.size = sizeof options, .allocator = &heap.allocator, .threads = 1};
  tsr_module *module;
  tsr_exec *exec;
  int32_t x[4] = {5, 6, 7, 8};
  int64_t n = 4;
  DLTensor in = test_tensor(x, TSR_I32, &n, 1), y;
  TEST_TABLE(program, arguments, argument_count, arguments);
  TEST_TABLE(program, launches, launch_count, launches);
  TEST_TABLE(program, segments, segment_count, segments);
  TEST_TABLE(program, variants, variant_count, variants);
  test_heap_init(&heap, 0);
  module = load_program(&program, NULL);
  ck_assert_int_eq(tsr_exec_create(module, &options, &exec, NULL), TSR_OK);
  ck_assert_int_eq(tsr_exec_bind_input(exec, 0, &in), TSR_OK);
  for (int run = 0; run < 2; run++) {
    ck_assert_int_eq(tsr_exec_run(exec), TSR_OK);
    ck_assert_int_eq(tsr_exec_output(exec, 0, &y), TSR_OK);
    ck_assert_mem_eq(y.data, x, sizeof x);
  }
  tsr_exec_destroy(exec);
  tsr_module_release(module);
}
END_TEST

/* A kernel on AMX tiles gives way to the launch's next one where the system permits no tiles to the
 * process. */
START_TEST(tiles_need_permission) {
  enum { ROWS = 48, COLUMNS = 16 };
  tsr_program program = test_chain_program();
  tsr_kernel_desc kernels[KERNELS];
  tsr_exec_options options = {.size = sizeof options, .threads = 1};
  tsr_exec *exec;
  int32_t x[4] = {5, 6, 7, 8};
  int64_t n = 4;
  DLTensor in = test_tensor(x, TSR_I32, &n, 1), y;
  memcpy(kernels, program.kernels, sizeof kernels);
  kernels[ADD_HUNDRED].tiles[0] = 1;
  kernels[ADD_HUNDRED].tiles[ROWS] = 16;
  kernels[ADD_HUNDRED].tiles[COLUMNS] = 64;
  program.kernels = kernels;
  tsr_module *module = load_program(&program, NULL);
  ck_assert_int_eq(tsr_exec_create(module, &options, &exec, NULL), TSR_OK);
  ck_assert_int_eq(tsr_exec_bind_input(exec, 0, &in), TSR_OK);
  ck_assert_int_eq(tsr_exec_run(exec), TSR_OK);
  ck_assert_int_eq(tsr_exec_output(exec, 0, &y), TSR_OK);
  const int32_t first = tsr_cpu_request_amx() ? 100 : 1;
  for (int i = 0; i < 4; i++)
    ck_assert_int_eq(((const int32_t *)y.data)[i], x[i] + first + 3);
  tsr_exec_destroy(exec);
  tsr_module_release(module);
}
END_TEST

/* The calls for devices that need no waiting mean the same on the CPU, and what only they have is
 * refused. */
START_TEST(runs_can_be_waited_for) {
  tsr_module *module = load_chain();
  tsr_exec *exec = create_exec(module, 1), *none;
  tsr_exec_options options = {.size = sizeof options, .output_device = kDLCUDA};
  tsr_exec_stats stats;
  int32_t x[5] = {1, 2, 3, 4, 5};
  int64_t n = 5;
  DLTensor in = test_tensor(x, TSR_I32, &n, 1), y;
  ck_assert_int_eq(tsr_exec_wait(exec), TSR_OK);
  ck_assert_int_eq(tsr_exec_run_async(exec), TSR_ERR_STATE); /* not bound */
  ck_assert_int_eq(tsr_exec_bind_input(exec, 0, &in), TSR_OK);
  ck_assert_int_eq(tsr_exec_run_async(exec), TSR_OK);
  ck_assert_int_eq(tsr_exec_output(exec, 0, &y), TSR_ERR_STATE);
  ck_assert_int_eq(tsr_exec_run_async(exec), TSR_OK);
  ck_assert_int_eq(tsr_exec_wait(exec), TSR_OK);
  ck_assert_int_eq(tsr_exec_output(exec, 0, &y), TSR_OK);
  ck_assert_int_eq(((const int32_t *)y.data)[4], 9);
  tsr_exec_get_stats(exec, &stats);
  ck_assert_uint_eq(stats.runs, 2);
  in.device.device_type = kDLCUDA;
  ck_assert_int_eq(tsr_exec_bind_input(exec, 0, &in), TSR_ERR_DEVICE);
  ck_assert_int_eq(tsr_exec_create(module, &options, &none, NULL), TSR_ERR_ARGUMENT);
  options.output_device = 0;
  options.stream = x;
  ck_assert_int_eq(tsr_exec_create(module, &options, &none, NULL), TSR_ERR_ARGUMENT);
  ck_assert_int_eq(tsr_exec_run_async(NULL), TSR_ERR_ARGUMENT);
  ck_assert_int_eq(tsr_exec_wait(NULL), TSR_ERR_ARGUMENT);
  tsr_exec_destroy(exec);
  tsr_module_release(module);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("exec");
  TCase *tests = tcase_create("all");
  SRunner *runner;
  int failed;
  if (!TEST_HAS_KERNELS) {
    printf("SKIP: the kernels of this test are x86-64 machine code\n");
    return 0;
  }
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, chain_runs_on_any_shape_and_threads);
  tcase_add_test(tests, plan_is_reused_and_tight);
  tcase_add_test(tests, dims_are_read_between_segments);
  tcase_add_test(tests, read_dims_are_checked);
  tcase_add_test(tests, reads_are_bounded);
  tcase_add_test(tests, bad_inputs_are_named);
  tcase_add_test(tests, inputs_must_agree);
  tcase_add_test(tests, shared_dims_name_both_inputs);
  tcase_add_test(tests, sizes_that_overflow_are_shape_errors);
  tcase_add_test(tests, outputs_can_be_bound_and_taken);
  tcase_add_test(tests, threads_share_a_module);
  tcase_add_test(tests, executors_can_be_replaced);
  tcase_add_test(tests, execs_share_a_pool);
  tcase_add_test(tests, trace_has_an_event_per_launch);
  tcase_add_test(tests, allocation_failures_are_clean);
  tcase_add_test(tests, exec_recovers_from_failure);
  tcase_add_test(tests, stages_recover_together);
  tcase_add_test(tests, results_are_cleared_before_a_launch);
  tcase_add_test(tests, tiles_need_permission);
  tcase_add_test(tests, runs_can_be_waited_for);
  suite_add_tcase(suite, tests);
  runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
