/* Bounds checks. Every subscript s of a dim D must satisfy s >= 0 and D - 1 - s >= 0. What
 * `tsr_expr_prove_nonnegative` proves is dropped. Of what is left, the worst case over the lanes is
 * often one number per loop or task: code is then made twice, once under the assumption that all
 * worst cases hold, without checks, and once with them (emit_control.c). */
#include "codegen/cpu/emit.h"

bool tsr_emit_assume(tsr_emit *e, tsr_expr expr) {
  if (!tsr_emit_grow(e, (void **)&e->assumed, &e->assumed_capacity, e->assumed_count + 1,
                     sizeof *e->assumed))
    return false;
  e->assumed[e->assumed_count++] = expr;
  return true;
}

/* It is assumed, or more than something assumed by a number. */
static bool is_assumed(const tsr_emit *e, tsr_expr expr) {
  int64_t more = 0;
  for (uint32_t i = 0; i < e->assumed_count; ++i)
    if (e->assumed[i] == expr ||
        (tsr_expr_is_int(e->ir, tsr_expr_sub(e->ir, expr, e->assumed[i]), &more) && more >= 0))
      return true;
  return false;
}

/* The least value over all lanes: a lane with a negative coefficient stands at its end. 0: the
 * expression is not linear in the lanes. */
static tsr_expr worst_case(tsr_emit *e, tsr_expr expr, const uint32_t *extents, uint32_t rank) {
  if (!tsr_expr_has(e->ir, expr, TSR_INDEX_LANE))
    return expr;
  tsr_expr lanes[TSR_MAX_RANK], rest = 0;
  int64_t coefficients[TSR_MAX_RANK] = {0}, least = 0;
  for (uint32_t axis = 0; axis < rank; ++axis)
    lanes[axis] = tsr_expr_lane(e->ir, axis);
  if (!tsr_expr_linear(e->ir, expr, lanes, rank, coefficients, &rest))
    return 0;
  for (uint32_t axis = 0; axis < rank; ++axis)
    if (coefficients[axis] < 0)
      least += coefficients[axis] * ((int64_t)extents[axis] - 1);
  return tsr_expr_add_int(e->ir, rest, least);
}

uint32_t tsr_emit_checks(tsr_emit *e, tsr_type buffer, const tsr_operand *operand,
                         const uint32_t *extents, uint32_t rank,
                         tsr_emit_check out_checks[TSR_EMIT_MAX_CHECKS]) {
  const tsr_type_info *info = tsr_type_get(e->ir, buffer);
  int64_t lanes[TSR_MAX_RANK];
  uint32_t count = 0;
  for (uint32_t axis = 0; axis < rank; ++axis)
    lanes[axis] = extents[axis];
  for (uint32_t i = 0; i < operand->subscript_count && i < info->rank; ++i) {
    tsr_expr subscript = operand->subscripts[i];
    tsr_expr last = tsr_expr_add_int(e->ir, info->dims[i], -1);
    tsr_expr sides[2] = {subscript, tsr_expr_sub(e->ir, last, subscript)};
    for (int side = 0; side < 2; ++side) {
      if (tsr_expr_prove_nonnegative(e->ir, sides[side], lanes, rank))
        continue;
      tsr_expr worst = worst_case(e, sides[side], extents, rank);
      if (worst && is_assumed(e, worst))
        continue;
      out_checks[count++] = (tsr_emit_check){.expr = sides[side], .worst = worst};
    }
  }
  return count;
}

/* True when the value is computed, or counted, inside the region. */
static bool value_inside(const tsr_emit *e, tsr_value value, tsr_region region) {
  const tsr_value_data *data = tsr_value_get(e->ir, value);
  if (data->region == region)
    return false;
  tsr_region at = data->region ? data->region : tsr_op_get(e->ir, data->def)->parent;
  while (at && at != region) {
    tsr_op parent = tsr_region_get(e->ir, at)->parent;
    at = parent ? tsr_op_get(e->ir, parent)->parent : 0;
  }
  return at == region;
}

/* Can the expression be computed where the region starts, as one number? */
static bool available(const tsr_emit *e, tsr_expr expr, tsr_region region) {
  tsr_expr_node node = tsr_expr_get(e->ir, expr);
  switch (node.op) {
  case TSR_INDEX_INT:
  case TSR_INDEX_DIM:
    return true;
  case TSR_INDEX_LANE:
    return false;
  case TSR_INDEX_VALUE: {
    if (value_inside(e, node.value, region))
      return false;
    const tsr_value_data *data = tsr_value_get(e->ir, node.value);
    if (data->role == TSR_ROLE_CARRIED && data->region == region)
      return false;
    const tsr_emit_tile *tile = e->slots[node.value].tile;
    return !tile || (tile->rows == 1 && tile->lanes == 1);
  }
  default:
    return available(e, node.a, region) && available(e, node.b, region);
  }
}

static bool is_access(tsr_opcode code) {
  return code == TSR_OP_LOAD || code == TSR_OP_STORE || code == TSR_OP_GATHER_LOAD ||
         code == TSR_OP_SCATTER_STORE;
}

/* The extents of the tile that an access moves; false when they are not numbers. */
static bool access_extents(const tsr_emit *e, const tsr_op_data *op, uint32_t *extents,
                           uint32_t *out_rank) {
  bool loads = op->result_count > 0;
  const tsr_type_info *type = tsr_value_type(e->ir, loads ? op->results[0] : op->operands[0].value);
  *out_rank = type->rank;
  for (uint32_t axis = 0; axis < type->rank; ++axis) {
    int64_t extent = 0;
    if (!tsr_expr_is_int(e->ir, type->dims[axis], &extent) || extent < 1 || extent > UINT16_MAX + 1)
      return false;
    extents[axis] = (uint32_t)extent;
  }
  return true;
}

/* Tails of a loop that was cut never hold a whole tile: no version is made for what cannot be. */
static bool never_holds(tsr_emit *e, tsr_expr worst) {
  tsr_expr beyond = tsr_expr_add_int(e->ir, tsr_expr_mul_int(e->ir, worst, -1), -1);
  return tsr_expr_prove_nonnegative(e->ir, beyond, NULL, 0);
}

static uint32_t add_unique(tsr_expr *list, uint32_t count, uint32_t capacity, tsr_expr expr) {
  for (uint32_t i = 0; i < count; ++i)
    if (list[i] == expr)
      return count;
  if (count < capacity)
    list[count++] = expr;
  return count;
}

uint32_t tsr_emit_region_checks(tsr_emit *e, tsr_region region, tsr_expr *out_worst,
                                uint32_t capacity) {
  uint32_t count = 0;
  TSR_FOR_EACH_OP (e->ir, region, id) {
    const tsr_op_data *op = tsr_op_get(e->ir, id);
    if (op->code == TSR_OP_FOR || op->code == TSR_OP_LOOP)
      return 0;
    if (!is_access(op->code))
      continue;
    const tsr_operand *operand = &op->operands[op->operand_count - 1];
    uint32_t extents[TSR_MAX_RANK], rank = 0;
    tsr_emit_check checks[TSR_EMIT_MAX_CHECKS];
    if (!access_extents(e, op, extents, &rank))
      continue;
    tsr_type type = tsr_value_get(e->ir, operand->value)->type;
    uint32_t found = tsr_emit_checks(e, type, operand, extents, rank, checks);
    for (uint32_t i = 0; i < found; ++i)
      if (checks[i].worst && available(e, checks[i].worst, region) &&
          !never_holds(e, checks[i].worst))
        count = add_unique(out_worst, count, capacity, checks[i].worst);
  }
  return count;
}
