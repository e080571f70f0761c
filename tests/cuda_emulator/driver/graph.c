/* Stream capture and graphs: nodes with what comes before each, run in an order that respects that.
 */
#include "tests/cuda_emulator/driver/state.h"
#include <stdlib.h>
#include <string.h>

/* Numbers of CUgraphExecUpdateResult. */
enum {
  UPDATE_SUCCESS = 0,
  UPDATE_TOPOLOGY_CHANGED = 2,
  UPDATE_NODE_TYPE_CHANGED = 3,
  UPDATE_FUNCTION_CHANGED = 4,
  UPDATE_PARAMETERS_CHANGED = 5,
  UPDATE_ATTRIBUTES_CHANGED = 8,
};

void frontier_clear(frontier *f) {
  free(f->nodes);
  *f = (frontier){0};
}

static bool frontier_add(frontier *f, int node) {
  for (int i = 0; i < f->count; ++i)
    if (f->nodes[i] == node)
      return true;
  int *nodes = realloc(f->nodes, (size_t)(f->count + 1) * sizeof(*nodes));
  if (!nodes)
    return false;
  f->nodes = nodes;
  f->nodes[f->count++] = node;
  return true;
}

bool frontier_join(frontier *into, const frontier *from) {
  bool fine = true;
  for (int i = 0; i < from->count; ++i)
    fine = frontier_add(into, from->nodes[i]) && fine;
  return fine;
}

void body_release(body *b) {
  if (!b || --b->references > 0)
    return;
  for (int i = 0; i < b->count; ++i)
    command_free(b->nodes[i]);
  free(b->nodes);
  free(b);
}

static bool body_add(body *b, command *work) {
  if (b->count == b->capacity) {
    int capacity = b->capacity ? 2 * b->capacity : 16;
    command **nodes = realloc(b->nodes, (size_t)capacity * sizeof(command *));
    if (!nodes)
      return false;
    b->nodes = nodes;
    b->capacity = capacity;
  }
  b->nodes[b->count++] = work;
  return true;
}

/* The work becomes a node behind the stream's frontier, and is the frontier from then on. */
tsr_cu_result capture_command(tsr_cu_stream stream, command *work) {
  capture *c = stream->capture;
  if (c->invalid)
    return EMULATED_STREAM_CAPTURE_INVALIDATED;
  if (work->kind == COMMAND_GRAPH) {
    c->invalid = true;
    return refuse(EMULATED_STREAM_CAPTURE_UNSUPPORTED, "graphs inside graphs are not emulated");
  }
  int number = c->graph->count;
  frontier alone = {0};
  if (!frontier_add(&alone, number) || !body_add(c->graph, work)) {
    frontier_clear(&alone);
    return EMULATED_OUT_OF_MEMORY;
  }
  work->before = stream->behind.nodes;
  work->before_count = stream->behind.count;
  stream->behind = alone;
  return 0;
}

EXPORT tsr_cu_result cuStreamBeginCapture_v2(tsr_cu_stream handle, int mode) {
  ENTER();
  tsr_cu_stream stream;
  TRY(check_stream(handle, &stream));
  if (mode < 0 || mode > 2)
    return EMULATED_INVALID_VALUE;
  if (stream->capture || stream == stream->object.owner->null_stream)
    return refuse(EMULATED_STREAM_CAPTURE_UNSUPPORTED,
                  "the stream is being captured already, or is the null stream");
  capture *c = calloc(1, sizeof(*c));
  body *graph = calloc(1, sizeof(*graph));
  if (!c || !graph) {
    free(c);
    free(graph);
    return EMULATED_OUT_OF_MEMORY;
  }
  graph->references = 1;
  *c = (capture){.graph = graph, .origin = stream, .thread = mode == 2 ? 0 : this_thread()};
  stream->capture = c;
  return 0;
}

/* All other streams' nodes must come before what the origin ends with. */
static bool joined(const capture *c) {
  char *seen = calloc((size_t)c->graph->count + 1, 1);
  bool all = seen != NULL;
  for (int i = 0; seen && i < c->origin->behind.count; ++i)
    seen[c->origin->behind.nodes[i]] = 1;
  for (int i = c->graph->count - 1; seen && i >= 0; --i) {
    all = all && seen[i];
    for (int k = 0; k < c->graph->nodes[i]->before_count; ++k)
      seen[c->graph->nodes[i]->before[k]] = 1;
  }
  free(seen);
  return all;
}

static void forget_capture(const capture *c) {
  for (object *o = NULL; (o = object_next(o, OBJECT_STREAM, NULL)) != NULL;) {
    tsr_cu_stream stream = (tsr_cu_stream)o;
    if (stream->capture == c) {
      stream->capture = NULL;
      frontier_clear(&stream->behind);
    }
  }
  for (object *o = NULL; (o = object_next(o, OBJECT_EVENT, NULL)) != NULL;) {
    tsr_cu_event event = (tsr_cu_event)o;
    if (event->capture == c) {
      event->capture = NULL;
      frontier_clear(&event->behind);
    }
  }
}

EXPORT tsr_cu_result cuStreamEndCapture(tsr_cu_stream handle, tsr_cu_graph *out_graph) {
  ENTER();
  tsr_cu_stream stream;
  *out_graph = NULL;
  TRY(check_stream(handle, &stream));
  capture *c = stream->capture;
  if (!c || c->origin != stream)
    return refuse(EMULATED_STREAM_CAPTURE_UNMATCHED, "the capture was not begun in this stream");
  tsr_cu_result result = c->invalid   ? EMULATED_STREAM_CAPTURE_INVALIDATED
                         : !joined(c) ? EMULATED_STREAM_CAPTURE_UNJOINED
                                      : 0;
  forget_capture(c);
  tsr_cu_graph graph = result ? NULL : object_make(OBJECT_GRAPH, sizeof(*graph), NULL);
  if (graph)
    graph->body = c->graph;
  else
    body_release(c->graph);
  free(c);
  *out_graph = graph;
  return graph ? 0 : result ? result : EMULATED_OUT_OF_MEMORY;
}

EXPORT tsr_cu_result cuGraphInstantiateWithFlags(tsr_cu_graph_exec *out_exec, tsr_cu_graph graph,
                                                 unsigned long long flags) {
  ENTER();
  context *c;
  *out_exec = NULL;
  TRY(current_context(&c));
  TRY(object_check(graph, OBJECT_GRAPH));
  if (flags != 0)
    return refuse(EMULATED_INVALID_VALUE, "flags %#llx of an instantiation are not emulated",
                  flags);
  tsr_cu_graph_exec exec = object_make(OBJECT_EXEC, sizeof(*exec), c);
  if (!exec)
    return EMULATED_OUT_OF_MEMORY;
  exec->body = graph->body;
  ++exec->body->references;
  *out_exec = exec;
  return 0;
}

/* What an update may not change in a node, as CUgraphExecUpdateResult. A driver before 11.2 refuses
 * another function; so does this one. */
static int compare_nodes(const command *from, const command *to) {
  if (from->before_count != to->before_count ||
      (from->before_count > 0 &&
       memcmp(from->before, to->before, (size_t)from->before_count * sizeof(int)) != 0))
    return UPDATE_TOPOLOGY_CHANGED;
  if (from->kind != to->kind)
    return UPDATE_NODE_TYPE_CHANGED;
  if (from->kind == COMMAND_LAUNCH && from->function != to->function)
    return UPDATE_FUNCTION_CHANGED;
  if (from->kind == COMMAND_LAUNCH && (from->launch.cooperative != to->launch.cooperative ||
                                       from->launch.cluster != to->launch.cluster))
    return UPDATE_ATTRIBUTES_CHANGED;
  if (from->kind == COMMAND_COPY && from->copy != to->copy)
    return UPDATE_PARAMETERS_CHANGED;
  return UPDATE_SUCCESS;
}

EXPORT tsr_cu_result cuGraphExecUpdate_v2(tsr_cu_graph_exec exec, tsr_cu_graph graph,
                                          tsr_cu_graph_update *result) {
  ENTER();
  context *c;
  TRY(current_context(&c));
  TRY(object_check(exec, OBJECT_EXEC));
  TRY(object_check(graph, OBJECT_GRAPH));
  *result = (tsr_cu_graph_update){0};
  if (exec->body->count != graph->body->count)
    result->result = UPDATE_TOPOLOGY_CHANGED;
  for (int i = 0; i < exec->body->count && !result->result; ++i) {
    result->result = compare_nodes(exec->body->nodes[i], graph->body->nodes[i]);
    if (result->result)
      result->error_node = (tsr_cu_graph_node)(void *)graph->body->nodes[i];
  }
  if (result->result)
    return EMULATED_GRAPH_EXEC_UPDATE_FAILURE;
  /* Launches that have not run yet keep what they were given. */
  body_release(exec->body);
  exec->body = graph->body;
  ++exec->body->references;
  return 0;
}

EXPORT tsr_cu_result cuGraphLaunch(tsr_cu_graph_exec exec, tsr_cu_stream handle) {
  ENTER();
  tsr_cu_stream stream;
  TRY(check_stream(handle, &stream));
  TRY(object_check(exec, OBJECT_EXEC));
  command *work = command_make(COMMAND_GRAPH);
  if (!work)
    return EMULATED_OUT_OF_MEMORY;
  work->graph = exec->body;
  ++work->graph->references;
  return give(stream, work);
}

EXPORT tsr_cu_result cuGraphExecDestroy(tsr_cu_graph_exec exec) {
  ENTER();
  TRY(object_check(exec, OBJECT_EXEC));
  body_release(exec->body);
  object_free(exec);
  return 0;
}

EXPORT tsr_cu_result cuGraphDestroy(tsr_cu_graph graph) {
  ENTER();
  TRY(object_check(graph, OBJECT_GRAPH));
  body_release(graph->body);
  object_free(graph);
  return 0;
}

static bool can_run(const body *b, const char *done, int node) {
  const command *work = b->nodes[node];
  bool ready = !done[node];
  for (int i = 0; i < work->before_count; ++i)
    ready = ready && done[work->before[i]];
  return ready;
}

/* Seed 0 takes the nodes in their order, others the last that can run. */
void run_body(context *c, const body *b, void (*run)(context *, const command *)) {
  char *done = calloc((size_t)b->count + 1, 1);
  if (!done) {
    c->error = EMULATED_OUT_OF_MEMORY;
    return;
  }
  for (int left = b->count; left > 0; --left) {
    int node = the_driver.seed == 0 ? 0 : b->count - 1;
    while (!can_run(b, done, node))
      node += the_driver.seed == 0 ? 1 : -1;
    run(c, b->nodes[node]);
    done[node] = 1;
  }
  free(done);
}
