/* Outputs that live in an input's memory, of models that the host runs: branches and loops. What
 * nothing else needs is written in place, whichever way the model goes; the rest is copied last. */
#include "tests/robust/state.h"
#include <check.h>
#include <string.h>
#include <tessera/compiler.h>
#include <tessera/runtime.h>

enum { WIDTH = 16, ROOM = 24, CACHE_BYTES = ROOM * WIDTH * 4 };

#define HEAD                                                                                       \
  "dim C in 0..4096\n"                                                                             \
  "graph @main {\n"                                                                                \
  "  %use = input {name = \"use\"} : bool[]\n"                                                     \
  "  %x = input {name = \"x\"} : f32[1, 16]\n"                                                     \
  "  %at = input {name = \"at\"} : i64[]\n"                                                        \
  "  %c = input {name = \"cache\"} : f32[C, 16]\n"                                                 \
  "  %two = const {value = 2} : f32[]\n"                                                           \
  "  %new, %sum = if %use {\n"                                                                     \
  "    %i = iota {axis = 0} : i64[1, 16]\n"                                                        \
  "    %place = add %i, %at : i64[1, 16]\n"                                                        \
  "    %y = scatter_elements %c, %place, %x {axis = 0, combine = \"none\"} : f32[C, 16]\n"         \
  "    %r = reduce %y {axes = [0], combine = \"add\"} : f32[16]\n"                                 \
  "    yield %y, %r\n"                                                                             \
  "  } {\n"                                                                                        \
  "    %r2 = reduce %c {axes = [0], combine = \"add\"} : f32[16]\n"                                \
  "    %y2 = mul %c, %two : f32[C, 16]\n"                                                          \
  "    yield %y2, %r2\n"                                                                           \
  "  } : f32[C, 16], f32[16]\n"

/* A decoder with two ways: one row is new, or all are. */
static const char branch_text[] = HEAD "  output %sum {name = \"sum\"}\n"
                                       "  output %new {alias = \"cache\", name = \"cache2\"}\n"
                                       "}\n";

/* The old contents are needed behind the branches, and given as they were. */
static const char late_text[] =
    HEAD "  %old = reduce %c {axes = [0], combine = \"add\"} : f32[16]\n"
         "  %both = add %sum, %old : f32[16]\n"
         "  output %both {name = \"sum\"}\n"
         "  output %new {alias = \"cache\", name = \"cache2\"}\n"
         "  output %c {name = \"before\"}\n"
         "}\n";

/* Five rows, one in each turn, and the number of turns. */
static const char loop_text[] =
    "dim C in 0..4096\n"
    "graph @main {\n"
    "  %x = input {name = \"x\"} : f32[1, 16]\n"
    "  %at = input {name = \"at\"} : i64[]\n"
    "  %c = input {name = \"cache\"} : f32[C, 16]\n"
    "  %one = const {value = 1} : i64[]\n"
    "  %five = const {value = 5} : i64[]\n"
    "  %end = add %at, %five : i64[]\n"
    "  %new, %last = loop carry(%v = %c, %k = %at) {\n"
    "    %i = iota {axis = 0} : i64[1, 16]\n"
    "    %place = add %i, %k : i64[1, 16]\n"
    "    %y = scatter_elements %v, %place, %x {axis = 0, combine = \"none\"} : f32[C, 16]\n"
    "    %next = add %k, %one : i64[]\n"
    "    %more = lt %next, %end : bool[]\n"
    "    yield %more, %y, %next\n"
    "  } : f32[C, 16], i64[]\n"
    "  output %new {alias = \"cache\", name = \"cache2\"}\n"
    "  output %last {alias = \"at\", name = \"at2\"}\n"
    "}\n";

/* Each output is what the other one's input holds. */
static const char swap_text[] = "graph @main {\n"
                                "  %use = input {name = \"use\"} : bool[]\n"
                                "  %a = input {name = \"a\"} : f32[16]\n"
                                "  %b = input {name = \"b\"} : f32[16]\n"
                                "  %p, %q = if %use {\n"
                                "    yield %b, %a\n"
                                "  } {\n"
                                "    %e = exp %a : f32[16]\n"
                                "    yield %a, %e\n"
                                "  } : f32[16], f32[16]\n"
                                "  output %p {alias = \"a\", name = \"a2\"}\n"
                                "  output %q {alias = \"b\", name = \"b2\"}\n"
                                "}\n";

/* The output is the input's memory. */
static void bind_both(tsr_exec *exec, const char *in, const char *out, DLTensor data) {
  bind_in(exec, in, data);
  bind_out(exec, out, data);
}

typedef struct state {
  float cache[ROOM * WIDTH], want[ROOM * WIDTH], x[WIDTH], before[ROOM * WIDTH];
  int64_t at, cache_shape[2], x_shape[2];
  uint8_t use;
} state;

static void begin_state(state *s) {
  memset(s, 0, sizeof *s);
  s->cache_shape[0] = ROOM;
  s->cache_shape[1] = s->x_shape[1] = WIDTH;
  s->x_shape[0] = 1;
  for (int i = 0; i < ROOM * WIDTH; i++)
    s->cache[i] = s->want[i] = (float)(i % 7);
}

static float column(const float *rows, int c) {
  float sum = 0;
  for (int r = 0; r < ROOM; r++)
    sum += rows[r * WIDTH + c];
  return sum;
}

static void next_step(state *s, tsr_exec *exec, int step) {
  memcpy(s->before, s->want, sizeof s->want);
  s->use = step % 3 != 1;
  s->at = step * 5 % ROOM;
  for (int c = 0; c < WIDTH; c++)
    s->x[c] = (float)(step + c);
  bind_in(exec, "use", tensor(&s->use, TSR_BOOL, 0, NULL));
  bind_in(exec, "x", tensor(s->x, TSR_F32, 2, s->x_shape));
  bind_in(exec, "at", tensor(&s->at, TSR_I64, 0, NULL));
  if (s->use != 0)
    memcpy(s->want + s->at * WIDTH, s->x, sizeof s->x);
  for (int i = 0; s->use == 0 && i < ROOM * WIDTH; i++)
    s->want[i] *= 2;
}

static void check_step(const state *s, tsr_exec *exec, bool late) {
  const float *sum = output(exec, "sum");
  ck_assert_mem_eq(output(exec, "cache2"), s->want, sizeof s->want);
  for (int c = 0; c < WIDTH; c++) {
    float want = column(s->use != 0 ? s->want : s->before, c) + (late ? column(s->before, c) : 0);
    ck_assert_msg(sum[c] == want, "sum %g, not %g", (double)sum[c], (double)want);
  }
  if (late)
    ck_assert_mem_eq(output(exec, "before"), s->before, sizeof s->before);
}

/* 0: only the new row is written; 1: the old contents are needed, so that the new are made beside
 * them. */
START_TEST(branches_in_place) {
  setup made = open_text(_i == 0 ? branch_text : late_text, "cpu", 0);
  state s;
  tsr_port_info info;
  begin_state(&s);
  ck_assert_int_eq(tsr_module_get_output(made.module, 1, &info), TSR_OK);
  ck_assert_str_eq(info.alias, "cache");
  bind_both(made.exec, "cache", "cache2", tensor(s.cache, TSR_F32, 2, s.cache_shape));
  for (int step = 0; step < 6; step++) {
    next_step(&s, made.exec, step);
    run(made.exec);
    ck_assert_ptr_eq((const void *)output(made.exec, "cache2"), s.cache);
    ck_assert_uint_eq(kept_bytes(made.exec), _i == 0 || s.use == 0 ? 0 : CACHE_BYTES);
    check_step(&s, made.exec, _i == 1);
  }
  close_setup(&made);
}
END_TEST

/* The caller's memory is not touched where no output is bound to it. */
START_TEST(branches_to_other_memory) {
  setup made = open_text(_i == 0 ? branch_text : late_text, "cpu", 0);
  state s;
  begin_state(&s);
  for (int step = 0; step < 6; step++) {
    bind_in(made.exec, "cache", tensor(s.cache, TSR_F32, 2, s.cache_shape));
    next_step(&s, made.exec, step);
    run(made.exec);
    ck_assert_mem_eq(s.cache, s.before, sizeof s.before);
    check_step(&s, made.exec, _i == 1);
    memcpy(s.cache, output(made.exec, "cache2"), sizeof s.cache);
  }
  close_setup(&made);
}
END_TEST

/* 0: in place; 1: the first turn copies, later ones write into that copy. */
START_TEST(loop_turns) {
  setup made = open_text(loop_text, "cpu", 0);
  state s;
  begin_state(&s);
  for (int c = 0; c < WIDTH; c++)
    s.x[c] = (float)(100 + c);
  bind_in(made.exec, "x", tensor(s.x, TSR_F32, 2, s.x_shape));
  bind_in(made.exec, "cache", tensor(s.cache, TSR_F32, 2, s.cache_shape));
  if (_i == 0)
    bind_both(made.exec, "cache", "cache2", tensor(s.cache, TSR_F32, 2, s.cache_shape));
  bind_both(made.exec, "at", "at2", tensor(&s.at, TSR_I64, 0, NULL));
  for (int i = 0; i < 10 * WIDTH; i++)
    s.want[i] = s.x[i % WIDTH];
  for (int half = 0; half < 2; half++) {
    run(made.exec);
    ck_assert_int_eq(s.at, 5 * half + 5);
    if (_i == 1) {
      ck_assert_float_eq(s.cache[5 * half * WIDTH], (float)(5 * half * WIDTH % 7));
      memcpy(s.cache, output(made.exec, "cache2"), sizeof s.cache);
    }
    ck_assert_mem_eq(s.cache, s.want, 5 * (size_t)(half + 1) * sizeof s.x);
    ck_assert_float_eq(s.cache[10 * WIDTH], (float)(10 * WIDTH % 7));
    ck_assert_uint_eq(kept_bytes(made.exec), _i == 0 ? 0 : CACHE_BYTES);
  }
  close_setup(&made);
}
END_TEST

START_TEST(swapped) {
  setup made = open_text(swap_text, "cpu", 0);
  float a[WIDTH], b[WIDTH];
  int64_t shape[1] = {WIDTH};
  uint8_t use = 1;
  for (int i = 0; i < WIDTH; i++) {
    a[i] = (float)i;
    b[i] = (float)-i;
  }
  bind_in(made.exec, "use", tensor(&use, TSR_BOOL, 0, NULL));
  bind_both(made.exec, "a", "a2", tensor(a, TSR_F32, 1, shape));
  bind_both(made.exec, "b", "b2", tensor(b, TSR_F32, 1, shape));
  for (int turn = 0; turn < 3; turn++) {
    run(made.exec);
    for (int i = 0; i < WIDTH; i++) {
      ck_assert_float_eq(a[i], (float)(turn % 2 == 0 ? -i : i));
      ck_assert_float_eq(b[i], (float)(turn % 2 == 0 ? i : -i));
    }
  }
  close_setup(&made);
}
END_TEST

START_TEST(foreign_memory) {
  setup made = open_text(branch_text, "cpu", 0);
  state s;
  begin_state(&s);
  bind_both(made.exec, "cache", "cache2", tensor(s.cache, TSR_F32, 2, s.cache_shape));
  next_step(&s, made.exec, 0);
  DLTensor wrong = tensor(s.cache, TSR_F32, 1, &s.x_shape[1]);
  ck_assert_int_eq(tsr_exec_bind_output_name(made.exec, "sum", &wrong), TSR_OK);
  ck_assert_int_eq(tsr_exec_run(made.exec), TSR_ERR_ARGUMENT);
  ck_assert_str_eq(tsr_exec_last_error(made.exec),
                   "output 'sum' is bound to memory of input 'cache', which it does not update in "
                   "place");
  close_setup(&made);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("state_host");
  TCase *tests = tcase_create("tests");
  SRunner *runner;
  int failed;
  tcase_set_timeout(tests, 300);
  tcase_add_loop_test(tests, branches_in_place, 0, 2);
  tcase_add_loop_test(tests, branches_to_other_memory, 0, 2);
  tcase_add_loop_test(tests, loop_turns, 0, 2);
  tcase_add_test(tests, swapped);
  tcase_add_test(tests, foreign_memory);
  suite_add_tcase(suite, tests);
  runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
