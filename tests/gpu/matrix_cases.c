/* Matrix instructions: every CUDA row of ir/atoms.def, mma.sync of every type, wgmma of every type,
 * width of the swizzle, several n and every layout; and the kernels by hand. */
#include "codegen/cuda/device/device_common.h"
#include "runtime/float_convert.h"
#include "tests/cuda_emulator/kernel_cases.h"
#include "tests/gpu/gpu_case.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CASES = 128, NAME_BYTES = 48 };

typedef struct element {
  const char *name, *atom; /* in kernels' names, and in atoms' */
  tsr_dtype dtype;
  int bytes;
} element;

static const element elements[] = {
    {"f16", "f16", TSR_F16, 2},        {"bf16", "bf16", TSR_BF16, 2},
    {"tf32", "tf32", TSR_F32, 4},      {"s8", "s8", TSR_I8, 1},
    {"e4m3", "f8e4m3", TSR_F8E4M3, 1}, {"e5m2", "f8e5m2", TSR_F8E5M2, 1},
};
enum { ELEMENTS = sizeof elements / sizeof *elements };

static const element *find_element(const char *name) {
  for (int i = 0; i < ELEMENTS; i++)
    if (strcmp(name, elements[i].name) == 0 || strcmp(name, elements[i].atom) == 0)
      return &elements[i];
  return NULL;
}

/* A tile of one instruction, or of a few along k. */
typedef struct tile {
  const element *type;
  char name[NAME_BYTES], kernel[NAME_BYTES];
  int m, n, row_bytes; /* bytes of k */
  bool a_rows_are_k, b_rows_are_k;
  bool accumulates; /* c starts as numbers */
  int results;      /* copies of c that come out; number i has i added */
} tile;

/* Numbers of few bits, which every type holds and whose sums are exact; or, `rough`, any. */
static void fill(const tile *t, uint8_t *data, int rows, int salt, bool rough) {
  uint64_t state = (uint64_t)salt;
  for (int i = 0; i < rows * t->row_bytes / t->type->bytes; i++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    double value = (i * 7 + i / 5 * salt) % 9 - 4;
    if (rough && t->type->dtype == TSR_I8)
      value = (double)(int8_t)(state >> 56);
    else if (rough)
      value = (double)(int32_t)(state >> 32) / 1073741824.0;
    if (t->type->dtype == TSR_F32) {
      /* What the instruction reads of f32: 10 bits of fraction. */
      uint32_t bits = tsr_f32_to_bits((float)value) & ~0x1fffu;
      memcpy(data + (size_t)i * 4, &bits, 4);
    } else {
      tsr_element_store_f64(t->type->dtype, data, i, value);
    }
  }
}

static double at(const tile *t, const uint8_t *data, int row, int k, int rows, bool rows_are_k) {
  int depth = t->row_bytes / t->type->bytes;
  return tsr_element_load_f64(t->type->dtype, data, rows_are_k ? k * rows + row : row * depth + k);
}

/* What one addition may lose, relative to the largest number in it: tensor cores cut off instead of
 * rounding, f32 sums behind 23 bits of fraction, Hopper's sums of float8 behind 13. Products of two
 * operands are exact. */
static double cut(const element *type) {
  bool fp8 = type->dtype == TSR_F8E4M3 || type->dtype == TSR_F8E5M2;
  return fp8 ? 0x1p-13 : 0x1p-23;
}

static bool compare_tile(const tile *t, gpu_run *run, const uint8_t *a, const uint8_t *b,
                         const uint8_t *c, double more, bool rough) {
  int depth = t->row_bytes / t->type->bytes;
  tsr_dtype out = t->type->dtype == TSR_I8 ? TSR_I32 : TSR_F32;
  for (int y = 0; y < t->m; y++)
    for (int x = 0; x < t->n; x++) {
      double start = t->accumulates ? y - x : 0, want = start, magnitude = fabs(start);
      for (int k = 0; k < depth; k++) {
        double product =
            at(t, a, y, k, t->m, t->a_rows_are_k) * at(t, b, x, k, t->n, t->b_rows_are_k);
        want += product;
        magnitude += fabs(product);
      }
      want += more;
      magnitude += more;
      double bound = rough && out == TSR_F32 ? magnitude * (depth + 1) * cut(t->type) : 0;
      double got = tsr_element_load_f64(out, c, y * t->n + x);
      if (!(fabs(got - want) <= bound))
        return gpu_fail(run, "%s numbers: [%d][%d] is %.9g, not %.9g (bound %.3g)",
                        rough ? "random" : "small", y, x, got, want, bound);
    }
  return true;
}

static bool run_tile_with(const tile *t, gpu_run *run, uint32_t threads, bool rough) {
  size_t c_bytes = (size_t)(t->m * t->n) * 4;
  uint8_t *a = gpu_memory(run, (size_t)(t->m * t->row_bytes));
  uint8_t *b = gpu_memory(run, (size_t)(t->n * t->row_bytes));
  uint8_t *c = gpu_memory(run, c_bytes * (size_t)t->results);
  fill(t, a, t->m, 3, rough);
  fill(t, b, t->n, 5, rough);
  for (int i = 0; t->accumulates && i < t->m * t->n; i++)
    tsr_element_store_f64(t->type->dtype == TSR_I8 ? TSR_I32 : TSR_F32, c, i, i / t->n - i % t->n);
  tsr_emulated_launch l = {
      .grid = {1, 1, 1}, .threads = threads, .shared_bytes = threads > 32 ? 8192 + 256 * 128 : 0};
  if (!gpu_launch(run, t->kernel, &l, GPU_ARGS(&a, &b, &c)))
    return false;
  bool same = true;
  for (int i = 0; same && i < t->results; i++)
    same = compare_tile(t, run, a, b, c + c_bytes * (size_t)i, i, rough);
  tsr_emulator_free(run->device, a);
  tsr_emulator_free(run->device, b);
  tsr_emulator_free(run->device, c);
  return same;
}

static bool run_warp_tile(const gpu_case *self, gpu_run *run) {
  return run_tile_with(self->about, run, 32, false) && run_tile_with(self->about, run, 32, true);
}

static bool run_warpgroup_tile(const gpu_case *self, gpu_run *run) {
  return run_tile_with(self->about, run, 128, false) && run_tile_with(self->about, run, 128, true);
}

/* ---- rows ---- */

typedef struct rows {
  gpu_case cases[MOST_CASES + 1];
  tile tiles[MOST_CASES];
  int count;
} rows;

static tile *add_tile(rows *r, const element *type, bool warpgroup) {
  if (r->count == MOST_CASES || type == NULL)
    abort();
  tile *t = &r->tiles[r->count];
  bool fp8 = type->dtype == TSR_F8E4M3 || type->dtype == TSR_F8E5M2;
  *t = (tile){.type = type,
              .m = warpgroup ? 64 : 16,
              .n = 8,
              .row_bytes = warpgroup ? 128 : 32,
              .accumulates = !warpgroup,
              .results = 1};
  r->cases[r->count++] = (gpu_case){.name = t->name,
                                    .unit = warpgroup ? "wgmma"
                                            : fp8     ? "sm90"
                                                      : "sm80",
                                    .capability = warpgroup || fp8 ? 90 : 80,
                                    .run = warpgroup ? run_warpgroup_tile : run_warp_tile,
                                    .about = t};
  return t;
}

static void add_mma(rows *r, const element *type, const char *name) {
  tile *t = add_tile(r, type, false);
  snprintf(t->name, sizeof t->name, "%s", name);
  snprintf(t->kernel, sizeof t->kernel, "mma_%s", type->name);
}

static void add_wgmma(rows *r, const element *type, int n, int width, const char *name) {
  tile *t = add_tile(r, type, true);
  t->n = n;
  snprintf(t->kernel, sizeof t->kernel, "%s_%d_%d", type->name, n, width);
  if (name != NULL)
    snprintf(t->name, sizeof t->name, "%s", name);
  else
    snprintf(t->name, sizeof t->name, "primitive.wgmma_%s", t->kernel);
}

/* An atom's kernel computes with the instruction of its row; `fma` is plain arithmetic, which the
 * models' tests run. */
typedef struct atom {
  const char *text;
  bool cuda;
} atom;
_Static_assert(sizeof "CPU" != sizeof "CUDA", "the rows' kinds differ in length");
#define TSR_ATOM(NAME, kind, text, m, n, k, a, b, c, place, features, rate, scope, parts)          \
  {text, sizeof #kind == sizeof "CUDA"},
static const atom atoms[] = {
#include "ir/atoms.def"
};
#undef TSR_ATOM

static bool run_unknown_atom(const gpu_case *self, gpu_run *run) {
  return gpu_fail(run, "no test for atom %s", (const char *)self->about);
}

static void add_atom(rows *r, const char *text) {
  char name[NAME_BYTES];
  const char *dot = strchr(text, '.');
  const element *type = dot == NULL ? NULL : find_element(dot + 1);
  snprintf(name, sizeof name, "atom.%s", text);
  if (type != NULL && strncmp(text, "wgmma.", 6) == 0) {
    add_wgmma(r, type, 256, 128, name);
  } else if (type != NULL && strncmp(text, "mma.", 4) == 0) {
    add_mma(r, type, name);
  } else {
    tile *t = &r->tiles[r->count];
    snprintf(t->name, sizeof t->name, "%s", name);
    r->cases[r->count++] = (gpu_case){t->name, "sm80", 80, run_unknown_atom, text};
  }
}

const gpu_case *gpu_cases_atoms(void) {
  static rows r;
  bool made = r.count > 0;
  for (size_t i = 0; !made && i < sizeof atoms / sizeof *atoms; i++)
    if (atoms[i].cuda && strncmp(atoms[i].text, "fma.", 4) != 0)
      add_atom(&r, atoms[i].text);
  return r.cases;
}

const gpu_case *gpu_cases_wgmma(void) {
  static rows r;
  static const int widths[] = {16, 32, 64, 128}, sizes[] = {8, 64, 128, 192};
  static const char *const layouts[] = {"km", "mk", "mm", "rk", "rm"};
  if (r.cases[0].name != NULL)
    return r.cases;
  add_mma(&r, find_element("e4m3"), "primitive.mma_e4m3");
  add_mma(&r, find_element("e5m2"), "primitive.mma_e5m2");
  for (int type = 0; type < ELEMENTS; type++) {
    for (int w = 0; w < 4; w++)
      add_wgmma(&r, &elements[type], 32, widths[w], NULL);
    add_wgmma(&r, &elements[type], 256, 128, NULL);
  }
  for (int n = 0; n < 4; n++)
    add_wgmma(&r, &elements[0], sizes[n], 128, NULL);
  for (int i = 0; i < 11; i++) {
    const char *layout = i < 10 ? layouts[i % 5] : "mm";
    tile *t = add_tile(&r, &elements[i / 5 % 2], true);
    t->n = 64;
    t->row_bytes = 32;
    t->a_rows_are_k = layout[0] == 'm';
    t->b_rows_are_k = layout[1] == 'm';
    if (i < 10) {
      snprintf(t->kernel, sizeof t->kernel, "%s_%s", t->type->name, layout);
    } else {
      t->results = 2;
      snprintf(t->kernel, sizeof t->kernel, "groups");
    }
    snprintf(t->name, sizeof t->name, "primitive.wgmma_%s", t->kernel);
  }
  return r.cases;
}

/* ---- kernels by hand ---- */

static bool run_kernel(const gpu_case *self, gpu_run *run) {
  static const struct {
    const char *unit;
    int arguments;
  } known[] = {{"axpy", 4}, {"row_sum", 4}, {"softmax", 3}, {"gemm_wgmma", 6}, {"gemm_", 8}};
  const kernel_case *c = self->about;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strncmp(c->name, known[i].unit, strlen(known[i].unit)) == 0) {
      gpu_device_arguments(known[i].arguments);
      return c->run(c, run->device, run->unit, 0, run->why, sizeof run->why);
    }
  return gpu_fail(run, "how many parameters has this kernel?");
}

const gpu_case *gpu_cases_kernels(void) {
  static gpu_case cases[MOST_CASES + 1];
  static char names[MOST_CASES][NAME_BYTES];
  for (int i = 0; i < kernel_case_count && i < MOST_CASES; i++) {
    snprintf(names[i], sizeof names[i], "kernel.%s", kernel_cases[i].name);
    cases[i] = (gpu_case){names[i], kernel_cases[i].name, kernel_cases[i].arch, run_kernel,
                          &kernel_cases[i]};
  }
  return cases;
}
