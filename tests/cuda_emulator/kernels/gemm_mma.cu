/* c[m][n] = sum over k of a[m][k] b[n][k]: 64 x 64 per block of four warps, 64 bytes of k per stage,
 * three stages of cp.async, ldmatrix, mma.sync. Bytes are the same for all types, so the text is too:
 * ELEMENT is the size of an element, MMA the instruction, ACC its accumulator. With B_ROWS_ARE_K
 * (2-byte types) b is [k][n] and transposed by ldmatrix. Rows of a and b are lda and ldb bytes long,
 * multiples of 16; m, n and k are any. */
#define STAGES 3
#define STAGE_BYTES 8192
#define DEPTH (64 / ELEMENT)

/* 16-byte chunk `chunk` of a row: four chunks a row, two rows in 128 bytes. */
TSR_DEVICE int place(int row, int chunk) {
  return row * 64 + (chunk ^ (row >> 1 & 3)) * 16;
}

/* Eight chunks a row. */
TSR_DEVICE int wide_place(int row, int chunk) {
  return row * 128 + (chunk ^ (row & 7)) * 16;
}

TSR_DEVICE int clamp_bytes(tsr_s64 bytes) {
  return bytes < 0 ? 0 : bytes > 16 ? 16 : (int)bytes;
}

/* Rows first .. first + 63, bytes k .. k + 63 of a matrix with contiguous k. */
TSR_DEVICE void fetch_rows(tsr_u8 *to, const tsr_u8 *from, tsr_s64 stride, tsr_s64 first,
                           tsr_s64 rows, tsr_s64 k, tsr_s64 k_bytes) {
  TSR_UNROLL for (int i = 0; i < 2; ++i) {
    int part = tsr_thread() + i * 128, row = part >> 2, chunk = part & 3;
    int valid = first + row < rows ? clamp_bytes(k_bytes - k - chunk * 16) : 0;
    const tsr_u8 *at = from + (first + row) * stride + k + chunk * 16;
    tsr_copy_async_16(to + place(row, chunk), valid > 0 ? at : from, valid);
  }
}

#if B_ROWS_ARE_K
TSR_DEVICE void fetch_columns(tsr_u8 *to, const tsr_u8 *from, tsr_s64 stride, tsr_s64 first,
                              tsr_s64 columns, tsr_s64 k, tsr_s64 depth) {
  TSR_UNROLL for (int i = 0; i < 2; ++i) {
    int part = tsr_thread() + i * 128, row = part >> 3, chunk = part & 7;
    int valid = k + row < depth ? clamp_bytes((columns - first) * ELEMENT - chunk * 16) : 0;
    const tsr_u8 *at = from + (k + row) * stride + first * ELEMENT + chunk * 16;
    tsr_copy_async_16(to + wide_place(row, chunk), valid > 0 ? at : from, valid);
  }
}
#endif

TSR_DEVICE void fetch(int step, const tsr_u8 *a, const tsr_u8 *b, tsr_s64 m0, tsr_s64 n0,
                      tsr_s64 m, tsr_s64 n, tsr_s64 k, tsr_s64 lda, tsr_s64 ldb) {
  tsr_u8 *stage = tsr_shared + step % STAGES * STAGE_BYTES;
  if ((tsr_s64)step * DEPTH < k) {
    fetch_rows(stage, a, lda, m0, m, (tsr_s64)step * 64, k * ELEMENT);
#if B_ROWS_ARE_K
    fetch_columns(stage + 4096, b, ldb, n0, n, (tsr_s64)step * DEPTH, k);
#else
    fetch_rows(stage + 4096, b, ldb, n0, n, (tsr_s64)step * 64, k * ELEMENT);
#endif
  }
  tsr_copy_async_commit();
}

TSR_DEVICE void multiply(ACC acc[2][4][4], const tsr_u8 *stage) {
  int lane = tsr_lane(), row0 = tsr_warp() / 2 * 32, column0 = tsr_warp() % 2 * 32;
  TSR_UNROLL for (int kk = 0; kk < 2; ++kk) {
    tsr_u32 fa[2][4], fb[2][4];
    TSR_UNROLL for (int i = 0; i < 2; ++i)
      tsr_ldmatrix_x4(fa[i], stage + place(row0 + i * 16 + (lane & 15), kk * 2 + (lane >> 4)));
    TSR_UNROLL for (int j = 0; j < 2; ++j)
#if B_ROWS_ARE_K
      tsr_ldmatrix_x4_trans(fb[j], stage + 4096 + wide_place(kk * 16 + (lane & 15),
                                                             column0 / 8 + j * 2 + (lane >> 4)));
#else
      tsr_ldmatrix_x4(fb[j], stage + 4096 + place(column0 + j * 16 + (lane >> 4) * 8 + (lane & 7),
                                                  kk * 2 + (lane >> 3 & 1)));
#endif
    TSR_UNROLL for (int i = 0; i < 2; ++i)
      TSR_UNROLL for (int j = 0; j < 4; ++j)
        MMA(acc[i][j], fa[i], fb[j / 2] + j % 2 * 2);
  }
}

TSR_KERNEL(128) gemm(const tsr_u8 *a, const tsr_u8 *b, ACC *c, long long m, long long n,
                     long long k, long long lda, long long ldb) {
  tsr_s64 across = (n + 63) / 64;
  tsr_s64 m0 = tsr_block() / across * 64, n0 = tsr_block() % across * 64;
  ACC acc[2][4][4];
  TSR_UNROLL for (int i = 0; i < 32; ++i)
    acc[i / 16][i / 4 % 4][i % 4] = 0;
  int steps = (int)((k + DEPTH - 1) / DEPTH);
  for (int step = 0; step < STAGES - 1; ++step)
    fetch(step, a, b, m0, n0, m, n, k, lda, ldb);
  for (int step = 0; step < steps; ++step) {
    tsr_copy_async_wait(STAGES - 2);
    tsr_barrier();
    fetch(step + STAGES - 1, a, b, m0, n0, m, n, k, lda, ldb);
    multiply(acc, tsr_shared + step % STAGES * STAGE_BYTES);
  }
  tsr_copy_async_wait(0);
  int g = tsr_lane() / 4, t = tsr_lane() % 4;
  TSR_UNROLL for (int i = 0; i < 2; ++i)
    TSR_UNROLL for (int j = 0; j < 4; ++j)
      TSR_UNROLL for (int e = 0; e < 4; ++e) {
        tsr_s64 y = m0 + tsr_warp() / 2 * 32 + i * 16 + g + e / 2 * 8;
        tsr_s64 x = n0 + tsr_warp() % 2 * 32 + j * 8 + t * 2 + e % 2;
        if (y < m && x < n)
          c[y * n + x] = acc[i][j][e];
      }
}
