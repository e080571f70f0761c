#include "tests/robust/dims_model.h"
#include "ir/eval.h"
#include "runtime/float_convert.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The kind of input `number`, found again by its order: 'f' unless a mark says otherwise. */
static char last_kinds[MOST_INPUTS];
static unsigned last_count;

void dims_add_input(wire *graph, const char *text, char *names) {
  char name[32];
  const char *dims = strchr(text, ' ');
  char mark = text[0];
  bool marked = mark == '?' || mark == '#' || mark == '@';
  text += marked;
  size_t length = dims != NULL ? (size_t)(dims - text) : strlen(text);
  ck_assert_uint_lt(length, sizeof name);
  memcpy(name, text, length);
  name[length] = '\0';
  if (names[0] == '\0')
    last_count = 0;
  last_kinds[last_count++] = marked ? mark : 'f';
  onnx_add_input(graph, onnx_value(name,
                                   mark == '?' ? ONNX_BOOL
                                   : marked    ? ONNX_INT64
                                               : ONNX_FLOAT,
                                   dims != NULL ? dims + 1 : ""));
  strcat(strcat(names, names[0] == '\0' ? "" : " "), name);
}

static void write_model(char *path, size_t bytes, wire model) {
  const char *folder = getenv("TESSERA_TEST_TMP");
  (void)snprintf(path, bytes, "%s/dims-%ld.onnx", folder != NULL ? folder : "/tmp", (long)getpid());
  FILE *file = fopen(path, "wb");
  ck_assert_msg(file != NULL, "cannot write %s", path);
  ck_assert_uint_eq(fwrite(model.data, 1, model.size, file), model.size);
  fclose(file);
  free(model.data);
}

static tsr_module *compile(dims_model *m, const tsr_dim_range *ranges, uint32_t range_count) {
  const char *target = m->target;
  tsr_compile_options options = {
      .targets = &target, .target_count = 1, .dims = ranges, .dim_count = range_count};
  tsr_context *context;
  void *bytes;
  size_t size;
  ck_assert_int_eq(tsr_context_create(NULL, &context), TSR_OK);
  tsr_status status = tsr_compile_file_to_memory(context, m->path, &options, &bytes, &size);
  ck_assert_msg(status == TSR_OK, "%s", tsr_context_error(context));
  tsr_module *module;
  tsr_message message;
  status = tsr_module_load_memory(bytes, size, NULL, &module, &message);
  ck_assert_msg(status == TSR_OK, "%s", message.text);
  tsr_bytes_release(context, bytes, size);
  tsr_context_destroy(context);
  return module;
}

void dims_open(dims_model *m, wire model, const char *target, const tsr_dim_range *ranges,
               uint32_t range_count) {
  tsr_diag diag;
  const char *driver = getenv("TESSERA_EMULATED_DRIVER");
  memset(m, 0, sizeof *m);
  memcpy(m->kinds, last_kinds, sizeof m->kinds);
  (void)snprintf(m->target, sizeof m->target, "%s", target);
  if (strncmp(target, "cuda", 4) == 0) {
    ck_assert_msg(driver != NULL, "TESSERA_EMULATED_DRIVER is the emulated driver's path");
    setenv("TESSERA_CUDA_DRIVER", driver, 1);
    setenv("TESSERA_EMULATED_SM", strstr(target, "sm_90") != NULL ? "90" : "80", 1);
  }
  write_model(m->path, sizeof m->path, model);
  tsr_diag_clear(&diag);
  ck_assert_msg(tsr_onnx_model_open(&m->onnx, tsr_allocator_default(), m->path, &diag) == TSR_OK,
                "%s", diag.message);
  tsr_import_dim dims[8];
  for (uint32_t i = 0; i < range_count; i++)
    dims[i] = (tsr_import_dim){ranges[i].name, ranges[i].lo, ranges[i].hi};
  tsr_import_options import = {.dims = dims, .dim_count = range_count};
  ck_assert_msg(tsr_onnx_import(&m->onnx, &import, tsr_allocator_default(), &diag, &m->ir) ==
                    TSR_OK,
                "%s", diag.message);
  m->module = compile(m, ranges, range_count);
  tsr_exec_options options = {.size = sizeof options, .threads = 1};
  tsr_message message;
  tsr_status status = tsr_exec_create(m->module, &options, &m->exec, &message);
  ck_assert_msg(status == TSR_OK, "%s", message.text);
}

void dims_close(dims_model *m) {
  tsr_exec_destroy(m->exec);
  tsr_module_release(m->module);
  tsr_ir_destroy(m->ir);
  tsr_onnx_model_close(&m->onnx);
  (void)unlink(m->path);
}

static tsr_op find_op(const tsr_ir *ir, tsr_opcode code, uint32_t number) {
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), graph)
    TSR_FOR_EACH_OP (ir, tsr_op_get(ir, graph)->regions[0], op)
      if (tsr_op_get(ir, op)->code == code && number-- == 0)
        return op;
  return 0;
}

static int64_t product(const int64_t *extents, uint32_t rank) {
  int64_t count = 1;
  for (uint32_t i = 0; i < rank; i++)
    count *= extents[i];
  return count;
}

static int64_t number_at(char kind, uint32_t input, int64_t i) {
  int64_t mixed = (i * 7 + (i >> 3) * 5 + (int64_t)input * 3) % 9 - 4;
  return kind == '@' ? i : kind == 'f' ? mixed : mixed & 1;
}

static void *make_input(char kind, tsr_dtype dtype, uint32_t input, int64_t count) {
  size_t bytes = (size_t)tsr_dtype_bytes(dtype, count);
  void *data = aligned_alloc(64, (bytes + 64) & ~(size_t)63);
  for (int64_t i = 0; i < count; i++)
    if (tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT)
      tsr_element_store_f64(dtype, data, i, (double)number_at(kind, input, i));
    else
      tsr_element_store_i64(dtype, data, i, number_at(kind, input, i));
  return data;
}

/* The plain dims of an input take their values. */
static void learn_dims(const tsr_ir *ir, const tsr_type_info *type, const int64_t *extents,
                       int64_t *dims) {
  for (uint32_t a = 0; a < type->rank; a++) {
    tsr_expr_node node = tsr_expr_get(ir, type->dims[a]);
    if (node.op == TSR_INDEX_DIM)
      dims[node.dim - 1] = extents[a];
  }
}

static void compare(const dims_model *m, tsr_eval *eval, uint32_t number) {
  tsr_op output = find_op(m->ir, TSR_OP_OUTPUT, number);
  const tsr_array *want;
  DLTensor got;
  ck_assert_msg(tsr_eval_get(eval, tsr_op_get(m->ir, output)->operands[0].value, &want) == TSR_OK,
                "%s", tsr_eval_diag(eval)->message);
  ck_assert_int_eq(tsr_exec_output(m->exec, number, &got), TSR_OK);
  ck_assert_int_eq(got.ndim, (int32_t)want->rank);
  for (uint32_t i = 0; i < want->rank; i++)
    ck_assert_msg(got.shape[i] == want->dims[i], "output %u: dim %u is %lld, not %lld", number, i,
                  (long long)got.shape[i], (long long)want->dims[i]);
  for (int64_t i = 0; i < want->count; i++) {
    double e = want->floats != NULL ? want->floats[i] : (double)want->integers[i];
    double a = want->floats != NULL ? tsr_element_load_f64(want->dtype, got.data, i)
                                    : (double)tsr_element_load_i64(want->dtype, got.data, i);
    double reach = m->tolerance * fabs(e) + m->tolerance / 100;
    ck_assert_msg(isnan(e)   ? isnan(a)
                  : isinf(e) ? a == e
                             : fabs(a - e) <= reach,
                  "output %u element %lld: %.9g, not %.9g", number, (long long)i, a, e);
  }
}

static void check_results(const dims_model *m, const int64_t (*extents)[4], void *const *data,
                          uint32_t inputs) {
  int64_t dims[256] = {0};
  tsr_eval *eval;
  for (uint32_t i = 0; i < inputs; i++) {
    tsr_op op = find_op(m->ir, TSR_OP_INPUT, i);
    learn_dims(m->ir, tsr_value_type(m->ir, tsr_op_get(m->ir, op)->results[0]), extents[i], dims);
  }
  ck_assert_int_eq(tsr_eval_create(m->ir, dims, false, 1 << 24, tsr_allocator_default(), &eval),
                   TSR_OK);
  for (uint32_t i = 0; i < inputs; i++) {
    tsr_value value = tsr_op_get(m->ir, find_op(m->ir, TSR_OP_INPUT, i))->results[0];
    tsr_status status =
        tsr_eval_bind(eval, value, extents[i], tsr_value_type(m->ir, value)->rank, data[i]);
    ck_assert_msg(status == TSR_OK, "%s", tsr_eval_diag(eval)->message);
  }
  for (uint32_t i = 0; find_op(m->ir, TSR_OP_OUTPUT, i) != 0; i++)
    compare(m, eval, i);
  tsr_eval_destroy(eval);
}

void dims_run(dims_model *m, const int64_t (*extents)[4], const char *error) {
  void *data[MOST_INPUTS] = {NULL};
  uint32_t inputs = 0;
  tsr_op op;
  tsr_status status = TSR_OK;
  for (; (op = find_op(m->ir, TSR_OP_INPUT, inputs)) != 0; inputs++) {
    const tsr_type_info *type = tsr_value_type(m->ir, tsr_op_get(m->ir, op)->results[0]);
    int64_t shape[4];
    memcpy(shape, extents[inputs], sizeof shape);
    data[inputs] = make_input(m->kinds[inputs], type->dtype, inputs, product(shape, type->rank));
    DLTensor view = {.data = data[inputs],
                     .device = {.device_type = kDLCPU},
                     .ndim = (int32_t)type->rank,
                     .dtype = {.code = type->dtype == TSR_BOOL  ? kDLBool
                                       : type->dtype == TSR_I64 ? kDLInt
                                                                : kDLFloat,
                               .bits = (uint8_t)tsr_dtype_bits(type->dtype),
                               .lanes = 1},
                     .shape = shape};
    if (status == TSR_OK)
      status = tsr_exec_bind_input(m->exec, inputs, &view);
  }
  if (status == TSR_OK)
    status = tsr_exec_run(m->exec);
  const char *text = tsr_exec_last_error(m->exec);
  if (error != NULL) {
    ck_assert_msg(status == TSR_ERR_SHAPE, "status %d: %s", (int)status, text);
    ck_assert_msg(strstr(text, error) != NULL, "'%s' is not '%s'", text, error);
  } else {
    ck_assert_msg(status == TSR_OK, "extents %lld.. : %s", (long long)extents[0][0], text);
    check_results(m, extents, data, inputs);
  }
  for (uint32_t i = 0; i < inputs; i++)
    free(data[i]);
}

void dims_refuse(wire model, const char *error) {
  char path[128];
  tsr_onnx_model onnx;
  tsr_ir *ir;
  tsr_diag diag;
  write_model(path, sizeof path, model);
  tsr_diag_clear(&diag);
  ck_assert_int_eq(tsr_onnx_model_open(&onnx, tsr_allocator_default(), path, &diag), TSR_OK);
  ck_assert_int_eq(tsr_onnx_import(&onnx, NULL, tsr_allocator_default(), &diag, &ir),
                   TSR_ERR_SHAPE);
  ck_assert_msg(strstr(diag.message, error) != NULL, "'%s'", diag.message);
  tsr_onnx_model_close(&onnx);
  (void)unlink(path);
}
