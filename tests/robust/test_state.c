/* Outputs that live in an input's memory: only what is new is written, everything else keeps its
 * bits; bound to other memory, the output gets the old contents first, and the results are the
 * same. On the CPU and on the emulated device. */
#include "tests/onnx/model_writer.h"
#include "tests/robust/state.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/compiler.h>
#include <tessera/runtime.h>
#include <unistd.h>

enum { WIDTH = 16, ROOM = 24, STEPS = 6, PROMPT = 3 };

static const char *const targets[] = {"cpu", "cuda-emulated:sm_80"};

/* A decoder without attention: rows of %x go to places from %at on; what is read back are sums over
 * the cache, old and new. `old` is read behind the writer in the text, from the memory that is
 * overwritten. */
static const char cache_text[] =
    "dim S in 0..64\n"
    "dim C in 0..4096\n"
    "graph @cache {\n"
    "  %x = input {name = \"x\"} : f32[S, 16]\n"
    "  %at = input {name = \"at\"} : i64[]\n"
    "  %c = input {name = \"cache\"} : f32[C, 16]\n"
    "  %r = input {name = \"running\"} : f32[16]\n"
    "  %two = const {value = 2} : f32[]\n"
    "  %x2 = mul %x, %two : f32[S, 16]\n"
    "  %i = iota {axis = 0} : i64[S, 16]\n"
    "  %place = add %i, %at : i64[S, 16]\n"
    "  %new = scatter_elements %c, %place, %x2 {axis = 0, combine = \"none\"} : f32[C, 16]\n"
    "  %row = iota {axis = 0} : i64[C, 16]\n"
    "  %s = index {value = S} : i64[]\n"
    "  %end = add %at, %s : i64[]\n"
    "  %used = lt %row, %end : bool[C, 16]\n"
    "  %before = lt %row, %at : bool[C, 16]\n"
    "  %zero = const {value = 0} : f32[]\n"
    "  %a = select %used, %new, %zero : f32[C, 16]\n"
    "  %sum = reduce %a {axes = [0], combine = \"add\"} : f32[16]\n"
    "  %b = select %before, %c, %zero : f32[C, 16]\n"
    "  %b2 = add %b, %a : f32[C, 16]\n"
    "  %old = reduce %b2 {axes = [0], combine = \"add\"} : f32[16]\n"
    "  %all = add %r, %sum : f32[16]\n"
    "  %turned = slice %r {start = [15], step = [-1]} : f32[16]\n"
    "  output %sum {name = \"sum\"}\n"
    "  output %old {name = \"old\"}\n"
    "  output %new {alias = \"cache\", name = \"cache2\"}\n"
    "  output %all {alias = \"running\", name = \"running2\"}\n"
    "  output %turned {name = \"turned\"}\n"
    "}\n";

/* The new contents need all of the old ones: written elsewhere first. */
static const char turn_text[] = "graph @turn {\n"
                                "  %x = input {name = \"x\"} : f32[16]\n"
                                "  %y = slice %x {start = [15], step = [-1]} : f32[16]\n"
                                "  output %y {alias = \"x\", name = \"y\"}\n"
                                "}\n";

/* What the cache must hold: rows that were written, twice the input's; the poison elsewhere. */
static float row_value(int64_t row, int column) {
  return (float)(row * 3 + column % 5);
}

static const uint32_t poison = 0x7fc0dead; /* a NaN that arithmetic would not keep */

static void check_cache(const float *cache, int64_t used) {
  for (int64_t r = 0; r < ROOM; r++)
    for (int c = 0; c < WIDTH; c++) {
      uint32_t bits;
      memcpy(&bits, &cache[r * WIDTH + c], sizeof bits);
      if (r < used)
        ck_assert_msg(cache[r * WIDTH + c] == 2 * row_value(r, c), "row %lld: %g", (long long)r,
                      (double)cache[r * WIDTH + c]);
      else
        ck_assert_msg(bits == poison, "row %lld was written: %08x", (long long)r, (unsigned)bits);
    }
}

static float column_sum(int64_t rows, int column) {
  float sum = 0;
  for (int64_t r = 0; r < rows; r++)
    sum += 2 * row_value(r, column);
  return sum;
}

typedef struct state {
  float x[PROMPT * WIDTH], cache[ROOM * WIDTH], running[WIDTH], expected[WIDTH];
  int64_t at, x_shape[2], cache_shape[2], running_shape[1];
} state;

static void begin_state(state *s) {
  memset(s, 0, sizeof *s);
  s->x_shape[0] = PROMPT;
  s->x_shape[1] = s->cache_shape[1] = s->running_shape[0] = WIDTH;
  s->cache_shape[0] = ROOM;
  for (int i = 0; i < ROOM * WIDTH; i++)
    memcpy(&s->cache[i], &poison, sizeof poison);
}

static void bind_step(state *s, tsr_exec *exec) {
  for (int64_t r = 0; r < s->x_shape[0]; r++)
    for (int c = 0; c < WIDTH; c++)
      s->x[r * WIDTH + c] = row_value(s->at + r, c);
  bind_in(exec, "x", tensor(s->x, TSR_F32, 2, s->x_shape));
  bind_in(exec, "at", tensor(&s->at, TSR_I64, 0, NULL));
}

/* After the run; `running` is what the caller's memory held before. */
static void check_step(state *s, tsr_exec *exec) {
  const float *sum = output(exec, "sum"), *old = output(exec, "old"),
              *turned = output(exec, "turned"), *running = output(exec, "running2");
  for (int c = 0; c < WIDTH; c++) {
    float want = column_sum(s->at + s->x_shape[0], c);
    ck_assert_msg(sum[c] == want, "sum %g, not %g", (double)sum[c], (double)want);
    want += column_sum(s->at, c);
    ck_assert_msg(old[c] == want, "old and new %g, not %g", (double)old[c], (double)want);
    ck_assert_msg(turned[c] == s->expected[WIDTH - 1 - c], "turned %g, not %g", (double)turned[c],
                  (double)s->expected[WIDTH - 1 - c]);
  }
  for (int c = 0; c < WIDTH; c++) {
    s->expected[c] += sum[c];
    ck_assert_msg(running[c] == s->expected[c], "running %g, not %g", (double)running[c],
                  (double)s->expected[c]);
  }
  s->at += s->x_shape[0];
  s->x_shape[0] = 1;
}

START_TEST(in_place_on_the_cpu) {
  setup made = open_text(cache_text, "cpu", kDLCPU);
  state s;
  tsr_port_info info;
  begin_state(&s);
  ck_assert_int_eq(tsr_module_get_output(made.module, 2, &info), TSR_OK);
  ck_assert_str_eq(info.alias, "cache");
  ck_assert_int_eq(tsr_module_get_output(made.module, 0, &info), TSR_OK);
  ck_assert_ptr_eq((void *)(uintptr_t)info.alias, NULL);
  bind_in(made.exec, "cache", tensor(s.cache, TSR_F32, 2, s.cache_shape));
  bind_out(made.exec, "cache2", tensor(s.cache, TSR_F32, 2, s.cache_shape));
  bind_in(made.exec, "running", tensor(s.running, TSR_F32, 1, s.running_shape));
  bind_out(made.exec, "running2", tensor(s.running, TSR_F32, 1, s.running_shape));
  for (int step = 0; step < STEPS; step++) {
    bind_step(&s, made.exec);
    run(made.exec);
    ck_assert_ptr_eq((const void *)output(made.exec, "cache2"), s.cache);
    ck_assert_uint_eq(kept_bytes(made.exec), 0);
    check_step(&s, made.exec);
    check_cache(s.cache, s.at);
  }
  close_setup(&made);
}
END_TEST

/* Every step reads one memory and writes another; the host's, for CUDA. */
START_TEST(to_other_memory) {
  setup made = open_text(cache_text, targets[_i], kDLCPU);
  state s;
  begin_state(&s);
  for (int step = 0; step < STEPS; step++) {
    bind_in(made.exec, "cache", tensor(s.cache, TSR_F32, 2, s.cache_shape));
    bind_in(made.exec, "running", tensor(s.running, TSR_F32, 1, s.running_shape));
    bind_step(&s, made.exec);
    run(made.exec);
    ck_assert_uint_eq(kept_bytes(made.exec), sizeof s.cache);
    int64_t used = s.at;
    check_cache(s.cache, used); /* the input is as it was */
    check_step(&s, made.exec);
    check_cache(output(made.exec, "cache2"), s.at);
    memcpy(s.cache, output(made.exec, "cache2"), sizeof s.cache);
    memcpy(s.running, output(made.exec, "running2"), sizeof s.running);
  }
  close_setup(&made);
}
END_TEST

/* The output of a step stays on the device and is the input of the next. */
START_TEST(in_place_on_the_device) {
  setup made = open_text(cache_text, "cuda-emulated:sm_80", kDLCUDA);
  state s;
  begin_state(&s);
  bind_in(made.exec, "cache", tensor(s.cache, TSR_F32, 2, s.cache_shape));
  bind_in(made.exec, "running", tensor(s.running, TSR_F32, 1, s.running_shape));
  for (int step = 0; step < STEPS; step++) {
    DLTensor cache, running;
    bind_step(&s, made.exec);
    run(made.exec);
    ck_assert_uint_eq(kept_bytes(made.exec), step == 0 ? sizeof s.cache : 0);
    ck_assert_int_eq(tsr_exec_output_name(made.exec, "cache2", &cache), TSR_OK);
    ck_assert_int_eq(tsr_exec_output_name(made.exec, "running2", &running), TSR_OK);
    ck_assert_int_eq((int)cache.device.device_type, kDLCUDA);
    s.at += s.x_shape[0];
    s.x_shape[0] = 1;
    bind_in(made.exec, "cache", cache);
    bind_in(made.exec, "running", running);
    bind_out(made.exec, "cache2", cache);
    bind_out(made.exec, "running2", running);
  }
  float seen[ROOM * WIDTH]; /* one more step, to host memory */
  bind_step(&s, made.exec);
  bind_out(made.exec, "cache2", tensor(seen, TSR_F32, 2, s.cache_shape));
  run(made.exec);
  check_cache(seen, s.at + 1);
  close_setup(&made);
}
END_TEST

START_TEST(all_of_the_old_is_needed) {
  setup made = open_text(turn_text, targets[_i], kDLCPU);
  float x[WIDTH];
  int64_t shape[1] = {WIDTH};
  for (int i = 0; i < WIDTH; i++)
    x[i] = (float)i;
  bind_in(made.exec, "x", tensor(x, TSR_F32, 1, shape));
  bind_out(made.exec, "y", tensor(x, TSR_F32, 1, shape));
  run(made.exec);
  for (int i = 0; i < WIDTH; i++)
    ck_assert_msg(x[i] == (float)(WIDTH - 1 - i), "element %d is %g", i, (double)x[i]);
  run(made.exec);
  for (int i = 0; i < WIDTH; i++)
    ck_assert_msg(x[i] == (float)i, "element %d is %g", i, (double)x[i]);
  close_setup(&made);
}
END_TEST

/* --- GroupQueryAttention --- */

enum { HEADS = 2, HEAD_WIDTH = 8, CAPACITY = 12, ONNX_INT32 = 6 };

static void write_grouped_model(const char *path) {
  wire g = {0}, domain = {0};
  wire node = onnx_node("GroupQueryAttention", "gqa", "q k v pk pv last total", "y pk2 pv2");
  wire_text(&node, 7, "com.microsoft");
  onnx_int(&node, "num_heads", 2 * HEADS);
  onnx_int(&node, "kv_num_heads", HEADS);
  onnx_add_node(&g, node);
  onnx_add_input(&g, onnx_value("q", ONNX_FLOAT, "B S 32"));
  onnx_add_input(&g, onnx_value("k", ONNX_FLOAT, "B S 16"));
  onnx_add_input(&g, onnx_value("v", ONNX_FLOAT, "B S 16"));
  onnx_add_input(&g, onnx_value("pk", ONNX_FLOAT, "B 2 C 8"));
  onnx_add_input(&g, onnx_value("pv", ONNX_FLOAT, "B 2 C 8"));
  onnx_add_input(&g, onnx_value("last", ONNX_INT32, "B"));
  onnx_add_input(&g, onnx_value("total", ONNX_INT32, ""));
  static const char *const outputs[] = {"y", "pk2", "pv2"};
  for (int i = 0; i < 3; i++) {
    wire info = {0};
    wire_text(&info, 1, outputs[i]);
    onnx_add_output(&g, info);
  }
  wire model = onnx_model(g, 20);
  wire_text(&domain, 1, "com.microsoft");
  wire_int(&domain, 2, 1);
  wire_message(&model, 8, domain);
  FILE *file = fopen(path, "wb");
  ck_assert_msg(file != NULL, "cannot write %s", path);
  ck_assert_uint_eq(fwrite(model.data, 1, model.size, file), model.size);
  fclose(file);
  free(model.data);
}

static setup open_grouped(bool in_place) {
  static const tsr_alias aliases[] = {{"pk2", "pk"}, {"pv2", "pv"}};
  tsr_compile_options options = {.aliases = aliases, .alias_count = in_place ? 2 : 0};
  const char *folder = getenv("TESSERA_TEST_TMP");
  char path[200];
  tsr_context *context;
  tsr_message message;
  setup made;
  void *bytes;
  size_t size;
  (void)snprintf(path, sizeof path, "%s/grouped-%ld.onnx", folder != NULL ? folder : "/tmp",
                 (long)getpid());
  write_grouped_model(path);
  ck_assert_int_eq(tsr_context_create(NULL, &context), TSR_OK);
  tsr_status status = tsr_compile_file_to_memory(context, path, &options, &bytes, &size);
  ck_assert_msg(status == TSR_OK, "%s", tsr_context_error(context));
  ck_assert_int_eq(tsr_module_load_memory(bytes, size, NULL, &made.module, &message), TSR_OK);
  tsr_bytes_release(context, bytes, size);
  tsr_context_destroy(context);
  ck_assert_int_eq(tsr_exec_create(made.module, NULL, &made.exec, &message), TSR_OK);
  (void)unlink(path);
  return made;
}

typedef struct grouped {
  float q[PROMPT * 32], k[PROMPT * 16], v[PROMPT * 16];
  float keys[HEADS * CAPACITY * HEAD_WIDTH], values[HEADS * CAPACITY * HEAD_WIDTH];
  int32_t last, total;
  int64_t q_shape[3], k_shape[3], cache_shape[4], last_shape[1];
} grouped;

static void begin_grouped(grouped *g, float behind) {
  memset(g, 0, sizeof *g);
  g->q_shape[0] = g->k_shape[0] = g->cache_shape[0] = g->last_shape[0] = 1;
  g->q_shape[2] = 32;
  g->k_shape[2] = 16;
  g->cache_shape[1] = HEADS;
  g->cache_shape[2] = CAPACITY;
  g->cache_shape[3] = HEAD_WIDTH;
  for (size_t i = 0; i < sizeof g->keys / sizeof *g->keys; i++)
    g->keys[i] = g->values[i] = behind;
}

static float fraction(int64_t i) {
  return (float)((i * 37 + 11) % 64 - 32) / 32;
}

static void bind_grouped(grouped *g, tsr_exec *exec, int32_t rows) {
  g->q_shape[1] = g->k_shape[1] = rows;
  g->total += rows;
  g->last = g->total - 1;
  for (int64_t i = 0; i < rows * 32; i++)
    g->q[i] = fraction(i + g->total);
  for (int64_t i = 0; i < rows * 16; i++) {
    g->k[i] = fraction(3 * i + g->total);
    g->v[i] = fraction(5 * i + 2 * g->total);
  }
  bind_in(exec, "q", tensor(g->q, TSR_F32, 3, g->q_shape));
  bind_in(exec, "k", tensor(g->k, TSR_F32, 3, g->k_shape));
  bind_in(exec, "v", tensor(g->v, TSR_F32, 3, g->k_shape));
  bind_in(exec, "pk", tensor(g->keys, TSR_F32, 4, g->cache_shape));
  bind_in(exec, "pv", tensor(g->values, TSR_F32, 4, g->cache_shape));
  bind_in(exec, "last", tensor(&g->last, TSR_I32, 1, g->last_shape));
  bind_in(exec, "total", tensor(&g->total, TSR_I32, 0, NULL));
}

/* Rows in use as the other cache has them, the rest as it was. */
static void compare_caches(const float *ours, const float *theirs, int32_t used, float behind) {
  for (int i = 0; i < HEADS * CAPACITY * HEAD_WIDTH; i++) {
    float want = i / HEAD_WIDTH % CAPACITY < used ? theirs[i] : behind;
    ck_assert_msg(ours[i] == want, "element %d of the cache is %g, not %g", i, (double)ours[i],
                  (double)want);
  }
}

START_TEST(grouped_attention) {
  setup ours = open_grouped(true), plain = open_grouped(false);
  const float behind = 1e30f; /* finite, as what no query sees is multiplied by 0 */
  grouped a, b;
  begin_grouped(&a, behind);
  begin_grouped(&b, 0);
  bind_out(ours.exec, "pk2", tensor(a.keys, TSR_F32, 4, a.cache_shape));
  bind_out(ours.exec, "pv2", tensor(a.values, TSR_F32, 4, a.cache_shape));
  for (int step = 0; step < STEPS; step++) {
    bind_grouped(&a, ours.exec, step == 0 ? PROMPT : 1);
    bind_grouped(&b, plain.exec, step == 0 ? PROMPT : 1);
    run(ours.exec);
    run(plain.exec);
    ck_assert_uint_eq(kept_bytes(ours.exec), 0);
    const float *y = output(ours.exec, "y"), *want = output(plain.exec, "y");
    for (int64_t i = 0; i < a.q_shape[1] * 32; i++)
      ck_assert_msg(fabsf(y[i] - want[i]) <= 1e-5f * (1 + fabsf(want[i])), "step %d: %g, not %g",
                    step, (double)y[i], (double)want[i]);
    compare_caches(a.keys, output(plain.exec, "pk2"), a.total, behind);
    compare_caches(a.values, output(plain.exec, "pv2"), a.total, behind);
    memcpy(b.keys, output(plain.exec, "pk2"), sizeof b.keys);
    memcpy(b.values, output(plain.exec, "pv2"), sizeof b.values);
  }
  a.total = CAPACITY; /* and one more */
  bind_grouped(&a, ours.exec, 1);
  ck_assert_int_eq(tsr_exec_run(ours.exec), TSR_ERR_SHAPE);
  ck_assert_msg(strstr(tsr_exec_last_error(ours.exec),
                       "gqa: total_sequence_length is larger than the cache") != NULL,
                "%s", tsr_exec_last_error(ours.exec));
  close_setup(&ours);
  close_setup(&plain);
}
END_TEST

START_TEST(foreign_memory) {
  setup made = open_text(cache_text, "cpu", kDLCPU);
  state s;
  begin_state(&s);
  bind_in(made.exec, "cache", tensor(s.cache, TSR_F32, 2, s.cache_shape));
  bind_in(made.exec, "running", tensor(s.running, TSR_F32, 1, s.running_shape));
  bind_step(&s, made.exec);
  bind_out(made.exec, "sum", tensor(s.cache, TSR_F32, 1, s.running_shape));
  ck_assert_int_eq(tsr_exec_run(made.exec), TSR_ERR_ARGUMENT);
  ck_assert_str_eq(tsr_exec_last_error(made.exec),
                   "output 'sum' is bound to memory of input 'cache', which it does not update in "
                   "place");
  bind_out(made.exec, "sum", tensor(s.expected, TSR_F32, 1, s.running_shape));
  bind_out(made.exec, "running2", tensor(s.cache + 3, TSR_F32, 1, s.running_shape));
  ck_assert_int_eq(tsr_exec_run(made.exec), TSR_ERR_ARGUMENT);
  bind_out(made.exec, "running2", tensor(s.running, TSR_F32, 1, s.running_shape));
  run(made.exec);
  close_setup(&made);
}
END_TEST

static void refused(const char *text, const tsr_alias *alias, tsr_status wanted,
                    const char *message) {
  tsr_compile_options options = {.aliases = alias, .alias_count = alias != NULL};
  tsr_context *context;
  void *bytes = NULL;
  size_t size;
  ck_assert_int_eq(tsr_context_create(NULL, &context), TSR_OK);
  tsr_status status =
      tsr_compile_text(context, text, strlen(text), "bad.tsr", &options, &bytes, &size);
  ck_assert_int_eq(status, wanted);
  ck_assert_msg(strstr(tsr_context_error(context), message) != NULL, "%s",
                tsr_context_error(context));
  tsr_context_destroy(context);
}

START_TEST(refusals) {
  refused(cache_text, &(tsr_alias){"none", "cache"}, TSR_ERR_NOT_FOUND,
          "the model has no output 'none'");
  refused(cache_text, &(tsr_alias){"sum", "none"}, TSR_ERR_NOT_FOUND,
          "output 'sum' cannot live in the memory of input 'none': there is no such input");
  refused(cache_text, &(tsr_alias){"sum", "x"}, TSR_ERR_SHAPE, "it is f32[16], the input is f32[S");
  refused(cache_text, &(tsr_alias){"sum", "running"}, TSR_ERR_ARGUMENT,
          "another output lives there");
  refused(cache_text, &(tsr_alias){"sum", NULL}, TSR_ERR_ARGUMENT, "alias");
}
END_TEST

int main(void) {
  Suite *suite = suite_create("state");
  TCase *tests = tcase_create("tests");
  SRunner *runner;
  int failed;
  tcase_set_timeout(tests, 300);
  tcase_add_test(tests, in_place_on_the_cpu);
  tcase_add_loop_test(tests, to_other_memory, 0, 2);
  tcase_add_test(tests, in_place_on_the_device);
  tcase_add_loop_test(tests, all_of_the_old_is_needed, 0, 2);
  tcase_add_test(tests, foreign_memory);
  tcase_add_test(tests, grouped_attention);
  tcase_add_test(tests, refusals);
  suite_add_tcase(suite, tests);
  runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
