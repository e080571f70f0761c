/* The decoding tables of onnx.proto's messages. */
#ifndef TSR_FRONTEND_ONNX_ONNX_SCHEMA_H
#define TSR_FRONTEND_ONNX_ONNX_SCHEMA_H
#include "frontend/onnx/wire_walk.h"

extern const tsr_wire_message tsr_onnx_model_message;
extern const tsr_wire_message tsr_onnx_tensor_message;
extern const tsr_wire_message tsr_onnx_sequence_message;
extern const tsr_wire_message tsr_onnx_optional_message;

#endif
