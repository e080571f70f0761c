/* A block's body on tiles: each scalar becomes a tile whose extents are those of the lanes that it
 * varies with; everything is emitted on demand, in the scope that asks first. */
#include "passes/tile/nest.h"
#include <string.h>

bool tsr_body_begin(tsr_body *body, tsr_nest *nest, tsr_region region) {
  *body = (tsr_body){.nest = nest, .ir = nest->ir, .region = region, .extents = {1, 1}};
  for (uint32_t i = 0; i < nest->axis_count; i++) {
    body->from[i] = nest->axes[i].leaf;
    body->to[i] = tsr_expr_int(nest->ir, 0);
  }
  body->leaf_count = nest->axis_count;
  for (uint32_t i = nest->par_count; i < nest->axis_count; i++)
    body->unbound |= 1u << i;
  body->plan = (tsr_body_plan){.axes = {-1, -1}, .extents = {1, 1}, .unroll = 1};
  body->undo_capacity = 64;
  body->undo = tsr_arena_alloc_array(nest->arena, body->undo_capacity, sizeof *body->undo);
  return body->undo != NULL;
}

uint32_t tsr_body_mark(const tsr_body *body) {
  return body->undo_count;
}

void tsr_body_release(tsr_body *body, uint32_t mark) {
  while (body->undo_count > mark)
    body->nest->memo[body->undo[--body->undo_count]] = 0;
}

void tsr_body_bind(tsr_body *body, uint32_t axis, tsr_expr expr) {
  body->to[axis] = expr;
}

void tsr_body_set(tsr_body *body, tsr_value value, tsr_value tile) {
  if (value == 0 || value > body->nest->value_count)
    return;
  if (body->undo_count == body->undo_capacity) {
    const uint32_t capacity = body->undo_capacity * 2;
    tsr_value *bigger = tsr_arena_alloc_array(body->nest->arena, capacity, sizeof *bigger);
    if (bigger == NULL) {
      tsr_ir_poison(body->ir, TSR_ERR_OUT_OF_MEMORY, "out of memory in tiling");
      return;
    }
    memcpy(bigger, body->undo, body->undo_count * sizeof *bigger);
    body->undo = bigger;
    body->undo_capacity = capacity;
  }
  body->undo[body->undo_count++] = value;
  body->nest->memo[value] = tile;
}

/* --- index expressions --- */

/* Replaces scalars of the body inside an expression by their tiles. */
static tsr_expr with_tiles(tsr_body *body, tsr_expr expr) {
  const tsr_expr_node node = tsr_expr_get(body->ir, expr);
  if (node.op == TSR_INDEX_VALUE && node.value <= body->nest->value_count) {
    const tsr_arg_role role = tsr_value_get(body->ir, node.value)->role;
    if (role == TSR_ROLE_RESULT)
      return tsr_expr_value(body->ir, tsr_body_value(body, node.value));
  }
  if (node.op < TSR_INDEX_ADD)
    return expr;
  return tsr_expr_binary(body->ir, node.op, with_tiles(body, node.a), with_tiles(body, node.b));
}

tsr_expr tsr_body_expr(const tsr_body *body, tsr_expr expr) {
  return tsr_expr_substitute(body->ir, expr, body->from, body->to, body->leaf_count);
}

unsigned tsr_body_lanes(const tsr_body *body, tsr_expr expr) {
  const tsr_expr_node node = tsr_expr_get(body->ir, expr);
  if (node.op == TSR_INDEX_LANE)
    return node.number == 0 ? 1u : 2u;
  if (node.op == TSR_INDEX_VALUE) {
    int64_t extents[2];
    if (tsr_value_type(body->ir, node.value)->level != TSR_LEVEL_REG)
      return 0;
    tsr_tile_extents(body->ir, node.value, extents);
    return (extents[0] > 1 ? 1u : 0u) | (extents[1] > 1 ? 2u : 0u);
  }
  if (node.op < TSR_INDEX_ADD)
    return 0;
  return tsr_body_lanes(body, node.a) | tsr_body_lanes(body, node.b);
}

static tsr_type type_over(const tsr_body *body, tsr_dtype dtype, unsigned lanes) {
  return tsr_tile_type(body->ir, dtype, lanes & 1 ? body->extents[0] : 1,
                       lanes & 2 ? body->extents[1] : 1);
}

/* Subscripts in terms of the kernel; returns the lanes that occur. */
static unsigned subscripts_of(tsr_body *body, const tsr_nest_access *access, tsr_expr *out_subs) {
  unsigned lanes = 0;
  for (uint32_t d = 0; d < access->rank; d++) {
    const tsr_expr bound = tsr_body_expr(body, access->subs[d]);
    out_subs[d] = access->indirect ? with_tiles(body, bound) : bound;
    lanes |= tsr_body_lanes(body, out_subs[d]);
  }
  return lanes;
}

/* --- single ops --- */

static void copy_attrs(tsr_ir *ir, tsr_op to, const tsr_op_data *from, const char *except) {
  for (uint32_t i = 0; i < from->attr_count; i++)
    if (except == NULL || strcmp(from->attrs[i].key, except) != 0)
      tsr_op_set_attr(ir, to, &from->attrs[i]);
}

/* The coefficient of a lane in the row-major offset; INT64_MAX: not linear. */
static int64_t lane_stride(tsr_body *body, const tsr_nest_buffer *buffer, const tsr_expr *subs,
                           uint32_t rank, unsigned lane) {
  const tsr_expr leaf = tsr_expr_lane(body->ir, lane);
  int64_t stride = 0, scale = 1;
  for (uint32_t d = rank; d-- > 0;) {
    int64_t coefficient = 0, extent = 0;
    tsr_expr rest;
    if (!tsr_expr_linear(body->ir, subs[d], &leaf, 1, &coefficient, &rest))
      return INT64_MAX;
    stride += coefficient * scale;
    scale = tsr_expr_is_int(body->ir, buffer->dims[d], &extent) && scale < 1 << 20
                ? scale * (extent > 0 ? extent : 1)
                : 1 << 20;
  }
  return stride;
}

/* A tile whose rows, not its lanes, are contiguous in memory: loaded on its side, then turned. */
static tsr_value emit_turned_load(tsr_body *body, const tsr_op_data *data, tsr_value arg,
                                  tsr_dtype dtype, tsr_expr *subs, uint32_t rank) {
  tsr_ir *ir = body->ir;
  const tsr_expr from[2] = {tsr_expr_lane(ir, 0), tsr_expr_lane(ir, 1)}, to[2] = {from[1], from[0]};
  for (uint32_t d = 0; d < rank; d++)
    subs[d] = tsr_expr_substitute(ir, subs[d], from, to, 2);
  tsr_op load = tsr_op_append(ir, body->region, TSR_OP_LOAD);
  tsr_op_add_element(ir, load, arg, subs, rank);
  copy_attrs(ir, load, data, NULL);
  const tsr_value side =
      tsr_op_add_result(ir, load, tsr_tile_type(ir, dtype, body->extents[1], body->extents[0]));
  const int64_t perm[2] = {1, 0};
  tsr_op turn = tsr_op_append(ir, body->region, TSR_OP_TRANSPOSE);
  tsr_op_add_operand(ir, turn, side);
  tsr_op_set_ints(ir, turn, "perm", perm, 2);
  return tsr_op_add_result(ir, turn, tsr_tile_type(ir, dtype, body->extents[0], body->extents[1]));
}

static tsr_value emit_load(tsr_body *body, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(body->ir, op);
  const tsr_nest_access *access = tsr_nest_access_of(body->nest, op);
  const tsr_nest_buffer *buffer = &body->nest->buffers[access->buffer];
  tsr_expr subs[TSR_MAX_RANK];
  const unsigned lanes = subscripts_of(body, access, subs);
  if (lanes == 3 && !access->indirect && body->extents[0] > 1 && body->extents[1] > 1 &&
      lane_stride(body, buffer, subs, access->rank, 0) == 1 &&
      lane_stride(body, buffer, subs, access->rank, 1) != 1)
    return emit_turned_load(body, data, buffer->arg, buffer->dtype, subs, access->rank);
  tsr_op load = tsr_op_append(body->ir, body->region, data->code);
  tsr_op_add_element(body->ir, load, buffer->arg, subs, access->rank);
  copy_attrs(body->ir, load, data, NULL);
  if (access == body->ahead_of && body->ahead != 0)
    tsr_op_set_int(body->ir, load, "ahead", body->ahead);
  return tsr_op_add_result(body->ir, load, type_over(body, buffer->dtype, lanes));
}

static tsr_value emit_stored(tsr_body *body, const tsr_body_stored *stored) {
  tsr_expr subs[TSR_NEST_AXES + 2];
  unsigned lanes = 0;
  for (uint32_t d = 0; d < stored->rank; d++) {
    subs[d] = tsr_body_expr(body, stored->subs[d]);
    lanes |= tsr_body_lanes(body, subs[d]);
  }
  tsr_op load = tsr_op_append(body->ir, body->region, TSR_OP_LOAD);
  tsr_op_add_element(body->ir, load, stored->buffer, subs, stored->rank);
  return tsr_op_add_result(body->ir, load, type_over(body, stored->dtype, lanes));
}

static tsr_value emit_index(tsr_body *body, tsr_op op, tsr_dtype dtype) {
  const tsr_nest_access *access = tsr_nest_access_of(body->nest, op);
  tsr_expr value;
  const unsigned lanes = subscripts_of(body, access, &value);
  tsr_op index = tsr_op_append(body->ir, body->region, TSR_OP_INDEX);
  tsr_op_set_expr(body->ir, index, "value", value);
  return tsr_op_add_result(body->ir, index, type_over(body, dtype, lanes));
}

static tsr_value emit_plain(tsr_body *body, tsr_op op, tsr_value result) {
  const tsr_op_data *data = tsr_op_get(body->ir, op);
  tsr_value operands[4];
  int64_t rows = 1, lanes = 1;
  for (uint32_t i = 0; i < data->operand_count && i < 4; i++) {
    int64_t extents[2];
    operands[i] = tsr_body_value(body, data->operands[i].value);
    tsr_tile_extents(body->ir, operands[i], extents);
    rows = extents[0] > rows ? extents[0] : rows;
    lanes = extents[1] > lanes ? extents[1] : lanes;
  }
  tsr_op made = tsr_op_append(body->ir, body->region, data->code);
  for (uint32_t i = 0; i < data->operand_count && i < 4; i++)
    tsr_op_add_operand(body->ir, made, operands[i]);
  copy_attrs(body->ir, made, data, NULL);
  const tsr_dtype dtype = tsr_value_type(body->ir, result)->dtype;
  return tsr_op_add_result(body->ir, made, tsr_tile_type(body->ir, dtype, rows, lanes));
}

/* --- reductions --- */

/* Reduce ops that one loop nest computes together. */
typedef struct reducing {
  tsr_body *body;
  tsr_op ops[TSR_NEST_CARRIED];
  uint32_t count;
  uint32_t carried;
  uint32_t mask;                 /* axes summed over */
  uint32_t order[TSR_NEST_AXES]; /* sequential axes, outermost first */
  uint32_t depth;
  unsigned lanes;   /* bits of those that lie on the tile's rows (1) and lanes (2) */
  bool after_first; /* the loop runs from the second element on */
} reducing;

/* What was looked at before in this walk has none, or the walk had ended. */
static bool has_pending_reduce(const tsr_body *body, tsr_value value) {
  const tsr_nest *nest = body->nest;
  if (value == 0 || value > nest->value_count || nest->memo[value] != 0 ||
      !tsr_nest_first_look(nest, value))
    return false;
  const tsr_value_data *data = tsr_value_get(body->ir, value);
  if (data->role != TSR_ROLE_RESULT || data->def == nest->op)
    return false;
  const tsr_op_data *op = tsr_op_get(body->ir, data->def);
  if (op->parent != tsr_op_get(body->ir, nest->op)->regions[0])
    return false;
  if (op->code == TSR_OP_REDUCE)
    return true;
  for (uint32_t i = 0; i < op->operand_count; i++) {
    if (!op->operands[i].subscripted && has_pending_reduce(body, op->operands[i].value))
      return true;
    if (op->operands[i].subscripted && tsr_nest_access_of(nest, data->def)->indirect &&
        nest->reduce_count > 1)
      return true;
  }
  return false;
}

/* Other reduces over the same axes that need no reduce of their own join in. */
static void gather_reduces(reducing *r, tsr_op first) {
  const tsr_body *body = r->body;
  r->ops[r->count++] = first;
  r->carried = tsr_op_get(body->ir, first)->result_count;
  TSR_FOR_EACH_OP (body->ir, tsr_op_get(body->ir, body->nest->op)->regions[0], op) {
    const tsr_op_data *data = tsr_op_get(body->ir, op);
    if (data->code != TSR_OP_REDUCE || op == first || body->nest->memo[data->results[0]] != 0 ||
        tsr_nest_reduced(body->nest, op) != r->mask ||
        r->carried + data->result_count > TSR_NEST_CARRIED)
      continue;
    bool joins = true;
    tsr_nest_new_walk(body->nest);
    for (uint32_t i = 0; i < data->operand_count; i++)
      joins = joins && !has_pending_reduce(body, data->operands[i].value);
    if (joins) {
      r->ops[r->count++] = op;
      r->carried += data->result_count;
    }
  }
}

/* Extents of the accumulator of a value: the lanes of the axes that it varies with. */
static unsigned lanes_of_axes(const tsr_body *body, uint32_t axes) {
  unsigned lanes = 0;
  for (uint32_t i = 0; i < body->nest->axis_count; i++)
    if (axes >> i & 1)
      lanes |= tsr_body_lanes(body, body->to[i]);
  return lanes;
}

static uint32_t operand_varies(const tsr_body *body, const tsr_op_data *data) {
  uint32_t axes = 0;
  for (uint32_t i = 0; i < data->operand_count; i++)
    axes |= body->nest->varies[data->operands[i].value];
  return axes;
}

/* One step of a combiner region: its ops with tiles for arguments. */
static void combine_region(tsr_body *body, tsr_op reduce, const tsr_value *left,
                           const tsr_value *right, tsr_value *out) {
  const tsr_op_data *data = tsr_op_get(body->ir, reduce);
  const tsr_region_data *region = tsr_region_get(body->ir, data->regions[0]);
  const uint32_t n = data->operand_count, mark = tsr_body_mark(body);
  for (uint32_t i = 0; i < n; i++) {
    tsr_body_set(body, region->args[i], left[i]);
    tsr_body_set(body, region->args[n + i], right[i]);
  }
  TSR_FOR_EACH_OP (body->ir, data->regions[0], op) {
    const tsr_op_data *inner = tsr_op_get(body->ir, op);
    if (inner->code == TSR_OP_YIELD)
      for (uint32_t i = 0; i < n; i++)
        out[i] = tsr_body_value(body, inner->operands[i].value);
    else
      tsr_body_set(body, inner->results[0], emit_plain(body, op, inner->results[0]));
  }
  tsr_body_release(body, mark);
}

/* A combiner region that states no identity starts from the first element. */
static bool starts_from_first(const tsr_ir *ir, tsr_op reduce) {
  return tsr_op_get(ir, reduce)->region_count > 0 && tsr_op_attr(ir, reduce, "identity") == NULL;
}

/* The first element is in the accumulator already: it must not enter again. */
static void keep_at_first(reducing *r, uint32_t count, const tsr_value *acc, tsr_value *out) {
  tsr_body *body = r->body;
  tsr_ir *ir = body->ir;
  tsr_expr first = 0;
  for (uint32_t i = 0; i < r->depth; i++) {
    const tsr_expr here =
        tsr_expr_binary(ir, TSR_INDEX_EQ, body->to[r->order[i]], tsr_expr_int(ir, 0));
    first = first == 0 ? here : tsr_expr_binary(ir, TSR_INDEX_AND, first, here);
  }
  if (first == 0 || r->after_first)
    return;
  for (uint32_t i = 0; i < count; i++) {
    int64_t extents[2];
    tsr_tile_extents(ir, out[i], extents);
    const tsr_value at = tsr_tile_condition(ir, body->region, first, extents[0], extents[1]);
    out[i] = tsr_tile_select(ir, body->region, at, acc[i], out[i]);
  }
}

/* acc = combine(acc, element) for all reduces, at the axes' current bindings. `guard` holds where
 * the lanes are inside the axis, or is 0. */
static void combine_step(reducing *r, const tsr_value *acc, tsr_value guard, tsr_value *out) {
  tsr_body *body = r->body;
  uint32_t at = 0;
  for (uint32_t i = 0; i < r->count; i++) {
    const tsr_op_data *data = tsr_op_get(body->ir, r->ops[i]);
    tsr_value elements[TSR_NEST_CARRIED];
    for (uint32_t k = 0; k < data->operand_count; k++)
      elements[k] = tsr_body_value(body, data->operands[k].value);
    if (data->region_count > 0) {
      combine_region(body, r->ops[i], acc + at, elements, out + at);
      if (starts_from_first(body->ir, r->ops[i]))
        keep_at_first(r, data->operand_count, acc + at, out + at);
    } else {
      const tsr_opcode code = tsr_tile_combiner(tsr_op_string(body->ir, r->ops[i], "combine"));
      tsr_value made = tsr_tile_binary(body->ir, body->region, code, acc[at], elements[0]);
      out[at] = guard == 0 ? made : tsr_tile_select(body->ir, body->region, guard, made, acc[at]);
    }
    at += data->result_count;
  }
}

static bool on_tile(const reducing *r, uint32_t axis) {
  for (unsigned lane = 0; lane < 2; lane++)
    if ((r->lanes >> lane & 1) != 0 && (uint32_t)r->body->plan.axes[lane] == axis)
      return true;
  return false;
}

/* On CUDA the parts of a warp's work are not worth a loop of one turn. */
static bool takes_one_turn(const tsr_body *body, tsr_expr turns) {
  return body->nest->target->kind == TSR_TARGET_CUDA && tsr_expr_equals_int(body->ir, turns, 1);
}

/* The innermost loops over the axes that lie on the tile, each with its rest: whole tiles, then one
 * guarded tile. `guard` holds where the axes before this one are inside, or is 0. */
static void reduce_lanes(reducing *r, unsigned lane, const tsr_value *acc, tsr_value guard,
                         tsr_value *out) {
  tsr_body *body = r->body;
  tsr_ir *ir = body->ir;
  while (lane < 2 && (r->lanes >> lane & 1) == 0)
    lane++;
  if (lane == 2) {
    combine_step(r, acc, guard, out);
    return;
  }
  const uint32_t axis = (uint32_t)body->plan.axes[lane];
  const tsr_nest_axis *a = &body->nest->axes[axis];
  const int64_t step = body->plan.extents[lane];
  const tsr_expr whole = tsr_expr_floordiv_int(ir, a->extent, step);
  const tsr_expr inside = tsr_expr_lane(ir, lane), saved = body->to[axis];
  const tsr_region outer = body->region;
  tsr_value state[TSR_NEST_CARRIED];
  body->unbound &= ~(1u << axis);
  memcpy(state, acc, r->carried * sizeof *state);
  if (takes_one_turn(body, whole)) {
    const uint32_t mark = tsr_body_mark(body);
    tsr_body_bind(body, axis, inside);
    reduce_lanes(r, lane + 1, state, guard, out);
    memcpy(state, out, r->carried * sizeof *state);
    tsr_body_release(body, mark);
  } else if (!tsr_expr_equals_int(ir, whole, 0)) {
    tsr_tile_loop loop = tsr_tile_for(ir, outer, tsr_expr_int(ir, 0), whole, state, r->carried);
    const uint32_t mark = tsr_body_mark(body);
    body->region = loop.body;
    tsr_body_bind(body, axis, tsr_expr_add(ir, tsr_expr_mul_int(ir, loop.index, step), inside));
    reduce_lanes(r, lane + 1, loop.carried, guard, out);
    tsr_tile_yield(ir, loop.body, out, r->carried);
    tsr_body_release(body, mark);
    body->region = outer;
    for (uint32_t i = 0; i < r->carried; i++)
      state[i] = loop.op == 0 ? 0 : tsr_op_get(ir, loop.op)->results[i];
  }
  if (!tsr_expr_equals_int(ir, tsr_expr_mod_int(ir, a->extent, step), 0)) {
    const uint32_t mark = tsr_body_mark(body);
    const tsr_expr at = tsr_expr_add(ir, tsr_expr_mul_int(ir, whole, step), inside);
    tsr_body_bind(body, axis, at);
    const tsr_value here =
        tsr_tile_condition(ir, outer, tsr_expr_binary(ir, TSR_INDEX_LT, at, a->extent),
                           lane == 0 ? step : 1, lane == 1 ? step : 1);
    reduce_lanes(r, lane + 1, state,
                 guard == 0 ? here : tsr_tile_binary(ir, outer, TSR_OP_AND, guard, here), out);
    memcpy(state, out, r->carried * sizeof *state);
    tsr_body_release(body, mark);
  }
  memcpy(out, state, r->carried * sizeof *out);
  body->unbound |= 1u << axis;
  tsr_body_bind(body, axis, saved);
}

/* Operands that do not vary with the axis of this loop or of a deeper one are made outside. */
static void hoist_operands(reducing *r, uint32_t level) {
  uint32_t inner = 0;
  for (unsigned lane = 0; lane < 2; lane++)
    if (r->lanes >> lane & 1)
      inner |= 1u << r->body->plan.axes[lane];
  for (uint32_t i = level; i < r->depth; i++)
    inner |= 1u << r->order[i];
  for (uint32_t i = 0; i < r->count; i++) {
    const tsr_op_data *data = tsr_op_get(r->body->ir, r->ops[i]);
    for (uint32_t k = 0; k < data->operand_count; k++)
      tsr_body_hoist(r->body, data->operands[k].value, inner);
  }
}

/* Steps of the innermost axis if they are straight code, else 0. Their loads stand side by side
 * then, and what several of them read is read once. */
static int64_t straight_steps(const reducing *r, uint32_t level) {
  if (level + 1 < r->depth || r->lanes != 0 || r->after_first)
    return 0;
  return tsr_nest_straight_steps(&r->body->nest->axes[r->order[level]], r->body->plan.unroll);
}

static void reduce_straight(reducing *r, uint32_t level, int64_t steps, const tsr_value *acc,
                            tsr_value *out) {
  tsr_body *body = r->body;
  const uint32_t axis = r->order[level];
  tsr_value state[TSR_NEST_CARRIED];
  memcpy(state, acc, r->carried * sizeof *state);
  body->unbound &= ~(1u << axis);
  for (int64_t step = 0; step < steps; step++) {
    const uint32_t mark = tsr_body_mark(body);
    tsr_body_bind(body, axis, tsr_expr_int(body->ir, step));
    combine_step(r, state, 0, out);
    memcpy(state, out, r->carried * sizeof *state);
    tsr_body_release(body, mark);
  }
  body->unbound |= 1u << axis;
  tsr_body_bind(body, axis, tsr_expr_int(body->ir, 0));
  memcpy(out, state, r->carried * sizeof *out);
}

static void reduce_level(reducing *r, uint32_t level, const tsr_value *acc, tsr_value *out) {
  tsr_body *body = r->body;
  tsr_ir *ir = body->ir;
  hoist_operands(r, level);
  if (level == r->depth) {
    reduce_lanes(r, 0, acc, 0, out);
    return;
  }
  const int64_t steps = straight_steps(r, level);
  if (steps > 0) {
    reduce_straight(r, level, steps, acc, out);
    return;
  }
  const uint32_t axis = r->order[level];
  const tsr_region outer = body->region;
  tsr_tile_loop loop = tsr_tile_for(ir, outer, tsr_expr_int(ir, r->after_first ? 1 : 0),
                                    body->nest->axes[axis].extent, acc, r->carried);
  if (level + 1 == r->depth && r->lanes == 0 && body->plan.unroll > 1)
    tsr_op_set_int(ir, loop.op, "unroll", body->plan.unroll);
  const uint32_t mark = tsr_body_mark(body);
  body->region = loop.body;
  tsr_body_bind(body, axis, loop.index);
  body->unbound &= ~(1u << axis);
  tsr_value next[TSR_NEST_CARRIED];
  reduce_level(r, level + 1, loop.carried, next);
  body->unbound |= 1u << axis;
  tsr_tile_yield(ir, loop.body, next, r->carried);
  tsr_body_release(body, mark);
  body->region = outer;
  tsr_body_bind(body, axis, tsr_expr_int(ir, 0));
  for (uint32_t i = 0; i < r->carried; i++)
    out[i] = loop.op == 0 ? 0 : tsr_op_get(ir, loop.op)->results[i];
}

static void start_at_first(reducing *r, const tsr_op_data *data, tsr_value *acc) {
  tsr_body *body = r->body;
  const uint32_t mark = tsr_body_mark(body);
  for (uint32_t k = 0; k < TSR_NEST_AXES && k < body->nest->axis_count; k++)
    if (r->mask >> k & 1)
      tsr_body_bind(body, k, tsr_expr_int(body->ir, 0));
  const unsigned lanes = lanes_of_axes(body, operand_varies(body, data) & ~r->mask);
  for (uint32_t k = 0; k < data->operand_count; k++)
    acc[k] = tsr_body_spread(body, tsr_body_value(body, data->operands[k].value),
                             lanes & 1 ? body->extents[0] : 1, lanes & 2 ? body->extents[1] : 1);
  tsr_body_release(body, mark);
}

/* One number for all values of the tuple, or one for each. */
static double identity_number(const tsr_ir *ir, const tsr_attr *identity, uint32_t number) {
  int64_t integer = 0;
  switch (identity->kind) {
  case TSR_ATTR_NUMBERS:
    return identity->u.numbers[number];
  case TSR_ATTR_EXPRS:
    return tsr_expr_is_int(ir, identity->u.exprs[number], &integer) ? (double)integer : 0;
  case TSR_ATTR_INT:
    return (double)identity->u.integer;
  case TSR_ATTR_BOOL:
    return identity->u.boolean ? 1 : 0;
  default:
    return identity->u.number;
  }
}

/* Where the accumulators start: the identity, or for a combiner region that states none, the first
 * element. */
static void reduce_start(reducing *r, tsr_value *acc) {
  tsr_body *body = r->body;
  uint32_t at = 0;
  for (uint32_t i = 0; i < r->count; i++) {
    const tsr_op_data *data = tsr_op_get(body->ir, r->ops[i]);
    const uint32_t axes = operand_varies(body, data) & ~r->mask;
    const unsigned lanes = lanes_of_axes(body, axes) | r->lanes;
    const int64_t rows = lanes & 1 ? body->extents[0] : 1;
    const int64_t columns = lanes & 2 ? body->extents[1] : 1;
    const tsr_attr *identity = tsr_op_attr(body->ir, r->ops[i], "identity");
    if (starts_from_first(body->ir, r->ops[i]))
      start_at_first(r, data, acc + at);
    for (uint32_t k = 0; data->region_count > 0 && identity != NULL && k < data->result_count; k++)
      acc[at + k] =
          tsr_tile_const(body->ir, body->region, tsr_value_type(body->ir, data->results[k])->dtype,
                         identity_number(body->ir, identity, k), rows, columns);
    if (data->region_count == 0)
      acc[at] = tsr_tile_identity(body->ir, body->region,
                                  tsr_value_type(body->ir, data->results[0])->dtype,
                                  tsr_op_string(body->ir, r->ops[i], "combine"), rows, columns);
    at += data->result_count;
  }
}

/* The partial results along the rows (bit 1) and the lanes (bit 2) meet. */
static tsr_value across_lanes(tsr_body *body, tsr_op reduce, tsr_value tile, unsigned lanes) {
  int64_t extents[2], axes[2];
  uint32_t count = 0;
  tsr_tile_extents(body->ir, tile, extents);
  for (unsigned lane = 0; lane < 2; lane++)
    if ((lanes >> lane & 1) != 0 && extents[lane] > 1) {
      axes[count++] = lane;
      extents[lane] = 1;
    }
  if (count == 0 || tile == 0)
    return tile;
  tsr_op op = tsr_op_append(body->ir, body->region, TSR_OP_REDUCE);
  tsr_op_add_operand(body->ir, op, tile);
  tsr_op_set_string(body->ir, op, "combine", tsr_op_string(body->ir, reduce, "combine"));
  tsr_op_set_ints(body->ir, op, "axes", axes, count);
  return tsr_op_add_result(
      body->ir, op,
      tsr_tile_type(body->ir, tsr_value_type(body->ir, tile)->dtype, extents[0], extents[1]));
}

/* Which of the plan's axes these reduces take on the tile: those that all of them reduce, with a
 * named combiner, where no kept axis lies already. */
static unsigned lanes_taken(const reducing *r) {
  const tsr_body *body = r->body;
  unsigned lanes = 0;
  for (unsigned lane = 0; lane < 2; lane++)
    if (body->plan.axes[lane] >= 0 && (r->mask >> body->plan.axes[lane] & 1) != 0)
      lanes |= 1u << lane;
  for (uint32_t i = 0; i < r->count; i++) {
    const tsr_op_data *data = tsr_op_get(body->ir, r->ops[i]);
    const uint32_t kept = operand_varies(body, data) & ~r->mask;
    lanes = data->region_count > 0 ? 0 : lanes & ~lanes_of_axes(body, kept);
  }
  return lanes;
}

static void emit_reduce(tsr_body *body, tsr_op first) {
  reducing r = {.body = body, .mask = tsr_nest_reduced(body->nest, first)};
  tsr_value acc[TSR_NEST_CARRIED], out[TSR_NEST_CARRIED];
  const int64_t extents[2] = {body->extents[0], body->extents[1]};
  gather_reduces(&r, first);
  r.lanes = lanes_taken(&r);
  for (uint32_t i = 0; i < body->nest->axis_count; i++)
    if ((r.mask >> i & 1) != 0 && !body->nest->axes[i].gone && !on_tile(&r, i))
      r.order[r.depth++] = i;
  r.after_first = r.depth == 1 && r.lanes == 0;
  for (uint32_t i = 0; i < r.count; i++)
    r.after_first = r.after_first && starts_from_first(body->ir, r.ops[i]);
  for (unsigned lane = 0; lane < 2; lane++)
    if (r.lanes >> lane & 1)
      body->extents[lane] = body->plan.extents[lane];
  hoist_operands(&r, 0);
  reduce_start(&r, acc);
  const uint32_t mark = tsr_body_mark(body);
  reduce_level(&r, 0, acc, out);
  tsr_body_release(body, mark);
  body->extents[0] = extents[0];
  body->extents[1] = extents[1];
  uint32_t at = 0;
  for (uint32_t i = 0; i < r.count; i++) {
    const tsr_op_data *data = tsr_op_get(body->ir, r.ops[i]);
    for (uint32_t k = 0; k < data->result_count; k++, at++)
      tsr_body_set(body, data->results[k],
                   r.lanes != 0 ? across_lanes(body, r.ops[i], out[at], r.lanes) : out[at]);
  }
}

/* --- on demand --- */

static const tsr_body_stored *stored_of(const tsr_body *body, tsr_value value) {
  for (uint32_t i = 0; i < body->stored_count; i++)
    if (body->stored[i].value == value)
      return &body->stored[i];
  return NULL;
}

static tsr_value emit_value(tsr_body *body, tsr_value value) {
  const tsr_op op = tsr_value_get(body->ir, value)->def;
  const tsr_op_data *data = tsr_op_get(body->ir, op);
  switch (data->code) {
  case TSR_OP_LOAD:
  case TSR_OP_GATHER_LOAD:
    return emit_load(body, op);
  case TSR_OP_INDEX:
    return emit_index(body, op, tsr_value_type(body->ir, value)->dtype);
  default:
    return emit_plain(body, op, value);
  }
}

tsr_value tsr_body_value(tsr_body *body, tsr_value value) {
  if (value == 0 || value > body->nest->value_count)
    return 0;
  if (body->nest->memo[value] != 0)
    return body->nest->memo[value];
  const tsr_body_stored *stored = stored_of(body, value);
  const tsr_value_data *data = tsr_value_get(body->ir, value);
  if (data->role != TSR_ROLE_RESULT || data->def == 0)
    return tsr_ir_poison(body->ir, TSR_ERR_INTERNAL, "a value of a block's body has no definition");
  if (stored == NULL && tsr_op_get(body->ir, data->def)->code == TSR_OP_REDUCE) {
    emit_reduce(body, data->def);
    return body->nest->memo[value];
  }
  const tsr_value tile = stored != NULL ? emit_stored(body, stored) : emit_value(body, value);
  tsr_body_set(body, value, tile);
  return tile;
}

static void hoist_value(tsr_body *body, tsr_value value, uint32_t axes);

/* Scalars of the body inside a subscript. */
static void hoist_expr(tsr_body *body, tsr_expr expr, uint32_t axes) {
  const tsr_expr_node node = tsr_expr_get(body->ir, expr);
  if (node.op == TSR_INDEX_VALUE)
    hoist_value(body, node.value, axes);
  if (node.op < TSR_INDEX_ADD)
    return;
  hoist_expr(body, node.a, axes);
  hoist_expr(body, node.b, axes);
}

static void hoist_value(tsr_body *body, tsr_value value, uint32_t axes) {
  const tsr_nest *nest = body->nest;
  if (value == 0 || value > nest->value_count || nest->memo[value] != 0 ||
      !tsr_nest_first_look(nest, value))
    return;
  const tsr_value_data *data = tsr_value_get(body->ir, value);
  if (data->role != TSR_ROLE_RESULT || stored_of(body, value) != NULL)
    return;
  if ((nest->varies[value] & (axes | body->unbound)) == 0) {
    tsr_body_value(body, value);
    return;
  }
  const tsr_op_data *op = tsr_op_get(body->ir, data->def);
  for (uint32_t i = 0; i < op->operand_count; i++) {
    if (!op->operands[i].subscripted)
      hoist_value(body, op->operands[i].value, axes);
    for (uint32_t d = 0; d < op->operands[i].subscript_count; d++)
      hoist_expr(body, op->operands[i].subscripts[d], axes);
  }
}

void tsr_body_hoist(tsr_body *body, tsr_value value, uint32_t axes) {
  tsr_nest_new_walk(body->nest);
  hoist_value(body, value, axes);
}

/* There is no broadcast op on tiles: a select between equal tiles under a full condition is one. */
tsr_value tsr_body_spread(tsr_body *body, tsr_value tile, int64_t rows, int64_t lanes) {
  int64_t extents[2];
  tsr_tile_extents(body->ir, tile, extents);
  if (tile == 0 || (extents[0] >= rows && extents[1] >= lanes))
    return tile;
  const tsr_value all = tsr_tile_const(body->ir, body->region, TSR_BOOL, 1, rows, lanes);
  return tsr_tile_select(body->ir, body->region, all, tile, tile);
}

static void emit_store(tsr_body *body, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(body->ir, op);
  const tsr_nest_access *access = tsr_nest_access_of(body->nest, op);
  tsr_expr subs[TSR_MAX_RANK];
  const unsigned lanes = subscripts_of(body, access, subs);
  const tsr_value tile =
      tsr_body_spread(body, tsr_body_value(body, data->operands[0].value),
                      lanes & 1 ? body->extents[0] : 1, lanes & 2 ? body->extents[1] : 1);
  tsr_op store = tsr_op_append(body->ir, body->region, data->code);
  tsr_op_add_operand(body->ir, store, tile);
  tsr_op_add_element(body->ir, store, body->nest->buffers[access->buffer].arg, subs, access->rank);
  copy_attrs(body->ir, store, data, NULL);
}

/* The same place in the tile that lies beside it, in the direction of its lanes. */
static void move_to_next(tsr_body *body, tsr_expr *subs, uint32_t rank) {
  const tsr_expr lane = tsr_expr_lane(body->ir, 1);
  for (uint32_t d = 0; d < rank; d++) {
    int64_t step = 0;
    tsr_expr rest = 0;
    if (tsr_expr_linear(body->ir, subs[d], &lane, 1, &step, &rest) && step == 1)
      subs[d] = tsr_expr_add_int(body->ir, subs[d], body->extents[1]);
  }
}

void tsr_body_prefetch(tsr_body *body) {
  TSR_FOR_EACH_OP (body->ir, tsr_op_get(body->ir, body->nest->op)->regions[0], op) {
    if (tsr_op_get(body->ir, op)->code != TSR_OP_STORE)
      continue;
    const tsr_nest_access *access = tsr_nest_access_of(body->nest, op);
    tsr_expr subs[TSR_MAX_RANK], shape[2];
    const unsigned lanes = subscripts_of(body, access, subs);
    move_to_next(body, subs, access->rank);
    for (unsigned lane = 0; lane < 2; lane++)
      shape[lane] = tsr_expr_int(body->ir, (lanes & 1u << lane) ? body->extents[lane] : 1);
    tsr_op fetch = tsr_op_append(body->ir, body->region, TSR_OP_PREFETCH);
    tsr_op_add_element(body->ir, fetch, body->nest->buffers[access->buffer].arg, subs,
                       access->rank);
    tsr_op_set_exprs(body->ir, fetch, "shape", shape, 2);
  }
}

void tsr_body_stores(tsr_body *body) {
  TSR_FOR_EACH_OP (body->ir, tsr_op_get(body->ir, body->nest->op)->regions[0], op) {
    const tsr_opcode code = tsr_op_get(body->ir, op)->code;
    if (code == TSR_OP_STORE || code == TSR_OP_SCATTER_STORE)
      emit_store(body, op);
  }
}
