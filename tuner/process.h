/* Child processes that may do anything: bounds on their time and memory, nothing of them left
 * behind; and the lock by which processes of one machine keep out of each other's measurements. */
#ifndef TSR_TUNER_PROCESS_H
#define TSR_TUNER_PROCESS_H
#include "runtime/diag.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct tsr_child {
  pid_t pid;               /* 0: none */
  int fd;                  /* what it writes is read here */
  uint64_t resident_bytes; /* of the parent when it began */
} tsr_child;

/* Forks. In the child: `run` writes to `fd`, then the process ends without leaving main. It gets at
 * most `memory_bytes` of address space beyond what it has at its start, nothing to read, nowhere to
 * print, no core file; it dies when its parent does, and not by a terminal's interrupt. `close_fd`
 * (-1: none) is closed in it. IO: no process or pipe. */
TSR_WARN_UNUSED tsr_status tsr_child_start(void (*run)(void *context, int fd), void *context,
                                           uint64_t memory_bytes, int close_fd, tsr_diag *diag,
                                           tsr_child *out_child);

typedef enum tsr_child_event {
  TSR_CHILD_DATA,    /* all `size` bytes came */
  TSR_CHILD_ENDED,   /* it ended before */
  TSR_CHILD_LATE,    /* they had not come by the deadline */
  TSR_CHILD_STOPPED, /* `stop` said so */
} tsr_child_event;

/* Waits for `size` bytes; `stop` (may be NULL) is asked now and then. `deadline_ns` is of
 * tsr_time_ns. */
tsr_child_event tsr_child_read(const tsr_child *child, void *to, size_t size, int64_t deadline_ns,
                               bool (*stop)(void *context), void *stop_context);
/* For the child: false when nobody reads any more. */
bool tsr_child_write(int fd, const void *bytes, size_t size);

typedef struct tsr_child_end {
  int signal;          /* that it died of, 0: none */
  int exit_status;     /* without a signal */
  uint64_t peak_bytes; /* most memory that was resident, beyond what it began with */
} tsr_child_end;

/* Waits for its end; `kill` ends it at once. Nothing is left of it. */
void tsr_child_finish(tsr_child *child, bool kill, tsr_child_end *out_end);

/* The lock of the machine, for who builds (many) and who measures (one, and nobody builds). */
typedef enum tsr_lock_kind { TSR_LOCK_BUILD, TSR_LOCK_MEASURE } tsr_lock_kind;

/* Opens the lock's file, which stays; NULL: the machine's, in /tmp, as only one for all users keeps
 * them apart. IO names it. */
TSR_WARN_UNUSED tsr_status tsr_lock_open(const char *path, tsr_diag *diag, int *out_fd);
/* Waits until it has the lock; false: `stop` said so first. Closing the file gives it back. */
bool tsr_lock_take(int fd, tsr_lock_kind kind, bool (*stop)(void *context), void *stop_context);
void tsr_lock_give(int fd);

/* Memory without a name that children see too; -1 when there is none. */
int tsr_memory_file(void);

#endif
