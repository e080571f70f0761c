/* The target cuda-emulated of test builds: its device is a library that takes the CUDA driver's
 * place. */
#ifndef TSR_FRONTEND_CLI_EMULATED_H
#define TSR_FRONTEND_CLI_EMULATED_H
#include "frontend/cli/options.h"

/* Where a --target asks for the emulated device, lets TESSERA_CUDA_DRIVER name it and
 * TESSERA_EMULATED_SM its architectures, unless these are set. To be called before the CUDA driver
 * is opened; does nothing in builds without tests. */
void tsr_cli_use_emulated_device(const tsr_cli_args *args);

#endif
