/* The tables, as steps: a file of version v has had the first v steps. A step is never changed once
 * it was published; a change is a further step. */
#ifndef TSR_TUNER_SCHEMA_H
#define TSR_TUNER_SCHEMA_H

/* "TSR" and a format: distinguishes these files from other SQLite databases. */
#define TSR_DB_APPLICATION_ID 0x54535231

static const char *const tsr_db_schema[] = {
    "CREATE TABLE workload ("
    "  hash TEXT NOT NULL, version INTEGER NOT NULL, text TEXT NOT NULL,"
    "  PRIMARY KEY (hash, version)) WITHOUT ROWID;"
    "CREATE TABLE trial ("
    "  id TEXT PRIMARY KEY,"
    "  workload TEXT NOT NULL, workload_version INTEGER NOT NULL, dims TEXT NOT NULL,"
    "  target TEXT NOT NULL, device TEXT NOT NULL, threads INTEGER NOT NULL, mode TEXT NOT NULL,"
    "  schedule TEXT NOT NULL, status TEXT NOT NULL, message TEXT NOT NULL,"
    "  error REAL, samples_ns TEXT NOT NULL, median_ns INTEGER, predicted_ns INTEGER,"
    "  ceilings TEXT NOT NULL, compiler TEXT NOT NULL, driver TEXT NOT NULL,"
    "  source TEXT NOT NULL, git TEXT NOT NULL, time_s INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX trial_key ON trial"
    "  (workload, workload_version, target, mode, device, threads, dims, status, median_ns);",
    "ALTER TABLE trial ADD COLUMN adjusted_ns INTEGER;",
};

/* What a reader, who changes no file, puts before the tables of an older one: the first for files
 * of version 1, and so on. */
static const char *const tsr_db_views[] = {
    "CREATE TEMP VIEW trial AS SELECT *, NULL AS adjusted_ns FROM main.trial;",
};

enum { TSR_DB_SCHEMA_VERSION = sizeof tsr_db_schema / sizeof *tsr_db_schema };

#endif
