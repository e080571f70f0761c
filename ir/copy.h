/* A copy of a whole IR, and of one graph of it. */
#ifndef TSR_IR_COPY_H
#define TSR_IR_COPY_H
#include "ir/ir.h"

/* Every top-level op with its values numbered in the order of the text; dims and constants keep
 * their ids, the bytes of constants are shared (`from` must outlive the copy). */
TSR_WARN_UNUSED tsr_status tsr_ir_copy_in_order(const tsr_ir *from, const tsr_allocator *allocator,
                                                tsr_ir **out_ir);
/* The graph as an IR of its own, called @main, with the dims it uses, under their names. A device
 * dim that no resize_dim of the graph gives a value is a plain one: 0 to its bound. Bytes of
 * constants are shared (`from` must outlive the copy). */
TSR_WARN_UNUSED tsr_status tsr_ir_extract(const tsr_ir *from, tsr_op graph,
                                          const tsr_allocator *allocator, tsr_ir **out_ir);
/* One op of a graph, a block say, as a graph of its own called @main: inputs x0, x1 .. for what it
 * reads, constants as they are, the op, outputs y0, y1 .. for its results. Each dim that it uses is
 * the extent of an input, of one that is there for nothing else where need be; device dims are
 * plain ones. Done again, it changes nothing but names. Bytes of constants are shared (`from` must
 * outlive the copy). */
TSR_WARN_UNUSED tsr_status tsr_ir_isolate(const tsr_ir *from, tsr_op op,
                                          const tsr_allocator *allocator, tsr_ir **out_ir,
                                          tsr_op *out_op);

#endif
