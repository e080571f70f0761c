/* Reductions, contractions, convolutions, windows, views and gathers on awkward shapes (0, 1,
 * primes, strides, symbolic dims) against float64, with and without fusion. */
#include "tests/numeric/harness.h"
#include <check.h>

static const tsr_compile_options option_sets[] = {{.threads = 2}, {.threads = 1, .no_fuse = true}};

static void check(trial *t, const char *what) {
  t->what = what;
  ck_assert_msg(trial_check(t, option_sets, TEST_SHARE > 1 ? 1 : 2), "%s", what);
  trial_end(t);
}

static const int64_t extents[] = {1, 2, 3, 7, 16, 31, 64, 129, 0};
enum { EXTENTS = sizeof extents / sizeof *extents };

START_TEST(reduce_all_axes) {
  static const char *const combine[] = {"add", "max", "min"};
  for (int k = 0; k < EXTENTS; k++) {
    trial t;
    trial_begin(&t, (uint64_t)(_i * 100 + k));
    int64_t dims[3] = {3, extents[_i], extents[k]};
    tsr_value x = trial_input_static(&t, TSR_F32, dims, 3, -1, 1);
    for (int mask = 1; mask < 8; mask++) {
      int64_t axes[3];
      uint32_t count = 0;
      for (int a = 0; a < 3; a++)
        if ((mask >> a & 1) != 0)
          axes[count++] = a;
      for (int c = 0; c < 3; c++)
        if (c == 0 || (dims[1] != 0 && dims[2] != 0))
          trial_output(&t, tsr_graph_reduce(&t.b, x, combine[c], axes, count));
    }
    check(&t, "reduce");
  }
}
END_TEST

/* m, n, k in three layouts each, with a bias and an activation behind, plus a product before. */
static void contraction(int64_t m, int64_t n, int64_t k, bool constant_weight, const char *spec,
                        tsr_dtype dtype) {
  trial t;
  trial_begin(&t, (uint64_t)(m * 7 + n * 11 + k));
  int64_t a[2] = {spec[0] == 'm' ? m : k, spec[0] == 'm' ? k : m};
  int64_t b[2] = {spec[3] == 'k' ? k : n, spec[3] == 'k' ? n : k};
  tsr_value x = trial_input_static(&t, dtype, a, 2, -1, 1);
  tsr_value w = constant_weight ? trial_const(&t, dtype, b, 2, 99)
                                : trial_input_static(&t, dtype, b, 2, -1, 1);
  tsr_value bias = trial_input_static(&t, dtype, &n, 1, -1, 1);
  tsr_value y = tsr_graph_einsum(&t.b, spec, x, w);
  tsr_value z = tsr_graph_binary(&t.b, TSR_OP_ADD, y, bias);
  trial_output(&t, tsr_graph_unary(&t.b, TSR_OP_TANH, z));
  check(&t, spec);
}

static const char *const layouts[] = {"mk,kn->mn", "km,kn->mn", "mk,nk->mn", "mk,kn->nm"};

START_TEST(einsum_shapes) {
  static const int64_t shapes[][3] = {{1, 1, 1},    {1, 64, 33},  {5, 3, 2},   {14, 32, 64},
                                      {15, 33, 65}, {127, 61, 9}, {64, 1, 70}, {3, 200, 17},
                                      {0, 5, 3},    {4, 0, 3},    {4, 5, 0},   {130, 130, 300}};
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
    bool plain = shapes[s][0] * shapes[s][1] * shapes[s][2] != 0;
    if (_i == 3) /* the bias broadcasts over n, which must be last */
      continue;
    contraction(shapes[s][0], shapes[s][1], shapes[s][2], false, layouts[_i], TSR_F32);
    if (plain)
      contraction(shapes[s][0], shapes[s][1], shapes[s][2], true, layouts[_i], TSR_F32);
  }
  contraction(17, 19, 23, false, layouts[_i % 3], TSR_F64);
  contraction(17, 19, 23, false, layouts[_i % 3], TSR_F16);
  contraction(17, 19, 23, false, layouts[_i % 3], TSR_BF16);
}
END_TEST

START_TEST(einsum_batched_symbolic) {
  trial t;
  trial_begin(&t, (uint64_t)_i);
  tsr_expr b = trial_dim(&t, "B", 1 + _i % 3), m = trial_dim(&t, "M", _i * 5),
           k = tsr_expr_int(t.ir, 13), n = trial_dim(&t, "N", 1 + _i * 9);
  tsr_value x = trial_input(&t, TSR_F32, (tsr_expr[]){b, m, k}, 3, -1, 1);
  tsr_value y = trial_input(&t, TSR_F32, (tsr_expr[]){b, k, n}, 3, -1, 1);
  tsr_value z = trial_input(&t, TSR_F32, (tsr_expr[]){b, n, k}, 3, -1, 1);
  trial_output(&t, tsr_graph_einsum(&t.b, "bmk,bkn->bmn", x, y));
  trial_output(&t, tsr_graph_einsum(&t.b, "bmk,bnk->bmn", x, z));
  trial_output(&t, tsr_graph_einsum(&t.b, "bmk,bkn->mbn", x, y));
  check(&t, "batched einsum");
}
END_TEST

START_TEST(integer_contraction) {
  trial t;
  trial_begin(&t, 3);
  static const int64_t a[] = {9, 37}, b[] = {37, 21};
  tsr_value x = trial_input_static(&t, TSR_U8, a, 2, 0, 255);
  tsr_value y = trial_input_static(&t, TSR_I8, b, 2, -128, 127);
  tsr_value z = trial_input_static(&t, TSR_I32, b, 2, -1000, 1000);
  trial_output(&t, tsr_graph_einsum(&t.b, "mk,kn->mn", x, y));
  trial_output(&t, tsr_graph_einsum(&t.b, "mk,kn->mn", tsr_graph_cast(&t.b, x, TSR_I32), z));
  check(&t, "integer einsum");
}
END_TEST

typedef struct conv_case {
  int64_t n, c, h, w, m, kh, kw, stride, dilation, low, high, groups;
} conv_case;

static const conv_case convs[] = {
    {1, 3, 8, 8, 4, 3, 3, 1, 1, 1, 1, 1},    {2, 4, 9, 7, 6, 3, 3, 2, 1, 1, 0, 1},
    {1, 8, 14, 14, 16, 1, 1, 1, 1, 0, 0, 1}, {1, 6, 11, 5, 6, 3, 3, 1, 1, 1, 1, 6},
    {1, 6, 11, 13, 6, 5, 5, 2, 1, 2, 2, 6},  {1, 4, 12, 12, 8, 3, 3, 1, 2, 2, 2, 2},
    {3, 1, 5, 5, 1, 5, 5, 1, 1, 0, 0, 1},    {1, 16, 56, 56, 24, 3, 3, 1, 1, 1, 1, 1},
    {1, 3, 17, 23, 40, 7, 7, 2, 1, 3, 3, 1}, {1, 32, 7, 7, 33, 3, 3, 1, 1, 1, 1, 1},
    {1, 5, 4, 4, 3, 2, 2, 3, 1, 0, 0, 1},    {0, 3, 8, 8, 4, 3, 3, 1, 1, 1, 1, 1}};

START_TEST(convolutions) {
  conv_case c = convs[_i];
  trial t;
  trial_begin(&t, (uint64_t)_i);
  int64_t xd[] = {c.n, c.c, c.h, c.w}, wd[] = {c.m, c.c / c.groups, c.kh, c.kw};
  int64_t strides[] = {c.stride, c.stride}, dilations[] = {c.dilation, c.dilation};
  tsr_expr low[] = {tsr_expr_int(t.ir, c.low), tsr_expr_int(t.ir, c.low)};
  tsr_expr high[] = {tsr_expr_int(t.ir, c.high), tsr_expr_int(t.ir, c.high)};
  tsr_value x = trial_input_static(&t, TSR_F32, xd, 4, -1, 1);
  tsr_value w = trial_const(&t, TSR_F32, wd, 4, 5);
  tsr_value v = trial_input_static(&t, TSR_F32, wd, 4, -1, 1);
  int64_t bd[] = {c.m, 1, 1};
  tsr_value bias = trial_input_static(&t, TSR_F32, bd, 3, -1, 1);
  tsr_value y = tsr_graph_conv(&t.b, x, w, strides, dilations, low, high, c.groups);
  tsr_value z = tsr_graph_binary(&t.b, TSR_OP_ADD, y, bias);
  trial_output(&t, tsr_graph_binary(&t.b, TSR_OP_MAX, z, tsr_graph_scalar(&t.b, TSR_F32, 0)));
  trial_output(&t, tsr_graph_conv(&t.b, x, v, strides, dilations, low, high, c.groups));
  check(&t, "conv");
}
END_TEST

START_TEST(conv_1d_3d) {
  trial t;
  trial_begin(&t, 8);
  static const int64_t x1[] = {2, 7, 50}, w1[] = {9, 7, 5}, x3[] = {1, 2, 5, 6, 7},
                       w3[] = {3, 2, 3, 2, 3}, ones[] = {1, 1, 1};
  tsr_expr zero[] = {tsr_expr_int(t.ir, 0), tsr_expr_int(t.ir, 0), tsr_expr_int(t.ir, 0)};
  tsr_expr one[] = {tsr_expr_int(t.ir, 1), tsr_expr_int(t.ir, 1), tsr_expr_int(t.ir, 1)};
  tsr_value a = trial_input_static(&t, TSR_F32, x1, 3, -1, 1);
  tsr_value b = trial_input_static(&t, TSR_F32, w1, 3, -1, 1);
  tsr_value c = trial_input_static(&t, TSR_F32, x3, 5, -1, 1);
  tsr_value d = trial_input_static(&t, TSR_F32, w3, 5, -1, 1);
  trial_output(&t, tsr_graph_conv(&t.b, a, b, ones, ones, zero, one, 1));
  trial_output(&t, tsr_graph_conv(&t.b, c, d, ones, ones, one, zero, 1));
  check(&t, "conv 1d, 3d");
}
END_TEST

START_TEST(pools) {
  trial t;
  trial_begin(&t, (uint64_t)_i);
  tsr_expr h = trial_dim(&t, "H", 5 + _i), n = trial_dim(&t, "N", _i % 3);
  tsr_expr dims[] = {n, tsr_expr_int(t.ir, 3), h, tsr_expr_int(t.ir, 17)};
  tsr_value x = trial_input(&t, TSR_I32, dims, 4, -100, 100);
  static const int64_t window[] = {3, 2}, strides[] = {2, 1}, dilations[] = {1, 2};
  static const char *const combine[] = {"max", "min", "add"};
  tsr_expr low[] = {tsr_expr_int(t.ir, 1), tsr_expr_int(t.ir, 0)};
  tsr_expr high[] = {tsr_expr_int(t.ir, 0), tsr_expr_int(t.ir, 1)};
  for (int c = 0; c < 3; c++)
    trial_output(&t, tsr_graph_pool(&t.b, x, combine[c], 2, window, strides, dilations, low, high));
  check(&t, "pool");
}
END_TEST

START_TEST(views) {
  trial t;
  trial_begin(&t, (uint64_t)_i);
  tsr_expr n = trial_dim(&t, "N", _i * 4), c3 = tsr_expr_int(t.ir, 3), c10 = tsr_expr_int(t.ir, 10);
  tsr_value x = trial_input(&t, TSR_F32, (tsr_expr[]){n, c3, c10}, 3, -1, 1);
  tsr_value y = trial_input(&t, TSR_F32, (tsr_expr[]){n, c3, c10}, 3, -1, 1);
  static const int64_t perms[][3] = {{0, 2, 1}, {1, 0, 2}, {2, 1, 0}, {2, 0, 1}, {1, 2, 0}};
  for (int p = 0; p < 5; p++) {
    tsr_value turned = tsr_graph_transpose(&t.b, x, perms[p]);
    trial_output(&t, turned);
    trial_output(&t, tsr_graph_unary(&t.b, TSR_OP_NEG, turned));
  }
  tsr_expr flat[] = {tsr_expr_mul_int(t.ir, n, 3), c10};
  tsr_value reshaped = tsr_graph_reshape(&t.b, x, flat, 2);
  trial_output(&t, reshaped);
  trial_output(&t, tsr_graph_transpose(&t.b, reshaped, (int64_t[]){1, 0}));
  trial_output(&t, x);
  for (uint32_t axis = 0; axis < 3; axis++)
    trial_output(&t, tsr_graph_concat(&t.b, (tsr_value[]){x, y, x}, 3, axis));
  tsr_expr start[] = {tsr_expr_int(t.ir, 0), tsr_expr_int(t.ir, 2), tsr_expr_int(t.ir, 1)};
  tsr_expr extent[] = {n, c3, tsr_expr_int(t.ir, 3)};
  trial_output(&t, tsr_graph_slice(&t.b, x, start, (int64_t[]){1, -1, 3}, extent));
  tsr_expr low[] = {tsr_expr_int(t.ir, 2), tsr_expr_int(t.ir, -1), tsr_expr_int(t.ir, 1)};
  tsr_expr high[] = {tsr_expr_int(t.ir, 0), tsr_expr_int(t.ir, 2), tsr_expr_int(t.ir, -2)};
  tsr_value fill = tsr_graph_scalar(&t.b, TSR_F32, 2.5);
  trial_output(&t, tsr_graph_pad(&t.b, x, fill, low, high, NULL, "constant"));
  trial_output(&t, tsr_graph_pad(&t.b, x, fill, low, high, (int64_t[]){0, 1, 2}, "constant"));
  check(&t, "views");
}
END_TEST

START_TEST(pad_modes) {
  static const char *const modes[] = {"edge", "reflect", "wrap"};
  trial t;
  trial_begin(&t, 2);
  static const int64_t dims[] = {5, 6};
  tsr_value x = trial_input_static(&t, TSR_I32, dims, 2, -100, 100);
  tsr_expr low[] = {tsr_expr_int(t.ir, 2), tsr_expr_int(t.ir, 3)};
  tsr_expr high[] = {tsr_expr_int(t.ir, 4), tsr_expr_int(t.ir, 1)};
  tsr_value fill = tsr_graph_scalar_int(&t.b, TSR_I32, 0);
  for (int m = 0; m < 3; m++)
    trial_output(&t, tsr_graph_pad(&t.b, x, fill, low, high, NULL, modes[m]));
  check(&t, "pad modes");
}
END_TEST

START_TEST(indexed) {
  trial t;
  trial_begin(&t, (uint64_t)_i);
  tsr_expr n = trial_dim(&t, "N", 1 + _i * 3), k = trial_dim(&t, "K", _i * 2);
  tsr_expr c5 = tsr_expr_int(t.ir, 5);
  tsr_value x = trial_input(&t, TSR_I32, (tsr_expr[]){n, c5}, 2, -100, 100);
  tsr_value at = trial_input(&t, TSR_I64, (tsr_expr[]){k, c5}, 2, -1, _i * 3);
  tsr_value col = trial_input(&t, TSR_I64, (tsr_expr[]){k}, 1, -5, 4);
  tsr_value updates = trial_input(&t, TSR_I32, (tsr_expr[]){k, c5}, 2, -100, 100);
  trial_output(&t, tsr_graph_gather(&t.b, x, col, 1));
  trial_output(&t, tsr_graph_gather(&t.b, x, at, 0));
  trial_output(&t, tsr_graph_gather_elements(&t.b, x, at, 0));
  trial_output(&t, tsr_graph_scatter_elements(&t.b, x, at, updates, 0, "add"));
  trial_output(&t, tsr_graph_scatter_elements(&t.b, x, at, updates, 0, "none"));
  tsr_expr flat[] = {tsr_expr_mul_int(t.ir, k, 5), tsr_expr_int(t.ir, 1)};
  tsr_value rows = tsr_graph_reshape(&t.b, at, flat, 2);
  trial_output(&t, tsr_graph_gather_nd(&t.b, x, rows, 0));
  trial_output(&t, tsr_graph_scan(&t.b, x, "add", 0, _i % 2 != 0, _i % 3 == 0));
  trial_output(&t, tsr_graph_scan(&t.b, x, "add", 1, _i % 2 == 0, _i % 3 != 0));
  trial_output(&t, tsr_graph_arg_reduce(&t.b, x, "max", 0, false));
  trial_output(&t, tsr_graph_arg_reduce(&t.b, x, "min", 1, true));
  tsr_value values, indices;
  tsr_graph_topk(&t.b, x, tsr_expr_int(t.ir, 3), 1, _i % 2 == 0, &values, &indices);
  trial_output(&t, values);
  trial_output(&t, indices);
  check(&t, "indexed");
}
END_TEST

int main(void) {
  Suite *suite = suite_create("numeric.structured");
  TCase *tests = tcase_create("structured");
  tcase_set_timeout(tests, 300);
  tcase_add_loop_test(tests, reduce_all_axes, 0, EXTENTS);
  tcase_add_loop_test(tests, einsum_shapes, 0, 4);
  tcase_add_loop_test(tests, einsum_batched_symbolic, 0, 6);
  tcase_add_test(tests, integer_contraction);
  tcase_add_loop_test(tests, convolutions, 0, (int)(sizeof convs / sizeof *convs));
  tcase_add_test(tests, conv_1d_3d);
  tcase_add_loop_test(tests, pools, 0, 5);
  tcase_add_loop_test(tests, views, 0, 5);
  tcase_add_test(tests, pad_modes);
  tcase_add_loop_test(tests, indexed, 0, 6);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
