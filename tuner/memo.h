/* What is kept of a task between calls of tsr_measure: its inputs, and the results that are right
 * with how far off they may be, in memory of the system's that has no name and that child processes
 * see. */
#ifndef TSR_TUNER_MEMO_H
#define TSR_TUNER_MEMO_H
#include "tuner/task.h"

struct tsr_task_memo {
  int fd; /* -1: not made yet */
};

TSR_WARN_UNUSED tsr_status tsr_task_memo_create(const tsr_allocator *allocator, tsr_diag *diag,
                                                tsr_task_memo **out_memo);
void tsr_task_memo_destroy(tsr_task_memo *memo, const tsr_allocator *allocator); /* NULL too */

/* An input or output of a task, its dims at their hints. */
typedef struct tsr_memo_tensor {
  const char *name;
  tsr_dtype dtype;
  uint32_t rank;
  int64_t *dims;
  int64_t count;   /* of elements */
  size_t bytes;    /* of the tensor itself */
  size_t at;       /* in the memory: of an input its data; of an output the reference, f64 for
                      floats, else of its own dtype */
  size_t bound_at; /* of an output: f64, how far each element may be from the reference */
  size_t reference_bytes;
} tsr_memo_tensor;

typedef struct tsr_memo_layout {
  tsr_memo_tensor *inputs, *outputs;
  uint32_t input_count, output_count;
  size_t bytes; /* of the whole */
} tsr_memo_layout;

/* Of a constant with known dims; 0: it has others. */
double tsr_memo_constant_bytes(const tsr_ir *ir, tsr_value value);

/* Of the graph that tsr_ir_isolate makes. LIMIT: too large to count. */
TSR_WARN_UNUSED tsr_status tsr_memo_layout_make(const tsr_ir *ir, tsr_arena *arena, tsr_diag *diag,
                                                tsr_memo_layout *out_layout);

/* Fills the inputs' part of the memory at `base`: reals of both signs (`positive`: of one), never
 * 0; integers small, and positions inside of what they point into. The same every time. */
void tsr_memo_fill_inputs(const tsr_ir *ir, tsr_op block, const tsr_memo_layout *layout,
                          bool positive, void *base);

/* Appended to the graph in place of `block` and its outputs: a block that computes in f64 what the
 * other one does, and beside each result how far from it a right kernel may be (reference.c says
 * how). Outputs are y0, e0, y1, e1 .. UNSUPPORTED: for an op of the body there is no bound. */
TSR_WARN_UNUSED tsr_status tsr_reference_block(tsr_ir *ir, tsr_op block, tsr_diag *diag);

#endif
