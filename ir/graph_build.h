/* Building graph IR: one call per op, result types inferred (infer.c). 0 in gives 0 out; check
 * tsr_ir_status once at the end. The builder appends to `region` of the graph and stamps `origin`
 * on each op. */
#ifndef TSR_IR_GRAPH_BUILD_H
#define TSR_IR_GRAPH_BUILD_H
#include "ir/ir.h"

typedef struct tsr_builder {
  tsr_ir *ir;
  tsr_region region;
  const char *origin; /* node name stamped on new ops, or NULL */
  bool checks; /* dims that must be equal, and may be, are taken for equal, which a run checks
                  (graph_agree.c); otherwise they must be known to be */
} tsr_builder;

/* A new graph @name at the top; the builder points into it. */
tsr_builder tsr_graph_begin(tsr_ir *ir, const char *name);

tsr_value tsr_graph_input(tsr_builder *b, const char *name, tsr_dtype dtype, const tsr_expr *dims,
                          uint32_t rank);
void tsr_graph_output(tsr_builder *b, const char *name, tsr_value value);
/* The run ends with `text`, which the origin's name precedes, unless `holds`, an expression over
 * dims, is other than 0. Nothing is added where it is a number other than 0; TSR_ERR_SHAPE with the
 * text where it is the number 0. */
void tsr_graph_check(tsr_builder *b, tsr_expr holds, const char *text);
/* Dense row-major data of `rank` dims; kept by reference unless `copy`. */
tsr_value tsr_graph_const(tsr_builder *b, tsr_dtype dtype, const int64_t *dims, uint32_t rank,
                          const void *data, bool copy);
/* Rank 0. Integers are exact to 64 bits through _scalar_int. */
tsr_value tsr_graph_scalar(tsr_builder *b, tsr_dtype dtype, double value);
tsr_value tsr_graph_scalar_int(tsr_builder *b, tsr_dtype dtype, int64_t value);
/* Every element `value`, of a shape that may be symbolic. */
tsr_value tsr_graph_splat(tsr_builder *b, tsr_dtype dtype, double value, const tsr_expr *dims,
                          uint32_t rank);
tsr_value tsr_graph_iota(tsr_builder *b, tsr_dtype dtype, const tsr_expr *dims, uint32_t rank,
                         uint32_t axis);
tsr_value tsr_graph_index(tsr_builder *b, tsr_dtype dtype, tsr_expr value);

/* Elementwise with NumPy broadcasting; operand dtypes must agree (select: the last two; shl/shr and
 * pow: the first gives the type). */
tsr_value tsr_graph_unary(tsr_builder *b, tsr_opcode code, tsr_value x);
tsr_value tsr_graph_binary(tsr_builder *b, tsr_opcode code, tsr_value x, tsr_value y);
tsr_value tsr_graph_select(tsr_builder *b, tsr_value condition, tsr_value x, tsr_value y);
tsr_value tsr_graph_cast(tsr_builder *b, tsr_value x, tsr_dtype dtype);
tsr_value tsr_graph_bitcast(tsr_builder *b, tsr_value x, tsr_dtype dtype);

/* Views. */
tsr_value tsr_graph_reshape(tsr_builder *b, tsr_value x, const tsr_expr *dims, uint32_t rank);
tsr_value tsr_graph_transpose(tsr_builder *b, tsr_value x, const int64_t *perm);
tsr_value tsr_graph_broadcast(tsr_builder *b, tsr_value x, const tsr_expr *dims, uint32_t rank);
/* `extent` are the result's dims. */
tsr_value tsr_graph_slice(tsr_builder *b, tsr_value x, const tsr_expr *start, const int64_t *step,
                          const tsr_expr *extent);
/* interior may be NULL; mode "constant", "edge", "reflect" or "wrap"; value rank 0 of x's dtype. */
tsr_value tsr_graph_pad(tsr_builder *b, tsr_value x, tsr_value value, const tsr_expr *low,
                        const tsr_expr *high, const int64_t *interior, const char *mode);
tsr_value tsr_graph_concat(tsr_builder *b, const tsr_value *parts, uint32_t count, uint32_t axis);

/* Reductions. Axes are removed; use _reshape to keep them as 1. */
tsr_value tsr_graph_reduce(tsr_builder *b, tsr_value x, const char *combine, const int64_t *axes,
                           uint32_t count);
tsr_value tsr_graph_arg_reduce(tsr_builder *b, tsr_value x, const char *combine, uint32_t axis,
                               bool last);
/* Result dtype: that of the operands (integers narrower than 32 bits accumulate to and give i32).
 */
tsr_value tsr_graph_einsum(tsr_builder *b, const char *spec, tsr_value x, tsr_value y);
tsr_value tsr_graph_conv(tsr_builder *b, tsr_value x, tsr_value w, const int64_t *strides,
                         const int64_t *dilations, const tsr_expr *low, const tsr_expr *high,
                         int64_t groups);
/* `window_rank` last axes; the result's extents are floor((x + low + high - (window-1)*dilation -
 * 1) / stride) + 1. */
tsr_value tsr_graph_pool(tsr_builder *b, tsr_value x, const char *combine, uint32_t window_rank,
                         const int64_t *window, const int64_t *strides, const int64_t *dilations,
                         const tsr_expr *low, const tsr_expr *high);
tsr_value tsr_graph_scan(tsr_builder *b, tsr_value x, const char *combine, uint32_t axis,
                         bool exclusive, bool reverse);

/* Indexed; semantics in ops.def. */
tsr_value tsr_graph_gather(tsr_builder *b, tsr_value x, tsr_value indices, uint32_t axis);
tsr_value tsr_graph_gather_nd(tsr_builder *b, tsr_value x, tsr_value indices, uint32_t batch);
tsr_value tsr_graph_gather_elements(tsr_builder *b, tsr_value x, tsr_value indices, uint32_t axis);
tsr_value tsr_graph_scatter_nd(tsr_builder *b, tsr_value x, tsr_value indices, tsr_value updates,
                               const char *combine);
tsr_value tsr_graph_scatter_elements(tsr_builder *b, tsr_value x, tsr_value indices,
                                     tsr_value updates, uint32_t axis, const char *combine);
void tsr_graph_topk(tsr_builder *b, tsr_value x, tsr_expr k, uint32_t axis, bool largest,
                    tsr_value *out_values, tsr_value *out_indices);
/* Operands as in ops.def. */
void tsr_graph_suppress(tsr_builder *b, const tsr_value *operands, tsr_value *out_chosen,
                        tsr_value *out_count);
/* i64[rank, K] with the device dim K (named `dim_name`) bounded by the number of elements: nonzero
 * followed by resize_dim. */
tsr_value tsr_graph_nonzero(tsr_builder *b, tsr_value x, const char *dim_name);
/* A new device dim `name` in 0..bound whose value is an element of `counts` (i64 of rank 0 or 1): a
 * resize_dim that resizes nothing. What is built later may use it. */
tsr_expr tsr_graph_read_dim(tsr_builder *b, tsr_value counts, uint32_t element, const char *name,
                            tsr_expr bound);

/* An op with plain operands and the builder's origin, without results yet, which is what all calls
 * start with; 0 when an operand is poisoned. */
tsr_op tsr_graph_op(tsr_builder *b, tsr_opcode code, const tsr_value *operands, uint32_t count);

/* --- what the host runs --- */
/* An op of kind HOST (but `call`) with results of the given types; callers set its attributes. 0:
 * the types do not fit (ir/host_types.h). `out_results` may be NULL. */
tsr_op tsr_graph_host(tsr_builder *b, tsr_opcode code, const tsr_value *operands, uint32_t count,
                      const tsr_type *result_types, uint32_t result_count, tsr_value *out_results);

/* Regions: between begin and end the builder appends to the op's region, and is set back behind the
 * op at its end. What is yielded may have extents other than the type it is given to (dims that the
 * host binds), not another dtype or rank. An op that was begun and is not wanted is dropped with
 * all that is in it by tsr_graph_abandon. */
/* if: begin (then), else, end. `condition`: bool of rank 0. */
tsr_op tsr_graph_if_begin(tsr_builder *b, tsr_value condition);
void tsr_graph_if_else(tsr_builder *b, tsr_op op, const tsr_value *yields, uint32_t count);
void tsr_graph_if_end(tsr_builder *b, tsr_op op, const tsr_value *yields,
                      const tsr_type *result_types, uint32_t count, tsr_value *out_results);
/* loop: `limit` 0: no limit; `types` of the carried arguments, NULL: those of their starts. */
tsr_op tsr_graph_loop_begin(tsr_builder *b, tsr_expr limit, const tsr_value *starts,
                            const tsr_type *types, uint32_t count, tsr_value *out_arguments);
/* `go_on`: bool of rank 0; `result_types` NULL: those of the arguments. */
void tsr_graph_loop_end(tsr_builder *b, tsr_op op, tsr_value go_on, const tsr_value *next,
                        const tsr_type *result_types, uint32_t count, tsr_value *out_results);
void tsr_graph_abandon(tsr_builder *b, tsr_op op);

/* What every builder call above runs and what the verifier checks: the result types of a graph op
 * from its operands and attributes. TSR_ERR_SHAPE or TSR_ERR_TYPE with the reason. `out_types` has
 * room for 2. */
TSR_WARN_UNUSED tsr_status tsr_infer_types(tsr_ir *ir, tsr_op op, tsr_diag *diag,
                                           tsr_type *out_types);
/* The dims of NumPy broadcasting; false when they cannot fit. Symbolic dims must be equal
 * expressions or 1. */
bool tsr_broadcast_dims(tsr_ir *ir, const tsr_type_info *a, const tsr_type_info *b,
                        tsr_expr *out_dims, uint32_t *out_rank);
/* --- with tsr_builder.checks: what the calls above do with dims that are not known to be equal ---
 */

/* Makes the operands' dims agree as the op demands, by reshapes and checks. Leaves alone what fits,
 * and what can never fit, which inference refuses then. `spec`: of einsum. */
void tsr_graph_agree_broadcast(tsr_builder *b, tsr_value *operands, uint32_t count);
void tsr_graph_agree_concat(tsr_builder *b, tsr_value *parts, uint32_t count, uint32_t axis);
void tsr_graph_agree_einsum(tsr_builder *b, const char *spec, tsr_value *x, tsr_value *y);
/* The operand's axis `axis` gets the extent `dim`. */
tsr_value tsr_graph_agree_dim(tsr_builder *b, tsr_value x, uint32_t axis, tsr_expr dim);
/* The operand's last axes that are not 1 get the extents of `dims`. */
tsr_value tsr_graph_agree_dims(tsr_builder *b, tsr_value x, const tsr_expr *dims, uint32_t rank);
/* A symbolic extent of 0 or 1: beside another extent it broadcasts, if it is 1. */
bool tsr_graph_one_at_most(const tsr_builder *b, tsr_expr dim);
/* What two dims that must be equal are from here on; 0 when they cannot be. */
tsr_expr tsr_graph_agree(tsr_builder *b, tsr_expr x, tsr_expr y);

#endif
