/* The child that computes a task's reference: into the memory of its memo go inputs, results and
 * how far from them a right kernel may be. */
#include "ir/copy.h"
#include "tuner/measure_child.h"
#include "tuner/process.h"
#include "tuner/runner.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Simple ones, tried in order: vectors along the last parallel variable, several rows at a time
 * along the one before, so that what is reduced is not read for each of them; vectors alone; single
 * elements. */
typedef enum simplicity { ROWS_OF_VECTORS, VECTORS, ELEMENTS } simplicity;

static tsr_schedule schedule_of(const tsr_ir *ir, tsr_op block, simplicity simple) {
  enum { LANES = 16, ROWS = 4, GRAIN = 20000 };
  tsr_schedule schedule = {.strategy = TSR_STRATEGY_NEST};
  const tsr_region_data *body = tsr_region_get(ir, tsr_op_get(ir, block)->regions[0]);
  int64_t last = -1;
  for (uint32_t i = 0; i < body->arg_count; i++)
    last += tsr_value_get(ir, body->args[i])->role == TSR_ROLE_PAR;
  const bool vectors = simple < ELEMENTS && last >= 0;
  const bool rows = simple == ROWS_OF_VECTORS && last >= 1;
  schedule.knobs[TSR_KNOB_VECTOR] = vectors ? last : -1;
  schedule.knobs[TSR_KNOB_LANES] = vectors ? LANES : 1;
  schedule.knobs[TSR_KNOB_FOLD] = -1;
  schedule.knobs[TSR_KNOB_SIDE] = rows ? last - 1 : -1;
  schedule.knobs[TSR_KNOB_ROWS] = rows ? ROWS : 1;
  schedule.knobs[TSR_KNOB_UNROLL] = 1;
  schedule.knobs[TSR_KNOB_SPLIT] = 1;
  schedule.knobs[TSR_KNOB_GRAIN] = GRAIN;
  return schedule;
}

static tsr_status lower_copy(const tsr_bench *b, const tsr_ir *reference, simplicity simple,
                             tsr_diag *diag, void **out_bytes, size_t *out_size) {
  tsr_ir *ir;
  if (tsr_ir_copy_in_order(reference, b->allocator, &ir) != TSR_OK)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  /* That of a group is a block for each of its own, which one schedule does not fit. */
  const bool group = tsr_op_get(b->task->ir, b->task->block)->code == TSR_OP_GROUP;
  tsr_schedule schedule = {0};
  if (!group)
    schedule = schedule_of(ir, tsr_task_block(ir), simple);
  const tsr_status status = tsr_task_lower(ir, b->target, group ? NULL : &schedule, b->allocator,
                                           diag, out_bytes, out_size);
  tsr_ir_destroy(ir);
  return status;
}

static tsr_status lower_simply(const tsr_bench *b, const tsr_ir *reference, tsr_diag *diag,
                               void **out_bytes, size_t *out_size) {
  tsr_status status = TSR_OK;
  for (int simple = ROWS_OF_VECTORS; simple <= ELEMENTS; simple++) {
    tsr_diag why = {0};
    status = lower_copy(b, reference, (simplicity)simple, &why, out_bytes, out_size);
    const bool once = tsr_op_get(b->task->ir, b->task->block)->code == TSR_OP_GROUP;
    if (status != TSR_OK && (once || simple == ELEMENTS))
      *diag = why;
    if (status == TSR_OK || once)
      return status;
  }
  return status;
}

static tsr_status build(const tsr_bench *b, tsr_diag *diag, void **out_bytes, size_t *out_size) {
  tsr_ir *ir;
  if (tsr_ir_copy_in_order(b->task->ir, b->allocator, &ir) != TSR_OK)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  tsr_status status = tsr_reference_block(ir, tsr_task_block(ir), diag);
  if (status == TSR_OK)
    status = lower_simply(b, ir, diag, out_bytes, out_size);
  tsr_ir_destroy(ir);
  return status;
}

/* The results of the last run to where the layout wants them. False: it has no such results. */
static bool keep_results(const tsr_memo_layout *layout, const tsr_runner *runner, char *memo) {
  for (uint32_t i = 0; i < layout->output_count; i++) {
    const tsr_memo_tensor *output = &layout->outputs[i];
    DLTensor values, bounds;
    if (tsr_exec_output(runner->exec, 2 * i, &values) != TSR_OK ||
        tsr_exec_output(runner->exec, 2 * i + 1, &bounds) != TSR_OK)
      return false;
    memcpy(memo + output->at, values.data, output->reference_bytes);
    memcpy(memo + output->bound_at, bounds.data, (size_t)output->count * sizeof(double));
  }
  return true;
}

/* Of each result at least half is a number with a bound: else it would say too little. */
static bool says_enough(const tsr_memo_layout *layout, const char *memo) {
  for (uint32_t i = 0; i < layout->output_count; i++) {
    const tsr_memo_tensor *output = &layout->outputs[i];
    const double *bounds = (const double *)(const void *)(memo + output->bound_at);
    const double *values = (const double *)(const void *)(memo + output->at);
    const bool real = tsr_dtype_class_of(output->dtype) == TSR_CLASS_FLOAT;
    int64_t good = 0;
    for (int64_t k = 0; k < output->count; k++)
      good += isfinite(bounds[k]) && (!real || !isnan(values[k]));
    if (2 * good < output->count)
      return false;
  }
  return true;
}

static tsr_status compute(const tsr_bench *b, const tsr_executor *executor, int fd, size_t size,
                          bool positive, char *memo, tsr_arena *arena, tsr_diag *diag,
                          bool *out_enough) {
  tsr_runner runner;
  tsr_runner_data data;
  tsr_message message;
  *out_enough = false;
  tsr_memo_fill_inputs(b->task->ir, b->task->block, &b->layout, positive, memo);
  if (!tsr_runner_data_make(&b->layout, memo, arena, b->allocator, &data))
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "no memory for the kernel's operands");
  tsr_status status = tsr_runner_open(fd, size, &b->layout, &data, false, executor, b->allocator,
                                      &runner, &message);
  if (status != TSR_OK)
    return tsr_fail(diag, status, "the reference cannot be loaded: %.500s", message.text);
  status = tsr_exec_run(runner.exec);
  if (status != TSR_OK)
    return tsr_fail(diag, status, "the reference does not run: %.500s",
                    tsr_exec_last_error(runner.exec));
  if (!keep_results(&b->layout, &runner, memo))
    return tsr_fail(diag, TSR_ERR_INTERNAL, "the reference has other results than the kernel");
  *out_enough = says_enough(&b->layout, memo);
  tsr_runner_close(&runner);
  return TSR_OK;
}

static tsr_status make(const tsr_bench *b, tsr_diag *diag) {
  tsr_arena arena;
  tsr_pool *pool;
  void *bytes;
  size_t size;
  bool enough = false;
  tsr_arena_init(&arena, b->allocator);
  char *memo = mmap(NULL, b->layout.bytes + 1, PROT_READ | PROT_WRITE, MAP_SHARED, b->memo_fd, 0);
  if (memo == MAP_FAILED || tsr_pool_create(0, b->allocator, &pool) != TSR_OK)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "no memory for the reference");
  TSR_TRY(build(b, diag, &bytes, &size));
  const int fd = tsr_memory_file();
  if (fd < 0 || !tsr_child_write(fd, bytes, size))
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "no memory for the reference");
  const tsr_executor executor = tsr_pool_executor(pool);
  for (int positive = 0; positive < 2 && !enough; positive++)
    TSR_TRY(compute(b, &executor, fd, size, positive == 1, memo, &arena, diag, &enough));
  return enough ? TSR_OK
                : tsr_fail(diag, TSR_ERR_UNSUPPORTED,
                           "random operands give no numbers with a bound: results cannot be "
                           "checked");
}

/* The process ends with it: what it holds goes back to the system. */
void tsr_bench_reference(void *context, int fd) {
  tsr_diag diag = {0};
  const tsr_status status = make(context, &diag);
  diag.status = status;
  (void)tsr_child_write(fd, &diag, sizeof diag);
}
