/* Operations of a whole warp: the last lane to arrive acts for all. */
#include "runtime/float_convert.h"
#include "tests/cuda_emulator/engine/engine.h"
#include <string.h>

bool meet(fiber *f, const char *op, int detail) {
  tsr_emulator *e = tsr_running;
  warp *w = f->warp;
  if (w->lane_count != 32)
    fail_thread("%s in a warp of %d lanes", op, w->lane_count);
  if (w->arrived != 0 && (strcmp(w->op, op) != 0 || w->op_detail != detail))
    fail_thread("%s, while other lanes of the warp are in %s", op, w->op);
  w->op = op;
  w->op_detail = detail;
  w->arrived |= 1u << f->lane;
  if (w->arrived == UINT32_MAX)
    return true;
  block_current(e, WAIT_WARP, 0, w);
  return false;
}

void meet_end(fiber *f) {
  warp *w = f->warp;
  w->arrived = 0;
  for (int i = 0; i < 32; ++i)
    if (i != f->lane)
      make_runnable(&w->lanes[i]);
}

void api_warp_barrier(void) {
  fiber *f = tsr_running->current;
  if (!meet(f, "a warp barrier", 0))
    return;
  warp *w = f->warp;
  uint32_t width = f->block->cluster->width;
  for (int i = 0; i < 32; ++i)
    if (i != f->lane)
      clock_join(f->clock, w->lanes[i].clock, width);
  for (int i = 0; i < 32; ++i) {
    if (i != f->lane)
      memcpy(w->lanes[i].clock, f->clock, width * sizeof(uint32_t));
    ++w->lanes[i].clock[w->lanes[i].column];
  }
  meet_end(f);
}

static int shuffle_source(int mode, int lane, int operand) {
  int from = lane;
  switch (mode) {
  case TSR_SHUFFLE_XOR:
    from = lane ^ (operand & 31);
    break;
  case TSR_SHUFFLE_DOWN:
    from = lane + (operand & 31);
    break;
  case TSR_SHUFFLE_UP:
    from = lane - (operand & 31);
    break;
  default:
    from = operand & 31;
  }
  return from < 0 || from > 31 ? lane : from;
}

unsigned api_shuffle(int mode, unsigned value, int operand) {
  fiber *f = tsr_running->current;
  warp *w = f->warp;
  w->value[f->lane] = value;
  w->wide[f->lane] = (uint64_t)(unsigned)operand;
  if (meet(f, mode == TSR_SHUFFLE_BALLOT ? "a vote" : "a shuffle", mode)) {
    uint32_t from[32], ballot = 0;
    memcpy(from, w->value, sizeof(from));
    for (int i = 0; i < 32; ++i)
      ballot |= (from[i] != 0 ? 1u : 0u) << i;
    for (int i = 0; i < 32; ++i)
      w->value[i] = mode == TSR_SHUFFLE_BALLOT
                        ? ballot
                        : from[shuffle_source(mode, i, (int)(unsigned)w->wide[i])];
    meet_end(f);
  }
  return w->value[f->lane];
}

void api_ldmatrix(unsigned *r, const void *row, int count, int transposed) {
  fiber *f = tsr_running->current;
  warp *w = f->warp;
  if (f->lane < 8 * count) {
    check_range(f, row, 16, 16, TSR_SPACE_SHARED, "ldmatrix");
    check_access(f, row, 16, TSR_ACCESS_READ, TSR_SPACE_SHARED);
  }
  w->in[f->lane] = row;
  w->out[f->lane] = r;
  if (!meet(f, transposed ? "ldmatrix.trans" : "ldmatrix", count))
    return;
  for (int m = 0; m < count; ++m)
    for (int lane = 0; lane < 32; ++lane) {
      int g = lane / 4, t = lane % 4;
      uint16_t pair[2];
      for (int i = 0; i < 2; ++i) {
        int y = transposed ? 2 * t + i : g, x = transposed ? g : 2 * t + i;
        memcpy(&pair[i], (const uint8_t *)w->in[8 * m + y] + 2 * x, 2);
      }
      ((uint32_t *)w->out[lane])[m] = pair[0] | (uint32_t)pair[1] << 16;
    }
  meet_end(f);
}

void api_stmatrix(void *row, const unsigned *r, int count) {
  fiber *f = tsr_running->current;
  warp *w = f->warp;
  if (tsr_running->arch < 90)
    fail_thread("stmatrix needs sm_90");
  if (f->lane < 8 * count) {
    check_range(f, row, 16, 16, TSR_SPACE_SHARED, "stmatrix");
    check_access(f, row, 16, TSR_ACCESS_WRITE, TSR_SPACE_SHARED);
  }
  w->out[f->lane] = row;
  w->in[f->lane] = r;
  if (!meet(f, "stmatrix", count))
    return;
  for (int m = 0; m < count; ++m)
    for (int lane = 0; lane < 32; ++lane)
      memcpy((uint8_t *)w->out[8 * m + lane / 4] + 4 * (lane % 4),
             &((const uint32_t *)w->in[lane])[m], 4);
  meet_end(f);
}

int mma_element_bytes(int type) {
  return type == TSR_MMA_TF32 ? 4 : type == TSR_MMA_F16 || type == TSR_MMA_BF16 ? 2 : 1;
}

double mma_element(int type, const void *packed, int i) {
  const uint8_t *p = (const uint8_t *)packed + i * mma_element_bytes(type);
  uint32_t word = 0;
  memcpy(&word, p, (size_t)mma_element_bytes(type));
  union {
    uint32_t u;
    float f;
  } pun;
  switch (type) {
  case TSR_MMA_F16:
    return tsr_float_decode(TSR_F16, word);
  case TSR_MMA_BF16:
    pun.u = word << 16;
    return pun.f;
  case TSR_MMA_TF32:
    pun.u = word & ~0x1fffu;
    return pun.f;
  case TSR_MMA_S8:
    return (int8_t)word;
  case TSR_MMA_E4M3:
    return tsr_float_decode(TSR_F8E4M3, word);
  default:
    return tsr_float_decode(TSR_F8E5M2, word);
  }
}

/* Fragment layouts: device.h. The elements of one 4-byte register are `per` consecutive k. */
void api_mma(int type, void *d, const unsigned *a, const unsigned *b) {
  fiber *f = tsr_running->current;
  warp *w = f->warp;
  if (type >= TSR_MMA_E4M3 && tsr_running->arch < 89)
    fail_thread("mma.sync of float8 needs sm_89");
  w->out[f->lane] = d;
  w->in[f->lane] = a;
  w->in2[f->lane] = b;
  if (!meet(f, "mma.sync", type))
    return;
  int per = 4 / mma_element_bytes(type), k = 8 * per;
  double ma[16][32], mb[8][32];
  for (int lane = 0; lane < 32; ++lane) {
    int g = lane / 4, t = lane % 4;
    for (int reg = 0; reg < 4; ++reg)
      for (int i = 0; i < per; ++i) {
        int column = per * t + i + (reg & 2 ? 4 * per : 0);
        ma[g + (reg & 1 ? 8 : 0)][column] =
            mma_element(type, (const uint32_t *)w->in[lane] + reg, i);
        if (reg < 2)
          mb[g][per * t + i + reg * 4 * per] =
              mma_element(type, (const uint32_t *)w->in2[lane] + reg, i);
      }
  }
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) {
      int y = lane / 4 + (i & 2 ? 8 : 0), x = lane % 4 * 2 + (i & 1);
      double sum = 0;
      for (int j = 0; j < k; ++j)
        sum += ma[y][j] * mb[x][j];
      if (type == TSR_MMA_S8)
        ((int32_t *)w->out[lane])[i] =
            (int32_t)((uint32_t)((int32_t *)w->out[lane])[i] + (uint32_t)(int32_t)sum);
      else
        ((float *)w->out[lane])[i] = (float)(((float *)w->out[lane])[i] + sum);
    }
  meet_end(f);
}

/* What a thread has at most at launch, and with that the block all along. */
static int launch_registers(const block *b) {
  int each = 65536 / (int)b->cluster->e->launch->threads / 8 * 8;
  return each < 255 ? each : 255;
}

static int registers_in_use(const block *b, const warp *except) {
  int sum = 0;
  for (int i = 0; i < b->warp_count; ++i)
    if (&b->warps[i] != except)
      sum += b->warps[i].registers ? b->warps[i].registers : launch_registers(b);
  return sum;
}

/* More registers come when others have given them back. */
void api_set_max_registers(int count) {
  fiber *f = tsr_running->current;
  block *b = f->block;
  if (tsr_running->arch < 90)
    fail_thread("setmaxnreg needs sm_90a");
  if (count < 24 || count > 256 || count % 8 != 0)
    fail_thread("setmaxnreg %d: a multiple of 8 from 24 to 256 is needed", count);
  if (!meet(f, "setmaxnreg", count))
    return;
  int all = launch_registers(b) * b->warp_count;
  for (int turn = 0; registers_in_use(b, f->warp) + count > all; ++turn) {
    if (turn == 10000)
      fail_thread(
          "setmaxnreg %d: waits for registers that nobody gives back (%d of %d per lane are "
          "in use by other warps)",
          count, registers_in_use(b, f->warp), all);
    yield_current(tsr_running);
  }
  f->warp->registers = count;
  meet_end(f);
}
