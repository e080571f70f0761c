/* Programs of tests/runtime with kernels for the emulated device, one more that uses what only
 * CUDA has, and a machine to run them on: the emulated driver behind the spy. */
#ifndef TESTS_CUDA_RUNTIME_CUDA_PROGRAMS_H
#define TESTS_CUDA_RUNTIME_CUDA_PROGRAMS_H
#include "runtime/arena.h"
#include "runtime/module/writer.h"
#include "tests/cuda_runtime/spy/spy.h"
#include "tests/runtime/programs.h"
#include <stdbool.h>

/* The environment for the drivers: the spy when `spied`, devices of the capabilities `devices`
 * ("90", "80,90"). Before any module is loaded in the process. */
void test_use_driver(bool spied, const char *devices);
/* The spy's state; loads it. */
spy_state *test_spy(void);

/* `base`, one of tests/runtime, for `target`, with kernels for `architecture` ("sm_80") that
 * compute what those of the CPU do, one element per task: texts for "cuda-emulated...", and for
 * "cuda:..." PTX. */
tsr_program test_on_cuda(tsr_arena *arena, tsr_program base, const char *target,
                         const char *architecture);

/* x: f32[N, 64], N in 1..64 a multiple of 8.
 * y: f32[N, 64] = x through a tensor map of boxes of 8 by 32 elements, swizzle 128, each box a
 * task of a cluster of two; z: f32[N, 64] = x added to what the launch clears; w: i64[] = N by one
 * cooperative block. */
tsr_program test_special_program(tsr_arena *arena, const char *target, const char *architecture);
/* x: i32[N] to y: i32[N], by a kernel that is fine, one that writes outside of its buffer, and one
 * that is fine. */
tsr_program test_broken_program(tsr_arena *arena, const char *target);

/* A module in memory, from malloc. */
typedef struct test_file {
  void *bytes;
  size_t size;
} test_file;
/* The PTX of test_on_cuda. */
extern const char test_ptx[];

test_file test_write(const tsr_program *const *programs, uint32_t count);

#endif
