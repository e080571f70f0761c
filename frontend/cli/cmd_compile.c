#include "frontend/cli/model.h"
#include "frontend/cli/out_file.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Where emitted texts go. */
typedef struct emission {
  const char *folder; /* NULL: standard output */
  bool many_targets;
  tsr_diag *diag;
} emission;

static uint32_t find_emit(const char *name) {
#define EMIT(id, bit, text, what)                                                                  \
  if (strcmp(name, text) == 0)                                                                     \
    return TSR_EMIT_##id;
  TSR_EMIT_LIST(EMIT)
#undef EMIT
  return 0;
}

static const char *extension(const char *kind) {
  switch (find_emit(kind)) {
  case TSR_EMIT_LL:
    return "ll";
  case TSR_EMIT_ASM:
    return "s";
  case TSR_EMIT_MANIFEST:
    return "json";
  case TSR_EMIT_CU:
    return "cu";
  case TSR_EMIT_PTX:
    return "ptx";
  case TSR_EMIT_CUBIN:
    return "cubin";
  case TSR_EMIT_WEIGHTS:
    return "bin";
  default:
    return "tsr";
  }
}

static void write_bytes(emission *e, const char *path, const char *bytes, size_t size) {
  FILE *file;
  if (tsr_out_file_open(path, &file, e->diag) != TSR_OK)
    return;
  (void)fwrite(bytes, 1, size, file);
  (void)!tsr_out_file_close(file, path, e->diag);
}

/* How a comment begins in the text of that kind. */
static const char *comment(const char *kind) {
  switch (find_emit(kind)) {
  case TSR_EMIT_LL:
    return ";";
  case TSR_EMIT_ASM:
    return "#";
  default:
    return "//";
  }
}

/* Appends ".text" without what file names or shells mind. */
static void append_name(char *name, size_t size, const char *text) {
  size_t used = strlen(name);
  snprintf(name + used, size - used, ".%s", text);
  for (char *at = name + used; *at != '\0'; at++) {
    if (*at == ':' || *at == '/')
      *at = '-';
  }
}

/* DIR/KIND.EXTENSION, with the target in the name when there are several, and the part of a model
 * that has several. */
static void take_text(void *context, const char *kind, const char *target, const char *part,
                      const char *text, size_t size) {
  emission *e = context;
  if (e->folder == NULL) {
    if (*part != '\0')
      printf("%s @%s\n", comment(kind), part);
    (void)fwrite(text, 1, size, stdout);
    return;
  }
  char path[4096], name[256] = "";
  if (e->many_targets)
    append_name(name, sizeof name, target);
  if (*part != '\0')
    append_name(name, sizeof name, part);
  snprintf(path, sizeof path, "%s/%s%s.%s", e->folder, kind, name, extension(kind));
  write_bytes(e, path, text, size);
}

static tsr_status compile(const tsr_cli_args *args, tsr_compile_options *options, emission *e) {
  const char *output = tsr_cli_text(args, TSR_OPTION_OUTPUT, NULL);
  if (e->folder != NULL && mkdir(e->folder, 0777) != 0 && errno != EEXIST) {
    tsr_diag_set_file(e->diag, e->folder);
    return tsr_fail(e->diag, TSR_ERR_IO, "%s", strerror(errno));
  }
  options->emit_function = take_text;
  options->emit_context = e;
  options->emit_only = output == NULL;
  tsr_model_source source = {.path = args->positional[0]};
  tsr_compilation *compilation;
  TSR_TRY(tsr_pipeline_run(&source, options, tsr_allocator_default(), e->diag, &compilation));
  tsr_status status = e->diag->status;
  if (status == TSR_OK && output != NULL)
    status = tsr_compilation_write_file(compilation, output, e->diag);
  tsr_compilation_destroy(compilation);
  return status;
}

/* True when both paths are one file: the module would replace its model. */
static bool same_file(const char *model, const char *output) {
  struct stat a, b;
  return stat(model, &a) == 0 && stat(output, &b) == 0 && a.st_dev == b.st_dev &&
         a.st_ino == b.st_ino;
}

/* A stage of --emit that none of the targets passes through, or NULL. */
static const char *stage_of_none(const tsr_cli_args *args, const tsr_compile_options *options) {
  bool cpu = options->target_count == 0, cuda = false;
  for (uint32_t i = 0; i < options->target_count; i++) {
    const bool is_cuda = strncmp(options->targets[i], "cuda", 4) == 0;
    cuda |= is_cuda;
    cpu |= !is_cuda;
  }
  uint32_t missing = cpu ? 0 : TSR_EMIT_LL | TSR_EMIT_ASM;
  missing |= cuda ? 0 : TSR_EMIT_CU | TSR_EMIT_PTX | TSR_EMIT_CUBIN;
  int position = 0;
  const char *name;
  while ((name = tsr_cli_next(args, TSR_OPTION_EMIT, &position)) != NULL) {
    if ((find_emit(name) & missing) != 0)
      return name;
  }
  return NULL;
}

int tsr_cli_compile(const tsr_cli_args *args) {
  tsr_diag diag = {0};
  tsr_cli_compile_options parsed;
  tsr_status status = tsr_cli_compile_options_begin(args, &parsed, &diag);
  int position = 0;
  const char *name;
  while ((name = tsr_cli_next(args, TSR_OPTION_EMIT, &position)) != NULL) {
    parsed.options.emit |= find_emit(name);
    if (find_emit(name) == 0) {
      tsr_cli_compile_options_end(&parsed);
      return tsr_cli_usage(args, "--emit knows no '%s'", name);
    }
  }
  if (parsed.options.emit == 0 && !tsr_cli_has(args, TSR_OPTION_OUTPUT)) {
    tsr_cli_compile_options_end(&parsed);
    return tsr_cli_usage(args, "-o OUT.tsm is missing");
  }
  const uint32_t binary = TSR_EMIT_CUBIN | TSR_EMIT_WEIGHTS;
  if ((parsed.options.emit & binary) != 0 && !tsr_cli_has(args, TSR_OPTION_EMIT_DIR)) {
    tsr_cli_compile_options_end(&parsed);
    return tsr_cli_usage(args, "--emit cubin and weights are no texts: --emit-dir DIR says where "
                               "they go");
  }
  if (status == TSR_OK && (name = stage_of_none(args, &parsed.options)) != NULL) {
    const bool of_cpu = (find_emit(name) & (TSR_EMIT_LL | TSR_EMIT_ASM)) != 0;
    tsr_cli_compile_options_end(&parsed);
    return tsr_cli_usage(args, "--emit %s is for targets of %s; no --target is one", name,
                         of_cpu ? "the CPU" : "CUDA");
  }
  if (same_file(args->positional[0], tsr_cli_text(args, TSR_OPTION_OUTPUT, ""))) {
    tsr_cli_compile_options_end(&parsed);
    return tsr_cli_usage(args, "-o names the model itself");
  }
  emission e = {.folder = tsr_cli_text(args, TSR_OPTION_EMIT_DIR, NULL),
                .many_targets = parsed.options.target_count > 1,
                .diag = &diag};
  if (status == TSR_OK)
    status = compile(args, &parsed.options, &e);
  tsr_cli_compile_options_end(&parsed);
  return status == TSR_OK ? TSR_EXIT_FINE : tsr_cli_bad(&diag);
}
