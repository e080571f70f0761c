/* f32 as a sum of three bf16: x = x0 + x1 + x2, each the rest rounded to nearest, ties to even. 24
 * bits of a significand are three times 8, so nothing is left; in a range of exponents where no
 * part is subnormal. */
#ifndef TSR_IR_BF16_PARTS_H
#define TSR_IR_BF16_PARTS_H
#include <stdint.h>
#include <string.h>

enum { TSR_BF16_PARTS = 3 };

static inline float tsr_bf16_value(uint16_t part) {
  const uint32_t bits = (uint32_t)part << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static inline uint16_t tsr_bf16_nearest(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

/* x is finite and rounds to a finite bf16. */
static inline void tsr_bf16_parts_of(float x, uint16_t out_parts[TSR_BF16_PARTS]) {
  for (int i = 0; i < TSR_BF16_PARTS; i++) {
    out_parts[i] = tsr_bf16_nearest(x);
    x -= tsr_bf16_value(out_parts[i]);
  }
}

#endif
