#include "runtime/exec/exec.h"
#include "runtime/host/host.h"
#include "runtime/module/program_check.h"
#include <string.h>

/* An input or output while its tensor is being checked. */
typedef struct port {
  tsr_exec *exec;
  const char *kind; /* "input", "output" */
  const tsr_port_info *info;
  uint32_t first_dim; /* into tsr_program.codes */
  bool check_ranges;  /* ranges bind inputs; outputs are compared when they are known */
} port;

static tsr_status check_dtype(const port *self, const DLTensor *tensor) {
  tsr_dtype dtype = tsr_dtype_from_dlpack(tensor->dtype);
  bool strings =
      tensor->dtype.code == kDLOpaqueHandle && tensor->dtype.bits == 64 && tensor->dtype.lanes == 1;
  if (self->info->is_text != 0 && !strings)
    return tsr_exec_fail(self->exec, TSR_ERR_TYPE,
                         "%s '%s': the module wants strings (kDLOpaqueHandle of 64 bits)",
                         self->kind, self->info->name);
  if (self->info->is_text != 0)
    return TSR_OK;
  if (dtype == TSR_DTYPE_NONE)
    return tsr_exec_fail(self->exec, TSR_ERR_TYPE,
                         "%s '%s': DLPack type (code %u, %u bits, %u lanes) is not supported, the "
                         "module wants %s",
                         self->kind, self->info->name, tensor->dtype.code, tensor->dtype.bits,
                         tensor->dtype.lanes, tsr_dtype_text(self->info->dtype));
  if (dtype != self->info->dtype)
    return tsr_exec_fail(self->exec, TSR_ERR_TYPE, "%s '%s': dtype is %s, the module wants %s",
                         self->kind, self->info->name, tsr_dtype_text(dtype),
                         tsr_dtype_text(self->info->dtype));
  return TSR_OK;
}

static tsr_status check_type(const port *self, const DLTensor *tensor) {
  TSR_TRY(check_dtype(self, tensor));
  if (tensor->ndim < 0 || tensor->ndim > TSR_MAX_RANK ||
      (self->info->rank != TSR_ANY_RANK && tensor->ndim != (int32_t)self->info->rank))
    return tsr_exec_fail(self->exec, TSR_ERR_TYPE, "%s '%s': rank is %d, the module wants %u",
                         self->kind, self->info->name, tensor->ndim,
                         self->info->rank != TSR_ANY_RANK ? self->info->rank : TSR_MAX_RANK);
  if (tensor->ndim != 0 && tensor->shape == NULL)
    return tsr_exec_fail(self->exec, TSR_ERR_ARGUMENT, "%s '%s': its shape is NULL", self->kind,
                         self->info->name);
  return TSR_OK;
}

static tsr_status check_dim(const port *self, uint32_t d, int64_t value) {
  const tsr_program *p = self->exec->program;
  bool any = self->info->rank == TSR_ANY_RANK;
  int64_t dim = any ? -1 : tsr_program_plain_dim(p, p->codes[self->first_dim + d]);
  const tsr_dim_desc *desc = dim >= 0 ? &p->dims[dim] : NULL;
  if (value < 0)
    return tsr_exec_fail(self->exec, TSR_ERR_SHAPE, "%s '%s': dim %u is negative (%lld)",
                         self->kind, self->info->name, d, (long long)value);
  if (!any && self->info->dims[d] >= 0 && value != self->info->dims[d])
    return tsr_exec_fail(self->exec, TSR_ERR_SHAPE,
                         "%s '%s': dim %u is %lld, the module wants %lld", self->kind,
                         self->info->name, d, (long long)value, (long long)self->info->dims[d]);
  if (desc != NULL && self->check_ranges && (value < desc->lo || value > desc->hi))
    return tsr_exec_fail(self->exec, TSR_ERR_SHAPE,
                         "%s '%s': dim %u ('%s') is %lld, the module was compiled for %lld..%lld",
                         self->kind, self->info->name, d, desc->name, (long long)value,
                         (long long)desc->lo, (long long)desc->hi);
  return TSR_OK;
}

/* A dim of size 1, or any dim of an empty tensor, may have any stride. */
static bool is_compact(const DLTensor *tensor, int64_t count) {
  int64_t stride = 1;
  if (tensor->strides == NULL || count == 0)
    return true;
  for (int32_t d = tensor->ndim - 1; d >= 0; d--) {
    if (tensor->shape[d] != 1 && tensor->strides[d] != stride)
      return false;
    stride *= tensor->shape[d]; /* at most count, which did not overflow */
  }
  return true;
}

static tsr_status check_shape(const port *self, const DLTensor *tensor, int64_t *out_count) {
  bool empty = false, overflow = false;
  int64_t count = 1;
  for (uint32_t d = 0; d < (uint32_t)tensor->ndim; d++) {
    TSR_TRY(check_dim(self, d, tensor->shape[d]));
    empty |= tensor->shape[d] == 0;
    overflow |= __builtin_mul_overflow(count, tensor->shape[d], &count);
  }
  *out_count = empty ? 0 : count;
  if ((overflow && !empty) || tsr_dtype_bytes(self->info->dtype, *out_count) < 0)
    return tsr_exec_fail(self->exec, TSR_ERR_SHAPE, "%s '%s': its size in bytes overflows",
                         self->kind, self->info->name);
  return TSR_OK;
}

static tsr_status check_data(const port *self, const DLTensor *tensor, int64_t count,
                             void **out_data) {
  unsigned char *data = (unsigned char *)tensor->data;
  uintptr_t address, alignment = tsr_dtype_bits(self->info->dtype) / 8;
  *out_data = NULL;
  if (!is_compact(tensor, count))
    return tsr_exec_fail(self->exec, TSR_ERR_ARGUMENT,
                         "%s '%s': the tensor is not compact and row-major; copy it first",
                         self->kind, self->info->name);
  if (count == 0)
    return TSR_OK;
  if (data == NULL)
    return tsr_exec_fail(self->exec, TSR_ERR_ARGUMENT, "%s '%s': its data is NULL", self->kind,
                         self->info->name);
  data += tensor->byte_offset;
  address = (uintptr_t)data;
  if (alignment > 1 && address % alignment != 0)
    return tsr_exec_fail(self->exec, TSR_ERR_ARGUMENT,
                         "%s '%s': its data at %p is misaligned, %s needs a multiple of %u",
                         self->kind, self->info->name, (void *)data,
                         tsr_dtype_text(self->info->dtype), (unsigned)alignment);
  *out_data = data;
  return TSR_OK;
}

static tsr_status check_memory(const port *self, exec_binding *binding) {
  const exec_ops *ops = self->exec->ops;
  tsr_status status;
  TSR_TRY(ops->enter(self->exec));
  status = ops->check_data(self->exec, self->kind, self->info->name, binding);
  ops->leave(self->exec);
  return status;
}

static tsr_status bind(const port *self, const DLTensor *tensor, exec_binding *binding) {
  int64_t count;
  binding->bound = false;
  TSR_TRY(self->exec->ops->check_device(self->exec, tensor->device, self->kind, self->info->name,
                                        &binding->place));
  TSR_TRY(check_type(self, tensor));
  TSR_TRY(check_shape(self, tensor, &count));
  if (self->info->is_text != 0 && binding->place == EXEC_DEVICE)
    return tsr_exec_fail(self->exec, TSR_ERR_DEVICE, "%s '%s': strings must be in host memory",
                         self->kind, self->info->name);
  TSR_TRY(check_data(self, tensor, count, &binding->data));
  binding->bytes = (uint64_t)tsr_dtype_bytes(self->info->dtype, count);
  binding->in_place = true;
  if (binding->data != NULL && self->info->is_text == 0)
    TSR_TRY(check_memory(self, binding));
  binding->rank = (uint32_t)tensor->ndim;
  if (binding->rank != 0)
    memcpy(binding->shape, tensor->shape, binding->rank * sizeof binding->shape[0]);
  binding->bound = true;
  return TSR_OK;
}

tsr_status tsr_exec_check_tensor(tsr_exec *exec, const char *kind, const tsr_port_info *info,
                                 uint32_t first_dim, bool check_ranges, const DLTensor *tensor,
                                 exec_binding *binding) {
  port self = {exec, kind, info, first_dim, check_ranges};
  return bind(&self, tensor, binding);
}

/* Of an input or output, where its expressions begin. */
static uint32_t find_dims(const tsr_exec *exec, const tsr_port_desc *port_desc, uint32_t value) {
  const tsr_program *p = exec->program;
  if (exec->host == NULL)
    return p->buffers[port_desc->buffer].first_dim;
  return p->host_values[p->arguments[value]].first_dim;
}

static uint32_t input_dims(const tsr_exec *exec, uint32_t index) {
  return find_dims(exec, &exec->program->inputs[index],
                   exec->host != NULL ? exec->program->host_regions[0].first_param + index : 0);
}

static uint32_t output_dims(const tsr_exec *exec, uint32_t index) {
  return find_dims(exec, &exec->program->outputs[index],
                   exec->host != NULL ? exec->program->host_regions[0].first_yield + index : 0);
}

static tsr_status no_such(tsr_exec *exec, const char *kind, uint32_t index, uint32_t count) {
  return tsr_exec_fail(exec, TSR_ERR_ARGUMENT, "there is no %s number %u, the module has %u", kind,
                       index, count);
}

static tsr_status not_found(tsr_exec *exec, const char *kind, const char *name) {
  return tsr_exec_fail(exec, TSR_ERR_NOT_FOUND, "the module has no %s '%s'", kind,
                       name != NULL ? name : "(NULL)");
}

static tsr_status bind_input(tsr_exec *exec, uint32_t index, const DLTensor *tensor) {
  const tsr_port_info *info = &exec->module->inputs[index];
  exec_binding *binding = &exec->inputs[index];
  if (info->kind == TSR_PORT_LIST || info->kind == TSR_PORT_OPTIONAL_LIST)
    return tsr_exec_fail(exec, TSR_ERR_ARGUMENT, "input '%s' is a list: tsr_exec_bind_input_list",
                         info->name);
  binding->bound = false;
  if (tensor == NULL)
    return tsr_exec_fail(exec, TSR_ERR_ARGUMENT, "input '%s': the tensor is NULL", info->name);
  return tsr_exec_check_tensor(exec, "input", info, input_dims(exec, index), true, tensor, binding);
}

tsr_status tsr_exec_bind_input(tsr_exec *exec, uint32_t index, const DLTensor *tensor) {
  exec_binding *binding, before;
  tsr_status status;
  if (exec == NULL)
    return TSR_ERR_ARGUMENT;
  if (index >= exec->program->input_count)
    return no_such(exec, "input", index, exec->program->input_count);
  binding = &exec->inputs[index];
  before = *binding;
  status = bind_input(exec, index, tensor);
  tsr_host_note_input(exec, index);
  if (!binding->bound || before.in_place != binding->in_place ||
      (binding->in_place && before.data != binding->data))
    tsr_exec_unlink(exec);
  if (!before.bound || !binding->bound ||
      memcmp(before.shape, binding->shape, sizeof before.shape) != 0)
    exec->inputs_changed = true;
  return status;
}

tsr_status tsr_exec_bind_output(tsr_exec *exec, uint32_t index, const DLTensor *tensor) {
  const tsr_port_info *info;
  if (exec == NULL)
    return TSR_ERR_ARGUMENT;
  if (index >= exec->program->output_count)
    return no_such(exec, "output", index, exec->program->output_count);
  info = &exec->module->outputs[index];
  if (tsr_host_shows(exec, index))
    return tsr_exec_fail(exec, TSR_ERR_STATE,
                         "output '%s' is a list, an optional or strings, and cannot be bound",
                         info->name);
  tsr_exec_unlink(exec);
  exec->outputs[index].taken = true; /* the last run's result is no longer what the view would be */
  if (tensor == NULL) {
    exec->outputs[index].caller.bound = false;
    return TSR_OK;
  }
  return tsr_exec_check_tensor(exec, "output", info, output_dims(exec, index), false, tensor,
                               &exec->outputs[index].caller);
}

tsr_status tsr_exec_bind_input_name(tsr_exec *exec, const char *name, const DLTensor *tensor) {
  uint32_t index;
  if (exec == NULL)
    return TSR_ERR_ARGUMENT;
  if (tsr_module_find_input(exec->module, name, &index) != TSR_OK)
    return not_found(exec, "input", name);
  return tsr_exec_bind_input(exec, index, tensor);
}

tsr_status tsr_exec_bind_output_name(tsr_exec *exec, const char *name, const DLTensor *tensor) {
  uint32_t index;
  if (exec == NULL)
    return TSR_ERR_ARGUMENT;
  if (tsr_module_find_output(exec->module, name, &index) != TSR_OK)
    return not_found(exec, "output", name);
  return tsr_exec_bind_output(exec, index, tensor);
}

/* ---- Results ---- */

static tsr_status check_result(tsr_exec *exec, uint32_t index) {
  if (index >= exec->program->output_count)
    return no_such(exec, "output", index, exec->program->output_count);
  if (!exec->results_valid)
    return tsr_exec_fail(exec, TSR_ERR_STATE, "output '%s': there was no successful run yet",
                         exec->program->outputs[index].name);
  if (exec->outputs[index].taken)
    return tsr_exec_fail(exec, TSR_ERR_STATE,
                         "output '%s': it was taken or bound since the last run",
                         exec->program->outputs[index].name);
  if (exec->pending != 0 && exec->outputs[index].view_device.device_type != kDLCUDA)
    return tsr_exec_fail(exec, TSR_ERR_STATE, "output '%s': call tsr_exec_wait first",
                         exec->program->outputs[index].name);
  return TSR_OK;
}

static void fill_tensor(tsr_exec *exec, uint32_t index, int64_t *shape, DLTensor *out_tensor) {
  const exec_output *output = &exec->outputs[index];
  const tsr_port_info *info = &exec->module->outputs[index];
  memset(out_tensor, 0, sizeof *out_tensor);
  out_tensor->data = output->view;
  out_tensor->device = output->view_device;
  out_tensor->ndim = (int32_t)info->rank;
  out_tensor->dtype = tsr_dtype_to_dlpack(info->dtype);
  out_tensor->shape = shape;
}

tsr_status tsr_exec_output(tsr_exec *exec, uint32_t index, DLTensor *out_tensor) {
  memset(out_tensor, 0, sizeof *out_tensor);
  if (exec == NULL)
    return TSR_ERR_ARGUMENT;
  return tsr_exec_output_item(exec, index, 0, out_tensor);
}

tsr_status tsr_exec_output_item(tsr_exec *exec, uint32_t index, uint64_t item,
                                DLTensor *out_tensor) {
  memset(out_tensor, 0, sizeof *out_tensor);
  if (exec == NULL)
    return TSR_ERR_ARGUMENT;
  TSR_TRY(check_result(exec, index));
  if (tsr_host_shows(exec, index))
    return tsr_host_output_item(exec, index, item, out_tensor);
  if (item != 0)
    return tsr_exec_fail(exec, TSR_ERR_ARGUMENT, "output '%s' is one tensor",
                         exec->program->outputs[index].name);
  fill_tensor(exec, index, exec->outputs[index].shape, out_tensor);
  return TSR_OK;
}

tsr_status tsr_exec_output_count(tsr_exec *exec, uint32_t index, uint64_t *out_count,
                                 int32_t *out_present) {
  int32_t present = 1;
  *out_count = 0;
  if (out_present != NULL)
    *out_present = 0;
  if (exec == NULL)
    return TSR_ERR_ARGUMENT;
  TSR_TRY(check_result(exec, index));
  *out_count = 1;
  if (tsr_host_shows(exec, index))
    tsr_host_count_items(exec, index, out_count, &present);
  if (out_present != NULL)
    *out_present = present;
  return TSR_OK;
}

tsr_status tsr_exec_output_name(tsr_exec *exec, const char *name, DLTensor *out_tensor) {
  uint32_t index;
  memset(out_tensor, 0, sizeof *out_tensor);
  if (exec == NULL)
    return TSR_ERR_ARGUMENT;
  if (tsr_module_find_output(exec->module, name, &index) != TSR_OK)
    return not_found(exec, "output", name);
  return tsr_exec_output(exec, index, out_tensor);
}

/* A result that outlives its exec. */
typedef struct taken_output {
  DLManagedTensor tensor;
  const tsr_allocator *allocator;
  exec_taken memory;
  int64_t shape[TSR_MAX_RANK];
} taken_output;

static void delete_taken(DLManagedTensor *tensor) {
  taken_output *taken = tensor != NULL ? (taken_output *)tensor->manager_ctx : NULL;
  const tsr_allocator *allocator;
  if (taken == NULL)
    return;
  allocator = taken->allocator;
  taken->memory.release(taken->memory.owner, taken->memory.data, taken->memory.bytes);
  allocator->release(allocator->context, taken, sizeof *taken);
}

tsr_status tsr_exec_take_output(tsr_exec *exec, uint32_t index, DLManagedTensor **out_tensor) {
  taken_output *taken;
  exec_output *output;
  *out_tensor = NULL;
  if (exec == NULL)
    return TSR_ERR_ARGUMENT;
  TSR_TRY(check_result(exec, index));
  output = &exec->outputs[index];
  if (tsr_host_shows(exec, index))
    return tsr_exec_fail(exec, TSR_ERR_STATE,
                         "output '%s' is a list, an optional or strings, and cannot be taken",
                         exec->program->outputs[index].name);
  if (output->caller.bound)
    return tsr_exec_fail(exec, TSR_ERR_STATE, "output '%s': its memory is the caller's already",
                         exec->program->outputs[index].name);
  taken = (taken_output *)exec->allocator->allocate(exec->allocator->context, sizeof *taken,
                                                    _Alignof(taken_output));
  if (taken == NULL)
    return tsr_exec_fail(exec, TSR_ERR_OUT_OF_MEMORY, "no memory to hand out output '%s'",
                         exec->program->outputs[index].name);
  memcpy(taken->shape, output->shape, sizeof taken->shape);
  fill_tensor(exec, index, taken->shape, &taken->tensor.dl_tensor);
  taken->tensor.manager_ctx = taken;
  taken->tensor.deleter = delete_taken;
  taken->allocator = exec->allocator;
  exec->ops->take(exec, index, &taken->memory);
  output->taken = true;
  *out_tensor = &taken->tensor;
  return TSR_OK;
}
