/* Shapes that are data: one module, data sets of different sizes one after the other, and values
 * that no shape may have. The latter end the run with an error that names what is wrong, and the
 * exec goes on with the next set. */
#include "tests/onnx/model_writer.h"
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <tessera/compiler.h>
#include <tessera/runtime.h>
#include <unistd.h>

enum { MOST_INPUTS = 4, MOST_NUMBERS = 8, MOST_SETS = 24, ELEMENTS = 24 };

/* An input of integers: "name extent", no extent for a scalar. */
typedef struct integers {
  const char *name, *dims;
} integers;

typedef struct data_set {
  int64_t numbers[MOST_INPUTS][MOST_NUMBERS];
  const char *error; /* NULL: it runs, and the result has this shape and these elements: */
  int32_t rank;
  int64_t dims[4];
  float first, last;
} data_set;

typedef struct shape_case {
  const char *op, *inputs; /* of the node; x is f32 of `x`, with elements 0, 1, 2 .. */
  const char *x;           /* NULL: it has none */
  integers data[MOST_INPUTS];
  const char *name; /* of an int attribute */
  int64_t value;
  int64_t x_dims[4];
  data_set sets[MOST_SETS];
} shape_case;

static const shape_case cases[] = {
    {.op = "Reshape",
     .inputs = "x s",
     .x = "2 3 4",
     .x_dims = {2, 3, 4},
     .data = {{"s", "2"}},
     .sets =
         {{{{4, 6}}, NULL, 2, {4, 6}, 0, 23},
          {{{-1, 3}}, NULL, 2, {8, 3}, 0, 23},
          {{{0, -1}}, NULL, 2, {2, 12}, 0, 23},
          {{{5, 5}}, "node: the new shape has another number of elements", 0, {0}, 0, 0},
          {{{0, 0}}, "another number of elements", 0, {0}, 0, 0},
          {{{-1, -1}}, "dim 'node.shape[0]' = -1 is negative", 0, {0}, 0, 0},
          {{{-5, 1}}, "dim 'node.shape[0]' = -5 is negative", 0, {0}, 0, 0},
          {{{1, INT64_MIN}}, "is negative", 0, {0}, 0, 0},
          {{{(int64_t)1 << 40, 1}}, "dim 'node.shape[0]' = 1099511627776 is outside", 0, {0}, 0, 0},
          {{{(int64_t)1 << 28, (int64_t)1 << 28}}, "another number of elements", 0, {0}, 0, 0},
          {{{-1, 7}}, "another number of elements", 0, {0}, 0, 0},
          {{{-1, 0}}, NULL, 2, {8, 3}, 0, 23},
          {{{24, 1}}, NULL, 2, {24, 1}, 0, 23}}},
    {.op = "Expand",
     .inputs = "x s",
     .x = "2 1 4",
     .x_dims = {2, 1, 4},
     .data = {{"s", "4"}},
     .sets = {{{{1, 1, 1, 1}}, NULL, 4, {1, 2, 1, 4}, 0, 7},
              {{{3, 2, 5, 4}}, NULL, 4, {3, 2, 5, 4}, 0, 7},
              {{{1, 2, 0, 1}}, NULL, 4, {1, 2, 0, 4}, 0, 0},
              {{{1, 3, 1, 4}}, "node: the input does not broadcast to the shape", 0, {0}, 0, 0},
              {{{1, 2, 1, 0}}, "node: the input does not broadcast to the shape", 0, {0}, 0, 0},
              {{{-2, 2, 1, 4}}, "dim 'node.shape[0]' = -2 is negative", 0, {0}, 0, 0},
              {{{2, 2, 2, 4}}, NULL, 4, {2, 2, 2, 4}, 0, 7}}},
    {.op = "Tile",
     .inputs = "x s",
     .x = "N 4",
     .x_dims = {6, 4},
     .data = {{"s", "2"}},
     .sets = {{{{1, 1}}, NULL, 2, {6, 4}, 0, 23},
              {{{3, 2}}, NULL, 2, {18, 8}, 0, 23},
              {{{0, 2}}, NULL, 2, {0, 8}, 0, 0},
              {{{-1, 2}}, "is negative", 0, {0}, 0, 0}}},
    {.op = "ConstantOfShape",
     .inputs = "s",
     .data = {{"s", "3"}},
     .sets = {{{{2, 3, 4}}, NULL, 3, {2, 3, 4}, 0, 0},
              {{{0, 3, 4}}, NULL, 3, {0, 3, 4}, 0, 0},
              {{{5, 1, 1}}, NULL, 3, {5, 1, 1}, 0, 0},
              {{{-1, 1, 1}}, "dim 'node.shape[0]' = -1 is negative", 0, {0}, 0, 0},
              {{{1 << 28, 1 << 28, 1 << 28}}, "overflows", 0, {0}, 0, 0}}},
    {.op = "Slice",
     .inputs = "x s e a t",
     .x = "N 6",
     .x_dims = {4, 6},
     .data = {{"s", "2"}, {"e", "2"}, {"a", "2"}, {"t", "2"}},
     .sets = {{{{0, 0}, {4, 6}, {0, 1}, {1, 1}}, NULL, 2, {4, 6}, 0, 23},
              {{{1, 1}, {3, 6}, {0, 1}, {1, 2}}, NULL, 2, {2, 3}, 7, 17},
              {{{-1, 0}, {-100, 2}, {-1, 0}, {-2, 1}}, NULL, 2, {2, 3}, 5, 7},
              {{{INT64_MIN, 0}, {INT64_MAX, INT64_MAX}, {0, 1}, {1, INT64_MAX}},
               NULL,
               2,
               {4, 1},
               0,
               18},
              {{{3, 0}, {1, 6}, {0, 1}, {1, 1}}, NULL, 2, {0, 6}, 0, 0},
              {{{0, 0}, {4, 6}, {0, 0}, {1, 1}},
               "node: an axis is out of range or repeated",
               0,
               {0},
               0,
               0},
              {{{0, 0}, {4, 6}, {0, 2}, {1, 1}},
               "node: an axis is out of range or repeated",
               0,
               {0},
               0,
               0},
              {{{0, 0}, {4, 6}, {0, 1}, {1, 0}}, "node: a step is 0", 0, {0}, 0, 0}}},
    {.op = "Slice",
     .inputs = "x s e",
     .x = "N 6",
     .x_dims = {4, 6},
     .data = {{"s", "1"}, {"e", "1"}},
     .sets = {{{{0}, {4}}, NULL, 2, {4, 6}, 0, 23},
              {{{-2}, {INT64_MAX}}, NULL, 2, {2, 6}, 12, 23},
              {{{9}, {12}}, NULL, 2, {0, 6}, 0, 0},
              {{{INT64_MIN}, {-1}}, NULL, 2, {3, 6}, 0, 17}}},
    {.op = "Pad",
     .inputs = "x s",
     .x = "N 6",
     .x_dims = {4, 6},
     .data = {{"s", "4"}},
     .sets = {{{{0, 0, 0, 0}}, NULL, 2, {4, 6}, 0, 23},
              {{{0, 0, 2, 1}}, NULL, 2, {6, 7}, 0, 0},
              {{{-1, 0, 0, -2}}, NULL, 2, {3, 4}, 6, 21},
              {{{0, -7, 0, 0}}, "dim 'node.extent[1]' = -1 is negative", 0, {0}, 0, 0}}},
    {.op = "Split",
     .inputs = "x s",
     .x = "N 6",
     .x_dims = {4, 6},
     .data = {{"s", "1"}},
     .name = "axis",
     .value = 1,
     .sets = {{{{6}}, NULL, 2, {4, 6}, 0, 23},
              {{{5}}, "node: the sizes do not add up to the extent of the axis", 0, {0}, 0, 0},
              {{{-6}}, "is negative", 0, {0}, 0, 0}}},
    {.op = "TopK",
     .inputs = "x s",
     .x = "N 6",
     .x_dims = {4, 6},
     .data = {{"s", "1"}},
     .sets = {{{{2}}, NULL, 2, {4, 2}, 5, 22},
              {{{6}}, NULL, 2, {4, 6}, 5, 18},
              {{{0}}, NULL, 2, {4, 0}, 0, 0},
              {{{7}}, "node: K is larger than the axis", 0, {0}, 0, 0},
              {{{-1}}, "dim 'node.k' = -1 is negative", 0, {0}, 0, 0}}},
    {.op = "Unsqueeze",
     .inputs = "x s",
     .x = "N 6",
     .x_dims = {4, 6},
     .data = {{"s", "2"}},
     .sets = {{{{0, -1}}, NULL, 4, {1, 4, 6, 1}, 0, 23},
              {{{1, 2}}, NULL, 4, {4, 1, 1, 6}, 0, 23},
              {{{1, 1}}, "is negative", 0, {0}, 0, 0},
              {{{1, 4}},
               "node: the axes are out of range, repeated or not of extent 1",
               0,
               {0},
               0,
               0}}},
    {.op = "Squeeze",
     .inputs = "x s",
     .x = "4 1 6",
     .x_dims = {4, 1, 6},
     .data = {{"s", "1"}},
     .sets =
         {{{{1}}, NULL, 2, {4, 6}, 0, 23},
          {{{-2}}, NULL, 2, {4, 6}, 0, 23},
          {{{0}}, "node: the axes are out of range, repeated or not of extent 1", 0, {0}, 0, 0},
          {{{7}}, "node: the axes are out of range, repeated or not of extent 1", 0, {0}, 0, 0}}},
    {.op = "ReduceMax",
     .inputs = "x s",
     .x = "N 3 2",
     .x_dims = {4, 3, 2},
     .data = {{"s", "2"}},
     .name = "keepdims",
     .value = 0,
     .sets = {{{{0, 1}}, NULL, 1, {2}, 22, 23},
              {{{-1, 0}}, NULL, 1, {3}, 19, 23},
              {{{2, 1}}, NULL, 1, {4}, 5, 23},
              {{{1, 1}}, "node: an axis is out of range or repeated", 0, {0}, 0, 0},
              {{{1, -2}}, "node: an axis is out of range or repeated", 0, {0}, 0, 0},
              {{{0, 3}}, "node: an axis is out of range or repeated", 0, {0}, 0, 0},
              {{{0, INT64_MIN}}, "node: an axis is out of range or repeated", 0, {0}, 0, 0}}},
};

static const shape_case range_case = {
    .op = "Range",
    .inputs = "s e t",
    .data = {{"s", ""}, {"e", ""}, {"t", ""}},
    .sets = {{{{1}, {7}, {2}}, NULL, 1, {3}, 1, 5},
             {{{5}, {-4}, {-3}}, NULL, 1, {3}, 5, -1},
             {{{5}, {5}, {1}}, NULL, 1, {0}, 0, 0},
             {{{5}, {1}, {1}}, NULL, 1, {0}, 0, 0},
             {{{0}, {1}, {0}}, "dim 'node.count' = -1 is negative", 0, {0}, 0, 0},
             {{{0}, {INT64_MAX}, {1}},
              "dim 'node.count' = 9223372036854775807 is outside",
              0,
              {0},
              0,
              0}}};

static void untyped_output(wire *g, const char *name) {
  wire info = {0};
  wire_text(&info, 1, name);
  onnx_add_output(g, info);
}

static wire model_of(const shape_case *c) {
  wire g = {0}, node = onnx_node(c->op, "node", c->inputs, "z");
  if (c->name)
    onnx_int(&node, c->name, c->value);
  if (strcmp(c->op, "TopK") == 0)
    wire_text(&node, 2, "places");
  onnx_add_node(&g, node);
  if (c->x)
    onnx_add_input(&g, onnx_value("x", ONNX_FLOAT, c->x));
  for (int i = 0; i < MOST_INPUTS && c->data[i].name; i++)
    onnx_add_input(&g, onnx_value(c->data[i].name, ONNX_INT64, c->data[i].dims));
  untyped_output(&g, "z");
  return onnx_model(g, 18);
}

static tsr_module *compile(const shape_case *c) {
  char path[300];
  const char *folder = getenv("TESSERA_TEST_TMP");
  snprintf(path, sizeof path, "%s/tessera-shapes-%d.onnx", folder && *folder ? folder : "/tmp",
           (int)getpid());
  wire bytes = model_of(c);
  FILE *file = fopen(path, "wb");
  if (!file) {
    snprintf(path, sizeof path, "/tmp/tessera-shapes-%d.onnx", (int)getpid());
    file = fopen(path, "wb");
  }
  ck_assert_ptr_nonnull(file);
  ck_assert_uint_eq(fwrite(bytes.data, 1, bytes.size, file), bytes.size);
  ck_assert_int_eq(fclose(file), 0);
  free(bytes.data);
  tsr_context *context;
  void *module_bytes;
  size_t size;
  ck_assert_int_eq(tsr_context_create(NULL, &context), TSR_OK);
  tsr_status status = tsr_compile_file_to_memory(context, path, NULL, &module_bytes, &size);
  ck_assert_msg(status == TSR_OK, "%s: %s", c->op, tsr_context_error(context));
  unlink(path);
  tsr_module *module;
  tsr_message message;
  status = tsr_module_load_memory(module_bytes, size, NULL, &module, &message);
  ck_assert_msg(status == TSR_OK, "%s: %s", c->op, message.text);
  tsr_bytes_release(context, module_bytes, size);
  tsr_context_destroy(context);
  return module;
}

static void bind_integers(tsr_exec *exec, const integers *input, int64_t *numbers) {
  int64_t extent = atoll(input->dims);
  DLTensor view = {.data = numbers,
                   .device = {.device_type = kDLCPU},
                   .ndim = input->dims[0] ? 1 : 0,
                   .dtype = {.code = kDLInt, .bits = 64, .lanes = 1},
                   .shape = &extent};
  ck_assert_int_eq(tsr_exec_bind_input_name(exec, input->name, &view), TSR_OK);
}

static double element(const DLTensor *y, int64_t at) {
  return y->dtype.code == kDLInt ? (double)((const int64_t *)y->data)[at]
                                 : (double)((const float *)y->data)[at];
}

static void check_result(const shape_case *c, size_t number, tsr_exec *exec) {
  const data_set *set = &c->sets[number];
  DLTensor y;
  int64_t count = 1;
  ck_assert_int_eq(tsr_exec_output(exec, 0, &y), TSR_OK);
  ck_assert_int_eq(y.ndim, set->rank);
  for (int32_t i = 0; i < y.ndim; i++) {
    ck_assert_msg(y.shape[i] == set->dims[i], "%s, set %zu: dim %d is %lld", c->op, number, i,
                  (long long)y.shape[i]);
    count *= y.shape[i];
  }
  if (count == 0)
    return;
  ck_assert_msg(element(&y, 0) == (double)set->first, "%s, set %zu: starts with %g", c->op, number,
                element(&y, 0));
  ck_assert_msg(element(&y, count - 1) == (double)set->last, "%s, set %zu: ends with %g", c->op,
                number, element(&y, count - 1));
}

static void run_sets(const shape_case *c) {
  float x[ELEMENTS];
  tsr_module *module = compile(c);
  tsr_exec_options options = {.size = sizeof options, .threads = 1};
  tsr_exec *exec;
  int32_t rank = 0;
  ck_assert_int_eq(tsr_exec_create(module, &options, &exec, NULL), TSR_OK);
  for (int i = 0; i < ELEMENTS; i++)
    x[i] = (float)i;
  while (rank < 4 && c->x_dims[rank] != 0)
    rank++;
  int64_t dims[4];
  memcpy(dims, c->x_dims, sizeof dims);
  DLTensor view = {.data = x,
                   .device = {.device_type = kDLCPU},
                   .ndim = rank,
                   .dtype = {.code = kDLFloat, .bits = 32, .lanes = 1},
                   .shape = dims};
  if (c->x)
    ck_assert_int_eq(tsr_exec_bind_input_name(exec, "x", &view), TSR_OK);
  for (size_t s = 0; s < MOST_SETS && (c->sets[s].error || c->sets[s].rank > 0); s++) {
    int64_t numbers[MOST_INPUTS][MOST_NUMBERS];
    memcpy(numbers, c->sets[s].numbers, sizeof numbers);
    for (int i = 0; i < MOST_INPUTS && c->data[i].name; i++)
      bind_integers(exec, &c->data[i], numbers[i]);
    tsr_status status = tsr_exec_run(exec);
    const char *text = tsr_exec_last_error(exec);
    if (c->sets[s].error) {
      ck_assert_msg(status == TSR_ERR_SHAPE, "%s, set %zu: status %d, %s", c->op, s, (int)status,
                    text);
      ck_assert_msg(strstr(text, c->sets[s].error) != NULL, "%s, set %zu: '%s'", c->op, s, text);
    } else {
      ck_assert_msg(status == TSR_OK, "%s, set %zu: %s", c->op, s, text);
      check_result(c, s, exec);
    }
  }
  tsr_exec_destroy(exec);
  tsr_module_release(module);
}

START_TEST(sizes_that_are_data) {
  run_sets(&cases[_i]);
}
END_TEST

START_TEST(ranges) {
  run_sets(&range_case);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("shapes");
  TCase *tests = tcase_create("shapes");
  tcase_add_loop_test(tests, sizes_that_are_data, 0, (int)(sizeof cases / sizeof *cases));
  tcase_add_test(tests, ranges);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
