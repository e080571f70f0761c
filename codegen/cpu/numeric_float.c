#include "codegen/cpu/numeric_float.h"
#include "codegen/cpu/math_build.h"
#include "runtime/float_convert.h"
#include <math.h>

static mb begin_f32(const tsr_math *math, unsigned lanes) {
  return mb_begin(math, mb_shape(LLVMFloatTypeInContext(math->context), lanes));
}

static LLVMTypeRef i16_type(const mb *b) {
  return mb_shape(LLVMInt16TypeInContext(b->math->context), b->lanes);
}

static LLVMValueRef left(const mb *b, LLVMValueRef x, unsigned count) {
  return LLVMBuildShl(b->at, x, mb_int(b, count), "");
}

static LLVMValueRef right(const mb *b, LLVMValueRef x, unsigned count) {
  return LLVMBuildLShr(b->at, x, mb_int(b, count), "");
}

static LLVMValueRef mask(const mb *b, LLVMValueRef x, uint64_t bits) {
  return LLVMBuildAnd(b->at, x, mb_int(b, bits), "");
}

/* Shifted into place, exponent and fraction read as a float are 2^-112 of the value, subnormals
 * too, so one exact multiplication does all but infinity and NaN. */
static LLVMValueRef f16_to_f32_by_bits(const mb *b, LLVMValueRef bits) {
  LLVMValueRef wide = LLVMBuildZExt(b->at, bits, b->integer, "");
  LLVMValueRef magnitude = left(b, mask(b, wide, 0x7fff), 13);
  LLVMValueRef value = mb_scale_by(b, mb_from_bits(b, magnitude), 0x1p112);
  LLVMValueRef special = LLVMBuildICmp(b->at, LLVMIntUGE, magnitude, mb_int(b, 0x0f800000), "");
  LLVMValueRef full = LLVMBuildOr(b->at, magnitude, mb_int(b, 0x7f800000), "");
  LLVMValueRef result = mb_select(b, special, full, mb_to_bits(b, value));
  LLVMValueRef sign = left(b, mask(b, wide, 0x8000), 16);
  return mb_from_bits(b, LLVMBuildOr(b->at, result, sign, ""));
}

LLVMValueRef tsr_numeric_f16_to_f32(const tsr_math *math, LLVMValueRef bits) {
  mb b = begin_f32(math, mb_lanes_of(LLVMTypeOf(bits)));
  if (!math->target->isa.has_f16_convert)
    return f16_to_f32_by_bits(&b, bits);
  LLVMTypeRef half = mb_shape(LLVMHalfTypeInContext(math->context), b.lanes);
  return LLVMBuildFPExt(b.at, LLVMBuildBitCast(b.at, bits, half, ""), b.real, "");
}

/* Normal results: adding half a unit less the parity of the kept part to the bits rounds to even
 * and carries into the exponent. Below 2^-14 the float adder rounds: 0.5 has the unit of the least
 * f16 subnormal in its last place. */
static LLVMValueRef f32_to_f16_by_bits(const mb *b, LLVMValueRef value) {
  LLVMValueRef bits = mb_to_bits(b, value);
  LLVMValueRef magnitude = mask(b, bits, 0x7fffffff);
  LLVMValueRef odd = mask(b, right(b, bits, 13), 1);
  LLVMValueRef normal = LLVMBuildAdd(b->at, magnitude, mb_int(b, 0xc8000fffu), "");
  normal = right(b, LLVMBuildAdd(b->at, normal, odd, ""), 13);
  LLVMValueRef sum = mb_add(b, mb_from_bits(b, magnitude), mb_real(b, 0.5));
  LLVMValueRef tiny = LLVMBuildSub(b->at, mb_to_bits(b, sum), mb_int(b, 0x3f000000), "");
  LLVMValueRef is_tiny = LLVMBuildICmp(b->at, LLVMIntULT, magnitude, mb_int(b, 0x38800000), "");
  LLVMValueRef over = LLVMBuildICmp(b->at, LLVMIntUGE, magnitude, mb_int(b, 0x477ff000), "");
  LLVMValueRef nan = LLVMBuildICmp(b->at, LLVMIntUGT, magnitude, mb_int(b, 0x7f800000), "");
  LLVMValueRef payload =
      LLVMBuildOr(b->at, mask(b, right(b, magnitude, 13), 0x3ff), mb_int(b, 0x7e00), "");
  LLVMValueRef result = mb_select(b, is_tiny, tiny, normal);
  result = mb_select(b, over, mb_int(b, 0x7c00), result);
  result = mb_select(b, nan, payload, result);
  result = LLVMBuildOr(b->at, result, mask(b, right(b, bits, 16), 0x8000), "");
  return LLVMBuildTrunc(b->at, result, i16_type(b), "");
}

LLVMValueRef tsr_numeric_f32_to_f16(const tsr_math *math, LLVMValueRef value) {
  mb b = begin_f32(math, mb_lanes_of(LLVMTypeOf(value)));
  if (!math->target->isa.has_f16_convert)
    return f32_to_f16_by_bits(&b, value);
  LLVMTypeRef half = mb_shape(LLVMHalfTypeInContext(math->context), b.lanes);
  return LLVMBuildBitCast(b.at, LLVMBuildFPTrunc(b.at, value, half, ""), i16_type(&b), "");
}

LLVMValueRef tsr_numeric_bf16_to_f32(const tsr_math *math, LLVMValueRef bits) {
  mb b = begin_f32(math, mb_lanes_of(LLVMTypeOf(bits)));
  return mb_from_bits(&b, left(&b, LLVMBuildZExt(b.at, bits, b.integer, ""), 16));
}

/* By bits on every machine: AVX-512's own conversion flushes subnormals. */
LLVMValueRef tsr_numeric_f32_to_bf16(const tsr_math *math, LLVMValueRef value) {
  mb b = begin_f32(math, mb_lanes_of(LLVMTypeOf(value)));
  LLVMValueRef bits = mb_to_bits(&b, value);
  LLVMValueRef high = right(&b, bits, 16);
  LLVMValueRef bias = LLVMBuildAdd(b.at, mask(&b, high, 1), mb_int(&b, 0x7fff), "");
  LLVMValueRef rounded = right(&b, LLVMBuildAdd(b.at, bits, bias, ""), 16);
  LLVMValueRef quiet = LLVMBuildOr(b.at, high, mb_int(&b, 0x40), "");
  rounded = mb_select(&b, mb_is_nan(&b, value), quiet, rounded);
  return LLVMBuildTrunc(b.at, rounded, i16_type(&b), "");
}

static LLVMValueRef compare_bits(const mb *b, LLVMIntPredicate order, LLVMValueRef x,
                                 uint64_t bits) {
  return LLVMBuildICmp(b->at, order, x, mb_int(b, bits), "");
}

/* The code is the exponent alone, of 2^-127 (a subnormal float) to 2^127. */
static LLVMValueRef e8m0_to_f32(const mb *b, LLVMValueRef code) {
  LLVMValueRef is_nan = compare_bits(b, LLVMIntEQ, code, 0xff);
  LLVMValueRef is_least = compare_bits(b, LLVMIntEQ, code, 0);
  LLVMValueRef bits = mb_select(b, is_least, mb_int(b, 0x00400000), left(b, code, 23));
  return mb_from_bits(b, mb_select(b, is_nan, mb_int(b, 0x7fc00000), bits));
}

/* As for f16: exponent and fraction shifted into place are a power of two below the value, which
 * one exact multiplication undoes, subnormals too. */
LLVMValueRef tsr_numeric_f8_to_f32(const tsr_math *math, tsr_dtype dtype, LLVMValueRef bits) {
  const tsr_float_format *format = tsr_float_format_of(dtype);
  mb b = begin_f32(math, mb_lanes_of(LLVMTypeOf(bits)));
  LLVMValueRef code = LLVMBuildZExt(b.at, bits, b.integer, "");
  if (dtype == TSR_F8E8M0)
    return e8m0_to_f32(&b, code);
  LLVMValueRef magnitude = mask(&b, code, 0x7f);
  LLVMValueRef value = mb_from_bits(&b, left(&b, magnitude, 23 - format->mantissa));
  value = mb_to_bits(&b, mb_scale_by(&b, value, ldexp(1, 127 - format->bias)));
  if (format->infinity != 0)
    value = mb_select(&b, compare_bits(&b, LLVMIntEQ, magnitude, format->infinity),
                      mb_int(&b, 0x7f800000), value);
  LLVMValueRef is_nan = format->unsigned_zero
                            ? compare_bits(&b, LLVMIntEQ, code, format->nan)
                            : compare_bits(&b, LLVMIntUGT, magnitude,
                                           format->infinity ? format->infinity : format->largest);
  value = mb_select(&b, is_nan, mb_int(&b, 0x7fc00000), value);
  return mb_from_bits(&b, LLVMBuildOr(b.at, value, left(&b, mask(&b, code, 0x80), 24), ""));
}

/* Half a unit added to the bits carries into the exponent from 1.5 on; subnormals are below or in
 * the lowest binade, whose code is 0. */
static LLVMValueRef f32_to_e8m0(const mb *b, LLVMValueRef value) {
  LLVMValueRef magnitude = mask(b, mb_to_bits(b, value), 0x7fffffff);
  LLVMValueRef code = right(b, LLVMBuildAdd(b->at, magnitude, mb_int(b, 0x00400000), ""), 23);
  LLVMValueRef subnormal = compare_bits(b, LLVMIntULT, magnitude, 0x00800000);
  LLVMValueRef rounds_up = compare_bits(b, LLVMIntUGE, magnitude, 0x00600000);
  LLVMValueRef least = mb_select(b, rounds_up, mb_int(b, 1), mb_int(b, 0));
  LLVMValueRef special = compare_bits(b, LLVMIntUGE, magnitude, 0x7f800000);
  return mb_select(b, special, mb_int(b, 0xff), mb_select(b, subnormal, least, code));
}

/* As for f16 as well: bits are rounded as an integer, or by the float adder below the least normal
 * value. */
static LLVMValueRef f32_to_f8_magnitude(const mb *b, const tsr_float_format *format,
                                        LLVMValueRef magnitude) {
  unsigned shift = 23 - format->mantissa;
  uint64_t least_normal = (uint64_t)(128 - format->bias) << 23;
  uint64_t rebias = (uint64_t)(127 - format->bias) << 23;
  uint64_t adder = (uint64_t)(151 - format->bias - (int)format->mantissa) << 23;
  LLVMValueRef odd = mask(b, right(b, magnitude, shift), 1);
  uint64_t below_half = ((uint64_t)1 << (shift - 1)) - 1;
  LLVMValueRef normal =
      LLVMBuildAdd(b->at, magnitude, mb_int(b, (uint32_t)(below_half - rebias)), "");
  normal = right(b, LLVMBuildAdd(b->at, normal, odd, ""), shift);
  LLVMValueRef sum = mb_add(b, mb_from_bits(b, magnitude), mb_from_bits(b, mb_int(b, adder)));
  LLVMValueRef tiny = LLVMBuildSub(b->at, mb_to_bits(b, sum), mb_int(b, adder), "");
  return mb_select(b, compare_bits(b, LLVMIntULT, magnitude, least_normal), tiny, normal);
}

LLVMValueRef tsr_numeric_f32_to_f8(const tsr_math *math, tsr_dtype dtype, LLVMValueRef value) {
  const tsr_float_format *format = tsr_float_format_of(dtype);
  mb b = begin_f32(math, mb_lanes_of(LLVMTypeOf(value)));
  LLVMTypeRef i8 = mb_shape(LLVMInt8TypeInContext(math->context), b.lanes);
  if (dtype == TSR_F8E8M0)
    return LLVMBuildTrunc(b.at, f32_to_e8m0(&b, value), i8, "");
  LLVMValueRef bits = mb_to_bits(&b, value);
  LLVMValueRef magnitude = mask(&b, bits, 0x7fffffff);
  LLVMValueRef sign = mask(&b, right(&b, bits, 24), 0x80);
  LLVMValueRef code = f32_to_f8_magnitude(&b, format, magnitude);
  LLVMValueRef over = compare_bits(&b, LLVMIntUGT, code, format->largest);
  LLVMValueRef is_nan = compare_bits(&b, LLVMIntUGT, magnitude, 0x7f800000);
  if (format->unsigned_zero) {
    LLVMValueRef zero = compare_bits(&b, LLVMIntEQ, code, 0);
    code = mb_select(&b, zero, code, LLVMBuildOr(b.at, code, sign, ""));
    code = mb_select(&b, mb_either(&b, over, is_nan), mb_int(&b, format->nan), code);
  } else {
    uint64_t beyond = format->infinity ? format->infinity : format->nan;
    code = mb_select(&b, over, mb_int(&b, beyond), code);
    code = mb_select(&b, is_nan, mb_int(&b, format->nan), code);
    code = LLVMBuildOr(b.at, code, sign, "");
  }
  return LLVMBuildTrunc(b.at, code, i8, "");
}

LLVMValueRef tsr_numeric_saturate_f8(const tsr_math *math, tsr_dtype dtype, LLVMValueRef value) {
  mb b = begin_f32(math, mb_lanes_of(LLVMTypeOf(value)));
  if (dtype == TSR_F8E8M0) {
    LLVMValueRef magnitude = mb_abs(&b, value);
    LLVMValueRef finite = mb_lt(&b, magnitude, mb_infinity(&b));
    return mb_select(&b, finite, mb_at_most(&b, magnitude, 0x1p127), magnitude);
  }
  double largest = tsr_float_decode(dtype, tsr_float_format_of(dtype)->largest);
  return mb_at_least(&b, mb_at_most(&b, value, largest), -largest);
}

/* The nearest float is moved to the neighbour towards zero when it lies beyond the double, which
 * makes it the truncation; an inexact truncation then gets its last bit. Infinity counts as beyond:
 * the largest float with its odd last bit still overflows a narrower type. */
LLVMValueRef tsr_numeric_f64_to_f32_odd(const tsr_math *math, LLVMValueRef value) {
  mb wide = mb_begin(math, LLVMTypeOf(value));
  mb b = begin_f32(math, wide.lanes);
  LLVMValueRef near = LLVMBuildFPTrunc(b.at, value, b.real, "");
  LLVMValueRef back = LLVMBuildFPExt(b.at, near, wide.real, "");
  LLVMValueRef beyond = mb_lt(&wide, mb_abs(&wide, value), mb_abs(&wide, back));
  LLVMValueRef exact = LLVMBuildFCmp(b.at, LLVMRealUEQ, value, back, "");
  LLVMValueRef bits = mb_to_bits(&b, near);
  LLVMValueRef less = LLVMBuildSub(b.at, bits, mb_int(&b, 1), "");
  LLVMValueRef cut = mb_select(&b, beyond, less, bits);
  LLVMValueRef odd = LLVMBuildOr(b.at, cut, mb_int(&b, 1), "");
  return mb_from_bits(&b, mb_select(&b, exact, bits, odd));
}
