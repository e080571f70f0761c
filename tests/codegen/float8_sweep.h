/* Casts from and to float8, by kernels: what goes in, and what runtime/float_convert.h says comes
 * out. Narrow sources are complete; f32 has every exponent with both signs and the fractions around
 * every tie that a float8 type has, so infinities, NaN and subnormals too. */
#ifndef TSR_TESTS_CODEGEN_FLOAT8_SWEEP_H
#define TSR_TESTS_CODEGEN_FLOAT8_SWEEP_H
#include "runtime/float_convert.h"
#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SWEEP_TEXT = 65536 };

static const tsr_dtype sweep_float8[] = {TSR_F8E4M3, TSR_F8E4M3UZ, TSR_F8E5M2, TSR_F8E5M2UZ,
                                         TSR_F8E8M0};
enum { SWEEP_FLOAT8 = sizeof sweep_float8 / sizeof *sweep_float8 };
static const tsr_dtype sweep_others[] = {
    TSR_BOOL, TSR_I8,     TSR_I16,      TSR_I32,    TSR_I64,      TSR_U8,
    TSR_U16,  TSR_U32,    TSR_U64,      TSR_F16,    TSR_BF16,     TSR_F32,
    TSR_F64,  TSR_F8E4M3, TSR_F8E4M3UZ, TSR_F8E5M2, TSR_F8E5M2UZ, TSR_F8E8M0};
enum { SWEEP_OTHERS = sizeof sweep_others / sizeof *sweep_others };

/* A whole number of tiles. */
static inline int64_t sweep_count(tsr_dtype dtype) {
  return tsr_dtype_bits(dtype) == 8 ? 256 : tsr_dtype_bits(dtype) == 16 ? 65536 : 256 * 2 * 96;
}

static inline uint32_t sweep_f32_bits(int64_t i) {
  uint32_t sign = (uint32_t)(i & 1) << 31, exponent = (uint32_t)(i >> 1 & 255) << 23;
  uint32_t fraction = (uint32_t)(i >> 9);
  fraction = (fraction / 3 << 18) + fraction % 3 - 1;
  return sign | ((exponent + fraction) & 0x7fffffffu);
}

static inline void sweep_fill(tsr_dtype dtype, void *data) {
  for (int64_t i = 0; i < sweep_count(dtype); ++i) {
    uint32_t bits = sweep_f32_bits(i);
    float single;
    memcpy(&single, &bits, sizeof single);
    double near = (double)single * (1 + (double)(i % 3 - 1) * 0x1p-50);
    uint64_t integer = ((uint64_t)(0x100 + (i >> 6 & 0xff)) << (i % 56)) + (uint64_t)(i % 3) - 1;
    if (dtype == TSR_F32)
      tsr_element_store_bits(dtype, data, i, bits);
    else if (dtype == TSR_F64)
      tsr_element_store_f64(dtype, data, i, near);
    else if (tsr_dtype_bits(dtype) >= 32)
      tsr_element_store_i64(dtype, data, i, (int64_t)(i & 32 ? 0 - integer : integer));
    else
      tsr_element_store_bits(dtype, data, i, (uint64_t)i);
  }
}

static inline void sweep_kernel(char *text, size_t room, const char *name, tsr_dtype from,
                                tsr_dtype to, bool saturate, int tile) {
  size_t used = strlen(text);
  const char *in = tsr_dtype_text(from), *out = tsr_dtype_text(to);
  snprintf(text + used, room - used,
           "kernel @%s(%%x: %s[%lld], out %%y: %s[%lld]) grid(%%i in %lld) {\n"
           "  %%a = load %%x[%%i*%d + $0] : reg %s[%d]\n"
           "  %%b = cast %%a%s : reg %s[%d]\n"
           "  store %%b, %%y[%%i*%d + $0]\n"
           "}\n",
           name, in, (long long)sweep_count(from), out, (long long)sweep_count(from),
           (long long)sweep_count(from) / tile, tile, in, tile,
           saturate ? "" : " {saturate = false}", out, tile, tile);
}

/* The number to round. Integers beyond a double keep a sticky bit, so that it is rounded once. */
static inline double sweep_real(tsr_dtype dtype, const void *data, int64_t i, tsr_dtype to) {
  int64_t integer = tsr_element_load_i64(dtype, data, i);
  bool negative = tsr_dtype_class_of(dtype) == TSR_CLASS_INT && integer < 0;
  uint64_t size = negative ? 0 - (uint64_t)integer : (uint64_t)integer;
  if (tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT || to == TSR_F64)
    return tsr_element_load_f64(dtype, data, i);
  if (size >> 53 != 0)
    size = (size & ~UINT64_C(0x7ff)) | (uint64_t)((size & 0x7ff) != 0) << 11;
  return negative ? -(double)size : (double)size;
}

static inline void sweep_check(const char *where, tsr_dtype from, tsr_dtype to, bool saturate,
                               const void *in, const void *out) {
  for (int64_t i = 0; i < sweep_count(from); ++i) {
    uint64_t got = tsr_element_load_bits(to, out, i), want = 0;
    double value = sweep_real(from, in, i, to);
    if (from == to)
      want = tsr_element_load_bits(from, in, i);
    else if (tsr_dtype_class_of(to) == TSR_CLASS_FLOAT)
      want = tsr_float_encode(to, value, saturate ? TSR_OVERFLOW_SATURATE : TSR_OVERFLOW_SPECIAL);
    else if (to == TSR_BOOL)
      want = value != 0;
    else
      tsr_element_store_f64(to, &want, 0, value);
    bool both_nan = tsr_dtype_class_of(to) == TSR_CLASS_FLOAT &&
                    isnan(tsr_float_decode(to, want)) && isnan(tsr_float_decode(to, got));
    if (got != want && !both_nan)
      ck_abort_msg("%s: %s to %s%s, %.17g (0x%llx) became 0x%llx instead of 0x%llx", where,
                   tsr_dtype_text(from), tsr_dtype_text(to), saturate ? "" : " without saturate",
                   value, (unsigned long long)tsr_element_load_bits(from, in, i),
                   (unsigned long long)got, (unsigned long long)want);
  }
}

/* Every cast between a float8 type and another one, in both directions: kernels to0 (special), to1
 * (saturate) and back. */
static inline char *sweep_text(int number, tsr_dtype other, int tile) {
  char *text = (char *)calloc(1, SWEEP_TEXT);
  ck_assert_ptr_nonnull(text);
  sweep_kernel(text, SWEEP_TEXT, "to0", other, sweep_float8[number], false, tile);
  sweep_kernel(text, SWEEP_TEXT, "to1", other, sweep_float8[number], true, tile);
  sweep_kernel(text, SWEEP_TEXT, "back", sweep_float8[number], other, true, tile);
  return text;
}

#endif
