/* One table of all entry points: one that is missing does not link. */
#include "tests/cuda_emulator/driver/state.h"

EXPORT const tsr_cuda_driver *tsr_emulated_driver_table(void);

const tsr_cuda_driver *tsr_emulated_driver_table(void) {
  static const tsr_cuda_driver table = {
#define ENTRY(result, name, parameters) .name = name,
      TSR_CUDA_DRIVER_LIST(ENTRY)
#undef ENTRY
  };
  return &table;
}
