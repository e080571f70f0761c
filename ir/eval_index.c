/* Gathers, scatters, topk, nonzero. Indices count from the end when negative; out of range they are
 * clamped by gathers and drop the update of scatters. */
#include "ir/eval_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int64_t from_end(int64_t index, int64_t extent) {
  return index < 0 ? index + extent : index;
}

static int64_t clamped(int64_t index, int64_t extent) {
  index = from_end(index, extent);
  return index < 0 ? 0 : index >= extent ? extent - 1 : index;
}

/* Elements of an empty operand are 0, which the result is already. */
static void take(tsr_eval_op *e, int64_t i, const int64_t *position) {
  if (e->in[0]->count != 0)
    tsr_array_move(e->out[0], i, e->in[0], tsr_ravel(e->in[0], position));
}

static tsr_status eval_gather(tsr_eval_op *e) {
  const tsr_array *x = e->in[0], *indices = e->in[1];
  int64_t place[TSR_MAX_RANK], position[TSR_MAX_RANK];
  uint32_t axis;
  TSR_TRY(tsr_eval_axis(e, x->rank, &axis));
  for (int64_t i = 0; i < e->out[0]->count; i++) {
    tsr_unravel(e->out[0], i, place);
    memcpy(position, place, axis * sizeof *position);
    position[axis] =
        clamped(tsr_array_int(indices, tsr_ravel(indices, place + axis)), x->dims[axis]);
    for (uint32_t a = axis + 1; a < x->rank; a++)
      position[a] = place[a + indices->rank - 1];
    take(e, i, position);
  }
  return TSR_OK;
}

/* Number of axes that one index tuple addresses. */
static tsr_status tuple_width(tsr_eval_op *e, const tsr_array *indices, uint32_t batch,
                              uint32_t *out) {
  *out = 0;
  if (indices->rank == 0 || batch >= indices->rank ||
      batch + indices->dims[indices->rank - 1] > e->in[0]->rank)
    return tsr_eval_fail(e, TSR_ERR_SHAPE, "the index tuples do not fit the operand");
  *out = (uint32_t)indices->dims[indices->rank - 1];
  return TSR_OK;
}

static tsr_status eval_gather_nd(tsr_eval_op *e) {
  const tsr_array *x = e->in[0], *indices = e->in[1];
  int64_t place[TSR_MAX_RANK], position[TSR_MAX_RANK];
  int64_t batch = tsr_op_int(e->eval->ir, e->op, "batch", 0);
  uint32_t width, lead;
  if (batch < 0 || batch > TSR_MAX_RANK)
    return tsr_eval_fail(e, TSR_ERR_ARGUMENT, "'batch' is out of range");
  TSR_TRY(tuple_width(e, indices, (uint32_t)batch, &width));
  lead = indices->rank - 1;
  for (int64_t i = 0; i < e->out[0]->count; i++) {
    int64_t tuple = 0;
    tsr_unravel(e->out[0], i, place);
    for (uint32_t a = 0; a < lead; a++)
      tuple = tuple * indices->dims[a] + place[a];
    memcpy(position, place, (size_t)batch * sizeof *position);
    for (uint32_t a = 0; a < width; a++)
      position[batch + a] = clamped(tsr_array_int(indices, tuple * width + a), x->dims[batch + a]);
    for (uint32_t a = (uint32_t)batch + width; a < x->rank; a++)
      position[a] = place[lead + a - (uint32_t)batch - width];
    take(e, i, position);
  }
  return TSR_OK;
}

static tsr_status eval_gather_elements(tsr_eval_op *e) {
  const tsr_array *x = e->in[0], *indices = e->in[1];
  int64_t position[TSR_MAX_RANK];
  uint32_t axis;
  TSR_TRY(tsr_eval_axis(e, x->rank, &axis));
  for (int64_t i = 0; i < indices->count; i++) {
    tsr_unravel(indices, i, position);
    position[axis] = clamped(tsr_array_int(indices, i), x->dims[axis]);
    for (uint32_t a = 0; a < x->rank; a++)
      if (x->count != 0 && position[a] >= x->dims[a])
        return tsr_eval_fail(e, TSR_ERR_SHAPE, "indices are larger than the operand");
    take(e, i, position);
  }
  return TSR_OK;
}

static bool inside(const tsr_array *x, const int64_t *position) {
  for (uint32_t a = 0; a < x->rank; a++)
    if (position[a] < 0 || position[a] >= x->dims[a])
      return false;
  return true;
}

static void put(tsr_eval_op *e, tsr_combine combine, const int64_t *position, int64_t update) {
  if (inside(e->out[0], position))
    tsr_combine_step(combine, e->out[0], tsr_ravel(e->out[0], position), e->in[2], update);
}

static void copy_operand(tsr_eval_op *e) {
  for (int64_t i = 0; i < e->out[0]->count; i++)
    tsr_array_move(e->out[0], i, e->in[0], i);
}

static tsr_status eval_scatter_nd(tsr_eval_op *e) {
  const tsr_array *x = e->in[0], *indices = e->in[1], *updates = e->in[2];
  int64_t place[TSR_MAX_RANK], position[TSR_MAX_RANK];
  tsr_combine combine;
  uint32_t width, lead;
  TSR_TRY(tsr_eval_combine(e, &combine));
  TSR_TRY(tuple_width(e, indices, 0, &width));
  lead = indices->rank - 1;
  if (updates->rank != lead + x->rank - width)
    return tsr_eval_fail(e, TSR_ERR_SHAPE, "the updates do not fit");
  copy_operand(e);
  for (int64_t i = 0; i < updates->count; i++) {
    int64_t tuple = 0;
    tsr_unravel(updates, i, place);
    for (uint32_t a = 0; a < lead; a++)
      tuple = tuple * indices->dims[a] + place[a];
    for (uint32_t a = 0; a < width; a++)
      position[a] = from_end(tsr_array_int(indices, tuple * width + a), x->dims[a]);
    for (uint32_t a = width; a < x->rank; a++)
      position[a] = place[lead + a - width];
    put(e, combine, position, i);
  }
  return TSR_OK;
}

static tsr_status eval_scatter_elements(tsr_eval_op *e) {
  const tsr_array *x = e->in[0], *indices = e->in[1];
  int64_t position[TSR_MAX_RANK];
  tsr_combine combine;
  uint32_t axis;
  TSR_TRY(tsr_eval_combine(e, &combine));
  TSR_TRY(tsr_eval_axis(e, x->rank, &axis));
  if (indices->count != e->in[2]->count || indices->rank != x->rank)
    return tsr_eval_fail(e, TSR_ERR_SHAPE, "the updates do not fit");
  copy_operand(e);
  for (int64_t i = 0; i < indices->count; i++) {
    tsr_unravel(indices, i, position);
    position[axis] = from_end(tsr_array_int(indices, i), x->dims[axis]);
    put(e, combine, position, i);
  }
  return TSR_OK;
}

/* --- topk --- */

/* Whether element i stands before element j: NaN counts as the greatest; ties: lower index first.
 */
static bool stands_before(const tsr_array *x, int64_t i, int64_t j, bool largest) {
  bool greater, less;
  if (x->floats != NULL) {
    double a = x->floats[i], b = x->floats[j];
    greater = isnan(a) ? !isnan(b) : a > b;
    less = isnan(b) ? !isnan(a) : a < b;
  } else if (tsr_dtype_class_of(x->dtype) == TSR_CLASS_UINT) {
    greater = (uint64_t)x->integers[i] > (uint64_t)x->integers[j];
    less = (uint64_t)x->integers[i] < (uint64_t)x->integers[j];
  } else {
    greater = x->integers[i] > x->integers[j];
    less = x->integers[i] < x->integers[j];
  }
  if (greater || less)
    return largest ? greater : less;
  return i < j;
}

/* Each element's place is the number of those before it. */
static tsr_status eval_topk(tsr_eval_op *e) {
  const tsr_array *x = e->in[0];
  bool largest = tsr_op_bool(e->eval->ir, e->op, "largest", true);
  int64_t position[TSR_MAX_RANK];
  uint32_t axis;
  TSR_TRY(tsr_eval_axis(e, x->rank, &axis));
  if (e->out[0]->dims[axis] > x->dims[axis])
    return tsr_eval_fail(e, TSR_ERR_SHAPE, "k is larger than the axis");
  for (int64_t i = 0; i < x->count; i++) {
    int64_t own, stride = 1, place = 0, to;
    tsr_unravel(x, i, position);
    own = position[axis];
    for (uint32_t a = axis + 1; a < x->rank; a++)
      stride *= x->dims[a];
    for (int64_t k = 0; k < x->dims[axis]; k++)
      place += k != own && stands_before(x, i + (k - own) * stride, i, largest);
    if (place >= e->out[0]->dims[axis])
      continue;
    position[axis] = place;
    to = tsr_ravel(e->out[0], position);
    tsr_array_move(e->out[0], to, x, i);
    e->out[1]->integers[to] = own;
  }
  return TSR_OK;
}

/* --- data-dependent sizes --- */

static tsr_status eval_nonzero(tsr_eval_op *e) {
  const tsr_array *x = e->in[0];
  int64_t position[TSR_MAX_RANK], found = 0, room = e->out[0]->dims[1];
  if (e->out[0]->rank != 2 || e->out[0]->dims[0] != x->rank || e->out[1]->count != 1)
    return tsr_eval_fail(e, TSR_ERR_SHAPE, "the results do not fit");
  for (int64_t i = 0; i < x->count && found < room; i++) {
    bool zero = x->floats != NULL ? x->floats[i] == 0 : x->integers[i] == 0;
    if (zero)
      continue;
    tsr_unravel(x, i, position);
    for (uint32_t a = 0; a < x->rank; a++)
      e->out[0]->integers[a * room + found] = position[a];
    found++;
  }
  e->out[1]->integers[0] = found;
  return TSR_OK;
}

static double box_area(const double *box) {
  return (box[2] - box[0]) * (box[3] - box[1]);
}

static bool box_overlaps(const double *a, const double *b, double overlap) {
  double height = fmin(a[2], b[2]) - fmax(a[0], b[0]);
  double width = fmin(a[3], b[3]) - fmax(a[1], b[1]);
  double common = fmax(height, 0) * fmax(width, 0);
  return box_area(a) > 0 && box_area(b) > 0 &&
         common / (box_area(a) + box_area(b) - common) > overlap;
}

/* One batch and class; the chosen ones go to `chosen`. */
static int64_t choose_boxes(const double *boxes, const int64_t *order, int64_t running,
                            double overlap, int64_t most, int64_t extent, int64_t *chosen) {
  int64_t count = 0;
  for (int64_t i = 0; i < extent && i < running && count < most; i++) {
    int64_t k = 0, at = order[i];
    if (at < 0 || at >= extent)
      continue;
    while (k < count && !box_overlaps(boxes + 4 * at, boxes + 4 * chosen[k], overlap))
      k++;
    if (k == count)
      chosen[count++] = at;
  }
  return count;
}

static tsr_status eval_suppress(tsr_eval_op *e) {
  const tsr_array *boxes = e->in[0], *order = e->in[1];
  int64_t classes = order->dims[1], extent = order->dims[2];
  double overlap = tsr_array_float(tsr_eval_operand(e, 3), 0);
  int64_t most = tsr_array_int(tsr_eval_operand(e, 4), 0);
  if (boxes->dims[0] != order->dims[0] || boxes->dims[1] != extent)
    return tsr_eval_fail(e, TSR_ERR_SHAPE, "the operands do not fit");
  for (int64_t row = 0; row < e->out[1]->count; row++)
    e->out[1]->integers[row] = choose_boxes(
        boxes->floats + row / classes * extent * 4, order->integers + row * extent,
        tsr_array_int(e->in[2], row), overlap, most, extent, e->out[0]->integers + row * extent);
  return TSR_OK;
}

/* The leading part along every axis. */
static tsr_status eval_resize_dim(tsr_eval_op *e) {
  int64_t position[TSR_MAX_RANK];
  for (uint32_t a = 0; a < e->out[0]->rank; a++)
    if (e->in[0]->rank != e->out[0]->rank || e->out[0]->dims[a] > e->in[0]->dims[a])
      return tsr_eval_fail(e, TSR_ERR_SHAPE, "the count is larger than axis %u", a);
  for (int64_t i = 0; i < e->out[0]->count; i++) {
    tsr_unravel(e->out[0], i, position);
    tsr_array_move(e->out[0], i, e->in[0], tsr_ravel(e->in[0], position));
  }
  return TSR_OK;
}

tsr_status tsr_eval_indexed(tsr_eval_op *e) {
  switch (e->data->code) {
  case TSR_OP_GATHER:
    return eval_gather(e);
  case TSR_OP_GATHER_ND:
    return eval_gather_nd(e);
  case TSR_OP_GATHER_ELEMENTS:
    return eval_gather_elements(e);
  case TSR_OP_SCATTER_ND:
    return eval_scatter_nd(e);
  case TSR_OP_SCATTER_ELEMENTS:
    return eval_scatter_elements(e);
  case TSR_OP_TOPK:
    return eval_topk(e);
  case TSR_OP_SUPPRESS:
    return eval_suppress(e);
  case TSR_OP_NONZERO:
    return eval_nonzero(e);
  case TSR_OP_RESIZE_DIM:
    return eval_resize_dim(e);
  default:
    return tsr_eval_fail(e, TSR_ERR_UNSUPPORTED, "no indexed op of graphs");
  }
}
