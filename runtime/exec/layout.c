#include "runtime/exec/exec.h"
#include "runtime/module/program_check.h"

static tsr_status out_of_memory(tsr_exec *exec) {
  return tsr_exec_fail(exec, TSR_ERR_OUT_OF_MEMORY, "out of memory while creating an exec");
}

/* A stage ends with the reads of its last segment. An empty last stage takes what is only known
 * after the last read. */
static void find_stages(tsr_exec *exec) {
  const tsr_program *p = exec->program;
  exec_stage *stage = &exec->stages[0];
  exec->stage_count = 1;
  for (uint32_t i = 0; i < p->segment_count; i++) {
    stage->segment_count++;
    stage->launch_count += p->segments[i].launch_count;
    if (p->segments[i].read_count == 0)
      continue;
    stage[1].first_segment = i + 1;
    stage[1].first_launch = stage->first_launch + stage->launch_count;
    stage++;
    exec->stage_count++;
  }
}

static void use_buffer(tsr_exec *exec, uint32_t index, uint32_t position, uint32_t stage) {
  exec_buffer *buffer = &exec->buffers[index];
  if (!buffer->used) {
    buffer->used = true;
    buffer->first = position;
    buffer->first_stage = stage;
  }
  buffer->last = position;
  buffer->last_stage = stage;
}

/* Positions count launches, and one more for the reads at the end of each segment. */
static void find_lifetimes(tsr_exec *exec) {
  const tsr_program *p = exec->program;
  uint32_t position = 0;
  for (uint32_t stage = 0; stage < exec->stage_count; stage++) {
    for (uint32_t s = 0; s < exec->stages[stage].segment_count; s++) {
      const tsr_segment_desc *segment = &p->segments[exec->stages[stage].first_segment + s];
      for (uint32_t i = 0; i < segment->launch_count; i++, position++) {
        const tsr_launch_desc *launch = &p->launches[segment->first_launch + i];
        for (uint32_t a = 0; a < launch->argument_count; a++)
          use_buffer(exec, p->arguments[launch->first_argument + a], position, stage);
      }
      for (uint32_t i = 0; i < segment->read_count; i++)
        use_buffer(exec, p->reads[segment->first_read + i].buffer, position, stage);
      position++;
    }
  }
}

static uint32_t stage_of_segment(const tsr_exec *exec, uint32_t segment) {
  uint32_t stage = exec->stage_count - 1;
  while (stage > 0 && exec->stages[stage].first_segment > segment)
    stage--;
  return stage;
}

/* What happens in the stage in which its dims are known: checks; and outputs that no launch touches
 * (nothing to compute for them) still get shape and memory. */
static tsr_status place_unused_outputs(tsr_exec *exec) {
  const tsr_program *p = exec->program;
  uint32_t *known = (uint32_t *)tsr_arena_alloc_array(&exec->memory, p->dim_count, sizeof *known);
  if (known == NULL)
    return out_of_memory(exec);
  tsr_program_dim_segments(p, known);
  for (uint32_t i = 0; i < p->check_count; i++)
    exec->check_stages[i] =
        stage_of_segment(exec, tsr_program_code_segment(p, p->checks[i].holds, known));
  for (uint32_t i = 0; i < p->output_count; i++) {
    const tsr_buffer_desc *buffer = &p->buffers[p->outputs[i].buffer];
    exec_buffer *state = &exec->buffers[p->outputs[i].buffer];
    uint32_t segment = 0;
    for (uint32_t d = 0; d < buffer->rank; d++) {
      uint32_t s = tsr_program_code_segment(p, p->codes[buffer->first_dim + d], known);
      segment = s > segment ? s : segment;
    }
    if (!state->used)
      state->first_stage = state->last_stage = stage_of_segment(exec, segment);
  }
  return TSR_OK;
}

static uint32_t largest_dim_count(const tsr_program *p, const tsr_launch_desc *launch) {
  uint32_t largest = 0;
  for (uint32_t v = 0; v < launch->variant_count; v++) {
    uint32_t count = p->kernels[p->variants[launch->first_variant + v].kernel].dim_count;
    largest = count > largest ? count : largest;
  }
  return largest;
}

static tsr_status create_launches(tsr_exec *exec) {
  const tsr_program *p = exec->program;
  for (uint32_t i = 0; i < p->launch_count; i++) {
    exec_launch *launch = &exec->launches[i];
    launch->desc = &p->launches[i];
    launch->buffers = (void **)tsr_arena_alloc_array(&exec->memory, launch->desc->argument_count,
                                                     sizeof(*launch->buffers));
    launch->dims = (int64_t *)tsr_arena_alloc_array(
        &exec->memory, largest_dim_count(p, launch->desc), sizeof(*launch->dims));
    if (launch->buffers == NULL || launch->dims == NULL)
      return out_of_memory(exec);
  }
  return TSR_OK;
}

/* Where each buffer is an argument, so that other pointers need no new link. */
static tsr_status find_uses(tsr_exec *exec) {
  const tsr_program *p = exec->program;
  uint32_t total = 0;
  for (uint32_t i = 0; i < p->launch_count; i++)
    for (uint32_t a = 0; a < p->launches[i].argument_count; a++, total++)
      exec->buffers[p->arguments[p->launches[i].first_argument + a]].first_use++;
  exec->uses = (exec_use *)tsr_arena_alloc_array(&exec->memory, total, sizeof *exec->uses);
  if (exec->uses == NULL)
    return out_of_memory(exec);
  total = 0;
  for (uint32_t i = 0; i < p->buffer_count; i++) {
    uint32_t count = exec->buffers[i].first_use;
    exec->buffers[i].first_use = total;
    total += count;
  }
  for (uint32_t stage = 0; stage < exec->stage_count; stage++)
    for (uint32_t l = 0; l < exec->stages[stage].launch_count; l++) {
      uint32_t launch = exec->stages[stage].first_launch + l;
      for (uint32_t a = 0; a < p->launches[launch].argument_count; a++) {
        exec_buffer *buffer = &exec->buffers[p->arguments[p->launches[launch].first_argument + a]];
        exec->uses[buffer->first_use + buffer->use_count++] = (exec_use){stage, launch, a};
      }
    }
  return TSR_OK;
}

static uint32_t most_reads(const tsr_program *p) {
  uint32_t most = 0;
  for (uint32_t i = 0; i < p->segment_count; i++)
    most = p->segments[i].read_count > most ? p->segments[i].read_count : most;
  return most;
}

static bool create_tables(tsr_exec *exec) {
  const tsr_program *p = exec->program;
  tsr_arena *arena = &exec->memory;
#define TABLE(field, count)                                                                        \
  ((exec->field) = tsr_arena_alloc_array(arena, (count), sizeof(*exec->field)))
  return TABLE(inputs, p->input_count) != NULL && TABLE(outputs, p->output_count) != NULL &&
         TABLE(buffers, p->buffer_count) != NULL && TABLE(launches, p->launch_count) != NULL &&
         TABLE(stages, (size_t)p->segment_count + 1) != NULL &&
         TABLE(check_stages, p->check_count) != NULL && TABLE(dims, p->dim_count) != NULL &&
         TABLE(new_dims, p->dim_count) != NULL && TABLE(dim_origins, p->dim_count) != NULL &&
         TABLE(plan_items, p->buffer_count) != NULL &&
         TABLE(plan_buffers, p->buffer_count) != NULL &&
         TABLE(plan_scratch, (size_t)p->buffer_count * 2) != NULL &&
         TABLE(read_values, most_reads(p)) != NULL && TABLE(read_places, most_reads(p)) != NULL;
#undef TABLE
}

tsr_status tsr_exec_layout(tsr_exec *exec) {
  if (!create_tables(exec))
    return out_of_memory(exec);
  if (exec->program->host_region_count != 0) /* its ports are no buffers, and it launches nothing */
    return TSR_OK;
  find_stages(exec);
  find_lifetimes(exec);
  TSR_TRY(place_unused_outputs(exec));
  TSR_TRY(create_launches(exec));
  return exec->parent != NULL ? find_uses(exec) : TSR_OK;
}
