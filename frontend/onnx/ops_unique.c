/* Unique: every element (or slice along an axis) learns the number of its group in sorted order,
 * the group's first element and its size; the groups that exist are then picked out of a bounded
 * list. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"
#include <string.h>

/* Per element, i64 [n]. */
typedef struct groups {
  tsr_value number; /* of the element's group, in ascending order of values */
  tsr_value first;  /* the least element of the group */
  tsr_value size;
} groups;

static tsr_value zeros(tsr_lower *l, tsr_expr count) {
  return tsr_graph_splat(l->b, TSR_I64, 0, &count, 1);
}

static tsr_value places(tsr_lower *l, tsr_expr count) {
  return tsr_graph_iota(l->b, TSR_I64, &count, 1, 0);
}

static tsr_value put(tsr_lower *l, tsr_value base, tsr_value at, tsr_value what,
                     const char *combine) {
  return tsr_graph_scatter_elements(l->b, base, at, what, 0, combine);
}

static tsr_value differ(tsr_lower *l, tsr_value x, tsr_value y) {
  tsr_value unlike = v_ne(l, x, y);
  if (!v_is_float(l, x))
    return unlike;
  tsr_value numbers = v_not(l, v_and(l, v_unary(l, TSR_OP_ISNAN, x), v_unary(l, TSR_OP_ISNAN, y)));
  return v_and(l, unlike, numbers); /* one NaN is like the other */
}

/* x of rank 1 by sorting: a group starts where a value differs from the one before it. */
static groups group_by_sorting(tsr_lower *l, tsr_value x) {
  groups g = {0};
  tsr_expr count = v_dim(l, x, 0);
  tsr_value sorted, from;
  tsr_graph_topk(l->b, x, count, 0, false, &sorted, &from);
  if (!sorted)
    return g;
  /* The first element is compared with itself. */
  tsr_value before = tsr_graph_gather(
      l->b, sorted, v_max(l, v_add_number(l, places(l, count), -1), v_number(l, from, 0)), 0);
  tsr_value starts = v_cast(l, differ(l, sorted, before), TSR_I64);
  tsr_value number = tsr_graph_scan(l->b, starts, "add", 0, false, false);
  tsr_value ones = tsr_graph_splat(l->b, TSR_I64, 1, &count, 1);
  tsr_value ends = tsr_graph_broadcast(l->b, tsr_graph_index(l->b, TSR_I64, count), &count, 1);
  g.number = put(l, zeros(l, count), from, number, "none");
  g.first = tsr_graph_gather(l->b, put(l, ends, number, from, "min"), g.number, 0);
  g.size = tsr_graph_gather(l->b, put(l, zeros(l, count), number, ones, "add"), g.number, 0);
  return g;
}

/* Slices x [n, m] by comparing each with each, element by element from the front. */
static groups group_by_pairs(tsr_lower *l, tsr_value x) {
  static const int64_t last = 1;
  groups g = {0};
  tsr_expr count = v_dim(l, x, 0), width = v_dim(l, x, 1), one = e_int(l, 1);
  tsr_expr left[3] = {count, one, width}, right[3] = {one, count, width};
  tsr_expr pairs[2] = {count, count}, all[3] = {count, count, width};
  tsr_value a = tsr_graph_broadcast(l->b, v_reshape(l, x, left, 3), all, 3);
  tsr_value b = tsr_graph_broadcast(l->b, v_reshape(l, x, right, 3), all, 3);
  tsr_value unlike = v_cast(l, differ(l, a, b), TSR_I32);
  tsr_value at = v_unsqueeze(l, tsr_graph_arg_reduce(l->b, unlike, "max", 2, false), 2);
  a = tsr_graph_gather_elements(l->b, a, at, 2);
  b = tsr_graph_gather_elements(l->b, b, at, 2);
  tsr_value same = v_not(l, v_reshape(l, differ(l, a, b), pairs, 2));
  tsr_value after = v_reshape(l, v_gt(l, a, b), pairs, 2); /* slice i after slice j */
  tsr_value alike = v_cast(l, same, TSR_I64);
  g.first = tsr_graph_arg_reduce(l->b, alike, "max", 1, false);
  g.size = tsr_graph_reduce(l->b, alike, "add", &last, 1);
  tsr_value heads = v_eq(l, g.first, places(l, count));
  tsr_value below = v_cast(l, v_and(l, after, v_unsqueeze(l, heads, 0)), TSR_I64);
  g.number = tsr_graph_reduce(l->b, below, "add", &last, 1);
  return g;
}

/* The groups' numbers [K] where `there` [n] is not 0. */
static tsr_value present(tsr_lower *l, tsr_value there) {
  tsr_value found = tsr_graph_nonzero(l->b, there, tsr_fresh_dim_name(l));
  tsr_expr dim = v_dim(l, found, 1);
  return v_reshape(l, found, &dim, 1);
}

tsr_status tsr_lower_op_unique(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0), rows, from, inverse, sizes;
  uint32_t axis = 0;
  tsr_expr all = tsr_type_elements(l->ir, tsr_value_get(l->ir, x)->type);
  if (tsr_lower_attr(l, "axis"))
    TSR_TRY(tsr_lower_axis_attr(l, "axis", 0, v_rank(l, x), &axis));
  else
    x = v_reshape(l, x, &all, 1);
  rows = v_dtype(l, x) == TSR_BOOL ? v_cast(l, x, TSR_U8) : v_widen(l, x);
  if (tsr_lower_is_text(l, 0) && tsr_lower_int(l, "sorted", 1) != 0)
    rows = tsr_lower_host(l, TSR_OP_TEXT_RANK, &x, 1, tsr_value_get(l->ir, x)->type);
  groups g;
  if (v_rank(l, x) == 1)
    g = group_by_sorting(l, rows);
  else {
    tsr_expr dims[2] = {v_dim(l, x, axis), e_int(l, 1)};
    for (uint32_t i = 0; i < v_rank(l, x); i++)
      dims[1] = i == axis ? dims[1] : e_mul(l, dims[1], v_dim(l, x, i));
    g = group_by_pairs(l, v_reshape(l, v_move_axis(l, rows, axis, 0), dims, 2));
  }
  tsr_expr count = v_dim(l, x, axis);
  if (tsr_lower_int(l, "sorted", 1) != 0) {
    tsr_value ones = tsr_graph_splat(l->b, TSR_I64, 1, &count, 1);
    tsr_value numbers = present(l, put(l, zeros(l, count), g.number, ones, "none"));
    from = tsr_graph_gather(l->b, put(l, zeros(l, count), g.number, g.first, "none"), numbers, 0);
    inverse = g.number;
  } else {
    tsr_value heads = v_eq(l, g.first, places(l, count));
    tsr_value order = tsr_graph_scan(l->b, v_cast(l, heads, TSR_I64), "add", 0, true, false);
    from = present(l, heads);
    inverse = tsr_graph_gather(l->b, order, g.first, 0);
  }
  sizes = tsr_graph_gather(l->b, g.size, from, 0);
  tsr_lower_set(l, 0, tsr_graph_gather(l->b, x, from, axis));
  tsr_lower_set(l, 1, from);
  tsr_lower_set(l, 2, inverse);
  tsr_lower_set(l, 3, sizes);
  return TSR_OK;
}
