/* Tuning a model: its tasks searched in turns, by their share of the model's time, within a budget;
 * every trial goes to the database at once, so that stopping at any moment loses what is under way
 * and starting again goes on. */
#ifndef TSR_TUNER_TUNE_H
#define TSR_TUNER_TUNE_H
#include "tuner/measure.h"
#include "tuner/search.h"

typedef struct tsr_tune_progress {
  double elapsed_s, left_s;      /* left: of the budget, by seconds or by the rate of trials */
  uint64_t trials, trials_total; /* total 0: bounded by time only */
  double model_ns;               /* sum over tasks of times * best so far */
  double first_ns;               /* the same with default schedules */
  uint32_t task, task_count;
  const char *task_name;
} tsr_tune_progress;

typedef struct tsr_tune_options {
  uint64_t trials; /* 0: no bound */
  double seconds;  /* 0: no bound; both 0: until nothing is expected to gain */
  bool resume;     /* rows of the database count as told, so that they are not measured again */
  bool no_analytic, no_learned;
  uint64_t seed;
  double noise; /* least gain worth looking for, a share; 0: default */
  tsr_measure_options measure;
  tsr_db_origin origin;
  void (*progress)(void *context, const tsr_tune_progress *progress);
  void *progress_context;
  bool (*stop)(void *context); /* asked often: interrupted by the user */
  void *stop_context;
} tsr_tune_options;

typedef struct tsr_tune_result {
  tsr_search_quality quality; /* over all tasks, weighted by share */
  uint64_t trials;
  double first_ns, best_ns; /* of the model's kernels, default and best schedules */
} tsr_tune_result;

/* For targets without a device here every row is PREDICTED. Errors: of the database, of measuring.
 */
TSR_WARN_UNUSED tsr_status tsr_tune(tsr_task_list *tasks, const tsr_target *target, tsr_db *db,
                                    const tsr_tune_options *options, const tsr_allocator *allocator,
                                    tsr_diag *diag, tsr_tune_result *out_result);

#endif
