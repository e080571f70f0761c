/* Every cast from and to float8, on every instruction set of this machine. */
#include "tests/codegen/float8_sweep.h"
#include "tests/codegen/harness.h"

enum { TILE = 16 };

static void run(const program *p, const char *where, const char *kernel, tsr_dtype from,
                tsr_dtype to, bool saturate) {
  size_t in_bytes = (size_t)tsr_dtype_bytes(from, sweep_count(from));
  size_t out_bytes = (size_t)tsr_dtype_bytes(to, sweep_count(from));
  void *buffers[2] = {guarded(in_bytes, true), guarded(out_bytes, true)};
  sweep_fill(from, buffers[0]);
  memset(buffers[1], 0x5a, out_bytes);
  program_run(p, kernel, buffers, NULL, sweep_count(from) / TILE);
  sweep_check(where, from, to, saturate, buffers[0], buffers[1]);
  guarded_free(buffers[0], in_bytes);
  guarded_free(buffers[1], out_bytes);
}

START_TEST(test_casts) {
  tsr_cpu_isa isas[4];
  int isa_count = host_isas(isas), number = _i / SWEEP_OTHERS;
  tsr_dtype float8 = sweep_float8[number], other = sweep_others[_i % SWEEP_OTHERS];
  char *text = sweep_text(number, other, TILE);
  for (int k = 0; k < isa_count; ++k) {
    program p;
    char where[32];
    snprintf(where, sizeof where, "instruction set %d", k);
    program_open(&p, text, &isas[k]);
    run(&p, where, "to0", other, float8, false);
    run(&p, where, "to1", other, float8, true);
    run(&p, where, "back", float8, other, true);
    program_close(&p);
  }
  free(text);
}
END_TEST

/* Infinity stays what it is when nothing is computed. */
START_TEST(test_moves) {
  static const char text[] = "kernel @k(%x: f8e5m2[256], out %y: f8e5m2[256]) grid(%i in 1) {\n"
                             "  %a = load %x[255 - $0] : reg f8e5m2[256]\n"
                             "  store %a, %y[$0]\n"
                             "}\n";
  tsr_cpu_isa isas[4];
  unsigned char in[256], out[256];
  void *buffers[2] = {in, out};
  for (int i = 0; i < 256; ++i)
    in[i] = (unsigned char)i;
  for (int k = 0; k < host_isas(isas); ++k) {
    program p;
    program_open(&p, text, &isas[k]);
    program_run(&p, "k", buffers, NULL, 1);
    for (int i = 0; i < 256; ++i) {
      double want = tsr_float_decode(TSR_F8E5M2, in[255 - i]);
      double got = tsr_float_decode(TSR_F8E5M2, out[i]);
      ck_assert(isnan(want) ? isnan(got) : out[i] == in[255 - i]);
    }
    program_close(&p);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("codegen.float8");
  TCase *cases = tcase_create("kernels");
  tcase_set_timeout(cases, 60);
  tcase_add_loop_test(cases, test_casts, 0, SWEEP_FLOAT8 * SWEEP_OTHERS);
  tcase_add_test(cases, test_moves);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
