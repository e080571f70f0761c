/* c[64][64] = a[64][16] b[16][64] in f16, b with contiguous n (M/N-major, 128-byte swizzle), a once
 * from shared memory with contiguous m and once from registers. */
TSR_WGMMA_F16(64, m, m)
TSR_WGMMA_F16(64, r, m)

/* 16 rows of k of 64 elements. */
TSR_DEVICE void put(tsr_u8 *to, const tsr_u16 *from) {
  int row = tsr_thread() / 8, chunk = tsr_thread() % 8;
  tsr_store_shared_16(to + tsr_swizzle_128((tsr_u32)(row * 128 + chunk * 16)),
                      tsr_load_global_16(from + row * 64 + chunk * 8));
}

/* `a` is [k][m]; both products go to c, one behind the other. */
TSR_KERNEL(128) major(const tsr_u16 *a, const tsr_u16 *b, float *c) {
  float d[32], e[32];
  tsr_u32 r[4];
  put(tsr_shared, a);
  put(tsr_shared + 2048, b);
  tsr_fence_proxy_async();
  tsr_barrier();
  int y = tsr_warp() * 16 + tsr_lane() / 4, x = tsr_lane() % 4 * 2;
  TSR_UNROLL for (int i = 0; i < 4; ++i) {
    const tsr_u16 *at = a + (x + i / 2 * 8) * 64 + y + i % 2 * 8;
    r[i] = at[0] | (tsr_u32)at[64] << 16;
  }
  TSR_UNROLL for (int i = 0; i < 32; ++i)
    d[i] = e[i] = 0;
  tsr_u64 da = tsr_wgmma_descriptor(tsr_shared, 2048, 1024, TSR_SWIZZLE_128);
  tsr_u64 db = tsr_wgmma_descriptor(tsr_shared + 2048, 2048, 1024, TSR_SWIZZLE_128);
  tsr_wgmma_fence();
  tsr_wgmma_f16_64x64_mm(d, da, db, 0);
  tsr_wgmma_commit();
  tsr_wgmma_f16_64x64_rm(e, r, db, 0);
  tsr_wgmma_commit();
  tsr_wgmma_wait(1);
  tsr_wgmma_hold_f32(d, 32);
  TSR_UNROLL for (int i = 0; i < 32; ++i)
    c[(y + i / 2 % 2 * 8) * 64 + i / 4 * 8 + x + i % 2] = d[i];
  tsr_wgmma_wait(0);
  tsr_wgmma_hold_f32(e, 32);
  TSR_UNROLL for (int i = 0; i < 32; ++i)
    c[4096 + (y + i / 2 % 2 * 8) * 64 + i / 4 * 8 + x + i % 2] = e[i];
}
