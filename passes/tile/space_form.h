/* What the files of the space of schedules share. */
#ifndef TSR_PASSES_TILE_SPACE_FORM_H
#define TSR_PASSES_TILE_SPACE_FORM_H
#include "passes/tile/mma.h"
#include "passes/tile/space.h"
#include "passes/tile/take.h"

enum { TSR_SPACE_VALUES = 64, TSR_SPACE_FORMS = TSR_MMA_ATOMS + 4, TSR_SPACE_PARTS = 8 };

/* Rising, each once. */
typedef struct tsr_value_list {
  int64_t list[TSR_SPACE_VALUES];
  uint32_t count;
} tsr_value_list;

/* A strategy with an atom, and what its knobs may be before they are settled with each other. */
typedef struct tsr_space_form {
  tsr_strategy strategy;
  const tsr_atom *atom;
  tsr_value_list knobs[TSR_KNOB_COUNT]; /* none: the knob is not in use */
} tsr_space_form;

/* The block cut into `parts`: the nests of its two kernels, which are no longer in the graph. */
typedef struct tsr_space_part {
  int64_t parts;
  tsr_nest *first, *second;
  tsr_schedule start; /* default of the first */
  tsr_schedule end;   /* of the second */
} tsr_space_part;

struct tsr_space {
  const tsr_allocator *allocator;
  tsr_taking take;
  tsr_diag diag;     /* of the last schedule that was looked at */
  tsr_arena scratch; /* reset after each call */
  tsr_op block;
  bool group;              /* the block is a group of them: no nests, no parts, one form */
  const tsr_target *rates; /* the model's */
  tsr_nest *nest;    /* joined, never asked whether it is a contraction of strategy contract */
  tsr_nest *matched; /* asked */
  const struct tsr_contraction *contraction; /* of `matched`, on CPUs, or NULL */
  const struct tsr_contraction *narrow;      /* as atoms with k-groups see it, or NULL */
  const tsr_mma_problem *problem;            /* of `nest`, on CUDA, or NULL */
  tsr_space_form *forms;
  uint32_t form_count, first_form; /* that of the default */
  tsr_space_part parts[TSR_SPACE_PARTS];
  uint32_t part_count;
  tsr_schedule first; /* the default: of the first of two kernels where it cuts the block */
  tsr_schedule uncut; /* of a block that stays whole */
  double live;        /* vectors that the body needs for one vector of a tile */
};

void tsr_space_add_value(tsr_value_list *values, int64_t value);
/* The nearest one of the list by ratio, or the value itself where the knob has none. */
int64_t tsr_space_nearest(const tsr_value_list *values, int64_t value);
/* Equal shares of `size`: all, a half, a third .. of it, down to `least`. */
void tsr_space_add_shares(tsr_value_list *values, int64_t size, int64_t least);
/* NULL where the schedule leaves the block whole, or cuts it in no way that the space has. */
const tsr_space_part *tsr_space_part_of(const tsr_space *space, const tsr_schedule *schedule);
/* The nest of the kernel that has the schedule; NULL as above with a knob `split` above 1. */
tsr_nest *tsr_space_nest_of(const tsr_space *space, const tsr_schedule *schedule);

/* Fill in the values of a form; settle: make the knobs of a schedule go together, each moved no
 * further than it must. fits: registers and caches, where tsr_schedule_check allows more. */
void tsr_space_nest_values(tsr_space *space, tsr_space_form *form);
void tsr_space_nest_settle(const tsr_space *space, tsr_schedule *inout);
bool tsr_space_nest_fits(const tsr_space *space, const tsr_schedule *schedule);
void tsr_space_group_values(tsr_space *space, tsr_space_form *form);
bool tsr_space_group_fits(tsr_space *space, const tsr_schedule *schedule);
void tsr_space_contract_values(tsr_space *space, tsr_space_form *form);
void tsr_space_contract_settle(const tsr_space *space, tsr_schedule *inout);
bool tsr_space_contract_fits(const tsr_space *space, const tsr_schedule *schedule);
void tsr_space_mma_values(tsr_space *space, tsr_space_form *form);
void tsr_space_mma_settle(const tsr_space *space, tsr_schedule *inout);
bool tsr_space_mma_fits(const tsr_space *space, const tsr_schedule *schedule);

#endif
