/* Kernel texts to functions: the text behind device_emulated.h and in front of one entry per kernel
 * goes through the host's compiler. */
#include "tests/cuda_emulator/engine/engine.h"
#include <ctype.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A kernel as declared: TSR_KERNEL...(threads[, more]) name(parameters). */
typedef struct declaration {
  char threads[96], cluster[96], name[96];
  const char *parameters, *parameters_end;
} declaration;

static const char *skip_space(const char *p) {
  while (isspace((unsigned char)*p))
    ++p;
  return p;
}

/* Behind the parenthesis that closes the one at `open`; NULL without one. */
static const char *closing(const char *open) {
  int depth = 0;
  for (const char *p = open; *p; ++p) {
    depth += *p == '(' ? 1 : *p == ')' ? -1 : 0;
    if (depth == 0)
      return p + 1;
  }
  return NULL;
}

static void copy_text(char *out, size_t size, const char *from, const char *to) {
  size_t length = (size_t)(to - from);
  if (length >= size)
    length = size - 1;
  memcpy(out, from, length);
  out[length] = '\0';
}

/* Whether `at` is in a line of the preprocessor, continued ones included. */
static bool in_directive(const char *whole, const char *at) {
  const char *line = at;
  while (line > whole && (line[-1] != '\n' || (line - 1 > whole && line[-2] == '\\')))
    --line;
  return *skip_space(line) == '#';
}

/* The next kernel from *cursor on. */
static bool next_kernel(const char *whole, const char **cursor, declaration *out) {
  for (const char *p = *cursor; (p = strstr(p, "TSR_KERNEL")) != NULL;) {
    const char *word = p;
    if (in_directive(whole, word)) {
      ++p;
      continue;
    }
    while (isalnum((unsigned char)*p) || *p == '_')
      ++p;
    bool clustered = strncmp(word, "TSR_KERNEL_CLUSTER", 18) == 0;
    const char *open = skip_space(p), *close = *open == '(' ? closing(open) : NULL;
    if (!close)
      continue;
    const char *comma = memchr(open, ',', (size_t)(close - open));
    copy_text(out->threads, sizeof(out->threads), open + 1, comma ? comma : close - 1);
    snprintf(out->cluster, sizeof(out->cluster), "1");
    if (clustered && comma)
      copy_text(out->cluster, sizeof(out->cluster), comma + 1, close - 1);
    const char *name = skip_space(close), *end = name;
    while (isalnum((unsigned char)*end) || *end == '_')
      ++end;
    const char *list = skip_space(end), *list_end = *list == '(' ? closing(list) : NULL;
    if (end == name || !list_end)
      continue;
    copy_text(out->name, sizeof(out->name), name, end);
    out->parameters = list + 1;
    out->parameters_end = list_end - 1;
    *cursor = list_end;
    return true;
  }
  return false;
}

/* The type of the parameter that ends at `end`: all but the name. */
static const char *type_end(const char *begin, const char *end) {
  while (end > begin && isspace((unsigned char)end[-1]))
    --end;
  while (end > begin && (isalnum((unsigned char)end[-1]) || end[-1] == '_'))
    --end;
  return end;
}

/* The type of the parameter at *cursor, which moves behind it; false at the end of the list. */
static bool next_parameter(const declaration *d, const char **cursor, const char **out_type,
                           int *out_length) {
  const char *p = skip_space(*cursor), *end = p;
  if (p >= d->parameters_end || strncmp(p, "void)", 5) == 0)
    return false;
  for (int depth = 0; end < d->parameters_end && (depth > 0 || *end != ','); ++end)
    depth += *end == '(' ? 1 : *end == ')' ? -1 : 0;
  *out_type = p;
  *out_length = (int)(type_end(p, end) - p);
  *cursor = end < d->parameters_end ? end + 1 : end;
  return true;
}

/* The function that unpacks the arguments, and their sizes. Returns their number. */
static int write_entry(FILE *out, const declaration *d) {
  int count = 0, length = 0;
  const char *type = NULL;
  fprintf(out, "TSR_RAW void tsr_call_%s(void *const *a) {\n  %s(", d->name, d->name);
  for (const char *p = d->parameters; next_parameter(d, &p, &type, &length); ++count)
    fprintf(out, "%s*(%.*s *)a[%d]", count ? ", " : "", length, type, count);
  fprintf(out, ");\n}\nstatic const int tsr_sizes_%s[] = {", d->name);
  for (const char *p = d->parameters; next_parameter(d, &p, &type, &length);)
    fprintf(out, "sizeof(%.*s), ", length, type);
  fprintf(out, "0};\n");
  return count;
}

static bool write_source(const char *path, const char *source) {
  FILE *out = fopen(path, "w");
  if (!out)
    return false;
  fprintf(out, "#include \"device_emulated.h\"\n#line 1 \"kernel.cu\"\n%s\n#line 1 \"entries.c\"\n",
          source);
  declaration d;
  char *table = NULL;
  size_t table_bytes = 0;
  FILE *rows = open_memstream(&table, &table_bytes);
  for (const char *p = source; rows && next_kernel(source, &p, &d);) {
    int count = write_entry(out, &d);
    fprintf(rows, "  {\"%s\", tsr_call_%s, %s, %s, %d, tsr_sizes_%s},\n", d.name, d.name, d.threads,
            d.cluster, count, d.name);
  }
  bool made = rows && fclose(rows) == 0;
  fprintf(out,
          "static const tsr_emulated_entry tsr_entries[] = {\n%s  {0}};\n"
          "__attribute__((visibility(\"default\"))) const tsr_emulated_text_info "
          "tsr_emulated_text = {&tsr_api, &tsr_self, tsr_entries};\n",
          made ? table : "");
  free(table);
  return fclose(out) == 0 && made;
}

static void read_log(const char *path, char *out, size_t size) {
  FILE *in = fopen(path, "r");
  size_t length = in ? fread(out, 1, size - 1, in) : 0;
  out[length] = '\0';
  if (in)
    fclose(in);
}

static bool make_folder(tsr_emulator *e) {
  if (e->folder[0])
    return true;
  const char *base = getenv("TMPDIR");
  snprintf(e->folder, sizeof(e->folder), "%s/tessera-emulator-XXXXXX", base ? base : "/tmp");
  if (mkdtemp(e->folder))
    return true;
  e->folder[0] = '\0';
  return false;
}

/* Runs the host's compiler over `source`, a file. */
static bool compile_text(tsr_emulator *e, const char *source, const char *log,
                         const char *library) {
  char command[3 * PATH_BYTES + 1024], output[1500];
  snprintf(command, sizeof(command),
           "%s " TSR_EMULATOR_FLAGS " -I'%s' -I'%s' -I'%s' -o '%s' '%s' -lm >'%s' 2>&1",
           emulator_compiler(), TSR_EMULATOR_FOLDER, TSR_EMULATOR_FOLDER "/engine",
           TSR_DEVICE_FOLDER, library, source, log);
  bool built = system(command) == 0;
  read_log(log, output, sizeof(output));
  return built || fail_call(e, "the kernel text does not compile for the host:\n%s", output);
}

static bool build(tsr_emulator *e, text *t) {
  char source[PATH_BYTES], library[PATH_BYTES], log[PATH_BYTES], kept[PATH_BYTES] = "";
  bool keeps = kept_library(t->source, kept);
  if (keeps && (t->library = dlopen(kept, RTLD_NOW | RTLD_LOCAL)) != NULL)
    return true;
  if (!make_folder(e))
    return fail_call(e, "no folder for compiled kernels can be made");
  int number = e->texts_made++;
  snprintf(source, sizeof(source), "%s/k%d.c", e->folder, number);
  snprintf(library, sizeof(library), "%s/k%d.so", e->folder, number);
  snprintf(log, sizeof(log), "%s/k%d.log", e->folder, number);
  bool built = write_source(source, t->source) ? compile_text(e, source, log, library)
                                               : fail_call(e, "%s cannot be written", source);
  unlink(source);
  unlink(log);
  if (!built)
    return false;
  bool moved = keeps && keep_library(library, kept);
  t->library = dlopen(moved ? kept : library, RTLD_NOW | RTLD_LOCAL);
  if (!t->library)
    fail_call(e, "the compiled kernel text cannot be loaded: %s", dlerror());
  return t->library != NULL;
}

static bool bind(tsr_emulator *e, text *t) {
  const tsr_emulated_text_info *info = dlsym(t->library, "tsr_emulated_text");
  if (!info)
    return fail_call(e, "the compiled kernel text has no entries");
  t->info = *info;
  *t->info.api = &e->api;
  while (info->entries[t->kernel_count].name)
    ++t->kernel_count;
  t->kernels = calloc((size_t)t->kernel_count + 1, sizeof(*t->kernels));
  if (!t->kernels)
    return fail_call(e, "the emulator is out of memory");
  for (int i = 0; i < t->kernel_count; ++i)
    t->kernels[i] = (tsr_emulated_kernel){.text = t, .entry = info->entries[i]};
  return true;
}

static void text_free(text *t) {
  if (t->library)
    dlclose(t->library);
  free(t->kernels);
  free(t->source);
  free(t);
}

static text *load_text(tsr_emulator *e, const char *source) {
  for (text *t = e->texts; t; t = t->next)
    if (strcmp(t->source, source) == 0)
      return t;
  text *t = calloc(1, sizeof(*t));
  if (t)
    t->source = strdup(source);
  if (!t || !t->source || !build(e, t) || !bind(e, t)) {
    if (t)
      text_free(t);
    return NULL;
  }
  t->next = e->texts;
  e->texts = t;
  return t;
}

const tsr_emulated_kernel *tsr_emulator_kernel(tsr_emulator *e, const char *source,
                                               const char *name) {
  const text *t = load_text(e, source);
  for (int i = 0; t && i < t->kernel_count; ++i)
    if (strcmp(t->kernels[i].entry.name, name) == 0)
      return &t->kernels[i];
  if (t)
    fail_call(e, "the kernel text has no kernel '%s'", name);
  return NULL;
}

bool tsr_emulator_compile(tsr_emulator *e, const char *source) {
  return load_text(e, source) != NULL;
}

tsr_emulated_kernel_info tsr_emulated_kernel_about(const tsr_emulated_kernel *kernel) {
  const tsr_emulated_entry *entry = &kernel->entry;
  return (tsr_emulated_kernel_info){.name = entry->name,
                                    .threads = (uint32_t)entry->threads,
                                    .cluster = (uint32_t)entry->cluster,
                                    .argument_count = (uint32_t)entry->arguments,
                                    .argument_bytes = entry->argument_bytes};
}

/* The libraries' files stay until here, for the line numbers of reports. */
void unload_texts(tsr_emulator *e) {
  while (e->texts) {
    text *t = e->texts;
    e->texts = t->next;
    text_free(t);
  }
  char path[300];
  for (int i = 0; i < e->texts_made; ++i) {
    snprintf(path, sizeof(path), "%s/k%d.so", e->folder, i);
    unlink(path);
  }
  if (e->folder[0])
    rmdir(e->folder);
}
