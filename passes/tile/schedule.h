/* The schedule of one kernel: a strategy and the values of knobs.def. */
#ifndef TSR_PASSES_TILE_SCHEDULE_H
#define TSR_PASSES_TILE_SCHEDULE_H
#include "ir/ir.h"
#include "ir/target.h"

typedef struct tsr_nest tsr_nest;

typedef enum tsr_strategy {
  TSR_STRATEGY_NEST,
  TSR_STRATEGY_CONTRACT,
  TSR_STRATEGY_PROC,
  TSR_STRATEGY_MMA,
  TSR_STRATEGY_WGMMA,
  TSR_STRATEGY_GROUP
} tsr_strategy;

/* Masks of knobs.def. */
enum {
  TSR_KNOB_OF_NEST = 1 << TSR_STRATEGY_NEST,
  TSR_KNOB_OF_CONTRACT = 1 << TSR_STRATEGY_CONTRACT,
  TSR_KNOB_OF_PROC = 1 << TSR_STRATEGY_PROC,
  TSR_KNOB_OF_MMA = 1 << TSR_STRATEGY_MMA,
  TSR_KNOB_OF_WGMMA = 1 << TSR_STRATEGY_WGMMA,
  TSR_KNOB_OF_GROUP = 1 << TSR_STRATEGY_GROUP
};

typedef enum tsr_knob {
#define TSR_KNOB(name, text, least, greatest, strategies, meaning) TSR_KNOB_##name,
#include "passes/tile/knobs.def"
#undef TSR_KNOB
  TSR_KNOB_COUNT
} tsr_knob;

typedef struct tsr_knob_info {
  const char *text, *meaning;
  int64_t least, greatest;
  unsigned strategies;
} tsr_knob_info;

const tsr_knob_info *tsr_knob_get(tsr_knob knob);
const char *tsr_strategy_text(tsr_strategy strategy);

typedef struct tsr_schedule {
  tsr_strategy strategy;
  const tsr_atom *atom;          /* MMA, WGMMA; CONTRACT: one with k-groups; else NULL */
  int64_t knobs[TSR_KNOB_COUNT]; /* those of other strategies are 0 */
} tsr_schedule;

bool tsr_schedule_equal(const tsr_schedule *a, const tsr_schedule *b);

/* From and to the attributes of a `schedule` op. Reading checks names, kinds and ranges; knobs that
 * are not there keep the value they have in `inout`. */
TSR_WARN_UNUSED tsr_status tsr_schedule_read(const tsr_ir *ir, tsr_op op, tsr_diag *diag,
                                             tsr_schedule *inout);
void tsr_schedule_write(tsr_ir *ir, tsr_op op, const tsr_schedule *schedule);

/* The default for a block, by the analytic model. `nest` is joined already. */
void tsr_schedule_default(tsr_nest *nest, tsr_schedule *out_schedule);
/* The symbolic extent that chooses between variants of a contraction, or 0. */
tsr_expr tsr_schedule_guarded(tsr_nest *nest);
/* The schedule of the typical size gives way to the best one at the high end of a range that has
 * one, where the model says that it gains; it reads the same packed constants. The typical size
 * then has a variant. For contractions on a CPU without an atom of their own. */
void tsr_schedule_high_end(tsr_nest *nest, tsr_schedule *inout);
/* Further schedules, each for extents up to its knob `upto` and in rising order, where the model
 * says that `first` is far from the best. They read the same packed constants. */
uint32_t tsr_schedule_variants(tsr_nest *nest, const tsr_schedule *first, tsr_schedule *out,
                               uint32_t most);
/* Does the schedule fit the block and the target? `kernel` is for the message. */
TSR_WARN_UNUSED tsr_status tsr_schedule_check(tsr_nest *nest, const tsr_schedule *schedule,
                                              const char *kernel, tsr_diag *diag);

#endif
