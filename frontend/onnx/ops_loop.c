/* Loop: the number of turns and the condition; repeat.c does the rest. */
#include "frontend/onnx/op_table.h"
#include "frontend/onnx/repeat.h"
#include "frontend/onnx/sizes.h"
#include <string.h>

/* Turns that no loop makes: as good as none at all. */
static const int64_t endless = (int64_t)1 << 40;

typedef struct loop {
  const tsr_onnx_graph *body;
  tsr_imported **in, **out; /* of the body */
} loop;

/* Number and condition are scalars, or of the one element that the body says. */
static tsr_imported *as_declared(tsr_lower *l, const tsr_onnx_value_info *info, tsr_imported *x) {
  const tsr_onnx_shape *shape = info->type && info->type->tensor ? info->type->tensor->shape : NULL;
  tsr_expr *one = tsr_lower_alloc(l, 1, sizeof *one);
  if (!x || !one || !shape || shape->dims.count != 1)
    return one ? x : NULL;
  *one = e_int(l, 1);
  tsr_imported *vector = x->content
                             ? tsr_lower_alloc(l, 1, sizeof *vector)
                             : tsr_imported_new(l, v_reshape(l, tsr_imported_value(l, x), one, 1));
  if (vector && x->content)
    *vector = (tsr_imported){.dtype = x->dtype, .rank = 1, .dims = one, .content = x->content};
  return vector;
}

static tsr_status turn(tsr_repeat *r, tsr_imported *number, tsr_imported **values,
                       tsr_imported **rows, tsr_imported **out_go_on) {
  loop *p = r->user;
  const tsr_onnx_graph *body = p->body;
  if (body->inputs.count != r->carried + 2)
    return tsr_lower_wrong(r->l, TSR_ERR_FORMAT, "its body has %llu inputs, not %u",
                           (unsigned long long)body->inputs.count, r->carried + 2);
  p->in[0] = as_declared(r->l, &body->inputs.items[0], number);
  p->in[1] = as_declared(r->l, &body->inputs.items[1], tsr_known_scalar(r->l, TSR_BOOL, 1));
  if (!p->in[0] || !p->in[1])
    return TSR_ERR_OUT_OF_MEMORY;
  for (uint32_t i = 0; i < r->carried; i++)
    p->in[i + 2] = values[i];
  TSR_TRY(tsr_import_subgraph(r->l, body, p->in, r->carried + 2, p->out, 1 + r->carried + r->rows));
  *out_go_on = p->out[0];
  for (uint32_t i = 0; i < r->carried; i++)
    values[i] = p->out[1 + i];
  for (uint32_t i = 0; i < r->rows; i++)
    rows[i] = p->out[1 + r->carried + i];
  return TSR_OK;
}

/* An input as a scalar of the graph. */
static tsr_value scalar(tsr_lower *l, uint32_t input, tsr_dtype dtype) {
  return v_cast(l, v_to_scalar(l, tsr_lower_value(l, input)), dtype);
}

/* The trip count as an expression if it is one; `out_any`: there is none. */
static tsr_expr known_count(tsr_lower *l, bool *out_any) {
  int64_t number;
  *out_any = !tsr_lower_has(l, 0);
  const tsr_content *content = *out_any ? NULL : tsr_imported_content(l, l->in[0]);
  if (!content || content->count != 1 || !content->exprs)
    return 0;
  if (!tsr_expr_is_int(l->ir, content->exprs[0], &number))
    return e_max(l, content->exprs[0], e_int(l, 0));
  *out_any = number >= endless;
  return *out_any ? 0 : e_int(l, number > 0 ? number : 0);
}

/* How many turns there may be, 0: any number. What only a run knows of trip count and first
 * condition is read into a dim. */
static tsr_expr read_limit(tsr_lower *l) {
  bool any, first;
  tsr_expr count = known_count(l, &any);
  bool asks = tsr_lower_has(l, 1) && !tsr_known_bool(l, l->in[1], &first);
  if (tsr_lower_has(l, 1) && !asks && !first)
    return e_int(l, 0);
  if (!any && !count) {
    tsr_value turns = v_max(l, scalar(l, 0, TSR_I64), v_i64(l, 0));
    turns = v_min(l, turns, v_i64(l, TSR_IMPORT_DIM_HI));
    if (asks)
      turns = v_select(l, scalar(l, 1, TSR_BOOL), turns, v_i64(l, 0));
    return tsr_size_read(l, turns, 0, "turns", UINT32_MAX, 0);
  }
  if (!asks)
    return count;
  tsr_expr begins = tsr_size_read(l, scalar(l, 1, TSR_I64), 0, "begins", UINT32_MAX, e_int(l, 1));
  return e_mul(l, begins, count ? count : e_int(l, endless));
}

static tsr_status read_loop(tsr_lower *l, loop *p, tsr_repeat *r) {
  const tsr_onnx_attribute *a = tsr_lower_attr(l, "body");
  p->body = a && a->type == TSR_ONNX_GRAPH ? a->g : NULL;
  if (!p->body || l->in_count < 2 || l->out_count + 2 < l->in_count ||
      p->body->outputs.count != l->out_count + 1)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "its body does not fit its inputs and outputs");
  *r =
      (tsr_repeat){.l = l, .turn = turn, .user = p, .key = l->node, .cost = tsr_body_cost(p->body)};
  r->carried = l->in_count - 2;
  r->rows = l->out_count - r->carried;
  r->declared = &p->body->outputs.items[1];
  p->in = tsr_lower_alloc(l, l->in_count, sizeof *p->in);
  p->out = tsr_lower_alloc(l, 1 + (uint64_t)l->out_count, sizeof *p->out);
  r->values = tsr_lower_alloc(l, r->carried, sizeof *r->values);
  bool *constant = tsr_lower_alloc(l, r->carried, sizeof *constant);
  if (!p->in || !p->out || !r->values || !constant)
    return TSR_ERR_OUT_OF_MEMORY;
  for (uint32_t i = 0; i < r->carried; i++) {
    if (!l->in[i + 2])
      return tsr_lower_wrong(l, TSR_ERR_FORMAT, "carried value %u is missing", i);
    r->values[i] = l->in[i + 2];
    constant[i] = tsr_body_passes(p->body, i + 1) == i + 2;
  }
  r->constant = constant;
  r->counts = p->body->inputs.count > 0 && tsr_body_names(p->body, p->body->inputs.items[0].name);
  return TSR_OK;
}

/* A body that takes an optional and gives its content makes results of what it gives. */
static tsr_imported *unwrapped(tsr_lower *l, const tsr_onnx_value_info *info, tsr_imported *x) {
  tsr_expr dims[TSR_MAX_RANK], wildcard = l->importer->wildcard;
  if (x->kind != TSR_IMPORTED_MAYBE || !info->type || info->type->optional)
    return x;
  if (x->value == 0)
    return x->item_count > 0 ? x->items[0] : x;
  bool list = tsr_imported_level(l, x) == TSR_LEVEL_MAYBE_LIST;
  for (uint32_t i = 0; x->rank != TSR_RANK_ANY && i < x->rank; i++)
    dims[i] = x->dims[i] == wildcard && !list ? tsr_fresh_dim(l, "item", i) : x->dims[i];
  tsr_type type =
      tsr_type_make(l->ir, list ? TSR_LEVEL_LIST : TSR_LEVEL_GLOBAL, x->dtype, dims, x->rank);
  tsr_imported *item = tsr_imported_new(l, tsr_lower_host(l, TSR_OP_MAYBE_GET, &x->value, 1, type));
  if (item)
    item->text = x->text;
  return item;
}

tsr_status tsr_lower_op_loop(tsr_lower *l) {
  loop p;
  tsr_repeat r;
  TSR_TRY(read_loop(l, &p, &r));
  r.limit = read_limit(l);
  TSR_TRY(tsr_repeat_run(&r));
  if (r.broken) {
    tsr_lower_set_broken(l, r.broken);
    return TSR_OK;
  }
  for (uint32_t i = 0; i < r.carried; i++)
    tsr_lower_set_imported(l, i, unwrapped(l, &p.body->outputs.items[i + 1], r.values[i]));
  for (uint32_t i = 0; i < r.rows; i++) {
    tsr_lower_set(l, r.carried + i, tsr_repeat_stack(&r, i, 0, false));
    if (l->out[r.carried + i])
      l->out[r.carried + i]->text = r.lists[i]->text;
  }
  return TSR_OK;
}
