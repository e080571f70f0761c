/* What ptxas made of each kernel, read back from the CUBIN and from the log of its compilation, and
 * the rule by which a candidate is rejected for it: any spill and any C75xx warning (wgmma
 * serialised, setmaxnreg ignored). */
#ifndef TSR_CODEGEN_CUDA_CUBIN_H
#define TSR_CODEGEN_CUDA_CUBIN_H
#include "codegen/cuda/nvrtc.h"

/* One kernel. Sizes are bytes. What only the log says is TSR_CUDA_UNKNOWN without one. */
enum { TSR_CUDA_UNKNOWN = -1 };
typedef struct tsr_cuda_kernel_record {
  const char *name;
  int32_t registers;   /* per thread */
  int32_t stack_bytes; /* per thread, of the kernel itself: local arrays and spilled registers */
  int32_t spill_store_bytes; /* from the log */
  int32_t spill_load_bytes;  /* from the log */
  int32_t shared_bytes;      /* static; `extern __shared__` comes at launch */
  int32_t constant_bytes;    /* constant bank 0: parameters and what the driver puts before them */
  int32_t max_threads;       /* per block, from __launch_bounds__; 0: not bounded */
  int32_t barriers;          /* from the log */
  uint32_t warning_count;    /* of C75xx */
  const char *warning;       /* the first of them, or NULL */
  const char *reason;        /* why the kernel is rejected; NULL: it is not */
} tsr_cuda_kernel_record;

typedef struct tsr_cuda_report {
  tsr_cuda_kernel_record *kernels; /* in the order of the CUBIN's symbols */
  uint32_t kernel_count;
} tsr_cuda_report;

/* Reads a CUBIN and the log of its compilation (NULL: none was kept). The report lives in `arena`.
 * Any bytes may be given: TSR_ERR_FORMAT when they are no 64-bit little-endian ELF for CUDA whose
 * tables lie inside the file, TSR_ERR_LIMIT when it has more than 1024 kernels. */
TSR_WARN_UNUSED tsr_status tsr_cuda_report_make(const uint8_t *cubin, size_t cubin_size,
                                                const char *log, tsr_arena *arena,
                                                tsr_cuda_report *out_report, tsr_diag *diag);

/* The kernel's record, or NULL. */
const tsr_cuda_kernel_record *tsr_cuda_report_find(const tsr_cuda_report *report, const char *name);
/* The first rejected kernel, or NULL when all may be used. */
const tsr_cuda_kernel_record *tsr_cuda_report_rejected(const tsr_cuda_report *report);

#endif
