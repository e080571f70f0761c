/* Strategy "nest": loops over the par axes, one of them on the vector lanes and perhaps one on the
 * tile's rows; reductions loop inside, perhaps with a red axis on the lanes. It takes every block.
 */
#include "passes/tile/nest.h"

enum { MAX_GRID = 4, MAX_CUDA_GRID = 8 };

/* One par axis, walked in units of `step` elements with a rest. */
typedef struct level {
  uint32_t axis;
  int lane; /* the tile axis that `step` elements lie on, -1: scalar */
  int64_t step;
  tsr_expr units;  /* whole ones */
  int64_t size;    /* typical number of units, the rest included */
  bool rest;       /* extent mod step may be other than 0 */
  int64_t chunk;   /* units of a task; 0: no grid variable, all units in one task */
  tsr_expr number; /* the grid variable */
} level;

typedef struct looping {
  tsr_nest *nest;
  tsr_ir *ir;
  tsr_body body;
  level levels[TSR_NEST_AXES];
  uint32_t count;
} looping;

/* Is what lies beyond the axis's extent beyond the buffer, in every store? Then a tile may hang
 * over the edge. */
static bool may_hang(const tsr_nest *nest, uint32_t axis) {
  for (uint32_t i = 0; i < nest->access_count; i++) {
    const tsr_nest_access *access = &nest->accesses[i];
    bool leaves = access->kind != TSR_ACCESS_STORE;
    for (uint32_t d = 0; d < access->rank; d++)
      leaves = leaves || (access->subs[d] == nest->axes[axis].leaf &&
                          nest->buffers[access->buffer].dims[d] == nest->axes[axis].extent);
    if (!leaves)
      return false;
  }
  return true;
}

/* A CUDA kernel has one tile and no rest: threads beyond the edge do nothing. */
static void add_level(looping *l, uint32_t axis, int lane, int64_t step) {
  const tsr_nest_axis *a = &l->nest->axes[axis];
  level *made = &l->levels[l->count++];
  *made = (level){.axis = axis, .lane = lane, .step = step};
  if (l->nest->target->kind == TSR_TARGET_CUDA && may_hang(l->nest, axis)) {
    made->units = tsr_expr_ceildiv_int(l->ir, a->extent, step);
    made->size = (a->size + step - 1) / step;
    return;
  }
  made->units = tsr_expr_floordiv_int(l->ir, a->extent, step);
  made->size = a->size / step + (a->size % step != 0);
  made->rest = !tsr_expr_equals_int(l->ir, tsr_expr_mod_int(l->ir, a->extent, step), 0);
}

/* From the innermost level outwards: whole levels while a task is smaller than the grain, then a
 * chunked one, then grid variables. */
static void choose_grid(looping *l, double tile_cycles, double grain) {
  double work = tile_cycles > 1 ? tile_cycles : 1;
  uint32_t used = 0;
  const uint32_t most = l->nest->target->kind == TSR_TARGET_CUDA ? MAX_CUDA_GRID : MAX_GRID;
  bool split = false;
  for (uint32_t i = l->count; i-- > 0 && used < most;) {
    level *at = &l->levels[i];
    if (split) {
      at->chunk = 1;
      used++;
    } else if (work * (double)at->size > grain) {
      const double chunk = grain / work;
      at->chunk = chunk > 1 ? (int64_t)chunk : 1;
      split = true;
      used++;
    } else {
      work *= (double)at->size;
    }
  }
}

static void add_grid(looping *l, tsr_region region) {
  for (uint32_t i = 0; i < l->count; i++) {
    level *at = &l->levels[i];
    if (at->chunk == 0)
      continue;
    const tsr_expr extent = l->nest->axes[at->axis].extent;
    const tsr_expr tasks = tsr_expr_ceildiv_int(l->ir, extent, at->step * at->chunk);
    at->number = tsr_expr_value(l->ir, tsr_region_add_index(l->ir, region, TSR_ROLE_GRID,
                                                            tsr_expr_int(l->ir, 0), tasks, 1));
  }
}

static void emit_level(looping *l, uint32_t number);

static void emit_inside(looping *l, uint32_t number, tsr_expr position, int64_t extent) {
  const level *at = &l->levels[number];
  tsr_body *body = &l->body;
  const uint32_t mark = tsr_body_mark(body);
  if (at->lane >= 0) {
    body->extents[at->lane] = extent;
    if (extent > 1)
      position = tsr_expr_add(l->ir, position, tsr_expr_lane(l->ir, (unsigned)at->lane));
  }
  tsr_body_bind(body, at->axis, position);
  emit_level(l, number + 1);
  if (at->lane >= 0)
    body->extents[at->lane] = 1;
  tsr_body_bind(body, at->axis, tsr_expr_int(l->ir, 0));
  tsr_body_release(body, mark);
}

static void emit_units(looping *l, uint32_t number) {
  const level *at = &l->levels[number];
  const tsr_region outer = l->body.region;
  tsr_expr lo = tsr_expr_int(l->ir, 0), hi = at->units;
  if (tsr_expr_equals_int(l->ir, at->units, 0))
    return;
  if (at->chunk > 0) {
    lo = tsr_expr_mul_int(l->ir, at->number, at->chunk);
    hi = tsr_tile_min(l->ir, tsr_expr_add_int(l->ir, lo, at->chunk), at->units);
  }
  /* A task of the rest alone has no whole unit, which the loop's bounds say. */
  if ((at->chunk == 1 && !at->rest) ||
      (at->chunk == 0 && tsr_expr_equals_int(l->ir, at->units, 1))) {
    emit_inside(l, number, tsr_expr_mul_int(l->ir, lo, at->step), at->step);
    return;
  }
  tsr_tile_loop loop = tsr_tile_for(l->ir, outer, lo, hi, NULL, 0);
  l->body.region = loop.body;
  emit_inside(l, number, tsr_expr_mul_int(l->ir, loop.index, at->step), at->step);
  l->body.region = outer;
}

/* Element by element. */
static void emit_singly(looping *l, uint32_t number) {
  const level *at = &l->levels[number];
  const tsr_region outer = l->body.region;
  tsr_tile_loop loop = tsr_tile_for(l->ir, outer, tsr_expr_mul_int(l->ir, at->units, at->step),
                                    l->nest->axes[at->axis].extent, NULL, 0);
  l->body.region = loop.body;
  emit_inside(l, number, loop.index, 1);
  l->body.region = outer;
}

/* The elements after the last whole unit: exactly them when their number is known, else a tile that
 * hangs over the edge, or one after the other where a store would put what hangs over into the next
 * row. */
static void emit_rest(looping *l, uint32_t number) {
  const level *at = &l->levels[number];
  const tsr_region outer = l->body.region;
  const tsr_expr extent = l->nest->axes[at->axis].extent;
  const tsr_expr left = tsr_expr_mod_int(l->ir, extent, at->step);
  int64_t fixed = at->step;
  tsr_expr cond = 0;
  if (!at->rest)
    return;
  if (!tsr_expr_is_int(l->ir, left, &fixed)) {
    fixed = at->step;
    cond = tsr_expr_binary(l->ir, TSR_INDEX_LT, tsr_expr_int(l->ir, 0), left);
  }
  if (at->chunk > 0) {
    const tsr_expr here = tsr_expr_binary(l->ir, TSR_INDEX_EQ, at->number,
                                          tsr_expr_floordiv_int(l->ir, at->units, at->chunk));
    cond = cond == 0 ? here : tsr_expr_binary(l->ir, TSR_INDEX_AND, cond, here);
  }
  if (cond != 0)
    l->body.region = tsr_tile_if(l->ir, outer, cond);
  if (fixed == at->step && at->step > 1 && !may_hang(l->nest, at->axis))
    emit_singly(l, number);
  else
    emit_inside(l, number, tsr_expr_mul_int(l->ir, at->units, at->step), fixed);
  l->body.region = outer;
}

/* What does not vary with this level's axis or a deeper one is made before its loop. */
static void hoist(looping *l, uint32_t number) {
  uint32_t inner = 0;
  for (uint32_t i = number; i < l->count; i++)
    inner |= 1u << l->levels[i].axis;
  TSR_FOR_EACH_OP (l->ir, tsr_op_get(l->ir, l->nest->op)->regions[0], op) {
    const tsr_op_data *data = tsr_op_get(l->ir, op);
    if (data->code == TSR_OP_STORE || data->code == TSR_OP_SCATTER_STORE)
      tsr_body_hoist(&l->body, data->operands[0].value, inner);
  }
}

static void emit_level(looping *l, uint32_t number) {
  if (number == l->count) {
    tsr_body_stores(&l->body);
    return;
  }
  hoist(l, number);
  emit_units(l, number);
  emit_rest(l, number);
}

/* The loops over the par axes, the lanes innermost, and what of them numbers tasks. */
static void add_levels(looping *l, const tsr_schedule *schedule) {
  const tsr_nest *nest = l->nest;
  const int64_t *knobs = schedule->knobs, side = knobs[TSR_KNOB_SIDE];
  for (uint32_t i = 0; i < nest->par_count; i++)
    if (!nest->axes[i].gone && i != knobs[TSR_KNOB_VECTOR] && i != side)
      add_level(l, i, -1, 1);
  if (side >= 0 && side < nest->par_count)
    add_level(l, (uint32_t)side, 0, knobs[TSR_KNOB_ROWS]);
  if (knobs[TSR_KNOB_VECTOR] >= 0)
    add_level(l, (uint32_t)knobs[TSR_KNOB_VECTOR], 1, knobs[TSR_KNOB_LANES]);
  choose_grid(l, tsr_nest_tile_cycles(nest, schedule), (double)knobs[TSR_KNOB_GRAIN]);
}

double tsr_nest_tasks(tsr_nest *nest, const tsr_schedule *schedule) {
  looping l = {.nest = nest, .ir = nest->ir};
  double tasks = 1;
  add_levels(&l, schedule);
  for (uint32_t i = 0; i < l.count; i++)
    if (l.levels[i].chunk > 0)
      tasks *= (double)((l.levels[i].size + l.levels[i].chunk - 1) / l.levels[i].chunk);
  return tasks;
}

tsr_status tsr_tile_nest(tsr_nest *nest, const tsr_schedule *schedule, tsr_region region,
                         tsr_diag *diag) {
  looping l = {.nest = nest, .ir = nest->ir};
  const int64_t *knobs = schedule->knobs;
  if (!tsr_body_begin(&l.body, nest, region))
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory in tiling");
  const int64_t side = knobs[TSR_KNOB_SIDE];
  l.body.plan =
      (tsr_body_plan){.axes = {side >= nest->par_count ? (int)side : -1, (int)knobs[TSR_KNOB_FOLD]},
                      .extents = {knobs[TSR_KNOB_ROWS], knobs[TSR_KNOB_LANES]},
                      .unroll = knobs[TSR_KNOB_UNROLL]};
  if (knobs[TSR_KNOB_WARPS] > 0)
    tsr_op_set_int(nest->ir, tsr_region_get(nest->ir, region)->parent, "warps",
                   knobs[TSR_KNOB_WARPS]);
  add_levels(&l, schedule);
  add_grid(&l, region);
  emit_level(&l, 0);
  tsr_body_release(&l.body, 0);
  return tsr_ir_status(nest->ir);
}
