#include "runtime/exec/exec.h"
#include "runtime/host/host.h"
#include "runtime/module/program_check.h"
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

tsr_status tsr_exec_grow(tsr_exec *exec, exec_memory *memory, uint64_t bytes, bool *out_moved) {
  if (bytes <= memory->bytes)
    return TSR_OK;
  exec->ops->release(exec, memory);
  *out_moved = true;
  return exec->ops->allocate(exec, memory, bytes);
}

void tsr_exec_unlink(tsr_exec *exec) {
  for (uint32_t i = 0; i < exec->stage_count; i++)
    exec->stages[i].linked = false;
}

/* ---- Creation ---- */

static tsr_status init(tsr_exec *exec, tsr_module *module, const tsr_exec_options *options) {
  exec->arena = exec->parent != NULL ? exec->parent->arena : &exec->own_arena;
  exec->module = tsr_module_retain(module);
  exec->program = tsr_module_program(module);
  exec->ops = tsr_program_is_cuda(exec->program) ? &tsr_exec_cuda_ops : &tsr_exec_cpu_ops;
  exec->inputs_changed = true;
  if (!module->runnable)
    return tsr_exec_fail(exec, TSR_ERR_STATE,
                         "the module was loaded to be described only (TSR_MODULE_DESCRIBE)");
  TSR_TRY(tsr_exec_layout(exec));
  TSR_TRY(exec->ops->create(exec, options));
  return exec->program->host_region_count != 0 ? tsr_host_create(exec, options) : TSR_OK;
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

/* `message` may be NULL. */
static tsr_status create(tsr_module *module, const tsr_exec_options *options, tsr_exec *parent,
                         uint32_t part, tsr_exec **out_exec, tsr_message *out_message) {
  tsr_exec *exec = (tsr_exec *)options->allocator->allocate(options->allocator->context,
                                                            sizeof *exec, _Alignof(tsr_exec));
  tsr_status status;
  if (exec == NULL)
    return create_failed(TSR_ERR_OUT_OF_MEMORY, "out of memory while creating an exec",
                         out_message);
  memset(exec, 0, sizeof *exec);
  exec->allocator = options->allocator;
  exec->parent = parent;
  exec->part = part;
  tsr_arena_init(&exec->memory, options->allocator);
  status = init(exec, module, options);
  if (status != TSR_OK) {
    (void)create_failed(status, exec->last_error, out_message);
    tsr_exec_destroy(exec);
    return status;
  }
  *out_exec = exec;
  return TSR_OK;
}

tsr_status tsr_exec_create_part(tsr_exec *parent, uint32_t part, const tsr_exec_options *options,
                                tsr_exec **out_exec) {
  tsr_message message;
  tsr_status status =
      create(&parent->module->parts[part], options, parent, part, out_exec, &message);
  return status == TSR_OK ? TSR_OK : tsr_exec_fail(parent, status, "%s", message.text);
}

tsr_status tsr_exec_create(tsr_module *module, const tsr_exec_options *user_options,
                           tsr_exec **out_exec, tsr_message *out_message) {
  tsr_exec_options options;
  if (out_message != NULL)
    out_message->text[0] = '\0';
  if (out_exec != NULL)
    *out_exec = NULL;
  if (out_exec == NULL || module == NULL)
    return create_failed(TSR_ERR_ARGUMENT, "module or out_exec is NULL", out_message);
  if (read_options(user_options, &options) != TSR_OK)
    return create_failed(TSR_ERR_ARGUMENT, "tsr_exec_options.size is not set", out_message);
  return create(module, &options, NULL, 0, out_exec, out_message);
}

/* Work that is still under way ends first. */
static void release_memory(tsr_exec *exec) {
  bool entered;
  exec->destroying = true;
  entered = exec->ops->enter(exec) == TSR_OK;
  if (entered)
    exec->ops->abandon(exec);
  tsr_host_destroy(exec);
  for (uint32_t i = 0; exec->outputs != NULL && i < exec->program->output_count; i++)
    exec->ops->release(exec, &exec->outputs[i].own);
  for (uint32_t i = 0; i < exec->stage_count; i++)
    exec->ops->release(exec, &exec->stages[i].persistent);
  exec->ops->release(exec, &exec->own_arena);
  exec->ops->release(exec, &exec->own_scratch);
  exec->ops->destroy(exec);
  if (entered)
    exec->ops->leave(exec);
}

void tsr_exec_destroy(tsr_exec *exec) {
  const tsr_allocator *allocator;
  if (exec == NULL)
    return;
  allocator = exec->allocator;
  tsr_status closed = tsr_trace_close(&exec->trace);
  (void)closed;
  release_memory(exec);
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
  tsr_status status;
  if (exec == NULL)
    return TSR_ERR_ARGUMENT;
  TSR_TRY(tsr_exec_wait(exec)); /* what is under way belongs to the trace before */
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
  TSR_TRY(exec->ops->enter(exec));
  status = exec->ops->set_trace(exec, launches);
  exec->ops->leave(exec);
  TSR_TRY(status);
  TSR_TRY(tsr_host_prepare_trace(exec));
  if (tsr_trace_open(&exec->trace, path, exec->trace_events, launches) != TSR_OK)
    return tsr_exec_fail(exec, TSR_ERR_IO, "cannot write the trace file '%s': %s", path,
                         strerror(errno));
  return TSR_OK;
}
