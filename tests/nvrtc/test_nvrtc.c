/* NVRTC itself: what it makes, what it says, and the pool and the cache with it. Skipped where it
 * is absent, but for what is said then. */
#include "codegen/cuda/cubin.h"
#include "codegen/cuda/worker.h"
#include "runtime/clock.h"
#include "tests/nvrtc/temporary.h"
#include <check.h>
#include <limits.h>
#include <pthread.h>

static const char empty_kernel[] = "extern \"C\" __global__ void empty(void) {}\n";

/* D = A * B + C of 16x8x16 by one warp; no header, no half type. */
static const char mma_kernel[] =
    "extern \"C\" __global__ void __launch_bounds__(32)\n"
    "mma(const unsigned *a, const unsigned *b, float *c) {\n"
    "  unsigned lane = threadIdx.x;\n"
    "  float d[4] = {0, 0, 0, 0};\n"
    "  asm volatile(\"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 \"\n"
    "               \"{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\"\n"
    "               : \"+f\"(d[0]), \"+f\"(d[1]), \"+f\"(d[2]), \"+f\"(d[3])\n"
    "               : \"r\"(a[lane]), \"r\"(a[lane + 32]), \"r\"(a[lane + 64]),\n"
    "                 \"r\"(a[lane + 96]), \"r\"(b[lane]), \"r\"(b[lane + 32]));\n"
    "  for (int i = 0; i < 4; i++) c[lane * 4 + i] = d[i];\n"
    "}\n";

/* 64 live values in the 32 registers that 2 blocks of 1024 threads leave. */
static const char spilling_kernel[] =
    "extern \"C\" __global__ void __launch_bounds__(1024, 2) spilling(float *p) {\n"
    "  float a[64];\n"
    "#pragma unroll\n"
    "  for (int i = 0; i < 64; i++) a[i] = p[i * 1024 + threadIdx.x];\n"
    "  for (int r = 0; r < p[7]; r++)\n"
    "#pragma unroll\n"
    "    for (int i = 0; i < 64; i++) a[i] = a[i] * a[(i * 7 + 3) % 64] + a[(i + 1) % 64];\n"
    "#pragma unroll\n"
    "  for (int i = 0; i < 64; i++) p[i * 1024 + threadIdx.x] = a[i];\n"
    "}\n";

/* MIDDLE stands between two wgmma of one stage: an addition to the accumulator serialises them. */
#define WGMMA_KERNEL(name, middle)                                                                 \
  "typedef unsigned long long u64;\n"                                                              \
  "__device__ void wgmma(float *c, u64 a, u64 b) {\n"                                              \
  "  asm volatile(\"wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 \"\n"                        \
  "               \"{%0,%1,%2,%3}, %4, %5, 1, 1, 1, 0, 0;\"\n"                                     \
  "               : \"+f\"(c[0]), \"+f\"(c[1]), \"+f\"(c[2]), \"+f\"(c[3]) : \"l\"(a), "           \
  "\"l\"(b));\n"                                                                                   \
  "}\n"                                                                                            \
  "extern \"C\" __global__ void __launch_bounds__(128) " name "(float *p, u64 a, u64 b) {\n"       \
  "  float c[4] = {0, 0, 0, 0};\n"                                                                 \
  "  asm volatile(\"wgmma.fence.sync.aligned;\" ::: \"memory\");\n"                                \
  "  wgmma(c, a, b);\n" middle "  wgmma(c, a + 16, b + 16);\n"                                     \
  "  asm volatile(\"wgmma.commit_group.sync.aligned;\" ::: \"memory\");\n"                         \
  "  asm volatile(\"wgmma.wait_group.sync.aligned 0;\" ::: \"memory\");\n"                         \
  "  for (int i = 0; i < 4; i++) p[threadIdx.x * 4 + i] = c[i];\n"                                 \
  "}\n"

static const char wgmma_kernel[] = WGMMA_KERNEL("clean", "");
static const char serial_kernel[] = WGMMA_KERNEL("serial", "  c[0] += 1.0f;\n");

static const char setmaxnreg_kernel[] = "extern \"C\" __global__ void roles(float *p) {\n"
                                        "  asm volatile(\"setmaxnreg.dec.sync.aligned.u32 40;\");\n"
                                        "  p[threadIdx.x] = 1;\n"
                                        "}\n";

static tsr_nvrtc *nvrtc;
static tsr_arena arena;

static void set_up(void) {
  tsr_diag diag = {0};
  tsr_arena_init(&arena, tsr_allocator_default());
  ck_assert_int_eq(tsr_nvrtc_open(tsr_allocator_default(), NULL, &nvrtc, &diag), TSR_OK);
}

static void tear_down(void) {
  tsr_nvrtc_close(nvrtc);
  tsr_arena_reset(&arena);
}

static tsr_cuda_output compile(const char *text, const char *arch, uint32_t want) {
  tsr_cuda_source source = {text, "the kernel", arch, NULL, 0, want};
  tsr_cuda_output output;
  tsr_diag diag = {0};
  tsr_status status = tsr_nvrtc_compile(nvrtc, &source, &arena, &output, &diag);
  ck_assert_msg(status == TSR_OK, "%s", diag.message);
  return output;
}

static tsr_cuda_kernel_record record_of(const char *text, const char *arch) {
  tsr_cuda_output output = compile(text, arch, TSR_CUDA_CUBIN);
  tsr_cuda_report report;
  tsr_diag diag = {0};
  tsr_status status =
      tsr_cuda_report_make(output.cubin, output.cubin_size, output.log, &arena, &report, &diag);
  ck_assert_msg(status == TSR_OK, "%s", diag.message);
  ck_assert_uint_eq(report.kernel_count, 1);
  return report.kernels[0];
}

START_TEST(it_says_who_it_is) {
  int major, minor;
  char prefix[32];
  tsr_nvrtc *again;
  tsr_nvrtc_version(nvrtc, &major, &minor);
  snprintf(prefix, sizeof prefix, "nvrtc %d.%d ", major, minor);
  ck_assert_int_ge(major, 12);
  ck_assert_int_eq(strncmp(tsr_nvrtc_identity(nvrtc), prefix, strlen(prefix)), 0);
  ck_assert_uint_gt(strlen(tsr_nvrtc_identity(nvrtc)), strlen(prefix) + 8);
  ck_assert_int_eq(tsr_nvrtc_path(nvrtc)[0], '/');
  ck_assert_int_eq(tsr_nvrtc_open(tsr_allocator_default(), tsr_nvrtc_path(nvrtc), &again, NULL),
                   TSR_OK);
  ck_assert_str_eq(tsr_nvrtc_identity(again), tsr_nvrtc_identity(nvrtc));
  tsr_nvrtc_close(again);
  char folder[PATH_MAX];
  snprintf(folder, sizeof folder, "%s", tsr_nvrtc_path(nvrtc));
  *strrchr(folder, '/') = '\0';
  ck_assert_int_eq(tsr_nvrtc_open(tsr_allocator_default(), folder, &again, NULL), TSR_OK);
  tsr_nvrtc_close(again);
}
END_TEST

START_TEST(ptx_and_cubin) {
  static const struct {
    const char *text, *arch, *target, *instruction;
  } cases[] = {{empty_kernel, "sm_80", ".target sm_80", ".entry empty"},
               {mma_kernel, "sm_80", ".target sm_80", "mma.sync.aligned.m16n8k16"},
               {mma_kernel, "sm_90a", ".target sm_90a", "mma.sync.aligned.m16n8k16"},
               {wgmma_kernel, "sm_90a", ".target sm_90a", "wgmma.mma_async"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tsr_cuda_output ptx = compile(cases[i].text, cases[i].arch, TSR_CUDA_PTX);
    ck_assert_ptr_null(ptx.cubin);
    ck_assert_uint_eq(strlen(ptx.ptx), ptx.ptx_size);
    ck_assert_ptr_nonnull(strstr(ptx.ptx, cases[i].target));
    ck_assert_ptr_nonnull(strstr(ptx.ptx, cases[i].instruction));
    tsr_cuda_output both = compile(cases[i].text, cases[i].arch, TSR_CUDA_PTX | TSR_CUDA_CUBIN);
    ck_assert_ptr_nonnull(strstr(both.ptx, cases[i].target));
    ck_assert_mem_eq(both.cubin, "\177ELF", 4);
  }
}
END_TEST

START_TEST(virtual_architectures_give_ptx_alone) {
  tsr_cuda_source source = {empty_kernel, NULL, "compute_80", NULL, 0, TSR_CUDA_CUBIN};
  tsr_cuda_output output = compile(empty_kernel, "compute_80", TSR_CUDA_PTX);
  ck_assert_ptr_nonnull(strstr(output.ptx, ".target sm_80"));
  ck_assert_int_eq(tsr_nvrtc_compile(nvrtc, &source, &arena, &output, NULL), TSR_ERR_ARGUMENT);
  source.arch = "sm_80";
  source.want = 0;
  ck_assert_int_eq(tsr_nvrtc_compile(nvrtc, &source, &arena, &output, NULL), TSR_ERR_ARGUMENT);
}
END_TEST

static tsr_status refuse(const char *text, const char *arch, const char *option, tsr_diag *diag) {
  tsr_cuda_source source = {text, "MatMul_7", arch, &option, option != NULL, TSR_CUDA_PTX};
  tsr_cuda_output output;
  *diag = (tsr_diag){0};
  return tsr_nvrtc_compile(nvrtc, &source, &arena, &output, diag);
}

START_TEST(failures_say_what_and_where) {
  tsr_diag diag;
  ck_assert_int_eq(refuse("void f() { undeclared(1); }", "sm_80", NULL, &diag), TSR_ERR_INTERNAL);
  ck_assert_ptr_nonnull(strstr(diag.message, "MatMul_7 does not compile for sm_80"));
  ck_assert_ptr_nonnull(strstr(diag.message, "kernel.cu(1): error"));
  ck_assert_ptr_nonnull(strstr(diag.message, "undeclared"));
  ck_assert_ptr_null(strchr(diag.message, '\n'));
  ck_assert_int_eq(refuse(empty_kernel, "sm_20", NULL, &diag), TSR_ERR_UNSUPPORTED);
  ck_assert_ptr_nonnull(strstr(diag.message, "sm_20"));
  ck_assert_int_eq(refuse(empty_kernel, "sm_80", "--no-such-option", &diag), TSR_ERR_UNSUPPORTED);
  ck_assert_ptr_nonnull(strstr(diag.message, "--no-such-option"));
}
END_TEST

START_TEST(options_reach_the_compiler) {
  static const char *const options[] = {"-DNAME=renamed"};
  tsr_cuda_source source = {
      "extern \"C\" __global__ void NAME(void) {}", NULL, "sm_80", options, 1, TSR_CUDA_PTX};
  tsr_cuda_output output;
  ck_assert_int_eq(tsr_nvrtc_compile(nvrtc, &source, &arena, &output, NULL), TSR_OK);
  ck_assert_ptr_nonnull(strstr(output.ptx, ".entry renamed"));
}
END_TEST

START_TEST(clean_kernels_are_kept) {
  tsr_cuda_kernel_record mma = record_of(mma_kernel, "sm_80");
  ck_assert_str_eq(mma.name, "mma");
  ck_assert_int_eq(mma.max_threads, 32);
  ck_assert_int_ge(mma.registers, 10);
  ck_assert_int_eq(mma.spill_store_bytes, 0);
  ck_assert_int_ge(mma.constant_bytes, 24);
  ck_assert_msg(mma.reason == NULL, "%s", mma.reason);
  tsr_cuda_kernel_record wgmma = record_of(wgmma_kernel, "sm_90a");
  ck_assert_msg(wgmma.reason == NULL, "%s", wgmma.reason);
}
END_TEST

START_TEST(spilling_and_serialised_kernels_are_rejected) {
  tsr_cuda_kernel_record spilling = record_of(spilling_kernel, "sm_80");
  ck_assert_int_eq(spilling.registers, 32);
  ck_assert_int_gt(spilling.spill_store_bytes, 0);
  ck_assert_int_gt(spilling.spill_load_bytes, 0);
  ck_assert_int_gt(spilling.stack_bytes, 0);
  ck_assert_ptr_nonnull(strstr(spilling.reason, "registers are spilled"));
  tsr_cuda_kernel_record serial = record_of(serial_kernel, "sm_90a");
  ck_assert_uint_ge(serial.warning_count, 1);
  ck_assert_ptr_nonnull(strstr(serial.reason, "(C75"));
  tsr_cuda_kernel_record roles = record_of(setmaxnreg_kernel, "sm_90a");
  ck_assert_ptr_nonnull(strstr(roles.reason, "setmaxnreg"));
}
END_TEST

/* Real kernels through processes and cache: the second pool compiles nothing, and gives the same
 * bytes. */
START_TEST(pool_and_cache) {
  static const char *const argv[] = {"/proc/self/exe", "--worker", NULL};
  static const char *const texts[] = {empty_kernel, mma_kernel, "error", mma_kernel,
                                      spilling_kernel};
  char folder[256];
  tsr_compile_cache *cache;
  tsr_compile_pool *pool;
  tsr_cuda_source sources[5];
  tsr_compile_result results[2][5];
  make_folder(folder, sizeof folder);
  ck_assert_int_eq(tsr_compile_cache_open(tsr_allocator_default(), folder, 0, &cache, NULL),
                   TSR_OK);
  for (int i = 0; i < 5; i++)
    sources[i] = (tsr_cuda_source){texts[i], NULL, "sm_80", NULL, 0, TSR_CUDA_PTX | TSR_CUDA_CUBIN};
  for (int round = 0; round < 2; round++) {
    tsr_compile_pool_options options = {round == 0 ? argv : NULL, nvrtc, NULL, cache, 2, 0};
    ck_assert_int_eq(tsr_compile_pool_create(tsr_allocator_default(), &options, &pool, NULL),
                     TSR_OK);
    ck_assert_int_eq(tsr_compile_pool_run(pool, sources, 5, &arena, results[round], NULL), TSR_OK);
    tsr_compile_pool_destroy(pool);
  }
  for (int i = 0; i < 5; i++) {
    const tsr_compile_result *first = &results[0][i], *second = &results[1][i];
    ck_assert_int_eq(first->status, i == 2 ? TSR_ERR_INTERNAL : TSR_OK);
    ck_assert_int_eq(first->duplicate, i == 3);
    ck_assert_int_eq(second->status, first->status);
    ck_assert_int_eq(second->from_cache, i != 2);
    ck_assert_uint_eq(second->output.cubin_size, first->output.cubin_size);
    if (i == 2)
      continue;
    ck_assert_mem_eq(second->output.cubin, first->output.cubin, first->output.cubin_size);
    ck_assert_str_eq(second->output.log, first->output.log);
    ck_assert_uint_eq(first->report.kernel_count, 1);
    ck_assert_int_eq(second->report.kernels[0].registers, first->report.kernels[0].registers);
    ck_assert_int_eq(tsr_cuda_report_rejected(&first->report) != NULL, i == 4);
    ck_assert_int_eq(tsr_cuda_report_rejected(&second->report) != NULL, i == 4);
  }
  ck_assert_ptr_nonnull(strstr(results[0][2].message, "does not compile"));
  tsr_compile_cache_close(cache);
  remove_folder(folder);
}
END_TEST

typedef struct job {
  const char *text, *instruction;
  bool right;
} job;

static void *compile_in_thread(void *context) {
  job *self = context;
  tsr_arena local;
  tsr_cuda_output output;
  tsr_cuda_source source = {self->text, NULL, "sm_90a", NULL, 0, TSR_CUDA_PTX | TSR_CUDA_CUBIN};
  tsr_arena_init(&local, tsr_allocator_default());
  self->right = true;
  for (int i = 0; i < 3; i++)
    self->right = self->right &&
                  tsr_nvrtc_compile(nvrtc, &source, &local, &output, NULL) == TSR_OK &&
                  strstr(output.ptx, self->instruction) != NULL;
  tsr_arena_reset(&local);
  return NULL;
}

START_TEST(threads_compile_side_by_side) {
  job jobs[] = {{empty_kernel, ".entry empty", false},
                {mma_kernel, "mma.sync", false},
                {wgmma_kernel, "wgmma.mma_async", false}};
  pthread_t threads[3];
  for (int i = 0; i < 3; i++)
    ck_assert_int_eq(pthread_create(&threads[i], NULL, compile_in_thread, &jobs[i]), 0);
  for (int i = 0; i < 3; i++) {
    pthread_join(threads[i], NULL);
    ck_assert(jobs[i].right);
  }
}
END_TEST

/* Figures for the reader of the log, not a bound. */
START_TEST(timings) {
  static const struct {
    const char *what, *text, *arch;
  } cases[] = {{"empty", empty_kernel, "sm_90a"},
               {"mma.sync", mma_kernel, "sm_80"},
               {"wgmma", wgmma_kernel, "sm_90a"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (uint32_t want = TSR_CUDA_PTX; want <= TSR_CUDA_CUBIN; want++) {
      int64_t begin = tsr_time_ns();
      (void)compile(cases[i].text, cases[i].arch, want);
      printf("%s for %s to %s: %.1f ms\n", cases[i].what, cases[i].arch,
             want == TSR_CUDA_PTX ? "PTX" : "CUBIN", (double)(tsr_time_ns() - begin) / 1e6);
    }
}
END_TEST

START_TEST(absence_is_explained) {
  tsr_nvrtc *none;
  tsr_diag diag = {0};
  ck_assert_int_eq(tsr_nvrtc_open(tsr_allocator_default(), "/nowhere", &none, &diag),
                   TSR_ERR_DEVICE);
  ck_assert_ptr_null(none);
  static const char *const parts[] = {"/nowhere", "libnvrtc.so.13", "nvidia-cuda-nvrtc",
                                      "TESSERA_NVRTC", "target cpu"};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    ck_assert_msg(strstr(diag.message, parts[i]) != NULL, "%s", diag.message);
  ck_assert_int_eq(setenv("TESSERA_NVRTC", "/elsewhere", 1), 0);
  diag = (tsr_diag){0};
  ck_assert_int_eq(tsr_nvrtc_open(tsr_allocator_default(), NULL, &none, &diag), TSR_ERR_DEVICE);
  ck_assert_ptr_nonnull(strstr(diag.message, "/elsewhere"));
}
END_TEST

/* Some other library is not taken for NVRTC. */
START_TEST(another_library_is_refused) {
  tsr_nvrtc *none;
  tsr_diag diag = {0};
  char libc[PATH_MAX] = "";
  FILE *maps = fopen("/proc/self/maps", "r");
  char line[PATH_MAX];
  while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
    if (strstr(line, "/libc.so.6") != NULL || strstr(line, "/libc-2") != NULL)
      sscanf(strchr(line, '/'), "%4095s", libc);
  if (maps != NULL)
    fclose(maps);
  ck_assert_int_eq(libc[0], '/');
  ck_assert_int_eq(tsr_nvrtc_open(tsr_allocator_default(), libc, &none, &diag), TSR_ERR_DEVICE);
  ck_assert_ptr_nonnull(strstr(diag.message, "lacks nvrtc"));
}
END_TEST

static void add_tests_of_nvrtc(Suite *suite) {
  TCase *tests = tcase_create("nvrtc");
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_add_test(tests, it_says_who_it_is);
  tcase_add_test(tests, ptx_and_cubin);
  tcase_add_test(tests, virtual_architectures_give_ptx_alone);
  tcase_add_test(tests, failures_say_what_and_where);
  tcase_add_test(tests, options_reach_the_compiler);
  tcase_add_test(tests, clean_kernels_are_kept);
  tcase_add_test(tests, spilling_and_serialised_kernels_are_rejected);
  tcase_add_test(tests, pool_and_cache);
  tcase_add_test(tests, threads_compile_side_by_side);
  tcase_add_test(tests, timings);
  suite_add_tcase(suite, tests);
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--worker") == 0)
    return tsr_worker_main();
  Suite *suite = suite_create("nvrtc");
  TCase *absence = tcase_create("absence");
  tsr_diag diag = {0};
  tcase_add_test(absence, absence_is_explained);
  tcase_add_test(absence, another_library_is_refused);
  suite_add_tcase(suite, absence);
  bool present = tsr_nvrtc_open(tsr_allocator_default(), NULL, &nvrtc, &diag) == TSR_OK;
  if (present) {
    printf("%s in %s\n", tsr_nvrtc_identity(nvrtc), tsr_nvrtc_path(nvrtc));
    tsr_nvrtc_close(nvrtc);
    add_tests_of_nvrtc(suite);
  } else {
    printf("SKIP: %s\n", diag.message);
  }
  fflush(stdout);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0 ? 1 : present ? 0 : 77;
}
