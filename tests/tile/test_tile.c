/* Blocks through tiling and code generation against the block oracle, on awkward shapes. */
#include "tests/tile/tile_run.h"
#include <stdarg.h>

/* The instruction sets of this machine in turn, with small caches so that blocking shows on small
 * shapes, or with four threads so that grids are split. */
static void check_everywhere(const char *text, const int64_t *dims, uint32_t dim_count) {
  static const char *const names[] = {":x86-64-v4", ":x86-64-v3", ":x86-64-v2"};
  static unsigned calls, turn;
  tsr_cpu_isa host, isa;
  if (calls++ % TEST_SHARE != 0)
    return;
  tsr_cpu_isa_host(&host);
  for (unsigned i = turn++ % 3; i < 4; i++) {
    tsr_diag diag = {0};
    if (i == 3)
      isa = host;
    else if (tsr_cpu_isa_parse(names[i], &diag, &isa) != TSR_OK || !tsr_cpu_isa_covers(&host, &isa))
      continue;
    const tsr_cpu_caches small = {2048, 8192, 65536, 64}, usual = {0};
    tsr_target target;
    tsr_target_cpu(tsr_cpu_isa_features(&isa), turn % 4 == 1 ? &usual : &small, turn % 2 ? 4 : 1,
                   &target);
    check_text(text, dims, dim_count, &isa, &target);
    return;
  }
}

static const char *with(char *out, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static const char *with(char *out, size_t size, const char *format, ...) {
  va_list list;
  va_start(list, format);
  vsnprintf(out, size, format, list);
  va_end(list);
  return out;
}

static const int64_t sizes[] = {1, 3, 13, 16, 17, 67, 130};
enum { SIZE_COUNT = sizeof sizes / sizeof *sizes };

START_TEST(elementwise) {
  char text[2048];
  for (int i = 0; i < SIZE_COUNT; i++)
    for (int k = 0; k < SIZE_COUNT; k += 3)
      check_everywhere(
          with(text, sizeof text,
               "graph @g {\n %%x = input {name = \"x\"} : f32[%d, %d]\n %%b = input {name = \"b\"} "
               ": f32[%d]\n %%y = block par(%%i in %d, %%j in %d) {\n %%0 = load %%x[%%i, %%j] : "
               "f32\n %%1 = load %%b[%%j] : f32\n %%2 = add %%0, %%1 : f32\n %%3 = exp %%2 : f32\n "
               "store %%3, %%y[%%i, %%j]\n } : f32[%d, %d]\n output %%y {name = \"y\"}\n}\n",
               (int)sizes[k], (int)sizes[i], (int)sizes[i], (int)sizes[k], (int)sizes[i],
               (int)sizes[k], (int)sizes[i]),
          NULL, 0);
}
END_TEST

START_TEST(symbolic_elementwise) {
  const char *text =
      "dim N in 0..4096 hint 100\ndim M in 1..64\ngraph @g {\n %x = input {name = \"x\"} : f32[M, "
      "N]\n %y = block par(%i in M, %j in N) {\n %0 = load %x[%i, %j] : f32\n %1 = mul %0, %0 : "
      "f32\n store %1, %y[%i, %j]\n } : f32[M, N]\n output %y {name = \"y\"}\n}\n";
  for (int i = 0; i < SIZE_COUNT; i++)
    check_everywhere(text, (int64_t[]){sizes[i], 1 + i}, 2);
  check_everywhere(text, (int64_t[]){0, 5}, 2);
}
END_TEST

START_TEST(transpose) {
  char text[2048];
  for (int i = 0; i < SIZE_COUNT; i++)
    for (int k = 0; k < SIZE_COUNT; k += 2)
      check_everywhere(with(text, sizeof text,
                            "graph @g {\n %%x = input {name = \"x\"} : f32[%d, %d]\n %%y = block "
                            "par(%%i in %d, %%j in %d) {\n %%0 = load %%x[%%j, %%i] : f32\n store "
                            "%%0, %%y[%%i, %%j]\n } : f32[%d, %d]\n output %%y {name = \"y\"}\n}\n",
                            (int)sizes[k], (int)sizes[i], (int)sizes[i], (int)sizes[k],
                            (int)sizes[i], (int)sizes[k]),
                       NULL, 0);
}
END_TEST

/* Rows, columns and everything; with an epilogue. */
START_TEST(reductions) {
  static const char *const combine[] = {"add", "max", "min", "mul"};
  char text[4096];
  for (int i = 0; i < SIZE_COUNT; i++) {
    const int n = (int)sizes[i], m = (int)sizes[(i * 3 + 2) % SIZE_COUNT];
    check_everywhere(with(text, sizeof text,
                          "graph @g {\n %%x = input {name = \"x\"} : f32[%d, %d]\n"
                          "%%a = block par(%%i in %d) red(%%k in %d) {\n %%0 = load %%x[%%i, %%k] "
                          ": f32\n %%1 = exp %%0 : f32\n %%2 = reduce %%1 {combine = \"%s\"} : "
                          "f32\n %%3 = neg %%2 : f32\n store %%3, %%a[%%i]\n } : f32[%d]\n"
                          "%%b = block par(%%i1 in %d) red(%%k1 in %d) {\n %%4 = load %%x[%%k1, "
                          "%%i1] : f32\n %%5 = reduce %%4 {combine = \"%s\"} : f32\n store %%5, "
                          "%%b[%%i1]\n } : f32[%d]\n"
                          "%%c = block red(%%i2 in %d, %%k2 in %d) {\n %%6 = load %%x[%%i2, %%k2] "
                          ": f32\n %%7 = reduce %%6 {combine = \"%s\"} : f32\n store %%7, %%c[]\n "
                          "} : f32[]\n output %%a {name = \"a\"}\n output %%b {name = \"b\"}\n "
                          "output %%c {name = \"c\"}\n}\n",
                          m, n, m, n, combine[i % 4], m, n, m, combine[(i + 1) % 4], n, m, n,
                          combine[i % 3]),
                     NULL, 0);
  }
}
END_TEST

START_TEST(symbolic_reduction) {
  const char *text =
      "dim N in 0..4096 hint 100\ndim M in 0..64\ngraph @g {\n %x = input {name = \"x\"} : f32[M, "
      "N]\n %y = block par(%i in M) red(%k in N) {\n %0 = load %x[%i, %k] : f32\n %1 = reduce %0 "
      "{combine = \"max\"} : f32\n store %1, %y[%i]\n } : f32[M]\n output %y {name = \"y\"}\n}\n";
  for (int i = 0; i < SIZE_COUNT; i++)
    check_everywhere(text, (int64_t[]){sizes[i], i}, 2);
  check_everywhere(text, (int64_t[]){0, 5}, 2);
}
END_TEST

/* The epilogue reads along the reduced axis's extent: the sum is made once per row. */
START_TEST(row_sum_then_columns) {
  const char *text =
      "graph @g {\n %x = input {name = \"x\"} : f32[5, 37]\n %y = block par(%i in 5, %j in 37) "
      "red(%k in 37) {\n %0 = load %x[%i, %k] : f32\n %1 = mul %0, %0 : f32\n %2 = reduce %1 "
      "{combine = \"add\"} : f32\n %3 = load %x[%i, %j] : f32\n %4 = div %3, %2 : f32\n store %4, "
      "%y[%i, %j]\n } : f32[5, 37]\n output %y {name = \"y\"}\n}\n";
  check_everywhere(text, NULL, 0);
}
END_TEST

START_TEST(arg_reduce) {
  char text[4096];
  for (int i = 0; i < SIZE_COUNT; i += 2)
    check_everywhere(
        with(
            text, sizeof text,
            "graph @g {\n %%x = input {name = \"x\"} : i32[%d, 9]\n %%y = block par(%%i in 9) "
            "red(%%k in %d) {\n %%0 = load %%x[%%k, %%i] : i32\n %%1 = index {value = %%k} : "
            "i64\n %%2, %%3 = reduce %%0, %%1 {(%%a: i32, %%p: i64, %%b: i32, %%q: i64)\n %%4 = eq "
            "%%a, %%b : bool\n %%5 = gt %%b, %%a : bool\n %%6 = lt %%q, %%p : bool\n %%7 = and "
            "%%4, %%6 : bool\n %%8 = or %%5, %%7 : bool\n %%9 = select %%8, %%b, %%a : i32\n %%10 "
            "= select %%8, %%q, %%p : i64\n yield %%9, %%10\n } : i32, i64\n store %%3, "
            "%%y[%%i]\n } : i64[9]\n output %%y {name = \"y\"}\n}\n",
            (int)sizes[i], (int)sizes[i]),
        NULL, 0);
}
END_TEST

/* Sum and count of squares in one tuple: a point that entered twice would show. With and without an
 * identity, over one axis and two, joined and apart. */
START_TEST(tuple_sums) {
  static const char *const starts[] = {"", "{identity = [0, 0]} "};
  char text[4096];
  for (int way = 0; way < 4; way++)
    for (int i = 0; i < SIZE_COUNT; i += 2)
      check_everywhere(
          with(text, sizeof text,
               "graph @g {\n %%x = input {name = \"x\"} : i32[%d, 5, 9]\n %%y, %%z = block par(%%i "
               "in 9) red(%%k in %d, %%l in 5) {\n %%0 = load %%x[%s, %%i] : i32\n %%1 = mul %%0, "
               "%%0 : i32\n %%2, %%3 = reduce %%0, %%1 %s{(%%a: i32, %%p: i32, %%b: i32, %%q: "
               "i32)\n "
               "%%4 = add %%a, %%b : i32\n %%5 = add %%p, %%q : i32\n yield %%4, %%5\n } : i32, "
               "i32\n store %%2, %%y[%%i]\n store %%3, %%z[%%i]\n } : i32[9], i32[9]\n output %%y "
               "{name = \"y\"}\n output %%z {name = \"z\"}\n}\n",
               (int)sizes[i], (int)sizes[i], way & 2 ? "%k, 4 - %l" : "%k, %l", starts[way & 1]),
          NULL, 0);
}
END_TEST

START_TEST(gather) {
  const char *text =
      "graph @g {\n %x = input {name = \"x\"} : f32[16, 21]\n %t = input {name = \"t\"} : "
      "i64[11]\n "
      "%y = block par(%i in 11, %j in 21) {\n %0 = load %t[%i] : i64\n %1 = const {value = 0} : "
      "i64\n %2 = max %0, %1 : i64\n %3 = gather_load %x[%2, %j] : f32\n store %3, %y[%i, %j]\n } "
      ": f32[11, 21]\n %z = block par(%i1 in 11, %j1 in 21) {\n %4 = load %t[%i1] : i64\n %5 = "
      "abs %4 : i64\n %6 = gather_load %x[%j1 mod 16, %5] : f32\n store %6, %z[%i1, %j1]\n } : "
      "f32[11, 21]\n output %y {name = \"y\"}\n output %z {name = \"z\"}\n}\n";
  check_everywhere(text, NULL, 0);
}
END_TEST

/* [m, k] x [k, n] in the ways that operands may lie. */
static void check_gemm(int m, int n, int k, bool turn_a, bool turn_b, bool constant,
                       const char *dtype) {
  char text[4096];
  check_everywhere(
      with(text, sizeof text,
           "graph @g {\n %%x = input {name = \"x\"} : %s[%d, %d]\n %%w = %s : %s[%d, %d]\n %%c = "
           "input {name = \"c\"} : %s[%d]\n %%y = block par(%%i in %d, %%j in %d) red(%%k in %d) "
           "{\n %%0 = load %%x[%s] : %s\n %%1 = load %%w[%s] : %s\n %%2 = mul %%0, %%1 : %s\n %%3 "
           "= reduce %%2 {combine = \"add\"} : %s\n %%4 = load %%c[%%j] : %s\n %%5 = add %%3, %%4 "
           ": %s\n store %%5, %%y[%%i, %%j]\n } : %s[%d, %d]\n output %%y {name = \"y\"}\n}\n",
           dtype, turn_a ? k : m, turn_a ? m : k,
           constant ? "const {random = 5}" : "input {name = \"w\"}", dtype, turn_b ? n : k,
           turn_b ? k : n, dtype, n, m, n, k, turn_a ? "%k, %i" : "%i, %k", dtype,
           turn_b ? "%j, %k" : "%k, %j", dtype, dtype, dtype, dtype, dtype, dtype, m, n),
      NULL, 0);
}

START_TEST(gemm) {
  static const int shapes[][3] = {{1, 1, 1},     {1, 37, 19},  {5, 1, 23},  {17, 31, 67},
                                  {67, 130, 13}, {2, 64, 300}, {97, 7, 130}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    for (int way = 0; way < 8; way++)
      check_gemm(shapes[i][0], shapes[i][1], shapes[i][2], way & 1, way & 2, way & 4, "f32");
}
END_TEST

START_TEST(gemm_dtypes) {
  static const char *const dtypes[] = {"f64", "i32", "i64"};
  for (int i = 0; i < 3; i++)
    for (int way = 0; way < 8; way += 2)
      check_gemm(19, 45, 23, way & 1, way & 2, way & 4, dtypes[i]);
}
END_TEST

/* Narrow operands are widened in front of the product; the sum is rounded behind it. */
START_TEST(gemm_narrow) {
  static const char *const narrow[][3] = {
      {"bf16", "f32", "bf16"}, {"f16", "f32", "f16"}, {"u8", "i32", "i32"}, {"i8", "i32", "i32"}};
  char text[4096];
  for (int i = 0; i < 4; i++)
    for (int constant = 0; constant < 2; constant++) {
      const char *d = narrow[i][0], *s = narrow[i][1], *o = narrow[i][2];
      const bool cast = strcmp(s, o) != 0;
      check_everywhere(
          with(text, sizeof text,
               "graph @g {\n %%x = input {name = \"x\"} : %s[21, 33]\n %%w = %s : %s[33, 50]\n %%y "
               "= block par(%%i in 21, %%j in 50) red(%%k in 33) {\n %%0 = load %%x[%%i, %%k] : "
               "%s\n %%1 = cast %%0 : %s\n %%2 = load %%w[%%k, %%j] : %s\n %%3 = cast %%2 : %s\n "
               "%%4 = mul %%1, %%3 : %s\n %%5 = reduce %%4 {combine = \"add\"} : %s\n %s store "
               "%s, %%y[%%i, %%j]\n } : %s[21, 50]\n output %%y {name = \"y\"}\n}\n",
               d, constant ? "const {random = 5}" : "input {name = \"w\"}", d, d, s, d, s, s, s,
               cast ? (i == 0 ? "%6 = cast %5 : bf16\n" : "%6 = cast %5 : f16\n") : "",
               cast ? "%6" : "%5", o),
          NULL, 0);
    }
}
END_TEST

START_TEST(gemm_symbolic) {
  char text[4096];
  const char *format =
      "dim M in 0..512 hint 64\ndim K in 1..512 hint 32\ngraph @g {\n %%x = input {name = \"x\"} : "
      "f32[M, %s]\n %%w = %s : f32[%s, 45]\n %%y = block par(%%i in M, %%j in 45) red(%%k in %s) "
      "{\n %%0 = load %%x[%%i, %%k] : f32\n %%1 = load %%w[%%k, %%j] : f32\n %%2 = mul %%0, %%1 : "
      "f32\n %%3 = reduce %%2 {combine = \"add\"} : f32\n store %%3, %%y[%%i, %%j]\n } : f32[M, "
      "45]\n output %%y {name = \"y\"}\n}\n";
  for (int i = 0; i < SIZE_COUNT; i++) {
    const int64_t dims[] = {sizes[i], 1 + 3 * i};
    check_everywhere(with(text, sizeof text, format, "29", "const {random = 3}", "29", "29"), dims,
                     2);
    check_everywhere(with(text, sizeof text, format, "29", "input {name = \"w\"}", "29", "29"),
                     dims, 2);
    check_everywhere(with(text, sizeof text, format, "K", "input {name = \"w\"}", "K", "K"), dims,
                     2);
  }
  check_everywhere(with(text, sizeof text, format, "K", "input {name = \"w\"}", "K", "K"),
                   (int64_t[]){0, 4}, 2);
}
END_TEST

/* Variants for few rows: chosen by a guard, with the weights packed once for all of them. The same
 * with an operand that only the kernel for many rows packs, and with columns that vary. */
START_TEST(variants) {
  static const int64_t rows[] = {0, 1, 2, 5, 13, 14, 31, 63, 64, 65, 100};
  static const char *const weights[] = {"const {random = 3}", "input {name = \"w\"}"};
  char text[4096];
  tsr_cpu_isa isa;
  tsr_target target;
  tsr_cpu_isa_host(&isa);
  for (unsigned way = 0; way < 4; way++)
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
      const bool columns = way >= 2;
      with(text, sizeof text,
           "dim M in 0..4096 hint 512\ngraph @g {\n %%x = input {name = \"x\"} : f32[%s, 70]\n "
           "%%w = %s : f32[70, %s]\n %%y = block par(%%i in %s, %%j in %s) red(%%k in 70) {\n %%0 "
           "= load %%x[%%i, %%k] : f32\n %%1 = load %%w[%%k, %%j] : f32\n %%2 = mul %%0, %%1 : "
           "f32\n %%3 = reduce %%2 {combine = \"add\"} : f32\n store %%3, %%y[%%i, %%j]\n } : "
           "f32[%s, %s]\n output %%y {name = \"y\"}\n}\n",
           columns ? "90" : "M", weights[columns ? 1 : way], columns ? "M" : "90",
           columns ? "90" : "M", columns ? "M" : "90", columns ? "90" : "M", columns ? "M" : "90");
      tsr_target_host(way == 3 ? 4 : 1, &target);
      check_text(text, &rows[i], 1, &isa, &target);
    }
}
END_TEST

static uint32_t kernels_of(const char *text) {
  tsr_cpu_isa isa;
  tsr_target target;
  tiled t;
  tsr_diag diag = {0};
  ck_assert_int_eq(tsr_cpu_isa_parse(":x86-64-v2", &diag, &isa), TSR_OK);
  tsr_target_cpu(tsr_cpu_isa_features(&isa), NULL, 1, &target);
  tiled_open(&t, text, &isa, &target);
  const uint32_t count = t.code.kernel_count;
  tiled_close(&t);
  return count;
}

/* A plan says up to where a variant goes, and drops it with 0. */
START_TEST(planned_variants) {
  static const char *const plans[] = {"", "schedule @k0_1 {upto = 0}",
                                      "schedule @k0_1 {upto = 7, mr = 3, mc = 9}"};
  char text[4096];
  uint32_t kernels[3];
  for (int i = 0; i < 3; i++) {
    with(text, sizeof text,
         "plan @p {\n %s\n}\ndim M in 1..4096 hint 512\ngraph @g {\n %%x = input {name = \"x\"} : "
         "f32[M, 64]\n %%w = input {name = \"w\"} : f32[64, 256]\n %%y = block par(%%i in M, %%j "
         "in 256) red(%%k in 64) {\n %%0 = load %%x[%%i, %%k] : f32\n %%1 = load %%w[%%k, %%j] : "
         "f32\n %%2 = mul %%0, %%1 : f32\n %%3 = reduce %%2 {combine = \"add\"} : f32\n store %%3, "
         "%%y[%%i, %%j]\n } : f32[M, 256]\n output %%y {name = \"y\"}\n}\n",
         plans[i]);
    kernels[i] = kernels_of(text);
    for (int64_t rows = 6; rows < 9; rows++)
      check_everywhere(text, &rows, 1);
  }
  ck_assert_uint_eq(kernels[0], kernels[2]);
  ck_assert_uint_eq(kernels[1] + 1, kernels[0]);
}
END_TEST

/* b[b, h, j, d] transposed, as in attention, and a mask-like epilogue over batch variables. */
START_TEST(batched) {
  char text[4096];
  for (int way = 0; way < 4; way++)
    check_everywhere(
        with(text, sizeof text,
             "dim S in 1..64 hint 20\ngraph @g {\n %%q = input {name = \"q\"} : f32[2, S, 3, "
             "24]\n %%k = input {name = \"k\"} : f32[2, S, 3, 24]\n %%y = block par(%%b in 2, %%h "
             "in 3, %%i in S, %%j in S) red(%%d in 24) {\n %%0 = load %%q[%%b, %%i, %%h, %%d] : "
             "f32\n %%1 = load %%k[%%b, %%j, %%h, %%d] : f32\n %%2 = mul %%0, %%1 : f32\n %%3 = "
             "reduce %%2 {combine = \"add\"} : f32\n store %%3, %%y[%%b, %%h, %%i, %%j]\n } : "
             "f32[2, 3, S, S]\n %%z = block par(%%b1 in 2, %%i1 in S, %%h1 in 3, %%e in 24) "
             "red(%%j1 in S) {\n %%4 = load %%y[%%b1, %%h1, %%i1, %%j1] : f32\n %%5 = load "
             "%%k[%%b1, %%j1, %%h1, %%e] : f32\n %%6 = mul %%4, %%5 : f32\n %%7 = reduce %%6 "
             "{combine = \"add\"} : f32\n store %%7, %%z[%%b1, %%i1, %%h1, %%e]\n } : f32[2, S, 3, "
             "24]\n output %%y {name = \"y\"}\n output %%z {name = \"z\"}\n}\n"),
        (int64_t[]){1 + 13 * way}, 1);
}
END_TEST

/* groups, batch, strides, dilations and padding; `last`: channels last, weights transposed. */
static void check_conv_padded(int batch, int groups, int in, int out, int size, int window,
                              int stride, int dilation, int pad, int high, bool constant) {
  char text[4096];
  const int result = (size + pad + high - (window - 1) * dilation - 1) / stride + 1;
  check_everywhere(
      with(text, sizeof text,
           "graph @g {\n %%x = input {name = \"x\"} : f32[%d, %d, %d, %d]\n %%w = %s : f32[%d, %d, "
           "%d, %d]\n %%c = input {name = \"c\"} : f32[%d]\n %%y = block par(%%n in %d, %%g in %d, "
           "%%m in %d, %%p in %d, %%q in %d) red(%%c1 in %d, %%u in %d, %%v in %d) {\n %%0 = load "
           "%%x[%%n, %%g*%d + %%c1, %%p*%d + %%u*%d - %d, %%q*%d + %%v*%d - %d] : f32\n %%1 = load "
           "%%w[%%g*%d + %%m, %%c1, %%u, %%v] : f32\n %%2 = mul %%0, %%1 : f32\n %%3 = reduce %%2 "
           "{combine = \"add\"} : f32\n %%4 = load %%c[%%g*%d + %%m] : f32\n %%5 = add %%3, %%4 : "
           "f32\n store %%5, %%y[%%n, %%g*%d + %%m, %%p, %%q]\n } : f32[%d, %d, %d, %d]\n output "
           "%%y {name = \"y\"}\n}\n",
           batch, groups * in, size, size, constant ? "const {random = 7}" : "input {name = \"w\"}",
           groups * out, in, window, window, groups * out, batch, groups, out, result, result, in,
           window, window, in, stride, dilation, pad, stride, dilation, pad, out, out, out, batch,
           groups * out, result, result),
      NULL, 0);
}

static void check_conv(int batch, int groups, int in, int out, int size, int window, int stride,
                       int dilation, int pad, bool constant) {
  check_conv_padded(batch, groups, in, out, size, window, stride, dilation, pad, pad, constant);
}

START_TEST(conv) {
  for (int constant = 0; constant < 2; constant++) {
    check_conv(1, 1, 8, 16, 14, 3, 1, 1, 1, constant != 0);
    check_conv(2, 1, 3, 7, 13, 3, 2, 1, 1, constant != 0);
    check_conv(1, 1, 5, 9, 9, 5, 1, 2, 3, constant != 0);
    check_conv(1, 3, 4, 5, 8, 3, 1, 1, 0, constant != 0);
    check_conv(2, 1, 16, 33, 7, 1, 1, 1, 0, constant != 0);
    check_conv(1, 1, 6, 10, 7, 1, 2, 1, 0, constant != 0);
    check_conv(1, 6, 1, 1, 11, 3, 1, 1, 1, constant != 0);
    check_conv(1, 1, 2, 3, 70, 3, 1, 1, 1, constant != 0);
  }
}
END_TEST

/* Depthwise, and few channels out of few: windows as straight code, borders apart. */
START_TEST(conv_windows) {
  for (int constant = 0; constant < 2; constant++)
    for (int stride = 1; stride < 4; stride++) {
      check_conv(1, 5, 1, 1, 11, 3, stride, 1, 1, constant != 0);
      check_conv(2, 3, 1, 2, 70, 3, stride, 1, 1, constant != 0);
      check_conv(1, 4, 1, 1, 19, 5, stride, 2, 4, constant != 0);
      check_conv(1, 3, 1, 1, 6, 5, stride, 1, 4, constant != 0);
      check_conv(1, 2, 1, 1, 33, 7, stride, 1, 3, constant != 0);
      check_conv(1, 2, 3, 1, 37, 3, stride, 1, 0, constant != 0);
      check_conv(1, 9, 1, 3, 2, 3, stride, 1, 1, constant != 0);
    }
}
END_TEST

/* Depthwise windows by what is beside the image on each side: taps share the vectors that they step
 * through, whatever lane of these is the first one inside. Rows of several registers, of parts of
 * one, and narrower than a vector; windows that overlap or leave elements out. */
START_TEST(conv_windows_sides) {
  static const int images[] = {5, 33, 77};
  for (unsigned i = 0; i < sizeof images / sizeof *images; i++)
    for (int low = 0; low < 3; low++)
      for (int high = 0; high < 3; high++) {
        const int stride = 2 + (low + high) % 2, window = low + high > 2 ? 5 : 3;
        check_conv_padded(1, 2, 1, 1, images[i], window, stride, 1, low, high, true);
        if (low != high)
          check_conv_padded(1, 3, 1, 1, images[i], window, 1, 1, low, high, true);
      }
}
END_TEST

/* Windows of a pool, whose innermost steps are straight code up to eight: by what lies beside the
 * image, by steps that shuffle vectors and longer ones, in rows of vectors and parts of one. */
START_TEST(pools) {
  static const char *const combine[] = {"max", "add", "min"};
  static const int images[] = {7, 19, 40, 75};
  char text[2048];
  for (int i = 0; i < 4; i++)
    for (int window = 1; window < 10; window += 2)
      for (int stride = 1; stride < 10; stride = stride * 2 + (window > 3)) {
        const int low = window / 2, high = (window + i) / 3;
        const int out = (images[i] + low + high - window) / stride + 1;
        if (images[i] + low + high < window)
          continue;
        check_everywhere(
            with(text, sizeof text,
                 "graph @g {\n %%x = input {name = \"x\"} : f32[3, 9, %d]\n %%y = block par(%%c in "
                 "3, %%p in 4, %%q in %d) red(%%u in 2, %%v in %d) {\n %%0 = load %%x[%%c, %%p*2 + "
                 "%%u, %%q*%d + %%v - %d] {pad = %s} : f32\n %%1 = reduce %%0 {combine = \"%s\"} : "
                 "f32\n store %%1, %%y[%%c, %%p, %%q]\n } : f32[3, 4, %d]\n output %%y {name = "
                 "\"y\"}\n}\n",
                 images[i], out, window, stride, low, i % 3 == 0 ? "-inf" : "0", combine[i % 3],
                 out),
            NULL, 0);
      }
}
END_TEST

static void check_window_rows(const tsr_cpu_isa *isa, const tsr_target *target, const char *image,
                              const char *rows, int columns, int step, int apart, int pad,
                              const int64_t *dims, uint32_t dim_count) {
  char text[4096];
  check_text(
      with(text, sizeof text,
           "dim H in 1..500 hint 400\ngraph @g {\n %%h = input {name = \"h\"} : f32[H]\n output "
           "%%h {name = \"i\"}\n %%x = input {name = \"x\"} : f32[%s, 100]\n %%w = const {random "
           "= 7} : f32[5, 5]\n %%y = block par(%%p in %s, %%q in %d) red(%%u in 5, %%v in 5) {\n "
           "%%0 = load %%x[%%p*%d + %%u*%d - %d, %%q + %%v - %d] : f32\n %%1 = load %%w[%%u, %%v] "
           ": f32\n %%2 = mul %%0, %%1 : f32\n %%3 = reduce %%2 {combine = \"add\"} : f32\n store "
           "%%3, %%y[%%p, %%q]\n } : f32[%s, %d]\n output %%y {name = \"y\"}\n}\n",
           image, rows, columns, step, apart, pad, pad, rows, columns),
      dims, dim_count, isa, target);
}

/* Groups of three channels, which stand side by side in one axis of the result: what a vector has
 * beyond a group's end belongs to the next one. */
START_TEST(groups_side_by_side) {
  const char *text =
      "dim N in 0..4096 hint 100\ngraph @g {\n %x = input {name = \"x\"} : f32[N, 8, 15]\n %w = "
      "const {random = 7} : f32[24, 15]\n %y = block par(%n in N, %g in 8, %m in 3) red(%k in 15) "
      "{\n %0 = load %x[%n, %g, %k] : f32\n %1 = load %w[%g*3 + %m, %k] : f32\n %2 = mul %0, %1 : "
      "f32\n %3 = reduce %2 {combine = \"add\"} : f32\n store %3, %y[%n, %g*3 + %m]\n } : f32[N, "
      "24]\n output %y {name = \"y\"}\n}\n";
  for (int64_t rows = 1; rows < 40; rows += 6)
    for (int again = 0; again < 3; again++)
      check_everywhere(text, &rows, 1);
}
END_TEST

/* Rows of two registers, of which the second is outside of the image for most taps: what is known
 * to be masked is not read. */
START_TEST(conv_masked_registers) {
  const tsr_cpu_caches usual = {0};
  tsr_cpu_isa host, isa;
  tsr_diag diag = {0};
  tsr_target target;
  tsr_cpu_isa_host(&host);
  for (unsigned i = 0; i < 2; i++) {
    if (tsr_cpu_isa_parse(i == 0 ? ":x86-64-v3" : ":x86-64-v4", &diag, &isa) != TSR_OK ||
        !tsr_cpu_isa_covers(&host, &isa))
      continue;
    tsr_target_cpu(tsr_cpu_isa_features(&isa), &usual, 1, &target);
    for (int columns = 10; columns < 40; columns += 3)
      check_text(
          with((char[2048]){0}, 2048,
               "graph @g {\n %%x = input {name = \"x\"} : f32[3, 9, %d]\n %%w = input {name = "
               "\"w\"} : f32[3, 5, 5]\n %%y = block par(%%c in 3, %%p in 13, %%q in %d) red(%%u in "
               "5, %%v in 5) {\n %%0 = load %%x[%%c, %%p + %%u - 4, %%q + %%v - 4] : f32\n %%1 = "
               "load %%w[%%c, %%u, %%v] : f32\n %%2 = mul %%0, %%1 : f32\n %%3 = reduce %%2 "
               "{combine = \"add\"} : f32\n store %%3, %%y[%%c, %%p, %%q]\n } : f32[3, 13, %d]\n "
               "output %%y {name = \"y\"}\n}\n",
               columns - 4, columns, columns),
          NULL, 0, &isa, &target);
  }
}
END_TEST

/* One channel: blocks of rows number tasks on four threads. With a rest of rows and without,
 * padded and not, of known and unknown height; and lines too far apart for rows to share any. */
START_TEST(conv_window_rows) {
  const tsr_cpu_caches usual = {0};
  tsr_cpu_isa host;
  tsr_target target;
  char image[16], rows[64];
  tsr_cpu_isa_host(&host);
  tsr_target_cpu(tsr_cpu_isa_features(&host), &usual, 4, &target);
  for (int way = 0; way < 8; way++) {
    const int pad = way % 2 * 2, step = 1 + way / 2 % 2, columns = 96 + 2 * pad;
    const int64_t height = 397 + way;
    if (way < 4)
      check_window_rows(&host, &target, with(image, sizeof image, "%d", (int)height),
                        with(rows, sizeof rows, "%d", ((int)height + 2 * pad - 5) / step + 1),
                        columns, step, 1, pad, &height, 1);
    else
      check_window_rows(&host, &target, "H",
                        with(rows, sizeof rows, "(H + %d) floordiv %d + 1", 2 * pad - 5, step),
                        columns, step, 1, pad, &height, 1);
  }
  check_window_rows(&host, &target, "700", "300", 96, 1, 100, 0, (int64_t[]){1}, 1);
  check_window_rows(&host, &target, "H", "(H - 1) floordiv 3 + 1", 96, 3, 1, 2, (int64_t[]){2}, 1);
}
END_TEST

/* Many channels: windows read in place. Tiles that taps miss in part or as a whole, at either end
 * and on all sides; rows that some taps miss. */
START_TEST(conv_direct) {
  check_conv(1, 1, 16, 32, 7, 3, 1, 1, 1, true);
  check_conv(2, 1, 15, 48, 14, 3, 1, 1, 1, true);
  check_conv(1, 2, 16, 32, 15, 3, 2, 1, 1, true);
  check_conv(1, 1, 8, 32, 17, 5, 1, 2, 4, true);
  check_conv(1, 1, 16, 40, 13, 3, 3, 1, 0, true);
  check_conv(1, 1, 8, 64, 21, 7, 2, 1, 3, true);
  check_conv(1, 1, 15, 32, 4, 5, 1, 1, 4, true);
  check_conv(1, 1, 15, 32, 5, 5, 1, 2, 4, true);
  check_conv(1, 1, 16, 32, 33, 3, 1, 1, 2, true);
}
END_TEST

/* Outside of the image lies a number other than 0: no tap may be left out. */
START_TEST(conv_in_a_frame) {
  char text[2048];
  for (int way = 0; way < 2; way++)
    check_everywhere(
        with(text, sizeof text,
             "graph @g {\n %%x = input {name = \"x\"} : f32[%s]\n %%w = const {random = 7} : "
             "f32[32, %s3, 3]\n %%y = block par(%s) red(%s%%u in 3, %%v in 3) {\n %%0 = load "
             "%%x[%s] {pad = 3} : f32\n %%1 = load %%w[%%c, %s%%u, %%v] : f32\n %%2 = mul %%0, %%1 "
             ": "
             "f32\n %%3 = reduce %%2 {combine = \"add\"} : f32\n store %%3, %%y[%s]\n } : "
             "f32[%s]\n output %%y {name = \"y\"}\n}\n",
             way ? "9, 9, 32" : "16, 9, 9", way ? "" : "16, ",
             way ? "%p in 9, %q in 9, %c in 32" : "%c in 32, %p in 9, %q in 9",
             way ? "" : "%k in 16, ",
             way ? "%p + %u - 1, %q + %v - 1, %c" : "%k, %p + %u - 1, %q + %v - 1",
             way ? "" : "%k, ", way ? "%p, %q, %c" : "%c, %p, %q", way ? "9, 9, 32" : "32, 9, 9"),
        NULL, 0);
}
END_TEST

/* The same over images of unknown size, some smaller than the window. */
START_TEST(conv_windows_symbolic) {
  static const int64_t images[][2] = {{1, 1}, {7, 33}, {18, 5}};
  char text[4096];
  for (int way = 0; way < 6; way++) {
    const int stride = 1 + way % 3, window = way < 3 ? 3 : 5, pad = window / 2;
    const char *rows = "(H - 1) floordiv", *columns = "(W - 1) floordiv";
    with(
        text, sizeof text,
        "dim H in 1..64 hint 16\ndim W in 1..64 hint 16\ngraph @g {\n %%x = input {name = \"x\"} : "
        "f32[3, H, W]\n %%w = const {random = 7} : f32[3, %d, %d]\n %%y = block par(%%c in 3, %%p "
        "in %s %d + 1, %%q in %s %d + 1) red(%%u in %d, %%v in %d) {\n %%0 = load %%x[%%c, %%p*%d "
        "+ "
        "%%u - %d, %%q*%d + %%v - %d] : f32\n %%1 = load %%w[%%c, %%u, %%v] : f32\n %%2 = mul %%0, "
        "%%1 : f32\n %%3 = reduce %%2 {combine = \"add\"} : f32\n %%4 = abs %%3 : f32\n store "
        "%%4, %%y[%%c, %%p, %%q]\n } : f32[3, %s %d + 1, %s %d + 1]\n output %%y {name = "
        "\"y\"}\n}\n",
        window, window, rows, stride, columns, stride, window, window, stride, pad, stride, pad,
        rows, stride, columns, stride);
    for (unsigned i = 0; i < sizeof images / sizeof *images; i++)
      check_everywhere(text, images[i], 2);
  }
}
END_TEST

/* Many channels of signals and images of unknown size, read in place: nothing of a window inside,
 * rows shorter than a tile, of whole tiles and of parts of one, in several tasks; strides greater
 * than the window, dilations, padding at either end alone. */
START_TEST(conv_direct_symbolic) {
  static const struct {
    int channels, out, window, stride, dilation, low, high;
  } ways[] = {{16, 32, 9, 1, 1, 4, 4},    {45, 40, 3, 2, 1, 1, 1},  {1, 32, 140, 70, 1, 0, 0},
              {1, 33, 160, 44, 1, 80, 3}, {28, 32, 5, 1, 3, 12, 0}, {130, 32, 1, 3, 1, 0, 0}};
  char text[4096];
  for (unsigned way = 0; way < sizeof ways / sizeof *ways; way++) {
    const int span = (ways[way].window - 1) * ways[way].dilation + 1;
    const int more = ways[way].low + ways[way].high - span + ways[way].stride;
    const int lengths[] = {
        span > ways[way].low + ways[way].high ? span - ways[way].low - ways[way].high : 1, span + 1,
        7 * ways[way].stride + span, 131 * ways[way].stride + 5, 128 * ways[way].stride + span};
    with(
        text, sizeof text,
        "dim T in 0..100000 hint 100\ngraph @g {\n %%x = input {name = \"x\"} : f32[2, %d, T]\n "
        "%%w = "
        "const {random = 7} : f32[%d, %d, %d]\n %%y = block par(%%n in 2, %%m in %d, %%p in (T + "
        "%d) floordiv %d) red(%%c in %d, %%u in %d) {\n %%0 = load %%x[%%n, %%c, %%p*%d + %%u*%d - "
        "%d] : f32\n %%1 = load %%w[%%m, %%c, %%u] : f32\n %%2 = mul %%0, %%1 : f32\n %%3 = reduce "
        "%%2 {combine = \"add\"} : f32\n %%4 = abs %%3 : f32\n store %%4, %%y[%%n, %%m, %%p]\n } : "
        "f32[2, %d, (T + %d) floordiv %d]\n output %%y {name = \"y\"}\n}\n",
        ways[way].channels, ways[way].out, ways[way].channels, ways[way].window, ways[way].out,
        more, ways[way].stride, ways[way].channels, ways[way].window, ways[way].stride,
        ways[way].dilation, ways[way].low, ways[way].out, more, ways[way].stride);
    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++)
      check_everywhere(text, (int64_t[]){lengths[i]}, 1);
  }
}
END_TEST

START_TEST(conv_direct_symbolic_images) {
  static const int64_t images[][2] = {{1, 1}, {7, 33}, {18, 5}, {3, 64}};
  char text[4096];
  for (int way = 0; way < 4; way++) {
    const int stride = 1 + way % 2, window = way < 2 ? 3 : 5, pad = window / 2;
    const char *rows = "(H - 1) floordiv", *columns = "(W - 1) floordiv";
    with(
        text, sizeof text,
        "dim H in 1..64 hint 16\ndim W in 1..64 hint 16\ngraph @g {\n %%x = input {name = \"x\"} : "
        "f32[15, H, W]\n %%w = const {random = 7} : f32[32, 15, %d, %d]\n %%y = block par(%%m in "
        "32, "
        "%%p in %s %d + 1, %%q in %s %d + 1) red(%%c in 15, %%u in %d, %%v in %d) {\n %%0 = load "
        "%%x[%%c, %%p*%d + %%u - %d, %%q*%d + %%v - %d] : f32\n %%1 = load %%w[%%m, %%c, %%u, %%v] "
        ": "
        "f32\n %%2 = mul %%0, %%1 : f32\n %%3 = reduce %%2 {combine = \"add\"} : f32\n %%4 = abs "
        "%%3 : f32\n store %%4, %%y[%%m, %%p, %%q]\n } : f32[32, %s %d + 1, %s %d + 1]\n output "
        "%%y "
        "{name = \"y\"}\n}\n",
        window, window, rows, stride, columns, stride, window, window, stride, pad, stride, pad,
        rows, stride, columns, stride);
    for (unsigned i = 0; i < sizeof images / sizeof *images; i++)
      check_everywhere(text, images[i], 2);
  }
}
END_TEST

/* Channels side by side, each with a window of its own: pixels of a row under each other, taps that
 * miss some of them at either end or a whole line, columns of vectors and parts of one, images and
 * signals, of known size and not. */
START_TEST(conv_channels) {
  static const struct {
    int batch, channels, size, window, stride, dilation, pad;
  } ways[] = {{1, 32, 7, 3, 1, 1, 1},   {2, 48, 14, 3, 2, 1, 1}, {1, 16, 15, 5, 1, 1, 2},
              {1, 40, 9, 3, 1, 2, 2},   {3, 19, 6, 3, 1, 1, 0},  {1, 64, 21, 7, 3, 1, 3},
              {1, 33, 2, 3, 1, 1, 1},   {1, 16, 1, 3, 1, 1, 1},  {1, 17, 12, 3, 4, 1, 1},
              {1, 24, 5, 11, 1, 1, 5},  {1, 32, 17, 2, 2, 1, 0}, {1, 8, 10, 3, 1, 3, 4},
              {1, 16, 70, 3, 1, 33, 33}};
  char text[4096], shape[64];
  for (int constant = 0; constant < 2; constant++)
    for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
      const int reach = (ways[i].window - 1) * ways[i].dilation + 1;
      const int out = (ways[i].size + 2 * ways[i].pad - reach) / ways[i].stride + 1;
      check_everywhere(
          with(
              text, sizeof text,
              "graph @g {\n %%x = input {name = \"x\"} : f32[%d, %d, %d, %d]\n %%w = %s : "
              "f32[%s]\n "
              "%%b = input {name = \"b\"} : f32[%d]\n %%y = block par(%%n in %d, %%p in %d, %%q in "
              "%d, %%c in %d) red(%%u in %d, %%v in %d) {\n %%0 = load %%x[%%n, %%p*%d + %%u*%d - "
              "%d, %%q*%d + %%v*%d - %d, %%c] : f32\n %%1 = load %%w[%s] : f32\n %%2 = mul %s : "
              "f32\n %%3 = reduce %%2 {combine = \"add\"} : f32\n %%4 = load %%b[%%c] : f32\n %%5 "
              "= add %%3, %%4 : f32\n store %%5, %%y[%%n, %%p, %%q, %%c]\n } : f32[%d, %d, %d, "
              "%d]\n output %%y {name = \"y\"}\n}\n",
              ways[i].batch, ways[i].size, ways[i].size, ways[i].channels,
              constant ? "const {random = 7}" : "input {name = \"w\"}",
              constant ? with(shape, sizeof shape, "%d, %d, %d", ways[i].channels, ways[i].window,
                              ways[i].window)
                       : with(shape, sizeof shape, "%d, %d, %d", ways[i].window, ways[i].window,
                              ways[i].channels),
              ways[i].channels, ways[i].batch, out, out, ways[i].channels, ways[i].window,
              ways[i].window, ways[i].stride, ways[i].dilation, ways[i].pad, ways[i].stride,
              ways[i].dilation, ways[i].pad, constant ? "%c, %u, %v" : "%u, %v, %c",
              i % 2 ? "%0, %1" : "%1, %0", ways[i].batch, out, out, ways[i].channels),
          NULL, 0);
    }
}
END_TEST

START_TEST(conv_channels_symbolic) {
  static const int64_t images[][2] = {{1, 1}, {7, 33}, {18, 5}, {3, 64}};
  static const int64_t signals[] = {1, 2, 31, 130, 5000};
  char text[4096];
  for (int way = 0; way < 4; way++) {
    const int stride = 1 + way % 2, window = way < 2 ? 3 : 5, pad = window / 2;
    with(
        text, sizeof text,
        "dim H in 1..64 hint 16\ndim W in 1..64 hint 16\ngraph @g {\n %%x = input {name = \"x\"} : "
        "f32[H, W, 37]\n %%w = const {random = 7} : f32[37, %d, %d]\n %%y = block par(%%p in (H - "
        "1) floordiv %d + 1, %%q in (W - 1) floordiv %d + 1, %%c in 37) red(%%u in %d, %%v in %d) "
        "{\n %%0 = load %%x[%%p*%d + %%u - %d, %%q*%d + %%v - %d, %%c] : f32\n %%1 = load %%w[%%c, "
        "%%u, %%v] : f32\n %%2 = mul %%0, %%1 : f32\n %%3 = reduce %%2 {combine = \"add\"} : f32\n "
        "%%4 = abs %%3 : f32\n store %%4, %%y[%%p, %%q, %%c]\n } : f32[(H - 1) floordiv %d + 1, (W "
        "- 1) floordiv %d + 1, 37]\n output %%y {name = \"y\"}\n}\n",
        window, window, stride, stride, window, window, stride, pad, stride, pad, stride, stride);
    for (unsigned i = 0; i < sizeof images / sizeof *images; i++)
      check_everywhere(text, images[i], 2);
  }
  with(
      text, sizeof text,
      "dim T in 0..100000 hint 100\ngraph @g {\n %%x = input {name = \"x\"} : f32[2, T, 48]\n %%w "
      "= "
      "const {random = 7} : f32[4, 48]\n %%y = block par(%%n in 2, %%p in T, %%c in 48) red(%%v in "
      "4) {\n %%0 = load %%x[%%n, %%p + %%v - 3, %%c] : f32\n %%1 = load %%w[%%v, %%c] : f32\n %%2 "
      "= "
      "mul %%0, %%1 : f32\n %%3 = reduce %%2 {combine = \"add\"} : f32\n store %%3, %%y[%%n, %%p, "
      "%%c]\n } : f32[2, T, 48]\n output %%y {name = \"y\"}\n}\n");
  for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
    check_everywhere(text, &signals[i], 1);
}
END_TEST

/* The input of a 1-D convolution lies channels last, the output either way. */
START_TEST(conv_transposed_input) {
  char text[4096];
  for (int way = 0; way < 4; way++)
    check_everywhere(
        with(text, sizeof text,
             "graph @g {\n %%x = input {name = \"x\"} : f32[1, 61, 20]\n %%w = %s : f32[37, 20, "
             "5]\n %%y = block par(%s) red(%%c in 20, %%u in 5) {\n %%0 = load %%x[0, %%p + %%u - "
             "2, %%c] : f32\n %%1 = load %%w[%%m, %%c, %%u] : f32\n %%2 = mul %%0, %%1 : f32\n %%3 "
             "= reduce %%2 {combine = \"add\"} : f32\n store %%3, %%y[0, %s]\n } : f32[1, %s]\n "
             "output %%y {name = \"y\"}\n}\n",
             way & 1 ? "const {random = 7}" : "input {name = \"w\"}",
             way & 2 ? "%m in 37, %p in 61" : "%p in 61, %m in 37", way & 2 ? "%m, %p" : "%p, %m",
             way & 2 ? "37, 61" : "61, 37"),
        NULL, 0);
}
END_TEST

/* Schedules that the default would not take here: passes through the depth, packed rows, register
 * tiles that divide nothing, a convolution as a plain nest. */
START_TEST(planned) {
  static const char *const plans[] = {
      "kc = 45, mc = 14, mr = 7, nc = 22, nr = 16, outer = 0, pack_b = 1",
      "kc = 90, mc = 20, mr = 5, nc = 11, nr = 8, outer = 1, pack_b = 1, unroll = 1",
      "kc = 0, mc = 99, mr = 3, nc = 121, nr = 24, outer = 1, pack_b = 1, unroll = 2",
      "strategy = \"nest\", vector = 2, lanes = 16, fold = -1, side = -1, rows = 1, unroll = 1",
      "strategy = \"nest\", vector = -1, lanes = 8, fold = 3, side = -1, rows = 1, unroll = 4"};
  static const char *const gemms[] = {
      "kc = 12, mc = 24, mr = 6, nc = 48, nr = 16, outer = 0, pack_a = 1, pack_b = 1",
      "kc = 0, mc = 9, mr = 9, nc = 32, nr = 32, outer = 1, pack_a = 0, pack_b = 0",
      "kc = 18, mc = 37, mr = 1, nc = 40, nr = 40, outer = 1, pack_a = 1, pack_b = 1"};
  char text[4096];
  for (int i = 0; i < 5; i++)
    check_everywhere(
        with(text, sizeof text,
             "plan @p {\n schedule @k0 {%s}\n}\ngraph @g {\n %%x = input {name = \"x\"} : "
             "f32[10, 11, 11]\n %%w = const {random = 7} : f32[23, 10, 3, 3]\n %%y = block par(%%m "
             "in 23, %%p in 11, %%q in 11) red(%%c in 10, %%u in 3, %%v in 3) {\n %%0 = load "
             "%%x[%%c, %%p + %%u - 1, %%q + %%v - 1] : f32\n %%1 = load %%w[%%m, %%c, %%u, %%v] : "
             "f32\n %%2 = mul %%0, %%1 : f32\n %%3 = reduce %%2 {combine = \"add\"} : f32\n "
             "store %%3, %%y[%%m, %%p, %%q]\n } : f32[23, 11, 11]\n output %%y {name = "
             "\"y\"}\n}\n",
             plans[i]),
        NULL, 0);
  for (int i = 0; i < 3; i++)
    check_everywhere(
        with(text, sizeof text,
             "plan @p {\n schedule @k0 {%s}\n}\ndim N in 1..200 hint 50\ngraph @g {\n %%x = "
             "input {name = \"x\"} : f32[37, 36]\n %%w = input {name = \"w\"} : f32[36, N]\n "
             "%%y = block par(%%i in 37, %%j in N) red(%%k in 36) {\n %%0 = load %%x[%%i, %%k] : "
             "f32\n %%1 = load %%w[%%k, %%j] : f32\n %%2 = mul %%0, %%1 : f32\n %%3 = reduce %%2 "
             "{combine = \"add\"} : f32\n store %%3, %%y[%%i, %%j]\n } : f32[37, N]\n output "
             "%%y {name = \"y\"}\n}\n",
             gemms[i]),
        (int64_t[]){71 + i}, 1);
}
END_TEST

START_TEST(proc) {
  const char *text =
      "graph @g {\n %x = input {name = \"x\"} : f32[7, 9]\n %y = proc par(%i in 7) {\n %0 = const "
      "{value = 0} : f32\n %1 = for %k in 9 carry(%s = %0) {\n %2 = load %x[%i, %k] : f32\n %3 = "
      "add %s, %2 : f32\n store %3, %y[%i, %k]\n yield %3\n } : f32\n } : f32[7, 9]\n output %y "
      "{name = \"y\"}\n}\n";
  check_everywhere(text, NULL, 0);
}
END_TEST

/* Blocks that are the same program share a kernel; those that differ in a dim do not. */
START_TEST(sharing) {
  const char *text =
      "dim N in 1..64\ndim M in 1..64\ngraph @g {\n %x = input {name = \"x\"} : f32[N]\n %z = "
      "input {name = \"z\"} : f32[M]\n %a = block par(%i in N) {\n %0 = load %x[%i] : f32\n %1 = "
      "neg %0 : f32\n store %1, %a[%i]\n } : f32[N]\n %b = block par(%j in N) {\n %2 = load %a[%j] "
      ": f32\n %3 = neg %2 : f32\n store %3, %b[%j]\n } : f32[N]\n %c = block par(%k in M) {\n %4 "
      "= load %z[%k] : f32\n %5 = neg %4 : f32\n store %5, %c[%k]\n } : f32[M]\n output %b {name = "
      "\"b\"}\n output %c {name = \"c\"}\n}\n";
  tsr_cpu_isa isa;
  tsr_target target;
  tiled t;
  tsr_cpu_isa_host(&isa);
  tsr_target_host(1, &target);
  check_everywhere(text, (int64_t[]){13, 29}, 2);
  tiled_open(&t, text, &isa, &target);
  ck_assert_uint_eq(t.code.kernel_count, 2);
  tiled_close(&t);
}
END_TEST

static Suite *suite(void) {
  Suite *s = suite_create("tile");
  TCase *c = tcase_create("tile");
  tcase_set_timeout(c, 300);
  tcase_add_test(c, elementwise);
  tcase_add_test(c, symbolic_elementwise);
  tcase_add_test(c, transpose);
  tcase_add_test(c, reductions);
  tcase_add_test(c, symbolic_reduction);
  tcase_add_test(c, row_sum_then_columns);
  tcase_add_test(c, arg_reduce);
  tcase_add_test(c, tuple_sums);
  tcase_add_test(c, gather);
  tcase_add_test(c, gemm);
  tcase_add_test(c, gemm_dtypes);
  tcase_add_test(c, gemm_narrow);
  tcase_add_test(c, gemm_symbolic);
  tcase_add_test(c, variants);
  tcase_add_test(c, planned_variants);
  tcase_add_test(c, batched);
  tcase_add_test(c, conv);
  tcase_add_test(c, conv_windows);
  tcase_add_test(c, conv_windows_sides);
  tcase_add_test(c, conv_window_rows);
  tcase_add_test(c, conv_masked_registers);
  tcase_add_test(c, groups_side_by_side);
  tcase_add_test(c, pools);
  tcase_add_test(c, conv_direct);
  tcase_add_test(c, conv_in_a_frame);
  tcase_add_test(c, conv_channels);
  tcase_add_test(c, conv_channels_symbolic);
  tcase_add_test(c, conv_windows_symbolic);
  tcase_add_test(c, conv_direct_symbolic);
  tcase_add_test(c, conv_direct_symbolic_images);
  tcase_add_test(c, conv_transposed_input);
  tcase_add_test(c, planned);
  tcase_add_test(c, proc);
  tcase_add_test(c, sharing);
  suite_add_tcase(s, c);
  return s;
}

int main(void) {
  SRunner *runner = srunner_create(suite());
  srunner_run_all(runner, CK_NORMAL);
  const int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
