/* gpu_tests: everything that a GPU can get wrong, on the first device of the driver. Needs nothing
 * but the driver and the files that benchmarks/portable.sh puts beside it.
 *
 * Tests run one after the other in a child process; a test that ends it, or hangs, or leaves the
 * device's context in ruins, fails alone: the next child goes on behind it. */
#include "runtime/clock.h"
#include "tests/gpu/items.h"
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct result {
  int32_t item; /* -1: about the device */
  verdict verdict;
  int64_t time_ns;
  char reason[REASON_BYTES];
} result;

typedef struct options {
  const char *filters[64];
  int filter_count;
  const char *folder;
  int timeout_s;
  bool list;
} options;

/* ---- for the cases ---- */

bool gpu_fail(gpu_run *run, const char *format, ...) {
  va_list list;
  va_start(list, format);
  vsnprintf(run->why, sizeof run->why, format, list);
  va_end(list);
  return false;
}

/* A test that gets no memory ends here: its process does, and the parent says so. */
void *gpu_memory(gpu_run *run, size_t bytes) {
  void *memory = tsr_emulator_alloc(run->device, bytes, "memory");
  if (memory == NULL) {
    fprintf(stderr, "no memory of %zu bytes: %s\n", bytes, tsr_emulator_error(run->device));
    exit(1);
  }
  return memory;
}

bool gpu_launch(gpu_run *run, const char *kernel, const tsr_emulated_launch *launch, int count,
                void *const *args) {
  gpu_device_arguments(count);
  const tsr_emulated_kernel *k = tsr_emulator_kernel(run->device, run->unit, kernel);
  return (k != NULL && tsr_emulator_launch(run->device, k, launch, args)) ||
         gpu_fail(run, "%s: %s", kernel, tsr_emulator_error(run->device));
}

bool gpu_same_ints(gpu_run *run, const char *what, const int *got, const int *want, int count) {
  for (int i = 0; i < count; i++)
    if (got[i] != want[i])
      return gpu_fail(run, "%s: number %d of %d is %d (%#x), not %d (%#x)", what, i, count, got[i],
                      (unsigned)got[i], want[i], (unsigned)want[i]);
  return true;
}

bool gpu_same_bytes(gpu_run *run, const char *what, const uint8_t *got, const uint8_t *want,
                    int count) {
  for (int i = 0; i < count; i++)
    if (got[i] != want[i])
      return gpu_fail(run, "%s: byte %d of %d is %d, not %d", what, i, count, got[i], want[i]);
  return true;
}

/* ---- the list ---- */

static void add_cases(items *all, const gpu_case *cases) {
  for (; cases->name != NULL && all->count < MOST_ITEMS; cases++)
    all->list[all->count++] = (item){.name = cases->name, .kernel = cases};
}

static void collect(items *all, const options *o) {
  char folder[4096];
  add_cases(all, gpu_cases_sm80);
  add_cases(all, gpu_cases_atoms());
  add_cases(all, gpu_cases_sm90);
  add_cases(all, gpu_cases_wgmma());
  add_cases(all, gpu_cases_kernels());
  snprintf(folder, sizeof folder, "%s/operators", o->folder);
  items_add_operators(all, folder);
  snprintf(folder, sizeof folder, "%s/models", o->folder);
  items_add_models(all, folder);
}

/* A filter is a part of a name, or a pattern for the whole of it. */
static bool wanted(const options *o, const char *name) {
  bool any = o->filter_count == 0;
  for (int i = 0; i < o->filter_count; i++)
    any = any || strstr(name, o->filters[i]) != NULL || fnmatch(o->filters[i], name, 0) == 0;
  return any;
}

static void keep_wanted(items *all, const options *o) {
  int count = 0;
  for (int i = 0; i < all->count; i++)
    if (wanted(o, all->list[i].name))
      all->list[count++] = all->list[i];
  all->count = count;
}

/* ---- the child ---- */

static void send_result(int handle, const result *r) {
  const char *at = (const char *)r;
  for (size_t left = sizeof *r; left > 0;) {
    ssize_t written = write(handle, at, left);
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      _exit(1);
    at += written;
    left -= (size_t)written;
  }
}

static verdict run_kernel(const gpu_case *c, char *out_reason) {
  int capability = gpu_device_capability();
  if (c->capability == 90 ? capability != 90 : capability < c->capability) {
    snprintf(out_reason, REASON_BYTES, "needs %s; this device has %d.%d",
             c->capability == 90 ? "capability 9.0 and no other" : "a newer device",
             capability / 10, capability % 10);
    return VERDICT_SKIP;
  }
  static gpu_run run;
  bool passed = true;
  for (int turn = 0; passed && turn < gpu_device_turns(); turn++) {
    run = (gpu_run){.device = tsr_emulator_create(c->capability), .unit = c->unit};
    passed = c->run(c, &run);
    tsr_emulator_destroy(run.device);
  }
  if (!passed)
    snprintf(out_reason, REASON_BYTES, "%s", run.why);
  return passed ? VERDICT_PASS : VERDICT_FAIL;
}

_Noreturn static void run_child(const items *all, const options *o, int begin, int handle) {
  static result r;
  char folder[4096];
  r = (result){.item = -1, .verdict = VERDICT_PASS};
  if (!gpu_device_open(r.reason, sizeof r.reason))
    r.verdict = VERDICT_FAIL;
  else
    snprintf(r.reason, sizeof r.reason, "%s, capability %d.%d", gpu_device_name(),
             gpu_device_capability() / 10, gpu_device_capability() % 10);
  send_result(handle, &r);
  snprintf(folder, sizeof folder, "%s/kernels", o->folder);
  gpu_device_set_folder(folder);
  for (int i = begin; i < all->count && !gpu_device_lost() && r.verdict != VERDICT_FAIL; i++) {
    const item *it = &all->list[i];
    result one = {.item = i};
    int64_t start_ns = tsr_time_ns();
    one.verdict =
        it->kernel != NULL ? run_kernel(it->kernel, one.reason) : it->run(it->folder, one.reason);
    one.time_ns = tsr_time_ns() - start_ns;
    send_result(handle, &one);
    /* After a failure nothing about the context is sure. */
    if (one.verdict == VERDICT_FAIL)
      break;
  }
  fflush(NULL);
  exit(0);
}

/* ---- the parent ---- */

typedef struct tally {
  int verdicts[3];
  bool device_shown;
} tally;

static void show(tally *t, const items *all, const result *r) {
  static const char *const words[] = {"PASS", "FAIL", "SKIP"};
  t->verdicts[r->verdict]++;
  printf("%s %s", words[r->verdict], all->list[r->item].name);
  if (r->reason[0] != '\0')
    printf(": %s", r->reason);
  printf(" (%.1f ms)\n", (double)r->time_ns * 1e-6);
  fflush(stdout);
}

/* Waits for one result; false at the child's end, or when nothing comes for too long. */
static bool receive(int handle, int timeout_s, result *r, bool *out_late) {
  char *at = (char *)r;
  *out_late = false;
  for (size_t left = sizeof *r; left > 0;) {
    struct pollfd wait = {.fd = handle, .events = POLLIN};
    int ready = poll(&wait, 1, timeout_s * 1000);
    if (ready < 0 && errno == EINTR)
      continue;
    *out_late = ready == 0;
    ssize_t got = ready > 0 ? read(handle, at, left) : 0;
    if (got <= 0)
      return false;
    at += got;
    left -= (size_t)got;
  }
  return true;
}

static void explain_end(pid_t child, bool late, int timeout_s, result *r) {
  int status = 0;
  if (late)
    kill(child, SIGKILL);
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  r->verdict = VERDICT_FAIL;
  if (late)
    snprintf(r->reason, sizeof r->reason, "took longer than %d s", timeout_s);
  else if (WIFSIGNALED(status))
    snprintf(r->reason, sizeof r->reason, "ended by signal %d", WTERMSIG(status));
  else
    snprintf(r->reason, sizeof r->reason, "ended with status %d", WEXITSTATUS(status));
}

/* Runs tests from `begin` on in one child; returns where the next child begins, -1 for nowhere. */
static int run_from(const items *all, const options *o, int begin, tally *t) {
  int pipes[2];
  static result r;
  if (pipe(pipes) != 0)
    return -1;
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    close(pipes[0]);
    run_child(all, o, begin, pipes[1]);
  }
  close(pipes[1]);
  bool late = false, opened = false;
  int next = begin;
  while (next < all->count && child > 0 && receive(pipes[0], o->timeout_s, &r, &late)) {
    if (r.item >= 0) {
      show(t, all, &r);
      next = r.item + 1;
      continue;
    }
    opened = r.verdict == VERDICT_PASS;
    if (!t->device_shown)
      printf("%s%s\n", opened ? "device: " : "error: ", r.reason);
    t->device_shown = true;
    if (!opened)
      break;
  }
  bool failed = r.item >= 0 && next > begin && r.verdict == VERDICT_FAIL;
  result end = {.item = next};
  explain_end(child, late, o->timeout_s, &end);
  close(pipes[0]);
  if (!opened)
    return -1;
  if (next < all->count && !failed) {
    show(t, all, &end);
    next++;
  }
  return next;
}

static int read_options(options *o, int count, char **words) {
  for (int i = 1; i < count; i++) {
    if (strcmp(words[i], "--list") == 0)
      o->list = true;
    else if (strcmp(words[i], "--data") == 0 && i + 1 < count)
      o->folder = words[++i];
    else if (strcmp(words[i], "--timeout") == 0 && i + 1 < count)
      o->timeout_s = atoi(words[++i]);
    else if (words[i][0] == '-' || o->filter_count == 64)
      return 2;
    else
      o->filters[o->filter_count++] = words[i];
  }
  return o->timeout_s > 0 ? 0 : 2;
}

/* The folder `tests` beside the program. */
static const char *beside_program(void) {
  static char path[4096];
  ssize_t length = readlink("/proc/self/exe", path, sizeof path - 16);
  path[length > 0 ? length : 0] = '\0';
  char *slash = strrchr(path, '/');
  snprintf(slash != NULL ? slash + 1 : path, 8, "tests");
  return path;
}

int main(int count, char **words) {
  static items all;
  options o = {.folder = beside_program(), .timeout_s = 120};
  if (read_options(&o, count, words) != 0) {
    fprintf(stderr, "usage: gpu_tests [--list] [--data FOLDER] [--timeout SECONDS] [FILTER...]\n"
                    "A FILTER is a part of a test's name or a pattern for the whole of it.\n");
    return 2;
  }
  collect(&all, &o);
  keep_wanted(&all, &o);
  if (o.list) {
    for (int i = 0; i < all.count; i++)
      puts(all.list[i].name);
    return 0;
  }
  tally t = {{0}, false};
  int next = 0;
  while (next >= 0 && next < all.count)
    next = run_from(&all, &o, next, &t);
  printf("%d passed, %d failed, %d skipped\n", t.verdicts[VERDICT_PASS], t.verdicts[VERDICT_FAIL],
         t.verdicts[VERDICT_SKIP]);
  if (next < 0)
    fprintf(stderr, "error: no device; nothing was tested\n");
  return next < 0 || t.verdicts[VERDICT_FAIL] > 0 || all.count == 0;
}
