/* Graphs to modules for CUDA through the public calls and the pipeline's parts. Skipped where there
 * is no NVRTC. */
#include "frontend/cuda_program.h"
#include "frontend/manifest.h"
#include "runtime/cuda/image.h"
#include "runtime/module/module.h"
#include "tests/nvrtc/failing.h"
#include "tests/nvrtc/temporary.h"
#include <check.h>
#include <tessera/compiler.h>

static const char model[] =
    "dim N in 1..1000 hint 100\n"
    "graph @main {\n"
    "  %x = input {name = \"x\"} : f32[N, 64]\n"
    "  %w = const {random = 1} : f32[64, 4096]\n"
    "  %h = einsum %x, %w {spec = \"mk,kn->mn\"} : f32[N, 4096] from \"M\"\n"
    "  %y = exp %h : f32[N, 4096] from \"E\"\n"
    "  output %y {name = \"y\"}\n"
    "}\n";
enum { WEIGHT_BYTES = 64 * 4096 * 4 };

static char cache_folder[512];
static tsr_context *context;

static void set_up(void) {
  snprintf(cache_folder, sizeof cache_folder, "%s", "");
  make_folder(cache_folder, sizeof cache_folder);
  ck_assert_int_eq(tsr_context_create(NULL, &context), TSR_OK);
}

static void tear_down(void) {
  tsr_context_destroy(context);
  remove_folder(cache_folder);
}

typedef struct made {
  void *bytes;
  size_t size;
} made;

static made compile(const tsr_compile_options *options) {
  made m = {0};
  tsr_status status =
      tsr_compile_text(context, model, strlen(model), "model.tsr", options, &m.bytes, &m.size);
  ck_assert_msg(status == TSR_OK, "%s", tsr_context_error(context));
  return m;
}

static tsr_module *describe(const made *m, const char *target) {
  tsr_module *module;
  tsr_message message;
  tsr_module_options options = {
      .size = sizeof options, .target = target, .flags = TSR_MODULE_DESCRIBE};
  ck_assert_msg(tsr_module_load_memory(m->bytes, m->size, &options, &module, &message) == TSR_OK,
                "%s", message.text);
  return module;
}

/* Counts units by kind in the program for `target`. */
static void count_units(const made *m, const char *target, uint32_t capability, uint32_t specific,
                        int *out_counts) {
  tsr_module *module = describe(m, target);
  const tsr_program *program = tsr_module_program(module);
  const tsr_cuda_unit *units;
  uint32_t count;
  memset(out_counts, 0, 3 * sizeof *out_counts);
  ck_assert_int_eq(tsr_cuda_image_read(program->image, program->image_bytes, program->kernel_count,
                                       NULL, &units, &count),
                   TSR_OK);
  for (uint32_t i = 0; i < count; i++) {
    out_counts[units[i].kind]++;
    ck_assert_uint_eq(units[i].capability, capability);
    ck_assert_uint_eq(units[i].specific, specific);
    if (units[i].kind == TSR_CUDA_UNIT_PTX)
      ck_assert_ptr_nonnull(strstr((const char *)program->image + units[i].offset,
                                   program->kernels[units[i].kernel].symbol));
  }
  ck_assert_int_eq((int)count % (int)program->kernel_count, 0);
  tsr_module_release(module);
}

START_TEST(each_target_gets_its_forms) {
  static const char *const targets[] = {"cuda:sm_90a"};
  int counts[3];
  tsr_compile_options options = {.targets = targets, .target_count = 1, .cuda_cache = cache_folder};
  made m = compile(&options);
  count_units(&m, "cuda:sm_90a", 90, 1, counts);
  ck_assert(counts[TSR_CUDA_UNIT_CUBIN] > 0 && counts[TSR_CUDA_UNIT_PTX] == 0);
  count_units(&m, "cuda:sm_80", 80, 0, counts);
  ck_assert(counts[TSR_CUDA_UNIT_CUBIN] == 0 && counts[TSR_CUDA_UNIT_PTX] > 0);
  /* Both programs have the weights, which are stored once. */
  ck_assert_uint_lt(m.size, 2 * WEIGHT_BYTES);
  tsr_bytes_release(context, m.bytes, m.size);
}
END_TEST

START_TEST(a_listed_target_has_both_forms) {
  static const char *const targets[] = {"cuda:sm_90a", "cuda:sm_80"};
  int counts[3];
  tsr_compile_options options = {.targets = targets, .target_count = 2, .cuda_cache = cache_folder};
  made m = compile(&options);
  tsr_module *module = describe(&m, NULL);
  tsr_module_info info;
  tsr_module_get_info(module, &info);
  ck_assert_uint_eq(info.target_count, 2);
  tsr_module_release(module);
  count_units(&m, "cuda:sm_80", 80, 0, counts);
  ck_assert(counts[TSR_CUDA_UNIT_CUBIN] > 0);
  ck_assert_int_eq(counts[TSR_CUDA_UNIT_CUBIN], counts[TSR_CUDA_UNIT_PTX]);
  tsr_bytes_release(context, m.bytes, m.size);
}
END_TEST

/* Processes and cache change the time, not the bytes. */
START_TEST(bytes_are_the_same_however_they_are_made) {
  static const char *const targets[] = {"cuda:sm_80"};
  static const char *const worker[] = {"/proc/self/exe", "--worker", NULL};
  tsr_compile_options options = {.targets = targets, .target_count = 1, .cuda_cache = ""};
  made here = compile(&options);
  options.cuda_worker = worker;
  options.cuda_cache = cache_folder;
  made there = compile(&options), again = compile(&options);
  ck_assert_uint_eq(here.size, there.size);
  ck_assert_mem_eq(here.bytes, there.bytes, here.size);
  ck_assert_mem_eq(here.bytes, again.bytes, here.size);
  ck_assert_int_gt(each_file(cache_folder, 0, NULL), 0);
  tsr_bytes_release(context, here.bytes, here.size);
  tsr_bytes_release(context, there.bytes, there.size);
  tsr_bytes_release(context, again.bytes, again.size);
}
END_TEST

typedef struct seen {
  char text[1 << 20];
  size_t cubin_bytes;
  int calls;
} seen;

static void see(void *user, const char *kind, const char *target, const char *part,
                const char *text, size_t size) {
  seen *s = user;
  s->calls++;
  ck_assert_str_eq(target, "cuda:sm_90a");
  ck_assert_str_eq(part, "");
  if (strcmp(kind, "cubin") == 0) {
    ck_assert_int_eq(memcmp(text, "\177ELF", 4), 0);
    s->cubin_bytes = size;
  } else {
    ck_assert_uint_eq(strlen(text), size);
    strncat(s->text, text, sizeof s->text - strlen(s->text) - 1);
  }
}

START_TEST(texts_alone_make_no_module) {
  static const char *const targets[] = {"cuda:sm_90a"};
  static seen s;
  s = (seen){0};
  tsr_compile_options options = {.targets = targets,
                                 .target_count = 1,
                                 .emit = TSR_EMIT_PTX | TSR_EMIT_CUBIN | TSR_EMIT_MANIFEST,
                                 .emit_function = see,
                                 .emit_context = &s,
                                 .emit_only = true,
                                 .cuda_cache = cache_folder};
  made m = compile(&options);
  ck_assert_ptr_null(m.bytes);
  ck_assert_int_eq(s.calls, 3);
  ck_assert_uint_gt(s.cubin_bytes, 64);
  ck_assert_ptr_nonnull(strstr(s.text, ".target sm_90a"));
  ck_assert_ptr_nonnull(strstr(s.text, "\"registers\": "));
}
END_TEST

/* 64 live values in the 32 registers that 2 blocks of 1024 threads leave. */
static const char spilling_kernel[] =
    "extern \"C\" __global__ void __launch_bounds__(1024, 2) spilling(float *p) {\n"
    "  float a[64];\n"
    "#pragma unroll\n"
    "  for (int i = 0; i < 64; i++) a[i] = p[i * 1024 + threadIdx.x];\n"
    "  for (int r = 0; r < p[7]; r++)\n"
    "#pragma unroll\n"
    "    for (int i = 0; i < 64; i++) a[i] = a[i] * a[(i * 7 + 3) % 64] + a[(i + 1) % 64];\n"
    "#pragma unroll\n"
    "  for (int i = 0; i < 64; i++) p[i * 1024 + threadIdx.x] = a[i];\n"
    "}\n";

static void take_warning(void *user, const char *target, const char *text) {
  char *out = user;
  snprintf(out + strlen(out), 2048 - strlen(out), "%s: %s\n", target, text);
}

/* Two kernels of the program are one function; both are warned of, and it is compiled once. */
START_TEST(spills_are_told) {
  static char warnings[2048];
  tsr_arena arena;
  tsr_diag diag = {0};
  tsr_arena_init(&arena, tsr_allocator_default());
  tsr_kernel_desc kernels[] = {
      {.name = "k0", .symbol = "spilling", .nodes = "Conv_1", .threads = 1024},
      {.name = "k1", .symbol = "spilling", .nodes = "Conv_2", .threads = 1024}};
  tsr_program tables = {.target = "cuda:sm_80", .kernels = kernels, .kernel_count = 2};
  tsr_cuda_kernel code[] = {{.name = "k1", .symbol = "spilling", .source = spilling_kernel},
                            {.name = "k0", .symbol = "spilling", .source = spilling_kernel}};
  tsr_cuda_program program = {.program = &tables,
                              .target = "cuda:sm_80",
                              .arch = "sm_80",
                              .capability = 80,
                              .forms = TSR_CUDA_FORM_CUBIN | TSR_CUDA_FORM_PTX,
                              .code = {.kernels = code, .kernel_count = 2},
                              .arena = &arena};
  tsr_cuda_program *programs[] = {&program};
  tsr_compile_options options = {
      .cuda_cache = cache_folder, .warning_function = take_warning, .warning_context = warnings};
  warnings[0] = '\0';
  ck_assert_int_eq(tsr_cuda_programs_compile(programs, 1, &options, tsr_allocator_default(), &diag),
                   TSR_OK);
  ck_assert_int_eq(each_file(cache_folder, 0, NULL), 1);
  for (int i = 0; i < 2; i++) {
    ck_assert_ptr_nonnull(program.records[i]);
    ck_assert_int_gt(program.records[i]->spill_store_bytes, 0);
  }
  ck_assert_ptr_nonnull(strstr(warnings, "cuda:sm_80: kernel k0 (Conv_1): registers are spilled"));
  ck_assert_ptr_nonnull(strstr(warnings, "cuda:sm_80: kernel k1 (Conv_2): registers are spilled"));
  const tsr_manifest_part part = {.name = "", .program = &tables, .cuda = &program};
  const char *manifest = tsr_manifest(&tables, &part, 1, &arena);
  ck_assert_ptr_nonnull(strstr(manifest, "\"spill_store_bytes\": "));
  ck_assert_ptr_null(strstr(manifest, "\"spill_store_bytes\": 0"));
  tsr_arena_reset(&arena);
}
END_TEST

/* Each allocation may be the one that fails; from the second time on kernels come from the cache.
 */
START_TEST(memory_may_be_out) {
  static const char *const targets[] = {"cuda:sm_90a"};
  tsr_compile_options options = {.targets = targets, .target_count = 1, .cuda_cache = cache_folder};
  made m = compile(&options);
  tsr_bytes_release(context, m.bytes, m.size);
  int64_t step = 1;
  tsr_status status = TSR_ERR_OUT_OF_MEMORY;
  for (int64_t calls = 0; status != TSR_OK; calls += step, step += calls / 64) {
    failing_allocator failing;
    tsr_context *scarce;
    failing_init(&failing, INT64_MAX);
    ck_assert_int_eq(tsr_context_create(&failing.allocator, &scarce), TSR_OK);
    failing.left = calls;
    status =
        tsr_compile_text(scarce, model, strlen(model), "model.tsr", &options, &m.bytes, &m.size);
    ck_assert_msg(status == TSR_OK || status == TSR_ERR_OUT_OF_MEMORY, "%lld: %s", (long long)calls,
                  tsr_context_error(scarce));
    failing.left = INT64_MAX;
    tsr_bytes_release(scarce, m.bytes, m.size);
    tsr_context_destroy(scarce);
    ck_assert_int_eq(failing.live, 0);
  }
}
END_TEST

static bool has_nvrtc(void) {
  tsr_nvrtc *nvrtc;
  tsr_diag diag = {0};
  bool found = tsr_nvrtc_open(tsr_allocator_default(), NULL, &nvrtc, &diag) == TSR_OK;
  if (found)
    tsr_nvrtc_close(nvrtc);
  else
    printf("SKIP %s\n", diag.message);
  return found;
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--worker") == 0)
    return tsr_compile_worker();
  if (!has_nvrtc())
    return 77;
  Suite *suite = suite_create("cuda_program");
  TCase *tests = tcase_create("program");
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, each_target_gets_its_forms);
  tcase_add_test(tests, a_listed_target_has_both_forms);
  tcase_add_test(tests, bytes_are_the_same_however_they_are_made);
  tcase_add_test(tests, texts_alone_make_no_module);
  tcase_add_test(tests, spills_are_told);
  tcase_add_test(tests, memory_may_be_out);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
