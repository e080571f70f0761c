/* c[m][n] = sum over k of a[m][k] b[n][k] in f16: 128 x 128 per block. A producer warpgroup keeps
 * STAGES stages of 64 k filled by TMA (128-byte swizzle); two consumer warpgroups multiply 64 rows
 * each with wgmma and hand stages back. full[s] counts the bytes, empty[s] one arrival per consumer
 * warp. */
#define STAGES 3
#define OPERAND_BYTES 16384
#define STAGE_BYTES (2 * OPERAND_BYTES)

TSR_WGMMA_F16(128, k, k)

TSR_DEVICE tsr_u64 *full_barrier(int stage) {
  return (tsr_u64 *)(tsr_shared + STAGES * STAGE_BYTES) + stage;
}

TSR_DEVICE tsr_u64 *empty_barrier(int stage) {
  return (tsr_u64 *)(tsr_shared + STAGES * STAGE_BYTES) + STAGES + stage;
}

TSR_DEVICE void produce(const tsr_tensor_map *a, const tsr_tensor_map *b, int m0, int n0,
                        int steps) {
  for (int step = 0; step < steps; ++step) {
    int stage = step % STAGES, turn = step / STAGES;
    tsr_u8 *to = tsr_shared + stage * STAGE_BYTES;
    if (turn > 0)
      tsr_mbarrier_wait(empty_barrier(stage), (turn - 1) & 1);
    tsr_mbarrier_arrive_expect(full_barrier(stage), STAGE_BYTES);
    tsr_tma_load_2d(to, a, full_barrier(stage), step * 64, m0);
    tsr_tma_load_2d(to + OPERAND_BYTES, b, full_barrier(stage), step * 64, n0);
  }
}

TSR_DEVICE void consume(float *acc, int rows, int steps) {
  for (int step = 0; step < steps; ++step) {
    int stage = step % STAGES;
    tsr_mbarrier_wait(full_barrier(stage), step / STAGES & 1);
    const tsr_u8 *from = tsr_shared + stage * STAGE_BYTES;
    tsr_u64 a = tsr_wgmma_descriptor(from + rows * 128, 16, 1024, TSR_SWIZZLE_128);
    tsr_u64 b = tsr_wgmma_descriptor(from + OPERAND_BYTES, 16, 1024, TSR_SWIZZLE_128);
    tsr_wgmma_fence();
    TSR_UNROLL for (int kk = 0; kk < 4; ++kk)
      tsr_wgmma_f16_64x128_kk(acc, tsr_wgmma_descriptor_advance(a, kk * 32),
                              tsr_wgmma_descriptor_advance(b, kk * 32), 1);
    tsr_wgmma_commit();
    tsr_wgmma_wait(0);
    tsr_wgmma_hold_f32(acc, 64);
    if (tsr_lane() == 0)
      tsr_mbarrier_arrive(empty_barrier(stage));
  }
}

TSR_KERNEL(384) gemm(TSR_TENSOR_MAP a, TSR_TENSOR_MAP b, float *c, long long m, long long n,
                     long long k) {
  tsr_s64 across = (n + 127) / 128;
  int m0 = (int)(tsr_block() / across * 128), n0 = (int)(tsr_block() % across * 128);
  int steps = (int)((k + 63) / 64), group = tsr_thread() / 128;
  if (tsr_thread() == 0) {
    for (int i = 0; i < STAGES; ++i) {
      tsr_mbarrier_init(full_barrier(i), 1);
      tsr_mbarrier_init(empty_barrier(i), 8);
    }
    tsr_fence_mbarrier_init();
  }
  tsr_barrier();
  if (group == 0) {
    tsr_set_max_registers_dec(40);
    if (tsr_thread() == 0)
      produce(&a, &b, m0, n0, steps);
  } else {
    tsr_set_max_registers_inc(232);
    float acc[64];
    TSR_UNROLL for (int i = 0; i < 64; ++i)
      acc[i] = 0;
    int rows = (group - 1) * 64;
    consume(acc, rows, steps);
    tsr_s64 y = m0 + rows + tsr_warp() % 4 * 16 + tsr_lane() / 4;
    tsr_s64 x = n0 + tsr_lane() % 4 * 2;
    TSR_UNROLL for (int i = 0; i < 64; ++i) {
      tsr_s64 row = y + i / 2 % 2 * 8, column = x + i / 4 * 8 + i % 2;
      if (row < m && column < n)
        c[row * n + column] = acc[i];
    }
  }
}
