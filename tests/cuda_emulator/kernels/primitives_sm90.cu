/* Every primitive of sm_90a (but setmaxnreg, which gemm_wgmma has) once, and wgmma of every type: compiled, never run. */
TSR_WGMMA_F16(256, k, k)
TSR_WGMMA_F16(64, k, m)
TSR_WGMMA_BF16(64, m, k)
TSR_WGMMA_BF16(72, r, k)
TSR_WGMMA_TF32(128)
TSR_WGMMA_S8(64)
TSR_WGMMA_E4M3(128)
TSR_WGMMA_E5M2(24)

#define ONE_WGMMA(name, type, hold, n, a, call)                                                    \
  TSR_KERNEL(128) name(type *p, long long *descriptors) {                                          \
    tsr_u64 da = tsr_wgmma_descriptor(tsr_shared, 16, 1024, TSR_SWIZZLE_128);                      \
    tsr_u64 db = tsr_wgmma_descriptor_advance(da, 32);                                             \
    tsr_u32 registers[4] = {1, 2, 3, (tsr_u32)descriptors[0]};                                     \
    type acc[n / 2];                                                                               \
    TSR_UNROLL for (int i = 0; i < n / 2; ++i)                                                     \
      acc[i] = 0;                                                                                  \
    tsr_wgmma_fence();                                                                             \
    call(acc, a, db, 1);                                                                           \
    tsr_wgmma_commit();                                                                            \
    tsr_wgmma_wait(0);                                                                             \
    hold(acc, n / 2);                                                                              \
    TSR_UNROLL for (int i = 0; i < n / 2; ++i)                                                     \
      p[i * 128 + tsr_thread()] = acc[i];                                                          \
    descriptors[1] = (long long)da + registers[3];                                                 \
  }
ONE_WGMMA(w0, float, tsr_wgmma_hold_f32, 256, da, tsr_wgmma_f16_64x256_kk)
ONE_WGMMA(w1, float, tsr_wgmma_hold_f32, 64, da, tsr_wgmma_f16_64x64_km)
ONE_WGMMA(w2, float, tsr_wgmma_hold_f32, 64, da, tsr_wgmma_bf16_64x64_mk)
ONE_WGMMA(w3, float, tsr_wgmma_hold_f32, 72, registers, tsr_wgmma_bf16_64x72_rk)
ONE_WGMMA(w4, float, tsr_wgmma_hold_f32, 128, da, tsr_wgmma_tf32_64x128_kk)
ONE_WGMMA(w5, int, tsr_wgmma_hold_s32, 64, da, tsr_wgmma_s8_64x64_kk)
ONE_WGMMA(w6, float, tsr_wgmma_hold_f32, 128, da, tsr_wgmma_e4m3_64x128_kk)
ONE_WGMMA(w7, float, tsr_wgmma_hold_f32, 24, da, tsr_wgmma_e5m2_64x24_kk)

TSR_KERNEL_CLUSTER(128, 2) primitives(float *f, TSR_TENSOR_MAP map) {
  tsr_u64 *bar = (tsr_u64 *)tsr_shared;
  tsr_u32 r[4] = {1, 2, 3, 4};
  float acc[4] = {0, 0, 0, 0};
  tsr_grid_wait();
  tsr_mbarrier_init(bar, 1);
  tsr_fence_mbarrier_init();
  tsr_fence_proxy_async();
  tsr_cluster_arrive();
  tsr_cluster_wait();
  tsr_mbarrier_expect(bar, 12);
  tsr_mbarrier_arrive_expect(bar, 128);
  tsr_mbarrier_arrive_remote(bar, 1);
  tsr_mbarrier_arrive_if(bar, tsr_lane() == 0);
  tsr_mbarrier_arrive_remote_if(bar, 1, tsr_lane() == 0);
  tsr_tma_prefetch_map(&map);
  tsr_tma_load_1d(tsr_shared, &map, bar, 0);
  tsr_tma_load_2d(tsr_shared, &map, bar, 0, 1);
  tsr_tma_load_3d(tsr_shared, &map, bar, 0, 1, 2);
  tsr_tma_load_4d(tsr_shared, &map, bar, 0, 1, 2, 3);
  tsr_tma_load_5d(tsr_shared, &map, bar, 0, 1, 2, 3, 4);
  tsr_tma_load_2d_multicast(tsr_shared, &map, bar, 3, 0, 1);
  tsr_tma_load_3d_multicast(tsr_shared, &map, bar, 3, 0, 1, 2);
  tsr_tma_load_4d_multicast(tsr_shared, &map, bar, 3, 0, 1, 2, 3);
  tsr_tma_load_5d_multicast(tsr_shared, &map, bar, 3, 0, 1, 2, 3, 4);
  tsr_tma_store_1d(&map, tsr_shared, 0);
  tsr_tma_store_2d(&map, tsr_shared, 0, 1);
  tsr_tma_store_3d(&map, tsr_shared, 0, 1, 2);
  tsr_tma_store_4d(&map, tsr_shared, 0, 1, 2, 3);
  tsr_tma_store_5d(&map, tsr_shared, 0, 1, 2, 3, 4);
  tsr_tma_store_commit();
  tsr_tma_store_wait_read(1);
  tsr_tma_store_wait(0);
  tsr_bulk_load(tsr_shared, f, 128, bar);
  if (tsr_mbarrier_test(bar, 1))
    tsr_mbarrier_wait(bar, 0);
  *(float *)tsr_cluster_shared(tsr_shared, tsr_cluster_rank() ^ (tsr_cluster_size() - 1)) = 1;
  tsr_stmatrix_x4(tsr_shared, r);
  tsr_mma_e4m3_16x8x32(acc, r, r);
  tsr_mma_e5m2_16x8x32(acc, r, r);
  f[tsr_thread()] = acc[0] + acc[1] + acc[2] + acc[3];
  tsr_grid_launch_dependents();
}
