/* Random graphs with control flow from text to results: compiled to host programs, run on this
 * machine's CPU and on the emulated device, and compared with the interpreter of tests/passes. */
#include "tests/passes/control_flow.h"
#include <stdlib.h>
#include <tessera/compiler.h>
#include <tessera/runtime.h>

enum { SEEDS = 40, EMULATED_SEEDS = 6 };

static tsr_module *compile(tsr_context *context, const char *target, tsr_ir *ir, void **out_bytes,
                           size_t *out_size) {
  tsr_compile_options options = {.targets = &target, .target_count = 1, .threads = 1};
  tsr_module_options how = {.size = sizeof how};
  tsr_module *module = NULL;
  tsr_message message;
  char *text = tsr_ir_print(ir, tsr_ir_arena(ir));
  ck_assert_ptr_nonnull(text);
  ck_assert_msg(tsr_compile_text(context, text, strlen(text), "random.tsr", &options, out_bytes,
                                 out_size) == TSR_OK,
                "%s\n%s", tsr_context_error(context), text);
  ck_assert_msg(tsr_module_load_memory(*out_bytes, *out_size, &how, &module, &message) == TSR_OK,
                "%s", message.text);
  return module;
}

/* The same numbers as the interpreter's inputs, in the order of the graph's. */
static void bind_inputs(tsr_exec *exec, const machine *m) {
  static float x[16];
  static int64_t n, extent;
  static uint8_t c;
  DLTensor tensors[3] = {{.data = x, .ndim = 1, .dtype = tsr_dtype_to_dlpack(TSR_F32)},
                         {.data = &n, .dtype = tsr_dtype_to_dlpack(TSR_I64)},
                         {.data = &c, .dtype = tsr_dtype_to_dlpack(TSR_BOOL)}};
  uint32_t number = 0;
  TSR_FOR_EACH_OP (m->ir, tsr_op_get(m->ir, tsr_ir_find_symbol(m->ir, "main"))->regions[0], op) {
    if (tsr_op_get(m->ir, op)->code != TSR_OP_INPUT)
      continue;
    tensor data = m->values[tsr_op_get(m->ir, op)->results[0]].items[0];
    for (int64_t i = 0; number == 0 && i < data.count; i++)
      x[i] = (float)data.data[i];
    if (number == 0)
      extent = data.count;
    else if (number == 1)
      n = (int64_t)data.data[0];
    else
      c = data.data[0] != 0;
    tensors[number].device.device_type = kDLCPU;
    tensors[number].shape = &extent;
    ck_assert_int_eq(tsr_exec_bind_input(exec, number, &tensors[number]), TSR_OK);
    number++;
  }
}

static double element(const DLTensor *from, int64_t at) {
  switch (tsr_dtype_from_dlpack(from->dtype)) {
  case TSR_F32:
    return (double)((const float *)from->data)[at];
  case TSR_I64:
    return (double)((const int64_t *)from->data)[at];
  default:
    return (double)((const uint8_t *)from->data)[at];
  }
}

static void compare_outputs(tsr_exec *exec, const machine *m) {
  ck_assert_uint_eq(m->output_count, KINDS);
  for (uint32_t i = 0; i < KINDS; i++) {
    uint64_t count;
    int32_t present;
    ck_assert_int_eq(tsr_exec_output_count(exec, i, &count, &present), TSR_OK);
    ck_assert_uint_eq(count, m->outputs[i].count);
    ck_assert_int_eq(present, i != MAYBE || count == 1);
    for (uint32_t k = 0; k < count; k++) {
      tensor want = m->outputs[i].items[k];
      DLTensor got;
      ck_assert_int_eq(tsr_exec_output_item(exec, i, k, &got), TSR_OK);
      ck_assert_int_eq(got.ndim == 0 ? 1 : got.shape[0], want.count);
      for (int64_t e = 0; e < want.count; e++)
        ck_assert_msg(element(&got, e) == want.data[e],
                      "seed %u: element %d of item %u of output %u is %g, not %g",
                      (unsigned)m->seed, (int)e, k, i, element(&got, e), want.data[e]);
    }
  }
}

static void check_models(const char *target, uint64_t first, uint32_t count) {
  tsr_context *context;
  uint32_t compared = 0;
  ck_assert_int_eq(tsr_context_create(NULL, &context), TSR_OK);
  for (uint64_t seed = first; seed < first + count; seed++) {
    tsr_ir *ir = random_graph(seed);
    machine m = run(ir, seed);
    if (!m.too_large) {
      void *bytes;
      size_t size;
      tsr_exec *exec = NULL;
      tsr_message message;
      tsr_module *module = compile(context, target, ir, &bytes, &size);
      ck_assert_msg(tsr_exec_create(module, NULL, &exec, &message) == TSR_OK, "%s", message.text);
      bind_inputs(exec, &m);
      for (int turn = 0; turn < 2; turn++) {
        ck_assert_msg(tsr_exec_run(exec) == TSR_OK, "seed %u: %s", (unsigned)seed,
                      tsr_exec_last_error(exec));
        compare_outputs(exec, &m);
      }
      tsr_exec_destroy(exec);
      tsr_module_release(module);
      tsr_bytes_release(context, bytes, size);
      compared++;
    }
    tsr_arena_reset(&m.arena);
    tsr_ir_destroy(ir);
  }
  ck_assert_uint_gt(compared, count / 2);
  tsr_context_destroy(context);
}

START_TEST(random_models) {
  check_models("cpu", 0, SEEDS);
}
END_TEST

START_TEST(random_models_on_the_emulated_device) {
  const char *driver = getenv("TESSERA_EMULATED_DRIVER");
  ck_assert_msg(driver != NULL, "TESSERA_EMULATED_DRIVER is the emulated driver's path");
  setenv("TESSERA_CUDA_DRIVER", driver, 1);
  setenv("TESSERA_EMULATED_SM", "80", 1);
  check_models("cuda-emulated:sm_80", 5000, EMULATED_SEEDS);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("host models");
  TCase *tests = tcase_create("random");
  tcase_set_timeout(tests, 300);
  tcase_add_test(tests, random_models);
  tcase_add_test(tests, random_models_on_the_emulated_device);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
