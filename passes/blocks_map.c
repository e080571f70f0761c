/* Ops whose every result element is a function of operand elements at computed places: elementwise
 * ops, views and gathers. One block with a parallel axis per result axis; a rule per op says what
 * the element at `axes` is. */
#include "passes/blocks.h"
#include <string.h>

typedef tsr_value (*map_rule)(tsr_point *e, tsr_op op, const tsr_expr *axes);

static tsr_value operand(const tsr_ir *ir, tsr_op op, uint32_t number) {
  return tsr_op_get(ir, op)->operands[number].value;
}

static const tsr_type_info *result_type(const tsr_ir *ir, tsr_op op) {
  return tsr_value_type(ir, tsr_op_get(ir, op)->results[0]);
}

tsr_value tsr_read(tsr_point *e, tsr_value x, const tsr_expr *subscripts, uint32_t count) {
  double number;
  int64_t integer;
  if (x == 0)
    return 0;
  if (tsr_value_splat(e->ir, x, &number, &integer))
    return tsr_point_splat(e, x);
  const tsr_value_data *data = tsr_value_get(e->ir, x);
  if (data->role == TSR_ROLE_RESULT && tsr_op_get(e->ir, data->def)->code == TSR_OP_INDEX) {
    const tsr_attr *attr = tsr_op_attr(e->ir, data->def, "value");
    if (attr != NULL && attr->kind == TSR_ATTR_INT)
      return tsr_point_int(e, tsr_scalar_dtype(e->ir, x), attr->u.integer);
    if (attr != NULL && attr->kind == TSR_ATTR_EXPR)
      return tsr_point_index(e, tsr_scalar_dtype(e->ir, x), attr->u.expr);
  }
  return tsr_point_load(e, x, subscripts, count);
}

tsr_value tsr_read_broadcast(tsr_point *e, tsr_value x, const tsr_expr *axes, uint32_t rank) {
  const tsr_type_info *type = tsr_value_type(e->ir, x);
  tsr_expr subscripts[TSR_MAX_RANK];
  for (uint32_t i = 0; i < type->rank; i++) {
    bool one = tsr_expr_equals_int(e->ir, type->dims[i], 1);
    subscripts[i] = one ? tsr_expr_int(e->ir, 0) : axes[rank - type->rank + i];
  }
  return tsr_read(e, x, subscripts, type->rank);
}

bool tsr_read_ints(tsr_ir *ir, tsr_op op, const char *key, uint32_t count, int64_t *out) {
  uint32_t found;
  if (tsr_op_ints(ir, op, key, out, TSR_MAX_RANK, &found) && found == count)
    return true;
  tsr_ir_poison(ir, TSR_ERR_VERIFY, "%s: %s needs %u integers",
                tsr_opcode_info(tsr_op_get(ir, op)->code)->text, key, count);
  return false;
}

const tsr_expr *tsr_read_exprs(tsr_ir *ir, tsr_op op, const char *key, uint32_t count) {
  const tsr_attr *attr = tsr_op_attr(ir, op, key);
  if (attr != NULL && attr->kind == TSR_ATTR_EXPRS && attr->count == count)
    return attr->u.exprs;
  tsr_ir_poison(ir, TSR_ERR_VERIFY, "%s: %s needs %u expressions",
                tsr_opcode_info(tsr_op_get(ir, op)->code)->text, key, count);
  return NULL;
}

static tsr_value map_elementwise(tsr_point *e, tsr_op op, const tsr_expr *axes) {
  const tsr_op_data *data = tsr_op_get(e->ir, op);
  const tsr_type_info *type = result_type(e->ir, op);
  tsr_value values[3] = {0};
  for (uint32_t i = 0; i < data->operand_count && i < 3; i++)
    values[i] = tsr_read_broadcast(e, data->operands[i].value, axes, type->rank);
  tsr_op made = tsr_op_append(e->ir, e->region, data->code);
  for (uint32_t i = 0; i < data->operand_count && i < 3; i++)
    tsr_op_add_operand(e->ir, made, values[i]);
  for (uint32_t i = 0; i < data->attr_count; i++)
    tsr_op_set_attr(e->ir, made, &data->attrs[i]);
  return tsr_op_add_result(e->ir, made, tsr_scalar_type(e->ir, type->dtype));
}

static tsr_value map_iota(tsr_point *e, tsr_op op, const tsr_expr *axes) {
  tsr_dtype dtype = result_type(e->ir, op)->dtype;
  tsr_expr position = axes[tsr_op_int(e->ir, op, "axis", 0)];
  return tsr_point_cast(e, tsr_point_index(e, TSR_I64, position), dtype);
}

static tsr_value map_transpose(tsr_point *e, tsr_op op, const tsr_expr *axes) {
  uint32_t rank = result_type(e->ir, op)->rank;
  int64_t perm[TSR_MAX_RANK];
  tsr_expr subscripts[TSR_MAX_RANK];
  if (!tsr_read_ints(e->ir, op, "perm", rank, perm))
    return 0;
  for (uint32_t i = 0; i < rank; i++)
    subscripts[perm[i]] = axes[i];
  return tsr_read(e, operand(e->ir, op, 0), subscripts, rank);
}

static tsr_value map_broadcast(tsr_point *e, tsr_op op, const tsr_expr *axes) {
  return tsr_read_broadcast(e, operand(e->ir, op, 0), axes, result_type(e->ir, op)->rank);
}

static tsr_value map_slice(tsr_point *e, tsr_op op, const tsr_expr *axes) {
  uint32_t rank = result_type(e->ir, op)->rank;
  int64_t step[TSR_MAX_RANK];
  const tsr_expr *start = tsr_read_exprs(e->ir, op, "start", rank);
  tsr_expr subscripts[TSR_MAX_RANK];
  if (start == NULL || !tsr_read_ints(e->ir, op, "step", rank, step))
    return 0;
  for (uint32_t i = 0; i < rank; i++)
    subscripts[i] = tsr_expr_add(e->ir, start[i], tsr_expr_mul_int(e->ir, axes[i], step[i]));
  return tsr_read(e, operand(e->ir, op, 0), subscripts, rank);
}

/* Where the modes other than constant read: `at` counts from the operand's first element and may
 * lie outside 0..extent. */
static tsr_expr pad_source(tsr_ir *ir, const char *mode, tsr_expr at, tsr_expr extent) {
  tsr_expr zero = tsr_expr_int(ir, 0), one = tsr_expr_int(ir, 1);
  tsr_expr last = tsr_expr_add_int(ir, extent, -1);
  if (strcmp(mode, "edge") == 0)
    return tsr_expr_binary(ir, TSR_INDEX_MAX, zero, tsr_expr_binary(ir, TSR_INDEX_MIN, at, last));
  if (strcmp(mode, "wrap") == 0)
    return tsr_expr_binary(ir, TSR_INDEX_MOD, at, tsr_expr_binary(ir, TSR_INDEX_MAX, extent, one));
  tsr_expr period = tsr_expr_binary(ir, TSR_INDEX_MAX, tsr_expr_mul_int(ir, last, 2), one);
  tsr_expr phase = tsr_expr_binary(ir, TSR_INDEX_MOD, at, period);
  return tsr_expr_binary(ir, TSR_INDEX_MIN, phase, tsr_expr_sub(ir, period, phase));
}

static tsr_expr and_also(tsr_ir *ir, tsr_expr all, tsr_expr more) {
  return all == 0 ? more : tsr_expr_binary(ir, TSR_INDEX_AND, all, more);
}

tsr_expr tsr_inside(tsr_ir *ir, tsr_expr all, tsr_expr at, tsr_expr extent) {
  tsr_expr last = tsr_expr_add_int(ir, extent, -1);
  if (!tsr_expr_prove_nonnegative(ir, at, NULL, 0))
    all = and_also(ir, all, tsr_expr_binary(ir, TSR_INDEX_LE, tsr_expr_int(ir, 0), at));
  if (!tsr_expr_prove_nonnegative(ir, tsr_expr_sub(ir, last, at), NULL, 0))
    all = and_also(ir, all, tsr_expr_binary(ir, TSR_INDEX_LT, at, extent));
  return all;
}

/* A constant pad value that `load` can carry needs no guard; any other is selected. */
static tsr_value map_pad(tsr_point *e, tsr_op op, const tsr_expr *axes) {
  tsr_ir *ir = e->ir;
  tsr_value x = operand(ir, op, 0), value = operand(ir, op, 1);
  const tsr_type_info *type = tsr_value_type(ir, x);
  const tsr_expr *low = tsr_read_exprs(ir, op, "low", type->rank);
  const char *mode = tsr_op_string(ir, op, "mode");
  bool has_interior = tsr_op_attr(ir, op, "interior") != NULL;
  int64_t interior[TSR_MAX_RANK] = {0};
  if (low == NULL || mode == NULL ||
      (has_interior && !tsr_read_ints(ir, op, "interior", type->rank, interior)))
    return 0;
  bool constant = strcmp(mode, "constant") == 0;
  tsr_expr subscripts[TSR_MAX_RANK], bounds = 0, between = 0;
  for (uint32_t i = 0; i < type->rank; i++) {
    tsr_expr at = tsr_expr_sub(ir, axes[i], low[i]);
    if (interior[i] > 0) {
      tsr_expr phase = tsr_expr_mod_int(ir, at, interior[i] + 1);
      between =
          and_also(ir, between, tsr_expr_binary(ir, TSR_INDEX_EQ, phase, tsr_expr_int(ir, 0)));
      at = tsr_expr_floordiv_int(ir, at, interior[i] + 1);
    }
    subscripts[i] = constant ? at : pad_source(ir, mode, at, type->dims[i]);
    bounds = constant ? tsr_inside(ir, bounds, at, type->dims[i]) : 0;
  }
  if (!constant)
    return tsr_read(e, x, subscripts, type->rank);
  double number;
  int64_t integer;
  bool splat = tsr_value_splat(ir, value, &number, &integer) &&
               (tsr_dtype_is_float(type->dtype) || (int64_t)number == integer);
  tsr_value loaded = tsr_point_load_pad(e, x, subscripts, type->rank, splat ? number : 0);
  tsr_expr guard = splat         ? between
                   : bounds == 0 ? between
                                 : and_also(ir, bounds, between ? between : tsr_expr_int(ir, 1));
  if (guard == 0)
    return loaded;
  tsr_value outside = tsr_read(e, value, NULL, 0);
  tsr_value inside = tsr_point_condition(e, guard);
  return tsr_point_select(e, inside, loaded, outside);
}

/* A chain of selects from the last part to the first; loads beyond a part give 0 and are not
 * chosen. */
static tsr_value map_concat(tsr_point *e, tsr_op op, const tsr_expr *axes) {
  tsr_ir *ir = e->ir;
  const tsr_op_data *data = tsr_op_get(ir, op);
  uint32_t rank = result_type(ir, op)->rank;
  int64_t axis = tsr_op_int(ir, op, "axis", 0);
  tsr_expr ends[2] = {result_type(ir, op)->dims[axis], 0};
  tsr_value chosen = 0;
  for (uint32_t n = data->operand_count; n-- > 0;) {
    tsr_value x = data->operands[n].value;
    const tsr_type_info *type = tsr_value_type(ir, x);
    if (tsr_expr_equals_int(ir, type->dims[axis], 0))
      continue;
    tsr_expr end = ends[0], subscripts[TSR_MAX_RANK];
    ends[0] = tsr_expr_sub(ir, end, type->dims[axis]);
    memcpy(subscripts, axes, rank * sizeof *subscripts);
    subscripts[axis] = tsr_expr_sub(ir, axes[axis], n == 0 ? tsr_expr_int(ir, 0) : ends[0]);
    tsr_value part = tsr_read(e, x, subscripts, rank);
    tsr_expr before = tsr_expr_binary(ir, TSR_INDEX_LT, axes[axis], end);
    chosen = chosen == 0 ? part : tsr_point_select(e, tsr_point_condition(e, before), part, chosen);
  }
  return chosen != 0 ? chosen : tsr_point_int(e, result_type(ir, op)->dtype, 0);
}

static tsr_value map_relayout(tsr_point *e, tsr_op op, const tsr_expr *axes) {
  tsr_ir *ir = e->ir;
  tsr_value x = operand(ir, op, 0);
  uint32_t rank = tsr_value_type(ir, x)->rank, lanes = result_type(ir, op)->rank;
  const tsr_expr *map = tsr_read_exprs(ir, op, "map", rank);
  tsr_expr from[TSR_MAX_RANK], subscripts[TSR_MAX_RANK];
  if (map == NULL)
    return 0;
  for (uint32_t i = 0; i < lanes; i++)
    from[i] = tsr_expr_lane(ir, i);
  for (uint32_t i = 0; i < rank; i++)
    subscripts[i] = tsr_expr_substitute(ir, map[i], from, axes, lanes);
  return tsr_point_load(e, x, subscripts, rank);
}

tsr_value tsr_normalise_index(tsr_point *e, tsr_value index, tsr_expr extent) {
  tsr_value wide = tsr_point_cast(e, index, TSR_I64);
  tsr_value zero = tsr_point_int(e, TSR_I64, 0);
  if (tsr_dtype_class_of(tsr_scalar_dtype(e->ir, index)) == TSR_CLASS_INT) {
    tsr_value wrapped = tsr_point_binary(e, TSR_OP_ADD, wide, tsr_point_index(e, TSR_I64, extent));
    tsr_value negative = tsr_point_binary(e, TSR_OP_LT, wide, zero);
    wide = tsr_point_select(e, negative, wrapped, wide);
  }
  tsr_value last = tsr_point_index(e, TSR_I64, tsr_expr_add_int(e->ir, extent, -1));
  return tsr_point_binary(e, TSR_OP_MAX, tsr_point_binary(e, TSR_OP_MIN, wide, last), zero);
}

static tsr_expr read_index(tsr_point *e, tsr_value indices, const tsr_expr *at, uint32_t rank,
                           tsr_expr extent) {
  tsr_value index = tsr_read(e, indices, at, rank);
  tsr_value normal = tsr_normalise_index(e, index, extent);
  return normal == 0 ? 0 : tsr_expr_value(e->ir, normal);
}

static tsr_value map_gather(tsr_point *e, tsr_op op, const tsr_expr *axes) {
  tsr_value x = operand(e->ir, op, 0), indices = operand(e->ir, op, 1);
  const tsr_type_info *type = tsr_value_type(e->ir, x);
  uint32_t width = tsr_value_type(e->ir, indices)->rank;
  uint32_t axis = (uint32_t)tsr_op_int(e->ir, op, "axis", 0);
  tsr_expr subscripts[TSR_MAX_RANK];
  for (uint32_t i = 0; i < type->rank; i++)
    subscripts[i] = i < axis ? axes[i] : i > axis ? axes[i + width - 1] : 0;
  subscripts[axis] = read_index(e, indices, axes + axis, width, type->dims[axis]);
  return tsr_read(e, x, subscripts, type->rank);
}

static tsr_value map_gather_nd(tsr_point *e, tsr_op op, const tsr_expr *axes) {
  tsr_ir *ir = e->ir;
  tsr_value x = operand(ir, op, 0), indices = operand(ir, op, 1);
  const tsr_type_info *type = tsr_value_type(ir, x), *places = tsr_value_type(ir, indices);
  uint32_t batch = (uint32_t)tsr_op_int(ir, op, "batch", 0), lead = places->rank - 1;
  int64_t width = 0;
  tsr_expr_is_int(ir, places->dims[lead], &width);
  tsr_expr subscripts[TSR_MAX_RANK], at[TSR_MAX_RANK];
  memcpy(at, axes, lead * sizeof *at);
  for (uint32_t i = 0; i < type->rank; i++) {
    if (i < batch) {
      subscripts[i] = axes[i];
    } else if (i < batch + (uint32_t)width) {
      at[lead] = tsr_expr_int(ir, i - batch);
      subscripts[i] = read_index(e, indices, at, places->rank, type->dims[i]);
    } else {
      subscripts[i] = axes[lead + i - batch - (uint32_t)width];
    }
  }
  return tsr_read(e, x, subscripts, type->rank);
}

static tsr_value map_gather_elements(tsr_point *e, tsr_op op, const tsr_expr *axes) {
  tsr_value x = operand(e->ir, op, 0), indices = operand(e->ir, op, 1);
  const tsr_type_info *type = tsr_value_type(e->ir, x);
  uint32_t axis = (uint32_t)tsr_op_int(e->ir, op, "axis", 0);
  tsr_expr subscripts[TSR_MAX_RANK];
  memcpy(subscripts, axes, type->rank * sizeof *subscripts);
  subscripts[axis] = read_index(e, indices, axes, type->rank, type->dims[axis]);
  return tsr_read(e, x, subscripts, type->rank);
}

static const struct {
  tsr_opcode code;
  map_rule rule;
} map_rules[] = {
    {TSR_OP_IOTA, map_iota},
    {TSR_OP_TRANSPOSE, map_transpose},
    {TSR_OP_BROADCAST, map_broadcast},
    {TSR_OP_SLICE, map_slice},
    {TSR_OP_PAD, map_pad},
    {TSR_OP_CONCAT, map_concat},
    {TSR_OP_RELAYOUT, map_relayout},
    {TSR_OP_GATHER, map_gather},
    {TSR_OP_GATHER_ND, map_gather_nd},
    {TSR_OP_GATHER_ELEMENTS, map_gather_elements},
};

static map_rule find_rule(tsr_opcode code) {
  for (size_t i = 0; i < sizeof map_rules / sizeof map_rules[0]; i++)
    if (map_rules[i].code == code)
      return map_rules[i].rule;
  return tsr_opcode_elementwise(code) ? map_elementwise : NULL;
}

bool tsr_lower_is_map(tsr_opcode code) {
  return find_rule(code) != NULL;
}

tsr_op tsr_lower_map(tsr_ir *ir, tsr_op op) {
  const tsr_type_info *type = result_type(ir, op);
  tsr_expr axes[TSR_MAX_RANK];
  tsr_point e = tsr_point_begin(ir, TSR_OP_BLOCK, op);
  tsr_value result = tsr_point_result(&e, type);
  tsr_point_axes(&e, TSR_ROLE_PAR, type->dims, type->rank, axes);
  tsr_value value = find_rule(tsr_op_get(ir, op)->code)(&e, op, axes);
  tsr_point_store(&e, value, result, axes, type->rank);
  return e.op;
}
