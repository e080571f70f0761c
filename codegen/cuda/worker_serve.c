/* The worker's side of the pool. */
#include "codegen/cuda/nvrtc_codec.h"
#include "codegen/cuda/worker.h"
#include "codegen/cuda/worker_message.h"
#include "runtime/clock.h"
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { CHANNEL = STDIN_FILENO };

typedef struct server {
  const tsr_allocator *allocator;
  tsr_compile_function function;
  void *context;
} server;

static bool receive(void *data, size_t size) {
  uint8_t *bytes = data;
  while (size > 0) {
    ssize_t got = recv(CHANNEL, bytes, size, 0);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return false;
    bytes += got;
    size -= (size_t)got;
  }
  return true;
}

static bool transmit(const void *data, size_t size) {
  const uint8_t *bytes = data;
  while (size > 0) {
    ssize_t put = send(CHANNEL, bytes, size, MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR)
      continue;
    if (put <= 0)
      return false;
    bytes += put;
    size -= (size_t)put;
  }
  return true;
}

/* The pool ends a worker that takes too long; where the pool is gone the worker's own alarm does.
 * 0: none. */
static void set_alarm(int64_t time_ns) {
  struct itimerval timer = {{0, 0},
                            {(time_t)(time_ns / 1000000000), (time_ns % 1000000000) / 1000}};
  (void)setitimer(ITIMER_REAL, &timer, NULL);
}

static bool reply(tsr_arena *arena, tsr_status status, const char *text,
                  const tsr_cuda_output *output, int64_t time_ns) {
  tsr_cuda_bytes body = {NULL, 0};
  if (!tsr_cuda_output_encode(output, arena, &body)) {
    status = TSR_ERR_OUT_OF_MEMORY;
    text = "out of memory";
  }
  tsr_worker_message header = {TSR_WORKER_MAGIC, (uint32_t)status, strlen(text) + 1, body.size,
                               time_ns};
  return transmit(&header, sizeof header) && transmit(text, header.text_size) &&
         transmit(body.data, body.size);
}

static tsr_status compile(const server *s, tsr_cuda_bytes request, tsr_arena *arena,
                          tsr_cuda_output *output, tsr_diag *diag) {
  tsr_cuda_source source;
  const char *path;
  tsr_status status = tsr_cuda_source_decode(request, arena, &path, &source);
  if (status != TSR_OK)
    return tsr_fail(diag, status, "the request cannot be read");
  return s->function(s->context, path, &source, arena, output, diag);
}

/* False: there is nothing more to do. */
static bool serve_one(const server *s, tsr_arena *arena) {
  tsr_worker_message header;
  tsr_cuda_output output = {0};
  tsr_diag diag = {0};
  if (!receive(&header, sizeof header) || header.magic != TSR_WORKER_MAGIC ||
      header.body_size > TSR_WORKER_MOST_BYTES)
    return false;
  set_alarm(header.time_ns);
  tsr_cuda_bytes request = {tsr_arena_alloc(arena, header.body_size), header.body_size};
  if (request.data == NULL || !receive(request.data, request.size))
    return false;
  int64_t start = tsr_time_ns();
  tsr_status status = compile(s, request, arena, &output, &diag);
  bool sent = reply(arena, status, diag.message, &output, tsr_time_ns() - start);
  set_alarm(0);
  return sent;
}

/* A crash is an answer here, not something to keep an image of. */
int tsr_worker_serve(const tsr_allocator *allocator, tsr_compile_function function, void *context) {
  server s = {allocator, function, context};
  struct rlimit no_core = {0, 0};
  tsr_worker_message hello = {TSR_WORKER_MAGIC, TSR_WORKER_HELLO, 0, 0, 0};
  tsr_arena arena;
  bool more = transmit(&hello, sizeof hello);
  (void)setrlimit(RLIMIT_CORE, &no_core);
  while (more) {
    tsr_arena_init(&arena, allocator);
    more = serve_one(&s, &arena);
    tsr_arena_reset(&arena);
  }
  return 0;
}

static tsr_status compile_by_nvrtc(void *context, const char *nvrtc_path,
                                   const tsr_cuda_source *source, tsr_arena *arena,
                                   tsr_cuda_output *out_output, tsr_diag *diag) {
  tsr_nvrtc **nvrtc = context;
  if (*nvrtc == NULL)
    TSR_TRY(tsr_nvrtc_open(tsr_allocator_default(), nvrtc_path[0] != '\0' ? nvrtc_path : NULL,
                           nvrtc, diag));
  return tsr_nvrtc_compile(*nvrtc, source, arena, out_output, diag);
}

int tsr_worker_main(void) {
  tsr_nvrtc *nvrtc = NULL;
  int status = tsr_worker_serve(tsr_allocator_default(), compile_by_nvrtc, &nvrtc);
  tsr_nvrtc_close(nvrtc);
  return status;
}
