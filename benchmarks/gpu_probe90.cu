/* The same for wgmma: a block of one warpgroup per 128 threads; each does loops * 4 instructions of 64 x 256 on operands that
 * stay in shared memory. */
TSR_WGMMA_F16(256, k, k)
TSR_WGMMA_BF16(256, k, k)
TSR_WGMMA_TF32(256)
TSR_WGMMA_S8(256)
TSR_WGMMA_E4M3(256)

TSR_DEVICE tsr_u32 noise(tsr_u32 n) {
  n = (n ^ n >> 15) * 0x2c1b3c6du;
  n = (n ^ n >> 12) * 0x297a2d39u;
  return (n ^ n >> 15) & 0xbbbbbbbbu;
}

#define WGMMA_PROBE(type, hold, call)                                                              \
  {                                                                                                \
    type acc[128];                                                                                 \
    tsr_u8 *mine = tsr_shared + tsr_thread() / 128 * 8192;                                         \
    for (int i = tsr_thread(); i < 3 * 16384 / 4; i += 256)                                        \
      ((tsr_u32 *)tsr_shared)[i] = noise((tsr_u32)i);                                              \
    tsr_fence_proxy_async();                                                                       \
    tsr_barrier();                                                                                 \
    TSR_UNROLL for (int i = 0; i < 128; ++i) acc[i] = 0;                                           \
    tsr_u64 a = tsr_wgmma_descriptor(mine, 16, 1024, TSR_SWIZZLE_128);                             \
    tsr_u64 b = tsr_wgmma_descriptor(tsr_shared + 16384, 16, 1024, TSR_SWIZZLE_128);               \
    for (int turn = 0; turn < loops; ++turn) {                                                     \
      tsr_wgmma_fence();                                                                           \
      TSR_UNROLL for (int i = 0; i < 4; ++i)                                                       \
        call(acc, tsr_wgmma_descriptor_advance(a, (tsr_u32)i * 32),                                \
             tsr_wgmma_descriptor_advance(b, (tsr_u32)i * 32), 1);                                 \
      tsr_wgmma_commit();                                                                          \
      tsr_wgmma_wait(0);                                                                           \
      hold(acc, 128);                                                                              \
    }                                                                                              \
    type sum = 0;                                                                                  \
    TSR_UNROLL for (int i = 0; i < 128; ++i) sum += acc[i];                                        \
    if (sum == 1)                                                                                  \
      out[tsr_thread()] = (float)sum;                                                              \
  }
TSR_KERNEL(256) wgmma_f16(float *out, int loops)
WGMMA_PROBE(float, tsr_wgmma_hold_f32, tsr_wgmma_f16_64x256_kk)
TSR_KERNEL(256) wgmma_bf16(float *out, int loops)
WGMMA_PROBE(float, tsr_wgmma_hold_f32, tsr_wgmma_bf16_64x256_kk)
TSR_KERNEL(256) wgmma_tf32(float *out, int loops)
WGMMA_PROBE(float, tsr_wgmma_hold_f32, tsr_wgmma_tf32_64x256_kk)
TSR_KERNEL(256) wgmma_s8(float *out, int loops)
WGMMA_PROBE(int, tsr_wgmma_hold_s32, tsr_wgmma_s8_64x256_kk)
TSR_KERNEL(256) wgmma_e4m3(float *out, int loops)
WGMMA_PROBE(float, tsr_wgmma_hold_f32, tsr_wgmma_e4m3_64x256_kk)
