/* Schedules out of a tuning database, for the kernels of one target. */
#ifndef TSR_FRONTEND_KNOWN_SCHEDULES_H
#define TSR_FRONTEND_KNOWN_SCHEDULES_H
#include "passes/tile/tile.h"
#include "tuner/database.h"

/* Of each kind of block at most so many schedules are looked at, the best first: those after the
 * first are there where that one is not legal, under other options or any more. */
enum { TSR_KNOWN_MOST = 64 };

typedef struct tsr_known_schedules {
  tsr_db *db;
  const tsr_target *target;
  const tsr_allocator *allocator;
  tsr_db_origin origin;
  tsr_arena arena;         /* of the origin's texts */
  uint32_t asked, missing; /* kinds of blocks; those without a row */
  tsr_status status;       /* of the database: the first failure */
  tsr_diag diag;
  tsr_schedule rows[TSR_KNOWN_MOST]; /* of the block that was asked for last */
  uint32_t row_count;
} tsr_known_schedules;

TSR_WARN_UNUSED tsr_status tsr_known_schedules_begin(tsr_known_schedules *known, tsr_db *db,
                                                     const tsr_target *target,
                                                     const tsr_allocator *allocator,
                                                     tsr_diag *diag);
void tsr_known_schedules_end(tsr_known_schedules *known);
/* Counts from nothing again, and answers for the pass `tile`. */
tsr_plan_source tsr_known_schedules_source(tsr_known_schedules *known);

#endif
