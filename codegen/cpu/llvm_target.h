/* The LLVM target machine, function attributes and pass pipeline that code for a CPU target is made
 * with: for x86 levels and GENERIC the host's triple, for AArch64 that of Linux, on any host whose
 * LLVM has the code generator (TSR_ERR_DEVICE where it has not). */
#ifndef TSR_CODEGEN_CPU_LLVM_TARGET_H
#define TSR_CODEGEN_CPU_LLVM_TARGET_H
#include "codegen/cpu/cpu_isa.h"
#include "runtime/arena.h"
#include "runtime/diag.h"
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A target machine; used by one thread at a time, any number of modules one after another. */
typedef struct tsr_llvm_target {
  const tsr_allocator *allocator;
  tsr_cpu_isa isa;
  LLVMTargetMachineRef machine;
  LLVMTargetDataRef data_layout;
  char *triple;      /* LLVM's string */
  char cpu[24];      /* LLVM's name of the baseline: "x86-64-v3", "generic" */
  char features[64]; /* "+avx512vnni,..." */
} tsr_llvm_target;

TSR_WARN_UNUSED tsr_status tsr_llvm_target_create(const tsr_allocator *allocator,
                                                  const tsr_cpu_isa *isa, tsr_diag *diag,
                                                  tsr_llvm_target **out_target);
/* NULL is allowed. */
void tsr_llvm_target_destroy(tsr_llvm_target *target);

/* An empty module in `context` with the target's triple and data layout. NULL: memory is out. */
LLVMModuleRef tsr_llvm_target_module(const tsr_llvm_target *target, LLVMContextRef context,
                                     const char *name);
/* The attributes that every function defined in a module must carry: vectors of full width, no
 * unwinding, and no library call made out of a loop or a math function. */
void tsr_llvm_target_function(const tsr_llvm_target *target, LLVMValueRef function);

/* Verifies the module, then runs the pass pipeline in place. A module that does not verify is
 * TSR_ERR_INTERNAL with LLVM's words. */
TSR_WARN_UNUSED tsr_status tsr_llvm_target_optimize(const tsr_llvm_target *target,
                                                    LLVMModuleRef module, tsr_diag *diag);

/* Machine code of the (optimised) module as an ELF object; release with LLVMDisposeMemoryBuffer. */
TSR_WARN_UNUSED tsr_status tsr_llvm_target_object(const tsr_llvm_target *target,
                                                  LLVMModuleRef module, tsr_diag *diag,
                                                  LLVMMemoryBufferRef *out_object);
/* The module as LLVM IR text (`--emit ll`) or as assembly (`--emit asm`), terminated, in `arena`.
 */
TSR_WARN_UNUSED tsr_status tsr_llvm_target_ir_text(LLVMModuleRef module, tsr_arena *arena,
                                                   tsr_diag *diag, const char **out_text);
TSR_WARN_UNUSED tsr_status tsr_llvm_target_asm_text(const tsr_llvm_target *target,
                                                    LLVMModuleRef module, tsr_arena *arena,
                                                    tsr_diag *diag, const char **out_text);

#endif
