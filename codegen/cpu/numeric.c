#include "codegen/cpu/numeric.h"
#include "codegen/cpu/math_build.h"
#include "codegen/cpu/numeric_float.h"
#include <assert.h>

static bool is_float(tsr_dtype dtype) {
  return tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT;
}

bool tsr_numeric_is_narrow(tsr_dtype dtype) {
  return is_float(dtype) && tsr_dtype_bits(dtype) < 32;
}

static bool is_float8(tsr_dtype dtype) {
  return is_float(dtype) && tsr_dtype_bits(dtype) == 8;
}

bool tsr_numeric_supports(tsr_dtype dtype) {
  switch (tsr_dtype_class_of(dtype)) {
  case TSR_CLASS_BOOL:
    return true;
  case TSR_CLASS_INT:
  case TSR_CLASS_UINT:
  case TSR_CLASS_FLOAT:
    return tsr_dtype_bits(dtype) >= 8;
  case TSR_CLASS_NONE:
    break;
  }
  return false;
}

static LLVMTypeRef int_type(const tsr_math *math, unsigned bits, unsigned lanes) {
  return mb_shape(LLVMIntTypeInContext(math->context, bits), lanes);
}

static LLVMTypeRef float_type(const tsr_math *math, bool is_f64, unsigned lanes) {
  return mb_shape(is_f64 ? LLVMDoubleTypeInContext(math->context)
                         : LLVMFloatTypeInContext(math->context),
                  lanes);
}

LLVMTypeRef tsr_numeric_storage_type(const tsr_math *math, tsr_dtype dtype, unsigned lanes) {
  assert(tsr_numeric_supports(dtype));
  if (dtype == TSR_F32 || dtype == TSR_F64)
    return float_type(math, dtype == TSR_F64, lanes);
  return int_type(math, tsr_dtype_bits(dtype), lanes);
}

LLVMTypeRef tsr_numeric_compute_type(const tsr_math *math, tsr_dtype dtype, unsigned lanes) {
  assert(tsr_numeric_supports(dtype));
  if (is_float(dtype))
    return float_type(math, dtype == TSR_F64, lanes);
  return int_type(math, dtype == TSR_BOOL ? 1 : tsr_dtype_bits(dtype), lanes);
}

static unsigned width_of(LLVMValueRef value) {
  return LLVMGetIntTypeWidth(mb_element_of(LLVMTypeOf(value)));
}

static LLVMTypeRef like(const tsr_math *math, LLVMValueRef value, unsigned bits) {
  return int_type(math, bits, mb_lanes_of(LLVMTypeOf(value)));
}

LLVMValueRef tsr_numeric_widen(const tsr_math *math, tsr_dtype dtype, LLVMValueRef storage) {
  switch (dtype) {
  case TSR_BOOL:
    return LLVMBuildICmp(math->builder, LLVMIntNE, storage, LLVMConstNull(LLVMTypeOf(storage)), "");
  case TSR_F16:
    return tsr_numeric_f16_to_f32(math, storage);
  case TSR_BF16:
    return tsr_numeric_bf16_to_f32(math, storage);
  default:
    return is_float8(dtype) ? tsr_numeric_f8_to_f32(math, dtype, storage) : storage;
  }
}

LLVMValueRef tsr_numeric_narrow(const tsr_math *math, tsr_dtype dtype, LLVMValueRef compute) {
  switch (dtype) {
  case TSR_BOOL:
    return LLVMBuildZExt(math->builder, compute, like(math, compute, 8), "");
  case TSR_F16:
    return tsr_numeric_f32_to_f16(math, compute);
  case TSR_BF16:
    return tsr_numeric_f32_to_bf16(math, compute);
  default:
    return is_float8(dtype) ? tsr_numeric_f32_to_f8(math, dtype, compute) : compute;
  }
}

static bool is_signed(tsr_dtype dtype) {
  return tsr_dtype_class_of(dtype) == TSR_CLASS_INT;
}

/* Both bounds are floats of either width, so clamping first keeps the conversion in its range; NaN
 * is below every bound. */
static LLVMValueRef float_to_narrow_int(const tsr_math *math, LLVMValueRef value, tsr_dtype to) {
  mb b = mb_begin(math, LLVMTypeOf(value));
  unsigned bits = tsr_dtype_bits(to);
  double least = is_signed(to) ? -(double)(1u << (bits - 1)) : 0;
  double most = is_signed(to) ? -least - 1 : (double)((1u << bits) - 1);
  LLVMValueRef low = mb_real(&b, least), high = mb_real(&b, most);
  LLVMValueRef clamped = mb_select(&b, mb_gt(&b, value, low), value, low);
  clamped = mb_select(&b, mb_lt(&b, clamped, high), clamped, high);
  LLVMValueRef wide = LLVMBuildFPToSI(b.at, clamped, like(math, value, 32), "");
  LLVMValueRef whole = LLVMBuildTrunc(b.at, wide, like(math, value, bits), "");
  return is_signed(to)
             ? mb_select(&b, mb_is_nan(&b, value), LLVMConstNull(LLVMTypeOf(whole)), whole)
             : whole;
}

/* What does not fit is chosen after the conversion: the greatest values are no floats of the same
 * width. LLVM's result there is undefined, and not looked at. */
static LLVMValueRef float_to_wide_int(const tsr_math *math, LLVMValueRef value, tsr_dtype to) {
  mb b = mb_begin(math, LLVMTypeOf(value));
  unsigned bits = tsr_dtype_bits(to);
  LLVMTypeRef type = like(math, value, bits);
  uint64_t all = UINT64_MAX >> (64 - bits);
  double end = is_signed(to) ? (bits == 32 ? 0x1p31 : 0x1p63) : (bits == 32 ? 0x1p32 : 0x1p64);
  LLVMTypeRef element = mb_element_of(type);
  LLVMValueRef none = LLVMConstNull(type), least = none;
  LLVMValueRef most =
      mb_splat(LLVMConstInt(element, is_signed(to) ? all >> 1 : all, false), b.lanes);
  if (is_signed(to))
    least = mb_splat(LLVMConstInt(element, (all >> 1) + 1, false), b.lanes);
  LLVMValueRef whole = is_signed(to) ? LLVMBuildFPToSI(b.at, value, type, "")
                                     : LLVMBuildFPToUI(b.at, value, type, "");
  LLVMValueRef above = mb_le(&b, mb_real(&b, end), value);
  LLVMValueRef below = mb_lt(&b, value, mb_real(&b, is_signed(to) ? -end : 0));
  whole = mb_select(&b, above, most, mb_select(&b, below, least, whole));
  return mb_select(&b, mb_is_nan(&b, value), none, whole);
}

static LLVMValueRef float_to_int(const tsr_math *math, LLVMValueRef value, tsr_dtype to) {
  if (to == TSR_BOOL)
    return LLVMBuildFCmp(math->builder, LLVMRealUNE, value, LLVMConstNull(LLVMTypeOf(value)), "");
  return tsr_dtype_bits(to) < 32 ? float_to_narrow_int(math, value, to)
                                 : float_to_wide_int(math, value, to);
}

static LLVMValueRef int_to_int(const tsr_math *math, LLVMValueRef value, tsr_dtype from,
                               tsr_dtype to) {
  unsigned from_bits = width_of(value), bits = tsr_dtype_bits(to);
  LLVMTypeRef type = like(math, value, bits);
  if (to == TSR_BOOL)
    return from == TSR_BOOL ? value
                            : LLVMBuildICmp(math->builder, LLVMIntNE, value,
                                            LLVMConstNull(LLVMTypeOf(value)), "");
  if (from_bits == bits)
    return value;
  if (from_bits > bits)
    return LLVMBuildTrunc(math->builder, value, type, "");
  return is_signed(from) ? LLVMBuildSExt(math->builder, value, type, "")
                         : LLVMBuildZExt(math->builder, value, type, "");
}

/* From 2^53 up in magnitude the low 11 bits become one sticky bit above them, so that the double is
 * exact and a later rounding to a narrower type sees what was cut off. */
static LLVMValueRef with_sticky_bit(const tsr_math *math, LLVMValueRef value, bool sign) {
  LLVMBuilderRef at = math->builder;
  LLVMTypeRef type = LLVMTypeOf(value);
  unsigned lanes = mb_lanes_of(type);
  LLVMTypeRef i64 = LLVMInt64TypeInContext(math->context);
  LLVMValueRef mask = mb_splat(LLVMConstInt(i64, 0x7ff, false), lanes);
  LLVMValueRef limit = mb_splat(LLVMConstInt(i64, UINT64_C(1) << 53, false), lanes);
  LLVMValueRef low = LLVMBuildAnd(at, value, mask, "");
  LLVMValueRef any = LLVMBuildICmp(at, LLVMIntNE, low, LLVMConstNull(type), "");
  LLVMValueRef kept = LLVMBuildAnd(at, value, LLVMBuildNot(at, mask, ""), "");
  LLVMValueRef bit = mb_splat(LLVMConstInt(i64, 0x800, false), lanes);
  LLVMValueRef sticky =
      LLVMBuildOr(at, kept, LLVMBuildSelect(at, any, bit, LLVMConstNull(type), ""), "");
  LLVMValueRef negative = LLVMBuildICmp(at, LLVMIntSLT, value, LLVMConstNull(type), "");
  LLVMValueRef magnitude =
      sign ? LLVMBuildSelect(at, negative, LLVMBuildNeg(at, value, ""), value, "") : value;
  LLVMValueRef small = LLVMBuildICmp(at, LLVMIntULT, magnitude, limit, "");
  return LLVMBuildSelect(at, small, value, sticky, "");
}

/* The float that rounds to the narrow type as the integer does. */
static LLVMValueRef int_to_narrow(const tsr_math *math, LLVMValueRef value, tsr_dtype from) {
  unsigned lanes = mb_lanes_of(LLVMTypeOf(value)), bits = width_of(value);
  LLVMTypeRef f32 = float_type(math, false, lanes), f64 = float_type(math, true, lanes);
  bool sign = is_signed(from);
  if (bits < 32)
    return sign ? LLVMBuildSIToFP(math->builder, value, f32, "")
                : LLVMBuildUIToFP(math->builder, value, f32, "");
  if (bits == 64)
    value = with_sticky_bit(math, value, sign);
  LLVMValueRef wide = sign ? LLVMBuildSIToFP(math->builder, value, f64, "")
                           : LLVMBuildUIToFP(math->builder, value, f64, "");
  return tsr_numeric_f64_to_f32_odd(math, wide);
}

static LLVMValueRef int_to_float(const tsr_math *math, LLVMValueRef value, tsr_dtype from,
                                 tsr_dtype to) {
  LLVMTypeRef type = float_type(math, to == TSR_F64, mb_lanes_of(LLVMTypeOf(value)));
  if (tsr_numeric_is_narrow(to) && from != TSR_BOOL)
    return int_to_narrow(math, value, from);
  return is_signed(from) ? LLVMBuildSIToFP(math->builder, value, type, "")
                         : LLVMBuildUIToFP(math->builder, value, type, "");
}

/* For the narrow types a float that has yet to be rounded to them. */
static LLVMValueRef convert_unbounded(const tsr_math *math, LLVMValueRef value, tsr_dtype from,
                                      tsr_dtype to) {
  LLVMTypeRef type = LLVMTypeOf(value);
  if (!is_float(from))
    return is_float(to) ? int_to_float(math, value, from, to) : int_to_int(math, value, from, to);
  if (!is_float(to))
    return float_to_int(math, value, to);
  if (from == TSR_F64 && tsr_numeric_is_narrow(to))
    return tsr_numeric_f64_to_f32_odd(math, value);
  if (from == TSR_F64 && to == TSR_F32)
    return LLVMBuildFPTrunc(math->builder, value, float_type(math, false, mb_lanes_of(type)), "");
  if (from != TSR_F64 && to == TSR_F64)
    return LLVMBuildFPExt(math->builder, value, float_type(math, true, mb_lanes_of(type)), "");
  return value;
}

/* Float8 saturates before it is rounded: the largest value is one that rounding keeps. */
static LLVMValueRef convert_unrounded(const tsr_math *math, LLVMValueRef value, tsr_dtype from,
                                      tsr_dtype to, tsr_overflow overflow) {
  LLVMValueRef result = convert_unbounded(math, value, from, to);
  if (from != to && is_float8(to) && overflow == TSR_OVERFLOW_SATURATE)
    return tsr_numeric_saturate_f8(math, to, result);
  return result;
}

LLVMValueRef tsr_numeric_convert_storage(const tsr_math *math, LLVMValueRef value, tsr_dtype from,
                                         tsr_dtype to, tsr_overflow overflow) {
  assert(tsr_numeric_supports(from) && tsr_numeric_supports(to));
  return tsr_numeric_narrow(math, to, convert_unrounded(math, value, from, to, overflow));
}

LLVMValueRef tsr_numeric_convert(const tsr_math *math, LLVMValueRef value, tsr_dtype from,
                                 tsr_dtype to, tsr_overflow overflow) {
  assert(tsr_numeric_supports(from) && tsr_numeric_supports(to));
  LLVMValueRef result = convert_unrounded(math, value, from, to, overflow);
  if (!tsr_numeric_is_narrow(to) || from == to)
    return result;
  return tsr_numeric_widen(math, to, tsr_numeric_narrow(math, to, result));
}
