/* Strategy "wgmma": every type and order of the operands, tiles that hang over, clusters,
 * persistent walks, and launches whose guard takes the kernel of strategy "mma" instead. */
#include "tests/cuda_gemm/gemm_run.h"
#include "tests/cuda_gemm/gemm_texts.h"
#include <check.h>
#include <stdlib.h>

#define WGMMA(atom, bm, bn, bk, warps, stages, raster, cluster, persistent)                        \
  "strategy = \"wgmma\", atom = \"" atom "\", bm = " #bm ", bn = " #bn ", bk = " #bk               \
  ", warps_m = " #warps ", stages = " #stages ", split = 1, raster = " #raster                     \
  ", cluster = " #cluster ", persistent = " #persistent

static const gemm_case plain[] = {
    {"aligned", GEMM("f16", "[128, 128]", "[128, 64]", "mk,kn->mn", "[128, 64]"),
     WGMMA("wgmma.f16", 64, 64, 64, 4, 2, 1, 1, 0), NULL, 128, F32, 0, F16},
    {"hanging over", GEMM("f16", "[200, 136]", "[72, 136]", "mk,nk->mn", "[200, 72]"),
     WGMMA("wgmma.f16", 128, 64, 64, 8, 3, 1, 1, 0), NULL, 136, F32, 0, F16},
    {"rows turned", GEMM("f16", "[72, 136]", "[72, 80]", "km,kn->mn", "[136, 80]"),
     WGMMA("wgmma.f16", 64, 64, 32, 4, 2, 4, 1, 0), NULL, 72, F32, 0, F16},
    {"narrow rows in shared memory", GEMM("bf16", "[64, 48]", "[48, 32]", "mk,kn->mn", "[64, 32]"),
     WGMMA("wgmma.bf16", 64, 32, 16, 4, 4, 1, 1, 0), NULL, 48, F32, 0, BF16},
    {"tf32", GEMM("f32", "[72, 76]", "[40, 76]", "mk,nk->mn", "[72, 40]"),
     WGMMA("wgmma.tf32", 64, 40, 32, 4, 2, 1, 1, 0), NULL, 76, F32, 2 * TF32, F32},
    {"tf32, constant turned",
     INPUT("a", "f32[64, 40]") CONST(
         "b", 3,
         "f32[40, 48]") "  %c = einsum %a, %b {spec = \"mk,kn->mn\"} : f32[64, 48]\n" OUTPUT("c"),
     WGMMA("wgmma.tf32", 64, 48, 16, 4, 2, 1, 1, 0), NULL, 40, F32, 2 * TF32, F32},
    {"s8", BYTES("[70, 96]", "[48, 96]", "mk,nk->mn", "[70, 48]"),
     WGMMA("wgmma.s8", 64, 48, 64, 4, 2, 1, 1, 0), NULL, 0, 0, 0, 0},
    {"one turn", GEMM("f16", "[64, 64]", "[64, 64]", "mk,kn->mn", "[64, 64]"),
     WGMMA("wgmma.f16", 64, 64, 64, 4, 2, 1, 1, 0), NULL, 64, F32, 0, F16},
};

static const gemm_case together[] = {
    {"cluster", GEMM("f16", "[256, 64]", "[64, 128]", "mk,kn->mn", "[256, 128]"),
     WGMMA("wgmma.f16", 64, 128, 32, 4, 2, 1, 2, 0), NULL, 64, F32, 0, F16},
    {"cluster, hanging over", GEMM("f16", "[200, 72]", "[56, 72]", "mk,nk->mn", "[200, 56]"),
     WGMMA("wgmma.f16", 64, 32, 32, 4, 3, 2, 2, 0), NULL, 72, F32, 0, F16},
    {"persistent", GEMM("f16", "[M, 80]", "[80, 128]", "mk,kn->mn", "[M, 128]"),
     MMA("mma.f16", 32, 32, 16, 1, 1, 2, 1),
     WGMMA("wgmma.f16", 64, 64, 32, 4, 2, 2, 1, 1) ", upto = 1099511627776", 80, F32, 0, F16},
    {"persistent cluster, a body behind the sum",
     INPUT("a", "f16[M, 72]") CONST("b", 7, "f16[72, 48]")
         CONST("bias", 8, "f16[48]") "  %c = einsum %a, %b {spec = \"mk,kn->mn\"} : f16[M, 48]\n"
                                     "  %d = add %c, %bias : f16[M, 48]\n" OUTPUT("d"),
     MMA("mma.f16", 32, 16, 16, 1, 1, 2, 1),
     WGMMA("wgmma.f16", 64, 32, 32, 4, 3, 4, 2, 1) ", upto = 1099511627776", 72, F32, 0, 2 * F16},
    {"a guard over the depth", GEMM("f16", "[64, K]", "[48, K]", "mk,nk->mn", "[64, 48]"),
     MMA("mma.f16", 32, 16, 16, 1, 1, 2, 1),
     WGMMA("wgmma.f16", 64, 48, 64, 4, 2, 1, 1, 0) ", upto = 1099511627776", 128, F32, 0, F16},
    {"attention scores",
     INPUT("q", "f16[B, M, 3, 64]")
         INPUT("k", "f16[B, N, 3, 64]") "  %c = einsum %q, %k {spec = \"bihd,bjhd->bhij\"} : "
                                        "f16[B, 3, M, N]\n" OUTPUT("c"),
     MMA("mma.f16", 32, 32, 16, 1, 1, 2, 1),
     WGMMA("wgmma.f16", 64, 64, 64, 4, 2, 1, 1, 0) ", upto = 1099511627776", 64, F32, 0, F16},
};

static const gemm_dims no_dims[] = {{{1, 1, 1, 1}}};
static const gemm_dims many_dims[] = {{{0, 1, 1, 1}}, {{70, 40, 72, 2}}, {{1, 1, 75, 1}}};

START_TEST(test_plain) {
  gemm_run("cuda:sm_90a", true, plain, COUNT(plain), no_dims, 1);
}
END_TEST
START_TEST(test_together) {
  gemm_run("cuda:sm_90a", false, together, COUNT(together), many_dims, COUNT(many_dims));
}
END_TEST

int main(void) {
  Suite *suite = suite_create("cuda_gemm.wgmma");
  const struct {
    const char *name;
    const TTest *test;
  } tests[] = {
      {"plain", test_plain},
      {"together", test_together},
  };
  for (unsigned i = 0; i < COUNT(tests); i++) {
    TCase *one = tcase_create(tests[i].name);
    tcase_set_timeout(one, 120);
    tcase_add_test(one, tests[i].test);
    suite_add_tcase(suite, one);
  }
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  const int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
