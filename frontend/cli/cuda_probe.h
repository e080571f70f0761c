/* What of CUDA this machine has; found with dlopen, so that nothing of it is needed to build or
 * start. */
#ifndef TSR_FRONTEND_CLI_CUDA_PROBE_H
#define TSR_FRONTEND_CLI_CUDA_PROBE_H
#include <stdbool.h>

enum { TSR_CUDA_PROBE_DEVICES = 16 };

typedef struct tsr_cuda_device {
  char name[128];
  int major, minor; /* compute capability */
} tsr_cuda_device;

typedef struct tsr_cuda_probe {
  bool has_nvrtc, has_driver;
  int nvrtc_major, nvrtc_minor;
  int driver_version; /* 1000 * major + 10 * minor of the newest CUDA it serves */
  int driver_error;   /* CUDA's number when the driver is there but does not start; 0: it does */
  int device_count;   /* in all; the first TSR_CUDA_PROBE_DEVICES are described */
  tsr_cuda_device devices[TSR_CUDA_PROBE_DEVICES];
} tsr_cuda_probe;

void tsr_cuda_probe_run(tsr_cuda_probe *out_probe);

#endif
