/* Every cast from and to float8, on the emulated device. */
#include "codegen/cuda/cuda.h"
#include "codegen/cuda/device/device_text.h"
#include "ir/ir.h"
#include "tests/codegen/float8_sweep.h"
#include "tests/cuda_emulator/emulator.h"

enum { TILE = 128 };

typedef struct device {
  tsr_arena arena;
  tsr_ir *ir;
  tsr_cuda_code code;
  tsr_emulator *emulator;
} device;

static void device_open(device *d, const char *text) {
  tsr_target target;
  tsr_diag diag = {0};
  char message[2048];
  *d = (device){0};
  tsr_arena_init(&d->arena, tsr_allocator_default());
  ck_assert(tsr_target_cuda("cuda:sm_80", &target));
  tsr_status status =
      tsr_ir_parse(tsr_allocator_default(), text, strlen(text), "test.tsr", &diag, &d->ir);
  if (status == TSR_OK)
    status = tsr_codegen_cuda(d->ir, &target, &d->arena, &diag, &d->code);
  tsr_diag_format(&diag, message, sizeof message);
  ck_assert_msg(status == TSR_OK, "%s\n%s", message, text);
  d->emulator = tsr_emulator_create(80);
  ck_assert_ptr_nonnull(d->emulator);
}

static void device_close(device *d) {
  tsr_emulator_destroy(d->emulator);
  tsr_ir_destroy(d->ir);
  tsr_arena_reset(&d->arena);
}

static void run(device *d, uint32_t number, tsr_dtype from, tsr_dtype to, bool saturate) {
  const tsr_cuda_kernel *kernel = &d->code.kernels[number];
  int64_t count = sweep_count(from), tasks = count / TILE;
  void *in = tsr_emulator_alloc(d->emulator, (size_t)tsr_dtype_bytes(from, count), "in");
  void *out = tsr_emulator_alloc(d->emulator, (size_t)tsr_dtype_bytes(to, count), "out");
  ck_assert(in != NULL && out != NULL);
  sweep_fill(from, in);
  void *args[3] = {&in, &out, &tasks};
  tsr_emulated_launch launch = {.grid = {(uint32_t)tasks, 1, 1},
                                .threads = kernel->threads,
                                .shared_bytes = (uint32_t)kernel->shared_bytes,
                                .seed = 3};
  const tsr_emulated_kernel *made =
      tsr_emulator_kernel(d->emulator, d->code.text + tsr_cuda_device_text_size, kernel->symbol);
  ck_assert_msg(made != NULL, "%s", tsr_emulator_error(d->emulator));
  ck_assert_msg(tsr_emulator_launch(d->emulator, made, &launch, args), "%s\n%s",
                tsr_emulator_error(d->emulator), kernel->body);
  sweep_check("emulated", from, to, saturate, in, out);
  tsr_emulator_free(d->emulator, in);
  tsr_emulator_free(d->emulator, out);
}

/* All casts of one float8 type in one text, so that it is compiled once. */
START_TEST(test_casts) {
  device d;
  char *text = (char *)calloc(1, SWEEP_TEXT), name[32];
  uint32_t number = 0;
  ck_assert_ptr_nonnull(text);
  for (int pass = 0; pass < 2; ++pass) {
    for (int k = 0; k < SWEEP_OTHERS; ++k)
      for (int way = 0; way < 3; ++way) {
        tsr_dtype float8 = sweep_float8[_i], other = sweep_others[k];
        tsr_dtype from = way == 2 ? float8 : other, to = way == 2 ? other : float8;
        snprintf(name, sizeof name, "k%d_%d", k, way);
        if (pass == 0)
          sweep_kernel(text, SWEEP_TEXT, name, from, to, way != 0, TILE);
        else
          run(&d, number++, from, to, way != 0);
      }
    if (pass == 0)
      device_open(&d, text);
  }
  device_close(&d);
  free(text);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("codegen_cuda.float8");
  TCase *cases = tcase_create("kernels");
  tcase_set_timeout(cases, 120);
  tcase_add_loop_test(cases, test_casts, 0, SWEEP_FLOAT8);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
