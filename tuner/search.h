/* The search of one task's space: proposes schedules, best guesses first, and learns from what is
 * told of them. It knows neither processes nor the database. */
#ifndef TSR_TUNER_SEARCH_H
#define TSR_TUNER_SEARCH_H
#include "passes/tile/space.h"
#include "tuner/database.h"

/* What was measured, over all tasks of all runs: trains the correction that the analytic model
 * gets. */
typedef struct tsr_learner tsr_learner;
TSR_WARN_UNUSED tsr_status tsr_learner_create(const tsr_allocator *allocator, tsr_diag *diag,
                                              tsr_learner **out_learner);
void tsr_learner_destroy(tsr_learner *learner);
/* A measured schedule: its rows of features and the logarithm of measured by predicted time. */
TSR_WARN_UNUSED tsr_status tsr_learner_add(tsr_learner *learner, tsr_space *space,
                                           const tsr_schedule *schedule, double measured_ns,
                                           tsr_diag *diag);
/* Trains anew when enough has been added since. */
TSR_WARN_UNUSED tsr_status tsr_learner_update(tsr_learner *learner, tsr_diag *diag);
/* Predicted time: the analytic one (0 cost model: 1) times the correction (1 before training). */
double tsr_learner_predict(const tsr_learner *learner, tsr_space *space,
                           const tsr_schedule *schedule);

typedef struct tsr_search_options {
  bool no_analytic, no_learned; /* to compare: what is off predicts nothing */
  uint64_t seed;
  double cycles_per_ns;
} tsr_search_options;

typedef struct tsr_search tsr_search;
TSR_WARN_UNUSED tsr_status tsr_search_create(tsr_space *space, tsr_learner *learner,
                                             const tsr_search_options *options,
                                             const tsr_allocator *allocator, tsr_diag *diag,
                                             tsr_search **out_search);
void tsr_search_destroy(tsr_search *search);
/* A schedule worth starting from (a neighbour's best). */
void tsr_search_seed(tsr_search *search, const tsr_schedule *schedule);
/* Up to `most` schedules that were not proposed before; predicted times in ns. 0: exhausted. */
uint32_t tsr_search_propose(tsr_search *search, uint32_t most, tsr_schedule *out_schedules,
                            double *out_predicted_ns);
/* Also for what a database already knows (resume). */
TSR_WARN_UNUSED tsr_status tsr_search_tell(tsr_search *search, const tsr_schedule *schedule,
                                           tsr_db_status status, double median_ns, tsr_diag *diag);
/* What the next proposals are expected to gain over the best, 0..1; under the noise there is no
 * point in going on. */
double tsr_search_expected_gain(const tsr_search *search);

/* How well predictions ranked what was measured. */
typedef struct tsr_search_quality {
  uint32_t measured;
  double rank_correlation; /* Spearman's, of predicted against measured */
  double top1_regret,
      top10_regret; /* best of the predicted first one, ten, by the best measured, less 1 */
} tsr_search_quality;
void tsr_search_get_quality(const tsr_search *search, tsr_search_quality *out_quality);

#endif
