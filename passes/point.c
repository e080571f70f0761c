#include "passes/point.h"
#include "ir/const_bytes.h"
#include <math.h>
#include <string.h>

tsr_point tsr_point_begin(tsr_ir *ir, tsr_opcode code, tsr_op before) {
  tsr_point e = {.ir = ir, .op = tsr_op_insert_before(ir, before, code)};
  e.region = tsr_op_add_region(ir, e.op);
  tsr_op_copy_origins(ir, e.op, before);
  return e;
}

tsr_value tsr_point_result(tsr_point *e, const tsr_type_info *type) {
  tsr_type made = tsr_type_make(e->ir, TSR_LEVEL_GLOBAL, type->dtype, type->dims, type->rank);
  return tsr_op_add_result(e->ir, e->op, made);
}

tsr_expr tsr_point_axis(tsr_point *e, tsr_arg_role role, tsr_expr extent) {
  tsr_expr zero = tsr_expr_int(e->ir, 0);
  if (tsr_expr_equals_int(e->ir, extent, 1))
    return zero;
  return tsr_expr_value(e->ir, tsr_region_add_index(e->ir, e->region, role, zero, extent, 1));
}

void tsr_point_axes(tsr_point *e, tsr_arg_role role, const tsr_expr *extents, uint32_t count,
                    tsr_expr *out_axes) {
  for (uint32_t i = 0; i < count; i++)
    out_axes[i] = tsr_point_axis(e, role, extents[i]);
}

tsr_type tsr_scalar_type(tsr_ir *ir, tsr_dtype dtype) {
  return tsr_type_make(ir, TSR_LEVEL_REG, dtype, NULL, 0);
}

tsr_dtype tsr_scalar_dtype(const tsr_ir *ir, tsr_value value) {
  return value == 0 ? TSR_DTYPE_NONE : tsr_value_type(ir, value)->dtype;
}

bool tsr_dtype_is_float(tsr_dtype dtype) {
  return tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT;
}

static tsr_value finish(tsr_point *e, tsr_op op, tsr_dtype dtype) {
  return tsr_op_add_result(e->ir, op, tsr_scalar_type(e->ir, dtype));
}

tsr_value tsr_point_int(tsr_point *e, tsr_dtype dtype, int64_t value) {
  tsr_op op = tsr_op_append(e->ir, e->region, TSR_OP_CONST);
  tsr_op_set_int(e->ir, op, "value", value);
  return finish(e, op, dtype);
}

/* Whole numbers print as integers, so that the text is the same however the constant was made. */
tsr_value tsr_point_float(tsr_point *e, tsr_dtype dtype, double value) {
  tsr_op op = tsr_op_append(e->ir, e->region, TSR_OP_CONST);
  if (!tsr_dtype_is_float(dtype))
    tsr_op_set_int(e->ir, op, "value", (int64_t)value);
  else if (value == floor(value) && fabs(value) < 0x1p53 && !signbit(value))
    tsr_op_set_int(e->ir, op, "value", (int64_t)value);
  else
    tsr_op_set_float(e->ir, op, "value", value);
  return finish(e, op, dtype);
}

/* The least or greatest value of an integer dtype, as its 64 bits. */
static int64_t integer_extreme(tsr_dtype dtype, bool greatest) {
  unsigned bits = tsr_dtype_bits(dtype);
  tsr_dtype_class kind = tsr_dtype_class_of(dtype);
  if (kind == TSR_CLASS_BOOL)
    return greatest ? 1 : 0;
  if (kind == TSR_CLASS_UINT)
    return !greatest ? 0 : bits == 64 ? -1 : (int64_t)((UINT64_C(1) << bits) - 1);
  int64_t top = bits == 64 ? INT64_MAX : (int64_t)((UINT64_C(1) << (bits - 1)) - 1);
  return greatest ? top : -top - 1;
}

tsr_value tsr_point_identity(tsr_point *e, tsr_dtype dtype, const char *combine) {
  bool is_float = tsr_dtype_is_float(dtype);
  switch (tsr_combiner_opcode(combine)) {
  case TSR_OP_MUL:
    return tsr_point_float(e, dtype, 1);
  case TSR_OP_MAX:
    return is_float ? tsr_point_float(e, dtype, -INFINITY)
                    : tsr_point_int(e, dtype, integer_extreme(dtype, false));
  case TSR_OP_MIN:
    return is_float ? tsr_point_float(e, dtype, INFINITY)
                    : tsr_point_int(e, dtype, integer_extreme(dtype, true));
  case TSR_OP_AND:
    return tsr_point_int(e, dtype, dtype == TSR_BOOL ? 1 : integer_extreme(dtype, true) | -1);
  default:
    return tsr_point_float(e, dtype, 0);
  }
}

tsr_value tsr_point_index(tsr_point *e, tsr_dtype dtype, tsr_expr expr) {
  int64_t number;
  if (tsr_expr_is_int(e->ir, expr, &number))
    return tsr_point_int(e, dtype, number);
  tsr_op op = tsr_op_append(e->ir, e->region, TSR_OP_INDEX);
  tsr_op_set_expr(e->ir, op, "value", expr);
  return finish(e, op, dtype);
}

tsr_value tsr_point_condition(tsr_point *e, tsr_expr expr) {
  tsr_value number = tsr_point_index(e, TSR_I64, expr);
  return tsr_point_binary(e, TSR_OP_NE, number, tsr_point_int(e, TSR_I64, 0));
}

tsr_value tsr_point_unary(tsr_point *e, tsr_opcode code, tsr_value x) {
  tsr_op op = tsr_op_append(e->ir, e->region, code);
  tsr_op_add_operand(e->ir, op, x);
  bool test = code == TSR_OP_ISNAN || code == TSR_OP_ISINF;
  return finish(e, op, test ? TSR_BOOL : tsr_scalar_dtype(e->ir, x));
}

tsr_value tsr_point_binary(tsr_point *e, tsr_opcode code, tsr_value x, tsr_value y) {
  tsr_op op = tsr_op_append(e->ir, e->region, code);
  tsr_op_add_operand(e->ir, op, x);
  tsr_op_add_operand(e->ir, op, y);
  bool compare = tsr_opcode_info(code)->kind == TSR_KIND_COMPARE;
  return finish(e, op, compare ? TSR_BOOL : tsr_scalar_dtype(e->ir, x));
}

tsr_value tsr_point_select(tsr_point *e, tsr_value condition, tsr_value x, tsr_value y) {
  tsr_op op = tsr_op_append(e->ir, e->region, TSR_OP_SELECT);
  tsr_op_add_operand(e->ir, op, condition);
  tsr_op_add_operand(e->ir, op, x);
  tsr_op_add_operand(e->ir, op, y);
  return finish(e, op, tsr_scalar_dtype(e->ir, y));
}

tsr_value tsr_point_cast(tsr_point *e, tsr_value x, tsr_dtype dtype) {
  if (x == 0 || tsr_scalar_dtype(e->ir, x) == dtype)
    return x;
  tsr_op op = tsr_op_append(e->ir, e->region, TSR_OP_CAST);
  tsr_op_add_operand(e->ir, op, x);
  return finish(e, op, dtype);
}

tsr_opcode tsr_combiner_opcode(const char *combine) {
  static const struct {
    const char *text;
    tsr_opcode code;
  } table[] = {{"add", TSR_OP_ADD}, {"mul", TSR_OP_MUL}, {"max", TSR_OP_MAX},
               {"min", TSR_OP_MIN}, {"and", TSR_OP_AND}, {"or", TSR_OP_OR}};
  for (size_t i = 0; combine != NULL && i < sizeof table / sizeof table[0]; i++)
    if (strcmp(table[i].text, combine) == 0)
      return table[i].code;
  return TSR_OP_NONE;
}

tsr_value tsr_point_combine(tsr_point *e, const char *combine, tsr_value x, tsr_value y) {
  tsr_opcode code = tsr_combiner_opcode(combine);
  return code == TSR_OP_NONE ? y : tsr_point_binary(e, code, x, y);
}

bool tsr_value_is_index(const tsr_ir *ir, tsr_value value) {
  tsr_arg_role role = tsr_value_get(ir, value)->role;
  return role == TSR_ROLE_PAR || role == TSR_ROLE_RED || role == TSR_ROLE_GRID ||
         role == TSR_ROLE_LOOP;
}

static bool has_scalar(const tsr_ir *ir, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(ir, expr);
  if (node.op == TSR_INDEX_VALUE)
    return !tsr_value_is_index(ir, node.value);
  if (node.op < TSR_INDEX_ADD)
    return false;
  return has_scalar(ir, node.a) || has_scalar(ir, node.b);
}

bool tsr_subscripts_indirect(const tsr_ir *ir, const tsr_expr *subscripts, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (subscripts[i] != 0 && tsr_expr_has(ir, subscripts[i], TSR_INDEX_VALUE) &&
        has_scalar(ir, subscripts[i]))
      return true;
  return false;
}

static tsr_op load_op(tsr_point *e, tsr_value buffer, const tsr_expr *subscripts, uint32_t count) {
  bool indirect = tsr_subscripts_indirect(e->ir, subscripts, count);
  tsr_op op = tsr_op_append(e->ir, e->region, indirect ? TSR_OP_GATHER_LOAD : TSR_OP_LOAD);
  tsr_op_add_element(e->ir, op, buffer, subscripts, count);
  return op;
}

tsr_value tsr_point_load(tsr_point *e, tsr_value buffer, const tsr_expr *subscripts,
                         uint32_t count) {
  return finish(e, load_op(e, buffer, subscripts, count), tsr_scalar_dtype(e->ir, buffer));
}

tsr_value tsr_point_load_pad(tsr_point *e, tsr_value buffer, const tsr_expr *subscripts,
                             uint32_t count, double pad) {
  tsr_op op = load_op(e, buffer, subscripts, count);
  if (pad != 0 || signbit(pad))
    tsr_op_set_float(e->ir, op, "pad", pad);
  return finish(e, op, tsr_scalar_dtype(e->ir, buffer));
}

void tsr_point_store(tsr_point *e, tsr_value value, tsr_value buffer, const tsr_expr *subscripts,
                     uint32_t count) {
  bool indirect = tsr_subscripts_indirect(e->ir, subscripts, count);
  tsr_op op = tsr_op_append(e->ir, e->region, indirect ? TSR_OP_SCATTER_STORE : TSR_OP_STORE);
  tsr_op_add_operand(e->ir, op, value);
  tsr_op_add_element(e->ir, op, buffer, subscripts, count);
}

tsr_point tsr_point_for(tsr_point *e, tsr_expr lo, tsr_expr hi, const tsr_value *init,
                        uint32_t count, tsr_expr *out_index, tsr_value *out_carried,
                        tsr_op *out_loop) {
  tsr_op loop = tsr_op_append(e->ir, e->region, TSR_OP_FOR);
  tsr_point body = {.ir = e->ir, .op = e->op, .region = tsr_op_add_region(e->ir, loop)};
  *out_index =
      tsr_expr_value(e->ir, tsr_region_add_index(e->ir, body.region, TSR_ROLE_LOOP, lo, hi, 1));
  for (uint32_t i = 0; i < count; i++) {
    tsr_type type = tsr_scalar_type(e->ir, tsr_scalar_dtype(e->ir, init[i]));
    tsr_op_add_operand(e->ir, loop, init[i]);
    out_carried[i] = tsr_region_add_arg(e->ir, body.region, TSR_ROLE_CARRIED, type);
    tsr_op_add_result(e->ir, loop, type);
  }
  if (out_loop != NULL)
    *out_loop = loop;
  return body;
}

void tsr_point_yield(tsr_point *e, const tsr_value *values, uint32_t count) {
  tsr_op op = tsr_op_append(e->ir, e->region, TSR_OP_YIELD);
  for (uint32_t i = 0; i < count; i++)
    tsr_op_add_operand(e->ir, op, values[i]);
}

tsr_value tsr_op_result(const tsr_ir *ir, tsr_op op, uint32_t number) {
  return op == 0 || number >= tsr_op_get(ir, op)->result_count
             ? 0
             : tsr_op_get(ir, op)->results[number];
}

tsr_dtype tsr_accumulator_dtype(tsr_dtype dtype) {
  if (tsr_dtype_is_float(dtype))
    return tsr_dtype_bits(dtype) < 32 ? TSR_F32 : dtype;
  return dtype;
}

bool tsr_value_splat(tsr_ir *ir, tsr_value value, double *out_float, int64_t *out_integer) {
  *out_float = 0;
  *out_integer = 0;
  const tsr_value_data *data = tsr_value_get(ir, value);
  return data->role == TSR_ROLE_RESULT && data->def != 0 &&
         tsr_op_get(ir, data->def)->code == TSR_OP_CONST &&
         tsr_const_splat(ir, data->def, out_float, out_integer);
}

tsr_value tsr_point_splat(tsr_point *e, tsr_value constant) {
  double number;
  int64_t integer;
  tsr_dtype dtype = tsr_scalar_dtype(e->ir, constant);
  tsr_value_splat(e->ir, constant, &number, &integer);
  return tsr_dtype_is_float(dtype) ? tsr_point_float(e, dtype, number)
                                   : tsr_point_int(e, dtype, integer);
}
