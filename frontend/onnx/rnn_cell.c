#include "frontend/onnx/rnn.h"
#include <string.h>
#include <strings.h>

/* --- activations --- */

typedef enum activation_kind {
  ACT_AFFINE,
  ACT_RELU,
  ACT_LEAKY_RELU,
  ACT_THRESHOLDED_RELU,
  ACT_TANH,
  ACT_SCALED_TANH,
  ACT_SIGMOID,
  ACT_HARD_SIGMOID,
  ACT_ELU,
  ACT_SOFTSIGN,
  ACT_SOFTPLUS,
  ACT_COUNT
} activation_kind;

/* Parameters that a model does not give have these values; `alpha`, `beta`: whether it may give
 * them. */
static const struct activation_row {
  const char *name;
  bool alpha, beta;
  double a, b;
} activation_rows[ACT_COUNT] = {
    [ACT_AFFINE] = {"Affine", true, true, 1, 0},
    [ACT_RELU] = {"Relu", false, false, 0, 0},
    [ACT_LEAKY_RELU] = {"LeakyRelu", true, false, 0.01, 0},
    [ACT_THRESHOLDED_RELU] = {"ThresholdedRelu", true, false, 1, 0},
    [ACT_TANH] = {"Tanh", false, false, 0, 0},
    [ACT_SCALED_TANH] = {"ScaledTanh", true, true, 1, 1},
    [ACT_SIGMOID] = {"Sigmoid", false, false, 0, 0},
    [ACT_HARD_SIGMOID] = {"HardSigmoid", true, true, 0.2, 0.5},
    [ACT_ELU] = {"Elu", true, false, 1, 0},
    [ACT_SOFTSIGN] = {"Softsign", false, false, 0, 0},
    [ACT_SOFTPLUS] = {"Softplus", false, false, 0, 0},
};

static activation_kind kind_of(const char *name) {
  int kind = 0;
  while (kind < ACT_COUNT && strcasecmp(activation_rows[kind].name, name) != 0)
    kind++;
  return (activation_kind)kind;
}

/* log(1 + exp(x)) without overflow: max(x, 0) + log(1 + exp(-|x|)). */
static tsr_value softplus(tsr_lower *l, tsr_value x) {
  tsr_value small = v_log(l, v_add_number(l, v_exp(l, v_neg(l, v_abs(l, x))), 1));
  return v_add(l, v_max(l, x, v_number(l, x, 0)), small);
}

static tsr_value apply(tsr_lower *l, const tsr_rnn_activation *act, tsr_value x) {
  double a = act->alpha, b = act->beta;
  tsr_value zero = v_number(l, x, 0);
  switch (kind_of(act->name)) {
  case ACT_AFFINE:
    return v_add_number(l, v_mul_number(l, x, a), b);
  case ACT_RELU:
    return v_max(l, x, zero);
  case ACT_LEAKY_RELU:
    return v_select(l, v_lt(l, x, zero), v_mul_number(l, x, a), x);
  case ACT_THRESHOLDED_RELU:
    return v_select(l, v_gt(l, x, v_number(l, x, a)), x, zero);
  case ACT_TANH:
    return v_tanh(l, x);
  case ACT_SCALED_TANH:
    return v_mul_number(l, v_tanh(l, v_mul_number(l, x, b)), a);
  case ACT_SIGMOID:
    return v_sigmoid(l, x);
  case ACT_HARD_SIGMOID:
    return v_clip(l, v_add_number(l, v_mul_number(l, x, a), b), 0, 1);
  case ACT_ELU:
    return v_select(l, v_lt(l, x, zero), v_mul_number(l, v_add_number(l, v_exp(l, x), -1), a), x);
  case ACT_SOFTSIGN:
    return v_div(l, x, v_add_number(l, v_abs(l, x), 1));
  default:
    return softplus(l, x);
  }
}

static bool same_activation(const tsr_rnn_activation *a, const tsr_rnn_activation *b) {
  return kind_of(a->name) == kind_of(b->name) && a->alpha == b->alpha && a->beta == b->beta;
}

/* Activation `which` of each direction on its part of x. */
static tsr_value activate(const tsr_rnn *n, uint32_t which, tsr_value x) {
  tsr_lower *l = n->l;
  tsr_value parts[2];
  if (n->directions == 1 || same_activation(&n->activations[0][which], &n->activations[1][which]))
    return apply(l, &n->activations[0][which], x);
  for (int64_t d = 0; d < 2; d++)
    parts[d] = apply(l, &n->activations[d][which], v_slice_axis(l, x, 0, e_int(l, d), e_int(l, 1)));
  return tsr_graph_concat(l->b, parts, 2, 0);
}

static tsr_value clipped(const tsr_rnn *n, uint32_t which, tsr_value x) {
  return activate(n, which, n->clip > 0 ? v_clip(n->l, x, -n->clip, n->clip) : x);
}

/* --- reading activations --- */

static const float *list(tsr_lower *l, const char *name, uint32_t *out_count) {
  *out_count = 0;
  return tsr_lower_floats(l, name, out_count);
}

static const char *given_name(tsr_lower *l, uint64_t at, const char *otherwise) {
  const tsr_onnx_attribute *a = tsr_lower_attr(l, "activations");
  if (!a || a->type != TSR_ONNX_STRINGS || at >= a->strings.count)
    return otherwise;
  const tsr_wire_bytes *text = &a->strings.items[at];
  const char *copy =
      tsr_arena_string(l->arena, text->size > 0 ? text->data : "", (size_t)text->size);
  return copy ? copy : "";
}

/* Parameters are listed in the order of the activations, for those that have one. */
tsr_status tsr_rnn_read_activations(tsr_rnn *n) {
  static const char *const defaults[3][3] = {
      {"Tanh", "", ""}, {"Sigmoid", "Tanh", ""}, {"Sigmoid", "Tanh", "Tanh"}};
  tsr_lower *l = n->l;
  uint32_t alphas, betas, next_alpha = 0, next_beta = 0, per = (uint32_t)n->kind + 1;
  const float *alpha = list(l, "activation_alpha", &alphas);
  const float *beta = list(l, "activation_beta", &betas);
  for (int64_t d = 0; d < n->directions; d++)
    for (uint32_t i = 0; i < per; i++) {
      const char *name = given_name(l, (uint64_t)d * per + i, defaults[n->kind][i]);
      activation_kind kind = kind_of(name);
      if (kind == ACT_COUNT)
        return tsr_lower_unsupported(l, "activation '%s'", name);
      const struct activation_row *row = &activation_rows[kind];
      n->activations[d][i] = (tsr_rnn_activation){row->name, row->a, row->b};
      if (row->alpha && next_alpha < alphas)
        n->activations[d][i].alpha = (double)alpha[next_alpha++];
      if (row->beta && next_beta < betas)
        n->activations[d][i].beta = (double)beta[next_beta++];
    }
  return TSR_OK;
}

/* --- cells --- */

tsr_value tsr_rnn_entry(tsr_lower *l, tsr_value x, int64_t at) {
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t rank = v_rank(l, x);
  for (uint32_t i = 1; i < rank; i++)
    dims[i - 1] = v_dim(l, x, i);
  return v_reshape(l, v_slice_axis(l, x, 0, e_int(l, at), e_int(l, 1)), dims, rank ? rank - 1 : 0);
}

tsr_value tsr_rnn_block(const tsr_rnn *n, tsr_value x, int64_t gate) {
  tsr_lower *l = n->l;
  return v_slice_axis(l, x, v_rank(l, x) - 1, e_int(l, gate * n->hidden), e_int(l, n->hidden));
}

/* h times the rows of R of `count` gates from `first`, transposed: [D, B, count * H]. */
static tsr_value recur(const tsr_rnn *n, tsr_value h, int64_t first, int64_t count) {
  tsr_lower *l = n->l;
  tsr_value rows = n->r, parts[2];
  if (n->quantised && n->directions == 1)
    return tsr_rnn_quantised_product(n, h, rows, RNN_R_SCALE, 0);
  for (int64_t d = 0; n->quantised && d < 2; d++)
    parts[d] = v_unsqueeze(
        l, tsr_rnn_quantised_product(n, tsr_rnn_entry(l, h, d), rows, RNN_R_SCALE, d), 0);
  if (n->quantised)
    return tsr_graph_concat(l->b, parts, 2, 0);
  if (count != n->gates)
    rows = v_slice_axis(l, rows, v_rank(l, rows) - 2, e_int(l, first * n->hidden),
                        e_int(l, count * n->hidden));
  return tsr_graph_einsum(l->b, n->directions == 1 ? "bh,gh->bg" : "dbh,dgh->dbg", h, rows);
}

static tsr_value step_gru(const tsr_rnn *n, tsr_value x, tsr_value h) {
  tsr_lower *l = n->l;
  tsr_value product = recur(n, h, 0, n->reset_late ? 3 : 2);
  tsr_value z = clipped(n, 0, v_add(l, tsr_rnn_block(n, x, 0), tsr_rnn_block(n, product, 0)));
  tsr_value r = clipped(n, 0, v_add(l, tsr_rnn_block(n, x, 1), tsr_rnn_block(n, product, 1)));
  tsr_value inner;
  if (n->reset_late) {
    inner = tsr_rnn_block(n, product, 2);
    inner = v_mul(l, r, n->reset_bias ? v_add(l, inner, n->reset_bias) : inner);
  } else
    inner = recur(n, v_mul(l, r, h), 2, 1);
  tsr_value fresh = clipped(n, 1, v_add(l, tsr_rnn_block(n, x, 2), inner));
  tsr_value rest = v_sub(l, v_number(l, z, 1), z);
  return v_add(l, v_mul(l, rest, fresh), v_mul(l, z, h));
}

static tsr_value peep(const tsr_rnn *n, tsr_value gate, uint32_t which, tsr_value c) {
  return n->peepholes[which] ? v_add(n->l, gate, v_mul(n->l, n->peepholes[which], c)) : gate;
}

static void step_lstm(const tsr_rnn *n, tsr_value x, tsr_value *h, tsr_value *c) {
  tsr_lower *l = n->l;
  tsr_value all = v_add(l, x, recur(n, *h, 0, 4));
  tsr_value in = clipped(n, 0, peep(n, tsr_rnn_block(n, all, 0), 0, *c));
  tsr_value forget = n->couples ? v_sub(l, v_number(l, in, 1), in)
                                : clipped(n, 0, peep(n, tsr_rnn_block(n, all, 2), 2, *c));
  tsr_value fresh = clipped(n, 1, tsr_rnn_block(n, all, 3));
  *c = v_add(l, v_mul(l, forget, *c), v_mul(l, in, fresh));
  tsr_value out = clipped(n, 0, peep(n, tsr_rnn_block(n, all, 1), 1, *c));
  *h = v_mul(l, out, activate(n, 2, *c));
}

void tsr_rnn_step(const tsr_rnn *n, tsr_value inputs, tsr_value *h, tsr_value *c) {
  if (n->kind == TSR_LSTM)
    step_lstm(n, inputs, h, c);
  else if (n->kind == TSR_GRU)
    *h = step_gru(n, inputs, *h);
  else
    *h = clipped(n, 0, v_add(n->l, inputs, recur(n, *h, 0, 1)));
}
