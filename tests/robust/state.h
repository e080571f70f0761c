/* A text compiled, loaded and bound by names: what tests of outputs that live in an input's memory
 * begin with. */
#ifndef TESTS_ROBUST_STATE_H
#define TESTS_ROBUST_STATE_H
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/compiler.h>
#include <tessera/runtime.h>

typedef struct setup {
  tsr_module *module;
  tsr_exec *exec;
} setup;

static inline setup open_text(const char *text, const char *target, int32_t outputs) {
  tsr_compile_options options = {.targets = &target, .target_count = 1};
  tsr_exec_options exec_options = {
      .size = sizeof exec_options, .threads = 1, .output_device = outputs};
  const char *driver = getenv("TESSERA_EMULATED_DRIVER");
  tsr_context *context;
  tsr_message message;
  setup made;
  void *bytes;
  size_t size;
  if (strncmp(target, "cuda", 4) == 0) {
    ck_assert_msg(driver != NULL, "TESSERA_EMULATED_DRIVER is the emulated driver's path");
    setenv("TESSERA_CUDA_DRIVER", driver, 1);
    setenv("TESSERA_EMULATED_SM", "80", 1);
  }
  ck_assert_int_eq(tsr_context_create(NULL, &context), TSR_OK);
  tsr_status status =
      tsr_compile_text(context, text, strlen(text), "state.tsr", &options, &bytes, &size);
  ck_assert_msg(status == TSR_OK, "%s", tsr_context_error(context));
  status = tsr_module_load_memory(bytes, size, NULL, &made.module, &message);
  ck_assert_msg(status == TSR_OK, "%s", message.text);
  tsr_bytes_release(context, bytes, size);
  tsr_context_destroy(context);
  status = tsr_exec_create(made.module, &exec_options, &made.exec, &message);
  ck_assert_msg(status == TSR_OK, "%s", message.text);
  return made;
}

static inline void close_setup(setup *s) {
  tsr_exec_destroy(s->exec);
  tsr_module_release(s->module);
}

static inline DLTensor tensor(void *data, tsr_dtype dtype, int32_t rank, int64_t *shape) {
  return (DLTensor){.data = data,
                    .device = {.device_type = kDLCPU},
                    .ndim = rank,
                    .dtype = tsr_dtype_to_dlpack(dtype),
                    .shape = shape};
}

static inline void bind_in(tsr_exec *exec, const char *name, DLTensor data) {
  tsr_status status = tsr_exec_bind_input_name(exec, name, &data);
  ck_assert_msg(status == TSR_OK, "%s", tsr_exec_last_error(exec));
}

static inline void bind_out(tsr_exec *exec, const char *name, DLTensor data) {
  tsr_status status = tsr_exec_bind_output_name(exec, name, &data);
  ck_assert_msg(status == TSR_OK, "%s", tsr_exec_last_error(exec));
}

static inline void run(tsr_exec *exec) {
  tsr_status status = tsr_exec_run(exec);
  ck_assert_msg(status == TSR_OK, "%s", tsr_exec_last_error(exec));
}

static inline const float *output(tsr_exec *exec, const char *name) {
  DLTensor view;
  ck_assert_msg(tsr_exec_output_name(exec, name, &view) == TSR_OK, "%s", tsr_exec_last_error(exec));
  return (const float *)view.data;
}

static inline uint64_t kept_bytes(const tsr_exec *exec) {
  tsr_exec_stats stats;
  tsr_exec_get_stats(exec, &stats);
  return stats.kept_bytes;
}

#endif
