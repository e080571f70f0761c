/* Which element of one shape is which of another: reshape as subscripts. */
#ifndef TSR_PASSES_RESHAPE_MAP_H
#define TSR_PASSES_RESHAPE_MAP_H
#include "ir/ir.h"

/* `subscripts` address a tensor of `from`; `out` becomes the subscripts of the same element, in
 * row-major order, in a tensor of `to`. Axes that both shapes share stay as they are; groups of
 * axes are joined by products and parted by floordiv and mod. False when the shapes cannot be
 * matched group by group. */
bool tsr_reshape_subscripts(tsr_ir *ir, const tsr_type_info *from, const tsr_type_info *to,
                            const tsr_expr *subscripts, tsr_expr *out);
#endif
