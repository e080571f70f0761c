/* What the files of this folder share: a block taken apart into axes and accesses, and the emission
 * of its body onto tiles. */
#ifndef TSR_PASSES_TILE_NEST_H
#define TSR_PASSES_TILE_NEST_H
#include "ir/ir.h"
#include "ir/target.h"
#include "passes/tile/schedule.h"

enum {
  TSR_NEST_AXES = 16,
  TSR_NEST_LEAVES = TSR_NEST_AXES + 10,
  TSR_NEST_CARRIED = 32 /* accumulators of one loop nest */
};

/* An index variable of the block, counted from 0 in steps of 1. */
typedef struct tsr_nest_axis {
  tsr_value variable;
  tsr_expr leaf; /* the variable as an expression */
  tsr_expr extent;
  int64_t size; /* the extent, or its typical value */
  bool fixed;   /* `size` is the extent */
  bool red;
  bool gone; /* merged into the axis before it */
} tsr_nest_axis;

/* A buffer that the body reads or writes; `dims` are those of the kernel's view, which may join
 * neighbouring dims of the tensor. */
typedef struct tsr_nest_buffer {
  tsr_value value;
  tsr_dtype dtype;
  uint32_t rank;
  tsr_expr dims[TSR_MAX_RANK];
  bool constant, result, written, read;
  tsr_value arg;        /* the kernel's argument */
  const tsr_expr *map;  /* relayout of a constant, or NULL: over lanes $0.. of the new dims */
  int parts_axis;       /* of the relayout's result: along which lie bf16 parts; -1: none */
  uint32_t packed_rank; /* of the relayout's result, of which `dims` may be a view */
  tsr_expr packed_dims[TSR_MAX_RANK];
  uint32_t map_rank; /* entries of `map`: the joined view that it reads */
  tsr_expr map_dims[TSR_MAX_RANK];
  uint32_t original_rank; /* of the tensor before joining */
  tsr_expr original_dims[TSR_MAX_RANK];
} tsr_nest_buffer;

typedef enum tsr_access_kind {
  TSR_ACCESS_LOAD,
  TSR_ACCESS_STORE,
  TSR_ACCESS_INDEX
} tsr_access_kind;

/* Subscripts of one op over the axes' leaves (INDEX: its one expression). */
typedef struct tsr_nest_access {
  tsr_op op;
  tsr_access_kind kind;
  bool indirect;
  uint32_t buffer;
  uint32_t rank;
  tsr_expr subs[TSR_MAX_RANK];
} tsr_nest_access;

typedef struct tsr_nest {
  tsr_ir *ir;
  const tsr_target *target;
  tsr_arena *arena;
  tsr_op op;
  bool proc;
  tsr_nest_axis axes[TSR_NEST_AXES];
  uint32_t axis_count, par_count;
  tsr_nest_buffer *buffers;
  uint32_t buffer_count;
  tsr_nest_access *accesses;
  uint32_t access_count;
  uint32_t reduce_count;
  uint32_t op_count; /* of the body, by weight */
  tsr_dtype widest;  /* of the body's values */
  bool matched;      /* asked whether it is a contraction */
  const struct tsr_contraction *contraction;
  bool narrow_matched; /* the same for atoms with k-groups */
  const struct tsr_contraction *narrow;
  bool weighed, weights_split; /* asked whether its weights are in the range of parts, and are */
  bool mma_matched;            /* the same for the strategies of CUDA */
  const struct tsr_mma_problem *mma;
  /* Per value of the IR as it was before the pass: the axes it varies with; its tile; the
   * last walk that looked at it, walked[0] being their number. */
  uint32_t *varies;
  tsr_value *memo;
  uint32_t *walked;
  uint32_t value_count;
} tsr_nest;

/* Arrays that all blocks of one pass share. */
typedef struct tsr_nest_pool {
  tsr_arena *arena;
  uint32_t *varies;
  tsr_value *memo;
  uint32_t *walked;
  uint32_t value_count;
} tsr_nest_pool;

/* Takes a block apart. TSR_ERR_LIMIT for more axes than TSR_NEST_AXES. */
TSR_WARN_UNUSED tsr_status tsr_nest_read(tsr_ir *ir, const tsr_target *target,
                                         const tsr_nest_pool *pool, tsr_op block, tsr_diag *diag,
                                         tsr_nest **out_nest);
/* Walks over the values of a body look at each once, however many users share it: begin one with
 * _new_walk; _first_look is false for a value that the walk has met. One walk at a time. */
void tsr_nest_new_walk(const tsr_nest *nest);
bool tsr_nest_first_look(const tsr_nest *nest, tsr_value value);
/* The red axes that a reduce op sums over, as a mask. */
uint32_t tsr_nest_reduced(const tsr_nest *nest, tsr_op op);
/* All red axes. */
uint32_t tsr_nest_red_mask(const tsr_nest *nest);
/* Do the elements that are reduced vary with the axis (-1: none)? Then lanes cannot be a red axis's
 * too. */
bool tsr_nest_reduces_over(const tsr_nest *nest, int axis);
/* Has a reduce a combiner of its own? */
bool tsr_nest_has_region_reduce(const tsr_nest *nest);
/* Joins neighbouring axes wherever every access walks them as one. Accesses of `spare` (a mask of
 * buffers) do not matter: their subscripts keep both variables, which then must be bound apart. */
void tsr_nest_join(tsr_nest *nest);
bool tsr_nest_join_pair(tsr_nest *nest, uint32_t i, uint32_t j, uint64_t spare_accesses);
/* The coefficient of `axis` in the row-major offset of an access: 0 none, 1 contiguous, other: a
 * stride, INT64_MAX: not linear. Symbolic strides count as 1 << 20. */
int64_t tsr_nest_stride(const tsr_nest *nest, const tsr_nest_access *access, uint32_t axis);
/* -1: nothing is reduced. */
int tsr_nest_innermost_red(const tsr_nest *nest);
/* Steps of a reduced axis that are straight code under this knob `unroll`, 0: they are a loop. */
int64_t tsr_nest_straight_steps(const tsr_nest_axis *axis, int64_t unroll);
/* The axes that an access varies with, as a mask. */
uint32_t tsr_nest_varies(const tsr_nest *nest, const tsr_nest_access *access);
/* The value of an extent where dims have their typical values; 1 when it is not known. */
int64_t tsr_nest_typical(tsr_nest *nest, tsr_expr expr);
tsr_nest_access *tsr_nest_access_of(const tsr_nest *nest, tsr_op op);
bool tsr_nest_is_const(const tsr_ir *ir, tsr_value value);

/* --- small builders --- */
tsr_type tsr_tile_type(tsr_ir *ir, tsr_dtype dtype, int64_t rows, int64_t lanes);
/* Extents of a tile value; scalars of rank 0 count as 1 x 1. */
void tsr_tile_extents(const tsr_ir *ir, tsr_value value, int64_t out_extents[2]);
tsr_value tsr_tile_const(tsr_ir *ir, tsr_region region, tsr_dtype dtype, double number,
                         int64_t rows, int64_t lanes);
/* The identity of a combiner as a tile. */
tsr_value tsr_tile_identity(tsr_ir *ir, tsr_region region, tsr_dtype dtype, const char *combine,
                            int64_t rows, int64_t lanes);
tsr_value tsr_tile_binary(tsr_ir *ir, tsr_region region, tsr_opcode code, tsr_value x, tsr_value y);
/* An index condition as a bool tile. */
tsr_value tsr_tile_condition(tsr_ir *ir, tsr_region region, tsr_expr cond, int64_t rows,
                             int64_t lanes);
tsr_value tsr_tile_select(tsr_ir *ir, tsr_region region, tsr_value condition, tsr_value x,
                          tsr_value y);
tsr_opcode tsr_tile_combiner(const char *combine);
/* min(a, b) and a < b with the trivial cases decided. */
tsr_expr tsr_tile_min(tsr_ir *ir, tsr_expr a, tsr_expr b);

/* A loop under construction. */
typedef struct tsr_tile_loop {
  tsr_op op;
  tsr_region body;
  tsr_expr index;
  tsr_value carried[TSR_NEST_CARRIED];
} tsr_tile_loop;
tsr_tile_loop tsr_tile_for(tsr_ir *ir, tsr_region region, tsr_expr lo, tsr_expr hi,
                           const tsr_value *init, uint32_t count);
void tsr_tile_yield(tsr_ir *ir, tsr_region region, const tsr_value *values, uint32_t count);
/* if {cond} {...}: returns the region, which needs no yield. */
tsr_region tsr_tile_if(tsr_ir *ir, tsr_region region, tsr_expr cond);

/* --- bodies on tiles --- */
/* A value of the body that stands in a buffer instead (a packed operand). */
typedef struct tsr_body_stored {
  tsr_value value;
  tsr_value buffer;
  tsr_dtype dtype;
  uint32_t rank;
  tsr_expr subs[TSR_NEST_AXES + 2];
} tsr_body_stored;

/* How a reduction walks a red axis. */
typedef struct tsr_body_plan {
  int axes[2];        /* red axes on the rows ($0) and on the lanes ($1) while reduced, or -1 */
  int64_t extents[2]; /* of the tile along them */
  int64_t unroll;
} tsr_body_plan;

typedef struct tsr_body {
  tsr_nest *nest;
  tsr_ir *ir;
  tsr_region region;
  tsr_expr from[TSR_NEST_LEAVES], to[TSR_NEST_LEAVES]; /* the axes' leaves come first */
  uint32_t leaf_count;
  int64_t extents[2]; /* of lanes $0 and $1 */
  tsr_value *undo;
  uint32_t undo_count, undo_capacity;
  tsr_body_stored stored[2];
  uint32_t stored_count;
  tsr_body_plan plan;
  uint32_t unbound; /* red axes that no loop has given a value yet */
  /* Loads of this access also fetch the line so many bytes behind what they read; 0: none does. */
  const tsr_nest_access *ahead_of;
  int64_t ahead;
} tsr_body;

TSR_WARN_UNUSED bool tsr_body_begin(tsr_body *body, tsr_nest *nest, tsr_region region);
/* Scopes: tiles made since the mark are forgotten. */
uint32_t tsr_body_mark(const tsr_body *body);
void tsr_body_release(tsr_body *body, uint32_t mark);
void tsr_body_bind(tsr_body *body, uint32_t axis, tsr_expr expr);
tsr_expr tsr_body_expr(const tsr_body *body, tsr_expr expr);
/* The tile of a value of the block's body, emitted on demand. */
tsr_value tsr_body_value(tsr_body *body, tsr_value value);
void tsr_body_set(tsr_body *body, tsr_value value, tsr_value tile);
/* Emits what `value` needs and what does not vary with `axes` (a mask). */
void tsr_body_hoist(tsr_body *body, tsr_value value, uint32_t axes);
/* Where the stores of the tile beside it will go comes nearer meanwhile. */
void tsr_body_prefetch(tsr_body *body);
/* All stores of the block. */
void tsr_body_stores(tsr_body *body);
/* The full extents that a store or a scratch needs: broadcasts a tile with extents 1. */
tsr_value tsr_body_spread(tsr_body *body, tsr_value tile, int64_t rows, int64_t lanes);
/* Bits of `$0` (1) and `$1` (2) in the expression. */
unsigned tsr_body_lanes(const tsr_body *body, tsr_expr expr);

/* The same program up to the names of values, over operands that are constant alike? */
bool tsr_nest_same_block(const tsr_ir *ir, const tsr_nest_pool *pool, tsr_op a, tsr_op b);
/* Estimated cycles of one tile of strategy nest. */
double tsr_nest_tile_cycles(const tsr_nest *nest, const tsr_schedule *schedule);
/* Tasks of a kernel of strategy nest. */
double tsr_nest_tasks(tsr_nest *nest, const tsr_schedule *schedule);
/* The weight of an op on one vector, in rough cycles. */
uint32_t tsr_nest_op_weight(tsr_opcode code);

/* --- strategies: fill the kernel's region; grid variables are added to it --- */
TSR_WARN_UNUSED tsr_status tsr_tile_nest(tsr_nest *nest, const tsr_schedule *schedule,
                                         tsr_region region, tsr_diag *diag);
TSR_WARN_UNUSED tsr_status tsr_tile_contract(tsr_nest *nest, const tsr_schedule *schedule,
                                             tsr_region region, tsr_diag *diag);
/* Constants of a contraction get their panels: to be called before the kernel's arguments are made.
 */
void tsr_contract_layout(tsr_nest *nest, const tsr_schedule *schedule);
TSR_WARN_UNUSED tsr_status tsr_tile_proc(tsr_nest *nest, const tsr_schedule *schedule,
                                         tsr_region region, tsr_diag *diag);

#endif
