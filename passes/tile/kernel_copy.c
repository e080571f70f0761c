#include "passes/tile/kernel_copy.h"
#include <stdio.h>
#include <string.h>

tsr_kernel_copy tsr_kernel_copy_begin(tsr_ir *ir, tsr_op kernel, char letter, uint32_t n,
                                      tsr_arena *arena) {
  tsr_kernel_copy copy = {.map_size = tsr_value_count(ir) + 1};
  char name[64];
  copy.map = tsr_arena_alloc_array(arena, copy.map_size, sizeof *copy.map);
  if (copy.map == NULL)
    return copy;
  memset(copy.map, 0, copy.map_size * sizeof *copy.map);
  copy.kernel = tsr_op_append(ir, tsr_ir_top(ir), TSR_OP_KERNEL);
  copy.from = tsr_op_get(ir, kernel)->regions[0];
  copy.to = tsr_op_add_region(ir, copy.kernel);
  for (uint32_t i = 0; i < tsr_op_get(ir, kernel)->attr_count; i++)
    tsr_op_set_attr(ir, copy.kernel, &tsr_op_get(ir, kernel)->attrs[i]);
  tsr_op_copy_origins(ir, copy.kernel, kernel);
  snprintf(name, sizeof name, "%.40s_%c%u", tsr_op_get(ir, kernel)->symbol, letter, n);
  tsr_op_set_symbol(ir, copy.kernel, name);
  return copy;
}

void tsr_kernel_copy_argument(tsr_ir *ir, tsr_kernel_copy *copy, tsr_value argument) {
  const tsr_value_data old = *tsr_value_get(ir, argument);
  int64_t step = 1;
  if (old.role == TSR_ROLE_GRID && tsr_expr_is_int(ir, old.step, &step))
    copy->map[argument] = tsr_region_add_index(ir, copy->to, old.role, old.lo, old.hi, step);
  else
    copy->map[argument] = tsr_region_add_arg(ir, copy->to, old.role, old.type);
}

void tsr_kernel_copy_body(tsr_ir *ir, tsr_kernel_copy *copy) {
  TSR_FOR_EACH_OP (ir, copy->from, op)
    (void)tsr_op_clone(ir, op, copy->to, copy->map, copy->map_size);
}

static bool names(const tsr_ir *ir, tsr_op launch, const char *symbol) {
  const tsr_op_data *data = tsr_op_get(ir, launch);
  const tsr_attr *kernels = tsr_op_attr(ir, launch, "kernels");
  if (data->symbol != NULL && strcmp(data->symbol, symbol) == 0)
    return true;
  for (uint32_t i = 0; kernels != NULL && i < kernels->count; i++)
    if (strcmp(kernels->u.strings[i], symbol) == 0)
      return true;
  return false;
}

static bool is_launched(const tsr_ir *ir, tsr_region region, const char *symbol) {
  TSR_FOR_EACH_OP (ir, region, op) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    if (data->code == TSR_OP_LAUNCH && names(ir, op, symbol))
      return true;
    for (uint32_t i = 0; data->code != TSR_OP_KERNEL && i < data->region_count; i++)
      if (is_launched(ir, data->regions[i], symbol))
        return true;
  }
  return false;
}

void tsr_kernel_erase_unused(tsr_ir *ir, tsr_op kernel) {
  if (!is_launched(ir, tsr_ir_top(ir), tsr_op_get(ir, kernel)->symbol))
    tsr_op_erase(ir, kernel);
}
