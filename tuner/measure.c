#include "tuner/measure.h"
#include "codegen/cpu/cpu_isa.h"
#include "runtime/clock.h"
#include "tuner/measure_child.h"
#include "tuner/process.h"
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { GROUP = 32, MOST_JOBS = 64 }; /* candidates whose modules are in memory at a time */

typedef struct stopping {
  bool (*stop)(void *context);
  void *context;
  bool stopped;
} stopping;

typedef struct measuring {
  const tsr_task *task;
  const tsr_target *target;
  tsr_measure_options options; /* with the defaults filled in */
  tsr_trial *trials;
  tsr_trial *incumbent;
  tsr_arena *arena;
  tsr_diag *diag;
  const tsr_allocator *allocator;
  stopping stopping;
  int lock_fd;
  tsr_built built[GROUP], incumbent_built;
  int64_t *incumbent_samples;
  uint32_t incumbent_count, incumbent_capacity;
} measuring;

/* Once it said yes it is not asked again. */
static bool asked_to_stop(void *context) {
  stopping *s = context;
  if (!s->stopped && s->stop != NULL)
    s->stopped = s->stop(s->context);
  return s->stopped;
}

static int64_t after(double seconds) {
  return tsr_time_ns() + (int64_t)(seconds * 1e9);
}

static void conclude(tsr_trial *trial, tsr_db_status status, const char *text) {
  trial->status = status;
  snprintf(trial->message, sizeof trial->message, "%s", text);
}

/* What became of a child that said nothing. */
static void conclude_end(measuring *m, tsr_trial *trial, const tsr_child_end *end, bool late,
                         double seconds, const char *doing) {
  char text[200];
  if (late) {
    snprintf(text, sizeof text, "%s took longer than %g s", doing, seconds);
    conclude(trial, TSR_DB_TIMEOUT, text);
  } else if (end->signal != 0 && end->peak_bytes > m->options.memory_bytes / 4 * 3) {
    snprintf(text, sizeof text, "%s died of signal %d (%s) near its memory bound of %llu MiB",
             doing, end->signal, strsignal(end->signal),
             (unsigned long long)(m->options.memory_bytes >> 20));
    conclude(trial, TSR_DB_MEMORY, text);
  } else if (end->signal != 0) {
    snprintf(text, sizeof text, "%s died of signal %d (%s)", doing, end->signal,
             strsignal(end->signal));
    conclude(trial, TSR_DB_CRASHED, text);
  } else {
    snprintf(text, sizeof text, "%s ended with status %d", doing, end->exit_status);
    conclude(trial, TSR_DB_CRASHED, text);
  }
}

/* --- building --- */

typedef struct build_job {
  measuring *m;
  tsr_trial *trial;
  tsr_built *built;
  tsr_child child;
  int64_t deadline_ns;
} build_job;

typedef struct build_message {
  tsr_status status;
  uint64_t size;
  char text[200];
} build_message;

static void build_in_child(void *context, int fd) {
  build_job *job = context;
  const measuring *m = job->m;
  tsr_diag diag = {0};
  void *bytes = NULL;
  size_t size = 0;
  build_message message;
  memset(&message, 0, sizeof message);
  message.status =
      m->options.build == NULL
          ? tsr_task_build(m->task, m->target, &job->trial->schedule, m->allocator, &diag, &bytes,
                           &size)
          : m->options.build(m->options.build_context, m->task, m->target, &job->trial->schedule,
                             m->allocator, &diag, &bytes, &size);
  if (message.status == TSR_OK && size > 0 && !tsr_child_write(job->built->fd, bytes, size))
    message.status = tsr_fail(&diag, TSR_ERR_OUT_OF_MEMORY, "no memory for the module");
  message.size = size;
  snprintf(message.text, sizeof message.text, "%s", diag.message);
  (void)tsr_child_write(fd, &message, sizeof message);
}

static void end_build(build_job *job, tsr_child_event event) {
  build_message message;
  tsr_child_end end;
  if (event == TSR_CHILD_DATA)
    event = tsr_child_read(&job->child, &message, sizeof message, after(1), NULL, NULL);
  tsr_child_finish(&job->child, event != TSR_CHILD_DATA, &end);
  if (event == TSR_CHILD_STOPPED) {
    job->built->done = true;
    return;
  }
  if (event != TSR_CHILD_DATA)
    conclude_end(job->m, job->trial, &end, event == TSR_CHILD_LATE, job->m->options.build_seconds,
                 "building it");
  else if (message.status != TSR_OK)
    conclude(job->trial, message.status == TSR_ERR_OUT_OF_MEMORY ? TSR_DB_MEMORY : TSR_DB_REFUSED,
             message.text);
  job->built->size = event == TSR_CHILD_DATA && message.status == TSR_OK ? message.size : 0;
  job->built->done = event != TSR_CHILD_DATA || message.status != TSR_OK;
}

static tsr_status start_build(measuring *m, build_job *job, tsr_trial *trial, tsr_built *built) {
  *built = (tsr_built){.fd = tsr_memory_file()};
  if (built->fd < 0)
    return tsr_fail(m->diag, TSR_ERR_IO, "no memory for a module to be built into");
  *job = (build_job){.m = m, .trial = trial, .built = built};
  job->deadline_ns = after(m->options.build_seconds);
  return tsr_child_start(build_in_child, job, m->options.memory_bytes, m->lock_fd, m->diag,
                         &job->child);
}

/* Waits until one of the running builds has ended, or all have where it is to stop. */
static void await_builds(measuring *m, build_job *jobs, uint32_t *count) {
  enum { SLICE_MS = 20 };
  struct pollfd wanted[MOST_JOBS];
  for (uint32_t i = 0; i < *count; i++)
    wanted[i] = (struct pollfd){.fd = jobs[i].child.fd, .events = POLLIN};
  (void)poll(wanted, *count, SLICE_MS);
  const bool stopped = asked_to_stop(&m->stopping);
  const int64_t now_ns = tsr_time_ns();
  for (uint32_t i = *count; i-- > 0;) {
    tsr_child_event event;
    if (stopped)
      event = TSR_CHILD_STOPPED;
    else if (wanted[i].revents != 0)
      event = TSR_CHILD_DATA;
    else if (now_ns > jobs[i].deadline_ns)
      event = TSR_CHILD_LATE;
    else
      continue;
    end_build(&jobs[i], event);
    jobs[i] = jobs[--*count];
    wanted[i] = wanted[*count];
  }
}

/* The modules of `count` candidates, and of the incumbent where it is asked for. */
static tsr_status build_all(measuring *m, tsr_trial *trials, uint32_t count, bool incumbent) {
  build_job jobs[MOST_JOBS];
  uint32_t running = 0, next = 0;
  const uint32_t all = count + (incumbent ? 1 : 0);
  tsr_status status = TSR_OK;
  if (!tsr_lock_take(m->lock_fd, TSR_LOCK_BUILD, asked_to_stop, &m->stopping))
    return TSR_OK;
  while (status == TSR_OK && (running > 0 || next < all)) {
    while (status == TSR_OK && running < m->options.jobs && next < all &&
           !asked_to_stop(&m->stopping)) {
      const bool own = next < count;
      status = start_build(m, &jobs[running], own ? &trials[next] : m->incumbent,
                           own ? &m->built[next] : &m->incumbent_built);
      next++;
      running += status == TSR_OK;
    }
    if (running == 0)
      break;
    await_builds(m, jobs, &running);
  }
  for (uint32_t i = 0; i < running; i++)
    end_build(&jobs[i], TSR_CHILD_STOPPED);
  tsr_lock_give(m->lock_fd);
  return status;
}

/* --- the reference --- */

static tsr_status fill_memo(measuring *m, tsr_bench *bench) {
  const double factor = 20; /* f64, simple schedules */
  const double seconds = factor * m->options.run_seconds + m->options.build_seconds;
  tsr_child child;
  tsr_child_end end;
  tsr_diag result;
  if (!tsr_lock_take(m->lock_fd, TSR_LOCK_BUILD, asked_to_stop, &m->stopping))
    return TSR_OK;
  tsr_status status =
      tsr_child_start(tsr_bench_reference, bench, m->options.memory_bytes + 2 * bench->layout.bytes,
                      m->lock_fd, m->diag, &child);
  if (status == TSR_OK) {
    const tsr_child_event event =
        tsr_child_read(&child, &result, sizeof result, after(seconds), asked_to_stop, &m->stopping);
    tsr_child_finish(&child, event != TSR_CHILD_DATA, &end);
    if (event == TSR_CHILD_DATA && result.status != TSR_OK)
      status = tsr_fail(m->diag, result.status, "%s", result.message);
    else if (event == TSR_CHILD_LATE)
      status = tsr_fail(m->diag, TSR_ERR_LIMIT, "the reference takes longer than %g s", seconds);
    else if (event == TSR_CHILD_ENDED)
      status = tsr_fail(m->diag, TSR_ERR_INTERNAL,
                        "the process that computes the reference died of signal %d", end.signal);
  }
  tsr_lock_give(m->lock_fd);
  return status;
}

/* Inputs and reference, from the task's memo where it has them. */
static tsr_status prepare_memo(measuring *m, tsr_bench *bench) {
  tsr_task_memo *memo = m->task->memo;
  bench->memo_fd = memo != NULL ? memo->fd : -1;
  if (bench->memo_fd >= 0)
    return TSR_OK;
  bench->memo_fd = tsr_memory_file();
  if (bench->memo_fd < 0 || ftruncate(bench->memo_fd, (off_t)bench->layout.bytes + 1) != 0)
    return tsr_fail(m->diag, TSR_ERR_IO, "no memory for the operands of a kernel");
  const tsr_status status = fill_memo(m, bench);
  if (status == TSR_OK && memo != NULL && !m->stopping.stopped)
    memo->fd = bench->memo_fd;
  return status;
}

/* --- measuring --- */

static tsr_status keep_samples(measuring *m, const tsr_bench_message *message,
                               const int64_t *samples, tsr_trial *trial) {
  trial->samples_ns = tsr_arena_alloc_array(m->arena, message->sample_count, sizeof(int64_t));
  if (trial->samples_ns == NULL)
    return tsr_fail(m->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  memcpy(trial->samples_ns, samples, message->sample_count * sizeof *samples);
  trial->sample_count = message->sample_count;
  trial->median_ns = tsr_bench_median(samples, message->sample_count);
  return TSR_OK;
}

static tsr_status keep_incumbent(measuring *m, const tsr_bench_message *message,
                                 const int64_t *samples) {
  const uint32_t wanted = m->incumbent_count + message->incumbent_count;
  if (wanted > m->incumbent_capacity) {
    const uint32_t capacity = 2 * wanted;
    int64_t *bigger = tsr_arena_alloc_array(m->arena, capacity, sizeof *bigger);
    if (bigger == NULL)
      return tsr_fail(m->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
    if (m->incumbent_count > 0)
      memcpy(bigger, m->incumbent_samples, m->incumbent_count * sizeof *bigger);
    m->incumbent_samples = bigger;
    m->incumbent_capacity = capacity;
  }
  if (message->incumbent_count > 0)
    memcpy(m->incumbent_samples + m->incumbent_count, samples,
           message->incumbent_count * sizeof *samples);
  m->incumbent_count = wanted;
  return TSR_OK;
}

/* One child's conversation: which candidate it is at. */
typedef struct session {
  tsr_child child;
  tsr_trial *trials;
  uint32_t count;
  uint32_t at;
  int64_t deadline_ns;
} session;

static tsr_trial *trial_of(measuring *m, const session *s, uint32_t candidate) {
  return candidate == TSR_BENCH_INCUMBENT ? m->incumbent
         : candidate < s->count           ? &s->trials[candidate]
                                          : NULL;
}

static void mark_done(measuring *m, const session *s, uint32_t candidate) {
  if (candidate == TSR_BENCH_INCUMBENT)
    m->incumbent_built.done = true;
  else if (candidate < s->count)
    m->built[candidate].done = true;
}

static tsr_status take_result(measuring *m, session *s, const tsr_bench_message *message,
                              const int64_t *own, const int64_t *incumbent) {
  tsr_trial *trial = trial_of(m, s, message->candidate);
  if (message->candidate == TSR_BENCH_SETUP)
    return message->status == TSR_DB_RIGHT
               ? TSR_OK
               : tsr_fail(m->diag, TSR_ERR_OUT_OF_MEMORY, "%s", message->text);
  if (trial == NULL || message->status >= TSR_DB_STATUS_COUNT)
    return TSR_OK;
  conclude(trial, message->status, message->text);
  trial->error = message->error;
  if (message->candidate == TSR_BENCH_INCUMBENT)
    return TSR_OK;
  mark_done(m, s, message->candidate);
  if (message->sample_count > 0)
    TSR_TRY(keep_samples(m, message, own, trial));
  for (uint32_t i = 0; i < message->incumbent_count; i++)
    if (i == 0 || (double)incumbent[i] < trial->beside_ns)
      trial->beside_ns = (double)incumbent[i];
  return keep_incumbent(m, message, incumbent);
}

/* Reads until the child ends, by itself or not. `out_event`: how. */
static tsr_status listen(measuring *m, session *s, tsr_child_event *out_event) {
  tsr_status status = TSR_OK;
  while (status == TSR_OK) {
    tsr_bench_message message;
    int64_t own[TSR_BENCH_SAMPLES], incumbent[TSR_BENCH_SAMPLES];
    *out_event = tsr_child_read(&s->child, &message, sizeof message, s->deadline_ns, asked_to_stop,
                                &m->stopping);
    if (*out_event != TSR_CHILD_DATA)
      return TSR_OK;
    if (message.sample_count > TSR_BENCH_SAMPLES || message.incumbent_count > TSR_BENCH_SAMPLES) {
      *out_event = TSR_CHILD_ENDED; /* what a broken kernel has made of it */
      return TSR_OK;
    }
    *out_event = tsr_child_read(&s->child, own, message.sample_count * sizeof *own, s->deadline_ns,
                                NULL, NULL);
    if (*out_event == TSR_CHILD_DATA)
      *out_event = tsr_child_read(&s->child, incumbent, message.incumbent_count * sizeof *incumbent,
                                  s->deadline_ns, NULL, NULL);
    if (*out_event != TSR_CHILD_DATA)
      return TSR_OK;
    message.text[sizeof message.text - 1] = '\0';
    if (message.result)
      status = take_result(m, s, &message, own, incumbent);
    s->at = message.result ? TSR_BENCH_SETUP : message.candidate;
    if (message.result || message.candidate != TSR_BENCH_SETUP)
      s->deadline_ns = after(m->options.run_seconds);
  }
  return status;
}

static bool any_left(const measuring *m, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (!m->built[i].done)
      return true;
  return false;
}

/* One child after the other, until all candidates have a result; a child that dies takes the
 * candidate with it that it was at. */
static tsr_status measure_all(measuring *m, tsr_bench *bench, tsr_trial *trials, uint32_t count) {
  enum { SETUP_SECONDS = 20, MOST_SETUPS = 3 };
  tsr_status status = TSR_OK;
  uint32_t failed_setups = 0;
  if (!any_left(m, count) ||
      !tsr_lock_take(m->lock_fd, TSR_LOCK_MEASURE, asked_to_stop, &m->stopping))
    return TSR_OK;
  while (status == TSR_OK && any_left(m, count) && !asked_to_stop(&m->stopping)) {
    session s = {.trials = trials, .count = count, .at = TSR_BENCH_SETUP};
    tsr_child_event event = TSR_CHILD_ENDED;
    tsr_child_end end;
    bench->candidates = m->built;
    bench->count = count;
    bench->incumbent = m->incumbent != NULL ? &m->incumbent_built : NULL;
    status = tsr_child_start(tsr_bench_run, bench, m->options.memory_bytes, m->lock_fd, m->diag,
                             &s.child);
    if (status != TSR_OK)
      break;
    s.deadline_ns = after(SETUP_SECONDS);
    status = listen(m, &s, &event);
    tsr_child_finish(&s.child, true, &end);
    tsr_trial *trial = trial_of(m, &s, s.at);
    if (status != TSR_OK || event == TSR_CHILD_STOPPED || !any_left(m, count))
      break;
    if (trial != NULL) {
      conclude_end(m, trial, &end, event == TSR_CHILD_LATE, m->options.run_seconds, "running it");
      mark_done(m, &s, s.at);
    } else if (++failed_setups == MOST_SETUPS) {
      status = tsr_fail(m->diag, TSR_ERR_INTERNAL,
                        "the process that measures dies before it has run anything (signal %d)",
                        end.signal);
    }
  }
  tsr_lock_give(m->lock_fd);
  return status;
}

/* --- the whole --- */

static void drop_modules(measuring *m) {
  for (uint32_t i = 0; i < GROUP; i++) {
    if (m->built[i].fd >= 0)
      close(m->built[i].fd);
    m->built[i] = (tsr_built){.fd = -1, .done = true};
  }
}

/* Without a device what can be known is whether code can be made. */
static void rank_unmeasured(measuring *m, tsr_trial *trials, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (!m->built[i].done)
      conclude(&trials[i], TSR_DB_PREDICTED, "");
}

/* Each module holds the constants: no more of them at a time than half of what one process may
 * have. */
static uint32_t group_size(const measuring *m) {
  const tsr_ir *ir = m->task->ir;
  double bytes = 1 << 20;
  TSR_FOR_EACH_OP (ir, tsr_op_get(ir, m->task->block)->parent, op)
    if (tsr_op_get(ir, op)->code == TSR_OP_CONST)
      bytes += 1.25 * tsr_memo_constant_bytes(ir, tsr_op_get(ir, op)->results[0]);
  const double most = (double)m->options.memory_bytes / 2 / bytes, all = GROUP;
  return most < 1 ? 1 : most > all ? GROUP : (uint32_t)most;
}

static tsr_status measure_groups(measuring *m, tsr_bench *bench, uint32_t count) {
  const bool runs = m->target->kind == TSR_TARGET_CPU;
  const uint32_t most = group_size(m);
  for (uint32_t first = 0; first < count && !asked_to_stop(&m->stopping); first += most) {
    const uint32_t part = count - first < most ? count - first : most;
    TSR_TRY(build_all(m, m->trials + first, part, first == 0 && m->incumbent != NULL));
    /* Those that were never started are done with, too. */
    for (uint32_t i = 0; i < part; i++)
      m->built[i].done = m->built[i].done || m->built[i].fd < 0;
    if (runs)
      TSR_TRY(measure_all(m, bench, m->trials + first, part));
    else
      rank_unmeasured(m, m->trials + first, part);
    drop_modules(m);
  }
  return TSR_OK;
}

static void finish_incumbent(measuring *m) {
  tsr_trial *incumbent = m->incumbent;
  if (incumbent == NULL || incumbent->status != TSR_DB_RIGHT || m->incumbent_count == 0)
    return;
  /* The median over all that was measured beside the candidates, thinned out evenly. */
  int64_t some[TSR_BENCH_SAMPLES];
  const uint32_t count =
      m->incumbent_count < TSR_BENCH_SAMPLES ? m->incumbent_count : TSR_BENCH_SAMPLES;
  for (uint32_t i = 0; i < count; i++)
    some[i] = m->incumbent_samples[(uint64_t)i * m->incumbent_count / count];
  memcpy(m->incumbent_samples, some, count * sizeof *some);
  incumbent->samples_ns = m->incumbent_samples;
  incumbent->sample_count = count;
  incumbent->median_ns = tsr_bench_median(some, count);
}

static void clear(tsr_trial *trial) {
  trial->status = TSR_DB_PREDICTED;
  trial->message[0] = '\0';
  trial->error = -1;
  trial->samples_ns = NULL;
  trial->sample_count = 0;
  trial->median_ns = 0;
  trial->beside_ns = 0;
}

static void fill_defaults(tsr_measure_options *o, const tsr_target *target) {
  const uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
  o->threads = o->threads > 0 ? o->threads : target->threads > 0 ? target->threads : 1;
  o->jobs = o->jobs < 1 ? 1 : o->jobs > MOST_JOBS ? MOST_JOBS : o->jobs;
  o->build_seconds = o->build_seconds > 0 ? o->build_seconds : 30;
  o->run_seconds = o->run_seconds > 0 ? o->run_seconds : 5;
  o->memory_bytes = o->memory_bytes > 0 ? o->memory_bytes : memory / 4;
}

static tsr_status check_target(const tsr_target *target, tsr_diag *diag) {
  return target->kind == TSR_TARGET_CUDA || tsr_cpu_isa_host_runs(target->cpu_features)
             ? TSR_OK
             : tsr_fail(diag, TSR_ERR_DEVICE,
                        "this machine does not run code for %s, so nothing "
                        "can be measured",
                        target->name);
}

tsr_status tsr_measure(const tsr_task *task, const tsr_target *target,
                       const tsr_measure_options *options, tsr_trial *trials, uint32_t count,
                       tsr_trial *incumbent, tsr_arena *arena, bool (*stop)(void *context),
                       void *stop_context, tsr_diag *diag) {
  measuring m = {.task = task,
                 .target = target,
                 .options = *options,
                 .trials = trials,
                 .incumbent = incumbent,
                 .arena = arena,
                 .diag = diag,
                 .allocator = arena->allocator,
                 .stopping = {.stop = stop, .context = stop_context},
                 .lock_fd = -1,
                 .incumbent_built = {.fd = -1, .done = true}};
  tsr_bench bench = {.task = task,
                     .target = target,
                     .options = &m.options,
                     .allocator = arena->allocator,
                     .memo_fd = -1};
  for (uint32_t i = 0; i < GROUP; i++)
    m.built[i] = (tsr_built){.fd = -1, .done = true};
  for (uint32_t i = 0; i < count; i++)
    clear(&trials[i]);
  if (incumbent != NULL)
    clear(incumbent);
  fill_defaults(&m.options, target);
  TSR_TRY(check_target(target, diag));
  TSR_TRY(tsr_memo_layout_make(task->ir, arena, diag, &bench.layout));
  if (target->kind == TSR_TARGET_CPU && bench.layout.bytes > m.options.memory_bytes)
    return tsr_fail(
        diag, TSR_ERR_LIMIT,
        "its tensors and their reference take %llu MiB at the dims' typical sizes, more "
        "than a process may have; give smaller ones",
        (unsigned long long)(bench.layout.bytes >> 20));
  TSR_TRY(tsr_lock_open(options->lock_path, diag, &m.lock_fd));
  tsr_status status = TSR_OK;
  if (target->kind == TSR_TARGET_CPU && count > 0)
    status = prepare_memo(&m, &bench);
  if (status == TSR_OK)
    status = measure_groups(&m, &bench, count);
  finish_incumbent(&m);
  drop_modules(&m);
  if (m.incumbent_built.fd >= 0)
    close(m.incumbent_built.fd);
  if (bench.memo_fd >= 0 && (task->memo == NULL || task->memo->fd != bench.memo_fd))
    close(bench.memo_fd);
  close(m.lock_fd);
  return status;
}
