/* What of a graph with control flow is needed, and in which order host and device take turns.
 *
 * Needs are operands, what regions capture, and dims: a dim has its value once the op ran that is
 * the first to name it in a result or argument (inputs, results of the host, carried values), or
 * that reads it from the device (resize_dim). So an op can be needed for the dim alone. Within a
 * region, a device op runs in the segment that follows all host ops it needs, a host op in the
 * group that follows all segments it needs; numbers are as low as that allows, so ops that do not
 * wait for the host share segment 0. */
#include "passes/segments.h"
#include <string.h>

/* --- reading --- */

bool tsr_op_of_host(const tsr_ir *ir, tsr_op op) {
  tsr_opcode code = tsr_op_get(ir, op)->code;
  return code == TSR_OP_IF || code == TSR_OP_LOOP || tsr_opcode_info(code)->kind == TSR_KIND_HOST;
}

tsr_op tsr_op_in_region(const tsr_ir *ir, tsr_region region, tsr_op op) {
  while (op != 0 && tsr_op_get(ir, op)->parent != region)
    op = tsr_region_get(ir, tsr_op_get(ir, op)->parent)->parent;
  return op;
}

/* The dim that the op reads from the device, or 0. */
static tsr_dim dim_read(const tsr_ir *ir, tsr_op op) {
  const tsr_attr *dim = tsr_op_attr(ir, op, "dim");
  if (tsr_op_get(ir, op)->code != TSR_OP_RESIZE_DIM || dim == NULL || dim->kind != TSR_ATTR_EXPR)
    return 0;
  return tsr_expr_get(ir, dim->u.expr).dim;
}

static tsr_op parent_of(const tsr_ir *ir, tsr_op op) {
  return tsr_region_get(ir, tsr_op_get(ir, op)->parent)->parent;
}

static tsr_op last_of(const tsr_ir *ir, tsr_region region) {
  return tsr_region_get(ir, region)->last;
}

bool tsr_slot_live(const tsr_segments *s, tsr_op op, uint32_t number) {
  return s->value_live[tsr_op_get(s->ir, op)->results[number]] != 0;
}

bool tsr_is_host_constant(const tsr_segments *s, tsr_value value) {
  const tsr_type_info *type = tsr_value_type(s->ir, value);
  int64_t extent;
  if (tsr_op_get(s->ir, tsr_value_get(s->ir, value)->def)->code != TSR_OP_CONST)
    return false;
  for (uint32_t i = 0; i < type->rank; i++)
    if (!tsr_expr_is_int(s->ir, type->dims[i], &extent))
      return false;
  return true;
}

bool tsr_is_made_free(const tsr_segments *s, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(s->ir, op);
  if (!s->is_free[op])
    return false;
  for (uint32_t i = 0; i < data->result_count; i++)
    if (s->on_host[data->results[i]] && !tsr_is_host_constant(s, data->results[i]))
      return true;
  return false;
}

/* Operand `number` of an op whose needs are visited is not one of a slot that nobody needs. */
static bool operand_live(const tsr_segments *s, tsr_op op, uint32_t number) {
  const tsr_op_data *data = tsr_op_get(s->ir, op);
  if (data->code == TSR_OP_LOOP)
    return tsr_slot_live(s, op, number);
  if (data->code != TSR_OP_YIELD)
    return true;
  tsr_op around = parent_of(s->ir, op);
  if (tsr_op_get(s->ir, around)->code == TSR_OP_IF)
    return tsr_slot_live(s, around, number);
  return tsr_op_get(s->ir, around)->code != TSR_OP_LOOP || number == 0 ||
         tsr_slot_live(s, around, number - 1);
}

typedef struct use_visit {
  const tsr_segments *s;
  tsr_op top;
  tsr_use_visitor *visit;
  void *context;
} use_visit;

static bool within(const tsr_ir *ir, tsr_op op, tsr_op outer) {
  while (op != 0 && op != outer)
    op = parent_of(ir, op);
  return op != 0;
}

static void visit_uses(const use_visit *v, tsr_op op) {
  const tsr_segments *s = v->s;
  const tsr_op_data *data = tsr_op_get(s->ir, op);
  for (uint32_t i = 0; i < data->operand_count; i++) {
    tsr_value value = data->operands[i].value;
    if (operand_live(s, op, i) &&
        (op == v->top || !within(s->ir, tsr_value_get(s->ir, value)->def, v->top)))
      v->visit(v->context, op, value);
  }
  for (uint32_t r = 0; r < data->region_count; r++)
    TSR_FOR_EACH_OP (s->ir, data->regions[r], inner)
      if (s->op_live[inner])
        visit_uses(v, inner);
}

void tsr_visit_uses(const tsr_segments *s, tsr_op op, tsr_use_visitor *visit, void *context) {
  visit_uses(&(use_visit){s, op, visit, context}, op);
}

static void visit_expr(const tsr_ir *ir, tsr_expr expr, tsr_dim_visitor *visit, void *context) {
  tsr_expr_node node = tsr_expr_get(ir, expr);
  if (expr == 0 || !tsr_expr_has(ir, expr, TSR_INDEX_DIM))
    return;
  if (node.op == TSR_INDEX_DIM) {
    visit(context, node.dim);
    return;
  }
  visit_expr(ir, node.a, visit, context);
  visit_expr(ir, node.b, visit, context);
}

/* The extents in the types of lists and maybes are nobody's. */
static void visit_type(const tsr_ir *ir, tsr_value value, tsr_dim_visitor *visit, void *context) {
  const tsr_type_info *type = tsr_value_type(ir, value);
  for (uint32_t i = 0; i < type->rank && !tsr_type_of_host(type); i++)
    visit_expr(ir, type->dims[i], visit, context);
}

static void visit_own_dims(const tsr_segments *s, tsr_op op, tsr_dim_visitor *visit,
                           void *context) {
  const tsr_op_data *data = tsr_op_get(s->ir, op);
  bool slots = data->code == TSR_OP_LOOP || data->code == TSR_OP_IF;
  for (uint32_t i = 0; i < data->result_count; i++)
    if (!slots || tsr_slot_live(s, op, i))
      visit_type(s->ir, data->results[i], visit, context);
  for (uint32_t i = 0; i < data->operand_count; i++)
    for (uint32_t k = 0; k < data->operands[i].subscript_count; k++)
      visit_expr(s->ir, data->operands[i].subscripts[k], visit, context);
  for (uint32_t i = 0; i < data->attr_count; i++) {
    const tsr_attr *attr = &data->attrs[i];
    if (attr->kind == TSR_ATTR_EXPR)
      visit_expr(s->ir, attr->u.expr, visit, context);
    for (uint32_t e = 0; attr->kind == TSR_ATTR_EXPRS && e < attr->count; e++)
      visit_expr(s->ir, attr->u.exprs[e], visit, context);
  }
  for (uint32_t r = 0; r < data->region_count; r++) {
    const tsr_region_data *region = tsr_region_get(s->ir, data->regions[r]);
    for (uint32_t i = 0; i < region->arg_count; i++) {
      const tsr_value_data *arg = tsr_value_get(s->ir, region->args[i]);
      if (data->code == TSR_OP_LOOP && !tsr_slot_live(s, op, i))
        continue;
      visit_type(s->ir, region->args[i], visit, context);
      visit_expr(s->ir, arg->lo, visit, context);
      visit_expr(s->ir, arg->hi, visit, context);
    }
  }
  visit_expr(s->ir, tsr_dim_get(s->ir, dim_read(s->ir, op))->bound, visit, context);
}

void tsr_visit_dims(const tsr_segments *s, tsr_op op, tsr_dim_visitor *visit, void *context) {
  const tsr_op_data *data = tsr_op_get(s->ir, op);
  visit_own_dims(s, op, visit, context);
  for (uint32_t r = 0; r < data->region_count; r++)
    TSR_FOR_EACH_OP (s->ir, data->regions[r], inner)
      if (s->op_live[inner])
        tsr_visit_dims(s, inner, visit, context);
}

/* --- who gives dims their values --- */

/* The dims that have a value at one point of the walk, in the order in which they got it. */
typedef struct dim_walk {
  tsr_segments *s;
  uint8_t *known;
  tsr_dim *trail;
  uint32_t count;
} dim_walk;

static void note_dim(dim_walk *w, tsr_dim dim, tsr_op op, tsr_value value) {
  tsr_segments *s = w->s;
  if (w->known[dim] || (value != 0) == tsr_dim_get(s->ir, dim)->from_device)
    return;
  w->known[dim] = 1;
  w->trail[w->count++] = dim;
  s->makers[s->maker_count] = (tsr_dim_maker){op, value, s->first_maker[dim]};
  s->first_maker[dim] = ++s->maker_count;
}

static void note_value(dim_walk *w, tsr_value value) {
  const tsr_type_info *type = tsr_value_type(w->s->ir, value);
  if (type->level != TSR_LEVEL_GLOBAL)
    return;
  for (uint32_t i = 0; i < type->rank; i++) {
    tsr_expr_node node = tsr_expr_get(w->s->ir, type->dims[i]);
    if (node.op == TSR_INDEX_DIM)
      note_dim(w, node.dim, tsr_value_get(w->s->ir, value)->def, value);
  }
}

/* In the order of execution: arguments, what is inside, results. What a region gave a value has
 * none behind it. */
static void note_makers(dim_walk *w, tsr_region region) {
  const tsr_ir *ir = w->s->ir;
  const tsr_region_data *list = tsr_region_get(ir, region);
  for (uint32_t i = 0; i < list->arg_count; i++)
    note_value(w, list->args[i]);
  TSR_FOR_EACH_OP (ir, region, op) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    tsr_dim read = dim_read(ir, op);
    for (uint32_t r = 0; r < data->region_count && tsr_op_of_host(ir, op); r++) {
      uint32_t mark = w->count;
      note_makers(w, data->regions[r]);
      while (w->count > mark)
        w->known[w->trail[--w->count]] = 0;
    }
    if (data->code == TSR_OP_INPUT || tsr_op_of_host(ir, op))
      for (uint32_t i = 0; i < data->result_count; i++)
        note_value(w, data->results[i]);
    if (read != 0)
      note_dim(w, read, op, 0);
  }
}

/* --- what is needed --- */

/* Work yet to be done: ops and values, each entered once. */
typedef struct liveness {
  tsr_segments *s;
  tsr_op *ops;
  tsr_value *values;
  uint32_t op_count, value_count;
} liveness;

static void need_op(liveness *l, tsr_op op) {
  if (op == 0 || l->s->op_live[op])
    return;
  l->s->op_live[op] = 1;
  l->ops[l->op_count++] = op;
}

static void need_value(liveness *l, tsr_value value) {
  if (value == 0 || l->s->value_live[value])
    return;
  l->s->value_live[value] = 1;
  l->values[l->value_count++] = value;
}

static void need_dim(void *context, tsr_dim dim) {
  liveness *l = (liveness *)context;
  if (l->s->dim_live[dim])
    return;
  l->s->dim_live[dim] = 1;
  for (uint32_t m = l->s->first_maker[dim]; m != 0; m = l->s->makers[m - 1].next) {
    need_op(l, l->s->makers[m - 1].op);
    need_value(l, l->s->makers[m - 1].value);
  }
}

/* Result i of a loop, its carried argument, its start and what is yielded for it live together. */
static void value_needs(liveness *l, tsr_value value) {
  const tsr_value_data *data = tsr_value_get(l->s->ir, value);
  const tsr_op_data *op = tsr_op_get(l->s->ir, data->def);
  need_op(l, data->def);
  visit_type(l->s->ir, value, need_dim, l);
  if (op->code == TSR_OP_LOOP) {
    tsr_op yield = last_of(l->s->ir, op->regions[0]);
    need_value(l, op->results[data->number]);
    need_value(l, tsr_region_get(l->s->ir, op->regions[0])->args[data->number]);
    need_value(l, op->operands[data->number].value);
    need_value(l, tsr_op_get(l->s->ir, yield)->operands[data->number + 1].value);
  } else if (op->code == TSR_OP_IF) {
    for (uint32_t r = 0; r < op->region_count; r++) {
      tsr_op yield = last_of(l->s->ir, op->regions[r]);
      need_op(l, yield);
      need_value(l, tsr_op_get(l->s->ir, yield)->operands[data->number].value);
    }
  }
}

static void need_inside(liveness *l, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(l->s->ir, op);
  for (uint32_t r = 0; r < data->region_count; r++)
    TSR_FOR_EACH_OP (l->s->ir, data->regions[r], inner)
      need_op(l, inner);
}

static void op_needs(liveness *l, tsr_op op) {
  const tsr_ir *ir = l->s->ir;
  const tsr_op_data *data = tsr_op_get(ir, op);
  bool slots = data->code == TSR_OP_LOOP || data->code == TSR_OP_IF;
  need_op(l, parent_of(ir, op));
  if (data->code == TSR_OP_YIELD && tsr_op_of_host(ir, parent_of(ir, op)))
    return;
  if (data->code == TSR_OP_LOOP) {
    tsr_op yield = last_of(ir, data->regions[0]);
    need_op(l, yield);
    need_value(l, tsr_op_get(ir, yield)->operands[0].value);
  }
  for (uint32_t i = 0; i < data->operand_count && data->code != TSR_OP_LOOP; i++)
    need_value(l, data->operands[i].value);
  visit_own_dims(l->s, op, need_dim, l);
  if (slots)
    return;
  for (uint32_t i = 0; i < data->result_count; i++)
    need_value(l, data->results[i]);
  if (data->code != TSR_OP_GRAPH)
    need_inside(l, op);
}

/* What is checked ends the run when it is wrong, whether or not anybody uses it. */
static void need_roots(liveness *l, tsr_region region) {
  TSR_FOR_EACH_OP (l->s->ir, region, op) {
    const tsr_op_data *data = tsr_op_get(l->s->ir, op);
    if (data->code == TSR_OP_INPUT || data->code == TSR_OP_OUTPUT ||
        data->code == TSR_OP_RESIZE_DIM || data->code == TSR_OP_CHECK)
      need_op(l, op);
    if (data->code == TSR_OP_IF || data->code == TSR_OP_LOOP)
      for (uint32_t r = 0; r < data->region_count; r++)
        need_roots(l, data->regions[r]);
  }
}

static void find_live(liveness *l, tsr_op graph) {
  need_roots(l, tsr_op_get(l->s->ir, graph)->regions[0]);
  while (l->op_count != 0 || l->value_count != 0) {
    if (l->op_count != 0)
      op_needs(l, l->ops[--l->op_count]);
    else
      value_needs(l, l->values[--l->value_count]);
  }
}

/* --- what is made of constants alone --- */

enum { MAX_FREE_DEPTH = 200 };

/* 1 + the most ops between it and a constant; 0: not free, or copied by nobody any more. */
static uint8_t free_depth(const tsr_segments *s, const tsr_op_data *data) {
  uint8_t depth = 1;
  if (data->result_count == 0 || data->region_count != 0 || data->code == TSR_OP_INPUT ||
      data->code == TSR_OP_RESIZE_DIM)
    return 0;
  for (uint32_t i = 0; i < data->operand_count; i++) {
    uint8_t below = s->is_free[tsr_value_get(s->ir, data->operands[i].value)->def];
    if (below == 0 || below == MAX_FREE_DEPTH)
      return 0;
    if (below >= depth)
      depth = (uint8_t)(below + 1);
  }
  return depth;
}

static void find_free(tsr_segments *s, tsr_region region) {
  TSR_FOR_EACH_OP (s->ir, region, op) {
    const tsr_op_data *data = tsr_op_get(s->ir, op);
    bool host = tsr_op_of_host(s->ir, op);
    s->is_free[op] = host ? 0 : free_depth(s, data);
    for (uint32_t r = 0; r < data->region_count && host; r++)
      find_free(s, data->regions[r]);
  }
}

static void note_host_use(void *context, tsr_op user, tsr_value value) {
  (void)user;
  ((tsr_segments *)context)->on_host[value] = 1;
}

static void find_host_uses(tsr_segments *s, tsr_region region) {
  TSR_FOR_EACH_OP (s->ir, region, op) {
    const tsr_op_data *data = tsr_op_get(s->ir, op);
    if (!s->op_live[op])
      continue;
    if (data->code == TSR_OP_OUTPUT || data->code == TSR_OP_YIELD || tsr_op_of_host(s->ir, op))
      for (uint32_t i = 0; i < data->operand_count; i++)
        if (operand_live(s, op, i))
          note_host_use(s, op, data->operands[i].value);
    for (uint32_t r = 0; r < data->region_count && tsr_op_of_host(s->ir, op); r++)
      find_host_uses(s, data->regions[r]);
  }
}

/* --- the order --- */

typedef struct numbering {
  tsr_segments *s;
  tsr_op op;
  tsr_region region;
  uint32_t level;
} numbering;

static void wait_for(numbering *n, tsr_op producer) {
  tsr_op in_region = tsr_op_in_region(n->s->ir, n->region, producer);
  bool host;
  uint32_t level;
  if (in_region == 0 || in_region == n->op || tsr_op_get(n->s->ir, in_region)->code == TSR_OP_INPUT)
    return;
  host = tsr_op_of_host(n->s->ir, in_region) && !tsr_op_of_host(n->s->ir, n->op);
  level = n->s->level[in_region] + (host ? 1 : 0);
  n->level = level > n->level ? level : n->level;
}

static void wait_for_value(void *context, tsr_op user, tsr_value value) {
  numbering *n = (numbering *)context;
  (void)user;
  wait_for(n, tsr_value_get(n->s->ir, value)->def);
}

static void wait_for_dim(void *context, tsr_dim dim) {
  numbering *n = (numbering *)context;
  for (uint32_t m = n->s->first_maker[dim]; m != 0; m = n->s->makers[m - 1].next)
    wait_for(n, n->s->makers[m - 1].op);
}

static void number_region(tsr_segments *s, tsr_region region) {
  TSR_FOR_EACH_OP (s->ir, region, op) {
    const tsr_op_data *data = tsr_op_get(s->ir, op);
    numbering n = {s, op, region, 0};
    if (!s->op_live[op] || data->code == TSR_OP_INPUT || data->code == TSR_OP_OUTPUT ||
        data->code == TSR_OP_YIELD)
      continue;
    tsr_visit_uses(s, op, wait_for_value, &n);
    tsr_visit_dims(s, op, wait_for_dim, &n);
    s->level[op] = n.level;
    for (uint32_t r = 0; r < data->region_count && tsr_op_of_host(s->ir, op); r++)
      number_region(s, data->regions[r]);
  }
}

/* --- what leaves its graph --- */

static void note_export(void *context, tsr_op user, tsr_value value) {
  const numbering *n = (const numbering *)context;
  tsr_op maker = tsr_value_get(n->s->ir, value)->def;
  (void)user;
  if (n->s->is_free[maker] != 0)
    return;
  if (tsr_op_get(n->s->ir, maker)->parent != n->region || n->s->level[maker] != n->level)
    n->s->exported[value] = 1;
}

static void find_exports(tsr_segments *s, tsr_region region) {
  TSR_FOR_EACH_OP (s->ir, region, op) {
    const tsr_op_data *data = tsr_op_get(s->ir, op);
    numbering n = {s, op, region, s->level[op]};
    if (!s->op_live[op])
      continue;
    if (tsr_op_of_host(s->ir, op))
      for (uint32_t r = 0; r < data->region_count; r++)
        find_exports(s, data->regions[r]);
    else if (!s->is_free[op] && data->code != TSR_OP_OUTPUT && data->code != TSR_OP_YIELD)
      tsr_visit_uses(s, op, note_export, &n);
  }
}

/* --- all of it --- */

static void *table(tsr_segments *s, uint32_t count, size_t item_size) {
  void *items = tsr_arena_alloc_array(s->arena, (size_t)count + 1, item_size);
  if (items != NULL)
    memset(items, 0, ((size_t)count + 1) * item_size);
  return items;
}

/* Each extent of each value, and each op, makes one dim at most. */
static uint32_t most_makers(const tsr_segments *s) {
  uint32_t count = s->op_count;
  for (tsr_value value = 1; value <= s->value_count; value++)
    count += tsr_type_dim_count(tsr_value_type(s->ir, value));
  return count;
}

static bool make_tables(tsr_segments *s, liveness *l, dim_walk *w) {
  s->op_count = tsr_op_count(s->ir);
  s->value_count = tsr_value_count(s->ir);
  s->dim_count = tsr_dim_count(s->ir);
  s->makers = (tsr_dim_maker *)table(s, most_makers(s), sizeof *s->makers);
  s->first_maker = (uint32_t *)table(s, s->dim_count, sizeof *s->first_maker);
  w->known = (uint8_t *)table(s, s->dim_count, 1);
  w->trail = (tsr_dim *)table(s, s->dim_count, sizeof *w->trail);
  s->dim_live = (uint8_t *)table(s, s->dim_count, 1);
  s->op_live = (uint8_t *)table(s, s->op_count, 1);
  s->is_free = (uint8_t *)table(s, s->op_count, 1);
  s->value_live = (uint8_t *)table(s, s->value_count, 1);
  s->on_host = (uint8_t *)table(s, s->value_count, 1);
  s->exported = (uint8_t *)table(s, s->value_count, 1);
  s->level = (uint32_t *)table(s, s->op_count, sizeof *s->level);
  l->ops = (tsr_op *)table(s, s->op_count, sizeof *l->ops);
  l->values = (tsr_value *)table(s, s->value_count, sizeof *l->values);
  return s->makers != NULL && s->first_maker != NULL && w->known != NULL && w->trail != NULL &&
         s->dim_live != NULL && s->op_live != NULL && s->is_free != NULL && s->value_live != NULL &&
         s->on_host != NULL && s->exported != NULL && s->level != NULL && l->ops != NULL &&
         l->values != NULL;
}

tsr_status tsr_segments_order(tsr_segments *s, tsr_op graph, tsr_diag *diag) {
  tsr_region region = tsr_op_get(s->ir, graph)->regions[0];
  liveness l = {.s = s};
  dim_walk w = {.s = s};
  if (!make_tables(s, &l, &w))
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while cutting a graph");
  note_makers(&w, region);
  find_live(&l, graph);
  find_free(s, region);
  find_host_uses(s, region);
  number_region(s, region);
  find_exports(s, region);
  return TSR_OK;
}
