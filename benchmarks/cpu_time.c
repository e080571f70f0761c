/* Runs modules on the CPU and times them; benchmarks/cpu_peers.py drives it over standard input, a
 * command per line, words apart by blanks, and reads a line of JSON for each from standard output:
 *
 *   load MODULE.tsm THREADS     in place of the one before; names of its inputs and outputs
 *   input INDEX FILE DIM...     raw bytes, which are copied, and bound
 *   run                         once
 *   time WARM ROUNDS CALLS      WARM calls, then ROUNDS times CALLS calls: ns of a call per round
 *   output INDEX FILE           raw bytes of the last run; gives dtype and shape
 *
 * A failure is {"error": "..."}. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/runtime.h>
#include <time.h>

enum { MOST_INPUTS = 64, MOST_WORDS = 24, MOST_ROUNDS = 100000 };

typedef struct model {
  tsr_module *module;
  tsr_exec *exec;
  tsr_module_info info;
  void *inputs[MOST_INPUTS];
} model;

static void put_text(const char *text) {
  putchar('"');
  for (; *text != '\0'; text++) {
    if (*text == '"' || *text == '\\')
      printf("\\%c", *text);
    else
      putchar((unsigned char)*text < 0x20 ? '?' : *text);
  }
  putchar('"');
}

static void fail(const char *what, const char *why) {
  char text[4096];
  snprintf(text, sizeof text, "%s: %s", what, why);
  fputs("{\"error\": ", stdout);
  put_text(text);
  puts("}");
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void unload(model *m) {
  tsr_exec_destroy(m->exec);
  tsr_module_release(m->module);
  for (int i = 0; i < MOST_INPUTS; i++)
    free(m->inputs[i]);
  *m = (model){0};
}

static void put_names(const model *m, const char *key, bool inputs) {
  printf("\"%s\": [", key);
  for (uint32_t i = 0; i < (inputs ? m->info.input_count : m->info.output_count); i++) {
    tsr_port_info port;
    tsr_status status = inputs ? tsr_module_get_input(m->module, i, &port)
                               : tsr_module_get_output(m->module, i, &port);
    fputs(i > 0 ? ", " : "", stdout);
    put_text(status == TSR_OK ? port.name : "");
  }
  putchar(']');
}

static void load(model *m, char **words) {
  tsr_message message;
  tsr_exec_options options = {.size = sizeof options};
  options.threads = (uint32_t)strtoul(words[2], NULL, 10);
  unload(m);
  if (tsr_module_load_file(words[1], NULL, &m->module, &message) != TSR_OK ||
      tsr_exec_create(m->module, &options, &m->exec, &message) != TSR_OK) {
    fail(words[1], message.text);
    return;
  }
  tsr_module_get_info(m->module, &m->info);
  printf("{\"target\": ");
  put_text(m->info.target);
  printf(", \"kernels\": %" PRIu32 ", ", m->info.kernel_count);
  put_names(m, "inputs", true);
  fputs(", ", stdout);
  put_names(m, "outputs", false);
  puts("}");
}

/* The whole file, aligned for vectors; the size must be as said. */
static void *read_file(const char *path, size_t bytes) {
  size_t room = (bytes + 64) / 64 * 64;
  char *data = aligned_alloc(64, room), more;
  FILE *file = fopen(path, "rb");
  bool whole = data != NULL && file != NULL && fread(data, 1, bytes, file) == bytes &&
               fread(&more, 1, 1, file) == 0;
  if (file != NULL)
    fclose(file);
  if (whole)
    return data;
  free(data);
  return NULL;
}

static void bind(model *m, char **words, int count) {
  uint32_t index = (uint32_t)strtoul(words[1], NULL, 10);
  int64_t dims[MOST_WORDS] = {0};
  size_t bytes;
  tsr_port_info port;
  if (index >= MOST_INPUTS || tsr_module_get_input(m->module, index, &port) != TSR_OK) {
    fail("input", "there is no such input");
    return;
  }
  DLDataType type = tsr_dtype_to_dlpack(port.dtype);
  bytes = (type.bits + 7u) / 8;
  for (int i = 3; i < count; i++) {
    dims[i - 3] = strtoll(words[i], NULL, 10);
    bytes *= (size_t)dims[i - 3];
  }
  void *data = read_file(words[2], bytes);
  if (data == NULL) {
    fail(words[2], "it cannot be read, or has another size");
    return;
  }
  DLTensor tensor = {.data = data,
                     .device = {.device_type = kDLCPU},
                     .ndim = count - 3,
                     .dtype = type,
                     .shape = dims};
  if (tsr_exec_bind_input(m->exec, index, &tensor) != TSR_OK)
    fail("input", tsr_exec_last_error(m->exec)); /* which is unbound now */
  else
    puts("{}");
  free(m->inputs[index]);
  m->inputs[index] = data;
}

static void run(model *m) {
  if (tsr_exec_run(m->exec) != TSR_OK)
    fail("run", tsr_exec_last_error(m->exec));
  else
    puts("{}");
}

static void measure(model *m, char **words) {
  long warm = strtol(words[1], NULL, 10), rounds = strtol(words[2], NULL, 10);
  long calls = strtol(words[3], NULL, 10);
  if (rounds < 1 || rounds > MOST_ROUNDS || calls < 1) {
    fail("time", "rounds and calls must be 1 or more");
    return;
  }
  double *ns = calloc((size_t)rounds, sizeof *ns);
  tsr_status status = ns != NULL ? TSR_OK : TSR_ERR_OUT_OF_MEMORY;
  for (long i = 0; i < warm && status == TSR_OK; i++)
    status = tsr_exec_run(m->exec);
  for (long i = 0; i < rounds && status == TSR_OK; i++) {
    int64_t begin = now_ns();
    for (long j = 0; j < calls && status == TSR_OK; j++)
      status = tsr_exec_run(m->exec);
    ns[i] = (double)(now_ns() - begin) / (double)calls;
  }
  if (status != TSR_OK) {
    fail("time", tsr_exec_last_error(m->exec));
  } else {
    fputs("{\"ns\": [", stdout);
    for (long i = 0; i < rounds; i++)
      printf("%s%.1f", i > 0 ? ", " : "", ns[i]);
    puts("]}");
  }
  free(ns);
}

static void output(model *m, char **words) {
  DLTensor tensor;
  uint32_t index = (uint32_t)strtoul(words[1], NULL, 10);
  if (tsr_exec_output(m->exec, index, &tensor) != TSR_OK) {
    fail("output", tsr_exec_last_error(m->exec));
    return;
  }
  size_t bytes = (tensor.dtype.bits + 7u) / 8;
  for (int i = 0; i < tensor.ndim; i++)
    bytes *= (size_t)tensor.shape[i];
  FILE *file = fopen(words[2], "wb");
  bool written = file != NULL && fwrite(tensor.data, 1, bytes, file) == bytes;
  if (file == NULL || fclose(file) != 0 || !written) {
    fail(words[2], "it cannot be written");
    return;
  }
  printf("{\"dtype\": ");
  put_text(tsr_dtype_text(tsr_dtype_from_dlpack(tensor.dtype)));
  fputs(", \"shape\": [", stdout);
  for (int i = 0; i < tensor.ndim; i++)
    printf("%s%" PRId64, i > 0 ? ", " : "", tensor.shape[i]);
  puts("]}");
}

static void obey(model *m, char **words, int count) {
  bool loaded = m->exec != NULL;
  if (strcmp(words[0], "load") == 0 && count == 3)
    load(m, words);
  else if (strcmp(words[0], "input") == 0 && count >= 3 && loaded)
    bind(m, words, count);
  else if (strcmp(words[0], "run") == 0 && count == 1 && loaded)
    run(m);
  else if (strcmp(words[0], "time") == 0 && count == 4 && loaded)
    measure(m, words);
  else if (strcmp(words[0], "output") == 0 && count == 3 && loaded)
    output(m, words);
  else
    fail(words[0], "no such command, or nothing is loaded");
}

int main(void) {
  static char line[1 << 16];
  static model m;
  while (fgets(line, sizeof line, stdin) != NULL) {
    char *words[MOST_WORDS], *rest = NULL;
    int count = 0;
    for (char *word = strtok_r(line, " \n", &rest); word != NULL && count < MOST_WORDS;
         word = strtok_r(NULL, " \n", &rest))
      words[count++] = word;
    if (count > 0)
      obey(&m, words, count);
    fflush(stdout);
  }
  unload(&m);
  return 0;
}
