/* The one border to isl: questions about the subscripts of a block, answered for all values of its
 * dims. No isl type leaves this folder. Bounded in work; "unknown" when the subscripts are not
 * quasi-affine or the bound is hit. */
#ifndef TSR_PASSES_POLY_POLY_H
#define TSR_PASSES_POLY_POLY_H
#include "ir/ir.h"

typedef struct tsr_poly tsr_poly;

typedef enum tsr_poly_answer { TSR_POLY_UNKNOWN, TSR_POLY_YES, TSR_POLY_NO } tsr_poly_answer;

TSR_WARN_UNUSED tsr_status tsr_poly_create(const tsr_allocator *allocator, tsr_poly **out_poly);
void tsr_poly_destroy(tsr_poly *poly);

/* Different points of the par axes of the block or proc never touch the same element, the first by
 * `one`, the second by `other`: operands of loads or stores of one buffer in its body. Values that
 * are not index variables may be anything. */
tsr_poly_answer tsr_poly_par_disjoint(tsr_poly *poly, tsr_ir *ir, tsr_op block,
                                      const tsr_operand *one, const tsr_operand *other);
/* All points together touch every element of the buffer. */
tsr_poly_answer tsr_poly_covers(tsr_poly *poly, tsr_ir *ir, tsr_op block,
                                const tsr_operand *operand);

#endif
