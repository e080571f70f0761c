/* Tuning tasks: the distinct kernels of a model, each as a graph of its own that can be lowered
 * under any schedule, loaded and run apart from the model. */
#ifndef TSR_TUNER_TASK_H
#define TSR_TUNER_TASK_H
#include "ir/target.h"
#include "passes/tile/space.h"
#include "tuner/database.h"

typedef struct tsr_task {
  tsr_ir *ir; /* one graph: inputs, constants (random where the block's are large), the block, its
                 outputs */
  tsr_op block;
  uint64_t workload;
  const char *name; /* ONNX nodes it came from, for people */
  const char *dims; /* values that the symbolic dims are measured at, as in tsr_db_key */
  double times;     /* that the model launches it in one run */
  double share;     /* of the model's time by the analytic model, later by measurement: sums to 1 */
} tsr_task;

typedef struct tsr_task_list {
  tsr_task *tasks;
  uint32_t count;
} tsr_task_list;

/* `blocks` is the IR behind the pass `storage`, all of a model's parts. Tasks of the same workload
 * are one; those that no schedule can change (procs without knobs) are left out. */
TSR_WARN_UNUSED tsr_status tsr_tasks_collect(const tsr_ir *const *blocks, uint32_t count,
                                             const tsr_target *target,
                                             const tsr_allocator *allocator, tsr_diag *diag,
                                             tsr_task_list *out_list);
void tsr_tasks_release(tsr_task_list *list, const tsr_allocator *allocator);

/* The key under which results of a block are kept: what compile and tune must agree on. Texts are
 * from `arena`. */
TSR_WARN_UNUSED tsr_status tsr_task_key(const tsr_ir *ir, tsr_op block, const tsr_target *target,
                                        const char *mode, tsr_arena *arena, tsr_db_key *out_key);

/* The task under a schedule as the bytes of a module, made as tsr_pass_tile, tsr_pass_pack and the
 * generator of the target make it. */
TSR_WARN_UNUSED tsr_status tsr_task_build(const tsr_task *task, const tsr_target *target,
                                          const tsr_schedule *schedule,
                                          const tsr_allocator *allocator, tsr_diag *diag,
                                          void **out_bytes, size_t *out_size);

#endif
