/* Reductions, contractions and windows. Sums run in float64 or int64 and are rounded once. */
#include "ir/eval_internal.h"
#include <math.h>
#include <string.h>

/* --- combiners --- */

tsr_status tsr_eval_combine(tsr_eval_op *e, tsr_combine *out) {
  static const char *const names[] = {"none", "add", "mul", "max", "min", "and", "or"};
  const char *text = tsr_op_string(e->eval->ir, e->op, "combine");
  for (int i = 0; text != NULL && i < 7; i++)
    if (strcmp(text, names[i]) == 0) {
      *out = (tsr_combine)i;
      return TSR_OK;
    }
  return tsr_eval_fail(e, TSR_ERR_ARGUMENT, "'combine' is unknown");
}

/* Smallest or largest integer of a dtype. */
static int64_t int_end(tsr_dtype dtype, bool top) {
  unsigned bits = tsr_dtype_bits(dtype);
  if (tsr_dtype_class_of(dtype) == TSR_CLASS_BOOL)
    return top;
  if (tsr_dtype_class_of(dtype) == TSR_CLASS_UINT)
    return !top ? 0 : bits >= 64 ? -1 : (int64_t)((UINT64_C(1) << bits) - 1);
  return top ? (int64_t)((UINT64_C(1) << (bits - 1)) - 1)
             : -(int64_t)((UINT64_C(1) << (bits - 1)) - 1) - 1;
}

void tsr_combine_start(tsr_combine combine, tsr_array *to, int64_t index) {
  bool one = combine == TSR_COMBINE_MUL || combine == TSR_COMBINE_AND;
  bool extremum = combine == TSR_COMBINE_MAX || combine == TSR_COMBINE_MIN;
  bool top = combine == TSR_COMBINE_MIN;
  if (to->floats != NULL)
    to->floats[index] = extremum ? (top ? INFINITY : -INFINITY) : one ? 1.0 : 0.0;
  else if (combine == TSR_COMBINE_AND)
    to->integers[index] = tsr_wrap(to->dtype, -1);
  else
    to->integers[index] = extremum ? int_end(to->dtype, top) : one;
}

static double combine_floats(tsr_combine combine, double a, double b) {
  switch (combine) {
  case TSR_COMBINE_ADD:
    return a + b;
  case TSR_COMBINE_MUL:
    return a * b;
  case TSR_COMBINE_MAX:
    return isnan(a) || isnan(b) ? NAN : a > b ? a : b;
  case TSR_COMBINE_MIN:
    return isnan(a) || isnan(b) ? NAN : a < b ? a : b;
  case TSR_COMBINE_AND:
    return a != 0 && b != 0;
  case TSR_COMBINE_OR:
    return a != 0 || b != 0;
  default:
    return b;
  }
}

static int64_t combine_ints(tsr_combine combine, bool without_sign, int64_t a, int64_t b) {
  bool less = without_sign ? (uint64_t)a < (uint64_t)b : a < b;
  switch (combine) {
  case TSR_COMBINE_ADD:
    return (int64_t)((uint64_t)a + (uint64_t)b);
  case TSR_COMBINE_MUL:
    return (int64_t)((uint64_t)a * (uint64_t)b);
  case TSR_COMBINE_MAX:
    return less ? b : a;
  case TSR_COMBINE_MIN:
    return less ? a : b;
  case TSR_COMBINE_AND:
    return a & b;
  case TSR_COMBINE_OR:
    return a | b;
  default:
    return b;
  }
}

void tsr_combine_step(tsr_combine combine, tsr_array *to, int64_t to_index, const tsr_array *from,
                      int64_t from_index) {
  bool without_sign = tsr_dtype_class_of(to->dtype) == TSR_CLASS_UINT;
  if (to->floats != NULL)
    to->floats[to_index] =
        combine_floats(combine, to->floats[to_index], tsr_array_float(from, from_index));
  else
    to->integers[to_index] = combine_ints(combine, without_sign, to->integers[to_index],
                                          tsr_array_int(from, from_index));
}

static void start_all(tsr_combine combine, tsr_array *to) {
  for (int64_t i = 0; i < to->count; i++)
    tsr_combine_start(combine, to, i);
}

/* --- reduce, arg_reduce, scan --- */

static tsr_status eval_reduce(tsr_eval_op *e) {
  int64_t axes[TSR_MAX_RANK], position[TSR_MAX_RANK], to[TSR_MAX_RANK];
  const tsr_array *in = e->in[0];
  uint32_t count, reduced = 0;
  tsr_combine combine;
  TSR_TRY(tsr_eval_combine(e, &combine));
  if (!tsr_op_ints(e->eval->ir, e->op, "axes", axes, TSR_MAX_RANK, &count))
    return tsr_eval_fail(e, TSR_ERR_ARGUMENT, "'axes' must list integers");
  for (uint32_t i = 0; i < count; i++) {
    if (axes[i] < 0 || axes[i] >= in->rank)
      return tsr_eval_fail(e, TSR_ERR_ARGUMENT, "axis %lld of rank %u", (long long)axes[i],
                           in->rank);
    reduced |= 1u << axes[i];
  }
  start_all(combine, e->out[0]);
  for (int64_t i = 0; i < in->count; i++) {
    uint32_t kept = 0;
    tsr_unravel(in, i, position);
    for (uint32_t a = 0; a < in->rank; a++)
      if ((reduced >> a & 1) == 0)
        to[kept++] = position[a];
    tsr_combine_step(combine, e->out[0], tsr_ravel(e->out[0], to), in, i);
  }
  return TSR_OK;
}

/* True when element `i` is before element `j` in the order that max (or min) looks for; NaN first.
 */
static bool beats(const tsr_array *x, int64_t i, int64_t j, bool max) {
  if (x->floats != NULL) {
    double a = x->floats[i], b = x->floats[j];
    if (isnan(a) || isnan(b))
      return isnan(a) && !isnan(b);
    return max ? a > b : a < b;
  }
  if (tsr_dtype_class_of(x->dtype) == TSR_CLASS_UINT) {
    uint64_t a = (uint64_t)x->integers[i], b = (uint64_t)x->integers[j];
    return max ? a > b : a < b;
  }
  return max ? x->integers[i] > x->integers[j] : x->integers[i] < x->integers[j];
}

/* The elements of an array along one axis: `outer` blocks of `extent` rows of `inner` elements. */
typedef struct lines {
  int64_t outer, extent, inner;
} lines;

static lines lines_of(const tsr_array *x, uint32_t axis) {
  lines l = {1, x->dims[axis], 1};
  for (uint32_t a = 0; a < x->rank; a++)
    if (a < axis)
      l.outer *= x->dims[a];
    else if (a > axis)
      l.inner *= x->dims[a];
  return l;
}

static tsr_status eval_arg_reduce(tsr_eval_op *e) {
  const tsr_array *x = e->in[0];
  bool last = tsr_op_bool(e->eval->ir, e->op, "last", false);
  tsr_combine combine;
  uint32_t axis;
  lines l;
  TSR_TRY(tsr_eval_combine(e, &combine));
  TSR_TRY(tsr_eval_axis(e, x->rank, &axis));
  l = lines_of(x, axis);
  for (int64_t o = 0; o < l.outer; o++)
    for (int64_t i = 0; i < l.inner; i++) {
      int64_t base = o * l.extent * l.inner + i, best = 0;
      bool max = combine == TSR_COMBINE_MAX;
      for (int64_t k = 1; k < l.extent; k++) {
        bool better = beats(x, base + k * l.inner, base + best * l.inner, max);
        bool worse = beats(x, base + best * l.inner, base + k * l.inner, max);
        if (better || (last && !worse))
          best = k;
      }
      e->out[0]->integers[o * l.inner + i] = best;
    }
  return TSR_OK;
}

static tsr_status eval_scan(tsr_eval_op *e) {
  bool exclusive = tsr_op_bool(e->eval->ir, e->op, "exclusive", false);
  bool reverse = tsr_op_bool(e->eval->ir, e->op, "reverse", false);
  const tsr_array *x = e->in[0];
  tsr_array *out = e->out[0];
  tsr_combine combine;
  uint32_t axis;
  lines l;
  TSR_TRY(tsr_eval_combine(e, &combine));
  TSR_TRY(tsr_eval_axis(e, x->rank, &axis));
  l = lines_of(x, axis);
  for (int64_t line = 0; line < l.outer * l.inner; line++) {
    int64_t base = line / l.inner * l.extent * l.inner + line % l.inner;
    for (int64_t k = 0; k < l.extent; k++) {
      int64_t step = reverse ? -l.inner : l.inner;
      int64_t at = base + (reverse ? l.extent - 1 - k : k) * l.inner;
      if (k == 0)
        tsr_combine_start(combine, out, at);
      else
        tsr_array_move(out, at, out, at - step);
      if (!exclusive)
        tsr_combine_step(combine, out, at, x, at);
      else if (k > 0)
        tsr_combine_step(combine, out, at, x, at - step);
    }
  }
  return TSR_OK;
}

/* --- einsum --- */

typedef struct einsum {
  char letters[2 * TSR_MAX_RANK + 1]; /* result axes first, then the summed ones */
  int64_t extents[2 * TSR_MAX_RANK];
  int64_t x_strides[2 * TSR_MAX_RANK], y_strides[2 * TSR_MAX_RANK];
  uint32_t count, kept;
} einsum;

static uint32_t letter_number(einsum *s, char letter) {
  uint32_t i = 0;
  while (i < s->count && s->letters[i] != letter)
    i++;
  if (i == s->count)
    s->letters[s->count++] = letter;
  return i;
}

static tsr_status bind_letters(tsr_eval_op *e, einsum *s, const char *text, size_t length,
                               const tsr_array *array, int64_t *strides) {
  int64_t stride = 1;
  if (length != array->rank)
    return tsr_eval_fail(e, TSR_ERR_ARGUMENT, "'spec' does not fit rank %u", array->rank);
  for (uint32_t a = array->rank; a-- > 0;) {
    uint32_t letter = letter_number(s, text[a]);
    if (s->extents[letter] >= 0 && s->extents[letter] != array->dims[a])
      return tsr_eval_fail(e, TSR_ERR_SHAPE, "extents of '%c' differ", text[a]);
    s->extents[letter] = array->dims[a];
    strides[letter] = stride;
    stride *= array->dims[a];
  }
  return TSR_OK;
}

static tsr_status read_spec(tsr_eval_op *e, einsum *s) {
  const char *spec = tsr_op_string(e->eval->ir, e->op, "spec");
  const char *comma = spec == NULL ? NULL : strchr(spec, ',');
  const char *arrow = comma == NULL ? NULL : strstr(comma, "->");
  memset(s, 0, sizeof *s);
  for (int i = 0; i < 2 * TSR_MAX_RANK; i++)
    s->extents[i] = -1;
  if (arrow == NULL || strlen(arrow + 2) != e->out[0]->rank)
    return tsr_eval_fail(e, TSR_ERR_ARGUMENT, "'spec' does not fit");
  for (const char *c = arrow + 2; *c != '\0'; c++)
    (void)letter_number(s, *c);
  s->kept = s->count;
  TSR_TRY(bind_letters(e, s, spec, (size_t)(comma - spec), e->in[0], s->x_strides));
  return bind_letters(e, s, comma + 1, (size_t)(arrow - comma - 1), e->in[1], s->y_strides);
}

static void add_product(tsr_array *out, int64_t to, const tsr_array *x, int64_t i,
                        const tsr_array *y, int64_t j) {
  if (out->floats != NULL)
    out->floats[to] += tsr_array_float(x, i) * tsr_array_float(y, j);
  else
    out->integers[to] = (int64_t)((uint64_t)out->integers[to] +
                                  (uint64_t)tsr_array_int(x, i) * (uint64_t)tsr_array_int(y, j));
}

static tsr_status eval_einsum(tsr_eval_op *e) {
  einsum s;
  int64_t terms = 1;
  TSR_TRY(read_spec(e, &s));
  for (uint32_t k = s.kept; k < s.count; k++)
    terms *= s.extents[k];
  for (int64_t i = 0; i < e->out[0]->count; i++) {
    int64_t left = i, x0 = 0, y0 = 0;
    for (uint32_t k = s.kept; k-- > 0;) {
      int64_t at = left % s.extents[k];
      left /= s.extents[k];
      x0 += at * s.x_strides[k];
      y0 += at * s.y_strides[k];
    }
    for (int64_t term = 0; term < terms; term++) {
      int64_t x = x0, y = y0;
      left = term;
      for (uint32_t k = s.count; k-- > s.kept;) {
        int64_t at = left % s.extents[k];
        left /= s.extents[k];
        x += at * s.x_strides[k];
        y += at * s.y_strides[k];
      }
      add_product(e->out[0], i, e->in[0], x, e->in[1], y);
    }
  }
  return TSR_OK;
}

/* --- windows --- */

typedef struct window {
  uint32_t rank, lead; /* spatial axes, and axes before them */
  int64_t extents[TSR_MAX_RANK], strides[TSR_MAX_RANK], dilations[TSR_MAX_RANK];
  int64_t low[TSR_MAX_RANK];
  int64_t count;
} window;

static tsr_status read_window(tsr_eval_op *e, window *w) {
  TSR_TRY(tsr_eval_list(e, "strides", w->rank, 1, w->strides));
  TSR_TRY(tsr_eval_list(e, "dilations", w->rank, 1, w->dilations));
  TSR_TRY(tsr_eval_list(e, "low", w->rank, 0, w->low));
  w->count = 1;
  for (uint32_t a = 0; a < w->rank; a++)
    w->count *= w->extents[a];
  return TSR_OK;
}

/* Moves the spatial part of `position` from a place of the result to what element `tap` of its
 * window reads; false when that is padding. */
static bool window_source(const window *w, const tsr_array *x, const int64_t *place, int64_t tap,
                          int64_t *position) {
  bool inside = true;
  for (uint32_t a = w->rank; a-- > 0;) {
    int64_t at = tap % w->extents[a];
    tap /= w->extents[a];
    at = place[w->lead + a] * w->strides[a] + at * w->dilations[a] - w->low[a];
    position[w->lead + a] = at;
    inside = inside && at >= 0 && at < x->dims[w->lead + a];
  }
  return inside;
}

static tsr_status eval_conv(tsr_eval_op *e) {
  const tsr_array *x = e->in[0], *weights = e->in[1];
  int64_t groups = tsr_op_int(e->eval->ir, e->op, "groups", 1);
  int64_t place[TSR_MAX_RANK], position[TSR_MAX_RANK];
  window w = {.rank = x->rank - 2, .lead = 2};
  if (x->rank < 2 || weights->rank != x->rank || e->out[0]->rank != x->rank || groups < 1 ||
      weights->dims[0] % groups != 0 || x->dims[1] != weights->dims[1] * groups)
    return tsr_eval_fail(e, TSR_ERR_SHAPE, "operands do not fit");
  memcpy(w.extents, weights->dims + 2, w.rank * sizeof *w.extents);
  TSR_TRY(read_window(e, &w));
  for (int64_t i = 0; i < e->out[0]->count; i++) {
    int64_t group;
    tsr_unravel(e->out[0], i, place);
    group = place[1] / (weights->dims[0] / groups);
    position[0] = place[0];
    for (int64_t c = 0; c < weights->dims[1]; c++) {
      position[1] = group * weights->dims[1] + c;
      for (int64_t tap = 0; tap < w.count; tap++)
        if (window_source(&w, x, place, tap, position))
          add_product(e->out[0], i, x, tsr_ravel(x, position), weights,
                      (place[1] * weights->dims[1] + c) * w.count + tap);
    }
  }
  return TSR_OK;
}

static tsr_status eval_pool(tsr_eval_op *e) {
  const tsr_array *x = e->in[0];
  const tsr_attr *extents = tsr_op_attr(e->eval->ir, e->op, "window");
  int64_t place[TSR_MAX_RANK], position[TSR_MAX_RANK];
  window w = {.rank = extents->count};
  tsr_combine combine;
  TSR_TRY(tsr_eval_combine(e, &combine));
  if (w.rank > x->rank)
    return tsr_eval_fail(e, TSR_ERR_SHAPE, "the window has more axes than the operand");
  w.lead = x->rank - w.rank;
  TSR_TRY(tsr_eval_list(e, "window", w.rank, 1, w.extents));
  TSR_TRY(read_window(e, &w));
  start_all(combine, e->out[0]);
  for (int64_t i = 0; i < e->out[0]->count; i++) {
    tsr_unravel(e->out[0], i, place);
    memcpy(position, place, w.lead * sizeof *position);
    for (int64_t tap = 0; tap < w.count; tap++)
      if (window_source(&w, x, place, tap, position))
        tsr_combine_step(combine, e->out[0], i, x, tsr_ravel(x, position));
  }
  return TSR_OK;
}

tsr_status tsr_eval_reduce(tsr_eval_op *e) {
  switch (e->data->code) {
  case TSR_OP_REDUCE:
    return eval_reduce(e);
  case TSR_OP_ARG_REDUCE:
    return eval_arg_reduce(e);
  case TSR_OP_SCAN:
    return eval_scan(e);
  case TSR_OP_EINSUM:
    return eval_einsum(e);
  case TSR_OP_CONV:
    return eval_conv(e);
  case TSR_OP_POOL:
    return eval_pool(e);
  default:
    return tsr_eval_fail(e, TSR_ERR_UNSUPPORTED, "no reduction of graphs");
  }
}
