#include "tuner/database.h"
#include "tuner/database_row.h"
#include "tuner/schema.h"
#include <inttypes.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

enum { WAIT_MS = 60000, PAUSE_MS = 5 };

struct tsr_db {
  const tsr_allocator *allocator;
  sqlite3 *handle;
  char path[512];
};

const char *tsr_db_status_text(tsr_db_status status) {
  static const char *const texts[] = {
#define TEXT(name, text, meaning) text,
      TSR_DB_STATUS_LIST(TEXT)
#undef TEXT
  };
  return (unsigned)status < TSR_DB_STATUS_COUNT ? texts[status] : "unknown";
}

static tsr_db_status status_of(const char *text) {
  int status = 0;
  while (status < TSR_DB_STATUS_COUNT &&
         strcmp(tsr_db_status_text((tsr_db_status)status), text) != 0)
    status++;
  return (tsr_db_status)status;
}

/* --- SQLite's errors --- */

static tsr_status translate(int code) {
  switch (code & 0xff) {
  case SQLITE_NOMEM:
    return TSR_ERR_OUT_OF_MEMORY;
  case SQLITE_NOTADB:
    return TSR_ERR_FORMAT;
  case SQLITE_CORRUPT:
    return TSR_ERR_CHECKSUM;
  default:
    return TSR_ERR_IO;
  }
}

static tsr_status failed(tsr_db *db, int code, tsr_diag *diag) {
  const char *text = (code & 0xff) == SQLITE_FULL ? "the disk is full; nothing was changed"
                                                  : sqlite3_errmsg(db->handle);
  tsr_status status = tsr_fail(diag, translate(code), "%s", text);
  tsr_diag_set_file(diag, db->path);
  return status;
}

static tsr_status wrong(tsr_db *db, tsr_diag *diag, tsr_status status, const char *text) {
  status = tsr_fail(diag, status, "%s", text);
  tsr_diag_set_file(diag, db->path);
  return status;
}

/* SQLite waits for locks itself, but not where a log is begun, recovered or removed. */
static bool again(int code, int *waited_ms) {
  if ((code & 0xff) != SQLITE_BUSY || *waited_ms >= WAIT_MS)
    return false;
  sqlite3_sleep(PAUSE_MS);
  *waited_ms += PAUSE_MS;
  return true;
}

static tsr_status run(tsr_db *db, const char *sql, tsr_diag *diag) {
  int waited_ms = 0, code;
  do
    code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
  while (again(code, &waited_ms));
  return code == SQLITE_OK ? TSR_OK : failed(db, code, diag);
}

/* A statement's first or next row. */
static int step(sqlite3_stmt *statement) {
  int waited_ms = 0, code = sqlite3_step(statement);
  while (again(code, &waited_ms)) {
    sqlite3_reset(statement);
    code = sqlite3_step(statement);
  }
  return code;
}

static tsr_status prepare(tsr_db *db, const char *sql, tsr_diag *diag, sqlite3_stmt **out) {
  int code = sqlite3_prepare_v2(db->handle, sql, -1, out, NULL);
  return code == SQLITE_OK ? TSR_OK : failed(db, code, diag);
}

/* Runs a statement that gives no rows, and ends it. */
static tsr_status finish(tsr_db *db, sqlite3_stmt *statement, tsr_diag *diag) {
  int code = step(statement);
  tsr_status status = code == SQLITE_DONE || code == SQLITE_ROW ? TSR_OK : failed(db, code, diag);
  sqlite3_finalize(statement);
  return status;
}

static tsr_status scalar(tsr_db *db, const char *sql, tsr_diag *diag, int64_t *out) {
  sqlite3_stmt *statement;
  *out = 0;
  TSR_TRY(prepare(db, sql, diag, &statement));
  int code = step(statement);
  if (code == SQLITE_ROW)
    *out = sqlite3_column_int64(statement, 0);
  tsr_status status = code == SQLITE_ROW || code == SQLITE_DONE ? TSR_OK : failed(db, code, diag);
  sqlite3_finalize(statement);
  return status;
}

static void bind_text(sqlite3_stmt *statement, int place, const char *text) {
  sqlite3_bind_text(statement, place, text, -1, SQLITE_TRANSIENT);
}

static void bind_hash(sqlite3_stmt *statement, int place, uint64_t hash) {
  char digits[20];
  snprintf(digits, sizeof digits, "%016" PRIx64, hash);
  bind_text(statement, place, digits);
}

/* --- open and close --- */

static bool is_table(tsr_db *db, const char *name, tsr_diag *diag) {
  int64_t count = 0;
  char sql[128];
  snprintf(sql, sizeof sql, "SELECT count(*) FROM sqlite_master WHERE name = '%s'", name);
  return scalar(db, sql, diag, &count) == TSR_OK && count > 0;
}

/* A file of ours, or an empty one; its version. */
static tsr_status identify(tsr_db *db, tsr_diag *diag, int64_t *out_version) {
  int64_t id, tables;
  TSR_TRY(scalar(db, "PRAGMA user_version", diag, out_version));
  TSR_TRY(scalar(db, "PRAGMA application_id", diag, &id));
  TSR_TRY(scalar(db, "SELECT count(*) FROM sqlite_master", diag, &tables));
  if (id != TSR_DB_APPLICATION_ID && (id != 0 || tables != 0 || *out_version != 0))
    return wrong(db, diag, TSR_ERR_FORMAT, "an SQLite database, but no tuning database");
  if (*out_version > TSR_DB_SCHEMA_VERSION)
    return wrong(db, diag, TSR_ERR_VERSION, "written by a newer version of Tessera");
  return TSR_OK;
}

/* The same at one moment: another process may be making the file ours between two questions. */
static tsr_status identify_at_once(tsr_db *db, tsr_diag *diag, int64_t *out_version) {
  *out_version = 0;
  TSR_TRY(run(db, "BEGIN", diag));
  tsr_status status = identify(db, diag, out_version);
  tsr_db_rollback(db);
  return status;
}

static tsr_status migrate(tsr_db *db, tsr_diag *diag) {
  int64_t version;
  TSR_TRY(run(db, "BEGIN IMMEDIATE", diag));
  tsr_status status = identify(db, diag, &version);
  for (int64_t i = version; status == TSR_OK && i < TSR_DB_SCHEMA_VERSION; i++)
    status = run(db, tsr_db_schema[i], diag);
  char sql[96];
  snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d",
           TSR_DB_APPLICATION_ID, (int)TSR_DB_SCHEMA_VERSION);
  if (status == TSR_OK && version < TSR_DB_SCHEMA_VERSION)
    status = run(db, sql, diag);
  if (status == TSR_OK)
    return run(db, "COMMIT", diag);
  tsr_db_rollback(db);
  return status;
}

/* A reader changes no file: it sees an older one through views. */
static tsr_status check_readable(tsr_db *db, tsr_diag *diag) {
  int64_t version;
  TSR_TRY(identify_at_once(db, diag, &version));
  if (version < 1 || !is_table(db, "trial", diag))
    return wrong(db, diag, TSR_ERR_FORMAT, "no tuning database: it has no trials");
  return version < TSR_DB_SCHEMA_VERSION ? run(db, tsr_db_views[version - 1], diag) : TSR_OK;
}

static tsr_status start(tsr_db *db, tsr_db_access access, tsr_diag *diag) {
  sqlite3_busy_timeout(db->handle, WAIT_MS);
  if (access == TSR_DB_READ)
    return check_readable(db, diag);
  int64_t version;
  TSR_TRY(identify_at_once(db, diag, &version));
  TSR_TRY(run(db, "PRAGMA journal_mode = WAL", diag));
  TSR_TRY(run(db, "PRAGMA synchronous = NORMAL", diag));
  return version < TSR_DB_SCHEMA_VERSION ? migrate(db, diag) : TSR_OK;
}

tsr_status tsr_db_open(const char *path, tsr_db_access access, const tsr_allocator *allocator,
                       tsr_diag *diag, tsr_db **out_db) {
  *out_db = NULL;
  tsr_db *db = allocator->allocate(allocator->context, sizeof *db, 16);
  if (db == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  *db = (tsr_db){.allocator = allocator};
  snprintf(db->path, sizeof db->path, "%s", path);
  int flags =
      access == TSR_DB_READ ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  int code = sqlite3_open_v2(path, &db->handle, flags | SQLITE_OPEN_NOMUTEX, NULL);
  tsr_status status = code == SQLITE_OK ? start(db, access, diag) : failed(db, code, diag);
  if (status != TSR_OK) {
    tsr_db_close(db);
    return status;
  }
  *out_db = db;
  return TSR_OK;
}

void tsr_db_close(tsr_db *db) {
  if (db == NULL)
    return;
  sqlite3_close_v2(db->handle);
  db->allocator->release(db->allocator->context, db, sizeof *db);
}

tsr_status tsr_db_begin(tsr_db *db, tsr_diag *diag) {
  return run(db, "BEGIN IMMEDIATE", diag);
}

tsr_status tsr_db_commit(tsr_db *db, tsr_diag *diag) {
  return run(db, "COMMIT", diag);
}

void tsr_db_rollback(tsr_db *db) {
  if (sqlite3_get_autocommit(db->handle) == 0)
    sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
}

/* --- adding --- */

static tsr_status insert(tsr_db *db, const tsr_db_record *r, const char *id, const char *samples,
                         int64_t median, tsr_diag *diag) {
  sqlite3_stmt *s;
  TSR_TRY(prepare(db,
                  "INSERT OR IGNORE INTO trial (id, workload, workload_version, dims, target, "
                  "device, threads, mode, schedule, status, message, error, samples_ns, median_ns, "
                  "predicted_ns, ceilings, compiler, driver, source, git, time_s, adjusted_ns) "
                  "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                  diag, &s));
  bind_text(s, 1, id);
  bind_hash(s, 2, r->key.workload);
  sqlite3_bind_int64(s, 3, r->key.workload_version);
  bind_text(s, 4, r->key.dims);
  bind_text(s, 5, r->key.target);
  bind_text(s, 6, r->key.device);
  sqlite3_bind_int64(s, 7, r->key.threads);
  bind_text(s, 8, r->key.mode);
  bind_text(s, 9, r->schedule);
  bind_text(s, 10, tsr_db_status_text(r->status));
  bind_text(s, 11, r->message);
  if (r->error >= 0)
    sqlite3_bind_double(s, 12, r->error);
  bind_text(s, 13, samples);
  if (median >= 0)
    sqlite3_bind_int64(s, 14, median);
  if (r->predicted_ns >= 0)
    sqlite3_bind_int64(s, 15, r->predicted_ns);
  bind_text(s, 16, r->origin.ceilings);
  bind_text(s, 17, r->origin.compiler);
  bind_text(s, 18, r->origin.driver);
  bind_text(s, 19, r->origin.source);
  bind_text(s, 20, r->origin.commit);
  sqlite3_bind_int64(s, 21, r->time_s);
  if (r->adjusted_ns > 0)
    sqlite3_bind_int64(s, 22, r->adjusted_ns);
  return finish(db, s, diag);
}

tsr_status tsr_db_add(tsr_db *db, const tsr_db_record *record, tsr_diag *diag) {
  const char *fault = tsr_db_row_fault(record);
  if (fault != NULL)
    return wrong(db, diag, TSR_ERR_ARGUMENT, fault);
  tsr_arena arena;
  tsr_arena_init(&arena, db->allocator);
  const char *line = tsr_db_row_text(record, &arena);
  const char *samples = tsr_db_samples_text(record->samples_ns, record->sample_count, &arena);
  int64_t median = tsr_db_median(record->samples_ns, record->sample_count, &arena);
  tsr_status status;
  if (line == NULL || samples == NULL || (median < 0 && record->sample_count > 0)) {
    status = tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  } else {
    char id[TSR_DB_ID_SIZE];
    tsr_db_row_id(line, id);
    status = insert(db, record, id, samples, median, diag);
  }
  tsr_arena_reset(&arena);
  return status;
}

/* Two texts of one workload cannot both stay: the lesser one does, on every machine. */
tsr_status tsr_db_add_workload(tsr_db *db, uint64_t workload, uint32_t version, const char *text,
                               tsr_diag *diag) {
  sqlite3_stmt *s;
  TSR_TRY(prepare(db,
                  "INSERT INTO workload (hash, version, text) VALUES (?, ?, ?) ON CONFLICT DO "
                  "UPDATE SET text = min(text, excluded.text)",
                  diag, &s));
  bind_hash(s, 1, workload);
  sqlite3_bind_int64(s, 2, version);
  bind_text(s, 3, text);
  return finish(db, s, diag);
}

/* --- reading --- */

#define COLUMNS                                                                                    \
  "workload, workload_version, dims, target, device, threads, mode, schedule, status, message, "   \
  "error, samples_ns, median_ns, predicted_ns, ceilings, compiler, driver, source, git, time_s, "  \
  "id, adjusted_ns"
#define TIME "coalesce(adjusted_ns, median_ns)"
#define EXPORT_ORDER                                                                               \
  "workload, workload_version, target, device, threads, mode, dims, schedule, time_s, id"
#define SAME_KEY                                                                                   \
  "workload = ?1 AND workload_version = ?2 AND dims = ?3 AND target = ?4 AND device = ?5 AND "     \
  "threads = ?6 AND mode = ?7"

static const char *text_at(sqlite3_stmt *s, int column) {
  const char *text = (const char *)sqlite3_column_text(s, column);
  return text == NULL ? "" : text;
}

/* False: a column does not hold what it should. */
static bool read_row(sqlite3_stmt *s, tsr_arena *arena, tsr_db_record *r) {
  char *end;
  const char *hash = text_at(s, 0);
  *r = (tsr_db_record){
      .key = {.workload = strtoull(hash, &end, 16),
              .workload_version = (uint32_t)sqlite3_column_int64(s, 1),
              .threads = (uint32_t)sqlite3_column_int64(s, 5),
              .dims = text_at(s, 2),
              .target = text_at(s, 3),
              .device = text_at(s, 4),
              .mode = text_at(s, 6)},
      .origin = {text_at(s, 14), text_at(s, 15), text_at(s, 16), text_at(s, 17), text_at(s, 18)},
      .schedule = text_at(s, 7),
      .status = status_of(text_at(s, 8)),
      .message = text_at(s, 9),
      .error = sqlite3_column_type(s, 10) == SQLITE_NULL ? -1 : sqlite3_column_double(s, 10),
      .predicted_ns = sqlite3_column_type(s, 13) == SQLITE_NULL ? -1 : sqlite3_column_int64(s, 13),
      .time_s = sqlite3_column_int64(s, 19),
      .adjusted_ns = sqlite3_column_int64(s, 21)};
  return strlen(hash) == 16 && *end == '\0' &&
         tsr_db_samples_parse(text_at(s, 11), arena, &r->samples_ns, &r->sample_count) &&
         tsr_db_row_fault(r) == NULL;
}

static void bind_key(sqlite3_stmt *s, const tsr_db_key *key) {
  bind_hash(s, 1, key->workload);
  sqlite3_bind_int64(s, 2, key->workload_version);
  bind_text(s, 3, key->dims);
  bind_text(s, 4, key->target);
  bind_text(s, 5, key->device);
  sqlite3_bind_int64(s, 6, key->threads);
  bind_text(s, 7, key->mode);
}

/* Shows every row of a prepared SELECT of COLUMNS, and ends it. */
static tsr_status show(tsr_db *db, sqlite3_stmt *s, tsr_db_visit visit, void *context,
                       tsr_diag *diag) {
  tsr_status status = TSR_OK;
  tsr_arena arena;
  int code;
  tsr_arena_init(&arena, db->allocator);
  while ((code = step(s)) == SQLITE_ROW) {
    tsr_db_record record;
    if (!read_row(s, &arena, &record)) {
      char text[96];
      snprintf(text, sizeof text, "trial %s is damaged", text_at(s, 20));
      status = wrong(db, diag, TSR_ERR_CHECKSUM, text);
      break;
    }
    int64_t median = sqlite3_column_type(s, 12) == SQLITE_NULL ? -1 : sqlite3_column_int64(s, 12);
    if (!visit(context, &record, median))
      break;
    tsr_arena_reset(&arena);
  }
  if (code != SQLITE_ROW && code != SQLITE_DONE)
    status = failed(db, code, diag);
  tsr_arena_reset(&arena);
  sqlite3_finalize(s);
  return status;
}

tsr_status tsr_db_best(tsr_db *db, const tsr_db_key *key, const tsr_db_origin *origin,
                       tsr_db_visit visit, void *context, tsr_diag *diag) {
  sqlite3_stmt *s;
  TSR_TRY(prepare(db,
                  "SELECT " COLUMNS " FROM trial WHERE " SAME_KEY " AND status = 'right' "
                  "ORDER BY (compiler = ?8) + (driver = ?9) + (source = ?10) DESC, " TIME ", id",
                  diag, &s));
  bind_key(s, key);
  bind_text(s, 8, origin->compiler);
  bind_text(s, 9, origin->driver);
  bind_text(s, 10, origin->source);
  return show(db, s, visit, context, diag);
}

tsr_status tsr_db_neighbours(tsr_db *db, const tsr_db_key *key, uint32_t limit, tsr_db_visit visit,
                             void *context, tsr_diag *diag) {
  sqlite3_stmt *s;
  TSR_TRY(prepare(db,
                  "SELECT " COLUMNS ", row_number() OVER (PARTITION BY dims, device, threads "
                  "ORDER BY " TIME ", id) AS place FROM trial WHERE workload = ?1 AND "
                  "workload_version = ?2 AND target = ?4 AND mode = ?7 AND status = 'right' AND "
                  "NOT (dims = ?3 AND device = ?5 AND threads = ?6) ORDER BY place, device <> ?5, "
                  "threads <> ?6, " TIME ", id LIMIT ?8",
                  diag, &s));
  bind_key(s, key);
  sqlite3_bind_int64(s, 8, limit);
  return show(db, s, visit, context, diag);
}

tsr_status tsr_db_each(tsr_db *db, const tsr_db_key *key, tsr_db_visit visit, void *context,
                       tsr_diag *diag) {
  sqlite3_stmt *s;
  TSR_TRY(prepare(db,
                  key == NULL ? "SELECT " COLUMNS " FROM trial ORDER BY " EXPORT_ORDER
                              : "SELECT " COLUMNS " FROM trial WHERE " SAME_KEY
                                " ORDER BY " EXPORT_ORDER,
                  diag, &s));
  if (key != NULL)
    bind_key(s, key);
  return show(db, s, visit, context, diag);
}

tsr_status tsr_db_workloads(tsr_db *db, const tsr_db_key *key, uint32_t limit,
                            tsr_db_visit_workload visit, void *context, tsr_diag *diag) {
  sqlite3_stmt *s;
  int code;
  TSR_TRY(prepare(db,
                  "SELECT hash, version, text FROM workload WHERE EXISTS (SELECT 1 FROM trial "
                  "WHERE workload = hash AND workload_version = version AND target = ?4 AND "
                  "mode = ?7 AND device = ?5 AND threads = ?6 AND status = 'right') "
                  "ORDER BY hash, version LIMIT ?8",
                  diag, &s));
  bind_key(s, key);
  sqlite3_bind_int64(s, 8, limit);
  while ((code = step(s)) == SQLITE_ROW) {
    const uint64_t hash = strtoull(text_at(s, 0), NULL, 16);
    if (!visit(context, hash, (uint32_t)sqlite3_column_int64(s, 1), text_at(s, 2)))
      break;
  }
  const tsr_status status =
      code == SQLITE_ROW || code == SQLITE_DONE ? TSR_OK : failed(db, code, diag);
  sqlite3_finalize(s);
  return status;
}

/* --- text --- */

/* Of version 1 is a text whose rows have no "adjusted_ns". */
static const char header[] = "{\"tessera_tuning_database\": 2}";
static const char older_header[] = "{\"tessera_tuning_database\": 1}";

typedef struct writing {
  FILE *out;
  tsr_arena *arena;
  bool complete;
} writing;

static bool write_row(void *context, const tsr_db_record *record, int64_t median_ns) {
  writing *w = context;
  (void)median_ns;
  const char *line = tsr_db_row_text(record, w->arena);
  w->complete = line != NULL && fprintf(w->out, "%s\n", line) > 0;
  tsr_arena_reset(w->arena);
  return w->complete;
}

static tsr_status write_workloads(tsr_db *db, writing *w, tsr_diag *diag) {
  sqlite3_stmt *s;
  int code;
  TSR_TRY(prepare(db, "SELECT hash, version, text FROM workload ORDER BY hash, version", diag, &s));
  while (w->complete && (code = step(s)) == SQLITE_ROW) {
    const char *line =
        tsr_db_workload_text(strtoull(text_at(s, 0), NULL, 16),
                             (uint32_t)sqlite3_column_int64(s, 1), text_at(s, 2), w->arena);
    w->complete = line != NULL && fprintf(w->out, "%s\n", line) > 0;
    tsr_arena_reset(w->arena);
  }
  tsr_status status = !w->complete || code == SQLITE_DONE ? TSR_OK : failed(db, code, diag);
  sqlite3_finalize(s);
  return status;
}

tsr_status tsr_db_export(tsr_db *db, FILE *out, tsr_diag *diag) {
  tsr_arena arena;
  tsr_arena_init(&arena, db->allocator);
  writing w = {.out = out, .arena = &arena, .complete = fprintf(out, "%s\n", header) > 0};
  TSR_TRY(run(db, "BEGIN", diag));
  tsr_status status = write_workloads(db, &w, diag);
  if (status == TSR_OK && w.complete)
    status = tsr_db_each(db, NULL, write_row, &w, diag);
  tsr_db_rollback(db);
  tsr_arena_reset(&arena);
  if (status == TSR_OK && (!w.complete || fflush(out) != 0))
    status = tsr_fail(diag, TSR_ERR_IO, "cannot write the text: %m");
  return status;
}

#define FIELD(name) "json_extract(?1, '$.trial." name "')"

/* clang-format off */
static const char parse_trial[] =
    "SELECT " FIELD("workload") ", " FIELD("workload_version") ", " FIELD("dims") ", "
    FIELD("target") ", " FIELD("device") ", " FIELD("threads") ", " FIELD("mode") ", "
    FIELD("schedule") ", " FIELD("status") ", " FIELD("message") ", " FIELD("error") ", "
    FIELD("samples_ns") ", NULL, " FIELD("predicted_ns") ", " FIELD("ceilings") ", "
    FIELD("compiler") ", " FIELD("driver") ", " FIELD("source") ", " FIELD("commit") ", "
    FIELD("time_s") ", '', " FIELD("adjusted_ns") ", json_type(?1, '$.trial'), "
    "json_extract(?1, '$.workload.hash'), json_extract(?1, '$.workload.version'), "
    "json_extract(?1, '$.workload.text'), json_type(?1, '$.workload') WHERE json_valid(?1)";
/* clang-format on */

/* A line that says other than what it means when it is written again was not written by us. */
static tsr_status import_line(tsr_db *db, sqlite3_stmt *s, const char *line, tsr_arena *arena,
                              tsr_diag *diag) {
  tsr_db_record record;
  int code = step(s);
  if (code != SQLITE_ROW)
    return code == SQLITE_DONE ? TSR_ERR_FORMAT : failed(db, code, diag);
  if (sqlite3_column_type(s, 22) != SQLITE_NULL) {
    const char *again = NULL;
    if (!read_row(s, arena, &record) || (again = tsr_db_row_text(&record, arena)) == NULL ||
        strcmp(again, line) != 0)
      return TSR_ERR_FORMAT;
    return tsr_db_add(db, &record, diag);
  }
  if (sqlite3_column_type(s, 26) == SQLITE_NULL || strlen(text_at(s, 23)) != 16)
    return TSR_ERR_FORMAT;
  uint64_t hash = strtoull(text_at(s, 23), NULL, 16);
  uint32_t version = (uint32_t)sqlite3_column_int64(s, 24);
  const char *again = tsr_db_workload_text(hash, version, text_at(s, 25), arena);
  if (again == NULL || strcmp(again, line) != 0)
    return TSR_ERR_FORMAT;
  return tsr_db_add_workload(db, hash, version, text_at(s, 25), diag);
}

static tsr_status count_rows(tsr_db *db, tsr_diag *diag, int64_t *out) {
  return scalar(db, "SELECT count(*) FROM trial", diag, out);
}

static tsr_status import_lines(tsr_db *db, sqlite3_stmt *s, FILE *in, tsr_diag *diag,
                               uint64_t *out_line) {
  char *line = NULL;
  size_t room = 0;
  ssize_t length;
  tsr_status status = TSR_OK;
  tsr_arena arena;
  tsr_arena_init(&arena, db->allocator);
  while (status == TSR_OK && (length = getline(&line, &room, in)) >= 0) {
    if (length > 0 && line[length - 1] == '\n')
      line[--length] = '\0';
    if (++*out_line == 1) {
      const bool ours = strcmp(line, header) == 0 || strcmp(line, older_header) == 0;
      status = ours ? TSR_OK : TSR_ERR_VERSION;
      continue;
    }
    if (strlen(line) != (size_t)length) {
      status = TSR_ERR_FORMAT;
      break;
    }
    sqlite3_bind_text(s, 1, line, (int)length, SQLITE_STATIC);
    status = import_line(db, s, line, &arena, diag);
    sqlite3_reset(s);
    tsr_arena_reset(&arena);
  }
  if (status == TSR_OK && *out_line == 0)
    status = TSR_ERR_VERSION;
  tsr_arena_reset(&arena);
  free(line);
  return status;
}

tsr_status tsr_db_import(tsr_db *db, FILE *in, const char *name, tsr_diag *diag,
                         uint64_t *out_added) {
  int64_t before = 0, after = 0;
  uint64_t line = 0;
  sqlite3_stmt *s = NULL;
  *out_added = 0;
  TSR_TRY(tsr_db_begin(db, diag));
  tsr_status status = count_rows(db, diag, &before);
  if (status == TSR_OK)
    status = prepare(db, parse_trial, diag, &s);
  if (status == TSR_OK) {
    status = import_lines(db, s, in, diag, &line);
    sqlite3_finalize(s);
    if (status == TSR_ERR_VERSION)
      tsr_fail(diag, status,
               "no text of a tuning database of this version: its first line is not '%s'", header);
    else if (status == TSR_ERR_FORMAT)
      tsr_fail(diag, status, "not a line as 'db export' writes it");
    if (status != TSR_OK) {
      tsr_diag_set_file(diag, name);
      tsr_diag_set_position(diag, (uint32_t)line, 0);
    }
  }
  if (status == TSR_OK)
    status = count_rows(db, diag, &after);
  if (status == TSR_OK)
    status = tsr_db_commit(db, diag);
  if (status != TSR_OK) {
    tsr_db_rollback(db);
    return status;
  }
  *out_added = (uint64_t)(after - before);
  return TSR_OK;
}

/* --- keeping --- */

typedef struct merging {
  tsr_db *to;
  tsr_diag *diag;
  tsr_status status;
} merging;

static bool add_row(void *context, const tsr_db_record *record, int64_t median_ns) {
  merging *m = context;
  (void)median_ns;
  m->status = tsr_db_add(m->to, record, m->diag);
  return m->status == TSR_OK;
}

static tsr_status merge_workloads(tsr_db *db, tsr_db *from, tsr_diag *diag) {
  sqlite3_stmt *s;
  int code;
  tsr_status status = TSR_OK;
  TSR_TRY(prepare(from, "SELECT hash, version, text FROM workload", diag, &s));
  while (status == TSR_OK && (code = step(s)) == SQLITE_ROW)
    status = tsr_db_add_workload(db, strtoull(text_at(s, 0), NULL, 16),
                                 (uint32_t)sqlite3_column_int64(s, 1), text_at(s, 2), diag);
  if (status == TSR_OK && code != SQLITE_DONE)
    status = failed(from, code, diag);
  sqlite3_finalize(s);
  return status;
}

static tsr_status merge_from(tsr_db *db, tsr_db *from, tsr_diag *diag, uint64_t *out_added) {
  int64_t before, after;
  merging m = {db, diag, TSR_OK};
  TSR_TRY(count_rows(db, diag, &before));
  TSR_TRY(merge_workloads(db, from, diag));
  TSR_TRY(tsr_db_each(from, NULL, add_row, &m, diag));
  TSR_TRY(m.status);
  TSR_TRY(count_rows(db, diag, &after));
  *out_added = (uint64_t)(after - before);
  return TSR_OK;
}

tsr_status tsr_db_merge(tsr_db *db, const char *other, tsr_diag *diag, uint64_t *out_added) {
  tsr_db *from;
  *out_added = 0;
  TSR_TRY(tsr_db_open(other, TSR_DB_READ, db->allocator, diag, &from));
  tsr_status status = tsr_db_begin(db, diag);
  if (status == TSR_OK)
    status = merge_from(db, from, diag, out_added);
  if (status == TSR_OK)
    status = tsr_db_commit(db, diag);
  if (status != TSR_OK) {
    tsr_db_rollback(db);
    *out_added = 0;
  }
  tsr_db_close(from);
  return status;
}

tsr_status tsr_db_prune(tsr_db *db, uint32_t keep, tsr_diag *diag, uint64_t *out_dropped) {
  sqlite3_stmt *s;
  *out_dropped = 0;
  TSR_TRY(prepare(db,
                  "DELETE FROM trial WHERE id NOT IN (SELECT id FROM (SELECT id, row_number() OVER "
                  "(PARTITION BY workload, workload_version, dims, target, device, threads, mode "
                  "ORDER BY " TIME ", id) AS place FROM trial WHERE status = 'right') WHERE place "
                  "<= ?1)",
                  diag, &s));
  sqlite3_bind_int64(s, 1, keep);
  TSR_TRY(finish(db, s, diag));
  *out_dropped = (uint64_t)sqlite3_changes64(db->handle);
  return run(db,
             "DELETE FROM workload WHERE NOT EXISTS (SELECT 1 FROM trial WHERE trial.workload = "
             "workload.hash AND trial.workload_version = workload.version)",
             diag);
}

/* The row, its median and its identity agree. */
static tsr_status check_row(tsr_db *db, sqlite3_stmt *s, tsr_arena *arena, tsr_diag *diag) {
  tsr_db_record record;
  char id[TSR_DB_ID_SIZE], text[96];
  const char *line = read_row(s, arena, &record) ? tsr_db_row_text(&record, arena) : NULL;
  if (line != NULL)
    tsr_db_row_id(line, id);
  int64_t median = sqlite3_column_type(s, 12) == SQLITE_NULL ? -1 : sqlite3_column_int64(s, 12);
  if (line != NULL && strcmp(id, text_at(s, 20)) == 0 &&
      median == tsr_db_median(record.samples_ns, record.sample_count, arena))
    return TSR_OK;
  snprintf(text, sizeof text, "trial %s is not what its identity says", text_at(s, 20));
  return wrong(db, diag, TSR_ERR_CHECKSUM, text);
}

tsr_status tsr_db_check(tsr_db *db, tsr_diag *diag, uint64_t *out_rows) {
  sqlite3_stmt *s;
  int code;
  *out_rows = 0;
  TSR_TRY(prepare(db, "PRAGMA integrity_check(1)", diag, &s));
  code = step(s);
  tsr_status status = code != SQLITE_ROW ? failed(db, code, diag)
                      : strcmp(text_at(s, 0), "ok") == 0
                          ? TSR_OK
                          : wrong(db, diag, TSR_ERR_CHECKSUM, text_at(s, 0));
  sqlite3_finalize(s);
  TSR_TRY(status);
  TSR_TRY(prepare(db, "SELECT " COLUMNS " FROM trial", diag, &s));
  tsr_arena arena;
  tsr_arena_init(&arena, db->allocator);
  while (status == TSR_OK && (code = step(s)) == SQLITE_ROW) {
    status = check_row(db, s, &arena, diag);
    *out_rows += status == TSR_OK;
    tsr_arena_reset(&arena);
  }
  if (status == TSR_OK && code != SQLITE_DONE)
    status = failed(db, code, diag);
  sqlite3_finalize(s);
  return status;
}

tsr_status tsr_db_get_stats(tsr_db *db, tsr_db_stats *out_stats, tsr_diag *diag) {
  int64_t rows, keys, workloads;
  sqlite3_stmt *s;
  int code;
  memset(out_stats, 0, sizeof *out_stats);
  TSR_TRY(count_rows(db, diag, &rows));
  TSR_TRY(scalar(db,
                 "SELECT count(*) FROM (SELECT DISTINCT workload, workload_version, dims, target, "
                 "device, threads, mode FROM trial)",
                 diag, &keys));
  TSR_TRY(scalar(db, "SELECT count(*) FROM workload", diag, &workloads));
  out_stats->rows = (uint64_t)rows;
  out_stats->keys = (uint64_t)keys;
  out_stats->workloads = (uint64_t)workloads;
  TSR_TRY(prepare(db, "SELECT status, count(*) FROM trial GROUP BY status", diag, &s));
  while ((code = step(s)) == SQLITE_ROW) {
    tsr_db_status status = status_of(text_at(s, 0));
    if (status < TSR_DB_STATUS_COUNT)
      out_stats->by_status[status] = (uint64_t)sqlite3_column_int64(s, 1);
  }
  tsr_status status = code == SQLITE_DONE ? TSR_OK : failed(db, code, diag);
  sqlite3_finalize(s);
  return status;
}
