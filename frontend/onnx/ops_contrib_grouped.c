/* com.microsoft.GroupQueryAttention. Every sequence of a batch has its own length: new keys stand
 * behind the past of their own sequence, whatever room the cache has, and positions count from
 * there. What the cache holds behind them is 0, unless it is updated in place: then it is as it
 * was. */
#include "frontend/onnx/attention.h"
#include "frontend/onnx/op_table.h"
#include "frontend/onnx/sizes.h"
#include <math.h>

enum {
  IN_QUERY,
  IN_KEY,
  IN_VALUE,
  IN_PAST_KEY,
  IN_PAST_VALUE,
  IN_LAST,
  IN_TOTAL,
  IN_COS,
  IN_SIN,
  IN_PLACE,
  IN_BIAS,
  IN_SINK,
  IN_KEY_SCALE,
  IN_VALUE_SCALE,
  IN_QUERY_NORM,
  IN_KEY_NORM
};

typedef struct grouped {
  tsr_lower *l;
  tsr_value q, k, v; /* [B, heads, S, D] of the new tokens; compute type */
  int64_t heads, key_heads, width;
  tsr_value past;  /* [B] keys of each sequence before the new ones; 0: none */
  tsr_value total; /* [B] keys of each sequence */
  tsr_value place; /* [B or 1, S] positions of the new tokens */
  tsr_expr room;   /* keys that are looked at */
  tsr_expr keys;   /* of the longest sequence */
  bool in_place;   /* the present cache is the past one with new rows, of which `room` are in use */
  tsr_dtype dtype;
} grouped;

static tsr_status refuse(tsr_lower *l) {
  static const char *const zero[2] = {"sliding_window_cache", "kv_cache_bit_width"};
  static const char *const none[2] = {"k_quant_type", "v_quant_type"};
  for (uint32_t i = 0; i < 2; i++)
    if (tsr_lower_int(l, zero[i], 0) != 0)
      return tsr_lower_unsupported(l, "%s = %lld", zero[i],
                                   (long long)tsr_lower_int(l, zero[i], 0));
  for (uint32_t i = 0; i < 2; i++)
    if (!tsr_lower_text_is(l, none[i], "NONE", "NONE"))
      return tsr_lower_unsupported(l, "%s = '%s'", none[i], tsr_lower_text(l, none[i], ""));
  if (tsr_lower_has(l, IN_KEY_SCALE) || tsr_lower_has(l, IN_VALUE_SCALE))
    return tsr_lower_unsupported(l, "inputs 12 and 13 (k_scale, v_scale)");
  int64_t scores = tsr_lower_int(l, "qk_output", 0);
  if (scores < 0 || scores > 2 || (scores == 0 && tsr_lower_wants(l, 3)))
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "qk_output = %lld%s", (long long)scores,
                           scores == 0 ? " with output 3 (output_qk)" : "");
  if (tsr_lower_has(l, IN_PAST_KEY) != tsr_lower_has(l, IN_PAST_VALUE))
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "past_key and past_value need each other");
  return TSR_OK;
}

static tsr_status read_heads(grouped *g) {
  tsr_lower *l = g->l;
  g->heads = tsr_lower_int(l, "num_heads", 0);
  g->key_heads = tsr_lower_int(l, "kv_num_heads", 0);
  if (g->heads < 1 || g->key_heads < 1 || g->heads % g->key_heads != 0)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "num_heads = %lld, kv_num_heads = %lld",
                           (long long)g->heads, (long long)g->key_heads);
  tsr_value q = v_widen(l, tsr_lower_value(l, IN_QUERY)), k, v;
  bool packed = !tsr_lower_has(l, IN_KEY);
  int64_t all = g->heads + (packed ? 2 * g->key_heads : 0);
  if (v_rank(l, q) != 3 || !v_static_dim(l, q, 2, &g->width))
    return tsr_lower_unsupported(l, "a query of rank %u, or of a symbolic width", v_rank(l, q));
  if (g->width % all != 0 || g->width < all)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "a query of width %lld for %lld heads",
                           (long long)g->width, (long long)all);
  g->width /= all;
  if (packed) {
    tsr_expr own = e_int(l, g->heads * g->width), other = e_int(l, g->key_heads * g->width);
    k = v_slice_axis(l, q, 2, own, other);
    v = v_slice_axis(l, q, 2, e_add(l, own, other), other);
    q = v_slice_axis(l, q, 2, e_int(l, 0), own);
  } else {
    TSR_TRY(tsr_lower_need(l, 3));
    k = v_cast(l, tsr_lower_value(l, IN_KEY), v_dtype(l, q));
    v = v_cast(l, tsr_lower_value(l, IN_VALUE), v_dtype(l, q));
    if (v_rank(l, k) != 3 || v_rank(l, v) != 3)
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "key and value of rank %u and %u", v_rank(l, k),
                             v_rank(l, v));
  }
  g->q = v_split_heads(l, q, g->heads);
  g->k = v_split_heads(l, k, g->key_heads);
  g->v = v_split_heads(l, v, g->key_heads);
  return TSR_OK;
}

/* x over the root of the mean of its squares, per head, times the weights. */
static tsr_value head_norm(tsr_lower *l, tsr_value x, uint32_t weights) {
  const int64_t axis = 3;
  if (!tsr_lower_has(l, weights))
    return x;
  tsr_value power = v_mean_keep(l, v_mul(l, x, x), &axis, 1);
  double epsilon = (double)tsr_lower_float(l, "qk_norm_epsilon", 1e-6f);
  tsr_value y = v_mul(l, x, v_unary(l, TSR_OP_RSQRT, v_add_number(l, power, epsilon)));
  return v_mul(l, y, v_cast(l, tsr_lower_value(l, weights), v_dtype(l, x)));
}

/* A prompt has as many new tokens as the longest sequence has keys: whether that is so may show at
 * run time only. */
static tsr_value unless_prompt(const grouped *g, tsr_expr total, tsr_value otherwise,
                               tsr_value prompt) {
  tsr_lower *l = g->l;
  int64_t difference;
  tsr_expr rows = v_dim(l, g->q, 2);
  if (total == rows)
    return prompt;
  if (tsr_expr_is_int(l->ir, e_sub(l, total, rows), &difference) && difference != 0)
    return otherwise;
  tsr_value same =
      v_eq(l, tsr_graph_index(l->b, TSR_I64, total), tsr_graph_index(l->b, TSR_I64, rows));
  return v_select(l, same, prompt, otherwise);
}

static tsr_status read_lengths(grouped *g) {
  tsr_lower *l = g->l;
  tsr_expr batch = v_dim(l, g->q, 0), rows = v_dim(l, g->q, 2);
  tsr_expr count[2] = {e_int(l, 1), rows}, total = rows;
  if (!tsr_lower_has(l, IN_LAST))
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "input 5 (seqlens_k) is missing");
  tsr_value last = v_cast(l, tsr_lower_value(l, IN_LAST), TSR_I64);
  g->total = v_add_number(l, v_reshape(l, last, &batch, 1), 1);
  g->place = tsr_graph_iota(l->b, TSR_I64, count, 2, 1);
  g->room = g->keys = rows;
  if (tsr_lower_has(l, IN_PAST_KEY)) {
    const tsr_content *content = tsr_size_content(l, IN_TOTAL, "total_sequence_length");
    if (!content || content->count != 1 || !content->exprs)
      return tsr_lower_unknown(l, IN_TOTAL, "total_sequence_length");
    if (l->in[IN_PAST_KEY]->rank != 4 || l->in[IN_PAST_VALUE]->rank != 4)
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "past_key of rank %u", l->in[IN_PAST_KEY]->rank);
    total = g->keys = content->exprs[0];
    g->in_place = tsr_lower_in_place(l, 1, IN_PAST_KEY) && tsr_lower_in_place(l, 2, IN_PAST_VALUE);
    g->room = g->in_place ? total : e_max(l, total, l->in[IN_PAST_KEY]->dims[2]);
    if (g->in_place)
      tsr_graph_check(l->b,
                      tsr_expr_binary(l->ir, TSR_INDEX_LE, total, l->in[IN_PAST_KEY]->dims[2]),
                      "total_sequence_length is larger than the cache");
    tsr_value before = v_sub(l, g->total, tsr_graph_index(l->b, TSR_I64, rows));
    tsr_value zero = tsr_graph_splat(l->b, TSR_I64, 0, &batch, 1);
    g->past = unless_prompt(g, total, before, zero);
    g->place = v_add(l, v_along(l, g->past, 0, 2), g->place);
  }
  return TSR_OK;
}

/* cos or sin at `place`, as [B or 1, 1, S, half]. */
static tsr_value turns(const grouped *g, uint32_t input, tsr_value place) {
  tsr_value cache = v_cast(g->l, tsr_lower_value(g->l, input), v_dtype(g->l, g->q));
  return v_unsqueeze(g->l, tsr_graph_gather(g->l->b, cache, place, 0), 1);
}

static tsr_status rotate(grouped *g) {
  tsr_lower *l = g->l;
  int64_t half;
  if (tsr_lower_int(l, "do_rotary", 0) == 0)
    return TSR_OK;
  if (!tsr_lower_has(l, IN_COS) || !tsr_lower_has(l, IN_SIN))
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "do_rotary = 1 without cos_cache and sin_cache");
  if (l->in[IN_COS]->rank != 2 || !tsr_expr_is_int(l->ir, l->in[IN_COS]->dims[1], &half))
    return tsr_lower_unsupported(l, "a symbolic head size");
  if (half < 1 || 2 * half > g->width)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "a cos_cache of %lld for heads of %lld",
                           (long long)half, (long long)g->width);
  tsr_value place = g->place;
  if (tsr_lower_has(l, IN_PLACE)) {
    tsr_value given = v_cast(l, tsr_lower_value(l, IN_PLACE), TSR_I64);
    const tsr_content *total = tsr_lower_content(l, IN_TOTAL);
    tsr_expr start[2] = {e_int(l, 0), e_int(l, 0)}, one[2] = {e_int(l, 1), e_int(l, 1)};
    const int64_t step[2] = {1, 1};
    if (v_rank(l, given) != 2)
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "position_ids of rank %u", v_rank(l, given));
    /* Of a prompt only the first position counts. */
    tsr_expr count[2] = {e_int(l, 1), v_dim(l, g->q, 2)};
    given = v_fit_axis(l, given, 1, count[1], 0);
    tsr_value first = v_to_scalar(l, tsr_graph_slice(l->b, given, start, step, one));
    first = v_add(l, tsr_graph_iota(l->b, TSR_I64, count, 2, 1), first);
    bool known = g->past && total && total->exprs;
    place = unless_prompt(g, known ? total->exprs[0] : count[1], given, first);
  }
  bool interleaved = tsr_lower_int(l, "rotary_interleaved", 0) != 0;
  tsr_value c = turns(g, IN_COS, place), s = turns(g, IN_SIN, place);
  g->q = v_rotate_heads(l, g->q, c, s, 2 * half, interleaved);
  g->k = v_rotate_heads(l, g->k, c, s, 2 * half, interleaved);
  return TSR_OK;
}

/* The cache with x [B, heads, S, D] behind each sequence's past. */
static tsr_value present(const grouped *g, uint32_t input, tsr_value x) {
  static const int64_t swap[4] = {0, 2, 1, 3};
  tsr_lower *l = g->l;
  if (!g->past)
    return x;
  tsr_expr batch = v_dim(l, g->q, 0), dims[3] = {batch, g->room, e_int(l, 1)};
  tsr_value slot = tsr_graph_iota(l->b, TSR_I64, dims, 3, 1), past = v_along(l, g->past, 0, 3);
  tsr_value from = v_sub(l, slot, past), none = v_number(l, from, 0);
  tsr_value rows = tsr_graph_index(l->b, TSR_I64, v_dim(l, x, 2));
  tsr_value index = v_max(l, v_min(l, from, v_sub(l, rows, v_number(l, rows, 1))), none);
  tsr_value moved = tsr_graph_gather_nd(l->b, tsr_graph_transpose(l->b, x, swap), index, 1);
  moved = tsr_graph_transpose(l->b, moved, swap);
  tsr_value old = v_cast(l, tsr_lower_value(l, input), v_dtype(l, x));
  old = v_fit_axis(l, old, 2, g->room, 0);
  tsr_value is_old = v_unsqueeze(l, v_lt(l, from, none), 1);
  tsr_value is_new = v_unsqueeze(l, v_lt(l, from, rows), 1);
  return v_select(l, is_old, old, v_select(l, is_new, moved, v_number(l, x, 0)));
}

/* The cache with x [B, heads, S, D] at its positions, and as `out_used` the part of it that is
 * looked at. */
static tsr_value update(const grouped *g, uint32_t input, tsr_value x, tsr_value *out_used) {
  tsr_lower *l = g->l;
  if (!g->in_place) {
    *out_used = present(g, input, x);
    return v_cast(l, *out_used, g->dtype);
  }
  tsr_value cache = tsr_lower_value(l, input), rows = v_cast(l, x, v_dtype(l, cache));
  if (!rows)
    return 0;
  tsr_value at = v_unsqueeze(l, v_unsqueeze(l, g->place, 1), 3);
  at = tsr_graph_broadcast(l->b, at, v_type(l, rows)->dims, 4);
  cache = tsr_graph_scatter_elements(l->b, cache, at, rows, 2, "none");
  *out_used = v_cast(l, v_slice_axis(l, cache, 2, e_int(l, 0), g->room), v_dtype(l, x));
  return cache;
}

/* Which keys each query may see, [B, 1, 1 or S, T]. A padded prompt has queries behind its own
 * length: they see no padding either. */
static tsr_value visible(const grouped *g) {
  tsr_lower *l = g->l;
  tsr_value key = v_along(l, tsr_graph_iota(l->b, TSR_I64, &g->room, 1, 0), 3, 4);
  int64_t window = tsr_lower_int(l, "local_window_size", -1);
  tsr_value seen = v_lt(l, key, v_along(l, g->total, 0, 4));
  if (tsr_lower_int(l, "causal", 1) == 0)
    return seen;
  tsr_value query = v_unsqueeze(l, v_unsqueeze(l, g->place, 1), 3);
  seen = v_and(l, seen, v_le(l, key, query));
  if (window > 0) {
    tsr_value first = v_sub(l, query, v_number(l, query, (double)window));
    seen = v_and(l, seen, v_gt(l, key, first));
  }
  return seen;
}

static tsr_status attend(const grouped *g, tsr_value k, tsr_value v, tsr_value *out) {
  tsr_lower *l = g->l;
  double scale = (double)tsr_lower_float(l, "scale", 0);
  double cap = (double)tsr_lower_float(l, "softcap", 0);
  tsr_value scores = v_head_scores(l, g->q, k), sink = 0;
  scores = v_mul_number(l, scores, scale == 0 ? 1 / sqrt((double)g->width) : scale);
  if (cap > 0)
    scores = v_mul_number(l, v_tanh(l, v_mul_number(l, scores, 1 / cap)), cap);
  if (tsr_lower_has(l, IN_BIAS)) {
    tsr_value bias = v_cast(l, tsr_lower_value(l, IN_BIAS), v_dtype(l, scores));
    if (v_rank(l, bias) != 4)
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "attention_bias of rank %u", v_rank(l, bias));
    bias = v_fit_axis(l, v_fit_axis(l, bias, 2, v_dim(l, g->q, 2), 0), 3, g->room, 0);
    scores = v_add(l, scores, bias);
  }
  if (tsr_lower_has(l, IN_SINK))
    sink = v_along(l, v_cast(l, tsr_lower_value(l, IN_SINK), v_dtype(l, scores)), 1, 4);
  else if (tsr_lower_int(l, "smooth_softmax", 0) == 1)
    sink = v_number(l, scores, 0);
  tsr_value seen = visible(g), lowest = v_number(l, scores, (double)-INFINITY);
  tsr_value p = v_guarded_softmax(l, v_select(l, seen, scores, lowest), sink);
  if (tsr_lower_wants(l, 3)) { /* what is not seen is 0 before the softmax, too */
    bool before = tsr_lower_int(l, "qk_output", 0) == 1;
    tsr_value qk = before ? v_select(l, seen, scores, v_number(l, scores, 0)) : p;
    qk = v_slice_axis(l, qk, 3, e_int(l, 0), g->keys);
    tsr_lower_set(l, 3, v_cast(l, qk, g->dtype));
  }
  tsr_value y = v_head_mix(l, p, v);
  *out = v_cast(l, v_merge_heads(l, y), g->dtype);
  return TSR_OK;
}

tsr_status tsr_lower_op_contrib_grouped(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  TSR_TRY(refuse(l));
  grouped g = {.l = l, .dtype = l->in[IN_QUERY]->dtype};
  tsr_value y;
  TSR_TRY(read_heads(&g));
  TSR_TRY(read_lengths(&g));
  g.q = head_norm(l, g.q, IN_QUERY_NORM);
  g.k = head_norm(l, g.k, IN_KEY_NORM);
  TSR_TRY(rotate(&g));
  tsr_value k = 0, v = 0, keys = update(&g, IN_PAST_KEY, g.k, &k);
  tsr_value values = update(&g, IN_PAST_VALUE, g.v, &v);
  TSR_TRY(attend(&g, k, v, &y));
  tsr_lower_set(l, 0, y);
  if (tsr_lower_wants(l, 1))
    tsr_lower_set(l, 1, keys);
  if (tsr_lower_wants(l, 2))
    tsr_lower_set(l, 2, values);
  return TSR_OK;
}
