/* Sizes that are data: integers that only a run knows and that shapes depend on. They are computed
 * in the graph where they need arithmetic, then the host reads them into device dims, which the
 * lowerings use like any other expression. Whatever a lowering relies on beyond 0 <= dim <= bound
 * is checked at run time too. */
#ifndef TSR_FRONTEND_ONNX_SIZES_H
#define TSR_FRONTEND_ONNX_SIZES_H
#include "frontend/onnx/build.h"

/* An input as i64[count]; 0 when it is no integer tensor of rank 0 or 1 whose length is known. */
tsr_value tsr_size_vector(tsr_lower *l, uint32_t input, uint32_t *out_count);
/* Element `number` of an input if it is known, else 0. */
tsr_expr tsr_size_known(tsr_lower *l, uint32_t input, uint32_t number);
/* Element `element` of a vector (or scalar) of i64, read at run time as dim "NODE.what" or, with
 * `number` not UINT32_MAX, "NODE.what[number]". A bound of 0: that of dims in general. */
tsr_expr tsr_size_read(tsr_lower *l, tsr_value counts, uint32_t element, const char *what,
                       uint32_t number, tsr_expr bound);
/* The run fails with "NODE: text" when the scalar (bool or i64) is not 0. */
void tsr_size_check(tsr_lower *l, tsr_value wrong, const char *text);
/* The elements of an input, none negative, each known or read; NULL: neither is possible. */
const tsr_content *tsr_size_content(tsr_lower *l, uint32_t input, const char *what);
/* Expressions as a vector in the graph. */
tsr_value tsr_size_value(tsr_lower *l, const tsr_expr *exprs, uint32_t count);
tsr_value tsr_size_scalar(tsr_lower *l, tsr_expr expr);
/* All elements of a vector combined: a scalar. */
tsr_value tsr_size_reduce(tsr_lower *l, tsr_value x, const char *combine);
/* Element `at` of a vector as a scalar. */
tsr_value tsr_size_element(tsr_lower *l, tsr_value x, uint32_t at);
static inline tsr_value v_i64(tsr_lower *l, int64_t number) {
  return tsr_graph_scalar_int(l->b, TSR_I64, number);
}

/* --- what lowerings do when their shape is data; ops_sizes.c --- */

TSR_WARN_UNUSED tsr_status tsr_size_reshape(tsr_lower *l);
TSR_WARN_UNUSED tsr_status tsr_size_expand(tsr_lower *l);
TSR_WARN_UNUSED tsr_status tsr_size_range(tsr_lower *l);
TSR_WARN_UNUSED tsr_status tsr_size_slices(tsr_lower *l);
TSR_WARN_UNUSED tsr_status tsr_size_unsqueeze(tsr_lower *l);
TSR_WARN_UNUSED tsr_status tsr_size_squeeze(tsr_lower *l);
/* x under dims that hold as many elements: the caller has made sure of it. */
tsr_value tsr_size_shaped(tsr_lower *l, tsr_value x, const tsr_expr *dims, uint32_t rank);
/* Only the widths of Pad: of `padded` axes, whose entries of `low` and `high` are set; all of them
 * are where `axes` is NULL: which ones are padded is data. */
TSR_WARN_UNUSED tsr_status tsr_size_pads(tsr_lower *l, const int64_t *axes, uint32_t padded,
                                         tsr_expr *low, tsr_expr *high);
/* *x as [kept, reduced], where the axes in an input are those to reduce; the dims of the result,
 * those of extent 1 with `keep`. */
TSR_WARN_UNUSED tsr_status tsr_size_reduced(tsr_lower *l, uint32_t input, tsr_value *x, bool keep,
                                            tsr_expr *out_dims, uint32_t *out_rank);
#endif
