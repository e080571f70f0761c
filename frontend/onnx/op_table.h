/* The operator table: op_table.def has one row per operator and range of opsets. */
#ifndef TSR_FRONTEND_ONNX_OP_TABLE_H
#define TSR_FRONTEND_ONNX_OP_TABLE_H
#include "frontend/onnx/lower.h"

/* What the rows of the Reduce operators pass as `arg`. */
typedef enum tsr_onnx_reduction {
  TSR_ONNX_REDUCE_SUM,
  TSR_ONNX_REDUCE_PROD,
  TSR_ONNX_REDUCE_MAX,
  TSR_ONNX_REDUCE_MIN,
  TSR_ONNX_REDUCE_MEAN,
  TSR_ONNX_REDUCE_L1,
  TSR_ONNX_REDUCE_L2,
  TSR_ONNX_REDUCE_LOG_SUM,
  TSR_ONNX_REDUCE_LOG_SUM_EXP,
  TSR_ONNX_REDUCE_SUM_SQUARE
} tsr_onnx_reduction;

#define ONNX_OP_OF(domain, name, since, until, function, arg, fold)                                \
  tsr_status tsr_lower_op_##function(tsr_lower *l);
#include "frontend/onnx/op_table.def"
#undef ONNX_OP_OF

bool tsr_fold_unary(tsr_lower *l);
bool tsr_fold_binary(tsr_lower *l);
bool tsr_fold_mod(tsr_lower *l);
bool tsr_fold_relu(tsr_lower *l);
bool tsr_fold_cast(tsr_lower *l);
bool tsr_fold_where(tsr_lower *l);
bool tsr_fold_gather(tsr_lower *l);
bool tsr_fold_moves(tsr_lower *l);
bool tsr_fold_reduce(tsr_lower *l);

/* Casts from and to strings: true when it is one, then out[0] or the status is set. */
bool tsr_lower_text_cast(tsr_lower *l, tsr_dtype to, bool to_text, tsr_status *out_status);

/* A name for a dim that the device finds out, after the node. */
const char *tsr_fresh_dim_name(tsr_lower *l);

/* round(scaled) + zero in zero's dtype, clipped. */
tsr_value tsr_quantize(tsr_lower *l, tsr_value scaled, tsr_value zero);
/* x as u8, its range with 0 in it on 0..255; scale and zero point are scalars. */
tsr_value tsr_dynamic_quantize(tsr_lower *l, tsr_value x, tsr_value *out_scale,
                               tsr_value *out_point);

#endif
