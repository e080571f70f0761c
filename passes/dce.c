#include "passes/canonicalize.h"

/* Takes what `op` and its body read off the counts. */
static void forget(const tsr_ir *ir, tsr_op op, uint32_t *uses) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  for (uint32_t i = 0; i < data->operand_count; i++)
    uses[data->operands[i].value]--;
  for (uint32_t r = 0; r < data->region_count; r++)
    TSR_FOR_EACH_OP (ir, data->regions[r], inner)
      forget(ir, inner, uses);
}

/* Stores into the op's own results. */
static uint32_t own_uses(const tsr_ir *ir, tsr_region region, tsr_value value) {
  uint32_t count = 0;
  TSR_FOR_EACH_OP (ir, region, op) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    for (uint32_t i = 0; i < data->operand_count; i++)
      count += data->operands[i].value == value;
    for (uint32_t r = 0; r < data->region_count; r++)
      count += own_uses(ir, data->regions[r], value);
  }
  return count;
}

/* What a caller can see or what gives a device dim its value stays. */
static bool removable(const tsr_op_data *data) {
  switch (data->code) {
  case TSR_OP_INPUT:
  case TSR_OP_OUTPUT:
  case TSR_OP_YIELD:
  case TSR_OP_IF:
  case TSR_OP_LOOP:
  case TSR_OP_GROUP:
  case TSR_OP_LAUNCH:
  case TSR_OP_RESIZE_DIM:
    return false;
  default:
    /* The host may give a dim its value there: `segments` knows. */
    return tsr_opcode_info(data->code)->kind != TSR_KIND_HOST;
  }
}

static bool is_dead(const tsr_ir *ir, tsr_op op, const uint32_t *uses) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  if (!removable(data) || data->result_count == 0)
    return false;
  for (uint32_t i = 0; i < data->result_count; i++) {
    uint32_t own = data->region_count == 0 ? 0 : own_uses(ir, data->regions[0], data->results[i]);
    if (uses[data->results[i]] > own)
      return false;
  }
  return true;
}

/* Backwards, so that one walk takes whole chains. */
static void drop_dead(tsr_ir *ir, tsr_region region, uint32_t *uses, bool *out_changed) {
  for (tsr_op op = tsr_region_get(ir, region)->last, before; op != 0; op = before) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    before = data->prev;
    if (data->code == TSR_OP_IF || data->code == TSR_OP_LOOP)
      for (uint32_t i = 0; i < data->region_count; i++)
        drop_dead(ir, data->regions[i], uses, out_changed);
    if (!is_dead(ir, op, uses))
      continue;
    forget(ir, op, uses);
    tsr_op_erase(ir, op);
    *out_changed = true;
  }
}

tsr_status tsr_dce_region(tsr_ir *ir, tsr_region region, tsr_diag *diag, bool *out_changed) {
  tsr_arena arena;
  tsr_arena_init(&arena, tsr_ir_allocator(ir));
  uint32_t *uses =
      (uint32_t *)tsr_arena_alloc_array(&arena, tsr_value_count(ir) + 1u, sizeof *uses);
  if (uses == NULL) {
    tsr_arena_reset(&arena);
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while dropping dead ops");
  }
  tsr_ir_count_uses(ir, uses);
  drop_dead(ir, region, uses, out_changed);
  tsr_arena_reset(&arena);
  return TSR_OK;
}
