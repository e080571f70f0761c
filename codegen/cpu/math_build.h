/* Short words for building float code that is generic over f32 and f64 and over lane counts; for
 * the math_*.c and numeric files only. No fast-math flag is ever set: compensated sums rely on
 * every rounding as written. */
#ifndef TSR_CODEGEN_CPU_MATH_BUILD_H
#define TSR_CODEGEN_CPU_MATH_BUILD_H
#include "codegen/cpu/math_emit.h"
#include <llvm-c/Core.h>

/* The context with the types of the values at hand. */
typedef struct mb {
  const tsr_math *math;
  LLVMBuilderRef at;
  LLVMTypeRef real;    /* float, double or a vector of one */
  LLVMTypeRef integer; /* the integer type of the same shape and width */
  unsigned lanes;      /* 0: scalar */
  bool is_f64;
} mb;

/* An unevaluated sum, |lo| at most half a unit in the last place of hi. */
typedef struct mb_pair {
  LLVMValueRef hi, lo;
} mb_pair;

/* `lanes` 0: the element itself. */
static inline LLVMTypeRef mb_shape(LLVMTypeRef element, unsigned lanes) {
  return lanes ? LLVMVectorType(element, lanes) : element;
}

static inline unsigned mb_lanes_of(LLVMTypeRef type) {
  return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetVectorSize(type) : 0;
}

static inline LLVMTypeRef mb_element_of(LLVMTypeRef type) {
  return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type;
}

mb mb_begin(const tsr_math *math, LLVMTypeRef type);
/* The same shape in f64. */
mb mb_as_f64(const mb *b);

LLVMValueRef mb_splat(LLVMValueRef constant, unsigned lanes);
LLVMValueRef mb_real(const mb *b, double value);
LLVMValueRef mb_int(const mb *b, uint64_t value);
/* A call to the overloaded intrinsic `name` for the type of its first argument. */
LLVMValueRef mb_intrinsic(const tsr_math *math, const char *name, LLVMTypeRef overload,
                          LLVMValueRef *arguments, unsigned count);

static inline LLVMValueRef mb_add(const mb *b, LLVMValueRef x, LLVMValueRef y) {
  return LLVMBuildFAdd(b->at, x, y, "");
}
static inline LLVMValueRef mb_sub(const mb *b, LLVMValueRef x, LLVMValueRef y) {
  return LLVMBuildFSub(b->at, x, y, "");
}
static inline LLVMValueRef mb_mul(const mb *b, LLVMValueRef x, LLVMValueRef y) {
  return LLVMBuildFMul(b->at, x, y, "");
}
static inline LLVMValueRef mb_div(const mb *b, LLVMValueRef x, LLVMValueRef y) {
  return LLVMBuildFDiv(b->at, x, y, "");
}
static inline LLVMValueRef mb_neg(const mb *b, LLVMValueRef x) {
  return LLVMBuildFNeg(b->at, x, "");
}
static inline LLVMValueRef mb_scale_by(const mb *b, LLVMValueRef x, double factor) {
  return mb_mul(b, x, mb_real(b, factor));
}
static inline LLVMValueRef mb_fma(const mb *b, LLVMValueRef x, LLVMValueRef y, LLVMValueRef z) {
  return tsr_math_fma(b->math, x, y, z);
}
/* z - x * y */
static inline LLVMValueRef mb_fnma(const mb *b, LLVMValueRef x, LLVMValueRef y, LLVMValueRef z) {
  return b->math->target->isa.has_fma ? mb_fma(b, mb_neg(b, x), y, z)
                                      : mb_sub(b, z, mb_mul(b, x, y));
}
static inline LLVMValueRef mb_select(const mb *b, LLVMValueRef mask, LLVMValueRef x,
                                     LLVMValueRef y) {
  return LLVMBuildSelect(b->at, mask, x, y, "");
}
/* Ordered comparisons: false for NaN. */
static inline LLVMValueRef mb_lt(const mb *b, LLVMValueRef x, LLVMValueRef y) {
  return LLVMBuildFCmp(b->at, LLVMRealOLT, x, y, "");
}
static inline LLVMValueRef mb_le(const mb *b, LLVMValueRef x, LLVMValueRef y) {
  return LLVMBuildFCmp(b->at, LLVMRealOLE, x, y, "");
}
static inline LLVMValueRef mb_gt(const mb *b, LLVMValueRef x, LLVMValueRef y) {
  return LLVMBuildFCmp(b->at, LLVMRealOGT, x, y, "");
}
static inline LLVMValueRef mb_eq(const mb *b, LLVMValueRef x, LLVMValueRef y) {
  return LLVMBuildFCmp(b->at, LLVMRealOEQ, x, y, "");
}
static inline LLVMValueRef mb_is_nan(const mb *b, LLVMValueRef x) {
  return LLVMBuildFCmp(b->at, LLVMRealUNO, x, x, "");
}
static inline LLVMValueRef mb_both(const mb *b, LLVMValueRef x, LLVMValueRef y) {
  return LLVMBuildAnd(b->at, x, y, "");
}
static inline LLVMValueRef mb_either(const mb *b, LLVMValueRef x, LLVMValueRef y) {
  return LLVMBuildOr(b->at, x, y, "");
}
static inline LLVMValueRef mb_not(const mb *b, LLVMValueRef x) {
  return LLVMBuildNot(b->at, x, "");
}
static inline LLVMValueRef mb_to_bits(const mb *b, LLVMValueRef x) {
  return LLVMBuildBitCast(b->at, x, b->integer, "");
}
static inline LLVMValueRef mb_from_bits(const mb *b, LLVMValueRef x) {
  return LLVMBuildBitCast(b->at, x, b->real, "");
}

LLVMValueRef mb_abs(const mb *b, LLVMValueRef x);
LLVMValueRef mb_copysign(const mb *b, LLVMValueRef magnitude, LLVMValueRef sign);
LLVMValueRef mb_sqrt(const mb *b, LLVMValueRef x);
/* x where x < limit or x is NaN, else limit; and the other way round. */
LLVMValueRef mb_at_most(const mb *b, LLVMValueRef x, double limit);
LLVMValueRef mb_at_least(const mb *b, LLVMValueRef x, double limit);
LLVMValueRef mb_infinity(const mb *b);
LLVMValueRef mb_nan(const mb *b);

/* c[0] + c[1] x + ... + c[count - 1] x^(count - 1), by Horner's rule. */
LLVMValueRef mb_poly(const mb *b, LLVMValueRef x, const double *c, unsigned count);
#define MB_POLY(b, x, c) mb_poly(b, x, c, sizeof(c) / sizeof *(c))

/* x + y exactly; the first needs |x| >= |y|. */
mb_pair mb_fast_two_sum(const mb *b, LLVMValueRef x, LLVMValueRef y);
mb_pair mb_two_sum(const mb *b, LLVMValueRef x, LLVMValueRef y);
/* x * y exactly, unless a part overflows or underflows. */
mb_pair mb_two_product(const mb *b, LLVMValueRef x, LLVMValueRef y);
/* Pairs: sum of a pair and a number, product of pairs; relative errors near 2^-2p. */
mb_pair mb_pair_add(const mb *b, mb_pair x, mb_pair y);
mb_pair mb_pair_mul(const mb *b, mb_pair x, mb_pair y);

/* The pieces that several functions share. */

/* exp(hi + lo) * 2^shift for f64, all magnitudes; NaN in hi propagates. `shift` is within -64..64.
 */
LLVMValueRef mb_exp_f64(const mb *b, LLVMValueRef hi, LLVMValueRef lo, int shift);
LLVMValueRef mb_expm1_f64(const mb *b, LLVMValueRef x);
LLVMValueRef mb_log_f64(const mb *b, LLVMValueRef x);
LLVMValueRef mb_log1p_f64(const mb *b, LLVMValueRef x);
/* x = m * 2^e for positive finite x, m within sqrt(1/2)..sqrt(2); subnormals too. */
void mb_split_f64(const mb *b, LLVMValueRef x, LLVMValueRef *out_m, LLVMValueRef *out_e);

/* One function each, on f64 values of any lane count. */
LLVMValueRef mb_sincos_f64(const mb *b, LLVMValueRef x, tsr_math_fn fn);
LLVMValueRef mb_arc_f64(const mb *b, LLVMValueRef x, tsr_math_fn fn);
LLVMValueRef mb_hyperbolic_f64(const mb *b, LLVMValueRef x, tsr_math_fn fn);
LLVMValueRef mb_erf_f64(const mb *b, LLVMValueRef x);
/* `precise`: within the f64 bound; otherwise enough for f32 results. */
LLVMValueRef mb_pow_f64(const mb *b, LLVMValueRef x, LLVMValueRef y, bool precise);
LLVMValueRef mb_fmod_f64(const mb *b, LLVMValueRef x, LLVMValueRef y);

LLVMValueRef mb_exp_f32(const mb *b, LLVMValueRef x);
LLVMValueRef mb_log_f32(const mb *b, LLVMValueRef x);
LLVMValueRef mb_tanh_f32(const mb *b, LLVMValueRef x);
LLVMValueRef mb_erf_f32(const mb *b, LLVMValueRef x);

/* The internal function `name` of the module: NULL in *out_body when it exists already, else a
 * builder at its entry, to be disposed by the caller after building the return. */
LLVMValueRef mb_helper(const tsr_math *math, const char *name, LLVMTypeRef type,
                       LLVMBuilderRef *out_body);

#endif
