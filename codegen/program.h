/* From a lowered graph (input, const, reshape, launch, resize_dim, output) and the code of its
 * kernels to the flat program that the module writer takes. */
#ifndef TSR_CODEGEN_PROGRAM_H
#define TSR_CODEGEN_PROGRAM_H
#include "ir/ir.h"
#include "runtime/program.h"

/* A tensor map over the dense buffer of one argument; see tsr_map_desc. */
typedef struct tsr_kernel_map {
  uint32_t argument;
  tsr_dtype dtype;
  uint32_t rank;
  tsr_expr dims[5]; /* outermost first */
  uint32_t box[5];
  uint32_t swizzle; /* bytes: 0, 32, 64 or 128 */
} tsr_kernel_map;

/* What a code generator says about one kernel. `dims` are the symbolic dims it wants passed, in
 * order. */
typedef struct tsr_kernel_code {
  const char *symbol; /* in the IR */
  uint64_t entry;
  uint64_t scratch_bytes;
  const tsr_dim *dims;
  uint32_t dim_count;
  /* CUDA only, 0 and NULL elsewhere; see tsr_kernel_desc: */
  const char *function; /* its name in the kernel's units */
  uint32_t threads, shared_bytes, cluster;
  bool cooperative;
  const tsr_kernel_map *maps;
  uint32_t map_count;
  const uint8_t *tiles; /* CPU: the 64 bytes of tsr_kernel_desc.tiles, or NULL */
} tsr_kernel_code;

typedef struct tsr_program_parts {
  const char *target;    /* as --target takes it */
  uint64_t cpu_features; /* that all code needs */
  uint64_t
      tile_features; /* that code by AMX needs besides, where nothing else can take its place */
  const char *precision;
  const char *producer;
  const void *image;
  uint64_t image_bytes;
  const tsr_kernel_code *kernels;
  uint32_t kernel_count;
  bool called; /* part of a host program, which knows its dims */
} tsr_program_parts;

/* Builds the program of the graph op `graph`. Kernels are numbered by their first launch; a CUDA
 * image, whose units carry those numbers, is made afterwards and set in `out_program`. Everything
 * it points to lives in `arena`, in the IR, or in `parts`. The graph must have passed the pass
 * `storage`: every output has a storage of its own. TSR_ERR_INTERNAL names an op that should have
 * been lowered. */
TSR_WARN_UNUSED tsr_status tsr_program_build(tsr_ir *ir, tsr_op graph,
                                             const tsr_program_parts *parts, tsr_arena *arena,
                                             tsr_diag *diag, tsr_program *out_program);

#endif
