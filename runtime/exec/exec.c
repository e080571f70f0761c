#include "runtime/exec/exec.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

tsr_status tsr_exec_fail(tsr_exec *exec, tsr_status status, const char *format, ...) {
  va_list arguments;
  exec->last_status = status;
  va_start(arguments, format);
  (void)vsnprintf(exec->last_error, sizeof exec->last_error, format, arguments);
  va_end(arguments);
  return status;
}

tsr_status tsr_exec_last_status(const tsr_exec *exec) {
  return exec != NULL ? exec->last_status : TSR_ERR_ARGUMENT;
}

const char *tsr_exec_last_error(const tsr_exec *exec) {
  return exec != NULL ? exec->last_error : "the exec is NULL";
}

void tsr_exec_drop(tsr_exec *exec, exec_memory *memory) {
  exec->allocator->release(exec->allocator->context, memory->data, memory->bytes);
  memory->data = NULL;
  memory->bytes = 0;
}

tsr_status tsr_exec_grow(tsr_exec *exec, exec_memory *memory, uint64_t bytes, bool *out_moved) {
  void *data;
  if (bytes <= memory->bytes)
    return TSR_OK;
  tsr_exec_drop(exec, memory);
  *out_moved = true;
  data = exec->allocator->allocate(exec->allocator->context, bytes, TSR_PLAN_ALIGNMENT);
  if (data == NULL)
    return tsr_exec_fail(exec, TSR_ERR_OUT_OF_MEMORY, "no memory for a buffer of %llu bytes",
                         (unsigned long long)bytes);
  memory->data = data;
  memory->bytes = bytes;
  return TSR_OK;
}

/* ---- Creation ---- */

/* Empty buffers point to the scratch memory, so there always is some. */
static tsr_status create_scratch(tsr_exec *exec) {
  const tsr_program *p = exec->program;
  uint64_t largest = 1, total;
  bool moved = false;
  for (uint32_t i = 0; i < p->kernel_count; i++)
    if (p->kernels[i].scratch_bytes > largest)
      largest = p->kernels[i].scratch_bytes;
  TSR_TRY(tsr_plan_round(largest, &exec->scratch_stride));
  if (__builtin_mul_overflow(exec->scratch_stride, exec->executor.workers, &total))
    return tsr_exec_fail(exec, TSR_ERR_SHAPE, "the scratch memory of all threads overflows");
  return tsr_exec_grow(exec, &exec->scratch, total, &moved);
}

static tsr_status create_executor(tsr_exec *exec, const tsr_exec_options *options) {
  tsr_status status;
  if (options->executor != NULL) {
    exec->executor = *options->executor;
    if (exec->executor.workers == 0 || exec->executor.parallel_for == NULL)
      return tsr_exec_fail(exec, TSR_ERR_ARGUMENT,
                           "the executor has no workers or no parallel_for");
    return TSR_OK;
  }
  status = tsr_pool_create(options->threads, exec->allocator, &exec->pool);
  if (status != TSR_OK)
    return tsr_exec_fail(exec, status, "cannot start %u threads: %s", options->threads,
                         tsr_status_text(status));
  exec->executor = tsr_pool_executor(exec->pool);
  return TSR_OK;
}

static tsr_status init(tsr_exec *exec, tsr_module *module, const tsr_exec_options *options) {
  exec->module = tsr_module_retain(module);
  exec->program = tsr_module_program(module);
  exec->inputs_changed = true;
  TSR_TRY(tsr_exec_layout(exec));
  TSR_TRY(create_executor(exec, options));
  return create_scratch(exec);
}

static tsr_status read_options(const tsr_exec_options *options, tsr_exec_options *out_options) {
  memset(out_options, 0, sizeof *out_options);
  if (options != NULL && options->size < sizeof options->size)
    return TSR_ERR_ARGUMENT;
  if (options != NULL)
    memcpy(out_options, options,
           options->size < sizeof *options ? options->size : sizeof *out_options);
  if (out_options->allocator == NULL)
    out_options->allocator = tsr_allocator_default();
  return TSR_OK;
}

static tsr_status create_failed(tsr_status status, const char *text, tsr_message *out_message) {
  if (out_message != NULL)
    (void)snprintf(out_message->text, sizeof out_message->text, "%s", text);
  return status;
}

tsr_status tsr_exec_create(tsr_module *module, const tsr_exec_options *user_options,
                           tsr_exec **out_exec, tsr_message *out_message) {
  tsr_exec_options options;
  tsr_exec *exec;
  tsr_status status;
  if (out_message != NULL)
    out_message->text[0] = '\0';
  if (out_exec != NULL)
    *out_exec = NULL;
  if (out_exec == NULL || module == NULL)
    return create_failed(TSR_ERR_ARGUMENT, "module or out_exec is NULL", out_message);
  if (read_options(user_options, &options) != TSR_OK)
    return create_failed(TSR_ERR_ARGUMENT, "tsr_exec_options.size is not set", out_message);
  exec = (tsr_exec *)options.allocator->allocate(options.allocator->context, sizeof *exec,
                                                 _Alignof(tsr_exec));
  if (exec == NULL)
    return create_failed(TSR_ERR_OUT_OF_MEMORY, "out of memory while creating an exec",
                         out_message);
  memset(exec, 0, sizeof *exec);
  exec->allocator = options.allocator;
  tsr_arena_init(&exec->memory, options.allocator);
  status = init(exec, module, &options);
  if (status != TSR_OK) {
    (void)create_failed(status, exec->last_error, out_message);
    tsr_exec_destroy(exec);
    return status;
  }
  *out_exec = exec;
  return TSR_OK;
}

void tsr_exec_destroy(tsr_exec *exec) {
  const tsr_allocator *allocator;
  if (exec == NULL)
    return;
  allocator = exec->allocator;
  tsr_status closed = tsr_trace_close(&exec->trace);
  (void)closed;
  tsr_pool_destroy(exec->pool);
  for (uint32_t i = 0; exec->outputs != NULL && i < exec->program->output_count; i++)
    tsr_exec_drop(exec, &exec->outputs[i].own);
  for (uint32_t i = 0; i < exec->stage_count; i++)
    tsr_exec_drop(exec, &exec->stages[i].persistent);
  tsr_exec_drop(exec, &exec->arena);
  tsr_exec_drop(exec, &exec->scratch);
  tsr_arena_reset(&exec->memory);
  tsr_module_release(exec->module);
  allocator->release(allocator->context, exec, sizeof *exec);
}

tsr_status tsr_exec_dim_value(tsr_exec *exec, uint32_t index, int64_t *out_value) {
  *out_value = 0;
  if (exec == NULL)
    return TSR_ERR_ARGUMENT;
  if (index >= exec->program->dim_count)
    return tsr_exec_fail(exec, TSR_ERR_ARGUMENT, "there is no dim number %u, the module has %u",
                         index, exec->program->dim_count);
  if (!exec->results_valid)
    return tsr_exec_fail(exec, TSR_ERR_STATE, "dims have values after a successful run only");
  *out_value = exec->dims[index];
  return TSR_OK;
}

tsr_status tsr_exec_set_trace(tsr_exec *exec, const char *path) {
  uint32_t launches;
  if (exec == NULL)
    return TSR_ERR_ARGUMENT;
  launches = exec->program->launch_count;
  if (tsr_trace_close(&exec->trace) != TSR_OK)
    return tsr_exec_fail(exec, TSR_ERR_IO, "cannot write the trace file");
  if (path == NULL)
    return TSR_OK;
  if (exec->trace_events == NULL)
    exec->trace_events = (tsr_trace_event *)tsr_arena_alloc_array(&exec->memory, launches,
                                                                  sizeof *exec->trace_events);
  if (exec->trace_events == NULL)
    return tsr_exec_fail(exec, TSR_ERR_OUT_OF_MEMORY, "no memory for a trace");
  if (tsr_trace_open(&exec->trace, path, exec->trace_events, launches) != TSR_OK)
    return tsr_exec_fail(exec, TSR_ERR_IO, "cannot write the trace file '%s': %s", path,
                         strerror(errno));
  return TSR_OK;
}
