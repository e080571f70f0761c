/* For tests/codegen_cpu/test_aarch64_module.sh, on either machine: runs a module of float inputs,
 * every symbolic dim 3, on fixed numbers, and prints the outputs.
 *
 *   run_module MODULE.tsm */
#include <stdio.h>
#include <stdlib.h>
#include <tessera/runtime.h>

enum { MAX_RANK = 8, DIM = 3 };

static void check(tsr_status status, const char *what) {
  if (status == TSR_OK)
    return;
  fprintf(stderr, "error: %s\n", what);
  exit(1);
}

static void check_exec(tsr_status status, const tsr_exec *exec) {
  check(status, status == TSR_OK ? "" : tsr_exec_last_error(exec));
}

static int64_t count_of(const DLTensor *tensor) {
  int64_t count = 1;
  for (int32_t i = 0; i < tensor->ndim; i++)
    count *= tensor->shape[i];
  return count;
}

/* Every input gets a sawtooth of its own between -1 and 1. */
static void bind_input(tsr_exec *exec, const tsr_module *module, uint32_t index) {
  int64_t shape[MAX_RANK];
  tsr_port_info info;
  check(tsr_module_get_input(module, index, &info), "no such input");
  DLTensor tensor = {.device = {kDLCPU, 0}, .ndim = (int32_t)info.rank, .dtype = {kDLFloat, 32, 1}};
  for (int32_t i = 0; i < tensor.ndim; i++)
    shape[i] = info.dims[i] < 0 ? DIM : info.dims[i];
  tensor.shape = shape;
  float *data = malloc((size_t)count_of(&tensor) * sizeof *data);
  for (int64_t i = 0; data && i < count_of(&tensor); i++)
    data[i] = (float)((i * (37 + 2 * index) + index) % 129 - 64) / 64.0F;
  tensor.data = data;
  check_exec(tsr_exec_bind_input(exec, index, &tensor), exec);
}

int main(int argc, char **argv) {
  tsr_module *module;
  tsr_module_info info;
  tsr_exec *exec;
  tsr_message message;
  if (argc != 2)
    return 2;
  check(tsr_module_load_file(argv[1], NULL, &module, &message), message.text);
  check(tsr_exec_create(module, NULL, &exec, &message), message.text);
  tsr_module_get_info(module, &info);
  for (uint32_t i = 0; i < info.input_count; i++)
    bind_input(exec, module, i);
  check_exec(tsr_exec_run(exec), exec);
  for (uint32_t i = 0; i < info.output_count; i++) {
    DLTensor out;
    check(tsr_exec_output(exec, i, &out), "no output");
    for (int64_t k = 0; k < count_of(&out); k++)
      printf("%.9g\n", (double)((const float *)out.data)[k]);
  }
  tsr_exec_destroy(exec);
  tsr_module_release(module);
  return 0;
}
