/* Shared by verify.c (structure, visibility, rows) and verify_rules.c (single ops). */
#ifndef TSR_IR_VERIFY_INTERNAL_H
#define TSR_IR_VERIFY_INTERNAL_H
#include "ir/ir.h"

typedef struct tsr_verifier {
  tsr_ir *ir;
  tsr_diag *diag;
  uint8_t *visible; /* by value */
  uint64_t *varies; /* by value: the red indices of the block at hand it depends on */
  uint32_t levels;  /* of the region at hand: one of TSR_AT_ */
  tsr_op container; /* the innermost graph, kernel, plan, block or proc around the op at hand */
  unsigned depth;
} tsr_verifier;

/* Records the reason with the op's line and origin; returns the status. */
tsr_status tsr_verify_fail(tsr_verifier *v, tsr_op op, const char *format, ...) TSR_PRINTF(3, 4);
/* Everything about one op that its row and its regions do not say. Its regions were verified. */
TSR_WARN_UNUSED tsr_status tsr_verify_op(tsr_verifier *v, tsr_op op);
/* Text of a type for messages; lives as long as the IR. */
const char *tsr_verify_type_text(tsr_verifier *v, tsr_type type);

#endif
