/* A reduction in two kernels, where one would have too few tasks: parts of a reduced axis side by
 * side, then what came of them. */
#ifndef TSR_PASSES_TILE_SPLIT_H
#define TSR_PASSES_TILE_SPLIT_H
#include "passes/tile/nest.h"

/* Can the block be cut at all? All its reductions run over all reduced axes, none needs another
 * one's result, and each has an identity. */
bool tsr_split_possible(tsr_nest *nest);
/* Is `axis` one that can be cut into `parts`? `whole`: parts of equal length only, so that the
 * parts are the same sum with a shorter axis. */
bool tsr_split_fits(tsr_nest *nest, uint32_t axis, int64_t parts, bool whole);
/* The outermost axis that fits, or -1. */
int tsr_split_axis(tsr_nest *nest, int64_t parts, bool whole);

/* Before the block, two that compute the same: one par axis more, the parts, in front of those that
 * the reductions vary with; each part's result goes to a buffer [part, par..]. Then a block over
 * the parts that ends as the old one does and has its results. The old one stays. Results are
 * poison when tsr_ir_status says so. */
void tsr_split_block(tsr_nest *nest, uint32_t axis, int64_t parts, tsr_op *out_first,
                     tsr_op *out_second);

#endif
