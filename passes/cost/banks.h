/* Bank conflicts of shared memory on CUDA devices: 32 banks of 4 bytes; a warp's access is taken in
 * phases of 128 bytes (8 threads of 16 bytes, 16 of 8, 32 of 4), and a phase takes as many passes
 * as the fullest bank has different words. Pure arithmetic. */
#ifndef TSR_PASSES_COST_BANKS_H
#define TSR_PASSES_COST_BANKS_H
#include <stdbool.h>
#include <stdint.h>

/* Rows of `row_bytes`, padding included. swizzle 0, 32, 64 or 128: bits 4.. of a byte's offset are
 * xored with bits 7.. (1, 2, 3 of them). */
typedef struct tsr_banks_layout {
  uint32_t row_bytes, swizzle;
} tsr_banks_layout;

uint32_t tsr_banks_address(const tsr_banks_layout *layout, uint32_t row, uint32_t byte);

/* Passes of one warp's access of `count` (1..32) pieces of `bytes` (1, 2, 4, 8, 16). */
uint32_t tsr_banks_passes(const uint32_t *addresses, uint32_t count, uint32_t bytes);

/* How a warp walks a tile: threads in groups of `across` along a row, in pieces of `bytes`, the
 * next group `row_step` rows further. ldmatrix: across = 1, bytes = 16, row_step = 1. */
typedef struct tsr_banks_access {
  uint32_t bytes, across, row_step;
  uint32_t across_step; /* bytes from one thread of a group to the next; 0: `bytes` */
} tsr_banks_access;

/* The most passes over all starting positions (multiples of `bytes` in a row of `used_bytes`), and
 * the least that any layout could do. */
uint32_t tsr_banks_worst(const tsr_banks_layout *layout, uint32_t used_bytes,
                         const tsr_banks_access *access);
uint32_t tsr_banks_least(const tsr_banks_access *access);

/* The smallest layout of rows of `used_bytes` (a multiple of 16) with the fewest passes of reads,
 * then of writes: a swizzle where the rows are 32, 64 or 128 bytes, else rows padded by 16 .. 112
 * bytes. */
void tsr_banks_choose(uint32_t used_bytes, const tsr_banks_access *read,
                      const tsr_banks_access *write, tsr_banks_layout *out_layout);

#endif
