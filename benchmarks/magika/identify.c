/* Says what kind of content files hold, with the model that the magika package ships, compiled to a
 * Tessera module. It is also an example of a program that embeds a model: it needs
 * <tessera/runtime.h> and libtessera_runtime, no compiler.
 *
 *   identify MODULE.tsm CONFIG.json FILE...
 *   identify --features CONFIG.json FILE...     writes the model's input, int32, to standard output
 *
 * What goes in: the first bytes of the file without leading blanks and the last bytes without
 * trailing blanks, each from a block of at most block_size bytes, one number per byte, filled up
 * with padding_token. What comes out: a probability per label. Sizes and labels are read from the
 * model's own configuration. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/runtime.h>

enum { MOST_LABELS = 1024 };

typedef struct config {
  char *text;
  long beg_size, end_size, block_size, padding_token, least_size;
  const char *labels[MOST_LABELS];
  size_t label_lengths[MOST_LABELS];
  int64_t label_count;
} config;

_Noreturn static void die(const char *what, const char *why) {
  fprintf(stderr, "error: %s: %s\n", what, why);
  exit(1);
}

/* At most `limit` bytes of the file, from its start or its end; free() them. */
static uint8_t *read_part(const char *path, long limit, int from_end, size_t *out_size) {
  FILE *file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0)
    die(path, "cannot be read");
  long size = ftell(file);
  long part = size < limit ? size : limit;
  if (part < 0 || fseek(file, from_end ? size - part : 0, SEEK_SET) != 0)
    die(path, "cannot be read");
  uint8_t *bytes = calloc((size_t)part + 1, 1);
  if (bytes == NULL || fread(bytes, 1, (size_t)part, file) != (size_t)part)
    die(path, "cannot be read");
  fclose(file);
  *out_size = (size_t)part;
  return bytes;
}

static const char *find_key(const config *c, const char *key) {
  char quoted[64];
  snprintf(quoted, sizeof quoted, "\"%s\":", key);
  const char *at = strstr(c->text, quoted);
  if (at == NULL)
    die(key, "is missing in the model's configuration");
  return at + strlen(quoted);
}

static long read_number(const config *c, const char *key) {
  long value = strtol(find_key(c, key), NULL, 10);
  if (value < 0 || value > 1 << 20)
    die(key, "is out of range in the model's configuration");
  return value;
}

static void read_config(const char *path, config *out) {
  size_t size;
  out->text = (char *)read_part(path, 1 << 20, 0, &size);
  out->beg_size = read_number(out, "beg_size");
  out->end_size = read_number(out, "end_size");
  out->block_size = read_number(out, "block_size");
  out->padding_token = read_number(out, "padding_token");
  out->least_size = read_number(out, "min_file_size_for_dl");
  out->label_count = 0;
  const char *at = find_key(out, "target_labels_space");
  const char *end = strchr(at, ']');
  while (end != NULL && (at = strchr(at, '"')) != NULL && at < end &&
         out->label_count < MOST_LABELS) {
    const char *close = strchr(++at, '"');
    if (close == NULL)
      break;
    out->labels[out->label_count] = at;
    out->label_lengths[out->label_count++] = (size_t)(close - at);
    at = close + 1;
  }
}

static int is_blank(uint8_t byte) {
  return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* Fills one row of the model's input; 0 when too little of the file is left for the model. */
static int extract_features(const config *c, const char *path, int32_t *row) {
  size_t size, begin = 0;
  uint8_t *bytes = read_part(path, c->block_size, 0, &size);
  while (begin < size && is_blank(bytes[begin]))
    begin++;
  for (long i = 0; i < c->beg_size; i++)
    row[i] = begin + (size_t)i < size ? bytes[begin + (size_t)i] : (int32_t)c->padding_token;
  int enough = size >= (size_t)c->least_size && size - begin >= (size_t)c->least_size;
  free(bytes);
  bytes = read_part(path, c->block_size, 1, &size);
  while (size > 0 && is_blank(bytes[size - 1]))
    size--;
  for (long i = 0; i < c->end_size; i++)
    row[c->beg_size + c->end_size - 1 - i] =
        (size_t)i < size ? bytes[size - 1 - (size_t)i] : (int32_t)c->padding_token;
  free(bytes);
  return enough;
}

static void print_best(const config *c, const char *path, const float *scores) {
  int64_t best = 0;
  for (int64_t i = 1; i < c->label_count; i++) {
    if (scores[i] > scores[best])
      best = i;
  }
  printf("%-28s %.*s (%.1f %%)\n", path, (int)c->label_lengths[best], c->labels[best],
         100.0 * (double)scores[best]);
}

/* Runs all rows at once; the model's first dim is the number of files. */
static void identify(const config *c, const char *module_path, int32_t *rows, char **paths,
                     int64_t count) {
  tsr_module *module;
  tsr_exec *exec = NULL;
  tsr_message message;
  int64_t shape[2] = {count, c->beg_size + c->end_size};
  DLTensor scores, input = {.data = rows,
                            .device = {.device_type = kDLCPU},
                            .ndim = 2,
                            .dtype = tsr_dtype_to_dlpack(TSR_I32),
                            .shape = shape};
  if (tsr_module_load_file(module_path, NULL, &module, &message) != TSR_OK ||
      tsr_exec_create(module, NULL, &exec, &message) != TSR_OK)
    die(module_path, message.text);
  if (tsr_exec_bind_input(exec, 0, &input) != TSR_OK || tsr_exec_run(exec) != TSR_OK ||
      tsr_exec_output(exec, 0, &scores) != TSR_OK)
    die(module_path, tsr_exec_last_error(exec));
  if (scores.ndim != 2 || scores.shape[0] != count || scores.shape[1] != c->label_count)
    die(module_path, "its output does not fit the configuration");
  for (int64_t i = 0; i < count; i++)
    print_best(c, paths[i], (const float *)scores.data + i * c->label_count);
  tsr_exec_destroy(exec);
  tsr_module_release(module);
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: identify MODULE.tsm|--features CONFIG.json FILE...\n");
    return 2;
  }
  config c;
  read_config(argv[2], &c);
  size_t row_size = (size_t)(c.beg_size + c.end_size), count = (size_t)argc - 3, used = 0;
  int32_t *rows = calloc(count * row_size, sizeof *rows);
  char **paths = calloc(count, sizeof *paths);
  if (rows == NULL || paths == NULL)
    die("identify", "out of memory");
  for (int i = 3; i < argc; i++) {
    if (extract_features(&c, argv[i], rows + used * row_size))
      paths[used++] = argv[i];
    else
      fprintf(stderr, "%s: too short for the model\n", argv[i]);
  }
  if (strcmp(argv[1], "--features") == 0)
    fwrite(rows, sizeof *rows * row_size, used, stdout);
  else if (used > 0)
    identify(&c, argv[1], rows, paths, (int64_t)used);
  free(rows);
  free(paths);
  free(c.text);
  return 0;
}
