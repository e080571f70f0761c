/* What of CUDA this machine has, and why not the rest. */
#ifndef TSR_FRONTEND_CLI_CUDA_PROBE_H
#define TSR_FRONTEND_CLI_CUDA_PROBE_H
#include <limits.h>
#include <stdint.h>

enum { TSR_CUDA_PROBE_DEVICES = 16 };

typedef struct tsr_cuda_device {
  char name[128];
  int major, minor; /* compute capability */
  uint64_t memory_bytes;
} tsr_cuda_device;

typedef struct tsr_cuda_probe {
  char nvrtc_missing[1024]; /* what is missing and what to do; "": nothing is */
  int nvrtc_major, nvrtc_minor;
  char nvrtc_path[PATH_MAX];
  char driver_missing[1024];
  int driver_version; /* 1000 * major + 10 * minor of the newest CUDA it serves */
  int device_count;   /* in all; the first TSR_CUDA_PROBE_DEVICES are described */
  tsr_cuda_device devices[TSR_CUDA_PROBE_DEVICES];
  char cache_missing[1024];
  char cache_folder[PATH_MAX]; /* of compiled kernels */
  uint64_t cache_bytes;
  uint32_t cache_entries;
} tsr_cuda_probe;

void tsr_cuda_probe_run(tsr_cuda_probe *out_probe);

#endif
