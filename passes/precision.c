/* precision: with `--precision bf16` the operands of products of f32 are rounded to bf16 (to
 * nearest, ties to even), where the target multiplies those faster. Sums, results and everything
 * else stay f32: what is rounded is read by products only. Constants are rounded here; other
 * operands while they are copied, or where they are made. A depthwise convolution has no sum that
 * bf16 makes faster. */
#include "ir/graph_build.h"
#include "passes/canonicalize.h"
#include "passes/passes.h"

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

static bool is_constant(const tsr_ir *ir, tsr_value value) {
  const tsr_value_data *data = tsr_value_get(ir, value);
  return data->role == TSR_ROLE_RESULT && data->def != 0 &&
         tsr_op_get(ir, data->def)->code == TSR_OP_CONST;
}

static tsr_status round_operands(tsr_ir *ir, tsr_op op, tsr_diag *diag) {
  const tsr_op_data data = *tsr_op_get(ir, op);
  const tsr_op last = tsr_region_get(ir, data.parent)->last;
  tsr_builder b = {.ir = ir, .region = data.parent};
  for (uint32_t i = 0; i < 2; i++) {
    tsr_value narrow = tsr_graph_cast(&b, data.operands[i].value, TSR_BF16);
    if (is_constant(ir, data.operands[i].value))
      TSR_TRY(tsr_fold_value(&b, narrow, diag, &narrow));
    tsr_op_set_operand(ir, op, i, tsr_graph_cast(&b, narrow, TSR_F32));
  }
  tsr_move_added(ir, last, op);
  return tsr_ir_status(ir);
}

static tsr_status round_region(tsr_ir *ir, tsr_region region, tsr_diag *diag) {
  bool added = false, shared = false, dropped = false;
  for (tsr_op op = tsr_region_get(ir, region)->first, next; op != 0; op = next) {
    next = tsr_op_get(ir, op)->next;
    if (!is_product(ir, op))
      continue;
    TSR_TRY(round_operands(ir, op, diag));
    added = true;
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
