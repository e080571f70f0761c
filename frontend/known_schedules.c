#include "frontend/known_schedules.h"
#include "tuner/task.h"
#include <string.h>

tsr_status tsr_known_schedules_begin(tsr_known_schedules *known, tsr_db *db,
                                     const tsr_target *target, const tsr_allocator *allocator,
                                     tsr_diag *diag) {
  *known = (tsr_known_schedules){.db = db, .target = target, .allocator = allocator};
  tsr_arena_init(&known->arena, allocator);
  if (tsr_task_origin(target, allocator, &known->arena, &known->origin) != TSR_OK)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  return TSR_OK;
}

void tsr_known_schedules_end(tsr_known_schedules *known) {
  tsr_arena_reset(&known->arena);
}

/* What was measured often has many rows. */
static bool is_there(const tsr_known_schedules *known, const tsr_schedule *row) {
  for (uint32_t i = 0; i < known->row_count; i++)
    if (tsr_schedule_equal(&known->rows[i], row))
      return true;
  return false;
}

/* A text that is no schedule of this version is passed over. */
static bool keep_row(void *context, const tsr_db_record *record, int64_t median_ns) {
  tsr_known_schedules *known = context;
  tsr_schedule *row = &known->rows[known->row_count];
  tsr_diag why = {0};
  (void)median_ns;
  const tsr_status status = tsr_task_schedule_parse(record->schedule, known->allocator, &why, row);
  if (status == TSR_ERR_OUT_OF_MEMORY)
    known->status = tsr_fail(&known->diag, status, "out of memory");
  known->row_count += status == TSR_OK && !is_there(known, row);
  return known->row_count < TSR_KNOWN_MOST && status != TSR_ERR_OUT_OF_MEMORY;
}

/* Rows measured with warm operands first; cold ones stand behind them, in case none is legal. */
static void find_rows(tsr_known_schedules *known, const tsr_ir *ir, tsr_op block) {
  static const char *const modes[] = {"warm", "cold"};
  tsr_arena scratch;
  tsr_arena_init(&scratch, known->allocator);
  known->row_count = 0;
  for (int i = 0; i < 2 && known->status == TSR_OK && known->row_count < TSR_KNOWN_MOST; i++) {
    tsr_db_key key;
    if (tsr_task_key(ir, block, known->target, modes[i], &scratch, &key) != TSR_OK)
      known->status = tsr_fail(&known->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
    else
      known->status = tsr_db_best(known->db, &key, &known->origin, keep_row, known, &known->diag);
  }
  tsr_arena_reset(&scratch);
}

static bool answer(void *context, const tsr_ir *ir, tsr_op block, uint32_t number,
                   tsr_schedule *out_schedule) {
  tsr_known_schedules *known = context;
  if (!tsr_task_exists(ir, block) || known->status != TSR_OK)
    return false;
  if (number == 0) {
    known->asked++;
    find_rows(known, ir, block);
  }
  if (number >= known->row_count) {
    known->missing++;
    return false;
  }
  *out_schedule = known->rows[number];
  return true;
}

tsr_plan_source tsr_known_schedules_source(tsr_known_schedules *known) {
  known->asked = known->missing = 0;
  return (tsr_plan_source){.known = answer, .known_context = known};
}
