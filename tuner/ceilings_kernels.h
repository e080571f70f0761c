/* The loops that ceilings.c times, one set per instruction set. */
#ifndef TSR_TUNER_CEILINGS_KERNELS_H
#define TSR_TUNER_CEILINGS_KERNELS_H
#include "tuner/ceilings.h"
#include <stddef.h>
#include <stdint.h>

enum { TSR_CEILING_ARITHMETIC = TSR_CEILING_L1_READ }; /* those before it */

/* A loop in registers; returns something that depends on its work. */
typedef struct tsr_ceiling_loop {
  double (*run)(int64_t rounds); /* NULL: the machine has not what it takes */
  double ops;                    /* of one round */
} tsr_ceiling_loop;

typedef struct tsr_ceiling_kernels {
  tsr_ceiling_loop arithmetic[TSR_CEILING_ARITHMETIC];
  /* `bytes` is a multiple of 1024, addresses are multiples of 64. */
  double (*read)(const void *from, size_t bytes);
  void (*copy)(void *to, const void *from, size_t bytes);
  void (*stream)(void *to, const void *from, size_t bytes);
} tsr_ceiling_kernels;

/* The best set for this machine. */
void tsr_ceiling_kernels_select(tsr_ceiling_kernels *out_kernels);

#endif
