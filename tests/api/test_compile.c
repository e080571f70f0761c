/* The compile calls with arguments that cannot be meant: a status and a message, never a crash. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/compiler.h>

static const char relu[] = "graph @relu {\n"
                           "  %x = input {name = \"x\"} : f32[2]\n"
                           "  %y = abs %x : f32[2]\n"
                           "  output %y {name = \"y\"}\n"
                           "}\n";

static void expect_refused(tsr_context *context, const tsr_compile_options *options,
                           const char *message) {
  void *bytes = &bytes;
  size_t size = 1;
  ck_assert_int_eq(
      tsr_compile_text(context, relu, strlen(relu), "relu.tsr", options, &bytes, &size),
      TSR_ERR_ARGUMENT);
  ck_assert(bytes == NULL && size == 0);
  ck_assert_msg(strstr(tsr_context_error(context), message) != NULL, "%s",
                tsr_context_error(context));
  ck_assert_int_eq(tsr_compile_file(context, "absent.onnx", options, "absent.tsm"),
                   TSR_ERR_ARGUMENT);
}

START_TEST(null_arguments) {
  tsr_context *context;
  void *bytes;
  size_t size;
  ck_assert_int_eq(tsr_context_create(NULL, NULL), TSR_ERR_ARGUMENT);
  ck_assert_int_eq(tsr_context_create(NULL, &context), TSR_OK);
  ck_assert_int_eq(tsr_compile_text(context, relu, strlen(relu), NULL, NULL, NULL, &size),
                   TSR_ERR_ARGUMENT);
  ck_assert_int_eq(tsr_compile_text(context, relu, strlen(relu), NULL, NULL, &bytes, NULL),
                   TSR_ERR_ARGUMENT);
  ck_assert_int_eq(tsr_compile_file_to_memory(context, "absent.onnx", NULL, NULL, NULL),
                   TSR_ERR_ARGUMENT);
  ck_assert_int_eq(tsr_compile_text(context, NULL, 1, NULL, NULL, &bytes, &size), TSR_ERR_ARGUMENT);
  ck_assert_str_eq(tsr_context_error(context), "the text is NULL");
  ck_assert_int_eq(tsr_compile_text(context, relu, strlen(relu), NULL, NULL, &bytes, &size),
                   TSR_OK);
  ck_assert_str_eq(tsr_context_error(context), "");
  tsr_bytes_release(context, bytes, size);
  tsr_context_destroy(context);
}
END_TEST

START_TEST(options_without_their_arrays) {
  tsr_context *context;
  const char *targets[] = {"cpu", NULL};
  tsr_dim_range dims[] = {{NULL, 1, 2}};
  ck_assert_int_eq(tsr_context_create(NULL, &context), TSR_OK);
  expect_refused(context, &(tsr_compile_options){.target_count = 1}, "a target is NULL");
  expect_refused(context, &(tsr_compile_options){.targets = targets, .target_count = 2},
                 "a target is NULL");
  expect_refused(context, &(tsr_compile_options){.dim_count = 1}, "a dim is NULL");
  expect_refused(context, &(tsr_compile_options){.dims = dims, .dim_count = 1}, "a dim is NULL");
  tsr_context_destroy(context);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("compile");
  TCase *tests = tcase_create("arguments");
  tcase_add_test(tests, null_arguments);
  tcase_add_test(tests, options_without_their_arrays);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
