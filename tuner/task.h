/* Tuning tasks: the distinct kernels of a model, each as a graph of its own that can be lowered
 * under any schedule, loaded and run apart from the model. */
#ifndef TSR_TUNER_TASK_H
#define TSR_TUNER_TASK_H
#include "ir/target.h"
#include "passes/tile/schedule.h"
#include "tuner/database.h"

/* What measuring keeps of a task from one call to the next: its inputs and what comes out right. */
typedef struct tsr_task_memo tsr_task_memo;

typedef struct tsr_task {
  tsr_ir *ir; /* one graph: inputs, constants (the bytes of the model's), the block or group, its
                 outputs */
  tsr_op block;
  uint64_t workload;
  const char *name;    /* ONNX nodes it came from, for people */
  const char *dims;    /* values that the symbolic dims are measured at, as in tsr_db_key */
  double times;        /* that the model launches it in one run, as far as that is known */
  double share;        /* of the model's time by a rough bound, later by measurement: sums to 1 */
  tsr_task_memo *memo; /* NULL: nothing is kept */
} tsr_task;

typedef struct tsr_task_list {
  tsr_task *tasks;
  uint32_t count;
  uint32_t procs; /* kernels left out since they are procs */
} tsr_task_list;

/* `blocks` is the IR behind the pass `group`, all of a model's parts; they must outlive the list.
 * Tasks of the same workload are one. Left out is what has no schedule to speak of: procs, whose
 * only knob is their grain, and blocks that are not lowered yet. A group is one task; one that is
 * no kernel of the target is left out, with its blocks. */
TSR_WARN_UNUSED tsr_status tsr_tasks_collect(const tsr_ir *const *blocks, uint32_t count,
                                             const tsr_target *target,
                                             const tsr_allocator *allocator, tsr_diag *diag,
                                             tsr_task_list *out_list);
void tsr_tasks_release(tsr_task_list *list, const tsr_allocator *allocator);
/* Is the block or group one that tsr_tasks_collect makes a task of? */
bool tsr_task_exists(const tsr_ir *ir, tsr_op block);

/* The key under which results of a block are kept: what compile and tune must agree on, so the one
 * of a block in a model is that of the block in its task. Texts are from `arena`. */
TSR_WARN_UNUSED tsr_status tsr_task_key(const tsr_ir *ir, tsr_op block, const tsr_target *target,
                                        const char *mode, tsr_arena *arena, tsr_db_key *out_key);
/* What this library would measure with now, for ranking; texts that the caller must add (ceilings,
 * commit) are "". Errors: OUT_OF_MEMORY. */
TSR_WARN_UNUSED tsr_status tsr_task_origin(const tsr_target *target, const tsr_allocator *allocator,
                                           tsr_arena *arena, tsr_db_origin *out_origin);

/* A schedule as it stands in the database: "{grain = 20000, kc = 0, .., strategy = "contract"}".
 * NULL when memory is out. */
const char *tsr_task_schedule_text(const tsr_schedule *schedule, const tsr_allocator *allocator,
                                   tsr_arena *arena);
/* FORMAT or ARGUMENT: it is none, or names a knob, value or atom that there is not. */
TSR_WARN_UNUSED tsr_status tsr_task_schedule_parse(const char *text, const tsr_allocator *allocator,
                                                   tsr_diag *diag, tsr_schedule *out_schedule);

/* The one block or group of a task's graph, the first block of a reference; 0: there is none. */
tsr_op tsr_task_block(const tsr_ir *ir);

/* The task under a schedule as the bytes of a module, made as tsr_pass_tile, tsr_pass_pack and the
 * generator of the target make it, without variants for other extents. For CUDA targets no bytes
 * are made (NULL): the kernels go through NVRTC where it is, and spilling or serialised ones are
 * refused (LIMIT). ARGUMENT: the schedule is not legal. */
TSR_WARN_UNUSED tsr_status tsr_task_build(const tsr_task *task, const tsr_target *target,
                                          const tsr_schedule *schedule,
                                          const tsr_allocator *allocator, tsr_diag *diag,
                                          void **out_bytes, size_t *out_size);
/* The same of any graph of blocks: what task.ir is copied to. It is lowered in place. `schedule`
 * NULL: the default ones. */
TSR_WARN_UNUSED tsr_status tsr_task_lower(tsr_ir *ir, const tsr_target *target,
                                          const tsr_schedule *schedule,
                                          const tsr_allocator *allocator, tsr_diag *diag,
                                          void **out_bytes, size_t *out_size);

#endif
