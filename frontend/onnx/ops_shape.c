/* Operators that move elements, and those that give shapes. Known contents move along. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/importer.h"
#include "frontend/onnx/op_table.h"
#include "frontend/onnx/sizes.h"
#include <string.h>

/* --- shapes as values --- */

static void set_exprs(tsr_lower *l, tsr_dtype dtype, const tsr_expr *exprs, uint32_t count,
                      bool scalar) {
  tsr_expr *kept = tsr_lower_alloc(l, count, sizeof *kept);
  tsr_expr dim = e_int(l, count);
  if (!kept)
    return;
  memcpy(kept, exprs, count * sizeof *kept);
  tsr_content content = {.count = count, .exprs = kept};
  tsr_lower_set_content(l, 0, dtype, &dim, scalar ? 0 : 1, &content);
}

static int64_t clamp(int64_t x, int64_t lo, int64_t hi) {
  return x < lo ? lo : x > hi ? hi : x;
}

tsr_status tsr_lower_op_shape(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  const tsr_imported *x = l->in[0];
  int64_t rank = x->rank;
  int64_t start = tsr_lower_int(l, "start", 0), end = tsr_lower_int(l, "end", rank);
  start = clamp(start < 0 ? start + rank : start, 0, rank);
  end = clamp(end < 0 ? end + rank : end, 0, rank);
  uint32_t count = end > start ? (uint32_t)(end - start) : 0;
  static const tsr_expr none[1] = {0};
  set_exprs(l, TSR_I64, count > 0 ? x->dims + start : none, count, false);
  return TSR_OK;
}

tsr_status tsr_lower_op_size(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_expr size = e_int(l, 1);
  for (uint32_t i = 0; i < l->in[0]->rank; i++)
    size = e_mul(l, size, l->in[0]->dims[i]);
  set_exprs(l, TSR_I64, &size, 1, true);
  return TSR_OK;
}

/* --- reshapes --- */

/* Whether input 0 has as many elements as the dims say: 1 where it is known, or a condition over
 * dims. */
static tsr_expr same_count(tsr_lower *l, const tsr_imported *x, const tsr_expr *dims,
                           uint32_t rank) {
  tsr_expr before = e_int(l, 1), after = before;
  for (uint32_t i = 0; i < x->rank; i++)
    before = e_mul(l, before, x->dims[i]);
  for (uint32_t i = 0; i < rank; i++)
    after = e_mul(l, after, dims[i]);
  return tsr_expr_binary(l->ir, TSR_INDEX_EQ, before, after);
}

/* Output `output` is input 0 with other dims: content and constants keep what they are. */
static void set_reshaped(tsr_lower *l, const tsr_expr *dims, uint32_t rank) {
  tsr_imported *x = l->in[0];
  const tsr_content *content = tsr_imported_content(l, x);
  tsr_expr *kept = tsr_lower_alloc(l, rank, sizeof *kept);
  tsr_imported *y = tsr_lower_alloc(l, 1, sizeof *y);
  if (!kept || !y)
    return;
  if (rank > 0)
    memcpy(kept, dims, rank * sizeof *kept);
  if ((content || x->data) && tsr_expr_equals_int(l->ir, same_count(l, x, dims, rank), 1)) {
    *y = *x;
    y->value = 0;
    y->assumes = 0;
    y->assumed = NULL;
    y->rank = rank;
    y->dims = kept;
    tsr_lower_set_imported(l, 0, y);
  } else
    tsr_lower_set(l, 0, v_reshape(l, tsr_imported_value(l, x), kept, rank));
}

/* The dim that -1 stands for: equal dims on both sides cancel first, so that symbolic ones need no
 * division where possible. */
static tsr_expr infer_dim(tsr_lower *l, const tsr_imported *x, const tsr_expr *dims, uint32_t rank,
                          uint32_t hole) {
  tsr_expr total = e_int(l, 1), known = total;
  uint32_t used = 0;
  for (uint32_t i = 0; i < rank; i++) {
    bool cancelled = i == hole;
    for (uint32_t k = 0; !cancelled && k < x->rank; k++)
      if ((used >> k & 1) == 0 && x->dims[k] == dims[i]) {
        used |= 1u << k;
        cancelled = true;
      }
    if (!cancelled)
      known = e_mul(l, known, dims[i]);
  }
  for (uint32_t k = 0; k < x->rank; k++)
    if ((used >> k & 1) == 0)
      total = e_mul(l, total, x->dims[k]);
  if (tsr_expr_equals_int(l->ir, known, 1))
    return total;
  return tsr_expr_equals_int(l->ir, known, 0)
             ? e_int(l, 0)
             : tsr_expr_binary(l->ir, TSR_INDEX_FLOORDIV, total, known);
}

static tsr_status reshape_dims(tsr_lower *l, const tsr_expr *wanted, uint64_t count,
                               tsr_expr *dims) {
  const tsr_imported *x = l->in[0];
  bool allow_zero = tsr_lower_int(l, "allowzero", 0) != 0;
  uint32_t hole = UINT32_MAX;
  if (count > TSR_MAX_RANK)
    return tsr_lower_wrong(l, TSR_ERR_LIMIT, "shape of rank %llu", (unsigned long long)count);
  for (uint32_t i = 0; i < count; i++) {
    dims[i] = wanted[i];
    if (tsr_expr_equals_int(l->ir, wanted[i], 0) && !allow_zero) {
      if (i >= x->rank)
        return tsr_lower_wrong(l, TSR_ERR_SHAPE, "dim %u is 0 (copy) but the input has rank %u", i,
                               x->rank);
      dims[i] = x->dims[i];
    } else if (tsr_expr_equals_int(l->ir, wanted[i], -1)) {
      if (hole != UINT32_MAX)
        return tsr_lower_wrong(l, TSR_ERR_SHAPE, "the shape has two dims of -1");
      hole = i;
      dims[i] = e_int(l, 1);
    }
  }
  if (hole != UINT32_MAX)
    dims[hole] = infer_dim(l, x, dims, (uint32_t)count, hole);
  if (tsr_expr_equals_int(l->ir, same_count(l, x, dims, (uint32_t)count), 0))
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "the new shape has another number of elements");
  return TSR_OK;
}

tsr_status tsr_lower_op_reshape(tsr_lower *l) {
  tsr_expr dims[TSR_MAX_RANK], attrs[TSR_MAX_RANK];
  uint32_t count;
  TSR_TRY(tsr_lower_need(l, 1));
  const int64_t *shape = tsr_lower_ints(l, "shape", &count);
  if (shape && l->opset < 5) {
    for (uint32_t i = 0; i < count && i < TSR_MAX_RANK; i++)
      attrs[i] = e_int(l, shape[i]);
    TSR_TRY(reshape_dims(l, attrs, count, dims));
    set_reshaped(l, dims, count);
    return TSR_OK;
  }
  const tsr_content *content = tsr_lower_content(l, 1);
  if (!content || (content->count > 0 && !content->exprs))
    return tsr_size_reshape(l);
  TSR_TRY(reshape_dims(l, content->exprs, content->count, dims));
  set_reshaped(l, dims, (uint32_t)content->count);
  return TSR_OK;
}

tsr_status tsr_lower_op_flatten(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  const tsr_imported *x = l->in[0];
  int64_t axis = tsr_lower_int(l, "axis", 1);
  axis += axis < 0 ? (int64_t)x->rank : 0;
  if (axis < 0 || axis > (int64_t)x->rank)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "axis %lld is out of range", (long long)axis);
  tsr_expr dims[2] = {e_int(l, 1), e_int(l, 1)};
  for (uint32_t i = 0; i < x->rank; i++)
    dims[i >= (uint32_t)axis] = e_mul(l, dims[i >= (uint32_t)axis], x->dims[i]);
  set_reshaped(l, dims, 2);
  return TSR_OK;
}

tsr_status tsr_lower_op_squeeze(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  const tsr_imported *x = l->in[0];
  tsr_expr dims[TSR_MAX_RANK];
  int64_t axes[TSR_MAX_RANK];
  uint32_t count, rank = 0, removed = 0;
  bool known;
  const int64_t *list = tsr_lower_list(l, "axes", 1, &count, &known);
  if (!known)
    return tsr_size_squeeze(l);
  if (list)
    TSR_TRY(tsr_lower_axes(l, list, count, x->rank, axes));
  for (uint32_t i = 0; list && i < count; i++)
    removed |= 1u << axes[i];
  for (uint32_t i = 0; i < x->rank; i++) {
    bool one = tsr_expr_equals_int(l->ir, x->dims[i], 1);
    int64_t extent;
    if (!list && !one && !tsr_expr_is_int(l->ir, x->dims[i], &extent))
      one = tsr_lower_guess(l, i, tsr_expr_binary(l->ir, TSR_INDEX_EQ, x->dims[i], e_int(l, 1)),
                            false);
    bool remove = list ? (removed >> i & 1) != 0 : one;
    if (remove && !one && tsr_expr_is_int(l->ir, x->dims[i], &extent))
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "axis %u has extent %lld, not 1", i,
                             (long long)extent);
    if (remove && !one && tsr_graph_agree(l->b, x->dims[i], e_int(l, 1)) == 0)
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "axis %u can never have the extent 1", i);
    if (!remove)
      dims[rank++] = x->dims[i];
  }
  set_reshaped(l, dims, rank);
  return TSR_OK;
}

tsr_status tsr_lower_op_unsqueeze(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  const tsr_imported *x = l->in[0];
  tsr_expr dims[TSR_MAX_RANK];
  int64_t axes[TSR_MAX_RANK];
  uint32_t count, next = 0, added = 0;
  bool known;
  const int64_t *list = tsr_lower_list(l, "axes", 1, &count, &known);
  if (!known)
    return tsr_size_unsqueeze(l);
  if (!list)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "axes are missing");
  uint32_t rank = x->rank + count;
  if (count > TSR_MAX_RANK || rank > TSR_MAX_RANK)
    return tsr_lower_wrong(l, TSR_ERR_LIMIT, "the result has more than %d dims", TSR_MAX_RANK);
  TSR_TRY(tsr_lower_axes(l, list, count, rank, axes));
  for (uint32_t i = 0; i < count; i++)
    added |= 1u << axes[i];
  for (uint32_t i = 0; i < rank; i++)
    dims[i] = (added >> i & 1) != 0 ? e_int(l, 1) : x->dims[next++];
  set_reshaped(l, dims, rank);
  return TSR_OK;
}

/* --- picking elements of a known content --- */

/* Larger constants are moved by ops, which the passes fold. */
enum { MOST_PICKED = 1024 };

typedef struct strided {
  uint32_t rank;
  int64_t extents[TSR_MAX_RANK]; /* of the result */
  int64_t strides[TSR_MAX_RANK]; /* in elements of the source, per result axis */
  int64_t offset;
} strided;

static uint64_t strided_count(const strided *s) {
  uint64_t count = 1;
  for (uint32_t i = 0; i < s->rank; i++) {
    count *= (uint64_t)s->extents[i];
    if (count > MOST_PICKED)
      return UINT64_MAX;
  }
  return count;
}

/* Sets the output to a strided view of input 0's content; false when it has none that is small. */
static bool set_picked(tsr_lower *l, uint32_t output, const strided *s) {
  const tsr_imported *x = l->in[0];
  const tsr_content *from = x->content;
  uint64_t count = strided_count(s);
  tsr_expr dims[TSR_MAX_RANK];
  if (!from || count > MOST_PICKED)
    return false;
  tsr_expr *exprs = from->exprs ? tsr_lower_alloc(l, count, sizeof *exprs) : NULL;
  double *floats = from->floats ? tsr_lower_alloc(l, count, sizeof *floats) : NULL;
  for (uint64_t i = 0; i < count; i++) {
    int64_t at = s->offset;
    uint64_t rest = i;
    for (uint32_t k = s->rank; k-- > 0; rest /= (uint64_t)s->extents[k])
      at += (int64_t)(rest % (uint64_t)s->extents[k]) * s->strides[k];
    if (exprs)
      exprs[i] = from->exprs[at];
    if (floats)
      floats[i] = from->floats[at];
  }
  for (uint32_t i = 0; i < s->rank; i++)
    dims[i] = e_int(l, s->extents[i]);
  tsr_content content = {.count = count, .exprs = exprs, .floats = floats};
  tsr_lower_set_content(l, output, x->dtype, dims, s->rank, &content);
  return true;
}

/* Row-major strides of input 0 when its content is known and small: the result of `set_picked`. */
static bool source_strides(tsr_lower *l, int64_t *strides) {
  tsr_imported *x = l->in[0];
  int64_t stride = 1, extent;
  if (!tsr_imported_content(l, x))
    return false;
  for (uint32_t i = x->rank; i-- > 0; stride *= extent) {
    strides[i] = stride;
    if (!tsr_expr_is_int(l->ir, x->dims[i], &extent))
      return false;
  }
  return true;
}

static bool static_extents(tsr_lower *l, const tsr_expr *dims, uint32_t rank, int64_t *extents) {
  for (uint32_t i = 0; i < rank; i++)
    if (!tsr_expr_is_int(l->ir, dims[i], &extents[i]))
      return false;
  return true;
}

tsr_status tsr_lower_op_transpose(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  const tsr_imported *x = l->in[0];
  int64_t perm[TSR_MAX_RANK], strides[TSR_MAX_RANK];
  uint32_t count;
  const int64_t *list = tsr_lower_ints(l, "perm", &count);
  if (list && count != x->rank)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "perm has %u entries for rank %u", count, x->rank);
  if (list)
    TSR_TRY(tsr_lower_axes(l, list, count, x->rank, perm));
  for (uint32_t i = 0; !list && i < x->rank; i++)
    perm[i] = x->rank - 1 - i;
  if (source_strides(l, strides)) {
    strided s = {.rank = x->rank};
    for (uint32_t i = 0; i < x->rank; i++) {
      s.strides[i] = strides[perm[i]];
      tsr_expr_is_int(l->ir, x->dims[perm[i]], &s.extents[i]);
    }
    if (set_picked(l, 0, &s))
      return TSR_OK;
  }
  tsr_lower_set(l, 0, tsr_graph_transpose(l->b, tsr_lower_value(l, 0), perm));
  return TSR_OK;
}

/* --- broadcasts --- */

static tsr_status broadcast_to(tsr_lower *l, const tsr_expr *dims, uint32_t rank) {
  const tsr_imported *x = l->in[0];
  int64_t strides[TSR_MAX_RANK];
  strided s = {.rank = rank};
  if (source_strides(l, strides) && static_extents(l, dims, rank, s.extents)) {
    for (uint32_t i = rank - x->rank; i < rank; i++)
      if (!tsr_expr_equals_int(l->ir, x->dims[i + x->rank - rank], 1))
        s.strides[i] = strides[i + x->rank - rank];
    if (set_picked(l, 0, &s))
      return TSR_OK;
  }
  tsr_lower_set(l, 0, tsr_graph_broadcast(l->b, tsr_lower_value(l, 0), dims, rank));
  return TSR_OK;
}

tsr_status tsr_lower_op_expand(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 2));
  const tsr_content *shape = tsr_lower_content(l, 1);
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t rank;
  if (!shape || (shape->count > 0 && !shape->exprs))
    return tsr_size_expand(l);
  if (shape->count > TSR_MAX_RANK)
    return tsr_lower_wrong(l, TSR_ERR_LIMIT, "shape of rank %llu",
                           (unsigned long long)shape->count);
  const tsr_imported *x = l->in[0];
  uint32_t count = (uint32_t)shape->count;
  rank = count > x->rank ? count : x->rank;
  for (uint32_t i = 0; i < rank; i++) {
    tsr_expr own = i + x->rank < rank ? e_int(l, 1) : x->dims[i + x->rank - rank];
    tsr_expr want = i + count < rank ? e_int(l, 1) : shape->exprs[i + count - rank];
    bool differ = own != want && !tsr_expr_equals_int(l->ir, want, 1);
    if (tsr_expr_equals_int(l->ir, own, 1) || (differ && tsr_graph_one_at_most(l->b, own)))
      dims[i] = want;
    else if (differ && tsr_graph_one_at_most(l->b, want))
      dims[i] = tsr_graph_agree(l->b, want, e_int(l, 1)) ? own : 0;
    else
      dims[i] = differ ? tsr_graph_agree(l->b, own, want) : own;
    if (!dims[i])
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "the input does not broadcast to the shape");
  }
  return broadcast_to(l, dims, rank);
}

tsr_status tsr_lower_op_tile(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 2));
  const tsr_content *repeats = tsr_size_content(l, 1, "repeats");
  const tsr_imported *x = l->in[0];
  tsr_expr spread[2 * TSR_MAX_RANK], all[2 * TSR_MAX_RANK], dims[TSR_MAX_RANK];
  if (!repeats)
    return tsr_lower_unknown(l, 1, "repeats");
  if (repeats->count != x->rank)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%llu repeats for rank %u",
                           (unsigned long long)repeats->count, x->rank);
  uint32_t n = 0;
  for (uint32_t i = 0; i < x->rank; i++) {
    dims[i] = e_mul(l, x->dims[i], repeats->exprs[i]);
    if (!tsr_expr_equals_int(l->ir, repeats->exprs[i], 1)) {
      spread[n] = e_int(l, 1);
      all[n++] = repeats->exprs[i];
    }
    spread[n] = x->dims[i];
    all[n++] = x->dims[i];
  }
  if (n > TSR_MAX_RANK)
    return tsr_lower_unsupported(l, "rank %u", x->rank);
  tsr_value y = v_reshape(l, tsr_lower_value(l, 0), spread, n);
  y = tsr_graph_broadcast(l->b, y, all, n);
  tsr_lower_set(l, 0, v_reshape(l, y, dims, x->rank));
  return TSR_OK;
}

/* --- concat, split --- */

static bool concat_contents(tsr_lower *l) {
  uint64_t count = 0, at = 0;
  for (uint32_t i = 0; i < l->in_count; i++) {
    const tsr_content *part = tsr_imported_content(l, l->in[i]);
    if (!part || l->in[i]->rank != 1 || !part->exprs || l->in[i]->dtype != l->in[0]->dtype)
      return false;
    count += part->count;
  }
  if (count > MOST_PICKED)
    return false;
  tsr_expr *exprs = tsr_lower_alloc(l, count, sizeof *exprs);
  for (uint32_t i = 0; exprs && i < l->in_count; i++)
    for (uint64_t k = 0; k < l->in[i]->content->count; k++)
      exprs[at++] = l->in[i]->content->exprs[k];
  if (exprs)
    set_exprs(l, l->in[0]->dtype, exprs, (uint32_t)count, false);
  return exprs != NULL;
}

/* Shapes are often put together from parts of which some are data: the others stay known. */
static const tsr_expr *partial_contents(tsr_lower *l) {
  int64_t count = 0, at = 0, extent;
  bool any = false;
  for (uint32_t i = 0; i < l->in_count; i++) {
    const tsr_imported *part = l->in[i];
    if (part->rank != 1 || !tsr_expr_is_int(l->ir, part->dims[0], &extent) || extent < 0 ||
        (count += extent) > TSR_MAX_RANK || tsr_dtype_class_of(part->dtype) != TSR_CLASS_INT)
      return NULL;
    any |= tsr_imported_content(l, l->in[i]) || part->partial;
  }
  tsr_expr *exprs = any ? tsr_lower_alloc(l, (uint64_t)count, sizeof *exprs) : NULL;
  for (uint32_t i = 0; exprs && i < l->in_count; i++) {
    (void)tsr_expr_is_int(l->ir, l->in[i]->dims[0], &extent);
    for (int64_t k = 0; k < extent; k++)
      exprs[at++] = tsr_size_known(l, i, (uint32_t)k);
  }
  return exprs;
}

tsr_status tsr_lower_op_concat(tsr_lower *l) {
  uint32_t axis;
  TSR_TRY(tsr_lower_need(l, l->in_count > 0 ? l->in_count : 1));
  TSR_TRY(tsr_lower_axis_attr(l, "axis", 1, l->in[0]->rank, &axis));
  if (concat_contents(l))
    return TSR_OK;
  tsr_value *parts = tsr_lower_alloc(l, l->in_count, sizeof *parts);
  for (uint32_t i = 0; parts && i < l->in_count; i++)
    parts[i] = tsr_lower_value(l, i);
  if (parts)
    tsr_lower_set(l, 0,
                  l->in_count == 1 ? parts[0] : tsr_graph_concat(l->b, parts, l->in_count, axis));
  if (l->out_count > 0 && l->out[0])
    l->out[0]->partial = partial_contents(l);
  return TSR_OK;
}

/* --- slices --- */

static bool set_slice(tsr_lower *l, uint32_t output, const tsr_expr *start, const int64_t *step,
                      const tsr_expr *extent) {
  const tsr_imported *x = l->in[0];
  int64_t strides[TSR_MAX_RANK], first[TSR_MAX_RANK];
  strided s = {.rank = x->rank};
  if (!source_strides(l, strides) || !static_extents(l, start, x->rank, first) ||
      !static_extents(l, extent, x->rank, s.extents))
    return false;
  for (uint32_t i = 0; i < x->rank; i++) {
    s.offset += first[i] * strides[i];
    s.strides[i] = step[i] * strides[i];
  }
  return set_picked(l, output, &s);
}

static void slice_output(tsr_lower *l, uint32_t output, const tsr_expr *start, const int64_t *step,
                         const tsr_expr *extent) {
  bool whole = true;
  for (uint32_t i = 0; i < l->in[0]->rank; i++)
    whole &= step[i] == 1 && extent[i] == l->in[0]->dims[i];
  if (whole)
    tsr_lower_set_imported(l, output, l->in[0]);
  else if (!set_slice(l, output, start, step, extent))
    tsr_lower_set(l, output, tsr_graph_slice(l->b, tsr_lower_value(l, 0), start, step, extent));
}

static const tsr_expr *int_exprs(tsr_lower *l, const int64_t *numbers, uint32_t count) {
  tsr_expr *exprs = numbers ? tsr_lower_alloc(l, count, sizeof *exprs) : NULL;
  for (uint32_t i = 0; exprs && i < count; i++)
    exprs[i] = e_int(l, numbers[i]);
  return exprs;
}

/* Sizes that are not plain numbers: index expressions or data. */
static tsr_status split_sizes(tsr_lower *l, const tsr_expr **out_sizes, uint32_t *out_count) {
  const tsr_content *content = tsr_size_content(l, 1, "split");
  if (!content)
    return tsr_lower_unknown(l, 1, "split");
  *out_sizes = content->exprs;
  *out_count = (uint32_t)content->count;
  return TSR_OK;
}

static tsr_status sizes_add_up(tsr_lower *l, tsr_expr dim, const tsr_expr *sizes, uint32_t count) {
  static const char text[] = "the sizes do not add up to the extent of the axis";
  tsr_expr total = e_int(l, 0);
  int64_t known;
  for (uint32_t i = 0; i < count; i++)
    total = e_add(l, total, sizes[i]);
  tsr_expr equal = tsr_expr_binary(l->ir, TSR_INDEX_EQ, total, dim);
  if (!tsr_expr_is_int(l->ir, equal, &known))
    tsr_graph_check(l->b, equal, text);
  else if (known == 0)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%s", text);
  return TSR_OK;
}

static tsr_expr divides(tsr_lower *l, tsr_expr dim, uint32_t count) {
  tsr_expr over = tsr_expr_mod_int(l->ir, dim, count);
  return tsr_expr_binary(l->ir, TSR_INDEX_EQ, over, e_int(l, 0));
}

tsr_status tsr_lower_op_split(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  const tsr_imported *x = l->in[0];
  tsr_expr start[TSR_MAX_RANK], extent[TSR_MAX_RANK];
  int64_t step[TSR_MAX_RANK], total;
  uint32_t axis, count;
  bool known;
  TSR_TRY(tsr_lower_axis_attr(l, "axis", 0, x->rank, &axis));
  const int64_t *list = tsr_lower_list(l, "split", 1, &count, &known);
  const tsr_expr *sizes = int_exprs(l, list, count);
  if (!known)
    TSR_TRY(split_sizes(l, &sizes, &count));
  if (sizes && count != l->out_count)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%u sizes for %u outputs", count, l->out_count);
  if (sizes)
    TSR_TRY(sizes_add_up(l, x->dims[axis], sizes, count));
  int64_t parts = tsr_lower_int(l, "num_outputs", l->out_count);
  if (parts != l->out_count)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "num_outputs is %lld, there are %u outputs",
                           (long long)parts, l->out_count);
  bool uneven = !sizes && !tsr_expr_is_int(l->ir, x->dims[axis], &total) &&
                !tsr_expr_divisible(l->ir, x->dims[axis], l->out_count);
  if (uneven && l->opset < 18)
    tsr_graph_check(l->b, divides(l, x->dims[axis], l->out_count),
                    "the axis does not split into equal parts");
  for (uint32_t i = 0; i < x->rank; i++) {
    start[i] = e_int(l, 0);
    extent[i] = x->dims[i];
    step[i] = 1;
  }
  for (uint32_t i = 0; i < l->out_count; i++) {
    tsr_expr part = sizes ? sizes[i] : tsr_expr_ceildiv_int(l->ir, x->dims[axis], l->out_count);
    tsr_expr rest = e_sub(l, x->dims[axis], start[axis]);
    extent[axis] = sizes ? part : e_min(l, part, rest);
    if (tsr_lower_wants(l, i))
      slice_output(l, i, start, step, extent);
    start[axis] = e_add(l, start[axis], part);
    if (uneven) /* the last parts may be less, or nothing */
      start[axis] = e_min(l, start[axis], x->dims[axis]);
  }
  return TSR_OK;
}

/* `bound` counted from the front and kept in [lo, hi] for a dim. */
static tsr_expr slice_bound(tsr_lower *l, tsr_expr bound, tsr_expr dim, tsr_expr lo, tsr_expr hi) {
  int64_t number, least, most;
  if (tsr_expr_is_int(l->ir, bound, &number)) {
    if (number > INT32_MAX)
      return hi;
    if (number < -INT32_MAX)
      return lo;
  }
  tsr_expr_bounds(l->ir, bound, NULL, 0, &least, &most);
  if (least < 0 && most >= 0) /* of unknown sign: 1 where it is negative, times the dim */
    bound =
        e_add(l, bound, e_mul(l, dim, tsr_expr_binary(l->ir, TSR_INDEX_LT, bound, e_int(l, 0))));
  else if (most < 0)
    bound = e_add(l, bound, dim);
  return e_max(l, lo, e_min(l, bound, hi));
}

typedef struct slice_axis {
  tsr_expr start, extent;
} slice_axis;

static bool slice_one(tsr_lower *l, tsr_expr dim, tsr_expr from, tsr_expr to, int64_t step,
                      slice_axis *out) {
  tsr_expr zero = e_int(l, 0), last = tsr_expr_add_int(l->ir, dim, -1);
  tsr_expr start = slice_bound(l, from, dim, zero, step > 0 ? dim : last);
  tsr_expr end =
      step > 0 ? slice_bound(l, to, dim, zero, dim) : slice_bound(l, to, dim, e_int(l, -1), last);
  if (!start || !end)
    return false;
  tsr_expr span = step > 0 ? e_sub(l, end, start) : e_sub(l, start, end);
  out->start = start;
  out->extent = e_max(l, zero, tsr_expr_ceildiv_int(l->ir, span, step > 0 ? step : -step));
  /* Backwards, an axis of no elements has no last one to start at. */
  if (step < 0)
    out->extent = e_min(l, out->extent, dim);
  if (tsr_expr_equals_int(l->ir, out->extent, 0))
    out->start = zero;
  return true;
}

typedef struct slice_lists {
  const tsr_expr *starts, *ends;
  const int64_t *axes, *steps;
  uint32_t count;
} slice_lists;

static tsr_status read_slice_attrs(tsr_lower *l, slice_lists *out) {
  uint32_t ends, axes;
  const int64_t *start = tsr_lower_ints(l, "starts", &out->count);
  const int64_t *end = tsr_lower_ints(l, "ends", &ends);
  out->axes = tsr_lower_ints(l, "axes", &axes);
  if (!start || !end || ends != out->count || (out->axes && axes != out->count))
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "starts, ends and axes differ in length");
  out->starts = int_exprs(l, start, out->count);
  out->ends = int_exprs(l, end, out->count);
  return TSR_OK;
}

static tsr_status read_slice_inputs(tsr_lower *l, slice_lists *out, bool *out_known) {
  uint32_t axes = 0, steps = 0;
  const tsr_content *start = tsr_lower_content(l, 1), *end = tsr_lower_content(l, 2);
  out->axes = tsr_lower_numbers(l, 3, &axes);
  out->steps = tsr_lower_numbers(l, 4, &steps);
  *out_known = start && start->exprs && end && end->exprs && (out->axes || !tsr_lower_has(l, 3)) &&
               (out->steps || !tsr_lower_has(l, 4));
  if (!*out_known)
    return TSR_OK;
  out->starts = start->exprs;
  out->ends = end->exprs;
  out->count = (uint32_t)start->count;
  if (end->count != out->count || (out->axes && axes != out->count) ||
      (out->steps && steps != out->count))
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "starts, ends, axes and steps differ in length");
  return TSR_OK;
}

tsr_status tsr_lower_op_slice(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  const tsr_imported *x = l->in[0];
  tsr_expr start[TSR_MAX_RANK], extent[TSR_MAX_RANK];
  int64_t step[TSR_MAX_RANK];
  slice_lists lists = {0};
  bool known = true;
  TSR_TRY(l->opset < 10 ? read_slice_attrs(l, &lists) : read_slice_inputs(l, &lists, &known));
  if (!known)
    return tsr_size_slices(l);
  for (uint32_t i = 0; i < x->rank; i++) {
    start[i] = e_int(l, 0);
    extent[i] = x->dims[i];
    step[i] = 1;
  }
  for (uint32_t i = 0; i < lists.count; i++) {
    uint32_t axis;
    slice_axis one;
    if (!tsr_lower_axis(lists.axes ? lists.axes[i] : (int64_t)i, x->rank, &axis))
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "an axis is out of range for rank %u", x->rank);
    step[axis] = lists.steps ? lists.steps[i] : 1;
    if (step[axis] == 0 || step[axis] < -INT32_MAX)
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "step %lld", (long long)step[axis]);
    if (step[axis] > INT32_MAX)
      step[axis] = INT32_MAX;
    if (!slice_one(l, x->dims[axis], lists.starts[i], lists.ends[i], step[axis], &one))
      return tsr_lower_unsupported(l, "a bound of unknown sign along axis %u", axis);
    start[axis] = one.start;
    extent[axis] = one.extent;
  }
  slice_output(l, 0, start, step, extent);
  return TSR_OK;
}

/* --- pad --- */

static tsr_status pad_value(tsr_lower *l, tsr_value x, tsr_value *out) {
  if (l->opset < 11) {
    *out = v_number(l, x, (double)tsr_lower_float(l, "value", 0));
    return TSR_OK;
  }
  *out = tsr_lower_has(l, 2) ? v_to_scalar(l, tsr_lower_value(l, 2)) : v_number(l, x, 0);
  return TSR_OK;
}

/* `out_pads` stays NULL when they are data. */
static tsr_status pad_widths(tsr_lower *l, const tsr_expr **out_pads, uint64_t *out_count) {
  uint32_t count;
  const char *name = l->opset < 2 ? "paddings" : "pads";
  const int64_t *attrs = l->opset < 11 ? tsr_lower_ints(l, name, &count) : NULL;
  if (attrs) {
    *out_pads = int_exprs(l, attrs, count);
    *out_count = count;
    return TSR_OK;
  }
  const tsr_content *content = tsr_lower_content(l, 1);
  if (!content)
    return TSR_OK;
  if (content->count > 0 && !content->exprs)
    return tsr_lower_unknown(l, 1, "pads");
  *out_pads = content->exprs;
  *out_count = content->count;
  return TSR_OK;
}

tsr_status tsr_lower_op_pad(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  uint32_t rank = l->in[0]->rank, axis_count;
  tsr_expr low[TSR_MAX_RANK], high[TSR_MAX_RANK];
  int64_t places[TSR_MAX_RANK];
  const tsr_expr *pads = NULL;
  uint64_t count = 0;
  tsr_value value;
  const char *mode = tsr_lower_text(l, "mode", "constant");
  TSR_TRY(pad_widths(l, &pads, &count));
  const int64_t *axes = tsr_lower_numbers(l, 3, &axis_count);
  bool anywhere = tsr_lower_has(l, 3) && !axes;
  uint32_t padded = axes ? axis_count : rank;
  if (pads && !anywhere && count != 2 * (uint64_t)padded)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%llu pads for %u axes", (unsigned long long)count,
                           padded);
  if (padded > rank)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%u axes for rank %u", padded, rank);
  for (uint32_t i = 0; i < rank; i++)
    low[i] = high[i] = e_int(l, 0);
  for (uint32_t i = 0; i < padded; i++) {
    uint32_t axis;
    if (!tsr_lower_axis(axes ? axes[i] : (int64_t)i, rank, &axis))
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "an axis is out of range for rank %u", rank);
    places[i] = axis;
    if (pads && !anywhere) {
      low[axis] = pads[i];
      high[axis] = pads[i + padded];
    }
  }
  if (!pads || anywhere)
    TSR_TRY(tsr_size_pads(l, anywhere ? NULL : places, padded, low, high));
  if (strcmp(mode, "constant") != 0 && strcmp(mode, "edge") != 0 && strcmp(mode, "reflect") != 0 &&
      strcmp(mode, "wrap") != 0)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "mode '%s'", mode);
  tsr_value x = tsr_lower_value(l, 0);
  TSR_TRY(pad_value(l, x, &value));
  tsr_lower_set(l, 0, tsr_graph_pad(l->b, x, value, low, high, NULL, mode));
  return TSR_OK;
}

/* --- blocks of space and depth --- */

tsr_status tsr_lower_op_depth_to_space(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0);
  int64_t size = tsr_lower_int(l, "blocksize", 0);
  if (v_rank(l, x) != 4 || size < 1 || size > INT32_MAX)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "needs rank 4 and a positive blocksize");
  bool crd = tsr_lower_text_is(l, "mode", "DCR", "CRD");
  static const int64_t perm_dcr[6] = {0, 3, 4, 1, 5, 2}, perm_crd[6] = {0, 1, 4, 2, 5, 3};
  tsr_expr n = v_dim(l, x, 0), c = v_dim(l, x, 1), h = v_dim(l, x, 2), w = v_dim(l, x, 3);
  tsr_expr s = e_int(l, size), depth = tsr_expr_floordiv_int(l->ir, c, size * size);
  tsr_expr dcr[6] = {n, s, s, depth, h, w}, split[6] = {n, depth, s, s, h, w};
  tsr_value y = v_reshape(l, x, crd ? split : dcr, 6);
  y = tsr_graph_transpose(l->b, y, crd ? perm_crd : perm_dcr);
  tsr_expr dims[4] = {n, depth, e_mul(l, h, s), e_mul(l, w, s)};
  tsr_lower_set(l, 0, v_reshape(l, y, dims, 4));
  return TSR_OK;
}

tsr_status tsr_lower_op_space_to_depth(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0);
  int64_t size = tsr_lower_int(l, "blocksize", 0);
  if (v_rank(l, x) != 4 || size < 1)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "needs rank 4 and a positive blocksize");
  static const int64_t perm_dcr[6] = {0, 3, 5, 1, 2, 4}, perm_crd[6] = {0, 1, 3, 5, 2, 4};
  bool crd = tsr_lower_text_is(l, "mode", "DCR", "CRD");
  tsr_expr n = v_dim(l, x, 0), c = v_dim(l, x, 1), s = e_int(l, size);
  tsr_expr h = tsr_expr_floordiv_int(l->ir, v_dim(l, x, 2), size);
  tsr_expr w = tsr_expr_floordiv_int(l->ir, v_dim(l, x, 3), size);
  tsr_expr split[6] = {n, c, h, s, w, s};
  tsr_expr dims[4] = {n, tsr_expr_mul_int(l->ir, c, size * size), h, w};
  tsr_value y = tsr_graph_transpose(l->b, v_reshape(l, x, split, 6), crd ? perm_crd : perm_dcr);
  tsr_lower_set(l, 0, v_reshape(l, y, dims, 4));
  return TSR_OK;
}

/* For operators whose lowering moves known contents by itself. */
bool tsr_fold_moves(tsr_lower *l) {
  for (uint32_t i = 0; i < l->in_count; i++)
    if (l->in[i] && !tsr_imported_content(l, l->in[i]))
      return false;
  if (l->row->lower(l) != TSR_OK)
    return false;
  for (uint32_t i = 0; i < l->out_count; i++)
    if (tsr_lower_wants(l, i) && (!l->out[i] || l->out[i]->value != 0))
      return false;
  return true;
}

/* --- gather of known indices, the rest in ops_index.c --- */

bool tsr_fold_gather(tsr_lower *l) {
  uint32_t count, axis;
  int64_t strides[TSR_MAX_RANK], extent;
  if (!tsr_lower_has(l, 0) || !tsr_lower_has(l, 1) || l->in[1]->rank > 1)
    return false;
  const tsr_imported *x = l->in[0];
  if (x->rank != 1 || !tsr_lower_axis(tsr_lower_int(l, "axis", 0), x->rank, &axis) ||
      !source_strides(l, strides) || !tsr_expr_is_int(l->ir, x->dims[0], &extent))
    return false;
  const int64_t *indices =
      tsr_imported_content(l, l->in[1]) ? tsr_lower_numbers(l, 1, &count) : NULL;
  if (!indices)
    return false;
  tsr_expr *exprs = tsr_lower_alloc(l, count, sizeof *exprs);
  if (!exprs || !x->content->exprs || count == 0)
    return false;
  for (uint32_t i = 0; i < count; i++) {
    int64_t at = indices[i] < 0 ? indices[i] + extent : indices[i];
    if (at < 0 || at >= extent)
      return false;
    exprs[i] = x->content->exprs[at];
  }
  set_exprs(l, x->dtype, exprs, count, l->in[1]->rank == 0);
  return true;
}
