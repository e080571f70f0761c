/* From `model @main` to the flat program that the host runs step by step. */
#ifndef TSR_CODEGEN_HOST_PROGRAM_H
#define TSR_CODEGEN_HOST_PROGRAM_H
#include "ir/ir.h"
#include "runtime/program.h"

/* The programs of the graphs that a model calls: graph @symbols[i] became programs[i], built with
 * tsr_program_parts.called. */
typedef struct tsr_host_parts {
  const char *target;
  uint64_t cpu_features;
  const char *precision;
  const char *producer;
  const char *const *symbols;
  const tsr_program *programs;
  uint32_t count;
} tsr_host_parts;

/* Builds the host program of the op `model`. A dim is bound where the first tensor is made that has
 * it as a whole extent: by inputs, by what a step or a turn makes, or by a part that reads it from
 * the device; TSR_ERR_SHAPE when an extent, a condition or a part needs it earlier. Everything the
 * program points to lives in `arena`, in the IR, or in `parts`. */
TSR_WARN_UNUSED tsr_status tsr_host_program_build(tsr_ir *ir, tsr_op model,
                                                  const tsr_host_parts *parts, tsr_arena *arena,
                                                  tsr_diag *diag, tsr_program *out_program);

#endif
