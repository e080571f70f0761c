/* The child's half of measuring: modules are loaded as a program would load them, checked and
 * timed; what came of each is written to a pipe. */
#ifndef TSR_TUNER_MEASURE_CHILD_H
#define TSR_TUNER_MEASURE_CHILD_H
#include "tuner/measure.h"
#include "tuner/memo.h"
#include <tessera/runtime.h>

/* A module that a child has built. */
typedef struct tsr_built {
  int fd; /* of the memory that its bytes are in; -1: none */
  size_t size;
  bool done; /* has a result, or needs none */
} tsr_built;

enum { TSR_BENCH_INCUMBENT = UINT32_MAX, TSR_BENCH_SETUP = UINT32_MAX - 1 };

/* What the child is to do. */
typedef struct tsr_bench {
  const tsr_task *task;
  const tsr_target *target;
  const tsr_measure_options *options;
  tsr_memo_layout layout;
  int memo_fd;
  const tsr_built *candidates;
  uint32_t count;
  const tsr_built *incumbent; /* NULL: none */
  const tsr_allocator *allocator;
} tsr_bench;

/* One message: about to start with a candidate, or its result, then `sample_count` samples of it
 * and `incumbent_count` of the incumbent that it was compared with, each an int64_t of ns. */
typedef struct tsr_bench_message {
  uint32_t candidate; /* TSR_BENCH_...: none of them */
  bool result;
  tsr_db_status status;
  double error;
  uint32_t sample_count, incumbent_count;
  char text[200];
} tsr_bench_message;

enum { TSR_BENCH_SAMPLES = 64 }; /* the most of one candidate */

/* For tsr_child_start. */
void tsr_bench_run(void *bench, int fd);
/* The same child for the reference: fills the memory of the memo, which has its size. */
void tsr_bench_reference(void *bench, int fd);

/* Of sorted samples: the ranks between which the median lies with 95 percent. */
void tsr_bench_interval(uint32_t count, uint32_t *out_low, uint32_t *out_high);
double tsr_bench_median(const int64_t *samples, uint32_t count);

#endif
