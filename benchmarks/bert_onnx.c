/* Writes a BERT encoder with random weights as an ONNX file, in the operators that exporters use:
 *
 *   bert_onnx OUT.onnx [LAYERS [f32|f16 [SEQUENCE]]]      12 layers, f32, sequences of 128
 *
 * Width 768, 12 heads, feed-forward 3072, vocabulary 30522, a symbolic batch; inputs input_ids,
 * token_type_ids and attention_mask, output last_hidden_state. Links nothing; the bytes depend on
 * the arguments alone. ONNX is protobuf: fields of (number, wire type), lengths before contents. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 768, HEADS = 12, HEAD = WIDTH / HEADS, INNER = 3072, WORDS = 30522, OPSET = 17 };
enum { ELEM_F32 = 1, ELEM_I64 = 7, ELEM_F16 = 10 };

/* --- bytes --- */

typedef struct bytes {
  unsigned char *data;
  size_t used, capacity;
} bytes;

static void die(const char *what) {
  fprintf(stderr, "error: %s\n", what);
  exit(1);
}

static void put(bytes *b, const void *data, size_t size) {
  if (b->used + size > b->capacity) {
    b->capacity = 2 * (b->used + size);
    b->data = realloc(b->data, b->capacity);
    if (b->data == NULL)
      die("out of memory");
  }
  memcpy(b->data + b->used, data, size);
  b->used += size;
}

static void put_varint(bytes *b, uint64_t value) {
  do {
    unsigned char byte = (unsigned char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
    put(b, &byte, 1);
    value >>= 7;
  } while (value != 0);
}

static void put_int(bytes *b, unsigned field, int64_t value) {
  put_varint(b, field << 3);
  put_varint(b, (uint64_t)value);
}

static void put_float(bytes *b, unsigned field, float value) {
  put_varint(b, field << 3 | 5);
  put(b, &value, sizeof value);
}

static void put_head(bytes *b, unsigned field, uint64_t size) {
  put_varint(b, field << 3 | 2);
  put_varint(b, size);
}

static void put_text(bytes *b, unsigned field, const char *text) {
  put_head(b, field, strlen(text));
  put(b, text, strlen(text));
}

/* Takes `part`'s memory. */
static void put_message(bytes *b, unsigned field, bytes *part) {
  put_head(b, field, part->used);
  put(b, part->data, part->used);
  free(part->data);
  *part = (bytes){0};
}

/* --- the model --- */

typedef struct weight {
  char name[96];
  int64_t dims[2];
  unsigned rank;
  float scale, offset; /* elements are offset + scale * (-1..1) */
  bytes head;          /* TensorProto but for raw_data */
  uint64_t raw_bytes;
} weight;

typedef struct model {
  bytes graph; /* all of it but for the weights, which follow */
  weight *weights;
  size_t weight_count, weight_capacity;
  int elem;
  unsigned nodes;
  char prefix[64];
} model;

static unsigned elem_bytes(const model *m) {
  return m->elem == ELEM_F32 ? 4 : 2;
}

/* "layer.3/query" */
static const char *name_of(const model *m, char *out, size_t size, const char *what) {
  snprintf(out, size, "%s%s", m->prefix, what);
  return out;
}

typedef enum attribute_kind { NONE, INT, FLOAT, INTS } attribute_kind;
typedef struct attribute {
  attribute_kind kind;
  const char *name;
  int64_t i, ints[4];
  float f;
} attribute;

static void put_attribute(bytes *node, const attribute *a) {
  static const int types[] = {0, 2, 1, 7};
  bytes part = {0};
  put_text(&part, 1, a->name);
  if (a->kind == INT)
    put_int(&part, 3, a->i);
  else if (a->kind == FLOAT)
    put_float(&part, 2, a->f);
  for (unsigned i = 0; a->kind == INTS && i < 4; i++)
    put_int(&part, 8, a->ints[i]);
  put_int(&part, 20, types[a->kind]);
  put_message(node, 5, &part);
}

/* OP(inputs...) -> PREFIX/OUTPUT; returns the output's name in `out`. Inputs end with NULL. */
static void add_node(model *m, char *out, size_t size, const char *op, const char *output,
                     const attribute *a, ...) {
  bytes node = {0};
  char name[128];
  const char *input;
  va_list inputs;
  name_of(m, out, size, output);
  va_start(inputs, a);
  while ((input = va_arg(inputs, const char *)) != NULL)
    put_text(&node, 1, input);
  va_end(inputs);
  put_text(&node, 2, out);
  snprintf(name, sizeof name, "%s_%u", op, m->nodes++);
  put_text(&node, 3, name);
  put_text(&node, 4, op);
  if (a != NULL)
    put_attribute(&node, a);
  put_message(&m->graph, 1, &node);
}

static const char *add_weight(model *m, char *out, size_t size, const char *what, int64_t rows,
                              int64_t columns, float scale, float offset) {
  if (m->weight_count == m->weight_capacity) {
    m->weight_capacity = 2 * m->weight_capacity + 64;
    m->weights = realloc(m->weights, m->weight_capacity * sizeof *m->weights);
    if (m->weights == NULL)
      die("out of memory");
  }
  weight *w = &m->weights[m->weight_count++];
  *w = (weight){.rank = rows > 0 ? 2 : 1, .scale = scale, .offset = offset};
  name_of(m, w->name, sizeof w->name, what);
  w->dims[0] = rows > 0 ? rows : columns;
  w->dims[1] = columns;
  for (unsigned i = 0; i < w->rank; i++)
    put_int(&w->head, 1, w->dims[i]);
  put_int(&w->head, 2, m->elem);
  put_text(&w->head, 8, w->name);
  w->raw_bytes = (uint64_t)(rows > 0 ? rows : 1) * (uint64_t)columns * elem_bytes(m);
  snprintf(out, size, "%s", w->name);
  return out;
}

/* A small constant whose data are given, of the model's type or i64. */
static const char *add_constant(model *m, char *out, size_t size, const char *what, int elem,
                                const int64_t *dims, unsigned rank, const void *data,
                                size_t data_bytes) {
  bytes tensor = {0};
  name_of(m, out, size, what);
  for (unsigned i = 0; i < rank; i++)
    put_int(&tensor, 1, dims[i]);
  put_int(&tensor, 2, elem);
  put_text(&tensor, 8, out);
  put_head(&tensor, 9, data_bytes);
  put(&tensor, data, data_bytes);
  put_message(&m->graph, 5, &tensor);
  return out;
}

/* Rounds to nearest even; the weights here are small and never subnormal sums of note. */
static uint16_t half_of(float value) {
  _Float16 half = (_Float16)value;
  uint16_t bits;
  memcpy(&bits, &half, sizeof bits);
  return bits;
}

static const char *add_scalar(model *m, char *out, size_t size, const char *what, float value) {
  uint16_t half = half_of(value);
  return add_constant(m, out, size, what, m->elem, NULL, 0,
                      m->elem == ELEM_F32 ? (const void *)&value : (const void *)&half,
                      elem_bytes(m));
}

enum { NAME = 128 };

/* x W + b */
static void dense(model *m, char *out, const char *what, const char *x, int rows, int columns) {
  char w[NAME], b[NAME], product[NAME], label[64];
  snprintf(label, sizeof label, "%s.weight", what);
  add_weight(m, w, NAME, label, rows, columns, 0.035f, 0);
  snprintf(label, sizeof label, "%s.bias", what);
  add_weight(m, b, NAME, label, 0, columns, 0.02f, 0);
  snprintf(label, sizeof label, "%s.product", what);
  add_node(m, product, NAME, "MatMul", label, NULL, x, w, NULL);
  add_node(m, out, NAME, "Add", what, NULL, b, product, NULL);
}

static void layer_norm(model *m, char *out, const char *what, const char *x) {
  char scale[NAME], bias[NAME], label[64];
  attribute epsilon = {.kind = FLOAT, .name = "epsilon", .f = 1e-5f};
  snprintf(label, sizeof label, "%s.weight", what);
  add_weight(m, scale, NAME, label, 0, WIDTH, 0.1f, 1);
  snprintf(label, sizeof label, "%s.bias", what);
  add_weight(m, bias, NAME, label, 0, WIDTH, 0.02f, 0);
  add_node(m, out, NAME, "LayerNormalization", what, &epsilon, x, scale, bias, NULL);
}

/* [batch, sequence, width] -> [batch, heads, sequence, head], or the last two axes exchanged. */
static void split_heads(model *m, char *out, const char *what, const char *x, const char *shape,
                        bool transposed) {
  char split[NAME], label[64];
  attribute order = {
      .kind = INTS, .name = "perm", .ints = {0, 2, transposed ? 3 : 1, transposed ? 1 : 3}};
  snprintf(label, sizeof label, "%s.split", what);
  add_node(m, split, NAME, "Reshape", label, NULL, x, shape, NULL);
  snprintf(label, sizeof label, "%s.heads", what);
  add_node(m, out, NAME, "Transpose", label, &order, split, NULL);
}

static void attention(model *m, char *out, const char *x, const char *mask, const char *split,
                      const char *joined) {
  char q[NAME], k[NAME], v[NAME], a[NAME], b[NAME], root[NAME];
  attribute last = {.kind = INT, .name = "axis", .i = -1};
  attribute back = {.kind = INTS, .name = "perm", .ints = {0, 2, 1, 3}};
  dense(m, a, "query", x, WIDTH, WIDTH);
  split_heads(m, q, "query", a, split, false);
  dense(m, a, "key", x, WIDTH, WIDTH);
  split_heads(m, k, "key", a, split, true);
  dense(m, a, "value", x, WIDTH, WIDTH);
  split_heads(m, v, "value", a, split, false);
  add_node(m, a, NAME, "MatMul", "scores", NULL, q, k, NULL);
  add_scalar(m, root, NAME, "root", 8);
  add_node(m, b, NAME, "Div", "scaled", NULL, a, root, NULL);
  add_node(m, a, NAME, "Add", "masked", NULL, b, mask, NULL);
  add_node(m, b, NAME, "Softmax", "weights", &last, a, NULL);
  add_node(m, a, NAME, "MatMul", "context", NULL, b, v, NULL);
  add_node(m, b, NAME, "Transpose", "context.order", &back, a, NULL);
  add_node(m, a, NAME, "Reshape", "context.joined", NULL, b, joined, NULL);
  dense(m, out, "output", a, WIDTH, WIDTH);
}

/* x / 2 * (1 + erf(x / sqrt 2)) */
static void gelu(model *m, char *out, const char *x) {
  char a[NAME], b[NAME], constant[NAME];
  add_scalar(m, constant, NAME, "sqrt2", 1.41421356f);
  add_node(m, a, NAME, "Div", "gelu.div", NULL, x, constant, NULL);
  add_node(m, b, NAME, "Erf", "gelu.erf", NULL, a, NULL);
  add_scalar(m, constant, NAME, "one", 1);
  add_node(m, a, NAME, "Add", "gelu.add", NULL, b, constant, NULL);
  add_node(m, b, NAME, "Mul", "gelu.mul", NULL, x, a, NULL);
  add_scalar(m, constant, NAME, "half", 0.5f);
  add_node(m, out, NAME, "Mul", "gelu", NULL, b, constant, NULL);
}

static void layer(model *m, char *x, const char *mask, const char *split, const char *joined) {
  char a[NAME], b[NAME], first[NAME];
  attention(m, a, x, mask, split, joined);
  add_node(m, b, NAME, "Add", "attention.residual", NULL, a, x, NULL);
  layer_norm(m, first, "attention.norm", b);
  dense(m, a, "intermediate", first, WIDTH, INNER);
  gelu(m, b, a);
  dense(m, a, "feed", b, INNER, WIDTH);
  add_node(m, b, NAME, "Add", "residual", NULL, a, first, NULL);
  layer_norm(m, x, "norm", b);
}

static void embed(model *m, char *out, int64_t sequence) {
  char table[NAME], words[NAME], types[NAME], sum[NAME], at[NAME];
  attribute rows = {.kind = INT, .name = "axis", .i = 0};
  add_weight(m, table, NAME, "words", WORDS, WIDTH, 0.035f, 0);
  add_node(m, words, NAME, "Gather", "words.rows", &rows, table, "input_ids", NULL);
  add_weight(m, table, NAME, "types", 2, WIDTH, 0.035f, 0);
  add_node(m, types, NAME, "Gather", "types.rows", &rows, table, "token_type_ids", NULL);
  add_node(m, sum, NAME, "Add", "sum", NULL, words, types, NULL);
  add_weight(m, table, NAME, "positions", sequence, WIDTH, 0.035f, 0);
  add_node(m, at, NAME, "Add", "positions.sum", NULL, sum, table, NULL);
  layer_norm(m, out, "norm", at);
}

/* 0 where attention_mask is 1, very negative where it is 0: [batch, 1, 1, sequence]. */
static void make_mask(model *m, char *out) {
  char axes[NAME], wide[NAME], number[NAME], one[NAME], far[NAME], turned[NAME];
  const int64_t inserted[] = {1, 2}, two = 2;
  attribute to = {.kind = INT, .name = "to", .i = m->elem};
  add_constant(m, axes, NAME, "axes", ELEM_I64, &two, 1, inserted, sizeof inserted);
  add_node(m, wide, NAME, "Unsqueeze", "wide", NULL, "attention_mask", axes, NULL);
  add_node(m, number, NAME, "Cast", "number", &to, wide, NULL);
  add_scalar(m, one, NAME, "one", 1);
  add_node(m, turned, NAME, "Sub", "turned", NULL, one, number, NULL);
  add_scalar(m, far, NAME, "far", -10000);
  add_node(m, out, NAME, "Mul", "mask", NULL, turned, far, NULL);
}

static void add_port(model *m, unsigned field, const char *name, int elem, int64_t sequence,
                     int64_t width) {
  bytes port = {0}, type = {0}, tensor = {0}, shape = {0}, dim = {0};
  put_text(&dim, 2, "batch");
  put_message(&shape, 1, &dim);
  put_int(&dim, 1, sequence);
  put_message(&shape, 1, &dim);
  if (width > 0) {
    put_int(&dim, 1, width);
    put_message(&shape, 1, &dim);
  }
  put_int(&tensor, 1, elem);
  put_message(&tensor, 2, &shape);
  put_message(&type, 1, &tensor);
  put_text(&port, 1, name);
  put_message(&port, 2, &type);
  put_message(&m->graph, field, &port);
}

static void build(model *m, int layers, int64_t sequence) {
  char x[NAME], mask[NAME], split[NAME], joined[NAME], out[NAME];
  const int64_t heads[] = {0, 0, HEADS, HEAD}, flat[] = {0, 0, WIDTH}, four = 4, three = 3;
  put_text(&m->graph, 2, "bert");
  add_port(m, 11, "input_ids", ELEM_I64, sequence, 0);
  add_port(m, 11, "token_type_ids", ELEM_I64, sequence, 0);
  add_port(m, 11, "attention_mask", ELEM_I64, sequence, 0);
  add_constant(m, split, NAME, "split", ELEM_I64, &four, 1, heads, sizeof heads);
  add_constant(m, joined, NAME, "joined", ELEM_I64, &three, 1, flat, sizeof flat);
  snprintf(m->prefix, sizeof m->prefix, "embeddings/");
  embed(m, x, sequence);
  snprintf(m->prefix, sizeof m->prefix, "mask/");
  make_mask(m, mask);
  for (int i = 0; i < layers; i++) {
    snprintf(m->prefix, sizeof m->prefix, "layer.%d/", i);
    layer(m, x, mask, split, joined);
  }
  m->prefix[0] = '\0';
  add_node(m, out, NAME, "Identity", "last_hidden_state", NULL, x, NULL);
  add_port(m, 12, "last_hidden_state", m->elem, sequence, WIDTH);
}

/* --- writing --- */

static uint64_t varint_bytes(uint64_t value) {
  uint64_t count = 1;
  for (; value > 0x7f; value >>= 7)
    count++;
  return count;
}

/* The size of TensorProto with its raw_data, field 9. */
static uint64_t tensor_bytes(const weight *w) {
  return w->head.used + 1 + varint_bytes(w->raw_bytes) + w->raw_bytes;
}

static uint64_t random_state = 0x9e3779b97f4a7c15u;

/* -1..1, of 24 bits. */
static float random_float(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (float)(int32_t)((random_state >> 40) - (1 << 23)) / (float)(1 << 23);
}

static void write_raw(FILE *file, const weight *w, int elem) {
  static union {
    float singles[4096];
    uint16_t halves[4096];
  } block;
  uint64_t size = elem == ELEM_F32 ? 4 : 2, count = w->raw_bytes / size;
  while (count > 0) {
    uint64_t now = count < 4096 ? count : 4096;
    for (uint64_t i = 0; i < now; i++) {
      float value = w->offset + w->scale * random_float();
      if (elem == ELEM_F32)
        block.singles[i] = value;
      else
        block.halves[i] = half_of(value);
    }
    if (fwrite(&block, size, now, file) != now)
      die("the file could not be written");
    count -= now;
  }
}

static void flush(FILE *file, bytes *b) {
  if (fwrite(b->data, 1, b->used, file) != b->used)
    die("the file could not be written");
  b->used = 0;
}

static void write_model(const model *m, FILE *file) {
  bytes head = {0}, opset = {0};
  uint64_t total = m->graph.used;
  for (size_t i = 0; i < m->weight_count; i++)
    total += 1 + varint_bytes(tensor_bytes(&m->weights[i])) + tensor_bytes(&m->weights[i]);
  put_int(&head, 1, 8);
  put_text(&head, 2, "bert_onnx");
  put_int(&opset, 2, OPSET);
  put_message(&head, 8, &opset);
  put_head(&head, 7, total);
  put(&head, m->graph.data, m->graph.used);
  flush(file, &head);
  for (size_t i = 0; i < m->weight_count; i++) {
    const weight *w = &m->weights[i];
    put_head(&head, 5, tensor_bytes(w));
    put(&head, w->head.data, w->head.used);
    put_head(&head, 9, w->raw_bytes);
    flush(file, &head);
    write_raw(file, w, m->elem);
    free(w->head.data);
  }
  free(head.data);
}

int main(int argc, char **argv) {
  int layers = argc > 2 ? atoi(argv[2]) : 12;
  const char *type = argc > 3 ? argv[3] : "f32";
  int64_t sequence = argc > 4 ? atoi(argv[4]) : 128;
  bool known = strcmp(type, "f32") == 0 || strcmp(type, "f16") == 0;
  if (argc < 2 || argc > 5 || layers < 1 || sequence < 1 || !known) {
    fprintf(stderr, "usage: bert_onnx OUT.onnx [LAYERS [f32|f16 [SEQUENCE]]]\n");
    return 2;
  }
  model m = {.elem = strcmp(type, "f16") == 0 ? ELEM_F16 : ELEM_F32};
  FILE *file = fopen(argv[1], "wb");
  if (file == NULL)
    die("the file cannot be opened");
  build(&m, layers, sequence);
  write_model(&m, file);
  free(m.graph.data);
  free(m.weights);
  return fclose(file) == 0 ? 0 : 1;
}
