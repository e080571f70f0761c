/* Loop and Scan with a known number of steps: the body is imported once per step. A condition that
 * only the run decides keeps the steps and freezes the carried values. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/importer.h"
#include "frontend/onnx/op_table.h"
#include <string.h>

enum { MAX_STEPS = 256, ALL_STEPS = 1 << 30 };

static const tsr_onnx_graph *body_of(tsr_lower *l) {
  const tsr_onnx_attribute *a = tsr_lower_attr(l, "body");
  return a && a->type == TSR_ONNX_GRAPH ? a->g : NULL;
}

/* An integer or bool scalar that is known while importing. */
static tsr_imported *known_scalar(tsr_lower *l, tsr_dtype dtype, int64_t number) {
  tsr_imported *made = tsr_lower_alloc(l, 1, sizeof *made);
  tsr_content *content = tsr_lower_alloc(l, 1, sizeof *content);
  tsr_expr *expr = tsr_lower_alloc(l, 1, sizeof *expr);
  if (!made || !content || !expr)
    return NULL;
  *expr = e_int(l, number);
  *content = (tsr_content){.count = 1, .exprs = expr};
  *made = (tsr_imported){.dtype = dtype, .content = content};
  return made;
}

static bool known_bool(tsr_lower *l, tsr_imported *x, bool *out) {
  const tsr_content *content = tsr_imported_content(l, x);
  int64_t number;
  *out = false;
  if (!content || content->count != 1 || !content->exprs ||
      !tsr_expr_is_int(l->ir, content->exprs[0], &number))
    return false;
  *out = number != 0;
  return true;
}

/* Rows that each step adds to a scan output. */
typedef struct collector {
  tsr_value *rows;
  uint32_t count;
} collector;

static bool begin_collectors(tsr_lower *l, collector *c, uint32_t count, int64_t steps) {
  for (uint32_t i = 0; i < count; i++) {
    c[i].rows = tsr_lower_alloc(l, (uint64_t)steps, sizeof *c[i].rows);
    if (!c[i].rows)
      return false;
  }
  return true;
}

static tsr_value joined(tsr_lower *l, const collector *c, uint32_t axis, bool backward) {
  tsr_value *parts = tsr_lower_alloc(l, c->count, sizeof *parts);
  for (uint32_t i = 0; parts && i < c->count; i++)
    parts[i] = v_unsqueeze(l, c->rows[backward ? c->count - 1 - i : i], axis);
  if (!parts || c->count == 0)
    return 0;
  return c->count == 1 ? parts[0] : tsr_graph_concat(l->b, parts, c->count, axis);
}

/* --- Loop --- */

typedef struct loop {
  tsr_lower *l;
  const tsr_onnx_graph *body;
  uint32_t carried, scans;
  int64_t trips;
  tsr_imported **in;  /* of the body: step, condition, carried */
  tsr_imported **out; /* condition, carried, scan outputs */
  collector *rows;
  tsr_value alive; /* bool scalar, 0: true for certain */
} loop;

static bool broken_any(tsr_imported *const *x, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (x[i]->kind == TSR_IMPORTED_BROKEN)
      return true;
  return false;
}

/* The carried values of the next step; frozen where the loop has ended. */
static tsr_status carry_on(loop *p) {
  tsr_lower *l = p->l;
  for (uint32_t i = 0; i < p->carried; i++) {
    tsr_imported *old = p->in[i + 2], *fresh = p->out[i + 1];
    if (!p->alive || fresh == old) {
      p->in[i + 2] = fresh;
      continue;
    }
    tsr_value x = tsr_imported_value(l, fresh), y = tsr_imported_value(l, old);
    if (x && y && (v_dtype(l, x) != v_dtype(l, y) || v_rank(l, x) != v_rank(l, y)))
      return tsr_lower_unsupported(l, "a carried value that changes its type");
    p->in[i + 2] = tsr_imported_new(l, v_select(l, p->alive, x, y));
  }
  return TSR_OK;
}

/* Folds the body's condition into `alive`; `out_stop` when it is false for certain. */
static tsr_status next_condition(loop *p, bool *out_stop) {
  tsr_lower *l = p->l;
  bool value;
  *out_stop = false;
  if (known_bool(l, p->out[0], &value)) {
    *out_stop = !value;
    return TSR_OK;
  }
  if (p->scans > 0)
    return tsr_lower_unsupported(l, "scan outputs of a length that only the run decides");
  tsr_value now = v_to_scalar(l, tsr_imported_value(l, p->out[0]));
  p->alive = p->alive ? v_and(l, p->alive, now) : now;
  return TSR_OK;
}

static tsr_status run_loop(loop *p) {
  tsr_lower *l = p->l;
  bool stop = false;
  for (int64_t step = 0; step < p->trips && !stop; step++) {
    if (step == MAX_STEPS)
      return tsr_lower_unsupported(l, "more than %d steps", MAX_STEPS);
    p->in[0] = known_scalar(l, TSR_I64, step);
    p->in[1] = known_scalar(l, TSR_BOOL, 1);
    if (!p->in[0] || !p->in[1])
      return TSR_ERR_OUT_OF_MEMORY;
    TSR_TRY(
        tsr_import_subgraph(l, p->body, p->in, p->carried + 2, p->out, 1 + p->carried + p->scans));
    if (broken_any(p->out, 1 + p->carried + p->scans))
      return tsr_lower_unsupported(l, "its body has unsupported nodes");
    for (uint32_t i = 0; i < p->scans; i++)
      p->rows[i].rows[p->rows[i].count++] = tsr_imported_value(l, p->out[1 + p->carried + i]);
    TSR_TRY(carry_on(p));
    TSR_TRY(next_condition(p, &stop));
  }
  return TSR_OK;
}

static tsr_status read_loop(tsr_lower *l, loop *p) {
  int64_t start = 1;
  memset(p, 0, sizeof *p);
  p->l = l;
  p->body = body_of(l);
  if (!p->body || l->in_count < 2 || l->out_count + 2 < l->in_count ||
      p->body->outputs.count != l->out_count + 1)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "its body does not fit its inputs and outputs");
  p->carried = l->in_count - 2;
  p->scans = l->out_count - p->carried;
  p->trips = ALL_STEPS;
  if (tsr_lower_has(l, 0) && !tsr_lower_scalar_int(l, 0, &p->trips))
    return tsr_lower_unknown(l, 0, "the number of steps");
  if (tsr_lower_has(l, 1) && !tsr_lower_scalar_int(l, 1, &start)) {
    if (p->scans > 0)
      return tsr_lower_unknown(l, 1, "the first condition");
    p->alive = v_to_scalar(l, tsr_lower_value(l, 1));
    start = 1;
  }
  if (!start || p->trips < 0)
    p->trips = 0;
  if (p->trips == 0 && p->scans > 0)
    return tsr_lower_unsupported(l, "scan outputs of no steps");
  p->in = tsr_lower_alloc(l, p->carried + 2, sizeof *p->in);
  p->out = tsr_lower_alloc(l, 1 + p->carried + p->scans, sizeof *p->out);
  p->rows = tsr_lower_alloc(l, p->scans, sizeof *p->rows);
  if (!p->in || !p->out || !p->rows || !begin_collectors(l, p->rows, p->scans, MAX_STEPS))
    return TSR_ERR_OUT_OF_MEMORY;
  for (uint32_t i = 0; i < p->carried; i++) {
    if (!l->in[i + 2])
      return tsr_lower_wrong(l, TSR_ERR_FORMAT, "carried value %u is missing", i);
    p->in[i + 2] = l->in[i + 2];
  }
  return TSR_OK;
}

tsr_status tsr_lower_op_loop(tsr_lower *l) {
  loop p;
  TSR_TRY(read_loop(l, &p));
  TSR_TRY(run_loop(&p));
  for (uint32_t i = 0; i < p.carried; i++)
    tsr_lower_set_imported(l, i, p.in[i + 2]);
  for (uint32_t i = 0; i < p.scans; i++)
    tsr_lower_set(l, p.carried + i, joined(l, &p.rows[i], 0, false));
  return TSR_OK;
}

/* --- Scan --- */

typedef struct scan {
  tsr_lower *l;
  const tsr_onnx_graph *body;
  uint32_t states, inputs, outputs;
  int64_t steps;
} scan;

static int64_t list_entry(tsr_lower *l, const char *name, uint32_t at) {
  uint32_t count;
  const int64_t *list = tsr_lower_ints(l, name, &count);
  return list && at < count ? list[at] : 0;
}

static tsr_status scan_axis(const scan *s, uint32_t input, uint32_t *out) {
  tsr_lower *l = s->l;
  int64_t axis = list_entry(l, "scan_input_axes", input);
  if (!tsr_lower_axis(axis, l->in[s->states + input]->rank, out))
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "scan axis %lld is out of range", (long long)axis);
  return TSR_OK;
}

static tsr_status read_scan(tsr_lower *l, scan *s) {
  memset(s, 0, sizeof *s);
  s->l = l;
  s->body = body_of(l);
  int64_t inputs = tsr_lower_int(l, "num_scan_inputs", 0);
  TSR_TRY(tsr_lower_need(l, l->in_count));
  if (!s->body || inputs < 1 || inputs > (int64_t)l->in_count)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "no body, or num_scan_inputs %lld",
                           (long long)inputs);
  s->inputs = (uint32_t)inputs;
  s->states = l->in_count - s->inputs;
  if (s->body->outputs.count != l->out_count || l->out_count < s->states)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "its body does not fit its inputs and outputs");
  s->outputs = l->out_count - s->states;
  for (uint32_t i = 0; i < s->inputs; i++) {
    uint32_t axis;
    int64_t steps;
    TSR_TRY(scan_axis(s, i, &axis));
    if (!tsr_expr_is_int(l->ir, l->in[s->states + i]->dims[axis], &steps))
      return tsr_lower_unsupported(l, "an unknown number of steps");
    if (i > 0 && steps != s->steps)
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "scan inputs of %lld and %lld steps",
                             (long long)s->steps, (long long)steps);
    s->steps = steps;
  }
  if (s->steps < 1 || s->steps > MAX_STEPS)
    return tsr_lower_unsupported(l, "%lld steps", (long long)s->steps);
  return TSR_OK;
}

/* Step `step` of a scan input without its axis. */
static tsr_value scan_slice(const scan *s, uint32_t input, uint32_t axis, int64_t step) {
  tsr_lower *l = s->l;
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t rank = 0;
  bool backward = list_entry(l, "scan_input_directions", input) != 0;
  int64_t at = backward ? s->steps - 1 - step : step;
  tsr_value x = tsr_lower_value(l, s->states + input);
  for (uint32_t i = 0; i < v_rank(l, x); i++)
    if (i != axis)
      dims[rank++] = v_dim(l, x, i);
  return v_reshape(l, v_slice_axis(l, x, axis, e_int(l, at), e_int(l, 1)), dims, rank);
}

static tsr_status run_scan(const scan *s, tsr_imported **in, tsr_imported **out, collector *rows) {
  tsr_lower *l = s->l;
  for (int64_t step = 0; step < s->steps; step++) {
    for (uint32_t i = 0; i < s->inputs; i++) {
      uint32_t axis;
      TSR_TRY(scan_axis(s, i, &axis));
      in[s->states + i] = tsr_imported_new(l, scan_slice(s, i, axis, step));
      if (!in[s->states + i])
        return TSR_ERR_OUT_OF_MEMORY;
    }
    TSR_TRY(tsr_import_subgraph(l, s->body, in, l->in_count, out, l->out_count));
    if (broken_any(out, l->out_count))
      return tsr_lower_unsupported(l, "its body has unsupported nodes");
    for (uint32_t i = 0; i < s->states; i++)
      in[i] = out[i];
    for (uint32_t i = 0; i < s->outputs; i++)
      rows[i].rows[rows[i].count++] = tsr_imported_value(l, out[s->states + i]);
  }
  return TSR_OK;
}

tsr_status tsr_lower_op_scan(tsr_lower *l) {
  scan s;
  TSR_TRY(read_scan(l, &s));
  tsr_imported **in = tsr_lower_alloc(l, l->in_count, sizeof *in);
  tsr_imported **out = tsr_lower_alloc(l, l->out_count, sizeof *out);
  collector *rows = tsr_lower_alloc(l, s.outputs, sizeof *rows);
  if (!in || !out || !rows || !begin_collectors(l, rows, s.outputs, s.steps))
    return TSR_ERR_OUT_OF_MEMORY;
  for (uint32_t i = 0; i < s.states; i++)
    in[i] = l->in[i];
  TSR_TRY(run_scan(&s, in, out, rows));
  for (uint32_t i = 0; i < s.states; i++)
    tsr_lower_set_imported(l, i, in[i]);
  for (uint32_t i = 0; i < s.outputs; i++) {
    uint32_t axis;
    int64_t given = list_entry(l, "scan_output_axes", i);
    if (!tsr_lower_axis(given, v_rank(l, rows[i].rows[0]) + 1, &axis))
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "scan output axis %lld", (long long)given);
    bool backward = list_entry(l, "scan_output_directions", i) != 0;
    tsr_lower_set(l, s.states + i, joined(l, &rows[i], axis, backward));
  }
  return TSR_OK;
}
