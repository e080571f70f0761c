/* The primitives of sm_90a but wgmma; gpu/primitives90.c has the launches and what must come out. */

/* stmatrix: what ldmatrix reads back as bytes. */
TSR_KERNEL(32) stmatrix(const tsr_u32 *in, tsr_u8 *out) {
  tsr_u32 r[4];
  int l = tsr_lane();
  TSR_UNROLL for (int i = 0; i < 4; ++i)
    r[i] = in[l * 4 + i];
  tsr_stmatrix_x4(tsr_shared + l * 16, r);
  tsr_barrier();
  tsr_store_global_16(out + l * 16, tsr_load_shared_16(tsr_shared + l * 16));
}

#define MMA_TILE(call)                                                                             \
  {                                                                                                \
    int g = tsr_lane() / 4, t = tsr_lane() % 4;                                                    \
    tsr_u32 x[4] = {a[g * 8 + t], a[(g + 8) * 8 + t], a[g * 8 + t + 4], a[(g + 8) * 8 + t + 4]};   \
    tsr_u32 y[2] = {b[g * 8 + t], b[g * 8 + t + 4]};                                               \
    float *low = d + g * 8 + 2 * t, *high = low + 64;                                              \
    float acc[4] = {low[0], low[1], high[0], high[1]};                                             \
    call(acc, x, y);                                                                               \
    low[0] = acc[0];                                                                               \
    low[1] = acc[1];                                                                               \
    high[0] = acc[2];                                                                              \
    high[1] = acc[3];                                                                              \
  }
TSR_KERNEL(32) mma_e4m3(const tsr_u32 *a, const tsr_u32 *b, float *d)
MMA_TILE(tsr_mma_e4m3_16x8x32)
TSR_KERNEL(32) mma_e5m2(const tsr_u32 *a, const tsr_u32 *b, float *d)
MMA_TILE(tsr_mma_e5m2_16x8x32)

TSR_DEVICE tsr_u64 *start_barrier(int count) {
  tsr_u64 *bar = (tsr_u64 *)(tsr_shared + 16384);
  if (tsr_thread() == 0) {
    tsr_mbarrier_init(bar, count);
    tsr_fence_mbarrier_init();
  }
  tsr_barrier();
  return bar;
}

TSR_DEVICE void give_back(tsr_u8 *out, int bytes) {
  for (int i = tsr_thread(); i < bytes / 16; i += 64)
    tsr_store_global_16(out + i * 16, tsr_load_shared_16(tsr_shared + i * 16));
}

/* A box of `bytes` from the coordinates `at`, as it lies in shared memory. */
#define LOAD(dims, ...)                                                                            \
  {                                                                                                \
    tsr_u64 *bar = start_barrier(1);                                                               \
    if (tsr_thread() == 0) {                                                                       \
      tsr_tma_prefetch_map(&map);                                                                  \
      tsr_mbarrier_arrive_expect(bar, bytes);                                                      \
      tsr_tma_load_##dims##d(tsr_shared, &map, bar, __VA_ARGS__);                                  \
    }                                                                                              \
    tsr_mbarrier_wait(bar, 0);                                                                     \
    give_back(out, bytes);                                                                         \
  }
TSR_KERNEL(64) load_1(TSR_TENSOR_MAP map, tsr_u8 *out, int bytes, int c0, int c1, int c2, int c3,
                      int c4)
LOAD(1, c0)
TSR_KERNEL(64) load_2(TSR_TENSOR_MAP map, tsr_u8 *out, int bytes, int c0, int c1, int c2, int c3,
                      int c4)
LOAD(2, c0, c1)
TSR_KERNEL(64) load_3(TSR_TENSOR_MAP map, tsr_u8 *out, int bytes, int c0, int c1, int c2, int c3,
                      int c4)
LOAD(3, c0, c1, c2)
TSR_KERNEL(64) load_4(TSR_TENSOR_MAP map, tsr_u8 *out, int bytes, int c0, int c1, int c2, int c3,
                      int c4)
LOAD(4, c0, c1, c2, c3)
TSR_KERNEL(64) load_5(TSR_TENSOR_MAP map, tsr_u8 *out, int bytes, int c0, int c1, int c2, int c3,
                      int c4)
LOAD(5, c0, c1, c2, c3, c4)

/* `bytes` of `in` into shared memory, and from there to the tensor at the coordinates; the first
 * wait is for the reads, then shared memory is written anew. */
#define STORE(dims, ...)                                                                           \
  {                                                                                                \
    for (int i = tsr_thread(); i < bytes / 16; i += 64)                                            \
      tsr_store_shared_16(tsr_shared + i * 16, tsr_load_global_16(in + i * 16));                   \
    tsr_fence_proxy_async();                                                                       \
    tsr_barrier();                                                                                 \
    if (tsr_thread() == 0) {                                                                       \
      tsr_tma_store_##dims##d(&map, tsr_shared, __VA_ARGS__);                                      \
      tsr_tma_store_commit();                                                                      \
      tsr_tma_store_wait_read(0);                                                                  \
    }                                                                                              \
    tsr_barrier();                                                                                 \
    for (int i = tsr_thread(); i < bytes; i += 64)                                                 \
      tsr_shared[i] = 0x55;                                                                        \
    if (tsr_thread() == 0)                                                                         \
      tsr_tma_store_wait(0);                                                                       \
  }
TSR_KERNEL(64) store_1(TSR_TENSOR_MAP map, const tsr_u8 *in, int bytes, int c0, int c1, int c2,
                       int c3, int c4)
STORE(1, c0)
TSR_KERNEL(64) store_2(TSR_TENSOR_MAP map, const tsr_u8 *in, int bytes, int c0, int c1, int c2,
                       int c3, int c4)
STORE(2, c0, c1)
TSR_KERNEL(64) store_3(TSR_TENSOR_MAP map, const tsr_u8 *in, int bytes, int c0, int c1, int c2,
                       int c3, int c4)
STORE(3, c0, c1, c2)
TSR_KERNEL(64) store_4(TSR_TENSOR_MAP map, const tsr_u8 *in, int bytes, int c0, int c1, int c2,
                       int c3, int c4)
STORE(4, c0, c1, c2, c3)
TSR_KERNEL(64) store_5(TSR_TENSOR_MAP map, const tsr_u8 *in, int bytes, int c0, int c1, int c2,
                       int c3, int c4)
STORE(5, c0, c1, c2, c3, c4)

/* Clusters of two: block 1 loads the box for both; each gives its copy back. */
#define MULTICAST(dims, ...)                                                                       \
  {                                                                                                \
    tsr_u64 *bar = start_barrier(1);                                                               \
    if (tsr_thread() == 0)                                                                         \
      tsr_mbarrier_arrive_expect(bar, bytes);                                                      \
    tsr_cluster_arrive();                                                                          \
    tsr_cluster_wait();                                                                            \
    if (tsr_cluster_rank() == 1 && tsr_thread() == 0)                                              \
      tsr_tma_load_##dims##d_multicast(tsr_shared, &map, bar, 3, __VA_ARGS__);                     \
    tsr_mbarrier_wait(bar, 0);                                                                     \
    give_back(out + tsr_block() * bytes, bytes);                                                   \
    tsr_cluster_arrive();                                                                          \
    tsr_cluster_wait();                                                                            \
  }
TSR_KERNEL_CLUSTER(64, 2) multicast_2(TSR_TENSOR_MAP map, tsr_u8 *out, int bytes, int c0, int c1,
                                      int c2, int c3, int c4)
MULTICAST(2, c0, c1)
TSR_KERNEL_CLUSTER(64, 2) multicast_3(TSR_TENSOR_MAP map, tsr_u8 *out, int bytes, int c0, int c1,
                                      int c2, int c3, int c4)
MULTICAST(3, c0, c1, c2)
TSR_KERNEL_CLUSTER(64, 2) multicast_4(TSR_TENSOR_MAP map, tsr_u8 *out, int bytes, int c0, int c1,
                                      int c2, int c3, int c4)
MULTICAST(4, c0, c1, c2, c3)
TSR_KERNEL_CLUSTER(64, 2) multicast_5(TSR_TENSOR_MAP map, tsr_u8 *out, int bytes, int c0, int c1,
                                      int c2, int c3, int c4)
MULTICAST(5, c0, c1, c2, c3, c4)

/* Two phases of one mbarrier: the first expects its bytes apart from the arrival, the second with
 * it. */
TSR_KERNEL(64) bulk(const tsr_u8 *in, tsr_u8 *out) {
  tsr_u64 *bar = start_barrier(1);
  if (tsr_thread() == 0) {
    tsr_mbarrier_expect(bar, 1024);
    tsr_bulk_load(tsr_shared, in, 1024, bar);
    tsr_mbarrier_arrive(bar);
  }
  tsr_mbarrier_wait(bar, 0);
  if (tsr_thread() == 0) {
    tsr_mbarrier_arrive_expect(bar, 512 + 256);
    tsr_bulk_load(tsr_shared + 1024, in + 1024, 512, bar);
    tsr_bulk_load(tsr_shared + 1536, in + 1536, 256, bar);
  }
  while (!tsr_mbarrier_test(bar, 1)) {
  }
  give_back(out, 1792);
}

/* Clusters of four: what a block knows of itself, its right neighbour's memory, and a barrier at
 * which all four blocks arrive from afar. Three numbers for each thread. */
TSR_KERNEL_CLUSTER(64, 4) cluster(int *out) {
  tsr_u64 *bar = start_barrier(4);
  int *data = (int *)tsr_shared, t = tsr_thread(), rank = tsr_cluster_rank();
  data[t] = rank * 1000 + t;
  tsr_cluster_arrive();
  tsr_cluster_wait();
  const int *other = (const int *)tsr_cluster_shared(data, (rank + 1) % tsr_cluster_size());
  int *to = out + (tsr_block() * 64 + t) * 3;
  to[0] = rank * 10 + tsr_cluster_size();
  to[1] = other[63 - t];
  if (t < 4)
    tsr_mbarrier_arrive_remote(bar, t);
  tsr_mbarrier_wait(bar, 0);
  to[2] = tsr_mbarrier_test(bar, 0);
  tsr_barrier();
  tsr_mbarrier_arrive_remote_if(bar, t % 4, t < 4);
  tsr_mbarrier_wait(bar, 1);
  tsr_barrier();
  tsr_mbarrier_arrive_if(bar, t < 4);
  tsr_mbarrier_wait(bar, 0);
  tsr_cluster_arrive();
  tsr_cluster_wait();
}

/* A chain of launches: each waits for the one before it and lets the next one start early. */
TSR_KERNEL(64) chain(const int *in, int *out) {
  tsr_grid_launch_dependents();
  tsr_grid_wait();
  int i = (int)tsr_block() * 64 + tsr_thread();
  out[i] = in[i] * 3 + 1;
}

/* Registers move from the first warpgroup to the other two, which then hold 200 values at once. */
TSR_KERNEL_RESIDENT(384, 1) registers(const float *in, float *out) {
  int t = tsr_thread();
  if (t < 128) {
    tsr_set_max_registers_dec(24);
    out[t] = in[t];
  } else {
    float held[200];
    tsr_set_max_registers_inc(240);
    TSR_UNROLL for (int i = 0; i < 200; ++i)
      held[i] = in[i * 384 + t];
    tsr_barrier_named(1, 256);
    TSR_UNROLL for (int i = 0; i < 200; ++i)
      out[(199 - i) * 384 + t] = held[i] * 2;
  }
}
