/* Which pairs of blocks may merge, and whether it pays. A refusal is a text that a user can read.
 */
#include "passes/blocks.h"
#include "passes/fuse_graph.h"
#include <string.h>

/* --- shapes of bodies --- */

/* Zeros, and zero points of bytes, which are the padding of quantised convolutions. */
static bool moves_pad(const tsr_ir *ir, tsr_op load) {
  const tsr_dtype dtype = tsr_scalar_dtype(ir, tsr_op_get(ir, load)->results[0]);
  return tsr_op_float(ir, load, "pad", 0) == 0 || dtype == TSR_I8 || dtype == TSR_U8;
}

bool tsr_fuse_is_view(const tsr_ir *ir, const tsr_block_info *info) {
  if (info->kind != TSR_BLOCK_MAP || info->load_count != 1 || info->indirect)
    return false;
  TSR_FOR_EACH_OP (ir, info->body, op) {
    bool moves = tsr_op_is_store(ir, op) || tsr_op_get(ir, op)->code == TSR_OP_CAST ||
                 (tsr_op_is_load(ir, op) && moves_pad(ir, op));
    if (!moves)
      return false;
  }
  return true;
}

/* A variable that runs over the whole of `extent`, or 0 where that is 1. */
static bool whole_axis(const tsr_ir *ir, tsr_expr subscript, tsr_expr extent) {
  if (tsr_expr_equals_int(ir, subscript, 0))
    return tsr_expr_equals_int(ir, extent, 1);
  tsr_expr_node node = tsr_expr_get(ir, subscript);
  if (node.op != TSR_INDEX_VALUE || !tsr_value_is_index(ir, node.value))
    return false;
  const tsr_value_data *axis = tsr_value_get(ir, node.value);
  return axis->hi == extent && tsr_expr_equals_int(ir, axis->lo, 0) &&
         tsr_expr_equals_int(ir, axis->step, 1);
}

/* Whole axes, each its own variable. */
static bool whole_axes(const tsr_ir *ir, const tsr_expr *subscripts, const tsr_type_info *type) {
  for (uint32_t i = 0; i < type->rank; i++) {
    if (!whole_axis(ir, subscripts[i], type->dims[i]))
      return false;
    for (uint32_t k = 0; k < i; k++)
      if (subscripts[k] == subscripts[i] && !tsr_expr_equals_int(ir, subscripts[i], 0))
        return false;
  }
  return true;
}

static tsr_op first_load(const tsr_ir *ir, tsr_region body) {
  TSR_FOR_EACH_OP (ir, body, op)
    if (tsr_op_is_load(ir, op))
      return op;
  return 0;
}

/* Axes whose one place is 0. */
static unsigned unit_axes(const tsr_ir *ir, const tsr_operand *place) {
  unsigned units = 0;
  for (uint32_t i = 0; i < place->subscript_count; i++)
    units += tsr_expr_equals_int(ir, place->subscripts[i], 0);
  return units;
}

bool tsr_fuse_is_permutation(const tsr_ir *ir, const tsr_block_info *info, tsr_value value) {
  if (info->op_count != 2 || info->load_count != 1 || info->indirect)
    return false;
  const tsr_operand *from = &tsr_op_get(ir, first_load(ir, info->body))->operands[0];
  const tsr_operand *to = &tsr_op_get(ir, tsr_block_store_of(ir, info->body, value))->operands[1];
  return from->subscript_count == to->subscript_count && unit_axes(ir, from) == unit_axes(ir, to) &&
         whole_axes(ir, from->subscripts, tsr_value_type(ir, from->value));
}

/* The producer's store names its par variables and nothing else, so that subscripts of its result
 * say which point computes the element. */
static bool stores_in_place(const tsr_ir *ir, const tsr_block_info *info, tsr_value value) {
  tsr_op store = tsr_block_store_of(ir, info->body, value);
  return store != 0 &&
         whole_axes(ir, tsr_op_get(ir, store)->operands[1].subscripts, tsr_value_type(ir, value));
}

tsr_expr tsr_fuse_guard(tsr_ir *ir, tsr_value buffer, const tsr_expr *subscripts) {
  const tsr_type_info *type = tsr_value_type(ir, buffer);
  tsr_expr guard = 0;
  for (uint32_t i = 0; i < type->rank; i++)
    guard = tsr_inside(ir, guard, subscripts[i], type->dims[i]);
  return guard;
}

static const char *too_large(const tsr_block_info *p, const tsr_block_info *c) {
  if (p->op_count + c->op_count > TSR_FUSE_MAX_OPS)
    return "the fused body would hold too many operations";
  if (p->load_count + c->load_count > TSR_FUSE_MAX_LOADS)
    return "the fused body would read too many buffers";
  return NULL;
}

static const char *refuse_reader(const tsr_ir *ir, tsr_op consumer) {
  switch (tsr_op_get(ir, consumer)->code) {
  case TSR_OP_BLOCK:
    return NULL;
  case TSR_OP_PROC:
    return "the reader is a sequential program, which never fuses";
  case TSR_OP_OUTPUT:
    return "the value is an output of the graph";
  default:
    return "the value is read by control flow or by an op without a body";
  }
}

/* --- inline --- */

static const char *refuse_operand(tsr_ir *ir, const tsr_block_info *p, tsr_value value,
                                  bool guarded) {
  if (!tsr_fuse_is_view(ir, p))
    return "the contraction reads this operand again and again: only views, casts and padding "
           "with zeros (of bytes: any number) move into it";
  if (guarded && !tsr_fuse_is_permutation(ir, p, value))
    return "the window leaves the operand, and the view has other bounds than what it reads";
  return NULL;
}

static const char *refuse_load(tsr_ir *ir, const tsr_fuse_link *link, const tsr_block_info *p,
                               const tsr_block_info *c, tsr_op load) {
  const tsr_operand *from = &tsr_op_get(ir, load)->operands[0];
  tsr_expr subscripts[TSR_MAX_RANK];
  if (!tsr_fuse_to_value(ir, from->value, link->value, from->subscripts, subscripts))
    return "the reshape between them does not split axis by axis";
  bool guarded = tsr_fuse_guard(ir, from->value, from->subscripts) != 0;
  if (c->kind == TSR_BLOCK_CONTRACT && tsr_block_feeds_reduce(ir, c->body, load))
    return refuse_operand(ir, p, link->value, guarded);
  return NULL;
}

const char *tsr_fuse_refuse_inline(tsr_ir *ir, const tsr_fuse_link *link) {
  const char *reason = refuse_reader(ir, link->consumer);
  if (reason != NULL)
    return reason;
  tsr_block_info p = tsr_block_describe(ir, link->producer);
  tsr_block_info c = tsr_block_describe(ir, link->consumer);
  if (p.kind == TSR_BLOCK_OTHER)
    return "the value comes from a sequential program, which never fuses";
  if (p.kind != TSR_BLOCK_MAP)
    return "the producer reduces, and the reader needs each of its results more than once";
  if (p.result_count != 1 || !stores_in_place(ir, &p, link->value))
    return "the producer keeps several results";
  if ((reason = too_large(&p, &c)) != NULL)
    return reason;
  TSR_FOR_EACH_OP (ir, c.body, op) {
    if (tsr_op_is_load(ir, op) &&
        tsr_fuse_is_alias(ir, tsr_op_get(ir, op)->operands[0].value, link->value) &&
        (reason = refuse_load(ir, link, &p, &c, op)) != NULL)
      return reason;
  }
  return NULL;
}

static const double store_cost = 6, load_cost = 4;

/* How often a load is carried out: loops inside the innermost one that it depends on do not repeat
 * it. A contraction's operand is copied once. */
static double executions(tsr_ir *ir, const tsr_block_info *c, tsr_op load, double elements) {
  const tsr_region_data *region = tsr_region_get(ir, c->body);
  bool reduces = tsr_block_feeds_reduce(ir, c->body, load);
  double points = 1, upto = 1;
  if (reduces && c->kind == TSR_BLOCK_CONTRACT)
    return elements;
  for (uint32_t i = 0; i < region->arg_count; i++) {
    const tsr_value_data *axis = tsr_value_get(ir, region->args[i]);
    if (axis->role == TSR_ROLE_RED && !reduces)
      continue;
    points *= tsr_hinted(ir, tsr_expr_sub(ir, axis->hi, axis->lo));
    if (tsr_op_reads(ir, load, region->args[i]))
      upto = points;
  }
  return tsr_op_get(ir, load)->code == TSR_OP_GATHER_LOAD ? points : upto;
}

static bool same_subscripts(const tsr_operand *a, const tsr_operand *b) {
  return a->value == b->value && a->subscript_count == b->subscript_count &&
         (a->subscript_count == 0 ||
          memcmp(a->subscripts, b->subscripts, a->subscript_count * sizeof *a->subscripts) == 0);
}

static bool loaded_before(const tsr_ir *ir, tsr_op load) {
  for (tsr_op op = tsr_op_get(ir, load)->prev; op != 0; op = tsr_op_get(ir, op)->prev)
    if (tsr_op_is_load(ir, op) &&
        same_subscripts(&tsr_op_get(ir, op)->operands[0], &tsr_op_get(ir, load)->operands[0]))
      return true;
  return false;
}

bool tsr_fuse_inline_pays(tsr_ir *ir, const tsr_fuse_link *links, uint32_t count) {
  tsr_block_info p = tsr_block_describe(ir, links[0].producer);
  double elements = tsr_hinted_elements(ir, tsr_value_type(ir, links[0].value)), all = 0;
  for (uint32_t i = 0; i < count; i++) {
    tsr_block_info c = tsr_block_describe(ir, links[i].consumer);
    TSR_FOR_EACH_OP (ir, c.body, op)
      if (tsr_op_is_load(ir, op) && !loaded_before(ir, op) &&
          tsr_fuse_is_alias(ir, tsr_op_get(ir, op)->operands[0].value, links[i].value))
        all += executions(ir, &c, op, elements);
  }
  return all * p.cost <= elements * (p.cost + store_cost) + all * load_cost;
}

/* --- epilogue --- */

/* A consumer's load that addresses whole axes gives each of its variables a place in the store of
 * the producer. */
static const char *match_load(tsr_ir *ir, const tsr_fuse_link *link, tsr_op load, tsr_value result,
                              tsr_expr *axes) {
  const tsr_operand *from = &tsr_op_get(ir, load)->operands[0];
  tsr_region body = tsr_op_get(ir, link->consumer)->regions[0];
  const tsr_region_data *region = tsr_region_get(ir, body);
  tsr_op store = tsr_block_store_of(ir, tsr_op_get(ir, link->producer)->regions[0], result);
  tsr_expr places[TSR_MAX_RANK];
  if (store == 0)
    return "the producer stores the value in several places";
  if (!whole_axes(ir, from->subscripts, tsr_value_type(ir, from->value)))
    return "the reader does not take each element once, in its place";
  if (!tsr_fuse_to_alias(ir, from->value, result, tsr_op_get(ir, store)->operands[1].subscripts,
                         places))
    return "the reshape between them does not split axis by axis";
  for (uint32_t i = 0; i < from->subscript_count; i++) {
    tsr_expr_node node = tsr_expr_get(ir, from->subscripts[i]);
    if (node.op != TSR_INDEX_VALUE)
      continue;
    uint32_t number = tsr_value_get(ir, node.value)->number;
    if (number >= region->arg_count || (axes[number] != 0 && axes[number] != places[i]))
      return "the reader takes the value at two places";
    axes[number] = places[i];
  }
  return NULL;
}

/* Each load by itself takes every point: two that take halves of the axes meet in pairs. */
static const char *match_whole(tsr_ir *ir, const tsr_fuse_link *link, tsr_op load, tsr_value result,
                               tsr_expr *axes) {
  tsr_region body = tsr_op_get(ir, link->consumer)->regions[0];
  const tsr_region_data *region = tsr_region_get(ir, body);
  tsr_expr own[TSR_MAX_RANK * 2] = {0};
  const char *reason = match_load(ir, link, load, result, own);
  for (uint32_t i = 0; reason == NULL && i < region->arg_count; i++) {
    if (own[i] == 0)
      reason = "the reader repeats each element along another axis";
    else if (axes[i] != 0 && axes[i] != own[i])
      reason = "the reader takes the value at two places";
    axes[i] = own[i];
  }
  return reason;
}

const char *tsr_fuse_match_axes(tsr_ir *ir, const tsr_fuse_link *link, tsr_expr *out_axes) {
  tsr_region body = tsr_op_get(ir, link->consumer)->regions[0];
  const tsr_region_data *region = tsr_region_get(ir, body);
  memset(out_axes, 0, TSR_MAX_RANK * 2 * sizeof *out_axes);
  if (region->arg_count > TSR_MAX_RANK * 2)
    return "the reader has too many axes";
  TSR_FOR_EACH_OP (ir, body, op) {
    tsr_value result =
        tsr_op_is_load(ir, op)
            ? tsr_fuse_result_of(ir, link->producer, tsr_op_get(ir, op)->operands[0].value)
            : 0;
    const char *reason = result == 0 ? NULL : match_whole(ir, link, op, result, out_axes);
    if (reason != NULL)
      return reason;
  }
  return NULL;
}

/* The last subscript of every store of the consumer must follow the last axis of the producer, so
 * that what was computed side by side is stored side by side. */
static bool stores_side_by_side(tsr_ir *ir, const tsr_fuse_link *link, const tsr_expr *axes) {
  tsr_region body = tsr_op_get(ir, link->consumer)->regions[0];
  tsr_op own = tsr_block_store_of(ir, tsr_op_get(ir, link->producer)->regions[0], link->value);
  const tsr_operand *place = &tsr_op_get(ir, own)->operands[1];
  uint32_t last = place->subscript_count;
  while (last > 0 && !tsr_expr_has(ir, place->subscripts[last - 1], TSR_INDEX_VALUE))
    last--;
  if (last == 0)
    return true;
  TSR_FOR_EACH_OP (ir, body, op) {
    if (!tsr_op_is_store(ir, op))
      continue;
    const tsr_operand *to = &tsr_op_get(ir, op)->operands[1];
    uint32_t end = to->subscript_count;
    while (end > 0 && !tsr_expr_has(ir, to->subscripts[end - 1], TSR_INDEX_VALUE))
      end--;
    tsr_expr_node node = tsr_expr_get(ir, end == 0 ? 0 : to->subscripts[end - 1]);
    if (end == 0 || node.op != TSR_INDEX_VALUE)
      return false;
    tsr_expr follows = axes[tsr_value_get(ir, node.value)->number];
    tsr_expr_node innermost = tsr_expr_get(ir, place->subscripts[last - 1]);
    bool same =
        follows == place->subscripts[last - 1] ||
        (innermost.op == TSR_INDEX_VALUE && tsr_expr_uses_value(ir, follows, innermost.value));
    if (!same)
      return false;
  }
  return true;
}

static bool cuts(const tsr_ir *ir, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(ir, expr);
  if (node.op < TSR_INDEX_ADD)
    return false;
  return node.op == TSR_INDEX_FLOORDIV || node.op == TSR_INDEX_MOD || cuts(ir, node.a) ||
         cuts(ir, node.b);
}

static bool cuts_axes(const tsr_ir *ir, const tsr_expr *axes, const tsr_fuse_link *link) {
  tsr_region body = tsr_op_get(ir, link->consumer)->regions[0];
  for (uint32_t i = 0; i < tsr_region_get(ir, body)->arg_count; i++)
    if (cuts(ir, axes[i]))
      return true;
  return false;
}

static uint32_t position(const tsr_fuse_graph *graph, tsr_op op) {
  return op <= graph->op_count ? graph->position[op] : 0;
}

/* Every reader of the producer's results, and every reshape of them, but those that lead to the
 * consumer alone, comes after the consumer. */
static bool readers_follow(const tsr_ir *ir, const tsr_fuse_graph *graph, tsr_value value,
                           tsr_op consumer, uint32_t depth) {
  if (value > graph->value_count || depth > TSR_FUSE_MAX_ALIASES)
    return false;
  for (const tsr_fuse_use *use = graph->uses[value]; use != NULL; use = use->next) {
    if (use->reader == consumer || position(graph, use->reader) > position(graph, consumer))
      continue;
    if (tsr_op_get(ir, use->reader)->code != TSR_OP_RESHAPE)
      return false;
    tsr_value alias = tsr_op_get(ir, use->reader)->results[0];
    for (const tsr_fuse_use *next = graph->uses[alias]; next != NULL; next = next->next)
      if (next->reader != consumer)
        return false;
  }
  return true;
}

bool tsr_fuse_at_consumer(const tsr_ir *ir, const tsr_fuse_graph *graph,
                          const tsr_fuse_link *link) {
  const tsr_op_data *data = tsr_op_get(ir, link->producer);
  for (uint32_t i = 0; i < data->result_count; i++)
    if (!readers_follow(ir, graph, data->results[i], link->consumer, 0))
      return false;
  return true;
}

/* A dim that gets its value between the two: what is placed at the producer must not need it. */
static bool sizes_between(const tsr_ir *ir, const tsr_fuse_link *link) {
  for (tsr_op op = tsr_op_get(ir, link->producer)->next; op != 0 && op != link->consumer;
       op = tsr_op_get(ir, op)->next)
    if (tsr_op_get(ir, op)->code == TSR_OP_RESIZE_DIM)
      return true;
  return false;
}

/* What the consumer reads besides the producer's results stands before the producer. */
static bool fits_at_producer(const tsr_ir *ir, const tsr_fuse_graph *graph,
                             const tsr_fuse_link *link) {
  tsr_region body = tsr_op_get(ir, link->consumer)->regions[0];
  if (sizes_between(ir, link))
    return false;
  TSR_FOR_EACH_OP (ir, body, op) {
    if (!tsr_op_is_load(ir, op))
      continue;
    tsr_value buffer = tsr_op_get(ir, op)->operands[0].value;
    const tsr_value_data *data = tsr_value_get(ir, buffer);
    if (data->role == TSR_ROLE_RESULT && tsr_fuse_result_of(ir, link->producer, buffer) == 0 &&
        position(graph, data->def) > position(graph, link->producer))
      return false;
  }
  return true;
}

const char *tsr_fuse_refuse_epilogue(tsr_ir *ir, const tsr_fuse_graph *graph,
                                     const tsr_fuse_link *link, bool keep) {
  const char *reason = refuse_reader(ir, link->consumer);
  tsr_expr axes[TSR_MAX_RANK * 2];
  if (reason != NULL)
    return reason;
  tsr_block_info p = tsr_block_describe(ir, link->producer);
  tsr_block_info c = tsr_block_describe(ir, link->consumer);
  if (p.kind == TSR_BLOCK_OTHER)
    return "the value comes from a sequential program, which never fuses";
  if (c.kind != TSR_BLOCK_MAP)
    return "the reader reduces what the producer computes: that needs a level above registers";
  if (!keep && (p.kind == TSR_BLOCK_MAP || link->reader_count != 1))
    return "the value has other readers";
  if ((reason = tsr_fuse_match_axes(ir, link, axes)) != NULL)
    return reason;
  if (p.kind == TSR_BLOCK_CONTRACT && tsr_fuse_is_view(ir, &c) && cuts_axes(ir, axes, link))
    return "the view cuts an axis of the contraction: its reader takes it instead";
  if (!stores_side_by_side(ir, link, axes))
    return "the merged store would go across the producer's innermost axis";
  if (p.result_count + c.result_count > TSR_FUSE_MAX_RESULTS)
    return "the merged block would keep too many results";
  if ((reason = too_large(&p, &c)) != NULL)
    return reason;
  if (!tsr_fuse_at_consumer(ir, graph, link) && !fits_at_producer(ir, graph, link))
    return "another reader of the value stands between them";
  return NULL;
}

/* --- why an edge remained --- */

const char *tsr_fuse_explain(tsr_ir *ir, const tsr_fuse_graph *graph, const tsr_fuse_link *links,
                             uint32_t count, uint32_t number) {
  const tsr_fuse_link *link = &links[number];
  const char *reason = refuse_reader(ir, link->consumer);
  if (reason != NULL)
    return reason;
  tsr_block_info p = tsr_block_describe(ir, link->producer);
  if (p.kind != TSR_BLOCK_MAP)
    return tsr_fuse_refuse_epilogue(ir, graph, link, true);
  reason = tsr_fuse_refuse_inline(ir, link);
  if (reason != NULL)
    return reason;
  if (count > TSR_FUSE_MAX_READERS)
    return "too many readers";
  for (uint32_t i = 0; i < count; i++)
    if (i != number && tsr_fuse_refuse_inline(ir, &links[i]) != NULL)
      return "another reader keeps the value in memory";
  return "computing it again for each reader costs more than storing it";
}
