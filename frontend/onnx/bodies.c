#include "frontend/onnx/bodies.h"
#include <string.h>

/* --- attempts --- */

tsr_attempt tsr_attempt_begin(tsr_lower *l, tsr_opcode code) {
  tsr_importer *im = l->importer;
  tsr_attempt a = {.outside = l->b->region,
                   .dims = tsr_dim_count(l->ir),
                   .reports_end = im->unsupported_end,
                   .reports = im->unsupported_count};
  a.op = tsr_op_append(l->ir, l->b->region, code);
  if (a.op != 0 && l->b->origin)
    tsr_op_add_origin(l->ir, a.op, l->b->origin);
  tsr_region region = a.op ? tsr_op_add_region(l->ir, a.op) : 0;
  if (region != 0)
    l->b->region = region;
  return a;
}

void tsr_attempt_enter(tsr_lower *l, const tsr_attempt *a, tsr_region region) {
  if (a->op != 0 && region != 0)
    l->b->region = region;
}

void tsr_attempt_leave(tsr_lower *l, const tsr_attempt *a) {
  l->b->region = a->outside;
}

void tsr_attempt_drop(tsr_lower *l, const tsr_attempt *a) {
  tsr_attempt_leave(l, a);
  tsr_op_erase(l->ir, a->op);
}

void tsr_attempt_forget_reports(tsr_lower *l, const tsr_attempt *a) {
  tsr_importer *im = l->importer;
  im->unsupported_end = a->reports_end;
  *im->unsupported_end = NULL;
  im->unsupported_count = a->reports;
}

void tsr_attempt_dissolve(tsr_lower *l, const tsr_attempt *a) {
  tsr_attempt_leave(l, a);
  const tsr_op_data *data = tsr_op_get(l->ir, a->op);
  for (uint32_t r = 0; r < data->region_count; r++) {
    tsr_op next, op = tsr_region_get(l->ir, data->regions[r])->first;
    for (; op != 0; op = next) {
      next = tsr_op_get(l->ir, op)->next;
      tsr_op_move_before(l->ir, op, a->op);
    }
  }
  tsr_op_erase(l->ir, a->op);
}

void tsr_attempt_yield(tsr_lower *l, tsr_region region, const tsr_value *values, uint32_t count) {
  tsr_op yield = tsr_op_append(l->ir, region, TSR_OP_YIELD);
  for (uint32_t i = 0; yield != 0 && i < count; i++)
    tsr_op_add_operand(l->ir, yield, values[i]);
}

static bool has_later_dim(const tsr_ir *ir, tsr_expr expr, tsr_dim last) {
  tsr_expr_node node = tsr_expr_get(ir, expr);
  switch (node.op) {
  case TSR_INDEX_INT:
  case TSR_INDEX_VALUE:
  case TSR_INDEX_LANE:
    return false;
  case TSR_INDEX_DIM:
    return node.dim > last;
  default:
    return has_later_dim(ir, node.a, last) || has_later_dim(ir, node.b, last);
  }
}

bool tsr_attempt_binds(const tsr_lower *l, const tsr_attempt *a, tsr_expr expr) {
  return expr != 0 && has_later_dim(l->ir, expr, a->dims);
}

tsr_type tsr_attempt_outer_type(tsr_lower *l, const tsr_attempt *a, tsr_type type) {
  tsr_expr dims[TSR_MAX_RANK];
  if (type == 0)
    return 0;
  const tsr_type_info *info = tsr_type_get(l->ir, type);
  for (uint32_t i = 0; i < tsr_type_dim_count(info); i++)
    dims[i] = tsr_attempt_binds(l, a, info->dims[i]) ? tsr_wildcard_dim(l) : info->dims[i];
  return tsr_type_make(l->ir, info->level, info->dtype, dims, info->rank);
}

/* --- subgraphs --- */

/* Loops inside count as so many turns of theirs. */
enum { TURNS_INSIDE = 16 };
static const uint64_t highest_cost = (uint64_t)1 << 40;

static uint64_t node_cost(const tsr_onnx_node *node) {
  uint64_t inside = 0;
  for (uint64_t i = 0; i < node->attributes.count; i++)
    if (node->attributes.items[i].g)
      inside += tsr_body_cost(node->attributes.items[i].g);
  if (strcmp(node->op_type, "Constant") == 0 || strcmp(node->op_type, "Identity") == 0)
    return 0;
  return 1 + inside * (strcmp(node->op_type, "If") == 0 ? 1 : TURNS_INSIDE);
}

uint64_t tsr_body_cost(const tsr_onnx_graph *graph) {
  uint64_t cost = 0;
  for (uint64_t i = 0; i < graph->nodes.count && cost < highest_cost; i++)
    cost += node_cost(&graph->nodes.items[i]);
  return cost < highest_cost ? cost : highest_cost;
}

static bool node_names(const tsr_onnx_node *node, const char *name) {
  for (uint64_t i = 0; i < node->inputs.count; i++)
    if (strcmp(node->inputs.items[i], name) == 0)
      return true;
  for (uint64_t i = 0; i < node->attributes.count; i++)
    if (node->attributes.items[i].g && tsr_body_names(node->attributes.items[i].g, name))
      return true;
  return false;
}

bool tsr_body_names(const tsr_onnx_graph *graph, const char *name) {
  for (uint64_t i = 0; i < graph->nodes.count; i++)
    if (node_names(&graph->nodes.items[i], name))
      return true;
  for (uint64_t i = 0; i < graph->outputs.count; i++)
    if (strcmp(graph->outputs.items[i].name, name) == 0)
      return true;
  return false;
}

static const tsr_onnx_node *producer(const tsr_onnx_graph *graph, const char *name) {
  for (uint64_t i = 0; i < graph->nodes.count; i++)
    for (uint64_t k = 0; k < graph->nodes.items[i].outputs.count; k++)
      if (strcmp(graph->nodes.items[i].outputs.items[k], name) == 0)
        return &graph->nodes.items[i];
  return NULL;
}

uint32_t tsr_body_passes(const tsr_onnx_graph *graph, uint32_t output) {
  const char *name = graph->outputs.items[output].name;
  const tsr_onnx_node *node = producer(graph, name);
  for (uint64_t steps = 0; node && steps < graph->nodes.count; steps++) {
    if (strcmp(node->op_type, "Identity") != 0 || node->domain[0] != '\0' ||
        node->inputs.count != 1)
      return UINT32_MAX;
    name = node->inputs.items[0];
    node = producer(graph, name);
  }
  for (uint32_t i = 0; !node && i < graph->inputs.count; i++)
    if (strcmp(graph->inputs.items[i].name, name) == 0)
      return i;
  return UINT32_MAX;
}

tsr_imported *tsr_known_scalar(tsr_lower *l, tsr_dtype dtype, int64_t number) {
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

bool tsr_known_bool(tsr_lower *l, tsr_imported *x, bool *out) {
  const tsr_content *content = tsr_imported_content(l, x);
  int64_t number;
  *out = false;
  if (!content || content->count != 1 || !content->exprs ||
      !tsr_expr_is_int(l->ir, content->exprs[0], &number))
    return false;
  *out = number != 0;
  return true;
}

tsr_imported *tsr_broken_of(tsr_imported *const *x, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (x[i] && x[i]->kind == TSR_IMPORTED_BROKEN)
      return x[i];
  return NULL;
}

void tsr_lower_set_broken(tsr_lower *l, tsr_imported *broken) {
  for (uint32_t i = 0; i < l->out_count; i++)
    tsr_lower_set_imported(l, i, broken);
}
