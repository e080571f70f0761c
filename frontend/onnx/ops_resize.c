/* Resize and Upsample: along each axis a sum of a few gathers with constant weights, computed here
 * from ONNX's formulas in float64; whole-number nearest scaling is a broadcast. Where an extent is
 * symbolic the same formulas become ops on positions. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"
#include "frontend/onnx/sizes.h"
#include <math.h>
#include <string.h>

enum { MAX_TAPS = 32, MAX_EXTENT = 1 << 17 };

typedef enum interpolation { NEAREST, LINEAR, CUBIC } interpolation;

typedef struct resize {
  interpolation mode;
  const char *transform; /* coordinate_transformation_mode */
  const char *rounding;  /* nearest_mode; NULL: that of old opsets, floor, and ceil where the scale
                            is below 1 */
  double cubic_a, extrapolation;
  bool exclude_outside, antialias, crop;
  double scales[TSR_MAX_RANK];    /* 0: sizes / extent, not known */
  tsr_value factor[TSR_MAX_RANK]; /* f64, of a scale that is data; 0: it is not */
  tsr_expr sizes[TSR_MAX_RANK];
  bool given[TSR_MAX_RANK]; /* the axis takes part */
  double roi_start[TSR_MAX_RANK], roi_end[TSR_MAX_RANK];
} resize;

/* The source coordinate of output position i. ONNX's formulas take the output's width before it is
 * rounded down: `wide`. */
static double source_of(const resize *r, uint32_t axis, int64_t i, int64_t in, int64_t out) {
  double x = (double)i, scale = r->scales[axis], wide = scale * (double)in;
  if (strcmp(r->transform, "asymmetric") == 0)
    return x / scale;
  if (strcmp(r->transform, "align_corners") == 0)
    return wide == 1 || out == 1 ? 0 : x * (double)(in - 1) / (wide - 1);
  if (strcmp(r->transform, "tf_half_pixel_for_nn") == 0)
    return (x + 0.5) / scale;
  if (strcmp(r->transform, "pytorch_half_pixel") == 0)
    return out > 1 ? (x + 0.5) / scale - 0.5 : 0;
  if (r->crop) {
    double start = r->roi_start[axis], end = r->roi_end[axis];
    if (out == 1)
      return 0.5 * (start + end) * (double)(in - 1);
    return start * (double)(in - 1) + x * (end - start) * (double)(in - 1) / ((double)out - 1);
  }
  if (strcmp(r->transform, "half_pixel_symmetric") == 0) {
    double adjustment = (double)out / wide;
    double offset = (double)in / 2 * (1 - adjustment);
    return offset + (x + 0.5) / scale - 0.5;
  }
  return (x + 0.5) / scale - 0.5;
}

static double round_to(const resize *r, uint32_t axis, double x) {
  const char *how = r->rounding ? r->rounding : r->scales[axis] < 1 ? "ceil" : "floor";
  if (strcmp(how, "floor") == 0)
    return floor(x);
  if (strcmp(how, "ceil") == 0)
    return ceil(x);
  if (strcmp(how, "round_prefer_ceil") == 0)
    return floor(x + 0.5);
  return ceil(x - 0.5);
}

static double cubic_weight(double a, double t) {
  t = fabs(t);
  if (t <= 1)
    return ((a + 2) * t - (a + 3)) * t * t + 1;
  return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
}

/* Taps of one output position: source positions (perhaps outside) and weights. */
typedef struct taps {
  uint32_t count;
  int64_t at[MAX_TAPS];
  double weight[MAX_TAPS];
} taps;

static bool make_taps(const resize *r, uint32_t axis, double x, taps *out) {
  double stretch = r->antialias && r->scales[axis] < 1 ? 1 / r->scales[axis] : 1;
  double reach = (r->mode == CUBIC ? 2 : 1) * stretch, sum = 0;
  out->count = 0;
  if (r->mode == NEAREST) {
    out->count = 1;
    out->at[0] = (int64_t)round_to(r, axis, x);
    out->weight[0] = 1;
    return true;
  }
  for (double p = floor(x - reach) + 1; p <= floor(x) + ceil(reach); p++) {
    double t = (p - x) / stretch;
    double weight = r->mode == CUBIC ? cubic_weight(r->cubic_a, t) : fabs(t) < 1 ? 1 - fabs(t) : 0;
    if (stretch == 1 && r->mode == LINEAR && p > floor(x) + 1)
      break;
    if (out->count == MAX_TAPS)
      return false;
    out->at[out->count] = (int64_t)p;
    out->weight[out->count++] = weight;
    sum += weight;
  }
  for (uint32_t i = 0; i < out->count && stretch != 1; i++)
    out->weight[i] /= sum;
  return true;
}

static void keep_inside(const resize *r, int64_t in, taps *t) {
  double sum = 0;
  for (uint32_t i = 0; i < t->count; i++) {
    bool outside = t->at[i] < 0 || t->at[i] >= in;
    if (outside && r->exclude_outside)
      t->weight[i] = 0;
    if (outside)
      t->at[i] = t->at[i] < 0 ? 0 : in - 1;
    sum += t->weight[i];
  }
  for (uint32_t i = 0; i < t->count && r->exclude_outside && sum != 0; i++)
    t->weight[i] /= sum;
}

typedef struct axis_plan {
  uint32_t taps;
  int64_t *at[MAX_TAPS]; /* per tap: a source position for every output position */
  double *weight[MAX_TAPS];
  double *beyond; /* 1 where the extrapolation value stands; NULL: nowhere */
} axis_plan;

static bool allocate_plan(tsr_lower *l, axis_plan *plan, uint32_t count, int64_t out) {
  for (; plan->taps < count; plan->taps++) {
    plan->at[plan->taps] = tsr_lower_alloc(l, (uint64_t)out, sizeof(int64_t));
    plan->weight[plan->taps] = tsr_lower_alloc(l, (uint64_t)out, sizeof(double));
    if (!plan->at[plan->taps] || !plan->weight[plan->taps])
      return false;
  }
  return true;
}

static tsr_status plan_axis(tsr_lower *l, const resize *r, uint32_t axis, int64_t in, int64_t out,
                            axis_plan *plan) {
  memset(plan, 0, sizeof *plan);
  if (r->crop)
    plan->beyond = tsr_lower_alloc(l, (uint64_t)out, sizeof(double));
  for (int64_t i = 0; i < out; i++) {
    taps t;
    double x = source_of(r, axis, i, in, out);
    if (!(fabs(x) < 1e9) || !make_taps(r, axis, x, &t))
      return tsr_lower_unsupported(l, "a scale of %g along axis %u", r->scales[axis], axis);
    keep_inside(r, in, &t);
    if (!allocate_plan(l, plan, t.count, out))
      return TSR_ERR_OUT_OF_MEMORY;
    for (uint32_t k = 0; k < t.count; k++) {
      plan->at[k][i] = t.at[k];
      plan->weight[k][i] = t.weight[k];
    }
    if (plan->beyond)
      plan->beyond[i] = x < 0 || x > (double)(in - 1);
  }
  return TSR_OK;
}

/* Nearest with every source position repeated `factor` times. */
static bool is_repeat(const axis_plan *plan, int64_t in, int64_t out) {
  if (plan->taps != 1 || plan->beyond || in == 0 || out % in != 0)
    return false;
  for (int64_t i = 0; i < out; i++)
    if (plan->at[0][i] != i / (out / in))
      return false;
  return true;
}

static tsr_value repeat(tsr_lower *l, tsr_value x, uint32_t axis, int64_t factor) {
  tsr_expr dims[TSR_MAX_RANK + 1], merged[TSR_MAX_RANK];
  uint32_t rank = v_rank(l, x);
  for (uint32_t i = 0; i <= rank; i++)
    dims[i] = i == axis + 1 ? e_int(l, factor) : v_dim(l, x, i <= axis ? i : i - 1);
  for (uint32_t i = 0; i < rank; i++)
    merged[i] = i == axis ? tsr_expr_mul_int(l->ir, v_dim(l, x, i), factor) : v_dim(l, x, i);
  tsr_value y = tsr_graph_broadcast(l->b, v_unsqueeze(l, x, axis + 1), dims, rank + 1);
  return v_reshape(l, y, merged, rank);
}

static tsr_value apply_plan(tsr_lower *l, const resize *r, tsr_value x, uint32_t axis, int64_t out,
                            const axis_plan *plan) {
  tsr_value sum = 0;
  uint32_t rank = v_rank(l, x);
  for (uint32_t k = 0; k < plan->taps; k++) {
    tsr_value at = v_vector_i64(l, plan->at[k], (uint32_t)out);
    tsr_value part = tsr_graph_gather(l->b, x, at, axis);
    if (r->mode != NEAREST) {
      tsr_value weight = v_vector_float(l, v_dtype(l, x), plan->weight[k], (uint32_t)out);
      part = v_mul(l, part, v_along(l, weight, axis, rank));
    }
    sum = sum ? v_add(l, sum, part) : part;
  }
  if (plan->beyond) {
    tsr_value outside = v_vector_float(l, TSR_F32, plan->beyond, (uint32_t)out);
    outside = v_along(l, v_cast(l, outside, TSR_BOOL), axis, rank);
    sum = v_select(l, outside, v_number(l, x, r->extrapolation), sum);
  }
  return sum;
}

/* Whole-number scales that repeat whatever the extent is: asymmetric with floor, and half_pixel
 * with rounding to nearest. */
static bool repeats_always(const resize *r, uint32_t axis) {
  double scale = r->scales[axis];
  bool half = strcmp(r->transform, "half_pixel") == 0 && r->rounding && r->rounding[0] == 'r';
  bool plain = strcmp(r->transform, "asymmetric") == 0 &&
               (!r->rounding || strcmp(r->rounding, "floor") == 0);
  return r->mode == NEAREST && scale >= 1 && scale == floor(scale) && scale < 65536 &&
         (half || plain);
}

/* --- symbolic extents --- */

static tsr_value as_f64(tsr_lower *l, tsr_expr e) {
  return v_cast(l, tsr_graph_index(l->b, TSR_I64, e), TSR_F64);
}

static tsr_value symbolic_scale(tsr_lower *l, const resize *r, uint32_t axis, tsr_expr in,
                                tsr_expr out) {
  return r->factor[axis]       ? r->factor[axis]
         : r->scales[axis] > 0 ? tsr_graph_scalar(l->b, TSR_F64, r->scales[axis])
                               : v_div(l, as_f64(l, out), as_f64(l, in));
}

/* source_of for all output positions at once, f64[out]; 0 for a transformation without a form. */
static tsr_value symbolic_source(tsr_lower *l, const resize *r, uint32_t axis, tsr_expr in,
                                 tsr_expr out, tsr_value scale) {
  tsr_value at = v_cast(l, tsr_graph_iota(l->b, TSR_I64, &out, 1, 0), TSR_F64);
  tsr_value half = v_div(l, v_add_number(l, at, 0.5), scale);
  if (strcmp(r->transform, "asymmetric") == 0)
    return v_div(l, at, scale);
  if (strcmp(r->transform, "tf_half_pixel_for_nn") == 0)
    return half;
  half = v_add_number(l, half, -0.5);
  if (strcmp(r->transform, "half_pixel") == 0)
    return half;
  if (strcmp(r->transform, "half_pixel_symmetric") == 0) {
    tsr_value over = v_sub(l, as_f64(l, in), v_div(l, as_f64(l, out), scale));
    return v_add(l, half, v_mul_number(l, over, 0.5));
  }
  tsr_value last = v_add_number(l, as_f64(l, out), -1);
  if (strcmp(r->transform, "pytorch_half_pixel") == 0)
    return v_select(l, v_gt(l, last, v_number(l, last, 0)), half, v_number(l, half, 0));
  if (strcmp(r->transform, "align_corners") != 0)
    return 0;
  if (r->factor[axis])
    last = v_add_number(l, v_mul(l, as_f64(l, in), scale), -1);
  tsr_value span = v_add_number(l, as_f64(l, in), -1);
  return v_div(l, v_mul(l, at, span), v_max(l, last, v_number(l, last, 1)));
}

static tsr_value symbolic_round(tsr_lower *l, const resize *r, tsr_value x, tsr_value scale) {
  if (!r->rounding)
    return v_select(l, v_lt(l, scale, v_number(l, scale, 1)), v_unary(l, TSR_OP_CEIL, x),
                    v_floor(l, x));
  if (strcmp(r->rounding, "floor") == 0)
    return v_floor(l, x);
  if (strcmp(r->rounding, "ceil") == 0)
    return v_unary(l, TSR_OP_CEIL, x);
  if (strcmp(r->rounding, "round_prefer_ceil") == 0)
    return v_floor(l, v_add_number(l, x, 0.5));
  return v_unary(l, TSR_OP_CEIL, v_add_number(l, x, -0.5));
}

static tsr_value gather_inside(tsr_lower *l, tsr_value x, uint32_t axis, tsr_value at) {
  tsr_value last = v_add_number(l, as_f64(l, v_dim(l, x, axis)), -1);
  tsr_value inside = v_min(l, v_max(l, at, v_number(l, at, 0)), last);
  return tsr_graph_gather(l->b, x, v_cast(l, inside, TSR_I64), axis);
}

/* a t^3 + b t^2 + c t + d */
static tsr_value cubic_of(tsr_lower *l, tsr_value t, double a, double b, double c, double d) {
  tsr_value y = v_add_number(l, v_mul_number(l, t, a), b);
  y = v_add_number(l, v_mul(l, y, t), c);
  return v_add_number(l, v_mul(l, y, t), d);
}

/* Four taps around `base`, at distances 1 + t, t, 1 - t and 2 - t: cubic_weight. */
static tsr_value cubic_symbolic(tsr_lower *l, const resize *r, tsr_value x, uint32_t axis,
                                tsr_value base, tsr_value t) {
  tsr_value sum = 0;
  double a = r->cubic_a;
  for (int k = -1; k <= 2; k++) {
    tsr_value far = k <= 0 ? v_add_number(l, t, -k) : v_sub(l, v_number(l, t, k), t);
    tsr_value weight = k == 0 || k == 1 ? cubic_of(l, far, a + 2, -(a + 3), 0, 1)
                                        : cubic_of(l, far, a, -5 * a, 8 * a, -4 * a);
    weight = v_along(l, v_cast(l, weight, v_dtype(l, x)), axis, v_rank(l, x));
    tsr_value part = v_mul(l, gather_inside(l, x, axis, v_add_number(l, base, k)), weight);
    sum = sum ? v_add(l, sum, part) : part;
  }
  return sum;
}

/* make_taps and keep_inside for all output positions: [out, taps] source positions, weights that
 * add up to 1, one sum. */
static tsr_value resize_by_taps(tsr_lower *l, const resize *r, tsr_value x, uint32_t axis,
                                tsr_expr out, tsr_value at, tsr_value scale) {
  uint32_t rank = v_rank(l, x);
  tsr_expr in = v_dim(l, x, axis), dims[TSR_MAX_RANK + 1], shape[2] = {out, 0};
  int64_t reach = r->mode == CUBIC ? 2 : 1, place[1] = {axis + 1};
  tsr_expr ratio = !r->antialias ? e_int(l, 1)
                   : r->scales[axis] > 0
                       ? e_int(l, (int64_t)ceil(fmax(1, 1 / r->scales[axis])))
                       : e_max(l, e_int(l, 1), tsr_expr_binary(l->ir, TSR_INDEX_CEILDIV, in, out));
  shape[1] = e_add(l, tsr_expr_mul_int(l->ir, ratio, 2 * reach), e_int(l, 1));
  tsr_value stretch = v_number(l, at, 1);
  if (r->antialias)
    stretch = v_max(l, stretch, v_recip(l, scale));
  tsr_value column = v_unsqueeze(l, at, 1);
  tsr_value first =
      v_add_number(l, v_floor(l, v_sub(l, column, v_mul_number(l, stretch, (double)reach))), 1);
  tsr_value tap = v_add(l, first, v_cast(l, tsr_graph_iota(l->b, TSR_I64, shape, 2, 1), TSR_F64));
  tsr_value t = v_abs(l, v_div(l, v_sub(l, tap, column), stretch)), one = v_number(l, t, 1);
  tsr_value weight = v_max(l, v_sub(l, one, t), v_number(l, t, 0));
  if (r->mode == CUBIC) {
    double a = r->cubic_a;
    tsr_value far = v_select(l, v_lt(l, t, v_number(l, t, 2)),
                             cubic_of(l, t, a, -5 * a, 8 * a, -4 * a), v_number(l, t, 0));
    weight = v_select(l, v_le(l, t, one), cubic_of(l, t, a + 2, -(a + 3), 0, 1), far);
  }
  tsr_value zero = v_number(l, t, 0), last = v_add_number(l, as_f64(l, in), -1);
  if (r->exclude_outside)
    weight = v_select(l, v_and(l, v_ge(l, tap, zero), v_le(l, tap, last)), weight, zero);
  tsr_value sum = v_reduce_keep(l, weight, "add", (const int64_t[]){1}, 1);
  weight = v_div(l, weight, v_select(l, v_eq(l, sum, zero), one, sum));
  tsr_value part = gather_inside(l, x, axis, tap);
  for (uint32_t i = 0; i <= rank; i++)
    dims[i] = i == axis || i == axis + 1 ? shape[i - axis] : e_int(l, 1);
  part = v_mul(l, part, v_reshape(l, v_cast(l, weight, v_dtype(l, x)), dims, rank + 1));
  for (uint32_t i = 0; i < rank; i++)
    dims[i] = i == axis ? out : v_dim(l, x, i);
  return v_reshape(l, v_reduce_keep(l, part, "add", place, 1), dims, rank);
}

static tsr_status resize_symbolic(tsr_lower *l, const resize *r, uint32_t axis, tsr_value *x) {
  tsr_expr in = v_dim(l, *x, axis), out = r->sizes[axis];
  uint32_t rank = v_rank(l, *x);
  tsr_value scale = out ? symbolic_scale(l, r, axis, in, out) : 0;
  tsr_value at = out ? symbolic_source(l, r, axis, in, out, scale) : 0;
  if (!at || r->crop || (r->antialias && r->factor[axis]))
    return tsr_lower_unsupported(l, "a symbolic extent along axis %u", axis);
  if (r->mode == NEAREST) {
    *x = gather_inside(l, *x, axis, symbolic_round(l, r, at, scale));
    return TSR_OK;
  }
  if (r->antialias || r->exclude_outside) {
    *x = resize_by_taps(l, r, *x, axis, out, at, scale);
    return TSR_OK;
  }
  tsr_value base = v_floor(l, at);
  if (r->mode == CUBIC) {
    *x = cubic_symbolic(l, r, *x, axis, base, v_sub(l, at, base));
    return TSR_OK;
  }
  tsr_value weight = v_along(l, v_cast(l, v_sub(l, at, base), v_dtype(l, *x)), axis, rank);
  tsr_value first = gather_inside(l, *x, axis, base);
  tsr_value second = gather_inside(l, *x, axis, v_add_number(l, base, 1));
  *x = v_add(l, first, v_mul(l, v_sub(l, second, first), weight));
  return TSR_OK;
}

static tsr_status resize_axis(tsr_lower *l, const resize *r, uint32_t axis, tsr_value *x) {
  int64_t in, out;
  axis_plan plan;
  bool known = v_static_dim(l, *x, axis, &in);
  if (!known || !tsr_expr_is_int(l->ir, r->sizes[axis], &out)) {
    if (r->scales[axis] == 1 && !r->crop)
      return TSR_OK;
    if (!repeats_always(r, axis))
      return resize_symbolic(l, r, axis, x);
    *x = repeat(l, *x, axis, (int64_t)r->scales[axis]);
    return TSR_OK;
  }
  if (out < 0 || (in == 0 && out > 0))
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "extent %lld along axis %u", (long long)out, axis);
  if (in == out && r->scales[axis] == 1 && !r->crop)
    return TSR_OK;
  if (out == 0) {
    *x = v_slice_axis(l, *x, axis, e_int(l, 0), e_int(l, 0));
    return TSR_OK;
  }
  if (out > MAX_EXTENT)
    return tsr_lower_unsupported(l, "an extent of %lld along axis %u", (long long)out, axis);
  TSR_TRY(plan_axis(l, r, axis, in, out, &plan));
  if (is_repeat(&plan, in, out))
    *x = repeat(l, *x, axis, out / in);
  else
    *x = apply_plan(l, r, *x, axis, out, &plan);
  return TSR_OK;
}

/* --- reading the node --- */

static tsr_status read_mode(tsr_lower *l, resize *r) {
  const char *mode = tsr_lower_text(l, "mode", "nearest");
  r->mode = strcmp(mode, "nearest") == 0                                   ? NEAREST
            : strcmp(mode, "linear") == 0 || strcmp(mode, "bilinear") == 0 ? LINEAR
                                                                           : CUBIC;
  if (r->mode == CUBIC && strcmp(mode, "cubic") != 0)
    return tsr_lower_unsupported(l, "mode '%s'", mode);
  bool old = l->row->arg == 1 || l->opset < 11;
  r->transform =
      tsr_lower_text(l, "coordinate_transformation_mode", old ? "asymmetric" : "half_pixel");
  r->rounding = tsr_lower_text(l, "nearest_mode", old ? NULL : "round_prefer_floor");
  r->cubic_a = (double)tsr_lower_float(l, "cubic_coeff_a", -0.75f);
  r->extrapolation = (double)tsr_lower_float(l, "extrapolation_value", 0);
  r->exclude_outside = tsr_lower_int(l, "exclude_outside", 0) != 0;
  r->antialias = tsr_lower_int(l, "antialias", 0) != 0;
  r->crop = strcmp(r->transform, "tf_crop_and_resize") == 0;
  return TSR_OK;
}

/* Scales or sizes are per entry of `axes`, or per axis. */
typedef struct axis_list {
  int64_t axes[TSR_MAX_RANK];
  uint32_t count;
} axis_list;

static tsr_status read_axes(tsr_lower *l, uint32_t rank, axis_list *out) {
  const int64_t *axes = tsr_lower_ints(l, "axes", &out->count);
  if (axes)
    return tsr_lower_axes(l, axes, out->count, rank, out->axes);
  out->count = rank;
  for (uint32_t i = 0; i < rank; i++)
    out->axes[i] = i;
  return TSR_OK;
}

/* floor(dim * scale) as an expression, for a scale that is a fraction of small numbers; else 0. */
static tsr_expr scaled_dim(tsr_lower *l, tsr_expr dim, double scale) {
  for (int64_t q = 1; q <= 64; q++) {
    double p = floor(scale * (double)q + 0.5);
    if (fabs(scale * (double)q - p) < 1e-6 * scale && p >= 1 && p < 65536)
      return tsr_expr_floordiv_int(l->ir, tsr_expr_mul_int(l->ir, dim, (int64_t)p), q);
  }
  return 0;
}

static tsr_status use_scales(tsr_lower *l, tsr_value x, const axis_list *list, const double *scales,
                             uint64_t count, resize *r) {
  if (count != list->count)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%llu scales for %u axes", (unsigned long long)count,
                           list->count);
  for (uint32_t i = 0; i < list->count; i++) {
    uint32_t axis = (uint32_t)list->axes[i];
    int64_t extent;
    if (!(scales[i] > 0 && scales[i] < 1e6))
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "a scale of %g", scales[i]);
    r->scales[axis] = scales[i];
    double span = r->crop ? r->roi_end[axis] - r->roi_start[axis] : 1;
    if (v_static_dim(l, x, axis, &extent))
      r->sizes[axis] = e_int(l, (int64_t)floor((double)extent * span * scales[i]));
    else
      r->sizes[axis] = r->crop ? 0 : scaled_dim(l, v_dim(l, x, axis), scales[i]);
  }
  return TSR_OK;
}

/* Scales that a run computes. Those of the two outer axes of a picture, batch and channels, must be
 * 1, which the run checks: what follows has to know the channels. */
static tsr_status read_scales(tsr_lower *l, tsr_value x, uint32_t input, const axis_list *list,
                              resize *r) {
  int64_t count;
  uint32_t outer = v_rank(l, x) >= 3 ? 2 : 0;
  tsr_value scales = v_cast(l, tsr_lower_value(l, input), TSR_F64), wrong = 0;
  if (v_rank(l, scales) != 1 || !v_static_dim(l, scales, 0, &count) || count != list->count ||
      r->crop)
    return tsr_lower_unknown(l, input, "scales");
  for (uint32_t i = 0; i < list->count; i++) {
    uint32_t axis = (uint32_t)list->axes[i];
    tsr_value scale = tsr_size_element(l, scales, i);
    tsr_value bad = axis < outer ? v_ne(l, scale, v_number(l, scale, 1))
                                 : v_not(l, v_gt(l, scale, v_number(l, scale, 0)));
    wrong = wrong ? v_or(l, wrong, bad) : bad;
    if (axis < outer)
      continue;
    tsr_value size = v_floor(l, v_mul(l, as_f64(l, v_dim(l, x, axis)), scale));
    r->factor[axis] = scale;
    r->scales[axis] = 0;
    r->sizes[axis] = tsr_size_read(l, v_cast(l, size, TSR_I64), 0, "size", axis, 0);
  }
  if (wrong)
    tsr_size_check(l, wrong,
                   outer > 0 ? "scales of batch and channels are 1, others above 0"
                             : "scales are above 0");
  return TSR_OK;
}

/* keep_aspect_ratio_policy: one scale for all axes, the smallest or the largest. */
static tsr_status keep_aspect(tsr_lower *l, tsr_value x, const axis_list *list, resize *r) {
  const char *policy = tsr_lower_text(l, "keep_aspect_ratio_policy", "stretch");
  if (strcmp(policy, "stretch") == 0)
    return TSR_OK;
  for (uint32_t i = 0; i < list->count; i++)
    if (!(r->scales[list->axes[i]] > 0))
      return tsr_lower_unsupported(l, "keep_aspect_ratio_policy of symbolic extents");
  bool larger = strcmp(policy, "not_smaller") == 0;
  double scale = 0;
  for (uint32_t i = 0; i < list->count; i++) {
    double own = r->scales[list->axes[i]];
    if (i == 0 || (larger ? own > scale : own < scale))
      scale = own;
  }
  for (uint32_t i = 0; i < list->count; i++) {
    uint32_t axis = (uint32_t)list->axes[i];
    int64_t extent = 0;
    v_static_dim(l, x, axis, &extent);
    r->scales[axis] = scale;
    r->sizes[axis] = e_int(l, (int64_t)floor(scale * (double)extent + 0.5));
  }
  return TSR_OK;
}

static tsr_status use_sizes(tsr_lower *l, tsr_value x, const axis_list *list,
                            const tsr_content *sizes, resize *r) {
  if (sizes->count != list->count || !sizes->exprs)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%llu sizes for %u axes",
                           (unsigned long long)sizes->count, list->count);
  for (uint32_t i = 0; i < list->count; i++) {
    uint32_t axis = (uint32_t)list->axes[i];
    int64_t in, out;
    tsr_expr dim = v_dim(l, x, axis);
    r->sizes[axis] = sizes->exprs[i];
    r->scales[axis] = 1;
    if (dim == sizes->exprs[i])
      continue;
    if (tsr_expr_is_int(l->ir, dim, &in) && tsr_expr_is_int(l->ir, sizes->exprs[i], &out) && in > 0)
      r->scales[axis] = (double)out / (double)in;
    else {
      tsr_expr ratio = tsr_expr_binary(l->ir, TSR_INDEX_FLOORDIV, sizes->exprs[i], dim);
      bool whole = tsr_expr_is_int(l->ir, ratio, &out) &&
                   tsr_expr_mul_int(l->ir, dim, out) == sizes->exprs[i];
      r->scales[axis] = whole ? (double)out : 0;
    }
  }
  return keep_aspect(l, x, list, r);
}

static tsr_status read_roi(tsr_lower *l, const axis_list *list, resize *r) {
  if (!r->crop)
    return TSR_OK;
  const tsr_content *roi = tsr_lower_content(l, 1);
  if (!roi || !roi->floats)
    return tsr_lower_unknown(l, 1, "roi");
  if (roi->count != 2 * (uint64_t)list->count)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "a roi of %llu entries",
                           (unsigned long long)roi->count);
  for (uint32_t i = 0; i < list->count; i++) {
    r->roi_start[list->axes[i]] = roi->floats[i];
    r->roi_end[list->axes[i]] = roi->floats[i + list->count];
  }
  return TSR_OK;
}

static tsr_status upsample_attrs(tsr_lower *l, tsr_value x, const axis_list *list, resize *r) {
  uint32_t count;
  double scales[TSR_MAX_RANK];
  if (l->opset < 7) { /* two factors, of rows and of columns */
    if (list->count != 4)
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "an input of rank %u", list->count);
    scales[0] = scales[1] = 1;
    scales[2] = (double)tsr_lower_float(l, "height_scale", 1);
    scales[3] = (double)tsr_lower_float(l, "width_scale", 1);
    return use_scales(l, x, list, scales, 4, r);
  }
  const float *given = tsr_lower_floats(l, "scales", &count);
  if (!given || count > TSR_MAX_RANK)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "scales are missing");
  for (uint32_t i = 0; i < count; i++)
    scales[i] = (double)given[i];
  return use_scales(l, x, list, scales, count, r);
}

static tsr_status read_target(tsr_lower *l, tsr_value x, const axis_list *list, resize *r) {
  uint32_t at = l->row->arg == 1 || l->opset < 11 ? 1 : 2;
  if (l->row->arg == 1 && l->opset < 9)
    return upsample_attrs(l, x, list, r);
  if (tsr_lower_has(l, 3) && at == 2) {
    const tsr_content *sizes = tsr_size_content(l, 3, "sizes");
    if (!sizes)
      return tsr_lower_unknown(l, 3, "sizes");
    if (sizes->count > 0)
      return use_sizes(l, x, list, sizes, r);
  }
  const tsr_content *scales = tsr_lower_content(l, at);
  if (!scales || !scales->floats)
    return tsr_lower_has(l, at) ? read_scales(l, x, at, list, r)
                                : tsr_lower_unknown(l, at, "scales");
  return use_scales(l, x, list, scales->floats, scales->count, r);
}

/* `arg` 1: Upsample. */
tsr_status tsr_lower_op_resize(tsr_lower *l) {
  resize r;
  axis_list list;
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0), y = v_widen(l, x);
  uint32_t rank = v_rank(l, x);
  memset(&r, 0, sizeof r);
  for (uint32_t i = 0; i < rank; i++) {
    r.scales[i] = 1;
    r.roi_end[i] = 1;
    r.sizes[i] = v_dim(l, x, i);
  }
  TSR_TRY(read_mode(l, &r));
  TSR_TRY(read_axes(l, rank, &list));
  TSR_TRY(read_roi(l, &list, &r));
  TSR_TRY(read_target(l, x, &list, &r));
  if (r.mode == NEAREST)
    y = x;
  else if (!v_is_float(l, y))
    y = v_cast(l, y, TSR_F32);
  bool crop = r.crop;
  for (uint32_t i = 0; i < rank; i++) {
    r.crop = crop && (r.roi_start[i] != 0 || r.roi_end[i] != 1 || r.scales[i] != 1);
    TSR_TRY(resize_axis(l, &r, i, &y));
  }
  tsr_lower_set(l, 0, v_cast(l, y, v_dtype(l, x)));
  return TSR_OK;
}
