/* Short forms of builder calls for lowerings: v_ on graph values, e_ on index expressions. */
#ifndef TSR_FRONTEND_ONNX_BUILD_H
#define TSR_FRONTEND_ONNX_BUILD_H
#include "frontend/onnx/lower.h"

static inline const tsr_type_info *v_type(tsr_lower *l, tsr_value v) {
  return tsr_value_type(l->ir, v);
}
static inline uint32_t v_rank(tsr_lower *l, tsr_value v) {
  return v ? v_type(l, v)->rank : 0;
}
static inline tsr_expr v_dim(tsr_lower *l, tsr_value v, uint32_t axis) {
  return v && axis < v_type(l, v)->rank ? v_type(l, v)->dims[axis] : 0;
}
static inline tsr_dtype v_dtype(tsr_lower *l, tsr_value v) {
  return v ? v_type(l, v)->dtype : TSR_DTYPE_NONE;
}
static inline bool v_is_float(tsr_lower *l, tsr_value v) {
  return tsr_dtype_class_of(v_dtype(l, v)) == TSR_CLASS_FLOAT;
}
static inline bool v_static_dim(tsr_lower *l, tsr_value v, uint32_t axis, int64_t *out) {
  return v && tsr_expr_is_int(l->ir, v_dim(l, v, axis), out);
}

static inline tsr_value v_unary(tsr_lower *l, tsr_opcode code, tsr_value x) {
  return tsr_graph_unary(l->b, code, x);
}
static inline tsr_value v_binary(tsr_lower *l, tsr_opcode code, tsr_value x, tsr_value y) {
  return tsr_graph_binary(l->b, code, x, y);
}
#define V_BINARY(name, CODE)                                                                       \
  static inline tsr_value v_##name(tsr_lower *l, tsr_value x, tsr_value y) {                       \
    return tsr_graph_binary(l->b, TSR_OP_##CODE, x, y);                                            \
  }
V_BINARY(add, ADD)
V_BINARY(sub, SUB)
V_BINARY(mul, MUL)
V_BINARY(div, DIV)
V_BINARY(min, MIN)
V_BINARY(max, MAX)
V_BINARY(pow, POW)
V_BINARY(and, AND)
V_BINARY(or, OR)
V_BINARY(eq, EQ)
V_BINARY(ne, NE)
V_BINARY(lt, LT)
V_BINARY(le, LE)
V_BINARY(ge, GE)
V_BINARY(gt, GT)
#undef V_BINARY
#define V_UNARY(name, CODE)                                                                        \
  static inline tsr_value v_##name(tsr_lower *l, tsr_value x) {                                    \
    return tsr_graph_unary(l->b, TSR_OP_##CODE, x);                                                \
  }
V_UNARY(neg, NEG)
V_UNARY(abs, ABS)
V_UNARY(exp, EXP)
V_UNARY(log, LOG)
V_UNARY(sqrt, SQRT)
V_UNARY(recip, RECIP)
V_UNARY(tanh, TANH)
V_UNARY(erf, ERF)
V_UNARY(floor, FLOOR)
V_UNARY(round, ROUND)
V_UNARY(not, NOT)
V_UNARY(cos, COS)
V_UNARY(sin, SIN)
V_UNARY(sign, SIGN)
#undef V_UNARY
static inline tsr_value v_select(tsr_lower *l, tsr_value c, tsr_value x, tsr_value y) {
  return tsr_graph_select(l->b, c, x, y);
}
static inline tsr_value v_cast(tsr_lower *l, tsr_value x, tsr_dtype dtype) {
  return v_dtype(l, x) == dtype ? x : tsr_graph_cast(l->b, x, dtype);
}
/* A scalar of x's dtype. */
static inline tsr_value v_number(tsr_lower *l, tsr_value x, double number) {
  return x ? tsr_graph_scalar(l->b, v_dtype(l, x), number) : 0;
}
static inline tsr_value v_add_number(tsr_lower *l, tsr_value x, double number) {
  return v_add(l, x, v_number(l, x, number));
}
static inline tsr_value v_mul_number(tsr_lower *l, tsr_value x, double number) {
  return v_mul(l, x, v_number(l, x, number));
}
static inline tsr_value v_reshape(tsr_lower *l, tsr_value x, const tsr_expr *dims, uint32_t rank) {
  return tsr_graph_reshape(l->b, x, dims, rank);
}

/* The type that composite operators compute a float type in: float32 for the narrow ones. */
static inline tsr_dtype compute_dtype(tsr_dtype dtype) {
  return tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT && tsr_dtype_bits(dtype) < 32 ? TSR_F32
                                                                                    : dtype;
}
static inline tsr_value v_widen(tsr_lower *l, tsr_value x) {
  return v_cast(l, x, compute_dtype(v_dtype(l, x)));
}

static inline tsr_expr e_int(tsr_lower *l, int64_t number) {
  return tsr_expr_int(l->ir, number);
}
static inline tsr_expr e_add(tsr_lower *l, tsr_expr a, tsr_expr b) {
  return tsr_expr_add(l->ir, a, b);
}
static inline tsr_expr e_sub(tsr_lower *l, tsr_expr a, tsr_expr b) {
  return tsr_expr_sub(l->ir, a, b);
}
static inline tsr_expr e_mul(tsr_lower *l, tsr_expr a, tsr_expr b) {
  return tsr_expr_mul(l->ir, a, b);
}
/* Decided where the bounds of dims decide it. */
tsr_expr e_min(tsr_lower *l, tsr_expr a, tsr_expr b);
tsr_expr e_max(tsr_lower *l, tsr_expr a, tsr_expr b);

/* `axes` sorted or not; removed dims come back as 1. */
tsr_value v_reduce_keep(tsr_lower *l, tsr_value x, const char *combine, const int64_t *axes,
                        uint32_t count);
/* The product of the extents of `axes` as a scalar of dtype. */
tsr_value v_extent(tsr_lower *l, tsr_value x, const int64_t *axes, uint32_t count, tsr_dtype dtype);
tsr_value v_mean_keep(tsr_lower *l, tsr_value x, const int64_t *axes, uint32_t count);
/* Inserts a dim 1 at `axis` (of the result). */
tsr_value v_unsqueeze(tsr_lower *l, tsr_value x, uint32_t axis);
/* x of rank 1 as [1, .., C, .., 1] with C at `axis` of `rank`. */
tsr_value v_along(tsr_lower *l, tsr_value x, uint32_t axis, uint32_t rank);
/* One element or a range [start, start + extent) along one axis. */
tsr_value v_slice_axis(tsr_lower *l, tsr_value x, uint32_t axis, tsr_expr start, tsr_expr extent);
/* The same element order with axis `from` at place `to`. */
tsr_value v_move_axis(tsr_lower *l, tsr_value x, uint32_t from, uint32_t to);
/* x with `axis` cut, or filled with `fill`, to `extent`: for dims of different names that ought to
 * be equal. */
tsr_value v_fit_axis(tsr_lower *l, tsr_value x, uint32_t axis, tsr_expr extent, double fill);
/* A rank-1 constant. */
tsr_value v_vector_i64(tsr_lower *l, const int64_t *numbers, uint32_t count);
tsr_value v_vector_float(tsr_lower *l, tsr_dtype dtype, const double *numbers, uint32_t count);
/* To rank 0, of a tensor with one element. */
tsr_value v_to_scalar(tsr_lower *l, tsr_value x);
/* numpy.matmul; `transpose_x`, `transpose_y` swap the last two axes. */
tsr_value v_matmul(tsr_lower *l, tsr_value x, tsr_value y, bool transpose_x, bool transpose_y);
/* exp(x - max) / sum over the axes. */
tsr_value v_softmax(tsr_lower *l, tsr_value x, const int64_t *axes, uint32_t count);
tsr_value v_sigmoid(tsr_lower *l, tsr_value x);
tsr_value v_clip(tsr_lower *l, tsr_value x, double low, double high);

#endif
