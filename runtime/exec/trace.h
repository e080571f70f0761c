/* Launch events of an exec as a Trace Event Format file (JSON array form). */
#ifndef TSR_RUNTIME_EXEC_TRACE_H
#define TSR_RUNTIME_EXEC_TRACE_H
#include <stdint.h>
#include <stdio.h>
#include <tessera/status.h>

typedef struct tsr_trace_event {
  const char *name, *nodes;
  uint32_t launch, variant;
  int64_t tasks, begin_ns, end_ns;
} tsr_trace_event;

typedef struct tsr_trace {
  FILE *file; /* NULL: off */
  int64_t start_ns;
  uint64_t written;        /* events */
  tsr_trace_event *events; /* of the present run */
  uint32_t count, capacity;
} tsr_trace;

/* `events` has `capacity` entries and belongs to the caller. */
TSR_WARN_UNUSED tsr_status tsr_trace_open(tsr_trace *trace, const char *path,
                                          tsr_trace_event *events, uint32_t capacity);
/* Writes out and forgets the events of one run. */
TSR_WARN_UNUSED tsr_status tsr_trace_flush(tsr_trace *trace);
/* Completes the file. Closing a closed trace is fine. */
TSR_WARN_UNUSED tsr_status tsr_trace_close(tsr_trace *trace);

#endif
