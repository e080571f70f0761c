/* Single primitives against references: wgmma of every type and layout, TMA in clusters,
 * conversions; and the limits that a launch and a tensor map have. */
#include "codegen/cuda/device/device_common.h"
#include "runtime/float_convert.h"
#include "tests/cuda_emulator/engine/device_api.h"
#include "tests/cuda_emulator/kernel_cases.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEEDS = 4 };

static char *file_text(const char *file, const char *prefix) {
  char *text = kernel_case_text(&(kernel_case){.file = file, .prefix = prefix});
  ck_assert_ptr_nonnull(text);
  return text;
}

static void must_launch(tsr_emulator *e, const char *text, const char *name,
                        const tsr_emulated_launch *l, void *const *args) {
  const tsr_emulated_kernel *k = tsr_emulator_kernel(e, text, name);
  ck_assert_msg(k != NULL, "%s", tsr_emulator_error(e));
  ck_assert_msg(tsr_emulator_launch(e, k, l, args), "seed %u: %s", l->seed, tsr_emulator_error(e));
}

typedef struct tile_type {
  const char *name, *define;
  int type, element_bytes;
  tsr_dtype dtype;
} tile_type;

static const tile_type tile_types[] = {
    {"f16", "F16(32, k, k)", TSR_MMA_F16, 2, TSR_F16},
    {"bf16", "BF16(32, k, k)", TSR_MMA_BF16, 2, TSR_BF16},
    {"tf32", "TF32(32)", TSR_MMA_TF32, 4, TSR_F32},
    {"s8", "S8(32)", TSR_MMA_S8, 1, TSR_I8},
    {"e4m3", "E4M3(32)", TSR_MMA_E4M3, 1, TSR_F8E4M3},
    {"e5m2", "E5M2(32)", TSR_MMA_E5M2, 1, TSR_F8E5M2},
};

/* `rows` of 128 bytes; small values are exact in every type. */
static void fill(const tile_type *t, uint8_t *data, int rows, int salt) {
  for (int i = 0; i < rows * 128 / t->element_bytes; ++i)
    tsr_element_store_f64(t->dtype, data, i, (i * 7 + i / 5 * salt) % 9 - 4);
}

START_TEST(wgmma_multiplies) {
  static const int widths[] = {16, 32, 64, 128};
  const tile_type *t = &tile_types[_i / 4];
  int width = widths[_i % 4], depth = 128 / t->element_bytes;
  bool s8 = t->type == TSR_MMA_S8;
  char prefix[512];
  snprintf(prefix, sizeof(prefix),
           "#define WIDTH %d\n#define DEFINE TSR_WGMMA_%s\n#define WGMMA tsr_wgmma_%s_64x32_kk\n"
           "#define ACC %s\n#define HOLD tsr_wgmma_hold_%s\n",
           width, t->define, t->name, s8 ? "int" : "float", s8 ? "s32" : "f32");
  char *text = file_text("wgmma_tile", prefix);
  tsr_emulator *e = tsr_emulator_create(90);
  uint8_t *a = tsr_emulator_alloc(e, 64 * 128, "a"), *b = tsr_emulator_alloc(e, 32 * 128, "b");
  uint8_t *c = tsr_emulator_alloc(e, 64 * 32 * 4, "c");
  fill(t, a, 64, 3);
  fill(t, b, 32, 5);
  tsr_emulated_launch l = {
      .grid = {1, 1, 1}, .threads = 128, .shared_bytes = 12288, .seed = (uint32_t)_i % SEEDS};
  must_launch(e, text, "tile", &l, (void *[]){&a, &b, &c});
  for (int y = 0; y < 64; ++y)
    for (int x = 0; x < 32; ++x) {
      double want = 0;
      for (int k = 0; k < depth; ++k)
        want += tsr_element_load_f64(t->dtype, a, y * depth + k) *
                tsr_element_load_f64(t->dtype, b, x * depth + k);
      double got = tsr_element_load_f64(s8 ? TSR_I32 : TSR_F32, c, y * 32 + x);
      ck_assert_msg(got == want, "%s, width %d: [%d][%d] is %g, not %g", t->name, width, y, x, got,
                    want);
    }
  free(text);
  tsr_emulator_destroy(e);
}
END_TEST

START_TEST(wgmma_takes_other_layouts) {
  char *text = file_text("wgmma_major", "");
  tsr_emulator *e = tsr_emulator_create(90);
  uint16_t *a = tsr_emulator_alloc(e, 2048, "a"), *b = tsr_emulator_alloc(e, 2048, "b");
  float *c = tsr_emulator_alloc(e, 2 * 64 * 64 * 4, "c");
  fill(&tile_types[0], (uint8_t *)a, 16, 3);
  fill(&tile_types[0], (uint8_t *)b, 16, 5);
  tsr_emulated_launch l = {.grid = {1, 1, 1}, .threads = 128, .shared_bytes = 4096};
  must_launch(e, text, "major", &l, (void *[]){&a, &b, &c});
  for (int i = 0; i < 2 * 64 * 64; ++i) {
    int y = i / 64 % 64, x = i % 64;
    double want = 0;
    for (int k = 0; k < 16; ++k)
      want += tsr_element_load_f64(TSR_F16, a, k * 64 + y) *
              tsr_element_load_f64(TSR_F16, b, k * 64 + x);
    ck_assert_msg((double)c[i] == want, "[%d][%d] is %g, not %g", y, x, (double)c[i], want);
  }
  free(text);
  tsr_emulator_destroy(e);
}
END_TEST

/* Five clusters; the last box hangs over the end of the tensor's 37 rows. */
START_TEST(clusters_share_boxes) {
  enum { ROWS = 37, CLUSTERS = 5 };
  char *text = file_text("cluster", "");
  tsr_emulator *e = tsr_emulator_create(90);
  float *in = tsr_emulator_alloc(e, ROWS * 32 * 4, "in");
  float *out = tsr_emulator_alloc(e, ROWS * 64 * 4, "out");
  float *bias = tsr_emulator_alloc(e, 128, "bias");
  _Alignas(64) uint8_t map_in[128], map_out[128];
  uint32_t box[] = {32, 8};
  ck_assert(tsr_emulator_encode_tensor_map(e, map_in, 2, 4, in, (uint64_t[]){32, ROWS},
                                           (uint64_t[]){128}, box, TSR_SWIZZLE_NONE));
  ck_assert(tsr_emulator_encode_tensor_map(e, map_out, 2, 4, out, (uint64_t[]){64, ROWS},
                                           (uint64_t[]){256}, box, TSR_SWIZZLE_NONE));
  for (int i = 0; i < ROWS * 32; ++i)
    in[i] = (float)(i % 101);
  for (int i = 0; i < 32; ++i)
    bias[i] = (float)(i + 1);
  tsr_emulated_launch l = {.grid = {2 * CLUSTERS, 1, 1},
                           .threads = 64,
                           .cluster = 2,
                           .shared_bytes = 3080,
                           .seed = (uint32_t)_i};
  must_launch(e, text, "exchange", &l, (void *[]){map_in, map_out, &bias});
  for (int i = 0; i < ROWS * 64; ++i) {
    int y = i / 64, x = i % 64;
    float want = 3 * in[y * 32 + x % 32] + bias[x % 32] * (float)(1 + x / 32);
    ck_assert_msg(out[i] == want, "[%d][%d] is %g, not %g", y, x, (double)out[i], (double)want);
  }
  char *first = strstr(text, "  }\n  tsr_cluster_arrive();\n  tsr_cluster_wait();\n  const");
  ck_assert_ptr_nonnull(first);
  memset(first + 4, ' ', strlen("  tsr_cluster_arrive();\n  tsr_cluster_wait();"));
  bool found = false;
  for (l.seed = 0; l.seed < 8 && !found; ++l.seed) {
    const tsr_emulated_kernel *k = tsr_emulator_kernel(e, text, "exchange");
    ck_assert_msg(k != NULL, "%s", tsr_emulator_error(e));
    found = !tsr_emulator_launch(e, k, &l, (void *[]){map_in, map_out, &bias});
  }
  ck_assert_msg(found, "a missing cluster barrier was not found");
  free(text);
  tsr_emulator_destroy(e);
}
END_TEST

/* Values around every number of the narrow types, their midpoints, overflow, infinities, NaN. */
static float interesting(int i) {
  uint32_t bits = (uint32_t)i << 16 | ((uint32_t)i * 40503u & 0xf000u);
  return tsr_bits_to_f32(i % 3 == 0 ? (uint32_t)i << 16 : bits);
}

START_TEST(conversions_are_the_runtimes) {
  static const tsr_dtype dtypes[] = {TSR_F16, TSR_BF16, TSR_F8E4M3, TSR_F8E5M2};
  long long which = _i;
  char *text = file_text("convert", "");
  tsr_emulator *e = tsr_emulator_create(80);
  float *wide = tsr_emulator_alloc(e, 65536 * 4, "wide");
  float *widened = tsr_emulator_alloc(e, 65536 * 4, "widened");
  uint16_t *narrow = tsr_emulator_alloc(e, 65536 * 2, "narrow");
  uint16_t *bits = tsr_emulator_alloc(e, 65536 * 2, "bits");
  for (int i = 0; i < 65536; ++i) {
    wide[i] = interesting(i);
    bits[i] = (uint16_t)(which < 2 ? i : i & 255);
  }
  tsr_emulated_launch l = {.grid = {1, 1, 1}, .threads = 256};
  must_launch(e, text, "convert", &l, (void *[]){&wide, &narrow, &bits, &widened, &which});
  for (int i = 0; i < 65536; ++i) {
    double value = tsr_float_decode(dtypes[_i], bits[i]);
    ck_assert_msg(isnan(value) ? isnan(widened[i]) : (double)widened[i] == value,
                  "%#x widens to %g, not %g", bits[i], (double)widened[i], value);
    uint64_t want = tsr_float_encode(dtypes[_i], (double)wide[i], TSR_OVERFLOW_SATURATE);
    bool nan = isnan(tsr_float_decode(dtypes[_i], narrow[i]));
    ck_assert_msg(isnan(wide[i]) ? nan : narrow[i] == want, "%a narrows to %#x, not %#llx",
                  (double)wide[i], narrow[i], (unsigned long long)want);
  }
  free(text);
  tsr_emulator_destroy(e);
}
END_TEST

START_TEST(tensor_maps_have_limits) {
  tsr_emulator *e = tsr_emulator_create(90);
  _Alignas(64) uint8_t map[128];
  uint8_t *base = tsr_emulator_alloc(e, 4096, "x");
  struct {
    uint64_t dims[2], stride;
    uint32_t box[2], swizzle, shift;
    const char *finding;
  } rows[] = {
      {{64, 8}, 128, {64, 8}, TSR_SWIZZLE_128, 0, ""},
      {{64, 8}, 128, {64, 8}, TSR_SWIZZLE_128, 8, "base"},
      {{63, 8}, 126, {64, 8}, TSR_SWIZZLE_128, 0, "stride"},
      {{64, 8}, 128, {64, 257}, TSR_SWIZZLE_NONE, 0, "box"},
      {{64, 8}, 128, {0, 8}, TSR_SWIZZLE_NONE, 0, "box"},
      {{64, 8}, 128, {60, 8}, TSR_SWIZZLE_NONE, 0, "multiple of 16"},
      {{128, 8}, 256, {128, 8}, TSR_SWIZZLE_128, 0, "exceed"},
      {{64, 8}, 128, {64, 8}, TSR_SWIZZLE_64, 0, "exceed"},
      {{0, 8}, 128, {64, 8}, TSR_SWIZZLE_NONE, 0, "dimension"},
  };
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i) {
    bool made = tsr_emulator_encode_tensor_map(e, map, 2, 2, base + rows[i].shift, rows[i].dims,
                                               &rows[i].stride, rows[i].box, rows[i].swizzle);
    ck_assert_msg(made == !*rows[i].finding && strstr(tsr_emulator_error(e), rows[i].finding),
                  "row %zu: %s", i, tsr_emulator_error(e));
  }
  tsr_emulator_destroy(e);
}
END_TEST

START_TEST(launches_have_limits) {
  static const char text[] = "TSR_KERNEL(64) nothing(int *p) { if (p) p[tsr_thread()] = 1; }\n";
  tsr_emulator *e = tsr_emulator_create(80);
  int *p = tsr_emulator_alloc(e, 256, "p");
  const tsr_emulated_kernel *k = tsr_emulator_kernel(e, text, "nothing");
  ck_assert_msg(k != NULL, "%s", tsr_emulator_error(e));
  struct {
    tsr_emulated_launch launch;
    const char *finding;
  } rows[] = {
      {{.grid = {1, 1, 1}, .threads = 64, .shared_bytes = 163 * 1024}, ""},
      {{.grid = {1, 1, 1}, .threads = 64, .shared_bytes = 163 * 1024 + 1}, "shared memory"},
      {{.grid = {1, 1, 1}, .threads = 65}, "bound"},
      {{.grid = {0, 1, 1}, .threads = 64}, "grid"},
      {{.grid = {2, 1, 1}, .threads = 64, .cluster = 2}, "clusters"},
      {{.grid = {100000, 1, 1}, .threads = 64, .cooperative = true}, "cooperative"},
      {{.grid = {2, 1, 1}, .threads = 64}, "another block"},
  };
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i) {
    bool ran = tsr_emulator_launch(e, k, &rows[i].launch, (void *[]){&p});
    ck_assert_msg(ran == !*rows[i].finding && strstr(tsr_emulator_error(e), rows[i].finding),
                  "row %zu: %s", i, tsr_emulator_error(e));
  }
  tsr_emulator_watch_buffers(e, false);
  int *unwatched = tsr_emulator_alloc(e, 256, "unwatched");
  ck_assert(tsr_emulator_launch(e, k, &rows[6].launch, (void *[]){&unwatched}));
  ck_assert_int_eq(unwatched[63], 1);
  ck_assert_ptr_null(tsr_emulator_kernel(e, "TSR_KERNEL(1) bad(void) { wrong }", "bad"));
  ck_assert_ptr_nonnull(strstr(tsr_emulator_error(e), "does not compile"));
  tsr_emulator_destroy(e);
}
END_TEST

/* All blocks of a cooperative grid are alive: a barrier across the grid by atomics and flags. */
START_TEST(cooperative_grids_meet) {
  static const char text[] =
      "TSR_KERNEL(64) meet(int *x, int *y, int *count) {\n"
      "  int block = (int)tsr_block(), blocks = (int)tsr_blocks();\n"
      "  x[block * 64 + tsr_thread()] = block;\n"
      "  tsr_barrier();\n"
      "  if (tsr_thread() == 0) {\n"
      "    tsr_fence_gpu();\n"
      "    tsr_atomic_add_i32(count, 1);\n"
      "    while (tsr_load_acquire_i32(count) < blocks) {\n"
      "    }\n"
      "  }\n"
      "  tsr_barrier();\n"
      "  y[block * 64 + tsr_thread()] = x[(block + 1) % blocks * 64 + tsr_thread()];\n"
      "}\n";
  enum { BLOCKS = 7 };
  tsr_emulator *e = tsr_emulator_create(80);
  int *x = tsr_emulator_alloc(e, BLOCKS * 256, "x"), *y = tsr_emulator_alloc(e, BLOCKS * 256, "y");
  int *count = tsr_emulator_alloc(e, 4, "count");
  *count = 0;
  tsr_emulated_launch l = {
      .grid = {BLOCKS, 1, 1}, .threads = 64, .cooperative = true, .seed = (uint32_t)_i};
  must_launch(e, text, "meet", &l, (void *[]){&x, &y, &count});
  for (int i = 0; i < BLOCKS * 64; ++i)
    ck_assert_int_eq(y[i], (i / 64 + 1) % BLOCKS);
  *count = 0;
  l.cooperative = false;
  ck_assert(!tsr_emulator_launch(e, tsr_emulator_kernel(e, text, "meet"), &l,
                                 (void *[]){&x, &y, &count}));
  ck_assert_msg(strstr(tsr_emulator_error(e), "poll") != NULL, "%s", tsr_emulator_error(e));
  tsr_emulator_destroy(e);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("device");
  TCase *tc = tcase_create("device");
  tcase_set_timeout(tc, 120);
  tcase_add_loop_test(tc, wgmma_multiplies, 0, 24);
  tcase_add_test(tc, wgmma_takes_other_layouts);
  tcase_add_loop_test(tc, clusters_share_boxes, 0, SEEDS);
  tcase_add_loop_test(tc, conversions_are_the_runtimes, 0, 4);
  tcase_add_test(tc, tensor_maps_have_limits);
  tcase_add_test(tc, launches_have_limits);
  tcase_add_loop_test(tc, cooperative_grids_meet, 0, SEEDS);
  suite_add_tcase(suite, tc);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
