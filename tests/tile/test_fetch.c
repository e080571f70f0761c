/* Kernels that fetch constants of later launches compute what they computed before. The target's
 * caches are so small that few constants make launches wait. */
#include "tests/tile/tile_run.h"

/* Products one after the other, each by a constant of some 100 KB: plain ones, of which the
 * first two share a kernel, one that adds an earlier result, one with other columns. */
static const char *const text = "graph @g {\n"
                                "  %x = input {name = \"x\"} : f32[24, 160]\n"
                                "  %w0 = const {random = 1} : f32[160, 160]\n"
                                "  %w1 = const {random = 2} : f32[160, 160]\n"
                                "  %w2 = const {random = 3} : f32[160, 160]\n"
                                "  %w3 = const {random = 4} : f32[160, 170]\n"
                                "  %y0 = block par(%m in 24, %n in 160) red(%k in 160) {\n"
                                "    %0 = load %x[%m, %k] : f32\n"
                                "    %1 = load %w0[%k, %n] : f32\n"
                                "    %2 = mul %0, %1 : f32\n"
                                "    %3 = reduce %2 {combine = \"add\"} : f32\n"
                                "    store %3, %y0[%m, %n]\n"
                                "  } : f32[24, 160]\n"
                                "  %y1 = block par(%m in 24, %n in 160) red(%k in 160) {\n"
                                "    %0 = load %y0[%m, %k] : f32\n"
                                "    %1 = load %w1[%k, %n] : f32\n"
                                "    %2 = mul %0, %1 : f32\n"
                                "    %3 = reduce %2 {combine = \"add\"} : f32\n"
                                "    store %3, %y1[%m, %n]\n"
                                "  } : f32[24, 160]\n"
                                "  %y2 = block par(%m in 24, %n in 160) red(%k in 160) {\n"
                                "    %0 = load %y1[%m, %k] : f32\n"
                                "    %1 = load %w2[%k, %n] : f32\n"
                                "    %2 = mul %0, %1 : f32\n"
                                "    %3 = reduce %2 {combine = \"add\"} : f32\n"
                                "    %4 = load %y0[%m, %n] : f32\n"
                                "    %5 = add %3, %4 : f32\n"
                                "    store %5, %y2[%m, %n]\n"
                                "  } : f32[24, 160]\n"
                                "  %y3 = block par(%m in 24, %n in 170) red(%k in 160) {\n"
                                "    %0 = load %y2[%m, %k] : f32\n"
                                "    %1 = load %w3[%k, %n] : f32\n"
                                "    %2 = mul %0, %1 : f32\n"
                                "    %3 = reduce %2 {combine = \"add\"} : f32\n"
                                "    store %3, %y3[%m, %n]\n"
                                "  } : f32[24, 170]\n"
                                "  output %y3 {name = \"y\"}\n"
                                "}\n";

static void small_target(tsr_cpu_isa *out_isa, tsr_target *out_target, uint32_t threads) {
  tsr_cpu_isa_host(out_isa);
  tsr_target_host(threads, out_target);
  out_target->l2_bytes = 64 << 10;
  out_target->l3_bytes = 1 << 20;
  out_target->fma_rate = 2;
  out_target->memory_rate = 5.0 * out_target->vector_bits / 512;
}

/* Launches whose kernels fetch for others, where the second cache has so many bytes. */
static uint32_t launches_that_fetch(uint64_t l2_bytes) {
  tsr_cpu_isa isa;
  tsr_target target;
  tiled t;
  uint32_t count = 0;
  small_target(&isa, &target, 1);
  target.l2_bytes = l2_bytes;
  tiled_open(&t, text, &isa, &target);
  TSR_FOR_EACH_OP (t.ir, tsr_op_get(t.ir, t.graph)->regions[0], op) {
    const tsr_op_data *data = tsr_op_get(t.ir, op);
    if (data->code != TSR_OP_LAUNCH)
      continue;
    count += strstr(data->symbol, "_f") != NULL;
  }
  tiled_close(&t);
  return count;
}

START_TEST(the_last_launch_alone_does_not_fetch) {
  ck_assert_uint_eq(launches_that_fetch(64 << 10), 3);
}
END_TEST

START_TEST(constants_that_stay_in_cache_are_not_fetched) {
  ck_assert_uint_eq(launches_that_fetch(1 << 20), 0);
}
END_TEST

START_TEST(results_are_the_same) {
  tsr_cpu_isa isa;
  tsr_target target;
  small_target(&isa, &target, (uint32_t)_i);
  check_text(text, NULL, 0, &isa, &target);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("fetch");
  TCase *cases = tcase_create("fetch");
  tcase_set_timeout(cases, 120);
  tcase_add_test(cases, the_last_launch_alone_does_not_fetch);
  tcase_add_test(cases, constants_that_stay_in_cache_are_not_fetched);
  tcase_add_loop_test(cases, results_are_the_same, 1, 4);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  const int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
