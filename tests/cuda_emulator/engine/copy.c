/* cp.async: what is copied arrives when its thread waits, not before. */
#include "tests/cuda_emulator/engine/engine.h"
#include <stdlib.h>
#include <string.h>

void api_copy_async(void *shared, const void *global, int bytes, int valid) {
  tsr_emulator *e = tsr_running;
  fiber *f = e->current;
  if (valid < 0 || valid > bytes)
    fail_thread("cp.async of %d bytes with %d valid", bytes, valid);
  region *r = check_range(f, shared, (size_t)bytes, (size_t)bytes, TSR_SPACE_SHARED, "cp.async to");
  if ((uintptr_t)global % (unsigned)bytes != 0)
    fail_thread("cp.async of %d bytes misaligned: its source is not a multiple of its size", bytes);
  if (valid > 0) {
    region *source = check_range(f, global, (size_t)valid, 1, TSR_SPACE_GLOBAL, "cp.async from");
    char why[256];
    if (!race_free(e, source, f->block->cluster, f->column, f->clock[f->column], f->clock,
                   (size_t)((const uint8_t *)global - source->base), (size_t)valid, TSR_ACCESS_READ,
                   true, why, sizeof(why)))
      fail_thread("%s", why);
  }
  size_t offset = (size_t)((uint8_t *)shared - r->base);
  check_access(f, shared, (size_t)bytes, TSR_ACCESS_WRITE, TSR_SPACE_SHARED);
  memset(r->written + offset, 0, (size_t)bytes);
  mark_pending(r, offset, (size_t)bytes, r->pending_write, 1);
  if (f->copy_count == f->copy_capacity) {
    int capacity = f->copy_capacity ? 2 * f->copy_capacity : 8;
    copy *grown = realloc(f->copies, (size_t)capacity * sizeof(*grown));
    if (!grown)
      fail_thread("the emulator is out of memory");
    f->copies = grown;
    f->copy_capacity = capacity;
  }
  f->copies[f->copy_count++] = (copy){shared, global, bytes, valid, f->copy_group};
}

void finish_copies(fiber *f, int up_to_group) {
  int kept = 0;
  for (int i = 0; i < f->copy_count; ++i) {
    const copy *c = &f->copies[i];
    if (c->group >= up_to_group) {
      f->copies[kept++] = *c;
      continue;
    }
    region *r = find_region(tsr_running, f, c->shared);
    size_t offset = (size_t)(c->shared - r->base);
    mark_pending(r, offset, (size_t)c->bytes, r->pending_write, -1);
    if (c->valid > 0)
      memcpy(c->shared, c->global, (size_t)c->valid);
    memset(c->shared + c->valid, 0, (size_t)(c->bytes - c->valid));
    check_access(f, c->shared, (size_t)c->bytes, TSR_ACCESS_WRITE, TSR_SPACE_SHARED);
  }
  f->copy_count = kept;
}

void api_copy_async_commit(void) {
  ++tsr_running->current->copy_group;
}

void api_copy_async_wait(int groups) {
  fiber *f = tsr_running->current;
  if (groups < 0)
    fail_thread("cp.async.wait_group %d", groups);
  finish_copies(f, f->copy_group - groups);
}
