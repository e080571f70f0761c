/* Tile programs to machine code: every top-level `kernel` op of an IR becomes one function of one
 * position-independent image. Which part of the tile IR is taken stands in codegen/README.md. */
#ifndef TSR_CODEGEN_CPU_CODEGEN_H
#define TSR_CODEGEN_CPU_CODEGEN_H
#include "codegen/cpu/cpu_isa.h"
#include "codegen/program.h"
#include "ir/ir.h"
#include "runtime/arena.h"
#include <tessera/status.h>

/* All memory belongs to the arena given to tsr_codegen_cpu. */
typedef struct tsr_cpu_code {
  const void *image;
  uint64_t image_bytes;
  const tsr_kernel_code
      *kernels; /* in the order of the IR; see runtime/program.h for the interface */
  uint32_t kernel_count;
  const char *ll;       /* optimised LLVM IR, or NULL when not asked for */
  const char *assembly; /* or NULL */
} tsr_cpu_code;

typedef struct tsr_codegen_options {
  bool want_ll;
  bool want_assembly;
} tsr_codegen_options;

/* `options` may be NULL. New index expressions are added to `ir`, nothing else is changed.
 * TSR_ERR_UNSUPPORTED names the op that the CPU has no code for, TSR_ERR_VERIFY an op whose
 * operands do not fit. Uses one LLVM context of its own: threads do not meet. */
TSR_WARN_UNUSED tsr_status tsr_codegen_cpu(tsr_ir *ir, const tsr_cpu_isa *isa,
                                           const tsr_codegen_options *options, tsr_arena *arena,
                                           tsr_diag *diag, tsr_cpu_code *out_code);

#endif
