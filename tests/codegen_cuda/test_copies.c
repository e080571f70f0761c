/* Copies that run in the background: cp.async and its pipelines, by number of stages, turns, edges,
 * swizzle and access. */
#include "tests/codegen_cuda/device_run.h"

static char text[8192];

/* --- one box --- */

/* out[i, j] = x[i + 3, j + 8] where it exists. */
static double expect_window(const double *const *in, const int64_t *dims, int64_t i) {
  (void)dims;
  int64_t row = i / 64 + 3, column = i % 64 + 8;
  return row < 20 && column < 64 ? in[0][row * 64 + column] : 0;
}

START_TEST(test_box) {
  static const struct {
    const char *dtype, *alloc, *swizzle, *piece;
  } rows[] = {{"f16", "[16, 64]", "", "async_16("},
              {"f16", "[16, 64]", "{swizzle = 128}", "async_16("},
              {"f32", "[16, 64]", "", "async_16("},
              {"f16", "[16, 72]", "", "async_16("}, /* 16-byte pieces on padded rows */
              {"f16", "[16, 68]", "", "async_8("},  /* 8 bytes */
              {"f32", "[16, 65]", "", "async_4("},  /* 4 bytes */
              {"f16", "[16, 65]", "", "box"},       /* by loads and stores */
              {"i8", "[16, 64]", "{swizzle = 64}", "async_8("}};
  snprintf(text, sizeof text,
           "kernel @k(%%x: %s[20, 64], out %%y: %s[16, 64]) grid(%%i in 1) {warps = 2} {\n"
           "  %%s = alloc %s : l1 %s%s\n"
           "  copy %%x[3, 8], %%s[0, 0] {atom = \"cp.async\", shape = [16, 64]}\n"
           "  barrier\n"
           "  %%a = load %%s[$0, $1] : reg %s[16, 64]\n"
           "  store %%a, %%y[$0, $1]\n"
           "}\n",
           rows[_i].dtype, rows[_i].dtype, rows[_i].swizzle, rows[_i].dtype, rows[_i].alloc,
           rows[_i].dtype);
  device_run r;
  run_open(&r, text, "cuda:sm_80");
  ck_assert_msg(strstr(r.code.kernels[0].body, rows[_i].piece), "%s", r.code.kernels[0].body);
  run_close(&r);
  run_text(text, "cuda:sm_80", NULL, 0, expect_window, 3);
}
END_TEST

/* A one-dimensional buffer whose end lies inside of a piece. */
static double expect_line(const double *const *in, const int64_t *dims, int64_t i) {
  return i < dims[0] ? in[0][i] : 0;
}

START_TEST(test_cut_piece) {
  static const int64_t sizes[] = {1, 7, 8, 9, 63, 100, 128};
  run_text("dim N in 1..128\n"
           "kernel @k(%x: f16[N], out %y: f16[128]) grid(%i in 1) {warps = 1} {\n"
           "  %s = alloc : l1 f16[128]\n"
           "  copy %x[0], %s[0] {atom = \"cp.async\", shape = [128]}\n"
           "  wait {of = \"copy\", pending = 0}\n"
           "  barrier\n"
           "  %a = load %s[$0] : reg f16[128]\n"
           "  store %a, %y[$0]\n"
           "}\n",
           "cuda:sm_80", &sizes[_i], 1, expect_line, 2);
}
END_TEST

/* im2col: rows are positions, columns (tap, channel); the picture is padded by one. */
static double expect_windows(const double *const *in, const int64_t *dims, int64_t i) {
  (void)dims;
  int64_t position = i / 72, tap = i % 72 / 8, channel = i % 8;
  int64_t y = position / 8 + tap / 3 - 1, x = position % 8 + tap % 3 - 1;
  return y >= 0 && y < 4 && x >= 0 && x < 8 ? in[0][(y * 8 + x) * 8 + channel] : 0;
}

START_TEST(test_im2col) {
  run_text("kernel @k(%x: f16[4, 8, 8], out %y: f16[32, 72]) grid(%i in 1) {warps = 2} {\n"
           "  %s = alloc : l1 f16[32, 72]\n"
           "  copy %x[$0 floordiv 8 + $1 floordiv 24 - 1, $0 mod 8 + ($1 floordiv 8) mod 3 - 1, "
           "$1 mod 8], %s[$0, $1] {atom = \"cp.async\", shape = [32, 72]}\n"
           "  barrier\n"
           "  %a = load %s[$0, $1] : reg f16[32, 72]\n"
           "  store %a, %y[$0, $1]\n"
           "}\n",
           "cuda:sm_80", NULL, 0, expect_windows, 2);
}
END_TEST

/* --- pipelines --- */

/* Two hand-counted copies under way. */
static double expect_sum(const double *const *in, const int64_t *dims, int64_t i) {
  (void)dims;
  return in[0][i] + in[0][i + 64];
}

START_TEST(test_pending) {
  run_text("kernel @k(%x: f32[2, 64], out %y: f32[64]) grid(%i in 1) {warps = 1} {\n"
           "  %s = alloc : l1 f32[2, 64]\n"
           "  copy %x[0, 0], %s[0, 0] {atom = \"cp.async\", shape = [64]}\n"
           "  copy %x[1, 0], %s[1, 0] {atom = \"cp.async\", shape = [64]}\n"
           "  wait {of = \"copy\", pending = 1}\n"
           "  barrier {scope = \"warp\"}\n"
           "  %a = load %s[0, $0] : reg f32[64]\n"
           "  wait {of = \"copy\", pending = 0}\n"
           "  barrier {scope = \"warp\"}\n"
           "  %b = load %s[1, $0] : reg f32[64]\n"
           "  %c = add %a, %b : reg f32[64]\n"
           "  store %c, %y[$0]\n"
           "}\n",
           "cuda:sm_80", NULL, 0, expect_sum, 3);
}
END_TEST

/* c = a b: dims M, K, N = 48. */
static double expect_product(const double *const *in, const int64_t *dims, int64_t i) {
  double sum = 0;
  for (int64_t k = 0; k < dims[1]; ++k)
    sum += in[0][i / 48 * dims[1] + k] * in[1][k * 48 + i % 48];
  return sum;
}

static const struct {
  int64_t stages, ring, m, k;
} pipelines[] = {{1, 1, 16, 16}, {2, 2, 16, 8},   {2, 3, 20, 40}, {3, 3, 16, 72}, {3, 4, 33, 8},
                 {4, 4, 16, 16}, {4, 4, 16, 100}, {4, 5, 31, 0},  {4, 4, 16, 24}};

static void write_pipeline(int number) {
  int ring = (int)pipelines[number].ring;
  snprintf(text, sizeof text,
           "dim M in 1..64\n"
           "dim K in 0..512\n"
           "kernel @k(%%a: f32[M, K], %%b: f32[K, 48], out %%c: f32[M, 48]) "
           "grid(%%i in M ceildiv 16, %%j in 3) {warps = 2} {\n"
           "  %%sa = alloc : l1 f32[%d, 16, 12]\n"
           "  %%sb = alloc {swizzle = 64} : l1 f32[%d, 8, 16]\n"
           "  %%z = const {value = 0} : reg f32[16, 16]\n"
           "  %%r = for %%k in K ceildiv 8 carry(%%t = %%z) {stages = %d} {\n"
           "    copy %%a[%%i*16, %%k*8], %%sa[%%k mod %d, 0, 0] {atom = \"cp.async\", shape = [16, "
           "8]}\n"
           "    copy %%b[%%k*8, %%j*16], %%sb[%%k mod %d, 0, 0] {atom = \"cp.async\", shape = [8, "
           "16]}\n"
           "    barrier\n"
           "    %%x = load %%sa[%%k mod %d, $0, $1] : reg f32[16, 8]\n"
           "    %%y = load %%sb[%%k mod %d, $0, $1] : reg f32[8, 16]\n"
           "    %%u = contract %%x, %%y, %%t {atom = \"fma.f32\"} : reg f32[16, 16]\n"
           "%s"
           "    yield %%u\n"
           "  } : reg f32[16, 16]\n"
           "  store %%r, %%c[%%i*16 + $0, %%j*16 + $1]\n"
           "}\n",
           ring, ring, (int)pipelines[number].stages, ring, ring, ring, ring,
           ring == 1 ? "    barrier\n" : "");
}

START_TEST(test_pipeline) {
  const int64_t dims[] = {pipelines[_i].m, pipelines[_i].k};
  write_pipeline(_i);
  run_text(text, "cuda:sm_80", dims, 2, expect_product, 4);
}
END_TEST

/* The tests can fail: what a pipeline hangs on is missed when it is taken away. */
START_TEST(test_pipeline_planted) {
  static const char *const planted[][2] = {
      {"tsr_copy_async_wait(1)", "(void)0"},
      {"tsr_copy_async_wait(1)", "tsr_copy_async_wait(2)"},
      {"tsr_barrier()", "(void)0"},
      {"tsr_copy_async_commit()", "(void)0"},
      {"+ 2;", "+ 1;"},
      {"% 3", "% 2"},
  };
  const int64_t dims[] = {pipelines[3].m, pipelines[3].k};
  write_pipeline(3);
  run_planted(text, "cuda:sm_80", dims, 2, expect_product, 6, planted[_i][0], planted[_i][1]);
}
END_TEST

/* Rows chosen by an index that is loaded in the turn, in a loop of tiles, copies under a condition.
 */
static double expect_gathered(const double *const *in, const int64_t *dims, int64_t i) {
  (void)dims;
  double sum = 0;
  for (int64_t k = 0; k < 7; ++k)
    if (k != 2)
      sum += in[0][((int64_t)in[1][i / 16 * 7 + k]) * 16 + i % 16];
  return sum;
}

START_TEST(test_dependent) {
  run_text("kernel @k(%x: f32[9, 16], %n: u32[5, 7], out %y: f32[5, 16]) grid(%i in 1) {warps = 1} "
           "{\n"
           "  %s = alloc : l1 f32[3, 16]\n"
           "  for %t in 5 {\n"
           "    %z = const {value = 0} : reg f32[16]\n"
           "    %r = for %k in 7 carry(%c = %z) {stages = 3} {\n"
           "      %row = load %n[%t, %k] : u32\n"
           "      if {cond = %k != 2} {\n"
           "        copy %x[%row, 0], %s[(%k + 1) mod 3, 0] {atom = \"cp.async\", shape = [16]}\n"
           "      }\n"
           "      barrier\n"
           "      %d = if {cond = %k != 2} {\n"
           "        %a = load %s[(%k + 1) mod 3, $0] : reg f32[16]\n"
           "        %b = add %a, %c : reg f32[16]\n"
           "        yield %b\n"
           "      } {\n"
           "        yield %c\n"
           "      } : reg f32[16]\n"
           "      yield %d\n"
           "    } : reg f32[16]\n"
           "    store %r, %y[%t, $0]\n"
           "  }\n"
           "}\n",
           "cuda:sm_80", NULL, 0, expect_gathered, 4);
}
END_TEST

/* Rows named by a tile of indices, wide pieces and single elements, some outside. */
static double expect_rows(const double *const *in, const int64_t *dims, int64_t i) {
  (void)dims;
  double sum = 0;
  int64_t row = (int64_t)in[1][i / 32];
  for (int64_t k = 0; k < 4; ++k) {
    sum += row < 6 ? in[0][row * 128 + k * 32 + i % 32] : 0;
    sum += row < 7 ? in[2][row * 128 + k * 32 + i % 32] : 0;
  }
  return sum;
}

START_TEST(test_rows) {
  run_text("kernel @k(%x: f16[6, 128], %n: u32[24], %v: f32[7, 128], out %y: f32[24, 32]) grid(%i "
           "in 1) {warps = 2} {\n"
           "  %s = alloc {swizzle = 64} : l1 f16[3, 24, 32]\n"
           "  %d = alloc : l1 f32[3, 24, 33]\n"
           "  %z = const {value = 0} : reg f32[24, 32]\n"
           "  %list = load %n[$0] : reg u32[24, 1]\n"
           "  %r = for %k in 4 carry(%c = %z) {stages = 3} {\n"
           "    copy %x[%list, %k*32 + $1], %s[%k mod 3, $0, $1] {atom = \"cp.async\", shape = "
           "[24, 32]}\n"
           "    copy %v[%list, %k*32 + $1], %d[%k mod 3, $0, $1] {atom = \"cp.async\", shape = "
           "[24, 32]}\n"
           "    barrier\n"
           "    %a = load %s[%k mod 3, $0, $1] : reg f16[24, 32]\n"
           "    %b = load %d[%k mod 3, $0, $1] : reg f32[24, 32]\n"
           "    %e = cast %a : reg f32[24, 32]\n"
           "    %f = add %e, %b : reg f32[24, 32]\n"
           "    %g = add %f, %c : reg f32[24, 32]\n"
           "    yield %g\n"
           "  } : reg f32[24, 32]\n"
           "  store %r, %y[$0, $1]\n"
           "}\n",
           "cuda:sm_80", NULL, 0, expect_rows, 4);
}
END_TEST

/* --- what is refused --- */

START_TEST(test_refused) {
  static const char *const bodies[][2] = {
      {"copy %x[%k*8], %s[%k mod 2, 0] {atom = \"cp.async\", shape = [8]}\n    barrier\n", "ring"},
      {"copy %x[%k*8], %s[0, 0] {atom = \"cp.async\", shape = [8]}\n    barrier\n", "ring"},
      {"copy %x[%k*8], %s[%k mod 3, 0] {atom = \"cp.async\", shape = [8]}\n", "no barrier"},
      {"copy %x[%c], %s[%k mod 3, 0] {atom = \"cp.async\", shape = [8]}\n    barrier\n", "carried"},
      {"%v = load %s[0, 0] : i32\n    copy %x[%v], %s[%k mod 3, 0] {atom = \"cp.async\", shape = "
       "[8]}\n    barrier\n",
       "depends"},
  };
  device_run r;
  tsr_diag diag = {0};
  snprintf(text, sizeof text,
           "kernel @k(%%x: i32[64], out %%y: i32[1]) grid(%%i in 1) {\n"
           "  %%s = alloc : l1 i32[3, 8]\n"
           "  %%z = const {value = 0} : i32\n"
           "  %%r = for %%k in 8 carry(%%c = %%z) {stages = 3} {\n"
           "    %s"
           "    %%w = load %%s[%%k mod 3, 0] : i32\n"
           "    yield %%w\n"
           "  } : i32\n"
           "  store %%r, %%y[0]\n"
           "}\n",
           bodies[_i][0]);
  ck_assert_int_eq(run_try_open(&r, text, "cuda:sm_80", &diag), TSR_ERR_VERIFY);
  ck_assert_msg(strstr(diag.message, bodies[_i][1]), "%s", diag.message);
  run_close(&r);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof(*(array))))

int main(void) {
  Suite *suite = suite_create("codegen_cuda.copies");
  TCase *cases = tcase_create("copies");
  tcase_set_timeout(cases, 120);
  tcase_add_loop_test(cases, test_box, 0, 8);
  tcase_add_loop_test(cases, test_cut_piece, 0, 7);
  tcase_add_test(cases, test_im2col);
  tcase_add_test(cases, test_pending);
  tcase_add_loop_test(cases, test_pipeline, 0, COUNT(pipelines));
  tcase_add_loop_test(cases, test_pipeline_planted, 0, 6);
  tcase_add_test(cases, test_dependent);
  tcase_add_test(cases, test_rows);
  tcase_add_loop_test(cases, test_refused, 0, 5);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
