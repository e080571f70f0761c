/* contract by atoms that multiply groups of narrow elements: vectors (emit_dot.c) and AMX tiles
 * (emit_amx.c). */
#ifndef TSR_CODEGEN_CPU_EMIT_DOT_H
#define TSR_CODEGEN_CPU_EMIT_DOT_H
#include "codegen/cpu/emit.h"
#include "ir/target.h"

/* An operand that is read in place. */
typedef struct tsr_dot_side {
  tsr_dtype dtype;
  uint32_t bytes; /* of an element */
  LLVMValueRef base;
  tsr_expr first;  /* elements from the base to element (0, 0) */
  tsr_expr stride; /* elements from a row of a, a group of b, to the next */
  int64_t last;    /* where not all is known to be inside: the greatest `first`; else -1 */
} tsr_dot_side;

typedef struct tsr_dot {
  const tsr_atom *atom;
  uint32_t group, depth; /* depths in a group; all */
  tsr_dot_side a, b;
  LLVMValueRef *sums; /* of vectors, `parts` per value of the accumulator */
  uint32_t parts;
} tsr_dot;

/* Where element (0, 0) lies, and `bytes` (i64) further on. */
LLVMValueRef tsr_dot_address(tsr_emit *e, const tsr_dot_side *side, LLVMValueRef bytes);
LLVMValueRef tsr_dot_stride(tsr_emit *e, const tsr_dot_side *side); /* i64, bytes */

/* The op at hand, whose atom has k-groups. */
const tsr_emit_tile *tsr_emit_dot(tsr_emit *e, const tsr_atom *atom, const tsr_emit_tile *acc);
/* The configuration that code by AMX runs under: eight tiles of 16 rows of 64 bytes. */
extern const uint8_t tsr_amx_config[64];
/* By AMX: accumulators of whole 16 x 16 tiles, at most 2 x 2 of them. */
void tsr_emit_amx(tsr_emit *e, const tsr_dot *d, const tsr_emit_tile *acc, tsr_emit_tile *result);

#endif
