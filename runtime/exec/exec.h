/* The inside of tsr_exec (declared in <tessera/runtime.h>).
 *
 * The launches of a program fall into stages: a stage ends where the host reads dims, because sizes
 * after it depend on what was read. Within a stage temporaries share the arena by lifetime;
 * temporaries that live across a stage's end have memory of their own ("persistent").
 *
 * A stage is `planned` for the present dims: sizes, offsets. It is `linked` for the present plan
 * and bindings: variants, task counts and pointers of all launches. A run with unchanged shapes and
 * bindings finds all stages linked and only launches. */
#ifndef TSR_RUNTIME_EXEC_EXEC_H
#define TSR_RUNTIME_EXEC_EXEC_H
#include "runtime/arena.h"
#include "runtime/diag.h"
#include "runtime/exec/plan.h"
#include "runtime/exec/trace.h"
#include "runtime/module/module.h"
#include <stdbool.h>

/* What the caller bound to an input or output. */
typedef struct exec_binding {
  bool bound;
  void *data;
  int64_t shape[TSR_MAX_RANK];
} exec_binding;

/* Memory from the exec's allocator that grows. */
typedef struct exec_memory {
  void *data;
  uint64_t bytes;
} exec_memory;

typedef struct exec_output {
  exec_binding caller;
  exec_memory own;
  int64_t shape[TSR_MAX_RANK];
  uint64_t bytes;
  bool taken;
} exec_output;

typedef struct exec_buffer {
  uint32_t first, last;             /* positions of the first and last use */
  uint32_t first_stage, last_stage; /* where these are */
  bool used;
  uint64_t bytes;  /* for the present dims */
  uint64_t offset; /* in the arena, or in its stage's persistent memory */
  void *pointer;
} exec_buffer;

typedef struct exec_launch {
  const tsr_launch_desc *desc;
  tsr_cpu_kernel function;
  uint32_t kernel, variant;
  int64_t tasks;
  void **buffers;
  int64_t *dims;
} exec_launch;

typedef struct exec_stage {
  uint32_t first_segment, segment_count;
  uint32_t first_launch, launch_count;
  uint64_t arena_bytes, temporary_bytes;
  exec_memory persistent; /* of the buffers that begin here and end in a later stage */
  bool planned, linked;
} exec_stage;

struct tsr_exec {
  const tsr_allocator *allocator;
  tsr_arena memory; /* all fixed tables below */
  tsr_module *module;
  const tsr_program *program;
  tsr_executor executor;
  tsr_pool *pool; /* NULL with a foreign executor */
  exec_binding *inputs;
  exec_output *outputs;
  exec_buffer *buffers;
  exec_launch *launches;
  exec_stage *stages;
  uint32_t stage_count;
  int64_t *dims, *new_dims;
  uint32_t *dim_origins; /* input that bound a dim, while binding */
  bool inputs_changed;
  bool results_valid;
  exec_memory arena, scratch;
  uint64_t scratch_stride;
  tsr_plan_item *plan_items; /* one per buffer */
  uint32_t *plan_buffers;
  tsr_plan_item **plan_scratch;
  tsr_trace trace;
  tsr_trace_event *trace_events; /* made when a trace is first wanted */
  tsr_exec_stats stats;
  tsr_status last_status;
  char last_error[1024];
};

/* Records the failure and returns `status`. */
tsr_status tsr_exec_fail(tsr_exec *exec, tsr_status status, const char *format, ...)
    TSR_PRINTF(3, 4);

/* At least `bytes`, aligned to TSR_PLAN_ALIGNMENT, contents lost when it moves; *out_moved is set
 * (never cleared) when it does. */
TSR_WARN_UNUSED tsr_status tsr_exec_grow(tsr_exec *exec, exec_memory *memory, uint64_t bytes,
                                         bool *out_moved);
void tsr_exec_drop(tsr_exec *exec, exec_memory *memory);

/* layout.c: stages and lifetimes, once per exec. */
TSR_WARN_UNUSED tsr_status tsr_exec_layout(tsr_exec *exec);
/* shape.c: binds the dims from the inputs' shapes. */
TSR_WARN_UNUSED tsr_status tsr_exec_bind_dims(tsr_exec *exec);
TSR_WARN_UNUSED tsr_status tsr_exec_check_dim_range(tsr_exec *exec, uint32_t dim, int64_t value,
                                                    const char *from);
/* The shape (rank entries) and bytes of a buffer for the present dims. `what` names it in errors.
 */
TSR_WARN_UNUSED tsr_status tsr_exec_shape(tsr_exec *exec, const tsr_buffer_desc *buffer,
                                          const char *what, int64_t *out_shape,
                                          uint64_t *out_bytes);
/* prepare.c: makes stage number `index` planned and linked. */
TSR_WARN_UNUSED tsr_status tsr_exec_prepare_stage(tsr_exec *exec, uint32_t index);

#endif
