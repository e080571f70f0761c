#include "codegen/cuda/cubin.h"
#include "frontend/cli/model.h"
#include "frontend/cli/port.h"
#include "runtime/cuda/image.h"
#include "runtime/module/module.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <tessera/runtime.h>

static void print_port(const char *kind, const tsr_port_info *port) {
  char type[1024];
  tsr_port_type_text(port, type, sizeof type);
  printf("%-7s %s: %s\n", kind, port->name, type);
}

/* What a target that does not run here lacks: processor features, or a device. */
static void print_needs(const tsr_target_info *target, const char *runs) {
  char features[1024];
  if (runs != NULL && strcmp(target->target, runs) == 0) {
    puts(", runs here");
    return;
  }
  tsr_module_feature_text(target->cpu_features, features, sizeof features);
  bool cuda = strncmp(target->target, "cuda", 4) == 0;
  printf(", needs %s\n", cuda ? "a CUDA device" : *features != '\0' ? features : "nothing special");
}

/* `runs`: the target that this machine takes, or NULL. */
static void print_targets(const tsr_module *module, const tsr_module_info *info, const char *runs) {
  for (uint32_t i = 0; i < info->target_count; i++) {
    tsr_target_info target;
    if (tsr_module_get_target(module, i, &target) != TSR_OK)
      continue;
    printf("target  %s: %" PRIu64 " bytes of code", target.target, target.code_bytes);
    print_needs(&target, runs);
  }
}

static void print_ports(const tsr_module *module, const tsr_module_info *info) {
  tsr_port_info port;
  for (uint32_t i = 0; i < info->input_count; i++) {
    if (tsr_module_get_input(module, i, &port) == TSR_OK)
      print_port("input", &port);
  }
  for (uint32_t i = 0; i < info->output_count; i++) {
    if (tsr_module_get_output(module, i, &port) == TSR_OK)
      print_port("output", &port);
  }
  for (uint32_t i = 0; i < info->dim_count; i++) {
    tsr_dim_info dim;
    if (tsr_module_get_dim(module, i, &dim) == TSR_OK)
      printf("dim     %s in %" PRId64 "..%" PRId64 "%s\n", dim.name, dim.lo, dim.hi,
             dim.from_results ? ", known during a run" : "");
  }
}

/* What the CUBIN of kernel number `index` says; PTX says nothing yet. */
static void print_cubin(const tsr_program *program, uint32_t index, const char *symbol,
                        tsr_arena *scratch) {
  const tsr_cuda_unit *units;
  tsr_cuda_report report;
  uint32_t count;
  if (tsr_cuda_image_read(program->image, program->image_bytes, program->kernel_count, NULL, &units,
                          &count) != TSR_OK)
    return;
  for (uint32_t i = 0; i < count; i++) {
    const uint8_t *bytes = (const uint8_t *)program->image + units[i].offset;
    if (units[i].kernel != index || units[i].kind != TSR_CUDA_UNIT_CUBIN ||
        tsr_cuda_report_make(bytes, units[i].bytes, NULL, scratch, &report, NULL) != TSR_OK)
      continue;
    const tsr_cuda_kernel_record *record = tsr_cuda_report_find(&report, symbol);
    if (record != NULL)
      printf(", %" PRId32 " registers", record->registers);
    if (record != NULL && record->stack_bytes > 0)
      printf(", %" PRId32 " bytes of stack", record->stack_bytes);
  }
}

static void print_cuda_kernel(const tsr_program *program, uint32_t index,
                              const tsr_kernel_info *kernel) {
  tsr_arena scratch;
  printf(", %" PRIu32 " threads", kernel->threads);
  if (kernel->shared_bytes > 0)
    printf(", %" PRIu32 " bytes of shared memory", kernel->shared_bytes);
  if (kernel->cluster > 1)
    printf(", clusters of %" PRIu32, kernel->cluster);
  tsr_arena_init(&scratch, tsr_allocator_default());
  print_cubin(program, index, kernel->symbol, &scratch);
  tsr_arena_reset(&scratch);
}

/* Those of a program, whose first one has number `first` in the module. */
static void print_kernels(const tsr_module *module, const tsr_program *program, uint32_t first) {
  for (uint32_t i = 0; i < program->kernel_count; i++) {
    tsr_kernel_info kernel;
    if (tsr_module_get_kernel(module, first + i, &kernel) != TSR_OK)
      continue;
    printf("kernel  %s", kernel.name);
    if (kernel.scratch_bytes > 0)
      printf(", %" PRIu64 " bytes of scratch per thread", kernel.scratch_bytes);
    if (kernel.threads > 0)
      print_cuda_kernel(program, i, &kernel);
    printf("%s%s\n", *kernel.nodes != '\0' ? ": " : "", kernel.nodes);
  }
}

/* A region's steps, and indented below each those of its regions. */
static void print_steps(const tsr_program *program, uint32_t number, int depth) {
  static const char *const texts[] = {
#define TSR_HOST_OP(name, text, ...) text,
#include "runtime/host/host_ops.def"
#undef TSR_HOST_OP
  };
  const tsr_host_region *region = &program->host_regions[number];
  for (uint32_t i = 0; i < region->step_count; i++) {
    const tsr_host_step *step = &program->host_steps[region->first_step + i];
    printf("step    %*s%s", 2 * depth, "", texts[step->op]);
    if (step->op == TSR_HOST_CALL)
      printf(" part %" PRIu32, step->part);
    printf("%s%s\n", *step->nodes != '\0' ? ": " : "", step->nodes);
    for (uint32_t r = 0; r < step->region_count; r++) {
      if (r == 1)
        printf("step    %*selse\n", 2 * depth, "");
      print_steps(program, step->first_region + r, depth + 1);
    }
  }
}

/* The steps of the host, then the kernels of each part that they call. */
static void print_host(const tsr_module *module, const tsr_program *program) {
  uint32_t first = 0;
  printf("host    %" PRIu32 " steps, %" PRIu32 " parts\n", program->host_step_count,
         program->part_count);
  print_steps(program, 0, 0);
  for (uint32_t i = 0; i < program->part_count; i++) {
    printf("part    %" PRIu32 ": %" PRIu32 " kernels, %" PRIu32 " launches\n", i,
           program->parts[i].kernel_count, program->parts[i].launch_count);
    print_kernels(module, &program->parts[i], first);
    first += program->parts[i].kernel_count;
  }
}

/* The module, described whether or not this machine runs it; `out_runs` gets the target that this
 * machine takes, or "". */
static tsr_status load(const tsr_cli_args *args, tsr_module **out_module, char *out_runs,
                       size_t runs_size, tsr_message *message) {
  tsr_module_options options = {.size = sizeof options,
                                .target = tsr_cli_text(args, TSR_OPTION_TARGET, NULL)};
  const char *path = args->positional[0];
  out_runs[0] = '\0';
  tsr_status status = tsr_module_load_file(path, &options, out_module, message);
  if (status == TSR_OK) {
    tsr_module_info info;
    tsr_module_get_info(*out_module, &info);
    snprintf(out_runs, runs_size, "%s", info.target);
  }
  if (status != TSR_ERR_DEVICE)
    return status;
  options.flags = TSR_MODULE_DESCRIBE;
  return tsr_module_load_file(path, &options, out_module, message);
}

int tsr_cli_inspect(const tsr_cli_args *args) {
  tsr_module *module;
  tsr_message message;
  tsr_diag diag = {0};
  char runs[128];
  tsr_status status = load(args, &module, runs, sizeof runs, &message);
  if (status != TSR_OK) {
    (void)tsr_cli_fail_loading(args->positional[0], status, message.text, &diag);
    return tsr_cli_bad(&diag);
  }
  tsr_module_info info;
  tsr_module_get_info(module, &info);
  printf("module  %" PRIu64 " bytes, %" PRIu64 " of weights, precision %s, by %s\n",
         info.module_bytes, info.weight_bytes, info.precision, info.producer);
  print_targets(module, &info, runs);
  print_ports(module, &info);
  printf("program %s: %" PRIu32 " kernels, %" PRIu32 " launches, %" PRIu32 " segments\n",
         info.target, info.kernel_count, info.launch_count, info.segment_count);
  const tsr_program *program = tsr_module_program(module);
  if (program->host_region_count != 0)
    print_host(module, program);
  else
    print_kernels(module, program, 0);
  tsr_module_release(module);
  return TSR_EXIT_FINE;
}
