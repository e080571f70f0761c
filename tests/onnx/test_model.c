/* The ONNX reader on good and on hostile bytes. */
#include "frontend/onnx/onnx_model.h"
#include "frontend/onnx/value_pb.h"
#include "tests/onnx/wire_writer.h"
#include <check.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static wire tensor(const char *name, int64_t data_type, int64_t dim) {
  wire t = {0};
  wire_int(&t, 1, dim);
  wire_int(&t, 2, data_type);
  wire_text(&t, 8, name);
  return t;
}

static wire model_of(wire graph) {
  wire m = {0}, opset = {0};
  wire_int(&m, 1, 8);
  wire_int(&opset, 2, 17);
  wire_message(&m, 8, opset);
  wire_message(&m, 7, graph);
  return m;
}

static wire model_with(wire initializer) {
  wire graph = {0};
  wire_message(&graph, 5, initializer);
  return model_of(graph);
}

static tsr_status parse(wire bytes, tsr_onnx_model *model, tsr_diag *diag) {
  tsr_diag_clear(diag);
  return tsr_onnx_model_parse(model, tsr_allocator_default(), bytes.data, bytes.size, diag);
}

static void expect(wire bytes, tsr_status status, const char *message) {
  tsr_onnx_model model;
  tsr_diag diag;
  ck_assert_int_eq(parse(bytes, &model, &diag), status);
  ck_assert_msg(strstr(diag.message, message) != NULL, "'%s' is not in '%s'", message,
                diag.message);
  free(bytes.data);
}

START_TEST(raw_data_stays_in_place) {
  float values[3] = {1.5f, -2, 3};
  wire t = tensor("w", 1, 3);
  wire_blob(&t, 9, values, sizeof values);
  wire bytes = model_with(t);
  tsr_onnx_model model;
  tsr_diag diag;
  ck_assert_int_eq(parse(bytes, &model, &diag), TSR_OK);
  const tsr_onnx_tensor *w = &model.proto.graph->initializers.items[0];
  ck_assert_str_eq(w->name, "w");
  ck_assert_int_eq(w->dtype, TSR_F32);
  ck_assert_int_eq(w->elements, 3);
  ck_assert_uint_eq(w->bytes, sizeof values);
  ck_assert(memcmp(w->data, values, sizeof values) == 0);
  ck_assert((const uint8_t *)w->data >= bytes.data &&
            (const uint8_t *)w->data < bytes.data + bytes.size);
  ck_assert_int_eq(model.proto.opsets.items[0].version, 17);
  tsr_onnx_model_close(&model);
  free(bytes.data);
}
END_TEST

/* X(data_type, field, one value as a varint, bytes of an element, expected bits) */
START_TEST(typed_lists_are_converted) {
  static const struct {
    int64_t data_type;
    unsigned field;
    int64_t value;
    unsigned width;
  } rows[] = {{2, 5, 200, 1},          {3, 5, -3, 1},        {4, 5, 65535, 2},   {5, 5, -5, 2},
              {6, 5, -70000, 4},       {7, 7, INT64_MIN, 8}, {9, 5, 1, 1},       {10, 5, 0x3c00, 2},
              {12, 11, 4000000000, 4}, {13, 11, -1, 8},      {16, 5, 0x3f80, 2}, {17, 5, 0x38, 1}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    for (int packed = 0; packed < 2; packed++) {
      wire t = tensor("t", rows[i].data_type, 2), run = {0};
      for (int k = 0; k < 2; k++) {
        if (packed)
          wire_varint(&run, (uint64_t)rows[i].value);
        else
          wire_int(&t, rows[i].field, rows[i].value);
      }
      if (packed)
        wire_message(&t, rows[i].field, run);
      wire bytes = model_with(t);
      tsr_onnx_model model;
      tsr_diag diag;
      ck_assert_msg(parse(bytes, &model, &diag) == TSR_OK, "%s", diag.message);
      const tsr_onnx_tensor *read = &model.proto.graph->initializers.items[0];
      ck_assert_uint_eq(read->bytes, 2 * rows[i].width);
      for (int k = 0; k < 2; k++)
        ck_assert(memcmp((const char *)read->data + k * (int)rows[i].width, &rows[i].value,
                         rows[i].width) == 0);
      tsr_onnx_model_close(&model);
      free(bytes.data);
    }
}
END_TEST

START_TEST(strings_are_left_to_their_user) {
  wire t = tensor("s", 8, 1);
  wire_text(&t, 6, "text");
  wire bytes = model_with(t);
  tsr_onnx_model model;
  tsr_diag diag;
  ck_assert_int_eq(parse(bytes, &model, &diag), TSR_OK);
  ck_assert_int_eq(model.proto.graph->initializers.items[0].dtype, TSR_DTYPE_NONE);
  ck_assert_str_eq(tsr_onnx_dtype_name(8), "STRING");
  tsr_onnx_model_close(&model);
  free(bytes.data);
}
END_TEST

START_TEST(wrong_tensors_are_named) {
  wire t = tensor("w", 1, 3);
  wire_text(&t, 9, "123");
  expect(model_with(t), TSR_ERR_FORMAT, "tensor 'w' (FLOAT, 3 elements) has 3 bytes");
  expect(model_with(tensor("w", 1, 3)), TSR_ERR_FORMAT, "has 0 items of data where 3");
  expect(model_with(tensor("w", 1, -3)), TSR_ERR_SHAPE, "tensor 'w': dim 0 is negative (-3)");
  t = tensor("w", 1, INT64_MAX);
  expect(model_with(t), TSR_ERR_SHAPE, "size in bytes overflows");
  t = tensor("w", 1, (int64_t)1 << 62);
  wire_int(&t, 1, 4);
  expect(model_with(t), TSR_ERR_SHAPE, "product of its dims overflows");
}
END_TEST

START_TEST(hostile_bytes_are_refused) {
  wire empty = {0}, w = {0};
  expect(empty, TSR_ERR_FORMAT, "no graph");
  wire_bytes(&w, "\x3a\x7f", 2);
  expect(w, TSR_ERR_FORMAT, "a length reaches beyond the end");
  memset(&w, 0, sizeof w);
  wire_bytes(&w, "\x08\xff\xff", 3);
  expect(w, TSR_ERR_FORMAT, "a number is cut off");
  memset(&w, 0, sizeof w);
  wire_bytes(&w, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12);
  expect(w, TSR_ERR_FORMAT, "more than");
  memset(&w, 0, sizeof w);
  wire_bytes(&w, "\x0b\x0c", 2);
  expect(w, TSR_ERR_FORMAT, "groups");
  memset(&w, 0, sizeof w);
  wire_text(&w, 1, "an integer field");
  expect(w, TSR_ERR_FORMAT, "wrong wire type");
  memset(&w, 0, sizeof w);
  wire_text(&w, 7, "");
  wire_text(&w, 7, "");
  expect(w, TSR_ERR_FORMAT, "given twice");
}
END_TEST

START_TEST(deep_subgraphs_are_refused) {
  wire graph = {0};
  for (int i = 0; i < 2000; i++) {
    wire attribute = {0}, node = {0}, outer = {0};
    wire_message(&attribute, 6, graph);
    wire_message(&node, 5, attribute);
    wire_message(&outer, 1, node);
    graph = outer;
  }
  expect(model_of(graph), TSR_ERR_LIMIT, "nested deeper");
}
END_TEST

/* Every truncation of a model either decodes or fails with a message. */
START_TEST(truncations_never_crash) {
  float values[2] = {1, 2};
  wire t = tensor("w", 1, 2), node = {0}, graph = {0};
  wire_blob(&t, 9, values, sizeof values);
  wire_text(&node, 1, "w");
  wire_text(&node, 2, "y");
  wire_text(&node, 4, "Relu");
  wire_message(&graph, 5, t);
  wire_message(&graph, 1, node);
  wire bytes = model_of(graph);
  for (size_t size = 0; size < bytes.size; size++) {
    uint8_t *cut = malloc(size + 1);
    memcpy(cut, bytes.data, size);
    tsr_onnx_model model;
    tsr_diag diag;
    tsr_diag_clear(&diag);
    tsr_status status = tsr_onnx_model_parse(&model, tsr_allocator_default(), cut, size, &diag);
    if (status == TSR_OK)
      tsr_onnx_model_close(&model);
    else
      ck_assert(diag.message[0] != '\0');
    free(cut);
  }
  free(bytes.data);
}
END_TEST

static char folder[256];

static void make_folder(void) {
  const char *base = getenv("TESSERA_TEST_TMP");
  snprintf(folder, sizeof folder, "%s/onnx_model_XXXXXX", base ? base : "/tmp");
  ck_assert_ptr_nonnull(mkdtemp(folder));
}

static const char *in_folder(const char *name) {
  static char path[512];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static void write_file(const char *name, const void *bytes, size_t size) {
  FILE *file = fopen(in_folder(name), "wb");
  ck_assert_ptr_nonnull(file);
  ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
  fclose(file);
}

static void entry(wire *t, const char *key, const char *value) {
  wire e = {0};
  wire_text(&e, 1, key);
  wire_text(&e, 2, value);
  wire_message(t, 13, e);
}

static void write_external_model(const char *location, const char *offset, const char *length) {
  wire t = tensor("w", 1, 2);
  entry(&t, "location", location);
  if (offset)
    entry(&t, "offset", offset);
  if (length)
    entry(&t, "length", length);
  wire_int(&t, 14, 1);
  wire bytes = model_with(t);
  write_file("m.onnx", bytes.data, bytes.size);
  free(bytes.data);
}

static void expect_external(tsr_status status, const char *message) {
  tsr_onnx_model model;
  tsr_diag diag;
  tsr_diag_clear(&diag);
  ck_assert_int_eq(tsr_onnx_model_open(&model, tsr_allocator_default(), in_folder("m.onnx"), &diag),
                   status);
  ck_assert_msg(strstr(diag.message, message) != NULL, "'%s' is not in '%s'", message,
                diag.message);
  ck_assert_str_eq(diag.file, in_folder("m.onnx"));
}

START_TEST(external_data) {
  float values[4] = {0, 7, 8, 0};
  make_folder();
  write_file("w.bin", values, sizeof values);
  write_external_model("w.bin", "4", "8");
  tsr_onnx_model model;
  tsr_diag diag;
  tsr_diag_clear(&diag);
  ck_assert_int_eq(tsr_onnx_model_open(&model, tsr_allocator_default(), in_folder("m.onnx"), &diag),
                   TSR_OK);
  ck_assert(memcmp(model.proto.graph->initializers.items[0].data, values + 1, 8) == 0);
  tsr_onnx_model_close(&model);
  write_external_model("w.bin", "12", NULL);
  expect_external(TSR_ERR_FORMAT, "outside external file");
  write_external_model("w.bin", "18446744073709551615", NULL);
  expect_external(TSR_ERR_FORMAT, "outside external file");
  write_external_model("w.bin", "-4", NULL);
  expect_external(TSR_ERR_FORMAT, "external data offset '-4' is no size");
  write_external_model("w.bin", NULL, "16");
  expect_external(TSR_ERR_FORMAT, "has 16 bytes of data where 8 are needed");
  write_external_model("none.bin", NULL, NULL);
  expect_external(TSR_ERR_IO, "none.bin");
  write_external_model("/etc/passwd", NULL, NULL);
  expect_external(TSR_ERR_FORMAT, "'/etc/passwd' is refused");
  write_external_model("a/../../w.bin", NULL, NULL);
  expect_external(TSR_ERR_FORMAT, "is refused");
  ck_assert_int_eq(symlink("/etc/passwd", in_folder("link.bin")), 0);
  write_external_model("link.bin", NULL, NULL);
  expect_external(TSR_ERR_FORMAT, "outside the model's directory");
  ck_assert_int_eq(mkdir(in_folder("dir.bin"), 0700), 0);
  write_external_model("dir.bin", NULL, NULL);
  expect_external(TSR_ERR_IO, "not a regular file");
}
END_TEST

static tsr_status open_value(tsr_value_file *file, tsr_value_kind kind, wire *w, tsr_diag *diag) {
  write_file("input_0.pb", w->data, w->size);
  free(w->data);
  *w = (wire){0};
  tsr_diag_clear(diag);
  return tsr_value_file_open(file, tsr_allocator_default(), in_folder("input_0.pb"), kind, diag);
}

static wire number_tensor(int64_t number) {
  wire t = tensor("x", 7, 1);
  wire_int(&t, 7, number);
  return t;
}

static void expect_number(const tsr_onnx_tensor *tensor, int64_t number) {
  int64_t value = 0;
  ck_assert_int_eq(tensor->dtype, TSR_I64);
  memcpy(&value, tensor->data, sizeof value);
  ck_assert_int_eq(value, number);
}

START_TEST(value_files) {
  tsr_value_file file;
  tsr_diag diag;
  make_folder();
  wire w = number_tensor(-9);
  ck_assert_int_eq(open_value(&file, TSR_VALUE_TENSOR, &w, &diag), TSR_OK);
  ck_assert(!file.is_list && !file.absent);
  ck_assert_str_eq(file.name, "x");
  expect_number(&file.items[0], -9);
  tsr_value_file_close(&file);

  wire_text(&w, 1, "list");
  wire_int(&w, 2, 1);
  wire_message(&w, 3, number_tensor(4));
  wire_message(&w, 3, number_tensor(5));
  ck_assert_int_eq(open_value(&file, TSR_VALUE_SEQUENCE, &w, &diag), TSR_OK);
  ck_assert(file.is_list);
  ck_assert_uint_eq(file.count, 2);
  ck_assert_str_eq(file.name, "list");
  expect_number(&file.items[1], 5);
  tsr_value_file_close(&file);

  ck_assert_int_eq(open_value(&file, TSR_VALUE_SEQUENCE, &w, &diag), TSR_OK);
  ck_assert(file.is_list && !file.absent);
  ck_assert_uint_eq(file.count, 0);
  tsr_value_file_close(&file);

  wire sequence = {0};
  wire_message(&sequence, 3, number_tensor(6));
  wire_int(&w, 2, 3);
  wire_message(&w, 5, sequence);
  ck_assert_int_eq(open_value(&file, TSR_VALUE_OPTIONAL, &w, &diag), TSR_OK);
  ck_assert(file.is_list && !file.absent);
  expect_number(&file.items[0], 6);
  tsr_value_file_close(&file);

  wire_int(&w, 2, 1);
  wire_message(&w, 3, number_tensor(7));
  ck_assert_int_eq(open_value(&file, TSR_VALUE_OPTIONAL, &w, &diag), TSR_OK);
  ck_assert(!file.is_list && !file.absent);
  expect_number(&file.items[0], 7);
  tsr_value_file_close(&file);

  ck_assert_int_eq(open_value(&file, TSR_VALUE_OPTIONAL, &w, &diag), TSR_OK);
  ck_assert(file.absent);
  ck_assert_uint_eq(file.count, 0);
  tsr_value_file_close(&file);
}
END_TEST

START_TEST(files_of_texts) {
  tsr_value_file file;
  tsr_diag diag;
  make_folder();
  wire w = tensor("s", 8, 2);
  wire_text(&w, 6, "one");
  wire_text(&w, 6, "");
  ck_assert_int_eq(open_value(&file, TSR_VALUE_TENSOR, &w, &diag), TSR_OK);
  ck_assert(tsr_onnx_tensor_is_text(&file.items[0]));
  ck_assert_uint_eq(file.items[0].string_data.items[0].size, 3);
  tsr_value_file_close(&file);
  w = tensor("s", 8, 2);
  wire_text(&w, 6, "one");
  ck_assert_int_eq(open_value(&file, TSR_VALUE_TENSOR, &w, &diag), TSR_ERR_FORMAT);
  w = tensor("s", 8, 1);
  wire_blob(&w, 6, "a\0b", 3);
  ck_assert_int_eq(open_value(&file, TSR_VALUE_TENSOR, &w, &diag), TSR_ERR_UNSUPPORTED);
}
END_TEST

/* What these files may not hold, and lengths that reach beyond their end; each names the file. */
START_TEST(hostile_values_are_refused) {
  tsr_value_file file;
  tsr_diag diag;
  wire w = {0};
  make_folder();
  for (unsigned field = 4; field <= 7; field++) {
    wire_text(&w, field, "");
    ck_assert_int_eq(open_value(&file, TSR_VALUE_SEQUENCE, &w, &diag), TSR_ERR_UNSUPPORTED);
    if (field == 5)
      continue;
    wire_text(&w, field, "");
    ck_assert_int_eq(open_value(&file, TSR_VALUE_OPTIONAL, &w, &diag), TSR_ERR_UNSUPPORTED);
  }
  /* A thousand optionals in each other are no recursion: only their number counts. */
  wire deep = {0};
  for (int i = 0; i < 1000; i++) {
    wire outer = {0};
    wire_message(&outer, 7, deep);
    deep = outer;
  }
  ck_assert_int_eq(open_value(&file, TSR_VALUE_OPTIONAL, &deep, &diag), TSR_ERR_UNSUPPORTED);
  wire_varint(&w, 3 << 3 | 2);
  wire_varint(&w, UINT64_MAX);
  ck_assert_int_eq(open_value(&file, TSR_VALUE_SEQUENCE, &w, &diag), TSR_ERR_FORMAT);
  ck_assert_str_eq(diag.file, in_folder("input_0.pb"));
  wire_message(&w, 3, tensor("few", 7, 1000000));
  ck_assert_int_eq(open_value(&file, TSR_VALUE_SEQUENCE, &w, &diag), TSR_ERR_FORMAT);
  wire_message(&w, 3, number_tensor(1));
  wire_message(&w, 3, number_tensor(2));
  ck_assert_int_eq(open_value(&file, TSR_VALUE_OPTIONAL, &w, &diag), TSR_ERR_FORMAT);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("onnx_model");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, raw_data_stays_in_place);
  tcase_add_test(tests, typed_lists_are_converted);
  tcase_add_test(tests, strings_are_left_to_their_user);
  tcase_add_test(tests, wrong_tensors_are_named);
  tcase_add_test(tests, hostile_bytes_are_refused);
  tcase_add_test(tests, deep_subgraphs_are_refused);
  tcase_add_test(tests, truncations_never_crash);
  tcase_add_test(tests, external_data);
  tcase_add_test(tests, value_files);
  tcase_add_test(tests, files_of_texts);
  tcase_add_test(tests, hostile_values_are_refused);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
