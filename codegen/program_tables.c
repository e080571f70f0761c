#include "codegen/program_tables.h"
#include "ir/const_bytes.h"
#include "runtime/hash.h"
#include <string.h>

tsr_status tsr_tables_out_of_memory(const tsr_program_tables *t) {
  return tsr_fail(t->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while building the program");
}

tsr_status tsr_tables_begin(tsr_program_tables *t, tsr_ir *ir, tsr_arena *arena, tsr_diag *diag) {
  *t = (tsr_program_tables){.ir = ir, .arena = arena, .diag = diag};
  t->dim_number = tsr_arena_alloc_array(arena, tsr_dim_count(ir) + 1, sizeof *t->dim_number);
  return t->dim_number == NULL ? tsr_tables_out_of_memory(t) : TSR_OK;
}

tsr_status tsr_tables_push(tsr_program_tables *t, tsr_program_table *table, const void *item,
                           size_t item_bytes) {
  if (table->count == table->capacity) {
    uint32_t capacity = table->capacity == 0 ? 16 : table->capacity * 2;
    void *items = tsr_arena_alloc_array(t->arena, capacity, item_bytes);
    if (items == NULL)
      return tsr_tables_out_of_memory(t);
    if (table->count != 0)
      memcpy(items, table->items, table->count * item_bytes);
    table->items = items;
    table->capacity = capacity;
  }
  memcpy((char *)table->items + table->count * item_bytes, item, item_bytes);
  table->count++;
  return TSR_OK;
}

tsr_status tsr_tables_dim(tsr_program_tables *t, tsr_dim dim, uint32_t *out_number) {
  if (t->dim_number[dim] == 0) {
    const tsr_dim_data *data = tsr_dim_get(t->ir, dim);
    bool from_device = data->from_device && !t->device_dims_too;
    tsr_dim_desc desc = {.name = data->name,
                         .source = from_device ? TSR_DIM_FROM_DEVICE : t->dim_source,
                         .lo = data->lo,
                         .hi = data->hi};
    TSR_TRY(TSR_PUSH(t, &t->dims, &desc));
    t->dim_number[dim] = t->dims.count;
  }
  *out_number = t->dim_number[dim] - 1;
  return TSR_OK;
}

static tsr_status push_steps(tsr_program_tables *t, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(t->ir, expr);
  tsr_index_step step = {.op = node.op};
  switch (node.op) {
  case TSR_INDEX_INT:
    step.operand = node.number;
    break;
  case TSR_INDEX_DIM: {
    uint32_t number;
    TSR_TRY(tsr_tables_dim(t, node.dim, &number));
    step.operand = number;
    break;
  }
  case TSR_INDEX_VALUE:
  case TSR_INDEX_LANE:
    return tsr_fail(t->diag, TSR_ERR_INTERNAL, "a launch depends on a value inside a kernel");
  default:
    TSR_TRY(push_steps(t, node.a));
    TSR_TRY(push_steps(t, node.b));
  }
  return TSR_PUSH(t, &t->steps, &step);
}

tsr_status tsr_tables_code(tsr_program_tables *t, tsr_expr expr, tsr_code *out) {
  out->first = t->steps.count;
  out->count = 0;
  if (expr == 0)
    return TSR_OK;
  TSR_TRY(push_steps(t, expr));
  out->count = t->steps.count - out->first;
  return TSR_OK;
}

tsr_status tsr_tables_shape(tsr_program_tables *t, const tsr_expr *dims, uint32_t rank,
                            uint32_t *out_first) {
  *out_first = t->codes.count;
  for (uint32_t i = 0; i < rank; i++) {
    tsr_code code;
    TSR_TRY(tsr_tables_code(t, dims[i], &code));
    TSR_TRY(TSR_PUSH(t, &t->codes, &code));
  }
  return TSR_OK;
}

tsr_status tsr_tables_describe(tsr_program_tables *t, const tsr_type_info *type,
                               tsr_buffer_desc *out) {
  out->dtype = type->dtype;
  out->rank = type->rank;
  return tsr_tables_shape(t, type->dims, type->rank, &out->first_dim);
}

tsr_type_info tsr_tables_port_type(const tsr_program_tables *t, tsr_op op, tsr_value value) {
  const tsr_attr *packed = tsr_op_attr(t->ir, op, "packed");
  const tsr_attr *shape = tsr_op_attr(t->ir, op, "shape");
  tsr_type_info type = *tsr_value_type(t->ir, value);
  if (packed == NULL)
    return type;
  type.dtype = packed->u.dtype;
  type.rank = shape == NULL ? 0 : shape->count;
  type.dims = shape == NULL ? NULL : shape->u.exprs;
  return type;
}

tsr_status tsr_tables_constant(tsr_program_tables *t, tsr_op op) {
  tsr_constant_desc constant = {0};
  TSR_TRY(tsr_const_bytes(t->ir, op, t->arena, t->diag, &constant.data, &constant.bytes));
  constant.hash = tsr_hash64(constant.data, constant.bytes);
  return TSR_PUSH(t, &t->constants, &constant);
}

const char *tsr_tables_origins(tsr_program_tables *t, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(t->ir, op);
  size_t bytes = 1;
  for (uint32_t i = 0; i < data->origin_count; i++)
    bytes += strlen(data->origins[i]) + 2;
  char *text = tsr_arena_alloc(t->arena, bytes), *end = text;
  for (uint32_t i = 0; text != NULL && i < data->origin_count; i++) {
    size_t length = strlen(data->origins[i]);
    if (i != 0) {
      memcpy(end, ", ", 2);
      end += 2;
    }
    memcpy(end, data->origins[i], length);
    end += length;
  }
  return text;
}

tsr_status tsr_tables_refuse(const tsr_program_tables *t, tsr_op op, const char *why) {
  const tsr_op_data *data = tsr_op_get(t->ir, op);
  (void)tsr_fail(t->diag, TSR_ERR_UNSUPPORTED, "%s", why);
  tsr_diag_set_node(t->diag, data->origin_count > 0 ? data->origins[0] : NULL,
                    tsr_opcode_info(data->code)->text);
  tsr_diag_set_position(t->diag, data->line, 0);
  return TSR_ERR_UNSUPPORTED;
}

void tsr_tables_hand_over(const tsr_program_tables *t, tsr_program *out) {
  TSR_HAND_OVER(t, out, steps, step_count);
  TSR_HAND_OVER(t, out, codes, code_count);
  TSR_HAND_OVER(t, out, dims, dim_count);
  TSR_HAND_OVER(t, out, buffers, buffer_count);
  TSR_HAND_OVER(t, out, inputs, input_count);
  TSR_HAND_OVER(t, out, outputs, output_count);
  TSR_HAND_OVER(t, out, constants, constant_count);
  TSR_HAND_OVER(t, out, arguments, argument_count);
}
