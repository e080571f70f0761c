/* Every elementwise op of ops.def x dtype x awkward shape against float64, through the whole
 * compiler. */
#include "tests/numeric/error_graph.h"
#include "tests/numeric/harness.h"
#include <check.h>
#include <stdio.h>

typedef struct domain {
  double lo, hi;
} domain;

static domain domain_of(tsr_opcode code) {
  switch (code) {
  case TSR_OP_ASIN:
  case TSR_OP_ACOS:
  case TSR_OP_ATANH:
    return (domain){-0.99, 0.99};
  case TSR_OP_ACOSH:
    return (domain){1.01, 8};
  case TSR_OP_LOG:
  case TSR_OP_SQRT:
  case TSR_OP_RSQRT:
  case TSR_OP_RECIP:
  case TSR_OP_POW:
    return (domain){0.125, 8};
  default:
    return (domain){-4, 4};
  }
}

static const int64_t shapes[][3] = {{1, 1, 1}, {2, 3, 7},  {1, 1, 67},
                                    {3, 0, 5}, {5, 1, 16}, {1, 31, 33}};
static const tsr_dtype dtypes[] = {TSR_F32, TSR_F64, TSR_F16, TSR_BF16, TSR_I8,  TSR_U8,  TSR_I16,
                                   TSR_U16, TSR_I32, TSR_U32, TSR_I64,  TSR_U64, TSR_BOOL};

/* Whether the op takes this dtype; the same rules as ir/infer.c, written from the table's comments.
 */
static bool takes(tsr_opcode code, tsr_dtype dtype) {
  tsr_dtype_class kind = tsr_dtype_class_of(dtype);
  bool is_float = kind == TSR_CLASS_FLOAT;
  if (code == TSR_OP_CAST || code == TSR_OP_BITCAST || code == TSR_OP_SELECT)
    return false;
  if (code >= TSR_OP_AND && code <= TSR_OP_SHR)
    return !is_float && (kind != TSR_CLASS_BOOL || code <= TSR_OP_XOR);
  if (code == TSR_OP_NOT)
    return !is_float;
  if (kind == TSR_CLASS_BOOL)
    return code == TSR_OP_EQ || code == TSR_OP_NE;
  if (is_float)
    return true;
  switch (code) {
  case TSR_OP_NEG:
  case TSR_OP_ABS:
  case TSR_OP_SIGN:
  case TSR_OP_POW:
    return code != TSR_OP_POW;
  default:
    return tsr_opcode_info(code)->kind != TSR_KIND_UNARY;
  }
}

static tsr_value operand(trial *t, tsr_opcode code, tsr_dtype dtype, const int64_t *dims,
                         bool second) {
  bool is_float = tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT;
  bool divides = code == TSR_OP_DIV || code == TSR_OP_REM || code == TSR_OP_MOD;
  domain d = is_float ? domain_of(code) : (domain){-50, 50};
  if (tsr_dtype_class_of(dtype) == TSR_CLASS_UINT)
    d = (domain){0, 200};
  if (second && divides)
    d = is_float ? (domain){0.5, 3} : (domain){1, 9};
  if (second && (code == TSR_OP_SHL || code == TSR_OP_SHR))
    d = (domain){0, tsr_dtype_bits(dtype)};
  if (dtype == TSR_BOOL)
    d = (domain){0, 1};
  return trial_input_static(t, dtype, dims, 3, d.lo, d.hi);
}

static void run_kind(tsr_op_kind kind, tsr_dtype dtype, const int64_t *dims, const char *what) {
  trial t;
  trial_begin(&t, (uint64_t)dtype * 131 + (uint64_t)dims[2]);
  t.what = what;
  for (tsr_opcode code = TSR_OP_NONE + 1; code < TSR_OP_COUNT; code++) {
    if (tsr_opcode_info(code)->kind != kind || !takes(code, dtype))
      continue;
    tsr_value x = operand(&t, code, dtype, dims, false);
    if (kind == TSR_KIND_UNARY)
      trial_output(&t, tsr_graph_unary(&t.b, code, x));
    else
      trial_output(&t, tsr_graph_binary(&t.b, code, x, operand(&t, code, dtype, dims, true)));
  }
  tsr_compile_options options = {.threads = 2};
  ck_assert_msg(t.output_count == 0 || trial_check(&t, &options, 1), "%s of %s [%d, %d, %d]", what,
                tsr_dtype_text(dtype), (int)dims[0], (int)dims[1], (int)dims[2]);
  trial_end(&t);
}

START_TEST(elementwise) {
  tsr_dtype dtype = dtypes[_i];
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
    run_kind(TSR_KIND_UNARY, dtype, shapes[s], "unary");
    run_kind(TSR_KIND_BINARY, dtype, shapes[s], "binary");
    run_kind(TSR_KIND_COMPARE, dtype, shapes[s], "compare");
  }
}
END_TEST

/* Casts between all dtypes that kernels compute in, on values that fit both. */
START_TEST(casts) {
  trial t;
  trial_begin(&t, 5);
  t.what = "cast";
  static const int64_t dims[] = {2, 3, 11};
  tsr_dtype from = dtypes[_i];
  tsr_value x = trial_input_static(&t, from, dims, 3, 0, from == TSR_BOOL ? 1 : 100);
  for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
    tsr_dtype_class to = tsr_dtype_class_of(dtypes[i]);
    if (dtypes[i] == from || to == TSR_CLASS_FLOAT)
      continue;
    trial_output(&t, tsr_graph_cast(&t.b, x, dtypes[i]));
  }
  tsr_compile_options options = {.threads = 1};
  ck_assert(trial_check(&t, &options, 1));
  trial_end(&t);
}
END_TEST

/* Broadcasting in every position, select, and symbolic dims. */
START_TEST(broadcasts) {
  trial t;
  trial_begin(&t, 9);
  t.what = "broadcast";
  tsr_expr n = trial_dim(&t, "N", _i), one = tsr_expr_int(t.ir, 1), five = tsr_expr_int(t.ir, 5);
  tsr_value a = trial_input(&t, TSR_F32, (tsr_expr[]){n, five, one}, 3, -2, 2);
  tsr_value b = trial_input(&t, TSR_F32, (tsr_expr[]){five, n}, 2, -2, 2);
  tsr_value c = trial_input(&t, TSR_F32, NULL, 0, -2, 2);
  tsr_value sum = tsr_graph_binary(&t.b, TSR_OP_ADD, a, b);
  tsr_value more = tsr_graph_binary(&t.b, TSR_OP_GT, a, c);
  trial_output(&t, sum);
  trial_output(&t, tsr_graph_select(&t.b, more, sum, c));
  trial_output(&t, tsr_graph_binary(&t.b, TSR_OP_MUL, c, b));
  tsr_compile_options options[2] = {{.threads = 1}, {.threads = 2, .no_fuse = true}};
  ck_assert(trial_check(&t, options, 2));
  trial_end(&t);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("numeric.ops");
  TCase *tests = tcase_create("ops");
  int count = (int)(sizeof dtypes / sizeof *dtypes);
  tcase_set_timeout(tests, 300);
  tcase_add_loop_test(tests, elementwise, 0, count);
  tcase_add_loop_test(tests, casts, 0, count);
  tcase_add_loop_test(tests, broadcasts, 0, 20);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
