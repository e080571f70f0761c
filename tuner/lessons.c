#include "tuner/lessons.h"
#include "runtime/arena.h"
#include "runtime/clock.h"
#include <string.h>

enum { MOST_WORKLOADS = 48, MOST_ROWS = 64 };

typedef struct lessons {
  tsr_learner *learner;
  tsr_db *db;
  const tsr_lessons_options *options;
  const tsr_allocator *allocator;
  tsr_diag *diag;
  int64_t begin_ns;
  uint32_t taken;
  tsr_status status;
  /* The present workload. */
  uint64_t workload;
  tsr_space *space;
  uint32_t rows;
} lessons;

static bool is_over(const lessons *l) {
  const tsr_lessons_options *o = l->options;
  return l->status != TSR_OK || (double)(tsr_time_ns() - l->begin_ns) * 1e-9 > o->seconds ||
         (o->stop != NULL && o->stop(o->stop_context));
}

static bool learn_row(void *context, const tsr_db_record *record, int64_t median_ns) {
  lessons *l = context;
  tsr_schedule schedule;
  tsr_diag why = {0};
  if (record->status != TSR_DB_RIGHT || median_ns <= 0)
    return true;
  const tsr_status status =
      tsr_task_schedule_parse(record->schedule, l->allocator, &why, &schedule);
  if (status == TSR_OK && tsr_space_is_legal(l->space, &schedule)) {
    l->status = tsr_learner_add(l->learner, l->workload, l->space, &schedule,
                                (double)tsr_db_time_ns(record, median_ns), l->diag);
    l->taken++;
    l->rows++;
  } else if (status == TSR_ERR_OUT_OF_MEMORY) {
    l->status = tsr_fail(l->diag, status, "out of memory");
  }
  return l->rows < MOST_ROWS && !is_over(l);
}

/* Rows of the sizes that the text is for. */
static tsr_status learn_rows(lessons *l, tsr_ir *ir, tsr_op block) {
  tsr_arena arena;
  tsr_db_key key;
  tsr_diag why = {0};
  tsr_arena_init(&arena, l->allocator);
  tsr_status status =
      tsr_task_key(ir, block, l->options->target, l->options->like.mode, &arena, &key);
  if (status == TSR_OK && key.workload == l->workload) {
    status = tsr_space_create(ir, block, l->options->target, l->allocator, &why, &l->space);
    if (status == TSR_OK)
      tsr_space_calibrate(l->space, l->options->rates);
    if (status == TSR_OK)
      status = tsr_db_each(l->db, &key, learn_row, l, l->diag);
    else if (status != TSR_ERR_OUT_OF_MEMORY)
      status = TSR_OK;
    tsr_space_destroy(l->space);
    l->space = NULL;
  }
  tsr_arena_reset(&arena);
  return status;
}

static bool is_left_out(const lessons *l, uint64_t workload) {
  for (uint32_t i = 0; i < l->options->without_count; i++)
    if (l->options->without[i] == workload)
      return true;
  return false;
}

static bool learn_workload(void *context, uint64_t workload, uint32_t version, const char *text) {
  lessons *l = context;
  tsr_ir *ir = NULL;
  tsr_diag why = {0};
  if (version != TSR_HASH_VERSION || is_left_out(l, workload))
    return true;
  tsr_status status = tsr_ir_parse(l->allocator, text, strlen(text), "workload", &why, &ir);
  if (status == TSR_OK)
    status = tsr_ir_verify(ir, &why);
  const tsr_op block = status == TSR_OK ? tsr_task_block(ir) : 0;
  l->workload = workload;
  l->rows = 0;
  if (block != 0)
    status = learn_rows(l, ir, block);
  if (status == TSR_ERR_OUT_OF_MEMORY)
    l->status = tsr_fail(l->diag, status, "out of memory");
  else if (status != TSR_OK && block != 0)
    l->status = status;
  if (ir != NULL)
    tsr_ir_destroy(ir);
  return !is_over(l);
}

tsr_status tsr_lessons_take(tsr_learner *learner, tsr_db *db, const tsr_lessons_options *options,
                            const tsr_allocator *allocator, tsr_diag *diag, uint32_t *out_taken) {
  lessons l = {.learner = learner,
               .db = db,
               .options = options,
               .allocator = allocator,
               .diag = diag,
               .begin_ns = tsr_time_ns()};
  const tsr_status status =
      tsr_db_workloads(db, &options->like, MOST_WORKLOADS, learn_workload, &l, diag);
  *out_taken = l.taken;
  return l.status != TSR_OK ? l.status : status;
}
