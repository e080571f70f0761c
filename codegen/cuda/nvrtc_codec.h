/* A compilation and what came of it as bytes: what goes to a worker process and back, what the
 * cache's entries are made of, and what two kernels are compared by. A list of fields, each a
 * length and bytes; the machine's own byte order. */
#ifndef TSR_CODEGEN_CUDA_NVRTC_CODEC_H
#define TSR_CODEGEN_CUDA_NVRTC_CODEC_H
#include "codegen/cuda/nvrtc.h"

typedef struct tsr_cuda_bytes {
  uint8_t *data;
  size_t size;
} tsr_cuda_bytes;

/* `head` stands before the source: the compiler's identity in a key, its path in a request. The
 * name is left out of a key (`with_name` false). False: no memory. */
bool tsr_cuda_source_encode(const char *head, const tsr_cuda_source *source, bool with_name,
                            tsr_arena *arena, tsr_cuda_bytes *out_bytes);
bool tsr_cuda_output_encode(const tsr_cuda_output *output, tsr_arena *arena,
                            tsr_cuda_bytes *out_bytes);

/* Texts and arrays point into `bytes`, or into `arena`. TSR_ERR_FORMAT when the bytes are nothing
 * that was encoded; any bytes may be given. */
TSR_WARN_UNUSED tsr_status tsr_cuda_source_decode(tsr_cuda_bytes bytes, tsr_arena *arena,
                                                  const char **out_head,
                                                  tsr_cuda_source *out_source);
TSR_WARN_UNUSED tsr_status tsr_cuda_output_decode(tsr_cuda_bytes bytes,
                                                  tsr_cuda_output *out_output);

#endif
