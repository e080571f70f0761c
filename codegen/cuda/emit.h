/* From one tile-IR kernel to CUDA C. Shared state of the emit_*.c files:
 *
 *   layout.c           which thread holds which element of a tile
 *   emit.c             text, names, failures, tiles, loops over registers, changes of layout
 *   emit_index.c       tsr_expr -> C
 *   emit_number.c      constants, conversions and one element of every elementwise op
 *   emit_access.c      load, store, copy, append
 *   emit_tile.c        elementwise ops on tiles, const, index, transpose, tile_slice, contract
 *   emit_reduce.c      reductions
 *   emit_control.c     for, if, loop, regions
 *   emit_kernel.c      signature, shared memory, tasks
 *
 * Axes of tiles and layouts are counted from the last one here, so that tiles of different rank
 * that broadcast are aligned: axis 0 is the contiguous one. */
#ifndef TSR_CODEGEN_CUDA_EMIT_H
#define TSR_CODEGEN_CUDA_EMIT_H
#include "codegen/cuda/cuda.h"
#include "ir/ir.h"
#include <setjmp.h>

/* Along an axis, thread t and register r = o * vector + v hold the element
 *   (o * threads + (t / stride) % threads) * vector + v,
 * where it is inside the tile. Everything is a power of two; threads that no axis tells apart hold
 * copies. An axis of extent 1 is in every thread, whatever the layout says about it. */
typedef struct tsr_cu_layout {
  uint16_t threads[TSR_MAX_RANK], stride[TSR_MAX_RANK], vector[TSR_MAX_RANK];
} tsr_cu_layout;

/* A tile while code is made: an array of registers (a plain variable when there is one). */
typedef struct tsr_cu_tile {
  tsr_dtype dtype;
  uint32_t rank;
  uint32_t extents[TSR_MAX_RANK];
  tsr_cu_layout layout;
  const char *name;
} tsr_cu_tile;

typedef struct tsr_cu_slot {
  const tsr_cu_tile *tile;
  const char *index;  /* index variables */
  const char *buffer; /* a pointer to the first element */
} tsr_cu_slot;

/* Where the tiles that a region yields go. */
typedef struct tsr_cu_sink {
  const tsr_cu_tile *const *tiles;
  uint32_t count;
  const char *condition; /* a variable for the first value yielded (loop), or NULL */
} tsr_cu_sink;

enum { TSR_CU_NESTING = 16 };

typedef struct tsr_cu {
  tsr_ir *ir;
  tsr_arena *arena; /* lives as long as the compilation of one kernel */
  tsr_diag *diag;
  tsr_status status;
  jmp_buf *escape;
  const tsr_target *target;
  const tsr_op_data *op; /* being emitted */
  tsr_op op_id;
  char *text;
  size_t used, capacity;
  unsigned indent;
  uint32_t temporaries;
  uint32_t threads;   /* of the block */
  tsr_cu_slot *slots; /* by value id */
  bool *hazard;       /* by value id: accesses of the buffer need a barrier between them */
  const tsr_cu_layout **wanted; /* by value id: the layout that the uses of a tile ask for */
  uint32_t slot_count;
  bool *dim_used;
  tsr_dim *dims;
  uint32_t dim_count;
  uint64_t alloc_bytes;    /* of shared memory; the exchange area lies behind them */
  uint64_t exchange_bytes; /* the most that was needed so far */
  const tsr_cu_sink *sink;
  uint32_t braces[TSR_CU_NESTING]; /* of the loops over registers that are open */
  uint32_t nesting;
} tsr_cu;

/* --- layout.c --- */
uint32_t tsr_cu_registers_along(const tsr_cu_tile *tile, uint32_t axis);
uint32_t tsr_cu_registers(const tsr_cu_tile *tile);
uint64_t tsr_cu_elements(const tsr_cu_tile *tile);
bool tsr_cu_same_layout(const tsr_cu_tile *tile, const tsr_cu_layout *layout);
/* Does every register of the axis hold an element in every thread? */
bool tsr_cu_exact(const tsr_cu_tile *tile, uint32_t axis);
tsr_cu_layout tsr_cu_default_layout(uint32_t threads, const uint32_t *extents, uint32_t rank);
/* For the accumulators of a contraction: threads over rows and columns. */
tsr_cu_layout tsr_cu_matrix_layout(uint32_t threads, uint32_t rows, uint32_t columns);
/* The operands of such a contraction: all of the depth in every thread. */
tsr_cu_layout tsr_cu_operand_layout(const tsr_cu_layout *matrix, bool is_a);
enum { TSR_CU_OPERAND_REGISTERS = 96 };
/* Fills e->wanted for the kernel's region. */
void tsr_cu_choose_layouts(tsr_cu *e, tsr_region region);
/* The layout wanted for a value, or the default one. */
tsr_cu_layout tsr_cu_wanted(tsr_cu *e, tsr_value value, const tsr_cu_tile *tile);

/* --- emit.c --- */
/* Records the failure and leaves the kernel by e->escape; its type is for use in a return. */
void *tsr_cu_fail(tsr_cu *e, tsr_status status, const char *format, ...) TSR_PRINTF(3, 4);
void *tsr_cu_alloc(tsr_cu *e, size_t count, size_t size);
const char *tsr_cu_format(tsr_cu *e, const char *format, ...) TSR_PRINTF(2, 3);
/* One line of code at the current indentation. Those that end in `{` indent what follows, those
 * that start with `}` end it. */
void tsr_cu_line(tsr_cu *e, const char *format, ...) TSR_PRINTF(2, 3);
/* A name that no other value has, made from the IR's. */
const char *tsr_cu_name(tsr_cu *e, tsr_value value, const char *otherwise);
const char *tsr_cu_temporary(tsr_cu *e, const char *prefix);
/* A tile of the static shape of `type` without layout and name. */
tsr_cu_tile tsr_cu_tile_of_type(tsr_cu *e, tsr_type type);
/* The tile of an operand. */
const tsr_cu_tile *tsr_cu_operand(tsr_cu *e, uint32_t number);
void tsr_cu_bind(tsr_cu *e, tsr_value value, const tsr_cu_tile *tile);
/* A copy of `shape` with a declared variable. */
const tsr_cu_tile *tsr_cu_declare(tsr_cu *e, const tsr_cu_tile *shape, const char *name);
/* The op's only result, of its type, in `layout` (NULL: as wanted). */
const tsr_cu_tile *tsr_cu_declare_result(tsr_cu *e, const tsr_cu_layout *layout);
/* Loops over the registers of a tile: variables r0, r1 ... Between begin and end the registers of
 * tiles that broadcast to it can be named. `positions` declares x0, x1 ... too. */
void tsr_cu_begin(tsr_cu *e, const tsr_cu_tile *tile, bool positions);
void tsr_cu_end(tsr_cu *e);
const char *tsr_cu_register(tsr_cu *e, const tsr_cu_tile *tile);
/* Its number in the array; NULL: the only one. */
const char *tsr_cu_register_number(tsr_cu *e, const tsr_cu_tile *tile);
/* "1" or the condition that the register's position is inside the tile; and that this thread is the
 * first of those that hold it. Terms are joined by ` && `. */
const char *tsr_cu_inside(tsr_cu *e, const tsr_cu_tile *tile);
const char *tsr_cu_owner(tsr_cu *e, const tsr_cu_tile *tile);
const char *tsr_cu_both(tsr_cu *e, const char *a, const char *b);
/* x0 + x1 * extent0 ...: where a tile lies as an array. */
const char *tsr_cu_linear(tsr_cu *e, const tsr_cu_tile *tile);
void tsr_cu_barrier(tsr_cu *e);
/* The exchange area as an array of `ctype`, for `bytes` bytes, declared under a new name. */
const char *tsr_cu_exchange(tsr_cu *e, const char *ctype, uint64_t bytes);
/* Writes a tile to an array in shared memory; a barrier follows. */
const char *tsr_cu_stage(tsr_cu *e, const tsr_cu_tile *tile);
/* The same tile in another layout. */
const tsr_cu_tile *tsr_cu_relayout(tsr_cu *e, const tsr_cu_tile *tile, const tsr_cu_layout *layout);
/* The copies of every element take the owner's value. */
void tsr_cu_share(tsr_cu *e, const tsr_cu_tile *tile);
/* destination = source, converting the layout if need be. */
void tsr_cu_assign(tsr_cu *e, const tsr_cu_tile *destination, const tsr_cu_tile *source);

/* --- emit_index.c --- */
/* `tile`: what lanes and value tiles in the expression refer to, inside its loops; NULL: none. */
const char *tsr_cu_index(tsr_cu *e, tsr_expr expr, const tsr_cu_tile *tile);

/* --- emit_number.c --- */
bool tsr_cu_supports(tsr_dtype dtype);
const char *tsr_cu_ctype(tsr_dtype dtype);   /* of registers */
const char *tsr_cu_storage(tsr_dtype dtype); /* of memory */
const char *tsr_cu_widen(tsr_cu *e, tsr_dtype dtype, const char *stored);
const char *tsr_cu_narrow(tsr_cu *e, tsr_dtype dtype, const char *value);
const char *tsr_cu_number(tsr_cu *e, tsr_dtype dtype, double number);
const char *tsr_cu_integer(tsr_cu *e, tsr_dtype dtype, int64_t number);
const char *tsr_cu_cast(tsr_cu *e, tsr_dtype from, tsr_dtype to, const char *value);
const char *tsr_cu_bitcast(tsr_cu *e, tsr_dtype from, tsr_dtype to, const char *value);
/* `dtype` is that of a and b (of b and c for select). NULL: no such op on the type. */
const char *tsr_cu_apply(tsr_cu *e, tsr_opcode code, tsr_dtype dtype, const char *a, const char *b,
                         const char *c);
/* NULL: no such combiner. */
const char *tsr_cu_identity(tsr_cu *e, const char *combine, tsr_dtype dtype);
const char *tsr_cu_combine(tsr_cu *e, const char *combine, tsr_dtype dtype, const char *a,
                           const char *b);

/* --- emit_access.c --- */
void tsr_cu_load(tsr_cu *e);
void tsr_cu_store(tsr_cu *e);
void tsr_cu_copy(tsr_cu *e);
void tsr_cu_append(tsr_cu *e);

/* --- emit_tile.c --- */
void tsr_cu_elementwise(tsr_cu *e);
void tsr_cu_const(tsr_cu *e);
void tsr_cu_index_tile(tsr_cu *e);
void tsr_cu_transpose(tsr_cu *e);
void tsr_cu_slice(tsr_cu *e);
void tsr_cu_contract(tsr_cu *e);

/* --- emit_reduce.c --- */
void tsr_cu_reduce(tsr_cu *e);

/* --- emit_control.c --- */
void tsr_cu_region(tsr_cu *e, tsr_region region, const tsr_cu_sink *sink);
void tsr_cu_for(tsr_cu *e);
void tsr_cu_if(tsr_cu *e);
void tsr_cu_loop(tsr_cu *e);

/* --- emit_kernel.c --- */
TSR_WARN_UNUSED tsr_status tsr_cu_kernel(tsr_ir *ir, tsr_op kernel, const tsr_target *target,
                                         tsr_arena *scratch, tsr_arena *result, tsr_diag *diag,
                                         tsr_cuda_kernel *out_kernel);

#endif
