/* Strategy "group": blocks that walk the same rows as one kernel. */
#ifndef TSR_PASSES_TILE_GROUP_H
#define TSR_PASSES_TILE_GROUP_H
#include "passes/group.h"
#include "passes/tile/take.h"

/* Can the group be a kernel of this target? Else its blocks are kernels by themselves. */
bool tsr_group_possible(tsr_ir *ir, const tsr_target *target, tsr_op group);
void tsr_group_default(tsr_ir *ir, const tsr_target *target, tsr_op group, tsr_schedule *out);
/* Fills the kernel: arguments, grid and body. `out_inputs` are the tensors that a launch passes,
 * in the order of the arguments; the results follow them. */
TSR_WARN_UNUSED tsr_status tsr_tile_group(tsr_taking *taking, tsr_op group,
                                          const tsr_schedule *schedule, tsr_region region);
/* The tensors that the group reads, in the order of their first use: `most` at most. */
uint32_t tsr_group_inputs(tsr_ir *ir, tsr_op group, tsr_value *out, uint32_t most);
#endif
