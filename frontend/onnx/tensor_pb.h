/* One TensorProto in a file of its own: input_0.pb and output_0.pb of ONNX backend tests. */
#ifndef TSR_FRONTEND_ONNX_TENSOR_PB_H
#define TSR_FRONTEND_ONNX_TENSOR_PB_H
#include "frontend/onnx/onnx_model.h"

typedef struct tsr_tensor_file {
  tsr_onnx_tensor tensor; /* dtype, dims, data and bytes are valid until the file is closed */
  tsr_arena arena;
  tsr_onnx_mapping *mappings;
} tsr_tensor_file;

/* Reads a tensor. TSR_ERR_UNSUPPORTED for strings, complex numbers, and what looks like a
 * SequenceProto or OptionalProto (the file does not say which it is); errors carry the path. On
 * failure nothing needs closing. */
TSR_WARN_UNUSED tsr_status tsr_tensor_file_open(tsr_tensor_file *out_file,
                                                const tsr_allocator *allocator, const char *path,
                                                tsr_diag *diag);

void tsr_tensor_file_close(tsr_tensor_file *file);

#endif
