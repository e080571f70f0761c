/* A folder of compiled kernels that outlives the process. An entry is found by everything that its
 * bytes depend on: text, architecture, options, what was asked for, the compiler's identity and the
 * format's version; all of it stands in the entry and is compared, so that a collision of hashes
 * cannot give the wrong kernel.
 *
 * Any number of processes and threads may use one folder: entries are written aside and renamed,
 * have a checksum, and are removed when they are damaged. What goes wrong with the folder
 * (read-only, full) costs time, not correctness: it is counted and the kernel is compiled again. */
#ifndef TSR_CODEGEN_CUDA_COMPILE_CACHE_H
#define TSR_CODEGEN_CUDA_COMPILE_CACHE_H
#include "codegen/cuda/nvrtc.h"

typedef struct tsr_compile_cache tsr_compile_cache;

/* Counted since the cache was opened. */
typedef struct tsr_compile_cache_statistics {
  uint64_t hits, misses, stores;
  uint64_t damaged; /* entries that were removed because their bytes are not what was written */
  uint64_t evicted; /* entries that were removed to keep the bound */
  uint64_t store_failures; /* entries that could not be written */
} tsr_compile_cache_statistics;

enum { TSR_COMPILE_CACHE_DEFAULT_MIB = 512 };

/* Opens `folder` and makes it, and its parents, where they are missing. NULL:
 * $XDG_CACHE_HOME/tessera/cuda, or
 * ~/.cache/tessera/cuda. When the entries together get larger than `bound_bytes` (0: 512 MiB), the
 * least recently used ones are removed. Other processes' stores are seen at every 64th store, so
 * the bound may be passed by what they add in between. TSR_ERR_IO: the folder cannot be made or
 * read. */
TSR_WARN_UNUSED tsr_status tsr_compile_cache_open(const tsr_allocator *allocator,
                                                  const char *folder, uint64_t bound_bytes,
                                                  tsr_compile_cache **out_cache, tsr_diag *diag);
/* NULL is allowed. */
void tsr_compile_cache_close(tsr_compile_cache *cache);
const char *tsr_compile_cache_folder(const tsr_compile_cache *cache);

/* Looks `source`, compiled by the compiler `identity` names, up: *out_found says whether
 * `out_output` was filled, in `arena`. The only failure is TSR_ERR_OUT_OF_MEMORY. */
TSR_WARN_UNUSED tsr_status tsr_compile_cache_get(tsr_compile_cache *cache,
                                                 const tsr_cuda_source *source,
                                                 const char *identity, tsr_arena *arena,
                                                 bool *out_found, tsr_cuda_output *out_output);
/* Keeps what came of compiling `source`. The only failure is TSR_ERR_OUT_OF_MEMORY. */
TSR_WARN_UNUSED tsr_status tsr_compile_cache_put(tsr_compile_cache *cache,
                                                 const tsr_cuda_source *source,
                                                 const char *identity,
                                                 const tsr_cuda_output *output);

/* What lies in the folder now. */
void tsr_compile_cache_size(tsr_compile_cache *cache, uint32_t *out_entries, uint64_t *out_bytes);
void tsr_compile_cache_get_statistics(tsr_compile_cache *cache,
                                      tsr_compile_cache_statistics *out_statistics);

#endif
