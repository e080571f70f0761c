/* Small builders of tile IR. */
#include "passes/tile/nest.h"
#include <math.h>
#include <string.h>

tsr_type tsr_tile_type(tsr_ir *ir, tsr_dtype dtype, int64_t rows, int64_t lanes) {
  const tsr_expr dims[2] = {tsr_expr_int(ir, rows), tsr_expr_int(ir, lanes)};
  return tsr_type_make(ir, TSR_LEVEL_REG, dtype, dims, 2);
}

void tsr_tile_extents(const tsr_ir *ir, tsr_value value, int64_t out_extents[2]) {
  out_extents[0] = out_extents[1] = 1;
  if (value == 0)
    return;
  const tsr_type_info *type = tsr_value_type(ir, value);
  for (uint32_t i = 0; i < type->rank && i < 2; i++)
    tsr_expr_is_int(ir, type->dims[type->rank - 1 - i], &out_extents[1 - i]);
}

/* Whole numbers are written as integers, so that the text does not depend on where they come from.
 */
tsr_value tsr_tile_const(tsr_ir *ir, tsr_region region, tsr_dtype dtype, double number,
                         int64_t rows, int64_t lanes) {
  tsr_op op = tsr_op_append(ir, region, TSR_OP_CONST);
  if (number == floor(number) && fabs(number) < 0x1p53 && !signbit(number))
    tsr_op_set_int(ir, op, "value", (int64_t)number);
  else
    tsr_op_set_float(ir, op, "value", number);
  return tsr_op_add_result(ir, op, tsr_tile_type(ir, dtype, rows, lanes));
}

static int64_t greatest_of(tsr_dtype dtype) {
  const unsigned bits = tsr_dtype_bits(dtype);
  if (dtype == TSR_BOOL)
    return 1;
  if (tsr_dtype_class_of(dtype) == TSR_CLASS_UINT)
    return bits >= 64 ? -1 : (int64_t)((UINT64_C(1) << bits) - 1);
  return bits >= 64 ? INT64_MAX : (int64_t)((UINT64_C(1) << (bits - 1)) - 1);
}

static int64_t least_of(tsr_dtype dtype) {
  return tsr_dtype_class_of(dtype) == TSR_CLASS_INT ? -greatest_of(dtype) - 1 : 0;
}

static tsr_value int_const(tsr_ir *ir, tsr_region region, tsr_dtype dtype, int64_t number,
                           int64_t rows, int64_t lanes) {
  tsr_op op = tsr_op_append(ir, region, TSR_OP_CONST);
  tsr_op_set_int(ir, op, "value", number);
  return tsr_op_add_result(ir, op, tsr_tile_type(ir, dtype, rows, lanes));
}

tsr_value tsr_tile_identity(tsr_ir *ir, tsr_region region, tsr_dtype dtype, const char *combine,
                            int64_t rows, int64_t lanes) {
  const bool is_float = tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT;
  switch (tsr_tile_combiner(combine)) {
  case TSR_OP_MUL:
    return tsr_tile_const(ir, region, dtype, 1, rows, lanes);
  case TSR_OP_MAX:
    return is_float ? tsr_tile_const(ir, region, dtype, -INFINITY, rows, lanes)
                    : int_const(ir, region, dtype, least_of(dtype), rows, lanes);
  case TSR_OP_MIN:
    return is_float ? tsr_tile_const(ir, region, dtype, INFINITY, rows, lanes)
                    : int_const(ir, region, dtype, greatest_of(dtype), rows, lanes);
  case TSR_OP_AND:
    return int_const(ir, region, dtype,
                     tsr_dtype_class_of(dtype) == TSR_CLASS_INT ? -1 : greatest_of(dtype), rows,
                     lanes);
  default:
    return tsr_tile_const(ir, region, dtype, 0, rows, lanes);
  }
}

tsr_opcode tsr_tile_combiner(const char *combine) {
  static const tsr_opcode codes[] = {TSR_OP_ADD, TSR_OP_MUL, TSR_OP_MAX,
                                     TSR_OP_MIN, TSR_OP_AND, TSR_OP_OR};
  for (size_t i = 0; combine != NULL && i < sizeof codes / sizeof *codes; i++)
    if (strcmp(tsr_opcode_info(codes[i])->text, combine) == 0)
      return codes[i];
  return TSR_OP_NONE;
}

static int64_t wider(int64_t a, int64_t b) {
  return a > b ? a : b;
}

tsr_value tsr_tile_binary(tsr_ir *ir, tsr_region region, tsr_opcode code, tsr_value x,
                          tsr_value y) {
  int64_t ex[2], ey[2];
  tsr_tile_extents(ir, x, ex);
  tsr_tile_extents(ir, y, ey);
  if (x == 0 || y == 0)
    return 0;
  const bool compare = tsr_opcode_info(code)->kind == TSR_KIND_COMPARE;
  const tsr_dtype dtype = compare ? TSR_BOOL : tsr_value_type(ir, x)->dtype;
  tsr_op op = tsr_op_append(ir, region, code);
  tsr_op_add_operand(ir, op, x);
  tsr_op_add_operand(ir, op, y);
  return tsr_op_add_result(ir, op,
                           tsr_tile_type(ir, dtype, wider(ex[0], ey[0]), wider(ex[1], ey[1])));
}

tsr_value tsr_tile_condition(tsr_ir *ir, tsr_region region, tsr_expr cond, int64_t rows,
                             int64_t lanes) {
  tsr_op op = tsr_op_append(ir, region, TSR_OP_INDEX);
  tsr_op_set_expr(ir, op, "value", cond);
  tsr_value number = tsr_op_add_result(ir, op, tsr_tile_type(ir, TSR_I64, rows, lanes));
  return tsr_tile_binary(ir, region, TSR_OP_NE, number,
                         tsr_tile_const(ir, region, TSR_I64, 0, 1, 1));
}

tsr_value tsr_tile_select(tsr_ir *ir, tsr_region region, tsr_value condition, tsr_value x,
                          tsr_value y) {
  int64_t ec[2], ex[2], ey[2];
  tsr_tile_extents(ir, condition, ec);
  tsr_tile_extents(ir, x, ex);
  tsr_tile_extents(ir, y, ey);
  if (x == 0 || y == 0)
    return 0;
  tsr_op op = tsr_op_append(ir, region, TSR_OP_SELECT);
  tsr_op_add_operand(ir, op, condition);
  tsr_op_add_operand(ir, op, x);
  tsr_op_add_operand(ir, op, y);
  return tsr_op_add_result(ir, op,
                           tsr_tile_type(ir, tsr_value_type(ir, x)->dtype,
                                         wider(ec[0], wider(ex[0], ey[0])),
                                         wider(ec[1], wider(ex[1], ey[1]))));
}

tsr_expr tsr_tile_min(tsr_ir *ir, tsr_expr a, tsr_expr b) {
  return tsr_expr_binary(ir, TSR_INDEX_MIN, a, b);
}

tsr_tile_loop tsr_tile_for(tsr_ir *ir, tsr_region region, tsr_expr lo, tsr_expr hi,
                           const tsr_value *init, uint32_t count) {
  tsr_tile_loop loop = {.op = tsr_op_append(ir, region, TSR_OP_FOR)};
  loop.body = tsr_op_add_region(ir, loop.op);
  loop.index = tsr_expr_value(ir, tsr_region_add_index(ir, loop.body, TSR_ROLE_LOOP, lo, hi, 1));
  for (uint32_t i = 0; i < count; i++) {
    tsr_op_add_operand(ir, loop.op, init[i]);
    const tsr_type type = init[i] != 0 ? tsr_value_get(ir, init[i])->type : 0;
    loop.carried[i] = tsr_region_add_arg(ir, loop.body, TSR_ROLE_CARRIED, type);
    tsr_op_add_result(ir, loop.op, type);
  }
  return loop;
}

void tsr_tile_yield(tsr_ir *ir, tsr_region region, const tsr_value *values, uint32_t count) {
  tsr_op op = tsr_op_append(ir, region, TSR_OP_YIELD);
  for (uint32_t i = 0; i < count; i++)
    tsr_op_add_operand(ir, op, values[i]);
}

tsr_region tsr_tile_if(tsr_ir *ir, tsr_region region, tsr_expr cond) {
  tsr_op op = tsr_op_append(ir, region, TSR_OP_IF);
  tsr_op_set_expr(ir, op, "cond", cond);
  return tsr_op_add_region(ir, op);
}
