/* Loads and stores with lanes: strides, broadcast, transposed and windowed tiles, masks and pads,
 * gathers and scatters, scratch. Every dtype that memory can hold goes through each. */
#include "harness.h"

static const tsr_dtype dtypes[] = {TSR_F32, TSR_F64, TSR_F16, TSR_BF16, TSR_I8,
                                   TSR_I32, TSR_I64, TSR_U16, TSR_BOOL};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

/* An access of a [rows, lanes] tile of x[A, B]: x[rest_i + row_i * $0 + lane_i * $1]. */
typedef struct pattern {
  int rows, lanes;
  int rest[2], row[2], lane[2];
  double pad;
} pattern;

static const pattern patterns[] = {
    {1, 1, {3, 4}, {0, 0}, {0, 0}, 0},    /* one element */
    {4, 8, {2, 3}, {1, 0}, {0, 1}, 0},    /* a box inside */
    {4, 8, {2, 3}, {0, 1}, {1, 0}, 0},    /* transposed */
    {8, 8, {0, 0}, {0, 1}, {1, 0}, 0},    /* transposed, a square */
    {16, 4, {1, 0}, {0, 1}, {1, 0}, 0},   /* transposed, tall */
    {5, 7, {1, 1}, {0, 1}, {1, 0}, 0},    /* transposed, odd */
    {3, 16, {9, 11}, {1, 0}, {0, 1}, 0},  /* over both ends */
    {3, 16, {-1, -2}, {1, 0}, {0, 1}, 1}, /* over both starts, with a pad */
    {2, 7, {0, 0}, {1, 0}, {0, 2}, 0},    /* stride 2 */
    {2, 7, {0, 13}, {1, 0}, {0, -1}, 0},  /* backwards */
    {2, 9, {0, 5}, {1, 0}, {0, -1}, 1},   /* backwards over the start */
    {2, 6, {0, 1}, {1, 0}, {0, 3}, 0},    /* stride 3 over the end */
    {4, 5, {2, 1}, {2, 0}, {0, 0}, 0},    /* lanes splat */
    {4, 5, {2, 1}, {0, 0}, {0, 1}, 0},    /* rows equal */
    {6, 4, {0, 0}, {1, 0}, {1, 1}, 0},    /* a diagonal */
    {3, 3, {10, 0}, {1, 0}, {1, 0}, 1},   /* windows over the end */
    {1, 33, {1, -3}, {0, 0}, {0, 1}, 0},  /* longer than any register */
    {16, 16, {-3, 4}, {0, 1}, {1, 0}, 1}, /* transposed over the ends */
};
enum { PATTERNS = sizeof patterns / sizeof *patterns, A = 11, B = 17 };

static size_t write_subscripts(char *text, size_t size, const pattern *p, bool dynamic) {
  size_t used = 0;
  for (int axis = 0; axis < 2; ++axis)
    used += (size_t)snprintf(text + used, size - used, "%s%s%d + $0*%d + $1*%d", axis ? ", " : "",
                             dynamic ? (axis ? "%j*32 + " : "%i*32 + ") : "", p->rest[axis],
                             p->row[axis], p->lane[axis]);
  return used;
}

/* Load kernel l, store kernel s; the buffer's dims are numbers or symbols. */
static char *write_program(tsr_dtype dtype, bool symbolic) {
  size_t size = 1 << 16, used = 0;
  char *text = malloc(size);
  const char *type = tsr_dtype_text(dtype);
  char dims[32];
  snprintf(dims, sizeof dims, symbolic ? "P, Q" : "%d, %d", A, B);
  ck_assert_ptr_nonnull(text);
  used += (size_t)snprintf(text, size, "dim P in 1..100\ndim Q in 1..100\n");
  for (int i = 0; i < PATTERNS; ++i) {
    const pattern *p = &patterns[i];
    const char *grid = symbolic ? "%i in P ceildiv 32, %j in Q ceildiv 32" : "";
    char subscripts[256];
    write_subscripts(subscripts, sizeof subscripts, p, symbolic);
    used += (size_t)snprintf(
        text + used, size - used,
        "kernel @l%d(%%x: %s[%s], out %%y: %s[%d, %d]) grid(%s) {\n"
        "  %%a = load %%x[%s] {pad = %g} : reg %s[%d, %d]\n  store %%a, %%y[$0, $1]\n}\n"
        "kernel @s%d(%%x: %s[%d, %d], inout %%y: %s[%s]) grid(%s) {\n"
        "  %%a = load %%x[$0, $1] : reg %s[%d, %d]\n  store %%a, %%y[%s]\n}\n",
        i, type, dims, type, p->rows, p->lanes, grid, subscripts, p->pad, type, p->rows, p->lanes,
        i, type, p->rows, p->lanes, type, dims, grid, type, p->rows, p->lanes, subscripts);
    ck_assert_uint_lt(used, size);
  }
  return text;
}

static bool inside(const pattern *p, int row, int lane, int *out_index) {
  int a = p->rest[0] + row * p->row[0] + lane * p->lane[0];
  int b = p->rest[1] + row * p->row[1] + lane * p->lane[1];
  *out_index = a * B + b;
  return a >= 0 && a < A && b >= 0 && b < B;
}

static void check_load(const program *compiled, int number, tsr_dtype dtype, bool at_end) {
  const pattern *p = &patterns[number];
  char symbol[16];
  dim_value dims[] = {{"P", A}, {"Q", B}, {NULL, 0}};
  size_t x_bytes = A * B * dtype_size(dtype);
  size_t y_bytes = (size_t)(p->rows * p->lanes) * dtype_size(dtype);
  void *x = guarded(x_bytes, at_end), *y = guarded(y_bytes, at_end);
  fill(dtype, x, A * B, (uint64_t)number, false);
  snprintf(symbol, sizeof symbol, "l%d", number);
  program_run(compiled, symbol, (void *const[]){x, y}, dims, 1);
  for (int row = 0; row < p->rows; ++row)
    for (int lane = 0; lane < p->lanes; ++lane) {
      int at = 0;
      double expected = inside(p, row, lane, &at) ? tsr_element_load_f64(dtype, x, at) : p->pad;
      double got = tsr_element_load_f64(dtype, y, row * p->lanes + lane);
      ck_assert_msg(got == expected, "load %d %s [%d, %d]: %g, expected %g", number,
                    tsr_dtype_text(dtype), row, lane, got, expected);
    }
  guarded_free(x, x_bytes);
  guarded_free(y, y_bytes);
}

/* Every stored element, in order of rows and lanes; all others stay. */
static void check_store(const program *compiled, int number, tsr_dtype dtype, bool at_end) {
  const pattern *p = &patterns[number];
  char symbol[16];
  dim_value dims[] = {{"P", A}, {"Q", B}, {NULL, 0}};
  size_t y_bytes = A * B * dtype_size(dtype);
  size_t x_bytes = (size_t)(p->rows * p->lanes) * dtype_size(dtype);
  void *x = guarded(x_bytes, at_end), *y = guarded(y_bytes, at_end), *expected = malloc(y_bytes);
  fill(dtype, x, p->rows * p->lanes, 5 + (uint64_t)number, false);
  fill(dtype, y, A * B, 6 + (uint64_t)number, false);
  ck_assert_ptr_nonnull(expected);
  memcpy(expected, y, y_bytes);
  for (int row = 0; row < p->rows; ++row)
    for (int lane = 0; lane < p->lanes; ++lane) {
      int at = 0;
      if (inside(p, row, lane, &at))
        tsr_element_store_bits(dtype, expected, at,
                               tsr_element_load_bits(dtype, x, row * p->lanes + lane));
    }
  snprintf(symbol, sizeof symbol, "s%d", number);
  program_run(compiled, symbol, (void *const[]){x, y}, dims, 1);
  ck_assert_msg(memcmp(y, expected, y_bytes) == 0, "store %d %s", number, tsr_dtype_text(dtype));
  free(expected);
  guarded_free(x, x_bytes);
  guarded_free(y, y_bytes);
}

START_TEST(test_patterns) {
  tsr_dtype dtype = dtypes[_i];
  tsr_cpu_isa isas[4];
  int isa_count = host_isas(isas);
  bool both = dtype == TSR_F32 || dtype == TSR_I8 || dtype == TSR_BOOL;
  for (int symbolic = both ? 0 : _i % 2; symbolic <= (both ? 1 : _i % 2); ++symbolic) {
    char *text = write_program(dtype, symbolic != 0);
    for (int isa = 0; isa < isa_count; ++isa) {
      program p;
      program_open(&p, text, &isas[isa]);
      for (int i = 0; i < PATTERNS; ++i)
        for (int at_end = 0; at_end < 2; ++at_end) {
          check_load(&p, i, dtype, at_end != 0);
          bool several = patterns[i].row[0] == 0 && patterns[i].row[1] == 0 && patterns[i].rows > 1;
          if (!several)
            check_store(&p, i, dtype, at_end != 0);
        }
      program_close(&p);
    }
    free(text);
  }
}
END_TEST

/* Subscripts under floordiv and mod: an im2col-like view and a row that wraps. */
START_TEST(test_quasi_affine) {
  static const char text[] =
      "kernel @k(%x: f32[6, 6], out %y: f32[9, 4], out %z: f32[12]) grid() {\n"
      "  %a = load %x[$0 floordiv 3 + $1 floordiv 2, $0 mod 3 + $1 mod 2] : reg f32[9, 4]\n"
      "  store %a, %y[$0, $1]\n"
      "  %b = load %x[2, ($0 + 4) mod 6] : reg f32[12]\n"
      "  store %b, %z[($0 + 3) mod 12]\n}\n";
  tsr_cpu_isa isas[4];
  int isa_count = host_isas(isas);
  for (int isa = 0; isa < isa_count; ++isa) {
    program p;
    float x[36], y[36], z[12];
    fill(TSR_F32, x, 36, 3, false);
    program_open(&p, text, &isas[isa]);
    program_run(&p, "k", (void *const[]){x, y, z}, NULL, 1);
    for (int i = 0; i < 9; ++i)
      for (int j = 0; j < 4; ++j)
        ck_assert_float_eq(y[i * 4 + j], x[(i / 3 + j / 2) * 6 + i % 3 + j % 2]);
    for (int j = 0; j < 12; ++j)
      ck_assert_float_eq(z[(j + 3) % 12], x[12 + (j + 4) % 6]);
    program_close(&p);
  }
}
END_TEST

/* Rows and lanes picked by integer tiles, some of them out of range. */
START_TEST(test_gather_scatter) {
  tsr_dtype dtype = dtypes[_i];
  char text[4096];
  const char *type = tsr_dtype_text(dtype);
  snprintf(
      text, sizeof text,
      "dim N in 1..64\n"
      "kernel @k(%%x: %s[N, 5], %%r: i32[8], %%c: i64[6], out %%y: %s[8, 5], out %%z: %s[8, 6],"
      " inout %%w: %s[N, 5]) grid() {\n"
      "  %%rows = load %%r[$0] : reg i32[8, 1]\n"
      "  %%cols = load %%c[$1] : reg i64[1, 6]\n"
      "  %%a = gather_load %%x[%%rows, $1] {pad = 1} : reg %s[8, 5]\n"
      "  store %%a, %%y[$0, $1]\n"
      "  %%b = gather_load %%x[%%rows, %%cols] {pad = 1} : reg %s[8, 6]\n"
      "  store %%b, %%z[$0, $1]\n"
      "  scatter_store %%a, %%w[%%rows, $1]\n}\n",
      type, type, type, type, type, type);
  tsr_cpu_isa isas[4];
  int isa_count = host_isas(isas);
  for (int isa = 0; isa < isa_count; ++isa) {
    program p;
    enum { N = 9 };
    size_t bytes = N * 5 * dtype_size(dtype);
    void *x = guarded(bytes, true), *w = guarded(bytes, true);
    uint64_t y[40] = {0}, z[48] = {0}, expected[48] = {0};
    int32_t r[8] = {3, 0, 8, -1, 9, 2, 7, 5};
    int64_t c[6] = {4, 1, 5, -2, 0, 2};
    dim_value dims[] = {{"N", N}, {NULL, 0}};
    fill(dtype, x, N * 5, 11, false);
    fill(dtype, w, N * 5, 12, false);
    memcpy(expected, w, bytes);
    program_open(&p, text, &isas[isa]);
    program_run(&p, "k", (void *const[]){x, r, c, y, z, w}, dims, 1);
    for (int i = 0; i < 8; ++i) {
      bool row = r[i] >= 0 && r[i] < N;
      for (int j = 0; j < 5; ++j) {
        double value = row ? tsr_element_load_f64(dtype, x, r[i] * 5 + j) : 1;
        ck_assert_double_eq(tsr_element_load_f64(dtype, y, i * 5 + j), value);
        if (row)
          tsr_element_store_f64(dtype, expected, r[i] * 5 + j, value);
      }
      for (int j = 0; j < 6; ++j) {
        bool there = row && c[j] >= 0 && c[j] < 5;
        double value = there ? tsr_element_load_f64(dtype, x, r[i] * 5 + c[j]) : 1;
        ck_assert_double_eq(tsr_element_load_f64(dtype, z, i * 6 + j), value);
      }
    }
    ck_assert_mem_eq(w, expected, bytes);
    program_close(&p);
    guarded_free(x, bytes);
    guarded_free(w, bytes);
  }
}
END_TEST

/* Equal addresses in one tile and over tasks; atomic when there are several tasks. */
START_TEST(test_combine) {
  static const char *const names[] = {"add", "mul", "max", "min"};
  static const tsr_dtype types[] = {TSR_F32, TSR_F64, TSR_F16, TSR_I32, TSR_U8, TSR_I64};
  const char *name = names[_i % 4];
  tsr_cpu_isa isas[4];
  int isa_count = host_isas(isas);
  for (size_t t = 0; t < sizeof types / sizeof *types; ++t) {
    tsr_dtype dtype = types[t];
    char text[1024];
    const char *type = tsr_dtype_text(dtype);
    snprintf(text, sizeof text,
             "kernel @k(%%x: %s[12], %%i: i32[12], inout %%y: %s[4]) grid(%%t in %d) {\n"
             "  %%r = load %%i[%%t*%d + $0] : reg i32[%d]\n"
             "  %%a = load %%x[%%t*%d + $0] : reg %s[%d]\n"
             "  scatter_store %%a, %%y[%%r] {combine = \"%s\"}\n}\n",
             type, type, _i < 4 ? 1 : 3, _i < 4 ? 12 : 4, _i < 4 ? 12 : 4, _i < 4 ? 12 : 4, type,
             _i < 4 ? 12 : 4, name);
    for (int isa = 0; isa < isa_count; ++isa) {
      program p;
      uint64_t x[12] = {0}, y[4] = {0};
      int32_t index[12] = {0, 3, 1, 1, 2, -1, 0, 3, 4, 1, 2, 0};
      double expected[4];
      for (int i = 0; i < 12; ++i)
        tsr_element_store_f64(dtype, x, i, i % 3 + 1);
      for (int i = 0; i < 4; ++i)
        tsr_element_store_f64(dtype, y, i, expected[i] = 2);
      for (int i = 0; i < 12; ++i) {
        double value = i % 3 + 1;
        double *at = index[i] >= 0 && index[i] < 4 ? &expected[index[i]] : NULL;
        if (at)
          *at = !strcmp(name, "add")   ? *at + value
                : !strcmp(name, "mul") ? *at * value
                : !strcmp(name, "max") ? (*at > value ? *at : value)
                                       : (*at < value ? *at : value);
      }
      program_open(&p, text, &isas[isa]);
      program_run(&p, "k", (void *const[]){x, index, y}, NULL, _i < 4 ? 1 : 3);
      for (int i = 0; i < 4; ++i)
        ck_assert_msg(tsr_element_load_f64(dtype, y, i) == expected[i], "%s %s", name, type);
      program_close(&p);
    }
  }
}
END_TEST

START_TEST(test_append) {
  static const char text[] =
      "dim N in 0..1000\n"
      "kernel @k(%x: f32[N], inout %n: i64[], inout %ids: i64[N]) grid(%t in N ceildiv 16) {\n"
      "  %a = load %x[%t*16 + $0] : reg f32[16]\n"
      "  %zero = const {value = 0} : reg f32[1]\n"
      "  %m = gt %a, %zero : reg bool[16]\n"
      "  %p = append %m, %n[] : reg i64[16]\n"
      "  %i = index {value = %t*16 + $0} : reg i64[16]\n"
      "  scatter_store %i, %ids[%p]\n}\n";
  tsr_cpu_isa isas[4];
  int isa_count = host_isas(isas);
  for (int isa = 0; isa < isa_count; ++isa) {
    enum { N = 75 };
    program p;
    float x[N];
    int64_t count = 0, ids[N], found = 0;
    dim_value dims[] = {{"N", N}, {NULL, 0}};
    fill(TSR_F32, x, N, 21, false);
    program_open(&p, text, &isas[isa]);
    program_run(&p, "k", (void *const[]){x, &count, ids}, dims, 5);
    for (int i = 0; i < N; ++i)
      if (x[i] > 0)
        ck_assert_int_eq(ids[found++], i);
    ck_assert_int_eq(count, found);
    program_close(&p);
  }
}
END_TEST

/* Scratch between a producer and a consumer, two allocs, a copy of a box. */
START_TEST(test_alloc_copy) {
  static const char text[] =
      "dim N in 1..100\n"
      "kernel @k(%x: f32[N, 9], out %y: f32[N, 9]) grid(%t in N ceildiv 4) {\n"
      "  %s = alloc : l1 f32[4, 9]\n"
      "  %u = alloc : l2 f16[3]\n"
      "  copy %x[%t*4, 0], %s[0, 0] {atom = \"vector\", shape = [4, 9]}\n"
      "  for %i in 4 {\n"
      "    %v = alloc : l1 f32[9]\n"
      "    %a = load %s[%i, 8 - $0] : reg f32[9]\n"
      "    store %a, %v[$0]\n"
      "    %b = load %v[$0] : reg f32[9]\n"
      "    %c = add %b, %b : reg f32[9]\n"
      "    store %c, %s[%i, $0]\n"
      "  }\n"
      "  barrier\n"
      "  copy %s[0, 0], %y[%t*4, 0] {shape = [4, 9]}\n}\n";
  tsr_cpu_isa isas[4];
  int isa_count = host_isas(isas);
  for (int isa = 0; isa < isa_count; ++isa) {
    enum { N = 10 };
    program p;
    dim_value dims[] = {{"N", N}, {NULL, 0}};
    size_t bytes = N * 9 * sizeof(float);
    float *x = guarded(bytes, true), *y = guarded(bytes, true);
    fill(TSR_F32, x, N * 9, 4, false);
    program_open(&p, text, &isas[isa]);
    ck_assert_uint_ge(p.code.kernels[0].scratch_bytes, 4 * 9 * 4 + 9 * 4);
    program_run(&p, "k", (void *const[]){x, y}, dims, 3);
    for (int i = 0; i < N * 9; ++i)
      ck_assert_float_eq(y[i], 2 * x[i / 9 * 9 + 8 - i % 9]);
    program_close(&p);
    guarded_free(x, bytes);
    guarded_free(y, bytes);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("access");
  TCase *access = tcase_create("access");
  tcase_set_timeout(access, 300);
  tcase_add_loop_test(access, test_patterns, 0, DTYPES);
  tcase_add_test(access, test_quasi_affine);
  tcase_add_loop_test(access, test_gather_scatter, 0, DTYPES);
  tcase_add_loop_test(access, test_combine, 0, 8);
  tcase_add_test(access, test_append);
  tcase_add_test(access, test_alloc_copy);
  suite_add_tcase(suite, access);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
