#include "runtime/host/host.h"
#include "runtime/module/program_check.h"
#include <string.h>

static tsr_status out_of_memory(host_exec *self) {
  return tsr_exec_fail(self->exec, TSR_ERR_OUT_OF_MEMORY, "out of memory while creating an exec");
}

static bool create_tables(host_exec *self) {
  const tsr_program *p = self->program;
  tsr_arena *arena = &self->exec->memory;
#define TABLE(field, count)                                                                        \
  ((self->field) = tsr_arena_alloc_array(arena, (count), sizeof(*self->field)))
  return TABLE(parts, p->part_count) != NULL && TABLE(registers, p->host_value_count) != NULL &&
         TABLE(constants, p->host_value_count) != NULL &&
         TABLE(slots, p->host_value_count) != NULL && TABLE(yields, p->host_region_count) != NULL &&
         TABLE(inputs, p->input_count) != NULL && TABLE(outputs, p->output_count) != NULL;
#undef TABLE
}

static tsr_status create_yields(host_exec *self) {
  for (uint32_t i = 0; i < self->program->host_region_count; i++) {
    self->yields[i] = (host_object **)tsr_arena_alloc_array(
        &self->exec->memory, self->program->host_regions[i].yield_count, sizeof(host_object *));
    if (self->yields[i] == NULL)
      return out_of_memory(self);
  }
  return TSR_OK;
}

/* All on the same stream or with the same threads: the parent's. */
static tsr_status create_parts(host_exec *self, const tsr_exec_options *options) {
  const uint32_t *const *dims = tsr_host_part_dims(self->program, &self->exec->memory);
  tsr_exec_options part_options = *options;
  if (dims == NULL)
    return out_of_memory(self);
  part_options.allocator = self->exec->allocator;
  self->exec->ops->share(self->exec, &part_options);
  for (uint32_t i = 0; i < self->program->part_count; i++) {
    host_part *part = &self->parts[i];
    part->dims = dims[i];
    part->placed = (host_tensor **)tsr_arena_alloc_array(
        &self->exec->memory, self->program->parts[i].output_count, sizeof(host_tensor *));
    if (part->placed == NULL)
      return out_of_memory(self);
    TSR_TRY(tsr_exec_create_part(self->exec, i, &part_options, &part->exec));
  }
  return TSR_OK;
}

static tsr_status create_constants(host_exec *self) {
  const tsr_program *p = self->program;
  for (uint32_t i = 0; i < p->host_constant_count; i++) {
    const tsr_host_constant *constant = &p->host_constants[i];
    const tsr_host_value *value = &p->host_values[constant->value];
    int64_t shape[TSR_MAX_RANK];
    host_tensor *tensor;
    void *data;
    for (uint32_t d = 0; d < value->rank; d++)
      TSR_TRY(tsr_host_eval(self, p->codes[value->first_dim + d], "a constant", &shape[d]));
    data = (void *)(uintptr_t)self->exec->ops->constant(self->exec, constant->constant);
    TSR_TRY(tsr_host_new_alias(self, &self->slots[constant->value], (tsr_dtype)value->dtype,
                               value->rank, shape, data, &tensor));
    tensor->host_data = p->constants[constant->constant].data;
    self->registers[constant->value] = &tensor->object;
    self->constants[constant->value] = true;
  }
  return TSR_OK;
}

static bool has_texts(const tsr_program *p) {
  for (uint32_t i = 0; i < p->host_value_count; i++)
    if (p->host_values[i].text != 0)
      return true;
  for (uint32_t i = 0; i < p->host_step_count; i++)
    if (p->host_steps[i].op >= TSR_HOST_TEXT_NORMALIZE)
      return true;
  return p->text_count != 0;
}

tsr_status tsr_host_create(tsr_exec *exec, const tsr_exec_options *options) {
  host_exec *self = (host_exec *)tsr_arena_alloc(&exec->memory, sizeof *self);
  if (self == NULL)
    return tsr_exec_fail(exec, TSR_ERR_OUT_OF_MEMORY, "out of memory while creating an exec");
  self->exec = exec;
  self->program = exec->program;
  tsr_arena_init(&self->run_memory, exec->allocator);
  tsr_arena_init(&self->step_memory, exec->allocator);
  if (!create_tables(self))
    return out_of_memory(self);
  exec->host = self;
  TSR_TRY(create_yields(self));
  TSR_TRY(tsr_host_find_last_uses(self));
  TSR_TRY(create_parts(self, options));
  TSR_TRY(create_constants(self));
  if (has_texts(self->program) && tsr_texts_create(self->program->texts, self->program->text_count,
                                                   exec->allocator, &self->texts) != TSR_OK)
    return out_of_memory(self);
  return TSR_OK;
}

/* The device was entered, if it could be; nothing is under way. */
void tsr_host_destroy(tsr_exec *exec) {
  host_exec *self = exec->host;
  const tsr_allocator *allocator = exec->allocator;
  if (self == NULL)
    return;
  for (uint32_t i = 0; i < self->program->part_count; i++)
    tsr_exec_destroy(self->parts[i].exec);
  tsr_host_forget_outputs(self);
  for (uint32_t i = 0; i < self->program->host_value_count; i++)
    tsr_host_clear(self, i);
  for (uint32_t i = 0; i < self->program->host_value_count; i++)
    tsr_host_empty_slot(self, &self->slots[i]);
  tsr_host_empty_slot(self, &self->copies);
  for (uint32_t i = 0; i < self->program->output_count; i++)
    exec->ops->close_view(exec, &self->outputs[i].view);
  for (uint32_t i = 0; i < self->program->input_count; i++)
    allocator->release(allocator->context, self->inputs[i].items,
                       self->inputs[i].capacity * sizeof *self->inputs[i].items);
  tsr_texts_destroy(self->texts);
  tsr_arena_reset(&self->run_memory);
  tsr_arena_reset(&self->step_memory);
}

tsr_status tsr_host_prepare_trace(tsr_exec *exec) {
  for (uint32_t i = 0; exec->host != NULL && i < exec->program->part_count; i++) {
    tsr_exec *part = exec->host->parts[i].exec;
    uint32_t launches = part->program->launch_count;
    tsr_status status;
    if (part->trace_events == NULL)
      part->trace_events = (tsr_trace_event *)tsr_arena_alloc_array(&part->memory, launches,
                                                                    sizeof *part->trace_events);
    if (part->trace_events == NULL)
      return tsr_exec_fail(exec, TSR_ERR_OUT_OF_MEMORY, "no memory for a trace");
    TSR_TRY(exec->ops->enter(exec));
    status = part->ops->set_trace(part, launches);
    exec->ops->leave(exec);
    if (status != TSR_OK)
      return tsr_exec_fail(exec, status, "%s", part->last_error);
  }
  return TSR_OK;
}

/* Parts share one arena. */
void tsr_host_add_stats(const tsr_exec *exec, tsr_exec_stats *inout_stats) {
  if (exec->host != NULL)
    inout_stats->persistent_bytes += exec->host->tensor_bytes;
  for (uint32_t i = 0; exec->host != NULL && i < exec->program->part_count; i++) {
    tsr_exec_stats part;
    if (exec->host->parts[i].exec == NULL)
      continue;
    tsr_exec_get_stats(exec->host->parts[i].exec, &part);
    if (part.arena_bytes > inout_stats->arena_bytes)
      inout_stats->arena_bytes = part.arena_bytes;
    inout_stats->persistent_bytes += part.persistent_bytes;
    inout_stats->scratch_bytes += part.scratch_bytes;
    inout_stats->temporary_bytes += part.temporary_bytes;
    inout_stats->launches += part.launches;
    inout_stats->kept_bytes += part.kept_bytes;
    inout_stats->plans += part.plans;
    inout_stats->graph_captures += part.graph_captures;
    inout_stats->graph_updates += part.graph_updates;
    inout_stats->graph_launches += part.graph_launches;
  }
}
