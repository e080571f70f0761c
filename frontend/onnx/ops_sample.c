/* GridSample, DeformConv and RoiAlign: values at computed coordinates, as gathers from the
 * flattened spatial axes. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"
#include "frontend/onnx/sizes.h"
#include "frontend/onnx/window.h"
#include <math.h>
#include <string.h>

enum { MAX_SPATIAL = 3, MAX_TAPS = 4 };

typedef enum padding { ZEROS, BORDER, REFLECTION } padding;

typedef struct sampler {
  tsr_lower *l;
  uint32_t spatial, taps; /* taps per axis: 1 nearest, 2 linear, 4 cubic */
  padding pad;
  bool align;
  tsr_value image;                /* [N, C, prod(spatial)] */
  tsr_value extents[MAX_SPATIAL]; /* rank 0, of the coordinates' type */
} sampler;

/* The taps along one axis, each [N, points]. */
typedef struct axis_taps {
  tsr_value at[MAX_TAPS];     /* whole numbers inside the image, in the coordinates' type */
  tsr_value weight[MAX_TAPS]; /* 0: all ones */
  tsr_value inside[MAX_TAPS]; /* bool; 0: always */
} axis_taps;

/* Folds x into [low, low + range] by reflection at both ends. */
static tsr_value reflect(const sampler *s, tsr_value x, uint32_t axis) {
  tsr_lower *l = s->l;
  tsr_value low = v_number(l, x, s->align ? 0 : -0.5);
  tsr_value range = s->align ? v_add_number(l, s->extents[axis], -1) : s->extents[axis];
  tsr_value twice = v_max(l, v_mul_number(l, range, 2), v_number(l, x, 1e-30));
  tsr_value t = v_binary(l, TSR_OP_MOD, v_sub(l, x, low), twice);
  return v_add(l, low, v_min(l, t, v_sub(l, twice, t)));
}

static tsr_value clamp_inside(const sampler *s, tsr_value x, uint32_t axis) {
  tsr_lower *l = s->l;
  tsr_value last = v_add_number(l, s->extents[axis], -1);
  return v_min(l, v_max(l, x, v_number(l, x, 0)), last);
}

/* Cubic taps are padded one by one, as in PyTorch and ONNX Runtime. */
static tsr_value apply_padding(const sampler *s, tsr_value x, uint32_t axis) {
  if (s->taps == 4)
    return x;
  if (s->pad == BORDER)
    return clamp_inside(s, x, axis);
  return s->pad == REFLECTION ? reflect(s, x, axis) : x;
}

static tsr_value cubic_weight(tsr_lower *l, tsr_value distance, bool near) {
  const double a = -0.75;
  tsr_value t = distance;
  if (near) {
    tsr_value y = v_add_number(l, v_mul_number(l, t, a + 2), -(a + 3));
    return v_add_number(l, v_mul(l, v_mul(l, y, t), t), 1);
  }
  tsr_value y = v_add_number(l, v_mul_number(l, t, a), -5 * a);
  y = v_add_number(l, v_mul(l, y, t), 8 * a);
  return v_add_number(l, v_mul(l, y, t), -4 * a);
}

/* Weight of tap k (its distance from x is |fraction - offset|). */
static tsr_value tap_weight(const sampler *s, tsr_value fraction, int offset) {
  tsr_lower *l = s->l;
  tsr_value distance = offset > 0 ? v_sub(l, v_number(l, fraction, offset), fraction)
                                  : v_add_number(l, fraction, -offset);
  if (s->taps == 2)
    return v_sub(l, v_number(l, fraction, 1), distance);
  return cubic_weight(l, distance, offset == 0 || offset == 1);
}

static void place_tap(const sampler *s, tsr_value at, uint32_t axis, uint32_t k, axis_taps *out) {
  tsr_lower *l = s->l;
  if (s->pad == ZEROS) {
    tsr_value low = v_ge(l, at, v_number(l, at, 0));
    out->inside[k] = v_and(l, low, v_lt(l, at, s->extents[axis]));
  } else if (s->pad == REFLECTION)
    at = v_unary(l, TSR_OP_TRUNC, reflect(s, at, axis));
  out->at[k] = clamp_inside(s, at, axis);
}

/* Around coordinate x, in elements. */
static void make_taps(const sampler *s, tsr_value x, uint32_t axis, axis_taps *out) {
  tsr_lower *l = s->l;
  if (s->taps == 1)
    x = v_round(l, x);
  x = apply_padding(s, x, axis);
  if (s->taps == 1) {
    place_tap(s, v_unary(l, TSR_OP_TRUNC, x), axis, 0, out);
    return;
  }
  tsr_value base = v_floor(l, x), fraction = v_sub(l, x, base);
  for (uint32_t k = 0; k < s->taps; k++) {
    int offset = (int)k - (s->taps == 4 ? 1 : 0);
    out->weight[k] = tap_weight(s, fraction, offset);
    place_tap(s, v_add_number(l, base, offset), axis, k, out);
  }
}

/* The coordinate in elements of `g` in [-1, 1] over the axis. */
static tsr_value grid_coordinate(const sampler *s, tsr_value g, uint32_t axis) {
  tsr_lower *l = s->l;
  tsr_value x = v_add_number(l, g, 1), extent = s->extents[axis];
  if (s->align)
    return v_mul(l, v_mul_number(l, x, 0.5), v_add_number(l, extent, -1));
  return v_mul_number(l, v_add_number(l, v_mul(l, x, extent), -1), 0.5);
}

/* The image at one combination of taps, times its weights: [N, C, points]. */
static tsr_value sample(const sampler *s, const axis_taps *taps, const uint32_t *which) {
  tsr_lower *l = s->l;
  tsr_value index = 0, weight = 0, inside = 0;
  for (uint32_t i = 0; i < s->spatial; i++) {
    const axis_taps *t = &taps[i];
    uint32_t k = which[i];
    tsr_value at = v_cast(l, t->at[k], TSR_I64), extent = v_cast(l, s->extents[i], TSR_I64);
    index = index ? v_add(l, v_mul(l, index, extent), at) : at;
    if (t->weight[k])
      weight = weight ? v_mul(l, weight, t->weight[k]) : t->weight[k];
    if (t->inside[k])
      inside = inside ? v_and(l, inside, t->inside[k]) : t->inside[k];
  }
  tsr_expr dims[3] = {v_dim(l, s->image, 0), v_dim(l, s->image, 1), v_dim(l, index, 1)};
  tsr_value all = tsr_graph_broadcast(l->b, v_unsqueeze(l, index, 1), dims, 3);
  tsr_value y = tsr_graph_gather_elements(l->b, s->image, all, 2);
  if (inside)
    y = v_select(l, v_unsqueeze(l, inside, 1), y, v_number(l, y, 0));
  return weight ? v_mul(l, y, v_unsqueeze(l, weight, 1)) : y;
}

static tsr_value sum_taps(const sampler *s, const axis_taps *taps) {
  uint32_t which[MAX_SPATIAL] = {0}, total = 1;
  tsr_value sum = 0;
  for (uint32_t i = 0; i < s->spatial; i++)
    total *= s->taps;
  for (uint32_t n = 0; n < total; n++) {
    uint32_t rest = n;
    for (uint32_t i = 0; i < s->spatial; i++, rest /= s->taps)
      which[i] = rest % s->taps;
    tsr_value part = sample(s, taps, which);
    sum = sum ? v_add(s->l, sum, part) : part;
  }
  return sum;
}

static tsr_status read_sampler(tsr_lower *l, tsr_value x, tsr_dtype dtype, sampler *s) {
  const char *mode = tsr_lower_text(l, "mode", "bilinear");
  const char *pad = tsr_lower_text(l, "padding_mode", "zeros");
  memset(s, 0, sizeof *s);
  s->l = l;
  s->spatial = v_rank(l, x) - 2;
  s->align = tsr_lower_int(l, "align_corners", 0) != 0;
  s->taps = strcmp(mode, "nearest") == 0                                 ? 1
            : strcmp(mode, "bicubic") == 0 || strcmp(mode, "cubic") == 0 ? 4
                                                                         : 2;
  s->pad = strcmp(pad, "border") == 0 ? BORDER : strcmp(pad, "zeros") == 0 ? ZEROS : REFLECTION;
  if (s->taps == 2 && strcmp(mode, "bilinear") != 0 && strcmp(mode, "linear") != 0)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "mode '%s'", mode);
  if (s->pad == REFLECTION && strcmp(pad, "reflection") != 0)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "padding_mode '%s'", pad);
  if (s->taps == 4 && s->spatial > 2)
    return tsr_lower_unsupported(l, "mode '%s' over %u axes", mode, s->spatial);
  tsr_expr dims[3] = {v_dim(l, x, 0), v_dim(l, x, 1), e_int(l, 1)};
  for (uint32_t i = 0; i < s->spatial; i++) {
    int64_t axis = i + 2;
    dims[2] = e_mul(l, dims[2], v_dim(l, x, i + 2));
    s->extents[i] = v_extent(l, x, &axis, 1, dtype);
  }
  s->image = v_reshape(l, x, dims, 3);
  return TSR_OK;
}

tsr_status tsr_lower_op_grid_sample(tsr_lower *l) {
  sampler s;
  axis_taps taps[MAX_SPATIAL];
  tsr_expr dims[MAX_SPATIAL + 2], points[2];
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = tsr_lower_value(l, 0), grid = v_widen(l, tsr_lower_value(l, 1));
  tsr_value wide = v_is_float(l, x) ? v_widen(l, x) : v_cast(l, x, TSR_F32);
  uint32_t rank = v_rank(l, x);
  int64_t parts = 0;
  if (rank < 3 || rank > MAX_SPATIAL + 2 || v_rank(l, grid) != rank ||
      !v_static_dim(l, grid, rank - 1, &parts) || parts != (int64_t)rank - 2)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "an input of rank %u and a grid of rank %u", rank,
                           v_rank(l, grid));
  TSR_TRY(read_sampler(l, wide, v_dtype(l, grid), &s));
  memset(taps, 0, sizeof taps);
  points[0] = v_dim(l, grid, 0);
  points[1] = e_int(l, 1);
  dims[0] = points[0];
  dims[1] = v_dim(l, x, 1);
  for (uint32_t i = 0; i < s.spatial; i++) {
    dims[i + 2] = v_dim(l, grid, i + 1);
    points[1] = e_mul(l, points[1], dims[i + 2]);
  }
  for (uint32_t i = 0; i < s.spatial; i++) {
    tsr_expr part = e_int(l, s.spatial - 1 - i);
    tsr_value g = v_slice_axis(l, grid, rank - 1, part, e_int(l, 1));
    make_taps(&s, grid_coordinate(&s, v_reshape(l, g, points, 2), i), i, &taps[i]);
  }
  for (uint32_t i = 0; i < s.spatial; i++)
    for (uint32_t k = 0; k < s.taps; k++)
      if (taps[i].weight[k])
        taps[i].weight[k] = v_cast(l, taps[i].weight[k], v_dtype(l, wide));
  tsr_value y = v_reshape(l, sum_taps(&s, taps), dims, rank);
  tsr_lower_set(l, 0, v_cast(l, y, v_dtype(l, x)));
  return TSR_OK;
}

/* --- DeformConv --- */

enum { IN_WEIGHTS = 1, IN_OFFSET, IN_BIAS, IN_MASK };

typedef struct deform {
  tsr_lower *l;
  tsr_window window;
  int64_t groups, offset_groups, taps, channels; /* of the input */
  tsr_expr images, rows, columns;                /* batch * offset groups; of the result */
} deform;

/* Where the kernel's taps stand along one axis without offsets, [1, taps, rows, columns]. */
static tsr_value regular_places(const deform *d, uint32_t axis, tsr_dtype dtype) {
  tsr_lower *l = d->l;
  const tsr_window *w = &d->window;
  tsr_expr dims[4] = {e_int(l, 1), e_int(l, 1), d->rows, d->columns};
  double *steps = tsr_lower_alloc(l, (uint64_t)d->taps, sizeof *steps);
  if (!steps)
    return 0;
  for (int64_t k = 0; k < d->taps; k++) {
    int64_t tap = axis == 0 ? k / w->kernel[1] : k % w->kernel[1];
    steps[k] = (double)(tap * w->dilations[axis]);
  }
  dims[3 - axis] = e_int(l, 1);
  tsr_value at = tsr_graph_iota(l->b, TSR_I64, dims, 4, 2 + axis);
  at = v_mul_number(l, at, (double)w->strides[axis]);
  at = v_sub(l, at, tsr_graph_index(l->b, TSR_I64, w->low[axis]));
  tsr_value taps = v_vector_float(l, dtype, steps, (uint32_t)d->taps);
  return v_add(l, v_cast(l, at, dtype), v_along(l, taps, 1, 4));
}

/* The input at all displaced taps: [images, channels / offset groups, taps * rows * columns]. */
static tsr_value displaced_taps(const deform *d, tsr_value x) {
  tsr_lower *l = d->l;
  sampler s = {.l = l, .spatial = 2, .taps = 2, .pad = ZEROS};
  axis_taps taps[MAX_SPATIAL];
  tsr_value offset = v_cast(l, tsr_lower_value(l, IN_OFFSET), v_dtype(l, x));
  tsr_expr split[5] = {d->images, e_int(l, d->taps), e_int(l, 2), d->rows, d->columns};
  tsr_expr place[4] = {d->images, split[1], d->rows, d->columns};
  tsr_expr points[2] = {d->images, e_mul(l, split[1], e_mul(l, d->rows, d->columns))};
  tsr_expr image[3] = {d->images, e_int(l, d->channels / d->offset_groups),
                       e_mul(l, v_dim(l, x, 2), v_dim(l, x, 3))};
  memset(taps, 0, sizeof taps);
  offset = v_reshape(l, offset, split, 5);
  for (uint32_t i = 0; i < 2; i++) {
    int64_t axis = i + 2;
    s.extents[i] = v_extent(l, x, &axis, 1, v_dtype(l, x));
    tsr_value moved = v_slice_axis(l, offset, 2, e_int(l, i), e_int(l, 1));
    moved = v_add(l, v_reshape(l, moved, place, 4), regular_places(d, i, v_dtype(l, x)));
    make_taps(&s, v_reshape(l, moved, points, 2), i, &taps[i]);
  }
  s.image = v_reshape(l, x, image, 3);
  return sum_taps(&s, taps);
}

static tsr_status read_deform(tsr_lower *l, deform *d) {
  TSR_TRY(tsr_lower_need(l, 3));
  memset(d, 0, sizeof *d);
  d->l = l;
  tsr_value x = tsr_lower_value(l, 0), weights = tsr_lower_value(l, IN_WEIGHTS);
  const tsr_imported *offset = l->in[IN_OFFSET];
  int64_t wanted, given = 0, per_group = 0, out = 0;
  if (v_rank(l, x) != 4 || v_rank(l, weights) != 4)
    return tsr_lower_unsupported(l, "an input of rank %u; images of two axes are", v_rank(l, x));
  TSR_TRY(tsr_window_read(l, x, weights, &d->window));
  d->groups = tsr_lower_int(l, "group", 1);
  d->offset_groups = tsr_lower_int(l, "offset_group", 1);
  d->taps = d->window.kernel[0] * d->window.kernel[1];
  if (!v_static_dim(l, x, 1, &d->channels) || !v_static_dim(l, weights, 0, &out) ||
      !v_static_dim(l, weights, 1, &per_group))
    return tsr_lower_unsupported(l, "a symbolic number of channels");
  wanted = 2 * d->offset_groups * d->taps;
  if (d->groups < 1 || d->offset_groups < 1 || d->channels != per_group * d->groups ||
      d->channels % d->offset_groups != 0 || out % d->groups != 0)
    return tsr_lower_wrong(
        l, TSR_ERR_SHAPE, "%lld channels in %lld groups and %lld groups of offsets",
        (long long)d->channels, (long long)d->groups, (long long)d->offset_groups);
  if (offset->rank != 4 || !tsr_expr_is_int(l->ir, offset->dims[1], &given) || given != wanted)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "offsets of %lld channels, not %lld", (long long)given,
                           (long long)wanted);
  d->images = tsr_expr_mul_int(l->ir, v_dim(l, x, 0), d->offset_groups);
  d->rows = offset->dims[2];
  d->columns = offset->dims[3];
  return TSR_OK;
}

/* A product of the weights with the values at the displaced taps. */
tsr_status tsr_lower_op_deform_conv(tsr_lower *l) {
  deform d;
  TSR_TRY(read_deform(l, &d));
  tsr_value x = tsr_lower_value(l, 0), weights = tsr_lower_value(l, IN_WEIGHTS);
  tsr_value wide = v_widen(l, x), taken = displaced_taps(&d, wide);
  tsr_expr points = e_mul(l, d.rows, d.columns), groups = e_int(l, d.groups);
  if (tsr_lower_has(l, IN_MASK)) {
    tsr_value mask = v_cast(l, tsr_lower_value(l, IN_MASK), v_dtype(l, wide));
    tsr_expr dims[3] = {d.images, e_int(l, 1), e_mul(l, e_int(l, d.taps), points)};
    taken = v_mul(l, taken, v_reshape(l, mask, dims, 3));
  }
  tsr_expr inner = e_int(l, d.channels / d.groups * d.taps);
  tsr_expr split[4] = {v_dim(l, x, 0), groups, inner, points};
  tsr_expr rows[3] = {groups, tsr_expr_floordiv_int(l->ir, v_dim(l, weights, 0), d.groups), inner};
  tsr_expr dims[4] = {split[0], v_dim(l, weights, 0), d.rows, d.columns};
  tsr_value y = tsr_graph_einsum(l->b, "goi,ngip->ngop",
                                 v_cast(l, v_reshape(l, weights, rows, 3), v_dtype(l, wide)),
                                 v_reshape(l, taken, split, 4));
  y = v_reshape(l, y, dims, 4);
  if (tsr_lower_has(l, IN_BIAS)) {
    tsr_value bias = v_cast(l, tsr_lower_value(l, IN_BIAS), v_dtype(l, y));
    y = v_add(l, y, v_along(l, bias, 1, 4));
  }
  tsr_lower_set(l, 0, v_cast(l, y, v_dtype(l, x)));
  return TSR_OK;
}

/* --- AffineGrid --- */

/* Coordinates in [-1, 1] along spatial axis `axis` of `spatial`, over [1, spatial..., 1]. */
static tsr_value base_coordinates(tsr_lower *l, tsr_dtype dtype, tsr_expr extent, uint32_t axis,
                                  uint32_t spatial, bool align) {
  tsr_expr dims[MAX_SPATIAL + 2];
  for (uint32_t i = 0; i < spatial + 2; i++)
    dims[i] = i == axis + 1 ? extent : e_int(l, 1);
  tsr_value at = v_cast(l, tsr_graph_iota(l->b, TSR_I64, dims, spatial + 2, axis + 1), dtype);
  tsr_value size = v_cast(l, tsr_graph_index(l->b, TSR_I64, extent), dtype);
  tsr_value twice = v_mul_number(l, at, 2);
  if (align) { /* one element alone stands at -1 */
    tsr_value steps = v_max(l, v_add_number(l, size, -1), v_number(l, size, 1));
    return v_add_number(l, v_div(l, twice, steps), -1);
  }
  return v_add_number(l, v_div(l, v_add_number(l, twice, 1), size), -1);
}

tsr_status tsr_lower_op_affine_grid(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value theta = v_widen(l, tsr_lower_value(l, 0)), y = 0;
  const tsr_content *size = tsr_lower_content(l, 1);
  int64_t rows = 0, columns = 0;
  bool align = tsr_lower_int(l, "align_corners", 0) != 0;
  if (!size || !size->exprs)
    return tsr_lower_unknown(l, 1, "size");
  uint32_t spatial = size->count == 4 ? 2 : 3;
  for (uint32_t i = 1; i < 3; i++) /* [N, spatial, spatial + 1] */
    theta = tsr_graph_agree_dim(l->b, theta, i, e_int(l, spatial + i - 1));
  if ((size->count != 4 && size->count != 5) || v_rank(l, theta) != 3 ||
      !v_static_dim(l, theta, 1, &rows) || !v_static_dim(l, theta, 2, &columns) ||
      rows != spatial || columns != spatial + 1)
    return tsr_lower_wrong(
        l, TSR_ERR_SHAPE, "a size of %llu dims, theta of rank %u with %lld x %lld numbers",
        (unsigned long long)size->count, v_rank(l, theta), (long long)rows, (long long)columns);
  tsr_expr dims[MAX_SPATIAL + 2];
  dims[0] = v_dim(l, theta, 0);
  for (uint32_t i = 0; i < spatial; i++)
    dims[i + 1] = e_int(l, 1);
  dims[spatial + 1] = e_int(l, spatial);
  for (uint32_t k = 0; k <= spatial; k++) { /* x is the last axis and theta's first column */
    tsr_value part = v_slice_axis(l, theta, 2, e_int(l, k), e_int(l, 1));
    part = v_reshape(l, part, dims, spatial + 2);
    if (k < spatial) {
      uint32_t axis = spatial - 1 - k;
      part = v_mul(
          l, part,
          base_coordinates(l, v_dtype(l, theta), size->exprs[axis + 2], axis, spatial, align));
    }
    y = y ? v_add(l, y, part) : part;
  }
  tsr_lower_set(l, 0, v_cast(l, y, l->in[0]->dtype));
  return TSR_OK;
}

/* --- RoiAlign --- */

typedef struct roi_axis {
  tsr_value low, high; /* neighbouring positions, [rois, points], of the type that is computed in */
  tsr_value weight;    /* of `high` */
  tsr_value inside;    /* bool */
  tsr_value real;      /* bool: one of the region's samples; 0: all are */
  tsr_value count;     /* of the region's samples in a cell, [rois, 1]; 0: the same for all */
} roi_axis;

/* Samples per cell along an axis: so many for all regions (`fixed`, > 0), or as many as a region
 * has pixels per cell, of which `most` is the greatest number. */
typedef struct roi_samples {
  int64_t fixed;
  tsr_expr most;
} roi_samples;

static tsr_value roi_column(tsr_lower *l, tsr_value rois, int64_t at) {
  return v_slice_axis(l, rois, 1, e_int(l, at), e_int(l, 1));
}

/* Where the regions begin along one axis (`number` 0: y, 1: x), and their lengths, [rois, 1].
 */
static tsr_value roi_length(tsr_lower *l, tsr_value rois, int64_t number, bool half_pixel,
                            tsr_value *out_start) {
  double scale = (double)tsr_lower_float(l, "spatial_scale", 1), offset = half_pixel ? 0.5 : 0;
  tsr_value start = roi_column(l, rois, 1 - number), end = roi_column(l, rois, 3 - number);
  start = v_add_number(l, v_mul_number(l, start, scale), -offset);
  end = v_add_number(l, v_mul_number(l, end, scale), -offset);
  tsr_value length = v_sub(l, end, start);
  *out_start = start;
  return half_pixel ? length : v_max(l, length, v_number(l, length, 1));
}

/* Pixels per cell, rounded up: samples of each region. */
static tsr_value roi_counts(tsr_lower *l, tsr_value rois, int64_t number, int64_t cells,
                            bool half_pixel) {
  tsr_value start, length = roi_length(l, rois, number, half_pixel, &start);
  /* Divided, so that whole numbers stay whole. */
  tsr_value count = v_unary(l, TSR_OP_CEIL, v_div(l, length, v_number(l, length, (double)cells)));
  return v_max(l, count, v_number(l, count, 0));
}

/* Sample coordinates along one axis: `cells` cells between the region's ends with their samples. */
static roi_axis place_samples(tsr_lower *l, tsr_value rois, int64_t number, int64_t cells,
                              roi_samples samples, tsr_value extent, bool half_pixel) {
  roi_axis a = {0};
  tsr_value start, length = roi_length(l, rois, number, half_pixel, &start), at;
  tsr_expr grid[3] = {e_int(l, 1), e_int(l, cells), samples.most};
  tsr_expr dims[2] = {e_int(l, 1), e_mul(l, grid[1], samples.most)};
  if (samples.fixed > 0) {
    at = tsr_graph_iota(l->b, v_dtype(l, rois), dims, 2, 1);
    at = v_mul_number(l, v_add_number(l, at, 0.5), 1.0 / (double)(cells * samples.fixed));
  } else {
    tsr_value cell = tsr_graph_iota(l->b, v_dtype(l, rois), grid, 3, 1);
    tsr_value sample = tsr_graph_iota(l->b, v_dtype(l, rois), grid, 3, 2);
    cell = v_reshape(l, cell, dims, 2);
    sample = v_reshape(l, sample, dims, 2);
    a.count = roi_counts(l, rois, number, cells, half_pixel);
    a.real = v_lt(l, sample, a.count);
    tsr_value share = v_max(l, a.count, v_number(l, a.count, 1));
    at = v_add(l, v_div(l, v_add_number(l, sample, 0.5), share), cell);
    at = v_mul_number(l, at, 1 / (double)cells);
  }
  at = v_add(l, start, v_mul(l, length, at));
  a.inside = v_and(l, v_ge(l, at, v_number(l, at, -1)), v_le(l, at, extent));
  tsr_value last = v_add_number(l, extent, -1);
  at = v_min(l, v_max(l, at, v_number(l, at, 0)), last);
  a.low = v_floor(l, at);
  a.high = v_min(l, v_add_number(l, a.low, 1), last);
  a.weight = v_sub(l, at, a.low);
  return a;
}

/* Values at rows x columns of positions, [rois, C, rows, columns], from [rois, C, H * W]. */
static tsr_value roi_corner(tsr_lower *l, tsr_value image, tsr_value width, tsr_value rows,
                            tsr_value columns) {
  tsr_value y = v_mul(l, v_unsqueeze(l, rows, 2), width);
  tsr_value index = v_cast(l, v_add(l, y, v_unsqueeze(l, columns, 1)), TSR_I64);
  tsr_expr points = e_mul(l, v_dim(l, index, 1), v_dim(l, index, 2));
  tsr_expr flat[3] = {v_dim(l, index, 0), e_int(l, 1), points};
  tsr_expr all[3] = {flat[0], v_dim(l, image, 1), points};
  tsr_expr dims[4] = {flat[0], all[1], v_dim(l, index, 1), v_dim(l, index, 2)};
  index = tsr_graph_broadcast(l->b, v_reshape(l, index, flat, 3), all, 3);
  return v_reshape(l, tsr_graph_gather_elements(l->b, image, index, 2), dims, 4);
}

/* [rois, points] as a column (rows of the image) or a row over [rois, C, rows, columns]. */
static tsr_value roi_spread(tsr_lower *l, tsr_value x, bool is_row) {
  return v_unsqueeze(l, v_unsqueeze(l, x, 1), is_row ? 3 : 2);
}

/* The greatest of the four neighbours times their weights. */
static tsr_value greatest_corner(tsr_lower *l, tsr_value image, tsr_value width, const roi_axis *y,
                                 const roi_axis *x) {
  tsr_value best = 0;
  for (uint32_t i = 0; i < 4; i++) {
    bool low = i < 2, left = i % 2 == 0;
    tsr_value value = roi_corner(l, image, width, low ? y->low : y->high, left ? x->low : x->high);
    tsr_value down = roi_spread(l, y->weight, true), right = roi_spread(l, x->weight, false);
    down = low ? v_sub(l, v_number(l, down, 1), down) : down;
    right = left ? v_sub(l, v_number(l, right, 1), right) : right;
    value = v_mul(l, value, v_mul(l, down, right));
    best = best ? v_max(l, best, value) : value;
  }
  return best;
}

static tsr_value mix(tsr_lower *l, tsr_value low, tsr_value high, tsr_value weight) {
  return v_add(l, low, v_mul(l, v_sub(l, high, low), weight));
}

static tsr_value interpolated(tsr_lower *l, tsr_value image, tsr_value width, const roi_axis *y,
                              const roi_axis *x) {
  tsr_value right = roi_spread(l, x->weight, false);
  tsr_value top = mix(l, roi_corner(l, image, width, y->low, x->low),
                      roi_corner(l, image, width, y->low, x->high), right);
  tsr_value bottom = mix(l, roi_corner(l, image, width, y->high, x->low),
                         roi_corner(l, image, width, y->high, x->high), right);
  return mix(l, top, bottom, roi_spread(l, y->weight, true));
}

/* The greatest number of samples of any region along an axis, read by the host. */
static roi_samples roi_most(tsr_lower *l, tsr_value rois, int64_t number, int64_t cells,
                            int64_t fixed, bool half_pixel) {
  roi_samples s = {fixed, e_int(l, fixed)};
  static const int64_t both[2] = {0, 1};
  if (fixed > 0)
    return s;
  tsr_value counts = roi_counts(l, rois, number, cells, half_pixel);
  tsr_value most = tsr_graph_reduce(l->b, counts, "max", both, 2);
  most = v_max(l, most, v_number(l, most, 0)); /* without regions */
  s.most = tsr_size_read(l, v_cast(l, most, TSR_I64), 0, number == 0 ? "rows" : "columns",
                         UINT32_MAX, 0);
  return s;
}

/* Of sums over as many samples as each region has, the mean; a region without any gives 0. */
static tsr_value share_of_samples(tsr_lower *l, tsr_value value, const roi_axis *y,
                                  const roi_axis *x, bool greatest) {
  tsr_value count = v_unsqueeze(l, v_unsqueeze(l, v_mul(l, y->count, x->count), 2), 3);
  if (!greatest)
    return v_div(l, value, v_max(l, count, v_number(l, count, 1)));
  return v_select(l, v_gt(l, count, v_number(l, count, 0)), value, v_number(l, value, 0));
}

tsr_status tsr_lower_op_roi_align(tsr_lower *l) {
  static const int64_t sample_axes[2] = {3, 5};
  int64_t rows = tsr_lower_int(l, "output_height", 1),
          columns = tsr_lower_int(l, "output_width", 1);
  int64_t samples = tsr_lower_int(l, "sampling_ratio", 0), axis;
  TSR_TRY(tsr_lower_need(l, 3));
  tsr_value x = tsr_lower_value(l, 0);
  if (v_rank(l, x) != 4 || l->in[1]->rank != 2 || rows < 1 || columns < 1 || rows > 4096 ||
      columns > 4096)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "an input of rank %u, regions of rank %u",
                           v_rank(l, x), l->in[1]->rank);
  bool greatest = tsr_lower_text_is(l, "mode", "avg", "max");
  if (!greatest && !tsr_lower_text_is(l, "mode", "avg", "avg"))
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "mode '%s'", tsr_lower_text(l, "mode", "avg"));
  if (samples < 0 || samples > 64)
    return tsr_lower_unsupported(l, "a sampling_ratio of %lld; 0 to 64 are", (long long)samples);
  const char *usual = l->opset < 16 ? "output_half_pixel" : "half_pixel";
  bool half = tsr_lower_text_is(l, "coordinate_transformation_mode", usual, "half_pixel");
  tsr_value wide = v_widen(l, x), rois = v_cast(l, tsr_lower_value(l, 1), v_dtype(l, wide));
  axis = 2;
  tsr_value height = v_extent(l, x, &axis, 1, v_dtype(l, wide));
  axis = 3;
  tsr_value width = v_extent(l, x, &axis, 1, v_dtype(l, wide));
  roi_samples down = roi_most(l, rois, 0, rows, samples, half);
  roi_samples across = roi_most(l, rois, 1, columns, samples, half);
  roi_axis y = place_samples(l, rois, 0, rows, down, height, half);
  roi_axis z = place_samples(l, rois, 1, columns, across, width, half);
  tsr_value image = tsr_graph_gather(l->b, wide, tsr_lower_value(l, 2), 0);
  tsr_expr flat[3] = {v_dim(l, image, 0), v_dim(l, image, 1),
                      e_mul(l, v_dim(l, x, 2), v_dim(l, x, 3))};
  image = v_reshape(l, image, flat, 3);
  tsr_value value =
      greatest ? greatest_corner(l, image, width, &y, &z) : interpolated(l, image, width, &y, &z);
  tsr_value inside = v_and(l, roi_spread(l, y.inside, true), roi_spread(l, z.inside, false));
  value = v_select(l, inside, value, v_number(l, value, 0));
  if (y.real) {
    tsr_value real = v_and(l, roi_spread(l, y.real, true), roi_spread(l, z.real, false));
    value = v_select(l, real, value, v_number(l, value, greatest ? (double)-INFINITY : 0));
  }
  tsr_expr cells[6] = {flat[0], flat[1], e_int(l, rows), down.most, e_int(l, columns), across.most};
  tsr_expr dims[4] = {flat[0], flat[1], cells[2], cells[4]};
  value = v_reshape(l, value, cells, 6);
  if (greatest)
    value = v_reduce_keep(l, value, "max", sample_axes, 2);
  else if (samples > 0)
    value = v_mean_keep(l, value, sample_axes, 2);
  else
    value = v_reduce_keep(l, value, "add", sample_axes, 2);
  value = v_reshape(l, value, dims, 4);
  if (samples == 0)
    value = share_of_samples(l, value, &y, &z, greatest);
  tsr_lower_set(l, 0, v_cast(l, value, v_dtype(l, x)));
  return TSR_OK;
}
