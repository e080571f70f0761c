#include "tuner/database_row.h"
#include "runtime/hash.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A growing text in an arena. */
typedef struct line {
  tsr_arena *arena;
  char *text;
  size_t used, room;
} line;

static void put(line *l, const char *bytes, size_t count) {
  if (l->used + count + 1 > l->room && l->room != SIZE_MAX) {
    size_t room = (l->used + count + 1) * 2;
    char *text = tsr_arena_alloc(l->arena, room);
    if (text == NULL) {
      l->room = SIZE_MAX;
      l->text = NULL;
    } else {
      if (l->used > 0)
        memcpy(text, l->text, l->used);
      l->text = text;
      l->room = room;
    }
  }
  if (l->text == NULL)
    return;
  memcpy(l->text + l->used, bytes, count);
  l->used += count;
  l->text[l->used] = '\0';
}

static void put_text(line *l, const char *text) {
  put(l, text, strlen(text));
}

/* RFC 8259: quotes, backslashes and control characters are escaped; the rest is as it is. */
static void put_quoted(line *l, const char *text) {
  put_text(l, "\"");
  for (const char *at = text; *at != '\0'; at++) {
    char escape[8];
    if (*at == '"' || *at == '\\')
      snprintf(escape, sizeof escape, "\\%c", *at);
    else if ((unsigned char)*at < 0x20 || *at == 0x7f)
      snprintf(escape, sizeof escape, "\\u%04x", (unsigned)*at);
    else
      snprintf(escape, sizeof escape, "%c", *at);
    put_text(l, escape);
  }
  put_text(l, "\"");
}

static void put_key(line *l, const char *key) {
  put_text(l, l->text != NULL && l->text[l->used - 1] == '{' ? "\"" : ", \"");
  put_text(l, key);
  put_text(l, "\": ");
}

static void put_string(line *l, const char *key, const char *text) {
  put_key(l, key);
  put_quoted(l, text);
}

static void put_int(line *l, const char *key, int64_t number) {
  char digits[24];
  snprintf(digits, sizeof digits, "%" PRId64, number);
  put_key(l, key);
  put_text(l, digits);
}

static void put_hash(line *l, const char *key, uint64_t hash) {
  char digits[24];
  snprintf(digits, sizeof digits, "%016" PRIx64, hash);
  put_string(l, key, digits);
}

const char *tsr_db_samples_text(const int64_t *samples, uint32_t count, tsr_arena *arena) {
  line l = {.arena = arena};
  put_text(&l, "[");
  for (uint32_t i = 0; i < count; i++) {
    char digits[24];
    snprintf(digits, sizeof digits, "%s%" PRId64, i > 0 ? ", " : "", samples[i]);
    put_text(&l, digits);
  }
  put_text(&l, "]");
  return l.text;
}

bool tsr_db_samples_parse(const char *text, tsr_arena *arena, const int64_t **out_samples,
                          uint32_t *out_count) {
  uint32_t room = 1, count = 0;
  *out_samples = NULL;
  *out_count = 0;
  for (const char *at = text; *at != '\0'; at++)
    room += *at == ',';
  int64_t *samples = tsr_arena_alloc_array(arena, room, sizeof *samples);
  const char *at = text;
  if (samples == NULL || *at++ != '[')
    return false;
  while (*at != ']') {
    char *end;
    if (count == room || (*at != ' ' && *at != '-' && (*at < '0' || *at > '9')))
      return false;
    samples[count++] = strtoll(at, &end, 10);
    if (end == at || (*end != ',' && *end != ']'))
      return false;
    at = end + (*end == ',');
  }
  *out_samples = samples;
  *out_count = count;
  return at[1] == '\0';
}

static int compare(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

int64_t tsr_db_median(const int64_t *samples, uint32_t count, tsr_arena *arena) {
  if (count == 0)
    return -1;
  int64_t *sorted = tsr_arena_alloc_array(arena, count, sizeof *sorted);
  if (sorted == NULL)
    return -1;
  memcpy(sorted, samples, count * sizeof *sorted);
  qsort(sorted, count, sizeof *sorted, compare);
  return sorted[(count - 1) / 2];
}

const char *tsr_db_row_text(const tsr_db_record *r, tsr_arena *arena) {
  line l = {.arena = arena};
  const char *samples = tsr_db_samples_text(r->samples_ns, r->sample_count, arena);
  put_text(&l, "{\"trial\": {");
  put_hash(&l, "workload", r->key.workload);
  put_int(&l, "workload_version", r->key.workload_version);
  put_string(&l, "dims", r->key.dims);
  put_string(&l, "target", r->key.target);
  put_string(&l, "device", r->key.device);
  put_int(&l, "threads", r->key.threads);
  put_string(&l, "mode", r->key.mode);
  put_string(&l, "schedule", r->schedule);
  put_string(&l, "status", tsr_db_status_text(r->status));
  put_string(&l, "message", r->message);
  if (r->error >= 0) {
    char digits[32];
    snprintf(digits, sizeof digits, "%.6g", r->error);
    put_key(&l, "error");
    put_text(&l, digits);
  }
  put_key(&l, "samples_ns");
  put_text(&l, samples == NULL ? "" : samples);
  if (r->adjusted_ns > 0)
    put_int(&l, "adjusted_ns", r->adjusted_ns);
  if (r->predicted_ns >= 0)
    put_int(&l, "predicted_ns", r->predicted_ns);
  put_string(&l, "ceilings", r->origin.ceilings);
  put_string(&l, "compiler", r->origin.compiler);
  put_string(&l, "driver", r->origin.driver);
  put_string(&l, "source", r->origin.source);
  put_string(&l, "commit", r->origin.commit);
  put_int(&l, "time_s", r->time_s);
  put_text(&l, "}}");
  return samples == NULL ? NULL : l.text;
}

const char *tsr_db_workload_text(uint64_t workload, uint32_t version, const char *text,
                                 tsr_arena *arena) {
  line l = {.arena = arena};
  put_text(&l, "{\"workload\": {");
  put_hash(&l, "hash", workload);
  put_int(&l, "version", version);
  put_string(&l, "text", text);
  put_text(&l, "}}");
  return l.text;
}

void tsr_db_row_id(const char *text, char out_id[TSR_DB_ID_SIZE]) {
  size_t length = strlen(text);
  snprintf(out_id, TSR_DB_ID_SIZE, "%016" PRIx64 "%016" PRIx64, tsr_hash64(text, length),
           tsr_hash64_seeded(text, length, UINT64_C(0x9e3779b97f4a7c15)));
}

const char *tsr_db_row_fault(const tsr_db_record *r) {
  const char *const texts[] = {r->key.dims,        r->key.target,      r->key.device,
                               r->key.mode,        r->schedule,        r->message,
                               r->origin.ceilings, r->origin.compiler, r->origin.driver,
                               r->origin.source,   r->origin.commit};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    if (texts[i] == NULL)
      return "a text is missing";
  if ((unsigned)r->status >= TSR_DB_STATUS_COUNT)
    return "its status is unknown";
  if (r->status == TSR_DB_RIGHT && r->sample_count == 0)
    return "it is called right but has no samples";
  if (r->adjusted_ns < 0 || (r->adjusted_ns > 0 && r->status != TSR_DB_RIGHT))
    return "its time is negative, or it is not right and has one";
  if (r->status == TSR_DB_PREDICTED && (r->sample_count > 0 || r->predicted_ns < 0))
    return "it is called predicted but has samples, or no prediction";
  if (!isfinite(r->error) && r->error >= 0)
    return "its error is not finite";
  for (uint32_t i = 0; i < r->sample_count; i++)
    if (r->samples_ns[i] < 0)
      return "a sample is negative";
  return NULL;
}
