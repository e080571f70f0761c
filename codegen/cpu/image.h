/* From an LLVM module to one position-independent image: code and constants in one run of bytes
 * without relocations, without undefined symbols and without writable data, so that mapping it
 * readable and executable at any page-aligned address is all the linking there is.
 *
 *   offset 0       64                                                               size
 *   | 64-byte gap | code of all functions | 64-byte gap | read-only constants ... |
 *                   16-byte aligned entries               each section at its own alignment
 */
#ifndef TSR_CODEGEN_CPU_IMAGE_H
#define TSR_CODEGEN_CPU_IMAGE_H
#include "codegen/cpu/llvm_target.h"

typedef struct tsr_image_symbol {
  const char *name;
  uint64_t entry; /* offset of the function's first byte in the image */
  uint64_t bytes; /* of its code */
} tsr_image_symbol;

typedef struct tsr_image {
  const unsigned char *bytes;
  uint64_t size;
  const tsr_image_symbol *symbols; /* the global functions, in the order of the object */
  uint32_t symbol_count;
} tsr_image;

/* Optimised module -> machine code -> image; any number of kernels in the module. Bytes and names
 * live in `arena`. TSR_ERR_INTERNAL names the symbol or the section when the code needs something
 * an image cannot have: an undefined symbol, an absolute address, writable or thread-local data. */
TSR_WARN_UNUSED tsr_status tsr_image_build(const tsr_llvm_target *target, LLVMModuleRef module,
                                           tsr_arena *arena, tsr_diag *diag, tsr_image *out_image);
/* The linking step alone, on a relocatable ELF64 object in memory. The bytes are not trusted:
 * every offset is checked (TSR_ERR_FORMAT). */
TSR_WARN_UNUSED tsr_status tsr_image_link(const void *object, size_t object_bytes, tsr_arena *arena,
                                          tsr_diag *diag, tsr_image *out_image);
/* NULL when the image has no global function of that name. */
const tsr_image_symbol *tsr_image_find(const tsr_image *image, const char *name);

#endif
