/* The device: its limits, its memory. */
#include "tests/cuda_emulator/engine/engine.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

tsr_emulator *tsr_emulator_create(int arch) {
  tsr_emulator *e = calloc(1, sizeof(*e));
  if (!e)
    return NULL;
  e->arch = arch;
#define BIND(result, name, parameters) e->api.name = api_##name;
  TSR_EMULATED_API(BIND)
#undef BIND
  return e;
}

void tsr_emulator_destroy(tsr_emulator *e) {
  if (!e)
    return;
  while (e->region_count > 0)
    tsr_emulator_unregister(e, e->regions[0]->base);
  unload_texts(e);
  if (e->stacks)
    munmap(e->stacks, e->stack_count * STACK_BYTES);
  free(e->regions);
  free(e->loads);
  free(e);
}

const char *tsr_emulator_error(const tsr_emulator *e) {
  return e->error;
}

uint32_t tsr_emulator_shared_limit(const tsr_emulator *e) {
  switch (e->arch) {
  case 80:
  case 87:
    return 163 * 1024;
  case 86:
  case 89:
  case 120:
    return 99 * 1024;
  default:
    return 227 * 1024;
  }
}

bool tsr_emulator_register(tsr_emulator *e, void *memory, size_t bytes, const char *name) {
  if (e->region_count == e->region_capacity) {
    int capacity = e->region_capacity ? 2 * e->region_capacity : 16;
    region **grown = realloc(e->regions, (size_t)capacity * sizeof(region *));
    if (!grown)
      return fail_call(e, "the emulator is out of memory");
    e->regions = grown;
    e->region_capacity = capacity;
  }
  region *r = calloc(1, sizeof(*r));
  if (!r || !region_init(r, memory, bytes, name, !e->unwatched)) {
    free(r);
    return fail_call(e, "the emulator is out of memory");
  }
  int at = e->region_count;
  while (at > 0 && e->regions[at - 1]->base > r->base)
    --at;
  memmove(e->regions + at + 1, e->regions + at, (size_t)(e->region_count - at) * sizeof(region *));
  e->regions[at] = r;
  ++e->region_count;
  return true;
}

void tsr_emulator_unregister(tsr_emulator *e, void *memory) {
  for (int i = 0; i < e->region_count; ++i) {
    region *r = e->regions[i];
    if (r->base != memory)
      continue;
    bool owned = r->owned;
    region_clear(r);
    free(r);
    if (owned)
      free(memory);
    --e->region_count;
    memmove(e->regions + i, e->regions + i + 1, (size_t)(e->region_count - i) * sizeof(region *));
    e->last_region = NULL;
    return;
  }
}

/* 256 bytes on both sides belong to no buffer. */
void *tsr_emulator_alloc(tsr_emulator *e, size_t bytes, const char *name) {
  void *memory = aligned_alloc(256, (bytes + 511) / 256 * 256);
  if (!memory || !tsr_emulator_register(e, memory, bytes, name)) {
    free(memory);
    return NULL;
  }
  memset(memory, 0xff, bytes);
  for (int i = 0; i < e->region_count; ++i)
    if (e->regions[i]->base == memory)
      e->regions[i]->owned = true;
  return memory;
}

void tsr_emulator_free(tsr_emulator *e, void *memory) {
  if (memory)
    tsr_emulator_unregister(e, memory);
}

void tsr_emulator_watch_buffers(tsr_emulator *e, bool watch) {
  e->unwatched = !watch;
}
