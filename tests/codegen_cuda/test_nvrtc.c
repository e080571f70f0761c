/* NVRTC takes the text of every kind of kernel, for each architecture. Prints SKIP where there is
 * no NVRTC. */
#include "codegen/cuda/cubin.h"
#include "codegen/cuda/cuda.h"
#include "codegen/cuda/nvrtc.h"
#include "tests/codegen_cuda/contract_texts.h"
#include "tests/codegen_cuda/texts.h"

static void compile_text(const tsr_nvrtc *nvrtc, const char *text, const char *arch,
                         uint32_t want) {
  tsr_arena arena;
  tsr_ir *ir = NULL;
  tsr_diag diag = {0};
  tsr_target target;
  tsr_cuda_code code;
  char message[4096], name[32];
  static const char *const options[] = {TSR_CUDA_OPTIONS};
  snprintf(name, sizeof name, "cuda:%s", arch);
  tsr_arena_init(&arena, tsr_allocator_default());
  tsr_status status = TSR_ERR_INTERNAL;
  tsr_cuda_report report = {0};
  ck_assert(tsr_target_cuda(name, &target));
  if (tsr_ir_parse(arena.allocator, text, strlen(text), "test.tsr", &diag, &ir) == TSR_OK &&
      tsr_codegen_cuda(ir, &target, &arena, &diag, &code) == TSR_OK) {
    tsr_cuda_source source = {
        .text = code.text, .arch = arch, .options = options, .option_count = 1, .want = want};
    tsr_cuda_output output = {0};
    status = tsr_nvrtc_compile(nvrtc, &source, &arena, &output, &diag);
    for (uint32_t i = 0; status == TSR_OK && want == TSR_CUDA_PTX && i < code.kernel_count; ++i) {
      snprintf(message, sizeof message, ".entry %s(", code.kernels[i].symbol);
      ck_assert_msg(strstr(output.ptx, message), "no kernel %s", code.kernels[i].symbol);
    }
    if (status == TSR_OK && want == TSR_CUDA_CUBIN)
      status =
          tsr_cuda_report_make(output.cubin, output.cubin_size, output.log, &arena, &report, &diag);
  }
  if (status != TSR_OK) {
    tsr_diag_format(&diag, message, sizeof message);
    ck_abort_msg("%s", message);
  }
  const tsr_cuda_kernel_record *bad = tsr_cuda_report_rejected(&report);
  ck_assert_msg(!bad, "%s\n%s", bad ? bad->reason : "", bad ? code.kernels[0].body : "");
  tsr_ir_destroy(ir);
  tsr_arena_reset(&arena);
}

START_TEST(test_architectures) {
  static const char *const architectures[] = {"sm_80", "sm_90a"};
  tsr_nvrtc *nvrtc = NULL;
  tsr_diag diag = {0};
  if (tsr_nvrtc_open(tsr_allocator_default(), NULL, &nvrtc, &diag) != TSR_OK) {
    printf("SKIP %s\n", diag.message);
    return;
  }
  compile_text(nvrtc, exact_text, architectures[_i], TSR_CUDA_PTX);
  compile_text(nvrtc, close_text, architectures[_i], TSR_CUDA_PTX);
  for (int i = 0; all_dtypes[i]; ++i) {
    char *plain = elementwise_text(all_dtypes[i], false), *casts = cast_text(all_dtypes[i]);
    compile_text(nvrtc, plain, architectures[_i], TSR_CUDA_PTX);
    compile_text(nvrtc, casts, architectures[_i], TSR_CUDA_PTX);
    free(plain);
    free(casts);
  }
  char *single = elementwise_text("f32", true), *wide = elementwise_text("f64", true);
  compile_text(nvrtc, single, architectures[_i], TSR_CUDA_PTX);
  compile_text(nvrtc, wide, architectures[_i], TSR_CUDA_PTX);
  free(single);
  free(wide);
  tsr_nvrtc_close(nvrtc);
}
END_TEST

/* Machine code of products spills no registers, and wgmma is never serialised. */
START_TEST(test_products) {
  tsr_nvrtc *nvrtc = NULL;
  tsr_diag diag = {0};
  if (tsr_nvrtc_open(tsr_allocator_default(), NULL, &nvrtc, &diag) != TSR_OK) {
    printf("SKIP %s\n", diag.message);
    return;
  }
  const contract_text *row = &contract_texts[_i];
  char arch[16];
  snprintf(arch, sizeof arch, row->arch == 90 ? "sm_90a" : "sm_%d", row->arch);
  compile_text(nvrtc, row->text, arch, TSR_CUDA_CUBIN);
  tsr_nvrtc_close(nvrtc);
}
END_TEST

/* The worked example: roles, TMA, clusters, a product under way while the next one waits. */
START_TEST(test_example) {
  enum { LARGEST = 1 << 16 };
  tsr_nvrtc *nvrtc = NULL;
  tsr_diag diag = {0};
  const char *path = "tests/golden/examples/wgmma-gemm/tile.tsr";
  if (tsr_nvrtc_open(tsr_allocator_default(), NULL, &nvrtc, &diag) != TSR_OK) {
    printf("SKIP %s\n", diag.message);
    return;
  }
  FILE *file = fopen(path, "rb");
  ck_assert_msg(file, "cannot open %s: run from the repository's root", path);
  char *text = calloc(1, LARGEST);
  ck_assert_ptr_nonnull(text);
  ck_assert_uint_gt(fread(text, 1, LARGEST - 1, file), 0);
  fclose(file);
  compile_text(nvrtc, text, "sm_90a", TSR_CUDA_CUBIN);
  free(text);
  tsr_nvrtc_close(nvrtc);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("codegen_cuda.nvrtc");
  TCase *cases = tcase_create("texts");
  tcase_set_timeout(cases, 300);
  tcase_add_loop_test(cases, test_architectures, 0, 2);
  tcase_add_loop_test(cases, test_products, 0, CONTRACT_TEXTS);
  tcase_add_test(cases, test_example);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
