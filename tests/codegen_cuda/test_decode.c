/* decode and relayout on tiles: formats, maps, groups, through registers and through shared memory.
 */
#include "tests/codegen_cuda/device_run.h"

static char text[4096];

static uint64_t word_of(double word) {
  return (uint64_t)(int64_t)word;
}

/* --- decode --- */

/* Fields of words in order; groups of 8 columns share scale and zero. */
static double expect_u4(const double *const *in, const int64_t *dims, int64_t i) {
  (void)dims;
  int64_t row = i / 32, column = i % 32;
  uint64_t word = word_of(in[0][row * 4 + column / 8]);
  double code = (double)(word >> column % 8 * 4 & 15);
  return (code - in[2][row * 4 + column / 8]) * in[1][row * 4 + column / 8];
}

static double expect_i4(const double *const *in, const int64_t *dims, int64_t i) {
  (void)dims;
  int64_t row = i / 32, column = i % 32;
  uint64_t word = word_of(in[0][row * 4 + column / 8]);
  int code = (int)(word >> column % 8 * 4 & 15);
  code = code > 7 ? code - 16 : code;
  return (code - in[2][row * 4 + column / 8]) * in[1][row * 4 + column / 8];
}

/* f4e2m1: 0 0.5 1 1.5 2 3 4 6 and their negatives. */
static double expect_f4(const double *const *in, const int64_t *dims, int64_t i) {
  static const double numbers[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  (void)dims;
  int64_t row = i / 32, column = i % 32;
  uint64_t word = word_of(in[0][row * 4 + column / 8]);
  int code = (int)(word >> column % 8 * 4 & 15);
  double number = numbers[code & 7] * (code > 7 ? -1 : 1);
  return (number - in[2][row * 4 + column / 8]) * in[1][row * 4 + column / 8];
}

static const struct {
  const char *format;
  run_expect *expect;
} formats[] = {{"u4", expect_u4}, {"i4", expect_i4}, {"f4e2m1", expect_f4}};

START_TEST(test_formats) {
  run_words = true;
  snprintf(text, sizeof text,
           "kernel @k(%%q: u32[16, 4], %%s: f16[16, 4], %%z: f16[16, 4], out %%y: f16[16, 32]) "
           "grid(%%i in 1) {warps = %d} {\n"
           "  %%w = load %%q[$0, $1] : reg u32[16, 4]\n"
           "  %%a = load %%s[$0, $1] : reg f16[16, 4]\n"
           "  %%b = load %%z[$0, $1] : reg f16[16, 4]\n"
           "  %%d = decode %%w, %%a, %%b {format = \"%s\"} : reg f16[16, 32]\n"
           "  store %%d, %%y[$0, $1]\n"
           "}\n",
           _i % 2 ? 4 : 1, formats[_i / 2].format);
  run_text(text, "cuda:sm_80", NULL, 0, formats[_i / 2].expect, 2);
}
END_TEST

/* The words of a 64 x 128 piece as mma's fragments want them. */
static double expect_fragments(const double *const *in, const int64_t *dims, int64_t i) {
  (void)dims;
  int64_t k = i / 128, n = i % 128;
  int64_t y = k / 32 * 16 + n / 8, x = k % 8 / 2 + n % 8 * 4, field = k % 32 / 8 + k % 2 * 4;
  uint64_t word = word_of(in[0][y * 32 + x]);
  return (double)(word >> field * 4 & 15) * in[1][n];
}

START_TEST(test_fragments) {
  run_words = true;
  snprintf(text, sizeof text,
           "kernel @k(%%q: u32[32, 32], %%s: f16[128], out %%y: f16[64, 128]) grid(%%i in 1) "
           "{warps = 4} {\n"
           "  %%w = load %%q[$0, $1] : reg u32[32, 32]\n"
           "  %%a = load %%s[$1] : reg f16[1, 128]\n"
           "  %%d = decode %%w, %%a {format = \"u4\", map = [($0 floordiv 32)*16 + $1 floordiv 8, "
           "($0 mod 8) floordiv 2 + ($1 mod 8)*4, ($0 mod 32) floordiv 8 + ($0 mod 2)*4]} : reg "
           "f16[64, 128]\n"
           "  store %%d, %%y[$0, $1]\n"
           "}\n");
  device_run r;
  run_open(&r, text, "cuda:sm_80");
  ck_assert_msg(!strstr(r.code.kernels[0].body, "tsr_barrier"), "%s", r.code.kernels[0].body);
  run_close(&r);
  run_text(text, "cuda:sm_80", NULL, 0, expect_fragments, 2);
}
END_TEST

static double expect_table(const double *const *in, const int64_t *dims, int64_t i) {
  static const double numbers[] = {-1, 0.25, 3, 8};
  (void)dims;
  return numbers[word_of(in[0][i / 4]) * 37 >> i % 4 * 2 & 3];
}

START_TEST(test_table) {
  run_text("kernel @k(%q: u8[10], out %y: f32[40]) grid(%i in 1) {warps = 1} {\n"
           "  %n = const {value = 37} : reg u8[1]\n"
           "  %w0 = load %q[$0] : reg u8[10]\n"
           "  %w = mul %w0, %n : reg u8[10]\n"
           "  %d = decode %w {format = \"table\", table = [-1, 0.25, 3, 8]} : reg f32[40]\n"
           "  store %d, %y[$0]\n"
           "}\n",
           "cuda:sm_80", NULL, 0, expect_table, 2);
}
END_TEST

/* --- the worked example, made small --- */

static void replace_all(char *where, size_t size, const char *from, const char *to) {
  char copy[sizeof text];
  size_t used = 0;
  for (const char *at = where; *at;) {
    bool here = !strncmp(at, from, strlen(from));
    used += (size_t)snprintf(copy + used, sizeof copy - used, "%.*s", here ? (int)strlen(to) : 1,
                             here ? to : at);
    at += here ? strlen(from) : 1;
    ck_assert_uint_lt(used, sizeof copy);
  }
  ck_assert_uint_lt(used, size);
  memcpy(where, copy, used + 1);
}

/* x is 512 deep, 8 pieces of 64; two pieces of 128 columns; scales per 128 of depth. */
static double expect_example(const double *const *in, const int64_t *dims, int64_t i) {
  double sum = 0;
  uint16_t half = 0;
  (void)dims;
  int64_t row = i / 256, column = i % 256, bn = column / 128, n = column % 128;
  for (int64_t k = 0; k < 512; ++k) {
    int64_t in_piece = k % 64, field = in_piece % 32 / 8 + in_piece % 2 * 4;
    int64_t y = in_piece / 32 * 16 + n / 8, x = in_piece % 8 / 2 + n % 8 * 4;
    uint64_t word = word_of(in[1][(bn * 8 + k / 64) * 1024 + y * 32 + x]);
    double weight = ((double)(word >> field * 4 & 15) - 8) * in[2][k / 128 * 256 + column];
    sum += in[0][row * 512 + k] * weight;
  }
  tsr_element_store_f64(TSR_F16, &half, 0, sum);
  return tsr_element_load_f64(TSR_F16, &half, 0);
}

START_TEST(test_example) {
  static const char *const small[][2] = {{"4096", "512"},         {"in 86", "in 2"},
                                         {"[86, 64", "[2, 8"},    {"11008", "256"},
                                         {"[32, 256", "[4, 256"}, {"%k in 64", "%k in 8"}};
  FILE *file = fopen("tests/golden/examples/int4-gemm/tile.tsr", "rb");
  ck_assert_msg(file, "the test runs in the repository's root");
  text[fread(text, 1, sizeof text - 1, file)] = 0;
  fclose(file);
  *strstr(text, "\ngraph ") = 0;
  run_words = true;
  for (size_t i = 0; i < sizeof small / sizeof *small; ++i)
    replace_all(text, sizeof text, small[i][0], small[i][1]);
  run_text(text, "cuda:sm_80", (const int64_t[]){21}, 1, expect_example, 2);
}
END_TEST

/* --- relayout --- */

static double expect_moved(const double *const *in, const int64_t *dims, int64_t i) {
  (void)dims;
  int64_t y = i / 32, x = i % 32;
  return in[0][(y % 4 * 4 + x / 8) * 32 + x % 8 * 4 + y / 4];
}

START_TEST(test_relayout) {
  run_text(
      "kernel @k(%x: f32[16, 32], out %y: f32[16, 32]) grid(%i in 1) {warps = 2} {\n"
      "  %a = load %x[$0, $1] : reg f32[16, 32]\n"
      "  %b = relayout %a {map = [($0 mod 4)*4 + $1 floordiv 8, ($1 mod 8)*4 + $0 floordiv 4]} "
      ": reg f32[16, 32]\n"
      "  store %b, %y[$0, $1]\n"
      "}\n",
      "cuda:sm_80", NULL, 0, expect_moved, 2);
}
END_TEST

/* Places outside are 0, and nothing here is a matter of bits. */
static double expect_shifted(const double *const *in, const int64_t *dims, int64_t i) {
  (void)dims;
  int64_t y = i / 24 * 2 - 3, x = i % 24 - 2;
  return y >= 0 && y < 10 && x >= 0 && x < 20 ? in[0][y * 20 + x] : 0;
}

START_TEST(test_shift) {
  run_text("kernel @k(%x: f32[10, 20], out %y: f32[7, 24]) grid(%i in 1) {warps = 2} {\n"
           "  %a = load %x[$0, $1] : reg f32[10, 20]\n"
           "  %b = relayout %a {map = [$0*2 - 3, $1 - 2]} : reg f32[7, 24]\n"
           "  store %b, %y[$0, $1]\n"
           "}\n",
           "cuda:sm_80", NULL, 0, expect_shifted, 2);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("codegen_cuda.decode");
  TCase *cases = tcase_create("decode");
  tcase_set_timeout(cases, 120);
  tcase_add_loop_test(cases, test_formats, 0, 6);
  tcase_add_test(cases, test_fragments);
  tcase_add_test(cases, test_table);
  tcase_add_test(cases, test_example);
  tcase_add_test(cases, test_relayout);
  tcase_add_test(cases, test_shift);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
