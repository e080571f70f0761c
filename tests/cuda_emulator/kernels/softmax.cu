/* One row per block: maximum and sum of exponentials in one pass, rescaled when the maximum grows;
 * a row that is masked completely (-inf) gives zeros. */
TSR_DEVICE void join(float *m, float *s, float m2, float s2) {
  float top = *m > m2 ? *m : m2;
  if (top == -tsr_bits_to_f32(0x7f800000u))
    return;
  *s = *s * expf(*m - top) + s2 * expf(m2 - top);
  *m = top;
}

TSR_KERNEL(128) softmax(const float *x, float *y, long long columns) {
  float *shared_m = (float *)tsr_shared, *shared_s = (float *)(tsr_shared + 16);
  const float *row = x + tsr_block() * columns;
  float *out = y + tsr_block() * columns;
  float m = -tsr_bits_to_f32(0x7f800000u), s = 0;
  for (tsr_s64 i = tsr_thread(); i < columns; i += 128)
    join(&m, &s, row[i], 1.0f);
  TSR_UNROLL for (int step = 16; step > 0; step >>= 1) {
    float m2 = tsr_warp_shuffle_xor_f32(m, step), s2 = tsr_warp_shuffle_xor_f32(s, step);
    join(&m, &s, m2, s2);
  }
  if (tsr_lane() == 0) {
    shared_m[tsr_warp()] = m;
    shared_s[tsr_warp()] = s;
  }
  tsr_barrier();
  m = -tsr_bits_to_f32(0x7f800000u);
  s = 0;
  TSR_UNROLL for (int i = 0; i < 4; ++i)
    join(&m, &s, shared_m[i], shared_s[i]);
  float scale = s > 0 ? 1.0f / s : 0.0f;
  for (tsr_s64 i = tsr_thread(); i < columns; i += 128)
    out[i] = s > 0 ? expf(row[i] - m) * scale : 0.0f;
}
