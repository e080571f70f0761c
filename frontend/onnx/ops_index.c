/* Gathers, scatters, orderings, and tensors made from positions. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"
#include "frontend/onnx/sizes.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

tsr_status tsr_lower_op_gather(tsr_lower *l) {
  uint32_t axis;
  TSR_TRY(tsr_lower_need(l, 2));
  TSR_TRY(tsr_lower_axis_attr(l, "axis", 0, l->in[0]->rank, &axis));
  tsr_lower_set(l, 0, tsr_graph_gather(l->b, tsr_lower_value(l, 0), tsr_lower_value(l, 1), axis));
  return TSR_OK;
}

tsr_status tsr_lower_op_gather_elements(tsr_lower *l) {
  uint32_t axis;
  TSR_TRY(tsr_lower_need(l, 2));
  TSR_TRY(tsr_lower_axis_attr(l, "axis", 0, l->in[0]->rank, &axis));
  tsr_lower_set(
      l, 0, tsr_graph_gather_elements(l->b, tsr_lower_value(l, 0), tsr_lower_value(l, 1), axis));
  return TSR_OK;
}

tsr_status tsr_lower_op_gather_nd(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 2));
  int64_t batch = tsr_lower_int(l, "batch_dims", 0);
  if (batch < 0 || batch >= (int64_t)l->in[1]->rank || batch > (int64_t)l->in[0]->rank)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "batch_dims %lld is out of range", (long long)batch);
  tsr_lower_set(
      l, 0,
      tsr_graph_gather_nd(l->b, tsr_lower_value(l, 0), tsr_lower_value(l, 1), (uint32_t)batch));
  return TSR_OK;
}

/* The IR's word for ONNX's `reduction`; NULL when it is none. */
static const char *reduction(tsr_lower *l) {
  static const char *const names[] = {"none", "add", "mul", "max", "min"};
  const char *given = tsr_lower_text(l, "reduction", "none");
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(given, names[i]) == 0)
      return names[i];
  return NULL;
}

tsr_status tsr_lower_op_scatter_elements(tsr_lower *l) {
  uint32_t axis;
  const char *combine = reduction(l);
  TSR_TRY(tsr_lower_need(l, 3));
  TSR_TRY(tsr_lower_axis_attr(l, "axis", 0, l->in[0]->rank, &axis));
  if (!combine)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "unknown reduction");
  if (tsr_lower_is_text(l, 0) && strcmp(combine, "none") != 0)
    return tsr_lower_unsupported(l, "a reduction of strings");
  tsr_lower_set(l, 0,
                tsr_graph_scatter_elements(l->b, tsr_lower_value(l, 0), tsr_lower_value(l, 1),
                                           tsr_lower_value(l, 2), axis, combine));
  return TSR_OK;
}

tsr_status tsr_lower_op_scatter_nd(tsr_lower *l) {
  const char *combine = reduction(l);
  TSR_TRY(tsr_lower_need(l, 3));
  if (!combine)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "unknown reduction");
  if (tsr_lower_is_text(l, 0) && strcmp(combine, "none") != 0)
    return tsr_lower_unsupported(l, "a reduction of strings");
  tsr_lower_set(l, 0,
                tsr_graph_scatter_nd(l->b, tsr_lower_value(l, 0), tsr_lower_value(l, 1),
                                     tsr_lower_value(l, 2), combine));
  return TSR_OK;
}

/* k may be data: no more than the axis has. */
static tsr_status top_k_number(tsr_lower *l, tsr_expr extent, tsr_expr *out) {
  const tsr_content *content = tsr_lower_content(l, 1);
  uint32_t count;
  *out = content && content->count == 1 && content->exprs ? content->exprs[0] : 0;
  if (!*out) {
    tsr_value k = content ? 0 : tsr_size_vector(l, 1, &count);
    if (!k || count != 1)
      return tsr_lower_unknown(l, 1, "K");
    *out = tsr_size_read(l, k, 0, "k", UINT32_MAX, 0);
  }
  int64_t number, most;
  bool numbers = tsr_expr_is_int(l->ir, *out, &number) && tsr_expr_is_int(l->ir, extent, &most);
  if (!numbers && !tsr_expr_prove_nonnegative(l->ir, e_sub(l, extent, *out), NULL, 0))
    tsr_size_check(l, v_gt(l, tsr_size_scalar(l, *out), tsr_size_scalar(l, extent)),
                   "K is larger than the axis");
  return TSR_OK;
}

tsr_status tsr_lower_op_top_k(tsr_lower *l) {
  uint32_t axis;
  tsr_expr number;
  tsr_value values, indices;
  TSR_TRY(tsr_lower_need(l, 1));
  TSR_TRY(tsr_lower_axis_attr(l, "axis", -1, l->in[0]->rank, &axis));
  if (l->opset < 10)
    number = e_int(l, tsr_lower_int(l, "k", 0));
  else
    TSR_TRY(top_k_number(l, l->in[0]->dims[axis], &number));
  tsr_graph_topk(l->b, tsr_lower_value(l, 0), number, axis, tsr_lower_int(l, "largest", 1) != 0,
                 &values, &indices);
  tsr_lower_set(l, 0, values);
  tsr_lower_set(l, 1, indices);
  return TSR_OK;
}

tsr_status tsr_lower_op_arg_reduce(tsr_lower *l) {
  uint32_t axis;
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0);
  TSR_TRY(tsr_lower_axis_attr(l, "axis", 0, v_rank(l, x), &axis));
  bool last = tsr_lower_int(l, "select_last_index", 0) != 0;
  tsr_value y = tsr_graph_arg_reduce(l->b, x, l->arg ? "max" : "min", axis, last);
  if (tsr_lower_int(l, "keepdims", 1) != 0)
    y = v_unsqueeze(l, y, axis);
  tsr_lower_set(l, 0, y);
  return TSR_OK;
}

/* The position along `axis` in the shape of x. */
static tsr_value positions(tsr_lower *l, const tsr_expr *dims, uint32_t rank, uint32_t axis) {
  return tsr_graph_iota(l->b, TSR_I64, dims, rank, axis);
}

tsr_status tsr_lower_op_hardmax(tsr_lower *l) {
  uint32_t axis;
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0), flat = x;
  uint32_t rank = v_rank(l, x);
  TSR_TRY(tsr_lower_axis_attr(l, "axis", l->opset < 13 ? 1 : -1, rank, &axis));
  tsr_expr dims[TSR_MAX_RANK];
  for (uint32_t i = 0; i < rank; i++)
    dims[i] = v_dim(l, x, i);
  if (l->opset < 13) {
    tsr_expr two[2] = {e_int(l, 1), e_int(l, 1)};
    for (uint32_t i = 0; i < rank; i++)
      two[i >= axis] = e_mul(l, two[i >= axis], dims[i]);
    flat = v_reshape(l, x, two, 2);
    axis = 1;
  }
  /* Where the axis has no elements, neither has the result, and nobody asks which is largest. */
  bool checks = l->b->checks;
  l->b->checks = false;
  tsr_value best = v_unsqueeze(l, tsr_graph_arg_reduce(l->b, flat, "max", axis, false), axis);
  l->b->checks = checks;
  tsr_value here = v_eq(
      l, positions(l, v_type(l, x) ? v_type(l, flat)->dims : dims, v_rank(l, flat), axis), best);
  tsr_lower_set(l, 0, v_reshape(l, v_cast(l, here, v_dtype(l, x)), dims, rank));
  return TSR_OK;
}

static tsr_value cumulate_along(tsr_lower *l, tsr_value x, uint32_t axis) {
  return tsr_graph_scan(l->b, x, l->arg ? "mul" : "add", axis,
                        tsr_lower_int(l, "exclusive", 0) != 0, tsr_lower_int(l, "reverse", 0) != 0);
}

/* The axis is data: the result along each, of which one is taken. */
static tsr_status cumulate_anywhere(tsr_lower *l, tsr_value x) {
  uint32_t count, rank = v_rank(l, x);
  tsr_value given = tsr_size_vector(l, 1, &count);
  if (!given || count != 1 || rank == 0)
    return tsr_lower_unknown(l, 1, "axis");
  tsr_value axis = v_to_scalar(l, given), y = cumulate_along(l, x, 0);
  axis = v_select(l, v_lt(l, axis, v_i64(l, 0)), v_add_number(l, axis, rank), axis);
  tsr_value wrong = v_or(l, v_lt(l, axis, v_i64(l, 0)), v_ge(l, axis, v_i64(l, rank)));
  tsr_size_check(l, wrong, "the axis is out of range");
  for (uint32_t i = 1; i < rank; i++)
    y = v_select(l, v_eq(l, axis, v_i64(l, i)), cumulate_along(l, x, i), y);
  tsr_lower_set(l, 0, y);
  return TSR_OK;
}

/* CumSum, and CumProd with `arg` 1. */
tsr_status tsr_lower_op_cumulate(tsr_lower *l) {
  int64_t given;
  uint32_t axis;
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = tsr_lower_value(l, 0);
  if (!tsr_lower_scalar_int(l, 1, &given))
    return cumulate_anywhere(l, x);
  if (!tsr_lower_axis(given, v_rank(l, x), &axis))
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "axis %lld is out of range", (long long)given);
  tsr_lower_set(l, 0, cumulate_along(l, x, axis));
  return TSR_OK;
}

/* A number of any type, an index expression, or data. */
static tsr_status one_hot_depth(tsr_lower *l, tsr_expr *out) {
  const tsr_content *content = tsr_lower_content(l, 1);
  double depth;
  *out = 0;
  if (tsr_lower_scalar_float(l, 1, &depth)) {
    if (!(depth >= 0 && depth < 1e15))
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "depth %g", depth);
    *out = e_int(l, (int64_t)depth);
  } else if (content && content->count == 1 && content->exprs)
    *out = content->exprs[0];
  else if (!content && l->in[1]->rank <= 1) {
    tsr_value given = v_to_scalar(l, v_cast(l, tsr_lower_value(l, 1), TSR_I64));
    *out = tsr_size_read(l, given, 0, "depth", UINT32_MAX, 0);
  }
  return *out ? TSR_OK : tsr_lower_unknown(l, 1, "depth");
}

tsr_status tsr_lower_op_one_hot(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 3));
  tsr_value at = v_cast(l, tsr_lower_value(l, 0), TSR_I64), values = tsr_lower_value(l, 2);
  uint32_t rank = v_rank(l, at) + 1, axis;
  tsr_expr dims[TSR_MAX_RANK];
  tsr_expr depth;
  TSR_TRY(one_hot_depth(l, &depth));
  if (rank > TSR_MAX_RANK)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "rank %u", rank);
  TSR_TRY(tsr_lower_axis_attr(l, "axis", -1, rank, &axis));
  tsr_value size = tsr_size_scalar(l, depth);
  tsr_value negative = v_lt(l, at, v_number(l, at, 0));
  at = v_unsqueeze(l, v_select(l, negative, v_add(l, at, size), at), axis);
  for (uint32_t i = 0; i < rank; i++)
    dims[i] = i == axis ? depth : v_dim(l, at, i);
  tsr_expr one = e_int(l, 1);
  tsr_value off = v_to_scalar(l, v_slice_axis(l, values, 0, e_int(l, 0), one));
  tsr_value on = v_to_scalar(l, v_slice_axis(l, values, 0, one, one));
  tsr_lower_set(l, 0, v_select(l, v_eq(l, positions(l, dims, rank, axis), at), on, off));
  return TSR_OK;
}

/* column - row >= k over the last two axes, as a [rows, columns] matrix of bools. */
static tsr_value column_minus_row(tsr_lower *l, tsr_expr rows, tsr_expr columns) {
  tsr_expr dims[2] = {rows, columns};
  return v_sub(l, positions(l, dims, 2, 1), positions(l, dims, 2, 0));
}

tsr_status tsr_lower_op_eye_like(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  const tsr_imported *x = l->in[0];
  if (x->rank != 2)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "needs rank 2, not %u", x->rank);
  int64_t type = tsr_lower_int(l, "dtype", 0);
  tsr_dtype dtype = type ? tsr_onnx_dtype(type) : x->dtype;
  if (dtype == TSR_DTYPE_NONE)
    return tsr_lower_unsupported(l, "dtype %s", tsr_onnx_dtype_name(type));
  tsr_value gap = column_minus_row(l, x->dims[0], x->dims[1]);
  tsr_value k = tsr_graph_scalar_int(l->b, TSR_I64, tsr_lower_int(l, "k", 0));
  tsr_lower_set(l, 0, v_cast(l, v_eq(l, gap, k), dtype));
  return TSR_OK;
}

tsr_status tsr_lower_op_trilu(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0);
  uint32_t rank = v_rank(l, x);
  if (rank < 2)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "needs rank 2 or more, not %u", rank);
  tsr_value gap = column_minus_row(l, v_dim(l, x, rank - 2), v_dim(l, x, rank - 1));
  tsr_value k = tsr_lower_has(l, 1) ? v_to_scalar(l, v_cast(l, tsr_lower_value(l, 1), TSR_I64))
                                    : tsr_graph_scalar_int(l->b, TSR_I64, 0);
  bool upper = tsr_lower_int(l, "upper", 1) != 0;
  tsr_value kept = upper ? v_ge(l, gap, k) : v_le(l, gap, k);
  tsr_lower_set(l, 0, v_select(l, kept, x, v_number(l, x, 0)));
  return TSR_OK;
}

/* start + i * delta; symbolic bounds need a known positive delta. */
static tsr_status integer_range(tsr_lower *l) {
  const tsr_content *start = tsr_lower_content(l, 0), *limit = tsr_lower_content(l, 1);
  int64_t delta;
  if (!start || !limit || start->count != 1 || limit->count != 1 ||
      !tsr_lower_scalar_int(l, 2, &delta))
    return tsr_size_range(l);
  if (delta == 0 || delta == INT64_MIN)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "delta %lld", (long long)delta);
  tsr_expr span = delta > 0 ? e_sub(l, limit->exprs[0], start->exprs[0])
                            : e_sub(l, start->exprs[0], limit->exprs[0]);
  tsr_expr count = tsr_expr_ceildiv_int(l->ir, span, delta > 0 ? delta : -delta);
  count = e_max(l, count, e_int(l, 0));
  tsr_dtype dtype = l->in[0]->dtype;
  tsr_imported first = *l->in[0];
  int64_t number;
  if (tsr_expr_is_int(l->ir, count, &number) && number <= 64) {
    tsr_expr *exprs = tsr_lower_alloc(l, (uint64_t)number, sizeof *exprs);
    for (int64_t i = 0; exprs && i < number; i++)
      exprs[i] = tsr_expr_add_int(l->ir, start->exprs[0], i * delta);
    tsr_content content = {.count = (uint64_t)number, .exprs = exprs};
    if (exprs)
      tsr_lower_set_content(l, 0, dtype, &count, 1, &content);
    return TSR_OK;
  }
  first.value = 0;
  first.data = NULL;
  first.content = start;
  tsr_value at = positions(l, &count, 1, 0);
  at = v_cast(l, v_mul_number(l, at, (double)delta), dtype);
  tsr_lower_set(l, 0, v_add(l, at, v_to_scalar(l, tsr_imported_value(l, &first))));
  return TSR_OK;
}

tsr_status tsr_lower_op_range(tsr_lower *l) {
  double start, limit, delta;
  TSR_TRY(tsr_lower_need(l, 3));
  if (tsr_dtype_class_of(l->in[0]->dtype) != TSR_CLASS_FLOAT)
    return integer_range(l);
  for (uint32_t i = 0; i < 3; i++)
    if (!tsr_lower_content(l, i))
      return tsr_size_range(l);
  tsr_lower_scalar_float(l, 0, &start);
  tsr_lower_scalar_float(l, 1, &limit);
  tsr_lower_scalar_float(l, 2, &delta);
  double count = ceil((limit - start) / delta);
  if (!(count <= 1e12))
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "a range of %g elements", count);
  tsr_expr dim = e_int(l, count > 0 ? (int64_t)count : 0);
  tsr_value at = v_cast(l, positions(l, &dim, 1, 0), TSR_F64);
  tsr_value y = v_add_number(l, v_mul_number(l, at, delta), start);
  tsr_lower_set(l, 0, v_cast(l, y, l->in[0]->dtype));
  return TSR_OK;
}

/* A small tensor of integers may take part in shape arithmetic: content. False: too large, symbolic
 * or of floats. */
static bool constant_content(tsr_lower *l, tsr_dtype dtype, const void *data,
                             const tsr_content *shape) {
  enum { MOST = 64 };
  int64_t count = 1, extent;
  for (uint64_t i = 0; i < shape->count; i++)
    if (!tsr_expr_is_int(l->ir, shape->exprs[i], &extent) || extent < 0 || extent > MOST ||
        (count *= extent) > MOST)
      return false;
  tsr_imported one = {.dtype = dtype, .data = data};
  const tsr_content *value = tsr_imported_content(l, &one);
  tsr_expr *exprs = tsr_lower_alloc(l, (uint64_t)count, sizeof *exprs);
  if (!value || !value->exprs || !exprs)
    return false;
  for (int64_t i = 0; i < count; i++)
    exprs[i] = value->exprs[0];
  tsr_content content = {.count = (uint64_t)count, .exprs = exprs};
  tsr_lower_set_content(l, 0, dtype, shape->exprs, (uint32_t)shape->count, &content);
  return true;
}

tsr_status tsr_lower_op_constant_of_shape(tsr_lower *l) {
  static const int64_t zero = 0;
  TSR_TRY(tsr_lower_need(l, 1));
  const tsr_content *shape = tsr_size_content(l, 0, "shape");
  const tsr_onnx_attribute *attribute = tsr_lower_attr(l, "value");
  const tsr_onnx_tensor *given =
      attribute && attribute->type == TSR_ONNX_TENSOR ? attribute->t : NULL;
  if (!shape)
    return tsr_lower_unknown(l, 0, "shape");
  if (shape->count > TSR_MAX_RANK)
    return tsr_lower_wrong(l, TSR_ERR_LIMIT, "a shape of rank %llu",
                           (unsigned long long)shape->count);
  if (given && (given->dtype == TSR_DTYPE_NONE || given->elements != 1))
    return tsr_lower_unsupported(l, "a value that is not one number");
  tsr_dtype dtype = given ? given->dtype : TSR_F32;
  const void *data = given ? given->data : &zero;
  if (constant_content(l, dtype, data, shape))
    return TSR_OK;
  tsr_value scalar = tsr_graph_const(l->b, dtype, NULL, 0, data, true);
  tsr_lower_set(l, 0, tsr_graph_broadcast(l->b, scalar, shape->exprs, (uint32_t)shape->count));
  return TSR_OK;
}

/* Along the time axis the first `length` entries of each batch row turn round. */
tsr_status tsr_lower_op_reverse_sequence(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = tsr_lower_value(l, 0);
  uint32_t batch, time, rank = v_rank(l, x);
  TSR_TRY(tsr_lower_axis_attr(l, "batch_axis", 1, rank, &batch));
  TSR_TRY(tsr_lower_axis_attr(l, "time_axis", 0, rank, &time));
  tsr_value length = v_along(l, v_cast(l, tsr_lower_value(l, 1), TSR_I64), batch, rank);
  tsr_value at = positions(l, v_type(l, x)->dims, rank, time);
  tsr_value mirrored = v_sub(l, v_add_number(l, length, -1), at);
  tsr_value from = v_select(l, v_lt(l, at, length), mirrored, at);
  tsr_lower_set(l, 0, tsr_graph_gather_elements(l->b, x, from, time));
  return TSR_OK;
}

const char *tsr_fresh_dim_name(tsr_lower *l) {
  const char *origin = l->b->origin ? l->b->origin : l->node->op_type;
  char *name = tsr_arena_printf(l->arena, "nz_%s", origin);
  for (char *c = name; c && *c; c++)
    if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9')))
      *c = '_';
  while (name && tsr_dim_find(l->ir, name))
    name = tsr_arena_printf(l->arena, "%s_", name);
  return name ? name : "";
}

tsr_status tsr_lower_op_non_zero(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_lower_set(l, 0, tsr_graph_nonzero(l->b, tsr_lower_value(l, 0), tsr_fresh_dim_name(l)));
  return TSR_OK;
}

tsr_status tsr_lower_op_compress(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = tsr_lower_value(l, 0), condition = tsr_lower_value(l, 1);
  uint32_t axis = 0;
  if (tsr_lower_attr(l, "axis"))
    TSR_TRY(tsr_lower_axis_attr(l, "axis", 0, v_rank(l, x), &axis));
  else {
    tsr_expr all = tsr_type_elements(l->ir, tsr_value_get(l->ir, x)->type);
    x = v_reshape(l, x, &all, 1);
  }
  tsr_value found = tsr_graph_nonzero(l->b, condition, tsr_fresh_dim_name(l));
  tsr_expr dim = v_dim(l, found, 1);
  tsr_lower_set(l, 0, tsr_graph_gather(l->b, x, v_reshape(l, found, &dim, 1), axis));
  return TSR_OK;
}

/* Columns of the last axis (ai.onnx.ml); a vector becomes a matrix of one row. */
tsr_status tsr_lower_op_array_feature_extractor(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = tsr_lower_value(l, 0), at = tsr_lower_value(l, 1);
  uint32_t rank = v_rank(l, x);
  if (rank < 1 || !at)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "an input of rank %u", rank);
  tsr_expr count = tsr_type_elements(l->ir, tsr_value_get(l->ir, at)->type);
  tsr_value y = tsr_graph_gather(l->b, x, v_reshape(l, at, &count, 1), rank - 1);
  tsr_lower_set(l, 0, rank == 1 ? v_unsqueeze(l, y, 0) : y);
  return TSR_OK;
}
