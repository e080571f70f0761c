/* Operators whose state the caller carries from call to call: LinearAttention, CausalConvWithState
 * and TensorScatter. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"
#include <math.h>
#include <string.h>

/* --- LinearAttention --- */

enum { IN_QUERY, IN_KEY, IN_VALUE, IN_STATE, IN_DECAY, IN_BETA, MAX_STEPS = 512 };

/* Heads come before time: q [B, H, group, T, D], keys and values [B, H, T, D or M]; B, H, D and M
 * are batch, key heads, widths of key and value. */
typedef struct linear_attention {
  tsr_lower *l;
  int64_t heads, group;
  tsr_expr batch, steps, key_width, value_width;
  tsr_value q, k, v; /* f32, q scaled */
  tsr_value state;   /* [B, H, D, M], 0: zeros */
  tsr_value decay;   /* [B, H, T, 1 or D], 0: none */
  tsr_value beta;    /* [B, 1 or H, T, 1], 0: none */
} linear_attention;

/* [B, T, heads * D] as [B, heads, T, D] in f32. */
static tsr_value with_heads(tsr_lower *l, tsr_value x, int64_t heads) {
  static const int64_t perm[4] = {0, 2, 1, 3};
  tsr_expr width = tsr_expr_floordiv_int(l->ir, v_dim(l, x, 2), heads);
  tsr_expr dims[4] = {v_dim(l, x, 0), v_dim(l, x, 1), e_int(l, heads), width};
  x = tsr_graph_transpose(l->b, v_reshape(l, x, dims, 4), perm);
  return v_cast(l, x, TSR_F32);
}

/* Whether the inputs fit the rule: which of decay and beta it takes. */
static tsr_status check_rule(tsr_lower *l, const char *rule) {
  bool gated = strcmp(rule, "gated") == 0, delta = strcmp(rule, "delta") == 0;
  bool both = strcmp(rule, "gated_delta") == 0;
  if (!gated && !delta && !both && strcmp(rule, "linear") != 0)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "update_rule '%s'", rule);
  if (tsr_lower_has(l, IN_DECAY) != (gated || both))
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "update_rule '%s' %s decay", rule,
                           gated || both ? "needs a" : "takes no");
  if (tsr_lower_has(l, IN_BETA) != (delta || both))
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "update_rule '%s' %s beta", rule,
                           delta || both ? "needs a" : "takes no");
  return TSR_OK;
}

static tsr_status read_gates(linear_attention *a) {
  tsr_lower *l = a->l;
  int64_t width = 0, key_width = 0;
  if (tsr_lower_has(l, IN_DECAY)) {
    tsr_value decay = tsr_lower_value(l, IN_DECAY);
    if (v_rank(l, decay) != 3 || !v_static_dim(l, decay, 2, &width) ||
        !tsr_expr_is_int(l->ir, a->key_width, &key_width) ||
        (width != a->heads && width != a->heads * key_width))
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "the decay's last dim is %lld", (long long)width);
    a->decay = with_heads(l, decay, a->heads);
  }
  if (tsr_lower_has(l, IN_BETA)) {
    tsr_value beta = tsr_lower_value(l, IN_BETA);
    if (v_rank(l, beta) != 3 || !v_static_dim(l, beta, 2, &width) ||
        (width != a->heads && width != 1))
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "the beta's last dim is %lld", (long long)width);
    a->beta = with_heads(l, beta, width);
  }
  return TSR_OK;
}

static tsr_status read_linear_attention(tsr_lower *l, linear_attention *a) {
  memset(a, 0, sizeof *a);
  a->l = l;
  TSR_TRY(tsr_lower_need(l, 3));
  TSR_TRY(check_rule(l, tsr_lower_text(l, "update_rule", "gated_delta")));
  int64_t query_heads = tsr_lower_int(l, "q_num_heads", 0), width, across;
  a->heads = tsr_lower_int(l, "kv_num_heads", 0);
  if (a->heads < 1 || query_heads < 1 || query_heads % a->heads != 0)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%lld query heads and %lld key heads",
                           (long long)query_heads, (long long)a->heads);
  a->group = query_heads / a->heads;
  if (l->in[IN_QUERY]->rank != 3 || l->in[IN_KEY]->rank != 3 || l->in[IN_VALUE]->rank != 3)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "query, key and value need rank 3");
  tsr_value q = tsr_lower_value(l, IN_QUERY);
  if (!v_static_dim(l, q, 2, &across))
    return tsr_lower_unsupported(l, "a symbolic head size");
  width = across / query_heads;
  if (width < 1 || across % query_heads != 0)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%lld query heads in a dim of %lld",
                           (long long)query_heads, (long long)across);
  a->batch = v_dim(l, q, 0);
  a->steps = v_dim(l, q, 1);
  a->k = with_heads(l, tsr_lower_value(l, IN_KEY), a->heads);
  a->v = with_heads(l, tsr_lower_value(l, IN_VALUE), a->heads);
  a->key_width = v_dim(l, a->k, 3);
  a->value_width = v_dim(l, a->v, 3);
  double scale = (double)tsr_lower_float(l, "scale", 0);
  q = v_mul_number(l, with_heads(l, q, query_heads), scale != 0 ? scale : 1 / sqrt((double)width));
  tsr_expr dims[5] = {a->batch, e_int(l, a->heads), e_int(l, a->group), a->steps, e_int(l, width)};
  a->q = v_reshape(l, q, dims, 5);
  if (tsr_lower_has(l, IN_STATE))
    a->state = v_cast(l, tsr_lower_value(l, IN_STATE), TSR_F32);
  return read_gates(a);
}

/* exp(decay of the steps after `s` up to `t`), 0 where s > t: [B, H, T, T, 1 or D]. The sums are in
 * f64 and clamped so that steps which forget everything leave no inf - inf: exp(-200) is 0 in f32.
 */
static tsr_value kept_between(const linear_attention *a, tsr_value sums) {
  tsr_lower *l = a->l;
  tsr_value difference = v_sub(l, v_unsqueeze(l, sums, 3), v_unsqueeze(l, sums, 2));
  tsr_expr dims[3] = {a->steps, a->steps, e_int(l, 1)};
  tsr_value t = tsr_graph_iota(l->b, TSR_I64, dims, 3, 0);
  tsr_value s = tsr_graph_iota(l->b, TSR_I64, dims, 3, 1);
  tsr_value kept = v_exp(l, v_cast(l, difference, TSR_F32));
  return v_select(l, v_le(l, s, t), kept, v_number(l, kept, 0));
}

/* q k over the key's width with the decay between the steps: [B, H, group, T, T]. */
static tsr_value decayed_scores(const linear_attention *a, tsr_value sums) {
  tsr_lower *l = a->l;
  static const int64_t last = 5;
  tsr_value kept = kept_between(a, sums);
  if (tsr_expr_equals_int(l->ir, v_dim(l, a->decay, 3), 1)) {
    tsr_expr dims[5] = {a->batch, e_int(l, a->heads), e_int(l, 1), a->steps, a->steps};
    tsr_value scores = tsr_graph_einsum(l->b, "bhgtd,bhsd->bhgts", a->q, a->k);
    return v_mul(l, scores, v_reshape(l, kept, dims, 5));
  }
  tsr_value faded = v_mul(l, v_unsqueeze(l, a->k, 2), kept); /* [B, H, T, T, D] */
  tsr_value terms = v_mul(l, v_unsqueeze(l, a->q, 4), v_unsqueeze(l, faded, 2));
  return tsr_graph_reduce(l->b, terms, "add", &last, 1);
}

static tsr_value plain_scores(const linear_attention *a) {
  tsr_lower *l = a->l;
  tsr_expr dims[2] = {a->steps, a->steps};
  tsr_value scores = tsr_graph_einsum(l->b, "bhgtd,bhsd->bhgts", a->q, a->k);
  tsr_value t = tsr_graph_iota(l->b, TSR_I64, dims, 2, 0);
  tsr_value s = tsr_graph_iota(l->b, TSR_I64, dims, 2, 1);
  return v_select(l, v_le(l, s, t), scores, v_number(l, scores, 0));
}

/* The rules without correction need no recurrence: step t sees what each step s <= t wrote, faded
 * by the decay between them. */
static tsr_value attend_at_once(linear_attention *a) {
  tsr_lower *l = a->l;
  tsr_value sums = 0, scores, q = a->q, k = a->k, old = a->state;
  if (a->decay) {
    tsr_value decay = v_max(l, a->decay, v_number(l, a->decay, -200));
    sums = tsr_graph_scan(l->b, v_cast(l, decay, TSR_F64), "add", 2, false, false);
    tsr_expr end = tsr_expr_add_int(l->ir, a->steps, -1);
    tsr_value whole = v_slice_axis(l, sums, 2, end, e_int(l, 1)); /* [B, H, 1, 1 or D] */
    scores = decayed_scores(a, sums);
    k = v_mul(l, k, v_exp(l, v_cast(l, v_sub(l, whole, sums), TSR_F32)));
    q = v_mul(l, q, v_unsqueeze(l, v_exp(l, v_cast(l, sums, TSR_F32)), 2));
    if (old) {
      static const int64_t perm[4] = {0, 1, 3, 2};
      old = v_mul(l, old, v_exp(l, v_cast(l, tsr_graph_transpose(l->b, whole, perm), TSR_F32)));
    }
  } else
    scores = plain_scores(a);
  tsr_value y = tsr_graph_einsum(l->b, "bhgts,bhsm->bhgtm", scores, a->v);
  if (a->state)
    y = v_add(l, y, tsr_graph_einsum(l->b, "bhgtd,bhdm->bhgtm", q, a->state));
  tsr_value written = tsr_graph_einsum(l->b, "bhsd,bhsm->bhdm", k, a->v);
  a->state = old ? v_add(l, old, written) : written;
  return y;
}

/* Step t of x [.., T, D], without the axis of time, as [.., D]. */
static tsr_value step_of(tsr_lower *l, tsr_value x, int64_t t) {
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t rank = v_rank(l, x);
  if (rank < 2)
    return 0;
  for (uint32_t i = 0; i < rank; i++)
    dims[i < rank - 1 ? i : rank - 2] = v_dim(l, x, i);
  return v_reshape(l, v_slice_axis(l, x, rank - 2, e_int(l, t), e_int(l, 1)), dims, rank - 1);
}

/* With correction each step first takes away what the state already answers to its key. */
static tsr_value attend_by_steps(linear_attention *a, int64_t steps) {
  tsr_lower *l = a->l;
  tsr_value *rows = tsr_lower_alloc(l, (uint64_t)steps, sizeof *rows);
  tsr_expr dims[4] = {a->batch, e_int(l, a->heads), a->key_width, a->value_width};
  tsr_value state = a->state ? a->state : tsr_graph_splat(l->b, TSR_F32, 0, dims, 4);
  if (!rows)
    return 0;
  for (int64_t t = 0; t < steps; t++) {
    tsr_value k = step_of(l, a->k, t), v = step_of(l, a->v, t);
    if (a->decay)
      state = v_mul(l, state, v_unsqueeze(l, v_exp(l, step_of(l, a->decay, t)), 3));
    tsr_value known = tsr_graph_einsum(l->b, "bhdm,bhd->bhm", state, k);
    v = v_mul(l, step_of(l, a->beta, t), v_sub(l, v, known));
    state = v_add(l, state, v_mul(l, v_unsqueeze(l, k, 3), v_unsqueeze(l, v, 2)));
    rows[t] = tsr_graph_einsum(l->b, "bhgd,bhdm->bhgm", step_of(l, a->q, t), state);
    rows[t] = v_unsqueeze(l, rows[t], 3);
  }
  a->state = state;
  return steps == 1 ? rows[0] : tsr_graph_concat(l->b, rows, (uint32_t)steps, 3);
}

tsr_status tsr_lower_op_linear_attention(tsr_lower *l) {
  static const int64_t perm[4] = {0, 2, 1, 3};
  linear_attention a;
  int64_t steps;
  tsr_value y;
  TSR_TRY(read_linear_attention(l, &a));
  if (!a.beta)
    y = attend_at_once(&a);
  else if (!tsr_expr_is_int(l->ir, a.steps, &steps) || steps < 1 || steps > MAX_STEPS)
    return tsr_lower_unsupported(l,
                                 "an update_rule with correction over more than %d steps, or an "
                                 "unknown number",
                                 MAX_STEPS);
  else
    y = attend_by_steps(&a, steps);
  tsr_expr split[4] = {a.batch, e_int(l, a.heads * a.group), a.steps, a.value_width};
  tsr_expr dims[3] = {a.batch, a.steps, e_mul(l, split[1], a.value_width)};
  y = tsr_graph_transpose(l->b, v_reshape(l, y, split, 4), perm);
  tsr_dtype dtype = l->in[IN_QUERY]->dtype;
  tsr_lower_set(l, 0, v_cast(l, v_reshape(l, y, dims, 3), dtype));
  if (tsr_lower_has(l, IN_STATE))
    dtype = l->in[IN_STATE]->dtype;
  tsr_lower_set(l, 1, v_cast(l, a.state, dtype));
  return TSR_OK;
}

/* --- CausalConvWithState --- */

tsr_status tsr_lower_op_causal_conv_with_state(tsr_lower *l) {
  static const int64_t one = 1;
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = tsr_lower_value(l, 0), weights = tsr_lower_value(l, 1), padded;
  const char *activation = tsr_lower_text(l, "activation", "none");
  bool silu = strcmp(activation, "silu") == 0 || strcmp(activation, "swish") == 0;
  int64_t channels, taps;
  if (!silu && strcmp(activation, "none") != 0)
    return tsr_lower_unsupported(l, "activation '%s'", activation);
  if (v_rank(l, x) != 3 || v_rank(l, weights) != 3)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "input and weight need rank 3");
  if (!v_static_dim(l, weights, 0, &channels) || !v_static_dim(l, weights, 2, &taps))
    return tsr_lower_unsupported(l, "weights of symbolic shape");
  if (channels < 1 || taps < 1)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%lld channels, %lld taps", (long long)channels,
                           (long long)taps);
  tsr_expr none[3] = {e_int(l, 0), e_int(l, 0), e_int(l, 0)};
  tsr_expr low[3] = {none[0], none[0], e_int(l, taps - 1)};
  if (tsr_lower_has(l, 3)) {
    tsr_value parts[2] = {tsr_lower_value(l, 3), x};
    padded = tsr_graph_concat(l->b, parts, 2, 2);
  } else
    padded = tsr_graph_pad(l->b, x, v_number(l, x, 0), low, none, NULL, "constant");
  tsr_lower_set(l, 1, v_slice_axis(l, padded, 2, v_dim(l, x, 2), low[2]));
  tsr_value y = tsr_graph_conv(l->b, v_widen(l, padded), v_widen(l, weights), &one, &one, none,
                               none, channels);
  if (tsr_lower_has(l, 2))
    y = v_add(l, y, v_along(l, v_widen(l, tsr_lower_value(l, 2)), 1, 3));
  if (silu)
    y = v_mul(l, y, v_sigmoid(l, y));
  tsr_lower_set(l, 0, v_cast(l, y, v_dtype(l, x)));
  return TSR_OK;
}

/* --- TensorScatter --- */

/* Entry j of the update along `axis` goes to place j + write_indices[batch] of the cache. */
tsr_status tsr_lower_op_tensor_scatter(tsr_lower *l) {
  uint32_t axis;
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value cache = tsr_lower_value(l, 0), update = tsr_lower_value(l, 1);
  uint32_t rank = v_rank(l, cache);
  const char *mode = tsr_lower_text(l, "mode", "linear");
  bool circular = strcmp(mode, "circular") == 0;
  TSR_TRY(tsr_lower_axis_attr(l, "axis", -2, rank, &axis));
  if (!circular && strcmp(mode, "linear") != 0)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "mode '%s'", mode);
  if (v_rank(l, update) != rank || axis == 0)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "axis %u, a cache of rank %u, an update of rank %u",
                           axis, rank, v_rank(l, update));
  if (!update)
    return TSR_OK;
  const tsr_expr *dims = v_type(l, update)->dims;
  tsr_value at = tsr_graph_iota(l->b, TSR_I64, dims, rank, axis);
  if (tsr_lower_has(l, 2))
    at = v_add(l, at, v_along(l, v_cast(l, tsr_lower_value(l, 2), TSR_I64), 0, rank));
  if (circular)
    at = v_binary(l, TSR_OP_MOD, at, tsr_graph_index(l->b, TSR_I64, v_dim(l, cache, axis)));
  tsr_lower_set(l, 0, tsr_graph_scatter_elements(l->b, cache, at, update, axis, "none"));
  return TSR_OK;
}
