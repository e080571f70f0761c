/* Clusters of two: block 0 loads a box of 8 x 32 floats for both; each adds what the other's block
 * has at the same place, twice (plain access to the other's memory), and stores the box by TMA. */
TSR_KERNEL_CLUSTER(64, 2) exchange(TSR_TENSOR_MAP in, TSR_TENSOR_MAP out, const float *bias) {
  tsr_u64 *bar = (tsr_u64 *)(tsr_shared + 3072);
  float *box = (float *)tsr_shared, *sum = (float *)(tsr_shared + 1024);
  float *extra = (float *)(tsr_shared + 2048);
  int row = (int)(tsr_block() / 2) * 8;
  if (tsr_thread() == 0) {
    tsr_mbarrier_init(bar, 1);
    tsr_fence_mbarrier_init();
  }
  tsr_cluster_arrive();
  tsr_cluster_wait();
  if (tsr_thread() == 0) {
    tsr_mbarrier_arrive_expect(bar, 1024 + 128);
    tsr_bulk_load(extra, bias, 128, bar);
    if (tsr_cluster_rank() == 0)
      tsr_tma_load_2d_multicast(box, &in, bar, 3, 0, row);
  }
  while (!tsr_mbarrier_test(bar, 0)) {
  }
  tsr_cluster_arrive();
  tsr_cluster_wait();
  const float *other = (const float *)tsr_cluster_shared(box, 1 - tsr_cluster_rank());
  for (int i = tsr_thread(); i < 256; i += 64)
    sum[i] = box[i] + 2 * other[i] + extra[i % 32] * (float)(1 + tsr_cluster_rank());
  tsr_fence_proxy_async();
  tsr_barrier();
  if (tsr_thread() == 0) {
    tsr_tma_store_2d(&out, sum, tsr_cluster_rank() * 32, row);
    tsr_tma_store_commit();
    tsr_tma_store_wait(0);
  }
  tsr_cluster_arrive();
  tsr_cluster_wait();
}
