/* An allocator that fails the n-th call and every later one. */
#ifndef TESTS_NVRTC_FAILING_H
#define TESTS_NVRTC_FAILING_H
#include <stdbool.h>
#include <stdint.h>
#include <tessera/allocator.h>

typedef struct failing_allocator {
  tsr_allocator allocator;
  int64_t left; /* calls that succeed */
  int64_t live; /* allocations that were not released */
} failing_allocator;

static inline void *failing_allocate(void *context, size_t size, size_t alignment) {
  failing_allocator *self = (failing_allocator *)context;
  void *pointer = NULL;
  if (self->left-- > 0)
    pointer = tsr_allocator_default()->allocate(NULL, size, alignment);
  self->live += pointer != NULL;
  return pointer;
}

static inline void failing_release(void *context, void *pointer, size_t size) {
  failing_allocator *self = (failing_allocator *)context;
  self->live -= pointer != NULL;
  tsr_allocator_default()->release(NULL, pointer, size);
}

static inline void failing_init(failing_allocator *self, int64_t left) {
  self->allocator = (tsr_allocator){self, failing_allocate, failing_release};
  self->left = left;
  self->live = 0;
}

#endif
