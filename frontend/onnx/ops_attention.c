/* Attention and RotaryEmbedding (opset 23 and on). Query heads that share a key head are one more
 * axis of the product; masks are conditions as long as they can be, so that a masked score never
 * meets an infinity. */
#include "frontend/onnx/attention.h"
#include "frontend/onnx/op_table.h"
#include <math.h>
#include <string.h>

enum { IN_Q, IN_K, IN_V, IN_MASK, IN_PAST_KEY, IN_PAST_VALUE, IN_LENGTHS };

typedef struct attention {
  tsr_lower *l;
  tsr_value q, k, v; /* [B, heads, S or T, D], past included; compute type */
  tsr_expr past;     /* keys before the first query; 0: none */
  tsr_value lengths; /* [B, 1, 1, 1] valid keys, or 0 */
  tsr_dtype dtype;
} attention;

tsr_value v_split_heads(tsr_lower *l, tsr_value x, int64_t heads) {
  static const int64_t perm[4] = {0, 2, 1, 3};
  tsr_expr width = tsr_expr_floordiv_int(l->ir, v_dim(l, x, 2), heads);
  tsr_expr dims[4] = {v_dim(l, x, 0), v_dim(l, x, 1), e_int(l, heads), width};
  return tsr_graph_transpose(l->b, v_reshape(l, x, dims, 4), perm);
}

tsr_value v_merge_heads(tsr_lower *l, tsr_value x) {
  static const int64_t perm[4] = {0, 2, 1, 3};
  tsr_expr dims[3] = {v_dim(l, x, 0), v_dim(l, x, 2), e_mul(l, v_dim(l, x, 1), v_dim(l, x, 3))};
  return v_reshape(l, tsr_graph_transpose(l->b, x, perm), dims, 3);
}

static tsr_value with_past(tsr_lower *l, tsr_value x, uint32_t input) {
  if (!tsr_lower_has(l, input))
    return x;
  tsr_value parts[2] = {tsr_lower_value(l, input), x};
  return tsr_graph_concat(l->b, parts, 2, 2);
}

static tsr_status read_heads(tsr_lower *l, tsr_value *q, tsr_value *k, tsr_value *v) {
  uint32_t rank = v_rank(l, *q);
  if ((rank != 3 && rank != 4) || v_rank(l, *k) != rank || v_rank(l, *v) != rank)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "Q, K and V need rank 3 or 4 alike");
  int64_t query_heads = tsr_lower_int(l, "q_num_heads", 0);
  int64_t key_heads = tsr_lower_int(l, "kv_num_heads", 0);
  if (rank == 4 && (!v_static_dim(l, *q, 1, &query_heads) || !v_static_dim(l, *k, 1, &key_heads)))
    return TSR_OK;
  if (query_heads < 1 || key_heads < 1 || query_heads % key_heads != 0)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%lld query heads and %lld key heads",
                           (long long)query_heads, (long long)key_heads);
  if (rank == 3) {
    *q = v_split_heads(l, *q, query_heads);
    *k = v_split_heads(l, *k, key_heads);
    *v = v_split_heads(l, *v, key_heads);
  }
  return TSR_OK;
}

static tsr_status read_attention(tsr_lower *l, attention *a) {
  TSR_TRY(tsr_lower_need(l, 3));
  memset(a, 0, sizeof *a);
  a->l = l;
  tsr_value q = tsr_lower_value(l, IN_Q), k = tsr_lower_value(l, IN_K);
  tsr_value v = tsr_lower_value(l, IN_V);
  a->dtype = v_dtype(l, q);
  TSR_TRY(read_heads(l, &q, &k, &v));
  k = with_past(l, k, IN_PAST_KEY);
  v = with_past(l, v, IN_PAST_VALUE);
  tsr_lower_set(l, 1, k);
  tsr_lower_set(l, 2, v);
  if (tsr_lower_has(l, IN_PAST_KEY) && l->in[IN_PAST_KEY]->rank == 4)
    a->past = l->in[IN_PAST_KEY]->dims[2];
  if (tsr_lower_has(l, IN_LENGTHS)) {
    tsr_value lengths = v_cast(l, tsr_lower_value(l, IN_LENGTHS), TSR_I64);
    a->lengths = v_along(l, lengths, 0, 4);
  }
  a->q = v_widen(l, q);
  a->k = v_cast(l, k, v_dtype(l, a->q));
  a->v = v_cast(l, v, v_dtype(l, a->q));
  return TSR_OK;
}

/* As many heads of x read one of y as x has more of them; numbers of heads that are not known are
 * taken for equal unless y's is known. */
static tsr_value grouped_product(tsr_lower *l, const char *spec, const char *grouped, tsr_value x,
                                 tsr_value y) {
  tsr_expr heads = v_dim(l, x, 1), shared = v_dim(l, y, 1);
  int64_t known;
  if (heads == shared || !tsr_expr_is_int(l->ir, shared, &known) || known < 1)
    return tsr_graph_einsum(l->b, spec, x, y);
  tsr_expr dims[5] = {v_dim(l, x, 0), shared, tsr_expr_floordiv_int(l->ir, heads, known),
                      v_dim(l, x, 2), v_dim(l, x, 3)};
  tsr_value z = tsr_graph_einsum(l->b, grouped, v_reshape(l, x, dims, 5), y);
  tsr_expr merged[4] = {dims[0], heads, dims[3], v_dim(l, z, 4)};
  return v_reshape(l, z, merged, 4);
}

tsr_value v_head_scores(tsr_lower *l, tsr_value q, tsr_value k) {
  return grouped_product(l, "bhsd,bhtd->bhst", "bhgsd,bhtd->bhgst", q, k);
}

tsr_value v_head_mix(tsr_lower *l, tsr_value p, tsr_value v) {
  return grouped_product(l, "bhst,bhtv->bhsv", "bhgst,bhtv->bhgsv", p, v);
}

/* The score of query s at distance key - query position, [1 or B, 1, S, T]: query s stands at
 * s + past, or at s + length - S with lengths. */
static tsr_value distances(const attention *a) {
  tsr_lower *l = a->l;
  tsr_expr dims[2] = {v_dim(l, a->q, 2), v_dim(l, a->k, 2)};
  tsr_value key = tsr_graph_iota(l->b, TSR_I64, dims, 2, 1);
  tsr_value query = tsr_graph_iota(l->b, TSR_I64, dims, 2, 0);
  if (a->past)
    query = v_add(l, query, tsr_graph_index(l->b, TSR_I64, a->past));
  else if (a->lengths) {
    tsr_value rows = tsr_graph_index(l->b, TSR_I64, dims[0]);
    query = v_add(l, query, v_sub(l, a->lengths, rows));
  }
  return v_sub(l, key, query);
}

static tsr_value both(tsr_lower *l, tsr_value x, tsr_value y) {
  return x && y ? v_and(l, x, y) : x ? x : y;
}

/* Which keys a query may see, apart from a mask of numbers; 0: all. */
static tsr_value allowed_keys(const attention *a, tsr_value mask) {
  tsr_lower *l = a->l;
  tsr_value allowed = mask && v_dtype(l, mask) == TSR_BOOL ? mask : 0;
  int64_t left = tsr_lower_int(l, "left_window_size", -1);
  int64_t right = tsr_lower_int(l, "right_window_size", -1);
  if (tsr_lower_int(l, "is_causal", 0) != 0)
    right = right < 0 || right > 0 ? 0 : right;
  if (left >= 0 || right >= 0) {
    tsr_value distance = distances(a);
    if (right >= 0)
      allowed = both(l, allowed, v_le(l, distance, v_number(l, distance, (double)right)));
    if (left >= 0)
      allowed = both(l, allowed, v_ge(l, distance, v_number(l, distance, (double)-left)));
  }
  if (a->lengths) {
    tsr_expr dims[1] = {v_dim(l, a->k, 2)};
    tsr_value key = tsr_graph_iota(l->b, TSR_I64, dims, 1, 0);
    allowed = both(l, allowed, v_lt(l, key, a->lengths));
  }
  return allowed;
}

/* The mask with its last axis filled up to the number of keys: nothing is to be seen there. */
static tsr_value read_mask(const attention *a) {
  tsr_lower *l = a->l;
  tsr_expr low[TSR_MAX_RANK], high[TSR_MAX_RANK];
  if (!tsr_lower_has(l, IN_MASK))
    return 0;
  tsr_value mask = tsr_lower_value(l, IN_MASK);
  uint32_t rank = v_rank(l, mask);
  bool numbers = v_dtype(l, mask) != TSR_BOOL;
  if (numbers)
    mask = v_cast(l, mask, v_dtype(l, a->q));
  tsr_expr last = rank ? v_dim(l, mask, rank - 1) : 0, keys = v_dim(l, a->k, 2);
  if (!rank || last == keys || tsr_expr_equals_int(l->ir, last, 1))
    return mask;
  for (uint32_t i = 0; i < rank; i++)
    low[i] = high[i] = e_int(l, 0);
  high[rank - 1] = e_sub(l, keys, last);
  tsr_value fill = v_number(l, mask, numbers ? (double)-INFINITY : 0);
  return tsr_graph_pad(l->b, mask, fill, low, high, NULL, "constant");
}

tsr_value v_guarded_softmax(tsr_lower *l, tsr_value x, tsr_value sink) {
  int64_t axis = 3;
  tsr_value zero = v_number(l, x, 0), one = v_number(l, x, 1);
  tsr_value top = v_reduce_keep(l, x, "max", &axis, 1);
  if (sink)
    top = v_max(l, top, sink);
  tsr_value nothing = v_eq(l, top, v_number(l, x, (double)-INFINITY));
  top = v_select(l, nothing, zero, top);
  tsr_value e = v_exp(l, v_sub(l, x, top));
  tsr_value sum = v_reduce_keep(l, e, "add", &axis, 1);
  if (sink)
    sum = v_add(l, sum, v_exp(l, v_sub(l, sink, top)));
  return v_mul(l, e, v_recip(l, v_select(l, nothing, one, sum)));
}

static tsr_value scaled_scores(const attention *a) {
  tsr_lower *l = a->l;
  tsr_value scores = v_head_scores(l, a->q, a->k);
  int64_t width = 1;
  v_static_dim(l, a->q, 3, &width);
  float scale = tsr_lower_float(l, "scale", (float)(1 / sqrt((double)width)));
  /* Both operands are scaled by its root, which is a number of float32. */
  double root = (double)sqrtf(scale);
  return v_mul_number(l, scores, root * root);
}

tsr_status tsr_lower_op_attention(tsr_lower *l) {
  attention a;
  TSR_TRY(read_attention(l, &a));
  double cap = (double)tsr_lower_float(l, "softcap", 0);
  int64_t mode = tsr_lower_int(l, "qk_matmul_output_mode", 0), type, width;
  type = tsr_lower_int(l, "softmax_precision", 0);
  if (!v_static_dim(l, a.q, 3, &width) && !tsr_lower_attr(l, "scale"))
    return tsr_lower_unsupported(l, "a symbolic head size");
  tsr_value scores = scaled_scores(&a), shown = scores, mask = read_mask(&a);
  if (cap > 0)
    scores = v_mul_number(l, v_tanh(l, v_mul_number(l, scores, 1 / cap)), cap);
  if (mode == 1)
    shown = scores;
  if (mask && v_dtype(l, mask) != TSR_BOOL)
    scores = v_add(l, scores, mask);
  tsr_value allowed = allowed_keys(&a, mask);
  if (allowed)
    scores = v_select(l, allowed, scores, v_number(l, scores, (double)-INFINITY));
  if (mode == 2)
    shown = scores;
  tsr_dtype precise = tsr_onnx_dtype(type) == TSR_F64 ? TSR_F64 : v_dtype(l, scores);
  tsr_value p = v_guarded_softmax(l, v_cast(l, scores, precise), 0);
  if (mode == 3)
    shown = p;
  p = v_cast(l, p, v_dtype(l, a.v));
  tsr_value y = v_head_mix(l, p, a.v);
  if (l->in[IN_Q]->rank == 3)
    y = v_merge_heads(l, y);
  tsr_lower_set(l, 0, v_cast(l, y, a.dtype));
  if (tsr_lower_wants(l, 3))
    tsr_lower_set(l, 3, v_cast(l, shown, a.dtype));
  return TSR_OK;
}

/* --- rotary embedding --- */

/* cos or sin as [B, 1, S, half], by position where positions are given. */
static tsr_value rotary_cache(tsr_lower *l, uint32_t input) {
  tsr_value cache = v_widen(l, tsr_lower_value(l, input));
  if (tsr_lower_has(l, 3))
    cache = tsr_graph_gather(l->b, cache, tsr_lower_value(l, 3), 0);
  return v_unsqueeze(l, cache, 1);
}

static tsr_value every_second(tsr_lower *l, tsr_value x, int64_t first, tsr_expr half) {
  tsr_expr start[4], extent[4];
  int64_t step[4] = {1, 1, 1, 2};
  for (uint32_t i = 0; i < 4; i++) {
    start[i] = e_int(l, i == 3 ? first : 0);
    extent[i] = i == 3 ? half : v_dim(l, x, i);
  }
  return tsr_graph_slice(l->b, x, start, step, extent);
}

static tsr_value rotate(tsr_lower *l, tsr_value x, tsr_value c, tsr_value s, int64_t half,
                        bool interleaved) {
  tsr_expr width = e_int(l, half), dims[4];
  tsr_value first =
      interleaved ? every_second(l, x, 0, width) : v_slice_axis(l, x, 3, e_int(l, 0), width);
  tsr_value second =
      interleaved ? every_second(l, x, 1, width) : v_slice_axis(l, x, 3, width, width);
  tsr_value parts[2] = {v_sub(l, v_mul(l, c, first), v_mul(l, s, second)),
                        v_add(l, v_mul(l, s, first), v_mul(l, c, second))};
  if (!interleaved)
    return tsr_graph_concat(l->b, parts, 2, 3);
  for (uint32_t i = 0; i < 4; i++)
    dims[i] = v_dim(l, x, i);
  parts[0] = v_unsqueeze(l, parts[0], 4);
  parts[1] = v_unsqueeze(l, parts[1], 4);
  return v_reshape(l, tsr_graph_concat(l->b, parts, 2, 4), dims, 4);
}

tsr_value v_rotate_heads(tsr_lower *l, tsr_value x, tsr_value c, tsr_value s, int64_t turned,
                         bool interleaved) {
  tsr_expr width = v_dim(l, x, 3), part = e_int(l, turned);
  if (width == part)
    return rotate(l, x, c, s, turned / 2, interleaved);
  tsr_value front = v_slice_axis(l, x, 3, e_int(l, 0), part);
  tsr_value parts[2] = {rotate(l, front, c, s, turned / 2, interleaved),
                        v_slice_axis(l, x, 3, part, e_sub(l, width, part))};
  return tsr_graph_concat(l->b, parts, 2, 3);
}

tsr_status tsr_lower_op_rotary_embedding(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 3));
  tsr_value x = tsr_lower_value(l, 0), wide = v_widen(l, x);
  int64_t heads = tsr_lower_int(l, "num_heads", 0), width, turned;
  uint32_t rank = v_rank(l, x);
  if ((rank != 4 && (rank != 3 || heads < 1)) || l->in[1]->rank != (tsr_lower_has(l, 3) ? 2u : 3u))
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "an input of rank %u with %lld heads", rank,
                           (long long)heads);
  if (rank == 3)
    wide = v_split_heads(l, wide, heads);
  if (!v_static_dim(l, wide, 3, &width))
    return tsr_lower_unsupported(l, "a symbolic head size");
  turned = tsr_lower_int(l, "rotary_embedding_dim", 0);
  if (turned == 0)
    turned = width;
  if (turned < 2 || turned > width || turned % 2 != 0)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "rotary_embedding_dim %lld of a head of %lld",
                           (long long)turned, (long long)width);
  tsr_value y = v_rotate_heads(l, wide, rotary_cache(l, 1), rotary_cache(l, 2), turned,
                               tsr_lower_int(l, "interleaved", 0) != 0);
  if (rank == 3)
    y = v_merge_heads(l, y);
  tsr_lower_set(l, 0, v_cast(l, y, v_dtype(l, x)));
  return TSR_OK;
}
