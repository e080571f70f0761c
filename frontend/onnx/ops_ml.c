/* ai.onnx.ml: scaling, norms, missing values, linear models. Rows of float32, whatever the input's
 * element type is. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"
#include <math.h>
#include <string.h>

/* Input as f32 rows [N, C]; a vector is one row. */
static tsr_status read_rows(tsr_lower *l, tsr_value *out) {
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = v_cast(l, tsr_lower_value(l, 0), TSR_F32);
  tsr_expr dims[2] = {e_int(l, 1), v_dim(l, x, 0)};
  uint32_t rank = v_rank(l, x);
  *out = rank == 1 ? v_reshape(l, x, dims, 2) : x;
  if (rank != 1 && rank != 2)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "an input of rank %u; 1 and 2 are", rank);
  return TSR_OK;
}

/* An attribute's numbers as a vector, or as a scalar when it is one for all; 0: there is none. */
static tsr_value floats_attr(tsr_lower *l, const char *name, uint32_t *out_count) {
  const float *floats = tsr_lower_floats(l, name, out_count);
  double *wide = tsr_lower_alloc(l, *out_count + (uint64_t)1, sizeof *wide);
  if (!floats || !wide || *out_count == 0)
    return 0;
  for (uint32_t i = 0; i < *out_count; i++)
    wide[i] = (double)floats[i];
  tsr_value vector = v_vector_float(l, TSR_F32, wide, *out_count);
  return *out_count == 1 ? v_to_scalar(l, vector) : vector;
}

tsr_status tsr_lower_op_scaler(tsr_lower *l) {
  uint32_t offsets, scales;
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = v_cast(l, tsr_lower_value(l, 0), TSR_F32);
  tsr_value offset = floats_attr(l, "offset", &offsets), scale = floats_attr(l, "scale", &scales);
  if (offset)
    x = v_sub(l, x, offset);
  if (scale)
    x = v_mul(l, x, scale);
  tsr_lower_set(l, 0, x);
  return TSR_OK;
}

tsr_status tsr_lower_op_ml_normalizer(tsr_lower *l) {
  tsr_value x, norm;
  static const int64_t last = 1;
  const char *kind = tsr_lower_text(l, "norm", "MAX");
  TSR_TRY(read_rows(l, &x));
  if (strcmp(kind, "MAX") == 0)
    norm = v_reduce_keep(l, x, "max", &last, 1);
  else if (strcmp(kind, "L1") == 0)
    norm = v_reduce_keep(l, v_abs(l, x), "add", &last, 1);
  else if (strcmp(kind, "L2") == 0)
    norm = v_sqrt(l, v_reduce_keep(l, v_mul(l, x, x), "add", &last, 1));
  else
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "norm '%s'", kind);
  tsr_value zero = v_eq(l, norm, v_number(l, norm, 0));
  tsr_value y = v_div(l, x, v_select(l, zero, v_number(l, norm, 1), norm));
  tsr_lower_set(l, 0, v_reshape(l, y, l->in[0]->dims, l->in[0]->rank));
  return TSR_OK;
}

/* What equals replaced_value (or is NaN, when that is) becomes the column's imputed value. */
tsr_status tsr_lower_op_imputer(tsr_lower *l) {
  uint32_t count;
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0), with, missing;
  if (v_is_float(l, x)) {
    double replaced = (double)tsr_lower_float(l, "replaced_value_float", 0);
    with = floats_attr(l, "imputed_value_floats", &count);
    with = with ? v_cast(l, with, v_dtype(l, x)) : 0;
    missing = isnan(replaced) ? v_unary(l, TSR_OP_ISNAN, x) : v_eq(l, x, v_number(l, x, replaced));
  } else {
    const int64_t *numbers = tsr_lower_ints(l, "imputed_value_int64s", &count);
    with = numbers && count > 0 ? v_vector_i64(l, numbers, count) : 0;
    if (count == 1)
      with = v_to_scalar(l, with);
    with = v_cast(l, with, v_dtype(l, x));
    missing = v_eq(
        l, x,
        v_cast(l, tsr_graph_scalar_int(l->b, TSR_I64, tsr_lower_int(l, "replaced_value_int64", 0)),
               v_dtype(l, x)));
  }
  if (!with)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "its imputed values are missing");
  tsr_lower_set(l, 0, v_select(l, missing, with, x));
  return TSR_OK;
}

/* Columns side by side. */
tsr_status tsr_lower_op_feature_vectorizer(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, l->in_count));
  tsr_value *parts = tsr_lower_alloc(l, l->in_count + (uint64_t)1, sizeof *parts);
  if (!parts)
    return TSR_ERR_OUT_OF_MEMORY;
  for (uint32_t i = 0; i < l->in_count; i++) {
    tsr_value x = v_cast(l, tsr_lower_value(l, i), TSR_F32);
    if (v_rank(l, x) != 1 && v_rank(l, x) != 2)
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "an input of rank %u", v_rank(l, x));
    parts[i] = v_rank(l, x) == 1 ? v_unsqueeze(l, x, 1) : x;
  }
  if (l->in_count > 0)
    tsr_lower_set(l, 0, tsr_graph_concat(l->b, parts, l->in_count, 1));
  return TSR_OK;
}

/* --- linear models --- */

/* Scores [N, outputs]: the rows times the coefficients [outputs, C], plus the intercepts. */
static tsr_status linear(tsr_lower *l, int64_t outputs, tsr_value *out) {
  uint32_t count, intercepts;
  tsr_value x;
  TSR_TRY(read_rows(l, &x));
  tsr_value w = floats_attr(l, "coefficients", &count);
  tsr_value b = floats_attr(l, "intercepts", &intercepts);
  if (!w || outputs < 1 || count % outputs != 0 || (b && intercepts != outputs))
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%u coefficients and %u intercepts for %lld results",
                           count, intercepts, (long long)outputs);
  tsr_expr dims[2] = {e_int(l, outputs), e_int(l, count / outputs)};
  tsr_value y = v_matmul(l, x, v_reshape(l, w, dims, 2), false, true);
  *out = b ? v_add(l, y, b) : y;
  return TSR_OK;
}

static tsr_status post_transform(tsr_lower *l, tsr_value *y) {
  static const int64_t last = 1;
  const char *word = tsr_lower_text(l, "post_transform", "NONE");
  if (strcmp(word, "SOFTMAX") == 0)
    *y = v_softmax(l, *y, &last, 1);
  else if (strcmp(word, "LOGISTIC") == 0)
    *y = v_sigmoid(l, *y);
  else if (strcmp(word, "NONE") != 0)
    return tsr_lower_unsupported(l, "post_transform = '%s'", word);
  return TSR_OK;
}

tsr_status tsr_lower_op_linear_regressor(tsr_lower *l) {
  tsr_value y;
  TSR_TRY(linear(l, tsr_lower_int(l, "targets", 1), &y));
  TSR_TRY(post_transform(l, &y));
  tsr_lower_set(l, 0, y);
  return TSR_OK;
}

/* The label of the highest score, and the scores. */
tsr_status tsr_lower_op_linear_classifier(tsr_lower *l) {
  uint32_t count;
  tsr_value y;
  const int64_t *labels = tsr_lower_text_numbers(l, "classlabels_strings", &count);
  bool text = labels && count > 0;
  if (!text)
    labels = tsr_lower_ints(l, "classlabels_ints", &count);
  if (!labels || count < 2)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "its class labels are missing");
  uint32_t intercepts;
  if (tsr_lower_floats(l, "intercepts", &intercepts) && intercepts != count)
    return tsr_lower_unsupported(l, "%u scores for %u classes", intercepts, count);
  TSR_TRY(linear(l, count, &y));
  tsr_value at = tsr_graph_arg_reduce(l->b, y, "max", 1, false);
  tsr_lower_set(l, 0, tsr_graph_gather(l->b, v_vector_i64(l, labels, count), at, 0));
  if (text && l->out[0])
    l->out[0]->text = true;
  TSR_TRY(post_transform(l, &y));
  tsr_lower_set(l, 1, y);
  return TSR_OK;
}
