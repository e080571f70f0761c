/* com.microsoft: Attention, MultiHeadAttention, QAttention and RotaryEmbedding. Masks are numbers
 * that are added, as in ONNX Runtime: a row in which everything is masked has a defined result, and
 * how much a masked key still counts is an attribute. */
#include "frontend/onnx/attention.h"
#include "frontend/onnx/op_table.h"
#include "frontend/onnx/sizes.h"
#include <float.h>
#include <math.h>

typedef struct contrib {
  tsr_lower *l;
  tsr_value q, k, v; /* [B, heads, S or T, D], past included; compute type */
  int64_t heads;
  tsr_expr past;       /* keys before the first query; 0: none */
  uint32_t mask, bias; /* numbers of inputs */
  bool cumulated;      /* a mask of rank 1 may be [3 * B + 2], not [2 * B] */
  tsr_dtype dtype;
} contrib;

/* --- masks --- */

static tsr_value filter(const contrib *a, tsr_value keep) {
  tsr_value zero = v_number(a->l, a->q, 0);
  double masked = (double)tsr_lower_float(a->l, "mask_filter_value", -10000.0f);
  return v_select(a->l, keep, zero, v_number(a->l, a->q, masked));
}

static tsr_value key_positions(const contrib *a) {
  tsr_expr keys = v_dim(a->l, a->k, 2);
  return v_along(a->l, tsr_graph_iota(a->l->b, TSR_I64, &keys, 1, 0), 3, 4);
}

/* Keys before the end of each row, which is what the first B numbers say. Of 2 * B the others are
 * the rows' starts; of 3 * B + 2 ONNX Runtime's CPU kernels read no more. Which of the lengths it
 * is, a run may have to tell. */
static tsr_status range_mask(const contrib *a, tsr_value mask, tsr_value *out) {
  static const char *const wrong[2] = {"a mask of rank 1 that is neither [batch] nor [2 * batch]",
                                       "a mask of rank 1 that is neither [batch] nor "
                                       "[3 * batch + 2]"};
  tsr_lower *l = a->l;
  tsr_expr batch = v_dim(l, a->q, 0), count = v_dim(l, mask, 0);
  tsr_expr longer = tsr_expr_mul_int(l->ir, batch, a->cumulated ? 3 : 2), none = e_int(l, 0);
  if (a->cumulated)
    longer = e_add(l, longer, e_int(l, 2));
  tsr_expr misfit = e_mul(l, e_sub(l, count, batch), e_sub(l, count, longer));
  int64_t number = 0;
  if (tsr_expr_is_int(l->ir, misfit, &number) && number != 0)
    return tsr_lower_unsupported(l, "%s", wrong[a->cumulated]);
  if (misfit != none)
    tsr_graph_check(l->b, tsr_expr_binary(l->ir, TSR_INDEX_EQ, misfit, none), wrong[a->cumulated]);
  tsr_value wide = v_cast(l, mask, TSR_I64), keys = key_positions(a);
  tsr_value end = v_slice_axis(l, wide, 0, none, batch);
  tsr_value keep = v_lt(l, keys, v_along(l, end, 0, 4));
  if (count != batch && !a->cumulated) {
    tsr_value start = v_slice_axis(l, wide, 0, e_sub(l, count, batch), batch);
    if (count != longer)
      start = v_select(
          l, v_gt(l, tsr_graph_index(l->b, TSR_I64, count), tsr_graph_index(l->b, TSR_I64, batch)),
          start, v_number(l, start, 0));
    keep = v_and(l, keep, v_ge(l, keys, v_along(l, start, 0, 4)));
  }
  *out = filter(a, keep);
  return TSR_OK;
}

/* The mask as numbers [B, 1, 1 or S, T]; 0: none. */
static tsr_status read_mask(const contrib *a, tsr_value *out) {
  tsr_lower *l = a->l;
  *out = 0;
  if (!tsr_lower_has(l, a->mask))
    return TSR_OK;
  tsr_value mask = tsr_lower_value(l, a->mask);
  uint32_t rank = v_rank(l, mask);
  int64_t width = 0;
  if (rank == 1)
    return range_mask(a, mask, out);
  if (rank != 2 && rank != 3)
    return tsr_lower_unsupported(l, "a mask of rank %u", rank);
  /* Attention adds one number to all scores of a row, which changes nothing. */
  if (rank == 2 && !a->cumulated && v_static_dim(l, mask, 1, &width) && width == 1)
    return TSR_OK;
  mask = v_cast(l, mask, TSR_I32);
  mask = v_fit_axis(l, mask, rank - 1, v_dim(l, a->k, 2), 0);
  if (rank == 3)
    mask = v_fit_axis(l, mask, 1, v_dim(l, a->q, 2), 0);
  else
    mask = v_unsqueeze(l, mask, 1);
  mask = v_unsqueeze(l, mask, 1);
  *out = filter(a, v_gt(l, mask, v_number(l, mask, 0)));
  return TSR_OK;
}

/* Later keys take the lowest number in place of the mask's. One query alone sees all keys. */
static tsr_value causal_mask(const contrib *a, tsr_value mask) {
  tsr_lower *l = a->l;
  tsr_expr rows = v_dim(l, a->q, 2), keys = v_dim(l, a->k, 2), dims[4];
  dims[0] = dims[1] = e_int(l, 1);
  dims[2] = rows;
  dims[3] = keys;
  tsr_value query = tsr_graph_iota(l->b, TSR_I64, dims, 4, 2);
  if (a->past)
    query = v_add(l, query, tsr_graph_index(l->b, TSR_I64, a->past));
  tsr_value seen = v_le(l, tsr_graph_iota(l->b, TSR_I64, dims, 4, 3), query);
  if (e_sub(l, keys, a->past ? a->past : e_int(l, 0)) != rows) {
    tsr_value count = tsr_graph_index(l->b, TSR_I64, rows);
    seen = v_or(l, seen, v_eq(l, count, v_number(l, count, 1)));
  }
  tsr_value open = mask ? mask : v_number(l, a->q, 0);
  return v_select(l, seen, open, v_number(l, a->q, (double)-FLT_MAX));
}

/* --- the product --- */

/* `out_scores` (or NULL): what the softmax is taken of. */
static tsr_status attend(const contrib *a, tsr_value *out, tsr_value *out_scores) {
  tsr_lower *l = a->l;
  int64_t width;
  tsr_value mask, bias = 0;
  double scale = (double)tsr_lower_float(l, "scale", 0);
  if (scale == 0) {
    if (!v_static_dim(l, a->q, 3, &width) || width < 1)
      return tsr_lower_unsupported(l, "a symbolic head size");
    scale = 1 / sqrt((double)width);
  }
  TSR_TRY(read_mask(a, &mask));
  if (tsr_lower_int(l, "unidirectional", 0) != 0)
    mask = causal_mask(a, mask);
  if (tsr_lower_has(l, a->bias)) {
    bias = v_cast(l, tsr_lower_value(l, a->bias), v_dtype(l, a->q));
    if (v_rank(l, bias) != 4)
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "attention_bias of rank %u", v_rank(l, bias));
    bias = v_fit_axis(l, v_fit_axis(l, bias, 2, v_dim(l, a->q, 2), 0), 3, v_dim(l, a->k, 2), 0);
  }
  tsr_value scores = v_head_scores(l, a->q, a->k);
  scores = v_mul_number(l, scores, scale);
  tsr_value added = bias && mask ? v_add(l, bias, mask) : bias ? bias : mask;
  if (added)
    scores = v_add(l, scores, added);
  if (out_scores)
    *out_scores = scores;
  /* Only a bias may hold infinities. */
  const int64_t axis = 3;
  tsr_value p = bias ? v_guarded_softmax(l, scores, 0) : v_softmax(l, scores, &axis, 1);
  tsr_value y = v_head_mix(l, p, a->v);
  *out = v_cast(l, v_merge_heads(l, y), a->dtype);
  return TSR_OK;
}

static tsr_status read_head_count(contrib *a) {
  a->heads = tsr_lower_int(a->l, "num_heads", 0);
  if (a->heads < 1)
    return tsr_lower_wrong(a->l, TSR_ERR_FORMAT, "num_heads = %lld", (long long)a->heads);
  return TSR_OK;
}

static tsr_status refuse_set(tsr_lower *l, const char *attribute) {
  int64_t number = tsr_lower_int(l, attribute, 0);
  if (number != 0)
    return tsr_lower_unsupported(l, "%s = %lld", attribute, (long long)number);
  return TSR_OK;
}

/* --- caches with room --- */

/* The past's length is data where the cache has room for what comes: how many of its places are
 * in use. The new rows must find room. */
static tsr_status read_past_length(contrib *a, uint32_t input, tsr_expr rows, tsr_expr room) {
  tsr_lower *l = a->l;
  const tsr_content *length = tsr_size_content(l, input, "past_sequence_length");
  if (!length || length->count != 1 || !length->exprs)
    return tsr_lower_unknown(l, input, "past_sequence_length");
  a->past = length->exprs[0];
  tsr_expr fits = tsr_expr_binary(l->ir, TSR_INDEX_LE, e_add(l, a->past, rows), room);
  tsr_graph_check(l->b, fits, "the cache has no room for the new keys");
  return TSR_OK;
}

/* The cache with new rows x behind the past, along `axis`; of its own type. */
static tsr_value put_rows(const contrib *a, tsr_value cache, tsr_value x, uint32_t axis) {
  tsr_lower *l = a->l;
  x = v_cast(l, x, v_dtype(l, cache));
  if (!x)
    return 0;
  uint32_t rank = v_rank(l, x);
  tsr_expr rows = v_dim(l, x, axis);
  tsr_value at = tsr_graph_iota(l->b, TSR_I64, &rows, 1, 0);
  at = v_along(l, v_add(l, at, tsr_graph_index(l->b, TSR_I64, a->past)), axis, rank);
  at = tsr_graph_broadcast(l->b, at, v_type(l, x)->dims, rank);
  return tsr_graph_scatter_elements(l->b, cache, at, x, axis, "none");
}

/* The part of a cache [B, heads, room, D] that is in use. */
static tsr_value used_rows(const contrib *a, tsr_value cache, tsr_expr rows) {
  tsr_lower *l = a->l;
  tsr_value used = v_slice_axis(l, cache, 2, e_int(l, 0), e_add(l, a->past, rows));
  return v_cast(l, used, v_dtype(l, a->q));
}

/* --- Attention, QAttention --- */

typedef struct projection {
  tsr_value y;   /* [B, S, width], biased */
  uint32_t past; /* numbers of inputs */
  uint32_t past_length;
  tsr_value present; /* the past with the new rows in it; 0: what is attended to */
} projection;

/* One of the past's two tensors, [B, heads, P, D]. */
static tsr_value past_part(contrib *a, uint32_t input, int64_t which) {
  tsr_lower *l = a->l;
  tsr_value past = tsr_lower_value(l, input);
  tsr_expr dims[4];
  for (uint32_t i = 0; i < 4; i++)
    dims[i] = v_dim(l, past, i + 1);
  tsr_value part = v_slice_axis(l, past, 0, e_int(l, which), e_int(l, 1));
  return v_cast(l, v_reshape(l, part, dims, 4), v_dtype(l, a->q));
}

static tsr_value after_past(contrib *a, uint32_t input, int64_t which, tsr_value x) {
  tsr_value parts[2] = {past_part(a, input, which), x};
  return tsr_graph_concat(a->l->b, parts, 2, 2);
}

/* Keys and values of a past [2, B, heads, room, D] of which the present uses the memory. */
static tsr_status share_past(contrib *a, projection *p) {
  tsr_lower *l = a->l;
  tsr_value cache = tsr_lower_value(l, p->past);
  tsr_value parts[2] = {v_unsqueeze(l, a->k, 0), v_unsqueeze(l, a->v, 0)};
  tsr_expr rows = v_dim(l, a->k, 2), dims[4];
  TSR_TRY(read_past_length(a, p->past_length, rows, v_dim(l, cache, 3)));
  cache = put_rows(a, cache, tsr_graph_concat(l->b, parts, 2, 0), 3);
  p->present = cache;
  for (uint32_t i = 0; i < 4; i++)
    dims[i] = v_dim(l, cache, i + 1);
  for (uint32_t i = 0; i < 2; i++) {
    tsr_value part = v_slice_axis(l, cache, 0, e_int(l, i), e_int(l, 1));
    part = used_rows(a, v_reshape(l, part, dims, 4), rows);
    *(i == 0 ? &a->k : &a->v) = part;
  }
  return TSR_OK;
}

static tsr_status split_projection(contrib *a, projection *p) {
  tsr_lower *l = a->l;
  uint32_t count;
  tsr_expr size[3], width = v_dim(l, p->y, 2);
  const int64_t *sizes = tsr_lower_ints(l, "qkv_hidden_sizes", &count);
  if (sizes && count != 3)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "qkv_hidden_sizes of %u numbers", count);
  for (uint32_t i = 0; i < 3; i++)
    size[i] = sizes ? e_int(l, sizes[i]) : tsr_expr_floordiv_int(l->ir, width, 3);
  tsr_value q = v_slice_axis(l, p->y, 2, e_int(l, 0), size[0]);
  tsr_value k = v_slice_axis(l, p->y, 2, size[0], size[1]);
  tsr_value v = v_slice_axis(l, p->y, 2, e_add(l, size[0], size[1]), size[2]);
  a->q = v_split_heads(l, q, a->heads);
  a->k = v_split_heads(l, k, a->heads);
  a->v = v_split_heads(l, v, a->heads);
  if (!tsr_lower_has(l, p->past))
    return TSR_OK;
  if (l->in[p->past]->rank != 5)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "past of rank %u", l->in[p->past]->rank);
  if (tsr_lower_int(l, "past_present_share_buffer", 0) != 0)
    return share_past(a, p);
  a->past = l->in[p->past]->dims[3];
  a->k = after_past(a, p->past, 0, a->k);
  a->v = after_past(a, p->past, 1, a->v);
  return TSR_OK;
}

static tsr_status finish_projected(contrib *a, projection p) {
  tsr_lower *l = a->l;
  tsr_value y;
  if (v_rank(l, p.y) != 3)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "an input of rank %u", v_rank(l, p.y));
  TSR_TRY(refuse_set(l, "do_rotary"));
  if (!tsr_lower_has(l, p.past_length))
    TSR_TRY(refuse_set(l, "past_present_share_buffer"));
  TSR_TRY(read_head_count(a));
  TSR_TRY(split_projection(a, &p));
  TSR_TRY(attend(a, &y, NULL));
  tsr_lower_set(l, 0, y);
  if (tsr_lower_wants(l, 1) && p.present) {
    tsr_lower_set(l, 1, p.present);
  } else if (tsr_lower_wants(l, 1)) {
    tsr_value parts[2] = {v_unsqueeze(l, a->k, 0), v_unsqueeze(l, a->v, 0)};
    tsr_lower_set(l, 1, v_cast(l, tsr_graph_concat(l->b, parts, 2, 0), a->dtype));
  }
  return TSR_OK;
}

tsr_status tsr_lower_op_contrib_attention(tsr_lower *l) {
  enum { INPUT, WEIGHTS, BIAS, MASK, PAST, ADDED, PAST_LENGTH };
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = tsr_lower_value(l, INPUT), wide = v_widen(l, x);
  contrib a = {.l = l, .mask = MASK, .bias = ADDED, .dtype = v_dtype(l, x)};
  tsr_value w = v_cast(l, tsr_lower_value(l, WEIGHTS), v_dtype(l, wide));
  projection p = {v_matmul(l, wide, w, false, false), PAST, PAST_LENGTH, 0};
  if (tsr_lower_has(l, BIAS))
    p.y = v_add(l, p.y, v_cast(l, tsr_lower_value(l, BIAS), v_dtype(l, wide)));
  return finish_projected(&a, p);
}

/* x minus its zero point, as i32. */
static tsr_value centred(tsr_lower *l, uint32_t x, uint32_t zero) {
  tsr_value wide = v_cast(l, tsr_lower_value(l, x), TSR_I32);
  if (!tsr_lower_has(l, zero))
    return wide;
  return v_sub(l, wide, v_cast(l, tsr_lower_value(l, zero), TSR_I32));
}

tsr_status tsr_lower_op_contrib_qattention(tsr_lower *l) {
  enum { INPUT, WEIGHTS, BIAS, SCALE_X, SCALE_W, MASK, ZERO_X, ZERO_W, PAST };
  TSR_TRY(tsr_lower_need(l, 5));
  tsr_value bias = v_widen(l, tsr_lower_value(l, BIAS));
  contrib a = {.l = l, .mask = MASK, .bias = UINT32_MAX, .dtype = l->in[BIAS]->dtype};
  tsr_dtype dtype = v_dtype(l, bias);
  tsr_value whole =
      v_matmul(l, centred(l, INPUT, ZERO_X), centred(l, WEIGHTS, ZERO_W), false, false);
  tsr_value scale = v_mul(l, v_cast(l, tsr_lower_value(l, SCALE_X), dtype),
                          v_cast(l, tsr_lower_value(l, SCALE_W), dtype));
  projection p = {v_add(l, v_mul(l, v_cast(l, whole, dtype), scale), bias), PAST, UINT32_MAX, 0};
  return finish_projected(&a, p);
}

/* --- MultiHeadAttention --- */

enum {
  IN_QUERY,
  IN_KEY,
  IN_VALUE,
  IN_BIAS,
  IN_PADDING,
  IN_ADDED,
  IN_PAST_KEY,
  IN_PAST_VALUE,
  IN_PAST_LENGTH,
  IN_ORIGIN
};

/* Part `which` of [B, S, heads, parts, D] as [B, S, heads * D]. */
static tsr_value packed_part(tsr_lower *l, tsr_value x, int64_t which) {
  tsr_expr dims[3] = {v_dim(l, x, 0), v_dim(l, x, 1), e_mul(l, v_dim(l, x, 2), v_dim(l, x, 4))};
  return v_reshape(l, v_slice_axis(l, x, 3, e_int(l, which), e_int(l, 1)), dims, 3);
}

static tsr_status read_parts(contrib *a) {
  tsr_lower *l = a->l;
  tsr_value q = v_widen(l, tsr_lower_value(l, IN_QUERY));
  tsr_dtype dtype = v_dtype(l, q);
  if (v_rank(l, q) == 5) {
    a->k = packed_part(l, q, 1);
    a->v = packed_part(l, q, 2);
    a->q = packed_part(l, q, 0);
    return TSR_OK;
  }
  a->q = q;
  TSR_TRY(tsr_lower_need(l, 2));
  a->k = v_cast(l, tsr_lower_value(l, IN_KEY), dtype);
  if (v_rank(l, a->k) == 5) {
    a->v = packed_part(l, a->k, 1);
    a->k = packed_part(l, a->k, 0);
  } else {
    TSR_TRY(tsr_lower_need(l, 3));
    a->v = v_cast(l, tsr_lower_value(l, IN_VALUE), dtype);
  }
  uint32_t rank = v_rank(l, a->k);
  if (v_rank(l, q) != 3 || (rank != 3 && rank != 4) || v_rank(l, a->v) != rank)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "query, key and value of rank %u, %u and %u",
                           v_rank(l, q), rank, v_rank(l, a->v));
  return TSR_OK;
}

/* Keys and values that come as heads have had their bias. */
static void add_bias(contrib *a) {
  tsr_lower *l = a->l;
  if (!tsr_lower_has(l, IN_BIAS))
    return;
  tsr_value bias = v_cast(l, tsr_lower_value(l, IN_BIAS), v_dtype(l, a->q));
  tsr_expr q = v_dim(l, a->q, 2);
  a->q = v_add(l, a->q, v_slice_axis(l, bias, 0, e_int(l, 0), q));
  if (v_rank(l, a->k) == 4)
    return;
  a->k = v_add(l, a->k, v_slice_axis(l, bias, 0, q, q));
  a->v = v_add(l, a->v, v_slice_axis(l, bias, 0, e_add(l, q, q), v_dim(l, a->v, 2)));
}

static tsr_value with_past(contrib *a, uint32_t input, tsr_value x) {
  if (!tsr_lower_has(a->l, input))
    return x;
  tsr_value parts[2] = {v_cast(a->l, tsr_lower_value(a->l, input), v_dtype(a->l, x)), x};
  return tsr_graph_concat(a->l->b, parts, 2, 2);
}

/* Whose past each key is taken from, as pairs (row, key) [B, T, 2]: rows of a batch are beams, and
 * cache_indirection [batch, beams, room] says which of the beams made a key. New ones are a row's
 * own. */
static tsr_value origins(const contrib *a, tsr_expr keys) {
  tsr_lower *l = a->l;
  tsr_value origin = v_cast(l, tsr_lower_value(l, IN_ORIGIN), TSR_I64), parts[2];
  tsr_expr rows = v_dim(l, a->q, 0), pair[3] = {rows, keys, e_int(l, 1)};
  tsr_expr flat[2] = {rows, v_dim(l, origin, 2)};
  tsr_value beams = tsr_graph_index(l->b, TSR_I64, v_dim(l, origin, 1));
  origin = v_slice_axis(l, v_reshape(l, origin, flat, 2), 1, e_int(l, 0), keys);
  origin = v_unsqueeze(l, origin, 2);
  tsr_value row = tsr_graph_iota(l->b, TSR_I64, pair, 3, 0);
  tsr_value key = tsr_graph_iota(l->b, TSR_I64, pair, 3, 1);
  tsr_value first = v_mul(l, v_div(l, row, beams), beams);
  tsr_value is_old = v_lt(l, key, tsr_graph_index(l->b, TSR_I64, a->past));
  parts[0] = v_select(l, is_old, v_add(l, first, origin), row);
  parts[1] = key;
  return tsr_graph_concat(l->b, parts, 2, 2);
}

static tsr_value gather_origins(const contrib *a, tsr_value x, tsr_value pairs) {
  static const int64_t swap[4] = {0, 2, 1, 3};
  tsr_lower *l = a->l;
  x = tsr_graph_gather_nd(l->b, tsr_graph_transpose(l->b, x, swap), pairs, 0);
  return tsr_graph_transpose(l->b, x, swap);
}

/* Present keys and values; a->k and a->v become what is attended to. */
static tsr_status grow_caches(contrib *a, tsr_value present[2]) {
  tsr_lower *l = a->l;
  bool past = tsr_lower_has(l, IN_PAST_KEY) && tsr_lower_has(l, IN_PAST_VALUE);
  if (past && (l->in[IN_PAST_KEY]->rank != 4 || l->in[IN_PAST_VALUE]->rank != 4))
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "past_key and past_value of rank %u and %u",
                           l->in[IN_PAST_KEY]->rank, l->in[IN_PAST_VALUE]->rank);
  if (!past || !tsr_lower_has(l, IN_PAST_LENGTH)) {
    if (past)
      a->past = l->in[IN_PAST_KEY]->dims[2];
    present[0] = a->k = with_past(a, IN_PAST_KEY, a->k);
    present[1] = a->v = with_past(a, IN_PAST_VALUE, a->v);
    return TSR_OK;
  }
  tsr_expr rows = v_dim(l, a->k, 2);
  TSR_TRY(read_past_length(a, IN_PAST_LENGTH, rows, l->in[IN_PAST_KEY]->dims[2]));
  present[0] = put_rows(a, tsr_lower_value(l, IN_PAST_KEY), a->k, 2);
  present[1] = put_rows(a, tsr_lower_value(l, IN_PAST_VALUE), a->v, 2);
  a->k = used_rows(a, present[0], rows);
  a->v = used_rows(a, present[1], rows);
  if (tsr_lower_has(l, IN_ORIGIN)) {
    if (l->in[IN_ORIGIN]->rank != 3)
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "cache_indirection of rank %u",
                             l->in[IN_ORIGIN]->rank);
    tsr_value pairs = origins(a, e_add(l, a->past, rows));
    a->k = gather_origins(a, a->k, pairs);
    a->v = gather_origins(a, a->v, pairs);
  }
  return TSR_OK;
}

tsr_status tsr_lower_op_contrib_multi_head(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  contrib a = {.l = l,
               .mask = IN_PADDING,
               .bias = IN_ADDED,
               .cumulated = true,
               .dtype = l->in[IN_QUERY]->dtype};
  tsr_value y, scores, present[2];
  TSR_TRY(read_head_count(&a));
  TSR_TRY(read_parts(&a));
  add_bias(&a);
  a.q = v_split_heads(l, a.q, a.heads);
  if (v_rank(l, a.k) == 3) {
    a.k = v_split_heads(l, a.k, a.heads);
    a.v = v_split_heads(l, a.v, a.heads);
  }
  TSR_TRY(grow_caches(&a, present));
  TSR_TRY(attend(&a, &y, &scores));
  tsr_lower_set(l, 0, y);
  for (uint32_t i = 0; i < 2; i++)
    if (tsr_lower_wants(l, i + 1))
      tsr_lower_set(l, i + 1, v_cast(l, present[i], a.dtype));
  if (tsr_lower_wants(l, 3))
    tsr_lower_set(l, 3, v_cast(l, scores, a.dtype));
  return TSR_OK;
}

/* --- RotaryEmbedding --- */

/* Positions of x [B, heads, S, D]: one number counts on, otherwise [B, S]. */
static tsr_value positions(tsr_lower *l, tsr_value x, uint32_t input) {
  tsr_value ids = v_cast(l, tsr_lower_value(l, input), TSR_I64);
  if (v_rank(l, ids) != 1)
    return ids;
  tsr_expr dims[2] = {e_int(l, 1), v_dim(l, x, 2)};
  return v_add(l, tsr_graph_iota(l->b, TSR_I64, dims, 2, 1), v_to_scalar(l, ids));
}

/* Attribute `scale` changes nothing, as in ONNX Runtime's kernels. */
tsr_status tsr_lower_op_contrib_rotary(tsr_lower *l) {
  enum { INPUT, PLACE, COS, SIN };
  int64_t half, turned, heads;
  TSR_TRY(tsr_lower_need(l, 4));
  TSR_TRY(refuse_set(l, "is_packed_batching"));
  tsr_value x = tsr_lower_value(l, INPUT), wide = v_widen(l, x);
  tsr_value c = v_cast(l, tsr_lower_value(l, COS), v_dtype(l, wide));
  tsr_value s = v_cast(l, tsr_lower_value(l, SIN), v_dtype(l, wide));
  uint32_t rank = v_rank(l, x);
  if (!v_static_dim(l, c, 1, &half) || half < 1)
    return tsr_lower_unsupported(l, "a symbolic head size");
  turned = 2 * half;
  heads = tsr_lower_int(l, "num_heads", 0);
  if (rank == 3) {
    int64_t width = 0;
    if (tsr_lower_int(l, "rotary_embedding_dim", 0) == 0 && v_static_dim(l, wide, 2, &width))
      heads = width / turned;
    if (heads < 1)
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "num_heads = %lld", (long long)heads);
    wide = v_split_heads(l, wide, heads);
  } else if (rank != 4)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "an input of rank %u", rank);
  int64_t size;
  if (v_static_dim(l, wide, 3, &size) && size < turned)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "a cache of %lld for a head of %lld", (long long)half,
                           (long long)size);
  tsr_value place = positions(l, wide, PLACE);
  c = v_unsqueeze(l, tsr_graph_gather(l->b, c, place, 0), 1);
  s = v_unsqueeze(l, tsr_graph_gather(l->b, s, place, 0), 1);
  tsr_value y = v_rotate_heads(l, wide, c, s, turned, tsr_lower_int(l, "interleaved", 0) != 0);
  if (rank == 3)
    y = v_merge_heads(l, y);
  tsr_lower_set(l, 0, v_cast(l, y, v_dtype(l, x)));
  return TSR_OK;
}
