/* Strategy "group": blocks that walk the same rows as one kernel. */
#ifndef TSR_PASSES_TILE_GROUP_H
#define TSR_PASSES_TILE_GROUP_H
#include "passes/cost/cost.h"
#include "passes/group.h"
#include "passes/tile/take.h"

/* Can the group be a kernel of this target? Else its blocks are kernels by themselves. */
bool tsr_group_possible(tsr_ir *ir, const tsr_target *target, tsr_op group);
void tsr_group_default(tsr_ir *ir, const tsr_target *target, tsr_op group, tsr_schedule *out);
/* Errors: ARGUMENT, the schedule is none of the group's. */
TSR_WARN_UNUSED tsr_status tsr_group_check(const tsr_schedule *schedule, const char *kernel,
                                           tsr_diag *diag);

/* What schedules of a group are made from, its dims at their hints. */
typedef struct tsr_group_facts {
  uint32_t members;
  double rows, outer;   /* of the last axis that all blocks share; of those before it */
  double cycles;        /* of one row through all blocks, on one thread */
  double stores;        /* results of the blocks, of one row */
  double scratch_bytes; /* of one row, where rows stand in scratch side by side */
  double shared_bytes; /* that are read anew for each `rows` rows, whatever their number; 0: none */
  double bytes;        /* distinct ones that cross the kernel's border */
} tsr_group_facts;

/* False: it is no group of blocks that walk the same rows. */
bool tsr_group_describe(tsr_ir *ir, const tsr_target *target, tsr_op group, tsr_group_facts *out);
/* The analytic model: its blocks' cycles together, at these rows and tasks. */
void tsr_group_cost(tsr_ir *ir, const tsr_target *target, tsr_op group,
                    const tsr_schedule *schedule, tsr_cost *out_cost);
/* Fills the kernel: arguments, grid and body. `out_inputs` are the tensors that a launch passes,
 * in the order of the arguments; the results follow them. */
TSR_WARN_UNUSED tsr_status tsr_tile_group(tsr_taking *taking, tsr_op group,
                                          const tsr_schedule *schedule, tsr_region region);
/* The tensors that the group reads, in the order of their first use: `most` at most. */
uint32_t tsr_group_inputs(tsr_ir *ir, tsr_op group, tsr_value *out, uint32_t most);
#endif
