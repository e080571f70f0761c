/* Offsets for buffers that share one arena: greedy by size, best fit among the gaps left by those
 * whose lifetimes overlap (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net
 * Inference", 2020, "greedy by size"). */
#ifndef TSR_RUNTIME_EXEC_PLAN_H
#define TSR_RUNTIME_EXEC_PLAN_H
#include <stdint.h>
#include <tessera/status.h>

enum { TSR_PLAN_ALIGNMENT = 64 };

typedef struct tsr_plan_item {
  uint64_t bytes;
  uint32_t first, last; /* positions, both inclusive */
  uint64_t offset;      /* result, a multiple of TSR_PLAN_ALIGNMENT */
} tsr_plan_item;

/* Fills in the offsets; *out_bytes is the arena's size. `scratch` has 2 * count entries. The result
 * depends on the items only. TSR_ERR_SHAPE when sizes do not fit in 63 bits. */
TSR_WARN_UNUSED tsr_status tsr_plan_arena(tsr_plan_item *items, uint32_t count,
                                          tsr_plan_item **scratch, uint64_t *out_bytes);

/* Rounds up to TSR_PLAN_ALIGNMENT; TSR_ERR_SHAPE on overflow of 63 bits. */
TSR_WARN_UNUSED tsr_status tsr_plan_round(uint64_t bytes, uint64_t *out_bytes);

#endif
