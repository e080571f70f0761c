#include "frontend/onnx/value_pb.h"
#include "frontend/onnx/file_map.h"
#include "frontend/onnx/onnx_schema.h"
#include "frontend/onnx/tensor_data.h"
#include <string.h>

enum { TYPE_STRING = 8, FIELD_SEGMENT = 3, FIELD_SPARSE = 4, FIELD_MAP = 6, FIELD_OPTIONAL = 7 };

/* Whatever the value is made of. */
typedef struct reader {
  tsr_value_file *file;
  const void *bytes;
  uint64_t size;
  const char *path; /* NULL: external data is refused */
  tsr_diag *diag;
} reader;

tsr_value_kind tsr_value_kind_of(const tsr_onnx_type *type) {
  if (type != NULL && type->sequence != NULL)
    return TSR_VALUE_SEQUENCE;
  return type != NULL && type->optional != NULL ? TSR_VALUE_OPTIONAL : TSR_VALUE_TENSOR;
}

bool tsr_onnx_tensor_is_text(const tsr_onnx_tensor *tensor) {
  return tensor->data_type == TYPE_STRING;
}

static tsr_status check_texts(const reader *r, const tsr_onnx_tensor *tensor) {
  if (tensor->string_data.count != (uint64_t)tensor->elements)
    return tsr_fail(r->diag, TSR_ERR_FORMAT, "tensor '%s' has %llu texts, its shape needs %lld",
                    tensor->name, (unsigned long long)tensor->string_data.count,
                    (long long)tensor->elements);
  for (uint64_t i = 0; i < tensor->string_data.count; i++) {
    const tsr_wire_bytes *text = &tensor->string_data.items[i];
    if (text->size > 0 && memchr(text->data, 0, (size_t)text->size) != NULL)
      return tsr_fail(r->diag, TSR_ERR_UNSUPPORTED, "text %llu of tensor '%s' contains a zero byte",
                      (unsigned long long)i, tensor->name);
  }
  return TSR_OK;
}

static tsr_status resolve(const reader *r, tsr_onnx_tensor *tensor) {
  tsr_onnx_data_source source = {&r->file->arena, &r->file->mappings, r->path, r->diag};
  if (TSR_WIRE_HAS(tensor, FIELD_SEGMENT))
    return tsr_fail(r->diag, TSR_ERR_UNSUPPORTED, "the tensor is cut into segments");
  TSR_TRY(tsr_onnx_tensor_resolve(&source, tensor));
  if (tsr_onnx_tensor_is_text(tensor))
    return check_texts(r, tensor);
  if (tensor->dtype == TSR_DTYPE_NONE)
    return tsr_fail(r->diag, TSR_ERR_UNSUPPORTED, "tensors of element type %s are not supported",
                    tsr_onnx_dtype_name(tensor->data_type));
  return TSR_OK;
}

static tsr_status take_tensor(const reader *r, tsr_onnx_tensor *tensor) {
  r->file->items = tensor;
  r->file->count = 1;
  return resolve(r, tensor);
}

static tsr_status take_sequence(const reader *r, const tsr_onnx_sequence *sequence) {
  r->file->is_list = true;
  if (sequence->others.count + sequence->sequences.count + sequence->maps.count +
          sequence->optionals.count !=
      0)
    return tsr_fail(r->diag, TSR_ERR_UNSUPPORTED,
                    "sequences of sparse tensors, sequences, maps or optionals are not supported");
  r->file->items = sequence->tensors.items;
  r->file->count = sequence->tensors.count;
  for (uint64_t i = 0; i < r->file->count; i++)
    TSR_TRY(resolve(r, &r->file->items[i]));
  return TSR_OK;
}

static tsr_status take_optional(const reader *r, const tsr_onnx_optional *optional) {
  if (TSR_WIRE_HAS(optional, FIELD_SPARSE) || TSR_WIRE_HAS(optional, FIELD_MAP) ||
      TSR_WIRE_HAS(optional, FIELD_OPTIONAL))
    return tsr_fail(r->diag, TSR_ERR_UNSUPPORTED,
                    "optionals of sparse tensors, maps or optionals are not supported");
  if (optional->tensor != NULL)
    return take_tensor(r, optional->tensor);
  if (optional->sequence != NULL)
    return take_sequence(r, optional->sequence);
  r->file->absent = true;
  return TSR_OK;
}

static tsr_status decode(const reader *r, const tsr_wire_message *message, void **out_structure) {
  *out_structure = tsr_arena_alloc(&r->file->arena, message->size);
  if (*out_structure == NULL)
    return tsr_fail(r->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  return tsr_wire_decode(message, r->bytes, r->size, &r->file->arena, r->diag, *out_structure);
}

static tsr_status read_value(const reader *r) {
  void *value;
  switch (r->file->kind) {
  case TSR_VALUE_SEQUENCE:
    TSR_TRY(decode(r, &tsr_onnx_sequence_message, &value));
    r->file->name = ((tsr_onnx_sequence *)value)->name;
    return take_sequence(r, value);
  case TSR_VALUE_OPTIONAL:
    TSR_TRY(decode(r, &tsr_onnx_optional_message, &value));
    r->file->name = ((tsr_onnx_optional *)value)->name;
    return take_optional(r, value);
  default:
    TSR_TRY(decode(r, &tsr_onnx_tensor_message, &value));
    r->file->name = ((tsr_onnx_tensor *)value)->name;
    return take_tensor(r, value);
  }
}

tsr_status tsr_value_file_parse(tsr_value_file *out_file, const tsr_allocator *allocator,
                                const void *bytes, uint64_t size, tsr_value_kind kind,
                                tsr_diag *diag) {
  *out_file = (tsr_value_file){.name = "", .kind = kind};
  tsr_arena_init(&out_file->arena, allocator);
  const reader r = {.file = out_file, .bytes = bytes, .size = size, .diag = diag};
  tsr_status status = read_value(&r);
  if (status != TSR_OK)
    tsr_value_file_close(out_file);
  return status;
}

tsr_status tsr_value_file_open(tsr_value_file *out_file, const tsr_allocator *allocator,
                               const char *path, tsr_value_kind kind, tsr_diag *diag) {
  *out_file = (tsr_value_file){.name = "", .kind = kind};
  tsr_arena_init(&out_file->arena, allocator);
  tsr_status status = tsr_onnx_map_file(&out_file->mappings, &out_file->arena, path, diag);
  if (status == TSR_OK) {
    const reader r = {.file = out_file,
                      .bytes = out_file->mappings->data,
                      .size = out_file->mappings->size,
                      .path = path,
                      .diag = diag};
    status = read_value(&r);
  }
  if (status != TSR_OK) {
    tsr_diag_set_file(diag, path);
    tsr_value_file_close(out_file);
  }
  return status;
}

void tsr_value_file_close(tsr_value_file *file) {
  tsr_onnx_unmap_all(file->mappings);
  file->mappings = NULL;
  file->items = NULL;
  file->count = 0;
  tsr_arena_reset(&file->arena);
}
