/* Conversions between element types and integer arithmetic with every result defined, as inline
 * vector code for scalars and fixed vectors of any lane count.
 *
 * An element has two LLVM types. Its storage type is what memory holds: bool, 8-bit integers and
 * float8 i8, f16 and bf16 i16 (bits, never `half`: x86 without F16C has only library calls for it),
 * the others their own. Its compute type is what arithmetic works on: bool i1, float for f16, bf16
 * and float8, the others their own. Sub-byte types never get here: see passes/unpack.c.
 *
 * Conversions, by target:
 *   float  correctly rounded to nearest even from every source (also f64, i64, u64 to f16 and bf16:
 *          no double rounding); overflow to infinity; NaN stays NaN. To float8, overflow as the
 *          caller says: to the largest value, or to infinity or NaN.
 *   int    from int: low bits (wraps). From float: truncated towards zero; what is outside the type
 *          becomes its least or greatest value, NaN 0. (runtime/float_convert.h does the same.)
 *   bool   value != 0; NaN is true. bool to number: 0 or 1. */
#ifndef TSR_CODEGEN_CPU_NUMERIC_H
#define TSR_CODEGEN_CPU_NUMERIC_H
#include "codegen/cpu/math_emit.h"
#include "runtime/float_convert.h"
#include <tessera/dtype.h>

/* True for bool, i8..i64, u8..u64, float8, f16, bf16, f32, f64: what the functions below take. */
bool tsr_numeric_supports(tsr_dtype dtype);
/* Floats of less than 32 bits: computed in f32 and rounded. */
bool tsr_numeric_is_narrow(tsr_dtype dtype);
/* `lanes` 0: a scalar. */
LLVMTypeRef tsr_numeric_storage_type(const tsr_math *math, tsr_dtype dtype, unsigned lanes);
LLVMTypeRef tsr_numeric_compute_type(const tsr_math *math, tsr_dtype dtype, unsigned lanes);

/* Storage value -> compute value (a loaded bool byte counts as true when non-zero), and back. */
LLVMValueRef tsr_numeric_widen(const tsr_math *math, tsr_dtype dtype, LLVMValueRef storage);
LLVMValueRef tsr_numeric_narrow(const tsr_math *math, tsr_dtype dtype, LLVMValueRef compute);

/* Compute value of `from` -> compute value of `to`. To f16, bf16 and float8 the value is rounded to
 * that type and held in float; `overflow` is for float8 alone. */
LLVMValueRef tsr_numeric_convert(const tsr_math *math, LLVMValueRef value, tsr_dtype from,
                                 tsr_dtype to, tsr_overflow overflow);
/* The same, but the result is `to`'s storage value: what a cast followed by a store needs. */
LLVMValueRef tsr_numeric_convert_storage(const tsr_math *math, LLVMValueRef value, tsr_dtype from,
                                         tsr_dtype to, tsr_overflow overflow);

/* Integer division on any integer type. Never traps: dividing by zero gives 0, and the least value
 * divided by -1 wraps to itself with remainder 0. */
typedef enum tsr_int_division {
  TSR_INT_DIV_TRUNC, /* towards zero (C) */
  TSR_INT_REM_TRUNC, /* sign of the dividend (C; ONNX Mod with fmod=1) */
  TSR_INT_DIV_FLOOR, /* towards minus infinity (numpy) */
  TSR_INT_REM_FLOOR  /* sign of the divisor (ONNX Mod, numpy) */
} tsr_int_division;
LLVMValueRef tsr_numeric_divide(const tsr_math *math, tsr_int_division kind, LLVMValueRef a,
                                LLVMValueRef b, bool is_signed);

/* Shifts of any integer type; the count is read as unsigned and a count of the width or more shifts
 * everything out: 0, or the sign for an arithmetic right shift. */
typedef enum tsr_int_shift { TSR_INT_SHL, TSR_INT_LSHR, TSR_INT_ASHR } tsr_int_shift;
LLVMValueRef tsr_numeric_shift(const tsr_math *math, tsr_int_shift kind, LLVMValueRef value,
                               LLVMValueRef count);

/* base ** exponent for integers, wrapping; 0 ** 0 = 1; a negative exponent gives the integer part
 * of the real power: 0 except for bases 1 and -1 (0 for base 0). An internal function is called. */
LLVMValueRef tsr_numeric_ipow(const tsr_math *math, LLVMValueRef base, LLVMValueRef exponent,
                              bool is_signed);

#endif
