/* Barriers, mbarriers and fences as places where threads meet. */
#include "tests/cuda_emulator/engine/engine.h"
#include <stdlib.h>
#include <string.h>

static void wake(cluster *c, const block *b, wait_kind kind, int id, const void *where,
                 const uint32_t *clock) {
  for (int i = 0; i < c->fiber_count; ++i) {
    fiber *f = &c->fibers[i];
    if (f->done || f->wait != kind || (b && f->block != b) || f->wait_id != id || f->where != where)
      continue;
    clock_acquire(f, clock);
    make_runnable(f);
  }
}

void api_barrier(int id, int threads, int wait) {
  tsr_emulator *e = tsr_running;
  fiber *f = e->current;
  block *b = f->block;
  if (id < 0 || id >= BARRIERS)
    fail_thread("barrier %d: there are %d", id, BARRIERS);
  if (threads <= 0 || (threads % 32 != 0 && threads != f->self.threads) ||
      threads > f->self.threads)
    fail_thread("barrier %d for %d threads: not a multiple of 32, or more than the block's %d", id,
                threads, f->self.threads);
  named_barrier *bar = &b->barriers[id];
  if (bar->arrived > 0 && bar->expected != threads)
    fail_thread("barrier %d for %d threads, where others wait for %d", id, threads, bar->expected);
  bar->expected = threads;
  ++bar->arrived;
  clock_release(f, bar->clock);
  if (bar->arrived < threads) {
    if (wait)
      block_current(e, WAIT_BARRIER, id, b);
    return;
  }
  bar->arrived = 0;
  wake(b->cluster, b, WAIT_BARRIER, id, b, bar->clock);
  if (wait)
    clock_acquire(f, bar->clock);
  memset(bar->clock, 0, b->cluster->width * sizeof(uint32_t));
}

void api_cluster_barrier(int wait) {
  tsr_emulator *e = tsr_running;
  fiber *f = e->current;
  cluster *c = f->block->cluster;
  if (e->arch < 90)
    fail_thread("cluster barriers need sm_90");
  if (!wait) {
    if (f->cluster_arrived)
      fail_thread("arrives at the cluster's barrier twice without a wait");
    f->cluster_arrived = true;
    f->cluster_phase = c->cluster_phase;
    clock_release(f, c->cluster_clock);
    if (++c->arrived < c->fiber_count)
      return;
    c->arrived = 0;
    uint32_t *done = c->cluster_done;
    c->cluster_done = c->cluster_clock;
    c->cluster_clock = done;
    memset(done, 0, c->width * sizeof(uint32_t));
    int phase = (int)c->cluster_phase++;
    wake(c, NULL, WAIT_CLUSTER, phase, c, c->cluster_done);
    return;
  }
  if (!f->cluster_arrived)
    fail_thread("waits at the cluster's barrier without having arrived");
  f->cluster_arrived = false;
  if (f->cluster_phase == c->cluster_phase)
    block_current(e, WAIT_CLUSTER, (int)f->cluster_phase, c);
  else
    clock_acquire(f, c->cluster_done);
}

/* All threads of all clusters; what each did until here is what the others see behind it. */
void api_grid_barrier(void) {
  tsr_emulator *e = tsr_running;
  int threads = 0;
  if (!e->launch->cooperative)
    fail_thread("waits for the whole grid in a launch that is not cooperative");
  for (int i = 0; i < e->cluster_count; ++i)
    threads += e->clusters[i].fiber_count;
  api_synchronise(NULL, 0, 1);
  if (++e->grid_arrived < threads) {
    block_current(e, WAIT_GRID, 0, e);
  } else {
    e->grid_arrived = 0;
    for (int i = 0; i < e->cluster_count; ++i)
      for (int k = 0; k < e->clusters[i].fiber_count; ++k) {
        fiber *other = &e->clusters[i].fibers[k];
        e->clusters[i].grid_clock[other->column] = other->clock[other->column] - 1;
        if (other->wait == WAIT_GRID)
          make_runnable(other);
      }
  }
  api_synchronise(NULL, 1, 0);
}

void *api_cluster_shared(void *p, int rank) {
  fiber *f = tsr_running->current;
  cluster *c = f->block->cluster;
  if (rank < 0 || rank >= c->block_count)
    fail_thread("block %d of a cluster of %d", rank, c->block_count);
  ptrdiff_t offset = (uint8_t *)p - f->block->shared.base;
  if (offset < 0 || (size_t)offset >= f->block->shared.size)
    fail_thread("maps an address that is not in its own shared memory to another block");
  return c->blocks[rank].shared.base + offset;
}

mbarrier *find_mbarrier(block *b, const void *address) {
  for (int i = 0; i < b->mbarrier_count; ++i)
    if ((const void *)b->mbarriers[i].address == address)
      return &b->mbarriers[i];
  return NULL;
}

mbarrier *use_mbarrier(fiber *f, const void *address, const char *what) {
  region *r = check_range(f, address, 8, 8, TSR_SPACE_SHARED, what);
  mbarrier *bar = find_mbarrier(r->block, address);
  if (!bar)
    fail_thread("%s: no mbarrier is initialised at shared byte %td", what,
                (const uint8_t *)address - r->base);
  if (bar->init_column != f->column && f->clock[bar->init_column] < bar->init_clock)
    fail_thread(
        "%s: the mbarrier at shared byte %td was initialised by thread %u without a barrier "
        "since",
        what, (const uint8_t *)address - r->base, bar->init_column);
  return bar;
}

static void initialise(fiber *f, unsigned long long *address, int count) {
  region *r = check_range(f, address, 8, 8, TSR_SPACE_SHARED, "mbarrier.init");
  block *b = r->block;
  if (count < 1 || count >= 1 << 20)
    fail_thread("mbarrier.init with %d arrivals", count);
  mbarrier *bar = find_mbarrier(b, address);
  if (!bar) {
    if (b->mbarrier_count == MBARRIERS)
      fail_thread("more than %d mbarriers in a block", MBARRIERS);
    bar = &b->mbarriers[b->mbarrier_count++];
    cluster *c = b->cluster;
    bar->clock = calloc(2 * (size_t)c->width, sizeof(uint32_t));
    if (!bar->clock)
      fail_thread("the emulator is out of memory");
    bar->done_clock = bar->clock + c->width;
    bar->agent = (uint32_t)c->fiber_count + c->agents++ % AGENTS;
  } else {
    fail_thread("mbarrier.init of the mbarrier at shared byte %td, which was not invalidated",
                (uint8_t *)address - r->base);
  }
  check_access(f, address, 8, TSR_ACCESS_WRITE, TSR_SPACE_SHARED);
  bar->address = (uint64_t *)address;
  bar->count = bar->pending = count;
  bar->bytes = 0;
  bar->phase = 0;
  bar->fenced = false;
  bar->init_column = f->column;
  bar->init_clock = f->clock[f->column];
}

static void invalidate(fiber *f, mbarrier *bar) {
  block *b = f->block;
  free(bar->clock);
  *bar = b->mbarriers[--b->mbarrier_count];
}

static void end_phase_if_due(tsr_emulator *e, mbarrier *bar) {
  if (bar->pending > 0 || bar->bytes != 0)
    return;
  int parity = (int)(bar->phase & 1);
  ++bar->phase;
  bar->pending = bar->count;
  for (int i = 0; i < e->cluster_count; ++i) {
    cluster *c = &e->clusters[i];
    for (int k = 0; k < c->block_count; ++k) {
      block *b = &c->blocks[k];
      if (bar < b->mbarriers || bar >= b->mbarriers + MBARRIERS)
        continue;
      memcpy(bar->done_clock, bar->clock, c->width * sizeof(uint32_t));
      wake(c, b, WAIT_MBARRIER, parity, bar->address, bar->done_clock);
    }
  }
}

void mbarrier_land(tsr_emulator *e, mbarrier *bar, int64_t bytes) {
  bar->bytes -= bytes;
  if (bar->bytes < -(1 << 20))
    fail_launch(e, NULL, "more bytes land on an mbarrier than it can count");
  end_phase_if_due(e, bar);
}

static void arrive(fiber *f, mbarrier *bar) {
  if (bar->pending == 0)
    fail_thread("more arrivals than the %d that the mbarrier at shared byte %td was made for",
                bar->count, (uint8_t *)bar->address - f->block->shared.base);
  --bar->pending;
  clock_release(f, bar->clock);
}

static int wait_for(tsr_emulator *e, fiber *f, mbarrier *bar, int parity, bool block_thread) {
  if (parity != 0 && parity != 1)
    fail_thread("waits for parity %d", parity);
  if ((int)(bar->phase & 1) != parity) {
    clock_acquire(f, bar->done_clock);
    return 1;
  }
  if (!block_thread) {
    yield_current(e);
    return (int)(bar->phase & 1) != parity ? wait_for(e, f, bar, parity, false) : 0;
  }
  block_current(e, WAIT_MBARRIER, parity, bar->address);
  return 1;
}

int api_mbarrier(int op, unsigned long long *address, int operand) {
  static const char *const names[] = {
      "mbarrier.init",      "mbarrier.inval",  "mbarrier.arrive",
      "mbarrier.expect_tx", "mbarrier.expect", "mbarrier.arrive on another block",
      "mbarrier.arrive",    "mbarrier.wait",   "mbarrier.wait"};
  tsr_emulator *e = tsr_running;
  fiber *f = e->current;
  if (op == TSR_MBARRIER_INIT) {
    initialise(f, address, operand);
    return 0;
  }
  if (op == TSR_MBARRIER_ARRIVE_REMOTE) {
    address = api_cluster_shared(address, operand);
    check_alive(f, &f->block->cluster->blocks[operand], names[op]);
  }
  mbarrier *bar = use_mbarrier(f, address, names[op]);
  bool expects = op == TSR_MBARRIER_ARRIVE_EXPECT || op == TSR_MBARRIER_EXPECT;
  if (expects && e->arch < 90)
    fail_thread("mbarrier.expect_tx needs sm_90");
  if (expects && (operand < 0 || operand >= 1 << 20))
    fail_thread("an mbarrier cannot expect %d bytes", operand);
  switch (op) {
  case TSR_MBARRIER_INVALIDATE:
    invalidate(f, bar);
    return 0;
  case TSR_MBARRIER_TEST:
    return wait_for(e, f, bar, operand, false);
  case TSR_MBARRIER_WAIT:
    return wait_for(e, f, bar, operand, true);
  case TSR_MBARRIER_ARRIVE_COPIES:
    finish_copies(f, f->copy_group + 1);
    break;
  default:
    break;
  }
  if (expects)
    bar->bytes += operand;
  if (op != TSR_MBARRIER_EXPECT)
    arrive(f, bar);
  end_phase_if_due(e, bar);
  return 0;
}

void api_fence_proxy_async(void) {
  fiber *f = tsr_running->current;
  cluster *c = f->block->cluster;
  if (!f->proxy_view)
    f->proxy_view = calloc(c->width, sizeof(uint32_t));
  if (!f->proxy_view)
    fail_thread("the emulator is out of memory");
  memcpy(f->proxy_view, f->clock, c->width * sizeof(uint32_t));
  ++f->clock[f->column];
  api_fence_mbarrier_init();
}

void api_fence_mbarrier_init(void) {
  fiber *f = tsr_running->current;
  for (int i = 0; i < f->block->mbarrier_count; ++i)
    if (f->block->mbarriers[i].init_column == f->column)
      f->block->mbarriers[i].fenced = true;
}
