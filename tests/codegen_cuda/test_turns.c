/* Long chains over many registers are done in turns, by groups of registers: they compute what the
 * code for the CPU makes of the same tile program. What is read behind the chain stays whole. */
#include "tests/codegen_cuda/both.h"

/* 64 registers in each of 32 threads. The chain: a row and a column that broadcast, a constant, a
 * second full operand from before it, one that it loads itself. */
#define HEAD                                                                                       \
  "dim N in 1..300\n"                                                                              \
  "kernel @k(%x: f32[N, 61], %b: f32[61], %r: f32[N], out %y: f32[N, 61]"
#define BODY(rows, columns)                                                                        \
  ") grid(%i in N ceildiv " rows ") {warps = 1} {\n"                                               \
  "  %zero = const {value = 0} : reg f32[" rows ", " columns "]\n"                                 \
  "  %acc = for %k in 3 carry(%s = %zero) {\n"                                                     \
  "    %t = load %x[%i*" rows " + $0 + %k, $1] : reg f32[" rows ", " columns "]\n"                 \
  "    %d = add %s, %t : reg f32[" rows ", " columns "]\n"                                         \
  "    yield %d\n"                                                                                 \
  "  } : reg f32[" rows ", " columns "]\n"                                                         \
  "  %side = load %x[%i*" rows " + $0, $1 - 3] {pad = 2} : reg f32[" rows ", " columns "]\n"       \
  "  barrier\n"                                                                                    \
  "  %row = load %b[$1] : reg f32[1, " columns "]\n"                                               \
  "  %column = load %r[%i*" rows " + $0] : reg f32[" rows ", 1]\n"                                 \
  "  %own = load %x[%i*" rows " + $0, $1] : reg f32[" rows ", " columns "]\n"                      \
  "  %c = const {value = 1.5} : reg f32[1, 1]\n"                                                   \
  "  %h = add %acc, %row : reg f32[" rows ", " columns "]\n"                                       \
  "  %e = erf %h : reg f32[" rows ", " columns "]\n"                                               \
  "  %f = div %e, %c : reg f32[" rows ", " columns "]\n"                                           \
  "  %g = mul %f, %column : reg f32[" rows ", " columns "]\n"                                      \
  "  %p = add %g, %own : reg f32[" rows ", " columns "]\n"                                         \
  "  %q = sub %p, %side : reg f32[" rows ", " columns "]\n"                                        \
  "  store %q, %y[%i*" rows " + $0, $1]\n"

static const struct {
  const char *text;
  bool turns;
} rows[] = {
    {HEAD BODY("32", "64") "}\n", true},
    {HEAD BODY("16", "128") "}\n", true},
    {HEAD ", out %m: f32[N]" BODY(
         "32", "64") "  %u = reduce %q {combine = \"max\", axes = [1]} : reg f32[32, 1]\n"
                     "  store %u, %m[%i*32 + $0]\n"
                     "}\n",
     false},
};

START_TEST(test_turns) {
  static const dim_value dims[] = {{"N", 75}, {NULL, 0}};
  both b = {.dims = dims};
  both_open(&b, rows[_i].text);
  const bool turns = strstr(b.cuda.kernels[0].body, "int turn = 0") != NULL;
  ck_assert_msg(turns == rows[_i].turns, "%s", b.cuda.kernels[0].body);
  program_close(&b.cpu);
  both_run(rows[_i].text, dims, 1e-5, -2, 2);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("codegen_cuda.turns");
  TCase *tests = tcase_create("turns");
  tcase_set_timeout(tests, 120);
  tcase_add_loop_test(tests, test_turns, 0, (int)(sizeof rows / sizeof *rows));
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? 1 : 0;
}
