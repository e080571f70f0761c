/* Generates tokens with decoder.tsr as a module: the cache is the caller's memory, bound as input
 * and as output, so that a step writes the rows of its new tokens and nothing else moves. Links
 * libtessera_runtime.
 *
 *   generate MODULE.tsm STEPS TOKEN...     prints the STEPS tokens that follow */
#include <stdio.h>
#include <stdlib.h>
#include <tessera/runtime.h>

enum { CACHE_ROWS = 256, WIDTH = 16, MOST_TOKENS = 64 };

static DLTensor tensor(void *data, tsr_dtype dtype, int32_t rank, int64_t *shape) {
  return (DLTensor){.data = data,
                    .device = {.device_type = kDLCPU},
                    .ndim = rank,
                    .dtype = tsr_dtype_to_dlpack(dtype),
                    .shape = shape};
}

/* `data` is input `in` and its next contents, output `out`. */
static tsr_status bind_state(tsr_exec *exec, const char *in, const char *out, DLTensor data) {
  tsr_status status = tsr_exec_bind_input_name(exec, in, &data);
  return status == TSR_OK ? tsr_exec_bind_output_name(exec, out, &data) : status;
}

static tsr_status generate(tsr_exec *exec, int64_t *tokens, int64_t count, int steps) {
  static float keys[CACHE_ROWS][WIDTH], values[CACHE_ROWS][WIDTH]; /* finite before they are used */
  static int64_t at;                                               /* rows in use */
  int64_t cache_shape[2] = {CACHE_ROWS, WIDTH}, token_shape[1] = {count}, next;
  tsr_status status = bind_state(exec, "at", "at2", tensor(&at, TSR_I64, 0, NULL));
  if (status == TSR_OK)
    status = bind_state(exec, "keys", "keys2", tensor(keys, TSR_F32, 2, cache_shape));
  if (status == TSR_OK)
    status = bind_state(exec, "values", "values2", tensor(values, TSR_F32, 2, cache_shape));
  for (int step = 0; status == TSR_OK && step < steps; step++) {
    DLTensor made, ids = tensor(tokens, TSR_I64, 1, token_shape);
    status = tsr_exec_bind_input_name(exec, "ids", &ids); /* the prompt, then one token each time */
    if (status == TSR_OK)
      status = tsr_exec_run(exec);
    if (status == TSR_OK)
      status = tsr_exec_output_name(exec, "next", &made);
    if (status != TSR_OK)
      break;
    next = *(const int64_t *)made.data;
    printf("%lld\n", (long long)next);
    tokens[0] = next;
    token_shape[0] = 1;
  }
  return status;
}

int main(int argc, char **argv) {
  int64_t tokens[MOST_TOKENS];
  tsr_module *module;
  tsr_exec *exec = NULL;
  tsr_message message;
  if (argc < 4 || argc - 3 > MOST_TOKENS) {
    fprintf(stderr, "usage: generate MODULE.tsm STEPS TOKEN...\n");
    return 2;
  }
  for (int i = 3; i < argc; i++)
    tokens[i - 3] = strtoll(argv[i], NULL, 10);
  if (tsr_module_load_file(argv[1], NULL, &module, &message) != TSR_OK) {
    fprintf(stderr, "error: %s\n", message.text);
    return 1;
  }
  tsr_status status = tsr_exec_create(module, NULL, &exec, &message);
  if (status == TSR_OK)
    status = generate(exec, tokens, argc - 3, atoi(argv[2]));
  if (status != TSR_OK)
    fprintf(stderr, "error: %s\n", exec != NULL ? tsr_exec_last_error(exec) : message.text);
  tsr_exec_destroy(exec);
  tsr_module_release(module);
  return status != TSR_OK;
}
