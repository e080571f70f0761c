#include "runtime/exec/plan.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static uint64_t round_up(uint64_t bytes) {
  return (bytes + TSR_PLAN_ALIGNMENT - 1) & ~(uint64_t)(TSR_PLAN_ALIGNMENT - 1);
}

tsr_status tsr_plan_round(uint64_t bytes, uint64_t *out_bytes) {
  *out_bytes = 0;
  if (bytes > (uint64_t)INT64_MAX - TSR_PLAN_ALIGNMENT + 1)
    return TSR_ERR_SHAPE;
  *out_bytes = round_up(bytes);
  return TSR_OK;
}

/* Largest first; then the order of the table, so that the result is the same everywhere. */
static int compare_sizes(const void *left, const void *right) {
  const tsr_plan_item *a = *(tsr_plan_item *const *)left, *b = *(tsr_plan_item *const *)right;
  if (a->bytes != b->bytes)
    return a->bytes < b->bytes ? 1 : -1;
  return a < b ? -1 : a > b;
}

static bool overlap(const tsr_plan_item *a, const tsr_plan_item *b) {
  return a->first <= b->last && b->first <= a->last;
}

/* `placed` is sorted by offset. `end` runs over the end of all overlapping items so far; whatever
 * lies between it and the next overlapping item is a gap. */
static uint64_t find_offset(const tsr_plan_item *item, uint64_t bytes, tsr_plan_item *const *placed,
                            uint32_t count) {
  uint64_t end = 0, best = UINT64_MAX, best_gap = UINT64_MAX;
  for (uint32_t i = 0; i < count; i++) {
    const tsr_plan_item *other = placed[i];
    uint64_t other_end;
    if (!overlap(item, other))
      continue;
    if (other->offset > end && other->offset - end >= bytes && other->offset - end < best_gap) {
      best = end;
      best_gap = other->offset - end;
    }
    other_end = other->offset + round_up(other->bytes);
    end = other_end > end ? other_end : end;
  }
  return best != UINT64_MAX ? best : end;
}

static void insert_by_offset(tsr_plan_item **placed, uint32_t count, tsr_plan_item *item) {
  uint32_t low = 0, high = count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (placed[middle]->offset <= item->offset)
      low = middle + 1;
    else
      high = middle;
  }
  memmove(&placed[low + 1], &placed[low], (count - low) * sizeof(*placed));
  placed[low] = item;
}

tsr_status tsr_plan_arena(tsr_plan_item *items, uint32_t count, tsr_plan_item **scratch,
                          uint64_t *out_bytes) {
  tsr_plan_item **order = scratch, **placed = scratch + count;
  *out_bytes = 0;
  for (uint32_t i = 0; i < count; i++)
    order[i] = &items[i];
  qsort(order, count, sizeof(*order), compare_sizes);
  for (uint32_t i = 0; i < count; i++) {
    uint64_t bytes, end;
    if (tsr_plan_round(order[i]->bytes, &bytes) != TSR_OK)
      return TSR_ERR_SHAPE;
    order[i]->offset = find_offset(order[i], bytes, placed, i);
    if (__builtin_add_overflow(order[i]->offset, bytes, &end) || end > (uint64_t)INT64_MAX)
      return TSR_ERR_SHAPE;
    insert_by_offset(placed, i, order[i]);
    *out_bytes = end > *out_bytes ? end : *out_bytes;
  }
  return TSR_OK;
}
