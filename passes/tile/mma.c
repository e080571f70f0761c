/* Strategy "mma": a task computes a tile of sums in registers. Tiles of both operands go through
 * rings in shared memory, copied ahead where the hardware can; warps take fragments from there. */
#include "passes/tile/mma_emit.h"

enum { MOST_LOADS = 8 }; /* under one operand, that are made a turn early */

typedef struct emitting {
  tsr_nest *nest;
  tsr_ir *ir;
  const tsr_mma_problem *p;
  const tsr_schedule *schedule;
  const int64_t *knobs;
  tsr_body body;
  tsr_mma_tiles tiles;
  tsr_mma_ring rings[2];
  int64_t places;
} emitting;

static tsr_expr number(const emitting *e, int64_t value) {
  return tsr_expr_int(e->ir, value);
}

/* --- the grid --- */

void tsr_mma_walk(tsr_ir *ir, tsr_mma_tiles *tiles, tsr_expr at, int64_t raster) {
  int64_t rows = 0;
  if (raster == 1) {
    tiles->row = tsr_expr_binary(ir, TSR_INDEX_FLOORDIV, at, tiles->columns);
    tiles->column = tsr_expr_binary(ir, TSR_INDEX_MOD, at, tiles->columns);
    return;
  }
  if (tsr_expr_is_int(ir, tiles->rows, &rows) && rows <= raster) {
    tiles->row = tsr_expr_mod_int(ir, at, rows > 0 ? rows : 1);
    tiles->column = tsr_expr_floordiv_int(ir, at, rows > 0 ? rows : 1);
    return;
  }
  const tsr_expr group = tsr_expr_mul_int(ir, tiles->columns, raster);
  const tsr_expr first =
      tsr_expr_mul_int(ir, tsr_expr_binary(ir, TSR_INDEX_FLOORDIV, at, group), raster);
  const tsr_expr inside = tsr_expr_binary(ir, TSR_INDEX_MOD, at, group);
  const tsr_expr height =
      rows % raster == 0 && rows > 0
          ? tsr_expr_int(ir, raster)
          : tsr_tile_min(ir, tsr_expr_int(ir, raster), tsr_expr_sub(ir, tiles->rows, first));
  tiles->row = tsr_expr_add(ir, first, tsr_expr_binary(ir, TSR_INDEX_MOD, inside, height));
  tiles->column = tsr_expr_binary(ir, TSR_INDEX_FLOORDIV, inside, height);
}

static tsr_expr grid_index(tsr_ir *ir, tsr_region region, tsr_expr extent) {
  const tsr_expr zero = tsr_expr_int(ir, 0);
  if (tsr_expr_equals_int(ir, extent, 1))
    return zero;
  return tsr_expr_value(ir, tsr_region_add_index(ir, region, TSR_ROLE_GRID, zero, extent, 1));
}

void tsr_mma_grid(tsr_body *body, const tsr_mma_problem *problem, tsr_region region,
                  tsr_mma_tiles *tiles, int64_t raster) {
  tsr_ir *ir = body->ir;
  int64_t rows = 0;
  for (uint32_t i = 0; i < problem->outer_count; i++)
    tsr_body_bind(body, problem->outer[i],
                  grid_index(ir, region, body->nest->axes[problem->outer[i]].extent));
  const bool known = tsr_expr_is_int(ir, tiles->rows, &rows);
  if (raster == 1 || (known && rows == 1)) {
    tiles->row = grid_index(ir, region, tiles->rows);
    tiles->column = grid_index(ir, region, tiles->columns);
  } else if (known && rows <= raster) {
    tiles->column = grid_index(ir, region, tiles->columns);
    tiles->row = grid_index(ir, region, tiles->rows);
  } else if (known && rows % raster == 0) {
    const tsr_expr group = grid_index(ir, region, tsr_expr_int(ir, rows / raster));
    tiles->column = grid_index(ir, region, tiles->columns);
    tiles->row = tsr_expr_add(ir, tsr_expr_mul_int(ir, group, raster),
                              grid_index(ir, region, tsr_expr_int(ir, raster)));
  } else {
    tsr_mma_walk(ir, tiles, grid_index(ir, region, tsr_expr_mul(ir, tiles->rows, tiles->columns)),
                 raster);
  }
}

/* --- operands --- */

void tsr_mma_bind(tsr_body *body, const tsr_mma_side *side, tsr_expr at, bool guarded) {
  tsr_expr from[TSR_NEST_AXES], to[TSR_NEST_AXES];
  const uint32_t count = tsr_mma_decode(body->nest, side, at, from, to);
  for (uint32_t i = 0; i < count; i++) {
    if (i == 0 && guarded)
      to[i] = tsr_expr_add(body->ir, to[i], tsr_mma_beyond(body->nest, side, at));
    tsr_body_bind(body, side->axes[i], to[i]);
  }
}

/* First element of the tile along the ring's side. */
static tsr_expr side_base(const emitting *e, const tsr_mma_ring *ring) {
  return tsr_expr_mul_int(e->ir, ring->which == 0 ? e->tiles.row : e->tiles.column, ring->tile);
}

/* Binds side and depth so that the tile's lanes run through rows and elements as they lie in shared
 * memory, from element `first` of a row on. */
static tsr_expr bind_ring(emitting *e, const tsr_mma_ring *ring, tsr_expr depth, int64_t first,
                          bool guarded) {
  tsr_ir *ir = e->ir;
  const bool along = ring->operand.along_depth;
  const tsr_expr row = tsr_expr_lane(ir, 0);
  const tsr_expr at = tsr_expr_add_int(ir, tsr_expr_lane(ir, 1), first);
  const tsr_expr k = tsr_expr_add(ir, depth, along ? at : row);
  tsr_mma_bind(&e->body, ring->side, tsr_expr_add(ir, side_base(e, ring), along ? row : at), false);
  tsr_mma_bind(&e->body, &e->p->k, k, guarded);
  return k;
}

/* One copy per panel, so that each side of it is a plain box or window. */
static void copy_ahead(emitting *e, const tsr_mma_ring *ring, tsr_expr slot, tsr_expr depth) {
  tsr_ir *ir = e->ir;
  const tsr_mma_operand *o = &ring->operand;
  const bool guarded = !tsr_expr_divisible(ir, e->p->k.extent, ring->depth) &&
                       !tsr_mma_leaves(e->nest, o->load, &e->p->k);
  for (int64_t at = 0; at < ring->length; at += ring->panel) {
    tsr_expr from[TSR_MAX_RANK], to[4], shape[2];
    bind_ring(e, ring, depth, at, guarded);
    for (uint32_t d = 0; d < o->load->rank; d++)
      from[d] = tsr_body_expr(&e->body, o->load->subs[d]);
    if (o->packed) {
      const tsr_expr lanes[2] = {tsr_expr_lane(ir, 0), tsr_expr_lane(ir, 1)};
      from[o->load->rank - 2] = tsr_expr_add(ir, side_base(e, ring), lanes[0]);
      from[o->load->rank - 1] = tsr_expr_add(ir, depth, tsr_expr_add_int(ir, lanes[1], at));
    }
    uint32_t rank = 0;
    to[rank++] = slot;
    if (ring->panel != ring->length)
      to[rank++] = number(e, at / ring->panel);
    to[rank++] = tsr_expr_lane(ir, 0);
    to[rank++] = tsr_expr_lane(ir, 1);
    shape[0] = number(e, ring->rows);
    shape[1] = number(e, ring->panel);
    tsr_op copy = tsr_op_append(ir, e->body.region, TSR_OP_COPY);
    tsr_op_add_element(ir, copy, e->nest->buffers[o->load->buffer].arg, from, o->load->rank);
    tsr_op_add_element(ir, copy, ring->buffer, to, rank);
    tsr_op_set_string(ir, copy, "atom", "cp.async");
    tsr_op_set_exprs(ir, copy, "shape", shape, 2);
  }
}

/* What lies beyond the depth must be 0 on both sides, whatever was computed from it: the other
 * operand's zeros do not make up for a NaN. */
static tsr_value masked(emitting *e, const tsr_mma_ring *ring, tsr_value tile, tsr_expr k) {
  tsr_body *body = &e->body;
  const bool along = ring->operand.along_depth;
  if (tsr_expr_divisible(e->ir, e->p->k.extent, ring->depth) ||
      (ring->operand.plain && tsr_mma_leaves(e->nest, ring->operand.load, &e->p->k)))
    return tile;
  const tsr_value inside = tsr_tile_condition(
      e->ir, body->region, tsr_expr_binary(e->ir, TSR_INDEX_LT, k, e->p->k.extent),
      along ? 1 : ring->rows, along ? ring->length : 1);
  return tsr_tile_select(e->ir, body->region, inside, tile,
                         tsr_tile_const(e->ir, body->region, ring->operand.dtype, 0, 1, 1));
}

/* A tile that goes through registers: its loads, and what they load. */
typedef struct passing {
  tsr_value loads[MOST_LOADS], tiles[MOST_LOADS];
  uint32_t count;
} passing;

static tsr_expr bind_tile(emitting *e, const tsr_mma_ring *ring, tsr_expr depth) {
  e->body.extents[0] = ring->rows;
  e->body.extents[1] = ring->length;
  return bind_ring(e, ring, depth, 0, false);
}

/* Values are forgotten in between: the other operand has other lanes. */
static void load_tile(emitting *e, const tsr_mma_ring *ring, tsr_expr depth, passing *out) {
  const uint32_t mark = tsr_body_mark(&e->body);
  bind_tile(e, ring, depth);
  out->count = tsr_mma_loads(e->nest, ring->operand.value, out->loads, MOST_LOADS);
  for (uint32_t i = 0; i < out->count; i++)
    out->tiles[i] = tsr_body_value(&e->body, out->loads[i]);
  tsr_body_release(&e->body, mark);
}

static tsr_value finish_tile(emitting *e, const tsr_mma_ring *ring, tsr_expr depth,
                             const passing *loaded) {
  tsr_body *body = &e->body;
  const uint32_t mark = tsr_body_mark(body);
  const tsr_expr k = bind_tile(e, ring, depth);
  for (uint32_t i = 0; i < loaded->count; i++)
    tsr_body_set(body, loaded->loads[i], loaded->tiles[i]);
  const tsr_value value = tsr_body_value(body, ring->operand.value);
  const tsr_value tile = tsr_body_spread(body, masked(e, ring, value, k), ring->rows, ring->length);
  tsr_body_release(body, mark);
  return tile;
}

static void store_tile(emitting *e, const tsr_mma_ring *ring, tsr_expr slot, tsr_value tile) {
  tsr_expr subs[4];
  const bool along = ring->operand.along_depth;
  const uint32_t rank = tsr_mma_subscripts(e->nest, ring, slot, tsr_expr_lane(e->ir, along ? 0 : 1),
                                           tsr_expr_lane(e->ir, along ? 1 : 0), subs);
  tsr_op store = tsr_op_append(e->ir, e->body.region, TSR_OP_STORE);
  tsr_op_add_operand(e->ir, store, tile);
  tsr_op_add_element(e->ir, store, ring->buffer, subs, rank);
}

/* What an operand needs and does not vary along the depth is made in front of the loop. */
static void hoist(emitting *e, const tsr_mma_ring *ring) {
  uint32_t depth = 0;
  if (ring->async)
    return;
  for (uint32_t i = 0; i < e->p->k.count; i++)
    depth |= 1u << e->p->k.axes[i];
  bind_tile(e, ring, number(e, 0));
  tsr_body_hoist(&e->body, ring->operand.value, depth);
}

/* --- the loop --- */

static tsr_value fragment(emitting *e, tsr_region region, const tsr_mma_ring *ring, tsr_expr slot,
                          tsr_expr depth) {
  tsr_ir *ir = e->ir;
  const int64_t step = tsr_mma_step(e->schedule->atom);
  const bool a = ring->which == 0;
  tsr_expr subs[4];
  const tsr_expr side = tsr_expr_lane(ir, a ? 0 : 1);
  const tsr_expr k = tsr_expr_add(ir, depth, tsr_expr_lane(ir, a ? 1 : 0));
  const uint32_t rank = tsr_mma_subscripts(e->nest, ring, slot, side, k, subs);
  tsr_op op = tsr_op_append(ir, region, TSR_OP_FRAGMENT);
  tsr_op_add_element(ir, op, ring->buffer, subs, rank);
  tsr_op_set_string(ir, op, "atom", ring->fragment);
  return tsr_op_add_result(
      ir, op, tsr_tile_type(ir, ring->operand.dtype, a ? ring->tile : step, a ? step : ring->tile));
}

static tsr_value product(emitting *e, tsr_region region, tsr_expr slot, tsr_expr depth,
                         tsr_value sum) {
  tsr_ir *ir = e->ir;
  const tsr_value a = fragment(e, region, &e->rings[0], slot, depth);
  const tsr_value b = fragment(e, region, &e->rings[1], slot, depth);
  const tsr_expr warps[2] = {number(e, e->knobs[TSR_KNOB_WARPS_M]),
                             number(e, e->knobs[TSR_KNOB_WARPS_N])};
  tsr_op op = tsr_op_append(ir, region, TSR_OP_CONTRACT);
  tsr_op_add_operand(ir, op, a);
  tsr_op_add_operand(ir, op, b);
  tsr_op_add_operand(ir, op, sum);
  tsr_op_set_string(ir, op, "atom", e->schedule->atom->text);
  tsr_op_set_exprs(ir, op, "warps", warps, 2);
  return tsr_op_add_result(
      ir, op, tsr_tile_type(ir, e->schedule->atom->c, e->rings[0].tile, e->rings[1].tile));
}

static tsr_value products(emitting *e, tsr_region region, tsr_expr slot, tsr_value sum) {
  tsr_ir *ir = e->ir;
  const int64_t step = tsr_mma_step(e->schedule->atom), steps = e->knobs[TSR_KNOB_BK] / step;
  if (steps == 1)
    return product(e, region, slot, number(e, 0), sum);
  tsr_tile_loop loop = tsr_tile_for(ir, region, number(e, 0), number(e, steps), &sum, 1);
  tsr_op_set_int(ir, loop.op, "unroll", 0);
  const tsr_value next =
      product(e, loop.body, slot, tsr_expr_mul_int(ir, loop.index, step), loop.carried[0]);
  tsr_tile_yield(ir, loop.body, &next, 1);
  return loop.op == 0 ? 0 : tsr_op_get(ir, loop.op)->results[0];
}

/* A turn: bring what is copied, store what came through registers in the turn before, and while the
 * products run, load what the next turn stores. A place is written again only when all warps are
 * through with it: they are at the barrier of a later turn, or, with one place, at a second one of
 * the same turn. */
static void turn(emitting *e, const tsr_tile_loop *loop, tsr_value *out) {
  tsr_ir *ir = e->ir;
  const tsr_expr slot = tsr_expr_mod_int(ir, loop->index, e->places);
  const tsr_expr depth = tsr_expr_mul_int(ir, loop->index, e->knobs[TSR_KNOB_BK]);
  const tsr_expr next = tsr_expr_add_int(ir, depth, e->knobs[TSR_KNOB_BK]);
  passing loaded[2];
  uint32_t carried = 1;
  for (int i = 0; i < 2; i++)
    if (e->rings[i].async)
      copy_ahead(e, &e->rings[i], slot, depth);
    else
      store_tile(e, &e->rings[i], slot, loop->carried[carried++]);
  tsr_op_append(ir, loop->body, TSR_OP_BARRIER);
  for (int i = 0; i < 2; i++)
    if (!e->rings[i].async)
      load_tile(e, &e->rings[i], next, &loaded[i]);
  out[0] = products(e, loop->body, slot, loop->carried[0]);
  carried = 1;
  for (int i = 0; i < 2; i++)
    if (!e->rings[i].async)
      out[carried++] = finish_tile(e, &e->rings[i], next, &loaded[i]);
  if (e->places == 1)
    tsr_op_append(ir, loop->body, TSR_OP_BARRIER);
}

static tsr_value depth_loop(emitting *e) {
  tsr_ir *ir = e->ir;
  tsr_body *body = &e->body;
  const tsr_region outer = body->region;
  tsr_value state[3], next[3];
  uint32_t count = 1;
  body->unbound = 0;
  state[0] = tsr_tile_const(ir, outer, e->schedule->atom->c, 0, e->rings[0].tile, e->rings[1].tile);
  for (int i = 0; i < 2; i++)
    if (!e->rings[i].async) {
      passing loaded;
      load_tile(e, &e->rings[i], number(e, 0), &loaded);
      state[count++] = finish_tile(e, &e->rings[i], number(e, 0), &loaded);
    }
  const tsr_expr turns = tsr_expr_ceildiv_int(ir, e->p->k.extent, e->knobs[TSR_KNOB_BK]);
  tsr_tile_loop loop = tsr_tile_for(ir, outer, number(e, 0), turns, state, count);
  if (e->places > 1 && count < 3)
    tsr_op_set_int(ir, loop.op, "stages", e->places);
  body->region = loop.body;
  turn(e, &loop, next);
  tsr_tile_yield(ir, loop.body, next, count);
  body->region = outer;
  return loop.op == 0 ? 0 : tsr_op_get(ir, loop.op)->results[0];
}

/* --- behind the sum --- */

static bool stores_leave(const tsr_nest *nest, const tsr_mma_side *side) {
  for (uint32_t i = 0; i < nest->access_count; i++)
    if (nest->accesses[i].kind == TSR_ACCESS_STORE &&
        !tsr_mma_leaves(nest, &nest->accesses[i], side))
      return false;
  return true;
}

/* A row of the tile, where the problem has no rows. */
static tsr_value first_row(tsr_body *body, tsr_value tile, int64_t columns) {
  const int64_t start[2] = {0, 0};
  tsr_op op = tsr_op_append(body->ir, body->region, TSR_OP_TILE_SLICE);
  tsr_op_add_operand(body->ir, op, tile);
  tsr_op_set_ints(body->ir, op, "start", start, 2);
  return tsr_op_add_result(
      body->ir, op, tsr_tile_type(body->ir, tsr_value_type(body->ir, tile)->dtype, 1, columns));
}

void tsr_mma_epilogue(tsr_body *body, const tsr_mma_problem *problem, const tsr_schedule *schedule,
                      tsr_value sum, tsr_expr row, tsr_expr column) {
  const int64_t tile[2] = {schedule->knobs[TSR_KNOB_BM], schedule->knobs[TSR_KNOB_BN]};
  const tsr_mma_side *sides[2] = {&problem->m, &problem->n};
  const tsr_expr numbers[2] = {row, column};
  tsr_ir *ir = body->ir;
  const uint32_t mark = tsr_body_mark(body);
  for (unsigned i = 0; i < 2; i++) {
    const bool guarded =
        !tsr_expr_divisible(ir, sides[i]->extent, tile[i]) && !stores_leave(body->nest, sides[i]);
    body->extents[i] = sides[i]->count > 0 ? tile[i] : 1;
    tsr_mma_bind(body, sides[i],
                 tsr_expr_add(ir, tsr_expr_mul_int(ir, numbers[i], tile[i]), tsr_expr_lane(ir, i)),
                 guarded);
  }
  for (uint32_t i = 0; i < problem->k.count; i++)
    tsr_body_bind(body, problem->k.axes[i], tsr_expr_int(ir, 0));
  if (problem->m.count == 0)
    sum = first_row(body, sum, tile[1]);
  if (sum != 0 && problem->sum != tsr_value_type(ir, sum)->dtype) {
    tsr_op cast = tsr_op_append(ir, body->region, TSR_OP_CAST);
    tsr_op_add_operand(ir, cast, sum);
    sum = tsr_op_add_result(ir, cast,
                            tsr_tile_type(ir, problem->sum, body->extents[0], body->extents[1]));
  }
  tsr_body_set(body, tsr_op_get(ir, problem->reduce)->results[0], sum);
  tsr_body_stores(body);
  tsr_body_release(body, mark);
}

tsr_status tsr_tile_mma(tsr_nest *nest, const tsr_schedule *schedule, tsr_region region,
                        tsr_diag *diag) {
  emitting e = {.nest = nest,
                .ir = nest->ir,
                .p = tsr_mma_match(nest),
                .schedule = schedule,
                .knobs = schedule->knobs,
                .places = schedule->knobs[TSR_KNOB_STAGES]};
  if (e.p == NULL)
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "the block is no contraction");
  if (!tsr_body_begin(&e.body, nest, region))
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory in tiling");
  tsr_op_set_int(nest->ir, tsr_region_get(nest->ir, region)->parent, "warps",
                 e.knobs[TSR_KNOB_WARPS_M] * e.knobs[TSR_KNOB_WARPS_N]);
  e.tiles.rows = tsr_expr_ceildiv_int(nest->ir, e.p->m.extent, e.knobs[TSR_KNOB_BM]);
  e.tiles.columns = tsr_expr_ceildiv_int(nest->ir, e.p->n.extent, e.knobs[TSR_KNOB_BN]);
  tsr_mma_grid(&e.body, e.p, region, &e.tiles, e.knobs[TSR_KNOB_RASTER]);
  for (int i = 0; i < 2; i++) {
    tsr_mma_ring_of(nest, e.p, schedule, i, &e.rings[i]);
    tsr_mma_alloc(nest, region, &e.rings[i], e.places);
  }
  for (int i = 0; i < 2; i++)
    hoist(&e, &e.rings[i]);
  const tsr_value sum = depth_loop(&e);
  tsr_body_release(&e.body, 0);
  tsr_mma_epilogue(&e.body, e.p, schedule, sum, e.tiles.row, e.tiles.column);
  return tsr_ir_status(nest->ir);
}
