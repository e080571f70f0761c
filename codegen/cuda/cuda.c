#include "codegen/cuda/cuda.h"
#include "codegen/cuda/device/device_text.h"
#include "codegen/cuda/emit.h"
#include "codegen/cuda/text/text.h"
#include <stdio.h>
#include <string.h>

/* Math functions are many lines: only kernels that call one get them. */
static const char *math_for(const char *body) {
  static const char *const names[] = {"exp",   "log",   "sin",  "cos",  "tan",  "asin",
                                      "acos",  "atan",  "sinh", "cosh", "tanh", "asinh",
                                      "acosh", "atanh", "erf",  "pow",  "rem",  "mod"};
  char call[32];
  for (size_t i = 0; i < sizeof names / sizeof *names; ++i)
    for (int wide = 0; wide < 2; ++wide) {
      snprintf(call, sizeof call, "tsr_%s_f%s(", names[i], wide ? "64" : "32");
      if (strstr(body, call))
        return tsr_cuda_math_text;
    }
  return "";
}

static tsr_status finish_kernel(tsr_cuda_kernel *kernel, tsr_arena *arena, tsr_diag *diag) {
  kernel->source = tsr_arena_printf(arena, "%s\n%s\n%s\n%s", tsr_cuda_device_text,
                                    tsr_cuda_numeric_text, math_for(kernel->body), kernel->body);
  if (!kernel->source)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  kernel->text = kernel->source + tsr_cuda_device_text_size;
  return TSR_OK;
}

static bool stands_before(const tsr_cuda_kernel *kernels, uint32_t number) {
  for (uint32_t i = 0; i < number; ++i)
    if (!strcmp(kernels[i].symbol, kernels[number].symbol))
      return true;
  return false;
}

/* All kernels behind one another, for people. */
static tsr_status join_bodies(const tsr_cuda_kernel *kernels, uint32_t count, tsr_arena *arena,
                              tsr_diag *diag, const char **out_text) {
  size_t size = 1;
  for (uint32_t i = 0; i < count; ++i)
    size += strlen(kernels[i].comment) + strlen(kernels[i].body) + 1;
  char *text = tsr_arena_alloc(arena, size), *at = text;
  if (!text)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  for (uint32_t i = 0; i < count; ++i) {
    if (i > 0)
      *at++ = '\n';
    at = stpcpy(at, kernels[i].comment);
    if (!stands_before(kernels, i))
      at = stpcpy(at, kernels[i].body);
  }
  *at = 0;
  *out_text = tsr_arena_printf(arena, "%s\n%s\n%s\n%s", tsr_cuda_device_text, tsr_cuda_numeric_text,
                               math_for(text), text);
  return *out_text ? TSR_OK : tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
}

tsr_status tsr_codegen_cuda(tsr_ir *ir, const tsr_target *target, tsr_arena *arena, tsr_diag *diag,
                            tsr_cuda_code *out_code) {
  *out_code = (tsr_cuda_code){0};
  uint32_t count = 0, number = 0;
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op)
    count += tsr_op_get(ir, op)->code == TSR_OP_KERNEL;
  tsr_cuda_kernel *kernels = tsr_arena_alloc_array(arena, count, sizeof *kernels);
  if (!kernels)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  tsr_arena scratch;
  tsr_arena_init(&scratch, arena->allocator);
  tsr_status status = TSR_OK;
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op) {
    if (tsr_op_get(ir, op)->code != TSR_OP_KERNEL)
      continue;
    tsr_cuda_kernel *kernel = &kernels[number++];
    status = tsr_cu_kernel(ir, op, target, &scratch, arena, diag, kernel);
    tsr_arena_reset(&scratch);
    if (status == TSR_OK)
      status = finish_kernel(kernel, arena, diag);
    if (status != TSR_OK)
      return status;
  }
  out_code->kernels = kernels;
  out_code->kernel_count = count;
  return join_bodies(kernels, count, arena, diag, &out_code->text);
}
