/* Where a TensorProto's bytes are: raw_data and external files in place, typed lists converted. */
#ifndef TSR_FRONTEND_ONNX_TENSOR_DATA_H
#define TSR_FRONTEND_ONNX_TENSOR_DATA_H
#include "frontend/onnx/file_map.h"
#include "frontend/onnx/onnx_model.h"

typedef struct tsr_onnx_data_source {
  tsr_arena *arena;
  tsr_onnx_mapping **mappings;
  const char *model_path; /* NULL: external data is refused */
  tsr_diag *diag;
} tsr_onnx_data_source;

/* Fills dtype, elements, data and bytes, checking dims and the amount of data. Errors name the
 * tensor. A string or complex tensor is left with dtype NONE and no data: only its user knows
 * whether it matters. */
TSR_WARN_UNUSED tsr_status tsr_onnx_tensor_resolve(const tsr_onnx_data_source *source,
                                                   tsr_onnx_tensor *tensor);

#endif
