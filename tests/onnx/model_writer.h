/* Small ONNX models for tests, in protobuf's wire format. */
#ifndef TSR_TESTS_ONNX_MODEL_WRITER_H
#define TSR_TESTS_ONNX_MODEL_WRITER_H
#include "tests/onnx/wire_writer.h"

enum { ONNX_FLOAT = 1, ONNX_INT64 = 7, ONNX_STRING = 8, ONNX_BOOL = 9, ONNX_COMPLEX64 = 14 };

/* Splits "a b c" into texts of field `field`; "-" stands for the empty name. */
static inline void wire_texts(wire *w, unsigned field, const char *names) {
  char copy[256], *rest = copy;
  strncpy(copy, names, sizeof copy - 1);
  copy[sizeof copy - 1] = '\0';
  for (char *name; (name = strtok_r(rest, " ", &rest)) != NULL;)
    wire_text(w, field, strcmp(name, "-") == 0 ? "" : name);
}

static inline wire onnx_node(const char *op, const char *name, const char *inputs,
                             const char *outputs) {
  wire n = {0};
  wire_texts(&n, 1, inputs);
  wire_texts(&n, 2, outputs);
  wire_text(&n, 3, name);
  wire_text(&n, 4, op);
  return n;
}

static inline void onnx_int(wire *node, const char *name, int64_t value) {
  wire a = {0};
  wire_text(&a, 1, name);
  wire_int(&a, 3, value);
  wire_int(&a, 20, 2);
  wire_message(node, 5, a);
}

static inline void onnx_int_list(wire *node, const char *name, const int64_t *values,
                                 unsigned count) {
  wire a = {0};
  wire_text(&a, 1, name);
  for (unsigned i = 0; i < count; i++)
    wire_int(&a, 8, values[i]);
  wire_int(&a, 20, 7);
  wire_message(node, 5, a);
}

static inline void onnx_float(wire *node, const char *name, float value) {
  wire a = {0};
  wire_text(&a, 1, name);
  wire_varint(&a, 2 << 3 | 5);
  wire_bytes(&a, &value, sizeof value);
  wire_int(&a, 20, 1);
  wire_message(node, 5, a);
}

static inline void onnx_graph_attribute(wire *node, const char *name, wire graph) {
  wire a = {0};
  wire_text(&a, 1, name);
  wire_message(&a, 6, graph);
  wire_int(&a, 20, 5);
  wire_message(node, 5, a);
}

/* `dims` as text: "2 N 3"; numbers are values, other words dim_params, "?" is unnamed. */
static inline wire onnx_value(const char *name, int64_t type, const char *dims) {
  wire shape = {0}, tensor = {0}, wrapped = {0}, info = {0};
  char copy[256], *rest = copy;
  strncpy(copy, dims, sizeof copy - 1);
  copy[sizeof copy - 1] = '\0';
  for (char *dim; (dim = strtok_r(rest, " ", &rest)) != NULL;) {
    wire d = {0};
    if (dim[0] >= '0' && dim[0] <= '9')
      wire_int(&d, 1, atoll(dim));
    else if (strcmp(dim, "?") != 0)
      wire_text(&d, 2, dim);
    wire_message(&shape, 1, d);
  }
  wire_int(&tensor, 1, type);
  wire_message(&tensor, 2, shape);
  wire_message(&wrapped, 1, tensor);
  wire_text(&info, 1, name);
  wire_message(&info, 2, wrapped);
  return info;
}

static inline wire onnx_ints(const char *name, const int64_t *numbers, unsigned count) {
  wire t = {0};
  wire_int(&t, 1, count);
  wire_int(&t, 2, ONNX_INT64);
  wire_text(&t, 8, name);
  wire_blob(&t, 9, numbers, count * sizeof *numbers);
  return t;
}

static inline wire onnx_model(wire graph, int64_t opset) {
  wire m = {0}, o = {0};
  wire_int(&m, 1, 8);
  wire_int(&o, 2, opset);
  wire_message(&m, 8, o);
  wire_message(&m, 7, graph);
  return m;
}

static inline void onnx_add_node(wire *graph, wire node) {
  wire_message(graph, 1, node);
}
static inline void onnx_add_initializer(wire *graph, wire tensor) {
  wire_message(graph, 5, tensor);
}
static inline void onnx_add_input(wire *graph, wire value) {
  wire_message(graph, 11, value);
}
static inline void onnx_add_output(wire *graph, wire value) {
  wire_message(graph, 12, value);
}

#endif
