#include "tests/cuda_runtime/cuda_programs.h"
#include "runtime/cuda/image.h"
#include <check.h>
#include <dlfcn.h>
#include <stdio.h>

/* ---- Drivers ---- */

void test_use_driver(bool spied, const char *devices) {
  const char *folder = getenv("TESSERA_TEST_TMP");
  char cache[600];
  (void)snprintf(cache, sizeof cache, "%s/emulated-cache", folder != NULL ? folder : "/tmp");
  (void)setenv("TESSERA_EMULATED_CACHE", cache, 1);
  (void)setenv("TESSERA_EMULATED_SM", devices, 1);
  (void)setenv("TESSERA_SPIED_DRIVER", TSR_EMULATED_DRIVER, 1);
  (void)setenv("TESSERA_CUDA_DRIVER", spied ? TSR_SPY_DRIVER : TSR_EMULATED_DRIVER, 1);
  (void)unsetenv("TESSERA_CUDA_SYNC");
}

spy_state *test_spy(void) {
  void *library = dlopen(TSR_SPY_DRIVER, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  void *symbol = library != NULL ? dlsym(library, "tsr_spy_get") : NULL;
  spy_state *(*get)(void);
  ck_assert_ptr_nonnull(symbol);
  memcpy(&get, &symbol, sizeof get);
  return get();
}

/* ---- Kernels ---- */

static const char kernel_text[] =
    "TSR_KERNEL(32) add_one(const int *x, int *y, long long tasks) {\n"
    "  if (tsr_thread() == 0 && tsr_block() < tasks)\n"
    "    y[tsr_block()] = x[tsr_block()] + 1;\n"
    "}\n"
    "TSR_KERNEL(32) add_hundred(const int *x, int *y, long long tasks) {\n"
    "  if (tsr_thread() == 0 && tsr_block() < tasks)\n"
    "    y[tsr_block()] = x[tsr_block()] + 100;\n"
    "}\n"
    "TSR_KERNEL(32) count(const int *x, long long *result, long long n, long long tasks) {\n"
    "  if (tsr_thread() != 0 || tsr_block() >= tasks)\n"
    "    return;\n"
    "  long long found = 0;\n"
    "  for (long long i = 0; i < n; ++i)\n"
    "    found += x[i] != 0;\n"
    "  *result = found;\n"
    "}\n"
    "TSR_KERNEL(32) copy(const int *x, int *y, long long tasks) {\n"
    "  if (tsr_thread() == 0 && tsr_block() < tasks)\n"
    "    y[tsr_block()] = x[tsr_block()];\n"
    "}\n"
    "TSR_KERNEL(32) sum(const int *x, const int *y, int *z, long long tasks) {\n"
    "  if (tsr_thread() == 0 && tsr_block() < tasks)\n"
    "    z[tsr_block()] = x[tsr_block()] + y[tsr_block()];\n"
    "}\n"
    "TSR_KERNEL(32) less(const int *x, const int *y, unsigned char *z, long long tasks) {\n"
    "  if (tsr_thread() == 0 && tsr_block() < tasks)\n"
    "    *z = *x < *y;\n"
    "}\n"
    "TSR_KERNEL(32) outside(const int *x, int *y, long long tasks) {\n"
    "  if (tsr_thread() == 0 && tsr_block() < tasks)\n"
    "    y[tsr_block() + 1000000] = x[tsr_block()];\n"
    "}\n";

/* The same by hand for devices that are there: thread 0 of block i does element i. %at is 4 i. */
#define PTX_BEGIN(name, parameters)                                                                \
  ".visible .entry " name "(" parameters ", .param .u64 tasks) {\n"                                \
  "  .reg .pred %out;\n"                                                                           \
  "  .reg .b32 %t, %b, %v, %w;\n"                                                                  \
  "  .reg .b64 %i, %n, %at, %x, %y, %z;\n"                                                         \
  "  mov.u32 %t, %tid.x;\n"                                                                        \
  "  setp.ne.u32 %out, %t, 0;\n"                                                                   \
  "  @%out ret;\n"                                                                                 \
  "  mov.u32 %b, %ctaid.x;\n"                                                                      \
  "  cvt.u64.u32 %i, %b;\n"                                                                        \
  "  ld.param.u64 %n, [tasks];\n"                                                                  \
  "  setp.ge.s64 %out, %i, %n;\n"                                                                  \
  "  @%out ret;\n"                                                                                 \
  "  shl.b64 %at, %i, 2;\n"                                                                        \
  "  ld.param.u64 %x, [x];\n"                                                                      \
  "  ld.param.u64 %y, [y];\n"                                                                      \
  "  add.s64 %x, %x, %at;\n"
#define PTX_MAP(name, operation)                                                                   \
  PTX_BEGIN(name, ".param .u64 x, .param .u64 y")                                                  \
  "  add.s64 %y, %y, %at;\n"                                                                       \
  "  ld.global.s32 %v, [%x];\n" operation "  st.global.s32 [%y], %v;\n"                            \
  "  ret;\n"                                                                                       \
  "}\n"
const char test_ptx[] = ".version 7.0\n.target sm_80\n.address_size 64\n" PTX_MAP(
    "add_one", "  add.s32 %v, %v, 1;\n") PTX_MAP("add_hundred", "  add.s32 %v, %v, 100;\n")
    PTX_MAP("copy", "") PTX_MAP("outside", "  add.s64 %y, %y, 0x7f0000000000;\n") PTX_BEGIN(
        "sum",
        ".param .u64 x, .param .u64 y, .param .u64 z") "  ld.param.u64 %z, [z];\n"
                                                       "  add.s64 %y, %y, %at;\n"
                                                       "  add.s64 %z, %z, %at;\n"
                                                       "  ld.global.s32 %v, [%x];\n"
                                                       "  ld.global.s32 %w, [%y];\n"
                                                       "  add.s32 %v, %v, %w;\n"
                                                       "  st.global.s32 [%z], %v;\n"
                                                       "  ret;\n"
                                                       "}\n" PTX_BEGIN(
                                                           "less",
                                                           ".param .u64 x, .param .u64 y, .param "
                                                           ".u64 z") "  ld.param.u64 %z, [z];\n"
                                                                     "  ld.global.s32 %v, [%x];\n"
                                                                     "  ld.global.s32 %w, [%y];\n"
                                                                     "  setp.lt.s32 %out, %v, %w;\n"
                                                                     "  selp.u32 %v, 1, 0, %out;\n"
                                                                     "  st.global.u8 [%z], %v;\n"
                                                                     "  ret;\n"
                                                                     "}\n" PTX_BEGIN(
                                                                         "count",
                                                                         ".param .u64 x, .param "
                                                                         ".u64 y, .param "
                                                                         ".u64 elements") "  "
                                                                                          "ld."
                                                                                          "param."
                                                                                          "u64 %n, "
                                                                                          "[element"
                                                                                          "s];\n"
                                                                                          "  "
                                                                                          "mov.u64 "
                                                                                          "%z, 0;\n"
                                                                                          "next:\n"
                                                                                          "  "
                                                                                          "setp.ge."
                                                                                          "s64 "
                                                                                          "%out, "
                                                                                          "%i, "
                                                                                          "%n;\n"
                                                                                          "  @%out "
                                                                                          "bra "
                                                                                          "done;\n"
                                                                                          "  "
                                                                                          "ld."
                                                                                          "global."
                                                                                          "s32 %v, "
                                                                                          "[%x];\n"
                                                                                          "  "
                                                                                          "add.s64 "
                                                                                          "%x, %x, "
                                                                                          "4;\n"
                                                                                          "  "
                                                                                          "add.s64 "
                                                                                          "%i, %i, "
                                                                                          "1;\n"
                                                                                          "  "
                                                                                          "setp.eq."
                                                                                          "s32 "
                                                                                          "%out, "
                                                                                          "%v, 0;\n"
                                                                                          "  @%out "
                                                                                          "bra "
                                                                                          "next;\n"
                                                                                          "  "
                                                                                          "add.s64 "
                                                                                          "%z, %z, "
                                                                                          "1;\n"
                                                                                          "  bra "
                                                                                          "next;\n"
                                                                                          "done:\n"
                                                                                          "  "
                                                                                          "st."
                                                                                          "global."
                                                                                          "u64 "
                                                                                          "[%y], "
                                                                                          "%z;\n"
                                                                                          "  ret;\n"
                                                                                          "}\n";

/* Of sm_90. A task of `boxes` copies the box of 8 rows and 32 columns with its number. */
static const char special_text[] =
    "TSR_KERNEL(32) boxes(const float *x, float *y, long long n, long long tasks,\n"
    "                     TSR_TENSOR_MAP map) {\n"
    "  tsr_u64 *bar = (tsr_u64 *)(tsr_shared + 1024);\n"
    "  long long row = tsr_block() / 2 * 8, column = tsr_block() % 2 * 32;\n"
    "  if (tsr_thread() == 0) {\n"
    "    tsr_mbarrier_init(bar, 1);\n"
    "    tsr_fence_mbarrier_init();\n"
    "  }\n"
    "  tsr_cluster_arrive();\n"
    "  tsr_cluster_wait();\n"
    "  if (tsr_block() < tasks) {\n"
    "    if (tsr_thread() == 0) {\n"
    "      tsr_mbarrier_arrive_expect(bar, 1024);\n"
    "      tsr_tma_load_2d(tsr_shared, &map, bar, (int)column, (int)row);\n"
    "    }\n"
    "    tsr_mbarrier_wait(bar, 0);\n"
    "    for (int i = 0; i < 8 && row + i < n; ++i)\n"
    "      y[(row + i) * 64 + column + tsr_thread()] =\n"
    "          *(float *)(tsr_shared + tsr_swizzle_row_128(i, tsr_thread() * 4));\n"
    "  }\n"
    "  tsr_cluster_arrive();\n"
    "  tsr_cluster_wait();\n"
    "}\n"
    "TSR_KERNEL(32) add_to(const float *x, float *y, long long tasks) {\n"
    "  for (int i = tsr_thread(); i < 64 && tsr_block() < tasks; i += 32)\n"
    "    y[tsr_block() * 64 + i] += x[tsr_block() * 64 + i];\n"
    "}\n"
    "TSR_KERNEL(32) rows(const float *x, long long *y, long long n, long long tasks) {\n"
    "  if (tsr_thread() == 0 && tsr_block() < tasks)\n"
    "    *y = n;\n"
    "}\n";

/* One text, for the emulated device, or one PTX holds all kernels of a program. */
static void make_image(tsr_arena *arena, const char *kernels, const char *architecture,
                       tsr_program *inout_program) {
  bool emulated = strncmp(inout_program->target, "cuda:", 5) != 0;
  const char *text =
      emulated ? tsr_arena_printf(arena, "tessera-cuda-text %s\n%s", architecture, kernels)
               : test_ptx;
  tsr_cuda_unit units[16];
  const void *data[16];
  uint32_t count = inout_program->kernel_count;
  memset(units, 0, sizeof units);
  for (uint32_t i = 0; i < count; i++) {
    units[i] = (tsr_cuda_unit){.kernel = i,
                               .kind = emulated ? TSR_CUDA_UNIT_TEXT : TSR_CUDA_UNIT_PTX,
                               .capability = (uint32_t)atoi(architecture + 3),
                               .specific = strchr(architecture, 'a') != NULL,
                               .bytes = strlen(text) + 1};
    data[i] = text;
  }
  ck_assert_int_eq(tsr_cuda_image_make(units, data, count, arena, NULL, &inout_program->image,
                                       &inout_program->image_bytes),
                   TSR_OK);
}

tsr_program test_on_cuda(tsr_arena *arena, tsr_program base, const char *target,
                         const char *architecture) {
  tsr_kernel_desc *kernels =
      (tsr_kernel_desc *)tsr_arena_alloc_array(arena, base.kernel_count, sizeof *kernels);
  for (uint32_t i = 0; i < base.kernel_count; i++) {
    kernels[i] = base.kernels[i];
    kernels[i].symbol = kernels[i].name;
    kernels[i].entry = kernels[i].scratch_bytes = 0;
    kernels[i].threads = 32;
  }
  base.target = target;
  base.kernels = kernels;
  make_image(arena, kernel_text, architecture, &base);
  return base;
}

tsr_program test_special_program(tsr_arena *arena, const char *target, const char *architecture) {
  static const tsr_index_step steps[] = {
      {TSR_INDEX_DIM, 0}, {TSR_INDEX_INT, 64},                          /* 0, 1 */
      {TSR_INDEX_DIM, 0}, {TSR_INDEX_INT, 4},  {TSR_INDEX_FLOORDIV, 0}, /* 2..4: N/8 * 2 */
      {TSR_INDEX_INT, 1},
  };
  static const tsr_code codes[] = {{0, 1}, {1, 1}};
  static const tsr_dim_desc dims[] = {{"N", TSR_DIM_FROM_INPUT, 1, 64}};
  static const tsr_buffer_desc buffers[] = {{TSR_BUFFER_INPUT, TSR_F32, 2, 0, 0},
                                            {TSR_BUFFER_OUTPUT, TSR_F32, 2, 0, 0},
                                            {TSR_BUFFER_OUTPUT, TSR_F32, 2, 0, 1},
                                            {TSR_BUFFER_OUTPUT, TSR_I64, 0, 0, 2}};
  static const tsr_port_desc inputs[] = {{.name = "x", .buffer = 0}};
  static const tsr_port_desc outputs[] = {
      {.name = "y", .buffer = 1}, {.name = "z", .buffer = 2}, {.name = "w", .buffer = 3}};
  static const tsr_kernel_desc kernels[] = {
      {.name = "boxes",
       .symbol = "boxes",
       .nodes = "Copy_0",
       .dim_count = 1,
       .threads = 32,
       .shared_bytes = 1024 + 8,
       .cluster = 2,
       .map_count = 1},
      {.name = "add_to", .symbol = "add_to", .nodes = "Sum_1", .threads = 32},
      {.name = "rows",
       .symbol = "rows",
       .nodes = "Shape_2",
       .dim_count = 1,
       .threads = 32,
       .shared_bytes = 64 << 10,
       .cooperative = 1}};
  static const uint32_t kernel_dims[] = {0};
  static const tsr_map_desc maps[] = {{0, TSR_F32, 2, 0, 128, {8, 32}}};
  static const tsr_variant_desc variants[] = {
      {{0, 0}, 0, 1, {{2, 3}}}, {{0, 0}, 1, 1, {{0, 1}}}, {{0, 0}, 2, 1, {{5, 1}}}};
  static const uint32_t arguments[] = {0, 1, 0, 2, 0, 3};
  static const tsr_launch_desc launches[] = {
      {0, 1, 0, 2, 0, 0}, {1, 1, 2, 2, 3, 1}, {2, 1, 4, 2, 0, 0}};
  static const tsr_segment_desc segments[] = {{0, 3, 0, 0}};
  tsr_program p;
  memset(&p, 0, sizeof p);
  p.target = target;
  p.precision = "f32";
  p.producer = "test";
  TEST_TABLE(p, kernels, kernel_count, kernels);
  TEST_TABLE(p, kernel_dims, kernel_dim_count, kernel_dims);
  TEST_TABLE(p, maps, map_count, maps);
  TEST_TABLE(p, steps, step_count, steps);
  TEST_TABLE(p, codes, code_count, codes);
  TEST_TABLE(p, dims, dim_count, dims);
  TEST_TABLE(p, buffers, buffer_count, buffers);
  TEST_TABLE(p, inputs, input_count, inputs);
  TEST_TABLE(p, outputs, output_count, outputs);
  TEST_TABLE(p, variants, variant_count, variants);
  TEST_TABLE(p, arguments, argument_count, arguments);
  TEST_TABLE(p, launches, launch_count, launches);
  TEST_TABLE(p, segments, segment_count, segments);
  make_image(arena, special_text, architecture, &p);
  return p;
}

tsr_program test_broken_program(tsr_arena *arena, const char *target) {
  static const tsr_buffer_desc buffers[] = {{TSR_BUFFER_INPUT, TSR_I32, 1, 0, 0},
                                            {TSR_BUFFER_TEMPORARY, TSR_I32, 1, 0, 0},
                                            {TSR_BUFFER_TEMPORARY, TSR_I32, 1, 0, 0},
                                            {TSR_BUFFER_OUTPUT, TSR_I32, 1, 0, 0}};
  static const tsr_port_desc outputs[] = {{.name = "y", .buffer = 3}};
  static const tsr_kernel_desc kernels[] = {
      {.name = "first", .symbol = "add_one", .nodes = "Add_0", .threads = 32},
      {.name = "second", .symbol = "outside", .nodes = "Scatter_1", .threads = 32},
      {.name = "third", .symbol = "copy", .nodes = "Identity_2", .threads = 32}};
  static const tsr_variant_desc variants[] = {
      {{0, 0}, 0, 1, {{0, 1}}}, {{0, 0}, 1, 1, {{0, 1}}}, {{0, 0}, 2, 1, {{0, 1}}}};
  static const uint32_t arguments[] = {0, 1, 1, 2, 2, 3};
  static const tsr_launch_desc launches[] = {
      {0, 1, 0, 2, 0, 0}, {1, 1, 2, 2, 0, 0}, {2, 1, 4, 2, 0, 0}};
  static const tsr_segment_desc segments[] = {{0, 3, 0, 0}};
  tsr_program p = test_chain_program();
  p.target = target;
  p.kernel_dim_count = p.constant_count = 0;
  TEST_TABLE(p, kernels, kernel_count, kernels);
  TEST_TABLE(p, buffers, buffer_count, buffers);
  TEST_TABLE(p, outputs, output_count, outputs);
  TEST_TABLE(p, variants, variant_count, variants);
  TEST_TABLE(p, arguments, argument_count, arguments);
  TEST_TABLE(p, launches, launch_count, launches);
  TEST_TABLE(p, segments, segment_count, segments);
  make_image(arena, kernel_text, "sm_80", &p);
  return p;
}

test_file test_write(const tsr_program *const *programs, uint32_t count) {
  test_file image;
  tsr_diag diag;
  tsr_diag_clear(&diag);
  ck_assert_msg(tsr_module_write_memory(programs, count, NULL, &image.bytes, &image.size, &diag) ==
                    TSR_OK,
                "%s", diag.message);
  return image;
}
