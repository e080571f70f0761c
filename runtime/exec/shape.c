#include "runtime/exec/exec.h"
#include "runtime/module/program_check.h"
#include <stdio.h>
#include <string.h>

enum { UNBOUND = UINT32_MAX };

tsr_status tsr_exec_check_dim_range(tsr_exec *exec, uint32_t dim, int64_t value, const char *from) {
  const tsr_dim_desc *desc = &exec->program->dims[dim];
  if (value >= desc->lo && value <= desc->hi)
    return TSR_OK;
  return tsr_exec_fail(exec, TSR_ERR_SHAPE,
                       "%s: dim '%s' is %lld, the module was compiled for %lld..%lld", from,
                       desc->name, (long long)value, (long long)desc->lo, (long long)desc->hi);
}

/* The first input whose shape names a dim gives its value; the others must agree. */
static tsr_status bind_plain_dims(tsr_exec *exec, uint32_t input) {
  const tsr_program *p = exec->program;
  const tsr_buffer_desc *buffer = &p->buffers[p->inputs[input].buffer];
  for (uint32_t d = 0; d < buffer->rank; d++) {
    int64_t dim = tsr_program_plain_dim(p, p->codes[buffer->first_dim + d]);
    int64_t value = exec->inputs[input].shape[d];
    uint32_t origin;
    if (dim < 0 || p->dims[dim].source == TSR_DIM_FROM_CALLER)
      continue;
    origin = exec->dim_origins[dim];
    if (origin != UNBOUND && exec->new_dims[dim] != value)
      return tsr_exec_fail(exec, TSR_ERR_SHAPE,
                           "input '%s': dim %u ('%s') is %lld, but input '%s' has %lld there",
                           p->inputs[input].name, d, p->dims[dim].name, (long long)value,
                           p->inputs[origin].name, (long long)exec->new_dims[dim]);
    if (origin != UNBOUND)
      continue;
    exec->dim_origins[dim] = input;
    exec->new_dims[dim] = value;
  }
  return TSR_OK;
}

static tsr_status check_formulas(tsr_exec *exec, uint32_t input) {
  const tsr_program *p = exec->program;
  const tsr_buffer_desc *buffer = &p->buffers[p->inputs[input].buffer];
  for (uint32_t d = 0; d < buffer->rank; d++) {
    tsr_code code = p->codes[buffer->first_dim + d];
    int64_t expected, value = exec->inputs[input].shape[d];
    const char *formula = exec->module->inputs[input].dim_texts[d];
    if (tsr_index_eval(p->steps + code.first, code.count, exec->new_dims, p->dim_count,
                       &expected) != TSR_OK)
      return tsr_exec_fail(exec, TSR_ERR_SHAPE,
                           "input '%s': the size of dim %u (%s) overflows or divides by zero",
                           p->inputs[input].name, d, formula);
    if (expected != value)
      return tsr_exec_fail(
          exec, TSR_ERR_SHAPE, "input '%s': dim %u is %lld, but the other inputs make it %lld (%s)",
          p->inputs[input].name, d, (long long)value, (long long)expected, formula);
  }
  return TSR_OK;
}

/* Works on new_dims, so that a refused set of inputs leaves the exec as it was. */
tsr_status tsr_exec_bind_dims(tsr_exec *exec) {
  const tsr_program *p = exec->program;
  bool changed = false;
  for (uint32_t i = 0; i < p->dim_count; i++) {
    exec->new_dims[i] = exec->dims[i];
    exec->dim_origins[i] = UNBOUND;
  }
  for (uint32_t i = 0; i < p->input_count; i++)
    TSR_TRY(bind_plain_dims(exec, i));
  for (uint32_t i = 0; i < p->input_count; i++)
    TSR_TRY(check_formulas(exec, i));
  for (uint32_t i = 0; i < p->dim_count; i++) {
    changed |= exec->new_dims[i] != exec->dims[i];
    exec->dims[i] = exec->new_dims[i];
  }
  for (uint32_t i = 0; changed && i < exec->stage_count; i++)
    exec->stages[i].planned = exec->stages[i].linked = false;
  return TSR_OK;
}

/* " (N = 3, M = 4)": the dims of an expression, each once; what does not fit is left out. */
static void print_dims(const tsr_exec *exec, tsr_code code, char *text, size_t bytes) {
  const tsr_program *p = exec->program;
  size_t at = 0;
  text[0] = '\0';
  for (uint32_t i = 0; i < code.count && at + 1 < bytes; i++) {
    const tsr_index_step *step = &p->steps[code.first + i];
    bool seen = false;
    int wrote;
    if (step->op != TSR_INDEX_DIM)
      continue;
    for (uint32_t k = 0; k < i && !seen; k++)
      seen = p->steps[code.first + k].op == TSR_INDEX_DIM &&
             p->steps[code.first + k].operand == step->operand;
    if (seen)
      continue;
    wrote = snprintf(text + at, bytes - at, "%s%.200s = %lld", at == 0 ? " (" : ", ",
                     p->dims[step->operand].name, (long long)exec->dims[step->operand]);
    if (wrote < 0 || (size_t)wrote + 1 >= bytes - at) {
      text[at] = '\0';
      break;
    }
    at += (size_t)wrote;
  }
  if (at != 0)
    (void)snprintf(text + at, bytes - at, ")");
}

tsr_status tsr_exec_check_dims(tsr_exec *exec, uint32_t index) {
  const tsr_program *p = exec->program;
  for (uint32_t i = 0; i < p->check_count; i++) {
    tsr_code code = p->checks[i].holds;
    char dims[800];
    int64_t holds;
    if (exec->check_stages[i] != index)
      continue;
    if (tsr_index_eval(p->steps + code.first, code.count, exec->dims, p->dim_count, &holds) ==
            TSR_OK &&
        holds != 0)
      continue;
    print_dims(exec, code, dims, sizeof dims);
    return tsr_exec_fail(exec, TSR_ERR_SHAPE, "%.1000s%s", p->checks[i].text, dims);
  }
  return TSR_OK;
}

/* A dim of 0 makes the tensor empty, however large the others are. */
static bool count_elements(const int64_t *shape, uint32_t rank, int64_t *out_count) {
  bool overflow = false, empty = false;
  int64_t count = 1;
  for (uint32_t i = 0; i < rank; i++) {
    empty |= shape[i] == 0;
    overflow |= __builtin_mul_overflow(count, shape[i], &count);
  }
  *out_count = empty ? 0 : count;
  return empty || !overflow;
}

tsr_status tsr_exec_shape(tsr_exec *exec, const tsr_buffer_desc *buffer, const char *what,
                          int64_t *out_shape, uint64_t *out_bytes) {
  const tsr_program *p = exec->program;
  int64_t count, bytes = -1;
  for (uint32_t d = 0; d < buffer->rank; d++) {
    tsr_code code = p->codes[buffer->first_dim + d];
    if (tsr_index_eval(p->steps + code.first, code.count, exec->dims, p->dim_count,
                       &out_shape[d]) != TSR_OK)
      return tsr_exec_fail(exec, TSR_ERR_SHAPE,
                           "%s: the size of dim %u overflows or divides by zero", what, d);
    if (out_shape[d] < 0)
      return tsr_exec_fail(exec, TSR_ERR_SHAPE, "%s: the size of dim %u is negative (%lld)", what,
                           d, (long long)out_shape[d]);
  }
  if (count_elements(out_shape, buffer->rank, &count))
    bytes = tsr_dtype_bytes((tsr_dtype)buffer->dtype, count);
  if (bytes < 0)
    return tsr_exec_fail(exec, TSR_ERR_SHAPE, "%s: its size in bytes overflows", what);
  *out_bytes = (uint64_t)bytes;
  return TSR_OK;
}
