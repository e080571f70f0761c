#include "frontend/cli/options.h"
#include "frontend/cli/out_file.h"
#include "tuner/database.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

typedef struct action {
  const char *name;
  tsr_db_access access;
  int fewest, most; /* files after the action's name; most 0: any number */
  tsr_status (*run)(tsr_db *db, const tsr_cli_args *args, tsr_diag *diag);
} action;

static tsr_status stats(tsr_db *db, const tsr_cli_args *args, tsr_diag *diag) {
  tsr_db_stats found;
  (void)args;
  TSR_TRY(tsr_db_get_stats(db, &found, diag));
  printf("trials     %" PRIu64 " of %" PRIu64 " keys\nworkloads  %" PRIu64 " with their text\n",
         found.rows, found.keys, found.workloads);
  for (int i = 0; i < TSR_DB_STATUS_COUNT; i++)
    if (found.by_status[i] > 0)
      printf("%-10s %" PRIu64 "\n", tsr_db_status_text((tsr_db_status)i), found.by_status[i]);
  return TSR_OK;
}

/* Texts may come from anybody's database: what a terminal would act on is written out. */
static void put(const char *text) {
  for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
    if (*at == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0) {
      printf("\\x%02x\\x%02x", at[0], at[1]);
      at++;
    } else if (*at < 0x20 || *at == 0x7f) {
      printf("\\x%02x", *at);
    } else {
      putchar(*at);
    }
  }
}

static void put_all(const char *const *texts) {
  for (; *texts != NULL; texts++)
    put(*texts);
}

static bool list_row(void *context, const tsr_db_record *row, int64_t median_ns) {
  char day[32] = "", figure[32] = "-";
  struct tm broken;
  time_t when = (time_t)row->time_s;
  (void)context;
  if (gmtime_r(&when, &broken) != NULL)
    strftime(day, sizeof day, "%Y-%m-%d", &broken);
  if (row->status == TSR_DB_PREDICTED)
    snprintf(figure, sizeof figure, "~%.2f us", (double)row->predicted_ns * 1e-3);
  else if (median_ns >= 0)
    snprintf(figure, sizeof figure, "%.2f us", (double)median_ns * 1e-3);
  printf("%016" PRIx64, row->key.workload);
  put_all((const char *const[]){" [", row->key.dims, "] ", row->key.target, NULL});
  printf(" threads=%u ", row->key.threads);
  put_all((const char *const[]){row->key.mode, "  ", figure, "  ", tsr_db_status_text(row->status),
                                "  ", day, "  ", row->schedule, *row->message != '\0' ? "  " : "",
                                row->message, NULL});
  putchar('\n');
  return true;
}

static tsr_status list(tsr_db *db, const tsr_cli_args *args, tsr_diag *diag) {
  (void)args;
  return tsr_db_each(db, NULL, list_row, NULL, diag);
}

static tsr_status export_text(tsr_db *db, const tsr_cli_args *args, tsr_diag *diag) {
  const char *path = tsr_cli_text(args, TSR_OPTION_OUTPUT, NULL);
  FILE *out = stdout;
  if (path != NULL)
    TSR_TRY(tsr_out_file_open(path, &out, diag));
  tsr_status status = tsr_db_export(db, out, diag);
  if (path != NULL) {
    tsr_status closed = tsr_out_file_close(out, path, diag);
    status = status == TSR_OK ? closed : status;
  }
  return status;
}

static tsr_status import_texts(tsr_db *db, const tsr_cli_args *args, tsr_diag *diag) {
  for (int i = 1; i < args->positional_count; i++) {
    const char *path = args->positional[i];
    uint64_t added;
    FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (in == NULL) {
      tsr_status status = tsr_fail(diag, TSR_ERR_IO, "%s", strerror(errno));
      tsr_diag_set_file(diag, path);
      return status;
    }
    tsr_status status = tsr_db_import(db, in, path, diag, &added);
    if (in != stdin)
      fclose(in);
    TSR_TRY(status);
    printf("%s: %" PRIu64 " new trials\n", path, added);
  }
  return TSR_OK;
}

static tsr_status merge(tsr_db *db, const tsr_cli_args *args, tsr_diag *diag) {
  for (int i = 1; i < args->positional_count; i++) {
    uint64_t added;
    TSR_TRY(tsr_db_merge(db, args->positional[i], diag, &added));
    printf("%s: %" PRIu64 " new trials\n", args->positional[i], added);
  }
  return TSR_OK;
}

static tsr_status prune(tsr_db *db, const tsr_cli_args *args, tsr_diag *diag) {
  uint64_t dropped;
  int64_t keep = tsr_cli_count(args, TSR_OPTION_KEEP, 10);
  TSR_TRY(tsr_db_prune(db, keep > UINT32_MAX ? UINT32_MAX : (uint32_t)keep, diag, &dropped));
  printf("%" PRIu64 " trials dropped\n", dropped);
  return TSR_OK;
}

static tsr_status check(tsr_db *db, const tsr_cli_args *args, tsr_diag *diag) {
  uint64_t rows;
  (void)args;
  TSR_TRY(tsr_db_check(db, diag, &rows));
  printf("%" PRIu64 " trials, all as they were written\n", rows);
  return TSR_OK;
}

static const action actions[] = {
    {"stats", TSR_DB_READ, 0, 0, stats},        {"list", TSR_DB_READ, 0, 0, list},
    {"export", TSR_DB_READ, 0, 0, export_text}, {"import", TSR_DB_WRITE, 1, 99, import_texts},
    {"merge", TSR_DB_WRITE, 1, 99, merge},      {"prune", TSR_DB_WRITE, 0, 0, prune},
    {"check", TSR_DB_READ, 0, 0, check},
};

static const action *find(const char *name) {
  for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
    if (strcmp(actions[i].name, name) == 0)
      return &actions[i];
  return NULL;
}

int tsr_cli_db(const tsr_cli_args *args) {
  tsr_diag diag = {0};
  tsr_db *db;
  const action *wanted = find(args->positional[0]);
  const char *path = tsr_cli_text(args, TSR_OPTION_DB, NULL);
  int files = args->positional_count - 1;
  if (wanted == NULL)
    return tsr_cli_usage(args,
                         "db knows no '%s'; there are stats, list, export, import, merge, "
                         "prune, check",
                         args->positional[0]);
  if (path == NULL)
    return tsr_cli_usage(args, "--db FILE is missing");
  if (files < wanted->fewest)
    return tsr_cli_usage(args, "db %s needs a file", wanted->name);
  if (files > wanted->most)
    return tsr_cli_usage(args, "db %s takes no file '%s'", wanted->name,
                         args->positional[1 + wanted->most]);
  tsr_status status = tsr_db_open(path, wanted->access, tsr_allocator_default(), &diag, &db);
  if (status == TSR_OK) {
    status = wanted->run(db, args, &diag);
    tsr_db_close(db);
  }
  if (status == TSR_OK && (fflush(stdout) != 0 || ferror(stdout) != 0))
    status = tsr_fail(&diag, TSR_ERR_IO, "cannot write: %s", strerror(errno));
  return status == TSR_OK ? TSR_EXIT_FINE : tsr_cli_bad(&diag);
}
