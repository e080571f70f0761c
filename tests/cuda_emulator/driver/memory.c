/* Device memory: pages of its own, which the host cannot touch while no work runs. */
#include "tests/cuda_emulator/driver/state.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static bool overlaps(const uint8_t *base, size_t size, const void *address) {
  return (const uint8_t *)address >= base && (const uint8_t *)address < base + size;
}

static bool holds(const device_memory *m, const void *address, size_t bytes) {
  return overlaps(m->base, m->bytes, address) &&
         bytes <= m->bytes - (size_t)((const uint8_t *)address - m->base);
}

device_memory *find_memory(const context *c, const void *address, size_t bytes) {
  for (object *o = NULL; (o = object_next(o, OBJECT_MEMORY, c)) != NULL;)
    if (!((device_memory *)o)->freed && holds((device_memory *)o, address, bytes))
      return (device_memory *)o;
  return NULL;
}

bool is_still_memory(const context *c, const void *address, size_t bytes) {
  for (object *o = NULL; (o = object_next(o, OBJECT_MEMORY, c)) != NULL;)
    if (holds((device_memory *)o, address, bytes))
      return true;
  return false;
}

bool is_device_memory(const void *address) {
  for (object *o = NULL; (o = object_next(o, OBJECT_MEMORY, NULL)) != NULL;)
    if (overlaps(((device_memory *)o)->base, ((device_memory *)o)->mapped, address))
      return true;
  return false;
}

host_memory *find_host_memory(const void *address) {
  for (object *o = NULL; (o = object_next(o, OBJECT_HOST_MEMORY, NULL)) != NULL;)
    if (overlaps(((host_memory *)o)->base, ((host_memory *)o)->bytes, address))
      return (host_memory *)o;
  return NULL;
}

static void protect(const context *c, int protection) {
  for (object *o = NULL; (o = object_next(o, OBJECT_MEMORY, c)) != NULL;)
    mprotect(((device_memory *)o)->base, ((device_memory *)o)->mapped, protection);
}

void open_memory(const context *c) {
  protect(c, PROT_READ | PROT_WRITE);
}

void close_memory(const context *c) {
  protect(c, PROT_NONE);
}

static tsr_cu_result allocate(context *c, tsr_cu_pointer *pointer, size_t bytes) {
  device *d = &the_driver.devices[c->device];
  *pointer = 0;
  if (bytes == 0)
    return EMULATED_INVALID_VALUE;
  if (bytes > d->memory_bytes - d->used_bytes)
    return EMULATED_OUT_OF_MEMORY;
  size_t mapped = (bytes + 4095) / 4096 * 4096;
  uint8_t *base = mmap(NULL, mapped, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED)
    return EMULATED_OUT_OF_MEMORY;
  device_memory *m = object_make(OBJECT_MEMORY, sizeof(*m), c);
  char name[64];
  snprintf(name, sizeof(name), "allocation %llu", (unsigned long long)the_driver.numbers);
  if (!m || !tsr_emulator_register(c->emulator, base, bytes, name)) {
    if (m)
      object_free(m);
    munmap(base, mapped);
    return EMULATED_OUT_OF_MEMORY;
  }
  memset(base, 0xff, mapped);
  mprotect(base, mapped, PROT_NONE);
  m->base = base;
  m->bytes = bytes;
  m->mapped = mapped;
  d->used_bytes += bytes;
  *pointer = (tsr_cu_pointer)(uintptr_t)base;
  return 0;
}

void release_memory(device_memory *m) {
  context *c = m->object.owner;
  the_driver.devices[c->device].used_bytes -= m->bytes;
  tsr_emulator_unregister(c->emulator, m->base);
  munmap(m->base, m->mapped);
  object_free(m);
}

EXPORT tsr_cu_result cuMemGetInfo_v2(size_t *available, size_t *total) {
  ENTER();
  context *c;
  TRY(current_context(&c));
  const device *d = &the_driver.devices[c->device];
  *total = d->memory_bytes;
  *available = d->memory_bytes - d->used_bytes;
  return 0;
}

EXPORT tsr_cu_result cuMemAlloc_v2(tsr_cu_pointer *pointer, size_t bytes) {
  ENTER();
  context *c;
  TRY(current_context(&c));
  TRY(not_while_capturing());
  return allocate(c, pointer, bytes);
}

static tsr_cu_result begin_free(const context *c, tsr_cu_pointer pointer, device_memory **out) {
  *out = find_memory(c, (void *)(uintptr_t)pointer, 0);
  if (!*out || (*out)->base != (uint8_t *)(uintptr_t)pointer)
    return refuse(EMULATED_INVALID_VALUE, "%#llx is freed, which is no device memory (any more)",
                  (unsigned long long)pointer);
  return 0;
}

EXPORT tsr_cu_result cuMemFree_v2(tsr_cu_pointer pointer) {
  ENTER();
  context *c;
  device_memory *m;
  TRY(current_context(&c));
  TRY(not_while_capturing());
  if (pointer == 0)
    return 0;
  TRY(begin_free(c, pointer, &m));
  run_all(c);
  release_memory(m);
  return c->error;
}

EXPORT tsr_cu_result cuMemAllocAsync(tsr_cu_pointer *pointer, size_t bytes, tsr_cu_stream handle) {
  ENTER();
  tsr_cu_stream stream;
  TRY(check_stream(handle, &stream));
  if (stream->capture)
    return refuse(EMULATED_STREAM_CAPTURE_UNSUPPORTED,
                  "allocations inside a captured graph are not emulated");
  return allocate(stream->object.owner, pointer, bytes);
}

EXPORT tsr_cu_result cuMemFreeAsync(tsr_cu_pointer pointer, tsr_cu_stream handle) {
  ENTER();
  tsr_cu_stream stream;
  device_memory *m;
  TRY(check_stream(handle, &stream));
  if (stream->capture)
    return refuse(EMULATED_STREAM_CAPTURE_UNSUPPORTED,
                  "frees inside a captured graph are not emulated");
  TRY(begin_free(stream->object.owner, pointer, &m));
  command *work = command_make(COMMAND_FREE);
  if (!work)
    return EMULATED_OUT_OF_MEMORY;
  work->to = m->base;
  m->freed = true;
  return give(stream, work);
}

EXPORT tsr_cu_result cuMemHostAlloc(void **pointer, size_t bytes, unsigned flags) {
  ENTER();
  context *c;
  *pointer = NULL;
  TRY(current_context(&c));
  TRY(not_while_capturing());
  if (bytes == 0 || flags > 7)
    return EMULATED_INVALID_VALUE;
  host_memory *m = object_make(OBJECT_HOST_MEMORY, sizeof(*m), c);
  if (!m || posix_memalign((void **)&m->base, 4096, bytes) != 0) {
    if (m)
      object_free(m);
    return EMULATED_OUT_OF_MEMORY;
  }
  m->bytes = bytes;
  *pointer = m->base;
  return 0;
}

EXPORT tsr_cu_result cuMemFreeHost(void *pointer) {
  ENTER();
  context *c;
  TRY(current_context(&c));
  TRY(not_while_capturing());
  host_memory *m = find_host_memory(pointer);
  if (!m || m->base != pointer)
    return refuse(EMULATED_INVALID_VALUE, "%p is freed, which is no pinned memory (any more)",
                  pointer);
  run_all(m->object.owner);
  free(m->base);
  object_free(m);
  return c->error;
}

static tsr_cu_result check_device_range(const context *c, const void *address, size_t bytes) {
  if (find_memory(c, address, bytes))
    return 0;
  return refuse(EMULATED_INVALID_VALUE, "a copy names %zu bytes at %p, which %s", bytes, address,
                is_device_memory(address) ? "reach beyond an allocation of the device"
                                          : "are no device memory");
}

static tsr_cu_result check_host_range(const void *address) {
  if (address && !is_device_memory(address))
    return 0;
  return refuse(EMULATED_INVALID_VALUE, "a copy names host memory at %p, which is none", address);
}

static tsr_cu_result give_copy(tsr_cu_stream stream, copy_kind kind, void *to, const void *from,
                               size_t bytes) {
  command *work = command_make(COMMAND_COPY);
  if (!work)
    return EMULATED_OUT_OF_MEMORY;
  work->copy = kind;
  work->to = to;
  work->from = from;
  work->bytes = bytes;
  /* Memory that is not pinned is read before the call returns. */
  if (kind == COPY_HOST_TO_DEVICE && !stream->capture && !find_host_memory(from)) {
    work->staged = malloc(bytes);
    if (!work->staged) {
      command_free(work);
      return EMULATED_OUT_OF_MEMORY;
    }
    memcpy(work->staged, from, bytes);
    work->from = work->staged;
  }
  return give(stream, work);
}

EXPORT tsr_cu_result cuMemcpyHtoDAsync_v2(tsr_cu_pointer to, const void *from, size_t bytes,
                                          tsr_cu_stream handle) {
  ENTER();
  tsr_cu_stream stream;
  TRY(check_stream(handle, &stream));
  if (bytes == 0)
    return 0;
  TRY(check_device_range(stream->object.owner, (void *)(uintptr_t)to, bytes));
  TRY(check_host_range(from));
  return give_copy(stream, COPY_HOST_TO_DEVICE, (void *)(uintptr_t)to, from, bytes);
}

EXPORT tsr_cu_result cuMemcpyDtoHAsync_v2(void *to, tsr_cu_pointer from, size_t bytes,
                                          tsr_cu_stream handle) {
  ENTER();
  tsr_cu_stream stream;
  TRY(check_stream(handle, &stream));
  if (bytes == 0)
    return 0;
  TRY(check_device_range(stream->object.owner, (void *)(uintptr_t)from, bytes));
  TRY(check_host_range(to));
  TRY(give_copy(stream, COPY_DEVICE_TO_HOST, to, (void *)(uintptr_t)from, bytes));
  /* Memory that is not pinned has been written when the call returns. */
  if (!stream->capture && !find_host_memory(to))
    run_until((moment){stream->line, stream->line->given});
  return stream->object.owner->error;
}

EXPORT tsr_cu_result cuMemcpyDtoDAsync_v2(tsr_cu_pointer to, tsr_cu_pointer from, size_t bytes,
                                          tsr_cu_stream handle) {
  ENTER();
  tsr_cu_stream stream;
  TRY(check_stream(handle, &stream));
  if (bytes == 0)
    return 0;
  TRY(check_device_range(stream->object.owner, (void *)(uintptr_t)from, bytes));
  TRY(check_device_range(stream->object.owner, (void *)(uintptr_t)to, bytes));
  return give_copy(stream, COPY_ON_DEVICE, (void *)(uintptr_t)to, (void *)(uintptr_t)from, bytes);
}

/* Between device memory only, row by row. */
EXPORT tsr_cu_result cuMemcpy2DAsync_v2(const tsr_cu_copy_2d *copy, tsr_cu_stream handle) {
  ENTER();
  tsr_cu_stream stream;
  TRY(check_stream(handle, &stream));
  if (copy->from_kind != TSR_CU_MEMORY_DEVICE || copy->to_kind != TSR_CU_MEMORY_DEVICE)
    return refuse(EMULATED_INVALID_VALUE, "copies of rows are emulated on the device only");
  if (copy->from_x + copy->row_bytes > copy->from_pitch ||
      copy->to_x + copy->row_bytes > copy->to_pitch || copy->from_pitch > INT32_MAX ||
      copy->to_pitch > INT32_MAX)
    return refuse(EMULATED_INVALID_VALUE, "rows of %zu bytes do not fit their pitches %zu and %zu",
                  copy->row_bytes, copy->from_pitch, copy->to_pitch);
  for (size_t row = 0; copy->row_bytes != 0 && row < copy->rows; row++) {
    uint8_t *to = (uint8_t *)(uintptr_t)copy->to_device + (copy->to_y + row) * copy->to_pitch;
    uint8_t *from =
        (uint8_t *)(uintptr_t)copy->from_device + (copy->from_y + row) * copy->from_pitch;
    TRY(check_device_range(stream->object.owner, from + copy->from_x, copy->row_bytes));
    TRY(check_device_range(stream->object.owner, to + copy->to_x, copy->row_bytes));
    TRY(give_copy(stream, COPY_ON_DEVICE, to + copy->to_x, from + copy->from_x, copy->row_bytes));
  }
  return 0;
}

EXPORT tsr_cu_result cuMemsetD8Async(tsr_cu_pointer to, unsigned char value, size_t bytes,
                                     tsr_cu_stream handle) {
  ENTER();
  tsr_cu_stream stream;
  TRY(check_stream(handle, &stream));
  if (bytes == 0)
    return 0;
  TRY(check_device_range(stream->object.owner, (void *)(uintptr_t)to, bytes));
  command *work = command_make(COMMAND_SET);
  if (!work)
    return EMULATED_OUT_OF_MEMORY;
  work->to = (uint8_t *)(uintptr_t)to;
  work->value = value;
  work->bytes = bytes;
  return give(stream, work);
}

EXPORT tsr_cu_result cuPointerGetAttribute(void *value, int attribute, tsr_cu_pointer pointer) {
  ENTER();
  const void *address = (void *)(uintptr_t)pointer;
  if (attribute != TSR_CU_POINTER_MEMORY_TYPE)
    return refuse(EMULATED_INVALID_VALUE, "pointer attribute %d is not emulated", attribute);
  if (find_memory(NULL, address, 0))
    *(unsigned *)value = TSR_CU_MEMORY_DEVICE;
  else if (find_host_memory(address))
    *(unsigned *)value = TSR_CU_MEMORY_HOST;
  else
    return EMULATED_INVALID_VALUE;
  return 0;
}
