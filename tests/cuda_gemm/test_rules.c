/* Bank conflicts counted, and schedules that no kernel can have refused by kernel and knob. */
#include "passes/cost/banks.h"
#include "passes/tile/tile.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const tsr_banks_access ldmatrix = {16, 1, 1, 0}, line = {16, 8, 1, 0};

/* Eight rows of 16 bytes a phase: in rows of 128 bytes they share four banks; any other 16 bytes
 * more a row, or the swizzle, gives each its own. */
START_TEST(test_banks) {
  const tsr_banks_layout plain = {128, 0}, padded = {144, 0}, swizzled = {128, 128};
  const tsr_banks_layout half = {64, 0}, half_swizzled = {64, 64};
  ck_assert_uint_eq(tsr_banks_least(&ldmatrix), 4);
  ck_assert_uint_eq(tsr_banks_worst(&plain, 128, &ldmatrix), 32);
  ck_assert_uint_eq(tsr_banks_worst(&padded, 128, &ldmatrix), 4);
  ck_assert_uint_eq(tsr_banks_worst(&swizzled, 128, &ldmatrix), 4);
  ck_assert_uint_eq(tsr_banks_worst(&half, 64, &ldmatrix), 16);
  ck_assert_uint_eq(tsr_banks_worst(&half_swizzled, 64, &ldmatrix), 4);
  ck_assert_uint_eq(tsr_banks_worst(&plain, 128, &line), 4);
  /* One word for all threads is one pass; 32 words of one bank are 32. */
  uint32_t same[32] = {0}, apart[32];
  for (uint32_t i = 0; i < 32; i++)
    apart[i] = i * 128;
  ck_assert_uint_eq(tsr_banks_passes(same, 32, 4), 1);
  ck_assert_uint_eq(tsr_banks_passes(apart, 32, 4), 32);
}
END_TEST

/* The swizzle keeps rows in their 1024 bytes and moves no byte inside its 16. */
START_TEST(test_swizzle) {
  const tsr_banks_layout layout = {128, 128};
  bool seen[1024] = {false};
  for (uint32_t row = 0; row < 8; row++)
    for (uint32_t byte = 0; byte < 128; byte++) {
      const uint32_t at = tsr_banks_address(&layout, row, byte);
      ck_assert_uint_lt(at, 1024);
      ck_assert_uint_eq(at / 128, row);
      ck_assert_uint_eq(at % 16, byte % 16);
      ck_assert(!seen[at]);
      seen[at] = true;
    }
}
END_TEST

START_TEST(test_choice) {
  tsr_banks_layout chosen;
  for (uint32_t bytes = 16; bytes <= 512; bytes += 16) {
    tsr_banks_choose(bytes, &ldmatrix, &line, &chosen);
    ck_assert_uint_eq(tsr_banks_worst(&chosen, bytes, &ldmatrix), 4);
    ck_assert_uint_le(chosen.row_bytes, bytes + 16);
  }
}
END_TEST

#define GRAPH                                                                                      \
  "graph @g {\n  %a = input {name = \"a\"} : f16[200, 100]\n"                                      \
  "  %b = input {name = \"b\"} : f16[100, 72]\n"                                                   \
  "  %c = block par(%i in 200, %j in 72) red(%k in 100) {\n"                                       \
  "    %0 = load %a[%i, %k] : f16\n    %1 = load %b[%k, %j] : f16\n    %2 = cast %0 : f32\n"       \
  "    %3 = cast %1 : f32\n    %4 = mul %2, %3 : f32\n"                                            \
  "    %5 = reduce %4 {combine = \"add\"} : f32\n    store %5, %c[%i, %j]\n"                       \
  "  } : f32[200, 72]\n  output %c {name = \"c\"}\n}\n"

static const struct refusal {
  const char *target, *schedule, *why;
} refusals[] = {
    {"cuda:sm_80",
     "strategy = \"mma\", atom = \"mma.bf16\", bm = 64, bn = 64, bk = 32, warps_m = 2, warps_n = "
     "2, stages = 2, split = 1, raster = 1",
     "'atom' must be one that computes the block on cuda:sm_80, such as \"mma.f16\""},
    {"cuda:sm_80",
     "strategy = \"mma\", atom = \"wgmma.f16\", bm = 64, bn = 64, bk = 32, warps_m = 2, warps_n = "
     "2, stages = 2, split = 1, raster = 1",
     "'atom'"},
    {"cuda:sm_80",
     "strategy = \"mma\", atom = \"mma.f16\", bm = 24, bn = 64, bk = 32, warps_m = 1, warps_n = "
     "2, stages = 2, split = 1, raster = 1",
     "'bm' must be whole atoms"},
    {"cuda:sm_80",
     "strategy = \"mma\", atom = \"mma.f16\", bm = 32, bn = 40, bk = 32, warps_m = 1, warps_n = "
     "2, stages = 2, split = 1, raster = 1",
     "'bn' must be whole atoms"},
    {"cuda:sm_80",
     "strategy = \"mma\", atom = \"mma.f16\", bm = 32, bn = 64, bk = 24, warps_m = 1, warps_n = "
     "2, stages = 2, split = 1, raster = 1",
     "'bk' must be whole steps"},
    {"cuda:sm_80",
     "strategy = \"mma\", atom = \"mma.f16\", bm = 256, bn = 256, bk = 32, warps_m = 2, warps_n = "
     "2, stages = 2, split = 1, raster = 1",
     "beyond the registers"},
    {"cuda:sm_80",
     "strategy = \"mma\", atom = \"mma.f16\", bm = 128, bn = 128, bk = 256, warps_m = 2, warps_n "
     "= 2, stages = 4, split = 1, raster = 1",
     "beyond the shared memory"},
    {"cuda:sm_90a",
     "strategy = \"wgmma\", atom = \"wgmma.f16\", bm = 64, bn = 64, bk = 64, warps_m = 4, stages = "
     "1, split = 1, raster = 1, cluster = 1, persistent = 0",
     "'stages' must be at least 2"},
    {"cuda:sm_90a",
     "strategy = \"wgmma\", atom = \"wgmma.f16\", bm = 64, bn = 64, bk = 48, warps_m = 4, stages = "
     "2, split = 1, raster = 1, cluster = 1, persistent = 0",
     "'bk' must make rows of 32, 64 or 128 bytes"},
    /* Rows of 100 elements are no whole 16 bytes. */
    {"cuda:sm_90a",
     "strategy = \"wgmma\", atom = \"wgmma.f16\", bm = 64, bn = 64, bk = 64, warps_m = 4, stages = "
     "2, split = 1, raster = 1, cluster = 1, persistent = 0",
     "needs operands that tensor maps can read"},
};

START_TEST(test_refusal) {
  const struct refusal *one = &refusals[_i];
  char text[4096], message[1000];
  tsr_target target;
  tsr_diag diag = {0};
  tsr_ir *ir = NULL;
  snprintf(text, sizeof text, "%splan @p {\n  schedule @k0 {%s}\n}\n", GRAPH, one->schedule);
  ck_assert(tsr_target_cuda(one->target, &target));
  ck_assert_int_eq(tsr_ir_parse(tsr_allocator_default(), text, strlen(text), "t", &diag, &ir),
                   TSR_OK);
  tsr_plan_source plan = {.ir = ir};
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op)
    if (tsr_op_get(ir, op)->code == TSR_OP_PLAN)
      plan.plan = op;
  ck_assert_int_eq(tsr_pass_tile(ir, &target, &plan, &diag), TSR_ERR_ARGUMENT);
  tsr_diag_format(&diag, message, sizeof message);
  ck_assert_msg(strstr(message, "schedule @k0") != NULL && strstr(message, one->why) != NULL, "%s",
                message);
  tsr_ir_destroy(ir);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("cuda_gemm.rules");
  TCase *cases = tcase_create("rules");
  tcase_add_test(cases, test_banks);
  tcase_add_test(cases, test_swizzle);
  tcase_add_test(cases, test_choice);
  tcase_add_loop_test(cases, test_refusal, 0, sizeof refusals / sizeof *refusals);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  const int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
