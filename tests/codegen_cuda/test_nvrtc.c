/* NVRTC takes the text of every kind of kernel, for each architecture. Prints SKIP where there is
 * no NVRTC. */
#include "codegen/cuda/cuda.h"
#include "codegen/cuda/nvrtc.h"
#include "tests/codegen_cuda/texts.h"

static void compile_text(const tsr_nvrtc *nvrtc, const char *text, const char *arch) {
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
  ck_assert(tsr_target_cuda(name, &target));
  if (tsr_ir_parse(arena.allocator, text, strlen(text), "test.tsr", &diag, &ir) == TSR_OK &&
      tsr_codegen_cuda(ir, &target, &arena, &diag, &code) == TSR_OK) {
    tsr_cuda_source source = {.text = code.text,
                              .arch = arch,
                              .options = options,
                              .option_count = 1,
                              .want = TSR_CUDA_PTX};
    tsr_cuda_output output = {0};
    status = tsr_nvrtc_compile(nvrtc, &source, &arena, &output, &diag);
    for (uint32_t i = 0; status == TSR_OK && i < code.kernel_count; ++i) {
      snprintf(message, sizeof message, ".entry %s(", code.kernels[i].symbol);
      ck_assert_msg(strstr(output.ptx, message), "no kernel %s", code.kernels[i].symbol);
    }
  }
  if (status != TSR_OK) {
    tsr_diag_format(&diag, message, sizeof message);
    ck_abort_msg("%s", message);
  }
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
  compile_text(nvrtc, exact_text, architectures[_i]);
  compile_text(nvrtc, close_text, architectures[_i]);
  for (int i = 0; all_dtypes[i]; ++i) {
    char *plain = elementwise_text(all_dtypes[i], false), *casts = cast_text(all_dtypes[i]);
    compile_text(nvrtc, plain, architectures[_i]);
    compile_text(nvrtc, casts, architectures[_i]);
    free(plain);
    free(casts);
  }
  char *single = elementwise_text("f32", true), *wide = elementwise_text("f64", true);
  compile_text(nvrtc, single, architectures[_i]);
  compile_text(nvrtc, wide, architectures[_i]);
  free(single);
  free(wide);
  tsr_nvrtc_close(nvrtc);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("codegen_cuda.nvrtc");
  TCase *cases = tcase_create("texts");
  tcase_set_timeout(cases, 300);
  tcase_add_loop_test(cases, test_architectures, 0, 2);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
