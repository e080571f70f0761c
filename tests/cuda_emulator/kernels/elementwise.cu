/* y = a x + y, four elements at a time and the rest one by one. */
TSR_KERNEL(256) axpy(const float *TSR_RESTRICT x, float *TSR_RESTRICT y, float a, long long n) {
  tsr_s64 i = (tsr_block() * 256 + tsr_thread()) * 4;
  if (i + 4 <= n) {
    tsr_u32x4 vx = tsr_load_global_16(x + i), vy = tsr_load_global_16(y + i);
    TSR_UNROLL for (int j = 0; j < 4; ++j)
      vy.x[j] = tsr_f32_to_bits(a * tsr_bits_to_f32(vx.x[j]) + tsr_bits_to_f32(vy.x[j]));
    tsr_store_global_16(y + i, vy);
  } else {
    for (tsr_s64 j = i; j < n; ++j)
      y[j] = a * x[j] + y[j];
  }
}
