/* What stands in for codegen/cpu in a build with TESSERA_LLVM off. */
#include "codegen/cpu/codegen.h"
#include "codegen/cpu/llvm_version.h"
#include <stdio.h>

tsr_status tsr_codegen_cpu(tsr_ir *ir, const tsr_cpu_isa *isa, const tsr_codegen_options *options,
                           tsr_arena *arena, tsr_diag *diag, tsr_cpu_code *out_code) {
  (void)ir, (void)options, (void)arena;
  char target[TSR_CPU_ISA_TEXT];
  *out_code = (tsr_cpu_code){0};
  tsr_cpu_isa_text(isa, target);
  return tsr_fail(diag, TSR_ERR_UNSUPPORTED,
                  "this build has no LLVM, so it cannot compile for target '%s'; take "
                  "'--target cuda:sm_80' or cuda:sm_90a, or build with TESSERA_LLVM on. Modules "
                  "that were compiled before still run",
                  target);
}

void tsr_llvm_version(char *out, size_t out_size) {
  (void)snprintf(out, out_size, "none, for CUDA alone");
}
