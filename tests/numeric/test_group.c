/* Blocks that walk the same rows and become one kernel (passes/group.c): softmax, normalisation and
 * attention, rows that do not divide, rows of one, symbolic rows, values that leave in the middle.
 */
#include "tests/numeric/harness.h"
#include <check.h>

static const tsr_compile_options option_sets[] = {{.threads = 2}, {.threads = 1, .no_fuse = true}};

static void check(trial *t, const char *what) {
  t->what = what;
  ck_assert_msg(trial_check(t, option_sets, TEST_SHARE > 1 ? 1 : 2), "%s", what);
  trial_end(t);
}

/* A reduction along the last axis that keeps it with extent 1. */
static tsr_value along_last(trial *t, tsr_value x, const char *combine) {
  const tsr_type_info type = *tsr_value_type(t->ir, x);
  const int64_t axis = (int64_t)type.rank - 1;
  tsr_expr dims[TSR_MAX_RANK];
  for (uint32_t i = 0; i + 1 < type.rank; i++)
    dims[i] = type.dims[i];
  dims[type.rank - 1] = tsr_expr_int(t->ir, 1);
  return tsr_graph_reshape(&t->b, tsr_graph_reduce(&t->b, x, combine, &axis, 1), dims, type.rank);
}

static tsr_value exponentials(trial *t, tsr_value x) {
  tsr_value shifted = tsr_graph_binary(&t->b, TSR_OP_SUB, x, along_last(t, x, "max"));
  return tsr_graph_unary(&t->b, TSR_OP_EXP, shifted);
}

static tsr_value softmax(trial *t, tsr_value x) {
  tsr_value e = exponentials(t, x);
  tsr_value share = tsr_graph_unary(&t->b, TSR_OP_RECIP, along_last(t, e, "add"));
  return tsr_graph_binary(&t->b, TSR_OP_MUL, e, share);
}

START_TEST(softmax_rows) {
  static const int64_t shapes[][3] = {{1, 1, 64},  {1, 17, 65},  {3, 29, 100}, {2, 40, 1024},
                                      {5, 1, 513}, {1, 300, 79}, {4, 0, 70}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    trial t;
    trial_begin(&t, i);
    tsr_value x = trial_input_static(&t, TSR_F32, shapes[i], 3, -4, 4);
    trial_output(&t, softmax(&t, x));
    check(&t, "softmax");
  }
}
END_TEST

/* The exponentials and their sum leave too. */
START_TEST(values_that_leave) {
  trial t;
  const int64_t dims[] = {37, 130};
  trial_begin(&t, 5);
  tsr_value x = trial_input_static(&t, TSR_F32, dims, 2, -4, 4);
  tsr_value e = exponentials(&t, x), sum = along_last(&t, e, "add");
  trial_output(&t, e);
  trial_output(&t, sum);
  trial_output(&t, tsr_graph_binary(&t.b, TSR_OP_DIV, e, sum));
  check(&t, "values that leave");
}
END_TEST

START_TEST(normalisation) {
  trial t;
  trial_begin(&t, (uint64_t)_i);
  tsr_expr rows = trial_dim(&t, "N", _i == 0 ? 1 : _i * 13), width = tsr_expr_int(t.ir, 96);
  tsr_value x = trial_input(&t, TSR_F32, (tsr_expr[]){rows, width}, 2, -1, 1);
  tsr_value n = tsr_graph_splat(&t.b, TSR_F32, 96, NULL, 0);
  tsr_value mean = tsr_graph_binary(&t.b, TSR_OP_DIV, along_last(&t, x, "add"), n);
  tsr_value d = tsr_graph_binary(&t.b, TSR_OP_SUB, x, mean);
  tsr_value squares = along_last(&t, tsr_graph_binary(&t.b, TSR_OP_MUL, d, d), "add");
  tsr_value one = tsr_graph_splat(&t.b, TSR_F32, 1, NULL, 0);
  tsr_value root =
      tsr_graph_unary(&t.b, TSR_OP_SQRT, tsr_graph_binary(&t.b, TSR_OP_ADD, squares, one));
  trial_output(&t, tsr_graph_binary(&t.b, TSR_OP_DIV, d, root));
  check(&t, "normalisation");
}
END_TEST

/* batch, rows, keys, width; 0 rows: symbolic ones. */
static const int64_t attentions[][4] = {{3, 37, 70, 20}, {1, 130, 96, 33}, {12, 1, 129, 16},
                                        {2, 64, 64, 64}, {20, 0, 72, 24},  {1, 1, 640, 8}};

START_TEST(attention) {
  const int64_t *s = attentions[_i];
  trial t;
  trial_begin(&t, (uint64_t)_i);
  tsr_ir *ir = t.ir;
  tsr_expr batch = tsr_expr_int(ir, s[0]), keys = tsr_expr_int(ir, s[2]),
           width = tsr_expr_int(ir, s[3]);
  tsr_expr rows = s[1] == 0 ? trial_dim(&t, "T", 75) : tsr_expr_int(ir, s[1]);
  tsr_value q = trial_input(&t, TSR_F32, (tsr_expr[]){batch, rows, width}, 3, -1, 1);
  tsr_value k = trial_input(&t, TSR_F32, (tsr_expr[]){batch, keys, width}, 3, -1, 1);
  tsr_value v = trial_input(&t, TSR_F32, (tsr_expr[]){batch, keys, width}, 3, -1, 1);
  tsr_value mask = trial_input(&t, TSR_F32, (tsr_expr[]){rows, keys}, 2, -1, 1);
  tsr_value scores =
      tsr_graph_binary(&t.b, TSR_OP_ADD, tsr_graph_einsum(&t.b, "bmk,bnk->bmn", q, k), mask);
  trial_output(&t, tsr_graph_einsum(&t.b, "bmk,bkn->bmn", softmax(&t, scores), v));
  check(&t, "attention");
}
END_TEST

/* What one block makes for a row is read behind products that all rows go through together. */
START_TEST(values_across_products) {
  static const int64_t xs[] = {37, 70}, vs[] = {70, 80};
  trial t;
  trial_begin(&t, 3);
  tsr_value x = trial_input_static(&t, TSR_F32, xs, 2, -1, 1);
  tsr_value v = trial_input_static(&t, TSR_F32, vs, 2, -1, 1);
  tsr_value sum = along_last(&t, tsr_graph_unary(&t.b, TSR_OP_EXP, x), "add");
  tsr_value share = tsr_graph_binary(&t.b, TSR_OP_DIV, x, sum);
  tsr_value product = tsr_graph_einsum(&t.b, "mk,kn->mn", share, v);
  tsr_value d = tsr_graph_binary(&t.b, TSR_OP_SUB, product, along_last(&t, product, "max"));
  trial_output(&t, tsr_graph_binary(&t.b, TSR_OP_MUL, d, sum));
  check(&t, "values across products");
}
END_TEST

int main(void) {
  Suite *suite = suite_create("numeric.group");
  TCase *tests = tcase_create("group");
  tcase_set_timeout(tests, 300);
  tcase_add_test(tests, softmax_rows);
  tcase_add_test(tests, values_that_leave);
  tcase_add_test(tests, values_across_products);
  tcase_add_loop_test(tests, normalisation, 0, 4);
  tcase_add_loop_test(tests, attention, 0, (int)(sizeof attentions / sizeof *attentions));
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
