/* The reference that kernels are checked against: right kernels of all kinds of bodies pass, and
 * ones that compute something slightly else do not. */
#include "ir/copy.h"
#include "tests/tuner/task_text.h"
#include "tuner/memo.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A body over x, y f32[12, 40], u i32[12, 40] in -50..50, q u8[12, 40], a table f32[7] and
 * positions p i64[12]; `wrong` is the same with a fault, NULL: there is no bound to pass. */
typedef struct body {
  const char *name, *text, *wrong;
  const char *dtype; /* of the result z */
  bool reduces;      /* over the second variable */
} body;

#define X              "    %0 = load %x[%i, %j] : f32\n"
#define Y              "    %1 = load %y[%i, %j] : f32\n"
#define U              "    %0 = load %u[%i, %j] : i32\n"
#define PUT(value)     "    store " value ", %z[%i, %j]\n"
#define PUT_ROW(value) "    store " value ", %z[%i]\n"

static const body bodies[] = {
    {"product of rounded numbers",
     X Y
     "    %2 = add %0, %1 : f32\n    %3 = sub %0, %1 : f32\n    %4 = mul %2, %3 : f32\n" PUT("%4"),
     X Y
     "    %2 = add %0, %1 : f32\n    %3 = sub %0, %1 : f32\n    %5 = const {value = 1.000001} : "
     "f32\n    %6 = mul %3, %5 : f32\n    %4 = mul %2, %6 : f32\n" PUT("%4"),
     "f32", false},
    {"exponential, tangent, root, quotient",
     X Y
     "    %2 = exp %0 : f32\n    %3 = tanh %1 : f32\n    %4 = add %2, %2 : f32\n    %5 = sqrt %4 "
     ": f32\n    %6 = div %3, %5 : f32\n" PUT("%6"),
     X Y
     "    %2 = exp %0 : f32\n    %3 = tanh %1 : f32\n    %4 = add %2, %2 : f32\n    %5 = sqrt %4 "
     ": f32\n    %7 = const {value = 1.00001} : f32\n    %8 = mul %5, %7 : f32\n    %6 = div %3, "
     "%8 : f32\n" PUT("%6"),
     "f32", false},
    {"reciprocals",
     X "    %1 = mul %0, %0 : f32\n    %2 = rsqrt %1 : f32\n    %3 = recip %2 : f32\n" PUT("%3"),
     X "    %1 = mul %0, %0 : f32\n    %2 = sqrt %1 : f32\n    %4 = const {value = 1.00001} : f32\n"
       "    %3 = mul %2, %4 : f32\n" PUT("%3"),
     "f32", false},
    {"a choice by rounded numbers",
     X Y
     "    %2 = mul %0, %1 : f32\n    %3 = const {value = 0.25} : f32\n    %4 = gt %2, %3 : bool\n"
     "    %5 = select %4, %0, %2 : f32\n" PUT("%5"),
     X Y
     "    %2 = mul %0, %1 : f32\n    %3 = const {value = 0.26} : f32\n    %4 = gt %2, %3 : bool\n"
     "    %5 = select %4, %0, %2 : f32\n" PUT("%5"),
     "f32", false},
    {"steps of rounded numbers",
     X Y
     "    %2 = mul %0, %1 : f32\n    %3 = const {value = 100} : f32\n    %4 = mul %2, %3 : f32\n"
     "    %5 = round %4 : f32\n    %6 = cast %5 : i32\n" PUT("%6"),
     X Y
     "    %2 = mul %0, %1 : f32\n    %3 = const {value = 103} : f32\n    %4 = mul %2, %3 : f32\n"
     "    %5 = round %4 : f32\n    %6 = cast %5 : i32\n" PUT("%6"),
     "i32", false},
    {"a comparison as a result",
     X Y "    %2 = mul %0, %1 : f32\n    %3 = const {value = 0.25} : f32\n    %4 = lt %2, %3 : "
         "bool\n" PUT("%4"),
     X Y "    %2 = mul %0, %1 : f32\n    %3 = const {value = 0.3} : f32\n    %4 = lt %2, %3 : "
         "bool\n" PUT("%4"),
     "bool", false},
    {"narrow floats",
     X Y "    %2 = cast %0 : bf16\n    %3 = cast %1 : bf16\n    %4 = mul %2, %3 : bf16\n" PUT("%4"),
     X Y
     "    %2 = cast %0 : bf16\n    %3 = cast %1 : bf16\n    %5 = const {value = 1.03125} : bf16\n"
     "    %6 = mul %3, %5 : bf16\n    %4 = mul %2, %6 : bf16\n" PUT("%4"),
     "bf16", false},
    {"rounded to half precision",
     X Y "    %2 = mul %0, %1 : f32\n    %3 = cast %2 : f16\n" PUT("%3"),
     X Y
     "    %2 = mul %0, %1 : f32\n    %4 = const {value = 1.003} : f32\n    %5 = mul %2, %4 : f32\n"
     "    %3 = cast %5 : f16\n" PUT("%3"),
     "f16", false},
    {"integers",
     U
     "    %1 = const {value = 3} : i32\n    %2 = mul %0, %1 : i32\n    %3 = shr %2, %1 : i32\n" PUT(
         "%3"),
     U "    %1 = const {value = 3} : i32\n    %2 = mul %0, %1 : i32\n    %4 = const {value = 1} : "
       "i32\n    %5 = add %2, %4 : i32\n    %3 = shr %5, %1 : i32\n" PUT("%3"),
     "i32", false},
    {"a large integer off by one",
     "    %0 = load %p[%i] : i64\n    %1 = const {value = 4611686018427387904} : i64\n    %2 = add "
     "%0, %1 : i64\n" PUT("%2"),
     "    %0 = load %p[%i] : i64\n    %1 = const {value = 4611686018427387905} : i64\n    %2 = add "
     "%0, %1 : i64\n" PUT("%2"),
     "i64", false},
    {"a table",
     X "    %2 = load %p[%i] : i64\n    %3 = gather_load %t[%2] : f32\n    %4 = mul %0, %3 : "
       "f32\n" PUT("%4"),
     X "    %2 = load %p[%i] : i64\n    %5 = const {value = 1} : i64\n    %6 = add %2, %5 : i64\n"
       "    %7 = const {value = 6} : i64\n    %8 = min %6, %7 : i64\n    %3 = gather_load %t[%8] : "
       "f32\n    %4 = mul %0, %3 : f32\n" PUT("%4"),
     "f32", false},
    {"a sum and what comes of it",
     X
     "    %1 = mul %0, %0 : f32\n    %2 = reduce %1 {combine = \"add\"} : f32\n    %3 = sqrt %2 : "
     "f32\n" PUT_ROW("%3"),
     X "    %1 = mul %0, %0 : f32\n    %2 = reduce %1 {combine = \"add\"} : f32\n    %4 = const "
       "{value "
       "= 1.0001} : f32\n    %5 = mul %2, %4 : f32\n    %3 = sqrt %5 : f32\n" PUT_ROW("%3"),
     "f32", true},
    {"a sum that leaves one out", X "    %2 = reduce %0 {combine = \"add\"} : f32\n" PUT_ROW("%2"),
     X
     "    %1 = const {value = 39} : i64\n    %3 = index {value = %j} : i64\n    %4 = lt %3, %1 : "
     "bool\n    %5 = const {value = 0} : f32\n    %6 = select %4, %0, %5 : f32\n    %2 = reduce %6 "
     "{combine = \"add\"} : f32\n" PUT_ROW("%2"),
     "f32", true},
    {"the largest of rounded numbers",
     X Y "    %2 = mul %0, %1 : f32\n    %3 = reduce %2 {combine = \"max\"} : f32\n" PUT_ROW("%3"),
     X Y "    %2 = mul %0, %1 : f32\n    %3 = reduce %2 {combine = \"max\"} : f32\n    %4 = const "
         "{value = 1.000001} : f32\n    %5 = mul %3, %4 : f32\n" PUT_ROW("%5"),
     "f32", true},
    {"a sum of products of bytes",
     "    %0 = load %q[%i, %j] : u8\n    %1 = cast %0 : i32\n    %2 = load %u[%i, %j] : i32\n    "
     "%3 = "
     "mul %1, %2 : i32\n    %4 = reduce %3 {combine = \"add\"} : i32\n" PUT_ROW("%4"),
     "    %0 = load %q[%i, %j] : u8\n    %1 = cast %0 : i32\n    %2 = load %u[%i, %j] : i32\n    "
     "%3 = "
     "mul %1, %2 : i32\n    %4 = reduce %3 {combine = \"add\"} : i32\n    %5 = const {value = 1} : "
     "i32\n    %6 = add %4, %5 : i32\n" PUT_ROW("%6"),
     "i32", true},
    {"a sum in double precision",
     X "    %1 = cast %0 : f64\n    %2 = exp %1 : f64\n    %3 = reduce %2 {combine = \"add\"} : "
       "f64\n" PUT_ROW("%3"),
     X
     "    %1 = cast %0 : f64\n    %2 = exp %1 : f64\n    %3 = reduce %2 {combine = \"add\"} : f64\n"
     "    %4 = const {value = 1.0000000000001} : f64\n    %5 = mul %3, %4 : f64\n" PUT_ROW("%5"),
     "f64", true},
    {"a product of many", X "    %1 = reduce %0 {combine = \"mul\"} : f32\n" PUT_ROW("%1"),
     X "    %1 = reduce %0 {combine = \"mul\"} : f32\n    %2 = const {value = 1.0001} : f32\n    "
       "%3 = "
       "mul %1, %2 : f32\n" PUT_ROW("%3"),
     "f32", true},
    {"logarithms of both signs, half of them no numbers", X "    %1 = log %0 : f32\n" PUT("%1"),
     X "    %1 = log %0 : f32\n    %2 = const {value = 1.00001} : f32\n    %3 = mul %1, %2 : "
       "f32\n" PUT("%3"),
     "f32", false},
    {"a table at a rounded place",
     X Y
     "    %2 = mul %0, %1 : f32\n    %3 = cast %2 : i64\n    %4 = gather_load %t[%3] : f32\n" PUT(
         "%4"),
     NULL, "f32", false},
    {"bits of rounded numbers",
     X Y "    %2 = mul %0, %1 : f32\n    %3 = bitcast %2 : i32\n" PUT("%3"), NULL, "i32", false},
};
enum { BODIES = sizeof bodies / sizeof *bodies };

static char *text_of(const body *b, const char *code) {
  char *text = NULL;
  ck_assert_int_gt(
      asprintf(
          &text,
          "graph @g {\n"
          "  %%x = input {name = \"x\"} : f32[12, 40]\n  %%y = input {name = \"y\"} : f32[12, 40]\n"
          "  %%u = input {name = \"u\"} : i32[12, 40]\n  %%q = input {name = \"q\"} : u8[12, 40]\n"
          "  %%t = const {random = 1} : f32[7]\n  %%p = input {name = \"p\"} : i64[12]\n"
          "  %%z = block par(%%i in 12%s%%j in 40) {\n%s  } : %s[12%s]\n"
          "  output %%z {name = \"z\"}\n}\n",
          b->reduces ? ") red(" : ", ", code, b->dtype, b->reduces ? "" : ", 40"),
      0);
  return text;
}

/* Inputs keep their order of first use in both, so that the other one's module can be bound. */
typedef struct other {
  const tsr_task *task;
} other;

static tsr_status build_other(void *context, const tsr_task *task, const tsr_target *target,
                              const tsr_schedule *schedule, const tsr_allocator *allocator,
                              tsr_diag *diag, void **out_bytes, size_t *out_size) {
  const other *o = context;
  (void)task;
  return tsr_task_build(o->task, target, schedule, allocator, diag, out_bytes, out_size);
}

static const char *const schedules[] = {
    "{vector = -1, fold = -1, lanes = 1, side = -1, rows = 1, grain = 20000, unroll = 1, split = "
    "1, "
    "strategy = \"nest\"}",
    "{vector = 0, fold = -1, lanes = 8, side = -1, rows = 1, grain = 20000, unroll = 1, split = 1, "
    "strategy = \"nest\"}",
};

START_TEST(right_kernels_pass_and_wrong_ones_do_not) {
  const body *b = &bodies[_i];
  char lock[64], *text = text_of(b, b->text);
  char *wrong_text = text_of(b, b->wrong != NULL ? b->wrong : b->text);
  tasks t, wrong;
  tsr_trial trials[2], planted = {.schedule = schedule_from(schedules[0])};
  tsr_diag diag = {0};
  snprintf(lock, sizeof lock, "/tmp/tessera-test-lock.%ld", (long)getpid());
  tasks_begin(&t, text);
  tasks_begin(&wrong, wrong_text);
  for (int i = 0; i < 2; i++)
    trials[i] = (tsr_trial){.schedule = schedule_from(schedules[i])};
  tsr_measure_options options = {
      .threads = 1, .jobs = 2, .build_seconds = 20, .run_seconds = 5, .lock_path = lock};
  const tsr_status status = tsr_measure(&t.list.tasks[0], &t.target, &options, trials, 2, NULL,
                                        &t.arena, NULL, NULL, &diag);
  if (b->wrong == NULL) {
    ck_assert_int_eq(status, TSR_ERR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(diag.message, "cannot be checked"));
  } else {
    ck_assert_msg(status == TSR_OK, "%s: %s", b->name, diag.message);
    for (int i = 0; i < 2; i++)
      ck_assert_msg(trials[i].status == TSR_DB_RIGHT && trials[i].error <= 1, "%s: %s: %s", b->name,
                    tsr_db_status_text(trials[i].status), trials[i].message);
    other planted_by = {&wrong.list.tasks[0]};
    options.build = build_other;
    options.build_context = &planted_by;
    ck_assert_int_eq(tsr_measure(&t.list.tasks[0], &t.target, &options, &planted, 1, NULL, &t.arena,
                                 NULL, NULL, &diag),
                     TSR_OK);
    ck_assert_msg(planted.status == TSR_DB_WRONG && planted.error > 1 && planted.sample_count == 0,
                  "%s: %s: %s", b->name, tsr_db_status_text(planted.status), planted.message);
  }
  unlink(lock);
  tasks_end(&t);
  tasks_end(&wrong);
  free(text);
  free(wrong_text);
}
END_TEST

/* A group is right when what all its blocks hand out is, whatever rows it goes by; what one of them
 * gets wrong shows in what another makes of it. */
START_TEST(groups_are_checked_through_all_their_blocks) {
  static const char *const rows[] = {
      "{grain = 2000, rows = 1, strategy = \"group\"}",
      "{grain = 20000, rows = 8, strategy = \"group\"}",
      "{grain = 1, rows = 13, strategy = \"group\"}",
      "{grain = 1000000, rows = 64, strategy = \"group\"}",
  };
  enum { ROWS = sizeof rows / sizeof *rows };
  char lock[64];
  tasks t, wrong;
  tsr_trial trials[ROWS], planted = {.schedule = schedule_from(rows[1])};
  tsr_diag diag = {0};
  snprintf(lock, sizeof lock, "/tmp/tessera-test-lock.%ld", (long)getpid());
  tasks_begin(&t, GROUP("      %8 = exp %6 : f32\n"));
  tasks_begin(&wrong, GROUP("      %7 = const {value = 1e-5} : f32\n      %13 = add %6, %7 : f32\n"
                            "      %8 = exp %13 : f32\n"));
  ck_assert_uint_eq(t.list.count, 1);
  for (int i = 0; i < ROWS; i++)
    trials[i] = (tsr_trial){.schedule = schedule_from(rows[i])};
  tsr_measure_options options = {
      .threads = 1, .jobs = 2, .build_seconds = 20, .run_seconds = 5, .lock_path = lock};
  const tsr_status status = tsr_measure(&t.list.tasks[0], &t.target, &options, trials, ROWS, NULL,
                                        &t.arena, NULL, NULL, &diag);
  ck_assert_msg(status == TSR_OK, "%s", diag.message);
  for (int i = 0; i < ROWS; i++)
    ck_assert_msg(trials[i].status == TSR_DB_RIGHT && trials[i].error > 0 && trials[i].error <= 1,
                  "%s: %s: %s", rows[i], tsr_db_status_text(trials[i].status), trials[i].message);
  other planted_by = {&wrong.list.tasks[0]};
  options.build = build_other;
  options.build_context = &planted_by;
  ck_assert_int_eq(tsr_measure(&t.list.tasks[0], &t.target, &options, &planted, 1, NULL, &t.arena,
                               NULL, NULL, &diag),
                   TSR_OK);
  ck_assert_msg(planted.status == TSR_DB_WRONG && planted.error > 1, "%s: %s",
                tsr_db_status_text(planted.status), planted.message);
  unlink(lock);
  tasks_end(&t);
  tasks_end(&wrong);
}
END_TEST

/* Inputs are what kernels are measured with: no zeros, both signs, positions inside. */
START_TEST(inputs_are_as_promised) {
  tasks t;
  tsr_diag diag = {0};
  tsr_memo_layout layout;
  char *text = text_of(&bodies[10], bodies[10].text);
  ck_assert_str_eq(bodies[10].name, "a table");
  tasks_begin(&t, text);
  const tsr_task *task = &t.list.tasks[0];
  ck_assert_int_eq(tsr_memo_layout_make(task->ir, &t.arena, &diag, &layout), TSR_OK);
  char *memo = calloc(1, layout.bytes);
  char *again = calloc(1, layout.bytes);
  tsr_memo_fill_inputs(task->ir, task->block, &layout, false, memo);
  tsr_memo_fill_inputs(task->ir, task->block, &layout, false, again);
  ck_assert_int_eq(memcmp(memo, again, layout.bytes), 0);
  ck_assert_uint_eq(layout.input_count, 2);
  int below = 0, above = 0;
  const float *x = (const float *)(const void *)(memo + layout.inputs[0].at);
  for (int64_t i = 0; i < layout.inputs[0].count; i++) {
    ck_assert(x[i] > -1 && x[i] < 1 && x[i] != 0);
    below += x[i] < 0;
    above += x[i] > 0;
  }
  ck_assert(below > 100 && above > 100);
  const int64_t *p = (const int64_t *)(const void *)(memo + layout.inputs[1].at);
  int different = 0;
  for (int64_t i = 0; i < layout.inputs[1].count; i++) {
    ck_assert(p[i] >= 0 && p[i] < 7);
    different += p[i] != p[0];
  }
  ck_assert_int_gt(different, 0);
  free(memo);
  free(again);
  free(text);
  tasks_end(&t);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("reference");
  TCase *tcase = tcase_create("reference");
  tcase_set_timeout(tcase, 120);
  tcase_add_loop_test(tcase, right_kernels_pass_and_wrong_ones_do_not, 0, BODIES);
  tcase_add_test(tcase, groups_are_checked_through_all_their_blocks);
  tcase_add_test(tcase, inputs_are_as_promised);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  const int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
