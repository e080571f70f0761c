#include "frontend/cli/emulated.h"
#include "frontend/cli/model.h"
#include "frontend/cli/progress.h"
#include "frontend/cli/verify_case.h"
#include "runtime/clock.h"
#include "runtime/cpu_features.h"
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REASON_BYTES = 1500, MOST_CHILDREN = 64 };

/* What a child writes to its pipe, at once: no more than a pipe takes atomically. */
typedef struct result {
  tsr_verdict verdict;
  char reason[REASON_BYTES];
} result;

typedef struct folder {
  char *path;
  bool done;
  result result;
} folder;

/* A process that runs one case. */
typedef struct child {
  pid_t process; /* 0: no case here */
  int results;   /* read end of the pipe */
  FILE *errors;  /* its standard error */
  size_t folder;
  int64_t deadline_ns;
} child;

typedef struct verification {
  const tsr_cli_args *args;
  folder *folders;
  size_t count, started, printed;
  size_t verdicts[3];
  int64_t timeout_s;
  bool refused; /* the error line is printed already */
  tsr_progress progress;
} verification;

static const char *const verdict_texts[] = {"PASS", "FAIL", "SKIP"};

static bool add_folder(verification *v, const char *path) {
  folder *folders = realloc(v->folders, (v->count + 1) * sizeof *folders);
  if (folders == NULL)
    return false;
  v->folders = folders;
  folders[v->count] = (folder){.path = strdup(path)};
  return folders[v->count++].path != NULL;
}

/* Adds `path` if it holds a model.onnx, else what its folders hold, in the order of their names. */
static bool collect(verification *v, const char *path, int depth) {
  char inner[4096];
  struct stat about;
  snprintf(inner, sizeof inner, "%s/model.onnx", path);
  if (stat(inner, &about) == 0)
    return add_folder(v, path);
  struct dirent **entries = NULL;
  int count = depth > 0 ? scandir(path, &entries, NULL, alphasort) : 0;
  bool fine = true;
  for (int i = 0; i < count; i++) {
    snprintf(inner, sizeof inner, "%s/%s", path, entries[i]->d_name);
    if (fine && entries[i]->d_name[0] != '.' && stat(inner, &about) == 0 && S_ISDIR(about.st_mode))
      fine = collect(v, inner, depth - 1);
    free(entries[i]);
  }
  free(entries);
  return fine;
}

static bool collect_all(verification *v) {
  for (int i = 0; i < v->args->positional_count; i++) {
    char path[4096];
    size_t before = v->count;
    snprintf(path, sizeof path, "%s", v->args->positional[i]);
    for (size_t length = strlen(path); length > 1 && path[length - 1] == '/'; length--)
      path[length - 1] = '\0';
    struct stat about;
    if (stat(path, &about) != 0) {
      fprintf(stderr, "error: %s: %s\n", path, strerror(errno));
      v->refused = true;
      return false;
    }
    if (!collect(v, path, 4) || (v->count == before && !add_folder(v, path)))
      return false;
  }
  return true;
}

static void write_result(int handle, const result *r) {
  const char *at = (const char *)r;
  size_t left = sizeof *r;
  while (left > 0) {
    ssize_t written = write(handle, at, left);
    if (written <= 0)
      return;
    at += written;
    left -= (size_t)written;
  }
}

_Noreturn static void run_child(const verification *v, size_t index, int handle, FILE *errors) {
  result r = {TSR_VERDICT_FAIL, ""};
  char model[4096];
  (void)dup2(fileno(errors), STDERR_FILENO);
  snprintf(model, sizeof model, "%s/model.onnx", v->folders[index].path);
  if (access(model, F_OK) != 0)
    r = (result){TSR_VERDICT_SKIP, "there is no model.onnx in it or below"};
  else
    r.verdict = tsr_verify_case(v->args, v->folders[index].path, r.reason, sizeof r.reason);
  write_result(handle, &r);
  fflush(NULL);
  _exit(0);
}

static bool start(verification *v, child *c) {
  int pipes[2];
  size_t index = v->started;
  fflush(stdout);
  FILE *errors = tmpfile();
  if (errors == NULL || pipe(pipes) != 0) {
    if (errors != NULL)
      fclose(errors);
    return false;
  }
  pid_t process = fork();
  if (process == 0) {
    close(pipes[0]);
    run_child(v, index, pipes[1], errors);
  }
  close(pipes[1]);
  if (process < 0) {
    close(pipes[0]);
    fclose(errors);
    return false;
  }
  *c = (child){.process = process,
               .results = pipes[0],
               .errors = errors,
               .folder = index,
               .deadline_ns = tsr_time_ns() + v->timeout_s * 1000000000};
  v->started++;
  return true;
}

/* The last line that a child wrote to its standard error, which of an assertion is the assertion.
 */
static void last_words(FILE *errors, char *out, size_t out_size) {
  char line[REASON_BYTES];
  *out = '\0';
  rewind(errors);
  while (fgets(line, sizeof line, errors) != NULL) {
    line[strcspn(line, "\n")] = '\0';
    if (*line != '\0')
      snprintf(out, out_size, ": %s", line);
  }
}

static void describe_death(const child *c, int status, result *out_result) {
  char words[REASON_BYTES - 100];
  last_words(c->errors, words, sizeof words);
  out_result->verdict = TSR_VERDICT_FAIL;
  if (WIFSIGNALED(status))
    snprintf(out_result->reason, sizeof out_result->reason, "crashed by signal %d, %s%s",
             WTERMSIG(status), strsignal(WTERMSIG(status)), words);
  else
    snprintf(out_result->reason, sizeof out_result->reason, "ended with status %d%s",
             WEXITSTATUS(status), words);
}

static void print_finished(verification *v) {
  if (v->printed < v->count && v->folders[v->printed].done)
    tsr_progress_clear(&v->progress);
  for (; v->printed < v->count && v->folders[v->printed].done; v->printed++) {
    folder *f = &v->folders[v->printed];
    printf("%s %s%s%s\n", verdict_texts[f->result.verdict], f->path,
           *f->result.reason != '\0' ? " " : "", f->result.reason);
  }
  fflush(stdout);
}

/* Takes the child's result, or its death for one, and lets its place be used again. */
static void finish(verification *v, child *c, bool timed_out) {
  folder *f = &v->folders[c->folder];
  size_t got = 0;
  if (timed_out)
    kill(c->process, SIGKILL);
  while (!timed_out && got < sizeof f->result) {
    ssize_t count = read(c->results, (char *)&f->result + got, sizeof f->result - got);
    if (count <= 0)
      break;
    got += (size_t)count;
  }
  int status = 0;
  while (waitpid(c->process, &status, 0) < 0 && errno == EINTR) {
  }
  f->result.reason[REASON_BYTES - 1] = '\0';
  if (timed_out) {
    f->result.verdict = TSR_VERDICT_FAIL;
    snprintf(f->result.reason, sizeof f->result.reason, "took longer than %" PRId64 " s",
             v->timeout_s);
  } else if (got < sizeof f->result || !WIFEXITED(status) || WEXITSTATUS(status) != 0 ||
             (unsigned)f->result.verdict > TSR_VERDICT_SKIP) {
    describe_death(c, status, &f->result);
  }
  close(c->results);
  fclose(c->errors);
  c->process = 0;
  f->done = true;
  v->verdicts[f->result.verdict]++;
  tsr_progress_step(&v->progress);
}

/* Waits until a child has something to say or the next deadline has come. */
static void wait_for_children(verification *v, child *children, int count) {
  struct pollfd polls[MOST_CHILDREN];
  int64_t now_ns = tsr_time_ns(), next_ns = now_ns + 1000000000;
  for (int i = 0; i < count; i++) {
    polls[i] = (struct pollfd){.fd = children[i].process != 0 ? children[i].results : -1,
                               .events = POLLIN};
    if (children[i].process != 0 && children[i].deadline_ns < next_ns)
      next_ns = children[i].deadline_ns;
  }
  int wait_ms = next_ns > now_ns ? (int)((next_ns - now_ns) / 1000000) + 1 : 0;
  if (poll(polls, (nfds_t)count, wait_ms) < 0)
    return;
  for (int i = 0; i < count; i++) {
    if (children[i].process == 0)
      continue;
    if (polls[i].revents != 0)
      finish(v, &children[i], false);
    else if (tsr_time_ns() >= children[i].deadline_ns)
      finish(v, &children[i], true);
  }
}

static bool run_all(verification *v) {
  int64_t wanted = tsr_cli_count(v->args, TSR_OPTION_THREADS, 0);
  if (wanted == 0)
    wanted = tsr_cpu_count();
  int count = wanted < MOST_CHILDREN ? (int)wanted : MOST_CHILDREN;
  child children[MOST_CHILDREN] = {0};
  bool started = true;
  while (v->printed < v->count) {
    bool running = false;
    for (int i = 0; i < count; i++) {
      if (children[i].process == 0 && v->started < v->count)
        started = start(v, &children[i]);
      running |= children[i].process != 0;
    }
    if (!running && !started)
      return false;
    wait_for_children(v, children, count);
    print_finished(v);
  }
  tsr_progress_clear(&v->progress);
  return true;
}

/* Compiles and loads a graph of one addition for the targets given. */
static tsr_status try_targets(const tsr_cli_args *args, tsr_diag *diag) {
  static const char text[] = "graph @g {\n"
                             "  %x = input {name = \"x\"} : f32[4]\n"
                             "  %y = add %x, %x : f32[4]\n"
                             "  output %y {name = \"y\"}\n"
                             "}\n";
  tsr_model_source source = {.path = "", .text = text, .text_bytes = sizeof text - 1};
  tsr_exec_options options = {.size = sizeof options, .threads = 1};
  tsr_cli_module loaded;
  tsr_message message = {""};
  tsr_exec *exec = NULL;
  TSR_TRY(tsr_cli_module_open(args, &source, &loaded, diag));
  tsr_status status = tsr_exec_create(loaded.module, &options, &exec, &message);
  tsr_exec_destroy(exec);
  tsr_cli_module_close(&loaded);
  return status == TSR_OK ? TSR_OK : tsr_fail(diag, status, "%s", message.text);
}

/* Whether this machine runs the target at all: what it lacks is said once, not for each directory.
 * In a process of its own, because processes do not inherit a CUDA driver that is in use. */
static bool can_run_targets(const tsr_cli_args *args) {
  const char *target = tsr_cli_text(args, TSR_OPTION_TARGET, NULL);
  if (target == NULL)
    return true;
  fflush(NULL);
  pid_t process = fork();
  if (process == 0) {
    tsr_diag diag = {0};
    if (try_targets(args, &diag) == TSR_OK)
      _exit(TSR_EXIT_FINE);
    diag.file[0] = '\0';
    tsr_diag_set_file(&diag, target);
    int code = tsr_cli_bad(&diag);
    fflush(NULL);
    _exit(code);
  }
  int status = 0;
  while (process > 0 && waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
  if (process > 0 && WIFSIGNALED(status))
    fprintf(stderr, "error: %s: a small graph crashed by signal %d\n", target, WTERMSIG(status));
  return process > 0 && WIFEXITED(status) && WEXITSTATUS(status) == TSR_EXIT_FINE;
}

int tsr_cli_verify(const tsr_cli_args *args) {
  tsr_cli_use_emulated_device(args);
  if (!tsr_cli_has(args, TSR_OPTION_COMPILE_ONLY) && !can_run_targets(args))
    return TSR_EXIT_BAD;
  verification v = {.args = args, .timeout_s = tsr_cli_count(args, TSR_OPTION_TIMEOUT, 60)};
  if (v.timeout_s > 1000000)
    v.timeout_s = 1000000;
  bool fine = collect_all(&v);
  tsr_progress_begin(&v.progress, args, "verify", (int64_t)v.count);
  fine = fine && run_all(&v);
  if (fine)
    printf("%zu passed, %zu failed, %zu skipped\n", v.verdicts[TSR_VERDICT_PASS],
           v.verdicts[TSR_VERDICT_FAIL], v.verdicts[TSR_VERDICT_SKIP]);
  else if (!v.refused)
    fprintf(stderr, "error: no process could be started: %s\n", strerror(errno));
  for (size_t i = 0; i < v.count; i++)
    free(v.folders[i].path);
  free(v.folders);
  return fine && v.verdicts[TSR_VERDICT_FAIL] == 0 ? TSR_EXIT_FINE : TSR_EXIT_BAD;
}
