/* Atoms with k-groups against what their instructions are documented to do: Intel's Software
 * Developer's Manual, volume 2, TDPBF16PS, TDPBSSD/SUD/USD/UUD, VPDPBUSD, VDPBF16PS. AMX runs
 * emulated, and for real where the machine has it. */
#include "runtime/cpu_features.h"
#include "tests/codegen/harness.h"
#include <float.h>
#include <math.h>

enum { ROWS = 32, COLUMNS = 32, TILE_DEPTH = 16 };

/* The targets among `names` whose code this machine can run. */
static int targets(const char *const *names, tsr_cpu_isa *out_isas) {
  tsr_cpu_isa host;
  int count = 0;
  tsr_cpu_isa_host(&host);
  for (; *names != NULL; ++names) {
    tsr_diag diag = {0};
    ck_assert_int_eq(tsr_cpu_isa_parse(*names, &diag, &out_isas[count]), TSR_OK);
    const bool tiles = tsr_cpu_isa_tiles(&out_isas[count]) != 0;
    if (tsr_cpu_isa_covers(&host, &out_isas[count]) && (!tiles || tsr_cpu_request_amx()))
      ++count;
    else
      printf("SKIP %s: this machine does not run it\n", *names);
  }
  return count;
}

static const char *const amx_targets[] = {"cpu:x86-64-v4+amx-int8+amx-bf16+amx-emulated",
                                          "cpu:x86-64-v4+amx-int8+amx-bf16", NULL};

static void run(const program *p, void *const *buffers) {
  const uint8_t *tiles = p->code.kernels[0].tiles;
  if (tiles != NULL)
    tsr_cpu_load_tiles(tiles);
  program_run(p, "k", buffers, NULL, 1);
  if (tiles != NULL)
    tsr_cpu_release_tiles();
}

/* y += a x b; b in groups of `group` depths, in panels as wide as the tile. */
static void open_contract(program *p, const tsr_cpu_isa *isa, const char *atom, tsr_dtype a,
                          tsr_dtype b, tsr_dtype c, int m, int n, int depth, int group) {
  char text[1024];
  snprintf(text, sizeof text,
           "kernel @k(%%a: %s[%d, %d], %%b: %s[%d, %d], inout %%y: %s[%d, %d]) grid() {\n"
           "  %%0 = load %%y[$0, $1] : reg %s[%d, %d]\n"
           "  %%1 = contract %%a[$0, $1], %%b[$0 floordiv %d, $1*%d + $0 mod %d], %%0 {atom = "
           "\"%s\", k = %d} : reg %s[%d, %d]\n"
           "  store %%1, %%y[$0, $1]\n}\n",
           tsr_dtype_text(a), m, depth, tsr_dtype_text(b), depth / group, n * group,
           tsr_dtype_text(c), m, n, tsr_dtype_text(c), m, n, group, group, group, atom, depth,
           tsr_dtype_text(c), m, n);
  program_open(p, text, isa);
}

/* --- bf16 tiles, bit by bit --- */

static float of_bf16(uint16_t bits) {
  const uint32_t wide = (uint32_t)bits << 16;
  float value;
  memcpy(&value, &wide, sizeof value);
  return value;
}

static float flush(float x) {
  return fabsf(x) < FLT_MIN ? copysignf(0, x) : x;
}

/* Rounded once to nearest even; a result is tiny where it is with unbounded exponents. */
static float fused(float a, float b, float c) {
  const double exact = fma((double)a, (double)b, (double)c);
  const float rounded = fmaf(a, b, c);
  return fabs(exact) < (double)FLT_MIN * (1 - 0x1p-25) ? copysignf(0, rounded) : rounded;
}

static void tile_reference(const uint16_t *a, const uint16_t *b, float *y, int depth) {
  for (int start = 0; start < depth; start += 2 * TILE_DEPTH)
    for (int m = 0; m < ROWS; ++m)
      for (int n = 0; n < COLUMNS; ++n) {
        float sums[2] = {0, 0};
        for (int k = 0; k < TILE_DEPTH; ++k)
          for (int i = 0; i < 2; ++i)
            sums[i] = fused(flush(of_bf16(a[m * depth + start + 2 * k + i])),
                            flush(of_bf16(b[(start / 2 + k) * 2 * COLUMNS + 2 * n + i])), sums[i]);
        const float sum = fused(sums[0], 1, sums[1]);
        float *at = &y[m * COLUMNS + n];
        *at = fused(flush(*at), 1, sum);
      }
}

/* Ways of choosing operands: ordinary ones; exponents near the least, so that products and sums are
 * subnormal; near the greatest, with infinities; anything, NaN too. */
static uint16_t random_bf16(uint64_t *state, int way) {
  const uint64_t bits = next_random(state) >> 20;
  const uint16_t sign_and_fraction = (uint16_t)(bits & 0x807f);
  const unsigned spread = (unsigned)(bits >> 16 & 0xff);
  switch (way) {
  case 0:
    return (uint16_t)(sign_and_fraction | (120 + spread % 12) << 7);
  case 1:
    return (uint16_t)(sign_and_fraction | (spread % 3 ? 58 + spread % 10 : spread % 2) << 7);
  case 2:
    return (uint16_t)(sign_and_fraction | (spread % 50 == 0 ? 255 : 180 + spread % 20) << 7);
  default:
    return (uint16_t)(bits >> 3);
  }
}

START_TEST(tiles_of_bf16) {
  enum { DEPTH = 96 };
  tsr_cpu_isa isas[2];
  const int count = targets(amx_targets, isas);
  for (int i = 0; i < count; ++i)
    for (int way = 0; way < 4; ++way) {
      program p;
      static uint16_t a[ROWS * DEPTH], b[DEPTH * COLUMNS];
      static float y[ROWS * COLUMNS], want[ROWS * COLUMNS];
      uint64_t state = 77 + (uint64_t)way;
      for (int k = 0; k < ROWS * DEPTH; ++k)
        a[k] = random_bf16(&state, way);
      for (int k = 0; k < DEPTH * COLUMNS; ++k)
        b[k] = random_bf16(&state, way);
      for (int k = 0; k < ROWS * COLUMNS; ++k)
        want[k] = y[k] = of_bf16(random_bf16(&state, way));
      open_contract(&p, &isas[i], "amx.bf16", TSR_BF16, TSR_BF16, TSR_F32, ROWS, COLUMNS, DEPTH, 2);
      run(&p, (void *const[]){a, b, y});
      tile_reference(a, b, want, DEPTH);
      for (int k = 0; k < ROWS * COLUMNS; ++k) {
        uint32_t got_bits, want_bits;
        memcpy(&got_bits, &y[k], sizeof got_bits);
        memcpy(&want_bits, &want[k], sizeof want_bits);
        ck_assert_msg(got_bits == want_bits || (isnan(y[k]) && isnan(want[k])),
                      "way %d, element %d: %a, not %a", way, k, (double)y[k], (double)want[k]);
      }
      program_close(&p);
    }
}
END_TEST

/* --- bytes, exactly --- */

static int32_t byte_at(tsr_dtype dtype, const uint8_t *data, int index) {
  return dtype == TSR_I8 ? (int32_t)(int8_t)data[index] : (int32_t)data[index];
}

/* Bytes of any value, extremes often, where instructions that saturate would differ. */
static void check_bytes(const tsr_cpu_isa *isa, const char *atom, tsr_dtype a, tsr_dtype b, int m,
                        int n, int depth) {
  program p;
  uint8_t *left = malloc((size_t)(m * depth)), *right = malloc((size_t)(depth * n));
  int32_t *y = malloc((size_t)(m * n) * sizeof *y), *want = malloc((size_t)(m * n) * sizeof *y);
  uint64_t state = 5;
  for (int k = 0; k < m * depth; ++k)
    left[k] = k % 3 == 0 ? (uint8_t)(0x7f + (k & 0x80)) : (uint8_t)(next_random(&state) >> 13);
  for (int k = 0; k < depth * n; ++k)
    right[k] = k % 3 == 0 ? (uint8_t)(0x80 - (k & 1)) : (uint8_t)(next_random(&state) >> 13);
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      uint32_t sum = (uint32_t)(next_random(&state) >> 7);
      y[i * n + j] = (int32_t)sum;
      for (int k = 0; k < depth; ++k)
        sum += (uint32_t)byte_at(a, left, i * depth + k) *
               (uint32_t)byte_at(b, right, k / 4 * n * 4 + j * 4 + k % 4);
      want[i * n + j] = (int32_t)sum;
    }
  open_contract(&p, isa, atom, a, b, TSR_I32, m, n, depth, 4);
  run(&p, (void *const[]){left, right, y});
  for (int k = 0; k < m * n; ++k)
    ck_assert_msg(y[k] == want[k], "%s: element %d is %d, not %d", atom, k, y[k], want[k]);
  program_close(&p);
  free(left);
  free(right);
  free(y);
  free(want);
}

START_TEST(tiles_of_bytes) {
  static const struct {
    const char *atom;
    tsr_dtype a, b;
  } cases[] = {
      {"amx.i8i8", TSR_I8, TSR_I8}, {"amx.u8i8", TSR_U8, TSR_I8}, {"amx.u8i8", TSR_I8, TSR_U8}};
  tsr_cpu_isa isas[2];
  const int count = targets(amx_targets, isas);
  for (int i = 0; i < count; ++i)
    for (size_t c = 0; c < sizeof cases / sizeof *cases; ++c)
      for (int m = 16; m <= 32; m += 16) {
        check_bytes(&isas[i], cases[c].atom, cases[c].a, cases[c].b, m, 32, 64);
        check_bytes(&isas[i], cases[c].atom, cases[c].a, cases[c].b, m, 16, 192);
      }
}
END_TEST

static const char *const vector_targets[] = {"cpu:x86-64-v4+vnni+bf16", NULL};

START_TEST(vectors_of_bytes) {
  static const int columns[] = {1, 2, 3, 4, 8, 16, 24, 32, 48, 61, 64, 80};
  tsr_cpu_isa isas[1];
  if (targets(vector_targets, isas) == 0)
    return;
  for (size_t i = 0; i < sizeof columns / sizeof *columns; ++i) {
    check_bytes(&isas[0], "vnni.u8i8", TSR_U8, TSR_I8, 1 + (int)i % 5, columns[i], 4);
    check_bytes(&isas[0], "vnni.u8i8", TSR_I8, TSR_U8, 1 + (int)i % 5, columns[i], 12);
  }
}
END_TEST

/* The order of the two products of a step is the machine's affair: K products added one by one to
 * the sum are off by at most K 2^-24 / (1 - K 2^-24) of the magnitudes' sum. */
START_TEST(vectors_of_bf16) {
  enum { M = 3, N = 48, K = 64 };
  tsr_cpu_isa isas[1];
  program p;
  uint64_t state = 9;
  static uint16_t a[M * K], b[K * N];
  static float y[M * N], before[M * N];
  if (targets(vector_targets, isas) == 0)
    return;
  for (int k = 0; k < M * K; ++k)
    a[k] = random_bf16(&state, 0);
  for (int k = 0; k < K * N; ++k)
    b[k] = random_bf16(&state, 0);
  for (int k = 0; k < M * N; ++k)
    before[k] = y[k] = of_bf16(random_bf16(&state, 0));
  open_contract(&p, &isas[0], "dot.bf16", TSR_BF16, TSR_BF16, TSR_F32, M, N, K, 2);
  run(&p, (void *const[]){a, b, y});
  for (int i = 0; i < M; ++i)
    for (int j = 0; j < N; ++j) {
      double sum = (double)before[i * N + j], magnitudes = fabs(sum);
      for (int k = 0; k < K; ++k) {
        const double part =
            (double)of_bf16(a[i * K + k]) * (double)of_bf16(b[k / 2 * 2 * N + 2 * j + k % 2]);
        sum += part;
        magnitudes += fabs(part);
      }
      const double steps = (double)K * 0x1p-24, bound = steps / (1 - steps) * magnitudes;
      ck_assert_msg(fabs((double)y[i * N + j] - sum) <= bound, "%d, %d: %g, not %g", i, j,
                    (double)y[i * N + j], sum);
    }
  program_close(&p);
}
END_TEST

/* --- what is refused --- */

static tsr_status try_text(const char *text, const char *target) {
  program p;
  tsr_cpu_isa isa;
  tsr_diag diag = {0};
  ck_assert_int_eq(tsr_cpu_isa_parse(target, &diag, &isa), TSR_OK);
  const tsr_status status = program_try(&p, text, &isa, false, &diag);
  program_close(&p);
  return status;
}

START_TEST(refusals) {
  static const char *const vnni = "cpu:x86-64-v4+vnni", *const plain = "cpu:x86-64-v4";
  static const char *const format =
      "kernel @k(%%a: %s[4, 8], %%b: %s[2, 64], inout %%y: i32[4, 16]) grid() {\n"
      "  %%0 = load %%y[$0, $1] : reg i32[4, 16]\n"
      "  %%1 = contract %%a[%s], %%b[%s], %%0 {atom = \"vnni.u8i8\", k = %d} : reg i32[4, 16]\n"
      "  store %%1, %%y[$0, $1]\n}\n";
  const char *rows = "$0, $1", *groups = "$0 floordiv 4, $1*4 + $0 mod 4";
  char text[1024];
#define TRY(a, b, at, from, k, target)                                                             \
  (snprintf(text, sizeof text, format, a, b, at, from, k), try_text(text, target))
  if (tsr_cpu_features() & TSR_CPU_AVX512_VNNI)
    ck_assert_int_eq(TRY("u8", "i8", rows, groups, 8, vnni), TSR_OK);
  ck_assert_int_eq(TRY("u8", "i8", rows, groups, 8, plain), TSR_ERR_UNSUPPORTED);
  ck_assert_int_eq(TRY("u8", "u8", rows, groups, 8, vnni), TSR_ERR_VERIFY);
  ck_assert_int_eq(TRY("u8", "i8", rows, groups, 6, vnni), TSR_ERR_VERIFY);
  ck_assert_int_eq(TRY("u8", "i8", "$0, $1*2", groups, 4, vnni), TSR_ERR_UNSUPPORTED);
  ck_assert_int_eq(TRY("u8", "i8", rows, "$0, $1", 8, vnni), TSR_ERR_UNSUPPORTED);
  ck_assert_int_eq(TRY("u8", "i8", "$0 + 1, $1 + 1", "$0 floordiv 4, $1 + $0 mod 4", 8, vnni),
                   TSR_ERR_UNSUPPORTED);
  ck_assert_int_eq(TRY("u8", "i8", rows, groups, 16, vnni), TSR_ERR_UNSUPPORTED);
#undef TRY
}
END_TEST

int main(void) {
  Suite *suite = suite_create("dot");
  TCase *tcase = tcase_create("dot");
  tcase_set_timeout(tcase, 120);
  tcase_add_test(tcase, tiles_of_bf16);
  tcase_add_test(tcase, tiles_of_bytes);
  tcase_add_test(tcase, vectors_of_bytes);
  tcase_add_test(tcase, vectors_of_bf16);
  tcase_add_test(tcase, refusals);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  const int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
