/* Which schedules are legal on their block and target. */
#include "passes/tile/contract_dot.h"
#include "passes/tile/default.h"
#include "passes/tile/mma.h"

static tsr_status refuse(const char *kernel, tsr_knob knob, const char *why, tsr_diag *diag) {
  return tsr_fail(diag, TSR_ERR_ARGUMENT, "schedule @%s: '%s' %s", kernel, tsr_knob_get(knob)->text,
                  why);
}

static bool is_par(const tsr_nest *nest, int64_t axis) {
  return axis >= 0 && axis < nest->par_count && !nest->axes[axis].gone;
}

static tsr_status check_nest(const tsr_nest *nest, const int64_t *knobs, const char *kernel,
                             tsr_diag *diag) {
  const int64_t vector = knobs[TSR_KNOB_VECTOR], fold = knobs[TSR_KNOB_FOLD];
  const int64_t side = knobs[TSR_KNOB_SIDE];
  if (vector >= 0 && !is_par(nest, vector))
    return refuse(kernel, TSR_KNOB_VECTOR, "is no parallel variable of the block", diag);
  if (fold >= 0 && (fold < nest->par_count || fold >= nest->axis_count || nest->axes[fold].gone))
    return refuse(kernel, TSR_KNOB_FOLD, "is no reduced variable of the block", diag);
  if (side >= 0 &&
      (side >= nest->axis_count || nest->axes[side].gone || side == vector || side == fold))
    return refuse(kernel, TSR_KNOB_SIDE, "must be another variable than 'vector' and 'fold'", diag);
  if ((knobs[TSR_KNOB_WARPS] & (knobs[TSR_KNOB_WARPS] - 1)) != 0)
    return refuse(kernel, TSR_KNOB_WARPS, "must be a power of two", diag);
  if (nest->target->kind != TSR_TARGET_CUDA && knobs[TSR_KNOB_WARPS] > 0)
    return refuse(kernel, TSR_KNOB_WARPS, "is for CUDA targets", diag);
  if (knobs[TSR_KNOB_LANES] < 1 || knobs[TSR_KNOB_ROWS] < 1 || knobs[TSR_KNOB_GRAIN] < 1)
    return refuse(kernel, TSR_KNOB_LANES, "rows and grain must be at least 1", diag);
  return TSR_OK;
}

static tsr_status check_contract(tsr_nest *nest, const tsr_schedule *schedule, const char *kernel,
                                 tsr_diag *diag) {
  const int64_t *knobs = schedule->knobs;
  if (tsr_contract_match(nest) == NULL)
    return tsr_fail(diag, TSR_ERR_ARGUMENT,
                    "schedule @%s: the block is no contraction; use strategy = \"nest\"", kernel);
  if (schedule->atom != NULL)
    TSR_TRY(tsr_contract_dot_check(nest, schedule, kernel, diag));
  const tsr_contraction *c = tsr_contract_of(nest, schedule);
  const int64_t lanes = tsr_target_lanes(nest->target, tsr_dtype_bits(c->dtype));
  const int64_t mr = knobs[TSR_KNOB_MR], nr = knobs[TSR_KNOB_NR];
  if (mr < 1 || (c->m < 0 && mr != 1))
    return refuse(kernel, TSR_KNOB_MR, "must be 1 where there are no rows", diag);
  if (nr < 1 || mr * up_to(nr, lanes) / lanes > 8 * (int64_t)nest->target->vector_registers)
    return refuse(kernel, TSR_KNOB_NR, "makes a register tile beyond the registers", diag);
  if (knobs[TSR_KNOB_MC] < mr || knobs[TSR_KNOB_MC] % mr != 0)
    return refuse(kernel, TSR_KNOB_MC, "must be a multiple of 'mr'", diag);
  if (c->flat && (knobs[TSR_KNOB_NC] < 1 || knobs[TSR_KNOB_NC] % c->flat_width != 0))
    return refuse(kernel, TSR_KNOB_NC, "must be a multiple of the output's row", diag);
  if (!c->flat && (knobs[TSR_KNOB_NC] < nr || knobs[TSR_KNOB_NC] % nr != 0))
    return refuse(kernel, TSR_KNOB_NC, "must be a multiple of 'nr'", diag);
  if (c->direct && (knobs[TSR_KNOB_PACK_A] == 1 ||
                    (nest->axes[c->m].fixed && knobs[TSR_KNOB_MC] < nest->axes[c->m].size)))
    return refuse(kernel, TSR_KNOB_MC,
                  "must hold a row of the image, which is read in place (pack_a = 0)", diag);
  if (c->flat && knobs[TSR_KNOB_PACK_B] != 1)
    return refuse(kernel, TSR_KNOB_PACK_B, "must be 1: columns run through whole rows", diag);
  if (!c->depth_fixed && (knobs[TSR_KNOB_PACK_A] == 1 || knobs[TSR_KNOB_PACK_B] == 1))
    return refuse(kernel, TSR_KNOB_PACK_B, "needs a reduced extent that is known", diag);
  tsr_contract_emit e = {.nest = nest,
                         .ir = nest->ir,
                         .c = c,
                         .pack_a = knobs[TSR_KNOB_PACK_A] == 1,
                         .pack_b = knobs[TSR_KNOB_PACK_B] == 1};
  tsr_contract_dot_begin(&e, schedule);
  tsr_contract_flatten(&e);
  if (knobs[TSR_KNOB_KC] > 0 && (!e.depth_flat || e.depth_total % knobs[TSR_KNOB_KC] != 0 ||
                                 knobs[TSR_KNOB_KC] % e.depth_outer != 0))
    return refuse(kernel, TSR_KNOB_KC,
                  "must divide the depth into equal numbers of steps of its outermost variable, "
                  "with both operands packed; 0 for one pass",
                  diag);
  if ((c->a.packable || c->m < 0) && knobs[TSR_KNOB_PACK_A] == 1)
    return refuse(kernel, TSR_KNOB_PACK_A, "must be 0: the operand is packed already", diag);
  if (c->b.packable && !c->flat && knobs[TSR_KNOB_PACK_B] == 1)
    return refuse(kernel, TSR_KNOB_PACK_B, "must be 0: the operand is packed already", diag);
  return TSR_OK;
}

tsr_status tsr_schedule_check(tsr_nest *nest, const tsr_schedule *schedule, const char *kernel,
                              tsr_diag *diag) {
  if (schedule->strategy == TSR_STRATEGY_GROUP)
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "schedule @%s: strategy \"group\" is for groups only",
                    kernel);
  if (nest->proc != (schedule->strategy == TSR_STRATEGY_PROC))
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "schedule @%s: strategy \"proc\" is for procs only",
                    kernel);
  if (schedule->strategy == TSR_STRATEGY_NEST)
    return check_nest(nest, schedule->knobs, kernel, diag);
  if (schedule->strategy == TSR_STRATEGY_CONTRACT)
    return check_contract(nest, schedule, kernel, diag);
  if (schedule->strategy == TSR_STRATEGY_MMA || schedule->strategy == TSR_STRATEGY_WGMMA)
    return tsr_mma_check(nest, schedule, kernel, diag);
  return TSR_OK;
}
