/* The two models that a search ranks by: cycles of the analytic one, times a correction that trees
 * learn from the features of what was measured. */
#include "runtime/arena.h"
#include "tuner/search.h"
#include "tuner/trees.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Training takes a fraction of a second at the most, so that it can be done every few batches. The
 * trees are few and small: measurements are noisy, and deep trees learned from a few hundred of
 * them ranked others worse than the analytic model alone. */
enum { DEFAULT_MOST = 4096, LEAST_MOST = 16, LEAST_FRESH = 4, FRESH_SHARE = 8 };
static const tsr_trees_options shape = {
    .rounds = 60, .depth = 4, .rate = 0.2, .l2 = 4, .least_weight = 1};
/* The logarithm of a time counts as at most so much above its task's median: what disturbs a
 * measurement only ever adds to it. */
static const double most_above = 0.7;
/* Of a schedule that takes many times the best one's time, too. */
static const double least_weight = 0.05;

typedef struct sample {
  uint64_t task;
  double measured_ns, label;
  uint32_t rows; /* of features, at TSR_SPACE_STORES * the sample's place */
} sample;

struct tsr_learner {
  const tsr_allocator *allocator;
  tsr_learner_options options;
  sample *samples;
  float (*features)[TSR_SPACE_FEATURES];
  uint32_t count, room, fresh; /* fresh: added since training */
  tsr_trees *trees;            /* NULL: not trained yet */
  uint64_t version;            /* of the trees */
  double offset;               /* middle one of the tasks' medians, which the trees leave out */
};

static void *allocate(const tsr_allocator *allocator, size_t size) {
  return allocator->allocate(allocator->context, size, 16);
}

static void release(const tsr_allocator *allocator, void *pointer, size_t size) {
  allocator->release(allocator->context, pointer, size);
}

static size_t feature_bytes(uint32_t room) {
  return (size_t)room * TSR_SPACE_STORES * TSR_SPACE_FEATURES * sizeof(float);
}

tsr_status tsr_learner_create(const tsr_learner_options *options, const tsr_allocator *allocator,
                              tsr_diag *diag, tsr_learner **out_learner) {
  tsr_learner *made = allocate(allocator, sizeof *made);
  *out_learner = made;
  if (made == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  *made = (tsr_learner){.allocator = allocator, .options = *options};
  if (made->options.most == 0)
    made->options.most = DEFAULT_MOST;
  if (made->options.most < LEAST_MOST)
    made->options.most = LEAST_MOST;
  if (!(made->options.cycles_per_ns > 0))
    made->options.cycles_per_ns = 1;
  return TSR_OK;
}

void tsr_learner_destroy(tsr_learner *learner) {
  if (learner == NULL)
    return;
  const tsr_allocator *allocator = learner->allocator;
  tsr_trees_destroy(learner->trees);
  release(allocator, learner->samples, learner->room * sizeof *learner->samples);
  release(allocator, learner->features, feature_bytes(learner->room));
  release(allocator, learner, sizeof *learner);
}

static double analytic_ns(const tsr_learner *learner, tsr_space *space,
                          const tsr_schedule *schedule) {
  if (learner->options.no_analytic)
    return 1 / learner->options.cycles_per_ns;
  tsr_cost cost;
  tsr_space_cost(space, schedule, &cost);
  return cost.cycles > 0 && isfinite(cost.cycles) ? cost.cycles / learner->options.cycles_per_ns
                                                  : (double)INFINITY;
}

tsr_prediction tsr_learner_predict(const tsr_learner *learner, tsr_space *space,
                                   const tsr_schedule *schedule) {
  const double ns = analytic_ns(learner, space, schedule);
  if (learner->trees == NULL || isinf(ns))
    return (tsr_prediction){ns, ns};
  float rows[TSR_SPACE_STORES][TSR_SPACE_FEATURES];
  const uint32_t count = tsr_space_features(space, schedule, rows);
  return (tsr_prediction){
      ns, ns * exp(learner->offset + tsr_trees_predict(learner->trees, rows[0], count))};
}

static double best_of_task(const tsr_learner *learner, uint64_t task) {
  double best = (double)INFINITY;
  for (uint32_t i = 0; i < learner->count; i++)
    if (learner->samples[i].task == task && learner->samples[i].measured_ns < best)
      best = learner->samples[i].measured_ns;
  return best;
}

/* Forgets the older ones, except those near the best of their task as long as they are few. */
static void forget(tsr_learner *learner) {
  const uint32_t half = learner->count / 2;
  uint32_t kept = 0, spared = 0;
  for (uint32_t i = 0; i < learner->count; i++) {
    const sample *s = &learner->samples[i];
    bool keep = i >= half;
    if (!keep && spared < half / 2 && s->measured_ns <= 1.25 * best_of_task(learner, s->task)) {
      keep = true;
      spared++;
    }
    if (!keep)
      continue;
    if (kept != i) {
      memcpy(learner->features[(size_t)kept * TSR_SPACE_STORES],
             learner->features[(size_t)i * TSR_SPACE_STORES], feature_bytes(1));
      learner->samples[kept] = *s;
    }
    kept++;
  }
  learner->count = kept;
}

static tsr_status grow(tsr_learner *learner, tsr_diag *diag) {
  if (learner->count < learner->room)
    return TSR_OK;
  if (learner->count >= learner->options.most) {
    forget(learner);
    return TSR_OK;
  }
  uint32_t room = learner->room == 0 ? 64 : 2 * learner->room;
  room = room < learner->options.most ? room : learner->options.most;
  sample *samples = allocate(learner->allocator, room * sizeof *samples);
  void *features = allocate(learner->allocator, feature_bytes(room));
  if (samples == NULL || features == NULL) {
    release(learner->allocator, samples, room * sizeof *samples);
    release(learner->allocator, features, feature_bytes(room));
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  }
  if (learner->count > 0) {
    memcpy(samples, learner->samples, learner->count * sizeof *samples);
    memcpy(features, learner->features, feature_bytes(learner->count));
  }
  release(learner->allocator, learner->samples, learner->room * sizeof *learner->samples);
  release(learner->allocator, learner->features, feature_bytes(learner->room));
  learner->samples = samples;
  learner->features = features;
  learner->room = room;
  return TSR_OK;
}

tsr_status tsr_learner_add(tsr_learner *learner, uint64_t task, tsr_space *space,
                           const tsr_schedule *schedule, double measured_ns, tsr_diag *diag) {
  const double ns = analytic_ns(learner, space, schedule);
  if (learner->options.no_learned || isinf(ns))
    return TSR_OK;
  if (!(measured_ns > 0) || !isfinite(measured_ns))
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "a measured time must be greater than 0");
  TSR_TRY(grow(learner, diag));
  float(*rows)[TSR_SPACE_FEATURES] = &learner->features[(size_t)learner->count * TSR_SPACE_STORES];
  memset(rows, 0, feature_bytes(1));
  const uint32_t count = tsr_space_features(space, schedule, rows);
  for (uint32_t i = 0; i < count * TSR_SPACE_FEATURES; i++)
    if (!isfinite(rows[i / TSR_SPACE_FEATURES][i % TSR_SPACE_FEATURES]))
      return tsr_fail(diag, TSR_ERR_INTERNAL, "feature '%s' of a schedule is not finite",
                      tsr_space_feature_text(i % TSR_SPACE_FEATURES));
  learner->samples[learner->count++] = (sample){
      .task = task, .measured_ns = measured_ns, .label = log(measured_ns / ns), .rows = count};
  learner->fresh++;
  return TSR_OK;
}

/* Fast schedules weigh more: it is their order that matters. */
static double weight_of(const tsr_learner *learner, uint32_t number, uint64_t *task, double *best) {
  const sample *s = &learner->samples[number];
  if (number == 0 || s->task != *task) {
    *task = s->task;
    *best = best_of_task(learner, s->task);
  }
  const double weight = *best / s->measured_ns;
  return weight > least_weight ? weight : least_weight;
}

static int compare_doubles(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values, uint32_t count) {
  qsort(values, count, sizeof *values, compare_doubles);
  return values[count / 2];
}

/* Labels by how far they are from their task's median: how a task as a whole is off tells nothing
 * of its schedules. Returns the middle median. */
static double center_labels(const tsr_learner *learner, double *labels, double *scratch,
                            double *medians) {
  const sample *s = learner->samples;
  uint32_t tasks = 0;
  for (uint32_t i = 0; i < learner->count; i++) {
    uint32_t first = 0, n = 0;
    while (s[first].task != s[i].task)
      first++;
    if (first < i)
      continue;
    for (uint32_t k = i; k < learner->count; k++)
      if (s[k].task == s[i].task)
        scratch[n++] = s[k].label;
    medians[tasks] = median(scratch, n);
    for (uint32_t k = i; k < learner->count; k++)
      if (s[k].task == s[i].task)
        labels[k] = fmin(s[k].label - medians[tasks], most_above);
    tasks++;
  }
  return median(medians, tasks);
}

static tsr_status train(const tsr_learner *learner, tsr_arena *arena, tsr_diag *diag,
                        tsr_trees **out_trees, double *out_offset) {
  const uint32_t count = learner->count;
  float(*rows)[TSR_SPACE_FEATURES] =
      tsr_arena_alloc_array(arena, (size_t)count * TSR_SPACE_STORES, sizeof *rows);
  uint32_t *ends = tsr_arena_alloc_array(arena, count, sizeof *ends), end = 0;
  double *labels = tsr_arena_alloc_array(arena, count, sizeof *labels);
  double *weights = tsr_arena_alloc_array(arena, count, sizeof *weights);
  double *scratch = tsr_arena_alloc_array(arena, count, sizeof *scratch);
  double *medians = tsr_arena_alloc_array(arena, count, sizeof *medians);
  if (rows == NULL || ends == NULL || labels == NULL || weights == NULL || scratch == NULL ||
      medians == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  *out_offset = center_labels(learner, labels, scratch, medians);
  uint64_t task = 0;
  double best = 0;
  for (uint32_t i = 0; i < count; i++) {
    const sample *s = &learner->samples[i];
    memcpy(rows[end], learner->features[(size_t)i * TSR_SPACE_STORES], s->rows * sizeof *rows);
    end += s->rows;
    ends[i] = end;
    weights[i] = weight_of(learner, i, &task, &best);
  }
  return tsr_trees_train(rows[0], TSR_SPACE_FEATURES, ends, labels, weights, count, &shape,
                         learner->allocator, diag, out_trees);
}

tsr_status tsr_learner_update(tsr_learner *learner, tsr_diag *diag) {
  if (learner->fresh < LEAST_FRESH || learner->fresh < learner->count / FRESH_SHARE)
    return TSR_OK;
  tsr_arena arena;
  tsr_arena_init(&arena, learner->allocator);
  tsr_trees *trees;
  double offset = 0;
  const tsr_status status = train(learner, &arena, diag, &trees, &offset);
  tsr_arena_reset(&arena);
  TSR_TRY(status);
  tsr_trees_destroy(learner->trees);
  learner->trees = trees;
  learner->offset = offset;
  learner->fresh = 0;
  learner->version++;
  return TSR_OK;
}

uint64_t tsr_learner_version(const tsr_learner *learner) {
  return learner->version;
}
