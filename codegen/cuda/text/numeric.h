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
