/* State of the lowering of one contraction. */
#ifndef TSR_PASSES_TILE_CONTRACT_EMIT_H
#define TSR_PASSES_TILE_CONTRACT_EMIT_H
#include "passes/tile/contract.h"

/* What subscripts of packed operands are written in: leaves that each register tile binds. */
typedef enum tsr_side_leaf {
  TSR_SIDE_PANEL,  /* number of the panel in the whole operand */
  TSR_SIDE_LOCAL,  /* in the task's block */
  TSR_SIDE_LANE,   /* lane within the panel */
  TSR_SIDE_COLUMN, /* position within the block */
  TSR_SIDE_LEAVES
} tsr_side_leaf;

/* Rows (m) or columns (n). */
typedef struct tsr_contract_side {
  int axis; /* -1: a single row */
  int lane; /* 0 rows, 1 columns */
  int64_t tile, block;
  bool whole; /* one block has all */
  bool flat;
  tsr_expr extent;
  tsr_expr number; /* of the task's block */
  tsr_expr first;  /* row of the panel that the register tile starts at, or 0: its first */
  tsr_expr leaves[TSR_SIDE_LEAVES];
} tsr_contract_side;

typedef struct tsr_contract_emit {
  tsr_nest *nest;
  tsr_ir *ir;
  const tsr_contraction *c;
  tsr_body body;
  tsr_contract_side m, n;
  int64_t unroll;
  /* Of atoms with k-groups (contract_dot.h), else NULL, and groups of 1 depth or 0. */
  const tsr_atom *atom;
  int64_t group, unit;
  /* Of atoms with parts, else 1: `part` is a leaf, the number of the part that subscripts are of;
   * `exact`: the block at hand is multiplied as it is; `flags`: scratch of the guard, or 0. */
  unsigned parts;
  tsr_expr part;
  bool exact;
  tsr_value flags;
  uint32_t outer_grid; /* outer axes that number tasks */
  double block_work;   /* cycles of a block, a window's at all rows */
  bool columns_outside, pack_a, pack_b, fetch;
  uint32_t stored_count; /* packed operands, in body.stored */
  /* The depth axes as one, in the order of c->depth: both operands are packed in this order. */
  bool depth_flat;
  tsr_expr depth_index; /* over the axes' leaves; of atoms with k-groups a leaf of its own, whose
                           range no simplification knows, and `depth_axes` over the axes' */
  tsr_expr depth_axes;
  int64_t depth_total, depth_outer; /* all; one step of the outermost axis */
  int64_t depth_block;              /* of one pass; depth_total when there is one pass */
  /* Steps of the contraction's tap, which are straight code and not in depth_index; 1: no taps. All
   * depth_ sizes count them. */
  int64_t taps;
  tsr_expr depth_first; /* step of the outermost axis that the pass starts at */
  tsr_value sums;       /* scratch of partial sums, or 0 */
  /* Of the sums: all at once, or the first pass through the depth, one in between, the last. */
  enum { TSR_SUM_WHOLE, TSR_SUM_FIRST, TSR_SUM_PART, TSR_SUM_LAST } phase;
  /* Of a window: the axis of the output's rows, or -1, and those of the tile at hand. */
  int row_axis;
  int64_t window_block; /* rows of a task, of which it has the block `window_number`; 0: all */
  tsr_expr window_number;
  tsr_expr row_first;
  int64_t row_count;
  /* Of windows read in place: rows of a task, of which it has the block `rows_number`; the first
   * pixel of the tile at hand. */
  int64_t rows_block;
  tsr_expr rows_number;
  int64_t tile_first, tile_rows;
  bool tile_inside; /* all taps find all its pixels */
} tsr_contract_emit;

typedef void (*tsr_contract_step)(tsr_contract_emit *e);

void tsr_contract_bind_leaf(tsr_body *body, tsr_expr leaf, tsr_expr to);
/* Are both operands read by flat depth? Sets the depth_ fields but depth_block, and taps. */
void tsr_contract_flatten(tsr_contract_emit *e);
/* How many of the depth axes depth_index is made of: all but a tap. */
uint32_t tsr_contract_flat_axes(const tsr_contract_emit *e);
void tsr_contract_bind(tsr_contract_emit *e, const tsr_contract_side *side, tsr_expr panel,
                       tsr_expr local, int64_t extent);
tsr_expr tsr_contract_first_panel(const tsr_contract_emit *e, const tsr_contract_side *side);
/* Copy the task's block of an operand to scratch, with all scalar code that stands before the
 * product; register tiles then read the copy. */
void tsr_contract_pack_a(tsr_contract_emit *e);
void tsr_contract_pack_b(tsr_contract_emit *e);

/* The knob `ahead` (contract_ahead.c): before a task is emitted, and once the kernel stands. */
void tsr_contract_ahead(tsr_contract_emit *e, int64_t steps);
void tsr_contract_share_ahead(tsr_contract_emit *e, tsr_region region, int64_t steps);

/* Windows (contract_window.c). */
bool tsr_contract_is_window(const tsr_contract_emit *e, uint32_t level);
void tsr_contract_window_grid(tsr_contract_emit *e, tsr_region region, double grain);
/* The block at all rows, some at a time. */
void tsr_contract_rows(tsr_contract_emit *e, tsr_contract_step block);
/* The sums of all those rows; `finish` takes each. */
typedef void (*tsr_contract_finish)(tsr_contract_emit *e, tsr_value sum);
void tsr_contract_window_tile(tsr_contract_emit *e, tsr_contract_finish finish);
/* acc + a * b of the body at the step that the depth axes are bound to. */
tsr_value tsr_contract_product(tsr_contract_emit *e, tsr_value acc);

/* Windows read in place (contract_direct.c): rows of an image, tiles of their pixels, and the taps
 * of one. */
void tsr_contract_direct_grid(tsr_contract_emit *e, tsr_region region, double grain);
void tsr_contract_direct_rows(tsr_contract_emit *e, tsr_contract_step tile);
tsr_value tsr_contract_direct_sum(tsr_contract_emit *e, tsr_value sum);

#endif
