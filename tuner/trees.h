/* Gradient-boosted regression trees over groups of rows: a group's figure is a constant and the sum
 * of what the trees say of its rows (as Ansor sums over stores: Zheng et al., OSDI'20, section
 * 5.2). Training is deterministic. Source: Chen and Guestrin, XGBoost, KDD'16, equations 6 and 7.
 */
#ifndef TSR_TUNER_TREES_H
#define TSR_TUNER_TREES_H
#include "runtime/diag.h"
#include <stdint.h>
#include <tessera/allocator.h>

typedef struct tsr_trees tsr_trees;

typedef struct tsr_trees_options {
  uint32_t rounds, depth; /* trees, at most 10000; levels of one, at most 8 */
  double rate;            /* share of each tree, above 0, at most 1 */
  double l2;              /* weight of the leaves' squares, above 0 */
  double least_weight;    /* of a leaf: sum over its rows of their groups' weights */
} tsr_trees_options;

/* Groups: rows ends[i-1] .. ends[i] (ends[-1] = 0), each of `features` floats, a label and a weight
 * (NULL: 1). Minimises the weighted square error; no tree makes it greater. ARGUMENT: no groups,
 * not finite numbers, options outside their ranges. OUT_OF_MEMORY. */
TSR_WARN_UNUSED tsr_status tsr_trees_train(const float *rows, uint32_t features,
                                           const uint32_t *ends, const double *labels,
                                           const double *weights, uint32_t groups,
                                           const tsr_trees_options *options,
                                           const tsr_allocator *allocator, tsr_diag *diag,
                                           tsr_trees **out_trees);
void tsr_trees_destroy(tsr_trees *trees); /* NULL is allowed */
/* Of one group of `count` rows. */
double tsr_trees_predict(const tsr_trees *trees, const float *rows, uint32_t count);

#endif
