#include "frontend/cli/emulated.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef TESSERA_CUDA_EMULATED_DRIVER
/* "cuda-emulated:sm_90a" is 90; "cuda-emulated" is what the compiler takes it for, 80. */
static long emulated_capability(const char *target) {
  static const char name[] = "cuda-emulated";
  if (strncmp(target, name, sizeof name - 1) != 0)
    return 0;
  const char *arch = strstr(target, ":sm_");
  return arch != NULL ? strtol(arch + 4, NULL, 10) : 80;
}

void tsr_cli_use_emulated_device(const tsr_cli_args *args) {
  char capabilities[256] = "";
  size_t length = 0;
  int position = 0;
  const char *target;
  while ((target = tsr_cli_next(args, TSR_OPTION_TARGET, &position)) != NULL) {
    long capability = emulated_capability(target);
    if (capability != 0 && length + 16 < sizeof capabilities)
      length += (size_t)snprintf(capabilities + length, sizeof capabilities - length, "%s%ld",
                                 length > 0 ? "," : "", capability);
  }
  if (length == 0)
    return;
  setenv("TESSERA_CUDA_DRIVER", TESSERA_CUDA_EMULATED_DRIVER, 0);
  setenv("TESSERA_EMULATED_SM", capabilities, 0);
}
#else
void tsr_cli_use_emulated_device(const tsr_cli_args *args) {
  (void)args;
}
#endif
