/* Tuning tasks: what a key depends on, what is taken as a task, and that what is built for
 * measuring is what a compilation makes of the same schedule. */
#include "codegen/cpu/cpu_isa.h"
#include "ir/copy.h"
#include "passes/passes.h"
#include "passes/tile/tile.h"
#include "tests/tuner/task_text.h"
#include <stdio.h>
#include <stdlib.h>

#define GEMM(dims, m, w, out)                                                                      \
  dims "graph @g {\n"                                                                              \
       "  %x = input {name = \"x\"} : f32[" m ", 24]\n"                                            \
       "  %w = " w " : f32[24, 48]\n"                                                              \
       "  %y = block par(%i in " m ", %j in 48) red(%k in 24) {\n"                                 \
       "    %0 = load %x[%i, %k] : f32\n    %1 = load %w[%k, %j] : f32\n"                          \
       "    %2 = mul %0, %1 : f32\n    %3 = reduce %2 {combine = \"add\"} : f32\n"                 \
       "    store %3, %y[%i, %j]\n"                                                                \
       "  } : f32[" m ", 48] from \"" out "\"\n"                                                   \
       "  output %y {name = \"" out "\"}\n}\n"

#define CONSTANT "const {random = 1}"
#define INPUT    "input {name = \"w\"}"

static tsr_arena arena;

static void begin(void) {
  tsr_arena_init(&arena, tsr_allocator_default());
}

static void finish(void) {
  tsr_arena_reset(&arena);
}

static tsr_db_key key_of(const tsr_ir *ir, tsr_op block, unsigned threads) {
  tsr_target target;
  tsr_db_key key;
  tsr_target_host(threads, &target);
  ck_assert_int_eq(tsr_task_key(ir, block, &target, "warm", &arena, &key), TSR_OK);
  return key;
}

static tsr_db_key key_of_text(const char *text, unsigned threads) {
  tsr_ir *ir = parse_text(text);
  const tsr_db_key key = key_of(ir, block_of(ir, 0), threads);
  tsr_ir_destroy(ir);
  return key;
}

static bool same(const tsr_db_key *a, const tsr_db_key *b) {
  return a->workload == b->workload && a->workload_version == b->workload_version &&
         a->threads == b->threads && strcmp(a->dims, b->dims) == 0 &&
         strcmp(a->target, b->target) == 0 && strcmp(a->device, b->device) == 0 &&
         strcmp(a->mode, b->mode) == 0;
}

static const char device_dims[] =
    "dim N in 1..64 hint 16\ndim K <= N from device\n"
    "graph @g {\n"
    "  %x = input {name = \"x\"} : f32[N]\n  %c = input {name = \"c\"} : i64[]\n"
    "  %r = resize_dim %x, %c {dim = K} : f32[K]\n"
    "  %y = block par(%i in K) {\n    %0 = load %r[%i] : f32\n    %1 = exp %0 : f32\n"
    "    store %1, %y[%i]\n  } : f32[K]\n"
    "  output %y {name = \"y\"}\n}\n";

/* What tune asks is what compile asks. */
START_TEST(keys_of_tasks_are_those_of_blocks) {
  static const char *const texts[] = {
      GEMM("dim M in 1..64 hint 16\n", "M", CONSTANT, "y"),
      GEMM("", "20", INPUT, "y"),
      GEMM("dim A in 2..9\ndim M in 1..64\n", "M*2", CONSTANT, "y"),
      device_dims,
      GROUP("      %8 = exp %6 : f32\n"),
  };
  begin();
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    tasks t;
    tasks_begin(&t, texts[i]);
    ck_assert_uint_eq(t.list.count, 1);
    const tsr_db_key in_model = key_of(t.ir, block_of(t.ir, 0), 1);
    const tsr_db_key in_task = key_of(t.list.tasks[0].ir, t.list.tasks[0].block, 1);
    ck_assert_msg(same(&in_model, &in_task), "%s", texts[i]);
    ck_assert_uint_eq(t.list.tasks[0].workload, in_model.workload);
    ck_assert_str_eq(t.list.tasks[0].dims, in_model.dims);
    tasks_end(&t);
  }
  finish();
}
END_TEST

START_TEST(keys_depend_on_what_matters) {
  begin();
  const tsr_db_key key = key_of_text(GEMM("dim M in 1..64 hint 16\n", "M", CONSTANT, "y"), 1);
  const tsr_db_key renamed =
      key_of_text(GEMM("dim Z in 1..7\ndim R in 1..64 hint 16\n", "R", CONSTANT, "other"), 1);
  const tsr_db_key other_weights =
      key_of_text(GEMM("dim M in 1..64 hint 16\n", "M", "const {random = 2}", "y"), 1);
  ck_assert(same(&key, &renamed));
  ck_assert(same(&key, &other_weights));
  ck_assert_str_eq(key.dims, "16");
  const tsr_db_key others[] = {
      key_of_text(GEMM("dim M in 1..64 hint 16\n", "M", INPUT, "y"), 1),
      key_of_text(GEMM("dim M in 1..64 hint 17\n", "M", CONSTANT, "y"), 1),
      key_of_text(GEMM("dim M in 1..65 hint 16\n", "M", CONSTANT, "y"), 1),
      key_of_text(GEMM("", "16", CONSTANT, "y"), 1),
      key_of_text(GEMM("dim M in 1..64 hint 16\n", "M", CONSTANT, "y"), 2),
  };
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    ck_assert_msg(!same(&key, &others[i]), "key %zu", i);
  finish();
}
END_TEST

START_TEST(keys_depend_on_the_target) {
  tsr_ir *ir = parse_text(GEMM("", "16", CONSTANT, "y"));
  tsr_target host, caches, cuda, tf32;
  tsr_db_key keys[4];
  begin();
  tsr_target_host(1, &host);
  caches = host;
  caches.l2_bytes *= 2;
  ck_assert(tsr_target_cuda("cuda:sm_80", &cuda));
  tf32 = cuda;
  tf32.tf32 = true;
  const tsr_target *targets[] = {&host, &caches, &cuda, &tf32};
  for (int i = 0; i < 4; i++)
    ck_assert_int_eq(tsr_task_key(ir, block_of(ir, 0), targets[i], "warm", &arena, &keys[i]),
                     TSR_OK);
  for (int i = 0; i < 4; i++)
    for (int k = 0; k < i; k++)
      ck_assert_msg(!same(&keys[i], &keys[k]), "%d and %d", i, k);
  /* Rates are measured anew at any time. */
  host.l2_rate *= 1.1;
  tsr_db_key again;
  ck_assert_int_eq(tsr_task_key(ir, block_of(ir, 0), &host, "warm", &arena, &again), TSR_OK);
  ck_assert(same(&keys[0], &again));
  finish();
  tsr_ir_destroy(ir);
}
END_TEST

/* --- collecting --- */

static const char several[] =
    "dim N in 1..64 hint 8\n"
    "graph @g {\n"
    "  %x = input {name = \"x\"} : f32[N, 30]\n  %u = input {name = \"u\"} : f32[N, 30]\n"
    "  %y = block par(%i in N, %j in 30) {\n    %0 = load %x[%i, %j] : f32\n"
    "    %1 = exp %0 : f32\n    store %1, %y[%i, %j]\n  } : f32[N, 30] from \"Exp_0\"\n"
    "  %z = block par(%i in N, %j in 30) {\n    %0 = load %u[%i, %j] : f32\n"
    "    %1 = exp %0 : f32\n    store %1, %z[%i, %j]\n  } : f32[N, 30] from \"Exp_1\"\n"
    "  %s = block par(%i in N) red(%j in 30) {\n    %0 = load %y[%i, %j] : f32\n"
    "    %1 = load %z[%i, %j] : f32\n    %2 = mul %0, %1 : f32\n"
    "    %3 = reduce %2 {combine = \"add\"} : f32\n    store %3, %s[%i]\n  } : f32[N] from "
    "\"Sum\"\n"
    "  %p = proc par(%i in N) {\n    %0 = load %s[%i] : f32\n    store %0, %p[%i]\n  } : f32[N]\n"
    "  output %p {name = \"p\"}\n}\n";

START_TEST(equal_blocks_are_one_task) {
  tasks t;
  double share = 0;
  tasks_begin(&t, several);
  ck_assert_uint_eq(t.list.count, 2);
  ck_assert_str_eq(t.list.tasks[0].name, "Exp_0");
  ck_assert(t.list.tasks[0].times == 2 && t.list.tasks[1].times == 1);
  for (uint32_t i = 0; i < t.list.count; i++) {
    tsr_diag diag = {0};
    share += t.list.tasks[i].share;
    ck_assert(t.list.tasks[i].share > 0);
    ck_assert_msg(tsr_ir_verify(t.list.tasks[i].ir, &diag) == TSR_OK, "%s", diag.message);
  }
  ck_assert(share > 0.999 && share < 1.001);
  tasks_end(&t);
}
END_TEST

/* A dim that is no input's extent gets an input that says it. */
START_TEST(isolated_ops_stand_alone) {
  static const char *const texts[] = {several, device_dims,
                                      GEMM("dim M in 1..64\n", "M*2", CONSTANT, "y")};
  begin();
  for (int i = 0; i < 3; i++) {
    tsr_ir *ir = parse_text(texts[i]), *once, *twice;
    tsr_op op, again;
    tsr_diag diag = {0};
    ck_assert_int_eq(tsr_ir_isolate(ir, block_of(ir, 0), tsr_allocator_default(), &once, &op),
                     TSR_OK);
    ck_assert_msg(tsr_ir_verify(once, &diag) == TSR_OK, "%s", diag.message);
    ck_assert_int_eq(tsr_ir_isolate(once, op, tsr_allocator_default(), &twice, &again), TSR_OK);
    ck_assert_str_eq(tsr_ir_print(once, &arena), tsr_ir_print(twice, &arena));
    const bool extra = strstr(tsr_ir_print(once, &arena), "u8[") != NULL;
    ck_assert(extra == (i == 2));
    tsr_ir_destroy(once);
    tsr_ir_destroy(twice);
    tsr_ir_destroy(ir);
  }
  finish();
}
END_TEST

/* --- schedules --- */

START_TEST(schedules_go_through_text) {
  static const char *const bad[] = {
      "",
      "{mr = 6",
      "{mr = \"six\"}",
      "{speed = 11}",
      "{strategy = \"magic\"}",
      "{mr = 6000000}",
      "{mr = 6, strategy = \"contract\"}\n  schedule @l {mr = 4, strategy = \"contract\"}",
      "{mr = 6, strategy = \"contract\"}\n}\nplan @q {",
  };
  tsr_diag diag = {0};
  tsr_schedule again;
  begin();
  const tsr_schedule first = schedule_from(
      "{grain = 20000, kc = 12, mc = 24, mr = 4, nc = 48, nr = 16, outer = 1, pack_a = 0, "
      "pack_b = 0, strategy = \"contract\", unroll = 1, upto = 0}");
  const char *text = tsr_task_schedule_text(&first, tsr_allocator_default(), &arena);
  ck_assert_int_eq(text[0], '{');
  ck_assert_int_eq(text[strlen(text) - 1], '}');
  ck_assert_int_eq(tsr_task_schedule_parse(text, tsr_allocator_default(), &diag, &again), TSR_OK);
  ck_assert_int_eq(again.strategy, TSR_STRATEGY_CONTRACT);
  ck_assert_int_eq(memcmp(first.knobs, again.knobs, sizeof first.knobs), 0);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    diag = (tsr_diag){0};
    ck_assert_msg(tsr_task_schedule_parse(bad[i], tsr_allocator_default(), &diag, &again) != TSR_OK,
                  "%s", bad[i]);
    ck_assert_msg(diag.message[0] != '\0', "%s", bad[i]);
  }
  finish();
}
END_TEST

typedef struct rows {
  const char *const *texts;
  uint32_t count;
  uint32_t asked, blocks;
} rows;

static bool known(void *context, const tsr_ir *ir, tsr_op block, uint32_t number,
                  tsr_schedule *out_schedule) {
  rows *r = context;
  ck_assert_int_ne(tsr_op_get(ir, block)->code, TSR_OP_PROC);
  r->asked++;
  r->blocks += number == 0;
  if (number >= r->count)
    return false;
  *out_schedule = schedule_from(r->texts[number]);
  return true;
}

static const char *plan_for(const tsr_target *target, const char *text, rows *r) {
  tsr_ir *ir = parse_text(text);
  tsr_diag diag = {0};
  tsr_op plan;
  const tsr_plan_source source = {.known = known, .known_context = r};
  ck_assert_msg(tsr_plan_make(ir, target, &source, &diag, &plan) == TSR_OK, "%s", diag.message);
  const char *printed = tsr_op_print(ir, plan, &arena);
  tsr_ir_destroy(ir);
  return printed;
}

static const char *plan_with(const char *text, rows *r) {
  tsr_target target;
  tsr_target_host(1, &target);
  return plan_for(&target, text, r);
}

#define CONTRACT(mr)                                                                               \
  "{grain = 20000, kc = 0, mc = 24, mr = " mr ", nc = 48, nr = 16, outer = 1, pack_a = 0, "        \
  "pack_b = 0, strategy = \"contract\", unroll = 1}"

START_TEST(the_first_legal_row_is_taken) {
  static const char *const texts[] = {
      CONTRACT("5"), /* no multiple of mc */
      "{strategy = \"proc\", grain = 1}",
      CONTRACT("3"),
      CONTRACT("4"),
  };
  rows r = {texts, 4, 0, 0};
  begin();
  ck_assert_ptr_nonnull(strstr(plan_with(GEMM("", "20", CONSTANT, "y"), &r), " mr = 3, "));
  ck_assert_uint_eq(r.asked, 3);
  rows illegal = {texts, 2, 0, 0}, none = {texts, 0, 0, 0};
  const char *plan = plan_with(GEMM("", "20", CONSTANT, "y"), &illegal);
  ck_assert_str_eq(plan, plan_with(GEMM("", "20", CONSTANT, "y"), &none));
  ck_assert_uint_eq(illegal.asked, 3);
  /* Each kind of block once, no procs. */
  rows all = {texts, 0, 0, 0};
  (void)plan_with(several, &all);
  ck_assert_uint_eq(all.blocks, 2);
  finish();
}
END_TEST

/* Rows of blocks say nothing of a group. */
START_TEST(groups_take_their_rows) {
  static const char *const texts[] = {
      CONTRACT("3"),
      "{grain = 777, rows = 9, strategy = \"group\"}",
      "{grain = 20000, rows = 4, strategy = \"group\"}",
  };
  rows r = {texts, 3, 0, 0};
  begin();
  ck_assert_ptr_nonnull(
      strstr(plan_with(GROUP("      %8 = exp %6 : f32\n"), &r), "grain = 777, rows = 9,"));
  ck_assert_uint_eq(r.asked, 2);
  finish();
}
END_TEST

/* The line of the schedule that runs at `extent`. */
static const char *runs_at(char *plan, long extent) {
  const char *main = NULL;
  for (char *line = strtok(plan, "\n"); line != NULL; line = strtok(NULL, "\n")) {
    const char *upto = strstr(line, "upto = ");
    if (strstr(line, "@k0 ") != NULL)
      main = line;
    else if (upto != NULL && atol(upto + strlen("upto = ")) >= extent)
      return line;
  }
  return main;
}

/* At the extent that it was measured at, what was measured runs; where the model has another
 * schedule for the high end, that one goes on running there. */
START_TEST(what_was_measured_runs_where_it_was_measured) {
  static const char *const texts[] = {CONTRACT("12")}, measured[] = " mc = 24, mr = 12, nc = 48, ";
  static const int highs[] = {64, 4096};
  int others = 0;
  begin();
  for (int i = 0; i < 2; i++)
    for (int hint = 1; hint < 60; hint += 3) {
      char text[1200];
      rows r = {texts, 1, 0, 0};
      snprintf(text, sizeof text, "dim M in 1..%d hint %d\n%s", highs[i], hint,
               GEMM("", "M", CONSTANT, "y"));
      const char *plan = plan_with(text, &r);
      const char *line = runs_at(tsr_arena_string(&arena, plan, strlen(plan)), hint);
      ck_assert_msg(line != NULL && strstr(line, measured) != NULL, "hint %d: %s", hint, plan);
      line = runs_at(tsr_arena_string(&arena, plan, strlen(plan)), highs[i]);
      others += strstr(line, measured) == NULL;
    }
  ck_assert_int_gt(others, 0);
  finish();
}
END_TEST

/* A row by vectors runs alone, since it was measured alone; a row by tiles, which the system may
 * deny, stands before the default by vectors. */
START_TEST(tiles_have_a_stand_in) {
  static const char gemm[] =
      "graph @g {\n  %x = input {name = \"x\"} : u8[64, 128]\n"
      "  %w = const {random = 1} : i8[128, 64]\n"
      "  %y = block par(%i in 64, %j in 64) red(%k in 128) {\n"
      "    %0 = load %x[%i, %k] : u8\n    %1 = cast %0 : i32\n"
      "    %2 = load %w[%k, %j] : i8\n    %3 = cast %2 : i32\n    %4 = mul %1, %3 : i32\n"
      "    %5 = reduce %4 {combine = \"add\"} : i32\n    store %5, %y[%i, %j]\n"
      "  } : i32[64, 64]\n  output %y {name = \"y\"}\n}\n";
#define ROW(atom)                                                                                  \
  "{atom = \"" atom                                                                                \
  "\", fetch = 0, grain = 20000, kc = 0, mc = 32, mr = 16, nc = 64, nr = 32, outer = 1, "          \
  "pack_a = 1, pack_b = 0, strategy = \"contract\", unroll = 2}"
  static const char *const tiles[] = {ROW("amx.u8i8")}, *const vectors[] = {ROW("vnni.u8i8")};
#undef ROW
  rows none = {tiles, 0, 0, 0}, by_tiles = {tiles, 1, 0, 0}, by_vectors = {vectors, 1, 0, 0};
  tsr_cpu_isa isa;
  tsr_target target;
  tsr_diag diag = {0};
  if (tsr_cpu_isa_parse("cpu:avx512+vnni+amx-int8", &diag, &isa) != TSR_OK)
    return; /* another architecture */
  begin();
  tsr_target_cpu(tsr_cpu_isa_features(&isa), NULL, 1, &target);
  const char *plan = plan_for(&target, gemm, &none);
  ck_assert_ptr_nonnull(strstr(plan, "@k0 {ahead = 0, atom = \"vnni.u8i8\""));
  ck_assert_ptr_nonnull(strstr(plan, "@k0_1 {ahead = 0, atom = \"amx.u8i8\""));
  plan = plan_for(&target, gemm, &by_tiles);
  ck_assert_ptr_nonnull(strstr(plan, "@k0 {ahead = 0, atom = \"vnni.u8i8\""));
  ck_assert_ptr_nonnull(strstr(
      plan, "@k0_1 {ahead = 0, atom = \"amx.u8i8\", fetch = 0, grain = 20000, kc = 0, mc = 32"));
  plan = plan_for(&target, gemm, &by_vectors);
  ck_assert_ptr_nonnull(strstr(
      plan, "@k0 {ahead = 0, atom = \"vnni.u8i8\", fetch = 0, grain = 20000, kc = 0, mc = 32"));
  ck_assert_ptr_null(strstr(plan, "amx"));
  finish();
}
END_TEST

/* f32 by bf16 parts: a measured row by tiles stands before multiply-adds on the same panels, the
 * default does where tiles gain by the model, and neither where they are not wanted or the weights
 * cannot be split. */
START_TEST(parts_have_a_stand_in) {
#define GEMM_OF(m, k, n, weights)                                                                  \
  "graph @g {\n  %x = input {name = \"x\"} : f32[" m ", " k "]\n  %w = const {" weights            \
  "} : f32[" k ", " n "]\n  %y = block par(%i in " m ", %j in " n ") red(%k in " k                 \
  ") {\n    %0 = load %x[%i, %k] : f32\n    %1 = load %w[%k, %j] : f32\n"                          \
  "    %2 = mul %0, %1 : f32\n    %3 = reduce %2 {combine = \"add\"} : f32\n"                      \
  "    store %3, %y[%i, %j]\n  } : f32[" m ", " n "]\n  output %y {name = \"y\"}\n}\n"
  static const char small[] = GEMM_OF("64", "128", "64", "random = 1"),
                    large[] = GEMM_OF("512", "512", "512", "random = 1"),
                    tiny_weights[] = GEMM_OF("512", "512", "512", "value = 1e-30"),
                    few_rows[] = GEMM_OF("4", "512", "512", "random = 1");
#undef GEMM_OF
  static const char *const tiles[] = {
      "{atom = \"amx.bf16x3\", fetch = 0, grain = 20000, kc = 0, mc = 32, mr = 16, nc = 64, nr = "
      "32, outer = "
      "1, "
      "pack_a = 1, pack_b = 0, strategy = \"contract\", unroll = 2}"};
  rows by_tiles = {tiles, 1, 0, 0}, strict = {tiles, 1, 0, 0}, none = {tiles, 0, 0, 0};
  tsr_cpu_isa isa;
  tsr_target target;
  tsr_diag diag = {0};
  if (tsr_cpu_isa_parse("cpu:avx512+bf16+amx-bf16", &diag, &isa) != TSR_OK)
    return; /* another architecture */
  begin();
  tsr_target_cpu(tsr_cpu_isa_features(&isa), NULL, 1, &target);
  ck_assert_ptr_null(strstr(plan_for(&target, small, &strict), "bf16x3"));
  ck_assert_ptr_null(strstr(plan_for(&target, large, &none), "bf16x3"));
  target.bf16_parts = true;
  const char *plan = plan_for(&target, small, &by_tiles);
  ck_assert_ptr_nonnull(strstr(plan, "@k0 {ahead = 0, atom = \"fma.bf16x3\""));
  ck_assert_ptr_nonnull(strstr(
      plan, "@k0_1 {ahead = 0, atom = \"amx.bf16x3\", fetch = 0, grain = 20000, kc = 0, mc = 32"));
  plan = plan_for(&target, large, &none);
  ck_assert_ptr_nonnull(strstr(plan, "@k0 {ahead = 0, atom = \"fma.bf16x3\""));
  ck_assert_ptr_nonnull(strstr(plan, "@k0_1 {ahead = 0, atom = \"amx.bf16x3\""));
  ck_assert_ptr_null(strstr(plan_for(&target, tiny_weights, &none), "bf16x3"));
  ck_assert_ptr_null(strstr(plan_for(&target, few_rows, &none), "bf16x3"));
  target.amx_share = 0.125; /* of a machine whose tiles were measured to be that slow */
  ck_assert_ptr_null(strstr(plan_for(&target, large, &none), "bf16x3"));
  target.amx_share = 1;
  target.cpu_features &= ~TSR_CPU_AMX_BF16; /* bf16 by vectors alone would lose */
  ck_assert_ptr_null(strstr(plan_for(&target, large, &none), "bf16x3"));
  finish();
}
END_TEST

/* The kernel that is measured is the one that is compiled. */
START_TEST(tasks_are_built_as_models_are) {
  static const char *const gemms[] = {CONTRACT("3")};
  static const char *const nests[] = {
      "{vector = -1, fold = 3, lanes = 8, side = -1, rows = 1, grain = 500, unroll = 2, split = 2, "
      "strategy = \"nest\"}"};
  const char *const *const texts[] = {gemms, nests};
  begin();
  for (int i = 0; i < 2; i++) {
    tasks t;
    tsr_diag diag = {0};
    void *bytes;
    size_t size;
    tasks_begin(&t, GEMM("dim M in 1..64 hint 64\n", "M", CONSTANT, "y"));
    const tsr_schedule schedule = schedule_from(texts[i][0]);
    /* As measured: by a plan. */
    tsr_ir *measured;
    ck_assert_int_eq(tsr_ir_copy_in_order(t.list.tasks[0].ir, tsr_allocator_default(), &measured),
                     TSR_OK);
    ck_assert_msg(tsr_task_lower(measured, &t.target, &schedule, tsr_allocator_default(), &diag,
                                 &bytes, &size) == TSR_OK,
                  "%s", diag.message);
    ck_assert_uint_gt(size, 0);
    free(bytes);
    /* As compiled: by what is known. */
    rows r = {texts[i], 1, 0, 0};
    const tsr_plan_source source = {.known = known, .known_context = &r};
    tsr_ir *compiled = parse_text(GEMM("dim M in 1..64 hint 64\n", "M", CONSTANT, "y"));
    ck_assert_int_eq(tsr_pass_tile(compiled, &t.target, &source, &diag), TSR_OK);
    for (int k = 0; k < 2; k++) {
      const char *name = k == 0 ? "k0" : "k1";
      const tsr_op a = tsr_ir_find_symbol(measured, name), b = tsr_ir_find_symbol(compiled, name);
      ck_assert((a == 0) == (b == 0));
      ck_assert(k == 0 ? a != 0 : (a != 0) == (i == 1));
      if (a != 0)
        ck_assert_uint_eq(tsr_op_workload_hash(measured, a), tsr_op_workload_hash(compiled, b));
    }
    tsr_ir_destroy(measured);
    tsr_ir_destroy(compiled);
    tasks_end(&t);
  }
  finish();
}
END_TEST

int main(void) {
  Suite *suite = suite_create("task");
  TCase *tcase = tcase_create("task");
  tcase_set_timeout(tcase, 60);
  tcase_add_test(tcase, keys_of_tasks_are_those_of_blocks);
  tcase_add_test(tcase, keys_depend_on_what_matters);
  tcase_add_test(tcase, keys_depend_on_the_target);
  tcase_add_test(tcase, equal_blocks_are_one_task);
  tcase_add_test(tcase, isolated_ops_stand_alone);
  tcase_add_test(tcase, schedules_go_through_text);
  tcase_add_test(tcase, the_first_legal_row_is_taken);
  tcase_add_test(tcase, groups_take_their_rows);
  tcase_add_test(tcase, what_was_measured_runs_where_it_was_measured);
  tcase_add_test(tcase, tiles_have_a_stand_in);
  tcase_add_test(tcase, parts_have_a_stand_in);
  tcase_add_test(tcase, tasks_are_built_as_models_are);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  const int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
