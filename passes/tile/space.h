/* All schedules that one block, or a group of them, may have on one target: the values of every
 * knob, made from the block, the target's atoms and its facts. No operator has a template of its
 * own. What a space hands out is legal (tsr_schedule_check) and keeps the register rule, which is
 * asked of counts: nothing is compiled for it. What a compiler refuses or spills all the same,
 * measuring finds. */
#ifndef TSR_PASSES_TILE_SPACE_H
#define TSR_PASSES_TILE_SPACE_H
#include "passes/cost/cost.h"
#include "passes/tile/schedule.h"

typedef struct tsr_space tsr_space;

/* `ir` holds the block inside a graph; the space adds expressions to it and must end before it. The
 * block is taken as tsr_pass_tile would take it. Errors: LIMIT, OUT_OF_MEMORY, INTERNAL. */
TSR_WARN_UNUSED tsr_status tsr_space_create(tsr_ir *ir, tsr_op block, const tsr_target *target,
                                            const tsr_allocator *allocator, tsr_diag *diag,
                                            tsr_space **out_space);
void tsr_space_destroy(tsr_space *space); /* NULL is allowed */

/* What tsr_pass_tile takes without a plan; tiles, where multiply-adds only stand in for them. */
void tsr_space_default(tsr_space *space, tsr_schedule *out_schedule);
bool tsr_space_is_legal(tsr_space *space, const tsr_schedule *schedule);
/* `random` is a state of tsr_space_next_random: the same state gives the same schedule. False: no
 * legal one was found in a bounded number of tries. */
bool tsr_space_sample(tsr_space *space, uint64_t *random, tsr_schedule *out_schedule);
/* One to three knobs moved, mostly to neighbouring values; strategy and atom now and then. */
bool tsr_space_mutate(tsr_space *space, uint64_t *random, const tsr_schedule *from,
                      tsr_schedule *out_schedule);
/* Each knob from one of the two, where they have one strategy and atom. */
bool tsr_space_cross(tsr_space *space, uint64_t *random, const tsr_schedule *a,
                     const tsr_schedule *b, tsr_schedule *out_schedule);
/* A schedule of another size, moved to the nearest values that this space has. */
bool tsr_space_adopt(tsr_space *space, const tsr_schedule *foreign, tsr_schedule *out_schedule);
uint64_t tsr_space_next_random(uint64_t *random);

/* From here on the model takes the rates of this target, which is that of the space but for them
 * (tsr_ceilings_calibrate) and must outlive it. The default stays as it is. */
void tsr_space_calibrate(tsr_space *space, const tsr_target *rates);
/* The analytic model's figure for a legal schedule. */
void tsr_space_cost(tsr_space *space, const tsr_schedule *schedule, tsr_cost *out_cost);

/* What a learned model sees of a schedule: a row per store of the kernel (copies of operands to
 * scratch, sums in register tiles, the epilogue), one layout of numbers for all blocks, strategies
 * and targets of a kind; logarithms where a size is meant. */
enum { TSR_SPACE_FEATURES = 51, TSR_SPACE_STORES = 8 };
const char *tsr_space_feature_text(uint32_t feature);
uint32_t tsr_space_features(tsr_space *space, const tsr_schedule *schedule,
                            float out_rows[TSR_SPACE_STORES][TSR_SPACE_FEATURES]);

#endif
