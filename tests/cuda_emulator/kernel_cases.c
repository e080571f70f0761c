#include "tests/cuda_emulator/kernel_cases.h"
#include "codegen/cuda/device/device_common.h"
#include "runtime/float_convert.h"
#include "tests/cuda_emulator/engine/device_api.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double random_value(uint64_t *state) {
  *state = *state * 6364136223846793005ull + 1442695040888963407ull;
  return (double)(int32_t)(*state >> 33) / 1073741824.0 - 1.0;
}

static bool close_to(const float *got, const double *want, const double *bound, size_t count,
                     char *why, size_t why_size) {
  for (size_t i = 0; i < count; ++i)
    if (!(fabs((double)got[i] - want[i]) <= bound[i])) {
      snprintf(why, why_size, "wrong result: element %zu is %g instead of %g", i, (double)got[i],
               want[i]);
      return false;
    }
  return true;
}

static bool launch(tsr_emulator *e, const char *text, const char *name,
                   const tsr_emulated_launch *l, void *const *args, char *why, size_t why_size) {
  const tsr_emulated_kernel *k = tsr_emulator_kernel(e, text, name);
  if (k && tsr_emulator_launch(e, k, l, args))
    return true;
  snprintf(why, why_size, "%s", tsr_emulator_error(e));
  return false;
}

static bool axpy_size(tsr_emulator *e, const char *text, uint32_t seed, long long n, char *why,
                      size_t why_size) {
  float *x = tsr_emulator_alloc(e, (size_t)n * 4, "x"),
        *y = tsr_emulator_alloc(e, (size_t)n * 4, "y");
  double *want = malloc((size_t)n * 8), *bound = malloc((size_t)n * 8);
  uint64_t state = 7;
  float a = 1.5f;
  for (long long i = 0; i < n; ++i) {
    x[i] = (float)random_value(&state);
    y[i] = (float)random_value(&state);
    want[i] = 1.5 * (double)x[i] + (double)y[i];
    bound[i] = 4e-7;
  }
  tsr_emulated_launch l = {
      .grid = {(uint32_t)((n + 1023) / 1024), 1, 1}, .threads = 256, .seed = seed};
  bool ok = launch(e, text, "axpy", &l, (void *[]){&x, &y, &a, &n}, why, why_size) &&
            close_to(y, want, bound, (size_t)n, why, why_size);
  tsr_emulator_free(e, x);
  tsr_emulator_free(e, y);
  free(want);
  free(bound);
  return ok;
}

static bool run_axpy(const kernel_case *self, tsr_emulator *e, const char *text, uint32_t seed,
                     char *why, size_t why_size) {
  (void)self;
  static const long long sizes[] = {1, 4, 1023, 2050};
  for (int i = 0; i < 4; ++i)
    if (!axpy_size(e, text, seed, sizes[i], why, why_size))
      return false;
  return true;
}

/* Rows of `columns` values; the middle one is -inf where `masked`. */
static float *make_rows(tsr_emulator *e, int rows, long long columns, bool masked) {
  float *x = tsr_emulator_alloc(e, (size_t)(rows * columns) * 4, "x");
  uint64_t state = 11;
  for (long long i = 0; i < rows * columns; ++i)
    x[i] = masked && i / columns == 1 ? -INFINITY : (float)(4 * random_value(&state));
  return x;
}

static bool row_sum_size(tsr_emulator *e, const char *text, uint32_t seed, long long columns,
                         char *why, size_t why_size) {
  enum { ROWS = 3 };
  float *x = make_rows(e, ROWS, columns, false);
  float *sums = tsr_emulator_alloc(e, ROWS * 4, "sums"), *total = tsr_emulator_alloc(e, 4, "total");
  double want[ROWS], bound[ROWS], all = 0, all_bound = 0;
  *total = 0;
  for (int r = 0; r < ROWS; ++r) {
    double magnitude = want[r] = 0;
    for (long long i = 0; i < columns; ++i) {
      want[r] += (double)x[r * columns + i];
      magnitude += fabs((double)x[r * columns + i]);
    }
    bound[r] = magnitude * 1e-6;
    all += want[r];
    all_bound += 2 * bound[r];
  }
  tsr_emulated_launch l = {.grid = {ROWS, 1, 1}, .threads = 128, .shared_bytes = 16, .seed = seed};
  bool ok =
      launch(e, text, "row_sum", &l, (void *[]){&x, &sums, &total, &columns}, why, why_size) &&
      close_to(sums, want, bound, ROWS, why, why_size) &&
      close_to(total, &all, &all_bound, 1, why, why_size);
  tsr_emulator_free(e, x);
  tsr_emulator_free(e, sums);
  tsr_emulator_free(e, total);
  return ok;
}

static bool run_row_sum(const kernel_case *self, tsr_emulator *e, const char *text, uint32_t seed,
                        char *why, size_t why_size) {
  (void)self;
  return row_sum_size(e, text, seed, 1, why, why_size) &&
         row_sum_size(e, text, seed, 997, why, why_size);
}

static void softmax_reference(const float *row, double *out, long long columns) {
  double top = -INFINITY, sum = 0;
  for (long long i = 0; i < columns; ++i)
    top = fmax(top, (double)row[i]);
  for (long long i = 0; i < columns; ++i)
    sum += isinf(top) ? 0 : exp((double)row[i] - top);
  for (long long i = 0; i < columns; ++i)
    out[i] = sum > 0 ? exp((double)row[i] - top) / sum : 0;
}

static bool softmax_size(tsr_emulator *e, const char *text, uint32_t seed, long long columns,
                         char *why, size_t why_size) {
  enum { ROWS = 3 };
  size_t count = (size_t)(ROWS * columns);
  float *x = make_rows(e, ROWS, columns, true), *y = tsr_emulator_alloc(e, count * 4, "y");
  double *want = malloc(count * 8), *bound = malloc(count * 8);
  for (int r = 0; r < ROWS; ++r)
    softmax_reference(x + r * columns, want + r * columns, columns);
  for (size_t i = 0; i < count; ++i)
    bound[i] = want[i] * 2e-6 + 1e-12;
  tsr_emulated_launch l = {.grid = {ROWS, 1, 1}, .threads = 128, .shared_bytes = 32, .seed = seed};
  bool ok = launch(e, text, "softmax", &l, (void *[]){&x, &y, &columns}, why, why_size) &&
            close_to(y, want, bound, count, why, why_size);
  tsr_emulator_free(e, x);
  tsr_emulator_free(e, y);
  free(want);
  free(bound);
  return ok;
}

static bool run_softmax(const kernel_case *self, tsr_emulator *e, const char *text, uint32_t seed,
                        char *why, size_t why_size) {
  (void)self;
  return softmax_size(e, text, seed, 5, why, why_size) &&
         softmax_size(e, text, seed, 331, why, why_size);
}

/* A matrix as kernels read it and as numbers. */
typedef struct matrix {
  uint8_t *data;
  double *values;
  long long rows, columns, stride;
} matrix;

static double put_element(int type, uint8_t *at, double value) {
  static const tsr_dtype dtypes[] = {[TSR_MMA_F16] = TSR_F16, [TSR_MMA_BF16] = TSR_BF16};
  if (type == TSR_MMA_S8) {
    *(int8_t *)at = (int8_t)(value * 127);
    return *(int8_t *)at;
  }
  if (type == TSR_MMA_TF32) {
    uint32_t bits = tsr_f32_to_bits((float)value) & ~0x1fffu;
    memcpy(at, &bits, 4);
    return (double)tsr_bits_to_f32(bits);
  }
  uint64_t bits = tsr_float_encode(dtypes[type], value, TSR_OVERFLOW_SATURATE);
  memcpy(at, &bits, 2);
  return tsr_float_decode(dtypes[type], bits);
}

/* Rows are padded to 16 bytes with what gives NaN where it is not left out. */
static matrix make_matrix(tsr_emulator *e, const kernel_case *c, long long rows, long long columns,
                          const char *name, uint64_t state) {
  matrix m = {.rows = rows, .columns = columns};
  m.stride = (columns * c->element_bytes + 15) / 16 * 16;
  m.data = tsr_emulator_alloc(e, (size_t)(rows * m.stride), name);
  m.values = malloc((size_t)(rows * columns) * sizeof(double));
  for (long long i = 0; i < rows * columns; ++i)
    m.values[i] =
        put_element(c->type, m.data + i / columns * m.stride + i % columns * c->element_bytes,
                    random_value(&state));
  return m;
}

/* want[m][n] and the derived bound: k products in f32, relative to the sum of magnitudes. */
static void gemm_reference(const kernel_case *c, const matrix *a, const matrix *b, long long n,
                           double *want, double *bound) {
  for (long long y = 0; y < a->rows; ++y)
    for (long long x = 0; x < n; ++x) {
      double sum = 0, magnitude = 0;
      for (long long k = 0; k < a->columns; ++k) {
        double product = a->values[y * a->columns + k] *
                         b->values[c->b_rows_are_k ? k * b->columns + x : x * b->columns + k];
        sum += product;
        magnitude += fabs(product);
      }
      want[y * n + x] = sum;
      bound[y * n + x] = c->type == TSR_MMA_S8 ? 0 : magnitude * (double)a->columns * 6e-8;
    }
}

static bool compare_gemm(const kernel_case *c, const void *got, const matrix *a, const matrix *b,
                         long long n, char *why, size_t why_size) {
  size_t count = (size_t)(a->rows * n);
  double *want = malloc(count * 8), *bound = malloc(count * 8);
  float *values = malloc(count * 4);
  gemm_reference(c, a, b, n, want, bound);
  for (size_t i = 0; i < count; ++i)
    values[i] = c->type == TSR_MMA_S8 ? (float)((const int32_t *)got)[i] : ((const float *)got)[i];
  bool ok = close_to(values, want, bound, count, why, why_size);
  free(want);
  free(bound);
  free(values);
  return ok;
}

static bool gemm_size(const kernel_case *c, tsr_emulator *e, const char *text, uint32_t seed,
                      long long m, long long n, long long k, char *why, size_t why_size) {
  matrix a = make_matrix(e, c, m, k, "a", 3);
  matrix b = c->b_rows_are_k ? make_matrix(e, c, k, n, "b", 5) : make_matrix(e, c, n, k, "b", 5);
  void *out = tsr_emulator_alloc(e, (size_t)(m * n) * 4, "c");
  bool wgmma = c->arch == 90, ok = true;
  _Alignas(64) uint8_t map_a[128], map_b[128];
  uint32_t tile = wgmma ? 128 : 64;
  tsr_emulated_launch l = {
      .grid = {(uint32_t)((m + tile - 1) / tile * ((n + tile - 1) / tile)), 1, 1},
      .threads = wgmma ? 384 : 128,
      .shared_bytes = wgmma ? 3 * 32768 + 48 : 3 * 8192,
      .seed = seed};
  void *mma_args[] = {&a.data, &b.data, &out, &m, &n, &k, &a.stride, &b.stride};
  void *wgmma_args[] = {map_a, map_b, &out, &m, &n, &k};
  if (wgmma) {
    uint32_t box[] = {64, 128};
    ok = tsr_emulator_encode_tensor_map(e, map_a, 2, 2, a.data,
                                        (uint64_t[]){(uint64_t)k, (uint64_t)m},
                                        (uint64_t[]){(uint64_t)a.stride}, box, TSR_SWIZZLE_128) &&
         tsr_emulator_encode_tensor_map(e, map_b, 2, 2, b.data,
                                        (uint64_t[]){(uint64_t)k, (uint64_t)n},
                                        (uint64_t[]){(uint64_t)b.stride}, box, TSR_SWIZZLE_128);
    if (!ok)
      snprintf(why, why_size, "%s", tsr_emulator_error(e));
  }
  ok = ok && launch(e, text, "gemm", &l, wgmma ? wgmma_args : mma_args, why, why_size) &&
       compare_gemm(c, out, &a, &b, n, why, why_size);
  tsr_emulator_free(e, a.data);
  tsr_emulator_free(e, b.data);
  tsr_emulator_free(e, out);
  free(a.values);
  free(b.values);
  return ok;
}

static bool run_gemm(const kernel_case *c, tsr_emulator *e, const char *text, uint32_t seed,
                     char *why, size_t why_size) {
  if (c->arch == 90)
    return gemm_size(c, e, text, seed, 131, 67, 275, why, why_size);
  return gemm_size(c, e, text, seed, 67, 45, 211, why, why_size) &&
         gemm_size(c, e, text, seed, 1, 1, 1, why, why_size);
}

#define MMA_PREFIX(element, mma, acc, rows)                                                        \
  "#define ELEMENT " element "\n#define MMA tsr_mma_" mma "\n#define ACC " acc                     \
  "\n#define B_ROWS_ARE_K " rows "\n"

const kernel_case kernel_cases[] = {
    {"axpy", "elementwise", "", 80, run_axpy, 0, 0, false},
    {"row_sum", "reduce", "", 80, run_row_sum, 0, 0, false},
    {"softmax", "softmax", "", 80, run_softmax, 0, 0, false},
    {"gemm_f16", "gemm_mma", MMA_PREFIX("2", "f16_16x8x16", "float", "0"), 80, run_gemm, 2,
     TSR_MMA_F16, false},
    {"gemm_f16_kn", "gemm_mma", MMA_PREFIX("2", "f16_16x8x16", "float", "1"), 80, run_gemm, 2,
     TSR_MMA_F16, true},
    {"gemm_bf16", "gemm_mma", MMA_PREFIX("2", "bf16_16x8x16", "float", "0"), 80, run_gemm, 2,
     TSR_MMA_BF16, false},
    {"gemm_tf32", "gemm_mma", MMA_PREFIX("4", "tf32_16x8x8", "float", "0"), 80, run_gemm, 4,
     TSR_MMA_TF32, false},
    {"gemm_s8", "gemm_mma", MMA_PREFIX("1", "s8_16x8x32", "int", "0"), 80, run_gemm, 1, TSR_MMA_S8,
     false},
    {"gemm_wgmma", "gemm_wgmma", "", 90, run_gemm, 2, TSR_MMA_F16, false},
};
const int kernel_case_count = sizeof(kernel_cases) / sizeof(kernel_cases[0]);

char *kernel_case_text(const kernel_case *c) {
  char path[512];
  snprintf(path, sizeof(path), "%s/%s.cu", TSR_EMULATOR_KERNELS, c->file);
  FILE *in = fopen(path, "r");
  if (!in)
    return NULL;
  char *text = calloc(1, 65536);
  size_t length = strlen(c->prefix);
  memcpy(text, c->prefix, length);
  length += fread(text + length, 1, 65535 - length, in);
  text[length] = '\0';
  fclose(in);
  return text;
}

const kernel_case *kernel_case_find(const char *name) {
  for (int i = 0; i < kernel_case_count; ++i)
    if (strcmp(kernel_cases[i].name, name) == 0)
      return &kernel_cases[i];
  return NULL;
}
