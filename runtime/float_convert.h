/* Elements of every dtype to and from double and int64: constants, tests, the interpreter and the
 * command line. Kernels do this in machine code; here exactness counts, not speed. */
#ifndef TSR_RUNTIME_FLOAT_CONVERT_H
#define TSR_RUNTIME_FLOAT_CONVERT_H
#include <stdbool.h>
#include <stdint.h>
#include <tessera/dtype.h>

/* What a finite or infinite value beyond the largest finite one of a float8 type becomes; ONNX
 * Cast's `saturate`. Other types ignore it: f16, bf16, f32 overflow to infinity, float6 and float4
 * have neither infinity nor NaN and always saturate. */
typedef enum tsr_overflow {
  TSR_OVERFLOW_SATURATE = 0, /* the largest finite value of the same sign, for infinities too */
  TSR_OVERFLOW_SPECIAL = 1,  /* infinity where the type has it, else NaN */
} tsr_overflow;

/* A binary format: sign, exponent with `bias`, `mantissa` bits. Codes are without the sign bit.
 * `infinity` 0: none. `nan` 0: none. Unsigned zero ("uz"): NaN sits where minus zero would be. */
typedef struct tsr_float_format {
  unsigned bits, mantissa;
  int bias;
  uint64_t largest, infinity, nan;
  bool unsigned_zero;
  bool may_saturate;
} tsr_float_format;

/* Of f4e2m1 to f32 but f8e8m0, which has no sign and no mantissa; `bits` is 0 for other types. */
const tsr_float_format *tsr_float_format_of(tsr_dtype dtype);

/* The value of the low bits of `bits` read as `dtype`, exact. `dtype` is of class FLOAT. */
double tsr_float_decode(tsr_dtype dtype, uint64_t bits);

/* `value` rounded once, to nearest, ties to even, as `dtype` (class FLOAT). Special cases: a "uz"
 * type has one zero and one NaN (0x80); NaN keeps its sign elsewhere, and becomes the largest
 * positive value of float6 and float4; f8e8m0 takes the magnitude, ties go up, zero and what is
 * below 2^-127 become 2^-127, what is above 2^127 becomes 2^127 or NaN, infinity is NaN (as ONNX
 * Cast with round_mode "nearest"). */
uint64_t tsr_float_encode(tsr_dtype dtype, double value, tsr_overflow overflow);

/* Element number `index` of a densely packed array (sub-byte types: a stream of bits, least
 * significant first). `index` >= 0. Loading as int64: floats truncate towards zero and saturate,
 * NaN gives 0, u64 keeps its 64 bits. Loading as double: 64-bit integers round to nearest. */
double tsr_element_load_f64(tsr_dtype dtype, const void *data, int64_t index);
int64_t tsr_element_load_i64(tsr_dtype dtype, const void *data, int64_t index);

/* Storing a double in an integer type truncates towards zero and saturates, NaN gives 0. Storing an
 * int64 in an integer type keeps the low bits; in a float type it rounds once. Bool becomes
 * value != 0. float8 saturates. Neighbouring elements in the same byte are read and written back:
 * one thread at a time. */
void tsr_element_store_f64(tsr_dtype dtype, void *data, int64_t index, double value);
void tsr_element_store_i64(tsr_dtype dtype, void *data, int64_t index, int64_t value);

/* The raw bits of one element. */
uint64_t tsr_element_load_bits(tsr_dtype dtype, const void *data, int64_t index);
void tsr_element_store_bits(tsr_dtype dtype, void *data, int64_t index, uint64_t bits);

/* `count` elements starting at element `first`. */
void tsr_elements_load_f64(tsr_dtype dtype, const void *data, int64_t first, int64_t count,
                           double *out_values);
void tsr_elements_store_f64(tsr_dtype dtype, void *data, int64_t first, int64_t count,
                            const double *values);
void tsr_elements_load_i64(tsr_dtype dtype, const void *data, int64_t first, int64_t count,
                           int64_t *out_values);
void tsr_elements_store_i64(tsr_dtype dtype, void *data, int64_t first, int64_t count,
                            const int64_t *values);

#endif
