/* ONNX import: shape arithmetic, symbolic dims, functions, branches, and every kind of wrong model.
 */
#include "frontend/onnx/import.h"
#include "tests/onnx/model_writer.h"
#include <check.h>
#include <glob.h>
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

static imported import(wire bytes, const tsr_import_options *options) {
  imported i = {.bytes = bytes};
  tsr_arena_init(&i.arena, tsr_allocator_default());
  i.status =
      tsr_onnx_model_parse(&i.model, tsr_allocator_default(), bytes.data, bytes.size, &i.diag);
  ck_assert_msg(i.status == TSR_OK, "%s", i.diag.message);
  i.status = tsr_onnx_import(&i.model, options, tsr_allocator_default(), &i.diag, &i.ir);
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

static void expect_text(wire bytes, const tsr_import_options *options, const char *wanted) {
  imported i = import(bytes, options);
  ck_assert_msg(i.status == TSR_OK, "%s", i.diag.message);
  ck_assert_msg(strstr(i.text, wanted) != NULL, "'%s' is not in\n%s", wanted, i.text);
  drop(&i);
}

static void expect_failure(wire bytes, tsr_status status, const char *op, const char *message) {
  imported i = import(bytes, NULL);
  ck_assert_msg(i.status == status, "%s: %s", tsr_status_text(i.status), i.diag.message);
  ck_assert_msg(strstr(i.diag.message, message) != NULL, "'%s' is not in '%s'", message,
                i.diag.message);
  ck_assert_str_eq(i.diag.op, op);
  ck_assert_ptr_null(i.ir);
  drop(&i);
}

/* One node from f32 inputs x and y of the given dims to z. */
static wire one_node(wire node, int64_t opset, const char *x, const char *y) {
  wire g = {0};
  onnx_add_node(&g, node);
  onnx_add_input(&g, onnx_value("x", ONNX_FLOAT, x));
  if (y)
    onnx_add_input(&g, onnx_value("y", ONNX_FLOAT, y));
  onnx_add_output(&g, onnx_value("z", 0, ""));
  return onnx_model(g, opset);
}

/* An output whose type says nothing. */
static void untyped_output(wire *g, const char *name) {
  wire info = {0};
  wire_text(&info, 1, name);
  onnx_add_output(g, info);
}

static wire reshape_by_arithmetic(void) {
  static const int64_t zero = 0, rest[2] = {-1, 3};
  wire g = {0}, shape = onnx_node("Shape", "", "x", "s");
  wire gather = onnx_node("Gather", "", "s i", "n"), concat = onnx_node("Concat", "", "n m", "d");
  onnx_int(&concat, "axis", 0);
  onnx_add_node(&g, shape);
  onnx_add_node(&g, gather);
  onnx_add_node(&g, concat);
  onnx_add_node(&g, onnx_node("Reshape", "last", "x d", "z"));
  onnx_add_initializer(&g, onnx_ints("i", &zero, 1));
  onnx_add_initializer(&g, onnx_ints("m", rest, 2));
  onnx_add_input(&g, onnx_value("x", ONNX_FLOAT, "B S 6"));
  untyped_output(&g, "z");
  return onnx_model(g, 17);
}

START_TEST(shape_arithmetic_leaves_no_ops) {
  imported i = import(reshape_by_arithmetic(), NULL);
  ck_assert_msg(i.status == TSR_OK, "%s", i.diag.message);
  ck_assert_ptr_nonnull(strstr(i.text, "reshape %0 : f32[B, S*2, 3] from \"last\""));
  ck_assert_ptr_null(strstr(i.text, "gather"));
  ck_assert_ptr_null(strstr(i.text, "concat"));
  ck_assert_ptr_null(strstr(i.text, "const"));
  drop(&i);
}
END_TEST

/* Integers are divided towards zero, also those that may be negative: S - 3 for a short S. */
START_TEST(quotients_of_dims) {
  static const int64_t one = 1, less = -3, four = 4, five = 5;
  wire g = {0}, concat = onnx_node("Concat", "", "d m", "e");
  onnx_int(&concat, "axis", 0);
  onnx_add_node(&g, onnx_node("Shape", "", "x", "s"));
  onnx_add_node(&g, onnx_node("Gather", "", "s one", "n"));
  onnx_add_node(&g, onnx_node("Add", "", "n less", "t"));
  onnx_add_node(&g, onnx_node("Div", "", "t four", "q"));
  onnx_add_node(&g, onnx_node("Add", "", "q five", "d"));
  onnx_add_node(&g, onnx_node("Mod", "", "t four", "m"));
  onnx_add_node(&g, concat);
  onnx_add_node(&g, onnx_node("Expand", "", "y e", "z"));
  onnx_add_initializer(&g, onnx_ints("one", &one, 1));
  onnx_add_initializer(&g, onnx_ints("less", &less, 1));
  onnx_add_initializer(&g, onnx_ints("four", &four, 1));
  onnx_add_initializer(&g, onnx_ints("five", &five, 1));
  onnx_add_input(&g, onnx_value("x", ONNX_FLOAT, "B S"));
  onnx_add_input(&g, onnx_value("y", ONNX_FLOAT, "1 1"));
  untyped_output(&g, "z");
  expect_text(onnx_model(g, 17), NULL, "f32[max(S - 3, 0) floordiv 4 + 5, (S + 1) mod 4]");
}
END_TEST

START_TEST(dim_options) {
  tsr_import_dim dims[2] = {{"B", 4, 4}, {"S", 2, 128}};
  tsr_import_options options = {.dims = dims, .dim_count = 2};
  expect_text(reshape_by_arithmetic(), &options, "f32[4, S*2, 3]");
  expect_text(reshape_by_arithmetic(), &options, "dim S in 2..128");
  dims[0].name = "other";
  imported i = import(reshape_by_arithmetic(), &options);
  ck_assert_int_eq(i.status, TSR_ERR_NOT_FOUND);
  drop(&i);
  wire node = onnx_node("Relu", "", "x", "z");
  tsr_import_dim unnamed = {"x.1", 7, 7};
  tsr_import_options one = {.dims = &unnamed, .dim_count = 1};
  wire g = {0};
  onnx_add_node(&g, node);
  onnx_add_input(&g, onnx_value("x", ONNX_FLOAT, "2 ?"));
  untyped_output(&g, "z");
  expect_text(onnx_model(g, 17), &one, "f32[2, 7]");
}
END_TEST

START_TEST(assumed_inputs) {
  static const int64_t shape[2] = {3, 2};
  wire g = {0};
  onnx_add_node(&g, onnx_node("Reshape", "r", "x y", "z"));
  onnx_add_input(&g, onnx_value("x", ONNX_FLOAT, "6"));
  onnx_add_input(&g, onnx_value("y", ONNX_INT64, "2"));
  untyped_output(&g, "z");
  wire bytes = onnx_model(g, 17), copy = {0};
  wire_bytes(&copy, bytes.data, bytes.size);
  expect_text(copy, NULL, "f32['r.shape[0]', 'r.shape[1]'] from \"r\"");
  int64_t dims[1] = {2};
  tsr_onnx_tensor tensor = {.dtype = TSR_I64, .data = shape, .bytes = 16, .elements = 2};
  tensor.dims.items = dims;
  tensor.dims.count = 1;
  tsr_import_assumption assumptions[2] = {{"y", &tensor, false}, {"x", &tensor, false}};
  tsr_import_options options = {.assumptions = assumptions, .assumption_count = 2};
  expect_text(bytes, &options, "reshape %0 : f32[3, 2]");
  ck_assert(assumptions[0].used);
  ck_assert(!assumptions[1].used);
}
END_TEST

static wire branch(const char *op) {
  wire g = {0};
  onnx_add_node(&g, onnx_node(op, "", "x", "z"));
  untyped_output(&g, "z");
  return g;
}

static wire branches(bool constant) {
  wire g = {0}, node = onnx_node("If", "choice", "c", "z");
  onnx_graph_attribute(&node, "then_branch", branch("Exp"));
  onnx_graph_attribute(&node, "else_branch", branch("Tanh"));
  onnx_add_node(&g, node);
  if (constant) {
    wire c = {0};
    wire_int(&c, 2, ONNX_BOOL);
    wire_text(&c, 8, "c");
    wire_blob(&c, 9, "\0", 1);
    onnx_add_initializer(&g, c);
  } else
    onnx_add_input(&g, onnx_value("c", ONNX_BOOL, ""));
  onnx_add_input(&g, onnx_value("x", ONNX_FLOAT, "2"));
  untyped_output(&g, "z");
  return onnx_model(g, 17);
}

START_TEST(branches_of_if) {
  imported i = import(branches(true), NULL);
  ck_assert_msg(i.status == TSR_OK, "%s", i.diag.message);
  ck_assert_ptr_nonnull(strstr(i.text, "tanh"));
  ck_assert_ptr_null(strstr(i.text, "exp"));
  drop(&i);
  expect_text(branches(false), NULL, "select %0, %2, %3");
}
END_TEST

static wire with_function(bool recursive) {
  wire g = {0}, f = {0}, body = onnx_node("LeakyRelu", "inner", "a", "b"), o = {0}, p = {0};
  wire a = {0}, call = onnx_node("Soft", "call", "x", "z");
  wire_text(&a, 1, "alpha");
  wire_int(&a, 20, 1);
  wire_text(&a, 21, "slope");
  wire_message(&body, 5, a);
  wire_text(&call, 7, "mine");
  onnx_float(&call, "slope", 0.25f);
  wire_text(&f, 1, "Soft");
  wire_text(&f, 4, "a");
  wire_text(&f, 5, "b");
  wire_text(&f, 6, "slope");
  if (recursive) {
    free(body.data);
    body = onnx_node("Soft", "inner", "a", "b");
    wire_text(&body, 7, "mine");
  }
  wire_message(&f, 7, body);
  wire_int(&o, 2, 16);
  wire_message(&f, 9, o);
  wire_text(&f, 10, "mine");
  onnx_add_node(&g, call);
  onnx_add_input(&g, onnx_value("x", ONNX_FLOAT, "2"));
  untyped_output(&g, "z");
  wire m = onnx_model(g, 17);
  wire_text(&p, 1, "mine");
  wire_int(&p, 2, 1);
  wire_message(&m, 8, p);
  wire_message(&m, 25, f);
  return m;
}

START_TEST(functions_are_inlined) {
  expect_text(with_function(false), NULL, "const {value = 0.25} : f32[] from \"call/inner\"");
  expect_failure(with_function(true), TSR_ERR_LIMIT, "Soft", "deeper than");
}
END_TEST

START_TEST(unsorted_nodes_are_sorted) {
  wire g = {0};
  onnx_add_node(&g, onnx_node("Exp", "second", "h", "z"));
  onnx_add_node(&g, onnx_node("Tanh", "first", "x", "h"));
  onnx_add_input(&g, onnx_value("x", ONNX_FLOAT, "2"));
  untyped_output(&g, "z");
  expect_text(onnx_model(g, 17), NULL, "exp %1");
}
END_TEST

START_TEST(wrong_graphs) {
  expect_failure(one_node(onnx_node("Add", "a", "x w", "z"), 17, "2", NULL), TSR_ERR_FORMAT, "Add",
                 "input 'w' is neither");
  expect_failure(one_node(onnx_node("Add", "a", "x z", "z"), 17, "2", NULL), TSR_ERR_FORMAT, "Add",
                 "cyclic");
  wire g = {0};
  onnx_add_node(&g, onnx_node("Exp", "a", "x", "z"));
  onnx_add_node(&g, onnx_node("Exp", "b", "x", "z"));
  onnx_add_input(&g, onnx_value("x", ONNX_FLOAT, "2"));
  untyped_output(&g, "z");
  expect_failure(onnx_model(g, 17), TSR_ERR_FORMAT, "Exp", "already made by another node");
  memset(&g, 0, sizeof g);
  onnx_add_node(&g, onnx_node("Exp", "a", "x", "h"));
  onnx_add_input(&g, onnx_value("x", ONNX_FLOAT, "2"));
  untyped_output(&g, "z");
  expect_failure(onnx_model(g, 17), TSR_ERR_FORMAT, "", "output 'z' is made by no node");
  memset(&g, 0, sizeof g);
  onnx_add_node(&g, onnx_node("Exp", "a", "x", "z"));
  onnx_add_input(&g, onnx_value("x", ONNX_FLOAT, "2"));
  onnx_add_output(&g, onnx_value("z", ONNX_INT64, "2"));
  expect_failure(onnx_model(g, 17), TSR_ERR_TYPE, "", "output 'z' is declared INT64");
  memset(&g, 0, sizeof g);
  onnx_add_node(&g, onnx_node("Exp", "a", "x", "z"));
  onnx_add_node(&g, onnx_node("Bogus", "b", "x", "y"));
  onnx_add_input(&g, onnx_value("x", ONNX_FLOAT, "2"));
  onnx_add_output(&g, onnx_value("z", ONNX_INT64, "2"));
  untyped_output(&g, "y");
  expect_failure(onnx_model(g, 17), TSR_ERR_UNSUPPORTED, "", "1 node cannot be imported: Bogus");
}
END_TEST

START_TEST(wrong_shapes_and_types) {
  expect_failure(one_node(onnx_node("Add", "a", "x y", "z"), 17, "2 3", "4 3"), TSR_ERR_SHAPE,
                 "Add", "do not broadcast");
  expect_failure(one_node(onnx_node("MatMul", "a", "x y", "z"), 17, "2 3", "4 3"), TSR_ERR_SHAPE,
                 "MatMul", "do not fit");
  expect_failure(one_node(onnx_node("And", "a", "x y", "z"), 17, "2", "2"), TSR_ERR_TYPE, "And",
                 "bool or integer");
  wire node = onnx_node("Softmax", "a", "x", "z");
  onnx_int(&node, "axis", 5);
  expect_failure(one_node(node, 17, "2 3", NULL), TSR_ERR_SHAPE, "Softmax", "axis 5");
  node = onnx_node("Split", "a", "x", "z");
  onnx_int(&node, "num_outputs", 2);
  expect_failure(one_node(node, 18, "4", NULL), TSR_ERR_SHAPE, "Split", "num_outputs is 2");
  node = onnx_node("Split", "a", "x", "z");
  onnx_int_list(&node, "split", (const int64_t[]){3}, 1);
  expect_failure(one_node(node, 11, "4", NULL), TSR_ERR_SHAPE, "Split", "do not add up");
  node = onnx_node("Conv", "a", "x y", "z");
  onnx_int_list(&node, "kernel_shape", (const int64_t[]){3, 2}, 2);
  expect_failure(one_node(node, 17, "1 2 8 8", "4 2 3 3"), TSR_ERR_SHAPE, "Conv",
                 "kernel_shape is 2 along axis 1, the weights 3");
  node = onnx_node("DepthToSpace", "a", "x", "z");
  onnx_int(&node, "blocksize", INT64_MAX);
  expect_failure(one_node(node, 17, "1 4 2 2", NULL), TSR_ERR_SHAPE, "DepthToSpace", "blocksize");
  node = onnx_node("Cast", "a", "x", "z");
  onnx_int(&node, "to", 99);
  expect_failure(one_node(node, 17, "2", NULL), TSR_ERR_UNSUPPORTED, "", "casting to ? (99)");
  node = onnx_node("Concat", "a", "x y", "z");
  onnx_int(&node, "axis", 0);
  expect_failure(one_node(node, 17, "1152921504606846976", "1152921504606846976"), TSR_ERR_SHAPE,
                 "Concat", "overflow");
}
END_TEST

START_TEST(unsupported_nodes_are_listed_together) {
  wire g = {0}, foreign = onnx_node("Magic", "m", "x", "b");
  wire_text(&foreign, 7, "somewhere");
  onnx_add_node(&g, onnx_node("Unheard", "u", "x", "a"));
  onnx_add_node(&g, onnx_node("Unheard", "v", "a", "c"));
  onnx_add_node(&g, onnx_node("Exp", "e", "a", "d"));
  onnx_add_node(&g, foreign);
  onnx_add_node(&g, onnx_node("Upsample", "old", "x", "f"));
  onnx_add_input(&g, onnx_value("x", ONNX_FLOAT, "2"));
  onnx_add_input(&g, onnx_value("s", ONNX_COMPLEX64, "2"));
  untyped_output(&g, "d");
  imported i = import(onnx_model(g, 17), NULL);
  ck_assert_int_eq(i.status, TSR_ERR_UNSUPPORTED);
  const char *m = i.diag.message;
  ck_assert_ptr_nonnull(strstr(m, "5 nodes cannot be imported"));
  ck_assert_ptr_nonnull(strstr(m, "Unheard (opset 17, node 'u' and 1 more): the operator is not"));
  ck_assert_ptr_nonnull(strstr(m, "Magic (opset 0, node 'm'): the operator of domain somewhere is "
                                  "not supported"));
  ck_assert_ptr_nonnull(strstr(m, "Upsample (opset 17, node 'old'): the operator is supported at "
                                  "opsets 1 to 9 only"));
  ck_assert_ptr_nonnull(strstr(m, "input 's' has element type COMPLEX64"));
  drop(&i);
}
END_TEST

/* Every case of Debian's libonnx-testdata either imports or says which operator it lacks. */
START_TEST(backend_models) {
  glob_t found = {0};
  unsigned good = 0, lacking = 0;
  if (glob("/usr/share/libonnx-testdata/data/*/*/model.onnx", 0, NULL, &found) != 0) {
    printf("SKIP: libonnx-testdata is not installed\n");
    return;
  }
  for (size_t n = 0; n < found.gl_pathc; n++) {
    tsr_onnx_model model;
    tsr_ir *ir = NULL;
    tsr_diag diag;
    tsr_diag_clear(&diag);
    tsr_status status =
        tsr_onnx_model_open(&model, tsr_allocator_default(), found.gl_pathv[n], &diag);
    ck_assert_msg(status == TSR_OK, "%s: %s", found.gl_pathv[n], diag.message);
    status = tsr_onnx_import(&model, NULL, tsr_allocator_default(), &diag, &ir);
    if (status == TSR_OK)
      status = tsr_ir_verify(ir, &diag);
    ck_assert_msg(status == TSR_OK || status == TSR_ERR_UNSUPPORTED, "%s: %s", found.gl_pathv[n],
                  diag.message);
    good += status == TSR_OK;
    lacking += status == TSR_ERR_UNSUPPORTED;
    if (ir)
      tsr_ir_destroy(ir);
    tsr_onnx_model_close(&model);
  }
  printf("libonnx-testdata: %u models imported, %u lack an operator or a known input\n", good,
         lacking);
  ck_assert_uint_ge(good * 10, found.gl_pathc * 7);
  globfree(&found);
}
END_TEST

/* Counts down to the allocation that fails. */
typedef struct failing {
  const tsr_allocator *real;
  long left;
  long live;
} failing;

static void *allocate(void *context, size_t size, size_t alignment) {
  failing *f = context;
  if (f->left-- <= 0)
    return NULL;
  f->live++;
  return f->real->allocate(f->real->context, size, alignment);
}

static void release(void *context, void *pointer, size_t size) {
  failing *f = context;
  f->live -= pointer != NULL;
  f->real->release(f->real->context, pointer, size);
}

/* Parse and import with the k-th allocation failing; true when it was not reached. */
static bool survives(const char *path, long k) {
  failing f = {tsr_allocator_default(), k, 0};
  tsr_allocator allocator = {&f, allocate, release};
  tsr_onnx_model model;
  tsr_ir *ir = NULL;
  tsr_diag diag;
  tsr_diag_clear(&diag);
  tsr_status status = tsr_onnx_model_open(&model, &allocator, path, &diag);
  if (status == TSR_OK) {
    status = tsr_onnx_import(&model, NULL, &allocator, &diag, &ir);
    if (ir)
      tsr_ir_destroy(ir);
    tsr_onnx_model_close(&model);
  }
  bool done = f.left >= 0;
  ck_assert_msg(done || status == TSR_ERR_OUT_OF_MEMORY, "%s, allocation %ld: %s: %s", path, k,
                tsr_status_text(status), diag.message);
  ck_assert_msg(f.live == 0, "%s, allocation %ld: %ld blocks leak", path, k, f.live);
  return done;
}

START_TEST(every_allocation_may_fail) {
  glob_t found = {0};
  ck_assert_int_eq(glob("tests/fuzz/corpus/onnx/*", 0, NULL, &found), 0);
  for (size_t n = 0; n < found.gl_pathc; n++)
    for (long k = 0; !survives(found.gl_pathv[n], k); k++)
      ck_assert_int_lt(k, 100000);
  globfree(&found);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("onnx_import");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, shape_arithmetic_leaves_no_ops);
  tcase_add_test(tests, quotients_of_dims);
  tcase_add_test(tests, dim_options);
  tcase_add_test(tests, assumed_inputs);
  tcase_add_test(tests, branches_of_if);
  tcase_add_test(tests, functions_are_inlined);
  tcase_add_test(tests, unsorted_nodes_are_sorted);
  tcase_add_test(tests, wrong_graphs);
  tcase_add_test(tests, wrong_shapes_and_types);
  tcase_add_test(tests, unsupported_nodes_are_listed_together);
  tcase_add_test(tests, every_allocation_may_fail);
  tcase_add_test(tests, backend_models);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
