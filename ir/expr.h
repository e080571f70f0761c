/* Index expressions: shapes, subscripts, loop bounds, grids and guards. Hash-consed in the tsr_ir
 * that owns them, so that two expressions are equal exactly when their ids are; canonical on
 * construction (see "Canonical form" in expr.c), so that (N * 32) floordiv 32 is N and i + 3 - 3 is
 * i. Id 0 is the poison: 0 in gives 0 out. */
#ifndef TSR_IR_EXPR_H
#define TSR_IR_EXPR_H
#include "runtime/index_code.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct tsr_ir tsr_ir;
typedef uint32_t tsr_expr;
typedef uint32_t tsr_dim;   /* symbolic dim; 0 = none */
typedef uint32_t tsr_value; /* see ir.h */

/* What a node is. INT: number; DIM: dim; VALUE: value (an index variable, or an integer scalar or
 * tile: an indirect subscript); LANE: number = the tile's axis ($0, $1 ...); the others: a and b.
 */
typedef struct tsr_expr_node {
  tsr_index_op op;
  tsr_expr a, b;
  int64_t number;
  tsr_dim dim;
  tsr_value value;
} tsr_expr_node;

tsr_expr tsr_expr_int(tsr_ir *ir, int64_t number);
tsr_expr tsr_expr_dim(tsr_ir *ir, tsr_dim dim);
tsr_expr tsr_expr_value(tsr_ir *ir, tsr_value value);
tsr_expr tsr_expr_lane(tsr_ir *ir, unsigned axis);
/* `op` is one of the two-operand operators. Overflow of constants poisons the IR with
 * TSR_ERR_SHAPE. */
tsr_expr tsr_expr_binary(tsr_ir *ir, tsr_index_op op, tsr_expr a, tsr_expr b);
tsr_expr tsr_expr_add(tsr_ir *ir, tsr_expr a, tsr_expr b);
tsr_expr tsr_expr_sub(tsr_ir *ir, tsr_expr a, tsr_expr b);
tsr_expr tsr_expr_mul(tsr_ir *ir, tsr_expr a, tsr_expr b);
tsr_expr tsr_expr_add_int(tsr_ir *ir, tsr_expr a, int64_t b);
tsr_expr tsr_expr_mul_int(tsr_ir *ir, tsr_expr a, int64_t b);
tsr_expr tsr_expr_floordiv_int(tsr_ir *ir, tsr_expr a, int64_t b);
tsr_expr tsr_expr_ceildiv_int(tsr_ir *ir, tsr_expr a, int64_t b);
tsr_expr tsr_expr_mod_int(tsr_ir *ir, tsr_expr a, int64_t b);

tsr_expr_node tsr_expr_get(const tsr_ir *ir, tsr_expr expr);
bool tsr_expr_is_int(const tsr_ir *ir, tsr_expr expr, int64_t *out_number);
/* True when `expr` is the integer `number`. */
bool tsr_expr_equals_int(const tsr_ir *ir, tsr_expr expr, int64_t number);
/* True when any VALUE (or LANE, or DIM) occurs in it; `tsr_expr_uses_value` asks for one value. */
bool tsr_expr_has(const tsr_ir *ir, tsr_expr expr, tsr_index_op leaf);
bool tsr_expr_uses_value(const tsr_ir *ir, tsr_expr expr, tsr_value value);

/* Replaces every leaf `from[i]` (an expression made by _dim, _value or _lane) by `to[i]`, all at
 * once. */
tsr_expr tsr_expr_substitute(tsr_ir *ir, tsr_expr expr, const tsr_expr *from, const tsr_expr *to,
                             unsigned count);

/* Splits expr = sum coefficient[i] * leaves[i] + rest, where `rest` contains none of the leaves.
 * False when it is not of that form (a leaf under mod, floordiv, a product ...). Coefficients are
 * integers. */
bool tsr_expr_linear(tsr_ir *ir, tsr_expr expr, const tsr_expr *leaves, unsigned count,
                     int64_t *out_coefficients, tsr_expr *out_rest);
/* The same with symbolic coefficients (a leaf times an expression without leaves). */
bool tsr_expr_linear_symbolic(tsr_ir *ir, tsr_expr expr, const tsr_expr *leaves, unsigned count,
                              tsr_expr *out_coefficients, tsr_expr *out_rest);

/* Constant bounds from the ranges of dims, index variables and lanes (lane_extents may be NULL).
 * INT64_MIN/MAX: unknown. */
void tsr_expr_bounds(const tsr_ir *ir, tsr_expr expr, const int64_t *lane_extents,
                     unsigned lane_count, int64_t *out_lo, int64_t *out_hi);
/* True when it is proven that expr >= 0 for all values of dims, index variables in their ranges
 * (symbolic ranges are used: i in 0..N proves N - 1 - i >= 0) and lanes in [0, extent). False: not
 * proven. */
bool tsr_expr_prove_nonnegative(tsr_ir *ir, tsr_expr expr, const int64_t *lane_extents,
                                unsigned lane_count);
/* True when it is proven that `divisor` divides expr. */
bool tsr_expr_divisible(const tsr_ir *ir, tsr_expr expr, int64_t divisor);

/* Evaluates with dims given (dims[dim - 1]); no VALUE or LANE may occur. */
TSR_WARN_UNUSED tsr_status tsr_expr_eval(const tsr_ir *ir, tsr_expr expr, const int64_t *dims,
                                         int64_t *out);
/* The same with every dim at its hint. */
TSR_WARN_UNUSED tsr_status tsr_expr_at_hints(const tsr_ir *ir, tsr_expr expr, int64_t *out);

#endif
