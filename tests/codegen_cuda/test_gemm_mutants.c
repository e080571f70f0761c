/* Planted bugs in the code of generated contractions, mma.sync behind cp.async and wgmma behind TMA
 * with roles and a cluster: what is right before is found wrong after each. */
#include "tests/codegen_cuda/device_run.h"

static const char mma_text[] =
    "dim M in 1..4096 hint 256\n"
    "kernel @k(%a: f16[M, 96], %b: f16[96, 128], out %c: f16[M, 128]) grid(%i in M ceildiv 64) "
    "{warps = 4} {\n"
    "  %sa = alloc {swizzle = 64} : l1 f16[3, 64, 32]\n"
    "  %sb = alloc {swizzle = 128} : l1 f16[3, 2, 32, 64]\n"
    "  %z = const {value = 0} : reg f32[64, 128]\n"
    "  %acc = for %k in 3 carry(%s = %z) {stages = 3} {\n"
    "    copy %a[%i*64, %k*32], %sa[%k mod 3, 0, 0] {atom = \"cp.async\", shape = [64, 32]}\n"
    "    copy %b[%k*32, 0], %sb[%k mod 3, 0, 0, 0] {atom = \"cp.async\", shape = [32, 64]}\n"
    "    copy %b[%k*32, 64], %sb[%k mod 3, 1, 0, 0] {atom = \"cp.async\", shape = [32, 64]}\n"
    "    barrier\n"
    "    %d = for %q in 2 carry(%e = %s) {unroll = 0} {\n"
    "      %fa = fragment %sa[%k mod 3, $0, %q*16 + $1] {atom = \"ldmatrix\"} : reg f16[64, 16]\n"
    "      %fb = fragment %sb[%k mod 3, $1 floordiv 64, %q*16 + $0, $1 mod 64] {atom = "
    "\"ldmatrix\"} : reg f16[16, 128]\n"
    "      %g = contract %fa, %fb, %e {atom = \"mma.f16\", warps = [2, 2]} : reg f32[64, 128]\n"
    "      yield %g\n"
    "    } : reg f32[64, 128]\n"
    "    yield %d\n"
    "  } : reg f32[64, 128]\n"
    "  %h = cast %acc : reg f16[64, 128]\n"
    "  store %h, %c[%i*64 + $0, $1]\n"
    "}\n";

static const char wgmma_text[] =
    "dim M in 1..4096 hint 256\n"
    "kernel @k(%a: f16[M, 512], %b: f16[256, 512], out %c: f16[M, 256]) grid(%p in 4) "
    "{cluster = [2], target = \"cuda:sm_90a\", warps = 12} {\n"
    "  %sa = alloc {swizzle = 128} : l1 f16[4, 128, 64]\n"
    "  %sb = alloc {swizzle = 128} : l1 f16[4, 256, 64]\n"
    "  %full = mbarrier {arrivals = 1} : l1 u64[4]\n"
    "  %empty = mbarrier {arrivals = 2} : l1 u64[4]\n"
    "  roles {names = [\"producer\", \"consumer\"], registers = [40, 232], warps = [4, 8]} {\n"
    "    for %t in %p floordiv 2..M ceildiv 256 step 2 {\n"
    "      for %k in 8 {\n"
    "        wait %empty[%k mod 4] {parity = (%k floordiv 4 + 1) mod 2}\n"
    "        arrive %full[%k mod 4] {bytes = 49152}\n"
    "        copy %a[%t*256 + (%p mod 2)*128, %k*64], %sa[%k mod 4, 0, 0], %full[%k mod 4] {atom = "
    "\"tma\", shape = [128, 64]}\n"
    "        copy %b[(%p mod 2)*128, %k*64], %sb[%k mod 4, (%p mod 2)*128, 0], %full[%k mod 4] "
    "{atom = \"tma\", multicast = 3, shape = [128, 64]}\n"
    "      }\n"
    "    }\n"
    "  } {\n"
    "    for %t1 in %p floordiv 2..M ceildiv 256 step 2 {\n"
    "      %z = const {value = 0} : reg f32[128, 256]\n"
    "      %acc = for %k1 in 8 carry(%s = %z) {\n"
    "        wait %full[%k1 mod 4] {parity = (%k1 floordiv 4) mod 2}\n"
    "        %d = contract %sa[%k1 mod 4, $0, $1], %sb[%k1 mod 4, $1, $0], %s {atom = "
    "\"wgmma.f16\", k = 64, warps = [8, 1]} : reg f32[128, 256]\n"
    "        wait {of = \"contract\", pending = 1}\n"
    "        if {cond = 1 <= %k1} {\n"
    "          arrive %empty[(%k1 + 3) mod 4] {multicast = 3}\n"
    "        }\n"
    "        yield %d\n"
    "      } : reg f32[128, 256]\n"
    "      wait {of = \"contract\", pending = 0}\n"
    "      arrive %empty[3] {multicast = 3}\n"
    "      %h = cast %acc : reg f16[128, 256]\n"
    "      store %h, %c[%t1*256 + (%p mod 2)*128 + $0, $1]\n"
    "    }\n"
    "  }\n"
    "  barrier {scope = \"cluster\"}\n"
    "}\n";

static double expect_mma(const double *const *in, const int64_t *dims, int64_t i) {
  double sum = 0;
  (void)dims;
  for (int64_t k = 0; k < 96; ++k)
    sum += in[0][i / 128 * 96 + k] * in[1][k * 128 + i % 128];
  return sum;
}

static double expect_wgmma(const double *const *in, const int64_t *dims, int64_t i) {
  double sum = 0;
  (void)dims;
  for (int64_t k = 0; k < 512; ++k)
    sum += in[0][i / 256 * 512 + k] * in[1][i % 256 * 512 + k];
  return sum;
}

static const int64_t rows_mma[] = {150}, rows_wgmma[] = {600};

START_TEST(mma_is_right) {
  run_text(mma_text, "cuda:sm_80", rows_mma, 1, expect_mma, 4);
}
END_TEST

START_TEST(wgmma_is_right) {
  run_text(wgmma_text, "cuda:sm_90a", rows_wgmma, 1, expect_wgmma, 4);
}
END_TEST

/* A substitution in the kernel's code; `from` and `to` are texts, or `from` begins a call: PARITY,
 * its last argument is the other parity; BEYOND, its first one is far behind. */
static const char PARITY[] = "parity", BEYOND[] = "beyond";
typedef struct mutant {
  const char *kind, *from, *to;
} mutant;

static const mutant mma_mutants[] = {
    {"missing wait", "tsr_copy_async_wait(1);", ""},
    {"wait too early", "tsr_copy_async_wait(1)", "tsr_copy_async_wait(2)"},
    {"missing barrier", "tsr_barrier();", ""},
    {"missing commit", "tsr_copy_async_commit();", ""},
    {"wrong swizzle", "tsr_swizzle_64(", "("},
    {"wrong swizzle", "tsr_swizzle_row_128(", "tsr_swizzle_row_64("},
    {"wrong bytes", "? 16 : 0", "? 16 : 16"},
    {"wrong bytes", "? 16 : 0", "? 8 : 0"},
    {"wrong fragment", "tsr_ldmatrix_x4_trans(", "tsr_ldmatrix_x4("},
    {"wrong fragment", "part % 2 * 8", "part / 2 * 8"},
    {"out of bounds", "tsr_store_global_", BEYOND},
};

static const mutant wgmma_mutants[] = {
    {"missing fence", "tsr_fence_mbarrier_init();", ""},
    {"missing fence", "tsr_wgmma_fence();", ""},
    {"missing barrier", "tsr_cluster_arrive();\n  tsr_cluster_wait();", "tsr_barrier();"},
    {"missing barrier", "}\n  tsr_cluster_arrive();\n  tsr_cluster_wait();\n}", "}\n}"},
    {"missing wait", "tsr_mbarrier_wait(empty", "(void)(empty"},
    {"missing wait", "tsr_mbarrier_wait(full", "(void)(full"},
    {"missing wait", "tsr_wgmma_wait(0);", ""},
    {"wait too early", "tsr_wgmma_wait(1)", "tsr_wgmma_wait(2)"},
    {"wrong parity", "tsr_mbarrier_wait(empty", PARITY},
    {"wrong parity", "tsr_mbarrier_wait(full", PARITY},
    {"wrong slot", "tsr_mbarrier_wait(full", "tsr_mbarrier_wait(1 + full"},
    {"missing commit", "tsr_wgmma_commit();", ""},
    {"wrong bytes", "(int)49152", "(int)32768"},
    {"wrong bytes", "(int)49152", "(int)49280"},
    {"wrong arrivals", ", 16);", ", 8);"},
    {"wrong arrivals", "tsr_lane() < 2", "tsr_lane() < 1"},
    {"wrong multicast", "(tsr_u32)3", "(tsr_u32)1"},
    {"wrong descriptor", "1024, TSR_SWIZZLE_128", "512, TSR_SWIZZLE_128"},
    {"wrong descriptor", "tsr_wgmma_descriptor_advance(da, 32)", "da"},
    {"too many registers", "tsr_set_max_registers_inc(232)", "tsr_set_max_registers_inc(240)"},
};

/* The call that begins with `m->from`, as it stands in the kernel, and as it is wrong. */
static mutant complete(const mutant *m, const char *text, const char *target) {
  static char from[512], to[512];
  device_run r;
  if (m->to != PARITY && m->to != BEYOND)
    return *m;
  run_open(&r, text, target);
  const char *at = strstr(r.code.kernels[0].body, m->from);
  ck_assert_ptr_nonnull(at);
  const char *open = strchr(at, '('), *end = strstr(at, ");");
  ck_assert(open != NULL && end != NULL);
  int length = (int)((m->to == PARITY ? end : open + 1) - at);
  snprintf(from, sizeof from, "%.*s", length, at);
  snprintf(to, sizeof to, "%.*s%s", length, at, m->to == PARITY ? " ^ 1" : "16384 + ");
  run_close(&r);
  return (mutant){m->kind, from, to};
}

START_TEST(mma_mutant_is_found) {
  mutant m = complete(&mma_mutants[_i], mma_text, "cuda:sm_80");
  run_planted(mma_text, "cuda:sm_80", rows_mma, 1, expect_mma, 8, m.from, m.to);
}
END_TEST

START_TEST(wgmma_mutant_is_found) {
  mutant m = complete(&wgmma_mutants[_i], wgmma_text, "cuda:sm_90a");
  run_planted(wgmma_text, "cuda:sm_90a", rows_wgmma, 1, expect_wgmma, 8, m.from, m.to);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("codegen_cuda.gemm_mutants");
  TCase *cases = tcase_create("mutants");
  tcase_set_timeout(cases, 120);
  tcase_add_test(cases, mma_is_right);
  tcase_add_test(cases, wgmma_is_right);
  tcase_add_loop_test(cases, mma_mutant_is_found, 0,
                      (int)(sizeof mma_mutants / sizeof *mma_mutants));
  tcase_add_loop_test(cases, wgmma_mutant_is_found, 0,
                      (int)(sizeof wgmma_mutants / sizeof *wgmma_mutants));
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
