/* Tuning a model: its tasks searched in turns, each batch of trials where the model is expected to
 * gain most, within a budget; every trial goes to the database at once, so that stopping at any
 * moment loses what is under way and starting again goes on. */
#ifndef TSR_TUNER_TUNE_H
#define TSR_TUNER_TUNE_H
#include "tuner/measure.h"
#include "tuner/search.h"

typedef struct tsr_tune_progress {
  double elapsed_s, left_s; /* left: of the budget, by seconds or by the rate of trials; < 0:
                               unknown */
  uint64_t trials;
  double model_ns;              /* sum over tasks of times * best so far; 0 until all have one */
  double first_ns;              /* the same with default schedules */
  uint32_t started, task_count; /* tasks that have been measured at all, of all */
} tsr_tune_progress;

/* Of one task, in the order of the list. */
typedef struct tsr_tune_task {
  double first_ns, best_ns; /* of one launch; 0: nothing could be measured */
  uint64_t trials;          /* of this call */
  char message[200];        /* why it could not be measured, or "" */
} tsr_tune_task;

typedef struct tsr_tune_options {
  uint64_t trials; /* 0: no bound */
  double seconds;  /* 0: no bound; whatever the bounds, it ends when nothing is expected to gain */
  bool resume;     /* rows of the database count as told, so that they are not measured again */
  bool no_analytic, no_learned;
  uint64_t seed;
  tsr_measure_options measure;
  tsr_db_origin origin;
  void (*progress)(void *context, const tsr_tune_progress *progress); /* often; NULL: never */
  void *progress_context;
  bool (*stop)(void *context); /* asked often: interrupted by the user; NULL: never */
  void *stop_context;
} tsr_tune_options;

typedef struct tsr_tune_result {
  tsr_search_quality quality; /* over all tasks, weighted by share */
  uint64_t trials;
  uint64_t rows;            /* added: one per trial, and better figures of the best ones */
  uint32_t lessons;         /* trials of other kernels that were learned from at the start */
  double first_ns, best_ns; /* of the model's kernels, default and best schedules */
  bool predicted;           /* the target cannot run here: figures are the model's */
  bool spent;               /* ended because nothing more was expected to gain */
} tsr_tune_result;

/* `out_tasks`: one per task, or NULL. For targets that cannot run here every row is PREDICTED, or
 * REFUSED by the compiler's report. `tasks` get their measured shares. Errors: of the database, of
 * measuring; what was measured before is in the database. */
TSR_WARN_UNUSED tsr_status tsr_tune(tsr_task_list *tasks, const tsr_target *target, tsr_db *db,
                                    const tsr_tune_options *options, const tsr_allocator *allocator,
                                    tsr_diag *diag, tsr_tune_result *out_result,
                                    tsr_tune_task *out_tasks);

#endif
