#include "runtime/cpu_features.h"
#include "runtime/cuda/cuda.h"
#include "runtime/module/module.h"
#include "runtime/module/program_check.h"
#include <string.h>

/* Longer formulas are not spelled out. */
enum { LONGEST_FORMULA = 31 };

static bool is_infix(int64_t op) {
  return op == TSR_INDEX_ADD || op == TSR_INDEX_MUL || (op >= TSR_INDEX_LT && op <= TSR_INDEX_OR);
}

static const char *op_text(int64_t op) {
  static const char *const texts[] = {
#define TSR_INDEX_TEXT(name, text, operands) [TSR_INDEX_##name] = text,
      TSR_INDEX_OP_LIST(TSR_INDEX_TEXT)
#undef TSR_INDEX_TEXT
  };
  return texts[op];
}

/* NULL when memory is out. */
static const char *formula_text(tsr_arena *arena, const tsr_program *program, tsr_code code) {
  const char *stack[LONGEST_FORMULA] = {""};
  uint32_t depth = 0;
  size_t length;
  if (code.count > LONGEST_FORMULA)
    return "(long formula)";
  for (uint32_t i = 0; i < code.count; i++) {
    const tsr_index_step *step = &program->steps[code.first + i];
    const char *text;
    if (step->op == TSR_INDEX_INT) {
      text = tsr_arena_printf(arena, "%lld", (long long)step->operand);
    } else if (step->op == TSR_INDEX_DIM) {
      text = program->dims[step->operand].name;
    } else {
      const char *a = stack[depth - 2], *b = stack[depth - 1];
      text = is_infix(step->op) ? tsr_arena_printf(arena, "(%s %s %s)", a, op_text(step->op), b)
                                : tsr_arena_printf(arena, "%s(%s, %s)", op_text(step->op), a, b);
      depth -= 2;
    }
    if (text == NULL)
      return NULL;
    stack[depth++] = text;
  }
  length = strlen(stack[0]);
  if (code.count > 1 && stack[0][0] == '(' &&
      is_infix(program->steps[code.first + code.count - 1].op))
    return tsr_arena_string(arena, stack[0] + 1, length - 2);
  return stack[0];
}

/* `rank` extents from the expression number `first_dim` on. */
static tsr_status describe_dims(tsr_module *module, uint32_t rank, uint32_t first_dim,
                                tsr_port_info *info) {
  const tsr_program *program = &module->programs[module->selected];
  int64_t *dims = (int64_t *)tsr_arena_alloc_array(&module->arena, rank, sizeof *dims);
  const char **texts = (const char **)tsr_arena_alloc_array(&module->arena, rank, sizeof *texts);
  if (dims == NULL || texts == NULL)
    return TSR_ERR_OUT_OF_MEMORY;
  for (uint32_t i = 0; i < rank; i++) {
    tsr_code code = program->codes[first_dim + i];
    if (tsr_index_eval(program->steps + code.first, code.count, NULL, 0, &dims[i]) != TSR_OK ||
        dims[i] < 0)
      dims[i] = -1;
    texts[i] = dims[i] >= 0 ? tsr_arena_printf(&module->arena, "%lld", (long long)dims[i])
                            : formula_text(&module->arena, program, code);
    if (texts[i] == NULL)
      return TSR_ERR_OUT_OF_MEMORY;
  }
  info->rank = rank;
  info->dims = dims;
  info->dim_texts = texts;
  return TSR_OK;
}

static tsr_status describe_port(tsr_module *module, const tsr_port_desc *port,
                                tsr_port_info *out_info) {
  const tsr_program *program = &module->programs[module->selected];
  const tsr_buffer_desc *buffer = &program->buffers[port->buffer];
  out_info->name = port->name;
  out_info->dtype = (tsr_dtype)buffer->dtype;
  return describe_dims(module, buffer->rank, buffer->first_dim, out_info);
}

/* Of a host program: as its value says. */
static tsr_status describe_value(tsr_module *module, const tsr_port_desc *port, uint32_t number,
                                 tsr_port_info *out_info) {
  static const tsr_port_kind kinds[] = {[TSR_HOST_TENSOR] = TSR_PORT_TENSOR,
                                        [TSR_HOST_LIST] = TSR_PORT_LIST,
                                        [TSR_HOST_MAYBE] = TSR_PORT_OPTIONAL,
                                        [TSR_HOST_MAYBE_LIST] = TSR_PORT_OPTIONAL_LIST};
  const tsr_host_value *value = &module->programs[module->selected].host_values[number];
  out_info->name = port->name;
  out_info->dtype = (tsr_dtype)value->dtype;
  out_info->kind = kinds[value->kind];
  out_info->is_text = (int32_t)value->text;
  out_info->rank = TSR_ANY_RANK;
  return value->rank != TSR_HOST_ANY_RANK
             ? describe_dims(module, value->rank, value->first_dim, out_info)
             : TSR_OK;
}

/* `first_value` among the arguments of a host program. */
static tsr_status describe_ports(tsr_module *module, const tsr_port_desc *ports, uint32_t count,
                                 uint32_t first_value, const tsr_port_info **out_infos) {
  const tsr_program *program = &module->programs[module->selected];
  tsr_port_info *infos =
      (tsr_port_info *)tsr_arena_alloc_array(&module->arena, count, sizeof *infos);
  if (infos == NULL)
    return TSR_ERR_OUT_OF_MEMORY;
  for (uint32_t i = 0; i < count; i++) {
    infos[i].alias = ports[i].alias == 0 ? NULL : program->inputs[ports[i].alias - 1].name;
    TSR_TRY(
        program->host_region_count == 0
            ? describe_port(module, &ports[i], &infos[i])
            : describe_value(module, &ports[i], program->arguments[first_value + i], &infos[i]));
  }
  *out_infos = infos;
  return TSR_OK;
}

/* Several constants, of the program and of its parts, may be the same weight. */
static tsr_status count_weight_bytes(tsr_module *module) {
  const tsr_program *program = &module->programs[module->selected];
  bool *seen = (bool *)tsr_arena_alloc_array(&module->arena, module->header->weight_count, 1);
  if (seen == NULL)
    return TSR_ERR_OUT_OF_MEMORY;
  for (uint32_t p = 0; p <= program->part_count; p++) {
    const tsm_table *table = &module->records[module->selected + p].constants;
    const tsm_constant *constants =
        (const tsm_constant *)((const unsigned char *)module->header + table->offset);
    for (uint32_t i = 0; i < program[p].constant_count; i++) {
      uint32_t weight = constants[i].weight;
      module->weight_bytes += seen[weight] ? 0 : module->weights[weight].bytes;
      seen[weight] = true;
    }
  }
  return TSR_OK;
}

tsr_status tsr_module_describe_ports(tsr_module *module, tsr_diag *diag) {
  const tsr_program *program = &module->programs[module->selected];
  const tsr_host_region *model = program->host_region_count != 0 ? program->host_regions : NULL;
  uint32_t first_input = model != NULL ? model->first_param : 0;
  uint32_t first_output = model != NULL ? model->first_yield : 0;
  if (describe_ports(module, program->inputs, program->input_count, first_input, &module->inputs) !=
          TSR_OK ||
      describe_ports(module, program->outputs, program->output_count, first_output,
                     &module->outputs) != TSR_OK)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while loading a module");
  return TSR_OK;
}

tsr_status tsr_module_describe(tsr_module *module, tsr_diag *diag) {
  TSR_TRY(tsr_module_describe_ports(module, diag));
  if (count_weight_bytes(module) != TSR_OK)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while loading a module");
  return TSR_OK;
}

const tsr_program *tsr_module_program(const tsr_module *module) {
  return &module->programs[module->selected];
}

/* Function and data pointers have the same size wherever machine code is mapped. */
tsr_cpu_kernel tsr_module_kernel_function(const tsr_module *module, uint32_t kernel) {
  const unsigned char *code = (const unsigned char *)module->code;
  const void *entry = code + tsr_module_program(module)->kernels[kernel].entry;
  tsr_cpu_kernel function;
  memcpy(&function, &entry, sizeof function);
  return function;
}

/* The number of the record of target number `index`, or the records' count. */
static uint32_t find_target(const tsr_module *module, uint32_t index) {
  uint32_t at = 0;
  for (; index != 0 && at < module->header->program_count; index--)
    at += 1 + module->programs[at].part_count;
  return at;
}

static uint32_t count_targets(const tsr_module *module) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < module->header->program_count; i += 1 + module->programs[i].part_count)
    count++;
  return count;
}

static uint64_t code_bytes(const tsr_program *program) {
  uint64_t bytes = program->image_bytes;
  for (uint32_t i = 0; i < program->part_count; i++)
    bytes += program->parts[i].image_bytes;
  return bytes;
}

void tsr_module_get_info(const tsr_module *module, tsr_module_info *out_info) {
  const tsr_program *p = tsr_module_program(module);
  out_info->target = p->target;
  out_info->precision = p->precision;
  out_info->producer = p->producer;
  out_info->target_count = count_targets(module);
  out_info->input_count = p->input_count;
  out_info->output_count = p->output_count;
  out_info->dim_count = p->dim_count;
  out_info->kernel_count = p->kernel_count;
  out_info->launch_count = p->launch_count;
  out_info->segment_count = p->segment_count;
  for (uint32_t i = 0; i < p->part_count; i++) {
    out_info->kernel_count += p->parts[i].kernel_count;
    out_info->launch_count += p->parts[i].launch_count;
    out_info->segment_count += p->parts[i].segment_count;
  }
  out_info->weight_bytes = module->weight_bytes;
  out_info->module_bytes = module->size;
  out_info->code_bytes = code_bytes(p);
  out_info->device = (DLDevice){tsr_program_is_cuda(p) ? kDLCUDA : kDLCPU, 0};
  out_info->device_name = "";
  if (module->cuda != NULL) {
    out_info->device.device_id = module->cuda->device->ordinal;
    out_info->device_name = module->cuda->device->name;
  }
}

tsr_status tsr_module_get_target(const tsr_module *module, uint32_t index,
                                 tsr_target_info *out_info) {
  const tsr_program *program;
  memset(out_info, 0, sizeof *out_info);
  index = find_target(module, index);
  if (index >= module->header->program_count)
    return TSR_ERR_ARGUMENT;
  program = &module->programs[index];
  out_info->target = program->target;
  out_info->cpu_features = program->cpu_features;
  for (uint32_t i = 0; i < program->part_count; i++)
    out_info->cpu_features |= program->parts[i].cpu_features;
  out_info->code_bytes = code_bytes(program);
  out_info->selected = module->runnable && index == module->selected;
  return TSR_OK;
}

static tsr_status get_port(const tsr_port_info *ports, uint32_t count, uint32_t index,
                           tsr_port_info *out_info) {
  memset(out_info, 0, sizeof *out_info);
  if (index >= count)
    return TSR_ERR_ARGUMENT;
  *out_info = ports[index];
  return TSR_OK;
}

tsr_status tsr_module_get_input(const tsr_module *module, uint32_t index, tsr_port_info *out_info) {
  return get_port(module->inputs, tsr_module_program(module)->input_count, index, out_info);
}

tsr_status tsr_module_get_output(const tsr_module *module, uint32_t index,
                                 tsr_port_info *out_info) {
  return get_port(module->outputs, tsr_module_program(module)->output_count, index, out_info);
}

tsr_status tsr_module_get_dim(const tsr_module *module, uint32_t index, tsr_dim_info *out_info) {
  const tsr_program *program = tsr_module_program(module);
  memset(out_info, 0, sizeof *out_info);
  if (index >= program->dim_count)
    return TSR_ERR_ARGUMENT;
  out_info->name = program->dims[index].name;
  out_info->lo = program->dims[index].lo;
  out_info->hi = program->dims[index].hi;
  out_info->from_results = program->dims[index].source != TSR_DIM_FROM_INPUT;
  return TSR_OK;
}

tsr_status tsr_module_get_kernel(const tsr_module *module, uint32_t index,
                                 tsr_kernel_info *out_info) {
  const tsr_program *program = tsr_module_program(module), *behind;
  memset(out_info, 0, sizeof *out_info);
  behind = program + program->part_count; /* the last of the parts, which follow it */
  while (index >= program->kernel_count && program < behind)
    index -= program++->kernel_count;
  if (index >= program->kernel_count)
    return TSR_ERR_ARGUMENT;
  out_info->name = program->kernels[index].name;
  out_info->nodes = program->kernels[index].nodes;
  out_info->scratch_bytes = program->kernels[index].scratch_bytes;
  out_info->symbol = program->kernels[index].symbol != NULL ? program->kernels[index].symbol : "";
  out_info->threads = program->kernels[index].threads;
  out_info->shared_bytes = program->kernels[index].shared_bytes;
  out_info->cluster = program->kernels[index].cluster;
  out_info->cooperative = (int32_t)program->kernels[index].cooperative;
  return TSR_OK;
}

static tsr_status find_port(const tsr_port_info *ports, uint32_t count, const char *name,
                            uint32_t *out_index) {
  *out_index = 0;
  for (uint32_t i = 0; name != NULL && i < count; i++) {
    if (strcmp(ports[i].name, name) == 0) {
      *out_index = i;
      return TSR_OK;
    }
  }
  return TSR_ERR_NOT_FOUND;
}

tsr_status tsr_module_find_input(const tsr_module *module, const char *name, uint32_t *out_index) {
  return find_port(module->inputs, tsr_module_program(module)->input_count, name, out_index);
}

tsr_status tsr_module_find_output(const tsr_module *module, const char *name, uint32_t *out_index) {
  return find_port(module->outputs, tsr_module_program(module)->output_count, name, out_index);
}

void tsr_module_feature_text(uint64_t cpu_features, char *out, size_t out_size) {
  tsr_cpu_feature_names(cpu_features, out, out_size);
}
