/* Which task gets the next batch: first each its default schedule and a few of the model's best, by
 * falling share; from then on the one with the greatest product of its share of the model's time
 * and the gain that its search expects of a batch, which is the gradient that Ansor follows (Zheng
 * et al., OSDI'20, section 6). It ends when a further batch of every task together would not gain
 * more than the noise. */
#include "tuner/tune.h"
#include "codegen/cpu/cpu_isa.h"
#include "ir/copy.h"
#include "runtime/clock.h"
#include "tuner/ceilings.h"
#include "tuner/lessons.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
  FIRST_BATCH = 4,
  BATCH = 8,
  VAIN = 20,       /* trials without one that is right, after which a task is left */
  NEIGHBOURS = 3,  /* seeds from the database, each of the key's own and of other keys */
  RELATIVES = 3,   /* seeds from other tasks of this call */
  PREDICTIONS = 16 /* candidates of a task that is only predicted */
};
/* Of the model: what is not worth looking for. */
static const double least_gain = 0.01;
/* Of a task that nothing could be measured of yet. */
static const double vain_hope = 0.1;
/* The analytic model's cycles are those of a core of this clock until measurements say more. */
static const double typical_clock_ghz = 3;
/* Of the time, for comparing with the default at the end; the least share of a task for that. */
static const double compared_share = 0.04, least_compared = 0.02;
/* How much slower the machine may get. */
static const double most_drift = 1.25;
static const double progress_s = 0.1;
static const double lessons_s = 3;

typedef struct work {
  tsr_task *task;
  tsr_ir *ir; /* a copy, which the space adds to */
  tsr_space *space;
  tsr_search *search;
  tsr_db_key key;
  tsr_schedule start; /* the default */
  double first_ns, best_ns, predicted_ns;
  uint64_t trials;
  bool started, exhausted;
  double known_ns;   /* of the default, by an earlier tuning's rows; 0: none */
  char message[200]; /* why it cannot be measured */
} work;

typedef struct tuning {
  tsr_task_list *tasks;
  const tsr_target *target;
  tsr_target rates; /* the same with the rates of this machine, for the model */
  tsr_db *db;
  const tsr_tune_options *options;
  const tsr_allocator *allocator;
  tsr_diag *diag;
  tsr_learner *learner;
  work *works;
  uint32_t now; /* the work that is measured */
  bool runs_here, spent, comparing;
  uint32_t lessons;
  uint64_t trials, rows;
  int64_t begin_ns, shown_ns;
  tsr_arena arena, scratch; /* scratch: of one batch */
} tuning;

static tsr_status no_memory(tsr_diag *diag) {
  return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
}

static double elapsed_s(const tuning *t) {
  return (double)(tsr_time_ns() - t->begin_ns) * 1e-9;
}

/* Sum over tasks; 0 as long as one has no figure that may still get one. */
static double model_ns(const tuning *t, bool first) {
  double sum = 0;
  for (uint32_t i = 0; i < t->tasks->count; i++) {
    const work *w = &t->works[i];
    if (!w->started)
      return 0;
    sum += w->task->times * (first ? w->first_ns : w->best_ns);
  }
  return sum;
}

static void show(tuning *t) {
  const tsr_tune_options *o = t->options;
  if (o->progress == NULL)
    return;
  const double elapsed = elapsed_s(t);
  tsr_tune_progress p = {.elapsed_s = elapsed,
                         .left_s = -1,
                         .trials = t->trials,
                         .model_ns = model_ns(t, false),
                         .first_ns = model_ns(t, true),
                         .task_count = t->tasks->count};
  for (uint32_t i = 0; i < t->tasks->count; i++)
    p.started += t->works[i].started;
  if (o->seconds > 0)
    p.left_s = fmax(0, o->seconds - elapsed);
  if (o->trials > 0 && t->trials > 0) {
    const double left = elapsed / (double)t->trials * (double)(o->trials - t->trials);
    p.left_s = p.left_s < 0 ? left : fmin(p.left_s, left);
  }
  t->shown_ns = tsr_time_ns();
  o->progress(o->progress_context, &p);
}

/* Asked by everything that takes long. */
static bool should_stop(void *context) {
  tuning *t = context;
  if ((double)(tsr_time_ns() - t->shown_ns) * 1e-9 > progress_s)
    show(t);
  const double limit = t->options->seconds * (t->comparing ? 1 : 1 - compared_share);
  return (t->options->seconds > 0 && elapsed_s(t) >= limit) ||
         (t->options->stop != NULL && t->options->stop(t->options->stop_context));
}

static bool is_over(tuning *t) {
  return should_stop(t) || (t->options->trials > 0 && t->trials >= t->options->trials);
}

/* --- what the database knows --- */

typedef struct reading {
  tuning *tuning;
  work *work;
  tsr_status status;
  uint32_t left;
} reading;

/* True with a schedule of this space; texts of other versions are passed over. */
static bool read_schedule(reading *r, const tsr_db_record *record, tsr_schedule *out_schedule) {
  tsr_diag why = {0};
  const tsr_status status =
      tsr_task_schedule_parse(record->schedule, r->tuning->allocator, &why, out_schedule);
  if (status == TSR_ERR_OUT_OF_MEMORY)
    r->status = no_memory(r->tuning->diag);
  return status == TSR_OK;
}

static void start_work(work *w, const tsr_schedule *schedule, double ns) {
  if (w->first_ns == 0 || tsr_schedule_equal(schedule, &w->start))
    w->first_ns = ns;
  w->started = true;
}

static bool tell_row(void *context, const tsr_db_record *record, int64_t median_ns) {
  reading *r = context;
  tsr_schedule schedule;
  if ((record->status == TSR_DB_PREDICTED && r->tuning->runs_here) ||
      !read_schedule(r, record, &schedule) || !tsr_space_is_legal(r->work->space, &schedule))
    return r->status == TSR_OK;
  const double ns = record->status == TSR_DB_RIGHT ? (double)tsr_db_time_ns(record, median_ns) : 0;
  r->status = tsr_search_tell(r->work->search, &schedule, record->status, ns, r->tuning->diag);
  if (ns > 0)
    start_work(r->work, &schedule, ns);
  return r->status == TSR_OK;
}

/* An earlier tuning's rows stand beside those of this one: what the default took then, made by the
 * same generator, is the common measure of both. */
static void know_default(const reading *r, const tsr_db_record *record,
                         const tsr_schedule *schedule) {
  const tsr_db_origin *a = &record->origin, *b = &r->tuning->options->origin;
  if (r->work->known_ns == 0 && record->adjusted_ns > 0 &&
      tsr_schedule_equal(schedule, &r->work->start) && strcmp(a->compiler, b->compiler) == 0 &&
      strcmp(a->driver, b->driver) == 0 && strcmp(a->source, b->source) == 0)
    r->work->known_ns = (double)record->adjusted_ns;
}

/* Rows of the task itself, best first. */
static bool read_best(void *context, const tsr_db_record *record, int64_t median_ns) {
  reading *r = context;
  tsr_schedule own, schedule;
  (void)median_ns;
  if (!read_schedule(r, record, &own))
    return r->status == TSR_OK;
  know_default(r, record, &own);
  if (r->left > 0 && tsr_space_adopt(r->work->space, &own, &schedule)) {
    r->status = tsr_search_seed(r->work->search, &schedule, r->tuning->diag);
    r->left--;
  }
  return r->status == TSR_OK;
}

static bool seed_row(void *context, const tsr_db_record *record, int64_t median_ns) {
  reading *r = context;
  tsr_schedule foreign, schedule;
  (void)median_ns;
  if (read_schedule(r, record, &foreign) && tsr_space_adopt(r->work->space, &foreign, &schedule)) {
    r->status = tsr_search_seed(r->work->search, &schedule, r->tuning->diag);
    r->left--;
  }
  return r->status == TSR_OK && r->left > 0;
}

static tsr_status read_database(tuning *t, work *w) {
  reading r = {.tuning = t, .work = w, .left = NEIGHBOURS};
  if (t->options->resume) {
    TSR_TRY(tsr_db_each(t->db, &w->key, tell_row, &r, t->diag));
  } else {
    TSR_TRY(tsr_db_best(t->db, &w->key, &t->options->origin, read_best, &r, t->diag));
  }
  TSR_TRY(r.status);
  r.left = NEIGHBOURS;
  TSR_TRY(tsr_db_neighbours(t->db, &w->key, NEIGHBOURS, seed_row, &r, t->diag));
  double best;
  if (tsr_search_best(w->search, &best) != NULL)
    w->best_ns = best;
  return r.status;
}

/* --- starting and ending --- */

static tsr_status add_workload(tuning *t, const work *w) {
  const char *text = tsr_ir_print(w->task->ir, &t->scratch);
  const tsr_status status =
      text == NULL
          ? no_memory(t->diag)
          : tsr_db_add_workload(t->db, w->key.workload, w->key.workload_version, text, t->diag);
  tsr_arena_reset(&t->scratch);
  return status;
}

static tsr_status start(tuning *t, work *w, tsr_task *task) {
  w->task = task;
  if (tsr_task_key(task->ir, task->block, t->target, t->options->measure.cold ? "cold" : "warm",
                   &t->arena, &w->key) != TSR_OK ||
      tsr_ir_copy_in_order(task->ir, t->allocator, &w->ir) != TSR_OK)
    return no_memory(t->diag);
  const tsr_op block = tsr_task_block(w->ir);
  if (block == 0)
    return tsr_fail(t->diag, TSR_ERR_INTERNAL, "task '%s' has no block", task->name);
  TSR_TRY(tsr_space_create(w->ir, block, t->target, t->allocator, t->diag, &w->space));
  tsr_space_calibrate(w->space, &t->rates);
  TSR_TRY(tsr_search_create(w->space, t->learner, task->workload, t->options->seed, t->allocator,
                            t->diag, &w->search));
  tsr_space_default(w->space, &w->start);
  w->predicted_ns = tsr_learner_predict(t->learner, w->space, &w->start).ns;
  return add_workload(t, w);
}

/* Other kernels' rows, before the tasks' own are read: what is said of the tasks' schedules is said
 * before their times are known, of those of the database, too. */
static tsr_status take_lessons(tuning *t) {
  if (t->options->no_learned || t->tasks->count == 0)
    return TSR_OK;
  uint64_t *own = tsr_arena_alloc_array(&t->arena, t->tasks->count, sizeof *own);
  if (own == NULL)
    return no_memory(t->diag);
  for (uint32_t i = 0; i < t->tasks->count; i++)
    own[i] = t->works[i].key.workload;
  const tsr_lessons_options lessons = {.target = t->target,
                                       .rates = &t->rates,
                                       .like = t->works[0].key,
                                       .without = own,
                                       .without_count = t->tasks->count,
                                       .seconds = lessons_s,
                                       .stop = should_stop,
                                       .stop_context = t};
  return tsr_lessons_take(t->learner, t->db, &lessons, t->allocator, t->diag, &t->lessons);
}

static tsr_status start_all(tuning *t) {
  t->rates = *t->target;
  if (t->options->origin.ceilings != NULL)
    (void)tsr_ceilings_calibrate(t->options->origin.ceilings, &t->rates);
  const double clock_ghz = t->target->kind == TSR_TARGET_CUDA ? t->target->gpu.clock_ghz
                           : t->rates.clock_ghz > 0           ? t->rates.clock_ghz
                                                              : typical_clock_ghz;
  const tsr_learner_options models = {.no_analytic = t->options->no_analytic,
                                      .no_learned = t->options->no_learned,
                                      .cycles_per_ns = clock_ghz};
  TSR_TRY(tsr_learner_create(&models, t->allocator, t->diag, &t->learner));
  t->works = tsr_arena_alloc_array(&t->arena, t->tasks->count, sizeof *t->works);
  if (t->works == NULL)
    return no_memory(t->diag);
  for (uint32_t i = 0; i < t->tasks->count; i++)
    TSR_TRY(start(t, &t->works[i], &t->tasks->tasks[i]));
  TSR_TRY(take_lessons(t));
  TSR_TRY(tsr_learner_update(t->learner, t->diag));
  for (uint32_t i = 0; i < t->tasks->count; i++)
    TSR_TRY(read_database(t, &t->works[i]));
  return tsr_learner_update(t->learner, t->diag);
}

static void end_all(tuning *t) {
  for (uint32_t i = 0; t->works != NULL && i < t->tasks->count; i++) {
    tsr_search_destroy(t->works[i].search);
    tsr_space_destroy(t->works[i].space);
    if (t->works[i].ir != NULL)
      tsr_ir_destroy(t->works[i].ir);
  }
  tsr_learner_destroy(t->learner);
  tsr_arena_reset(&t->scratch);
  tsr_arena_reset(&t->arena);
}

/* --- batches --- */

/* What other tasks do best may fit here, too. */
static tsr_status seed_relatives(tuning *t, work *w) {
  uint32_t left = RELATIVES;
  for (uint32_t i = 0; i < t->tasks->count && left > 0; i++) {
    const work *other = &t->works[i];
    double ns;
    const tsr_schedule *best = tsr_search_best(other->search, &ns);
    tsr_schedule schedule;
    if (other == w || best == NULL || tsr_schedule_equal(best, &other->start) ||
        !tsr_space_adopt(w->space, best, &schedule))
      continue;
    TSR_TRY(tsr_search_seed(w->search, &schedule, t->diag));
    left--;
  }
  return TSR_OK;
}

static double least_sample(const tsr_trial *trial) {
  double least = trial->median_ns;
  for (uint32_t i = 0; i < trial->sample_count; i++)
    least = fmin(least, (double)trial->samples_ns[i]);
  return least;
}

/* What else the machine does only ever makes a kernel slower, so its time is its least sample. A
 * machine that has become slower itself shows in the incumbent, whose time is `base_ns`: that is
 * made up for, within bounds, as it may also have been disturbed all the time. The database
 * ranks its rows by the same figure. */
static double time_of(const tsr_trial *trial, double base_ns) {
  const double slower = base_ns > 0 && trial->beside_ns > base_ns ? trial->beside_ns / base_ns : 1;
  return least_sample(trial) / fmin(slower, most_drift);
}

static tsr_status add_row(tuning *t, const work *w, const tsr_trial *trial, double base_ns) {
  const char *schedule = tsr_task_schedule_text(&trial->schedule, t->allocator, &t->scratch);
  if (schedule == NULL)
    return no_memory(t->diag);
  const bool right = trial->status == TSR_DB_RIGHT;
  const tsr_db_record record = {
      .key = w->key,
      .origin = t->options->origin,
      .schedule = schedule,
      .status = trial->status,
      .message = right ? "" : trial->message,
      .error = trial->error,
      .samples_ns = trial->samples_ns,
      .sample_count = trial->sample_count,
      .adjusted_ns = right ? (int64_t)fmax(rint(time_of(trial, base_ns)), 1) : 0,
      .predicted_ns = trial->predicted_ns > 0 && trial->predicted_ns < 1e15
                          ? (int64_t)llround(trial->predicted_ns)
                          : -1,
      .time_s = (int64_t)time(NULL)};
  return tsr_db_add(t->db, &record, t->diag);
}

static tsr_status add_rows(tuning *t, const work *w, const tsr_trial *trials, uint32_t count,
                           double base_ns) {
  TSR_TRY(tsr_db_begin(t->db, t->diag));
  tsr_status status = TSR_OK;
  for (uint32_t i = 0; i < count && status == TSR_OK; i++) {
    if (trials[i].status == TSR_DB_PREDICTED && t->runs_here)
      continue;
    status = add_row(t, w, &trials[i], base_ns);
    t->rows++;
  }
  if (status == TSR_OK)
    return tsr_db_commit(t->db, t->diag);
  tsr_db_rollback(t->db);
  return status;
}

static tsr_status tell_all(tuning *t, work *w, const tsr_trial *trials, uint32_t count,
                           double base_ns) {
  for (uint32_t i = 0; i < count; i++) {
    const tsr_trial *trial = &trials[i];
    if (trial->status == TSR_DB_PREDICTED)
      continue;
    const double ns = trial->status == TSR_DB_RIGHT ? time_of(trial, base_ns) : 0;
    TSR_TRY(tsr_search_tell(w->search, &trial->schedule, trial->status, ns, t->diag));
    if (ns > 0)
      start_work(w, &trial->schedule, ns);
    w->trials++;
    t->trials++;
  }
  return TSR_OK;
}

static tsr_status measure_some(tuning *t, work *w, tsr_trial *trials, uint32_t count,
                               tsr_trial *incumbent) {
  return tsr_measure(w->task, t->target, &t->options->measure, trials, count, incumbent,
                     &t->scratch, should_stop, t, t->diag);
}

/* The first trials of a task: in turns with the first of them, which is the default as a rule. */
static tsr_status measure_first(tuning *t, work *w, tsr_trial *trials, uint32_t count) {
  if (count > 1)
    TSR_TRY(measure_some(t, w, trials + 1, count - 1, &trials[0]));
  const tsr_db_status status = trials[0].status;
  if (trials[0].sample_count == 0 && (status == TSR_DB_RIGHT || status == TSR_DB_PREDICTED))
    TSR_TRY(measure_some(t, w, trials, 1, NULL));
  double base_ns = 0;
  if (trials[0].status == TSR_DB_RIGHT) {
    base_ns = trials[0].beside_ns = least_sample(&trials[0]);
    if (w->known_ns > 0 && tsr_schedule_equal(&trials[0].schedule, &w->start))
      base_ns = fmin(base_ns, w->known_ns);
  }
  TSR_TRY(add_rows(t, w, trials, count, base_ns));
  return tell_all(t, w, trials, count, base_ns);
}

/* What trials were measured in turns with gets a further row where its time is less now: by that
 * figure its others would rank behind those that are told with the new one. */
static tsr_status keep_incumbent(tuning *t, work *w, const tsr_trial *incumbent,
                                 double *inout_best_ns) {
  if (incumbent->status != TSR_DB_RIGHT || incumbent->sample_count == 0 ||
      least_sample(incumbent) >= *inout_best_ns)
    return TSR_OK;
  *inout_best_ns = least_sample(incumbent);
  tsr_search_correct(w->search, &incumbent->schedule, *inout_best_ns);
  return add_rows(t, w, incumbent, 1, 0);
}

/* Later ones: in turns with the best so far. */
static tsr_status measure_more(tuning *t, work *w, tsr_trial *trials, uint32_t count) {
  double best_ns;
  tsr_trial incumbent = {.predicted_ns = -1};
  incumbent.schedule = *tsr_search_best(w->search, &best_ns);
  TSR_TRY(measure_some(t, w, trials, count, &incumbent));
  TSR_TRY(keep_incumbent(t, w, &incumbent, &best_ns));
  TSR_TRY(add_rows(t, w, trials, count, best_ns));
  return tell_all(t, w, trials, count, best_ns);
}

static tsr_status measure(tuning *t, work *w, tsr_trial *trials, uint32_t count) {
  double best;
  if (tsr_search_best(w->search, &best) == NULL)
    TSR_TRY(measure_first(t, w, trials, count));
  else
    TSR_TRY(measure_more(t, w, trials, count));
  if (tsr_search_best(w->search, &best) != NULL)
    w->best_ns = best;
  return tsr_learner_update(t->learner, t->diag);
}

/* For a processor that is not this one, what can be known is whether code can be made. */
static tsr_status build_only(tuning *t, work *w, tsr_trial *trials, uint32_t count) {
  for (uint32_t i = 0; i < count && !should_stop(t); i++) {
    tsr_diag why = {0};
    void *bytes;
    size_t size;
    const tsr_status status =
        tsr_task_build(w->task, t->target, &trials[i].schedule, t->allocator, &why, &bytes, &size);
    if (bytes != NULL)
      t->allocator->release(t->allocator->context, bytes, size);
    if (status == TSR_ERR_OUT_OF_MEMORY)
      return no_memory(t->diag);
    trials[i].status = status == TSR_OK ? TSR_DB_PREDICTED : TSR_DB_REFUSED;
    snprintf(trials[i].message, sizeof trials[i].message, "%.199s", why.message);
  }
  return TSR_OK;
}

/* Without a device: does it compile, and does the compiler's report let it through? */
static tsr_status predict(tuning *t, work *w, tsr_trial *trials, uint32_t count) {
  if (t->target->kind == TSR_TARGET_CUDA)
    TSR_TRY(measure_some(t, w, trials, count, NULL));
  else
    TSR_TRY(build_only(t, w, trials, count));
  if (should_stop(t)) /* before all were built: which of them were, nobody knows */
    return TSR_OK;
  for (uint32_t i = 0; i < count; i++) {
    const double ns = trials[i].predicted_ns;
    w->trials++;
    t->trials++;
    if (trials[i].status != TSR_DB_PREDICTED || !(ns > 0))
      continue;
    w->first_ns =
        w->first_ns == 0 || tsr_schedule_equal(&trials[i].schedule, &w->start) ? ns : w->first_ns;
    w->best_ns = w->best_ns == 0 || ns < w->best_ns ? ns : w->best_ns;
  }
  w->exhausted = w->exhausted || w->trials >= PREDICTIONS;
  return add_rows(t, w, trials, count, 0);
}

/* A kernel that cannot be measured (its reference takes too long) is no reason to stop with others.
 */
static tsr_status pass_over(tuning *t, work *w, tsr_status status) {
  if (status != TSR_ERR_LIMIT && status != TSR_ERR_INTERNAL && status != TSR_ERR_UNSUPPORTED)
    return status;
  snprintf(w->message, sizeof w->message, "%.199s", t->diag->message);
  tsr_diag_clear(t->diag);
  w->exhausted = true;
  return TSR_OK;
}

static tsr_status run_batch(tuning *t, work *w, uint32_t most) {
  tsr_schedule schedules[BATCH];
  tsr_prediction predictions[BATCH];
  uint32_t count;
  if (t->options->trials > 0 && most > t->options->trials - t->trials)
    most = (uint32_t)(t->options->trials - t->trials);
  TSR_TRY(tsr_search_propose(w->search, most, schedules, predictions, &count, t->diag));
  w->exhausted = count < most;
  w->started = w->started || count == 0;
  if (count == 0)
    return TSR_OK;
  tsr_trial *trials = tsr_arena_alloc_array(&t->scratch, count, sizeof *trials);
  if (trials == NULL)
    return no_memory(t->diag);
  for (uint32_t i = 0; i < count; i++) {
    trials[i].schedule = schedules[i];
    trials[i].predicted_ns = isfinite(predictions[i].ns) ? predictions[i].ns : -1;
    trials[i].status = TSR_DB_PREDICTED;
    trials[i].error = -1;
  }
  const uint64_t before = w->trials;
  const tsr_status status =
      pass_over(t, w, t->runs_here ? measure(t, w, trials, count) : predict(t, w, trials, count));
  w->started = w->started || w->trials > before;
  w->exhausted = w->exhausted || w->trials == before;
  tsr_arena_reset(&t->scratch);
  show(t);
  return status;
}

/* --- which task --- */

static void share_time(tuning *t) {
  double sum = 0;
  for (uint32_t i = 0; i < t->tasks->count; i++)
    sum += t->works[i].task->times * t->works[i].best_ns;
  for (uint32_t i = 0; i < t->tasks->count && sum > 0; i++)
    t->works[i].task->share = t->works[i].task->times * t->works[i].best_ns / sum;
}

static double hope_of(tuning *t, work *w) {
  if (w->exhausted)
    return 0;
  if (!t->runs_here || w->best_ns == 0)
    return w->trials < VAIN ? vain_hope : 0;
  return tsr_search_expected_gain(w->search, BATCH);
}

static work *greatest_unstarted(tuning *t) {
  work *found = NULL;
  for (uint32_t i = 0; i < t->tasks->count; i++) {
    work *w = &t->works[i];
    if (!w->started && !w->exhausted && (found == NULL || w->task->share > found->task->share))
      found = w;
  }
  return found;
}

/* NULL: nothing is to be gained any more. */
static work *most_promising(tuning *t) {
  work *found = NULL;
  double sum = 0, most = 0;
  share_time(t);
  for (uint32_t i = 0; i < t->tasks->count; i++) {
    work *w = &t->works[i];
    const double gain = w->task->share * hope_of(t, w);
    sum += gain;
    if (gain > most) {
      most = gain;
      found = w;
    }
  }
  if (t->runs_here && sum < least_gain)
    found = NULL;
  return found;
}

static tsr_status run(tuning *t) {
  const uint64_t each =
      t->options->trials == 0 ? FIRST_BATCH : t->options->trials / (t->tasks->count + 1);
  const uint32_t first = each < 1 ? 1 : each > FIRST_BATCH ? FIRST_BATCH : (uint32_t)each;
  while (!is_over(t)) {
    work *w = greatest_unstarted(t);
    const bool fresh = w != NULL;
    if (!fresh)
      w = most_promising(t);
    if (w == NULL) {
      t->spent = true;
      break;
    }
    t->now = (uint32_t)(w - t->works);
    if (fresh)
      TSR_TRY(seed_relatives(t, w));
    TSR_TRY(run_batch(t, w, fresh ? first : BATCH));
  }
  return TSR_OK;
}

/* The default and what the model liked best were measured long ago: both once more in turns with
 * what has won, so that what is said of the gain, and of the model, is of one and the same time. */
static tsr_status compare_with_best(tuning *t, work *w) {
  enum { MOST = 2 };
  double best_ns;
  const tsr_schedule *best = tsr_search_best(w->search, &best_ns);
  const tsr_schedule *first = tsr_search_model_best(w->search);
  tsr_trial trials[MOST], incumbent = {.predicted_ns = -1};
  uint32_t count = 0;
  if (best == NULL || w->task->share < least_compared)
    return TSR_OK;
  incumbent.schedule = *best;
  if (!tsr_schedule_equal(best, &w->start))
    trials[count++] = (tsr_trial){.schedule = w->start, .predicted_ns = -1};
  if (!tsr_schedule_equal(first, best) && !tsr_schedule_equal(first, &w->start))
    trials[count++] = (tsr_trial){.schedule = *first, .predicted_ns = -1};
  if (count == 0)
    return TSR_OK;
  TSR_TRY(measure_some(t, w, trials, count, &incumbent));
  TSR_TRY(keep_incumbent(t, w, &incumbent, &best_ns));
  TSR_TRY(add_rows(t, w, trials, count, best_ns));
  for (uint32_t i = 0; i < count; i++) {
    if (trials[i].status != TSR_DB_RIGHT)
      continue;
    const double ns = time_of(&trials[i], best_ns);
    if (tsr_schedule_equal(&trials[i].schedule, &w->start))
      w->first_ns = fmin(w->first_ns, ns);
    tsr_search_correct(w->search, &trials[i].schedule, ns);
  }
  (void)tsr_search_best(w->search, &w->best_ns);
  tsr_arena_reset(&t->scratch);
  return TSR_OK;
}

static tsr_status compare_all(tuning *t) {
  t->comparing = true;
  for (uint32_t i = 0; i < t->tasks->count && t->runs_here && t->trials > 0 && !should_stop(t); i++)
    TSR_TRY(compare_with_best(t, &t->works[i]));
  return TSR_OK;
}

/* --- results --- */

/* Means, weighted by the tasks' shares of the time; a task of one trial tells nothing of ranks. */
static void add_quality(tsr_model_quality *sum, double *weight, const tsr_model_quality *part,
                        double share) {
  if (part->measured < 2)
    return;
  *weight += share;
  sum->measured += part->measured;
  sum->rank_correlation += share * part->rank_correlation;
  sum->top1_regret += share * part->top1_regret;
  sum->top10_regret += share * part->top10_regret;
}

static void end_quality(tsr_model_quality *sum, double weight) {
  const double factor = weight > 0 ? 1 / weight : 0;
  sum->rank_correlation *= factor;
  sum->top1_regret *= factor;
  sum->top10_regret *= factor;
}

static tsr_status report(tuning *t, tsr_tune_result *result, tsr_tune_task *out_tasks) {
  double analytic = 0, corrected = 0;
  share_time(t);
  for (uint32_t i = 0; i < t->tasks->count; i++) {
    const work *w = &t->works[i];
    tsr_search_quality q;
    TSR_TRY(tsr_search_get_quality(w->search, &q, t->diag));
    add_quality(&result->quality.analytic, &analytic, &q.analytic, w->task->share);
    add_quality(&result->quality.corrected, &corrected, &q.corrected, w->task->share);
    result->first_ns += w->task->times * w->first_ns;
    result->best_ns += w->task->times * w->best_ns;
    if (out_tasks != NULL) {
      out_tasks[i] = (tsr_tune_task){w->first_ns, w->best_ns, w->trials, ""};
      memcpy(out_tasks[i].message, w->message, sizeof w->message);
    }
  }
  end_quality(&result->quality.analytic, analytic);
  end_quality(&result->quality.corrected, corrected);
  result->trials = t->trials;
  result->rows = t->rows;
  result->lessons = t->lessons;
  result->predicted = !t->runs_here;
  result->spent = t->spent;
  return TSR_OK;
}

tsr_status tsr_tune(tsr_task_list *tasks, const tsr_target *target, tsr_db *db,
                    const tsr_tune_options *options, const tsr_allocator *allocator, tsr_diag *diag,
                    tsr_tune_result *out_result, tsr_tune_task *out_tasks) {
  tuning t = {.tasks = tasks,
              .target = target,
              .db = db,
              .options = options,
              .allocator = allocator,
              .diag = diag,
              .runs_here =
                  target->kind == TSR_TARGET_CPU && tsr_cpu_isa_host_runs(target->cpu_features),
              .begin_ns = tsr_time_ns()};
  *out_result = (tsr_tune_result){0};
  if (out_tasks != NULL)
    memset(out_tasks, 0, tasks->count * sizeof *out_tasks);
  if (tasks->count == 0)
    return TSR_OK;
  tsr_arena_init(&t.arena, allocator);
  tsr_arena_init(&t.scratch, allocator);
  tsr_status status = start_all(&t);
  if (status == TSR_OK)
    status = run(&t);
  if (status == TSR_OK)
    status = compare_all(&t);
  if (status == TSR_OK)
    status = report(&t, out_result, out_tasks);
  end_all(&t);
  return status;
}
