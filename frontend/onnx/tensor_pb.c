#include "frontend/onnx/tensor_pb.h"
#include "frontend/onnx/file_map.h"
#include "frontend/onnx/onnx_schema.h"
#include "frontend/onnx/tensor_data.h"
#include <string.h>

enum { FIELD_SEGMENT = 3, FIRST_DATA_FIELD = 4, LAST_DATA_FIELD = 11, FIELD_TENSOR_NAME = 8 };

/* SequenceProto and OptionalProto keep their element in field 3, which no writer of tensors uses,
 * and a text in field 1, where a tensor has its dims. An empty one has no data field. */
static bool looks_wrapped(const tsr_onnx_tensor *tensor) {
  const uint64_t data_fields = (((uint64_t)1 << (LAST_DATA_FIELD + 1)) - 1) &
                               ~(((uint64_t)1 << FIRST_DATA_FIELD) - 1) &
                               ~((uint64_t)1 << FIELD_TENSOR_NAME);
  if (TSR_WIRE_HAS(tensor, FIELD_SEGMENT))
    return true;
  return (tensor->present & data_fields) == 0 && tensor->external_data.count == 0 &&
         tensor->elements != 0;
}

static tsr_status wrapped(tsr_diag *diag) {
  return tsr_fail(diag, TSR_ERR_UNSUPPORTED,
                  "the file holds a sequence or an optional, not a tensor");
}

static tsr_status read_tensor(tsr_tensor_file *file, const char *path, tsr_diag *diag) {
  TSR_TRY(tsr_onnx_map_file(&file->mappings, &file->arena, path, diag));
  const tsr_onnx_mapping *mapping = file->mappings;
  tsr_onnx_tensor *tensor = &file->tensor;
  TSR_TRY(tsr_wire_decode(&tsr_onnx_tensor_message, mapping->data, mapping->size, &file->arena,
                          diag, tensor));
  if (TSR_WIRE_HAS(tensor, FIELD_SEGMENT))
    return wrapped(diag);
  tsr_onnx_data_source source = {&file->arena, &file->mappings, path, NULL};
  tsr_status status = tsr_onnx_tensor_resolve(&source, tensor);
  if (status != TSR_OK && looks_wrapped(tensor))
    return wrapped(diag);
  if (status != TSR_OK) {
    source.diag = diag;
    return tsr_onnx_tensor_resolve(&source, tensor);
  }
  if (tensor->dtype == TSR_DTYPE_NONE)
    return tsr_fail(diag, TSR_ERR_UNSUPPORTED, "tensors of element type %s are not supported",
                    tsr_onnx_dtype_name(tensor->data_type));
  return TSR_OK;
}

tsr_status tsr_tensor_file_open(tsr_tensor_file *out_file, const tsr_allocator *allocator,
                                const char *path, tsr_diag *diag) {
  memset(out_file, 0, sizeof *out_file);
  tsr_arena_init(&out_file->arena, allocator);
  tsr_status status = read_tensor(out_file, path, diag);
  if (status != TSR_OK) {
    tsr_diag_set_file(diag, path);
    tsr_tensor_file_close(out_file);
  }
  return status;
}

void tsr_tensor_file_close(tsr_tensor_file *file) {
  tsr_onnx_unmap_all(file->mappings);
  file->mappings = NULL;
  tsr_arena_reset(&file->arena);
}
