/* The search over a space that is made up here: six knobs, an analytic model that is wrong in a way
 * that features tell, and a true time. */
#include "tuner/search.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static tsr_diag diag;

/* ------ the space ------ */

enum { KNOBS = 6 };
static const tsr_knob knobs[KNOBS] = {TSR_KNOB_MR, TSR_KNOB_NR, TSR_KNOB_MC,
                                      TSR_KNOB_NC, TSR_KNOB_KC, TSR_KNOB_UNROLL};

struct tsr_space {
  int values;         /* of every knob: 1 .. values */
  double best[KNOBS]; /* of the true time */
  double seen[KNOBS]; /* of the analytic model */
};

uint64_t tsr_space_next_random(uint64_t *random) {
  uint64_t z = *random += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
  return z ^ z >> 31;
}

static int64_t value(const tsr_space *space, uint64_t *random) {
  return 1 + (int64_t)(tsr_space_next_random(random) % (uint64_t)space->values);
}

void tsr_space_default(tsr_space *space, tsr_schedule *out_schedule) {
  *out_schedule = (tsr_schedule){.strategy = TSR_STRATEGY_CONTRACT};
  for (int i = 0; i < KNOBS; i++)
    out_schedule->knobs[knobs[i]] = space->values;
}

/* A third of all combinations is not. */
bool tsr_space_is_legal(tsr_space *space, const tsr_schedule *schedule) {
  int64_t sum = 0;
  for (int i = 0; i < KNOBS; i++) {
    const int64_t v = schedule->knobs[knobs[i]];
    if (v < 1 || v > space->values)
      return false;
    sum += v;
  }
  return sum % 3 != 1 || sum == KNOBS * space->values;
}

bool tsr_space_sample(tsr_space *space, uint64_t *random, tsr_schedule *out_schedule) {
  tsr_space_default(space, out_schedule);
  for (int i = 0; i < KNOBS; i++)
    out_schedule->knobs[knobs[i]] = value(space, random);
  return tsr_space_is_legal(space, out_schedule);
}

bool tsr_space_mutate(tsr_space *space, uint64_t *random, const tsr_schedule *from,
                      tsr_schedule *out_schedule) {
  *out_schedule = *from;
  for (uint64_t moved = 1 + tsr_space_next_random(random) % 2; moved > 0; moved--) {
    int64_t *knob = &out_schedule->knobs[knobs[tsr_space_next_random(random) % KNOBS]];
    *knob += tsr_space_next_random(random) % 2 == 0 ? 1 : -1;
  }
  return tsr_space_is_legal(space, out_schedule);
}

bool tsr_space_cross(tsr_space *space, uint64_t *random, const tsr_schedule *a,
                     const tsr_schedule *b, tsr_schedule *out_schedule) {
  *out_schedule = *a;
  for (int i = 0; i < KNOBS; i++)
    if (tsr_space_next_random(random) % 2 == 0)
      out_schedule->knobs[knobs[i]] = b->knobs[knobs[i]];
  return tsr_space_is_legal(space, out_schedule);
}

/* 1000 at the best values, more by the square of the distance from each. */
static double bowl(const double best[KNOBS], const tsr_schedule *schedule) {
  double figure = 1000;
  for (int i = 0; i < KNOBS; i++) {
    const double off = (double)schedule->knobs[knobs[i]] - best[i];
    figure += 40 * off * off;
  }
  return figure;
}

static double true_ns(const tsr_space *space, const tsr_schedule *schedule) {
  return bowl(space->best, schedule);
}

void tsr_space_cost(tsr_space *space, const tsr_schedule *schedule, tsr_cost *out_cost) {
  *out_cost = (tsr_cost){.cycles = 3 * bowl(space->seen, schedule)};
}

const char *tsr_space_feature_text(uint32_t feature) {
  return feature < KNOBS ? "knob" : "nothing";
}

/* Two rows, as of two stores that three knobs each belong to. */
uint32_t tsr_space_features(tsr_space *space, const tsr_schedule *schedule,
                            float out_rows[TSR_SPACE_STORES][TSR_SPACE_FEATURES]) {
  (void)space;
  memset(out_rows, 0, sizeof(float[2][TSR_SPACE_FEATURES]));
  for (int i = 0; i < KNOBS; i++)
    out_rows[i / 3][i] = (float)schedule->knobs[knobs[i]];
  out_rows[1][KNOBS] = 1;
  return 2;
}

static const tsr_space wide = {
    .values = 12, .best = {3, 9, 4, 8, 2, 11}, .seen = {5, 6, 4, 10, 6, 9}};

/* ------ searches of it ------ */

typedef struct run {
  tsr_space space;
  tsr_learner *learner;
  tsr_search *search;
} run;

static run begin(const tsr_space *space, const tsr_learner_options *options) {
  run r = {.space = *space};
  tsr_diag_clear(&diag);
  ck_assert_int_eq(tsr_learner_create(options, tsr_allocator_default(), &diag, &r.learner), TSR_OK);
  return r;
}

/* The space must not move any more. */
static void attach(run *r, uint64_t seed) {
  ck_assert_int_eq(
      tsr_search_create(&r->space, r->learner, 7, seed, tsr_allocator_default(), &diag, &r->search),
      TSR_OK);
}

static void end(run *r) {
  tsr_search_destroy(r->search);
  tsr_learner_destroy(r->learner);
}

enum { BATCH = 8 };
static const tsr_learner_options both = {.cycles_per_ns = 3};

static uint32_t propose(run *r, uint32_t most, tsr_schedule *schedules) {
  static tsr_prediction predictions[512];
  uint32_t count;
  ck_assert_int_eq(tsr_search_propose(r->search, most, schedules, predictions, &count, &diag),
                   TSR_OK);
  for (uint32_t i = 0; i < count; i++)
    ck_assert(predictions[i].analytic_ns > 0 && predictions[i].ns > 0);
  return count;
}

static void tell(run *r, const tsr_schedule *schedule, double ns) {
  ck_assert_int_eq(tsr_search_tell(r->search, schedule, TSR_DB_RIGHT, ns, &diag), TSR_OK);
}

static double go_on(run *r, int trials) {
  tsr_schedule schedules[BATCH];
  for (int done = 0; done < trials;) {
    const uint32_t count = propose(r, BATCH, schedules);
    for (uint32_t i = 0; i < count; i++)
      tell(r, &schedules[i], true_ns(&r->space, &schedules[i]));
    ck_assert_int_eq(tsr_learner_update(r->learner, &diag), TSR_OK);
    done += (int)count;
    if (count == 0)
      break;
  }
  double best;
  ck_assert_ptr_nonnull(tsr_search_best(r->search, &best));
  return best;
}

static double best_after(const tsr_space *space, const tsr_learner_options *options, int trials,
                         uint64_t seed) {
  run r = begin(space, options);
  attach(&r, seed);
  const double best = go_on(&r, trials);
  end(&r);
  return best;
}

START_TEST(starts_from_the_default_and_seeds) {
  run r = begin(&wide, &both);
  attach(&r, 1);
  tsr_schedule seed, illegal, first[3];
  tsr_space_default(&r.space, &seed);
  illegal = seed;
  seed.knobs[TSR_KNOB_MR] = 2;
  illegal.knobs[TSR_KNOB_MR] = 99;
  ck_assert(tsr_space_is_legal(&r.space, &seed));
  ck_assert_int_eq(tsr_search_seed(r.search, &illegal, &diag), TSR_OK);
  ck_assert_int_eq(tsr_search_seed(r.search, &seed, &diag), TSR_OK);
  ck_assert_int_eq(tsr_search_seed(r.search, &seed, &diag), TSR_OK);
  ck_assert_double_eq(tsr_search_expected_gain(r.search, BATCH), 1);
  ck_assert_uint_eq(propose(&r, 3, first), 3);
  ck_assert_int_eq(first[0].knobs[TSR_KNOB_MR], 12);
  ck_assert_int_eq(first[1].knobs[TSR_KNOB_MR], 2);
  ck_assert_int_eq(first[1].knobs[TSR_KNOB_NR], 12);
  ck_assert_int_ne(first[2].knobs[TSR_KNOB_NR], 12);
  end(&r);
}
END_TEST

/* Also not what was told from elsewhere. */
START_TEST(proposes_nothing_twice) {
  run r = begin(&wide, &both);
  attach(&r, 2);
  enum { COUNT = 600 };
  static tsr_schedule all[COUNT + BATCH];
  uint64_t random = 5;
  uint32_t count = 0;
  for (; count < 50;)
    if (tsr_space_sample(&r.space, &random, &all[count])) {
      ck_assert_int_eq(tsr_search_tell(r.search, &all[count],
                                       count % 2 == 0 ? TSR_DB_RIGHT : TSR_DB_CRASHED,
                                       true_ns(&r.space, &all[count]), &diag),
                       TSR_OK);
      count++;
    }
  ck_assert_uint_eq(tsr_search_measured(r.search), 25);
  while (count < COUNT) {
    const uint32_t more = propose(&r, BATCH, &all[count]);
    ck_assert_uint_eq(more, BATCH);
    for (uint32_t i = 0; i < more; i++, count++) {
      ck_assert(tsr_space_is_legal(&r.space, &all[count]));
      for (uint32_t k = 0; k < count; k++)
        ck_assert(memcmp(all[k].knobs, all[count].knobs, sizeof all[k].knobs) != 0);
      tell(&r, &all[count], true_ns(&r.space, &all[count]));
    }
    ck_assert_int_eq(tsr_learner_update(r.learner, &diag), TSR_OK);
  }
  end(&r);
}
END_TEST

START_TEST(empties_a_small_space) {
  const tsr_space small = {.values = 2, .best = {1, 2, 1, 2, 1, 2}, .seen = {2, 2, 1, 1, 1, 1}};
  run r = begin(&small, &both);
  attach(&r, 3);
  uint32_t legal = 0;
  for (int i = 0; i < 1 << KNOBS; i++) {
    tsr_schedule s = {.strategy = TSR_STRATEGY_CONTRACT};
    for (int k = 0; k < KNOBS; k++)
      s.knobs[knobs[k]] = 1 + (i >> k & 1);
    legal += tsr_space_is_legal(&r.space, &s);
  }
  tsr_schedule s[16];
  uint32_t found = 0, count;
  while ((count = propose(&r, 16, s)) > 0)
    for (uint32_t i = 0; i < count; i++, found++)
      tell(&r, &s[i], true_ns(&r.space, &s[i]));
  ck_assert_uint_eq(found, legal);
  ck_assert_double_eq(tsr_search_expected_gain(r.search, BATCH), 0);
  end(&r);
}
END_TEST

/* No schedule takes less than 1000; 80 trials of two million. The analytic model misleads here, and
 * still both together halve at least the distance that evolution without a model leaves. */
START_TEST(finds_the_best_with_few_trials) {
  const tsr_learner_options learned = {.no_analytic = true, .cycles_per_ns = 3},
                            analytic = {.no_learned = true, .cycles_per_ns = 3},
                            none = {.no_analytic = true, .no_learned = true};
  double with_both = 0, with_none = 0, with_learned = 0, with_analytic = 0;
  for (uint64_t seed = 1; seed <= 5; seed++) {
    with_both += best_after(&wide, &both, 80, seed) / 5;
    with_learned += best_after(&wide, &learned, 80, seed) / 5;
    with_analytic += best_after(&wide, &analytic, 80, seed) / 5;
    with_none += best_after(&wide, &none, 80, seed) / 5;
  }
  ck_assert_double_lt(with_both - 1000, 0.5 * (with_none - 1000));
  ck_assert_double_lt(with_both, with_analytic);
  ck_assert_double_lt(with_learned, with_none);
}
END_TEST

START_TEST(same_seed_same_proposals) {
  const double a = best_after(&wide, &both, 60, 11), b = best_after(&wide, &both, 60, 11);
  ck_assert_double_eq(a, b);
  run r = begin(&wide, &both), q = begin(&wide, &both);
  attach(&r, 4);
  attach(&q, 5);
  tsr_schedule s[BATCH], t[BATCH];
  ck_assert_uint_eq(propose(&r, BATCH, s), BATCH);
  ck_assert_uint_eq(propose(&q, BATCH, t), BATCH);
  ck_assert(memcmp(s, t, sizeof s) != 0);
  end(&q);
  end(&r);
}
END_TEST

/* Measurements follow the features, not the analytic model: the correction ranks better. */
START_TEST(correction_ranks_better) {
  run r = begin(&wide, &both);
  attach(&r, 6);
  go_on(&r, 200);
  tsr_search_quality q;
  ck_assert_int_eq(tsr_search_get_quality(r.search, &q, &diag), TSR_OK);
  ck_assert_uint_ge(q.analytic.measured, 200);
  ck_assert_uint_lt(q.corrected.measured, q.analytic.measured);
  ck_assert_uint_ge(q.corrected.measured, 180);
  ck_assert_double_gt(q.corrected.rank_correlation, q.analytic.rank_correlation);
  ck_assert_double_le(q.corrected.top10_regret, q.corrected.top1_regret);
  end(&r);
}
END_TEST

/* Predictions are 1000, 1040, 1160, .. by one knob; what is measured is said here. */
START_TEST(quality_is_what_it_is_defined_as) {
  const tsr_space line = {.values = 20, .seen = {1, 20, 20, 20, 20, 20}};
  static const double ns[] = {5, 3, 4, 8, 6, 9, 7, 12, 10, 11, 15, 13, 14, 2.5};
  const int count = sizeof ns / sizeof *ns;
  const tsr_learner_options analytic = {.no_learned = true, .cycles_per_ns = 3};
  run r = begin(&line, &analytic);
  attach(&r, 1);
  tsr_search_quality q;
  ck_assert_int_eq(tsr_search_get_quality(r.search, &q, &diag), TSR_OK);
  ck_assert_uint_eq(q.analytic.measured, 0);
  tsr_schedule s;
  tsr_space_default(&r.space, &s);
  ck_assert_int_eq(tsr_search_tell(r.search, &s, TSR_DB_WRONG, 1, &diag), TSR_OK);
  for (int i = 0; i < count; i++) {
    s.knobs[TSR_KNOB_MR] = 1 + i;
    tell(&r, &s, ns[i]);
  }
  ck_assert_int_eq(tsr_search_get_quality(r.search, &q, &diag), TSR_OK);
  ck_assert_uint_eq(q.analytic.measured, (uint32_t)count);
  ck_assert_uint_eq(q.corrected.measured, 0);
  /* 1 - 6 sum d^2 / (n (n^2 - 1)), where no two are equal: ranks of ns are 4 2 3 7 5 8 6 11 9 10 14
   * 12 13 1. */
  static const double rank[] = {4, 2, 3, 7, 5, 8, 6, 11, 9, 10, 14, 12, 13, 1};
  double squares = 0;
  for (int i = 0; i < count; i++)
    squares += (rank[i] - 1 - i) * (rank[i] - 1 - i);
  ck_assert_double_eq_tol(q.analytic.rank_correlation,
                          1 - 6 * squares / (double)(count * (count * count - 1)), 1e-12);
  ck_assert_double_eq_tol(q.analytic.top1_regret, 1, 1e-12);
  ck_assert_double_eq_tol(q.analytic.top10_regret, 0.2, 1e-12);
  end(&r);
}
END_TEST

/* While batches gain, more is expected; where the best was found and nothing follows, the
 * expectation falls under any noise. */
START_TEST(expects_less_when_nothing_comes) {
  run r = begin(&wide, &both);
  attach(&r, 8);
  go_on(&r, 16);
  const double early = tsr_search_expected_gain(r.search, BATCH);
  ck_assert_double_gt(early, 0.05);
  ck_assert_double_le(early, 1);
  go_on(&r, 240);
  ck_assert_double_lt(tsr_search_expected_gain(r.search, BATCH), 0.02);
  end(&r);
}
END_TEST

/* A learner of another task's trials starts ahead, and remembers no more than it may. */
START_TEST(learns_from_other_tasks_and_forgets) {
  tsr_learner_options few = both;
  few.most = 64;
  run r = begin(&wide, &few);
  attach(&r, 9);
  go_on(&r, 400);
  tsr_search *other;
  ck_assert_int_eq(
      tsr_search_create(&r.space, r.learner, 8, 9, tsr_allocator_default(), &diag, &other), TSR_OK);
  tsr_search_destroy(r.search);
  r.search = other;
  tsr_schedule s[BATCH];
  double with = INFINITY;
  for (uint32_t i = 0, n = propose(&r, BATCH, s); i < n; i++)
    with = fmin(with, true_ns(&r.space, &s[i]));
  end(&r);
  ck_assert_double_lt(with, best_after(&wide, &both, BATCH, 9));
}
END_TEST

START_TEST(refuses_times_that_are_none) {
  run r = begin(&wide, &both);
  attach(&r, 1);
  tsr_schedule s;
  tsr_space_default(&r.space, &s);
  ck_assert_int_eq(tsr_search_tell(r.search, &s, TSR_DB_RIGHT, INFINITY, &diag), TSR_ERR_ARGUMENT);
  tsr_diag_clear(&diag);
  ck_assert_int_eq(tsr_learner_add(r.learner, 1, &r.space, &s, -1, &diag), TSR_ERR_ARGUMENT);
  end(&r);
}
END_TEST

static void *allocate_few(void *context, size_t size, size_t alignment) {
  int *left = context;
  return (*left)-- == 0 ? NULL : tsr_allocator_default()->allocate(NULL, size, alignment);
}

static void release_few(void *context, void *pointer, size_t size) {
  (void)context;
  tsr_allocator_default()->release(NULL, pointer, size);
}

static tsr_status small_search(const tsr_allocator *allocator) {
  tsr_space space = wide;
  tsr_learner *learner;
  tsr_search *search = NULL;
  tsr_schedule s[BATCH];
  tsr_prediction p[BATCH];
  tsr_search_quality q;
  uint32_t count = 0;
  TSR_TRY(tsr_learner_create(&both, allocator, &diag, &learner));
  tsr_status status = tsr_search_create(&space, learner, 1, 1, allocator, &diag, &search);
  for (int batches = 0; batches < 3 && status == TSR_OK; batches++) {
    status = tsr_search_propose(search, BATCH, s, p, &count, &diag);
    for (uint32_t i = 0; i < count && status == TSR_OK; i++)
      status = tsr_search_tell(search, &s[i], TSR_DB_RIGHT, true_ns(&space, &s[i]), &diag);
    if (status == TSR_OK)
      status = tsr_learner_update(learner, &diag);
  }
  if (status == TSR_OK)
    status = tsr_search_get_quality(search, &q, &diag);
  tsr_search_destroy(search);
  tsr_learner_destroy(learner);
  return status;
}

START_TEST(survives_every_allocation_that_fails) {
  tsr_status status = TSR_ERR_OUT_OF_MEMORY;
  for (int n = 0; status != TSR_OK; n++) {
    int left = n;
    const tsr_allocator few = {&left, allocate_few, release_few};
    tsr_diag_clear(&diag);
    status = small_search(&few);
    ck_assert(status == TSR_OK || status == TSR_ERR_OUT_OF_MEMORY);
    ck_assert_int_lt(n, 1000);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("search");
  TCase *tests = tcase_create("search");
  tcase_add_test(tests, starts_from_the_default_and_seeds);
  tcase_add_test(tests, proposes_nothing_twice);
  tcase_add_test(tests, empties_a_small_space);
  tcase_add_test(tests, finds_the_best_with_few_trials);
  tcase_add_test(tests, same_seed_same_proposals);
  tcase_add_test(tests, correction_ranks_better);
  tcase_add_test(tests, quality_is_what_it_is_defined_as);
  tcase_add_test(tests, expects_less_when_nothing_comes);
  tcase_add_test(tests, learns_from_other_tasks_and_forgets);
  tcase_add_test(tests, refuses_times_that_are_none);
  tcase_add_test(tests, survives_every_allocation_that_fails);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
