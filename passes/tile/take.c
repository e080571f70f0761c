#include "passes/tile/take.h"
#include "passes/tile/mma.h"
#include "passes/tile/split.h"

tsr_status tsr_taking_out_of_memory(const tsr_taking *taking) {
  return tsr_fail(taking->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory in tiling");
}

/* Nests that were read before keep the arrays that they were read with. */
tsr_status tsr_taking_grow(tsr_taking *t) {
  const uint32_t values = tsr_value_count(t->ir);
  t->pool = (tsr_nest_pool){.arena = &t->per_block, .value_count = values};
  t->pool.varies = tsr_arena_alloc_array(&t->arena, values + 1, sizeof *t->pool.varies);
  t->pool.memo = tsr_arena_alloc_array(&t->arena, values + 1, sizeof *t->pool.memo);
  t->pool.walked = tsr_arena_alloc_array(&t->arena, values + 1, sizeof *t->pool.walked);
  const bool failed = t->pool.varies == NULL || t->pool.memo == NULL || t->pool.walked == NULL;
  return failed ? tsr_taking_out_of_memory(t) : tsr_ir_status(t->ir);
}

tsr_status tsr_taking_begin(tsr_taking *taking) {
  tsr_arena_init(&taking->arena, tsr_ir_allocator(taking->ir));
  tsr_arena_init(&taking->per_block, tsr_ir_allocator(taking->ir));
  return tsr_taking_grow(taking);
}

void tsr_taking_end(tsr_taking *taking) {
  tsr_arena_reset(&taking->per_block);
  tsr_arena_reset(&taking->arena);
}

tsr_status tsr_take_nest(tsr_taking *taking, tsr_op block, tsr_nest **out_nest) {
  TSR_TRY(tsr_nest_read(taking->ir, taking->target, &taking->pool, block, taking->diag, out_nest));
  tsr_nest_join(*out_nest);
  return TSR_OK;
}

tsr_status tsr_take_check(const tsr_taking *taking, tsr_nest *nest, const tsr_schedule *schedule,
                          const char *kernel) {
  TSR_TRY(tsr_schedule_check(nest, schedule, kernel, taking->diag));
  if (schedule->strategy == TSR_STRATEGY_WGMMA &&
      !tsr_expr_equals_int(taking->ir, tsr_wgmma_guard(nest, schedule), 1))
    return tsr_fail(taking->diag, TSR_ERR_ARGUMENT,
                    "schedule @%s: strategy \"wgmma\" fits some values of the dims only; make it "
                    "that of @%s_1 and let @%s be \"mma\"",
                    kernel, kernel, kernel);
  return TSR_OK;
}

tsr_status tsr_take_split(const tsr_taking *taking, tsr_nest *nest, const tsr_schedule *schedule,
                          const char *kernel, int *out_axis) {
  const int64_t parts = schedule->knobs[TSR_KNOB_SPLIT];
  const bool nests = schedule->strategy == TSR_STRATEGY_NEST;
  const unsigned strategies = tsr_knob_get(TSR_KNOB_SPLIT)->strategies;
  *out_axis = -1;
  if (parts <= 1 || (strategies & 1u << schedule->strategy) == 0)
    return TSR_OK;
  if (tsr_split_possible(nest))
    *out_axis = tsr_split_axis(nest, parts, !nests);
  if (*out_axis >= 0)
    return TSR_OK;
  return tsr_fail(taking->diag, TSR_ERR_ARGUMENT,
                  "schedule @%s: 'split' needs a reduced variable of at least twice as many "
                  "steps%s; 1 leaves the block whole",
                  kernel, nests ? "" : ", a multiple of it");
}

tsr_status tsr_take_cut(tsr_taking *taking, tsr_op block, int64_t parts, uint32_t axis,
                        tsr_op *out_first, tsr_op *out_second) {
  tsr_nest *nest = NULL;
  TSR_TRY(tsr_take_nest(taking, block, &nest));
  tsr_split_block(nest, axis, parts, out_first, out_second);
  TSR_TRY(tsr_ir_status(taking->ir));
  return tsr_taking_grow(taking);
}
