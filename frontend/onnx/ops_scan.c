/* Scan: slices of inputs go into the body turn by turn, rows come out. At opset 8 every row of a
 * batch is a scan of its own, of a length of its own. */
#include "frontend/onnx/op_table.h"
#include "frontend/onnx/repeat.h"
#include "frontend/onnx/sizes.h"
#include <string.h>

typedef struct scan {
  tsr_lower *l;
  const tsr_onnx_graph *body;
  uint32_t first; /* input of the first state: 1 at opset 8 */
  uint32_t states, inputs, outputs;
  tsr_imported **in, **out; /* of the body */
  tsr_imported **x;         /* the scan inputs; of a batch: of the row at hand */
  tsr_expr steps;           /* extent of the scan axes */
  tsr_value length;         /* of the row at hand, or 0 */
} scan;

static int64_t list_entry(tsr_lower *l, const char *name, uint32_t at) {
  uint32_t count;
  const int64_t *list = tsr_lower_ints(l, name, &count);
  return list && at < count ? list[at] : 0;
}

static bool is_batched(const scan *s) {
  return s->first == 1;
}

static bool backward_input(const scan *s, uint32_t input) {
  return list_entry(s->l, is_batched(s) ? "directions" : "scan_input_directions", input) != 0;
}

static tsr_status scan_axis(const scan *s, uint32_t input, uint32_t rank, uint32_t *out) {
  int64_t axis = is_batched(s) ? 0 : list_entry(s->l, "scan_input_axes", input);
  if (!tsr_lower_axis(axis, rank, out))
    return tsr_lower_wrong(s->l, TSR_ERR_SHAPE, "scan axis %lld is out of range", (long long)axis);
  return TSR_OK;
}

/* Two scan inputs, as long as each other or the run fails. */
static tsr_status compare_steps(const scan *s, tsr_expr steps) {
  tsr_lower *l = s->l;
  int64_t a, b;
  if (s->steps == steps)
    return TSR_OK;
  if (tsr_expr_is_int(l->ir, s->steps, &a) && tsr_expr_is_int(l->ir, steps, &b))
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "scan inputs of %lld and %lld steps", (long long)a,
                           (long long)b);
  tsr_size_check(l, v_ne(l, tsr_size_scalar(l, s->steps), tsr_size_scalar(l, steps)),
                 "scan inputs of different lengths");
  return TSR_OK;
}

static tsr_status read_scan(tsr_lower *l, scan *s) {
  const tsr_onnx_attribute *a = tsr_lower_attr(l, "body");
  memset(s, 0, sizeof *s);
  s->l = l;
  s->body = a && a->type == TSR_ONNX_GRAPH ? a->g : NULL;
  s->first = l->opset < 9 ? 1 : 0;
  int64_t inputs = tsr_lower_int(l, "num_scan_inputs", 0);
  if (!s->body || inputs < 1 || inputs + s->first > (int64_t)l->in_count)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "no body, or num_scan_inputs %lld",
                           (long long)inputs);
  for (uint32_t i = s->first; i < l->in_count; i++)
    if (!tsr_lower_has(l, i) || l->in[i]->kind != TSR_IMPORTED_TENSOR)
      return tsr_lower_wrong(l, TSR_ERR_FORMAT, "input %u is missing or no tensor", i);
  s->inputs = (uint32_t)inputs;
  s->states = l->in_count - s->first - s->inputs;
  if (s->body->outputs.count != l->out_count || l->out_count < s->states)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "its body does not fit its inputs and outputs");
  s->outputs = l->out_count - s->states;
  s->in = tsr_lower_alloc(l, (uint64_t)s->states + s->inputs, sizeof *s->in);
  s->out = tsr_lower_alloc(l, l->out_count, sizeof *s->out);
  s->x = tsr_lower_alloc(l, s->inputs, sizeof *s->x);
  if (!s->in || !s->out || !s->x)
    return TSR_ERR_OUT_OF_MEMORY;
  for (uint32_t i = 0; i < s->inputs; i++) {
    uint32_t axis;
    s->x[i] = l->in[s->first + s->states + i];
    if (s->x[i]->rank < 1 + s->first)
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "scan input %u has rank %u", i, s->x[i]->rank);
    TSR_TRY(scan_axis(s, i, s->x[i]->rank - s->first, &axis));
    tsr_expr steps = s->x[i]->dims[axis + s->first];
    if (i == 0)
      s->steps = steps;
    TSR_TRY(compare_steps(s, steps));
  }
  return TSR_OK;
}

/* Slice `number` of scan input `input`; of rows with a length, backwards from their last valid one.
 */
static tsr_value input_slice(const scan *s, uint32_t input, uint32_t axis, tsr_imported *number) {
  tsr_lower *l = s->l;
  tsr_value x = tsr_imported_value(l, s->x[input]);
  if (!s->length || !backward_input(s, input))
    return tsr_repeat_slice(l, x, axis, number, backward_input(s, input));
  tsr_value at = v_sub(l, s->length, v_add_number(l, tsr_imported_value(l, number), 1));
  return tsr_graph_gather(l->b, x, at, axis);
}

static tsr_status turn(tsr_repeat *r, tsr_imported *number, tsr_imported **values,
                       tsr_imported **rows, tsr_imported **out_go_on) {
  scan *s = r->user;
  (void)out_go_on;
  for (uint32_t i = 0; i < s->states; i++)
    s->in[i] = values[i];
  for (uint32_t i = 0; i < s->inputs; i++) {
    uint32_t axis;
    TSR_TRY(scan_axis(s, i, s->x[i]->rank, &axis));
    s->in[s->states + i] = tsr_imported_new(s->l, input_slice(s, i, axis, number));
    if (!s->in[s->states + i])
      return TSR_ERR_OUT_OF_MEMORY;
    s->in[s->states + i]->text = s->x[i]->text;
  }
  TSR_TRY(
      tsr_import_subgraph(s->l, s->body, s->in, s->states + s->inputs, s->out, s->l->out_count));
  for (uint32_t i = 0; i < s->states; i++)
    values[i] = s->out[i];
  for (uint32_t i = 0; i < s->outputs; i++)
    rows[i] = s->out[s->states + i];
  return TSR_OK;
}

/* The scan of states that start as `starts`, over `limit` steps. */
static tsr_status run(scan *s, tsr_imported **starts, tsr_expr limit, tsr_repeat *r) {
  tsr_lower *l = s->l;
  *r = (tsr_repeat){.l = l,
                    .turn = turn,
                    .user = s,
                    .key = s->body,
                    .limit = limit,
                    .counts = true,
                    .cost = tsr_body_cost(s->body) + s->inputs,
                    .carried = s->states,
                    .rows = s->outputs,
                    .values = starts,
                    .declared = s->body->outputs.items};
  bool *constant = tsr_lower_alloc(l, s->states, sizeof *constant);
  for (uint32_t i = 0; constant && i < s->states; i++)
    constant[i] = tsr_body_passes(s->body, i) == i;
  r->constant = constant;
  return constant ? tsr_repeat_run(r) : TSR_ERR_OUT_OF_MEMORY;
}

static tsr_status set_row_output(scan *s, tsr_repeat *r, uint32_t row) {
  tsr_lower *l = s->l;
  uint32_t axis, rank = r->lists[row]->rank;
  if (r->lists[row]->kind == TSR_IMPORTED_SEQUENCE)
    rank = r->lists[row]->items[0]->rank;
  int64_t given = list_entry(l, "scan_output_axes", row);
  if (!tsr_lower_axis(given, rank + 1, &axis))
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "scan output axis %lld", (long long)given);
  bool backward = list_entry(l, "scan_output_directions", row) != 0;
  tsr_lower_set(l, s->states + row, tsr_repeat_stack(r, row, axis, backward));
  return TSR_OK;
}

static tsr_status plain_scan(scan *s) {
  tsr_lower *l = s->l;
  tsr_repeat r;
  tsr_imported **values = tsr_lower_alloc(l, s->states, sizeof *values);
  for (uint32_t i = 0; values && i < s->states; i++)
    values[i] = l->in[i];
  if (!values)
    return TSR_ERR_OUT_OF_MEMORY;
  TSR_TRY(run(s, values, s->steps, &r));
  if (r.broken) {
    tsr_lower_set_broken(l, r.broken);
    return TSR_OK;
  }
  for (uint32_t i = 0; i < s->states; i++)
    tsr_lower_set_imported(l, i, values[i]);
  for (uint32_t i = 0; i < s->outputs; i++)
    TSR_TRY(set_row_output(s, &r, i));
  return TSR_OK;
}

/* --- opset 8 --- */

/* The rows of a shorter scan, filled up with zeros. */
static tsr_value filled_up(const scan *s, tsr_value rows) {
  tsr_lower *l = s->l;
  tsr_expr low[TSR_MAX_RANK], high[TSR_MAX_RANK];
  if (!rows || v_dim(l, rows, 0) == s->steps)
    return rows;
  for (uint32_t i = 0; i < v_rank(l, rows); i++)
    low[i] = high[i] = e_int(l, 0);
  high[0] = e_sub(l, s->steps, v_dim(l, rows, 0));
  return tsr_graph_pad(l->b, rows, v_number(l, rows, 0), low, high, NULL, "constant");
}

/* A row of the batch: all of its steps, states and rows as outputs. */
static tsr_status batch_turn(tsr_repeat *r, tsr_imported *number, tsr_imported **values,
                             tsr_imported **rows, tsr_imported **out_go_on) {
  scan inner = *(scan *)r->user;
  tsr_lower *l = inner.l;
  tsr_repeat steps;
  (void)values;
  (void)out_go_on;
  tsr_imported **states = tsr_lower_alloc(l, inner.states, sizeof *states);
  inner.x = tsr_lower_alloc(l, inner.inputs, sizeof *inner.x);
  if (!states || !inner.x)
    return TSR_ERR_OUT_OF_MEMORY;
  for (uint32_t i = 0; i < inner.states; i++)
    states[i] =
        tsr_imported_new(l, tsr_repeat_slice(l, tsr_lower_value(l, 1 + i), 0, number, false));
  for (uint32_t i = 0; i < inner.inputs; i++)
    inner.x[i] = tsr_imported_new(
        l, tsr_repeat_slice(l, tsr_lower_value(l, 1 + inner.states + i), 0, number, false));
  tsr_expr limit = inner.steps;
  if (tsr_lower_has(l, 0)) {
    tsr_value lengths = v_cast(l, tsr_lower_value(l, 0), TSR_I64);
    inner.length = tsr_repeat_slice(l, lengths, 0, number, false);
    limit = tsr_size_read(l, inner.length, 0, "length", UINT32_MAX, inner.steps);
  }
  TSR_TRY(run(&inner, states, limit, &steps));
  for (uint32_t i = 0; i < r->rows; i++)
    if (steps.broken)
      rows[i] = steps.broken;
    else if (i < inner.states)
      rows[i] = states[i];
    else
      rows[i] = tsr_imported_new(
          l, filled_up(&inner, tsr_repeat_stack(&steps, i - inner.states, 0, false)));
  return TSR_OK;
}

static tsr_status batched_scan(scan *s) {
  tsr_lower *l = s->l;
  int64_t steps = 1;
  (void)tsr_expr_is_int(l->ir, s->steps, &steps);
  tsr_repeat r = {.l = l,
                  .turn = batch_turn,
                  .user = s,
                  .key = l->node,
                  .limit = s->x[0]->dims[0],
                  .counts = true,
                  .cost = (tsr_body_cost(s->body) + 1) * (uint64_t)(steps > 0 ? steps : 1),
                  .rows = l->out_count};
  TSR_TRY(tsr_repeat_run(&r));
  if (r.broken) {
    tsr_lower_set_broken(l, r.broken);
    return TSR_OK;
  }
  for (uint32_t i = 0; i < l->out_count; i++)
    tsr_lower_set(l, i, tsr_repeat_stack(&r, i, 0, false));
  return TSR_OK;
}

tsr_status tsr_lower_op_scan(tsr_lower *l) {
  scan s;
  TSR_TRY(read_scan(l, &s));
  return is_batched(&s) ? batched_scan(&s) : plain_scan(&s);
}
