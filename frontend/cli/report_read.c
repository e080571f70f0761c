#include "frontend/cli/report.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct reader {
  tsr_arena *arena;
  tsr_diag *diag;
} reader;

static tsr_status fail(reader *r, const tsr_json *at, const char *what, const char *key,
                       const char *wanted) {
  tsr_diag_set_position(r->diag, at != NULL ? at->line : 1, 0);
  return tsr_fail(r->diag, TSR_ERR_FORMAT, "%s: \"%s\" must be %s", what, key, wanted);
}

static void *create(reader *r, size_t size) {
  void *memory = tsr_arena_alloc(r->arena, size);
  if (memory == NULL)
    (void)tsr_fail(r->diag, TSR_ERR_OUT_OF_MEMORY, "no memory for the results");
  return memory;
}

/* --- members of an object --- */

/* A text that may be absent or null. */
static tsr_status take_text(reader *r, const tsr_json *object, const char *what, const char *key,
                            const char **out) {
  const tsr_json *value = tsr_json_get(object, key);
  *out = "";
  if (value == NULL || value->kind == TSR_JSON_NULL)
    return TSR_OK;
  if (value->kind != TSR_JSON_TEXT)
    return fail(r, value, what, key, "a text");
  *out = value->text;
  return TSR_OK;
}

static tsr_status take_name(reader *r, const tsr_json *object, const char *what, const char *key,
                            const char **out) {
  TSR_TRY(take_text(r, object, what, key, out));
  return **out != '\0' ? TSR_OK : fail(r, object, what, key, "a text that is not empty");
}

/* A number above 0; where it need not be there, 0 and null say nothing as well. */
static tsr_status take_number(reader *r, const tsr_json *object, const char *what, const char *key,
                              bool must, double *out) {
  const tsr_json *value = tsr_json_get(object, key);
  *out = 0;
  if (!must && (value == NULL || value->kind == TSR_JSON_NULL))
    return TSR_OK;
  /* Products of two of them must stay finite. */
  if (value == NULL || value->kind != TSR_JSON_NUMBER || value->number < 0 ||
      value->number > 1e100 || (value->number < 1e-100 && (must || value->number != 0)))
    return fail(r, value != NULL ? value : object, what, key,
                "a number above 0 of a sensible size");
  *out = value->number;
  return TSR_OK;
}

static tsr_status take_threads(reader *r, const tsr_json *object, const char *what,
                               uint32_t *out_threads) {
  double number;
  const tsr_json *value = tsr_json_get(object, "threads");
  TSR_TRY(take_number(r, object, what, "threads", true, &number));
  if (number < 1 || number > 65536 || number != floor(number))
    return fail(r, value, what, "threads", "a whole number from 1 to 65536");
  *out_threads = (uint32_t)number;
  return TSR_OK;
}

static tsr_status take_list(reader *r, const tsr_json *object, const char *what, const char *key,
                            tsr_json_kind kind, bool must, const tsr_json **out) {
  *out = tsr_json_get(object, key);
  if (*out == NULL && !must)
    return TSR_OK;
  if (*out == NULL || (*out)->kind != kind)
    return fail(r, *out != NULL ? *out : object, what, key,
                kind == TSR_JSON_LIST ? "a list" : "an object");
  return TSR_OK;
}

/* {"median", "min", "p95"} */
static tsr_status take_time(reader *r, const tsr_json *object, const char *what, const char *key,
                            tsr_report_time *out) {
  const tsr_json *value;
  TSR_TRY(take_list(r, object, what, key, TSR_JSON_OBJECT, true, &value));
  TSR_TRY(take_number(r, value, what, "median", true, &out->median));
  TSR_TRY(take_number(r, value, what, "min", false, &out->least));
  TSR_TRY(take_number(r, value, what, "p95", false, &out->p95));
  out->least = out->least > 0 ? out->least : out->median;
  out->p95 = out->p95 > 0 ? out->p95 : out->median;
  return TSR_OK;
}

/* The number of the name, which is new or not. */
static tsr_status number_name(reader *r, const tsr_json *at, const char *what, const char *name,
                              tsr_report_names *names, uint32_t *out) {
  for (*out = 0; *out < names->count; ++*out)
    if (strcmp(names->texts[*out], name) == 0)
      return TSR_OK;
  if (names->count == TSR_REPORT_MOST_NAMES)
    return fail(r, at, what, name, "one of at most 32 different names");
  names->texts[names->count++] = name;
  return TSR_OK;
}

/* --- "kind": "peers" --- */

static tsr_status read_versus(reader *r, const tsr_json *object, tsr_report_file *file,
                              tsr_report_case *c) {
  uint32_t number;
  const tsr_json *peers, *ratios, *goals, *bars;
  tsr_report_versus **end = &c->versus;
  TSR_TRY(take_list(r, object, c->name, "peers", TSR_JSON_OBJECT, true, &peers));
  TSR_TRY(take_list(r, object, c->name, "ratio", TSR_JSON_OBJECT, false, &ratios));
  TSR_TRY(take_list(r, object, c->name, "goal", TSR_JSON_OBJECT, false, &goals));
  TSR_TRY(take_list(r, object, c->name, "bar", TSR_JSON_OBJECT, false, &bars));
  c->best_ratio = 0;
  for (const tsr_json *peer = peers->first; peer != NULL; peer = peer->next) {
    tsr_report_versus *v = create(r, sizeof *v);
    if (v == NULL)
      return TSR_ERR_OUT_OF_MEMORY;
    TSR_TRY(number_name(r, peer, c->name, peer->key, &file->peers, &number));
    v->peer = file->peers.texts[number];
    if (c->versus != NULL && tsr_report_find_versus(c, v->peer) != NULL)
      return fail(r, peer, c->name, peer->key, "there once");
    TSR_TRY(take_time(r, peers, c->name, peer->key, &v->time));
    TSR_TRY(take_number(r, ratios, c->name, peer->key, false, &v->ratio));
    TSR_TRY(take_number(r, goals, c->name, peer->key, false, &v->goal));
    TSR_TRY(take_number(r, bars, c->name, peer->key, false, &v->bar));
    if (v->ratio <= 0)
      v->ratio = v->time.median / c->time.median;
    if (c->best_ratio <= 0 || v->ratio < c->best_ratio)
      c->best_ratio = v->ratio;
    *end = v;
    end = &v->next;
  }
  TSR_TRY(take_number(r, goals, c->name, "best", false, &c->best_goal));
  return take_number(r, bars, c->name, "best", false, &c->best_bar);
}

/* Kept in ascending order. */
static tsr_status add_threads(reader *r, const tsr_json *at, tsr_report_file *file,
                              uint32_t threads) {
  uint32_t place = 0, *counts = file->thread_counts;
  while (place < file->thread_count_count && counts[place] < threads)
    place++;
  if (place < file->thread_count_count && counts[place] == threads)
    return TSR_OK;
  if (file->thread_count_count == TSR_REPORT_MOST_NAMES)
    return fail(r, at, "the results", "threads", "one of at most 32 different numbers");
  memmove(counts + place + 1, counts + place,
          (file->thread_count_count++ - place) * sizeof *counts);
  counts[place] = threads;
  return TSR_OK;
}

static tsr_status read_case(reader *r, const tsr_json *object, tsr_report_file *file,
                            tsr_report_case *c) {
  const char *group;
  if (object->kind != TSR_JSON_OBJECT)
    return fail(r, object, "the results", "cases", "a list of objects");
  TSR_TRY(take_name(r, object, "a case", "name", &c->name));
  TSR_TRY(take_name(r, object, c->name, "group", &group));
  TSR_TRY(number_name(r, object, c->name, group, &file->groups_of_cases, &c->group));
  TSR_TRY(take_threads(r, object, c->name, &c->threads));
  TSR_TRY(add_threads(r, object, file, c->threads));
  const tsr_json *unit = tsr_json_get(object, "unit");
  if (unit != NULL && (unit->kind != TSR_JSON_TEXT || strcmp(unit->text, "ns") != 0))
    return fail(r, unit, c->name, "unit", "\"ns\"");
  TSR_TRY(take_time(r, object, c->name, "tessera", &c->time));
  TSR_TRY(take_number(r, object, c->name, "flops", false, &c->flops));
  TSR_TRY(take_number(r, object, c->name, "bytes", false, &c->bytes));
  return read_versus(r, object, file, c);
}

/* {"1": {"fma f32": {"median", "unit"}, ..}, ..}: per number of threads. */
static tsr_status read_ceilings(reader *r, const tsr_json *root, tsr_report_file *file) {
  const tsr_json *all, *figures;
  tsr_report_ceiling **end = &file->ceilings;
  TSR_TRY(take_list(r, root, "the results", "ceilings", TSR_JSON_OBJECT, false, &all));
  for (const tsr_json *one = all != NULL ? all->first : NULL; one != NULL; one = one->next) {
    char *rest;
    unsigned long threads = strtoul(one->key, &rest, 10);
    if (*one->key < '1' || *one->key > '9' || *rest != '\0' || threads > 65536)
      return fail(r, one, "ceilings", one->key, "a number of threads");
    TSR_TRY(take_list(r, all, "ceilings", one->key, TSR_JSON_OBJECT, true, &figures));
    for (const tsr_json *figure = figures->first; figure != NULL; figure = figure->next) {
      tsr_report_ceiling *c = create(r, sizeof *c);
      if (c == NULL)
        return TSR_ERR_OUT_OF_MEMORY;
      c->name = figure->key;
      c->threads = (uint32_t)threads;
      TSR_TRY(take_name(r, figure, c->name, "unit", &c->unit));
      TSR_TRY(take_number(r, figure, c->name, "median", true, &c->median));
      *end = c;
      end = &c->next;
    }
  }
  return TSR_OK;
}

static tsr_status read_groups(reader *r, const tsr_json *root, tsr_report_file *file) {
  const tsr_json *list;
  tsr_report_group **end = &file->groups;
  TSR_TRY(take_list(r, root, "the results", "groups", TSR_JSON_LIST, false, &list));
  for (const tsr_json *one = list != NULL ? list->first : NULL; one != NULL; one = one->next) {
    tsr_report_group *group = create(r, sizeof *group);
    if (group == NULL)
      return TSR_ERR_OUT_OF_MEMORY;
    TSR_TRY(take_name(r, one, "a group", "name", &group->name));
    TSR_TRY(take_name(r, one, group->name, "peer", &group->peer));
    TSR_TRY(take_threads(r, one, group->name, &group->threads));
    TSR_TRY(take_number(r, one, group->name, "goal", false, &group->goal));
    TSR_TRY(take_number(r, one, group->name, "bar", false, &group->bar));
    *end = group;
    end = &group->next;
  }
  return TSR_OK;
}

static tsr_status read_limits(reader *r, const tsr_json *root, tsr_report_file *file) {
  const tsr_json *list;
  tsr_report_limit **end = &file->limits;
  TSR_TRY(take_list(r, root, "the results", "limits", TSR_JSON_LIST, false, &list));
  for (const tsr_json *one = list != NULL ? list->first : NULL; one != NULL; one = one->next) {
    tsr_report_limit *limit = create(r, sizeof *limit);
    if (limit == NULL)
      return TSR_ERR_OUT_OF_MEMORY;
    TSR_TRY(take_name(r, one, "a limit", "name", &limit->name));
    TSR_TRY(take_number(r, one, limit->name, "seconds", true, &limit->seconds));
    TSR_TRY(take_number(r, one, limit->name, "limit", true, &limit->limit));
    *end = limit;
    end = &limit->next;
  }
  return TSR_OK;
}

static tsr_status read_peers(reader *r, const tsr_json *root, tsr_report_file *file) {
  const tsr_json *list;
  tsr_report_case **end = &file->cases;
  TSR_TRY(take_list(r, root, "the results", "cases", TSR_JSON_LIST, true, &list));
  if (list->count > TSR_REPORT_MOST_CASES)
    return fail(r, list, "the results", "cases", "at most 4096");
  for (const tsr_json *one = list->first; one != NULL; one = one->next) {
    tsr_report_case *c = create(r, sizeof *c);
    if (c == NULL)
      return TSR_ERR_OUT_OF_MEMORY;
    TSR_TRY(read_case(r, one, file, c));
    *end = c;
    end = &c->next;
  }
  TSR_TRY(read_ceilings(r, root, file));
  TSR_TRY(read_groups(r, root, file));
  return read_limits(r, root, file);
}

/* --- the other kinds --- */

/* The time of a point counts from the start, which is 0. */
static tsr_status read_point(reader *r, const tsr_json *list, tsr_report_point *out) {
  double *const numbers[] = {&out->seconds, &out->trials, &out->ns};
  const tsr_json *value = list->first;
  bool fits = list->kind == TSR_JSON_LIST && list->count == 3;
  for (int i = 0; fits && i < 3; i++, value = value->next) {
    fits = value->kind == TSR_JSON_NUMBER && value->number >= 0 && value->number <= 1e100 &&
           (i < 2 || value->number > 0);
    *numbers[i] = value->number;
  }
  return fits ? TSR_OK
              : fail(r, list, "the results", "points", "a list of [seconds, trials, nanoseconds]");
}

/* What of -1 to 1 the model's ranking reached, or what its choice costs, a share. */
static tsr_status take_share(reader *r, const tsr_json *root, const char *key, double *out) {
  const tsr_json *value = tsr_json_get(root, key);
  *out = NAN;
  if (value == NULL || value->kind == TSR_JSON_NULL)
    return TSR_OK;
  if (value->kind != TSR_JSON_NUMBER || fabs(value->number) > 1e9)
    return fail(r, value, "the results", key, "a share");
  *out = value->number;
  return TSR_OK;
}

static tsr_status read_tuning(reader *r, const tsr_json *root, tsr_report_file *file) {
  const tsr_json *list;
  TSR_TRY(take_share(r, root, "rank_correlation", &file->rank_correlation));
  TSR_TRY(take_share(r, root, "top1_regret", &file->top1_regret));
  TSR_TRY(take_share(r, root, "top10_regret", &file->top10_regret));
  TSR_TRY(take_list(r, root, "the results", "points", TSR_JSON_LIST, true, &list));
  file->points = create(r, (list->count + 1) * sizeof *file->points);
  if (file->points == NULL)
    return TSR_ERR_OUT_OF_MEMORY;
  for (const tsr_json *one = list->first; one != NULL; one = one->next) {
    tsr_report_point *point = &file->points[file->point_count++];
    TSR_TRY(read_point(r, one, point));
    if (file->point_count > 1 && point->seconds < point[-1].seconds)
      return fail(r, one, "the results", "points", "in order of time");
  }
  return TSR_OK;
}

static tsr_status read_goals(reader *r, const tsr_json *root, tsr_report_file *file) {
  const tsr_json *list;
  tsr_report_goal **end = &file->goals;
  TSR_TRY(take_list(r, root, "the results", "goals", TSR_JSON_LIST, true, &list));
  for (const tsr_json *one = list->first; one != NULL; one = one->next) {
    tsr_report_goal *goal = create(r, sizeof *goal);
    if (goal == NULL)
      return TSR_ERR_OUT_OF_MEMORY;
    TSR_TRY(take_name(r, one, "a goal", "name", &goal->name));
    TSR_TRY(take_text(r, one, goal->name, "unit", &goal->unit));
    TSR_TRY(take_text(r, one, goal->name, "device", &goal->device));
    TSR_TRY(take_share(r, one, "value", &goal->value));
    TSR_TRY(take_share(r, one, "limit", &goal->limit));
    if (isnan(goal->value))
      return fail(r, one, goal->name, "value", "a number");
    *end = goal;
    end = &goal->next;
  }
  return TSR_OK;
}

static tsr_status read_bench(reader *r, const tsr_json *root, tsr_report_file *file) {
  TSR_TRY(take_time(r, root, "the results", "latency_ns", &file->latency));
  TSR_TRY(take_number(r, root, "the results", "runs", false, &file->runs));
  TSR_TRY(take_number(r, root, "the results", "kernels", false, &file->kernels));
  return take_number(r, root, "the results", "load_ns", false, &file->load_ns);
}

/* --- files --- */

static tsr_status find_kind(reader *r, const tsr_json *root, tsr_report_kind *out) {
  static const char *const kinds[] = {"peers", "tuning", "goals"};
  const tsr_json *kind = tsr_json_get(root, "kind");
  *out = TSR_REPORT_BENCH;
  if (kind == NULL && tsr_json_get(root, "latency_ns") != NULL)
    return TSR_OK;
  for (int i = 0; kind != NULL && kind->kind == TSR_JSON_TEXT && i < 3; i++) {
    *out = (tsr_report_kind)i;
    if (strcmp(kind->text, kinds[i]) == 0)
      return TSR_OK;
  }
  return fail(r, kind != NULL ? kind : root, "no results that are known", "kind",
              "\"peers\", \"tuning\" or \"goals\", or there is a \"latency_ns\" of 'bench --json'");
}

static tsr_status read_root(reader *r, const tsr_json *root, tsr_report_file *file) {
  static const char what[] = "the results";
  TSR_TRY(find_kind(r, root, &file->kind));
  TSR_TRY(take_text(r, root, what, "device", &file->device));
  TSR_TRY(take_text(r, root, what, "date", &file->date));
  TSR_TRY(take_text(r, root, what, "commit", &file->commit));
  TSR_TRY(take_text(r, root, what, "precision", &file->precision));
  if (file->kind == TSR_REPORT_PEERS)
    return read_peers(r, root, file);
  if (file->kind == TSR_REPORT_GOALS)
    return read_goals(r, root, file);
  TSR_TRY(take_name(r, root, what, "model", &file->model));
  TSR_TRY(take_text(r, root, what, "target", &file->target));
  TSR_TRY(take_threads(r, root, what, &file->threads));
  return file->kind == TSR_REPORT_TUNING ? read_tuning(r, root, file) : read_bench(r, root, file);
}

tsr_status tsr_report_take(const tsr_json *root, const char *path, tsr_arena *arena, tsr_diag *diag,
                           tsr_report_file *out_file) {
  reader r = {arena, diag};
  *out_file = (tsr_report_file){.path = path, .model = "", .target = "", .precision = ""};
  tsr_status status = read_root(&r, root, out_file);
  if (status != TSR_OK)
    tsr_diag_set_file(diag, path);
  return status;
}

static int compare_files(const void *left, const void *right) {
  const tsr_report_file *a = left, *b = right;
  const char *const texts[][2] = {{a->device, b->device}, {a->model, b->model},
                                  {a->target, b->target}, {a->precision, b->precision},
                                  {a->date, b->date},     {a->commit, b->commit}};
  int order = (a->kind > b->kind) - (a->kind < b->kind);
  for (size_t i = 0; order == 0 && i < sizeof texts / sizeof *texts; i++)
    order = strcmp(texts[i][0], texts[i][1]);
  if (order == 0)
    order = (a->threads > b->threads) - (a->threads < b->threads);
  return order != 0 ? order : strcmp(a->path, b->path);
}

tsr_status tsr_report_read(const char *const *paths, uint32_t count, tsr_arena *arena,
                           tsr_diag *diag, tsr_report *out_report) {
  reader r = {arena, diag};
  *out_report = (tsr_report){.files = create(&r, (count + 1) * sizeof *out_report->files)};
  if (out_report->files == NULL)
    return TSR_ERR_OUT_OF_MEMORY;
  for (uint32_t i = 0; i < count; i++) {
    const tsr_json *root;
    TSR_TRY(tsr_json_read(paths[i], arena, diag, &root));
    TSR_TRY(tsr_report_take(root, paths[i], arena, diag, &out_report->files[i]));
    out_report->count++;
  }
  qsort(out_report->files, count, sizeof *out_report->files, compare_files);
  return TSR_OK;
}

/* --- questions --- */

const tsr_report_versus *tsr_report_find_versus(const tsr_report_case *c, const char *peer) {
  const tsr_report_versus *v = c->versus;
  while (v != NULL && strcmp(v->peer, peer) != 0)
    v = v->next;
  return v;
}

bool tsr_report_loses(double ratio) {
  return ratio < 0.995;
}

double tsr_report_mean(const tsr_report_file *file, uint32_t group, const char *peer,
                       uint32_t threads, uint32_t *out_count) {
  double sum = 0;
  *out_count = 0;
  for (const tsr_report_case *c = file->cases; c != NULL; c = c->next) {
    const tsr_report_versus *v = tsr_report_find_versus(c, peer);
    if (v == NULL || c->threads != threads || c->group != group)
      continue;
    sum += log(v->ratio);
    ++*out_count;
  }
  return *out_count > 0 ? exp(sum / *out_count) : 0;
}

const tsr_report_group *tsr_report_find_group(const tsr_report_file *file, const char *name,
                                              const char *peer, uint32_t threads) {
  const tsr_report_group *group = file->groups;
  while (group != NULL && (group->threads != threads || strcmp(group->name, name) != 0 ||
                           strcmp(group->peer, peer) != 0))
    group = group->next;
  return group;
}
