/* Ops on whole tiles: const, index, reduce, contract, transpose, tile_slice. */
#include "harness.h"
#include <math.h>

/* Shapes: powers of two, primes, one lane, one row, wider than a register. */
static const int shapes[][2] = {{1, 1}, {1, 16}, {4, 8}, {5, 7}, {3, 33}, {16, 16}, {9, 1}, {2, 3}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static double combined(const char *combine, double a, double b) {
  if (!strcmp(combine, "add"))
    return a + b;
  if (!strcmp(combine, "mul"))
    return a * b;
  bool first = !strcmp(combine, "max") ? a > b : a < b;
  return isnan(a) || isnan(b) ? NAN : first ? a : b;
}

START_TEST(test_reduce) {
  static const struct {
    const char *combine;
    tsr_dtype from, to;
  } cases[] = {{"add", TSR_F32, TSR_F32}, {"add", TSR_F64, TSR_F64}, {"add", TSR_F16, TSR_F32},
               {"add", TSR_I8, TSR_I32},  {"mul", TSR_I64, TSR_I64}, {"max", TSR_F32, TSR_F32},
               {"min", TSR_F32, TSR_F32}, {"max", TSR_U8, TSR_U8},   {"min", TSR_I16, TSR_I16},
               {"add", TSR_BOOL, TSR_I32}};
  tsr_cpu_isa isas[4];
  int isa_count = host_isas(isas), rows = shapes[_i][0], lanes = shapes[_i][1];
  for (size_t c = 0; c < sizeof cases / sizeof *cases; ++c) {
    char text[2048];
    const char *from = tsr_dtype_text(cases[c].from), *to = tsr_dtype_text(cases[c].to);
    snprintf(
        text, sizeof text,
        "kernel @k(%%x: %s[%d, %d], out %%a: %s[%d], out %%b: %s[%d], out %%c: %s[]) grid() {\n"
        "  %%t = load %%x[$0, $1] : reg %s[%d, %d]\n"
        "  %%r = reduce %%t {axes = [1], combine = \"%s\"} : reg %s[%d, 1]\n"
        "  store %%r, %%a[$0]\n"
        "  %%s = reduce %%t {axes = [0], combine = \"%s\"} : reg %s[1, %d]\n"
        "  store %%s, %%b[$1]\n"
        "  %%u = reduce %%t {axes = [0, 1], combine = \"%s\"} : reg %s[1, 1]\n"
        "  store %%u, %%c[]\n}\n",
        from, rows, lanes, to, rows, to, lanes, to, from, rows, lanes, cases[c].combine, to, rows,
        cases[c].combine, to, lanes, cases[c].combine, to);
    for (int isa = 0; isa < isa_count; ++isa) {
      program p;
      uint64_t x[256], a[33], b[33], total[1];
      bool extremum = cases[c].combine[0] == 'm' && cases[c].combine[1] != 'u';
      fill(cases[c].from, x, rows * lanes, (uint64_t)_i, extremum && cases[c].from == TSR_F32);
      program_open(&p, text, &isas[isa]);
      program_run(&p, "k", (void *const[]){x, a, b, total}, NULL, 1);
      double all = 0;
      for (int i = 0; i < rows; ++i) {
        double row = tsr_element_load_f64(cases[c].from, x, i * lanes);
        for (int j = 1; j < lanes; ++j)
          row = combined(cases[c].combine, row,
                         tsr_element_load_f64(cases[c].from, x, i * lanes + j));
        all = i == 0 ? row : combined(cases[c].combine, all, row);
        double got = tsr_element_load_f64(cases[c].to, a, i);
        if (cases[c].to == TSR_I64)
          row = got; /* wraps: compared below as a whole */
        ck_assert_msg((isnan(row) && isnan(got)) || fabs(row - got) < 1e-4 || row == got,
                      "%s %s row %d: %g, expected %g", cases[c].combine, from, i, got, row);
      }
      for (int j = 0; j < lanes; ++j) {
        double column = tsr_element_load_f64(cases[c].from, x, j);
        int64_t whole = tsr_element_load_i64(cases[c].from, x, j);
        for (int i = 1; i < rows; ++i) {
          column = combined(cases[c].combine, column,
                            tsr_element_load_f64(cases[c].from, x, i * lanes + j));
          whole = (int64_t)((uint64_t)whole *
                            (uint64_t)tsr_element_load_i64(cases[c].from, x, i * lanes + j));
        }
        double got = tsr_element_load_f64(cases[c].to, b, j);
        if (cases[c].to == TSR_I64)
          ck_assert_int_eq(tsr_element_load_i64(TSR_I64, b, j), whole);
        else
          ck_assert_msg((isnan(column) && isnan(got)) || fabs(column - got) < 1e-4 || column == got,
                        "%s %s column %d: %g, expected %g", cases[c].combine, from, j, got, column);
      }
      double got = tsr_element_load_f64(cases[c].to, total, 0);
      if (cases[c].to != TSR_I64)
        ck_assert((isnan(all) && isnan(got)) || fabs(all - got) < 1e-3 || all == got);
      program_close(&p);
    }
  }
}
END_TEST

/* A tuple with its own combiner: the greatest value and where it stands, first of equals. */
START_TEST(test_reduce_region) {
  static const char text[] =
      "kernel @k(%x: f32[3, 13], out %v: f32[3], out %w: i32[3]) grid() {\n"
      "  %t = load %x[$0, $1] : reg f32[3, 13]\n"
      "  %i = index {value = $1} : reg i32[3, 13]\n"
      "  %m, %n = reduce %t, %i {axes = [1]} {(%a: f32, %p: i32, %b: f32, %q: i32)\n"
      "    %g = gt %b, %a : bool\n"
      "    %e = eq %a, %b : bool\n"
      "    %l = lt %q, %p : bool\n"
      "    %el = and %e, %l : bool\n"
      "    %o = or %g, %el : bool\n"
      "    %c = select %o, %b, %a : f32\n"
      "    %r = select %o, %q, %p : i32\n"
      "    yield %c, %r\n"
      "  } : reg f32[3, 1], reg i32[3, 1]\n"
      "  store %m, %v[$0]\n"
      "  store %n, %w[$0]\n}\n";
  tsr_cpu_isa isas[4];
  int isa_count = host_isas(isas);
  for (int isa = 0; isa < isa_count; ++isa) {
    program p;
    float x[39], v[3];
    int32_t w[3];
    fill(TSR_F32, x, 39, 8, false);
    x[5] = x[11] = 100;
    program_open(&p, text, &isas[isa]);
    program_run(&p, "k", (void *const[]){x, v, w}, NULL, 1);
    for (int i = 0; i < 3; ++i) {
      int best = 0;
      for (int j = 1; j < 13; ++j)
        best = x[i * 13 + j] > x[i * 13 + best] ? j : best;
      ck_assert_int_eq(w[i], best);
      ck_assert_float_eq(v[i], x[i * 13 + best]);
    }
    program_close(&p);
  }
}
END_TEST

/* [m, k] x [k, n] + acc for every dtype pair, odd sizes. */
START_TEST(test_contract) {
  static const struct {
    tsr_dtype a, b, acc;
    const char *atom;
  } cases[] = {{TSR_F32, TSR_F32, TSR_F32, "fma.f32"},  {TSR_F64, TSR_F64, TSR_F64, "fma.f64"},
               {TSR_F16, TSR_F16, TSR_F32, "fma.f32"},  {TSR_BF16, TSR_BF16, TSR_F32, "fma.f32"},
               {TSR_I8, TSR_I8, TSR_I32, "fma.i32"},    {TSR_U8, TSR_I8, TSR_I32, "fma.i32"},
               {TSR_I32, TSR_I32, TSR_I32, "fma.i32"},  {TSR_I64, TSR_I64, TSR_I64, "fma.i64"},
               {TSR_F32, TSR_BF16, TSR_F32, "fma.f32"}, {TSR_U16, TSR_U16, TSR_I32, "fma.i32"}};
  static const int sizes[][3] = {{1, 1, 1},  {3, 5, 7}, {6, 1, 32},
                                 {4, 4, 16}, {2, 3, 1}, {1, 2, 40}};
  int m = sizes[_i][0], k = sizes[_i][1], n = sizes[_i][2];
  tsr_cpu_isa isas[4];
  int isa_count = host_isas(isas);
  for (size_t c = 0; c < sizeof cases / sizeof *cases; ++c) {
    char text[1024];
    const char *ta = tsr_dtype_text(cases[c].a), *tb = tsr_dtype_text(cases[c].b),
               *tc = tsr_dtype_text(cases[c].acc);
    snprintf(text, sizeof text,
             "kernel @k(%%x: %s[%d, %d], %%w: %s[%d, %d], inout %%y: %s[%d, %d]) grid() {\n"
             "  %%a = load %%x[$0, $1] : reg %s[%d, %d]\n"
             "  %%b = load %%w[$0, $1] : reg %s[%d, %d]\n"
             "  %%c = load %%y[$0, $1] : reg %s[%d, %d]\n"
             "  %%d = contract %%a, %%b, %%c {atom = \"%s\"} : reg %s[%d, %d]\n"
             "  store %%d, %%y[$0, $1]\n}\n",
             ta, m, k, tb, k, n, tc, m, n, ta, m, k, tb, k, n, tc, m, n, cases[c].atom, tc, m, n);
    for (int isa = 0; isa < isa_count; ++isa) {
      program p;
      uint64_t a[64], b[256], y[256], before[256];
      fill(cases[c].a, a, m * k, 1, false);
      fill(cases[c].b, b, k * n, 2, false);
      fill(cases[c].acc, y, m * n, 3, false);
      memcpy(before, y, sizeof y);
      program_open(&p, text, &isas[isa]);
      program_run(&p, "k", (void *const[]){a, b, y}, NULL, 1);
      for (int i = 0; i < m; ++i)
        for (int j = 0; j < n; ++j) {
          double sum = tsr_element_load_f64(cases[c].acc, before, i * n + j);
          for (int l = 0; l < k; ++l)
            sum += tsr_element_load_f64(cases[c].a, a, i * k + l) *
                   tsr_element_load_f64(cases[c].b, b, l * n + j);
          double got = tsr_element_load_f64(cases[c].acc, y, i * n + j);
          if (cases[c].acc == TSR_I32)
            sum = (double)(int32_t)(int64_t)sum;
          ck_assert_msg(fabs(sum - got) < 1e-3, "%s x %s: %g, expected %g", ta, tb, got, sum);
        }
      program_close(&p);
    }
  }
}
END_TEST

START_TEST(test_transpose_slice) {
  tsr_cpu_isa isas[4];
  int isa_count = host_isas(isas), rows = shapes[_i][0], lanes = shapes[_i][1];
  int r0 = rows / 3, c0 = lanes / 3, r = rows - r0, c = (lanes - c0 + 1) / 2;
  char text[2048];
  snprintf(text, sizeof text,
           "kernel @k(%%x: i16[%d, %d], out %%y: i16[%d, %d], out %%z: i16[%d, %d]) grid() {\n"
           "  %%t = load %%x[$0, $1] : reg i16[%d, %d]\n"
           "  %%u = transpose %%t {perm = [1, 0]} : reg i16[%d, %d]\n"
           "  store %%u, %%y[$0, $1]\n"
           "  %%s = tile_slice %%t {start = [%d, %d]} : reg i16[%d, %d]\n"
           "  store %%s, %%z[$0, $1]\n}\n",
           rows, lanes, lanes, rows, r, c, rows, lanes, lanes, rows, r0, c0, r, c);
  for (int isa = 0; isa < isa_count; ++isa) {
    program p;
    int16_t x[256], y[256], z[256];
    for (int16_t i = 0; i < 256; ++i)
      x[i] = i;
    program_open(&p, text, &isas[isa]);
    program_run(&p, "k", (void *const[]){x, y, z}, NULL, 1);
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < lanes; ++j)
        ck_assert_int_eq(y[j * rows + i], x[i * lanes + j]);
    for (int i = 0; i < r; ++i)
      for (int j = 0; j < c; ++j)
        ck_assert_int_eq(z[i * c + j], x[(i + r0) * lanes + j + c0]);
    program_close(&p);
  }
}
END_TEST

START_TEST(test_rank_three) {
  static const char text[] =
      "kernel @k(%x: f32[3, 4, 5], %s: f32[4], out %y: f32[5, 3, 4], out %z: f32[4]) grid() {\n"
      "  %t = load %x[$0, $1, $2] : reg f32[3, 4, 5]\n"
      "  %c = load %s[$1] : reg f32[1, 4, 1]\n"
      "  %m = mul %t, %c : reg f32[3, 4, 5]\n"
      "  %u = transpose %m {perm = [2, 0, 1]} : reg f32[5, 3, 4]\n"
      "  store %u, %y[$0, $1, $2]\n"
      "  %r = reduce %m {axes = [0, 2], combine = \"add\"} : reg f32[1, 4, 1]\n"
      "  store %r, %z[$1]\n}\n";
  tsr_cpu_isa isas[4];
  int isa_count = host_isas(isas);
  for (int isa = 0; isa < isa_count; ++isa) {
    program p;
    float x[60], s[4] = {1, 2, 3, 4}, y[60], z[4];
    fill(TSR_F32, x, 60, 1, false);
    program_open(&p, text, &isas[isa]);
    program_run(&p, "k", (void *const[]){x, s, y, z}, NULL, 1);
    for (int j = 0; j < 4; ++j) {
      float sum = 0;
      for (int i = 0; i < 3; ++i)
        for (int k = 0; k < 5; ++k) {
          float value = x[i * 20 + j * 5 + k] * s[j];
          sum += value;
          ck_assert_float_eq(y[k * 12 + i * 4 + j], value);
        }
      ck_assert_float_eq_tol(z[j], sum, 1e-4F);
    }
    program_close(&p);
  }
}
END_TEST

START_TEST(test_sources) {
  static const char text[] =
      "dim N in 1..50\n"
      "kernel @k(out %a: f32[2, 3], out %b: i64[2, 3], out %c: f16[4], out %d: bool[2]) "
      "grid(%g in N) {\n"
      "  %1 = const {value = [0.5, 1, -inf, 3, 4, 1e-3]} : reg f32[2, 3]\n"
      "  store %1, %a[$0, $1]\n"
      "  %2 = index {value = N*100 + %g*10 + $0*3 + $1 mod 2} : reg i64[2, 3]\n"
      "  store %2, %b[$0, $1]\n"
      "  %3 = const {value = 65504} : reg f16[4]\n"
      "  store %3, %c[$0]\n"
      "  %4 = const {value = true} : reg bool[2]\n"
      "  store %4, %d[$0]\n}\n";
  static const float numbers[6] = {0.5F, 1, -INFINITY, 3, 4, 1e-3F};
  tsr_cpu_isa isas[4];
  int isa_count = host_isas(isas);
  for (int isa = 0; isa < isa_count; ++isa) {
    program p;
    float a[6];
    int64_t b[6];
    uint16_t c[4];
    uint8_t d[2] = {0};
    dim_value dims[] = {{"N", 7}, {NULL, 0}};
    program_open(&p, text, &isas[isa]);
    program_run_tasks(&p, "k", (void *const[]){a, b, c, d}, dims, 6, 7);
    for (int i = 0; i < 6; ++i) {
      ck_assert_float_eq(a[i], numbers[i]);
      ck_assert_int_eq(b[i], 760 + i / 3 * 3 + i % 3 % 2);
    }
    ck_assert_uint_eq(c[3], 0x7BFF);
    ck_assert_uint_eq(d[1], 1);
    program_close(&p);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("tile");
  TCase *tile = tcase_create("tile");
  tcase_set_timeout(tile, 300);
  tcase_add_loop_test(tile, test_reduce, 0, SHAPES);
  tcase_add_test(tile, test_reduce_region);
  tcase_add_loop_test(tile, test_contract, 0, 6);
  tcase_add_loop_test(tile, test_transpose_slice, 0, SHAPES);
  tcase_add_test(tile, test_rank_three);
  tcase_add_test(tile, test_sources);
  suite_add_tcase(suite, tile);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
