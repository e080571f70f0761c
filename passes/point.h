/* Writing bodies of blocks and procs: scalars, loads, stores, loops. Everything poisons like the
 * builders of ir/ir.h: check tsr_ir_status once at the end. */
#ifndef TSR_PASSES_POINT_H
#define TSR_PASSES_POINT_H
#include "ir/ir.h"

/* Where ops are appended. */
typedef struct tsr_point {
  tsr_ir *ir;
  tsr_op op;         /* the block or proc */
  tsr_region region; /* its body, or a loop's within it */
} tsr_point;

/* A new block or proc before `before`, with the origins of `before` and no results yet. */
tsr_point tsr_point_begin(tsr_ir *ir, tsr_opcode code, tsr_op before);
/* A result of the block: the buffer that the body stores to. */
tsr_value tsr_point_result(tsr_point *e, const tsr_type_info *type);
/* An index variable 0..extent, or the integer 0 without a variable when the extent is 1. */
tsr_expr tsr_point_axis(tsr_point *e, tsr_arg_role role, tsr_expr extent);
/* The same for each of `count` extents. */
void tsr_point_axes(tsr_point *e, tsr_arg_role role, const tsr_expr *extents, uint32_t count,
                    tsr_expr *out_axes);

tsr_type tsr_scalar_type(tsr_ir *ir, tsr_dtype dtype);
tsr_dtype tsr_scalar_dtype(const tsr_ir *ir, tsr_value value);

tsr_value tsr_point_int(tsr_point *e, tsr_dtype dtype, int64_t value);
tsr_value tsr_point_float(tsr_point *e, tsr_dtype dtype, double value);
/* The identity of a combiner of ops.def ("add", "max" ...) in `dtype`. */
tsr_value tsr_point_identity(tsr_point *e, tsr_dtype dtype, const char *combine);
tsr_value tsr_point_index(tsr_point *e, tsr_dtype dtype, tsr_expr expr);
/* An index expression that is 0 or 1, as a bool. */
tsr_value tsr_point_condition(tsr_point *e, tsr_expr expr);
/* An elementwise op; the result has the first operand's dtype (comparisons: bool, select: the last
 * operand's). */
tsr_value tsr_point_unary(tsr_point *e, tsr_opcode code, tsr_value x);
tsr_value tsr_point_binary(tsr_point *e, tsr_opcode code, tsr_value x, tsr_value y);
tsr_value tsr_point_select(tsr_point *e, tsr_value condition, tsr_value x, tsr_value y);
/* Nothing when it has the dtype already. */
tsr_value tsr_point_cast(tsr_point *e, tsr_value x, tsr_dtype dtype);
/* One step of a combiner. */
tsr_value tsr_point_combine(tsr_point *e, const char *combine, tsr_value x, tsr_value y);
/* The op of a combiner, or NONE. */
tsr_opcode tsr_combiner_opcode(const char *combine);

/* A load; a gather_load when a subscript holds a value that is not an index variable. Subscripts
 * beyond the buffer load 0 (or the `pad` attribute, tsr_point_load_pad). */
tsr_value tsr_point_load(tsr_point *e, tsr_value buffer, const tsr_expr *subscripts,
                         uint32_t count);
tsr_value tsr_point_load_pad(tsr_point *e, tsr_value buffer, const tsr_expr *subscripts,
                             uint32_t count, double pad);
void tsr_point_store(tsr_point *e, tsr_value value, tsr_value buffer, const tsr_expr *subscripts,
                     uint32_t count);

/* for %i in lo..hi carry(init) {...}: returns an tsr_point into the loop's body, the index
 * variable and the carried values. Close with tsr_point_yield in the body; results are given by
 * loop_result(). */
tsr_point tsr_point_for(tsr_point *e, tsr_expr lo, tsr_expr hi, const tsr_value *init,
                        uint32_t count, tsr_expr *out_index, tsr_value *out_carried,
                        tsr_op *out_loop);
void tsr_point_yield(tsr_point *e, const tsr_value *values, uint32_t count);
tsr_value tsr_op_result(const tsr_ir *ir, tsr_op op, uint32_t number);

/* True for variables of par, red, grid and for. */
bool tsr_value_is_index(const tsr_ir *ir, tsr_value value);
/* True when a subscript of the operand holds a value that is not an index variable. */
bool tsr_subscripts_indirect(const tsr_ir *ir, const tsr_expr *subscripts, uint32_t count);
/* The dtype that sums of `dtype` are kept in inside a body. */
tsr_dtype tsr_accumulator_dtype(tsr_dtype dtype);
bool tsr_dtype_is_float(tsr_dtype dtype);
/* The number of a constant whose elements are all the same. */
bool tsr_value_splat(tsr_ir *ir, tsr_value value, double *out_float, int64_t *out_integer);
tsr_value tsr_point_splat(tsr_point *e, tsr_value constant);
#endif
