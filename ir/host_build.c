/* Builder calls for what the host runs: ops of kind HOST, and the regions of `if` and `loop` in
 * graphs. Results get their ids after the regions have: printing puts them in order. */
#include "ir/graph_build.h"

static void add_results(tsr_builder *b, tsr_op op, const tsr_type *types, uint32_t count,
                        tsr_value *out_results) {
  for (uint32_t i = 0; i < count; i++) {
    tsr_value value = op == 0 ? 0 : tsr_op_add_result(b->ir, op, types[i]);
    if (out_results != NULL)
      out_results[i] = value;
  }
}

tsr_op tsr_graph_host(tsr_builder *b, tsr_opcode code, const tsr_value *operands, uint32_t count,
                      const tsr_type *result_types, uint32_t result_count, tsr_value *out_results) {
  const tsr_op_info *info = tsr_opcode_info(code);
  tsr_type inferred[2];
  tsr_op op = tsr_graph_op(b, code, operands, count);
  add_results(b, op, result_types, result_count, out_results);
  if (op == 0 || tsr_ir_status(b->ir) != TSR_OK)
    return 0;
  if (count < (uint32_t)info->min_operands ||
      (info->max_operands >= 0 && count > (uint32_t)info->max_operands) ||
      (info->results >= 0 && result_count != (uint32_t)info->results))
    return tsr_ir_poison(b->ir, TSR_ERR_ARGUMENT, "%s of %u operands and %u results", info->text,
                         count, result_count);
  if (tsr_infer_types(b->ir, op, tsr_ir_diag(b->ir), inferred) != TSR_OK)
    return tsr_ir_poison(b->ir, tsr_ir_diag(b->ir)->status, "%s", tsr_ir_diag(b->ir)->message);
  return op;
}

/* --- regions --- */

static void yield(tsr_builder *b, tsr_value first, const tsr_value *values, uint32_t count) {
  tsr_op op = tsr_op_append(b->ir, b->region, TSR_OP_YIELD);
  if (first != 0)
    tsr_op_add_operand(b->ir, op, first);
  for (uint32_t i = 0; i < count; i++)
    tsr_op_add_operand(b->ir, op, values[i]);
}

static void leave(tsr_builder *b, tsr_op op) {
  b->region = tsr_op_get(b->ir, op)->parent;
}

tsr_op tsr_graph_if_begin(tsr_builder *b, tsr_value condition) {
  tsr_op op = tsr_graph_op(b, TSR_OP_IF, &condition, 1);
  if (op != 0)
    b->region = tsr_op_add_region(b->ir, op);
  return op;
}

void tsr_graph_if_else(tsr_builder *b, tsr_op op, const tsr_value *yields, uint32_t count) {
  if (op == 0)
    return;
  yield(b, 0, yields, count);
  b->region = tsr_op_add_region(b->ir, op);
}

void tsr_graph_if_end(tsr_builder *b, tsr_op op, const tsr_value *yields,
                      const tsr_type *result_types, uint32_t count, tsr_value *out_results) {
  if (op != 0) {
    yield(b, 0, yields, count);
    leave(b, op);
  }
  add_results(b, op, result_types, count, out_results);
}

tsr_op tsr_graph_loop_begin(tsr_builder *b, tsr_expr limit, const tsr_value *starts,
                            const tsr_type *types, uint32_t count, tsr_value *out_arguments) {
  tsr_op op = tsr_graph_op(b, TSR_OP_LOOP, starts, count);
  tsr_region region = tsr_op_add_region(b->ir, op);
  for (uint32_t i = 0; i < count; i++) {
    tsr_type type = types != NULL ? types[i] : tsr_value_get(b->ir, starts[i])->type;
    out_arguments[i] = tsr_region_add_arg(b->ir, region, TSR_ROLE_CARRIED, type);
  }
  if (op == 0)
    return 0;
  if (limit != 0)
    tsr_op_set_expr(b->ir, op, "limit", limit);
  b->region = region;
  return op;
}

void tsr_graph_loop_end(tsr_builder *b, tsr_op op, tsr_value go_on, const tsr_value *next,
                        const tsr_type *result_types, uint32_t count, tsr_value *out_results) {
  if (op != 0) {
    const tsr_region_data *body = tsr_region_get(b->ir, b->region);
    yield(b, go_on, next, count);
    for (uint32_t i = 0; i < count; i++) {
      tsr_type type = result_types != NULL  ? result_types[i]
                      : i < body->arg_count ? tsr_value_get(b->ir, body->args[i])->type
                                            : 0;
      tsr_value value = tsr_op_add_result(b->ir, op, type);
      if (out_results != NULL)
        out_results[i] = value;
    }
    leave(b, op);
    return;
  }
  for (uint32_t i = 0; i < count && out_results != NULL; i++)
    out_results[i] = 0;
}

void tsr_graph_abandon(tsr_builder *b, tsr_op op) {
  if (op == 0)
    return;
  leave(b, op);
  tsr_op_erase(b->ir, op);
}
