#include "frontend/cli/cuda_probe.h"
#include "frontend/cli/json.h"
#include "frontend/cli/out_file.h"
#include "frontend/cli/session.h"
#include "runtime/clock.h"
#include "runtime/cpu_features.h"
#include "tessera_commit.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { WARM_UP_LEAST = 3, WARM_UP_MOST = 50 };
static const int64_t warm_up_ns = 200 * 1000 * 1000;

typedef struct figures {
  int64_t runs, min_ns, median_ns, p95_ns;
  uint32_t threads;
  char device[128]; /* CUDA: what it ran on, the copies from and to the host included; else "" */
} figures;

static int compare_ns(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* Runs until caches, memory plans and clocks have settled; the first run counts as loading. */
static tsr_status warm_up(tsr_cli_session *session) {
  int64_t begin_ns = tsr_time_ns();
  TSR_TRY(tsr_cli_session_run(session));
  for (int i = 1; i < WARM_UP_MOST && (i < WARM_UP_LEAST || tsr_time_ns() - begin_ns < warm_up_ns);
       i++)
    TSR_TRY(tsr_cli_session_run(session));
  return TSR_OK;
}

static tsr_status measure(tsr_cli_session *session, figures *out_figures) {
  *out_figures = (figures){0};
  int64_t runs = tsr_cli_count(session->args, TSR_OPTION_RUNS, 100);
  if (runs < 1 || runs > 10000000)
    return tsr_fail(&session->diag, TSR_ERR_ARGUMENT, "--runs must lie in 1..10000000");
  int64_t *times_ns = calloc((size_t)runs, sizeof *times_ns);
  if (times_ns == NULL)
    return tsr_fail(&session->diag, TSR_ERR_OUT_OF_MEMORY, "no memory for the samples");
  tsr_status status = warm_up(session);
  for (int64_t i = 0; i < runs && status == TSR_OK; i++) {
    int64_t begin_ns = tsr_time_ns();
    status = tsr_cli_session_run(session);
    times_ns[i] = tsr_time_ns() - begin_ns;
  }
  qsort(times_ns, (size_t)runs, sizeof *times_ns, compare_ns);
  int64_t threads = tsr_cli_count(session->args, TSR_OPTION_THREADS, 0);
  *out_figures = (figures){
      .runs = runs,
      .min_ns = times_ns[0],
      .median_ns =
          runs % 2 == 1 ? times_ns[runs / 2] : (times_ns[runs / 2 - 1] + times_ns[runs / 2]) / 2,
      .p95_ns = times_ns[(runs * 95 + 99) / 100 - 1],
      .threads = threads > 0 ? (uint32_t)threads : tsr_cpu_count(),
  };
  free(times_ns);
  return status;
}

/* Sessions run on the first device. */
static void name_device(const tsr_cli_session *session, figures *f) {
  tsr_cuda_probe probe;
  if (strncmp(session->info.target, "cuda", 4) != 0)
    return;
  tsr_cuda_probe_run(&probe);
  if (probe.device_count > 0)
    snprintf(f->device, sizeof f->device, "%s", probe.devices[0].name);
}

static void put_json(FILE *stream, const tsr_cli_session *session, const figures *f) {
  tsr_exec_stats stats;
  tsr_exec_get_stats(session->exec, &stats);
  fputs("{\"model\": ", stream);
  tsr_json_put_text(stream, session->path);
  fputs(", \"target\": ", stream);
  tsr_json_put_text(stream, session->info.target);
  if (*f->device != '\0') {
    fputs(", \"device\": ", stream);
    tsr_json_put_text(stream, f->device);
  }
  fprintf(stream, ", \"threads\": %" PRIu32 ", \"precision\": ", f->threads);
  tsr_json_put_text(stream, session->info.precision);
  fprintf(stream,
          ", \"kernels\": %" PRIu32 ", \"launches\": %" PRIu64 ", \"arena_bytes\": %" PRIu64
          ", \"weight_bytes\": %" PRIu64 ", \"load_ns\": %" PRId64 ", \"runs\": %" PRId64
          ", \"latency_ns\": {\"min\": %" PRId64 ", \"median\": %" PRId64 ", \"p95\": %" PRId64
          "}, \"commit\": ",
          session->info.kernel_count, stats.launches, stats.arena_bytes, session->info.weight_bytes,
          session->load_ns, f->runs, f->min_ns, f->median_ns, f->p95_ns);
  tsr_json_put_text(stream, TESSERA_COMMIT);
  fputs("}\n", stream);
}

static tsr_status write_json(tsr_cli_session *session, const char *path, const figures *f) {
  if (strcmp(path, "-") == 0) {
    put_json(stdout, session, f);
    return TSR_OK;
  }
  FILE *file;
  TSR_TRY(tsr_out_file_open(path, &file, &session->diag));
  put_json(file, session, f);
  return tsr_out_file_close(file, path, &session->diag);
}

static tsr_status bench(tsr_cli_session *session) {
  figures f;
  TSR_TRY(measure(session, &f));
  name_device(session, &f);
  const char *json = tsr_cli_text(session->args, TSR_OPTION_JSON, NULL);
  if (json != NULL)
    TSR_TRY(write_json(session, json, &f));
  if (json == NULL || strcmp(json, "-") != 0)
    printf("%s: median %.3f ms, min %.3f ms, p95 %.3f ms, %" PRId64 " runs, %" PRIu32
           " threads, %s%s%s; load %.3f ms\n",
           session->path, (double)f.median_ns * 1e-6, (double)f.min_ns * 1e-6,
           (double)f.p95_ns * 1e-6, f.runs, f.threads, session->info.target,
           *f.device != '\0' ? " on " : "", f.device, (double)session->load_ns * 1e-6);
  return TSR_OK;
}

int tsr_cli_bench(const tsr_cli_args *args) {
  tsr_cli_session session;
  tsr_status status = tsr_cli_session_open(&session, args);
  if (status == TSR_OK)
    status = bench(&session);
  int result = status == TSR_OK ? TSR_EXIT_FINE : tsr_cli_bad(&session.diag);
  tsr_cli_session_close(&session);
  return result;
}
