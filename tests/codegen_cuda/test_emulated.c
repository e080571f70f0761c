/* CUDA C on the emulated device against the code for the CPU. */
#include "tests/codegen_cuda/both.h"
#include "tests/codegen_cuda/texts.h"

static const dim_value dims[] = {{"N", 71}, {NULL, 0}};

START_TEST(test_exact) {
  both_run(exact_text, dims, 0, -3, 9);
}
END_TEST

START_TEST(test_close) {
  both_run(close_text, dims, 1e-5, -1, 1);
}
END_TEST

START_TEST(test_elementwise) {
  char *text = elementwise_text(all_dtypes[_i], false);
  both_run(text, dims, 0, -130, 130);
  free(text);
}
END_TEST

START_TEST(test_functions) {
  static const char *const floats[] = {"f16", "bf16", "f32", "f64"};
  char *text = elementwise_text(floats[_i], true);
  both_run(text, dims, 1e-6, -6, 6);
  both_run(text, dims, 1e-6, -1, 1);
  free(text);
}
END_TEST

START_TEST(test_casts) {
  char *text = cast_text(all_dtypes[_i]);
  both_run(text, dims, 0, -5e4, 7e4);
  free(text);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("codegen_cuda.emulated");
  TCase *cases = tcase_create("kernels");
  tcase_set_timeout(cases, 120);
  tcase_add_test(cases, test_exact);
  tcase_add_test(cases, test_close);
  tcase_add_loop_test(cases, test_elementwise, 0, 13);
  tcase_add_loop_test(cases, test_functions, 0, 4);
  tcase_add_loop_test(cases, test_casts, 0, 13);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
