#include "runtime/cuda/cuda.h"
#include <stdio.h>
#include <string.h>

enum { HOST_ALLOC_PORTABLE = 1 };

/* ---- Errors ---- */

/* Errors of work under way, after which the context refuses every call: bad addresses, hangs, bad
 * instructions, uncorrectable memory, lost links. */
static bool ends_context(tsr_cu_result result) {
  static const tsr_cu_result numbers[] = {214 /* ECC */,
                                          220 /* NVLINK */,
                                          226 /* contained */,
                                          TSR_CU_ERROR_ILLEGAL_ADDRESS,
                                          702 /* timeout */,
                                          710 /* assert */,
                                          714 /* stack */,
                                          715 /* illegal instruction */,
                                          716 /* misaligned address */,
                                          717 /* address space */,
                                          718 /* program counter */,
                                          TSR_CU_ERROR_LAUNCH_FAILED,
                                          721 /* tensor memory leak */,
                                          999 /* unknown */};
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
    if (numbers[i] == result)
      return true;
  return false;
}

void tsr_cuda_error_text(const cuda_device *device, tsr_cu_result result, char *out, size_t size) {
  const char *name = NULL, *text = NULL;
  (void)device->driver.cuGetErrorName(result, &name);
  (void)device->driver.cuGetErrorString(result, &text);
  if (name == NULL)
    (void)snprintf(out, size, "error %d of the CUDA driver", result);
  else
    (void)snprintf(out, size, "%s (%s)", name, text != NULL ? text : "no text");
}

tsr_status tsr_cuda_check(cuda_device *device, tsr_diag *diag, tsr_cu_result result,
                          const char *what) {
  char text[900];
  int none = 0;
  if (result == 0)
    return TSR_OK;
  if (ends_context(result))
    (void)atomic_compare_exchange_strong(&device->dead, &none, result);
  tsr_cuda_error_text(device, result, text, sizeof text);
  return tsr_fail(diag,
                  result == TSR_CU_ERROR_OUT_OF_MEMORY ? TSR_ERR_OUT_OF_MEMORY : TSR_ERR_DEVICE,
                  "%s: %s", what, text);
}

/* ---- Opening ---- */

static tsr_status get_attribute(cuda_device *self, int attribute, int *out_value, tsr_diag *diag) {
  return tsr_cuda_check(self, diag,
                        self->driver.cuDeviceGetAttribute(out_value, attribute, self->handle),
                        "cannot read an attribute of the CUDA device");
}

static tsr_status describe(cuda_device *self, tsr_diag *diag) {
  int major = 0, minor = 0, pools = 0;
  TSR_TRY(tsr_cuda_check(self, diag, self->driver.cuDriverGetVersion(&self->version),
                         "cannot read the version of the CUDA driver"));
  TSR_TRY(tsr_cuda_check(
      self, diag, self->driver.cuDeviceGetName(self->name, (int)sizeof self->name, self->handle),
      "cannot read the name of the CUDA device"));
  self->name[sizeof self->name - 1] = '\0';
  TSR_TRY(get_attribute(self, TSR_CU_ATTRIBUTE_MAJOR, &major, diag));
  TSR_TRY(get_attribute(self, TSR_CU_ATTRIBUTE_MINOR, &minor, diag));
  TSR_TRY(get_attribute(self, TSR_CU_ATTRIBUTE_MULTIPROCESSORS, &self->multiprocessors, diag));
  TSR_TRY(
      get_attribute(self, TSR_CU_ATTRIBUTE_MAX_SHARED_PER_BLOCK_OPTIN, &self->shared_bytes, diag));
  TSR_TRY(get_attribute(self, TSR_CU_ATTRIBUTE_MEMORY_POOLS, &pools, diag));
  self->capability = major * 10 + minor;
  self->has_pools = pools != 0;
  self->emulated =
      strncmp(self->name, TSR_CUDA_EMULATED_NAME, sizeof TSR_CUDA_EMULATED_NAME - 1) == 0;
  return TSR_OK;
}

static tsr_status find_device(cuda_device *self, tsr_diag *diag) {
  int count = 0;
  TSR_TRY(tsr_cuda_driver_open(&self->driver, diag));
  TSR_TRY(tsr_cuda_check(self, diag, self->driver.cuDeviceGetCount(&count),
                         "cannot count the CUDA devices"));
  if (count == 0)
    return tsr_fail(diag, TSR_ERR_DEVICE, "the NVIDIA driver finds no CUDA device");
  if (self->ordinal < 0 || self->ordinal >= count)
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "there is no CUDA device number %d; the driver has %d",
                    (int)self->ordinal, count);
  TSR_TRY(tsr_cuda_check(self, diag, self->driver.cuDeviceGet(&self->handle, self->ordinal),
                         "cannot open the CUDA device"));
  return describe(self, diag);
}

tsr_status tsr_cuda_device_open(int32_t ordinal, const tsr_allocator *allocator, tsr_diag *diag,
                                cuda_device **out_device) {
  cuda_device *self =
      (cuda_device *)allocator->allocate(allocator->context, sizeof *self, _Alignof(cuda_device));
  tsr_status status;
  *out_device = NULL;
  if (self == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while opening a CUDA device");
  memset(self, 0, sizeof *self);
  atomic_init(&self->references, 1);
  atomic_init(&self->dead, 0);
  self->allocator = allocator;
  self->ordinal = ordinal;
  (void)pthread_mutex_init(&self->lock, NULL);
  status = find_device(self, diag);
  if (status == TSR_OK)
    *out_device = self;
  else
    tsr_cuda_device_release(self);
  return status;
}

cuda_device *tsr_cuda_device_retain(cuda_device *device) {
  (void)atomic_fetch_add_explicit(&device->references, 1, memory_order_relaxed);
  return device;
}

void tsr_cuda_device_release(cuda_device *device) {
  if (device == NULL ||
      atomic_fetch_sub_explicit(&device->references, 1, memory_order_acq_rel) != 1)
    return;
  if (device->context != NULL)
    (void)device->driver.cuDevicePrimaryCtxRelease_v2(device->handle);
  (void)pthread_mutex_destroy(&device->lock);
  device->allocator->release(device->allocator->context, device, sizeof *device);
}

/* ---- Context ---- */

static tsr_status get_context(cuda_device *device, tsr_diag *diag, tsr_cu_context *out_context) {
  tsr_cu_result result = 0;
  (void)pthread_mutex_lock(&device->lock);
  if (device->context == NULL)
    result = device->driver.cuDevicePrimaryCtxRetain(&device->context, device->handle);
  if (result != 0)
    device->context = NULL;
  *out_context = device->context;
  (void)pthread_mutex_unlock(&device->lock);
  return tsr_cuda_check(device, diag, result, "cannot make a context of the CUDA device");
}

tsr_status tsr_cuda_enter(cuda_device *device, tsr_diag *diag) {
  tsr_cu_context context;
  TSR_TRY(get_context(device, diag, &context));
  return tsr_cuda_check(device, diag, device->driver.cuCtxPushCurrent_v2(context),
                        "cannot use the context of the CUDA device");
}

void tsr_cuda_leave(cuda_device *device) {
  tsr_cu_context context;
  (void)device->driver.cuCtxPopCurrent_v2(&context);
}

/* ---- Memory ---- */

static void *from_pointer(tsr_cu_pointer pointer) {
  return (void *)(uintptr_t)pointer;
}

static tsr_cu_pointer to_pointer(const void *data) {
  return (tsr_cu_pointer)(uintptr_t)data;
}

tsr_status tsr_cuda_allocate(cuda_device *device, tsr_cu_stream stream, uint64_t bytes,
                             tsr_diag *diag, void **out_data) {
  tsr_cu_pointer pointer = 0;
  tsr_cu_result result = device->has_pools ? device->driver.cuMemAllocAsync(&pointer, bytes, stream)
                                           : device->driver.cuMemAlloc_v2(&pointer, bytes);
  char what[160];
  size_t available = 0, total = 0;
  *out_data = result == 0 ? from_pointer(pointer) : NULL;
  if (result == 0)
    return TSR_OK;
  (void)device->driver.cuMemGetInfo_v2(&available, &total);
  (void)snprintf(what, sizeof what,
                 "cannot allocate %llu bytes on CUDA device %d, which has %llu of %llu free",
                 (unsigned long long)bytes, (int)device->ordinal, (unsigned long long)available,
                 (unsigned long long)total);
  return tsr_cuda_check(device, diag, result, what);
}

void tsr_cuda_release(cuda_device *device, tsr_cu_stream stream, void *data) {
  if (data == NULL)
    return;
  if (!device->has_pools || device->driver.cuMemFreeAsync(to_pointer(data), stream) != 0)
    tsr_cuda_release_synchronously(device, data);
}

void tsr_cuda_release_synchronously(cuda_device *device, void *data) {
  if (data != NULL)
    (void)device->driver.cuMemFree_v2(to_pointer(data));
}

tsr_status tsr_cuda_allocate_pinned(cuda_device *device, uint64_t bytes, tsr_diag *diag,
                                    void **out_data) {
  void *data = NULL;
  tsr_cu_result result = device->driver.cuMemHostAlloc(&data, bytes, HOST_ALLOC_PORTABLE);
  char what[96];
  *out_data = result == 0 ? data : NULL;
  (void)snprintf(what, sizeof what, "cannot allocate %llu bytes of pinned host memory",
                 (unsigned long long)bytes);
  return tsr_cuda_check(device, diag, result, what);
}

void tsr_cuda_release_pinned(cuda_device *device, void *data) {
  if (data != NULL)
    (void)device->driver.cuMemFreeHost(data);
}
