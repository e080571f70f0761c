/* wgmma: c = a b for one 64 x n tile, both operands with contiguous k: 128 bytes of it, put into shared
 * memory with plain stores in the layout that the width (bytes of a swizzled row; 16: none) says,
 * WIDTH bytes of k per slab, slabs one behind the other. A kernel is called TYPE_N_WIDTH. */
TSR_WGMMA_F16(8, k, k)
TSR_WGMMA_F16(32, k, k)
TSR_WGMMA_F16(64, k, k)
TSR_WGMMA_F16(128, k, k)
TSR_WGMMA_F16(192, k, k)
TSR_WGMMA_F16(256, k, k)
TSR_WGMMA_BF16(256, k, k)
TSR_WGMMA_BF16(32, k, k)
TSR_WGMMA_TF32(32)
TSR_WGMMA_TF32(256)
TSR_WGMMA_S8(32)
TSR_WGMMA_S8(256)
TSR_WGMMA_E4M3(32)
TSR_WGMMA_E4M3(256)
TSR_WGMMA_E5M2(32)
TSR_WGMMA_E5M2(256)

#define SWIZZLE_16  TSR_SWIZZLE_NONE
#define SWIZZLE_32  TSR_SWIZZLE_32
#define SWIZZLE_64  TSR_SWIZZLE_64
#define SWIZZLE_128 TSR_SWIZZLE_128
#define PLACE_16(offset)  (offset)
#define PLACE_32(offset)  tsr_swizzle_32(offset)
#define PLACE_64(offset)  tsr_swizzle_64(offset)
#define PLACE_128(offset) tsr_swizzle_128(offset)

#define PUT(to, from, rows, width)                                                                 \
  for (int i = tsr_thread(); i < (rows) * 8; i += 128) {                                           \
    tsr_u32 row = (tsr_u32)i / 8, byte = (tsr_u32)i % 8 * 16;                                      \
    tsr_u32 slab = byte / width * (tsr_u32)(rows) * width;                                         \
    tsr_store_shared_16((to) + slab + PLACE_##width(row * width + byte % width),                   \
                        tsr_load_global_16((from) + i * 16));                                      \
  }

/* The operand's 32 bytes of k from byte `k` on. */
#define OPERAND(from, rows, width, k)                                                              \
  tsr_wgmma_descriptor((from) + (k) / width * (rows) * width + (k) % width,                        \
                       (tsr_u32)((rows) * width), 8 * width, SWIZZLE_##width)

/* The accumulators' layout is that of device_wgmma.h. */
#define GIVE_BACK(d, c, n)                                                                         \
  TSR_UNROLL for (int i = 0; i < (n) / 2; ++i)                                                     \
    c[(tsr_warp() * 16 + tsr_lane() / 4 + i / 2 % 2 * 8) * (n) + i / 4 * 8 + tsr_lane() % 4 * 2 +  \
      i % 2] = d[i];

#define TILE(name, element, hold, n, width)                                                        \
  {                                                                                                \
    element d[(n) / 2];                                                                            \
    PUT(tsr_shared, a, 64, width)                                                                  \
    PUT(tsr_shared + 8192, b, n, width)                                                            \
    tsr_fence_proxy_async();                                                                       \
    tsr_barrier();                                                                                 \
    TSR_UNROLL for (int i = 0; i < (n) / 2; ++i)                                                   \
      d[i] = 0;                                                                                    \
    tsr_wgmma_fence();                                                                             \
    TSR_UNROLL for (int step = 0; step < 4; ++step)                                                \
      tsr_wgmma_##name##_64x##n##_kk(d, OPERAND(tsr_shared, 64, width, step * 32),                 \
                                     OPERAND(tsr_shared + 8192, n, width, step * 32), step > 0);   \
    tsr_wgmma_commit();                                                                            \
    tsr_wgmma_wait(0);                                                                             \
    hold(d, (n) / 2);                                                                              \
    GIVE_BACK(d, c, n)                                                                             \
  }

TSR_KERNEL(128) f16_32_16(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(f16, float, tsr_wgmma_hold_f32, 32, 16)
TSR_KERNEL(128) f16_32_32(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(f16, float, tsr_wgmma_hold_f32, 32, 32)
TSR_KERNEL(128) f16_32_64(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(f16, float, tsr_wgmma_hold_f32, 32, 64)
TSR_KERNEL(128) f16_32_128(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(f16, float, tsr_wgmma_hold_f32, 32, 128)
TSR_KERNEL(128) f16_256_128(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(f16, float, tsr_wgmma_hold_f32, 256, 128)
TSR_KERNEL(128) bf16_32_16(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(bf16, float, tsr_wgmma_hold_f32, 32, 16)
TSR_KERNEL(128) bf16_32_32(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(bf16, float, tsr_wgmma_hold_f32, 32, 32)
TSR_KERNEL(128) bf16_32_64(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(bf16, float, tsr_wgmma_hold_f32, 32, 64)
TSR_KERNEL(128) bf16_32_128(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(bf16, float, tsr_wgmma_hold_f32, 32, 128)
TSR_KERNEL(128) bf16_256_128(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(bf16, float, tsr_wgmma_hold_f32, 256, 128)
TSR_KERNEL(128) tf32_32_16(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(tf32, float, tsr_wgmma_hold_f32, 32, 16)
TSR_KERNEL(128) tf32_32_32(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(tf32, float, tsr_wgmma_hold_f32, 32, 32)
TSR_KERNEL(128) tf32_32_64(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(tf32, float, tsr_wgmma_hold_f32, 32, 64)
TSR_KERNEL(128) tf32_32_128(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(tf32, float, tsr_wgmma_hold_f32, 32, 128)
TSR_KERNEL(128) tf32_256_128(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(tf32, float, tsr_wgmma_hold_f32, 256, 128)
TSR_KERNEL(128) s8_32_16(const tsr_u8 *a, const tsr_u8 *b, int *c)
TILE(s8, int, tsr_wgmma_hold_s32, 32, 16)
TSR_KERNEL(128) s8_32_32(const tsr_u8 *a, const tsr_u8 *b, int *c)
TILE(s8, int, tsr_wgmma_hold_s32, 32, 32)
TSR_KERNEL(128) s8_32_64(const tsr_u8 *a, const tsr_u8 *b, int *c)
TILE(s8, int, tsr_wgmma_hold_s32, 32, 64)
TSR_KERNEL(128) s8_32_128(const tsr_u8 *a, const tsr_u8 *b, int *c)
TILE(s8, int, tsr_wgmma_hold_s32, 32, 128)
TSR_KERNEL(128) s8_256_128(const tsr_u8 *a, const tsr_u8 *b, int *c)
TILE(s8, int, tsr_wgmma_hold_s32, 256, 128)
TSR_KERNEL(128) e4m3_32_16(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(e4m3, float, tsr_wgmma_hold_f32, 32, 16)
TSR_KERNEL(128) e4m3_32_32(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(e4m3, float, tsr_wgmma_hold_f32, 32, 32)
TSR_KERNEL(128) e4m3_32_64(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(e4m3, float, tsr_wgmma_hold_f32, 32, 64)
TSR_KERNEL(128) e4m3_32_128(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(e4m3, float, tsr_wgmma_hold_f32, 32, 128)
TSR_KERNEL(128) e4m3_256_128(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(e4m3, float, tsr_wgmma_hold_f32, 256, 128)
TSR_KERNEL(128) e5m2_32_16(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(e5m2, float, tsr_wgmma_hold_f32, 32, 16)
TSR_KERNEL(128) e5m2_32_32(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(e5m2, float, tsr_wgmma_hold_f32, 32, 32)
TSR_KERNEL(128) e5m2_32_64(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(e5m2, float, tsr_wgmma_hold_f32, 32, 64)
TSR_KERNEL(128) e5m2_32_128(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(e5m2, float, tsr_wgmma_hold_f32, 32, 128)
TSR_KERNEL(128) e5m2_256_128(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(e5m2, float, tsr_wgmma_hold_f32, 256, 128)
TSR_KERNEL(128) f16_8_128(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(f16, float, tsr_wgmma_hold_f32, 8, 128)
TSR_KERNEL(128) f16_64_128(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(f16, float, tsr_wgmma_hold_f32, 64, 128)
TSR_KERNEL(128) f16_128_128(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(f16, float, tsr_wgmma_hold_f32, 128, 128)
TSR_KERNEL(128) f16_192_128(const tsr_u8 *a, const tsr_u8 *b, float *c)
TILE(f16, float, tsr_wgmma_hold_f32, 192, 128)

/* The other layouts of 16-bit operands, for 64 x 64 x 16: a and b are [k][m] and [k][n] in the
 * 128-byte swizzle where they are "m", rows of 32 bytes of k without swizzle where they are "k", and
 * a in registers where it is "r". A kernel is called TYPE_AB. */
TSR_WGMMA_F16(64, k, m)
TSR_WGMMA_F16(64, m, k)
TSR_WGMMA_F16(64, m, m)
TSR_WGMMA_F16(64, r, k)
TSR_WGMMA_F16(64, r, m)
TSR_WGMMA_BF16(64, k, m)
TSR_WGMMA_BF16(64, m, k)
TSR_WGMMA_BF16(64, m, m)
TSR_WGMMA_BF16(64, r, k)
TSR_WGMMA_BF16(64, r, m)

TSR_DEVICE void put_m(tsr_u8 *to, const tsr_u16 *from) {
  int row = tsr_thread() / 8, chunk = tsr_thread() % 8;
  tsr_store_shared_16(to + tsr_swizzle_128((tsr_u32)(row * 128 + chunk * 16)),
                      tsr_load_global_16(from + row * 64 + chunk * 8));
}
/* [64][16] as two columns of eight cores of 8 x 16 bytes. */
TSR_DEVICE void put_k(tsr_u8 *to, const tsr_u16 *from) {
  int row = tsr_thread() / 2, half = tsr_thread() % 2;
  tsr_store_shared_16(to + half * 1024 + row * 16, tsr_load_global_16(from + row * 16 + half * 8));
}
TSR_DEVICE void put_r(tsr_u8 *to, const tsr_u16 *from) {
}
TSR_DEVICE tsr_u64 operand_m(const tsr_u8 *from) {
  return tsr_wgmma_descriptor(from, 2048, 1024, TSR_SWIZZLE_128);
}
TSR_DEVICE tsr_u64 operand_k(const tsr_u8 *from) {
  return tsr_wgmma_descriptor(from, 1024, 128, TSR_SWIZZLE_NONE);
}
TSR_DEVICE void fragment(tsr_u32 *r, const tsr_u16 *a) {
  const tsr_u16 *at = a + (tsr_warp() * 16 + tsr_lane() / 4) * 16 + tsr_lane() % 4 * 2;
  TSR_UNROLL for (int i = 0; i < 4; ++i) {
    const tsr_u16 *pair = at + i % 2 * 128 + i / 2 * 8;
    r[i] = pair[0] | (tsr_u32)pair[1] << 16;
  }
}
#define A_k(a) operand_k(tsr_shared)
#define A_m(a) operand_m(tsr_shared)
#define A_r(a) r

#define LAYOUT(name, am, bm)                                                                       \
  {                                                                                                \
    float d[32];                                                                                   \
    tsr_u32 r[4];                                                                                  \
    put_##am(tsr_shared, a);                                                                       \
    put_##bm(tsr_shared + 2048, b);                                                                \
    fragment(r, a);                                                                                \
    tsr_fence_proxy_async();                                                                       \
    tsr_barrier();                                                                                 \
    TSR_UNROLL for (int i = 0; i < 32; ++i)                                                        \
      d[i] = 0;                                                                                    \
    tsr_wgmma_fence();                                                                             \
    tsr_wgmma_##name##_64x64_##am##bm(d, A_##am(a), operand_##bm(tsr_shared + 2048), 0);           \
    tsr_wgmma_commit();                                                                            \
    tsr_wgmma_wait(0);                                                                             \
    tsr_wgmma_hold_f32(d, 32);                                                                     \
    GIVE_BACK(d, c, 64)                                                                            \
  }
TSR_KERNEL(128) f16_km(const tsr_u16 *a, const tsr_u16 *b, float *c)
LAYOUT(f16, k, m)
TSR_KERNEL(128) f16_mk(const tsr_u16 *a, const tsr_u16 *b, float *c)
LAYOUT(f16, m, k)
TSR_KERNEL(128) f16_mm(const tsr_u16 *a, const tsr_u16 *b, float *c)
LAYOUT(f16, m, m)
TSR_KERNEL(128) f16_rk(const tsr_u16 *a, const tsr_u16 *b, float *c)
LAYOUT(f16, r, k)
TSR_KERNEL(128) f16_rm(const tsr_u16 *a, const tsr_u16 *b, float *c)
LAYOUT(f16, r, m)
TSR_KERNEL(128) bf16_km(const tsr_u16 *a, const tsr_u16 *b, float *c)
LAYOUT(bf16, k, m)
TSR_KERNEL(128) bf16_mk(const tsr_u16 *a, const tsr_u16 *b, float *c)
LAYOUT(bf16, m, k)
TSR_KERNEL(128) bf16_mm(const tsr_u16 *a, const tsr_u16 *b, float *c)
LAYOUT(bf16, m, m)
TSR_KERNEL(128) bf16_rk(const tsr_u16 *a, const tsr_u16 *b, float *c)
LAYOUT(bf16, r, k)
TSR_KERNEL(128) bf16_rm(const tsr_u16 *a, const tsr_u16 *b, float *c)
LAYOUT(bf16, r, m)

/* The second of two groups is under way while the first one's result is read. */
TSR_KERNEL(128) groups(const tsr_u16 *a, const tsr_u16 *b, float *c) {
  float d[32], e[32];
  put_m(tsr_shared, a);
  put_m(tsr_shared + 2048, b);
  tsr_fence_proxy_async();
  tsr_barrier();
  TSR_UNROLL for (int i = 0; i < 32; ++i)
    d[i] = e[i] = 1;
  tsr_wgmma_hold_f32(e, 32);
  tsr_wgmma_fence();
  tsr_wgmma_f16_64x64_mm(d, operand_m(tsr_shared), operand_m(tsr_shared + 2048), 0);
  tsr_wgmma_commit();
  tsr_wgmma_fence();
  tsr_wgmma_f16_64x64_mm(e, operand_m(tsr_shared), operand_m(tsr_shared + 2048), 1);
  tsr_wgmma_commit();
  tsr_wgmma_wait(1);
  tsr_wgmma_hold_f32(d, 32);
  GIVE_BACK(d, c, 64)
  tsr_wgmma_wait(0);
  tsr_wgmma_hold_f32(e, 32);
  float *second = c + 4096;
  GIVE_BACK(e, second, 64)
}
