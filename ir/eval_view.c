/* Ops that move elements. */
#include "ir/bf16_parts.h"
#include "ir/eval_internal.h"
#include <string.h>

static tsr_status eval_reshape(tsr_eval_op *e) {
  if (e->in[0]->count != e->out[0]->count)
    return tsr_eval_fail(e, TSR_ERR_SHAPE, "%lld elements do not fill %lld",
                         (long long)e->in[0]->count, (long long)e->out[0]->count);
  for (int64_t i = 0; i < e->out[0]->count; i++)
    tsr_array_move(e->out[0], i, e->in[0], i);
  return TSR_OK;
}

static tsr_status eval_transpose(tsr_eval_op *e) {
  int64_t perm[TSR_MAX_RANK], position[TSR_MAX_RANK], from[TSR_MAX_RANK];
  uint32_t rank = e->in[0]->rank;
  TSR_TRY(tsr_eval_list(e, "perm", rank, 0, perm));
  for (uint32_t a = 0; a < rank; a++)
    if (perm[a] < 0 || perm[a] >= rank || e->out[0]->rank != rank ||
        e->out[0]->dims[a] != e->in[0]->dims[perm[a]])
      return tsr_eval_fail(e, TSR_ERR_SHAPE, "'perm' does not fit");
  for (int64_t i = 0; i < e->out[0]->count; i++) {
    tsr_unravel(e->out[0], i, position);
    for (uint32_t a = 0; a < rank; a++)
      from[perm[a]] = position[a];
    tsr_array_move(e->out[0], i, e->in[0], tsr_ravel(e->in[0], from));
  }
  return TSR_OK;
}

static tsr_status eval_broadcast(tsr_eval_op *e) {
  int64_t position[TSR_MAX_RANK], from[TSR_MAX_RANK];
  const tsr_array *in = e->in[0];
  uint32_t skip = e->out[0]->rank - in->rank;
  for (uint32_t a = 0; a < in->rank; a++)
    if (in->rank > e->out[0]->rank ||
        (in->dims[a] != 1 && in->dims[a] != e->out[0]->dims[a + skip]))
      return tsr_eval_fail(e, TSR_ERR_SHAPE, "the operand does not broadcast");
  for (int64_t i = 0; i < e->out[0]->count; i++) {
    tsr_unravel(e->out[0], i, position);
    for (uint32_t a = 0; a < in->rank; a++)
      from[a] = in->dims[a] == 1 ? 0 : position[a + skip];
    tsr_array_move(e->out[0], i, in, tsr_ravel(in, from));
  }
  return TSR_OK;
}

static tsr_status eval_slice(tsr_eval_op *e) {
  int64_t start[TSR_MAX_RANK], step[TSR_MAX_RANK], position[TSR_MAX_RANK];
  const tsr_array *in = e->in[0];
  TSR_TRY(tsr_eval_list(e, "start", in->rank, 0, start));
  TSR_TRY(tsr_eval_list(e, "step", in->rank, 1, step));
  for (int64_t i = 0; i < e->out[0]->count; i++) {
    tsr_unravel(e->out[0], i, position);
    for (uint32_t a = 0; a < in->rank; a++) {
      position[a] = start[a] + position[a] * step[a];
      if (position[a] < 0 || position[a] >= in->dims[a])
        return tsr_eval_fail(e, TSR_ERR_SHAPE, "the slice leaves axis %u", a);
    }
    tsr_array_move(e->out[0], i, in, tsr_ravel(in, position));
  }
  return TSR_OK;
}

/* --- pad --- */

typedef enum pad_mode { PAD_CONSTANT, PAD_EDGE, PAD_REFLECT, PAD_WRAP } pad_mode;

static tsr_status read_mode(tsr_eval_op *e, pad_mode *out) {
  static const char *const names[] = {"constant", "edge", "reflect", "wrap"};
  const char *mode = tsr_op_string(e->eval->ir, e->op, "mode");
  for (int i = 0; mode != NULL && i < 4; i++)
    if (strcmp(mode, names[i]) == 0) {
      *out = (pad_mode)i;
      return TSR_OK;
    }
  return tsr_eval_fail(e, TSR_ERR_ARGUMENT, "unknown mode");
}

static int64_t modulo(int64_t a, int64_t b) {
  return (a % b + b) % b;
}

/* Where position `at` of an axis of `extent` elements is read; -1: the pad value. Reflection does
 * not repeat the edge. */
static int64_t pad_source(pad_mode mode, int64_t at, int64_t extent) {
  if (at >= 0 && at < extent)
    return at;
  if (mode == PAD_CONSTANT || extent == 0)
    return -1;
  if (mode == PAD_EDGE)
    return at < 0 ? 0 : extent - 1;
  if (mode == PAD_WRAP)
    return modulo(at, extent);
  if (extent == 1)
    return 0;
  at = modulo(at, 2 * (extent - 1));
  return at < extent ? at : 2 * (extent - 1) - at;
}

static tsr_status eval_pad(tsr_eval_op *e) {
  int64_t low[TSR_MAX_RANK], interior[TSR_MAX_RANK], position[TSR_MAX_RANK];
  const tsr_array *in = e->in[0];
  pad_mode mode;
  TSR_TRY(read_mode(e, &mode));
  TSR_TRY(tsr_eval_list(e, "low", in->rank, 0, low));
  TSR_TRY(tsr_eval_list(e, "interior", in->rank, 0, interior));
  for (int64_t i = 0; i < e->out[0]->count; i++) {
    bool inside = true;
    tsr_unravel(e->out[0], i, position);
    for (uint32_t a = 0; a < in->rank; a++) {
      int64_t at = position[a] - low[a], spread = interior[a] + 1;
      bool between = modulo(at, spread) != 0;
      at = between ? -1 : at / spread;
      at = between ? -1 : pad_source(mode, at, in->dims[a]);
      inside = inside && at >= 0;
      position[a] = at;
    }
    if (inside)
      tsr_array_move(e->out[0], i, in, tsr_ravel(in, position));
    else
      tsr_array_move(e->out[0], i, e->in[1], 0);
  }
  return TSR_OK;
}

static tsr_status eval_concat(tsr_eval_op *e) {
  int64_t position[TSR_MAX_RANK], offset = 0;
  uint32_t axis;
  TSR_TRY(tsr_eval_axis(e, e->out[0]->rank, &axis));
  for (uint32_t k = 0; k < e->data->operand_count; k++) {
    const tsr_array *in = tsr_eval_operand(e, k);
    if (in->rank != e->out[0]->rank || offset + in->dims[axis] > e->out[0]->dims[axis])
      return tsr_eval_fail(e, TSR_ERR_SHAPE, "operand %u does not fit", k);
    for (int64_t i = 0; i < in->count; i++) {
      tsr_unravel(in, i, position);
      position[axis] += offset;
      tsr_array_move(e->out[0], tsr_ravel(e->out[0], position), in, i);
    }
    offset += in->dims[axis];
  }
  return TSR_OK;
}

static void move_part(tsr_array *to, int64_t to_index, const tsr_array *from, int64_t from_index,
                      int64_t part) {
  uint16_t parts[TSR_BF16_PARTS];
  if (to->floats == NULL || from->floats == NULL || part < 0 || part >= TSR_BF16_PARTS)
    return;
  tsr_bf16_parts_of((float)from->floats[from_index], parts);
  to->floats[to_index] = (double)tsr_bf16_value(parts[part]);
}

static tsr_status eval_relayout(tsr_eval_op *e) {
  const tsr_attr *map = tsr_op_attr(e->eval->ir, e->op, "map");
  const int64_t parts = tsr_op_int(e->eval->ir, e->op, "parts", -1);
  int64_t position[TSR_MAX_RANK], from[TSR_MAX_RANK];
  const tsr_array *in = e->in[0];
  if (map->count != in->rank)
    return tsr_eval_fail(e, TSR_ERR_ARGUMENT, "'map' needs %u subscripts", in->rank);
  for (int64_t i = 0; i < e->out[0]->count; i++) {
    bool inside = true;
    tsr_unravel(e->out[0], i, position);
    for (uint32_t a = 0; a < in->rank; a++) {
      TSR_TRY(tsr_eval_expr(e, map->u.exprs[a], position, &from[a]));
      inside = inside && from[a] >= 0 && from[a] < in->dims[a];
    }
    if (inside && parts >= 0 && parts < e->out[0]->rank)
      move_part(e->out[0], i, in, tsr_ravel(in, from), position[parts]);
    else if (inside)
      tsr_array_move(e->out[0], i, in, tsr_ravel(in, from));
  }
  return TSR_OK;
}

tsr_status tsr_eval_view(tsr_eval_op *e) {
  switch (e->data->code) {
  case TSR_OP_RESHAPE:
    return eval_reshape(e);
  case TSR_OP_TRANSPOSE:
    return eval_transpose(e);
  case TSR_OP_BROADCAST:
    return eval_broadcast(e);
  case TSR_OP_SLICE:
    return eval_slice(e);
  case TSR_OP_PAD:
    return eval_pad(e);
  case TSR_OP_CONCAT:
    return eval_concat(e);
  case TSR_OP_RELAYOUT:
    return eval_relayout(e);
  default:
    return tsr_eval_fail(e, TSR_ERR_UNSUPPORTED, "no view of graphs");
  }
}
