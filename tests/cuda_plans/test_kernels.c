/* The default kernels of the shapes of shapes.c, compiled for every architecture: none spills, none
 * draws a warning about serialised wgmma or ignored setmaxnreg. A part of the shapes, TESSERA_SEED
 * (1) says which; TESSERA_LONG=1: all. Status 77 where there is no NVRTC. */
#include "codegen/cuda/cuda.h"
#include "codegen/cuda/worker.h"
#include "passes/tile/tile.h"
#include "tests/cuda_plans/planning.h"
#include "tests/cuda_plans/shapes.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_KERNELS = 8192, SHAPES_IN_ONE = 9 };

/* All kernels, before they are compiled together. */
typedef struct batch {
  tsr_arena arena;
  tsr_cuda_source sources[MOST_KERNELS];
  char *labels[MOST_KERNELS];
  uint32_t count;
  int failed;
} batch;

static void complain(batch *b, const char *name, const char *arch, const tsr_diag *diag) {
  char message[1024];
  tsr_diag_format(diag, message, sizeof message);
  printf("FAIL %s for %s: %s\n", name, arch, message);
  b->failed++;
}

/* The schedules that the plan has, for the messages. */
static const char *plan_text(const char *text, const char *arch, tsr_arena *arena) {
  tsr_target target;
  tsr_diag diag = {0};
  tsr_op plan = 0;
  tsr_ir *ir = blocks_of(text, arch, &target);
  const char *printed = "";
  if (tsr_plan_default(ir, &target, &diag, &plan) == TSR_OK && plan != 0)
    printed = tsr_op_print(ir, plan, arena);
  tsr_ir_destroy(ir);
  return printed;
}

static void add_kernels(batch *b, const char *name, const char *text, const char *arch) {
  static const char *const options[] = {TSR_CUDA_OPTIONS};
  tsr_target target;
  tsr_diag diag = {0};
  tsr_cuda_code code;
  tsr_ir *ir = blocks_of(text, arch, &target);
  if (tsr_pass_tile(ir, &target, NULL, &diag) != TSR_OK ||
      tsr_codegen_cuda(ir, &target, &b->arena, &diag, &code) != TSR_OK) {
    complain(b, name, arch, &diag);
  } else {
    for (uint32_t i = 0; i < code.kernel_count && b->count < MOST_KERNELS; i++) {
      b->labels[b->count] = tsr_arena_printf(&b->arena, "%s for %s, kernel %u\n%s", name, arch, i,
                                             plan_text(text, arch, &b->arena));
      b->sources[b->count++] = (tsr_cuda_source){.text = code.kernels[i].source,
                                                 .name = tsr_arena_printf(&b->arena, "%s", name),
                                                 .arch = arch,
                                                 .options = options,
                                                 .option_count = 1,
                                                 .want = TSR_CUDA_CUBIN};
    }
  }
  tsr_ir_destroy(ir);
}

/* The kernel must have been compiled and not be rejected. */
static void judge(batch *b, uint32_t number, const tsr_compile_result *result) {
  if (result->status != TSR_OK) {
    printf("FAIL %s: %s\n", b->labels[number], result->message);
    b->failed++;
    return;
  }
  const tsr_cuda_kernel_record *rejected = tsr_cuda_report_rejected(&result->report);
  if (rejected != NULL || result->report.kernel_count == 0) {
    printf("FAIL %s: %s\n", b->labels[number],
           rejected != NULL ? rejected->reason : "no kernel in the CUBIN");
    b->failed++;
  } else if (getenv("TESSERA_VERBOSE") != NULL) {
    const tsr_cuda_kernel_record *record = &result->report.kernels[0];
    printf("ok %d registers, %lld ms: %s\n", record->registers,
           (long long)(result->compile_ns / 1000000), b->labels[number]);
  }
}

static int compile_all(batch *b, const tsr_nvrtc *nvrtc, tsr_compile_cache *cache) {
  static const char *const worker[] = {"/proc/self/exe", "--worker", NULL};
  const tsr_compile_pool_options options = {.worker_argv = worker, .nvrtc = nvrtc, .cache = cache};
  tsr_compile_pool *pool = NULL;
  tsr_diag diag = {0};
  tsr_compile_result *results = tsr_arena_alloc_array(&b->arena, b->count + 1, sizeof *results);
  if (results == NULL ||
      tsr_compile_pool_create(tsr_allocator_default(), &options, &pool, &diag) != TSR_OK)
    return 1;
  if (tsr_compile_pool_run(pool, b->sources, b->count, &b->arena, results, &diag) != TSR_OK) {
    complain(b, "the pool", "all", &diag);
  } else {
    for (uint32_t i = 0; i < b->count; i++)
      judge(b, i, &results[i]);
  }
  tsr_compile_pool_destroy(pool);
  return b->failed > 0;
}

static void add_all(batch *b, const char *only) {
  static const char *const architectures[] = {"sm_80", "sm_89", "sm_90a"};
  const char *seed_text = getenv("TESSERA_SEED"), *long_text = getenv("TESSERA_LONG");
  const bool all = (long_text != NULL && strcmp(long_text, "1") == 0) || only != NULL;
  const size_t seed = seed_text != NULL ? (size_t)atoi(seed_text) : 1;
  for (size_t a = 0; a < 3; a++)
    for (size_t i = 0; i < shape_count(); i++) {
      char name[SHAPE_NAME_BYTES], text[SHAPE_TEXT_BYTES];
      shape_text(i, name, text);
      if ((all || (i + 3 * a + seed) % SHAPES_IN_ONE == 0) &&
          (only == NULL || strstr(name, only) != NULL))
        add_kernels(b, name, text, architectures[a]);
    }
}

/* `test_kernels NAME`: the shapes whose names have NAME in them. */
int main(int count, char **arguments) {
  if (count > 1 && strcmp(arguments[1], "--worker") == 0)
    return tsr_worker_main();
  tsr_nvrtc *nvrtc = NULL;
  tsr_compile_cache *cache = NULL;
  tsr_diag diag = {0};
  if (tsr_nvrtc_open(tsr_allocator_default(), NULL, &nvrtc, &diag) != TSR_OK) {
    printf("SKIP %s\n", diag.message);
    return 77;
  }
  static batch b;
  tsr_arena_init(&b.arena, tsr_allocator_default());
  if (tsr_compile_cache_open(tsr_allocator_default(), NULL, 0, &cache, &diag) != TSR_OK)
    cache = NULL;
  add_all(&b, count > 1 ? arguments[1] : NULL);
  int failed = b.count == 0 || compile_all(&b, nvrtc, cache);
  printf("%u kernels, %d failures\n", b.count, b.failed);
  tsr_compile_cache_close(cache);
  tsr_nvrtc_close(nvrtc);
  tsr_arena_reset(&b.arena);
  return failed || b.failed > 0;
}
