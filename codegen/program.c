/* One walk over the graph: values get storages, launches get variants, resize_dim ends a segment.
 * Tables grow in the arena. */
#include "codegen/program.h"
#include "ir/const_bytes.h"
#include "runtime/hash.h"
#include <string.h>

/* A table that grows by doubling; the old copy stays in the arena. */
typedef struct table {
  void *items;
  uint32_t count, capacity;
  size_t item_bytes;
} table;

typedef struct building {
  tsr_ir *ir;
  const tsr_program_parts *parts;
  tsr_arena *arena;
  tsr_diag *diag;
  table steps, codes, dims, buffers, inputs, outputs, constants, kernels, kernel_dims, maps,
      variants, launches, arguments, segments, reads;
  uint32_t *dim_number;    /* by dim id: number + 1; a dim that nothing uses has none */
  uint32_t *storage;       /* by value id: buffer number + 1 */
  uint32_t *kernel_number; /* by op id of a kernel: number + 1 */
  tsr_segment_desc open;
} building;

static tsr_status out_of_memory(const building *b) {
  return tsr_fail(b->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while building the program");
}

static tsr_status push(building *b, table *t, const void *item) {
  if (t->count == t->capacity) {
    uint32_t capacity = t->capacity == 0 ? 16 : t->capacity * 2;
    void *items = tsr_arena_alloc_array(b->arena, capacity, t->item_bytes);
    if (items == NULL)
      return out_of_memory(b);
    if (t->count != 0)
      memcpy(items, t->items, t->count * t->item_bytes);
    t->items = items;
    t->capacity = capacity;
  }
  memcpy((char *)t->items + t->count * t->item_bytes, item, t->item_bytes);
  t->count++;
  return TSR_OK;
}

static tsr_status use_dim(building *b, tsr_dim dim, uint32_t *out_number) {
  if (b->dim_number[dim] == 0) {
    const tsr_dim_data *data = tsr_dim_get(b->ir, dim);
    tsr_dim_desc desc = {.name = data->name,
                         .source = data->from_device ? TSR_DIM_FROM_DEVICE : TSR_DIM_FROM_INPUT,
                         .lo = data->lo,
                         .hi = data->hi};
    TSR_TRY(push(b, &b->dims, &desc));
    b->dim_number[dim] = b->dims.count;
  }
  *out_number = b->dim_number[dim] - 1;
  return TSR_OK;
}

static tsr_status push_steps(building *b, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(b->ir, expr);
  tsr_index_step step = {.op = node.op};
  switch (node.op) {
  case TSR_INDEX_INT:
    step.operand = node.number;
    break;
  case TSR_INDEX_DIM: {
    uint32_t number;
    TSR_TRY(use_dim(b, node.dim, &number));
    step.operand = number;
    break;
  }
  case TSR_INDEX_VALUE:
  case TSR_INDEX_LANE:
    return tsr_fail(b->diag, TSR_ERR_INTERNAL, "a launch depends on a value inside a kernel");
  default:
    TSR_TRY(push_steps(b, node.a));
    TSR_TRY(push_steps(b, node.b));
  }
  return push(b, &b->steps, &step);
}

static tsr_status make_code(building *b, tsr_expr expr, tsr_code *out) {
  out->first = b->steps.count;
  out->count = 0;
  if (expr == 0)
    return TSR_OK;
  TSR_TRY(push_steps(b, expr));
  out->count = b->steps.count - out->first;
  return TSR_OK;
}

/* Gives the buffer the dtype and shape of the type. */
static tsr_status describe_buffer(building *b, const tsr_type_info *type, tsr_buffer_desc *out) {
  out->dtype = type->dtype;
  out->rank = type->rank;
  out->first_dim = b->codes.count;
  for (uint32_t i = 0; i < type->rank; i++) {
    tsr_code code;
    TSR_TRY(make_code(b, type->dims[i], &code));
    TSR_TRY(push(b, &b->codes, &code));
  }
  return TSR_OK;
}

/* What the caller sees of an input or output. */
static tsr_type_info port_type(const building *b, tsr_op op, tsr_value value) {
  const tsr_attr *packed = tsr_op_attr(b->ir, op, "packed");
  const tsr_attr *shape = tsr_op_attr(b->ir, op, "shape");
  tsr_type_info type = *tsr_value_type(b->ir, value);
  if (packed == NULL)
    return type;
  type.dtype = packed->u.dtype;
  type.rank = shape == NULL ? 0 : shape->count;
  type.dims = shape == NULL ? NULL : shape->u.exprs;
  return type;
}

static tsr_status add_buffer(building *b, tsr_buffer_kind kind, uint32_t index, tsr_value value,
                             const tsr_type_info *type, uint32_t *out_number) {
  tsr_buffer_desc buffer = {.kind = kind, .index = index};
  TSR_TRY(describe_buffer(b, type, &buffer));
  *out_number = b->buffers.count;
  b->storage[value] = b->buffers.count + 1;
  return push(b, &b->buffers, &buffer);
}

static tsr_status add_input(building *b, tsr_op op) {
  tsr_port_desc port = {.name = tsr_op_string(b->ir, op, "name")};
  tsr_value value = tsr_op_get(b->ir, op)->results[0];
  tsr_type_info type = port_type(b, op, value);
  TSR_TRY(add_buffer(b, TSR_BUFFER_INPUT, b->inputs.count, value, &type, &port.buffer));
  return push(b, &b->inputs, &port);
}

static tsr_status add_constant(building *b, tsr_op op) {
  tsr_constant_desc constant = {0};
  tsr_value value = tsr_op_get(b->ir, op)->results[0];
  uint32_t number;
  TSR_TRY(tsr_const_bytes(b->ir, op, b->arena, b->diag, &constant.data, &constant.bytes));
  constant.hash = tsr_hash64(constant.data, constant.bytes);
  TSR_TRY(add_buffer(b, TSR_BUFFER_CONSTANT, b->constants.count, value,
                     tsr_value_type(b->ir, value), &number));
  return push(b, &b->constants, &constant);
}

/* The storage becomes the output's: it takes the output's shape, which may differ by a reshape. */
static tsr_status add_output(building *b, tsr_op op) {
  tsr_value value = tsr_op_get(b->ir, op)->operands[0].value;
  tsr_port_desc port = {.name = tsr_op_string(b->ir, op, "name"), .buffer = b->storage[value] - 1};
  tsr_buffer_desc *buffers = b->buffers.items;
  if (b->storage[value] == 0 || buffers[port.buffer].kind != TSR_BUFFER_TEMPORARY)
    return tsr_fail(b->diag, TSR_ERR_INTERNAL, "output '%s' has no storage of its own", port.name);
  tsr_type_info type = port_type(b, op, value);
  buffers[port.buffer].kind = TSR_BUFFER_OUTPUT;
  buffers[port.buffer].index = b->outputs.count;
  TSR_TRY(describe_buffer(b, &type, &buffers[port.buffer]));
  return push(b, &b->outputs, &port);
}

static const tsr_kernel_code *find_code(const building *b, const char *symbol) {
  for (uint32_t i = 0; i < b->parts->kernel_count; i++)
    if (strcmp(b->parts->kernels[i].symbol, symbol) == 0)
      return &b->parts->kernels[i];
  return NULL;
}

/* "MatMul_0, Relu_1" */
static const char *join_origins(building *b, const tsr_op_data *op) {
  size_t bytes = 1;
  for (uint32_t i = 0; i < op->origin_count; i++)
    bytes += strlen(op->origins[i]) + 2;
  char *text = tsr_arena_alloc(b->arena, bytes), *end = text;
  for (uint32_t i = 0; text != NULL && i < op->origin_count; i++) {
    size_t length = strlen(op->origins[i]);
    if (i != 0) {
      memcpy(end, ", ", 2);
      end += 2;
    }
    memcpy(end, op->origins[i], length);
    end += length;
  }
  return text;
}

static tsr_status add_map(building *b, const tsr_kernel_map *map) {
  tsr_map_desc desc = {.argument = map->argument,
                       .dtype = map->dtype,
                       .rank = map->rank,
                       .first_dim = b->codes.count,
                       .swizzle = map->swizzle};
  for (uint32_t i = 0; i < map->rank; i++) {
    tsr_code code;
    desc.box[i] = map->box[i];
    TSR_TRY(make_code(b, map->dims[i], &code));
    TSR_TRY(push(b, &b->codes, &code));
  }
  return push(b, &b->maps, &desc);
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
                            .nodes = join_origins(b, data),
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
    return out_of_memory(b);
  for (uint32_t i = 0; i < code->dim_count; i++) {
    uint32_t dim;
    TSR_TRY(use_dim(b, code->dims[i], &dim));
    TSR_TRY(push(b, &b->kernel_dims, &dim));
  }
  for (uint32_t i = 0; i < code->map_count; i++)
    TSR_TRY(add_map(b, &code->maps[i]));
  *out_number = b->kernels.count;
  b->kernel_number[op] = b->kernels.count + 1;
  return push(b, &b->kernels, &kernel);
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
    TSR_TRY(make_code(b, extents[i], &variant->grid[i]));
  return TSR_OK;
}

static tsr_status add_variant(building *b, const char *symbol, tsr_expr guard) {
  tsr_op kernel = tsr_ir_find_symbol(b->ir, symbol);
  tsr_variant_desc variant = {0};
  if (kernel == 0)
    return tsr_fail(b->diag, TSR_ERR_INTERNAL, "launch of @%s, which does not exist", symbol);
  TSR_TRY(make_code(b, guard, &variant.guard));
  TSR_TRY(add_kernel(b, kernel, &variant.kernel));
  TSR_TRY(add_grid(b, kernel, &variant));
  return push(b, &b->variants, &variant);
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
  launch->first_zeroed = b->arguments.count;
  for (uint32_t i = 0; zero != NULL && i < zero->count; i++) {
    int64_t number = 0;
    if (!tsr_expr_is_int(b->ir, zero->u.exprs[i], &number) || number < 0 ||
        number >= data->result_count)
      return tsr_fail(b->diag, TSR_ERR_INTERNAL, "'zero' of a launch lists no result of it");
    uint32_t buffer = b->storage[data->results[number]] - 1;
    TSR_TRY(push(b, &b->arguments, &buffer));
    launch->zeroed_count++;
  }
  return TSR_OK;
}

static tsr_status add_launch(building *b, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(b->ir, op);
  tsr_launch_desc launch = {.first_variant = b->variants.count,
                            .first_argument = b->arguments.count,
                            .argument_count = data->operand_count + data->result_count};
  for (uint32_t i = 0; i < data->operand_count; i++) {
    uint32_t buffer = b->storage[data->operands[i].value] - 1;
    if (b->storage[data->operands[i].value] == 0)
      return tsr_fail(b->diag, TSR_ERR_INTERNAL, "an operand of @%s has no storage", data->symbol);
    TSR_TRY(push(b, &b->arguments, &buffer));
  }
  for (uint32_t i = 0; i < data->result_count; i++) {
    uint32_t buffer;
    TSR_TRY(add_buffer(b, TSR_BUFFER_TEMPORARY, 0, data->results[i],
                       tsr_value_type(b->ir, data->results[i]), &buffer));
    TSR_TRY(push(b, &b->arguments, &buffer));
  }
  TSR_TRY(add_zeroed(b, op, &launch));
  TSR_TRY(add_variants(b, op));
  launch.variant_count = b->variants.count - launch.first_variant;
  b->open.launch_count++;
  return push(b, &b->launches, &launch);
}

static tsr_status close_segment(building *b) {
  TSR_TRY(push(b, &b->segments, &b->open));
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
  TSR_TRY(push(b, &b->reads, read));
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
  TSR_TRY(use_dim(b, node.dim, &read.dim));
  b->storage[data->results[0]] = source;
  return add_read(b, &read);
}

static tsr_status refuse(building *b, tsr_op op, const char *why) {
  const tsr_op_data *data = tsr_op_get(b->ir, op);
  (void)tsr_fail(b->diag, TSR_ERR_UNSUPPORTED, "%s", why);
  tsr_diag_set_node(b->diag, data->origin_count > 0 ? data->origins[0] : NULL,
                    tsr_opcode_info(data->code)->text);
  tsr_diag_set_position(b->diag, data->line, 0);
  return TSR_ERR_UNSUPPORTED;
}

static tsr_status add_op(building *b, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(b->ir, op);
  switch (data->code) {
  case TSR_OP_INPUT:
    return add_input(b, op);
  case TSR_OP_CONST:
    return add_constant(b, op);
  case TSR_OP_OUTPUT:
    if (tsr_op_attr(b->ir, op, "alias") != NULL)
      return refuse(b, op, "outputs that share an input's memory have no runtime yet");
    return add_output(b, op);
  case TSR_OP_RESHAPE:
    b->storage[data->results[0]] = b->storage[data->operands[0].value];
    return TSR_OK;
  case TSR_OP_LAUNCH:
    if (tsr_op_attr(b->ir, op, "alias") != NULL)
      return refuse(b, op, "launches with 'alias' have no runtime yet");
    return add_launch(b, op);
  case TSR_OP_RESIZE_DIM:
    return add_resize(b, op);
  default:
    return refuse(b, op, "this op has no kernel on this target yet");
  }
}

/* Every dim that the program uses must be the whole extent of some input, or be computed by it. */
static tsr_status check_dims(const building *b) {
  const tsr_dim_desc *dims = b->dims.items;
  const tsr_port_desc *inputs = b->inputs.items;
  const tsr_buffer_desc *buffers = b->buffers.items;
  const tsr_code *codes = b->codes.items;
  const tsr_index_step *steps = b->steps.items;
  for (uint32_t d = 0; d < b->dims.count; d++) {
    bool bound = dims[d].source == TSR_DIM_FROM_DEVICE;
    for (uint32_t i = 0; i < b->inputs.count && !bound; i++) {
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

static void hand_over(const building *b, tsr_program *out) {
  out->target = b->parts->target;
  out->cpu_features = b->parts->cpu_features;
  out->precision = b->parts->precision;
  out->producer = b->parts->producer;
  out->image = b->parts->image;
  out->image_bytes = b->parts->image_bytes;
#define HAND_OVER(items_name, count_name)                                                          \
  out->items_name = b->items_name.items;                                                           \
  out->count_name = b->items_name.count
  HAND_OVER(steps, step_count);
  HAND_OVER(codes, code_count);
  HAND_OVER(dims, dim_count);
  HAND_OVER(buffers, buffer_count);
  HAND_OVER(inputs, input_count);
  HAND_OVER(outputs, output_count);
  HAND_OVER(constants, constant_count);
  HAND_OVER(kernels, kernel_count);
  HAND_OVER(kernel_dims, kernel_dim_count);
  HAND_OVER(maps, map_count);
  HAND_OVER(variants, variant_count);
  HAND_OVER(launches, launch_count);
  HAND_OVER(arguments, argument_count);
  HAND_OVER(segments, segment_count);
  HAND_OVER(reads, read_count);
#undef HAND_OVER
}

static void prepare(building *b) {
  b->steps.item_bytes = sizeof(tsr_index_step);
  b->codes.item_bytes = sizeof(tsr_code);
  b->dims.item_bytes = sizeof(tsr_dim_desc);
  b->buffers.item_bytes = sizeof(tsr_buffer_desc);
  b->inputs.item_bytes = b->outputs.item_bytes = sizeof(tsr_port_desc);
  b->constants.item_bytes = sizeof(tsr_constant_desc);
  b->kernels.item_bytes = sizeof(tsr_kernel_desc);
  b->kernel_dims.item_bytes = b->arguments.item_bytes = sizeof(uint32_t);
  b->maps.item_bytes = sizeof(tsr_map_desc);
  b->variants.item_bytes = sizeof(tsr_variant_desc);
  b->launches.item_bytes = sizeof(tsr_launch_desc);
  b->segments.item_bytes = sizeof(tsr_segment_desc);
  b->reads.item_bytes = sizeof(tsr_dim_read);
}

tsr_status tsr_program_build(tsr_ir *ir, tsr_op graph, const tsr_program_parts *parts,
                             tsr_arena *arena, tsr_diag *diag, tsr_program *out_program) {
  memset(out_program, 0, sizeof *out_program);
  building b = {.ir = ir, .parts = parts, .arena = arena, .diag = diag};
  prepare(&b);
  b.storage = tsr_arena_alloc_array(arena, tsr_value_count(ir) + 1, sizeof *b.storage);
  b.kernel_number = tsr_arena_alloc_array(arena, tsr_op_count(ir) + 1, sizeof *b.kernel_number);
  b.dim_number = tsr_arena_alloc_array(arena, tsr_dim_count(ir) + 1, sizeof *b.dim_number);
  if (b.storage == NULL || b.kernel_number == NULL || b.dim_number == NULL)
    return out_of_memory(&b);
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
