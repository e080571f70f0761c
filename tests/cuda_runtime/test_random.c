/* The random programs of tests/runtime on the emulated device: the same plans behind a stream,
 * launch by launch and as graphs, with the driver's work in different orders. */
#include "runtime/exec/exec.h"
#include "tests/cuda_runtime/cuda_programs.h"
#include "tests/runtime/random_programs.h"
#include <check.h>
#include <stdio.h>

/* Each size three times with different contents: run, captured, replayed. */
static void run_program(generator *from, interpreter *expected, uint64_t seed,
                        uint64_t *inout_graphs) {
  tsr_exec_stats stats;
  tsr_arena arena;
  tsr_program program;
  const tsr_program *programs = &program;
  tsr_module *module;
  tsr_exec *exec;
  tsr_message message;
  test_file file;
  tsr_arena_init(&arena, tsr_allocator_default());
  generate(from, seed);
  program = test_on_cuda(&arena, from->program, "cuda-emulated", "sm_80");
  file = test_write(&programs, 1);
  ck_assert_msg(tsr_module_load_memory(file.bytes, file.size, NULL, &module, &message) == TSR_OK,
                "%s", message.text);
  ck_assert_int_eq(tsr_exec_create(module, NULL, &exec, NULL), TSR_OK);
  for (uint64_t round = 0; round < 9; round++)
    run_random(exec, from, expected, (int64_t)((seed + round / 3) * 7 % 24));
  tsr_exec_get_stats(exec, &stats);
  *inout_graphs += stats.graph_launches;
  tsr_exec_destroy(exec);
  tsr_module_release(module);
  free(file.bytes);
  tsr_arena_reset(&arena);
}

START_TEST(random_programs_match) {
  static const char *const orders[] = {"0", "1", "9"};
  generator *from = (generator *)malloc(sizeof *from);
  interpreter *expected = (interpreter *)calloc(1, sizeof *expected);
  uint64_t graphs = 0;
  (void)setenv("TESSERA_EMULATED_SEED", orders[_i], 1);
  test_use_driver(true, "90");
  for (uint64_t seed = 1; seed <= 40; seed++)
    run_program(from, expected, (uint64_t)_i * 100 + seed, &graphs);
  ck_assert_uint_gt(graphs, 60);
  ck_assert_int_eq(test_spy()->live, 0);
  free(expected);
  free(from);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("cuda_random");
  TCase *tests = tcase_create("all");
  SRunner *runner;
  int failed;
  tcase_set_timeout(tests, 120);
  tcase_add_loop_test(tests, random_programs_match, 0, 3);
  suite_add_tcase(suite, tests);
  runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
