/* The table of texts: numbers in order of arrival, and a hash table from text to number. */
#include "runtime/host/text.h"
#include "runtime/hash.h"
#include <string.h>

typedef struct text_entry {
  const char *text;
  size_t length;
  uint64_t hash;
} text_entry;

struct tsr_texts {
  const tsr_allocator *allocator;
  tsr_arena own, added; /* those it started with, and those that came since */
  text_entry *entries;
  uint32_t count, base, room;
  uint32_t *slots; /* number + 1; 0: free. Twice as many as entries fit */
  uint32_t slot_count;
};

static void *allocate(tsr_texts *t, size_t count, size_t size) {
  return t->allocator->allocate(t->allocator->context, count * size, 16);
}

static void release(tsr_texts *t, void *memory, size_t count, size_t size) {
  t->allocator->release(t->allocator->context, memory, count * size);
}

static uint32_t slot_of(const tsr_texts *t, const char *text, size_t length, uint64_t hash) {
  uint32_t at = (uint32_t)hash & (t->slot_count - 1);
  for (; t->slots[at] != 0; at = (at + 1) & (t->slot_count - 1)) {
    const text_entry *e = &t->entries[t->slots[at] - 1];
    if (e->hash == hash && e->length == length && memcmp(e->text, text, length) == 0)
      break;
  }
  return at;
}

static void fill_slots(tsr_texts *t) {
  memset(t->slots, 0, t->slot_count * sizeof *t->slots);
  for (uint32_t i = 0; i < t->count; i++) {
    const text_entry *e = &t->entries[i];
    uint32_t at = slot_of(t, e->text, e->length, e->hash);
    if (t->slots[at] == 0) /* of equal texts that it started with, the first */
      t->slots[at] = i + 1;
  }
}

static tsr_status grow(tsr_texts *t, uint32_t room) {
  text_entry *entries = allocate(t, room, sizeof *entries);
  uint32_t *slots = allocate(t, 2 * (size_t)room, sizeof *slots);
  if (!entries || !slots) {
    if (entries)
      release(t, entries, room, sizeof *entries);
    if (slots)
      release(t, slots, 2 * (size_t)room, sizeof *slots);
    return TSR_ERR_OUT_OF_MEMORY;
  }
  if (t->room > 0) {
    memcpy(entries, t->entries, t->count * sizeof *entries);
    release(t, t->entries, t->room, sizeof *entries);
    release(t, t->slots, t->slot_count, sizeof *slots);
  }
  t->entries = entries;
  t->slots = slots;
  t->room = room;
  t->slot_count = 2 * room;
  fill_slots(t);
  return TSR_OK;
}

static tsr_status append(tsr_texts *t, tsr_arena *arena, const char *text, size_t length,
                         uint64_t hash) {
  if (t->count == t->room) {
    if (t->room >= (uint32_t)1 << 30)
      return TSR_ERR_LIMIT;
    TSR_TRY(grow(t, 2 * t->room));
  }
  const char *copy = tsr_arena_string(arena, text, length);
  if (!copy)
    return TSR_ERR_OUT_OF_MEMORY;
  uint32_t at = slot_of(t, text, length, hash);
  t->entries[t->count++] = (text_entry){copy, length, hash};
  if (t->slots[at] == 0)
    t->slots[at] = t->count;
  return TSR_OK;
}

static tsr_status fill(tsr_texts *t, const char *const *texts, uint32_t count) {
  uint32_t room = 16;
  while (room < count + 1 && room < (uint32_t)1 << 30)
    room *= 2;
  TSR_TRY(grow(t, room));
  for (uint32_t i = 0; i < count; i++) {
    size_t length = strlen(texts[i]);
    TSR_TRY(append(t, &t->own, texts[i], length, tsr_hash64(texts[i], length)));
  }
  if (count == 0)
    TSR_TRY(append(t, &t->own, "", 0, tsr_hash64("", 0)));
  t->base = t->count;
  return TSR_OK;
}

tsr_status tsr_texts_create(const char *const *texts, uint32_t count,
                            const tsr_allocator *allocator, tsr_texts **out_texts) {
  *out_texts = NULL;
  if (!allocator)
    allocator = tsr_allocator_default();
  tsr_texts *t = allocator->allocate(allocator->context, sizeof *t, 16);
  if (!t)
    return TSR_ERR_OUT_OF_MEMORY;
  *t = (tsr_texts){.allocator = allocator};
  tsr_arena_init(&t->own, allocator);
  tsr_arena_init(&t->added, allocator);
  tsr_status status = fill(t, texts, count);
  if (status != TSR_OK) {
    tsr_texts_destroy(t);
    return status;
  }
  *out_texts = t;
  return TSR_OK;
}

void tsr_texts_destroy(tsr_texts *t) {
  if (!t)
    return;
  tsr_arena_reset(&t->own);
  tsr_arena_reset(&t->added);
  if (t->room > 0) {
    release(t, t->entries, t->room, sizeof *t->entries);
    release(t, t->slots, t->slot_count, sizeof *t->slots);
  }
  t->allocator->release(t->allocator->context, t, sizeof *t);
}

void tsr_texts_reset(tsr_texts *t) {
  if (t->count == t->base)
    return;
  t->count = t->base;
  tsr_arena_reset(&t->added);
  fill_slots(t);
}

tsr_status tsr_texts_number(tsr_texts *t, const char *text, size_t length, int64_t *out_number) {
  uint64_t hash = tsr_hash64(text, length);
  uint32_t at = slot_of(t, text, length, hash);
  *out_number = 0;
  if (t->slots[at] == 0) {
    TSR_TRY(append(t, &t->added, text, length, hash));
    *out_number = (int64_t)t->count - 1;
  } else
    *out_number = (int64_t)t->slots[at] - 1;
  return TSR_OK;
}

const char *tsr_texts_get(const tsr_texts *t, int64_t number) {
  return number >= 0 && number < (int64_t)t->count ? t->entries[number].text : NULL;
}
