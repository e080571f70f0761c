/* The default thread pool behind tsr_executor (declared in <tessera/runtime.h>).
 *
 * One word, `state`, decides everything: generation in the high half, an open bit, and the number
 * of workers inside the current job. The caller publishes a job by storing a new generation with
 * the open bit; a worker enters by adding one with compare-and-swap and leaves by subtracting one;
 * the caller closes the job when no tasks are left to hand out and waits until the number is zero.
 * So a sleeping worker that comes too late never delays a job, and the job's fields are only
 * written while nobody is inside. Each thread has a share of a job's tasks, the first ones the
 * caller's and so on, and takes from the next one's when its own is used up. */
#ifndef TSR_RUNTIME_POOL_H
#define TSR_RUNTIME_POOL_H
#include <tessera/runtime.h>

enum { TSR_POOL_MAX_THREADS = 1024 };

#endif
