#include "codegen/cpu/math_build.h"
#include "codegen/cpu/numeric.h"
#include <assert.h>
#include <stdio.h>

/* The integers at hand. */
typedef struct shape {
  const tsr_math *math;
  LLVMBuilderRef at;
  LLVMTypeRef type;
  unsigned lanes, bits;
  bool is_signed;
} shape;

static shape shape_of(const tsr_math *math, LLVMValueRef value, bool is_signed) {
  LLVMTypeRef type = LLVMTypeOf(value);
  shape s = {math, math->builder, type, mb_lanes_of(type), 0, is_signed};
  s.bits = LLVMGetIntTypeWidth(mb_element_of(type));
  return s;
}

static LLVMValueRef constant(const shape *s, int64_t value) {
  return mb_splat(LLVMConstInt(mb_element_of(s->type), (uint64_t)value, true), s->lanes);
}

static LLVMValueRef equals(const shape *s, LLVMValueRef value, int64_t wanted) {
  return LLVMBuildICmp(s->at, LLVMIntEQ, value, constant(s, wanted), "");
}

static LLVMValueRef choose(const shape *s, LLVMValueRef mask, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildSelect(s->at, mask, a, b, "");
}

/* A rounded quotient of numbers of at most 32 bits cannot reach the next integer in f64 (nor one of
 * 16 bits in f32), so truncating it is exact; there is no vector instruction for integers. The one
 * quotient out of range, least / -1, wraps: the narrow types' when it is cut off. */
static LLVMValueRef divide_as_float(const shape *s, LLVMValueRef a, LLVMValueRef divisor) {
  bool wide = s->bits == 32;
  tsr_dtype real = wide ? TSR_F64 : TSR_F32;
  LLVMTypeRef type = tsr_numeric_compute_type(s->math, real, s->lanes);
  LLVMTypeRef result = mb_shape(LLVMInt32TypeInContext(s->math->context), s->lanes);
  LLVMValueRef quotient;
  if (s->is_signed) {
    quotient = LLVMBuildFDiv(s->at, LLVMBuildSIToFP(s->at, a, type, ""),
                             LLVMBuildSIToFP(s->at, divisor, type, ""), "");
    mb b = mb_begin(s->math, type);
    LLVMValueRef fits = mb_lt(&b, quotient, mb_real(&b, 0x1p31));
    quotient =
        LLVMBuildFPToSI(s->at, mb_select(&b, fits, quotient, mb_real(&b, -0x1p31)), result, "");
  } else {
    quotient = LLVMBuildFDiv(s->at, LLVMBuildUIToFP(s->at, a, type, ""),
                             LLVMBuildUIToFP(s->at, divisor, type, ""), "");
    quotient = LLVMBuildFPToUI(s->at, quotient, result, "");
  }
  return wide ? quotient : LLVMBuildTrunc(s->at, quotient, s->type, "");
}

static LLVMValueRef divide_as_integer(const shape *s, LLVMValueRef a, LLVMValueRef divisor) {
  if (!s->is_signed)
    return LLVMBuildUDiv(s->at, a, divisor, "");
  LLVMValueRef inverts = equals(s, divisor, -1);
  LLVMValueRef safe = choose(s, inverts, constant(s, 1), divisor);
  return choose(s, inverts, LLVMBuildNeg(s->at, a, ""), LLVMBuildSDiv(s->at, a, safe, ""));
}

LLVMValueRef tsr_numeric_divide(const tsr_math *math, tsr_int_division kind, LLVMValueRef a,
                                LLVMValueRef b, bool is_signed) {
  shape s = shape_of(math, a, is_signed);
  LLVMValueRef none = equals(&s, b, 0), zero = constant(&s, 0);
  LLVMValueRef divisor = choose(&s, none, constant(&s, 1), b);
  LLVMValueRef q =
      s.lanes && s.bits <= 32 ? divide_as_float(&s, a, divisor) : divide_as_integer(&s, a, divisor);
  if (kind == TSR_INT_DIV_TRUNC || (kind == TSR_INT_DIV_FLOOR && !is_signed))
    return choose(&s, none, zero, q);
  LLVMValueRef r = LLVMBuildSub(s.at, a, LLVMBuildMul(s.at, q, divisor, ""), "");
  if (is_signed && kind != TSR_INT_REM_TRUNC) {
    LLVMValueRef signs = LLVMBuildXor(s.at, r, divisor, "");
    LLVMValueRef differ = LLVMBuildICmp(s.at, LLVMIntSLT, signs, zero, "");
    LLVMValueRef inexact = LLVMBuildNot(s.at, equals(&s, r, 0), "");
    LLVMValueRef below = LLVMBuildAnd(s.at, differ, inexact, "");
    r = choose(&s, below, LLVMBuildAdd(s.at, r, divisor, ""), r);
    q = choose(&s, below, LLVMBuildSub(s.at, q, constant(&s, 1), ""), q);
  }
  return choose(&s, none, zero, kind == TSR_INT_DIV_FLOOR ? q : r);
}

LLVMValueRef tsr_numeric_shift(const tsr_math *math, tsr_int_shift kind, LLVMValueRef value,
                               LLVMValueRef count) {
  shape s = shape_of(math, value, kind == TSR_INT_ASHR);
  LLVMValueRef last = constant(&s, (int64_t)s.bits - 1);
  LLVMValueRef within = LLVMBuildICmp(s.at, LLVMIntULE, count, last, "");
  LLVMValueRef safe = choose(&s, within, count, last);
  if (kind == TSR_INT_ASHR)
    return LLVMBuildAShr(s.at, value, safe, "");
  LLVMValueRef shifted = kind == TSR_INT_SHL ? LLVMBuildShl(s.at, value, safe, "")
                                             : LLVMBuildLShr(s.at, value, safe, "");
  return choose(&s, within, shifted, constant(&s, 0));
}

static LLVMValueRef any_set(const shape *s, LLVMValueRef value) {
  LLVMValueRef set = LLVMBuildICmp(s->at, LLVMIntNE, value, constant(s, 0), "");
  if (s->lanes == 0)
    return set;
  LLVMTypeRef flat = LLVMIntTypeInContext(s->math->context, s->lanes);
  LLVMValueRef bits = LLVMBuildBitCast(s->at, set, flat, "");
  return LLVMBuildICmp(s->at, LLVMIntNE, bits, LLVMConstNull(flat), "");
}

/* Square and multiply until every lane's exponent is used up. */
static LLVMValueRef power_loop(const shape *s, LLVMValueRef function, LLVMValueRef base,
                               LLVMValueRef exponent) {
  LLVMContextRef context = s->math->context;
  LLVMBasicBlockRef entry = LLVMGetInsertBlock(s->at);
  LLVMBasicBlockRef loop = LLVMAppendBasicBlockInContext(context, function, "loop");
  LLVMBasicBlockRef end = LLVMAppendBasicBlockInContext(context, function, "end");
  LLVMBuildBr(s->at, loop);
  LLVMPositionBuilderAtEnd(s->at, loop);
  LLVMValueRef first[] = {constant(s, 1), base, exponent}, phi[3], next[3];
  for (unsigned i = 0; i < 3; i++)
    phi[i] = LLVMBuildPhi(s->at, s->type, "");
  LLVMValueRef low = LLVMBuildAnd(s->at, phi[2], constant(s, 1), "");
  next[0] = choose(s, equals(s, low, 1), LLVMBuildMul(s->at, phi[0], phi[1], ""), phi[0]);
  next[1] = LLVMBuildMul(s->at, phi[1], phi[1], "");
  next[2] = LLVMBuildLShr(s->at, phi[2], constant(s, 1), "");
  for (unsigned i = 0; i < 3; i++)
    LLVMAddIncoming(phi[i], (LLVMValueRef[]){first[i], next[i]}, (LLVMBasicBlockRef[]){entry, loop},
                    2);
  LLVMBuildCondBr(s->at, any_set(s, next[2]), loop, end);
  LLVMPositionBuilderAtEnd(s->at, end);
  return next[0];
}

static void fill_ipow(const tsr_math *inner, LLVMValueRef function, bool is_signed) {
  LLVMValueRef base = LLVMGetParam(function, 0), exponent = LLVMGetParam(function, 1);
  shape s = shape_of(inner, base, is_signed);
  LLVMValueRef zero = constant(&s, 0), one = constant(&s, 1), count = exponent;
  LLVMValueRef negative = LLVMBuildICmp(s.at, LLVMIntSLT, exponent, zero, "");
  if (is_signed)
    count = choose(&s, negative, zero, exponent);
  LLVMValueRef power = power_loop(&s, function, base, count);
  if (is_signed) {
    LLVMValueRef odd = equals(&s, LLVMBuildAnd(s.at, exponent, one, ""), 1);
    LLVMValueRef of_minus_one = choose(&s, odd, constant(&s, -1), one);
    LLVMValueRef inverse = choose(&s, equals(&s, base, -1), of_minus_one, zero);
    inverse = choose(&s, equals(&s, base, 1), one, inverse);
    power = choose(&s, negative, inverse, power);
  }
  LLVMBuildRet(s.at, power);
}

LLVMValueRef tsr_numeric_ipow(const tsr_math *math, LLVMValueRef base, LLVMValueRef exponent,
                              bool is_signed) {
  shape s = shape_of(math, base, is_signed);
  char name[64];
  snprintf(name, sizeof name, "tsr.math.ipow.%c%ux%u", is_signed ? 'i' : 'u', s.bits, s.lanes);
  LLVMTypeRef type = LLVMFunctionType(s.type, (LLVMTypeRef[]){s.type, s.type}, 2, false);
  tsr_math inner = *math;
  LLVMValueRef function = mb_helper(math, name, type, &inner.builder);
  if (inner.builder) {
    fill_ipow(&inner, function, is_signed);
    LLVMDisposeBuilder(inner.builder);
  }
  return LLVMBuildCall2(s.at, type, function, (LLVMValueRef[]){base, exponent}, 2, "");
}
