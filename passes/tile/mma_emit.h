/* What the files of the strategies "mma" and "wgmma" share. */
#ifndef TSR_PASSES_TILE_MMA_EMIT_H
#define TSR_PASSES_TILE_MMA_EMIT_H
#include "passes/cost/banks.h"
#include "passes/tile/mma.h"

/* --- sides --- */

/* Position `at` along a side, taken apart: out_from[i], the leaf of its axis i, is out_to[i]. The
 * outermost axis takes what is beyond the extent. Returns their number. */
uint32_t tsr_mma_decode(tsr_nest *nest, const tsr_mma_side *side, tsr_expr at, tsr_expr *out_from,
                        tsr_expr *out_to);
/* Is every position beyond the side's extent outside of the buffer, too? */
bool tsr_mma_leaves(const tsr_nest *nest, const tsr_nest_access *access, const tsr_mma_side *side);
/* Added to the outermost axis, it makes positions beyond the extent leave any buffer. */
tsr_expr tsr_mma_beyond(tsr_nest *nest, const tsr_mma_side *side, tsr_expr at);

/* What is loaded under `value` and varies along the depth, `most` of it. */
uint32_t tsr_mma_loads(const tsr_nest *nest, tsr_value value, tsr_value *out, uint32_t most);

/* --- operands in shared memory --- */

/* The tile of one operand: rows x length elements, consecutive along `length`, which is the depth
 * or the side; cut into panels of `panel` elements where a swizzle wants short rows. */
typedef struct tsr_mma_ring {
  tsr_mma_operand operand;
  const tsr_mma_side *side;
  int which;            /* 0: a, 1: b */
  int64_t tile, depth;  /* elements of the tile along the side and the depth */
  int64_t rows, length; /* as it lies */
  int64_t panel;
  tsr_banks_layout layout;
  tsr_banks_access read;
  uint32_t gap; /* further axes of extent 1 between rows and elements */
  int64_t place_bytes;
  bool async;           /* copied by cp.async */
  const char *fragment; /* how atoms take it: "ldmatrix" or "vector" */
  tsr_value buffer;
} tsr_mma_ring;

/* Depth of one fragment. */
int64_t tsr_mma_step(const tsr_atom *atom);
void tsr_mma_ring_of(tsr_nest *nest, const tsr_mma_problem *problem, const tsr_schedule *schedule,
                     int which, tsr_mma_ring *out_ring);

/* The ring's buffer: [place, row, element], or [place, panel, row, element]. */
tsr_value tsr_mma_alloc(tsr_nest *nest, tsr_region region, tsr_mma_ring *ring, int64_t places);
/* Its element at `tile` along the side and `depth`; returns the rank. */
uint32_t tsr_mma_subscripts(tsr_nest *nest, const tsr_mma_ring *ring, tsr_expr slot, tsr_expr tile,
                            tsr_expr depth, tsr_expr *out_subs);

/* --- wgmma --- */

/* The same as TMA brings it: rows of 32, 64 or 128 bytes with the swizzle of that name (0: none
 * fits). */
void tsr_wgmma_ring_of(tsr_nest *nest, const tsr_mma_problem *problem, const tsr_schedule *schedule,
                       int which, tsr_mma_ring *out_ring);

/* Dimensions of the operand's buffer that are its side and the depth. */
typedef struct tsr_wgmma_box {
  uint32_t rank;
  int side, depth;
  tsr_expr pitch; /* bytes of a row */
  bool packed;    /* a constant that has not been laid out yet: it will fit */
} tsr_wgmma_box;
/* False: no tensor map reads the operand. */
bool tsr_wgmma_box_of(tsr_nest *nest, const tsr_mma_problem *problem, const tsr_mma_ring *ring,
                      tsr_wgmma_box *out_box);
/* Registers of a thread of the consumers, `warps` of them. */
int64_t tsr_wgmma_registers(int64_t warps);

/* --- the grid --- */

/* Tile numbers of a task. */
typedef struct tsr_mma_tiles {
  tsr_expr rows, columns; /* how many */
  tsr_expr row, column;   /* of this task */
} tsr_mma_tiles;
/* Tile `number` of the walk: groups of `raster` rows of tiles, column by column. */
void tsr_mma_walk(tsr_ir *ir, tsr_mma_tiles *tiles, tsr_expr number, int64_t raster);
/* Grid variables for the outer axes, which are bound, and for the tiles. Where their order is one
 * of grid variables, no task decodes a number. */
void tsr_mma_grid(tsr_body *body, const tsr_mma_problem *problem, tsr_region region,
                  tsr_mma_tiles *tiles, int64_t raster);

/* Binds the axes of a side to position `at`; `guarded`: what is beyond leaves any buffer. */
void tsr_mma_bind(tsr_body *body, const tsr_mma_side *side, tsr_expr at, bool guarded);
/* The body behind the sum, whose tile of [bm, bn] is `sum`. */
void tsr_mma_epilogue(tsr_body *body, const tsr_mma_problem *problem, const tsr_schedule *schedule,
                      tsr_value sum, tsr_expr row, tsr_expr column);

#endif
