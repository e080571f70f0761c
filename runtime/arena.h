/* A bump allocator on a list of blocks: what one compilation, one pass or one parse needs, released
 * at once. */
#ifndef TSR_RUNTIME_ARENA_H
#define TSR_RUNTIME_ARENA_H
#include <stddef.h>
#include <stdint.h>
#include <tessera/allocator.h>

typedef struct tsr_arena_block tsr_arena_block;
typedef struct tsr_arena {
  const tsr_allocator *allocator;
  tsr_arena_block *blocks; /* newest first */
} tsr_arena;

void tsr_arena_init(tsr_arena *arena, const tsr_allocator *allocator);
/* Releases everything; the arena may be used again. */
void tsr_arena_reset(tsr_arena *arena);

/* Zeroed memory aligned to 16 bytes that lives until reset; NULL when memory is out or size
 * overflows. Size 0 gives a unique address. */
void *tsr_arena_alloc(tsr_arena *arena, size_t size);
void *tsr_arena_alloc_array(tsr_arena *arena, size_t count, size_t element_size);
/* A terminated copy of `length` bytes. */
char *tsr_arena_string(tsr_arena *arena, const char *text, size_t length);
char *tsr_arena_printf(tsr_arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
