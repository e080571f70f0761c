/* Inside of the emulated driver: what lies behind the handles. One lock is held during every call;
 * work that is not waited for yet waits in streams (run.c). */
#ifndef TSR_TESTS_CUDA_EMULATOR_DRIVER_STATE_H
#define TSR_TESTS_CUDA_EMULATOR_DRIVER_STATE_H
#include "runtime/cuda/driver.h"
#include "tests/cuda_emulator/emulator.h"
#include <stdbool.h>

enum { MOST_DEVICES = 8, STACK_DEPTH = 32, DEFAULT_SHARED_LIMIT = 48 * 1024 };

/* X(NAME, number, "text"): errors that this driver gives besides the success, 0. */
#define EMULATED_ERROR_LIST(X)                                                                     \
  X(INVALID_VALUE, 1, "invalid argument")                                                          \
  X(OUT_OF_MEMORY, 2, "out of memory")                                                             \
  X(NOT_INITIALIZED, 3, "initialization error")                                                    \
  X(NO_DEVICE, 100, "no CUDA-capable device is detected")                                          \
  X(INVALID_DEVICE, 101, "invalid device ordinal")                                                 \
  X(INVALID_IMAGE, 200, "device kernel image is invalid")                                          \
  X(INVALID_CONTEXT, 201, "invalid device context")                                                \
  X(NO_BINARY_FOR_GPU, 209, "no kernel image is available for execution on the device")            \
  X(INVALID_PTX, 218, "a PTX JIT compilation failed")                                              \
  X(INVALID_HANDLE, 400, "invalid resource handle")                                                \
  X(NOT_FOUND, 500, "named symbol not found")                                                      \
  X(NOT_READY, 600, "device not ready")                                                            \
  X(ILLEGAL_ADDRESS, 700, "an illegal memory access was encountered")                              \
  X(LAUNCH_OUT_OF_RESOURCES, 701, "too many resources requested for launch")                       \
  X(LAUNCH_FAILED, 719, "unspecified launch failure")                                              \
  X(COOPERATIVE_LAUNCH_TOO_LARGE, 720, "too many blocks in cooperative launch")                    \
  X(NOT_SUPPORTED, 801, "operation not supported")                                                 \
  X(STREAM_CAPTURE_UNSUPPORTED, 900, "operation not permitted when stream is capturing")           \
  X(STREAM_CAPTURE_INVALIDATED, 901, "operation failed due to a previous error during capture")    \
  X(STREAM_CAPTURE_UNMATCHED, 903, "the capture was not begun in this stream")                     \
  X(STREAM_CAPTURE_UNJOINED, 904, "capturing stream has unjoined work")                            \
  X(GRAPH_EXEC_UPDATE_FAILURE, 910,                                                                \
    "the graph update was not performed because it included "                                      \
    "changes which violated constraints")                                                          \
  X(INVALID_CLUSTER_SIZE, 912, "cluster misconfiguration")

enum {
#define EMULATED_ERROR_ENUM(name, number, text) EMULATED_##name = (number),
  EMULATED_ERROR_LIST(EMULATED_ERROR_ENUM)
#undef EMULATED_ERROR_ENUM
};

typedef struct tsr_cu_context_st context;

typedef enum object_kind {
  OBJECT_CONTEXT,
  OBJECT_MODULE,
  OBJECT_FUNCTION,
  OBJECT_STREAM,
  OBJECT_EVENT,
  OBJECT_GRAPH,
  OBJECT_EXEC,
  OBJECT_MEMORY,
  OBJECT_HOST_MEMORY,
  OBJECT_KIND_COUNT
} object_kind;

/* The first member of all that the caller may hold: a list of what is alive. */
typedef struct object {
  struct object *next, *previous;
  object_kind kind;
  context *owner;
  uint64_t number;
} object;

/* What a stream has been given and has done, counted. It outlives the stream. */
typedef struct timeline {
  struct timeline *next;
  uint64_t given, done;
  int references;
} timeline;

/* A point of a timeline; no timeline: always reached. */
typedef struct moment {
  timeline *line;
  uint64_t at;
} moment;

typedef enum command_kind {
  COMMAND_LAUNCH,
  COMMAND_COPY,
  COMMAND_SET,
  COMMAND_RECORD,
  COMMAND_WAIT,
  COMMAND_GRAPH,
  COMMAND_FREE,
} command_kind;

typedef enum copy_kind { COPY_HOST_TO_DEVICE, COPY_DEVICE_TO_HOST, COPY_ON_DEVICE } copy_kind;

/* A piece of work, of a stream or of a graph. */
typedef struct command {
  struct command *next;
  command_kind kind;
  uint64_t number; /* in the order of calls */
  /* COMMAND_LAUNCH */
  tsr_cu_function function;
  const tsr_emulated_kernel *kernel;
  tsr_emulated_launch launch;
  void **arguments;
  uint8_t *values; /* what they point to */
  size_t value_bytes;
  /* COMMAND_COPY, COMMAND_SET, COMMAND_FREE */
  copy_kind copy;
  uint8_t *to;
  const uint8_t *from;
  uint8_t *staged; /* a copy of what `from` was, owned */
  size_t bytes;
  uint8_t value;
  /* COMMAND_RECORD: the event's number of recordings, so that a later one is not overwritten */
  tsr_cu_event event;
  uint64_t recording;
  moment wait;        /* COMMAND_WAIT */
  struct body *graph; /* COMMAND_GRAPH */
  /* in a graph: the nodes that come before */
  int *before;
  int before_count;
} command;

/* What a graph consists of. Immutable once instantiated; shared by reference. */
typedef struct body {
  command **nodes;
  int count, capacity;
  int references;
} body;

/* Nodes of a graph that the next one comes behind. */
typedef struct frontier {
  int *nodes;
  int count;
} frontier;

typedef struct capture {
  body *graph;
  tsr_cu_stream origin;
  bool invalid;
  uint64_t thread;
} capture;

struct tsr_cu_context_st {
  object object;
  int device;
  int references; /* of the primary context */
  tsr_emulator *emulator;
  tsr_cu_result error; /* sticky */
  tsr_cu_stream null_stream;
};

struct tsr_cu_module_st {
  object object;
  char *text;
};

struct tsr_cu_function_st {
  object object;
  tsr_cu_module module;
  const tsr_emulated_kernel *kernel;
  tsr_emulated_kernel_info about;
  uint32_t shared_limit;
  bool non_portable_cluster;
};

struct tsr_cu_stream_st {
  object object;
  bool blocking; /* orders itself with the null stream */
  timeline *line;
  command *first, *last;
  capture *capture;
  frontier behind; /* while captured */
};

struct tsr_cu_event_st {
  object object;
  bool timed;
  uint64_t recordings;
  moment at;
  double time_us; /* on the device's clock; < 0: not reached */
  capture *capture;
  frontier behind;
};

struct tsr_cu_graph_st {
  object object;
  body *body;
};

struct tsr_cu_graph_exec_st {
  object object;
  body *body;
};

typedef struct device_memory {
  object object;
  uint8_t *base;
  size_t bytes, mapped;
  bool freed; /* by a command that has not run yet */
} device_memory;

typedef struct host_memory {
  object object;
  uint8_t *base;
  size_t bytes;
} host_memory;

typedef struct device {
  int capability; /* 90 */
  context *primary;
  size_t memory_bytes, used_bytes;
} device;

typedef struct driver {
  bool initialized;
  device devices[MOST_DEVICES];
  int device_count;
  object *objects;
  timeline *lines;
  uint64_t numbers; /* of objects and commands */
  uint64_t random;
  uint32_t seed;
  double clock_us;
  char finding[4096]; /* the text of LAUNCH_FAILED */
} driver;

extern driver the_driver;

/* errors.c */
/* Says on standard error what was wrong with a call; returns the error. */
tsr_cu_result refuse(tsr_cu_result error, const char *format, ...) TSR_PRINTF(2, 3);
void keep_finding(const char *text);

/* device.c */
typedef struct guard {
  int held;
} guard;
/* Begins every call: takes the lock and counts calls that are to fail ($TESSERA_EMULATED_FAIL). */
tsr_cu_result begin_call(const char *name);
void end_call(guard *g);
/* The current context of the thread; INVALID_CONTEXT, or its sticky error. */
tsr_cu_result current_context(context **out_context);
uint64_t this_thread(void);

/* The entry points: one that differs from the list does not compile. */
#define EXPORT                            __attribute__((visibility("default")))
#define DECLARE(result, name, parameters) EXPORT result name parameters;
TSR_CUDA_DRIVER_LIST(DECLARE)
#undef DECLARE

/* The first line of each entry point. */
#define ENTER()                                                                                    \
  __attribute__((cleanup(end_call))) guard held_lock = {1};                                        \
  (void)held_lock;                                                                                 \
  do {                                                                                             \
    tsr_cu_result begun = begin_call(__func__);                                                    \
    if (begun)                                                                                     \
      return begun;                                                                                \
  } while (0)
#define TRY(call)                                                                                  \
  do {                                                                                             \
    tsr_cu_result tried = (call);                                                                  \
    if (tried)                                                                                     \
      return tried;                                                                                \
  } while (0)

/* objects.c */
void *object_make(object_kind kind, size_t bytes, context *owner);
/* Whether it is alive; else INVALID_HANDLE, with what it is. */
tsr_cu_result object_check(const void *handle, object_kind kind);
void object_free(void *handle);
/* The next object of the kind and owner (NULL: any), NULL at the end. */
object *object_next(object *behind, object_kind kind, const context *owner);
void report_leaks(const context *owner);

/* memory.c */
device_memory *find_memory(const context *c, const void *address, size_t bytes);
/* The same with memory whose free waits in a stream: work before it may use it. */
bool is_still_memory(const context *c, const void *address, size_t bytes);
bool is_device_memory(const void *address);
host_memory *find_host_memory(const void *address);
void release_memory(device_memory *m);
/* The host may touch device memory while work runs only. */
void open_memory(const context *c);
void close_memory(const context *c);

/* stream.c */
tsr_cu_result check_stream(tsr_cu_stream handle, tsr_cu_stream *out_stream);
tsr_cu_result give(tsr_cu_stream stream, command *work);
command *command_make(command_kind kind);
void command_free(command *work);
void stream_release(tsr_cu_stream stream);
/* INVALID while this thread captures: the call would wait. */
tsr_cu_result not_while_capturing(void);

/* run.c */
void run_until(moment wanted);
void run_all(const context *c);
bool reached(moment m);
void line_release(timeline *line);

/* graph.c */
tsr_cu_result capture_command(tsr_cu_stream stream, command *work);
bool frontier_join(frontier *into, const frontier *from);
void frontier_clear(frontier *f);
void body_release(body *b);
void run_body(context *c, const body *b, void (*run)(context *, const command *));

#endif
