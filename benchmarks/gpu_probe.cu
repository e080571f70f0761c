/* Ceilings of a device: matrix instructions on registers, as many at once as fill their pipelines. A block of `loops` turns
 * does threads / 32 * loops * 8 instructions (mma_*, 8 independent accumulators per warp), or threads * loops * 64 multiply-adds
 * (fma_f32). Operands are bits without order that are finite numbers in every type: zeros would be multiplied faster. The sums
 * are there so that nothing can be left out; one that is 1 is stored. */
TSR_DEVICE tsr_u32 noise(tsr_u32 n) {
  n = (n ^ n >> 15) * 0x2c1b3c6du;
  n = (n ^ n >> 12) * 0x297a2d39u;
  return (n ^ n >> 15) & 0xbbbbbbbbu;
}

#define MMA_PROBE(type, call)                                                                      \
  {                                                                                                \
    type acc[8][4];                                                                                \
    tsr_u32 t = (tsr_u32)tsr_thread() * 8, b[2] = {noise(t), noise(t + 1)};                        \
    tsr_u32 a[4] = {noise(t + 2), noise(t + 3), noise(t + 4), noise(t + 5)};                       \
    TSR_UNROLL for (int i = 0; i < 8; ++i) TSR_UNROLL for (int j = 0; j < 4; ++j) acc[i][j] = 2;   \
    for (int turn = 0; turn < loops; ++turn)                                                       \
      TSR_UNROLL for (int i = 0; i < 8; ++i) call(acc[i], a, b);                                   \
    type sum = 0;                                                                                  \
    TSR_UNROLL for (int i = 0; i < 8; ++i) TSR_UNROLL for (int j = 0; j < 4; ++j) sum +=           \
        acc[i][j];                                                                                 \
    if (sum == 1)                                                                                  \
      out[tsr_thread()] = (float)sum;                                                              \
  }
TSR_KERNEL(256) mma_f16(float *out, int loops)
MMA_PROBE(float, tsr_mma_f16_16x8x16)
TSR_KERNEL(256) mma_bf16(float *out, int loops)
MMA_PROBE(float, tsr_mma_bf16_16x8x16)
TSR_KERNEL(256) mma_tf32(float *out, int loops)
MMA_PROBE(float, tsr_mma_tf32_16x8x8)
TSR_KERNEL(256) mma_s8(float *out, int loops)
MMA_PROBE(int, tsr_mma_s8_16x8x32)

TSR_KERNEL(256) fma_f32(float *out, int loops) {
  float acc[64], x = (float)tsr_threads() * 0.001f;
  TSR_UNROLL for (int i = 0; i < 64; ++i)
    acc[i] = (float)i;
  for (int turn = 0; turn < loops; ++turn)
    TSR_UNROLL for (int i = 0; i < 64; ++i)
      acc[i] = fmaf(acc[i], x, 0.5f);
  float sum = 0;
  TSR_UNROLL for (int i = 0; i < 64; ++i)
    sum += acc[i];
  if (sum == 1)
    out[tsr_thread()] = sum;
}
