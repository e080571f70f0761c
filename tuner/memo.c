#include "tuner/memo.h"
#include <unistd.h>

tsr_status tsr_task_memo_create(const tsr_allocator *allocator, tsr_diag *diag,
                                tsr_task_memo **out_memo) {
  tsr_task_memo *memo = allocator->allocate(allocator->context, sizeof *memo, 16);
  *out_memo = memo;
  if (memo == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  *memo = (tsr_task_memo){.fd = -1};
  return TSR_OK;
}

void tsr_task_memo_destroy(tsr_task_memo *memo, const tsr_allocator *allocator) {
  if (memo == NULL)
    return;
  if (memo->fd >= 0)
    close(memo->fd);
  allocator->release(allocator->context, memo, sizeof *memo);
}
