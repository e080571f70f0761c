/* ONNX import of bodies: how deep they may be nested, that attempts at them leave nothing behind,
 * what is reported of them. */
#include "frontend/onnx/import.h"
#include "tests/onnx/model_writer.h"
#include <check.h>
#include <stdio.h>

typedef struct imported {
  wire bytes;
  tsr_onnx_model model;
  tsr_ir *ir;
  tsr_diag diag;
  tsr_status status;
  tsr_arena arena;
  const char *text;
} imported;

static imported import(wire bytes) {
  imported i = {.bytes = bytes};
  tsr_arena_init(&i.arena, tsr_allocator_default());
  i.status =
      tsr_onnx_model_parse(&i.model, tsr_allocator_default(), bytes.data, bytes.size, &i.diag);
  ck_assert_msg(i.status == TSR_OK, "%s", i.diag.message);
  i.status = tsr_onnx_import(&i.model, NULL, tsr_allocator_default(), &i.diag, &i.ir);
  if (i.status == TSR_OK) {
    ck_assert_msg(tsr_ir_verify(i.ir, &i.diag) == TSR_OK, "%s", i.diag.message);
    i.text = tsr_ir_print(i.ir, &i.arena);
    ck_assert_ptr_nonnull(i.text);
  }
  return i;
}

static void drop(imported *i) {
  if (i->ir)
    tsr_ir_destroy(i->ir);
  tsr_arena_reset(&i->arena);
  tsr_onnx_model_close(&i->model);
  free(i->bytes.data);
}

static unsigned count_of(const char *text, const char *what) {
  unsigned count = 0;
  for (const char *at = text; (at = strstr(at, what)) != NULL; at += strlen(what))
    count++;
  return count;
}

static void expect_unsupported(wire bytes, const char *message) {
  imported i = import(bytes);
  ck_assert_msg(i.status == TSR_ERR_UNSUPPORTED, "%s: %s", tsr_status_text(i.status),
                i.diag.message);
  ck_assert_msg(strstr(i.diag.message, message) != NULL, "'%s' is not in '%s'", message,
                i.diag.message);
  drop(&i);
}

static void untyped_output(wire *g, const char *name) {
  wire info = {0};
  wire_text(&info, 1, name);
  onnx_add_output(g, info);
}

static void untyped_input(wire *g, const char *name) {
  wire info = {0};
  wire_text(&info, 1, name);
  onnx_add_input(g, info);
}

static wire true_constant(const char *name) {
  wire c = {0};
  wire_int(&c, 2, ONNX_BOOL);
  wire_text(&c, 8, name);
  wire_blob(&c, 9, "\1", 1);
  return c;
}

static wire concat(const char *inputs, const char *output) {
  wire node = onnx_node("Concat", "", inputs, output);
  onnx_int(&node, "axis", 0);
  return node;
}

/* A body of a loop: number, condition and one carried value "a", which becomes "z". */
static wire loop_body(const wire *nodes, unsigned count) {
  wire g = {0};
  for (unsigned i = 0; i < count; i++)
    onnx_add_node(&g, nodes[i]);
  onnx_add_node(&g, onnx_node("Identity", "", "go", "on"));
  untyped_input(&g, "i");
  untyped_input(&g, "go");
  untyped_input(&g, "a");
  untyped_output(&g, "on");
  untyped_output(&g, "z");
  return g;
}

static wire loop_node(const char *name, const char *inputs, const char *output, wire body) {
  wire node = onnx_node("Loop", name, inputs, output);
  onnx_graph_attribute(&node, "body", body);
  return node;
}

/* A loop over x with the given nodes; trips: -1: an input. */
static wire loop_model(const wire *nodes, unsigned count, int64_t trips) {
  wire g = {0};
  onnx_add_node(&g, loop_node("loop", "n yes x", "y", loop_body(nodes, count)));
  if (trips >= 0)
    onnx_add_initializer(&g, onnx_ints("n", &trips, 1));
  else
    onnx_add_input(&g, onnx_value("n", ONNX_INT64, ""));
  onnx_add_initializer(&g, true_constant("yes"));
  onnx_add_input(&g, onnx_value("x", ONNX_FLOAT, "N"));
  untyped_output(&g, "y");
  return onnx_model(g, 17);
}

/* --- nesting --- */

enum { DEEP = 60 };

/* Loops in loops, the innermost of which lets the carried value grow: every level finds out that
 * its own grows too. */
static wire nested_loops(int64_t trips) {
  wire inner = concat("a a", "z");
  for (unsigned level = 1; level < DEEP; level++)
    inner = loop_node("", "n yes a", "z", loop_body(&inner, 1));
  return loop_model(&inner, 1, trips);
}

START_TEST(nested_loops_are_tried_few_times) {
  imported i = import(nested_loops(_i == 0 ? -1 : _i == 1 ? 2 : 300));
  ck_assert_msg(i.status == TSR_OK, "%s", i.diag.message);
  if (_i == 1) /* the innermost ones are unrolled */
    ck_assert_uint_lt(count_of(i.text, "loop carry"), DEEP);
  else
    ck_assert_uint_eq(count_of(i.text, "loop carry"), DEEP);
  /* Erased ops count: what is built anew stays quadratic. */
  ck_assert_uint_lt(tsr_op_count(i.ir), 40 * DEEP * DEEP);
  drop(&i);
}
END_TEST

static wire nested_ifs(unsigned depth) {
  wire inner = onnx_node("Exp", "", "x", "z");
  for (unsigned level = 0; level < depth; level++) {
    wire node = onnx_node("If", "", "c", "z"), yes = {0}, no = {0};
    onnx_add_node(&yes, inner);
    onnx_add_node(&no, onnx_node("Neg", "", "x", "z"));
    untyped_output(&yes, "z");
    untyped_output(&no, "z");
    onnx_graph_attribute(&node, "then_branch", yes);
    onnx_graph_attribute(&node, "else_branch", no);
    inner = node;
  }
  wire g = {0};
  onnx_add_node(&g, inner);
  onnx_add_input(&g, onnx_value("c", ONNX_BOOL, ""));
  onnx_add_input(&g, onnx_value("x", ONNX_FLOAT, "N"));
  untyped_output(&g, "z");
  return onnx_model(g, 17);
}

START_TEST(nested_branches) {
  imported i = import(nested_ifs(DEEP));
  ck_assert_msg(i.status == TSR_OK, "%s", i.diag.message);
  ck_assert_uint_gt(count_of(i.text, "if %"), DEEP / 2);
  drop(&i);
  i = import(nested_ifs(70));
  ck_assert_int_eq(i.status, TSR_ERR_LIMIT);
  drop(&i);
}
END_TEST

/* --- reports --- */

START_TEST(unsupported_nodes_are_reported_once) {
  wire nodes[] = {concat("a a", "z"), onnx_node("Bogus", "bad", "a", "unused"),
                  onnx_node("Strange", "odd", "unused", "unused2")};
  expect_unsupported(loop_model(nodes, 3, -1),
                     "2 nodes cannot be imported: Bogus (opset 17, node "
                     "'loop/bad'): the operator is not supported; Strange "
                     "(opset 17, node 'loop/odd'): the operator");
  wire broken[] = {onnx_node("Bogus", "bad", "a", "z")};
  expect_unsupported(loop_model(broken, 1, -1), "1 node cannot be imported: Bogus (opset 17");
  wire unrolled[] = {onnx_node("Bogus", "bad", "a", "z")};
  expect_unsupported(loop_model(unrolled, 1, 3), "1 node cannot be imported: Bogus (opset 17");
  wire often[] = {onnx_node("Bogus", "bad", "a", "z")};
  expect_unsupported(loop_model(often, 1, 1000), "1 node cannot be imported: Bogus (opset 17");
}
END_TEST

static wire branch_of(wire node) {
  wire g = {0};
  onnx_add_node(&g, node);
  untyped_output(&g, "z");
  return g;
}

static wire if_model(wire yes, wire no) {
  wire g = {0}, node = onnx_node("If", "choice", "c", "z");
  onnx_graph_attribute(&node, "then_branch", branch_of(yes));
  onnx_graph_attribute(&node, "else_branch", branch_of(no));
  onnx_add_node(&g, node);
  onnx_add_input(&g, onnx_value("c", ONNX_BOOL, ""));
  onnx_add_input(&g, onnx_value("x", ONNX_FLOAT, "N 3"));
  untyped_output(&g, "z");
  return onnx_model(g, 17);
}

static wire reduced(bool keeps) {
  wire node = onnx_node("ReduceMax", "", "x", "z");
  static const int64_t axis = 1;
  onnx_int_list(&node, "axes", &axis, 1);
  onnx_int(&node, "keepdims", keeps);
  return node;
}

static wire cast(int64_t to, const char *input, const char *output) {
  wire node = onnx_node("Cast", "", input, output);
  onnx_int(&node, "to", to);
  return node;
}

START_TEST(what_is_refused) {
  expect_unsupported(
      if_model(onnx_node("Bogus", "a", "x", "z"), onnx_node("Strange", "b", "x", "z")),
      "2 nodes cannot be imported: Bogus (opset 17, node 'choice/a'): the operator "
      "is not supported; Strange (opset 17, node 'choice/b')");
  expect_unsupported(if_model(reduced(false), reduced(true)),
                     "If (opset 17, node 'choice'): result 0 has rank 1 in one branch and 2 in the "
                     "other, and the condition is not known when compiling");
  expect_unsupported(if_model(cast(ONNX_INT64, "x", "z"), reduced(true)),
                     "result 0 is i64 in one branch and f32 in the other");
  wire nodes[] = {cast(ONNX_INT64, "a", "z")};
  expect_unsupported(
      loop_model(nodes, 1, -1),
      "Loop (opset 17, node 'loop'): carried value 0 is f32 before and i64 after a step");
}
END_TEST

/* --- what attempts leave behind --- */

/* A constant that a branch asks for first is there behind it, and for a body that is tried twice.
 */
START_TEST(constants_are_placed_where_they_are_seen) {
  static const int64_t two = 2;
  wire g = {0}, node = onnx_node("If", "choice", "c", "p");
  wire yes = onnx_node("MatMul", "", "x k", "z"), no = onnx_node("MatMul", "", "k x", "z");
  onnx_graph_attribute(&node, "then_branch", branch_of(yes));
  onnx_graph_attribute(&node, "else_branch", branch_of(no));
  wire body[] = {onnx_node("Mul", "", "a k", "b"), concat("b k", "z")};
  onnx_add_node(&g, node);
  onnx_add_node(&g, loop_node("loop", "n yes k", "q", loop_body(body, 2)));
  onnx_add_node(&g, onnx_node("Add", "", "p k", "r"));
  onnx_add_initializer(&g, onnx_ints("k", &two, 1));
  onnx_add_initializer(&g, true_constant("yes"));
  onnx_add_input(&g, onnx_value("c", ONNX_BOOL, ""));
  onnx_add_input(&g, onnx_value("n", ONNX_INT64, ""));
  onnx_add_input(&g, onnx_value("x", ONNX_INT64, "1"));
  untyped_output(&g, "q");
  untyped_output(&g, "r");
  imported i = import(onnx_model(g, 17));
  ck_assert_msg(i.status == TSR_OK, "%s", i.diag.message);
  drop(&i);
}
END_TEST

/* The size of a carried value is an expression inside of the body, and of another dim behind it. */
START_TEST(sizes_stay_in_their_body) {
  wire g = {0};
  wire body[] = {onnx_node("Shape", "", "a", "s"), cast(ONNX_FLOAT, "s", "f"),
                 onnx_node("Mul", "", "a f", "m"), concat("m x", "z")};
  onnx_add_node(&g, loop_node("loop", "n yes x", "y", loop_body(body, 4)));
  onnx_add_node(&g, onnx_node("Shape", "", "y", "size"));
  onnx_add_initializer(&g, true_constant("yes"));
  onnx_add_input(&g, onnx_value("n", ONNX_INT64, ""));
  onnx_add_input(&g, onnx_value("x", ONNX_FLOAT, "N"));
  untyped_output(&g, "size");
  imported i = import(onnx_model(g, 17));
  ck_assert_msg(i.status == TSR_OK, "%s", i.diag.message);
  ck_assert_msg(strstr(i.text, "index {value = 'loop.out0[0]'}") != NULL, "%s", i.text);
  ck_assert_msg(strstr(i.text, ": f32['loop.in0[0]'] = ") != NULL, "%s", i.text);
  ck_assert_msg(strstr(i.text, "f32['loop.in0[0]' + N]") != NULL ||
                    strstr(i.text, "f32[N + 'loop.in0[0]']") != NULL,
                "%s", i.text);
  drop(&i);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("onnx_bodies");
  TCase *cases = tcase_create("bodies");
  tcase_set_timeout(cases, 300);
  tcase_add_loop_test(cases, nested_loops_are_tried_few_times, 0, 3);
  tcase_add_test(cases, nested_branches);
  tcase_add_test(cases, unsupported_nodes_are_reported_once);
  tcase_add_test(cases, what_is_refused);
  tcase_add_test(cases, constants_are_placed_where_they_are_seen);
  tcase_add_test(cases, sizes_stay_in_their_body);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
