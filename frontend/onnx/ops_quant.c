/* Quantised operators as arithmetic on wider types. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"
#include <string.h>

static void integer_range_of(tsr_dtype dtype, double *low, double *high) {
  unsigned bits = tsr_dtype_bits(dtype);
  bool is_signed = tsr_dtype_class_of(dtype) == TSR_CLASS_INT;
  double span = 1;
  for (unsigned i = 0; i < bits; i++)
    span *= 2;
  *low = is_signed ? -span / 2 : 0;
  *high = *low + span - 1;
}

/* round(scaled) + zero, clipped to zero's dtype; `zero` broadcasts. */
tsr_value tsr_quantize(tsr_lower *l, tsr_value scaled, tsr_value zero) {
  double low, high;
  tsr_dtype dtype = v_dtype(l, zero);
  if (tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT)
    return v_cast(l, scaled, dtype);
  integer_range_of(dtype, &low, &high);
  tsr_value shifted = v_add(l, v_round(l, scaled), v_cast(l, zero, v_dtype(l, scaled)));
  return v_cast(l, v_clip(l, shifted, low, high), dtype);
}

/* A scale or zero point against x: a scalar as it is, a list along `axis`, a grid of blocks
 * repeated along `axis`. */
static tsr_status spread(tsr_lower *l, tsr_value x, tsr_value *parameter) {
  uint32_t rank = v_rank(l, x), own = v_rank(l, *parameter), axis;
  int64_t block = l->opset >= 21 ? tsr_lower_int(l, "block_size", 0) : 0;
  if (own == 0 || (own == 1 && tsr_expr_equals_int(l->ir, v_dim(l, *parameter, 0), 1) && !block)) {
    *parameter = v_to_scalar(l, *parameter);
    return TSR_OK;
  }
  TSR_TRY(tsr_lower_axis_attr(l, "axis", 1, rank, &axis));
  if (own == 1 && block == 0) {
    *parameter = v_along(l, *parameter, axis, rank);
    return TSR_OK;
  }
  if (own != rank || rank == TSR_MAX_RANK)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "scale of rank %u for an input of rank %u", own, rank);
  if (block == 0)
    return TSR_OK;
  tsr_expr split[TSR_MAX_RANK], dims[TSR_MAX_RANK];
  for (uint32_t i = 0; i <= rank; i++)
    split[i] = i == axis + 1 ? e_int(l, block) : v_dim(l, *parameter, i <= axis ? i : i - 1);
  for (uint32_t i = 0; i < rank; i++)
    dims[i] = i == axis ? tsr_expr_mul_int(l->ir, v_dim(l, *parameter, i), block)
                        : v_dim(l, *parameter, i);
  tsr_value grown =
      tsr_graph_broadcast(l->b, v_unsqueeze(l, *parameter, axis + 1), split, rank + 1);
  grown = v_reshape(l, grown, dims, rank);
  *parameter = dims[axis] == v_dim(l, x, axis)
                   ? grown
                   : v_slice_axis(l, grown, axis, e_int(l, 0), v_dim(l, x, axis));
  return TSR_OK;
}

tsr_status tsr_lower_op_quantize_linear(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = tsr_lower_value(l, 0), scale = tsr_lower_value(l, 1), zero;
  int64_t to = tsr_lower_int(l, "output_dtype", 0);
  tsr_dtype dtype = to ? tsr_onnx_dtype(to) : TSR_U8;
  if (tsr_lower_has(l, 2))
    zero = tsr_lower_value(l, 2);
  else if (dtype != TSR_DTYPE_NONE)
    zero = tsr_graph_scalar(l->b, dtype, 0);
  else
    return tsr_lower_unsupported(l, "output type %s", tsr_onnx_dtype_name(to));
  tsr_value wide =
      tsr_dtype_class_of(v_dtype(l, x)) == TSR_CLASS_FLOAT ? v_widen(l, x) : v_cast(l, x, TSR_F32);
  scale = v_cast(l, scale, v_dtype(l, wide));
  TSR_TRY(spread(l, x, &scale));
  TSR_TRY(spread(l, x, &zero));
  tsr_value y = tsr_quantize(l, v_div(l, wide, scale), zero);
  if (y && v_is_float(l, y) && tsr_lower_int(l, "saturate", 1) == 0)
    tsr_op_set_bool(l->ir, tsr_value_get(l->ir, y)->def, "saturate", false);
  tsr_lower_set(l, 0, y);
  return TSR_OK;
}

tsr_status tsr_lower_op_dequantize_linear(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = tsr_lower_value(l, 0), scale = tsr_lower_value(l, 1), wide = x;
  tsr_dtype dtype = v_dtype(l, scale);
  bool floating = v_is_float(l, x);
  tsr_value factor = v_widen(l, scale);
  TSR_TRY(spread(l, x, &factor));
  if (tsr_lower_has(l, 2) && !floating) {
    tsr_value zero = v_cast(l, tsr_lower_value(l, 2), TSR_I32);
    TSR_TRY(spread(l, x, &zero));
    wide = v_sub(l, v_cast(l, x, TSR_I32), zero);
  }
  tsr_value y = v_mul(l, v_cast(l, wide, v_dtype(l, factor)), factor);
  tsr_lower_set(l, 0, v_cast(l, y, dtype));
  return TSR_OK;
}

tsr_value tsr_dynamic_quantize(tsr_lower *l, tsr_value x, tsr_value *out_scale,
                               tsr_value *out_point) {
  int64_t axes[TSR_MAX_RANK];
  uint32_t rank = v_rank(l, x);
  for (uint32_t i = 0; i < rank; i++)
    axes[i] = i;
  tsr_value zero = v_number(l, x, 0);
  tsr_value high = v_max(l, rank ? tsr_graph_reduce(l->b, x, "max", axes, rank) : x, zero);
  tsr_value low = v_min(l, rank ? tsr_graph_reduce(l->b, x, "min", axes, rank) : x, zero);
  /* Of zeros alone the scale is 1, as in ONNX Runtime: the definition divides by 0. */
  tsr_value range = v_sub(l, high, low);
  tsr_value scale =
      v_select(l, v_gt(l, range, zero), v_div(l, range, v_number(l, x, 255)), v_number(l, x, 1));
  tsr_value middle = v_round(l, v_clip(l, v_neg(l, v_div(l, low, scale)), 0, 255));
  *out_scale = scale;
  *out_point = v_cast(l, middle, TSR_U8);
  return tsr_quantize(l, v_div(l, x, scale), *out_point);
}

tsr_status tsr_lower_op_dynamic_quantize_linear(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value scale, point;
  tsr_lower_set(l, 0, tsr_dynamic_quantize(l, tsr_lower_value(l, 0), &scale, &point));
  tsr_lower_set(l, 1, scale);
  tsr_lower_set(l, 2, point);
  return TSR_OK;
}

/* Input `number` minus its zero point as i32; a list of zero points runs along `axis` from the end
 * (1: last, 2: rows). */
static tsr_value unbiased(tsr_lower *l, uint32_t input, uint32_t zero, uint32_t from_end) {
  tsr_value x = v_cast(l, tsr_lower_value(l, input), TSR_I32);
  if (!tsr_lower_has(l, zero))
    return x;
  tsr_value z = v_cast(l, tsr_lower_value(l, zero), TSR_I32);
  uint32_t rank = v_rank(l, x);
  if (v_rank(l, z) == 1 && tsr_expr_equals_int(l->ir, v_dim(l, z, 0), 1))
    z = v_to_scalar(l, z);
  else if (v_rank(l, z) == 1 && rank >= from_end)
    z = v_along(l, z, rank - from_end, rank);
  return v_sub(l, x, z);
}

tsr_status tsr_lower_op_matmul_integer(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = unbiased(l, 0, 2, 2), y = unbiased(l, 1, 3, 1);
  tsr_lower_set(l, 0, v_matmul(l, x, y, false, false));
  return TSR_OK;
}

/* A scale or zero point of a row (from_end 2) or column (1) list in a product's shape. */
static tsr_value across(tsr_lower *l, tsr_value p, tsr_value y, uint32_t from_end) {
  uint32_t rank = v_rank(l, y);
  if (v_rank(l, p) == 1 && tsr_expr_equals_int(l->ir, v_dim(l, p, 0), 1))
    return v_to_scalar(l, p);
  return v_rank(l, p) == 1 && rank >= from_end ? v_along(l, p, rank - from_end, rank) : p;
}

tsr_status tsr_lower_op_qlinear_matmul(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 8));
  tsr_value x = unbiased(l, 0, 2, 2), w = unbiased(l, 3, 5, 1);
  tsr_value y = v_cast(l, v_matmul(l, x, w, false, false), TSR_F32);
  tsr_value a = across(l, v_cast(l, tsr_lower_value(l, 1), TSR_F32), y, 2);
  tsr_value b = across(l, v_cast(l, tsr_lower_value(l, 4), TSR_F32), y, 1);
  tsr_value c = across(l, v_cast(l, tsr_lower_value(l, 6), TSR_F32), y, 2);
  tsr_value scaled = v_mul(l, y, v_div(l, v_mul(l, a, b), c));
  tsr_lower_set(l, 0, tsr_quantize(l, scaled, across(l, tsr_lower_value(l, 7), y, 2)));
  return TSR_OK;
}
