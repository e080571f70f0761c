#include <stdlib.h>
#include <tessera/allocator.h>

/* aligned_alloc wants a size that is a multiple of the alignment. */
static void *default_allocate(void *context, size_t size, size_t alignment) {
  size_t rounded = (size + alignment - 1) & ~(alignment - 1);
  (void)context;
  if (alignment < sizeof(void *))
    return malloc(size);
  return rounded < size ? NULL : aligned_alloc(alignment, rounded);
}

static void default_release(void *context, void *pointer, size_t size) {
  (void)context;
  (void)size;
  free(pointer);
}

const tsr_allocator *tsr_allocator_default(void) {
  static const tsr_allocator allocator = {NULL, default_allocate, default_release};
  return &allocator;
}
