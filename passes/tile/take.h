/* How blocks are taken before they have a schedule: the arrays that all nests of one walk share, a
 * block as a joined nest, a block cut in two. The pass `tile` and the space of schedules take
 * blocks by these functions alone, so that both see the same. */
#ifndef TSR_PASSES_TILE_TAKE_H
#define TSR_PASSES_TILE_TAKE_H
#include "passes/tile/nest.h"

/* The first three fields are the owner's to fill; it must not be moved after _begin. */
typedef struct tsr_taking {
  tsr_ir *ir;
  const tsr_target *target;
  tsr_diag *diag;
  tsr_arena arena;     /* until the end */
  tsr_arena per_block; /* of nests: reset by the owner when it needs none of them any more */
  tsr_nest_pool pool;
} tsr_taking;

TSR_WARN_UNUSED tsr_status tsr_taking_begin(tsr_taking *taking);
void tsr_taking_end(tsr_taking *taking);
/* After values were added to the IR, before nests are read that see them. */
TSR_WARN_UNUSED tsr_status tsr_taking_grow(tsr_taking *taking);
TSR_WARN_UNUSED tsr_status tsr_taking_out_of_memory(const tsr_taking *taking);

/* The nest of a block, joined. A block that is a contraction but is scheduled as a plain nest must
 * not have been asked whether it is one: matching joins axes that only contractions may join. */
TSR_WARN_UNUSED tsr_status tsr_take_nest(tsr_taking *taking, tsr_op block, tsr_nest **out_nest);

/* Is the schedule legal for a kernel that runs whatever the dims are? */
TSR_WARN_UNUSED tsr_status tsr_take_check(const tsr_taking *taking, tsr_nest *nest,
                                          const tsr_schedule *schedule, const char *kernel);

/* The reduced axis that the schedule's knob `split` cuts; -1: the block stays whole. ARGUMENT: it
 * cannot be cut so. */
TSR_WARN_UNUSED tsr_status tsr_take_split(const tsr_taking *taking, tsr_nest *nest,
                                          const tsr_schedule *schedule, const char *kernel,
                                          int *out_axis);
/* Puts the two blocks of a cut block before it; the pool grows by their values. */
TSR_WARN_UNUSED tsr_status tsr_take_cut(tsr_taking *taking, tsr_op block, int64_t parts,
                                        uint32_t axis, tsr_op *out_first, tsr_op *out_second);

#endif
