#include "codegen/cpu/codegen.h"
#include "codegen/cpu/emit.h"
#include "codegen/cpu/image.h"
#include <string.h>

static uint32_t count_kernels(const tsr_ir *ir) {
  uint32_t count = 0;
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op)
    count += tsr_op_get(ir, op)->code == TSR_OP_KERNEL;
  return count;
}

static tsr_status emit_kernels(tsr_ir *ir, const tsr_math *math, tsr_arena *arena, tsr_diag *diag,
                               tsr_kernel_code *kernels) {
  tsr_arena scratch;
  uint32_t number = 0;
  tsr_status status = TSR_OK;
  tsr_arena_init(&scratch, arena->allocator);
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op) {
    if (tsr_op_get(ir, op)->code != TSR_OP_KERNEL)
      continue;
    status = tsr_emit_kernel(ir, op, math, &scratch, arena, diag, &kernels[number++]);
    tsr_arena_reset(&scratch);
    if (status != TSR_OK)
      break;
  }
  return status;
}

static tsr_status find_entries(const tsr_image *image, tsr_kernel_code *kernels, uint32_t count,
                               tsr_arena *arena, tsr_diag *diag) {
  for (uint32_t i = 0; i < count; ++i) {
    const tsr_image_symbol *found = tsr_image_find(image, kernels[i].symbol);
    if (!found)
      return tsr_fail(diag, TSR_ERR_INTERNAL, "kernel '%s' is not in its image", kernels[i].symbol);
    kernels[i].entry = found->entry;
    kernels[i].symbol = tsr_arena_string(arena, kernels[i].symbol, strlen(kernels[i].symbol));
    if (!kernels[i].symbol)
      return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  }
  return TSR_OK;
}

static tsr_status compile_module(tsr_ir *ir, const tsr_math *math,
                                 const tsr_codegen_options *options, tsr_arena *arena,
                                 tsr_diag *diag, tsr_cpu_code *code) {
  uint32_t count = count_kernels(ir);
  tsr_image image;
  tsr_kernel_code *kernels = tsr_arena_alloc_array(arena, count, sizeof *kernels);
  if (!kernels)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  TSR_TRY(emit_kernels(ir, math, arena, diag, kernels));
  TSR_TRY(tsr_llvm_target_optimize(math->target, math->module, diag));
  if (options && options->want_ll)
    TSR_TRY(tsr_llvm_target_ir_text(math->module, arena, diag, &code->ll));
  if (options && options->want_assembly)
    TSR_TRY(tsr_llvm_target_asm_text(math->target, math->module, arena, diag, &code->assembly));
  TSR_TRY(tsr_image_build(math->target, math->module, arena, diag, &image));
  TSR_TRY(find_entries(&image, kernels, count, arena, diag));
  code->image = image.bytes;
  code->image_bytes = image.size;
  code->kernels = kernels;
  code->kernel_count = count;
  return TSR_OK;
}

tsr_status tsr_codegen_cpu(tsr_ir *ir, const tsr_cpu_isa *isa, const tsr_codegen_options *options,
                           tsr_arena *arena, tsr_diag *diag, tsr_cpu_code *out_code) {
  tsr_llvm_target *target = NULL;
  *out_code = (tsr_cpu_code){0};
  TSR_TRY(tsr_llvm_target_create(arena->allocator, isa, diag, &target));
  tsr_math math = {.target = target, .context = LLVMContextCreate()};
  tsr_status status = TSR_ERR_OUT_OF_MEMORY;
  math.module = math.context ? tsr_llvm_target_module(target, math.context, "kernels") : NULL;
  math.builder = math.module ? LLVMCreateBuilderInContext(math.context) : NULL;
  if (math.builder)
    status = compile_module(ir, &math, options, arena, diag, out_code);
  else
    status = tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  if (math.builder)
    LLVMDisposeBuilder(math.builder);
  if (math.module)
    LLVMDisposeModule(math.module);
  if (math.context)
    LLVMContextDispose(math.context);
  tsr_llvm_target_destroy(target);
  if (status != TSR_OK)
    *out_code = (tsr_cpu_code){0};
  return status;
}
