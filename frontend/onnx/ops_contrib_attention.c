/* com.microsoft: Attention, MultiHeadAttention, QAttention and RotaryEmbedding. Masks are numbers
 * that are added, as in ONNX Runtime: a row in which everything is masked has a defined result, and
 * how much a masked key still counts is an attribute. */
#include "frontend/onnx/attention.h"
#include "frontend/onnx/op_table.h"
#include <float.h>
#include <math.h>

typedef struct contrib {
  tsr_lower *l;
  tsr_value q, k, v; /* [B, heads, S or T, D], past included; compute type */
  int64_t heads;
  tsr_expr past;       /* keys before the first query; 0: none */
  uint32_t mask, bias; /* numbers of inputs */
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

/* Keys before the end of each row, or, of 2 * B numbers, from the start in the second half on. A
 * number of rows of another name is taken for B, and a run checks it. */
static tsr_status range_mask(const contrib *a, tsr_value mask, tsr_value *out) {
  tsr_lower *l = a->l;
  tsr_expr batch = v_dim(l, a->q, 0);
  bool both = v_dim(l, mask, 0) == tsr_expr_mul_int(l->ir, batch, 2);
  if (!both)
    mask = tsr_graph_agree_dim(l->b, mask, 0, batch);
  if (!both && v_dim(l, mask, 0) != batch)
    return tsr_lower_unsupported(l, "a mask of rank 1 that is not [batch] or [2 * batch]");
  tsr_value wide = v_cast(l, mask, TSR_I64), keys = key_positions(a);
  tsr_value end = both ? v_slice_axis(l, wide, 0, e_int(l, 0), batch) : wide;
  tsr_value keep = v_lt(l, keys, v_along(l, end, 0, 4));
  if (both) {
    tsr_value start = v_slice_axis(l, wide, 0, batch, batch);
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
  if (rank == 1)
    return range_mask(a, mask, out);
  if (rank != 2 && rank != 3)
    return tsr_lower_unsupported(l, "a mask of rank %u", rank);
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

/* --- Attention, QAttention --- */

typedef struct projection {
  tsr_value y;   /* [B, S, width], biased */
  uint32_t past; /* number of an input */
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

static tsr_status split_projection(contrib *a, projection p) {
  tsr_lower *l = a->l;
  uint32_t count;
  tsr_expr size[3], width = v_dim(l, p.y, 2);
  const int64_t *sizes = tsr_lower_ints(l, "qkv_hidden_sizes", &count);
  if (sizes && count != 3)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "qkv_hidden_sizes of %u numbers", count);
  for (uint32_t i = 0; i < 3; i++)
    size[i] = sizes ? e_int(l, sizes[i]) : tsr_expr_floordiv_int(l->ir, width, 3);
  tsr_value q = v_slice_axis(l, p.y, 2, e_int(l, 0), size[0]);
  tsr_value k = v_slice_axis(l, p.y, 2, size[0], size[1]);
  tsr_value v = v_slice_axis(l, p.y, 2, e_add(l, size[0], size[1]), size[2]);
  a->q = v_split_heads(l, q, a->heads);
  a->k = v_split_heads(l, k, a->heads);
  a->v = v_split_heads(l, v, a->heads);
  if (!tsr_lower_has(l, p.past))
    return TSR_OK;
  if (l->in[p.past]->rank != 5)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "past of rank %u", l->in[p.past]->rank);
  a->past = l->in[p.past]->dims[3];
  a->k = after_past(a, p.past, 0, a->k);
  a->v = after_past(a, p.past, 1, a->v);
  return TSR_OK;
}

static tsr_status finish_projected(contrib *a, projection p) {
  tsr_lower *l = a->l;
  tsr_value y;
  if (v_rank(l, p.y) != 3)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "an input of rank %u", v_rank(l, p.y));
  TSR_TRY(refuse_set(l, "do_rotary"));
  TSR_TRY(refuse_set(l, "past_present_share_buffer"));
  TSR_TRY(read_head_count(a));
  TSR_TRY(split_projection(a, p));
  TSR_TRY(attend(a, &y, NULL));
  tsr_lower_set(l, 0, y);
  if (tsr_lower_wants(l, 1)) {
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
  if (tsr_lower_has(l, PAST_LENGTH))
    return tsr_lower_unsupported(l, "input 6 (past_sequence_length)");
  tsr_value w = v_cast(l, tsr_lower_value(l, WEIGHTS), v_dtype(l, wide));
  projection p = {v_matmul(l, wide, w, false, false), PAST};
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
  projection p = {v_add(l, v_mul(l, v_cast(l, whole, dtype), scale), bias), PAST};
  return finish_projected(&a, p);
}

/* --- MultiHeadAttention --- */

enum { IN_QUERY, IN_KEY, IN_VALUE, IN_BIAS, IN_PADDING, IN_ADDED, IN_PAST_KEY, IN_PAST_VALUE };

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

tsr_status tsr_lower_op_contrib_multi_head(tsr_lower *l) {
  static const char *const unread[2] = {"past_sequence_length", "cache_indirection"};
  TSR_TRY(tsr_lower_need(l, 1));
  contrib a = {.l = l, .mask = IN_PADDING, .bias = IN_ADDED, .dtype = l->in[IN_QUERY]->dtype};
  for (uint32_t i = 0; i < 2; i++)
    if (tsr_lower_has(l, 8 + i))
      return tsr_lower_unsupported(l, "input %u (%s)", 8 + i, unread[i]);
  tsr_value y, scores;
  TSR_TRY(read_head_count(&a));
  TSR_TRY(read_parts(&a));
  add_bias(&a);
  a.q = v_split_heads(l, a.q, a.heads);
  if (v_rank(l, a.k) == 3) {
    a.k = v_split_heads(l, a.k, a.heads);
    a.v = v_split_heads(l, a.v, a.heads);
  }
  if (tsr_lower_has(l, IN_PAST_KEY) && l->in[IN_PAST_KEY]->rank == 4)
    a.past = l->in[IN_PAST_KEY]->dims[2];
  a.k = with_past(&a, IN_PAST_KEY, a.k);
  a.v = with_past(&a, IN_PAST_VALUE, a.v);
  TSR_TRY(attend(&a, &y, &scores));
  tsr_lower_set(l, 0, y);
  if (tsr_lower_wants(l, 1))
    tsr_lower_set(l, 1, v_cast(l, a.k, a.dtype));
  if (tsr_lower_wants(l, 2))
    tsr_lower_set(l, 2, v_cast(l, a.v, a.dtype));
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
