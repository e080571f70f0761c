/* A dense row-major tensor in the command line's memory: what .npy files, random inputs and results
 * are held in; the tensors of lists alike. */
#ifndef TSR_FRONTEND_CLI_HOST_TENSOR_H
#define TSR_FRONTEND_CLI_HOST_TENSOR_H
#include "runtime/diag.h"
#include <stdbool.h>
#include <stdio.h>
#include <tessera/dtype.h>

enum { TSR_HOST_MAX_RANK = 16 };

typedef struct tsr_host_tensor {
  tsr_dtype dtype;
  bool is_text; /* `data` is an array of `const char *`, each ended by a zero byte; dtype TSR_I64 */
  uint32_t rank;
  int64_t dims[TSR_HOST_MAX_RANK];
  int64_t count; /* elements */
  int64_t bytes;
  void *data;       /* 64-byte aligned, zeroed by create; never NULL in a created tensor */
  char *characters; /* of texts that the tensor owns */
  size_t character_bytes;
} tsr_host_tensor;

/* What an input or output holds: a tensor, the tensors of a list, or nothing. */
typedef struct tsr_host_items {
  tsr_host_tensor *items;
  uint64_t count;
  bool absent; /* an optional without a value */
} tsr_host_items;

/* TSR_ERR_SHAPE when the dims are negative, too many, or overflow. */
TSR_WARN_UNUSED tsr_status tsr_host_tensor_create(tsr_host_tensor *out_tensor, tsr_dtype dtype,
                                                  uint32_t rank, const int64_t *dims,
                                                  tsr_diag *diag);
/* The same for texts, all "" at first: the caller writes them into `characters`, which has
 * `character_bytes` zeroed bytes, and points the elements there. */
TSR_WARN_UNUSED tsr_status tsr_host_tensor_create_text(tsr_host_tensor *out_tensor, uint32_t rank,
                                                       const int64_t *dims, size_t character_bytes,
                                                       tsr_diag *diag);
void tsr_host_tensor_destroy(tsr_host_tensor *tensor);

/* `count` empty places for tensors. */
TSR_WARN_UNUSED tsr_status tsr_host_items_create(tsr_host_items *out_items, uint64_t count,
                                                 tsr_diag *diag);
void tsr_host_items_destroy(tsr_host_items *items);

const char *tsr_host_tensor_text(const tsr_host_tensor *tensor, int64_t element);

/* Fills floats from the standard normal distribution, integers from a small range around zero (from
 * zero on when unsigned), bools from both values, texts with short words; the same bits for the
 * same seed on every machine. */
void tsr_host_tensor_fill_random(tsr_host_tensor *tensor, uint64_t seed);

/* Writes "f32[2, 3] min -1.5 max 2 mean 0.25": one line without its end. NaN are counted and left
 * out of the figures. Of texts the first ones follow. */
void tsr_host_tensor_summarize(const tsr_host_tensor *tensor, FILE *stream);

/* Writes "f32[2, 3]" into `out`, always terminated. */
void tsr_host_tensor_type_text(const tsr_host_tensor *tensor, char *out, size_t out_size);

#endif
