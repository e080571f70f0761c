/* The default of strategy nest on CPUs. */
#include "passes/cost/cost.h"
#include "passes/tile/default.h"
#include "passes/tile/split.h"
#include <math.h>

static double red_points(const tsr_nest *nest) {
  double points = 1;
  for (uint32_t i = nest->par_count; i < nest->axis_count; i++)
    if (!nest->axes[i].gone)
      points *= (double)greatest(nest->axes[i].size, 1);
  return points;
}

/* Vector slots that an axis of this size fills. */
static double fill(int64_t size, int64_t lanes) {
  return size <= 0 ? 1 : (double)size / (double)up_to(size, lanes);
}

/* Cycles per par point with `vector` (par) and `fold` (red) on the lanes; -1: none. */
static double nest_cycles(const tsr_nest *nest, int vector, int fold, int64_t lanes) {
  const double points = red_points(nest);
  const uint32_t red = tsr_nest_red_mask(nest);
  const bool shared = tsr_nest_reduces_over(nest, vector);
  const int inside = shared ? vector : fold;
  const double fill_in = inside < 0 ? 1 : fill(nest->axes[inside].size, lanes);
  const double fill_out = vector < 0 ? 1 : fill(nest->axes[vector].size, lanes);
  double cycles = 0;
  for (uint32_t i = 0; i < nest->access_count; i++) {
    const tsr_nest_access *access = &nest->accesses[i];
    if (access->kind == TSR_ACCESS_INDEX)
      continue;
    const bool deep = (tsr_nest_varies(nest, access) & red) != 0;
    const int axis = deep ? inside : vector;
    int64_t stride = axis < 0 ? INT64_MAX : tsr_nest_stride(nest, access, (uint32_t)axis);
    if (access->indirect && stride == 0)
      stride = INT64_MAX;
    cycles += (deep ? points / fill_in : 1 / fill_out) *
              tsr_cost_of_access(nest->target, stride, axis < 0 ? 1 : lanes,
                                 access->kind == TSR_ACCESS_STORE);
  }
  const double ops = 1 + (double)nest->op_count;
  const double wide = (double)lanes;
  if (nest->reduce_count > 0)
    cycles += ops * points / (inside < 0 ? 1 : wide * fill_in) +
              (shared || fold < 0 ? 0 : 3 * log2(wide) + 8);
  return cycles + ops / (vector < 0 ? 1 : wide * fill_out);
}

double tsr_nest_tile_cycles(const tsr_nest *nest, const tsr_schedule *schedule) {
  const int64_t *knobs = schedule->knobs;
  const int64_t lanes = tsr_target_lanes(nest->target, tsr_dtype_bits(nest->widest));
  const double points = (double)(knobs[TSR_KNOB_VECTOR] >= 0 ? knobs[TSR_KNOB_LANES] : 1) *
                        (double)(knobs[TSR_KNOB_SIDE] >= 0 ? knobs[TSR_KNOB_ROWS] : 1);
  return 2 +
         points * nest_cycles(nest, (int)knobs[TSR_KNOB_VECTOR], (int)knobs[TSR_KNOB_FOLD], lanes);
}

/* A load that is contiguous along another par axis than the lanes: the pair makes square tiles that
 * are turned in registers. */
static int side_of_vector(const tsr_nest *nest, int vector) {
  if (vector < 0 || nest->reduce_count > 0)
    return -1;
  for (uint32_t i = 0; i < nest->access_count; i++) {
    const tsr_nest_access *access = &nest->accesses[i];
    if (access->kind != TSR_ACCESS_LOAD || access->indirect)
      continue;
    const int64_t stride = tsr_nest_stride(nest, access, (uint32_t)vector);
    if (stride == 0 || stride == 1 || stride == INT64_MAX)
      continue;
    for (uint32_t k = 0; k < nest->par_count; k++)
      if ((int)k != vector && !nest->axes[k].gone && nest->axes[k].size >= 4 &&
          nest->axes[vector].size >= 4 && tsr_nest_stride(nest, access, k) == 1)
        return (int)k;
  }
  return -1;
}

/* Rows of more vectors, where the model says that they gain: chains of operations that do not wait
 * for each other, longer runs of memory. Code grows with them. */
static void choose_row(tsr_nest *nest, int64_t lanes, int wide, tsr_schedule *inout) {
  enum { MOST_VECTORS = 8, MOST_OPERATIONS = 320 };
  const double gain = 1.03;
  const tsr_nest_axis *axis = &nest->axes[wide];
  tsr_schedule other = *inout;
  tsr_cost best, cost;
  tsr_default_nest_cost(nest, inout, &best);
  for (int64_t vectors = 2; vectors <= MOST_VECTORS; vectors *= 2) {
    const int64_t most = vectors * lanes;
    const int64_t row = axis->fixed ? least(most, axis->size) : most;
    if (row <= inout->knobs[TSR_KNOB_LANES] || row > axis->size ||
        vectors * (int64_t)nest->op_count > MOST_OPERATIONS)
      continue;
    other.knobs[TSR_KNOB_LANES] = row;
    tsr_default_nest_cost(nest, &other, &cost);
    if (cost.cycles * gain < best.cycles) {
      best = cost;
      *inout = other;
    }
  }
}

/* A short window's innermost steps are straight code where it stays short. */
static int64_t steps_at_a_time(const tsr_nest *nest, int vector) {
  enum { MOST_OPERATIONS = 64 };
  const int axis = tsr_nest_innermost_red(nest);
  if (axis < 0 || !tsr_nest_reduces_over(nest, vector))
    return 1;
  const int64_t steps = tsr_nest_straight_steps(&nest->axes[axis], INT64_MAX);
  int64_t unroll = 1;
  while (unroll < steps)
    unroll *= 2;
  return steps * ((int64_t)nest->op_count + 1) <= MOST_OPERATIONS ? unroll : 1;
}

/* A reduction of much that would be one task is cut into parts, the same number on every machine
 * with threads. */
static void choose_parts(tsr_nest *nest, tsr_schedule *inout) {
  enum { PARTS = 16 };
  const double sure = 1.1; /* a second kernel must be worth it */
  const tsr_target *target = nest->target;
  tsr_cost cost;
  if (target->threads < 2 || nest->reduce_count == 0 || tsr_nest_tasks(nest, inout) > 1 ||
      !tsr_split_possible(nest) || tsr_split_axis(nest, PARTS, false) < 0)
    return;
  tsr_default_nest_cost(nest, inout, &cost);
  const double more = target->fork_cycles + 2 * target->launch_cycles;
  if (cost.cycles > sure * (cost.cycles / (double)target->threads + more))
    inout->knobs[TSR_KNOB_SPLIT] = PARTS;
}

void tsr_default_nest(tsr_nest *nest, tsr_schedule *out) {
  const int64_t lanes = tsr_target_lanes(nest->target, tsr_dtype_bits(nest->widest));
  const bool region = tsr_nest_has_region_reduce(nest);
  double best = HUGE_VAL;
  int vector = -1, fold = -1;
  for (int v = -1; v < (int)nest->par_count; v++)
    for (int f = -1; f < (int)nest->axis_count; f++) {
      if ((v >= 0 && nest->axes[v].gone) || (f >= 0 && (f < (int)nest->par_count || region)) ||
          (f >= 0 && (nest->axes[f].gone || tsr_nest_reduces_over(nest, v))))
        continue;
      const double cycles = nest_cycles(nest, v, f, lanes);
      if (cycles < best) {
        best = cycles;
        vector = v;
        fold = f;
      }
    }
  out->strategy = TSR_STRATEGY_NEST;
  int64_t *knobs = out->knobs;
  const int side = side_of_vector(nest, vector);
  const int64_t several = side >= 0 ? 1 : nest->op_count <= 8 ? 4 : nest->op_count <= 40 ? 2 : 1;
  const int wide = vector >= 0 ? vector : fold;
  int64_t row = lanes * (vector < 0 && fold >= 0 ? 4 : several);
  while (wide >= 0 && row > lanes && row > nest->axes[wide].size)
    row /= 2;
  if (wide >= 0 && nest->axes[wide].fixed && nest->axes[wide].size > 0)
    row = least(row, nest->axes[wide].size);
  knobs[TSR_KNOB_VECTOR] = vector;
  knobs[TSR_KNOB_FOLD] = fold;
  knobs[TSR_KNOB_LANES] = wide < 0 ? 1 : row;
  knobs[TSR_KNOB_SIDE] = side;
  knobs[TSR_KNOB_ROWS] = side < 0 ? 1 : least(lanes, greatest(nest->axes[side].size, 1));
  knobs[TSR_KNOB_UNROLL] = steps_at_a_time(nest, vector);
  knobs[TSR_KNOB_SPLIT] = 1;
  for (uint32_t i = 0; i < nest->par_count; i++)
    best *= nest->axes[i].gone ? 1 : (double)greatest(nest->axes[i].size, 1);
  knobs[TSR_KNOB_GRAIN] = tsr_default_grain(nest->target, best);
  if (side < 0 && wide >= 0)
    choose_row(nest, lanes, wide, out);
  choose_parts(nest, out);
}
