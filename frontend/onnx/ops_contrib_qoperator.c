/* com.microsoft: operators on quantised tensors that are computed in float32 between two roundings
 * (ONNX Runtime's QOperator format). Scales and zero points are of whole tensors. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"
#include "frontend/onnx/window.h"

static tsr_value whole(tsr_lower *l, uint32_t input) {
  tsr_value x = tsr_lower_value(l, input);
  return v_rank(l, x) == 1 && tsr_expr_equals_int(l->ir, v_dim(l, x, 0), 1) ? v_to_scalar(l, x) : x;
}

/* Inputs `first` (a tensor), its scale and its zero point as float32; 0 where a list of scales is
 * not one number. */
static tsr_value real_of(tsr_lower *l, uint32_t first) {
  tsr_value scale = whole(l, first + 1), x = v_cast(l, tsr_lower_value(l, first), TSR_I32);
  if (tsr_lower_has(l, first + 2)) {
    tsr_value zero = whole(l, first + 2);
    if (v_rank(l, zero) != 0)
      return 0;
    x = v_sub(l, x, v_cast(l, zero, TSR_I32));
  }
  return v_rank(l, scale) == 0 ? v_mul(l, v_cast(l, x, TSR_F32), v_cast(l, scale, TSR_F32)) : 0;
}

/* Sets the result: y over the scale in input `scale`, to the type of the zero point behind it or of
 * input `like`. `shifted`: a half goes to the even number after the zero point is added, not
 * before. */
static tsr_status give(tsr_lower *l, tsr_value y, uint32_t scale, uint32_t like, bool shifted) {
  tsr_value by = whole(l, scale);
  tsr_value zero = tsr_lower_has(l, scale + 1)
                       ? whole(l, scale + 1)
                       : tsr_graph_scalar_int(l->b, v_dtype(l, tsr_lower_value(l, like)), 0);
  if (!y || v_rank(l, by) != 0 || v_rank(l, zero) != 0)
    return tsr_lower_unsupported(l, "scales or zero points that are not single numbers");
  tsr_value scaled = v_div(l, y, v_cast(l, by, TSR_F32)), shift = v_cast(l, zero, TSR_F32);
  if (shifted)
    scaled = v_sub(l, v_round(l, v_add(l, scaled, shift)), shift);
  tsr_lower_set(l, 0, tsr_quantize(l, scaled, zero));
  return TSR_OK;
}

/* `arg`: the op between the two. */
tsr_status tsr_lower_op_contrib_qlinear_binary(tsr_lower *l) {
  enum { A, B = 3, C_SCALE = 6 };
  TSR_TRY(tsr_lower_need(l, C_SCALE + 1));
  tsr_value x = real_of(l, A), y = real_of(l, B);
  return give(l, x && y ? v_binary(l, (tsr_opcode)l->arg, x, y) : 0, C_SCALE, A,
              l->arg == TSR_OP_ADD);
}

/* `arg` 0: Sigmoid, 1: LeakyRelu. */
tsr_status tsr_lower_op_contrib_qlinear_unary(tsr_lower *l) {
  enum { X, Y_SCALE = 3 };
  TSR_TRY(tsr_lower_need(l, Y_SCALE + 1));
  tsr_value x = real_of(l, X), y = 0;
  if (x && l->arg == 0)
    y = v_sigmoid(l, x);
  else if (x) {
    tsr_value less = v_mul_number(l, x, (double)tsr_lower_float(l, "alpha", 0.01f));
    y = v_select(l, v_ge(l, x, v_number(l, x, 0)), x, less);
  }
  return give(l, y, Y_SCALE, X, false);
}

tsr_status tsr_lower_op_contrib_qlinear_concat(tsr_lower *l) {
  enum { Y_SCALE, FIRST = 2, PART = 3 };
  uint32_t axis, count = 0;
  TSR_TRY(tsr_lower_need(l, FIRST + PART));
  const uint32_t most = (l->in_count - FIRST) / PART;
  tsr_value *parts = tsr_lower_alloc(l, most, sizeof *parts);
  if (!parts)
    return TSR_OK;
  for (; count < most; count++) {
    TSR_TRY(tsr_lower_need(l, FIRST + PART * (count + 1)));
    parts[count] = real_of(l, FIRST + PART * count);
    if (!parts[count])
      return give(l, 0, Y_SCALE, FIRST, false);
  }
  TSR_TRY(tsr_lower_axis_attr(l, "axis", 1, v_rank(l, parts[0]), &axis));
  return give(l, tsr_graph_concat(l->b, parts, count, axis), Y_SCALE, FIRST, false);
}

tsr_status tsr_lower_op_contrib_qlinear_global_pool(tsr_lower *l) {
  enum { X, Y_SCALE = 3 };
  int64_t axes[TSR_MAX_RANK];
  TSR_TRY(tsr_lower_need(l, Y_SCALE + 1));
  const uint32_t rank = v_rank(l, tsr_lower_value(l, X));
  if (rank < 3)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "an input of rank %u", rank);
  const bool last = tsr_lower_int(l, "channels_last", 0) != 0;
  for (uint32_t i = 0; i + 2 < rank; i++)
    axes[i] = last ? i + 1 : i + 2;
  tsr_value x = real_of(l, X);
  return give(l, x ? v_mean_keep(l, x, axes, rank - 2) : 0, Y_SCALE, X, false);
}

tsr_status tsr_lower_op_contrib_qlinear_pool(tsr_lower *l) {
  enum { X, Y_SCALE = 3 };
  TSR_TRY(tsr_lower_need(l, Y_SCALE + 1));
  const uint32_t rank = v_rank(l, tsr_lower_value(l, X));
  const bool last = tsr_lower_int(l, "channels_last", 0) != 0;
  tsr_value x = real_of(l, X), y = 0;
  if (rank < 3)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "an input of rank %u", rank);
  if (x)
    TSR_TRY(tsr_average_windows(l, last ? v_move_axis(l, x, rank - 1, 1) : x, &y));
  return give(l, y && last ? v_move_axis(l, y, 1, rank - 1) : y, Y_SCALE, X, true);
}
