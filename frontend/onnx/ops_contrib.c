/* com.microsoft: activations, products and normalisations that ONNX Runtime's optimizer and
 * exporters write into transformers. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"
#include <math.h>
#include <string.h>

/* --- activations --- */

static tsr_value half_of(tsr_lower *l, tsr_value x, tsr_value inner) {
  return v_mul(l, v_mul_number(l, x, 0.5), v_add_number(l, inner, 1));
}

static tsr_value exact_gelu(tsr_lower *l, tsr_value x) {
  return half_of(l, x, v_erf(l, v_mul_number(l, x, sqrt(0.5))));
}

static tsr_value tanh_gelu(tsr_lower *l, tsr_value x) {
  tsr_value cube = v_mul(l, v_mul(l, x, x), x);
  tsr_value inner = v_add(l, x, v_mul_number(l, cube, 0.044715));
  return half_of(l, x, v_tanh(l, v_mul_number(l, inner, sqrt(2.0 / 3.14159265358979323846))));
}

/* x with optional input `bias` added, in the compute type. */
static tsr_value biased(tsr_lower *l, tsr_value x, uint32_t bias) {
  tsr_value wide = v_widen(l, x);
  if (!tsr_lower_has(l, bias))
    return wide;
  return v_add(l, wide, v_cast(l, tsr_lower_value(l, bias), v_dtype(l, wide)));
}

/* Gelu and BiasGelu. */
tsr_status tsr_lower_op_contrib_gelu(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, l->arg != 0 ? 2 : 1));
  tsr_value x = tsr_lower_value(l, 0);
  tsr_lower_set(l, 0, v_cast(l, exact_gelu(l, biased(l, x, 1)), v_dtype(l, x)));
  return TSR_OK;
}

tsr_status tsr_lower_op_contrib_fast_gelu(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0);
  tsr_lower_set(l, 0, v_cast(l, tanh_gelu(l, biased(l, x, 1)), v_dtype(l, x)));
  return TSR_OK;
}

tsr_status tsr_lower_op_contrib_quick_gelu(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0), wide = v_widen(l, x);
  double alpha = (double)tsr_lower_float(l, "alpha", 1.702f);
  tsr_value y = v_mul(l, wide, v_sigmoid(l, v_mul_number(l, wide, alpha)));
  tsr_lower_set(l, 0, v_cast(l, y, v_dtype(l, x)));
  return TSR_OK;
}

/* X + bias + skip. */
tsr_status tsr_lower_op_contrib_bias_add(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 3));
  tsr_value x = tsr_lower_value(l, 0), y = biased(l, biased(l, x, 1), 2);
  tsr_lower_set(l, 0, v_cast(l, y, v_dtype(l, x)));
  return TSR_OK;
}

/* The first half of X + bias times Gelu of the second one. */
tsr_status tsr_lower_op_contrib_bias_split_gelu(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = tsr_lower_value(l, 0), wide = biased(l, x, 1);
  uint32_t rank = v_rank(l, wide);
  if (rank == 0)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "an input of rank 0");
  tsr_expr half = tsr_expr_floordiv_int(l->ir, v_dim(l, wide, rank - 1), 2);
  tsr_value left = v_slice_axis(l, wide, rank - 1, e_int(l, 0), half);
  tsr_value right = v_slice_axis(l, wide, rank - 1, half, half);
  tsr_lower_set(l, 0, v_cast(l, v_mul(l, left, exact_gelu(l, right)), v_dtype(l, x)));
  return TSR_OK;
}

/* --- products --- */

/* transBatch: the first axis is the rows', the batch axes follow. */
static tsr_value factor(tsr_lower *l, uint32_t input, const char *by_batch) {
  tsr_value x = tsr_lower_value(l, input);
  uint32_t rank = v_rank(l, x);
  if (tsr_lower_int(l, by_batch, 0) == 0 || rank < 3)
    return x;
  return v_move_axis(l, x, 0, rank - 2);
}

tsr_status tsr_lower_op_contrib_fused_matmul(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = factor(l, 0, "transBatchA"), y = factor(l, 1, "transBatchB");
  bool trans_x = tsr_lower_int(l, "transA", 0) != 0 && v_rank(l, x) > 1;
  bool trans_y = tsr_lower_int(l, "transB", 0) != 0 && v_rank(l, y) > 1;
  double alpha = (double)tsr_lower_float(l, "alpha", 1);
  tsr_value z = v_matmul(l, x, y, trans_x, trans_y);
  tsr_lower_set(l, 0, alpha == 1 ? z : v_mul_number(l, z, alpha));
  return TSR_OK;
}

/* `alpha` and `beta` as the activation's own operator has them. */
static tsr_status apply_activation(tsr_lower *l, tsr_value *x, double alpha, double beta) {
  const char *name = tsr_lower_text(l, "activation", "");
  tsr_value zero = v_number(l, *x, 0);
  if (strcmp(name, "Relu") == 0)
    *x = v_max(l, *x, zero);
  else if (strcmp(name, "LeakyRelu") == 0)
    *x = v_select(l, v_lt(l, *x, zero), v_mul_number(l, *x, alpha), *x);
  else if (strcmp(name, "Sigmoid") == 0)
    *x = v_sigmoid(l, *x);
  else if (strcmp(name, "Tanh") == 0)
    *x = v_tanh(l, *x);
  else if (strcmp(name, "Clip") == 0)
    *x = v_clip(l, *x, alpha, beta);
  else if (strcmp(name, "HardSigmoid") == 0)
    *x = v_clip(l, v_add_number(l, v_mul_number(l, *x, alpha), beta), 0, 1);
  else if (name[0] != '\0')
    return tsr_lower_unsupported(l, "activation = '%s'", name);
  return TSR_OK;
}

tsr_status tsr_lower_op_contrib_fused_gemm(tsr_lower *l) {
  TSR_TRY(tsr_lower_op_gemm(l));
  if (!l->out[0])
    return TSR_OK;
  tsr_value y = tsr_imported_value(l, l->out[0]), wide = v_widen(l, y);
  double alpha = (double)tsr_lower_float(l, "activation_alpha", 0.01f);
  double beta = (double)tsr_lower_float(l, "activation_beta", 1);
  TSR_TRY(apply_activation(l, &wide, alpha, beta));
  tsr_lower_set(l, 0, v_cast(l, wide, v_dtype(l, y)));
  return TSR_OK;
}

/* Input 3 is added to the convolution's result before the activation. */
tsr_status tsr_lower_op_contrib_fused_conv(tsr_lower *l) {
  uint32_t count;
  const float *params = tsr_lower_floats(l, "activation_params", &count);
  TSR_TRY(tsr_lower_op_conv(l));
  if (!l->out[0])
    return TSR_OK;
  tsr_value y = tsr_imported_value(l, l->out[0]);
  if (tsr_lower_has(l, 3))
    y = v_add(l, y, tsr_lower_value(l, 3));
  TSR_TRY(apply_activation(l, &y, count > 0 ? (double)params[0] : 0.01,
                           count > 1 ? (double)params[1] : 1));
  tsr_lower_set(l, 0, y);
  return TSR_OK;
}

/* --- normalisations --- */

typedef struct normal {
  tsr_value y, mean, inverse;
} normal;

/* Over the last axis, by squared differences from the mean, or from 0 when `simplified`; weights
 * are inputs, absent ones 1 and 0. */
static normal normalise(tsr_lower *l, tsr_value x, bool simplified, double epsilon, uint32_t gamma,
                        uint32_t beta) {
  normal n = {0, 0, 0};
  int64_t axis = v_rank(l, x) ? v_rank(l, x) - 1 : 0;
  if (!simplified) {
    n.mean = v_mean_keep(l, x, &axis, 1);
    x = v_sub(l, x, n.mean);
  }
  tsr_value variance = v_mean_keep(l, v_mul(l, x, x), &axis, 1);
  n.inverse = v_unary(l, TSR_OP_RSQRT, v_add_number(l, variance, epsilon));
  n.y = v_mul(l, x, n.inverse);
  if (tsr_lower_has(l, gamma))
    n.y = v_mul(l, n.y, v_cast(l, tsr_lower_value(l, gamma), v_dtype(l, n.y)));
  if (tsr_lower_has(l, beta))
    n.y = v_add(l, n.y, v_cast(l, tsr_lower_value(l, beta), v_dtype(l, n.y)));
  return n;
}

/* Inputs x, skip, gamma, then beta unless simplified, then bias. */
tsr_status tsr_lower_op_contrib_skip_norm(tsr_lower *l) {
  bool simplified = l->arg != 0;
  TSR_TRY(tsr_lower_need(l, 3));
  tsr_value x = tsr_lower_value(l, 0);
  if (v_rank(l, x) == 0)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "an input of rank 0");
  tsr_value sum = biased(l, biased(l, x, 1), simplified ? 3 : 4);
  double epsilon = (double)tsr_lower_float(l, "epsilon", 1e-12f);
  normal n = normalise(l, sum, simplified, epsilon, 2, simplified ? UINT32_MAX : 3);
  tsr_lower_set(l, 0, v_cast(l, n.y, v_dtype(l, x)));
  if (tsr_lower_wants(l, 1) && simplified)
    return tsr_lower_unsupported(l, "output 1 (mean)");
  if (tsr_lower_wants(l, 1))
    tsr_lower_set(l, 1, n.mean);
  if (tsr_lower_wants(l, 2))
    tsr_lower_set(l, 2, n.inverse);
  if (tsr_lower_wants(l, 3))
    tsr_lower_set(l, 3, v_cast(l, sum, v_dtype(l, x)));
  return TSR_OK;
}

/* SimplifiedLayerNormalization: RMSNormalization with the inverse as a second output. */
tsr_status tsr_lower_op_contrib_rms_norm(tsr_lower *l) {
  int64_t axes[TSR_MAX_RANK];
  uint32_t axis;
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = tsr_lower_value(l, 0), wide = v_widen(l, x);
  uint32_t rank = v_rank(l, x);
  TSR_TRY(tsr_lower_axis_attr(l, "axis", -1, rank, &axis));
  for (uint32_t i = axis; i < rank; i++)
    axes[i - axis] = i;
  tsr_value power = v_mean_keep(l, v_mul(l, wide, wide), axes, rank - axis);
  double epsilon = (double)tsr_lower_float(l, "epsilon", 1e-5f);
  tsr_value inverse = v_unary(l, TSR_OP_RSQRT, v_add_number(l, power, epsilon));
  tsr_value scale = tsr_lower_value(l, 1);
  tsr_value y = v_mul(l, v_mul(l, wide, inverse), v_cast(l, scale, v_dtype(l, wide)));
  tsr_lower_set(l, 0, v_cast(l, y, v_dtype(l, scale)));
  if (tsr_lower_wants(l, 1))
    tsr_lower_set(l, 1, v_cast(l, inverse, TSR_F32));
  return TSR_OK;
}

/* --- embeddings --- */

enum { IN_IDS, IN_SEGMENTS, IN_WORDS, IN_PLACES, IN_KINDS, IN_GAMMA, IN_BETA, IN_MASK, IN_PLACE };

/* Rows of a table by index, widened. */
static tsr_value rows_of(tsr_lower *l, uint32_t table, tsr_value index) {
  return v_widen(l, tsr_graph_gather(l->b, tsr_lower_value(l, table), index, 0));
}

/* The number of ones in each row of the mask; 0 without one. */
static tsr_value mask_index(tsr_lower *l, tsr_value ids) {
  tsr_expr batch = v_dim(l, ids, 0);
  if (!tsr_lower_has(l, IN_MASK))
    return tsr_graph_splat(l->b, TSR_I32, 0, &batch, 1);
  int64_t axis = 1;
  tsr_value mask = tsr_lower_value(l, IN_MASK);
  tsr_value ones = v_cast(l, v_eq(l, mask, v_number(l, mask, 1)), TSR_I32);
  return tsr_graph_reduce(l->b, ones, "add", &axis, 1);
}

tsr_status tsr_lower_op_contrib_embed_norm(tsr_lower *l) {
  static const uint32_t needed[5] = {IN_IDS, IN_WORDS, IN_PLACES, IN_GAMMA, IN_BETA};
  for (uint32_t i = 0; i < 5; i++)
    if (!tsr_lower_has(l, needed[i]))
      return tsr_lower_wrong(l, TSR_ERR_FORMAT, "input %u is missing", needed[i]);
  tsr_value ids = tsr_lower_value(l, IN_IDS), place;
  if (v_rank(l, ids) != 2 || l->in[IN_PLACES]->rank != 2)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "indices of rank %u", v_rank(l, ids));
  tsr_dtype dtype = l->in[IN_WORDS]->dtype;
  if (tsr_lower_has(l, IN_PLACE))
    place = rows_of(l, IN_PLACES, tsr_lower_value(l, IN_PLACE));
  else
    place = v_widen(
        l, v_slice_axis(l, tsr_lower_value(l, IN_PLACES), 0, e_int(l, 0), v_dim(l, ids, 1)));
  tsr_value sum = v_add(l, rows_of(l, IN_WORDS, ids), place);
  if (tsr_lower_has(l, IN_SEGMENTS) && tsr_lower_has(l, IN_KINDS))
    sum = v_add(l, sum, rows_of(l, IN_KINDS, tsr_lower_value(l, IN_SEGMENTS)));
  double epsilon = (double)tsr_lower_float(l, "epsilon", 1e-12f);
  normal n = normalise(l, sum, false, epsilon, IN_GAMMA, IN_BETA);
  tsr_lower_set(l, 0, v_cast(l, n.y, dtype));
  if (tsr_lower_wants(l, 1))
    tsr_lower_set(l, 1, mask_index(l, ids));
  if (tsr_lower_wants(l, 2))
    tsr_lower_set(l, 2, v_cast(l, sum, dtype));
  return TSR_OK;
}
