/* The .npy reader, without and with a wanted type; what it accepts must be consistent. */
#include "frontend/cli/npy.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const tsr_dtype wanted[] = {TSR_DTYPE_NONE, TSR_BF16, TSR_I4, TSR_BOOL};
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    tsr_host_tensor tensor;
    tsr_diag diag = {0};
    tsr_status status = tsr_npy_parse(data, size, wanted[i], &tensor, &diag);
    if (status == TSR_OK && tensor.bytes != tsr_dtype_bytes(tensor.dtype, tensor.count))
      abort();
    if (status != TSR_OK && diag.message[0] == '\0')
      abort();
    tsr_host_tensor_destroy(&tensor);
  }
  return 0;
}
