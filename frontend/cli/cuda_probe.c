#include "frontend/cli/cuda_probe.h"
#include "codegen/cuda/compile_cache.h"
#include "runtime/cuda/driver.h"
#include <stdio.h>
#include <string.h>

static void probe_nvrtc(tsr_cuda_probe *probe) {
  tsr_nvrtc *nvrtc;
  tsr_diag diag = {0};
  if (tsr_nvrtc_open(tsr_allocator_default(), NULL, &nvrtc, &diag) != TSR_OK) {
    snprintf(probe->nvrtc_missing, sizeof probe->nvrtc_missing, "%s", diag.message);
    return;
  }
  tsr_nvrtc_version(nvrtc, &probe->nvrtc_major, &probe->nvrtc_minor);
  snprintf(probe->nvrtc_path, sizeof probe->nvrtc_path, "%s", tsr_nvrtc_path(nvrtc));
  tsr_nvrtc_close(nvrtc);
}

static void describe_device(const tsr_cuda_driver *cuda, int ordinal, tsr_cuda_device *out_device) {
  tsr_cu_device device = 0;
  size_t bytes = 0;
  if (cuda->cuDeviceGet(&device, ordinal) != 0)
    return;
  (void)cuda->cuDeviceGetName(out_device->name, (int)sizeof out_device->name, device);
  (void)cuda->cuDeviceGetAttribute(&out_device->major, TSR_CU_ATTRIBUTE_MAJOR, device);
  (void)cuda->cuDeviceGetAttribute(&out_device->minor, TSR_CU_ATTRIBUTE_MINOR, device);
  (void)cuda->cuDeviceTotalMem_v2(&bytes, device);
  out_device->memory_bytes = bytes;
}

static void probe_driver(tsr_cuda_probe *probe) {
  tsr_cuda_driver cuda;
  tsr_diag diag = {0};
  if (tsr_cuda_driver_open(&cuda, &diag) != TSR_OK) {
    snprintf(probe->driver_missing, sizeof probe->driver_missing, "%s", diag.message);
    return;
  }
  (void)cuda.cuDriverGetVersion(&probe->driver_version);
  (void)cuda.cuDeviceGetCount(&probe->device_count);
  for (int i = 0; i < probe->device_count && i < TSR_CUDA_PROBE_DEVICES; i++)
    describe_device(&cuda, i, &probe->devices[i]);
}

static void probe_cache(tsr_cuda_probe *probe) {
  tsr_compile_cache *cache;
  tsr_diag diag = {0};
  if (tsr_compile_cache_open(tsr_allocator_default(), NULL, 0, &cache, &diag) != TSR_OK) {
    snprintf(probe->cache_missing, sizeof probe->cache_missing, "%s", diag.message);
    return;
  }
  snprintf(probe->cache_folder, sizeof probe->cache_folder, "%s", tsr_compile_cache_folder(cache));
  tsr_compile_cache_size(cache, &probe->cache_entries, &probe->cache_bytes);
  tsr_compile_cache_close(cache);
}

void tsr_cuda_probe_run(tsr_cuda_probe *out_probe) {
  *out_probe = (tsr_cuda_probe){0};
  probe_nvrtc(out_probe);
  probe_driver(out_probe);
  probe_cache(out_probe);
}
