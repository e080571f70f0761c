/* Which memory a thread may touch, and what is remembered of each access. */
#include "tests/cuda_emulator/engine/engine.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Zero pages that cost nothing until touched. */
static void *zero_pages(size_t bytes) {
  void *p =
      mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? NULL : p;
}

static size_t words_of(size_t size) {
  return size / 4 + 2;
}

bool region_init(region *r, void *base, size_t size, const char *name, bool watched) {
  *r = (region){.base = base, .size = size};
  snprintf(r->name, sizeof(r->name), "%s", name);
  if (!watched)
    return true;
  r->slots = zero_pages(words_of(size) * sizeof(*r->slots));
  return r->slots != NULL;
}

void region_clear(region *r) {
  if (r->slots)
    munmap(r->slots, words_of(r->size) * sizeof(*r->slots));
  free(r->written);
  free(r->pending_read);
  free(r->pending_write);
  *r = (region){0};
}

static bool inside(const region *r, const void *address) {
  return (const uint8_t *)address >= r->base && (const uint8_t *)address < r->base + r->size;
}

/* Global regions are sorted by address. */
static region *find_global(tsr_emulator *e, const void *address) {
  if (e->last_region && inside(e->last_region, address))
    return e->last_region;
  int low = 0, high = e->region_count;
  while (low < high) {
    int middle = (low + high) / 2;
    if ((const uint8_t *)address < e->regions[middle]->base)
      high = middle;
    else
      low = middle + 1;
  }
  if (low == 0 || !inside(e->regions[low - 1], address))
    return NULL;
  return e->last_region = e->regions[low - 1];
}

region *find_region(tsr_emulator *e, const fiber *f, const void *address) {
  if (inside(&f->block->shared, address))
    return &f->block->shared;
  cluster *c = f->block->cluster;
  for (int i = 0; i < c->block_count && c->block_count > 1; ++i)
    if (inside(&c->blocks[i].shared, address))
      return &c->blocks[i].shared;
  return find_global(e, address);
}

/* Says where an address is that belongs to no region. */
static void describe(tsr_emulator *e, const fiber *f, const void *address, char *out, size_t size) {
  const uint8_t *a = address;
  const region *s = &f->block->shared;
  for (int c = 0; c < e->cluster_count; ++c)
    for (int b = 0; b < e->clusters[c].block_count; ++b)
      if (inside(&e->clusters[c].blocks[b].shared, address)) {
        snprintf(out, size, "in the shared memory of block %lld", e->clusters[c].blocks[b].index);
        return;
      }
  if (a >= s->base && a < s->base + s->size + 65536) {
    snprintf(out, size, "%td bytes behind the end of shared memory (%zu bytes)",
             a - (s->base + s->size), s->size);
    return;
  }
  if (a < s->base && a + 65536 >= s->base) {
    snprintf(out, size, "%td bytes before shared memory", s->base - a);
    return;
  }
  if (a >= e->stacks && a < e->stacks + e->stack_count * STACK_BYTES) {
    snprintf(out, size, "in local memory of another thread");
    return;
  }
  const region *before = NULL, *after = NULL;
  for (int i = 0; i < e->region_count; ++i) {
    if (e->regions[i]->base <= a)
      before = e->regions[i];
    else if (!after)
      after = e->regions[i];
  }
  if (before && (!after || a - (before->base + before->size) <= after->base - a))
    snprintf(out, size, "%td bytes behind the end of buffer '%s' (%zu bytes)",
             a - (before->base + before->size), before->name, before->size);
  else if (after)
    snprintf(out, size, "%td bytes before buffer '%s'", after->base - a, after->name);
  else
    snprintf(out, size, "at %p, in no buffer", address);
}

static const char *kind_text(int kind) {
  if (kind & ACCESS_ASYNC)
    return kind & TSR_ACCESS_WRITE ? "asynchronous write" : "asynchronous read";
  if (kind & TSR_ACCESS_ATOMIC)
    return "atomic access";
  return kind & TSR_ACCESS_WRITE ? "write" : "read";
}

/* Whether the remembered access happened before what has `clock`. */
static bool ordered(const tsr_emulator *e, const slot *s, const cluster *c, uint32_t column,
                    const uint32_t *clock) {
  if (s->run != c->run) {
    uint32_t number = s->run - e->first_run;
    const cluster *other = number < (uint32_t)e->cluster_count ? &e->clusters[number] : NULL;
    if (other && other->run == s->run && s->clock <= other->grid_clock[s->column])
      return true;
    uint32_t time = e->released[s->run - e->first_run];
    return time != 0 && time <= c->acquired;
  }
  return s->column == column || clock[s->column] >= s->clock;
}

/* Shared memory is another one in every run. */
static bool forgotten(const tsr_emulator *e, const region *r, const slot *s, const cluster *c) {
  return s->run < e->first_run || (r->block && s->run != c->run);
}

static slot *victim(tsr_emulator *e, const region *r, slot *slots, const cluster *c,
                    uint32_t column, const uint32_t *clock, uint8_t bytes, int kind) {
  for (int i = 0; i < SLOTS; ++i)
    if (forgotten(e, r, &slots[i], c))
      return &slots[i];
  for (int i = 0; i < SLOTS; ++i) {
    const slot *s = &slots[i];
    bool stays = (s->kind & TSR_ACCESS_WRITE) && !(kind & TSR_ACCESS_WRITE);
    if (!stays && (s->bytes & ~bytes) == 0 && s->run == c->run && ordered(e, s, c, column, clock))
      return &slots[i];
  }
  for (int i = 0; i < SLOTS; ++i)
    if (!(slots[i].kind & TSR_ACCESS_WRITE))
      return &slots[(i + (int)(e->random & 1)) % SLOTS];
  return &slots[0];
}

static void describe_slot(const cluster *c, const slot *s, int kind, const region *r, size_t offset,
                          char *out, size_t size) {
  char who[96];
  if (s->run != c->run)
    snprintf(who, sizeof(who), "another block");
  else if (s->column >= (uint32_t)c->fiber_count)
    snprintf(who, sizeof(who), "a copy whose mbarrier was not waited for");
  else
    snprintf(who, sizeof(who), "thread %d of block %lld", c->fibers[s->column].self.thread,
             c->fibers[s->column].self.block);
  snprintf(out, size, "race: %s of byte %zu of %s is not ordered behind the %s by %s",
           kind_text(kind), offset, r->name, kind_text(s->kind), who);
}

bool race_free(tsr_emulator *e, region *r, const cluster *c, uint32_t column, uint32_t step,
               const uint32_t *clock, size_t offset, size_t bytes, int kind, bool remember,
               char *out_why, size_t why_size) {
  size_t end = offset + bytes;
  if (!r->slots)
    return true;
  for (size_t word = offset / 4; word * 4 < end; ++word) {
    uint8_t mask = 15;
    if (word * 4 < offset)
      mask = (uint8_t)(mask & (15u << (offset - word * 4)));
    if (word * 4 + 4 > end)
      mask = (uint8_t)(mask & (15u >> (word * 4 + 4 - end)));
    slot *slots = r->slots[word];
    for (int i = 0; i < SLOTS; ++i) {
      const slot *s = &slots[i];
      if (forgotten(e, r, s, c) || !(s->bytes & mask) || !((s->kind | kind) & TSR_ACCESS_WRITE) ||
          (s->kind & kind & TSR_ACCESS_ATOMIC) || ordered(e, s, c, column, clock))
        continue;
      describe_slot(c, s, kind, r, word * 4, out_why, why_size);
      return false;
    }
    if (remember)
      *victim(e, r, slots, c, column, clock, mask, kind) = (slot){.run = c->run,
                                                                  .clock = step,
                                                                  .column = (uint16_t)column,
                                                                  .bytes = mask,
                                                                  .kind = (uint8_t)kind};
  }
  return true;
}

void check_written(fiber *f, region *r, size_t offset, size_t bytes) {
  (void)f;
  if (!r->written)
    return;
  const uint8_t *hole = memchr(r->written + offset, 0, bytes);
  if (hole)
    fail_thread("reads byte %td of shared memory, which was never written", hole - r->written);
}

void check_pending(fiber *f, region *r, size_t offset, size_t bytes, int kind, const char *what) {
  (void)f;
  if (!r->pending_write)
    return;
  for (size_t word = offset / 4; word * 4 < offset + bytes; ++word) {
    if (r->pending_write[word])
      fail_thread("%s byte %zu of shared memory while an asynchronous copy writes it", what,
                  word * 4);
    if ((kind & TSR_ACCESS_WRITE) && r->pending_read[word])
      fail_thread("%s byte %zu of shared memory while an asynchronous operation reads it", what,
                  word * 4);
  }
}

void mark_pending(region *r, size_t offset, size_t bytes, uint8_t *marks, int delta) {
  (void)r;
  for (size_t word = offset / 4; word * 4 < offset + bytes; ++word)
    marks[word] = (uint8_t)(marks[word] + delta);
}

/* Writes of threads reach asynchronous reads behind a fence: of the writer after the write, or of
 * the thread that issues the read after it has seen the write. */
void check_proxy(fiber *f, region *r, size_t offset, size_t bytes, const char *what) {
  const cluster *c = f->block->cluster;
  for (size_t word = offset / 4; word * 4 < offset + bytes; ++word)
    for (int i = 0; i < SLOTS; ++i) {
      const slot *s = &r->slots[word][i];
      if (s->run != c->run || s->column >= (uint32_t)c->fiber_count ||
          !(s->kind & TSR_ACCESS_WRITE) || (s->kind & ACCESS_ASYNC))
        continue;
      const fiber *writer = &c->fibers[s->column];
      if (writer->proxy_view && writer->proxy_view[s->column] >= s->clock)
        continue;
      if (f->proxy_view && f->proxy_view[s->column] >= s->clock)
        continue;
      fail_thread("%s reads byte %zu of shared memory, written by thread %d without a "
                  "fence.proxy.async since",
                  what, word * 4, writer->self.thread);
    }
}

void check_alive(fiber *f, const block *b, const char *what) {
  if (b != f->block && b->alive == 0)
    fail_thread("%s reaches shared memory of block %lld of the cluster, which has ended", what,
                b->index);
}

region *check_range(fiber *f, const void *address, size_t bytes, size_t alignment, int space,
                    const char *what) {
  tsr_emulator *e = tsr_running;
  region *r = find_region(e, f, address);
  char where[256];
  if (!r) {
    describe(e, f, address, where, sizeof(where));
    fail_thread("%s out of bounds: %s", what, where);
  }
  size_t offset = (size_t)((const uint8_t *)address - r->base);
  if (bytes > r->size - offset) {
    fail_thread("%s out of bounds: %zu bytes at byte %zu of %s, which has %zu", what, bytes, offset,
                r->name, r->size);
  }
  if ((uintptr_t)address % alignment != 0)
    fail_thread("%s misaligned: byte %zu of %s, not a multiple of %zu", what, offset, r->name,
                alignment);
  if (r->block)
    check_alive(f, r->block, what);
  if (space == TSR_SPACE_SHARED && !r->block)
    fail_thread("%s of shared memory names buffer '%s'", what, r->name);
  if (space == TSR_SPACE_GLOBAL && r->block)
    fail_thread("%s of global memory names shared memory", what);
  return r;
}

static bool on_own_stack(const fiber *f, const void *address) {
  const char *a = address;
  return a >= f->context.stack && a < f->context.stack + f->context.stack_bytes;
}

/* Constants and tables of the text itself. */
static bool in_text(const tsr_emulator *e, const void *address) {
  Dl_info home, info;
  return dladdr((void *)(uintptr_t)e->kernel->entry.call, &home) && dladdr(address, &info) &&
         info.dli_fbase == home.dli_fbase;
}

region *check_access(fiber *f, const void *address, size_t bytes, int kind, int space) {
  tsr_emulator *e = tsr_running;
  const char *what = kind & TSR_ACCESS_WRITE ? "writes" : "reads";
  if (on_own_stack(f, address) ||
      (!(kind & TSR_ACCESS_WRITE) && !find_region(e, f, address) && in_text(e, address)))
    return NULL;
  region *r =
      check_range(f, address, bytes, bytes, space, kind & TSR_ACCESS_WRITE ? "write" : "read");
  size_t offset = (size_t)((const uint8_t *)address - r->base);
  char why[256];
  if (r->block) {
    check_pending(f, r, offset, bytes, kind, what);
    if (!(kind & TSR_ACCESS_WRITE) || (kind & TSR_ACCESS_ATOMIC))
      check_written(f, r, offset, bytes);
  }
  if (!race_free(e, r, f->block->cluster, f->column, f->clock[f->column], f->clock, offset, bytes,
                 kind, true, why, sizeof(why)))
    fail_thread("%s", why);
  if (r->written && (kind & TSR_ACCESS_WRITE))
    memset(r->written + offset, 1, bytes);
  return r;
}

void api_access(const void *address, int bytes, int kind, int space) {
  check_access(tsr_running->current, address, (size_t)bytes, kind, space);
}

/* Shared addresses: 1 kB is the system's, as on devices since sm_90; the block's rank stands above
 * bit 24. */
unsigned api_shared_address(const void *address) {
  fiber *f = tsr_running->current;
  region *r = find_region(tsr_running, f, address);
  const uint8_t *end = f->block->shared.base + f->block->shared.size;
  if (!r && (const uint8_t *)address == end)
    r = &f->block->shared;
  if (!r || !r->block)
    fail_thread("takes the shared address of what is not in shared memory");
  unsigned offset = (unsigned)((const uint8_t *)address - r->base) + 1024u;
  return r->block == f->block ? offset : offset | (unsigned)r->block->rank << 24;
}

/* Between clusters, order is followed for whole clusters: what one did before its latest release is
 * taken to be seen by all of another one that acquires later. */
void api_synchronise(const void *flag, int acquire, int release) {
  (void)flag;
  tsr_emulator *e = tsr_running;
  fiber *f = e->current;
  cluster *c = f->block->cluster;
  if (release) {
    clock_release(f, c->flag_clock);
    e->released[c->run - e->first_run] = ++e->time;
  }
  if (acquire) {
    clock_acquire(f, c->flag_clock);
    c->acquired = e->time;
  }
}

void api_spin(void) {
  yield_current(tsr_running);
}
