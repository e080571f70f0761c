/* Composite operators on values worked out by hand: one node is imported and evaluated, and
 * imported again with each allocation failing. */
#include "frontend/onnx/import.h"
#include "ir/eval.h"
#include "tests/onnx/model_writer.h"
#include <check.h>
#include <math.h>
#include <stdio.h>

enum { MOST_NUMBERS = 64, MOST_PORTS = 8 };

/* An f32 input 'f', an i64 input 'i', or an i64 initializer 'c' of rank 1. A word in `dims` is a
 * symbolic dim whose extent `extents` has at its place. */
typedef struct port {
  char kind;
  const char *name, *dims, *extents, *values;
} port;

static unsigned numbers(const char *text, double *out) {
  unsigned count = 0;
  char copy[512], *rest = copy;
  (void)snprintf(copy, sizeof copy, "%s", text);
  for (char *word; (word = strtok_r(rest, " ", &rest)) != NULL;) {
    ck_assert_uint_lt(count, MOST_NUMBERS);
    out[count++] = atof(word);
  }
  return count;
}

static void text_attribute(wire *node, const char *name, const char *value) {
  wire a = {0};
  wire_text(&a, 1, name);
  wire_text(&a, 4, value);
  wire_int(&a, 20, 3);
  wire_message(node, 5, a);
}

static wire model_of(wire node, const char *domain, int64_t opset, const port *ports,
                     const char *outputs) {
  wire g = {0}, import = {0};
  char copy[64], *rest = copy;
  if (domain != NULL)
    wire_text(&node, 7, domain);
  onnx_add_node(&g, node);
  for (const port *p = ports; p->name != NULL; p++) {
    double values[MOST_NUMBERS];
    int64_t integers[MOST_NUMBERS];
    unsigned count = numbers(p->values, values);
    for (unsigned i = 0; i < count && p->kind == 'c'; i++)
      integers[i] = (int64_t)values[i];
    if (p->kind == 'c')
      onnx_add_initializer(&g, onnx_ints(p->name, integers, count));
    else
      onnx_add_input(&g, onnx_value(p->name, p->kind == 'f' ? ONNX_FLOAT : ONNX_INT64, p->dims));
  }
  (void)snprintf(copy, sizeof copy, "%s", outputs);
  for (char *name; (name = strtok_r(rest, " ", &rest)) != NULL;) {
    wire info = {0};
    wire_text(&info, 1, name);
    onnx_add_output(&g, info);
  }
  wire m = onnx_model(g, domain != NULL ? 28 : opset);
  if (domain != NULL) {
    wire_text(&import, 1, domain);
    wire_int(&import, 2, opset);
    wire_message(&m, 8, import);
  }
  return m;
}

/* The extents of a port; its symbolic dims get theirs. */
static unsigned extents_of(const tsr_ir *ir, const port *p, int64_t *symbols, int64_t *out) {
  double extents[MOST_NUMBERS];
  unsigned rank = numbers(p->extents ? p->extents : p->dims, extents), axis = 0;
  char copy[64], *rest = copy;
  for (unsigned i = 0; i < rank; i++)
    out[i] = (int64_t)extents[i];
  (void)snprintf(copy, sizeof copy, "%s", p->dims);
  for (char *word; (word = strtok_r(rest, " ", &rest)) != NULL; axis++)
    if (tsr_dim_find(ir, word))
      symbols[tsr_dim_find(ir, word) - 1] = out[axis];
  return rank;
}

static void bind(tsr_eval *eval, tsr_value input, const port *p, const int64_t *extents,
                 unsigned rank) {
  double values[MOST_NUMBERS];
  float floats[MOST_NUMBERS];
  int64_t integers[MOST_NUMBERS];
  unsigned count = numbers(p->values, values);
  for (unsigned i = 0; i < count; i++) {
    floats[i] = (float)values[i];
    integers[i] = p->kind == 'f' ? 0 : (int64_t)values[i];
  }
  const void *data = p->kind == 'f' ? (const void *)floats : integers;
  ck_assert_int_eq(tsr_eval_bind(eval, input, extents, rank, data), TSR_OK);
}

static void expect_array(const tsr_array *array, const char *wanted, const char *what) {
  double values[MOST_NUMBERS];
  unsigned count = numbers(wanted, values);
  ck_assert_msg((int64_t)count == array->count, "%s has %lld elements", what,
                (long long)array->count);
  for (unsigned i = 0; i < count; i++) {
    double got = array->floats ? array->floats[i] : (double)array->integers[i];
    ck_assert_msg(isnan(values[i]) ? isnan(got)
                                   : fabs(got - values[i]) <= 1e-5 * (1 + fabs(values[i])),
                  "element %u of %s is %.9g, not %.9g", i, what, got, values[i]);
  }
}

typedef struct failing {
  const tsr_allocator *real;
  long left, live;
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
static bool survives(wire bytes, long k) {
  failing f = {tsr_allocator_default(), k, 0};
  tsr_allocator allocator = {&f, allocate, release};
  tsr_onnx_model model;
  tsr_ir *ir = NULL;
  tsr_diag diag = {0};
  tsr_status status = tsr_onnx_model_parse(&model, &allocator, bytes.data, bytes.size, &diag);
  if (status == TSR_OK) {
    status = tsr_onnx_import(&model, NULL, &allocator, &diag, &ir);
    if (ir)
      tsr_ir_destroy(ir);
    tsr_onnx_model_close(&model);
  }
  bool done = f.left >= 0;
  ck_assert_msg(done || status == TSR_ERR_OUT_OF_MEMORY, "allocation %ld: %s: %s", k,
                tsr_status_text(status), diag.message);
  ck_assert_msg(f.live == 0, "allocation %ld: %ld blocks leak", k, f.live);
  return done;
}

/* `wanted` has the values of each output. */
static void expect(wire node, const char *domain, int64_t opset, const port *ports,
                   const char *outputs, const char *const *wanted) {
  tsr_onnx_model model;
  tsr_diag diag = {0};
  tsr_ir *ir;
  tsr_eval *eval;
  int64_t symbols[16] = {0}, extents[MOST_PORTS][TSR_MAX_RANK];
  unsigned rank[MOST_PORTS], number = 0;
  wire bytes = model_of(node, domain, opset, ports, outputs);
  ck_assert_int_eq(
      tsr_onnx_model_parse(&model, tsr_allocator_default(), bytes.data, bytes.size, &diag), TSR_OK);
  tsr_status status = tsr_onnx_import(&model, NULL, tsr_allocator_default(), &diag, &ir);
  ck_assert_msg(status == TSR_OK, "%s", diag.message);
  ck_assert_msg(tsr_ir_verify(ir, &diag) == TSR_OK, "%s", diag.message);
  for (unsigned i = 0; ports[i].name != NULL; i++)
    if (ports[i].kind != 'c')
      rank[i] = extents_of(ir, &ports[i], symbols, extents[i]);
  ck_assert_int_eq(tsr_eval_create(ir, symbols, false, 10000, tsr_allocator_default(), &eval),
                   TSR_OK);
  for (tsr_op op = 1; op <= tsr_op_count(ir); op++) {
    if (tsr_op_get(ir, op)->code != TSR_OP_INPUT)
      continue;
    while (ports[number].kind == 'c')
      number++;
    bind(eval, tsr_op_get(ir, op)->results[0], &ports[number], extents[number], rank[number]);
    number++;
  }
  for (tsr_op op = 1; op <= tsr_op_count(ir); op++) {
    const tsr_array *array;
    if (tsr_op_get(ir, op)->code != TSR_OP_OUTPUT)
      continue;
    status = tsr_eval_get(eval, tsr_op_get(ir, op)->operands[0].value, &array);
    ck_assert_msg(status == TSR_OK, "%s", tsr_eval_diag(eval)->message);
    expect_array(array, *wanted++, outputs);
  }
  tsr_eval_destroy(eval);
  tsr_ir_destroy(ir);
  tsr_onnx_model_close(&model);
  for (long k = 0; !survives(bytes, k); k++)
    ck_assert_int_lt(k, 100000);
  free(bytes.data);
}

static void expect_refusal(wire node, int64_t opset, const port *ports, const char *output,
                           tsr_status status, const char *message) {
  tsr_onnx_model model;
  tsr_diag diag = {0};
  tsr_ir *ir;
  wire bytes = model_of(node, NULL, opset, ports, output);
  ck_assert_int_eq(
      tsr_onnx_model_parse(&model, tsr_allocator_default(), bytes.data, bytes.size, &diag), TSR_OK);
  tsr_status got = tsr_onnx_import(&model, NULL, tsr_allocator_default(), &diag, &ir);
  ck_assert_msg(got == status, "%s: %s", tsr_status_text(got), diag.message);
  ck_assert_msg(strstr(diag.message, message) != NULL, "'%s' is not in '%s'", message,
                diag.message);
  tsr_onnx_model_close(&model);
  free(bytes.data);
}

#define PORTS(...)  ((const port[]){__VA_ARGS__, {0}})
#define VALUES(...) ((const char *const[]){__VA_ARGS__})
/* Two steps of one head of width 2. */
#define QUERY                                                                                      \
  { 'f', "q", "1 T 2", "1 2 2", "1 0 1 1" }
#define KEY                                                                                        \
  { 'f', "k", "1 T 2", "1 2 2", "1 2 3 4" }
#define VALUE                                                                                      \
  { 'f', "v", "1 T 2", "1 2 2", "1 0 0 1" }
#define PAST                                                                                       \
  { 'f', "s", "1 1 2 2", NULL, "1 1 0 0" }

static wire linear_attention(const char *rule, const char *inputs) {
  wire n = onnx_node("LinearAttention", "", inputs, "y p");
  onnx_int(&n, "q_num_heads", 1);
  onnx_int(&n, "kv_num_heads", 1);
  onnx_float(&n, "scale", 1);
  text_attribute(&n, "update_rule", rule);
  return n;
}

START_TEST(linear_attention_rules) {
  expect(linear_attention("linear", "q k v s"), NULL, 27, PORTS(QUERY, KEY, VALUE, PAST), "y p",
         VALUES("2 1 4 8", "2 4 2 4"));
  /* halves the rows of the state: the first at step 0, the second at step 1 */
  expect(
      linear_attention("gated", "q k v s d"), NULL, 27,
      PORTS(QUERY, KEY, VALUE, PAST, {'f', "d", "1 T 2", "1 2 2", "-0.69314718 0 0 -0.69314718"}),
      "y p", VALUES("1.5 0.5 2.5 7.5", "1.5 3.5 1 4"));
  expect(linear_attention("gated", "q k v s d"), NULL, 27,
         PORTS(QUERY, KEY, VALUE, PAST, {'f', "d", "1 T 1", "1 2 1", "-0.69314718 0"}), "y p",
         VALUES("1.5 0.5 3.5 7.5", "1.5 3.5 2 4"));
  /* a decay of -inf forgets the state, and nothing becomes NaN */
  expect(linear_attention("gated", "q k v s d"), NULL, 27,
         PORTS(QUERY, KEY, VALUE, PAST, {'f', "d", "1 T 1", "1 2 1", "-inf -inf"}), "y p",
         VALUES("1 0 0 7", "0 3 0 4"));
  expect(linear_attention("delta", "q k v - - b"), NULL, 27,
         PORTS({'f', "q", "1 2 2", NULL, "1 0 1 1"}, {'f', "k", "1 2 2", NULL, "1 2 3 4"},
               {'f', "v", "1 2 2", NULL, "1 0 0 1"}, {'f', "b", "1 2 1", NULL, "1 0.5"}),
         "y p", VALUES("1 0 -35.5 3.5", "-15.5 1.5 -20 2"));
  expect_refusal(linear_attention("linear", "q k v s d"), 27,
                 PORTS(QUERY, KEY, VALUE, PAST, {'f', "d", "1 T 1", NULL, ""}), "y", TSR_ERR_FORMAT,
                 "update_rule 'linear' takes no decay");
  expect_refusal(linear_attention("delta", "q k v - - b"), 27,
                 PORTS(QUERY, KEY, VALUE, {'f', "b", "1 T 1", NULL, ""}), "y", TSR_ERR_UNSUPPORTED,
                 "over more than 512 steps");
}
END_TEST

START_TEST(carried_states) {
  wire conv = onnx_node("CausalConvWithState", "", "x w b s", "y p");
  expect(conv, NULL, 27,
         PORTS({'f', "x", "1 1 L", "1 1 3", "1 2 3"}, {'f', "w", "1 1 2", NULL, "10 1"},
               {'f', "b", "1", NULL, "100"}, {'f', "s", "1 1 1", NULL, "5"}),
         "y p", VALUES("151 112 123", "3"));
  conv = onnx_node("CausalConvWithState", "", "x w", "z");
  text_attribute(&conv, "activation", "relu");
  expect_refusal(conv, 27, PORTS({'f', "x", "1 1 3", NULL, ""}, {'f', "w", "1 1 2", NULL, ""}), "z",
                 TSR_ERR_UNSUPPORTED, "activation 'relu'");
  wire scatter = onnx_node("TensorScatter", "", "c u i", "z");
  text_attribute(&scatter, "mode", "circular");
  expect(scatter, NULL, 24,
         PORTS({'f', "c", "B 3 1", "2 3 1", "1 2 3 4 5 6"},
               {'f', "u", "B 2 1", "2 2 1", "10 20 30 40"}, {'i', "i", "B", "2", "2 1"}),
         "z", VALUES("20 2 10 4 30 40"));
}
END_TEST

/* score_mod negates the scores, prob_mod doubles the probabilities. */
START_TEST(flex_attention_calls_subgraphs) {
  wire flex = onnx_node("FlexAttention", "", "q k v", "z"), score = {0}, prob = {0};
  onnx_add_node(&score, onnx_node("Neg", "", "s", "t"));
  onnx_add_input(&score, onnx_value("s", ONNX_FLOAT, "1 1 1 2"));
  onnx_add_output(&score, onnx_value("t", ONNX_FLOAT, "1 1 1 2"));
  onnx_add_node(&prob, onnx_node("Add", "", "p p", "r"));
  onnx_add_input(&prob, onnx_value("p", ONNX_FLOAT, "1 1 1 2"));
  onnx_add_output(&prob, onnx_value("r", ONNX_FLOAT, "1 1 1 2"));
  onnx_graph_attribute(&flex, "score_mod", score);
  onnx_graph_attribute(&flex, "prob_mod", prob);
  onnx_float(&flex, "scale", 1);
  expect(flex, "ai.onnx.preview", 1,
         PORTS({'f', "q", "B 1 1 1", "1 1 1 1", "1"},
               {'f', "k", "B 1 2 1", "1 1 2 1", "0 1.0986123"},
               {'f', "v", "B 1 2 1", "1 1 2 1", "2 4"}),
         "z", VALUES("5"));
}
END_TEST

START_TEST(elementwise_and_running) {
  wire product = onnx_node("CumProd", "", "x a", "z");
  onnx_int(&product, "exclusive", 1);
  onnx_int(&product, "reverse", 1);
  expect(product, NULL, 26, PORTS({'f', "x", "N", "3", "2 3 4"}, {'c', "a", NULL, NULL, "0"}), "z",
         VALUES("12 4 1"));
  wire bits = onnx_node("BitCast", "", "x", "z");
  onnx_int(&bits, "to", 6);
  expect(bits, NULL, 26, PORTS({'f', "x", "2", NULL, "1 -2"}), "z",
         VALUES("1065353216 -1073741824"));
  bits = onnx_node("BitCast", "", "x", "z");
  onnx_int(&bits, "to", 7);
  expect_refusal(bits, 26, PORTS({'f', "x", "2", NULL, ""}), "z", TSR_ERR_TYPE,
                 "from 32 to 64 bits");
  wire gate = onnx_node("SwiGLU", "", "a b", "z");
  expect(gate, NULL, 28, PORTS({'f', "a", "N", "2", "0 1"}, {'f', "b", "N", "2", "3 2"}), "z",
         VALUES("0 1.46211716"));
}
END_TEST

START_TEST(images) {
  expect(onnx_node("CenterCropPad", "", "x s", "z"), NULL, 18,
         PORTS({'f', "x", "N 2", "3 2", "1 2 3 4 5 6"}, {'c', "s", NULL, NULL, "2 5"}), "z",
         VALUES("0 1 2 0 0 0 3 4 0 0"));
  expect(onnx_node("Col2Im", "", "x s b", "z"), NULL, 18,
         PORTS({'f', "x", "N 2 2", "1 2 2", "1 2 3 4"}, {'c', "s", NULL, NULL, "3"},
               {'c', "b", NULL, NULL, "2"}),
         "z", VALUES("1 5 4"));
  wire grid = onnx_node("AffineGrid", "", "t s", "z");
  expect(grid, NULL, 20,
         PORTS({'f', "t", "N 2 3", "1 2 3", "1 0 0.5 0 2 0"}, {'c', "s", NULL, NULL, "1 1 1 2"}),
         "z", VALUES("0 0 1 0"));
  grid = onnx_node("AffineGrid", "", "t s", "z");
  onnx_int(&grid, "align_corners", 1);
  expect(grid, NULL, 20,
         PORTS({'f', "t", "N 2 3", "1 2 3", "1 0 0.5 0 2 0"}, {'c', "s", NULL, NULL, "1 1 1 2"}),
         "z", VALUES("-0.5 -2 1.5 -2"));
  /* half a row further down; below the image there are zeros */
  expect(onnx_node("DeformConv", "", "x w o", "z"), NULL, 22,
         PORTS({'f', "x", "N 1 2 2", "1 1 2 2", "1 2 3 4"}, {'f', "w", "1 1 1 1", NULL, "2"},
               {'f', "o", "N 2 2 2", "1 2 2 2", "0.5 0.5 0.5 0.5 0 0 0 0"}),
         "z", VALUES("4 6 3 4"));
}
END_TEST

START_TEST(determinants) {
  expect(onnx_node("Det", "", "x", "z"), NULL, 22,
         PORTS({'f', "x", "N 2 2", "2 2 2", "0 2 3 4 1 2 2 4"}), "z", VALUES("-6 0"));
  expect(onnx_node("Det", "", "x", "z"), NULL, 11,
         PORTS({'f', "x", "3 3", NULL, "2 0 1 1 3 2 1 1 4"}), "z", VALUES("18"));
  expect_refusal(onnx_node("Det", "", "x", "z"), 22, PORTS({'f', "x", "N N", NULL, ""}), "z",
                 TSR_ERR_UNSUPPORTED, "or an unknown number");
}
END_TEST

static wire tf_idf(const char *mode) {
  static const int64_t pool[] = {1, 2, 1, 1, 1, 2}, starts[] = {0, 2}, columns[] = {0, 1, 3, 2};
  wire n = onnx_node("TfIdfVectorizer", "", "x", "z");
  text_attribute(&n, "mode", mode);
  onnx_int_list(&n, "pool_int64s", pool, 6);
  onnx_int_list(&n, "ngram_counts", starts, 2);
  onnx_int_list(&n, "ngram_indexes", columns, 4);
  onnx_int(&n, "min_gram_length", 1);
  onnx_int(&n, "max_gram_length", 2);
  onnx_int(&n, "max_skip_count", 1);
  return n;
}

START_TEST(counts_of_n_grams) {
  /* 1 twice, 2 once, (1, 1) at distance 2 only, (1, 2) at distance 1, (2, 2) is not in the pool */
  expect(tf_idf("TF"), NULL, 9, PORTS({'i', "x", "C", "4", "1 2 1 3"}), "z", VALUES("2 1 1 1"));
  expect(tf_idf("IDF"), NULL, 9, PORTS({'i', "x", "N C", "2 2", "2 2 1 1"}), "z",
         VALUES("0 1 0 0 1 0 0 1"));
  static const int64_t twice[] = {5, 5}, start = 0, columns[] = {0, 1};
  wire again = onnx_node("TfIdfVectorizer", "", "x", "z"); /* the last entry of an n-gram counts */
  text_attribute(&again, "mode", "TF");
  onnx_int_list(&again, "pool_int64s", twice, 2);
  onnx_int_list(&again, "ngram_counts", &start, 1);
  onnx_int_list(&again, "ngram_indexes", columns, 2);
  expect(again, NULL, 9, PORTS({'i', "x", "3", NULL, "5 4 5"}), "z", VALUES("0 2"));
  wire words = onnx_node("TfIdfVectorizer", "", "x", "z");
  expect_refusal(words, 9, PORTS({'i', "x", "4", NULL, ""}), "z", TSR_ERR_FORMAT,
                 "pool_int64s is missing");
}
END_TEST

START_TEST(unique_elements_and_slices) {
  const port *x = PORTS({'f', "x", "N", "6", "2 1 1 3 4 3"});
  expect(onnx_node("Unique", "", "x", "y i v c"), NULL, 11, x, "y i v c",
         VALUES("1 2 3 4", "1 0 3 4", "1 0 0 2 3 2", "2 1 2 1"));
  wire unsorted = onnx_node("Unique", "", "x", "y i v c");
  onnx_int(&unsorted, "sorted", 0);
  expect(unsorted, NULL, 11, x, "y i v c", VALUES("2 1 3 4", "0 1 3 4", "0 1 1 2 3 2", "1 2 2 1"));
  wire rows = onnx_node("Unique", "", "x", "y i v c");
  onnx_int(&rows, "axis", 0);
  expect(rows, NULL, 11, PORTS({'f', "x", "N 2", "3 2", "1 0 1 0 0 3"}), "y i v c",
         VALUES("0 3 1 0", "2 0", "1 1 0", "1 2"));
  expect(onnx_node("Unique", "", "x", "y i v c"), NULL, 11, PORTS({'f', "x", "2", NULL, "nan nan"}),
         "y i v c", VALUES("nan", "0", "0 0", "2"));
}
END_TEST

START_TEST(signals) {
  /* half the spectrum of 1 2 3 4 */
  wire dft = onnx_node("DFT", "", "x", "z");
  onnx_int(&dft, "inverse", 1);
  onnx_int(&dft, "onesided", 1);
  expect(dft, NULL, 20, PORTS({'f', "x", "N 3 2", "1 3 2", "10 0 -2 2 -2 0"}), "z",
         VALUES("1 2 3 4"));
  /* corners at bins 0, 1 and 2 */
  expect(onnx_node("MelWeightMatrix", "", "m n r l u", "z"), NULL, 17,
         PORTS({'c', "m", NULL, NULL, "1"}, {'c', "n", NULL, NULL, "8"},
               {'c', "r", NULL, NULL, "8"}, {'c', "l", NULL, NULL, "0"},
               {'c', "u", NULL, NULL, "4"}),
         "z", VALUES("0 1 0 0 0"));
}
END_TEST

START_TEST(regions_and_features) {
  const port *ports = PORTS({'f', "x", "1 1 2 2", NULL, "1 2 3 4"},
                            {'f', "r", "N 4", "1 4", "0 0 1 1"}, {'i', "b", "N", "1", "0"});
  static const char *const modes[] = {"max", "avg"}, *const wanted[] = {"1", "2.5"};
  for (int i = 0; i < 2; i++) { /* the one sample is in the middle */
    wire align = onnx_node("RoiAlign", "", "x r b", "z");
    text_attribute(&align, "mode", modes[i]);
    text_attribute(&align, "coordinate_transformation_mode", "output_half_pixel");
    onnx_int(&align, "sampling_ratio", 1);
    expect(align, NULL, 22, ports, "z", &wanted[i]);
  }
  expect(onnx_node("ArrayFeatureExtractor", "", "x i", "z"), "ai.onnx.ml", 1,
         PORTS({'f', "x", "N 3", "2 3", "1 2 3 4 5 6"}, {'i', "i", "2", NULL, "2 0"}), "z",
         VALUES("3 1 6 4"));
  wire binarizer = onnx_node("Binarizer", "", "x", "z");
  onnx_float(&binarizer, "threshold", 1);
  expect(binarizer, "ai.onnx.ml", 1, PORTS({'f', "x", "N", "3", "0.5 1 2"}), "z", VALUES("0 0 1"));
}
END_TEST

static void tensor_attribute(wire *node, const char *name, const int64_t *values, unsigned count) {
  wire a = {0};
  wire_text(&a, 1, name);
  wire_message(&a, 5, onnx_ints("", values, count));
  wire_int(&a, 20, 4);
  wire_message(node, 5, a);
}

/* x0 <= 3 ? leaf 0 : x1 > 5 ? leaf 1 : leaf 2, and x0 == 7 ? leaf 3 : leaf 4. */
static wire two_trees(void) {
  static const int64_t features[] = {0, 1, 0}, splits[] = {3, 5, 7}, modes[] = {0, 3, 4};
  static const int64_t yes[] = {0, 1, 3}, no[] = {1, 2, 4}, leafy[] = {1, 1, 1},
                       mixed[] = {0, 1, 1};
  static const int64_t roots[] = {0, 2}, targets[] = {0, 1, 0, 1, 1};
  static const int64_t weights[] = {1, 10, 100, 1000, 10000};
  wire n = onnx_node("TreeEnsemble", "", "x", "z");
  tensor_attribute(&n, "nodes_splits", splits, 3);
  tensor_attribute(&n, "nodes_modes", modes, 3);
  tensor_attribute(&n, "leaf_weights", weights, 5);
  onnx_int_list(&n, "nodes_featureids", features, 3);
  onnx_int_list(&n, "nodes_truenodeids", yes, 3);
  onnx_int_list(&n, "nodes_falsenodeids", no, 3);
  onnx_int_list(&n, "nodes_trueleafs", leafy, 3);
  onnx_int_list(&n, "nodes_falseleafs", mixed, 3);
  onnx_int_list(&n, "leaf_targetids", targets, 5);
  onnx_int_list(&n, "tree_roots", roots, 2);
  onnx_int(&n, "n_targets", 2);
  return n;
}

START_TEST(trees) {
  const port *rows = PORTS({'f', "x", "N 2", "3 2", "2 0 7 6 4 5"});
  static const char *const sums[] = {"1 10000 0 1010 100 10000"};
  static const char *const means[] = {"0.5 5000 0 505 50 5000"};
  expect(two_trees(), "ai.onnx.ml", 5, rows, "z", sums);
  wire mean = two_trees();
  onnx_int(&mean, "aggregate_function", 0);
  expect(mean, "ai.onnx.ml", 5, rows, "z", means);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("ONNX operators");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, linear_attention_rules);
  tcase_add_test(tests, carried_states);
  tcase_add_test(tests, flex_attention_calls_subgraphs);
  tcase_add_test(tests, elementwise_and_running);
  tcase_add_test(tests, images);
  tcase_add_test(tests, determinants);
  tcase_add_test(tests, counts_of_n_grams);
  tcase_add_test(tests, unique_elements_and_slices);
  tcase_add_test(tests, signals);
  tcase_add_test(tests, regions_and_features);
  tcase_add_test(tests, trees);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed > 0;
}
