/* A graph through the whole compiler against the reference: build it, add bounds, compile with
 * given options, run, compare. */
#ifndef TSR_TESTS_NUMERIC_HARNESS_H
#define TSR_TESTS_NUMERIC_HARNESS_H
#include "ir/graph_build.h"
#include <tessera/compiler.h>

enum { MAX_PORTS = 64 };

typedef struct trial {
  tsr_ir *ir;
  tsr_builder b;
  uint64_t seed; /* of the inputs' data */
  tsr_value inputs[MAX_PORTS], outputs[MAX_PORTS];
  double input_lo[MAX_PORTS], input_hi[MAX_PORTS];
  uint32_t input_count, output_count;
  int64_t dims[16];        /* values of the symbolic dims */
  const char *what;        /* of the failure message */
  double operand_rounding; /* what contractions may lose of their operands, relative to these */
  double loosest; /* not 0: a bound beyond so much of the largest value fails, as it says nothing */
} trial;

void trial_begin(trial *t, uint64_t seed);
void trial_end(trial *t);
/* An input of uniform random data in [lo, hi); integers in [lo, hi]. */
tsr_value trial_input(trial *t, tsr_dtype dtype, const tsr_expr *dims, uint32_t rank, double lo,
                      double hi);
tsr_value trial_input_static(trial *t, tsr_dtype dtype, const int64_t *dims, uint32_t rank,
                             double lo, double hi);
/* A constant of random elements: floats in [-1, 1). */
tsr_value trial_const(trial *t, tsr_dtype dtype, const int64_t *dims, uint32_t rank, int64_t seed);
/* Compares `value` at the end. */
void trial_output(trial *t, tsr_value value);
/* A symbolic dim that will have `value`. */
tsr_expr trial_dim(trial *t, const char *name, int64_t value);

/* Compiles the graph for every option set, runs each and compares all outputs: floats within
 * error_bound, everything else exactly, NaN equal to NaN. Returns true, or prints what differs
 * (seed, output, element, values, IR) to stderr. */
bool trial_check(trial *t, const tsr_compile_options *options, uint32_t option_count);

/* splitmix64 */
uint64_t next_random(uint64_t *state);
/* Uniform in [0, bound). */
uint32_t random_below(uint64_t *state, uint32_t bound);

#endif
