/* Tasks from text, for tests. */
#ifndef TSR_TESTS_TUNER_TASK_TEXT_H
#define TSR_TESTS_TUNER_TASK_TEXT_H
#include "tuner/measure.h"
#include <check.h>
#include <string.h>

static inline tsr_ir *parse_text(const char *text) {
  tsr_diag diag = {0};
  tsr_ir *ir = NULL;
  if (tsr_ir_parse(tsr_allocator_default(), text, strlen(text), "test.tsr", &diag, &ir) != TSR_OK ||
      tsr_ir_verify(ir, &diag) != TSR_OK)
    ck_abort_msg("%s\n%s", diag.message, text);
  return ir;
}

static inline tsr_op block_of(const tsr_ir *ir, uint32_t number) {
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), graph)
    TSR_FOR_EACH_OP (ir, tsr_op_get(ir, graph)->regions[0], op)
      if (tsr_op_get(ir, op)->code == TSR_OP_BLOCK && number-- == 0)
        return op;
  ck_abort_msg("no such block");
  return 0;
}

/* The tasks of the blocks in `text` on this machine with one thread. */
typedef struct tasks {
  tsr_ir *ir;
  tsr_target target;
  tsr_task_list list;
  tsr_arena arena;
} tasks;

static inline void tasks_begin(tasks *t, const char *text) {
  tsr_diag diag = {0};
  t->ir = parse_text(text);
  tsr_target_host(1, &t->target);
  tsr_arena_init(&t->arena, tsr_allocator_default());
  const tsr_ir *irs[] = {t->ir};
  if (tsr_tasks_collect(irs, 1, &t->target, tsr_allocator_default(), &diag, &t->list) != TSR_OK)
    ck_abort_msg("%s", diag.message);
}

static inline void tasks_end(tasks *t) {
  tsr_tasks_release(&t->list, tsr_allocator_default());
  tsr_ir_destroy(t->ir);
  tsr_arena_reset(&t->arena);
}

static inline tsr_schedule schedule_from(const char *text) {
  tsr_diag diag = {0};
  tsr_schedule schedule;
  if (tsr_task_schedule_parse(text, tsr_allocator_default(), &diag, &schedule) != TSR_OK)
    ck_abort_msg("%s: %s", text, diag.message);
  return schedule;
}

#endif
