/* The inside of execution by CUDA. A device belongs to the modules, execs and taken outputs that
 * hold a reference to it; a program (kernels as the driver loaded them, constants in the device's
 * memory) to its module; the rest to one exec.
 *
 * Functions other than tsr_cuda_device_open expect the device's context to be current
 * (tsr_cuda_enter) unless they say otherwise. */
#ifndef TSR_RUNTIME_CUDA_CUDA_H
#define TSR_RUNTIME_CUDA_CUDA_H
#include "runtime/arena.h"
#include "runtime/cuda/driver.h"
#include "runtime/cuda/image.h"
#include "runtime/diag.h"
#include "runtime/program.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <tessera/allocator.h>

/* ---- device.c ---- */

typedef struct cuda_device {
  atomic_uint references;
  const tsr_allocator *allocator;
  tsr_cuda_driver driver;
  int32_t ordinal;
  tsr_cu_device handle;
  int version;    /* of the newest CUDA that the driver serves, 13000 */
  int capability; /* 90 */
  int multiprocessors;
  int shared_bytes; /* of a block, at most */
  bool has_pools;   /* stream-ordered allocation */
  bool emulated;
  char name[128];
  pthread_mutex_t lock;   /* of what follows */
  tsr_cu_context context; /* the primary one, retained at first need */
  atomic_int dead;        /* the error after which the context refuses everything; 0: none */
} cuda_device;

/* No context is made yet. ARGUMENT: no such ordinal; DEVICE as tsr_cuda_driver_open. No context is
 * expected here, nor in the three that follow. */
TSR_WARN_UNUSED tsr_status tsr_cuda_device_open(int32_t ordinal, const tsr_allocator *allocator,
                                                tsr_diag *diag, cuda_device **out_device);
cuda_device *tsr_cuda_device_retain(cuda_device *device);
void tsr_cuda_device_release(cuda_device *device);
/* Makes the context current, and undoes that. */
TSR_WARN_UNUSED tsr_status tsr_cuda_enter(cuda_device *device, tsr_diag *diag);
void tsr_cuda_leave(cuda_device *device);

/* OK for a result of 0; else OUT_OF_MEMORY or DEVICE with the text "what: name (explanation)".
 * Errors that end the context are kept in device->dead. */
TSR_WARN_UNUSED tsr_status tsr_cuda_check(cuda_device *device, tsr_diag *diag, tsr_cu_result result,
                                          const char *what);
/* "CUDA_ERROR_LAUNCH_FAILED (unspecified launch failure)". */
void tsr_cuda_error_text(const cuda_device *device, tsr_cu_result result, char *out, size_t size);

/* Device memory, in the order of `stream` where the device can do that. bytes > 0. */
TSR_WARN_UNUSED tsr_status tsr_cuda_allocate(cuda_device *device, tsr_cu_stream stream,
                                             uint64_t bytes, tsr_diag *diag, void **out_data);
void tsr_cuda_release(cuda_device *device, tsr_cu_stream stream, void *data);
/* The same behind everything that any stream does. */
void tsr_cuda_release_synchronously(cuda_device *device, void *data);
TSR_WARN_UNUSED tsr_status tsr_cuda_allocate_pinned(cuda_device *device, uint64_t bytes,
                                                    tsr_diag *diag, void **out_data);
void tsr_cuda_release_pinned(cuda_device *device, void *data);

/* ---- staging.c: pinned memory between pageable host memory and the device ---- */

enum { CUDA_CHUNKS = 4, CUDA_CHUNK_BYTES = 1 << 20, CUDA_CHUNK_PIECES = 64 };

/* A piece that the device writes and the host copies on when the device is done. */
typedef struct cuda_piece {
  void *to;
  const void *from;
  uint64_t bytes;
} cuda_piece;

typedef struct cuda_chunk {
  unsigned char *pinned;
  tsr_cu_event done; /* recorded behind its last copy, when `full` */
  uint64_t used;
  bool full;
  cuda_piece pieces[CUDA_CHUNK_PIECES];
  uint32_t piece_count;
} cuda_chunk;

/* A ring of chunks, each made when it is first needed. All copies go to one stream. */
typedef struct cuda_staging {
  cuda_device *device;
  tsr_cu_stream stream;
  cuda_chunk chunks[CUDA_CHUNKS];
  uint32_t current;
} cuda_staging;

void tsr_cuda_staging_init(cuda_staging *staging, cuda_device *device, tsr_cu_stream stream);
/* Nothing is under way any more. */
void tsr_cuda_staging_destroy(cuda_staging *staging);
/* Returns when `from` has been read; the copy to the device may still be under way. */
TSR_WARN_UNUSED tsr_status tsr_cuda_upload(cuda_staging *staging, void *to, const void *from,
                                           uint64_t bytes, tsr_diag *diag);
/* `to` is complete after tsr_cuda_staging_complete only. */
TSR_WARN_UNUSED tsr_status tsr_cuda_download(cuda_staging *staging, void *to, const void *from,
                                             uint64_t bytes, tsr_diag *diag);
/* After the stream has been waited for: hands out what was downloaded. */
void tsr_cuda_staging_complete(cuda_staging *staging);
/* After the stream has been waited for: forgets what was under way. */
void tsr_cuda_staging_forget(cuda_staging *staging);

/* ---- kernels.c ---- */

typedef struct cuda_kernel {
  const tsr_cuda_unit *unit; /* the one for this device */
  tsr_cu_module module;      /* where this kernel was the first of the unit's bytes to be wanted */
  tsr_cu_function function;  /* NULL: not loaded yet */
} cuda_kernel;

typedef struct cuda_program {
  struct cuda_program *whole; /* of a part: its host program's, which holds the constants of both */
  cuda_device *device;
  const tsr_program *program;
  const tsr_allocator *allocator;
  pthread_mutex_t lock; /* of what follows */
  tsr_arena memory;
  cuda_kernel *kernels;
  void **constants; /* addresses by constant; a host program's, and behind them its parts' */
  void *constant_data;
} cuda_program;

/* Whether every kernel has a unit that the device takes; else `why` says what is needed. No
 * context is expected here, nor in the two that follow. */
bool tsr_cuda_program_fits(const cuda_device *device, const tsr_program *program, char *why,
                           size_t size);
/* Nothing is loaded yet. Retains the device. */
TSR_WARN_UNUSED tsr_status tsr_cuda_program_create(cuda_device *device, const tsr_program *program,
                                                   const tsr_allocator *allocator, tsr_diag *diag,
                                                   cuda_program **out_program);
/* The same for a part of the host program of `whole`, which outlives it. The part's constants are
 * those from number `first_constant` on. */
TSR_WARN_UNUSED tsr_status tsr_cuda_program_create_part(cuda_program *whole, uint32_t part,
                                                        uint32_t first_constant, tsr_diag *diag,
                                                        cuda_program **out_program);
/* NULL is allowed. */
void tsr_cuda_program_destroy(cuda_program *program);
/* The function of a kernel, loaded at the first call, with its attributes set. Any thread. */
TSR_WARN_UNUSED tsr_status tsr_cuda_program_function(cuda_program *program, uint32_t kernel,
                                                     tsr_diag *diag, tsr_cu_function *out_function);
/* Brings the constants to the device at the first call. Any thread. */
TSR_WARN_UNUSED tsr_status tsr_cuda_program_upload(cuda_program *program, tsr_diag *diag);

/* ---- maps.c ---- */

/* Whether there is such a map: extents of 1..2^32, rows of whole 16 bytes, inside the buffer. Any
 * thread, no context. */
bool tsr_cuda_map_fits(const tsr_map_desc *map, const int64_t *dims, uint64_t buffer_bytes);
/* Encodes a map over `buffer_bytes` at `base` whose extents, outermost first, are `dims`. */
TSR_WARN_UNUSED tsr_status tsr_cuda_encode_map(cuda_device *device, const tsr_map_desc *map,
                                               const int64_t *dims, void *base,
                                               uint64_t buffer_bytes, const char *kernel,
                                               tsr_diag *diag, tsr_cu_tensor_map *out_map);

#endif
