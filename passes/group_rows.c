#include "passes/fuse_graph.h"
#include "passes/group.h"
#include <string.h>

tsr_value tsr_group_variable(const tsr_ir *ir, tsr_expr subscript) {
  const tsr_expr_node node = tsr_expr_get(ir, subscript);
  return node.op == TSR_INDEX_VALUE && tsr_value_is_index(ir, node.value) ? node.value : 0;
}

/* A par variable that runs over the whole of `extent`. */
static bool walks(const tsr_ir *ir, tsr_value variable, tsr_expr extent) {
  if (variable == 0)
    return false;
  const tsr_value_data *data = tsr_value_get(ir, variable);
  return data->role == TSR_ROLE_PAR && data->hi == extent && tsr_expr_equals_int(ir, data->lo, 0) &&
         tsr_expr_equals_int(ir, data->step, 1);
}

bool tsr_group_is_axis(const tsr_group_rows *g, const tsr_group_member *m, tsr_value variable) {
  for (uint32_t i = 0; i < g->axis_count; i++)
    if (m->axes[i] == variable)
      return true;
  return false;
}

static const tsr_operand *place_of(const tsr_ir *ir, tsr_op block, tsr_value result) {
  const tsr_op store = tsr_block_store_of(ir, tsr_op_get(ir, block)->regions[0], result);
  return store == 0 || tsr_op_get(ir, store)->code != TSR_OP_STORE
             ? NULL
             : &tsr_op_get(ir, store)->operands[1];
}

bool tsr_group_begin(const tsr_ir *ir, tsr_op block, tsr_group_rows *out) {
  const tsr_op_data *data = tsr_op_get(ir, block);
  tsr_group_member *first = &out->members[0];
  *out = (tsr_group_rows){.count = 1};
  first->op = block;
  if (data->code != TSR_OP_BLOCK)
    return false;
  const tsr_type_info *type = tsr_value_type(ir, data->results[0]);
  const tsr_operand *place = place_of(ir, block, data->results[0]);
  for (uint32_t d = 0; place != NULL && d < type->rank && out->axis_count < TSR_GROUP_AXES; d++) {
    const tsr_value variable = tsr_group_variable(ir, place->subscripts[d]);
    if (tsr_expr_equals_int(ir, type->dims[d], 1))
      continue;
    if (!walks(ir, variable, type->dims[d]) || tsr_group_is_axis(out, first, variable))
      break;
    first->axes[out->axis_count++] = variable;
  }
  return out->axis_count > 0;
}

static const tsr_group_member *writer_of(const tsr_ir *ir, const tsr_group_rows *g,
                                         tsr_value buffer, tsr_value *out_result) {
  for (uint32_t i = 0; i < g->count; i++) {
    *out_result = tsr_fuse_result_of(ir, g->members[i].op, buffer);
    if (*out_result != 0)
      return &g->members[i];
  }
  return NULL;
}

tsr_value tsr_group_result(const tsr_ir *ir, const tsr_group_rows *g, tsr_value buffer) {
  tsr_value result = 0;
  (void)writer_of(ir, g, buffer, &result);
  return result;
}

uint32_t tsr_group_dims(const tsr_ir *ir, const tsr_group_rows *g, tsr_value value) {
  const tsr_type_info *type = tsr_value_type(ir, value);
  uint32_t axes = 0, d = 0;
  while (d < type->rank && axes < g->axis_count)
    axes += tsr_expr_equals_int(ir, type->dims[d++], 1) ? 0 : 1;
  return d;
}

/* How many of the group's axes stand in front of the value that both see: `at` are the reader's
 * subscripts of it. The reader's variables are noted. */
static uint32_t shared_axes(const tsr_ir *ir, const tsr_group_rows *g,
                            const tsr_group_member *writer, tsr_value value, const tsr_expr *at,
                            tsr_group_member *reader) {
  const tsr_type_info *type = tsr_value_type(ir, value);
  const tsr_operand *place = place_of(ir, writer->op, value);
  uint32_t count = 0;
  for (uint32_t d = 0; place != NULL && d < type->rank && count < g->axis_count; d++) {
    if (tsr_expr_equals_int(ir, type->dims[d], 1))
      continue;
    const tsr_value variable = tsr_group_variable(ir, at[d]);
    bool same = tsr_group_variable(ir, place->subscripts[d]) == writer->axes[count] &&
                walks(ir, variable, type->dims[d]) &&
                (reader->axes[count] == 0 || reader->axes[count] == variable);
    for (uint32_t i = 0; i < count; i++)
      same = same && reader->axes[i] != variable;
    if (!same)
      break;
    reader->axes[count++] = variable;
  }
  return count;
}

void tsr_group_join(tsr_ir *ir, tsr_op block, tsr_group_rows *inout) {
  tsr_group_member *added = &inout->members[inout->count];
  bool reads = false;
  if (inout->count == TSR_GROUP_MEMBERS || tsr_op_get(ir, block)->code != TSR_OP_BLOCK) {
    inout->axis_count = 0;
    return;
  }
  *added = (tsr_group_member){.op = block};
  TSR_FOR_EACH_OP (ir, tsr_op_get(ir, block)->regions[0], op) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    tsr_expr at[TSR_MAX_RANK];
    tsr_value value = 0;
    if (!tsr_op_is_load(ir, op))
      continue;
    const tsr_operand *from = &data->operands[0];
    const tsr_group_member *writer = writer_of(ir, inout, from->value, &value);
    if (writer == NULL)
      continue;
    const uint32_t shared =
        data->code == TSR_OP_LOAD && tsr_fuse_to_value(ir, from->value, value, from->subscripts, at)
            ? shared_axes(ir, inout, writer, value, at, added)
            : 0;
    reads = true;
    inout->axis_count = shared < inout->axis_count ? shared : inout->axis_count;
  }
  inout->axis_count = reads ? inout->axis_count : 0;
  inout->count++;
}

bool tsr_group_read(tsr_ir *ir, tsr_op group, tsr_group_rows *out) {
  *out = (tsr_group_rows){0};
  TSR_FOR_EACH_OP (ir, tsr_op_get(ir, group)->regions[0], op) {
    if (tsr_op_get(ir, op)->code == TSR_OP_YIELD)
      continue;
    if (out->count == 0 && !tsr_group_begin(ir, op, out))
      return false;
    if (out->members[0].op != op)
      tsr_group_join(ir, op, out);
    if (out->axis_count == 0)
      return false;
  }
  return out->count > 0;
}

/* --- what stands where --- */

double tsr_group_row_bytes(const tsr_ir *ir, const tsr_group_rows *g, tsr_value value) {
  const tsr_type_info *type = tsr_value_type(ir, value);
  double bytes = (tsr_dtype_bits(type->dtype) + 7) / 8;
  for (uint32_t d = tsr_group_dims(ir, g, value); d < type->rank; d++) {
    int64_t extent = 0;
    if (!tsr_expr_is_int(ir, type->dims[d], &extent))
      return -1;
    bytes *= (double)extent;
  }
  return bytes;
}

static bool contracts(tsr_ir *ir, const tsr_group_rows *g, uint32_t number) {
  return tsr_block_describe(ir, g->members[number].op).kind == TSR_BLOCK_CONTRACT;
}

bool tsr_group_shares_rows(tsr_ir *ir, const tsr_group_rows *g, uint32_t number) {
  const tsr_group_member *m = &g->members[number];
  const tsr_region body = tsr_op_get(ir, m->op)->regions[0];
  if (!contracts(ir, g, number))
    return false;
  TSR_FOR_EACH_OP (ir, body, op)
    if (tsr_op_is_load(ir, op) && tsr_block_feeds_reduce(ir, body, op) &&
        !tsr_op_reads(ir, op, m->axes[g->axis_count - 1]))
      return true;
  return false;
}

bool tsr_group_stands(tsr_ir *ir, const tsr_group_rows *g, tsr_value value) {
  bool written = false, between = false;
  for (uint32_t i = 0; i < g->count; i++) {
    const tsr_op op = g->members[i].op;
    const bool writes = tsr_value_get(ir, value)->def == op;
    bool reads = false;
    TSR_FOR_EACH_OP (ir, tsr_op_get(ir, op)->regions[0], inner)
      reads = reads || (!writes && tsr_op_reads(ir, inner, value));
    if ((writes || reads) && (between || contracts(ir, g, i)))
      return true;
    written = written || writes;
    between = between || (written && tsr_group_shares_rows(ir, g, i));
  }
  return false;
}
