/* The tuning database: what was measured, under which schedule, on what, and whether the result was
 * right. SQLite is known here only.
 *
 * A row is a fact about one trial. Its identity is a hash of all that it says, so that the same row
 * is the same everywhere: databases are sets, merging them is their union. The key says what a row
 * may answer; everything else of it ranks or explains. A row of another key, a neighbouring shape
 * say, may start a search but is never an answer.
 *
 * Several processes may have one file open (write-ahead log; writers wait for each other up to a
 * minute). A row is there completely or not at all, also when its writer is killed. One tsr_db per
 * thread. */
#ifndef TSR_TUNER_DATABASE_H
#define TSR_TUNER_DATABASE_H
#include "runtime/diag.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <tessera/allocator.h>

typedef struct tsr_db tsr_db;

/* X(NAME, "text", what it says). The texts stand in files. */
#define TSR_DB_STATUS_LIST(X)                                                                      \
  X(RIGHT, "right", "measured, and its result agrees with the reference")                          \
  X(WRONG, "wrong", "it ran, but its result does not agree")                                       \
  X(REFUSED, "refused", "no code was made: illegal, spills, or the compiler says no")              \
  X(CRASHED, "crashed", "its process died")                                                        \
  X(TIMEOUT, "timeout", "it did not end in time")                                                  \
  X(MEMORY, "memory", "it asked for more memory than it may have")                                 \
  X(PREDICTED, "predicted", "never ran; the model's figure only")

typedef enum tsr_db_status {
#define TSR_DB_STATUS_ENUM(name, text, meaning) TSR_DB_##name,
  TSR_DB_STATUS_LIST(TSR_DB_STATUS_ENUM)
#undef TSR_DB_STATUS_ENUM
      TSR_DB_STATUS_COUNT
} tsr_db_status;

const char *tsr_db_status_text(tsr_db_status status);

/* What a row answers: this work, for these sizes, on such a device, measured so. No text is NULL.
 */
typedef struct tsr_db_key {
  uint64_t workload;         /* tsr_op_workload_hash */
  uint32_t workload_version; /* TSR_HASH_VERSION it was made with */
  uint32_t threads;          /* 0: not the CPU's */
  const char *dims;          /* values of the symbolic dims, "64,128"; "": none */
  const char *target;        /* "cpu:x86-64-v4+vnni", "cuda:sm_90a" */
  const char *device;        /* what else decides: "l1d=32768 l2=1048576 l3=33554432 line=64" */
  const char *mode;          /* "warm" or "cold": whether operands were in the caches */
} tsr_db_key;

/* What else a row was made under. Compiler, driver and source rank rows of one key: the more of
 * them are the present ones, the earlier a row comes. The others are for people. */
typedef struct tsr_db_origin {
  const char *ceilings; /* probed rates beside the measurement, "fma=131.2 l2=101 dram=10.4" */
  const char *compiler; /* LLVM's or NVRTC's version */
  const char *driver;   /* of CUDA, or "" */
  const char *source;   /* version of the generators */
  const char *commit;
} tsr_db_origin;

typedef struct tsr_db_record {
  tsr_db_key key;
  tsr_db_origin origin;
  const char *schedule; /* text as in a plan, "{kc = 256, mr = 6}" */
  tsr_db_status status;
  const char *message; /* of a status other than RIGHT: why; else "" */
  double error;        /* largest error found, in units of what the reference allows; < 0: none */
  const int64_t *samples_ns;
  uint32_t sample_count; /* RIGHT: at least one */
  /* By which it ranks: its time, made up for by how much slower the incumbent was that was measured
   * in turns with it than in its best moment, so that rows compare that were measured at different
   * times and beside different ones. 0: none, then the median of its samples. */
  int64_t adjusted_ns;
  int64_t predicted_ns; /* < 0: none */
  int64_t time_s;       /* seconds since 1970 */
} tsr_db_record;

typedef enum tsr_db_access {
  TSR_DB_READ,  /* the file must exist and be of this version: nothing in it is changed */
  TSR_DB_WRITE, /* made when it does not exist, brought up to date when it is older */
} tsr_db_access;

/* Errors: IO (cannot be opened, read or written, the disk is full), FORMAT (no database, or not one
 * of these), VERSION (newer than this library), CHECKSUM (damaged), OUT_OF_MEMORY. The diagnostic
 * has the file's name. All functions below the same. */
TSR_WARN_UNUSED tsr_status tsr_db_open(const char *path, tsr_db_access access,
                                       const tsr_allocator *allocator, tsr_diag *diag,
                                       tsr_db **out_db);
void tsr_db_close(tsr_db *db);

/* Adds the row unless it is there. ARGUMENT: RIGHT without samples, a negative sample. */
TSR_WARN_UNUSED tsr_status tsr_db_add(tsr_db *db, const tsr_db_record *record, tsr_diag *diag);
/* What a workload is, in our text, for people and for searches that start from neighbours. */
TSR_WARN_UNUSED tsr_status tsr_db_add_workload(tsr_db *db, uint64_t workload, uint32_t version,
                                               const char *text, tsr_diag *diag);
/* All adds between the two are there together or not at all. */
TSR_WARN_UNUSED tsr_status tsr_db_begin(tsr_db *db, tsr_diag *diag);
TSR_WARN_UNUSED tsr_status tsr_db_commit(tsr_db *db, tsr_diag *diag);
void tsr_db_rollback(tsr_db *db);

/* Returns false to end the walk. The row and its texts live during the call. */
typedef bool (*tsr_db_visit)(void *context, const tsr_db_record *record, int64_t median_ns);
static inline int64_t tsr_db_time_ns(const tsr_db_record *record, int64_t median_ns) {
  return record->adjusted_ns > 0 ? record->adjusted_ns : median_ns;
}

/* The RIGHT rows of the key, best first: more of the compiler, driver and source of `origin` the
 * same, then the smaller time (tsr_db_time_ns), then the smaller identity, so that the order is
 * always the same. */
TSR_WARN_UNUSED tsr_status tsr_db_best(tsr_db *db, const tsr_db_key *key,
                                       const tsr_db_origin *origin, tsr_db_visit visit,
                                       void *context, tsr_diag *diag);
/* The best RIGHT rows of the same workload, target and mode for other dims, devices and threads: at
 * most `limit`. */
TSR_WARN_UNUSED tsr_status tsr_db_neighbours(tsr_db *db, const tsr_db_key *key, uint32_t limit,
                                             tsr_db_visit visit, void *context, tsr_diag *diag);
/* All rows, or those of one key when it is not NULL, in the order of the text export. */
TSR_WARN_UNUSED tsr_status tsr_db_each(tsr_db *db, const tsr_db_key *key, tsr_db_visit visit,
                                       void *context, tsr_diag *diag);

typedef bool (*tsr_db_visit_workload)(void *context, uint64_t workload, uint32_t version,
                                      const char *text);
/* Workloads whose text is there, with RIGHT rows of the key's target, device, threads and mode: at
 * most `limit`, by hash. */
TSR_WARN_UNUSED tsr_status tsr_db_workloads(tsr_db *db, const tsr_db_key *key, uint32_t limit,
                                            tsr_db_visit_workload visit, void *context,
                                            tsr_diag *diag);

/* Text: a first line with the version, then a JSON object per line, workloads and rows, sorted, so
 * that two exports differ in the lines in which the sets differ. */
TSR_WARN_UNUSED tsr_status tsr_db_export(tsr_db *db, FILE *out, tsr_diag *diag);
/* All lines or none. FORMAT names the line. */
TSR_WARN_UNUSED tsr_status tsr_db_import(tsr_db *db, FILE *in, const char *name, tsr_diag *diag,
                                         uint64_t *out_added);
/* Adds the rows of another file: union of sets. */
TSR_WARN_UNUSED tsr_status tsr_db_merge(tsr_db *db, const char *other, tsr_diag *diag,
                                        uint64_t *out_added);
/* Keeps of each key the `keep` best RIGHT rows, whatever their origin, and drops all others. */
TSR_WARN_UNUSED tsr_status tsr_db_prune(tsr_db *db, uint32_t keep, tsr_diag *diag,
                                        uint64_t *out_dropped);
/* SQLite's own check, then that each row is what its identity says and keeps the rules above. The
 * first fault is CHECKSUM or FORMAT. */
TSR_WARN_UNUSED tsr_status tsr_db_check(tsr_db *db, tsr_diag *diag, uint64_t *out_rows);

typedef struct tsr_db_stats {
  uint64_t rows, keys, workloads;
  uint64_t by_status[TSR_DB_STATUS_COUNT];
} tsr_db_stats;
TSR_WARN_UNUSED tsr_status tsr_db_get_stats(tsr_db *db, tsr_db_stats *out_stats, tsr_diag *diag);

#endif
