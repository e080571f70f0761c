/* Execution on the CPU: memory from the allocator, tensors in place, launches by the executor. */
#include "runtime/clock.h"
#include "runtime/cpu_features.h"
#include "runtime/exec/exec.h"
#include <string.h>

/* ---- Creation ---- */

static tsr_status allocate(tsr_exec *exec, exec_memory *memory, uint64_t bytes) {
  memory->data = exec->allocator->allocate(exec->allocator->context, bytes, TSR_PLAN_ALIGNMENT);
  memory->bytes = memory->data != NULL ? bytes : 0;
  if (memory->data == NULL)
    return tsr_exec_fail(exec, TSR_ERR_OUT_OF_MEMORY, "no memory for a buffer of %llu bytes",
                         (unsigned long long)bytes);
  return TSR_OK;
}

static void release(tsr_exec *exec, exec_memory *memory) {
  exec->allocator->release(exec->allocator->context, memory->data, memory->bytes);
  *memory = (exec_memory){NULL, 0};
}

static uint64_t largest_scratch(const tsr_program *p) {
  uint64_t largest = 1;
  for (uint32_t i = 0; i < p->kernel_count; i++)
    if (p->kernels[i].scratch_bytes > largest)
      largest = p->kernels[i].scratch_bytes;
  for (uint32_t i = 0; i < p->part_count; i++) {
    uint64_t part = largest_scratch(&p->parts[i]);
    largest = part > largest ? part : largest;
  }
  return largest;
}

/* Empty buffers point to the scratch memory, so there always is some. Between two threads' shares
 * as much is left alone, which takes no memory as long as nobody touches it: processors fetch ahead
 * in the steps that a loop goes in, beyond the end of what it reads, and what they find there would
 * be lines that the next thread is writing (measured: that thread then takes three times as long).
 */
static tsr_status create_scratch(tsr_exec *exec) {
  uint64_t share, between, total;
  if (exec->parent != NULL) {
    exec->scratch_stride = exec->parent->scratch_stride;
    exec->scratch = exec->parent->scratch;
    exec->empty = exec->scratch;
    return TSR_OK;
  }
  TSR_TRY(tsr_plan_round(largest_scratch(exec->program), &share));
  if (__builtin_mul_overflow(share, 2, &exec->scratch_stride) ||
      __builtin_mul_overflow(exec->scratch_stride, exec->executor.workers - 1, &between) ||
      __builtin_add_overflow(between, share, &total))
    return tsr_exec_fail(exec, TSR_ERR_SHAPE, "the scratch memory of all threads overflows");
  TSR_TRY(allocate(exec, &exec->own_scratch, total));
  exec->scratch = (unsigned char *)exec->own_scratch.data;
  exec->empty = exec->scratch;
  return TSR_OK;
}

static tsr_status create(tsr_exec *exec, const tsr_exec_options *options) {
  tsr_status status;
  if (options->stream != NULL ||
      (options->output_device != 0 && options->output_device != (int32_t)kDLCPU))
    return tsr_exec_fail(exec, TSR_ERR_ARGUMENT,
                         "a stream or a device for outputs is given, but '%s' runs on the CPU",
                         exec->program->target);
  if (options->executor != NULL) {
    exec->executor = *options->executor;
    if (exec->executor.workers == 0 || exec->executor.parallel_for == NULL)
      return tsr_exec_fail(exec, TSR_ERR_ARGUMENT,
                           "the executor has no workers or no parallel_for");
    return create_scratch(exec);
  }
  status = tsr_pool_create(options->threads, exec->allocator, &exec->pool);
  if (status != TSR_OK)
    return tsr_exec_fail(exec, status, "cannot start %u threads: %s", options->threads,
                         tsr_status_text(status));
  exec->executor = tsr_pool_executor(exec->pool);
  return create_scratch(exec);
}

static void destroy(tsr_exec *exec) {
  tsr_pool_destroy(exec->pool);
}

static tsr_status succeed(tsr_exec *exec) {
  (void)exec;
  return TSR_OK;
}

static void do_nothing(tsr_exec *exec) {
  (void)exec;
}

static tsr_status clear(tsr_exec *exec, void *data, uint64_t bytes) {
  (void)exec;
  memset(data, 0, bytes);
  return TSR_OK;
}

/* ---- Tensors ---- */

static tsr_status check_device(tsr_exec *exec, DLDevice device, const char *what, const char *name,
                               exec_place *out_place) {
  *out_place = EXEC_HOST;
  if (device.device_type == kDLCPU || device.device_type == kDLCUDAHost)
    return TSR_OK;
  return tsr_exec_fail(exec, TSR_ERR_DEVICE,
                       "%s '%s': the tensor is not in host memory (DLPack device %d)", what, name,
                       (int)device.device_type);
}

static tsr_status check_data(tsr_exec *exec, const char *what, const char *name,
                             exec_binding *binding) {
  (void)exec;
  (void)what;
  (void)name;
  binding->in_place = true;
  return TSR_OK;
}

static tsr_status place_input(tsr_exec *exec, uint32_t number, void **out_pointer) {
  *out_pointer = exec->inputs[number].data;
  return TSR_OK;
}

static tsr_status place_output(tsr_exec *exec, uint32_t number, void **out_pointer) {
  exec_output *output = &exec->outputs[number];
  bool moved = false;
  output->view_device = (DLDevice){kDLCPU, 0};
  if (output->caller.bound) {
    output->view = output->caller.data;
    *out_pointer = output->bytes != 0 ? output->view : NULL;
    return TSR_OK;
  }
  TSR_TRY(tsr_exec_grow(exec, &output->own, output->bytes == 0 ? 1 : output->bytes, &moved));
  output->view = *out_pointer = output->own.data;
  return TSR_OK;
}

static const void *constant(const tsr_exec *exec, uint32_t number) {
  return exec->program->constants[number].data;
}

static void release_taken(void *owner, void *data, uint64_t bytes) {
  const tsr_allocator *allocator = (const tsr_allocator *)owner;
  allocator->release(allocator->context, data, bytes);
}

static void take(tsr_exec *exec, uint32_t number, exec_taken *out_taken) {
  exec_output *output = &exec->outputs[number];
  *out_taken = (exec_taken){output->own.data, output->own.bytes, (void *)(uintptr_t)exec->allocator,
                            release_taken};
  output->own = (exec_memory){NULL, 0};
  tsr_exec_unlink(exec);
}

/* ---- Launches ---- */

/* A kernel on AMX tiles runs where the system permits them to this process. */
static tsr_status fits(tsr_exec *exec, const exec_launch *launch, bool *out_fits) {
  *out_fits = exec->program->kernels[launch->kernel].tiles[0] == 0 ||
              ((tsr_cpu_features() & TSR_CPU_AMX_TILE) != 0 && tsr_cpu_request_amx());
  return TSR_OK;
}

static tsr_status link(tsr_exec *exec, exec_launch *launch) {
  launch->function = tsr_module_kernel_function(exec->module, launch->kernel);
  return TSR_OK;
}

typedef struct task_context {
  const exec_launch *launch;
  const uint8_t *tiles; /* the kernel's configuration, or NULL */
  unsigned char *scratch;
  uint64_t scratch_stride;
} task_context;

static void run_tasks(void *context, int64_t begin, int64_t end, uint32_t worker) {
  const task_context *self = (const task_context *)context;
  if (self->tiles != NULL)
    tsr_cpu_load_tiles(self->tiles);
  self->launch->function(self->launch->buffers, self->launch->dims, begin, end,
                         self->scratch + worker * self->scratch_stride);
  if (self->tiles != NULL)
    tsr_cpu_release_tiles();
}

static void clear_results(tsr_exec *exec, const exec_launch *launch) {
  for (uint32_t i = 0; i < launch->desc->zeroed_count; i++) {
    uint32_t buffer = exec->program->arguments[launch->desc->first_zeroed + i];
    if (exec->buffers[buffer].bytes != 0)
      memset(exec->buffers[buffer].pointer, 0, exec->buffers[buffer].bytes);
  }
}

static void run_launch(tsr_exec *exec, const exec_launch *launch) {
  const uint8_t *tiles = exec->program->kernels[launch->kernel].tiles;
  task_context context = {launch, tiles[0] != 0 ? tiles : NULL, exec->scratch,
                          exec->scratch_stride};
  clear_results(exec, launch);
  if (launch->tasks == 0)
    return;
  exec->stats.launches++;
  exec->executor.parallel_for(exec->executor.context, launch->tasks, run_tasks, &context);
}

static tsr_status run_stage(tsr_exec *exec, uint32_t index) {
  const exec_stage *stage = &exec->stages[index];
  for (uint32_t i = 0; i < stage->launch_count; i++) {
    const exec_launch *launch = &exec->launches[stage->first_launch + i];
    tsr_trace_event *event = exec->trace.file != NULL ? tsr_exec_trace(exec, launch) : NULL;
    if (event != NULL)
      event->begin_ns = tsr_time_ns();
    run_launch(exec, launch);
    if (event != NULL)
      event->end_ns = tsr_time_ns();
  }
  return TSR_OK;
}

static tsr_status read_values(tsr_exec *exec, const void *const *from, uint32_t count,
                              int64_t *out_values) {
  (void)exec;
  for (uint32_t i = 0; i < count; i++)
    memcpy(&out_values[i], from[i], sizeof out_values[i]);
  return TSR_OK;
}

static tsr_status set_trace(tsr_exec *exec, uint32_t events) {
  (void)exec;
  (void)events;
  return TSR_OK;
}

/* ---- Host programs: the host's memory is the kernels' ---- */

static void share(tsr_exec *exec, tsr_exec_options *inout_options) {
  inout_options->executor = &exec->executor;
}

static tsr_status copy(tsr_exec *exec, void *to, uint64_t to_pitch, const void *from,
                       uint64_t from_pitch, uint64_t row_bytes, uint64_t rows) {
  unsigned char *out = (unsigned char *)to;
  const unsigned char *in = (const unsigned char *)from;
  (void)exec;
  for (uint64_t i = 0; row_bytes != 0 && i < rows; i++)
    memcpy(out + i * to_pitch, in + i * from_pitch, row_bytes);
  return TSR_OK;
}

static tsr_status show(tsr_exec *exec, void *to, const void *from, uint64_t bytes) {
  (void)exec;
  if (bytes != 0)
    memcpy(to, from, bytes);
  return TSR_OK;
}

static tsr_status upload(tsr_exec *exec, void *to, const void *from, uint64_t bytes,
                         exec_place place) {
  (void)place;
  return show(exec, to, from, bytes);
}

static tsr_status open_view(tsr_exec *exec, exec_view *view, uint64_t bytes) {
  (void)exec;
  (void)bytes;
  *view = (exec_view){{kDLCPU, 0}, true, NULL, 0};
  return TSR_OK;
}

static void close_view(tsr_exec *exec, exec_view *view) {
  (void)exec;
  (void)view;
}

const exec_ops tsr_exec_cpu_ops = {
    .create = create,
    .destroy = destroy,
    .enter = succeed,
    .leave = do_nothing,
    .allocate = allocate,
    .release = release,
    .clear = clear,
    .check_device = check_device,
    .check_data = check_data,
    .place_input = place_input,
    .place_output = place_output,
    .constant = constant,
    .fits = fits,
    .link = link,
    .begin = succeed,
    .run_stage = run_stage,
    .read = read_values,
    .end = succeed,
    .wait = succeed,
    .abandon = do_nothing,
    .set_trace = set_trace,
    .take = take,
    .share = share,
    .copy = copy,
    .upload = upload,
    .fetch = show,
    .open_view = open_view,
    .show = show,
    .close_view = close_view,
};
