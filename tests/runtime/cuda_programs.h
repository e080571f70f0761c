/* A small CUDA program for tests of tables and files: two kernels, a tensor map, a cleared result.
 * Its units are no code that a driver would take. */
#ifndef TESTS_RUNTIME_CUDA_PROGRAMS_H
#define TESTS_RUNTIME_CUDA_PROGRAMS_H
#include "runtime/cuda/image.h"
#include "tests/runtime/programs.h"

/* x: f32[N, 64], y: f32[N, 64] by the first kernel, which reads x through a tensor map of boxes of
 * 8 by 32 elements and N as a dim, or by the second where N <= 4; z: i64[], cleared. Memory from
 * `arena`; NULL image when memory is out. */
static inline tsr_program test_cuda_program(tsr_arena *arena, const char *target) {
  static const tsr_index_step steps[] = {
      {TSR_INDEX_DIM, 0}, {TSR_INDEX_INT, 64},                    /* 0, 1 */
      {TSR_INDEX_DIM, 0}, {TSR_INDEX_INT, 4},  {TSR_INDEX_LE, 0}, /* 2..4 */
  };
  static const tsr_code codes[] = {{0, 1}, {1, 1}};
  static const tsr_dim_desc dims[] = {{"N", TSR_DIM_FROM_INPUT, 1, 1 << 20}};
  static const tsr_buffer_desc buffers[] = {{TSR_BUFFER_INPUT, TSR_F32, 2, 0, 0},
                                            {TSR_BUFFER_OUTPUT, TSR_F32, 2, 0, 0},
                                            {TSR_BUFFER_OUTPUT, TSR_I64, 0, 0, 1}};
  static const tsr_port_desc inputs[] = {{.name = "x", .buffer = 0}};
  static const tsr_port_desc outputs[] = {{.name = "y", .buffer = 1}, {.name = "z", .buffer = 2}};
  static const tsr_kernel_desc kernels[] = {
      {.name = "k0",
       .symbol = "k0",
       .nodes = "Relu_0",
       .dim_count = 1,
       .threads = 128,
       .shared_bytes = 4096,
       .cluster = 2,
       .cooperative = 0,
       .map_count = 1},
      {.name = "k1", .symbol = "k1", .nodes = "Relu_0", .threads = 32},
  };
  static const uint32_t kernel_dims[] = {0};
  static const tsr_map_desc maps[] = {{0, TSR_F32, 2, 0, 128, {8, 32}}};
  static const tsr_variant_desc variants[] = {{{2, 3}, 1, 1, {{0, 1}}}, {{0, 0}, 0, 1, {{0, 1}}}};
  static const uint32_t arguments[] = {0, 1, 2, 2};
  static const tsr_launch_desc launches[] = {{0, 2, 0, 3, 3, 1}};
  static const tsr_segment_desc segments[] = {{0, 1, 0, 0}};
  static const char cubin[64] = "\x7f"
                                "ELF";
  static const char ptx[] = ".version 8.0", other[] = ".version 8.3";
  static const tsr_cuda_unit units[] = {{1, TSR_CUDA_UNIT_PTX, 80, 0, 0, sizeof ptx},
                                        {0, TSR_CUDA_UNIT_CUBIN, 90, 1, 0, sizeof cubin},
                                        {1, TSR_CUDA_UNIT_CUBIN, 90, 1, 0, sizeof cubin},
                                        {0, TSR_CUDA_UNIT_PTX, 90, 0, 0, sizeof other}};
  static const void *const data[] = {ptx, cubin, cubin, other};
  tsr_program p;
  tsr_status made;
  memset(&p, 0, sizeof p);
  p.target = target;
  p.precision = "f32";
  p.producer = "test";
  made =
      tsr_cuda_image_make(units, data, TEST_LENGTH(units), arena, NULL, &p.image, &p.image_bytes);
  (void)made;
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
  return p;
}

#endif
