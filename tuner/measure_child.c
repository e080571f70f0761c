#include "tuner/measure_child.h"
#include "runtime/clock.h"
#include "tuner/process.h"
#include "tuner/runner.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* --- figures --- */

/* Ranks n/2 -+ 0.98 sqrt(n) (the normal approximation of the binomial distribution); of less than
 * six samples all lie between the first and the last with less than 95 percent, the best there is.
 */
void tsr_bench_interval(uint32_t count, uint32_t *out_low, uint32_t *out_high) {
  const double half = 0.98 * sqrt((double)count);
  const double low = floor((double)count / 2 - half);
  *out_low = count < 6 || low < 1 ? 0 : (uint32_t)low - 1;
  *out_high = count == 0 ? 0 : count - 1 - *out_low;
}

static int by_size(const void *a, const void *b) {
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

double tsr_bench_median(const int64_t *samples, uint32_t count) {
  int64_t sorted[TSR_BENCH_SAMPLES];
  if (count == 0)
    return 0;
  if (count > TSR_BENCH_SAMPLES)
    count = TSR_BENCH_SAMPLES;
  memcpy(sorted, samples, count * sizeof *sorted);
  qsort(sorted, count, sizeof *sorted, by_size);
  return (double)sorted[(count - 1) / 2];
}

/* --- the child's state --- */

typedef struct timing {
  int64_t samples[TSR_BENCH_SAMPLES];
  uint32_t count;
  int64_t runs;    /* of one sample */
  int64_t once_ns; /* about what one takes */
} timing;

typedef struct child {
  const tsr_bench *bench;
  int fd;
  tsr_arena arena;
  const char *memo; /* inputs and reference */
  tsr_runner_data data;
  tsr_pool *pool;
  tsr_executor executor;
  tsr_runner incumbent;
  bool has_incumbent;
  char *sweep; /* what is read to empty the caches; NULL: operands are flushed one by one */
  size_t sweep_bytes;
} child;

static void tell(const child *c, const tsr_bench_message *message, const int64_t *samples,
                 const int64_t *incumbent) {
  (void)(tsr_child_write(c->fd, message, sizeof *message) &&
         tsr_child_write(c->fd, samples, message->sample_count * sizeof *samples) &&
         tsr_child_write(c->fd, incumbent, message->incumbent_count * sizeof *incumbent));
}

static void begin(const child *c, uint32_t candidate) {
  tsr_bench_message message;
  memset(&message, 0, sizeof message);
  message.candidate = candidate;
  tell(c, &message, NULL, NULL);
}

static void end(const child *c, uint32_t candidate, tsr_db_status status, double error,
                const char *text, const timing *own, const timing *incumbent) {
  tsr_bench_message message;
  memset(&message, 0, sizeof message);
  message.candidate = candidate;
  message.result = true;
  message.status = status;
  message.error = error;
  message.sample_count = own == NULL ? 0 : own->count;
  message.incumbent_count = incumbent == NULL ? 0 : incumbent->count;
  snprintf(message.text, sizeof message.text, "%s", text);
  tell(c, &message, own == NULL ? NULL : own->samples,
       incumbent == NULL ? NULL : incumbent->samples);
}

/* --- running and checking --- */

static tsr_db_status status_of(tsr_status status) {
  return status == TSR_ERR_OUT_OF_MEMORY ? TSR_DB_MEMORY : TSR_DB_REFUSED;
}

/* One run against the reference. The run has the candidate's time; comparing, which is not its
 * fault, has as much again. */
static tsr_db_status check(child *c, uint32_t number, tsr_runner *runner, double *out_error,
                           char *text, size_t size) {
  tsr_runner_poison(&c->bench->layout, &c->data);
  begin(c, number);
  const tsr_status status = tsr_exec_run(runner->exec);
  if (status != TSR_OK) {
    snprintf(text, size, "%s", tsr_exec_last_error(runner->exec));
    return status_of(status);
  }
  begin(c, number);
  const double error = tsr_runner_compare(&c->bench->layout, &c->data, c->memo, text, size);
  *out_error = error > 1e30 ? 1e30 : error > *out_error ? error : *out_error;
  return error > 1 ? TSR_DB_WRONG : TSR_DB_RIGHT;
}

static tsr_db_status open_checked(child *c, uint32_t number, const tsr_built *built,
                                  tsr_runner *out_runner, double *out_error, char *text,
                                  size_t size) {
  tsr_message message;
  const tsr_status status =
      tsr_runner_open(built->fd, built->size, &c->bench->layout, &c->data, true, &c->executor,
                      c->bench->allocator, out_runner, &message);
  *out_error = -1;
  if (status != TSR_OK) {
    snprintf(text, size, "%s", message.text);
    return status_of(status);
  }
  return check(c, number, out_runner, out_error, text, size);
}

/* --- timing --- */

static void flush(const void *data, size_t bytes) {
#if defined(__x86_64__)
  const char *at = data;
  for (size_t i = 0; i < bytes; i += 64)
    _mm_clflush(at + i);
#else
  (void)data;
  (void)bytes;
#endif
}

/* Operands and weights leave the caches. */
static void make_cold(child *c, const tsr_runner *runner) {
  const tsr_memo_layout *layout = &c->bench->layout;
  if (c->sweep != NULL) {
    for (size_t i = 0; i < c->sweep_bytes; i += 64)
      c->sweep[i]++;
    return;
  }
  for (uint32_t i = 0; i < layout->input_count; i++)
    flush(c->data.inputs[i], layout->inputs[i].bytes);
  for (uint32_t i = 0; i < layout->output_count; i++)
    flush(c->data.outputs[i], layout->outputs[i].bytes);
  flush(runner->bytes, runner->size);
#if defined(__x86_64__)
  _mm_mfence();
#endif
}

static int64_t time_runs(tsr_runner *runner, int64_t runs) {
  const int64_t begin_ns = tsr_time_ns();
  for (int64_t i = 0; i < runs; i++)
    if (tsr_exec_run(runner->exec) != TSR_OK)
      return -1;
  return tsr_time_ns() - begin_ns;
}

/* From here on what was in the caches before does not matter. */
enum { WARM_NS = 1000000 };

/* So many runs that the clock's steps, and what it takes to ask it, do not matter. */
static void find_runs(child *c, tsr_runner *runner, timing *t) {
  enum { SAMPLE_NS = 100000, MOST = 1000 };
  t->once_ns = time_runs(runner, 1);
  t->runs = 1;
  if (c->bench->options->cold || t->once_ns < 0)
    return;
  if (t->once_ns >= WARM_NS)
    t->samples[t->count++] = t->once_ns; /* a sample like others */
  if (t->once_ns >= SAMPLE_NS)
    return;
  const int64_t again = time_runs(runner, 4) / 4;
  t->once_ns = again > 0 && again < t->once_ns ? again : t->once_ns;
  const int64_t runs = SAMPLE_NS / (t->once_ns > 100 ? t->once_ns : 100);
  t->runs = runs < 1 ? 1 : runs > MOST ? MOST : runs;
}

static bool take_sample(child *c, tsr_runner *runner, timing *t) {
  if (c->bench->options->cold)
    make_cold(c, runner);
  else if (t->once_ns < WARM_NS)
    (void)time_runs(runner, 1); /* the other one's operands leave the caches */
  const int64_t ns = time_runs(runner, t->runs);
  if (ns < 0)
    return false;
  t->samples[t->count++] = ns / t->runs > 0 ? ns / t->runs : 1;
  return true;
}

typedef struct spread {
  double median, half; /* of its 95 percent interval */
} spread;

static spread spread_of(const timing *t) {
  int64_t sorted[TSR_BENCH_SAMPLES];
  uint32_t low, high;
  memcpy(sorted, t->samples, t->count * sizeof *sorted);
  qsort(sorted, t->count, sizeof *sorted, by_size);
  tsr_bench_interval(t->count, &low, &high);
  return (spread){(double)sorted[(t->count - 1) / 2], (double)(sorted[high] - sorted[low]) / 2};
}

/* Is it clear which of the two is faster, or that nobody will care? */
static bool is_decided(const child *c, const timing *own, const timing *incumbent) {
  enum { FEWEST = 6, FEWEST_SLOW = 3 };
  const double same = 0.005, alone = 0.01;
  const spread a = spread_of(own);
  if (!c->has_incumbent)
    return own->count >= FEWEST && a.half <= alone * a.median;
  const spread b = spread_of(incumbent);
  if (own->count >= FEWEST_SLOW) {
    double fastest = INFINITY;
    for (uint32_t i = 0; i < own->count; i++)
      fastest = fmin(fastest, (double)own->samples[i]);
    if (fastest > 2 * b.median)
      return true;
  }
  return own->count >= FEWEST && (a.half + b.half <= fabs(a.median - b.median) ||
                                  (a.half <= same * a.median && b.half <= same * b.median));
}

/* Is there time for one more of each? A few samples may take most of what a candidate has; more
 * than a few are worth a fraction of a second. */
static bool has_time(const child *c, const timing *own, int64_t begin_ns) {
  enum { FEW = 3, ENOUGH = 8 };
  const double limit_ns = 1e9 * c->bench->options->run_seconds, patience_ns = 0.3e9;
  const double passed_ns = (double)(tsr_time_ns() - begin_ns);
  if (own->count < FEW)
    return passed_ns * (own->count + 1) / own->count < 0.8 * limit_ns;
  return passed_ns < 0.4 * limit_ns && (own->count < ENOUGH || passed_ns < patience_ns);
}

/* In turns, so that what changes with time changes both. */
static void time_candidate(child *c, tsr_runner *runner, timing *own, timing *incumbent) {
  const int64_t begin_ns = tsr_time_ns();
  find_runs(c, runner, own);
  if (c->has_incumbent)
    find_runs(c, &c->incumbent, incumbent);
  while (own->count < TSR_BENCH_SAMPLES && incumbent->count < TSR_BENCH_SAMPLES &&
         (own->count == 0 || has_time(c, own, begin_ns))) {
    const bool first = own->count % 2 == 0;
    bool fine = true;
    if (first)
      fine = take_sample(c, runner, own);
    if (fine && c->has_incumbent)
      fine = take_sample(c, &c->incumbent, incumbent);
    if (fine && !first)
      fine = take_sample(c, runner, own);
    if (!fine || is_decided(c, own, incumbent))
      break;
  }
}

static void measure_candidate(child *c, uint32_t number) {
  tsr_runner runner;
  double error;
  timing own = {.count = 0}, incumbent = {.count = 0};
  char text[200] = "";
  begin(c, number);
  tsr_db_status status =
      open_checked(c, number, &c->bench->candidates[number], &runner, &error, text, sizeof text);
  if (status == TSR_DB_RIGHT) {
    begin(c, number);
    time_candidate(c, &runner, &own, &incumbent);
    /* Once more: what depends on luck may have had it the first time. */
    status = check(c, number, &runner, &error, text, sizeof text);
  }
  if (status != TSR_DB_RIGHT)
    own.count = incumbent.count = 0;
  end(c, number, status, error, status == TSR_DB_RIGHT ? "" : text, &own, &incumbent);
  tsr_runner_close(&runner);
}

/* --- the whole --- */

static bool set_up(child *c) {
  const tsr_bench *bench = c->bench;
  const tsr_allocator *allocator = bench->allocator;
  tsr_arena_init(&c->arena, allocator);
  void *memo = mmap(NULL, bench->layout.bytes + 1, PROT_READ, MAP_SHARED, bench->memo_fd, 0);
  if (memo == MAP_FAILED ||
      !tsr_runner_data_make(&bench->layout, memo, &c->arena, allocator, &c->data) ||
      tsr_pool_create(bench->options->threads, allocator, &c->pool) != TSR_OK)
    return false;
  c->memo = memo;
  c->executor = tsr_pool_executor(c->pool);
#if !defined(__x86_64__)
  if (bench->options->cold) {
    c->sweep_bytes = 2 * (size_t)(bench->target->l3_bytes + bench->target->l2_bytes);
    c->sweep = allocator->allocate(allocator->context, c->sweep_bytes, 64);
    return c->sweep != NULL;
  }
#endif
  return true;
}

static void set_up_incumbent(child *c) {
  double error;
  char text[200] = "";
  if (c->bench->incumbent == NULL || c->bench->incumbent->done)
    return;
  begin(c, TSR_BENCH_INCUMBENT);
  const tsr_db_status status = open_checked(c, TSR_BENCH_INCUMBENT, c->bench->incumbent,
                                            &c->incumbent, &error, text, sizeof text);
  c->has_incumbent = status == TSR_DB_RIGHT;
  end(c, TSR_BENCH_INCUMBENT, status, error, c->has_incumbent ? "" : text, NULL, NULL);
}

void tsr_bench_run(void *context, int fd) {
  child c = {.bench = context, .fd = fd};
  begin(&c, TSR_BENCH_SETUP);
  if (!set_up(&c)) {
    end(&c, TSR_BENCH_SETUP, TSR_DB_MEMORY, -1, "no memory for the kernel's operands", NULL, NULL);
    return;
  }
  end(&c, TSR_BENCH_SETUP, TSR_DB_RIGHT, -1, "", NULL, NULL);
  set_up_incumbent(&c);
  for (uint32_t i = 0; i < c.bench->count; i++)
    if (!c.bench->candidates[i].done)
      measure_candidate(&c, i);
}
