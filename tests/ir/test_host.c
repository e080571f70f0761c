/* What the host runs: types of lists and maybes, ops of kind HOST, `if` and `loop` in graphs,
 * models and their calls. Text, rules, hash, clone and builder calls. */
#include "ir/copy.h"
#include "ir/graph_build.h"
#include "tests/ir/ir_text.h"
#include <stdio.h>

#define COUNT(array) (int)(sizeof(array) / sizeof *(array))

static const char loop_text[] =
    "dim N in 1..64\n"
    "dim S in 0..1000\n"
    "dim T in 0..1000\n"
    "\n"
    "graph @main {\n"
    "  %x = input {name = \"x\"} : f32[N]\n"
    "  %seq = input {name = \"seq\"} : list f32[..]\n"
    "  %opt = input {name = \"opt\"} : maybe list f32[N]\n"
    "  %has = maybe_has %opt : bool[]\n"
    "  %0 = if %has {\n"
    "    %1 = maybe_get %opt : list f32[N]\n"
    "    yield %1\n"
    "  } {\n"
    "    yield %seq\n"
    "  } : list f32[..]\n"
    "  %zero = const {value = 0} : i64[]\n"
    "  %2, %3, %4 = loop carry(%i = %zero, %acc: f32[S] = %x, %items = %0) {limit = "
    "N*2} "
    "{\n"
    "    %one = const {value = 1} : i64[]\n"
    "    %next = add %i, %one : i64[]\n"
    "    %grown = concat %acc, %x {axis = 0} : f32[N + S]\n"
    "    %more = list_insert %items, %grown : list f32[..]\n"
    "    %less = list_erase %more, %i : list f32[..]\n"
    "    %go = lt %next, %zero : bool[]\n"
    "    yield %go, %next, %grown, %less\n"
    "  } : i64[], f32[T], list f32[..]\n"
    "  %count = list_length %4 : i64[]\n"
    "  %at = list_at %4, %count : f32[T]\n"
    "  %pieces = list_split %x, %count {axis = 0} : list f32[..]\n"
    "  %whole = list_concat %pieces {axis = 0, stack = true} : f32[S, T]\n"
    "  %some = maybe_make %at : maybe f32[T]\n"
    "  %nothing = maybe_make : maybe list f32[..]\n"
    "  output %whole {name = \"whole\"}\n"
    "  output %some {name = \"some\"}\n"
    "  output %nothing {name = \"nothing\"}\n"
    "  output %3 {name = \"acc\"}\n"
    "}\n";

static const char model_text[] =
    "dim N in 1..64\n"
    "\n"
    "model @main {texts = [\"\", \"a b\"]} {\n"
    "  %words = input {name = \"words\", text = true} : i64[N]\n"
    "  %low = text_normalize %words {case = \"lower\"} : i64[N]\n"
    "  %split, %counts = text_split %low {limit = -1} : i64[N, 4], i64[N]\n"
    "  %sum = call %counts {graph = @'main.0'} : i64[]\n"
    "  output %split {name = \"split\", text = true}\n"
    "  output %sum {name = \"sum\"}\n"
    "}\n"
    "\n"
    "graph @'main.0' {\n"
    "  %0 = input {name = \"0\"} : i64[N]\n"
    "  %1 = reduce %0 {axes = [0], combine = \"add\"} : i64[]\n"
    "  output %1 {name = \"0\"}\n"
    "}\n";

static const char *const kept[] = {loop_text, model_text};

START_TEST(text_is_kept) {
  tsr_ir *ir = must_parse(kept[_i]), *copy;
  must_verify(ir);
  ck_assert_str_eq(must_print(ir), kept[_i]);
  ck_assert_int_eq(tsr_ir_copy_in_order(ir, tsr_allocator_default(), &copy), TSR_OK);
  must_verify(copy);
  ck_assert_str_eq(must_print(copy), kept[_i]);
  tsr_ir_destroy(copy);
  tsr_ir_destroy(ir);
}
END_TEST

START_TEST(clone_and_hash) {
  tsr_ir *ir = must_parse(kept[_i]);
  tsr_op first = tsr_region_get(ir, tsr_ir_top(ir))->first;
  tsr_op clone = tsr_op_clone(ir, first, tsr_ir_top(ir), NULL, 0);
  ck_assert_uint_ne(clone, 0);
  tsr_op_set_symbol(ir, clone, "other");
  must_verify(ir);
  ck_assert_uint_eq(tsr_op_workload_hash(ir, first), tsr_op_workload_hash(ir, clone));
  tsr_ir_destroy(ir);
}
END_TEST

static tsr_type type_of(tsr_ir *ir, tsr_level level, tsr_dtype dtype, tsr_expr dim, uint32_t rank) {
  return tsr_type_make(ir, level, dtype, &dim, rank);
}

START_TEST(types_are_interned) {
  tsr_ir *ir;
  ck_assert_int_eq(tsr_ir_create(tsr_allocator_default(), &ir), TSR_OK);
  tsr_expr four = tsr_expr_int(ir, 4);
  tsr_type any = tsr_type_make(ir, TSR_LEVEL_LIST, TSR_F32, NULL, TSR_RANK_ANY);
  tsr_type list = type_of(ir, TSR_LEVEL_LIST, TSR_F32, four, 1);
  ck_assert_uint_ne(any, 0);
  ck_assert_uint_eq(any, tsr_type_make(ir, TSR_LEVEL_LIST, TSR_F32, NULL, TSR_RANK_ANY));
  ck_assert_uint_eq(list, type_of(ir, TSR_LEVEL_LIST, TSR_F32, four, 1));
  ck_assert_uint_ne(list, any);
  ck_assert_uint_ne(list, type_of(ir, TSR_LEVEL_GLOBAL, TSR_F32, four, 1));
  ck_assert_uint_ne(list, type_of(ir, TSR_LEVEL_MAYBE, TSR_F32, four, 1));
  ck_assert_uint_ne(any, tsr_type_make(ir, TSR_LEVEL_MAYBE_LIST, TSR_F32, NULL, TSR_RANK_ANY));
  ck_assert_str_eq(tsr_type_print(ir, any, tsr_ir_arena(ir)), "list f32[..]");
  ck_assert_int_eq(tsr_ir_status(ir), TSR_OK);
  ck_assert_uint_eq(tsr_type_make(ir, TSR_LEVEL_GLOBAL, TSR_F32, NULL, TSR_RANK_ANY), 0);
  ck_assert_int_eq(tsr_ir_status(ir), TSR_ERR_LIMIT);
  tsr_ir_destroy(ir);
}
END_TEST

/* --- refusals --- */

static const struct {
  const char *body, *reason;
} refusals[] = {
    {"%y = neg %l : f32[4]", "for the host's operators"},
    {"%y = list_make %x, %n : list f32[4]", "do not give these results"},
    {"%y = list_make %x : list f32[4, 4]", "do not give these results"},
    {"%y = list_make %x : f32[4]", "do not give these results"},
    {"%y = list_insert %x, %x : list f32[4]", "do not give these results"},
    {"%y = list_at %l, %x : f32[4]", "do not give these results"},
    {"%y = list_at %l, %n : i32[4]", "do not give these results"},
    {"%y = list_length %l : i32[]", "do not give these results"},
    {"%y = list_split %x {axis = 1} : list f32[4]", "axis is out of range"},
    {"%y = list_split %x {axis = 0, drop = true} : list f32[4]", "rank does not fit"},
    {"%y = list_concat %l {axis = 0} : f32[4, 4]", "rank does not fit"},
    {"%y = list_concat %l {axis = 0} : f32[4, 4, 4]", "rank does not fit"},
    {"%y = maybe_make %l : maybe f32[4]", "do not give these results"},
    {"%y = maybe_has %l : bool[]", "do not give these results"},
    {"%y = maybe_get %m : list f32[4]", "do not give these results"},
    {"%y = text_match %x {pattern = \"a\"} : bool[4]", "do not give these results"},
    {"%y = text_normalize %n {case = \"title\"} : i64[]", "known are"},
    {"%y = const {value = 0} : list f32[4]", "a const is a tensor"},
    {"%y = if %c {yield %x} {yield %l} : f32[4]", "value 0 is list f32[4]"},
    {"%y = if %c {yield %x} {%z = const {value = 0} : f32[5] yield %z} : f32[4]",
     "value 0 is f32[5]"},
    {"%y = if %c {yield %x} {yield %n} : f32[4]", "value 0 is i64[]"},
    {"%y = if %n {yield %x} {yield %x} : f32[4]", "must be a bool"},
    {"%y = loop carry(%a: f32[4, 1] = %x) {yield %c, %a} : f32[4, 1]", "differ"},
    {"%y = loop carry(%a: f32[N] = %x) {yield %n, %a} : f32[N]", "must be a bool"},
    {"%y = loop carry(%a: f32[N] = %x) {yield %c, %l} : f32[N]", "value 1 is list f32[4]"},
    {"%y = call %x {graph = @h} : f32[4]", "cannot stand here"},
};

START_TEST(refused) {
  char text[2048];
  tsr_diag diag;
  (void)snprintf(
      text, sizeof text,
      "dim N in 0..9 graph @g {%%x = input {name = \"x\"} : f32[4]\n"
      "%%l = input {name = \"l\"} : list f32[4] %%m = input {name = \"m\"} : maybe f32[4]\n"
      "%%c = input {name = \"c\"} : bool[] %%n = input {name = \"n\"} : i64[]\n%s }",
      refusals[_i].body);
  tsr_ir *ir = must_parse(text);
  tsr_diag_clear(&diag);
  ck_assert_msg(tsr_ir_verify(ir, &diag) == TSR_ERR_VERIFY, "accepted: %s", refusals[_i].body);
  ck_assert_msg(strstr(diag.message, refusals[_i].reason) != NULL, "'%s' is not in '%s'",
                refusals[_i].reason, diag.message);
  tsr_ir_destroy(ir);
}
END_TEST

static const struct {
  const char *call, *reason;
} bad_calls[] = {
    {"%y = call {graph = @'main.0'} : f32[4]", "more than 0 inputs"},
    {"%y = call %x, %x {graph = @'main.0'} : f32[4]", "2 operands for a graph with 1"},
    {"%y, %z = call %x {graph = @'main.0'} : f32[4], f32[4]", "2 results for a graph with 1"},
    {"call %x {graph = @'main.0'}", "more than 0 outputs"},
    {"%y = call %x {graph = @'main.1'} : f32[4]", "there is no graph"},
    {"%y = call %x {graph = @'main.0'} : f32[5]", "result 0 is f32[5]"},
    {"%y = call %x {graph = @'main.0'} : i32[4]", "result 0 is i32[4]"},
    {"%y = neg %x : f32[4]", "cannot stand here"},
};

START_TEST(calls_refused) {
  char text[1024];
  tsr_diag diag;
  (void)snprintf(text, sizeof text,
                 "model @main {%%x = input {name = \"x\"} : f32[4] %s}\n"
                 "graph @'main.0' {%%x = input {name = \"0\"} : f32[4] output %%x {name = \"0\"}}",
                 bad_calls[_i].call);
  tsr_ir *ir = must_parse(text);
  tsr_diag_clear(&diag);
  ck_assert_msg(tsr_ir_verify(ir, &diag) == TSR_ERR_VERIFY, "accepted: %s", bad_calls[_i].call);
  ck_assert_msg(strstr(diag.message, bad_calls[_i].reason) != NULL, "'%s' is not in '%s'",
                bad_calls[_i].reason, diag.message);
  tsr_ir_destroy(ir);
}
END_TEST

/* --- builder calls --- */

START_TEST(built_regions) {
  tsr_ir *ir;
  tsr_value args[2], out[2], chosen, item, empty;
  ck_assert_int_eq(tsr_ir_create(tsr_allocator_default(), &ir), TSR_OK);
  tsr_builder b = tsr_graph_begin(ir, "main");
  tsr_region top = b.region;
  tsr_expr n = tsr_expr_dim(ir, tsr_dim_add(ir, "N", 1, 64, 0));
  tsr_expr s = tsr_expr_dim(ir, tsr_dim_add(ir, "S", 0, 64, 0));
  tsr_type list = type_of(ir, TSR_LEVEL_LIST, TSR_F32, n, 1);
  tsr_type fresh = type_of(ir, TSR_LEVEL_GLOBAL, TSR_F32, s, 1);
  tsr_value x = tsr_graph_input(&b, "x", TSR_F32, &n, 1);
  tsr_value c = tsr_graph_input(&b, "c", TSR_BOOL, NULL, 0);
  tsr_graph_host(&b, TSR_OP_LIST_MAKE, NULL, 0, &list, 1, &empty);
  tsr_value starts[2] = {x, empty};

  tsr_op wrong = tsr_graph_loop_begin(&b, n, starts, NULL, 2, args);
  ck_assert_uint_ne(b.region, top);
  (void)tsr_graph_unary(&b, TSR_OP_NEG, args[0]);
  tsr_graph_abandon(&b, wrong);
  ck_assert_uint_eq(b.region, top);

  tsr_type types[2] = {fresh, list};
  tsr_op loop = tsr_graph_loop_begin(&b, n, starts, types, 2, args);
  tsr_value next[2] = {tsr_graph_unary(&b, TSR_OP_NEG, args[0]), 0};
  tsr_value inserted[2] = {args[1], next[0]};
  tsr_graph_host(&b, TSR_OP_LIST_INSERT, inserted, 2, &list, 1, &next[1]);
  tsr_graph_loop_end(&b, loop, c, next, NULL, 2, out);
  ck_assert_uint_eq(b.region, top);

  tsr_op choice = tsr_graph_if_begin(&b, c);
  tsr_value zero = tsr_graph_scalar_int(&b, TSR_I64, 0);
  tsr_value at[2] = {out[1], zero};
  tsr_graph_host(&b, TSR_OP_LIST_AT, at, 2, &fresh, 1, &item);
  tsr_graph_if_else(&b, choice, &item, 1);
  tsr_graph_if_end(&b, choice, &x, &fresh, 1, &chosen);
  ck_assert_uint_eq(b.region, top);
  tsr_graph_output(&b, "y", chosen);
  ck_assert_int_eq(tsr_ir_status(ir), TSR_OK);
  must_verify(ir);
  ck_assert_str_eq(must_print(ir), "dim N in 1..64\n"
                                   "dim S in 0..64\n"
                                   "\n"
                                   "graph @main {\n"
                                   "  %0 = input {name = \"x\"} : f32[N]\n"
                                   "  %1 = input {name = \"c\"} : bool[]\n"
                                   "  %2 = list_make : list f32[N]\n"
                                   "  %3, %4 = loop carry(%5: f32[S] = %0, %6 = %2) {limit = N} {\n"
                                   "    %7 = neg %5 : f32[S]\n"
                                   "    %8 = list_insert %6, %7 : list f32[N]\n"
                                   "    yield %1, %7, %8\n"
                                   "  } : f32[S], list f32[N]\n"
                                   "  %9 = if %1 {\n"
                                   "    %10 = const {value = 0} : i64[]\n"
                                   "    %11 = list_at %4, %10 : f32[S]\n"
                                   "    yield %11\n"
                                   "  } {\n"
                                   "    yield %0\n"
                                   "  } : f32[S]\n"
                                   "  output %9 {name = \"y\"}\n"
                                   "}\n");
  tsr_ir_destroy(ir);
}
END_TEST

START_TEST(built_poison) {
  tsr_ir *ir;
  tsr_value out = 1, args = 1;
  ck_assert_int_eq(tsr_ir_create(tsr_allocator_default(), &ir), TSR_OK);
  tsr_builder b = tsr_graph_begin(ir, "main");
  tsr_region top = b.region;
  tsr_value x = tsr_graph_input(&b, "x", TSR_F32, NULL, 0), none = 0;
  tsr_type list = type_of(ir, TSR_LEVEL_LIST, TSR_I32, 0, 0);
  ck_assert_uint_eq(tsr_graph_if_begin(&b, 0), 0);
  tsr_graph_if_else(&b, 0, &none, 1);
  tsr_graph_if_end(&b, 0, &none, &list, 1, &out);
  ck_assert_uint_eq(out, 0);
  ck_assert_uint_eq(tsr_graph_loop_begin(&b, 0, &none, NULL, 1, &args), 0);
  ck_assert_uint_eq(args, 0);
  tsr_graph_loop_end(&b, 0, 0, &none, NULL, 1, &out);
  ck_assert_uint_eq(b.region, top);
  ck_assert_uint_eq(tsr_graph_host(&b, TSR_OP_LIST_MAKE, &x, 1, &list, 1, &out), 0);
  ck_assert_int_eq(tsr_ir_status(ir), TSR_ERR_TYPE);
  tsr_ir_destroy(ir);
}
END_TEST

/* --- one graph of many --- */

static const char two_graphs[] = "dim M in 2..8 hint 4\n"
                                 "dim N in 1..64\n"
                                 "dim K <= N*2 from device\n"
                                 "dim L <= K + M from device\n"
                                 "graph @first {\n"
                                 "  %n = input {name = \"n\"} : i64[]\n"
                                 "  %w = const {value = [1, 2, 3, 4]} : f32[4]\n"
                                 "  %0 = resize_dim %n, %n {dim = K} : i64[]\n"
                                 "  %1 = broadcast %w : f32[N, 4]\n"
                                 "  output %1 {name = \"0\"}\n"
                                 "}\n"
                                 "graph @second {\n"
                                 "  %x = input {name = \"x\"} : f32[K]\n"
                                 "  %n = input {name = \"n\"} : i64[]\n"
                                 "  %0 = resize_dim %n, %n {dim = L} : i64[]\n"
                                 "  %1 = slice %x {start = [L], step = [1]} : f32[2]\n"
                                 "  output %1 {name = \"0\"}\n"
                                 "}\n";

static const struct {
  const char *graph, *text;
} extracted[] = {
    {"first", "dim N in 1..64\n"
              "dim K <= N*2 from device\n"
              "\n"
              "graph @main {\n"
              "  %n = input {name = \"n\"} : i64[]\n"
              "  %w = const {value = [1, 2, 3, 4]} : f32[4]\n"
              "  %0 = resize_dim %n, %n {dim = K} : i64[]\n"
              "  %1 = broadcast %w : f32[N, 4]\n"
              "  output %1 {name = \"0\"}\n"
              "}\n"},
    {"second", "dim M in 2..8 hint 4\n"
               "dim K in 0..128\n"
               "dim L <= M + K from device\n"
               "\n"
               "graph @main {\n"
               "  %x = input {name = \"x\"} : f32[K]\n"
               "  %n = input {name = \"n\"} : i64[]\n"
               "  %0 = resize_dim %n, %n {dim = L} : i64[]\n"
               "  %1 = slice %x {start = [L], step = [1]} : f32[2]\n"
               "  output %1 {name = \"0\"}\n"
               "}\n"},
};

START_TEST(one_graph) {
  tsr_ir *ir = must_parse(two_graphs), *part;
  tsr_op graph = tsr_ir_find_symbol(ir, extracted[_i].graph);
  must_verify(ir);
  ck_assert_int_eq(tsr_ir_extract(ir, graph, tsr_allocator_default(), &part), TSR_OK);
  must_verify(part);
  ck_assert_str_eq(must_print(part), extracted[_i].text);
  tsr_ir_destroy(part);
  tsr_ir_destroy(ir);
}
END_TEST

/* Constants of the table: those that are used, with the same bytes at the same place. */
START_TEST(extracted_constants) {
  static const float numbers[3] = {1, 2, 3}, others[3] = {4, 5, 6};
  int64_t extent = 3;
  tsr_ir *ir, *part;
  ck_assert_int_eq(tsr_ir_create(tsr_allocator_default(), &ir), TSR_OK);
  tsr_builder a = tsr_graph_begin(ir, "a"), b = tsr_graph_begin(ir, "b");
  tsr_graph_output(&a, "y", tsr_graph_const(&a, TSR_F32, &extent, 1, numbers, false));
  tsr_value used = tsr_graph_const(&b, TSR_F32, &extent, 1, others, false);
  tsr_graph_output(&b, "y", tsr_graph_unary(&b, TSR_OP_NEG, used));
  must_verify(ir);
  ck_assert_int_eq(tsr_ir_extract(ir, tsr_ir_find_symbol(ir, "b"), tsr_allocator_default(), &part),
                   TSR_OK);
  must_verify(part);
  ck_assert_ptr_eq(tsr_const_get(part, 1)->data, others);
  ck_assert_ptr_null(tsr_const_get(part, 2)->data);
  tsr_ir_destroy(part);
  tsr_ir_destroy(ir);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("host");
  TCase *tests = tcase_create("all");
  tcase_add_loop_test(tests, text_is_kept, 0, COUNT(kept));
  tcase_add_loop_test(tests, clone_and_hash, 0, COUNT(kept));
  tcase_add_test(tests, types_are_interned);
  tcase_add_loop_test(tests, refused, 0, COUNT(refusals));
  tcase_add_loop_test(tests, calls_refused, 0, COUNT(bad_calls));
  tcase_add_test(tests, built_regions);
  tcase_add_test(tests, built_poison);
  tcase_add_loop_test(tests, one_graph, 0, COUNT(extracted));
  tcase_add_test(tests, extracted_constants);
  suite_add_tcase(suite, tests);
  return run_suite(suite);
}
