/* TreeEnsembleClassifier and TreeEnsembleRegressor (ai.onnx.ml before opset 5): nodes are named by
 * tree and number, leaves among them, and weights say which leaf and target they belong to. */
#include "frontend/onnx/op_table.h"
#include "frontend/onnx/tree.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_WEIGHTS = 1 << 24 };

typedef struct place {
  int64_t tree, node;
  uint32_t at; /* in the attributes */
} place;

typedef struct ensemble {
  tsr_forest f;
  uint32_t count;   /* nodes and leaves */
  place *places;    /* sorted */
  int64_t *numbers; /* by position: a node, or nodes + leaf */
  int64_t targets;
  bool one_target, negative; /* of the weights: all are of target 0; one is below 0 */
  double *weights;           /* [leaves, targets] */
} ensemble;

static int by_place(const void *a, const void *b) {
  const place *x = a, *y = b;
  if (x->tree != y->tree)
    return x->tree < y->tree ? -1 : 1;
  return x->node < y->node ? -1 : x->node > y->node;
}

static const place *find_place(const ensemble *e, int64_t tree, int64_t node) {
  place wanted = {tree, node, 0};
  return bsearch(&wanted, e->places, e->count, sizeof *e->places, by_place);
}

/* Numbers that are a list of floats, or a tensor. */
static double *numbers_of(tsr_lower *l, const char *floats_name, const char *tensor_name,
                          uint32_t *out_count) {
  double *tensor = tsr_tree_numbers(l, tensor_name, out_count);
  if (tensor)
    return tensor;
  const float *floats = tsr_lower_floats(l, floats_name, out_count);
  double *made = floats ? tsr_lower_alloc(l, *out_count + (uint64_t)1, sizeof *made) : NULL;
  for (uint32_t i = 0; made && i < *out_count; i++)
    made[i] = (double)floats[i];
  return made;
}

/* A tsr_tree_mode, TSR_TREE_MODES for a leaf, -1 for anything else. */
static int read_mode(const tsr_wire_bytes *text) {
  static const char *const words[] = {"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE",
                                      "BRANCH_GT",  "BRANCH_EQ", "BRANCH_NEQ"};
  for (int i = 0; i < (int)(sizeof words / sizeof *words); i++)
    if (text->size == strlen(words[i]) && memcmp(text->data, words[i], text->size) == 0)
      return i;
  return text->size == 4 && memcmp(text->data, "LEAF", 4) == 0 ? TSR_TREE_MODES : -1;
}

/* Numbers the branches and the leaves, and says what is where. */
static bool number_nodes(ensemble *e, const int64_t *trees, const int64_t *ids) {
  tsr_lower *l = e->f.l;
  const tsr_onnx_attribute *modes = tsr_lower_attr(l, "nodes_modes");
  int64_t *mode = tsr_lower_alloc(l, e->count + (uint64_t)1, sizeof *mode);
  e->places = tsr_lower_alloc(l, e->count, sizeof *e->places);
  e->numbers = tsr_lower_alloc(l, e->count, sizeof *e->numbers);
  e->f.modes = mode;
  if (!modes || modes->type != TSR_ONNX_STRINGS || modes->strings.count != e->count || !mode ||
      !e->places || !e->numbers)
    return false;
  for (uint32_t i = 0; i < e->count; i++) {
    int kind = read_mode(&modes->strings.items[i]);
    if (kind < 0)
      return false;
    e->places[i] = (place){trees[i], ids[i], i};
    e->numbers[i] = kind == TSR_TREE_MODES ? -1 - (int64_t)e->f.leaves++ : (int64_t)e->f.nodes;
    if (kind != TSR_TREE_MODES)
      mode[e->f.nodes++] = kind;
  }
  if (e->f.nodes == 0) /* leaves alone: a node that nobody comes to */
    mode[e->f.nodes++] = TSR_TREE_LE;
  for (uint32_t i = 0; i < e->count; i++)
    if (e->numbers[i] < 0)
      e->numbers[i] = (int64_t)e->f.nodes - 1 - e->numbers[i];
  qsort(e->places, e->count, sizeof *e->places, by_place);
  for (uint32_t i = 1; i < e->count; i++)
    if (by_place(&e->places[i - 1], &e->places[i]) == 0)
      return false;
  return true;
}

/* Where branches lead, what they ask; a tree's root is the node to which none leads. */
static bool link_nodes(ensemble *e, const int64_t *trees) {
  tsr_forest *f = &e->f;
  tsr_lower *l = f->l;
  uint32_t counts[5], missing;
  const int64_t *to[2] = {tsr_lower_ints(l, "nodes_falsenodeids", &counts[0]),
                          tsr_lower_ints(l, "nodes_truenodeids", &counts[1])};
  const int64_t *features = tsr_lower_ints(l, "nodes_featureids", &counts[2]);
  const int64_t *tracks = tsr_lower_ints(l, "nodes_missing_value_tracks_true", &missing);
  const double *splits = numbers_of(l, "nodes_values", "nodes_values_as_tensor", &counts[3]);
  uint64_t all = (uint64_t)f->nodes + f->leaves;
  bool *led_to = tsr_lower_alloc(l, e->count, sizeof *led_to);
  int64_t *asked = tsr_lower_alloc(l, f->nodes, sizeof *asked);
  int64_t *marks = tsr_lower_alloc(l, f->nodes, sizeof *marks);
  int64_t *roots = tsr_lower_alloc(l, e->count, sizeof *roots);
  f->splits = tsr_lower_alloc(l, f->nodes, sizeof *f->splits);
  f->next[0] = tsr_lower_alloc(l, all, sizeof(int64_t));
  f->next[1] = tsr_lower_alloc(l, all, sizeof(int64_t));
  if (!to[0] || !to[1] || !features || !splits || !led_to || !asked || !marks || !roots ||
      !f->splits || !f->next[0] || !f->next[1])
    return false;
  for (int i = 0; i < 4; i++)
    if (counts[i] != e->count)
      return false;
  memset(led_to, 0, e->count * sizeof *led_to);
  for (uint64_t i = 0; i < all; i++)
    f->next[0][i] = f->next[1][i] = (int64_t)i;
  f->splits[0] = 0;
  asked[0] = marks[0] = 0;
  for (uint32_t i = 0; i < e->count; i++) {
    int64_t number = e->numbers[i];
    if (number >= f->nodes)
      continue;
    f->splits[number] = splits[i];
    asked[number] = features[i];
    marks[number] = tracks && missing == e->count ? tracks[i] : 0;
    for (int side = 0; side < 2; side++) {
      const place *next = find_place(e, trees[i], to[side][i]);
      if (!next)
        return false;
      f->next[side][number] = e->numbers[next->at];
      led_to[next->at] = true;
    }
  }
  for (uint32_t i = 0; i < e->count; i++)
    if (!led_to[i])
      roots[f->trees++] = e->numbers[i];
  f->features = asked;
  f->missing = tracks && missing == e->count ? marks : NULL;
  f->roots = roots;
  return f->trees > 0 && tsr_tree_find_depth(f);
}

/* The weights of leaves, named with the prefix "class" or "target". */
static bool read_weights(ensemble *e, const char *prefix) {
  tsr_lower *l = e->f.l;
  uint32_t counts[4];
  const char *names[5];
  static const char *const ends[5] = {"_treeids", "_nodeids", "_ids", "_weights",
                                      "_weights_as_tensor"};
  for (int i = 0; i < 5; i++)
    if (!(names[i] = tsr_arena_printf(l->arena, "%s%s", prefix, ends[i])))
      return false;
  const int64_t *trees = tsr_lower_ints(l, names[0], &counts[0]);
  const int64_t *nodes = tsr_lower_ints(l, names[1], &counts[1]);
  const int64_t *ids = tsr_lower_ints(l, names[2], &counts[2]);
  const double *weights = numbers_of(l, names[3], names[4], &counts[3]);
  uint64_t room = (uint64_t)e->f.leaves * (uint64_t)e->targets;
  e->weights = room <= MOST_WEIGHTS ? tsr_lower_alloc(l, room, sizeof *e->weights) : NULL;
  if (!trees || !nodes || !ids || !weights || !e->weights || counts[0] != counts[1] ||
      counts[1] != counts[2] || counts[2] != counts[3])
    return false;
  for (uint64_t i = 0; i < room; i++)
    e->weights[i] = 0;
  e->one_target = true;
  for (uint32_t i = 0; i < counts[0]; i++) {
    const place *at = find_place(e, trees[i], nodes[i]);
    if (!at || e->numbers[at->at] < e->f.nodes || ids[i] < 0 || ids[i] >= e->targets)
      return false;
    e->weights[(e->numbers[at->at] - e->f.nodes) * e->targets + ids[i]] += weights[i];
    e->one_target = e->one_target && ids[i] == 0;
    e->negative = e->negative || weights[i] < 0;
  }
  return true;
}

/* Sums of weights [N, targets]. */
static tsr_status sum_weights(tsr_lower *l, ensemble *e, const char *prefix, int64_t targets,
                              tsr_value *out) {
  static const int64_t over_trees = 1;
  uint32_t trees, ids;
  TSR_TRY(tsr_lower_need(l, 1));
  memset(e, 0, sizeof *e);
  e->f.l = l;
  e->targets = targets;
  const int64_t *tree = tsr_lower_ints(l, "nodes_treeids", &trees);
  const int64_t *id = tsr_lower_ints(l, "nodes_nodeids", &ids);
  e->count = trees;
  if (!tree || !id || trees != ids || trees == 0 || trees > TSR_TREE_MOST_NODES || targets < 1 ||
      targets > MOST_WEIGHTS || !number_nodes(e, tree, id) || !link_nodes(e, tree) ||
      !read_weights(e, prefix))
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "its attributes are no trees of %u nodes", trees);
  if (e->f.depth > TSR_TREE_MOST_DEPTH)
    return tsr_lower_unsupported(l, "trees deeper than %d", TSR_TREE_MOST_DEPTH);
  tsr_value x = tsr_lower_value(l, 0), leaf;
  if (v_dtype(l, x) != TSR_F64)
    x = v_cast(l, x, TSR_F32);
  TSR_TRY(tsr_tree_walk(&e->f, x, &leaf));
  tsr_expr dims[2] = {e_int(l, e->f.leaves), e_int(l, targets)};
  uint32_t numbers = e->f.leaves * (uint32_t)targets;
  tsr_value table = v_reshape(l, v_vector_float(l, v_dtype(l, x), e->weights, numbers), dims, 2);
  *out = tsr_graph_reduce(l->b, tsr_graph_gather(l->b, table, leaf, 0), "add", &over_trees, 1);
  return TSR_OK;
}

static tsr_value add_base(tsr_lower *l, tsr_value y, const double *base, uint32_t count) {
  return base && count > 0 ? v_add(l, y, v_vector_float(l, v_dtype(l, y), base, count)) : y;
}

tsr_status tsr_lower_op_tree_regressor(tsr_lower *l) {
  ensemble e;
  tsr_value y;
  uint32_t bases;
  const char *how = tsr_lower_text(l, "aggregate_function", "SUM");
  const char *after = tsr_lower_text(l, "post_transform", "NONE");
  int64_t targets = tsr_lower_int(l, "n_targets", 1);
  if (strcmp(how, "SUM") != 0 && strcmp(how, "AVERAGE") != 0)
    return tsr_lower_unsupported(l, "aggregate_function = '%s'", how);
  if (strcmp(after, "NONE") != 0)
    return tsr_lower_unsupported(l, "post_transform = '%s'", after);
  TSR_TRY(sum_weights(l, &e, "target", targets, &y));
  if (strcmp(how, "AVERAGE") == 0)
    y = v_mul_number(l, y, 1.0 / (double)e.f.trees);
  const double *base = numbers_of(l, "base_values", "base_values_as_tensor", &bases);
  if (base && bases > 0 && bases != targets)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%u base_values for %lld targets", bases,
                           (long long)targets);
  y = add_base(l, y, base, bases);
  tsr_lower_set(l, 0, v_cast(l, y, TSR_F32));
  return TSR_OK;
}

/* Scores of both classes from the one that trees give, as ONNX Runtime has them: a probability when
 * no weight is negative, else a number whose sign decides. The logistic function takes it for the
 * latter, and the label stays. */
static tsr_value score_both(tsr_lower *l, const ensemble *e, tsr_value s, tsr_value *out_second) {
  bool logistic = strcmp(tsr_lower_text(l, "post_transform", "NONE"), "LOGISTIC") == 0;
  *out_second = v_gt(l, s, v_number(l, s, e->negative ? 0 : 0.5));
  tsr_value other = e->negative || logistic ? v_neg(l, s) : v_sub(l, v_number(l, s, 1), s);
  tsr_value parts[2] = {other, s};
  for (int i = 0; logistic && i < 2; i++)
    parts[i] = v_sigmoid(l, parts[i]);
  return tsr_graph_concat(l->b, parts, 2, 1);
}

tsr_status tsr_lower_op_tree_classifier(tsr_lower *l) {
  static const int64_t last = 1;
  ensemble e;
  tsr_value y, at;
  uint32_t count, bases;
  const int64_t *labels = tsr_lower_text_numbers(l, "classlabels_strings", &count);
  const char *after = tsr_lower_text(l, "post_transform", "NONE");
  bool text = labels && count > 0;
  if (!text)
    labels = tsr_lower_ints(l, "classlabels_int64s", &count);
  if (!labels || count < 2)
    return tsr_lower_unsupported(l, "%u class labels", count);
  if (strcmp(after, "NONE") != 0 && strcmp(after, "LOGISTIC") != 0 && strcmp(after, "SOFTMAX") != 0)
    return tsr_lower_unsupported(l, "post_transform = '%s'", after);
  TSR_TRY(sum_weights(l, &e, "class", count, &y));
  const double *base = numbers_of(l, "base_values", "base_values_as_tensor", &bases);
  bool both = count == 2;
  if (both && (!e.one_target || bases > 1 || strcmp(after, "SOFTMAX") == 0))
    return tsr_lower_unsupported(l,
                                 "two classes of which both have weights, base values or Softmax");
  if (!both && base && bases > 0 && bases != count)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%u base_values for %u classes", bases, count);
  if (both) {
    tsr_value one = add_base(l, v_slice_axis(l, y, 1, e_int(l, 0), e_int(l, 1)), base, bases);
    y = score_both(l, &e, one, &at);
    tsr_expr rows = v_dim(l, y, 0);
    at = v_reshape(l, v_cast(l, at, TSR_I64), &rows, 1);
  } else {
    y = add_base(l, y, base, bases);
    at = tsr_graph_arg_reduce(l->b, y, "max", 1, false);
    y = strcmp(after, "SOFTMAX") == 0    ? v_softmax(l, y, &last, 1)
        : strcmp(after, "LOGISTIC") == 0 ? v_sigmoid(l, y)
                                         : y;
  }
  tsr_lower_set(l, 0, tsr_graph_gather(l->b, v_vector_i64(l, labels, count), at, 0));
  if (text && l->out[0])
    l->out[0]->text = true;
  tsr_lower_set(l, 1, v_cast(l, y, TSR_F32));
  return TSR_OK;
}
