/* Small ONNX models, each wrong in one way, written to files. */
#ifndef TSR_TESTS_ERROR_BAD_MODELS_H
#define TSR_TESTS_ERROR_BAD_MODELS_H
#include "tests/onnx/model_writer.h"
#include <check.h>
#include <stdio.h>

#define HUGE_DIM "4611686018427387904"

static inline void save(const char *path, const void *bytes, size_t size) {
  FILE *file = fopen(path, "wb");
  ck_assert_msg(file != NULL, "cannot create %s", path);
  ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
  ck_assert_int_eq(fclose(file), 0);
}

static inline void save_text(const char *path, const char *text) {
  save(path, text, strlen(text));
}

/* Takes `model`. */
static inline void save_model(const char *path, wire model) {
  save(path, model.data, model.size);
  free(model.data);
}

/* An output whose type is left open. */
static inline void open_output(wire *graph, const char *name) {
  wire info = {0};
  wire_text(&info, 1, name);
  onnx_add_output(graph, info);
}

static inline wire node_graph(wire node, const char *x, const char *y) {
  wire g = {0};
  onnx_add_node(&g, node);
  if (x)
    onnx_add_input(&g, onnx_value("x", ONNX_FLOAT, x));
  if (y)
    onnx_add_input(&g, onnx_value("y", ONNX_FLOAT, y));
  open_output(&g, "z");
  return g;
}

/* One node from float inputs x and y of the given dims (NULL: none) to z. */
static inline wire node_model(wire node, const char *x, const char *y) {
  return onnx_model(node_graph(node, x, y), 17);
}

static inline wire add_model(const char *x, const char *y) {
  return node_model(onnx_node("Add", "sum", "x y", "z"), x, y);
}

static inline wire good_model(void) {
  return add_model("N 3", "N 3");
}

static inline wire cyclic_model(void) {
  wire g = {0};
  onnx_add_node(&g, onnx_node("Add", "first", "x b", "a"));
  onnx_add_node(&g, onnx_node("Exp", "second", "a", "b"));
  onnx_add_input(&g, onnx_value("x", ONNX_FLOAT, "2"));
  open_output(&g, "b");
  return onnx_model(g, 17);
}

static inline wire mixed_types_model(void) {
  wire g = node_graph(onnx_node("Add", "sum", "x n", "z"), "2", NULL);
  onnx_add_input(&g, onnx_value("n", ONNX_INT64, "2"));
  return onnx_model(g, 17);
}

/* A weight w of two floats, which Add uses; `location` NULL: without data. */
static inline wire external_model(const char *location) {
  wire g = node_graph(onnx_node("Add", "sum", "x w", "z"), "2", NULL), t = {0}, entry = {0};
  wire_int(&t, 1, 2);
  wire_int(&t, 2, ONNX_FLOAT);
  wire_text(&t, 8, "w");
  if (location) {
    wire_text(&entry, 1, "location");
    wire_text(&entry, 2, location);
    wire_message(&t, 13, entry);
    wire_int(&t, 14, 1);
  }
  onnx_add_initializer(&g, t);
  return onnx_model(g, 17);
}

/* A weight of 2^62 by 4 elements. */
static inline wire huge_weight_model(void) {
  wire g = node_graph(onnx_node("Add", "sum", "x w", "z"), "2", NULL), t = {0};
  wire_int(&t, 1, (int64_t)1 << 62);
  wire_int(&t, 1, 4);
  wire_int(&t, 2, ONNX_FLOAT);
  wire_text(&t, 8, "w");
  onnx_add_initializer(&g, t);
  return onnx_model(g, 17);
}

/* An op that takes a shape, with the shape of two constant dims. */
static inline wire shape_model(const char *op, int64_t first, int64_t second) {
  const int64_t dims[2] = {first, second};
  bool fills = strcmp(op, "ConstantOfShape") == 0;
  wire g = node_graph(onnx_node(op, "grow", fills ? "s" : "x s", "z"), "1 1", NULL);
  onnx_add_initializer(&g, onnx_ints("s", dims, 2));
  return onnx_model(g, 17);
}

static inline wire deep_model(void) {
  wire graph = {0};
  for (int i = 0; i < 500; i++) {
    wire node = onnx_node("If", "", "c", "z"), outer = {0};
    onnx_graph_attribute(&node, "then_branch", graph);
    onnx_add_node(&outer, node);
    graph = outer;
  }
  return onnx_model(graph, 17);
}

static inline wire foreign_model(void) {
  wire node = onnx_node("Magic", "spell", "x", "z");
  wire_text(&node, 7, "somewhere");
  return node_model(node, "2", NULL);
}

static inline wire twice_model(void) {
  wire g = node_graph(onnx_node("Exp", "one", "x", "z"), "2", NULL);
  onnx_add_node(&g, onnx_node("Exp", "two", "x", "z"));
  return onnx_model(g, 17);
}

static inline wire declared_model(int64_t type) {
  wire g = {0};
  onnx_add_node(&g, onnx_node("Exp", "e", "x", "z"));
  onnx_add_input(&g, onnx_value("x", ONNX_FLOAT, "2"));
  onnx_add_output(&g, onnx_value("z", type, "2"));
  return onnx_model(g, 17);
}

/* `input` has the given type; 0 leaves it without one. */
static inline wire input_model(int64_t type) {
  wire g = {0}, bare = {0};
  onnx_add_node(&g, onnx_node("Exp", "e", "x", "z"));
  wire_text(&bare, 1, "x");
  if (type)
    free(bare.data);
  onnx_add_input(&g, type ? onnx_value("x", type, "2") : bare);
  open_output(&g, "z");
  return onnx_model(g, 17);
}

static inline wire attribute_model(const char *op, const char *name, int64_t value) {
  wire node = onnx_node(op, "picky", "x", "z");
  onnx_int(&node, name, value);
  return node_model(node, "2 3", NULL);
}

/* Writes the models and the files around them into the current folder. */
static inline void save_bad_models(void) {
  wire good = good_model();
  save("cut.onnx", good.data, good.size / 2);
  save("good.onnx", good.data, good.size);
  free(good.data);
  save("empty.onnx", "", 0);
  save_text("garbage.onnx", "\xff\xff\xff\xff this is no protobuf message at all");
  save("no-graph.onnx", "\x08\x08", 2);
  save_model("cyclic.onnx", cyclic_model());
  save_model("mixed.onnx", mixed_types_model());
  save_model("broadcast.onnx", add_model("2 3", "4 3"));
  save_model("matmul.onnx", node_model(onnx_node("MatMul", "mm", "x y", "z"), "2 3", "4 3"));
  save_model("logic.onnx", node_model(onnx_node("And", "both", "x y", "z"), "2", "2"));
  save_model("huge-input.onnx", add_model(HUGE_DIM " 4", HUGE_DIM " 4"));
  save_model("huge-outer.onnx", add_model(HUGE_DIM " 1", "1 " HUGE_DIM));
  save_model("huge-one.onnx", add_model(HUGE_DIM, HUGE_DIM));
  save_model("huge-weight.onnx", huge_weight_model());
  save_model("huge-fill.onnx", shape_model("ConstantOfShape", (int64_t)1 << 62, 4));
  save_model("huge-expand.onnx", shape_model("Expand", (int64_t)1 << 62, 4));
  save_model("huge-reshape.onnx", shape_model("Reshape", (int64_t)1 << 62, 4));
  save_model("negative-fill.onnx", shape_model("ConstantOfShape", -2, 4));
  save_model("missing-file.onnx", external_model("absent.bin"));
  save_model("absolute.onnx", external_model("/etc/passwd"));
  save_model("parent.onnx", external_model("../weights.bin"));
  save_model("link.onnx", external_model("link.bin"));
  save_model("folder.onnx", external_model("folder"));
  save_model("short-file.onnx", external_model("short.bin"));
  save_model("no-data.onnx", external_model(NULL));
  save_text("short.bin", "1234");
  save_model("unknown-op.onnx", node_model(onnx_node("Unheard", "odd", "x", "z"), "2", NULL));
  save_model("unknown-domain.onnx", foreign_model());
  save_model("new-opset.onnx",
             onnx_model(node_graph(onnx_node("Exp", "e", "x", "z"), "2", NULL), 999));
  save_model("gone-op.onnx", node_model(onnx_node("Upsample", "up", "x y", "z"), "2", "1"));
  save_model("undefined.onnx", node_model(onnx_node("Add", "sum", "x w", "z"), "2", NULL));
  save_model("twice.onnx", twice_model());
  save_model("declared-type.onnx", declared_model(ONNX_INT64));
  save_model("string-input.onnx", input_model(ONNX_STRING));
  save_model("no-type.onnx", input_model(0));
  save_model("odd-type.onnx", input_model(77));
  save_model("axis.onnx", attribute_model("Softmax", "axis", 5));
  save_model("deep.onnx", deep_model());
  save_model("rank.onnx", add_model("1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 2", "1"));
  save_model("inputs.onnx", node_model(onnx_node("Add", "sum", "x", "z"), "2", NULL));
}

#endif
