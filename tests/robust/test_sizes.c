/* Three networks, each one module, over data sets of sizes 0, 1, 7, 64 and 333 in turn: a
 * convolutional net, a block of a transformer, a decoder's step with its past. Some of each on the
 * emulated device too. */
#include "tests/robust/dims_model.h"
#include <check.h>
#include <stdio.h>
#include <string.h>

static wire graph; /* being written, with the names of its inputs */
static char input_names[256];

static void begin(void) {
  memset(&graph, 0, sizeof graph);
  input_names[0] = '\0';
}

static void input(const char *text) {
  dims_add_input(&graph, text, input_names);
}

static void node(const char *op, const char *in, const char *out) {
  onnx_add_node(&graph, onnx_node(op, out, in, out));
}

static void node_int(const char *op, const char *in, const char *out, const char *name,
                     int64_t value) {
  wire n = onnx_node(op, out, in, out);
  onnx_int(&n, name, value);
  onnx_add_node(&graph, n);
}

static void node_ints(const char *op, const char *in, const char *out, const char *name,
                      const int64_t *values, unsigned count) {
  wire n = onnx_node(op, out, in, out);
  onnx_int_list(&n, name, values, count);
  onnx_add_node(&graph, n);
}

static void output(const char *name) {
  wire info = {0};
  wire_text(&info, 1, name);
  onnx_add_output(&graph, info);
}

static void ints(const char *name, const int64_t *values, unsigned count) {
  onnx_add_initializer(&graph, onnx_ints(name, values, count));
}

/* Small pseudo-random numbers in [-1, 1) over the root of what is summed, as trained weights are.
 */
static void weights(const char *name, const int64_t *dims, unsigned rank, double scale) {
  float data[4096];
  wire t = {0};
  size_t count = 1;
  uint32_t state = 12345;
  for (const char *c = name; *c != '\0'; c++)
    state = state * 31 + (uint32_t)(unsigned char)*c;
  for (unsigned i = 0; i < rank; i++) {
    count *= (size_t)dims[i];
    wire_int(&t, 1, dims[i]);
  }
  ck_assert_uint_le(count, sizeof data / sizeof *data);
  for (size_t i = 0; i < count; i++) {
    state = state * 1664525 + 1013904223;
    data[i] = (float)(((double)(state >> 8) / 8388608.0 - 1) * scale);
  }
  wire_int(&t, 2, ONNX_FLOAT);
  wire_text(&t, 8, name);
  wire_varint(&t, 9 << 3 | 2);
  wire_varint(&t, count * sizeof *data);
  wire_bytes(&t, data, count * sizeof *data);
  onnx_add_initializer(&graph, t);
}

static void matrix(const char *name, int64_t rows, int64_t columns) {
  weights(name, (int64_t[]){rows, columns}, 2, 0.25);
}

static wire conv_net(void) {
  static const int64_t two[2] = {2, 2}, ones[4] = {1, 1, 1, 1};
  begin();
  input("x N 3 H W");
  weights("w1", (int64_t[]){8, 3, 3, 3}, 4, 0.2);
  weights("b1", (int64_t[]){8}, 1, 0.2);
  weights("w2", (int64_t[]){12, 8, 3, 3}, 4, 0.12);
  weights("w3", (int64_t[]){12, 5}, 2, 0.3);
  weights("b3", (int64_t[]){5}, 1, 0.2);
  node_ints("Conv", "x w1 b1", "c1", "pads", ones, 4);
  node("Relu", "c1", "r1");
  wire pool = onnx_node("MaxPool", "p1", "r1", "p1");
  onnx_int_list(&pool, "kernel_shape", two, 2);
  onnx_int_list(&pool, "strides", two, 2);
  onnx_add_node(&graph, pool);
  node_ints("Conv", "p1 w2", "c2", "pads", ones, 4);
  node("Relu", "c2", "r2");
  node("GlobalAveragePool", "r2", "g");
  node("Flatten", "g", "f");
  node("Gemm", "f w3 b3", "y");
  output("y");
  return onnx_model(graph, 17);
}

/* y = softmax(q k^T + mask) v of two heads of 8; q is [B, S, 16], k and v are [B, 2, T, 8]. */
static void attention(const char *mask) {
  char scores[32];
  node_ints("Transpose", "kh", "kt", "perm", (int64_t[]){0, 1, 3, 2}, 4);
  node("Reshape", "q heads", "q4");
  node_ints("Transpose", "q4", "qh", "perm", (int64_t[]){0, 2, 1, 3}, 4);
  node("MatMul", "qh kt", "s");
  (void)snprintf(scores, sizeof scores, "s %s", mask);
  node("Add", scores, "sm");
  node_int("Softmax", "sm", "p", "axis", -1);
  node("MatMul", "p vh", "mixed");
  node_ints("Transpose", "mixed", "mt", "perm", (int64_t[]){0, 2, 1, 3}, 4);
  node("Reshape", "mt flat", "m3");
  node("MatMul", "m3 wo", "o");
  node("Add", "x o", "h");
}

static void heads_of(const char *name) {
  char in[32], reshaped[32], out[32];
  (void)snprintf(in, sizeof in, "%s heads", name);
  (void)snprintf(reshaped, sizeof reshaped, "%s4", name);
  (void)snprintf(out, sizeof out, "%sn", name);
  node("Reshape", in, reshaped);
  node_ints("Transpose", reshaped, out, "perm", (int64_t[]){0, 2, 1, 3}, 4);
}

static void projections(void) {
  ints("heads", (int64_t[]){0, 0, 2, 8}, 4);
  ints("flat", (int64_t[]){0, 0, 16}, 3);
  ints("ones", (int64_t[]){1, 2}, 2);
  matrix("wq", 16, 16);
  matrix("wk", 16, 16);
  matrix("wv", 16, 16);
  matrix("wo", 16, 16);
  node("MatMul", "x wq", "q");
  node("MatMul", "x wk", "k");
  node("MatMul", "x wv", "v");
  heads_of("k");
  heads_of("v");
  node("Unsqueeze", "mask ones", "mask4");
}

static wire transformer_block(void) {
  begin();
  input("x B S 16");
  input("mask A T");
  projections();
  node("Identity", "kn", "kh");
  node("Identity", "vn", "vh");
  attention("mask4");
  weights("scale", (int64_t[]){16}, 1, 1);
  matrix("w1", 16, 32);
  matrix("w2", 32, 16);
  node_int("LayerNormalization", "h scale", "n", "axis", -1);
  node("MatMul", "n w1", "u");
  node("Sigmoid", "u", "g");
  node("Mul", "u g", "a");
  node("MatMul", "a w2", "d");
  node("Add", "h d", "y");
  output("y");
  return onnx_model(graph, 17);
}

static wire decoder_step(void) {
  begin();
  input("x B S 16");
  input("past_k B 2 P 8");
  input("past_v B 2 P 8");
  input("mask B total");
  projections();
  node_int("Concat", "past_k kn", "kh", "axis", 2);
  node_int("Concat", "past_v vn", "vh", "axis", 2);
  attention("mask4");
  output("h");
  output("kh");
  output("vh");
  return onnx_model(graph, 17);
}

static const struct {
  wire (*make)(void);
  unsigned count;
  struct {
    bool cuda;
    int64_t extents[MOST_INPUTS][4];
    const char *error;
  } sets[10];
} networks[] = {
    {conv_net,
     9,
     {{true, {{1, 3, 64, 64}}, NULL},
      {true, {{0, 3, 64, 64}}, NULL},
      {false, {{1, 3, 1, 1}}, NULL},
      {true, {{7, 3, 7, 7}}, NULL},
      {false, {{64, 3, 7, 5}}, NULL},
      {false, {{333, 3, 4, 4}}, NULL},
      {false, {{1, 3, 7, 333}}, NULL},
      {false, {{2, 3, 333, 2}}, NULL},
      {true, {{1, 3, 0, 7}}, NULL}}},
    {transformer_block,
     9,
     {{true, {{2, 7, 16}, {2, 7}}, NULL},
      {true, {{2, 0, 16}, {2, 0}}, NULL},
      {true, {{0, 7, 16}, {0, 7}}, NULL},
      {true, {{1, 1, 16}, {1, 1}}, NULL},
      {false, {{3, 64, 16}, {3, 64}}, NULL},
      {false, {{1, 333, 16}, {1, 333}}, NULL},
      {false, {{2, 7, 16}, {2, 8}}, "sm: the extents S and T must be equal (S = 7, T = 8)"},
      {false, {{2, 7, 16}, {1, 7}}, "sm: the extents B and A must be equal (B = 2, A = 1)"},
      {false, {{64, 7, 16}, {64, 7}}, NULL}}},
    {decoder_step,
     9,
     {{true, {{1, 3, 16}, {1, 2, 0, 8}, {1, 2, 0, 8}, {1, 3}}, NULL},
      {true, {{1, 1, 16}, {1, 2, 3, 8}, {1, 2, 3, 8}, {1, 4}}, NULL},
      {false, {{2, 1, 16}, {2, 2, 1, 8}, {2, 2, 1, 8}, {2, 2}}, NULL},
      {true, {{2, 5, 16}, {2, 2, 7, 8}, {2, 2, 7, 8}, {2, 12}}, NULL},
      {false, {{1, 1, 16}, {1, 2, 64, 8}, {1, 2, 64, 8}, {1, 65}}, NULL},
      {false, {{1, 1, 16}, {1, 2, 333, 8}, {1, 2, 333, 8}, {1, 334}}, NULL},
      {false,
       {{1, 1, 16}, {1, 2, 7, 8}, {1, 2, 7, 8}, {1, 7}},
       "sm: the extents S + P and total must be equal (S = 1, P = 7, total = 7)"},
      {false, {{1, 0, 16}, {1, 2, 7, 8}, {1, 2, 7, 8}, {1, 7}}, NULL},
      {true, {{0, 1, 16}, {0, 2, 7, 8}, {0, 2, 7, 8}, {0, 8}}, NULL}}},
};

static void check_network(int number, const char *target, bool cuda_sets,
                          const tsr_dim_range *ranges, uint32_t range_count) {
  dims_model m;
  dims_open(&m, networks[number].make(), target, ranges, range_count);
  m.tolerance = 1e-3;
  for (unsigned s = 0; s < networks[number].count; s++)
    if (!cuda_sets || networks[number].sets[s].cuda)
      dims_run(&m, networks[number].sets[s].extents, networks[number].sets[s].error);
  dims_close(&m);
}

START_TEST(one_module_for_all_sizes) {
  check_network(_i, "cpu", false, NULL, 0);
}
END_TEST

START_TEST(on_the_emulated_device) {
  check_network(_i, "cuda-emulated:sm_80", true, NULL, 0);
}
END_TEST

/* Ranges choose other plans, with variants by size. */
START_TEST(with_ranges) {
  const tsr_dim_range ranges[] = {{"B", 0, 64}, {"S", 0, 512}};
  check_network(1, "cpu", false, ranges, 2);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("sizes");
  TCase *tests = tcase_create("tests");
  SRunner *runner;
  int failed;
  tcase_set_timeout(tests, 300);
  tcase_add_loop_test(tests, one_module_for_all_sizes, 0, 3);
  tcase_add_loop_test(tests, on_the_emulated_device, 0, 3);
  tcase_add_test(tests, with_ranges);
  suite_add_tcase(suite, tests);
  runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
