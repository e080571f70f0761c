#include "runtime/cuda/image.h"
#include "runtime/hash.h"
#include <stdbool.h>
#include <string.h>

enum { ALIGNMENT = 16 };

static tsr_status bad(tsr_diag *diag, const char *what, uint32_t unit) {
  return tsr_fail(diag, TSR_ERR_FORMAT, "the image of a CUDA program is malformed: %s (unit %u)",
                  what, unit);
}

static uint64_t table_bytes(uint32_t count) {
  return sizeof(tsr_cuda_image_header) + (uint64_t)count * sizeof(tsr_cuda_unit);
}

/* ---- Reading ---- */

static tsr_status check_unit(const unsigned char *image, uint64_t bytes, const tsr_cuda_unit *unit,
                             uint64_t first_byte, uint32_t index, tsr_diag *diag) {
  static const char elf[] = "\x7f"
                            "ELF";
  if (unit->kind > TSR_CUDA_UNIT_TEXT || unit->specific > 1 || unit->capability < 10 ||
      unit->capability > 999)
    return bad(diag, "a unit's kind or capability is out of range", index);
  if (unit->offset % ALIGNMENT != 0 || unit->offset < first_byte || unit->offset > bytes ||
      unit->bytes == 0 || unit->bytes > bytes - unit->offset)
    return bad(diag, "a unit's bytes are out of range", index);
  if (unit->kind != TSR_CUDA_UNIT_CUBIN && image[unit->offset + unit->bytes - 1] != '\0')
    return bad(diag, "a unit's text is not terminated", index);
  if (unit->kind == TSR_CUDA_UNIT_CUBIN &&
      (unit->bytes < 64 || memcmp(image + unit->offset, elf, 4) != 0))
    return bad(diag, "a CUBIN unit is no ELF file", index);
  return TSR_OK;
}

/* Kernels number the units without gaps, so that each has one. */
static tsr_status check_kernels(const tsr_cuda_unit *units, uint32_t count, uint32_t kernel_count,
                                tsr_diag *diag) {
  uint32_t next = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (units[i].kernel >= kernel_count || units[i].kernel > next ||
        (i != 0 && units[i].kernel < units[i - 1].kernel))
      return bad(diag, "units are not in the order of kernels, or a kernel has none", i);
    next = units[i].kernel + 1;
  }
  if (next != kernel_count)
    return bad(diag, "a kernel has no unit", count);
  return TSR_OK;
}

tsr_status tsr_cuda_image_read(const void *image, uint64_t bytes, uint32_t kernel_count,
                               tsr_diag *diag, const tsr_cuda_unit **out_units,
                               uint32_t *out_count) {
  const tsr_cuda_image_header *header = (const tsr_cuda_image_header *)image;
  const tsr_cuda_unit *units;
  *out_units = NULL;
  *out_count = 0;
  if (bytes == 0 && kernel_count == 0)
    return TSR_OK;
  if (image == NULL || (uintptr_t)image % _Alignof(tsr_cuda_unit) != 0 || bytes < sizeof *header ||
      header->magic != TSR_CUDA_IMAGE_MAGIC)
    return bad(diag, "it has no header", 0);
  if (table_bytes(header->unit_count) > bytes)
    return bad(diag, "its table of units does not fit", header->unit_count);
  units = (const tsr_cuda_unit *)(header + 1);
  TSR_TRY(check_kernels(units, header->unit_count, kernel_count, diag));
  for (uint32_t i = 0; i < header->unit_count; i++)
    TSR_TRY(check_unit((const unsigned char *)image, bytes, &units[i],
                       table_bytes(header->unit_count), i, diag));
  *out_units = units;
  *out_count = header->unit_count;
  return TSR_OK;
}

/* ---- Making ---- */

typedef struct content {
  const void *data;
  uint64_t bytes, hash, offset;
} content;

/* Distinct contents, in a table of open addressing with a power of two of places. */
typedef struct contents {
  content *places;
  uint32_t mask;
} contents;

static content *find_content(const contents *self, const void *data, uint64_t bytes) {
  uint64_t hash = tsr_hash64(data, bytes);
  for (uint32_t at = (uint32_t)hash & self->mask;; at = (at + 1) & self->mask) {
    content *place = &self->places[at];
    if (place->data != NULL &&
        (place->hash != hash || place->bytes != bytes || memcmp(place->data, data, bytes) != 0))
      continue;
    if (place->data == NULL)
      *place = (content){data, bytes, hash, 0};
    return place;
  }
}

/* Where each unit of `units` goes: the order of kernels, equal ones as they came (counting sort).
 * `order[i]` is the number of the i-th. */
static void sort_units(const tsr_cuda_unit *units, uint32_t count, uint32_t kernel_count,
                       uint32_t *starts, uint32_t *order) {
  uint32_t at = 0;
  for (uint32_t i = 0; i < count; i++)
    starts[units[i].kernel]++;
  for (uint32_t k = 0; k < kernel_count; k++) {
    uint32_t here = starts[k];
    starts[k] = at;
    at += here;
  }
  for (uint32_t i = 0; i < count; i++)
    order[starts[units[i].kernel]++] = i;
}

static tsr_status count_kernels(const tsr_cuda_unit *units, const void *const *data, uint32_t count,
                                tsr_diag *diag, uint32_t *out_kernels) {
  *out_kernels = 0;
  if (count > UINT32_MAX / 4)
    return tsr_fail(diag, TSR_ERR_LIMIT, "a CUDA program has at most 2^30 units");
  for (uint32_t i = 0; i < count; i++) {
    if (units[i].kernel >= count)
      return bad(diag, "units are not in the order of kernels, or a kernel has none", i);
    if (data[i] == NULL || units[i].bytes == 0)
      return bad(diag, "a unit's bytes are out of range", i);
    if (units[i].kernel >= *out_kernels)
      *out_kernels = units[i].kernel + 1;
  }
  return TSR_OK;
}

static tsr_status out_of_memory(tsr_diag *diag) {
  return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while making a CUDA program");
}

/* Gives every distinct content its offset, in the order of units, and returns the image's size. */
static tsr_status place_contents(const contents *self, const tsr_cuda_unit *units,
                                 const void *const *data, const uint32_t *order, uint32_t count,
                                 tsr_diag *diag, uint64_t *out_bytes) {
  uint64_t at = table_bytes(count);
  for (uint32_t i = 0; i < count; i++) {
    content *place = find_content(self, data[order[i]], units[order[i]].bytes);
    if (place->offset != 0)
      continue;
    at = (at + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    place->offset = at;
    if (__builtin_add_overflow(at, place->bytes, &at) || at > UINT64_MAX / 2)
      return tsr_fail(diag, TSR_ERR_LIMIT, "the units of a CUDA program overflow");
  }
  *out_bytes = at;
  return TSR_OK;
}

tsr_status tsr_cuda_image_make(const tsr_cuda_unit *units, const void *const *data, uint32_t count,
                               tsr_arena *arena, tsr_diag *diag, const void **out_image,
                               uint64_t *out_bytes) {
  uint32_t kernels, places = 16, *starts, *order, read_count;
  contents table;
  uint64_t bytes;
  unsigned char *image;
  tsr_cuda_unit *to;
  const tsr_cuda_unit *read_units;
  *out_image = NULL;
  *out_bytes = 0;
  TSR_TRY(count_kernels(units, data, count, diag, &kernels));
  while (places < count * 2)
    places *= 2;
  table.mask = places - 1;
  table.places = (content *)tsr_arena_alloc_array(arena, places, sizeof *table.places);
  starts = (uint32_t *)tsr_arena_alloc_array(arena, kernels, sizeof *starts);
  order = (uint32_t *)tsr_arena_alloc_array(arena, count, sizeof *order);
  if (table.places == NULL || starts == NULL || order == NULL)
    return out_of_memory(diag);
  sort_units(units, count, kernels, starts, order);
  TSR_TRY(place_contents(&table, units, data, order, count, diag, &bytes));
  image = (unsigned char *)tsr_arena_alloc(arena, bytes);
  if (image == NULL)
    return out_of_memory(diag);
  memcpy(image, &(tsr_cuda_image_header){TSR_CUDA_IMAGE_MAGIC, count},
         sizeof(tsr_cuda_image_header));
  to = (tsr_cuda_unit *)(image + sizeof(tsr_cuda_image_header));
  for (uint32_t i = 0; i < count; i++) {
    to[i] = units[order[i]];
    to[i].offset = find_content(&table, data[order[i]], to[i].bytes)->offset;
    memcpy(image + to[i].offset, data[order[i]], to[i].bytes);
  }
  TSR_TRY(tsr_cuda_image_read(image, bytes, kernels, diag, &read_units, &read_count));
  *out_image = image;
  *out_bytes = bytes;
  return TSR_OK;
}
