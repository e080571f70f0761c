/* precision: with `--precision bf16` the operands of products of f32 are rounded to bf16 (to
 * nearest, ties to even), where the target multiplies those faster. Sums, results and everything
 * else stay f32: what is rounded is read by products only. Constants are rounded here; other
 * operands while they are copied, or where they are made. A depthwise convolution has no sum that
 * bf16 makes faster. */
#include "ir/eval.h"
#include "ir/graph_build.h"
#include "passes/canonicalize.h"
#include "passes/passes.h"
#include <string.h>

static bool is_f32(const tsr_ir *ir, tsr_value value) {
  return tsr_value_type(ir, value)->dtype == TSR_F32;
}

static bool is_product(const tsr_ir *ir, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  if (data->code == TSR_OP_CONV) {
    const tsr_type_info *window = tsr_value_type(ir, data->operands[1].value);
    if (window->rank < 2 || tsr_expr_equals_int(ir, window->dims[1], 1))
      return false;
  } else if (data->code != TSR_OP_EINSUM) {
    return false;
  }
  return is_f32(ir, data->results[0]) && is_f32(ir, data->operands[0].value) &&
         is_f32(ir, data->operands[1].value);
}

/* A constant's bf16 values, or 0: it is none, or one without bytes. */
static tsr_value rounded_constant(tsr_builder *b, tsr_value value) {
  tsr_ir *ir = b->ir;
  const tsr_value_data *data = tsr_value_get(ir, value);
  tsr_eval *eval = NULL;
  const tsr_array *array = NULL;
  tsr_value made = 0;
  if (data->role != TSR_ROLE_RESULT || data->def == 0 ||
      tsr_op_get(ir, data->def)->code != TSR_OP_CONST)
    return 0;
  const tsr_value cast = tsr_graph_cast(b, value, TSR_BF16);
  if (tsr_eval_create(ir, NULL, true, INT64_MAX, tsr_ir_allocator(ir), &eval) != TSR_OK)
    return cast;
  if (tsr_eval_get(eval, cast, &array) == TSR_OK) {
    const int64_t bytes = tsr_dtype_bytes(TSR_BF16, array->count);
    void *memory = bytes < 0 ? NULL : tsr_arena_alloc(tsr_ir_arena(ir), (size_t)bytes);
    if (memory != NULL) {
      tsr_array_store(array, memory);
      made = tsr_graph_const(b, TSR_BF16, array->dims, array->rank, memory, false);
    }
  }
  tsr_eval_destroy(eval);
  return made != 0 ? made : cast;
}

static void round_operands(tsr_ir *ir, tsr_op op) {
  const tsr_op_data data = *tsr_op_get(ir, op);
  const tsr_op last = tsr_region_get(ir, data.parent)->last;
  tsr_builder b = {.ir = ir, .region = data.parent};
  for (uint32_t i = 0; i < 2; i++) {
    tsr_value narrow = rounded_constant(&b, data.operands[i].value);
    if (narrow == 0)
      narrow = tsr_graph_cast(&b, data.operands[i].value, TSR_BF16);
    tsr_op_set_operand(ir, op, i, tsr_graph_cast(&b, narrow, TSR_F32));
  }
  for (tsr_op added = tsr_op_get(ir, last)->next, next; added != 0; added = next) {
    next = tsr_op_get(ir, added)->next;
    tsr_op_copy_origins(ir, added, op);
    tsr_op_move_before(ir, added, op);
  }
}

static tsr_status round_region(tsr_ir *ir, tsr_region region, tsr_diag *diag) {
  bool added = false, shared = false, dropped = false;
  for (tsr_op op = tsr_region_get(ir, region)->first, next; op != 0; op = next) {
    next = tsr_op_get(ir, op)->next;
    if (!is_product(ir, op))
      continue;
    round_operands(ir, op);
    added = true;
    TSR_TRY(tsr_ir_status(ir));
  }
  if (!added)
    return TSR_OK;
  TSR_TRY(tsr_cse_region(ir, region, diag, &shared));
  return tsr_dce_region(ir, region, diag, &dropped);
}

tsr_status tsr_pass_precision(tsr_ir *ir, const tsr_pass_options *options, tsr_diag *diag) {
  if (!options->bf16_products)
    return TSR_OK;
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op)
    if (tsr_op_get(ir, op)->code == TSR_OP_GRAPH) {
      const tsr_status status = round_region(ir, tsr_op_get(ir, op)->regions[0], diag);
      if (status != TSR_OK)
        return tsr_fail(diag, status, "precision: %s", tsr_ir_diag(ir)->message);
    }
  return TSR_OK;
}
