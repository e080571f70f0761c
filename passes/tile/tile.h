/* Blocks to tile programs, under a schedule. The result is a pure function of blocks, schedule and
 * target. */
#ifndef TSR_PASSES_TILE_TILE_H
#define TSR_PASSES_TILE_TILE_H
#include "passes/tile/schedule.h"

/* Schedules that somebody knows for a block, best first: writes number 0, 1 .. and returns true;
 * false: there are no more. The first legal one takes the place of the block's default. */
typedef bool (*tsr_schedules_known)(void *context, const tsr_ir *ir, tsr_op block, uint32_t number,
                                    tsr_schedule *out_schedule);

/* Where schedules come from: a `plan` op, in the IR that is tiled or in one of its own (a plan
 * read from text). Kernels that it does not name get what `known` says, and else their default
 * schedule. `known` is asked once for each kind of block, not for procs. */
typedef struct tsr_plan_source {
  const tsr_ir *ir;
  tsr_op plan;               /* 0: none */
  tsr_schedules_known known; /* NULL: nothing is known */
  void *known_context;
} tsr_plan_source;

/* Every block and proc of the graphs becomes a top-level kernel @k0, @k1 ... and a launch of it:
 * operands are the kernel's inputs, results its outputs, in this order. Blocks of the same workload
 * share one kernel. Constant operands of contractions get a `relayout` to the panels that the
 * kernel reads. A schedule that does not fit its block or the target is TSR_ERR_ARGUMENT naming
 * kernel and knob. Groups are taken apart: each of their blocks is a kernel. */
TSR_WARN_UNUSED tsr_status tsr_pass_tile(tsr_ir *ir, const tsr_target *target,
                                         const tsr_plan_source *plan, tsr_diag *diag);

/* Appends `plan @graph {...}` with the schedule of every kernel that tsr_pass_tile will make with
 * this source. `out_plan` may be NULL. */
TSR_WARN_UNUSED tsr_status tsr_plan_make(tsr_ir *ir, const tsr_target *target,
                                         const tsr_plan_source *source, tsr_diag *diag,
                                         tsr_op *out_plan);
/* The same without a source: default schedules, from the analytic model. */
TSR_WARN_UNUSED tsr_status tsr_plan_default(tsr_ir *ir, const tsr_target *target, tsr_diag *diag,
                                            tsr_op *out_plan);

/* Evaluates relayouts of constants: each becomes a constant with packed bytes. The same (constant,
 * map) is packed once. */
TSR_WARN_UNUSED tsr_status tsr_pass_pack(tsr_ir *ir, tsr_diag *diag);

/* On CPUs: launches whose products leave memory idle fetch the constants of later ones that would
 * wait for theirs, each by a kernel of its own, @k3_f0, with one more input. After tsr_pass_pack.
 */
TSR_WARN_UNUSED tsr_status tsr_pass_fetch_next(tsr_ir *ir, const tsr_target *target,
                                               tsr_diag *diag);

/* On CPUs: a launch's result lives in the memory of an operand of the same type that no later op
 * reads (`alias` of the launch), where its kernels read an element of the operand only in the step
 * that stores the result's there. Such a launch runs a kernel of its own, @k3_i0, with one `inout`
 * argument for both. Inputs, outputs and constants stay what they are. Last of the passes. */
TSR_WARN_UNUSED tsr_status tsr_pass_reuse(tsr_ir *ir, const tsr_target *target, tsr_diag *diag);

#endif
