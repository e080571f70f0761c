/* CenterCropPad, Col2Im and MaxRoiPool. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"
#include "frontend/onnx/window.h"
#include <math.h>

/* Cut or filled up with zeros to the given extents, the same at both ends; an odd rest at the end.
 */
tsr_status tsr_lower_op_center_crop_pad(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = tsr_lower_value(l, 0);
  uint32_t rank = v_rank(l, x), count;
  int64_t normal[TSR_MAX_RANK];
  tsr_expr start[TSR_MAX_RANK], extent[TSR_MAX_RANK], low[TSR_MAX_RANK], high[TSR_MAX_RANK];
  int64_t step[TSR_MAX_RANK];
  const int64_t *axes = tsr_lower_ints(l, "axes", &count);
  const tsr_content *shape = tsr_lower_content(l, 1);
  if (!shape || (shape->count > 0 && !shape->exprs))
    return tsr_lower_unknown(l, 1, "shape");
  if (axes)
    TSR_TRY(tsr_lower_axes(l, axes, count, rank, normal));
  if (shape->count != (axes ? count : rank))
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%llu extents for %u axes",
                           (unsigned long long)shape->count, axes ? count : rank);
  tsr_expr zero = e_int(l, 0);
  for (uint32_t i = 0; i < rank; i++) {
    start[i] = low[i] = high[i] = zero;
    extent[i] = v_dim(l, x, i);
    step[i] = 1;
  }
  for (uint32_t i = 0; i < shape->count; i++) {
    int64_t axis = axes ? normal[i] : (int64_t)i;
    tsr_expr dim = extent[axis], wanted = shape->exprs[i];
    tsr_expr cut = e_max(l, e_sub(l, dim, wanted), zero),
             fill = e_max(l, e_sub(l, wanted, dim), zero);
    start[axis] = tsr_expr_floordiv_int(l->ir, cut, 2);
    extent[axis] = e_min(l, dim, wanted);
    low[axis] = tsr_expr_floordiv_int(l->ir, fill, 2);
    high[axis] = e_sub(l, fill, low[axis]);
  }
  tsr_value y = tsr_graph_slice(l->b, x, start, step, extent);
  tsr_lower_set(l, 0, tsr_graph_pad(l->b, y, v_number(l, y, 0), low, high, NULL, "constant"));
  return TSR_OK;
}

/* --- Col2Im --- */

/* Sums blocks along one axis of the image: axis 2 of x numbers the elements of a block, axis `at`
 * the blocks; the former goes, the latter becomes the image's axis. */
static tsr_value merge_blocks(tsr_lower *l, tsr_value x, uint32_t at, const tsr_window *w,
                              uint32_t axis, tsr_expr image) {
  tsr_expr dims[TSR_MAX_RANK], low[TSR_MAX_RANK], high[TSR_MAX_RANK];
  int64_t interior[TSR_MAX_RANK];
  uint32_t rank = v_rank(l, x);
  tsr_value sum = 0;
  if (rank < 4)
    return 0;
  for (uint32_t i = 0; i < rank - 1; i++) {
    dims[i] = v_dim(l, x, i < 2 ? i : i + 1);
    low[i] = high[i] = e_int(l, 0);
    interior[i] = 0;
  }
  at--;
  interior[at] = w->strides[axis] - 1;
  tsr_expr span = tsr_expr_mul_int(l->ir, tsr_expr_add_int(l->ir, dims[at], -1), w->strides[axis]);
  span = tsr_expr_add_int(l->ir, span, 1);
  for (int64_t k = 0; k < w->kernel[axis]; k++) {
    tsr_value part = v_slice_axis(l, x, 2, e_int(l, k), e_int(l, 1));
    low[at] = e_sub(l, e_int(l, k * w->dilations[axis]), w->low[axis]);
    high[at] = e_sub(l, image, e_add(l, low[at], span));
    part = v_reshape(l, part, dims, rank - 1);
    part = tsr_graph_pad(l->b, part, v_number(l, part, 0), low, high, interior, "constant");
    sum = sum ? v_add(l, sum, part) : part;
  }
  return sum;
}

tsr_status tsr_lower_op_col2im(tsr_lower *l) {
  tsr_window w;
  TSR_TRY(tsr_lower_need(l, 3));
  tsr_value x = tsr_lower_value(l, 0), y;
  const tsr_content *image = tsr_lower_content(l, 1);
  uint32_t spatial;
  const int64_t *block = tsr_lower_numbers(l, 2, &spatial);
  int64_t channels, elements = 1;
  if (!image || !image->exprs)
    return tsr_lower_unknown(l, 1, "image_shape");
  if (!block)
    return tsr_lower_unknown(l, 2, "block_shape");
  if (v_rank(l, x) != 3 || image->count != spatial || spatial < 1 || 2 * spatial + 2 > TSR_MAX_RANK)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE,
                           "an input of rank %u, an image of %llu axes, blocks of %u", v_rank(l, x),
                           (unsigned long long)image->count, spatial);
  TSR_TRY(tsr_window_read_steps(l, spatial, &w));
  tsr_expr dims[TSR_MAX_RANK] = {v_dim(l, x, 0)};
  for (uint32_t i = 0; i < spatial; i++) {
    if (block[i] < 1 || block[i] > INT32_MAX ||
        __builtin_mul_overflow(elements, block[i], &elements))
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "blocks of %lld elements", (long long)block[i]);
    w.kernel[i] = block[i];
    tsr_expr room = e_add(l, image->exprs[i], e_add(l, w.low[i], w.high[i]));
    room = tsr_expr_add_int(l->ir, room, -w.dilations[i] * (block[i] - 1) - 1);
    dims[2 + i] = e_int(l, block[i]);
    dims[2 + spatial + i] =
        tsr_expr_add_int(l->ir, tsr_expr_floordiv_int(l->ir, room, w.strides[i]), 1);
  }
  if (!v_static_dim(l, x, 1, &channels))
    return tsr_lower_unsupported(l, "a symbolic number of channels");
  if (channels % elements != 0)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%lld channels for blocks of %lld elements",
                           (long long)channels, (long long)elements);
  dims[1] = e_int(l, channels / elements);
  y = v_reshape(l, x, dims, 2 * spatial + 2);
  for (uint32_t i = 0; i < spatial; i++)
    y = merge_blocks(l, y, 2 + spatial, &w, i, image->exprs[i]);
  tsr_lower_set(l, 0, y);
  return TSR_OK;
}

/* --- MaxRoiPool --- */

enum { ROI_BATCH, ROI_LEFT, ROI_TOP, ROI_RIGHT, ROI_BOTTOM, ROI_NUMBERS };

/* A column of the regions, scaled and rounded, halves away from 0: [R, 1]. */
static tsr_value roi_end(tsr_lower *l, tsr_value rois, int64_t column, double scale) {
  tsr_value x = v_slice_axis(l, rois, 1, e_int(l, column), e_int(l, 1));
  x = v_mul_number(l, x, scale);
  tsr_value size = v_abs(l, x), whole = v_floor(l, size);
  tsr_value more = v_ge(l, v_sub(l, size, whole), v_number(l, x, 0.5));
  size = v_add(l, whole, v_cast(l, more, v_dtype(l, x)));
  return v_mul(l, v_sign(l, x), size);
}

/* The first position of each cell along an axis, or with `after` that behind its last, [R, cells]:
 * cells share a border where the region's length is no multiple of their number. */
static tsr_value roi_cell(tsr_lower *l, tsr_value from, tsr_value to, int64_t cells, bool after) {
  tsr_value length = v_add_number(l, v_sub(l, to, from), 1);
  length = v_max(l, length, v_number(l, length, 1));
  tsr_expr dims[2] = {e_int(l, 1), e_int(l, cells)};
  tsr_value number = tsr_graph_iota(l->b, v_dtype(l, from), dims, 2, 1);
  if (after)
    number = v_add_number(l, number, 1);
  tsr_value at = v_mul(l, number, v_div(l, length, v_number(l, length, (double)cells)));
  return v_add(l, v_unary(l, after ? TSR_OP_CEIL : TSR_OP_FLOOR, at), from);
}

/* x [R, C, .., H, W] as the greatest of each cell along `axis`, whose place among the results is
 * `place` of [R, C, rows, columns]. Cells without positions give -inf. */
static tsr_value roi_greatest(tsr_lower *l, tsr_value x, tsr_value first, tsr_value end,
                              uint32_t place, int64_t axis) {
  tsr_expr extent = v_dim(l, x, (uint32_t)axis), dims[5];
  tsr_value bounds[2] = {first, end};
  for (uint32_t i = 0; i < 2; i++) {
    for (uint32_t k = 0; k < 5; k++)
      dims[k] = k == 0 ? v_dim(l, first, 0) : k == place ? v_dim(l, first, 1) : e_int(l, 1);
    bounds[i] = v_reshape(l, bounds[i], dims, 5);
  }
  for (uint32_t k = 0; k < 5; k++)
    dims[k] = k == (uint32_t)axis ? extent : e_int(l, 1);
  tsr_value at = tsr_graph_iota(l->b, v_dtype(l, first), dims, 5, (uint32_t)axis);
  tsr_value inside = v_and(l, v_ge(l, at, bounds[0]), v_lt(l, at, bounds[1]));
  return v_reduce_keep(l, v_select(l, inside, x, v_number(l, x, (double)-INFINITY)), "max", &axis,
                       1);
}

/* Whether there are positions between, [R, cells] along `place` of [R, C, rows, columns]. */
static tsr_value roi_some(tsr_lower *l, tsr_value first, tsr_value end, tsr_value x, uint32_t place,
                          int64_t axis) {
  tsr_value extent = v_extent(l, x, &axis, 1, v_dtype(l, first));
  first = v_max(l, first, v_number(l, first, 0));
  tsr_value some = v_lt(l, first, v_min(l, end, extent));
  some = v_unsqueeze(l, some, 1);
  return v_unsqueeze(l, some, place == 2 ? 3 : 2);
}

tsr_status tsr_lower_op_max_roi_pool(tsr_lower *l) {
  enum { MOST_CELLS = 4096 };
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = tsr_lower_value(l, 0), rois = v_widen(l, tsr_lower_value(l, 1));
  rois = tsr_graph_agree_dim(l->b, rois, 1, e_int(l, ROI_NUMBERS));
  double scale = (double)tsr_lower_float(l, "spatial_scale", 1);
  int64_t numbers = 0;
  uint32_t count = 0;
  const int64_t *cells = tsr_lower_ints(l, "pooled_shape", &count);
  if (!cells || count != 2 || cells[0] < 1 || cells[1] < 1 || cells[0] > MOST_CELLS ||
      cells[1] > MOST_CELLS)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "pooled_shape is not two numbers from 1 to %d",
                           MOST_CELLS);
  if (v_rank(l, x) != 4 || v_rank(l, rois) != 2 || !v_static_dim(l, rois, 1, &numbers) ||
      numbers != ROI_NUMBERS)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE,
                           "an input of rank %u, regions of rank %u with %lld numbers each",
                           v_rank(l, x), v_rank(l, rois), (long long)numbers);
  tsr_expr regions = v_dim(l, rois, 0);
  tsr_value ends[ROI_NUMBERS], first[2], end[2];
  for (int64_t i = ROI_LEFT; i < ROI_NUMBERS; i++)
    ends[i] = roi_end(l, rois, i, scale);
  for (uint32_t i = 0; i < 2; i++) { /* rows, columns */
    tsr_value low = ends[i == 0 ? ROI_TOP : ROI_LEFT], high = ends[i == 0 ? ROI_BOTTOM : ROI_RIGHT];
    first[i] = roi_cell(l, low, high, cells[i], false);
    end[i] = roi_cell(l, low, high, cells[i], true);
  }
  tsr_value batch = v_slice_axis(l, rois, 1, e_int(l, ROI_BATCH), e_int(l, 1));
  batch = v_cast(l, v_reshape(l, batch, &regions, 1), TSR_I64);
  tsr_value image = v_unsqueeze(l, tsr_graph_gather(l->b, x, batch, 0), 2);
  tsr_value y = roi_greatest(l, image, first[0], end[0], 2, 3);
  y = roi_greatest(l, y, first[1], end[1], 3, 4);
  tsr_expr dims[4] = {regions, v_dim(l, x, 1), e_int(l, cells[0]), e_int(l, cells[1])};
  y = v_reshape(l, y, dims, 4);
  tsr_value some =
      v_and(l, roi_some(l, first[0], end[0], x, 2, 2), roi_some(l, first[1], end[1], x, 3, 3));
  tsr_lower_set(l, 0, v_select(l, some, y, v_number(l, y, 0)));
  return TSR_OK;
}
