/* Copies of kernels that take other arguments, for launches that want more or less of them. */
#ifndef TSR_PASSES_TILE_KERNEL_COPY_H
#define TSR_PASSES_TILE_KERNEL_COPY_H
#include "ir/ir.h"

/* `map` has `map_size` entries by value: what stands in the copy for each argument. */
typedef struct tsr_kernel_copy {
  tsr_op kernel; /* the copy; 0: memory is out */
  tsr_region from, to;
  tsr_value *map;
  uint32_t map_size;
} tsr_kernel_copy;

/* A kernel at the end of the IR with the attributes and origins of `kernel`, the name `symbol_n`,
 * and no arguments yet. The map is the arena's. */
tsr_kernel_copy tsr_kernel_copy_begin(tsr_ir *ir, tsr_op kernel, char letter, uint32_t n,
                                      tsr_arena *arena);
/* The next argument, the same as one of the kernel's. */
void tsr_kernel_copy_argument(tsr_ir *ir, tsr_kernel_copy *copy, tsr_value argument);
/* The body, once every argument stands in the map. */
void tsr_kernel_copy_body(tsr_ir *ir, tsr_kernel_copy *copy);

/* Erases a kernel that no launch names, alone or among variants. */
void tsr_kernel_erase_unused(tsr_ir *ir, tsr_op kernel);

#endif
