/* What a database knows of other kernels, for the correction that a search learns. */
#ifndef TSR_TUNER_LESSONS_H
#define TSR_TUNER_LESSONS_H
#include "tuner/search.h"
#include "tuner/task.h"

typedef struct tsr_lessons_options {
  const tsr_target *target;
  const tsr_target *rates; /* tsr_space_calibrate */
  tsr_db_key like;         /* of any kernel: its device, threads and mode */
  const uint64_t *without; /* workloads that are told otherwise */
  uint32_t without_count;
  double seconds;              /* limit */
  bool (*stop)(void *context); /* asked often; NULL: never */
  void *stop_context;
} tsr_lessons_options;

/* Adds right rows of kernels on the same target and device to the learner, for a bounded number of
 * kernels and rows of each. What cannot be read any more (a text of another version, a schedule
 * that is not legal now) is passed over. Errors: of the database, OUT_OF_MEMORY. */
TSR_WARN_UNUSED tsr_status tsr_lessons_take(tsr_learner *learner, tsr_db *db,
                                            const tsr_lessons_options *options,
                                            const tsr_allocator *allocator, tsr_diag *diag,
                                            uint32_t *out_taken);

#endif
