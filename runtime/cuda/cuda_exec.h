/* What an exec has besides on a CUDA device. The ops (exec.c) stand on launch.c and graph.c. */
#ifndef TSR_RUNTIME_CUDA_CUDA_EXEC_H
#define TSR_RUNTIME_CUDA_CUDA_EXEC_H
#include "runtime/cuda/cuda.h"
#include "runtime/exec/exec.h"

/* A launch, ready for the driver. Parameters: buffers, dims, tasks, tensor maps; the first two lie
 * in exec_launch. */
typedef struct cuda_launch {
  tsr_cu_launch_config config;
  tsr_cu_launch_attribute attributes[2];
  tsr_cu_function function;
  void **parameters;
  int64_t tasks;
  tsr_cu_tensor_map *maps;
} cuda_launch;

/* The launches of a stage as they are with link number `links` (0: none) and, in a part, inputs and
 * outputs at `pointers`. */
typedef struct cuda_graph {
  uint64_t links;
  void **pointers;
  bool ran;  /* launch by launch */
  bool made; /* `exec` is this graph; otherwise an earlier one, or NULL */
  tsr_cu_graph_exec exec;
} cuda_graph;

/* Graphs of a stage: a part's inputs and outputs take turns with few addresses. */
enum { CUDA_PART_GRAPHS = 4 };

/* An input or output whose memory the exec copies. */
typedef struct cuda_port {
  exec_memory device; /* of an input; an output has it in exec_output.own */
  void *pinned;       /* of an output: its view in host memory */
  uint64_t pinned_bytes;
} cuda_port;

/* A launch; those of parts are noted in the exec of their host program. */
typedef struct cuda_recent {
  const tsr_exec *exec;
  uint32_t launch;
} cuda_recent;

enum { CUDA_RECENT = 32 };

struct cuda_exec {
  cuda_device *device;
  cuda_program *program;
  tsr_cu_stream stream;
  bool own_stream;
  bool no_graphs;             /* by option, or the stream cannot be captured */
  bool synchronous;           /* $TESSERA_CUDA_SYNC: every launch is waited for */
  DLDeviceType output_device; /* of outputs that are not bound */
  cuda_staging staging;
  cuda_graph *graphs; /* by stage, graph_count each */
  uint32_t graph_count, next_graph;
  cuda_port *inputs, *outputs;
  int64_t *read_values;       /* pinned, as many as a segment reads at most */
  tsr_cu_event begin, end;    /* around the launches of a run */
  tsr_cu_event *trace_events; /* two per launch, when a trace was wanted */
  uint32_t trace_event_count;
  int64_t begin_ns; /* on the host's clock, when `begin` was recorded */
  /* Launches since the stream was last waited for: their number, and the latest of them. */
  uint64_t launched;
  cuda_recent recent[CUDA_RECENT];
  tsr_diag diag;        /* of the present op */
  char dead_text[1900]; /* why every call is refused, once the device is dead */
};
typedef struct cuda_exec cuda_exec;

/* launch.c */

/* Blocks in x, and where they are too many for it in y too: whole clusters, at least one block per
 * task; kernels leave alone what is too much. False when no grid holds them. */
bool tsr_cuda_grid(int64_t tasks, uint32_t cluster_blocks, uint32_t out_grid[3]);

/* Tables of all launches, once per exec. */
TSR_WARN_UNUSED tsr_status tsr_cuda_create_launches(tsr_exec *exec);
/* Whether the launch's kernel can have its tensor maps with the present dims. */
TSR_WARN_UNUSED tsr_status tsr_cuda_maps_fit(tsr_exec *exec, const exec_launch *launch,
                                             bool *out_fit);
TSR_WARN_UNUSED tsr_status tsr_cuda_link(tsr_exec *exec, exec_launch *launch);
TSR_WARN_UNUSED tsr_status tsr_cuda_clear(cuda_exec *self, void *data, uint64_t bytes);
/* Clears results, and launches where there are tasks; to the stream, or to the graph that it is
 * captured into. */
TSR_WARN_UNUSED tsr_status tsr_cuda_launch(tsr_exec *exec, const exec_launch *launch);
TSR_WARN_UNUSED tsr_status tsr_cuda_synchronize(tsr_exec *exec, const char *what);
/* For tsr_cuda_suspects: the launch went to the stream. */
void tsr_cuda_note_launch(const tsr_exec *exec, uint32_t launch);
/* Of a part, its host program's; else the exec's. */
cuda_exec *tsr_cuda_whole(const tsr_exec *exec);
/* The names of what may have failed, latest launch first. */
void tsr_cuda_suspects(const tsr_exec *exec, char *out, size_t size);

/* graph.c */

/* Runs a linked stage, as a graph when it has run before with the same link. */
TSR_WARN_UNUSED tsr_status tsr_cuda_run_stage(tsr_exec *exec, uint32_t index);
/* Tables, once per exec. */
TSR_WARN_UNUSED tsr_status tsr_cuda_create_graphs(tsr_exec *exec);
void tsr_cuda_destroy_graphs(tsr_exec *exec);

#endif
