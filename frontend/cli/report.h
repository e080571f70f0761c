/* What `tessera report` reads: files of results, checked and in order. benchmarks/README.md says
 * how they look. */
#ifndef TSR_FRONTEND_CLI_REPORT_H
#define TSR_FRONTEND_CLI_REPORT_H
#include "frontend/cli/json.h"

/* Nanoseconds; least and p95 are the median where a file does not say them. */
typedef struct tsr_report_time {
  double median, least, p95;
} tsr_report_time;

/* A case against one peer. Ratios are above 1 where Tessera is faster; 0: none is said. The bar is
 * what of the goal the machine permits. */
typedef struct tsr_report_versus {
  const char *peer;
  tsr_report_time time;
  double ratio, goal, bar;
  struct tsr_report_versus *next;
} tsr_report_versus;

typedef struct tsr_report_case {
  const char *name;
  uint32_t group; /* its number in the file's names of groups */
  uint32_t threads;
  tsr_report_time time;
  tsr_report_versus *versus;
  double best_ratio, best_goal, best_bar; /* against the faster of the peers */
  double flops, bytes;                    /* 0: not said */
  struct tsr_report_case *next;
} tsr_report_case;

typedef struct tsr_report_ceiling {
  const char *name, *unit;
  uint32_t threads;
  double median;
  struct tsr_report_ceiling *next;
} tsr_report_ceiling;

/* Goals of geometric means over the cases of a group. */
typedef struct tsr_report_group {
  const char *name, *peer;
  uint32_t threads;
  double goal, bar;
  struct tsr_report_group *next;
} tsr_report_group;

/* A limit on a whole command: seconds. */
typedef struct tsr_report_limit {
  const char *name;
  double seconds, limit;
  struct tsr_report_limit *next;
} tsr_report_limit;

/* A figure and what it has to stay under; NAN: under nothing. Device "": the file's. */
typedef struct tsr_report_goal {
  const char *name, *unit, *device;
  double value, limit;
  struct tsr_report_goal *next;
} tsr_report_goal;

enum { TSR_REPORT_MOST_NAMES = 32, TSR_REPORT_MOST_CASES = 4096 };

/* Different names, in the order in which they came. */
typedef struct tsr_report_names {
  const char *texts[TSR_REPORT_MOST_NAMES];
  uint32_t count;
} tsr_report_names;

typedef struct tsr_report_point {
  double seconds, trials, ns;
} tsr_report_point;

typedef enum tsr_report_kind {
  TSR_REPORT_PEERS,  /* "kind": "peers": benchmarks/cpu_peers.sh */
  TSR_REPORT_TUNING, /* "kind": "tuning": tessera tune --json */
  TSR_REPORT_GOALS,  /* "kind": "goals": benchmarks/tuner_goals.sh */
  TSR_REPORT_BENCH,  /* with "latency_ns": tessera bench --json */
} tsr_report_kind;

/* One file. Texts that it does not say are "". */
typedef struct tsr_report_file {
  tsr_report_kind kind;
  const char *path, *device, *date, *commit;
  const char *precision, *model, *target; /* model, target: of TUNING and BENCH */
  uint32_t threads;
  tsr_report_case *cases; /* PEERS */
  tsr_report_names groups_of_cases, peers;
  uint32_t thread_counts[TSR_REPORT_MOST_NAMES], thread_count_count; /* ascending */
  tsr_report_ceiling *ceilings;
  tsr_report_group *groups;
  tsr_report_limit *limits;
  tsr_report_goal *goals;                             /* GOALS */
  double rank_correlation, top1_regret, top10_regret; /* TUNING: of the model; NAN: not said */
  tsr_report_point *points;
  uint32_t point_count;
  tsr_report_time latency; /* BENCH */
  double runs, kernels, load_ns;
} tsr_report_file;

typedef struct tsr_report {
  tsr_report_file
      *files; /* by kind, device, model, target, precision, date, commit, threads, path */
  uint32_t count;
} tsr_report;

/* IO, FORMAT with file and line, OUT_OF_MEMORY. */
TSR_WARN_UNUSED tsr_status tsr_report_read(const char *const *paths, uint32_t count,
                                           tsr_arena *arena, tsr_diag *diag,
                                           tsr_report *out_report);

/* The results in one text of JSON; `out_file` lives as long as the arena and `root`. FORMAT with
 * the line, OUT_OF_MEMORY. */
TSR_WARN_UNUSED tsr_status tsr_report_take(const tsr_json *root, const char *path, tsr_arena *arena,
                                           tsr_diag *diag, tsr_report_file *out_file);

/* The whole page. It depends on nothing but the report. */
void tsr_report_write_page(FILE *out, const tsr_report *report);

/* --- parts of the page --- */

/* The case against that peer, or NULL. */
const tsr_report_versus *tsr_report_find_versus(const tsr_report_case *c, const char *peer);
/* Slower than the peer, by what two digits show. */
bool tsr_report_loses(double ratio);
/* The geometric mean of the group's ratios, and of how many; 0 of none. */
double tsr_report_mean(const tsr_report_file *file, uint32_t group, const char *peer,
                       uint32_t threads, uint32_t *out_count);
/* The goals of that mean, or NULL. */
const tsr_report_group *tsr_report_find_group(const tsr_report_file *file, const char *name,
                                              const char *peer, uint32_t threads);

/* Each writes <figure>s. */
void tsr_report_plot_ratios(FILE *out, const tsr_report_file *file, const char *peer,
                            uint32_t threads);
void tsr_report_plot_roofline(FILE *out, const tsr_report_file *file, uint32_t threads);
void tsr_report_plot_history(FILE *out, const tsr_report_file *files, uint32_t count,
                             const char *peer, uint32_t threads);
void tsr_report_plot_tuning(FILE *out, const tsr_report_file *files, uint32_t count);
void tsr_report_plot_latency(FILE *out, const tsr_report_file *files, uint32_t count);

/* --- texts --- */

/* Text as HTML: markup is escaped, control characters become U+FFFD. With `most` above 0 what is
 * longer is cut and ends in an ellipsis. */
void tsr_html_put(FILE *out, const char *text, uint32_t most);
/* The unit that a time is shown in, s to ns; the time becomes a number of them. */
const char *tsr_time_unit(double *inout_ns);
/* "12.3 us"; as long as `room`. */
const char *tsr_time_text(double ns, char *out, size_t room);

#endif
