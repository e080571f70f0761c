/* Normalisations. Variances are means of squared differences, never E[x^2] - E[x]^2. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"
#include <math.h>
#include <string.h>

typedef struct moments {
  tsr_value mean, centred, variance;
} moments;

static moments central_moments(tsr_lower *l, tsr_value x, const int64_t *axes, uint32_t count) {
  moments m;
  m.mean = v_mean_keep(l, x, axes, count);
  m.centred = v_sub(l, x, m.mean);
  m.variance = v_mean_keep(l, v_mul(l, m.centred, m.centred), axes, count);
  return m;
}

static tsr_value inverse_deviation(tsr_lower *l, tsr_value variance, double epsilon) {
  return v_unary(l, TSR_OP_RSQRT, v_add_number(l, variance, epsilon));
}

static double epsilon_of(tsr_lower *l) {
  return (double)tsr_lower_float(l, "epsilon", 1e-5f);
}

/* Input `number` in x's compute type, [C] along `axis` of x's rank. */
static tsr_value parameter(tsr_lower *l, uint32_t number, tsr_value x, uint32_t axis) {
  return v_along(l, v_cast(l, tsr_lower_value(l, number), v_dtype(l, x)), axis, v_rank(l, x));
}

/* --- batch --- */

static void set_running(tsr_lower *l, uint32_t output, uint32_t input, tsr_value now) {
  double keep = (double)tsr_lower_float(l, "momentum", 0.9f);
  tsr_value old = tsr_lower_value(l, input);
  tsr_expr dim = v_dim(l, old, 0);
  tsr_value flat = v_cast(l, v_reshape(l, now, &dim, 1), v_dtype(l, old));
  tsr_value mixed = v_add(l, v_mul_number(l, old, keep), v_mul_number(l, flat, 1 - keep));
  tsr_lower_set(l, output, mixed);
}

static tsr_status train_batch(tsr_lower *l, tsr_value x, tsr_value scale, tsr_value bias) {
  int64_t axes[TSR_MAX_RANK];
  uint32_t count = 0;
  tsr_value wide = v_widen(l, x);
  for (uint32_t i = 0; i < v_rank(l, x); i++)
    if (i != 1)
      axes[count++] = i;
  moments m = central_moments(l, wide, axes, count);
  tsr_value y = v_mul(l, m.centred, inverse_deviation(l, m.variance, epsilon_of(l)));
  tsr_lower_set(l, 0, v_cast(l, v_add(l, v_mul(l, y, scale), bias), v_dtype(l, x)));
  set_running(l, 1, 3, m.mean);
  set_running(l, 2, 4, m.variance);
  return TSR_OK;
}

tsr_status tsr_lower_op_batch_norm(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 5));
  tsr_value x = tsr_lower_value(l, 0), wide = v_widen(l, x);
  if (v_rank(l, x) < 2)
    return tsr_lower_unsupported(l, "rank %u", v_rank(l, x));
  if (l->opset < 9 && tsr_lower_int(l, "spatial", 1) == 0)
    return tsr_lower_unsupported(l, "spatial = 0");
  tsr_value scale = parameter(l, 1, wide, 1), bias = parameter(l, 2, wide, 1);
  if (l->opset >= 14 && tsr_lower_int(l, "training_mode", 0) != 0)
    return train_batch(l, x, scale, bias);
  tsr_value mean = parameter(l, 3, wide, 1), variance = parameter(l, 4, wide, 1);
  tsr_value factor = v_mul(l, scale, inverse_deviation(l, variance, epsilon_of(l)));
  tsr_value y = v_add(l, v_mul(l, v_sub(l, wide, mean), factor), bias);
  tsr_lower_set(l, 0, v_cast(l, y, v_dtype(l, x)));
  return TSR_OK;
}

/* --- instance, group --- */

tsr_status tsr_lower_op_instance_norm(tsr_lower *l) {
  int64_t axes[TSR_MAX_RANK];
  TSR_TRY(tsr_lower_need(l, 3));
  tsr_value x = tsr_lower_value(l, 0), wide = v_widen(l, x);
  uint32_t rank = v_rank(l, x);
  if (rank < 3)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "rank %u", rank);
  for (uint32_t i = 2; i < rank; i++)
    axes[i - 2] = i;
  moments m = central_moments(l, wide, axes, rank - 2);
  tsr_value y = v_mul(l, m.centred, inverse_deviation(l, m.variance, epsilon_of(l)));
  y = v_add(l, v_mul(l, y, parameter(l, 1, wide, 1)), parameter(l, 2, wide, 1));
  tsr_lower_set(l, 0, v_cast(l, y, v_dtype(l, x)));
  return TSR_OK;
}

/* [N, C, ...] as [N, groups, C / groups, ...]; scale and bias are per channel from opset 21 on, per
 * group before. */
tsr_status tsr_lower_op_group_norm(tsr_lower *l) {
  tsr_expr dims[TSR_MAX_RANK], split[TSR_MAX_RANK + 1];
  int64_t axes[TSR_MAX_RANK];
  TSR_TRY(tsr_lower_need(l, 3));
  tsr_value x = tsr_lower_value(l, 0), wide = v_widen(l, x);
  uint32_t rank = v_rank(l, x);
  int64_t groups = tsr_lower_int(l, "num_groups", 0);
  if (rank < 2 || rank >= TSR_MAX_RANK || groups < 1)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "rank %u, %lld groups", rank, (long long)groups);
  for (uint32_t i = 0; i < rank; i++)
    dims[i] = split[i + (i > 0)] = v_dim(l, x, i);
  split[1] = e_int(l, groups);
  split[2] = tsr_expr_floordiv_int(l->ir, dims[1], groups);
  for (uint32_t i = 0; i + 1 < rank; i++)
    axes[i] = i + 2;
  tsr_value grouped = v_reshape(l, wide, split, rank + 1);
  moments m = central_moments(l, grouped, axes, rank - 1);
  tsr_value y = v_mul(l, m.centred, inverse_deviation(l, m.variance, epsilon_of(l)));
  bool by_channel = l->opset >= 21;
  if (by_channel)
    y = v_reshape(l, y, dims, rank);
  y = v_add(l, v_mul(l, y, parameter(l, 1, y, 1)), parameter(l, 2, y, 1));
  tsr_lower_set(l, 0, v_cast(l, v_reshape(l, y, dims, rank), v_dtype(l, x)));
  return TSR_OK;
}

/* --- layer, RMS --- */

static tsr_status last_axes(tsr_lower *l, uint32_t rank, int64_t *axes, uint32_t *out_count) {
  uint32_t axis;
  TSR_TRY(tsr_lower_axis_attr(l, "axis", -1, rank, &axis));
  *out_count = rank - axis;
  for (uint32_t i = axis; i < rank; i++)
    axes[i - axis] = i;
  return TSR_OK;
}

static tsr_value scale_and_bias(tsr_lower *l, tsr_value y, uint32_t first) {
  if (tsr_lower_has(l, first))
    y = v_mul(l, y, v_cast(l, tsr_lower_value(l, first), v_dtype(l, y)));
  if (tsr_lower_has(l, first + 1))
    y = v_add(l, y, v_cast(l, tsr_lower_value(l, first + 1), v_dtype(l, y)));
  return y;
}

tsr_status tsr_lower_op_layer_norm(tsr_lower *l) {
  int64_t axes[TSR_MAX_RANK];
  uint32_t count;
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0), wide = v_widen(l, x);
  TSR_TRY(last_axes(l, v_rank(l, x), axes, &count));
  moments m = central_moments(l, wide, axes, count);
  tsr_value inverse = inverse_deviation(l, m.variance, epsilon_of(l));
  tsr_value y = scale_and_bias(l, v_mul(l, m.centred, inverse), 1);
  tsr_lower_set(l, 0, v_cast(l, y, v_dtype(l, x)));
  /* The moments have the type that they are kept in, of float64 too. */
  tsr_dtype kept = tsr_onnx_dtype(tsr_lower_int(l, "stash_type", 1));
  if (kept == TSR_DTYPE_NONE)
    return tsr_lower_wrong(l, TSR_ERR_TYPE, "stash_type");
  if (tsr_lower_wants(l, 1))
    tsr_lower_set(l, 1, v_cast(l, m.mean, kept));
  if (tsr_lower_wants(l, 2))
    tsr_lower_set(l, 2, v_cast(l, inverse, kept));
  return TSR_OK;
}

tsr_status tsr_lower_op_rms_norm(tsr_lower *l) {
  int64_t axes[TSR_MAX_RANK];
  uint32_t count;
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = tsr_lower_value(l, 0), wide = v_widen(l, x);
  TSR_TRY(last_axes(l, v_rank(l, x), axes, &count));
  tsr_value power = v_mean_keep(l, v_mul(l, wide, wide), axes, count);
  tsr_value y = v_mul(l, wide, inverse_deviation(l, power, epsilon_of(l)));
  y = v_cast(l, scale_and_bias(l, y, 1), v_dtype(l, x));
  tsr_lower_set(l, 0, y);
  return TSR_OK;
}

tsr_status tsr_lower_op_mean_variance_norm(tsr_lower *l) {
  static const int64_t usual[3] = {0, 2, 3};
  int64_t axes[TSR_MAX_RANK];
  uint32_t count;
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0), wide = v_widen(l, x);
  const int64_t *list = tsr_lower_ints(l, "axes", &count);
  TSR_TRY(tsr_lower_axes(l, list ? list : usual, list ? count : 3, v_rank(l, x), axes));
  moments m = central_moments(l, wide, axes, list ? count : 3);
  tsr_value deviation = v_add_number(l, v_sqrt(l, m.variance), 1e-9);
  tsr_lower_set(l, 0, v_cast(l, v_div(l, m.centred, deviation), v_dtype(l, x)));
  return TSR_OK;
}

tsr_status tsr_lower_op_lp_norm(tsr_lower *l) {
  uint32_t axis;
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0), wide = v_widen(l, x);
  TSR_TRY(tsr_lower_axis_attr(l, "axis", -1, v_rank(l, x), &axis));
  int64_t axes[1] = {axis}, p = tsr_lower_int(l, "p", 2);
  if (p != 1 && p != 2)
    return tsr_lower_unsupported(l, "p = %lld", (long long)p);
  tsr_value terms = p == 1 ? v_abs(l, wide) : v_mul(l, wide, wide);
  tsr_value norm = v_reduce_keep(l, terms, "add", axes, 1);
  if (p == 2)
    norm = v_sqrt(l, norm);
  tsr_value zero = v_number(l, wide, 0);
  tsr_value y = v_select(l, v_eq(l, norm, zero), zero, v_div(l, wide, norm));
  tsr_lower_set(l, 0, v_cast(l, y, v_dtype(l, x)));
  return TSR_OK;
}

/* Sums of squares over a window of channels. */
tsr_status tsr_lower_op_lrn(tsr_lower *l) {
  int64_t window[TSR_MAX_RANK], ones[TSR_MAX_RANK];
  tsr_expr low[TSR_MAX_RANK], high[TSR_MAX_RANK];
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0), wide = v_widen(l, x);
  int64_t size = tsr_lower_int(l, "size", 0);
  uint32_t rank = v_rank(l, x);
  if (rank < 2 || size < 1)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "rank %u, size %lld", rank, (long long)size);
  for (uint32_t i = 0; i + 1 < rank; i++) {
    window[i] = i == 0 ? size : 1;
    ones[i] = 1;
    low[i] = e_int(l, i == 0 ? (size - 1) / 2 : 0);
    high[i] = e_int(l, i == 0 ? size / 2 : 0);
  }
  tsr_value sum =
      tsr_graph_pool(l->b, v_mul(l, wide, wide), "add", rank - 1, window, ones, ones, low, high);
  double alpha = (double)tsr_lower_float(l, "alpha", 1e-4f) / (double)size;
  double beta = (double)tsr_lower_float(l, "beta", 0.75f);
  tsr_value base =
      v_add_number(l, v_mul_number(l, sum, alpha), (double)tsr_lower_float(l, "bias", 1));
  tsr_value y = v_div(l, wide, v_pow(l, base, v_number(l, base, beta)));
  tsr_lower_set(l, 0, v_cast(l, y, v_dtype(l, x)));
  return TSR_OK;
}
