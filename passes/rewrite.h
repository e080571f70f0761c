/* Rewriting bodies of blocks: cloning ops while index variables become expressions, with common
 * subexpressions shared as they come up. */
#ifndef TSR_PASSES_REWRITE_H
#define TSR_PASSES_REWRITE_H
#include "passes/point.h"

typedef struct tsr_rewriter {
  tsr_ir *ir;
  tsr_point out;
  tsr_value *values; /* old value -> new value, 0: itself */
  tsr_expr *exprs;   /* old index variable -> expression */
  uint32_t size;
  tsr_arena arena;
} tsr_rewriter;

/* A new block before `before`, for values that exist now. */
TSR_WARN_UNUSED tsr_status tsr_rewriter_begin(tsr_rewriter *rw, tsr_ir *ir, tsr_op before,
                                              tsr_diag *diag);
void tsr_rewriter_end(tsr_rewriter *rw);
/* New par and red variables for those of `from` (an old block). */
void tsr_rewriter_copy_axes(tsr_rewriter *rw, tsr_op from);
/* A result like `old`, which stands for it from now on. */
tsr_value tsr_rewriter_result(tsr_rewriter *rw, tsr_value old);
/* Everything that reads `old` reads the new result instead, under the old one's name. */
void tsr_rewriter_take_over(tsr_rewriter *rw, tsr_value old);
tsr_expr tsr_rewriter_expr(tsr_rewriter *rw, tsr_expr expr);
tsr_value tsr_rewriter_value(const tsr_rewriter *rw, tsr_value old);
/* Clones one op of an old body to the end of the new one. */
void tsr_rewriter_clone(tsr_rewriter *rw, tsr_op op);
/* Drops ops whose results nobody uses. */
void tsr_point_drop_dead(tsr_ir *ir, tsr_region body);
#endif
