/* Every graph op becomes a block or a proc in its place. Left as they are: inputs, outputs,
 * constants, rank-0 index values (read as numbers by their users), reshape (an alias of the same
 * bytes), resize_dim, control flow (whose regions are lowered too). */
#include "passes/blocks.h"
#include "passes/canonicalize.h"
#include "passes/passes.h"

static const struct {
  tsr_opcode code;
  tsr_lower_function lower;
} lowerings[] = {
    {TSR_OP_REDUCE, tsr_lower_reduce},
    {TSR_OP_ARG_REDUCE, tsr_lower_arg_reduce},
    {TSR_OP_EINSUM, tsr_lower_einsum},
    {TSR_OP_CONV, tsr_lower_conv},
    {TSR_OP_POOL, tsr_lower_pool},
    {TSR_OP_SCAN, tsr_lower_scan},
    {TSR_OP_SCATTER_ND, tsr_lower_scatter_nd},
    {TSR_OP_SCATTER_ELEMENTS, tsr_lower_scatter_elements},
    {TSR_OP_TOPK, tsr_lower_topk},
    {TSR_OP_NONZERO, tsr_lower_nonzero},
    {TSR_OP_SUPPRESS, tsr_lower_suppress},
};

static tsr_lower_function find_lowering(tsr_opcode code) {
  for (size_t i = 0; i < sizeof lowerings / sizeof lowerings[0]; i++)
    if (lowerings[i].code == code)
      return lowerings[i].lower;
  return tsr_lower_is_map(code) ? tsr_lower_map : NULL;
}

static void replace(tsr_ir *ir, tsr_op op, tsr_op made) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  for (uint32_t i = 0; i < data->result_count; i++) {
    tsr_value from = data->results[i], to = tsr_op_result(ir, made, i);
    const char *name = tsr_value_get(ir, from)->name;
    tsr_value_replace_all(ir, from, to);
    tsr_value_set_name(ir, from, NULL);
    tsr_value_set_name(ir, to, name);
  }
  tsr_op_erase(ir, op);
}

static void lower_region(tsr_ir *ir, tsr_region region) {
  for (tsr_op op = tsr_region_get(ir, region)->first, next; op != 0; op = next) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    next = data->next;
    if (data->code == TSR_OP_IF || data->code == TSR_OP_LOOP)
      for (uint32_t i = 0; i < data->region_count; i++)
        lower_region(ir, data->regions[i]);
    tsr_lower_function lower = find_lowering(data->code);
    if (lower == NULL)
      continue;
    tsr_op made = lower(ir, op);
    if (made == 0 || tsr_ir_status(ir) != TSR_OK)
      return;
    replace(ir, op, made);
  }
}

tsr_status tsr_pass_to_blocks(tsr_ir *ir, const tsr_pass_options *options, tsr_diag *diag) {
  (void)options;
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op)
    if (tsr_op_get(ir, op)->code == TSR_OP_GRAPH)
      lower_region(ir, tsr_op_get(ir, op)->regions[0]);
  if (tsr_ir_status(ir) != TSR_OK)
    return tsr_fail(diag, tsr_ir_status(ir), "to_blocks: %s", tsr_ir_diag(ir)->message);
  return TSR_OK;
}
