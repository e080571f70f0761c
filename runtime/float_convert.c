#include "runtime/float_convert.h"
#include <math.h>
#include <string.h>

static const tsr_float_format formats[TSR_DTYPE_COUNT] = {
    [TSR_F4E2M1] = {4, 1, 1, 0x7, 0, 0, false, true},
    [TSR_F6E2M3] = {6, 3, 1, 0x1f, 0, 0, false, true},
    [TSR_F6E3M2] = {6, 2, 3, 0x1f, 0, 0, false, true},
    [TSR_F8E4M3] = {8, 3, 7, 0x7e, 0, 0x7f, false, true},
    [TSR_F8E4M3UZ] = {8, 3, 8, 0x7f, 0, 0x80, true, true},
    [TSR_F8E5M2] = {8, 2, 15, 0x7b, 0x7c, 0x7e, false, true},
    [TSR_F8E5M2UZ] = {8, 2, 16, 0x7f, 0, 0x80, true, true},
    [TSR_F16] = {16, 10, 15, 0x7bff, 0x7c00, 0x7e00, false, false},
    [TSR_BF16] = {16, 7, 127, 0x7f7f, 0x7f80, 0x7fc0, false, false},
    [TSR_F32] = {32, 23, 127, 0x7f7fffff, 0x7f800000, 0x7fc00000, false, false},
};

const tsr_float_format *tsr_float_format_of(tsr_dtype dtype) {
  return &formats[dtype];
}

enum { DOUBLE_MANTISSA = 52, DOUBLE_BIAS = 1023 };

static double double_from_bits(uint64_t bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static uint64_t bits_from_double(double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

/* 2^exponent for -1022 <= exponent <= 1023. */
static double power_of_two(int exponent) {
  return double_from_bits((uint64_t)(exponent + DOUBLE_BIAS) << DOUBLE_MANTISSA);
}

static double decode_e8m0(uint64_t bits) {
  return (bits & 0xff) == 0xff ? (double)NAN : power_of_two((int)(bits & 0xff) - 127);
}

static double decode_sign(double magnitude, bool negative) {
  return negative ? -magnitude : magnitude;
}

double tsr_float_decode(tsr_dtype dtype, uint64_t bits) {
  const tsr_float_format *format = &formats[dtype];
  uint64_t sign_bit, code, fraction, exponent;
  bool negative;
  if (dtype == TSR_F64)
    return double_from_bits(bits);
  if (dtype == TSR_F8E8M0)
    return decode_e8m0(bits);
  sign_bit = (uint64_t)1 << (format->bits - 1);
  code = bits & (sign_bit - 1);
  negative = (bits & sign_bit) != 0;
  if (code > format->largest || (format->unsigned_zero && negative && code == 0))
    return decode_sign(code == format->infinity && code != 0 ? (double)INFINITY : (double)NAN,
                       negative);
  fraction = code & (((uint64_t)1 << format->mantissa) - 1);
  exponent = code >> format->mantissa;
  if (exponent == 0)
    return decode_sign((double)fraction * power_of_two(1 - format->bias - (int)format->mantissa),
                       negative);
  exponent += (uint64_t)(DOUBLE_BIAS - format->bias);
  return decode_sign(double_from_bits(exponent << DOUBLE_MANTISSA |
                                      fraction << (DOUBLE_MANTISSA - format->mantissa)),
                     negative);
}

/* The magnitude's code, rounded to nearest even, which may be above `largest`: a carry out of the
 * mantissa raises the exponent by itself. Doubles below 2^-1022 are below half of the smallest
 * value of every format here. */
static uint64_t round_magnitude(const tsr_float_format *format, uint64_t magnitude) {
  int exponent = (int)(magnitude >> DOUBLE_MANTISSA) - DOUBLE_BIAS;
  int lowest = 1 - format->bias;
  unsigned shift = DOUBLE_MANTISSA - format->mantissa;
  uint64_t significand =
      (magnitude & (((uint64_t)1 << DOUBLE_MANTISSA) - 1)) | (uint64_t)1 << DOUBLE_MANTISSA;
  uint64_t quotient, rest, half;
  if (exponent < lowest) {
    if (lowest - exponent > (int)format->mantissa + 1)
      return 0;
    shift += (unsigned)(lowest - exponent);
    exponent = lowest;
  }
  quotient = significand >> shift;
  rest = significand & (((uint64_t)1 << shift) - 1);
  half = (uint64_t)1 << (shift - 1);
  if (rest > half || (rest == half && (quotient & 1) != 0))
    quotient++;
  return ((uint64_t)(exponent - lowest) << format->mantissa) + quotient;
}

static uint64_t encode_e8m0(double value, tsr_overflow overflow) {
  double magnitude = fabs(value), fraction;
  int exponent;
  if (isnan(value) || isinf(value))
    return 0xff;
  fraction = frexp(magnitude, &exponent); /* fraction in [0.5, 1): 0.75 is the tie */
  exponent += (fraction >= 0.75 ? 0 : -1) + 127;
  if (magnitude == 0 || exponent < 0)
    return 0;
  if (exponent > 254)
    return overflow == TSR_OVERFLOW_SATURATE ? 254 : 0xff;
  return (uint64_t)exponent;
}

static uint64_t encode_nan(const tsr_float_format *format, uint64_t sign) {
  if (format->nan == 0)
    return format->largest;
  return format->unsigned_zero ? format->nan : sign | format->nan;
}

static uint64_t encode_overflow(const tsr_float_format *format, uint64_t sign,
                                tsr_overflow overflow) {
  bool has_special = format->infinity != 0 || format->nan != 0;
  if (!has_special || (format->may_saturate && overflow == TSR_OVERFLOW_SATURATE))
    return sign | format->largest;
  return format->infinity != 0 ? sign | format->infinity : encode_nan(format, sign);
}

uint64_t tsr_float_encode(tsr_dtype dtype, double value, tsr_overflow overflow) {
  const tsr_float_format *format = &formats[dtype];
  uint64_t bits = bits_from_double(value), code, sign;
  if (dtype == TSR_F64)
    return bits;
  if (dtype == TSR_F8E8M0)
    return encode_e8m0(value, overflow);
  sign = bits >> 63 << (format->bits - 1);
  bits = bits << 1 >> 1;
  if (isnan(value))
    return encode_nan(format, sign);
  code = isinf(value) ? UINT64_MAX : round_magnitude(format, bits);
  if (code > format->largest)
    return encode_overflow(format, sign, overflow);
  return format->unsigned_zero && code == 0 ? 0 : sign | code;
}

uint64_t tsr_element_load_bits(tsr_dtype dtype, const void *data, int64_t index) {
  const unsigned char *bytes = (const unsigned char *)data;
  unsigned width = tsr_dtype_bits(dtype);
  uint64_t bits = 0, first, at;
  if (width >= 8) {
    memcpy(&bits, bytes + (uint64_t)index * (width / 8), width / 8);
    return bits;
  }
  first = (uint64_t)index / 8 * width + (uint64_t)index % 8 * width / 8;
  at = (uint64_t)index % 8 * width % 8;
  bits = bytes[first];
  if (at + width > 8)
    bits |= (uint64_t)bytes[first + 1] << 8;
  return bits >> at & (((uint64_t)1 << width) - 1);
}

void tsr_element_store_bits(tsr_dtype dtype, void *data, int64_t index, uint64_t bits) {
  unsigned char *bytes = (unsigned char *)data;
  unsigned width = tsr_dtype_bits(dtype);
  uint64_t first, at, mask;
  if (width >= 8) {
    memcpy(bytes + (uint64_t)index * (width / 8), &bits, width / 8);
    return;
  }
  first = (uint64_t)index / 8 * width + (uint64_t)index % 8 * width / 8;
  at = (uint64_t)index % 8 * width % 8;
  mask = (((uint64_t)1 << width) - 1) << at;
  bits = bits << at & mask;
  bytes[first] = (unsigned char)((bytes[first] & ~mask) | bits);
  if (at + width > 8)
    bytes[first + 1] = (unsigned char)((bytes[first + 1] & ~(mask >> 8)) | bits >> 8);
}

static int64_t sign_extend(uint64_t bits, unsigned width) {
  return (int64_t)(bits << (64 - width)) >> (64 - width);
}

static int64_t saturate_to_i64(double value) {
  if (isnan(value))
    return 0;
  if (value >= 0x1p63)
    return INT64_MAX;
  return value < -0x1p63 ? INT64_MIN : (int64_t)value;
}

double tsr_element_load_f64(tsr_dtype dtype, const void *data, int64_t index) {
  uint64_t bits = tsr_element_load_bits(dtype, data, index);
  switch (tsr_dtype_class_of(dtype)) {
  case TSR_CLASS_FLOAT:
    return tsr_float_decode(dtype, bits);
  case TSR_CLASS_INT:
    return (double)sign_extend(bits, tsr_dtype_bits(dtype));
  case TSR_CLASS_UINT:
    return (double)bits;
  case TSR_CLASS_BOOL:
    return bits != 0;
  case TSR_CLASS_NONE:
  default:
    return 0;
  }
}

int64_t tsr_element_load_i64(tsr_dtype dtype, const void *data, int64_t index) {
  uint64_t bits = tsr_element_load_bits(dtype, data, index);
  switch (tsr_dtype_class_of(dtype)) {
  case TSR_CLASS_FLOAT:
    return saturate_to_i64(tsr_float_decode(dtype, bits));
  case TSR_CLASS_INT:
    return sign_extend(bits, tsr_dtype_bits(dtype));
  case TSR_CLASS_UINT:
    return (int64_t)bits;
  case TSR_CLASS_BOOL:
    return bits != 0;
  case TSR_CLASS_NONE:
  default:
    return 0;
  }
}

/* `width` bits hold [-2^(width-1), 2^(width-1)) or [0, 2^width); both bounds are exact doubles. */
static uint64_t saturate_to_integer(double value, unsigned width, bool is_signed) {
  double bound = power_of_two((int)(is_signed ? width - 1 : width));
  uint64_t all = UINT64_MAX >> (64 - width);
  if (isnan(value))
    return 0;
  if (value >= bound)
    return is_signed ? all >> 1 : all;
  if (!is_signed)
    return value <= 0 ? 0 : (uint64_t)value;
  return value < -bound ? (uint64_t)1 << (width - 1) : (uint64_t)(int64_t)value;
}

void tsr_element_store_f64(tsr_dtype dtype, void *data, int64_t index, double value) {
  unsigned width = tsr_dtype_bits(dtype);
  uint64_t bits = 0;
  switch (tsr_dtype_class_of(dtype)) {
  case TSR_CLASS_FLOAT:
    bits = tsr_float_encode(dtype, value, TSR_OVERFLOW_SATURATE);
    break;
  case TSR_CLASS_INT:
    bits = saturate_to_integer(value, width, true);
    break;
  case TSR_CLASS_UINT:
    bits = saturate_to_integer(value, width, false);
    break;
  case TSR_CLASS_BOOL:
    bits = value != 0;
    break;
  case TSR_CLASS_NONE:
  default:
    return;
  }
  tsr_element_store_bits(dtype, data, index, bits);
}

/* Rounding twice would be wrong for the narrow types, so the 11 bits that a double cannot hold are
 * folded into one sticky bit first; only f64 itself takes the plain conversion. */
static double sticky_double(int64_t value) {
  uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  if (magnitude >> 53 != 0)
    magnitude = (magnitude & ~(uint64_t)0x7ff) | (uint64_t)((magnitude & 0x7ff) != 0) << 11;
  return value < 0 ? -(double)magnitude : (double)magnitude;
}

void tsr_element_store_i64(tsr_dtype dtype, void *data, int64_t index, int64_t value) {
  switch (tsr_dtype_class_of(dtype)) {
  case TSR_CLASS_FLOAT:
    tsr_element_store_f64(dtype, data, index,
                          dtype == TSR_F64 ? (double)value : sticky_double(value));
    break;
  case TSR_CLASS_BOOL:
    tsr_element_store_bits(dtype, data, index, value != 0);
    break;
  case TSR_CLASS_INT:
  case TSR_CLASS_UINT:
    tsr_element_store_bits(dtype, data, index, (uint64_t)value);
    break;
  case TSR_CLASS_NONE:
  default:
    break;
  }
}

void tsr_elements_load_f64(tsr_dtype dtype, const void *data, int64_t first, int64_t count,
                           double *out_values) {
  for (int64_t i = 0; i < count; i++)
    out_values[i] = tsr_element_load_f64(dtype, data, first + i);
}

void tsr_elements_store_f64(tsr_dtype dtype, void *data, int64_t first, int64_t count,
                            const double *values) {
  for (int64_t i = 0; i < count; i++)
    tsr_element_store_f64(dtype, data, first + i, values[i]);
}

void tsr_elements_load_i64(tsr_dtype dtype, const void *data, int64_t first, int64_t count,
                           int64_t *out_values) {
  for (int64_t i = 0; i < count; i++)
    out_values[i] = tsr_element_load_i64(dtype, data, first + i);
}

void tsr_elements_store_i64(tsr_dtype dtype, void *data, int64_t first, int64_t count,
                            const int64_t *values) {
  for (int64_t i = 0; i < count; i++)
    tsr_element_store_i64(dtype, data, first + i, values[i]);
}
