/* Operations on texts: all in host memory. */
#include "runtime/host/host.h"
#include <string.h>

static tsr_status out_of_memory(host_exec *self) {
  return tsr_exec_fail(self->exec, TSR_ERR_OUT_OF_MEMORY, "no memory for texts");
}

static tsr_status fetch_operands(host_exec *self, const tsr_host_step *step,
                                 tsr_host_array *arrays) {
  for (uint32_t i = 0; i < step->operand_count; i++) {
    const host_tensor *tensor =
        host_tensor_at(self, self->program->arguments[step->first_operand + i]);
    arrays[i].dtype = tensor->dtype;
    arrays[i].rank = tensor->rank;
    memcpy(arrays[i].shape, tensor->shape, tensor->rank * sizeof tensor->shape[0]);
    TSR_TRY(tsr_host_fetch(self, tensor, &arrays[i].data));
  }
  return TSR_OK;
}

static tsr_status keep_results(host_exec *self, const tsr_host_step *step,
                               const tsr_host_array *arrays) {
  for (uint32_t i = 0; i < step->result_count; i++) {
    uint32_t value = self->program->arguments[step->first_result + i];
    host_tensor *tensor;
    TSR_TRY(tsr_host_new_tensor(self, &self->slots[value], arrays[i].dtype, arrays[i].rank,
                                arrays[i].shape, &tensor));
    self->registers[value] = &tensor->object;
    TSR_TRY(self->exec->ops->upload(self->exec, tensor->data, arrays[i].data, tensor->bytes,
                                    EXEC_HOST));
  }
  return TSR_OK;
}

tsr_status tsr_host_text_step(host_exec *self, const tsr_host_step *step) {
  const tsr_program *p = self->program;
  tsr_host_array operands[2], results[2];
  tsr_diag diag;
  tsr_status status;
  memset(operands, 0, sizeof operands);
  memset(results, 0, sizeof results);
  for (uint32_t i = 0; i < step->result_count; i++)
    results[i].dtype = (tsr_dtype)p->host_values[p->arguments[step->first_result + i]].dtype;
  status = fetch_operands(self, step, operands);
  if (status != TSR_OK)
    return status;
  tsr_diag_clear(&diag);
  const int64_t *numbers = step->number_count == 0 ? NULL : p->host_numbers + step->first_number;
  const char *const *words = step->text_count == 0 ? NULL : p->host_texts + step->first_text;
  status =
      tsr_text_run((tsr_host_op)step->op, numbers, words, step->text_count, self->texts, operands,
                   step->operand_count, results, step->result_count, &self->step_memory, &diag);
  if (status == TSR_ERR_OUT_OF_MEMORY)
    return out_of_memory(self);
  if (status != TSR_OK)
    return tsr_exec_fail(self->exec, status, "%s", diag.message);
  status = keep_results(self, step, results);
  tsr_arena_reset(&self->step_memory);
  return status;
}
