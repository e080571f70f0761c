/* Elementwise ops on float64 and int64, with NumPy broadcasting. */
#include "ir/eval_internal.h"
#include "runtime/float_convert.h"
#include <math.h>

static bool is_unsigned(tsr_dtype dtype) {
  return tsr_dtype_class_of(dtype) == TSR_CLASS_UINT;
}

/* --- one element --- */

static double sign_float(double x) {
  return x > 0 ? 1.0 : x < 0 ? -1.0 : x;
}

static double unary_float(tsr_opcode code, double x) {
  switch (code) {
  case TSR_OP_NEG:
    return -x;
  case TSR_OP_ABS:
    return fabs(x);
  case TSR_OP_SIGN:
    return sign_float(x);
  case TSR_OP_FLOOR:
    return floor(x);
  case TSR_OP_CEIL:
    return ceil(x);
  case TSR_OP_TRUNC:
    return trunc(x);
  case TSR_OP_ROUND:
    return rint(x);
  case TSR_OP_EXP:
    return exp(x);
  case TSR_OP_LOG:
    return log(x);
  case TSR_OP_SQRT:
    return sqrt(x);
  case TSR_OP_RSQRT:
    return 1.0 / sqrt(x);
  case TSR_OP_RECIP:
    return 1.0 / x;
  case TSR_OP_SIN:
    return sin(x);
  case TSR_OP_COS:
    return cos(x);
  case TSR_OP_TAN:
    return tan(x);
  case TSR_OP_ASIN:
    return asin(x);
  case TSR_OP_ACOS:
    return acos(x);
  case TSR_OP_ATAN:
    return atan(x);
  case TSR_OP_SINH:
    return sinh(x);
  case TSR_OP_COSH:
    return cosh(x);
  case TSR_OP_TANH:
    return tanh(x);
  case TSR_OP_ASINH:
    return asinh(x);
  case TSR_OP_ACOSH:
    return acosh(x);
  case TSR_OP_ATANH:
    return atanh(x);
  case TSR_OP_ERF:
    return erf(x);
  default:
    return NAN;
  }
}

static int64_t negate(int64_t x) {
  return (int64_t)(0 - (uint64_t)x);
}

/* Rounding leaves integers as they are; functions are those of the number as a float, cut off. */
static int64_t unary_int(tsr_opcode code, tsr_dtype dtype, int64_t x) {
  switch (code) {
  case TSR_OP_NEG:
    return negate(x);
  case TSR_OP_ABS:
    return x < 0 && !is_unsigned(dtype) ? negate(x) : x;
  case TSR_OP_SIGN:
    return is_unsigned(dtype) ? x != 0 : (x > 0) - (x < 0);
  case TSR_OP_NOT:
    return tsr_dtype_class_of(dtype) == TSR_CLASS_BOOL ? x == 0 : tsr_wrap(dtype, ~x);
  case TSR_OP_RECIP:
    return x == 1 || (x == -1 && !is_unsigned(dtype)) ? x : 0;
  case TSR_OP_FLOOR:
  case TSR_OP_CEIL:
  case TSR_OP_TRUNC:
  case TSR_OP_ROUND:
    return x;
  default:
    return (int64_t)unary_float(code, (double)x);
  }
}

static double modulo_float(double a, double b) {
  double rest = fmod(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

static double extremum(double a, double b, bool max) {
  if (isnan(a) || isnan(b))
    return NAN;
  if (a == 0 && b == 0)
    return signbit(a) == max ? b : a;
  return (a > b) == max ? a : b;
}

static double binary_float(tsr_opcode code, double a, double b) {
  switch (code) {
  case TSR_OP_ADD:
    return a + b;
  case TSR_OP_SUB:
    return a - b;
  case TSR_OP_MUL:
    return a * b;
  case TSR_OP_DIV:
    return a / b;
  case TSR_OP_REM:
    return fmod(a, b);
  case TSR_OP_MOD:
    return modulo_float(a, b);
  case TSR_OP_POW:
    return pow(a, b);
  case TSR_OP_MIN:
    return extremum(a, b, false);
  case TSR_OP_MAX:
    return extremum(a, b, true);
  default:
    return NAN;
  }
}

static int64_t divide_int(tsr_opcode code, bool without_sign, int64_t a, int64_t b) {
  int64_t rest;
  if (b == 0)
    return 0;
  if (without_sign)
    return code == TSR_OP_DIV ? (int64_t)((uint64_t)a / (uint64_t)b)
                              : (int64_t)((uint64_t)a % (uint64_t)b);
  if (b == -1)
    return code == TSR_OP_DIV ? negate(a) : 0;
  rest = a % b;
  if (code == TSR_OP_DIV)
    return a / b;
  return code == TSR_OP_MOD && rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

/* Wraps; a negative exponent gives the quotient cut off. */
static int64_t power_int(bool without_sign, int64_t base, int64_t exponent) {
  uint64_t result = 1, square = (uint64_t)base;
  if (exponent < 0 && !without_sign) {
    if (base == 1 || base == -1)
      return base == 1 || exponent % 2 == 0 ? 1 : -1;
    return 0;
  }
  for (uint64_t left = (uint64_t)exponent; left != 0; left >>= 1, square *= square)
    if ((left & 1) != 0)
      result *= square;
  return (int64_t)result;
}

static int64_t shift(tsr_opcode code, tsr_dtype dtype, int64_t a, int64_t amount) {
  uint64_t width = tsr_dtype_bits(dtype);
  if ((uint64_t)amount >= width)
    return code == TSR_OP_SHR && !is_unsigned(dtype) && a < 0 ? -1 : 0;
  if (code == TSR_OP_SHL)
    return (int64_t)((uint64_t)a << amount);
  if (is_unsigned(dtype))
    return (int64_t)((uint64_t)tsr_wrap(dtype, a) >> amount);
  return a < 0 ? ~(~a >> amount) : a >> amount;
}

static int64_t binary_int(tsr_opcode code, tsr_dtype dtype, int64_t a, int64_t b) {
  bool without_sign = is_unsigned(dtype);
  bool less = without_sign ? (uint64_t)a < (uint64_t)b : a < b;
  switch (code) {
  case TSR_OP_ADD:
    return (int64_t)((uint64_t)a + (uint64_t)b);
  case TSR_OP_SUB:
    return (int64_t)((uint64_t)a - (uint64_t)b);
  case TSR_OP_MUL:
    return (int64_t)((uint64_t)a * (uint64_t)b);
  case TSR_OP_DIV:
  case TSR_OP_REM:
  case TSR_OP_MOD:
    return divide_int(code, without_sign, a, b);
  case TSR_OP_POW:
    return power_int(without_sign, a, b);
  case TSR_OP_MIN:
    return less ? a : b;
  case TSR_OP_MAX:
    return less ? b : a;
  case TSR_OP_AND:
    return a & b;
  case TSR_OP_OR:
    return a | b;
  case TSR_OP_XOR:
    return a ^ b;
  case TSR_OP_SHL:
  case TSR_OP_SHR:
    return shift(code, dtype, a, b);
  default:
    return 0;
  }
}

static bool compare_order(tsr_opcode code, bool less, bool equal, bool greater) {
  switch (code) {
  case TSR_OP_EQ:
    return equal;
  case TSR_OP_NE:
    return !equal;
  case TSR_OP_LT:
    return less;
  case TSR_OP_LE:
    return less || equal;
  case TSR_OP_GT:
    return greater;
  default:
    return greater || equal;
  }
}

static bool compare(tsr_opcode code, const tsr_array *x, int64_t i, const tsr_array *y, int64_t j) {
  if (x->floats != NULL) {
    double a = x->floats[i], b = y->floats[j];
    return compare_order(code, a<b, a == b, a> b);
  }
  if (is_unsigned(x->dtype)) {
    uint64_t a = (uint64_t)x->integers[i], b = (uint64_t)y->integers[j];
    return compare_order(code, a<b, a == b, a> b);
  }
  return compare_order(
      code, x->integers[i]<y->integers[j], x->integers[i] == y->integers[j], x->integers[i]> y
                ->integers[j]);
}

/* --- conversions --- */

/* Truncates and saturates to the range of the type; NaN gives 0. */
static int64_t float_to_int(tsr_dtype dtype, double number) {
  unsigned bits = tsr_dtype_bits(dtype);
  bool without_sign = is_unsigned(dtype);
  double top = ldexp(1.0, without_sign ? (int)bits : (int)bits - 1);
  double bottom = without_sign ? 0.0 : -top;
  if (isnan(number))
    return 0;
  number = trunc(number);
  if (number < bottom)
    return without_sign ? 0 : (int64_t)bottom;
  if (number < top)
    return without_sign ? (int64_t)(uint64_t)number : (int64_t)number;
  if (without_sign)
    return bits >= 64 ? -1 : (int64_t)((UINT64_C(1) << bits) - 1);
  return (int64_t)((UINT64_C(1) << (bits - 1)) - 1);
}

static void cast_element(const tsr_eval_op *e, int64_t i, int64_t from) {
  tsr_array *out = e->out[0];
  const tsr_array *x = e->in[0];
  bool special = !tsr_op_bool(e->eval->ir, e->op, "saturate", true);
  if (out->floats != NULL) {
    out->floats[i] = tsr_array_float(x, from);
    if (e->eval->round && special)
      out->floats[i] = tsr_float_decode(
          out->dtype, tsr_float_encode(out->dtype, out->floats[i], TSR_OVERFLOW_SPECIAL));
  } else if (out->dtype == TSR_BOOL) {
    out->integers[i] = x->floats != NULL ? x->floats[from] != 0 : x->integers[from] != 0;
  } else if (x->floats != NULL) {
    out->integers[i] = float_to_int(out->dtype, x->floats[from]);
  } else {
    out->integers[i] = tsr_wrap(out->dtype, x->integers[from]);
  }
}

static void bitcast_element(const tsr_eval_op *e, int64_t i, int64_t from) {
  tsr_array *out = e->out[0];
  const tsr_array *x = e->in[0];
  unsigned width = tsr_dtype_bits(x->dtype);
  uint64_t bits = x->floats != NULL
                      ? tsr_float_encode(x->dtype, x->floats[from], TSR_OVERFLOW_SPECIAL)
                      : (uint64_t)x->integers[from];
  if (width < 64)
    bits &= (UINT64_C(1) << width) - 1;
  if (out->floats != NULL)
    out->floats[i] = tsr_float_decode(out->dtype, bits);
  else
    out->integers[i] = tsr_wrap(out->dtype, (int64_t)bits);
}

/* --- arrays --- */

static int64_t broadcast_index(const tsr_array *out, const tsr_array *in, const int64_t *position) {
  int64_t index = 0;
  for (uint32_t i = 0; i < in->rank; i++)
    index = index * in->dims[i] + (in->dims[i] == 1 ? 0 : position[i + out->rank - in->rank]);
  return index;
}

static tsr_status check_shapes(tsr_eval_op *e) {
  const tsr_array *out = e->out[0];
  for (uint32_t i = 0; i < e->data->operand_count; i++) {
    const tsr_array *in = e->in[i];
    if (in->rank > out->rank)
      return tsr_eval_fail(e, TSR_ERR_SHAPE, "operand %u has too many axes", i);
    for (uint32_t a = 0; a < in->rank; a++)
      if (in->dims[a] != 1 && in->dims[a] != out->dims[a + out->rank - in->rank])
        return tsr_eval_fail(e, TSR_ERR_SHAPE, "operand %u does not broadcast", i);
  }
  return TSR_OK;
}

static void unary_element(const tsr_eval_op *e, int64_t i, int64_t from) {
  tsr_opcode code = e->data->code;
  tsr_array *out = e->out[0];
  const tsr_array *x = e->in[0];
  if (code == TSR_OP_CAST)
    cast_element(e, i, from);
  else if (code == TSR_OP_BITCAST)
    bitcast_element(e, i, from);
  else if (code == TSR_OP_ISNAN)
    out->integers[i] = x->floats != NULL && isnan(x->floats[from]);
  else if (code == TSR_OP_ISINF)
    out->integers[i] = x->floats != NULL && isinf(x->floats[from]);
  else if (x->floats != NULL)
    out->floats[i] = unary_float(code, x->floats[from]);
  else
    out->integers[i] = unary_int(code, x->dtype, x->integers[from]);
}

static void binary_element(const tsr_eval_op *e, int64_t i, int64_t from, int64_t other) {
  tsr_opcode code = e->data->code;
  tsr_array *out = e->out[0];
  const tsr_array *x = e->in[0], *y = e->in[1];
  if (tsr_opcode_info(code)->kind == TSR_KIND_COMPARE)
    out->integers[i] = compare(code, x, from, y, other);
  else if (x->floats != NULL)
    out->floats[i] = binary_float(code, x->floats[from], tsr_array_float(y, other));
  else if (y->floats != NULL)
    out->integers[i] =
        float_to_int(x->dtype, binary_float(code, tsr_array_float(x, from), y->floats[other]));
  else
    out->integers[i] = binary_int(code, x->dtype, x->integers[from], y->integers[other]);
}

tsr_status tsr_eval_elementwise(tsr_eval_op *e) {
  int64_t position[TSR_MAX_RANK], at[3] = {0, 0, 0};
  TSR_TRY(check_shapes(e));
  for (int64_t i = 0; i < e->out[0]->count; i++) {
    tsr_unravel(e->out[0], i, position);
    for (uint32_t k = 0; k < e->data->operand_count; k++)
      at[k] = broadcast_index(e->out[0], e->in[k], position);
    if (e->data->operand_count == 1)
      unary_element(e, i, at[0]);
    else if (e->data->operand_count == 2)
      binary_element(e, i, at[0], at[1]);
    else if (e->in[0]->integers[at[0]] != 0)
      tsr_array_move(e->out[0], i, e->in[1], at[1]);
    else
      tsr_array_move(e->out[0], i, e->in[2], at[2]);
  }
  return TSR_OK;
}
