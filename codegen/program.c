/* One walk over the graph: values get storages, launches get variants, resize_dim ends a segment.
 * Tables grow in the arena. */
#include "codegen/program.h"
#include "codegen/program_tables.h"
#include <string.h>

typedef struct building {
  tsr_program_tables t;
  tsr_ir *ir; /* t's, as are these: */
  tsr_arena *arena;
  tsr_diag *diag;
  const tsr_program_parts *parts;
  tsr_program_table kernels, kernel_dims, maps, variants, launches, segments, reads, checks;
  uint32_t *storage;       /* by value id: buffer number + 1 */
  uint32_t *kernel_number; /* by op id of a kernel: number + 1 */
  tsr_segment_desc open;
} building;

static tsr_status add_buffer(building *b, tsr_buffer_kind kind, uint32_t index, tsr_value value,
                             const tsr_type_info *type, uint32_t *out_number) {
  tsr_buffer_desc buffer = {.kind = kind, .index = index};
  TSR_TRY(tsr_tables_describe(&b->t, type, &buffer));
  *out_number = b->t.buffers.count;
  b->storage[value] = b->t.buffers.count + 1;
  return TSR_PUSH(&b->t, &b->t.buffers, &buffer);
}

static tsr_status add_input(building *b, tsr_op op) {
  tsr_port_desc port = {.name = tsr_op_string(b->ir, op, "name")};
  tsr_value value = tsr_op_get(b->ir, op)->results[0];
  tsr_type_info type = tsr_tables_port_type(&b->t, op, value);
  TSR_TRY(add_buffer(b, TSR_BUFFER_INPUT, b->t.inputs.count, value, &type, &port.buffer));
  return TSR_PUSH(&b->t, &b->t.inputs, &port);
}

static tsr_status add_constant(building *b, tsr_op op) {
  tsr_value value = tsr_op_get(b->ir, op)->results[0];
  uint32_t number;
  TSR_TRY(add_buffer(b, TSR_BUFFER_CONSTANT, b->t.constants.count, value,
                     tsr_value_type(b->ir, value), &number));
  return tsr_tables_constant(&b->t, op);
}

/* The storage becomes the output's: it takes the output's shape, which may differ by a reshape. */
static tsr_status add_output(building *b, tsr_op op) {
  tsr_value value = tsr_op_get(b->ir, op)->operands[0].value;
  tsr_port_desc port = {.name = tsr_op_string(b->ir, op, "name"), .buffer = b->storage[value] - 1};
  tsr_buffer_desc *buffers = b->t.buffers.items;
  const tsr_port_desc *inputs = b->t.inputs.items;
  const char *alias = tsr_op_string(b->ir, op, "alias");
  for (uint32_t i = 0; alias != NULL && i < b->t.inputs.count; i++)
    if (strcmp(inputs[i].name, alias) == 0)
      port.alias = i + 1;
  port.keep = tsr_op_bool(b->ir, op, "keep", false);
  if (b->storage[value] == 0 || buffers[port.buffer].kind != TSR_BUFFER_TEMPORARY)
    return tsr_fail(b->diag, TSR_ERR_INTERNAL, "output '%s' has no storage of its own", port.name);
  tsr_type_info type = tsr_tables_port_type(&b->t, op, value);
  buffers[port.buffer].kind = TSR_BUFFER_OUTPUT;
  buffers[port.buffer].index = b->t.outputs.count;
  TSR_TRY(tsr_tables_describe(&b->t, &type, &buffers[port.buffer]));
  return TSR_PUSH(&b->t, &b->t.outputs, &port);
}

static const tsr_kernel_code *find_code(const building *b, const char *symbol) {
  for (uint32_t i = 0; i < b->parts->kernel_count; i++)
    if (strcmp(b->parts->kernels[i].symbol, symbol) == 0)
      return &b->parts->kernels[i];
  return NULL;
}

static tsr_status add_map(building *b, const tsr_kernel_map *map) {
  tsr_map_desc desc = {
      .argument = map->argument, .dtype = map->dtype, .rank = map->rank, .swizzle = map->swizzle};
  for (uint32_t i = 0; i < map->rank; i++)
    desc.box[i] = map->box[i];
  TSR_TRY(tsr_tables_shape(&b->t, map->dims, map->rank, &desc.first_dim));
  return TSR_PUSH(&b->t, &b->maps, &desc);
}

static tsr_status add_kernel(building *b, tsr_op op, uint32_t *out_number) {
  const tsr_op_data *data = tsr_op_get(b->ir, op);
  if (b->kernel_number[op] != 0) {
    *out_number = b->kernel_number[op] - 1;
    return TSR_OK;
  }
  const tsr_kernel_code *code = find_code(b, data->symbol);
  if (code == NULL)
    return tsr_fail(b->diag, TSR_ERR_INTERNAL, "kernel @%s has no code", data->symbol);
  tsr_kernel_desc kernel = {.name = data->symbol,
                            .nodes = tsr_tables_origins(&b->t, op),
                            .entry = code->entry,
                            .scratch_bytes = code->scratch_bytes,
                            .symbol = code->function == NULL ? "" : code->function,
                            .first_dim = b->kernel_dims.count,
                            .dim_count = code->dim_count,
                            .threads = code->threads,
                            .shared_bytes = code->shared_bytes,
                            .cluster = code->cluster,
                            .cooperative = code->cooperative,
                            .first_map = b->maps.count,
                            .map_count = code->map_count};
  if (kernel.nodes == NULL)
    return tsr_tables_out_of_memory(&b->t);
  if (code->tiles != NULL)
    memcpy(kernel.tiles, code->tiles, sizeof kernel.tiles);
  for (uint32_t i = 0; i < code->dim_count; i++) {
    uint32_t dim;
    TSR_TRY(tsr_tables_dim(&b->t, code->dims[i], &dim));
    TSR_TRY(TSR_PUSH(&b->t, &b->kernel_dims, &dim));
  }
  for (uint32_t i = 0; i < code->map_count; i++)
    TSR_TRY(add_map(b, &code->maps[i]));
  *out_number = b->kernels.count;
  b->kernel_number[op] = b->kernels.count + 1;
  return TSR_PUSH(&b->t, &b->kernels, &kernel);
}

/* (hi - lo) ceildiv step of every grid variable. Only the product counts: the last axis takes what
 * is beyond. */
static tsr_status add_grid(building *b, tsr_op kernel, tsr_variant_desc *variant) {
  enum { AXES = sizeof variant->grid / sizeof *variant->grid };
  const tsr_region_data *body = tsr_region_get(b->ir, tsr_op_get(b->ir, kernel)->regions[0]);
  tsr_expr extents[AXES];
  for (uint32_t i = 0; i < body->arg_count; i++) {
    const tsr_value_data *arg = tsr_value_get(b->ir, body->args[i]);
    if (arg->role != TSR_ROLE_GRID)
      continue;
    tsr_expr extent = tsr_expr_sub(b->ir, arg->hi, arg->lo);
    extent = tsr_expr_binary(b->ir, TSR_INDEX_CEILDIV, extent, arg->step);
    extent = tsr_expr_binary(b->ir, TSR_INDEX_MAX, extent, tsr_expr_int(b->ir, 0));
    if (variant->grid_rank == AXES)
      extents[AXES - 1] = tsr_expr_mul(b->ir, extents[AXES - 1], extent);
    else
      extents[variant->grid_rank++] = extent;
  }
  for (uint32_t i = 0; i < variant->grid_rank; i++)
    TSR_TRY(tsr_tables_code(&b->t, extents[i], &variant->grid[i]));
  return TSR_OK;
}

static tsr_status add_variant(building *b, const char *symbol, tsr_expr guard) {
  tsr_op kernel = tsr_ir_find_symbol(b->ir, symbol);
  tsr_variant_desc variant = {0};
  if (kernel == 0)
    return tsr_fail(b->diag, TSR_ERR_INTERNAL, "launch of @%s, which does not exist", symbol);
  TSR_TRY(tsr_tables_code(&b->t, guard, &variant.guard));
  TSR_TRY(add_kernel(b, kernel, &variant.kernel));
  TSR_TRY(add_grid(b, kernel, &variant));
  return TSR_PUSH(&b->t, &b->variants, &variant);
}

/* The kernel that `launch @k` names, or the guarded list {kernels = [...], guards = [...]}. */
static tsr_status add_variants(building *b, tsr_op op) {
  const tsr_attr *kernels = tsr_op_attr(b->ir, op, "kernels");
  const tsr_attr *guards = tsr_op_attr(b->ir, op, "guards");
  if (kernels == NULL)
    return add_variant(b, tsr_op_get(b->ir, op)->symbol, 0);
  uint32_t guard_count = guards == NULL ? 0 : guards->count;
  if (kernels->kind != TSR_ATTR_STRINGS || guard_count + 1 != kernels->count)
    return tsr_fail(b->diag, TSR_ERR_INTERNAL, "a launch needs one guard less than kernels");
  for (uint32_t i = 0; i < kernels->count; i++)
    TSR_TRY(add_variant(b, kernels->u.strings[i], i < guard_count ? guards->u.exprs[i] : 0));
  return TSR_OK;
}

/* Results that are cleared before the launch. */
static tsr_status add_zeroed(building *b, tsr_op op, tsr_launch_desc *launch) {
  const tsr_op_data *data = tsr_op_get(b->ir, op);
  const tsr_attr *zero = tsr_op_attr(b->ir, op, "zero");
  launch->first_zeroed = b->t.arguments.count;
  for (uint32_t i = 0; zero != NULL && i < zero->count; i++) {
    int64_t number = 0;
    if (!tsr_expr_is_int(b->ir, zero->u.exprs[i], &number) || number < 0 ||
        number >= data->result_count)
      return tsr_fail(b->diag, TSR_ERR_INTERNAL, "'zero' of a launch lists no result of it");
    uint32_t buffer = b->storage[data->results[number]] - 1;
    TSR_TRY(TSR_PUSH(&b->t, &b->t.arguments, &buffer));
    launch->zeroed_count++;
  }
  return TSR_OK;
}

/* A result that takes over an operand's memory is that storage, and no argument of its own. */
static tsr_status take_over(building *b, tsr_op op, uint32_t number, uint32_t operand) {
  const tsr_op_data *data = tsr_op_get(b->ir, op);
  const tsr_buffer_desc *buffers = b->t.buffers.items;
  const uint32_t storage = b->storage[data->operands[operand].value];
  if (buffers[storage - 1].kind != TSR_BUFFER_TEMPORARY)
    return tsr_tables_refuse(&b->t, op, "'alias' takes the memory of an input or a constant");
  b->storage[data->results[number]] = storage;
  return TSR_OK;
}

static tsr_status add_result(building *b, tsr_op op, uint32_t number) {
  const tsr_value value = tsr_op_get(b->ir, op)->results[number];
  const tsr_attr *alias = tsr_op_attr(b->ir, op, "alias");
  int64_t operand = -1;
  uint32_t buffer;
  if (alias != NULL && tsr_expr_is_int(b->ir, alias->u.exprs[number], &operand) && operand >= 0)
    return take_over(b, op, number, (uint32_t)operand);
  TSR_TRY(add_buffer(b, TSR_BUFFER_TEMPORARY, 0, value, tsr_value_type(b->ir, value), &buffer));
  return TSR_PUSH(&b->t, &b->t.arguments, &buffer);
}

static tsr_status add_launch(building *b, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(b->ir, op);
  tsr_launch_desc launch = {.first_variant = b->variants.count,
                            .first_argument = b->t.arguments.count};
  for (uint32_t i = 0; i < data->operand_count; i++) {
    uint32_t buffer = b->storage[data->operands[i].value] - 1;
    if (b->storage[data->operands[i].value] == 0)
      return tsr_fail(b->diag, TSR_ERR_INTERNAL, "an operand of @%s has no storage", data->symbol);
    TSR_TRY(TSR_PUSH(&b->t, &b->t.arguments, &buffer));
  }
  for (uint32_t i = 0; i < data->result_count; i++)
    TSR_TRY(add_result(b, op, i));
  launch.argument_count = b->t.arguments.count - launch.first_argument;
  TSR_TRY(add_zeroed(b, op, &launch));
  TSR_TRY(add_variants(b, op));
  launch.variant_count = b->variants.count - launch.first_variant;
  b->open.launch_count++;
  return TSR_PUSH(&b->t, &b->launches, &launch);
}

static tsr_status close_segment(building *b) {
  TSR_TRY(TSR_PUSH(&b->t, &b->segments, &b->open));
  b->open.first_launch = b->launches.count;
  b->open.launch_count = 0;
  b->open.first_read = b->reads.count;
  b->open.read_count = 0;
  return TSR_OK;
}

/* Row-major; the verifier has seen that the subscripts and the shape are numbers. */
static uint64_t element_of(const building *b, const tsr_operand *operand) {
  const tsr_type_info *type = tsr_value_type(b->ir, operand->value);
  uint64_t element = 0;
  for (uint32_t i = 0; i < operand->subscript_count; i++) {
    int64_t at = 0, extent = 0;
    (void)tsr_expr_is_int(b->ir, operand->subscripts[i], &at);
    (void)tsr_expr_is_int(b->ir, type->dims[i], &extent);
    element = element * (uint64_t)extent + (uint64_t)at;
  }
  return element;
}

/* A read with nothing launched since the last one joins it: the host waits once for both. */
static tsr_status add_read(building *b, const tsr_dim_read *read) {
  tsr_segment_desc *segments = b->segments.items;
  TSR_TRY(TSR_PUSH(&b->t, &b->reads, read));
  if (b->open.launch_count == 0 && b->segments.count > 0) {
    segments[b->segments.count - 1].read_count++;
    b->open.first_read = b->reads.count;
    return TSR_OK;
  }
  b->open.read_count++;
  return close_segment(b);
}

/* The host reads the count, which ends the segment; the value itself is a prefix of its operand. */
static tsr_status add_resize(building *b, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(b->ir, op);
  const tsr_attr *dim = tsr_op_attr(b->ir, op, "dim");
  tsr_expr_node node = tsr_expr_get(b->ir, dim == NULL ? 0 : dim->u.expr);
  uint32_t source = b->storage[data->operands[0].value];
  uint32_t count = b->storage[data->operands[1].value];
  if (node.op != TSR_INDEX_DIM || source == 0 || count == 0)
    return tsr_fail(b->diag, TSR_ERR_INTERNAL, "resize_dim without a dim or a storage");
  tsr_dim_read read = {.buffer = count - 1, .element = element_of(b, &data->operands[1])};
  TSR_TRY(tsr_tables_dim(&b->t, node.dim, &read.dim));
  b->storage[data->results[0]] = source;
  return add_read(b, &read);
}

/* Equal checks, as several nodes demand the same, are one. */
static tsr_status add_check(building *b, tsr_op op) {
  const tsr_attr *holds = tsr_op_attr(b->ir, op, "holds");
  tsr_check_desc check = {.text = tsr_op_string(b->ir, op, "text")};
  if (holds->kind == TSR_ATTR_INT && holds->u.integer != 0)
    return TSR_OK;
  if (holds->kind != TSR_ATTR_EXPR)
    return tsr_fail(b->diag, TSR_ERR_SHAPE, "%s", check.text);
  for (tsr_op before = tsr_op_get(b->ir, op)->prev; before != 0;
       before = tsr_op_get(b->ir, before)->prev) {
    const tsr_op_data *data = tsr_op_get(b->ir, before);
    if (data->code == TSR_OP_CHECK && tsr_op_attr(b->ir, before, "holds")->kind == TSR_ATTR_EXPR &&
        tsr_op_attr(b->ir, before, "holds")->u.expr == holds->u.expr)
      return TSR_OK;
  }
  TSR_TRY(tsr_tables_code(&b->t, holds->u.expr, &check.holds));
  return TSR_PUSH(&b->t, &b->checks, &check);
}

static tsr_status add_op(building *b, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(b->ir, op);
  switch (data->code) {
  case TSR_OP_INPUT:
    return add_input(b, op);
  case TSR_OP_CONST:
    return add_constant(b, op);
  case TSR_OP_OUTPUT:
    return add_output(b, op);
  case TSR_OP_RESHAPE:
    b->storage[data->results[0]] = b->storage[data->operands[0].value];
    return TSR_OK;
  case TSR_OP_LAUNCH:
    return add_launch(b, op);
  case TSR_OP_RESIZE_DIM:
    return add_resize(b, op);
  case TSR_OP_CHECK:
    return add_check(b, op);
  default:
    return tsr_tables_refuse(&b->t, op, "this op has no kernel on this target yet");
  }
}

/* Every dim that the program uses must be the whole extent of some input, be computed by it, or be
 * known to its caller. */
static tsr_status check_dims(const building *b) {
  const tsr_dim_desc *dims = b->t.dims.items;
  const tsr_port_desc *inputs = b->t.inputs.items;
  const tsr_buffer_desc *buffers = b->t.buffers.items;
  const tsr_code *codes = b->t.codes.items;
  const tsr_index_step *steps = b->t.steps.items;
  for (uint32_t d = 0; d < b->t.dims.count; d++) {
    bool bound = dims[d].source != TSR_DIM_FROM_INPUT;
    for (uint32_t i = 0; i < b->t.inputs.count && !bound; i++) {
      const tsr_buffer_desc *buffer = &buffers[inputs[i].buffer];
      for (uint32_t axis = 0; axis < buffer->rank && !bound; axis++) {
        tsr_code code = codes[buffer->first_dim + axis];
        bound = code.count == 1 && steps[code.first].op == TSR_INDEX_DIM &&
                steps[code.first].operand == d;
      }
    }
    if (!bound)
      return tsr_fail(b->diag, TSR_ERR_SHAPE,
                      "dim '%s' is the extent of no input, so that its value is never known",
                      dims[d].name);
  }
  return TSR_OK;
}

/* Does a launch end in a kernel on tiles? Other kernels on tiles have one that stands in for them.
 */
static bool needs_tiles(const tsr_program *program) {
  for (uint32_t i = 0; i < program->launch_count; i++) {
    const tsr_launch_desc *launch = &program->launches[i];
    const uint32_t last = launch->first_variant + launch->variant_count - 1;
    if (program->kernels[program->variants[last].kernel].tiles[0] != 0)
      return true;
  }
  return false;
}

static void hand_over(const building *b, tsr_program *out) {
  out->target = b->parts->target;
  out->cpu_features = b->parts->cpu_features;
  out->precision = b->parts->precision;
  out->producer = b->parts->producer;
  out->image = b->parts->image;
  out->image_bytes = b->parts->image_bytes;
  tsr_tables_hand_over(&b->t, out);
  TSR_HAND_OVER(b, out, kernels, kernel_count);
  TSR_HAND_OVER(b, out, kernel_dims, kernel_dim_count);
  TSR_HAND_OVER(b, out, maps, map_count);
  TSR_HAND_OVER(b, out, variants, variant_count);
  TSR_HAND_OVER(b, out, launches, launch_count);
  TSR_HAND_OVER(b, out, segments, segment_count);
  TSR_HAND_OVER(b, out, reads, read_count);
  TSR_HAND_OVER(b, out, checks, check_count);
  if (needs_tiles(out))
    out->cpu_features |= b->parts->tile_features;
}

tsr_status tsr_program_build(tsr_ir *ir, tsr_op graph, const tsr_program_parts *parts,
                             tsr_arena *arena, tsr_diag *diag, tsr_program *out_program) {
  memset(out_program, 0, sizeof *out_program);
  building b = {.ir = ir, .parts = parts, .arena = arena, .diag = diag};
  TSR_TRY(tsr_tables_begin(&b.t, ir, arena, diag));
  b.t.dim_source = parts->called ? TSR_DIM_FROM_CALLER : TSR_DIM_FROM_INPUT;
  b.storage = tsr_arena_alloc_array(arena, tsr_value_count(ir) + 1, sizeof *b.storage);
  b.kernel_number = tsr_arena_alloc_array(arena, tsr_op_count(ir) + 1, sizeof *b.kernel_number);
  if (b.storage == NULL || b.kernel_number == NULL)
    return tsr_tables_out_of_memory(&b.t);
  TSR_FOR_EACH_OP (ir, tsr_op_get(ir, graph)->regions[0], op) {
    TSR_TRY(add_op(&b, op));
  }
  if (b.open.launch_count != 0 || b.segments.count == 0)
    TSR_TRY(close_segment(&b));
  TSR_TRY(check_dims(&b));
  TSR_TRY(tsr_ir_status(ir));
  hand_over(&b, out_program);
  return TSR_OK;
}
