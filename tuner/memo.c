#include "tuner/memo.h"
#include "ir/eval.h"
#include "runtime/float_convert.h"
#include <string.h>
#include <unistd.h>

tsr_status tsr_task_memo_create(const tsr_allocator *allocator, tsr_diag *diag,
                                tsr_task_memo **out_memo) {
  tsr_task_memo *memo = allocator->allocate(allocator->context, sizeof *memo, 16);
  *out_memo = memo;
  if (memo == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  *memo = (tsr_task_memo){.fd = -1};
  return TSR_OK;
}

void tsr_task_memo_destroy(tsr_task_memo *memo, const tsr_allocator *allocator) {
  if (memo == NULL)
    return;
  if (memo->fd >= 0)
    close(memo->fd);
  allocator->release(allocator->context, memo, sizeof *memo);
}

/* --- layout --- */

static tsr_status describe(const tsr_ir *ir, tsr_op op, tsr_value value, tsr_arena *arena,
                           tsr_diag *diag, tsr_memo_tensor *out) {
  const tsr_type_info *type = tsr_value_type(ir, value);
  int64_t bytes = -1;
  bool fits = true;
  *out = (tsr_memo_tensor){
      .name = tsr_op_string(ir, op, "name"), .dtype = type->dtype, .rank = type->rank, .count = 1};
  out->dims = tsr_arena_alloc_array(arena, type->rank, sizeof *out->dims);
  if (out->dims == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  for (uint32_t i = 0; i < type->rank && fits; i++)
    fits = tsr_expr_at_hints(ir, type->dims[i], &out->dims[i]) == TSR_OK && out->dims[i] >= 0 &&
           !__builtin_mul_overflow(out->count, out->dims[i], &out->count);
  if (fits)
    bytes = tsr_dtype_bytes(type->dtype, out->count);
  if (bytes < 0 || bytes > INT64_MAX / 64)
    return tsr_fail(diag, TSR_ERR_LIMIT, "a tensor of the kernel is too large at its typical size");
  out->bytes = (size_t)bytes;
  return TSR_OK;
}

double tsr_memo_constant_bytes(const tsr_ir *ir, tsr_value value) {
  const tsr_type_info *type = tsr_value_type(ir, value);
  double bytes = tsr_dtype_bits(type->dtype) / 8.0;
  int64_t extent = 0;
  for (uint32_t i = 0; i < type->rank; i++)
    bytes *= tsr_expr_is_int(ir, type->dims[i], &extent) ? (double)extent : 0;
  return bytes;
}

static size_t place(tsr_memo_layout *layout, size_t bytes) {
  const size_t at = layout->bytes;
  layout->bytes += (bytes + 63) / 64 * 64;
  return at;
}

tsr_status tsr_memo_layout_make(const tsr_ir *ir, tsr_arena *arena, tsr_diag *diag,
                                tsr_memo_layout *out) {
  const tsr_region graph = tsr_op_get(ir, tsr_region_get(ir, tsr_ir_top(ir))->first)->regions[0];
  uint32_t count = 0;
  *out = (tsr_memo_layout){0};
  TSR_FOR_EACH_OP (ir, graph, op)
    count++;
  out->inputs = tsr_arena_alloc_array(arena, count, sizeof *out->inputs);
  out->outputs = tsr_arena_alloc_array(arena, count, sizeof *out->outputs);
  if (out->inputs == NULL || out->outputs == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  TSR_FOR_EACH_OP (ir, graph, op) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    if (data->code == TSR_OP_INPUT) {
      tsr_memo_tensor *input = &out->inputs[out->input_count++];
      TSR_TRY(describe(ir, op, data->results[0], arena, diag, input));
      input->at = place(out, input->bytes);
    } else if (data->code == TSR_OP_OUTPUT) {
      tsr_memo_tensor *output = &out->outputs[out->output_count++];
      TSR_TRY(describe(ir, op, data->operands[0].value, arena, diag, output));
      const bool real = tsr_dtype_class_of(output->dtype) == TSR_CLASS_FLOAT;
      output->reference_bytes = real ? (size_t)output->count * sizeof(double) : output->bytes;
      output->at = place(out, output->reference_bytes);
      output->bound_at = place(out, (size_t)output->count * sizeof(double));
    }
  }
  return TSR_OK;
}

/* --- inputs --- */

/* The least extent that a value of the block's body picks a position of; 0: none does. */
static int64_t least_picked(const tsr_ir *ir, tsr_op block) {
  int64_t least = 0;
  TSR_FOR_EACH_OP (ir, tsr_op_get(ir, block)->regions[0], op) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    if (data->code != TSR_OP_GATHER_LOAD)
      continue;
    const tsr_operand *from = &data->operands[0];
    for (uint32_t i = 0; i < from->subscript_count; i++) {
      bool picks = false;
      TSR_FOR_EACH_OP (ir, tsr_op_get(ir, block)->regions[0], scalar)
        for (uint32_t r = 0; r < tsr_op_get(ir, scalar)->result_count; r++)
          picks = picks ||
                  tsr_expr_uses_value(ir, from->subscripts[i], tsr_op_get(ir, scalar)->results[r]);
      int64_t extent = 0;
      if (picks &&
          tsr_expr_at_hints(ir, tsr_value_type(ir, from->value)->dims[i], &extent) == TSR_OK &&
          extent > 0 && (least == 0 || extent < least))
        least = extent;
    }
  }
  return least;
}

static uint64_t next(uint64_t *state) {
  uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
  return z ^ z >> 31;
}

/* In (-1, -1/8] and [1/8, 1), or the upper half alone. */
static double real_number(uint64_t *state, bool positive) {
  const uint64_t bits = next(state);
  const double size = 0.125 + 0.875 * ((double)(bits >> 11) * 0x1p-53);
  return positive || bits & 1 ? size : -size;
}

static void fill(const tsr_memo_tensor *tensor, int64_t picked, bool positive, uint64_t seed,
                 unsigned char *to) {
  uint64_t state = seed;
  const tsr_dtype_class kind = tsr_dtype_class_of(tensor->dtype);
  const size_t size = tensor->count > 0 ? tensor->bytes / (size_t)tensor->count : 0;
  for (int64_t i = 0; i < tensor->count; i++, to += size) {
    uint64_t bits;
    if (kind == TSR_CLASS_FLOAT && tensor->dtype == TSR_F32) {
      const float value = (float)real_number(&state, positive);
      memcpy(to, &value, sizeof value);
      continue;
    }
    if (kind == TSR_CLASS_FLOAT)
      bits = tsr_float_encode(tensor->dtype, real_number(&state, positive), TSR_OVERFLOW_SPECIAL);
    else if (kind == TSR_CLASS_BOOL)
      bits = next(&state) & 1;
    else if (size >= 4 && picked > 0)
      bits = next(&state) % (uint64_t)picked;
    else
      bits = kind == TSR_CLASS_UINT
                 ? 1 + next(&state) % 100
                 : (next(&state) & 1 ? UINT64_C(1) : ~UINT64_C(0)) * (1 + next(&state) % 50);
    memcpy(to, &bits, size); /* little-endian */
  }
}

void tsr_memo_fill_inputs(const tsr_ir *ir, tsr_op block, const tsr_memo_layout *layout,
                          bool positive, void *base) {
  const int64_t picked = least_picked(ir, block);
  for (uint32_t i = 0; i < layout->input_count; i++)
    fill(&layout->inputs[i], picked, positive, UINT64_C(0x7e55e7a) + i,
         (unsigned char *)base + layout->inputs[i].at);
}
