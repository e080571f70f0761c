/* A launch: clusters of fibers, one running at a time. The scheduler goes on with a warp as long as
 * one of its lanes can run, so that threads run ahead of others as far as the kernel lets them. */
#include "tests/cuda_emulator/engine/engine.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

_Thread_local tsr_emulator *tsr_running;

static uint64_t next_random(tsr_emulator *e) {
  e->random ^= e->random << 13;
  e->random ^= e->random >> 7;
  e->random ^= e->random << 17;
  return e->random;
}

uint32_t random_below(tsr_emulator *e, uint32_t bound) {
  return (uint32_t)((next_random(e) >> 33) % bound);
}

void make_runnable(fiber *f) {
  f->wait = WAIT_NONE;
  f->warp->runnable |= 1u << f->lane;
}

static void stop(tsr_emulator *e) {
  e->current->warp->runnable &= ~(1u << e->current->lane);
  tsr_fiber_switch(&e->current->context, &e->scheduler);
}

void block_current(tsr_emulator *e, wait_kind kind, int id, const void *where) {
  fiber *f = e->current;
  f->wait = kind;
  f->wait_id = id;
  f->where = where;
  stop(e);
}

void yield_current(tsr_emulator *e) {
  e->current->yielded = true;
  stop(e);
}

static void check_end(fiber *f) {
  if (f->store_count > 0)
    fail_thread("ends while its TMA stores may still read shared memory");
  if (f->warp->wgmma_count > 0)
    fail_thread("ends with wgmma operations that were not waited for");
}

static void thread_main(void *argument) {
  fiber *f = argument;
  tsr_emulator *e = tsr_running;
  e->kernel->entry.call(e->args);
  check_end(f);
  f->done = true;
  --f->block->cluster->alive;
  --f->block->alive;
  f->warp->runnable &= ~(1u << f->lane);
  tsr_fiber_end(&f->context, &e->scheduler);
}

/* The next warp with a runnable lane: the current one while it has any, unless the seed's order
 * changes now and then. */
static warp *pick_warp(tsr_emulator *e) {
  uint32_t seed = e->launch->seed, count = (uint32_t)e->warp_count;
  uint32_t at = (uint32_t)e->current_warp, step = seed == 1 ? count - 1 : 1;
  bool stay = seed < 2 || seed % 4 != 3 || random_below(e, 4) != 0;
  if (stay && e->warps[at]->runnable)
    return e->warps[at];
  if (seed >= 2) {
    at = random_below(e, count);
    step = random_below(e, 2) ? 1 : count - 1;
  }
  for (uint32_t i = 0; i < count; ++i) {
    at = (at + step) % count;
    if (e->warps[at]->runnable) {
      e->current_warp = (int)at;
      return e->warps[at];
    }
  }
  return NULL;
}

static fiber *pick(tsr_emulator *e) {
  warp *w = pick_warp(e);
  if (!w)
    return NULL;
  uint32_t mask = w->runnable;
  int lane = __builtin_ctz(mask);
  if (e->launch->seed == 1)
    lane = 31 - __builtin_clz(mask);
  if (e->launch->seed >= 2) {
    uint32_t turn = random_below(e, 32);
    uint32_t turned = turn ? mask >> turn | mask << (32 - turn) : mask;
    lane = (int)(((uint32_t)__builtin_ctz(turned) + turn) % 32);
  }
  return &w->lanes[lane];
}

/* Threads that poll go on when nobody else can. */
static bool resume_polling(tsr_emulator *e) {
  bool any = false;
  for (int i = 0; i < e->warp_count; ++i)
    for (int k = 0; k < e->warps[i]->lane_count; ++k) {
      fiber *f = &e->warps[i]->lanes[k];
      if (!f->yielded)
        continue;
      f->yielded = false;
      make_runnable(f);
      any = true;
    }
  if (any && ++e->idle_turns > 20000) {
    fail_launch(e, NULL, "threads poll for what never comes");
    return false;
  }
  return any;
}

static bool anyone_alive(const tsr_emulator *e) {
  for (int i = 0; i < e->cluster_count; ++i)
    if (e->clusters[i].alive > 0)
      return true;
  return false;
}

static void run_threads(tsr_emulator *e) {
  const tsr_emulated_self **self = e->kernel->text->info.self;
  while (!e->failed && anyone_alive(e)) {
    fiber *f = pick(e);
    if (!f) {
      if (land_one_load(e) || resume_polling(e))
        continue;
      e->current = NULL;
      report_deadlock(e);
      return;
    }
    e->current = f;
    *self = &f->self;
    tsr_fiber_switch(&e->scheduler, &f->context);
  }
  e->current = NULL;
}

static void free_thread(fiber *f) {
  free(f->proxy_view);
  free(f->copies);
  free(f->stores);
  f->proxy_view = NULL;
  f->copies = NULL;
  f->stores = NULL;
}

static void free_run(cluster *c) {
  for (int i = 0; i < c->fiber_count; ++i)
    free_thread(&c->fibers[i]);
  for (int i = 0; i < c->block_count; ++i) {
    block *b = &c->blocks[i];
    for (int k = 0; k < b->mbarrier_count; ++k)
      free(b->mbarriers[k].clock);
    b->mbarrier_count = 0;
    for (int k = 0; b->warps && k < b->warp_count; ++k)
      wgmma_clear(&b->warps[k]);
  }
}

static void cluster_free(cluster *c) {
  if (c->blocks)
    free_run(c);
  for (int i = 0; c->blocks && i < c->block_count; ++i) {
    uint8_t *memory = c->blocks[i].shared.base;
    region_clear(&c->blocks[i].shared);
    free(memory);
    free(c->blocks[i].warps);
  }
  free(c->blocks);
  free(c->fibers);
  free(c->clocks);
  *c = (cluster){0};
}

static bool block_init(tsr_emulator *e, cluster *c, block *b) {
  uint32_t bytes = e->launch->shared_bytes, threads = e->launch->threads;
  void *memory = aligned_alloc(1024, ((size_t)bytes + 1024 + 1023) / 1024 * 1024);
  if (!memory || !region_init(&b->shared, memory, bytes, "shared memory", true)) {
    free(memory);
    return false;
  }
  size_t words = bytes / 4 + 2;
  b->cluster = c;
  b->shared.block = b;
  b->shared.written = calloc(1, (size_t)bytes + 1);
  b->shared.pending_read = calloc(1, words);
  b->shared.pending_write = calloc(1, words);
  b->warp_count = (int)((threads + 31) / 32);
  b->warps = calloc((size_t)b->warp_count, sizeof(warp));
  return b->shared.written && b->shared.pending_read && b->shared.pending_write && b->warps;
}

/* Clocks: of the threads, of the barriers of each block, two of the cluster's barrier, the flags'.
 */
static bool cluster_init(tsr_emulator *e, cluster *c, int blocks) {
  uint32_t threads = e->launch->threads;
  *c = (cluster){.e = e, .block_count = blocks, .fiber_count = blocks * (int)threads};
  c->width = ((uint32_t)c->fiber_count + AGENTS + 7) / 8 * 8;
  size_t rows = (size_t)c->fiber_count + (size_t)blocks * BARRIERS + 4;
  c->blocks = calloc((size_t)blocks, sizeof(block));
  c->fibers = calloc((size_t)c->fiber_count, sizeof(fiber));
  c->clocks = calloc(rows * c->width, sizeof(uint32_t));
  if (!c->blocks || !c->fibers || !c->clocks)
    return false;
  for (int i = 0; i < blocks; ++i)
    if (!block_init(e, c, &c->blocks[i]))
      return false;
  return true;
}

static void begin_thread(tsr_emulator *e, cluster *c, block *b, int thread, char *stack) {
  const tsr_emulated_launch *l = e->launch;
  uint32_t column = (uint32_t)(b->rank * (int)l->threads + thread);
  fiber *f = &c->fibers[column];
  warp *w = &b->warps[thread / 32];
  *f = (fiber){.block = b, .warp = w, .lane = thread % 32, .column = column};
  f->clock = c->clocks + (size_t)column * c->width;
  f->clock[column] = 1;
  f->self = (tsr_emulated_self){.thread = thread,
                                .threads = (int)l->threads,
                                .block = b->index,
                                .blocks = (long long)l->grid[0] * l->grid[1],
                                .shared = b->shared.base,
                                .cluster_rank = b->rank,
                                .cluster_size = c->block_count};
  if (thread % 32 == 0)
    *w = (warp){.block = b, .lanes = f};
  ++w->lane_count;
  make_runnable(f);
  tsr_fiber_make(&f->context, stack, STACK_BYTES, thread_main, f);
}

/* A fresh state of a cluster whose first block is `first`. */
static void begin_cluster(tsr_emulator *e, cluster *c, long long first, char *stacks) {
  free_run(c);
  c->run = ++e->runs;
  c->alive = c->fiber_count;
  c->agents = 0;
  c->arrived = 0;
  c->cluster_phase = 0;
  c->acquired = 0;
  memset(c->agent_step, 0, sizeof(c->agent_step));
  size_t rows = (size_t)c->fiber_count + (size_t)c->block_count * BARRIERS + 4;
  memset(c->clocks, 0, rows * c->width * sizeof(uint32_t));
  uint32_t *row = c->clocks + (size_t)c->fiber_count * c->width;
  c->cluster_clock = row;
  c->cluster_done = row + c->width;
  c->flag_clock = row + 2 * c->width;
  c->grid_clock = row + 3 * c->width;
  row += 4 * c->width;
  for (int i = 0; i < c->block_count; ++i) {
    block *b = &c->blocks[i];
    b->index = first + i;
    b->rank = i;
    b->alive = (int)e->launch->threads;
    b->fibers = c->fibers + i * (int)e->launch->threads;
    memset(b->shared.base, 0xff, b->shared.size);
    memset(b->shared.written, 0, b->shared.size);
    memset(b->shared.pending_read, 0, b->shared.size / 4 + 2);
    memset(b->shared.pending_write, 0, b->shared.size / 4 + 2);
    for (int k = 0; k < BARRIERS; ++k, row += c->width)
      b->barriers[k] = (named_barrier){.clock = row};
    for (int t = 0; t < (int)e->launch->threads; ++t, stacks += STACK_BYTES)
      begin_thread(e, c, b, t, stacks);
  }
}

static void end_cluster(tsr_emulator *e, cluster *c) {
  for (int i = 0; i < e->load_count; ++i)
    if (e->loads[i].cluster == c)
      fail_launch(e, NULL, "a block ends while TMA loads into its shared memory are under way");
  for (int i = 0; i < c->block_count; ++i) {
    const block *b = &c->blocks[i];
    for (int w = 0; w < b->warp_count; ++w)
      if (b->warps[w].wgmma_issued !=
          (w / 4 * 4 + 3 < b->warp_count ? b->warps[w / 4 * 4].wgmma_issued : 0))
        fail_launch(e, NULL,
                    "block %lld: the warps of warpgroup %d issue different wgmma operations",
                    b->index, w / 4);
  }
}

/* Unused stacks cost address space only. One below each catches overflows while they are few. */
static bool make_stacks(tsr_emulator *e, size_t count) {
  if (count <= e->stack_count)
    return true;
  if (e->stacks)
    munmap(e->stacks, e->stack_count * STACK_BYTES);
  e->stack_count = 0;
  e->stacks = mmap(NULL, count * STACK_BYTES, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (e->stacks == MAP_FAILED) {
    e->stacks = NULL;
    return false;
  }
  for (size_t i = 0; i < count && count <= 8192; ++i)
    mprotect(e->stacks + i * STACK_BYTES, 4096, PROT_NONE);
  e->stack_count = count;
  return true;
}

static bool fits(tsr_emulator *e, const tsr_emulated_kernel *k, const tsr_emulated_launch *l) {
  uint32_t size = l->cluster ? l->cluster : 1;
  uint32_t limit = tsr_emulator_shared_limit(e);
  if (l->grid[0] == 0 || l->grid[1] == 0 || l->grid[2] != 1 || l->grid[1] > 65535 ||
      l->grid[0] > INT32_MAX)
    return fail_call(e, "kernel %s: a grid of %u x %u x %u blocks", k->entry.name, l->grid[0],
                     l->grid[1], l->grid[2]);
  if (l->threads == 0 || l->threads > 1024 || (int)l->threads > k->entry.threads)
    return fail_call(e, "kernel %s: launched with %u threads, its bound is %d", k->entry.name,
                     l->threads, k->entry.threads);
  if (l->shared_bytes > limit)
    return fail_call(e, "kernel %s: %u bytes of shared memory, sm_%d has %u", k->entry.name,
                     l->shared_bytes, e->arch, limit);
  if ((int)size != k->entry.cluster && k->entry.cluster != 1)
    return fail_call(e, "kernel %s: clusters of %u blocks, it is made for %d", k->entry.name, size,
                     k->entry.cluster);
  if (size > (l->large_clusters ? 16u : 8u) || l->grid[0] % size != 0 || (size > 1 && e->arch < 90))
    return fail_call(e, "kernel %s: clusters of %u blocks do not fit sm_%d or the grid",
                     k->entry.name, size, e->arch);
  uint64_t resident = 2048 / (l->threads < 64 ? 64 : l->threads), blocks = l->grid[0];
  uint64_t by_shared = (limit + 1024) / (l->shared_bytes + 1024);
  resident = by_shared < resident ? by_shared : resident;
  if (l->cooperative && blocks * l->grid[1] > resident * (e->arch >= 90 ? 132 : 108))
    return fail_call(e, "kernel %s: a cooperative grid of %llu blocks cannot be alive at once",
                     k->entry.name, (unsigned long long)(blocks * l->grid[1]));
  return true;
}

bool tsr_emulator_can_launch(tsr_emulator *e, const tsr_emulated_kernel *kernel,
                             const tsr_emulated_launch *launch) {
  return fits(e, kernel, launch);
}

/* The i-th cluster to run. */
static long long nth(const tsr_emulator *e, long long i, long long count) {
  if (e->launch->seed == 0)
    return i;
  if (e->launch->seed == 1)
    return count - 1 - i;
  return (i + (long long)(e->launch->seed * 7u)) % count;
}

static bool prepare(tsr_emulator *e, long long clusters, int blocks) {
  e->cluster_count = e->launch->cooperative ? (int)clusters : 1;
  e->clusters = calloc((size_t)e->cluster_count, sizeof(cluster));
  e->released = calloc((size_t)clusters + 1, sizeof(uint32_t));
  uint32_t threads = e->launch->threads;
  int per_block = (int)((threads + 31) / 32);
  e->warp_count = e->cluster_count * blocks * per_block;
  e->warps = calloc((size_t)e->warp_count, sizeof(warp *));
  if (!e->clusters || !e->released || !e->warps ||
      !make_stacks(e, (size_t)e->cluster_count * (size_t)blocks * threads))
    return false;
  int at = 0;
  for (int i = 0; i < e->cluster_count; ++i) {
    if (!cluster_init(e, &e->clusters[i], blocks))
      return false;
    for (int b = 0; b < blocks; ++b)
      for (int w = 0; w < per_block; ++w)
        e->warps[at++] = &e->clusters[i].blocks[b].warps[w];
  }
  return true;
}

static void run_clusters(tsr_emulator *e, long long clusters, int blocks) {
  size_t stack_step = (size_t)blocks * e->launch->threads * STACK_BYTES;
  for (long long done = 0; done < clusters && !e->failed; done += e->cluster_count) {
    e->idle_turns = 0;
    for (int i = 0; i < e->cluster_count; ++i)
      begin_cluster(e, &e->clusters[i], nth(e, done + i, clusters) * blocks,
                    (char *)e->stacks + (size_t)i * stack_step);
    e->current_warp = 0;
    run_threads(e);
    for (int i = 0; i < e->cluster_count && !e->failed; ++i)
      end_cluster(e, &e->clusters[i]);
  }
}

bool tsr_emulator_launch(tsr_emulator *e, const tsr_emulated_kernel *kernel,
                         const tsr_emulated_launch *launch, void *const *args) {
  if (!fits(e, kernel, launch))
    return false;
  tsr_emulator *before = tsr_running;
  tsr_running = e;
  e->kernel = kernel;
  e->launch = launch;
  e->args = args;
  e->failed = false;
  e->error[0] = '\0';
  e->random = 0x9e3779b97f4a7c15ull * (launch->seed + 1);
  e->first_run = e->runs + 1;
  e->time = 0;
  e->idle_turns = 0;
  e->grid_arrived = 0;
  e->load_count = 0;
  int blocks = launch->cluster ? (int)launch->cluster : 1;
  long long clusters = (long long)launch->grid[0] * launch->grid[1] / blocks;
  bool ready = prepare(e, clusters, blocks);
  if (ready)
    run_clusters(e, clusters, blocks);
  for (int i = 0; e->clusters && i < e->cluster_count; ++i)
    cluster_free(&e->clusters[i]);
  free(e->clusters);
  free(e->released);
  free(e->warps);
  e->clusters = NULL;
  e->released = NULL;
  e->warps = NULL;
  e->current = NULL;
  tsr_running = before;
  return ready ? !e->failed : fail_call(e, "the emulator is out of memory");
}
