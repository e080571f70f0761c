/* A default schedule of strategy contract being chosen: the contraction at one size. */
#ifndef TSR_PASSES_TILE_CHOOSING_H
#define TSR_PASSES_TILE_CHOOSING_H
#include "passes/tile/contract.h"
#include "passes/tile/default.h"

typedef struct tsr_choosing {
  tsr_nest *nest;
  const tsr_contraction *c;
  int64_t m, n, k, outer, lanes;
  int64_t kc, depth_outer; /* depth of one pass; of one step of the outermost axis */
  bool pack_a, pack_b, depth_flat;
  int64_t taps;             /* of a copy of b whose rows several taps share; 1: none */
  const tsr_atom *atom;     /* with k-groups; NULL: multiply-adds */
  int64_t only_mr, only_nr; /* register tiles that a constant is laid out for; 0: any */
  bool window;              /* its rows share what they read, and weights stay in registers */
  bool hang;                /* extents that are not known end in whole register tiles */
  /* Of what costs at most `limit`, the cheapest at another size; NULL: the cheapest here. */
  const struct tsr_choosing *later;
  double limit;
} tsr_choosing;

/* Rows of a register tile of so many vectors: `each` registers for each (2 where a copy of the sum,
 * or an element of a, stands beside it), beside a vector of each column and one element. LLVM's
 * allocator needs some to spare: with one, tiles of three vectors and more move their sums from
 * register to register in every step. */
static inline int64_t rows_that_fit(const tsr_target *target, int64_t vectors, int64_t each) {
  const int64_t spare = vectors > 2 ? 2 : 1;
  return ((int64_t)target->vector_registers - 1 - spare - vectors) / (each * vectors);
}

/* Steps of the depth at a time: what a register tile of so many sums hides by itself. An unrolled
 * loop reads ahead into more registers; where a tile leaves none, LLVM keeps sums in memory (14 x 2
 * vectors of 32 are a fifth slower). */
static inline int64_t steps_at_a_time(int64_t mr, int64_t vectors) {
  enum { ENOUGH = 12 };
  return mr * vectors >= ENOUGH ? 1 : 4;
}

/* The knobs `ahead` and `fetch` that go with the others. */
int64_t tsr_choose_ahead(const tsr_choosing *s, const int64_t *knobs);
bool tsr_choose_fetch(const tsr_choosing *s, const int64_t *knobs);
/* Vectors of columns of a window's register tile; 0: any. */
int64_t tsr_choose_window_vectors(const tsr_choosing *s);

#endif
