/* Strategy "contract": register tiles of mr x nr over blocks of mc x nc. A task is one block; its
 * operands come as panels packed at compile time (constants), as panels that the task packs into l2
 * scratch, or straight from their buffers. */
#include "passes/tile/contract_dot.h"
#include "passes/tile/contract_parts.h"
#include "passes/tile/default.h"
#include <string.h>

enum { MAX_OUTER_GRID = 2 };

/* --- panels of constants --- */

/* Gives the constant under `operand` the layout [outer axes, panels, depth axes, lanes of a panel]:
 * what one register tile reads is then one run of memory. */
static void panel_constant(tsr_contract_emit *e, const tsr_contract_operand *operand,
                           const tsr_contract_side *side) {
  tsr_nest *nest = e->nest;
  tsr_ir *ir = e->ir;
  tsr_nest_access *access = operand->main;
  tsr_nest_buffer *buffer = &nest->buffers[access->buffer];
  tsr_expr from[TSR_NEST_AXES + 1], to[TSR_NEST_AXES + 1], subs[TSR_MAX_RANK], dims[TSR_MAX_RANK];
  tsr_expr *map = tsr_arena_alloc_array(nest->arena, TSR_MAX_RANK, sizeof *map);
  uint32_t rank = 0, count = 0, first_depth = 0;
  if (map == NULL) {
    (void)tsr_ir_poison(ir, TSR_ERR_OUT_OF_MEMORY, "out of memory in tiling");
    return;
  }
  const uint32_t axis = (uint32_t)side->axis;
  for (uint32_t pass = 0; pass < 2; pass++) {
    const uint32_t *list = pass == 0 ? e->c->outer : e->c->depth;
    const uint32_t length = pass == 0 ? e->c->outer_count : e->c->depth_count;
    for (uint32_t i = 0; i < length; i++) {
      bool used = false;
      for (uint32_t d = 0; d < access->rank; d++)
        used = used || tsr_expr_uses_value(ir, access->subs[d], nest->axes[list[i]].variable);
      if (!used || rank + 2 >= TSR_MAX_RANK)
        continue;
      from[count] = subs[rank] = nest->axes[list[i]].leaf;
      dims[rank] = nest->axes[list[i]].extent;
      to[count++] = tsr_expr_lane(ir, rank++);
    }
    if (pass == 0) {
      subs[rank] = side->leaves[TSR_SIDE_PANEL];
      dims[rank] = tsr_expr_ceildiv_int(ir, nest->axes[axis].extent, side->tile);
      from[count] = nest->axes[axis].leaf;
      to[count++] = tsr_expr_mul_int(ir, tsr_expr_lane(ir, rank++), side->tile);
      first_depth = rank;
    }
  }
  for (uint32_t i = 0; i < count; i++)
    if (from[i] == nest->axes[axis].leaf)
      to[i] = tsr_expr_add(ir, to[i], tsr_expr_lane(ir, rank));
  subs[rank] = side->leaves[TSR_SIDE_LANE];
  dims[rank++] = tsr_expr_int(ir, side->tile);
  for (uint32_t d = 0; d < access->rank; d++)
    map[d] = tsr_expr_substitute(ir, access->subs[d], from, to, count);
  buffer->map = map;
  buffer->map_rank = access->rank;
  memcpy(buffer->map_dims, buffer->dims, access->rank * sizeof *buffer->dims);
  buffer->packed_rank = rank;
  memcpy(buffer->packed_dims, dims, rank * sizeof *dims);
  if (e->depth_flat) {
    subs[first_depth] = tsr_expr_mul_int(ir, e->depth_index, e->taps);
    if (e->taps > 1)
      subs[first_depth] = tsr_expr_add(ir, subs[first_depth], nest->axes[e->c->tap].leaf);
    dims[first_depth] = tsr_expr_int(ir, e->depth_total);
    subs[first_depth + 1] = subs[rank - 1];
    dims[first_depth + 1] = dims[rank - 1];
    rank = first_depth + 2;
  }
  buffer->rank = access->rank = rank;
  memcpy(buffer->dims, dims, rank * sizeof *dims);
  memcpy(access->subs, subs, rank * sizeof *subs);
}

/* --- depth --- */

static bool uses_axis(const tsr_nest *nest, const tsr_nest_access *access, uint32_t axis) {
  for (uint32_t d = 0; d < access->rank; d++)
    if (tsr_expr_uses_value(nest->ir, access->subs[d], nest->axes[axis].variable))
      return true;
  return false;
}

/* Packed at run time, or a constant laid out in panels, all depth axes in it and no other access
 * along them. */
static bool reads_flat(const tsr_contract_emit *e, const tsr_contract_operand *operand,
                       bool packed) {
  if (packed)
    return true;
  if (!operand->packable)
    return false;
  if (e->atom != NULL && e->nest->buffers[operand->main->buffer].map != NULL)
    return true; /* laid out already */
  for (uint32_t i = 0; i < e->c->depth_count; i++)
    if (!uses_axis(e->nest, operand->main, e->c->depth[i]))
      return false;
  return operand->alone;
}

uint32_t tsr_contract_flat_axes(const tsr_contract_emit *e) {
  return e->c->depth_count - (e->taps > 1 ? 1 : 0);
}

void tsr_contract_flatten(tsr_contract_emit *e) {
  const tsr_contraction *c = e->c;
  e->depth_total = e->depth_outer = e->taps = 1;
  e->depth_first = e->depth_index = tsr_expr_int(e->ir, 0);
  if (!c->depth_fixed || !reads_flat(e, &c->a, e->pack_a) || !reads_flat(e, &c->b, e->pack_b) ||
      c->depth_count == 0)
    return;
  e->depth_flat = true;
  if (c->flat && c->tap >= 0)
    e->taps = c->tap_size;
  for (uint32_t i = tsr_contract_flat_axes(e); i-- > 0;) {
    const tsr_nest_axis *axis = &e->nest->axes[c->depth[i]];
    const bool grouped = e->atom != NULL && i + 1 == c->depth_count;
    e->depth_index =
        tsr_expr_add(e->ir, e->depth_index, tsr_expr_mul_int(e->ir, axis->leaf, e->depth_total));
    e->depth_outer = e->depth_total;
    e->depth_total *= grouped ? up_to(axis->size, e->unit) : axis->size;
  }
  e->depth_outer *= e->taps;
  e->depth_total *= e->taps;
  e->depth_axes = e->depth_index;
  if (e->atom != NULL)
    e->depth_index = tsr_expr_lane(e->ir, 7) /* those from 8 on are the sides' */;
}

/* --- sides --- */

static tsr_contract_side side_of(tsr_contract_emit *e, int axis, int lane, int64_t tile,
                                 int64_t block) {
  tsr_contract_side side = {.axis = axis, .lane = lane, .tile = tile, .block = block};
  tsr_ir *ir = e->ir;
  for (unsigned i = 0; i < TSR_SIDE_LEAVES; i++)
    side.leaves[i] = tsr_expr_lane(ir, 8 + (unsigned)lane * TSR_SIDE_LEAVES + i);
  side.extent = axis >= 0 ? e->nest->axes[axis].extent : tsr_expr_int(ir, 1);
  side.number = tsr_expr_int(ir, 0);
  int64_t size = 0;
  side.whole = axis < 0 || block <= 0 || (tsr_expr_is_int(ir, side.extent, &size) && size <= block);
  return side;
}

void tsr_contract_bind_leaf(tsr_body *body, tsr_expr leaf, tsr_expr to) {
  for (uint32_t i = 0; i < body->leaf_count; i++)
    if (body->from[i] == leaf) {
      body->to[i] = to;
      return;
    }
  if (body->leaf_count < TSR_NEST_LEAVES) {
    body->from[body->leaf_count] = leaf;
    body->to[body->leaf_count++] = to;
  }
}

/* Binds the side's axis and leaves to panel `panel` of all, `local` of the block. */
void tsr_contract_bind(tsr_contract_emit *e, const tsr_contract_side *side, tsr_expr panel,
                       tsr_expr local, int64_t extent) {
  tsr_ir *ir = e->ir;
  tsr_body *body = &e->body;
  const tsr_expr lane = extent > 1 ? tsr_expr_lane(ir, (unsigned)side->lane) : tsr_expr_int(ir, 0);
  tsr_expr position = tsr_expr_mul_int(ir, panel, side->tile);
  tsr_expr column = tsr_expr_add(ir, tsr_expr_mul_int(ir, local, side->tile), lane);
  tsr_expr within = lane;
  if (side->first != 0) {
    within = tsr_expr_add(ir, lane, side->first);
    position = tsr_expr_add(ir, position, side->first);
    column = tsr_expr_add(ir, column, side->first);
  }
  if (side->flat)
    position = tsr_expr_add(ir, tsr_expr_mul_int(ir, side->number, side->block),
                            tsr_expr_mul_int(ir, local, side->tile));
  body->extents[side->lane] = extent;
  if (side->axis >= 0)
    tsr_body_bind(body, (uint32_t)side->axis, tsr_expr_add(ir, position, lane));
  tsr_contract_bind_leaf(body, side->leaves[TSR_SIDE_PANEL], panel);
  tsr_contract_bind_leaf(body, side->leaves[TSR_SIDE_LANE], within);
  tsr_contract_bind_leaf(body, side->leaves[TSR_SIDE_LOCAL], local);
  tsr_contract_bind_leaf(body, side->leaves[TSR_SIDE_COLUMN], column);
}

tsr_expr tsr_contract_first_panel(const tsr_contract_emit *e, const tsr_contract_side *side) {
  return side->whole ? tsr_expr_int(e->ir, 0)
                     : tsr_expr_mul_int(e->ir, side->number, side->block / side->tile);
}

/* --- the register tile --- */

tsr_value tsr_contract_product(tsr_contract_emit *e, tsr_value acc) {
  tsr_body *body = &e->body;
  const tsr_value b =
      tsr_body_spread(body, tsr_body_value(body, e->c->b.value), 1, body->extents[1]);
  const tsr_value a =
      tsr_body_spread(body, tsr_body_value(body, e->c->a.value), body->extents[0], 1);
  tsr_op op = tsr_op_append(e->ir, body->region, TSR_OP_CONTRACT);
  tsr_op_add_operand(e->ir, op, a);
  tsr_op_add_operand(e->ir, op, b);
  tsr_op_add_operand(e->ir, op, acc);
  tsr_op_set_string(e->ir, op, "atom", e->c->atom);
  return tsr_op_add_result(e->ir, op,
                           tsr_tile_type(e->ir, e->c->dtype, body->extents[0], body->extents[1]));
}

/* One step of the flat depth: all taps. */
static tsr_value flat_step(tsr_contract_emit *e, tsr_value acc) {
  tsr_body *body = &e->body;
  if (e->taps == 1)
    return tsr_contract_product(e, acc);
  const uint32_t tap = (uint32_t)e->c->tap;
  for (int64_t i = 0; i < e->taps; i++) {
    const uint32_t mark = tsr_body_mark(body);
    tsr_body_bind(body, tap, tsr_expr_int(e->ir, i));
    acc = tsr_contract_product(e, acc);
    tsr_body_release(body, mark);
  }
  tsr_body_bind(body, tap, tsr_expr_int(e->ir, 0));
  return acc;
}

/* One loop over the pass's share of the flat depth: the last axis takes the whole index. */
static void flat_depth_loop(tsr_contract_emit *e, tsr_value acc, tsr_value *out) {
  tsr_body *body = &e->body;
  tsr_ir *ir = e->ir;
  const uint32_t last = e->c->depth[tsr_contract_flat_axes(e) - 1];
  const int64_t unroll = (e->unroll + e->taps - 1) / e->taps;
  const tsr_region outer = body->region;
  const uint32_t unbound = body->unbound;
  const tsr_expr lo = tsr_expr_mul_int(ir, e->depth_first, e->depth_outer / e->taps);
  tsr_body_hoist(body, e->c->a.value, unbound);
  tsr_body_hoist(body, e->c->b.value, unbound);
  tsr_tile_loop loop =
      tsr_tile_for(ir, outer, lo, tsr_expr_add_int(ir, lo, e->depth_block / e->taps), &acc, 1);
  if (unroll > 1)
    tsr_op_set_int(ir, loop.op, "unroll", unroll);
  const uint32_t mark = tsr_body_mark(body);
  body->region = loop.body;
  tsr_body_bind(body, last, loop.index);
  body->unbound = 0;
  const tsr_value next = flat_step(e, loop.carried[0]);
  tsr_tile_yield(ir, loop.body, &next, 1);
  tsr_body_release(body, mark);
  tsr_body_bind(body, last, tsr_expr_int(ir, 0));
  body->unbound = unbound;
  body->region = outer;
  *out = loop.op == 0 ? 0 : tsr_op_get(ir, loop.op)->results[0];
}

static void depth_loop(tsr_contract_emit *e, uint32_t level, tsr_value acc, tsr_value *out);

static void window_steps(tsr_contract_emit *e, uint32_t level, tsr_value acc, tsr_value *out) {
  tsr_body *body = &e->body;
  const uint32_t axis = e->c->depth[level];
  *out = acc;
  body->unbound &= ~(1u << axis);
  for (int64_t i = 0; i < e->nest->axes[axis].size; i++) {
    const uint32_t mark = tsr_body_mark(body);
    tsr_body_bind(body, axis, tsr_expr_int(e->ir, i));
    depth_loop(e, level + 1, *out, out);
    tsr_body_release(body, mark);
  }
  body->unbound |= 1u << axis;
  tsr_body_bind(body, axis, tsr_expr_int(e->ir, 0));
}

static void depth_loop(tsr_contract_emit *e, uint32_t level, tsr_value acc, tsr_value *out) {
  tsr_body *body = &e->body;
  tsr_ir *ir = e->ir;
  uint32_t inner = 0;
  for (uint32_t i = level; i < e->c->depth_count; i++)
    inner |= 1u << e->c->depth[i];
  tsr_body_hoist(body, e->c->a.value, inner);
  tsr_body_hoist(body, e->c->b.value, inner);
  if (level == e->c->depth_count) {
    *out = tsr_contract_product(e, acc);
    return;
  }
  if (tsr_contract_is_window(e, level)) {
    window_steps(e, level, acc, out);
    return;
  }
  const uint32_t axis = e->c->depth[level];
  const tsr_region outer = body->region;
  tsr_tile_loop loop =
      tsr_tile_for(ir, outer, tsr_expr_int(ir, 0), e->nest->axes[axis].extent, &acc, 1);
  if (level + 1 == e->c->depth_count && e->unroll > 1)
    tsr_op_set_int(ir, loop.op, "unroll", e->unroll);
  const uint32_t mark = tsr_body_mark(body);
  tsr_value next = 0;
  body->region = loop.body;
  tsr_body_bind(body, axis, loop.index);
  body->unbound &= ~(1u << axis);
  depth_loop(e, level + 1, loop.carried[0], &next);
  body->unbound |= 1u << axis;
  tsr_tile_yield(ir, loop.body, &next, 1);
  tsr_body_release(body, mark);
  body->region = outer;
  tsr_body_bind(body, axis, tsr_expr_int(ir, 0));
  *out = loop.op == 0 ? 0 : tsr_op_get(ir, loop.op)->results[0];
}

/* Where the tile at hand lies in the scratch of partial sums. */
static void sums_at(tsr_contract_emit *e, tsr_expr *out_subs) {
  out_subs[0] = tsr_body_expr(&e->body, e->m.leaves[TSR_SIDE_COLUMN]);
  out_subs[1] = tsr_body_expr(&e->body, e->n.leaves[TSR_SIDE_COLUMN]);
}

static tsr_value load_sums(tsr_contract_emit *e) {
  tsr_expr subs[2];
  sums_at(e, subs);
  tsr_op load = tsr_op_append(e->ir, e->body.region, TSR_OP_LOAD);
  tsr_op_add_element(e->ir, load, e->sums, subs, 2);
  return tsr_op_add_result(
      e->ir, load, tsr_tile_type(e->ir, e->c->dtype, e->body.extents[0], e->body.extents[1]));
}

static void store_sums(tsr_contract_emit *e, tsr_value sum) {
  tsr_expr subs[2];
  sums_at(e, subs);
  tsr_op store = tsr_op_append(e->ir, e->body.region, TSR_OP_STORE);
  tsr_op_add_operand(e->ir, store, sum);
  tsr_op_add_element(e->ir, store, e->sums, subs, 2);
}

/* What follows the sum. */
static void finish_tile(tsr_contract_emit *e, tsr_value sum) {
  tsr_body_set(&e->body, tsr_op_get(e->ir, e->c->reduce)->results[0], sum);
  tsr_body_stores(&e->body);
}

static void register_tile(tsr_contract_emit *e) {
  tsr_body *body = &e->body;
  const uint32_t mark = tsr_body_mark(body);
  const bool first = e->phase == TSR_SUM_WHOLE || e->phase == TSR_SUM_FIRST;
  tsr_value sum = first ? tsr_tile_const(e->ir, body->region, e->c->dtype, 0, body->extents[0],
                                         body->extents[1])
                        : load_sums(e);
  body->stored_count = e->stored_count;
  if (e->fetch && (e->phase == TSR_SUM_WHOLE || e->phase == TSR_SUM_LAST))
    tsr_body_prefetch(body);
  if (e->atom != NULL)
    sum = tsr_contract_dot_loop(e, sum);
  else if (e->c->direct)
    sum = tsr_contract_direct_sum(e, sum);
  else if (e->depth_flat)
    flat_depth_loop(e, sum, &sum);
  else
    depth_loop(e, 0, sum, &sum);
  body->stored_count = 0;
  tsr_body_release(body, mark);
  if (e->phase == TSR_SUM_FIRST || e->phase == TSR_SUM_PART) {
    store_sums(e, sum);
    return;
  }
  finish_tile(e, sum);
  tsr_body_release(body, mark);
}

static void walk(tsr_contract_emit *e, unsigned order);

/* Registers of tiles hold more rows than multiply-adds have registers for. */
static void at_few_rows(tsr_contract_emit *e, unsigned order, const tsr_contract_side *side,
                        tsr_expr panel, tsr_expr local, int64_t extent, int64_t rows) {
  const tsr_region outer = e->body.region;
  tsr_tile_loop loop = tsr_tile_for(e->ir, outer, tsr_expr_int(e->ir, 0),
                                    tsr_expr_int(e->ir, extent / rows), NULL, 0);
  tsr_contract_side part = *side;
  const uint32_t mark = tsr_body_mark(&e->body);
  e->body.region = loop.body;
  part.first = tsr_expr_mul_int(e->ir, loop.index, rows);
  tsr_contract_bind(e, &part, panel, local, rows);
  walk(e, order + 1);
  tsr_body_release(&e->body, mark);
  e->body.region = outer;
}

static void at_panel(tsr_contract_emit *e, unsigned order, const tsr_contract_side *side,
                     tsr_expr panel, tsr_expr local, int64_t extent) {
  enum { FEW_ROWS = 8 };
  if (e->exact && e->atom->place == TSR_ATOM_MEMORY && side->lane == 0 && extent > FEW_ROWS) {
    at_few_rows(e, order, side, panel, local, extent, FEW_ROWS);
    return;
  }
  const uint32_t mark = tsr_body_mark(&e->body);
  tsr_contract_bind(e, side, panel, local, extent);
  walk(e, order + 1);
  tsr_body_release(&e->body, mark);
}

/* Columns of the last register tile: as many as make whole vectors (or one power of two), so that a
 * row is one piece; what lies beyond the edge is computed and not stored, if that is the buffer's.
 */
static int64_t rest_columns(const tsr_contract_emit *e, const tsr_contract_side *side,
                            int64_t rest) {
  const int64_t lanes = tsr_target_lanes(e->nest->target, tsr_dtype_bits(e->c->dtype));
  int64_t power = 1;
  if (e->atom != NULL && e->atom->place == TSR_ATOM_MEMORY)
    return up_to(rest, e->atom->m); /* whole registers, rows too */
  while (power < rest && power < lanes)
    power *= 2;
  const int64_t wide = rest <= power ? power : (rest + lanes - 1) / lanes * lanes;
  if (side->lane == 0 || !tsr_contract_ends(e->nest, side->axis))
    return rest;
  return wide < side->tile ? wide : side->tile;
}

/* Columns that run through whole rows: the number in a block is known, and what hangs over the last
 * block's end is not stored. */
static void walk_flat(tsr_contract_emit *e, unsigned order, const tsr_contract_side *side) {
  tsr_body *body = &e->body;
  const tsr_region outer = body->region;
  const int64_t panels = side->block / side->tile, rest = side->block % side->tile;
  if (panels > 0) {
    tsr_tile_loop loop =
        tsr_tile_for(e->ir, outer, tsr_expr_int(e->ir, 0), tsr_expr_int(e->ir, panels), NULL, 0);
    body->region = loop.body;
    at_panel(e, order, side, loop.index, loop.index, side->tile);
    body->region = outer;
  }
  if (rest > 0)
    at_panel(e, order, side, tsr_expr_int(e->ir, panels), tsr_expr_int(e->ir, panels),
             side->whole ? rest_columns(e, side, rest) : rest);
}

/* `left` rows after the last whole register tile, at most `most` of them: tiles of 1, 2, 4 ...
 * rows, one for each binary digit of `left`, the greatest first. Nothing hangs over the edge, and
 * few rows cost little. */
static void walk_digits(tsr_contract_emit *e, unsigned order, const tsr_contract_side *side,
                        tsr_expr whole, tsr_expr local, tsr_expr left, int64_t most) {
  tsr_ir *ir = e->ir;
  const tsr_region outer = e->body.region;
  int64_t rows = 1;
  while (rows * 2 <= most)
    rows *= 2;
  for (tsr_contract_side part = *side; rows >= 1; rows /= 2) {
    const tsr_expr digit = tsr_expr_mod_int(ir, tsr_expr_floordiv_int(ir, left, rows), 2);
    part.first = tsr_expr_mul_int(ir, tsr_expr_floordiv_int(ir, left, 2 * rows), 2 * rows);
    e->body.region =
        tsr_tile_if(ir, outer, tsr_expr_binary(ir, TSR_INDEX_LT, tsr_expr_int(ir, 0), digit));
    at_panel(e, order, &part, whole, local, rows);
  }
  e->body.region = outer;
}

/* Columns of a window, the last tile hanging over: border tiles have masks anyway. */
static void walk_hanging(tsr_contract_emit *e, unsigned order, const tsr_contract_side *side,
                         tsr_expr lo) {
  const tsr_region outer = e->body.region;
  tsr_expr hi = tsr_expr_ceildiv_int(e->ir, side->extent, side->tile);
  if (!side->whole)
    hi = tsr_tile_min(e->ir, tsr_expr_add_int(e->ir, lo, side->block / side->tile), hi);
  tsr_tile_loop loop = tsr_tile_for(e->ir, outer, lo, hi, NULL, 0);
  e->body.region = loop.body;
  at_panel(e, order, side, loop.index, tsr_expr_sub(e->ir, loop.index, lo), side->tile);
  e->body.region = outer;
}

static void walk_side(tsr_contract_emit *e, unsigned order, const tsr_contract_side *side) {
  tsr_body *body = &e->body;
  tsr_ir *ir = e->ir;
  const tsr_region outer = body->region;
  const tsr_expr whole = tsr_expr_floordiv_int(ir, side->extent, side->tile);
  const tsr_expr left = tsr_expr_mod_int(ir, side->extent, side->tile);
  const tsr_expr lo = tsr_contract_first_panel(e, side);
  tsr_expr hi = whole, cond = 0;
  int64_t rest = side->tile;
  if (side->lane == 1 && e->row_axis >= 0 && !e->nest->axes[side->axis].fixed) {
    walk_hanging(e, order, side, lo);
    return;
  }
  if (!side->whole)
    hi = tsr_tile_min(ir, tsr_expr_add_int(ir, lo, side->block / side->tile), whole);
  if (!tsr_expr_equals_int(ir, whole, 0)) {
    tsr_tile_loop loop = tsr_tile_for(ir, outer, lo, hi, NULL, 0);
    body->region = loop.body;
    at_panel(e, order, side, loop.index, tsr_expr_sub(ir, loop.index, lo), side->tile);
    body->region = outer;
  }
  if (tsr_expr_equals_int(ir, left, 0))
    return;
  const bool left_known = tsr_expr_is_int(ir, left, &rest);
  if (left_known) {
    rest = rest_columns(e, side, rest);
  } else {
    rest = side->tile;
    cond = tsr_expr_binary(ir, TSR_INDEX_LT, tsr_expr_int(ir, 0), left);
  }
  if (!side->whole) {
    const tsr_expr here = tsr_expr_binary(ir, TSR_INDEX_LT, whole,
                                          tsr_expr_add_int(ir, lo, side->block / side->tile));
    cond = cond == 0 ? here : tsr_expr_binary(ir, TSR_INDEX_AND, cond, here);
  }
  if (cond != 0)
    body->region = tsr_tile_if(ir, outer, cond);
  const bool whole_rows = e->atom != NULL && e->atom->place == TSR_ATOM_MEMORY;
  if (side->lane == 0 && !left_known && !whole_rows)
    walk_digits(e, order, side, whole, tsr_expr_sub(ir, whole, lo), left, side->tile - 1);
  else
    at_panel(e, order, side, whole, tsr_expr_sub(ir, whole, lo), rest);
  body->region = outer;
}

static void walk(tsr_contract_emit *e, unsigned order) {
  if (order == 2 && e->row_axis >= 0) {
    tsr_contract_window_tile(e, finish_tile);
    return;
  }
  if (order == 2) {
    register_tile(e);
    return;
  }
  if (order == 1 && e->c->direct) {
    tsr_contract_direct_rows(e, register_tile);
    return;
  }
  const tsr_contract_side *side =
      (order == 0) == (e->columns_outside || e->c->direct) ? &e->n : &e->m;
  if (side->axis < 0) {
    at_panel(e, order, side, tsr_expr_int(e->ir, 0), tsr_expr_int(e->ir, 0), 1);
    return;
  }
  if (side->flat)
    walk_flat(e, order, side);
  else
    walk_side(e, order, side);
}

/* --- tasks --- */

static tsr_expr block_count(tsr_contract_emit *e, const tsr_contract_side *side) {
  return tsr_expr_ceildiv_int(e->ir, side->extent, side->block);
}

/* Typical rows or columns of a block. */
static double typical_block(const tsr_contract_emit *e, const tsr_contract_side *side) {
  if (side->axis < 0)
    return 1;
  const int64_t size = e->nest->axes[side->axis].size;
  return (double)(side->block > 0 && side->block < size ? side->block : size);
}

/* How many of the outer axes number tasks; notes what a block costs. */
static uint32_t outer_in_grid(tsr_contract_emit *e, double grain) {
  const tsr_contraction *c = e->c;
  const double lanes = tsr_target_lanes(e->nest->target, tsr_dtype_bits(c->dtype));
  uint32_t count = c->outer_count;
  double points = typical_block(e, &e->m) * typical_block(e, &e->n);
  if (e->row_axis >= 0)
    points *= (double)e->nest->axes[c->outer[--count]].size;
  e->block_work = points * (double)c->depth_size / (2 * lanes) + 20;
  if (!e->c->direct && e->m.whole && e->n.whole)
    count = tsr_contract_outer_grid(e->nest, c, count, e->block_work, grain);
  return count < MAX_OUTER_GRID ? count : MAX_OUTER_GRID;
}

static void add_grid(tsr_contract_emit *e, tsr_region region, double grain) {
  tsr_ir *ir = e->ir;
  const tsr_expr zero = tsr_expr_int(ir, 0);
  const bool rows_first = tsr_contract_rows_first(e->nest, e->c);
  for (uint32_t i = 0; i < e->outer_grid && i < e->c->outer_count; i++)
    tsr_body_bind(
        &e->body, e->c->outer[i],
        tsr_expr_value(ir, tsr_region_add_index(ir, region, TSR_ROLE_GRID, zero,
                                                e->nest->axes[e->c->outer[i]].extent, 1)));
  if (rows_first)
    tsr_contract_direct_grid(e, region, grain);
  const bool columns = tsr_contract_columns_first(e->nest, e->c, e->pack_a);
  tsr_contract_side *list[2] = {columns ? &e->n : &e->m, columns ? &e->m : &e->n};
  for (unsigned i = 0; i < 2; i++)
    if (!list[i]->whole)
      list[i]->number = tsr_expr_value(
          ir, tsr_region_add_index(ir, region, TSR_ROLE_GRID, zero, block_count(e, list[i]), 1));
  if (e->c->direct && !rows_first)
    tsr_contract_direct_grid(e, region, grain);
  if (e->row_axis >= 0)
    tsr_contract_window_grid(e, region, grain);
}

static void pack_block(tsr_contract_emit *e) {
  if (e->pack_b)
    tsr_contract_pack_b(e);
  if (e->pack_a)
    tsr_contract_pack_a(e);
}

static void walk_block(tsr_contract_emit *e) {
  walk(e, 0);
}

static void emit_block(tsr_contract_emit *e) {
  if (e->parts > 1) {
    tsr_contract_parts_block(e, pack_block, walk_block);
    return;
  }
  e->stored_count = 0;
  pack_block(e);
  walk_block(e);
}

/* Rows or columns of a task, rounded up to whole register tiles. */
static int64_t block_extent(const tsr_contract_emit *e, const tsr_contract_side *side) {
  int64_t size = 0;
  if (side->axis < 0)
    return 1;
  if (!tsr_expr_is_int(e->ir, side->extent, &size) || size > side->block)
    size = side->block;
  return (size + side->tile - 1) / side->tile * side->tile;
}

/* Passes lo..hi through the depth. Each call has a loop of its own, so that the copies of its
 * blocks lie in the same scratch as those of other calls. */
static void pass_loop(tsr_contract_emit *e, int64_t lo, int64_t hi) {
  tsr_ir *ir = e->ir;
  tsr_body *body = &e->body;
  const tsr_region outer = body->region;
  if (lo >= hi)
    return;
  tsr_tile_loop loop = tsr_tile_for(ir, outer, tsr_expr_int(ir, lo), tsr_expr_int(ir, hi), NULL, 0);
  const uint32_t mark = tsr_body_mark(body);
  body->region = loop.body;
  e->depth_first = tsr_expr_mul_int(ir, loop.index, e->depth_block / e->depth_outer);
  emit_block(e);
  tsr_body_release(body, mark);
  body->region = outer;
}

/* Several passes over the block, each through a part of the depth: the first starts from zero, the
 * last one ends in the epilogue, and what lies between adds to sums in scratch. */
static void emit_passes(tsr_contract_emit *e) {
  tsr_ir *ir = e->ir;
  const int64_t passes = e->depth_total / e->depth_block;
  const int64_t columns = block_extent(e, &e->n);
  /* Rows of a tile must not meet in few sets of the cache. */
  const tsr_expr dims[2] = {tsr_expr_int(ir, block_extent(e, &e->m)),
                            tsr_expr_int(ir, columns % 256 == 0 ? columns + 16 : columns)};
  tsr_op alloc = tsr_op_append(ir, e->body.region, TSR_OP_ALLOC);
  e->sums = tsr_op_add_result(ir, alloc, tsr_type_make(ir, TSR_LEVEL_L2, e->c->dtype, dims, 2));
  e->phase = TSR_SUM_FIRST;
  pass_loop(e, 0, 1);
  e->phase = TSR_SUM_PART;
  pass_loop(e, 1, passes - 1);
  e->phase = TSR_SUM_LAST;
  pass_loop(e, passes - 1, passes);
  e->phase = TSR_SUM_WHOLE;
}

static void emit_task(tsr_contract_emit *e, uint32_t outer);

static void outer_step(tsr_contract_emit *e, uint32_t outer, tsr_expr position) {
  const uint32_t mark = tsr_body_mark(&e->body);
  tsr_body_bind(&e->body, e->c->outer[outer], position);
  emit_task(e, outer + 1);
  tsr_body_release(&e->body, mark);
}

static void outer_loop(tsr_contract_emit *e, uint32_t outer, tsr_expr lo, tsr_expr hi) {
  const tsr_region region = e->body.region;
  tsr_tile_loop loop = tsr_tile_for(e->ir, region, lo, hi, NULL, 0);
  e->body.region = loop.body;
  outer_step(e, outer, loop.index);
  e->body.region = region;
}

static void emit_task(tsr_contract_emit *e, uint32_t outer) {
  if (e->row_axis >= 0 && outer + 1 == e->c->outer_count) {
    tsr_contract_rows(e, emit_block);
    return;
  }
  if (outer >= e->c->outer_count) {
    if (e->depth_block < e->depth_total)
      emit_passes(e);
    else
      emit_block(e);
    return;
  }
  outer_loop(e, outer, tsr_expr_int(e->ir, 0), e->nest->axes[e->c->outer[outer]].extent);
}

void tsr_contract_layout(tsr_nest *nest, const tsr_schedule *schedule) {
  tsr_contract_emit e = {.nest = nest, .ir = nest->ir, .c = tsr_contract_of(nest, schedule)};
  const int64_t *knobs = schedule->knobs;
  if (e.c == NULL)
    return;
  e.pack_a = knobs[TSR_KNOB_PACK_A] == 1;
  e.pack_b = knobs[TSR_KNOB_PACK_B] == 1;
  tsr_contract_dot_begin(&e, schedule);
  tsr_contract_flatten(&e);
  if (e.c->b.packable && !e.c->flat) {
    const tsr_contract_side n = side_of(&e, e.c->n, 1, knobs[TSR_KNOB_NR], knobs[TSR_KNOB_NC]);
    (e.atom != NULL ? tsr_contract_dot_panel : panel_constant)(&e, &e.c->b, &n);
  }
  if (e.c->a.packable) {
    const tsr_contract_side m = side_of(&e, e.c->m, 0, knobs[TSR_KNOB_MR], knobs[TSR_KNOB_MC]);
    (e.atom != NULL ? tsr_contract_dot_panel : panel_constant)(&e, &e.c->a, &m);
  }
}

tsr_status tsr_tile_contract(tsr_nest *nest, const tsr_schedule *schedule, tsr_region region,
                             tsr_diag *diag) {
  const int64_t *knobs = schedule->knobs;
  tsr_contract_emit e = {.nest = nest, .ir = nest->ir, .c = tsr_contract_of(nest, schedule)};
  if (e.c == NULL)
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "the block is no contraction");
  if (!tsr_body_begin(&e.body, nest, region))
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory in tiling");
  e.unroll = knobs[TSR_KNOB_UNROLL];
  e.columns_outside = knobs[TSR_KNOB_OUTER] == 1;
  e.fetch = knobs[TSR_KNOB_FETCH] == 1;
  e.pack_a = knobs[TSR_KNOB_PACK_A] == 1;
  e.pack_b = knobs[TSR_KNOB_PACK_B] == 1;
  e.m = side_of(&e, e.c->m, 0, e.c->m >= 0 ? knobs[TSR_KNOB_MR] : 1, knobs[TSR_KNOB_MC]);
  e.n = side_of(&e, e.c->n, 1, knobs[TSR_KNOB_NR], knobs[TSR_KNOB_NC]);
  e.n.flat = e.c->flat;
  tsr_contract_dot_begin(&e, schedule);
  tsr_contract_flatten(&e);
  e.depth_block = knobs[TSR_KNOB_KC] > 0 && e.depth_flat ? knobs[TSR_KNOB_KC] : e.depth_total;
  e.row_axis = tsr_contract_is_window(&e, 0) ? tsr_contract_window_row(e.c) : -1;
  tsr_contract_ahead(&e, knobs[TSR_KNOB_AHEAD]);
  e.outer_grid = outer_in_grid(&e, (double)knobs[TSR_KNOB_GRAIN]);
  add_grid(&e, region, (double)knobs[TSR_KNOB_GRAIN]);
  emit_task(&e, e.c->outer_count < e.outer_grid ? e.c->outer_count : e.outer_grid);
  tsr_body_release(&e.body, 0);
  tsr_contract_share_ahead(&e, region, knobs[TSR_KNOB_AHEAD]);
  return tsr_ir_status(nest->ir);
}
