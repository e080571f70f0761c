/* Commands and options of the command line: two lists from which parsing, --help and COMMAND --help
 * are made. */
#ifndef TSR_FRONTEND_CLI_OPTIONS_H
#define TSR_FRONTEND_CLI_OPTIONS_H
#include "runtime/diag.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct tsr_cli_args tsr_cli_args;

/* Exit statuses. */
enum { TSR_EXIT_FINE = 0, TSR_EXIT_BAD = 1, TSR_EXIT_USAGE = 2 };

/* X(NAME, "text", function, "arguments", fewest, most arguments (0: any number), "summary") */
#define TSR_CLI_COMMAND_LIST(X)                                                                    \
  X(COMPILE, "compile", tsr_cli_compile, "MODEL", 1, 1, "compile a model into a module")           \
  X(RUN, "run", tsr_cli_run, "MODEL|OUT.tsm", 1, 1, "run a model or module once")                  \
  X(VERIFY, "verify", tsr_cli_verify, "DIR...", 1, 0,                                              \
    "run ONNX backend test directories and compare the results")                                   \
  X(TUNE, "tune", tsr_cli_tune, "MODEL", 1, 1,                                                     \
    "search and measure schedules of a model's kernels, into a database")                          \
  X(BENCH, "bench", tsr_cli_bench, "MODEL|OUT.tsm", 1, 1, "measure the latency of a model")        \
  X(INSPECT, "inspect", tsr_cli_inspect, "OUT.tsm", 1, 1, "say what a module holds")               \
  X(OPT, "opt", tsr_cli_opt, "FILE.tsr", 1, 1, "run passes over the text IR, print the result")    \
  X(DB, "db", tsr_cli_db, "stats|list|export|import FILE...|merge FILE...|prune|check", 1, 0,      \
    "look into a tuning database, merge and mend it")                                              \
  X(REPORT, "report", tsr_cli_report, "RESULTS.json...", 1, 0,                                     \
    "one page of plots and tables of 'bench --json', 'tune --json', benchmarks/cpu_peers.sh")      \
  X(DOCTOR, "doctor", tsr_cli_doctor, "", 0, 0, "say what this machine has and what is missing")

typedef enum tsr_cli_command_id {
#define TSR_CLI_COMMAND_ENUM(name, ...) TSR_COMMAND_##name,
  TSR_CLI_COMMAND_LIST(TSR_CLI_COMMAND_ENUM)
#undef TSR_CLI_COMMAND_ENUM
      TSR_COMMAND_COUNT
} tsr_cli_command_id;

#define TSR_CLI_COMMAND_FUNCTION(name, text, function, ...) int function(const tsr_cli_args *args);
TSR_CLI_COMMAND_LIST(TSR_CLI_COMMAND_FUNCTION)
#undef TSR_CLI_COMMAND_FUNCTION

/* Sets of commands that take an option. */
#define TSR_CLI_ON(name) (1u << TSR_COMMAND_##name)
#define TSR_CLI_MODEL    (TSR_CLI_ON(COMPILE) | TSR_CLI_ON(TUNE) | TSR_CLI_ON(RUN) | TSR_CLI_ON(BENCH))
#define TSR_CLI_RUNS     (TSR_CLI_ON(RUN) | TSR_CLI_ON(BENCH))
#define TSR_CLI_ALL      ((1u << TSR_COMMAND_COUNT) - 1)

typedef enum tsr_cli_kind {
  TSR_CLI_FLAG,
  TSR_CLI_TEXT,  /* any text; may be given several times where the commands look at each */
  TSR_CLI_COUNT, /* a decimal number, 0 or more */
} tsr_cli_kind;

/* X(NAME, "option", "VALUE" or NULL, kind, commands, "what it does") */
#define TSR_CLI_OPTION_LIST(X)                                                                     \
  X(OUTPUT, "-o", "OUT", TEXT, TSR_CLI_ON(COMPILE) | TSR_CLI_ON(DB) | TSR_CLI_ON(REPORT),          \
    "the module to write; of 'db export' the text; of 'report' the page, HTML")                    \
  X(DB, "--db", "FILE", TEXT, TSR_CLI_ON(DB) | TSR_CLI_MODEL | TSR_CLI_ON(VERIFY),                 \
    "the tuning database; kernels take the best schedule that was measured for them")              \
  X(TRIALS, "--trials", "N", COUNT, TSR_CLI_ON(TUNE),                                              \
    "measure at most N schedules; 0 or not given: any number")                                     \
  X(TIME, "--time", "SECONDS", COUNT, TSR_CLI_ON(TUNE),                                            \
    "stop after so long; in any case once nothing is expected to gain")                            \
  X(RESUME, "--resume", NULL, FLAG, TSR_CLI_ON(TUNE),                                              \
    "go on: what the database knows of the kernels is not measured again")                         \
  X(COLD, "--cold", NULL, FLAG, TSR_CLI_ON(TUNE), "operands out of the caches before each sample") \
  X(NO_ANALYTIC, "--no-analytic", NULL, FLAG, TSR_CLI_ON(TUNE),                                    \
    "search without the analytic model, to compare")                                               \
  X(NO_LEARNED, "--no-learned", NULL, FLAG, TSR_CLI_ON(TUNE),                                      \
    "search without the correction learned from measurements, to compare")                         \
  X(KEEP, "--keep", "N", COUNT, TSR_CLI_ON(DB), "prune: best trials to keep of each key (10)")     \
  X(TARGET, "--target", "TARGET", TEXT,                                                            \
    TSR_CLI_MODEL | TSR_CLI_ON(VERIFY) | TSR_CLI_ON(OPT) | TSR_CLI_ON(INSPECT),                    \
    "cpu (this machine), cpu:FEATURES such as cpu:x86-64-v3, cuda:sm_80, sm_89 or sm_90a")         \
  X(DIM, "--dim", "NAME=N", TEXT, TSR_CLI_MODEL, "fix a symbolic dim; NAME=LO..HI bounds it")      \
  X(ALIAS, "--alias", "OUT=IN", TEXT, TSR_CLI_MODEL,                                               \
    "output OUT is the next state of input IN and may live in its memory")                         \
  X(PRECISION, "--precision", "NAME", TEXT, TSR_CLI_MODEL,                                         \
    "f32: products by constants may be sums of products of bf16 parts, as exact as f32's, where "  \
    "that is faster (AMX); f32-strict: they may not; tf32: faster matrix products on CUDA; bf16: " \
    "operands of matrix products and convolutions rounded to bf16, sums f32, on CPUs that are "    \
    "faster that way")                                                                             \
  X(NO_FUSE, "--no-fuse", NULL, FLAG, TSR_CLI_MODEL | TSR_CLI_ON(OPT), "one kernel per operation") \
  X(DETERMINISTIC, "--deterministic", NULL, FLAG, TSR_CLI_MODEL, "the same bits from every run")   \
  X(EMIT, "--emit", "STAGE", TEXT, TSR_CLI_ON(COMPILE),                                            \
    "show a stage too: model, graph, block, groups, plan, tile, ll, asm, cu, ptx, cubin, "         \
    "weights, manifest")                                                                           \
  X(EMIT_DIR, "--emit-dir", "DIR", TEXT, TSR_CLI_ON(COMPILE),                                      \
    "where --emit writes; standard output when not given")                                         \
  X(INPUT, "--input", "NAME=FILE.npy", TEXT, TSR_CLI_RUNS,                                         \
    "an input's data, NAME=A.npy,B.npy of a list; others are random, optional ones absent")        \
  X(OUTPUT_DIR, "--output-dir", "DIR", TEXT, TSR_CLI_ON(RUN),                                      \
    "write DIR/NAME.npy per output, of a list DIR/NAME.0.npy and so on")                           \
  X(STATE, "--state", "IN=OUT", TEXT, TSR_CLI_ON(RUN),                                             \
    "output OUT is input IN of the next step; of floats for integers, where the largest is")       \
  X(STEPS, "--steps", "N", COUNT, TSR_CLI_ON(RUN), "run N times, with --state in between (1)")     \
  X(TRACE, "--trace", "FILE.json", TEXT, TSR_CLI_ON(RUN),                                          \
    "write the time of every kernel, for Perfetto")                                                \
  X(RUNS, "--runs", "N", COUNT, TSR_CLI_ON(BENCH), "timed runs (100)")                             \
  X(SEED, "--seed", "N", COUNT, TSR_CLI_RUNS | TSR_CLI_ON(TUNE),                                   \
    "seed of random inputs, of the search (1)")                                                    \
  X(JSON, "--json", "FILE", TEXT, TSR_CLI_ON(BENCH) | TSR_CLI_ON(TUNE) | TSR_CLI_ON(DOCTOR),       \
    "write the figures; - is standard output")                                                     \
  X(THREADS, "--threads", "N", COUNT, TSR_CLI_MODEL | TSR_CLI_ON(VERIFY),                          \
    "threads; all processors when 0 or not given")                                                 \
  X(COMPILE_ONLY, "--compile-only", NULL, FLAG, TSR_CLI_ON(VERIFY),                                \
    "compile for the target and run nothing: needs no device")                                     \
  X(TIMEOUT, "--timeout", "SECONDS", COUNT, TSR_CLI_ON(VERIFY), "time for one directory (60)")     \
  X(PASS, "--pass", "NAME", TEXT, TSR_CLI_ON(OPT), "a pass to run; given again, the next one")     \
  X(CEILINGS, "--ceilings", NULL, FLAG, TSR_CLI_ON(DOCTOR),                                        \
    "measure what the processor and its memory reach, for about 8 seconds")                        \
  X(QUIET, "--quiet", NULL, FLAG, TSR_CLI_ALL, "no progress on standard error")                    \
  X(HELP, "--help", NULL, FLAG, TSR_CLI_ALL, "this text")

typedef enum tsr_cli_option_id {
#define TSR_CLI_OPTION_ENUM(name, ...) TSR_OPTION_##name,
  TSR_CLI_OPTION_LIST(TSR_CLI_OPTION_ENUM)
#undef TSR_CLI_OPTION_ENUM
      TSR_OPTION_COUNT
} tsr_cli_option_id;

typedef struct tsr_cli_given {
  tsr_cli_option_id option;
  const char *value; /* NULL for flags */
} tsr_cli_given;

/* A parsed command line. Texts are those of argv. */
struct tsr_cli_args {
  tsr_cli_command_id command;
  const char **positional;
  int positional_count;
  tsr_cli_given *given;
  int given_count;
};

/* Parses argv[1..] and runs the command, or prints what --help asks for. */
int tsr_cli_main(int argc, char **argv);

bool tsr_cli_has(const tsr_cli_args *args, tsr_cli_option_id option);
/* The last value given, or `fallback`. */
const char *tsr_cli_text(const tsr_cli_args *args, tsr_cli_option_id option, const char *fallback);
int64_t tsr_cli_count(const tsr_cli_args *args, tsr_cli_option_id option, int64_t fallback);
/* The next value of a repeated option, NULL at the end; *position starts at 0. */
const char *tsr_cli_next(const tsr_cli_args *args, tsr_cli_option_id option, int *position);

/* Print "error: ..." to stderr and return the exit status. A bad argument that concerns no file is
 * wrong usage. */
int tsr_cli_usage(const tsr_cli_args *args, const char *format, ...) TSR_PRINTF(2, 3);
int tsr_cli_bad(const tsr_diag *diag);

#endif
