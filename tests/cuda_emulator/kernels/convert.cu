/* Conversion `which` (f16, bf16, e4m3, e5m2) of 65536 values in both directions. */
TSR_KERNEL(256) convert(const float *wide, tsr_u16 *narrow, const tsr_u16 *bits, float *widened,
                        long long which) {
  for (int i = tsr_thread(); i < 65536; i += 256) {
    float x = wide[i];
    tsr_u16 b = bits[i];
    if (which == 0)
      narrow[i] = tsr_f32_to_f16(x);
    if (which == 1)
      narrow[i] = tsr_f32_to_bf16(x);
    if (which == 2)
      narrow[i] = tsr_f32_to_e4m3(x);
    if (which == 3)
      narrow[i] = tsr_f32_to_e5m2(x);
    if (which == 0)
      widened[i] = tsr_f16_to_f32(b);
    if (which == 1)
      widened[i] = tsr_bf16_to_f32(b);
    if (which == 2)
      widened[i] = tsr_e4m3_to_f32((tsr_u8)b);
    if (which == 3)
      widened[i] = tsr_e5m2_to_f32((tsr_u8)b);
  }
}
