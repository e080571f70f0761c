/* Runs a module of one f32 input [N] and one f32 output [N], as a program that only runs models
 * does: it links libtessera_runtime. Prints the output. */
#include <stdio.h>
#include <tessera/runtime.h>

int main(int argc, char **argv) {
  float values[3] = {1, 2, 3};
  int64_t shape[1] = {3};
  tsr_module *module;
  tsr_exec *exec = NULL;
  tsr_message message;
  DLTensor y, x = {.data = values,
                   .device = {.device_type = kDLCPU},
                   .ndim = 1,
                   .dtype = tsr_dtype_to_dlpack(TSR_F32),
                   .shape = shape};
  if (argc != 2 || tsr_module_load_file(argv[1], NULL, &module, &message) != TSR_OK) {
    fprintf(stderr, "error: %s\n", argc == 2 ? message.text : "usage: run_module MODULE.tsm");
    return 1;
  }
  tsr_status status = tsr_exec_create(module, NULL, &exec, &message);
  if (status == TSR_OK)
    status = tsr_exec_bind_input(exec, 0, &x);
  if (status == TSR_OK)
    status = tsr_exec_run(exec);
  if (status == TSR_OK)
    status = tsr_exec_output(exec, 0, &y);
  if (status != TSR_OK)
    fprintf(stderr, "error: %s\n", exec != NULL ? tsr_exec_last_error(exec) : message.text);
  for (int64_t i = 0; status == TSR_OK && i < y.shape[0]; i++)
    printf("%g\n", (double)((const float *)y.data)[i]);
  tsr_exec_destroy(exec);
  tsr_module_release(module);
  return status != TSR_OK;
}
