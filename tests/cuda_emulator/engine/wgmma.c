/* wgmma: each warp of the group multiplies its 16 rows when it waits. From issue to wait the
 * accumulators are NaN and shared memory counts as being read. */
#include "codegen/cuda/device/device_common.h"
#include "tests/cuda_emulator/engine/engine.h"
#include <stdlib.h>
#include <string.h>

typedef struct operand {
  uint32_t start, leading, stride, swizzle;
  int major;
} operand;

typedef struct wgmma_op {
  int type, n, group;
  bool accumulate, from_registers;
  operand a, b;
  void *d[32];
  uint32_t registers[32][4];
  uint32_t *before; /* 32 x n / 2 accumulators as they were at issue */
} wgmma_op;

static operand decode(uint64_t descriptor, int major) {
  return (operand){.start = (uint32_t)(descriptor & 0x3fff) << 4,
                   .leading = (uint32_t)(descriptor >> 16 & 0x3fff) << 4,
                   .stride = (uint32_t)(descriptor >> 32 & 0x3fff) << 4,
                   .swizzle = (uint32_t)(descriptor >> 62),
                   .major = major};
}

/* The shared address of 16-byte chunk `chunk` of line `line`: K contiguous: lines are rows of M/N
 * and chunks go along K; M/N contiguous: lines are k and chunks go along M/N. */
static uint32_t chunk_address(const operand *o, uint32_t line, uint32_t chunk) {
  static const uint32_t widths[] = {16, 128, 64, 32};
  uint32_t width = widths[o->swizzle], per = width / 16, at = o->start + line % 8 * width;
  if (o->major == TSR_MAJOR_K) {
    if (o->swizzle == TSR_SWIZZLE_NONE)
      at += chunk * o->leading + line / 8 * o->stride;
    else
      at += chunk * 16 + line / 8 * o->stride;
  } else if (o->swizzle == TSR_SWIZZLE_NONE) {
    at += chunk * o->stride + line / 8 * o->leading;
  } else {
    at += chunk / per * o->leading + chunk % per * 16 + line / 8 * o->stride;
  }
  switch (o->swizzle) {
  case TSR_SWIZZLE_128:
    return tsr_swizzle_128(at);
  case TSR_SWIZZLE_64:
    return tsr_swizzle_64(at);
  case TSR_SWIZZLE_32:
    return tsr_swizzle_32(at);
  default:
    return at;
  }
}

/* Shared addresses begin behind the system's 1 kB. */
static size_t shared_offset(fiber *f, uint32_t address) {
  size_t offset = (size_t)address - 1024;
  if (address < 1024 || offset + 16 > f->block->shared.size)
    fail_thread("wgmma descriptor out of bounds: shared byte %td, of %zu",
                (ptrdiff_t)address - 1024, f->block->shared.size);
  return offset;
}

static int depth_of(int type) {
  return 32 / mma_element_bytes(type);
}

/* The lines and chunks of an operand of `extent` rows of M/N from row `first` on. */
typedef void chunk_action(fiber *f, size_t offset);

static void for_each_chunk(fiber *f, const wgmma_op *op, const operand *o, uint32_t first,
                           uint32_t extent, chunk_action *action) {
  uint32_t bytes = (uint32_t)mma_element_bytes(op->type);
  if (o->major == TSR_MAJOR_K) {
    for (uint32_t row = first; row < first + extent; ++row)
      for (uint32_t chunk = 0; chunk < 2; ++chunk)
        action(f, shared_offset(f, chunk_address(o, row, chunk)));
  } else {
    for (uint32_t k = 0; k < (uint32_t)depth_of(op->type); ++k)
      for (uint32_t chunk = first * bytes / 16; chunk < (first + extent) * bytes / 16; ++chunk)
        action(f, shared_offset(f, chunk_address(o, k, chunk)));
  }
}

static void check_chunk(fiber *f, size_t offset) {
  region *r = &f->block->shared;
  char why[256];
  check_pending(f, r, offset, 16, TSR_ACCESS_READ, "wgmma reads");
  check_written(f, r, offset, 16);
  check_proxy(f, r, offset, 16, "wgmma");
  if (!race_free(tsr_running, r, f->block->cluster, f->column, f->clock[f->column], f->clock,
                 offset, 16, TSR_ACCESS_READ | ACCESS_ASYNC, false, why, sizeof(why)))
    fail_thread("wgmma: %s", why);
  mark_pending(r, offset, 16, r->pending_read, 1);
}

static void read_chunk(fiber *f, size_t offset) {
  region *r = &f->block->shared;
  char why[256];
  mark_pending(r, offset, 16, r->pending_read, -1);
  if (!race_free(tsr_running, r, f->block->cluster, f->column, f->clock[f->column], f->clock,
                 offset, 16, TSR_ACCESS_READ | ACCESS_ASYNC, true, why, sizeof(why)))
    fail_thread("wgmma: %s", why);
}

static uint32_t row_of(const fiber *f) {
  return (uint32_t)(f->self.thread / 32 % 4) * 16;
}

/* The reads count as those of lane 0. */
static void visit(fiber *f, const wgmma_op *op, chunk_action *action) {
  fiber *first = &f->warp->lanes[0];
  if (!op->from_registers)
    for_each_chunk(first, op, &op->a, row_of(f), 16, action);
  for_each_chunk(first, op, &op->b, 0, (uint32_t)op->n, action);
}

static bool legal_size(int type, int n) {
  if (n < 8 || n > 256 || n % 8 != 0)
    return false;
  return type != TSR_MMA_S8 || n <= 32 || n % 16 == 0;
}

static void check_operand(const operand *o, int type, const char *which) {
  if (o->major == TSR_MAJOR_M && mma_element_bytes(type) != 2)
    fail_thread("wgmma: operand %s of this type must have K contiguous", which);
  if (o->swizzle != TSR_SWIZZLE_NONE && (o->stride == 0 || o->stride % 128 != 0))
    fail_thread("wgmma: stride of %u bytes in the descriptor of operand %s", o->stride, which);
}

void api_wgmma(int type, int n, void *d, const unsigned *a_registers, unsigned long long a,
               unsigned long long b, int accumulate, int a_major, int b_major) {
  fiber *f = tsr_running->current;
  warp *w = f->warp;
  if (tsr_running->arch != 90)
    fail_thread("wgmma needs sm_90a");
  if (!legal_size(type, n))
    fail_thread("wgmma has no size 64x%d for this type", n);
  w->out[f->lane] = d;
  w->in[f->lane] = a_registers;
  w->wide[f->lane] = a;
  w->wide2[f->lane] = b;
  if (!meet(f, "wgmma", type << 16 | n << 4 | a_major << 2 | b_major << 1 | (accumulate != 0)))
    return;
  wgmma_op op = {.type = type, .n = n, .group = w->wgmma_group, .accumulate = accumulate != 0};
  op.a = decode(a, a_major);
  op.b = decode(b, b_major);
  op.from_registers = a_major == TSR_MAJOR_REGISTERS;
  for (int i = 0; i < 32; ++i) {
    if ((!op.from_registers && w->wide[i] != a) || w->wide2[i] != b)
      fail_thread("wgmma: the lanes of the warp have different descriptors");
    if (!w->lanes[i].wgmma_fenced)
      fail_thread("wgmma without a wgmma.fence since registers were last in use");
    op.d[i] = w->out[i];
    if (op.from_registers)
      memcpy(op.registers[i], w->in[i], sizeof(op.registers[i]));
  }
  if (!op.from_registers)
    check_operand(&op.a, type, "a");
  check_operand(&op.b, type, "b");
  visit(f, &op, check_chunk);
  size_t bytes = (size_t)n / 2 * 4;
  op.before = malloc(32 * bytes);
  if (w->wgmma_count == w->wgmma_capacity) {
    int capacity = w->wgmma_capacity ? 2 * w->wgmma_capacity : 8;
    wgmma_op *grown = realloc(w->wgmma, (size_t)capacity * sizeof(*grown));
    if (grown) {
      w->wgmma = grown;
      w->wgmma_capacity = capacity;
    }
  }
  if (!op.before || w->wgmma_count == w->wgmma_capacity)
    fail_thread("the emulator is out of memory");
  for (int i = 0; i < 32; ++i) {
    memcpy((uint8_t *)op.before + (size_t)i * bytes, op.d[i], bytes);
    memset(op.d[i], 0xff, bytes);
  }
  w->wgmma[w->wgmma_count++] = op;
  ++w->wgmma_issued;
  meet_end(f);
}

/* m[row][k] as numbers. */
static void gather(fiber *f, const wgmma_op *op, const operand *o, uint32_t first, uint32_t extent,
                   float *m) {
  uint32_t depth = (uint32_t)depth_of(op->type), bytes = (uint32_t)mma_element_bytes(op->type);
  for (uint32_t row = 0; row < extent; ++row)
    for (uint32_t k = 0; k < depth; ++k) {
      uint32_t line = o->major == TSR_MAJOR_K ? first + row : k;
      uint32_t along = (o->major == TSR_MAJOR_K ? k : first + row) * bytes;
      const uint8_t *chunk =
          f->block->shared.base + shared_offset(f, chunk_address(o, line, along / 16));
      m[row * depth + k] = (float)mma_element(op->type, chunk + along % 16, 0);
    }
}

/* a from registers: the layout of mma.sync's 16x8x16 a. */
static void gather_registers(const wgmma_op *op, float *m) {
  for (int lane = 0; lane < 32; ++lane)
    for (int reg = 0; reg < 4; ++reg)
      for (int i = 0; i < 2; ++i)
        m[(lane / 4 + (reg & 1 ? 8 : 0)) * 16 + lane % 4 * 2 + i + (reg & 2 ? 8 : 0)] =
            (float)mma_element(op->type, &op->registers[lane][reg], i);
}

static void multiply(fiber *f, const wgmma_op *op) {
  static _Thread_local float a[16 * 32], b[256 * 32];
  int depth = depth_of(op->type);
  if (op->from_registers)
    gather_registers(op, a);
  else
    gather(f, op, &op->a, row_of(f), 16, a);
  gather(f, op, &op->b, 0, (uint32_t)op->n, b);
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < op->n / 2; ++i) {
      int y = lane / 4 + (i & 2 ? 8 : 0), x = i / 4 * 8 + lane % 4 * 2 + (i & 1);
      double sum = 0;
      for (int k = 0; k < depth; ++k)
        sum += (double)a[y * depth + k] * (double)b[x * depth + k];
      uint32_t *d = &op->before[lane * (op->n / 2) + i];
      if (op->type == TSR_MMA_S8) {
        *d = (op->accumulate ? *d : 0) + (uint32_t)(int32_t)sum;
      } else {
        float old, result;
        memcpy(&old, d, sizeof(old));
        result = (float)((op->accumulate ? (double)old : 0.0) + sum);
        memcpy(d, &result, sizeof(result));
      }
    }
}

/* Results go to the next operation on the same registers, or into them. */
static void pass_on(warp *w, int index, int lane) {
  wgmma_op *op = &w->wgmma[index];
  size_t bytes = (size_t)op->n / 2 * 4;
  const uint8_t *result = (const uint8_t *)op->before + (size_t)lane * bytes;
  for (int i = index + 1; i < w->wgmma_count; ++i)
    if (w->wgmma[i].d[lane] == op->d[lane]) {
      size_t there = (size_t)w->wgmma[i].n / 2 * 4;
      memcpy((uint8_t *)w->wgmma[i].before + (size_t)lane * there, result,
             bytes < there ? bytes : there);
      return;
    }
  memcpy(op->d[lane], result, bytes);
}

void api_wgmma_fence(void) {
  tsr_running->current->wgmma_fenced = true;
}

void api_wgmma_commit(void) {
  fiber *f = tsr_running->current;
  if (meet(f, "wgmma.commit_group", 0)) {
    ++f->warp->wgmma_group;
    meet_end(f);
  }
}

void api_wgmma_wait(int groups) {
  fiber *f = tsr_running->current;
  warp *w = f->warp;
  if (groups < 0 || groups > 7)
    fail_thread("wgmma.wait_group %d", groups);
  f->wgmma_fenced = false;
  if (!meet(f, "wgmma.wait_group", groups))
    return;
  int done = 0;
  while (done < w->wgmma_count && w->wgmma[done].group < w->wgmma_group - groups) {
    visit(f, &w->wgmma[done], read_chunk);
    multiply(f, &w->wgmma[done]);
    for (int lane = 0; lane < 32; ++lane)
      pass_on(w, done, lane);
    free(w->wgmma[done].before);
    ++done;
  }
  w->wgmma_count -= done;
  memmove(w->wgmma, w->wgmma + done, (size_t)w->wgmma_count * sizeof(*w->wgmma));
  meet_end(f);
}

void wgmma_clear(warp *w) {
  for (int i = 0; i < w->wgmma_count; ++i)
    free(w->wgmma[i].before);
  free(w->wgmma);
  w->wgmma = NULL;
  w->wgmma_count = w->wgmma_capacity = 0;
}
