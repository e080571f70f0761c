/* The kernels and constants of a module on its device. Kernels are loaded when they are first
 * linked: variants that no shape takes cost nothing. */
#include "runtime/cuda/cuda.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  JIT_ERROR_LOG = 5, /* CU_JIT_ERROR_LOG_BUFFER, and its size */
  JIT_ERROR_LOG_BYTES = 6,
  LOG_BYTES = 4096,
  SHARED_WITHOUT_ATTRIBUTE = 48 << 10,
  PORTABLE_CLUSTER = 8,
  CONSTANT_ALIGNMENT = 256,
};

/* ---- Choosing units ---- */

/* 0: not for this device; else the larger the better. CUBINs serve later minor versions of their
 * major one, PTX everything later, both only their own architecture when they are specific to it.
 */
static int rate_unit(const tsr_cuda_unit *unit, const cuda_device *device) {
  int capability = (int)unit->capability;
  bool fits =
      unit->specific != 0 ? capability == device->capability : capability <= device->capability;
  if (!fits || device->emulated != (unit->kind == TSR_CUDA_UNIT_TEXT))
    return 0;
  if (unit->kind == TSR_CUDA_UNIT_CUBIN)
    return capability / 10 == device->capability / 10 ? 4000 + capability * 2 + (int)unit->specific
                                                      : 0;
  return 1 + capability * 2 + (int)unit->specific;
}

static const tsr_cuda_unit *choose_unit(const tsr_cuda_unit *units, uint32_t count,
                                        const cuda_device *device) {
  const tsr_cuda_unit *best = NULL;
  int best_rate = 0;
  for (uint32_t i = 0; i < count && units[i].kernel == units[0].kernel; i++) {
    int rate = rate_unit(&units[i], device);
    if (rate > best_rate) {
      best = &units[i];
      best_rate = rate;
    }
  }
  return best;
}

static const char *kind_text(uint32_t kind) {
  static const char *const texts[] = {"code", "PTX", "text for the emulated device"};
  return texts[kind];
}

/* "has code for sm_90a, PTX for sm_80 and later; the device ... is sm_120" */
static void explain(const tsr_cuda_unit *units, uint32_t count, const cuda_device *device,
                    char *why, size_t size) {
  size_t used = 0;
  for (uint32_t i = 0; i < count && units[i].kernel == units[0].kernel && used < size; i++) {
    int length = snprintf(why + used, size - used, "%s%s for sm_%u%s", i == 0 ? "has " : ", ",
                          kind_text(units[i].kind), units[i].capability,
                          units[i].specific != 0                 ? "a alone"
                          : units[i].kind == TSR_CUDA_UNIT_PTX   ? " and later"
                          : units[i].kind == TSR_CUDA_UNIT_CUBIN ? " and its minor versions"
                                                                 : "");
    used += length > 0 ? (size_t)length : 0;
  }
  if (used < size)
    (void)snprintf(why + used, size - used, "; device %d, %s, is sm_%d", (int)device->ordinal,
                   device->name, device->capability);
}

static uint32_t next_kernel(const tsr_cuda_unit *units, uint32_t at, uint32_t count) {
  uint32_t kernel = units[at].kernel;
  while (at < count && units[at].kernel == kernel)
    at++;
  return at;
}

bool tsr_cuda_program_fits(const cuda_device *device, const tsr_program *program, char *why,
                           size_t size) {
  const tsr_cuda_unit *units;
  uint32_t count;
  for (uint32_t i = 0; i < program->part_count; i++)
    if (!tsr_cuda_program_fits(device, &program->parts[i], why, size))
      return false;
  if (program->host_region_count != 0)
    return true;
  if (tsr_cuda_image_read(program->image, program->image_bytes, program->kernel_count, NULL, &units,
                          &count) != TSR_OK)
    count = 0; /* checked when the module was read */
  for (uint32_t i = 0; i < count; i = next_kernel(units, i, count))
    if (choose_unit(units + i, count - i, device) == NULL) {
      explain(units + i, count - i, device, why, size);
      return false;
    }
  return true;
}

/* ---- Creation ---- */

static tsr_status choose_units(cuda_program *self, tsr_diag *diag) {
  const tsr_cuda_unit *units;
  uint32_t count;
  if (self->program->host_region_count != 0)
    return TSR_OK;
  TSR_TRY(tsr_cuda_image_read(self->program->image, self->program->image_bytes,
                              self->program->kernel_count, diag, &units, &count));
  for (uint32_t i = 0; i < count; i = next_kernel(units, i, count))
    self->kernels[units[i].kernel].unit = choose_unit(units + i, count - i, self->device);
  return TSR_OK;
}

static uint32_t count_constants(const tsr_program *program) {
  uint32_t count = program->constant_count;
  for (uint32_t i = 0; i < program->part_count; i++)
    count += program->parts[i].constant_count;
  return count;
}

tsr_status tsr_cuda_program_create(cuda_device *device, const tsr_program *program,
                                   const tsr_allocator *allocator, tsr_diag *diag,
                                   cuda_program **out_program) {
  cuda_program *self =
      (cuda_program *)allocator->allocate(allocator->context, sizeof *self, _Alignof(cuda_program));
  tsr_status status = TSR_OK;
  *out_program = NULL;
  if (self == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while loading a module");
  memset(self, 0, sizeof *self);
  self->device = tsr_cuda_device_retain(device);
  self->program = program;
  self->allocator = allocator;
  (void)pthread_mutex_init(&self->lock, NULL);
  tsr_arena_init(&self->memory, allocator);
  self->kernels = (cuda_kernel *)tsr_arena_alloc_array(&self->memory, program->kernel_count,
                                                       sizeof *self->kernels);
  self->constants = (void **)tsr_arena_alloc_array(&self->memory, count_constants(program),
                                                   sizeof *self->constants);
  if (self->kernels == NULL || self->constants == NULL)
    status = tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while loading a module");
  if (status == TSR_OK)
    status = choose_units(self, diag);
  if (status == TSR_OK)
    *out_program = self;
  else
    tsr_cuda_program_destroy(self);
  return status;
}

tsr_status tsr_cuda_program_create_part(cuda_program *whole, uint32_t part, uint32_t first_constant,
                                        tsr_diag *diag, cuda_program **out_program) {
  TSR_TRY(tsr_cuda_program_create(whole->device, &whole->program->parts[part], whole->allocator,
                                  diag, out_program));
  (*out_program)->whole = whole;
  (*out_program)->constants = whole->constants + first_constant;
  return TSR_OK;
}

static void unload(cuda_program *self) {
  if (tsr_cuda_enter(self->device, NULL) != TSR_OK)
    return;
  for (uint32_t i = 0; self->kernels != NULL && i < self->program->kernel_count; i++)
    if (self->kernels[i].module != NULL)
      (void)self->device->driver.cuModuleUnload(self->kernels[i].module);
  tsr_cuda_release_synchronously(self->device, self->constant_data);
  tsr_cuda_leave(self->device);
}

void tsr_cuda_program_destroy(cuda_program *program) {
  const tsr_allocator *allocator;
  if (program == NULL)
    return;
  allocator = program->allocator;
  if (program->device->context != NULL) /* nobody else makes one: this is the last reference */
    unload(program);
  tsr_arena_reset(&program->memory);
  (void)pthread_mutex_destroy(&program->lock);
  tsr_cuda_device_release(program->device);
  allocator->release(allocator->context, program, sizeof *program);
}

/* ---- Kernels ---- */

static tsr_status load_failed(const cuda_program *self, uint32_t kernel, tsr_cu_result result,
                              const char *log, tsr_diag *diag) {
  const tsr_kernel_desc *desc = &self->program->kernels[kernel];
  const tsr_cuda_unit *unit = self->kernels[kernel].unit;
  char what[400];
  tsr_status status;
  if (result == TSR_CU_ERROR_UNSUPPORTED_PTX)
    return tsr_fail(diag, TSR_ERR_DEVICE,
                    "kernel '%.100s': the NVIDIA driver, which is for CUDA %d.%d, is too old for "
                    "the module's PTX; update it, or compile with an NVRTC of its version",
                    desc->name, self->device->version / 1000, self->device->version % 1000 / 10);
  (void)snprintf(what, sizeof what,
                 "kernel '%.100s': the CUDA driver does not take its %s for "
                 "sm_%u%s%s%.160s",
                 desc->name, kind_text(unit->kind), unit->capability,
                 unit->specific != 0 ? "a" : "", log[0] != '\0' ? ": " : "", log);
  status = tsr_cuda_check(self->device, diag, result, what);
  return status;
}

/* Units with the same bytes are one driver module, which the first of their kernels holds. */
static tsr_status load_unit(cuda_program *self, uint32_t kernel, tsr_diag *diag,
                            tsr_cu_module *out_module) {
  cuda_kernel *state = &self->kernels[kernel];
  const unsigned char *image = (const unsigned char *)self->program->image;
  char log[LOG_BYTES] = "";
  int options[] = {JIT_ERROR_LOG, JIT_ERROR_LOG_BYTES};
  void *values[] = {log, (void *)(uintptr_t)sizeof log};
  tsr_cu_result result;
  for (uint32_t i = 0; i < self->program->kernel_count; i++) {
    *out_module = self->kernels[i].module;
    if (*out_module != NULL && self->kernels[i].unit->offset == state->unit->offset)
      return TSR_OK;
  }
  result = self->device->driver.cuModuleLoadDataEx(&state->module, image + state->unit->offset, 2,
                                                   options, values);
  log[sizeof log - 1] = '\0';
  if (result != 0) {
    state->module = NULL;
    return load_failed(self, kernel, result, log, diag);
  }
  *out_module = state->module;
  return TSR_OK;
}

static tsr_status set_attribute(const cuda_program *self, const tsr_kernel_desc *desc,
                                tsr_cu_function function, int attribute, int value,
                                tsr_diag *diag) {
  char what[200];
  (void)snprintf(what, sizeof what, "kernel '%.100s': cannot set attribute %d to %d", desc->name,
                 attribute, value);
  return tsr_cuda_check(self->device, diag,
                        self->device->driver.cuFuncSetAttribute(function, attribute, value), what);
}

static tsr_status load_function(cuda_program *self, uint32_t kernel, tsr_diag *diag) {
  const tsr_kernel_desc *desc = &self->program->kernels[kernel];
  tsr_cu_module module;
  tsr_cu_function function;
  char what[300];
  if (desc->shared_bytes > (uint32_t)self->device->shared_bytes)
    return tsr_fail(
        diag, TSR_ERR_DEVICE,
        "kernel '%.100s' needs %u bytes of shared memory, a block of device %d, %s, has "
        "%d",
        desc->name, desc->shared_bytes, (int)self->device->ordinal, self->device->name,
        self->device->shared_bytes);
  TSR_TRY(load_unit(self, kernel, diag, &module));
  (void)snprintf(what, sizeof what, "kernel '%.100s': its code has no function '%.100s'",
                 desc->name, desc->symbol);
  TSR_TRY(tsr_cuda_check(self->device, diag,
                         self->device->driver.cuModuleGetFunction(&function, module, desc->symbol),
                         what));
  if (desc->shared_bytes > SHARED_WITHOUT_ATTRIBUTE)
    TSR_TRY(set_attribute(self, desc, function, TSR_CU_FUNCTION_MAX_DYNAMIC_SHARED,
                          (int)desc->shared_bytes, diag));
  if (desc->cluster > PORTABLE_CLUSTER)
    TSR_TRY(set_attribute(self, desc, function, TSR_CU_FUNCTION_NON_PORTABLE_CLUSTER, 1, diag));
  self->kernels[kernel].function = function;
  return TSR_OK;
}

tsr_status tsr_cuda_program_function(cuda_program *program, uint32_t kernel, tsr_diag *diag,
                                     tsr_cu_function *out_function) {
  tsr_status status = TSR_OK;
  (void)pthread_mutex_lock(&program->lock);
  if (program->kernels[kernel].function == NULL)
    status = load_function(program, kernel, diag);
  *out_function = program->kernels[kernel].function;
  (void)pthread_mutex_unlock(&program->lock);
  return status;
}

/* ---- Constants ---- */

typedef struct placed_constant {
  const void *data;
  uint64_t bytes, offset;
  uint32_t number;
} placed_constant;

static int compare_places(const void *left, const void *right) {
  const placed_constant *a = (const placed_constant *)left, *b = (const placed_constant *)right;
  if (a->data != b->data)
    return (uintptr_t)a->data < (uintptr_t)b->data ? -1 : 1;
  return a->bytes < b->bytes ? -1 : a->bytes > b->bytes;
}

static bool is_same(const placed_constant *a, const placed_constant *b) {
  return a->data == b->data && a->bytes == b->bytes;
}

/* In the order in which the file has them; the same bytes of the file have one place. */
static tsr_status place_constants(const tsr_program *p, placed_constant *places,
                                  uint64_t *out_bytes, tsr_diag *diag) {
  uint64_t at = 0;
  uint32_t count = p->constant_count;
  for (uint32_t i = 0; i < count; i++)
    places[i] = (placed_constant){p->constants[i].data, p->constants[i].bytes, 0, i};
  for (uint32_t n = 0; n < p->part_count; n++)
    for (uint32_t i = 0; i < p->parts[n].constant_count; i++, count++)
      places[count] = (placed_constant){p->parts[n].constants[i].data,
                                        p->parts[n].constants[i].bytes, 0, count};
  qsort(places, count, sizeof *places, compare_places);
  for (uint32_t i = 0; i < count; i++) {
    if (i != 0 && is_same(&places[i], &places[i - 1])) {
      places[i].offset = places[i - 1].offset;
      continue;
    }
    if (places[i].bytes > (UINT64_MAX >> 2) - at)
      return tsr_fail(diag, TSR_ERR_SHAPE, "the constants of the module overflow");
    places[i].offset = at;
    at += (places[i].bytes + CONSTANT_ALIGNMENT - 1) / CONSTANT_ALIGNMENT * CONSTANT_ALIGNMENT;
  }
  *out_bytes = at;
  return TSR_OK;
}

static tsr_status copy_constants(cuda_program *self, const placed_constant *places, uint64_t bytes,
                                 cuda_staging *staging, unsigned char **out_data, tsr_diag *diag) {
  void *data = NULL;
  TSR_TRY(tsr_cuda_allocate(self->device, staging->stream, bytes, diag, &data));
  *out_data = (unsigned char *)data;
  for (uint32_t i = 0; i < count_constants(self->program); i++)
    if (i == 0 || !is_same(&places[i], &places[i - 1]))
      TSR_TRY(tsr_cuda_upload(staging, *out_data + places[i].offset, places[i].data,
                              places[i].bytes, diag));
  return TSR_OK;
}

/* Through a stream of its own, which nothing else waits for. */
static tsr_status upload_through_stream(cuda_program *self, const placed_constant *places,
                                        uint64_t bytes, unsigned char **out_data, tsr_diag *diag) {
  const tsr_cuda_driver *driver = &self->device->driver;
  cuda_staging staging;
  tsr_cu_stream stream;
  tsr_status status;
  tsr_cu_result result;
  TSR_TRY(tsr_cuda_check(self->device, diag,
                         driver->cuStreamCreate(&stream, TSR_CU_STREAM_NON_BLOCKING),
                         "cannot create a stream"));
  tsr_cuda_staging_init(&staging, self->device, stream);
  status = copy_constants(self, places, bytes, &staging, out_data, diag);
  result = driver->cuStreamSynchronize(stream);
  if (status == TSR_OK)
    status = tsr_cuda_check(self->device, diag, result, "cannot copy constants to the CUDA device");
  tsr_cuda_staging_destroy(&staging);
  (void)driver->cuStreamDestroy_v2(stream);
  return status;
}

static tsr_status upload(cuda_program *self, tsr_diag *diag) {
  uint32_t count = count_constants(self->program);
  placed_constant *places;
  uint64_t bytes = 0;
  unsigned char *data = NULL;
  tsr_status status;
  places = (placed_constant *)tsr_arena_alloc_array(&self->memory, count, sizeof *places);
  if (places == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while copying constants");
  TSR_TRY(place_constants(self->program, places, &bytes, diag));
  if (bytes == 0)
    return TSR_OK;
  status = upload_through_stream(self, places, bytes, &data, diag);
  if (status != TSR_OK) {
    tsr_cuda_release_synchronously(self->device, data);
    return status;
  }
  self->constant_data = data;
  for (uint32_t i = 0; i < count; i++)
    self->constants[places[i].number] = places[i].bytes != 0 ? data + places[i].offset : NULL;
  return TSR_OK;
}

tsr_status tsr_cuda_program_upload(cuda_program *program, tsr_diag *diag) {
  tsr_status status = TSR_OK;
  if (program->whole != NULL)
    program = program->whole;
  (void)pthread_mutex_lock(&program->lock);
  if (program->constant_data == NULL)
    status = upload(program, diag);
  (void)pthread_mutex_unlock(&program->lock);
  return status;
}
