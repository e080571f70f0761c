/* Lowering of graph ops to blocks and procs: what the files blocks_*.c share. */
#ifndef TSR_PASSES_BLOCKS_H
#define TSR_PASSES_BLOCKS_H
#include "passes/point.h"

/* Writes the replacement of `op` before it and returns it; its first results stand for those of
 * `op`, further ones are scratch. 0: the IR is poisoned. */
typedef tsr_op (*tsr_lower_function)(tsr_ir *ir, tsr_op op);

tsr_op tsr_lower_map(tsr_ir *ir, tsr_op op);
bool tsr_lower_is_map(tsr_opcode code);
tsr_op tsr_lower_reduce(tsr_ir *ir, tsr_op op);
tsr_op tsr_lower_arg_reduce(tsr_ir *ir, tsr_op op);
tsr_op tsr_lower_einsum(tsr_ir *ir, tsr_op op);
tsr_op tsr_lower_conv(tsr_ir *ir, tsr_op op);
tsr_op tsr_lower_pool(tsr_ir *ir, tsr_op op);
tsr_op tsr_lower_scan(tsr_ir *ir, tsr_op op);
tsr_op tsr_lower_scatter_nd(tsr_ir *ir, tsr_op op);
tsr_op tsr_lower_scatter_elements(tsr_ir *ir, tsr_op op);
tsr_op tsr_lower_topk(tsr_ir *ir, tsr_op op);
tsr_op tsr_lower_nonzero(tsr_ir *ir, tsr_op op);
tsr_op tsr_lower_suppress(tsr_ir *ir, tsr_op op);

/* The element of tensor `x` at `subscripts`: a load, or for splat constants and rank-0 index ops
 * the number itself. */
tsr_value tsr_read(tsr_point *e, tsr_value x, const tsr_expr *subscripts, uint32_t count);
/* The same at `axes` of a result of `rank` under NumPy broadcasting: the last axes, 0 where the
 * extent is 1. */
tsr_value tsr_read_broadcast(tsr_point *e, tsr_value x, const tsr_expr *axes, uint32_t rank);
/* Index value `index` (any integer dtype) into an axis of `extent`: counts from the end when
 * negative, then clamped. i64. */
tsr_value tsr_normalise_index(tsr_point *e, tsr_value index, tsr_expr extent);
/* `all` and 0 <= at < extent, without the halves that always hold; 0: always. */
tsr_expr tsr_inside(tsr_ir *ir, tsr_expr all, tsr_expr at, tsr_expr extent);
/* An integer list attribute with exactly `count` entries; poisons otherwise. */
bool tsr_read_ints(tsr_ir *ir, tsr_op op, const char *key, uint32_t count, int64_t *out);
/* A list of expressions with `count` entries; poisons otherwise. NULL: poisoned. */
const tsr_expr *tsr_read_exprs(tsr_ir *ir, tsr_op op, const char *key, uint32_t count);
#endif
