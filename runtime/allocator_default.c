#include <stdlib.h>
#include <sys/mman.h>
#include <tessera/allocator.h>

enum { HUGE_PAGE = 2 << 20 };

/* What kernels walk through in strides of pages needs fewer entries of the TLB in huge ones. */
static void *allocate_huge(size_t size) {
  void *pointer = NULL;
  if (posix_memalign(&pointer, HUGE_PAGE, size) != 0)
    return NULL;
  (void)madvise(pointer, size / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE); /* advice, not needed */
  return pointer;
}

/* aligned_alloc wants a size that is a multiple of the alignment. */
static void *default_allocate(void *context, size_t size, size_t alignment) {
  size_t rounded = (size + alignment - 1) & ~(alignment - 1);
  (void)context;
  if (alignment < sizeof(void *))
    return malloc(size);
  if (size >= HUGE_PAGE && alignment <= HUGE_PAGE)
    return allocate_huge(size);
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
