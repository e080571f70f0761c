/* A stage runs launch by launch at first, so that a single run pays for nothing else. When it runs
 * again with the same link, which means the same kernels, grids, dims and pointers, its launches
 * are captured into a graph, and from then on the graph is launched. After a new link an existing
 * graph is updated in place if the driver can do that. */
#include "runtime/cuda/cuda_exec.h"

enum { FEWEST_LAUNCHES = 2 }; /* of a stage for which a graph is worth its making */

static uint32_t count_launches(const tsr_exec *exec, const exec_stage *stage) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < stage->launch_count; i++)
    count += exec->launches[stage->first_launch + i].tasks != 0;
  return count;
}

/* ---- Launch by launch ---- */

static tsr_status record(cuda_exec *self, tsr_cu_event event) {
  return tsr_cuda_check(self->device, &self->diag,
                        self->device->driver.cuEventRecord(event, self->stream),
                        "cannot record an event");
}

static tsr_status launch_traced(tsr_exec *exec, const exec_launch *launch) {
  cuda_exec *self = exec->cuda;
  uint32_t event = exec->trace.count * 2;
  (void)tsr_exec_trace(exec, launch);
  TSR_TRY(record(self, self->trace_events[event]));
  TSR_TRY(tsr_cuda_launch(exec, launch));
  return record(self, self->trace_events[event + 1]);
}

static tsr_status run_launches(tsr_exec *exec, const exec_stage *stage) {
  cuda_exec *self = exec->cuda;
  for (uint32_t i = 0; i < stage->launch_count; i++) {
    const exec_launch *launch = &exec->launches[stage->first_launch + i];
    TSR_TRY(exec->trace.file != NULL ? launch_traced(exec, launch) : tsr_cuda_launch(exec, launch));
    if (launch->tasks == 0)
      continue;
    tsr_cuda_note_launch(exec, stage->first_launch + i);
    if (self->synchronous)
      TSR_TRY(tsr_cuda_synchronize(exec, "the launch failed"));
  }
  return TSR_OK;
}

/* ---- Graphs ---- */

static uint32_t count_ports(const tsr_exec *exec) {
  return exec->parent != NULL ? exec->program->input_count + exec->program->output_count : 0;
}

tsr_status tsr_cuda_create_graphs(tsr_exec *exec) {
  cuda_exec *self = exec->cuda;
  size_t graphs;
  self->graph_count = exec->parent != NULL ? CUDA_PART_GRAPHS : 1;
  graphs = (size_t)exec->stage_count * self->graph_count;
  self->graphs = (cuda_graph *)tsr_arena_alloc_array(&exec->memory, graphs, sizeof *self->graphs);
  for (size_t i = 0; self->graphs != NULL && i < graphs; i++) {
    self->graphs[i].pointers =
        (void **)tsr_arena_alloc_array(&exec->memory, count_ports(exec), sizeof(void *));
    if (self->graphs[i].pointers == NULL)
      self->graphs = NULL;
  }
  if (self->graphs == NULL)
    return tsr_fail(&self->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while creating an exec");
  return TSR_OK;
}

static void destroy_graph(const cuda_exec *self, cuda_graph *graph) {
  if (graph->exec != NULL)
    (void)self->device->driver.cuGraphExecDestroy(graph->exec);
  graph->exec = NULL;
  graph->made = false;
}

void tsr_cuda_destroy_graphs(tsr_exec *exec) {
  const cuda_exec *self = exec->cuda;
  for (uint32_t i = 0; self->graphs != NULL && i < exec->stage_count * self->graph_count; i++)
    destroy_graph(self, &self->graphs[i]);
}

static void *port_pointer(const tsr_exec *exec, uint32_t port) {
  const tsr_program *p = exec->program;
  uint32_t buffer =
      port < p->input_count ? p->inputs[port].buffer : p->outputs[port - p->input_count].buffer;
  return exec->buffers[buffer].pointer;
}

static bool is_same(const tsr_exec *exec, const cuda_graph *graph, uint64_t links) {
  bool same = graph->links == links;
  for (uint32_t i = 0; same && i < count_ports(exec); i++)
    same = graph->pointers[i] == port_pointer(exec, i);
  return same;
}

/* The graph of the stage as it is now linked, which may have to be made; another one's place when
 * it is new. */
static cuda_graph *find_graph(const tsr_exec *exec, uint32_t index) {
  cuda_exec *self = exec->cuda;
  cuda_graph *graphs = &self->graphs[index * self->graph_count], *graph;
  uint64_t links = exec->stages[index].links;
  for (uint32_t i = 0; i < self->graph_count; i++)
    if (is_same(exec, &graphs[i], links))
      return &graphs[i];
  graph = &graphs[self->next_graph++ % self->graph_count];
  graph->links = links;
  graph->ran = graph->made = false;
  for (uint32_t i = 0; i < count_ports(exec); i++)
    graph->pointers[i] = port_pointer(exec, i);
  return graph;
}

/* A capture that was begun is always ended, or the stream could not be used any more. */
static tsr_status capture(tsr_exec *exec, const exec_stage *stage, tsr_cu_graph *out_graph) {
  cuda_exec *self = exec->cuda;
  const tsr_cuda_driver *driver = &self->device->driver;
  tsr_status status;
  tsr_cu_result result;
  *out_graph = NULL;
  TSR_TRY(tsr_cuda_check(self->device, &self->diag,
                         driver->cuStreamBeginCapture_v2(self->stream, TSR_CU_CAPTURE_THREAD_LOCAL),
                         "cannot capture the stream"));
  status = TSR_OK;
  for (uint32_t i = 0; i < stage->launch_count && status == TSR_OK; i++)
    status = tsr_cuda_launch(exec, &exec->launches[stage->first_launch + i]);
  result = driver->cuStreamEndCapture(self->stream, out_graph);
  if (status == TSR_OK)
    status = tsr_cuda_check(self->device, &self->diag, result, "cannot capture the stream");
  if (status != TSR_OK && *out_graph != NULL && result == 0)
    (void)driver->cuGraphDestroy(*out_graph);
  if (status != TSR_OK)
    *out_graph = NULL;
  return status;
}

/* Into the graph that there is, or into a new one. */
static tsr_status instantiate(tsr_exec *exec, cuda_graph *to, tsr_cu_graph graph) {
  cuda_exec *self = exec->cuda;
  const tsr_cuda_driver *driver = &self->device->driver;
  tsr_cu_graph_update update;
  tsr_cu_result result;
  if (to->exec != NULL && driver->cuGraphExecUpdate_v2(to->exec, graph, &update) == 0) {
    exec->stats.graph_updates++;
    return TSR_OK;
  }
  destroy_graph(self, to);
  result = driver->cuGraphInstantiateWithFlags(&to->exec, graph, 0);
  if (result != 0)
    to->exec = NULL;
  return tsr_cuda_check(self->device, &self->diag, result, "cannot make a graph of launches");
}

static tsr_status make_graph(tsr_exec *exec, uint32_t index, cuda_graph *to) {
  cuda_exec *self = exec->cuda;
  tsr_cu_graph graph;
  tsr_status status;
  TSR_TRY(capture(exec, &exec->stages[index], &graph));
  status = instantiate(exec, to, graph);
  (void)self->device->driver.cuGraphDestroy(graph);
  TSR_TRY(status);
  to->made = true;
  exec->stats.graph_captures++;
  return TSR_OK;
}

static tsr_status launch_graph(tsr_exec *exec, uint32_t index, const cuda_graph *graph) {
  cuda_exec *self = exec->cuda;
  const exec_stage *stage = &exec->stages[index];
  TSR_TRY(tsr_cuda_check(self->device, &self->diag,
                         self->device->driver.cuGraphLaunch(graph->exec, self->stream),
                         "cannot launch a graph"));
  exec->stats.graph_launches++;
  for (uint32_t i = 0; i < stage->launch_count; i++)
    if (exec->launches[stage->first_launch + i].tasks != 0)
      tsr_cuda_note_launch(exec, stage->first_launch + i);
  return TSR_OK;
}

/* A driver or stream that makes no graphs is not asked again. */
static bool has_graph(tsr_exec *exec, uint32_t index, cuda_graph *graph) {
  cuda_exec *self = exec->cuda;
  const exec_stage *stage = &exec->stages[index];
  if (self->no_graphs || self->synchronous || exec->trace.file != NULL)
    return false;
  if (graph->made)
    return true;
  if (!graph->ran || count_launches(exec, stage) < FEWEST_LAUNCHES)
    return false;
  if (make_graph(exec, index, graph) == TSR_OK)
    return true;
  self->no_graphs = true;
  destroy_graph(self, graph);
  if (atomic_load(&self->device->dead) == 0)
    tsr_diag_clear(&self->diag);
  return false;
}

tsr_status tsr_cuda_run_stage(tsr_exec *exec, uint32_t index) {
  cuda_exec *self = exec->cuda;
  const exec_stage *stage = &exec->stages[index];
  cuda_graph *graph = find_graph(exec, index);
  exec->stats.launches += count_launches(exec, stage);
  if (has_graph(exec, index, graph))
    return launch_graph(exec, index, graph);
  if (self->diag.status != TSR_OK) /* the device died meanwhile */
    return self->diag.status;
  TSR_TRY(run_launches(exec, stage));
  graph->ran = true;
  return TSR_OK;
}
