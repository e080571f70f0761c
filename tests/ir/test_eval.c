/* The evaluator: every graph op on values worked out by hand. */
#include "ir/eval.h"
#include "tests/ir/ir_text.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT(array) (int)(sizeof(array) / sizeof *(array))

static void append_number(char *text, const tsr_array *array, int64_t i) {
  char *end = text + strlen(text);
  if (array->floats != NULL)
    (void)sprintf(end, "%s%.9g", i == 0 ? "" : " ", array->floats[i]);
  else
    (void)sprintf(end, "%s%lld", i == 0 ? "" : " ", (long long)array->integers[i]);
}

static tsr_op output_op(const tsr_ir *ir) {
  for (tsr_op op = tsr_op_count(ir); op > 0; op--)
    if (tsr_op_get(ir, op)->code == TSR_OP_OUTPUT)
      return op;
  return 0;
}

/* Evaluates the last output of a graph of constants with N = 3 into "a b c". */
static void evaluate(const char *body, bool round, char *out) {
  char text[2048];
  const int64_t dims[] = {3, 0};
  const tsr_array *array;
  tsr_eval *eval;
  (void)snprintf(text, sizeof text,
                 "dim N in 1..8\ndim K <= N*4 from device\ngraph @g {\n%s\n"
                 "output %%y {name = \"y\"} }",
                 body);
  tsr_ir *ir = must_parse(text);
  must_verify(ir);
  ck_assert_int_eq(tsr_eval_create(ir, dims, round, 10000, tsr_allocator_default(), &eval), TSR_OK);
  tsr_value value = tsr_op_get(ir, output_op(ir))->operands[0].value;
  tsr_status status = tsr_eval_get(eval, value, &array);
  ck_assert_msg(status == TSR_OK, "%s\n%s", tsr_eval_diag(eval)->message, body);
  out[0] = '\0';
  for (int64_t i = 0; i < array->count; i++)
    append_number(out, array, i);
  tsr_eval_destroy(eval);
  tsr_ir_destroy(ir);
}

#define M23 "%m = const {value = [1, 2, 3, 4, 5, 6]} : f32[2, 3]\n"
#define BOXES(most)                                                                                \
  "%b = const {value = [0, 0, 2, 2, 0, 0, 2, 1.9, 5, 5, 6, 6, 9, 9, 9, 12]} : f32[1, 4, 4]\n"      \
  "%i = const {value = [2, 0, 1, 3]} : i64[1, 1, 4]\n%r = const {value = 4} : i64[1, 1]\n"         \
  "%o = const {value = 0.5} : f32[]\n%m = const {value = " #most "} : i64[]\n"
#define V4 "%v = const {value = [3, 1, 4, 1]} : f32[4]\n"

static const struct {
  const char *body, *values;
} rows[] = {
    /* sources */
    {"%y = const {value = 0.1} : f32[2]", "0.100000001 0.100000001"},
    {"%y = const {value = 300} : u8[]", "44"},
    {"%y = const {value = [1, -1]} : i8[2]", "1 -1"},
    {"%y = iota {axis = 1} : i64[2, N]", "0 1 2 0 1 2"},
    {"%y = index {value = N*2 - 1} : i64[]", "5"},
    /* elementwise */
    {M23 "%c = const {value = [10, 20, 30]} : f32[3]\n%y = add %m, %c : f32[2, 3]",
     "11 22 33 14 25 36"},
    {M23 "%c = const {value = [10, 20]} : f32[2, 1]\n%y = sub %c, %m : f32[2, 3]",
     "9 8 7 16 15 14"},
    {"%a = const {value = [-7, 7, -7, 7]} : i32[4]\n%b = const {value = [2, -2, 0, 3]} : i32[4]\n"
     "%y = div %a, %b : i32[4]",
     "-3 -3 0 2"},
    {"%a = const {value = [-7, 7, -7, 7]} : i32[4]\n%b = const {value = [2, -2, 0, 3]} : i32[4]\n"
     "%y = mod %a, %b : i32[4]",
     "1 -1 0 1"},
    {"%a = const {value = [-7, 7, -7, 7]} : i32[4]\n%b = const {value = [2, -2, 0, 3]} : i32[4]\n"
     "%y = rem %a, %b : i32[4]",
     "-1 1 0 1"},
    {"%a = const {value = [-7, 7]} : f32[2]\n%b = const {value = [2, -2]} : f32[2]\n"
     "%y = mod %a, %b : f32[2]",
     "1 -1"},
    {"%a = const {value = [127, -128]} : i8[2]\n%b = const {value = [1, -1]} : i8[2]\n"
     "%y = add %a, %b : i8[2]",
     "-128 127"},
    {"%a = const {value = [-1, 3]} : u64[2]\n%b = const {value = [2, 2]} : u64[2]\n"
     "%y = div %a, %b : u64[2]",
     "9223372036854775807 1"},
    {"%a = const {value = [-1, 3]} : u64[2]\n%b = const {value = [2, 2]} : u64[2]\n"
     "%y = max %a, %b : u64[2]",
     "-1 3"},
    {"%a = const {value = [2, -2, 1, -1]} : i32[4]\n%b = const {value = [10, 3, -1, -3]} : "
     "i32[4]\n%y = pow %a, %b : i32[4]",
     "1024 -8 1 -1"},
    {"%a = const {value = [1, -8]} : i8[2]\n%b = const {value = [9, 1]} : i8[2]\n"
     "%y = shr %a, %b : i8[2]",
     "0 -4"},
    {"%a = const {value = [1, 200]} : u8[2]\n%b = const {value = [7, 1]} : u8[2]\n"
     "%y = shl %a, %b : u8[2]",
     "128 144"},
    {"%a = const {value = [nan, 1, -0.0]} : f32[3]\n%b = const {value = [1, nan, 0]} : f32[3]\n"
     "%y = max %a, %b : f32[3]",
     "nan nan 0"},
    {"%a = const {value = [nan, 1, 2]} : f32[3]\n%b = const {value = [nan, 1, 1]} : f32[3]\n"
     "%y = ne %a, %b : bool[3]",
     "1 0 1"},
    {"%a = const {value = [nan, 1, 2]} : f32[3]\n%b = const {value = [nan, 1, 1]} : f32[3]\n"
     "%y = ge %a, %b : bool[3]",
     "0 1 1"},
    {"%a = const {value = [0.5, 1.5, 2.5, -0.5]} : f32[4]\n%y = round %a : f32[4]", "0 2 2 -0"},
    {"%a = const {value = [0, 4]} : f32[2]\n%y = rsqrt %a : f32[2]", "inf 0.5"},
    {"%a = const {value = [-3, 0, 2]} : f32[3]\n%y = sign %a : f32[3]", "-1 0 1"},
    {"%a = const {value = [0, 1]} : bool[2]\n%y = not %a : bool[2]", "1 0"},
    {"%a = const {value = [0, 5]} : u8[2]\n%y = not %a : u8[2]", "255 250"},
    {"%a = const {value = [1.9, -1.9, 300, nan, -inf]} : f32[5]\n%y = cast %a : i8[5]",
     "1 -1 127 0 -128"},
    {"%a = const {value = [-1, 300]} : i32[2]\n%y = cast %a : u8[2]", "255 44"},
    {"%a = const {value = [0, 0.5, nan]} : f32[3]\n%y = cast %a : bool[3]", "0 1 1"},
    {"%a = const {value = [2049, 70000]} : f32[2]\n%y = cast %a : f16[2]", "2048 inf"},
    {"%a = const {value = 1} : f32[]\n%y = bitcast %a : i32[]", "1065353216"},
    {"%a = const {value = -1} : i8[]\n%y = bitcast %a : u8[]", "255"},
    {"%p = const {value = [1, 0, 1]} : bool[3]\n%a = const {value = [1, 2, 3]} : i32[3]\n"
     "%b = const {value = 9} : i32[]\n%y = select %p, %a, %b : i32[3]",
     "1 9 3"},
    /* views */
    {M23 "%y = transpose %m {perm = [1, 0]} : f32[3, 2]", "1 4 2 5 3 6"},
    {M23 "%y = reshape %m : f32[3, 2]", "1 2 3 4 5 6"},
    {V4 "%r = reshape %v : f32[4, 1]\n%y = broadcast %r : f32[4, 2]", "3 3 1 1 4 4 1 1"},
    {M23 "%y = slice %m {start = [1, 2], step = [-1, -2]} : f32[2, 2]", "6 4 3 1"},
    {V4 "%z = const {value = 9} : f32[]\n"
        "%y = pad %v, %z {high = [1], interior = [1], low = [-1], mode = \"constant\"} : f32[7]",
     "9 1 9 4 9 1 9"},
    {V4 "%z = const {value = 9} : f32[]\n"
        "%y = pad %v, %z {high = [3], low = [2], mode = \"reflect\"} : f32[9]",
     "4 1 3 1 4 1 4 1 3"},
    {V4 "%z = const {value = 9} : f32[]\n"
        "%y = pad %v, %z {high = [1], low = [2], mode = \"edge\"} : f32[7]",
     "3 3 3 1 4 1 1"},
    {V4 "%z = const {value = 9} : f32[]\n"
        "%y = pad %v, %z {high = [1], low = [2], mode = \"wrap\"} : f32[7]",
     "4 1 3 1 4 1 3"},
    {M23 "%y = concat %m, %m {axis = 1} : f32[2, 6]", "1 2 3 1 2 3 4 5 6 4 5 6"},
    {V4 "%y = relayout %v {map = [$0*2 + $1 - 1]} : f32[2, 3]", "0 3 1 1 4 1"},
    /* reductions */
    {M23 "%y = reduce %m {axes = [1], combine = \"add\"} : f32[2]", "6 15"},
    {M23 "%y = reduce %m {axes = [0, 1], combine = \"mul\"} : f32[]", "720"},
    {M23 "%y = reduce %m {axes = [0], combine = \"max\"} : f32[3]", "4 5 6"},
    {"%e = const {value = []} : i8[0]\n%y = reduce %e {axes = [0], combine = \"min\"} : i8[]",
     "127"},
    {"%e = const {value = []} : f32[0]\n%y = reduce %e {axes = [0], combine = \"max\"} : f32[]",
     "-inf"},
    {"%e = const {value = [1, 0]} : bool[2]\n"
     "%y = reduce %e {axes = [0], combine = \"and\"} : bool[]",
     "0"},
    {V4 "%y = arg_reduce %v {axis = 0, combine = \"min\"} : i64[]", "1"},
    {V4 "%y = arg_reduce %v {axis = 0, combine = \"min\", last = true} : i64[]", "3"},
    {"%e = const {value = [1, nan, 5]} : f32[3]\n"
     "%y = arg_reduce %e {axis = 0, combine = \"max\"} : i64[]",
     "1"},
    {M23 "%t = transpose %m {perm = [1, 0]} : f32[3, 2]\n"
         "%y = einsum %m, %t {spec = \"ik,kj->ij\"} : f32[2, 2]",
     "14 32 32 77"},
    {M23 V4 "%y = einsum %m, %v {spec = \"ij,k->ki\"} : f32[4, 2]", "18 45 6 15 24 60 6 15"},
    {"%x = const {value = [1, 2, 3, 4]} : f32[1, 1, 4]\n"
     "%w = const {value = [1, 10]} : f32[1, 1, 2]\n"
     "%y = conv %x, %w {dilations = [2], groups = 1, high = [1], low = [1], strides = [1]} : "
     "f32[1, 1, 4]",
     "20 31 42 3"},
    {"%x = const {value = [1, 2, 3, 4]} : f32[1, 2, 2]\n"
     "%w = const {value = [1, 10]} : f32[2, 1, 1]\n"
     "%y = conv %x, %w {dilations = [1], groups = 2, high = [0], low = [0], strides = [1]} : "
     "f32[1, 2, 2]",
     "1 2 30 40"},
    {V4 "%y = pool %v {combine = \"max\", dilations = [1], high = [1], low = [0], strides = [2], "
        "window = [3]} : f32[2]",
     "4 4"},
    {V4 "%y = scan %v {axis = 0, combine = \"add\"} : f32[4]", "3 4 8 9"},
    {V4 "%y = scan %v {axis = 0, combine = \"add\", exclusive = true, reverse = true} : f32[4]",
     "6 5 1 0"},
    {M23 "%y = scan %m {axis = 0, combine = \"mul\"} : f32[2, 3]", "1 2 3 4 10 18"},
    /* indexed */
    {M23 "%i = const {value = [-1, 0, 7]} : i64[3]\n%y = gather %m, %i {axis = 1} : f32[2, 3]",
     "3 1 3 6 4 6"},
    {M23 "%i = const {value = [1, 0]} : i64[2, 1]\n%y = gather_nd %m, %i {batch = 0} : f32[2, 3]",
     "4 5 6 1 2 3"},
    {M23 "%i = const {value = [2, 0]} : i64[2, 1]\n%y = gather_nd %m, %i {batch = 1} : f32[2]",
     "3 4"},
    {M23 "%i = const {value = [2, 0]} : i64[2, 1]\n"
         "%y = gather_elements %m, %i {axis = 1} : f32[2, 1]",
     "3 4"},
    {V4 "%i = const {value = [0, -1, 9, 0]} : i64[4, 1]\n%u = const {value = [1, 2, 3, 4]} : "
        "f32[4]\n%y = scatter_nd %v, %i, %u {combine = \"add\"} : f32[4]",
     "8 1 4 3"},
    {M23 "%i = const {value = [2, 0]} : i64[2, 1]\n%u = const {value = [7, 8]} : f32[2, 1]\n"
         "%y = scatter_elements %m, %i, %u {axis = 1, combine = \"none\"} : f32[2, 3]",
     "1 2 7 8 5 6"},
    {V4 "%y, %i = topk %v {axis = 0, largest = true} : f32[3], i64[3]", "4 3 1"},
    {V4 "%a, %y = topk %v {axis = 0, largest = false} : f32[3], i64[3]", "1 3 0"},
    {BOXES(3) "%y, %n = suppress %b, %i, %r, %o, %m : i64[1, 1, 4], i64[1, 1]", "2 0 3 0"},
    {BOXES(3) "%n, %y = suppress %b, %i, %r, %o, %m : i64[1, 1, 4], i64[1, 1]", "3"},
    {BOXES(2) "%n, %y = suppress %b, %i, %r, %o, %m : i64[1, 1, 4], i64[1, 1]", "2"},
    {"%x = const {value = [0, 1, 0, 2, 3, 0]} : i32[2, 3]\n"
     "%y, %n = nonzero %x : i64[2, 6], i64[]",
     "0 1 1 0 0 0 1 0 1 0 0 0"},
    {"%o = const {value = 1} : f32[N, 4]\n%z = const {value = [1, 0, 0, 1]} : f32[4]\n"
     "%p = mul %o, %z : f32[N, 4]\n%i, %n = nonzero %p : i64[2, N*4], i64[]\n"
     "%r = resize_dim %i, %n {dim = K} : i64[2, K]\n%y = neg %r : i64[2, K]",
     "0 0 -1 -1 -2 -2 0 -3 0 -3 0 -3"},
    {"%s = const {value = 2} : f32[K]\n%x = const {value = [1, 0, 5]} : f32[3]\n"
     "%i, %n = nonzero %x : i64[1, 3], i64[]\n%r = resize_dim %i, %n {dim = K} : i64[1, K]\n"
     "%y = neg %s : f32[K]",
     "-2 -2"},
};

START_TEST(ops_compute) {
  char text[4096];
  evaluate(rows[_i].body, true, text);
  ck_assert_msg(strcmp(text, rows[_i].values) == 0, "%s, not %s\n%s", text, rows[_i].values,
                rows[_i].body);
}
END_TEST

/* Without rounding a sum keeps float64; with it the result is that of the dtype. */
START_TEST(rounding_is_chosen) {
  static const char body[] = "%a = const {value = 16777216} : f32[]\n"
                             "%b = const {value = 1} : f32[]\n%y = add %a, %b : f32[]";
  char text[256];
  evaluate(body, true, text);
  ck_assert_str_eq(text, "16777216");
  evaluate(body, false, text);
  ck_assert_str_eq(text, "16777217");
}
END_TEST

START_TEST(random_elements_are_fixed) {
  for (uint64_t seed = 0; seed < 50; seed++)
    for (uint64_t i = 0; i < 50; i++) {
      double number = tsr_random_float(seed, i);
      ck_assert(number >= -1 && number < 1);
      int64_t integer = tsr_random_int(seed, i, TSR_I32);
      ck_assert(integer >= -8 && integer < 8);
      integer = tsr_random_int(seed, i, TSR_U8);
      ck_assert(integer >= 0 && integer < 16);
      ck_assert((uint64_t)tsr_random_int(seed, i, TSR_BOOL) < 2);
      integer = tsr_random_int(seed, i, TSR_I2);
      ck_assert(integer >= -2 && integer < 2);
    }
  ck_assert_double_eq(tsr_random_float(1, 0), tsr_random_float(1, 0));
  ck_assert_double_ne(tsr_random_float(1, 0), tsr_random_float(1, 1));
  ck_assert_double_ne(tsr_random_float(1, 0), tsr_random_float(2, 0));
}
END_TEST

START_TEST(inputs_are_bound) {
  tsr_ir *ir = must_parse("dim N in 1..8\ngraph @g { %x = input {name = \"x\"} : f16[N]\n"
                          "%y = add %x, %x : f16[N]\noutput %y {name = \"y\"} }");
  const uint16_t halves[] = {0x3c00, 0xc000};
  const int64_t dims[] = {2};
  uint16_t stored[2];
  const tsr_array *array;
  tsr_eval *eval;
  ck_assert_int_eq(tsr_eval_create(ir, dims, true, 10, tsr_allocator_default(), &eval), TSR_OK);
  ck_assert_int_eq(tsr_eval_get(eval, 2, &array), TSR_ERR_STATE);
  tsr_eval_destroy(eval);
  ck_assert_int_eq(tsr_eval_create(ir, dims, true, 10, tsr_allocator_default(), &eval), TSR_OK);
  ck_assert_int_eq(tsr_eval_bind(eval, 1, dims, 1, halves), TSR_OK);
  ck_assert_int_eq(tsr_eval_get(eval, 2, &array), TSR_OK);
  tsr_array_store(array, stored);
  ck_assert_uint_eq(stored[0], 0x4000);
  ck_assert_uint_eq(stored[1], 0xc400);
  tsr_eval_destroy(eval);
  tsr_ir_destroy(ir);
}
END_TEST

START_TEST(limits_and_unknown_dims) {
  tsr_ir *ir = must_parse("dim N in 1..4611686018427387904\n"
                          "graph @g { %x = const {value = 1} : f32[N, N]\n"
                          "%y = neg %x : f32[N, N] }");
  const int64_t large[] = {1 << 20}, huge[] = {INT64_C(1) << 40};
  const tsr_array *array;
  tsr_eval *eval;
  ck_assert_int_eq(tsr_eval_create(ir, large, true, 1000, tsr_allocator_default(), &eval), TSR_OK);
  ck_assert_int_eq(tsr_eval_get(eval, 2, &array), TSR_ERR_LIMIT);
  tsr_eval_destroy(eval);
  ck_assert_int_eq(tsr_eval_create(ir, huge, true, INT64_MAX, tsr_allocator_default(), &eval),
                   TSR_OK);
  ck_assert_int_eq(tsr_eval_get(eval, 2, &array), TSR_ERR_SHAPE);
  tsr_eval_destroy(eval);
  ck_assert_int_eq(tsr_eval_create(ir, NULL, true, 1000, tsr_allocator_default(), &eval), TSR_OK);
  ck_assert_int_eq(tsr_eval_get(eval, 2, &array), TSR_ERR_STATE);
  tsr_eval_destroy(eval);
  tsr_ir_destroy(ir);
}
END_TEST

/* A chain longer than any stack of calls. */
START_TEST(deep_graphs) {
  tsr_ir *ir = must_parse("graph @g { %x = const {value = 1} : i32[] }");
  tsr_region region = tsr_op_get(ir, tsr_region_get(ir, tsr_ir_top(ir))->first)->regions[0];
  tsr_value value = 1;
  const tsr_array *array;
  tsr_eval *eval;
  for (int i = 0; i < 200000; i++) {
    tsr_op op = tsr_op_append(ir, region, TSR_OP_NEG);
    tsr_op_add_operand(ir, op, value);
    value = tsr_op_add_result(ir, op, tsr_value_get(ir, value)->type);
  }
  ck_assert_int_eq(tsr_eval_create(ir, NULL, true, 1, tsr_allocator_default(), &eval), TSR_OK);
  ck_assert_int_eq(tsr_eval_get(eval, value, &array), TSR_OK);
  ck_assert_int_eq(array->integers[0], 1);
  tsr_eval_destroy(eval);
  tsr_ir_destroy(ir);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("eval");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_loop_test(tests, ops_compute, 0, COUNT(rows));
  tcase_add_test(tests, rounding_is_chosen);
  tcase_add_test(tests, random_elements_are_fixed);
  tcase_add_test(tests, inputs_are_bound);
  tcase_add_test(tests, limits_and_unknown_dims);
  tcase_add_test(tests, deep_graphs);
  suite_add_tcase(suite, tests);
  return run_suite(suite);
}
