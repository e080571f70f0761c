/* NonMaxSuppression: all batches and classes at once, one selected box per step; the selections
 * that exist are then picked out of [batch, class, step]. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"
#include <math.h>
#include <string.h>

enum { MAX_SELECTIONS = 256, IN_BOXES = 0, IN_SCORES, IN_MOST, IN_OVERLAP, IN_LEAST };

/* Corners and areas of the boxes, each [batch, class, box]. */
typedef struct boxes {
  tsr_value low[2], high[2], area;
} boxes;

typedef struct suppression {
  tsr_lower *l;
  boxes all;
  tsr_value scores;  /* [batch, class, box]; -inf: out of the running */
  tsr_value overlap; /* rank 0 */
  tsr_value number;  /* i64 [batch, class, box]: the position of each box */
} suppression;

/* Column `at` of boxes [batch, box, 4] in the shape of the scores. */
static tsr_value column(tsr_lower *l, tsr_value x, int64_t at, tsr_value scores) {
  tsr_expr dims[3] = {v_dim(l, x, 0), e_int(l, 1), v_dim(l, x, 1)};
  tsr_value one = v_reshape(l, v_slice_axis(l, x, 2, e_int(l, at), e_int(l, 1)), dims, 3);
  return scores ? tsr_graph_broadcast(l->b, one, v_type(l, scores)->dims, 3) : 0;
}

/* Two opposite corners in any order, or centre and size. */
static void read_boxes(suppression *s, tsr_value x) {
  tsr_lower *l = s->l;
  bool centre = tsr_lower_int(l, "center_point_box", 0) != 0;
  tsr_value side[2];
  for (int64_t i = 0; i < 2; i++) {
    tsr_value a = column(l, x, i, s->scores), b = column(l, x, i + 2, s->scores);
    tsr_value half = centre ? v_mul_number(l, b, 0.5) : 0;
    s->all.low[i] = centre ? v_sub(l, a, half) : v_min(l, a, b);
    s->all.high[i] = centre ? v_add(l, a, half) : v_max(l, a, b);
    side[i] = v_sub(l, s->all.high[i], s->all.low[i]);
  }
  s->all.area = v_mul(l, side[0], side[1]);
}

static tsr_value pick(tsr_lower *l, tsr_value x, tsr_value at) {
  return tsr_graph_gather_elements(l->b, x, at, 2);
}

/* Intersection over union with the boxes at `at` [batch, class, 1] exceeds the threshold. */
static tsr_value overlaps(const suppression *s, tsr_value at) {
  tsr_lower *l = s->l;
  tsr_value common = 0;
  for (uint32_t i = 0; i < 2; i++) {
    tsr_value low = v_max(l, s->all.low[i], pick(l, s->all.low[i], at));
    tsr_value high = v_min(l, s->all.high[i], pick(l, s->all.high[i], at));
    tsr_value length = v_sub(l, high, low);
    length = v_max(l, length, v_number(l, length, 0));
    common = common ? v_mul(l, common, length) : length;
  }
  tsr_value both = v_add(l, s->all.area, pick(l, s->all.area, at));
  return v_gt(l, common, v_mul(l, s->overlap, v_sub(l, both, common)));
}

/* The best box in the running, [batch, class, 1], and whether there is one; takes it and what it
 * suppresses out of the running. */
static void select_box(suppression *s, tsr_value *out_at, tsr_value *out_valid) {
  tsr_lower *l = s->l;
  tsr_value lowest = v_number(l, s->scores, (double)-INFINITY);
  tsr_value at = v_unsqueeze(l, tsr_graph_arg_reduce(l->b, s->scores, "max", 2, false), 2);
  *out_at = at;
  *out_valid = v_gt(l, pick(l, s->scores, at), lowest);
  tsr_value gone = v_or(l, overlaps(s, at), v_eq(l, s->number, at));
  s->scores = v_select(l, gone, lowest, s->scores);
}

static tsr_value threshold(tsr_lower *l, uint32_t input, tsr_dtype dtype) {
  if (!tsr_lower_has(l, input))
    return tsr_graph_scalar(l->b, dtype, 0);
  return v_to_scalar(l, v_cast(l, tsr_lower_value(l, input), dtype));
}

/* Rows (batch, class, box) of the valid selections. */
static tsr_value gather_rows(tsr_lower *l, tsr_value at, tsr_value valid) {
  tsr_expr all = tsr_type_elements(l->ir, tsr_value_get(l->ir, at)->type), dims[2];
  tsr_value columns[3], flat = v_reshape(l, valid, &all, 1);
  tsr_value found = tsr_graph_nonzero(l->b, flat, tsr_fresh_dim_name(l));
  dims[0] = v_dim(l, found, 1);
  dims[1] = e_int(l, 1);
  tsr_value rows = v_reshape(l, found, dims, 1);
  for (uint32_t i = 0; i < 3; i++) {
    tsr_value x = i == 2 ? at : tsr_graph_iota(l->b, TSR_I64, v_type(l, at)->dims, 3, i);
    x = tsr_graph_gather(l->b, v_reshape(l, x, &all, 1), rows, 0);
    columns[i] = v_reshape(l, x, dims, 2);
  }
  return tsr_graph_concat(l->b, columns, 3, 1);
}

static tsr_status read_most(tsr_lower *l, int64_t *out) {
  int64_t boxes_there;
  *out = 0;
  if (tsr_lower_has(l, IN_MOST) && !tsr_lower_scalar_int(l, IN_MOST, out))
    return tsr_lower_unknown(l, IN_MOST, "max_output_boxes_per_class");
  if (tsr_expr_is_int(l->ir, l->in[IN_BOXES]->dims[1], &boxes_there) && boxes_there < *out)
    *out = boxes_there;
  if (*out < 1 || *out > MAX_SELECTIONS)
    return tsr_lower_unsupported(l, "%lld selections per class; 1 to %d are", (long long)*out,
                                 MAX_SELECTIONS);
  return TSR_OK;
}

tsr_status tsr_lower_op_non_max_suppression(tsr_lower *l) {
  suppression s = {.l = l};
  tsr_value at[MAX_SELECTIONS], valid[MAX_SELECTIONS];
  int64_t most;
  TSR_TRY(tsr_lower_need(l, 2));
  if (l->in[IN_BOXES]->rank != 3 || l->in[IN_SCORES]->rank != 3)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "boxes and scores need rank 3");
  TSR_TRY(read_most(l, &most));
  s.scores = tsr_lower_value(l, IN_SCORES);
  tsr_dtype dtype = v_dtype(l, s.scores);
  read_boxes(&s, tsr_lower_value(l, IN_BOXES));
  s.overlap = threshold(l, IN_OVERLAP, dtype);
  if (s.scores == 0)
    return TSR_OK;
  s.number = tsr_graph_iota(l->b, TSR_I64, v_type(l, s.scores)->dims, 3, 2);
  if (tsr_lower_has(l, IN_LEAST)) {
    tsr_value good = v_gt(l, s.scores, threshold(l, IN_LEAST, dtype));
    s.scores = v_select(l, good, s.scores, v_number(l, s.scores, (double)-INFINITY));
  }
  for (int64_t i = 0; i < most; i++)
    select_box(&s, &at[i], &valid[i]);
  uint32_t count = (uint32_t)most;
  tsr_value all = count == 1 ? at[0] : tsr_graph_concat(l->b, at, count, 2);
  tsr_value there = count == 1 ? valid[0] : tsr_graph_concat(l->b, valid, count, 2);
  if (all && there)
    tsr_lower_set(l, 0, gather_rows(l, all, there));
  return TSR_OK;
}
