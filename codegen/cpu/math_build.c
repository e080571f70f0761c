#include "codegen/cpu/math_build.h"
#include <assert.h>
#include <string.h>

mb mb_begin(const tsr_math *math, LLVMTypeRef type) {
  mb b = {.math = math, .at = math->builder, .real = type, .lanes = mb_lanes_of(type)};
  LLVMTypeKind kind = LLVMGetTypeKind(mb_element_of(type));
  assert(kind == LLVMFloatTypeKind || kind == LLVMDoubleTypeKind);
  b.is_f64 = kind == LLVMDoubleTypeKind;
  b.integer = mb_shape(LLVMIntTypeInContext(math->context, b.is_f64 ? 64 : 32), b.lanes);
  return b;
}

mb mb_as_f64(const mb *b) {
  return mb_begin(b->math, mb_shape(LLVMDoubleTypeInContext(b->math->context), b->lanes));
}

LLVMValueRef mb_splat(LLVMValueRef constant, unsigned lanes) {
  enum { MAX_LANES = 4096 };
  if (lanes == 0)
    return constant;
  assert(lanes <= MAX_LANES);
  LLVMValueRef all[MAX_LANES];
  for (unsigned i = 0; i < lanes; i++)
    all[i] = constant;
  return LLVMConstVector(all, lanes);
}

LLVMValueRef mb_real(const mb *b, double value) {
  return mb_splat(LLVMConstReal(mb_element_of(b->real), value), b->lanes);
}

LLVMValueRef mb_int(const mb *b, uint64_t value) {
  return mb_splat(LLVMConstInt(mb_element_of(b->integer), value, false), b->lanes);
}

LLVMValueRef mb_intrinsic(const tsr_math *math, const char *name, LLVMTypeRef overload,
                          LLVMValueRef *arguments, unsigned count) {
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  assert(id != 0);
  size_t overloads = overload ? 1 : 0;
  LLVMValueRef function = LLVMGetIntrinsicDeclaration(math->module, id, &overload, overloads);
  LLVMTypeRef type = LLVMIntrinsicGetType(math->context, id, &overload, overloads);
  return LLVMBuildCall2(math->builder, type, function, arguments, count, "");
}

LLVMValueRef tsr_math_fma(const tsr_math *math, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c) {
  if (math->target->isa.has_fma)
    return mb_intrinsic(math, "llvm.fma", LLVMTypeOf(a), (LLVMValueRef[]){a, b, c}, 3);
  return LLVMBuildFAdd(math->builder, LLVMBuildFMul(math->builder, a, b, ""), c, "");
}

LLVMValueRef mb_abs(const mb *b, LLVMValueRef x) {
  return mb_intrinsic(b->math, "llvm.fabs", b->real, &x, 1);
}

LLVMValueRef mb_copysign(const mb *b, LLVMValueRef magnitude, LLVMValueRef sign) {
  return mb_intrinsic(b->math, "llvm.copysign", b->real, (LLVMValueRef[]){magnitude, sign}, 2);
}

LLVMValueRef mb_sqrt(const mb *b, LLVMValueRef x) {
  return mb_intrinsic(b->math, "llvm.sqrt", b->real, &x, 1);
}

/* Written so that x86's minps and maxps, which return their second operand for NaN, are one
 * instruction of it. */
LLVMValueRef mb_at_most(const mb *b, LLVMValueRef x, double limit) {
  LLVMValueRef bound = mb_real(b, limit);
  return mb_select(b, mb_lt(b, bound, x), bound, x);
}

LLVMValueRef mb_at_least(const mb *b, LLVMValueRef x, double limit) {
  LLVMValueRef bound = mb_real(b, limit);
  return mb_select(b, mb_gt(b, bound, x), bound, x);
}

LLVMValueRef mb_infinity(const mb *b) {
  return mb_real(b, (double)__builtin_inff());
}

LLVMValueRef mb_nan(const mb *b) {
  return mb_real(b, (double)__builtin_nanf(""));
}

LLVMValueRef mb_poly(const mb *b, LLVMValueRef x, const double *c, unsigned count) {
  LLVMValueRef sum = mb_real(b, c[count - 1]);
  for (unsigned i = count - 1; i-- > 0;)
    sum = mb_fma(b, sum, x, mb_real(b, c[i]));
  return sum;
}

mb_pair mb_fast_two_sum(const mb *b, LLVMValueRef x, LLVMValueRef y) {
  mb_pair r;
  r.hi = mb_add(b, x, y);
  r.lo = mb_sub(b, y, mb_sub(b, r.hi, x));
  return r;
}

mb_pair mb_two_sum(const mb *b, LLVMValueRef x, LLVMValueRef y) {
  mb_pair r;
  r.hi = mb_add(b, x, y);
  LLVMValueRef y_part = mb_sub(b, r.hi, x);
  LLVMValueRef x_part = mb_sub(b, r.hi, y_part);
  r.lo = mb_add(b, mb_sub(b, x, x_part), mb_sub(b, y, y_part));
  return r;
}

/* Veltkamp's split of a double into 26 + 27 bits, by its bits: no overflow. */
static mb_pair halves(const mb *b, LLVMValueRef x) {
  mb_pair r;
  r.hi =
      mb_from_bits(b, LLVMBuildAnd(b->at, mb_to_bits(b, x), mb_int(b, ~(uint64_t)0x7ffffff), ""));
  r.lo = mb_sub(b, x, r.hi);
  return r;
}

mb_pair mb_two_product(const mb *b, LLVMValueRef x, LLVMValueRef y) {
  mb_pair r;
  assert(b->is_f64);
  r.hi = mb_mul(b, x, y);
  if (b->math->target->isa.has_fma) {
    r.lo = mb_fma(b, x, y, mb_neg(b, r.hi));
    return r;
  }
  mb_pair u = halves(b, x), v = halves(b, y);
  LLVMValueRef rest = mb_sub(b, mb_mul(b, u.hi, v.hi), r.hi);
  rest = mb_add(b, rest, mb_mul(b, u.hi, v.lo));
  rest = mb_add(b, rest, mb_mul(b, u.lo, v.hi));
  r.lo = mb_add(b, rest, mb_mul(b, u.lo, v.lo));
  return r;
}

mb_pair mb_pair_add(const mb *b, mb_pair x, mb_pair y) {
  mb_pair s = mb_two_sum(b, x.hi, y.hi);
  s.lo = mb_add(b, s.lo, mb_add(b, x.lo, y.lo));
  return mb_fast_two_sum(b, s.hi, s.lo);
}

mb_pair mb_pair_mul(const mb *b, mb_pair x, mb_pair y) {
  mb_pair p = mb_two_product(b, x.hi, y.hi);
  LLVMValueRef cross = mb_fma(b, x.hi, y.lo, mb_mul(b, x.lo, y.hi));
  p.lo = mb_add(b, p.lo, cross);
  return mb_fast_two_sum(b, p.hi, p.lo);
}

LLVMValueRef mb_helper(const tsr_math *math, const char *name, LLVMTypeRef type,
                       LLVMBuilderRef *out_body) {
  *out_body = NULL;
  LLVMValueRef function = LLVMGetNamedFunction(math->module, name);
  if (function)
    return function;
  function = LLVMAddFunction(math->module, name, type);
  LLVMSetLinkage(function, LLVMInternalLinkage);
  tsr_llvm_target_function(math->target, function);
  *out_body = LLVMCreateBuilderInContext(math->context);
  LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(math->context, function, "entry");
  LLVMPositionBuilderAtEnd(*out_body, entry);
  return function;
}
