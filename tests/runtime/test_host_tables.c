/* Tables of host programs: hostile ones, their rules, and runs on several threads, with little
 * memory, traced. */
#include "runtime/exec/exec.h"
#include "runtime/module/program_check.h"
#include "tests/runtime/host_machine.h"
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

/* ---- Tables ---- */

static void *little(void *context, size_t size, size_t alignment) {
  (void)context;
  return size > 1 << 22 ? NULL : tsr_allocator_default()->allocate(NULL, size, alignment);
}

static void give_back(void *context, void *pointer, size_t size) {
  (void)context;
  tsr_allocator_default()->release(NULL, pointer, size);
}

static void do_nothing(void *context, int64_t tasks, tsr_task_function function,
                       void *function_context) {
  (void)context;
  (void)tasks;
  (void)function;
  (void)function_context;
}

/* Some tensor for every input. */
static bool bind_any(tsr_module *module, tsr_exec *exec, void *memory) {
  tsr_port_info info;
  int64_t shape[TSR_MAX_RANK];
  DLTensor tensor;
  for (uint32_t i = 0; tsr_module_get_input(module, i, &info) == TSR_OK; i++) {
    tsr_status status;
    bool list = info.kind == TSR_PORT_LIST || info.kind == TSR_PORT_OPTIONAL_LIST;
    uint32_t rank = info.rank == TSR_ANY_RANK ? 1 : info.rank;
    for (uint32_t d = 0; d < rank; d++)
      shape[d] = info.rank != TSR_ANY_RANK && info.dims[d] >= 0 ? info.dims[d] : 2;
    if (rank > 4)
      return false;
    tensor = test_tensor(memory, info.dtype, shape, (int)rank);
    if (info.is_text != 0)
      tensor.dtype = (DLDataType){kDLOpaqueHandle, 64, 1};
    status = list ? tsr_exec_bind_input_list(exec, i, &tensor, 1)
                  : tsr_exec_bind_input(exec, i, &tensor);
    if (status != TSR_OK)
      return false;
  }
  return true;
}

static bool may_be_endless(const tsr_program *p) {
  for (uint32_t i = 0; i < p->host_step_count; i++)
    if (p->host_steps[i].op == TSR_HOST_LOOP && p->host_steps[i].code.count == 0)
      return true;
  return false;
}

/* Refused, or run without machine code to some status: sanitizers watch. */
static bool survives(const tsr_program *p) {
  static const tsr_executor executor = {NULL, 1, do_nothing};
  static const tsr_allocator allocator = {NULL, little, give_back};
  static const char *memory[512];
  tsr_module_options options = {.size = sizeof options, .allocator = &allocator};
  tsr_exec_options exec_options = {
      .size = sizeof exec_options, .allocator = &allocator, .executor = &executor};
  tsr_module *module;
  tsr_exec *exec;
  tsr_arena arena;
  void *data;
  size_t size;
  tsr_status status;
  tsr_arena_init(&arena, tsr_allocator_default());
  status = tsr_program_check(p, &arena, NULL);
  tsr_arena_reset(&arena);
  if (status != TSR_OK)
    return false;
  for (int i = 0; i < 512; i++)
    memory[i] = "";
  ck_assert_int_eq(tsr_module_write_memory(&p, 1, NULL, &data, &size, NULL), TSR_OK);
  ck_assert_int_eq(tsr_module_load_memory(data, size, &options, &module, NULL), TSR_OK);
  free(data);
  if (tsr_exec_create(module, &exec_options, &exec, NULL) == TSR_OK) {
    for (int run = 0; run < 2 && !may_be_endless(p) && bind_any(module, exec, memory); run++)
      (void)!tsr_exec_run(exec);
    tsr_exec_destroy(exec);
  }
  tsr_module_release(module);
  return true;
}

typedef void (*test_builder)(host_builder *b);

static void lists_with_items(host_builder *b) {
  build_lists(b, false);
}
static void nested_twice(host_builder *b) {
  build_nested(b, 2);
}
static void if_by_operand(host_builder *b) {
  build_if(b, 0);
}
static void if_by_dim(host_builder *b) {
  build_if(b, 1);
}

static const test_builder builders[] = {
    build_counted, nested_twice,  if_by_operand, if_by_dim,     lists_with_items,
    build_pieces,  build_growing, build_maybes,  build_strings, build_branches};

/* Every 32-bit word of a table, one after the other, becomes something else. */
static void mutate(const tsr_program *p, void *table, size_t bytes, const uint32_t *values,
                   uint32_t value_count, uint32_t *inout_tried, uint32_t *inout_taken) {
  uint32_t *words = (uint32_t *)table;
  for (size_t w = 0; w < bytes / 4; w++) {
    uint32_t before = words[w];
    for (uint32_t v = 0; v < value_count; v++) {
      words[w] = v == 0 ? before + 1 : v == 1 ? before - 1 : values[v];
      (*inout_tried)++;
      *inout_taken += survives(p);
    }
    words[w] = before;
  }
}

START_TEST(hostile_tables) {
  static const uint32_t values[] = {0, 0, 0, 1, 2, 3, 5, 16, 0x7fffffff, 0x80000000, 0xffffffff};
  static const uint32_t small[] = {0, 0, 0, 1, 2, 3};
  host_builder b;
  uint32_t tried = 0, taken = 0;
  tsr_program *p;
  const tsr_program *finished;
  tsr_host_step steps[HB_MOST];
  builders[_i](&b);
  finished = hb_finish(&b);
  p = &b.program;
  ck_assert_ptr_eq(p, finished);
  ck_assert(survives(p));
  mutate(p, b.values, p->host_value_count * sizeof *b.values, values, TEST_LENGTH(values), &tried,
         &taken);
  mutate(p, b.regions, p->host_region_count * sizeof *b.regions, values, TEST_LENGTH(values),
         &tried, &taken);
  mutate(p, b.arguments, p->argument_count * 4, values, TEST_LENGTH(values), &tried, &taken);
  mutate(p, b.host_constants, p->host_constant_count * sizeof *b.host_constants, values,
         TEST_LENGTH(values), &tried, &taken);
  mutate(p, b.buffers, p->buffer_count * sizeof *b.buffers, values, TEST_LENGTH(values), &tried,
         &taken);
  mutate(p, b.numbers, p->host_number_count * sizeof *b.numbers, values, TEST_LENGTH(values),
         &tried, &taken);
  mutate(p, b.codes, p->code_count * sizeof *b.codes, small, TEST_LENGTH(small), &tried, &taken);
  mutate(p, b.steps, p->step_count * sizeof *b.steps, small, TEST_LENGTH(small), &tried, &taken);
  memcpy(steps, b.host_steps, sizeof steps);
  for (uint32_t i = 0; i < p->host_step_count; i++) {
    mutate(p, &b.host_steps[i], offsetof(tsr_host_step, nodes), values, TEST_LENGTH(values), &tried,
           &taken);
    b.host_steps[i].nodes = NULL;
    ck_assert(!survives(p));
    b.host_steps[i] = steps[i];
  }
  ck_assert_uint_gt(taken, 0);
  ck_assert_uint_gt(tried - taken, tried / 4);
  hb_end(&b);
}
END_TEST

static tsr_status check_program(const tsr_program *p, tsr_diag *diag) {
  tsr_arena arena;
  tsr_status status;
  tsr_arena_init(&arena, tsr_allocator_default());
  tsr_diag_clear(diag);
  status = tsr_program_check(p, &arena, diag);
  tsr_arena_reset(&arena);
  return status;
}

static void must_refuse(host_builder *b, const char *text) {
  tsr_diag diag;
  ck_assert_int_eq(check_program(&b->program, &diag), TSR_ERR_FORMAT);
  ck_assert_msg(strstr(diag.message, text) != NULL, "'%s' has no '%s'", diag.message, text);
}

/* Each breaks one rule of tsr_host_check. */
START_TEST(rules_of_host_tables) {
  host_builder b;
  tsr_program other;
  static const tsr_dim_desc from_device[] = {{"N", TSR_DIM_FROM_DEVICE, 0, 1}};
  static const tsr_dim_desc unknown[] = {{"Unknown", TSR_DIM_FROM_CALLER, 0, 1}};
#define RULE(change, text)                                                                         \
  do {                                                                                             \
    tsr_diag diag;                                                                                 \
    build_counted(&b);                                                                             \
    ck_assert_int_eq(check_program(hb_finish(&b), &diag), TSR_OK);                                 \
    change;                                                                                        \
    must_refuse(&b, text);                                                                         \
    hb_end(&b);                                                                                    \
  } while (0)
  RULE(b.parts[0].target = "cpu:other", "another target");
  RULE(b.parts[0].dims = unknown, "not known");
  RULE(b.parts[0].dims = from_device, "no input and no read");
  RULE(b.dims[1].name = "N", "same name");
  RULE(b.dims[1].source = TSR_DIM_FROM_DEVICE, "only other programs have");
  RULE(b.values[0].kind = 4, "unknown kind");
  RULE(b.values[0].text = 1, "not i64");
  RULE(b.values[0].kind = TSR_HOST_LIST, "inconsistent");
  RULE(b.host_steps[0].op = TSR_HOST_OP_COUNT, "no operation");
  RULE(b.host_steps[0].first_region = 0, "carries not as many");
  RULE(b.host_steps[0].operand_count = 70000, "not as many operands");
  RULE(b.host_steps[1].part = 1, "does not exist");
  RULE(b.host_steps[1].code = b.host_steps[0].code, "expression");
  RULE(b.regions[1].yield_count = 1, "carries not as many");
  RULE(b.regions[0].param_count = 1, "used before it is known");
  RULE(b.program.segment_count = 1, "inconsistent");
  RULE(b.program.image_bytes = 1, "inconsistent");
  RULE(b.host_constants[0].constant = 1, "constant value does not exist");
  RULE(b.constants[0].bytes = 2, "bytes do not fit");
  RULE(b.program.part_count = 0, "does not exist");
  RULE(b.inputs[0].buffer = 2, "wrong input");
  RULE((other = b.program, other.part_count = 1, b.parts[0] = other, b.parts[0].parts = NULL),
       "tables of one");
#undef RULE
}
END_TEST

/* ---- Threads, memory ---- */

typedef struct worker {
  tsr_module *module;
  int32_t number;
} worker;

static void *work(void *context) {
  worker *self = (worker *)context;
  tsr_exec *exec = create(self->module);
  int32_t x[3] = {self->number, 0, 1}, l[20], v[3];
  for (int64_t turns = 1; turns < 20; turns++) {
    DLTensor tensor;
    bind(exec, 0, x, 3);
    bind(exec, 1, l, turns);
    must(exec, tsr_exec_run(exec));
    must(exec, tsr_exec_output(exec, 0, &tensor));
    memcpy(v, tensor.data, sizeof v);
    ck_assert_int_eq(v[0], self->number + turns);
  }
  tsr_exec_destroy(exec);
  return NULL;
}

START_TEST(threads_share_a_host_program) {
  host_builder b;
  pthread_t threads[4];
  worker workers[4];
  tsr_module *module;
  build_growing(&b);
  module = load(hb_finish(&b), NULL);
  hb_end(&b);
  for (int i = 0; i < 4; i++) {
    workers[i] = (worker){module, i * 100};
    ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
  }
  for (int i = 0; i < 4; i++)
    (void)pthread_join(threads[i], NULL);
  tsr_module_release(module);
}
END_TEST

/* Creates, binds and runs with the `fail_at`-th allocation and all later ones failing; then, when
 * there is an exec, once more with memory. */
static tsr_status run_with_heap(const tsr_program *p, int fail_at, int *out_live) {
  static const char *memory[512];
  test_heap heap;
  tsr_module *module = load(p, NULL);
  tsr_exec *exec = NULL;
  tsr_status status;
  tsr_exec_options options = {.size = sizeof options, .threads = 1};
  for (int i = 0; i < 512; i++)
    memory[i] = "";
  test_heap_init(&heap, fail_at);
  options.allocator = &heap.allocator;
  status = tsr_exec_create(module, &options, &exec, NULL);
  if (status == TSR_OK && !bind_any(module, exec, memory))
    status = tsr_exec_last_status(exec);
  if (status == TSR_OK)
    status = tsr_exec_run(exec);
  if (exec != NULL && fail_at != 0) {
    heap.fail_at = 0;
    ck_assert(bind_any(module, exec, memory));
    must(exec, tsr_exec_run(exec));
  }
  tsr_exec_destroy(exec);
  tsr_module_release(module);
  *out_live = atomic_load(&heap.live);
  return status;
}

/* Those that run with what bind_any binds. */
START_TEST(memory_may_end_anywhere) {
  static const test_builder some[] = {build_counted, build_growing, build_maybes, build_strings};
  host_builder b;
  int live, failures = 0;
  tsr_status status = TSR_ERR_OUT_OF_MEMORY;
  const tsr_program *p;
  some[_i](&b);
  p = hb_finish(&b);
  for (int k = 1; status != TSR_OK; k++) {
    status = run_with_heap(p, k, &live);
    ck_assert_int_eq(live, 0);
    ck_assert(status == TSR_OK || status == TSR_ERR_OUT_OF_MEMORY);
    failures++;
  }
  ck_assert_int_gt(failures, 10);
  hb_end(&b);
}
END_TEST

START_TEST(traces_show_the_parts) {
  host_builder b;
  machine m;
  char path[300], text[20000];
  const char *folder = getenv("TESSERA_TEST_TMP");
  int32_t x[3] = {1}, l[5];
  size_t length;
  int events = 0;
  FILE *file;
  build_growing(&b);
  m = start(&b);
  (void)snprintf(path, sizeof path, "%s/%ld-host.json", folder != NULL ? folder : "/tmp",
                 (long)getpid());
  must(m.exec, tsr_exec_set_trace(m.exec, path));
  bind(m.exec, 0, x, 3);
  bind(m.exec, 1, l, 5);
  for (int i = 0; i < 2; i++)
    must(m.exec, tsr_exec_run(m.exec));
  must(m.exec, tsr_exec_set_trace(m.exec, NULL));
  must(m.exec, tsr_exec_run(m.exec));
  file = fopen(path, "r");
  ck_assert_ptr_nonnull(file);
  length = fread(text, 1, sizeof text - 1, file);
  text[length] = '\0';
  (void)fclose(file);
  (void)remove(path);
  for (const char *at = text; (at = strstr(at, "\"name\":\"add_one\"")) != NULL; at++)
    events++;
  ck_assert_int_eq(events, 10);
  events = 0;
  for (const char *at = text; (at = strstr(at, "\"name\":\"list_insert\"")) != NULL; at++)
    events++;
  ck_assert_int_eq(events, 10);
  ck_assert_ptr_nonnull(strstr(text, "\n]\n"));
  stop(m);
}
END_TEST

START_TEST(modules_tell_of_all_parts) {
  host_builder b;
  machine m;
  tsr_module_info info;
  tsr_kernel_info kernel;
  tsr_target_info target;
  tsr_dim_info dim;
  build_nested(&b, 1);
  m = start(&b);
  tsr_module_get_info(m.module, &info);
  ck_assert_uint_eq(info.target_count, 1);
  ck_assert_uint_eq(info.kernel_count, 3);
  ck_assert_uint_eq(info.launch_count, 3);
  ck_assert_uint_eq(info.code_bytes, 3 * sizeof test_image);
  ck_assert_int_eq(tsr_module_get_kernel(m.module, 2, &kernel), TSR_OK);
  ck_assert_str_eq(kernel.name, "sum");
  ck_assert_int_eq(tsr_module_get_kernel(m.module, 3, &kernel), TSR_ERR_ARGUMENT);
  ck_assert_int_eq(tsr_module_get_target(m.module, 0, &target), TSR_OK);
  ck_assert_int_eq(target.selected, 1);
  ck_assert_int_eq(tsr_module_get_target(m.module, 1, &target), TSR_ERR_ARGUMENT);
  stop(m);
  build_if(&b, 0);
  m = start(&b);
  ck_assert_int_eq(tsr_module_get_dim(m.module, 1, &dim), TSR_OK);
  ck_assert_str_eq(dim.name, "M");
  ck_assert_int_eq(dim.from_results, 1);
  stop(m);
}
END_TEST
/* ---- Suite ---- */

static Suite *suite(void) {
  Suite *s = suite_create("host_tables");
  TCase *tc = tcase_create("host_tables");
  if (TEST_HAS_KERNELS) {
    tcase_add_loop_test(tc, hostile_tables, 0, (int)(sizeof builders / sizeof builders[0]));
    tcase_add_test(tc, rules_of_host_tables);
    tcase_add_test(tc, threads_share_a_host_program);
    tcase_add_loop_test(tc, memory_may_end_anywhere, 0, 4);
    tcase_add_test(tc, traces_show_the_parts);
    tcase_add_test(tc, modules_tell_of_all_parts);
  }
  suite_add_tcase(s, tc);
  return s;
}

int main(void) {
  SRunner *runner = srunner_create(suite());
  int failed;
  srunner_run_all(runner, CK_NORMAL);
  failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
