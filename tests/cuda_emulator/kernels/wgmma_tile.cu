/* c = a b for one 64 x 32 tile whose rows are 128 bytes of k: a and b are put into shared memory with
 * plain stores in the layout that WIDTH (bytes of a swizzled row; 16: none) says, and multiplied by
 * wgmma. K contiguous: WIDTH bytes of k per slab, slabs one behind the other. */
#define STEPS 4
#if WIDTH == 128
#define SWIZZLE TSR_SWIZZLE_128
#define PLACE(offset) tsr_swizzle_128(offset)
#elif WIDTH == 64
#define SWIZZLE TSR_SWIZZLE_64
#define PLACE(offset) tsr_swizzle_64(offset)
#elif WIDTH == 32
#define SWIZZLE TSR_SWIZZLE_32
#define PLACE(offset) tsr_swizzle_32(offset)
#else
#define SWIZZLE TSR_SWIZZLE_NONE
#define PLACE(offset) (offset)
#endif
DEFINE

TSR_DEVICE void put(tsr_u8 *to, const tsr_u8 *from, int rows) {
  for (int i = tsr_thread(); i < rows * 8; i += 128) {
    tsr_u32 row = (tsr_u32)i / 8, byte = (tsr_u32)i % 8 * 16;
    tsr_u32 slab = byte / WIDTH * (tsr_u32)rows * WIDTH;
    tsr_store_shared_16(to + slab + PLACE(row * WIDTH + byte % WIDTH),
                        tsr_load_global_16(from + i * 16));
  }
}

/* The operand's 32 bytes of k from byte `k` on. */
TSR_DEVICE tsr_u64 descriptor(const tsr_u8 *from, int rows, int k) {
  return tsr_wgmma_descriptor(from + k / WIDTH * rows * WIDTH + k % WIDTH, (tsr_u32)rows * WIDTH,
                              8 * WIDTH, SWIZZLE);
}

TSR_KERNEL(128) tile(const tsr_u8 *a, const tsr_u8 *b, ACC *c) {
  ACC d[16];
  put(tsr_shared, a, 64);
  put(tsr_shared + 8192, b, 32);
  tsr_fence_proxy_async();
  tsr_barrier();
  TSR_UNROLL for (int i = 0; i < 16; ++i)
    d[i] = 0;
  tsr_wgmma_fence();
  TSR_UNROLL for (int step = 0; step < STEPS; ++step)
    WGMMA(d, descriptor(tsr_shared, 64, step * 32), descriptor(tsr_shared + 8192, 32, step * 32),
          step > 0);
  tsr_wgmma_commit();
  tsr_wgmma_wait(0);
  HOLD(d, 16);
  TSR_UNROLL for (int i = 0; i < 16; ++i)
    c[(tsr_warp() * 16 + tsr_lane() / 4 + i / 2 % 2 * 8) * 32 + i / 4 * 8 + tsr_lane() % 4 * 2 +
      i % 2] = d[i];
}
