/* Inputs and outputs of host programs. */
#include "runtime/host/host.h"
#include <string.h>

static uint32_t input_value(const host_exec *self, uint32_t index) {
  return self->program->arguments[self->program->host_regions[0].first_param + index];
}

static tsr_status out_of_memory(host_exec *self) {
  return tsr_exec_fail(self->exec, TSR_ERR_OUT_OF_MEMORY, "no memory for inputs or outputs");
}

/* ---- Binding ---- */

static bool is_list_kind(tsr_port_kind kind) {
  return kind == TSR_PORT_LIST || kind == TSR_PORT_OPTIONAL_LIST;
}

void tsr_host_note_input(tsr_exec *exec, uint32_t index) {
  if (exec->host != NULL)
    exec->host->inputs[index].bound = exec->host->inputs[index].present = exec->inputs[index].bound;
}

static tsr_status find_input(tsr_exec *exec, uint32_t index, const tsr_port_info **out_info) {
  if (index >= exec->program->input_count)
    return tsr_exec_fail(exec, TSR_ERR_ARGUMENT, "there is no input number %u, the module has %u",
                         index, exec->program->input_count);
  *out_info = &exec->module->inputs[index];
  return TSR_OK;
}

static tsr_status reserve_items(host_exec *self, host_input *input, uint64_t count) {
  const tsr_allocator *allocator = self->exec->allocator;
  exec_binding *items;
  if (count <= input->capacity)
    return TSR_OK;
  if (count > SIZE_MAX / sizeof *items)
    return out_of_memory(self);
  items = (exec_binding *)allocator->allocate(allocator->context, count * sizeof *items,
                                              _Alignof(exec_binding));
  if (items == NULL)
    return out_of_memory(self);
  allocator->release(allocator->context, input->items, input->capacity * sizeof *items);
  input->items = items;
  input->capacity = count;
  return TSR_OK;
}

static tsr_status bind_items(tsr_exec *exec, uint32_t index, const tsr_port_info *info,
                             const DLTensor *items, uint64_t count) {
  host_input *input = &exec->host->inputs[index];
  const tsr_host_value *value = &exec->program->host_values[input_value(exec->host, index)];
  TSR_TRY(reserve_items(exec->host, input, count));
  for (uint64_t i = 0; i < count; i++) {
    memset(&input->items[i], 0, sizeof input->items[i]);
    TSR_TRY(tsr_exec_check_tensor(exec, "an item of input", info, value->first_dim, false,
                                  &items[i], &input->items[i]));
  }
  input->count = count;
  return TSR_OK;
}

tsr_status tsr_exec_bind_input_list(tsr_exec *exec, uint32_t index, const DLTensor *items,
                                    uint64_t count) {
  const tsr_port_info *info;
  tsr_status status;
  if (exec == NULL)
    return TSR_ERR_ARGUMENT;
  TSR_TRY(find_input(exec, index, &info));
  if (!is_list_kind(info->kind))
    return tsr_exec_fail(exec, TSR_ERR_ARGUMENT, "input '%s' is no list", info->name);
  exec->host->inputs[index].bound = false;
  if (items == NULL && count != 0)
    return tsr_exec_fail(exec, TSR_ERR_ARGUMENT, "input '%s': the list is NULL", info->name);
  status = bind_items(exec, index, info, items, count);
  exec->host->inputs[index].bound = exec->host->inputs[index].present = status == TSR_OK;
  return status;
}

tsr_status tsr_exec_bind_input_absent(tsr_exec *exec, uint32_t index) {
  const tsr_port_info *info;
  if (exec == NULL)
    return TSR_ERR_ARGUMENT;
  TSR_TRY(find_input(exec, index, &info));
  if (info->kind != TSR_PORT_OPTIONAL && info->kind != TSR_PORT_OPTIONAL_LIST)
    return tsr_exec_fail(exec, TSR_ERR_ARGUMENT, "input '%s' is no optional", info->name);
  exec->host->inputs[index].bound = true;
  exec->host->inputs[index].present = false;
  exec->inputs[index].bound = false;
  exec->inputs[index].in_place = true; /* nothing to copy */
  return TSR_OK;
}

/* ---- Inputs become registers ---- */

/* Strings become numbers of texts. */
static tsr_status take_strings(host_exec *self, uint32_t index, const exec_binding *binding,
                               host_tensor **out_tensor) {
  const char *const *strings = (const char *const *)binding->data;
  host_tensor *tensor;
  int64_t *numbers;
  tsr_status status = TSR_OK;
  TSR_TRY(tsr_host_new_tensor(self, &self->slots[input_value(self, index)], TSR_I64, binding->rank,
                              binding->shape, &tensor));
  numbers = (int64_t *)tsr_arena_alloc(&self->step_memory, tensor->bytes);
  if (numbers == NULL)
    status = out_of_memory(self);
  for (uint64_t i = 0; status == TSR_OK && i < tensor->bytes / sizeof *numbers; i++) {
    if (strings[i] == NULL)
      status = tsr_exec_fail(self->exec, TSR_ERR_ARGUMENT, "input '%s': string %llu is NULL",
                             self->program->inputs[index].name, (unsigned long long)i);
    else if (tsr_texts_number(self->texts, strings[i], strlen(strings[i]), &numbers[i]) != TSR_OK)
      status = out_of_memory(self);
  }
  if (status == TSR_OK)
    status = self->exec->ops->upload(self->exec, tensor->data, numbers, tensor->bytes, EXEC_HOST);
  tsr_arena_reset(&self->step_memory);
  if (status != TSR_OK)
    tsr_host_release(self, &tensor->object);
  else
    *out_tensor = tensor;
  return status;
}

static tsr_status take_item(host_exec *self, uint32_t index, const exec_binding *binding,
                            host_tensor **out_tensor) {
  host_slot *slot = &self->slots[input_value(self, index)];
  tsr_dtype dtype = self->exec->module->inputs[index].dtype;
  tsr_status status;
  if (self->exec->module->inputs[index].is_text != 0)
    return take_strings(self, index, binding, out_tensor);
  if (binding->in_place)
    return tsr_host_new_alias(self, slot, dtype, binding->rank, binding->shape, binding->data,
                              out_tensor);
  TSR_TRY(tsr_host_new_tensor(self, slot, dtype, binding->rank, binding->shape, out_tensor));
  status = self->exec->ops->upload(self->exec, (*out_tensor)->data, binding->data, binding->bytes,
                                   binding->place);
  if (status != TSR_OK)
    tsr_host_release(self, &(*out_tensor)->object);
  else if (binding->place != EXEC_DEVICE)
    (*out_tensor)->host_data = binding->data;
  return status;
}

static tsr_status take_list(host_exec *self, uint32_t index) {
  const host_input *input = &self->inputs[index];
  host_list *list;
  TSR_TRY(tsr_host_new_list(self, input->count, &list));
  self->registers[input_value(self, index)] = &list->object;
  for (uint64_t i = 0; i < input->count; i++) {
    TSR_TRY(take_item(self, index, &input->items[i], &list->items[i]));
    list->count++;
  }
  return TSR_OK;
}

/* An output is bound to exactly the input's memory, which it updates. */
static bool is_updated(const host_exec *self, uint32_t index) {
  const exec_binding *input = &self->exec->inputs[index];
  for (uint32_t i = 0; i < self->program->output_count; i++) {
    const exec_binding *output = &self->exec->outputs[i].caller;
    if (self->program->outputs[i].alias == index + 1 && output->bound && output->in_place &&
        input->in_place && output->data == input->data)
      return true;
  }
  return false;
}

static tsr_status take_input(host_exec *self, uint32_t index) {
  const host_input *input = &self->inputs[index];
  host_tensor *tensor;
  if (!input->bound)
    return tsr_exec_fail(self->exec, TSR_ERR_STATE, "input '%s' is not bound",
                         self->program->inputs[index].name);
  if (!input->present)
    return TSR_OK;
  if (is_list_kind(self->exec->module->inputs[index].kind))
    return take_list(self, index);
  TSR_TRY(take_item(self, index, &self->exec->inputs[index], &tensor));
  tensor->writable = is_updated(self, index);
  self->registers[input_value(self, index)] = &tensor->object;
  return TSR_OK;
}

tsr_status tsr_host_take_inputs(host_exec *self) {
  if (self->texts != NULL)
    tsr_texts_reset(self->texts);
  TSR_TRY(self->exec->ops->begin(self->exec));
  for (uint32_t i = 0; i < self->program->input_count; i++)
    TSR_TRY(take_input(self, i));
  return TSR_OK;
}

/* ---- Outputs ---- */

bool tsr_host_shows(const tsr_exec *exec, uint32_t index) {
  return exec->host != NULL && (exec->module->outputs[index].kind != TSR_PORT_TENSOR ||
                                exec->module->outputs[index].is_text != 0);
}

void tsr_host_forget_outputs(host_exec *self) {
  for (uint32_t i = 0; i < self->program->output_count; i++) {
    tsr_host_release(self, self->outputs[i].value);
    self->outputs[i].value = NULL;
  }
  tsr_arena_reset(&self->run_memory);
}

static uint64_t count_items(const host_output *output) {
  if (output->value == NULL)
    return 0;
  return output->value->is_list ? ((const host_list *)(const void *)output->value)->count : 1;
}

static tsr_status copy_tensor(host_exec *self, void *to, const host_tensor *from) {
  return self->exec->ops->copy(self->exec, to, from->bytes, from->data, from->bytes, from->bytes,
                               1);
}

static host_tensor *item_of(const host_output *output, uint64_t item) {
  return output->value->is_list ? ((host_list *)(void *)output->value)->items[item]
                                : (host_tensor *)(void *)output->value;
}

static bool is_alike(const host_tensor *a, const host_tensor *b) {
  return a->data == b->data && a->bytes == b->bytes && a->rank == b->rank &&
         memcmp(a->shape, b->shape, a->rank * sizeof a->shape[0]) == 0;
}

/* Item number `item` becomes a copy, if it is the caller's or a constant's; the same as the item
 * before it when both are the same. `before` is what that was. */
static tsr_status own(host_exec *self, host_output *output, uint64_t item,
                      host_tensor *inout_before) {
  host_tensor *from = item_of(output, item), *tensor;
  tsr_status status = TSR_OK;
  if (from->owns || from->bytes == 0) {
    inout_before->data = NULL;
    return TSR_OK;
  }
  if (item != 0 && is_alike(from, inout_before)) {
    tensor = item_of(output, item - 1);
    (void)tsr_host_retain(&tensor->object);
  } else {
    TSR_TRY(
        tsr_host_new_tensor(self, &self->copies, from->dtype, from->rank, from->shape, &tensor));
    *inout_before = *from;
  }
  if (output->value->is_list)
    ((host_list *)(void *)output->value)->items[item] = tensor;
  else
    output->value = &tensor->object;
  if (tensor->object.references == 1)
    status = copy_tensor(self, tensor->data, from);
  tsr_host_release(self, &from->object);
  return status;
}

static tsr_status show_strings(host_exec *self, uint32_t index, uint64_t item) {
  host_output *output = &self->outputs[index];
  const host_tensor *tensor = item_of(output, item);
  uint64_t count = tensor->bytes / sizeof(int64_t);
  const int64_t *numbers;
  const char **strings =
      (const char **)tsr_arena_alloc_array(&self->run_memory, count, sizeof *strings);
  void *data;
  if (strings == NULL)
    return out_of_memory(self);
  TSR_TRY(tsr_host_fetch(self, tensor, &data));
  numbers = (const int64_t *)data;
  for (uint64_t i = 0; i < count; i++) {
    strings[i] = tsr_texts_get(self->texts, numbers[i]);
    if (strings[i] == NULL)
      return tsr_exec_fail(self->exec, TSR_ERR_ARGUMENT,
                           "output '%s': there is no text number %lld",
                           self->program->outputs[index].name, (long long)numbers[i]);
  }
  output->texts[item] = strings;
  tsr_arena_reset(&self->step_memory);
  return TSR_OK;
}

static tsr_status show_all_strings(host_exec *self, uint32_t index) {
  host_output *output = &self->outputs[index];
  uint64_t count = count_items(output);
  self->exec->outputs[index].view_device = (DLDevice){kDLCPU, 0};
  output->texts =
      (const char ***)tsr_arena_alloc_array(&self->run_memory, count, sizeof *output->texts);
  if (output->texts == NULL)
    return out_of_memory(self);
  for (uint64_t i = 0; i < count; i++)
    TSR_TRY(show_strings(self, index, i));
  return TSR_OK;
}

static uint64_t round_up(uint64_t bytes) {
  return (bytes + TSR_PLAN_ALIGNMENT - 1) / TSR_PLAN_ALIGNMENT * TSR_PLAN_ALIGNMENT;
}

/* All items one behind the other in the view, or where they are. */
static tsr_status show_items(host_exec *self, uint32_t index) {
  tsr_exec *exec = self->exec;
  host_output *output = &self->outputs[index];
  uint64_t count = count_items(output), bytes = 0;
  host_tensor before = {.data = NULL};
  output->offsets =
      (uint64_t *)tsr_arena_alloc_array(&self->run_memory, count, sizeof *output->offsets);
  if (output->offsets == NULL)
    return out_of_memory(self);
  for (uint64_t i = 0; i < count; i++) {
    output->offsets[i] = bytes;
    bytes += round_up(item_of(output, i)->bytes); /* there is so much memory already */
  }
  TSR_TRY(exec->ops->open_view(exec, &output->view, bytes != 0 ? bytes : 1));
  exec->outputs[index].view_device = output->view.device;
  for (uint64_t i = 0; i < count; i++) {
    const host_tensor *item = item_of(output, i);
    if (output->view.direct)
      TSR_TRY(own(self, output, i, &before));
    else
      TSR_TRY(exec->ops->show(exec, (unsigned char *)output->view.data + output->offsets[i],
                              item->data, item->bytes));
  }
  return TSR_OK;
}

/* The tensor's memory becomes the output's, when nobody else wants it. */
static tsr_status move_memory(host_exec *self, host_tensor *tensor, exec_output *output) {
  bool moved = false;
  if (tensor->object.references == 1 && tensor->owns) {
    exec_memory memory = output->own;
    output->own = tensor->memory;
    tensor->memory = memory;
    self->tensor_bytes = self->tensor_bytes + memory.bytes - output->own.bytes;
    return TSR_OK;
  }
  TSR_TRY(tsr_exec_grow(self->exec, &output->own, tensor->bytes, &moved));
  return copy_tensor(self, output->own.data, tensor);
}

static tsr_status check_bound(host_exec *self, uint32_t index, const host_tensor *tensor) {
  const exec_binding *caller = &self->exec->outputs[index].caller;
  for (uint32_t d = 0; d < tensor->rank; d++)
    if (caller->shape[d] != tensor->shape[d])
      return tsr_exec_fail(self->exec, TSR_ERR_SHAPE,
                           "output '%s': dim %u of the bound tensor is %lld, the result has %lld",
                           self->program->outputs[index].name, d, (long long)caller->shape[d],
                           (long long)tensor->shape[d]);
  return TSR_OK;
}

/* As in other programs: ops->end brings it where it is shown. */
static tsr_status give_tensor(host_exec *self, uint32_t index, host_tensor *tensor) {
  exec_output *output = &self->exec->outputs[index];
  bool direct = output->caller.bound && output->caller.in_place;
  void *pointer;
  memcpy(output->shape, tensor->shape, tensor->rank * sizeof tensor->shape[0]);
  output->bytes = tensor->bytes;
  if (output->caller.bound)
    TSR_TRY(check_bound(self, index, tensor));
  if (!direct)
    TSR_TRY(move_memory(self, tensor, output));
  TSR_TRY(self->exec->ops->place_output(self->exec, index, &pointer));
  return !direct || pointer == tensor->data ? TSR_OK : copy_tensor(self, pointer, tensor);
}

static tsr_status give_output(host_exec *self, uint32_t index, host_object **value) {
  host_output *output = &self->outputs[index];
  tsr_status status;
  if (!tsr_host_shows(self->exec, index)) {
    status = give_tensor(self, index, (host_tensor *)(void *)*value);
    tsr_host_release(self, *value);
    *value = NULL;
    return status;
  }
  output->value = *value;
  *value = NULL;
  return self->exec->module->outputs[index].is_text != 0 ? show_all_strings(self, index)
                                                         : show_items(self, index);
}

/* Of an output that goes into memory of an input: when it still is what another input holds whose
 * memory is overwritten, too, a copy of that. */
static tsr_status save_input(host_exec *self, uint32_t index, host_object **inout_value) {
  host_tensor *from = (host_tensor *)(void *)*inout_value, *tensor;
  tsr_status status;
  if (!from->writable || from->data == self->exec->outputs[index].caller.data)
    return TSR_OK;
  TSR_TRY(tsr_host_new_tensor(self, &self->copies, from->dtype, from->rank, from->shape, &tensor));
  status = copy_tensor(self, tensor->data, from);
  *inout_value = &tensor->object;
  tsr_host_release(self, &from->object);
  return status;
}

/* Outputs that go into memory of inputs come last: others may still be what these hold. */
tsr_status tsr_host_give_outputs(host_exec *self, host_object **values) {
  const tsr_port_desc *ports = self->program->outputs;
  for (uint32_t i = 0; i < self->program->output_count; i++)
    if (ports[i].alias == 0)
      TSR_TRY(give_output(self, i, &values[i]));
  for (uint32_t i = 0; i < self->program->output_count; i++)
    if (ports[i].alias != 0)
      TSR_TRY(save_input(self, i, &values[i]));
  for (uint32_t i = 0; i < self->program->output_count; i++)
    if (ports[i].alias != 0)
      TSR_TRY(give_output(self, i, &values[i]));
  return TSR_OK;
}

void tsr_host_count_items(const tsr_exec *exec, uint32_t index, uint64_t *out_count,
                          int32_t *out_present) {
  const host_output *output = &exec->host->outputs[index];
  *out_count = count_items(output);
  *out_present = output->value != NULL;
}

tsr_status tsr_host_output_item(tsr_exec *exec, uint32_t index, uint64_t item,
                                DLTensor *out_tensor) {
  host_output *output = &exec->host->outputs[index];
  const tsr_port_info *info = &exec->module->outputs[index];
  host_tensor *tensor;
  if (item >= count_items(output))
    return tsr_exec_fail(exec, TSR_ERR_ARGUMENT, "output '%s': there is no item number %llu",
                         info->name, (unsigned long long)item);
  tensor = item_of(output, item);
  out_tensor->ndim = (int32_t)tensor->rank;
  out_tensor->shape = tensor->shape;
  if (info->is_text != 0) {
    out_tensor->data = (void *)(uintptr_t)output->texts[item];
    out_tensor->device = (DLDevice){kDLCPU, 0};
    out_tensor->dtype = (DLDataType){kDLOpaqueHandle, 64, 1};
    return TSR_OK;
  }
  out_tensor->data = output->view.direct
                         ? tensor->data
                         : (unsigned char *)output->view.data + output->offsets[item];
  out_tensor->device = output->view.device;
  out_tensor->dtype = tsr_dtype_to_dlpack(tensor->dtype);
  return TSR_OK;
}
