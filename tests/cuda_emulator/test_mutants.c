/* Planted bugs: each is one substitution in a kernel that is right, and must be found under at
 * least one order, as a finding or as a wrong result. */
#include "tests/cuda_emulator/kernel_cases.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEEDS = 8 };

typedef struct mutant {
  const char *kind, *kernel, *from, *to;
  const char *finding; /* part of the text of the finding that is expected; NULL: any */
} mutant;

static const mutant mutants[] = {
    {"missing barrier", "row_sum", "  tsr_barrier();\n", "", NULL},
    {"missing barrier", "softmax", "  tsr_barrier();\n", "", NULL},
    {"missing barrier", "gemm_f16", "    tsr_barrier();\n", "", NULL},
    {"missing barrier", "gemm_wgmma", "  tsr_barrier();\n  if (group", "  if (group", "mbarrier"},
    {"barrier behind the refill", "gemm_f16",
     "    tsr_barrier();\n    fetch(step + STAGES - 1, a, b, m0, n0, m, n, k, lda, ldb);\n",
     "    fetch(step + STAGES - 1, a, b, m0, n0, m, n, k, lda, ldb);\n    tsr_barrier();\n", NULL},
    {"divergent barrier", "row_sum", "  tsr_barrier();\n",
     "  if (tsr_warp() < 3)\n    tsr_barrier();\n", "deadlock"},
    {"divergent barrier", "softmax", "  tsr_barrier();\n",
     "  if (tsr_thread() < columns)\n    tsr_barrier();\n", NULL},
    {"divergent warp operation", "row_sum", "    sum += tsr_warp_shuffle_xor_f32(sum, step);",
     "    if (tsr_lane() < step) sum += tsr_warp_shuffle_xor_f32(sum, step);", "deadlock"},
    {"wrong parity", "gemm_wgmma", "tsr_mbarrier_wait(full_barrier(stage), step / STAGES & 1)",
     "tsr_mbarrier_wait(full_barrier(stage), (step / STAGES & 1) ^ 1)", NULL},
    {"wrong parity", "gemm_wgmma", "tsr_mbarrier_wait(empty_barrier(stage), (turn - 1) & 1)",
     "tsr_mbarrier_wait(empty_barrier(stage), turn & 1)", NULL},
    {"missing wait", "gemm_wgmma",
     "    if (turn > 0)\n      tsr_mbarrier_wait(empty_barrier(stage), (turn - 1) & 1);\n", "",
     NULL},
    {"missing wait", "gemm_f16", "    tsr_copy_async_wait(STAGES - 2);\n", "", "copy"},
    {"missing wait", "gemm_wgmma", "    tsr_wgmma_wait(0);\n", "", NULL},
    {"wait too early", "gemm_f16", "    tsr_copy_async_wait(STAGES - 2);\n",
     "    tsr_copy_async_wait(STAGES - 1);\n", NULL},
    {"wait too early", "gemm_wgmma", "    tsr_wgmma_wait(0);\n", "    tsr_wgmma_wait(1);\n", NULL},
    {"wrong swizzle", "gemm_f16", "place(row0 + i * 16 + (lane & 15), kk * 2 + (lane >> 4))",
     "(row0 + i * 16 + (lane & 15)) * 64 + (kk * 2 + (lane >> 4)) * 16", NULL},
    {"wrong swizzle", "gemm_wgmma", "from + OPERAND_BYTES, 16, 1024, TSR_SWIZZLE_128",
     "from + OPERAND_BYTES, 16, 1024, TSR_SWIZZLE_64", NULL},
    {"wrong descriptor", "gemm_wgmma", "from + rows * 128, 16, 1024, TSR_SWIZZLE_128",
     "from + rows * 128, 16, 512, TSR_SWIZZLE_128", NULL},
    {"wrong descriptor", "gemm_wgmma", "tsr_wgmma_descriptor_advance(b, kk * 32)",
     "tsr_wgmma_descriptor_advance(b, kk * 64)", NULL},
    {"wrong fragment", "gemm_f16", "fb[j / 2] + j % 2 * 2", "fb[j / 2] + j % 2", NULL},
    {"wrong fragment", "gemm_s8", "i * 16 + g + e / 2 * 8", "i * 16 + g + e % 2 * 8", NULL},
    {"wrong fragment", "gemm_bf16", "(lane & 15), kk * 2 + (lane >> 4)",
     "(lane & 15), kk * 2 + (lane >> 3 & 1)", NULL},
    {"wrong fragment", "gemm_f16_kn", "tsr_ldmatrix_x4_trans", "tsr_ldmatrix_x4", NULL},
    {"wrong fragment", "gemm_wgmma", "i / 2 % 2 * 8, column", "i % 2 * 8, column", NULL},
    {"out of bounds", "axpy", "if (i + 4 <= n)", "if (i < n)", "out of bounds"},
    {"out of bounds", "gemm_tf32", "if (y < m && x < n)", "if (y < m)", NULL},
    {"out of bounds", "gemm_f16", "int valid = first + row < rows ? clamp_bytes",
     "int valid = 1 ? clamp_bytes", "out of bounds"},
    {"out of bounds", "gemm_wgmma", "(tsr_shared + STAGES * STAGE_BYTES) + STAGES + stage",
     "(tsr_shared + STAGES * STAGE_BYTES) + STAGES + stage + 1", "out of bounds"},
    {"misaligned", "gemm_f16", "(first + row) * stride + k + chunk * 16",
     "(first + row) * (stride - 2) + k + chunk * 16", "misaligned"},
    {"misaligned", "axpy", "tsr_load_global_16(y + i)", "tsr_load_global_16(y + i - (i > 0))",
     "misaligned"},
    {"misaligned", "gemm_wgmma", "to + OPERAND_BYTES, b,", "to + OPERAND_BYTES + 64, b,",
     "misaligned"},
    {"race on shared memory", "row_sum", "part[tsr_warp()] = sum", "part[tsr_warp() / 2] = sum",
     "race"},
    {"race on global memory", "row_sum", "tsr_atomic_add_f32(total, all)", "*total += all", "race"},
    {"race on global memory", "axpy", "tsr_block() * 256", "tsr_block() * 255", "race"},
    {"never written", "row_sum", "tsr_lane() < 4 ? part", "tsr_lane() < 5 ? part", NULL},
    {"never written", "softmax", "if (tsr_lane() == 0) {\n    shared_m",
     "if (tsr_lane() == 0 && tsr_warp() < 3) {\n    shared_m", "never written"},
    {"wrong bytes", "gemm_wgmma", "full_barrier(stage), STAGE_BYTES)",
     "full_barrier(stage), STAGE_BYTES / 2)", NULL},
    {"wrong bytes", "gemm_wgmma", "full_barrier(stage), STAGE_BYTES)",
     "full_barrier(stage), STAGE_BYTES + 128)", "deadlock"},
    {"wrong arrivals", "gemm_wgmma", "tsr_mbarrier_init(empty_barrier(i), 8)",
     "tsr_mbarrier_init(empty_barrier(i), 9)", "deadlock"},
    {"wrong arrivals", "gemm_wgmma", "tsr_mbarrier_init(empty_barrier(i), 8)",
     "tsr_mbarrier_init(empty_barrier(i), 4)", NULL},
    {"missing commit", "gemm_f16", "  tsr_copy_async_commit();\n", "", NULL},
    {"missing commit", "gemm_wgmma", "    tsr_wgmma_commit();\n", "", NULL},
    {"too many registers", "gemm_wgmma", "tsr_set_max_registers_inc(232)",
     "tsr_set_max_registers_inc(240)", "setmaxnreg"},
    {"missing fence", "gemm_wgmma", "    tsr_fence_mbarrier_init();\n", "", "fence"},
    {"missing fence", "gemm_wgmma", "    tsr_wgmma_fence();\n", "", "fence"},
};

/* The text with the first `from` replaced; NULL where there is none. */
static char *substitute(const char *text, const mutant *m) {
  const char *at = strstr(text, m->from);
  if (!at)
    return NULL;
  char *out = calloc(1, strlen(text) + strlen(m->to) + 1);
  size_t before = (size_t)(at - text);
  memcpy(out, text, before);
  strcpy(out + before, m->to);
  strcat(out, at + strlen(m->from));
  return out;
}

START_TEST(planted_bug_is_found) {
  const mutant *m = &mutants[_i];
  const kernel_case *c = kernel_case_find(m->kernel);
  ck_assert_ptr_nonnull(c);
  tsr_emulator *e = tsr_emulator_create(c->arch);
  char *text = kernel_case_text(c), why[2048] = "";
  char *wrong = substitute(text, m);
  ck_assert_msg(wrong != NULL, "%s has no '%s'", m->kernel, m->from);
  bool found = false;
  for (uint32_t seed = 0; seed < SEEDS && !found; ++seed) {
    bool ran = c->run(c, e, wrong, seed, why, sizeof(why));
    found = !ran && (!m->finding || strstr(why, m->finding));
    ck_assert_msg(!strstr(why, "compile"), "%s", why);
    if (found && getenv("TESSERA_SHOW_FINDINGS"))
      printf("%s, %s, seed %u: %s\n", m->kind, m->kernel, seed, why);
  }
  ck_assert_msg(found, "%s in %s ('%s') was not found as '%s'; last: %s", m->kind, m->kernel, m->to,
                m->finding ? m->finding : "anything", why);
  free(wrong);
  free(text);
  tsr_emulator_destroy(e);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("mutants");
  TCase *tc = tcase_create("mutants");
  tcase_set_timeout(tc, 120);
  tcase_add_loop_test(tc, planted_bug_is_found, 0, (int)(sizeof(mutants) / sizeof(mutants[0])));
  suite_add_tcase(suite, tc);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
