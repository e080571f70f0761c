/* The worked examples' tile programs, as they stand in tests/golden/examples, and what their
 * machine code looks like where speed depends on it. */
#include "harness.h"
#include <math.h>

static char *read_text(const char *path) {
  FILE *file = fopen(path, "rb");
  ck_assert_msg(file != NULL, "cannot open %s: run from the repository's root", path);
  ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
  long size = ftell(file);
  ck_assert_int_ge(size, 0);
  rewind(file);
  char *text = calloc(1, (size_t)size + 1);
  ck_assert_ptr_nonnull(text);
  ck_assert_uint_eq(fread(text, 1, (size_t)size, file), (size_t)size);
  fclose(file);
  return text;
}

static float *random_floats(int64_t count, uint64_t seed, float scale) {
  float *data = malloc((size_t)count * sizeof *data);
  ck_assert_ptr_nonnull(data);
  fill(TSR_F32, data, count, seed, false);
  for (int64_t i = 0; i < count; ++i)
    data[i] *= scale;
  return data;
}

static void run_attention(const program *p, int64_t s) {
  enum { B = 1, H = 12, D = 64 };
  int64_t count = B * H * s * D;
  float *q = random_floats(count, 1, 0.5F), *k = random_floats(count, 2, 0.5F);
  float *v = random_floats(count, 3, 1), *o = random_floats(count, 4, 1);
  double *weights = malloc((size_t)s * sizeof *weights);
  dim_value dims[] = {{"B", B}, {"S", s}, {NULL, 0}};
  ck_assert_ptr_nonnull(weights);
  program_run(p, "k0", (void *const[]){q, k, v, o}, dims, B * H * ((s + 7) / 8));
  for (int64_t row = 0; row < B * H * s; row += 7) {
    const float *keys = k + row / s * s * D, *values = v + row / s * s * D;
    double most = -INFINITY, total = 0;
    for (int64_t j = 0; j < s; ++j) {
      weights[j] = 0;
      for (int d = 0; d < D; ++d)
        weights[j] += 0.125 * (double)q[row * D + d] * (double)keys[j * D + d];
      most = weights[j] > most ? weights[j] : most;
    }
    for (int64_t j = 0; j < s; ++j)
      total += weights[j] = exp(weights[j] - most);
    for (int d = 0; d < D; ++d) {
      double sum = 0;
      for (int64_t j = 0; j < s; ++j)
        sum += weights[j] / total * (double)values[j * D + d];
      ck_assert_double_eq_tol(sum, (double)o[row * D + d], 1e-4);
    }
  }
  free(weights);
  free(q);
  free(k);
  free(v);
  free(o);
}

START_TEST(test_attention) {
  char *text = read_text("tests/golden/examples/attention/tile.tsr");
  tsr_cpu_isa isas[4];
  int isa_count = host_isas(isas);
  for (int isa = 0; isa < isa_count; ++isa) {
    program p;
    program_open(&p, text, &isas[isa]);
    run_attention(&p, 1);
    run_attention(&p, 64);
    run_attention(&p, 83);
    program_close(&p);
  }
  free(text);
}
END_TEST

START_TEST(test_fused_mlp) {
  enum { N = 5, K = 768, H = 3072 };
  char *text = read_text("tests/golden/examples/fused-mlp/tile.tsr");
  tsr_cpu_isa isas[4];
  int isa_count = host_isas(isas);
  float *x = random_floats(N * K, 1, 0.1F), *w1 = random_floats(K * H, 2, 0.1F);
  float *b1 = random_floats(H, 3, 1), *w2 = random_floats(K * H, 4, 0.1F);
  float *y = random_floats(N * K, 5, 1);
  double *hidden = calloc(N * H, sizeof *hidden), *expected = calloc(N * K, sizeof *expected);
  ck_assert(hidden && expected);
  for (int i = 0; i < N; ++i) {
    for (int j = 0; j < H; ++j) {
      double sum = (double)b1[j];
      for (int k = 0; k < K; ++k)
        sum += (double)x[i * K + k] * (double)w1[(j / 32 * K + k) * 32 + j % 32];
      hidden[i * H + j] = sum > 0 ? sum : 0;
    }
    for (int j = 0; j < K; ++j)
      for (int k = 0; k < H; ++k)
        expected[i * K + j] += hidden[i * H + k] * (double)w2[(j / 32 * H + k) * 32 + j % 32];
  }
  for (int isa = 0; isa < isa_count; ++isa) {
    program p;
    dim_value dims[] = {{"N", N}, {NULL, 0}};
    program_open(&p, text, &isas[isa]);
    program_run(&p, "k0", (void *const[]){x, w1, b1, w2, y}, dims, 1);
    for (int i = 0; i < N * K; ++i)
      ck_assert_double_eq_tol(expected[i], (double)y[i], 2e-2);
    program_close(&p);
  }
  free(x);
  free(w1);
  free(b1);
  free(w2);
  free(y);
  free(hidden);
  free(expected);
  free(text);
}
END_TEST

/* --- microkernels --- */

/* The text between a label and the next backward jump to it, for the loop with most `needle`s. */
static int loop_counts(const char *assembly, const char *needle, int *out_spills) {
  int best = 0;
  *out_spills = 0;
  for (const char *at = strstr(assembly, "\n.LBB"); at; at = strstr(at + 1, "\n.LBB")) {
    char label[32] = "", jump[64];
    sscanf(at + 1, "%31[^:]", label);
    snprintf(jump, sizeof jump, "\t%s\n", label);
    const char *end = strstr(at, jump), *next = strstr(at + 1, "\n.LBB");
    if (!end || (next && next < end))
      continue;
    int found = 0, spills = 0;
    for (const char *line = at + 1; line < end; line = strchr(line, '\n') + 1) {
      char text[256] = "";
      sscanf(line, "%255[^\n]", text);
      found += strstr(text, needle) != NULL;
      spills += strstr(text, "mm") != NULL && strstr(text, "(%rsp)") != NULL;
    }
    if (found > best) {
      best = found;
      *out_spills = spills;
    }
  }
  return best;
}

/* Register tiles that fill the register file stay in it: a loop of the FMAs and nothing from the
 * stack, though the number of rows is a symbol. */
START_TEST(test_microkernels) {
  static const struct {
    const char *isa;
    int rows, lanes, vector;
  } cases[] = {{":x86-64-v4", 14, 32, 16},
               {":x86-64-v4", 6, 64, 16},
               {":x86-64-v4", 8, 48, 16},
               {":x86-64-v3", 6, 16, 8},
               {":x86-64-v3", 4, 24, 8}};
  tsr_cpu_isa isa;
  tsr_diag diag = {0};
  char text[2048];
  int rows = cases[_i].rows, lanes = cases[_i].lanes, spills = 0;
  snprintf(text, sizeof text,
           "dim N in 1..4096\n"
           "kernel @k(%%x: f32[N, 256], %%w: f32[256, %d], out %%y: f32[N, %d]) "
           "grid(%%t in N ceildiv %d) {\n"
           "  %%z = const {value = 0} : reg f32[%d, %d]\n"
           "  %%acc = for %%k in 256 carry(%%c = %%z) {\n"
           "    %%a = load %%x[%%t*%d + $0, %%k + $1] : reg f32[%d, 1]\n"
           "    %%b = load %%w[%%k + $0, $1] : reg f32[1, %d]\n"
           "    %%d = contract %%a, %%b, %%c {atom = \"fma.f32\"} : reg f32[%d, %d]\n"
           "    yield %%d\n"
           "  } : reg f32[%d, %d]\n"
           "  store %%acc, %%y[%%t*%d + $0, $1]\n}\n",
           lanes, lanes, rows, rows, lanes, rows, rows, lanes, rows, lanes, rows, lanes, rows);
  ck_assert_int_eq(tsr_cpu_isa_parse(cases[_i].isa, &diag, &isa), TSR_OK);
  tsr_arena arena;
  tsr_ir *ir = NULL;
  tsr_cpu_code code;
  tsr_codegen_options options = {.want_assembly = true};
  tsr_arena_init(&arena, tsr_allocator_default());
  ck_assert_int_eq(
      tsr_ir_parse(tsr_allocator_default(), text, strlen(text), "test.tsr", &diag, &ir), TSR_OK);
  ck_assert_int_eq(tsr_codegen_cpu(ir, &isa, &options, &arena, &diag, &code), TSR_OK);
  int found = loop_counts(code.assembly, "vfmadd", &spills);
  ck_assert_int_eq(found, rows * lanes / cases[_i].vector);
  ck_assert_int_eq(spills, 0);
  ck_assert_ptr_null(strstr(code.assembly, "memcpy"));
  ck_assert_ptr_null(strstr(code.assembly, "memset"));
  tsr_ir_destroy(ir);
  tsr_arena_reset(&arena);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("examples");
  TCase *examples = tcase_create("examples");
  tcase_set_timeout(examples, 300);
  tcase_add_test(examples, test_attention);
  tcase_add_test(examples, test_fused_mlp);
  tcase_add_loop_test(examples, test_microkernels, 0, 5);
  suite_add_tcase(suite, examples);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
