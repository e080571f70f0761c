/* The search of one task's space: proposes schedules, best guesses first, and learns from what is
 * told of them. It knows neither processes nor the database. */
#ifndef TSR_TUNER_SEARCH_H
#define TSR_TUNER_SEARCH_H
#include "passes/tile/space.h"
#include "tuner/database.h"

/* Both models: the analytic one, and the correction learned from what was measured, over all tasks.
 */
typedef struct tsr_learner tsr_learner;

typedef struct tsr_learner_options {
  bool no_analytic, no_learned; /* to compare: what is off says the same of all schedules */
  double cycles_per_ns;         /* of the analytic model's cycles; 0: 1 */
  uint32_t most;                /* trials to remember; 0: default */
} tsr_learner_options;

TSR_WARN_UNUSED tsr_status tsr_learner_create(const tsr_learner_options *options,
                                              const tsr_allocator *allocator, tsr_diag *diag,
                                              tsr_learner **out_learner);
void tsr_learner_destroy(tsr_learner *learner); /* NULL is allowed */
/* A measured schedule of the task with that number: its rows of features and the logarithm of
 * measured by analytic time. Of too many the newest and each task's best are kept. */
TSR_WARN_UNUSED tsr_status tsr_learner_add(tsr_learner *learner, uint64_t task, tsr_space *space,
                                           const tsr_schedule *schedule, double measured_ns,
                                           tsr_diag *diag);
/* Trains anew when enough has been added since. */
TSR_WARN_UNUSED tsr_status tsr_learner_update(tsr_learner *learner, tsr_diag *diag);
/* Changes when predictions do. */
uint64_t tsr_learner_version(const tsr_learner *learner);

typedef struct tsr_prediction {
  double analytic_ns;
  double ns; /* with the correction; the same before there is one */
} tsr_prediction;
/* Infinite where the analytic model has no figure. */
tsr_prediction tsr_learner_predict(const tsr_learner *learner, tsr_space *space,
                                   const tsr_schedule *schedule);

typedef struct tsr_search tsr_search;
/* `task` numbers the task for the learner. Space and learner must outlive the search. */
TSR_WARN_UNUSED tsr_status tsr_search_create(tsr_space *space, tsr_learner *learner, uint64_t task,
                                             uint64_t seed, const tsr_allocator *allocator,
                                             tsr_diag *diag, tsr_search **out_search);
void tsr_search_destroy(tsr_search *search); /* NULL is allowed */
/* A legal schedule worth starting from (a neighbour's best). The space's default always is one. */
TSR_WARN_UNUSED tsr_status tsr_search_seed(tsr_search *search, const tsr_schedule *schedule,
                                           tsr_diag *diag);
/* Up to `most` schedules that were neither proposed nor told before: what to start from first, then
 * the best by prediction with a few at random among them. 0: exhausted. */
TSR_WARN_UNUSED tsr_status tsr_search_propose(tsr_search *search, uint32_t most,
                                              tsr_schedule *out_schedules,
                                              tsr_prediction *out_predictions, uint32_t *out_count,
                                              tsr_diag *diag);
/* Also for what a database already knows (resume): of several times of one schedule the least one
 * counts. Statuses other than RIGHT only keep it from being proposed again. */
TSR_WARN_UNUSED tsr_status tsr_search_tell(tsr_search *search, const tsr_schedule *schedule,
                                           tsr_db_status status, double median_ns, tsr_diag *diag);
/* A schedule that was told as RIGHT was measured again: its time is this where it is less. No gain
 * of the search. */
void tsr_search_correct(tsr_search *search, const tsr_schedule *schedule, double ns);
/* The best that was told, or NULL. */
const tsr_schedule *tsr_search_best(const tsr_search *search, double *out_ns);
/* Of what was told as RIGHT, what the analytic model liked best, or NULL. */
const tsr_schedule *tsr_search_model_best(const tsr_search *search);
uint32_t tsr_search_measured(const tsr_search *search); /* told as RIGHT */
/* What the next `count` proposals are expected to gain over the best, 0..1: by the predictions,
 * their errors so far, and what came of such expectations before. Under the noise there is no point
 * in going on. 1 before anything was measured, 0 when nothing is left. */
double tsr_search_expected_gain(tsr_search *search, uint32_t count);

/* How well predictions, as they were before each measurement, ranked what was measured. */
typedef struct tsr_model_quality {
  uint32_t measured;       /* of how many */
  double rank_correlation; /* Spearman's, of predicted and measured time */
  double top1_regret,
      top10_regret; /* the best of the first one, ten by prediction, by the best of all, less 1 */
} tsr_model_quality;
typedef struct tsr_search_quality {
  tsr_model_quality analytic;
  tsr_model_quality corrected; /* of predictions that a correction was there for */
} tsr_search_quality;
TSR_WARN_UNUSED tsr_status tsr_search_get_quality(const tsr_search *search,
                                                  tsr_search_quality *out_quality, tsr_diag *diag);

#endif
