#include "codegen/cuda/device/device_common.h"
#include "tests/gpu/gpu_case.h"
#include <stdio.h>
#include <string.h>

enum { SHARED = 16384 + 64 };

static bool run_stmatrix(const gpu_case *self, gpu_run *run) {
  (void)self;
  uint32_t *in = gpu_memory(run, 512);
  uint16_t *out = gpu_memory(run, 512);
  for (uint32_t i = 0; i < 128; i++)
    in[i] = (2 * i + 1) | (2 * i + 2) << 16;
  tsr_emulated_launch l = {.grid = {1, 1, 1}, .threads = 32, .shared_bytes = 512};
  if (!gpu_launch(run, "stmatrix", &l, GPU_ARGS(&in, &out)))
    return false;
  for (int i = 0; i < 256; i++) {
    int matrix = i / 64, row = i / 8 % 8, column = i % 8, lane = row * 4 + column / 2;
    int want = 2 * (lane * 4 + matrix) + 1 + column % 2;
    if (out[i] != want)
      return gpu_fail(run, "matrix %d has %d at [%d][%d], not %d", matrix, out[i], row, column,
                      want);
  }
  return true;
}

/* A tensor of up to five dims, its box, and where the box lies: over the edges, too. */
typedef struct box_case {
  uint32_t rank, element_bytes, swizzle;
  uint64_t dims[5]; /* innermost first */
  uint32_t box[5];
  int at[5];
} box_case;

static const box_case loads[] = {
    {1, 4, TSR_SWIZZLE_NONE, {50}, {32}, {24}},
    {2, 2, TSR_SWIZZLE_128, {72, 13}, {64, 8}, {16, 9}},
    {3, 1, TSR_SWIZZLE_64, {80, 5, 6}, {64, 4, 3}, {-16, 2, 4}},
    {4, 4, TSR_SWIZZLE_32, {12, 5, 4, 3}, {8, 4, 2, 2}, {4, 2, -1, 1}},
    {5, 2, TSR_SWIZZLE_NONE, {24, 3, 4, 3, 2}, {16, 2, 3, 2, 2}, {8, 1, 2, 1, 1}},
};

static uint64_t tensor_bytes(const box_case *c) {
  uint64_t bytes = c->element_bytes;
  for (uint32_t i = 0; i < c->rank; i++)
    bytes *= c->dims[i];
  return bytes;
}

static uint32_t box_bytes(const box_case *c) {
  uint32_t bytes = c->element_bytes;
  for (uint32_t i = 0; i < c->rank; i++)
    bytes *= c->box[i];
  return bytes;
}

/* Where byte `at` of the box lies in shared memory, and in the tensor: -1 outside. */
static int64_t tensor_place(const box_case *c, uint32_t at, uint32_t *out_shared) {
  uint32_t element = at / c->element_bytes;
  uint64_t place = 0, step = 1;
  bool inside = true;
  for (uint32_t i = 0; i < c->rank; i++) {
    int64_t x = c->at[i] + (int64_t)(element % c->box[i]);
    inside = inside && x >= 0 && x < (int64_t)c->dims[i];
    place += (uint64_t)(inside ? x : 0) * step;
    step *= c->dims[i];
    element /= c->box[i];
  }
  *out_shared = c->swizzle == TSR_SWIZZLE_128  ? tsr_swizzle_128(at)
                : c->swizzle == TSR_SWIZZLE_64 ? tsr_swizzle_64(at)
                : c->swizzle == TSR_SWIZZLE_32 ? tsr_swizzle_32(at)
                                               : at;
  return inside ? (int64_t)(place * c->element_bytes + at % c->element_bytes) : -1;
}

static bool make_map(gpu_run *run, const box_case *c, void *base, void *out_map) {
  uint64_t strides[4], step = c->element_bytes;
  for (uint32_t i = 0; i + 1 < c->rank; i++)
    strides[i] = step *= c->dims[i];
  return tsr_emulator_encode_tensor_map(run->device, out_map, c->rank, c->element_bytes, base,
                                        c->dims, strides, c->box, c->swizzle) ||
         gpu_fail(run, "tensor map: %s", tsr_emulator_error(run->device));
}

static void number_bytes(uint8_t *data, uint64_t bytes) {
  for (uint64_t i = 0; i < bytes; i++)
    data[i] = (uint8_t)(i * 31 + i / 251 + 1);
}

/* `copies` blocks have loaded the same box. */
static bool run_load(const box_case *c, gpu_run *run, const char *kernel, uint32_t copies) {
  _Alignas(64) uint8_t map[128];
  uint32_t bytes = box_bytes(c);
  uint64_t size = tensor_bytes(c);
  uint8_t *tensor = gpu_memory(run, size), *out = gpu_memory(run, (size_t)bytes * copies);
  int count = (int)bytes, at[5];
  memcpy(at, c->at, sizeof at);
  number_bytes(tensor, size);
  tsr_emulated_launch l = {
      .grid = {copies, 1, 1}, .threads = 64, .cluster = copies, .shared_bytes = SHARED};
  if (!make_map(run, c, tensor, map) ||
      !gpu_launch(run, kernel, &l,
                  GPU_ARGS(map, &out, &count, &at[0], &at[1], &at[2], &at[3], &at[4])))
    return false;
  for (uint32_t i = 0; i < bytes; i++) {
    uint32_t shared;
    int64_t place = tensor_place(c, i, &shared);
    int want = place < 0 ? 0 : tensor[place];
    for (uint32_t copy = 0; copy < copies; copy++)
      if (out[copy * bytes + shared] != want)
        return gpu_fail(run, "%u-d box, block %u: byte %u is %d, not %d", c->rank, copy, i,
                        out[copy * bytes + shared], want);
  }
  return true;
}

static bool run_tma_load(const gpu_case *self, gpu_run *run) {
  const box_case *c = self->about;
  char kernel[32];
  snprintf(kernel, sizeof kernel, "load_%u", c->rank);
  return run_load(c, run, kernel, 1);
}

static bool run_tma_multicast(const gpu_case *self, gpu_run *run) {
  const box_case *c = self->about;
  char kernel[32];
  snprintf(kernel, sizeof kernel, "multicast_%u", c->rank);
  return run_load(c, run, kernel, 2);
}

static bool run_tma_store(const gpu_case *self, gpu_run *run) {
  const box_case *c = self->about;
  _Alignas(64) uint8_t map[128];
  uint32_t bytes = box_bytes(c);
  uint64_t size = tensor_bytes(c);
  static uint8_t want[65536];
  uint8_t *tensor = gpu_memory(run, size), *in = gpu_memory(run, bytes);
  int count = (int)bytes, at[5];
  char kernel[32];
  memcpy(at, c->at, sizeof at);
  number_bytes(in, bytes);
  memset(want, 0xff, sizeof want);
  for (uint32_t i = 0; i < bytes; i++) {
    uint32_t shared;
    int64_t place = tensor_place(c, i, &shared);
    if (place >= 0)
      want[place] = in[shared];
  }
  snprintf(kernel, sizeof kernel, "store_%u", c->rank);
  tsr_emulated_launch l = {.grid = {1, 1, 1}, .threads = 64, .shared_bytes = SHARED};
  return make_map(run, c, tensor, map) &&
         gpu_launch(run, kernel, &l,
                    GPU_ARGS(map, &in, &count, &at[0], &at[1], &at[2], &at[3], &at[4])) &&
         gpu_same_bytes(run, "tensor", tensor, want, (int)size);
}

static bool run_bulk(const gpu_case *self, gpu_run *run) {
  (void)self;
  uint8_t *in = gpu_memory(run, 1792), *out = gpu_memory(run, 1792);
  number_bytes(in, 1792);
  tsr_emulated_launch l = {.grid = {1, 1, 1}, .threads = 64, .shared_bytes = SHARED};
  return gpu_launch(run, "bulk", &l, GPU_ARGS(&in, &out)) &&
         gpu_same_bytes(run, "copied bytes", out, in, 1792);
}

static bool run_cluster(const gpu_case *self, gpu_run *run) {
  (void)self;
  enum { BLOCKS = 12 };
  int *out = gpu_memory(run, BLOCKS * 64 * 12);
  tsr_emulated_launch l = {
      .grid = {BLOCKS, 1, 1}, .threads = 64, .cluster = 4, .shared_bytes = SHARED};
  if (!gpu_launch(run, "cluster", &l, GPU_ARGS(&out)))
    return false;
  for (int i = 0; i < BLOCKS * 64; i++) {
    int rank = i / 64 % 4, t = i % 64;
    int want[] = {rank * 10 + 4, (rank + 1) % 4 * 1000 + 63 - t, 1};
    if (!gpu_same_ints(run, "rank and size, the neighbour's memory, the barrier", out + i * 3, want,
                       3))
      return false;
  }
  return true;
}

static bool run_chain(const gpu_case *self, gpu_run *run) {
  (void)self;
  int *a = gpu_memory(run, 1024), *b = gpu_memory(run, 1024), want[256];
  for (int i = 0; i < 256; i++) {
    a[i] = i;
    want[i] = (i * 3 + 1) * 3 + 1;
  }
  tsr_emulated_launch l = {.grid = {4, 1, 1}, .threads = 64};
  return gpu_launch(run, "chain", &l, GPU_ARGS(&a, &b)) &&
         gpu_launch(run, "chain", &l, GPU_ARGS(&b, &a)) &&
         gpu_same_ints(run, "second of two launches", a, want, 256);
}

static bool run_registers(const gpu_case *self, gpu_run *run) {
  (void)self;
  enum { ROWS = 200, THREADS = 384 };
  float *in = gpu_memory(run, ROWS * THREADS * 4), *out = gpu_memory(run, ROWS * THREADS * 4);
  for (int i = 0; i < ROWS * THREADS; i++)
    in[i] = (float)(i % 8191);
  tsr_emulated_launch l = {.grid = {1, 1, 1}, .threads = THREADS};
  if (!gpu_launch(run, "registers", &l, GPU_ARGS(&in, &out)))
    return false;
  for (int i = 0; i < ROWS * THREADS; i++) {
    int row = i / THREADS, t = i % THREADS;
    if (t < 128 && row > 0)
      continue;
    float want = t < 128 ? in[t] : 2 * in[(ROWS - 1 - row) * THREADS + t];
    if (out[i] != want)
      return gpu_fail(run, "thread %d has %g in row %d, not %g", t, (double)out[i], row,
                      (double)want);
  }
  return true;
}

const gpu_case gpu_cases_sm90[] = {
    {"primitive.stmatrix", "sm90", 90, run_stmatrix, NULL},
    {"primitive.tma_load_1d", "sm90", 90, run_tma_load, loads},
    {"primitive.tma_load_2d", "sm90", 90, run_tma_load, loads + 1},
    {"primitive.tma_load_3d", "sm90", 90, run_tma_load, loads + 2},
    {"primitive.tma_load_4d", "sm90", 90, run_tma_load, loads + 3},
    {"primitive.tma_load_5d", "sm90", 90, run_tma_load, loads + 4},
    {"primitive.tma_store_1d", "sm90", 90, run_tma_store, loads},
    {"primitive.tma_store_2d", "sm90", 90, run_tma_store, loads + 1},
    {"primitive.tma_store_3d", "sm90", 90, run_tma_store, loads + 2},
    {"primitive.tma_store_4d", "sm90", 90, run_tma_store, loads + 3},
    {"primitive.tma_store_5d", "sm90", 90, run_tma_store, loads + 4},
    {"primitive.tma_multicast_2d", "sm90", 90, run_tma_multicast, loads + 1},
    {"primitive.tma_multicast_3d", "sm90", 90, run_tma_multicast, loads + 2},
    {"primitive.tma_multicast_4d", "sm90", 90, run_tma_multicast, loads + 3},
    {"primitive.tma_multicast_5d", "sm90", 90, run_tma_multicast, loads + 4},
    {"primitive.bulk_load", "sm90", 90, run_bulk, NULL},
    {"primitive.cluster", "sm90", 90, run_cluster, NULL},
    {"primitive.dependent_launches", "sm90", 90, run_chain, NULL},
    {"primitive.registers", "sm90", 90, run_registers, NULL},
    {NULL, NULL, 0, NULL, NULL},
};
