/* storage: after it, every output of the graph has memory of its own, every resize_dim is an alias
 * of its operand's first elements, and every constant has a shape known now, which is what the
 * program tables can express. Blocks are added where that is not so yet. */
#include "passes/passes.h"
#include "passes/point.h"
#include <string.h>

static tsr_op defining_op(const tsr_ir *ir, tsr_value value) {
  const tsr_value_data *data = tsr_value_get(ir, value);
  return data->region == 0 ? data->def : 0;
}

/* The value whose memory `value` is: views that cost nothing are looked through. */
static tsr_value root_of(const tsr_ir *ir, tsr_value value) {
  for (;;) {
    tsr_op op = defining_op(ir, value);
    tsr_opcode code = op == 0 ? TSR_OP_NONE : tsr_op_get(ir, op)->code;
    if (code != TSR_OP_RESHAPE && code != TSR_OP_RESIZE_DIM)
      return value;
    value = tsr_op_get(ir, op)->operands[0].value;
  }
}

static bool is_computed(const tsr_ir *ir, tsr_value root) {
  tsr_op op = defining_op(ir, root);
  tsr_opcode code = op == 0 ? TSR_OP_NONE : tsr_op_get(ir, op)->code;
  return code == TSR_OP_BLOCK || code == TSR_OP_PROC || code == TSR_OP_GROUP;
}

/* Inserts before `before` a block that copies the elements of `from` into a new value of `type`,
 * whose dims do not exceed from's. */
static tsr_value insert_copy(tsr_ir *ir, tsr_op before, tsr_value from, tsr_type type) {
  const tsr_type_info *info = tsr_type_get(ir, type);
  tsr_op block = tsr_op_insert_before(ir, before, TSR_OP_BLOCK);
  tsr_value result = tsr_op_add_result(ir, block, type);
  tsr_region body = tsr_op_add_region(ir, block);
  tsr_expr at[TSR_MAX_RANK];
  for (uint32_t i = 0; i < info->rank; i++)
    at[i] = tsr_expr_value(
        ir, tsr_region_add_index(ir, body, TSR_ROLE_PAR, tsr_expr_int(ir, 0), info->dims[i], 1));
  tsr_op load = tsr_op_append(ir, body, TSR_OP_LOAD);
  tsr_op_add_element(ir, load, from, at, info->rank);
  tsr_type scalar = tsr_type_make(ir, TSR_LEVEL_REG, info->dtype, NULL, 0);
  tsr_value element = tsr_op_add_result(ir, load, scalar);
  tsr_op store = tsr_op_append(ir, body, TSR_OP_STORE);
  tsr_op_add_operand(ir, store, element);
  tsr_op_add_element(ir, store, result, at, info->rank);
  tsr_op_copy_origins(ir, block, before);
  return result;
}

static void own_output(tsr_ir *ir, tsr_op output, bool *claimed) {
  tsr_value value = tsr_op_get(ir, output)->operands[0].value;
  if (tsr_type_of_host(tsr_value_type(ir, value)))
    return;
  tsr_value root = root_of(ir, value);
  if (is_computed(ir, root) && !claimed[root]) {
    claimed[root] = true;
    return;
  }
  tsr_value copy = insert_copy(ir, output, value, tsr_value_get(ir, value)->type);
  tsr_op_set_operand(ir, output, 0, copy);
}

/* --- outputs in the memory of an input --- */

static tsr_value input_of(const tsr_ir *ir, tsr_region region, const char *name) {
  TSR_FOR_EACH_OP (ir, region, op)
    if (tsr_op_get(ir, op)->code == TSR_OP_INPUT &&
        strcmp(tsr_op_string(ir, op, "name"), name) == 0)
      return tsr_op_get(ir, op)->results[0];
  return 0;
}

static bool same_subscripts(const tsr_operand *a, const tsr_operand *b) {
  if (a->subscript_count != b->subscript_count)
    return false;
  for (uint32_t i = 0; i < a->subscript_count; i++)
    if (a->subscripts[i] != b->subscripts[i])
      return false;
  return true;
}

/* A block reads an old element only where it stores the new one: then both may be one memory. */
static bool reads_in_step(const tsr_ir *ir, tsr_op block, tsr_value input, tsr_value result) {
  const tsr_op_data *data = tsr_op_get(ir, block);
  tsr_region body = data->code == TSR_OP_BLOCK ? data->regions[0] : 0;
  const tsr_operand *to = NULL;
  if (body == 0)
    return false;
  TSR_FOR_EACH_OP (ir, body, op) {
    const tsr_op_data *inner = tsr_op_get(ir, op);
    if (inner->code == TSR_OP_REDUCE || inner->region_count != 0)
      return false;
    if (inner->code == TSR_OP_STORE && inner->operands[1].value == result)
      to = &inner->operands[1];
  }
  TSR_FOR_EACH_OP (ir, body, op) {
    const tsr_op_data *inner = tsr_op_get(ir, op);
    for (uint32_t i = 0; i < inner->operand_count; i++)
      if (inner->operands[i].value != result && root_of(ir, inner->operands[i].value) == input &&
          (to == NULL || inner->code != TSR_OP_LOAD || !same_subscripts(&inner->operands[i], to)))
        return false;
  }
  return true;
}

/* `old` (or a view of it) where `op` or what is inside of it reads `input`. */
static void read_instead(tsr_ir *ir, tsr_op outer, tsr_op op, tsr_value input, tsr_value old) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  for (uint32_t i = 0; i < data->operand_count; i++) {
    tsr_operand operand = data->operands[i];
    if (root_of(ir, operand.value) != input)
      continue;
    tsr_type type = tsr_value_get(ir, operand.value)->type;
    tsr_value view = old;
    if (type != tsr_value_get(ir, old)->type) {
      tsr_op reshape = tsr_op_insert_before(ir, outer, TSR_OP_RESHAPE);
      tsr_op_add_operand(ir, reshape, old);
      view = tsr_op_add_result(ir, reshape, type);
      tsr_op_copy_origins(ir, reshape, outer);
    }
    if (operand.subscripted)
      tsr_op_set_element(ir, op, i, view, operand.subscripts, operand.subscript_count);
    else
      tsr_op_set_operand(ir, op, i, view);
  }
  for (uint32_t r = 0; r < data->region_count; r++)
    TSR_FOR_EACH_OP (ir, data->regions[r], inner)
      read_instead(ir, outer, inner, input, old);
}

static bool reads_any(const tsr_ir *ir, tsr_op op, tsr_value input) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  for (uint32_t i = 0; i < data->operand_count; i++)
    if (root_of(ir, data->operands[i].value) == input)
      return true;
  for (uint32_t r = 0; r < data->region_count; r++)
    TSR_FOR_EACH_OP (ir, data->regions[r], inner)
      if (reads_any(ir, inner, input))
        return true;
  return false;
}

static bool uses_result(const tsr_ir *ir, tsr_op op, tsr_op maker) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  for (uint32_t i = 0; i < data->operand_count; i++)
    if (defining_op(ir, data->operands[i].value) == maker)
      return true;
  for (uint32_t r = 0; r < data->region_count; r++)
    TSR_FOR_EACH_OP (ir, data->regions[r], inner)
      if (uses_result(ir, inner, maker))
        return true;
  return false;
}

/* Puts `reader` before `writer` when nothing from there on is needed by it. */
static bool move_before(tsr_ir *ir, tsr_op reader, tsr_op writer) {
  if (reader == writer || tsr_op_get(ir, reader)->code != TSR_OP_BLOCK)
    return false;
  for (tsr_op op = writer; op != reader; op = tsr_op_get(ir, op)->next)
    if (tsr_op_get(ir, op)->code == TSR_OP_RESIZE_DIM || uses_result(ir, reader, op))
      return false;
  tsr_op_move_before(ir, reader, writer);
  return true;
}

/* Whatever reads the old contents when the new ones are being written, or later, is put before that
 * or reads a copy that is made before. Reshapes read nothing. */
static void save_old(tsr_ir *ir, tsr_region region, tsr_op output) {
  tsr_value input = input_of(ir, region, tsr_op_string(ir, output, "alias"));
  tsr_value result = root_of(ir, tsr_op_get(ir, output)->operands[0].value), old = 0;
  tsr_op writer = defining_op(ir, result), next;
  for (tsr_op op = writer; op != 0; op = next) {
    next = tsr_op_get(ir, op)->next;
    if (tsr_op_get(ir, op)->code == TSR_OP_RESHAPE || !reads_any(ir, op, input) ||
        (op == writer && reads_in_step(ir, op, input, result)) || move_before(ir, op, writer))
      continue;
    if (old == 0)
      old = insert_copy(ir, writer, input, tsr_value_get(ir, input)->type);
    read_instead(ir, op, op, input, old);
  }
}

/* True when the result is the first elements of the operand in row-major order. */
static bool is_prefix(const tsr_ir *ir, tsr_op resize) {
  const tsr_op_data *data = tsr_op_get(ir, resize);
  const tsr_type_info *from = tsr_value_type(ir, data->operands[0].value);
  const tsr_type_info *to = tsr_value_type(ir, data->results[0]);
  for (uint32_t i = 1; i < to->rank; i++)
    if (from->dims[i] != to->dims[i])
      return false;
  return true;
}

/* Otherwise the count itself is what the segment ends with, and a block copies the part that is
 * valid. */
static void make_prefix(tsr_ir *ir, tsr_op resize) {
  const tsr_op_data *data = tsr_op_get(ir, resize);
  tsr_value from = data->operands[0].value, count = data->operands[1].value;
  tsr_op read = tsr_op_insert_before(ir, resize, TSR_OP_RESIZE_DIM);
  tsr_op_add_operand(ir, read, count);
  tsr_op_add_operand(ir, read, count);
  tsr_op_set_expr(ir, read, "dim", tsr_op_attr(ir, resize, "dim")->u.expr);
  tsr_op_add_result(ir, read, tsr_value_get(ir, count)->type);
  tsr_op_copy_origins(ir, read, resize);
  tsr_value copy = insert_copy(ir, resize, from, tsr_value_get(ir, data->results[0])->type);
  tsr_value_replace_all(ir, data->results[0], copy);
  tsr_op_erase(ir, resize);
}

static void resize_prefixes(tsr_ir *ir, tsr_region region) {
  tsr_op next;
  for (tsr_op op = tsr_region_get(ir, region)->first; op != 0; op = next) {
    next = tsr_op_get(ir, op)->next;
    if (tsr_op_get(ir, op)->code == TSR_OP_RESIZE_DIM && !is_prefix(ir, op))
      make_prefix(ir, op);
  }
}

static bool has_static_shape(const tsr_ir *ir, const tsr_type_info *type) {
  int64_t extent;
  for (uint32_t i = 0; i < type->rank; i++)
    if (!tsr_expr_is_int(ir, type->dims[i], &extent))
      return false;
  return true;
}

/* A block that fills memory of a shape known at call time with the constant's one number. */
static void fill_at_call(tsr_ir *ir, tsr_op constant) {
  tsr_value value = tsr_op_result(ir, constant, 0);
  const tsr_type_info *type = tsr_value_type(ir, value);
  tsr_expr at[TSR_MAX_RANK];
  tsr_point block = tsr_point_begin(ir, TSR_OP_BLOCK, constant);
  tsr_value result = tsr_point_result(&block, type);
  tsr_point_axes(&block, TSR_ROLE_PAR, type->dims, type->rank, at);
  tsr_point_store(&block, tsr_point_splat(&block, value), result, at, type->rank);
  tsr_value_replace_all(ir, value, result);
  tsr_op_erase(ir, constant);
}

static void fill_constants(tsr_ir *ir, tsr_region region) {
  double number;
  int64_t integer;
  tsr_op next;
  for (tsr_op op = tsr_region_get(ir, region)->first; op != 0; op = next) {
    next = tsr_op_get(ir, op)->next;
    if (tsr_op_get(ir, op)->code == TSR_OP_CONST &&
        !has_static_shape(ir, tsr_value_type(ir, tsr_op_result(ir, op, 0))) &&
        tsr_value_splat(ir, tsr_op_result(ir, op, 0), &number, &integer))
      fill_at_call(ir, op);
  }
}

static bool is_read(const tsr_ir *ir, tsr_region region, tsr_value value) {
  TSR_FOR_EACH_OP (ir, region, op) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    for (uint32_t i = 0; i < data->operand_count; i++)
      if (data->operands[i].value == value)
        return true;
    for (uint32_t i = 0; i < data->region_count; i++)
      if (is_read(ir, data->regions[i], value))
        return true;
  }
  return false;
}

/* An index that something other than a block reads (a reshape, an output) needs memory. */
static void store_indices(tsr_ir *ir, tsr_region region) {
  tsr_op next;
  for (tsr_op op = tsr_region_get(ir, region)->first; op != 0; op = next) {
    next = tsr_op_get(ir, op)->next;
    const tsr_attr *attr = tsr_op_attr(ir, op, "value");
    if (tsr_op_get(ir, op)->code != TSR_OP_INDEX || attr == NULL || attr->kind != TSR_ATTR_EXPR)
      continue;
    tsr_value value = tsr_op_result(ir, op, 0);
    const tsr_type_info *type = tsr_value_type(ir, value);
    if (is_read(ir, region, value)) {
      tsr_point block = tsr_point_begin(ir, TSR_OP_BLOCK, op);
      tsr_value result = tsr_point_result(&block, type);
      tsr_point_store(&block, tsr_point_index(&block, type->dtype, attr->u.expr), result, NULL, 0);
      tsr_value_replace_all(ir, value, result);
    }
    tsr_op_erase(ir, op);
  }
}

static tsr_status own_outputs(tsr_ir *ir, tsr_region region, tsr_diag *diag) {
  tsr_arena scratch;
  tsr_arena_init(&scratch, tsr_ir_allocator(ir));
  bool *claimed = tsr_arena_alloc(&scratch, tsr_value_count(ir) + 1);
  if (claimed == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory in pass storage");
  for (int aliases = 1; aliases >= 0; aliases--) /* what is in place has no other place */
    TSR_FOR_EACH_OP (ir, region, op) {
      const char *alias = tsr_op_string(ir, op, "alias");
      if (tsr_op_get(ir, op)->code == TSR_OP_OUTPUT && (alias != NULL) == (aliases != 0))
        own_output(ir, op, claimed);
    }
  TSR_FOR_EACH_OP (ir, region, op)
    if (tsr_op_get(ir, op)->code == TSR_OP_OUTPUT && tsr_op_string(ir, op, "alias") != NULL)
      save_old(ir, region, op);
  tsr_arena_reset(&scratch);
  return tsr_ir_status(ir);
}

tsr_status tsr_pass_storage(tsr_ir *ir, const tsr_pass_options *options, tsr_diag *diag) {
  (void)options;
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op) {
    const tsr_op_data *graph = tsr_op_get(ir, op);
    if (graph->code != TSR_OP_GRAPH)
      continue;
    fill_constants(ir, graph->regions[0]);
    store_indices(ir, graph->regions[0]);
    resize_prefixes(ir, graph->regions[0]);
    TSR_TRY(own_outputs(ir, graph->regions[0], diag));
  }
  return tsr_ir_status(ir);
}
