/* The public compile calls over the pipeline. */
#include "codegen/cuda/worker.h"
#include "frontend/context.h"
#include <string.h>

struct tsr_context {
  const tsr_allocator *allocator;
  tsr_diag diag;
  char error[2048];
};

tsr_status tsr_context_create(const tsr_allocator *allocator, tsr_context **out_context) {
  if (out_context == NULL)
    return TSR_ERR_ARGUMENT;
  if (allocator == NULL)
    allocator = tsr_allocator_default();
  tsr_context *context = allocator->allocate(allocator->context, sizeof *context, 16);
  *out_context = context;
  if (context == NULL)
    return TSR_ERR_OUT_OF_MEMORY;
  memset(context, 0, sizeof *context);
  context->allocator = allocator;
  return TSR_OK;
}

void tsr_context_destroy(tsr_context *context) {
  if (context != NULL)
    context->allocator->release(context->allocator->context, context, sizeof *context);
}

const char *tsr_context_error(const tsr_context *context) {
  return context == NULL ? "" : context->error;
}

const tsr_allocator *tsr_context_allocator(const tsr_context *context) {
  return context->allocator;
}

static void begin_call(tsr_context *context) {
  tsr_diag_clear(&context->diag);
  context->error[0] = 0;
}

static tsr_status end_call(tsr_context *context, tsr_status status) {
  if (status != TSR_OK)
    tsr_diag_format(&context->diag, context->error, sizeof context->error);
  return status;
}

tsr_status tsr_context_fail(tsr_context *context, const tsr_diag *diag) {
  context->diag = *diag;
  return end_call(context, diag->status);
}

static tsr_status bad_argument(tsr_context *context, const char *what) {
  if (context == NULL)
    return TSR_ERR_ARGUMENT;
  return end_call(context, tsr_fail(&context->diag, TSR_ERR_ARGUMENT, "%s is NULL", what));
}

/* What is NULL in the options although the rest of them needs it, or NULL. */
static const char *missing_option(const tsr_compile_options *options) {
  if (options == NULL)
    return NULL;
  for (uint32_t i = 0; i < options->target_count; i++)
    if (options->targets == NULL || options->targets[i] == NULL)
      return "a target";
  for (uint32_t i = 0; i < options->dim_count; i++)
    if (options->dims == NULL || options->dims[i].name == NULL)
      return "a dim";
  for (uint32_t i = 0; i < options->alias_count; i++)
    if (options->aliases == NULL || options->aliases[i].output == NULL ||
        options->aliases[i].input == NULL)
      return "an alias";
  return NULL;
}

tsr_status tsr_compile_file(tsr_context *context, const char *model_path,
                            const tsr_compile_options *options, const char *module_path) {
  if (context == NULL)
    return TSR_ERR_ARGUMENT;
  begin_call(context);
  bool emit_only = options != NULL && options->emit_only;
  if (model_path == NULL || (module_path == NULL && !emit_only))
    return bad_argument(context, "a path");
  if (missing_option(options) != NULL)
    return bad_argument(context, missing_option(options));
  tsr_model_source source = {.path = model_path};
  tsr_compilation *compilation;
  tsr_status status =
      tsr_pipeline_run(&source, options, context->allocator, &context->diag, &compilation);
  if (status == TSR_OK && !emit_only)
    status = tsr_compilation_write_file(compilation, module_path, &context->diag);
  tsr_compilation_destroy(compilation);
  return end_call(context, status);
}

tsr_status tsr_context_compile(tsr_context *context, const tsr_model_source *source,
                               const tsr_compile_options *options, void **out_bytes,
                               size_t *out_size) {
  begin_call(context);
  if (missing_option(options) != NULL)
    return bad_argument(context, missing_option(options));
  tsr_compilation *compilation;
  tsr_status status =
      tsr_pipeline_run(source, options, context->allocator, &context->diag, &compilation);
  if (status == TSR_OK && (options == NULL || !options->emit_only))
    status = tsr_compilation_write_memory(compilation, context->allocator, &context->diag,
                                          out_bytes, out_size);
  tsr_compilation_destroy(compilation);
  return end_call(context, status);
}

/* False when there is no place for the result. */
static bool clear_bytes(void **out_bytes, size_t *out_size) {
  if (out_bytes != NULL)
    *out_bytes = NULL;
  if (out_size != NULL)
    *out_size = 0;
  return out_bytes != NULL && out_size != NULL;
}

tsr_status tsr_compile_file_to_memory(tsr_context *context, const char *model_path,
                                      const tsr_compile_options *options, void **out_bytes,
                                      size_t *out_size) {
  bool has_place = clear_bytes(out_bytes, out_size);
  if (context == NULL)
    return TSR_ERR_ARGUMENT;
  begin_call(context);
  if (!has_place)
    return bad_argument(context, "out_bytes or out_size");
  if (model_path == NULL)
    return bad_argument(context, "a path");
  tsr_model_source source = {.path = model_path};
  return tsr_context_compile(context, &source, options, out_bytes, out_size);
}

tsr_status tsr_compile_text(tsr_context *context, const char *text, size_t length, const char *name,
                            const tsr_compile_options *options, void **out_bytes,
                            size_t *out_size) {
  bool has_place = clear_bytes(out_bytes, out_size);
  if (context == NULL)
    return TSR_ERR_ARGUMENT;
  begin_call(context);
  if (!has_place)
    return bad_argument(context, "out_bytes or out_size");
  if (text == NULL)
    return bad_argument(context, "the text");
  tsr_model_source source = {
      .path = name == NULL ? "text" : name, .text = text, .text_bytes = length};
  return tsr_context_compile(context, &source, options, out_bytes, out_size);
}

int tsr_compile_worker(void) {
  return tsr_worker_main();
}

void tsr_bytes_release(tsr_context *context, void *bytes, size_t size) {
  if (context != NULL && bytes != NULL)
    context->allocator->release(context->allocator->context, bytes, size);
}
