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
      if ((tsr_op_get(ir, op)->code == TSR_OP_BLOCK || tsr_op_get(ir, op)->code == TSR_OP_GROUP) &&
          number-- == 0)
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

/* Blocks that are one kernel: exp(x - the row's greatest), and its products with v. `exponential`
 * makes %8 of %6. */
#define GROUP(exponential)                                                                         \
  "graph @g {\n  %x = input {name = \"x\"} : f32[40, 70]\n"                                        \
  "  %v = input {name = \"v\"} : f32[70, 24]\n"                                                    \
  "  %0, %1 = group {\n"                                                                           \
  "    %m = block par(%i in 40) red(%j in 70) {\n      %2 = load %x[%i, %j] : f32\n"               \
  "      %3 = reduce %2 {combine = \"max\"} : f32\n      store %3, %m[%i]\n    } : l1 f32[40]\n"   \
  "    %e = block par(%a in 40, %b in 70) {\n      %4 = load %x[%a, %b] : f32\n"                   \
  "      %5 = load %m[%a] : f32\n      %6 = sub %4, %5 : f32\n" exponential                        \
  "      store %8, %e[%a, %b]\n    } : f32[40, 70]\n"                                              \
  "    %y = block par(%c in 40, %n in 24) red(%d in 70) {\n      %9 = load %e[%c, %d] : f32\n"     \
  "      %10 = load %v[%d, %n] : f32\n      %11 = mul %9, %10 : f32\n"                             \
  "      %12 = reduce %11 {combine = \"add\"} : f32\n      store %12, %y[%c, %n]\n"                \
  "    } : f32[40, 24]\n    yield %y, %e\n  } : f32[40, 24], f32[40, 70]\n"                        \
  "  output %0 {name = \"y\"}\n  output %1 {name = \"e\"}\n}\n"

#endif
