#include "runtime/cuda/driver.h"
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* cuLaunchKernelEx came with CUDA 11.8; cuTensorMapEncodeTiled and cuGraphExecUpdate_v2 with 12.0.
 */
#define OLDEST_DRIVER "CUDA 12.0 (NVIDIA driver 525)"

static tsr_status no_driver(tsr_diag *diag, const char *path, bool named) {
  const char *why = dlerror();
  if (named)
    return tsr_fail(diag, TSR_ERR_DEVICE,
                    "cannot open the CUDA driver %s that "
                    "$TESSERA_CUDA_DRIVER names: %s",
                    path, why != NULL ? why : "unknown reason");
  return tsr_fail(diag, TSR_ERR_DEVICE,
                  "no NVIDIA driver (cannot open %s); compiling for CUDA and running on the CPU "
                  "work without one",
                  path);
}

/* Of the newest CUDA that the driver serves: "12.4", or "an unknown version". */
static void version_text(void *library, char *out, size_t size) {
  tsr_cu_result (*get)(int *);
  void *symbol = dlsym(library, "cuDriverGetVersion");
  int version = 0;
  memcpy(&get, &symbol, sizeof get);
  if (symbol == NULL || get(&version) != 0)
    (void)snprintf(out, size, "an unknown version");
  else
    (void)snprintf(out, size, "CUDA %d.%d", version / 1000, version % 1000 / 10);
}

/* Function and data pointers have the same size wherever dlsym exists. */
static tsr_status find_entry(void *library, const char *name, void *out_function, tsr_diag *diag) {
  void *symbol = dlsym(library, name);
  char version[64];
  memcpy(out_function, &symbol, sizeof symbol);
  if (symbol != NULL)
    return TSR_OK;
  version_text(library, version, sizeof version);
  return tsr_fail(diag, TSR_ERR_DEVICE,
                  "the NVIDIA driver is too old: it is for %s and has no %s; " OLDEST_DRIVER
                  " or a later one is needed",
                  version, name);
}

static tsr_status start(const tsr_cuda_driver *driver, tsr_diag *diag) {
  const char *name = NULL, *text = NULL;
  tsr_cu_result result = driver->cuInit(0);
  if (result == TSR_CU_ERROR_NO_DEVICE)
    return tsr_fail(diag, TSR_ERR_DEVICE,
                    "the NVIDIA driver finds no CUDA device; compiling for CUDA and running on the "
                    "CPU work without one");
  if (result == 0)
    return TSR_OK;
  (void)driver->cuGetErrorName(result, &name);
  (void)driver->cuGetErrorString(result, &text);
  return tsr_fail(diag, TSR_ERR_DEVICE, "the NVIDIA driver does not start: error %d, %s (%s)",
                  result, name != NULL ? name : "unknown", text != NULL ? text : "no text");
}

/* dlopen and cuInit count for themselves: further calls find library and driver ready, whichever
 * thread was first, and RTLD_NODELETE keeps the library. */
tsr_status tsr_cuda_driver_open(tsr_cuda_driver *out_driver, tsr_diag *diag) {
  const char *named = getenv("TESSERA_CUDA_DRIVER");
  bool is_named = named != NULL && named[0] != '\0';
  const char *path = is_named ? named : "libcuda.so.1";
  tsr_cuda_driver driver;
  memset(out_driver, 0, sizeof *out_driver);
  memset(&driver, 0, sizeof driver);
  driver.library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (driver.library == NULL)
    return no_driver(diag, path, is_named);
#define FIND_ENTRY(result, name, parameters)                                                       \
  TSR_TRY(find_entry(driver.library, #name, &driver.name, diag));
  TSR_CUDA_DRIVER_LIST(FIND_ENTRY)
#undef FIND_ENTRY
  TSR_TRY(start(&driver, diag));
  *out_driver = driver;
  return TSR_OK;
}
