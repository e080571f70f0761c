/* From one tile-IR kernel to LLVM IR. Shared state of the emit_*.c files:
 *
 *   emit.c             tiles, names of values, memo of index expressions, failures
 *   emit_index.c       tsr_expr -> i64, or a vector of i64 where lanes occur
 *   emit_access.c      load, store, gather_load, scatter_store: strides and bounds
 *   emit_stride.c      loads that step through one line side by side
 *   emit_check.c       which bounds checks can be asked once for a whole loop or task
 *   emit_elementwise.c unary, binary, compare, select, cast
 *   emit_tile.c        const, index, reduce, contract, transpose, tile_slice, append
 *   emit_control.c     for, if, loop, regions
 *   emit_kernel.c      kernel signature, scratch, tasks
 *
 * A tile is a list of rows: the last axis is the vector axis, the leading axes are unrolled. A row
 * is one LLVM vector, or several pieces when its length is no power of two, one for every bit of
 * the length, longest first (48 lanes: 32, 16), because LLVM pads other lengths to the next power
 * of two. Values are compute values (numeric.h): i1 for bool, float for f16 and bf16. */
#ifndef TSR_CODEGEN_CPU_EMIT_H
#define TSR_CODEGEN_CPU_EMIT_H
#include "codegen/cpu/codegen.h"
#include "codegen/cpu/numeric.h"
#include <llvm-c/Core.h>
#include <setjmp.h>

typedef struct tsr_emit_tile {
  tsr_dtype dtype;
  uint32_t rank;
  uint32_t extents[TSR_MAX_RANK];
  uint32_t rows;  /* product of the leading extents */
  uint32_t lanes; /* the last extent; 1: rows are scalars */
  uint32_t count; /* values: rows times pieces */
  LLVMValueRef *values;
} tsr_emit_tile;

/* What a value of the IR is while code is made: one of the three. */
typedef struct tsr_emit_slot {
  const tsr_emit_tile *tile;
  LLVMValueRef index;   /* i64, index variables */
  LLVMValueRef pointer; /* buffers */
} tsr_emit_slot;

typedef struct tsr_emit_undo {
  tsr_expr expr;
  LLVMValueRef before;
} tsr_emit_undo;

/* The tile of a load that stands further on in the region. */
enum { TSR_EMIT_EARLY = 32 };
typedef struct tsr_emit_early {
  tsr_op op;
  const tsr_emit_tile *tile;
} tsr_emit_early;

typedef struct tsr_emit {
  tsr_ir *ir;
  tsr_arena *arena; /* lives as long as the compilation of one kernel */
  tsr_diag *diag;
  tsr_status status; /* of the first failure */
  jmp_buf *escape; /* where a failure goes: everything half made is the arena's and the module's */
  const tsr_llvm_target *target;
  tsr_math math; /* context, module, builder */
  LLVMBuilderRef builder;
  LLVMTypeRef i1, i32, i64, pointer;
  LLVMValueRef function;
  LLVMBasicBlockRef entry; /* of the function: holds the loads of dims */
  LLVMValueRef dims_argument;
  const tsr_op_data *op; /* being emitted */
  tsr_op op_id;
  bool uses_tiles;   /* AMX registers */
  struct {           /* a contract's sum that AMX registers hold for the op behind it */
    tsr_value value; /* 0: none */
    LLVMValueRef memory, tiles;
  } held;
  tsr_emit_early early[TSR_EMIT_EARLY];
  uint32_t early_count;
  bool one_task;        /* the grid has a single task: combining stores need no atomics */
  tsr_emit_slot *slots; /* by value id */
  uint32_t slot_count;
  LLVMValueRef *dim_values; /* by dim id, NULL: not read yet */
  const uint32_t *uses;     /* by value id, over the whole IR */
  tsr_dim *dims;            /* read so far, in order */
  uint32_t dim_count;
  LLVMValueRef *memo; /* by expression id: i64 that dominates the builder's position */
  uint32_t memo_capacity;
  tsr_emit_undo *undo; /* memo entries to take back when their scope ends */
  uint32_t undo_count, undo_capacity;
  tsr_expr *assumed; /* known to be >= 0 where the builder stands (emit_check.c) */
  uint32_t assumed_count, assumed_capacity;
  const tsr_emit_tile **yielded; /* by the region emitted last */
  uint32_t yielded_count;
} tsr_emit;

/* --- emit.c --- */
/* Records the failure with the op's name, origin and line and leaves the kernel by e->escape; it
 * never returns, its type is for use in a return. */
void *tsr_emit_fail(tsr_emit *e, tsr_status status, const char *format, ...) TSR_PRINTF(3, 4);
/* Zeroed, never NULL. */
void *tsr_emit_alloc(tsr_emit *e, size_t count, size_t size);
/* Grows an array to hold `need` entries, with the new ones zeroed. Always true. */
bool tsr_emit_grow(tsr_emit *e, void **array, uint32_t *capacity, uint32_t need, size_t size);
tsr_emit_tile *tsr_emit_tile_new(tsr_emit *e, tsr_dtype dtype, const uint32_t *extents,
                                 uint32_t rank);
/* A tile of the static shape of `type`; fails when a dim is symbolic or a dtype has no code. */
tsr_emit_tile *tsr_emit_tile_of_type(tsr_emit *e, tsr_type type);
/* The shape that both broadcast to, aligned at the last axis; false (and a failure) otherwise. */
bool tsr_emit_broadcast(tsr_emit *e, const tsr_emit_tile *a, const tsr_emit_tile *b,
                        uint32_t *out_extents, uint32_t *out_rank);
/* Value `number` of a tile of the given shape, read from `tile` which broadcasts to it. With
 * `splat` the result has all lanes of the piece, else it stays a scalar when the tile has one lane.
 */
LLVMValueRef tsr_emit_part(tsr_emit *e, const tsr_emit_tile *tile, const uint32_t *extents,
                           uint32_t rank, uint32_t number, bool splat);
/* Pieces of a row of `lanes`, and where one of them starts and how long it is. */
uint32_t tsr_emit_pieces(uint32_t lanes);
void tsr_emit_piece(uint32_t lanes, uint32_t piece, uint32_t *out_start, uint32_t *out_lanes);
/* One element, read or replaced. */
LLVMValueRef tsr_emit_element(tsr_emit *e, const tsr_emit_tile *tile, uint32_t row, uint32_t lane);
void tsr_emit_set_element(tsr_emit *e, tsr_emit_tile *tile, uint32_t row, uint32_t lane,
                          LLVMValueRef value);
/* Makes every value of a new tile an undefined vector, to be filled by elements. */
void tsr_emit_tile_clear(tsr_emit *e, tsr_emit_tile *tile);
/* The tile of an operand; NULL and a failure when the value is no tile. */
const tsr_emit_tile *tsr_emit_operand(tsr_emit *e, uint32_t number);
void tsr_emit_bind(tsr_emit *e, tsr_value value, const tsr_emit_tile *tile);
/* Memo entries made between the two calls are forgotten by the second. */
uint32_t tsr_emit_scope_begin(const tsr_emit *e);
void tsr_emit_scope_end(tsr_emit *e, uint32_t mark);

LLVMTypeRef tsr_emit_vector(LLVMTypeRef element, uint32_t lanes); /* 1 lane: the element */
bool tsr_emit_is_vector(LLVMValueRef value);
LLVMValueRef tsr_emit_splat(tsr_emit *e, LLVMValueRef scalar, uint32_t lanes);
LLVMValueRef tsr_emit_int(const tsr_emit *e, int64_t number); /* i64 */
/* start, start + 1 ... */
LLVMValueRef tsr_emit_iota(tsr_emit *e, LLVMTypeRef element, uint32_t start, uint32_t lanes);
LLVMValueRef tsr_emit_shuffle(tsr_emit *e, LLVMValueRef a, LLVMValueRef b, const uint32_t *mask,
                              uint32_t lanes);
/* `lanes` lanes from `start` on. */
LLVMValueRef tsr_emit_take(tsr_emit *e, LLVMValueRef vector, uint32_t start, uint32_t lanes);
/* `count` (a power of two) vectors of one type, one after the other. */
LLVMValueRef tsr_emit_join(tsr_emit *e, const LLVMValueRef *parts, uint32_t count);
/* Lanes of one machine register for values of a compute type. */
uint32_t tsr_emit_register_lanes(const tsr_emit *e, tsr_dtype dtype);
LLVMValueRef tsr_emit_lane(tsr_emit *e, LLVMValueRef vector, uint32_t lane);
LLVMValueRef tsr_emit_insert(tsr_emit *e, LLVMValueRef vector, LLVMValueRef scalar, uint32_t lane);
LLVMValueRef tsr_emit_intrinsic(tsr_emit *e, const char *name, LLVMTypeRef *types,
                                unsigned type_count, LLVMValueRef *arguments, unsigned count);
LLVMBasicBlockRef tsr_emit_block(tsr_emit *e, const char *name);
/* Branches; the first target is marked as the usual one when `likely`. */
void tsr_emit_branch(tsr_emit *e, LLVMValueRef condition, LLVMBasicBlockRef yes,
                     LLVMBasicBlockRef no, bool likely);

/* --- emit_index.c --- */
/* Where an expression with lanes is asked for: one value of a tile. */
typedef struct tsr_emit_point {
  uint32_t rank;
  const uint32_t *extents;
  uint32_t number; /* of the value */
  uint32_t row;
  uint32_t start, lanes; /* of the piece */
} tsr_emit_point;

tsr_emit_point tsr_emit_point_of(const uint32_t *extents, uint32_t rank, uint32_t number);

/* i64, no lanes, values of one element only. */
LLVMValueRef tsr_emit_index(tsr_emit *e, tsr_expr expr);
/* i64, or a vector of point->lanes of them when the last lane or a vector value occurs. */
LLVMValueRef tsr_emit_index_at(tsr_emit *e, tsr_expr expr, const tsr_emit_point *point);
/* i1: true unless the expression is 0. */
LLVMValueRef tsr_emit_condition(tsr_emit *e, tsr_expr expr);
/* Position of row `row` along axis `axis` of a shape. */
uint32_t tsr_emit_row_index(const uint32_t *extents, uint32_t rank, uint32_t row, uint32_t axis);

/* --- emit_check.c --- */
/* A bound of one subscript: code may touch the element only where `expr` >= 0. */
typedef struct tsr_emit_check {
  tsr_expr expr;
  tsr_expr worst; /* its least value over all lanes, or 0 when that has no closed form */
} tsr_emit_check;

enum { TSR_EMIT_MAX_CHECKS = 2 * TSR_MAX_RANK };

/* The checks of an access that are neither proven nor assumed. */
uint32_t tsr_emit_checks(tsr_emit *e, tsr_type buffer, const tsr_operand *operand,
                         const uint32_t *extents, uint32_t rank,
                         tsr_emit_check out_checks[TSR_EMIT_MAX_CHECKS]);
/* The worst cases of the checks that the accesses of `region` need, as far as they can be computed
 * where the region starts (its own index variables are known there). None when it holds a loop. */
uint32_t tsr_emit_region_checks(tsr_emit *e, tsr_region region, tsr_expr *out_worst,
                                uint32_t capacity);
bool tsr_emit_assume(tsr_emit *e, tsr_expr expr);

/* --- emit_access.c --- */
const tsr_emit_tile *tsr_emit_load(tsr_emit *e);
void tsr_emit_store(tsr_emit *e);
void tsr_emit_prefetch(tsr_emit *e);
void tsr_emit_copy(tsr_emit *e);
const tsr_emit_tile *tsr_emit_append(tsr_emit *e);

/* Of a tile of one row and one piece: its elements as they are stored. */
LLVMValueRef tsr_emit_load_line(tsr_emit *e, const tsr_operand *operand, const tsr_expr *subscripts,
                                const uint32_t *extents, uint32_t rank, double pad);

/* --- emit_stride.c --- */
/* The tile of the load at hand when others step beside it; NULL: it is alone. */
const tsr_emit_tile *tsr_emit_load_strided(tsr_emit *e, const tsr_emit_tile *shape, double pad);

/* --- emit_elementwise.c --- */
const tsr_emit_tile *tsr_emit_elementwise(tsr_emit *e);
/* One element-wise step on rows of one type, for reductions: combine is "add", "max" ... */
LLVMValueRef tsr_emit_combine(tsr_emit *e, const char *combine, tsr_dtype dtype, LLVMValueRef a,
                              LLVMValueRef b);
/* The identity of `combine`, NULL (no failure) when the name is unknown. */
LLVMValueRef tsr_emit_identity(tsr_emit *e, const char *combine, tsr_dtype dtype);
/* The constant nearest to `number` in the dtype, one lane. */
LLVMValueRef tsr_emit_number(tsr_emit *e, tsr_dtype dtype, double number);
const tsr_emit_tile *tsr_emit_convert(tsr_emit *e, const tsr_emit_tile *tile, tsr_dtype to);

/* --- emit_tile.c --- */
const tsr_emit_tile *tsr_emit_const(tsr_emit *e);
const tsr_emit_tile *tsr_emit_index_tile(tsr_emit *e);
const tsr_emit_tile *tsr_emit_contract(tsr_emit *e);
const tsr_emit_tile *tsr_emit_transpose(tsr_emit *e, const tsr_emit_tile *tile,
                                        const uint32_t *perm);
const tsr_emit_tile *tsr_emit_transpose_op(tsr_emit *e);
const tsr_emit_tile *tsr_emit_slice(tsr_emit *e);

/* --- emit_reduce.c --- */
void tsr_emit_reduce(tsr_emit *e);

/* --- emit_control.c --- */
/* The ops of a region; what it yields is left in e->yielded. */
void tsr_emit_region(tsr_emit *e, tsr_region region);
/* The same in two versions, without and with bounds checks, when some can be asked up front. */
void tsr_emit_region_versioned(tsr_emit *e, tsr_region region);
void tsr_emit_for(tsr_emit *e);
void tsr_emit_if(tsr_emit *e);
void tsr_emit_loop(tsr_emit *e);

/* --- emit_kernel.c --- */
/* Adds the function to the module. `out_kernel->dims` is in `result_arena`; entry is left 0. */
TSR_WARN_UNUSED tsr_status tsr_emit_kernel(tsr_ir *ir, tsr_op kernel, const tsr_math *math,
                                           tsr_arena *scratch_arena, tsr_arena *result_arena,
                                           tsr_diag *diag, tsr_kernel_code *out_kernel);

#endif
