#include "passes/fuse_graph.h"
#include "passes/reshape_map.h"
#include <string.h>

tsr_status tsr_fuse_graph_init(tsr_fuse_graph *graph, tsr_ir *ir, tsr_diag *diag) {
  (void)diag;
  *graph = (tsr_fuse_graph){0};
  tsr_arena_init(&graph->arena, tsr_ir_allocator(ir));
  return TSR_OK;
}

void tsr_fuse_graph_reset(tsr_fuse_graph *graph) {
  tsr_arena_reset(&graph->arena);
}

static bool add_use(tsr_fuse_graph *graph, tsr_value value, tsr_op reader) {
  tsr_fuse_use *head = graph->uses[value];
  if (head != NULL && head->reader == reader)
    return true;
  tsr_fuse_use *use = (tsr_fuse_use *)tsr_arena_alloc(&graph->arena, sizeof *use);
  if (use == NULL)
    return false;
  *use = (tsr_fuse_use){.value = value, .reader = reader, .next = head};
  graph->uses[value] = use;
  return true;
}

/* Every value that `op` and what it contains read counts as read by `reader`; a block's stores name
 * its own results and are no reads. */
static bool add_uses(tsr_fuse_graph *graph, const tsr_ir *ir, tsr_op op, tsr_op reader) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  for (uint32_t i = 0; i < data->operand_count; i++) {
    tsr_value value = data->operands[i].value;
    if (tsr_value_get(ir, value)->def != reader && !add_use(graph, value, reader))
      return false;
  }
  for (uint32_t r = 0; r < data->region_count; r++)
    TSR_FOR_EACH_OP (ir, data->regions[r], inner) {
      if (!add_uses(graph, ir, inner, reader))
        return false;
    }
  return true;
}

tsr_status tsr_fuse_graph_build(tsr_fuse_graph *graph, tsr_ir *ir, tsr_region region,
                                tsr_diag *diag) {
  tsr_arena_reset(&graph->arena);
  graph->region = region;
  graph->value_count = tsr_value_count(ir);
  graph->op_count = tsr_op_count(ir);
  graph->uses = (tsr_fuse_use **)tsr_arena_alloc_array(&graph->arena, graph->value_count + 1u,
                                                       sizeof *graph->uses);
  graph->position = (uint32_t *)tsr_arena_alloc_array(&graph->arena, graph->op_count + 1u,
                                                      sizeof *graph->position);
  bool enough = graph->uses != NULL && graph->position != NULL;
  uint32_t position = 0;
  if (enough)
    TSR_FOR_EACH_OP (ir, region, op) {
      graph->position[op] = ++position;
      enough = enough && add_uses(graph, ir, op, op);
    }
  return enough ? TSR_OK
                : tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while fusing blocks");
}

typedef struct link_list {
  tsr_fuse_link *links;
  uint32_t count, capacity;
} link_list;

static void add_link(link_list *list, tsr_op producer, tsr_op consumer, tsr_value value) {
  for (uint32_t i = 0; i < list->count && i < list->capacity; i++)
    if (list->links[i].consumer == consumer && list->links[i].value == value)
      return;
  if (list->count < list->capacity)
    list->links[list->count] =
        (tsr_fuse_link){.producer = producer, .consumer = consumer, .value = value};
  list->count++;
}

static void add_readers(const tsr_fuse_graph *graph, const tsr_ir *ir, tsr_op producer,
                        tsr_value value, tsr_value alias, link_list *list) {
  if (alias > graph->value_count)
    return;
  for (const tsr_fuse_use *use = graph->uses[alias]; use != NULL; use = use->next) {
    const tsr_op_data *reader = tsr_op_get(ir, use->reader);
    if (reader->code == TSR_OP_RESHAPE)
      add_readers(graph, ir, producer, value, reader->results[0], list);
    else
      add_link(list, producer, use->reader, value);
  }
}

uint32_t tsr_fuse_links_of(const tsr_fuse_graph *graph, const tsr_ir *ir, tsr_op producer,
                           tsr_fuse_link *out_links, uint32_t capacity) {
  const tsr_op_data *data = tsr_op_get(ir, producer);
  link_list list = {.links = out_links, .capacity = capacity};
  if (data->code != TSR_OP_BLOCK && data->code != TSR_OP_PROC)
    return 0;
  for (uint32_t r = 0; r < data->result_count; r++) {
    uint32_t first = list.count;
    add_readers(graph, ir, producer, data->results[r], data->results[r], &list);
    for (uint32_t i = first; i < list.count && i < capacity; i++)
      out_links[i].reader_count = list.count - first;
  }
  return list.count;
}

bool tsr_fuse_link_involves(const tsr_fuse_link *links, uint32_t count, tsr_op op) {
  for (uint32_t i = 0; i < count; i++)
    if (links[i].consumer == op || links[i].producer == op)
      return true;
  return false;
}

/* --- aliases --- */

static tsr_value reshaped(const tsr_ir *ir, tsr_value buffer) {
  const tsr_value_data *data = tsr_value_get(ir, buffer);
  bool alias = data->role == TSR_ROLE_RESULT && data->def != 0 &&
               tsr_op_get(ir, data->def)->code == TSR_OP_RESHAPE;
  return alias ? tsr_op_get(ir, data->def)->operands[0].value : 0;
}

bool tsr_fuse_is_alias(const tsr_ir *ir, tsr_value buffer, tsr_value value) {
  for (uint32_t i = 0; i <= TSR_FUSE_MAX_ALIASES && buffer != 0; i++) {
    if (buffer == value)
      return true;
    buffer = reshaped(ir, buffer);
  }
  return false;
}

tsr_value tsr_fuse_result_of(const tsr_ir *ir, tsr_op producer, tsr_value buffer) {
  const tsr_op_data *data = tsr_op_get(ir, producer);
  for (uint32_t i = 0; i < data->result_count; i++)
    if (tsr_fuse_is_alias(ir, buffer, data->results[i]))
      return data->results[i];
  return 0;
}

static void copy_exprs(tsr_expr *to, const tsr_expr *from, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    to[i] = from[i];
}

bool tsr_fuse_to_value(tsr_ir *ir, tsr_value buffer, tsr_value value, const tsr_expr *subscripts,
                       tsr_expr *out) {
  if (buffer == value) {
    copy_exprs(out, subscripts, tsr_value_type(ir, value)->rank);
    return true;
  }
  tsr_value source = reshaped(ir, buffer);
  tsr_expr between[TSR_MAX_RANK];
  return source != 0 &&
         tsr_reshape_subscripts(ir, tsr_value_type(ir, buffer), tsr_value_type(ir, source),
                                subscripts, between) &&
         tsr_fuse_to_value(ir, source, value, between, out);
}

bool tsr_fuse_to_alias(tsr_ir *ir, tsr_value buffer, tsr_value value, const tsr_expr *subscripts,
                       tsr_expr *out) {
  if (buffer == value) {
    copy_exprs(out, subscripts, tsr_value_type(ir, value)->rank);
    return true;
  }
  tsr_value source = reshaped(ir, buffer);
  tsr_expr between[TSR_MAX_RANK];
  return source != 0 && tsr_fuse_to_alias(ir, source, value, subscripts, between) &&
         tsr_reshape_subscripts(ir, tsr_value_type(ir, source), tsr_value_type(ir, buffer), between,
                                out);
}

/* --- reports --- */

void tsr_fuse_report_init(tsr_fuse_report *report, const tsr_allocator *allocator) {
  *report = (tsr_fuse_report){.allocator = allocator};
}

void tsr_fuse_report_reset(tsr_fuse_report *report) {
  if (report->edges != NULL)
    report->allocator->release(report->allocator->context, report->edges,
                               report->capacity * sizeof *report->edges);
  *report = (tsr_fuse_report){.allocator = report->allocator};
}

static bool grow_report(tsr_fuse_report *report) {
  uint32_t capacity = report->capacity == 0 ? 64 : report->capacity * 2;
  tsr_fuse_edge *edges = (tsr_fuse_edge *)report->allocator->allocate(
      report->allocator->context, capacity * sizeof *edges, _Alignof(tsr_fuse_edge));
  if (edges == NULL)
    return false;
  if (report->edges != NULL) {
    memcpy(edges, report->edges, report->count * sizeof *edges);
    report->allocator->release(report->allocator->context, report->edges,
                               report->capacity * sizeof *edges);
  }
  report->edges = edges;
  report->capacity = capacity;
  return true;
}

tsr_status tsr_fuse_report_add(tsr_fuse_report *report, tsr_ir *ir, const tsr_fuse_link *link,
                               bool fused, const char *reason, tsr_diag *diag) {
  const tsr_op_data *producer = tsr_op_get(ir, link->producer);
  const tsr_op_data *consumer = tsr_op_get(ir, link->consumer);
  if (report->count == report->capacity && !grow_report(report))
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while reporting fusion");
  report->edges[report->count++] = (tsr_fuse_edge){
      .value = link->value,
      .consumer = link->consumer,
      .producer_origins = producer->origins,
      .consumer_origins = consumer->origins,
      .producer_origin_count = producer->origin_count,
      .consumer_origin_count = consumer->origin_count,
      .fused = fused,
      .reason = reason,
  };
  return TSR_OK;
}
