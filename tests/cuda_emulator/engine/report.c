/* Findings as text. */
#include "tests/cuda_emulator/engine/engine.h"
#include <dlfcn.h>
#include <execinfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The line of the kernel text that the current thread is at, 0 when it cannot be found out. The
 * frames of the compiled text are those in the same file as its kernels; addr2line names the
 * kernel's line last, behind what was inlined into it. */
static unsigned kernel_line(const tsr_emulator *e) {
  void *frames[24];
  int count = backtrace(frames, 24);
  Dl_info home, info;
  if (!dladdr((void *)(uintptr_t)e->kernel->entry.call, &home))
    return 0;
  char command[1024];
  int length = snprintf(command, sizeof(command), "addr2line -i -e '%s'", home.dli_fname);
  for (int i = 0; i < count; ++i) {
    uintptr_t at = (uintptr_t)frames[i] - 1;
    if (dladdr((void *)at, &info) && info.dli_fbase == home.dli_fbase)
      length += snprintf(command + length, sizeof(command) - (size_t)length, " %#lx",
                         (unsigned long)(at - (uintptr_t)home.dli_fbase));
  }
  snprintf(command + length, sizeof(command) - (size_t)length, " 2>/dev/null");
  FILE *pipe = popen(command, "r");
  if (!pipe)
    return 0;
  char line[512];
  unsigned found = 0;
  while (fgets(line, sizeof(line), pipe)) {
    const char *at = strstr(line, "kernel.cu:");
    if (at && found == 0)
      found = (unsigned)strtoul(at + strlen("kernel.cu:"), NULL, 10);
  }
  pclose(pipe);
  return found;
}

static int put_place(tsr_emulator *e, const fiber *f, char *out, size_t size) {
  if (!f)
    return snprintf(out, size, "kernel %s: ", e->kernel->entry.name);
  unsigned line = f == e->current ? kernel_line(e) : 0;
  int length = snprintf(out, size, "kernel %s: block %lld, thread %d", e->kernel->entry.name,
                        f->self.block, f->self.thread);
  if (line)
    length += snprintf(out + length, size - (size_t)length, ", line %u", line);
  return length + snprintf(out + length, size - (size_t)length, ": ");
}

static void fail_v(tsr_emulator *e, const fiber *f, const char *format, va_list args) {
  if (e->failed)
    return;
  e->failed = true;
  int length = put_place(e, f, e->error, sizeof(e->error));
  vsnprintf(e->error + length, sizeof(e->error) - (size_t)length, format, args);
}

void fail_launch(tsr_emulator *e, const fiber *f, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fail_v(e, f, format, args);
  va_end(args);
}

void fail_thread(const char *format, ...) {
  tsr_emulator *e = tsr_running;
  va_list args;
  va_start(args, format);
  fail_v(e, e->current, format, args);
  va_end(args);
  for (;;)
    tsr_fiber_switch(&e->current->context, &e->scheduler);
}

bool fail_call(tsr_emulator *e, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(e->error, sizeof(e->error), format, args);
  va_end(args);
  return false;
}

/* The name of what a thread waits in; equal texts are one group of the report. */
static void wait_text(const fiber *f, char *out, size_t size) {
  const block *b = f->block;
  switch (f->wait) {
  case WAIT_BARRIER:
    snprintf(out, size, "at barrier %d (%d of %d threads are there)", f->wait_id,
             b->barriers[f->wait_id].arrived, b->barriers[f->wait_id].expected);
    break;
  case WAIT_WARP:
    snprintf(out, size, "in %s, where not all lanes of the warp are", f->warp->op);
    break;
  case WAIT_MBARRIER: {
    for (int i = 0; i < b->mbarrier_count; ++i) {
      const mbarrier *bar = &b->mbarriers[i];
      if (bar->address == f->where) {
        snprintf(
            out, size,
            "for parity %d of the mbarrier at shared byte %td (phase %u, %d of %d arrivals and "
            "%lld bytes missing)",
            f->wait_id, (uint8_t *)bar->address - b->shared.base, bar->phase, bar->pending,
            bar->count, (long long)bar->bytes);
        return;
      }
    }
    snprintf(out, size, "for an mbarrier that is gone");
    break;
  }
  case WAIT_CLUSTER:
    snprintf(out, size, "at the cluster's barrier (%d of %d threads have arrived)",
             b->cluster->arrived, b->cluster->fiber_count);
    break;
  case WAIT_GRID:
    snprintf(out, size, "at the grid's barrier (%d threads have arrived)",
             tsr_running->grid_arrived);
    break;
  default:
    snprintf(out, size, "for nothing");
  }
}

void report_deadlock(tsr_emulator *e) {
  char found[1600] = "";
  size_t length = 0;
  for (int ci = 0; ci < e->cluster_count && length + 200 < sizeof(found); ++ci) {
    cluster *c = &e->clusters[ci];
    for (int i = 0; i < c->fiber_count && length + 200 < sizeof(found);) {
      fiber *f = &c->fibers[i];
      char what[256], next[256];
      if (f->done) {
        ++i;
        continue;
      }
      wait_text(f, what, sizeof(what));
      int last = i;
      for (int k = i + 1; k < c->fiber_count && !c->fibers[k].done; ++k) {
        wait_text(&c->fibers[k], next, sizeof(next));
        if (c->fibers[k].block != f->block || strcmp(what, next) != 0)
          break;
        last = k;
      }
      length += (size_t)snprintf(found + length, sizeof(found) - length,
                                 "%sblock %lld threads %d-%d wait %s", length ? "; " : "",
                                 f->self.block, f->self.thread, c->fibers[last].self.thread, what);
      i = last + 1;
    }
  }
  fail_launch(e, NULL, "deadlock: %s", found);
}
