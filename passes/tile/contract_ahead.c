/* What a contraction fetches before it reads it. `ahead` counts steps of the innermost depth, and
 * every load fetches into L1 what it will read so many steps later. Where it is the depth of a
 * panel of b that several register tiles share, these fetch the next one into L2 instead, each a
 * part. */
#include "passes/tile/contract_emit.h"

enum { MOST_LOOPS = 24 };

void tsr_contract_ahead(tsr_contract_emit *e, int64_t steps) {
  const bool rows = e->c->a.packable && !e->c->b.packable;
  const tsr_contract_operand *operand = rows ? &e->c->a : &e->c->b;
  const int64_t most = 1 << 20;
  if (steps == 0 || operand->main == NULL || e->c->depth_count == 0 || e->atom != NULL)
    return;
  const bool panels = operand->packable && (rows || !e->c->flat);
  const int64_t stride =
      panels ? (rows ? e->m.tile : e->n.tile)
             : tsr_nest_stride(e->nest, operand->main, e->c->depth[e->c->depth_count - 1]);
  if (stride <= 0 || stride > most)
    return;
  e->body.ahead_of = operand->main;
  e->body.ahead = steps * stride * operand->bytes;
}

/* --- shares of the next panel --- */

/* The grid's variables and those of the loops around the first load of the panels, from the outside
 * in. */
typedef struct walk {
  tsr_value variables[MOST_LOOPS];
  tsr_region bodies[MOST_LOOPS]; /* 0: the grid's */
  uint32_t count;
  tsr_op load;
} walk;

static bool enter(const tsr_ir *ir, tsr_region region, tsr_arg_role role, walk *out) {
  const tsr_region_data *data = tsr_region_get(ir, region);
  for (uint32_t i = 0; i < data->arg_count; i++) {
    if (tsr_value_get(ir, data->args[i])->role != role)
      continue;
    if (out->count == MOST_LOOPS)
      return false;
    out->variables[out->count] = data->args[i];
    out->bodies[out->count++] = role == TSR_ROLE_GRID ? 0 : region;
  }
  return true;
}

static bool find_load(const tsr_ir *ir, tsr_region region, tsr_value panels, walk *out) {
  TSR_FOR_EACH_OP (ir, region, op) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    const uint32_t count = out->count;
    if (data->code == TSR_OP_LOAD && data->operands[0].value == panels) {
      out->load = op;
      return true;
    }
    for (uint32_t i = 0; i < data->region_count; i++) {
      if (enter(ir, data->regions[i], TSR_ROLE_LOOP, out) &&
          find_load(ir, data->regions[i], panels, out))
        return true;
      out->count = count;
    }
  }
  return false;
}

/* The expression with loops of one turn taken for where they start. */
static tsr_expr without_single_turns(tsr_ir *ir, const walk *w, tsr_expr expr) {
  for (uint32_t i = w->count; i-- > 0;) {
    const tsr_value_data variable = *tsr_value_get(ir, w->variables[i]);
    const tsr_expr leaf = tsr_expr_value(ir, w->variables[i]);
    if (tsr_expr_equals_int(ir, tsr_expr_sub(ir, variable.hi, variable.lo), 1))
      expr = tsr_expr_substitute(ir, expr, &leaf, &variable.lo, 1);
  }
  return expr;
}

/* The most that `to - from` can be; INT64_MAX: nobody knows. */
static int64_t most_between(tsr_ir *ir, tsr_expr from, tsr_expr to) {
  const tsr_expr_node node = tsr_expr_get(ir, to);
  int64_t least = 0, most = 0;
  if (node.op == TSR_INDEX_MIN) {
    const int64_t a = most_between(ir, from, node.a), b = most_between(ir, from, node.b);
    return a < b ? a : b;
  }
  tsr_expr_bounds(ir, tsr_expr_sub(ir, to, from), NULL, 0, &least, &most);
  return most;
}

/* As many turns as the variable can have; 0: nobody knows. */
static int64_t turns_of(tsr_ir *ir, const tsr_value_data *variable, int64_t step) {
  const int64_t most = most_between(ir, variable->lo, variable->hi);
  return most <= 0 || most > INT64_MAX / 2 ? 0 : (most + step - 1) / step;
}

/* Turns from variable `first` on to the innermost, and the number of the one at hand. */
static int64_t turns_from(tsr_ir *ir, const walk *w, uint32_t first, tsr_expr *out_number) {
  int64_t inner = 1, step = 0;
  *out_number = tsr_expr_int(ir, 0);
  for (uint32_t i = w->count; i-- > first;) {
    const tsr_value_data variable = *tsr_value_get(ir, w->variables[i]);
    if (!tsr_expr_is_int(ir, variable.step, &step) || step < 1)
      return 0;
    tsr_expr number = tsr_expr_sub(ir, tsr_expr_value(ir, w->variables[i]), variable.lo);
    number = tsr_expr_mul_int(ir, tsr_expr_floordiv_int(ir, number, step), inner);
    *out_number = tsr_expr_add(ir, number, *out_number);
    if (__builtin_mul_overflow(inner, turns_of(ir, &variable, step), &inner))
      return 0;
  }
  return inner;
}

/* Is it known how many tiles share a panel, of all rows or of a block? */
static bool tiles_are_known(const tsr_contract_emit *e) {
  const tsr_contraction *c = e->c;
  return (!e->m.whole || c->m < 0 || e->nest->axes[c->m].fixed) &&
         (!c->direct || c->direct_y < 0 || e->nest->axes[c->direct_y].fixed);
}

/* Where the load's subscripts name its panel; UINT32_MAX: nowhere. */
static uint32_t panel_subscript(const tsr_contract_emit *e) {
  const tsr_nest_access *access = e->body.ahead_of;
  for (uint32_t d = 0; d < access->rank; d++)
    if (access->subs[d] == e->n.leaves[TSR_SIDE_PANEL])
      return d;
  return UINT32_MAX;
}

static int64_t elements_behind(const tsr_ir *ir, const tsr_type_info *type, uint32_t axis) {
  int64_t count = 1, size = 0;
  for (uint32_t d = axis + 1; d < type->rank; d++)
    if (!tsr_expr_is_int(ir, type->dims[d], &size) || __builtin_mul_overflow(count, size, &count))
      return 0;
  return count;
}

static void stop_fetching(tsr_ir *ir, tsr_region region, tsr_value panels) {
  TSR_FOR_EACH_OP (ir, region, op) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    if (data->code == TSR_OP_LOAD && data->operands[0].value == panels)
      tsr_op_remove_attr(ir, op, "ahead");
    for (uint32_t i = 0; i < data->region_count; i++)
      stop_fetching(ir, data->regions[i], panels);
  }
}

/* The variable that the panel's number and what is before it change with last, + 1; what is inside
 * of it are turns over one panel. */
static uint32_t first_turn(tsr_ir *ir, const walk *w, const tsr_operand *from, uint32_t axis) {
  uint32_t first = 0;
  for (uint32_t d = 0; d <= axis; d++) {
    const tsr_expr at = without_single_turns(ir, w, from->subscripts[d]);
    for (uint32_t i = first; i < w->count; i++)
      if (tsr_expr_uses_value(ir, at, w->variables[i]))
        first = i + 1;
  }
  return first;
}

void tsr_contract_share_ahead(tsr_contract_emit *e, tsr_region region, int64_t steps) {
  enum { LINE = 64 };
  tsr_ir *ir = e->ir;
  if (e->body.ahead_of == NULL || e->body.ahead_of != e->c->b.main || steps != e->c->depth_size ||
      e->depth_block < e->depth_total || !tiles_are_known(e))
    return;
  const tsr_nest_buffer *buffer = &e->nest->buffers[e->body.ahead_of->buffer];
  const uint32_t axis = buffer->map == NULL ? UINT32_MAX : panel_subscript(e);
  walk w = {0};
  if (axis == UINT32_MAX || !enter(ir, region, TSR_ROLE_GRID, &w) ||
      !find_load(ir, region, buffer->arg, &w))
    return;
  const tsr_operand from = tsr_op_get(ir, w.load)->operands[0];
  if (tsr_expr_equals_int(ir, tsr_value_type(ir, buffer->arg)->dims[axis], 1))
    return;
  const int64_t panel = elements_behind(ir, tsr_value_type(ir, buffer->arg), axis);
  const uint32_t first = first_turn(ir, &w, &from, axis);
  tsr_expr number;
  if (panel < 1)
    return;
  int64_t turns = turns_from(ir, &w, first, &number);
  for (; turns > panel; turns = turns_from(ir, &w, first, &number))
    w.count--;
  if (turns < 2 || w.bodies[w.count - 1] == 0)
    return;
  const int64_t share = (panel + turns - 1) / turns;
  tsr_expr at[TSR_MAX_RANK];
  for (uint32_t d = 0; d < from.subscript_count; d++)
    at[d] = d < axis ? from.subscripts[d] : tsr_expr_int(ir, 0);
  at[axis] = tsr_expr_add_int(ir, from.subscripts[axis], 1);
  const tsr_expr shape = tsr_expr_int(ir, share * e->c->b.bytes <= LINE ? 1 : share);
  at[from.subscript_count - 1] =
      tsr_expr_add(ir, tsr_expr_mul_int(ir, number, share), tsr_expr_lane(ir, 0));
  stop_fetching(ir, region, buffer->arg);
  const tsr_op fetch =
      tsr_op_insert_before(ir, tsr_region_get(ir, w.bodies[w.count - 1])->first, TSR_OP_PREFETCH);
  tsr_op_add_element(ir, fetch, buffer->arg, at, from.subscript_count);
  tsr_op_set_exprs(ir, fetch, "shape", &shape, 1);
}
