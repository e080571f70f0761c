/* Kernels by hand agree with float64 under every order of their threads. */
#include "tests/cuda_emulator/kernel_cases.h"
#include <check.h>
#include <stdlib.h>

enum { SEEDS = 6 };

START_TEST(kernel_agrees_under_all_orders) {
  const kernel_case *c = &kernel_cases[_i];
  tsr_emulator *e = tsr_emulator_create(c->arch);
  char *text = kernel_case_text(c), why[2048];
  ck_assert_ptr_nonnull(e);
  ck_assert_ptr_nonnull(text);
  for (uint32_t seed = 0; seed < SEEDS; ++seed)
    ck_assert_msg(c->run(c, e, text, seed, why, sizeof(why)), "%s, seed %u: %s", c->name, seed,
                  why);
  free(text);
  tsr_emulator_destroy(e);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("kernels");
  TCase *tc = tcase_create("kernels");
  tcase_set_timeout(tc, 120);
  tcase_add_loop_test(tc, kernel_agrees_under_all_orders, 0, kernel_case_count);
  suite_add_tcase(suite, tc);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
