#include "runtime/pool.h"
#include "runtime/clock.h"
#include "runtime/cpu_features.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Spinning covers the gap between two launches of one run: a thread that looks is there within a
 * quarter of a microsecond, one that sleeps within ten, half of which the caller spends waking it.
 * After that time the thread sleeps. */
enum { SPIN_NS = 100000, LOOKS = 100, CHUNKS_PER_THREAD = 8 };

#define STATE_OPEN       ((uint64_t)1 << 31)
#define STATE_ACTIVE     (STATE_OPEN - 1)
#define STATE_GENERATION 32

/* A thread's share of a job: chunks in a row, the same ones in every job of as many tasks, so that
 * what it wrote is still in its caches when it comes to read it. Others take from it when they have
 * none left. */
typedef struct pool_share {
  /* Generation of the job in the high half, chunks handed out in the low one; of an older
   * generation: none handed out. */
  _Alignas(64) _Atomic uint64_t taken;
} pool_share;

typedef struct pool_worker {
  pool_share share; /* of thread `number`, so that of worker 0 too */
  tsr_pool *pool;
  pthread_t thread;
  uint32_t number;
  uint32_t jobs_until_look; /* at where the others are */
  atomic_int processor;     /* where the thread was when it took its last job; -1: nobody knows */
} pool_worker;

struct tsr_pool {
  const tsr_allocator *allocator;
  uint32_t threads; /* the caller included */
  uint32_t started; /* threads to join */
  bool has_places;  /* as many processors as threads; else one that looks holds up another */
  cpu_set_t processors;
  pool_worker *workers;  /* `threads`; the first is the caller */
  pthread_mutex_t mutex; /* for the two conditions only */
  pthread_cond_t job_published, job_left;
  _Alignas(64) atomic_bool busy; /* a caller owns the pool */
  atomic_bool stop;
  _Alignas(64) _Atomic uint64_t state;
  atomic_uint sleepers;
  atomic_bool caller_sleeps;
  _Alignas(64) uint64_t tasks; /* of the job */
  uint64_t chunk, chunks;
  tsr_task_function function;
  void *function_context;
};

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#else
  __asm__ volatile("" ::: "memory");
#endif
}

/* A wait that has not become a sleep yet. */
typedef struct spinning {
  uint32_t looks;
  int64_t start_ns;
} spinning;

/* False: time to sleep. In between the processor is offered to whoever else wants it, and when
 * somebody took it, the time is over. */
static bool look_again(const tsr_pool *pool, spinning *inout) {
  relax();
  if (++inout->looks % LOOKS != 0)
    return true;
  const int64_t now = tsr_time_ns();
  if (inout->looks == LOOKS)
    inout->start_ns = now;
  if (!pool->has_places || now - inout->start_ns >= SPIN_NS)
    return false;
  (void)sched_yield();
  return true;
}

/* First chunk of the thread's share; that of thread `threads` is the end. */
static uint64_t first_chunk(const tsr_pool *pool, uint32_t thread) {
  return (pool->chunks * thread + pool->threads - 1) / pool->threads;
}

/* False: the share is used up. */
static bool take_chunk(tsr_pool *pool, uint32_t generation, uint32_t thread, uint64_t *out_chunk) {
  _Atomic uint64_t *taken = &pool->workers[thread].share.taken;
  const uint64_t none = (uint64_t)generation << STATE_GENERATION;
  const uint64_t first = first_chunk(pool, thread), count = first_chunk(pool, thread + 1) - first;
  uint64_t before = atomic_load_explicit(taken, memory_order_relaxed), now;
  do {
    now = before >> STATE_GENERATION == generation ? before : none;
    if (now - none >= count)
      return false;
  } while (!atomic_compare_exchange_weak_explicit(taken, &before, now + 1, memory_order_relaxed,
                                                  memory_order_relaxed));
  *out_chunk = first + (now - none);
  return true;
}

static void run_chunks(tsr_pool *pool, uint32_t generation, uint32_t worker) {
  for (uint32_t i = 0; i < pool->threads; i++) {
    const uint32_t from = worker + i < pool->threads ? worker + i : worker + i - pool->threads;
    uint64_t chunk;
    while (take_chunk(pool, generation, from, &chunk)) {
      const uint64_t begin = chunk * pool->chunk, left = pool->tasks - begin;
      pool->function(pool->function_context, (int64_t)begin,
                     (int64_t)(begin + (left < pool->chunk ? left : pool->chunk)), worker);
    }
  }
}

/* --- places --- */

/* A thread that wakes another is often the reason why both stand on one processor, until the system
 * looks around, which takes longer than a small model's run. So each worker sees to it that it
 * stands on none of the caller's and of the workers before it, as long as there are as many as
 * threads. It may go to all others: the system goes on to choose. The caller's own thread is left
 * alone. */
static bool is_taken(const tsr_pool *pool, const pool_worker *self, int processor) {
  for (uint32_t i = 0; i < self->number; i++)
    if (atomic_load_explicit(&pool->workers[i].processor, memory_order_relaxed) == processor)
      return true;
  return false;
}

static void leave_processor(const tsr_pool *pool, const pool_worker *self) {
  cpu_set_t rest = pool->processors;
  for (uint32_t i = 0; i < self->number; i++) {
    const int taken = atomic_load_explicit(&pool->workers[i].processor, memory_order_relaxed);
    if (taken >= 0 && taken < CPU_SETSIZE)
      CPU_CLR((size_t)taken, &rest);
  }
  if (CPU_COUNT(&rest) > 0)
    (void)pthread_setaffinity_np(pthread_self(), sizeof rest, &rest);
}

static void say_place(pool_worker *self) {
  atomic_store_explicit(&self->processor, sched_getcpu(), memory_order_relaxed);
}

/* Looks at the caller's processor at every job, at the others' now and then. */
static void find_place(const tsr_pool *pool, pool_worker *self) {
  enum { JOBS_BETWEEN_LOOKS = 64 };
  if (!pool->has_places)
    return;
  say_place(self);
  const int here = atomic_load_explicit(&self->processor, memory_order_relaxed);
  const int callers = atomic_load_explicit(&pool->workers[0].processor, memory_order_relaxed);
  const bool looks = self->jobs_until_look == 0;
  self->jobs_until_look = looks ? JOBS_BETWEEN_LOOKS : self->jobs_until_look - 1;
  if (here >= 0 && (here == callers || (looks && is_taken(pool, self, here)))) {
    leave_processor(pool, self);
    say_place(self);
  }
}

static bool is_new_job(uint64_t state, uint32_t last_generation) {
  return (state & STATE_OPEN) != 0 && (uint32_t)(state >> STATE_GENERATION) != last_generation;
}

static bool has_news(tsr_pool *pool, uint32_t last_generation) {
  return is_new_job(atomic_load(&pool->state), last_generation) || atomic_load(&pool->stop);
}

/* `sleepers` is raised before the last look at `state`, and the publisher looks at `sleepers` after
 * storing `state`: one of the two sees the other. */
static void wait_for_news(tsr_pool *pool, uint32_t last_generation) {
  spinning spin = {0};
  do {
    if (has_news(pool, last_generation))
      return;
  } while (look_again(pool, &spin));
  pthread_mutex_lock(&pool->mutex);
  atomic_fetch_add(&pool->sleepers, 1);
  while (!has_news(pool, last_generation))
    pthread_cond_wait(&pool->job_published, &pool->mutex);
  atomic_fetch_sub(&pool->sleepers, 1);
  pthread_mutex_unlock(&pool->mutex);
}

static void leave_job(tsr_pool *pool) {
  uint64_t before = atomic_fetch_sub(&pool->state, 1);
  if ((before & STATE_ACTIVE) != 1 || !atomic_load(&pool->caller_sleeps))
    return;
  pthread_mutex_lock(&pool->mutex);
  pthread_cond_signal(&pool->job_left);
  pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *argument) {
  pool_worker *self = (pool_worker *)argument;
  tsr_pool *pool = self->pool;
  uint32_t generation = 0;
  for (;;) {
    uint64_t state = atomic_load(&pool->state);
    if (atomic_load(&pool->stop))
      return NULL;
    if (!is_new_job(state, generation)) {
      wait_for_news(pool, generation);
      continue;
    }
    if (!atomic_compare_exchange_weak(&pool->state, &state, state + 1))
      continue;
    generation = (uint32_t)(state >> STATE_GENERATION);
    find_place(pool, self);
    run_chunks(pool, generation, self->number);
    leave_job(pool);
  }
}

static void wake_workers(tsr_pool *pool, uint64_t wanted) {
  uint32_t sleepers = atomic_load(&pool->sleepers);
  if (sleepers == 0)
    return;
  pthread_mutex_lock(&pool->mutex);
  if (wanted >= sleepers)
    pthread_cond_broadcast(&pool->job_published);
  else
    for (uint64_t i = 0; i < wanted; i++)
      pthread_cond_signal(&pool->job_published);
  pthread_mutex_unlock(&pool->mutex);
}

static bool is_left(tsr_pool *pool) {
  return (atomic_load(&pool->state) & STATE_ACTIVE) == 0;
}

static void wait_until_left(tsr_pool *pool) {
  spinning spin = {0};
  do {
    if (is_left(pool))
      return;
  } while (look_again(pool, &spin));
  pthread_mutex_lock(&pool->mutex);
  atomic_store(&pool->caller_sleeps, true);
  while (!is_left(pool))
    pthread_cond_wait(&pool->job_left, &pool->mutex);
  atomic_store(&pool->caller_sleeps, false);
  pthread_mutex_unlock(&pool->mutex);
}

static uint32_t publish(tsr_pool *pool, uint64_t tasks, tsr_task_function function,
                        void *function_context) {
  uint64_t chunk = tasks / ((uint64_t)pool->threads * CHUNKS_PER_THREAD);
  uint64_t generation = (atomic_load(&pool->state) >> STATE_GENERATION) + 1;
  /* Workers that have seen no job hold generation 0. */
  if ((uint32_t)generation == 0)
    generation = 1;
  pool->tasks = tasks;
  pool->chunk = chunk == 0 ? 1 : chunk;
  pool->chunks = (tasks + pool->chunk - 1) / pool->chunk;
  pool->function = function;
  pool->function_context = function_context;
  atomic_store(&pool->state, generation << STATE_GENERATION | STATE_OPEN);
  return (uint32_t)generation;
}

static void pool_parallel_for(void *context, int64_t tasks, tsr_task_function function,
                              void *function_context) {
  tsr_pool *pool = (tsr_pool *)context;
  if (tasks <= 0)
    return;
  if (tasks == 1 || pool->threads == 1 || atomic_exchange(&pool->busy, true)) {
    function(function_context, 0, tasks, 0);
    return;
  }
  if (pool->has_places)
    say_place(&pool->workers[0]);
  const uint32_t generation = publish(pool, (uint64_t)tasks, function, function_context);
  wake_workers(pool, (uint64_t)tasks - 1);
  run_chunks(pool, generation, 0);
  atomic_fetch_and(&pool->state, ~STATE_OPEN);
  wait_until_left(pool);
  atomic_store(&pool->busy, false);
}

static tsr_status start_workers(tsr_pool *pool) {
  for (uint32_t i = 0; i < pool->threads; i++) {
    pool->workers[i].number = i;
    pool->workers[i].jobs_until_look = 0;
    atomic_init(&pool->workers[i].share.taken, 0);
    atomic_init(&pool->workers[i].processor, -1);
  }
  for (uint32_t i = 1; i < pool->threads; i++) {
    pool_worker *worker = &pool->workers[i];
    worker->pool = pool;
    if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0)
      return TSR_ERR_OUT_OF_MEMORY;
    pool->started++;
  }
  return TSR_OK;
}

static void init_pool(tsr_pool *pool, const tsr_allocator *allocator, uint32_t threads) {
  pool->allocator = allocator;
  pool->threads = threads;
  pool->started = 0;
  pool->has_places = sched_getaffinity(0, sizeof pool->processors, &pool->processors) == 0 &&
                     threads <= (uint32_t)CPU_COUNT(&pool->processors);
  pool->workers = NULL;
  pthread_mutex_init(&pool->mutex, NULL);
  pthread_cond_init(&pool->job_published, NULL);
  pthread_cond_init(&pool->job_left, NULL);
  atomic_init(&pool->busy, false);
  atomic_init(&pool->stop, false);
  atomic_init(&pool->state, 0);
  atomic_init(&pool->sleepers, 0);
  atomic_init(&pool->caller_sleeps, false);
}

tsr_status tsr_pool_create(uint32_t threads, const tsr_allocator *allocator, tsr_pool **out_pool) {
  tsr_status status;
  tsr_pool *pool;
  if (out_pool == NULL)
    return TSR_ERR_ARGUMENT;
  *out_pool = NULL;
  if (allocator == NULL)
    allocator = tsr_allocator_default();
  if (threads == 0)
    threads = tsr_cpu_count() < TSR_POOL_MAX_THREADS ? tsr_cpu_count() : TSR_POOL_MAX_THREADS;
  if (threads > TSR_POOL_MAX_THREADS)
    return TSR_ERR_ARGUMENT;
  pool = (tsr_pool *)allocator->allocate(allocator->context, sizeof *pool, _Alignof(tsr_pool));
  if (pool == NULL)
    return TSR_ERR_OUT_OF_MEMORY;
  init_pool(pool, allocator, threads);
  pool->workers = (pool_worker *)allocator->allocate(
      allocator->context, threads * sizeof *pool->workers, _Alignof(pool_worker));
  status = pool->workers == NULL ? TSR_ERR_OUT_OF_MEMORY : start_workers(pool);
  if (status != TSR_OK) {
    tsr_pool_destroy(pool);
    return status;
  }
  *out_pool = pool;
  return TSR_OK;
}

void tsr_pool_destroy(tsr_pool *pool) {
  const tsr_allocator *allocator;
  if (pool == NULL)
    return;
  allocator = pool->allocator;
  pthread_mutex_lock(&pool->mutex);
  atomic_store(&pool->stop, true);
  pthread_cond_broadcast(&pool->job_published);
  pthread_mutex_unlock(&pool->mutex);
  for (uint32_t i = 1; i <= pool->started; i++)
    pthread_join(pool->workers[i].thread, NULL);
  pthread_cond_destroy(&pool->job_left);
  pthread_cond_destroy(&pool->job_published);
  pthread_mutex_destroy(&pool->mutex);
  allocator->release(allocator->context, pool->workers, pool->threads * sizeof *pool->workers);
  allocator->release(allocator->context, pool, sizeof *pool);
}

tsr_executor tsr_pool_executor(tsr_pool *pool) {
  tsr_executor executor = {pool, pool->threads, pool_parallel_for};
  return executor;
}
