/* Proposals come from a pool of candidates, ranked by prediction.
 *
 * The first time the pool is filled with random schedules; from then on each call adds some
 * generations of children, of the best measured and of the best predicted ones, and a few random
 * ones. Once trained anew, the models rank the whole pool again. A schedule that was in the pool
 * once is `known` and never enters it again.
 *
 * What the next proposals may gain: the logarithm of a measured time is taken to lie around that of
 * the predicted one, with the spread that earlier proposals had; the expected best of several such
 * is compared with the best measured. Predictions of the best candidates are those that err most to
 * the good side, so this is too hopeful; by how much is seen batch by batch, and divided out. */
#include "tuner/search.h"
#include "runtime/arena.h"
#include "runtime/hash.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
  POOL = 768,        /* candidates kept */
  FIRST = 384,       /* random ones at the start */
  GENERATIONS = 3,   /* per call */
  CHILDREN = 48,     /* of a generation */
  STRANGERS = 12,    /* random ones per call */
  ELITE = 12,        /* measured parents */
  PARENTS = 24,      /* predicted parents */
  TRIES = 64,        /* for one new random schedule */
  RANDOM_SHARE = 10, /* one of so many proposals is random */
  RECENT = 48,       /* measurements that the spread is taken from */
  HOPED = 64,        /* proposals that expectations look at */
};
/* Of log(measured / predicted) before anything is known, and how many measurements that counts as.
 */
static const double first_spread = 0.3, first_spread_weight = 4;
/* Of expectations: counts as a batch that was expected to gain this much and did; older batches
 * count less. */
static const double first_hope = 0.02, fading = 0.6;
/* What a search that has measured nothing may hope for whatever the models say, as they may be
 * wrong about where to look; half of it after each so many measurements. */
static const double least_hope = 0.1, hope_halves = 16;

typedef struct candidate {
  tsr_schedule schedule;
  tsr_prediction prediction;
  uint64_t number; /* rising */
} candidate;

typedef struct told {
  tsr_schedule schedule;
  double ns;             /* 0: not RIGHT */
  tsr_prediction before; /* as it was then */
  double now;            /* as it is now, corrected */
  uint64_t version;      /* of the learner, then */
} told;

struct tsr_search {
  const tsr_allocator *allocator;
  tsr_arena arena;
  tsr_space *space;
  tsr_learner *learner;
  uint64_t task, random, version, numbers;
  bool filled; /* the pool had its first filling */
  candidate *pool;
  uint32_t pool_count;
  uint64_t *known; /* open addressing; 0: free */
  uint32_t known_count, known_room;
  tsr_schedule *first; /* to start from, not yet proposed */
  uint32_t first_count, first_room, first_next;
  told *told;
  uint32_t told_count, told_room, measured;
  uint32_t elite[ELITE], elite_count; /* of told, best first */
  uint32_t proposals;
  /* Of the last proposals: what was hoped, and the best before them; sums over earlier ones. */
  double hope, best_before, hoped, gained;
};

static tsr_status no_memory(tsr_diag *diag) {
  return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
}

tsr_status tsr_search_create(tsr_space *space, tsr_learner *learner, uint64_t task, uint64_t seed,
                             const tsr_allocator *allocator, tsr_diag *diag,
                             tsr_search **out_search) {
  tsr_search *made = allocator->allocate(allocator->context, sizeof *made, 16);
  *out_search = NULL;
  if (made == NULL)
    return no_memory(diag);
  memset(made, 0, sizeof *made);
  made->allocator = allocator;
  made->space = space;
  made->learner = learner;
  made->task = task;
  made->random = tsr_hash64_seeded(&task, sizeof task, seed);
  made->version = tsr_learner_version(learner);
  tsr_arena_init(&made->arena, allocator);
  made->pool = tsr_arena_alloc_array(&made->arena, POOL, sizeof *made->pool);
  tsr_schedule start;
  tsr_space_default(space, &start);
  const tsr_status status =
      made->pool == NULL ? no_memory(diag) : tsr_search_seed(made, &start, diag);
  if (status == TSR_OK)
    *out_search = made;
  else
    tsr_search_destroy(made);
  return status;
}

void tsr_search_destroy(tsr_search *search) {
  if (search == NULL)
    return;
  tsr_arena_reset(&search->arena);
  search->allocator->release(search->allocator->context, search, sizeof *search);
}

/* Room for one more element in an array of the arena. */
static bool reserve(tsr_search *s, void **array, uint32_t count, uint32_t *room, size_t size) {
  if (count < *room)
    return true;
  const uint32_t wanted = *room == 0 ? 32 : 2 * *room;
  void *larger = tsr_arena_alloc_array(&s->arena, wanted, size);
  if (larger == NULL)
    return false;
  if (count > 0)
    memcpy(larger, *array, count * size);
  *array = larger;
  *room = wanted;
  return true;
}

static uint64_t hash_of(const tsr_schedule *schedule) {
  const uint64_t head = (uint64_t)schedule->strategy;
  uint64_t hash = tsr_hash64(&head, sizeof head);
  if (schedule->atom != NULL)
    hash = tsr_hash64_seeded(schedule->atom->text, strlen(schedule->atom->text), hash);
  hash = tsr_hash64_seeded(schedule->knobs, sizeof schedule->knobs, hash);
  return hash == 0 ? 1 : hash;
}

/* The place of the hash or the free one where it belongs; the table is never full. */
static uint64_t *place_of(uint64_t *table, uint32_t room, uint64_t hash) {
  uint32_t at = (uint32_t)(hash % room);
  while (table[at] != 0 && table[at] != hash)
    at = (at + 1) % room;
  return &table[at];
}

static bool is_known(const tsr_search *s, const tsr_schedule *schedule) {
  return s->known_room > 0 && *place_of(s->known, s->known_room, hash_of(schedule)) != 0;
}

static bool make_known(tsr_search *s, const tsr_schedule *schedule) {
  if (2 * (s->known_count + 1) > s->known_room) {
    const uint32_t room = s->known_room == 0 ? 2048 : 2 * s->known_room;
    uint64_t *larger = tsr_arena_alloc_array(&s->arena, room, sizeof *larger);
    if (larger == NULL)
      return false;
    for (uint32_t i = 0; i < s->known_room; i++)
      if (s->known[i] != 0)
        *place_of(larger, room, s->known[i]) = s->known[i];
    s->known = larger;
    s->known_room = room;
  }
  const uint64_t hash = hash_of(schedule);
  uint64_t *place = place_of(s->known, s->known_room, hash);
  s->known_count += *place == 0;
  *place = hash;
  return true;
}

tsr_status tsr_search_seed(tsr_search *search, const tsr_schedule *schedule, tsr_diag *diag) {
  void *first = search->first;
  if (!reserve(search, &first, search->first_count, &search->first_room, sizeof *schedule))
    return no_memory(diag);
  search->first = first;
  search->first[search->first_count++] = *schedule;
  return TSR_OK;
}

static double uniform(tsr_search *s) {
  return (double)(tsr_space_next_random(&s->random) >> 11) * 0x1p-53;
}

/* Best first; of equal ones the younger, so that without a model children of measured ones come
 * before random schedules. */
static int compare_candidates(const void *a, const void *b) {
  const candidate *x = a, *y = b;
  if (x->prediction.ns != y->prediction.ns)
    return x->prediction.ns < y->prediction.ns ? -1 : 1;
  return (x->number < y->number) - (x->number > y->number);
}

static void sort_pool(tsr_search *s) {
  qsort(s->pool, s->pool_count, sizeof *s->pool, compare_candidates);
}

/* Into the pool unless it is known; in a full one it takes the place of the worst. */
static bool enter(tsr_search *s, const tsr_schedule *schedule) {
  if (is_known(s, schedule))
    return true;
  if (!make_known(s, schedule))
    return false;
  const candidate fresh = {*schedule, tsr_learner_predict(s->learner, s->space, schedule),
                           ++s->numbers};
  uint32_t at = s->pool_count;
  if (at == POOL) {
    at = 0;
    for (uint32_t i = 1; i < POOL; i++)
      if (compare_candidates(&s->pool[i], &s->pool[at]) > 0)
        at = i;
    if (compare_candidates(&fresh, &s->pool[at]) > 0)
      return true;
  } else {
    s->pool_count++;
  }
  s->pool[at] = fresh;
  return true;
}

static bool enter_random(tsr_search *s, uint32_t count) {
  tsr_schedule schedule;
  for (uint32_t i = 0; i < count; i++)
    if (tsr_space_sample(s->space, &s->random, &schedule) && !enter(s, &schedule))
      return false;
  return true;
}

/* The better, the more often. */
static const tsr_schedule *choose_parent(tsr_search *s, const candidate *parents, uint32_t count) {
  const double place = uniform(s) * uniform(s);
  if (s->elite_count > 0 && (count == 0 || uniform(s) < 0.5))
    return &s->told[s->elite[(uint32_t)(place * s->elite_count)]].schedule;
  return count == 0 ? NULL : &parents[(uint32_t)(place * count)].schedule;
}

static bool evolve(tsr_search *s) {
  candidate parents[PARENTS];
  for (int generation = 0; generation < GENERATIONS; generation++) {
    sort_pool(s);
    const uint32_t count = s->pool_count < PARENTS ? s->pool_count : PARENTS;
    memcpy(parents, s->pool, count * sizeof *parents);
    for (int i = 0; i < CHILDREN; i++) {
      const tsr_schedule *a = choose_parent(s, parents, count);
      const tsr_schedule *b = choose_parent(s, parents, count);
      tsr_schedule child;
      if (a == NULL || b == NULL)
        break;
      const bool made = uniform(s) < 0.3 && !tsr_schedule_equal(a, b)
                            ? tsr_space_cross(s->space, &s->random, a, b, &child)
                            : tsr_space_mutate(s->space, &s->random, a, &child);
      if (made && !enter(s, &child))
        return false;
    }
  }
  return true;
}

/* The models changed: what they say now. */
static void predict_again(tsr_search *s) {
  if (s->version == tsr_learner_version(s->learner))
    return;
  s->version = tsr_learner_version(s->learner);
  for (uint32_t i = 0; i < s->pool_count; i++)
    s->pool[i].prediction = tsr_learner_predict(s->learner, s->space, &s->pool[i].schedule);
  for (uint32_t i = 0, seen = 0; i < s->told_count && seen < RECENT; i++) {
    told *t = &s->told[s->told_count - 1 - i];
    if (t->ns > 0) {
      t->now = tsr_learner_predict(s->learner, s->space, &t->schedule).ns;
      seen++;
    }
  }
  sort_pool(s);
}

static bool refill(tsr_search *s) {
  predict_again(s);
  if (!s->filled && !enter_random(s, FIRST))
    return false;
  s->filled = true;
  if (!enter_random(s, STRANGERS) || !evolve(s))
    return false;
  sort_pool(s);
  return true;
}

static void remove_candidate(tsr_search *s, uint32_t at) {
  s->pool_count--;
  memmove(&s->pool[at], &s->pool[at + 1], (s->pool_count - at) * sizeof *s->pool);
}

typedef struct batch {
  tsr_schedule *schedules;
  tsr_prediction *predictions;
  uint32_t count, most;
} batch;

static void put(tsr_search *s, batch *b, const tsr_schedule *schedule, tsr_prediction prediction) {
  b->schedules[b->count] = *schedule;
  b->predictions[b->count++] = prediction;
  s->proposals++;
}

static void drop_from_pool(tsr_search *s, const tsr_schedule *schedule) {
  for (uint32_t i = 0; i < s->pool_count; i++)
    if (tsr_schedule_equal(&s->pool[i].schedule, schedule)) {
      remove_candidate(s, i);
      return;
    }
}

static bool take_first(tsr_search *s, batch *b) {
  while (b->count < b->most && s->first_next < s->first_count) {
    const tsr_schedule *schedule = &s->first[s->first_next++];
    if (is_known(s, schedule) || !tsr_space_is_legal(s->space, schedule))
      continue;
    if (!make_known(s, schedule))
      return false;
    put(s, b, schedule, tsr_learner_predict(s->learner, s->space, schedule));
  }
  return true;
}

/* A random one that is not known, without looking at what the models say. */
static bool take_random(tsr_search *s, batch *b) {
  tsr_schedule schedule;
  for (int i = 0; i < TRIES; i++) {
    if (!tsr_space_sample(s->space, &s->random, &schedule) || is_known(s, &schedule))
      continue;
    if (!make_known(s, &schedule))
      return false;
    put(s, b, &schedule, tsr_learner_predict(s->learner, s->space, &schedule));
    return true;
  }
  return true;
}

/* True if both models cannot tell the candidate from one in the batch: then one of them will do for
 * now. */
static bool is_twin(const batch *b, const candidate *c) {
  for (uint32_t i = 0; i < b->count; i++)
    if (b->predictions[i].ns == c->prediction.ns &&
        b->predictions[i].analytic_ns == c->prediction.analytic_ns)
      return true;
  return false;
}

static bool take_best(tsr_search *s, batch *b) {
  for (int twins = 0; twins < 2; twins++)
    for (uint32_t i = 0; i < s->pool_count && b->count < b->most;) {
      if (twins == 0 && is_twin(b, &s->pool[i])) {
        i++;
        continue;
      }
      if (s->proposals % RANDOM_SHARE == RANDOM_SHARE - 1) {
        const uint32_t before = b->count;
        if (!take_random(s, b))
          return false;
        if (b->count > before)
          continue;
      }
      put(s, b, &s->pool[i].schedule, s->pool[i].prediction);
      remove_candidate(s, i);
    }
  while (b->count < b->most) {
    const uint32_t before = b->count;
    if (!take_random(s, b))
      return false;
    if (b->count == before)
      break;
  }
  return true;
}

const tsr_schedule *tsr_search_best(const tsr_search *search, double *out_ns) {
  *out_ns = search->elite_count > 0 ? search->told[search->elite[0]].ns : 0;
  return search->elite_count > 0 ? &search->told[search->elite[0]].schedule : NULL;
}

const tsr_schedule *tsr_search_model_best(const tsr_search *search) {
  const told *best = NULL;
  for (uint32_t i = 0; i < search->told_count; i++) {
    const told *t = &search->told[i];
    if (t->ns > 0 && (best == NULL || t->before.analytic_ns < best->before.analytic_ns))
      best = t;
  }
  return best != NULL ? &best->schedule : NULL;
}

uint32_t tsr_search_measured(const tsr_search *search) {
  return search->measured;
}

/* How log(measured / predicted) lies: its mean under the present models, and its spread within
 * batches when the predictions were made. */
typedef struct errors {
  double mean, spread;
} errors;

static errors find_errors(const tsr_search *s) {
  const told *recent[RECENT];
  uint32_t count = 0, runs = 0;
  double sum = 0, squares = 0;
  for (uint32_t i = s->told_count; i-- > 0 && count < RECENT;)
    if (s->told[i].ns > 0 && isfinite(s->told[i].before.ns))
      recent[count++] = &s->told[i];
  for (uint32_t i = 0; i < count; i++)
    sum += log(recent[i]->ns / recent[i]->now);
  for (uint32_t begin = 0, end; begin < count; begin = end) {
    double off = 0;
    for (end = begin; end < count && recent[end]->version == recent[begin]->version; end++)
      off += log(recent[end]->ns / recent[end]->before.ns);
    off /= end - begin;
    for (uint32_t i = begin; i < end; i++) {
      const double error = log(recent[i]->ns / recent[i]->before.ns) - off;
      squares += error * error;
    }
    runs++;
  }
  const double known = count > runs ? count - runs : 0;
  return (errors){count > 0 ? sum / count : 0,
                  sqrt((squares + first_spread_weight * first_spread * first_spread) /
                       (known + first_spread_weight))};
}

/* The expected gain of the best of several over `best`: the integral over g of the probability that
 * one gains more than g. */
static double hope_of(const tsr_search *s, const double *predicted_ns, uint32_t count,
                      double best) {
  const errors e = find_errors(s);
  double hope = 0;
  for (int i = 0; i < 50; i++) {
    const double wanted = log(best * (0.99 - 0.02 * i));
    double none = 1;
    for (uint32_t c = 0; c < count; c++)
      if (isfinite(predicted_ns[c]))
        none *= 0.5 * erfc((wanted - log(predicted_ns[c]) - e.mean) / (e.spread * sqrt(2)));
    hope += 0.02 * (1 - none);
  }
  return hope;
}

/* What came of the last proposals. */
static void settle(tsr_search *s) {
  double best;
  if (s->best_before > 0 && tsr_search_best(s, &best) != NULL) {
    s->hoped = fading * s->hoped + s->hope;
    s->gained = fading * s->gained + (1 - best / s->best_before);
  }
  s->best_before = s->hope = 0;
}

tsr_status tsr_search_propose(tsr_search *search, uint32_t most, tsr_schedule *out_schedules,
                              tsr_prediction *out_predictions, uint32_t *out_count,
                              tsr_diag *diag) {
  batch b = {out_schedules, out_predictions, 0, most};
  double best, predicted_ns[HOPED];
  *out_count = 0;
  settle(search);
  if (!take_first(search, &b) || !refill(search) || !take_best(search, &b))
    return no_memory(diag);
  if (tsr_search_best(search, &best) != NULL) {
    const uint32_t count = b.count < HOPED ? b.count : HOPED;
    for (uint32_t i = 0; i < count; i++)
      predicted_ns[i] = b.predictions[i].ns;
    search->hope = hope_of(search, predicted_ns, count, best);
    search->best_before = best;
  }
  *out_count = b.count;
  return TSR_OK;
}

double tsr_search_expected_gain(tsr_search *search, uint32_t count) {
  double best, predicted_ns[HOPED];
  if (tsr_search_best(search, &best) == NULL)
    return search->filled && search->pool_count == 0 ? 0 : 1;
  settle(search);
  /* Without memory the next call of propose says so. */
  if (!search->filled && !refill(search))
    return 1;
  predict_again(search);
  count = count < HOPED ? count : HOPED;
  count = count < search->pool_count ? count : search->pool_count;
  for (uint32_t i = 0; i < count; i++)
    predicted_ns[i] = search->pool[i].prediction.ns;
  if (count == 0)
    return 0;
  const double hope = hope_of(search, predicted_ns, count, best) * (first_hope + search->gained) /
                      (first_hope + search->hoped);
  return fmax(hope, least_hope * exp2(-(double)search->measured / hope_halves));
}

static void rank_elite(tsr_search *s, uint32_t number) {
  uint32_t at = s->elite_count;
  while (at > 0 && s->told[number].ns < s->told[s->elite[at - 1]].ns)
    at--;
  if (at == ELITE)
    return;
  const uint32_t moved = (s->elite_count < ELITE ? s->elite_count : ELITE - 1) - at;
  memmove(&s->elite[at + 1], &s->elite[at], moved * sizeof *s->elite);
  s->elite[at] = number;
  s->elite_count += s->elite_count < ELITE;
}

/* What was told RIGHT of the schedule before, or NULL. */
static const told *told_before(const tsr_search *s, const tsr_schedule *schedule) {
  for (uint32_t i = 0; is_known(s, schedule) && i < s->told_count; i++)
    if (s->told[i].ns > 0 && tsr_schedule_equal(&s->told[i].schedule, schedule))
      return &s->told[i];
  return NULL;
}

tsr_status tsr_search_tell(tsr_search *search, const tsr_schedule *schedule, tsr_db_status status,
                           double median_ns, tsr_diag *diag) {
  void *list = search->told;
  const bool right = status == TSR_DB_RIGHT && median_ns > 0;
  const told *again = right ? told_before(search, schedule) : NULL;
  if (again != NULL) {
    tsr_search_correct(search, schedule, median_ns);
    return TSR_OK;
  }
  const tsr_prediction before = tsr_learner_predict(search->learner, search->space, schedule);
  drop_from_pool(search, schedule);
  if (!make_known(search, schedule) ||
      !reserve(search, &list, search->told_count, &search->told_room, sizeof *search->told))
    return no_memory(diag);
  search->told = list;
  search->told[search->told_count++] = (told){.schedule = *schedule,
                                              .ns = right ? median_ns : 0,
                                              .before = before,
                                              .now = before.ns,
                                              .version = tsr_learner_version(search->learner)};
  if (!right)
    return TSR_OK;
  search->measured++;
  rank_elite(search, search->told_count - 1);
  return tsr_learner_add(search->learner, search->task, search->space, schedule, median_ns, diag);
}

void tsr_search_correct(tsr_search *search, const tsr_schedule *schedule, double ns) {
  double before, after;
  if (tsr_search_best(search, &before) == NULL || !(ns > 0))
    return;
  search->elite_count = 0;
  for (uint32_t i = 0; i < search->told_count; i++) {
    told *t = &search->told[i];
    if (t->ns > ns && tsr_schedule_equal(&t->schedule, schedule))
      t->ns = ns;
    if (t->ns > 0)
      rank_elite(search, i);
  }
  (void)tsr_search_best(search, &after);
  search->best_before *= after / before;
}

typedef struct ranked {
  double value;
  uint32_t number;
} ranked;

static int compare_ranked(const void *a, const void *b) {
  const ranked *x = a, *y = b;
  if (x->value != y->value)
    return x->value < y->value ? -1 : 1;
  return (x->number > y->number) - (x->number < y->number);
}

/* Ranks from 0, equal values sharing the middle of theirs; `order` ends sorted. */
static void find_ranks(ranked *order, uint32_t count, double *out_ranks) {
  qsort(order, count, sizeof *order, compare_ranked);
  for (uint32_t begin = 0, end; begin < count; begin = end) {
    for (end = begin + 1; end < count && !(order[end].value > order[begin].value);)
      end++;
    for (uint32_t i = begin; i < end; i++)
      out_ranks[order[i].number] = 0.5 * (begin + (end - 1));
  }
}

static double correlate(const double *a, const double *b, uint32_t count) {
  const double middle = 0.5 * (count - 1);
  double ab = 0, aa = 0, bb = 0;
  for (uint32_t i = 0; i < count; i++) {
    ab += (a[i] - middle) * (b[i] - middle);
    aa += (a[i] - middle) * (a[i] - middle);
    bb += (b[i] - middle) * (b[i] - middle);
  }
  return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

/* The best measured among the first `count` of `order` by the best of all, less 1. */
static double regret(const ranked *order, uint32_t count, const double *ns, double best) {
  double found = ns[order[0].number];
  for (uint32_t i = 1; i < count; i++)
    if (ns[order[i].number] < found)
      found = ns[order[i].number];
  return found / best - 1;
}

/* Of the RIGHT ones, or of those that a correction was there for. */
static tsr_status judge(const tsr_search *s, bool corrected, tsr_arena *arena, tsr_diag *diag,
                        tsr_model_quality *out) {
  const uint32_t most = s->measured;
  double *ns = tsr_arena_alloc_array(arena, most, sizeof *ns);
  double *measured = tsr_arena_alloc_array(arena, most, sizeof *measured);
  double *predicted = tsr_arena_alloc_array(arena, most, sizeof *predicted);
  ranked *order = tsr_arena_alloc_array(arena, most, sizeof *order);
  ranked *by_time = tsr_arena_alloc_array(arena, most, sizeof *by_time);
  if (ns == NULL || measured == NULL || predicted == NULL || order == NULL || by_time == NULL)
    return no_memory(diag);
  for (uint32_t i = 0; i < s->told_count; i++) {
    const told *t = &s->told[i];
    if (!(t->ns > 0) || (corrected && t->version == 0))
      continue;
    const uint32_t n = out->measured++;
    ns[n] = t->ns;
    by_time[n] = (ranked){t->ns, n};
    order[n] = (ranked){corrected ? t->before.ns : t->before.analytic_ns, n};
  }
  if (out->measured == 0)
    return TSR_OK;
  find_ranks(by_time, out->measured, measured);
  find_ranks(order, out->measured, predicted);
  const double best = by_time[0].value;
  out->rank_correlation = correlate(predicted, measured, out->measured);
  out->top1_regret = regret(order, 1, ns, best);
  out->top10_regret = regret(order, out->measured < 10 ? out->measured : 10, ns, best);
  return TSR_OK;
}

tsr_status tsr_search_get_quality(const tsr_search *search, tsr_search_quality *out_quality,
                                  tsr_diag *diag) {
  tsr_arena arena;
  *out_quality = (tsr_search_quality){0};
  tsr_arena_init(&arena, search->allocator);
  tsr_status status = judge(search, false, &arena, diag, &out_quality->analytic);
  if (status == TSR_OK)
    status = judge(search, true, &arena, diag, &out_quality->corrected);
  tsr_arena_reset(&arena);
  return status;
}
