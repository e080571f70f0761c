/* Det: elimination with partial pivoting, one column per step; the order must be known and
 * moderate. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"

enum { MAX_ORDER = 64 };

/* One step on x [B, n, n]: the pivot's row comes first, its column is eliminated below. Gives the
 * remaining [B, n - 1, n - 1] and multiplies `det` [B, 1, 1] by the pivot, negated when rows moved.
 */
static tsr_value eliminate(tsr_lower *l, tsr_value x, int64_t n, tsr_value *det) {
  tsr_expr one = e_int(l, 1), zero = e_int(l, 0), rest = e_int(l, n - 1);
  tsr_expr row[3] = {v_dim(l, x, 0), one, e_int(l, n)}, rows[3] = {one, e_int(l, n), one};
  tsr_value size = v_abs(l, v_slice_axis(l, x, 2, zero, one));
  tsr_value best = v_unsqueeze(l, tsr_graph_arg_reduce(l->b, size, "max", 1, false), 1);
  tsr_value pivots = tsr_graph_gather_elements(l->b, x, tsr_graph_broadcast(l->b, best, row, 3), 1);
  tsr_value pivot = v_slice_axis(l, pivots, 2, zero, one);
  tsr_value moved = v_ne(l, best, v_number(l, best, 0));
  *det = v_mul(l, *det, v_select(l, moved, v_neg(l, pivot), pivot));
  if (n == 1)
    return x;
  /* The first row goes where the pivot's row was. */
  tsr_value here = v_eq(l, tsr_graph_iota(l->b, TSR_I64, rows, 3, 1), best);
  tsr_value first = v_slice_axis(l, x, 1, zero, one);
  tsr_value below = v_slice_axis(l, v_select(l, here, first, x), 1, one, rest);
  tsr_value none = v_eq(l, pivot, v_number(l, pivot, 0));
  tsr_value divisor = v_select(l, none, v_number(l, pivot, 1), pivot);
  tsr_value factor = v_div(l, v_slice_axis(l, below, 2, zero, one), divisor);
  tsr_value taken = v_mul(l, factor, v_slice_axis(l, pivots, 2, one, rest));
  return v_sub(l, v_slice_axis(l, below, 2, one, rest), taken);
}

tsr_status tsr_lower_op_det(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0);
  uint32_t rank = v_rank(l, x);
  int64_t n, columns;
  tsr_expr dims[TSR_MAX_RANK], batch = e_int(l, 1);
  if (rank < 2)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "needs rank 2 or more, not %u", rank);
  if (!v_static_dim(l, x, rank - 1, &columns) || !v_static_dim(l, x, rank - 2, &n) || n > MAX_ORDER)
    return tsr_lower_unsupported(l, "matrices of more than %d rows, or an unknown number",
                                 MAX_ORDER);
  if (n != columns)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "matrices of %lld x %lld", (long long)n,
                           (long long)columns);
  for (uint32_t i = 0; i + 2 < rank; i++) {
    dims[i] = v_dim(l, x, i);
    batch = e_mul(l, batch, dims[i]);
  }
  tsr_expr square[3] = {batch, e_int(l, n), e_int(l, n)},
           ones[3] = {batch, e_int(l, 1), e_int(l, 1)};
  tsr_value rest = v_reshape(l, v_widen(l, x), square, 3);
  tsr_value det = tsr_graph_splat(l->b, v_dtype(l, rest), 1, ones, 3);
  for (int64_t i = n; i > 0; i--)
    rest = eliminate(l, rest, i, &det);
  tsr_lower_set(l, 0, v_cast(l, v_reshape(l, det, dims, rank - 2), v_dtype(l, x)));
  return TSR_OK;
}
