#include "frontend/cli/options.h"
#include <inttypes.h>
#include <stdio.h>
#include <tessera/runtime.h>

static void print_port(const char *kind, const tsr_port_info *port) {
  printf("%-7s %s: %s[", kind, port->name, tsr_dtype_text(port->dtype));
  for (uint32_t i = 0; i < port->rank; i++)
    printf("%s%s", i > 0 ? ", " : "", port->dim_texts[i]);
  puts("]");
}

static void print_targets(const tsr_module *module, const tsr_module_info *info) {
  for (uint32_t i = 0; i < info->target_count; i++) {
    tsr_target_info target;
    if (tsr_module_get_target(module, i, &target) != TSR_OK)
      continue;
    char features[1024];
    tsr_module_feature_text(target.cpu_features, features, sizeof features);
    printf("target  %s: %" PRIu64 " bytes of code%s%s\n", target.target, target.code_bytes,
           target.selected ? ", runs here" : ", needs ", target.selected ? "" : features);
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

static void print_kernels(const tsr_module *module, const tsr_module_info *info) {
  for (uint32_t i = 0; i < info->kernel_count; i++) {
    tsr_kernel_info kernel;
    if (tsr_module_get_kernel(module, i, &kernel) != TSR_OK)
      continue;
    printf("kernel  %s", kernel.name);
    if (kernel.scratch_bytes > 0)
      printf(", %" PRIu64 " bytes of scratch per thread", kernel.scratch_bytes);
    printf("%s%s\n", *kernel.nodes != '\0' ? ": " : "", kernel.nodes);
  }
}

int tsr_cli_inspect(const tsr_cli_args *args) {
  tsr_module *module;
  tsr_message message;
  tsr_diag diag = {0};
  tsr_status status = tsr_module_load_file(args->positional[0], NULL, &module, &message);
  if (status != TSR_OK) {
    tsr_diag_set_file(&diag, args->positional[0]);
    (void)tsr_fail(&diag, status, "%s", message.text);
    return tsr_cli_bad(&diag);
  }
  tsr_module_info info;
  tsr_module_get_info(module, &info);
  printf("module  %" PRIu64 " bytes, %" PRIu64 " of weights, precision %s, by %s\n",
         info.module_bytes, info.weight_bytes, info.precision, info.producer);
  print_targets(module, &info);
  print_ports(module, &info);
  printf("program %" PRIu32 " kernels, %" PRIu32 " launches, %" PRIu32 " segments\n",
         info.kernel_count, info.launch_count, info.segment_count);
  print_kernels(module, &info);
  tsr_module_release(module);
  return TSR_EXIT_FINE;
}
