/* Convolutions and pools. */
#include "frontend/onnx/op_table.h"
#include "frontend/onnx/window.h"
#include <math.h>
#include <string.h>

/* --- windows --- */

static tsr_status read_list(tsr_lower *l, const char *name, uint32_t count, int64_t otherwise,
                            int64_t least, int64_t *out) {
  uint32_t given;
  const int64_t *list = tsr_lower_ints(l, name, &given);
  if (list && given != count)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%s has %u entries for %u axes", name, given, count);
  for (uint32_t i = 0; i < count; i++) {
    out[i] = list ? list[i] : otherwise;
    if (out[i] < least || out[i] > INT32_MAX)
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%s has an entry of %lld", name, (long long)out[i]);
  }
  return TSR_OK;
}

tsr_status tsr_window_read_steps(tsr_lower *l, uint32_t spatial, tsr_window *out) {
  int64_t pads[2 * TSR_MAX_RANK];
  memset(out, 0, sizeof *out);
  out->spatial = spatial;
  TSR_TRY(read_list(l, "strides", spatial, 1, 1, out->strides));
  TSR_TRY(read_list(l, "dilations", spatial, 1, 1, out->dilations));
  TSR_TRY(read_list(l, "pads", 2 * spatial, 0, -INT32_MAX, pads));
  for (uint32_t i = 0; i < spatial; i++) {
    out->low[i] = e_int(l, pads[i]);
    out->high[i] = e_int(l, pads[i + spatial]);
  }
  return TSR_OK;
}

tsr_status tsr_window_read_lists(tsr_lower *l, uint32_t spatial, tsr_value weights,
                                 tsr_window *out) {
  int64_t declared[TSR_MAX_RANK];
  uint32_t given;
  TSR_TRY(tsr_window_read_steps(l, spatial, out));
  for (uint32_t i = 0; i < spatial; i++)
    if (weights && !v_static_dim(l, weights, i + 2, &out->kernel[i]))
      return tsr_lower_unsupported(l, "weights of symbolic shape");
  if (!weights)
    return read_list(l, "kernel_shape", spatial, 0, 1, out->kernel);
  if (!tsr_lower_ints(l, "kernel_shape", &given))
    return TSR_OK;
  TSR_TRY(read_list(l, "kernel_shape", spatial, 0, 1, declared));
  for (uint32_t i = 0; i < spatial; i++)
    if (declared[i] != out->kernel[i])
      return tsr_lower_wrong(l, TSR_ERR_SHAPE,
                             "kernel_shape is %lld along axis %u, the weights %lld",
                             (long long)declared[i], i, (long long)out->kernel[i]);
  return TSR_OK;
}

static int64_t reach_of(const tsr_window *w, uint32_t i) {
  return (w->kernel[i] - 1) * w->dilations[i] + 1;
}

/* auto_pad SAME: as many windows as ceil(extent / stride); the odd element of the padding goes to
 * the end for SAME_UPPER. */
static void pad_same(tsr_lower *l, tsr_value x, bool upper, tsr_window *w) {
  for (uint32_t i = 0; i < w->spatial; i++) {
    tsr_expr extent = v_dim(l, x, i + 2);
    tsr_expr windows = tsr_expr_ceildiv_int(l->ir, extent, w->strides[i]);
    tsr_expr needed = tsr_expr_mul_int(l->ir, tsr_expr_add_int(l->ir, windows, -1), w->strides[i]);
    needed = e_sub(l, tsr_expr_add_int(l->ir, needed, reach_of(w, i)), extent);
    needed = e_max(l, needed, e_int(l, 0));
    tsr_expr small = tsr_expr_floordiv_int(l->ir, needed, 2), large = e_sub(l, needed, small);
    w->low[i] = upper ? small : large;
    w->high[i] = upper ? large : small;
  }
}

tsr_status tsr_window_read(tsr_lower *l, tsr_value x, tsr_value weights, tsr_window *out) {
  uint32_t rank = v_rank(l, x);
  const char *mode = tsr_lower_text(l, "auto_pad", "NOTSET");
  if (rank < 3)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "an input of rank %u; needs 3 or more", rank);
  if (weights && v_rank(l, weights) != rank)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "weights of rank %u for an input of rank %u",
                           v_rank(l, weights), rank);
  TSR_TRY(tsr_window_read_lists(l, rank - 2, weights, out));
  bool upper = strcmp(mode, "SAME_UPPER") == 0;
  if (upper || strcmp(mode, "SAME_LOWER") == 0)
    pad_same(l, x, upper, out);
  else if (strcmp(mode, "VALID") == 0)
    for (uint32_t i = 0; i < out->spatial; i++)
      out->low[i] = out->high[i] = e_int(l, 0);
  else if (strcmp(mode, "NOTSET") != 0)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "auto_pad '%s'", mode);
  return TSR_OK;
}

/* --- convolutions --- */

static tsr_value add_bias(tsr_lower *l, tsr_value y, uint32_t input) {
  if (!tsr_lower_has(l, input))
    return y;
  return v_add(l, y, v_along(l, tsr_lower_value(l, input), 1, v_rank(l, y)));
}

tsr_status tsr_lower_op_conv(tsr_lower *l) {
  tsr_window w;
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = tsr_lower_value(l, 0), weights = tsr_lower_value(l, 1);
  TSR_TRY(tsr_window_read(l, x, weights, &w));
  tsr_value y = tsr_graph_conv(l->b, x, weights, w.strides, w.dilations, w.low, w.high,
                               tsr_lower_int(l, "group", 1));
  tsr_lower_set(l, 0, add_bias(l, y, 2));
  return TSR_OK;
}

/* x minus its zero point as i32; zero points of rank 1 run along `axis`. */
static tsr_value unbiased(tsr_lower *l, uint32_t input, uint32_t zero, uint32_t axis) {
  tsr_value x = v_cast(l, tsr_lower_value(l, input), TSR_I32);
  if (!tsr_lower_has(l, zero))
    return x;
  tsr_value z = v_cast(l, tsr_lower_value(l, zero), TSR_I32);
  bool list = v_rank(l, z) == 1 && !tsr_expr_equals_int(l->ir, v_dim(l, z, 0), 1);
  return v_sub(l, x, list ? v_along(l, z, axis, v_rank(l, x)) : v_to_scalar(l, z));
}

tsr_status tsr_lower_op_conv_integer(tsr_lower *l) {
  tsr_window w;
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = unbiased(l, 0, 2, 1), weights = unbiased(l, 1, 3, 0);
  TSR_TRY(tsr_window_read(l, x, weights, &w));
  tsr_lower_set(l, 0,
                tsr_graph_conv(l->b, x, weights, w.strides, w.dilations, w.low, w.high,
                               tsr_lower_int(l, "group", 1)));
  return TSR_OK;
}

tsr_status tsr_lower_op_qlinear_conv(tsr_lower *l) {
  tsr_window w;
  TSR_TRY(tsr_lower_need(l, 8));
  tsr_value x = unbiased(l, 0, 2, 1), weights = unbiased(l, 3, 5, 0);
  TSR_TRY(tsr_window_read(l, x, weights, &w));
  tsr_value y = tsr_graph_conv(l->b, x, weights, w.strides, w.dilations, w.low, w.high,
                               tsr_lower_int(l, "group", 1));
  y = v_cast(l, add_bias(l, y, 8), TSR_F32);
  tsr_value scale = v_to_scalar(l, tsr_lower_value(l, 1)), by = tsr_lower_value(l, 4);
  bool list = v_rank(l, by) == 1 && !tsr_expr_equals_int(l->ir, v_dim(l, by, 0), 1);
  by = list ? v_along(l, by, 1, v_rank(l, y)) : v_to_scalar(l, by);
  tsr_value factor = v_div(l, v_mul(l, scale, by), v_to_scalar(l, tsr_lower_value(l, 6)));
  tsr_lower_set(l, 0, tsr_quantize(l, v_mul(l, y, factor), tsr_lower_value(l, 7)));
  return TSR_OK;
}

/* [C, M / groups, k...] to [M, C / groups, k...] with every kernel axis reversed. */
static tsr_value turn_weights(tsr_lower *l, tsr_value w, int64_t groups) {
  tsr_expr dims[TSR_MAX_RANK], split[TSR_MAX_RANK + 1], start[TSR_MAX_RANK];
  int64_t perm[TSR_MAX_RANK + 1], step[TSR_MAX_RANK];
  uint32_t rank = v_rank(l, w);
  tsr_expr inner = tsr_expr_floordiv_int(l->ir, v_dim(l, w, 0), groups);
  split[0] = e_int(l, groups);
  split[1] = inner;
  perm[0] = 0;
  perm[1] = 2;
  perm[2] = 1;
  dims[0] = tsr_expr_mul_int(l->ir, v_dim(l, w, 1), groups);
  dims[1] = inner;
  for (uint32_t i = 1; i < rank; i++) {
    split[i + 1] = v_dim(l, w, i);
    if (i >= 2) {
      perm[i + 1] = i + 1;
      dims[i] = v_dim(l, w, i);
    }
  }
  tsr_value y = tsr_graph_transpose(l->b, v_reshape(l, w, split, rank + 1), perm);
  y = v_reshape(l, y, dims, rank);
  for (uint32_t i = 0; i < rank; i++) {
    start[i] = i < 2 ? e_int(l, 0) : tsr_expr_add_int(l->ir, dims[i], -1);
    step[i] = i < 2 ? 1 : -1;
  }
  return tsr_graph_slice(l->b, y, start, step, dims);
}

/* Pads that make the result `output_shape`, or stride times the input for auto_pad SAME. A result
 * larger than what there is gets zeros at its end. */
static tsr_status transposed_pads(tsr_lower *l, tsr_value x, const int64_t *extra, tsr_window *w) {
  uint32_t count;
  const char *mode = tsr_lower_text(l, "auto_pad", "NOTSET");
  const int64_t *shape = tsr_lower_ints(l, "output_shape", &count);
  bool upper = strcmp(mode, "SAME_UPPER") == 0, same = upper || strcmp(mode, "SAME_LOWER") == 0;
  if (shape && count != w->spatial)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "output_shape has %u entries for %u axes", count,
                           w->spatial);
  for (uint32_t i = 0; i < w->spatial && (shape || same); i++) {
    tsr_expr extent = v_dim(l, x, i + 2);
    tsr_expr wanted = shape ? e_int(l, shape[i]) : tsr_expr_mul_int(l->ir, extent, w->strides[i]);
    tsr_expr full = tsr_expr_mul_int(l->ir, tsr_expr_add_int(l->ir, extent, -1), w->strides[i]);
    full = tsr_expr_add_int(l->ir, full, extra[i] + reach_of(w, i));
    tsr_expr balance = e_sub(l, full, wanted), total = e_max(l, balance, e_int(l, 0));
    tsr_expr small = tsr_expr_floordiv_int(l->ir, total, 2), large = e_sub(l, total, small);
    w->low[i] = upper ? small : large;
    w->high[i] = e_add(l, upper ? large : small, e_sub(l, balance, total));
  }
  return TSR_OK;
}

/* [C, M / groups, k...] to [M * s..., C / groups, j...]: the kernel of every phase, the position of
 * a result modulo the strides s, with its taps reversed; j = ceil(k / s). */
static tsr_value phase_weights(tsr_lower *l, tsr_value weights, const tsr_window *w,
                               const int64_t *taps, int64_t groups) {
  const uint32_t spatial = w->spatial, rank = spatial + 2;
  tsr_expr low[TSR_MAX_RANK], high[TSR_MAX_RANK], split[TSR_MAX_RANK], dims[TSR_MAX_RANK];
  tsr_expr start[TSR_MAX_RANK];
  int64_t perm[TSR_MAX_RANK], step[TSR_MAX_RANK], phases = 1;
  const tsr_expr inner = tsr_expr_floordiv_int(l->ir, v_dim(l, weights, 0), groups);
  split[0] = e_int(l, groups);
  split[1] = inner;
  split[2] = v_dim(l, weights, 1);
  perm[0] = 0;
  perm[1] = 2;
  perm[2 + spatial] = 1;
  low[0] = low[1] = high[0] = high[1] = start[0] = start[1] = e_int(l, 0);
  step[0] = step[1] = 1;
  for (uint32_t i = 0; i < spatial; i++) {
    low[i + 2] = e_int(l, 0);
    high[i + 2] = e_int(l, taps[i] * w->strides[i] - w->kernel[i]);
    split[3 + 2 * i] = dims[i + 2] = e_int(l, taps[i]);
    split[4 + 2 * i] = e_int(l, w->strides[i]);
    perm[2 + i] = 4 + 2 * i;
    perm[3 + spatial + i] = 3 + 2 * i;
    phases *= w->strides[i];
    start[i + 2] = e_int(l, taps[i] - 1);
    step[i + 2] = -1;
  }
  dims[0] = tsr_expr_mul_int(l->ir, v_dim(l, weights, 1), groups * phases);
  dims[1] = inner;
  tsr_value y = tsr_graph_pad(l->b, weights, v_number(l, weights, 0), low, high, NULL, "constant");
  y = tsr_graph_transpose(l->b, v_reshape(l, y, split, 3 + 2 * spatial), perm);
  return tsr_graph_slice(l->b, v_reshape(l, y, dims, rank), start, step, dims);
}

/* A convolution of the input as it is, which makes all phases side by side as channels; they are
 * put in their places behind it. */
static tsr_value conv_by_phases(tsr_lower *l, tsr_value x, tsr_value weights, const tsr_window *w,
                                const int64_t *extra, int64_t groups) {
  const uint32_t spatial = w->spatial, rank = spatial + 2;
  tsr_expr pads[TSR_MAX_RANK], low[TSR_MAX_RANK], high[TSR_MAX_RANK];
  tsr_expr split[TSR_MAX_RANK], dims[TSR_MAX_RANK];
  int64_t taps[TSR_MAX_RANK], ones[TSR_MAX_RANK], perm[TSR_MAX_RANK];
  for (uint32_t i = 0; i < spatial; i++) {
    taps[i] = (w->kernel[i] + w->strides[i] - 1) / w->strides[i];
    pads[i] = e_int(l, taps[i] - 1);
    ones[i] = 1;
  }
  tsr_value y = tsr_graph_conv(l->b, x, phase_weights(l, weights, w, taps, groups), ones, ones,
                               pads, pads, groups);
  split[0] = dims[0] = v_dim(l, x, 0);
  split[1] = dims[1] = tsr_expr_mul_int(l->ir, v_dim(l, weights, 1), groups);
  perm[0] = 0;
  perm[1] = 1;
  low[0] = low[1] = high[0] = high[1] = e_int(l, 0);
  for (uint32_t i = 0; i < spatial; i++) {
    const tsr_expr extent = v_dim(l, x, i + 2);
    split[2 + i] = e_int(l, w->strides[i]);
    split[2 + spatial + i] = tsr_expr_add_int(l->ir, extent, taps[i] - 1);
    perm[2 + 2 * i] = 2 + spatial + i;
    perm[3 + 2 * i] = 2 + i;
    dims[2 + i] = tsr_expr_mul_int(l->ir, split[2 + spatial + i], w->strides[i]);
    low[2 + i] = e_sub(l, e_int(l, 0), w->low[i]);
    high[2 + i] = e_sub(l, e_int(l, extra[i] + w->kernel[i] - taps[i] * w->strides[i]), w->high[i]);
  }
  y = tsr_graph_transpose(l->b, v_reshape(l, y, split, 2 + 2 * spatial), perm);
  y = v_reshape(l, y, dims, rank);
  return tsr_graph_pad(l->b, y, v_number(l, y, 0), low, high, NULL, "constant");
}

/* Phases spare the products with zeros that the strides put between elements. */
static bool has_phases(const tsr_window *w) {
  int64_t phases = 1;
  for (uint32_t i = 0; i < w->spatial; i++) {
    if (w->dilations[i] != 1)
      return false;
    phases *= w->strides[i];
  }
  return phases > 1 && 3 + 2 * w->spatial <= TSR_MAX_RANK;
}

/* A convolution of the input spread out by the strides with the reversed kernel. */
tsr_status tsr_lower_op_conv_transpose(tsr_lower *l) {
  tsr_window w;
  int64_t extra[TSR_MAX_RANK], interior[TSR_MAX_RANK] = {0}, ones[TSR_MAX_RANK];
  tsr_expr low[TSR_MAX_RANK], high[TSR_MAX_RANK], none[TSR_MAX_RANK];
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = tsr_lower_value(l, 0), weights = tsr_lower_value(l, 1);
  uint32_t rank = v_rank(l, x);
  int64_t groups = tsr_lower_int(l, "group", 1);
  if (rank < 3 || v_rank(l, weights) != rank || groups < 1)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "ranks %u and %u, %lld groups", rank,
                           v_rank(l, weights), (long long)groups);
  TSR_TRY(tsr_window_read_lists(l, rank - 2, weights, &w));
  TSR_TRY(read_list(l, "output_padding", w.spatial, 0, 0, extra));
  TSR_TRY(transposed_pads(l, x, extra, &w));
  if (has_phases(&w)) {
    tsr_lower_set(l, 0, add_bias(l, conv_by_phases(l, x, weights, &w, extra, groups), 2));
    return TSR_OK;
  }
  for (uint32_t i = 0; i < rank; i++) {
    low[i] = high[i] = e_int(l, 0);
    if (i < 2)
      continue;
    int64_t reach = reach_of(&w, i - 2) - 1;
    low[i] = e_sub(l, e_int(l, reach), w.low[i - 2]);
    high[i] = e_sub(l, e_int(l, reach + extra[i - 2]), w.high[i - 2]);
    interior[i] = w.strides[i - 2] - 1;
    none[i - 2] = e_int(l, 0);
    ones[i - 2] = 1;
  }
  tsr_value spread = tsr_graph_pad(l->b, x, v_number(l, x, 0), low, high, interior, "constant");
  tsr_value y = tsr_graph_conv(l->b, spread, turn_weights(l, weights, groups), ones, w.dilations,
                               none, none, groups);
  tsr_lower_set(l, 0, add_bias(l, y, 2));
  return TSR_OK;
}

/* --- pools --- */

/* ceil_mode: a last window that begins inside the input or its low padding counts, however far it
 * reaches; `out_extra` is what it needs beyond the padding. Of the two limits the lesser is known,
 * as they are one symbol apart from numbers: quotients that are not compared keep chains of pools
 * short. */
static void round_up(tsr_lower *l, tsr_value x, tsr_window *w, tsr_expr *out_extra) {
  for (uint32_t i = 0; i < w->spatial; i++) {
    out_extra[i] = e_int(l, 0);
    if (tsr_lower_int(l, "ceil_mode", 0) == 0)
      continue;
    tsr_expr begun = e_add(l, v_dim(l, x, i + 2), w->low[i]);
    tsr_expr room = e_sub(l, e_add(l, begun, w->high[i]), e_int(l, reach_of(w, i)));
    tsr_expr rounded = tsr_expr_add_int(l->ir, room, w->strides[i] - 1);
    tsr_expr least = e_min(l, rounded, tsr_expr_add_int(l->ir, begun, -1));
    tsr_expr last = tsr_expr_floordiv_int(l->ir, least, w->strides[i]);
    tsr_expr needed = e_sub(l, tsr_expr_mul_int(l->ir, last, w->strides[i]), room);
    out_extra[i] = least == rounded ? needed : e_max(l, needed, e_int(l, 0));
  }
}

static tsr_value pool(tsr_lower *l, tsr_value x, const char *combine, const tsr_window *w,
                      const tsr_expr *extra) {
  tsr_expr high[TSR_MAX_RANK];
  for (uint32_t i = 0; i < w->spatial; i++)
    high[i] = e_add(l, w->high[i], extra[i]);
  return tsr_graph_pool(l->b, x, combine, w->spatial, w->kernel, w->strides, w->dilations, w->low,
                        high);
}

/* Where each window's largest element stands in the input, by comparing every window position:
 * a window of the positions masked to where the maximum is. */
static tsr_status pool_indices(tsr_lower *l, tsr_value x, const tsr_window *w,
                               const tsr_expr *extra);

tsr_status tsr_lower_op_max_pool(tsr_lower *l) {
  tsr_window w;
  tsr_expr extra[TSR_MAX_RANK];
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0);
  TSR_TRY(tsr_window_read(l, x, 0, &w));
  round_up(l, x, &w, extra);
  tsr_lower_set(l, 0, pool(l, x, "max", &w, extra));
  return tsr_lower_wants(l, 1) ? pool_indices(l, x, &w, extra) : TSR_OK;
}

/* The number of each element of a tensor; column-major: the axes of the picture change their order.
 */
static tsr_value element_numbers(tsr_lower *l, const tsr_expr *dims, uint32_t rank,
                                 bool column_major) {
  int64_t order[TSR_MAX_RANK];
  tsr_expr shape[TSR_MAX_RANK], all = e_int(l, 1);
  for (uint32_t i = 0; i < rank; i++) {
    order[i] = column_major && i >= 2 ? rank + 1 - i : i;
    shape[i] = dims[order[i]];
    all = e_mul(l, all, dims[i]);
  }
  tsr_value at = v_reshape(l, tsr_graph_iota(l->b, TSR_I64, &all, 1, 0), shape, rank);
  return column_major ? tsr_graph_transpose(l->b, at, order) : at;
}

/* Offset number `which` inside a window, row-major. */
static void window_offset(tsr_lower *l, const tsr_window *w, int64_t which, tsr_expr *start) {
  for (uint32_t i = w->spatial; i-- > 0; which /= w->kernel[i])
    start[i + 2] = e_int(l, which % w->kernel[i] * w->dilations[i]);
}

/* Each offset in the window gives one strided slice of the padded input; the first offset in
 * row-major order that reaches the maximum wins. */
static tsr_status pool_indices(tsr_lower *l, tsr_value x, const tsr_window *w,
                               const tsr_expr *extra) {
  tsr_expr low[TSR_MAX_RANK], high[TSR_MAX_RANK], start[TSR_MAX_RANK], flat[TSR_MAX_RANK];
  int64_t step[TSR_MAX_RANK], count = 1;
  uint32_t rank = w->spatial + 2;
  for (uint32_t i = 0; i < rank; i++) {
    low[i] = i < 2 ? e_int(l, 0) : w->low[i - 2];
    high[i] = i < 2 ? e_int(l, 0) : e_add(l, w->high[i - 2], extra[i - 2]);
    start[i] = e_int(l, 0);
    step[i] = i < 2 ? 1 : w->strides[i - 2];
    flat[i] = v_dim(l, x, i);
    if (i >= 2 && (w->kernel[i - 2] > 64 || (count *= w->kernel[i - 2]) > 64))
      return tsr_lower_unsupported(l, "indices of windows of more than 64 elements");
  }
  tsr_value at = element_numbers(l, flat, rank, tsr_lower_int(l, "storage_order", 0) != 0);
  at = tsr_graph_pad(l->b, at, v_number(l, at, -1), low, high, NULL, "constant");
  double least = v_is_float(l, x) ? (double)-INFINITY : v_dtype(l, x) == TSR_I8 ? -128 : 0;
  tsr_value padded = tsr_graph_pad(l->b, x, v_number(l, x, least), low, high, NULL, "constant");
  tsr_value best = 0, best_at = 0, shape = pool(l, x, "max", w, extra);
  for (int64_t which = 0; which < count; which++) {
    window_offset(l, w, which, start);
    const tsr_type_info *type = shape ? v_type(l, shape) : NULL;
    if (!type)
      return TSR_OK;
    tsr_value here = tsr_graph_slice(l->b, padded, start, step, type->dims);
    tsr_value here_at = tsr_graph_slice(l->b, at, start, step, type->dims);
    if (!best) {
      best = here;
      best_at = here_at;
      continue;
    }
    tsr_value unset = v_lt(l, best_at, v_number(l, best_at, 0));
    tsr_value wins = v_or(l, v_gt(l, here, best), unset);
    best = v_select(l, wins, here, best);
    best_at = v_select(l, wins, here_at, best_at);
  }
  tsr_lower_set(l, 1, best_at);
  return TSR_OK;
}

static bool all_zero(tsr_lower *l, const tsr_expr *e, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (!tsr_expr_equals_int(l->ir, e[i], 0))
      return false;
  return true;
}

/* The number of elements that each window averages, [1, 1, windows...]: pads count when
 * count_include_pad, what ceil_mode adds never does. */
static tsr_value window_counts(tsr_lower *l, tsr_value x, const tsr_window *w,
                               const tsr_expr *extra, bool include_pad) {
  tsr_expr dims[TSR_MAX_RANK] = {e_int(l, 1), e_int(l, 1)};
  tsr_window counted = *w;
  for (uint32_t i = 0; i < w->spatial; i++) {
    dims[i + 2] = v_dim(l, x, i + 2);
    if (!include_pad)
      continue;
    dims[i + 2] = e_add(l, dims[i + 2], e_add(l, w->low[i], w->high[i]));
    counted.low[i] = counted.high[i] = e_int(l, 0);
  }
  tsr_value ones = tsr_graph_splat(l->b, v_dtype(l, x), 1, dims, w->spatial + 2);
  return pool(l, ones, "add", &counted, extra);
}

tsr_status tsr_average_windows(tsr_lower *l, tsr_value x, tsr_value *out) {
  tsr_window w;
  tsr_expr extra[TSR_MAX_RANK];
  *out = 0;
  TSR_TRY(tsr_window_read(l, x, 0, &w));
  round_up(l, x, &w, extra);
  bool include_pad = tsr_lower_int(l, "count_include_pad", 0) != 0;
  bool pads = !all_zero(l, w.low, w.spatial) || !all_zero(l, w.high, w.spatial);
  bool full = all_zero(l, extra, w.spatial) && (include_pad || !pads);
  tsr_value sum = pool(l, x, "add", &w, extra), counts;
  if (full) {
    double size = 1;
    for (uint32_t i = 0; i < w.spatial; i++)
      size *= (double)w.kernel[i];
    counts = v_number(l, sum, size);
  } else
    counts = window_counts(l, x, &w, extra, include_pad);
  *out = v_div(l, sum, counts);
  return TSR_OK;
}

tsr_status tsr_lower_op_average_pool(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0), y;
  TSR_TRY(tsr_average_windows(l, v_widen(l, x), &y));
  tsr_lower_set(l, 0, v_cast(l, y, v_dtype(l, x)));
  return TSR_OK;
}

/* The exponent of a norm, a float before opset 2. */
static double norm_exponent(tsr_lower *l) {
  return l->opset < 2 ? (double)tsr_lower_float(l, "p", 2) : (double)tsr_lower_int(l, "p", 2);
}

tsr_status tsr_lower_op_lp_pool(tsr_lower *l) {
  tsr_window w;
  tsr_expr extra[TSR_MAX_RANK];
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0), wide = v_widen(l, x);
  TSR_TRY(tsr_window_read(l, x, 0, &w));
  round_up(l, x, &w, extra);
  double p = norm_exponent(l);
  tsr_value terms = v_abs(l, wide);
  if (p != 1)
    terms = p == 2 ? v_mul(l, wide, wide) : v_pow(l, terms, v_number(l, wide, p));
  tsr_value y = pool(l, terms, "add", &w, extra);
  if (p != 1)
    y = p == 2 ? v_sqrt(l, y) : v_pow(l, y, v_number(l, y, 1 / p));
  tsr_lower_set(l, 0, v_cast(l, y, v_dtype(l, x)));
  return TSR_OK;
}

/* Puts each element where its index says, zeros elsewhere. Indices number the elements of the
 * result that pooling would have come from; output_shape adds zeros at its ends. */
tsr_status tsr_lower_op_max_unpool(tsr_lower *l) {
  tsr_window w;
  tsr_expr dims[TSR_MAX_RANK];
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = tsr_lower_value(l, 0), at = tsr_lower_value(l, 1);
  uint32_t rank = v_rank(l, x);
  TSR_TRY(tsr_window_read(l, x, 0, &w));
  const tsr_content *shape = tsr_lower_has(l, 2) ? tsr_lower_content(l, 2) : NULL;
  if (tsr_lower_has(l, 2) && (!shape || !shape->exprs || shape->count != rank))
    return tsr_lower_unknown(l, 2, "output_shape");
  for (uint32_t i = 0; i < rank; i++) {
    dims[i] = v_dim(l, x, i);
    if (i >= 2) {
      tsr_expr grown =
          tsr_expr_mul_int(l->ir, tsr_expr_add_int(l->ir, dims[i], -1), w.strides[i - 2]);
      tsr_expr cut = e_add(l, w.low[i - 2], w.high[i - 2]);
      dims[i] = e_sub(l, tsr_expr_add_int(l->ir, grown, w.kernel[i - 2]), cut);
    }
  }
  tsr_expr all = e_int(l, 1), count = all, low[TSR_MAX_RANK], high[TSR_MAX_RANK];
  for (uint32_t i = 0; i < rank; i++) {
    all = e_mul(l, all, dims[i]);
    count = e_mul(l, count, v_dim(l, x, i));
    low[i] = e_int(l, 0);
    high[i] = shape ? e_sub(l, shape->exprs[i], dims[i]) : low[i];
  }
  tsr_value base = tsr_graph_splat(l->b, v_dtype(l, x), 0, &all, 1);
  tsr_value y = tsr_graph_scatter_elements(l->b, base, v_reshape(l, at, &count, 1),
                                           v_reshape(l, x, &count, 1), 0, "none");
  y = v_reshape(l, y, dims, rank);
  if (shape)
    y = tsr_graph_pad(l->b, y, v_number(l, y, 0), low, high, NULL, "constant");
  tsr_lower_set(l, 0, y);
  return TSR_OK;
}

/* Over all spatial axes: `arg` 0 average, 1 maximum, 2 p-norm. */
tsr_status tsr_lower_op_global_pool(tsr_lower *l) {
  int64_t axes[TSR_MAX_RANK];
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0), wide = v_widen(l, x), y;
  uint32_t rank = v_rank(l, x);
  if (rank < 2)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "rank %u", rank);
  for (uint32_t i = 2; i < rank; i++)
    axes[i - 2] = i;
  double p = norm_exponent(l);
  if (l->arg == 0)
    y = v_mean_keep(l, wide, axes, rank - 2);
  else if (l->arg == 1)
    y = v_reduce_keep(l, wide, "max", axes, rank - 2);
  else {
    tsr_value powers = v_pow(l, v_abs(l, wide), v_number(l, wide, p));
    y = v_reduce_keep(l, powers, "add", axes, rank - 2);
    y = v_pow(l, y, v_number(l, y, 1 / p));
  }
  tsr_lower_set(l, 0, v_cast(l, y, v_dtype(l, x)));
  return TSR_OK;
}
