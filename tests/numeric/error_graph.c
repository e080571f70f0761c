#include "tests/numeric/error_graph.h"
#include <math.h>
#include <string.h>

double op_ulps(tsr_opcode code) {
  switch (code) {
#define X(name, ulps)                                                                              \
  case TSR_OP_##name:                                                                              \
    return ulps;
#include "tests/numeric/accuracy.def"
#undef X
  default:
    return -1;
  }
}

double unit_roundoff(tsr_dtype dtype) {
  switch (dtype) {
  case TSR_F64:
    return 0x1p-53;
  case TSR_F32:
    return 0x1p-24;
  case TSR_F16:
    return 0x1p-11;
  case TSR_BF16:
    return 0x1p-8;
  default:
    return 0;
  }
}

double tiny(tsr_dtype dtype) {
  switch (dtype) {
  case TSR_F64:
    return 0x1p-1074;
  case TSR_F32:
    return 0x1p-149;
  case TSR_F16:
    return 0x1p-24;
  case TSR_BF16:
    return 0x1p-133;
  default:
    return 0;
  }
}

static tsr_value number(error_graph *e, double value) {
  return tsr_graph_scalar(e->b, TSR_F64, value);
}

static tsr_value exact(error_graph *e, tsr_value x) {
  return tsr_graph_cast(e->b, x, TSR_F64);
}

static tsr_value add(error_graph *e, tsr_value x, tsr_value y) {
  return tsr_graph_binary(e->b, TSR_OP_ADD, x, y);
}

static tsr_value mul(error_graph *e, tsr_value x, tsr_value y) {
  return tsr_graph_binary(e->b, TSR_OP_MUL, x, y);
}

static tsr_value magnitude(error_graph *e, tsr_value x) {
  return tsr_graph_unary(e->b, TSR_OP_ABS, exact(e, x));
}

/* |value| * 2 u * ulps + one subnormal: an ulp is at most 2 u |value|. */
static tsr_value rounding(error_graph *e, tsr_value value, double ulps) {
  tsr_dtype dtype = tsr_value_type(e->b->ir, value)->dtype;
  tsr_value relative = mul(e, magnitude(e, value), number(e, 2 * unit_roundoff(dtype) * ulps));
  return ulps == 0 ? relative : add(e, relative, number(e, tiny(dtype)));
}

/* max |f(x +- bound) - f(x)| of a monotone f. */
static tsr_value monotone(error_graph *e, tsr_opcode code, tsr_value x, tsr_value bound) {
  tsr_value centre = tsr_graph_unary(e->b, code, exact(e, x));
  tsr_value reach = number(e, 0);
  for (int side = 0; side < 2; side++) {
    tsr_value moved =
        tsr_graph_binary(e->b, side == 0 ? TSR_OP_ADD : TSR_OP_SUB, exact(e, x), bound);
    tsr_value there = tsr_graph_unary(e->b, code, moved);
    tsr_value gap =
        tsr_graph_unary(e->b, TSR_OP_ABS, tsr_graph_binary(e->b, TSR_OP_SUB, there, centre));
    reach = tsr_graph_binary(e->b, TSR_OP_MAX, reach, gap);
  }
  return reach;
}

static bool is_exact(const error_graph *e, tsr_value x) {
  tsr_opcode code = tsr_op_get(e->b->ir, tsr_value_get(e->b->ir, x)->def)->code;
  return code == TSR_OP_INPUT || code == TSR_OP_CONST;
}

/* (ea + |q| eb) / (|b| - eb): infinite where the divisor's error reaches it. */
static tsr_value divide_bound(error_graph *e, tsr_value y, tsr_value result, tsr_value ex,
                              tsr_value ey) {
  tsr_value room = tsr_graph_binary(e->b, TSR_OP_SUB, magnitude(e, y), ey);
  tsr_value safe = tsr_graph_binary(e->b, TSR_OP_MAX, room, number(e, 0));
  tsr_value above = add(e, ex, mul(e, magnitude(e, result), ey));
  return tsr_graph_binary(e->b, TSR_OP_DIV, above, safe);
}

static tsr_value unary_bound(error_graph *e, tsr_opcode code, tsr_value x, tsr_value result) {
  tsr_value bound = error_bound(e, x);
  double ulps = op_ulps(code);
  if (bound == 0 || ulps < 0)
    return 0;
  switch (code) {
  case TSR_OP_NEG:
  case TSR_OP_ABS:
    return bound;
  case TSR_OP_SIN:
  case TSR_OP_COS:
    return add(e, bound, rounding(e, result, ulps));
  case TSR_OP_EXP:
  case TSR_OP_LOG:
  case TSR_OP_SQRT:
  case TSR_OP_ATAN:
  case TSR_OP_SINH:
  case TSR_OP_TANH:
  case TSR_OP_ASINH:
  case TSR_OP_ERF:
    return add(e, monotone(e, code, x, bound), rounding(e, result, ulps));
  case TSR_OP_RECIP:
    return add(e, divide_bound(e, x, result, number(e, 0), bound), rounding(e, result, ulps));
  default:
    return is_exact(e, x) ? rounding(e, result, ulps) : 0;
  }
}

static tsr_value binary_bound(error_graph *e, tsr_opcode code, const tsr_op_data *op,
                              tsr_value result) {
  tsr_value x = op->operands[0].value, y = op->operands[1].value;
  tsr_value ex = error_bound(e, x), ey = error_bound(e, y);
  if (ex == 0 || ey == 0)
    return 0;
  tsr_value round = rounding(e, result, 0.5);
  switch (code) {
  case TSR_OP_ADD:
  case TSR_OP_SUB:
    return add(e, add(e, ex, ey), round);
  case TSR_OP_MUL: {
    tsr_value first = add(e, mul(e, magnitude(e, x), ey), mul(e, magnitude(e, y), ex));
    return add(e, add(e, first, mul(e, ex, ey)), round);
  }
  case TSR_OP_DIV:
    return add(e, divide_bound(e, y, result, ex, ey), round);
  case TSR_OP_MIN:
  case TSR_OP_MAX:
    return tsr_graph_binary(e->b, TSR_OP_MAX, ex, ey);
  default:
    return is_exact(e, x) && is_exact(e, y) && op_ulps(code) >= 0
               ? rounding(e, result, op_ulps(code))
               : 0;
  }
}

/* n u sum|x| + sum of bounds, n the number of terms, which any order of summation keeps. */
static tsr_value reduce_bound(error_graph *e, tsr_op op, const tsr_op_data *data) {
  tsr_ir *ir = e->b->ir;
  tsr_value x = data->operands[0].value, bound = error_bound(e, x);
  const char *combine = tsr_op_string(ir, op, "combine");
  int64_t axes[TSR_MAX_RANK];
  uint32_t count;
  if (bound == 0 || !tsr_op_ints(ir, op, "axes", axes, TSR_MAX_RANK, &count))
    return 0;
  const tsr_type_info *type = tsr_value_type(ir, x);
  bound = tsr_graph_broadcast(e->b, bound, type->dims, type->rank);
  if (strcmp(combine, "max") == 0 || strcmp(combine, "min") == 0)
    return tsr_graph_reduce(e->b, bound, "max", axes, count);
  if (strcmp(combine, "add") != 0)
    return 0;
  tsr_expr terms = tsr_expr_int(ir, 1);
  for (uint32_t i = 0; i < count; i++)
    terms = tsr_expr_mul(ir, terms, type->dims[axes[i]]);
  tsr_value n = tsr_graph_cast(e->b, tsr_graph_index(e->b, TSR_I64, terms), TSR_F64);
  tsr_value sum = tsr_graph_reduce(e->b, add(e, magnitude(e, x), bound), "add", axes, count);
  tsr_value unit = number(e, unit_roundoff(type->dtype));
  return add(e, mul(e, mul(e, n, unit), sum), tsr_graph_reduce(e->b, bound, "add", axes, count));
}

/* The op `op` over other operands of the same shapes. */
static tsr_value contraction(error_graph *e, tsr_op op, tsr_value x, tsr_value y) {
  tsr_ir *ir = e->b->ir;
  tsr_op made = tsr_op_append(ir, e->b->region, tsr_op_get(ir, op)->code);
  tsr_op_add_operand(ir, made, x);
  tsr_op_add_operand(ir, made, y);
  for (uint32_t i = 0; i < tsr_op_get(ir, op)->attr_count; i++)
    tsr_op_set_attr(ir, made, &tsr_op_get(ir, op)->attrs[i]);
  tsr_type types[2];
  if (tsr_infer_types(ir, made, tsr_ir_diag(ir), types) != TSR_OK)
    return 0;
  return tsr_op_add_result(ir, made, types[0]);
}

/* `x` broadcast to the shape of `like`. */
static tsr_value full(error_graph *e, tsr_value like, tsr_value x) {
  const tsr_type_info *type = tsr_value_type(e->b->ir, like);
  return tsr_graph_broadcast(e->b, x, type->dims, type->rank);
}

/* (k + 1) u sum (|a| + ea)(|b| + eb) + what the operands' errors become; k, the number of terms, by
 * contracting ones. */
static tsr_value contraction_bound(error_graph *e, tsr_op op, const tsr_op_data *data) {
  tsr_value x = data->operands[0].value, y = data->operands[1].value;
  tsr_value ex = error_bound(e, x), ey = error_bound(e, y);
  if (ex == 0 || ey == 0)
    return 0;
  tsr_dtype dtype = tsr_value_type(e->b->ir, data->results[0])->dtype;
  tsr_value ones_x = full(e, x, number(e, 1)), ones_y = full(e, y, number(e, 1));
  tsr_value terms = add(e, contraction(e, op, ones_x, ones_y), number(e, 1));
  tsr_value ax = magnitude(e, x), ay = magnitude(e, y);
  if (e->operand_rounding > 0) {
    ex = add(e, ex, mul(e, add(e, ax, ex), number(e, e->operand_rounding)));
    ey = add(e, ey, mul(e, add(e, ay, ey), number(e, e->operand_rounding)));
  }
  ex = full(e, x, ex);
  ey = full(e, y, ey);
  tsr_value all = contraction(e, op, add(e, ax, ex), add(e, ay, ey));
  /* Sums of f16 and bf16 are accumulated in f32 and rounded once at the end. */
  tsr_dtype sum = tsr_dtype_bits(dtype) < 32 ? TSR_F32 : dtype;
  tsr_value round = mul(e, mul(e, terms, number(e, unit_roundoff(sum))), all);
  if (sum != dtype)
    round = add(e, round, rounding(e, data->results[0], 0.5));
  tsr_value moved = add(e, contraction(e, op, ax, ey), contraction(e, op, ex, add(e, ay, ey)));
  return add(e, round, moved);
}

/* The same view of the bounds; padding is exact. */
static tsr_value view_bound(error_graph *e, const tsr_op_data *data) {
  tsr_ir *ir = e->b->ir;
  tsr_value bounds[TSR_MAX_RANK * 4];
  if (data->operand_count > sizeof bounds / sizeof *bounds)
    return 0;
  for (uint32_t i = 0; i < data->operand_count; i++) {
    bounds[i] = error_bound(e, data->operands[i].value);
    if (bounds[i] == 0)
      return 0;
    bounds[i] = full(e, data->operands[i].value, bounds[i]);
  }
  tsr_op made = tsr_op_append(ir, e->b->region, data->code);
  for (uint32_t i = 0; i < data->operand_count; i++)
    tsr_op_add_operand(ir, made, bounds[i]);
  for (uint32_t i = 0; i < data->attr_count; i++)
    tsr_op_set_attr(ir, made, &data->attrs[i]);
  const tsr_type_info *type = tsr_value_type(ir, data->results[0]);
  return tsr_op_add_result(ir, made,
                           tsr_type_make(ir, TSR_LEVEL_GLOBAL, TSR_F64, type->dims, type->rank));
}

static tsr_value select_bound(error_graph *e, const tsr_op_data *data) {
  tsr_value ex = error_bound(e, data->operands[1].value);
  tsr_value ey = error_bound(e, data->operands[2].value);
  return ex == 0 || ey == 0 ? 0 : tsr_graph_select(e->b, data->operands[0].value, ex, ey);
}

/* To a wider float nothing is lost. */
static tsr_value cast_bound(error_graph *e, const tsr_op_data *data, tsr_value result) {
  tsr_dtype from = tsr_value_type(e->b->ir, data->operands[0].value)->dtype;
  tsr_dtype to = tsr_value_type(e->b->ir, result)->dtype;
  tsr_value bound = error_bound(e, data->operands[0].value);
  if (bound == 0 || tsr_dtype_class_of(from) != TSR_CLASS_FLOAT ||
      tsr_dtype_class_of(to) != TSR_CLASS_FLOAT)
    return 0;
  bool wider = unit_roundoff(to) <= unit_roundoff(from) && tiny(to) <= tiny(from);
  return wider ? bound : add(e, bound, rounding(e, result, 0.5));
}

static tsr_value make_bound(error_graph *e, tsr_op op, tsr_value value) {
  const tsr_op_data *data = tsr_op_get(e->b->ir, op);
  switch (data->code) {
  case TSR_OP_INPUT:
  case TSR_OP_CONST:
  case TSR_OP_IOTA:
  case TSR_OP_INDEX:
    return number(e, 0);
  case TSR_OP_SELECT:
    return select_bound(e, data);
  case TSR_OP_CAST:
    return cast_bound(e, data, value);
  case TSR_OP_REDUCE:
    return reduce_bound(e, op, data);
  case TSR_OP_EINSUM:
  case TSR_OP_CONV:
    return contraction_bound(e, op, data);
  default:
    break;
  }
  switch (tsr_opcode_info(data->code)->kind) {
  case TSR_KIND_UNARY:
    return unary_bound(e, data->code, data->operands[0].value, value);
  case TSR_KIND_BINARY:
    return binary_bound(e, data->code, data, value);
  case TSR_KIND_VIEW:
    return view_bound(e, data);
  default:
    return 0;
  }
}

tsr_value error_bound(error_graph *errors, tsr_value value) {
  if (value == 0 || value >= errors->capacity)
    return 0;
  if (errors->bounds[value] == 0)
    errors->bounds[value] = make_bound(errors, tsr_value_get(errors->b->ir, value)->def, value);
  return errors->bounds[value];
}
