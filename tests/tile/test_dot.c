/* Contractions by atoms with k-groups through tiling and code generation against the block oracle:
 * vectors where the machine has them, AMX emulated. Scratch starts as NaN and buffers end at pages
 * that trap, so that padding must be zeros and reads must stay inside. */
#include "tests/tile/tile_run.h"
#include <stdarg.h>

typedef struct dot_target {
  const char *name;
  const char *byte_atom, *bf16_atom;
} dot_target;

static const dot_target all_targets[] = {
    {":x86-64-v4+vnni+bf16", "vnni.u8i8", "dot.bf16"},
    {":x86-64-v4+amx-int8+amx-bf16+amx-emulated", "amx.u8i8", "amx.bf16"}};
enum { TARGETS = sizeof all_targets / sizeof *all_targets };

/* With small caches, so that blocking shows on small shapes, and perhaps for threads. False: the
 * machine does not run such code. */
static bool open_target(const dot_target *wanted, unsigned threads, tsr_cpu_isa *out_isa,
                        tsr_target *out_target) {
  const tsr_cpu_caches small = {2048, 8192, 65536, 64};
  tsr_cpu_isa host;
  tsr_diag diag = {0};
  tsr_cpu_isa_host(&host);
  ck_assert_int_eq(tsr_cpu_isa_parse(wanted->name, &diag, out_isa), TSR_OK);
  if (!tsr_cpu_isa_covers(&host, out_isa)) {
    printf("SKIP cpu%s: this machine does not run it\n", wanted->name);
    return false;
  }
  tsr_target_cpu(tsr_cpu_isa_features(out_isa), &small, threads, out_target);
  return true;
}

/* Does the default make every product by atoms with k-groups? */
static bool has_atoms(const char *text, const tsr_target *target) {
  tsr_ir *ir = parse_text(text);
  tsr_diag diag = {0};
  tsr_op plan = 0;
  bool all = true;
  if (tsr_plan_default(ir, target, &diag, &plan) != TSR_OK)
    fail_with(&diag, text);
  TSR_FOR_EACH_OP (ir, tsr_op_get(ir, plan)->regions[0], op) {
    tsr_schedule schedule = {0};
    ck_assert_int_eq(tsr_schedule_read(ir, op, &diag, &schedule), TSR_OK);
    all = all && schedule.atom != NULL && schedule.atom->k > 1;
  }
  tsr_ir_destroy(ir);
  return all;
}

typedef struct product {
  int m, n, k;
  bool turn_a, turn_b, constant; /* of b */
  const char *a, *b;             /* dtypes */
  const char *knobs;             /* besides the atom; NULL: the default's */
  int64_t rows;                  /* above 0: m is symbolic with this value */
} product;

static void add(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void add(char *text, size_t size, const char *format, ...) {
  const size_t used = strlen(text);
  va_list list;
  va_start(list, format);
  vsnprintf(text + used, size - used, format, list);
  va_end(list);
}

static void check_product(const dot_target *wanted, const product *p) {
  char text[4096] = "", m[16];
  tsr_cpu_isa isa;
  tsr_target target;
  const bool real = strcmp(p->a, "bf16") == 0;
  const char *sum = real ? "f32" : "i32";
  if (!open_target(wanted, p->n % 2 ? 4 : 1, &isa, &target))
    return;
  snprintf(m, sizeof m, "%d", p->m);
  if (p->rows > 0) {
    snprintf(m, sizeof m, "M");
    add(text, sizeof text, "dim M in 0..512 hint 64\n");
  }
  if (p->knobs != NULL)
    add(text, sizeof text,
        "plan @p {\n schedule @k0 {strategy = \"contract\", atom = \"%s\", %s}\n}\n",
        real ? wanted->bf16_atom : wanted->byte_atom, p->knobs);
  add(text, sizeof text, "graph @g {\n %%x = input {name = \"x\"} : %s[%s, %s]\n", p->a,
      p->turn_a ? "DEPTH" : m, p->turn_a ? m : "DEPTH");
  char *depth = strstr(text, "DEPTH");
  memmove(depth + 3, depth + 5, strlen(depth + 5) + 1);
  depth[0] = (char)('0' + p->k / 100);
  depth[1] = (char)('0' + p->k / 10 % 10);
  depth[2] = (char)('0' + p->k % 10);
  add(text, sizeof text, " %%w = %s : %s[%d, %d]\n",
      p->constant ? "const {random = 5}" : "input {name = \"w\"}", p->b, p->turn_b ? p->n : p->k,
      p->turn_b ? p->k : p->n);
  add(text, sizeof text,
      " %%c = input {name = \"c\"} : %s[%d]\n %%y = block par(%%i in %s, %%j in %d) red(%%k in %d) "
      "{\n %%0 = load %%x[%s] : %s\n %%1 = cast %%0 : %s\n %%2 = load %%w[%s] : %s\n %%3 = cast "
      "%%2 : %s\n %%4 = mul %%1, %%3 : %s\n %%5 = reduce %%4 {combine = \"add\"} : %s\n %%6 = load "
      "%%c[%%j] : %s\n %%7 = add %%5, %%6 : %s\n store %%7, %%y[%%i, %%j]\n } : %s[%s, %d]\n "
      "output %%y {name = \"y\"}\n}\n",
      sum, p->n, m, p->n, p->k, p->turn_a ? "%k, %i" : "%i, %k", p->a, sum,
      p->turn_b ? "%j, %k" : "%k, %j", p->b, sum, sum, sum, sum, sum, sum, m, p->n);
  const int64_t dims[1] = {p->rows};
  ck_assert_msg(p->knobs != NULL || has_atoms(text, &target), "no atom for\n%s", text);
  check_text(text, dims, p->rows > 0, &isa, &target);
}

static const char *const pairs[][2] = {{"u8", "i8"}, {"i8", "u8"}, {"bf16", "bf16"}};

/* Whatever way operands lie, around the sizes of groups and registers. The first target's default
 * has an atom; tiles alone are nobody's default, so that a plan asks for them. */
START_TEST(products) {
  static const int shapes[][3] = {{4, 16, 4}, {5, 9, 7}, {33, 65, 70}, {17, 31, 130}};
  const int way = _i;
  for (size_t i = (size_t)(way % TEST_SHARE); i < sizeof shapes / sizeof *shapes; i += TEST_SHARE)
    for (int t = 0; t < TARGETS; t++) {
      const char *const *pair = pairs[(i + (size_t)way) % 3];
      const bool constant = (way & 4) != 0;
      char knobs[160];
      snprintf(knobs, sizeof knobs,
               "mr = 16, nr = 32, mc = 32, nc = 64, kc = 0, pack_a = 1, pack_b = %d, outer = %d",
               !constant, constant);
      if (t != (int)(i + (size_t)way / 4) % 2)
        continue;
      const product p = {.m = shapes[i][0],
                         .n = shapes[i][1],
                         .k = shapes[i][2],
                         .turn_a = way & 1,
                         .turn_b = way & 2,
                         .constant = constant,
                         .a = pair[0],
                         .b = pair[1],
                         .knobs = t == 0 ? NULL : knobs};
      check_product(&all_targets[t], &p);
    }
}
END_TEST

/* Passes through the depth, tiles that divide nothing, rows that nobody knows. */
START_TEST(planned) {
  static const char *const vectors[] = {
      "mr = 5, nr = 48, mc = 10, nc = 48, kc = 32, pack_a = 1, pack_b = 1, outer = 1",
      "mr = 14, nr = 32, mc = 28, nc = 32, kc = 64, pack_a = 1, pack_b = 1, outer = 0, unroll = 1",
      "mr = 1, nr = 80, mc = 7, nc = 160, kc = 0, pack_a = 1, pack_b = 1, outer = 0"};
  static const char *const tiles[] = {
      "mr = 32, nr = 32, mc = 32, nc = 64, kc = 64, pack_a = 1, pack_b = 1, outer = 1",
      "mr = 16, nr = 16, mc = 48, nc = 48, kc = 64, pack_a = 1, pack_b = 1, outer = 0",
      "mr = 32, nr = 16, mc = 64, nc = 16, kc = 0, pack_a = 1, pack_b = 1, outer = 0"};
  for (int t = 0; t < TARGETS; t++)
    for (int i = 0; i < 3; i++) {
      product p = {.m = 45, .n = 75, .k = 128, .knobs = t == 0 ? vectors[i] : tiles[i]};
      p.a = pairs[(i + t) % 3][0];
      p.b = pairs[(i + t) % 3][1];
      check_product(&all_targets[t], &p);
      p.rows = 1 + 29 * i;
      check_product(&all_targets[t], &p);
    }
}
END_TEST

/* Channels of u8 under constant weights: the padding is a zero point; pixels run through rows. */
static void check_conv(const dot_target *wanted, int in, int out, int size, int window, int stride,
                       const char *knobs) {
  char text[4096] = "";
  tsr_cpu_isa isa;
  tsr_target target;
  const int pad = window / 2, result = (size + 2 * pad - window) / stride + 1;
  if (!open_target(wanted, in % 2 ? 4 : 1, &isa, &target))
    return;
  if (knobs != NULL)
    add(text, sizeof text,
        "plan @p {\n schedule @k0 {strategy = \"contract\", atom = \"%s\", %s, nc = %d}\n}\n",
        wanted->byte_atom, knobs, result % 16 == 0 ? result : result * result);
  add(text, sizeof text,
      "graph @g {\n %%x = input {name = \"x\"} : u8[%d, %d, %d]\n %%w = const {random = 7} : "
      "i8[%d, "
      "%d, %d, %d]\n %%y = block par(%%m in %d, %%p in %d, %%q in %d) red(%%c in %d, %%u in %d, "
      "%%v in %d) {\n %%0 = load %%x[%%c, %%p*%d + %%u - %d, %%q*%d + %%v - %d] {pad = 113} : u8\n "
      "%%1 = cast %%0 : i32\n %%2 = load %%w[%%m, %%c, %%u, %%v] : i8\n %%3 = cast %%2 : i32\n "
      "%%4 = mul %%1, %%3 : i32\n %%5 = reduce %%4 {combine = \"add\"} : i32\n store %%5, "
      "%%y[%%m, %%p, %%q]\n } : i32[%d, %d, %d]\n output %%y {name = \"y\"}\n}\n",
      in, size, size, out, in, window, window, out, result, result, in, window, window, stride, pad,
      stride, pad, out, result, result);
  ck_assert_msg(knobs != NULL || has_atoms(text, &target), "no atom for\n%s", text);
  check_text(text, NULL, 0, &isa, &target);
}

START_TEST(convolutions) {
  static const int shapes[][5] = {
      {8, 16, 14, 3, 1}, {3, 7, 13, 3, 2}, {64, 20, 9, 1, 1}, {16, 33, 7, 3, 1}, {6, 5, 20, 5, 1}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i += TEST_SHARE) {
    const int *s = shapes[i];
    check_conv(&all_targets[0], s[0], s[1], s[2], s[3], s[4], NULL);
    if (s[0] > 4)
      check_conv(&all_targets[1], s[0], s[1], s[2], s[3], s[4],
                 "mr = 16, nr = 32, mc = 16, kc = 0, pack_a = 0, pack_b = 1, outer = 0");
  }
}
END_TEST

/* An operand that is computed from a constant is copied, not laid out before: by vectors and by
 * tiles each with registers of its own. */
START_TEST(computed_constant) {
  static const dot_target both = {":x86-64-v4+vnni+amx-int8+amx-emulated", NULL, NULL};
  char text[2048];
  tsr_cpu_isa isa;
  tsr_target target;
  if (!open_target(&both, 1, &isa, &target))
    return;
  for (int n = 7; n <= 71; n += 32) {
    snprintf(text, sizeof text,
             "graph @g {\n %%x = input {name = \"x\"} : u8[40, 70]\n %%w = const {random = 5} : "
             "i8[70, %d]\n %%y = block par(%%i in 40, %%j in %d) red(%%k in 70) {\n %%0 = load "
             "%%x[%%i, %%k] : u8\n %%1 = cast %%0 : i32\n %%2 = load %%w[%%k, %%j] : i8\n %%3 = "
             "const {value = 3} : i8\n %%4 = max %%2, %%3 : i8\n %%5 = cast %%4 : i32\n %%6 = mul "
             "%%1, %%5 : i32\n %%7 = reduce %%6 {combine = \"add\"} : i32\n store %%7, %%y[%%i, "
             "%%j]\n } : i32[40, %d]\n output %%y {name = \"y\"}\n}\n",
             n, n, n);
    ck_assert_msg(has_atoms(text, &target), "no atom for\n%s", text);
    check_text(text, NULL, 0, &isa, &target);
  }
}
END_TEST

/* --- schedules --- */

static tsr_status plan_status(const char *knobs, const char *dtypes, const char *name) {
  char text[2048];
  tsr_cpu_isa isa;
  tsr_target target;
  tsr_diag diag = {0};
  ck_assert_int_eq(tsr_cpu_isa_parse(name, &diag, &isa), TSR_OK);
  tsr_target_cpu(tsr_cpu_isa_features(&isa), NULL, 1, &target);
  snprintf(
      text, sizeof text,
      "plan @p {\n schedule @k0 {strategy = \"contract\", %s}\n}\ngraph @g {\n %%x = input "
      "{name = \"x\"} : %.2s[32, 64]\n %%w = input {name = \"w\"} : %s[64, 64]\n %%y = block "
      "par(%%i in 32, %%j in 64) red(%%k in 64) {\n %%0 = load %%x[%%i, %%k] : %.2s\n %%1 = "
      "cast %%0 : i32\n %%2 = load %%w[%%k, %%j] : %s\n %%3 = cast %%2 : i32\n %%4 = mul %%1, "
      "%%3 : i32\n %%5 = reduce %%4 {combine = \"add\"} : i32\n store %%5, %%y[%%i, %%j]\n } : "
      "i32[32, 64]\n output %%y {name = \"y\"}\n}\n",
      knobs, dtypes, dtypes + 2, dtypes, dtypes + 2);
  tsr_ir *ir = parse_text(text);
  const tsr_plan_source plan = {.ir = ir, .plan = plan_of(ir)};
  const tsr_status status = tsr_pass_tile(ir, &target, &plan, &diag);
  tsr_ir_destroy(ir);
  return status;
}

START_TEST(legality) {
  const char *vnni = "cpu:x86-64-v4+vnni", *plain = "cpu:x86-64-v4",
             *amx = "cpu:x86-64-v4+amx-int8";
  const char *good = "atom = \"vnni.u8i8\", mr = 4, nr = 32, mc = 8, nc = 32, kc = 16, pack_a = 1, "
                     "pack_b = 1";
  const char *tiles =
      "atom = \"amx.u8i8\", mr = 16, nr = 16, mc = 16, nc = 32, kc = 0, pack_a = 1, pack_b = 1";
#define IS(knobs, dtypes, target, status)                                                          \
  ck_assert_int_eq(plan_status(knobs, dtypes, target), status)
  IS(good, "u8i8", vnni, TSR_OK);
  IS(good, "i8u8", vnni, TSR_OK);
  IS(good, "u8u8", vnni, TSR_ERR_ARGUMENT);
  IS(good, "u8i8", plain, TSR_ERR_ARGUMENT);
  IS(good, "u8i8", amx, TSR_ERR_ARGUMENT);
  IS(tiles, "u8i8", amx, TSR_OK);
  IS(tiles, "i8i8", amx, TSR_ERR_ARGUMENT);
  IS("atom = \"amx.i8i8\", mr = 16, nr = 16, mc = 16, nc = 32, kc = 0, pack_a = 1, pack_b = 1",
     "i8i8", amx, TSR_OK);
  IS("atom = \"fma.i32\", kc = 0", "u8i8", vnni, TSR_OK);
  IS("atom = \"mma.s8\"", "u8i8", vnni, TSR_ERR_ARGUMENT);
  IS("atom = \"vnni.u8i8\", mr = 4, nr = 24, mc = 8, nc = 24, kc = 0, pack_a = 1, pack_b = 1",
     "u8i8", vnni, TSR_ERR_ARGUMENT);
  IS("atom = \"vnni.u8i8\", mr = 4, nr = 32, mc = 8, nc = 32, kc = 2, pack_a = 1, pack_b = 1",
     "u8i8", vnni, TSR_ERR_ARGUMENT);
  IS("atom = \"vnni.u8i8\", mr = 4, nr = 32, mc = 8, nc = 32, kc = 0, pack_a = 0, pack_b = 1",
     "u8i8", vnni, TSR_ERR_ARGUMENT);
  IS("atom = \"vnni.u8i8\", mr = 4, nr = 32, mc = 8, nc = 32, kc = 0, pack_a = 1, pack_b = 0",
     "u8i8", vnni, TSR_ERR_ARGUMENT);
  IS("atom = \"amx.u8i8\", mr = 24, nr = 16, mc = 24, nc = 32, kc = 0, pack_a = 1, pack_b = 1",
     "u8i8", amx, TSR_ERR_ARGUMENT);
#undef IS
}
END_TEST

int main(void) {
  Suite *suite = suite_create("dot");
  TCase *tcase = tcase_create("dot");
  tcase_set_timeout(tcase, 200);
  tcase_add_loop_test(tcase, products, 0, 8);
  tcase_add_test(tcase, planned);
  tcase_add_test(tcase, convolutions);
  tcase_add_test(tcase, computed_constant);
  tcase_add_test(tcase, legality);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  const int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
