/* NonMaxSuppression: the boxes of every batch and class in the order of their scores, a greedy
 * choice among them (op `suppress`), and rows (batch, class, box) of what was chosen. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"
#include <math.h>

enum { IN_BOXES = 0, IN_SCORES, IN_MOST, IN_OVERLAP, IN_LEAST };

/* Two opposite corners in any order, or centre and size, as lowest and highest corner. */
static tsr_value read_corners(tsr_lower *l, tsr_value x) {
  bool centre = tsr_lower_int(l, "center_point_box", 0) != 0;
  tsr_value sides[4];
  for (int64_t i = 0; i < 2; i++) {
    tsr_value a = v_slice_axis(l, x, 2, e_int(l, i), e_int(l, 1));
    tsr_value b = v_slice_axis(l, x, 2, e_int(l, i + 2), e_int(l, 1));
    tsr_value half = centre ? v_mul_number(l, b, 0.5) : 0;
    sides[i] = centre ? v_sub(l, a, half) : v_min(l, a, b);
    sides[i + 2] = centre ? v_add(l, a, half) : v_max(l, a, b);
  }
  return tsr_graph_concat(l->b, sides, 4, 2);
}

static tsr_value scalar_input(tsr_lower *l, uint32_t input, tsr_dtype dtype) {
  if (!tsr_lower_has(l, input))
    return tsr_graph_scalar(l->b, dtype, 0);
  return v_to_scalar(l, v_cast(l, tsr_lower_value(l, input), dtype));
}

/* Box numbers with the best score first, and how many of them are in the running. */
static tsr_value order_boxes(tsr_lower *l, tsr_value scores, tsr_value *out_running) {
  static const int64_t last = 2;
  tsr_value sorted, order, lowest = v_number(l, scores, (double)-INFINITY);
  tsr_expr boxes = v_dim(l, scores, 2);
  if (tsr_lower_has(l, IN_LEAST)) {
    tsr_value good = v_gt(l, scores, scalar_input(l, IN_LEAST, v_dtype(l, scores)));
    scores = v_select(l, good, scores, lowest);
    good = v_cast(l, good, TSR_I64);
    *out_running = good ? tsr_graph_reduce(l->b, good, "add", &last, 1) : 0;
  } else {
    tsr_value all = tsr_graph_index(l->b, TSR_I64, boxes);
    *out_running = scores ? tsr_graph_broadcast(l->b, all, v_type(l, scores)->dims, 2) : 0;
  }
  tsr_graph_topk(l->b, scores, boxes, 2, true, &sorted, &order);
  return order;
}

/* Rows (batch, class, box) of what was chosen, [batch, class, place]. */
static tsr_value chosen_rows(tsr_lower *l, tsr_value chosen, tsr_value count) {
  if (!chosen || !count)
    return 0;
  static const int64_t swapped[2] = {1, 0};
  tsr_value place = tsr_graph_iota(l->b, TSR_I64, v_type(l, chosen)->dims, 3, 2);
  tsr_value found =
      tsr_graph_nonzero(l->b, v_lt(l, place, v_unsqueeze(l, count, 2)), tsr_fresh_dim_name(l));
  tsr_value rows = tsr_graph_transpose(l->b, found, swapped);
  tsr_value box = tsr_graph_gather_nd(l->b, chosen, rows, 0);
  tsr_value columns[2] = {v_slice_axis(l, rows, 1, e_int(l, 0), e_int(l, 2)),
                          v_unsqueeze(l, box, 1)};
  return tsr_graph_concat(l->b, columns, 2, 1);
}

tsr_status tsr_lower_op_non_max_suppression(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 2));
  if (l->in[IN_BOXES]->rank != 3 || l->in[IN_SCORES]->rank != 3)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "boxes and scores need rank 3");
  tsr_value boxes = v_widen(l, tsr_lower_value(l, IN_BOXES));
  tsr_value scores = v_widen(l, tsr_lower_value(l, IN_SCORES));
  tsr_expr dims[3] = {v_dim(l, boxes, 0), v_dim(l, scores, 1), v_dim(l, boxes, 1)};
  tsr_value running = 0, chosen, count;
  scores = v_reshape(l, scores, dims, 3);
  tsr_value order = order_boxes(l, scores, &running);
  tsr_value operands[5] = {read_corners(l, boxes), order, running,
                           scalar_input(l, IN_OVERLAP, v_dtype(l, boxes)),
                           scalar_input(l, IN_MOST, TSR_I64)};
  tsr_graph_suppress(l->b, operands, &chosen, &count);
  tsr_lower_set(l, 0, chosen_rows(l, chosen, count));
  return TSR_OK;
}
