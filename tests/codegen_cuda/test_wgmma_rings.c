/* TMA, rings, roles and wgmma together: the worked example made small, and its relatives by tile,
 * cluster, turns and products under way; under emulation, and the registers that NVRTC gives them.
 */
#include "codegen/cuda/cubin.h"
#include "codegen/cuda/nvrtc.h"
#include "tests/codegen_cuda/device_run.h"

static char text[16384];

#define COUNT(array) ((int)(sizeof(array) / sizeof(*(array))))

/* c = a b', rounded once: dims M and K, `columns` wide. */
static int64_t columns, depth;

static double expect_product(const double *const *in, const int64_t *dims, int64_t i) {
  double sum = 0;
  uint16_t half = 0;
  (void)dims;
  for (int64_t k = 0; k < depth; ++k)
    sum += in[0][i / columns * depth + k] * in[1][i % columns * depth + k];
  tsr_element_store_f64(TSR_F16, &half, 0, sum);
  return tsr_element_load_f64(TSR_F16, &half, 0);
}

static void replace_all(char *where, size_t size, const char *from, const char *to) {
  char copy[sizeof text];
  size_t used = 0;
  ck_assert_uint_lt(strlen(where), sizeof copy);
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

static void read_example(void) {
  FILE *file = fopen("tests/golden/examples/wgmma-gemm/tile.tsr", "rb");
  ck_assert_msg(file, "the test runs in the repository's root");
  text[fread(text, 1, sizeof text - 1, file)] = 0;
  fclose(file);
}

/* 512 columns, 512 deep, two clusters. */
START_TEST(test_example) {
  static const char *const small[][2] = {{"4096", "512"},
                                         {"in 64", "in 8"},
                                         {"*16..", "*2.."},
                                         {")*16", ")*2"},
                                         {"floordiv 16", "floordiv 2"},
                                         {"mod 16", "mod 2"},
                                         {"in 132", "in 4"},
                                         {"step 66", "step 2"}};
  read_example();
  for (int i = 0; i < COUNT(small); ++i)
    replace_all(text, sizeof text, small[i][0], small[i][1]);
  columns = depth = 512;
  run_text(text, "cuda:sm_90a", (const int64_t[]){300}, 1, expect_product, 3);
}
END_TEST

/* Two tiles of columns; K is a dim. The round of the ring goes on from tile to tile. */
static const struct {
  int n, cluster, stages, pending, tasks;
  int64_t m, k;
} shapes[] = {{64, 1, 2, 0, 1, 100, 64},  {64, 1, 3, 1, 2, 300, 192}, {128, 2, 2, 1, 4, 260, 128},
              {64, 2, 3, 0, 2, 257, 320}, {256, 1, 2, 1, 1, 128, 72}, {192, 2, 4, 1, 2, 40, 456}};

static void write_shape(int number, int tasks) {
  int n = shapes[number].n, cluster = shapes[number].cluster, stages = shapes[number].stages;
  int rows = 128 * cluster, share = n / cluster, step = tasks / cluster;
  char round[2][128], attribute[64] = "", multicast[64] = "", mask[64] = "", free_one[256];
  for (int i = 0; i < 2; ++i)
    snprintf(round[i], sizeof round[i],
             "(((%%t%d - %%p floordiv %d) floordiv %d)*(K ceildiv 64) + %%k%d)", i, cluster, step,
             i);
  if (cluster > 1) {
    snprintf(attribute, sizeof attribute, "cluster = [%d], ", cluster);
    snprintf(multicast, sizeof multicast, ", multicast = %d", (1 << cluster) - 1);
    snprintf(mask, sizeof mask, " {multicast = %d}", (1 << cluster) - 1);
  }
  if (shapes[number].pending)
    snprintf(
        free_one, sizeof free_one,
        "        if {cond = 1 <= %%k1} {\n          arrive %%empty[(%s + %d) mod %d]%s\n        "
        "}\n",
        round[1], stages - 1, stages, mask);
  else
    snprintf(free_one, sizeof free_one, "        arrive %%empty[%s mod %d]%s\n", round[1], stages,
             mask);
  int used = snprintf(
      text, sizeof text,
      "dim M in 1..65536\n"
      "dim K in 64..65536\n"
      "kernel @k(%%a: f16[M, K], %%b: f16[%d, K], out %%c: f16[M, %d]) grid(%%p in %d) {%swarps = "
      "12} {\n"
      "  %%sa = alloc {swizzle = 128} : l1 f16[%d, 128, 64]\n"
      "  %%sb = alloc {swizzle = 128} : l1 f16[%d, %d, 64]\n"
      "  %%full = mbarrier {arrivals = 1} : l1 u64[%d]\n"
      "  %%empty = mbarrier {arrivals = %d} : l1 u64[%d]\n"
      "  roles {names = [\"producer\", \"consumer\"], registers = [40, 232], warps = [4, 8]} {\n"
      "    for %%t0 in %%p floordiv %d..(M ceildiv %d)*2 step %d {\n"
      "      for %%k0 in K ceildiv 64 {\n"
      "        wait %%empty[%s mod %d] {parity = (%s floordiv %d + 1) mod 2}\n"
      "        arrive %%full[%s mod %d] {bytes = %d}\n"
      "        copy %%a[(%%t0 floordiv 2)*%d + (%%p mod %d)*128, %%k0*64], %%sa[%s mod %d, 0, 0], "
      "%%full[%s mod %d] {atom = \"tma\", shape = [128, 64]}\n"
      "        copy %%b[(%%t0 mod 2)*%d + (%%p mod %d)*%d, %%k0*64], %%sb[%s mod %d, (%%p mod "
      "%d)*%d, 0], %%full[%s mod %d] {atom = \"tma\"%s, shape = [%d, 64]}\n"
      "      }\n"
      "    }\n"
      "  } {\n",
      2 * n, 2 * n, tasks, attribute, stages, stages, n, stages, cluster, stages, cluster, rows,
      step, round[0], stages, round[0], stages, round[0], stages, (128 + n) * 128, rows, cluster,
      round[0], stages, round[0], stages, n, cluster, share, round[0], stages, cluster, share,
      round[0], stages, multicast, share);
  used += snprintf(
      text + used, sizeof text - (size_t)used,
      "    for %%t1 in %%p floordiv %d..(M ceildiv %d)*2 step %d {\n"
      "      %%z = const {value = 0} : reg f32[128, %d]\n"
      "      %%acc = for %%k1 in K ceildiv 64 carry(%%s = %%z) {\n"
      "        wait %%full[%s mod %d] {parity = (%s floordiv %d) mod 2}\n"
      "        %%d = contract %%sa[%s mod %d, $0, $1], %%sb[%s mod %d, $1, $0], %%s {atom = "
      "\"wgmma.f16\", k = 64, warps = [8, 1]} : reg f32[128, %d]\n"
      "        wait {of = \"contract\", pending = %d}\n"
      "%s"
      "        yield %%d\n"
      "      } : reg f32[128, %d]\n",
      cluster, rows, step, n, round[1], stages, round[1], stages, round[1], stages, round[1],
      stages, n, shapes[number].pending, free_one, n);
  if (shapes[number].pending)
    used += snprintf(text + used, sizeof text - (size_t)used,
                     "      wait {of = \"contract\", pending = 0}\n"
                     "      arrive %%empty[(((%%t1 - %%p floordiv %d) floordiv %d + 1)*(K ceildiv "
                     "64) + %d) mod %d]%s\n",
                     cluster, step, stages - 1, stages, mask);
  used += snprintf(text + used, sizeof text - (size_t)used,
                   "      %%h = cast %%acc : reg f16[128, %d]\n"
                   "      store %%h, %%c[(%%t1 floordiv 2)*%d + (%%p mod %d)*128 + $0, (%%t1 mod "
                   "2)*%d + $1]\n"
                   "    }\n"
                   "  }\n"
                   "%s}\n",
                   n, rows, cluster, n, cluster > 1 ? "  barrier {scope = \"cluster\"}\n" : "");
  ck_assert_uint_lt((size_t)used, sizeof text);
}

START_TEST(test_shape) {
  write_shape(_i, shapes[_i].tasks);
  columns = 2 * shapes[_i].n;
  depth = shapes[_i].k;
  run_text(text, "cuda:sm_90a", (const int64_t[]){shapes[_i].m, shapes[_i].k}, 2, expect_product,
           3);
}
END_TEST

/* Filled by cp.async: what threads wrote is read by wgmma, one product is under way. */
static const char *const pipeline_text =
    "dim M in 1..65536\n"
    "kernel @k(%a: f16[M, 320], %b: f16[128, 320], out %c: f16[M, 128]) grid(%i in M ceildiv 64) "
    "{warps = 4} {\n"
    "  %sa = alloc {swizzle = 128} : l1 f16[4, 64, 64]\n"
    "  %sb = alloc {swizzle = 128} : l1 f16[4, 128, 64]\n"
    "  %z = const {value = 0} : reg f32[64, 128]\n"
    "  %acc = for %k in 5 carry(%s = %z) {stages = 3} {\n"
    "    copy %a[%i*64, %k*64], %sa[%k mod 4, 0, 0] {atom = \"cp.async\", shape = [64, 64]}\n"
    "    copy %b[0, %k*64], %sb[%k mod 4, 0, 0] {atom = \"cp.async\", shape = [128, 64]}\n"
    "    barrier\n"
    "    %d = contract %sa[%k mod 4, $0, $1], %sb[%k mod 4, $1, $0], %s {atom = \"wgmma.f16\", k "
    "= 64, warps = [4, 1]} : reg f32[64, 128]\n"
    "    wait {of = \"contract\", pending = 1}\n"
    "    yield %d\n"
    "  } : reg f32[64, 128]\n"
    "  wait {of = \"contract\", pending = 0}\n"
    "  %h = cast %acc : reg f16[64, 128]\n"
    "  store %h, %c[%i*64 + $0, $1]\n"
    "}\n";

START_TEST(test_filled_by_threads) {
  columns = 128;
  depth = 320;
  run_text(pipeline_text, "cuda:sm_90a", (const int64_t[]){100}, 1, expect_product, 3);
}
END_TEST

START_TEST(test_filled_planted) {
  static const char *const planted[][2] = {{"tsr_fence_proxy_async()", "(void)0"},
                                           {"tsr_copy_async_wait(1)", "tsr_copy_async_wait(2)"},
                                           {"tsr_barrier()", "(void)0"}};
  columns = 128;
  depth = 320;
  run_planted(pipeline_text, "cuda:sm_90a", (const int64_t[]){100}, 1, expect_product, 6,
              planted[_i][0], planted[_i][1]);
}
END_TEST

START_TEST(test_planted) {
  static const char *const planted[][2] = {
      {"tsr_mbarrier_wait(empty", "(void)(empty"}, {"tsr_mbarrier_wait(full", "(void)(full"},
      {"tsr_wgmma_wait(1)", "tsr_wgmma_wait(2)"},  {"tsr_wgmma_fence()", "(void)0"},
      {"tsr_fence_mbarrier_init()", "(void)0"},    {"_advance(da, 32)", "_advance(da, 64)"},
  };
  write_shape(1, shapes[1].tasks);
  columns = 2 * shapes[1].n;
  depth = shapes[1].k;
  run_planted(text, "cuda:sm_90a", (const int64_t[]){shapes[1].m, shapes[1].k}, 2, expect_product,
              6, planted[_i][0], planted[_i][1]);
}
END_TEST

/* --- NVRTC --- */

/* The example, then some of the shapes. */
START_TEST(test_nvrtc) {
  static const char *const options[] = {TSR_CUDA_OPTIONS, "--ptxas-options=-v"};
  tsr_nvrtc *nvrtc = NULL;
  tsr_diag diag = {0};
  device_run r;
  if (tsr_nvrtc_open(tsr_allocator_default(), NULL, &nvrtc, &diag) != TSR_OK) {
    printf("SKIP %s\n", diag.message);
    return;
  }
  if (_i == 0)
    read_example();
  else if (_i < 3)
    write_shape(2 * _i, 132);
  run_open(&r, _i < 3 ? text : pipeline_text, "cuda:sm_90a");
  tsr_cuda_source source = {.text = r.code.kernels[0].source,
                            .arch = "sm_90a",
                            .options = options,
                            .option_count = 2,
                            .want = TSR_CUDA_CUBIN};
  tsr_cuda_output output = {0};
  tsr_cuda_report report;
  tsr_status status = tsr_nvrtc_compile(nvrtc, &source, &r.arena, &output, &diag);
  ck_assert_msg(status == TSR_OK, "%s", diag.message);
  ck_assert_int_eq(
      tsr_cuda_report_make(output.cubin, output.cubin_size, output.log, &r.arena, &report, &diag),
      TSR_OK);
  const tsr_cuda_kernel_record *rejected = tsr_cuda_report_rejected(&report);
  ck_assert_msg(!rejected, "%s", rejected ? rejected->reason : "");
  run_close(&r);
  tsr_nvrtc_close(nvrtc);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("codegen_cuda.wgmma_rings");
  TCase *cases = tcase_create("rings");
  tcase_set_timeout(cases, 120);
  tcase_add_test(cases, test_example);
  tcase_add_loop_test(cases, test_shape, 0, COUNT(shapes));
  tcase_add_test(cases, test_filled_by_threads);
  tcase_add_loop_test(cases, test_filled_planted, 0, 3);
  tcase_add_loop_test(cases, test_planted, 0, 6);
  tcase_add_loop_test(cases, test_nvrtc, 0, 4);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
