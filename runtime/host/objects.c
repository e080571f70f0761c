#include "runtime/host/host.h"
#include <string.h>

/* FREE_TENSORS: of one slot; double buffers need two. SLACK_LIMIT: larger tensors get exactly the
 * memory that they need. */
enum { FREE_TENSORS = 4, FIRST_ITEMS = 8, SLACK_LIMIT = 64 << 20 };

static tsr_status out_of_memory(host_exec *self) {
  return tsr_exec_fail(self->exec, TSR_ERR_OUT_OF_MEMORY, "no memory for a value");
}

/* ---- Tensors ---- */

static void release_memory(host_exec *self, host_tensor *tensor) {
  self->tensor_bytes -= tensor->memory.bytes;
  if (tensor->memory.data != NULL)
    self->exec->ops->release(self->exec, &tensor->memory);
}

static void destroy_tensor(host_exec *self, host_tensor *tensor) {
  const tsr_allocator *allocator = self->exec->allocator;
  release_memory(self, tensor);
  allocator->release(allocator->context, tensor, sizeof *tensor);
}

void tsr_host_empty_slot(host_exec *self, host_slot *slot) {
  while (slot->free != NULL) {
    host_tensor *tensor = slot->free;
    slot->free = tensor->next;
    destroy_tensor(self, tensor);
  }
  slot->count = 0;
}

static void release_tensor(host_exec *self, host_tensor *tensor) {
  host_slot *slot = tensor->slot;
  if (slot->count == FREE_TENSORS) {
    destroy_tensor(self, tensor);
    return;
  }
  tensor->next = slot->free;
  slot->free = tensor;
  slot->count++;
}

/* What grew once will grow again. */
static uint64_t with_slack(uint64_t had, uint64_t bytes) {
  return had != 0 && bytes <= SLACK_LIMIT ? bytes + bytes / 2 : bytes;
}

static tsr_status take_from_slot(host_exec *self, host_slot *slot, uint64_t bytes,
                                 host_tensor **out_tensor) {
  const tsr_allocator *allocator = self->exec->allocator;
  host_tensor *tensor = slot->free;
  tsr_status status = TSR_OK;
  uint64_t had;
  if (tensor != NULL) {
    slot->free = tensor->next;
    slot->count--;
  } else {
    tensor = (host_tensor *)allocator->allocate(allocator->context, sizeof *tensor,
                                                _Alignof(host_tensor));
    if (tensor == NULL)
      return out_of_memory(self);
    tensor->memory = (exec_memory){NULL, 0};
    tensor->slot = slot;
  }
  had = tensor->memory.bytes;
  if (had < bytes) {
    release_memory(self, tensor);
    status = self->exec->ops->allocate(self->exec, &tensor->memory, with_slack(had, bytes));
    self->tensor_bytes += tensor->memory.bytes;
  }
  if (status != TSR_OK) {
    destroy_tensor(self, tensor);
    return status;
  }
  tensor->object = (host_object){1, false};
  *out_tensor = tensor;
  return TSR_OK;
}

static tsr_status count_bytes(host_exec *self, tsr_dtype dtype, uint32_t rank, const int64_t *shape,
                              uint64_t *out_bytes) {
  bool overflow = false, empty = false;
  int64_t count = 1, bytes;
  for (uint32_t d = 0; d < rank; d++) {
    empty |= shape[d] == 0;
    overflow |= __builtin_mul_overflow(count, shape[d], &count);
  }
  bytes = overflow && !empty ? -1 : tsr_dtype_bytes(dtype, empty ? 0 : count);
  if (bytes < 0)
    return tsr_exec_fail(self->exec, TSR_ERR_SHAPE, "the size of a value in bytes overflows");
  *out_bytes = (uint64_t)bytes;
  return TSR_OK;
}

static void describe(host_tensor *tensor, tsr_dtype dtype, uint32_t rank, const int64_t *shape,
                     uint64_t bytes) {
  tensor->dtype = dtype;
  tensor->rank = rank;
  tensor->bytes = bytes;
  tensor->writable = false;
  tensor->scalar_known = false;
  tensor->host_data = NULL;
  if (rank != 0)
    memcpy(tensor->shape, shape, rank * sizeof *shape);
}

tsr_status tsr_host_new_tensor(host_exec *self, host_slot *slot, tsr_dtype dtype, uint32_t rank,
                               const int64_t *shape, host_tensor **out_tensor) {
  uint64_t bytes;
  TSR_TRY(count_bytes(self, dtype, rank, shape, &bytes));
  TSR_TRY(take_from_slot(self, slot, bytes, out_tensor));
  describe(*out_tensor, dtype, rank, shape, bytes);
  (*out_tensor)->owns = bytes != 0;
  (*out_tensor)->data = bytes != 0 ? (*out_tensor)->memory.data : self->exec->empty;
  return TSR_OK;
}

tsr_status tsr_host_new_alias(host_exec *self, host_slot *slot, tsr_dtype dtype, uint32_t rank,
                              const int64_t *shape, void *data, host_tensor **out_tensor) {
  uint64_t bytes;
  TSR_TRY(count_bytes(self, dtype, rank, shape, &bytes));
  TSR_TRY(take_from_slot(self, slot, 0, out_tensor));
  describe(*out_tensor, dtype, rank, shape, bytes);
  (*out_tensor)->owns = false;
  (*out_tensor)->data = bytes != 0 ? data : self->exec->empty;
  return TSR_OK;
}

/* ---- Lists ---- */

tsr_status tsr_host_reserve(host_exec *self, host_list *list, uint64_t capacity) {
  const tsr_allocator *allocator = self->exec->allocator;
  uint64_t wanted = capacity > list->capacity * 2 ? capacity : list->capacity * 2;
  host_tensor **items;
  if (capacity <= list->capacity)
    return TSR_OK;
  wanted = wanted < FIRST_ITEMS ? FIRST_ITEMS : wanted;
  if (wanted > SIZE_MAX / sizeof *items)
    return out_of_memory(self);
  items = (host_tensor **)allocator->allocate(allocator->context, wanted * sizeof *items,
                                              _Alignof(host_tensor *));
  if (items == NULL)
    return out_of_memory(self);
  if (list->count != 0)
    memcpy(items, list->items, list->count * sizeof *items);
  allocator->release(allocator->context, list->items, list->capacity * sizeof *items);
  list->items = items;
  list->capacity = wanted;
  return TSR_OK;
}

tsr_status tsr_host_new_list(host_exec *self, uint64_t capacity, host_list **out_list) {
  const tsr_allocator *allocator = self->exec->allocator;
  host_list *list =
      (host_list *)allocator->allocate(allocator->context, sizeof *list, _Alignof(host_list));
  tsr_status status;
  if (list == NULL)
    return out_of_memory(self);
  *list = (host_list){{1, true}, 0, 0, NULL};
  status = tsr_host_reserve(self, list, capacity);
  if (status != TSR_OK) {
    tsr_host_release(self, &list->object);
    return status;
  }
  *out_list = list;
  return TSR_OK;
}

static void destroy_list(host_exec *self, host_list *list) {
  const tsr_allocator *allocator = self->exec->allocator;
  for (uint64_t i = 0; i < list->count; i++)
    tsr_host_release(self, &list->items[i]->object);
  allocator->release(allocator->context, list->items, list->capacity * sizeof(host_tensor *));
  allocator->release(allocator->context, list, sizeof *list);
}

/* ---- References ---- */

host_object *tsr_host_retain(host_object *object) {
  if (object != NULL)
    object->references++;
  return object;
}

void tsr_host_release(host_exec *self, host_object *object) {
  if (object == NULL || --object->references != 0)
    return;
  if (object->is_list)
    destroy_list(self, (host_list *)(void *)object);
  else
    release_tensor(self, (host_tensor *)(void *)object);
}

void tsr_host_clear(host_exec *self, uint32_t value) {
  host_object *object = self->registers[value];
  self->registers[value] = NULL;
  tsr_host_release(self, object);
}

/* ---- Contents ---- */

tsr_status tsr_host_read(host_exec *self, host_tensor *tensor, const char *what,
                         int64_t *out_value) {
  union {
    int64_t wide;
    int32_t narrow;
    uint8_t truth;
  } element = {0};
  if (tensor->scalar_known) {
    *out_value = tensor->scalar;
    return TSR_OK;
  }
  for (uint32_t d = 0; d < tensor->rank; d++)
    if (tensor->shape[d] != 1)
      return tsr_exec_fail(self->exec, TSR_ERR_SHAPE, "%s has not one element", what);
  if (tensor->host_data != NULL)
    memcpy(&element, tensor->host_data, tensor->bytes);
  else
    TSR_TRY(self->exec->ops->fetch(self->exec, &element, tensor->data, tensor->bytes));
  tensor->scalar = tensor->dtype == TSR_I64   ? element.wide
                   : tensor->dtype == TSR_I32 ? element.narrow
                                              : element.truth != 0;
  tensor->scalar_known = true;
  *out_value = tensor->scalar;
  return TSR_OK;
}

tsr_status tsr_host_fetch(host_exec *self, const host_tensor *tensor, void **out_data) {
  if (self->exec->cuda == NULL || tensor->host_data != NULL || tensor->bytes == 0) {
    *out_data = tensor->host_data != NULL ? (void *)(uintptr_t)tensor->host_data : tensor->data;
    return TSR_OK;
  }
  *out_data = tsr_arena_alloc(&self->step_memory, tensor->bytes);
  if (*out_data == NULL)
    return out_of_memory(self);
  return self->exec->ops->fetch(self->exec, *out_data, tensor->data, tensor->bytes);
}
