/* Math functions as inline vector code: no library, no table of pointers, the same code for scalars
 * and vectors.
 *
 * Values are LLVM float or double, or fixed vectors of them (any lane count; the machine's own
 * widths and their multiples are the fast ones). f16 and bf16 are computed in f32 by the caller.
 * float exp, log, tanh, erf, sqrt, rsqrt and the rounding functions are expanded where the builder
 * stands, without branches. The others become one internal function per type in the module, which
 * is called: the builder's block never changes, so these may be emitted anywhere.
 *
 * Special values are those of C17 annex F for every function: NaN propagates, the sign of zero is
 * kept, subnormals are exact inputs and outputs, overflow gives infinity. No fast-math flag is set;
 * FMA is used where the machine has it, so results may differ between instruction sets in the last
 * bits, never between runs, vector widths or numbers of threads.
 *
 * Accuracy in units of the last place, over all inputs (asserted by
 * tests/codegen_cpu/test_math.c): in the table; without FMA up to half a unit more. */
#ifndef TSR_CODEGEN_CPU_MATH_EMIT_H
#define TSR_CODEGEN_CPU_MATH_EMIT_H
#include "codegen/cpu/llvm_target.h"

/* X(NAME, "text", operands, ulp of float, ulp of double). Bounds of 0 are exact. */
#define TSR_MATH_LIST(X)                                                                           \
  X(ABS, "abs", 1, 0, 0)                                                                           \
  X(COPYSIGN, "copysign", 2, 0, 0)                                                                 \
  X(FLOOR, "floor", 1, 0, 0)                                                                       \
  X(CEIL, "ceil", 1, 0, 0)                                                                         \
  X(TRUNC, "trunc", 1, 0, 0)                                                                       \
  X(ROUND, "round", 1, 0, 0) /* half to even */                                                    \
  X(SQRT, "sqrt", 1, 0.5, 0.5)                                                                     \
  X(RSQRT, "rsqrt", 1, 1.5, 1.5) /* 1 / sqrt(x), both rounded */                                   \
  X(EXP, "exp", 1, 2, 2)                                                                           \
  X(EXPM1, "expm1", 1, 1, 3)                                                                       \
  X(LOG, "log", 1, 2, 2)                                                                           \
  X(LOG1P, "log1p", 1, 1, 3)                                                                       \
  X(SIN, "sin", 1, 1, 2)                                                                           \
  X(COS, "cos", 1, 1, 2)                                                                           \
  X(TAN, "tan", 1, 1, 4)                                                                           \
  X(ASIN, "asin", 1, 1, 4)                                                                         \
  X(ACOS, "acos", 1, 1, 4)                                                                         \
  X(ATAN, "atan", 1, 1, 4)                                                                         \
  X(SINH, "sinh", 1, 1, 4)                                                                         \
  X(COSH, "cosh", 1, 1, 4)                                                                         \
  X(TANH, "tanh", 1, 2.5, 4)                                                                       \
  X(ASINH, "asinh", 1, 1, 4)                                                                       \
  X(ACOSH, "acosh", 1, 1, 4)                                                                       \
  X(ATANH, "atanh", 1, 1, 4)                                                                       \
  X(ERF, "erf", 1, 2.5, 4)                                                                         \
  X(POW, "pow", 2, 1, 4)                                                                           \
  X(FMOD, "fmod", 2, 0, 0)

typedef enum tsr_math_fn {
#define TSR_MATH_ENUM(name, text, operands, ulp_f32, ulp_f64) TSR_MATH_##name,
  TSR_MATH_LIST(TSR_MATH_ENUM)
#undef TSR_MATH_ENUM
      TSR_MATH_COUNT
} tsr_math_fn;

/* Where code goes: the module's own builder, positioned in a block. All fields by the caller; cheap
 * to make, nothing to destroy. */
typedef struct tsr_math {
  const tsr_llvm_target *target;
  LLVMContextRef context;
  LLVMModuleRef module;
  LLVMBuilderRef builder;
} tsr_math;

const char *tsr_math_text(tsr_math_fn fn);
/* 1 or 2. */
unsigned tsr_math_operands(tsr_math_fn fn);

/* The value fn(a) or fn(a, b); `b` is NULL for functions of one operand, else of `a`'s type. */
LLVMValueRef tsr_math_emit(const tsr_math *math, tsr_math_fn fn, LLVMValueRef a, LLVMValueRef b);

/* a * b + c: one rounding where the machine has FMA, two otherwise. */
LLVMValueRef tsr_math_fma(const tsr_math *math, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c);

/* Minimum and maximum that return NaN when either operand is NaN (IEEE 754-2019 minimum, except
 * that the sign of a zero result is that of either operand). */
LLVMValueRef tsr_math_min(const tsr_math *math, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef tsr_math_max(const tsr_math *math, LLVMValueRef a, LLVMValueRef b);

#endif
