/* Derived tolerances: beside a graph, a second graph that computes a bound of the absolute error of
 * each value, evaluated by the same reference in float64. Each rule adds the propagated errors of
 * the operands (by monotonicity or Lipschitz constants, never by first-order terms alone) to the
 * rounding of the op itself. Source of the rules: Higham, Accuracy and Stability of Numerical
 * Algorithms, ch. 3 and 4. */
#ifndef TSR_TESTS_NUMERIC_ERROR_GRAPH_H
#define TSR_TESTS_NUMERIC_ERROR_GRAPH_H
#include "ir/graph_build.h"

typedef struct error_graph {
  tsr_builder *b;
  tsr_value *bounds; /* by value id, 0 = not made yet */
  uint32_t capacity;
  double operand_rounding; /* what contractions lose of their operands, relative to these: tf32 */
} error_graph;

/* Accuracy of accuracy.def in ulps; -1 when the op is not listed. */
double op_ulps(tsr_opcode code);
/* Half the distance of 1 to the next larger number of the dtype: unit roundoff. */
double unit_roundoff(tsr_dtype dtype);
/* The smallest positive subnormal. */
double tiny(tsr_dtype dtype);

/* A float64 value of the shape of `value` that bounds its absolute error; inputs and constants are
 * exact. 0 for ops without a rule. */
tsr_value error_bound(error_graph *errors, tsr_value value);

#endif
