/* What the files of default schedules share. */
#ifndef TSR_PASSES_TILE_DEFAULT_H
#define TSR_PASSES_TILE_DEFAULT_H
#include "passes/cost/cuda.h"
#include "passes/tile/nest.h"

/* The knob `grain` of a block of so many cycles: enough tasks for all threads to end together, none
 * so small that it is not worth handing over. */
int64_t tsr_default_grain(const tsr_target *target, double cycles);

static inline int64_t least(int64_t a, int64_t b) {
  return a < b ? a : b;
}

static inline int64_t greatest(int64_t a, int64_t b) {
  return a > b ? a : b;
}

static inline int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

static inline int64_t up_to(int64_t a, int64_t multiple) {
  return ceil_div(a, multiple) * multiple;
}

/* Strategy nest on a CPU. */
void tsr_default_nest(tsr_nest *nest, tsr_schedule *out_schedule);
/* What the model says of a legal schedule on a CPU, of strategy contract, and of strategy nest. */
void tsr_default_contract_cost(tsr_nest *nest, const tsr_schedule *schedule, tsr_cost *out_cost);
void tsr_default_nest_cost(tsr_nest *nest, const tsr_schedule *schedule, tsr_cost *out_cost);

/* For the first block of two that tsr_split_block has made of one with the default `whole`. */
void tsr_default_part(tsr_nest *part, const tsr_schedule *whole, tsr_schedule *out_schedule);
/* The default of a block that is not cut, where that of `inout` would cut it. */
void tsr_default_uncut(tsr_nest *nest, tsr_schedule *inout);

/* The schedule that the model likes best on a CUDA target, and what it says of it. */
void tsr_default_cuda(tsr_nest *nest, tsr_schedule *out_schedule, tsr_cost *out_cost);
/* The best one of strategy nest, where the reduced axis `axis` has `size` turns instead of its own
 * and `parts` tasks take the place of one (-1, 0, 1: it stays). */
void tsr_default_cuda_nest(tsr_nest *nest, int axis, int64_t size, int64_t parts,
                           tsr_schedule *out_schedule, tsr_cost *out_cost);
void tsr_default_cuda_part(tsr_nest *part, const tsr_schedule *whole, tsr_schedule *out_schedule);
void tsr_default_cuda_uncut(tsr_nest *nest, tsr_schedule *inout);
/* As tsr_schedule_variants; `low` is the least extent. */
uint32_t tsr_default_cuda_variants(tsr_nest *nest, const tsr_schedule *first, int64_t low,
                                   tsr_schedule *out, uint32_t most);

/* Registers and shared memory of strategies mma and wgmma, by the model's counts; points of a
 * thread of strategy nest. */
bool tsr_default_cuda_fits(tsr_nest *nest, const tsr_schedule *schedule);
bool tsr_default_cuda_nest_fits(const tsr_nest *nest, const tsr_schedule *schedule);
/* The knob `grain` that goes with the other knobs of strategy nest. */
int64_t tsr_default_cuda_grain(const tsr_nest *nest, const tsr_schedule *schedule);

/* What the model says of a legal schedule; `size` > 0 takes the place of the symbolic extent that
 * tells variants apart. The second kernel of a split is not part of it. */
void tsr_default_cuda_cost(tsr_nest *nest, const tsr_schedule *schedule, int64_t size,
                           tsr_cost *out_cost);
void tsr_default_cuda_nest_cost(tsr_nest *nest, const tsr_schedule *schedule, tsr_cost *out_cost);

#endif
