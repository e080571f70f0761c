/* Loops, branches, grids, and the versions that bounds checks split them into. */
#include "harness.h"

static void for_each_isa(void (*check)(const tsr_cpu_isa *isa)) {
  tsr_cpu_isa isas[4];
  int isa_count = host_isas(isas);
  for (int i = 0; i < isa_count; ++i)
    check(&isas[i]);
}

/* Sums of slices with every kind of unrolling; bounds that are numbers, symbols, empty. */
static void check_loops(const tsr_cpu_isa *isa) {
  static const int unrolls[] = {0, 1, 2, 4, 7};
  for (size_t u = 0; u < sizeof unrolls / sizeof *unrolls; ++u) {
    char text[2048];
    snprintf(text, sizeof text,
             "dim N in 0..1000\n"
             "kernel @k(%%x: i32[N], out %%y: i32[3]) grid() {\n"
             "  %%z = const {value = 0} : i32\n"
             "  %%a = for %%i in N carry(%%s = %%z) {unroll = %d} {\n"
             "    %%v = load %%x[%%i] : i32\n    %%t = add %%s, %%v : i32\n    yield %%t\n"
             "  } : i32\n"
             "  store %%a, %%y[0]\n"
             "  %%b = for %%j in 2..N step 3 carry(%%s2 = %%z) {unroll = %d} {\n"
             "    %%v2 = load %%x[%%j] : i32\n    %%t2 = add %%s2, %%v2 : i32\n    yield %%t2\n"
             "  } : i32\n"
             "  store %%b, %%y[1]\n"
             "  %%c = for %%l in 1..12 step 2 carry(%%s3 = %%z) {unroll = %d} {\n"
             "    %%v3 = load %%x[%%l] : i32\n    %%t3 = add %%s3, %%v3 : i32\n    yield %%t3\n"
             "  } : i32\n"
             "  store %%c, %%y[2]\n}\n",
             unrolls[u], unrolls[u], unrolls[u]);
    program p;
    program_open(&p, text, isa);
    for (int n = 0; n < 30; ++n) {
      size_t bytes = (size_t)n * sizeof(int32_t);
      int32_t *x = guarded(bytes, true), y[3], expected[3] = {0};
      dim_value dims[] = {{"N", n}, {NULL, 0}};
      fill(TSR_I32, x, n, (uint64_t)n, false);
      for (int i = 0; i < n; ++i) {
        expected[0] += x[i];
        expected[1] += i >= 2 && (i - 2) % 3 == 0 ? x[i] : 0;
        expected[2] += i < 12 && i % 2 == 1 ? x[i] : 0;
      }
      program_run(&p, "k", (void *const[]){x, y}, dims, 1);
      ck_assert_mem_eq(y, expected, sizeof y);
      guarded_free(x, bytes);
    }
    program_close(&p);
  }
}

START_TEST(test_loops) {
  for_each_isa(check_loops);
}
END_TEST

/* y = x w with symbolic M, K, N: checks on rows are asked before the loop, checks on K split it,
 * checks on N become masks. */
static void check_matmul(const tsr_cpu_isa *isa) {
  static const char text[] = "dim M in 0..100\ndim K in 1..100\ndim N in 1..100\n"
                             "kernel @k(%x: f32[M, K], %w: f32[K, N], out %y: f32[M, N])"
                             " grid(%i in M ceildiv 3, %j in N ceildiv 16) {\n"
                             "  %z = const {value = 0} : reg f32[3, 16]\n"
                             "  %acc = for %k in K step 4 carry(%c = %z) {unroll = 2} {\n"
                             "    %a = load %x[%i*3 + $0, %k + $1] : reg f32[3, 4]\n"
                             "    %b = load %w[%k + $0, %j*16 + $1] : reg f32[4, 16]\n"
                             "    %d = contract %a, %b, %c {atom = \"fma.f32\"} : reg f32[3, 16]\n"
                             "    yield %d\n"
                             "  } : reg f32[3, 16]\n"
                             "  store %acc, %y[%i*3 + $0, %j*16 + $1]\n}\n";
  static const int sizes[][3] = {{3, 4, 16}, {1, 1, 1}, {7, 13, 17},
                                 {6, 8, 32}, {5, 9, 3}, {0, 3, 5}};
  program p;
  program_open(&p, text, isa);
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; ++s) {
    int m = sizes[s][0], k = sizes[s][1], n = sizes[s][2];
    size_t x_bytes = (size_t)(m * k) * 4, w_bytes = (size_t)(k * n) * 4,
           y_bytes = (size_t)(m * n) * 4;
    float *x = guarded(x_bytes, true), *w = guarded(w_bytes, true), *y = guarded(y_bytes, true);
    dim_value dims[] = {{"M", m}, {"K", k}, {"N", n}, {NULL, 0}};
    fill(TSR_F32, x, m * k, s, false);
    fill(TSR_F32, w, k * n, s + 50, false);
    int tasks = (m + 2) / 3 * ((n + 15) / 16);
    program_run_tasks(&p, "k", (void *const[]){x, w, y}, dims, 0, tasks / 2);
    program_run_tasks(&p, "k", (void *const[]){x, w, y}, dims, tasks / 2, tasks);
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < n; ++j) {
        double sum = 0;
        for (int l = 0; l < k; ++l)
          sum += (double)x[i * k + l] * (double)w[l * n + j];
        ck_assert_double_eq_tol(sum, (double)y[i * n + j], 1e-3);
      }
    guarded_free(x, x_bytes);
    guarded_free(w, w_bytes);
    guarded_free(y, y_bytes);
  }
  program_close(&p);
}

START_TEST(test_matmul) {
  for_each_isa(check_matmul);
}
END_TEST

/* An infinity in w must not reach the rows and columns beyond x's end: pads are exact zeros, and
 * nothing is multiplied that is not there. */
static void check_padding(const tsr_cpu_isa *isa) {
  static const char text[] = "dim H in 1..50\n"
                             "kernel @conv(%x: f32[H, H], %w: f32[3, 3], out %y: f32[H, H])"
                             " grid(%i in H, %j in H ceildiv 8) {\n"
                             "  %z = const {value = 0} : reg f32[1, 8]\n"
                             "  %acc = for %r in 3 carry(%c = %z) {\n"
                             "    %in = for %s in 3 carry(%c2 = %c) {unroll = 0} {\n"
                             "      %a = load %w[%r, %s] : reg f32[1, 1]\n"
                             "      %b = load %x[%i + %r - 1, %j*8 + %s - 1 + $1] : reg f32[1, 8]\n"
                             "      %m = mul %a, %b : reg f32[1, 8]\n"
                             "      %d = add %c2, %m : reg f32[1, 8]\n"
                             "      yield %d\n"
                             "    } : reg f32[1, 8]\n"
                             "    yield %in\n"
                             "  } : reg f32[1, 8]\n"
                             "  store %acc, %y[%i, %j*8 + $1]\n}\n";
  program p;
  program_open(&p, text, isa);
  for (int h = 1; h < 20; h += 3) {
    size_t bytes = (size_t)(h * h) * 4;
    float *x = guarded(bytes, h % 2), *y = guarded(bytes, h % 2), w[9];
    dim_value dims[] = {{"H", h}, {NULL, 0}};
    fill(TSR_F32, x, h * h, (uint64_t)h, false);
    fill(TSR_F32, w, 9, 5, false);
    program_run(&p, "conv", (void *const[]){x, w, y}, dims, h * ((h + 7) / 8));
    for (int i = 0; i < h; ++i)
      for (int j = 0; j < h; ++j) {
        float sum = 0;
        for (int r = -1; r < 2; ++r)
          for (int s = -1; s < 2; ++s)
            if (i + r >= 0 && i + r < h && j + s >= 0 && j + s < h)
              sum += w[(r + 1) * 3 + s + 1] * x[(i + r) * h + j + s];
        ck_assert_float_eq_tol(y[i * h + j], sum, 1e-3F);
      }
    guarded_free(x, bytes);
    guarded_free(y, bytes);
  }
  program_close(&p);
}

START_TEST(test_padding) {
  for_each_isa(check_padding);
}
END_TEST

static void check_if(const tsr_cpu_isa *isa) {
  static const char text[] =
      "dim N in 1..100\n"
      "kernel @k(%x: f32[N], out %y: f32[N], out %z: f32[N]) grid(%t in N) {\n"
      "  %a = load %x[%t] : f32\n"
      "  %zero = const {value = 0} : f32\n"
      "  %c = lt %a, %zero : bool\n"
      "  %b = if %c {\n    %n = neg %a : f32\n    yield %n\n  } {\n"
      "    %d = if {cond = %t mod 2 == 0 and %t < N - 2} {\n"
      "      %e = add %a, %a : f32\n      yield %e\n    } {\n      yield %zero\n    } : f32\n"
      "    yield %d\n  } : f32\n"
      "  store %b, %y[%t]\n"
      "  if {cond = %t < 5} {\n    store %a, %z[%t]\n  }\n}\n";
  enum { N = 23 };
  program p;
  float x[N], y[N], z[N] = {0};
  dim_value dims[] = {{"N", N}, {NULL, 0}};
  fill(TSR_F32, x, N, 9, false);
  program_open(&p, text, isa);
  program_run(&p, "k", (void *const[]){x, y, z}, dims, N);
  for (int i = 0; i < N; ++i) {
    float expected = x[i] < 0 ? -x[i] : i % 2 == 0 && i < N - 2 ? 2 * x[i] : 0;
    ck_assert_float_eq(y[i], expected);
    ck_assert_float_eq(z[i], i < 5 ? x[i] : 0);
  }
  program_close(&p);
}

START_TEST(test_if) {
  for_each_isa(check_if);
}
END_TEST

/* Collatz steps up to a limit; a limit of 0 leaves the starts. */
static void check_while(const tsr_cpu_isa *isa) {
  static const char text[] = "dim L in 0..1000\n"
                             "kernel @k(%x: i64[], out %y: i64[2]) grid() {\n"
                             "  %a = load %x[] : i64\n"
                             "  %zero = const {value = 0} : i64\n"
                             "  %one = const {value = 1} : i64\n"
                             "  %two = const {value = 2} : i64\n"
                             "  %three = const {value = 3} : i64\n"
                             "  %v, %n = loop carry(%c = %a, %s = %zero) {limit = L} {\n"
                             "    %r = rem %c, %two : i64\n"
                             "    %h = div %c, %two : i64\n"
                             "    %t = mul %c, %three : i64\n"
                             "    %u = add %t, %one : i64\n"
                             "    %e = eq %r, %zero : bool\n"
                             "    %w = select %e, %h, %u : i64\n"
                             "    %p = add %s, %one : i64\n"
                             "    %m = ne %w, %one : bool\n"
                             "    yield %m, %w, %p\n"
                             "  } : i64, i64\n"
                             "  store %v, %y[0]\n"
                             "  store %n, %y[1]\n}\n";
  static const int64_t cases[][3] = {{100, 1, 16}, {5, 0, 5}, {0, 7, 0}, {1, 22, 1}};
  program p;
  program_open(&p, text, isa);
  for (int i = 0; i < 4; ++i) {
    int64_t x = 7, y[2];
    dim_value dims[] = {{"L", cases[i][0]}, {NULL, 0}};
    program_run(&p, "k", (void *const[]){&x, y}, dims, 1);
    ck_assert_int_eq(y[1], cases[i][2]);
    if (cases[i][0] != 5)
      ck_assert_int_eq(y[0], cases[i][1]);
  }
  program_close(&p);
}

START_TEST(test_while) {
  for_each_isa(check_while);
}
END_TEST

/* Three grid variables with bounds and steps of their own, run in pieces. */
static void check_grid(const tsr_cpu_isa *isa) {
  static const char text[] =
      "dim N in 1..100\n"
      "kernel @k(out %y: i64[N, 3, 4]) grid(%a in N, %b in 0..5 step 2, %c in 4) {\n"
      "  %v = index {value = %a*100 + %b*10 + %c} : i64\n"
      "  store %v, %y[%a, %b floordiv 2, %c]\n}\n";
  enum { N = 5, TASKS = N * 12 };
  dim_value dims[] = {{"N", N}, {NULL, 0}};
  program p;
  program_open(&p, text, isa);
  for (int piece = 1; piece < TASKS; piece += 6) {
    int64_t y[TASKS] = {0};
    for (int begin = 0; begin < TASKS; begin += piece)
      program_run_tasks(&p, "k", (void *const[]){y}, dims, begin,
                        begin + piece < TASKS ? begin + piece : TASKS);
    for (int i = 0; i < TASKS; ++i)
      ck_assert_int_eq(y[i], i / 12 * 100 + i / 4 % 3 * 20 + i % 4);
  }
  program_close(&p);
}

START_TEST(test_grid) {
  for_each_isa(check_grid);
}
END_TEST

/* Several kernels in one image; scratch that a kernel shares between loops. */
static const char fused_text[] =
    "dim N in 1..100\n"
    "kernel @first(%x: f32[N, 24], %w: f32[24, 40], %b: f32[40], %v: f32[40, 16], out %y: f32[N, "
    "16])"
    " grid(%t in N ceildiv 8) {\n"
    "  %h = alloc : l2 f32[8, 40]\n"
    "  for %p in 5 {\n"
    "    %z = const {value = 0} : reg f32[8, 8]\n"
    "    %acc = for %k in 24 carry(%c = %z) {\n"
    "      %a = load %x[%t*8 + $0, %k + $1] : reg f32[8, 1]\n"
    "      %m = load %w[%k + $0, %p*8 + $1] : reg f32[1, 8]\n"
    "      %d = contract %a, %m, %c {atom = \"fma.f32\"} : reg f32[8, 8]\n"
    "      yield %d\n"
    "    } : reg f32[8, 8]\n"
    "    %bias = load %b[%p*8 + $1] : reg f32[1, 8]\n"
    "    %s = add %acc, %bias : reg f32[8, 8]\n"
    "    %zero = const {value = 0} : reg f32[1, 1]\n"
    "    %act = max %s, %zero : reg f32[8, 8]\n"
    "    store %act, %h[$0, %p*8 + $1]\n"
    "  }\n"
    "  %z2 = const {value = 0} : reg f32[8, 16]\n"
    "  %acc2 = for %k2 in 40 carry(%c2 = %z2) {\n"
    "    %a2 = load %h[$0, %k2 + $1] : reg f32[8, 1]\n"
    "    %b2 = load %v[%k2 + $0, $1] : reg f32[1, 16]\n"
    "    %d2 = contract %a2, %b2, %c2 {atom = \"fma.f32\"} : reg f32[8, 16]\n"
    "    yield %d2\n"
    "  } : reg f32[8, 16]\n"
    "  store %acc2, %y[%t*8 + $0, $1]\n}\n"
    "kernel @second(inout %y: f32[N, 16]) grid(%t in N) {\n"
    "  %a = load %y[%t, $0] : reg f32[16]\n"
    "  %m = reduce %a {axes = [0], combine = \"max\"} : reg f32[1]\n"
    "  %b = sub %a, %m : reg f32[16]\n"
    "  store %b, %y[%t, $0]\n}\n";

static void check_fused(const tsr_cpu_isa *isa) {
  enum { N = 19 };
  program p;
  dim_value dims[] = {{"N", N}, {NULL, 0}};
  size_t x_bytes = N * 24 * 4, y_bytes = N * 16 * 4;
  float *x = guarded(x_bytes, true), *y = guarded(y_bytes, true), w[24 * 40], b[40], v[40 * 16];
  fill(TSR_F32, x, N * 24, 1, false);
  fill(TSR_F32, w, 24 * 40, 2, false);
  fill(TSR_F32, b, 40, 3, false);
  fill(TSR_F32, v, 40 * 16, 4, false);
  program_open(&p, fused_text, isa);
  program_run(&p, "first", (void *const[]){x, w, b, v, y}, dims, 3);
  program_run(&p, "second", (void *const[]){y}, dims, N);
  for (int i = 0; i < N; ++i) {
    double h[40], out[16], most = -1e30;
    for (int j = 0; j < 40; ++j) {
      h[j] = (double)b[j];
      for (int k = 0; k < 24; ++k)
        h[j] += (double)x[i * 24 + k] * (double)w[k * 40 + j];
      h[j] = h[j] > 0 ? h[j] : 0;
    }
    for (int j = 0; j < 16; ++j) {
      out[j] = 0;
      for (int k = 0; k < 40; ++k)
        out[j] += h[k] * (double)v[k * 16 + j];
      most = out[j] > most ? out[j] : most;
    }
    for (int j = 0; j < 16; ++j)
      ck_assert_double_eq_tol((double)y[i * 16 + j], out[j] - most, 2e-2);
  }
  program_close(&p);
  guarded_free(x, x_bytes);
  guarded_free(y, y_bytes);
}

START_TEST(test_fused) {
  for_each_isa(check_fused);
}
END_TEST

/* Refused with the op's name. */
START_TEST(test_unsupported) {
  static const struct {
    const char *body, *op;
    tsr_status status;
  } cases[] = {
      {"  %b = mbarrier {arrivals = 1} : l1 i64[1]\n", "mbarrier", TSR_ERR_UNSUPPORTED},
      {"  copy %x[0], %y[0] {shape = [4], atom = \"tma\"}\n", "copy", TSR_ERR_UNSUPPORTED},
      {"  %a = load %x[$0] : reg f32[4]\n  %b = and %a, %a : reg f32[4]\n", "and",
       TSR_ERR_UNSUPPORTED},
  };
  tsr_cpu_isa isas[4];
  host_isas(isas);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
    char text[512];
    program p;
    tsr_diag diag = {0};
    snprintf(text, sizeof text, "kernel @k(%%x: f32[4], out %%y: f32[4]) grid() {\n%s}\n",
             cases[i].body);
    ck_assert_int_eq(program_try(&p, text, &isas[0], false, &diag), cases[i].status);
    ck_assert_str_eq(diag.op, cases[i].op);
    ck_assert_uint_gt(diag.line, 1);
    program_close(&p);
  }
}
END_TEST

/* --- allocation failure --- */

typedef struct counted_allocator {
  tsr_allocator allocator;
  long left; /* calls that still succeed; negative: all */
  long calls, bytes;
} counted_allocator;

static void *counted_allocate(void *context, size_t size, size_t alignment) {
  counted_allocator *counted = context;
  const tsr_allocator *inner = tsr_allocator_default();
  ++counted->calls;
  if (counted->left == 0)
    return NULL;
  counted->left -= counted->left > 0;
  counted->bytes += (long)size;
  return inner->allocate(inner->context, size, alignment);
}

static void counted_release(void *context, void *memory, size_t size) {
  counted_allocator *counted = context;
  const tsr_allocator *inner = tsr_allocator_default();
  counted->bytes -= memory ? (long)size : 0;
  inner->release(inner->context, memory, size);
}

/* Every allocation of parser and generator in turn fails: a status comes back, nothing leaks. */
START_TEST(test_out_of_memory) {
  tsr_cpu_isa isas[4];
  host_isas(isas);
  long total = 1;
  for (long allowed = -1; allowed < total; ++allowed) {
    counted_allocator counted = {.left = allowed};
    counted.allocator = *tsr_allocator_default();
    counted.allocator.context = &counted;
    counted.allocator.allocate = counted_allocate;
    counted.allocator.release = counted_release;
    tsr_ir *ir = NULL;
    tsr_diag diag = {0};
    tsr_arena arena;
    tsr_cpu_code code;
    tsr_arena_init(&arena, &counted.allocator);
    tsr_status status =
        tsr_ir_parse(&counted.allocator, fused_text, strlen(fused_text), "test.tsr", &diag, &ir);
    if (status == TSR_OK)
      status = tsr_codegen_cpu(ir, &isas[0], NULL, &arena, &diag, &code);
    ck_assert_int_eq(status, allowed < 0 ? TSR_OK : TSR_ERR_OUT_OF_MEMORY);
    if (allowed < 0)
      total = counted.calls;
    tsr_ir_destroy(ir);
    tsr_arena_reset(&arena);
    ck_assert_int_eq(counted.bytes, 0);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("control");
  TCase *control = tcase_create("control");
  tcase_set_timeout(control, 300);
  tcase_add_test(control, test_loops);
  tcase_add_test(control, test_matmul);
  tcase_add_test(control, test_padding);
  tcase_add_test(control, test_if);
  tcase_add_test(control, test_while);
  tcase_add_test(control, test_grid);
  tcase_add_test(control, test_fused);
  tcase_add_test(control, test_unsupported);
  tcase_add_test(control, test_out_of_memory);
  suite_add_tcase(suite, control);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
