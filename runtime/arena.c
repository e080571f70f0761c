#include "runtime/arena.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ALIGNMENT = 16, FIRST_BLOCK = 4096, LARGEST_BLOCK = 1 << 20 };

struct tsr_arena_block {
  _Alignas(ALIGNMENT) tsr_arena_block *next;
  size_t size; /* of the whole block, this header included */
  size_t used; /* likewise */
};

void tsr_arena_init(tsr_arena *arena, const tsr_allocator *allocator) {
  arena->allocator = allocator;
  arena->blocks = NULL;
}

void tsr_arena_reset(tsr_arena *arena) {
  tsr_arena_block *block = arena->blocks;
  while (block != NULL) {
    tsr_arena_block *next = block->next;
    arena->allocator->release(arena->allocator->context, block, block->size);
    block = next;
  }
  arena->blocks = NULL;
}

static tsr_arena_block *new_block(const tsr_arena *arena, size_t size) {
  tsr_arena_block *block =
      (tsr_arena_block *)arena->allocator->allocate(arena->allocator->context, size, ALIGNMENT);
  if (block == NULL)
    return NULL;
  block->next = NULL;
  block->size = size;
  block->used = sizeof *block;
  return block;
}

/* Blocks double so that a long compilation makes few of them. A request larger than the next block
 * gets a block of its own behind the newest one, whose free end stays in use. */
static tsr_arena_block *add_block(tsr_arena *arena, size_t needed) {
  size_t size = arena->blocks == NULL ? FIRST_BLOCK : arena->blocks->size * 2;
  tsr_arena_block *block;
  if (size > LARGEST_BLOCK)
    size = LARGEST_BLOCK;
  block = new_block(arena, needed > size ? needed : size);
  if (block == NULL)
    return NULL;
  if (needed > size && arena->blocks != NULL) {
    block->next = arena->blocks->next;
    arena->blocks->next = block;
  } else {
    block->next = arena->blocks;
    arena->blocks = block;
  }
  return block;
}

void *tsr_arena_alloc(tsr_arena *arena, size_t size) {
  tsr_arena_block *block = arena->blocks;
  unsigned char *bytes;
  if (size > SIZE_MAX / 2)
    return NULL;
  size = size == 0 ? ALIGNMENT : (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
  if (block == NULL || block->size - block->used < size)
    block = add_block(arena, sizeof *block + size);
  if (block == NULL)
    return NULL;
  bytes = (unsigned char *)block + block->used;
  block->used += size;
  return memset(bytes, 0, size);
}

void *tsr_arena_alloc_array(tsr_arena *arena, size_t count, size_t element_size) {
  size_t size;
  return __builtin_mul_overflow(count, element_size, &size) ? NULL : tsr_arena_alloc(arena, size);
}

char *tsr_arena_string(tsr_arena *arena, const char *text, size_t length) {
  char *copy = length == SIZE_MAX ? NULL : (char *)tsr_arena_alloc(arena, length + 1);
  if (copy != NULL && length != 0)
    memcpy(copy, text, length);
  return copy;
}

char *tsr_arena_printf(tsr_arena *arena, const char *format, ...) {
  va_list arguments;
  int length;
  char *text;
  va_start(arguments, format);
  length = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  if (length < 0)
    return NULL;
  text = (char *)tsr_arena_alloc(arena, (size_t)length + 1);
  if (text == NULL)
    return NULL;
  va_start(arguments, format);
  (void)vsnprintf(text, (size_t)length + 1, format, arguments);
  va_end(arguments);
  return text;
}
