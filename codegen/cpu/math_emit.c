#include "codegen/cpu/math_build.h"
#include <assert.h>
#include <stdio.h>

typedef struct math_info {
  const char *text;
  unsigned operands;
} math_info;

static const math_info infos[] = {
#define TSR_MATH_INFO(name, text, operands, ulp_f32, ulp_f64) {text, operands},
    TSR_MATH_LIST(TSR_MATH_INFO)
#undef TSR_MATH_INFO
};

const char *tsr_math_text(tsr_math_fn fn) {
  assert(fn < TSR_MATH_COUNT);
  return infos[fn].text;
}

unsigned tsr_math_operands(tsr_math_fn fn) {
  assert(fn < TSR_MATH_COUNT);
  return infos[fn].operands;
}

static LLVMValueRef one_over(const mb *b, LLVMValueRef x) {
  return mb_div(b, mb_real(b, 1), x);
}

/* What is a few instructions in any type; NULL for the others. */
static LLVMValueRef emit_simple(const mb *b, tsr_math_fn fn, LLVMValueRef x, LLVMValueRef y) {
  switch (fn) {
  case TSR_MATH_ABS:
    return mb_abs(b, x);
  case TSR_MATH_COPYSIGN:
    return mb_copysign(b, x, y);
  case TSR_MATH_FLOOR:
    return mb_intrinsic(b->math, "llvm.floor", b->real, &x, 1);
  case TSR_MATH_CEIL:
    return mb_intrinsic(b->math, "llvm.ceil", b->real, &x, 1);
  case TSR_MATH_TRUNC:
    return mb_intrinsic(b->math, "llvm.trunc", b->real, &x, 1);
  case TSR_MATH_ROUND:
    return mb_intrinsic(b->math, "llvm.roundeven", b->real, &x, 1);
  case TSR_MATH_SQRT:
    return mb_sqrt(b, x);
  case TSR_MATH_RSQRT:
    return one_over(b, mb_sqrt(b, x));
  default:
    return NULL;
  }
}

static LLVMValueRef emit_f32(const mb *b, tsr_math_fn fn, LLVMValueRef x) {
  switch (fn) {
  case TSR_MATH_EXP:
    return mb_exp_f32(b, x);
  case TSR_MATH_LOG:
    return mb_log_f32(b, x);
  case TSR_MATH_TANH:
    return mb_tanh_f32(b, x);
  case TSR_MATH_ERF:
    return mb_erf_f32(b, x);
  default:
    return NULL;
  }
}

static LLVMValueRef emit_f64(const mb *b, tsr_math_fn fn, LLVMValueRef x, LLVMValueRef y,
                             bool precise) {
  switch (fn) {
  case TSR_MATH_EXP:
    return mb_exp_f64(b, x, NULL, 0);
  case TSR_MATH_EXPM1:
    return mb_expm1_f64(b, x);
  case TSR_MATH_LOG:
    return mb_log_f64(b, x);
  case TSR_MATH_LOG1P:
    return mb_log1p_f64(b, x);
  case TSR_MATH_SIN:
  case TSR_MATH_COS:
  case TSR_MATH_TAN:
    return mb_sincos_f64(b, x, fn);
  case TSR_MATH_ASIN:
  case TSR_MATH_ACOS:
  case TSR_MATH_ATAN:
    return mb_arc_f64(b, x, fn);
  case TSR_MATH_ERF:
    return mb_erf_f64(b, x);
  case TSR_MATH_POW:
    return mb_pow_f64(b, x, y, precise);
  case TSR_MATH_FMOD:
    return mb_fmod_f64(b, x, y);
  default:
    return mb_hyperbolic_f64(b, x, fn);
  }
}

/* "tsr.math.pow.f32x16" */
static void helper_name(const mb *b, tsr_math_fn fn, char *out, size_t size) {
  int length = snprintf(out, size, "tsr.math.%s.%s", infos[fn].text, b->is_f64 ? "f64" : "f32");
  if (b->lanes)
    snprintf(out + length, size - (size_t)length, "x%u", b->lanes);
}

/* The body of a helper: float goes through double. */
static void fill_helper(const tsr_math *inner, LLVMValueRef function, LLVMTypeRef type,
                        tsr_math_fn fn) {
  mb b = mb_begin(inner, type), wide = mb_as_f64(&b);
  LLVMValueRef x[2] = {LLVMGetParam(function, 0), NULL};
  if (infos[fn].operands == 2)
    x[1] = LLVMGetParam(function, 1);
  for (unsigned i = 0; i < infos[fn].operands && !b.is_f64; i++)
    x[i] = LLVMBuildFPExt(b.at, x[i], wide.real, "");
  LLVMValueRef y = emit_f64(&wide, fn, x[0], x[1], b.is_f64);
  if (!b.is_f64)
    y = LLVMBuildFPTrunc(b.at, y, b.real, "");
  LLVMBuildRet(b.at, y);
}

static LLVMValueRef call_helper(const mb *b, tsr_math_fn fn, LLVMValueRef x, LLVMValueRef y) {
  char name[64];
  helper_name(b, fn, name, sizeof name);
  LLVMTypeRef parameters[] = {b->real, b->real};
  LLVMTypeRef type = LLVMFunctionType(b->real, parameters, infos[fn].operands, false);
  tsr_math inner = *b->math;
  LLVMValueRef function = mb_helper(b->math, name, type, &inner.builder);
  if (inner.builder) {
    fill_helper(&inner, function, b->real, fn);
    LLVMDisposeBuilder(inner.builder);
  }
  LLVMValueRef arguments[] = {x, y};
  return LLVMBuildCall2(b->at, type, function, arguments, infos[fn].operands, "");
}

LLVMValueRef tsr_math_emit(const tsr_math *math, tsr_math_fn fn, LLVMValueRef a, LLVMValueRef b) {
  assert(fn < TSR_MATH_COUNT && (b != NULL) == (infos[fn].operands == 2));
  mb build = mb_begin(math, LLVMTypeOf(a));
  LLVMValueRef y = emit_simple(&build, fn, a, b);
  if (!y && !build.is_f64)
    y = emit_f32(&build, fn, a);
  return y ? y : call_helper(&build, fn, a, b);
}

/* A constant that is no NaN: there one comparison does, which also keeps clear of LLVM 19, whose
 * instcombine turns the two below into x > 0 where a is |x| and b is 0. */
static bool is_constant_number(const tsr_math *math, LLVMValueRef b) {
  return LLVMIsConstant(b) && LLVMIsNull(LLVMBuildFCmp(math->builder, LLVMRealUNO, b, b, "")) != 0;
}

/* A NaN of either side is kept. x86's min and max return the second operand when one is NaN: a
 * constant is the first one then, and one instruction does all, also where the constant is zero and
 * the other operand a zero of the other sign. Elsewhere which of two zeros wins is left open, and
 * LLVM has an instruction or three. */
static LLVMValueRef pick(const tsr_math *math, LLVMRealPredicate better, const char *intrinsic,
                         LLVMValueRef a, LLVMValueRef b) {
  if (is_constant_number(math, b))
    return LLVMBuildSelect(math->builder, LLVMBuildFCmp(math->builder, better, b, a, ""), b, a, "");
  LLVMValueRef best = mb_intrinsic(math, intrinsic, LLVMTypeOf(a), (LLVMValueRef[]){a, b}, 2);
  LLVMSetFastMathFlags(best, LLVMFastMathNoSignedZeros);
  return best;
}

LLVMValueRef tsr_math_min(const tsr_math *math, LLVMValueRef a, LLVMValueRef b) {
  return pick(math, LLVMRealOLT, "llvm.minimum", a, b);
}

LLVMValueRef tsr_math_max(const tsr_math *math, LLVMValueRef a, LLVMValueRef b) {
  return pick(math, LLVMRealOGT, "llvm.maximum", a, b);
}
