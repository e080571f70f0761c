/* in_place: outputs that live in an input's memory (`alias`), a decoder's cache. Where such an
 * output is its input with some elements replaced, only these are stored (`in_place` of the
 * scatter, `keep` of the output). What reads the old contents is put in order by the pass storage.
 */
#include "passes/passes.h"
#include <string.h>

static tsr_status refuse(const tsr_ir *ir, tsr_op output, tsr_diag *diag, tsr_status status,
                         const char *why) {
  (void)tsr_fail(diag, status, "output '%s' cannot live in the memory of input '%s': %s",
                 tsr_op_string(ir, output, "name"), tsr_op_string(ir, output, "alias"), why);
  return status;
}

static tsr_op find_input(const tsr_ir *ir, tsr_region region, const char *name) {
  TSR_FOR_EACH_OP (ir, region, op)
    if (tsr_op_get(ir, op)->code == TSR_OP_INPUT &&
        strcmp(tsr_op_string(ir, op, "name"), name) == 0)
      return op;
  return 0;
}

static tsr_op defined_by(const tsr_ir *ir, tsr_value value) {
  const tsr_value_data *data = tsr_value_get(ir, value);
  return data->region == 0 ? data->def : 0;
}

static tsr_value behind_reshapes(const tsr_ir *ir, tsr_value value) {
  for (tsr_op op; (op = defined_by(ir, value)) != 0 && tsr_op_get(ir, op)->code == TSR_OP_RESHAPE;)
    value = tsr_op_get(ir, op)->operands[0].value;
  return value;
}

/* Whether an output before this one lives in the input's memory: they would overwrite each other.
 */
static bool is_taken(const tsr_ir *ir, tsr_op output, const char *input) {
  for (tsr_op op = tsr_op_get(ir, output)->prev; op != 0; op = tsr_op_get(ir, op)->prev)
    if (tsr_op_get(ir, op)->code == TSR_OP_OUTPUT && tsr_op_string(ir, op, "alias") != NULL &&
        strcmp(tsr_op_string(ir, op, "alias"), input) == 0)
      return true;
  return false;
}

/* The scatter's result may be claimed by one output only: its memory is that one's. */
static bool is_claimed(const tsr_ir *ir, tsr_op output, tsr_value made) {
  for (tsr_op op = tsr_op_get(ir, output)->prev; op != 0; op = tsr_op_get(ir, op)->prev)
    if (tsr_op_get(ir, op)->code == TSR_OP_OUTPUT && tsr_op_string(ir, op, "alias") != NULL &&
        behind_reshapes(ir, tsr_op_get(ir, op)->operands[0].value) == made)
      return true;
  return false;
}

/* In a model that the host runs, an extent that has a dim of its own is compared in the run. */
static bool may_fit(const tsr_ir *ir, tsr_value from, tsr_value value, bool host) {
  const tsr_type_info *was = tsr_value_type(ir, from), *is = tsr_value_type(ir, value);
  if (tsr_value_get(ir, from)->type == tsr_value_get(ir, value)->type)
    return true;
  if (!host || was->level != is->level || was->dtype != is->dtype || was->rank != is->rank)
    return false;
  for (uint32_t i = 0; i < is->rank; i++)
    if (is->dims[i] != was->dims[i] && tsr_expr_get(ir, is->dims[i]).op != TSR_INDEX_DIM)
      return false;
  return true;
}

tsr_status tsr_in_place_check(const tsr_ir *ir, tsr_region region, tsr_op output, bool host,
                              tsr_diag *diag) {
  tsr_op input = find_input(ir, region, tsr_op_string(ir, output, "alias"));
  tsr_value value = tsr_op_get(ir, output)->operands[0].value;
  if (input == 0)
    return refuse(ir, output, diag, TSR_ERR_NOT_FOUND, "there is no such input");
  tsr_value from = tsr_op_get(ir, input)->results[0];
  if (tsr_op_attr(ir, input, "packed") != NULL || tsr_op_attr(ir, output, "packed") != NULL)
    return refuse(ir, output, diag, TSR_ERR_UNSUPPORTED, "elements of less than a byte");
  if (tsr_type_of_host(tsr_value_type(ir, value)) || tsr_op_bool(ir, output, "text", false))
    return refuse(ir, output, diag, TSR_ERR_UNSUPPORTED, "a list, an optional or strings");
  if (!may_fit(ir, from, value, host)) {
    tsr_arena scratch;
    tsr_arena_init(&scratch, tsr_ir_allocator(ir));
    const char *is = tsr_type_print(ir, tsr_value_get(ir, value)->type, &scratch);
    const char *was = tsr_type_print(ir, tsr_value_get(ir, from)->type, &scratch);
    const tsr_type_info *now = tsr_value_type(ir, value), *before = tsr_value_type(ir, from);
    const bool grows = now->rank == before->rank && now->dtype == before->dtype;
    const char *why = tsr_arena_printf(
        &scratch, "it is %s, the input is %s%s", is ? is : "?", was ? was : "?",
        grows
            ? "; what grows needs an input of its final extent into which the model writes its new "
              "part (ScatterND, TensorScatter, GroupQueryAttention), not a Concat"
            : "");
    tsr_status status = refuse(ir, output, diag, TSR_ERR_SHAPE, why ? why : "they differ");
    tsr_arena_reset(&scratch);
    return status;
  }
  if (is_taken(ir, output, tsr_op_string(ir, output, "alias")))
    return refuse(ir, output, diag, TSR_ERR_ARGUMENT, "another output lives there");
  return TSR_OK;
}

static tsr_status place(tsr_ir *ir, tsr_region region, tsr_op output, tsr_diag *diag) {
  TSR_TRY(tsr_in_place_check(ir, region, output, false, diag));
  tsr_op input = find_input(ir, region, tsr_op_string(ir, output, "alias"));
  tsr_value value = tsr_op_get(ir, output)->operands[0].value;
  tsr_value from = tsr_op_get(ir, input)->results[0];
  tsr_value made = behind_reshapes(ir, value);
  tsr_op scatter = defined_by(ir, made);
  tsr_opcode code = scatter == 0 ? TSR_OP_NONE : tsr_op_get(ir, scatter)->code;
  if ((code != TSR_OP_SCATTER_ND && code != TSR_OP_SCATTER_ELEMENTS) ||
      behind_reshapes(ir, tsr_op_get(ir, scatter)->operands[0].value) != from ||
      is_claimed(ir, output, made))
    return TSR_OK;
  tsr_op_set_bool(ir, scatter, "in_place", true);
  tsr_op_set_bool(ir, output, "keep", true);
  return TSR_OK;
}

tsr_status tsr_pass_in_place(tsr_ir *ir, const tsr_pass_options *options, tsr_diag *diag) {
  (void)options;
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), graph) {
    if (tsr_op_get(ir, graph)->code != TSR_OP_GRAPH)
      continue;
    tsr_region region = tsr_op_get(ir, graph)->regions[0];
    TSR_FOR_EACH_OP (ir, region, op)
      if (tsr_op_get(ir, op)->code == TSR_OP_OUTPUT && tsr_op_string(ir, op, "alias") != NULL)
        TSR_TRY(place(ir, region, op, diag));
  }
  return tsr_ir_status(ir);
}

void tsr_in_place_declare(tsr_ir *ir, tsr_op graph) {
  tsr_region region = tsr_op_get(ir, graph)->regions[0];
  TSR_FOR_EACH_OP (ir, region, output) {
    if (tsr_op_get(ir, output)->code != TSR_OP_OUTPUT)
      continue;
    tsr_value value = tsr_op_get(ir, output)->operands[0].value;
    tsr_op scatter = defined_by(ir, behind_reshapes(ir, value));
    tsr_opcode code = scatter == 0 ? TSR_OP_NONE : tsr_op_get(ir, scatter)->code;
    if ((code != TSR_OP_SCATTER_ND && code != TSR_OP_SCATTER_ELEMENTS) ||
        is_claimed(ir, output, behind_reshapes(ir, value)))
      continue;
    tsr_value from = behind_reshapes(ir, tsr_op_get(ir, scatter)->operands[0].value);
    tsr_op input = defined_by(ir, from);
    if (input == 0 || tsr_op_get(ir, input)->code != TSR_OP_INPUT ||
        tsr_value_get(ir, from)->type != tsr_value_get(ir, value)->type ||
        tsr_op_attr(ir, input, "packed") != NULL || tsr_op_attr(ir, output, "packed") != NULL ||
        is_taken(ir, output, tsr_op_string(ir, input, "name")))
      continue;
    tsr_op_set_string(ir, output, "alias", tsr_op_string(ir, input, "name"));
  }
}
