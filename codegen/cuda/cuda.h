/* Tile programs to CUDA C: every top-level `kernel` op of an IR becomes one translation unit that
 * needs no header. The same text is valid C for a host that defines the device primitives (see
 * codegen/cuda/README.md). */
#ifndef TSR_CODEGEN_CUDA_CUDA_H
#define TSR_CODEGEN_CUDA_CUDA_H
#include "codegen/program.h"
#include "ir/target.h"

typedef tsr_kernel_map tsr_cuda_map;

/* One kernel. Its parameters are the buffers in the order of the kernel's arguments, each aligned
 * to 16 bytes, then one `long long` per entry of `dims`, then the number of tasks, then `maps`.
 * Task n runs as block n of a grid of at least that many blocks; with clusters the grid is rounded
 * up to a multiple of `cluster`, and tasks of one cluster are numbered one after the other. */
typedef struct tsr_cuda_kernel {
  const char *name;    /* the IR's symbol */
  const char *symbol;  /* the function's name in the texts, from a hash of what it does */
  const char *comment; /* for people, in front of `body` in tsr_cuda_code.text: names */
  const char *source;  /* the whole translation unit */
  const char *text; /* `source` behind the device primitives: what a host with its own compiles */
  const char *body; /* the kernel alone, its last part */
  uint32_t threads; /* of a block */
  uint64_t shared_bytes; /* dynamic shared memory; beyond 48 KiB a function attribute asks for it */
  uint32_t buffer_count;
  const tsr_dim *dims;
  uint32_t dim_count;
  uint32_t cluster; /* blocks, along x; 1: none */
  bool cooperative; /* all blocks of the grid must be resident at once */
  const tsr_cuda_map *maps;
  uint32_t map_count;
} tsr_cuda_kernel;

/* All memory belongs to the arena given to tsr_codegen_cuda. */
typedef struct tsr_cuda_code {
  const tsr_cuda_kernel *kernels; /* in the order of the IR */
  uint32_t kernel_count;
  const char *text; /* all kernels: the shared part once, then every kernel, equal ones once */
} tsr_cuda_code;

/* What NVRTC has to be told besides the architecture: a product and a sum are never fused unless
 * the text says so. */
#define TSR_CUDA_OPTIONS "--fmad=false"

/* New index expressions are added to `ir`, nothing else is changed. TSR_ERR_UNSUPPORTED names the
 * op that has no code here, TSR_ERR_VERIFY an op whose operands do not fit, TSR_ERR_LIMIT tiles or
 * scratch beyond what a block can hold. */
TSR_WARN_UNUSED tsr_status tsr_codegen_cuda(tsr_ir *ir, const tsr_target *target, tsr_arena *arena,
                                            tsr_diag *diag, tsr_cuda_code *out_code);

#endif
