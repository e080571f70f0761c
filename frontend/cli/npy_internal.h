/* What the two halves of the .npy reader and writer share: numbers (npy.c), texts (npy_text.c). */
#ifndef TSR_FRONTEND_CLI_NPY_INTERNAL_H
#define TSR_FRONTEND_CLI_NPY_INTERNAL_H
#include "frontend/cli/npy.h"
#include <stdbool.h>

typedef struct npy_header {
  char order; /* '<', '>', '|' or '=' */
  char kind;
  uint32_t bytes;
  bool fortran;
  uint32_t rank;
  int64_t dims[TSR_HOST_MAX_RANK];
} npy_header;

/* The number of the file's element that is number `index` in row-major order. */
int64_t tsr_npy_position(const npy_header *header, int64_t index);

/* Texts of kind U (UTF-32) or S (bytes), as many as the shape says; `from` has them all. */
TSR_WARN_UNUSED tsr_status tsr_npy_take_texts(const npy_header *header, const uint8_t *from,
                                              tsr_host_tensor *out_tensor, tsr_diag *diag);

/* The kind and bytes of an element that hold every text of the tensor: U, or S when one of them is
 * not UTF-8. */
void tsr_npy_text_type(const tsr_host_tensor *tensor, char *out_kind, uint32_t *out_bytes);
void tsr_npy_put_texts(FILE *file, const tsr_host_tensor *tensor, char kind, uint32_t bytes);

#endif
