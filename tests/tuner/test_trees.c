/* Gradient-boosted trees over groups of rows, against functions that are known. */
#include "tuner/trees.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static tsr_diag diag;
static const tsr_trees_options plain = {.rounds = 100, .depth = 4, .rate = 0.3, .l2 = 1};

static uint64_t state;
static double uniform(void) {
  state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (double)(state >> 11) * 0x1p-53;
}

typedef struct data {
  uint32_t features, groups;
  float *rows;
  uint32_t *ends;
  double *labels, *weights;
} data;

static data make(uint32_t groups, uint32_t most_rows, uint32_t features) {
  data d = {.features = features, .groups = groups};
  d.rows = calloc((size_t)groups * most_rows * features, sizeof *d.rows);
  d.ends = calloc(groups, sizeof *d.ends);
  d.labels = calloc(groups, sizeof *d.labels);
  ck_assert(d.rows != NULL && d.ends != NULL && d.labels != NULL);
  for (uint32_t g = 0, end = 0; g < groups; g++) {
    end += most_rows == 1 ? 1 : 1 + (uint32_t)(uniform() * most_rows);
    d.ends[g] = end;
  }
  for (size_t i = 0; i < (size_t)d.ends[groups - 1] * features; i++)
    d.rows[i] = (float)uniform();
  return d;
}

static void drop(data *d) {
  free(d->rows);
  free(d->ends);
  free(d->labels);
  free(d->weights);
}

static const float *row_of(const data *d, uint32_t group, uint32_t *out_count) {
  const uint32_t begin = group == 0 ? 0 : d->ends[group - 1];
  *out_count = d->ends[group] - begin;
  return d->rows + (size_t)begin * d->features;
}

/* Labels by the sum of `of_row` over the rows of each group. */
static void label(data *d, double (*of_row)(const float *row)) {
  for (uint32_t g = 0; g < d->groups; g++) {
    uint32_t count;
    const float *rows = row_of(d, g, &count);
    d->labels[g] = 0;
    for (uint32_t r = 0; r < count; r++)
      d->labels[g] += of_row(rows + (size_t)r * d->features);
  }
}

static tsr_trees *train(const data *d, const tsr_trees_options *options) {
  tsr_trees *trees;
  tsr_diag_clear(&diag);
  tsr_status status = tsr_trees_train(d->rows, d->features, d->ends, d->labels, d->weights,
                                      d->groups, options, tsr_allocator_default(), &diag, &trees);
  ck_assert_msg(status == TSR_OK, "%s", diag.message);
  return trees;
}

static double error_of(const tsr_trees *trees, const data *d) {
  double sum = 0;
  for (uint32_t g = 0; g < d->groups; g++) {
    uint32_t count;
    const float *rows = row_of(d, g, &count);
    const double off = tsr_trees_predict(trees, rows, count) - d->labels[g];
    sum += (d->weights == NULL ? 1 : d->weights[g]) * off * off;
  }
  return sum;
}

/* Error of saying the mean, which is what no tree at all says. */
static double error_of_mean(const data *d) {
  double mean = 0, sum = 0;
  for (uint32_t g = 0; g < d->groups; g++)
    mean += d->labels[g] / d->groups;
  for (uint32_t g = 0; g < d->groups; g++)
    sum += (d->labels[g] - mean) * (d->labels[g] - mean);
  return sum;
}

static double step(const float *row) {
  return row[1] > 0.5f ? 3 : -1;
}

static double corners(const float *row) {
  return (row[0] > 0.3f) != (row[2] > 0.6f) ? 2 : 0;
}

static double smooth(const float *row) {
  return sin(6 * (double)row[0]) + (double)row[1] * (double)row[3];
}

/* One cut is all it takes; with l2 towards 0 and rate 1 one tree of one row per group is exact. */
START_TEST(fits_a_step_with_one_tree) {
  data d = make(64, 1, 3);
  label(&d, step);
  const tsr_trees_options one = {.rounds = 1, .depth = 1, .rate = 1, .l2 = 1e-9};
  tsr_trees *trees = train(&d, &one);
  ck_assert_double_lt(error_of(trees, &d), 1e-12);
  const float low[] = {0.9f, 0.1f, 0.9f}, high[] = {0.1f, 0.9f, 0.1f};
  ck_assert_double_eq_tol(tsr_trees_predict(trees, low, 1), -1, 1e-6);
  ck_assert_double_eq_tol(tsr_trees_predict(trees, high, 1), 3, 1e-6);
  tsr_trees_destroy(trees);
  drop(&d);
}
END_TEST

/* The sum over rows is what was learned, though only sums were seen: single rows come out right. */
START_TEST(takes_groups_apart) {
  data d = make(800, 4, 4);
  label(&d, corners);
  tsr_trees *trees = train(&d, &(tsr_trees_options){.rounds = 300, .depth = 3, .rate = 1, .l2 = 1});
  ck_assert_double_lt(error_of(trees, &d), 0.02 * error_of_mean(&d));
  const double nothing = tsr_trees_predict(trees, NULL, 0);
  const float one[] = {0.1f, 0.5f, 0.9f, 0.5f}, none[] = {0.9f, 0.5f, 0.9f, 0.5f};
  ck_assert_double_eq_tol(tsr_trees_predict(trees, one, 1) - tsr_trees_predict(trees, none, 1), 2,
                          0.4);
  const float both[] = {0.1f, 0.5f, 0.9f, 0.5f, 0.9f, 0.5f, 0.9f, 0.5f};
  ck_assert_double_eq_tol(tsr_trees_predict(trees, both, 2) - nothing,
                          tsr_trees_predict(trees, one, 1) - nothing +
                              tsr_trees_predict(trees, none, 1) - nothing,
                          1e-9);
  tsr_trees_destroy(trees);
  drop(&d);
}
END_TEST

/* On what was not trained with, too: most of a smooth function is found. */
START_TEST(generalises) {
  data d = make(1200, 1, 6), fresh = make(400, 1, 6);
  label(&d, smooth);
  label(&fresh, smooth);
  tsr_trees *trees = train(&d, &plain);
  ck_assert_double_lt(error_of(trees, &fresh), 0.02 * error_of_mean(&fresh));
  tsr_trees_destroy(trees);
  drop(&fresh);
  drop(&d);
}
END_TEST

/* More rounds are the same trees and further ones, and none of them makes the error greater, at the
 * greatest rate and with groups of many equal rows, where steps per row would overshoot. */
START_TEST(no_tree_makes_the_error_greater) {
  data d = make(200, 8, 4);
  label(&d, smooth);
  for (uint32_t g = 0; g < d.groups; g += 2) {
    uint32_t count;
    float *rows = (float *)row_of(&d, g, &count);
    for (uint32_t r = 1; r < count; r++)
      memcpy(rows + (size_t)r * d.features, rows, d.features * sizeof *rows);
  }
  d.weights = calloc(d.groups, sizeof *d.weights);
  for (uint32_t g = 0; g < d.groups; g++)
    d.weights[g] = uniform();
  double before = INFINITY;
  for (uint32_t rounds = 1; rounds <= 40; rounds++) {
    tsr_trees *trees =
        train(&d, &(tsr_trees_options){.rounds = rounds, .depth = 5, .rate = 1, .l2 = 0.1});
    const double now = error_of(trees, &d);
    ck_assert_double_le(now, before * (1 + 1e-9));
    before = now;
    tsr_trees_destroy(trees);
  }
  drop(&d);
}
END_TEST

START_TEST(is_deterministic) {
  data d = make(500, 5, 8), fresh = make(50, 5, 8);
  label(&d, corners);
  tsr_trees *a = train(&d, &plain), *b = train(&d, &plain);
  for (uint32_t g = 0; g < fresh.groups; g++) {
    uint32_t count;
    const float *rows = row_of(&fresh, g, &count);
    const double x = tsr_trees_predict(a, rows, count), y = tsr_trees_predict(b, rows, count);
    ck_assert(memcmp(&x, &y, sizeof x) == 0);
  }
  tsr_trees_destroy(a);
  tsr_trees_destroy(b);
  drop(&fresh);
  drop(&d);
}
END_TEST

/* Nothing to cut, or too little weight on one side: the mean. */
START_TEST(says_the_mean_where_nothing_tells_groups_apart) {
  data d = make(100, 1, 4);
  for (size_t i = 0; i < 400; i++)
    d.rows[i] = 7;
  for (uint32_t g = 0; g < d.groups; g++)
    d.labels[g] = g;
  tsr_trees *trees = train(&d, &plain);
  ck_assert_double_eq_tol(tsr_trees_predict(trees, d.rows, 1), 49.5, 1e-9);
  tsr_trees_destroy(trees);
  d.rows[0] = 8;
  trees = train(&d, &(tsr_trees_options){
                        .rounds = 20, .depth = 3, .rate = 0.5, .l2 = 1, .least_weight = 1.5});
  ck_assert_double_eq_tol(tsr_trees_predict(trees, d.rows, 1), 49.5, 1e-9);
  tsr_trees_destroy(trees);
  trees = train(
      &d, &(tsr_trees_options){.rounds = 60, .depth = 3, .rate = 1, .l2 = 1e-3, .least_weight = 1});
  ck_assert_double_eq_tol(tsr_trees_predict(trees, d.rows, 1), 0, 1e-3);
  tsr_trees_destroy(trees);
  drop(&d);
}
END_TEST

/* A group of weight w counts like w groups. */
START_TEST(weights_count_like_copies) {
  data d = make(60, 1, 4), copies = make(120, 1, 4);
  label(&d, smooth);
  d.labels[3] = 9;
  d.weights = calloc(d.groups, sizeof *d.weights);
  copies.groups = 0;
  for (uint32_t g = 0; g < d.groups; g++) {
    d.weights[g] = 1 + g % 3 / 2;
    for (uint32_t i = 0; i < 1 + g % 3 / 2; i++, copies.groups++) {
      memcpy(copies.rows + (size_t)copies.groups * 4, d.rows + (size_t)g * 4, 4 * sizeof *d.rows);
      copies.labels[copies.groups] = d.labels[g];
    }
  }
  const tsr_trees_options few = {.rounds = 5, .depth = 2, .rate = 0.5, .l2 = 1};
  tsr_trees *a = train(&d, &few), *b = train(&copies, &few);
  for (uint32_t g = 0; g < d.groups; g++)
    ck_assert_double_eq_tol(tsr_trees_predict(a, d.rows + (size_t)g * 4, 1),
                            tsr_trees_predict(b, d.rows + (size_t)g * 4, 1), 1e-9);
  tsr_trees_destroy(a);
  tsr_trees_destroy(b);
  drop(&copies);
  drop(&d);
}
END_TEST

/* Values of few kinds and of huge range; neighbours that no number lies between. */
START_TEST(cuts_between_any_two_numbers) {
  data d = make(60, 1, 1);
  for (uint32_t g = 0; g < d.groups; g++) {
    const float values[] = {-3e38f, -0.0f, 1.0f, 1.0f + 0x1p-23f, 3e38f};
    d.rows[g] = values[g % 5];
    d.labels[g] = (double)(g % 5) * (double)(g % 5);
  }
  tsr_trees *trees =
      train(&d, &(tsr_trees_options){.rounds = 50, .depth = 3, .rate = 1, .l2 = 1e-3});
  ck_assert_double_lt(error_of(trees, &d), 1e-6);
  const float other[] = {0.0f}, beyond[] = {3.3e38f};
  ck_assert_double_eq_tol(tsr_trees_predict(trees, other, 1), 1, 1e-2);
  ck_assert_double_eq_tol(tsr_trees_predict(trees, beyond, 1), 16, 1e-2);
  tsr_trees_destroy(trees);
  drop(&d);
}
END_TEST

static void refused(const data *d, const tsr_trees_options *options) {
  tsr_trees *trees = (tsr_trees *)&diag;
  tsr_diag_clear(&diag);
  ck_assert_int_eq(tsr_trees_train(d->rows, d->features, d->ends, d->labels, d->weights, d->groups,
                                   options, tsr_allocator_default(), &diag, &trees),
                   TSR_ERR_ARGUMENT);
  ck_assert_ptr_null(trees);
  ck_assert_int_gt((int)strlen(diag.message), 0);
}

START_TEST(refuses_what_is_no_number) {
  data d = make(10, 2, 3);
  label(&d, step);
  d.weights = calloc(10, sizeof *d.weights);
  for (int i = 0; i < 10; i++)
    d.weights[i] = 1;
  const float bad[] = {NAN, INFINITY, -INFINITY};
  for (int i = 0; i < 3; i++) {
    const float row = d.rows[4];
    d.rows[4] = bad[i];
    refused(&d, &plain);
    d.rows[4] = row;
    d.labels[2] = (double)bad[i];
    refused(&d, &plain);
    label(&d, step);
    d.weights[3] = (double)bad[i];
    refused(&d, &plain);
    d.weights[3] = 1;
  }
  d.weights[0] = -1;
  refused(&d, &plain);
  memset(d.weights, 0, 10 * sizeof *d.weights);
  refused(&d, &plain);
  d.weights[0] = 1;
  tsr_trees_destroy(train(&d, &plain));
  const tsr_trees_options wrong[] = {{.rounds = 0, .depth = 2, .rate = 0.3, .l2 = 1},
                                     {.rounds = 1, .depth = 0, .rate = 0.3, .l2 = 1},
                                     {.rounds = 1, .depth = 60, .rate = 0.3, .l2 = 1},
                                     {.rounds = 1, .depth = 2, .rate = 0, .l2 = 1},
                                     {.rounds = 1, .depth = 2, .rate = 1.5, .l2 = 1},
                                     {.rounds = 1, .depth = 2, .rate = 0.3, .l2 = 0},
                                     {.rounds = 1, .depth = 2, .rate = 0.3, .l2 = (double)NAN}};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
    refused(&d, &wrong[i]);
  d.groups = 0;
  refused(&d, &plain);
  drop(&d);
}
END_TEST

/* Fails the allocation numbered `left`. */
static void *allocate_few(void *context, size_t size, size_t alignment) {
  int *left = context;
  if ((*left)-- == 0)
    return NULL;
  return tsr_allocator_default()->allocate(NULL, size, alignment);
}

static void release_few(void *context, void *pointer, size_t size) {
  (void)context;
  tsr_allocator_default()->release(NULL, pointer, size);
}

START_TEST(survives_every_allocation_that_fails) {
  data d = make(40, 3, 5);
  label(&d, step);
  for (int n = 0;; n++) {
    int left = n;
    const tsr_allocator few = {&left, allocate_few, release_few};
    tsr_trees *trees;
    tsr_diag_clear(&diag);
    tsr_status status = tsr_trees_train(d.rows, d.features, d.ends, d.labels, NULL, d.groups,
                                        &plain, &few, &diag, &trees);
    if (status == TSR_OK) {
      ck_assert_int_gt(n, 2);
      tsr_trees_destroy(trees);
      break;
    }
    ck_assert_int_eq(status, TSR_ERR_OUT_OF_MEMORY);
    ck_assert_ptr_null(trees);
  }
  drop(&d);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("trees");
  TCase *tests = tcase_create("trees");
  tcase_add_test(tests, fits_a_step_with_one_tree);
  tcase_add_test(tests, takes_groups_apart);
  tcase_add_test(tests, generalises);
  tcase_add_test(tests, no_tree_makes_the_error_greater);
  tcase_add_test(tests, is_deterministic);
  tcase_add_test(tests, says_the_mean_where_nothing_tells_groups_apart);
  tcase_add_test(tests, weights_count_like_copies);
  tcase_add_test(tests, cuts_between_any_two_numbers);
  tcase_add_test(tests, refuses_what_is_no_number);
  tcase_add_test(tests, survives_every_allocation_that_fails);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
