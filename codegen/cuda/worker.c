/* The pool's side: who compiles what. One thread watches all workers with poll. */
#include "codegen/cuda/worker.h"
#include "codegen/cuda/nvrtc_codec.h"
#include "codegen/cuda/worker_message.h"
#include "runtime/clock.h"
#include "runtime/hash.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { DEFAULT_TIMEOUT_MS = 120000, MOST_WORKERS = 256, MOST_ARGUMENTS = 16, GRACE_MS = 1000 };

#define NS_PER_MS INT64_C(1000000)
#define NO_JOB    UINT32_MAX

/* One process and how far the talk with it is. */
typedef struct worker {
  pid_t pid; /* 0: none */
  int channel;
  bool ready; /* it said hello */
  uint32_t job;
  int64_t deadline_ns;
  tsr_cuda_bytes request; /* header and bytes; `sent` of them are gone */
  size_t sent;
  tsr_worker_message header; /* of the reply; `received` bytes of header and body are there */
  size_t received;
  uint8_t *body;
} worker;

struct tsr_compile_pool {
  const tsr_allocator *allocator;
  tsr_arena own; /* of what was copied from the options */
  char *argv[MOST_ARGUMENTS + 1];
  const tsr_nvrtc *nvrtc;
  const char *identity, *nvrtc_path;
  tsr_compile_cache *cache;
  int64_t timeout_ns;
  uint32_t worker_count;
  worker *workers;
};

extern char **environ;

static tsr_status no_memory(tsr_diag *diag) {
  return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
}

/* Creation. */

static tsr_status copy_arguments(tsr_compile_pool *pool, const char *const *argv, tsr_diag *diag) {
  for (uint32_t i = 0; argv != NULL && argv[i] != NULL; i++) {
    if (i == MOST_ARGUMENTS)
      return tsr_fail(diag, TSR_ERR_ARGUMENT, "a worker has at most %d arguments", MOST_ARGUMENTS);
    pool->argv[i] = tsr_arena_string(&pool->own, argv[i], strlen(argv[i]));
    if (pool->argv[i] == NULL)
      return no_memory(diag);
  }
  return TSR_OK;
}

static uint32_t processors(void) {
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online < 1 ? 1 : (uint32_t)online;
}

static tsr_status fill_pool(tsr_compile_pool *pool, const tsr_compile_pool_options *options,
                            tsr_diag *diag) {
  const char *identity =
      options->nvrtc != NULL ? tsr_nvrtc_identity(options->nvrtc) : options->identity;
  if (identity == NULL || (options->nvrtc == NULL && options->worker_argv == NULL))
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "a pool needs NVRTC, or workers and their identity");
  TSR_TRY(copy_arguments(pool, options->worker_argv, diag));
  pool->nvrtc = options->nvrtc;
  pool->nvrtc_path = options->nvrtc != NULL ? tsr_nvrtc_path(options->nvrtc) : "";
  pool->identity = tsr_arena_string(&pool->own, identity, strlen(identity));
  pool->cache = options->cache;
  pool->timeout_ns =
      (options->timeout_ms != 0 ? options->timeout_ms : DEFAULT_TIMEOUT_MS) * NS_PER_MS;
  pool->worker_count = options->worker_count != 0 ? options->worker_count : processors();
  if (pool->worker_count > MOST_WORKERS)
    pool->worker_count = MOST_WORKERS;
  pool->workers = tsr_arena_alloc_array(&pool->own, pool->worker_count, sizeof *pool->workers);
  return pool->identity == NULL || pool->workers == NULL ? no_memory(diag) : TSR_OK;
}

tsr_status tsr_compile_pool_create(const tsr_allocator *allocator,
                                   const tsr_compile_pool_options *options,
                                   tsr_compile_pool **out_pool, tsr_diag *diag) {
  *out_pool = NULL;
  tsr_compile_pool *pool =
      allocator->allocate(allocator->context, sizeof *pool, _Alignof(tsr_compile_pool));
  if (pool == NULL)
    return no_memory(diag);
  memset(pool, 0, sizeof *pool);
  pool->allocator = allocator;
  tsr_arena_init(&pool->own, allocator);
  tsr_status status = fill_pool(pool, options, diag);
  if (status != TSR_OK) {
    pool->worker_count = 0;
    tsr_compile_pool_destroy(pool);
    return status;
  }
  *out_pool = pool;
  return TSR_OK;
}

/* Processes. */

/* The program starts with every signal at its default and none blocked, whatever this thread has.
 */
static int set_signals(posix_spawnattr_t *attributes) {
  sigset_t all, none;
  sigfillset(&all);
  sigdelset(&all, SIGKILL);
  sigdelset(&all, SIGSTOP);
  sigemptyset(&none);
  int error = posix_spawnattr_setsigdefault(attributes, &all);
  if (error == 0)
    error = posix_spawnattr_setsigmask(attributes, &none);
  if (error == 0)
    error = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  return error;
}

/* What a compiler may print goes nowhere; standard error stays, for what a crash says. */
static int set_files(posix_spawn_file_actions_t *files, int channel) {
  int error = posix_spawn_file_actions_adddup2(files, channel, STDIN_FILENO);
  if (error == 0)
    error = posix_spawn_file_actions_addopen(files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  return error;
}

static int spawn(const tsr_compile_pool *pool, int channel, pid_t *out_pid) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  int error = posix_spawn_file_actions_init(&files);
  if (error != 0)
    return error;
  error = posix_spawnattr_init(&attributes);
  if (error == 0) {
    error = set_files(&files, channel);
    if (error == 0)
      error = set_signals(&attributes);
    if (error == 0)
      error = posix_spawn(out_pid, pool->argv[0], &files, &attributes, pool->argv, environ);
    posix_spawnattr_destroy(&attributes);
  }
  posix_spawn_file_actions_destroy(&files);
  return error;
}

static int start(const tsr_compile_pool *pool, worker *w) {
  int ends[2];
  *w = (worker){.job = NO_JOB};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return errno;
  int error = fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0 ? errno : spawn(pool, ends[1], &w->pid);
  close(ends[1]);
  w->channel = ends[0];
  if (error != 0) {
    close(ends[0]);
    w->pid = 0;
  }
  return error;
}

/* Waits for a process that ends by itself, and ends it after `grace_ms`. Gives its status as
 * waitpid does; -1 where someone else has waited for it. */
static int reap(worker *w, int grace_ms) {
  struct timespec nap = {0, NS_PER_MS};
  int status = -1;
  pid_t got = 0;
  for (int ms = 0; ms < grace_ms && got == 0; ms++) {
    got = waitpid(w->pid, &status, WNOHANG);
    if (got == 0)
      (void)nanosleep(&nap, NULL);
  }
  if (got == 0) {
    (void)kill(w->pid, SIGKILL);
    while ((got = waitpid(w->pid, &status, 0)) < 0 && errno == EINTR)
      continue;
  }
  w->pid = 0;
  w->job = NO_JOB;
  return got < 0 ? -1 : status;
}

/* For a worker whose channel says that it ended, or that is not to go on. */
static int drop(worker *w, int grace_ms) {
  close(w->channel);
  return reap(w, grace_ms);
}

/* Says of an idle worker whether it is still there. */
static bool is_alive(const worker *w) {
  char byte;
  ssize_t got = recv(w->channel, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

void tsr_compile_pool_destroy(tsr_compile_pool *pool) {
  if (pool == NULL)
    return;
  for (uint32_t i = 0; i < pool->worker_count; i++)
    if (pool->workers[i].pid != 0)
      close(pool->workers[i].channel);
  for (uint32_t i = 0; i < pool->worker_count; i++)
    if (pool->workers[i].pid != 0)
      (void)reap(&pool->workers[i], GRACE_MS);
  tsr_arena_reset(&pool->own);
  pool->allocator->release(pool->allocator->context, pool, sizeof *pool);
}

/* One run. */

typedef struct run {
  tsr_compile_pool *pool;
  const tsr_cuda_source *sources;
  uint32_t count;
  tsr_compile_result *results;
  tsr_arena *arena;   /* the caller's */
  tsr_arena scratch;  /* gone after the run */
  uint32_t *first_of; /* source -> the first that is equal to it */
  uint32_t *pending;  /* sources that must be compiled */
  uint32_t pending_count, next, finished;
  tsr_diag *diag;
} run;

static const char *label(const run *r, uint32_t job) {
  return r->sources[job].name != NULL ? r->sources[job].name : "a kernel";
}

static void finish(run *r, uint32_t job, tsr_status status, const char *message) {
  r->results[job].status = status;
  r->results[job].message = message != NULL ? message : "out of memory";
  r->finished++;
}

static tsr_status keep(const run *r, uint32_t job) {
  const tsr_compile_pool *pool = r->pool;
  if (pool->cache == NULL || r->results[job].status != TSR_OK)
    return TSR_OK;
  return tsr_compile_cache_put(pool->cache, &r->sources[job], pool->identity,
                               &r->results[job].output);
}

/* Equal sources are found through a table of hashes; `keys` are compared in full. */
typedef struct key_table {
  tsr_cuda_bytes *keys;
  uint32_t *slots; /* source + 1; 0: free */
  uint32_t mask;
} key_table;

static uint32_t find_or_insert(key_table *table, uint32_t source) {
  tsr_cuda_bytes key = table->keys[source];
  uint32_t slot = (uint32_t)tsr_hash64(key.data, key.size) & table->mask;
  for (; table->slots[slot] != 0; slot = (slot + 1) & table->mask) {
    tsr_cuda_bytes other = table->keys[table->slots[slot] - 1];
    if (other.size == key.size && memcmp(other.data, key.data, key.size) == 0)
      return table->slots[slot] - 1;
  }
  table->slots[slot] = source + 1;
  return source;
}

static tsr_status find_duplicates(run *r) {
  key_table table = {0};
  uint32_t size = 4;
  while (size / 2 < r->count)
    size *= 2;
  table.mask = size - 1;
  table.keys = tsr_arena_alloc_array(&r->scratch, r->count, sizeof *table.keys);
  table.slots = tsr_arena_alloc_array(&r->scratch, size, sizeof *table.slots);
  r->first_of = tsr_arena_alloc_array(&r->scratch, r->count, sizeof *r->first_of);
  if (table.keys == NULL || table.slots == NULL || r->first_of == NULL)
    return no_memory(r->diag);
  for (uint32_t i = 0; i < r->count; i++) {
    if (!tsr_cuda_source_encode("", &r->sources[i], false, &r->scratch, &table.keys[i]))
      return no_memory(r->diag);
    r->first_of[i] = find_or_insert(&table, i);
  }
  return TSR_OK;
}

static tsr_status find_pending(run *r) {
  const tsr_compile_pool *pool = r->pool;
  r->pending = tsr_arena_alloc_array(&r->scratch, r->count, sizeof *r->pending);
  if (r->pending == NULL)
    return no_memory(r->diag);
  for (uint32_t i = 0; i < r->count; i++) {
    tsr_compile_result *result = &r->results[i];
    *result = (tsr_compile_result){.message = ""};
    if (r->first_of[i] != i)
      continue;
    if (pool->cache != NULL &&
        tsr_compile_cache_get(pool->cache, &r->sources[i], pool->identity, r->arena,
                              &result->from_cache, &result->output) != TSR_OK)
      return no_memory(r->diag);
    if (!result->from_cache)
      r->pending[r->pending_count++] = i;
  }
  return TSR_OK;
}

static tsr_status fill_reports(run *r) {
  for (uint32_t i = 0; i < r->count; i++) {
    tsr_compile_result *result = &r->results[i];
    tsr_diag diag = {0};
    if (r->first_of[i] != i || result->status != TSR_OK || result->output.cubin == NULL)
      continue;
    result->status = tsr_cuda_report_make(result->output.cubin, result->output.cubin_size,
                                          result->output.log, r->arena, &result->report, &diag);
    if (result->status == TSR_OK)
      continue;
    result->message = tsr_arena_printf(r->arena, "%s: %s", label(r, i), diag.message);
    if (result->status == TSR_ERR_OUT_OF_MEMORY || result->message == NULL)
      return no_memory(r->diag);
  }
  return TSR_OK;
}

static void fill_duplicates(run *r) {
  for (uint32_t i = 0; i < r->count; i++)
    if (r->first_of[i] != i) {
      r->results[i] = r->results[r->first_of[i]];
      r->results[i].duplicate = true;
      r->results[i].compile_ns = 0;
    }
}

/* Without workers. */
static tsr_status compile_here(run *r) {
  for (uint32_t i = 0; i < r->pending_count; i++) {
    uint32_t job = r->pending[i];
    tsr_diag diag = {0};
    int64_t begin = tsr_time_ns();
    tsr_status status = tsr_nvrtc_compile(r->pool->nvrtc, &r->sources[job], r->arena,
                                          &r->results[job].output, &diag);
    r->results[job].compile_ns = tsr_time_ns() - begin;
    finish(r, job, status, tsr_arena_string(r->arena, diag.message, strlen(diag.message)));
    if (status == TSR_ERR_OUT_OF_MEMORY || keep(r, job) != TSR_OK)
      return no_memory(r->diag);
  }
  return TSR_OK;
}

/* With workers. */

static tsr_status assign(run *r, worker *w, uint32_t job) {
  tsr_cuda_bytes body;
  tsr_worker_message header = {TSR_WORKER_MAGIC, 0, 0, 0,
                               r->pool->timeout_ns + GRACE_MS * NS_PER_MS};
  if (!tsr_cuda_source_encode(r->pool->nvrtc_path, &r->sources[job], true, &r->scratch, &body))
    return no_memory(r->diag);
  header.body_size = body.size;
  w->request.size = sizeof header + body.size;
  w->request.data = tsr_arena_alloc(&r->scratch, w->request.size);
  if (w->request.data == NULL)
    return no_memory(r->diag);
  memcpy(w->request.data, &header, sizeof header);
  memcpy(w->request.data + sizeof header, body.data, body.size);
  w->job = job;
  w->sent = w->received = 0;
  w->body = NULL;
  w->deadline_ns = tsr_time_ns() + r->pool->timeout_ns;
  return TSR_OK;
}

/* That one more worker cannot be started matters only where there is none. */
static tsr_status hand_out(run *r) {
  uint32_t alive = 0;
  int error = 0;
  for (uint32_t i = 0; i < r->pool->worker_count; i++) {
    worker *w = &r->pool->workers[i];
    bool wanted = r->next < r->pending_count && (w->pid == 0 || w->job == NO_JOB);
    if (wanted && w->pid != 0 && !is_alive(w))
      (void)drop(w, GRACE_MS);
    if (wanted && w->pid == 0)
      error = start(r->pool, w);
    if (wanted && w->pid != 0)
      TSR_TRY(assign(r, w, r->pending[r->next++]));
    alive += w->pid != 0;
  }
  if (alive > 0 || r->finished == r->pending_count)
    return TSR_OK;
  return tsr_fail(r->diag, TSR_ERR_IO, "no process could be started to compile kernels (%s): %s",
                  r->pool->argv[0], strerror(error));
}

/* What ended a process, in words. */
static const char *describe(tsr_arena *arena, const char *kernel, int status) {
  if (status != -1 && WIFSIGNALED(status))
    return tsr_arena_printf(arena, "%s: the compiling process crashed: signal %d (%s)", kernel,
                            WTERMSIG(status), strsignal(WTERMSIG(status)));
  if (status != -1 && WIFEXITED(status))
    return tsr_arena_printf(arena, "%s: the compiling process ended with status %d", kernel,
                            WEXITSTATUS(status));
  return tsr_arena_printf(arena, "%s: the compiling process ended", kernel);
}

/* A program that ends, or is silent, before it says hello is no worker; to try it again with every
 * kernel is no use. */
static tsr_status lose(run *r, worker *w, bool late) {
  uint32_t job = w->job;
  bool was_ready = w->ready;
  int status = drop(w, late ? 0 : GRACE_MS);
  const char *message = describe(r->arena, label(r, job), status);
  if (late)
    message =
        tsr_arena_printf(r->arena, "%s: the compiler did not end within %lld ms and was stopped",
                         label(r, job), (long long)(r->pool->timeout_ns / NS_PER_MS));
  if (!was_ready)
    return tsr_fail(r->diag, TSR_ERR_IO, "%s does not serve as a compiling process: %s",
                    r->pool->argv[0], message != NULL ? message : "out of memory");
  finish(r, job, late ? TSR_ERR_LIMIT : TSR_ERR_INTERNAL, message);
  return TSR_OK;
}

/* The reply is complete. */
static tsr_status accept_reply(run *r, worker *w) {
  tsr_compile_result *result = &r->results[w->job];
  uint32_t job = w->job;
  const char *text = (const char *)w->body;
  tsr_cuda_bytes output = {w->body + w->header.text_size, w->header.body_size};
  if (w->body[w->header.text_size - 1] != '\0' || w->header.status >= TSR_STATUS_COUNT ||
      (output.size > 0 && tsr_cuda_output_decode(output, &result->output) != TSR_OK)) {
    (void)drop(w, 0);
    finish(r, job, TSR_ERR_INTERNAL, "the compiling process sent nonsense");
    return TSR_OK;
  }
  result->compile_ns = w->header.time_ns;
  w->job = NO_JOB;
  finish(r, job, (tsr_status)w->header.status, text);
  return keep(r, job) == TSR_OK ? TSR_OK : no_memory(r->diag);
}

/* The header is complete. */
static tsr_status accept_header(run *r, worker *w) {
  const tsr_worker_message *header = &w->header;
  bool sane = header->magic == TSR_WORKER_MAGIC && header->text_size <= TSR_WORKER_MOST_BYTES &&
              header->body_size <= TSR_WORKER_MOST_BYTES;
  if (sane && header->status == TSR_WORKER_HELLO && !w->ready) {
    w->ready = true;
    w->received = 0;
    return TSR_OK;
  }
  if (!sane || header->text_size == 0 || !w->ready) {
    (void)kill(w->pid, SIGKILL);
    return lose(r, w, false);
  }
  w->body = tsr_arena_alloc(r->arena, header->text_size + header->body_size);
  return w->body != NULL ? TSR_OK : no_memory(r->diag);
}

static size_t wanted_bytes(const worker *w) {
  size_t header = sizeof w->header;
  return w->received < header ? header
                              : header + (size_t)(w->header.text_size + w->header.body_size);
}

static tsr_status receive(run *r, worker *w) {
  while (w->job != NO_JOB) {
    size_t header = sizeof w->header;
    uint8_t *to = w->received < header ? (uint8_t *)&w->header + w->received
                                       : w->body + (w->received - header);
    ssize_t got = recv(w->channel, to, wanted_bytes(w) - w->received, 0);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0 && errno == EAGAIN)
      return TSR_OK;
    if (got <= 0)
      return lose(r, w, false);
    w->received += (size_t)got;
    if (w->received == header)
      TSR_TRY(accept_header(r, w));
    else if (w->received > header && w->received == wanted_bytes(w))
      TSR_TRY(accept_reply(r, w));
  }
  return TSR_OK;
}

/* A worker that ended meanwhile is noticed when it is read from. */
static void transmit(worker *w) {
  while (w->sent < w->request.size) {
    ssize_t put =
        send(w->channel, w->request.data + w->sent, w->request.size - w->sent, MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR)
      continue;
    if (put < 0 && errno != EAGAIN)
      w->sent = w->request.size;
    if (put < 0)
      return;
    w->sent += (size_t)put;
  }
}

static int milliseconds_to(int64_t deadline_ns) {
  int64_t left = (deadline_ns - tsr_time_ns() + NS_PER_MS - 1) / NS_PER_MS;
  return left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

/* Waits until a busy worker has something to say or room to listen, or is late; answers for all
 * busy ones. */
static tsr_status attend(run *r) {
  struct pollfd files[MOST_WORKERS];
  worker *busy[MOST_WORKERS];
  nfds_t count = 0;
  int64_t deadline = INT64_MAX;
  for (uint32_t i = 0; i < r->pool->worker_count; i++) {
    worker *w = &r->pool->workers[i];
    if (w->pid == 0 || w->job == NO_JOB)
      continue;
    short events = (short)(w->sent < w->request.size ? POLLIN | POLLOUT : POLLIN);
    files[count] = (struct pollfd){w->channel, events, 0};
    busy[count++] = w;
    deadline = w->deadline_ns < deadline ? w->deadline_ns : deadline;
  }
  if (poll(files, count, milliseconds_to(deadline)) < 0 && errno != EINTR)
    return tsr_fail(r->diag, TSR_ERR_IO, "cannot wait for compiling processes: %s",
                    strerror(errno));
  for (nfds_t i = 0; i < count; i++) {
    if ((files[i].revents & POLLOUT) != 0)
      transmit(busy[i]);
    if ((files[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0)
      TSR_TRY(receive(r, busy[i]));
    if (busy[i]->job != NO_JOB && tsr_time_ns() > busy[i]->deadline_ns)
      TSR_TRY(lose(r, busy[i], true));
  }
  return TSR_OK;
}

static tsr_status compile_elsewhere(run *r) {
  tsr_status status = TSR_OK;
  while (status == TSR_OK && r->finished < r->pending_count) {
    status = hand_out(r);
    if (status == TSR_OK)
      status = attend(r);
  }
  for (uint32_t i = 0; i < r->pool->worker_count; i++)
    if (r->pool->workers[i].pid != 0 && r->pool->workers[i].job != NO_JOB)
      (void)drop(&r->pool->workers[i], 0);
  return status;
}

tsr_status tsr_compile_pool_run(tsr_compile_pool *pool, const tsr_cuda_source *sources,
                                uint32_t count, tsr_arena *arena, tsr_compile_result *results,
                                tsr_diag *diag) {
  run r = {.pool = pool,
           .sources = sources,
           .count = count,
           .results = results,
           .arena = arena,
           .diag = diag};
  if (count > UINT32_MAX / 4)
    return tsr_fail(diag, TSR_ERR_LIMIT, "too many kernels in one call");
  tsr_arena_init(&r.scratch, pool->allocator);
  tsr_status status = find_duplicates(&r);
  if (status == TSR_OK)
    status = find_pending(&r);
  if (status == TSR_OK)
    status = pool->argv[0] != NULL ? compile_elsewhere(&r) : compile_here(&r);
  if (status == TSR_OK)
    status = fill_reports(&r);
  if (status == TSR_OK)
    fill_duplicates(&r);
  tsr_arena_reset(&r.scratch);
  return status;
}
