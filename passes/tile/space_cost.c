#include "passes/tile/default.h"
#include "passes/tile/group.h"
#include "passes/tile/space_form.h"
#include <stdio.h>

/* A proc is a program per par point, of which little is known. */
static void cost_of_proc(const tsr_space *space, tsr_cost *out_cost) {
  const double point_cycles = 200;
  const tsr_nest *nest = space->nest;
  const tsr_target *target = space->take.target;
  double points = 1;
  for (uint32_t i = 0; i < nest->par_count; i++)
    points *= nest->axes[i].size > 1 ? (double)nest->axes[i].size : 1;
  const double threads = points < (double)target->threads ? points : (double)target->threads;
  *out_cost = (tsr_cost){.tasks = points, .compute = points * point_cycles};
  out_cost->overhead = target->launch_cycles;
  out_cost->cycles = out_cost->compute / threads + target->launch_cycles;
  snprintf(out_cost->why, sizeof out_cost->why, "a program for each of %.0f points", points);
}

/* The second kernel runs when the first is done. */
static void add_second(const tsr_space_part *part, tsr_cost *inout) {
  tsr_cost second;
  if (part->second->target->kind == TSR_TARGET_CUDA)
    tsr_default_cuda_nest_cost(part->second, &part->end, &second);
  else
    tsr_default_nest_cost(part->second, &part->end, &second);
  inout->overhead += second.cycles;
  inout->cycles += second.cycles;
}

void tsr_space_cost(tsr_space *space, const tsr_schedule *schedule, tsr_cost *out_cost) {
  const bool cuda = space->take.target->kind == TSR_TARGET_CUDA;
  tsr_nest *nest = space->group ? NULL : tsr_space_nest_of(space, schedule);
  *out_cost = (tsr_cost){0};
  if (schedule->strategy == TSR_STRATEGY_GROUP) {
    tsr_group_cost(space->take.ir, space->rates, space->block, schedule, out_cost);
  } else if (schedule->strategy == TSR_STRATEGY_PROC) {
    cost_of_proc(space, out_cost);
  } else if (schedule->strategy == TSR_STRATEGY_CONTRACT) {
    tsr_default_contract_cost(space->matched, schedule, out_cost);
    tsr_cost_say(out_cost);
  } else if (schedule->strategy != TSR_STRATEGY_NEST) {
    /* The model counts the second kernel of a cut contraction itself. */
    tsr_default_cuda_cost(space->nest, schedule, 0, out_cost);
  } else if (nest != NULL) {
    const tsr_space_part *part =
        schedule->knobs[TSR_KNOB_SPLIT] > 1 ? tsr_space_part_of(space, schedule) : NULL;
    if (cuda)
      tsr_default_cuda_nest_cost(nest, schedule, out_cost);
    else
      tsr_default_nest_cost(nest, schedule, out_cost);
    if (part != NULL)
      add_second(part, out_cost);
    if (cuda)
      tsr_cost_say_cuda(space->take.target, out_cost);
  }
  tsr_arena_reset(&space->scratch);
}
