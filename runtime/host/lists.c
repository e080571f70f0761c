/* Operations on lists and maybes. Items are references: only split and concat move elements. */
#include "runtime/host/host.h"
#include <string.h>

typedef struct list_step {
  host_exec *self;
  const tsr_host_step *step;
  uint32_t index;
  const uint32_t *operands;
  uint32_t result; /* its only one */
} list_step;

static host_slot *slot_of(const list_step *s) {
  return &s->self->slots[s->result];
}

static void give(const list_step *s, host_object *object) {
  s->self->registers[s->result] = object;
}

static bool dies_here(const list_step *s, uint32_t operand) {
  return tsr_host_dies(s->self, s->index, s->operands[operand]);
}

/* The list of an operand to be changed, with room for `more` items: itself when nobody else holds
 * it. It stays in the register if this fails. */
static tsr_status take_list(const list_step *s, uint32_t operand, uint64_t more,
                            host_list **out_list) {
  host_exec *self = s->self;
  host_list *from = host_list_at(self, s->operands[operand]), *list;
  if (from->object.references == 1 && dies_here(s, operand)) {
    TSR_TRY(tsr_host_reserve(self, from, from->count + more));
    self->registers[s->operands[operand]] = NULL;
    *out_list = from;
    return TSR_OK;
  }
  TSR_TRY(tsr_host_new_list(self, from->count + more, &list));
  for (uint64_t i = 0; i < from->count; i++) {
    list->items[i] = from->items[i];
    (void)tsr_host_retain(&list->items[i]->object);
  }
  list->count = from->count;
  *out_list = list;
  return TSR_OK;
}

/* A position of 0..last, from the end when negative; without the operand, `otherwise`. */
static tsr_status read_position(const list_step *s, uint32_t operand, uint64_t count, int64_t last,
                                int64_t otherwise, uint64_t *out_position) {
  int64_t position = otherwise;
  if (operand < s->step->operand_count) {
    TSR_TRY(tsr_host_read(s->self, host_tensor_at(s->self, s->operands[operand]), "the position",
                          &position));
    position += position < 0 ? (int64_t)count : 0;
  }
  if (position < 0 || position > last)
    return tsr_exec_fail(s->self->exec, TSR_ERR_SHAPE,
                         "the position is outside of a list of %llu items",
                         (unsigned long long)count);
  *out_position = (uint64_t)position;
  return TSR_OK;
}

static tsr_status make_list(const list_step *s) {
  host_list *list;
  TSR_TRY(tsr_host_new_list(s->self, s->step->operand_count, &list));
  for (uint32_t i = 0; i < s->step->operand_count; i++)
    list->items[list->count++] =
        (host_tensor *)(void *)tsr_host_retain(s->self->registers[s->operands[i]]);
  give(s, &list->object);
  return TSR_OK;
}

static tsr_status insert(const list_step *s) {
  uint64_t count = host_list_at(s->self, s->operands[0])->count, position;
  host_list *list;
  TSR_TRY(read_position(s, 2, count, (int64_t)count, (int64_t)count, &position));
  TSR_TRY(take_list(s, 0, 1, &list));
  if (position != count)
    memmove(&list->items[position + 1], &list->items[position],
            (count - position) * sizeof(*list->items));
  list->items[position] =
      (host_tensor *)(void *)tsr_host_retain(s->self->registers[s->operands[1]]);
  list->count++;
  give(s, &list->object);
  return TSR_OK;
}

static tsr_status erase(const list_step *s) {
  uint64_t count = host_list_at(s->self, s->operands[0])->count, position;
  int64_t last = (int64_t)count - 1;
  host_list *list;
  TSR_TRY(read_position(s, 1, count, last, last, &position));
  TSR_TRY(take_list(s, 0, 0, &list));
  tsr_host_release(s->self, &list->items[position]->object);
  list->count--;
  memmove(&list->items[position], &list->items[position + 1],
          (list->count - position) * sizeof(*list->items));
  give(s, &list->object);
  return TSR_OK;
}

static tsr_status at(const list_step *s) {
  host_list *list = host_list_at(s->self, s->operands[0]);
  uint64_t position;
  TSR_TRY(read_position(s, 1, list->count, (int64_t)list->count - 1, 0, &position));
  give(s, tsr_host_retain(&list->items[position]->object));
  return TSR_OK;
}

/* A scalar that the host made. */
static tsr_status give_scalar(const list_step *s, tsr_dtype dtype, int64_t value) {
  host_exec *self = s->self;
  uint8_t truth = value != 0;
  const void *bytes = dtype == TSR_BOOL ? (const void *)&truth : (const void *)&value;
  host_tensor *tensor;
  TSR_TRY(tsr_host_new_tensor(self, slot_of(s), dtype, 0, NULL, &tensor));
  tensor->scalar_known = true;
  tensor->scalar = value;
  give(s, &tensor->object);
  return self->exec->ops->upload(self->exec, tensor->data, bytes, tensor->bytes, EXEC_HOST);
}

/* ---- Split ---- */

static uint64_t product(const int64_t *shape, uint32_t first, uint32_t end) {
  uint64_t count = 1; /* of extents of a tensor: overflows only where another extent is 0 */
  for (uint32_t d = first; d < end; d++)
    count *= (uint64_t)shape[d];
  return count;
}

/* Bytes of `count` elements, which copies move as whole bytes. */
static tsr_status row_bytes(const list_step *s, tsr_dtype dtype, uint64_t count,
                            uint64_t *out_bytes) {
  uint64_t bits = count * tsr_dtype_bits(dtype);
  *out_bytes = bits / 8;
  if (bits % 8 != 0)
    return tsr_exec_fail(s->self->exec, TSR_ERR_UNSUPPORTED,
                         "pieces of %s that are no whole bytes cannot be moved",
                         tsr_dtype_text(dtype));
  return TSR_OK;
}

typedef struct split {
  const host_tensor *from;
  uint32_t axis;
  bool drop;
  int64_t done;
} split;

static tsr_status add_piece(const list_step *s, split *state, int64_t extent, host_list *list) {
  host_exec *self = s->self;
  const host_tensor *from = state->from;
  uint32_t rank = from->rank, axis = state->axis;
  uint64_t inner = product(from->shape, axis + 1, rank), outer = product(from->shape, 0, axis);
  uint64_t skip, row, pitch;
  int64_t shape[TSR_MAX_RANK];
  host_tensor *piece;
  if (extent < 0 || extent > from->shape[axis] - state->done)
    return tsr_exec_fail(self->exec, TSR_ERR_SHAPE,
                         "the sizes of the pieces do not add up to %lld, the size of dim %u",
                         (long long)from->shape[axis], axis);
  memcpy(shape, from->shape, rank * sizeof shape[0]);
  shape[axis] = extent;
  if (state->drop)
    memmove(&shape[axis], &shape[axis + 1], (rank - axis - 1) * sizeof shape[0]);
  TSR_TRY(tsr_host_reserve(self, list, list->count + 1));
  TSR_TRY(tsr_host_new_tensor(self, slot_of(s), from->dtype, state->drop ? rank - 1 : rank, shape,
                              &piece));
  list->items[list->count++] = piece;
  if (piece->bytes != 0) {
    TSR_TRY(row_bytes(s, from->dtype, inner * (uint64_t)extent, &row));
    TSR_TRY(row_bytes(s, from->dtype, inner * (uint64_t)state->done, &skip));
    TSR_TRY(row_bytes(s, from->dtype, inner * (uint64_t)from->shape[axis], &pitch));
    TSR_TRY(self->exec->ops->copy(self->exec, piece->data, row,
                                  (const unsigned char *)from->data + skip, pitch, row, outer));
  }
  state->done += extent;
  return TSR_OK;
}

/* Pieces of `size`, the last one smaller. */
static tsr_status split_evenly(const list_step *s, split *state, int64_t size, host_list *list) {
  int64_t extent = state->from->shape[state->axis];
  if (size <= 0)
    return tsr_exec_fail(s->self->exec, TSR_ERR_SHAPE, "the size of a piece is %lld",
                         (long long)size);
  while (state->done < extent)
    TSR_TRY(add_piece(s, state, size < extent - state->done ? size : extent - state->done, list));
  return TSR_OK;
}

static tsr_status split_by(const list_step *s, split *state, host_tensor *sizes, host_list *list) {
  void *data;
  if (sizes->rank == 0) {
    int64_t size;
    TSR_TRY(tsr_host_read(s->self, sizes, "the size of a piece", &size));
    return split_evenly(s, state, size, list);
  }
  if (sizes->rank != 1)
    return tsr_exec_fail(s->self->exec, TSR_ERR_SHAPE, "the sizes of pieces are no vector");
  TSR_TRY(tsr_host_fetch(s->self, sizes, &data));
  for (int64_t i = 0; i < sizes->shape[0]; i++)
    TSR_TRY(add_piece(
        s, state, sizes->dtype == TSR_I64 ? ((const int64_t *)data)[i] : ((const int32_t *)data)[i],
        list));
  if (state->done != state->from->shape[state->axis])
    return tsr_exec_fail(
        s->self->exec, TSR_ERR_SHAPE, "the sizes of the pieces add up to %lld, but dim %u has %lld",
        (long long)state->done, state->axis, (long long)state->from->shape[state->axis]);
  return TSR_OK;
}

static tsr_status split_tensor(const list_step *s) {
  const int64_t *numbers = s->self->program->host_numbers + s->step->first_number;
  bool sized = s->step->operand_count > 1;
  split state = {host_tensor_at(s->self, s->operands[0]), (uint32_t)numbers[0],
                 numbers[1] != 0 && !sized, 0};
  host_list *list;
  if (state.axis >= state.from->rank)
    return tsr_exec_fail(s->self->exec, TSR_ERR_SHAPE, "there is no dim %u in a tensor of rank %u",
                         state.axis, state.from->rank);
  TSR_TRY(tsr_host_new_list(s->self, 0, &list));
  give(s, &list->object);
  return sized ? split_by(s, &state, host_tensor_at(s->self, s->operands[1]), list)
               : split_evenly(s, &state, 1, list);
}

/* ---- Concat ---- */

/* What the result's type says, where nothing else does. */
static tsr_status give_empty(const list_step *s, uint32_t axis) {
  host_exec *self = s->self;
  const tsr_program *p = self->program;
  const tsr_host_value *value = &p->host_values[s->result];
  int64_t shape[TSR_MAX_RANK];
  host_tensor *tensor;
  for (uint32_t d = 0; d < value->rank; d++) {
    uint32_t bind = p->arguments[value->first_bind + d];
    shape[d] = 0;
    if (d != axis && bind != 0)
      shape[d] = p->dims[bind - 1].lo;
    else if (d != axis)
      TSR_TRY(
          tsr_host_eval(self, p->codes[value->first_dim + d], "the size of a value", &shape[d]));
    if (shape[d] < 0)
      return tsr_exec_fail(self->exec, TSR_ERR_SHAPE, "the size of dim %u is negative", d);
  }
  TSR_TRY(
      tsr_host_new_tensor(self, slot_of(s), (tsr_dtype)value->dtype, value->rank, shape, &tensor));
  give(s, &tensor->object);
  return TSR_OK;
}

static tsr_status join_shapes(const list_step *s, const host_list *list, uint32_t axis, bool stack,
                              int64_t *out_shape) {
  const host_tensor *first = list->items[0];
  uint32_t rank = first->rank + (stack ? 1 : 0);
  int64_t total = stack ? (int64_t)list->count : 0;
  if (axis >= rank || rank > TSR_MAX_RANK)
    return tsr_exec_fail(s->self->exec, TSR_ERR_SHAPE, "there is no dim %u in a tensor of rank %u",
                         axis, rank);
  for (uint64_t i = 0; i < list->count; i++) {
    const host_tensor *item = list->items[i];
    bool same = item->rank == first->rank;
    for (uint32_t d = 0; same && d < item->rank; d++)
      same = item->shape[d] == first->shape[d] || (!stack && d == axis);
    if (!same)
      return tsr_exec_fail(s->self->exec, TSR_ERR_SHAPE,
                           "item %llu of the list has another shape than the first, they cannot "
                           "be joined",
                           (unsigned long long)i);
    if (!stack && __builtin_add_overflow(total, item->shape[axis], &total))
      return tsr_exec_fail(s->self->exec, TSR_ERR_SHAPE, "the size of a value overflows");
  }
  for (uint32_t d = 0; d < rank; d++)
    out_shape[d] = d == axis ? total : first->shape[stack && d > axis ? d - 1 : d];
  return TSR_OK;
}

static tsr_status copy_items(const list_step *s, const host_list *list, host_tensor *to,
                             uint32_t axis, bool stack, bool reverse) {
  host_exec *self = s->self;
  uint64_t inner = product(to->shape, axis + 1, to->rank), outer = product(to->shape, 0, axis);
  uint64_t pitch, row;
  unsigned char *at = (unsigned char *)to->data;
  TSR_TRY(row_bytes(s, to->dtype, inner * (uint64_t)to->shape[axis], &pitch));
  for (uint64_t i = 0; i < list->count; i++) {
    const host_tensor *item = list->items[reverse ? list->count - 1 - i : i];
    TSR_TRY(row_bytes(s, to->dtype, inner * (stack ? 1 : (uint64_t)item->shape[axis]), &row));
    TSR_TRY(self->exec->ops->copy(self->exec, at, pitch, item->data, row, row, outer));
    at += row;
  }
  return TSR_OK;
}

static tsr_status concat(const list_step *s) {
  const int64_t *numbers = s->self->program->host_numbers + s->step->first_number;
  const host_list *list = host_list_at(s->self, s->operands[0]);
  uint32_t axis = (uint32_t)numbers[0];
  bool stack = numbers[1] != 0, reverse = numbers[2] != 0;
  int64_t shape[TSR_MAX_RANK];
  host_tensor *tensor;
  if (list->count == 0)
    return give_empty(s, axis);
  TSR_TRY(join_shapes(s, list, axis, stack, shape));
  if (list->count == 1 && !stack) {
    give(s, tsr_host_retain(&list->items[0]->object));
    return TSR_OK;
  }
  TSR_TRY(tsr_host_new_tensor(s->self, slot_of(s), list->items[0]->dtype,
                              list->items[0]->rank + (stack ? 1 : 0), shape, &tensor));
  give(s, &tensor->object);
  return tensor->bytes != 0 ? copy_items(s, list, tensor, axis, stack, reverse) : TSR_OK;
}

/* ---- Maybes ---- */

static tsr_status get(const list_step *s) {
  if (s->self->registers[s->operands[0]] == NULL)
    return tsr_exec_fail(s->self->exec, TSR_ERR_SHAPE, "the optional value is absent");
  give(s, tsr_host_retain(s->self->registers[s->operands[0]]));
  return TSR_OK;
}

tsr_status tsr_host_list_step(host_exec *self, uint32_t index) {
  const tsr_program *p = self->program;
  const tsr_host_step *step = &p->host_steps[index];
  list_step s = {self, step, index, p->arguments + step->first_operand,
                 p->arguments[step->first_result]};
  tsr_status status;
  switch ((tsr_host_op)step->op) {
  case TSR_HOST_LIST_MAKE:
    return make_list(&s);
  case TSR_HOST_LIST_INSERT:
    return insert(&s);
  case TSR_HOST_LIST_ERASE:
    return erase(&s);
  case TSR_HOST_LIST_AT:
    return at(&s);
  case TSR_HOST_LIST_LENGTH:
    return give_scalar(&s, TSR_I64, (int64_t)host_list_at(self, s.operands[0])->count);
  case TSR_HOST_LIST_SPLIT:
    status = split_tensor(&s);
    tsr_arena_reset(&self->step_memory);
    return status;
  case TSR_HOST_LIST_CONCAT:
    return concat(&s);
  case TSR_HOST_MAYBE_MAKE:
    give(&s, step->operand_count != 0 ? tsr_host_retain(self->registers[s.operands[0]]) : NULL);
    return TSR_OK;
  case TSR_HOST_MAYBE_HAS:
    return give_scalar(&s, TSR_BOOL, self->registers[s.operands[0]] != NULL);
  default: /* MAYBE_GET */
    return get(&s);
  }
}
