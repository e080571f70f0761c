/* A dense row-major tensor in the command line's memory: what .npy files, random inputs and results
 * are held in. */
#ifndef TSR_FRONTEND_CLI_HOST_TENSOR_H
#define TSR_FRONTEND_CLI_HOST_TENSOR_H
#include "runtime/diag.h"
#include <stdio.h>
#include <tessera/dtype.h>

enum { TSR_HOST_MAX_RANK = 16 };

typedef struct tsr_host_tensor {
  tsr_dtype dtype;
  uint32_t rank;
  int64_t dims[TSR_HOST_MAX_RANK];
  int64_t count; /* elements */
  int64_t bytes;
  void *data; /* 64-byte aligned, zeroed by create; never NULL in a created tensor */
} tsr_host_tensor;

/* TSR_ERR_SHAPE when the dims are negative, too many, or overflow. */
TSR_WARN_UNUSED tsr_status tsr_host_tensor_create(tsr_host_tensor *out_tensor, tsr_dtype dtype,
                                                  uint32_t rank, const int64_t *dims,
                                                  tsr_diag *diag);
void tsr_host_tensor_destroy(tsr_host_tensor *tensor);

/* Fills floats from the standard normal distribution, integers from a small range around zero (from
 * zero on when unsigned), bools from both values; the same bits for the same seed on every machine.
 */
void tsr_host_tensor_fill_random(tsr_host_tensor *tensor, uint64_t seed);

/* Writes "f32[2, 3] min -1.5 max 2 mean 0.25": one line without its end. NaN are counted and left
 * out of the figures. */
void tsr_host_tensor_summarize(const tsr_host_tensor *tensor, FILE *stream);

/* Writes "f32[2, 3]" into `out`, always terminated. */
void tsr_host_tensor_type_text(tsr_dtype dtype, uint32_t rank, const int64_t *dims, char *out,
                               size_t out_size);

#endif
