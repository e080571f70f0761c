/* Execution on a CUDA device: everything goes to one stream, in order. Host tensors are copied in
 * front of the first launch and behind the last one; the host waits where it reads dims, and in
 * tsr_exec_wait. */
#include "runtime/clock.h"
#include "runtime/cuda/cuda_exec.h"
#include "runtime/host/host.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* MAX_PITCH: CU_DEVICE_ATTRIBUTE_MAX_PITCH of every device. */
enum { TENSOR_ALIGNMENT = 16, EMPTY_BYTES = 256, MAX_PITCH = INT32_MAX };

/* ---- Errors ---- */

/* Names first: the driver's text may be long. */
static void explain_death(tsr_exec *exec) {
  cuda_exec *self = exec->cuda;
  uint64_t launched = tsr_cuda_whole(exec)->launched;
  const char *where = launched == 0   ? "while this exec had no launch under way"
                      : launched == 1 ? "in "
                                      : "in one of the launches since it was last waited for "
                                        "(TESSERA_CUDA_SYNC=1 tells which), latest first: ";
  char suspects[900];
  tsr_cuda_suspects(exec, suspects, sizeof suspects);
  (void)snprintf(self->dead_text, sizeof self->dead_text,
                 "the device failed, and refuses all further work of this process, %s%s: %s", where,
                 suspects, self->diag.message);
  if (exec->parent != NULL)
    memcpy(exec->parent->cuda->dead_text, self->dead_text, sizeof self->dead_text);
}

/* Ends every op: what it left in self->diag becomes the exec's error. Ops call ops, so that the
 * innermost speaks. */
static tsr_status done(tsr_exec *exec, tsr_status status) {
  cuda_exec *self = exec->cuda;
  if (status == TSR_OK || self->diag.status == TSR_OK)
    return status;
  if (atomic_load(&self->device->dead) != 0 && self->dead_text[0] == '\0')
    explain_death(exec);
  if (self->dead_text[0] != '\0')
    status = tsr_exec_fail(exec, TSR_ERR_DEVICE, "%s", self->dead_text);
  else
    status = tsr_exec_fail(exec, status, "%s", self->diag.message);
  tsr_diag_clear(&self->diag);
  return status;
}

static tsr_status check(cuda_exec *self, tsr_cu_result result, const char *what) {
  return tsr_cuda_check(self->device, &self->diag, result, what);
}

static tsr_cu_pointer to_pointer(const void *data) {
  return (tsr_cu_pointer)(uintptr_t)data;
}

/* ---- Context ---- */

static tsr_status enter(tsr_exec *exec) {
  cuda_exec *self = exec->cuda;
  int dead;
  char text[900];
  if (self == NULL || self->device == NULL)
    return TSR_ERR_STATE; /* not created: nothing to release */
  dead = atomic_load(&self->device->dead);
  if (dead != 0 && !exec->destroying) {
    if (self->dead_text[0] != '\0')
      return tsr_exec_fail(exec, TSR_ERR_DEVICE, "%s", self->dead_text);
    tsr_cuda_error_text(self->device, dead, text, sizeof text);
    return tsr_exec_fail(exec, TSR_ERR_DEVICE,
                         "the device failed in another exec of the module, and refuses all further "
                         "work of this process: %s",
                         text);
  }
  return done(exec, tsr_cuda_enter(self->device, &self->diag));
}

static void leave(tsr_exec *exec) {
  tsr_cuda_leave(exec->cuda->device);
}

/* ---- Memory ---- */

static tsr_status allocate(tsr_exec *exec, exec_memory *memory, uint64_t bytes) {
  cuda_exec *self = exec->cuda;
  tsr_status status =
      tsr_cuda_allocate(self->device, self->stream, bytes, &self->diag, &memory->data);
  memory->bytes = status == TSR_OK ? bytes : 0;
  return done(exec, status);
}

static void release(tsr_exec *exec, exec_memory *memory) {
  if (memory->data != NULL)
    tsr_cuda_release(exec->cuda->device, exec->cuda->stream, memory->data);
  *memory = (exec_memory){NULL, 0};
}

static tsr_status clear(tsr_exec *exec, void *data, uint64_t bytes) {
  return done(exec, tsr_cuda_clear(exec->cuda, data, bytes));
}

/* ---- Creation ---- */

static tsr_status create_tables(tsr_exec *exec) {
  cuda_exec *self = exec->cuda;
  const tsr_program *p = exec->program;
  self->inputs =
      (cuda_port *)tsr_arena_alloc_array(&exec->memory, p->input_count, sizeof *self->inputs);
  self->outputs =
      (cuda_port *)tsr_arena_alloc_array(&exec->memory, p->output_count, sizeof *self->outputs);
  TSR_TRY(tsr_cuda_create_graphs(exec));
  if (self->inputs == NULL || self->outputs == NULL)
    return tsr_fail(&self->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while creating an exec");
  return tsr_cuda_create_launches(exec);
}

static tsr_status create_event(cuda_exec *self, tsr_cu_event *out_event) {
  tsr_cu_result result = self->device->driver.cuEventCreate(out_event, 0);
  if (result != 0)
    *out_event = NULL;
  return check(self, result, "cannot create an event");
}

static tsr_status create_stream(cuda_exec *self, const tsr_exec_options *options) {
  tsr_cu_stream stream = NULL;
  if (options->stream != NULL) {
    self->stream = (tsr_cu_stream)options->stream;
    return TSR_OK;
  }
  TSR_TRY(check(self, self->device->driver.cuStreamCreate(&stream, TSR_CU_STREAM_NON_BLOCKING),
                "cannot create a stream"));
  self->stream = stream;
  self->own_stream = true;
  return TSR_OK;
}

static tsr_status create_read_values(tsr_exec *exec) {
  cuda_exec *self = exec->cuda;
  uint32_t most = 0;
  void *pinned;
  for (uint32_t i = 0; i < exec->program->segment_count; i++)
    if (exec->program->segments[i].read_count > most)
      most = exec->program->segments[i].read_count;
  if (most == 0)
    return TSR_OK;
  TSR_TRY(tsr_cuda_allocate_pinned(self->device, most * sizeof *self->read_values, &self->diag,
                                   &pinned));
  self->read_values = (int64_t *)pinned;
  return TSR_OK;
}

static tsr_status create_on_device(tsr_exec *exec, const tsr_exec_options *options) {
  cuda_exec *self = exec->cuda;
  TSR_TRY(create_stream(self, options));
  tsr_cuda_staging_init(&self->staging, self->device, self->stream);
  TSR_TRY(create_event(self, &self->begin));
  TSR_TRY(create_event(self, &self->end));
  TSR_TRY(create_read_values(exec));
  TSR_TRY(allocate(exec, &exec->own_scratch, EMPTY_BYTES));
  exec->empty = exec->own_scratch.data;
  return tsr_cuda_program_upload(self->program, &self->diag);
}

static tsr_status create(tsr_exec *exec, const tsr_exec_options *options) {
  const char *synchronous = getenv("TESSERA_CUDA_SYNC");
  cuda_exec *self = (cuda_exec *)tsr_arena_alloc(&exec->memory, sizeof *self);
  tsr_status status;
  if (self == NULL)
    return tsr_exec_fail(exec, TSR_ERR_OUT_OF_MEMORY, "out of memory while creating an exec");
  exec->cuda = self;
  if (options->output_device != 0 && options->output_device != (int32_t)kDLCPU &&
      options->output_device != (int32_t)kDLCUDA && options->output_device != (int32_t)kDLCUDAHost)
    return tsr_exec_fail(exec, TSR_ERR_ARGUMENT, "outputs cannot be left in DLPack device type %d",
                         (int)options->output_device);
  self->program = exec->module->cuda;
  self->device = self->program->device; /* the module holds it */
  self->output_device = options->output_device == 0 ? kDLCPU : (DLDeviceType)options->output_device;
  self->synchronous = synchronous != NULL && strcmp(synchronous, "1") == 0;
  self->no_graphs = (options->flags & TSR_EXEC_NO_GRAPHS) != 0;
  TSR_TRY(enter(exec));
  status = create_tables(exec);
  if (status == TSR_OK)
    status = create_on_device(exec, options);
  status = done(exec, status);
  leave(exec);
  return status;
}

static void destroy_events(cuda_exec *self) {
  const tsr_cuda_driver *driver = &self->device->driver;
  if (self->begin != NULL)
    (void)driver->cuEventDestroy_v2(self->begin);
  if (self->end != NULL)
    (void)driver->cuEventDestroy_v2(self->end);
  for (uint32_t i = 0; i < self->trace_event_count; i++)
    (void)driver->cuEventDestroy_v2(self->trace_events[i]);
}

static void destroy(tsr_exec *exec) {
  cuda_exec *self = exec->cuda;
  if (self == NULL || self->device == NULL)
    return;
  for (uint32_t i = 0; self->inputs != NULL && i < exec->program->input_count; i++)
    release(exec, &self->inputs[i].device);
  if (self->stream != NULL) /* work under way, and frees in its order */
    (void)self->device->driver.cuStreamSynchronize(self->stream);
  if (self->graphs != NULL)
    tsr_cuda_destroy_graphs(exec);
  for (uint32_t i = 0; self->outputs != NULL && i < exec->program->output_count; i++)
    tsr_cuda_release_pinned(self->device, self->outputs[i].pinned);
  tsr_cuda_release_pinned(self->device, self->read_values);
  tsr_cuda_staging_destroy(&self->staging);
  destroy_events(self);
  if (self->own_stream)
    (void)self->device->driver.cuStreamDestroy_v2(self->stream);
}

/* ---- Tensors ---- */

static tsr_status check_device(tsr_exec *exec, DLDevice device, const char *what, const char *name,
                               exec_place *out_place) {
  int32_t ordinal = exec->cuda->device->ordinal;
  *out_place = EXEC_HOST;
  switch ((int)device.device_type) {
  case kDLCPU:
    return TSR_OK;
  case kDLCUDAHost:
    *out_place = EXEC_PINNED;
    return TSR_OK;
  case kDLCUDA:
    *out_place = EXEC_DEVICE;
    if (device.device_id == ordinal)
      return TSR_OK;
    return tsr_exec_fail(exec, TSR_ERR_DEVICE,
                         "%s '%s': the tensor is on CUDA device %d, the module runs on device %d",
                         what, name, (int)device.device_id, (int)ordinal);
  case kDLCUDAManaged:
    *out_place = EXEC_DEVICE;
    return TSR_OK;
  default:
    return tsr_exec_fail(exec, TSR_ERR_DEVICE,
                         "%s '%s': the tensor is neither in host memory nor on a CUDA device "
                         "(DLPack device %d)",
                         what, name, (int)device.device_type);
  }
}

/* An address that the device does not know would end the context. */
static tsr_status check_data(tsr_exec *exec, const char *what, const char *name,
                             exec_binding *binding) {
  cuda_exec *self = exec->cuda;
  unsigned type = 0;
  tsr_cu_result result;
  binding->in_place =
      binding->place == EXEC_DEVICE && (uintptr_t)binding->data % TENSOR_ALIGNMENT == 0;
  if (binding->place != EXEC_DEVICE)
    return TSR_OK;
  result = self->device->driver.cuPointerGetAttribute(&type, TSR_CU_POINTER_MEMORY_TYPE,
                                                      to_pointer(binding->data));
  if (result != 0 && result != TSR_CU_ERROR_INVALID_VALUE)
    return done(exec, check(self, result, "cannot ask where a tensor lies"));
  if (result == 0)
    return TSR_OK;
  return tsr_exec_fail(exec, TSR_ERR_ARGUMENT,
                       "%s '%s': its data at %p is no memory of the CUDA device", what, name,
                       binding->data);
}

static tsr_status place_input(tsr_exec *exec, uint32_t number, void **out_pointer) {
  exec_binding *binding = &exec->inputs[number];
  cuda_port *port = &exec->cuda->inputs[number];
  bool moved = false;
  *out_pointer = binding->data;
  if (binding->in_place)
    return TSR_OK;
  TSR_TRY(tsr_exec_grow(exec, &port->device, binding->bytes, &moved));
  *out_pointer = port->device.data;
  return TSR_OK;
}

static DLDevice device_of(const cuda_exec *self, exec_place place) {
  switch (place) {
  case EXEC_DEVICE:
    return (DLDevice){kDLCUDA, self->device->ordinal};
  case EXEC_PINNED:
    return (DLDevice){kDLCUDAHost, 0};
  default:
    return (DLDevice){kDLCPU, 0};
  }
}

/* The view of an output that comes back to host memory is made in `end`. */
static tsr_status place_output(tsr_exec *exec, uint32_t number, void **out_pointer) {
  cuda_exec *self = exec->cuda;
  exec_output *output = &exec->outputs[number];
  bool moved = false;
  if (output->caller.bound && output->caller.in_place) {
    output->view = *out_pointer = output->caller.data;
    output->view_device = device_of(self, output->caller.place);
    return TSR_OK;
  }
  TSR_TRY(tsr_exec_grow(exec, &output->own, output->bytes == 0 ? 1 : output->bytes, &moved));
  *out_pointer = output->own.data;
  if (output->caller.bound) {
    output->view = output->caller.data;
    output->view_device = device_of(self, output->caller.place);
  } else if (self->output_device == kDLCUDA) {
    output->view = output->own.data;
    output->view_device = device_of(self, EXEC_DEVICE);
  } else {
    output->view_device = (DLDevice){self->output_device, 0};
  }
  return TSR_OK;
}

static const void *constant(const tsr_exec *exec, uint32_t number) {
  return exec->cuda->program->constants[number];
}

static tsr_status copy_inside(cuda_exec *self, void *to, const void *from, uint64_t bytes) {
  return check(self,
               self->device->driver.cuMemcpyDtoDAsync_v2(to_pointer(to), to_pointer(from), bytes,
                                                         self->stream),
               "cannot copy on the CUDA device");
}

static tsr_status upload_bytes(cuda_exec *self, void *to, const void *from, uint64_t bytes,
                               exec_place place) {
  if (bytes == 0)
    return TSR_OK;
  switch (place) {
  case EXEC_DEVICE:
    return copy_inside(self, to, from, bytes);
  case EXEC_PINNED:
    return check(
        self, self->device->driver.cuMemcpyHtoDAsync_v2(to_pointer(to), from, bytes, self->stream),
        "cannot copy to the CUDA device");
  default:
    return tsr_cuda_upload(&self->staging, to, from, bytes, &self->diag);
  }
}

static tsr_status upload_input(tsr_exec *exec, uint32_t number) {
  const exec_binding *from = &exec->inputs[number];
  if (from->in_place)
    return TSR_OK;
  return upload_bytes(exec->cuda, exec->cuda->inputs[number].device.data, from->data, from->bytes,
                      from->place);
}

/* Memory for a result that is not bound and goes to the host. Runs before may still write to what
 * is too small now. */
static tsr_status make_view(tsr_exec *exec, uint32_t number) {
  cuda_exec *self = exec->cuda;
  cuda_port *port = &self->outputs[number];
  uint64_t bytes = exec->outputs[number].bytes == 0 ? 1 : exec->outputs[number].bytes;
  if (port->pinned_bytes < bytes) {
    if (exec->pending != 0 && port->pinned != NULL)
      TSR_TRY(tsr_cuda_synchronize(exec, "a launch or a copy failed"));
    tsr_cuda_release_pinned(self->device, port->pinned);
    port->pinned = NULL;
    port->pinned_bytes = 0;
    TSR_TRY(tsr_cuda_allocate_pinned(self->device, bytes, &self->diag, &port->pinned));
    port->pinned_bytes = bytes;
  }
  exec->outputs[number].view = port->pinned;
  return TSR_OK;
}

static tsr_status download_output(tsr_exec *exec, uint32_t number) {
  cuda_exec *self = exec->cuda;
  exec_output *output = &exec->outputs[number];
  const exec_binding *caller = &output->caller;
  if (tsr_host_shows(exec, number) ||
      (caller->bound ? caller->in_place : self->output_device == kDLCUDA))
    return TSR_OK;
  if (!caller->bound)
    TSR_TRY(make_view(exec, number));
  if (output->bytes == 0)
    return TSR_OK;
  if (caller->bound && caller->place == EXEC_DEVICE)
    return copy_inside(self, output->view, output->own.data, output->bytes);
  if (caller->bound && caller->place == EXEC_HOST)
    return tsr_cuda_download(&self->staging, output->view, output->own.data, output->bytes,
                             &self->diag);
  return check(self,
               self->device->driver.cuMemcpyDtoHAsync_v2(output->view, to_pointer(output->own.data),
                                                         output->bytes, self->stream),
               "cannot copy from the CUDA device");
}

/* ---- Outputs that outlive the exec ---- */

static void release_taken(void *owner, void *data, uint64_t bytes) {
  cuda_device *device = (cuda_device *)owner;
  (void)bytes;
  if (tsr_cuda_enter(device, NULL) == TSR_OK) {
    tsr_cuda_release_synchronously(device, data);
    tsr_cuda_leave(device);
  }
  tsr_cuda_device_release(device);
}

static void release_taken_pinned(void *owner, void *data, uint64_t bytes) {
  cuda_device *device = (cuda_device *)owner;
  (void)bytes;
  if (tsr_cuda_enter(device, NULL) == TSR_OK) {
    tsr_cuda_release_pinned(device, data);
    tsr_cuda_leave(device);
  }
  tsr_cuda_device_release(device);
}

static void take(tsr_exec *exec, uint32_t number, exec_taken *out_taken) {
  cuda_exec *self = exec->cuda;
  cuda_port *port = &self->outputs[number];
  exec_output *output = &exec->outputs[number];
  void *owner = tsr_cuda_device_retain(self->device);
  if (self->output_device != kDLCUDA) {
    *out_taken = (exec_taken){port->pinned, port->pinned_bytes, owner, release_taken_pinned};
    port->pinned = NULL;
    port->pinned_bytes = 0;
    return;
  }
  *out_taken = (exec_taken){output->own.data, output->own.bytes, owner, release_taken};
  output->own = (exec_memory){NULL, 0};
  tsr_exec_unlink(exec);
}

/* ---- Runs ---- */

static tsr_status fits(tsr_exec *exec, const exec_launch *launch, bool *out_fits) {
  return done(exec, tsr_cuda_maps_fit(exec, launch, out_fits));
}

static tsr_status link(tsr_exec *exec, exec_launch *launch) {
  return done(exec, tsr_cuda_link(exec, launch));
}

static tsr_status upload_inputs(tsr_exec *exec) {
  cuda_exec *self = exec->cuda;
  for (uint32_t i = 0; exec->host == NULL && i < exec->program->input_count; i++)
    TSR_TRY(upload_input(exec, i));
  self->begin_ns = tsr_time_ns();
  return check(self, self->device->driver.cuEventRecord(self->begin, self->stream),
               "cannot record an event");
}

static tsr_status begin(tsr_exec *exec) {
  return done(exec, upload_inputs(exec));
}

static tsr_status run_stage(tsr_exec *exec, uint32_t index) {
  return done(exec, tsr_cuda_run_stage(exec, index));
}

static tsr_status read_elements(tsr_exec *exec, const void *const *from, uint32_t count) {
  cuda_exec *self = exec->cuda;
  for (uint32_t i = 0; i < count; i++)
    TSR_TRY(check(self,
                  self->device->driver.cuMemcpyDtoHAsync_v2(
                      &self->read_values[i], to_pointer(from[i]), sizeof(int64_t), self->stream),
                  "cannot read a computed size"));
  return tsr_cuda_synchronize(exec, "cannot read a computed size");
}

static tsr_status read_values(tsr_exec *exec, const void *const *from, uint32_t count,
                              int64_t *out_values) {
  TSR_TRY(done(exec, read_elements(exec, from, count)));
  memcpy(out_values, exec->cuda->read_values, count * sizeof *out_values);
  return TSR_OK;
}

static tsr_status end(tsr_exec *exec) {
  cuda_exec *self = exec->cuda;
  tsr_status status = check(self, self->device->driver.cuEventRecord(self->end, self->stream),
                            "cannot record an event");
  for (uint32_t i = 0; i < exec->program->output_count && status == TSR_OK; i++)
    status = download_output(exec, i);
  return done(exec, status);
}

static tsr_status elapsed(cuda_exec *self, tsr_cu_event event, int64_t *out_ns) {
  float milliseconds = 0;
  TSR_TRY(check(self, self->device->driver.cuEventElapsedTime(&milliseconds, self->begin, event),
                "cannot read the time of an event"));
  *out_ns = (int64_t)((double)milliseconds * 1e6);
  return TSR_OK;
}

static tsr_status read_times(tsr_exec *exec) {
  cuda_exec *self = exec->cuda;
  TSR_TRY(elapsed(self, self->end, &exec->stats.device_ns));
  for (uint32_t i = 0; exec->trace.file != NULL && i < exec->trace.count; i++) {
    tsr_trace_event *event = &exec->trace.events[i];
    TSR_TRY(elapsed(self, self->trace_events[2 * i], &event->begin_ns));
    TSR_TRY(elapsed(self, self->trace_events[2 * i + 1], &event->end_ns));
    event->begin_ns += self->begin_ns;
    event->end_ns += self->begin_ns;
  }
  return TSR_OK;
}

static tsr_status wait(tsr_exec *exec) {
  tsr_status status = tsr_cuda_synchronize(exec, "a launch or a copy failed");
  if (status == TSR_OK)
    tsr_cuda_staging_complete(&exec->cuda->staging);
  else
    tsr_cuda_staging_forget(&exec->cuda->staging);
  if (status == TSR_OK)
    status = read_times(exec);
  return done(exec, status);
}

/* Runs that were issued before the one that failed get their results. */
static void abandon(tsr_exec *exec) {
  cuda_exec *self = exec->cuda;
  bool finished = self->stream != NULL && !exec->destroying &&
                  self->device->driver.cuStreamSynchronize(self->stream) == 0;
  if (finished)
    tsr_cuda_staging_complete(&self->staging);
  else
    tsr_cuda_staging_forget(&self->staging);
  self->launched = 0;
}

static tsr_status create_trace_events(tsr_exec *exec, uint32_t events) {
  cuda_exec *self = exec->cuda;
  if (self->trace_events == NULL)
    self->trace_events = (tsr_cu_event *)tsr_arena_alloc_array(&exec->memory, (size_t)events * 2,
                                                               sizeof *self->trace_events);
  if (self->trace_events == NULL)
    return tsr_fail(&self->diag, TSR_ERR_OUT_OF_MEMORY, "no memory for a trace");
  for (; self->trace_event_count < events * 2; self->trace_event_count++)
    TSR_TRY(create_event(self, &self->trace_events[self->trace_event_count]));
  return TSR_OK;
}

static tsr_status set_trace(tsr_exec *exec, uint32_t events) {
  return done(exec, create_trace_events(exec, events));
}

/* ---- Host programs ---- */

static void share(tsr_exec *exec, tsr_exec_options *inout_options) {
  inout_options->stream = exec->cuda->stream;
  inout_options->output_device = kDLCUDA;
}

static tsr_status copy_rows(cuda_exec *self, void *to, uint64_t to_pitch, const void *from,
                            uint64_t from_pitch, uint64_t row_bytes, uint64_t rows) {
  tsr_cu_copy_2d copy = {.from_kind = TSR_CU_MEMORY_DEVICE,
                         .from_device = to_pointer(from),
                         .from_pitch = from_pitch,
                         .to_kind = TSR_CU_MEMORY_DEVICE,
                         .to_device = to_pointer(to),
                         .to_pitch = to_pitch,
                         .row_bytes = row_bytes,
                         .rows = rows};
  if (row_bytes == 0 || rows == 0)
    return TSR_OK;
  if (rows == 1 || (to_pitch == row_bytes && from_pitch == row_bytes))
    return copy_inside(self, to, from, row_bytes * rows);
  if (to_pitch <= MAX_PITCH && from_pitch <= MAX_PITCH)
    return check(self, self->device->driver.cuMemcpy2DAsync_v2(&copy, self->stream),
                 "cannot copy on the CUDA device");
  for (uint64_t i = 0; i < rows; i++)
    TSR_TRY(copy_inside(self, (unsigned char *)to + i * to_pitch,
                        (const unsigned char *)from + i * from_pitch, row_bytes));
  return TSR_OK;
}

static tsr_status copy(tsr_exec *exec, void *to, uint64_t to_pitch, const void *from,
                       uint64_t from_pitch, uint64_t row_bytes, uint64_t rows) {
  return done(exec, copy_rows(exec->cuda, to, to_pitch, from, from_pitch, row_bytes, rows));
}

static tsr_status upload(tsr_exec *exec, void *to, const void *from, uint64_t bytes,
                         exec_place place) {
  return done(exec, upload_bytes(exec->cuda, to, from, bytes, place));
}

/* Nothing else is on its way to the host. When this fails `to` may be gone before the copies are
 * handed out. */
static tsr_status fetch_bytes(tsr_exec *exec, void *to, const void *from, uint64_t bytes) {
  cuda_exec *self = exec->cuda;
  tsr_status status = tsr_cuda_download(&self->staging, to, from, bytes, &self->diag);
  if (status == TSR_OK)
    status = tsr_cuda_synchronize(exec, "cannot read a result");
  if (status == TSR_OK) {
    tsr_cuda_staging_complete(&self->staging);
    return TSR_OK;
  }
  (void)self->device->driver.cuStreamSynchronize(self->stream);
  tsr_cuda_staging_forget(&self->staging);
  return status;
}

static tsr_status fetch(tsr_exec *exec, void *to, const void *from, uint64_t bytes) {
  return bytes != 0 ? done(exec, fetch_bytes(exec, to, from, bytes)) : TSR_OK;
}

static void close_view(tsr_exec *exec, exec_view *view) {
  if (view->data != NULL)
    tsr_cuda_release_pinned(exec->cuda->device, view->data);
  *view = (exec_view){{kDLCPU, 0}, false, NULL, 0};
}

/* No run is under way that could still write to what is too small. */
static tsr_status open_view(tsr_exec *exec, exec_view *view, uint64_t bytes) {
  cuda_exec *self = exec->cuda;
  tsr_status status;
  view->direct = self->output_device == kDLCUDA;
  view->device = view->direct ? device_of(self, EXEC_DEVICE) : (DLDevice){self->output_device, 0};
  if (view->direct || view->bytes >= bytes)
    return TSR_OK;
  close_view(exec, view);
  view->device = (DLDevice){self->output_device, 0};
  status = tsr_cuda_allocate_pinned(self->device, bytes, &self->diag, &view->data);
  view->bytes = status == TSR_OK ? bytes : 0;
  return done(exec, status);
}

static tsr_status show(tsr_exec *exec, void *to, const void *from, uint64_t bytes) {
  cuda_exec *self = exec->cuda;
  if (bytes == 0)
    return TSR_OK;
  return done(exec, check(self,
                          self->device->driver.cuMemcpyDtoHAsync_v2(to, to_pointer(from), bytes,
                                                                    self->stream),
                          "cannot copy from the CUDA device"));
}

const exec_ops tsr_exec_cuda_ops = {
    .create = create,
    .destroy = destroy,
    .enter = enter,
    .leave = leave,
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
    .begin = begin,
    .run_stage = run_stage,
    .read = read_values,
    .end = end,
    .wait = wait,
    .abandon = abandon,
    .set_trace = set_trace,
    .take = take,
    .share = share,
    .copy = copy,
    .upload = upload,
    .fetch = fetch,
    .open_view = open_view,
    .show = show,
    .close_view = close_view,
};
