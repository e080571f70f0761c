/* RNN, GRU and LSTM: one matrix product for all steps' inputs, then the steps one after another.
 * The number of steps must be known and moderate: every step is a few ops. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"
#include <string.h>

enum { MAX_STEPS = 512 };

typedef enum rnn_kind { KIND_RNN = 0, KIND_GRU = 1, KIND_LSTM = 2 } rnn_kind;

typedef struct rnn {
  tsr_lower *l;
  rnn_kind kind;
  uint32_t gates; /* blocks of rows in W, R and B */
  int64_t hidden, steps, directions;
  tsr_expr batch;
  tsr_value x;       /* [T, B, I] */
  tsr_value lengths; /* [B, 1] or 0 */
  double clip;       /* 0: none */
} rnn;

/* One direction. */
typedef struct direction {
  int64_t number;
  bool backward;
  const char *activations[3];
  tsr_value inputs;       /* [T, B, gates * H], biases added */
  tsr_value r;            /* [gates * H, H] */
  tsr_value reset_bias;   /* GRU with linear_before_reset: [H] */
  tsr_value peepholes[3]; /* LSTM: [H] each, input, output, forget */
  tsr_value h, c;         /* [B, H] */
} direction;

/* Entry `at` of the first axis, which goes. */
static tsr_value entry(tsr_lower *l, tsr_value x, int64_t at) {
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t rank = v_rank(l, x);
  for (uint32_t i = 1; i < rank; i++)
    dims[i - 1] = v_dim(l, x, i);
  tsr_value one = v_slice_axis(l, x, 0, e_int(l, at), e_int(l, 1));
  return v_reshape(l, one, dims, rank ? rank - 1 : 0);
}

/* Block `gate` of the last axis, `hidden` wide. */
static tsr_value block(const rnn *n, tsr_value x, int64_t gate) {
  tsr_lower *l = n->l;
  uint32_t rank = v_rank(l, x);
  return v_slice_axis(l, x, rank - 1, e_int(l, gate * n->hidden), e_int(l, n->hidden));
}

static tsr_value activation(const rnn *n, const char *name, tsr_value x) {
  tsr_lower *l = n->l;
  if (n->clip > 0)
    x = v_clip(l, x, -n->clip, n->clip);
  if (strcmp(name, "Sigmoid") == 0)
    return v_sigmoid(l, x);
  if (strcmp(name, "Tanh") == 0)
    return v_tanh(l, x);
  if (strcmp(name, "Relu") == 0)
    return v_max(l, x, v_number(l, x, 0));
  return v_clip(l, v_add_number(l, v_mul_number(l, x, 0.2), 0.5), 0, 1);
}

static bool known_activation(const char *name) {
  static const char *const names[] = {"Sigmoid", "Tanh", "Relu", "HardSigmoid"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(name, names[i]) == 0)
      return true;
  return false;
}

/* h [B, H] times the rows of R of `count` gates from `first`, transposed: [B, count * H]. */
static tsr_value recur(const rnn *n, const direction *d, tsr_value h, int64_t first,
                       int64_t count) {
  tsr_lower *l = n->l;
  tsr_value rows = count == n->gates ? d->r
                                     : v_slice_axis(l, d->r, 0, e_int(l, first * n->hidden),
                                                    e_int(l, count * n->hidden));
  return v_matmul(l, h, rows, false, true);
}

static void step_rnn(const rnn *n, direction *d, tsr_value x, tsr_value *h) {
  *h = activation(n, d->activations[0], v_add(n->l, x, recur(n, d, d->h, 0, 1)));
}

static void step_gru(const rnn *n, direction *d, tsr_value x, tsr_value *h) {
  tsr_lower *l = n->l;
  tsr_value both = recur(n, d, d->h, 0, 2);
  tsr_value z = activation(n, d->activations[0], v_add(l, block(n, x, 0), block(n, both, 0)));
  tsr_value r = activation(n, d->activations[0], v_add(l, block(n, x, 1), block(n, both, 1)));
  tsr_value inner;
  if (d->reset_bias)
    inner = v_mul(l, r, v_add(l, recur(n, d, d->h, 2, 1), d->reset_bias));
  else
    inner = recur(n, d, v_mul(l, r, d->h), 2, 1);
  tsr_value fresh = activation(n, d->activations[1], v_add(l, block(n, x, 2), inner));
  tsr_value rest = v_sub(l, v_number(l, z, 1), z);
  *h = v_add(l, v_mul(l, rest, fresh), v_mul(l, z, d->h));
}

static tsr_value peep(const rnn *n, const direction *d, tsr_value gate, uint32_t which,
                      tsr_value c) {
  return d->peepholes[which] ? v_add(n->l, gate, v_mul(n->l, d->peepholes[which], c)) : gate;
}

static void step_lstm(const rnn *n, direction *d, tsr_value x, tsr_value *h, tsr_value *c) {
  tsr_lower *l = n->l;
  tsr_value all = v_add(l, x, recur(n, d, d->h, 0, 4));
  tsr_value in = activation(n, d->activations[0], peep(n, d, block(n, all, 0), 0, d->c));
  tsr_value forget = activation(n, d->activations[0], peep(n, d, block(n, all, 2), 2, d->c));
  tsr_value fresh = activation(n, d->activations[1], block(n, all, 3));
  *c = v_add(l, v_mul(l, forget, d->c), v_mul(l, in, fresh));
  tsr_value out = activation(n, d->activations[0], peep(n, d, block(n, all, 1), 1, *c));
  *h = v_mul(l, out, activation(n, d->activations[2], *c));
}

/* Steps beyond a row's length leave its state alone and give 0. */
static tsr_value masked(const rnn *n, int64_t t, tsr_value fresh, tsr_value old) {
  tsr_lower *l = n->l;
  if (!n->lengths)
    return fresh;
  tsr_value alive = v_gt(l, n->lengths, v_number(l, n->lengths, (double)t));
  return v_select(l, alive, fresh, old);
}

/* Runs all steps; rows[t] is the output of step t, [B, H]. */
static void run_direction(const rnn *n, direction *d, tsr_value *rows) {
  tsr_lower *l = n->l;
  for (int64_t i = 0; i < n->steps; i++) {
    int64_t t = d->backward ? n->steps - 1 - i : i;
    tsr_value x = entry(l, d->inputs, t), h = 0, c = 0;
    if (n->kind == KIND_LSTM)
      step_lstm(n, d, x, &h, &c);
    else if (n->kind == KIND_GRU)
      step_gru(n, d, x, &h);
    else
      step_rnn(n, d, x, &h);
    rows[t] = n->lengths ? masked(n, t, h, v_number(l, h, 0)) : h;
    d->h = masked(n, t, h, d->h);
    if (n->kind == KIND_LSTM)
      d->c = masked(n, t, c, d->c);
  }
}

static tsr_value initial_state(const rnn *n, uint32_t input, int64_t number) {
  tsr_lower *l = n->l;
  tsr_expr dims[2] = {n->batch, e_int(l, n->hidden)};
  if (!tsr_lower_has(l, input))
    return tsr_graph_splat(l->b, v_dtype(l, n->x), 0, dims, 2);
  tsr_value states = v_cast(l, tsr_lower_value(l, input), v_dtype(l, n->x));
  if (tsr_lower_int(l, "layout", 0) != 0)
    states = v_move_axis(l, states, 1, 0);
  return entry(l, states, number);
}

/* Biases of input and recurrence are added to the inputs' product, but for the one that the reset
 * gate multiplies. */
static tsr_value add_biases(const rnn *n, direction *d, tsr_value product) {
  tsr_lower *l = n->l;
  if (!tsr_lower_has(l, 3))
    return product;
  int64_t width = n->gates * n->hidden;
  tsr_value all = entry(l, v_cast(l, tsr_lower_value(l, 3), v_dtype(l, n->x)), d->number);
  tsr_value first = v_slice_axis(l, all, 0, e_int(l, 0), e_int(l, width));
  tsr_value second = v_slice_axis(l, all, 0, e_int(l, width), e_int(l, width));
  bool linear = n->kind == KIND_GRU && tsr_lower_int(l, "linear_before_reset", 0) != 0;
  if (linear) {
    tsr_value parts[2] = {v_slice_axis(l, second, 0, e_int(l, 0), e_int(l, 2 * n->hidden)), 0};
    tsr_expr dim = e_int(l, n->hidden);
    parts[1] = tsr_graph_splat(l->b, v_dtype(l, n->x), 0, &dim, 1);
    d->reset_bias = block(n, second, 2);
    second = tsr_graph_concat(l->b, parts, 2, 0);
  }
  return v_add(l, product, v_add(l, first, second));
}

static void begin_direction(const rnn *n, direction *d) {
  tsr_lower *l = n->l;
  tsr_dtype dtype = v_dtype(l, n->x);
  tsr_value w = entry(l, v_cast(l, tsr_lower_value(l, 1), dtype), d->number);
  d->r = entry(l, v_cast(l, tsr_lower_value(l, 2), dtype), d->number);
  if (n->kind == KIND_GRU && tsr_lower_int(l, "linear_before_reset", 0) != 0) {
    tsr_expr dim = e_int(l, n->hidden);
    d->reset_bias = tsr_graph_splat(l->b, dtype, 0, &dim, 1);
  }
  d->inputs = add_biases(n, d, v_matmul(l, n->x, w, false, true));
  d->h = initial_state(n, 5, d->number);
  if (n->kind != KIND_LSTM)
    return;
  d->c = initial_state(n, 6, d->number);
  if (tsr_lower_has(l, 7)) {
    tsr_value p = entry(l, v_cast(l, tsr_lower_value(l, 7), dtype), d->number);
    for (int64_t i = 0; i < 3; i++)
      d->peepholes[i] = block(n, p, i);
  }
}

/* Names per direction: f, g (and h for LSTM); the defaults where the attribute is absent. */
static tsr_status read_activations(const rnn *n, direction *d) {
  static const char *const defaults[3][3] = {
      {"Tanh", "", ""}, {"Sigmoid", "Tanh", ""}, {"Sigmoid", "Tanh", "Tanh"}};
  tsr_lower *l = n->l;
  const tsr_onnx_attribute *a = tsr_lower_attr(l, "activations");
  uint32_t per = (uint32_t)n->kind + 1;
  for (uint32_t i = 0; i < per; i++) {
    d->activations[i] = defaults[n->kind][i];
    uint64_t at = (uint64_t)d->number * per + i;
    if (a && a->type == TSR_ONNX_STRINGS && at < a->strings.count) {
      const tsr_wire_bytes *text = &a->strings.items[at];
      d->activations[i] = tsr_arena_string(l->arena, text->data, (size_t)text->size);
    }
    if (!d->activations[i] || !known_activation(d->activations[i]))
      return tsr_lower_unsupported(l, "activation '%s'",
                                   d->activations[i] ? d->activations[i] : "");
  }
  if (tsr_lower_attr(l, "activation_alpha") || tsr_lower_attr(l, "activation_beta"))
    return tsr_lower_unsupported(l, "parameters of activations");
  return TSR_OK;
}

static tsr_status read_rnn(tsr_lower *l, rnn *n) {
  TSR_TRY(tsr_lower_need(l, 3));
  memset(n, 0, sizeof *n);
  n->l = l;
  n->kind = (rnn_kind)l->arg;
  n->gates = n->kind == KIND_LSTM ? 4 : n->kind == KIND_GRU ? 3 : 1;
  n->x = v_widen(l, tsr_lower_value(l, 0));
  n->clip = (double)tsr_lower_float(l, "clip", 0);
  if (v_rank(l, n->x) != 3 || l->in[1]->rank != 3 || l->in[2]->rank != 3)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "X, W and R must have rank 3");
  if (tsr_lower_int(l, "layout", 0) != 0)
    n->x = v_move_axis(l, n->x, 1, 0);
  n->batch = v_dim(l, n->x, 1);
  if (!tsr_expr_is_int(l->ir, l->in[2]->dims[2], &n->hidden) ||
      !tsr_expr_is_int(l->ir, l->in[1]->dims[0], &n->directions))
    return tsr_lower_unsupported(l, "weights of symbolic shape");
  if (!v_static_dim(l, n->x, 0, &n->steps) || n->steps > MAX_STEPS)
    return tsr_lower_unsupported(l, "more than %d steps, or an unknown number", MAX_STEPS);
  if (n->steps < 1 || n->directions < 1 || n->directions > 2 || n->hidden < 1)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%lld steps, %lld directions, %lld hidden",
                           (long long)n->steps, (long long)n->directions, (long long)n->hidden);
  if (tsr_lower_int(l, "input_forget", 0) != 0)
    return tsr_lower_unsupported(l, "input_forget");
  if (tsr_lower_has(l, 4))
    n->lengths = v_unsqueeze(l, v_cast(l, tsr_lower_value(l, 4), TSR_I64), 1);
  return TSR_OK;
}

static tsr_value stack(tsr_lower *l, const tsr_value *parts, int64_t count, uint32_t axis) {
  tsr_value *lifted = tsr_lower_alloc(l, (uint64_t)count, sizeof *lifted);
  for (int64_t i = 0; lifted && i < count; i++)
    lifted[i] = v_unsqueeze(l, parts[i], axis);
  if (!lifted)
    return 0;
  return count == 1 ? lifted[0] : tsr_graph_concat(l->b, lifted, (uint32_t)count, axis);
}

/* Y [T, D, B, H], Y_h and Y_c [D, B, H]; with layout 1 the batch comes first. */
static void set_outputs(const rnn *n, const tsr_value *ys, const direction *ds) {
  tsr_lower *l = n->l;
  tsr_value hs[2] = {ds[0].h, ds[1].h}, cs[2] = {ds[0].c, ds[1].c};
  tsr_dtype dtype = l->in[0]->dtype;
  bool batch_first = tsr_lower_int(l, "layout", 0) != 0;
  tsr_value y = stack(l, ys, n->directions, 1), h = stack(l, hs, n->directions, 0);
  tsr_value c = n->kind == KIND_LSTM ? stack(l, cs, n->directions, 0) : 0;
  if (batch_first) {
    y = v_move_axis(l, y, 2, 0);
    h = v_move_axis(l, h, 1, 0);
    c = c ? v_move_axis(l, c, 1, 0) : 0;
  }
  tsr_lower_set(l, 0, v_cast(l, y, dtype));
  tsr_lower_set(l, 1, v_cast(l, h, dtype));
  if (c)
    tsr_lower_set(l, 2, v_cast(l, c, dtype));
}

/* `arg`: a rnn_kind. */
tsr_status tsr_lower_op_rnn(tsr_lower *l) {
  rnn n;
  direction ds[2];
  tsr_value ys[2] = {0, 0};
  TSR_TRY(read_rnn(l, &n));
  memset(ds, 0, sizeof ds);
  tsr_value *rows = tsr_lower_alloc(l, (uint64_t)n.steps, sizeof *rows);
  if (!rows)
    return TSR_ERR_OUT_OF_MEMORY;
  for (int64_t i = 0; i < n.directions; i++) {
    ds[i].number = i;
    ds[i].backward = i == 1 || tsr_lower_text_is(l, "direction", "forward", "reverse");
    TSR_TRY(read_activations(&n, &ds[i]));
    begin_direction(&n, &ds[i]);
    run_direction(&n, &ds[i], rows);
    ys[i] = stack(l, rows, n.steps, 0);
  }
  set_outputs(&n, ys, ds);
  return TSR_OK;
}
