/* CenterCropPad and Col2Im. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"
#include "frontend/onnx/window.h"

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
