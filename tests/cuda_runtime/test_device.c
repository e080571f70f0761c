/* The runtime on a CUDA device that is there: skipped, with the reason, where none is. */
#include "runtime/cuda/cuda.h"
#include "runtime/exec/exec.h"
#include "tests/cuda_runtime/cuda_programs.h"
#include "tests/runtime/random_programs.h"
#include <check.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct fixture {
  tsr_arena arena;
  tsr_module *module;
  tsr_exec *exec;
} fixture;

/* Memory of the arena's holds the program, the module a copy. */
static void load(fixture *self, const tsr_program *program, const tsr_exec_options *options) {
  tsr_message message;
  test_file file = test_write(&program, 1);
  ck_assert_msg(tsr_module_load_memory(file.bytes, file.size, NULL, &self->module, &message) ==
                    TSR_OK,
                "%s", message.text);
  free(file.bytes);
  ck_assert_msg(tsr_exec_create(self->module, options, &self->exec, &message) == TSR_OK, "%s",
                message.text);
}

static void unload(fixture *self) {
  tsr_exec_destroy(self->exec);
  tsr_module_release(self->module);
  tsr_arena_reset(&self->arena);
}

static void must(const fixture *self, tsr_status status) {
  ck_assert_msg(status == TSR_OK, "%s", tsr_exec_last_error(self->exec));
}

/* Host to host, again and again: graphs are made, replayed, updated, made anew. */
START_TEST(graphs_compute_what_launches_do) {
  static const int64_t sizes[] = {1000, 1000, 1000, 1000, 77, 77, 77, 3, 3, 3, 70000, 70000, 70000};
  fixture self;
  tsr_program program;
  tsr_exec_stats stats;
  int32_t *x = (int32_t *)malloc(70000 * sizeof *x);
  tsr_arena_init(&self.arena, tsr_allocator_default());
  program = test_on_cuda(&self.arena, test_chain_program(), "cuda:sm_80", "sm_80");
  load(&self, &program, NULL);
  for (size_t run = 0; run < TEST_LENGTH(sizes); run++) {
    int64_t n = sizes[run];
    DLTensor in = test_tensor(x, TSR_I32, &n, 1), y, z;
    for (int64_t i = 0; i < n; i++)
      x[i] = (int32_t)((uint64_t)i * 7919 + run);
    must(&self, tsr_exec_bind_input(self.exec, 0, &in));
    must(&self, tsr_exec_run(self.exec));
    must(&self, tsr_exec_output(self.exec, 0, &y));
    must(&self, tsr_exec_output(self.exec, 1, &z));
    for (int64_t i = 0; i < n; i++)
      ck_assert_int_eq(((int32_t *)y.data)[i], x[i] + (n <= 4 ? 103 : 4));
    for (int64_t i = 0; i < 4; i++)
      ck_assert_int_eq(((int32_t *)z.data)[i], 2 * test_weight[i]);
  }
  tsr_exec_get_stats(self.exec, &stats);
  ck_assert_uint_eq(stats.graph_captures, 4);
  ck_assert_uint_eq(stats.graph_launches, 9);
  ck_assert_int_gt(stats.device_ns, 0);
  unload(&self);
  free(x);
}
END_TEST

START_TEST(random_programs_match) {
  generator *from = (generator *)malloc(sizeof *from);
  interpreter *expected = (interpreter *)calloc(1, sizeof *expected);
  for (uint64_t seed = 1; seed <= 100; seed++) {
    fixture self;
    tsr_program program;
    tsr_arena_init(&self.arena, tsr_allocator_default());
    generate(from, seed);
    program = test_on_cuda(&self.arena, from->program, "cuda:sm_80", "sm_80");
    load(&self, &program, NULL);
    for (uint64_t round = 0; round < 9; round++)
      run_random(self.exec, from, expected, (int64_t)((seed + round / 3) * 37 % INPUT_MOST));
    unload(&self);
  }
  free(expected);
  free(from);
}
END_TEST

/* What one exec leaves on the device is the next one's input, in place, in one stream. */
START_TEST(results_stay_on_the_device) {
  tsr_cuda_driver driver;
  tsr_cu_context context;
  tsr_cu_device device;
  tsr_cu_stream stream;
  tsr_exec_options options = {.size = sizeof options, .output_device = kDLCUDA};
  fixture first, second;
  tsr_program program;
  DLManagedTensor *taken;
  int32_t x[500], got[500];
  int64_t n = 500;
  DLTensor in = test_tensor(x, TSR_I32, &n, 1), out = test_tensor(got, TSR_I32, &n, 1), y;
  ck_assert_int_eq(tsr_cuda_driver_open(&driver, NULL), TSR_OK);
  ck_assert_int_eq(driver.cuDeviceGet(&device, 0), 0);
  ck_assert_int_eq(driver.cuDevicePrimaryCtxRetain(&context, device), 0);
  ck_assert_int_eq(driver.cuCtxPushCurrent_v2(context), 0);
  ck_assert_int_eq(driver.cuStreamCreate(&stream, TSR_CU_STREAM_NON_BLOCKING), 0);
  options.stream = stream;
  tsr_arena_init(&first.arena, tsr_allocator_default());
  tsr_arena_init(&second.arena, tsr_allocator_default());
  program = test_on_cuda(&first.arena, test_chain_program(), "cuda:sm_80", "sm_80");
  load(&first, &program, &options);
  load(&second, &program, &options);
  must(&first, tsr_exec_bind_input(first.exec, 0, &in));
  must(&second, tsr_exec_bind_output(second.exec, 0, &out));
  for (int run = 0; run < 4; run++) {
    for (int i = 0; i < 500; i++)
      x[i] = i * (run + 1);
    must(&first, tsr_exec_run_async(first.exec));
    must(&first, tsr_exec_output(first.exec, 0, &y));
    must(&second, tsr_exec_bind_input(second.exec, 0, &y));
    must(&second, tsr_exec_run_async(second.exec));
    must(&second, tsr_exec_wait(second.exec));
    for (int i = 0; i < 500; i++)
      ck_assert_int_eq(got[i], x[i] + 8);
  }
  must(&first, tsr_exec_wait(first.exec));
  must(&first, tsr_exec_take_output(first.exec, 0, &taken));
  unload(&first);
  unload(&second);
  ck_assert_int_eq(driver.cuMemcpyDtoHAsync_v2(
                       got, (tsr_cu_pointer)(uintptr_t)taken->dl_tensor.data, sizeof got, stream),
                   0);
  ck_assert_int_eq(driver.cuStreamSynchronize(stream), 0);
  ck_assert_int_eq(got[499], x[499] + 4);
  taken->deleter(taken);
  ck_assert_int_eq(driver.cuStreamDestroy_v2(stream), 0);
}
END_TEST

START_TEST(broken_kernels_are_named) {
  fixture self;
  tsr_program program;
  int32_t x[10] = {0};
  int64_t n = 10;
  DLTensor in = test_tensor(x, TSR_I32, &n, 1);
  if (_i == 1)
    (void)setenv("TESSERA_CUDA_SYNC", "1", 1);
  tsr_arena_init(&self.arena, tsr_allocator_default());
  program = test_broken_program(&self.arena, "cuda:sm_80");
  load(&self, &program, NULL);
  must(&self, tsr_exec_bind_input(self.exec, 0, &in));
  for (int run = 0; run < 2; run++) {
    ck_assert_int_eq(tsr_exec_run(self.exec), TSR_ERR_DEVICE);
    ck_assert_ptr_nonnull(strstr(tsr_exec_last_error(self.exec), "kernel 'second' (Scatter_1)"));
    ck_assert_int_eq(strstr(tsr_exec_last_error(self.exec), "'third'") == NULL, _i == 1);
  }
  unload(&self);
}
END_TEST

/* In a process of its own: a driver that has started does not survive the forks of Check. */
static bool has_device(void) {
  int status = 0;
  pid_t child = fork();
  if (child == 0) {
    cuda_device *device;
    tsr_diag diag;
    tsr_diag_clear(&diag);
    if (tsr_cuda_device_open(0, tsr_allocator_default(), &diag, &device) == TSR_OK &&
        !device->emulated)
      _exit(0);
    printf("SKIP: %s\n", diag.message[0] != '\0' ? diag.message : "the device is emulated");
    (void)fflush(stdout);
    _exit(77);
  }
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
         WEXITSTATUS(status) == 0;
}

int main(void) {
  Suite *suite;
  TCase *tests;
  SRunner *runner;
  int failed;
  if (!has_device())
    return 77;
  suite = suite_create("cuda_device");
  tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, graphs_compute_what_launches_do);
  tcase_add_test(tests, random_programs_match);
  tcase_add_test(tests, results_stay_on_the_device);
  tcase_add_loop_test(tests, broken_kernels_are_named, 0, 2);
  suite_add_tcase(suite, tests);
  runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
