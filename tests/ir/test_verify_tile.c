/* What kernels and launches may not say: rings, boxes, mbarriers, roles, narrow types, variants.
 * Every row is one line put into a program that is right without it. */
#include "tests/ir/ir_text.h"
#include <stdio.h>

#define COUNT(array) (int)(sizeof(array) / sizeof *(array))

typedef struct refusal {
  const char *line, *reason;
} refusal;

static tsr_status verify_with(const char *head, const char *line, const char *tail,
                              tsr_diag *diag) {
  char text[4096];
  (void)snprintf(text, sizeof text, "%s%s%s", head, line, tail);
  tsr_ir *ir = must_parse(text);
  tsr_diag_clear(diag);
  tsr_status status = tsr_ir_verify(ir, diag);
  tsr_ir_destroy(ir);
  return status;
}

static void check_row(const char *head, const refusal *row, const char *tail) {
  tsr_diag diag;
  ck_assert_msg(verify_with(head, "", tail, &diag) == TSR_OK, "%s", diag.message);
  ck_assert_msg(verify_with(head, row->line, tail, &diag) == TSR_ERR_VERIFY, "accepted: %s",
                row->line);
  ck_assert_msg(strstr(diag.message, row->reason) != NULL, "'%s' is not in '%s'\n%s", row->reason,
                diag.message, row->line);
}

static const char kernel_head[] =
    "kernel @k(%x: f32[64, 64], %u: u32[64], out %y: f32[64, 64]) grid(%p in 4) {warps = 8} {\n"
    "%s = alloc : l1 f32[2, 8, 8]\n"
    "%full = mbarrier {arrivals = 1} : l1 u64[2]\n"
    "%a = load %x[$0, $1] : reg f32[8, 8]\n"
    "%i = const {value = 0} : reg i64[4, 1]\n"
    "%w = load %u[$1] : reg u32[1, 8]\n"
    "%e = const {value = 1} : reg f32[1, 3]\n"
    "copy %x[0, 0], %s[0, 0, 0], %full[0] {atom = \"tma\", multicast = 3, shape = [8, 8]}\n"
    "copy %x[%p + $0, $1], %s[1, $0, $1] {atom = \"cp.async\", shape = [8, 8]}\n"
    "%d = decode %w {format = \"u4\"} : reg f32[1, 64]\n"
    "%c = contract %s[0, $0, $1], %s[1, $1, $0], %a {atom = \"fma.f32\", k = 8} : reg f32[8, 8]\n"
    "roles {warps = [4, 4]} { wait %full[0] {parity = 0} } { arrive %full[0] }\n"
    "prefetch %y[%p + $0, $1] {shape = [8, 8]}\n"
    "wait {of = \"contract\", pending = 0}\n";

static const refusal kernel_rows[] = {
    {"%z = gather_load %x[%i, $1] : reg f32[8, 8]", "does not broadcast to the tile moved"},
    {"%z = alloc {swizzle = 48} : l1 f32[4]", "it may be 32, 64 or 128"},
    {"%z = load %x[0, 0] {cache = \"always\"} : f32", "known are: streaming keep"},
    {"arrive %s[0, 0, 0]", "is no mbarrier"},
    {"copy %x[0, 0], %s[0, 0, 0], %s[0, 0, 0] {atom = \"tma\", shape = [8, 8]}", "is no mbarrier"},
    {"copy %x[0, 0], %s[0, 0, 0] {multicast = 3, shape = [8, 8]}", "only a copy by tma"},
    {"copy %x[$0, 0], %s[0, $0, 0], %full[0] {atom = \"tma\", shape = [8]}", "without lanes"},
    {"copy %x[0, 0], %s[0, 0, 0], %full[0] {atom = \"tma\", pad = 1, shape = [8, 8]}", "with 0"},
    {"copy %x[0, 0], %s[0, 0, 0] {atom = \"tma\", shape = [8, 8]}", "has an mbarrier"},
    {"copy %x[0, $0], %s[0, 0, 0] {shape = [8]}", "use lanes or none"},
    {"copy %x[0, $1], %s[0, 0, $1] {shape = [8]}", "uses a lane"},
    {"for %t in 8 {stages = 3} { copy %x[%t, 0], %s[0, %t, 0] {atom = \"cp.async\", shape = [8]} }",
     "a place for each of 3 stages"},
    {"%z = fragment %u[0] : reg u32[2, 2]", "more axes than the buffer"},
    {"%z = contract %a, %a, %a {atom = \"fma.f33\"} : reg f32[8, 8]", "no atom is named"},
    {"%z = contract %s[0, $0, $1], %s[1, $1, $0], %a {atom = \"fma.f32\"} : reg f32[8, 8]",
     "'k' is needed"},
    {"%z = contract %a, %a, %a {atom = \"fma.f32\", k = 4} : reg f32[8, 8]", "not the operands' k"},
    {"%z = contract %a, %a, %a {atom = \"fma.f32\", warps = [4]} : reg f32[8, 8]", "two numbers"},
    {"%z = contract %a, %a, %a {atom = \"fma.f32\", row = 1} : reg f32[8, 8]", "does not fit"},
    {"%z = contract %a, %a, %a {atom = \"fma.f32\", row = -1} : reg f32[8, 8]", "does not fit"},
    {"%z = contract %s[0, $0, $1], %a, %a {atom = \"fma.f32\", row = 0} : reg f32[8, 8]",
     "rows of registers"},
    {"%z = contract %a, %a, %a {atom = \"fma.f32\", each = true} : reg f32[8, 8]", "a row of b"},
    {"%z = contract %s[0, $0, $1], %a, %a {atom = \"fma.f32\", each = true} : reg f32[8, 8]",
     "in registers"},
    {"%z = contract %a, %s[0, $0, $1], %a {atom = \"fma.f32\", each = true} : reg f32[8, 8]",
     "in registers"},
    {"%z = contract %a, %a, %a {atom = \"fma.f32\", each = true, k = 8} : reg f32[8, 8]", "'each'"},
    {"%z = decode %w, %e {format = \"u4\"} : reg f32[1, 64]", "must divide those"},
    {"%z = decode %w {format = \"f64\"} : reg f32[1, 4]", "at least 64 bits"},
    {"%z = decode %w {format = \"nf4\"} : reg f32[1, 64]", "'format' is a dtype"},
    {"%z = decode %w {format = \"table\", table = [0, 1, 2]} : reg f32[1, 64]", "'format' is"},
    {"%z = decode %w {format = \"u4\"} : reg f32[64]", "there is no 'map'"},
    {"%z = decode %w {format = \"u4\"} : reg f32[1, 32]", "does not fit the words"},
    {"%z = decode %w {format = \"u4\", map = [0, $1]} : reg f32[1, 64]", "and the field"},
    {"%z = decode %w {format = \"u4\", map = [0, $1, $2]} : reg f32[1, 64]", "uses a lane"},
    {"%z = mbarrier {arrivals = 0} : l1 u64[2]", "at least 1"},
    {"%z = mbarrier {arrivals = 1} : l1 u32[2]", "u64 in l1"},
    {"wait %full[0]", "an mbarrier and 'parity'"},
    {"wait {pending = 0}", "an mbarrier and 'parity'"},
    {"barrier {scope = \"world\"}", "known are: warp role task"},
    {"roles {warps = [4, 8]} {} {}", "are not the kernel's"},
    {"roles {warps = [4]} {} {}", "1 warps for 2 roles"},
    {"%z = reduce %a {combine = \"add\", axes = [0], identity = 0} : reg f32[1, 8]",
     "belongs to a combiner"},
    {"} kernel @c() grid(%q in 4) {cluster = [2, 2]} {", "2 extents for a grid of 1"},
};

START_TEST(kernels) {
  check_row(kernel_head, &kernel_rows[_i], "}");
}
END_TEST

static const char graph_head[] =
    "dim N in 1..64\n"
    "kernel @k(%p: f32[N], out %q: f32[N]) grid() {}\n"
    "kernel @s(%p: f32[N], out %q: f32[N]) grid() {}\n"
    "kernel @i(inout %p: f32[N]) grid() {}\n"
    "kernel @w(%p: u32[N], out %q: f32[N]) grid() {}\n"
    "graph @g { %x = input {name = \"x\"} : f32[N]\n"
    "%h = input {name = \"h\", sparse = \"rows\"} : f16[N]\n"
    "%n = input {name = \"n\"} : u4[N, 8]\n"
    "%a = launch %x {guards = [N <= 4], kernels = [\"s\", \"k\"]} : f32[N]\n"
    "%b = launch @i %a {alias = [0], zero = [0]} : f32[N]\n"
    "%c = launch @w %n : f32[N]\n";

static const refusal graph_rows[] = {
    {"%y = launch %x {kernels = [\"s\", \"k\"]} : f32[N]", "one guard less"},
    {"%y = launch @k %x {guards = [N <= 4]} : f32[N]", "choose from"},
    {"%y = launch @k %x {kernels = [\"k\"]} : f32[N]", "names its kernel"},
    {"%y = launch @k %x {zero = [1]} : f32[N]", "numbers of results"},
    {"%y = launch @i %b {alias = [0, 0]} : f32[N]", "or -1 per result"},
    {"%y = launch @i %h {alias = [0]} : f32[N]", "cannot take the memory"},
    {"%y = launch @k %a : f32[N]", "gave its memory to a launch"},
    {"%y = launch @i %b {alias = [-1]} : f32[N]", "takes 1 arguments, 2 are given"},
    {"%y = launch @k %n : f32[N]", "differs in dtype"},
};

START_TEST(launches) {
  check_row(graph_head, &graph_rows[_i], "}");
}
END_TEST

int main(void) {
  Suite *suite = suite_create("verify_tile");
  TCase *tests = tcase_create("all");
  tcase_add_loop_test(tests, kernels, 0, COUNT(kernel_rows));
  tcase_add_loop_test(tests, launches, 0, COUNT(graph_rows));
  suite_add_tcase(suite, tests);
  return run_suite(suite);
}
