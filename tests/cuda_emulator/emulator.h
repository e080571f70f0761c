/* An emulated CUDA device: compiles kernel texts for the host and runs them with every rule checked
 * that this can check (README.md). One thread at a time per emulator. */
#ifndef TSR_TESTS_CUDA_EMULATOR_H
#define TSR_TESTS_CUDA_EMULATOR_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tsr_emulator tsr_emulator;
typedef struct tsr_emulated_kernel tsr_emulated_kernel;

/* A device of compute capability `arch` (80, 86, 89, 90, ...). NULL when memory runs out. */
tsr_emulator *tsr_emulator_create(int arch);
void tsr_emulator_destroy(tsr_emulator *emulator);

/* What failed last: "kernel gemm: block 3, thread 17, line 41: reads ...". "" after a success. */
const char *tsr_emulator_error(const tsr_emulator *emulator);

/* Device memory: kernels touch nothing else. `name` stands in reports and is copied. Allocated
 * memory is 256-byte aligned and filled with 0xff (NaN). A registered range stays the caller's. */
void *tsr_emulator_alloc(tsr_emulator *emulator, size_t bytes, const char *name);
void tsr_emulator_free(tsr_emulator *emulator, void *memory);
bool tsr_emulator_register(tsr_emulator *emulator, void *memory, size_t bytes, const char *name);
void tsr_emulator_unregister(tsr_emulator *emulator, void *memory);
/* Whether races on buffers registered from now on are looked for (the default). It takes 12 bytes
 * per byte that kernels touch; shared memory is always watched. */
void tsr_emulator_watch_buffers(tsr_emulator *emulator, bool watch);

/* The kernel `name` of a text; texts are compiled once (with $CC or cc), and kept for later
 * processes in the folder $TESSERA_EMULATED_CACHE, when that is set. NULL with an error when the
 * text does not compile or has no such kernel. Owned by the emulator. */
const tsr_emulated_kernel *tsr_emulator_kernel(tsr_emulator *emulator, const char *text,
                                               const char *name);
/* Compiles a text, as tsr_emulator_kernel does at first. */
bool tsr_emulator_compile(tsr_emulator *emulator, const char *text);

/* What a kernel was declared with. */
typedef struct tsr_emulated_kernel_info {
  const char *name;
  uint32_t threads; /* most of a block */
  uint32_t cluster; /* blocks; 1: none, or as launched */
  uint32_t argument_count;
  const int *argument_bytes;
} tsr_emulated_kernel_info;
tsr_emulated_kernel_info tsr_emulated_kernel_about(const tsr_emulated_kernel *kernel);

typedef struct tsr_emulated_launch {
  uint32_t grid[3];      /* blocks; z must be 1 */
  uint32_t threads;      /* per block */
  uint32_t cluster;      /* blocks per cluster along x; 0 is 1 */
  uint32_t shared_bytes; /* dynamic shared memory */
  bool cooperative;      /* all blocks are alive at once */
  bool large_clusters;   /* up to 16 blocks instead of 8: what a function attribute asks for */
  uint32_t seed;         /* the order threads and blocks run in; 0 ascending, 1 descending */
} tsr_emulated_launch;

/* Whether the device can launch this at all: its limits, those of the kernel. */
bool tsr_emulator_can_launch(tsr_emulator *emulator, const tsr_emulated_kernel *kernel,
                             const tsr_emulated_launch *launch);
/* Runs the kernel to its end. args[i] points to the value of parameter i, as for cuLaunchKernel.
 * False with an error at the first finding; what the kernel wrote until then stays. */
bool tsr_emulator_launch(tsr_emulator *emulator, const tsr_emulated_kernel *kernel,
                         const tsr_emulated_launch *launch, void *const *args);

/* Most dynamic shared memory of a block. */
uint32_t tsr_emulator_shared_limit(const tsr_emulator *emulator);

/* As cuTensorMapEncodeTiled, whose limits are enforced. Innermost dimension first; strides in bytes
 * of dimensions 1 .. rank-1; swizzle is TSR_SWIZZLE_... of device_common.h; `element_bytes` 1, 2, 4
 * or 8. Boxes step by one element. `out_map` is 128 bytes, 64-byte aligned. */
bool tsr_emulator_encode_tensor_map(tsr_emulator *emulator, void *out_map, uint32_t rank,
                                    uint32_t element_bytes, void *base, const uint64_t *dims,
                                    const uint64_t *strides, const uint32_t *box, uint32_t swizzle);
#endif
