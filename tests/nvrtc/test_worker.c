/* The pool, with workers that are this program and a compiler that does as it is told; NVRTC is not
 * needed. */
#include "codegen/cuda/worker.h"
#include "runtime/clock.h"
#include "tests/nvrtc/failing.h"
#include "tests/nvrtc/temporary.h"
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#define MS INT64_C(1000000)

/* The worker's side. */

static int talk_nonsense(void) {
  char bytes[4096];
  memset(bytes, 'x', sizeof bytes);
  return write(STDIN_FILENO, bytes, sizeof bytes) > 0 ? pause() : 0;
}

static tsr_status obey(void *context, const char *nvrtc_path, const tsr_cuda_source *source,
                       tsr_arena *arena, tsr_cuda_output *out_output, tsr_diag *diag) {
  (void)context;
  (void)nvrtc_path;
  if (strcmp(source->text, "crash") == 0)
    abort();
  if (strcmp(source->text, "hang") == 0)
    for (;;)
      pause();
  if (strcmp(source->text, "babble") == 0)
    return talk_nonsense() < 0 ? TSR_OK : TSR_ERR_IO;
  if (strcmp(source->text, "end") == 0)
    _exit(3);
  if (strcmp(source->text, "fail") == 0)
    return tsr_fail(diag, TSR_ERR_UNSUPPORTED, "%s cannot be", source->name);
  if (strcmp(source->text, "print") == 0 && (puts("noise") < 0 || fflush(stdout) != 0))
    return TSR_ERR_IO;
  out_output->ptx = tsr_arena_printf(arena, "%s for %s%s", source->text, source->arch,
                                     source->option_count > 0 ? source->options[0] : "");
  out_output->ptx_size = out_output->ptx != NULL ? strlen(out_output->ptx) : 0;
  if ((source->want & TSR_CUDA_CUBIN) != 0) {
    out_output->cubin = (const uint8_t *)out_output->ptx;
    out_output->cubin_size = out_output->ptx_size;
  }
  out_output->log = tsr_arena_printf(arena, "%ld", (long)getpid());
  return out_output->ptx != NULL && out_output->log != NULL ? TSR_OK : TSR_ERR_OUT_OF_MEMORY;
}

static int be_worker(const char *kind) {
  if (strcmp(kind, "nonsense") == 0)
    return talk_nonsense();
  if (strcmp(kind, "silent") == 0)
    return pause();
  return tsr_worker_serve(tsr_allocator_default(), obey, NULL);
}

/* The pool's side. */

static const char *const worker_argv[] = {"/proc/self/exe", "--worker", "obedient", NULL};
static tsr_arena arena;
static tsr_compile_pool *pool;
static int files_before;

static int open_files(void) {
  return each_file("/proc/self/fd", 1, NULL);
}

static void make_pool(const char *const *argv, uint32_t workers, uint32_t timeout_ms,
                      tsr_compile_cache *cache) {
  tsr_compile_pool_options options = {argv, NULL, "test 1", cache, workers, timeout_ms};
  tsr_diag diag = {0};
  ck_assert_int_eq(tsr_compile_pool_create(tsr_allocator_default(), &options, &pool, &diag),
                   TSR_OK);
}

static void set_up(void) {
  files_before = open_files();
  tsr_arena_init(&arena, tsr_allocator_default());
}

/* No process and no file is left. */
static void tear_down(void) {
  tsr_compile_pool_destroy(pool);
  pool = NULL;
  tsr_arena_reset(&arena);
  ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
  ck_assert_int_eq(open_files(), files_before);
}

static tsr_cuda_source source_of(const char *text, const char *name) {
  return (tsr_cuda_source){text, name, "sm_80", NULL, 0, TSR_CUDA_PTX};
}

static void run(const tsr_cuda_source *sources, uint32_t count, tsr_compile_result *results) {
  tsr_diag diag = {0};
  tsr_status status = tsr_compile_pool_run(pool, sources, count, &arena, results, &diag);
  ck_assert_msg(status == TSR_OK, "%s", diag.message);
}

START_TEST(results_come_in_order) {
  enum { COUNT = 200 };
  static tsr_cuda_source sources[COUNT];
  static tsr_compile_result results[COUNT];
  static const char *const options[] = {"-x"};
  for (int i = 0; i < COUNT; i++) {
    sources[i] = source_of(tsr_arena_printf(&arena, "kernel %d", i), NULL);
    sources[i].options = options;
    sources[i].option_count = 1;
  }
  make_pool(worker_argv, 3, 0, NULL);
  for (int round = 0; round < 2; round++) {
    run(sources, COUNT, results);
    for (int i = 0; i < COUNT; i++) {
      ck_assert_int_eq(results[i].status, TSR_OK);
      ck_assert_str_eq(results[i].message, "");
      ck_assert_str_eq(results[i].output.ptx, tsr_arena_printf(&arena, "kernel %d for sm_80-x", i));
      ck_assert_int_ne(atoi(results[i].output.log), getpid());
    }
  }
}
END_TEST

START_TEST(nothing_is_something) {
  make_pool(worker_argv, 2, 0, NULL);
  run(NULL, 0, NULL);
}
END_TEST

/* Equal but for the name: compiled once, by one process. */
START_TEST(equal_kernels_are_compiled_once) {
  tsr_cuda_source sources[5];
  tsr_compile_result results[5];
  for (int i = 0; i < 5; i++)
    sources[i] = source_of(i == 3 ? "b" : "a", i % 2 == 0 ? "even" : "odd");
  sources[4].arch = "sm_90a";
  make_pool(worker_argv, 2, 0, NULL);
  run(sources, 5, results);
  static const bool duplicate[5] = {false, true, true, false, false};
  for (int i = 0; i < 5; i++)
    ck_assert_int_eq(results[i].duplicate, duplicate[i]);
  ck_assert_ptr_eq(results[2].output.ptx, results[0].output.ptx);
  ck_assert_str_eq(results[3].output.ptx, "b for sm_80");
  ck_assert_str_eq(results[4].output.ptx, "a for sm_90a");
}
END_TEST

START_TEST(a_crash_costs_one_kernel) {
  static const char *const texts[] = {"a", "crash", "b", "end", "c", "fail", "print", "babble"};
  tsr_cuda_source sources[8];
  tsr_compile_result results[8];
  for (int i = 0; i < 8; i++)
    sources[i] = source_of(texts[i], texts[i]);
  make_pool(worker_argv, 2, 0, NULL);
  run(sources, 8, results);
  for (int i = 0; i < 8; i++)
    if (i != 1 && i != 3 && i != 5 && i != 7)
      ck_assert_int_eq(results[i].status, TSR_OK);
  ck_assert_int_eq(results[1].status, TSR_ERR_INTERNAL);
  ck_assert_ptr_nonnull(
      strstr(results[1].message, "crash: the compiling process crashed: signal 6"));
  ck_assert_int_eq(results[3].status, TSR_ERR_INTERNAL);
  ck_assert_ptr_nonnull(strstr(results[3].message, "ended with status 3"));
  ck_assert_int_eq(results[5].status, TSR_ERR_UNSUPPORTED);
  ck_assert_str_eq(results[5].message, "fail cannot be");
  ck_assert_int_eq(results[7].status, TSR_ERR_INTERNAL);
}
END_TEST

START_TEST(a_broken_cubin_costs_one_kernel) {
  tsr_cuda_source sources[] = {source_of("a", "first"), source_of("a", NULL)};
  tsr_compile_result results[2];
  sources[0].want |= TSR_CUDA_CUBIN;
  make_pool(worker_argv, 1, 0, NULL);
  run(sources, 2, results);
  ck_assert_int_eq(results[0].status, TSR_ERR_FORMAT);
  ck_assert_ptr_nonnull(strstr(results[0].message, "first: not a usable CUBIN"));
  ck_assert_int_eq(results[1].status, TSR_OK);
}
END_TEST

START_TEST(a_hang_costs_one_kernel_and_its_time) {
  tsr_cuda_source sources[] = {source_of("hang", "h"), source_of("a", NULL), source_of("b", NULL)};
  tsr_compile_result results[3];
  make_pool(worker_argv, 1, 300, NULL);
  int64_t begin = tsr_time_ns();
  run(sources, 3, results);
  ck_assert_int_ge(tsr_time_ns() - begin, 300 * MS);
  ck_assert_int_eq(results[0].status, TSR_ERR_LIMIT);
  ck_assert_str_eq(results[0].message, "h: the compiler did not end within 300 ms and was stopped");
  ck_assert_int_eq(results[1].status, TSR_OK);
  ck_assert_int_eq(results[2].status, TSR_OK);
}
END_TEST

/* A worker that was killed between two runs is replaced, at no kernel's cost. */
START_TEST(an_idle_worker_may_die) {
  tsr_cuda_source source = source_of("a", NULL);
  tsr_compile_result first, second;
  make_pool(worker_argv, 1, 0, NULL);
  run(&source, 1, &first);
  ck_assert_int_eq(kill((pid_t)atoi(first.output.log), SIGKILL), 0);
  struct timespec nap = {0, 50 * MS};
  nanosleep(&nap, NULL);
  run(&source, 1, &second);
  ck_assert_int_eq(second.status, TSR_OK);
  ck_assert_str_ne(first.output.log, second.output.log);
}
END_TEST

/* More than any socket's buffer in both directions. */
START_TEST(large_texts_pass) {
  enum { SIZE = 3 << 20 };
  char *text = tsr_arena_alloc(&arena, SIZE + 1);
  ck_assert_ptr_nonnull(text);
  for (int i = 0; i < SIZE; i++)
    text[i] = (char)('a' + i % 23);
  tsr_cuda_source sources[] = {source_of(text, NULL), source_of(text + 1, NULL)};
  tsr_compile_result results[2];
  make_pool(worker_argv, 2, 0, NULL);
  run(sources, 2, results);
  for (int i = 0; i < 2; i++) {
    ck_assert_int_eq(results[i].status, TSR_OK);
    ck_assert_uint_eq(results[i].output.ptx_size, (size_t)(SIZE - i) + strlen(" for sm_80"));
    ck_assert_mem_eq(results[i].output.ptx, text + i, (size_t)(SIZE - i));
  }
}
END_TEST

static tsr_status run_with(const char *program, const char *kind, tsr_diag *diag) {
  const char *const argv[] = {program, "--worker", kind, NULL};
  tsr_cuda_source sources[] = {source_of("a", NULL), source_of("b", NULL), source_of("c", NULL)};
  tsr_compile_result results[3];
  *diag = (tsr_diag){0};
  make_pool(argv, 2, 500, NULL);
  tsr_status status = tsr_compile_pool_run(pool, sources, 3, &arena, results, diag);
  tsr_compile_pool_destroy(pool);
  pool = NULL;
  return status;
}

START_TEST(a_program_that_is_no_worker_is_said) {
  tsr_diag diag;
  ck_assert_int_eq(run_with("/nowhere/program", "", &diag), TSR_ERR_IO);
  ck_assert_ptr_nonnull(strstr(diag.message, "/nowhere/program"));
  ck_assert_int_eq(run_with("/bin/true", "", &diag), TSR_ERR_IO);
  ck_assert_ptr_nonnull(strstr(diag.message, "/bin/true"));
  ck_assert_int_eq(run_with("/proc/self/exe", "nonsense", &diag), TSR_ERR_IO);
  ck_assert_int_eq(run_with("/proc/self/exe", "silent", &diag), TSR_ERR_IO);
  ck_assert_ptr_nonnull(strstr(diag.message, "500 ms"));
}
END_TEST

/* The parent's threads hold the allocator's locks and block signals all the time. */
static atomic_bool stop;

static void *allocate_for_ever(void *context) {
  while (!atomic_load(&stop)) {
    void *volatile block = malloc(100000);
    free(block);
  }
  return context;
}

START_TEST(the_parent_may_have_threads) {
  pthread_t threads[2];
  sigset_t all, before;
  tsr_cuda_source sources[] = {source_of("a", NULL), source_of("crash", NULL), source_of("b", NULL),
                               source_of("hang", NULL)};
  tsr_compile_result results[4];
  sigfillset(&all);
  ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, &all, &before), 0);
  atomic_store(&stop, false);
  for (int i = 0; i < 2; i++)
    ck_assert_int_eq(pthread_create(&threads[i], NULL, allocate_for_ever, NULL), 0);
  make_pool(worker_argv, 2, 1000, NULL);
  for (int round = 0; round < 2; round++) {
    run(sources, 4, results);
    ck_assert_int_eq(results[0].status, TSR_OK);
    ck_assert_int_eq(results[1].status, TSR_ERR_INTERNAL);
    ck_assert_int_eq(results[2].status, TSR_OK);
    ck_assert_int_eq(results[3].status, TSR_ERR_LIMIT);
  }
  atomic_store(&stop, true);
  for (int i = 0; i < 2; i++)
    pthread_join(threads[i], NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}
END_TEST

/* A hanging worker whose parent is killed ends by its own alarm. */
START_TEST(a_worker_does_not_outlive_its_parent) {
  tsr_cuda_source sources[] = {source_of("a", NULL), source_of("hang", NULL)};
  tsr_compile_result results[2];
  int ends[2];
  ck_assert_int_eq(pipe(ends), 0);
  pid_t child = fork();
  ck_assert_int_ge(child, 0);
  if (child == 0) {
    close(ends[0]);
    make_pool(worker_argv, 1, 700, NULL);
    run(sources, 1, results);
    ssize_t written = write(ends[1], results[0].output.log, strlen(results[0].output.log) + 1);
    if (written > 0)
      run(sources, 2, results);
    pause();
  }
  close(ends[1]);
  char text[32] = "";
  ck_assert_int_gt(read(ends[0], text, sizeof text - 1), 0);
  struct timespec nap = {0, 200 * MS};
  nanosleep(&nap, NULL);
  ck_assert_int_eq(kill(child, SIGKILL), 0);
  ck_assert_int_eq(waitpid(child, NULL, 0), child);
  close(ends[0]);
  char state[64];
  snprintf(state, sizeof state, "/proc/%d/exe", atoi(text));
  char target[4096];
  for (int i = 0; i < 100 && readlink(state, target, sizeof target) > 0; i++)
    nanosleep(&nap, NULL);
  ck_assert_int_le(readlink(state, target, sizeof target), 0);
}
END_TEST

START_TEST(the_cache_saves_processes) {
  char folder[256];
  tsr_compile_cache *cache;
  tsr_cuda_source sources[] = {source_of("a", NULL), source_of("fail", NULL), source_of("b", NULL)};
  tsr_compile_result results[3];
  make_folder(folder, sizeof folder);
  ck_assert_int_eq(tsr_compile_cache_open(tsr_allocator_default(), folder, 0, &cache, NULL),
                   TSR_OK);
  make_pool(worker_argv, 1, 0, cache);
  for (int round = 0; round < 2; round++) {
    run(sources, 3, results);
    for (int i = 0; i < 3; i++) {
      ck_assert_int_eq(results[i].status, i == 1 ? TSR_ERR_UNSUPPORTED : TSR_OK);
      ck_assert_int_eq(results[i].from_cache, round == 1 && i != 1);
    }
    ck_assert_str_eq(results[2].output.ptx, "b for sm_80");
  }
  tsr_compile_pool_destroy(pool);
  make_pool(worker_argv, 1, 0, cache);
  run(sources, 1, results);
  ck_assert(results[0].from_cache);
  ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
  tsr_compile_cache_close(cache);
  remove_folder(folder);
}
END_TEST

START_TEST(a_pool_needs_a_compiler) {
  tsr_compile_pool_options options = {NULL, NULL, "x", NULL, 0, 0};
  tsr_compile_pool *none;
  tsr_diag diag = {0};
  ck_assert_int_eq(tsr_compile_pool_create(tsr_allocator_default(), &options, &none, &diag),
                   TSR_ERR_ARGUMENT);
  ck_assert_ptr_null(none);
}
END_TEST

static tsr_status use_scarce(failing_allocator *failing) {
  tsr_compile_pool_options options = {worker_argv, NULL, "test 1", NULL, 1, 0};
  tsr_cuda_source sources[] = {source_of("a", NULL), source_of("crash", NULL),
                               source_of("b", NULL)};
  tsr_compile_result results[3];
  tsr_arena scarce;
  tsr_arena_init(&scarce, &failing->allocator);
  tsr_status status = tsr_compile_pool_create(&failing->allocator, &options, &pool, NULL);
  if (status == TSR_OK)
    status = tsr_compile_pool_run(pool, sources, 3, &scarce, results, NULL);
  tsr_compile_pool_destroy(pool);
  pool = NULL;
  tsr_arena_reset(&scarce);
  return status;
}

START_TEST(memory_may_be_out) {
  tsr_status status = TSR_ERR_OUT_OF_MEMORY;
  int64_t calls = 0;
  for (; status != TSR_OK; calls++) {
    failing_allocator failing;
    failing_init(&failing, calls);
    status = use_scarce(&failing);
    ck_assert(status == TSR_OK || status == TSR_ERR_OUT_OF_MEMORY);
    ck_assert_int_eq(failing.live, 0);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
  }
  ck_assert_int_gt(calls, 3);
}
END_TEST

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "--worker") == 0)
    return be_worker(argv[2]);
  Suite *suite = suite_create("compile_pool");
  TCase *tests = tcase_create("pool");
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_add_test(tests, results_come_in_order);
  tcase_add_test(tests, nothing_is_something);
  tcase_add_test(tests, equal_kernels_are_compiled_once);
  tcase_add_test(tests, a_crash_costs_one_kernel);
  tcase_add_test(tests, a_broken_cubin_costs_one_kernel);
  tcase_add_test(tests, a_hang_costs_one_kernel_and_its_time);
  tcase_add_test(tests, an_idle_worker_may_die);
  tcase_add_test(tests, large_texts_pass);
  tcase_add_test(tests, a_program_that_is_no_worker_is_said);
  tcase_add_test(tests, the_parent_may_have_threads);
  tcase_add_test(tests, a_worker_does_not_outlive_its_parent);
  tcase_add_test(tests, the_cache_saves_processes);
  tcase_add_test(tests, a_pool_needs_a_compiler);
  tcase_add_test(tests, memory_may_be_out);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
