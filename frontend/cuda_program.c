#include "frontend/cuda_program.h"
#include "codegen/cuda/device/device_text.h"
#include "codegen/cuda/worker.h"
#include "runtime/cuda/image.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const nvrtc_options[] = {TSR_CUDA_OPTIONS};

/* Against a compiler that hangs; a machine with much else to do takes minutes for a large kernel.
 */
enum { KERNEL_TIMEOUT_MS = 600000 };

/* --- targets --- */

/* X(architecture, capability, of that architecture alone) */
#define ARCH_LIST(X)                                                                               \
  X("sm_80", 80, false)                                                                            \
  X("sm_89", 89, false)                                                                            \
  X("sm_90a", 90, true)

static bool take_arch(const char *text, tsr_cuda_program *out_program, const char **out_plain) {
#define ARCH(name, number, alone)                                                                  \
  if (strcmp(text, name) == 0) {                                                                   \
    out_program->arch = name;                                                                      \
    out_program->capability = number;                                                              \
    out_program->specific = alone;                                                                 \
    *out_plain = "cuda:" name;                                                                     \
    return true;                                                                                   \
  }
  ARCH_LIST(ARCH)
#undef ARCH
  return false;
}

bool tsr_cuda_program_target(const char *text, tsr_cuda_program *out_program,
                             const char **out_plain) {
  static const char emulated[] = "cuda-emulated";
  const size_t length = sizeof emulated - 1;
  out_program->target = text;
  *out_plain = NULL;
  if (strncmp(text, "cuda:", 5) == 0) {
    out_program->forms = TSR_CUDA_FORM_CUBIN;
    if (!take_arch(text + 5, out_program, out_plain))
      return false;
    if (!out_program->specific)
      out_program->forms |= TSR_CUDA_FORM_PTX;
    return true;
  }
  if (strncmp(text, emulated, length) != 0 || (text[length] != '\0' && text[length] != ':'))
    return false;
  out_program->forms = TSR_CUDA_FORM_TEXT;
  out_program->emulated = true;
  return take_arch(text[length] == '\0' ? "sm_80" : text + length + 1, out_program, out_plain);
}

bool tsr_cuda_emulation_exists(void) {
#ifdef TESSERA_CUDA_EMULATED_DRIVER
  return true;
#else
  return false;
#endif
}

const tsr_cuda_kernel *tsr_cuda_program_kernel(const tsr_cuda_program *p, uint32_t kernel) {
  for (uint32_t i = 0; i < p->code.kernel_count; i++)
    if (strcmp(p->code.kernels[i].name, p->program->kernels[kernel].name) == 0)
      return &p->code.kernels[i];
  return NULL;
}

/* --- the compiler --- */

typedef struct toolchain {
  tsr_nvrtc *nvrtc;
  tsr_compile_cache *cache;
  tsr_compile_pool *pool;
} toolchain;

static void warn(const tsr_compile_options *options, const char *target, const char *text) {
  if (options->warning_function != NULL)
    options->warning_function(options->warning_context, target, text);
}

/* A folder that cannot be used costs time only. */
static tsr_status open_cache(toolchain *tools, const tsr_compile_options *options,
                             const tsr_allocator *allocator, tsr_diag *diag) {
  tsr_diag why = {0};
  char text[1200];
  if (options->cuda_cache != NULL && options->cuda_cache[0] == '\0')
    return TSR_OK;
  tsr_status status =
      tsr_compile_cache_open(allocator, options->cuda_cache, 0, &tools->cache, &why);
  if (status == TSR_ERR_OUT_OF_MEMORY)
    return tsr_fail(diag, status, "%s", why.message);
  if (status != TSR_OK) {
    snprintf(text, sizeof text, "compiled kernels are not kept: %s", why.message);
    warn(options, "", text);
  }
  return TSR_OK;
}

static tsr_status open_toolchain(toolchain *tools, const tsr_compile_options *options,
                                 const tsr_allocator *allocator, tsr_diag *diag) {
  TSR_TRY(tsr_nvrtc_open(allocator, NULL, &tools->nvrtc, diag));
  TSR_TRY(open_cache(tools, options, allocator, diag));
  tsr_compile_pool_options pool = {.worker_argv = options->cuda_worker,
                                   .nvrtc = tools->nvrtc,
                                   .cache = tools->cache,
                                   .worker_count = options->threads,
                                   .timeout_ms = KERNEL_TIMEOUT_MS};
  return tsr_compile_pool_create(allocator, &pool, &tools->pool, diag);
}

static void close_toolchain(toolchain *tools) {
  tsr_compile_pool_destroy(tools->pool);
  tsr_compile_cache_close(tools->cache);
  tsr_nvrtc_close(tools->nvrtc);
}

/* --- what is to be compiled --- */

/* A text to compile: of one kernel of a program, or of all of them. */
typedef struct job {
  tsr_cuda_program *program;
  uint32_t kernel; /* WHOLE: all */
  tsr_cuda_source source;
  tsr_compile_result result;
} job;

enum { WHOLE = UINT32_MAX };

typedef struct jobs {
  job *items;
  uint32_t count;
} jobs;

static void add_jobs(jobs *list, tsr_cuda_program *p) {
  static const uint32_t compiled = TSR_CUDA_FORM_CUBIN | TSR_CUDA_FORM_PTX;
  tsr_cuda_source source = {.arch = p->arch, .options = nvrtc_options, .option_count = 1};
  source.want = ((p->forms & TSR_CUDA_FORM_CUBIN) != 0 ? (uint32_t)TSR_CUDA_CUBIN : 0) |
                ((p->forms & TSR_CUDA_FORM_PTX) != 0 ? (uint32_t)TSR_CUDA_PTX : 0);
  for (uint32_t k = 0; (p->forms & compiled) != 0 && k < p->program->kernel_count; k++) {
    source.text = tsr_cuda_program_kernel(p, k)->source;
    source.name = p->program->kernels[k].name;
    list->items[list->count++] = (job){.program = p, .kernel = k, .source = source};
  }
  if (p->whole_forms == 0)
    return;
  source.text = p->code.text;
  source.name = "the kernels";
  source.want = ((p->whole_forms & TSR_CUDA_FORM_CUBIN) != 0 ? (uint32_t)TSR_CUDA_CUBIN : 0) |
                ((p->whole_forms & TSR_CUDA_FORM_PTX) != 0 ? (uint32_t)TSR_CUDA_PTX : 0);
  list->items[list->count++] = (job){.program = p, .kernel = WHOLE, .source = source};
}

static int longer_first(const void *a, const void *b) {
  const job *x = a, *y = b;
  size_t left = strlen(x->source.text), right = strlen(y->source.text);
  if (left != right)
    return left < right ? 1 : -1;
  return strcmp(x->source.text, y->source.text);
}

/* A kernel that does not compile is this compiler's fault; the message names its nodes. */
static tsr_status check_result(const job *j, tsr_diag *diag) {
  if (j->result.status == TSR_OK)
    return TSR_OK;
  const char *nodes = j->kernel == WHOLE ? "" : j->program->program->kernels[j->kernel].nodes;
  if (nodes[0] != '\0')
    tsr_diag_set_node(diag, nodes, NULL);
  return tsr_fail(diag, j->result.status, "%s: %s", j->program->target, j->result.message);
}

static tsr_status run_jobs(const jobs *list, const toolchain *tools, tsr_arena *scratch,
                           tsr_arena *arena, tsr_diag *diag) {
  tsr_cuda_source *sources = tsr_arena_alloc_array(scratch, list->count, sizeof *sources);
  tsr_compile_result *results = tsr_arena_alloc_array(scratch, list->count, sizeof *results);
  if (sources == NULL || results == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  /* Long texts first, so that no worker starts the longest one when the others are done. */
  qsort(list->items, list->count, sizeof *list->items, longer_first);
  for (uint32_t i = 0; i < list->count; i++)
    sources[i] = list->items[i].source;
  TSR_TRY(tsr_compile_pool_run(tools->pool, sources, list->count, arena, results, diag));
  for (uint32_t i = 0; i < list->count; i++) {
    list->items[i].result = results[i];
    TSR_TRY(check_result(&list->items[i], diag));
  }
  return TSR_OK;
}

/* --- what came of it --- */

static void take_result(const job *j, tsr_cuda_program *p) {
  if (j->kernel == WHOLE)
    p->whole = j->result.output;
  for (uint32_t k = 0; k < p->program->kernel_count; k++)
    if ((j->kernel == WHOLE || j->kernel == k) && p->records[k] == NULL)
      p->records[k] = tsr_cuda_report_find(&j->result.report, p->program->kernels[k].symbol);
}

static void warn_of_kernels(const tsr_cuda_program *p, const tsr_compile_options *options) {
  char text[1500];
  for (uint32_t k = 0; k < p->program->kernel_count; k++) {
    const tsr_kernel_desc *kernel = &p->program->kernels[k];
    if (p->records[k] == NULL || p->records[k]->reason == NULL)
      continue;
    snprintf(text, sizeof text, "kernel %s (%.500s): %.800s", kernel->name, kernel->nodes,
             p->records[k]->reason);
    warn(options, p->target, text);
  }
}

typedef struct units {
  tsr_cuda_unit *items;
  const void **data;
  uint32_t count;
} units;

static void add_unit(units *list, const tsr_cuda_program *p, uint32_t kernel,
                     tsr_cuda_unit_kind kind, const void *data, uint64_t bytes) {
  list->data[list->count] = data;
  list->items[list->count++] = (tsr_cuda_unit){.kernel = kernel,
                                               .kind = kind,
                                               .capability = p->capability,
                                               .specific = p->specific,
                                               .bytes = bytes};
}

const char *tsr_cuda_program_text(const tsr_cuda_program *p) {
  return tsr_arena_printf(p->arena, "tessera-cuda-text %s\n%s", p->arch,
                          p->code.text + tsr_cuda_device_text_size);
}

/* One text for all kernels, so that the host's compiler runs once. */
static tsr_status add_texts(units *list, const tsr_cuda_program *p, tsr_diag *diag) {
  const char *text = tsr_cuda_program_text(p);
  if (text == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  for (uint32_t k = 0; k < p->program->kernel_count; k++)
    add_unit(list, p, k, TSR_CUDA_UNIT_TEXT, text, strlen(text) + 1);
  return TSR_OK;
}

static tsr_status make_image(tsr_cuda_program *p, const jobs *list, tsr_diag *diag) {
  units made = {0};
  uint32_t most = 2 * p->program->kernel_count;
  made.items = tsr_arena_alloc_array(p->arena, most, sizeof *made.items);
  made.data = tsr_arena_alloc_array(p->arena, most, sizeof *made.data);
  if (made.items == NULL || made.data == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  if ((p->forms & TSR_CUDA_FORM_TEXT) != 0)
    TSR_TRY(add_texts(&made, p, diag));
  for (uint32_t i = 0; i < list->count; i++) {
    const job *j = &list->items[i];
    if (j->program != p || j->kernel == WHOLE)
      continue;
    if (j->result.output.cubin != NULL)
      add_unit(&made, p, j->kernel, TSR_CUDA_UNIT_CUBIN, j->result.output.cubin,
               j->result.output.cubin_size);
    if (j->result.output.ptx != NULL)
      add_unit(&made, p, j->kernel, TSR_CUDA_UNIT_PTX, j->result.output.ptx,
               j->result.output.ptx_size + 1);
  }
  return tsr_cuda_image_make(made.items, made.data, made.count, p->arena, diag, &p->program->image,
                             &p->program->image_bytes);
}

static tsr_status compile_and_make(tsr_cuda_program *const *programs, uint32_t count, jobs *list,
                                   const tsr_compile_options *options,
                                   const tsr_allocator *allocator, tsr_arena *scratch,
                                   tsr_diag *diag) {
  toolchain tools = {0};
  tsr_status status = TSR_OK;
  if (list->count != 0) {
    status = open_toolchain(&tools, options, allocator, diag);
    /* The outputs of all programs live as long as the first one's arena: they end together. */
    if (status == TSR_OK)
      status = run_jobs(list, &tools, scratch, programs[0]->arena, diag);
    close_toolchain(&tools);
  }
  for (uint32_t i = 0; i < list->count && status == TSR_OK; i++)
    take_result(&list->items[i], list->items[i].program);
  for (uint32_t i = 0; i < count && status == TSR_OK; i++) {
    warn_of_kernels(programs[i], options);
    if (programs[i]->forms != 0)
      status = make_image(programs[i], list, diag);
  }
  return status;
}

tsr_status tsr_cuda_programs_compile(tsr_cuda_program *const *programs, uint32_t count,
                                     const tsr_compile_options *options,
                                     const tsr_allocator *allocator, tsr_diag *diag) {
  jobs list = {0};
  uint32_t most = 0;
  tsr_arena scratch;
  for (uint32_t i = 0; i < count; i++) {
    most += programs[i]->program->kernel_count + 1;
    programs[i]->records = tsr_arena_alloc_array(
        programs[i]->arena, programs[i]->program->kernel_count, sizeof *programs[i]->records);
    if (programs[i]->records == NULL)
      return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  }
  tsr_arena_init(&scratch, allocator);
  list.items = tsr_arena_alloc_array(&scratch, most, sizeof *list.items);
  for (uint32_t i = 0; list.items != NULL && i < count; i++)
    add_jobs(&list, programs[i]);
  tsr_status status = list.items == NULL ? tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory")
                                         : compile_and_make(programs, count, &list, options,
                                                            allocator, &scratch, diag);
  tsr_arena_reset(&scratch);
  return status;
}
