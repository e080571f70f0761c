#include "runtime/pool.h"
#include "tests/runtime/programs.h"
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

typedef struct job {
  atomic_int *hits; /* one per task */
  atomic_int inside[TSR_POOL_MAX_THREADS];
  atomic_int wrong;
  uint32_t workers;
  int64_t tasks;
  const tsr_executor *nested;
} job;

static void count_hits(void *context, int64_t begin, int64_t end, uint32_t worker) {
  job *self = (job *)context;
  if (worker >= self->workers || begin < 0 || begin >= end || end > self->tasks ||
      atomic_fetch_add(&self->inside[worker], 1) != 0)
    atomic_fetch_add(&self->wrong, 1);
  for (int64_t i = begin; i < end; i++)
    atomic_fetch_add(&self->hits[i], 1);
  atomic_fetch_sub(&self->inside[worker], 1);
}

static void check_job(const tsr_executor *executor, int64_t tasks, int rounds) {
  job *self = (job *)calloc(1, sizeof *self);
  self->hits = (atomic_int *)calloc((size_t)tasks + 1, sizeof *self->hits);
  self->workers = executor->workers;
  self->tasks = tasks;
  for (int r = 0; r < rounds; r++)
    executor->parallel_for(executor->context, tasks, count_hits, self);
  for (int64_t i = 0; i < tasks; i++)
    ck_assert_int_eq(atomic_load(&self->hits[i]), rounds);
  ck_assert_int_eq(atomic_load(&self->wrong), 0);
  free(self->hits);
  free(self);
}

START_TEST(every_task_runs_once) {
  static const uint32_t threads[] = {1, 2, 3, 8};
  static const int64_t tasks[] = {0, 1, 2, 3, 7, 64, 1000, 100003};
  for (size_t t = 0; t < TEST_LENGTH(threads); t++) {
    tsr_pool *pool;
    tsr_executor executor;
    ck_assert_int_eq(tsr_pool_create(threads[t], NULL, &pool), TSR_OK);
    executor = tsr_pool_executor(pool);
    ck_assert_uint_eq(executor.workers, threads[t]);
    for (size_t i = 0; i < TEST_LENGTH(tasks); i++)
      check_job(&executor, tasks[i], 3);
    tsr_pool_destroy(pool);
  }
}
END_TEST

START_TEST(many_short_jobs) {
  tsr_pool *pool;
  tsr_executor executor;
  ck_assert_int_eq(tsr_pool_create(4, NULL, &pool), TSR_OK);
  executor = tsr_pool_executor(pool);
  check_job(&executor, 5, 20000);
  tsr_pool_destroy(pool);
}
END_TEST

/* Between the jobs the workers fall asleep. */
START_TEST(sleeping_workers_wake) {
  tsr_pool *pool;
  tsr_executor executor;
  ck_assert_int_eq(tsr_pool_create(3, NULL, &pool), TSR_OK);
  executor = tsr_pool_executor(pool);
  for (int i = 0; i < 50; i++) {
    usleep(2000);
    check_job(&executor, 100, 1);
  }
  tsr_pool_destroy(pool);
}
END_TEST

static void *caller_main(void *argument) {
  const tsr_executor *executor = (const tsr_executor *)argument;
  for (int i = 0; i < 300; i++)
    check_job(executor, 50, 1);
  return NULL;
}

START_TEST(callers_share_a_pool) {
  tsr_pool *pool;
  tsr_executor executor;
  pthread_t callers[4];
  ck_assert_int_eq(tsr_pool_create(3, NULL, &pool), TSR_OK);
  executor = tsr_pool_executor(pool);
  for (int i = 0; i < 4; i++)
    ck_assert_int_eq(pthread_create(&callers[i], NULL, caller_main, &executor), 0);
  for (int i = 0; i < 4; i++)
    pthread_join(callers[i], NULL);
  tsr_pool_destroy(pool);
}
END_TEST

static void nested_job(void *context, int64_t begin, int64_t end, uint32_t worker) {
  job *self = (job *)context;
  (void)worker;
  for (int64_t i = begin; i < end; i++)
    check_job(self->nested, 20, 1);
}

START_TEST(nested_calls_run_alone) {
  tsr_pool *pool;
  tsr_executor executor;
  job outer;
  memset(&outer, 0, sizeof outer);
  ck_assert_int_eq(tsr_pool_create(3, NULL, &pool), TSR_OK);
  executor = tsr_pool_executor(pool);
  outer.nested = &executor;
  executor.parallel_for(executor.context, 40, nested_job, &outer);
  tsr_pool_destroy(pool);
}
END_TEST

typedef struct slow_job {
  atomic_int started, finished;
} slow_job;

/* The caller's tasks wait (for a limited time) until another worker is in the middle of one. */
static void slow_task(void *context, int64_t begin, int64_t end, uint32_t worker) {
  slow_job *self = (slow_job *)context;
  (void)begin;
  (void)end;
  if (worker == 0) {
    for (int i = 0; i < 2000 && atomic_load(&self->started) == 0; i++)
      usleep(100);
    return;
  }
  (void)atomic_fetch_add(&self->started, 1);
  usleep(30000);
  (void)atomic_fetch_add(&self->finished, 1);
}

START_TEST(the_caller_waits_for_the_last_task) {
  tsr_pool *pool;
  tsr_executor executor;
  int started = 0;
  ck_assert_int_eq(tsr_pool_create(2, NULL, &pool), TSR_OK);
  executor = tsr_pool_executor(pool);
  for (int i = 0; i < 10; i++) {
    slow_job job_state;
    memset(&job_state, 0, sizeof job_state);
    executor.parallel_for(executor.context, 2, slow_task, &job_state);
    ck_assert_int_eq(atomic_load(&job_state.finished), atomic_load(&job_state.started));
    started += atomic_load(&job_state.started);
  }
  ck_assert_int_gt(started, 0);
  tsr_pool_destroy(pool);
}
END_TEST

typedef struct held_job {
  atomic_int done, held, tired;
  int64_t tasks;
} held_job;

/* Another worker than the caller holds the first tasks it gets until all others are done. */
static void held_tasks(void *context, int64_t begin, int64_t end, uint32_t worker) {
  held_job *self = (held_job *)context;
  if (worker == 0) {
    for (int i = 0; i < 1000 && atomic_load(&self->held) == 0; i++)
      usleep(100);
  } else {
    int turns = 0;
    atomic_store(&self->held, 1);
    while (atomic_load(&self->done) < self->tasks - (end - begin) && turns < 100000) {
      usleep(100);
      turns++;
    }
    atomic_store(&self->tired, turns == 100000);
  }
  (void)atomic_fetch_add(&self->done, (int)(end - begin));
}

START_TEST(what_a_slow_thread_has_left_is_done_by_others) {
  tsr_pool *pool;
  tsr_executor executor;
  int held = 0;
  ck_assert_int_eq(tsr_pool_create(2, NULL, &pool), TSR_OK);
  executor = tsr_pool_executor(pool);
  for (int i = 0; i < 10; i++) {
    held_job job_state;
    memset(&job_state, 0, sizeof job_state);
    job_state.tasks = 64;
    executor.parallel_for(executor.context, job_state.tasks, held_tasks, &job_state);
    ck_assert_int_eq(atomic_load(&job_state.done), job_state.tasks);
    ck_assert_int_eq(atomic_load(&job_state.tired), 0);
    held += atomic_load(&job_state.held);
  }
  ck_assert_int_gt(held, 0);
  tsr_pool_destroy(pool);
}
END_TEST

typedef struct placing_job {
  int processor; /* >= 0: the pool's thread binds itself to this one */
  cpu_set_t own; /* where else it may go, before that */
  atomic_int met;
} placing_job;

static void placing_task(void *context, int64_t begin, int64_t end, uint32_t worker) {
  placing_job *self = (placing_job *)context;
  (void)begin;
  (void)end;
  for (int i = 0; i < 20000 && worker == 0 && atomic_load(&self->met) == 0; i++)
    usleep(100);
  if (worker == 0)
    return;
  cpu_set_t one;
  CPU_ZERO(&one);
  if (self->processor >= 0)
    CPU_SET((size_t)self->processor, &one);
  ck_assert_int_eq(pthread_getaffinity_np(pthread_self(), sizeof self->own, &self->own), 0);
  if (self->processor >= 0)
    ck_assert_int_eq(pthread_setaffinity_np(pthread_self(), sizeof one, &one), 0);
  atomic_store(&self->met, 1);
}

/* A thread of the pool that stands on the caller's processor goes elsewhere, and stays off it; the
 * caller keeps the affinity it has. */
START_TEST(a_worker_leaves_the_callers_processor) {
  cpu_set_t all, here, after;
  tsr_pool *pool;
  ck_assert_int_eq(sched_getaffinity(0, sizeof all, &all), 0);
  if (CPU_COUNT(&all) < 2)
    return;
  ck_assert_int_eq(tsr_pool_create(2, NULL, &pool), TSR_OK);
  const tsr_executor executor = tsr_pool_executor(pool);
  const int processor = sched_getcpu();
  CPU_ZERO(&here);
  CPU_SET((size_t)processor, &here);
  ck_assert_int_eq(pthread_setaffinity_np(pthread_self(), sizeof here, &here), 0);
  placing_job bind = {.processor = processor}, look = {.processor = -1};
  executor.parallel_for(executor.context, 2, placing_task, &bind);
  executor.parallel_for(executor.context, 2, placing_task, &look);
  ck_assert_int_eq(atomic_load(&bind.met), 1);
  ck_assert_int_eq(atomic_load(&look.met), 1);
  ck_assert(!CPU_ISSET((size_t)processor, &look.own));
  ck_assert_int_eq(CPU_COUNT(&look.own), CPU_COUNT(&all) - 1);
  ck_assert_int_eq(pthread_getaffinity_np(pthread_self(), sizeof after, &after), 0);
  ck_assert(CPU_EQUAL(&after, &here));
  ck_assert_int_eq(pthread_setaffinity_np(pthread_self(), sizeof all, &all), 0);
  tsr_pool_destroy(pool);
}
END_TEST

START_TEST(creation_can_fail) {
  tsr_pool *pool = NULL;
  test_heap heap;
  ck_assert_int_eq(tsr_pool_create(TSR_POOL_MAX_THREADS + 1, NULL, &pool), TSR_ERR_ARGUMENT);
  ck_assert_int_eq(tsr_pool_create(1, NULL, NULL), TSR_ERR_ARGUMENT);
  for (int k = 1; k < 10; k++) {
    tsr_status status;
    test_heap_init(&heap, k);
    status = tsr_pool_create(2, &heap.allocator, &pool);
    if (status == TSR_OK) {
      ck_assert_int_gt(k, 1);
      tsr_pool_destroy(pool);
    } else {
      ck_assert_int_eq(status, TSR_ERR_OUT_OF_MEMORY);
      ck_assert_ptr_null(pool);
    }
    ck_assert_int_eq(heap.live, 0);
  }
  ck_assert_int_eq(tsr_pool_create(0, NULL, &pool), TSR_OK);
  ck_assert_uint_ge(tsr_pool_executor(pool).workers, 1);
  tsr_pool_destroy(pool);
  tsr_pool_destroy(NULL);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("pool");
  TCase *tests = tcase_create("all");
  SRunner *runner;
  int failed;
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, every_task_runs_once);
  tcase_add_test(tests, many_short_jobs);
  tcase_add_test(tests, sleeping_workers_wake);
  tcase_add_test(tests, callers_share_a_pool);
  tcase_add_test(tests, nested_calls_run_alone);
  tcase_add_test(tests, the_caller_waits_for_the_last_task);
  tcase_add_test(tests, what_a_slow_thread_has_left_is_done_by_others);
  tcase_add_test(tests, a_worker_leaves_the_callers_processor);
  tcase_add_test(tests, creation_can_fail);
  suite_add_tcase(suite, tests);
  runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
