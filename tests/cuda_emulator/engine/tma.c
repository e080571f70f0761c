/* TMA: boxes of tensors between global and shared memory, and bulk copies. */
#include "codegen/cuda/device/device_common.h"
#include "tests/cuda_emulator/engine/engine.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC 0x7473726d61700001ull

static size_t box_bytes(const tensor_map *map) {
  size_t bytes = map->element_bytes;
  for (int i = 0; i < map->rank; ++i)
    bytes *= map->box[i];
  return bytes;
}

static uint32_t swizzled(const tensor_map *map, uint32_t offset) {
  switch (map->swizzle) {
  case TSR_SWIZZLE_128:
    return tsr_swizzle_128(offset);
  case TSR_SWIZZLE_64:
    return tsr_swizzle_64(offset);
  case TSR_SWIZZLE_32:
    return tsr_swizzle_32(offset);
  default:
    return offset;
  }
}

/* Calls row(context, global address or NULL, first byte and bytes inside of the tensor's row,
 * offset in the box) for every innermost row of the box. `inside` is clipped to the tensor. */
typedef void row_action(void *context, uint8_t *global, size_t skip, size_t inside, size_t bytes,
                        uint32_t offset);

static void for_each_row(const tensor_map *map, const int *coordinates, row_action *row,
                         void *context) {
  size_t row_bytes = (size_t)map->box[0] * map->element_bytes, rows = 1;
  for (int i = 1; i < map->rank; ++i)
    rows *= map->box[i];
  int64_t from = coordinates[0] < 0 ? -(int64_t)coordinates[0] : 0;
  int64_t to = (int64_t)map->dims[0] - coordinates[0];
  from = from > map->box[0] ? map->box[0] : from;
  to = to > map->box[0] ? map->box[0] : to;
  for (size_t r = 0; r < rows; ++r) {
    size_t rest = r;
    bool inside = to > from;
    uint8_t *global = map->base + ((int64_t)coordinates[0] + from) * map->element_bytes;
    for (int i = 1; i < map->rank; ++i) {
      int64_t at = coordinates[i] + (int64_t)(rest % map->box[i]);
      rest /= map->box[i];
      inside = inside && at >= 0 && at < (int64_t)map->dims[i];
      global += at * (int64_t)map->strides[i - 1];
    }
    if (inside)
      row(context, global, (size_t)from * map->element_bytes,
          (size_t)(to - from) * map->element_bytes, row_bytes, (uint32_t)(r * row_bytes));
    else
      row(context, NULL, 0, 0, row_bytes, (uint32_t)(r * row_bytes));
  }
}

static const tensor_map *use_map(fiber *f, const void *map, int dims) {
  const tensor_map *m = map;
  if (tsr_running->arch < 90)
    fail_thread("TMA needs sm_90");
  if ((uintptr_t)map % 64 != 0 || m->magic != MAGIC)
    fail_thread("TMA: the tensor map is not one that was encoded, or is not 64-byte aligned");
  if (m->rank != dims)
    fail_thread("TMA: %d coordinates for a tensor map of rank %d", dims, m->rank);
  (void)f;
  return m;
}

static region *use_box(fiber *f, const tensor_map *map, const void *shared, const char *what) {
  static const size_t alignment[] = {128, 1024, 512, 256};
  return check_range(f, shared, box_bytes(map), alignment[map->swizzle], TSR_SPACE_SHARED, what);
}

/* The pattern starts at an address aligned to its size, so the offset alone is swizzled. */
static void load_row(void *context, uint8_t *global, size_t skip, size_t inside, size_t bytes,
                     uint32_t offset) {
  void **both = context;
  uint8_t *shared = both[0];
  const tensor_map *map = both[1];
  uint8_t row[2048];
  memset(row, 0, bytes);
  if (global)
    memcpy(row + skip, global, inside);
  for (size_t i = 0; i < bytes; i += 16)
    memcpy(shared + swizzled(map, offset + (uint32_t)i), row + i, 16);
}

static void check_load_row(void *context, uint8_t *global, size_t skip, size_t inside, size_t bytes,
                           uint32_t offset) {
  (void)skip;
  (void)bytes;
  (void)offset;
  fiber *f = context;
  tsr_emulator *e = tsr_running;
  if (!global)
    return;
  region *r = check_range(f, global, inside, 1, TSR_SPACE_GLOBAL, "TMA load");
  char why[256];
  if (!race_free(e, r, f->block->cluster, f->column, f->clock[f->column], f->clock,
                 (size_t)(global - r->base), inside, TSR_ACCESS_READ | ACCESS_ASYNC, true, why,
                 sizeof(why)))
    fail_thread("%s", why);
}

static void land(tsr_emulator *e, load *l) {
  for (int i = 0; i < l->to_count && !e->failed; ++i) {
    block *b = l->to[i].block;
    mbarrier *bar = l->to[i].bar;
    cluster *c = l->cluster;
    uint8_t *shared = l->to[i].shared;
    size_t offset = (size_t)(shared - b->shared.base);
    mark_pending(&b->shared, offset, l->bytes, b->shared.pending_write, -1);
    if (l->global) {
      memcpy(shared, l->global, l->bytes);
    } else {
      void *both[] = {shared, &l->map};
      for_each_row(&l->map, l->coordinates, load_row, both);
    }
    memset(b->shared.written + offset, 1, l->bytes);
    uint32_t step = ++c->agent_step[bar->agent - (uint32_t)c->fiber_count];
    /* What the issuing thread had seen was checked then: nobody has to be ordered before now. */
    for (size_t word = offset / 4; word * 4 < offset + l->bytes; ++word) {
      memset(b->shared.slots[word], 0, sizeof(b->shared.slots[word]));
      b->shared.slots[word][0] = (slot){.run = c->run,
                                        .clock = step,
                                        .column = (uint16_t)bar->agent,
                                        .bytes = 15,
                                        .kind = TSR_ACCESS_WRITE | ACCESS_ASYNC};
    }
    if (bar->clock[bar->agent] < step)
      bar->clock[bar->agent] = step;
    mbarrier_land(e, bar, l->bytes);
  }
}

static void check_target(fiber *f, block *b, uint8_t *shared, size_t bytes) {
  char why[256];
  size_t offset = (size_t)(shared - b->shared.base);
  check_alive(f, b, "TMA load");
  check_pending(f, &b->shared, offset, bytes, TSR_ACCESS_WRITE, "TMA load writes");
  if (!race_free(tsr_running, &b->shared, b->cluster, f->column, f->clock[f->column], f->clock,
                 offset, bytes, TSR_ACCESS_WRITE | ACCESS_ASYNC, false, why, sizeof(why)))
    fail_thread("TMA load: %s", why);
  memset(b->shared.written + offset, 0, bytes);
  mark_pending(&b->shared, offset, bytes, b->shared.pending_write, 1);
}

static void start_load(fiber *f, load *l, uint8_t *shared, unsigned long long *address,
                       unsigned blocks) {
  tsr_emulator *e = tsr_running;
  block *b = f->block;
  cluster *c = b->cluster;
  l->cluster = c;
  if ((uint8_t *)shared < b->shared.base || shared >= b->shared.base + b->shared.size)
    fail_thread("TMA load into the shared memory of another block: use multicast");
  unsigned mask = blocks ? blocks & 0xffffu : 1u << b->rank;
  if (mask == 0 || mask >> c->block_count)
    fail_thread("TMA multicast to blocks %#x of a cluster of %d", mask, c->block_count);
  for (int rank = 0; rank < c->block_count; ++rank) {
    if (!(mask >> rank & 1))
      continue;
    block *to = &c->blocks[rank];
    uint8_t *there = to->shared.base + (shared - b->shared.base);
    uint8_t *bar_there = to->shared.base + ((uint8_t *)address - b->shared.base);
    mbarrier *bar = use_mbarrier(f, bar_there, "TMA load");
    if (!bar->fenced)
      fail_thread("TMA load on an mbarrier without a fence since its initialisation");
    check_target(f, to, there, l->bytes);
    l->to[l->to_count].block = to;
    l->to[l->to_count].shared = there;
    l->to[l->to_count++].bar = bar;
  }
  ++f->clock[f->column];
  bool eager = e->launch->seed % 3 == 1 || (e->launch->seed % 3 == 2 && random_below(e, 2));
  if (eager) {
    land(e, l);
    return;
  }
  if (e->load_count == e->load_capacity) {
    int capacity = e->load_capacity ? 2 * e->load_capacity : 8;
    load *grown = realloc(e->loads, (size_t)capacity * sizeof(*grown));
    if (!grown)
      fail_thread("the emulator is out of memory");
    e->loads = grown;
    e->load_capacity = capacity;
  }
  e->loads[e->load_count++] = *l;
}

void api_tma_load(void *shared, const void *map, unsigned long long *bar, int dims,
                  const int *coordinates, unsigned blocks) {
  fiber *f = tsr_running->current;
  const tensor_map *m = use_map(f, map, dims);
  use_box(f, m, shared, "TMA load");
  for_each_row(m, coordinates, check_load_row, f);
  load l = {.map = *m, .bytes = (uint32_t)box_bytes(m)};
  memcpy(l.coordinates, coordinates, (size_t)dims * sizeof(int));
  start_load(f, &l, shared, bar, blocks);
}

void api_bulk_load(void *shared, const void *global, int bytes, unsigned long long *bar) {
  fiber *f = tsr_running->current;
  if (tsr_running->arch < 90)
    fail_thread("bulk copies need sm_90");
  if (bytes <= 0 || bytes % 16 != 0)
    fail_thread("bulk copy of %d bytes: a multiple of 16 is needed", bytes);
  check_range(f, shared, (size_t)bytes, 16, TSR_SPACE_SHARED, "bulk copy to");
  check_range(f, global, (size_t)bytes, 16, TSR_SPACE_GLOBAL, "bulk copy from");
  check_load_row(f, (uint8_t *)(uintptr_t)global, 0, (size_t)bytes, (size_t)bytes, 0);
  load l = {.global = global, .bytes = (uint32_t)bytes};
  start_load(f, &l, shared, bar, 0);
}

bool land_one_load(tsr_emulator *e) {
  if (e->load_count == 0)
    return false;
  int i = e->launch->seed == 0 ? 0 : (int)random_below(e, (uint32_t)e->load_count);
  load l = e->loads[i];
  e->loads[i] = e->loads[--e->load_count];
  land(e, &l);
  return true;
}

void api_tma_store(const void *map, const void *shared, int dims, const int *coordinates) {
  fiber *f = tsr_running->current;
  const tensor_map *m = use_map(f, map, dims);
  region *r = use_box(f, m, shared, "TMA store");
  size_t offset = (size_t)((const uint8_t *)shared - r->base), bytes = box_bytes(m);
  char why[256];
  check_pending(f, r, offset, bytes, TSR_ACCESS_READ, "TMA store reads");
  check_written(f, r, offset, bytes);
  check_proxy(f, r, offset, bytes, "TMA store");
  if (!race_free(tsr_running, r, f->block->cluster, f->column, f->clock[f->column], f->clock,
                 offset, bytes, TSR_ACCESS_READ | ACCESS_ASYNC, true, why, sizeof(why)))
    fail_thread("TMA store: %s", why);
  mark_pending(r, offset, bytes, r->pending_read, 1);
  if (f->store_count == f->store_capacity) {
    int capacity = f->store_capacity ? 2 * f->store_capacity : 4;
    tma_store *grown = realloc(f->stores, (size_t)capacity * sizeof(*grown));
    if (!grown)
      fail_thread("the emulator is out of memory");
    f->stores = grown;
    f->store_capacity = capacity;
  }
  tma_store *s = &f->stores[f->store_count++];
  *s = (tma_store){.map = m, .shared = shared, .group = f->store_group};
  memcpy(s->coordinates, coordinates, (size_t)dims * sizeof(int));
}

typedef struct store_context {
  fiber *f;
  const tma_store *store;
} store_context;

static void store_row(void *context, uint8_t *global, size_t skip, size_t inside, size_t bytes,
                      uint32_t offset) {
  const store_context *s = context;
  fiber *f = s->f;
  uint8_t row[2048];
  for (size_t i = 0; i < bytes; i += 16)
    memcpy(row + i, s->store->shared + swizzled(s->store->map, offset + (uint32_t)i), 16);
  if (!global)
    return;
  tsr_emulator *e = tsr_running;
  region *r = check_range(f, global, inside, 1, TSR_SPACE_GLOBAL, "TMA store");
  char why[256];
  if (!race_free(e, r, f->block->cluster, f->column, f->clock[f->column], f->clock,
                 (size_t)(global - r->base), inside, TSR_ACCESS_WRITE | ACCESS_ASYNC, true, why,
                 sizeof(why)))
    fail_thread("TMA store: %s", why);
  memcpy(global, row + skip, inside);
}

void finish_stores(fiber *f, int up_to_group, bool only_read) {
  int kept = 0;
  (void)only_read;
  for (int i = 0; i < f->store_count; ++i) {
    const tma_store *s = &f->stores[i];
    if (s->group >= up_to_group) {
      f->stores[kept++] = *s;
      continue;
    }
    region *r = find_region(tsr_running, f, s->shared);
    mark_pending(r, (size_t)(s->shared - r->base), box_bytes(s->map), r->pending_read, -1);
    for_each_row(s->map, s->coordinates, store_row, &(store_context){f, s});
  }
  f->store_count = kept;
}

void api_tma_store_commit(void) {
  ++tsr_running->current->store_group;
}

void api_tma_store_wait(int groups, int read) {
  fiber *f = tsr_running->current;
  if (groups < 0)
    fail_thread("cp.async.bulk.wait_group %d", groups);
  finish_stores(f, f->store_group - groups, read != 0);
}

bool tsr_emulator_encode_tensor_map(tsr_emulator *e, void *out_map, uint32_t rank,
                                    uint32_t element_bytes, void *base, const uint64_t *dims,
                                    const uint64_t *strides, const uint32_t *box,
                                    uint32_t swizzle) {
  static const uint32_t width[] = {0, 128, 64, 32};
  memset(out_map, 0, 128);
  if ((uintptr_t)out_map % 64 != 0)
    return fail_call(e, "tensor map: the map must be 64-byte aligned");
  if (rank < 1 || rank > 5)
    return fail_call(e, "tensor map: rank %u is not in 1..5", rank);
  if (element_bytes != 1 && element_bytes != 2 && element_bytes != 4 && element_bytes != 8)
    return fail_call(e, "tensor map: elements of %u bytes", element_bytes);
  if ((uintptr_t)base % 16 != 0 || !base)
    return fail_call(e, "tensor map: the base address is not a multiple of 16");
  if (swizzle > 3)
    return fail_call(e, "tensor map: no swizzle %u", swizzle);
  tensor_map m = {.magic = MAGIC,
                  .base = base,
                  .rank = (uint8_t)rank,
                  .element_bytes = (uint8_t)element_bytes,
                  .swizzle = (uint8_t)swizzle};
  for (uint32_t i = 0; i < rank; ++i) {
    if (dims[i] == 0 || dims[i] > 1ull << 32)
      return fail_call(e, "tensor map: dimension %u of %llu elements is not in 1..2^32", i,
                       (unsigned long long)dims[i]);
    if (box[i] == 0 || box[i] > 256)
      return fail_call(e, "tensor map: box of %u elements in dimension %u is not in 1..256", box[i],
                       i);
    if (i > 0 && (strides[i - 1] % 16 != 0 || strides[i - 1] >= 1ull << 40))
      return fail_call(e,
                       "tensor map: stride %llu of dimension %u is not a multiple of 16 below 2^40",
                       (unsigned long long)strides[i - 1], i);
    m.dims[i] = dims[i];
    m.box[i] = (uint16_t)box[i];
    if (i > 0)
      m.strides[i - 1] = strides[i - 1];
  }
  if (box[0] * element_bytes % 16 != 0)
    return fail_call(e, "tensor map: the box's rows of %u bytes are not a multiple of 16",
                     box[0] * element_bytes);
  if (swizzle && box[0] * element_bytes > width[swizzle])
    return fail_call(e, "tensor map: the box's rows of %u bytes exceed the swizzle's %u",
                     box[0] * element_bytes, width[swizzle]);
  memcpy(out_map, &m, sizeof(m));
  e->error[0] = '\0';
  return true;
}
