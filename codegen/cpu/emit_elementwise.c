/* Element-wise ops, row by row. Narrow floats are computed in f32 and rounded after every op that
 * can leave the type's values. No contraction, no reordering. */
#include "codegen/common.h"
#include "codegen/cpu/emit.h"
#include "runtime/float_convert.h"
#include <math.h>
#include <string.h>

static bool is_float(tsr_dtype dtype) {
  return tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT;
}

static bool is_signed(tsr_dtype dtype) {
  return tsr_dtype_class_of(dtype) == TSR_CLASS_INT;
}

static LLVMValueRef constant_of(tsr_emit *e, LLVMValueRef like, LLVMValueRef scalar) {
  LLVMTypeRef type = LLVMTypeOf(like);
  return LLVMGetTypeKind(type) == LLVMVectorTypeKind
             ? tsr_emit_splat(e, scalar, LLVMGetVectorSize(type))
             : scalar;
}

static LLVMValueRef real(tsr_emit *e, LLVMValueRef like, double number) {
  LLVMTypeRef type = LLVMTypeOf(like);
  if (LLVMGetTypeKind(type) == LLVMVectorTypeKind)
    type = LLVMGetElementType(type);
  return constant_of(e, like, LLVMConstReal(type, number));
}

LLVMValueRef tsr_emit_number(tsr_emit *e, tsr_dtype dtype, double number) {
  LLVMTypeRef type = tsr_numeric_compute_type(&e->math, dtype, 0);
  if (tsr_numeric_is_narrow(dtype))
    number = tsr_float_decode(dtype, tsr_float_encode(dtype, number, TSR_OVERFLOW_SATURATE));
  if (is_float(dtype))
    return LLVMConstReal(type, number);
  uint64_t bits = 0;
  tsr_element_store_f64(dtype, &bits, 0, number);
  return LLVMConstInt(type, bits, false);
}

/* --- one row --- */

/* The functions of math_emit.h that an opcode is, TSR_MATH_COUNT for none. */
static tsr_math_fn math_of(tsr_opcode code) {
  switch (code) {
#define MATH(name)                                                                                 \
  case TSR_OP_##name:                                                                              \
    return TSR_MATH_##name;
    MATH(ABS)
    MATH(FLOOR)
    MATH(CEIL)
    MATH(TRUNC)
    MATH(ROUND)
    MATH(EXP)
    MATH(LOG)
    MATH(SQRT)
    MATH(RSQRT)
    MATH(SIN)
    MATH(COS)
    MATH(TAN)
    MATH(ASIN)
    MATH(ACOS)
    MATH(ATAN)
    MATH(SINH)
    MATH(COSH)
    MATH(TANH)
    MATH(ASINH)
    MATH(ACOSH)
    MATH(ATANH)
    MATH(ERF)
    MATH(POW)
#undef MATH
  case TSR_OP_REM:
    return TSR_MATH_FMOD;
  default:
    return TSR_MATH_COUNT;
  }
}

/* NaN and both zeros are their own sign. */
static LLVMValueRef float_sign(tsr_emit *e, LLVMValueRef x) {
  LLVMValueRef one = tsr_math_emit(&e->math, TSR_MATH_COPYSIGN, real(e, x, 1), x);
  LLVMValueRef nonzero = LLVMBuildFCmp(e->builder, LLVMRealONE, x, real(e, x, 0), "");
  return LLVMBuildSelect(e->builder, nonzero, one, x, "");
}

static LLVMValueRef float_unary(tsr_emit *e, tsr_opcode code, LLVMValueRef x) {
  switch (code) {
  case TSR_OP_NEG:
    return LLVMBuildFNeg(e->builder, x, "");
  case TSR_OP_SIGN:
    return float_sign(e, x);
  case TSR_OP_RECIP:
    return LLVMBuildFDiv(e->builder, real(e, x, 1), x, "");
  case TSR_OP_ISNAN:
    return LLVMBuildFCmp(e->builder, LLVMRealUNO, x, x, "");
  case TSR_OP_ISINF:
    return LLVMBuildFCmp(e->builder, LLVMRealOEQ, tsr_math_emit(&e->math, TSR_MATH_ABS, x, NULL),
                         real(e, x, INFINITY), "");
  default:
    return math_of(code) == TSR_MATH_COUNT ? NULL : tsr_math_emit(&e->math, math_of(code), x, NULL);
  }
}

static LLVMValueRef int_unary(tsr_emit *e, tsr_opcode code, LLVMValueRef x, bool negative) {
  LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(x));
  LLVMTypeRef bools = LLVMTypeOf(LLVMBuildICmp(e->builder, LLVMIntEQ, x, x, ""));
  switch (code) {
  case TSR_OP_NEG:
    return LLVMBuildNeg(e->builder, x, "");
  case TSR_OP_NOT:
    return LLVMBuildNot(e->builder, x, "");
  case TSR_OP_ABS: {
    LLVMValueRef below = LLVMBuildICmp(e->builder, LLVMIntSLT, x, zero, "");
    return negative ? LLVMBuildSelect(e->builder, below, LLVMBuildNeg(e->builder, x, ""), x, "")
                    : x;
  }
  case TSR_OP_SIGN: {
    LLVMValueRef nonzero = LLVMBuildICmp(e->builder, LLVMIntNE, x, zero, "");
    LLVMValueRef above = LLVMBuildZExt(e->builder, nonzero, LLVMTypeOf(x), "");
    LLVMValueRef below = LLVMBuildICmp(e->builder, LLVMIntSLT, x, zero, "");
    return negative ? LLVMBuildSelect(e->builder, below, LLVMConstAllOnes(LLVMTypeOf(x)), above, "")
                    : above;
  }
  case TSR_OP_FLOOR:
  case TSR_OP_CEIL:
  case TSR_OP_TRUNC:
  case TSR_OP_ROUND:
    return x;
  case TSR_OP_ISNAN:
  case TSR_OP_ISINF:
    return LLVMConstNull(bools);
  default:
    return NULL;
  }
}

/* fmod, then moved into the divisor's sign. */
static LLVMValueRef float_modulo(tsr_emit *e, LLVMValueRef a, LLVMValueRef b) {
  LLVMValueRef zero = real(e, a, 0);
  LLVMValueRef rest = tsr_math_emit(&e->math, TSR_MATH_FMOD, a, b);
  LLVMValueRef below = LLVMBuildFCmp(e->builder, LLVMRealOLT, rest, zero, "");
  LLVMValueRef divisor_below = LLVMBuildFCmp(e->builder, LLVMRealOLT, b, zero, "");
  LLVMValueRef nonzero = LLVMBuildFCmp(e->builder, LLVMRealUNE, rest, zero, "");
  LLVMValueRef differs = LLVMBuildXor(e->builder, below, divisor_below, "");
  LLVMValueRef moved = LLVMBuildFAdd(e->builder, rest, b, "");
  LLVMValueRef signed_zero = tsr_math_emit(&e->math, TSR_MATH_COPYSIGN, rest, b);
  rest = LLVMBuildSelect(e->builder, nonzero, rest, signed_zero, "");
  return LLVMBuildSelect(e->builder, LLVMBuildAnd(e->builder, nonzero, differs, ""), moved, rest,
                         "");
}

static LLVMValueRef float_binary(tsr_emit *e, tsr_opcode code, LLVMValueRef a, LLVMValueRef b) {
  switch (code) {
  case TSR_OP_ADD:
    return LLVMBuildFAdd(e->builder, a, b, "");
  case TSR_OP_SUB:
    return LLVMBuildFSub(e->builder, a, b, "");
  case TSR_OP_MUL:
    return LLVMBuildFMul(e->builder, a, b, "");
  case TSR_OP_DIV:
    return LLVMBuildFDiv(e->builder, a, b, "");
  case TSR_OP_MIN:
    return tsr_math_min(&e->math, a, b);
  case TSR_OP_MAX:
    return tsr_math_max(&e->math, a, b);
  case TSR_OP_MOD:
    return float_modulo(e, a, b);
  case TSR_OP_POW:
  case TSR_OP_REM:
    return tsr_math_emit(&e->math, math_of(code), a, b);
  default:
    return NULL;
  }
}

static LLVMValueRef int_extremum(tsr_emit *e, bool least, LLVMValueRef a, LLVMValueRef b,
                                 bool negative) {
  LLVMIntPredicate signed_order = least ? LLVMIntSLT : LLVMIntSGT;
  LLVMIntPredicate unsigned_order = least ? LLVMIntULT : LLVMIntUGT;
  LLVMValueRef first =
      LLVMBuildICmp(e->builder, negative ? signed_order : unsigned_order, a, b, "");
  return LLVMBuildSelect(e->builder, first, a, b, "");
}

static LLVMValueRef int_binary(tsr_emit *e, tsr_opcode code, LLVMValueRef a, LLVMValueRef b,
                               bool negative) {
  switch (code) {
  case TSR_OP_ADD:
    return LLVMBuildAdd(e->builder, a, b, "");
  case TSR_OP_SUB:
    return LLVMBuildSub(e->builder, a, b, "");
  case TSR_OP_MUL:
    return LLVMBuildMul(e->builder, a, b, "");
  case TSR_OP_DIV:
    return tsr_numeric_divide(&e->math, TSR_INT_DIV_TRUNC, a, b, negative);
  case TSR_OP_REM:
    return tsr_numeric_divide(&e->math, TSR_INT_REM_TRUNC, a, b, negative);
  case TSR_OP_MOD:
    return tsr_numeric_divide(&e->math, TSR_INT_REM_FLOOR, a, b, negative);
  case TSR_OP_POW:
    return tsr_numeric_ipow(&e->math, a, b, negative);
  case TSR_OP_MIN:
  case TSR_OP_MAX:
    return int_extremum(e, code == TSR_OP_MIN, a, b, negative);
  case TSR_OP_AND:
    return LLVMBuildAnd(e->builder, a, b, "");
  case TSR_OP_OR:
    return LLVMBuildOr(e->builder, a, b, "");
  case TSR_OP_XOR:
    return LLVMBuildXor(e->builder, a, b, "");
  case TSR_OP_SHL:
    return tsr_numeric_shift(&e->math, TSR_INT_SHL, a, b);
  case TSR_OP_SHR:
    return tsr_numeric_shift(&e->math, negative ? TSR_INT_ASHR : TSR_INT_LSHR, a, b);
  default:
    return NULL;
  }
}

/* On bool, add and max are "or", mul and min are "and". */
static LLVMValueRef bool_binary(tsr_emit *e, tsr_opcode code, LLVMValueRef a, LLVMValueRef b) {
  switch (code) {
  case TSR_OP_ADD:
  case TSR_OP_MAX:
  case TSR_OP_OR:
    return LLVMBuildOr(e->builder, a, b, "");
  case TSR_OP_MUL:
  case TSR_OP_MIN:
  case TSR_OP_AND:
    return LLVMBuildAnd(e->builder, a, b, "");
  case TSR_OP_XOR:
    return LLVMBuildXor(e->builder, a, b, "");
  default:
    return NULL;
  }
}

static LLVMValueRef compare(tsr_emit *e, tsr_opcode code, tsr_dtype dtype, LLVMValueRef a,
                            LLVMValueRef b) {
  static const struct {
    LLVMRealPredicate real;
    LLVMIntPredicate less, below;
  } predicates[6] = {
      {LLVMRealOEQ, LLVMIntEQ, LLVMIntEQ},   {LLVMRealUNE, LLVMIntNE, LLVMIntNE},
      {LLVMRealOLT, LLVMIntSLT, LLVMIntULT}, {LLVMRealOLE, LLVMIntSLE, LLVMIntULE},
      {LLVMRealOGT, LLVMIntSGT, LLVMIntUGT}, {LLVMRealOGE, LLVMIntSGE, LLVMIntUGE},
  };
  static const tsr_opcode order[6] = {TSR_OP_EQ, TSR_OP_NE, TSR_OP_LT,
                                      TSR_OP_LE, TSR_OP_GT, TSR_OP_GE};
  for (int i = 0; i < 6; ++i)
    if (order[i] == code) {
      if (is_float(dtype))
        return LLVMBuildFCmp(e->builder, predicates[i].real, a, b, "");
      return LLVMBuildICmp(e->builder, is_signed(dtype) ? predicates[i].less : predicates[i].below,
                           a, b, "");
    }
  return NULL;
}

static LLVMValueRef round_row(tsr_emit *e, tsr_dtype dtype, LLVMValueRef value) {
  if (!tsr_numeric_is_narrow(dtype))
    return value;
  return tsr_numeric_convert(&e->math, value, TSR_F32, dtype, TSR_OVERFLOW_SATURATE);
}

/* `dtype` is the type of a and b (of b and c for select). NULL: no such op on the type. */
static LLVMValueRef emit_row(tsr_emit *e, tsr_opcode code, tsr_dtype dtype, LLVMValueRef a,
                             LLVMValueRef b, LLVMValueRef c) {
  tsr_op_kind kind = tsr_opcode_info(code)->kind;
  LLVMValueRef value = NULL;
  if (kind == TSR_KIND_TERNARY)
    value = LLVMBuildSelect(e->builder, a, b, c, "");
  else if (kind == TSR_KIND_COMPARE)
    value = compare(e, code, dtype, a, b);
  else if (is_float(dtype))
    value = b ? float_binary(e, code, a, b) : float_unary(e, code, a);
  else if (dtype == TSR_BOOL)
    value = b                    ? bool_binary(e, code, a, b)
            : code == TSR_OP_NOT ? LLVMBuildNot(e->builder, a, "")
                                 : NULL;
  else
    value =
        b ? int_binary(e, code, a, b, is_signed(dtype)) : int_unary(e, code, a, is_signed(dtype));
  return value && is_float(dtype) && !tsr_codegen_is_exact(code) ? round_row(e, dtype, value)
                                                                 : value;
}

/* --- combiners of reductions and combining stores --- */

static const struct combiner {
  const char *text;
  tsr_opcode code;
  double identity; /* infinity: the greatest value of the type */
} combiners[] = {
    {"add", TSR_OP_ADD, -0.0},     {"mul", TSR_OP_MUL, 1}, {"max", TSR_OP_MAX, -INFINITY},
    {"min", TSR_OP_MIN, INFINITY}, {"and", TSR_OP_AND, 1}, {"or", TSR_OP_OR, 0},
};

static const struct combiner *find_combiner(const char *text) {
  for (size_t i = 0; i < sizeof combiners / sizeof *combiners; ++i)
    if (!strcmp(combiners[i].text, text))
      return &combiners[i];
  return NULL;
}

LLVMValueRef tsr_emit_combine(tsr_emit *e, const char *combine, tsr_dtype dtype, LLVMValueRef a,
                              LLVMValueRef b) {
  const struct combiner *found = find_combiner(combine);
  LLVMValueRef value = found ? emit_row(e, found->code, dtype, a, b, NULL) : NULL;
  if (value)
    return value;
  tsr_emit_fail(e, TSR_ERR_UNSUPPORTED, "cannot combine %s by '%s'", tsr_dtype_text(dtype),
                combine);
  return a;
}

LLVMValueRef tsr_emit_identity(tsr_emit *e, const char *combine, tsr_dtype dtype) {
  const struct combiner *found = find_combiner(combine);
  if (!found)
    return NULL;
  if (found->code == TSR_OP_AND && !is_float(dtype))
    return LLVMConstAllOnes(tsr_numeric_compute_type(&e->math, dtype, 0));
  return tsr_emit_number(e, dtype, found->identity);
}

/* --- tiles --- */

static const tsr_emit_tile *cast(tsr_emit *e, const tsr_emit_tile *tile, tsr_dtype to,
                                 tsr_overflow overflow) {
  if (tile->dtype == to)
    return tile;
  tsr_emit_tile *result = tsr_emit_tile_new(e, to, tile->extents, tile->rank);
  for (uint32_t i = 0; result && i < result->count; ++i)
    result->values[i] = tsr_numeric_convert(&e->math, tile->values[i], tile->dtype, to, overflow);
  return result;
}

const tsr_emit_tile *tsr_emit_convert(tsr_emit *e, const tsr_emit_tile *tile, tsr_dtype to) {
  return cast(e, tile, to, TSR_OVERFLOW_SATURATE);
}

static const tsr_emit_tile *bitcast(tsr_emit *e, const tsr_emit_tile *tile, tsr_dtype to) {
  if (tsr_dtype_bits(to) != tsr_dtype_bits(tile->dtype))
    return tsr_emit_fail(e, TSR_ERR_VERIFY, "bitcast between types of different width");
  tsr_emit_tile *result = tsr_emit_tile_new(e, to, tile->extents, tile->rank);
  for (uint32_t i = 0; result && i < result->count; ++i) {
    LLVMValueRef bits = tsr_numeric_narrow(&e->math, tile->dtype, tile->values[i]);
    uint32_t lanes = tsr_emit_point_of(tile->extents, tile->rank, i).lanes;
    LLVMTypeRef type = tsr_emit_vector(tsr_numeric_storage_type(&e->math, to, 0), lanes);
    bits = LLVMBuildBitCast(e->builder, bits, type, "");
    result->values[i] = tsr_numeric_widen(&e->math, to, bits);
  }
  return result;
}

/* A column of scalars as one vector: functions of many instructions are then made once. */
static const tsr_emit_tile *pack_column(tsr_emit *e, const tsr_emit_tile *tile) {
  uint32_t extents[1] = {tile->rows};
  tsr_emit_tile *packed = tsr_emit_tile_new(e, tile->dtype, extents, 1);
  if (!packed)
    return NULL;
  tsr_emit_tile_clear(e, packed);
  for (uint32_t row = 0; row < tile->rows; ++row)
    tsr_emit_set_element(e, packed, 0, row, tile->values[row]);
  return packed;
}

static const tsr_emit_tile *unpack_column(tsr_emit *e, const tsr_emit_tile *packed,
                                          const tsr_emit_tile *shape) {
  tsr_emit_tile *result = tsr_emit_tile_new(e, packed->dtype, shape->extents, shape->rank);
  for (uint32_t row = 0; result && row < result->rows; ++row)
    result->values[row] = tsr_emit_element(e, packed, 0, row);
  return result;
}

static const tsr_emit_tile *unary(tsr_emit *e, const tsr_emit_tile *x, tsr_dtype to) {
  tsr_opcode code = e->op->code;
  if (x->lanes == 1 && x->rows >= 4 && is_float(x->dtype) && math_of(code) != TSR_MATH_COUNT) {
    const tsr_emit_tile *packed = pack_column(e, x);
    const tsr_emit_tile *done = packed ? unary(e, packed, to) : NULL;
    return done ? unpack_column(e, done, x) : NULL;
  }
  tsr_emit_tile *result = tsr_emit_tile_new(e, to, x->extents, x->rank);
  for (uint32_t i = 0; result && i < result->count; ++i) {
    result->values[i] = emit_row(e, code, x->dtype, x->values[i], NULL, NULL);
    if (!result->values[i])
      return tsr_emit_fail(e, TSR_ERR_UNSUPPORTED, "not defined on %s", tsr_dtype_text(x->dtype));
  }
  return result;
}

static const tsr_emit_tile *binary(tsr_emit *e, const tsr_emit_tile *a, const tsr_emit_tile *b,
                                   tsr_dtype to) {
  uint32_t extents[TSR_MAX_RANK] = {0}, rank = 0;
  if (a->dtype != b->dtype)
    return tsr_emit_fail(e, TSR_ERR_VERIFY, "operands of %s and %s", tsr_dtype_text(a->dtype),
                         tsr_dtype_text(b->dtype));
  if (!tsr_emit_broadcast(e, a, b, extents, &rank))
    return NULL;
  tsr_emit_tile *result = tsr_emit_tile_new(e, to, extents, rank);
  for (uint32_t i = 0; result && i < result->count; ++i) {
    LLVMValueRef x = tsr_emit_part(e, a, extents, rank, i, true);
    LLVMValueRef y = tsr_emit_part(e, b, extents, rank, i, true);
    result->values[i] = emit_row(e, e->op->code, a->dtype, x, y, NULL);
    if (!result->values[i])
      return tsr_emit_fail(e, TSR_ERR_UNSUPPORTED, "not defined on %s", tsr_dtype_text(a->dtype));
  }
  return result;
}

static const tsr_emit_tile *choose(tsr_emit *e, const tsr_emit_tile *condition,
                                   const tsr_emit_tile *a, const tsr_emit_tile *b) {
  uint32_t extents[TSR_MAX_RANK] = {0}, rank = 0;
  tsr_emit_tile both = {0};
  if (condition->dtype != TSR_BOOL || a->dtype != b->dtype)
    return tsr_emit_fail(e, TSR_ERR_VERIFY, "needs bool and two operands of one type");
  if (!tsr_emit_broadcast(e, a, b, both.extents, &both.rank) ||
      !tsr_emit_broadcast(e, condition, &both, extents, &rank))
    return NULL;
  tsr_emit_tile *result = tsr_emit_tile_new(e, a->dtype, extents, rank);
  for (uint32_t i = 0; result && i < result->count; ++i) {
    LLVMValueRef c = tsr_emit_part(e, condition, extents, rank, i, false);
    LLVMValueRef x = tsr_emit_part(e, a, extents, rank, i, true);
    LLVMValueRef y = tsr_emit_part(e, b, extents, rank, i, true);
    result->values[i] = emit_row(e, TSR_OP_SELECT, a->dtype, c, x, y);
  }
  return result;
}

const tsr_emit_tile *tsr_emit_elementwise(tsr_emit *e) {
  const tsr_emit_tile *operands[3] = {NULL};
  const tsr_type_info *type = tsr_value_type(e->ir, e->op->results[0]);
  tsr_op_kind kind = tsr_opcode_info(e->op->code)->kind;
  for (uint32_t i = 0; i < e->op->operand_count && i < 3; ++i) {
    operands[i] = tsr_emit_operand(e, i);
    if (!operands[i])
      return NULL;
  }
  if (e->op->code == TSR_OP_CAST)
    return cast(e, operands[0], type->dtype,
                tsr_op_bool(e->ir, e->op_id, "saturate", true) ? TSR_OVERFLOW_SATURATE
                                                               : TSR_OVERFLOW_SPECIAL);
  if (e->op->code == TSR_OP_BITCAST)
    return bitcast(e, operands[0], type->dtype);
  bool to_bool =
      kind == TSR_KIND_COMPARE || e->op->code == TSR_OP_ISNAN || e->op->code == TSR_OP_ISINF;
  tsr_dtype to = to_bool ? TSR_BOOL : operands[0]->dtype;
  if (kind == TSR_KIND_TERNARY)
    return choose(e, operands[0], operands[1], operands[2]);
  return operands[1] ? binary(e, operands[0], operands[1], to) : unary(e, operands[0], to);
}
