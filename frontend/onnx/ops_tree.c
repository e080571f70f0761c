/* TreeEnsemble (ai.onnx.ml): all nodes decide at once, then every row walks all trees in step, from
 * the roots down to the leaves. */
#include "frontend/onnx/op_table.h"
#include "frontend/onnx/sizes.h"
#include "frontend/onnx/tree.h"
#include "runtime/float_convert.h"
#include <math.h>
#include <string.h>

enum { MOST_MEMBERS = 1 << 20 };
enum { AVERAGE, SUM, LEAST, GREATEST };

/* Of the operator of opset 5. */
typedef struct forest {
  tsr_forest f;
  const int64_t *targets;
  double *weights;
} forest;

static const tsr_onnx_tensor *tensor_attr(tsr_lower *l, const char *name) {
  const tsr_onnx_attribute *a = tsr_lower_attr(l, name);
  return a && a->type == TSR_ONNX_TENSOR && a->t && a->t->data && a->t->dtype != TSR_DTYPE_NONE
             ? a->t
             : NULL;
}

/* The elements of a tensor attribute as numbers; NULL when absent. */
double *tsr_tree_numbers(tsr_lower *l, const char *name, uint32_t *out_count) {
  const tsr_onnx_tensor *t = tensor_attr(l, name);
  *out_count = 0;
  if (!t || t->elements < 0 || (int64_t)t->elements > TSR_TREE_MOST_NODES)
    return NULL;
  double *numbers = tsr_lower_alloc(l, (uint64_t)t->elements, sizeof *numbers);
  bool floating = tsr_dtype_class_of(t->dtype) == TSR_CLASS_FLOAT;
  for (int64_t i = 0; numbers && i < (int64_t)t->elements; i++)
    numbers[i] = floating ? tsr_element_load_f64(t->dtype, t->data, i)
                          : (double)tsr_element_load_i64(t->dtype, t->data, i);
  *out_count = (uint32_t)t->elements;
  return numbers;
}

/* Where the nodes lead on `side` (1: true). */
static bool read_side(tsr_forest *f, int side, const char *ids_name, const char *leaf_name) {
  tsr_lower *l = f->l;
  uint32_t count, flags;
  const int64_t *ids = tsr_lower_ints(l, ids_name, &count);
  const int64_t *leaf = tsr_lower_ints(l, leaf_name, &flags);
  uint64_t all = (uint64_t)f->nodes + f->leaves;
  f->next[side] = tsr_lower_alloc(l, all, sizeof(int64_t));
  if (!ids || !leaf || count != f->nodes || flags != f->nodes || !f->next[side])
    return false;
  for (uint32_t i = 0; i < f->nodes; i++) {
    if (ids[i] < 0 || ids[i] >= (leaf[i] ? f->leaves : f->nodes))
      return false;
    f->next[side][i] = leaf[i] ? (int64_t)f->nodes + ids[i] : ids[i];
  }
  for (uint64_t i = f->nodes; i < all; i++)
    f->next[side][i] = (int64_t)i;
  return true;
}

/* The nodes of each level in turn. A tree has no node twice. */
bool tsr_tree_find_depth(tsr_forest *f) {
  uint32_t *level = tsr_lower_alloc(f->l, (uint64_t)f->nodes + f->trees + 1, sizeof *level);
  uint32_t from = 0, end = 0;
  if (!level)
    return false;
  for (uint32_t t = 0; t < f->trees; t++) {
    if (f->roots[t] >= f->nodes)
      continue;
    if (f->roots[t] < 0 || end > f->nodes)
      return false;
    level[end++] = (uint32_t)f->roots[t];
  }
  for (f->depth = 0; from < end && f->depth <= TSR_TREE_MOST_DEPTH; f->depth++)
    for (uint32_t stop = end; from < stop; from++)
      for (int side = 0; side < 2; side++) {
        int64_t next = f->next[side][level[from]];
        if (next >= f->nodes)
          continue;
        if (end > f->nodes)
          return false;
        level[end++] = (uint32_t)next;
      }
  return true;
}

static tsr_status read_forest(tsr_lower *l, forest *made) {
  uint32_t modes, splits, features, targets, missing;
  tsr_forest *f = &made->f;
  memset(made, 0, sizeof *made);
  f->l = l;
  TSR_TRY(tsr_lower_need(l, 1));
  const double *mode = tsr_tree_numbers(l, "nodes_modes", &modes);
  f->splits = tsr_tree_numbers(l, "nodes_splits", &splits);
  made->weights = tsr_tree_numbers(l, "leaf_weights", &f->leaves);
  f->features = tsr_lower_ints(l, "nodes_featureids", &features);
  made->targets = tsr_lower_ints(l, "leaf_targetids", &targets);
  f->roots = tsr_lower_ints(l, "tree_roots", &f->trees);
  f->nodes = features;
  if (!mode || !f->splits || !made->weights || !f->features || !made->targets || !f->roots ||
      modes != f->nodes || splits != f->nodes || targets != f->leaves || f->nodes == 0 ||
      f->nodes > TSR_TREE_MOST_NODES || f->leaves == 0 || f->trees == 0 ||
      !read_side(f, 0, "nodes_falsenodeids", "nodes_falseleafs") ||
      !read_side(f, 1, "nodes_truenodeids", "nodes_trueleafs") || !tsr_tree_find_depth(f))
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "its attributes are no %u trees of %u nodes",
                           f->trees, f->nodes);
  if (f->depth > TSR_TREE_MOST_DEPTH)
    return tsr_lower_unsupported(l, "trees deeper than %d", TSR_TREE_MOST_DEPTH);
  for (uint32_t t = 0; t < f->trees; t++)
    if (f->roots[t] >= f->nodes)
      return tsr_lower_wrong(l, TSR_ERR_FORMAT, "a root is no node");
  f->missing = tsr_lower_ints(l, "nodes_missing_value_tracks_true", &missing);
  if (missing != f->nodes)
    f->missing = NULL;
  f->modes = tsr_lower_alloc(l, f->nodes, sizeof *f->modes);
  for (uint32_t i = 0; f->modes && i < f->nodes; i++) {
    if (!(mode[i] >= 0 && mode[i] < (double)TSR_TREE_MODES))
      return tsr_lower_wrong(l, TSR_ERR_FORMAT, "nodes_modes has %g", mode[i]);
    f->modes[i] = (int64_t)mode[i];
  }
  return TSR_OK;
}

/* Which nodes have `mode`, bool [nodes]; 0: none. */
static tsr_value nodes_of_mode(const tsr_forest *f, int mode) {
  bool any = false;
  for (uint32_t i = 0; f->modes && i < f->nodes; i++)
    any |= f->modes[i] == mode;
  if (!any)
    return 0;
  tsr_value modes = v_vector_i64(f->l, f->modes, f->nodes);
  return v_eq(f->l, modes, v_number(f->l, modes, mode));
}

/* Whether x [N, nodes] is in the set of its node: the sets of the nodes of mode MEMBER in order,
 * each ended by a NaN. */
static tsr_status is_member(const tsr_forest *f, tsr_value x, tsr_value *out) {
  tsr_lower *l = f->l;
  static const int64_t last = 2;
  uint32_t count, width = 1, at = 0;
  const double *members = tsr_tree_numbers(l, "membership_values", &count);
  for (uint32_t i = 0, run = 0; members && i < count; i++) {
    run = isnan(members[i]) ? 0 : run + 1;
    width = run > width ? run : width;
  }
  uint64_t room = (uint64_t)width * f->nodes;
  if (room > MOST_MEMBERS)
    return tsr_lower_unsupported(l, "sets of %u members in %u nodes", width, f->nodes);
  double *table = tsr_lower_alloc(l, room, sizeof *table);
  if (!table)
    return TSR_ERR_OUT_OF_MEMORY;
  for (uint64_t i = 0; i < room; i++)
    table[i] = (double)NAN; /* equal to nothing */
  for (uint32_t i = 0; f->modes && i < f->nodes; i++) {
    if (f->modes[i] != TSR_TREE_MEMBER)
      continue;
    for (uint32_t k = 0; members && at < count && !isnan(members[at]); k++)
      table[(uint64_t)i * width + k] = members[at++];
    if (!members || at++ >= count)
      return tsr_lower_wrong(l, TSR_ERR_FORMAT, "membership_values has too few sets");
  }
  tsr_expr dims[2] = {e_int(l, f->nodes), e_int(l, width)};
  tsr_value sets = v_vector_float(l, v_dtype(l, x), table, (uint32_t)room);
  tsr_value same = v_eq(l, v_unsqueeze(l, x, 2), v_reshape(l, sets, dims, 2));
  same = tsr_graph_reduce(l->b, v_cast(l, same, TSR_I32), "max", &last, 1);
  *out = v_gt(l, same, v_number(l, same, 0));
  return TSR_OK;
}

/* What each node decides for each row, bool [N, nodes]. */
static tsr_status decide(const tsr_forest *f, tsr_value x, tsr_value *out) {
  static const tsr_opcode codes[] = {TSR_OP_LE, TSR_OP_LT, TSR_OP_GE,
                                     TSR_OP_GT, TSR_OP_EQ, TSR_OP_NE};
  tsr_lower *l = f->l;
  tsr_value splits = v_vector_float(l, v_dtype(l, x), f->splits, f->nodes);
  x = tsr_graph_gather(l->b, x, v_vector_i64(l, f->features, f->nodes), 1);
  *out = 0;
  for (int mode = 0; mode < TSR_TREE_MODES; mode++) {
    tsr_value here = nodes_of_mode(f, mode), holds;
    if (!here)
      continue;
    if (mode == TSR_TREE_MEMBER)
      TSR_TRY(is_member(f, x, &holds));
    else
      holds = v_binary(l, codes[mode], x, splits);
    holds = v_and(l, holds, here);
    *out = *out ? v_or(l, *out, holds) : holds;
  }
  if (f->missing) {
    tsr_value marks = v_vector_i64(l, f->missing, f->nodes);
    tsr_value tracks = v_and(l, v_unary(l, TSR_OP_ISNAN, x), v_ne(l, marks, v_number(l, marks, 0)));
    *out = v_or(l, *out, tracks);
  }
  return TSR_OK;
}

/* Trees may ask for no feature that x lacks. */
static tsr_status check_features(const tsr_forest *f, tsr_value x) {
  tsr_lower *l = f->l;
  int64_t features, highest = -1, lowest = 0;
  for (uint32_t i = 0; i < f->nodes; i++) {
    highest = f->features[i] > highest ? f->features[i] : highest;
    lowest = f->features[i] < lowest ? f->features[i] : lowest;
  }
  bool known = v_static_dim(l, x, 1, &features);
  if (!known)
    tsr_size_check(l, v_le(l, tsr_graph_index(l->b, TSR_I64, v_dim(l, x, 1)), v_i64(l, highest)),
                   "there are fewer features than the trees ask for");
  if (lowest < 0 || (known && highest >= features))
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "feature %lld of %lld",
                           (long long)(lowest < 0 ? lowest : highest),
                           (long long)(known ? features : -1));
  return TSR_OK;
}

tsr_status tsr_tree_walk(const tsr_forest *f, tsr_value x, tsr_value *out_leaf) {
  tsr_lower *l = f->l;
  tsr_value decisions;
  *out_leaf = 0;
  if (v_rank(l, x) != 2 || !v_is_float(l, x))
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "needs floats [rows, features]");
  TSR_TRY(check_features(f, x));
  TSR_TRY(decide(f, x, &decisions));
  tsr_expr dims[2] = {v_dim(l, decisions, 0), e_int(l, f->trees)};
  uint32_t all = f->nodes + f->leaves;
  tsr_value no = v_vector_i64(l, f->next[0], all), yes = v_vector_i64(l, f->next[1], all);
  tsr_value at = tsr_graph_broadcast(l->b, v_vector_i64(l, f->roots, f->trees), dims, 2);
  for (uint32_t i = 0; i < f->depth; i++) {
    tsr_value node = v_min(l, at, v_number(l, at, (double)(f->nodes - 1)));
    tsr_value holds = tsr_graph_gather_elements(l->b, decisions, node, 1);
    at = v_select(l, holds, tsr_graph_gather(l->b, yes, at, 0), tsr_graph_gather(l->b, no, at, 0));
  }
  *out_leaf = v_add_number(l, at, -(double)f->nodes);
  return TSR_OK;
}

tsr_status tsr_lower_op_tree_ensemble(tsr_lower *l) {
  static const char *const combine[] = {"add", "add", "min", "max"};
  forest f;
  TSR_TRY(read_forest(l, &f));
  int64_t targets = tsr_lower_int(l, "n_targets", 0), after = tsr_lower_int(l, "post_transform", 0);
  int64_t how = tsr_lower_int(l, "aggregate_function", SUM);
  tsr_value x = v_widen(l, tsr_lower_value(l, 0)), leaf;
  if (after != 0)
    return tsr_lower_unsupported(l, "post_transform %lld", (long long)after);
  if (how < AVERAGE || how > GREATEST || targets < 1 || targets > TSR_TREE_MOST_NODES)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "aggregate_function %lld, n_targets %lld",
                           (long long)how, (long long)targets);
  for (uint32_t i = 0; i < f.f.leaves; i++)
    if (f.targets[i] < 0 || f.targets[i] >= targets)
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "target %lld of %lld", (long long)f.targets[i],
                             (long long)targets);
  TSR_TRY(tsr_tree_walk(&f.f, x, &leaf));
  tsr_value weight = v_vector_float(l, v_dtype(l, x), f.weights, f.f.leaves);
  tsr_expr dims[2] = {v_dim(l, x, 0), e_int(l, targets)};
  double most = v_dtype(l, x) == TSR_F64 ? 1.79769313486231570815e308 : 3.40282346638528859812e38;
  double start = how == LEAST ? most : how == GREATEST ? -most : 0;
  tsr_value y = tsr_graph_splat(l->b, v_dtype(l, x), start, dims, 2);
  tsr_value where = tsr_graph_gather(l->b, v_vector_i64(l, f.targets, f.f.leaves), leaf, 0);
  weight = tsr_graph_gather(l->b, weight, leaf, 0);
  y = tsr_graph_scatter_elements(l->b, y, where, weight, 1, combine[how]);
  if (how == AVERAGE)
    y = v_mul_number(l, y, 1.0 / (double)f.f.trees);
  tsr_lower_set(l, 0, v_cast(l, y, l->in[0]->dtype));
  return TSR_OK;
}
