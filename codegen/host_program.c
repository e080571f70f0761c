/* One walk in the order of execution: values become registers, ops steps. A region's steps lie
 * together, so they are reserved before the first of them is filled in and its own regions follow.
 */
#include "codegen/host_program.h"
#include "codegen/program_tables.h"
#include "runtime/module/program_check.h"
#include <string.h>

typedef struct building {
  tsr_program_tables t;
  const tsr_host_parts *parts;
  tsr_program_table values, steps, regions, constants, numbers, texts;
  uint32_t *number; /* by value id: register + 1 */
  bool *known;      /* by dim id: has a value at this point of the walk */
  tsr_dim *trail;   /* the known dims in the order in which they became so */
  uint32_t trail_count;
  uint32_t depth; /* regions around */
} building;

/* --- dims --- */

static void learn(building *b, tsr_dim dim) {
  if (b->known[dim])
    return;
  b->known[dim] = true;
  b->trail[b->trail_count++] = dim;
}

/* What a region learned is not known behind it: it may not have run. */
static void forget(building *b, uint32_t mark) {
  while (b->trail_count > mark)
    b->known[b->trail[--b->trail_count]] = false;
}

static tsr_dim unknown_dim(const building *b, tsr_expr expr) {
  if (expr == 0)
    return 0;
  tsr_expr_node node = tsr_expr_get(b->t.ir, expr);
  if (node.op == TSR_INDEX_DIM)
    return b->known[node.dim] ? 0 : node.dim;
  if (node.op == TSR_INDEX_INT || node.op == TSR_INDEX_VALUE || node.op == TSR_INDEX_LANE)
    return 0;
  tsr_dim dim = unknown_dim(b, node.a);
  return dim != 0 ? dim : unknown_dim(b, node.b);
}

static tsr_status fail_at(building *b, tsr_op op, tsr_dim dim, const char *who) {
  const tsr_op_data *data = tsr_op_get(b->t.ir, op);
  (void)tsr_fail(b->t.diag, TSR_ERR_SHAPE, "%s needs dim '%s' before anything gives it a value",
                 who, tsr_dim_get(b->t.ir, dim)->name);
  tsr_diag_set_node(b->t.diag, data->origin_count > 0 ? data->origins[0] : NULL,
                    tsr_opcode_info(data->code)->text);
  tsr_diag_set_position(b->t.diag, data->line, 0);
  return TSR_ERR_SHAPE;
}

static tsr_status need_dims(building *b, tsr_op op, tsr_expr expr, const char *who) {
  tsr_dim dim = unknown_dim(b, expr);
  return dim == 0 ? TSR_OK : fail_at(b, op, dim, who);
}

/* --- values --- */

static tsr_host_kind kind_of(tsr_level level) {
  switch (level) {
  case TSR_LEVEL_LIST:
    return TSR_HOST_LIST;
  case TSR_LEVEL_MAYBE:
    return TSR_HOST_MAYBE;
  case TSR_LEVEL_MAYBE_LIST:
    return TSR_HOST_MAYBE_LIST;
  default:
    return TSR_HOST_TENSOR;
  }
}

/* Which dim an extent binds + 1, or 0. */
static tsr_status bind_extent(building *b, const tsr_host_value *value, tsr_expr extent,
                              uint32_t *out_bind) {
  tsr_expr_node node = tsr_expr_get(b->t.ir, extent);
  *out_bind = 0;
  if (value->kind != TSR_HOST_TENSOR || node.op != TSR_INDEX_DIM || b->known[node.dim])
    return TSR_OK;
  learn(b, node.dim);
  TSR_TRY(tsr_tables_dim(&b->t, node.dim, out_bind));
  ++*out_bind;
  return TSR_OK;
}

/* `type`: as the caller sees it, where that differs. */
static tsr_status add_value(building *b, tsr_value value, const tsr_type_info *type) {
  tsr_host_value made = {.kind = kind_of(type->level), .dtype = type->dtype, .rank = type->rank};
  uint32_t rank = type->rank == TSR_RANK_ANY ? 0 : type->rank;
  TSR_TRY(tsr_tables_shape(&b->t, type->dims, rank, &made.first_dim));
  made.first_bind = b->t.arguments.count;
  for (uint32_t i = 0; i < rank; i++) {
    uint32_t bind;
    TSR_TRY(bind_extent(b, &made, type->dims[i], &bind));
    TSR_TRY(TSR_PUSH(&b->t, &b->t.arguments, &bind));
  }
  b->number[value] = b->values.count + 1;
  return TSR_PUSH(&b->t, &b->values, &made);
}

/* What is not bound is compared, so that it must be known when all that is made together is
 * bound. */
static tsr_status check_extents(building *b, tsr_op op, const tsr_type_info *type) {
  if (kind_of(type->level) != TSR_HOST_TENSOR)
    return TSR_OK;
  for (uint32_t i = 0; i < type->rank; i++)
    TSR_TRY(need_dims(b, op, type->dims[i], "an extent"));
  return TSR_OK;
}

static tsr_status check_values(building *b, tsr_op op, const tsr_value *values, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    TSR_TRY(check_extents(b, op, tsr_value_type(b->t.ir, values[i])));
  return TSR_OK;
}

/* Pushes the registers of values that exist. */
static tsr_status push_values(building *b, const tsr_value *values, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    uint32_t number = b->number[values[i]] - 1;
    if (b->number[values[i]] == 0)
      return tsr_fail(b->t.diag, TSR_ERR_INTERNAL, "a host step uses a value that no step makes");
    TSR_TRY(TSR_PUSH(&b->t, &b->t.arguments, &number));
  }
  return TSR_OK;
}

static tsr_status push_operands(building *b, tsr_op op, uint32_t *out_first, uint32_t *out_count) {
  const tsr_op_data *data = tsr_op_get(b->t.ir, op);
  *out_first = b->t.arguments.count;
  *out_count = data->operand_count;
  for (uint32_t i = 0; i < data->operand_count; i++)
    TSR_TRY(push_values(b, &data->operands[i].value, 1));
  return TSR_OK;
}

static tsr_status make_values(building *b, const tsr_value *values, uint32_t count,
                              uint32_t *out_first, uint32_t *out_count) {
  for (uint32_t i = 0; i < count; i++)
    TSR_TRY(add_value(b, values[i], tsr_value_type(b->t.ir, values[i])));
  *out_first = b->t.arguments.count;
  *out_count = count;
  return push_values(b, values, count);
}

/* --- steps --- */

static tsr_status add_number(building *b, tsr_host_step *step, int64_t number) {
  step->number_count++;
  return TSR_PUSH(&b->t, &b->numbers, &number);
}

static tsr_status add_text(building *b, tsr_host_step *step, const char *text) {
  const char *kept = text == NULL ? "" : text;
  step->text_count++;
  return TSR_PUSH(&b->t, &b->texts, &kept);
}

/* 0 as it is, 1 lower, 2 upper. */
static int64_t case_number(const char *text) {
  return text == NULL ? 0 : strcmp(text, "lower") == 0 ? 1 : strcmp(text, "upper") == 0 ? 2 : 0;
}

/* The attributes of op, as host_ops.def lists them. */
static tsr_status add_attributes(building *b, tsr_op op, tsr_host_step *step) {
  tsr_ir *ir = b->t.ir;
  const tsr_attr *words;
  step->first_number = b->numbers.count;
  step->first_text = b->texts.count;
  switch (step->op) {
  case TSR_HOST_LIST_SPLIT:
    TSR_TRY(add_number(b, step, tsr_op_int(ir, op, "axis", 0)));
    return add_number(b, step, tsr_op_bool(ir, op, "drop", false));
  case TSR_HOST_LIST_CONCAT:
    TSR_TRY(add_number(b, step, tsr_op_int(ir, op, "axis", 0)));
    TSR_TRY(add_number(b, step, tsr_op_bool(ir, op, "stack", false)));
    return add_number(b, step, tsr_op_bool(ir, op, "reverse", false));
  case TSR_HOST_TEXT_NORMALIZE:
    TSR_TRY(add_number(b, step, case_number(tsr_op_string(ir, op, "case"))));
    TSR_TRY(add_number(b, step, tsr_op_bool(ir, op, "mind_case", false)));
    TSR_TRY(add_text(b, step, tsr_op_string(ir, op, "locale")));
    words = tsr_op_attr(ir, op, "stopwords");
    for (uint32_t i = 0; words != NULL && i < words->count; i++)
      TSR_TRY(add_text(b, step, words->u.strings[i]));
    return TSR_OK;
  case TSR_HOST_TEXT_SPLIT:
    TSR_TRY(add_number(b, step, tsr_op_int(ir, op, "limit", -1)));
    TSR_TRY(add_number(b, step, tsr_op_string(ir, op, "delimiter") == NULL));
    return add_text(b, step, tsr_op_string(ir, op, "delimiter"));
  case TSR_HOST_TEXT_MATCH:
    return add_text(b, step, tsr_op_string(ir, op, "pattern"));
  default:
    return TSR_OK;
  }
}

/* Dims that the part takes from here must be known; those that it reads from the device are known
 * behind it. */
static tsr_status check_call(building *b, tsr_op op, const tsr_program *part) {
  const tsr_op_data *data = tsr_op_get(b->t.ir, op);
  if (part->input_count != data->operand_count || part->output_count != data->result_count)
    return tsr_fail(b->t.diag, TSR_ERR_INTERNAL,
                    "a part has other inputs or outputs than its call");
  for (uint32_t i = 0; i < part->dim_count; i++) {
    tsr_dim dim = tsr_dim_find(b->t.ir, part->dims[i].name);
    uint32_t number;
    if (part->dims[i].source != TSR_DIM_FROM_CALLER)
      continue;
    if (dim == 0)
      return tsr_fail(b->t.diag, TSR_ERR_INTERNAL, "dim '%s' is known to a part alone",
                      part->dims[i].name);
    if (!b->known[dim])
      return fail_at(b, op, dim, "a part");
    TSR_TRY(tsr_tables_dim(&b->t, dim, &number));
  }
  return TSR_OK;
}

static void learn_from_call(building *b, const tsr_program *part) {
  for (uint32_t i = 0; i < part->dim_count; i++) {
    tsr_dim dim = tsr_dim_find(b->t.ir, part->dims[i].name);
    if (dim != 0 && part->dims[i].source == TSR_DIM_FROM_DEVICE)
      learn(b, dim);
  }
}

static tsr_status find_part(building *b, tsr_op op, uint32_t *out_part) {
  const tsr_attr *graph = tsr_op_attr(b->t.ir, op, "graph");
  for (*out_part = 0; graph != NULL && *out_part < b->parts->count; ++*out_part)
    if (strcmp(b->parts->symbols[*out_part], graph->u.string) == 0)
      return TSR_OK;
  return tsr_fail(b->t.diag, TSR_ERR_INTERNAL, "a call of @%s, which has no program",
                  graph == NULL ? "" : graph->u.string);
}

/* The step that the op becomes, by their common text; COUNT: none. */
static tsr_host_op host_op(tsr_opcode code) {
  static const char *const texts[] = {
#define TSR_HOST_OP(name, text, ...) text,
#include "runtime/host/host_ops.def"
#undef TSR_HOST_OP
  };
  const char *text = tsr_opcode_info(code)->text;
  tsr_host_op op = (tsr_host_op)0;
  while (op < TSR_HOST_OP_COUNT && strcmp(texts[op], text) != 0)
    op = (tsr_host_op)(op + 1);
  return op;
}

static bool is_step(const building *b, tsr_op op) {
  switch (tsr_op_get(b->t.ir, op)->code) {
  case TSR_OP_INPUT:
  case TSR_OP_OUTPUT:
  case TSR_OP_CONST:
  case TSR_OP_YIELD:
    return false;
  default:
    return true;
  }
}

static tsr_status fill_region(building *b, tsr_region region, uint32_t number);

/* The op's regions side by side, what is inside them behind them. An `if` has both. */
static tsr_status add_regions(building *b, tsr_op op, tsr_host_step *step) {
  const tsr_op_data *data = tsr_op_get(b->t.ir, op);
  static const tsr_host_region none;
  if (data->region_count != 0 && b->depth + 1 >= TSR_PROGRAM_MAX_DEPTH)
    return tsr_fail(b->t.diag, TSR_ERR_LIMIT,
                    "branches and loops are more than %d deep in each other",
                    TSR_PROGRAM_MAX_DEPTH - 1);
  b->depth++;
  step->first_region = b->regions.count;
  step->region_count = step->op == TSR_HOST_IF ? 2 : data->region_count;
  for (uint32_t i = 0; i < step->region_count; i++)
    TSR_TRY(TSR_PUSH(&b->t, &b->regions, &none));
  for (uint32_t i = 0; i < data->region_count && i < step->region_count; i++) {
    uint32_t mark = b->trail_count;
    TSR_TRY(fill_region(b, data->regions[i], step->first_region + i));
    forget(b, mark);
  }
  return TSR_OK;
}

/* The attribute's expression, absent where the attribute is. */
static tsr_status add_code(building *b, tsr_op op, const char *key, const char *what,
                           tsr_code *out_code) {
  const tsr_attr *attr = tsr_op_attr(b->t.ir, op, key);
  if (attr == NULL)
    return TSR_OK;
  tsr_expr expr =
      attr->kind == TSR_ATTR_EXPR ? attr->u.expr : tsr_expr_int(b->t.ir, attr->u.integer);
  TSR_TRY(need_dims(b, op, expr, what));
  return tsr_tables_code(&b->t, expr, out_code);
}

static tsr_status fill_step(building *b, tsr_op op, uint32_t number) {
  const tsr_op_data *data = tsr_op_get(b->t.ir, op);
  const tsr_program *part = NULL;
  tsr_host_step step = {.op = host_op(data->code), .nodes = tsr_tables_origins(&b->t, op)};
  if (step.nodes == NULL)
    return tsr_tables_out_of_memory(&b->t);
  if (step.op == TSR_HOST_OP_COUNT)
    return tsr_tables_refuse(&b->t, op, "the host has no such operation");
  if (step.op == TSR_HOST_IF)
    TSR_TRY(add_code(b, op, "cond", "the condition", &step.code));
  if (step.op == TSR_HOST_LOOP)
    TSR_TRY(add_code(b, op, "limit", "the limit", &step.code));
  TSR_TRY(push_operands(b, op, &step.first_operand, &step.operand_count));
  TSR_TRY(add_attributes(b, op, &step));
  if (step.op == TSR_HOST_CALL) {
    TSR_TRY(find_part(b, op, &step.part));
    part = &b->parts->programs[step.part];
    TSR_TRY(check_call(b, op, part));
  }
  TSR_TRY(add_regions(b, op, &step));
  TSR_TRY(
      make_values(b, data->results, data->result_count, &step.first_result, &step.result_count));
  if (part != NULL)
    learn_from_call(b, part);
  TSR_TRY(check_values(b, op, data->results, data->result_count));
  ((tsr_host_step *)b->steps.items)[number] = step;
  return TSR_OK;
}

static tsr_status add_constant(building *b, tsr_op op) {
  tsr_value value = tsr_op_get(b->t.ir, op)->results[0];
  tsr_host_constant constant = {.value = b->values.count, .constant = b->t.constants.count};
  TSR_TRY(add_value(b, value, tsr_value_type(b->t.ir, value)));
  TSR_TRY(TSR_PUSH(&b->t, &b->constants, &constant));
  return tsr_tables_constant(&b->t, op);
}

/* The ops of the region, of which `first_step` and those behind it are reserved. */
static tsr_status fill_ops(building *b, tsr_region region, uint32_t first_step,
                           tsr_host_region *made) {
  TSR_FOR_EACH_OP (b->t.ir, region, op) {
    const tsr_opcode code = tsr_op_get(b->t.ir, op)->code;
    if (code == TSR_OP_CONST)
      TSR_TRY(add_constant(b, op));
    if (code == TSR_OP_YIELD)
      TSR_TRY(push_operands(b, op, &made->first_yield, &made->yield_count));
    if (is_step(b, op))
      TSR_TRY(fill_step(b, op, first_step++));
  }
  return TSR_OK;
}

static tsr_status reserve_steps(building *b, tsr_region region, tsr_host_region *made) {
  static const tsr_host_step none;
  made->first_step = b->steps.count;
  TSR_FOR_EACH_OP (b->t.ir, region, op) {
    if (!is_step(b, op))
      continue;
    TSR_TRY(TSR_PUSH(&b->t, &b->steps, &none));
    made->step_count++;
  }
  return TSR_OK;
}

/* Parameters are made anew in each turn: what is known outside is compared. */
static tsr_status fill_region(building *b, tsr_region region, uint32_t number) {
  const tsr_region_data *data = tsr_region_get(b->t.ir, region);
  tsr_host_region made = {0};
  TSR_TRY(make_values(b, data->args, data->arg_count, &made.first_param, &made.param_count));
  TSR_TRY(check_values(b, data->parent, data->args, data->arg_count));
  TSR_TRY(reserve_steps(b, region, &made));
  TSR_TRY(fill_ops(b, region, made.first_step, &made));
  ((tsr_host_region *)b->regions.items)[number] = made;
  return TSR_OK;
}

/* --- the model --- */

static void mark_text(building *b, tsr_op op, tsr_value value) {
  if (b->number[value] != 0 && tsr_op_bool(b->t.ir, op, "text", false))
    ((tsr_host_value *)b->values.items)[b->number[value] - 1].text = 1;
}

/* The port's buffer says what its tensor, or a list's tensors, look like. */
static tsr_status add_port(building *b, tsr_op op, tsr_value value, tsr_buffer_kind kind,
                           tsr_program_table *ports) {
  tsr_type_info type = tsr_tables_port_type(&b->t, op, value);
  tsr_port_desc port = {.name = tsr_op_string(b->t.ir, op, "name"), .buffer = b->t.buffers.count};
  tsr_buffer_desc buffer = {.kind = kind, .index = ports->count};
  const tsr_port_desc *inputs = b->t.inputs.items;
  const char *alias = kind == TSR_BUFFER_OUTPUT ? tsr_op_string(b->t.ir, op, "alias") : NULL;
  for (uint32_t i = 0; alias != NULL && i < b->t.inputs.count; i++)
    if (strcmp(inputs[i].name, alias) == 0)
      port.alias = i + 1;
  if (type.rank == TSR_RANK_ANY)
    type.rank = 0;
  TSR_TRY(tsr_tables_describe(&b->t, &type, &buffer));
  TSR_TRY(TSR_PUSH(&b->t, &b->t.buffers, &buffer));
  mark_text(b, op, value);
  return TSR_PUSH(&b->t, ports, &port);
}

static tsr_status add_inputs(building *b, tsr_region region, tsr_host_region *made) {
  TSR_FOR_EACH_OP (b->t.ir, region, op) {
    if (tsr_op_get(b->t.ir, op)->code != TSR_OP_INPUT)
      continue;
    tsr_value value = tsr_op_get(b->t.ir, op)->results[0];
    tsr_type_info type = tsr_tables_port_type(&b->t, op, value);
    TSR_TRY(add_value(b, value, &type));
    TSR_TRY(add_port(b, op, value, TSR_BUFFER_INPUT, &b->t.inputs));
  }
  for (uint32_t i = 0; i < b->trail_count; i++) {
    tsr_dim_desc *dims = b->t.dims.items;
    dims[b->t.dim_number[b->trail[i]] - 1].source = TSR_DIM_FROM_INPUT;
  }
  made->first_param = b->t.arguments.count;
  TSR_FOR_EACH_OP (b->t.ir, region, op) {
    const tsr_op_data *data = tsr_op_get(b->t.ir, op);
    if (data->code != TSR_OP_INPUT)
      continue;
    TSR_TRY(check_values(b, op, data->results, 1));
    TSR_TRY(push_values(b, data->results, 1));
    made->param_count++;
  }
  return TSR_OK;
}

static tsr_status add_outputs(building *b, tsr_region region, tsr_host_region *made) {
  made->first_yield = b->t.arguments.count;
  TSR_FOR_EACH_OP (b->t.ir, region, op) {
    const tsr_op_data *data = tsr_op_get(b->t.ir, op);
    if (data->code != TSR_OP_OUTPUT)
      continue;
    TSR_TRY(push_values(b, &data->operands[0].value, 1));
    made->yield_count++;
  }
  TSR_FOR_EACH_OP (b->t.ir, region, op) {
    const tsr_op_data *data = tsr_op_get(b->t.ir, op);
    if (data->code == TSR_OP_OUTPUT)
      TSR_TRY(add_port(b, op, data->operands[0].value, TSR_BUFFER_OUTPUT, &b->t.outputs));
  }
  return TSR_OK;
}

static tsr_status fill_model(building *b, tsr_op model) {
  tsr_region region = tsr_op_get(b->t.ir, model)->regions[0];
  tsr_host_region made = {0};
  TSR_TRY(TSR_PUSH(&b->t, &b->regions, &made));
  TSR_TRY(add_inputs(b, region, &made));
  TSR_TRY(reserve_steps(b, region, &made));
  TSR_TRY(fill_ops(b, region, made.first_step, &made));
  TSR_TRY(add_outputs(b, region, &made));
  ((tsr_host_region *)b->regions.items)[0] = made;
  return TSR_OK;
}

static void hand_over(const building *b, tsr_op model, tsr_program *out) {
  const tsr_attr *texts = tsr_op_attr(b->t.ir, model, "texts");
  out->target = b->parts->target;
  out->cpu_features = b->parts->cpu_features;
  out->precision = b->parts->precision;
  out->producer = b->parts->producer;
  tsr_tables_hand_over(&b->t, out);
  out->host_values = b->values.items;
  out->host_value_count = b->values.count;
  out->host_steps = b->steps.items;
  out->host_step_count = b->steps.count;
  out->host_regions = b->regions.items;
  out->host_region_count = b->regions.count;
  out->host_constants = b->constants.items;
  out->host_constant_count = b->constants.count;
  out->host_numbers = b->numbers.items;
  out->host_number_count = b->numbers.count;
  out->host_texts = b->texts.items;
  out->host_text_count = b->texts.count;
  out->texts = texts == NULL ? NULL : texts->u.strings;
  out->text_count = texts == NULL ? 0 : texts->count;
  out->parts = b->parts->programs;
  out->part_count = b->parts->count;
}

tsr_status tsr_host_program_build(tsr_ir *ir, tsr_op model, const tsr_host_parts *parts,
                                  tsr_arena *arena, tsr_diag *diag, tsr_program *out_program) {
  memset(out_program, 0, sizeof *out_program);
  building b = {.parts = parts};
  TSR_TRY(tsr_tables_begin(&b.t, ir, arena, diag));
  b.t.dim_source = TSR_DIM_FROM_HOST;
  b.t.device_dims_too = true;
  b.number = tsr_arena_alloc_array(arena, tsr_value_count(ir) + 1, sizeof *b.number);
  b.known = tsr_arena_alloc_array(arena, tsr_dim_count(ir) + 1, sizeof *b.known);
  b.trail = tsr_arena_alloc_array(arena, tsr_dim_count(ir) + 1, sizeof *b.trail);
  if (b.number == NULL || b.known == NULL || b.trail == NULL)
    return tsr_tables_out_of_memory(&b.t);
  TSR_TRY(fill_model(&b, model));
  TSR_TRY(tsr_ir_status(ir));
  hand_over(&b, model, out_program);
  return TSR_OK;
}
