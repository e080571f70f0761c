/* From one tile-IR kernel to CUDA C. Shared state of the emit_*.c files:
 *
 *   layout.c           which thread holds which element of a tile
 *   emit.c             text, names, failures, tiles, loops over registers, changes of layout
 *   emit_index.c       tsr_expr -> C
 *   emit_number.c      constants, conversions and one element of every elementwise op
 *   emit_place.c       places in buffers, bounds, swizzles, runs of neighbours
 *   emit_run.c         vectors of 4, 8 and 16 bytes, changes of layout
 *   emit_access.c      load, store, copy, append
 *   emit_tile.c        elementwise ops on tiles, const, index, transpose, tile_slice
 *   layout_mma.c       the same for tensor cores
 *   emit_contract.c    contract by fma
 *   emit_mma.c         contract by mma
 *   emit_wgmma.c       contract by wgmma, in place
 *   emit_fragment.c    fragment
 *   emit_reduce.c      reductions
 *   emit_turns.c       long chains of elementwise ops in turns, by groups of registers
 *   emit_control.c     for, if, loop, regions
 *   emit_stages.c      for {stages}: copies that run ahead
 *   emit_copy.c        copy: cp.async, TMA, tensor maps
 *   emit_decode.c      decode, relayout
 *   emit_sync.c        barriers, mbarriers, waits
 *   emit_roles.c       roles
 *   emit_kernel.c      signature, shared memory, tasks
 *
 * Axes of tiles and layouts are counted from the last one here, so that tiles of different rank
 * that broadcast are aligned: axis 0 is the contiguous one. */
#ifndef TSR_CODEGEN_CUDA_EMIT_H
#define TSR_CODEGEN_CUDA_EMIT_H
#include "codegen/cuda/cuda.h"
#include "ir/ir.h"
#include "runtime/float_convert.h"
#include <setjmp.h>

/* Which element of a tile is where. The position along an axis is a number of several digits, the
 * least significant first; each is a digit of the thread's number, thread / stride % size, or says
 * which of the thread's registers it is (stride 0). All register digits of an axis together, the
 * first least significant, are r<axis> of loops over registers. `order` of a register digit says
 * how the array of registers is laid out: digits of lower order vary faster. Threads that no digit
 * tells apart hold copies, and an axis of extent 1 is in every thread, whatever its digits say.
 * The digits may reach beyond the tile. Sizes of thread digits are powers of two. The one digit of
 * stride TSR_CU_TURN that there may be is the number `turn` of a loop around (emit_turns.c). */
typedef struct tsr_cu_digit {
  uint32_t size, stride, order;
} tsr_cu_digit;

enum { TSR_CU_DIGITS = 6 };
#define TSR_CU_TURN UINT32_MAX

typedef struct tsr_cu_axis {
  uint32_t count;
  tsr_cu_digit digits[TSR_CU_DIGITS];
} tsr_cu_axis;

/* What tensor cores take a tile of rank 2 for. */
typedef enum tsr_cu_use { TSR_CU_NO_USE, TSR_CU_OPERAND_A, TSR_CU_OPERAND_B } tsr_cu_use;

typedef struct tsr_cu_layout {
  tsr_cu_axis axis[TSR_MAX_RANK];
  tsr_cu_use use;
} tsr_cu_layout;

/* A tile while code is made: an array of registers (a plain variable when there is one). */
typedef struct tsr_cu_tile {
  tsr_dtype dtype;
  uint32_t rank;
  uint32_t extents[TSR_MAX_RANK];
  tsr_cu_layout layout;
  const char *name;
  bool packed;     /* elements of less than 32 bits side by side in tsr_u32, as mma takes them */
  uint32_t indent; /* of the text where it was declared */
  const char *at[TSR_MAX_RANK]; /* by axis: C for the position in it; NULL: x<axis> of the loops */
} tsr_cu_tile;

typedef struct tsr_cu_slot {
  const tsr_cu_tile *tile;
  const char *index;  /* index variables */
  bool is_int;        /* the index variable's C type is int, not tsr_s64 */
  const char *buffer; /* a pointer to the first element */
} tsr_cu_slot;

/* Where the tiles that a region yields go. */
typedef struct tsr_cu_sink {
  const tsr_cu_tile *const *tiles;
  uint32_t count;
  const char *condition; /* a variable for the first value yielded (loop), or NULL */
} tsr_cu_sink;

enum { TSR_CU_NESTING = 16 };

/* Where the last loops over registers of an elementwise op stand in the text: the next one of the
 * same registers goes into the same loops, so that few of a chain's values live at once. */
typedef struct tsr_cu_chain {
  size_t begin, close, end; /* first declaration of the loops' results; the closing braces */
  uint32_t registers[TSR_MAX_RANK];
} tsr_cu_chain;

/* The loop over groups of registers that is open; count 0: none. */
typedef struct tsr_cu_turns {
  uint32_t count;
  tsr_op last; /* the op behind which it ends */
  size_t at;   /* where it starts in the text, and the indentation there */
  unsigned indent;
  const tsr_cu_tile **moved; /* whose registers move down at the end of a turn */
  uint32_t moved_count;
} tsr_cu_turns;

/* Where constants may be declared that depend on no index variable but those of the scopes around:
 * the top of the kernel, and that of every loop's body. */
typedef struct tsr_cu_scope {
  size_t at; /* in the text; goes on with every constant */
  unsigned indent;
  tsr_value variable; /* of the loop; 0: the kernel */
  const char *index;  /* its name */
  bool looped;        /* a loop inside has ended */
} tsr_cu_scope;

/* A constant in scope: the same expression has the same text. */
typedef struct tsr_cu_known {
  const char *type, *text, *name;
  unsigned indent;
  uint32_t loops_ended; /* when it was declared */
} tsr_cu_known;

/* Who runs the code: a block or one of its roles. In the text `thread` counts from 0 in either. */
typedef struct tsr_cu_team {
  uint32_t threads;
  uint32_t first_thread;
  uint32_t barrier_id; /* 0: the block's */
  bool single;         /* thread 0 of the role alone */
} tsr_cu_team;

/* A contract in place that may be under way: its accumulators, and the indentation of its text. */
typedef struct tsr_cu_issue {
  const tsr_cu_tile *tile;
  uint32_t indent;
} tsr_cu_issue;

typedef struct tsr_cu_turn tsr_cu_turn; /* of a for {stages}; emit_stages.c */

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
  uint32_t temporaries, names; /* so many were given: texts depend on nothing outside the kernel */
  uint32_t threads;            /* of the block, or of the role being emitted */
  uint32_t first_thread, barrier_id; /* of the role: its first thread, its barrier (0: none) */
  bool single;                       /* only thread 0 runs the code */
  tsr_cu_slot *slots;                /* by value id */
  bool *hazard; /* by value id: accesses of the buffer need a barrier between them */
  const tsr_cu_layout **wanted; /* by value id: the layout that the uses of a tile ask for */
  uint32_t slot_count;
  uint32_t *dim_number; /* by dim id: its parameter's number + 1; 0: it is none */
  tsr_dim *dims;
  uint32_t dim_count;
  uint64_t alloc_bytes;    /* of shared memory; the exchange area lies behind them */
  uint64_t exchange_bytes; /* the most that was needed so far */
  uint64_t role_bytes;     /* up to the end of the roles' exchange areas */
  /* What the kernel says about its synchronisation: tsr_cu_survey_sync. */
  bool own_sync;      /* it orders the accesses of its allocs itself */
  bool loose_copies;  /* cp.async outside of pipelines: barriers end them */
  bool counts_copies; /* waits count them: each is a group */
  bool tma_stores, multicasts, cooperative;
  bool mixes_proxies; /* threads write what TMA or wgmma reads */
  bool inner_cluster_barriers, sets_registers;
  uint32_t cluster_barriers;  /* in the kernel's own region, and behind the mbarriers' start */
  uint32_t *arrivals_per_op;  /* by value id of mbarriers */
  uint32_t cluster;           /* tasks of one, at least 1 */
  const tsr_value *arguments; /* buffers, in the order of the parameters */
  uint32_t argument_count;
  tsr_cuda_map *maps;
  uint32_t map_count, map_capacity;
  tsr_cu_turn *turn;       /* that is being emitted */
  const bool *skip;        /* by op id: not emitted now; NULL: none */
  uint32_t loops;          /* around the op */
  uint32_t ahead;          /* > 0: copies of later turns are being emitted */
  bool scratch_touched;    /* by what was emitted so far */
  tsr_cu_issue *under_way; /* contracts in place, in the order of issue */
  uint32_t under_way_count, under_way_capacity;
  const tsr_cu_tile **accumulators; /* of wgmma, in scope */
  uint32_t accumulator_count, accumulator_capacity;
  bool *accumulates;     /* by value id: accumulators of wgmma */
  const char *instances; /* functions that the kernel's text needs in front of it, or NULL */
  const tsr_cu_sink *sink;
  tsr_cu_chain chain;
  tsr_cu_turns turns;
  tsr_cu_scope scopes[TSR_CU_NESTING]; /* that are open, from the kernel inwards */
  uint32_t scope_count;
  uint32_t loops_ended; /* so far */
  tsr_cu_known *known;
  uint32_t known_count, known_capacity;
  size_t loops_at; /* where the outermost open loop over registers starts; 0: not known */
  unsigned loops_indent;
  uint32_t braces[TSR_CU_NESTING]; /* of the loops over registers that are open */
  uint32_t nesting;
} tsr_cu;

/* --- layout.c --- */
/* Appends a digit, of size 1 none; stride 0: registers. TSR_CU_DIGITS at most. */
void tsr_cu_push(tsr_cu_axis *axis, uint32_t size, uint32_t stride, uint32_t order);
/* Registers behind the digits that are there, as many as the extent needs. */
void tsr_cu_fill(tsr_cu_axis *axis, uint32_t extent, uint32_t order);
uint32_t tsr_cu_registers_along(const tsr_cu_tile *tile, uint32_t axis);
/* Elements in the registers of a thread; of packed tiles too. */
uint32_t tsr_cu_registers(const tsr_cu_tile *tile);
uint64_t tsr_cu_elements(const tsr_cu_tile *tile);
/* Has every thread the same elements under the same r0, r1 ...? The order in the array may differ.
 */
bool tsr_cu_same_layout(const tsr_cu_tile *tile, const tsr_cu_layout *layout);
/* Does every register of the axis hold an element in every thread? */
bool tsr_cu_exact(const tsr_cu_tile *tile, uint32_t axis);
/* How many consecutive registers of r<axis> are neighbours along the axis. */
uint32_t tsr_cu_run_of(const tsr_cu_tile *tile, uint32_t axis);
/* Threads along the last axes, each with runs of `vector` elements of the last one. */
tsr_cu_layout tsr_cu_default_layout(uint32_t threads, const tsr_cu_tile *tile, uint32_t vector);
/* For the accumulators of fma atoms: threads over rows and columns, about as many rows as columns
 * each, in runs of up to 16 bytes. */
tsr_cu_layout tsr_cu_matrix_layout(uint32_t threads, const tsr_cu_tile *accumulators);
/* The operands of such a contraction: all of the depth in every thread. */
tsr_cu_layout tsr_cu_operand_layout(const tsr_cu_layout *matrix, uint32_t depth, bool is_a);
enum { TSR_CU_OPERAND_REGISTERS = 96 };
/* Fills e->wanted for the kernel's region. */
void tsr_cu_choose_layouts(tsr_cu *e, tsr_region region);
/* The layout wanted for a value, or the default one. */
tsr_cu_layout tsr_cu_wanted(tsr_cu *e, tsr_value value, const tsr_cu_tile *tile);

/* --- layout_mma.c --- */
/* How a contraction by tensor cores is divided. The accumulators of mma and wgmma lie alike but for
 * the warps: a warp of mma takes m_blocks x n_blocks blocks of 16 x 8; a group of four warps of
 * wgmma m_blocks x n_blocks instructions of 64 x n_step. */
typedef struct tsr_cu_mma {
  const tsr_atom *atom;
  bool groups; /* wgmma */
  uint32_t m, n, k;
  uint32_t warps_m, warps_n; /* warps, or groups of four */
  uint32_t m_blocks, n_blocks, k_blocks;
  uint32_t n_step; /* columns of an instruction */
  uint32_t fields; /* elements of a and b per register */
} tsr_cu_mma;

/* False: the op's atom is fma, or it has none. Fails where the tile does not fit the atom. */
bool tsr_cu_mma_of(tsr_cu *e, tsr_op contract, tsr_cu_mma *out_mma);
tsr_cu_layout tsr_cu_mma_accumulators(const tsr_cu_mma *mma);
tsr_cu_layout tsr_cu_mma_operand(const tsr_cu_mma *mma, bool is_a);

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
/* A copy of `shape` with a declared variable, not packed. */
const tsr_cu_tile *tsr_cu_declare(tsr_cu *e, const tsr_cu_tile *shape, const char *name);
const tsr_cu_tile *tsr_cu_declare_packed(tsr_cu *e, const tsr_cu_tile *shape, const char *name);
/* The op's only result, of its type, in `layout` (NULL: as wanted). */
const tsr_cu_tile *tsr_cu_declare_result(tsr_cu *e, const tsr_cu_layout *layout);
/* Loops over the registers of a tile: variables r0, r1 ... Between begin and end the registers of
 * tiles that broadcast to it can be named. `positions` declares x0, x1 ... too. */
void tsr_cu_begin(tsr_cu *e, const tsr_cu_tile *tile, bool positions);
/* The same, r<axis> in steps of `run`. */
void tsr_cu_begin_runs(tsr_cu *e, const tsr_cu_tile *tile, bool positions, uint32_t axis,
                       uint32_t run);
void tsr_cu_end(tsr_cu *e);
/* A name for a text of C type `type` that is dear to compute, the same in all threads and depends
 * on the index variables of the first `scopes` open scopes at most: a constant at the top of the
 * last of these. `scopes` 0: not known; then before all open loops over registers, or the text
 * itself where none are open. */
const char *tsr_cu_constant(tsr_cu *e, uint32_t scopes, const char *type, const char *text);
/* What follows is the body of the kernel or of a loop over `variable`; and its end. */
void tsr_cu_scope_begin(tsr_cu *e, tsr_value variable, const char *index);
void tsr_cu_scope_end(tsr_cu *e);
/* Likewise for an elementwise op whose result was declared at `declared` in the text and nothing
 * since. */
void tsr_cu_begin_chained(tsr_cu *e, const tsr_cu_tile *tile, size_t declared);
void tsr_cu_end_chained(tsr_cu *e);
/* The text from `start` on needs nothing from the chain's loops, and moves before them. */
void tsr_cu_pass_chain(tsr_cu *e, size_t start);
/* The element at r0, r1 ...: to be read, and where the tile is not packed also to be assigned. */
const char *tsr_cu_register(tsr_cu *e, const tsr_cu_tile *tile);
/* The same at other texts in place of r<axis>; NULL: r<axis>. */
const char *tsr_cu_register_at(tsr_cu *e, const tsr_cu_tile *tile, const char *const *r);
/* Its number in the array (of elements, packed or not); NULL: the only one. */
const char *tsr_cu_register_number(tsr_cu *e, const tsr_cu_tile *tile, const char *const *r);
/* "1" or the condition that the register's position is inside the tile; and that this thread is the
 * first of those that hold it. Terms are joined by ` && `. */
const char *tsr_cu_inside(tsr_cu *e, const tsr_cu_tile *tile);
const char *tsr_cu_owner(tsr_cu *e, const tsr_cu_tile *tile);
const char *tsr_cu_both(tsr_cu *e, const char *a, const char *b);
/* x0 + x1 * extent0 ...: where a tile lies as an array. */
const char *tsr_cu_linear(tsr_cu *e, const tsr_cu_tile *tile);
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
/* `around`: what lanes and value tiles in the expression refer to, inside its loops; NULL: none.
 * The text is of type int where no part of the value can overflow it, else tsr_s64. */
const char *tsr_cu_index(tsr_cu *e, tsr_expr expr, const tsr_cu_tile *around);
bool tsr_cu_index_is_int(tsr_cu *e, tsr_expr expr, const tsr_cu_tile *around);
/* The same of type tsr_s64 where `wide`; otherwise it must be possible as int. */
const char *tsr_cu_index_as(tsr_cu *e, tsr_expr expr, const tsr_cu_tile *around, bool wide);
/* The C type that holds an index variable with a step's way beyond its end: int or tsr_s64. */
const char *tsr_cu_index_type(tsr_cu *e, tsr_value variable);

/* --- emit_number.c --- */
bool tsr_cu_supports(tsr_dtype dtype);
tsr_dtype tsr_cu_computed(tsr_dtype dtype);  /* what it is summed in: f32 for narrower floats */
const char *tsr_cu_ctype(tsr_dtype dtype);   /* of registers */
const char *tsr_cu_storage(tsr_dtype dtype); /* of memory */
const char *tsr_cu_widen(tsr_cu *e, tsr_dtype dtype, const char *stored);
const char *tsr_cu_narrow(tsr_cu *e, tsr_dtype dtype, const char *value);
const char *tsr_cu_number(tsr_cu *e, tsr_dtype dtype, double number);
const char *tsr_cu_integer(tsr_cu *e, tsr_dtype dtype, int64_t number);
/* float8 saturates, or does what `overflow` says. */
const char *tsr_cu_cast(tsr_cu *e, tsr_dtype from, tsr_dtype to, const char *value);
const char *tsr_cu_cast_by(tsr_cu *e, tsr_dtype from, tsr_dtype to, tsr_overflow overflow,
                           const char *value);
const char *tsr_cu_bitcast(tsr_cu *e, tsr_dtype from, tsr_dtype to, const char *value);
/* `dtype` is that of a and b (of b and c for select). NULL: no such op on the type. */
const char *tsr_cu_apply(tsr_cu *e, tsr_opcode code, tsr_dtype dtype, const char *a, const char *b,
                         const char *c);
/* NULL: no such combiner. */
const char *tsr_cu_identity(tsr_cu *e, const char *combine, tsr_dtype dtype);
const char *tsr_cu_combine(tsr_cu *e, const char *combine, tsr_dtype dtype, const char *a,
                           const char *b);

/* --- emit_place.c --- */
/* An access to a buffer by the elements of a tile, which is laid out. */
typedef struct tsr_cu_access {
  tsr_value value;
  const tsr_type_info *buffer;
  tsr_dtype dtype;
  const tsr_expr *subscripts;
  tsr_cu_tile tile;
} tsr_cu_access;

/* Checks the operand; a barrier stands before accesses that need one. */
void tsr_cu_access_init(tsr_cu *e, tsr_cu_access *at, const tsr_operand *operand,
                        const tsr_expr *subscripts, const tsr_cu_tile *tile);
/* Inside the loops over the tile's registers: declares the subscripts s0, s1 ...; returns the
 * element (an lvalue), and when it may be touched. */
const char *tsr_cu_place(tsr_cu *e, const tsr_cu_access *at, const char **out_condition);
/* C for an element of a buffer (an lvalue) and for its address, swizzled as its alloc says. Lanes
 * are the positions in `around`: x0, x1 ... inside its loops, or what its `at` says, so that a
 * thread can name the place of any element; NULL: the subscripts have none. The place must exist.
 */
const char *tsr_cu_element(tsr_cu *e, tsr_value buffer, const tsr_expr *subscripts,
                           const tsr_cu_tile *around);
const char *tsr_cu_address(tsr_cu *e, tsr_value buffer, const tsr_expr *subscripts,
                           const tsr_cu_tile *around);
const char *tsr_cu_address_of(tsr_cu *e, const char *element);
/* The `swizzle` of the alloc that made a buffer; 0: none. */
uint32_t tsr_cu_swizzle(const tsr_cu *e, tsr_value buffer);
/* Is every element that the tile's positions name inside the buffer? */
bool tsr_cu_never_outside(tsr_cu *e, tsr_value buffer, const tsr_expr *subscripts,
                          const tsr_cu_tile *tile);
/* The longest run, a power of two up to `most`, that an access by `tile` can move at once along an
 * axis: the elements at positions run * i .. run * i + run - 1 are neighbours in memory, the first
 * at a multiple of `run` elements, and either all or none of them are inside the buffer. */
uint32_t tsr_cu_run(tsr_cu *e, tsr_value buffer, const tsr_expr *subscripts,
                    const tsr_cu_tile *tile, uint32_t axis, uint32_t most);

/* --- emit_run.c --- */
/* `run` registers of r<axis> are moved at once, that many bytes. */
typedef struct tsr_cu_run_shape {
  uint32_t axis, run, bytes;
} tsr_cu_run_shape;

/* Where to, in the loops of tsr_cu_begin_runs, and when ("1": always). */
typedef struct tsr_cu_run_place {
  tsr_dtype dtype; /* of the memory */
  bool shared;
  const char *address, *condition;
} tsr_cu_run_place;

void tsr_cu_load_run(tsr_cu *e, const tsr_cu_run_shape *shape, const tsr_cu_tile *into,
                     const tsr_cu_run_place *place, double pad);
/* Declares `run`, with the registers' elements as they are in memory of `dtype`. */
void tsr_cu_gather_run(tsr_cu *e, const tsr_cu_run_shape *shape, const tsr_cu_tile *tile,
                       tsr_dtype dtype);
void tsr_cu_store_run(tsr_cu *e, const tsr_cu_run_shape *shape, const tsr_cu_tile *tile,
                      const tsr_cu_run_place *place);
/* Through the exchange area from the registers of one tile to those of another of its shape; both
 * may be one, then all copies of an element get the owner's. */
void tsr_cu_pass(tsr_cu *e, const tsr_cu_tile *from, const tsr_cu_tile *to);

/* --- emit_access.c --- */
/* Loads a tile into registers of the same layout. */
void tsr_cu_load_tile(tsr_cu *e, const tsr_cu_access *at, const tsr_cu_tile *into, double pad);
void tsr_cu_load(tsr_cu *e);
void tsr_cu_store(tsr_cu *e);
/* A copy by loads and stores of the team's threads, and the layout of the box in them. */
void tsr_cu_copy_plain(tsr_cu *e);
tsr_cu_layout tsr_cu_box_layout(tsr_cu *e, const tsr_cu_tile *box, const tsr_expr *from,
                                const tsr_expr *to);
void tsr_cu_append(tsr_cu *e);

/* --- emit_tile.c --- */
void tsr_cu_elementwise(tsr_cu *e);
void tsr_cu_const(tsr_cu *e);
void tsr_cu_index_tile(tsr_cu *e);
void tsr_cu_transpose(tsr_cu *e);
void tsr_cu_slice(tsr_cu *e);

/* --- emit_contract.c --- */
void tsr_cu_contract(tsr_cu *e);
/* The op's result, which starts as its accumulators: the same variable where nothing else uses
 * them.
 */
const tsr_cu_tile *tsr_cu_accumulators(tsr_cu *e, const tsr_cu_layout *layout);

/* Nobody but the op being emitted reads the value, and every run of the op finds a new one: its
 * variable may be changed. */
bool tsr_cu_used_up(const tsr_cu *e, tsr_value value);
/* How often an op itself, or a region, uses a value: as operand, in subscripts, attributes, bounds.
 */
uint32_t tsr_cu_uses_by(const tsr_cu *e, const tsr_op_data *op, tsr_value value);
uint32_t tsr_cu_uses_in(const tsr_cu *e, tsr_region region, tsr_value value);
/* The same elements in the same places of the array. */
bool tsr_cu_same_order(const tsr_cu_tile *tile, const tsr_cu_layout *layout);

/* --- emit_fragment.c --- */
void tsr_cu_fragment(tsr_cu *e);

/* --- emit_mma.c --- */
void tsr_cu_contract_mma(tsr_cu *e, const tsr_cu_mma *mma);
/* The name of an array with the operand's words as mma takes them. */
const char *tsr_cu_operand_words(tsr_cu *e, uint32_t number, const tsr_cu_mma *mma);

/* --- emit_wgmma.c --- */
void tsr_cu_contract_wgmma(tsr_cu *e, const tsr_cu_mma *mma);
/* At most `pending` of the latest contracts of the team are under way; the accumulators of the
 * others may be used behind it. */
void tsr_cu_wgmma_wait(tsr_cu *e, uint32_t pending);
/* Before the value of a tile is used: waits if a contract may still be writing it. */
void tsr_cu_wgmma_settle(tsr_cu *e, const tsr_cu_tile *tile);
/* `tile` holds accumulators of wgmma; those whose variables have gone are none any more. */
void tsr_cu_wgmma_note(tsr_cu *e, const tsr_cu_tile *tile);
void tsr_cu_wgmma_forget(tsr_cu *e);

/* --- emit_reduce.c --- */
void tsr_cu_reduce(tsr_cu *e);

/* --- emit_turns.c --- */
/* Around every op of a region: in front of the first of a chain that is to be done in turns, and
 * behind its last one. */
void tsr_cu_turns_begin(tsr_cu *e, tsr_region region, tsr_op first);
void tsr_cu_turns_end(tsr_cu *e, tsr_op id);

/* --- emit_control.c --- */
void tsr_cu_region(tsr_cu *e, tsr_region region, const tsr_cu_sink *sink);
void tsr_cu_for(tsr_cu *e);
void tsr_cu_if(tsr_cu *e);
void tsr_cu_loop(tsr_cu *e);

/* --- emit_stages.c --- */
/* The text of a loop: its variable and that one's C type, bounds without side effects. */
typedef struct tsr_cu_loop_text {
  const char *type, *index, *lo, *end;
  int64_t step;
} tsr_cu_loop_text;
/* In front of the loop of op e->op_id: the copies that run ahead. False: there are none, and no
 * tsr_cu_pipeline_end is to follow behind the body. */
bool tsr_cu_pipeline_start(tsr_cu *e, const tsr_cu_loop_text *loop);
void tsr_cu_pipeline_end(tsr_cu *e);
/* Is the op (a barrier or a wait) the one where the turn's copies are complete? Then the wait for
 * them has been written. */
bool tsr_cu_turn_begins(tsr_cu *e);
/* Behind a barrier: copies of later turns may start. */
void tsr_cu_turn_goes_on(tsr_cu *e);

/* --- emit_copy.c --- */
/* The box of a copy, and the subscripts of both sides over its lanes. */
void tsr_cu_copy_box(tsr_cu *e, tsr_cu_tile *out_box, tsr_expr *out_from, tsr_expr *out_to);
/* Where index tiles in the subscripts of copy `id` have to lie; false: there are none. */
bool tsr_cu_copy_wants(tsr_cu *e, tsr_op id, tsr_cu_layout *out_layout);
void tsr_cu_copy(tsr_cu *e);

/* --- emit_decode.c --- */
void tsr_cu_decode(tsr_cu *e);
void tsr_cu_relayout_op(tsr_cu *e);
/* The layout in which an operand of decode or relayout has what the result's layout needs; false:
 * there is none. */
bool tsr_cu_decode_wants(tsr_cu *e, tsr_op id, uint32_t operand, const tsr_cu_layout *result,
                         tsr_cu_layout *out_layout);

/* --- emit_sync.c --- */
void tsr_cu_survey_sync(tsr_cu *e, tsr_region region);
/* Of the team; orders its memory accesses. */
void tsr_cu_barrier(tsr_cu *e);
void tsr_cu_cluster_barrier(tsr_cu *e);
void tsr_cu_barrier_op(tsr_cu *e);
void tsr_cu_arrive(tsr_cu *e);
void tsr_cu_wait(tsr_cu *e);
/* The address of operand `number`, an mbarrier. */
const char *tsr_cu_mbarrier_operand(tsr_cu *e, uint32_t number);
/* The op's `multicast` as bits; NULL: none. `out_all`: every rank of the cluster. */
const char *tsr_cu_multicast(tsr_cu *e, bool *out_all);
void tsr_cu_start_mbarriers(tsr_cu *e, const tsr_value *mbarriers, uint32_t count);

/* --- emit_roles.c --- */
void tsr_cu_roles(tsr_cu *e);
uint32_t tsr_cu_role_warps(tsr_cu *e, tsr_op roles, uint32_t number);
/* Only waits, arrives and TMA copies: one thread runs it. */
bool tsr_cu_role_is_single(tsr_cu *e, tsr_region region);
/* The team is role `number` until tsr_cu_leave_role; whoever chooses layouts in its region calls
 * them too. */
void tsr_cu_enter_role(tsr_cu *e, tsr_op roles, uint32_t number, tsr_cu_team *out_outer);
void tsr_cu_leave_role(tsr_cu *e, const tsr_cu_team *outer);

/* --- emit_kernel.c --- */
TSR_WARN_UNUSED tsr_status tsr_cu_kernel(tsr_ir *ir, tsr_op kernel, const tsr_target *target,
                                         tsr_arena *scratch, tsr_arena *result, tsr_diag *diag,
                                         tsr_cuda_kernel *out_kernel);

#endif
