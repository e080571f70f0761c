/* The 16-bit float types as bits, and rounding that can be rounded again. */
#ifndef TSR_CODEGEN_CPU_NUMERIC_FLOAT_H
#define TSR_CODEGEN_CPU_NUMERIC_FLOAT_H
#include "codegen/cpu/math_emit.h"
#include <tessera/dtype.h>

/* i16 bits to float, exact; NaN stays NaN. */
LLVMValueRef tsr_numeric_f16_to_f32(const tsr_math *math, LLVMValueRef bits);
LLVMValueRef tsr_numeric_bf16_to_f32(const tsr_math *math, LLVMValueRef bits);
/* float to i16 bits, to nearest even; overflow to infinity; NaN stays NaN. */
LLVMValueRef tsr_numeric_f32_to_f16(const tsr_math *math, LLVMValueRef value);
LLVMValueRef tsr_numeric_f32_to_bf16(const tsr_math *math, LLVMValueRef value);
/* float8 types: i8 bits to float, exact; NaN stays NaN. */
LLVMValueRef tsr_numeric_f8_to_f32(const tsr_math *math, tsr_dtype dtype, LLVMValueRef bits);
/* float to i8 bits, to nearest even (f8e8m0: of the magnitude, ties up); what is beyond the largest
 * value becomes infinity where the type has it, else NaN. */
LLVMValueRef tsr_numeric_f32_to_f8(const tsr_math *math, tsr_dtype dtype, LLVMValueRef value);
/* What is beyond the largest value of a float8 type, infinities too (not for f8e8m0), becomes it.
 */
LLVMValueRef tsr_numeric_saturate_f8(const tsr_math *math, tsr_dtype dtype, LLVMValueRef value);
/* double to float, rounded to odd: an inexact result has its last bit set, so that rounding it to
 * a type of at most 22 bits of precision gives what rounding the double does. */
LLVMValueRef tsr_numeric_f64_to_f32_odd(const tsr_math *math, LLVMValueRef value);

#endif
