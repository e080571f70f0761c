/* ONNX bytes to graph IR: never a crash, and a message with every failure. */
#include "frontend/onnx/import.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void import(const tsr_onnx_model *model) {
  tsr_ir *ir = NULL;
  tsr_diag diag;
  tsr_diag_clear(&diag);
  if (tsr_onnx_import(model, NULL, tsr_allocator_default(), &diag, &ir) == TSR_OK)
    tsr_ir_destroy(ir);
  else if (diag.message[0] == '\0')
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tsr_onnx_model model;
  tsr_diag diag;
  tsr_diag_clear(&diag);
  if (tsr_onnx_model_parse(&model, tsr_allocator_default(), data, size, &diag) == TSR_OK) {
    import(&model);
    tsr_onnx_model_close(&model);
  } else if (diag.message[0] == '\0')
    abort();
  return 0;
}
