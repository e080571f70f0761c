/* Ensembles of trees: what the operators of all opsets of ai.onnx.ml share. */
#ifndef TSR_FRONTEND_ONNX_TREE_H
#define TSR_FRONTEND_ONNX_TREE_H
#include "frontend/onnx/build.h"

enum { TSR_TREE_MOST_NODES = 1 << 20, TSR_TREE_MOST_DEPTH = 64 };

typedef enum tsr_tree_mode {
  TSR_TREE_LE,
  TSR_TREE_LT,
  TSR_TREE_GE,
  TSR_TREE_GT,
  TSR_TREE_EQ,
  TSR_TREE_NE,
  TSR_TREE_MEMBER,
  TSR_TREE_MODES
} tsr_tree_mode;

/* Numbers from `nodes` on are leaves, which lead to themselves. */
typedef struct tsr_forest {
  tsr_lower *l;
  uint32_t nodes, leaves, trees, depth;
  const int64_t *features, *roots;
  const int64_t *missing; /* by node: NaN goes the way of true; NULL: nowhere */
  int64_t *next[2];       /* on false and true, by node and leaf */
  int64_t *modes;         /* tsr_tree_mode */
  double *splits;
} tsr_forest;

/* The elements of a tensor attribute as numbers; NULL when absent. */
double *tsr_tree_numbers(tsr_lower *l, const char *name, uint32_t *out_count);
/* The steps until all rows are at leaves; false: a node is in it twice. */
bool tsr_tree_find_depth(tsr_forest *f);
/* The leaf of each row of x [N, features] in each tree, i64 [N, trees]. */
TSR_WARN_UNUSED tsr_status tsr_tree_walk(const tsr_forest *f, tsr_value x, tsr_value *out_leaf);

#endif
