/* A graph of blocks under one schedule, to the bytes of a module. */
#include "codegen/cpu/codegen.h"
#include "codegen/cuda/cubin.h"
#include "codegen/cuda/cuda.h"
#include "ir/copy.h"
#include "passes/tile/tile.h"
#include "runtime/module/writer.h"
#include "tuner/task.h"
#include <stdio.h>
#include <string.h>
#include <tessera/version.h>

typedef struct lowering {
  tsr_ir *ir;
  const tsr_target *target;
  const tsr_allocator *allocator;
  tsr_diag *diag;
  tsr_arena arena;
} lowering;

/* The schedule for the first kernel, and none for other extents. */
static tsr_status make_plan(const tsr_schedule *schedule, const tsr_allocator *allocator,
                            tsr_diag *diag, tsr_ir **out_ir, tsr_op *out_plan) {
  static const char *const names[] = {"k0", "k0_1", "k0_2"};
  tsr_ir *ir;
  TSR_TRY(tsr_ir_create(allocator, &ir));
  const tsr_op plan = tsr_op_append(ir, tsr_ir_top(ir), TSR_OP_PLAN);
  tsr_op_set_symbol(ir, plan, "main");
  const tsr_region region = tsr_op_add_region(ir, plan);
  for (int i = 0; i < 3; i++) {
    const tsr_op op = tsr_op_append(ir, region, TSR_OP_SCHEDULE);
    tsr_op_set_symbol(ir, op, names[i]);
    if (i == 0)
      tsr_schedule_write(ir, op, schedule);
    else
      tsr_op_set_int(ir, op, "upto", 0);
  }
  const tsr_status status = tsr_ir_status(ir);
  if (status != TSR_OK) {
    tsr_ir_destroy(ir);
    return tsr_fail(diag, status, "a schedule cannot be written");
  }
  *out_ir = ir;
  *out_plan = plan;
  return TSR_OK;
}

static tsr_status tile(lowering *l, const tsr_schedule *schedule) {
  tsr_plan_source source = {0};
  tsr_ir *plan = NULL;
  if (schedule == NULL)
    return tsr_pass_tile(l->ir, l->target, NULL, l->diag);
  TSR_TRY(make_plan(schedule, l->allocator, l->diag, &plan, &source.plan));
  source.ir = plan;
  const tsr_status status = tsr_pass_tile(l->ir, l->target, &source, l->diag);
  tsr_ir_destroy(plan);
  return status;
}

static tsr_op graph_of(const tsr_ir *ir) {
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op)
    if (tsr_op_get(ir, op)->code == TSR_OP_GRAPH)
      return op;
  return 0;
}

static tsr_status lower_cpu(lowering *l, void **out_bytes, size_t *out_size) {
  tsr_cpu_isa isa;
  tsr_cpu_code code;
  tsr_program program;
  char name[TSR_CPU_ISA_TEXT];
  tsr_cpu_isa_from_features(l->target->cpu_features, &isa);
  tsr_cpu_isa_text(&isa, name);
  TSR_TRY(tsr_codegen_cpu(l->ir, &isa, NULL, &l->arena, l->diag, &code));
  const tsr_program_parts about = {.target = name,
                                   .cpu_features = tsr_cpu_isa_needs(&isa),
                                   .tile_features = tsr_cpu_isa_tiles(&isa),
                                   .precision = "f32",
                                   .producer = tsr_version_text(),
                                   .image = code.image,
                                   .image_bytes = code.image_bytes,
                                   .kernels = code.kernels,
                                   .kernel_count = code.kernel_count};
  TSR_TRY(tsr_program_build(l->ir, graph_of(l->ir), &about, &l->arena, l->diag, &program));
  const tsr_program *programs = &program;
  return tsr_module_write_memory(&programs, 1, l->allocator, out_bytes, out_size, l->diag);
}

static tsr_status compile_kernel(lowering *l, const tsr_nvrtc *nvrtc,
                                 const tsr_cuda_kernel *kernel) {
  static const char *const options[] = {TSR_CUDA_OPTIONS};
  const tsr_cuda_source source = {.text = kernel->source,
                                  .name = kernel->name,
                                  .arch = l->target->name + strlen("cuda:"),
                                  .options = options,
                                  .option_count = 1,
                                  .want = TSR_CUDA_CUBIN};
  tsr_cuda_output output;
  tsr_cuda_report report;
  TSR_TRY(tsr_nvrtc_compile(nvrtc, &source, &l->arena, &output, l->diag));
  TSR_TRY(tsr_cuda_report_make(output.cubin, output.cubin_size, output.log, &l->arena, &report,
                               l->diag));
  const tsr_cuda_kernel_record *rejected = tsr_cuda_report_rejected(&report);
  return rejected == NULL ? TSR_OK : tsr_fail(l->diag, TSR_ERR_LIMIT, "%s", rejected->reason);
}

static tsr_status lower_cuda(lowering *l) {
  tsr_cuda_code code;
  tsr_nvrtc *nvrtc = NULL;
  TSR_TRY(tsr_codegen_cuda(l->ir, l->target, &l->arena, l->diag, &code));
  tsr_status status = tsr_nvrtc_open(l->allocator, NULL, &nvrtc, NULL);
  if (status != TSR_OK)
    return status == TSR_ERR_OUT_OF_MEMORY ? tsr_fail(l->diag, status, "out of memory") : TSR_OK;
  for (uint32_t i = 0; status == TSR_OK && i < code.kernel_count; i++)
    status = compile_kernel(l, nvrtc, &code.kernels[i]);
  tsr_nvrtc_close(nvrtc);
  return status;
}

tsr_status tsr_task_lower(tsr_ir *ir, const tsr_target *target, const tsr_schedule *schedule,
                          const tsr_allocator *allocator, tsr_diag *diag, void **out_bytes,
                          size_t *out_size) {
  lowering l = {.ir = ir, .target = target, .allocator = allocator, .diag = diag};
  *out_bytes = NULL;
  *out_size = 0;
  TSR_TRY(tile(&l, schedule));
  TSR_TRY(tsr_pass_pack(ir, diag));
  TSR_TRY(tsr_ir_verify(ir, diag));
  tsr_arena_init(&l.arena, allocator);
  const tsr_status status =
      target->kind == TSR_TARGET_CUDA ? lower_cuda(&l) : lower_cpu(&l, out_bytes, out_size);
  tsr_arena_reset(&l.arena);
  return status;
}

tsr_status tsr_task_build(const tsr_task *task, const tsr_target *target,
                          const tsr_schedule *schedule, const tsr_allocator *allocator,
                          tsr_diag *diag, void **out_bytes, size_t *out_size) {
  tsr_ir *ir;
  *out_bytes = NULL;
  *out_size = 0;
  const tsr_status status = tsr_ir_copy_in_order(task->ir, allocator, &ir);
  if (status != TSR_OK)
    return tsr_fail(diag, status, "out of memory");
  const tsr_status built =
      tsr_task_lower(ir, target, schedule, allocator, diag, out_bytes, out_size);
  tsr_ir_destroy(ir);
  return built;
}
