/* Two hand-made programs, whose kernels are x86-64 machine code, and an allocator that fails. */
#ifndef TESTS_RUNTIME_PROGRAMS_H
#define TESTS_RUNTIME_PROGRAMS_H
#include "runtime/hash.h"
#include "runtime/program.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/runtime.h>

/* Functions of the kernel ABI, 64 bytes apart, on i32 elements:
 *   0    add_one      buffers[1][i] = buffers[0][i] + 1 for the tasks i
 *   64   add_hundred  likewise + 100
 *   128  count        *(int64 *)buffers[1] = how many of dims[0] elements of buffers[0] are not 0
 *   192  copy         buffers[1][i] = buffers[0][i] by way of the scratch memory
 *   256  sum          buffers[2][i] = buffers[0][i] + buffers[1][i]
 *   320  less         *(bool *)buffers[2] = buffers[0][0] < buffers[1][0] */
enum { ADD_ONE, ADD_HUNDRED, COUNT, COPY, SUM, LESS, KERNELS, KERNEL_SPACE = 64 };

static const unsigned char
    test_image[KERNELS * KERNEL_SPACE] =
        {
            [0] = 0x48, 0x8b, 0x07, 0x4c, 0x8b,         0x4f,         0x08,        0x48,
            0x39,       0xca, 0x7d, 0x11, 0x44,         0x8b,         0x14,        0x90,
            0x41,       0x83, 0xc2, 0x01, 0x45,         0x89,         0x14,        0x91,
            0x48,       0xff, 0xc2, 0xeb, 0xea,         0xc3,         [64] = 0x48, 0x8b,
            0x07,       0x4c, 0x8b, 0x4f, 0x08,         0x48,         0x39,        0xca,
            0x7d,       0x11, 0x44, 0x8b, 0x14,         0x90,         0x41,        0x83,
            0xc2,       0x64, 0x45, 0x89, 0x14,         0x91,         0x48,        0xff,
            0xc2,       0xeb, 0xea, 0xc3, [128] = 0x48, 0x8b,         0x07,        0x4c,
            0x8b,       0x4f, 0x08, 0x4c, 0x8b,         0x16,         0x45,        0x31,
            0xdb,       0x31, 0xd2, 0x4c, 0x39,         0xd2,         0x7d,        0x11,
            0x31,       0xc9, 0x83, 0x3c, 0x90,         0x00,         0x0f,        0x95,
            0xc1,       0x49, 0x01, 0xcb, 0x48,         0xff,         0xc2,        0xeb,
            0xea,       0x4d, 0x89, 0x19, 0xc3,         [192] = 0x48, 0x8b,        0x07,
            0x4c,       0x8b, 0x4f, 0x08, 0x48,         0x39,         0xca,        0x7d,
            0x13,       0x44, 0x8b, 0x14, 0x90,         0x4d,         0x89,        0x10,
            0x45,       0x8b, 0x10, 0x45, 0x89,         0x14,         0x91,        0x48,
            0xff,       0xc2, 0xeb, 0xe8, 0xc3,         [256] = 0x48, 0x8b,        0x07,
            0x4c,       0x8b, 0x4f, 0x08, 0x4c,         0x8b,         0x5f,        0x10,
            0x48,       0x39, 0xca, 0x7d, 0x11,         0x44,         0x8b,        0x14,
            0x90,       0x45, 0x03, 0x14, 0x91,         0x45,         0x89,        0x14,
            0x93,       0x48, 0xff, 0xc2, 0xeb,         0xea,         0xc3,        [320] = 0x48,
            0x8b,       0x07, 0x4c, 0x8b, 0x4f,         0x08,         0x4c,        0x8b,
            0x57,       0x10, 0x8b, 0x00, 0x41,         0x3b,         0x01,        0x41,
            0x0f,       0x9c, 0x02, 0xc3,
};

#if defined(__x86_64__)
#define TEST_HAS_KERNELS 1
#else
#define TEST_HAS_KERNELS 0
#endif

static const tsr_kernel_desc test_kernels[KERNELS] = {
    {"add_one", "", "/a/Add,/b/Add", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, {0}},
    {"add_hundred", "", "Add \"quoted\"", 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, {0}},
    {"count", "", "", 128, 0, 0, 1, 0, 0, 0, 0, 0, 0, {0}},
    {"copy", "", "Identity", 192, 8, 0, 0, 0, 0, 0, 0, 0, 0, {0}},
    {"sum", "", "Sum", 256, 0, 0, 0, 0, 0, 0, 0, 0, 0, {0}},
    {"less", "", "Less", 320, 0, 0, 0, 0, 0, 0, 0, 0, 0, {0}},
};
static const uint32_t test_kernel_dims[] = {0};

#define TEST_LENGTH(array) ((uint32_t)(sizeof(array) / sizeof((array)[0])))
#define TEST_TABLE(program, field, count, array)                                                   \
  ((program).field = (array), (program).count = TEST_LENGTH(array))

static inline tsr_program test_base_program(void) {
  tsr_program p;
  memset(&p, 0, sizeof p);
  p.target = "cpu:x86-64";
  p.precision = "f32";
  p.producer = "test";
  p.image = test_image;
  p.image_bytes = sizeof test_image;
  TEST_TABLE(p, kernels, kernel_count, test_kernels);
  TEST_TABLE(p, kernel_dims, kernel_dim_count, test_kernel_dims);
  return p;
}

static const int32_t test_weight[] = {10, 20, 30, 40};
static const int32_t test_same_weight[] = {10, 20, 30, 40};

/* x: i32[N], N in 1..1048576. y: i32[N] = x + 4, by four launches, the first of which adds a
 * hundred where N <= 4. z: i32[4] = twice the weight, from two constants of equal bytes. */
static inline tsr_program test_chain_program(void) {
  static const tsr_index_step steps[] = {
      {TSR_INDEX_DIM, 0}, {TSR_INDEX_INT, 4},                    /* 0, 1 */
      {TSR_INDEX_DIM, 0}, {TSR_INDEX_INT, 4}, {TSR_INDEX_LE, 0}, /* 2..4 */
  };
  static const tsr_code codes[] = {{0, 1}, {1, 1}};
  static const tsr_dim_desc dims[] = {{"N", TSR_DIM_FROM_INPUT, 1, 1 << 20}};
  static const tsr_buffer_desc buffers[] = {
      {TSR_BUFFER_INPUT, TSR_I32, 1, 0, 0},     {TSR_BUFFER_TEMPORARY, TSR_I32, 1, 0, 0},
      {TSR_BUFFER_TEMPORARY, TSR_I32, 1, 0, 0}, {TSR_BUFFER_TEMPORARY, TSR_I32, 1, 0, 0},
      {TSR_BUFFER_OUTPUT, TSR_I32, 1, 0, 0},    {TSR_BUFFER_CONSTANT, TSR_I32, 1, 1, 0},
      {TSR_BUFFER_CONSTANT, TSR_I32, 1, 1, 1},  {TSR_BUFFER_OUTPUT, TSR_I32, 1, 1, 1},
  };
  static const tsr_port_desc inputs[] = {{.name = "x", .buffer = 0}};
  static const tsr_port_desc outputs[] = {{.name = "y", .buffer = 4}, {.name = "z", .buffer = 7}};
  static const tsr_constant_desc constants[] = {{test_weight, sizeof test_weight, 0},
                                                {test_same_weight, sizeof test_same_weight, 0}};
  static const tsr_variant_desc variants[] = {
      {{2, 3}, ADD_HUNDRED, 1, {{0, 1}}},
      {{0, 0}, ADD_ONE, 1, {{0, 1}}},
      {{0, 0}, SUM, 1, {{1, 1}}},
  };
  static const uint32_t arguments[] = {0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7};
  static const tsr_launch_desc launches[] = {{0, 2, 0, 2, 0, 0},
                                             {1, 1, 2, 2, 0, 0},
                                             {1, 1, 4, 2, 0, 0},
                                             {1, 1, 6, 2, 0, 0},
                                             {2, 1, 8, 3, 0, 0}};
  static const tsr_segment_desc segments[] = {{0, 5, 0, 0}};
  tsr_program p = test_base_program();
  TEST_TABLE(p, steps, step_count, steps);
  TEST_TABLE(p, codes, code_count, codes);
  TEST_TABLE(p, dims, dim_count, dims);
  TEST_TABLE(p, buffers, buffer_count, buffers);
  TEST_TABLE(p, inputs, input_count, inputs);
  TEST_TABLE(p, outputs, output_count, outputs);
  TEST_TABLE(p, constants, constant_count, constants);
  TEST_TABLE(p, variants, variant_count, variants);
  TEST_TABLE(p, arguments, argument_count, arguments);
  TEST_TABLE(p, launches, launch_count, launches);
  TEST_TABLE(p, segments, segment_count, segments);
  return p;
}

/* x: i32[N], b: i32[2 * N] (unused). M = how many elements of x are not 0, read by the host, in
 * 0..1000. y: i32[M] = the first M elements of x + 1, + 1 again; the first sum crosses the read. */
static inline tsr_program test_filter_program(void) {
  static const tsr_index_step steps[] = {
      {TSR_INDEX_DIM, 0}, {TSR_INDEX_DIM, 1},                     /* 0, 1 */
      {TSR_INDEX_INT, 2}, {TSR_INDEX_DIM, 0}, {TSR_INDEX_MUL, 0}, /* 2..4 */
      {TSR_INDEX_INT, 1},                                         /* 5 */
  };
  static const tsr_code codes[] = {{0, 1}, {1, 1}, {2, 3}};
  static const tsr_dim_desc dims[] = {{"N", TSR_DIM_FROM_INPUT, 0, 1 << 20},
                                      {"M", TSR_DIM_FROM_DEVICE, 0, 1000}};
  static const tsr_buffer_desc buffers[] = {
      {TSR_BUFFER_INPUT, TSR_I32, 1, 0, 0},     {TSR_BUFFER_INPUT, TSR_I32, 1, 2, 1},
      {TSR_BUFFER_TEMPORARY, TSR_I32, 1, 0, 0}, {TSR_BUFFER_TEMPORARY, TSR_I64, 0, 0, 0},
      {TSR_BUFFER_TEMPORARY, TSR_I32, 1, 1, 0}, {TSR_BUFFER_OUTPUT, TSR_I32, 1, 1, 0},
  };
  static const tsr_port_desc inputs[] = {{.name = "x", .buffer = 0}, {.name = "b", .buffer = 1}};
  static const tsr_port_desc outputs[] = {{.name = "y", .buffer = 5}};
  static const tsr_variant_desc variants[] = {
      {{0, 0}, ADD_ONE, 1, {{0, 1}}},
      {{0, 0}, COUNT, 1, {{5, 1}}},
      {{0, 0}, COPY, 1, {{1, 1}}},
      {{0, 0}, ADD_ONE, 1, {{1, 1}}},
  };
  static const uint32_t arguments[] = {0, 2, 0, 3, 2, 4, 4, 5};
  static const tsr_launch_desc launches[] = {
      {0, 1, 0, 2, 0, 0}, {1, 1, 2, 2, 0, 0}, {2, 1, 4, 2, 0, 0}, {3, 1, 6, 2, 0, 0}};
  static const tsr_segment_desc segments[] = {{0, 2, 0, 1}, {2, 2, 1, 0}};
  static const tsr_dim_read reads[] = {{1, 3, 0}};
  tsr_program p = test_base_program();
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
  TEST_TABLE(p, reads, read_count, reads);
  return p;
}

/* An allocator that fails the `fail_at`-th call (0: none) and all later ones, and counts what is
 * live. Every block is filled with garbage. */
typedef struct test_heap {
  tsr_allocator allocator;
  atomic_int calls, live;
  int fail_at;
} test_heap;

static inline void *test_heap_allocate(void *context, size_t size, size_t alignment) {
  test_heap *heap = (test_heap *)context;
  void *block;
  int call = atomic_fetch_add(&heap->calls, 1) + 1;
  if (heap->fail_at != 0 && call >= heap->fail_at)
    return NULL;
  block = tsr_allocator_default()->allocate(NULL, size, alignment);
  if (block == NULL)
    return NULL;
  memset(block, 0xa5, size);
  (void)atomic_fetch_add(&heap->live, 1);
  return block;
}

static inline void test_heap_release(void *context, void *pointer, size_t size) {
  test_heap *heap = (test_heap *)context;
  if (pointer == NULL)
    return;
  memset(pointer, 0x5a, size);
  (void)atomic_fetch_sub(&heap->live, 1);
  tsr_allocator_default()->release(NULL, pointer, size);
}

static inline void test_heap_init(test_heap *heap, int fail_at) {
  memset(heap, 0, sizeof *heap);
  heap->allocator.context = heap;
  heap->allocator.allocate = test_heap_allocate;
  heap->allocator.release = test_heap_release;
  heap->fail_at = fail_at;
}

/* A view of `rank` <= 4 dims over the caller's arrays. */
static inline DLTensor test_tensor(void *data, tsr_dtype dtype, int64_t *shape, int rank) {
  DLTensor tensor;
  memset(&tensor, 0, sizeof tensor);
  tensor.data = data;
  tensor.device.device_type = kDLCPU;
  tensor.ndim = rank;
  tensor.dtype = tsr_dtype_to_dlpack(dtype);
  tensor.shape = shape;
  return tensor;
}

#endif
