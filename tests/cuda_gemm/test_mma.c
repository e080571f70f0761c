/* Strategy "mma": every atom, every layout of the operands, awkward sizes, convolutions, computed
 * operands and bodies behind the sum. */
#include "tests/cuda_gemm/gemm_run.h"
#include "tests/cuda_gemm/gemm_texts.h"
#include <check.h>
#include <stdlib.h>

/* Rows, columns and depth that no tile divides; all four orders of the operands. */
static const gemm_case halves[] = {
    {"f16 rows", GEMM("f16", "[67, 53]", "[53, 131]", "mk,kn->mn", "[67, 131]"),
     MMA("mma.f16", 64, 128, 32, 2, 2, 3, 1), NULL, 53, F32, 0, F16},
    {"f16 aligned", GEMM("f16", "[72, 136]", "[136, 88]", "mk,kn->mn", "[72, 88]"),
     MMA("mma.f16", 64, 64, 32, 2, 2, 4, 2), NULL, 136, F32, 0, F16},
    {"f16 both turned", GEMM("f16", "[136, 72]", "[88, 136]", "km,nk->mn", "[72, 88]"),
     MMA("mma.f16", 64, 64, 64, 1, 2, 2, 4), NULL, 136, F32, 0, F16},
    {"f16 result turned", GEMM("f16", "[40, 64]", "[64, 56]", "mk,kn->nm", "[56, 40]"),
     MMA("mma.f16", 32, 32, 16, 1, 2, 3, 1), NULL, 64, F32, 0, F16},
    {"bf16", GEMM("bf16", "[33, 70]", "[50, 70]", "mk,nk->mn", "[33, 50]"),
     MMA("mma.bf16", 32, 32, 32, 2, 1, 2, 1), NULL, 70, F32, 0, BF16},
    {"one place", GEMM("f16", "[32, 64]", "[64, 32]", "mk,kn->mn", "[32, 32]"),
     MMA("mma.f16", 32, 32, 32, 1, 1, 1, 1), NULL, 64, F32, 0, F16},
    {"one row", GEMM("f16", "[1, 100]", "[100, 70]", "mk,kn->mn", "[1, 70]"),
     MMA("mma.f16", 16, 64, 32, 1, 2, 2, 1), NULL, 100, F32, 0, F16},
};

static const gemm_case others[] = {
    {"tf32 rows", GEMM("f32", "[64, 100]", "[100, 72]", "mk,kn->mn", "[64, 72]"),
     MMA("mma.tf32", 64, 64, 32, 2, 2, 3, 1), NULL, 100, F32, 2 * TF32, F32},
    {"tf32 turned", GEMM("f32", "[52, 60]", "[72, 52]", "km,nk->mn", "[60, 72]"),
     MMA("mma.tf32", 32, 32, 16, 2, 2, 2, 1), NULL, 52, F32, 2 * TF32, F32},
    {"tf32 odd",
     INPUT("a", "f32[31, 45]") CONST(
         "b", 3,
         "f32[45, 29]") "  %c = einsum %a, %b {spec = \"mk,kn->mn\"} : f32[31, 29]\n" OUTPUT("c"),
     MMA("mma.tf32", 32, 32, 16, 1, 2, 3, 1), NULL, 45, F32, 2 * TF32, F32},
    {"f32", GEMM("f32", "[65, 43]", "[43, 70]", "mk,kn->mn", "[65, 70]"),
     MMA("fma.f32", 64, 64, 16, 2, 2, 3, 1), NULL, 43, F32, 0, F32},
    {"f32 turned", GEMM("f32", "[44, 36]", "[40, 44]", "km,nk->mn", "[36, 40]"),
     MMA("fma.f32", 32, 64, 8, 2, 2, 2, 1), NULL, 44, F32, 0, F32},
    {"f64", GEMM("f64", "[33, 30]", "[30, 35]", "mk,kn->mn", "[33, 35]"),
     MMA("fma.f64", 32, 32, 8, 1, 2, 2, 1), NULL, 30, F64, 0, F64},
    {"i32", GEMM("i32", "[17, 20]", "[20, 24]", "mk,kn->mn", "[17, 24]"),
     MMA("fma.i32", 16, 32, 8, 1, 1, 2, 1), NULL, 0, 0, 0, 0},
    {"i64", GEMM("i64", "[17, 20]", "[20, 24]", "mk,kn->mn", "[17, 24]"),
     MMA("fma.i64", 16, 32, 8, 1, 1, 2, 1), NULL, 0, 0, 0, 0},
};

static const gemm_case bytes[] = {
    {"s8 turned", BYTES("[40, 96]", "[48, 96]", "mk,nk->mn", "[40, 48]"),
     MMA("mma.s8", 32, 32, 64, 2, 2, 3, 1), NULL, 0, 0, 0, 0},
    {"s8 rows", BYTES("[33, 80]", "[80, 48]", "mk,kn->mn", "[33, 48]"),
     MMA("mma.s8", 32, 32, 32, 1, 2, 2, 1), NULL, 0, 0, 0, 0},
    {"s8 odd", BYTES("[21, 45]", "[45, 19]", "mk,kn->mn", "[21, 19]"),
     MMA("mma.s8", 16, 16, 32, 1, 1, 2, 1), NULL, 0, 0, 0, 0},
    {"s8 constant",
     INPUT("a", "i8[40, 75]") CONST(
         "b", 5,
         "i8[75, 48]") "  %c = block par(%i in 40, %j in 48) red(%k in 75) {\n"
                       "    %0 = load %a[%i, %k] : i8\n    %1 = load %b[%k, %j] : i8\n    %2 = "
                       "cast %0 : i32\n"
                       "    %3 = cast %1 : i32\n    %4 = mul %2, %3 : i32\n"
                       "    %5 = reduce %4 {combine = \"add\"} : i32\n    store %5, %c[%i, %j]\n"
                       "  } : i32[40, 48]\n" OUTPUT("c"),
     MMA("mma.s8", 32, 16, 32, 2, 1, 3, 1), NULL, 0, 0, 0, 0},
};

static const gemm_case symbolic[] = {
    {"f16 M, N, K", GEMM("f16", "[M, K]", "[K, N]", "mk,kn->mn", "[M, N]"),
     MMA("mma.f16", 32, 32, 16, 1, 2, 3, 4), NULL, 64, F32, 0, F16},
    {"f32 M, N, K", GEMM("f32", "[M, K]", "[N, K]", "mk,nk->mn", "[M, N]"),
     MMA("fma.f32", 32, 32, 8, 1, 2, 2, 1), NULL, 64, F32, 0, F32},
    {"f16 M, constant, few rows apart",
     INPUT("a", "f16[M, 64]") CONST("b", 7, "f16[64, 48]")
         CONST("bias", 8,
               "f16[48]") "  %c = einsum %a, %b {spec = \"mk,kn->mn\"} : f16[M, 48]\n"
                          "  %d = add %c, %bias : f16[M, 48]\n  %z = const {value = 0} : f16[]\n"
                          "  %e = max %d, %z : f16[M, 48]\n" OUTPUT("e"),
     MMA("mma.f16", 32, 48, 32, 2, 1, 3, 2), MMA("mma.f16", 16, 16, 64, 1, 1, 2, 1) ", upto = 20",
     64, F32, 0, 2 * F16},
    {"attention scores",
     INPUT("q", "f16[B, M, 3, 40]")
         INPUT("k", "f16[B, N, 3, 40]") "  %c = einsum %q, %k {spec = \"bihd,bjhd->bhij\"} : "
                                        "f16[B, 3, M, N]\n" OUTPUT("c"),
     MMA("mma.f16", 32, 32, 16, 2, 1, 2, 2), NULL, 40, F32, 0, F16},
    {"attention values",
     INPUT("p", "f16[B, 3, M, N]")
         INPUT("v", "f16[B, N, 3, 40]") "  %c = einsum %p, %v {spec = \"bhij,bjhd->bihd\"} : "
                                        "f16[B, M, 3, 40]\n" OUTPUT("c"),
     MMA("mma.f16", 32, 48, 16, 1, 2, 3, 1), NULL, 64, F32, 0, F16},
};

static const gemm_dims many_dims[] = {
    {{0, 7, 5, 2}}, {{1, 1, 1, 1}}, {{40, 33, 17, 1}}, {{32, 64, 64, 1}}, {{20, 24, 8, 2}},
};
static const gemm_dims no_dims[] = {{{1, 1, 1, 1}}};

#define CONV(type, x, w, attrs, c)                                                                 \
  INPUT("x", type x)                                                                               \
  CONST("w", 11, type w) "  %c = conv %x, %w {" attrs "} : " type c "\n" OUTPUT("c")

static const gemm_case convolutions[] = {
    {"3x3",
     CONV("f32", "[1, 5, 9, 10]", "[12, 5, 3, 3]",
          "dilations = [1, 1], groups = 1, high = [1, 1], low = [1, 1], strides = [1, 1]",
          "[1, 12, 9, 10]"),
     MMA("fma.f32", 16, 64, 16, 1, 2, 3, 1), NULL, 45, F32, 0, F32},
    {"3x3, stride, groups, two images",
     CONV("f32", "[2, 8, 11, 13]", "[12, 4, 3, 3]",
          "dilations = [1, 1], groups = 2, high = [1, 1], low = [1, 1], strides = [2, 2]",
          "[2, 12, 6, 7]"),
     MMA("fma.f32", 16, 32, 16, 1, 2, 2, 1), NULL, 36, F32, 0, F32},
    {"f16 dilated",
     CONV("f16", "[1, 8, 12, 12]", "[16, 8, 3, 3]",
          "dilations = [2, 2], groups = 1, high = [2, 2], low = [2, 2], strides = "
          "[1, 1]",
          "[1, 16, 12, 12]"),
     MMA("mma.f16", 16, 64, 32, 1, 2, 2, 1), NULL, 72, F32, 0, F16},
    {"f16 1x1",
     CONV("f16", "[2, 24, 8, 8]", "[40, 24, 1, 1]",
          "dilations = [1, 1], groups = 1, high = [0, 0], low = [0, 0], strides = [1, "
          "1]",
          "[2, 40, 8, 8]"),
     MMA("mma.f16", 32, 64, 16, 2, 2, 3, 2), NULL, 24, F32, 0, F16},
    {"tf32 7x7",
     CONV("f32", "[1, 3, 14, 14]", "[16, 3, 7, 7]",
          "dilations = [1, 1], groups = 1, high = [3, 3], low = [3, 3], strides = [2, "
          "2]",
          "[1, 16, 7, 7]"),
     MMA("mma.tf32", 16, 32, 32, 1, 2, 3, 1), NULL, 147, F32, 2 * TF32, F32},
    {"1 dimension, weights given",
     INPUT("x", "f32[2, 6, 30]")
         INPUT("w", "f32[8, 6, 5]") "  %c = conv %x, %w {dilations = [1], groups = 1, high = [0], "
                                    "low = [4], strides = [1]} : "
                                    "f32[2, 8, 30]\n" OUTPUT("c"),
     MMA("fma.f32", 16, 32, 8, 1, 1, 2, 1), NULL, 30, F32, 0, F32},
};

static const gemm_case bodies[] = {
    {"operands computed",
     INPUT("a", "f16[40, 50]") INPUT("s", "f16[40]") INPUT(
         "b",
         "f16[50, 48]") "  %c = block par(%i in 40, %j in 48) red(%k in 50) {\n"
                        "    %0 = load %a[%i, %k] : f16\n    %1 = const {value = 0} : f16\n"
                        "    %2 = max %0, %1 : f16\n    %3 = load %s[%i] : f16\n    %4 = mul %2, "
                        "%3 : f16\n"
                        "    %5 = load %b[%k, %j] : f16\n    %6 = mul %4, %5 : f16\n    %7 = cast "
                        "%6 : f32\n"
                        "    %8 = reduce %7 {combine = \"add\"} : f32\n    %9 = cast %8 : f16\n"
                        "    store %9, %c[%i, %j]\n  } : f16[40, 48]\n" OUTPUT("c"),
     MMA("mma.f16", 32, 32, 16, 1, 2, 3, 1), NULL, 50, F32, F16, F16},
    {"both computed, beyond the depth",
     INPUT("a", "f32[24, 21]") INPUT("b", "f32[21, 20]") INPUT(
         "o", "f32[]") "  %c = block par(%i in 24, %j in 20) red(%k in 21) {\n"
                       "    %0 = load %a[%i, %k] : f32\n    %1 = load %o[] : f32\n    %2 = add %0, "
                       "%1 : f32\n"
                       "    %3 = load %b[%k, %j] : f32\n    %4 = add %3, %1 : f32\n    %5 = mul "
                       "%2, %4 : f32\n"
                       "    %6 = reduce %5 {combine = \"add\"} : f32\n    store %6, %c[%i, %j]\n"
                       "  } : f32[24, 20]\n" OUTPUT("c"),
     MMA("fma.f32", 32, 32, 8, 1, 1, 2, 1), NULL, 21, F32, 2 * F32, F32},
    {"rows, columns, a residual and two results",
     INPUT("a", "f32[40, 32]") INPUT("b", "f32[32, 36]") INPUT("r", "f32[40, 36]")
         INPUT("u", "f32[40, 1]") INPUT(
             "v", "f32[36]") "  %c = einsum %a, %b {spec = \"mk,kn->mn\"} : f32[40, 36]\n"
                             "  %d = mul %c, %u : f32[40, 36]\n  %e = add %d, %v : f32[40, 36]\n"
                             "  %f = add %e, %r : f32[40, 36]\n  %z = const {value = 0} : f32[]\n"
                             "  %g = max %f, %z : f32[40, 36]\n" OUTPUT("f") OUTPUT("g"),
     MMA("fma.f32", 32, 32, 16, 2, 1, 2, 1), NULL, 32, F32, 0, 4 * F32},
    {"a slice of the depth",
     INPUT("a", "f16[32, 60]") INPUT(
         "b",
         "f16[60, 40]") "  %x = slice %a {start = [0, 7], step = [1, 1]} : f16[32, 37]\n"
                        "  %y = slice %b {start = [7, 0], step = [1, 1]} : f16[37, 40]\n"
                        "  %c = einsum %x, %y {spec = \"mk,kn->mn\"} : f16[32, 40]\n" OUTPUT("c"),
     MMA("mma.f16", 32, 32, 16, 1, 1, 2, 1), NULL, 37, F32, 0, F16},
    {"heads apart behind the sum",
     INPUT("a", "f16[24, 32]") CONST(
         "b", 9,
         "f16[32, 60]") "  %e = block par(%i in 24, %h in 3, %d in 20) red(%k in 32) {\n"
                        "    %0 = load %a[%i, %k] : f16\n    %1 = load %b[%k, %h*20 + %d] : f16\n"
                        "    %2 = cast %0 : f32\n    %3 = cast %1 : f32\n    %4 = mul %2, %3 : "
                        "f32\n"
                        "    %5 = reduce %4 {combine = \"add\"} : f32\n    %6 = cast %5 : f16\n"
                        "    store %6, %e[%h, %i, %d]\n  } : f16[3, 24, 20]\n" OUTPUT("e"),
     MMA("mma.f16", 32, 32, 16, 1, 1, 2, 1), NULL, 32, F32, 0, F16},
    {"a vector",
     INPUT("a", "f32[64]") INPUT(
         "b", "f32[64, 40]") "  %c = einsum %a, %b {spec = \"k,kn->n\"} : f32[40]\n" OUTPUT("c"),
     MMA("fma.f32", 8, 32, 16, 1, 1, 2, 1), NULL, 64, F32, 0, F32},
};

START_TEST(test_halves) {
  gemm_run("cuda:sm_80", false, halves, COUNT(halves), no_dims, 1);
}
END_TEST
START_TEST(test_others) {
  gemm_run("cuda:sm_80", true, others, COUNT(others), no_dims, 1);
}
END_TEST
START_TEST(test_bytes) {
  gemm_run("cuda:sm_80", false, bytes, COUNT(bytes), no_dims, 1);
}
END_TEST
START_TEST(test_symbolic) {
  gemm_run("cuda:sm_80", false, symbolic, COUNT(symbolic), many_dims, COUNT(many_dims));
}
END_TEST
START_TEST(test_convolutions) {
  gemm_run("cuda:sm_80", true, convolutions, COUNT(convolutions), no_dims, 1);
}
END_TEST
START_TEST(test_bodies) {
  gemm_run("cuda:sm_80", false, bodies, COUNT(bodies), no_dims, 1);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("cuda_gemm.mma");
  const struct {
    const char *name;
    const TTest *test;
  } tests[] = {
      {"halves", test_halves},
      {"others", test_others},
      {"bytes", test_bytes},
      {"symbolic", test_symbolic},
      {"convolutions", test_convolutions},
      {"bodies", test_bodies},
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
