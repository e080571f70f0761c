/* Measuring: what candidates do wrong costs them alone. */
#include "codegen/cpu/codegen.h"
#include "ir/copy.h"
#include "passes/tile/tile.h"
#include "runtime/clock.h"
#include "runtime/module/writer.h"
#include "tests/tuner/task_text.h"
#include "tuner/measure_child.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const char gemm[] =
    "dim M in 1..64 hint 20\n"
    "graph @g {\n"
    "  %x = input {name = \"x\"} : f32[M, 33]\n"
    "  %w = const {random = 1} : f32[33, 40]\n"
    "  %y = block par(%i in M, %j in 40) red(%k in 33) {\n"
    "    %0 = load %x[%i, %k] : f32\n    %1 = load %w[%k, %j] : f32\n    %2 = mul %0, %1 : f32\n"
    "    %3 = reduce %2 {combine = \"add\"} : f32\n    store %3, %y[%i, %j]\n"
    "  } : f32[M, 40] from \"MatMul_0\"\n"
    "  output %y {name = \"y\"}\n}\n";

/* What a candidate does instead; its schedule says which by its grain. */
typedef enum plant {
  GOOD,
  BUILD_LOOPS,
  BUILD_CRASHES,
  BUILD_ABORTS,
  BUILD_EATS,
  BUILD_EATS_AND_CRASHES,
  BUILD_FAILS,
  RUN_LOOPS,
  RUN_CRASHES,
  RUN_EATS,
  RUN_STORES_NOTHING,
  NO_MODULE,
  NO_BYTES,
  PLANTS
} plant;

/* Machine code of kernels. */
#if defined(__aarch64__)
static const uint32_t loops_code[] = {0x14000000};
static const uint32_t crashes_code[] = {0xd2800000, 0xf9000000, 0xd65f03c0};
static const uint32_t returns_code[] = {0xd65f03c0};
#else
static const unsigned char loops_code[] = {0xeb, 0xfe};
static const unsigned char crashes_code[] = {0x31, 0xc0, 0x48, 0x89, 0x00, 0xc3};
static const unsigned char returns_code[] = {0xc3};
#endif

/* The task's module with other code in it. */
static tsr_status build_with(const tsr_task *task, const tsr_target *target, const void *code,
                             size_t size, uint64_t scratch, const tsr_allocator *allocator,
                             tsr_diag *diag, void **out_bytes, size_t *out_size) {
  static unsigned char image[4096];
  tsr_arena arena;
  tsr_ir *ir;
  tsr_cpu_isa isa;
  tsr_cpu_code made;
  tsr_program program;
  char name[TSR_CPU_ISA_TEXT];
  memcpy(image, code, size);
  tsr_arena_init(&arena, allocator);
  tsr_cpu_isa_from_features(target->cpu_features, &isa);
  tsr_cpu_isa_text(&isa, name);
  TSR_TRY(tsr_ir_copy_in_order(task->ir, allocator, &ir));
  TSR_TRY(tsr_pass_tile(ir, target, NULL, diag));
  TSR_TRY(tsr_pass_pack(ir, diag));
  TSR_TRY(tsr_codegen_cpu(ir, &isa, NULL, &arena, diag, &made));
  tsr_kernel_code *kernels = tsr_arena_alloc_array(&arena, made.kernel_count, sizeof *kernels);
  for (uint32_t i = 0; i < made.kernel_count; i++) {
    kernels[i] = made.kernels[i];
    kernels[i].entry = 0;
    kernels[i].scratch_bytes = scratch;
  }
  const tsr_program_parts parts = {.target = name,
                                   .cpu_features = target->cpu_features,
                                   .precision = "f32",
                                   .producer = "test",
                                   .image = image,
                                   .image_bytes = sizeof image,
                                   .kernels = kernels,
                                   .kernel_count = made.kernel_count};
  tsr_op graph = tsr_region_get(ir, tsr_ir_top(ir))->first;
  while (tsr_op_get(ir, graph)->code != TSR_OP_GRAPH)
    graph = tsr_op_get(ir, graph)->next;
  TSR_TRY(tsr_program_build(ir, graph, &parts, &arena, diag, &program));
  const tsr_program *programs = &program;
  return tsr_module_write_memory(&programs, 1, allocator, out_bytes, out_size, diag);
}

/* Until there is none. */
static void eat(void) {
  enum { PIECE = 1 << 20 };
  for (;;) {
    char *piece = mmap(NULL, PIECE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (piece == MAP_FAILED)
      return;
  }
}

/* A sanitizer's allocator may end the process instead of saying that there is no memory. */
static bool is_expected(tsr_db_status status, tsr_db_status expected) {
  return status == expected ||
         (TEST_SHARE > 1 && expected == TSR_DB_MEMORY && status == TSR_DB_CRASHED);
}

static tsr_status build(void *context, const tsr_task *task, const tsr_target *target,
                        const tsr_schedule *schedule, const tsr_allocator *allocator,
                        tsr_diag *diag, void **out_bytes, size_t *out_size) {
  (void)context;
  const int64_t grain = schedule->knobs[TSR_KNOB_GRAIN];
  switch ((plant)(grain < PLANTS ? grain : GOOD)) {
  case BUILD_LOOPS:
    for (volatile int turns = 0;; turns = !turns)
      ;
  case BUILD_CRASHES:
    raise(SIGSEGV);
    return TSR_OK;
  case BUILD_ABORTS:
    abort();
  case BUILD_EATS:
    eat();
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  case BUILD_EATS_AND_CRASHES:
    eat();
    abort();
  case BUILD_FAILS:
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "schedule @k0: 'mr' is not to my taste");
  case RUN_LOOPS:
    return build_with(task, target, loops_code, sizeof loops_code, 0, allocator, diag, out_bytes,
                      out_size);
  case RUN_CRASHES:
    return build_with(task, target, crashes_code, sizeof crashes_code, 0, allocator, diag,
                      out_bytes, out_size);
  case RUN_EATS:
    return build_with(task, target, returns_code, sizeof returns_code, UINT64_C(1) << 30, allocator,
                      diag, out_bytes, out_size);
  case RUN_STORES_NOTHING:
    return build_with(task, target, returns_code, sizeof returns_code, 0, allocator, diag,
                      out_bytes, out_size);
  case NO_MODULE:
    *out_bytes = strdup("this is no module");
    *out_size = 17;
    return TSR_OK;
  case NO_BYTES:
    return TSR_OK;
  default:
    return tsr_task_build(task, target, schedule, allocator, diag, out_bytes, out_size);
  }
}

static char lock_path[64];

static void make_lock_path(void) {
  snprintf(lock_path, sizeof lock_path, "/tmp/tessera-test-lock.%ld", (long)getpid());
}

static tsr_measure_options options_of(double seconds) {
  return (tsr_measure_options){.threads = 1,
                               .jobs = 2,
                               .build_seconds = 8 * seconds,
                               .run_seconds = seconds,
                               .memory_bytes = UINT64_C(256) << 20,
                               .lock_path = lock_path,
                               .build = build};
}

static tsr_trial good_trial(int64_t mr) {
  tsr_trial trial = {.schedule = schedule_from(
                         "{grain = 20000, kc = 0, mc = 24, mr = 4, nc = 48, nr = 16, outer = 1, "
                         "pack_a = 0, pack_b = 0, strategy = \"contract\", unroll = 1}")};
  trial.schedule.knobs[TSR_KNOB_MR] = mr;
  return trial;
}

static tsr_trial planted(plant what) {
  tsr_trial trial = good_trial(4);
  trial.schedule.knobs[TSR_KNOB_GRAIN] = what;
  return trial;
}

static int count_files(void) {
  int count = 0;
  DIR *dir = opendir("/proc/self/fd");
  while (readdir(dir) != NULL)
    count++;
  closedir(dir);
  return count;
}

static void assert_nothing_left(int files) {
  ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
  ck_assert_int_eq(errno, ECHILD);
  ck_assert_int_eq(count_files(), files);
  const int fd = open(lock_path, O_RDONLY);
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
  close(fd);
  unlink(lock_path);
}

static void assert_measured(const tsr_trial *trial) {
  ck_assert_msg(trial->status == TSR_DB_RIGHT, "%s: %s", tsr_db_status_text(trial->status),
                trial->message);
  ck_assert_str_eq(trial->message, "");
  ck_assert_uint_gt(trial->sample_count, 0);
  ck_assert(trial->error >= 0 && trial->error < 1);
  ck_assert(trial->median_ns > 0);
  for (uint32_t i = 0; i < trial->sample_count; i++)
    ck_assert_int_gt(trial->samples_ns[i], 0);
}

/* Every kind of bad candidate between good ones. */
START_TEST(planted_candidates_cost_themselves_alone) {
  static const struct expectation {
    plant what;
    tsr_db_status status;
    const char *message; /* a part of it */
  } expected[] = {
      {GOOD, TSR_DB_RIGHT, ""},
      {BUILD_LOOPS, TSR_DB_TIMEOUT, "building it took longer than 4 s"},
      {BUILD_CRASHES, TSR_DB_CRASHED, "building it died of signal 11"},
      {BUILD_ABORTS, TSR_DB_CRASHED, "building it died of signal 6"},
      {BUILD_EATS, TSR_DB_MEMORY, "out of memory"},
      {BUILD_EATS_AND_CRASHES, TSR_DB_MEMORY, "memory bound of 256 MiB"},
      {BUILD_FAILS, TSR_DB_REFUSED, "'mr' is not to my taste"},
      {GOOD, TSR_DB_RIGHT, ""},
      {RUN_LOOPS, TSR_DB_TIMEOUT, "running it took longer than 0.5 s"},
      {RUN_CRASHES, TSR_DB_CRASHED, "running it died of signal 11"},
      {RUN_EATS, TSR_DB_MEMORY, ""},
      {RUN_STORES_NOTHING, TSR_DB_WRONG, "element 0 of result 0 is "},
      {NO_MODULE, TSR_DB_REFUSED, ""},
      {NO_BYTES, TSR_DB_REFUSED, "no bytes"},
      {GOOD, TSR_DB_RIGHT, ""},
  };
  enum { COUNT = sizeof expected / sizeof *expected };
  tasks t;
  tsr_trial trials[COUNT], incumbent = good_trial(6);
  tsr_diag diag = {0};
  make_lock_path();
  tasks_begin(&t, gemm);
  const int files = count_files();
  for (int i = 0; i < COUNT; i++)
    trials[i] = expected[i].what == GOOD ? good_trial(2 + 2 * (i % 2)) : planted(expected[i].what);
  const tsr_measure_options options = options_of(0.5);
  ck_assert_msg(tsr_measure(&t.list.tasks[0], &t.target, &options, trials, COUNT, &incumbent,
                            &t.arena, NULL, NULL, &diag) == TSR_OK,
                "%s", diag.message);
  for (int i = 0; i < COUNT; i++) {
    ck_assert_msg(is_expected(trials[i].status, expected[i].status) &&
                      strstr(trials[i].message, expected[i].message) != NULL,
                  "candidate %d is %s: '%s'", i, tsr_db_status_text(trials[i].status),
                  trials[i].message);
    if (expected[i].status == TSR_DB_RIGHT)
      assert_measured(&trials[i]);
    else
      ck_assert_uint_eq(trials[i].sample_count, 0);
  }
  ck_assert(trials[11].error > 1);
  assert_measured(&incumbent);
  /* What is kept of the task for the next time: one file. */
  assert_nothing_left(files + 1);
  tasks_end(&t);
}
END_TEST

START_TEST(an_incumbent_that_does_not_run_is_a_row_too) {
  static const plant plants[] = {BUILD_FAILS, RUN_CRASHES};
  make_lock_path();
  for (int i = 0; i < 2; i++) {
    tasks t;
    tsr_trial trial = good_trial(4), incumbent = planted(plants[i]);
    tsr_diag diag = {0};
    tasks_begin(&t, gemm);
    const tsr_measure_options options = options_of(0.5);
    ck_assert_int_eq(tsr_measure(&t.list.tasks[0], &t.target, &options, &trial, 1, &incumbent,
                                 &t.arena, NULL, NULL, &diag),
                     TSR_OK);
    assert_measured(&trial);
    ck_assert_int_eq(incumbent.status, i == 0 ? TSR_DB_REFUSED : TSR_DB_CRASHED);
    ck_assert_uint_eq(incumbent.sample_count, 0);
    tasks_end(&t);
  }
  unlink(lock_path);
}
END_TEST

/* f32 by bf16 parts is measured and checked as all else is. */
START_TEST(parts_are_measured) {
  static const char text[] =
      "graph @g {\n  %x = input {name = \"x\"} : f32[20, 96]\n"
      "  %w = const {random = 1} : f32[96, 40]\n"
      "  %y = block par(%i in 20, %j in 40) red(%k in 96) {\n"
      "    %0 = load %x[%i, %k] : f32\n    %1 = load %w[%k, %j] : f32\n"
      "    %2 = mul %0, %1 : f32\n    %3 = reduce %2 {combine = \"add\"} : f32\n"
      "    store %3, %y[%i, %j]\n  } : f32[20, 40]\n  output %y {name = \"y\"}\n}\n";
  tasks t;
  tsr_trial trial = good_trial(4), strict, incumbent = good_trial(6);
  tsr_diag diag = {0};
  trial.schedule.atom = tsr_atom_find("dot.bf16x3");
  trial.schedule.knobs[TSR_KNOB_PACK_A] = 1;
  trial.schedule.knobs[TSR_KNOB_NR] = 16;
  strict = trial;
  make_lock_path();
  tasks_begin(&t, text);
  const tsr_measure_options options = options_of(0.5);
  ck_assert_int_eq(tsr_measure(&t.list.tasks[0], &t.target, &options, &strict, 1, &incumbent,
                               &t.arena, NULL, NULL, &diag),
                   TSR_OK);
  ck_assert_int_eq(strict.status, TSR_DB_REFUSED);
  t.target.bf16_parts = true;
  ck_assert_int_eq(tsr_measure(&t.list.tasks[0], &t.target, &options, &trial, 1, &incumbent,
                               &t.arena, NULL, NULL, &diag),
                   TSR_OK);
  if ((t.target.cpu_features & TSR_CPU_AVX512_BF16) != 0)
    assert_measured(&trial);
  else
    ck_assert_int_eq(trial.status, TSR_DB_REFUSED);
  unlink(lock_path);
  tasks_end(&t);
}
END_TEST

START_TEST(cold_operands_take_longer) {
  tasks t;
  tsr_diag diag = {0};
  const double clear = 1.3;
  double warm_ns = INFINITY, cold_ns = INFINITY;
  make_lock_path();
  tasks_begin(&t, gemm);
  /* 11 kB from memory against 53 thousand products: three times as long on Zen 5, unless others
   * made the warm ones slow: the least of each counts. */
  for (int i = 0; i < 10 && (i == 0 || cold_ns < clear * warm_ns); i++) {
    tsr_trial warm = good_trial(4), cold = warm;
    tsr_measure_options options = options_of(0.5);
    ck_assert_int_eq(tsr_measure(&t.list.tasks[0], &t.target, &options, &warm, 1, NULL, &t.arena,
                                 NULL, NULL, &diag),
                     TSR_OK);
    options.cold = true;
    ck_assert_int_eq(tsr_measure(&t.list.tasks[0], &t.target, &options, &cold, 1, NULL, &t.arena,
                                 NULL, NULL, &diag),
                     TSR_OK);
    assert_measured(&warm);
    assert_measured(&cold);
    warm_ns = fmin(warm_ns, warm.median_ns);
    cold_ns = fmin(cold_ns, cold.median_ns);
  }
  ck_assert_msg(cold_ns >= clear * warm_ns, "%g by %g", cold_ns, warm_ns);
  unlink(lock_path);
  tasks_end(&t);
}
END_TEST

/* --- stopping --- */

static bool stop_after(void *context) {
  int64_t *until_ns = context;
  return tsr_time_ns() > *until_ns;
}

START_TEST(stopping_leaves_the_rest_untouched) {
  tasks t;
  tsr_trial trials[] = {good_trial(4), planted(RUN_LOOPS), good_trial(2)};
  tsr_diag diag = {0};
  make_lock_path();
  tasks_begin(&t, gemm);
  const int files = count_files();
  tsr_measure_options options = options_of(30);
  const int64_t begin_ns = tsr_time_ns();
  int64_t until_ns = begin_ns + 3000000000;
  ck_assert_int_eq(tsr_measure(&t.list.tasks[0], &t.target, &options, trials, 3, NULL, &t.arena,
                               stop_after, &until_ns, &diag),
                   TSR_OK);
  ck_assert(tsr_time_ns() - begin_ns < INT64_C(10000000000));
  assert_measured(&trials[0]);
  ck_assert_int_eq(trials[1].status, TSR_DB_PREDICTED);
  ck_assert_int_eq(trials[2].status, TSR_DB_PREDICTED);
  assert_nothing_left(files + 1);
  tasks_end(&t);
}
END_TEST

/* Who measures while somebody builds, waits, and can be stopped. */
START_TEST(measuring_waits_for_the_lock) {
  tasks t;
  tsr_trial trial = good_trial(4);
  tsr_diag diag = {0};
  make_lock_path();
  tasks_begin(&t, gemm);
  const int fd = open(lock_path, O_RDONLY | O_CREAT, 0600);
  ck_assert_int_eq(flock(fd, LOCK_SH), 0);
  tsr_measure_options options = options_of(1);
  int64_t until_ns = tsr_time_ns() + 1000000000;
  ck_assert_int_eq(tsr_measure(&t.list.tasks[0], &t.target, &options, &trial, 1, NULL, &t.arena,
                               stop_after, &until_ns, &diag),
                   TSR_OK);
  ck_assert_int_eq(trial.status, TSR_DB_PREDICTED);
  close(fd);
  ck_assert_int_eq(tsr_measure(&t.list.tasks[0], &t.target, &options, &trial, 1, NULL, &t.arena,
                               NULL, NULL, &diag),
                   TSR_OK);
  assert_measured(&trial);
  unlink(lock_path);
  tasks_end(&t);
}
END_TEST

/* --- a parent that is killed --- */

static void measure_for_long(void) {
  tasks t;
  tsr_trial trial = planted(RUN_LOOPS);
  tsr_diag diag = {0};
  tasks_begin(&t, gemm);
  const tsr_measure_options options = options_of(30);
  (void)!tsr_measure(&t.list.tasks[0], &t.target, &options, &trial, 1, NULL, &t.arena, NULL, NULL,
                     &diag);
  _exit(0);
}

START_TEST(a_killed_parent_leaves_no_child_and_no_lock) {
  make_lock_path();
  /* What it leaves behind becomes a child of this process. */
  ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  const pid_t parent = fork();
  ck_assert_int_ge(parent, 0);
  if (parent == 0)
    measure_for_long();
  const int64_t until_ns = tsr_time_ns() + INT64_C(20000000000);
  bool held = false;
  while (!held && tsr_time_ns() < until_ns) {
    const int fd = open(lock_path, O_RDONLY);
    held = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0;
    if (fd >= 0)
      close(fd);
    usleep(1000);
  }
  ck_assert_msg(held, "it never measured");
  kill(parent, SIGKILL);
  int status, ends = 0;
  while (waitpid(-1, &status, 0) > 0) {
    /* Or it had just begun, and saw that it has no parent. */
    ck_assert((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) ||
              (WIFEXITED(status) && WEXITSTATUS(status) == 1));
    ends++;
  }
  ck_assert_int_ge(ends, 1);
  const int fd = open(lock_path, O_RDONLY);
  ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
  close(fd);
  unlink(lock_path);
}
END_TEST

/* --- figures --- */

/* The median lies between the two ranks with at least 95 percent, for every count. */
START_TEST(intervals_hold_the_median) {
  for (uint32_t n = 6; n <= TSR_BENCH_SAMPLES; n++) {
    uint32_t low, high;
    double inside = 0, term = pow(0.5, n);
    tsr_bench_interval(n, &low, &high);
    ck_assert(low <= high && high == n - 1 - low);
    for (uint32_t below = 0; below <= n; below++) {
      if (below > low && below <= high)
        inside += term;
      term *= (double)(n - below) / (below + 1);
    }
    ck_assert_msg(inside >= 0.95, "%u samples: %g", n, inside);
    ck_assert_msg(n < 20 || inside < 0.995, "%u samples: %g", n, inside);
  }
}
END_TEST

START_TEST(targets_of_other_machines_are_refused) {
  tasks t;
  tsr_trial trial = good_trial(4);
  tsr_diag diag = {0};
  make_lock_path();
  tasks_begin(&t, gemm);
  tsr_target other;
#if defined(__aarch64__)
  tsr_target_cpu(TSR_CPU_X86_64_V2, NULL, 1, &other);
#else
  tsr_target_cpu(TSR_CPU_AARCH64, NULL, 1, &other);
#endif
  const tsr_measure_options options = options_of(1);
  ck_assert_int_eq(
      tsr_measure(&t.list.tasks[0], &other, &options, &trial, 1, NULL, &t.arena, NULL, NULL, &diag),
      TSR_ERR_DEVICE);
  ck_assert_ptr_nonnull(strstr(diag.message, other.name));
  ck_assert_int_eq(trial.status, TSR_DB_PREDICTED);
  tasks_end(&t);
}
END_TEST

/* Without a device code is made and looked at, never more. */
START_TEST(cuda_is_predicted_or_refused) {
  tasks t;
  tsr_target cuda;
  tsr_trial trials[2] = {
      {.schedule = schedule_from("{vector = 1, fold = -1, lanes = 32, side = -1, "
                                 "rows = 1, warps = 1, grain = 1, split = 1, "
                                 "unroll = 1, strategy = \"nest\"}")}};
  trials[1] = trials[0];
  trials[1].schedule.knobs[TSR_KNOB_WARPS] = 3;
  tsr_diag diag = {0};
  make_lock_path();
  ck_assert(tsr_target_cuda("cuda:sm_80", &cuda));
  tasks_begin(&t, gemm);
  tsr_measure_options options = options_of(5);
  options.build = NULL;
  options.memory_bytes = 0;
  ck_assert_msg(tsr_measure(&t.list.tasks[0], &cuda, &options, trials, 2, NULL, &t.arena, NULL,
                            NULL, &diag) == TSR_OK,
                "%s", diag.message);
  ck_assert_msg(trials[0].status == TSR_DB_PREDICTED, "%s", trials[0].message);
  ck_assert_msg(trials[1].status == TSR_DB_REFUSED &&
                    strstr(trials[1].message, "'warps' must be a power of two") != NULL,
                "%s", trials[1].message);
  unlink(lock_path);
  tasks_end(&t);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("measure");
  TCase *tcase = tcase_create("measure");
  tcase_set_timeout(tcase, 120);
  tcase_add_test(tcase, planted_candidates_cost_themselves_alone);
  tcase_add_test(tcase, an_incumbent_that_does_not_run_is_a_row_too);
  tcase_add_test(tcase, parts_are_measured);
  tcase_add_test(tcase, cold_operands_take_longer);
  tcase_add_test(tcase, stopping_leaves_the_rest_untouched);
  tcase_add_test(tcase, measuring_waits_for_the_lock);
  tcase_add_test(tcase, a_killed_parent_leaves_no_child_and_no_lock);
  tcase_add_test(tcase, intervals_hold_the_median);
  tcase_add_test(tcase, targets_of_other_machines_are_refused);
  tcase_add_test(tcase, cuda_is_predicted_or_refused);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  const int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
