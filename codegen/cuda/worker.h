/* A pool of processes that compile kernels, so that a crash or a hang of the compiler costs one
 * kernel and not the process.
 *
 * Workers are made with posix_spawn of a program that the caller names, usually the running
 * executable with a hidden argument: unlike fork alone that is safe in a process that has threads,
 * locks held and a CUDA driver loaded, and the worker starts without the parent's memory. The
 * program's main hands over to tsr_worker_serve or tsr_worker_main at once. Parent and worker talk
 * over a socket pair that is the worker's standard input; a worker serves one kernel after the
 * other. A worker whose parent is gone ends by itself. */
#ifndef TSR_CODEGEN_CUDA_WORKER_H
#define TSR_CODEGEN_CUDA_WORKER_H
#include "codegen/cuda/compile_cache.h"
#include "codegen/cuda/cubin.h"

typedef struct tsr_compile_pool tsr_compile_pool;

typedef struct tsr_compile_pool_options {
  /* Program and arguments of a worker, ended by NULL; the program is a path, for example
   * "/proc/self/exe". NULL: kernels are compiled in this process, one after the other, with no
   * protection. */
  const char *const *worker_argv;
  const tsr_nvrtc *nvrtc;   /* gives the compiler's path and identity; borrowed */
  const char *identity;     /* of the compiler where `nvrtc` is NULL and workers have another one */
  tsr_compile_cache *cache; /* borrowed; NULL: none */
  uint32_t worker_count;    /* 0: one for each processor */
  uint32_t timeout_ms;      /* for one kernel; 0: two minutes */
} tsr_compile_pool_options;

/* What came of one kernel. */
typedef struct tsr_compile_result {
  /* TSR_OK; what the compiler or tsr_cuda_report_make returned; TSR_ERR_INTERNAL: the worker
   * crashed; TSR_ERR_LIMIT: it took longer than `timeout_ms` and was ended. */
  tsr_status status;
  const char *message; /* "" when status is TSR_OK; lives in the arena */
  tsr_cuda_output output;
  tsr_cuda_report report; /* of the CUBIN, where there is one; says whether it is rejected */
  int64_t compile_ns;     /* 0 when nothing was compiled for it */
  bool from_cache;
  bool duplicate; /* the same kernel stands earlier in the list, and was compiled there */
} tsr_compile_result;

/* Copies what it needs of the options but for what is borrowed. No worker is started before there
 * is work for it. */
TSR_WARN_UNUSED tsr_status tsr_compile_pool_create(const tsr_allocator *allocator,
                                                   const tsr_compile_pool_options *options,
                                                   tsr_compile_pool **out_pool, tsr_diag *diag);
/* Ends all workers and waits for them. NULL is allowed. */
void tsr_compile_pool_destroy(tsr_compile_pool *pool);

/* Compiles sources[0..count) and fills results[i] for sources[i], in `arena`; equal sources are
 * compiled once. A kernel that fails is a result, not a failure of the call. Failures:
 * TSR_ERR_OUT_OF_MEMORY; TSR_ERR_IO when no worker can be started. One thread at a time may use a
 * pool. */
TSR_WARN_UNUSED tsr_status tsr_compile_pool_run(tsr_compile_pool *pool,
                                                const tsr_cuda_source *sources, uint32_t count,
                                                tsr_arena *arena, tsr_compile_result *results,
                                                tsr_diag *diag);

/* How a worker compiles: fills `out_output` in `arena`. `nvrtc_path` is that of the pool's NVRTC,
 * or "". */
typedef tsr_status (*tsr_compile_function)(void *context, const char *nvrtc_path,
                                           const tsr_cuda_source *source, tsr_arena *arena,
                                           tsr_cuda_output *out_output, tsr_diag *diag);

/* The worker's side: serves kernels from standard input until the parent closes it. Returns main's
 * exit status. */
int tsr_worker_serve(const tsr_allocator *allocator, tsr_compile_function function, void *context);
/* The same with NVRTC, which is opened at the first kernel. */
int tsr_worker_main(void);

#endif
