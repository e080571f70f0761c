/* Elementwise operators. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"
#include <math.h>
#include <string.h>

/* Before opset 7, `broadcast` = 1 lets input 1 be a run of axes of input 0 that starts at `axis`
 * (default: at the end). */
static tsr_status old_broadcast(tsr_lower *l, tsr_value x, tsr_value *y) {
  uint32_t rank = v_rank(l, x), inner = v_rank(l, *y), axis;
  tsr_expr dims[TSR_MAX_RANK];
  if (l->opset >= 7 || tsr_lower_int(l, "broadcast", 0) == 0 || !tsr_lower_attr(l, "axis"))
    return TSR_OK;
  TSR_TRY(tsr_lower_axis_attr(l, "axis", 0, rank, &axis));
  if (axis + inner > rank)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "axis %u leaves no room for input 1", axis);
  for (uint32_t i = axis; i < rank; i++)
    dims[i - axis] = i - axis < inner ? v_dim(l, *y, i - axis) : e_int(l, 1);
  *y = v_reshape(l, *y, dims, rank - axis);
  return TSR_OK;
}

tsr_status tsr_lower_op_unary(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0);
  tsr_lower_set(l, 0, v_unary(l, (tsr_opcode)l->arg, x));
  return TSR_OK;
}

tsr_status tsr_lower_op_binary(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = tsr_lower_value(l, 0), y = tsr_lower_value(l, 1);
  TSR_TRY(old_broadcast(l, x, &y));
  tsr_lower_set(l, 0, v_binary(l, (tsr_opcode)l->arg, x, y));
  return TSR_OK;
}

/* Max, Min, Sum, Mean over any number of inputs; `arg` is the combining op. */
static tsr_value fold_inputs(tsr_lower *l) {
  tsr_value all = tsr_lower_value(l, 0);
  for (uint32_t i = 1; i < l->in_count; i++)
    all = v_binary(l, (tsr_opcode)l->arg, all, tsr_lower_value(l, i));
  return all;
}

tsr_status tsr_lower_op_variadic(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, l->in_count > 0 ? l->in_count : 1));
  tsr_lower_set(l, 0, fold_inputs(l));
  return TSR_OK;
}

tsr_status tsr_lower_op_mean(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, l->in_count > 0 ? l->in_count : 1));
  tsr_value sum = fold_inputs(l);
  tsr_lower_set(l, 0, v_mul_number(l, sum, 1.0 / (double)l->in_count));
  return TSR_OK;
}

tsr_status tsr_lower_op_mod(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_opcode code = tsr_lower_int(l, "fmod", 0) ? TSR_OP_REM : TSR_OP_MOD;
  tsr_lower_set(l, 0, v_binary(l, code, tsr_lower_value(l, 0), tsr_lower_value(l, 1)));
  return TSR_OK;
}

tsr_status tsr_lower_op_bit_shift(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 2));
  const char *direction = tsr_lower_text(l, "direction", "");
  if (strcmp(direction, "LEFT") != 0 && strcmp(direction, "RIGHT") != 0)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "direction is '%s', not LEFT or RIGHT", direction);
  tsr_opcode code = direction[0] == 'L' ? TSR_OP_SHL : TSR_OP_SHR;
  tsr_lower_set(l, 0, v_binary(l, code, tsr_lower_value(l, 0), tsr_lower_value(l, 1)));
  return TSR_OK;
}

/* x to a small integer power by repeated squaring. */
static tsr_value power(tsr_lower *l, tsr_value x, unsigned n) {
  tsr_value result = 0;
  for (tsr_value square = x; n > 0; square = v_mul(l, square, square), n >>= 1) {
    if (n & 1)
      result = result ? v_mul(l, result, square) : square;
    if (n == 1)
      break;
  }
  return result;
}

/* Exponents with a name, and small whole ones; 0 when x^n is to be computed by pow. */
static tsr_value known_power(tsr_lower *l, tsr_value x, double n) {
  bool floating = v_is_float(l, x);
  if (n == 0.5 && floating)
    return v_sqrt(l, x);
  if (n == -1 && floating)
    return v_recip(l, x);
  return n >= 1 && n <= 8 && n == floor(n) ? power(l, x, (unsigned)n) : 0;
}

tsr_status tsr_lower_op_pow(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = tsr_lower_value(l, 0);
  const tsr_content *content = tsr_lower_content(l, 1);
  double n;
  if (content && content->count == 1 && l->in[1]->rank <= v_rank(l, x) &&
      tsr_lower_scalar_float(l, 1, &n)) {
    tsr_value known = known_power(l, x, n);
    if (known) {
      tsr_lower_set(l, 0, known);
      return TSR_OK;
    }
  }
  tsr_value y = tsr_lower_value(l, 1);
  TSR_TRY(old_broadcast(l, x, &y));
  tsr_dtype dtype = v_dtype(l, x);
  tsr_dtype wide = v_is_float(l, x) && dtype != TSR_F64 ? TSR_F32 : TSR_F64;
  tsr_value result = v_pow(l, v_cast(l, x, wide), v_cast(l, y, wide));
  tsr_lower_set(l, 0, v_cast(l, result, dtype));
  return TSR_OK;
}

tsr_status tsr_lower_op_bit_cast(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  int64_t to = tsr_lower_int(l, "to", 0);
  tsr_value x = tsr_lower_value(l, 0);
  tsr_dtype dtype = tsr_onnx_dtype(to), from = v_dtype(l, x);
  if (dtype == TSR_DTYPE_NONE)
    return tsr_lower_unsupported(l, "to %s", tsr_onnx_dtype_name(to));
  if (x && tsr_dtype_bits(dtype) != tsr_dtype_bits(from))
    return tsr_lower_wrong(l, TSR_ERR_TYPE, "from %u to %u bits", tsr_dtype_bits(from),
                           tsr_dtype_bits(dtype));
  /* A bool is 0 or 1 in its byte. */
  bool boolean = dtype == TSR_BOOL || from == TSR_BOOL;
  tsr_lower_set(l, 0,
                dtype == from ? x
                : boolean     ? v_cast(l, x, dtype)
                              : tsr_graph_bitcast(l->b, x, dtype));
  return TSR_OK;
}

tsr_status tsr_lower_op_identity(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_lower_set_imported(l, 0, l->in[0]);
  return TSR_OK;
}

tsr_status tsr_lower_op_where(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 3));
  tsr_lower_set(l, 0,
                v_select(l, tsr_lower_value(l, 0), tsr_lower_value(l, 1), tsr_lower_value(l, 2)));
  return TSR_OK;
}

tsr_status tsr_lower_op_is_inf(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0);
  bool positive = tsr_lower_int(l, "detect_positive", 1) != 0;
  bool negative = tsr_lower_int(l, "detect_negative", 1) != 0;
  tsr_value result;
  if (positive && negative)
    result = v_unary(l, TSR_OP_ISINF, x);
  else if (positive || negative)
    result = v_eq(l, x, v_number(l, x, positive ? (double)INFINITY : (double)-INFINITY));
  else
    result = v_ne(l, v_unary(l, TSR_OP_ISINF, x), v_unary(l, TSR_OP_ISINF, x));
  tsr_lower_set(l, 0, result);
  return TSR_OK;
}

/* Clip before opset 11 has min and max as attributes. Input bounds are rank 0 (or have one
 * element). */
tsr_status tsr_lower_op_clip(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0), y = x;
  if (l->opset < 11) {
    if (tsr_lower_attr(l, "min"))
      y = v_max(l, y, v_number(l, x, (double)tsr_lower_float(l, "min", 0)));
    if (tsr_lower_attr(l, "max"))
      y = v_min(l, y, v_number(l, x, (double)tsr_lower_float(l, "max", 0)));
  } else {
    if (tsr_lower_has(l, 1))
      y = v_max(l, y, v_to_scalar(l, tsr_lower_value(l, 1)));
    if (tsr_lower_has(l, 2))
      y = v_min(l, y, v_to_scalar(l, tsr_lower_value(l, 2)));
  }
  tsr_lower_set(l, 0, y);
  return TSR_OK;
}

/* --- activations: y = f(x) in the compute type --- */

typedef enum activation {
  RELU,
  LEAKY_RELU,
  THRESHOLDED_RELU,
  ELU,
  CELU,
  SELU,
  SIGMOID,
  HARD_SIGMOID,
  HARD_SWISH,
  SOFTPLUS,
  SOFTSIGN,
  MISH,
  SWISH,
  GELU,
  SHRINK,
} activation;

/* log(1 + e) for e in (0, 1], exact where 1 + e rounds. */
static tsr_value log1p_small(tsr_lower *l, tsr_value e) {
  tsr_value u = v_add_number(l, e, 1), one = v_number(l, e, 1);
  tsr_value corrected = v_div(l, v_mul(l, v_log(l, u), e), v_sub(l, u, one));
  return v_select(l, v_eq(l, u, one), e, corrected);
}

static tsr_value softplus(tsr_lower *l, tsr_value x) {
  tsr_value e = v_exp(l, v_neg(l, v_abs(l, x)));
  return v_add(l, v_max(l, x, v_number(l, x, 0)), log1p_small(l, e));
}

/* x where x > 0, else scale * (exp(x / width) - 1). */
static tsr_value exponential_unit(tsr_lower *l, tsr_value x, double scale, double width) {
  tsr_value inner = width == 1 ? x : v_mul_number(l, x, 1.0 / width);
  tsr_value below = v_mul_number(l, v_add_number(l, v_exp(l, inner), -1), scale);
  return v_select(l, v_gt(l, x, v_number(l, x, 0)), x, below);
}

static tsr_value gelu(tsr_lower *l, tsr_value x) {
  tsr_value inner;
  if (tsr_lower_text_is(l, "approximate", "none", "tanh")) {
    tsr_value cube = v_mul(l, v_mul(l, x, x), x);
    inner = v_add(l, x, v_mul_number(l, cube, 0.044715));
    inner = v_tanh(l, v_mul_number(l, inner, sqrt(2.0 / 3.14159265358979323846)));
  } else
    inner = v_erf(l, v_mul_number(l, x, sqrt(0.5)));
  return v_mul(l, v_mul_number(l, x, 0.5), v_add_number(l, inner, 1));
}

static tsr_value shrink(tsr_lower *l, tsr_value x) {
  double lambd = (double)tsr_lower_float(l, "lambd", 0.5f);
  double bias = (double)tsr_lower_float(l, "bias", 0);
  tsr_value zero = v_number(l, x, 0);
  tsr_value above = v_add_number(l, x, -bias), below = v_add_number(l, x, bias);
  tsr_value rest = v_select(l, v_gt(l, x, v_number(l, x, lambd)), above, zero);
  return v_select(l, v_lt(l, x, v_number(l, x, -lambd)), below, rest);
}

static tsr_value hard_sigmoid(tsr_lower *l, tsr_value x, double alpha, double beta) {
  return v_clip(l, v_add_number(l, v_mul_number(l, x, alpha), beta), 0, 1);
}

static double attr(tsr_lower *l, const char *name, float otherwise) {
  return (double)tsr_lower_float(l, name, otherwise);
}

static tsr_value activate(tsr_lower *l, activation kind, tsr_value x) {
  tsr_value zero = v_number(l, x, 0);
  switch (kind) {
  case RELU:
    return v_max(l, x, zero);
  case LEAKY_RELU:
    return v_select(l, v_lt(l, x, zero), v_mul_number(l, x, attr(l, "alpha", 0.01f)), x);
  case THRESHOLDED_RELU:
    return v_select(l, v_gt(l, x, v_number(l, x, attr(l, "alpha", 1))), x, zero);
  case ELU:
    return exponential_unit(l, x, attr(l, "alpha", 1), 1);
  case CELU:
    return exponential_unit(l, x, attr(l, "alpha", 1), attr(l, "alpha", 1));
  case SELU:
    return v_mul_number(l, exponential_unit(l, x, attr(l, "alpha", 1.67326319217681884765625f), 1),
                        attr(l, "gamma", 1.05070102214813232421875f));
  case SIGMOID:
    return v_sigmoid(l, x);
  case HARD_SIGMOID:
    return hard_sigmoid(l, x, attr(l, "alpha", 0.2f), attr(l, "beta", 0.5f));
  case HARD_SWISH:
    return v_mul(l, x, hard_sigmoid(l, x, 1.0 / 6.0, 0.5));
  case SOFTPLUS:
    return softplus(l, x);
  case SOFTSIGN:
    return v_div(l, x, v_add_number(l, v_abs(l, x), 1));
  case MISH:
    return v_mul(l, x, v_tanh(l, softplus(l, x)));
  case SWISH:
    return v_mul(l, x, v_sigmoid(l, v_mul_number(l, x, attr(l, "alpha", 1))));
  case GELU:
    return gelu(l, x);
  case SHRINK:
    return shrink(l, x);
  }
  return 0;
}

#define ACTIVATION(name, KIND)                                                                     \
  tsr_status tsr_lower_op_##name(tsr_lower *l) {                                                   \
    TSR_TRY(tsr_lower_need(l, 1));                                                                 \
    tsr_value x = tsr_lower_value(l, 0);                                                           \
    tsr_lower_set(l, 0, v_cast(l, activate(l, KIND, v_widen(l, x)), v_dtype(l, x)));               \
    return TSR_OK;                                                                                 \
  }
ACTIVATION(relu, RELU)
ACTIVATION(leaky_relu, LEAKY_RELU)
ACTIVATION(thresholded_relu, THRESHOLDED_RELU)
ACTIVATION(elu, ELU)
ACTIVATION(celu, CELU)
ACTIVATION(selu, SELU)
ACTIVATION(sigmoid, SIGMOID)
ACTIVATION(hard_sigmoid, HARD_SIGMOID)
ACTIVATION(hard_swish, HARD_SWISH)
ACTIVATION(softplus, SOFTPLUS)
ACTIVATION(softsign, SOFTSIGN)
ACTIVATION(mish, MISH)
ACTIVATION(swish, SWISH)
ACTIVATION(gelu, GELU)

/* Integers are shrunk as floats, by a bias that is none. */
tsr_status tsr_lower_op_shrink(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0);
  tsr_value wide = v_is_float(l, x) ? v_widen(l, x) : v_cast(l, x, TSR_F64);
  tsr_lower_set(l, 0, v_cast(l, activate(l, SHRINK, wide), v_dtype(l, x)));
  return TSR_OK;
}

/* a * sigmoid(alpha * a) * b. */
tsr_status tsr_lower_op_swiglu(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value a = tsr_lower_value(l, 0), b = tsr_lower_value(l, 1);
  tsr_value y = v_mul(l, activate(l, SWISH, v_widen(l, a)), v_widen(l, b));
  tsr_lower_set(l, 0, v_cast(l, y, v_dtype(l, a)));
  return TSR_OK;
}

/* ai.onnx.ml */
tsr_status tsr_lower_op_binarizer(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0);
  tsr_value above = v_gt(l, x, v_number(l, x, attr(l, "threshold", 0)));
  tsr_lower_set(l, 0, v_cast(l, above, v_dtype(l, x)));
  return TSR_OK;
}

/* Before opset 7 a slope of rank 1 runs along the channels. */
tsr_status tsr_lower_op_prelu(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = tsr_lower_value(l, 0), slope = tsr_lower_value(l, 1);
  if (l->opset < 7 && v_rank(l, slope) == 1 && v_rank(l, x) > 1 &&
      !tsr_expr_equals_int(l->ir, v_dim(l, slope, 0), 1))
    slope = v_along(l, slope, 1, v_rank(l, x));
  tsr_value negative = v_lt(l, x, v_number(l, x, 0));
  tsr_lower_set(l, 0, v_select(l, negative, v_mul(l, x, slope), x));
  return TSR_OK;
}
