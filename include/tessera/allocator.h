/* The allocator every object is created with. */
#ifndef TESSERA_ALLOCATOR_H
#define TESSERA_ALLOCATOR_H
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* All three functions may be called from any thread that uses the objects made with the allocator.
 * `allocate` returns `size` bytes aligned to `alignment` (a power of two), or NULL; size 0 is never
 * asked for. `release` takes what `allocate` returned with the same size; NULL is allowed. The
 * structure and `context` must outlive every object created with it. */
typedef struct tsr_allocator {
  void *context;
  void *(*allocate)(void *context, size_t size, size_t alignment);
  void (*release)(void *context, void *pointer, size_t size);
} tsr_allocator;

/* The default: aligned_alloc and free; of 2 MiB and more, huge pages where the system has them.
 * Static storage. */
const tsr_allocator *tsr_allocator_default(void);

#ifdef __cplusplus
}
#endif
#endif
