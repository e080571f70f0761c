/* Calls of parts. A part's exec stays planned and linked from call to call as long as its dims do
 * not change; inputs and outputs lie where the host's tensors do. */
#include "runtime/host/host.h"
#include <string.h>

/* The part's error is the host program's. */
static tsr_status failed(host_exec *self, const tsr_exec *part, tsr_status status) {
  return tsr_exec_fail(self->exec, status, "%s", part->last_error);
}

static void plan_anew(tsr_exec *part) {
  part->inputs_changed = true;
  for (uint32_t i = 0; i < part->stage_count; i++)
    part->stages[i].planned = part->stages[i].linked = false;
}

static tsr_status set_dims(host_exec *self, host_part *part) {
  tsr_exec *exec = part->exec;
  for (uint32_t i = 0; i < exec->program->dim_count; i++) {
    int64_t value;
    if (exec->program->dims[i].source != TSR_DIM_FROM_CALLER)
      continue;
    value = self->exec->dims[part->dims[i]];
    if (part->dims_known && exec->dims[i] == value)
      continue;
    plan_anew(exec);
    exec->dims[i] = value;
    part->dims_known = false; /* should this one be refused */
    if (tsr_exec_check_dim_range(exec, i, value, "a call") != TSR_OK)
      return failed(self, exec, TSR_ERR_SHAPE);
  }
  part->dims_known = true;
  return TSR_OK;
}

static tsr_status set_input(host_exec *self, tsr_exec *part, uint32_t number,
                            const host_tensor *tensor) {
  uint32_t buffer = part->program->inputs[number].buffer;
  uint32_t rank = part->program->buffers[buffer].rank;
  exec_binding *binding = &part->inputs[number];
  if (tensor->rank != rank)
    return tsr_exec_fail(self->exec, TSR_ERR_SHAPE, "operand number %u: rank is %u, must be %u",
                         number, tensor->rank, rank);
  if (!binding->bound ||
      (rank != 0 && memcmp(binding->shape, tensor->shape, rank * sizeof binding->shape[0]) != 0)) {
    binding->bound = binding->in_place = true;
    binding->place = EXEC_DEVICE;
    memcpy(binding->shape, tensor->shape, rank * sizeof binding->shape[0]);
    binding->bytes = tensor->bytes;
    part->inputs_changed = true;
  }
  if (binding->data != tensor->data) {
    binding->data = tensor->data;
    tsr_exec_repoint(part, buffer, tensor->data);
  }
  return TSR_OK;
}

/* The operand whose memory the output takes over: nothing else holds it, and nothing needs what is
 * in it behind the call. */
static host_tensor *take_operand(host_exec *self, const host_part *state, uint32_t number) {
  const tsr_host_step *step = &self->program->host_steps[state->step];
  const uint32_t *operands = self->program->arguments + step->first_operand;
  const exec_output *output = &state->exec->outputs[number];
  uint32_t alias = state->exec->program->outputs[number].alias, uses = 0;
  host_tensor *tensor;
  if (alias == 0 || !tsr_host_dies(self, state->step, operands[alias - 1]))
    return NULL;
  tensor = host_tensor_at(self, operands[alias - 1]);
  for (uint32_t i = 0; i < step->operand_count; i++)
    uses += operands[i] == operands[alias - 1];
  if (uses != 1 || tensor->object.references != 1 || !(tensor->owns || tensor->writable) ||
      tensor->bytes != output->bytes ||
      memcmp(tensor->shape, output->shape, tensor->rank * sizeof tensor->shape[0]) != 0)
    return NULL;
  tensor->scalar_known = false;
  tensor->host_data = NULL;
  (void)tsr_host_retain(&tensor->object);
  return tensor;
}

tsr_status tsr_host_place_output(tsr_exec *part, uint32_t number, void **out_pointer) {
  host_exec *self = part->parent->host;
  host_part *state = &self->parts[part->part];
  const tsr_buffer_desc *buffer = &part->program->buffers[part->program->outputs[number].buffer];
  uint32_t result =
      self->program->arguments[self->program->host_steps[state->step].first_result + number];
  host_tensor *tensor = take_operand(self, state, number);
  tsr_status status = TSR_OK;
  *out_pointer = NULL;
  if (tensor == NULL)
    status = tsr_host_new_tensor(self, &self->slots[result], (tsr_dtype)buffer->dtype, buffer->rank,
                                 part->outputs[number].shape, &tensor);
  if (status != TSR_OK)
    return tsr_exec_fail(part, status, "%s", self->exec->last_error);
  state->placed[number] = tensor;
  *out_pointer = tensor->data;
  return TSR_OK;
}

/* One set of events per part: they are written before the next call. */
static tsr_status run_traced(host_exec *self, tsr_exec *part) {
  tsr_trace *trace = &self->exec->trace;
  tsr_status status;
  part->trace = *trace;
  part->trace.events = part->trace_events;
  part->trace.capacity = part->program->launch_count;
  part->trace.count = 0;
  status = part->ops->begin(part);
  if (status == TSR_OK)
    status = tsr_exec_run_part(part);
  if (status == TSR_OK)
    status = part->ops->end(part);
  if (status == TSR_OK)
    status = part->ops->wait(part);
  if (status == TSR_OK && tsr_trace_flush(&part->trace) != TSR_OK)
    status = tsr_exec_fail(part, TSR_ERR_IO, "cannot write the trace file");
  trace->written = part->trace.written;
  memset(&part->trace, 0, sizeof part->trace);
  return status;
}

static void take_results(host_exec *self, const host_part *part, const uint32_t *results) {
  for (uint32_t i = 0; i < part->exec->program->output_count; i++) {
    self->registers[results[i]] = &part->placed[i]->object;
    part->placed[i] = NULL;
  }
  for (uint32_t i = 0; i < part->exec->program->read_count; i++) {
    uint32_t dim = part->exec->program->reads[i].dim;
    if (part->dims[dim] != UINT32_MAX)
      self->exec->dims[part->dims[dim]] = part->exec->dims[dim];
  }
}

tsr_status tsr_host_call(host_exec *self, const tsr_host_step *step) {
  const uint32_t *arguments = self->program->arguments;
  host_part *part = &self->parts[step->part];
  tsr_exec *exec = part->exec;
  tsr_status status;
  part->step = (uint32_t)(step - self->program->host_steps);
  TSR_TRY(set_dims(self, part));
  for (uint32_t i = 0; i < step->operand_count; i++)
    TSR_TRY(set_input(self, exec, i, host_tensor_at(self, arguments[step->first_operand + i])));
  status = self->exec->trace.file != NULL ? run_traced(self, exec) : tsr_exec_run_part(exec);
  if (status != TSR_OK)
    return failed(self, exec, status);
  take_results(self, part, arguments + step->first_result);
  return TSR_OK;
}
