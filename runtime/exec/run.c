#include "runtime/clock.h"
#include "runtime/exec/exec.h"
#include <stdio.h>
#include <string.h>

typedef struct task_context {
  const exec_launch *launch;
  unsigned char *scratch;
  uint64_t scratch_stride;
} task_context;

static void run_tasks(void *context, int64_t begin, int64_t end, uint32_t worker) {
  const task_context *self = (const task_context *)context;
  self->launch->function(self->launch->buffers, self->launch->dims, begin, end,
                         self->scratch + worker * self->scratch_stride);
}

static void clear_results(tsr_exec *exec, const exec_launch *launch) {
  for (uint32_t i = 0; i < launch->desc->zeroed_count; i++) {
    uint32_t buffer = exec->program->arguments[launch->desc->first_zeroed + i];
    if (exec->buffers[buffer].bytes != 0)
      memset(exec->buffers[buffer].pointer, 0, exec->buffers[buffer].bytes);
  }
}

static void run_launch(tsr_exec *exec, const exec_launch *launch) {
  task_context context = {launch, (unsigned char *)exec->scratch.data, exec->scratch_stride};
  clear_results(exec, launch);
  if (launch->tasks == 0)
    return;
  exec->stats.launches++;
  exec->executor.parallel_for(exec->executor.context, launch->tasks, run_tasks, &context);
}

static void run_traced(tsr_exec *exec, const exec_launch *launch) {
  const tsr_kernel_desc *kernel = &exec->program->kernels[launch->kernel];
  tsr_trace_event *event = &exec->trace.events[exec->trace.count++];
  event->name = kernel->name;
  event->nodes = kernel->nodes;
  event->launch = (uint32_t)(launch - exec->launches);
  event->variant = launch->variant;
  event->tasks = launch->tasks;
  event->begin_ns = tsr_time_ns();
  run_launch(exec, launch);
  event->end_ns = tsr_time_ns();
}

/* One dim from a result. What follows is planned anew only if the value changed. */
static tsr_status read_dim(tsr_exec *exec, const tsr_dim_read *read, uint32_t stage) {
  const tsr_program *p = exec->program;
  int64_t shape[TSR_MAX_RANK], value;
  uint64_t bytes;
  char what[300];
  (void)snprintf(what, sizeof what, "the result that gives dim '%.240s'", p->dims[read->dim].name);
  TSR_TRY(tsr_exec_shape(exec, &p->buffers[read->buffer], what, shape, &bytes));
  if (read->element >= bytes / sizeof value)
    return tsr_exec_fail(exec, TSR_ERR_SHAPE, "%s has %llu elements, number %llu is wanted", what,
                         (unsigned long long)(bytes / sizeof value),
                         (unsigned long long)read->element);
  memcpy(&value,
         (const unsigned char *)exec->buffers[read->buffer].pointer + read->element * sizeof value,
         sizeof value);
  TSR_TRY(tsr_exec_check_dim_range(exec, read->dim, value, "a computed size"));
  if (value == exec->dims[read->dim])
    return TSR_OK;
  exec->dims[read->dim] = value;
  for (uint32_t i = stage + 1; i < exec->stage_count; i++)
    exec->stages[i].planned = exec->stages[i].linked = false;
  return TSR_OK;
}

static tsr_status run_reads(tsr_exec *exec, uint32_t index) {
  const tsr_program *p = exec->program;
  const exec_stage *stage = &exec->stages[index];
  const tsr_segment_desc *segment;
  if (stage->segment_count == 0)
    return TSR_OK;
  segment = &p->segments[stage->first_segment + stage->segment_count - 1];
  for (uint32_t i = 0; i < segment->read_count; i++)
    TSR_TRY(read_dim(exec, &p->reads[segment->first_read + i], index));
  return TSR_OK;
}

static tsr_status run_stage(tsr_exec *exec, uint32_t index) {
  const exec_stage *stage = &exec->stages[index];
  TSR_TRY(tsr_exec_prepare_stage(exec, index));
  for (uint32_t i = 0; i < stage->launch_count; i++) {
    const exec_launch *launch = &exec->launches[stage->first_launch + i];
    if (exec->trace.file != NULL)
      run_traced(exec, launch);
    else
      run_launch(exec, launch);
  }
  return run_reads(exec, index);
}

static tsr_status check_inputs(tsr_exec *exec) {
  for (uint32_t i = 0; i < exec->program->input_count; i++)
    if (!exec->inputs[i].bound)
      return tsr_exec_fail(exec, TSR_ERR_STATE, "input '%s' is not bound",
                           exec->program->inputs[i].name);
  if (!exec->inputs_changed)
    return TSR_OK;
  TSR_TRY(tsr_exec_bind_dims(exec));
  exec->inputs_changed = false;
  return TSR_OK;
}

tsr_status tsr_exec_run(tsr_exec *exec) {
  int64_t begin_ns = tsr_time_ns();
  if (exec == NULL)
    return TSR_ERR_ARGUMENT;
  exec->results_valid = false;
  exec->stats.launches = 0;
  exec->trace.count = 0;
  TSR_TRY(check_inputs(exec));
  for (uint32_t i = 0; i < exec->stage_count; i++)
    TSR_TRY(run_stage(exec, i));
  for (uint32_t i = 0; i < exec->program->output_count; i++)
    exec->outputs[i].taken = false;
  exec->results_valid = true;
  exec->stats.runs++;
  exec->stats.run_ns = tsr_time_ns() - begin_ns;
  if (exec->trace.file != NULL && tsr_trace_flush(&exec->trace) != TSR_OK)
    return tsr_exec_fail(exec, TSR_ERR_IO, "cannot write the trace file");
  return TSR_OK;
}

void tsr_exec_get_stats(const tsr_exec *exec, tsr_exec_stats *out_stats) {
  *out_stats = exec->stats;
  out_stats->scratch_bytes = exec->scratch.bytes;
  for (uint32_t i = 0; i < exec->stage_count; i++) {
    const exec_stage *stage = &exec->stages[i];
    if (stage->arena_bytes > out_stats->arena_bytes)
      out_stats->arena_bytes = stage->arena_bytes;
    out_stats->persistent_bytes += stage->persistent.bytes;
    out_stats->temporary_bytes += stage->temporary_bytes;
  }
  for (uint32_t i = 0; i < exec->program->output_count; i++)
    out_stats->output_bytes += exec->outputs[i].own.bytes;
}
