/* Blocks to tile programs, under a schedule. The result is a pure function of blocks, schedule and
 * target. */
#ifndef TSR_PASSES_TILE_TILE_H
#define TSR_PASSES_TILE_TILE_H
#include "ir/ir.h"
#include "ir/target.h"

/* Where schedules come from: a `plan` op, in the IR that is tiled or in one of its own (a plan
 * read from text). Kernels that it does not name get their default schedule. */
typedef struct tsr_plan_source {
  const tsr_ir *ir;
  tsr_op plan;
} tsr_plan_source;

/* Every block and proc of the graphs becomes a top-level kernel @k0, @k1 ... and a launch of it:
 * operands are the kernel's inputs, results its outputs, in this order. Blocks of the same workload
 * share one kernel. Constant operands of contractions get a `relayout` to the panels that the
 * kernel reads. A schedule that does not fit its block or the target is TSR_ERR_ARGUMENT naming
 * kernel and knob. Groups are taken apart: each of their blocks is a kernel. */
TSR_WARN_UNUSED tsr_status tsr_pass_tile(tsr_ir *ir, const tsr_target *target,
                                         const tsr_plan_source *plan, tsr_diag *diag);

/* Appends `plan @graph {...}` with the default schedule of every kernel that tsr_pass_tile will
 * make, from the analytic model. `out_plan` may be NULL. */
TSR_WARN_UNUSED tsr_status tsr_plan_default(tsr_ir *ir, const tsr_target *target, tsr_diag *diag,
                                            tsr_op *out_plan);

/* Evaluates relayouts of constants: each becomes a constant with packed bytes. The same (constant,
 * map) is packed once. */
TSR_WARN_UNUSED tsr_status tsr_pass_pack(tsr_ir *ir, tsr_diag *diag);

#endif
