/* Measuring candidates: each is built and run in a child process with bounds on time and memory,
 * checked against the task's reference, and timed in turns with the incumbent while a lock of the
 * whole machine is held. Whatever a candidate does, the caller gets a row about it. */
#ifndef TSR_TUNER_MEASURE_H
#define TSR_TUNER_MEASURE_H
#include "tuner/task.h"

typedef struct tsr_trial {
  tsr_schedule schedule;
  double predicted_ns;  /* by who proposed it; < 0: none */
  tsr_db_status status; /* from here on: what was found */
  char message[200];
  double error;        /* in units of what the reference allows; < 0: none */
  int64_t *samples_ns; /* owned by the arena of the call */
  uint32_t sample_count;
  double median_ns; /* of RIGHT ones, else 0 */
  double beside_ns; /* the incumbent's least sample of those in the same turns; 0: there was none */
} tsr_trial;

typedef struct tsr_measure_options {
  uint32_t threads;                  /* that kernels run with */
  uint32_t jobs;                     /* processes that build side by side */
  bool cold;                         /* operands out of the caches before each sample */
  double build_seconds, run_seconds; /* limits of one candidate */
  uint64_t memory_bytes; /* beyond what the process has; 0: a quarter of the machine's */
  const char *lock_path; /* NULL: the machine's, one for all users (process.h) */
  /* How a candidate is made; NULL: tsr_task_build. Tests plant candidates here. */
  tsr_status (*build)(void *context, const tsr_task *task, const tsr_target *target,
                      const tsr_schedule *schedule, const tsr_allocator *allocator, tsr_diag *diag,
                      void **out_bytes, size_t *out_size);
  void *build_context;
} tsr_measure_options;

/* `incumbent` (NULL: none) is measured again in turns with them: its fields are filled anew, with
 * samples from beside those candidates that were timed. `stop` (NULL: never) is asked now and then;
 * true ends early and leaves the rest untouched (status PREDICTED). For CUDA targets candidates are
 * built as far as can be without a device: PREDICTED or REFUSED.
 * Fails when nothing of the task can be measured: UNSUPPORTED (how exact its kernels must be is not
 * known), LIMIT (too large or too slow to check), DEVICE (this machine does not run such code), IO
 * (no processes, no lock), OUT_OF_MEMORY. */
TSR_WARN_UNUSED tsr_status tsr_measure(const tsr_task *task, const tsr_target *target,
                                       const tsr_measure_options *options, tsr_trial *trials,
                                       uint32_t count, tsr_trial *incumbent, tsr_arena *arena,
                                       bool (*stop)(void *context), void *stop_context,
                                       tsr_diag *diag);

#endif
