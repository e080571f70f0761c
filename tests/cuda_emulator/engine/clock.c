#include "tests/cuda_emulator/engine/engine.h"
#include <string.h>

/* Widths are multiples of the vector. */
typedef uint32_t steps __attribute__((vector_size(32), aligned(4)));

void clock_join(uint32_t *into, const uint32_t *from, uint32_t width) {
  for (uint32_t i = 0; i < width; i += 8) {
    steps a, b;
    memcpy(&a, into + i, sizeof(a));
    memcpy(&b, from + i, sizeof(b));
    steps greater = (steps)(a > b);
    a = (a & greater) | (b & ~greater);
    memcpy(into + i, &a, sizeof(a));
  }
}

void clock_release(fiber *f, uint32_t *into) {
  clock_join(into, f->clock, f->block->cluster->width);
  ++f->clock[f->column];
}

void clock_acquire(fiber *f, const uint32_t *from) {
  clock_join(f->clock, from, f->block->cluster->width);
}
