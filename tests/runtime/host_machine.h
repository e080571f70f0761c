/* A host program that is loaded and ready to run on one thread of the CPU. */
#ifndef TESTS_RUNTIME_HOST_MACHINE_H
#define TESTS_RUNTIME_HOST_MACHINE_H
#include "runtime/module/writer.h"
#include "tests/runtime/host_models.h"
#include <check.h>

typedef struct machine {
  tsr_module *module;
  tsr_exec *exec;
} machine;

static inline tsr_module *load(const tsr_program *program, const tsr_allocator *allocator) {
  tsr_module_options options = {.size = sizeof options, .allocator = allocator};
  tsr_module *module;
  tsr_message message;
  tsr_diag diag;
  void *data;
  size_t size;
  tsr_diag_clear(&diag);
  ck_assert_msg(tsr_module_write_memory(&program, 1, NULL, &data, &size, &diag) == TSR_OK, "%s",
                diag.message);
  ck_assert_msg(tsr_module_load_memory(data, size, &options, &module, &message) == TSR_OK, "%s",
                message.text);
  free(data);
  return module;
}

static inline tsr_exec *create(tsr_module *module) {
  tsr_exec_options options = {.size = sizeof options, .threads = 1};
  tsr_exec *exec;
  tsr_message message;
  ck_assert_msg(tsr_exec_create(module, &options, &exec, &message) == TSR_OK, "%s", message.text);
  return exec;
}

static inline machine start(host_builder *b) {
  machine m;
  m.module = load(hb_finish(b), NULL);
  m.exec = create(m.module);
  hb_end(b);
  return m;
}

static inline void stop(machine m) {
  tsr_exec_destroy(m.exec);
  tsr_module_release(m.module);
}

static inline void must(tsr_exec *exec, tsr_status status) {
  ck_assert_msg(status == TSR_OK, "%s", tsr_exec_last_error(exec));
}

static inline void bind(tsr_exec *exec, uint32_t index, int32_t *data, int64_t n) {
  DLTensor tensor = test_tensor(data, TSR_I32, &n, 1);
  must(exec, tsr_exec_bind_input(exec, index, &tensor));
}

static inline void bind_scalar(tsr_exec *exec, uint32_t index, void *data, tsr_dtype dtype) {
  DLTensor tensor = test_tensor(data, dtype, NULL, 0);
  must(exec, tsr_exec_bind_input(exec, index, &tensor));
}

#endif
