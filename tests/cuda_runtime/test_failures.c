/* What goes wrong: drivers and devices that are missing, calls that fail one by one, kernels that
 * end the context. */
#include "runtime/cuda/cuda.h"
#include "tests/cuda_runtime/cuda_programs.h"
#include <check.h>
#include <dlfcn.h>
#include <stdio.h>

static tsr_status load_one(const tsr_program *program, tsr_module **out_module,
                           tsr_message *out_message) {
  test_file file = test_write(&program, 1);
  tsr_status status = tsr_module_load_memory(file.bytes, file.size, NULL, out_module, out_message);
  free(file.bytes);
  return status;
}

static void expect_text(const char *text, const char *part) {
  ck_assert_msg(strstr(text, part) != NULL, "'%s' lacks '%s'", text, part);
}

/* ---- Drivers and programs ---- */

static void expect_no_driver(const char *path, const char *part) {
  tsr_arena arena;
  tsr_program program;
  tsr_module *module;
  tsr_message message;
  tsr_arena_init(&arena, tsr_allocator_default());
  program = test_on_cuda(&arena, test_chain_program(), "cuda-emulated", "sm_80");
  if (path != NULL)
    (void)setenv("TESSERA_CUDA_DRIVER", path, 1);
  ck_assert_int_eq(load_one(&program, &module, &message), TSR_ERR_DEVICE);
  expect_text(message.text, part);
  expect_text(message.text, "'cuda-emulated'");
  tsr_arena_reset(&arena);
}

START_TEST(missing_drivers_are_named) {
  void *nvidia = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  test_use_driver(false, "90");
  expect_no_driver("/no/such/driver.so", "$TESSERA_CUDA_DRIVER");
  expect_no_driver("libm.so.6", "too old");
  expect_no_driver("libm.so.6", "cuInit");
  if (nvidia == NULL)
    expect_no_driver("", "no NVIDIA driver");
}
END_TEST

START_TEST(drivers_that_do_not_start_are_explained) {
  spy_state *spy = test_spy();
  test_use_driver(true, "90");
  spy->fail_at = 1;
  spy->error = 999;
  expect_no_driver(NULL, "does not start: error 999");
  spy->fail_at = 1;
  spy->error = TSR_CU_ERROR_NO_DEVICE;
  expect_no_driver(NULL, "no CUDA device");
}
END_TEST

/* A program of the CPU that comes first runs without the driver being looked for. */
START_TEST(first_programs_that_run_are_taken) {
  tsr_arena arena;
  tsr_program cpu = test_chain_program(), cuda, future;
  const tsr_program *cpu_first[] = {&cpu, &cuda}, *cuda_first[] = {&cuda, &cpu},
                    *future_first[] = {&future, &cuda, &cpu};
  tsr_module_options options = {.size = sizeof options};
  tsr_module_info info;
  tsr_module *module;
  tsr_message message;
  test_file file;
  test_use_driver(true, "80,90");
  tsr_arena_init(&arena, tsr_allocator_default());
  cuda = test_on_cuda(&arena, test_chain_program(), "cuda-emulated:sm_80", "sm_80");
  future = test_on_cuda(&arena, test_chain_program(), "cuda-emulated:sm_90a", "sm_90a");
  file = test_write(cpu_first, 2);
  ck_assert_int_eq(tsr_module_load_memory(file.bytes, file.size, &options, &module, &message),
                   TSR_OK);
  ck_assert_ptr_null(dlopen(TSR_SPY_DRIVER, RTLD_NOW | RTLD_NOLOAD));
  tsr_module_get_info(module, &info);
  ck_assert_str_eq(info.target, "cpu:x86-64");
  ck_assert_int_eq(info.device.device_type, kDLCPU);
  tsr_module_release(module);
  options.target = "cuda-emulated"; /* any program of that kind */
  ck_assert_int_eq(tsr_module_load_memory(file.bytes, file.size, &options, &module, &message),
                   TSR_OK);
  tsr_module_get_info(module, &info);
  ck_assert_str_eq(info.target, "cuda-emulated:sm_80");
  ck_assert_int_eq(info.device.device_type, kDLCUDA);
  ck_assert_int_eq(strncmp(info.device_name, TSR_CUDA_EMULATED_NAME, 8), 0);
  tsr_module_release(module);
  free(file.bytes);
  options.target = NULL;
  file = test_write(cuda_first, 2);
  ck_assert_int_eq(tsr_module_load_memory(file.bytes, file.size, &options, &module, NULL), TSR_OK);
  tsr_module_get_info(module, &info);
  ck_assert_str_eq(info.target, "cuda-emulated:sm_80");
  tsr_module_release(module);
  (void)setenv("TESSERA_CUDA_DRIVER", "/no/such/driver.so", 1);
  ck_assert_int_eq(tsr_module_load_memory(file.bytes, file.size, &options, &module, NULL), TSR_OK);
  tsr_module_get_info(module, &info);
  ck_assert_str_eq(info.target, "cpu:x86-64");
  tsr_module_release(module);
  free(file.bytes);
  test_use_driver(true, "80,90");
  file = test_write(future_first, 3);
  for (int32_t device = 0; device < 2; device++) { /* sm_90a is for device 1 alone */
    options.device = device;
    ck_assert_int_eq(tsr_module_load_memory(file.bytes, file.size, &options, &module, NULL),
                     TSR_OK);
    tsr_module_get_info(module, &info);
    ck_assert_str_eq(info.target, device == 0 ? "cuda-emulated:sm_80" : "cuda-emulated:sm_90a");
    ck_assert_int_eq(info.device.device_id, device);
    tsr_module_release(module);
  }
  options.device = 2;
  ck_assert_int_eq(tsr_module_load_memory(file.bytes, file.size, &options, &module, &message),
                   TSR_ERR_ARGUMENT);
  expect_text(message.text, "no CUDA device number 2");
  options.device = 0;
  options.target = "cuda-emulated:sm_90a";
  ck_assert_int_eq(tsr_module_load_memory(file.bytes, file.size, &options, &module, &message),
                   TSR_ERR_DEVICE);
  expect_text(message.text, "sm_90a alone");
  expect_text(message.text, "is sm_80");
  options.target = "cuda:sm_80";
  ck_assert_int_eq(tsr_module_load_memory(file.bytes, file.size, &options, &module, &message),
                   TSR_ERR_NOT_FOUND);
  ck_assert_int_eq(test_spy()->live, 0);
  free(file.bytes);
  tsr_arena_reset(&arena);
}
END_TEST

/* Every program that does not run here, and why. */
START_TEST(all_reasons_are_listed) {
  tsr_arena arena;
  tsr_program needy = test_chain_program(), cuda, real;
  const tsr_program *programs[] = {&needy, &cuda, &real};
  static const char ptx[] = ".version 8.0";
  tsr_cuda_unit units[KERNELS];
  const void *data[KERNELS];
  tsr_module *module;
  tsr_message message;
  test_file file;
  test_use_driver(false, "80");
  tsr_arena_init(&arena, tsr_allocator_default());
  needy.cpu_features = (uint64_t)1 << 63;
  cuda = test_on_cuda(&arena, test_chain_program(), "cuda-emulated:sm_90", "sm_90");
  real = test_on_cuda(&arena, test_chain_program(), "cuda:sm_80", "sm_80");
  memset(units, 0, sizeof units);
  for (uint32_t i = 0; i < KERNELS; i++) {
    units[i] = (tsr_cuda_unit){i, TSR_CUDA_UNIT_PTX, 80, 0, 0, sizeof ptx};
    data[i] = ptx;
  }
  ck_assert_int_eq(
      tsr_cuda_image_make(units, data, KERNELS, &arena, NULL, &real.image, &real.image_bytes),
      TSR_OK);
  file = test_write(programs, 3);
  ck_assert_int_eq(tsr_module_load_memory(file.bytes, file.size, NULL, &module, &message),
                   TSR_ERR_DEVICE);
  expect_text(message.text, "'cpu:x86-64' needs feature 63");
  expect_text(message.text, "'cuda-emulated:sm_90' has text for the emulated device for sm_90");
  expect_text(message.text, "'cuda:sm_80' has PTX for sm_80 and later; device 0, Emulated device");
  free(file.bytes);
  tsr_arena_reset(&arena);
}
END_TEST

/* Which units devices take, and which of several: code for the very architecture, then for the
 * nearest of its generation, then the newest PTX. `best` numbers the unit, -1: none fits. */
START_TEST(devices_choose_units) {
  enum { CUBIN = TSR_CUDA_UNIT_CUBIN, PTX = TSR_CUDA_UNIT_PTX, TEXT = TSR_CUDA_UNIT_TEXT };
  static const struct {
    struct {
      uint32_t kind, capability, specific;
    } units[4];
    uint32_t count;
    int device, best;
    bool emulated;
  } rows[] = {
      {{{CUBIN, 80, 0}, {PTX, 80, 0}}, 2, 80, 0, false},
      {{{CUBIN, 80, 0}, {PTX, 80, 0}}, 2, 86, 0, false},
      {{{CUBIN, 80, 0}, {PTX, 80, 0}}, 2, 90, 1, false},
      {{{CUBIN, 80, 0}, {PTX, 80, 0}}, 2, 75, -1, false},
      {{{PTX, 80, 0}, {CUBIN, 80, 0}, {CUBIN, 86, 0}, {PTX, 89, 0}}, 4, 89, 2, false},
      {{{PTX, 80, 0}, {PTX, 89, 0}, {PTX, 100, 0}}, 3, 90, 1, false},
      {{{CUBIN, 90, 1}}, 1, 90, 0, false},
      {{{CUBIN, 90, 1}}, 1, 100, -1, false},
      {{{CUBIN, 90, 1}, {PTX, 90, 1}}, 2, 120, -1, false},
      {{{PTX, 90, 0}, {PTX, 90, 1}}, 2, 90, 1, false},
      {{{CUBIN, 90, 0}, {CUBIN, 90, 1}}, 2, 90, 1, false},
      {{{CUBIN, 100, 0}}, 1, 103, 0, false},
      {{{CUBIN, 100, 0}}, 1, 120, -1, false},
      {{{TEXT, 80, 0}}, 1, 90, -1, false},
      {{{TEXT, 80, 0}}, 1, 90, 0, true},
      {{{TEXT, 90, 1}}, 1, 90, 0, true},
      {{{TEXT, 90, 1}}, 1, 89, -1, true},
      {{{CUBIN, 90, 0}, {PTX, 80, 0}}, 2, 90, -1, true},
  };
  static const char content[64] = "\x7f"
                                  "ELF";
  const void *data[] = {content, content, content, content};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    tsr_kernel_desc kernel = {.name = "k", .symbol = "k", .nodes = ""};
    tsr_program program = {.target = "cuda", .kernels = &kernel, .kernel_count = 1};
    cuda_device device = {.capability = rows[i].device, .emulated = rows[i].emulated};
    tsr_cuda_unit units[4];
    cuda_program *made;
    tsr_arena arena;
    char why[600];
    memset(units, 0, sizeof units);
    for (uint32_t u = 0; u < rows[i].count; u++) {
      units[u].kind = rows[i].units[u].kind;
      units[u].capability = rows[i].units[u].capability;
      units[u].specific = rows[i].units[u].specific;
      units[u].bytes = sizeof content;
    }
    tsr_arena_init(&arena, tsr_allocator_default());
    ck_assert_int_eq(tsr_cuda_image_make(units, data, rows[i].count, &arena, NULL, &program.image,
                                         &program.image_bytes),
                     TSR_OK);
    ck_assert_msg(tsr_cuda_program_fits(&device, &program, why, sizeof why) == (rows[i].best >= 0),
                  "row %zu", i);
    if (rows[i].best >= 0) {
      atomic_init(&device.references, 1);
      ck_assert_int_eq(
          tsr_cuda_program_create(&device, &program, tsr_allocator_default(), NULL, &made), TSR_OK);
      ck_assert_msg(made->kernels[0].unit->kind == units[rows[i].best].kind &&
                        made->kernels[0].unit->capability == units[rows[i].best].capability &&
                        made->kernels[0].unit->specific == units[rows[i].best].specific,
                    "row %zu", i);
      tsr_cuda_program_destroy(made);
    }
    tsr_arena_reset(&arena);
  }
}
END_TEST

/* To be read about on any machine, and run on none. */
START_TEST(modules_are_described_without_a_device) {
  tsr_arena arena;
  tsr_program program;
  const tsr_program *programs = &program;
  tsr_module_options options = {.size = sizeof options, .flags = TSR_MODULE_DESCRIBE};
  tsr_module_info info;
  tsr_kernel_info kernel;
  tsr_target_info target;
  tsr_module *module;
  tsr_exec *exec;
  tsr_message message;
  test_file file;
  (void)setenv("TESSERA_CUDA_DRIVER", "/no/such/driver.so", 1);
  tsr_arena_init(&arena, tsr_allocator_default());
  program = test_special_program(&arena, "cuda:sm_90a", "sm_90a");
  file = test_write(&programs, 1);
  ck_assert_int_eq(tsr_module_load_memory(file.bytes, file.size, &options, &module, &message),
                   TSR_OK);
  tsr_module_get_info(module, &info);
  ck_assert_str_eq(info.target, "cuda:sm_90a");
  ck_assert_int_eq(tsr_module_get_target(module, 0, &target), TSR_OK);
  ck_assert_int_eq(target.selected, 0);
  ck_assert_int_eq(tsr_module_get_kernel(module, 0, &kernel), TSR_OK);
  ck_assert_str_eq(kernel.symbol, "boxes");
  ck_assert_uint_eq(kernel.threads, 32);
  ck_assert_uint_eq(kernel.shared_bytes, 1032);
  ck_assert_uint_eq(kernel.cluster, 2);
  ck_assert_int_eq(tsr_exec_create(module, NULL, &exec, &message), TSR_ERR_STATE);
  expect_text(message.text, "TSR_MODULE_DESCRIBE");
  tsr_module_release(module);
  free(file.bytes);
  tsr_arena_reset(&arena);
}
END_TEST

START_TEST(texts_that_do_not_compile_are_quoted) {
  tsr_arena arena;
  tsr_program program;
  tsr_module *module;
  tsr_exec *exec;
  tsr_message message;
  int32_t x[10] = {0};
  int64_t n = 10;
  DLTensor in = test_tensor(x, TSR_I32, &n, 1);
  tsr_kernel_desc kernels[KERNELS];
  const tsr_cuda_unit *units;
  uint32_t unit_count;
  char *text;
  test_use_driver(true, "90");
  tsr_arena_init(&arena, tsr_allocator_default());
  program = test_on_cuda(&arena, test_chain_program(), "cuda-emulated", "sm_80");
  ck_assert_int_eq(
      tsr_cuda_image_read(program.image, program.image_bytes, KERNELS, NULL, &units, &unit_count),
      TSR_OK);
  text = strstr((char *)(uintptr_t)program.image + units[0].offset, "TSR_KERNEL");
  ck_assert_ptr_nonnull(text);
  text[0] = '?';
  ck_assert_int_eq(load_one(&program, &module, &message), TSR_OK);
  ck_assert_int_eq(tsr_exec_create(module, NULL, &exec, &message), TSR_OK);
  ck_assert_int_eq(tsr_exec_bind_input(exec, 0, &in), TSR_OK);
  ck_assert_int_eq(tsr_exec_run(exec), TSR_ERR_DEVICE);
  expect_text(tsr_exec_last_error(exec), "kernel 'add_one'");
  expect_text(tsr_exec_last_error(exec), "error"); /* the compiler's */
  tsr_exec_destroy(exec);
  tsr_module_release(module);
  /* A symbol that is not there. */
  text[0] = 'T';
  memcpy(kernels, program.kernels, sizeof kernels);
  kernels[ADD_ONE].symbol = "absent";
  program.kernels = kernels;
  ck_assert_int_eq(load_one(&program, &module, &message), TSR_OK);
  ck_assert_int_eq(tsr_exec_create(module, NULL, &exec, &message), TSR_OK);
  ck_assert_int_eq(tsr_exec_bind_input(exec, 0, &in), TSR_OK);
  ck_assert_int_eq(tsr_exec_run(exec), TSR_ERR_DEVICE);
  expect_text(tsr_exec_last_error(exec), "no function 'absent'");
  tsr_exec_destroy(exec);
  tsr_module_release(module);
  ck_assert_int_eq(test_spy()->live, 0);
  tsr_arena_reset(&arena);
}
END_TEST

/* More shared memory than a block can have, more blocks at once than fit, maps that are none. */
START_TEST(launches_beyond_the_device_are_refused) {
  static const struct {
    uint32_t shared, blocks_of_rows, box_rows;
    int64_t n;
    const char *text;
  } rows[] = {
      {300 << 10, 1, 8, 8, "needs 307200 bytes of shared memory"},
      {64 << 10, 1 << 20, 8, 8, "needs 1048576 blocks at the same time"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    tsr_arena arena;
    tsr_program program;
    tsr_kernel_desc kernels[3];
    tsr_index_step steps[6];
    tsr_module *module;
    tsr_exec *exec;
    float x[64 * 64] = {0};
    int64_t shape[2] = {rows[i].n, 64};
    DLTensor in = test_tensor(x, TSR_F32, shape, 2);
    test_use_driver(true, "90");
    tsr_arena_init(&arena, tsr_allocator_default());
    program = test_special_program(&arena, "cuda-emulated:sm_90a", "sm_90a");
    memcpy(kernels, program.kernels, sizeof kernels);
    memcpy(steps, program.steps, sizeof steps);
    kernels[2].shared_bytes = rows[i].shared;
    steps[5].operand = rows[i].blocks_of_rows;
    program.kernels = kernels;
    program.steps = steps;
    ck_assert_int_eq(load_one(&program, &module, NULL), TSR_OK);
    ck_assert_int_eq(tsr_exec_create(module, NULL, &exec, NULL), TSR_OK);
    ck_assert_int_eq(tsr_exec_bind_input(exec, 0, &in), TSR_OK);
    ck_assert_int_eq(tsr_exec_run(exec), TSR_ERR_DEVICE);
    expect_text(tsr_exec_last_error(exec), rows[i].text);
    tsr_exec_destroy(exec);
    tsr_module_release(module);
    ck_assert_int_eq(test_spy()->live, 0);
    tsr_arena_reset(&arena);
  }
}
END_TEST

/* ---- Errors that end the context ---- */

static void start_broken(tsr_arena *arena, tsr_module **out_module, tsr_exec **out_exec) {
  static int32_t x[10];
  int64_t n = 10;
  DLTensor in = test_tensor(x, TSR_I32, &n, 1);
  tsr_program program;
  tsr_arena_init(arena, tsr_allocator_default());
  program = test_broken_program(arena, "cuda-emulated");
  ck_assert_int_eq(load_one(&program, out_module, NULL), TSR_OK);
  ck_assert_int_eq(tsr_exec_create(*out_module, NULL, out_exec, NULL), TSR_OK);
  ck_assert_int_eq(tsr_exec_bind_input(*out_exec, 0, &in), TSR_OK);
}

START_TEST(broken_kernels_are_candidates) {
  tsr_arena arena;
  tsr_module *module;
  tsr_exec *exec, *other, *none;
  DLTensor y;
  char text[2048];
  test_use_driver(false, "90");
  start_broken(&arena, &module, &exec);
  ck_assert_int_eq(tsr_exec_create(module, NULL, &other, NULL), TSR_OK);
  ck_assert_int_eq(tsr_exec_run(exec), TSR_ERR_DEVICE);
  (void)snprintf(text, sizeof text, "%s", tsr_exec_last_error(exec));
  expect_text(text, "latest first: kernel 'third' (Identity_2), kernel 'second' (Scatter_1), "
                    "kernel 'first' (Add_0)");
  expect_text(text, "TESSERA_CUDA_SYNC=1");
  expect_text(text, "CUDA_ERROR_LAUNCH_FAILED");
  ck_assert_int_eq(tsr_exec_run(exec), TSR_ERR_DEVICE);
  ck_assert_str_eq(tsr_exec_last_error(exec), text);
  ck_assert_int_eq(tsr_exec_output(exec, 0, &y), TSR_ERR_STATE);
  ck_assert_int_eq(tsr_exec_run(other), TSR_ERR_DEVICE);
  expect_text(tsr_exec_last_error(other), "another exec of the module");
  ck_assert_int_eq(tsr_exec_create(module, NULL, &none, NULL), TSR_ERR_DEVICE);
  tsr_exec_destroy(exec);
  tsr_exec_destroy(other);
  tsr_module_release(module);
  tsr_arena_reset(&arena);
}
END_TEST

START_TEST(broken_kernels_are_named_when_waited_for) {
  tsr_arena arena;
  tsr_module *module;
  tsr_exec *exec;
  test_use_driver(false, "90");
  (void)setenv("TESSERA_CUDA_SYNC", "1", 1);
  start_broken(&arena, &module, &exec);
  ck_assert_int_eq(tsr_exec_run(exec), TSR_ERR_DEVICE);
  expect_text(tsr_exec_last_error(exec), "in kernel 'second' (Scatter_1)");
  ck_assert_ptr_null(strstr(tsr_exec_last_error(exec), "'first'"));
  ck_assert_ptr_null(strstr(tsr_exec_last_error(exec), "'third'"));
  tsr_exec_destroy(exec);
  tsr_module_release(module);
  tsr_arena_reset(&arena);
}
END_TEST

/* ---- Every call fails once ---- */

typedef struct life {
  test_heap heap;
  tsr_module *module;
  tsr_exec *exec;
  DLManagedTensor *taken;
  const char *where; /* what failed */
  int32_t x[12], b[24];
} life;

static bool step(life *self, tsr_status status, const char *where) {
  if (status != TSR_OK && self->where == NULL)
    self->where = where;
  return status == TSR_OK;
}

/* Eager, captured and replayed runs, a new shape, host and pinned results, reads, taking. */
static bool run_all(life *self) {
  int32_t *x = self->x;
  int64_t n = 12, twice = 24, m;
  DLTensor in, other, y;
  x[0] = 5;
  x[2] = 7;
  x[5] = 9;
  for (int run = 0; run < 4; run++) {
    n = run == 3 ? 8 : 12;
    twice = 2 * n;
    in = test_tensor(x, TSR_I32, &n, 1);
    other = test_tensor(self->b, TSR_I32, &twice, 1);
    if (!step(self, tsr_exec_bind_input(self->exec, 0, &in), "bind") ||
        !step(self, tsr_exec_bind_input(self->exec, 1, &other), "bind") ||
        !step(self, tsr_exec_run(self->exec), "run") ||
        !step(self, tsr_exec_output(self->exec, 0, &y), "output") ||
        !step(self, tsr_exec_dim_value(self->exec, 1, &m), "dim"))
      return false;
    ck_assert_int_eq(m, 3);
    for (int i = 0; i < 3; i++)
      ck_assert_int_eq(((int32_t *)y.data)[i], x[i] + 2);
  }
  return step(self, tsr_exec_take_output(self->exec, 0, &self->taken), "take");
}

static void end_life(life *self) {
  tsr_exec_destroy(self->exec);
  tsr_module_release(self->module);
  if (self->taken != NULL)
    self->taken->deleter(self->taken);
}

/* False when the `fail_at`-th call was never reached. A failed run leaves the exec usable unless
 * the error is one that ends the context. */
static bool live_once(const test_file *file, long fail_at, tsr_cu_result error, bool ends) {
  spy_state *spy = test_spy();
  life self = {.module = NULL};
  tsr_module_options options = {.size = sizeof options, .allocator = &self.heap.allocator};
  tsr_exec_options exec_options = {.size = sizeof exec_options, .allocator = &self.heap.allocator};
  char trace[600];
  const char *folder = getenv("TESSERA_TEST_TMP");
  bool ran = false;
  (void)snprintf(trace, sizeof trace, "%s/failing-trace.json", folder != NULL ? folder : "/tmp");
  test_heap_init(&self.heap, 0);
  spy->failed = -1;
  spy->fail_at = fail_at;
  spy->error = error;
  if (step(&self, tsr_module_load_memory(file->bytes, file->size, &options, &self.module, NULL),
           "load") &&
      step(&self, tsr_exec_create(self.module, &exec_options, &self.exec, NULL), "create")) {
    ran = run_all(&self);
    if (!ran && !ends) {
      ck_assert_msg(run_all(&self), "call %d failed with %d; afterwards %s: %s", spy->failed, error,
                    self.where, tsr_exec_last_error(self.exec));
    } else if (!ran) {
      ck_assert_int_eq(tsr_exec_run(self.exec), TSR_ERR_DEVICE);
    } else if (step(&self, tsr_exec_set_trace(self.exec, trace), "trace")) {
      ran = step(&self, tsr_exec_run(self.exec), "run");
    }
  }
  end_life(&self);
  ran = spy->fail_at > 0;
  spy->fail_at = 0;
  if (spy->failed == SPY_cuCtxPushCurrent_v2 && self.where == NULL)
    spy->live = 0; /* at the end: what a context holds goes with it only */
  ck_assert_msg(spy->live == 0, "call %d (%ld) failed with %d at %s: %ld left alive", spy->failed,
                fail_at, error, self.where != NULL ? self.where : "no place", spy->live);
  ck_assert_int_eq(self.heap.live, 0);
  return !ran;
}

static void fail_each_call(tsr_cu_result error, bool ends) {
  tsr_arena arena;
  tsr_program program;
  const tsr_program *programs = &program;
  test_file file;
  long k = 1;
  test_use_driver(true, "90");
  tsr_arena_init(&arena, tsr_allocator_default());
  program = test_on_cuda(&arena, test_filter_program(), "cuda-emulated", "sm_80");
  file = test_write(&programs, 1);
  while (live_once(&file, k, error, ends))
    k++;
  ck_assert_int_gt(k, 150);
  free(file.bytes);
  tsr_arena_reset(&arena);
}

START_TEST(calls_without_memory_fail_cleanly) {
  fail_each_call(TSR_CU_ERROR_OUT_OF_MEMORY, false);
}
END_TEST

START_TEST(calls_with_other_errors_fail_cleanly) {
  fail_each_call(TSR_CU_ERROR_INVALID_VALUE, false);
}
END_TEST

START_TEST(calls_that_find_the_context_dead_fail_cleanly) {
  fail_each_call(TSR_CU_ERROR_ILLEGAL_ADDRESS, true);
}
END_TEST

/* Likewise every request for host memory. */
START_TEST(host_memory_runs_out_cleanly) {
  tsr_arena arena;
  tsr_program program;
  const tsr_program *programs = &program;
  test_file file;
  bool ran = false;
  test_use_driver(true, "90");
  tsr_arena_init(&arena, tsr_allocator_default());
  program = test_on_cuda(&arena, test_filter_program(), "cuda-emulated", "sm_80");
  file = test_write(&programs, 1);
  for (int k = 1; k < 200 && !ran; k++) {
    life self = {.module = NULL};
    tsr_module_options options = {.size = sizeof options, .allocator = &self.heap.allocator};
    tsr_exec_options exec_options = {.size = sizeof exec_options,
                                     .allocator = &self.heap.allocator};
    tsr_status status;
    test_heap_init(&self.heap, k);
    status = tsr_module_load_memory(file.bytes, file.size, &options, &self.module, NULL);
    if (status == TSR_OK)
      status = tsr_exec_create(self.module, &exec_options, &self.exec, NULL);
    ck_assert(status == TSR_OK || status == TSR_ERR_OUT_OF_MEMORY);
    ran = status == TSR_OK && run_all(&self);
    end_life(&self);
    ck_assert_int_eq(self.heap.live, 0);
    ck_assert_int_eq(test_spy()->live, 0);
  }
  ck_assert(ran);
  free(file.bytes);
  tsr_arena_reset(&arena);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("cuda_failures");
  TCase *tests = tcase_create("all");
  SRunner *runner;
  int failed;
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, missing_drivers_are_named);
  tcase_add_test(tests, drivers_that_do_not_start_are_explained);
  tcase_add_test(tests, first_programs_that_run_are_taken);
  tcase_add_test(tests, all_reasons_are_listed);
  tcase_add_test(tests, devices_choose_units);
  tcase_add_test(tests, modules_are_described_without_a_device);
  tcase_add_test(tests, texts_that_do_not_compile_are_quoted);
  tcase_add_test(tests, launches_beyond_the_device_are_refused);
  tcase_add_test(tests, broken_kernels_are_candidates);
  tcase_add_test(tests, broken_kernels_are_named_when_waited_for);
  tcase_add_test(tests, calls_without_memory_fail_cleanly);
  tcase_add_test(tests, calls_with_other_errors_fail_cleanly);
  tcase_add_test(tests, calls_that_find_the_context_dead_fail_cleanly);
  tcase_add_test(tests, host_memory_runs_out_cleanly);
  suite_add_tcase(suite, tests);
  runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
