/* Figures read back from CUBINs and logs that are kept as files; no compiler is needed. */
#include "codegen/cuda/cubin.h"
#include "tests/nvrtc/failing.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CORPUS "tests/fuzz/corpus/cubin/"

static tsr_arena arena;
static uint8_t bytes[1 << 16];
static size_t size;

static void set_up(void) {
  tsr_arena_init(&arena, tsr_allocator_default());
}

static void tear_down(void) {
  tsr_arena_reset(&arena);
}

static void read_file(const char *path) {
  FILE *file = fopen(path, "rb");
  ck_assert_msg(file != NULL, "%s: run from the root of the repository", path);
  size = fread(bytes, 1, sizeof bytes - 1, file);
  fclose(file);
  bytes[size] = 0;
}

static tsr_cuda_report report_of(const char *path, const char *log) {
  tsr_cuda_report report;
  tsr_diag diag = {0};
  read_file(path);
  tsr_status status = tsr_cuda_report_make(bytes, size, log, &arena, &report, &diag);
  ck_assert_msg(status == TSR_OK, "%s", diag.message);
  return report;
}

/* The kernels are in the order of their symbols; what the log says is unknown without one. */
START_TEST(figures_of_the_cubin) {
  tsr_cuda_report report = report_of(CORPUS "two_kernels_sm80", NULL);
  const tsr_cuda_kernel_record *staged = tsr_cuda_report_find(&report, "staged");
  const tsr_cuda_kernel_record *empty = tsr_cuda_report_find(&report, "empty");
  ck_assert_uint_eq(report.kernel_count, 2);
  ck_assert_ptr_nonnull(staged);
  ck_assert_ptr_nonnull(empty);
  ck_assert_ptr_null(tsr_cuda_report_find(&report, "stage"));
  ck_assert_int_eq(staged->registers, 12);
  ck_assert_int_eq(staged->shared_bytes, 400);
  ck_assert_int_eq(staged->constant_bytes, 364);
  ck_assert_int_eq(staged->stack_bytes, 0);
  ck_assert_int_eq(staged->max_threads, 0);
  ck_assert_int_eq(staged->barriers, TSR_CUDA_UNKNOWN);
  ck_assert_int_eq(staged->spill_store_bytes, TSR_CUDA_UNKNOWN);
  ck_assert_int_eq(empty->registers, 4);
  ck_assert_int_eq(empty->max_threads, 256);
  ck_assert_int_eq(empty->shared_bytes, 0);
  ck_assert_ptr_null(tsr_cuda_report_rejected(&report));
}
END_TEST

static const char two_kernels[] =
    "ptxas info    : Compiling entry function 'empty' for 'sm_80'\n"
    "ptxas info    : Function properties for empty\n"
    "ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
    "ptxas info    : Used 4 registers, used 0 barriers, 352 bytes cmem[0]\n"
    "ptxas info    : Compiling entry function 'staged' for 'sm_80'\n"
    "ptxas info    : Function properties for staged\n"
    "ptxas         .     8 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads\n"
    "ptxas info    : Used 12 registers, used 3 barriers, 400 bytes smem\n"
    "ptxas info    : Function properties for helper\n"
    "ptxas         .     8 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads";

START_TEST(a_spill_rejects) {
  tsr_cuda_report report = report_of(CORPUS "two_kernels_sm80", two_kernels);
  const tsr_cuda_kernel_record *staged = tsr_cuda_report_find(&report, "staged");
  const tsr_cuda_kernel_record *empty = tsr_cuda_report_find(&report, "empty");
  ck_assert_int_eq(empty->spill_store_bytes, 0);
  ck_assert_int_eq(empty->barriers, 0);
  ck_assert_ptr_null(empty->reason);
  ck_assert_int_eq(staged->spill_store_bytes, 16);
  ck_assert_int_eq(staged->spill_load_bytes, 20);
  ck_assert_int_eq(staged->barriers, 3);
  ck_assert_str_eq(staged->reason,
                   "registers are spilled: 16 bytes stored, 20 bytes loaded at 12 registers");
  ck_assert_ptr_eq(tsr_cuda_report_rejected(&report), staged);
}
END_TEST

START_TEST(a_spill_of_no_known_kernel_rejects_all) {
  tsr_cuda_report report =
      report_of(CORPUS "two_kernels_sm80", "0 bytes spill stores, 4 bytes spill loads");
  for (uint32_t i = 0; i < report.kernel_count; i++)
    ck_assert_ptr_nonnull(report.kernels[i].reason);
}
END_TEST

/* Every number of the family, whatever follows; nothing that only looks like one. */
START_TEST(every_c75xx_rejects) {
  char log[200];
  for (int number = 7500; number < 7600; number++) {
    snprintf(log, sizeof log, "ptxas info : (C%d) of whatever kind in the function 'serial'\n",
             number);
    tsr_cuda_report report = report_of(CORPUS "wgmma_sm90a", log);
    const tsr_cuda_kernel_record *serial = tsr_cuda_report_find(&report, "serial");
    ck_assert_uint_eq(serial->warning_count, 1);
    ck_assert_ptr_eq(serial->reason, serial->warning);
    ck_assert_ptr_eq(tsr_cuda_report_rejected(&report), serial);
    ck_assert_ptr_null(tsr_cuda_report_find(&report, "clean")->reason);
  }
  tsr_cuda_report none =
      report_of(CORPUS "wgmma_sm90a", "(C7600) (C75) (C751) (C75120) C7510\n(C75");
  ck_assert_ptr_null(tsr_cuda_report_rejected(&none));
}
END_TEST

START_TEST(a_warning_without_a_name_is_for_all) {
  tsr_cuda_report report =
      report_of(CORPUS "wgmma_sm90a", "ptxas info : (C7508) 'setmaxnreg' ignored\n"
                                      "ptxas info : (C7510) serialized in the function 'clean'\n");
  ck_assert_uint_eq(report.kernel_count, 3);
  for (uint32_t i = 0; i < 3; i++)
    ck_assert_uint_eq(report.kernels[i].warning_count,
                      strcmp(report.kernels[i].name, "clean") == 0 ? 2 : 1);
}
END_TEST

START_TEST(other_bytes_are_refused) {
  tsr_cuda_report report;
  tsr_diag diag = {0};
  ck_assert_int_eq(tsr_cuda_report_make((const uint8_t *)"", 0, NULL, &arena, &report, &diag),
                   TSR_ERR_FORMAT);
  ck_assert_uint_eq(report.kernel_count, 0);
  read_file("/proc/self/exe");
  ck_assert_int_eq(tsr_cuda_report_make(bytes, size, NULL, &arena, &report, NULL), TSR_ERR_FORMAT);
}
END_TEST

/* A copy of just the size, so that a sanitizer sees what is read behind it. */
static tsr_status read_copy(size_t length, tsr_cuda_report *report) {
  uint8_t *copy = malloc(length > 0 ? length : 1);
  ck_assert_ptr_nonnull(copy);
  memcpy(copy, bytes, length);
  tsr_status status = tsr_cuda_report_make(copy, length, NULL, &arena, report, NULL);
  free(copy);
  tsr_arena_reset(&arena);
  return status;
}

START_TEST(cut_and_changed_cubins_do_no_harm) {
  tsr_cuda_report report;
  int refused = 0;
  read_file(CORPUS "two_kernels_sm80");
  for (size_t length = 0; length < size; length++)
    refused += read_copy(length, &report) == TSR_ERR_FORMAT;
  ck_assert_int_gt(refused, 1000);
  for (size_t i = 0; i < size; i++) {
    static const uint8_t flips[] = {0xff, 0x80, 0x01};
    for (size_t f = 0; f < sizeof flips; f++) {
      bytes[i] ^= flips[f];
      tsr_status status = read_copy(size, &report);
      ck_assert(status == TSR_OK || status == TSR_ERR_FORMAT || status == TSR_ERR_LIMIT);
      bytes[i] ^= flips[f];
    }
  }
  ck_assert_int_eq(read_copy(size, &report), TSR_OK);
}
END_TEST

START_TEST(memory_may_be_out) {
  tsr_status status = TSR_ERR_OUT_OF_MEMORY;
  int64_t calls = 0;
  read_file(CORPUS "two_kernels_sm80");
  for (; status != TSR_OK; calls++) {
    failing_allocator failing;
    tsr_arena scarce;
    tsr_cuda_report report;
    failing_init(&failing, calls);
    tsr_arena_init(&scarce, &failing.allocator);
    status = tsr_cuda_report_make(bytes, size, two_kernels, &scarce, &report, NULL);
    ck_assert(status == TSR_OK || status == TSR_ERR_OUT_OF_MEMORY);
    tsr_arena_reset(&scarce);
    ck_assert_int_eq(failing.live, 0);
  }
  ck_assert_int_gt(calls, 1);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("cubin");
  TCase *tests = tcase_create("cubin");
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_add_test(tests, figures_of_the_cubin);
  tcase_add_test(tests, a_spill_rejects);
  tcase_add_test(tests, a_spill_of_no_known_kernel_rejects_all);
  tcase_add_test(tests, every_c75xx_rejects);
  tcase_add_test(tests, a_warning_without_a_name_is_for_all);
  tcase_add_test(tests, other_bytes_are_refused);
  tcase_add_test(tests, cut_and_changed_cubins_do_no_harm);
  tcase_add_test(tests, memory_may_be_out);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
