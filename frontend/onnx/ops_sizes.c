/* Operators whose result's shape is data; those where every size is plainly an element of an input
 * are with their siblings. */
#include "frontend/onnx/op_table.h"
#include "frontend/onnx/sizes.h"

static tsr_value elements_of(tsr_lower *l, const tsr_imported *x) {
  tsr_expr total = e_int(l, 1);
  for (uint32_t i = 0; i < x->rank; i++)
    total = e_mul(l, total, x->dims[i]);
  return tsr_size_scalar(l, total);
}

/* Products of hostile sizes wrap round in i64; in f64 they stay large. */
static tsr_value other_count(tsr_lower *l, tsr_value dims, tsr_value total) {
  tsr_value count = tsr_size_reduce(l, v_cast(l, dims, TSR_F64), "mul");
  return v_ne(l, count, v_cast(l, total, TSR_F64));
}

tsr_value tsr_size_shaped(tsr_lower *l, tsr_value x, const tsr_expr *dims, uint32_t rank) {
  bool checks = l->b->checks;
  l->b->checks = false;
  tsr_value y = v_reshape(l, x, dims, rank);
  l->b->checks = checks;
  return y;
}

/* --- Reshape --- */

/* The dims that a 0 copies; where there is none, a number that no dim may be. */
static tsr_value copied_dims(tsr_lower *l, uint32_t count) {
  tsr_expr dims[TSR_MAX_RANK];
  for (uint32_t i = 0; i < count; i++)
    dims[i] = i < l->in[0]->rank ? l->in[0]->dims[i] : e_int(l, -2);
  return tsr_size_value(l, dims, count);
}

tsr_status tsr_size_reshape(tsr_lower *l) {
  bool allow_zero = tsr_lower_int(l, "allowzero", 0) != 0;
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t count;
  tsr_value given = tsr_size_vector(l, 1, &count);
  if (!given)
    return tsr_lower_unknown(l, 1, "shape");
  if (count > TSR_MAX_RANK)
    return tsr_lower_wrong(l, TSR_ERR_LIMIT, "shape of rank %u", count);
  if (!allow_zero)
    given = v_select(l, v_eq(l, given, v_i64(l, 0)), copied_dims(l, count), given);
  tsr_value total = elements_of(l, l->in[0]), one = v_i64(l, 1);
  tsr_value hole = v_eq(l, given, v_i64(l, -1));
  tsr_value rest = tsr_size_reduce(l, v_select(l, hole, one, given), "mul");
  tsr_value fill =
      v_select(l, v_eq(l, rest, v_i64(l, 0)), v_i64(l, 0), v_div(l, total, v_max(l, rest, one)));
  tsr_value holes = tsr_size_reduce(l, v_cast(l, hole, TSR_I64), "add");
  fill = v_select(l, v_gt(l, holes, one), v_i64(l, -1), fill);
  tsr_value all = v_select(l, hole, fill, given);
  for (uint32_t i = 0; i < count; i++) {
    int64_t number = 1;
    tsr_expr known = tsr_size_known(l, 1, i);
    bool plain = known && (!tsr_expr_is_int(l->ir, known, &number) || number > 0);
    dims[i] = plain ? known : tsr_size_read(l, all, i, "shape", i, 0);
  }
  tsr_size_check(l, other_count(l, all, total), "the new shape has another number of elements");
  tsr_lower_set(l, 0, tsr_size_shaped(l, tsr_lower_value(l, 0), dims, count));
  return TSR_OK;
}

/* --- Squeeze, Unsqueeze --- */

/* i64[rank, count]: 1 where axis number `column` of a list is the axis of the row. */
static tsr_value axes_matched(tsr_lower *l, tsr_value axes, uint32_t rank) {
  tsr_expr square[2] = {e_int(l, rank), v_dim(l, axes, 0)};
  axes = v_select(l, v_lt(l, axes, v_i64(l, 0)), v_add_number(l, axes, rank), axes);
  return v_cast(l, v_eq(l, tsr_graph_iota(l->b, TSR_I64, square, 2, 0), axes), TSR_I64);
}

static tsr_value add_rows(tsr_lower *l, tsr_value x) {
  static const int64_t second = 1;
  return x ? tsr_graph_reduce(l->b, x, "add", &second, 1) : 0;
}

/* For each axis of `rank` how often it is named. */
static tsr_value axes_named(tsr_lower *l, tsr_value axes, uint32_t rank) {
  return add_rows(l, axes_matched(l, axes, rank));
}

/* For each element how many before it are true. */
static tsr_value counted(tsr_lower *l, tsr_value x) {
  return tsr_graph_scan(l->b, v_cast(l, x, TSR_I64), "add", 0, true, false);
}

/* i64[count]: the elements of x at their places; 0 where nothing goes, and what goes elsewhere is
 * dropped. */
static tsr_value placed(tsr_lower *l, tsr_value x, tsr_value place, uint32_t count) {
  tsr_expr square[2] = {e_int(l, count), v_dim(l, x, 0)};
  tsr_value match = v_eq(l, tsr_graph_iota(l->b, TSR_I64, square, 2, 0), place);
  return add_rows(l, v_select(l, match, x, v_i64(l, 0)));
}

static tsr_status reshape_to(tsr_lower *l, tsr_value dims, uint32_t rank) {
  tsr_expr read[TSR_MAX_RANK];
  for (uint32_t i = 0; i < rank; i++)
    read[i] = tsr_size_read(l, dims, i, "dim", i, 0);
  tsr_size_check(l, other_count(l, dims, elements_of(l, l->in[0])),
                 "the axes are out of range, repeated or not of extent 1");
  tsr_lower_set(l, 0, tsr_size_shaped(l, tsr_lower_value(l, 0), read, rank));
  return TSR_OK;
}

/* Result axis i is 1 where named, else the next of the input's. */
tsr_status tsr_size_unsqueeze(tsr_lower *l) {
  const tsr_imported *x = l->in[0];
  uint32_t count;
  tsr_value axes = tsr_size_vector(l, 1, &count);
  if (!axes)
    return tsr_lower_unknown(l, 1, "axes");
  uint32_t rank = x->rank + count;
  if (rank > TSR_MAX_RANK)
    return tsr_lower_wrong(l, TSR_ERR_LIMIT, "the result has more than %d dims", TSR_MAX_RANK);
  if (x->rank == 0 || rank == 0)
    return tsr_lower_unknown(l, 1, "axes");
  tsr_value named = axes_named(l, axes, rank), zero = v_i64(l, 0), one = v_i64(l, 1);
  tsr_value free = v_sub(l, one, v_min(l, named, one));
  tsr_value source = tsr_graph_scan(l->b, free, "add", 0, true, false);
  tsr_value from = tsr_graph_gather(l->b, tsr_size_value(l, x->dims, x->rank), source, 0);
  tsr_value dims = v_select(l, v_eq(l, named, zero), from, one);
  dims = v_select(l, v_gt(l, named, one), v_i64(l, -1), dims);
  return reshape_to(l, dims, rank);
}

/* Result axis p is the p-th of the input's axes that are not named. */
tsr_status tsr_size_squeeze(tsr_lower *l) {
  const tsr_imported *x = l->in[0];
  uint32_t count;
  tsr_value axes = tsr_size_vector(l, 1, &count);
  if (!axes)
    return tsr_lower_unknown(l, 1, "axes");
  if (count >= x->rank)
    return tsr_lower_unknown(l, 1, "axes");
  uint32_t rank = x->rank - count;
  tsr_value named = axes_named(l, axes, x->rank), zero = v_i64(l, 0);
  tsr_value place =
      v_select(l, v_eq(l, named, zero), counted(l, v_eq(l, named, zero)), v_i64(l, -1));
  return reshape_to(l, placed(l, tsr_size_value(l, x->dims, x->rank), place, rank), rank);
}

/* --- reductions --- */

/* Elements of x, in the order of `order` (of its axes, numbers of places): the first of the axes
 * there are one axis of the extent `kept`, the others one of `reduced`. */
static tsr_value ordered_axes(tsr_lower *l, tsr_value x, tsr_value place, tsr_expr kept,
                              tsr_expr reduced) {
  uint32_t rank = v_rank(l, x);
  tsr_expr dims[TSR_MAX_RANK], strides[TSR_MAX_RANK], total = e_int(l, 1);
  for (uint32_t i = rank; i-- > 0;) {
    dims[i] = v_dim(l, x, i);
    strides[i] = total;
    total = e_mul(l, total, dims[i]);
  }
  tsr_expr both[2] = {kept, reduced};
  tsr_value at = v_mul(l, tsr_graph_iota(l->b, TSR_I64, both, 2, 0), tsr_size_scalar(l, reduced));
  at = v_add(l, at, tsr_graph_iota(l->b, TSR_I64, both, 2, 1));
  tsr_value extents = v_max(l, placed(l, tsr_size_value(l, dims, rank), place, rank), v_i64(l, 1));
  tsr_value steps = placed(l, tsr_size_value(l, strides, rank), place, rank), from = 0;
  for (uint32_t i = rank; i-- > 0;) {
    tsr_value extent = tsr_size_element(l, extents, i);
    tsr_value part = v_mul(l, v_binary(l, TSR_OP_MOD, at, extent), tsr_size_element(l, steps, i));
    from = from ? v_add(l, from, part) : part;
    at = v_div(l, at, extent);
  }
  return tsr_graph_gather(l->b, v_reshape(l, x, &total, 1), from, 0);
}

tsr_status tsr_size_reduced(tsr_lower *l, uint32_t input, tsr_value *x, bool keep,
                            tsr_expr *out_dims, uint32_t *out_rank) {
  uint32_t count, rank = v_rank(l, *x);
  tsr_expr own[TSR_MAX_RANK];
  tsr_value axes = tsr_size_vector(l, input, &count);
  if (!axes || rank == 0)
    return tsr_lower_unknown(l, input, "axes");
  if (count > rank)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%u axes for rank %u", count, rank);
  for (uint32_t i = 0; i < rank; i++)
    own[i] = v_dim(l, *x, i);
  tsr_value dims = tsr_size_value(l, own, rank), one = v_i64(l, 1), zero = v_i64(l, 0);
  tsr_value named = v_min(l, axes_named(l, axes, rank), one), left = v_eq(l, named, zero);
  tsr_size_check(l, v_ne(l, tsr_size_reduce(l, named, "add"), v_i64(l, count)),
                 "an axis is out of range or repeated");
  tsr_value behind = v_add_number(l, counted(l, v_ne(l, named, zero)), rank - count);
  tsr_value place = v_select(l, left, counted(l, left), behind);
  tsr_value all = tsr_size_reduce(l, v_select(l, left, dims, one), "mul");
  tsr_expr kept = tsr_size_read(l, all, 0, "kept", UINT32_MAX, 0);
  all = tsr_size_reduce(l, v_select(l, left, one, dims), "mul");
  tsr_expr reduced = tsr_size_read(l, all, 0, "reduced", UINT32_MAX, 0);
  *x = ordered_axes(l, *x, place, kept, reduced);
  *out_rank = keep ? rank : rank - count;
  all = keep ? v_select(l, left, dims, one) : placed(l, dims, place, *out_rank);
  for (uint32_t i = 0; i < *out_rank; i++)
    out_dims[i] = tsr_size_read(l, all, i, "dim", i, 0);
  return TSR_OK;
}

/* --- Expand --- */

/* An axis of the input that is not 1 keeps its extent, and the shape must have that or 1 there. */
tsr_status tsr_size_expand(tsr_lower *l) {
  const tsr_imported *x = l->in[0];
  tsr_expr dims[TSR_MAX_RANK], wanted[TSR_MAX_RANK];
  int64_t fixed[TSR_MAX_RANK];
  uint32_t count, any = 0;
  tsr_value given = tsr_size_vector(l, 1, &count);
  if (!given)
    return tsr_lower_unknown(l, 1, "shape");
  if (count > TSR_MAX_RANK)
    return tsr_lower_wrong(l, TSR_ERR_LIMIT, "shape of rank %u", count);
  uint32_t rank = count > x->rank ? count : x->rank;
  for (uint32_t i = 0; i < rank; i++) {
    uint32_t at = i + count - rank; /* wraps where the shape has no such axis */
    bool own = i + x->rank >= rank && !tsr_expr_equals_int(l->ir, x->dims[i + x->rank - rank], 1);
    tsr_expr known = i + count >= rank ? tsr_size_known(l, 1, at) : 0;
    if (own)
      dims[i] = x->dims[i + x->rank - rank];
    else if (i + count < rank)
      dims[i] = e_int(l, 1);
    else
      dims[i] = known ? known : tsr_size_read(l, given, at, "shape", at, 0);
    if (i + count < rank)
      continue;
    wanted[at] = dims[i];
    fixed[at] = own && known != dims[i];
    any += fixed[at] != 0;
  }
  if (any > 0) {
    tsr_value differs =
        v_and(l, v_ne(l, given, v_i64(l, 1)), v_ne(l, given, tsr_size_value(l, wanted, count)));
    differs = v_mul(l, v_cast(l, differs, TSR_I64), v_vector_i64(l, fixed, count));
    tsr_size_check(l, tsr_size_reduce(l, differs, "max"),
                   "the input does not broadcast to the shape");
  }
  tsr_lower_set(l, 0, tsr_graph_broadcast(l->b, tsr_lower_value(l, 0), dims, rank));
  return TSR_OK;
}

/* --- Range --- */

static tsr_value scalar_input(tsr_lower *l, uint32_t input, tsr_dtype dtype) {
  return v_to_scalar(l, v_cast(l, tsr_lower_value(l, input), dtype));
}

/* A delta of 0 gives no count: -1, which the run refuses. */
static tsr_value integer_count(tsr_lower *l, tsr_value start, tsr_value limit, tsr_value delta) {
  tsr_value zero = v_i64(l, 0), one = v_i64(l, 1), up = v_gt(l, delta, zero);
  tsr_value span = v_select(l, up, v_sub(l, limit, start), v_sub(l, start, limit));
  tsr_value by = v_max(l, v_select(l, up, delta, v_neg(l, delta)), one);
  tsr_value count = v_add(l, v_div(l, v_sub(l, span, one), by), one);
  count = v_select(l, v_gt(l, span, zero), count, zero);
  return v_select(l, v_eq(l, delta, zero), v_i64(l, -1), count);
}

/* NaN: -1 too; what is too large for a dim stays so. */
static tsr_value float_count(tsr_lower *l, tsr_value start, tsr_value limit, tsr_value delta) {
  tsr_value steps = v_unary(l, TSR_OP_CEIL, v_div(l, v_sub(l, limit, start), delta));
  tsr_value known = v_eq(l, steps, steps);
  steps = v_select(l, known, v_clip(l, steps, 0, 1e15), v_number(l, steps, -1));
  return v_cast(l, steps, TSR_I64);
}

tsr_status tsr_size_range(tsr_lower *l) {
  tsr_dtype dtype = l->in[0]->dtype;
  bool floating = tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT;
  tsr_dtype wide = floating ? TSR_F64 : TSR_I64;
  tsr_value part[3];
  for (uint32_t i = 0; i < 3; i++)
    part[i] = scalar_input(l, i, wide);
  tsr_value count = floating ? float_count(l, part[0], part[1], part[2])
                             : integer_count(l, part[0], part[1], part[2]);
  tsr_expr dim = tsr_size_read(l, count, 0, "count", UINT32_MAX, 0);
  if (!dim)
    return TSR_OK;
  tsr_value at = v_cast(l, tsr_graph_iota(l->b, TSR_I64, &dim, 1, 0), wide);
  tsr_lower_set(l, 0, v_cast(l, v_add(l, v_mul(l, at, part[2]), part[0]), dtype));
  return TSR_OK;
}

/* --- Slice --- */

typedef struct slice_plan {
  tsr_value dims, starts, ends, steps; /* i64[count], one entry per axis that is cut */
  uint32_t count;
  int64_t axes[TSR_MAX_RANK];
  int64_t known_steps[TSR_MAX_RANK];
  bool steps_known;
} slice_plan;

/* One entry per axis of the input instead of one per axis given. */
static tsr_value per_axis(tsr_lower *l, tsr_value axes, tsr_value entries, tsr_value otherwise,
                          tsr_value named) {
  uint32_t rank = l->in[0]->rank;
  tsr_expr square[2] = {e_int(l, rank), v_dim(l, axes, 0)};
  static const int64_t second = 1;
  tsr_value match = v_eq(l, tsr_graph_iota(l->b, TSR_I64, square, 2, 0), axes);
  tsr_value picked = v_select(l, match, entries, v_i64(l, 0));
  tsr_value sum = picked ? tsr_graph_reduce(l->b, picked, "add", &second, 1) : 0;
  return v_select(l, v_eq(l, named, v_i64(l, 0)), otherwise, sum);
}

static void spread_axes(tsr_lower *l, tsr_value axes, slice_plan *p) {
  const tsr_imported *x = l->in[0];
  tsr_value named = axes_named(l, axes, x->rank), zero = v_i64(l, 0), one = v_i64(l, 1);
  tsr_value sum = tsr_size_reduce(l, v_min(l, named, one), "add");
  tsr_size_check(l, v_ne(l, sum, v_i64(l, p->count)), "an axis is out of range or repeated");
  axes = v_select(l, v_lt(l, axes, zero), v_add_number(l, axes, x->rank), axes);
  p->dims = tsr_size_value(l, x->dims, x->rank);
  p->starts = per_axis(l, axes, p->starts, zero, named);
  p->ends = per_axis(l, axes, p->ends, p->dims, named);
  p->steps = per_axis(l, axes, p->steps, one, named);
  p->count = x->rank;
  p->steps_known = false;
  for (uint32_t i = 0; i < x->rank; i++)
    p->axes[i] = i;
}

static tsr_status plan_steps(tsr_lower *l, slice_plan *p) {
  uint32_t count;
  const int64_t *known = tsr_lower_numbers(l, 4, &count);
  p->steps_known = known || !tsr_lower_has(l, 4);
  for (uint32_t i = 0; i < p->count; i++)
    p->known_steps[i] = 1;
  if (!p->steps_known)
    p->steps = tsr_size_vector(l, 4, &count);
  if (!p->steps_known && !p->steps)
    return tsr_lower_unknown(l, 4, "steps");
  if (tsr_lower_has(l, 4) && count != p->count)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%u steps for %u starts", count, p->count);
  for (uint32_t i = 0; known && i < count; i++) {
    p->known_steps[i] = known[i] < -INT32_MAX  ? -INT32_MAX
                        : known[i] > INT32_MAX ? INT32_MAX
                                               : known[i];
    if (known[i] == 0)
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "step 0");
  }
  if (p->steps_known)
    p->steps = v_vector_i64(l, p->known_steps, p->count);
  return TSR_OK;
}

static tsr_status plan_axes(tsr_lower *l, slice_plan *p) {
  const tsr_imported *x = l->in[0];
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t count = p->count;
  const int64_t *known = tsr_lower_numbers(l, 3, &count);
  if (tsr_lower_has(l, 3) && !known) {
    tsr_value axes = tsr_size_vector(l, 3, &count);
    if (!axes)
      return tsr_lower_unknown(l, 3, "axes");
    if (count == p->count)
      spread_axes(l, axes, p);
  }
  if (tsr_lower_has(l, 3) && !known && count == p->count)
    return TSR_OK;
  if (known && count != p->count)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%u axes for %u starts", count, p->count);
  for (uint32_t i = 0; i < p->count; i++)
    p->axes[i] = known ? known[i] : (int64_t)i;
  TSR_TRY(tsr_lower_axes(l, p->axes, p->count, x->rank, p->axes));
  for (uint32_t i = 0; i < p->count; i++)
    dims[i] = x->dims[p->axes[i]];
  p->dims = tsr_size_value(l, dims, p->count);
  return TSR_OK;
}

static tsr_value between(tsr_lower *l, tsr_value x, tsr_value low, tsr_value high) {
  return v_max(l, low, v_min(l, high, x));
}

/* Starts and numbers of elements as ONNX clamps them; `starts` is 0 where there are none. */
static tsr_value slice_counts(tsr_lower *l, slice_plan *p) {
  tsr_value zero = v_i64(l, 0), one = v_i64(l, 1);
  tsr_value up = v_gt(l, p->steps, zero);
  tsr_value last = v_select(l, up, p->dims, v_sub(l, p->dims, one));
  tsr_value low = v_select(l, up, zero, v_i64(l, -1));
  tsr_value start = v_select(l, v_lt(l, p->starts, zero), v_add(l, p->starts, p->dims), p->starts);
  tsr_value end = v_select(l, v_lt(l, p->ends, zero), v_add(l, p->ends, p->dims), p->ends);
  start = between(l, start, zero, last);
  end = between(l, end, low, last);
  tsr_value span = v_select(l, up, v_sub(l, end, start), v_sub(l, start, end));
  tsr_value by = v_select(l, up, p->steps, v_neg(l, p->steps));
  tsr_value count = v_add(l, v_div(l, v_sub(l, span, one), v_max(l, by, one)), one);
  count = v_select(l, v_gt(l, span, zero), count, zero);
  p->starts = v_select(l, v_eq(l, count, zero), zero, start);
  return count;
}

/* A step that is data moves through the axis by a gather. */
static tsr_value gather_axis(tsr_lower *l, tsr_value y, const slice_plan *p, uint32_t i,
                             tsr_expr count) {
  tsr_value at = tsr_graph_iota(l->b, TSR_I64, &count, 1, 0);
  at = v_add(l, v_mul(l, at, tsr_size_element(l, p->steps, i)), tsr_size_element(l, p->starts, i));
  return tsr_graph_gather(l->b, y, at, (uint32_t)p->axes[i]);
}

static tsr_value slice_axes(tsr_lower *l, const slice_plan *p, tsr_value counts) {
  tsr_expr start[TSR_MAX_RANK], extent[TSR_MAX_RANK];
  int64_t step[TSR_MAX_RANK];
  tsr_value y = tsr_lower_value(l, 0);
  for (uint32_t i = 0; i < l->in[0]->rank; i++) {
    start[i] = e_int(l, 0);
    extent[i] = l->in[0]->dims[i];
    step[i] = 1;
  }
  for (uint32_t i = 0; i < p->count; i++) {
    uint32_t axis = (uint32_t)p->axes[i];
    int64_t number;
    tsr_expr from = p->axes[i] >= 0 && p->steps_known ? tsr_size_known(l, 1, i) : 0;
    bool zero = from && tsr_expr_is_int(l->ir, from, &number) && number == 0;
    if (p->steps_known) {
      step[axis] = p->known_steps[i];
      if (!zero || step[axis] < 0)
        start[axis] = tsr_size_read(l, p->starts, i, "start", axis, l->in[0]->dims[axis]);
    }
    extent[axis] = tsr_size_read(l, counts, i, "count", axis, l->in[0]->dims[axis]);
  }
  if (p->steps_known)
    return tsr_graph_slice(l->b, y, start, step, extent);
  for (uint32_t i = 0; i < p->count; i++)
    y = gather_axis(l, y, p, i, extent[p->axes[i]]);
  return y;
}

tsr_status tsr_size_slices(tsr_lower *l) {
  slice_plan p = {0};
  uint32_t ends;
  p.starts = tsr_size_vector(l, 1, &p.count);
  p.ends = tsr_size_vector(l, 2, &ends);
  if (!p.starts)
    return tsr_lower_unknown(l, 1, "starts");
  if (!p.ends)
    return tsr_lower_unknown(l, 2, "ends");
  if (p.count != ends || p.count > l->in[0]->rank)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%u starts and %u ends for rank %u", p.count, ends,
                           l->in[0]->rank);
  TSR_TRY(plan_steps(l, &p));
  TSR_TRY(plan_axes(l, &p));
  if (!p.steps_known) {
    tsr_value most = v_i64(l, INT32_MAX);
    p.steps = between(l, p.steps, v_neg(l, most), most);
  }
  tsr_value counts = slice_counts(l, &p);
  if (!p.steps_known) {
    tsr_value zero = v_eq(l, p.steps, v_i64(l, 0));
    tsr_size_check(l, tsr_size_reduce(l, v_cast(l, zero, TSR_I64), "max"), "a step is 0");
  }
  tsr_lower_set(l, 0, slice_axes(l, &p, counts));
  return TSR_OK;
}

/* --- Pad --- */

/* Pads or their axes that are data: pads may be negative, which dims may not, so that the lower one
 * is the difference of two. The result's extents are read too, as plain dims. */
tsr_status tsr_size_pads(tsr_lower *l, const int64_t *axes, uint32_t padded, tsr_expr *low,
                         tsr_expr *high) {
  enum { PADS = 1, AXES = 3 };
  uint32_t count, named;
  tsr_expr extents[TSR_MAX_RANK];
  const tsr_imported *x = l->in[0];
  tsr_value given = tsr_size_vector(l, PADS, &count), zero = v_i64(l, 0);
  tsr_value where = axes ? 0 : tsr_size_vector(l, AXES, &named);
  if (!given)
    return tsr_lower_unknown(l, PADS, "pads");
  if (!axes && !where)
    return tsr_lower_unknown(l, AXES, "axes");
  if (!axes)
    padded = named;
  if (count != 2 * padded || padded > x->rank)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%u pads for %u axes", count, padded);
  tsr_expr half = e_int(l, padded);
  tsr_value first = v_slice_axis(l, given, 0, e_int(l, 0), half);
  tsr_value all = v_add(l, first, v_slice_axis(l, given, 0, half, half));
  if (where) {
    tsr_value match = axes_matched(l, where, x->rank),
              times = v_min(l, add_rows(l, match), v_i64(l, 1));
    tsr_size_check(l, v_ne(l, tsr_size_reduce(l, times, "add"), v_i64(l, padded)),
                   "an axis is out of range or repeated");
    first = add_rows(l, v_mul(l, match, first));
    all = add_rows(l, v_mul(l, match, all));
    padded = x->rank;
  }
  for (uint32_t i = 0; i < padded; i++)
    extents[i] = x->dims[axes ? axes[i] : (int64_t)i];
  all = v_add(l, all, tsr_size_value(l, extents, padded));
  tsr_value add = v_max(l, first, zero), cut = v_max(l, v_neg(l, first), zero);
  for (uint32_t i = 0; i < padded; i++) {
    uint32_t axis = axes ? (uint32_t)axes[i] : i;
    tsr_expr extent = tsr_size_read(l, all, i, "extent", axis, 0);
    low[axis] = e_sub(l, tsr_size_read(l, add, i, "pad", axis, 0),
                      tsr_size_read(l, cut, i, "cut", axis, 0));
    high[axis] = e_sub(l, e_sub(l, extent, x->dims[axis]), low[axis]);
  }
  return TSR_OK;
}
