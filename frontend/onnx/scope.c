/* Names in scope, and the order of nodes. */
#include "frontend/onnx/importer.h"
#include "runtime/hash.h"
#include <string.h>

static uint32_t slot_of(const tsr_scope *scope, const char *name) {
  uint32_t at = (uint32_t)tsr_hash64(name, strlen(name)) & (scope->room - 1);
  while (scope->slots[at].name && strcmp(scope->slots[at].name, name) != 0)
    at = (at + 1) & (scope->room - 1);
  return at;
}

static tsr_imported *find_own(const tsr_scope *scope, const char *name) {
  return scope->room > 0 ? scope->slots[slot_of(scope, name)].imported : NULL;
}

bool tsr_scope_has_own(const tsr_scope *scope, const char *name) {
  return find_own(scope, name) != NULL;
}

tsr_imported *tsr_scope_find(const tsr_scope *scope, const char *name) {
  for (; scope; scope = scope->parent) {
    tsr_imported *found = find_own(scope, name);
    if (found)
      return found;
  }
  return NULL;
}

static bool grow(tsr_importer *importer, tsr_scope *scope) {
  tsr_scope bigger = {scope->parent, NULL, scope->room > 0 ? scope->room * 2 : 64, scope->used};
  bigger.slots = tsr_arena_alloc_array(importer->arena, bigger.room, sizeof *bigger.slots);
  if (!bigger.slots)
    return false;
  for (uint32_t i = 0; i < scope->room; i++)
    if (scope->slots[i].name)
      bigger.slots[slot_of(&bigger, scope->slots[i].name)] = scope->slots[i];
  *scope = bigger;
  return true;
}

bool tsr_scope_set(tsr_importer *importer, tsr_scope *scope, const char *name,
                   tsr_imported *imported) {
  if (scope->used * 2 >= scope->room && !grow(importer, scope))
    return false;
  tsr_scope_slot *slot = &scope->slots[slot_of(scope, name)];
  scope->used += slot->name == NULL;
  slot->name = name;
  slot->imported = imported;
  return true;
}

/* --- order of nodes --- */

typedef struct edge {
  uint64_t user;
  uint64_t next; /* index + 1 into edges, 0: end */
} edge;

typedef struct ordering {
  tsr_importer *importer;
  const tsr_onnx_node *nodes;
  uint64_t count;
  tsr_scope producers; /* name -> number of the node + 1, carried in a pointer-sized slot */
  uint64_t *first_edge;
  uint64_t *waiting; /* values not made yet, per node */
  edge *edges;
  uint64_t edge_count, edge_room;
} ordering;

static uint64_t producer_of(const ordering *o, const char *name) {
  return (uint64_t)(uintptr_t)find_own(&o->producers, name);
}

static bool add_edge(ordering *o, uint64_t from, uint64_t user) {
  if (o->edge_count == o->edge_room) {
    uint64_t room = o->edge_room > 0 ? 2 * o->edge_room : 256;
    edge *edges = tsr_arena_alloc_array(o->importer->arena, (size_t)room, sizeof *edges);
    if (!edges)
      return false;
    if (o->edge_count > 0)
      memcpy(edges, o->edges, (size_t)o->edge_count * sizeof *edges);
    o->edges = edges;
    o->edge_room = room;
  }
  o->edges[o->edge_count] = (edge){user, o->first_edge[from]};
  o->first_edge[from] = ++o->edge_count;
  o->waiting[user]++;
  return true;
}

static bool use_name(ordering *o, const char *name, uint64_t user, bool nested) {
  uint64_t producer = name[0] ? producer_of(o, name) : 0;
  if (producer == 0 || (nested && producer - 1 == user))
    return true;
  return add_edge(o, producer - 1, user);
}

static bool use_graph(ordering *o, const tsr_onnx_graph *graph, uint64_t user);

/* A subgraph captures names of the graph around it. Often its own results have the names of the
 * results of the node that holds it: those are no captures. */
static bool use_node(ordering *o, const tsr_onnx_node *node, uint64_t user, bool nested) {
  for (uint64_t i = 0; i < node->inputs.count; i++)
    if (!use_name(o, node->inputs.items[i], user, nested))
      return false;
  for (uint64_t i = 0; i < node->attributes.count; i++) {
    const tsr_onnx_attribute *attribute = &node->attributes.items[i];
    if (attribute->g && !use_graph(o, attribute->g, user))
      return false;
  }
  return true;
}

static bool use_graph(ordering *o, const tsr_onnx_graph *graph, uint64_t user) {
  for (uint64_t i = 0; i < graph->nodes.count; i++)
    if (!use_node(o, &graph->nodes.items[i], user, true))
      return false;
  for (uint64_t i = 0; i < graph->outputs.count; i++)
    if (!use_name(o, graph->outputs.items[i].name, user, true))
      return false;
  return true;
}

static tsr_status no_memory(tsr_importer *importer) {
  return tsr_fail(importer->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while ordering nodes");
}

static void name_node(const ordering *o, uint64_t number) {
  const tsr_onnx_node *node = &o->nodes[number];
  const char *name = node->name;
  if (name[0] == '\0')
    name =
        tsr_arena_printf(o->importer->arena, "%s_%llu", node->op_type, (unsigned long long)number);
  tsr_diag_set_node(o->importer->diag, name ? name : "", node->op_type);
}

static tsr_status find_producers(ordering *o) {
  for (uint64_t n = 0; n < o->count; n++)
    for (uint64_t i = 0; i < o->nodes[n].outputs.count; i++) {
      const char *name = o->nodes[n].outputs.items[i];
      if (name[0] == '\0')
        continue;
      if (producer_of(o, name) != 0) {
        tsr_status status = tsr_fail(o->importer->diag, TSR_ERR_FORMAT,
                                     "output '%s' is already made by another node", name);
        name_node(o, n);
        return status;
      }
      if (!tsr_scope_set(o->importer, &o->producers, name, (tsr_imported *)(uintptr_t)(n + 1)))
        return no_memory(o->importer);
    }
  return TSR_OK;
}

/* Ready nodes are taken in file order as far as they can be: `order` is the queue. */
static uint64_t drain(ordering *o, uint64_t *order) {
  uint64_t tail = 0;
  for (uint64_t n = 0; n < o->count; n++)
    if (o->waiting[n] == 0)
      order[tail++] = n;
  for (uint64_t head = 0; head < tail; head++)
    for (uint64_t e = o->first_edge[order[head]]; e != 0; e = o->edges[e - 1].next)
      if (--o->waiting[o->edges[e - 1].user] == 0)
        order[tail++] = o->edges[e - 1].user;
  return tail;
}

static bool is_sorted(const ordering *o) {
  for (uint64_t n = 0; n < o->count; n++)
    for (uint64_t e = o->first_edge[n]; e != 0; e = o->edges[e - 1].next)
      if (o->edges[e - 1].user <= n)
        return false;
  return true;
}

/* A node that waits for ever, and usually one on a cycle: where going back from waiting node to
 * waiting producer ends after as many steps as there are nodes. */
static uint64_t on_cycle(const ordering *o) {
  uint64_t at = 0;
  while (o->waiting[at] == 0)
    at++;
  for (uint64_t step = 0; step < o->count; step++) {
    const tsr_onnx_node *node = &o->nodes[at];
    for (uint64_t i = 0; i < node->inputs.count; i++) {
      const char *name = node->inputs.items[i];
      uint64_t producer = name[0] ? producer_of(o, name) : 0;
      if (producer != 0 && o->waiting[producer - 1] > 0) {
        at = producer - 1;
        break;
      }
    }
  }
  return at;
}

tsr_status tsr_import_order(tsr_importer *importer, const tsr_onnx_node *nodes, uint64_t count,
                            const uint64_t **out_order) {
  ordering o = {.importer = importer, .nodes = nodes, .count = count};
  *out_order = NULL;
  uint64_t *order = tsr_arena_alloc_array(importer->arena, (size_t)count, sizeof *order);
  o.first_edge = tsr_arena_alloc_array(importer->arena, (size_t)count, sizeof *o.first_edge);
  o.waiting = tsr_arena_alloc_array(importer->arena, (size_t)count, sizeof *o.waiting);
  if (!order || !o.first_edge || !o.waiting)
    return no_memory(importer);
  TSR_TRY(find_producers(&o));
  for (uint64_t n = 0; n < count; n++)
    if (!use_node(&o, &nodes[n], n, false))
      return no_memory(importer);
  if (is_sorted(&o)) {
    for (uint64_t n = 0; n < count; n++)
      order[n] = n;
  } else if (drain(&o, order) < count) {
    tsr_status status = tsr_fail(importer->diag, TSR_ERR_FORMAT,
                                 "the graph is cyclic: the node needs a value that depends on it");
    name_node(&o, on_cycle(&o));
    return status;
  }
  *out_order = order;
  return TSR_OK;
}
