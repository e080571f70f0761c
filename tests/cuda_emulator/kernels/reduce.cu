/* One row per block: sums[row] = sum of x[row][0..columns), shuffles in a warp, shared memory
 * between warps; the total of all rows is added up atomically. */
TSR_KERNEL(128) row_sum(const float *x, float *sums, float *total, long long columns) {
  float *part = (float *)tsr_shared;
  const float *row = x + tsr_block() * columns;
  float sum = 0;
  for (tsr_s64 i = tsr_thread(); i < columns; i += tsr_threads())
    sum += row[i];
  TSR_UNROLL for (int step = 16; step > 0; step >>= 1)
    sum += tsr_warp_shuffle_xor_f32(sum, step);
  if (tsr_lane() == 0)
    part[tsr_warp()] = sum;
  tsr_barrier();
  if (tsr_warp() == 0) {
    float all = tsr_lane() < 4 ? part[tsr_lane()] : 0.0f;
    all += tsr_warp_shuffle_down_f32(all, 2);
    all += tsr_warp_shuffle_down_f32(all, 1);
    if (tsr_lane() == 0) {
      sums[tsr_block()] = all;
      tsr_atomic_add_f32(total, all);
    }
  }
}
