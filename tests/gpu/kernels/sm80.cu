/* The primitives of sm_80, each with a result that the host can foretell; gpu/primitives80.c has the
 * launches and what must come out. */

/* Six numbers for each thread. */
TSR_KERNEL(96) identity(int *out) {
  int *to = out + (tsr_block() * 96 + tsr_thread()) * 6;
  to[0] = tsr_thread();
  to[1] = tsr_threads();
  to[2] = tsr_lane();
  to[3] = tsr_warp();
  to[4] = (int)tsr_block();
  to[5] = (int)tsr_blocks();
}

/* Nine results for each of 64 threads. */
TSR_KERNEL(64) shuffles(const int *in, int *out, const float *x, float *y) {
  int t = tsr_thread(), *to = out + t * 5;
  to[0] = tsr_warp_shuffle_xor_i32(in[t], 5);
  to[1] = tsr_warp_shuffle_down_i32(in[t], 3);
  to[2] = tsr_warp_shuffle_up_i32(in[t], 3);
  to[3] = tsr_warp_shuffle_index_i32(in[t], (t * 7 + 1) & 31);
  to[4] = (int)tsr_warp_ballot(in[t] & 1);
  y[t * 4] = tsr_warp_shuffle_xor_f32(x[t], 16);
  y[t * 4 + 1] = tsr_warp_shuffle_down_f32(x[t], 9);
  y[t * 4 + 2] = tsr_warp_shuffle_up_f32(x[t], 9);
  y[t * 4 + 3] = tsr_warp_shuffle_index_f32(x[t], 31 - (t & 31));
}

/* Three exchanges: among all threads, within warps, and from the two upper warps, which only
 * arrive, to the two lower ones. */
TSR_KERNEL(128) barriers(int *out) {
  int *all = (int *)tsr_shared, *warps = all + 128, *half = warps + 128;
  int t = tsr_thread();
  all[t] = t * 3;
  warps[t] = t * 5;
  tsr_warp_barrier();
  out[128 + t] = warps[t ^ 31];
  tsr_barrier();
  out[t] = all[127 - t];
  if (tsr_warp() >= 2) {
    half[t - 64] = t * 11;
    tsr_barrier_named_arrive(1, 128);
  } else {
    tsr_barrier_named(1, 128);
    out[256 + t] = half[63 - t];
  }
}

/* Every thread of every block takes part once in each; `old` gets what the first one gave back. */
TSR_KERNEL(128) atomics(int *i, tsr_s64 *l, float *f, double *d, tsr_u16 *h, int *old) {
  int n = (int)tsr_block() * 128 + tsr_thread();
  tsr_u32 *u = (tsr_u32 *)i;
  old[n] = tsr_atomic_add_i32(i, 1);
  tsr_atomic_max_i32(i + 1, n * 7 % 509 - 100);
  tsr_atomic_min_i32(i + 2, 100 - n * 7 % 509);
  tsr_atomic_and_u32(u + 3, ~(1u << n % 29));
  tsr_atomic_or_u32(u + 4, 1u << n % 30);
  tsr_atomic_add_i64(l, (tsr_s64)n << 32);
  tsr_atomic_add_f32(f, (float)(n % 4));
  tsr_atomic_add_f64(d, 0.5 * n);
  tsr_u32 seen = 0, next;
  while ((next = tsr_atomic_cas_u32(u + 5, seen, seen + 3)) != seen)
    seen = next;
  tsr_u64 wide = 0, wide_next;
  while ((wide_next = tsr_atomic_cas_u64((tsr_u64 *)l + 1, wide, wide + 0x100000001ull)) != wide)
    wide = wide_next;
  tsr_u16 narrow = 0, narrow_next;
  while ((narrow_next = tsr_atomic_cas_u16(h + 1, narrow, (tsr_u16)(narrow + 1))) != narrow)
    narrow = narrow_next;
}

/* The same on shared memory. */
TSR_KERNEL(128) atomics_shared(int *out) {
  int *i = (int *)tsr_shared;
  if (tsr_thread() == 0)
    i[0] = i[1] = 0;
  tsr_barrier();
  tsr_atomic_add_i32(i, tsr_thread());
  tsr_atomic_max_i32(i + 1, tsr_thread() * 5 % 127);
  tsr_barrier();
  if (tsr_thread() < 2)
    out[tsr_thread()] = i[tsr_thread()];
}

/* Two blocks: the first hands data over behind a flag, the second hands it back behind a fence. */
TSR_KERNEL(64) flags(int *data, int *flag, int *out) {
  int t = tsr_thread();
  if (tsr_block() == 0) {
    data[t] = t * t;
    tsr_barrier();
    if (t == 0) {
      tsr_fence_gpu();
      tsr_store_release_i32(flag, 1);
      while (tsr_load_acquire_i32(flag + 1) == 0) {
      }
    }
    tsr_barrier();
    out[t] = data[64 + t];
  } else {
    if (t == 0)
      while (tsr_load_acquire_i32(flag) == 0) {
      }
    tsr_barrier();
    data[64 + t] = data[63 - t] + 1;
    tsr_barrier();
    if (t == 0) {
      tsr_fence_gpu();
      tsr_store_release_i32(flag + 1, 1);
    }
  }
}

/* 16 bytes per thread by each way through memory. */
TSR_KERNEL(64) vectors(const tsr_u32 *in, tsr_u32 *out) {
  int t = tsr_thread();
  tsr_u8 *mine = tsr_shared + t * 16;
  tsr_store_global_16(out + t * 4, tsr_load_global_16(in + t * 4));
  tsr_store_global_16(out + 256 + t * 4, tsr_load_constant_16(in + 4 * (63 - t)));
  tsr_store_global_8(out + 512 + t * 4, tsr_load_global_8(in + t * 4 + 2));
  tsr_store_global_8(out + 512 + t * 4 + 2, tsr_load_global_8(in + t * 4));
  tsr_store_shared_16(mine, tsr_load_global_16(in + t * 4));
  tsr_barrier();
  tsr_store_global_16(out + 768 + t * 4, tsr_load_shared_16(tsr_shared + (t ^ 1) * 16));
}

/* The same with 8 and 4 bytes. */
TSR_KERNEL(64) narrow_vectors(const tsr_u32 *in, tsr_u32 *out) {
  int t = tsr_thread();
  tsr_u8 *fours = tsr_shared, *eights = tsr_shared + 256;
  tsr_store_global_4(out + t, tsr_load_global_4(in + 63 - t));
  tsr_store_shared_4(fours + t * 4, tsr_load_global_4(in + t));
  tsr_store_shared_8(eights + t * 8, tsr_load_global_8(in + t * 2));
  tsr_barrier();
  tsr_store_global_4(out + 64 + t, tsr_load_shared_4(fours + (t ^ 5) * 4));
  tsr_store_global_8(out + 128 + t * 2, tsr_load_shared_8(eights + (t ^ 3) * 8));
}

/* All blocks meet again and again: each adds up what all of them wrote in the turn before. */
TSR_KERNEL(64) grid_barriers(int *data, int *sums, int turns) {
  int block = (int)tsr_block(), blocks = (int)tsr_blocks(), sum = block + 1;
  for (int turn = 0; turn < turns; ++turn) {
    int *now = data + turn % 2 * blocks;
    if (tsr_thread() == 0)
      now[block] = sum;
    tsr_grid_barrier();
    sum = turn + block;
    for (int i = 0; i < blocks; ++i)
      sum = (sum + now[i]) & 0xffff;
  }
  sums[block * 64 + tsr_thread()] = sum;
}

/* The conversions that convert.cu lacks, for 65536 values. */
TSR_KERNEL(256) conversions(const float *x, tsr_u32 *f16x2, tsr_u32 *bf16x2, tsr_u32 *tf32,
                            tsr_u16 *narrow, float *wide) {
  for (int i = tsr_thread(); i < 65536; i += 256) {
    float low = x[i], high = x[65535 - i];
    f16x2[i] = tsr_f32x2_to_f16x2(low, high);
    bf16x2[i] = tsr_f32x2_to_bf16x2(low, high);
    tf32[i] = tsr_f32_to_tf32(low);
    narrow[i] = (tsr_u16)(tsr_f32_to_e4m3_bitwise(low) | tsr_f32_to_e5m2_bitwise(low) << 8);
    wide[2 * i] = tsr_e4m3_to_f32_bitwise((tsr_u8)i);
    wide[2 * i + 1] = tsr_e5m2_to_f32_bitwise((tsr_u8)i);
  }
}

/* Differences and products of two pairs each. */
TSR_KERNEL(256) halves(const tsr_u32 *x, tsr_u32 *out) {
  for (int i = tsr_thread(); i < 4096; i += 256) {
    out[i] = tsr_f16x2_sub(x[i], x[4095 - i]);
    out[4096 + i] = tsr_f16x2_mul(x[i], x[4095 - i]);
  }
}

/* Where the three swizzles put 4096 offsets, and the same by row and place in the row. */
TSR_KERNEL(256) swizzles(tsr_u32 *out) {
  for (int i = tsr_thread(); i < 4096; i += 256) {
    out[i] = tsr_swizzle_128((tsr_u32)i);
    out[4096 + i] = tsr_swizzle_64((tsr_u32)i);
    out[8192 + i] = tsr_swizzle_32((tsr_u32)i);
    out[12288 + i] = tsr_swizzle_row_128((tsr_u32)i / 128, (tsr_u32)i % 128);
    out[16384 + i] = tsr_swizzle_row_64((tsr_u32)i / 64, (tsr_u32)i % 64);
    out[20480 + i] = tsr_swizzle_row_32((tsr_u32)i / 32, (tsr_u32)i % 32);
  }
}

/* Pieces of 4, 8 and 16 bytes with every count of valid bytes, in two groups; the first is waited
 * for while the second is under way. Each thread has 28 bytes of `in` in rows of 32. */
TSR_KERNEL(64) copies(const tsr_u8 *in, tsr_u8 *out) {
  int t = tsr_thread();
  tsr_u8 *first = tsr_shared + t * 32, *second = tsr_shared + 2048 + t * 32;
  const tsr_u8 *from = in + t * 32;
  tsr_copy_async_16(first, from, t % 17);
  tsr_copy_async_8(first + 16, from + 16, t % 9);
  tsr_copy_async_4(first + 24, from + 24, t % 5);
  tsr_copy_async_commit();
  tsr_copy_async_16(second, from, 16);
  tsr_copy_async_8(second + 16, from + 16, 8);
  tsr_copy_async_4(second + 24, from + 24, 4);
  tsr_copy_async_commit();
  tsr_copy_async_wait(1);
  tsr_barrier();
  for (int i = 0; i < 28; ++i)
    out[t * 32 + i] = tsr_shared[(t ^ 1) * 32 + i];
  tsr_copy_async_wait(0);
  tsr_barrier();
  for (int i = 0; i < 28; ++i)
    out[2048 + t * 32 + i] = tsr_shared[2048 + (t ^ 1) * 32 + i];
}

/* Four 8x8 matrices with rows of 16 bytes, in order; 14 registers for each lane. */
TSR_KERNEL(32) ldmatrix(const tsr_u8 *in, tsr_u32 *out) {
  tsr_u32 r[14];
  int l = tsr_lane();
  tsr_store_shared_16(tsr_shared + l * 16, tsr_load_global_16(in + l * 16));
  tsr_barrier();
  const tsr_u8 *row = tsr_shared + l * 16;
  tsr_ldmatrix_x1(r, row);
  tsr_ldmatrix_x2(r + 1, row);
  tsr_ldmatrix_x4(r + 3, row);
  tsr_ldmatrix_x1_trans(r + 7, row);
  tsr_ldmatrix_x2_trans(r + 8, row);
  tsr_ldmatrix_x4_trans(r + 10, row);
  TSR_UNROLL for (int i = 0; i < 14; ++i)
    out[l * 14 + i] = r[i];
}

/* mma.sync of one instruction: a is 16 rows, b 8 columns of 32 bytes of k; d is 16 x 8 and starts as
 * what `d` holds. */
#define MMA_TILE(type, call)                                                                       \
  {                                                                                                \
    int g = tsr_lane() / 4, t = tsr_lane() % 4;                                                    \
    tsr_u32 x[4] = {a[g * 8 + t], a[(g + 8) * 8 + t], a[g * 8 + t + 4], a[(g + 8) * 8 + t + 4]};   \
    tsr_u32 y[2] = {b[g * 8 + t], b[g * 8 + t + 4]};                                               \
    type *low = d + g * 8 + 2 * t, *high = low + 64;                                               \
    type acc[4] = {low[0], low[1], high[0], high[1]};                                              \
    call(acc, x, y);                                                                               \
    low[0] = acc[0];                                                                               \
    low[1] = acc[1];                                                                               \
    high[0] = acc[2];                                                                              \
    high[1] = acc[3];                                                                              \
  }
TSR_KERNEL(32) mma_f16(const tsr_u32 *a, const tsr_u32 *b, float *d)
MMA_TILE(float, tsr_mma_f16_16x8x16)
TSR_KERNEL(32) mma_bf16(const tsr_u32 *a, const tsr_u32 *b, float *d)
MMA_TILE(float, tsr_mma_bf16_16x8x16)
TSR_KERNEL(32) mma_tf32(const tsr_u32 *a, const tsr_u32 *b, float *d)
MMA_TILE(float, tsr_mma_tf32_16x8x8)
TSR_KERNEL(32) mma_s8(const tsr_u32 *a, const tsr_u32 *b, int *d)
MMA_TILE(int, tsr_mma_s8_16x8x32)

/* A phase that ends by 64 arrivals, one that ends when all copies have landed, and a barrier used
 * again after it was given up. */
TSR_KERNEL(64) mbarriers(const int *in, int *out) {
  tsr_u64 *bar = (tsr_u64 *)tsr_shared;
  int *data = (int *)(tsr_shared + 64), t = tsr_thread();
  if (t == 0)
    tsr_mbarrier_init(bar, 64);
  tsr_barrier();
  data[t] = t * 9;
  tsr_mbarrier_arrive(bar);
  tsr_mbarrier_wait(bar, 0);
  out[t] = data[63 - t];
  tsr_barrier();
  tsr_copy_async_4(data + t, in + t, 4);
  tsr_mbarrier_arrive_copies(bar);
  while (!tsr_mbarrier_test(bar, 1)) {
  }
  out[64 + t] = data[63 - t];
  tsr_barrier();
  if (t == 0) {
    tsr_mbarrier_invalidate(bar);
    tsr_mbarrier_init(bar, 1);
    tsr_mbarrier_arrive(bar);
    out[128] = tsr_mbarrier_test(bar, 0);
  }
}

/* Two blocks per multiprocessor at least. */
TSR_KERNEL_RESIDENT(128, 2) resident(int *out) {
  out[tsr_block() * 128 + tsr_thread()] = (int)tsr_block() + tsr_thread();
}
