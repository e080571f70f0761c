/* Random programs, run by the executor and by an interpreter that shares no memory: lifetimes,
 * stages, persistent buffers, replanning. */
#include "runtime/module/writer.h"
#include "tests/runtime/random_programs.h"
#include <check.h>
#include <stdio.h>

START_TEST(random_programs_match) {
  generator *from = (generator *)malloc(sizeof *from);
  interpreter *expected = (interpreter *)calloc(1, sizeof *expected);
  for (uint64_t seed = 1; seed < 400; seed++) {
    const tsr_program *program = &from->program;
    test_heap heap;
    tsr_exec_options options = {.size = sizeof options,
                                .allocator = &heap.allocator,
                                .threads = 1 + (uint32_t)(seed % 8 == 0)};
    tsr_module *module;
    tsr_exec *exec;
    tsr_diag diag;
    void *data;
    size_t size;
    test_heap_init(&heap, 0);
    generate(from, seed);
    tsr_diag_clear(&diag);
    ck_assert_msg(tsr_module_write_memory(&program, 1, NULL, &data, &size, &diag) == TSR_OK,
                  "seed %d: %s", (int)seed, diag.message);
    ck_assert_int_eq(tsr_module_load_memory(data, size, NULL, &module, NULL), TSR_OK);
    ck_assert_int_eq(tsr_exec_create(module, &options, &exec, NULL), TSR_OK);
    for (uint64_t at = seed; at < seed + 6; at++)
      run_random(exec, from, expected,
                 at % 3 == 0 ? INPUT_MOST / 2 : (int64_t)(at * 37 % (INPUT_MOST + 1)));
    tsr_exec_destroy(exec);
    tsr_module_release(module);
    ck_assert_int_eq(heap.live, 0);
    free(data);
  }
  free(expected);
  free(from);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("exec_random");
  TCase *tests = tcase_create("all");
  SRunner *runner;
  int failed;
  if (!TEST_HAS_KERNELS) {
    printf("SKIP: the kernels of this test are x86-64 machine code\n");
    return 0;
  }
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, random_programs_match);
  suite_add_tcase(suite, tests);
  runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
