/* The inside of tsr_exec (declared in <tessera/runtime.h>).
 *
 * The launches of a program fall into stages: a stage ends where the host reads dims, because sizes
 * after it depend on what was read. Within a stage temporaries share the arena by lifetime;
 * temporaries that live across a stage's end have memory of their own ("persistent").
 *
 * A stage is `planned` for the present dims: sizes, offsets. It is `linked` for the present plan
 * and bindings: variants, task counts and pointers of all launches. A run with unchanged shapes and
 * bindings finds all stages linked and only launches.
 *
 * All of that is the same on every device. What differs is behind exec_ops: cpu.c, and
 * runtime/cuda/exec.c. Pointers of buffers are addresses of the device that runs the kernels. */
#ifndef TSR_RUNTIME_EXEC_EXEC_H
#define TSR_RUNTIME_EXEC_EXEC_H
#include "runtime/arena.h"
#include "runtime/diag.h"
#include "runtime/exec/plan.h"
#include "runtime/exec/trace.h"
#include "runtime/module/module.h"
#include <stdbool.h>

/* Where a bound tensor lies. */
typedef enum exec_place {
  EXEC_HOST,
  EXEC_PINNED, /* host memory that a device copies from and to by itself */
  EXEC_DEVICE,
} exec_place;

/* What the caller bound to an input or output. */
typedef struct exec_binding {
  bool bound;
  bool in_place; /* kernels use this memory; otherwise it is copied in each run */
  exec_place place;
  void *data;
  uint64_t bytes;
  uint32_t rank;
  int64_t shape[TSR_MAX_RANK];
} exec_binding;

/* Memory for buffers, from exec_ops.allocate, that grows. */
typedef struct exec_memory {
  void *data;
  uint64_t bytes;
} exec_memory;

typedef struct exec_output {
  exec_binding caller;
  exec_memory own;
  int64_t shape[TSR_MAX_RANK];
  uint64_t bytes;
  void *view; /* what tsr_exec_output shows, in view_device; from exec_ops.place_output */
  DLDevice view_device;
  bool taken;
} exec_output;

/* Where results that are not kept in memory of the kernels' device are shown. */
typedef struct exec_view {
  DLDevice device;
  bool direct; /* they are shown where they are, and there is no memory here */
  void *data;
  uint64_t bytes;
} exec_view;

/* Memory of an output on its way to the caller. */
typedef struct exec_taken {
  void *data;
  uint64_t bytes;
  void *owner;
  void (*release)(void *owner, void *data, uint64_t bytes);
} exec_taken;

typedef struct exec_buffer {
  uint32_t first, last;             /* positions of the first and last use */
  uint32_t first_stage, last_stage; /* where these are */
  bool used;
  uint64_t bytes;  /* for the present dims, of what has been pointed to */
  uint64_t offset; /* in the arena, or in its stage's persistent memory */
  void *pointer;
  uint32_t first_use, use_count; /* of a part: into tsr_exec.uses */
} exec_buffer;

/* An argument of a launch. */
typedef struct exec_use {
  uint32_t stage, launch, argument;
} exec_use;

typedef struct exec_launch {
  const tsr_launch_desc *desc;
  tsr_cpu_kernel function;  /* CPU */
  struct cuda_launch *cuda; /* CUDA */
  uint32_t kernel, variant;
  int64_t tasks;
  void **buffers;
  int64_t *dims;
  bool repointed; /* `buffers` changed since it was linked */
} exec_launch;

typedef struct exec_stage {
  uint32_t first_segment, segment_count;
  uint32_t first_launch, launch_count;
  uint64_t arena_bytes, temporary_bytes;
  exec_memory persistent; /* of the buffers that begin here and end in a later stage */
  uint64_t links;         /* how often it was linked; not when a part's buffers are repointed */
  bool planned, linked;
  bool repointed; /* a launch of it is */
} exec_stage;

/* What differs between devices. A status other than OK comes with the exec's error set. Between
 * `enter` and `leave`, which every function of the interface that may reach the device calls, lie
 * all others. */
typedef struct exec_ops {
  /* Sets exec->empty, where empty buffers point to. `destroy` also after a failed `create`; all
   * memory has been released before. */
  tsr_status (*create)(tsr_exec *exec, const tsr_exec_options *options);
  void (*destroy)(tsr_exec *exec);
  tsr_status (*enter)(tsr_exec *exec);
  void (*leave)(tsr_exec *exec);
  /* memory->data aligned to TSR_PLAN_ALIGNMENT; no memory is { NULL, 0 }. */
  tsr_status (*allocate)(tsr_exec *exec, exec_memory *memory, uint64_t bytes);
  void (*release)(tsr_exec *exec, exec_memory *memory);
  tsr_status (*clear)(tsr_exec *exec, void *data, uint64_t bytes);
  /* Whether a tensor of `device` may be bound; `what` and `name` say which in the error. */
  tsr_status (*check_device)(tsr_exec *exec, DLDevice device, const char *what, const char *name,
                             exec_place *out_place);
  /* The same for its data, which is not NULL; sets binding->in_place. */
  tsr_status (*check_data)(tsr_exec *exec, const char *what, const char *name,
                           exec_binding *binding);
  /* Where kernels find an input. For an output, whose shape and bytes are known: where kernels
   * write it, and its view. */
  tsr_status (*place_input)(tsr_exec *exec, uint32_t number, void **out_pointer);
  tsr_status (*place_output)(tsr_exec *exec, uint32_t number, void **out_pointer);
  const void *(*constant)(const tsr_exec *exec, uint32_t number);
  /* Whether the launch's kernel, whose guard holds, can run; otherwise the next variant is tried.
   * The last one is taken unasked. */
  tsr_status (*fits)(tsr_exec *exec, const exec_launch *launch, bool *out_fits);
  /* After variant, tasks, buffers and dims of the launch are set. */
  tsr_status (*link)(tsr_exec *exec, exec_launch *launch);
  /* At the begin of a run, when inputs are placed: copies those that are not used in place. */
  tsr_status (*begin)(tsr_exec *exec);
  tsr_status (*run_stage)(tsr_exec *exec, uint32_t index); /* its launches */
  /* `count` int64 elements for the host. */
  tsr_status (*read)(tsr_exec *exec, const void *const *from, uint32_t count, int64_t *out_values);
  tsr_status (*end)(tsr_exec *exec);
  /* Returns when everything is done and host memory written. */
  tsr_status (*wait)(tsr_exec *exec);
  /* After a failure: nothing is under way any more that uses the caller's memory. */
  void (*abandon)(tsr_exec *exec);
  tsr_status (*set_trace)(tsr_exec *exec, uint32_t events);
  /* Moves the memory of the output's view, which is not the caller's. */
  void (*take)(tsr_exec *exec, uint32_t number, exec_taken *out_taken);
  /* For host programs. What the execs of parts share with this one: */
  void (*share)(tsr_exec *exec, tsr_exec_options *inout_options);
  /* In order with the launches; `bytes` may be 0. `rows` rows of `row_bytes`
   * within memory of the device, which start `..._pitch` bytes from each other: */
  tsr_status (*copy)(tsr_exec *exec, void *to, uint64_t to_pitch, const void *from,
                     uint64_t from_pitch, uint64_t row_bytes, uint64_t rows);
  /* From `place` to the device; `from` has been read on return unless the place is a device's. */
  tsr_status (*upload)(tsr_exec *exec, void *to, const void *from, uint64_t bytes,
                       exec_place place);
  /* From the device to host memory, which is complete on return. */
  tsr_status (*fetch)(tsr_exec *exec, void *to, const void *from, uint64_t bytes);
  /* At least `bytes` of memory for results, unless they are shown where they are; and one of them,
   * complete after `wait`. */
  tsr_status (*open_view)(tsr_exec *exec, exec_view *view, uint64_t bytes);
  tsr_status (*show)(tsr_exec *exec, void *to, const void *from, uint64_t bytes);
  void (*close_view)(tsr_exec *exec, exec_view *view);
} exec_ops;

extern const exec_ops tsr_exec_cpu_ops, tsr_exec_cuda_ops;

struct tsr_exec {
  const tsr_allocator *allocator;
  tsr_arena memory; /* all fixed tables below */
  tsr_module *module;
  const tsr_program *program;
  const exec_ops *ops;
  struct host_exec *host; /* of a host program */
  tsr_exec *parent;       /* of a part: the exec of its host program, */
  uint32_t part;          /* whose part number this is */
  tsr_executor executor;  /* CPU */
  tsr_pool *pool;         /* NULL with a foreign executor */
  struct cuda_exec *cuda; /* CUDA */
  exec_binding *inputs;
  exec_output *outputs;
  exec_buffer *buffers;
  exec_launch *launches;
  exec_use *uses; /* of a part, by buffer */
  exec_stage *stages;
  uint32_t stage_count;
  uint32_t *check_stages; /* before which stage each check of the program can be evaluated */
  int64_t *dims, *new_dims;
  uint32_t *dim_origins; /* input that bound a dim, while binding */
  bool inputs_changed;
  bool results_valid;
  bool destroying;      /* a device that refuses everything is entered all the same */
  uint32_t pending;     /* runs that were not waited for */
  void *empty;          /* empty buffers point here */
  int64_t *read_values; /* as many as a segment reads at most */
  const void **read_places;
  int64_t begin_ns;
  exec_memory own_arena, own_scratch;
  exec_memory *arena;     /* the parent's, if there is one: parts do not run at the same time */
  void *linked_arena;     /* where it was when launches were linked */
  unsigned char *scratch; /* CPU; likewise the parent's */
  uint64_t scratch_stride;
  tsr_plan_item *plan_items; /* one per buffer */
  uint32_t *plan_buffers;
  tsr_plan_item **plan_scratch;
  tsr_trace trace;
  tsr_trace_event *trace_events; /* made when a trace is first wanted */
  tsr_exec_stats stats;
  tsr_status last_status;
  char last_error[2048];
};

/* Records the failure and returns `status`. */
tsr_status tsr_exec_fail(tsr_exec *exec, tsr_status status, const char *format, ...)
    TSR_PRINTF(3, 4);

/* At least `bytes`, aligned to TSR_PLAN_ALIGNMENT, contents lost when it moves; *out_moved is set
 * (never cleared) when it does. */
TSR_WARN_UNUSED tsr_status tsr_exec_grow(tsr_exec *exec, exec_memory *memory, uint64_t bytes,
                                         bool *out_moved);
/* All stages are to be linked again. */
void tsr_exec_unlink(tsr_exec *exec);

/* layout.c: stages and lifetimes, once per exec. */
TSR_WARN_UNUSED tsr_status tsr_exec_layout(tsr_exec *exec);
/* shape.c: binds the dims from the inputs' shapes. */
TSR_WARN_UNUSED tsr_status tsr_exec_bind_dims(tsr_exec *exec);
TSR_WARN_UNUSED tsr_status tsr_exec_check_dim_range(tsr_exec *exec, uint32_t dim, int64_t value,
                                                    const char *from);
/* Evaluates the program's checks whose dims are all known when stage `index` begins, and not
 * before. */
TSR_WARN_UNUSED tsr_status tsr_exec_check_dims(tsr_exec *exec, uint32_t index);
/* The shape (rank entries) and bytes of a buffer for the present dims. `what` names it in errors.
 */
TSR_WARN_UNUSED tsr_status tsr_exec_shape(tsr_exec *exec, const tsr_buffer_desc *buffer,
                                          const char *what, int64_t *out_shape,
                                          uint64_t *out_bytes);
/* run.c: one run of a part, whose dims and inputs are set; tsr_host_place_output is asked for the
 * memory of its outputs. */
TSR_WARN_UNUSED tsr_status tsr_exec_run_part(tsr_exec *exec);
/* run.c: a new event of the present run, filled in but for its times. */
tsr_trace_event *tsr_exec_trace(tsr_exec *exec, const exec_launch *launch);
/* prepare.c: makes stage number `index` planned and linked. */
TSR_WARN_UNUSED tsr_status tsr_exec_prepare_stage(tsr_exec *exec, uint32_t index);
/* The buffer of a part is elsewhere from now on; what is linked stays so. */
void tsr_exec_repoint(tsr_exec *exec, uint32_t buffer, void *pointer);
/* exec.c: an exec of part number `part` of the parent's module. */
TSR_WARN_UNUSED tsr_status tsr_exec_create_part(tsr_exec *parent, uint32_t part,
                                                const tsr_exec_options *options,
                                                tsr_exec **out_exec);
/* bind.c: checks a tensor for a port, or for an item of one, and fills in the binding. */
TSR_WARN_UNUSED tsr_status tsr_exec_check_tensor(tsr_exec *exec, const char *kind,
                                                 const tsr_port_info *info, uint32_t first_dim,
                                                 bool check_ranges, const DLTensor *tensor,
                                                 exec_binding *binding);

#endif
