/* NVRTC, NVIDIA's run-time compiler from CUDA C++ to PTX and CUBIN (docs.nvidia.com/cuda/nvrtc),
 * found with dlopen: nothing of CUDA is needed to build or to start. The only file that knows its
 * interface is nvrtc.c; its errors become statuses there. It needs neither a driver nor a GPU. */
#ifndef TSR_CODEGEN_CUDA_NVRTC_H
#define TSR_CODEGEN_CUDA_NVRTC_H
#include "runtime/arena.h"
#include "runtime/diag.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct tsr_nvrtc tsr_nvrtc;

/* What a compilation is asked for; may be combined. */
enum { TSR_CUDA_PTX = 1, TSR_CUDA_CUBIN = 2 };

/* One compilation. `name` is for messages only and no part of what is compiled: texts that differ
 * in nothing else are the same kernel to the cache. `arch` is "sm_80", "sm_90a", or for PTX alone
 * "compute_80" as well. `options` are NVRTC's own, for example "-default-device". */
typedef struct tsr_cuda_source {
  const char *text;
  const char *name; /* may be NULL */
  const char *arch;
  const char *const *options; /* may be NULL when there are none */
  uint32_t option_count;
  uint32_t want; /* TSR_CUDA_PTX | TSR_CUDA_CUBIN */
} tsr_cuda_source;

/* What came of it, in the caller's arena. PTX and log are terminated; what was not asked for is
 * NULL and 0. */
typedef struct tsr_cuda_output {
  const char *ptx;
  size_t ptx_size; /* without the terminating zero */
  const uint8_t *cubin;
  size_t cubin_size;
  const char *log; /* never NULL after a compilation; read it with tsr_cuda_report_make */
} tsr_cuda_output;

/* Finds and opens NVRTC. `path` is the library's file or a folder that has it: a toolkit, its
 * lib64, or the folder nvidia/cu13 or nvidia/cuda_nvrtc of PyPI's nvidia-cuda-nvrtc. NULL:
 * $TESSERA_NVRTC if set, else libnvrtc.so.13 and .12 where the dynamic linker finds them, then
 * $CUDA_HOME, $CUDA_PATH and the folders where toolkits usually are. Where `path` or $TESSERA_NVRTC
 * name a place, no other is tried. TSR_ERR_DEVICE when it is absent or older than 12: the message
 * says what was looked for, what to install, and what works without it. */
TSR_WARN_UNUSED tsr_status tsr_nvrtc_open(const tsr_allocator *allocator, const char *path,
                                          tsr_nvrtc **out_nvrtc, tsr_diag *diag);
/* NULL is allowed. */
void tsr_nvrtc_close(tsr_nvrtc *nvrtc);

void tsr_nvrtc_version(const tsr_nvrtc *nvrtc, int *out_major, int *out_minor);
/* The absolute path of the library's file; opens the same library in another process. */
const char *tsr_nvrtc_path(const tsr_nvrtc *nvrtc);
/* "nvrtc 13.0 BUILD-ID": differs between any two compilers that could give different code. */
const char *tsr_nvrtc_identity(const tsr_nvrtc *nvrtc);

/* Compiles. Several threads may compile at once. CUBIN takes about twice the time of PTX alone.
 * With CUBIN the log has ptxas's figures for each kernel. TSR_ERR_INTERNAL: the text does not
 * compile, with the first lines of the log in the message and the whole log in `out_output`; the
 * text is ours, so this is the compiler's fault. TSR_ERR_UNSUPPORTED: this NVRTC does not know
 * `arch` or an option. TSR_ERR_ARGUMENT: CUBIN was asked for "compute_..", or nothing was asked
 * for. TSR_ERR_DEVICE: NVRTC lacks its builtins library. */
TSR_WARN_UNUSED tsr_status tsr_nvrtc_compile(const tsr_nvrtc *nvrtc, const tsr_cuda_source *source,
                                             tsr_arena *arena, tsr_cuda_output *out_output,
                                             tsr_diag *diag);

#endif
