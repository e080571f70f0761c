#include "runtime/clock.h"
#include "runtime/exec/exec.h"
#include "runtime/host/host.h"
#include <stdio.h>
#include <string.h>

tsr_trace_event *tsr_exec_trace(tsr_exec *exec, const exec_launch *launch) {
  const tsr_kernel_desc *kernel = &exec->program->kernels[launch->kernel];
  tsr_trace_event *event = &exec->trace.events[exec->trace.count++];
  event->name = kernel->name;
  event->nodes = kernel->nodes;
  event->launch = (uint32_t)(launch - exec->launches);
  event->variant = launch->variant;
  event->tasks = launch->tasks;
  return event;
}

/* Where the element lies that gives a dim. */
static tsr_status find_element(tsr_exec *exec, const tsr_dim_read *read, const void **out_place) {
  const tsr_program *p = exec->program;
  int64_t shape[TSR_MAX_RANK];
  uint64_t bytes;
  char what[300];
  (void)snprintf(what, sizeof what, "the result that gives dim '%.240s'", p->dims[read->dim].name);
  TSR_TRY(tsr_exec_shape(exec, &p->buffers[read->buffer], what, shape, &bytes));
  if (read->element >= bytes / sizeof(int64_t))
    return tsr_exec_fail(exec, TSR_ERR_SHAPE, "%s has %llu elements, number %llu is wanted", what,
                         (unsigned long long)(bytes / sizeof(int64_t)),
                         (unsigned long long)read->element);
  *out_place =
      (const unsigned char *)exec->buffers[read->buffer].pointer + read->element * sizeof(int64_t);
  return TSR_OK;
}

/* A dim that can only be 0 is the compiler's way to check data: its name says what is wrong. */
static tsr_status check_computed(tsr_exec *exec, uint32_t dim, int64_t value) {
  const tsr_dim_desc *desc = &exec->program->dims[dim];
  if (value >= desc->lo && value <= desc->hi)
    return TSR_OK;
  if (desc->lo == 0 && desc->hi == 0)
    return tsr_exec_fail(exec, TSR_ERR_SHAPE, "%s", desc->name);
  if (value < 0)
    return tsr_exec_fail(exec, TSR_ERR_SHAPE, "dim '%s' = %lld is negative", desc->name,
                         (long long)value);
  return tsr_exec_fail(exec, TSR_ERR_SHAPE, "dim '%s' = %lld is outside %lld..%lld", desc->name,
                       (long long)value, (long long)desc->lo, (long long)desc->hi);
}

/* What follows is planned anew only if the value changed. */
static tsr_status set_dim(tsr_exec *exec, uint32_t dim, int64_t value, uint32_t stage) {
  TSR_TRY(check_computed(exec, dim, value));
  if (value == exec->dims[dim])
    return TSR_OK;
  exec->dims[dim] = value;
  for (uint32_t i = stage + 1; i < exec->stage_count; i++)
    exec->stages[i].planned = exec->stages[i].linked = false;
  return TSR_OK;
}

static tsr_status run_reads(tsr_exec *exec, uint32_t index) {
  const exec_stage *stage = &exec->stages[index];
  const tsr_segment_desc *segment;
  const tsr_dim_read *reads;
  if (stage->segment_count == 0)
    return TSR_OK;
  segment = &exec->program->segments[stage->first_segment + stage->segment_count - 1];
  reads = exec->program->reads + segment->first_read;
  if (segment->read_count == 0)
    return TSR_OK;
  for (uint32_t i = 0; i < segment->read_count; i++)
    TSR_TRY(find_element(exec, &reads[i], &exec->read_places[i]));
  TSR_TRY(exec->ops->read(exec, exec->read_places, segment->read_count, exec->read_values));
  for (uint32_t i = 0; i < segment->read_count; i++)
    TSR_TRY(set_dim(exec, reads[i].dim, exec->read_values[i], index));
  return TSR_OK;
}

static bool overlap(const exec_binding *a, const exec_binding *b) {
  uintptr_t from = (uintptr_t)a->data, other = (uintptr_t)b->data;
  return a->bound && b->bound && a->bytes != 0 && b->bytes != 0 && from < other + b->bytes &&
         other < from + a->bytes;
}

/* An output may be bound to the memory of the input that it updates, to exactly that, and to no
 * other's. */
static tsr_status check_overlaps(tsr_exec *exec) {
  const tsr_program *p = exec->program;
  for (uint32_t o = 0; o < p->output_count; o++)
    for (uint32_t i = 0; exec->outputs[o].caller.bound && i < p->input_count; i++)
      if (overlap(&exec->outputs[o].caller, &exec->inputs[i]) &&
          (p->outputs[o].alias != i + 1 || exec->outputs[o].caller.data != exec->inputs[i].data))
        return tsr_exec_fail(exec, TSR_ERR_ARGUMENT,
                             "output '%s' is bound to memory of input '%s', which it does not "
                             "update in place",
                             p->outputs[o].name, p->inputs[i].name);
  return TSR_OK;
}

static tsr_status check_inputs(tsr_exec *exec) {
  for (uint32_t i = 0; i < exec->program->input_count; i++)
    if (!exec->inputs[i].bound)
      return tsr_exec_fail(exec, TSR_ERR_STATE, "input '%s' is not bound",
                           exec->program->inputs[i].name);
  if (exec->inputs_changed || !exec->stages[0].linked) /* as after every binding */
    TSR_TRY(check_overlaps(exec));
  if (!exec->inputs_changed)
    return TSR_OK;
  TSR_TRY(tsr_exec_bind_dims(exec));
  exec->inputs_changed = false;
  return TSR_OK;
}

/* Outputs that start with what an input holds, where the two are not one memory. */
static tsr_status keep_contents(tsr_exec *exec, uint32_t stage) {
  const tsr_program *p = exec->program;
  for (uint32_t i = 0; i < p->output_count; i++) {
    const exec_buffer *to = &exec->buffers[p->outputs[i].buffer], *from;
    if (p->outputs[i].keep == 0 || to->first_stage != stage)
      continue;
    from = &exec->buffers[p->inputs[p->outputs[i].alias - 1].buffer];
    if (to->pointer == from->pointer || to->bytes == 0)
      continue;
    TSR_TRY(exec->ops->copy(exec, to->pointer, to->bytes, from->pointer, to->bytes, to->bytes, 1));
    exec->stats.kept_bytes += to->bytes;
  }
  return TSR_OK;
}

/* A part's inputs are there, and times are taken of the whole. */
static tsr_status run_stages(tsr_exec *exec) {
  for (uint32_t i = 0; i < exec->stage_count; i++) {
    TSR_TRY(tsr_exec_prepare_stage(exec, i));
    if (i == 0 && exec->parent == NULL)
      TSR_TRY(exec->ops->begin(exec));
    TSR_TRY(keep_contents(exec, i));
    TSR_TRY(exec->ops->run_stage(exec, i));
    TSR_TRY(run_reads(exec, i));
  }
  return TSR_OK;
}

tsr_status tsr_exec_run_part(tsr_exec *exec) {
  if (exec->inputs_changed)
    TSR_TRY(tsr_exec_bind_dims(exec));
  exec->inputs_changed = false;
  return run_stages(exec);
}

static tsr_status start(tsr_exec *exec) {
  if (exec->host != NULL) {
    TSR_TRY(check_overlaps(exec));
    TSR_TRY(tsr_host_run(exec));
  } else {
    TSR_TRY(check_inputs(exec));
    TSR_TRY(run_stages(exec));
  }
  return exec->ops->end(exec);
}

tsr_status tsr_exec_run_async(tsr_exec *exec) {
  tsr_status status;
  if (exec == NULL)
    return TSR_ERR_ARGUMENT;
  if (exec->trace.file != NULL || exec->host != NULL) /* one set of events, and of results */
    TSR_TRY(tsr_exec_wait(exec));
  exec->begin_ns = tsr_time_ns();
  exec->results_valid = false;
  exec->stats.launches = 0;
  exec->stats.kept_bytes = 0;
  exec->trace.count = 0;
  TSR_TRY(exec->ops->enter(exec));
  status = start(exec);
  if (status != TSR_OK) {
    exec->ops->abandon(exec);
    exec->stats.runs += exec->pending;
    exec->pending = 0;
  }
  exec->ops->leave(exec);
  TSR_TRY(status);
  for (uint32_t i = 0; i < exec->program->output_count; i++)
    exec->outputs[i].taken = false;
  exec->results_valid = true;
  exec->pending++;
  return TSR_OK;
}

tsr_status tsr_exec_wait(tsr_exec *exec) {
  tsr_status status;
  if (exec == NULL)
    return TSR_ERR_ARGUMENT;
  if (exec->pending == 0)
    return TSR_OK;
  status = exec->ops->enter(exec);
  if (status == TSR_OK) {
    status = exec->ops->wait(exec);
    exec->ops->leave(exec);
  }
  if (status == TSR_OK)
    exec->stats.runs += exec->pending;
  else
    exec->results_valid = false;
  exec->pending = 0;
  TSR_TRY(status);
  exec->stats.run_ns = tsr_time_ns() - exec->begin_ns;
  if (exec->trace.file != NULL && tsr_trace_flush(&exec->trace) != TSR_OK)
    return tsr_exec_fail(exec, TSR_ERR_IO, "cannot write the trace file");
  return TSR_OK;
}

tsr_status tsr_exec_run(tsr_exec *exec) {
  TSR_TRY(tsr_exec_run_async(exec));
  return tsr_exec_wait(exec);
}

void tsr_exec_get_stats(const tsr_exec *exec, tsr_exec_stats *out_stats) {
  *out_stats = exec->stats;
  out_stats->scratch_bytes = exec->own_scratch.bytes;
  for (uint32_t i = 0; i < exec->stage_count; i++) {
    const exec_stage *stage = &exec->stages[i];
    if (stage->arena_bytes > out_stats->arena_bytes)
      out_stats->arena_bytes = stage->arena_bytes;
    out_stats->persistent_bytes += stage->persistent.bytes;
    out_stats->temporary_bytes += stage->temporary_bytes;
  }
  for (uint32_t i = 0; i < exec->program->output_count; i++)
    out_stats->output_bytes += exec->outputs[i].own.bytes;
  tsr_host_add_stats(exec, out_stats);
}
