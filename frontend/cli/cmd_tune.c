#include "frontend/cli/json.h"
#include "frontend/cli/model.h"
#include "frontend/cli/out_file.h"
#include "frontend/cli/progress.h"
#include "runtime/arena.h"
#include "tessera_commit.h"
#include "tuner/ceilings.h"
#include "tuner/process.h"
#include "tuner/tune.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST_POINTS = 4096, NAME_COLUMNS = 36 };

typedef struct point {
  double seconds, model_ns;
  uint64_t trials;
} point;

typedef struct session {
  const tsr_cli_args *args;
  tsr_cli_compile_options compile;
  tsr_compilation *compilation;
  const tsr_target *target;
  tsr_task_list tasks;
  tsr_db *db;
  const char *device; /* as it stands in the database's keys */
  tsr_arena arena;
  tsr_progress progress;
  tsr_tune_result result;
  tsr_tune_task *of_task;
  point *points; /* of the curve: one whenever the model's time changed */
  uint32_t point_count;
  double elapsed_s;
  sigset_t signals; /* that end the tuning, blocked */
  bool interrupted;
  tsr_diag diag;
} session;

/* --- while it runs --- */

/* A signal waits until it is asked for. The next one of its kind ends the process. */
static bool is_interrupted(void *context) {
  session *s = context;
  const struct timespec now = {0, 0};
  if (!s->interrupted && sigtimedwait(&s->signals, NULL, &now) > 0) {
    s->interrupted = true;
    sigprocmask(SIG_UNBLOCK, &s->signals, NULL);
  }
  return s->interrupted;
}

static void keep_point(session *s, const tsr_tune_progress *p) {
  if (!(p->model_ns > 0) || s->point_count == MOST_POINTS)
    return;
  const point *last = s->point_count > 0 ? &s->points[s->point_count - 1] : NULL;
  if (last != NULL && last->model_ns == p->model_ns)
    return;
  s->points[s->point_count++] = (point){p->elapsed_s, p->model_ns, p->trials};
}

/* "4:05"; a dash where it is unknown. */
static void put_left(char *out, size_t size, double left_s) {
  const int64_t left = left_s < 0 ? -1 : (int64_t)ceil(fmin(left_s, 1e9));
  if (left < 0)
    snprintf(out, size, "-");
  else
    snprintf(out, size, "%" PRId64 ":%02" PRId64, left / 60, left % 60);
}

/* A time in the unit that suits it. */
static void put_time(char *out, size_t size, double ns) {
  if (ns < 1e6)
    snprintf(out, size, "%.2f us", ns * 1e-3);
  else
    snprintf(out, size, "%.3f ms", ns * 1e-6);
}

static void take_progress(void *context, const tsr_tune_progress *p) {
  session *s = context;
  char best[64], left[32], text[256], figure[32];
  s->elapsed_s = p->elapsed_s;
  keep_point(s, p);
  put_left(left, sizeof left, p->left_s);
  put_time(figure, sizeof figure, p->model_ns);
  if (p->model_ns > 0)
    snprintf(best, sizeof best, "best %s (%.2fx)", figure, p->first_ns / p->model_ns);
  else
    snprintf(best, sizeof best, "task %u of %u", p->started + 1, p->task_count);
  snprintf(text, sizeof text, "%s, %" PRIu64 " trials, %.1f/s, left %s", best, p->trials,
           p->elapsed_s > 0 ? (double)p->trials / p->elapsed_s : 0, left);
  const double whole = p->left_s < 0 ? 0 : p->elapsed_s + p->left_s;
  tsr_progress_show(&s->progress, whole > 0 ? p->elapsed_s / whole : 0, text);
}

/* --- before --- */

static tsr_status open_all(session *s) {
  const tsr_allocator *allocator = tsr_allocator_default();
  const tsr_model_source source = {.path = s->args->positional[0]};
  bool emulated;
  TSR_TRY(tsr_cli_compile_options_begin(s->args, &s->compile, &s->diag));
  if (s->compile.options.target_count > 1)
    return tsr_fail(&s->diag, TSR_ERR_ARGUMENT, "a model is tuned for one --target at a time");
  TSR_TRY(tsr_pipeline_blocks(&source, &s->compile.options, allocator, &s->diag, &s->compilation));
  s->target = tsr_compilation_target(s->compilation, &emulated);
  if (emulated)
    return tsr_fail(&s->diag, TSR_ERR_ARGUMENT, "the device of the tests has no times to tune for");
  const uint32_t parts = tsr_compilation_part_count(s->compilation);
  const tsr_ir **irs = tsr_arena_alloc_array(&s->arena, parts, sizeof *irs);
  s->points = tsr_arena_alloc_array(&s->arena, MOST_POINTS, sizeof *s->points);
  if (irs == NULL || s->points == NULL)
    return tsr_fail(&s->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  for (uint32_t i = 0; i < parts; i++)
    irs[i] = tsr_compilation_part(s->compilation, i);
  tsr_status status = tsr_tasks_collect(irs, parts, s->target, allocator, &s->diag, &s->tasks);
  if (status != TSR_OK) {
    tsr_diag_set_file(&s->diag, source.path);
    return status;
  }
  tsr_db_key key;
  s->of_task = tsr_arena_alloc_array(&s->arena, s->tasks.count, sizeof *s->of_task);
  if (s->of_task == NULL ||
      (s->tasks.count > 0 && tsr_task_key(s->tasks.tasks[0].ir, s->tasks.tasks[0].block, s->target,
                                          "warm", &s->arena, &key) != TSR_OK))
    return tsr_fail(&s->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  s->device = s->tasks.count > 0 ? key.device : "";
  return tsr_db_open(tsr_cli_text(s->args, TSR_OPTION_DB, NULL), TSR_DB_WRITE, allocator, &s->diag,
                     &s->db);
}

static void close_all(session *s) {
  tsr_db_close(s->db);
  tsr_tasks_release(&s->tasks, tsr_allocator_default());
  tsr_compilation_destroy(s->compilation);
  tsr_cli_compile_options_end(&s->compile);
  tsr_arena_reset(&s->arena);
}

/* What this machine reaches now, for the model's rates and beside each row. */
static tsr_status probe_ceilings(session *s, tsr_db_origin *inout) {
  const double seconds = 0.5;
  tsr_ceiling_figure figures[TSR_CEILING_COUNT];
  char *text = tsr_arena_alloc(&s->arena, TSR_CEILINGS_TEXT);
  if (text == NULL)
    return tsr_fail(&s->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  if (s->target->kind != TSR_TARGET_CPU)
    return TSR_OK;
  int lock;
  TSR_TRY(tsr_lock_open(NULL, &s->diag, &lock));
  if (!tsr_lock_take(lock, TSR_LOCK_MEASURE, is_interrupted, s)) {
    close(lock);
    return TSR_OK;
  }
  const tsr_status status =
      tsr_ceilings_measure(s->target->threads, seconds, tsr_allocator_default(), &s->diag, figures);
  close(lock);
  TSR_TRY(status);
  tsr_ceilings_text(figures, s->target->threads, text);
  inout->ceilings = text;
  return TSR_OK;
}

static tsr_status tune(session *s) {
  tsr_tune_options options = {
      .trials = (uint64_t)tsr_cli_count(s->args, TSR_OPTION_TRIALS, 0),
      .seconds = (double)tsr_cli_count(s->args, TSR_OPTION_TIME, 0),
      .resume = tsr_cli_has(s->args, TSR_OPTION_RESUME),
      .no_analytic = tsr_cli_has(s->args, TSR_OPTION_NO_ANALYTIC),
      .no_learned = tsr_cli_has(s->args, TSR_OPTION_NO_LEARNED),
      .seed = (uint64_t)tsr_cli_count(s->args, TSR_OPTION_SEED, 1),
      .measure = {.threads = s->target->threads,
                  .jobs = tsr_cpu_count(),
                  .cold = tsr_cli_has(s->args, TSR_OPTION_COLD)},
      .progress = take_progress,
      .progress_context = s,
      .stop = is_interrupted,
      .stop_context = s,
  };
  if (tsr_task_origin(s->target, tsr_allocator_default(), &s->arena, &options.origin) != TSR_OK)
    return tsr_fail(&s->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  options.origin.commit = TESSERA_COMMIT;
  TSR_TRY(probe_ceilings(s, &options.origin));
  tsr_progress_begin(&s->progress, s->args, "tune", 0);
  const tsr_status status = tsr_tune(&s->tasks, s->target, s->db, &options, tsr_allocator_default(),
                                     &s->diag, &s->result, s->of_task);
  tsr_progress_clear(&s->progress);
  return status;
}

/* --- after --- */

/* One trial says nothing of ranks, and a model that is off has none. */
static void put_json_quality(FILE *out, const tsr_model_quality *q) {
  if (q->measured < 2)
    fputs("\"rank_correlation\": null, \"top1_regret\": null, \"top10_regret\": null", out);
  else
    fprintf(out, "\"rank_correlation\": %.4f, \"top1_regret\": %.4f, \"top10_regret\": %.4f",
            q->rank_correlation, q->top1_regret, q->top10_regret);
}

static void put_json(FILE *out, const session *s) {
  const tsr_tune_result *r = &s->result;
  char date[32];
  const time_t now = time(NULL);
  struct tm broken;
  strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &broken));
  fputs("{\"kind\": \"tuning\", \"model\": ", out);
  tsr_json_put_text(out, s->args->positional[0]);
  fputs(", \"device\": ", out);
  tsr_json_put_text(out, s->device);
  fputs(", \"target\": ", out);
  tsr_json_put_text(out, s->target->name);
  fprintf(out, ", \"threads\": %u, \"precision\": ", s->target->threads);
  tsr_json_put_text(out, tsr_cli_text(s->args, TSR_OPTION_PRECISION, "f32"));
  fprintf(out,
          ", \"predicted\": %s, \"trials\": %" PRIu64 ", \"rows\": %" PRIu64
          ", \"seconds\": %.3f, \"first_ns\": %.0f, "
          "\"best_ns\": %.0f, ",
          r->predicted ? "true" : "false", r->trials, r->rows, s->elapsed_s, r->first_ns,
          r->best_ns);
  put_json_quality(out, &r->quality.corrected);
  fputs(", \"analytic\": {", out);
  put_json_quality(out, &r->quality.analytic);
  fputs("}, \"points\": [", out);
  /* What it was by default is where the curve begins. */
  if (r->first_ns > 0)
    fprintf(out, "[0, 0, %.0f]", r->first_ns);
  for (uint32_t i = 0; i < s->point_count; i++)
    fprintf(out, "%s[%.3f, %" PRIu64 ", %.0f]", i == 0 && !(r->first_ns > 0) ? "" : ", ",
            s->points[i].seconds, s->points[i].trials, s->points[i].model_ns);
  fputs("], \"tasks\": [", out);
  for (uint32_t i = 0; i < s->tasks.count; i++) {
    fputs(i == 0 ? "{\"name\": " : ", {\"name\": ", out);
    tsr_json_put_text(out, s->tasks.tasks[i].name);
    fprintf(out,
            ", \"workload\": \"%016" PRIx64 "\", \"times\": %.0f, \"first_ns\": %.0f, "
            "\"best_ns\": %.0f, \"trials\": %" PRIu64 ", \"message\": ",
            s->tasks.tasks[i].workload, s->tasks.tasks[i].times, s->of_task[i].first_ns,
            s->of_task[i].best_ns, s->of_task[i].trials);
    tsr_json_put_text(out, s->of_task[i].message);
    fputs("}", out);
  }
  fprintf(out, "], \"procs\": %u, \"date\": \"%s\", \"commit\": ", s->tasks.procs, date);
  tsr_json_put_text(out, TESSERA_COMMIT);
  fputs("}\n", out);
}

static tsr_status write_json(session *s, const char *path) {
  FILE *file;
  if (strcmp(path, "-") == 0) {
    put_json(stdout, s);
    return TSR_OK;
  }
  TSR_TRY(tsr_out_file_open(path, &file, &s->diag));
  put_json(file, s);
  return tsr_out_file_close(file, path, &s->diag);
}

/* A name may be of many nodes: its start, and dots where it goes on. */
static void put_name(const char *name) {
  const size_t length = strlen(name);
  if (length <= NAME_COLUMNS)
    printf("%-*s", NAME_COLUMNS, *name == '\0' ? "(no node)" : name);
  else
    printf("%.*s..", NAME_COLUMNS - 2, name);
}

static void put_figure(double ns) {
  if (ns > 0)
    printf("  %11.2f", ns * 1e-3);
  else
    printf("  %11s", "-");
}

static void put_task(const tsr_task *task, const tsr_tune_task *found) {
  put_name(task->name);
  printf("  %5.0f", task->times);
  put_figure(found->first_ns);
  put_figure(found->best_ns);
  if (found->first_ns > 0 && found->best_ns > 0)
    printf("  %6.2fx", found->first_ns / found->best_ns);
  else
    printf("  %7s", "-");
  printf("  %6" PRIu64 "\n", found->trials);
  if (found->message[0] != '\0')
    printf("  cannot be measured: %s\n", found->message);
}

static void put_quality(const char *name, const tsr_model_quality *q) {
  if (q->measured < 2)
    return;
  printf("%-17s rank correlation %.3f, top-1 regret %.1f %%, top-10 regret %.1f %% of %u trials\n",
         name, q->rank_correlation, 100 * q->top1_regret, 100 * q->top10_regret, q->measured);
}

/* Open sizes, and what stands for them: what is best there need not be elsewhere. */
static void put_dims(const session *s) {
  bool any = false;
  const tsr_ir *ir = tsr_compilation_part(s->compilation, 0);
  for (tsr_dim dim = 1; dim <= tsr_dim_count(ir); dim++) {
    const tsr_dim_data *data = tsr_dim_get(ir, dim);
    if (data->from_device || data->lo == data->hi)
      continue;
    printf("%s%s = %" PRId64, any ? ", " : "measured where ", data->name, data->hint);
    any = true;
  }
  if (any)
    puts("; --dim NAME=N, here and for 'compile', for a size that matters more");
}

static void put_table(const session *s) {
  char best[32], first[32];
  const tsr_tune_result *r = &s->result;
  printf("%-*s  %5s  %11s  %11s  %7s  %6s\n", NAME_COLUMNS, "kernel", "times", "default us",
         "best us", "gain", "trials");
  for (uint32_t i = 0; i < s->tasks.count; i++)
    put_task(&s->tasks.tasks[i], &s->of_task[i]);
  if (s->tasks.procs > 0)
    printf("%u more: programs for single elements (sort, scan ..), which are not tuned\n",
           s->tasks.procs);
  put_time(best, sizeof best, r->best_ns);
  put_time(first, sizeof first, r->first_ns);
  printf("%s: kernels %s, by default %s; %" PRIu64 " trials in %.1f s%s%s\n",
         s->args->positional[0], best, first, r->trials, s->elapsed_s,
         r->predicted ? "; predicted, this machine cannot run them" : "",
         r->spent && !r->predicted ? "; nothing more is expected to gain" : "");
  if (!tsr_cli_has(s->args, TSR_OPTION_NO_ANALYTIC))
    put_quality("analytic model:", &r->quality.analytic);
  if (!tsr_cli_has(s->args, TSR_OPTION_NO_LEARNED))
    put_quality("with correction:", &r->quality.corrected);
  if (r->lessons > 0)
    printf("the correction started from %u trials of other kernels in the database\n", r->lessons);
  put_dims(s);
}

static tsr_status run(session *s) {
  TSR_TRY(open_all(s));
  if (s->tasks.count == 0) {
    printf("%s: no kernel of it has a schedule to choose\n", s->args->positional[0]);
    return TSR_OK;
  }
  TSR_TRY(tune(s));
  const char *json = tsr_cli_text(s->args, TSR_OPTION_JSON, NULL);
  if (json == NULL || strcmp(json, "-") != 0)
    put_table(s);
  return json != NULL ? write_json(s, json) : TSR_OK;
}

int tsr_cli_tune(const tsr_cli_args *args) {
  session s = {.args = args};
  if (tsr_cli_text(args, TSR_OPTION_DB, NULL) == NULL)
    return tsr_cli_usage(args, "--db FILE is missing");
  tsr_arena_init(&s.arena, tsr_allocator_default());
  sigemptyset(&s.signals);
  sigaddset(&s.signals, SIGINT);
  sigaddset(&s.signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &s.signals, NULL);
  const tsr_status status = run(&s);
  sigprocmask(SIG_UNBLOCK, &s.signals, NULL);
  const int exit_status = status == TSR_OK ? TSR_EXIT_FINE : tsr_cli_bad(&s.diag);
  close_all(&s);
  return exit_status;
}
