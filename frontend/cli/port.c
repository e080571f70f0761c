#include "frontend/cli/port.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_texts[] = {"", "list of ", "optional ", "optional list of "};

bool tsr_port_is_list(const tsr_port_info *port) {
  return port->kind == TSR_PORT_LIST || port->kind == TSR_PORT_OPTIONAL_LIST;
}

bool tsr_port_is_optional(const tsr_port_info *port) {
  return port->kind == TSR_PORT_OPTIONAL || port->kind == TSR_PORT_OPTIONAL_LIST;
}

void tsr_port_type_text(const tsr_port_info *port, char *out, size_t out_size) {
  int used = snprintf(out, out_size, "%s%s[", kind_texts[port->kind],
                      port->is_text != 0 ? "text" : tsr_dtype_text(port->dtype));
  if (port->rank == TSR_ANY_RANK && used >= 0 && (size_t)used < out_size)
    used += snprintf(out + used, out_size - (size_t)used, "..");
  for (uint32_t i = 0; port->rank != TSR_ANY_RANK && i < port->rank; i++)
    if (used >= 0 && (size_t)used < out_size)
      used += snprintf(out + used, out_size - (size_t)used, "%s%s", i > 0 ? ", " : "",
                       port->dim_texts[i]);
  if (used >= 0 && (size_t)used < out_size)
    snprintf(out + used, out_size - (size_t)used, "]");
}

static DLTensor view_of(const tsr_host_tensor *tensor) {
  return (DLTensor){.data = tensor->data,
                    .device = {.device_type = kDLCPU},
                    .ndim = (int32_t)tensor->rank,
                    .dtype = tensor->is_text
                                 ? (DLDataType){.code = kDLOpaqueHandle, .bits = 64, .lanes = 1}
                                 : tsr_dtype_to_dlpack(tensor->dtype),
                    .shape = (int64_t *)tensor->dims};
}

static tsr_status failed(tsr_exec *exec, tsr_status status, tsr_diag *diag) {
  return tsr_fail(diag, status, "%s", tsr_exec_last_error(exec));
}

static tsr_status bind_list(tsr_exec *exec, uint32_t index, const tsr_host_items *items,
                            tsr_diag *diag) {
  DLTensor *views = calloc((size_t)items->count + 1, sizeof *views);
  if (views == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "no memory for a list of tensors");
  for (uint64_t i = 0; i < items->count; i++)
    views[i] = view_of(&items->items[i]);
  tsr_status status = tsr_exec_bind_input_list(exec, index, views, items->count);
  free(views);
  return status == TSR_OK ? TSR_OK : failed(exec, status, diag);
}

tsr_status tsr_port_bind(tsr_exec *exec, const tsr_module *module, uint32_t index,
                         const tsr_host_items *items, tsr_diag *diag) {
  tsr_port_info port;
  tsr_status status = tsr_module_get_input(module, index, &port);
  if (status != TSR_OK)
    return tsr_fail(diag, status, "there is no input %" PRIu32, index);
  if (items->absent) {
    if (!tsr_port_is_optional(&port))
      return tsr_fail(diag, TSR_ERR_TYPE, "input '%s' is not optional", port.name);
    status = tsr_exec_bind_input_absent(exec, index);
    return status == TSR_OK ? TSR_OK : failed(exec, status, diag);
  }
  if (!tsr_port_is_list(&port) && items->count != 1)
    return tsr_fail(diag, TSR_ERR_TYPE, "input '%s' is no list: it takes one tensor, not %" PRIu64,
                    port.name, items->count);
  for (uint64_t i = 0; i < items->count; i++)
    if (items->items[i].is_text != (port.is_text != 0))
      return tsr_fail(diag, TSR_ERR_TYPE, "input '%s' takes %s, not %s", port.name,
                      port.is_text != 0 ? "strings" : "numbers",
                      port.is_text != 0 ? "numbers" : "strings");
  if (tsr_port_is_list(&port))
    return bind_list(exec, index, items, diag);
  DLTensor view = view_of(&items->items[0]);
  status = tsr_exec_bind_input(exec, index, &view);
  return status == TSR_OK ? TSR_OK : failed(exec, status, diag);
}

static void take_view(const DLTensor *view, bool is_text, tsr_host_tensor *out_tensor) {
  *out_tensor = (tsr_host_tensor){.dtype = is_text ? TSR_I64 : tsr_dtype_from_dlpack(view->dtype),
                                  .is_text = is_text,
                                  .rank = (uint32_t)view->ndim,
                                  .count = 1,
                                  .data = (char *)view->data + view->byte_offset};
  for (int32_t i = 0; i < view->ndim; i++) {
    out_tensor->dims[i] = view->shape[i];
    out_tensor->count *= view->shape[i];
  }
  out_tensor->bytes = tsr_dtype_bytes(out_tensor->dtype, out_tensor->count);
}

tsr_status tsr_port_output(tsr_exec *exec, const tsr_module *module, uint32_t index,
                           tsr_host_items *out_items, tsr_diag *diag) {
  tsr_port_info port;
  uint64_t count;
  int32_t present;
  *out_items = (tsr_host_items){0};
  tsr_status status = tsr_module_get_output(module, index, &port);
  if (status != TSR_OK)
    return tsr_fail(diag, status, "there is no output %" PRIu32, index);
  status = tsr_exec_output_count(exec, index, &count, &present);
  if (status != TSR_OK)
    return failed(exec, status, diag);
  TSR_TRY(tsr_host_items_create(out_items, count, diag));
  out_items->absent = present == 0;
  for (uint64_t i = 0; i < count; i++) {
    DLTensor view;
    status = tsr_exec_output_item(exec, index, i, &view);
    if (status != TSR_OK) {
      tsr_port_release(out_items);
      return failed(exec, status, diag);
    }
    take_view(&view, port.is_text != 0, &out_items->items[i]);
  }
  return TSR_OK;
}

/* The tensors are the exec's. */
void tsr_port_release(tsr_host_items *items) {
  free(items->items);
  *items = (tsr_host_items){0};
}
