/* The monotonic clock of timings and traces. */
#ifndef TSR_RUNTIME_CLOCK_H
#define TSR_RUNTIME_CLOCK_H
#include <stdint.h>

/* Nanoseconds since an unspecified start; never goes back. */
int64_t tsr_time_ns(void);

#endif
