/* `--emit manifest`: what a program needs to launch the kernels by itself. */
#ifndef TSR_FRONTEND_MANIFEST_H
#define TSR_FRONTEND_MANIFEST_H
#include "frontend/cuda_program.h"

/* A program whose kernels are launched: the whole, named "", or what the host's steps call. */
typedef struct tsr_manifest_part {
  const char *name;
  const tsr_program *program;
  const tsr_cuda_program *cuda; /* NULL: of a CPU */
} tsr_manifest_part;

/* JSON text in `arena`: dims, inputs, outputs, buffers, kernels and launches (variants with guard
 * and grid as postfix text, arguments in order). Kernels of a CPU say entry and scratch bytes;
 * those for CUDA say function, launch facts, parameters in order, tensor maps and, where it was
 * compiled, what ptxas made of them. `program` is that of the only part, or the host's, which says
 * its steps, too, and then each part. NULL when memory is out. frontend/README.md lists the fields.
 */
const char *tsr_manifest(const tsr_program *program, const tsr_manifest_part *parts,
                         uint32_t part_count, tsr_arena *arena);
/* The constants' bytes at the manifest's offsets, in `arena`; NULL when memory is out. */
const void *tsr_manifest_weights(const tsr_program *program, tsr_arena *arena, size_t *out_bytes);

#endif
