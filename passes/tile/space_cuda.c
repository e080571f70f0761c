/* Schedules of the strategies mma and wgmma. */
#include "passes/tile/default.h"
#include "passes/tile/space_form.h"
#include "passes/tile/split.h"

static bool is_fma(const tsr_atom *atom) {
  return atom->kind == TSR_TARGET_CPU;
}

/* Rows and columns of the least tile of a warp, and times that of the greatest. */
typedef struct units {
  int64_t m, n, most_m, most_n;
} units;

static units units_of(const tsr_schedule *schedule) {
  if (schedule->strategy == TSR_STRATEGY_WGMMA)
    return (units){16, tsr_dtype_bits(schedule->atom->a) == 8 ? 16 : 8, 2, 32};
  if (is_fma(schedule->atom))
    return (units){4, 8, 8, 8};
  return (units){schedule->atom->m, schedule->atom->n, 4, 16};
}

void tsr_space_mma_values(tsr_space *space, tsr_space_form *form) {
  tsr_value_list *knobs = form->knobs;
  const tsr_schedule of = {.strategy = form->strategy, .atom = form->atom};
  const bool wgmma = form->strategy == TSR_STRATEGY_WGMMA;
  const units unit = units_of(&of);
  const int64_t step = is_fma(form->atom) ? 8 : form->atom->k;
  for (int64_t warps = wgmma ? 4 : 1; warps <= (wgmma ? 8 : 4); warps *= 2) {
    tsr_space_add_value(&knobs[TSR_KNOB_WARPS_M], warps);
    for (int64_t times = 1; times <= unit.most_m; times *= 2)
      tsr_space_add_value(&knobs[TSR_KNOB_BM], unit.m * warps * times);
  }
  for (int64_t warps = 1; !wgmma && warps <= 8; warps *= 2) {
    tsr_space_add_value(&knobs[TSR_KNOB_WARPS_N], warps);
    for (int64_t times = 1; times <= unit.most_n && unit.n * warps * times <= 256; times *= 2)
      tsr_space_add_value(&knobs[TSR_KNOB_BN], unit.n * warps * times);
  }
  for (int64_t bn = 16; wgmma && bn <= 256; bn += bn < 64 ? 16 : 32)
    tsr_space_add_value(&knobs[TSR_KNOB_BN], bn);
  for (int64_t bk = step; bk * tsr_dtype_bits(form->atom->a) <= 256 * 8; bk *= 2)
    tsr_space_add_value(&knobs[TSR_KNOB_BK], bk);
  for (int64_t stages = 2; stages <= 8; stages++)
    tsr_space_add_value(&knobs[TSR_KNOB_STAGES], stages);
  for (int64_t raster = 1; raster <= 32; raster *= 2)
    tsr_space_add_value(&knobs[TSR_KNOB_RASTER], raster);
  tsr_space_add_value(&knobs[TSR_KNOB_SPLIT], 1);
  for (uint32_t i = 0; !wgmma && i < space->part_count; i++)
    if (tsr_split_axis(space->nest, space->parts[i].parts, true) >= 0)
      tsr_space_add_value(&knobs[TSR_KNOB_SPLIT], space->parts[i].parts);
  for (int64_t i = 0; wgmma && i < 2; i++) {
    tsr_space_add_value(&knobs[TSR_KNOB_CLUSTER], 1 + i);
    tsr_space_add_value(&knobs[TSR_KNOB_PERSISTENT], i);
  }
}

/* A whole number of units for each warp, not more than a warp may have, and no tile that stands
 * over the edge by half of itself. */
static void settle_side(int64_t unit, int64_t most, int64_t size, int64_t *inout_warps,
                        int64_t *inout_tile) {
  while (*inout_warps > 1 && unit * *inout_warps >= 2 * size)
    *inout_warps /= 2;
  int64_t times = (*inout_tile + unit * *inout_warps - 1) / (unit * *inout_warps);
  times = greatest(1, least(times, most));
  while (times > 1 && unit * *inout_warps * times >= 2 * size)
    times = (times + 1) / 2;
  *inout_tile = unit * *inout_warps * times;
}

void tsr_space_mma_settle(const tsr_space *space, tsr_schedule *inout) {
  int64_t *knobs = inout->knobs, one = 1;
  const tsr_mma_problem *p = space->problem;
  const bool wgmma = inout->strategy == TSR_STRATEGY_WGMMA;
  const units unit = units_of(inout);
  if (wgmma) /* whole groups of four warps, however few rows there are */
    settle_side(16 * knobs[TSR_KNOB_WARPS_M], unit.most_m, greatest(p->m.size, 1), &one,
                &knobs[TSR_KNOB_BM]);
  else
    settle_side(unit.m, unit.most_m, greatest(p->m.size, 1), &knobs[TSR_KNOB_WARPS_M],
                &knobs[TSR_KNOB_BM]);
  settle_side(unit.n, unit.most_n, greatest(p->n.size, 1), wgmma ? &one : &knobs[TSR_KNOB_WARPS_N],
              &knobs[TSR_KNOB_BN]);
  while (knobs[TSR_KNOB_STAGES] > 2 && !tsr_default_cuda_fits(space->nest, inout))
    knobs[TSR_KNOB_STAGES]--;
}

bool tsr_space_mma_fits(const tsr_space *space, const tsr_schedule *schedule) {
  const int64_t *knobs = schedule->knobs;
  return knobs[TSR_KNOB_BM] >= 1 && knobs[TSR_KNOB_BN] >= 1 && knobs[TSR_KNOB_BK] >= 1 &&
         knobs[TSR_KNOB_WARPS_M] >= 1 &&
         (schedule->strategy == TSR_STRATEGY_WGMMA || knobs[TSR_KNOB_WARPS_N] >= 1) &&
         knobs[TSR_KNOB_STAGES] >= 1 && tsr_default_cuda_fits(space->nest, schedule);
}
