/* Reductions, softmax and its relatives. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"
#include "frontend/onnx/sizes.h"
#include <math.h>
#include <string.h>

/* The axes of attribute or input 1, unless they are data; all of them when there are none. */
static tsr_status reduce_axes(tsr_lower *l, uint32_t rank, int64_t *axes, uint32_t *out_count,
                              bool *out_known) {
  uint32_t count;
  const int64_t *list = tsr_lower_list(l, "axes", 1, &count, out_known);
  *out_count = 0;
  if (!*out_known && l->in[1]->rank == 1 && tsr_expr_equals_int(l->ir, l->in[1]->dims[0], 0))
    *out_known = true; /* none, whatever they are */
  if (!*out_known)
    return TSR_OK;
  if (list && count > 0)
    TSR_TRY(tsr_lower_axes(l, list, count, rank, axes));
  else if (tsr_lower_int(l, "noop_with_empty_axes", 0) == 0) {
    count = rank;
    for (uint32_t i = 0; i < rank; i++)
      axes[i] = i;
  } else
    count = 0;
  *out_count = count;
  return TSR_OK;
}

static tsr_value log_sum_exp(tsr_lower *l, tsr_value x, const int64_t *axes, uint32_t count) {
  tsr_value top = v_reduce_keep(l, x, "max", axes, count);
  tsr_value finite = v_eq(l, v_sub(l, top, top), v_number(l, x, 0));
  top = v_select(l, finite, top, v_number(l, x, 0));
  tsr_value sum = v_reduce_keep(l, v_exp(l, v_sub(l, x, top)), "add", axes, count);
  return v_add(l, v_log(l, sum), top);
}

static tsr_value mean_of(tsr_lower *l, tsr_value x, const int64_t *axes, uint32_t count) {
  return v_mean_keep(l, x, axes, count);
}

/* The reduction in the compute type, reduced dims kept as 1. */
static tsr_value reduce_kind(tsr_lower *l, tsr_value x, const int64_t *axes, uint32_t count) {
  switch ((tsr_onnx_reduction)l->arg) {
  case TSR_ONNX_REDUCE_SUM:
    return v_reduce_keep(l, x, "add", axes, count);
  case TSR_ONNX_REDUCE_PROD:
    return v_reduce_keep(l, x, "mul", axes, count);
  case TSR_ONNX_REDUCE_MAX:
    return v_reduce_keep(l, x, "max", axes, count);
  case TSR_ONNX_REDUCE_MIN:
    return v_reduce_keep(l, x, "min", axes, count);
  case TSR_ONNX_REDUCE_MEAN:
    return mean_of(l, x, axes, count);
  case TSR_ONNX_REDUCE_L1:
    return v_reduce_keep(l, v_abs(l, x), "add", axes, count);
  case TSR_ONNX_REDUCE_L2:
    return v_sqrt(l, v_reduce_keep(l, v_mul(l, x, x), "add", axes, count));
  case TSR_ONNX_REDUCE_LOG_SUM:
    return v_log(l, v_reduce_keep(l, x, "add", axes, count));
  case TSR_ONNX_REDUCE_LOG_SUM_EXP:
    return log_sum_exp(l, x, axes, count);
  case TSR_ONNX_REDUCE_SUM_SQUARE:
    return v_reduce_keep(l, v_mul(l, x, x), "add", axes, count);
  }
  return 0;
}

/* Drops the reduced dims unless keepdims. */
static tsr_value drop_axes(tsr_lower *l, tsr_value x, const int64_t *axes, uint32_t count) {
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t rank = v_rank(l, x), kept = 0, dropped = 0;
  for (uint32_t i = 0; i < count; i++)
    dropped |= 1u << axes[i];
  for (uint32_t i = 0; i < rank; i++)
    if ((dropped >> i & 1) == 0)
      dims[kept++] = v_dim(l, x, i);
  return v_reshape(l, x, dims, kept);
}

tsr_status tsr_lower_op_reduce(tsr_lower *l) {
  int64_t axes[TSR_MAX_RANK];
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t count, rank;
  bool known, keep = tsr_lower_int(l, "keepdims", 1) != 0;
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0);
  TSR_TRY(reduce_axes(l, v_rank(l, x), axes, &count, &known));
  if (!known) {
    TSR_TRY(tsr_size_reduced(l, 1, &x, keep, dims, &rank));
    axes[0] = count = 1;
  }
  tsr_dtype dtype = v_dtype(l, x);
  bool order = l->arg == TSR_ONNX_REDUCE_MAX || l->arg == TSR_ONNX_REDUCE_MIN;
  bool real = l->arg == TSR_ONNX_REDUCE_L2 || l->arg == TSR_ONNX_REDUCE_LOG_SUM ||
              l->arg == TSR_ONNX_REDUCE_LOG_SUM_EXP;
  tsr_value wide = order ? x : v_widen(l, x), y;
  if (dtype == TSR_BOOL && !order)
    wide = v_cast(l, x, TSR_I32);
  else if (real && !v_is_float(l, x))
    wide = v_cast(l, x, TSR_F64);
  if (dtype == TSR_BOOL && order)
    y = v_reduce_keep(l, x, l->arg == TSR_ONNX_REDUCE_MAX ? "or" : "and", axes, count);
  else
    y = v_cast(l, reduce_kind(l, wide, axes, count), dtype);
  if (!known)
    y = tsr_size_shaped(l, y, dims, rank);
  else if (!keep)
    y = drop_axes(l, y, axes, count);
  tsr_lower_set(l, 0, y);
  return TSR_OK;
}

/* Shape arithmetic: the sum, product, largest or smallest of a known list. */
bool tsr_fold_reduce(tsr_lower *l) {
  if (!tsr_lower_has(l, 0) || l->in[0]->rank != 1 ||
      tsr_dtype_class_of(l->in[0]->dtype) != TSR_CLASS_INT)
    return false;
  const tsr_content *content = tsr_imported_content(l, l->in[0]);
  uint32_t count;
  int64_t axes[TSR_MAX_RANK];
  bool known;
  if (!content || !content->exprs || content->count == 0 || content->count > TSR_MAX_RANK ||
      reduce_axes(l, 1, axes, &count, &known) != TSR_OK || count != 1)
    return false;
  tsr_expr *all = tsr_lower_alloc(l, 1, sizeof *all);
  if (!all)
    return false;
  *all = content->exprs[0];
  for (uint64_t i = 1; i < content->count; i++) {
    tsr_expr next = content->exprs[i];
    int64_t a, b;
    if ((tsr_expr_is_int(l->ir, *all, &a) && (a > INT32_MAX || a < -INT32_MAX)) ||
        (tsr_expr_is_int(l->ir, next, &b) && (b > INT32_MAX || b < -INT32_MAX)))
      return false;
    *all = l->arg == TSR_ONNX_REDUCE_PROD  ? e_mul(l, *all, next)
           : l->arg == TSR_ONNX_REDUCE_SUM ? e_add(l, *all, next)
           : l->arg == TSR_ONNX_REDUCE_MAX ? e_max(l, *all, next)
                                           : e_min(l, *all, next);
  }
  tsr_expr one = e_int(l, 1);
  tsr_content result = {.count = 1, .exprs = all};
  bool keep = tsr_lower_int(l, "keepdims", 1) != 0;
  tsr_lower_set_content(l, 0, l->in[0]->dtype, &one, keep ? 1 : 0, &result);
  return true;
}

/* --- softmax --- */

/* Before opset 13 all axes from `axis` on are one. */
static tsr_status softmax_axes(tsr_lower *l, uint32_t rank, int64_t *axes, uint32_t *out_count) {
  uint32_t axis;
  TSR_TRY(tsr_lower_axis_attr(l, "axis", l->opset < 13 ? 1 : -1, rank, &axis));
  *out_count = l->opset < 13 ? rank - axis : 1;
  for (uint32_t i = 0; i < *out_count; i++)
    axes[i] = axis + i;
  return TSR_OK;
}

tsr_status tsr_lower_op_softmax(tsr_lower *l) {
  int64_t axes[TSR_MAX_RANK];
  uint32_t count;
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0);
  TSR_TRY(softmax_axes(l, v_rank(l, x), axes, &count));
  tsr_lower_set(l, 0, v_softmax(l, x, axes, count));
  return TSR_OK;
}

static tsr_value log_softmax(tsr_lower *l, tsr_value x, const int64_t *axes, uint32_t count) {
  tsr_value wide = v_widen(l, x);
  tsr_value shifted = v_sub(l, wide, v_reduce_keep(l, wide, "max", axes, count));
  tsr_value sum = v_reduce_keep(l, v_exp(l, shifted), "add", axes, count);
  return v_sub(l, shifted, v_log(l, sum));
}

tsr_status tsr_lower_op_log_softmax(tsr_lower *l) {
  int64_t axes[TSR_MAX_RANK];
  uint32_t count;
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0);
  TSR_TRY(softmax_axes(l, v_rank(l, x), axes, &count));
  tsr_lower_set(l, 0, v_cast(l, log_softmax(l, x, axes, count), v_dtype(l, x)));
  return TSR_OK;
}

/* --- losses --- */

typedef enum loss_reduction { LOSS_NONE, LOSS_SUM, LOSS_MEAN } loss_reduction;

static tsr_status read_loss_reduction(tsr_lower *l, loss_reduction *out) {
  const char *text = tsr_lower_text(l, "reduction", "mean");
  *out = strcmp(text, "none") == 0 ? LOSS_NONE : strcmp(text, "sum") == 0 ? LOSS_SUM : LOSS_MEAN;
  if (*out == LOSS_MEAN && strcmp(text, "mean") != 0)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "reduction '%s'", text);
  return TSR_OK;
}

static tsr_value sum_all(tsr_lower *l, tsr_value x) {
  int64_t axes[TSR_MAX_RANK];
  uint32_t rank = v_rank(l, x);
  for (uint32_t i = 0; i < rank; i++)
    axes[i] = i;
  return rank > 0 ? tsr_graph_reduce(l->b, x, "add", axes, rank) : x;
}

/* Log-probabilities [N, C, d...], target [N, d...], weight [C] or 0: -weight[target] *
 * logp[target], entries equal to ignore_index count nothing. */
static tsr_value nll(tsr_lower *l, tsr_value logp, tsr_value target, tsr_value weight,
                     loss_reduction reduction) {
  tsr_value at = v_cast(l, target, TSR_I64), ignored = 0;
  if (tsr_lower_attr(l, "ignore_index")) {
    tsr_value code = tsr_graph_scalar_int(l->b, TSR_I64, tsr_lower_int(l, "ignore_index", 0));
    ignored = v_eq(l, at, code);
    at = v_select(l, ignored, v_number(l, at, 0), at);
  }
  tsr_value column = v_unsqueeze(l, at, 1);
  tsr_value picked = tsr_graph_gather_elements(l->b, logp, column, 1);
  picked = v_neg(l, v_reshape(l, picked, v_type(l, at)->dims, v_rank(l, at)));
  tsr_value factor = weight ? tsr_graph_gather(l->b, weight, at, 0) : 0;
  tsr_value zero = v_number(l, picked, 0);
  if (ignored) {
    tsr_value ones =
        factor ? factor
               : tsr_graph_splat(l->b, v_dtype(l, picked), 1, v_type(l, at)->dims, v_rank(l, at));
    factor = v_select(l, ignored, zero, ones);
  }
  tsr_value loss = factor ? v_mul(l, picked, factor) : picked;
  if (ignored)
    loss = v_select(l, ignored, zero, loss);
  if (reduction == LOSS_NONE)
    return loss;
  tsr_value total = sum_all(l, loss);
  if (reduction == LOSS_SUM)
    return total;
  int64_t axes[TSR_MAX_RANK];
  for (uint32_t i = 0; i < v_rank(l, loss); i++)
    axes[i] = i;
  tsr_value count =
      factor ? sum_all(l, factor) : v_extent(l, loss, axes, v_rank(l, loss), v_dtype(l, loss));
  return v_div(l, total, count);
}

static tsr_status check_loss(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 2));
  if (l->in[0]->rank < 2 || l->in[1]->rank + 1 != l->in[0]->rank)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "scores of rank %u and targets of rank %u",
                           l->in[0]->rank, l->in[1]->rank);
  return TSR_OK;
}

tsr_status tsr_lower_op_nll_loss(tsr_lower *l) {
  loss_reduction reduction;
  TSR_TRY(check_loss(l));
  TSR_TRY(read_loss_reduction(l, &reduction));
  tsr_value x = tsr_lower_value(l, 0);
  tsr_value weight = tsr_lower_has(l, 2) ? v_widen(l, tsr_lower_value(l, 2)) : 0;
  tsr_value loss = nll(l, v_widen(l, x), tsr_lower_value(l, 1), weight, reduction);
  tsr_lower_set(l, 0, v_cast(l, loss, v_dtype(l, x)));
  return TSR_OK;
}

tsr_status tsr_lower_op_softmax_cross_entropy(tsr_lower *l) {
  loss_reduction reduction;
  static const int64_t classes[1] = {1};
  TSR_TRY(check_loss(l));
  TSR_TRY(read_loss_reduction(l, &reduction));
  tsr_value x = tsr_lower_value(l, 0);
  tsr_value weight = tsr_lower_has(l, 2) ? v_widen(l, tsr_lower_value(l, 2)) : 0;
  tsr_value logp = log_softmax(l, x, classes, 1);
  tsr_value loss = nll(l, logp, tsr_lower_value(l, 1), weight, reduction);
  tsr_lower_set(l, 0, v_cast(l, loss, v_dtype(l, x)));
  if (tsr_lower_wants(l, 1))
    tsr_lower_set(l, 1, v_cast(l, logp, v_dtype(l, x)));
  return TSR_OK;
}
