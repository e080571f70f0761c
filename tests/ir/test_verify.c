/* Every rule of the verifier refuses the program that breaks it, with its reason. Programs that
 * keep all rules: tests/golden/examples, and the bases below. */
#include "ir/graph_build.h"
#include "tests/ir/ir_text.h"
#include <stdio.h>

#define COUNT(array) (int)(sizeof(array) / sizeof *(array))

static tsr_status verify_text(const char *text, tsr_diag *diag) {
  tsr_ir *ir = must_parse(text);
  tsr_diag_clear(diag);
  tsr_status status = tsr_ir_verify(ir, diag);
  tsr_ir_destroy(ir);
  return status;
}

/* A body of one of the levels and the reason it is refused for. */
typedef struct refusal {
  const char *body, *reason;
} refusal;

static void refuse(const char *head, const refusal *row, const char *tail) {
  char text[4096];
  tsr_diag diag;
  (void)snprintf(text, sizeof text, "%s%s%s", head, row->body, tail);
  tsr_status status = verify_text(text, &diag);
  ck_assert_msg(status == TSR_ERR_VERIFY, "accepted: %s", row->body);
  ck_assert_msg(strstr(diag.message, row->reason) != NULL, "'%s' is not in '%s'\n%s", row->reason,
                diag.message, row->body);
  ck_assert_str_ne(diag.op, "");
  ck_assert_uint_ne(diag.line, 0);
}

static void accept_text(const char *head, const char *body, const char *tail) {
  char text[4096];
  tsr_diag diag;
  (void)snprintf(text, sizeof text, "%s%s%s", head, body, tail);
  ck_assert_msg(verify_text(text, &diag) == TSR_OK, "%s\n%s", diag.message, text);
}

/* --- any level --- */

static const refusal any_rows[] = {
    {"%x = input {name = \"x\"} : f32[]", "cannot stand here"},
    {"graph @g { graph @h {} }", "cannot stand here"},
    {"graph @g { %0 = add : f32[] }", "'add' has 0 operands"},
    {"graph @g { %a = input {name = \"a\"} : f32[] %0, %1 = neg %a : f32[], f32[] }",
     "has 2 results"},
    {"graph @g {} {}", "has 2 regions"},
    {"graph @g { %a = input : f32[] }", "needs the attribute 'name'"},
    {"graph @g { %a = input {name = 3} : f32[] }", "is not of kind string"},
    {"graph @g { %a = input {color = 1, name = \"a\"} : f32[] }", "has no attribute 'color'"},
    {"graph {}", "a name (@name) is missing"},
    {"graph @g {} graph @g {}", "@g is defined twice"},
    {"plan @p { schedule @s {at = $0} }", "lanes cannot stand"},
    {"kernel @k(%x: l1 f32[4]) grid() {}", "must live in global memory"},
    {"kernel @k() grid(%i in $0) {}", "lanes cannot stand in the range"},
};

START_TEST(any_level) {
  refuse("", &any_rows[_i], "");
}
END_TEST

/* --- graphs --- */

static const char graph_head[] = "dim N in 1..64\n"
                                 "kernel @k(%p: f32[4], out %q: f32[4]) grid() {}\n"
                                 "graph @g { %x = input {name = \"x\"} : f32[N, 4]\n"
                                 "%h = input {name = \"h\"} : f16[N, 4]\n"
                                 "%b = input {name = \"b\"} : bool[]\n"
                                 "%v = input {name = \"v\"} : f32[4]\n";

static const refusal graph_rows[] = {
    {"%y = neg %x : f32[N, 5]", "it must be f32[N, 4]"},
    {"%y = neg %x : f16[N, 4]", "it must be f32[N, 4]"},
    {"%y = add %x, %h : f32[N, 4]", "must agree"},
    {"%y = neg %x[0, 0] : f32[]", "graph ops take whole tensors"},
    {"%y = einsum %x, %x {spec = \"ij,jk->ik\"} : f32[N, 4]", "do not fit"},
    {"%y = const {value = 1, random = 2} : f32[]", "one of value, random, data, elided"},
    {"%y = const {value = [1, 2]} : f32[3]", "does not fill"},
    {"%y = const {value = [1, 2]} : f32[N]", "does not fill"},
    {"%y = index {value = N} : bool[]", "becomes a number"},
    {"%y = index {value = $0} : i64[]", "made of dims"},
    {"%y = group { %z = neg %x : f32[N, 4] } : f32[N, 4]", "must end with 'yield'"},
    {"%y = group { %z = neg %x : f32[N, 4] yield %z, %z } : f32[N, 4]", "2 values are yielded"},
    {"%y = group { %z = neg %x : f32[N, 4] yield %z } : f32[4]", "value 0 is f32[N, 4]"},
    {"%y = group { yield %x %z = neg %x : f32[N, 4] } : f32[N, 4]", "must be the last op"},
    {"yield %x", "'yield' ends regions of"},
    {"%y = group { %z = input {name = \"z\"} : f32[] yield %z } : f32[]", "directly in a graph"},
    {"%y = input {name = \"y\"} : l1 f32[]", "lives in global memory"},
    {"%y = launch @k %v, %v : f32[4]", "takes 2 arguments, 3 are given"},
    {"%y = launch @k : f32[4]", "takes more than 1 arguments"},
    {"%y = launch @k %h : f32[4]", "differs in dtype"},
    {"%y = launch %x : f32[4]", "names its kernel"},
    {"%y = if %b { yield %x } : f32[N, 4]", "two that yield"},
    {"%y = if %v { yield %x } { yield %x } : f32[N, 4]", "bool of rank 0"},
    {"%y = if { yield %x } { yield %x } : f32[N, 4]", "'cond' or one operand"},
    {"%y = if %b { yield %x } { yield %v } : f32[N, 4]", "value 0 is f32[4]"},
    {"%y = loop carry(%a = %x) { yield %b } : f32[N, 4]", "1 values are yielded for 2"},
    {"%y = loop carry(%a = %x) { yield %v, %a } : f32[N, 4]", "bool of rank 0"},
    {"%y = loop carry(%a = %x) { yield %b, %a } : f32[4]", "its start and its result differ"},
    {"%y = load %x[0, 0] : f32", "cannot stand here"},
};

START_TEST(graph_level) {
  accept_text(graph_head, "%y = neg %x : f32[N, 4] output %y {name = \"y\"}", "}");
  refuse(graph_head, &graph_rows[_i], "}");
}
END_TEST

/* --- blocks --- */

static const char block_head[] = "dim N in 1..64\n"
                                 "graph @g { %x = input {name = \"x\"} : f32[N, 4]\n"
                                 "%n = input {name = \"n\"} : i64[N]\n"
                                 "%y = block par(%i in N) red(%k in 4) {\n"
                                 "%a = load %x[%i, %k] : f32\n"
                                 "%c = load %n[%i] : i64\n"
                                 "%s = reduce %a {combine = \"add\"} : f32\n";
static const char block_tail[] = " store %s, %y[%i] } : f32[N] }";

static const refusal block_rows[] = {
    {"%z = load %x[%i] : f32", "1 subscripts for rank 2"},
    {"%z = load %i[] : f32", "has no elements"},
    {"%z = load %x : f32", "needs subscripts"},
    {"%z = load %x[%i, $0] : f32", "uses a lane"},
    {"%z = load %x[%i, %k] : f16", "dtypes"},
    {"%z = load %x[%i, %k] : f32[]", "must be a scalar or a tile"},
    {"%z = load %x[%c, %k] : f32", "needs gather_load"},
    {"%z = gather_load %x[%s, %k] : f32", "must be an integer"},
    {"store %a, %y[%i]", "varies along a red index"},
    {"store %s, %y[%k]", "varies along a red index"},
    {"store %s, %x[%i, 0]", "only to its own results"},
    {"store %c, %y[%i]", "dtypes"},
    {"store %s, %y[%i] {combine = \"sub\"}", "known are"},
    {"%z = add %a, %c : f32", "dtypes"},
    {"%z = add %a, %x[%i, %k] : f32", "must be a scalar or a tile"},
    {"%z = lt %a, %s : f32", "dtypes"},
    {"%z = isnan %a : f32", "dtypes"},
    {"%z = bitcast %a : f64", "dtypes"},
    {"%z = not %a : f32", "dtypes"},
    {"%z = select %a, %a, %a : f32", "dtypes"},
    {"%z = shl %c, %a : i64", "dtypes"},
    {"%z = add %a, %a : reg f32[1]", "axes that no operand has"},
    {"%z = index {value = $0} : i64", "lane that the result lacks"},
    {"%z = const {value = 1} : f32[]", "must be a scalar or a tile"},
    {"for %l in 4 {}", "use 'proc'"},
    {"if {cond = N < 4} {}", "use 'proc'"},
    {"%z = reduce %a : f32", "'combine' or one combiner"},
    {"%z = reduce %a {combine = \"sub\"} : f32", "known are"},
    {"%z, %w = reduce %a {combine = \"add\"} : f32, f32", "1 values are reduced to 2"},
    {"%z = reduce %a over(%i) {combine = \"add\"} : f32", "lists red indices"},
    {"%z = reduce %a {(%p: f32) yield %p} : f32", "has 2 arguments, not 1"},
    {"%z = reduce %a {(%p: f32, %q: f16) yield %p} : f32", "differs from operand"},
    {"%z = reduce %a {(%p: f32, %q: f32) %r = load %x[0, 0] : f32 yield %r} : f32",
     "element by element"},
    {"%z = reduce %a {(%p: f32, %q: f32) yield %p, %q} : f32", "2 values are yielded"},
    {"%z = alloc : l1 f32[4]", "cannot stand here"},
};

START_TEST(block_level) {
  accept_text(block_head, "", block_tail);
  refuse(block_head, &block_rows[_i], block_tail);
}
END_TEST

static const refusal proc_rows[] = {
    {"%y = block par(%i in 4) { %a = load %x[%i] : f32 } : f32[4]", "never stored"},
    {"block par(%i in 4) { }", "computes nothing"},
    {"%y = proc { %a = load %x[0] : f32 %b = for %i in 4 carry(%c = %a) { } : f32 "
     "store %b, %y[0] } : f32[4]",
     "must end with 'yield'"},
    {"%y = proc { %a = load %x[0] : f32 %b, %d = for %i in 4 carry(%c = %a) { yield %c, %c } : "
     "f32, f32 store %b, %y[0] } : f32[4]",
     "1 values are carried"},
    {"%y = proc { %a = load %x[0] : f32 %t = ne %a, %a : bool %p = append %a, %n[] : i64 "
     "store %a, %y[0] } : f32[4]",
     "only to its own results"},
    {"%y, %m = proc { %a = load %x[0] : f32 %p = append %a, %m[] : i64 "
     "store %a, %y[0] } : f32[4], i64[]",
     "dtypes"},
};

START_TEST(proc_level) {
  static const char head[] = "graph @g { %x = input {name = \"x\"} : f32[4]\n"
                             "%n = input {name = \"n\"} : i64[]\n";
  accept_text(head,
              "%y, %m = proc { %a = load %x[0] : f32 %t = ne %a, %a : bool "
              "%p = append %t, %m[] : i64 store %a, %y[0] } : f32[4], i64[]",
              "}");
  refuse(head, &proc_rows[_i], "}");
}
END_TEST

/* --- tiles --- */

static const char tile_head[] = "kernel @k(%x: f32[64, 64], out %y: f32[64, 64]) grid(%t in 4) {\n"
                                "%l = alloc : l1 f32[64, 64]\n"
                                "%a = load %x[%t + $0, $1] : reg f32[4, 8]\n"
                                "%b = load %x[$0, $1] : reg f32[8, 16]\n"
                                "%c = const {value = 0} : reg f32[4, 16]\n"
                                "%row = load %x[0, $1] : reg f32[1, 8]\n";

static const refusal tile_rows[] = {
    {"%z = load %x[$0, $2] : reg f32[4, 8]", "uses a lane"},
    {"%z = load %x[$0, $1] : f32", "uses a lane"},
    {"store %a, %x[$0, $1]", "cannot be written"},
    {"store %a, %row[$0, $1]", "neither an output nor scratch"},
    {"store %a, %y[$0, $2]", "uses a lane"},
    {"store %l, %y[$0, $1]", "must be a scalar or a tile"},
    {"prefetch %row[$0, $1] {shape = [1, 8]}", "neither an output nor scratch"},
    {"prefetch %y[$0, $1] {shape = [8]}", "uses a lane"},
    {"prefetch %y {shape = [4, 8]}", "needs subscripts"},
    {"%z = add %a, %b : reg f32[4, 8]", "does not broadcast"},
    {"%z = add %row, %row : reg f32[4, 8]", "no operand has the result's extent"},
    {"%z = contract %a, %b, %row {atom = \"fma.f32\"} : reg f32[1, 8]",
     "does not fit an accumulator"},
    {"%z = contract %a, %a, %c {atom = \"fma.f32\"} : reg f32[4, 16]",
     "does not fit an accumulator"},
    {"%z = contract %a, %b, %c {atom = \"fma.f32\"} : reg f32[4, 8]",
     "accumulator and result differ"},
    {"%z = contract %row, %b, %c {atom = \"fma.f32\"} : reg f32[4, 16]",
     "does not fit an accumulator"},
    {"%z = transpose %a {perm = [0, 0]} : reg f32[4, 4]", "no permutation"},
    {"%z = transpose %a {perm = [1, 0]} : reg f32[4, 8]", "is not axis"},
    {"%z = transpose %a {perm = [0]} : reg f32[4, 8]", "does not fit the tile"},
    {"%z = reduce %a {axes = [1], combine = \"add\"} : reg f32[4]", "keeps as 1"},
    {"%z = reduce %a {axes = [2], combine = \"add\"} : reg f32[4, 1]", "names axis 2"},
    {"%z = reduce %a {axes = [1], combine = \"add\"} : reg f32[4, 8]", "axis 1 does not fit"},
    {"%z = alloc : f32[4]", "scratch lives"},
    {"%z = tile_slice %a {start = [0]} : reg f32[2, 8]", "one place per axis"},
    {"copy %l[0, 0], %x[0, 0] {shape = [4, 4]}", "cannot be written"},
    {"copy %x[0, 0], %l[0, 0] {shape = [4, 4, 4]}", "more axes than a buffer"},
    {"copy %x[0, 0], %l {shape = [4, 4]}", "needs subscripts"},
    {"%z = fragment %l[0, 0] : reg f16[4, 4]", "dtypes"},
    {"for %i in %t..4 carry(%q = %a) { yield %q }", "its start and its result differ"},
    {"%z = for %i in 4 carry(%q = %a) { yield %b } : reg f32[4, 8]", "value 0 is"},
    {"roles {names = [\"a\"], warps = [1, 1]} {} {}", "1 names for 2 roles"},
    {"%z = relayout %a {map = [$0]} : reg f32[4]", "one subscript per axis"},
    {"%z = relayout %a {map = [$0, $1]} : reg f32[4]", "lane that the result lacks"},
    {"%z = reshape %a : reg f32[32]", "cannot stand here"},
};

START_TEST(tile_level) {
  accept_text(tile_head,
              "%z = contract %a, %b, %c {atom = \"fma.f32\"} : reg f32[4, 16]\n"
              "store %z, %y[%t*4 + $0, $1] copy %x[0, 0], %l[0, 0] {shape = [4, 4]}",
              "}");
  refuse(tile_head, &tile_rows[_i], "}");
}
END_TEST

/* --- what text cannot say --- */

START_TEST(values_out_of_sight) {
  tsr_ir *ir =
      must_parse("graph @a { %x = input {name = \"x\"} : f32[] }\n"
                 "graph @b { %y = input {name = \"y\"} : f32[] output %y {name = \"z\"} }");
  tsr_diag diag;
  must_verify(ir);
  tsr_op output = tsr_op_count(ir);
  tsr_op_set_operand(ir, output, 0, 1);
  tsr_diag_clear(&diag);
  ck_assert_int_eq(tsr_ir_verify(ir, &diag), TSR_ERR_VERIFY);
  ck_assert_ptr_nonnull(strstr(diag.message, "is not defined before this use"));
  tsr_ir_destroy(ir);
}
END_TEST

START_TEST(uses_before_definitions) {
  tsr_ir *ir = must_parse("graph @a { %x = input {name = \"x\"} : f32[] %y = neg %x : f32[]\n"
                          "%z = neg %y : f32[] output %z {name = \"z\"} }");
  tsr_diag diag;
  tsr_op first = tsr_value_get(ir, 2)->def, second = tsr_value_get(ir, 3)->def;
  tsr_op_move_before(ir, second, first);
  tsr_diag_clear(&diag);
  ck_assert_int_eq(tsr_ir_verify(ir, &diag), TSR_ERR_VERIFY);
  ck_assert_ptr_nonnull(strstr(diag.message, "is not defined before this use"));
  tsr_ir_destroy(ir);
}
END_TEST

START_TEST(poisoned_programs) {
  tsr_ir *ir = must_parse("graph @a { }");
  tsr_diag diag;
  (void)tsr_ir_poison(ir, TSR_ERR_SHAPE, "it broke");
  tsr_diag_clear(&diag);
  ck_assert_int_eq(tsr_ir_verify(ir, &diag), TSR_ERR_SHAPE);
  ck_assert_str_eq(diag.message, "it broke");
  tsr_ir_destroy(ir);
}
END_TEST

START_TEST(constants_fill_their_type) {
  tsr_ir *ir;
  tsr_diag diag;
  int64_t dim = 3;
  ck_assert_int_eq(tsr_ir_create(tsr_allocator_default(), &ir), TSR_OK);
  tsr_builder b = tsr_graph_begin(ir, "g");
  tsr_value value = tsr_graph_const(&b, TSR_I8, &dim, 1, "abc", true);
  must_verify(ir);
  tsr_op_set_int(ir, tsr_value_get(ir, value)->def, "data", 9);
  tsr_diag_clear(&diag);
  ck_assert_int_eq(tsr_ir_verify(ir, &diag), TSR_ERR_VERIFY);
  tsr_ir_destroy(ir);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("verify");
  TCase *tests = tcase_create("all");
  tcase_add_loop_test(tests, any_level, 0, COUNT(any_rows));
  tcase_add_loop_test(tests, graph_level, 0, COUNT(graph_rows));
  tcase_add_loop_test(tests, block_level, 0, COUNT(block_rows));
  tcase_add_loop_test(tests, proc_level, 0, COUNT(proc_rows));
  tcase_add_loop_test(tests, tile_level, 0, COUNT(tile_rows));
  tcase_add_test(tests, values_out_of_sight);
  tcase_add_test(tests, uses_before_definitions);
  tcase_add_test(tests, poisoned_programs);
  tcase_add_test(tests, constants_fill_their_type);
  suite_add_tcase(suite, tests);
  return run_suite(suite);
}
