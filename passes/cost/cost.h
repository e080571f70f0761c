/* The analytic model: cycles of one core for a candidate, from counts of vector operations and of
 * bytes that cross each level. It ranks candidates; absolute figures are rough. */
#ifndef TSR_PASSES_COST_COST_H
#define TSR_PASSES_COST_COST_H
#include "ir/target.h"

typedef struct tsr_cost {
  double cycles;                                /* of the whole launch, on the target's threads */
  double compute, near, far, packing, overhead; /* cycles by cause; near: L2, far: beyond it */
  /* CUDA: cycles of shared memory and of waiting for loads; waves of blocks, whole ones; blocks
   * resident on a multiprocessor; of one thread, of one block; bytes that cross to L2 and beyond.
   */
  double shared, latency, tasks, waves;
  int64_t resident, registers;
  uint64_t shared_bytes;
  double near_bytes, far_bytes;
  char why[192]; /* one line: the causes */
} tsr_cost;

/* A contraction of `outer` times [m, k] x [k, n] and its schedule. */
typedef struct tsr_cost_contract {
  int64_t outer, m, n, k;
  int64_t outer_tasks;      /* of `outer`, what numbers tasks and is no loop in one; 0: all */
  int64_t a_bytes, b_bytes; /* of one element as register tiles read it */
  int64_t c_bytes;          /* of one result, where rows of results lie apart; 0: nobody knows */
  int64_t mr, nr, lanes;    /* lanes: elements of one vector */
  int64_t mc, nc, kc;       /* kc: depth of one pass; k when there is one */
  double pack_a, pack_b;    /* cycles to copy one element; 0: not packed at run time */
  /* Bytes from row to row of a, from depth to depth of b, where they are read in place; 0: panels.
   */
  int64_t a_row_bytes, b_row_bytes;
  double rate;   /* vectors of products per cycle and depth step; 0: the target's */
  int64_t group; /* depths of one such step; 0: 1 */
  /* Distinct bytes: steps of the depth that read the same of a, neighbouring outer problems that
   * read the same b while a panel of it stays; 0: 1. */
  int64_t a_again, b_again;
  /* a has an element for each of the columns too, and so many steps in a row share them; 0: no. */
  int64_t each;
  bool columns_outside;
  bool columns_first; /* tasks in a row have the same columns, else the same rows */
  bool strided_b;     /* b's columns are gathered in the register tile */
  bool turned;        /* results lie side by side along m: tiles are turned where they are stored */
  bool rows_split;    /* the last rows are taken in register tiles of 1, 2, 4 ... rows */
  bool columns_hang;  /* the last columns take a whole register tile, whatever their number */
} tsr_cost_contract;

void tsr_cost_of_contract(const tsr_target *target, const tsr_cost_contract *shape,
                          tsr_cost *out_cost);
/* Cycles that the stores wait for lines beyond L2. */
double tsr_cost_of_contract_stores(const tsr_target *target, const tsr_cost_contract *shape);
/* Fills in `why` of a contraction. */
void tsr_cost_say(tsr_cost *cost);

/* Lines so far apart that the first cache keeps at a time. It is indexed by the place in a page, so
 * that lines a page apart share their set. */
double tsr_cost_lines_that_fit(const tsr_target *target, int64_t stride_bytes);
/* Cycles that a step through `lines` lines, each read again in the next steps, waits because they
 * push each other out. */
double tsr_cost_of_conflicts(const tsr_target *target, int64_t stride_bytes, int64_t lines);

/* A block by strategy nest: what all its tiles do together. */
typedef struct tsr_cost_nest {
  double tasks;
  double operations;  /* of vectors, by weight: cycles of one vector */
  double moves;       /* cycles of loads and stores, all in the first cache */
  double waits;       /* cycles of what nothing fetches ahead: lines in pages of their own */
  double chain;       /* cycles of the longest chain of sums, one after the other */
  double turns;       /* of the innermost loops */
  double ends;        /* cycles behind reductions: partial results of the lanes meet */
  double bytes;       /* distinct ones that are read or written */
  double moved_bytes; /* that cross to the first cache where nothing stays in it */
} tsr_cost_nest;

void tsr_cost_of_nest(const tsr_target *target, const tsr_cost_nest *shape, tsr_cost *out_cost);

/* Does the code generator make an access of this stride out of whole vectors? */
bool tsr_cost_is_shuffled(int64_t stride, int64_t lanes, bool store);

/* Cycles per element of an access whose consecutive lanes are `stride` elements apart (INT64_MAX:
 * anywhere), in vectors of `lanes`. */
double tsr_cost_of_access(const tsr_target *target, int64_t stride, int64_t lanes, bool store);

#endif
