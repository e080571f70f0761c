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
  tsr_expr leaves[TSR_SIDE_LEAVES];
} tsr_contract_side;

typedef struct tsr_contract_emit {
  tsr_nest *nest;
  tsr_ir *ir;
  const tsr_contraction *c;
  tsr_body body;
  tsr_contract_side m, n;
  int64_t unroll;
  bool columns_outside, pack_a, pack_b;
  uint32_t stored_count; /* packed operands, in body.stored */
} tsr_contract_emit;

void tsr_contract_bind(tsr_contract_emit *e, const tsr_contract_side *side, tsr_expr panel,
                       tsr_expr local, int64_t extent);
tsr_expr tsr_contract_first_panel(const tsr_contract_emit *e, const tsr_contract_side *side);
/* Copy the task's block of an operand to scratch, with all scalar code that stands before the
 * product; register tiles then read the copy. */
void tsr_contract_pack_a(tsr_contract_emit *e);
void tsr_contract_pack_b(tsr_contract_emit *e);

#endif
