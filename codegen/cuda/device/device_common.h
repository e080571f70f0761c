/* The part of the device primitives that is plain C: it precedes device.h in every kernel text that
 * goes to NVRTC, and device_emulated.h in those that run on the host. */
#ifndef TSR_DEVICE_COMMON_H
#define TSR_DEVICE_COMMON_H

typedef unsigned char tsr_u8;
typedef unsigned short tsr_u16;
typedef unsigned int tsr_u32;
typedef unsigned long long tsr_u64;
typedef signed char tsr_s8;
typedef long long tsr_s64;

/* What vector loads and stores move. */
typedef struct tsr_u32x1 {
  tsr_u32 x[1];
} tsr_u32x1;
typedef struct tsr_u32x2 {
  tsr_u32 x[2];
} tsr_u32x2;
typedef struct tsr_u32x4 {
  tsr_u32 x[4];
} tsr_u32x4;

#ifdef __CUDACC__
#define TSR_DEVICE static __device__ __forceinline__ __attribute__((unused))
#else
#define TSR_DEVICE static inline __attribute__((unused))
#endif

TSR_DEVICE float tsr_bits_to_f32(tsr_u32 bits) {
  union {
    tsr_u32 u;
    float f;
  } pun;
  pun.u = bits;
  return pun.f;
}

TSR_DEVICE tsr_u32 tsr_f32_to_bits(float value) {
  union {
    tsr_u32 u;
    float f;
  } pun;
  pun.f = value;
  return pun.u;
}

/* bf16 is the upper half of f32: exact. */
TSR_DEVICE float tsr_bf16_to_f32(tsr_u16 bits) {
  return tsr_bits_to_f32((tsr_u32)bits << 16);
}

/* float8 for machines that have no instruction for it: round to nearest even, saturate to the
 * largest finite value (infinities too), NaN stays NaN. Below the smallest normal number the value
 * is added to the power of two whose last place is the smallest subnormal. */
TSR_DEVICE tsr_u8 tsr_f32_to_e4m3_bitwise(float value) {
  tsr_u32 bits = tsr_f32_to_bits(value);
  tsr_u32 sign = bits >> 24 & 0x80u, a = bits & 0x7fffffffu;
  if (a > 0x7f800000u)
    return (tsr_u8)(sign | 0x7fu);
  if (a < 0x3c800000u)
    return (tsr_u8)(sign | (tsr_f32_to_bits(tsr_bits_to_f32(a) + 16384.0f) - 0x46800000u));
  a = (a + 0x7ffffu + (a >> 20 & 1u)) >> 20;
  a -= 120u << 3;
  return (tsr_u8)(sign | (a > 0x7eu ? 0x7eu : a));
}

TSR_DEVICE tsr_u8 tsr_f32_to_e5m2_bitwise(float value) {
  tsr_u32 bits = tsr_f32_to_bits(value);
  tsr_u32 sign = bits >> 24 & 0x80u, a = bits & 0x7fffffffu;
  if (a > 0x7f800000u)
    return (tsr_u8)(sign | 0x7fu);
  if (a < 0x38800000u)
    return (tsr_u8)(sign | (tsr_f32_to_bits(tsr_bits_to_f32(a) + 128.0f) - 0x43000000u));
  a = (a + 0xfffffu + (a >> 21 & 1u)) >> 21;
  a -= 112u << 2;
  return (tsr_u8)(sign | (a > 0x7bu ? 0x7bu : a));
}

TSR_DEVICE float tsr_e4m3_to_f32_bitwise(tsr_u8 bits) {
  tsr_u32 exponent = bits >> 3 & 15u, fraction = bits & 7u, a;
  if ((bits & 0x7fu) == 0x7fu)
    a = 0x7fc00000u;
  else if (exponent == 0)
    a = tsr_f32_to_bits((float)fraction * 0.001953125f);
  else
    a = (exponent + 120u) << 23 | fraction << 20;
  return tsr_bits_to_f32(a | (tsr_u32)(bits & 0x80u) << 24);
}

TSR_DEVICE float tsr_e5m2_to_f32_bitwise(tsr_u8 bits) {
  tsr_u32 exponent = bits >> 2 & 31u, fraction = bits & 3u, a;
  if (exponent == 31)
    a = 0x7f800000u | fraction << 21;
  else if (exponent == 0)
    a = tsr_f32_to_bits((float)fraction * 0.0000152587890625f);
  else
    a = (exponent + 112u) << 23 | fraction << 21;
  return tsr_bits_to_f32(a | (tsr_u32)(bits & 0x80u) << 24);
}

/* Swizzles of TMA (PTX ISA, "Tensor swizzling modes") and of wgmma's descriptors: inside a pattern
 * of 8 rows, the 16-byte chunk number is xored with the row number. `offset` counts bytes from an
 * address that is a multiple of 8 * width. */
#define TSR_SWIZZLE_NONE 0
#define TSR_SWIZZLE_128  1
#define TSR_SWIZZLE_64   2
#define TSR_SWIZZLE_32   3

TSR_DEVICE tsr_u32 tsr_swizzle_128(tsr_u32 offset) {
  return offset ^ (offset >> 3 & 0x70u);
}

TSR_DEVICE tsr_u32 tsr_swizzle_64(tsr_u32 offset) {
  return offset ^ (offset >> 3 & 0x30u);
}

TSR_DEVICE tsr_u32 tsr_swizzle_32(tsr_u32 offset) {
  return offset ^ (offset >> 3 & 0x10u);
}

/* The same in rows of exactly the swizzle's width, `inside` bytes from the row's start. */
TSR_DEVICE tsr_u32 tsr_swizzle_row_128(tsr_u32 row, tsr_u32 inside) {
  return row * 128 + (inside ^ (row & 7u) << 4);
}

TSR_DEVICE tsr_u32 tsr_swizzle_row_64(tsr_u32 row, tsr_u32 inside) {
  return row * 64 + (inside ^ (row >> 1 & 3u) << 4);
}

TSR_DEVICE tsr_u32 tsr_swizzle_row_32(tsr_u32 row, tsr_u32 inside) {
  return row * 32 + (inside ^ (row >> 2 & 1u) << 4);
}

/* A wgmma operand in shared memory (PTX ISA, "Matrix descriptor"): address, leading-dimension byte
 * offset and stride-dimension byte offset without their last four bits, swizzle in bits 62-63.
 *
 *   operand          swizzle     leading_bytes                         stride_bytes
 *   K contiguous     none        between 8x16-byte cores along K       between 8-row groups
 *   K contiguous     32/64/128   not used; the advance goes along K    between 8-row groups
 *   M/N contiguous   none        between 8-wide k groups               between 16-byte columns of
 * M/N M/N contiguous   32/64/128   between swizzle-wide blocks of M/N    between 8-wide k groups
 *
 * A core is 8 rows of 16 bytes, one behind the other; a swizzled group is 8 rows of `width` bytes.
 * `shared_address` is tsr_shared_address(...) of a place aligned to 8 * width (16 without swizzle).
 */
TSR_DEVICE tsr_u64 tsr_wgmma_descriptor_at(tsr_u32 shared_address, tsr_u32 leading_bytes,
                                           tsr_u32 stride_bytes, tsr_u32 swizzle) {
  return (tsr_u64)(shared_address >> 4 & 0x3fffu) | (tsr_u64)(leading_bytes >> 4 & 0x3fffu) << 16 |
         (tsr_u64)(stride_bytes >> 4 & 0x3fffu) << 32 | (tsr_u64)(swizzle & 3u) << 62;
}

/* The same operand `bytes` (a multiple of 16) further. */
TSR_DEVICE tsr_u64 tsr_wgmma_descriptor_advance(tsr_u64 descriptor, tsr_u32 bytes) {
  return descriptor + (bytes >> 4);
}
#endif
