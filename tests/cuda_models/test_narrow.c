/* Graphs with elements of less than a byte and float8, through the whole compiler, on the CPU and
 * on the emulated device: packed inputs, outputs and constants, shapes that end inside a byte and
 * are known at call time only. */
#include "tests/numeric/harness.h"
#include <check.h>
#include <stdlib.h>

static void check(trial *t, const char *what) {
  static const char *const target = "cuda-emulated:sm_80";
  const tsr_compile_options options[] = {{.threads = 2},
                                         {.threads = 2, .no_fuse = true},
                                         {.targets = &target, .target_count = 1},
                                         {.targets = &target, .target_count = 1, .no_fuse = true}};
  const char *driver = getenv("TESSERA_EMULATED_DRIVER");
  ck_assert_msg(driver != NULL, "TESSERA_EMULATED_DRIVER is the emulated driver's path");
  setenv("TESSERA_CUDA_DRIVER", driver, 1);
  setenv("TESSERA_EMULATED_SM", "80", 1);
  t->what = what;
  ck_assert_msg(trial_check(t, options, 4), "%s", what);
  trial_end(t);
}

/* Floats that are exact whatever is done with them, as integers, which are compared exactly. */
static tsr_value scaled(trial *t, tsr_value x) {
  tsr_value scale = tsr_graph_scalar(&t->b, TSR_F32, 64);
  return tsr_graph_cast(&t->b, tsr_graph_binary(&t->b, TSR_OP_MUL, x, scale), TSR_I32);
}

static const tsr_dtype integers[] = {TSR_B1, TSR_I2, TSR_U2, TSR_I4, TSR_U4};

/* Moves, casts both ways and a choice, of [N, 5, 3] elements. */
START_TEST(packed_integers) {
  static const int64_t perm[3] = {1, 2, 0};
  int64_t table_dims[2] = {5, 3};
  tsr_dtype dtype = integers[_i];
  trial t;
  trial_begin(&t, 10);
  tsr_expr dims[3] = {trial_dim(&t, "N", 7), tsr_expr_int(t.ir, 5), tsr_expr_int(t.ir, 3)};
  tsr_value x = trial_input(&t, dtype, dims, 3, 0, 1);
  tsr_value z = trial_input(&t, TSR_I32, dims, 3, -9, 9);
  tsr_value table = trial_const(&t, dtype, table_dims, 2, 4);
  tsr_value narrow = tsr_graph_cast(&t.b, z, dtype);
  tsr_value below = tsr_graph_binary(&t.b, TSR_OP_LT, x, table);
  trial_output(&t, tsr_graph_transpose(&t.b, x, perm));
  trial_output(&t, narrow);
  trial_output(&t, tsr_graph_select(&t.b, below, narrow, table));
  trial_output(&t, tsr_graph_cast(&t.b, narrow, TSR_I8));
  trial_output(&t, scaled(&t, tsr_graph_cast(&t.b, x, TSR_F32)));
  check(&t, tsr_dtype_text(dtype));
}
END_TEST

static const tsr_dtype floats[] = {TSR_F4E2M1, TSR_F8E4M3, TSR_F8E4M3UZ, TSR_F8E5M2, TSR_F8E5M2UZ};

/* Dequantising: a narrow input and a narrow constant, widened; casts back; gathered rows. */
START_TEST(narrow_floats) {
  static const unsigned char codes[7] = {0x10, 0x32, 0x54, 0x71, 0x07, 0x43, 0x25};
  trial t;
  tsr_dtype dtype = floats[_i];
  tsr_dtype code = tsr_dtype_bits(dtype) == 4 ? TSR_U4 : TSR_U8;
  trial_begin(&t, 3);
  tsr_expr dims[2] = {trial_dim(&t, "N", 13), tsr_expr_int(t.ir, 7)};
  int64_t width = 7, picks = 3;
  tsr_value x = trial_input(&t, dtype, dims, 2, -6, 6);
  tsr_value z = trial_input(&t, TSR_I8, dims, 2, -6, 6);
  tsr_value which = trial_input_static(&t, TSR_I64, &picks, 1, 0, 12);
  tsr_value weight = tsr_graph_const(&t.b, dtype, &width, 1, codes, true);
  tsr_value wide = tsr_graph_cast(&t.b, x, TSR_F32);
  tsr_value below = tsr_graph_binary(&t.b, TSR_OP_LT, x, weight);
  trial_output(&t, scaled(&t, wide));
  trial_output(&t, scaled(&t, tsr_graph_cast(&t.b, weight, TSR_F32)));
  trial_output(&t,
               scaled(&t, tsr_graph_cast(&t.b, tsr_graph_select(&t.b, below, x, weight), TSR_F32)));
  trial_output(&t, tsr_graph_bitcast(&t.b, tsr_graph_gather(&t.b, x, which, 0), code));
  trial_output(&t, tsr_graph_bitcast(&t.b, x, code));
  trial_output(&t, tsr_graph_cast(&t.b, tsr_graph_cast(&t.b, wide, dtype), TSR_I8));
  trial_output(&t, tsr_graph_cast(&t.b, z, TSR_I4));
  check(&t, tsr_dtype_text(dtype));
}
END_TEST

int main(void) {
  Suite *suite = suite_create("cuda_models.narrow");
  TCase *tests = tcase_create("narrow");
  tcase_set_timeout(tests, 60);
  tcase_add_loop_test(tests, packed_integers, 0, sizeof integers / sizeof *integers);
  tcase_add_loop_test(tests, narrow_floats, 0, sizeof floats / sizeof *floats);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
