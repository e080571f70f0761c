#include "runtime/exec/exec.h"
#include "runtime/host/host.h"
#include <stdio.h>
#include <string.h>

static tsr_status plan_overflow(tsr_exec *exec) {
  return tsr_exec_fail(exec, TSR_ERR_SHAPE, "the memory for intermediate results overflows");
}

/* Sizes of the temporaries that begin in this stage; those that end in it too become items. */
static tsr_status size_temporaries(tsr_exec *exec, uint32_t index, uint32_t *out_items,
                                   uint64_t *out_persistent) {
  exec_stage *stage = &exec->stages[index];
  uint64_t persistent = 0;
  uint32_t items = 0;
  stage->temporary_bytes = 0;
  for (uint32_t i = 0; i < exec->program->buffer_count; i++) {
    exec_buffer *state = &exec->buffers[i];
    int64_t shape[TSR_MAX_RANK];
    uint64_t rounded;
    if (exec->program->buffers[i].kind != TSR_BUFFER_TEMPORARY || !state->used ||
        state->first_stage != index)
      continue;
    TSR_TRY(tsr_exec_shape(exec, &exec->program->buffers[i], "an intermediate result", shape,
                           &state->bytes));
    if (tsr_plan_round(state->bytes, &rounded) != TSR_OK ||
        __builtin_add_overflow(stage->temporary_bytes, rounded, &stage->temporary_bytes))
      return plan_overflow(exec);
    if (state->bytes == 0)
      continue;
    if (state->last_stage != index) {
      state->offset = persistent;
      persistent += rounded; /* below temporary_bytes, which did not overflow */
      continue;
    }
    exec->plan_buffers[items] = i;
    exec->plan_items[items++] = (tsr_plan_item){state->bytes, state->first, state->last, 0};
  }
  *out_items = items;
  *out_persistent = persistent;
  return TSR_OK;
}

/* When memory is out, what other stages had is gone too: all are planned anew. */
static tsr_status grow_arena(tsr_exec *exec, exec_stage *stage, uint64_t persistent) {
  bool moved = false;
  tsr_status status = tsr_exec_grow(exec, exec->arena, stage->arena_bytes, &moved);
  if (status == TSR_OK)
    status = tsr_exec_grow(exec, &stage->persistent, persistent, &moved);
  if (moved)
    tsr_exec_unlink(exec);
  exec->linked_arena = exec->arena->data;
  for (uint32_t i = 0; status != TSR_OK && i < exec->stage_count; i++)
    exec->stages[i].planned = false;
  return status;
}

static tsr_status plan_stage(tsr_exec *exec, uint32_t index) {
  exec_stage *stage = &exec->stages[index];
  uint64_t persistent = 0;
  uint32_t items = 0;
  TSR_TRY(tsr_exec_check_dims(exec, index));
  TSR_TRY(size_temporaries(exec, index, &items, &persistent));
  if (tsr_plan_arena(exec->plan_items, items, exec->plan_scratch, &stage->arena_bytes) != TSR_OK)
    return plan_overflow(exec);
  for (uint32_t i = 0; i < items; i++)
    exec->buffers[exec->plan_buffers[i]].offset = exec->plan_items[i].offset;
  TSR_TRY(grow_arena(exec, stage, persistent));
  stage->planned = true;
  stage->linked = false;
  exec->stats.plans++;
  return TSR_OK;
}

/* ---- Linking ---- */

static tsr_status check_bound_output(tsr_exec *exec, uint32_t number, uint32_t rank) {
  const exec_output *output = &exec->outputs[number];
  for (uint32_t d = 0; d < rank; d++)
    if (output->caller.shape[d] != output->shape[d])
      return tsr_exec_fail(exec, TSR_ERR_SHAPE,
                           "output '%s': dim %u of the bound tensor is %lld, the result has %lld",
                           exec->program->outputs[number].name, d,
                           (long long)output->caller.shape[d], (long long)output->shape[d]);
  return TSR_OK;
}

/* Where the address changes, later stages are unlinked already: dims or bindings changed. */
static tsr_status place_output(tsr_exec *exec, uint32_t number, void **out_pointer) {
  uint32_t index = exec->program->outputs[number].buffer;
  const tsr_buffer_desc *buffer = &exec->program->buffers[index];
  exec_output *output = &exec->outputs[number];
  char what[300];
  (void)snprintf(what, sizeof what, "output '%.280s'", exec->program->outputs[number].name);
  TSR_TRY(tsr_exec_shape(exec, buffer, what, output->shape, &output->bytes));
  exec->buffers[index].bytes = output->bytes;
  if (output->caller.bound)
    TSR_TRY(check_bound_output(exec, number, buffer->rank));
  TSR_TRY(exec->parent != NULL ? tsr_host_place_output(exec, number, out_pointer)
                               : exec->ops->place_output(exec, number, out_pointer));
  if (!exec->buffers[index].used && output->bytes != 0)
    TSR_TRY(exec->ops->clear(exec, *out_pointer, output->bytes));
  return TSR_OK;
}

/* Pointers of the buffers that a launch of this stage may use. */
static tsr_status point_buffers(tsr_exec *exec, uint32_t index) {
  const tsr_program *p = exec->program;
  for (uint32_t i = 0; i < p->buffer_count; i++) {
    exec_buffer *state = &exec->buffers[i];
    const tsr_buffer_desc *buffer = &p->buffers[i];
    unsigned char *base;
    switch (buffer->kind) {
    case TSR_BUFFER_INPUT:
      TSR_TRY(exec->ops->place_input(exec, buffer->index, &state->pointer));
      state->bytes = exec->inputs[buffer->index].bytes;
      break;
    case TSR_BUFFER_CONSTANT:
      state->pointer = (void *)(uintptr_t)exec->ops->constant(exec, buffer->index);
      state->bytes = p->constants[buffer->index].bytes;
      break;
    case TSR_BUFFER_OUTPUT:
      if (state->first_stage == index)
        TSR_TRY(place_output(exec, buffer->index, &state->pointer));
      break;
    default:
      if (!state->used || state->first_stage > index)
        continue;
      base = (unsigned char *)(state->first_stage == state->last_stage
                                   ? exec->arena->data
                                   : exec->stages[state->first_stage].persistent.data);
      state->pointer = state->bytes != 0 ? base + state->offset : NULL;
    }
    if (state->pointer == NULL) /* kernels with an empty operand get an address all the same */
      state->pointer = exec->empty;
  }
  return TSR_OK;
}

static tsr_status eval(tsr_exec *exec, tsr_code code, uint32_t kernel, int64_t *out) {
  const tsr_program *p = exec->program;
  tsr_status status =
      tsr_index_eval(p->steps + code.first, code.count, exec->dims, p->dim_count, out);
  if (status == TSR_OK)
    return TSR_OK;
  return tsr_exec_fail(exec, TSR_ERR_SHAPE, "kernel '%s': its guard or grid overflows",
                       p->kernels[kernel].name);
}

/* The last variant has no guard, so one is always found. */
static tsr_status choose_variant(tsr_exec *exec, exec_launch *launch) {
  const tsr_program *p = exec->program;
  uint32_t last = launch->desc->variant_count - 1;
  for (uint32_t i = 0; i <= last; i++) {
    const tsr_variant_desc *variant = &p->variants[launch->desc->first_variant + i];
    int64_t taken = 1;
    bool fits = false;
    if (variant->guard.count != 0)
      TSR_TRY(eval(exec, variant->guard, variant->kernel, &taken));
    launch->variant = i;
    launch->kernel = variant->kernel;
    if (taken != 0 && i != last)
      TSR_TRY(exec->ops->fits(exec, launch, &fits));
    if (fits)
      break;
  }
  return TSR_OK;
}

static tsr_status count_tasks(tsr_exec *exec, exec_launch *launch) {
  const tsr_variant_desc *variant =
      &exec->program->variants[launch->desc->first_variant + launch->variant];
  int64_t extents[4], tasks = 1;
  for (uint32_t d = 0; d < variant->grid_rank; d++) {
    TSR_TRY(eval(exec, variant->grid[d], variant->kernel, &extents[d]));
    if (extents[d] == 0)
      tasks = 0;
  }
  for (uint32_t d = 0; tasks != 0 && d < variant->grid_rank; d++)
    if (extents[d] < 0 || __builtin_mul_overflow(tasks, extents[d], &tasks))
      return tsr_exec_fail(exec, TSR_ERR_SHAPE, "kernel '%s': its grid is negative or overflows",
                           exec->program->kernels[launch->kernel].name);
  launch->tasks = tasks;
  return TSR_OK;
}

static tsr_status link_launch(tsr_exec *exec, exec_launch *launch) {
  const tsr_program *p = exec->program;
  const tsr_kernel_desc *kernel;
  TSR_TRY(choose_variant(exec, launch));
  TSR_TRY(count_tasks(exec, launch));
  kernel = &p->kernels[launch->kernel];
  for (uint32_t i = 0; i < launch->desc->argument_count; i++)
    launch->buffers[i] = exec->buffers[p->arguments[launch->desc->first_argument + i]].pointer;
  launch->repointed = false;
  for (uint32_t i = 0; i < kernel->dim_count; i++)
    launch->dims[i] = exec->dims[p->kernel_dims[kernel->first_dim + i]];
  return exec->ops->link(exec, launch);
}

/* ---- Parts of a host program: other memory for inputs and outputs in every run ---- */

void tsr_exec_repoint(tsr_exec *exec, uint32_t buffer, void *pointer) {
  exec_buffer *state = &exec->buffers[buffer];
  pointer = pointer != NULL ? pointer : exec->empty;
  if (state->pointer == pointer)
    return;
  state->pointer = pointer;
  for (uint32_t i = 0; i < state->use_count; i++) {
    const exec_use *use = &exec->uses[state->first_use + i];
    exec_launch *launch = &exec->launches[use->launch];
    launch->buffers[use->argument] = pointer;
    launch->repointed = exec->stages[use->stage].repointed = true;
  }
}

static tsr_status repoint_outputs(tsr_exec *exec, uint32_t index) {
  const tsr_program *p = exec->program;
  for (uint32_t i = 0; i < p->output_count; i++) {
    void *pointer;
    if (exec->buffers[p->outputs[i].buffer].first_stage != index)
      continue;
    TSR_TRY(place_output(exec, i, &pointer));
    tsr_exec_repoint(exec, p->outputs[i].buffer, pointer);
  }
  return TSR_OK;
}

static tsr_status relink_repointed(tsr_exec *exec, exec_stage *stage) {
  for (uint32_t i = 0; i < stage->launch_count; i++) {
    exec_launch *launch = &exec->launches[stage->first_launch + i];
    if (launch->repointed)
      TSR_TRY(exec->ops->link(exec, launch));
    launch->repointed = false;
  }
  stage->repointed = false;
  return TSR_OK;
}

/* Of a stage that stays linked. */
static tsr_status repoint_stage(tsr_exec *exec, uint32_t index) {
  exec_stage *stage = &exec->stages[index];
  if (exec->parent == NULL)
    return TSR_OK;
  TSR_TRY(repoint_outputs(exec, index));
  return stage->repointed ? relink_repointed(exec, stage) : TSR_OK;
}

tsr_status tsr_exec_prepare_stage(tsr_exec *exec, uint32_t index) {
  exec_stage *stage = &exec->stages[index];
  if (exec->linked_arena != exec->arena->data) { /* another part moved it */
    tsr_exec_unlink(exec);
    exec->linked_arena = exec->arena->data;
  }
  if (!stage->planned || stage->arena_bytes > exec->arena->bytes)
    TSR_TRY(plan_stage(exec, index));
  if (stage->linked)
    return repoint_stage(exec, index);
  TSR_TRY(point_buffers(exec, index));
  for (uint32_t i = 0; i < stage->launch_count; i++)
    TSR_TRY(link_launch(exec, &exec->launches[stage->first_launch + i]));
  stage->linked = true;
  stage->repointed = false;
  stage->links++;
  return TSR_OK;
}
