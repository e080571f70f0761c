#include "frontend/cli/model.h"
#include "runtime/clock.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A warning, with the target where it has one. */
static void print_warning(void *context, const char *target, const char *text) {
  (void)context;
  fprintf(stderr, "warning: %s%s%s\n", target, *target != '\0' ? ": " : "", text);
}

static int count_given(const tsr_cli_args *args, tsr_cli_option_id option) {
  int position = 0, count = 0;
  while (tsr_cli_next(args, option, &position) != NULL)
    count++;
  return count;
}

static bool parse_extent(const char **text, int64_t *out_value) {
  char *end;
  errno = 0;
  *out_value = strtoll(*text, &end, 10);
  bool fine = **text >= '0' && **text <= '9' && errno == 0;
  *text = end;
  return fine;
}

/* Takes NAME=N or NAME=LO..HI. */
static tsr_status parse_dim(const char *text, char **out_name, tsr_dim_range *out_range,
                            tsr_diag *diag) {
  const char *equals = strchr(text, '='), *at = equals == NULL ? text : equals + 1;
  *out_name = equals == NULL ? NULL : strndup(text, (size_t)(equals - text));
  bool fine = equals != NULL && equals != text && parse_extent(&at, &out_range->lo);
  out_range->hi = out_range->lo;
  if (fine && strncmp(at, "..", 2) == 0) {
    at += 2;
    fine = parse_extent(&at, &out_range->hi);
  }
  if (!fine || *at != '\0')
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "--dim wants NAME=N or NAME=LO..HI, not '%s'", text);
  out_range->name = *out_name;
  return *out_name != NULL ? TSR_OK : tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
}

static tsr_status parse_alias(const char *text, char **out_name, tsr_alias *out_alias,
                              tsr_diag *diag) {
  const char *equals = strchr(text, '=');
  if (equals == NULL || equals == text || equals[1] == '\0')
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "--alias wants OUTPUT=INPUT, not '%s'", text);
  *out_name = strndup(text, (size_t)(equals - text));
  *out_alias = (tsr_alias){*out_name, equals + 1};
  return *out_name != NULL ? TSR_OK : tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
}

/* This executable, whose main knows the argument. */
static const char *const cuda_worker[] = {"/proc/self/exe", "--cuda-compile-worker", NULL};

tsr_status tsr_cli_compile_options_begin(const tsr_cli_args *args,
                                         tsr_cli_compile_options *out_options, tsr_diag *diag) {
  *out_options = (tsr_cli_compile_options){0};
  int target_count = count_given(args, TSR_OPTION_TARGET);
  int dim_count = count_given(args, TSR_OPTION_DIM);
  out_options->targets = calloc((size_t)target_count + 1, sizeof *out_options->targets);
  out_options->dims = calloc((size_t)dim_count + 1, sizeof *out_options->dims);
  out_options->dim_names = calloc((size_t)dim_count + 1, sizeof *out_options->dim_names);
  int alias_count = count_given(args, TSR_OPTION_ALIAS);
  out_options->aliases = calloc((size_t)alias_count + 1, sizeof *out_options->aliases);
  out_options->alias_names = calloc((size_t)alias_count + 1, sizeof *out_options->alias_names);
  if (out_options->targets == NULL || out_options->dims == NULL || out_options->dim_names == NULL ||
      out_options->aliases == NULL || out_options->alias_names == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  for (int i = 0, position = 0; i < target_count; i++)
    out_options->targets[i] = tsr_cli_next(args, TSR_OPTION_TARGET, &position);
  for (int i = 0, position = 0; i < dim_count; i++)
    TSR_TRY(parse_dim(tsr_cli_next(args, TSR_OPTION_DIM, &position), &out_options->dim_names[i],
                      &out_options->dims[i], diag));
  for (int i = 0, position = 0; i < alias_count; i++)
    TSR_TRY(parse_alias(tsr_cli_next(args, TSR_OPTION_ALIAS, &position),
                        &out_options->alias_names[i], &out_options->aliases[i], diag));
  out_options->options = (tsr_compile_options){
      .targets = out_options->targets,
      .target_count = (uint32_t)target_count,
      .dims = out_options->dims,
      .dim_count = (uint32_t)dim_count,
      .aliases = out_options->aliases,
      .alias_count = (uint32_t)alias_count,
      .precision = tsr_cli_text(args, TSR_OPTION_PRECISION, NULL),
      .threads = (uint32_t)tsr_cli_count(args, TSR_OPTION_THREADS, 0),
      .no_fuse = tsr_cli_has(args, TSR_OPTION_NO_FUSE),
      .deterministic = tsr_cli_has(args, TSR_OPTION_DETERMINISTIC),
      .warning_function = print_warning,
      .cuda_worker = cuda_worker,
      .db = tsr_cli_text(args, TSR_OPTION_DB, NULL),
  };
  return TSR_OK;
}

void tsr_cli_compile_options_end(tsr_cli_compile_options *options) {
  for (char **name = options->dim_names; name != NULL && *name != NULL; name++)
    free(*name);
  for (char **name = options->alias_names; name != NULL && *name != NULL; name++)
    free(*name);
  free(options->aliases);
  free(options->alias_names);
  free(options->targets);
  free(options->dims);
  free(options->dim_names);
  *options = (tsr_cli_compile_options){0};
}

static tsr_status compile(const tsr_cli_args *args, const tsr_model_source *source,
                          tsr_cli_module *module, tsr_diag *diag) {
  tsr_cli_compile_options options;
  tsr_compilation *compilation = NULL;
  tsr_status status = tsr_cli_compile_options_begin(args, &options, diag);
  if (status == TSR_OK)
    status =
        tsr_pipeline_run(source, &options.options, tsr_allocator_default(), diag, &compilation);
  if (status == TSR_OK)
    status = tsr_compilation_write_memory(compilation, tsr_allocator_default(), diag,
                                          &module->bytes, &module->size);
  tsr_compilation_destroy(compilation);
  tsr_cli_compile_options_end(&options);
  return status;
}

static bool is_module(const char *path) {
  size_t length = strlen(path);
  return length >= 4 && strcmp(path + length - 4, ".tsm") == 0;
}

/* The runtime's message starts with the path where a file was at fault; the diagnostic has it
 * anyway. */
tsr_status tsr_cli_fail_loading(const char *path, tsr_status status, const char *message,
                                tsr_diag *diag) {
  size_t length = strlen(path);
  if (strncmp(message, path, length) == 0 && strncmp(message + length, ": ", 2) == 0)
    message += length + 2;
  tsr_diag_set_file(diag, path);
  return tsr_fail(diag, status, "%s", message);
}

tsr_status tsr_cli_module_open(const tsr_cli_args *args, const tsr_model_source *source,
                               tsr_cli_module *out_module, tsr_diag *diag) {
  *out_module = (tsr_cli_module){0};
  tsr_module_options options = {.size = sizeof options};
  tsr_message message = {""};
  bool from_file = is_module(source->path);
  if (!from_file)
    TSR_TRY(compile(args, source, out_module, diag));
  else
    options.target = tsr_cli_text(args, TSR_OPTION_TARGET, NULL);
  int64_t begin_ns = tsr_time_ns();
  options.flags = from_file ? 0 : TSR_MODULE_BORROW;
  if (tsr_cli_has(args, TSR_OPTION_COMPILE_ONLY))
    options.flags |= TSR_MODULE_DESCRIBE;
  tsr_status status =
      from_file ? tsr_module_load_file(source->path, &options, &out_module->module, &message)
                : tsr_module_load_memory(out_module->bytes, out_module->size, &options,
                                         &out_module->module, &message);
  out_module->load_ns = tsr_time_ns() - begin_ns;
  if (status == TSR_OK)
    return TSR_OK;
  tsr_cli_module_close(out_module);
  return tsr_cli_fail_loading(source->path, status, message.text, diag);
}

void tsr_cli_module_close(tsr_cli_module *module) {
  const tsr_allocator *allocator = tsr_allocator_default();
  tsr_module_release(module->module);
  if (module->bytes != NULL)
    allocator->release(allocator->context, module->bytes, module->size);
  *module = (tsr_cli_module){0};
}
