/* Training, level by level:
 *
 * 1. Every feature is cut into at most BINS bins, once; a row becomes a byte per feature.
 * 2. A tree starts as one node with all rows. A node's histogram (sums per feature and bin) tells
 *    the best cut; its rows are then divided in place, so that a node is always a range of `order`.
 *    Of two children only the smaller one's histogram is summed, the other's is the difference.
 * 3. A leaf's value is what lowers the error most, by the bound below.
 *
 * The error of a group g with n rows, w/2 (F - y)^2, couples its rows: when v_i is added to row i,
 * F grows by their sum, and (sum of n numbers)^2 <= n * (sum of squares). So with gradients
 * w (F - y) and second derivatives n w per row the quadratic that XGBoost minimises lies nowhere
 * below the true error, and no tree of any rate up to 1 makes that greater.
 *
 * The constant of all groups is fitted again behind every tree. */
#include "tuner/trees.h"
#include "runtime/arena.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { BINS = 64, MOST_DEPTH = 8, MOST_ROUNDS = 10000 };

typedef struct sums {
  double gradient, curvature, weight;
} sums;

/* Rows at or below `cut` go to `left`, others to `left` + 1. A leaf has left 0. */
typedef struct node {
  float cut;
  uint32_t feature, left;
  double value;
} node;

struct tsr_trees {
  const tsr_allocator *allocator;
  size_t bytes;
  double base;
  uint32_t features, tree_count;
  const uint32_t *roots; /* first node of each tree */
  const node *nodes;
};

/* A node that is still being divided. */
typedef struct branch {
  uint32_t node, begin, end; /* rows order[begin .. end] */
  sums total;
  sums *histogram; /* used features x BINS */
  uint32_t feature, bin;
  double gain; /* of the best cut; 0: none */
} branch;

typedef struct training {
  const tsr_trees_options *options;
  const float *rows;
  uint32_t features, row_count, groups;
  const uint32_t *ends;
  const double *labels, *weights;
  /* Bins: of used feature u and row r at bins[u * row_count + r]. */
  uint32_t used;
  uint32_t *feature_of;
  float (*cuts)[BINS]; /* the cut above each bin but the last */
  uint32_t *bin_count;
  uint8_t *bins;
  /* Of the present round. */
  uint32_t *order, *spare, *group_of;
  sums *of_row, *ordered; /* by row; by place in `order` */
  double *figures;        /* by group */
  branch *level, *next;
  sums *pool[2]; /* histograms of this level and of the next one */
  node *nodes;
  uint32_t node_count, node_room;
  uint32_t *roots, tree_count;
  tsr_arena arena;
} training;

static int compare_floats(const void *a, const void *b) {
  const float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

/* A number between two neighbours that separates them by `<=`. */
static float between(float a, float b) {
  const float middle = (float)(0.5 * ((double)a + (double)b));
  return middle < b ? middle : a;
}

/* Cuts between distinct values, all of them when there are few, else at quantiles. Returns the
 * number of bins. */
static uint32_t make_cuts(float *sorted, uint32_t count, float out_cuts[BINS]) {
  uint32_t cuts = 0, distinct = 1;
  for (uint32_t i = 1; i < count; i++)
    distinct += sorted[i] > sorted[i - 1];
  uint32_t wanted = 1;
  for (uint32_t i = 1; i < count && cuts < BINS - 1; i++) {
    if (!(sorted[i] > sorted[i - 1]))
      continue;
    /* The first step between values behind each quantile. */
    if (distinct > BINS && (uint64_t)i * BINS < (uint64_t)wanted * count)
      continue;
    out_cuts[cuts++] = between(sorted[i - 1], sorted[i]);
    wanted = (uint32_t)((uint64_t)i * BINS / count) + 1;
  }
  return cuts + 1;
}

static uint8_t bin_of(const float *cuts, uint32_t bins, float value) {
  uint32_t low = 0, high = bins - 1;
  while (low < high) {
    const uint32_t middle = (low + high) / 2;
    if (value <= cuts[middle])
      high = middle;
    else
      low = middle + 1;
  }
  return (uint8_t)low;
}

/* Features that are the same in all rows get no bins. */
static bool make_bins(training *t) {
  float *column = tsr_arena_alloc_array(&t->arena, t->row_count, sizeof *column);
  t->feature_of = tsr_arena_alloc_array(&t->arena, t->features, sizeof *t->feature_of);
  t->bin_count = tsr_arena_alloc_array(&t->arena, t->features, sizeof *t->bin_count);
  t->cuts = tsr_arena_alloc_array(&t->arena, t->features, sizeof *t->cuts);
  t->bins = tsr_arena_alloc_array(&t->arena, t->features, t->row_count);
  if (column == NULL || t->feature_of == NULL || t->bin_count == NULL || t->cuts == NULL ||
      t->bins == NULL)
    return false;
  for (uint32_t f = 0; f < t->features; f++) {
    for (uint32_t r = 0; r < t->row_count; r++)
      column[r] = t->rows[(size_t)r * t->features + f];
    qsort(column, t->row_count, sizeof *column, compare_floats);
    const uint32_t bins = make_cuts(column, t->row_count, t->cuts[t->used]);
    if (bins == 1)
      continue;
    t->feature_of[t->used] = f;
    t->bin_count[t->used] = bins;
    for (uint32_t r = 0; r < t->row_count; r++)
      t->bins[(size_t)t->used * t->row_count + r] =
          bin_of(t->cuts[t->used], bins, t->rows[(size_t)r * t->features + f]);
    t->used++;
  }
  return true;
}

static double weight_of(const training *t, uint32_t group) {
  return t->weights == NULL ? 1 : t->weights[group];
}

static uint32_t begin_of(const training *t, uint32_t group) {
  return group == 0 ? 0 : t->ends[group - 1];
}

static tsr_status check(const training *t, tsr_diag *diag) {
  const tsr_trees_options *o = t->options;
  if (t->groups == 0 || t->features == 0)
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "trees: nothing to train with");
  if (o->rounds == 0 || o->rounds > MOST_ROUNDS || o->depth == 0 || o->depth > MOST_DEPTH ||
      !(o->rate > 0 && o->rate <= 1) || !(o->l2 > 0 && isfinite(o->l2)) || !(o->least_weight >= 0))
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "trees: options outside their ranges");
  double whole = 0;
  for (uint32_t g = 0; g < t->groups; g++) {
    if (t->ends[g] < begin_of(t, g))
      return tsr_fail(diag, TSR_ERR_ARGUMENT, "trees: the ends of groups must rise");
    if (!isfinite(t->labels[g]) || !isfinite(weight_of(t, g)) || weight_of(t, g) < 0)
      return tsr_fail(diag, TSR_ERR_ARGUMENT, "trees: group %u has no finite label and weight", g);
    whole += weight_of(t, g);
  }
  if (!(whole > 0) || !isfinite(whole))
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "trees: the groups have no weight");
  for (size_t i = 0; i < (size_t)t->row_count * t->features; i++)
    if (!isfinite(t->rows[i]))
      return tsr_fail(diag, TSR_ERR_ARGUMENT, "trees: row %zu has a number that is not finite",
                      i / t->features);
  return TSR_OK;
}

static bool allocate(training *t) {
  const size_t leaves = (size_t)1 << t->options->depth, rows = t->row_count + 1u;
  /* A leaf has a row at least. */
  const size_t branches = leaves < rows ? leaves : rows;
  const size_t histograms = (branches + 1) * (t->used + 1u) * BINS;
  t->order = tsr_arena_alloc_array(&t->arena, rows, sizeof *t->order);
  t->spare = tsr_arena_alloc_array(&t->arena, rows, sizeof *t->spare);
  t->group_of = tsr_arena_alloc_array(&t->arena, rows, sizeof *t->group_of);
  t->of_row = tsr_arena_alloc_array(&t->arena, rows, sizeof *t->of_row);
  t->ordered = tsr_arena_alloc_array(&t->arena, rows, sizeof *t->ordered);
  t->figures = tsr_arena_alloc_array(&t->arena, t->groups, sizeof *t->figures);
  t->level = tsr_arena_alloc_array(&t->arena, branches, sizeof *t->level);
  t->next = tsr_arena_alloc_array(&t->arena, branches, sizeof *t->next);
  t->pool[0] = tsr_arena_alloc_array(&t->arena, histograms, sizeof *t->pool[0]);
  t->pool[1] = tsr_arena_alloc_array(&t->arena, histograms, sizeof *t->pool[1]);
  t->roots = tsr_arena_alloc_array(&t->arena, t->options->rounds, sizeof *t->roots);
  return t->order != NULL && t->spare != NULL && t->group_of != NULL && t->of_row != NULL &&
         t->ordered != NULL && t->figures != NULL && t->level != NULL && t->next != NULL &&
         t->pool[0] != NULL && t->pool[1] != NULL && t->roots != NULL;
}

static node *add_nodes(training *t, uint32_t count) {
  if (t->node_count + count > t->node_room) {
    const uint32_t room = 2 * t->node_room + 256;
    node *larger = tsr_arena_alloc_array(&t->arena, room, sizeof *larger);
    if (larger == NULL)
      return NULL;
    if (t->node_count > 0)
      memcpy(larger, t->nodes, t->node_count * sizeof *larger);
    t->nodes = larger;
    t->node_room = room;
  }
  node *added = &t->nodes[t->node_count];
  memset(added, 0, count * sizeof *added);
  t->node_count += count;
  return added;
}

/* Adds to all figures the constant that lowers the error most; returns it. */
static double shift_figures(training *t) {
  double sum = 0, weight = 0;
  for (uint32_t g = 0; g < t->groups; g++) {
    sum += weight_of(t, g) * (t->labels[g] - t->figures[g]);
    weight += weight_of(t, g);
  }
  for (uint32_t g = 0; g < t->groups; g++)
    t->figures[g] += sum / weight;
  return sum / weight;
}

static sums add(sums a, sums b) {
  return (sums){a.gradient + b.gradient, a.curvature + b.curvature, a.weight + b.weight};
}

static sums subtract(sums a, sums b) {
  return (sums){a.gradient - b.gradient, a.curvature - b.curvature, a.weight - b.weight};
}

/* Gradients of this round, rows in their own order. */
static sums start_round(training *t) {
  sums total = {0};
  for (uint32_t g = 0; g < t->groups; g++) {
    const double weight = weight_of(t, g);
    const sums row = {weight * (t->figures[g] - t->labels[g]),
                      weight * (t->ends[g] - begin_of(t, g)), weight};
    for (uint32_t r = begin_of(t, g); r < t->ends[g]; r++) {
      t->order[r] = r;
      t->group_of[r] = g;
      t->of_row[r] = t->ordered[r] = row;
      total = add(total, row);
    }
  }
  return total;
}

static void sum_histogram(const training *t, branch *b) {
  memset(b->histogram, 0, (size_t)t->used * BINS * sizeof *b->histogram);
  for (uint32_t u = 0; u < t->used; u++) {
    const uint8_t *bins = &t->bins[(size_t)u * t->row_count];
    sums *histogram = &b->histogram[(size_t)u * BINS];
    for (uint32_t i = b->begin; i < b->end; i++) {
      sums *bin = &histogram[bins[t->order[i]]];
      *bin = add(*bin, t->ordered[i]);
    }
  }
}

/* By how much a node of these sums lowers the bound, doubled. */
static double score(const training *t, sums s) {
  return s.gradient * s.gradient / (s.curvature + t->options->l2);
}

/* Of equal gains the first feature and cut win. */
static void find_cut(const training *t, branch *b) {
  const double whole = score(t, b->total);
  /* Less is rounding. */
  b->gain = 1e-10 * (whole + 1e-30);
  const double least = b->gain;
  for (uint32_t u = 0; u < t->used; u++) {
    sums left = {0};
    for (uint32_t i = 0; i + 1 < t->bin_count[u]; i++) {
      left = add(left, b->histogram[(size_t)u * BINS + i]);
      const sums right = subtract(b->total, left);
      if (left.weight < t->options->least_weight || right.weight < t->options->least_weight)
        continue;
      const double gain = score(t, left) + score(t, right) - whole;
      if (gain > b->gain) {
        b->gain = gain;
        b->feature = u;
        b->bin = i;
      }
    }
  }
  b->gain = b->gain > least ? b->gain : 0;
}

/* Divides the branch's range of rows, keeping their order on both sides; returns the middle. */
static uint32_t divide(training *t, const branch *b, sums *out_left) {
  const uint8_t *bins = &t->bins[(size_t)b->feature * t->row_count];
  uint32_t left = b->begin, right = 0;
  *out_left = (sums){0};
  for (uint32_t i = b->begin; i < b->end; i++) {
    const uint32_t row = t->order[i];
    if (bins[row] <= b->bin) {
      t->order[left] = row;
      t->ordered[left++] = t->of_row[row];
      *out_left = add(*out_left, t->of_row[row]);
    } else {
      t->spare[right++] = row;
    }
  }
  for (uint32_t i = 0; i < right; i++) {
    t->order[left + i] = t->spare[i];
    t->ordered[left + i] = t->of_row[t->spare[i]];
  }
  return left;
}

static void make_leaf(training *t, const branch *b) {
  const double value =
      -t->options->rate * b->total.gradient / (b->total.curvature + t->options->l2);
  t->nodes[b->node].value = value;
  for (uint32_t i = b->begin; i < b->end; i++)
    t->figures[t->group_of[t->order[i]]] += value;
}

/* Both children of a branch; histograms are left out below the last level. */
static bool split(training *t, const branch *b, branch children[2], bool with_histograms) {
  const uint32_t left = t->node_count;
  if (add_nodes(t, 2) == NULL)
    return false;
  t->nodes[b->node].left = left;
  t->nodes[b->node].feature = t->feature_of[b->feature];
  t->nodes[b->node].cut = t->cuts[b->feature][b->bin];
  sums first;
  const uint32_t middle = divide(t, b, &first);
  children[0].node = left;
  children[0].begin = b->begin;
  children[0].end = middle;
  children[0].total = first;
  children[1].node = left + 1;
  children[1].begin = middle;
  children[1].end = b->end;
  children[1].total = subtract(b->total, first);
  if (!with_histograms)
    return true;
  branch *small = &children[middle - b->begin > b->end - middle];
  const branch *large = small == children ? &children[1] : children;
  sum_histogram(t, small);
  for (size_t i = 0; i < (size_t)t->used * BINS; i++)
    large->histogram[i] = subtract(b->histogram[i], small->histogram[i]);
  find_cut(t, &children[0]);
  find_cut(t, &children[1]);
  return true;
}

/* A division into nothing and all can come of sums that differ by rounding only. */
static bool is_cut(const training *t, const branch *b) {
  if (!(b->gain > 0))
    return false;
  const uint8_t *bins = &t->bins[(size_t)b->feature * t->row_count];
  uint32_t below = 0;
  for (uint32_t i = b->begin; i < b->end; i++)
    below += bins[t->order[i]] <= b->bin;
  return below > 0 && below < b->end - b->begin;
}

static bool grow_tree(training *t) {
  const size_t histogram = (size_t)t->used * BINS;
  uint32_t count = 1;
  t->roots[t->tree_count++] = t->node_count;
  if (add_nodes(t, 1) == NULL)
    return false;
  t->level[0] = (branch){.node = t->node_count - 1,
                         .end = t->row_count,
                         .total = start_round(t),
                         .histogram = t->pool[0]};
  sum_histogram(t, &t->level[0]);
  find_cut(t, &t->level[0]);
  for (uint32_t depth = 1; count > 0; depth++) {
    uint32_t next = 0;
    for (uint32_t i = 0; i < count; i++) {
      if (depth > t->options->depth || !is_cut(t, &t->level[i])) {
        make_leaf(t, &t->level[i]);
        continue;
      }
      for (uint32_t c = 0; c < 2; c++)
        t->next[next + c] = (branch){.histogram = t->pool[1] + (next + c) * histogram};
      if (!split(t, &t->level[i], &t->next[next], depth < t->options->depth))
        return false;
      next += 2;
    }
    branch *level = t->level;
    t->level = t->next;
    t->next = level;
    sums *pool = t->pool[0];
    t->pool[0] = t->pool[1];
    t->pool[1] = pool;
    count = next;
  }
  return true;
}

static tsr_status finish(const training *t, double base, const tsr_allocator *allocator,
                         tsr_diag *diag, tsr_trees **out_trees) {
  const size_t nodes = t->node_count * sizeof(node), roots = t->tree_count * sizeof(uint32_t);
  const size_t bytes = sizeof(tsr_trees) + nodes + roots;
  tsr_trees *made = allocator->allocate(allocator->context, bytes, 16);
  if (made == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  node *to = (node *)(void *)(made + 1);
  uint32_t *starts = (uint32_t *)(void *)(to + t->node_count);
  memcpy(to, t->nodes, nodes);
  memcpy(starts, t->roots, roots);
  *made = (tsr_trees){.allocator = allocator,
                      .bytes = bytes,
                      .base = base,
                      .features = t->features,
                      .tree_count = t->tree_count,
                      .roots = starts,
                      .nodes = to};
  *out_trees = made;
  return TSR_OK;
}

static tsr_status train(training *t, const tsr_allocator *allocator, tsr_diag *diag,
                        tsr_trees **out_trees) {
  TSR_TRY(check(t, diag));
  if (!make_bins(t) || !allocate(t) || add_nodes(t, 1) == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  double base = shift_figures(t);
  for (uint32_t round = 0; round < t->options->rounds && t->row_count > 0; round++) {
    if (!grow_tree(t))
      return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
    base += shift_figures(t);
  }
  return finish(t, base, allocator, diag, out_trees);
}

tsr_status tsr_trees_train(const float *rows, uint32_t features, const uint32_t *ends,
                           const double *labels, const double *weights, uint32_t groups,
                           const tsr_trees_options *options, const tsr_allocator *allocator,
                           tsr_diag *diag, tsr_trees **out_trees) {
  *out_trees = NULL;
  training t = {.options = options,
                .rows = rows,
                .features = features,
                .row_count = groups == 0 ? 0 : ends[groups - 1],
                .groups = groups,
                .ends = ends,
                .labels = labels,
                .weights = weights};
  tsr_arena_init(&t.arena, allocator);
  const tsr_status status = train(&t, allocator, diag, out_trees);
  tsr_arena_reset(&t.arena);
  return status;
}

void tsr_trees_destroy(tsr_trees *trees) {
  if (trees != NULL)
    trees->allocator->release(trees->allocator->context, trees, trees->bytes);
}

double tsr_trees_predict(const tsr_trees *trees, const float *rows, uint32_t count) {
  double figure = trees->base;
  for (uint32_t r = 0; r < count; r++) {
    const float *row = rows + (size_t)r * trees->features;
    for (uint32_t i = 0; i < trees->tree_count; i++) {
      const node *at = &trees->nodes[trees->roots[i]];
      while (at->left != 0)
        at = &trees->nodes[at->left + !(row[at->feature] <= at->cut)];
      figure += at->value;
    }
  }
  return figure;
}
