/* Ceilings: figures that can be, where and only where the machine has what they take. How large
 * they are is for `tessera doctor --ceilings` to say, on a quiet one. */
#include "runtime/cpu_features.h"
#include "tuner/ceilings.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool possible(const tsr_ceiling_figure *found, double clock) {
  const double starts = 2 * 1.5 * clock;
  return found[TSR_CEILING_FMA_F32].median <= starts * 16 * 2 &&
         found[TSR_CEILING_DOT_BF16].median <= starts * 32 * 2 &&
         found[TSR_CEILING_DOT_I8].median <= starts * 64 * 2;
}

START_TEST(figures) {
  tsr_ceiling_figure found[TSR_CEILING_COUNT];
  tsr_diag diag;
  tsr_diag_clear(&diag);
  tsr_status status =
      tsr_ceilings_measure((uint32_t)_i, 0.4, tsr_allocator_default(), &diag, found);
  ck_assert_msg(status == TSR_OK, "%s", diag.message);
  for (int i = 0; i < TSR_CEILING_COUNT; i++) {
    ck_assert_msg(isfinite(found[i].median) && found[i].median >= 0, "%s",
                  tsr_ceiling_text((tsr_ceiling)i));
    ck_assert_double_le(found[i].least, found[i].median);
    ck_assert_double_le(found[i].median, found[i].most);
  }
  ck_assert_double_gt(found[TSR_CEILING_CLOCK].median, 0);
  ck_assert_double_gt(found[TSR_CEILING_FMA_F32].median, 0);
  ck_assert_double_gt(found[TSR_CEILING_HAND_OVER].median, 0);
  ck_assert_double_gt(found[TSR_CEILING_MEMORY_STREAM].median, 0);
  bool vnni = (tsr_cpu_features() & TSR_CPU_AVX512_VNNI) != 0;
  ck_assert_int_eq(found[TSR_CEILING_DOT_I8].median > 0, vnni);
  const bool bf16 = (tsr_cpu_features() & TSR_CPU_AVX512_BF16) != 0;
  ck_assert_int_eq(found[TSR_CEILING_DOT_BF16].median > 0, bf16);
  /* No core starts more than two vectors of 64 bytes a cycle: a loop that seems to start four has
   * been made shorter by the compiler. The clock may be half again as fast as when it was measured,
   * and others may take any part of a sample's time: that only makes figures smaller. */
  tsr_ceiling_figure again[TSR_CEILING_COUNT];
  double clock = found[TSR_CEILING_CLOCK].most;
  for (int i = 0; i < 20 && !possible(found, clock); i++) {
    ck_assert_int_eq(tsr_ceilings_measure((uint32_t)_i, 0.4, tsr_allocator_default(), &diag, again),
                     TSR_OK);
    clock = fmax(clock, again[TSR_CEILING_CLOCK].most);
    for (int k = 0; k < TSR_CEILING_COUNT; k++)
      found[k].median = fmin(found[k].median, again[k].median);
  }
  ck_assert_msg(possible(found, clock), "%g, %g, %g at %g", found[TSR_CEILING_FMA_F32].median,
                found[TSR_CEILING_DOT_BF16].median, found[TSR_CEILING_DOT_I8].median, clock);
}
END_TEST

START_TEST(no_threads) {
  tsr_ceiling_figure found[TSR_CEILING_COUNT];
  tsr_diag diag;
  tsr_diag_clear(&diag);
  ck_assert_int_eq(tsr_ceilings_measure(0, 0.1, tsr_allocator_default(), &diag, found),
                   TSR_ERR_ARGUMENT);
  ck_assert_double_eq(found[0].median, 0);
}
END_TEST

/* Bytes per cycle and core are ratios of figures, whatever their number of threads. */
START_TEST(calibration) {
  tsr_ceiling_figure found[TSR_CEILING_COUNT] = {0};
  char text[TSR_CEILINGS_TEXT];
  tsr_target target, before;
  for (int i = 0; i < TSR_CEILING_COUNT; i++)
    found[i] = (tsr_ceiling_figure){1, 1, 40.0 * (i + 1)};
  found[TSR_CEILING_CLOCK].most = 8;
  found[TSR_CEILING_FMA_F32].most = 256;
  found[TSR_CEILING_DOT_BF16].most = 8 * (2.0 * 2 * 8) * 2 / 4; /* a quarter of 2 steps a cycle */
  found[TSR_CEILING_AMX_BF16].most = 4 * 1024.0 / 2;            /* half of one unit's */
  tsr_target_cpu(TSR_CPU_X86_64_V3, NULL, 2, &target);
  before = target;
  tsr_ceilings_text(found, 2, text);
  ck_assert(tsr_ceilings_calibrate(text, &target));
  ck_assert_double_eq_tol(target.clock_ghz, 4, 1e-6);
  ck_assert_double_eq_tol(target.fma_rate, 256 / (2.0 * 8) / 8, 1e-3);
  ck_assert_double_eq_tol(target.dot_bf16_share, 0.25, 1e-3);
  ck_assert_double_eq_tol(target.amx_share, 0.5, 1e-3);
  ck_assert_double_eq_tol(target.l2_rate, 40.0 * (TSR_CEILING_L2_READ + 1) / 8, 0.1);
  ck_assert_double_eq_tol(target.memory_rate, 40.0 * (TSR_CEILING_MEMORY_READ + 1) / 8, 0.1);
  ck_assert_str_eq(target.name, before.name);
  found[TSR_CEILING_DOT_BF16].most = found[TSR_CEILING_AMX_BF16].most = 0;
  tsr_ceilings_text(found, 2, text);
  ck_assert_ptr_null(strstr(text, "bf16"));
  ck_assert(tsr_ceilings_calibrate(text, &target));
  ck_assert_double_eq(target.dot_bf16_share, 1);
  ck_assert_double_eq(target.amx_share, 1);
  target = before;
  ck_assert(!tsr_ceilings_calibrate("", &target));
  ck_assert(!tsr_ceilings_calibrate("threads=1 clock=3 fma=nan l1=1 l2=1 l3=1 memory=1", &target));
  ck_assert(!tsr_ceilings_calibrate("threads=1 clock=3 xfma=2 l1=1 l2=1 l3=1 memory=1", &target));
  ck_assert_mem_eq(&target, &before, sizeof target);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("ceilings");
  TCase *tcase = tcase_create("all");
  tcase_set_timeout(tcase, 60);
  tcase_add_loop_test(tcase, figures, 1, 3);
  tcase_add_test(tcase, no_threads);
  tcase_add_test(tcase, calibration);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  const int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
