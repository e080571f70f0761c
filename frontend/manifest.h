/* `--emit manifest`: what a program needs to launch the kernels by itself. */
#ifndef TSR_FRONTEND_MANIFEST_H
#define TSR_FRONTEND_MANIFEST_H
#include "codegen/cuda/cuda.h"
#include "runtime/arena.h"
#include "runtime/program.h"

/* JSON text in `arena`: dims, buffers, kernels (name, nodes, entry offset, scratch bytes, dims in
 * order) and launches (variants with guard and grid as postfix text, arguments in order). `cuda`:
 * NULL, or the code whose kernels the program has, which then say threads of a block and bytes of
 * dynamic shared memory instead of entry and scratch. NULL when memory is out. */
const char *tsr_manifest(const tsr_program *program, const tsr_cuda_code *cuda, tsr_arena *arena);

#endif
