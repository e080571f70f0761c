/* Runs modules and probes on a CUDA device and times them by the device's events;
 * benchmarks/gpu_bench.py drives it over standard input, a command per line, and reads a line of
 * JSON for each from standard output:
 *
 *   load NAME MODULE.tsm             its inputs and outputs
 *   input NAME INDEX FILE DIM...     raw bytes, brought to the device and bound
 *   run NAME                         once, and waits
 *   time NAME COUNT INNER FLUSH      COUNT times INNER runs; FLUSH 1: the L2 cache is swept before
 * each output NAME INDEX FILE           raw bytes of the last run; gives the shape unload NAME copy
 * BYTES COUNT                 device to device probe FILE KERNEL BLOCKS THREADS SHARED LOOPS COUNT
 * a kernel (float *out, int loops) quit
 *
 * A failure is {"error": "..."}. It is also an example of a program that keeps a model's tensors on
 * the device: it needs <tessera/runtime.h>, libtessera_runtime and the driver. */
#include <dlfcn.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/runtime.h>

enum { MOST_MODELS = 16, MOST_INPUTS = 256, MOST_WORDS = 32, FLUSH_BYTES = 256 << 20 };

/* The driver API's types, as its documentation gives them. */
typedef int cu_result;
typedef uint64_t cu_pointer;
typedef struct cu_launch {
  unsigned grid[3], block[3], shared_bytes;
  void *stream, *attributes;
  unsigned attribute_count;
} cu_launch;

#define DRIVER_LIST(X)                                                                             \
  X(cuInit, (unsigned flags))                                                                      \
  X(cuDriverGetVersion, (int *version))                                                            \
  X(cuGetErrorName, (cu_result error, const char **text))                                          \
  X(cuDeviceGet, (int *device, int ordinal))                                                       \
  X(cuDeviceGetName, (char *name, int length, int device))                                         \
  X(cuDeviceGetAttribute, (int *value, int attribute, int device))                                 \
  X(cuDevicePrimaryCtxRetain, (void **context, int device))                                        \
  X(cuCtxPushCurrent_v2, (void *context))                                                          \
  X(cuStreamCreate, (void **stream, unsigned flags))                                               \
  X(cuStreamSynchronize, (void *stream))                                                           \
  X(cuEventCreate, (void **event, unsigned flags))                                                 \
  X(cuEventRecord, (void *event, void *stream))                                                    \
  X(cuEventElapsedTime, (float *ms, void *begin, void *end))                                       \
  X(cuMemAlloc_v2, (cu_pointer * pointer, size_t bytes))                                           \
  X(cuMemFree_v2, (cu_pointer pointer))                                                            \
  X(cuMemcpyHtoDAsync_v2, (cu_pointer to, const void *from, size_t bytes, void *stream))           \
  X(cuMemcpyDtoHAsync_v2, (void *to, cu_pointer from, size_t bytes, void *stream))                 \
  X(cuMemcpyDtoDAsync_v2, (cu_pointer to, cu_pointer from, size_t bytes, void *stream))            \
  X(cuMemsetD8Async, (cu_pointer to, unsigned char value, size_t bytes, void *stream))             \
  X(cuModuleLoadDataEx,                                                                            \
    (void **module, const void *image, unsigned count, int *options, void **values))               \
  X(cuModuleUnload, (void *module))                                                                \
  X(cuModuleGetFunction, (void **function, void *module, const char *name))                        \
  X(cuFuncSetAttribute, (void *function, int attribute, int value))                                \
  X(cuLaunchKernelEx, (const cu_launch *config, void *function, void **parameters, void **extra))

typedef struct model {
  char name[64];
  tsr_module *module;
  tsr_exec *exec;
  cu_pointer inputs[MOST_INPUTS];
} model;

typedef struct session {
#define DRIVER_FIELD(name, parameters) cu_result(*name) parameters;
  DRIVER_LIST(DRIVER_FIELD)
#undef DRIVER_FIELD
  void *stream, *begin, *end;
  cu_pointer flush;
  size_t flush_bytes;
  model models[MOST_MODELS];
} session;

static bool fail(const char *what, const char *why) {
  printf("{\"error\": \"");
  for (int part = 0; part < 2; part++) {
    for (const char *p = part == 0 ? what : why; *p != '\0'; p++)
      printf(*p == '"' || *p == '\\' ? "\\%c" : *p < ' ' && *p >= 0 ? " " : "%c", *p);
    printf(part == 0 ? ": " : "\"}\n");
  }
  return false;
}

static bool check(const session *s, cu_result result, const char *what) {
  const char *name = "an error of the driver";
  if (result != 0)
    (void)s->cuGetErrorName(result, &name);
  return result == 0 || fail(what, name);
}
#define DO(call) check(s, s->call, #call)

static bool open_driver(session *s) {
  const char *path = getenv("TESSERA_CUDA_DRIVER");
  void *library = dlopen(path != NULL && *path != '\0' ? path : "libcuda.so.1", RTLD_NOW);
  if (library == NULL)
    return fail("the driver", dlerror());
#define DRIVER_FIND(name, parameters)                                                              \
  {                                                                                                \
    void *symbol = dlsym(library, #name);                                                          \
    memcpy(&s->name, &symbol, sizeof symbol);                                                      \
    if (symbol == NULL)                                                                            \
      return fail("the driver lacks", #name);                                                      \
  }
  DRIVER_LIST(DRIVER_FIND)
#undef DRIVER_FIND
  return true;
}

/* Says what the device is. Numbers of attributes are the driver API's. */
static bool open_device(session *s) {
  static const struct {
    const char *name;
    int number;
  } attributes[] = {{"major", 75},
                    {"minor", 76},
                    {"multiprocessors", 16},
                    {"clock_khz", 13},
                    {"memory_clock_khz", 36},
                    {"memory_bus_bits", 37},
                    {"l2_bytes", 38}};
  int device = 0, version = 0;
  char name[128];
  void *context;
  if (!DO(cuInit(0)) || !DO(cuDriverGetVersion(&version)) || !DO(cuDeviceGet(&device, 0)) ||
      !DO(cuDeviceGetName(name, sizeof name, device)) ||
      !DO(cuDevicePrimaryCtxRetain(&context, device)) || !DO(cuCtxPushCurrent_v2(context)) ||
      !DO(cuStreamCreate(&s->stream, 1)) || !DO(cuEventCreate(&s->begin, 0)) ||
      !DO(cuEventCreate(&s->end, 0)))
    return false;
  printf("{\"device\": \"%s\", \"driver\": \"CUDA %d.%d\"", name, version / 1000,
         version % 1000 / 10);
  for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++) {
    int value = 0;
    (void)s->cuDeviceGetAttribute(&value, attributes[i].number, device);
    printf(", \"%s\": %d", attributes[i].name, value);
  }
  printf("}\n");
  return true;
}

static model *find(session *s, const char *name) {
  for (int i = 0; i < MOST_MODELS; i++)
    if (s->models[i].module != NULL && strcmp(s->models[i].name, name) == 0)
      return &s->models[i];
  (void)fail(name, "is not loaded");
  return NULL;
}

static void print_port(const tsr_port_info *port, uint32_t index) {
  printf("%s{\"name\": \"%s\", \"dtype\": \"%s\", \"dims\": [", index > 0 ? ", " : "", port->name,
         tsr_dtype_text(port->dtype));
  for (uint32_t i = 0; i < port->rank; i++)
    printf("%s%" PRId64, i > 0 ? ", " : "", port->dims[i]);
  printf("]}");
}

static void print_model(const model *m) {
  tsr_module_info info;
  tsr_port_info port;
  tsr_module_get_info(m->module, &info);
  printf("{\"target\": \"%s\", \"precision\": \"%s\", \"kernels\": %" PRIu32
         ", \"launches\": %" PRIu32 ", \"weight_bytes\": %" PRIu64 ", \"inputs\": [",
         info.target, info.precision, info.kernel_count, info.launch_count, info.weight_bytes);
  for (uint32_t i = 0; i < info.input_count && tsr_module_get_input(m->module, i, &port) == TSR_OK;
       i++)
    print_port(&port, i);
  printf("], \"outputs\": [");
  for (uint32_t i = 0;
       i < info.output_count && tsr_module_get_output(m->module, i, &port) == TSR_OK; i++)
    print_port(&port, i);
  printf("]}\n");
}

static bool load(session *s, char **words) {
  model *m = NULL;
  for (int i = 0; i < MOST_MODELS && m == NULL; i++)
    m = s->models[i].module == NULL ? &s->models[i] : NULL;
  if (m == NULL)
    return fail(words[1], "too many modules are loaded");
  *m = (model){.module = NULL};
  snprintf(m->name, sizeof m->name, "%s", words[1]);
  tsr_message message = {""};
  tsr_exec_options options = {
      .size = sizeof options, .stream = s->stream, .output_device = kDLCUDA};
  if (tsr_module_load_file(words[2], NULL, &m->module, &message) != TSR_OK ||
      tsr_exec_create(m->module, &options, &m->exec, &message) != TSR_OK) {
    tsr_module_release(m->module);
    m->module = NULL;
    return fail(words[2], message.text);
  }
  print_model(m);
  return true;
}

static bool unload(session *s, char **words) {
  model *m = find(s, words[1]);
  if (m == NULL)
    return false;
  tsr_exec_destroy(m->exec);
  for (int i = 0; i < MOST_INPUTS; i++)
    if (m->inputs[i] != 0)
      (void)s->cuMemFree_v2(m->inputs[i]);
  tsr_module_release(m->module);
  *m = (model){.module = NULL};
  puts("{}");
  return true;
}

static void *read_file(const char *path, size_t *out_bytes) {
  FILE *in = fopen(path, "rb");
  if (in == NULL)
    return NULL;
  fseek(in, 0, SEEK_END);
  *out_bytes = (size_t)ftell(in);
  rewind(in);
  void *data = malloc(*out_bytes + 1);
  if (data != NULL && fread(data, 1, *out_bytes, in) != *out_bytes) {
    free(data);
    data = NULL;
  }
  fclose(in);
  if (data != NULL)
    ((char *)data)[*out_bytes] = '\0';
  return data;
}

static bool bind_input(session *s, char **words, int count) {
  model *m = find(s, words[1]);
  uint32_t index = (uint32_t)strtoul(words[2], NULL, 10);
  tsr_port_info port;
  size_t bytes = 0;
  int64_t dims[MOST_WORDS];
  if (m == NULL)
    return false;
  if (index >= MOST_INPUTS || tsr_module_get_input(m->module, index, &port) != TSR_OK)
    return fail(words[1], "has no such input");
  for (int i = 4; i < count; i++)
    dims[i - 4] = strtoll(words[i], NULL, 10);
  void *data = read_file(words[3], &bytes);
  if (data == NULL)
    return fail(words[3], "cannot be read");
  bool moved = DO(cuMemAlloc_v2(&m->inputs[index], bytes > 0 ? bytes : 1)) &&
               DO(cuMemcpyHtoDAsync_v2(m->inputs[index], data, bytes, s->stream)) &&
               DO(cuStreamSynchronize(s->stream));
  free(data);
  if (!moved)
    return false;
  DLTensor view = {.data = (void *)(uintptr_t)m->inputs[index],
                   .device = {.device_type = kDLCUDA},
                   .ndim = count - 4,
                   .dtype = tsr_dtype_to_dlpack(port.dtype),
                   .shape = dims};
  if (tsr_exec_bind_input(m->exec, index, &view) != TSR_OK)
    return fail(port.name, tsr_exec_last_error(m->exec));
  puts("{}");
  return true;
}

static bool run(model *m) {
  return tsr_exec_run(m->exec) == TSR_OK || fail(m->name, tsr_exec_last_error(m->exec));
}

static bool run_once(session *s, char **words) {
  model *m = find(s, words[1]);
  if (m == NULL || !run(m))
    return false;
  tsr_exec_stats stats;
  tsr_exec_get_stats(m->exec, &stats);
  printf("{\"launches\": %" PRIu64 ", \"arena_bytes\": %" PRIu64 "}\n", stats.launches,
         stats.arena_bytes);
  return true;
}

/* Covers the submission of what is timed, besides emptying the cache. An emulated device has none.
 */
static bool flush(session *s) {
  if (s->flush == 0) {
    s->flush_bytes = getenv("TESSERA_CUDA_DRIVER") != NULL ? 4096 : FLUSH_BYTES;
    if (!DO(cuMemAlloc_v2(&s->flush, s->flush_bytes)))
      return false;
  }
  return DO(cuMemsetD8Async(s->flush, 1, s->flush_bytes, s->stream));
}

static bool time_once(session *s, model *m, long inner, bool sweep, double *out_ns) {
  float ms = 0;
  if ((sweep && !flush(s)) || !DO(cuEventRecord(s->begin, s->stream)))
    return false;
  for (long i = 0; i < inner; i++)
    if (tsr_exec_run_async(m->exec) != TSR_OK)
      return fail(m->name, tsr_exec_last_error(m->exec));
  if (!DO(cuEventRecord(s->end, s->stream)))
    return false;
  if (tsr_exec_wait(m->exec) != TSR_OK)
    return fail(m->name, tsr_exec_last_error(m->exec));
  if (!DO(cuStreamSynchronize(s->stream)) || !DO(cuEventElapsedTime(&ms, s->begin, s->end)))
    return false;
  *out_ns = (double)ms * 1e6 / (double)inner;
  return true;
}

static bool print_times(const double *times_ns, long count) {
  printf("{\"times_ns\": [");
  for (long i = 0; i < count; i++)
    printf("%s%.1f", i > 0 ? ", " : "", times_ns[i]);
  printf("]}\n");
  return true;
}

static bool time_model(session *s, char **words) {
  model *m = find(s, words[1]);
  long count = strtol(words[2], NULL, 10), inner = strtol(words[3], NULL, 10);
  static double times_ns[10000];
  if (m == NULL)
    return false;
  if (count < 1 || count > 10000 || inner < 1)
    return fail("time", "COUNT is 1 to 10000, INNER 1 or more");
  for (long i = 0; i < count; i++)
    if (!time_once(s, m, inner, strcmp(words[4], "1") == 0, &times_ns[i]))
      return false;
  return print_times(times_ns, count);
}

static bool write_output(session *s, char **words) {
  model *m = find(s, words[1]);
  uint32_t index = (uint32_t)strtoul(words[2], NULL, 10);
  DLTensor view;
  if (m == NULL)
    return false;
  if (tsr_exec_output(m->exec, index, &view) != TSR_OK)
    return fail(m->name, tsr_exec_last_error(m->exec));
  int64_t count = 1;
  for (int32_t i = 0; i < view.ndim; i++)
    count *= view.shape[i];
  size_t bytes = (size_t)tsr_dtype_bytes(tsr_dtype_from_dlpack(view.dtype), count);
  void *data = malloc(bytes + 1);
  cu_pointer from = (cu_pointer)(uintptr_t)view.data + view.byte_offset;
  bool moved = data != NULL && DO(cuMemcpyDtoHAsync_v2(data, from, bytes, s->stream)) &&
               DO(cuStreamSynchronize(s->stream));
  FILE *out = moved ? fopen(words[3], "wb") : NULL;
  bool written = out != NULL && fwrite(data, 1, bytes, out) == bytes;
  written = out != NULL && fclose(out) == 0 && written;
  free(data);
  if (!moved)
    return false;
  if (!written)
    return fail(words[3], "cannot be written");
  printf("{\"dtype\": \"%s\", \"dims\": [", tsr_dtype_text(tsr_dtype_from_dlpack(view.dtype)));
  for (int32_t i = 0; i < view.ndim; i++)
    printf("%s%" PRId64, i > 0 ? ", " : "", view.shape[i]);
  printf("]}\n");
  return true;
}

static bool time_copy(session *s, char **words) {
  size_t bytes = strtoull(words[1], NULL, 10);
  long count = strtol(words[2], NULL, 10);
  static double times_ns[1000];
  cu_pointer from = 0, to = 0;
  bool fine = count >= 1 && count <= 1000 && DO(cuMemAlloc_v2(&from, bytes)) &&
              DO(cuMemAlloc_v2(&to, bytes)) && DO(cuMemsetD8Async(from, 7, bytes, s->stream));
  for (long i = 0; fine && i < count; i++) {
    float ms = 0;
    fine = DO(cuEventRecord(s->begin, s->stream)) &&
           DO(cuMemcpyDtoDAsync_v2(to, from, bytes, s->stream)) &&
           DO(cuEventRecord(s->end, s->stream)) && DO(cuStreamSynchronize(s->stream)) &&
           DO(cuEventElapsedTime(&ms, s->begin, s->end));
    times_ns[i] = (double)ms * 1e6;
  }
  if (from != 0)
    (void)s->cuMemFree_v2(from);
  if (to != 0)
    (void)s->cuMemFree_v2(to);
  return fine && print_times(times_ns, count);
}

static bool time_probe(session *s, char **words) {
  size_t bytes = 0;
  void *image = read_file(words[1], &bytes), *module = NULL, *function = NULL;
  cu_pointer out = 0;
  unsigned blocks = (unsigned)strtoul(words[3], NULL, 10);
  unsigned threads = (unsigned)strtoul(words[4], NULL, 10);
  unsigned shared = (unsigned)strtoul(words[5], NULL, 10);
  int loops = (int)strtol(words[6], NULL, 10);
  long count = strtol(words[7], NULL, 10);
  static double times_ns[1000];
  if (image == NULL)
    return fail(words[1], "cannot be read");
  void *parameters[] = {&out, &loops};
  cu_launch launch = {.grid = {blocks, 1, 1},
                      .block = {threads, 1, 1},
                      .shared_bytes = shared,
                      .stream = s->stream};
  bool fine = count >= 1 && count <= 1000 &&
              DO(cuModuleLoadDataEx(&module, image, 0, NULL, NULL)) &&
              DO(cuModuleGetFunction(&function, module, words[2])) &&
              DO(cuFuncSetAttribute(function, 8, (int)shared)) && DO(cuMemAlloc_v2(&out, 4096));
  for (long i = 0; fine && i < count; i++) {
    float ms = 0;
    fine = DO(cuEventRecord(s->begin, s->stream)) &&
           DO(cuLaunchKernelEx(&launch, function, parameters, NULL)) &&
           DO(cuEventRecord(s->end, s->stream)) && DO(cuStreamSynchronize(s->stream)) &&
           DO(cuEventElapsedTime(&ms, s->begin, s->end));
    times_ns[i] = (double)ms * 1e6;
  }
  free(image);
  if (out != 0)
    (void)s->cuMemFree_v2(out);
  if (module != NULL)
    (void)s->cuModuleUnload(module);
  return fine && print_times(times_ns, count);
}

static int split(char *line, char **words) {
  int count = 0;
  for (char *word = strtok(line, " \t\r\n"); word != NULL && count < MOST_WORDS;
       word = strtok(NULL, " \t\r\n"))
    words[count++] = word;
  return count;
}

static void obey(session *s, char **words, int count) {
  if (strcmp(words[0], "load") == 0 && count == 3)
    (void)load(s, words);
  else if (strcmp(words[0], "unload") == 0 && count == 2)
    (void)unload(s, words);
  else if (strcmp(words[0], "input") == 0 && count >= 4)
    (void)bind_input(s, words, count);
  else if (strcmp(words[0], "run") == 0 && count == 2)
    (void)run_once(s, words);
  else if (strcmp(words[0], "time") == 0 && count == 5)
    (void)time_model(s, words);
  else if (strcmp(words[0], "output") == 0 && count == 4)
    (void)write_output(s, words);
  else if (strcmp(words[0], "copy") == 0 && count == 3)
    (void)time_copy(s, words);
  else if (strcmp(words[0], "probe") == 0 && count == 8)
    (void)time_probe(s, words);
  else
    (void)fail(words[0], "no such command, or not so many words");
  fflush(stdout);
}

int main(void) {
  static session s;
  char line[8192], *words[MOST_WORDS];
  bool opened = open_driver(&s) && open_device(&s);
  fflush(stdout);
  while (opened && fgets(line, sizeof line, stdin) != NULL) {
    int count = split(line, words);
    if (count == 1 && strcmp(words[0], "quit") == 0)
      break;
    if (count > 0)
      obey(&s, words, count);
  }
  return opened ? 0 : 1;
}
