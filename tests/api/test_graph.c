/* The public calls that build and compile graphs. */
#include <check.h>
#include <string.h>
#include <tessera/graph.h>
#include <tessera/runtime.h>

static tsr_context *context;

static void setup(void) {
  ck_assert_int_eq(tsr_context_create(NULL, &context), TSR_OK);
}

static void teardown(void) {
  tsr_context_destroy(context);
}

/* y = max(x w + b, 0), with x [N, 3], w [3, 2]. */
static tsr_graph *make_layer(void) {
  static const float weights[] = {1, 2, 3, 4, 5, 6}, bias[] = {-20, 1};
  tsr_graph *g;
  ck_assert_int_eq(tsr_graph_create(context, "layer", &g), TSR_OK);
  tsr_graph_dim n = tsr_graph_add_dim(g, "N", 0, 100), k = tsr_graph_int(g, 3);
  tsr_graph_dim dims[] = {n, k};
  tsr_graph_value x = tsr_graph_add_input(g, "x", TSR_F32, dims, 2);
  int64_t wd[] = {3, 2}, bd[] = {2};
  tsr_graph_value w = tsr_graph_add_constant(g, TSR_F32, wd, 2, weights);
  tsr_graph_value b = tsr_graph_add_constant(g, TSR_F32, bd, 1, bias);
  tsr_graph_attr spec = {.key = "spec", .kind = TSR_GRAPH_STRING, .string = "mk,kn->mn"};
  tsr_graph_value pair[] = {x, w};
  tsr_graph_value h = tsr_graph_add_node(g, "einsum", pair, 2, &spec, 1, NULL);
  tsr_graph_value sum_of[] = {h, b};
  tsr_graph_value s = tsr_graph_add_node(g, "add", sum_of, 2, NULL, 0, NULL);
  float zero = 0;
  tsr_graph_value max_of[] = {s, tsr_graph_add_constant(g, TSR_F32, NULL, 0, &zero)};
  tsr_graph_add_output(g, "y", tsr_graph_add_node(g, "max", max_of, 2, NULL, 0, NULL));
  return g;
}

static void run(const void *bytes, size_t size, const float *x, int64_t rows, float *y) {
  tsr_module *module;
  tsr_exec *exec;
  int64_t shape[] = {rows, 3};
  DLTensor out, in = {.data = (void *)(uintptr_t)x,
                      .device = {.device_type = kDLCPU},
                      .ndim = 2,
                      .dtype = tsr_dtype_to_dlpack(TSR_F32),
                      .shape = shape};
  ck_assert_int_eq(tsr_module_load_memory(bytes, size, NULL, &module, NULL), TSR_OK);
  ck_assert_int_eq(tsr_exec_create(module, NULL, &exec, NULL), TSR_OK);
  ck_assert_int_eq(tsr_exec_bind_input(exec, 0, &in), TSR_OK);
  ck_assert_int_eq(tsr_exec_run(exec), TSR_OK);
  ck_assert_int_eq(tsr_exec_output_name(exec, "y", &out), TSR_OK);
  ck_assert(out.ndim == 2 && out.shape[0] == rows && out.shape[1] == 2);
  memcpy(y, out.data, (size_t)rows * 2 * sizeof *y);
  tsr_exec_destroy(exec);
  tsr_module_release(module);
}

START_TEST(layer) {
  static const float x[] = {1, 1, 1, 0, 1, -1};
  static const char *const targets[] = {"cpu", "cpu:x86-64-v2"};
  tsr_compile_options options = {.targets = targets, .target_count = 2};
  tsr_graph *g = make_layer();
  for (int turn = 0; turn < 2; turn++) {
    void *bytes;
    size_t size;
    float y[4];
    ck_assert_msg(tsr_compile_graph(context, g, &options, &bytes, &size) == TSR_OK, "%s",
                  tsr_context_error(context));
    run(bytes, size, x, 2, y);
    ck_assert(y[0] == 0 && y[1] == 13 && y[2] == 0 && y[3] == 0);
    tsr_bytes_release(context, bytes, size);
  }
  tsr_graph_destroy(g);
}
END_TEST

START_TEST(two_results_and_formulas) {
  tsr_graph *g;
  void *bytes;
  size_t size;
  ck_assert_int_eq(tsr_graph_create(context, "top", &g), TSR_OK);
  tsr_graph_dim n = tsr_graph_add_dim(g, "N", 2, 100);
  ck_assert_uint_eq(n, tsr_graph_add_dim(g, "N", 2, 100));
  tsr_graph_dim flat = tsr_graph_formula(g, "*", n, tsr_graph_int(g, 4));
  tsr_graph_dim dims[] = {n, tsr_graph_int(g, 4)};
  tsr_graph_value x = tsr_graph_add_input(g, "x", TSR_F32, dims, 2);
  tsr_graph_type line = {.dtype = TSR_F32, .rank = 1, .dims = &flat};
  tsr_graph_value r = tsr_graph_add_node(g, "reshape", &x, 1, NULL, 0, &line);
  tsr_graph_attr attrs[] = {{.key = "axis", .kind = TSR_GRAPH_INT, .integer = 0},
                            {.key = "largest", .kind = TSR_GRAPH_BOOL, .integer = 1}};
  tsr_graph_dim two = tsr_graph_int(g, 2);
  tsr_graph_type best = {.dtype = TSR_F32, .rank = 1, .dims = &two};
  tsr_graph_value top = tsr_graph_add_node(g, "topk", &r, 1, attrs, 2, &best);
  tsr_graph_add_output(g, "values", top);
  tsr_graph_add_output(g, "indices", tsr_graph_result(g, top, 1));
  ck_assert_msg(tsr_compile_graph(context, g, NULL, &bytes, &size) == TSR_OK, "%s",
                tsr_context_error(context));
  tsr_bytes_release(context, bytes, size);
  tsr_graph_destroy(g);
}
END_TEST

/* Each case makes one mistake; the first failure is what compiling reports. */
START_TEST(mistakes) {
  static const tsr_status want[] = {TSR_ERR_UNSUPPORTED, TSR_ERR_ARGUMENT, TSR_ERR_SHAPE,
                                    TSR_ERR_ARGUMENT,    TSR_ERR_TYPE,     TSR_ERR_ARGUMENT};
  tsr_graph *g;
  void *bytes;
  size_t size;
  ck_assert_int_eq(tsr_graph_create(context, "bad", &g), TSR_OK);
  tsr_graph_dim dims[] = {tsr_graph_int(g, 2), tsr_graph_int(g, 3)};
  tsr_graph_value x = tsr_graph_add_input(g, "x", TSR_F32, dims, 2);
  tsr_graph_value i = tsr_graph_add_input(g, "i", TSR_I32, dims, 1);
  tsr_graph_value pair[] = {x, i};
  tsr_graph_attr spec = {.key = "spec", .kind = TSR_GRAPH_STRING, .string = "mk,kn->mn"};
  tsr_graph_value twice[] = {x, x};
  switch (_i) {
  case 0:
    x = tsr_graph_add_node(g, "frobnicate", &x, 1, NULL, 0, NULL);
    break;
  case 1:
    x = tsr_graph_add_node(g, "add", &x, 1, NULL, 0, NULL);
    break;
  case 2:
    x = tsr_graph_add_node(g, "einsum", twice, 2, &spec, 1, NULL);
    break;
  case 3:
    x = tsr_graph_add_node(g, "neg", (tsr_graph_value[]){9999}, 1, NULL, 0, NULL);
    break;
  case 4:
    x = tsr_graph_add_node(g, "add", pair, 2, NULL, 0, NULL);
    break;
  default:
    x = tsr_graph_add_input(g, "z", TSR_F32, dims, 99);
  }
  ck_assert_uint_eq(x, 0);
  x = tsr_graph_add_node(g, "neg", &x, 1, NULL, 0, NULL);
  ck_assert_uint_eq(x, 0);
  tsr_graph_add_output(g, "y", x);
  ck_assert_int_eq(tsr_compile_graph(context, g, NULL, &bytes, &size), want[_i]);
  ck_assert(bytes == NULL && strlen(tsr_context_error(context)) > 5);
  tsr_graph_destroy(g);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("api.graph");
  TCase *tests = tcase_create("graph");
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, layer);
  tcase_add_test(tests, two_results_and_formulas);
  tcase_add_loop_test(tests, mistakes, 0, 6);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
