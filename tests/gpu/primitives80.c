#include "codegen/cuda/device/device_common.h"
#include "runtime/float_convert.h"
#include "tests/gpu/gpu_case.h"
#include <math.h>
#include <string.h>

static const tsr_emulated_launch one_warp = {.grid = {1, 1, 1}, .threads = 32, .shared_bytes = 512};

static bool run_identity(const gpu_case *self, gpu_run *run) {
  (void)self;
  enum { BLOCKS = 6, THREADS = 96 };
  int *out = gpu_memory(run, BLOCKS * THREADS * 6 * sizeof *out);
  tsr_emulated_launch l = {.grid = {3, 2, 1}, .threads = THREADS};
  if (!gpu_launch(run, "identity", &l, GPU_ARGS(&out)))
    return false;
  for (int i = 0; i < BLOCKS * THREADS; i++) {
    int t = i % THREADS, want[] = {t, THREADS, t % 32, t / 32, i / THREADS, BLOCKS};
    if (!gpu_same_ints(run, "thread, threads, lane, warp, block, blocks", out + (size_t)i * 6, want,
                       6))
      return false;
  }
  return true;
}

static int shuffle_from(int kind, int lane) {
  int from[] = {lane ^ 5, lane + 3, lane - 3, (lane * 7 + 1) & 31};
  return from[kind] < 0 || from[kind] > 31 ? lane : from[kind];
}

static bool run_shuffles(const gpu_case *self, gpu_run *run) {
  (void)self;
  int *in = gpu_memory(run, 64 * 4), *out = gpu_memory(run, 64 * 5 * 4);
  float *x = gpu_memory(run, 64 * 4), *y = gpu_memory(run, 64 * 4 * 4);
  unsigned ballots[2] = {0, 0};
  for (int i = 0; i < 64; i++) {
    in[i] = i * 37 % 101 - 50;
    x[i] = (float)i * 1.25f;
    ballots[i / 32] |= (unsigned)(in[i] & 1) << i % 32;
  }
  tsr_emulated_launch l = {.grid = {1, 1, 1}, .threads = 64};
  if (!gpu_launch(run, "shuffles", &l, GPU_ARGS(&in, &out, &x, &y)))
    return false;
  for (int i = 0; i < 64; i++) {
    int lane = i % 32, base = i - lane, want[5];
    int far[4] = {lane ^ 16, lane + 9 > 31 ? lane : lane + 9, lane < 9 ? lane : lane - 9,
                  31 - lane};
    for (int k = 0; k < 4; k++) {
      want[k] = in[base + shuffle_from(k, lane)];
      if (y[i * 4 + k] != x[base + far[k]])
        return gpu_fail(run, "thread %d: f32 shuffle %d (xor, down, up, index) gives %g, not %g", i,
                        k, (double)y[i * 4 + k], (double)x[base + far[k]]);
    }
    want[4] = (int)ballots[i / 32];
    if (!gpu_same_ints(run, "xor, down, up, index, ballot", out + (size_t)i * 5, want, 5))
      return false;
  }
  return true;
}

static bool run_barriers(const gpu_case *self, gpu_run *run) {
  (void)self;
  int *out = gpu_memory(run, 320 * 4), want[320];
  for (int t = 0; t < 128; t++) {
    want[t] = (127 - t) * 3;
    want[128 + t] = (t ^ 31) * 5;
  }
  for (int t = 0; t < 64; t++)
    want[256 + t] = (127 - t) * 11;
  tsr_emulated_launch l = {.grid = {1, 1, 1}, .threads = 128, .shared_bytes = 1280};
  return gpu_launch(run, "barriers", &l, GPU_ARGS(&out)) &&
         gpu_same_ints(run, "exchanged values", out, want, 320);
}

/* What 4 blocks of 128 threads leave behind. */
static bool run_atomics(const gpu_case *self, gpu_run *run) {
  (void)self;
  enum { COUNT = 512 };
  int *i = gpu_memory(run, 24), *old = gpu_memory(run, COUNT * 4);
  int64_t *l = gpu_memory(run, 16), sum = 0;
  float *f = gpu_memory(run, 4);
  double *d = gpu_memory(run, 8), float_sum = 0;
  uint16_t *h = gpu_memory(run, 4);
  int want[6] = {COUNT, -1000, 1000, -1, 0, 3 * COUNT};
  bool seen[COUNT] = {false};
  memcpy(i, (int[]){0, -1000, 1000, -1, 0, 0}, 24);
  memset(l, 0, 16);
  *f = 0;
  *d = 0;
  memset(h, 0, 4);
  for (int n = 0; n < COUNT; n++) {
    int value = n * 7 % 509 - 100;
    want[1] = value > want[1] ? value : want[1];
    want[2] = -value < want[2] ? -value : want[2];
    want[3] = (int)((unsigned)want[3] & ~(1u << n % 29));
    want[4] = (int)((unsigned)want[4] | 1u << n % 30);
    sum += n;
    float_sum += n % 4;
  }
  tsr_emulated_launch launch = {.grid = {4, 1, 1}, .threads = 128};
  if (!gpu_launch(run, "atomics", &launch, GPU_ARGS(&i, &l, &f, &d, &h, &old)) ||
      !gpu_same_ints(run, "add, max, min, and, or, cas", i, want, 6))
    return false;
  for (int n = 0; n < COUNT; n++) {
    if (old[n] < 0 || old[n] >= COUNT || seen[old[n]])
      return gpu_fail(run, "add_i32 gave the old value %d twice, or it never was one", old[n]);
    seen[old[n]] = true;
  }
  if (l[0] != sum << 32 || l[1] != COUNT * INT64_C(0x100000001))
    return gpu_fail(run, "add_i64, cas_u64: %llx and %llx", (unsigned long long)l[0],
                    (unsigned long long)l[1]);
  if ((double)*f != float_sum || *d != 0.5 * (double)sum)
    return gpu_fail(run, "add_f32 gives %g, not %g; add_f64 %g, not %g", (double)*f, float_sum, *d,
                    0.5 * (double)sum);
  return h[0] == 0 && h[1] == COUNT ? true : gpu_fail(run, "cas_u16 leaves %d and %d", h[0], h[1]);
}

static bool run_atomics_shared(const gpu_case *self, gpu_run *run) {
  (void)self;
  int *out = gpu_memory(run, 8), want[2] = {127 * 64, 0};
  for (int t = 0; t < 128; t++)
    want[1] = t * 5 % 127 > want[1] ? t * 5 % 127 : want[1];
  tsr_emulated_launch l = {.grid = {1, 1, 1}, .threads = 128, .shared_bytes = 16};
  return gpu_launch(run, "atomics_shared", &l, GPU_ARGS(&out)) &&
         gpu_same_ints(run, "add and max in shared memory", out, want, 2);
}

static bool run_flags(const gpu_case *self, gpu_run *run) {
  (void)self;
  int *data = gpu_memory(run, 128 * 4), *flag = gpu_memory(run, 8), *out = gpu_memory(run, 256);
  int want[64];
  memset(flag, 0, 8);
  for (int t = 0; t < 64; t++)
    want[t] = (63 - t) * (63 - t) + 1;
  tsr_emulated_launch l = {.grid = {2, 1, 1}, .threads = 64, .cooperative = true};
  return gpu_launch(run, "flags", &l, GPU_ARGS(&data, &flag, &out)) &&
         gpu_same_ints(run, "data there and back", out, want, 64);
}

static bool run_vectors(const gpu_case *self, gpu_run *run) {
  (void)self;
  int *in = gpu_memory(run, 1024), *out = gpu_memory(run, 4096), want[1024];
  for (int i = 0; i < 256; i++)
    in[i] = i * 1234567;
  for (int i = 0; i < 256; i++) {
    want[i] = in[i];
    want[256 + i] = in[(63 - i / 4) * 4 + i % 4];
    want[512 + i] = in[i ^ 2];
    want[768 + i] = in[i ^ 4];
  }
  tsr_emulated_launch l = {.grid = {1, 1, 1}, .threads = 64, .shared_bytes = 1024};
  return gpu_launch(run, "vectors", &l, GPU_ARGS(&in, &out)) &&
         gpu_same_ints(run, "16 bytes, 16 read-only, 8 bytes, 16 of shared memory", out, want,
                       1024);
}

static bool run_narrow_vectors(const gpu_case *self, gpu_run *run) {
  (void)self;
  int *in = gpu_memory(run, 512), *out = gpu_memory(run, 1024), want[256];
  for (int i = 0; i < 128; i++)
    in[i] = i * 7654321;
  for (int i = 0; i < 64; i++) {
    want[i] = in[63 - i];
    want[64 + i] = in[i ^ 5];
  }
  for (int i = 0; i < 128; i++)
    want[128 + i] = in[i ^ 6];
  tsr_emulated_launch l = {.grid = {1, 1, 1}, .threads = 64, .shared_bytes = 768};
  return gpu_launch(run, "narrow_vectors", &l, GPU_ARGS(&in, &out)) &&
         gpu_same_ints(run, "4 bytes, 4 of shared memory, 8 of it", out, want, 256);
}

static bool run_grid_barriers(const gpu_case *self, gpu_run *run) {
  (void)self;
  enum { BLOCKS = 16 };
  int turns = 20, sums[BLOCKS], want[BLOCKS * 64];
  int *data = gpu_memory(run, 2 * BLOCKS * 4), *out = gpu_memory(run, BLOCKS * 64 * 4);
  for (int b = 0; b < BLOCKS; b++)
    sums[b] = b + 1;
  for (int turn = 0; turn < turns; turn++) {
    int all = 0;
    for (int b = 0; b < BLOCKS; b++)
      all += sums[b];
    for (int b = 0; b < BLOCKS; b++)
      sums[b] = (turn + b + all) & 0xffff;
  }
  for (int i = 0; i < BLOCKS * 64; i++)
    want[i] = sums[i / 64];
  tsr_emulated_launch l = {.grid = {BLOCKS, 1, 1}, .threads = 64, .cooperative = true};
  return gpu_launch(run, "grid_barriers", &l, GPU_ARGS(&data, &out, &turns)) &&
         gpu_same_ints(run, "sums behind 20 barriers", out, want, BLOCKS * 64);
}

/* Values of every exponent, their neighbours, infinities and NaN. */
static float interesting(int i) {
  uint32_t bits = (uint32_t)i << 16 | ((uint32_t)i * 40503u & 0xf000u);
  return tsr_bits_to_f32(i % 3 == 0 ? (uint32_t)i << 16 : bits);
}

static bool narrowed(gpu_run *run, const char *what, tsr_dtype dtype, float from, uint32_t got) {
  uint64_t want = tsr_float_encode(dtype, (double)from, TSR_OVERFLOW_SATURATE);
  bool right = isnan(from) ? isnan(tsr_float_decode(dtype, got)) : got == want;
  return right ||
         gpu_fail(run, "%s makes %#x of %a, not %#x", what, got, (double)from, (unsigned)want);
}

static bool widened(gpu_run *run, const char *what, tsr_dtype dtype, uint32_t from, float got) {
  double want = tsr_float_decode(dtype, from);
  bool right = isnan(want) ? isnan(got) : (double)got == want;
  return right || gpu_fail(run, "%s makes %a of %#x, not %a", what, (double)got, from, want);
}

/* To nearest, ties away from zero, 10 bits of fraction; what stands behind them means nothing. */
static uint32_t to_tf32(float value) {
  return (tsr_f32_to_bits(value) + 0x1000u) & ~0x1fffu;
}

static bool run_conversions(const gpu_case *self, gpu_run *run) {
  (void)self;
  enum { COUNT = 65536 };
  float *x = gpu_memory(run, COUNT * 4), *wide = gpu_memory(run, COUNT * 8);
  uint32_t *f16 = gpu_memory(run, COUNT * 4), *bf16 = gpu_memory(run, COUNT * 4);
  uint32_t *tf32 = gpu_memory(run, COUNT * 4);
  uint16_t *narrow = gpu_memory(run, COUNT * 2);
  for (int i = 0; i < COUNT; i++)
    x[i] = interesting(i);
  tsr_emulated_launch l = {.grid = {1, 1, 1}, .threads = 256};
  if (!gpu_launch(run, "conversions", &l, GPU_ARGS(&x, &f16, &bf16, &tf32, &narrow, &wide)))
    return false;
  for (int i = 0; i < COUNT; i++) {
    float low = x[i], high = x[COUNT - 1 - i];
    if (!narrowed(run, "f32x2_to_f16x2 (low)", TSR_F16, low, f16[i] & 0xffff) ||
        !narrowed(run, "f32x2_to_f16x2 (high)", TSR_F16, high, f16[i] >> 16) ||
        !narrowed(run, "f32x2_to_bf16x2 (low)", TSR_BF16, low, bf16[i] & 0xffff) ||
        !narrowed(run, "f32x2_to_bf16x2 (high)", TSR_BF16, high, bf16[i] >> 16) ||
        !narrowed(run, "f32_to_e4m3_bitwise", TSR_F8E4M3, low, narrow[i] & 0xff) ||
        !narrowed(run, "f32_to_e5m2_bitwise", TSR_F8E5M2, low, narrow[i] >> 8) ||
        !widened(run, "e4m3_to_f32_bitwise", TSR_F8E4M3, (uint32_t)i & 0xff, wide[2 * i]) ||
        !widened(run, "e5m2_to_f32_bitwise", TSR_F8E5M2, (uint32_t)i & 0xff, wide[2 * i + 1]))
      return false;
    if (isfinite(low) && isfinite(tsr_bits_to_f32(to_tf32(low))) &&
        (tf32[i] & ~0x1fffu) != to_tf32(low))
      return gpu_fail(run, "f32_to_tf32 makes %#x of %a, not %#x", tf32[i], (double)low,
                      to_tf32(low));
  }
  return true;
}

static bool run_convert(const gpu_case *self, gpu_run *run) {
  enum { COUNT = 65536 };
  static const tsr_dtype dtypes[] = {TSR_F16, TSR_BF16, TSR_F8E4M3, TSR_F8E5M2};
  static const char *const names[] = {"f16", "bf16", "e4m3", "e5m2"};
  long long which = *(const int *)self->about;
  float *wide = gpu_memory(run, COUNT * 4), *back = gpu_memory(run, COUNT * 4);
  uint16_t *narrow = gpu_memory(run, COUNT * 2), *bits = gpu_memory(run, COUNT * 2);
  for (int i = 0; i < COUNT; i++) {
    wide[i] = interesting(i);
    bits[i] = (uint16_t)(which < 2 ? i : i & 255);
  }
  tsr_emulated_launch l = {.grid = {1, 1, 1}, .threads = 256};
  if (!gpu_launch(run, "convert", &l, GPU_ARGS(&wide, &narrow, &bits, &back, &which)))
    return false;
  for (int i = 0; i < COUNT; i++)
    if (!narrowed(run, names[which], dtypes[which], wide[i], narrow[i]) ||
        !widened(run, names[which], dtypes[which], bits[i], back[i]))
      return false;
  return true;
}

/* In patterns of 1024, 512 and 256 bytes, the number of the 16-byte chunk within 128, 64 or 32
 * bytes is xored with the number of the 128 bytes that it lies in. */
/* Any bits but those of NaN, whose payload is nobody's business. */
static bool run_halves(const gpu_case *self, gpu_run *run) {
  (void)self;
  enum { COUNT = 4096 };
  uint32_t *x = gpu_memory(run, COUNT * 4), *out = gpu_memory(run, 2 * COUNT * 4), bits = 1;
  for (int i = 0; i < COUNT; i++) {
    bits = bits * 1664525u + 1013904223u;
    x[i] = bits & 0xbfffbfffu;
  }
  tsr_emulated_launch l = {.grid = {1, 1, 1}, .threads = 256};
  if (!gpu_launch(run, "halves", &l, GPU_ARGS(&x, &out)))
    return false;
  for (int i = 0; i < 2 * COUNT; i++) {
    float a = (float)tsr_float_decode(TSR_F16, x[i % COUNT] >> (i / 2 % 2 * 16) & 0xffff);
    float b =
        (float)tsr_float_decode(TSR_F16, x[COUNT - 1 - i % COUNT] >> (i / 2 % 2 * 16) & 0xffff);
    if (!narrowed(run, i < COUNT ? "f16x2_sub" : "f16x2_mul", TSR_F16, i < COUNT ? a - b : a * b,
                  out[i] >> (i / 2 % 2 * 16) & 0xffff))
      return false;
  }
  return true;
}

static bool run_swizzles(const gpu_case *self, gpu_run *run) {
  (void)self;
  enum { COUNT = 4096 };
  int *out = gpu_memory(run, 6 * COUNT * 4);
  static int want[6 * COUNT];
  for (int offset = 0; offset < COUNT; offset++)
    for (int width = 0; width < 3; width++) {
      int place = offset ^ offset / 128 % (8 >> width) * 16;
      want[width * COUNT + offset] = want[(3 + width) * COUNT + offset] = place;
    }
  tsr_emulated_launch l = {.grid = {1, 1, 1}, .threads = 256};
  return gpu_launch(run, "swizzles", &l, GPU_ARGS(&out)) &&
         gpu_same_ints(run, "places under 128, 64, 32, twice", out, want, 6 * COUNT);
}

static bool run_copies(const gpu_case *self, gpu_run *run) {
  (void)self;
  uint8_t *in = gpu_memory(run, 2048), *out = gpu_memory(run, 4096), want[28];
  for (int i = 0; i < 2048; i++)
    in[i] = (uint8_t)(i * 7 + 1);
  tsr_emulated_launch l = {.grid = {1, 1, 1}, .threads = 64, .shared_bytes = 4096};
  if (!gpu_launch(run, "copies", &l, GPU_ARGS(&in, &out)))
    return false;
  for (int t = 0; t < 64; t++) {
    int from = t ^ 1;
    for (int i = 0; i < 28; i++) {
      int within = i < 16 ? i : i < 24 ? i - 16 : i - 24;
      int valid = i < 16 ? from % 17 : i < 24 ? from % 9 : from % 5;
      want[i] = within < valid ? in[from * 32 + i] : 0;
    }
    if (!gpu_same_bytes(run, "partial copies of 16, 8 and 4 bytes", out + t * 32, want, 28) ||
        !gpu_same_bytes(run, "whole copies", out + 2048 + t * 32, in + from * 32, 28))
      return false;
  }
  return true;
}

static bool run_ldmatrix(const gpu_case *self, gpu_run *run) {
  (void)self;
  uint16_t *in = gpu_memory(run, 512);
  int *out = gpu_memory(run, 32 * 14 * 4);
  for (int i = 0; i < 256; i++)
    in[i] = (uint16_t)(i + 1);
  if (!gpu_launch(run, "ldmatrix", &one_warp, GPU_ARGS(&in, &out)))
    return false;
  static const int matrices[] = {0, 0, 1, 0, 1, 2, 3};
  for (int lane = 0; lane < 32; lane++) {
    int g = lane / 4, t = lane % 4, want[14];
    for (int i = 0; i < 7; i++) {
      const uint16_t *m = in + matrices[i] * 64;
      want[i] = m[g * 8 + 2 * t] | m[g * 8 + 2 * t + 1] << 16;
      want[7 + i] = m[2 * t * 8 + g] | m[(2 * t + 1) * 8 + g] << 16;
    }
    if (!gpu_same_ints(run, "x1, x2, x4, then transposed", out + (size_t)lane * 14, want, 14))
      return false;
  }
  return true;
}

static bool run_mbarriers(const gpu_case *self, gpu_run *run) {
  (void)self;
  int *in = gpu_memory(run, 256), *out = gpu_memory(run, 129 * 4), want[129];
  for (int t = 0; t < 64; t++) {
    in[t] = 1000 - t;
    want[t] = (63 - t) * 9;
  }
  for (int t = 0; t < 64; t++)
    want[64 + t] = in[63 - t];
  want[128] = 1;
  tsr_emulated_launch l = {.grid = {1, 1, 1}, .threads = 64, .shared_bytes = 320};
  return gpu_launch(run, "mbarriers", &l, GPU_ARGS(&in, &out)) &&
         gpu_same_ints(run, "behind 64 arrivals, behind copies, a new phase", out, want, 129);
}

static bool run_resident(const gpu_case *self, gpu_run *run) {
  (void)self;
  enum { BLOCKS = 300 };
  int *out = gpu_memory(run, BLOCKS * 128 * 4);
  tsr_emulated_launch l = {.grid = {BLOCKS, 1, 1}, .threads = 128};
  if (!gpu_launch(run, "resident", &l, GPU_ARGS(&out)))
    return false;
  for (int i = 0; i < BLOCKS * 128; i++)
    if (out[i] != i / 128 + i % 128)
      return gpu_fail(run, "thread %d of block %d wrote %d", i % 128, i / 128, out[i]);
  return true;
}

static const int conversion[] = {0, 1, 2, 3};

const gpu_case gpu_cases_sm80[] = {
    {"primitive.identity", "sm80", 80, run_identity, NULL},
    {"primitive.shuffles", "sm80", 80, run_shuffles, NULL},
    {"primitive.barriers", "sm80", 80, run_barriers, NULL},
    {"primitive.atomics", "sm80", 80, run_atomics, NULL},
    {"primitive.atomics_shared", "sm80", 80, run_atomics_shared, NULL},
    {"primitive.flags", "sm80", 80, run_flags, NULL},
    {"primitive.vectors", "sm80", 80, run_vectors, NULL},
    {"primitive.narrow_vectors", "sm80", 80, run_narrow_vectors, NULL},
    {"primitive.grid_barriers", "sm80", 80, run_grid_barriers, NULL},
    {"primitive.conversions", "sm80", 80, run_conversions, NULL},
    {"primitive.convert_f16", "convert", 80, run_convert, conversion},
    {"primitive.convert_bf16", "convert", 80, run_convert, conversion + 1},
    {"primitive.convert_e4m3", "convert", 80, run_convert, conversion + 2},
    {"primitive.convert_e5m2", "convert", 80, run_convert, conversion + 3},
    {"primitive.halves", "sm80", 80, run_halves, NULL},
    {"primitive.swizzles", "sm80", 80, run_swizzles, NULL},
    {"primitive.copies", "sm80", 80, run_copies, NULL},
    {"primitive.ldmatrix", "sm80", 80, run_ldmatrix, NULL},
    {"primitive.mbarriers", "sm80", 80, run_mbarriers, NULL},
    {"primitive.resident", "sm80", 80, run_resident, NULL},
    {NULL, NULL, 0, NULL, NULL},
};
