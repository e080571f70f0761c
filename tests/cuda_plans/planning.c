#include "tests/cuda_plans/planning.h"
#include "passes/passes.h"
#include "passes/tile/tile.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(tsr_status status, const tsr_diag *diag) {
  char message[2048];
  if (status == TSR_OK)
    return;
  tsr_diag_format(diag, message, sizeof message);
  fprintf(stderr, "%s\n", message);
  abort();
}

tsr_ir *blocks_of(const char *text, const char *arch, tsr_target *out_target) {
  char name[32];
  tsr_ir *ir = NULL;
  tsr_diag diag = {0};
  const tsr_pass_options options = {0};
  snprintf(name, sizeof name, "cuda:%s", arch);
  if (!tsr_target_cuda(name, out_target))
    abort();
  must(tsr_ir_parse(tsr_allocator_default(), text, strlen(text), "shape.tsr", &diag, &ir), &diag);
  must(tsr_ir_verify(ir, &diag), &diag);
  must(tsr_passes_run(ir, &options, &diag), &diag);
  return ir;
}

void each_nest(tsr_ir *ir, const tsr_target *target, void (*look)(void *context, tsr_nest *nest),
               void *context) {
  tsr_arena arena;
  tsr_arena_init(&arena, tsr_allocator_default());
  const uint32_t values = tsr_value_count(ir);
  tsr_nest_pool pool = {.arena = &arena, .value_count = values};
  pool.varies = tsr_arena_alloc_array(&arena, values + 1, sizeof *pool.varies);
  pool.memo = tsr_arena_alloc_array(&arena, values + 1, sizeof *pool.memo);
  pool.walked = tsr_arena_alloc_array(&arena, values + 1, sizeof *pool.walked);
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), graph) {
    if (tsr_op_get(ir, graph)->code != TSR_OP_GRAPH)
      continue;
    TSR_FOR_EACH_OP (ir, tsr_op_get(ir, graph)->regions[0], op) {
      tsr_nest *nest = NULL;
      tsr_diag diag = {0};
      if (tsr_op_get(ir, op)->code != TSR_OP_BLOCK)
        continue;
      must(tsr_nest_read(ir, target, &pool, op, &diag, &nest), &diag);
      tsr_nest_join(nest);
      look(context, nest);
    }
  }
  tsr_arena_reset(&arena);
}

void schedule_line(const tsr_schedule *schedule, char *out, size_t size) {
  size_t used = (size_t)snprintf(out, size, "%s",
                                 schedule->atom != NULL ? schedule->atom->text
                                                        : tsr_strategy_text(schedule->strategy));
  for (unsigned i = 0; i < TSR_KNOB_COUNT && used < size; i++) {
    const tsr_knob_info *info = tsr_knob_get((tsr_knob)i);
    if ((info->strategies & 1u << schedule->strategy) != 0 && i != TSR_KNOB_UPTO &&
        i != TSR_KNOB_GRAIN && i != TSR_KNOB_UNROLL)
      used += (size_t)snprintf(out + used, size - used, " %s=%lld", info->text,
                               (long long)schedule->knobs[i]);
  }
}
