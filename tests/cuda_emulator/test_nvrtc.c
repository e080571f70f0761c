/* The very texts that the emulated device runs compile with NVRTC, without spills and C75xx
 * warnings, and so does every device primitive. */
#include "codegen/cuda/cubin.h"
#include "codegen/cuda/device/device_text.h"
#include "tests/cuda_emulator/kernel_cases.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/allocator.h>

#define TILE_PREFIX                                                                                \
  "#define WIDTH 64\n#define DEFINE TSR_WGMMA_S8(32)\n#define ACC int\n"                           \
  "#define WGMMA tsr_wgmma_s8_64x32_kk\n#define HOLD tsr_wgmma_hold_s32\n"

static const kernel_case others[] = {
    {"primitives_sm80", "primitives_sm80", "", 80, NULL, 0, 0, false},
    {"primitives_sm90", "primitives_sm90", "", 90, NULL, 0, 0, false},
    {"convert", "convert", "", 80, NULL, 0, 0, false},
    {"cluster", "cluster", "", 90, NULL, 0, 0, false},
    {"wgmma_major", "wgmma_major", "", 90, NULL, 0, 0, false},
    {"wgmma_tile", "wgmma_tile", TILE_PREFIX, 90, NULL, 0, 0, false},
};
enum { PRIMITIVES = 2, OTHERS = 6 };

static const kernel_case *any_case(int i) {
  return i < OTHERS ? &others[i] : &kernel_cases[i - OTHERS];
}

static void compile(const tsr_nvrtc *nvrtc, const char *text, const char *name, const char *arch) {
  tsr_arena arena;
  tsr_arena_init(&arena, tsr_allocator_default());
  tsr_diag diag = {0};
  tsr_cuda_source source = {
      .text = text, .name = name, .arch = arch, .want = TSR_CUDA_PTX | TSR_CUDA_CUBIN};
  tsr_cuda_output output;
  tsr_cuda_report report;
  tsr_status status = tsr_nvrtc_compile(nvrtc, &source, &arena, &output, &diag);
  ck_assert_msg(status == TSR_OK, "%s for %s: %s", name, arch, diag.message);
  status =
      tsr_cuda_report_make(output.cubin, output.cubin_size, output.log, &arena, &report, &diag);
  ck_assert_msg(status == TSR_OK, "%s for %s: %s", name, arch, diag.message);
  ck_assert_uint_gt(report.kernel_count, 0);
  const tsr_cuda_kernel_record *rejected = tsr_cuda_report_rejected(&report);
  ck_assert_msg(!rejected, "%s for %s: %s is rejected: %s", name, arch,
                rejected ? rejected->name : "", rejected ? rejected->reason : "");
  ck_assert_msg(!strstr(output.log, "warning"), "%s for %s: %s", name, arch, output.log);
  tsr_arena_reset(&arena);
}

START_TEST(text_compiles) {
  const kernel_case *c = any_case(_i);
  tsr_nvrtc *nvrtc = NULL;
  tsr_diag diag = {0};
  ck_assert_int_eq(tsr_nvrtc_open(tsr_allocator_default(), NULL, &nvrtc, &diag), TSR_OK);
  char *kernel = kernel_case_text(c);
  char *text = calloc(1, tsr_cuda_device_text_size + strlen(kernel) + 1);
  memcpy(text, tsr_cuda_device_text, tsr_cuda_device_text_size);
  strcpy(text + tsr_cuda_device_text_size, kernel);
  if (c->arch == 80)
    compile(nvrtc, text, c->name, "sm_80");
  compile(nvrtc, text, c->name, "sm_90a");
  free(kernel);
  free(text);
  tsr_nvrtc_close(nvrtc);
}
END_TEST

/* Both definitions of the primitives have the same names and parameters. */
START_TEST(primitives_compile_for_the_host) {
  tsr_emulator *e = tsr_emulator_create(others[_i].arch);
  char *text = kernel_case_text(&others[_i]);
  ck_assert_msg(tsr_emulator_kernel(e, text, "primitives") != NULL, "%s", tsr_emulator_error(e));
  ck_assert_ptr_null(tsr_emulator_kernel(e, text, "absent"));
  free(text);
  tsr_emulator_destroy(e);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("nvrtc");
  TCase *tc = tcase_create("texts");
  tcase_set_timeout(tc, 120);
  tcase_add_loop_test(tc, primitives_compile_for_the_host, 0, PRIMITIVES);
  tsr_nvrtc *nvrtc = NULL;
  tsr_diag diag = {0};
  bool skip = tsr_nvrtc_open(tsr_allocator_default(), NULL, &nvrtc, &diag) == TSR_ERR_DEVICE;
  tsr_nvrtc_close(nvrtc);
  if (!skip)
    tcase_add_loop_test(tc, text_compiles, 0, OTHERS + kernel_case_count);
  suite_add_tcase(suite, tc);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  if (skip)
    printf("SKIP compiling with NVRTC: %s\n", diag.message);
  return failed ? EXIT_FAILURE : skip ? 77 : EXIT_SUCCESS;
}
