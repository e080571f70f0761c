/* Contractions with given schedules, from graph text through tiling and code generation to the
 * emulated device, compared with the block oracle in float64.
 *
 * The bound of an element is derived: the same graph on the absolute values of all numbers gives A,
 * what the magnitudes add up to. A sum of K products loses at most K u A, u the unit roundoff of
 * the accumulator; each rounding of an operand, or behind the sum, loses at most its own u A. That
 * holds for bodies of sums, products, max with 0 and casts, and only such are written here. */
#ifndef TSR_TESTS_CUDA_GEMM_RUN_H
#define TSR_TESTS_CUDA_GEMM_RUN_H
#include <stdbool.h>
#include <stdint.h>

enum { GEMM_DIMS = 4, GEMM_CASES = 16 };

typedef struct gemm_case {
  const char *name;
  const char *graph;    /* what stands between the braces of `graph @g {...}` */
  const char *schedule; /* attributes of the kernel's schedule */
  const char *variant;  /* of @.._1; NULL: none */
  double depth;         /* most products of one sum */
  double sum_unit;      /* unit roundoff of the accumulators; 0: integers */
  double operand_unit;  /* roundings of both operands together */
  double result_unit;   /* roundings behind the sum together */
} gemm_case;

/* Values of the dims M, N, K and B, which the graphs may use. */
typedef struct gemm_dims {
  int64_t values[GEMM_DIMS];
} gemm_dims;

/* All cases are one program of kernels k0, k1 ..; each runs at each of the dims. */
void gemm_run(const char *target, bool tf32, const gemm_case *cases, unsigned count,
              const gemm_dims *dims, unsigned dims_count);

#endif
