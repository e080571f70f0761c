/* RNN, GRU and LSTM: one matrix product for the inputs of all steps, then the steps one after
 * another, of both directions at once: unrolled when they are few, else a loop. */
#include "frontend/onnx/op_table.h"
#include "frontend/onnx/rnn.h"
#include "frontend/onnx/sizes.h"
#include <string.h>

/* --- what comes before the steps --- */

/* x with the steps of its first axis backwards. */
static tsr_value reversed(tsr_lower *l, tsr_value x) {
  tsr_expr starts[TSR_MAX_RANK], extents[TSR_MAX_RANK];
  int64_t steps[TSR_MAX_RANK];
  for (uint32_t i = 0; i < v_rank(l, x); i++) {
    extents[i] = v_dim(l, x, i);
    starts[i] = i == 0 ? tsr_expr_add_int(l->ir, extents[i], -1) : e_int(l, 0);
    steps[i] = i == 0 ? -1 : 1;
  }
  return tsr_graph_slice(l->b, x, starts, steps, extents);
}

/* An input in the type that is computed in; 0 when absent. */
static tsr_value widened(const tsr_rnn *n, uint32_t input) {
  return tsr_lower_has(n->l, input)
             ? v_cast(n->l, tsr_lower_value(n->l, input), v_dtype(n->l, n->x))
             : 0;
}

/* [directions, ...] as values are here: without the axis when there is one direction. */
static tsr_value by_direction(const tsr_rnn *n, tsr_value x) {
  return x && n->directions == 1 ? tsr_rnn_entry(n->l, x, 0) : x;
}

/* [directions, k * H] of a row per direction as k rows [D, 1, H]; block `at` of them. */
static tsr_value row_block(const tsr_rnn *n, tsr_value rows, int64_t at) {
  tsr_value block = tsr_rnn_block(n, by_direction(n, rows), at);
  return n->directions == 1 ? block : v_unsqueeze(n->l, block, 1);
}

tsr_value tsr_rnn_quantised_product(const tsr_rnn *n, tsr_value x, tsr_value weights,
                                    uint32_t scale, int64_t direction) {
  tsr_lower *l = n->l;
  tsr_dtype dtype = v_dtype(l, x);
  tsr_value factor, zero, words = tsr_dynamic_quantize(l, x, &factor, &zero);
  words = v_sub(l, v_cast(l, words, TSR_I32), v_cast(l, zero, TSR_I32));
  tsr_value w = v_cast(l, tsr_rnn_entry(l, weights, direction), TSR_I32);
  if (tsr_lower_has(l, scale + 1)) {
    zero = tsr_rnn_entry(l, tsr_lower_value(l, scale + 1), direction);
    w = v_sub(l, w, v_cast(l, zero, TSR_I32));
  }
  tsr_value y = v_cast(l, v_matmul(l, words, w, false, false), dtype);
  tsr_value scales = tsr_rnn_entry(l, tsr_lower_value(l, scale), direction);
  return v_mul(l, y, v_mul(l, factor, v_cast(l, scales, dtype)));
}

/* Biases of input and recurrence that are added to the inputs' product, [gates * H]: but for the
 * one that the reset gate multiplies. */
static tsr_value biases_of(const tsr_rnn *n, tsr_value all, int64_t direction) {
  tsr_lower *l = n->l;
  int64_t width = n->gates * n->hidden;
  tsr_value both = tsr_rnn_entry(l, all, direction);
  tsr_value first = v_slice_axis(l, both, 0, e_int(l, 0), e_int(l, width));
  tsr_value second = v_slice_axis(l, both, 0, e_int(l, width), e_int(l, width));
  if (n->reset_late) {
    tsr_expr dim = e_int(l, n->hidden);
    tsr_value parts[2] = {v_slice_axis(l, second, 0, e_int(l, 0), e_int(l, 2 * n->hidden)),
                          tsr_graph_splat(l->b, v_dtype(l, n->x), 0, &dim, 1)};
    second = tsr_graph_concat(l->b, parts, 2, 0);
  }
  return v_add(l, first, second);
}

/* [T, D, B, gates * H]. */
static tsr_value project(const tsr_rnn *n) {
  tsr_lower *l = n->l;
  tsr_value w = n->quantised ? tsr_lower_value(l, 1) : widened(n, 1), biases = widened(n, 3);
  tsr_value parts[2];
  for (int64_t d = 0; d < n->directions; d++) {
    tsr_value y = n->quantised ? tsr_rnn_quantised_product(n, n->x, w, RNN_W_SCALE, d)
                               : v_matmul(l, n->x, tsr_rnn_entry(l, w, d), false, true);
    if (biases)
      y = v_add(l, y, biases_of(n, biases, d));
    if (n->directions == 1)
      return y;
    parts[d] = v_unsqueeze(l, d == 1 ? reversed(l, y) : y, 1);
  }
  return tsr_graph_concat(l->b, parts, 2, 1);
}

static tsr_value initial_state(const tsr_rnn *n, uint32_t input) {
  tsr_lower *l = n->l;
  tsr_expr dims[3] = {e_int(l, n->directions), n->batch, e_int(l, n->hidden)};
  uint32_t lead = n->directions == 1 ? 1 : 0;
  tsr_value states = widened(n, input);
  if (!states)
    return tsr_graph_splat(l->b, v_dtype(l, n->x), 0, dims + lead, 3 - lead);
  return by_direction(n, n->batch_first ? v_move_axis(l, states, 1, 0) : states);
}

static tsr_status read_sizes(tsr_rnn *n) {
  tsr_lower *l = n->l;
  if (v_rank(l, n->x) != 3 || l->in[1]->rank != 3 || l->in[2]->rank != 3)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "X, W and R must have rank 3");
  if (n->batch_first)
    n->x = v_move_axis(l, n->x, 1, 0);
  n->steps = v_dim(l, n->x, 0);
  n->batch = v_dim(l, n->x, 1);
  if (!tsr_expr_is_int(l->ir, l->in[2]->dims[n->quantised ? 1 : 2], &n->hidden) ||
      !tsr_expr_is_int(l->ir, l->in[1]->dims[0], &n->directions))
    return tsr_lower_unsupported(l, "weights of symbolic shape");
  if (n->directions < 1 || n->directions > 2 || n->hidden < 1)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%lld directions, %lld hidden",
                           (long long)n->directions, (long long)n->hidden);
  return TSR_OK;
}

static tsr_status read_rnn(tsr_lower *l, tsr_rnn *n, bool quantised) {
  TSR_TRY(tsr_lower_need(l, 3));
  if (quantised && (!tsr_lower_has(l, RNN_W_SCALE) || !tsr_lower_has(l, RNN_R_SCALE)))
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "it has no scales");
  memset(n, 0, sizeof *n);
  n->l = l;
  n->kind = (tsr_rnn_kind)l->arg;
  n->quantised = quantised;
  n->gates = n->kind == TSR_LSTM ? 4 : n->kind == TSR_GRU ? 3 : 1;
  n->x = v_widen(l, tsr_lower_value(l, 0));
  n->clip = (double)tsr_lower_float(l, "clip", 0);
  n->batch_first = tsr_lower_int(l, "layout", 0) != 0;
  n->backward = tsr_lower_text_is(l, "direction", "forward", "reverse");
  n->reset_late = n->kind == TSR_GRU && tsr_lower_int(l, "linear_before_reset", 0) != 0;
  n->couples = n->kind == TSR_LSTM && tsr_lower_int(l, "input_forget", 0) != 0;
  TSR_TRY(read_sizes(n));
  TSR_TRY(tsr_rnn_read_activations(n));
  n->inputs = project(n);
  n->r = quantised ? tsr_lower_value(l, 2) : by_direction(n, widened(n, 2));
  if (n->reset_late && tsr_lower_has(l, 3))
    n->reset_bias = row_block(n, widened(n, 3), 5);
  for (int64_t i = 0; n->kind == TSR_LSTM && i < 3 && tsr_lower_has(l, 7); i++)
    n->peepholes[i] = row_block(n, widened(n, 7), i);
  if (tsr_lower_has(l, 4))
    n->lengths = v_unsqueeze(l, v_cast(l, tsr_lower_value(l, 4), TSR_I64), 1);
  return TSR_OK;
}

/* --- the steps --- */

/* Which rows have not ended at step `number`, [D, B, 1]: the second direction's steps are counted
 * from the end. */
static tsr_value rows_alive(const tsr_rnn *n, tsr_imported *number) {
  tsr_lower *l = n->l;
  tsr_value forward = tsr_imported_value(l, number), parts[2];
  tsr_value last = tsr_size_scalar(l, tsr_expr_add_int(l->ir, n->steps, -1));
  tsr_value backward = v_sub(l, last, forward);
  if (n->directions == 1)
    return v_gt(l, n->lengths, n->backward ? backward : forward);
  parts[0] = v_unsqueeze(l, v_gt(l, n->lengths, forward), 0);
  parts[1] = v_unsqueeze(l, v_gt(l, n->lengths, backward), 0);
  return tsr_graph_concat(l->b, parts, 2, 0);
}

/* Steps beyond a row's length leave its state alone and give 0. */
static tsr_status turn(tsr_repeat *r, tsr_imported *number, tsr_imported **values,
                       tsr_imported **rows, tsr_imported **out_go_on) {
  const tsr_rnn *n = r->user;
  tsr_lower *l = n->l;
  bool backward = n->directions == 1 && n->backward;
  tsr_value old_h = tsr_imported_value(l, values[0]), h = old_h;
  tsr_value old_c = n->kind == TSR_LSTM ? tsr_imported_value(l, values[1]) : 0, c = old_c;
  (void)out_go_on;
  tsr_rnn_step(n, tsr_repeat_slice(l, n->inputs, 0, number, backward), &h, &c);
  tsr_value row = h;
  if (n->lengths) {
    tsr_value alive = rows_alive(n, number);
    row = v_select(l, alive, h, v_number(l, h, 0));
    h = v_select(l, alive, h, old_h);
    c = c ? v_select(l, alive, c, old_c) : 0;
  }
  values[0] = tsr_imported_new(l, h);
  if (n->kind == TSR_LSTM)
    values[1] = tsr_imported_new(l, c);
  if (r->rows > 0)
    rows[0] = tsr_imported_new(l, row);
  return tsr_ir_status(l->ir);
}

/* The rows of all steps, [T, directions, B, H]. */
static tsr_value all_rows(const tsr_rnn *n, tsr_repeat *r) {
  tsr_lower *l = n->l;
  tsr_value parts[2];
  if (n->directions == 1)
    return v_unsqueeze(l, tsr_repeat_stack(r, 0, 0, n->backward), 1);
  tsr_value both = tsr_repeat_stack(r, 0, 0, false);
  for (int64_t d = 0; d < 2; d++)
    parts[d] = v_slice_axis(l, both, 1, e_int(l, d), e_int(l, 1));
  parts[1] = reversed(l, parts[1]);
  return tsr_graph_concat(l->b, parts, 2, 1);
}

/* A state [D, B, H] as the node gives it. */
static void set_state(const tsr_rnn *n, uint32_t output, tsr_imported *state) {
  tsr_lower *l = n->l;
  tsr_value x = tsr_imported_value(l, state);
  if (n->directions == 1)
    x = v_unsqueeze(l, x, 0);
  if (n->batch_first)
    x = v_move_axis(l, x, 1, 0);
  tsr_lower_set(l, output, v_cast(l, x, l->in[0]->dtype));
}

/* Nodes that a step of each kind is worth; see tsr_repeat.cost. */
static const uint64_t costs[] = {[TSR_RNN] = 8, [TSR_GRU] = 16, [TSR_LSTM] = 16};

static tsr_status lower_rnn(tsr_lower *l, bool quantised) {
  tsr_rnn n;
  TSR_TRY(read_rnn(l, &n, quantised));
  tsr_imported *values[2] = {tsr_imported_new(l, initial_state(&n, 5)), NULL};
  if (n.kind == TSR_LSTM)
    values[1] = tsr_imported_new(l, initial_state(&n, 6));
  tsr_repeat r = {.l = l,
                  .turn = turn,
                  .user = &n,
                  .key = l->node,
                  .limit = n.steps,
                  .counts = true,
                  .cost = costs[n.kind],
                  .carried = n.kind == TSR_LSTM ? 2 : 1,
                  .rows = tsr_lower_wants(l, 0) ? 1 : 0,
                  .values = values};
  TSR_TRY(tsr_ir_status(l->ir));
  TSR_TRY(tsr_repeat_run(&r));
  if (r.rows > 0) {
    tsr_value y = all_rows(&n, &r);
    y = n.batch_first ? v_move_axis(l, y, 2, 0) : y;
    tsr_lower_set(l, 0, v_cast(l, y, l->in[0]->dtype));
  }
  set_state(&n, 1, values[0]);
  if (n.kind == TSR_LSTM)
    set_state(&n, 2, values[1]);
  return TSR_OK;
}

/* `arg`: a tsr_rnn_kind. */
tsr_status tsr_lower_op_rnn(tsr_lower *l) {
  return lower_rnn(l, false);
}

/* What every step multiplies is rounded to 8 bits of its own range, as ONNX Runtime does on one
 * thread. It leaves steps beyond all lengths out of the range of X, which is not done here. */
tsr_status tsr_lower_op_contrib_dynamic_lstm(tsr_lower *l) {
  return lower_rnn(l, true);
}
