/* Conversions, integer arithmetic and the short float functions, for kernels and for the host. */
#ifndef TSR_NUMERIC_H
#define TSR_NUMERIC_H

#ifdef __CUDACC__
#define TSR_BUILTIN(name) name
#else
#define TSR_BUILTIN(name) __builtin_##name
#endif

TSR_DEVICE double tsr_bits_to_f64(tsr_u64 bits) {
  union {
    tsr_u64 u;
    double f;
  } pun;
  pun.u = bits;
  return pun.f;
}
TSR_DEVICE tsr_u64 tsr_f64_to_bits(double value) {
  union {
    tsr_u64 u;
    double f;
  } pun;
  pun.f = value;
  return pun.u;
}

/* --- floats --- */

#define TSR_FLOAT_FUNCTIONS(type, name, end, integer)                                              \
  TSR_DEVICE type tsr_fma_##name(type a, type b, type c) {                                         \
    return TSR_BUILTIN(fma##end)(a, b, c);                                                         \
  }                                                                                                \
  TSR_DEVICE type tsr_abs_##name(type x) {                                                         \
    return TSR_BUILTIN(fabs##end)(x);                                                              \
  }                                                                                                \
  TSR_DEVICE type tsr_copysign_##name(type x, type sign) {                                         \
    return TSR_BUILTIN(copysign##end)(x, sign);                                                    \
  }                                                                                                \
  TSR_DEVICE type tsr_floor_##name(type x) {                                                       \
    return TSR_BUILTIN(floor##end)(x);                                                             \
  }                                                                                                \
  TSR_DEVICE type tsr_ceil_##name(type x) {                                                        \
    return TSR_BUILTIN(ceil##end)(x);                                                              \
  }                                                                                                \
  TSR_DEVICE type tsr_trunc_##name(type x) {                                                       \
    return TSR_BUILTIN(trunc##end)(x);                                                             \
  }                                                                                                \
  TSR_DEVICE type tsr_round_##name(type x) {                                                       \
    return TSR_BUILTIN(rint##end)(x);                                                              \
  }                                                                                                \
  TSR_DEVICE type tsr_sqrt_##name(type x) {                                                        \
    return TSR_BUILTIN(sqrt##end)(x);                                                              \
  }                                                                                                \
  TSR_DEVICE type tsr_rsqrt_##name(type x) {                                                       \
    return (type)1 / TSR_BUILTIN(sqrt##end)(x);                                                    \
  }                                                                                                \
  /* NaN and both zeros are their own sign. */                                                     \
  TSR_DEVICE type tsr_sign_##name(type x) {                                                        \
    return x < 0 || x > 0 ? TSR_BUILTIN(copysign##end)((type)1, x) : x;                            \
  }                                                                                                \
  /* NaN wins. */                                                                                  \
  TSR_DEVICE type tsr_min_##name(type a, type b) {                                                 \
    return a != a || a < b ? a : b;                                                                \
  }                                                                                                \
  TSR_DEVICE type tsr_max_##name(type a, type b) {                                                 \
    return a != a || a > b ? a : b;                                                                \
  }                                                                                                \
  /* Truncation; what does not fit becomes the nearest integer of `bits` bits, NaN 0. */           \
  TSR_DEVICE tsr_s64 tsr_##name##_to_signed(type x, int bits) {                                    \
    const type end_value = (type)((tsr_u64)1 << (bits - 1));                                       \
    const tsr_s64 most = (tsr_s64)(((tsr_u64)1 << (bits - 1)) - 1);                                \
    if (x != x)                                                                                    \
      return 0;                                                                                    \
    if (x >= end_value)                                                                            \
      return most;                                                                                 \
    return x < -end_value ? -most - 1 : (tsr_s64)x;                                                \
  }                                                                                                \
  TSR_DEVICE tsr_u64 tsr_##name##_to_unsigned(type x, int bits) {                                  \
    const type end_value = (type)((tsr_u64)1 << (bits - 1)) * 2;                                   \
    if (!(x > 0))                                                                                  \
      return 0;                                                                                    \
    return x >= end_value ? (tsr_u64)-1 >> (64 - bits) : (tsr_u64)x;                               \
  }
TSR_FLOAT_FUNCTIONS(float, f32, f, tsr_u32)
TSR_FLOAT_FUNCTIONS(double, f64, , tsr_u64)

TSR_DEVICE float tsr_round_f16(float x) {
  return tsr_f16_to_f32(tsr_f32_to_f16(x));
}
TSR_DEVICE float tsr_round_bf16(float x) {
  return tsr_bf16_to_f32(tsr_f32_to_bf16(x));
}
TSR_DEVICE float tsr_round_e4m3(float x) {
  return tsr_e4m3_to_f32(tsr_f32_to_e4m3(x));
}
TSR_DEVICE float tsr_round_e5m2(float x) {
  return tsr_e5m2_to_f32(tsr_f32_to_e5m2(x));
}

/* float8 types in general. To nearest even; codes are without sign; what is above `largest` becomes
 * `beyond`, infinity or NaN. `unsigned_zero`: NaN alone has the code of minus zero. */
TSR_DEVICE tsr_u8 tsr_float8_code(float x, int mantissa, int bias, tsr_u32 largest, tsr_u32 beyond,
                                  tsr_u32 nan, int unsigned_zero) {
  const tsr_u32 bits = tsr_f32_to_bits(x), a = bits & 0x7fffffffu;
  const int shift = 23 - mantissa;
  const tsr_u32 adder = (tsr_u32)(151 - bias - mantissa) << 23;
  tsr_u32 sign = bits >> 24 & 0x80u, code;
  if (a < (tsr_u32)(128 - bias) << 23)
    code = tsr_f32_to_bits(tsr_bits_to_f32(a) + tsr_bits_to_f32(adder)) - adder;
  else
    code =
        (a - ((tsr_u32)(127 - bias) << 23) + (1u << (shift - 1)) - 1 + (a >> shift & 1u)) >> shift;
  if (code > largest)
    code = beyond;
  if (a > 0x7f800000u)
    code = nan;
  if (unsigned_zero && (code == 0 || code == nan))
    sign = 0;
  return (tsr_u8)(sign | code);
}
/* Of a type with unsigned zero. Exponent and fraction shifted into place are a power of two below
 * the value, which one exact multiplication undoes, subnormals too. */
TSR_DEVICE float tsr_float8_value(tsr_u8 bits, int mantissa, int bias) {
  const float scale = tsr_bits_to_f32((tsr_u32)(254 - bias) << 23);
  const float value = tsr_bits_to_f32((bits & 0x7fu) << (23 - mantissa)) * scale;
  return bits == 0x80u ? tsr_bits_to_f32(0x7fc00000u) : bits & 0x80u ? -value : value;
}
TSR_DEVICE float tsr_clamp_f32(float x, float largest) {
  return x > largest ? largest : x < -largest ? -largest : x;
}

/* `special`: to infinity or NaN where `round` saturates. */
#define TSR_FLOAT8(name, mantissa, bias, largest, beyond, nan, unsigned_zero)                      \
  TSR_DEVICE tsr_u8 tsr_f32_to_##name##_special(float x) {                                         \
    return tsr_float8_code(x, mantissa, bias, largest, beyond, nan, unsigned_zero);                \
  }                                                                                                \
  TSR_DEVICE float tsr_round_##name##_special(float x) {                                           \
    return tsr_##name##_to_f32(tsr_f32_to_##name##_special(x));                                    \
  }
#define TSR_FLOAT8_UZ(name, mantissa, bias)                                                        \
  TSR_DEVICE float tsr_##name##_to_f32(tsr_u8 bits) {                                              \
    return tsr_float8_value(bits, mantissa, bias);                                                 \
  }                                                                                                \
  TSR_FLOAT8(name, mantissa, bias, 0x7fu, 0x80u, 0x80u, 1)                                         \
  TSR_DEVICE float tsr_round_##name(float x) {                                                     \
    return tsr_round_##name##_special(tsr_clamp_f32(x, tsr_##name##_to_f32(0x7fu)));               \
  }
TSR_FLOAT8(e4m3, 3, 7, 0x7eu, 0x7fu, 0x7fu, 0)
TSR_FLOAT8(e5m2, 2, 15, 0x7bu, 0x7cu, 0x7eu, 0)
TSR_FLOAT8_UZ(e4m3uz, 3, 8)
TSR_FLOAT8_UZ(e5m2uz, 2, 16)

/* An exponent alone, of the magnitude, ties up; 2^-127 is a subnormal float. */
TSR_DEVICE float tsr_e8m0_to_f32(tsr_u8 bits) {
  const tsr_u32 code = bits;
  return tsr_bits_to_f32(code == 0 ? 0x00400000u : code == 0xffu ? 0x7fc00000u : code << 23);
}
TSR_DEVICE tsr_u8 tsr_f32_to_e8m0_special(float x) {
  const tsr_u32 a = tsr_f32_to_bits(x) & 0x7fffffffu;
  if (a >= 0x7f800000u)
    return 0xffu;
  return (tsr_u8)(a < 0x00800000u ? a >= 0x00600000u : (a + 0x00400000u) >> 23);
}
TSR_DEVICE float tsr_round_e8m0_special(float x) {
  return tsr_e8m0_to_f32(tsr_f32_to_e8m0_special(x));
}
TSR_DEVICE float tsr_round_e8m0(float x) {
  const float a = tsr_abs_f32(x), largest = tsr_bits_to_f32(0x7f000000u);
  return tsr_round_e8m0_special(a > largest && tsr_f32_to_bits(a) < 0x7f800000u ? largest : a);
}

/* Towards zero, and inexact results get their last bit, so that a later rounding to f16 or bf16 is
 * as if it were the only one. */
TSR_DEVICE float tsr_f64_to_f32_odd(double x) {
  const float near = (float)x;
  const double back = (double)near;
  tsr_u32 bits = tsr_f32_to_bits(near);
  if (x != x || x == back)
    return near;
  if (tsr_abs_f64(x) < tsr_abs_f64(back))
    bits -= 1;
  return tsr_bits_to_f32(bits | 1u);
}
/* From 2^53 up the low 11 bits become one above them: the double is exact then. */
TSR_DEVICE float tsr_u64_to_f32_odd(tsr_u64 x) {
  if (x >> 53)
    x = (x & ~(tsr_u64)0x7ff) | (x & 0x7ff ? 0x800 : 0);
  return tsr_f64_to_f32_odd((double)x);
}
TSR_DEVICE float tsr_s64_to_f32_odd(tsr_s64 x) {
  const tsr_u64 magnitude = x < 0 ? 0 - (tsr_u64)x : (tsr_u64)x;
  const float value = tsr_u64_to_f32_odd(magnitude);
  return x < 0 ? -value : value;
}

/* --- integers --- */

/* A divisor of 0 gives 0, the least integer by -1 wraps. */
#define TSR_SIGNED_DIVISION(type, name)                                                            \
  TSR_DEVICE type tsr_div_##name(type a, type b) {                                                 \
    return b == 0 ? 0 : b == -1 ? (type)(0 - (tsr_u64)a) : (type)(a / b);                          \
  }                                                                                                \
  TSR_DEVICE type tsr_rem_##name(type a, type b) {                                                 \
    return b == 0 || b == -1 ? 0 : (type)(a % b);                                                  \
  }                                                                                                \
  /* The divisor's sign. */                                                                        \
  TSR_DEVICE type tsr_mod_##name(type a, type b) {                                                 \
    const type r = tsr_rem_##name(a, b);                                                           \
    return r != 0 && (r < 0) != (b < 0) ? (type)(r + b) : r;                                       \
  }
TSR_SIGNED_DIVISION(int, s32)
TSR_SIGNED_DIVISION(tsr_s64, s64)

#define TSR_UNSIGNED_DIVISION(type, name)                                                          \
  TSR_DEVICE type tsr_div_##name(type a, type b) {                                                 \
    return b == 0 ? 0 : a / b;                                                                     \
  }                                                                                                \
  TSR_DEVICE type tsr_rem_##name(type a, type b) {                                                 \
    return b == 0 ? 0 : a % b;                                                                     \
  }                                                                                                \
  TSR_DEVICE type tsr_mod_##name(type a, type b) {                                                 \
    return b == 0 ? 0 : a % b;                                                                     \
  }
TSR_UNSIGNED_DIVISION(tsr_u32, u32)
TSR_UNSIGNED_DIVISION(tsr_u64, u64)

/* Word i of lane j of every four lanes becomes word j of lane i. */
TSR_DEVICE tsr_u32x4 tsr_quad_transpose(tsr_u32x4 w, int lane) {
  TSR_UNROLL
  for (int bit = 1; bit < 4; bit *= 2) {
    const int upper = (lane & bit) != 0;
    TSR_UNROLL
    for (int i = 0; i < 2; ++i) {
      const int a = bit == 1 ? 2 * i : i, b = a + bit;
      const tsr_u32 given = upper ? w.x[a] : w.x[b];
      const tsr_u32 taken = (tsr_u32)tsr_warp_shuffle_xor_i32((int)given, bit);
      w.x[a] = upper ? taken : w.x[a];
      w.x[b] = upper ? w.x[b] : taken;
    }
  }
  return w;
}

#define TSR_INDEX_FUNCTIONS(type, name)                                                            \
  TSR_DEVICE type tsr_floor_div_##name(type a, type b) {                                           \
    const type q = tsr_div_##name(a, b), r = tsr_rem_##name(a, b);                                 \
    return r != 0 && (r < 0) != (b < 0) ? q - 1 : q;                                               \
  }                                                                                                \
  TSR_DEVICE type tsr_ceil_div_##name(type a, type b) {                                            \
    return -tsr_floor_div_##name(-a, b);                                                           \
  }                                                                                                \
  TSR_DEVICE type tsr_min_##name(type a, type b) {                                                 \
    return a < b ? a : b;                                                                          \
  }                                                                                                \
  TSR_DEVICE type tsr_max_##name(type a, type b) {                                                 \
    return a > b ? a : b;                                                                          \
  }
TSR_INDEX_FUNCTIONS(int, s32)
TSR_INDEX_FUNCTIONS(tsr_s64, s64)

TSR_DEVICE tsr_u64 tsr_pow_u64(tsr_u64 base, tsr_u64 exponent) {
  tsr_u64 power = 1;
  for (; exponent > 0; exponent >>= 1) {
    if (exponent & 1)
      power *= base;
    base *= base;
  }
  return power;
}
/* A negative exponent leaves 1, -1 or 0. */
TSR_DEVICE tsr_s64 tsr_pow_s64(tsr_s64 base, tsr_s64 exponent) {
  if (exponent >= 0)
    return (tsr_s64)tsr_pow_u64((tsr_u64)base, (tsr_u64)exponent);
  return base == 1 ? 1 : base == -1 ? (exponent & 1 ? -1 : 1) : 0;
}

/* --- between threads of a warp --- */

TSR_DEVICE tsr_u64 tsr_warp_shuffle_xor_u64(tsr_u64 value, int lane_mask) {
  const tsr_u32 low = (tsr_u32)tsr_warp_shuffle_xor_i32((int)(tsr_u32)value, lane_mask);
  const tsr_u32 high = (tsr_u32)tsr_warp_shuffle_xor_i32((int)(tsr_u32)(value >> 32), lane_mask);
  return (tsr_u64)high << 32 | low;
}
TSR_DEVICE double tsr_warp_shuffle_xor_f64(double value, int lane_mask) {
  return tsr_bits_to_f64(tsr_warp_shuffle_xor_u64(tsr_f64_to_bits(value), lane_mask));
}
#endif
