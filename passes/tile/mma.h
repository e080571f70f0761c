/* Contractions on CUDA: tiles of the operands in shared memory, tiles of the sums in registers.
 * Strategy "mma" (atoms fma.*, mma.*) and strategy "wgmma". */
#ifndef TSR_PASSES_TILE_MMA_H
#define TSR_PASSES_TILE_MMA_H
#include "passes/tile/nest.h"

enum { TSR_MMA_ATOMS = 8 };

/* Axes of the block that are walked as one index, the outermost first. */
typedef struct tsr_mma_side {
  uint32_t axes[TSR_NEST_AXES], count;
  tsr_expr extent; /* their product; 1 for none */
  int64_t size;    /* the extent, or its typical value */
  bool fixed;      /* `size` is the extent */
} tsr_mma_side;

/* What varies with what: out[outer.., m.., n..] = sum over k.. of a[outer.., m.., k..] *
 * b[outer.., n.., k..]. The store is contiguous along the last of n where it is along one at all.
 */
typedef struct tsr_mma_problem {
  tsr_op reduce;
  tsr_value a, b;       /* factors of the product */
  tsr_dtype product;    /* its dtype */
  tsr_dtype sum;        /* of the reduce */
  tsr_mma_side m, n, k; /* m may have no axis */
  uint32_t outer[TSR_NEST_AXES], outer_count;
} tsr_mma_problem;

/* One operand as an atom takes it. */
typedef struct tsr_mma_operand {
  tsr_value value;       /* of the body: what stands in shared memory */
  tsr_dtype dtype;       /* of it */
  tsr_nest_access *load; /* the largest load under it */
  bool plain;            /* it is that load and nothing else, not indirect: bytes are copied */
  bool constant;         /* of a constant */
  bool packed;           /* which is laid out anew: [outer.., side, depth up to whole 16 bytes] */
  bool along_depth;      /* in memory it is contiguous along the depth, not along its side */
  /* Bytes that are one aligned run of memory, inside or outside of the buffer together; 16 or less;
   * copies of fewer than 4, and computed operands, do not run ahead (no cp.async). */
  int64_t run_bytes;
} tsr_mma_operand;

/* NULL: no contraction that an atom computes. Joins nothing; further calls return the same. */
const tsr_mma_problem *tsr_mma_match(tsr_nest *nest);
/* The operands for `atom`; which = 0: a, 1: b. */
void tsr_mma_operand_of(tsr_nest *nest, const tsr_mma_problem *problem, const tsr_atom *atom,
                        int which, tsr_mma_operand *out_operand);

/* The atoms that may compute this block on its target (dtypes, capability, target->tf32), the
 * fastest first: wgmma.*, mma.*, fma.*. False (and *out_count 0): no contraction. */
bool tsr_mma_atoms(tsr_nest *nest, const tsr_atom *list[TSR_MMA_ATOMS], uint32_t *out_count);

/* Is the schedule, strategy MMA or WGMMA with all its knobs, legal for the block? */
TSR_WARN_UNUSED tsr_status tsr_mma_check(tsr_nest *nest, const tsr_schedule *schedule,
                                         const char *kernel, tsr_diag *diag);
/* When a WGMMA schedule may run: 1 always, 0 never, else an expression over dims that its launch
 * has to guard it with, an MMA kernel being the next variant. */
tsr_expr tsr_wgmma_guard(tsr_nest *nest, const tsr_schedule *schedule);

/* The symbolic extent that chooses between variants (knob `upto`): of the rows, else of the
 * columns; 0: both are known. */
tsr_expr tsr_mma_guarded(tsr_nest *nest);

/* What a kernel of a legal schedule takes. */
typedef struct tsr_mma_resources {
  uint32_t threads;      /* of a task */
  uint64_t shared_bytes; /* rings and mbarriers; exchanges of the epilogue come on top */
  uint32_t accumulators; /* 32-bit registers of sums of one thread */
  uint32_t fragments;    /* and of fragments (MMA) */
  uint32_t
      bank_passes; /* passes of the fragments' reads from shared memory, in percent of the least */
} tsr_mma_resources;
void tsr_mma_resources_of(tsr_nest *nest, const tsr_schedule *schedule,
                          tsr_mma_resources *out_resources);

/* Constants get the layout that both strategies read: before the kernel's arguments are made. */
void tsr_mma_layout(tsr_nest *nest);
TSR_WARN_UNUSED tsr_status tsr_tile_mma(tsr_nest *nest, const tsr_schedule *schedule,
                                        tsr_region region, tsr_diag *diag);
TSR_WARN_UNUSED tsr_status tsr_tile_wgmma(tsr_nest *nest, const tsr_schedule *schedule,
                                          tsr_region region, tsr_diag *diag);

#endif
