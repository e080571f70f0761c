/* What is kept of a task between calls of tsr_measure: its inputs and the results that are right,
 * in memory of the system's that no file name has and that child processes see. */
#ifndef TSR_TUNER_MEMO_H
#define TSR_TUNER_MEMO_H
#include "tuner/task.h"

struct tsr_task_memo {
  int fd; /* -1: not made yet */
};

TSR_WARN_UNUSED tsr_status tsr_task_memo_create(const tsr_allocator *allocator, tsr_diag *diag,
                                                tsr_task_memo **out_memo);
void tsr_task_memo_destroy(tsr_task_memo *memo, const tsr_allocator *allocator); /* NULL too */

#endif
