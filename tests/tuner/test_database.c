/* The tuning database as a set of facts: union, order, text, damage, killed and crowded writers. */
#include "tuner/database.h"
#include <check.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];
static tsr_diag diag;

static void setup(void) {
  strcpy(folder, "/tmp/tessera-db-XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(folder));
  ck_assert_int_eq(chdir(folder), 0);
  tsr_diag_clear(&diag);
}

static void teardown(void) {
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  ck_assert_int_eq(system(command), 0);
}

static tsr_db *must_open(const char *path, tsr_db_access access) {
  tsr_db *db;
  tsr_status status = tsr_db_open(path, access, tsr_allocator_default(), &diag, &db);
  ck_assert_msg(status == TSR_OK, "%s: %s", path, diag.message);
  return db;
}

/* Facts numbered from 0: all different, with several per key and of every status. */
static const char *const dims[] = {"", "64,128", "127,509,251"};
static int64_t samples[5];
static char schedule[64];

static tsr_db_record fact(unsigned number) {
  unsigned status = number / 3 % TSR_DB_STATUS_COUNT;
  for (int i = 0; i < 5; i++)
    samples[i] = 1000 + (number * 7919 + (unsigned)i * 104729) % 5000;
  snprintf(schedule, sizeof schedule, "{kc = %u, mr = %u, note = \"a\\b\"}", number, number % 14);
  return (tsr_db_record){
      .key = {.workload = UINT64_C(0xfedcba9876543210) + number % 2,
              .workload_version = 1,
              .threads = 1 + number % 2,
              .dims = dims[number % 3],
              .target = "cpu:x86-64-v4+vnni",
              .device = "l1d=32768 l2=1048576 l3=33554432 line=64",
              .mode = "warm"},
      .origin = {"fma=131.2", number % 5 == 0 ? "llvm 18" : "llvm 19.1", "", "s1", "0123abc"},
      .schedule = schedule,
      .status = (tsr_db_status)status,
      .message = status == TSR_DB_RIGHT ? "" : "because\nof \"this\"",
      .error = status == TSR_DB_WRONG ? 3.25 + number / 7.0 : -1,
      .samples_ns = samples,
      .sample_count = status == TSR_DB_RIGHT || status == TSR_DB_WRONG ? 5 : 0,
      .adjusted_ns = status == TSR_DB_RIGHT && number % 4 < 2 ? 900 + number * 131 % 4000 : 0,
      .predicted_ns = number % 2 == 0 || status == TSR_DB_PREDICTED ? 1234 : -1,
      .time_s = 1790000000 + number};
}

static void add(tsr_db *db, unsigned from, unsigned to) {
  for (unsigned i = from; i < to; i++) {
    tsr_db_record record = fact(i);
    tsr_status status = tsr_db_add(db, &record, &diag);
    ck_assert_msg(status == TSR_OK, "%s", diag.message);
  }
}

static uint64_t rows_of(const char *path) {
  uint64_t rows;
  tsr_db *db = must_open(path, TSR_DB_READ);
  tsr_status status = tsr_db_check(db, &diag, &rows);
  ck_assert_msg(status == TSR_OK, "%s", diag.message);
  tsr_db_close(db);
  return rows;
}

static char *text_of(const char *path) {
  char *text;
  size_t size;
  FILE *out = open_memstream(&text, &size);
  tsr_db *db = must_open(path, TSR_DB_READ);
  tsr_status status = tsr_db_export(db, out, &diag);
  ck_assert_msg(status == TSR_OK, "%s", diag.message);
  tsr_db_close(db);
  fclose(out);
  return text;
}

static void make(const char *path, unsigned from, unsigned to) {
  tsr_db *db = must_open(path, TSR_DB_WRITE);
  ck_assert_int_eq(
      tsr_db_add_workload(db, UINT64_C(0xfedcba9876543210), 1, "graph \"@g\" {\n}", &diag), TSR_OK);
  add(db, from, to);
  tsr_db_close(db);
}

static uint64_t merge(const char *into, const char *from) {
  uint64_t added;
  tsr_db *db = must_open(into, TSR_DB_WRITE);
  tsr_status status = tsr_db_merge(db, from, &diag, &added);
  ck_assert_msg(status == TSR_OK, "%s", diag.message);
  tsr_db_close(db);
  return added;
}

START_TEST(adding_twice_is_adding_once) {
  make("a.db", 0, 60);
  make("a.db", 30, 80);
  ck_assert_uint_eq(rows_of("a.db"), 80);
  tsr_db_stats stats;
  tsr_db *db = must_open("a.db", TSR_DB_READ);
  ck_assert_int_eq(tsr_db_get_stats(db, &stats, &diag), TSR_OK);
  tsr_db_close(db);
  ck_assert_uint_eq(stats.rows, 80);
  ck_assert_uint_eq(stats.keys, 6);
  ck_assert_uint_eq(stats.workloads, 1);
  uint64_t sum = 0;
  for (int i = 0; i < TSR_DB_STATUS_COUNT; i++)
    sum += stats.by_status[i];
  ck_assert_uint_eq(sum, 80);
}
END_TEST

START_TEST(merging_is_union) {
  make("a.db", 0, 50);
  make("b.db", 25, 75);
  make("c.db", 70, 100);
  make("ab.db", 0, 50);
  make("bc.db", 25, 75);
  ck_assert_uint_eq(merge("ab.db", "b.db"), 25);
  ck_assert_uint_eq(merge("ab.db", "b.db"), 0);
  merge("ab.db", "c.db");
  merge("bc.db", "c.db");
  merge("bc.db", "a.db");
  char *left = text_of("ab.db"), *right = text_of("bc.db");
  ck_assert_str_eq(left, right);
  ck_assert_uint_eq(rows_of("ab.db"), 100);
  free(left);
  free(right);
}
END_TEST

START_TEST(text_and_back) {
  uint64_t added;
  make("a.db", 0, 100);
  char *text = text_of("a.db");
  FILE *in = fmemopen(text, strlen(text), "r");
  tsr_db *db = must_open("b.db", TSR_DB_WRITE);
  tsr_status status = tsr_db_import(db, in, "text", &diag, &added);
  ck_assert_msg(status == TSR_OK, "line %u: %s", diag.line, diag.message);
  ck_assert_uint_eq(added, 100);
  rewind(in);
  ck_assert_int_eq(tsr_db_import(db, in, "text", &diag, &added), TSR_OK);
  ck_assert_uint_eq(added, 0);
  fclose(in);
  tsr_db_close(db);
  char *again = text_of("b.db");
  ck_assert_str_eq(text, again);
  free(text);
  free(again);
}
END_TEST

/* One line of a text replaced by something that is none: nothing of it arrives. */
START_TEST(text_that_is_none) {
  static const char *const lines[] = {
      "",
      "{",
      "null",
      "{\"trial\": 3}",
      "{\"trial\": {\"workload\": \"12\"}}",
      "{\"workload\": {\"hash\": \"xyz\", \"version\": 1, \"text\": \"\"}}",
      "{\"workload\": {\"hash\": \"0123456789abcdef\"}}"};
  uint64_t added;
  make("a.db", 0, 20);
  char *text = text_of("a.db"), *hostile;
  size_t size;
  FILE *out = open_memstream(&hostile, &size);
  char *third = strchr(strchr(text, '\n') + 1, '\n') + 1;
  fprintf(out, "%.*s%s\n%s", (int)(third - text), text, lines[_i], third);
  fclose(out);
  FILE *in = fmemopen(hostile, size, "r");
  tsr_db *db = must_open("b.db", TSR_DB_WRITE);
  ck_assert_int_eq(tsr_db_import(db, in, "text", &diag, &added), TSR_ERR_FORMAT);
  ck_assert_uint_eq(diag.line, 3);
  fclose(in);
  tsr_db_close(db);
  ck_assert_uint_eq(rows_of("b.db"), 0);
  free(text);
  free(hostile);
}
END_TEST

/* Every byte of a text changed in turn: what is still accepted is another fact, written as it
 * reads. */
START_TEST(text_with_one_wrong_byte) {
  make("a.db", 0, 1);
  char *text = text_of("a.db");
  size_t length = strlen(text);
  tsr_db *db = must_open("b.db", TSR_DB_WRITE);
  for (size_t at = 0; at < length; at += 3) {
    uint64_t added;
    char was = text[at];
    text[at] = (char)(was == '7' ? '{' : '7');
    FILE *in = fmemopen(text, length, "r");
    tsr_status status = tsr_db_import(db, in, "text", &diag, &added);
    ck_assert(status == TSR_OK || status == TSR_ERR_FORMAT || status == TSR_ERR_VERSION);
    tsr_diag_clear(&diag);
    fclose(in);
    text[at] = was;
  }
  tsr_db_close(db);
  rows_of("b.db");
  free(text);
}
END_TEST

/* --- order --- */

typedef struct seen {
  unsigned count, adjusted;
  int64_t times[100];
  char compilers[100][16];
} seen;

static bool see(void *context, const tsr_db_record *record, int64_t median_ns) {
  seen *s = context;
  ck_assert_int_eq(record->status, TSR_DB_RIGHT);
  s->adjusted += record->adjusted_ns > 0;
  s->times[s->count] = tsr_db_time_ns(record, median_ns);
  snprintf(s->compilers[s->count++], 16, "%s", record->origin.compiler);
  return true;
}

START_TEST(best_first) {
  seen s = {0};
  make("a.db", 0, 400);
  tsr_db_record like = fact(42);
  tsr_db *db = must_open("a.db", TSR_DB_READ);
  ck_assert_int_eq(tsr_db_best(db, &like.key, &like.origin, see, &s, &diag), TSR_OK);
  ck_assert_uint_gt(s.count, 4);
  ck_assert_uint_gt(s.adjusted, 1);
  ck_assert_uint_lt(s.adjusted, s.count - 1);
  for (unsigned i = 1; i < s.count; i++) {
    int same = strcmp(s.compilers[i], like.origin.compiler) == 0;
    int before = strcmp(s.compilers[i - 1], like.origin.compiler) == 0;
    ck_assert_int_ge(before, same);
    if (before == same)
      ck_assert_int_le(s.times[i - 1], s.times[i]);
  }
  like.key.dims = "65,128";
  s.count = 0;
  ck_assert_int_eq(tsr_db_best(db, &like.key, &like.origin, see, &s, &diag), TSR_OK);
  ck_assert_uint_eq(s.count, 0);
  ck_assert_int_eq(tsr_db_neighbours(db, &like.key, 3, see, &s, &diag), TSR_OK);
  ck_assert_uint_eq(s.count, 3);
  tsr_db_close(db);
}
END_TEST

/* Two schedules, each beside another incumbent: the one that was measured while the machine was
 * fast has the smaller median, and loses by what was made up for. */
START_TEST(a_fast_moment_does_not_win) {
  static const int64_t fast[] = {100, 101, 102}, slow[] = {120, 121, 122};
  seen s = {0};
  tsr_db_record row = fact(0);
  tsr_db *db = must_open("a.db", TSR_DB_WRITE);
  row.status = TSR_DB_RIGHT;
  row.message = "";
  row.error = 0;
  row.sample_count = 3;
  row.schedule = "{mr = 1}";
  row.samples_ns = fast;
  row.adjusted_ns = 100;
  ck_assert_int_eq(tsr_db_add(db, &row, &diag), TSR_OK);
  row.schedule = "{mr = 2}";
  row.samples_ns = slow;
  row.adjusted_ns = 97;
  ck_assert_int_eq(tsr_db_add(db, &row, &diag), TSR_OK);
  ck_assert_int_eq(tsr_db_best(db, &row.key, &row.origin, see, &s, &diag), TSR_OK);
  ck_assert_uint_eq(s.count, 2);
  ck_assert_int_eq(s.times[0], 97);
  uint64_t dropped;
  ck_assert_int_eq(tsr_db_prune(db, 1, &diag, &dropped), TSR_OK);
  s.count = 0;
  ck_assert_int_eq(tsr_db_best(db, &row.key, &row.origin, see, &s, &diag), TSR_OK);
  ck_assert_uint_eq(s.count, 1);
  ck_assert_int_eq(s.times[0], 97);
  tsr_db_close(db);
}
END_TEST

/* --- older files --- */

static void run_sql(const char *path, const char *sql) {
  sqlite3 *file;
  ck_assert_int_eq(sqlite3_open(path, &file), SQLITE_OK);
  char *why = NULL;
  ck_assert_msg(sqlite3_exec(file, sql, NULL, NULL, &why) == SQLITE_OK, "%s", why);
  sqlite3_close(file);
}

/* A file of version 1 is read as it is, and left so; written to, it becomes one of today with the
 * same rows; its text says nothing else than before. */
START_TEST(files_of_version_1) {
  make("a.db", 0, 100);
  run_sql("a.db", "DELETE FROM trial WHERE adjusted_ns IS NOT NULL");
  char *wanted = text_of("a.db");
  const uint64_t rows = rows_of("a.db");
  ck_assert_uint_gt(rows, 20);
  run_sql("a.db", "ALTER TABLE trial DROP COLUMN adjusted_ns; PRAGMA user_version = 1");
  for (int i = 0; i < 2; i++) {
    char *text = text_of("a.db");
    ck_assert_str_eq(text, wanted);
    ck_assert_uint_eq(rows_of("a.db"), rows);
    ck_assert_uint_eq(merge("b.db", "a.db"), i == 0 ? rows : 0);
    free(text);
  }
  make("a.db", 0, 100);
  ck_assert_uint_eq(rows_of("a.db"), 100);
  ck_assert_uint_eq(merge("a.db", "b.db"), 0);
  free(wanted);
}
END_TEST

/* A text of version 1 says the same as one of today without the new member. */
START_TEST(texts_of_version_1) {
  uint64_t added;
  make("a.db", 0, 100);
  run_sql("a.db", "DELETE FROM trial WHERE adjusted_ns IS NOT NULL");
  char *text = text_of("a.db");
  char *version = strstr(text, "database\": 2}");
  ck_assert_ptr_nonnull(version);
  version[strlen("database\": ")] = '1';
  FILE *in = fmemopen(text, strlen(text), "r");
  tsr_db *db = must_open("b.db", TSR_DB_WRITE);
  tsr_status status = tsr_db_import(db, in, "text", &diag, &added);
  ck_assert_msg(status == TSR_OK, "line %u: %s", diag.line, diag.message);
  fclose(in);
  tsr_db_close(db);
  ck_assert_uint_eq(added, rows_of("a.db"));
  ck_assert_uint_eq(merge("a.db", "b.db"), 0);
  free(text);
}
END_TEST

/* Of those with a text only the ones with right rows on the same device. */
static bool keep_workload(void *context, uint64_t workload, uint32_t version, const char *text) {
  uint64_t *kept = context;
  ck_assert_uint_eq(version, 1);
  ck_assert_str_eq(text, "graph @g {\n}");
  kept[++kept[0]] = workload;
  return true;
}

START_TEST(workloads_of_a_device) {
  uint64_t kept[9] = {0};
  tsr_db *db = must_open("w.db", TSR_DB_WRITE);
  const tsr_db_record right = fact(0);
  for (uint64_t i = 0; i < 5; i++) {
    tsr_db_record row = right;
    row.key.workload = 100 + i;
    row.key.threads += i == 1;
    if (i == 2) {
      row.status = TSR_DB_CRASHED;
      row.message = "died";
      row.adjusted_ns = 0;
    }
    ck_assert_int_eq(tsr_db_add(db, &row, &diag), TSR_OK);
    if (i != 3)
      ck_assert_int_eq(tsr_db_add_workload(db, 100 + i, 1, "graph @g {\n}", &diag), TSR_OK);
  }
  ck_assert_int_eq(tsr_db_workloads(db, &right.key, 8, keep_workload, kept, &diag), TSR_OK);
  ck_assert_uint_eq(kept[0], 2);
  ck_assert_uint_eq(kept[1], 100);
  ck_assert_uint_eq(kept[2], 104);
  kept[0] = 0;
  ck_assert_int_eq(tsr_db_workloads(db, &right.key, 1, keep_workload, kept, &diag), TSR_OK);
  ck_assert_uint_eq(kept[0], 1);
  tsr_db_close(db);
}
END_TEST

START_TEST(pruning_keeps_the_best) {
  seen before = {0}, after = {0};
  uint64_t dropped;
  make("a.db", 0, 400);
  tsr_db_record like = fact(42);
  like.origin.compiler = "another";
  tsr_db *db = must_open("a.db", TSR_DB_WRITE);
  ck_assert_int_eq(tsr_db_best(db, &like.key, &like.origin, see, &before, &diag), TSR_OK);
  ck_assert_int_eq(tsr_db_prune(db, 2, &diag, &dropped), TSR_OK);
  ck_assert_int_eq(tsr_db_best(db, &like.key, &like.origin, see, &after, &diag), TSR_OK);
  tsr_db_close(db);
  ck_assert_uint_eq(after.count, 2);
  ck_assert_int_eq(after.times[0], before.times[0]);
  ck_assert_int_eq(after.times[1], before.times[1]);
  ck_assert_uint_eq(rows_of("a.db"), 400 - dropped);
}
END_TEST

/* --- what cannot be --- */

START_TEST(impossible_rows) {
  tsr_db *db = must_open("a.db", TSR_DB_WRITE);
  tsr_db_record r = fact(0);
  r.sample_count = 0;
  ck_assert_int_eq(tsr_db_add(db, &r, &diag), TSR_ERR_ARGUMENT);
  r = fact(0);
  samples[2] = -1;
  ck_assert_int_eq(tsr_db_add(db, &r, &diag), TSR_ERR_ARGUMENT);
  r = fact(0);
  r.adjusted_ns = -1;
  ck_assert_int_eq(tsr_db_add(db, &r, &diag), TSR_ERR_ARGUMENT);
  r = fact(0);
  r.status = TSR_DB_WRONG;
  r.adjusted_ns = 1000;
  ck_assert_int_eq(tsr_db_add(db, &r, &diag), TSR_ERR_ARGUMENT);
  r = fact(0);
  r.status = TSR_DB_PREDICTED;
  ck_assert_int_eq(tsr_db_add(db, &r, &diag), TSR_ERR_ARGUMENT);
  tsr_db_close(db);
  ck_assert_uint_eq(rows_of("a.db"), 0);
}
END_TEST

static void write_file(const char *path, const void *bytes, size_t size) {
  FILE *file = fopen(path, "wb");
  ck_assert_ptr_nonnull(file);
  ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
  ck_assert_int_eq(fclose(file), 0);
}

START_TEST(files_that_are_none) {
  tsr_db *db;
  ck_assert_int_eq(tsr_db_open("absent.db", TSR_DB_READ, tsr_allocator_default(), &diag, &db),
                   TSR_ERR_IO);
  ck_assert_str_eq(diag.file, "absent.db");
  write_file("text.db",
             "this is no database, but long enough to be looked at as one ........"
             "......................................................",
             120);
  tsr_diag_clear(&diag);
  ck_assert_int_eq(tsr_db_open("text.db", TSR_DB_WRITE, tsr_allocator_default(), &diag, &db),
                   TSR_ERR_FORMAT);
  write_file("empty.db", "", 0);
  tsr_diag_clear(&diag);
  ck_assert_int_eq(tsr_db_open("empty.db", TSR_DB_READ, tsr_allocator_default(), &diag, &db),
                   TSR_ERR_FORMAT);
  tsr_db_close(must_open("empty.db", TSR_DB_WRITE));
  ck_assert_uint_eq(rows_of("empty.db"), 0);
}
END_TEST

/* Bytes changed at many places: refused, or found by the check, or without meaning (free space);
 * never a crash, and never a row that says what was not written. */
START_TEST(damaged_files) {
  make("a.db", 0, 40);
  char *was = text_of("a.db");
  FILE *file = fopen("a.db", "rb");
  struct stat info;
  ck_assert_int_eq(fstat(fileno(file), &info), 0);
  size_t size = (size_t)info.st_size;
  char *bytes = malloc(size);
  ck_assert_uint_eq(fread(bytes, 1, size, file), size);
  fclose(file);
  unsigned found = 0;
  for (size_t at = 0; at < size; at += 211) {
    tsr_db *db;
    uint64_t rows;
    bytes[at] ^= 0x55;
    write_file("b.db", bytes, size);
    bytes[at] ^= 0x55;
    tsr_diag_clear(&diag);
    if (tsr_db_open("b.db", TSR_DB_READ, tsr_allocator_default(), &diag, &db) != TSR_OK) {
      found++;
      continue;
    }
    tsr_status status = tsr_db_check(db, &diag, &rows);
    tsr_db_close(db);
    found += status != TSR_OK;
    if (status == TSR_OK && rows == 40) {
      char *is = text_of("b.db");
      ck_assert_str_eq(is + strcspn(is, "\n"), was + strcspn(was, "\n"));
      free(is);
    }
  }
  ck_assert_uint_gt(found, 20);
  free(bytes);
  free(was);
}
END_TEST

/* --- several processes --- */

static pid_t writer(const char *path, unsigned from, unsigned to, int notify) {
  pid_t child = fork();
  if (child != 0)
    return child;
  tsr_db *db = NULL;
  if (tsr_db_open(path, TSR_DB_WRITE, tsr_allocator_default(), &diag, &db) != TSR_OK) {
    fprintf(stderr, "%s\n", diag.message);
    _exit(2);
  }
  for (unsigned i = from; i < to; i++) {
    tsr_db_record record = fact(i);
    if (tsr_db_add(db, &record, &diag) != TSR_OK)
      _exit(3);
    if (notify >= 0 && write(notify, &i, sizeof i) != sizeof i)
      _exit(4);
  }
  tsr_db_close(db);
  _exit(0);
}

/* Between two questions of one process another one may have made the file a tuning database. */
START_TEST(four_make_the_file) {
  for (unsigned turn = 0; turn < 40; turn++) {
    pid_t children[4];
    (void)unlink("b.db");
    (void)unlink("b.db-wal");
    (void)unlink("b.db-shm");
    for (unsigned i = 0; i < 4; i++)
      children[i] = writer("b.db", i, i + 1, -1);
    for (unsigned i = 0; i < 4; i++) {
      int status;
      ck_assert_int_eq(waitpid(children[i], &status, 0), children[i]);
      ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "writer %u: %#x", i, status);
    }
    ck_assert_uint_eq(rows_of("b.db"), 4);
  }
}
END_TEST

START_TEST(four_writers_lose_nothing) {
  for (unsigned turn = 0; turn < 10; turn++) {
    pid_t children[4];
    for (unsigned i = 0; i < 4; i++)
      children[i] = writer("a.db", turn * 40 + i * 10, turn * 40 + i * 10 + 13, -1);
    for (unsigned i = 0; i < 4; i++) {
      int status;
      ck_assert_int_eq(waitpid(children[i], &status, 0), children[i]);
      ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "writer %u: %#x", i, status);
    }
    ck_assert_uint_eq(rows_of("a.db"), turn * 40 + 43);
  }
}
END_TEST

/* A row whose add returned is there although its writer was killed. */
START_TEST(killed_at_any_moment) {
  unsigned sure = 0;
  srand(7);
  for (unsigned turn = 0; turn < 50; turn++) {
    int ends[2], status;
    unsigned last = 0, number;
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = writer("a.db", sure, sure + 100000, ends[1]);
    close(ends[1]);
    last = sure;
    for (int rows = rand() % 12; rows > 0 && read(ends[0], &number, sizeof number) > 0; rows--)
      last = number + 1;
    usleep((useconds_t)(rand() % 3000));
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    while (read(ends[0], &number, sizeof number) == sizeof number)
      last = number + 1;
    close(ends[0]);
    sure = last;
  }
  tsr_db *db = must_open("a.db", TSR_DB_WRITE);
  tsr_db_close(db);
  uint64_t rows = rows_of("a.db");
  ck_assert_uint_gt(rows, 50);
  ck_assert_uint_ge(rows, sure);
  ck_assert_uint_le(rows, sure + 50);
}
END_TEST

/* What a full disk does, by a limit on the size of files: an error, and everything before is there.
 */
START_TEST(no_room) {
  make("a.db", 0, 50);
  pid_t child = fork();
  if (child == 0) {
    struct rlimit limit = {96 << 10, 96 << 10};
    signal(SIGXFSZ, SIG_IGN);
    tsr_db *db = must_open("a.db", TSR_DB_WRITE);
    setrlimit(RLIMIT_FSIZE, &limit);
    tsr_status status = TSR_OK;
    for (unsigned i = 50; i < 5000 && status == TSR_OK; i++) {
      tsr_db_record record = fact(i);
      status = tsr_db_add(db, &record, &diag);
    }
    _exit(status == TSR_ERR_IO && strcmp(diag.file, "a.db") == 0 ? 0 : 1);
  }
  int status;
  waitpid(child, &status, 0);
  ck_assert_int_eq(status, 0);
  ck_assert_uint_ge(rows_of("a.db"), 50);
}
END_TEST

START_TEST(together_or_not_at_all) {
  tsr_db *db = must_open("a.db", TSR_DB_WRITE);
  ck_assert_int_eq(tsr_db_begin(db, &diag), TSR_OK);
  add(db, 0, 10);
  tsr_db_rollback(db);
  ck_assert_int_eq(tsr_db_begin(db, &diag), TSR_OK);
  add(db, 10, 15);
  ck_assert_int_eq(tsr_db_commit(db, &diag), TSR_OK);
  tsr_db_close(db);
  ck_assert_uint_eq(rows_of("a.db"), 5);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("database");
  TCase *set = tcase_create("set"), *processes = tcase_create("processes");
  tcase_add_checked_fixture(set, setup, teardown);
  tcase_add_checked_fixture(processes, setup, teardown);
  tcase_set_timeout(set, 60);
  tcase_set_timeout(processes, 120);
  tcase_add_test(set, adding_twice_is_adding_once);
  tcase_add_test(set, merging_is_union);
  tcase_add_test(set, text_and_back);
  tcase_add_loop_test(set, text_that_is_none, 0, 7);
  tcase_add_test(set, text_with_one_wrong_byte);
  tcase_add_test(set, best_first);
  tcase_add_test(set, a_fast_moment_does_not_win);
  tcase_add_test(set, files_of_version_1);
  tcase_add_test(set, texts_of_version_1);
  tcase_add_test(set, workloads_of_a_device);
  tcase_add_test(set, pruning_keeps_the_best);
  tcase_add_test(set, impossible_rows);
  tcase_add_test(set, files_that_are_none);
  tcase_add_test(set, damaged_files);
  tcase_add_test(set, together_or_not_at_all);
  tcase_add_test(processes, four_make_the_file);
  tcase_add_test(processes, four_writers_lose_nothing);
  tcase_add_test(processes, killed_at_any_moment);
  tcase_add_test(processes, no_room);
  suite_add_tcase(suite, set);
  suite_add_tcase(suite, processes);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  const int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
