/* The image of a CUDA program: one unit per kernel and form. A unit is what cuModuleLoadDataEx
 * takes: a CUBIN for one architecture, or PTX text (ended by a zero byte) for that architecture and
 * later ones; for the emulated device of the tests the kernel's text. Offsets count from the
 * image's start, units start at multiples of 16 and are listed in the order of their kernels, of
 * which each has one or more. PTX and text end with a zero byte, which `bytes` counts.
 * Little-endian. */
#ifndef TSR_RUNTIME_CUDA_IMAGE_H
#define TSR_RUNTIME_CUDA_IMAGE_H
#include "runtime/arena.h"
#include "runtime/diag.h"
#include <stdint.h>

typedef enum tsr_cuda_unit_kind {
  TSR_CUDA_UNIT_CUBIN = 0,
  TSR_CUDA_UNIT_PTX = 1,
  TSR_CUDA_UNIT_TEXT = 2,
} tsr_cuda_unit_kind;

typedef struct tsr_cuda_unit {
  uint32_t kernel;     /* number in tsr_program.kernels; several kernels may share bytes */
  uint32_t kind;       /* tsr_cuda_unit_kind */
  uint32_t capability; /* 80, 89, 90 */
  uint32_t specific;   /* 1: of that architecture alone (sm_90a) */
  uint64_t offset, bytes;
} tsr_cuda_unit;

enum { TSR_CUDA_IMAGE_MAGIC = 0x55435354 /* "TSCU" */ };
typedef struct tsr_cuda_image_header {
  uint32_t magic, unit_count; /* the units follow */
} tsr_cuda_image_header;

/* Makes the image of `units`, whose bytes are data[i]; offsets are filled in here, units of one
 * kernel keep their order, equal bytes are stored once. What tsr_cuda_image_read would refuse is
 * TSR_ERR_FORMAT here. */
TSR_WARN_UNUSED tsr_status tsr_cuda_image_make(const tsr_cuda_unit *units, const void *const *data,
                                               uint32_t count, tsr_arena *arena, tsr_diag *diag,
                                               const void **out_image, uint64_t *out_bytes);
/* Checks an image completely (TSR_ERR_FORMAT) and gives its units, which lie inside it. The image
 * starts at a multiple of 8; an image of no bytes is that of no kernels. */
TSR_WARN_UNUSED tsr_status tsr_cuda_image_read(const void *image, uint64_t bytes,
                                               uint32_t kernel_count, tsr_diag *diag,
                                               const tsr_cuda_unit **out_units,
                                               uint32_t *out_count);

#endif
