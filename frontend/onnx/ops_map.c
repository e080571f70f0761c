/* SequenceMap: a body over the items of sequences, item by item. */
#include "frontend/onnx/op_table.h"
#include "frontend/onnx/repeat.h"
#include "frontend/onnx/sizes.h"

typedef struct map {
  const tsr_onnx_graph *body;
  tsr_imported **in; /* of the body */
  tsr_imported
      *lists; /* the node's sequences as lists of the host, made when a loop asks for them */
  tsr_expr count;
} map;

/* An item of a list of the host, with dims of its own where the list's type does not say its
 * extents. */
static tsr_status list_item(tsr_lower *l, uint32_t input, tsr_value list, tsr_imported *number,
                            tsr_imported **out) {
  const tsr_type_info *info = v_type(l, list);
  tsr_expr dims[TSR_MAX_RANK], wildcard = l->importer->wildcard;
  if (info->rank == TSR_RANK_ANY)
    return tsr_lower_unsupported(l, "the rank of the items of input %u is not known", input);
  for (uint32_t i = 0; i < info->rank; i++)
    dims[i] = info->dims[i] == wildcard ? tsr_fresh_dim(l, "item", i) : info->dims[i];
  tsr_type type = tsr_type_make(l->ir, TSR_LEVEL_GLOBAL, info->dtype, dims, info->rank);
  tsr_value operands[2] = {list, tsr_imported_value(l, number)};
  *out = tsr_imported_new(l, tsr_lower_host(l, TSR_OP_LIST_AT, operands, 2, type));
  return *out ? TSR_OK : TSR_ERR_OUT_OF_MEMORY;
}

static tsr_status item(tsr_repeat *r, uint32_t input, tsr_imported *number, tsr_imported **out) {
  tsr_lower *l = r->l;
  map *p = r->user;
  tsr_imported *x = l->in[input];
  int64_t at;
  *out = x;
  if (x->kind != TSR_IMPORTED_SEQUENCE && x->kind != TSR_IMPORTED_LIST)
    return TSR_OK;
  if (x->kind == TSR_IMPORTED_SEQUENCE && number->content &&
      tsr_expr_is_int(l->ir, number->content->exprs[0], &at)) {
    if (at >= (int64_t)x->item_count)
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "input %u has fewer items than input 0", input);
    *out = x->items[at];
    return TSR_OK;
  }
  TSR_TRY(list_item(l, input, p->lists[input].value, number, out));
  (*out)->text = x->text;
  return TSR_OK;
}

static tsr_status turn(tsr_repeat *r, tsr_imported *number, tsr_imported **values,
                       tsr_imported **rows, tsr_imported **out_go_on) {
  tsr_lower *l = r->l;
  map *p = r->user;
  (void)values;
  (void)out_go_on;
  for (uint32_t i = 0; i < l->in_count; i++)
    TSR_TRY(item(r, i, number, &p->in[i]));
  return tsr_import_subgraph(l, p->body, p->in, l->in_count, rows, l->out_count);
}

/* Lists whose lengths only a run knows must have as many items as the first; all as values of the
 * graph. */
static tsr_status read_lists(tsr_lower *l, map *p) {
  tsr_type scalar = tsr_type_make(l->ir, TSR_LEVEL_GLOBAL, TSR_I64, NULL, 0);
  bool known = l->in[0]->kind == TSR_IMPORTED_SEQUENCE;
  tsr_value first = 0;
  for (uint32_t i = 0; i < l->in_count; i++) {
    tsr_imported *x = l->in[i];
    if (x->kind != TSR_IMPORTED_LIST && x->kind != TSR_IMPORTED_SEQUENCE)
      continue;
    if (known && x->kind == TSR_IMPORTED_SEQUENCE && x->item_count != l->in[0]->item_count)
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "input %u has not as many items as input 0", i);
    p->lists[i].value = tsr_imported_list(l, x);
    tsr_value length = x->kind == TSR_IMPORTED_SEQUENCE
                           ? v_i64(l, (int64_t)x->item_count)
                           : tsr_lower_host(l, TSR_OP_LIST_LENGTH, &p->lists[i].value, 1, scalar);
    if (i == 0)
      first = length;
    else if (!known || x->kind == TSR_IMPORTED_LIST)
      tsr_size_check(l, v_ne(l, first, length), "sequences of different lengths");
  }
  p->count = known ? e_int(l, (int64_t)l->in[0]->item_count)
                   : tsr_size_read(l, first, 0, "items", UINT32_MAX, 0);
  return TSR_OK;
}

/* Of no items: what the body says of its outputs. */
static tsr_status set_empty(tsr_lower *l, const map *p) {
  for (uint32_t i = 0; i < l->out_count; i++) {
    const tsr_onnx_type *type = p->body->outputs.items[i].type;
    tsr_imported *empty = tsr_lower_alloc(l, 1, sizeof *empty);
    if (!empty)
      return TSR_ERR_OUT_OF_MEMORY;
    if (!type || !type->tensor)
      return tsr_lower_unsupported(l, "output %u of the body has no type", i);
    empty->kind = TSR_IMPORTED_SEQUENCE;
    empty->dtype = tsr_onnx_dtype(type->tensor->elem_type);
    empty->rank = TSR_RANK_ANY;
    tsr_lower_set_imported(l, i, empty);
  }
  return TSR_OK;
}

tsr_status tsr_lower_op_sequence_map(tsr_lower *l) {
  const tsr_onnx_attribute *a = tsr_lower_attr(l, "body");
  map p = {.body = a && a->type == TSR_ONNX_GRAPH ? a->g : NULL};
  TSR_TRY(tsr_lower_need(l, l->in_count > 0 ? l->in_count : 1));
  if (!p.body || p.body->outputs.count != l->out_count)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "its body does not fit its outputs");
  if (l->in[0]->kind != TSR_IMPORTED_SEQUENCE && l->in[0]->kind != TSR_IMPORTED_LIST)
    return tsr_lower_wrong(l, TSR_ERR_TYPE, "input 0 is not a sequence");
  p.in = tsr_lower_alloc(l, l->in_count, sizeof *p.in);
  p.lists = tsr_lower_alloc(l, l->in_count, sizeof *p.lists);
  if (!p.in || !p.lists)
    return TSR_ERR_OUT_OF_MEMORY;
  if (l->in[0]->kind == TSR_IMPORTED_SEQUENCE && l->in[0]->item_count == 0)
    return set_empty(l, &p);
  TSR_TRY(read_lists(l, &p));
  tsr_repeat r = {.l = l,
                  .turn = turn,
                  .user = &p,
                  .key = l->node,
                  .limit = p.count,
                  .counts = true,
                  .cost = tsr_body_cost(p.body),
                  .rows = l->out_count};
  TSR_TRY(tsr_repeat_run(&r));
  for (uint32_t i = 0; i < r.rows; i++)
    tsr_lower_set_imported(l, i, r.broken ? r.broken : r.lists[i]);
  return TSR_OK;
}
