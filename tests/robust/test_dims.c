/* Dims of inputs that must fit each other but have other names, and dims of 0: one module, data
 * sets of different sizes one after the other. What fits runs and gives what the evaluator gives;
 * what does not ends the run with an error that names the node and the dims, and the exec goes on
 * with the next set.
 */
#include "ir/eval.h"
#include "tests/robust/dims_model.h"
#include <check.h>
#include <string.h>

enum { MOST_SETS = 12 };

/* The extents of each input, in the order of `inputs`; a missing error: it runs. */
typedef struct size_set {
  int64_t extents[MOST_INPUTS][4];
  const char *error;
} size_set;

typedef struct dims_case {
  const char *op, *outputs;
  const char *inputs[MOST_INPUTS]; /* "name dim dim ..": f32 */
  const char *attribute;           /* an int, or NULL */
  int64_t value;
  int64_t constant[4]; /* the input "c" of i64, when `constants` is not 0 */
  unsigned constants;
  bool cuda;        /* on the emulated device too */
  double tolerance; /* relative; 0: all numbers are small integers */
  unsigned count;
  size_set sets[MOST_SETS];
} dims_case;

static const dims_case cases[] = {
    {.op = "Reshape",
     .inputs = {"x N 6"},
     .constants = 2,
     .constant = {-1, 4},
     .count = 3,
     .sets = {{{{4, 6}}, NULL},
              {{{3, 6}}, "node: the new shape has another number of elements (N = 3)"},
              {{{2, 6}}, NULL}}},
    {.op = "Reshape",
     .inputs = {"x N M"},
     .constants = 3,
     .constant = {2, 3, 4},
     .count = 5,
     .sets = {{{{4, 6}}, NULL},
              {{{1, 24}}, NULL},
              {{{3, 6}}, "node: the new shape has another number of elements (N = 3, M = 6)"},
              {{{1000, 1000}}, "another number of elements"},
              {{{24, 1}}, NULL}}},
    {.op = "Split",
     .inputs = {"x N 3"},
     .constants = 2,
     .constant = {2, 3},
     .count = 3,
     .sets = {{{{4, 3}}, "node: the sizes do not add up to the extent of the axis (N = 4)"},
              {{{5, 3}}, NULL},
              {{{7, 3}}, "node: the sizes do not add up to the extent of the axis (N = 7)"}}},
    {.op = "Squeeze",
     .inputs = {"x N M"},
     .constants = 1,
     .constant = {0},
     .count = 2,
     .sets = {{{{1, 6}}, NULL}, {{{2, 6}}, "the extents N and 1 must be equal (N = 2)"}}},
    {.op = "Add",
     .inputs = {"x N 3", "y M 3"},
     .count = 4,
     .sets = {{{{4, 3}, {4, 3}}, NULL},
              {{{4, 3}, {1, 3}}, "node: the extents N and M must be equal (N = 4, M = 1)"},
              {{{64, 3}, {64, 3}}, NULL},
              {{{1, 3}, {1, 3}}, NULL}}},
    {.op = "Add",
     .inputs = {"x N 3", "y 5 3"},
     .count = 2,
     .sets = {{{{5, 3}, {5, 3}}, NULL},
              {{{4, 3}, {5, 3}}, "node: the extents N and 5 must be equal (N = 4)"}}},
    {.op = "Add", /* the shorter shape ends at the same axis */
     .inputs = {"x A B C", "y D"},
     .count = 2,
     .sets = {{{{2, 3, 7}, {7}}, NULL}, {{{2, 3, 7}, {6}}, "the extents C and D must be equal"}}},
    {.op = "Where",
     .inputs = {"?c A B", "x C 1", "y D"},
     .count = 3,
     .sets = {{{{3, 4}, {3, 1}, {4}}, NULL},
              {{{3, 4}, {2, 1}, {4}}, "the extents A and C must be equal (A = 3, C = 2)"},
              {{{3, 4}, {3, 1}, {5}}, "the extents B and D must be equal (B = 4, D = 5)"}}},
    {.op = "Concat",
     .attribute = "axis",
     .value = 1,
     .inputs = {"x N 3", "y M K", "z 2 L"},
     .count = 3,
     .sets = {{{{2, 3}, {2, 7}, {2, 1}}, NULL},
              {{{3, 3}, {3, 7}, {2, 1}}, "must be equal"},
              {{{2, 3}, {2, 1}, {2, 64}}, NULL}}},
    {.op = "MatMul",
     .inputs = {"x A M K", "y B L N"},
     .count = 4,
     .sets = {{{{2, 5, 7}, {2, 7, 3}}, NULL},
              {{{2, 5, 7}, {2, 6, 3}}, "the extents K and L must be equal (K = 7, L = 6)"},
              {{{2, 5, 7}, {1, 7, 3}}, "the extents A and B must be equal (A = 2, B = 1)"},
              {{{1, 33, 64}, {1, 64, 17}}, NULL}}},
    {.op = "ScatterElements",
     .inputs = {"x N 3", "#i M 3", "u L 3"},
     .count = 2,
     .sets = {{{{4, 3}, {2, 3}, {2, 3}}, NULL},
              {{{4, 3}, {2, 3}, {3, 3}}, "the extents L and M must be equal"}}},
    {.op = "Conv",
     .inputs = {"x B C H", "w 4 3 3"},
     .count = 2,
     .sets = {{{{2, 3, 9}, {4, 3, 3}}, NULL},
              {{{2, 4, 9}, {4, 3, 3}}, "the extents C and 3 must be equal (C = 4)"}}},
    /* Extents of 0, of 1, and primes. */
    {.op = "Softmax",
     .attribute = "axis",
     .value = -1,
     .inputs = {"x N M"},
     .cuda = true,
     .tolerance = 1e-5,
     .count = 7,
     .sets = {{{{0, 3}}, NULL},
              {{{3, 0}}, NULL},
              {{{0, 0}}, NULL},
              {{{1, 1}}, NULL},
              {{{7, 13}}, NULL},
              {{{1, 331}}, NULL},
              {{{331, 1}}, NULL}}},
    {.op = "ReduceSum",
     .inputs = {"x N M"},
     .constants = 1,
     .constant = {1},
     .cuda = true,
     .count = 4,
     .sets = {{{{3, 0}}, NULL}, {{{0, 3}}, NULL}, {{{1, 1}}, NULL}, {{{13, 1009}}, NULL}}},
    {.op = "ArgMax",
     .attribute = "axis",
     .value = 1,
     .inputs = {"x N M"},
     .count = 4,
     .sets = {{{{3, 0}}, "node: elements are taken from an axis of extent 0 (N = 3, M = 0)"},
              {{{0, 0}}, NULL},
              {{{0, 3}}, NULL},
              {{{5, 7}}, NULL}}},
    {.op = "MatMul",
     .inputs = {"x A M K", "y K N"},
     .cuda = true,
     .count = 7,
     .sets = {{{{0, 3, 4}, {4, 5}}, NULL},
              {{{2, 0, 4}, {4, 5}}, NULL},
              {{{2, 3, 0}, {0, 5}}, NULL},
              {{{2, 3, 4}, {4, 0}}, NULL},
              {{{1, 1, 1}, {1, 1}}, NULL},
              {{{2, 7, 13}, {13, 5}}, NULL},
              {{{1, 67, 31}, {31, 37}}, NULL}}},
    {.op = "Concat", /* the first decoder step has no past */
     .attribute = "axis",
     .value = 1,
     .inputs = {"past B P 8", "new B S 8"},
     .cuda = true,
     .count = 5,
     .sets = {{{{2, 0, 8}, {2, 3, 8}}, NULL},
              {{{2, 3, 8}, {2, 0, 8}}, NULL},
              {{{0, 3, 8}, {0, 1, 8}}, NULL},
              {{{2, 0, 8}, {2, 0, 8}}, NULL},
              {{{1, 7, 8}, {1, 1, 8}}, NULL}}},
    {.op = "Gather",
     .inputs = {"x N M", "#i K"},
     .cuda = true,
     .count = 5,
     .sets = {{{{0, 3}, {0}}, NULL},
              {{{0, 3000}, {5}}, "elements are taken from an axis of extent 0"},
              {{{3, 0}, {2}}, NULL},
              {{{2, 3}, {0}}, NULL},
              {{{7, 5}, {11}}, NULL}}},
    {.op = "TopK",
     .attribute = "axis",
     .value = 1,
     .inputs = {"x N M"},
     .constants = 1,
     .constant = {3},
     .count = 4,
     .sets = {{{{5, 2}}, "node: K is larger than the axis (M = 2)"},
              {{{0, 7}}, NULL},
              {{{5, 3}}, NULL},
              {{{2, 13}}, NULL}}},
    {.op = "Conv",
     .inputs = {"x B 3 H", "w 4 3 5"},
     .count = 5,
     .sets = {{{{0, 3, 9}, {4, 3, 5}}, NULL},
              {{{2, 3, 3}, {4, 3, 5}}, "node: the result would have a negative extent (H = 3)"},
              {{{2, 3, 4}, {4, 3, 5}}, NULL},
              {{{1, 3, 5}, {4, 3, 5}}, NULL},
              {{{2, 3, 31}, {4, 3, 5}}, NULL}}},
    {.op = "Mul", /* scalars */
     .inputs = {"x", "y"},
     .cuda = true,
     .count = 1,
     .sets = {{{{0}, {0}}, NULL}}},
};

static wire model_of(const dims_case *c) {
  wire g = {0};
  char names[64] = "";
  for (unsigned i = 0; i < MOST_INPUTS && c->inputs[i] != NULL; i++)
    dims_add_input(&g, c->inputs[i], names);
  if (c->constants != 0) {
    onnx_add_initializer(&g, onnx_ints("c", c->constant, c->constants));
    strcat(names, " c");
  }
  bool two = strcmp(c->op, "TopK") == 0 || strcmp(c->op, "Split") == 0;
  wire node = onnx_node(c->op, "node", names, two ? "out second" : "out");
  if (c->attribute != NULL)
    onnx_int(&node, c->attribute, c->value);
  onnx_add_node(&g, node);
  wire info = {0};
  wire_text(&info, 1, "out");
  onnx_add_output(&g, info);
  return onnx_model(g, 17);
}

static void check_case(const dims_case *c, const char *target) {
  dims_model m;
  dims_open(&m, model_of(c), target, NULL, 0);
  m.tolerance = c->tolerance;
  for (unsigned s = 0; s < c->count; s++)
    dims_run(&m, c->sets[s].extents, c->sets[s].error);
  dims_close(&m);
}

START_TEST(dims_fit_or_are_named) {
  check_case(&cases[_i], "cpu");
}
END_TEST

START_TEST(on_the_emulated_device) {
  if (cases[_i].cuda)
    check_case(&cases[_i], "cuda-emulated:sm_80");
}
END_TEST

/* What can never fit is refused at compile time. */
START_TEST(never_equal) {
  wire g = {0};
  char names[64] = "";
  dims_add_input(&g, "x N 3", names);
  dims_add_input(&g, "y M 4", names);
  onnx_add_node(&g, onnx_node("Add", "node", "x y", "out"));
  wire info = {0};
  wire_text(&info, 1, "out");
  onnx_add_output(&g, info);
  dims_refuse(onnx_model(g, 17), "do not broadcast");
}
END_TEST

int main(void) {
  Suite *suite = suite_create("dims");
  TCase *tests = tcase_create("tests");
  SRunner *runner;
  int failed;
  tcase_set_timeout(tests, 300);
  tcase_add_loop_test(tests, dims_fit_or_are_named, 0, sizeof cases / sizeof *cases);
  tcase_add_loop_test(tests, on_the_emulated_device, 0, sizeof cases / sizeof *cases);
  tcase_add_test(tests, never_equal);
  suite_add_tcase(suite, tests);
  runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
