/* The IR of all levels: graph, block, plan and tile programs are the same ops, values, regions and
 * index expressions under other rules (ops.def says which op may stand at which level). Ids are
 * small integers, 0 is none/poison; node storage never moves, so the const pointers returned here
 * stay valid until tsr_ir_destroy. One tsr_ir per thread. */
#ifndef TSR_IR_IR_H
#define TSR_IR_IR_H
#include "ir/expr.h"
#include "runtime/arena.h"
#include "runtime/diag.h"
#include <tessera/allocator.h>
#include <tessera/dtype.h>

typedef uint32_t tsr_op;
typedef uint32_t tsr_region;
typedef uint32_t tsr_type;

/* The memory level that a value lives at. NONE: index variables. */
typedef enum tsr_level {
  TSR_LEVEL_NONE,
  TSR_LEVEL_GLOBAL,  /* `f32[N, 4]` */
  TSR_LEVEL_L2,      /* `l2 f32[64, 64]` */
  TSR_LEVEL_CLUSTER, /* `cluster f32[...]`: distributed shared memory */
  TSR_LEVEL_L1,      /* `l1 f32[...]`: shared memory on CUDA, core-private scratch on a CPU */
  TSR_LEVEL_REG,     /* `reg f32[14, 32]` a tile; `f32` (rank 0) a scalar of a block body */
  /* Not memory, but what the host keeps of tensors (ops of kind HOST): */
  TSR_LEVEL_LIST,      /* `list f32[N, 4]` */
  TSR_LEVEL_MAYBE,     /* `maybe f32[N, 4]` */
  TSR_LEVEL_MAYBE_LIST /* `maybe list f32[N, 4]` */
} tsr_level;

/* The rank of a list whose items may have any: `list f32[..]`. Its type has no dims. */
#define TSR_RANK_ANY UINT32_MAX

typedef struct tsr_type_info {
  tsr_level level;
  tsr_dtype dtype; /* TSR_DTYPE_NONE for `index` */
  uint32_t rank;
  const tsr_expr *dims; /* tsr_type_dim_count of them */
} tsr_type_info;

/* How many dims the type has: its rank, 0 for items of any rank. */
static inline uint32_t tsr_type_dim_count(const tsr_type_info *type) {
  return type->rank == TSR_RANK_ANY ? 0 : type->rank;
}

/* A list or a maybe: nothing that a graph can compute with. */
static inline bool tsr_type_of_host(const tsr_type_info *type) {
  return type->level >= TSR_LEVEL_LIST;
}

/* Opcodes, from the one list. */
typedef enum tsr_opcode {
  TSR_OP_NONE,
#define TSR_OP(name, text, levels, min_operands, max_operands, results, regions, kind, attrs)      \
  TSR_OP_##name,
#include "ir/ops.def"
#undef TSR_OP
  TSR_OP_COUNT
} tsr_opcode;

/* Levels of ops.def. */
enum {
  TSR_AT_TOP = 1,   /* beside graphs and kernels in a file */
  TSR_AT_GRAPH = 2, /* in a graph's region */
  TSR_AT_BLOCK = 4, /* in a block's or proc's body */
  TSR_AT_TILE = 8,  /* in a kernel's body */
  TSR_AT_PLAN = 16, /* in a plan's body */
  TSR_AT_MODEL = 32 /* in a model's region */
};

typedef enum tsr_op_kind {
  TSR_KIND_STRUCTURE, /* containers, control flow, terminators */
  TSR_KIND_SOURCE,    /* input, const, iota, index */
  TSR_KIND_UNARY,     /* elementwise on scalars, tiles and tensors */
  TSR_KIND_BINARY,
  TSR_KIND_COMPARE,
  TSR_KIND_TERNARY,
  TSR_KIND_VIEW,    /* moves elements, computes nothing */
  TSR_KIND_REDUCE,  /* reductions, contractions, windows */
  TSR_KIND_INDEXED, /* gathers and scatters */
  TSR_KIND_MEMORY,  /* load, store, alloc, copies */
  TSR_KIND_SYNC,    /* barriers and pipelines */
  TSR_KIND_HOST,    /* calls of graphs; lists, maybes and texts */
  TSR_KIND_OTHER
} tsr_op_kind;

typedef struct tsr_op_info {
  const char *text;
  uint32_t levels;
  int min_operands, max_operands; /* max -1: any number */
  int results, regions;           /* -1: any number */
  tsr_op_kind kind;
  const char *attrs; /* "axis:int value:float? ..." what the verifier demands; `?` optional */
} tsr_op_info;

const tsr_op_info *tsr_opcode_info(tsr_opcode code);
tsr_opcode tsr_opcode_parse(const char *text, size_t length);
/* UNARY, BINARY, COMPARE or TERNARY. */
bool tsr_opcode_elementwise(tsr_opcode code);

typedef enum tsr_attr_kind {
  TSR_ATTR_INT,
  TSR_ATTR_FLOAT,
  TSR_ATTR_BOOL,
  TSR_ATTR_STRING,
  TSR_ATTR_SYMBOL, /* @name */
  TSR_ATTR_DTYPE,
  TSR_ATTR_EXPR,    /* one index expression that is not a plain integer */
  TSR_ATTR_EXPRS,   /* [e, e, ...]; a list of integers is one of these */
  TSR_ATTR_NUMBERS, /* [0.5, 1, -inf] floats: only in const {value = [...]} */
  TSR_ATTR_STRINGS
} tsr_attr_kind;

typedef struct tsr_attr {
  const char *key; /* interned: equal keys are equal pointers within one IR */
  tsr_attr_kind kind;
  uint32_t count; /* of lists */
  union {
    int64_t integer;
    double number;
    bool boolean;
    const char *string; /* STRING, SYMBOL */
    tsr_dtype dtype;
    tsr_expr expr;
    const tsr_expr *exprs;
    const double *numbers;
    const char *const *strings;
  } u;
} tsr_attr;

/* A used value, `%x`, or an element of it, `%x[i*2 + $1, k]`. */
typedef struct tsr_operand {
  tsr_value value;
  bool subscripted;
  uint32_t subscript_count;
  const tsr_expr *subscripts;
} tsr_operand;

typedef struct tsr_op_data {
  tsr_opcode code;
  tsr_region parent;
  tsr_op prev, next; /* in the parent region's list */
  uint32_t operand_count, result_count, region_count, attr_count, origin_count;
  tsr_operand *operands;
  tsr_value *results;
  tsr_region *regions;
  tsr_attr *attrs;
  const char *symbol;         /* the name after @, or NULL */
  const char *const *origins; /* ONNX node names this op came from, sorted and unique */
  uint32_t line;              /* in the text it was parsed from, or 0 */
} tsr_op_data;

/* What a region argument is. */
typedef enum tsr_arg_role {
  TSR_ROLE_RESULT,  /* not an argument: result of an op */
  TSR_ROLE_PAR,     /* index variables: par(...) */
  TSR_ROLE_RED,     /* red(...) */
  TSR_ROLE_GRID,    /* grid(...) */
  TSR_ROLE_LOOP,    /* for %i in lo..hi step s */
  TSR_ROLE_CARRIED, /* carry(%a = %init): starts as the op's operand of the same position */
  TSR_ROLE_IN,      /* kernel arguments */
  TSR_ROLE_OUT,
  TSR_ROLE_INOUT,
  TSR_ROLE_PLAIN /* combiner regions: (%a, %b) */
} tsr_arg_role;

typedef struct tsr_value_data {
  tsr_type type;
  tsr_op def;        /* the op whose result or region argument it is */
  tsr_region region; /* 0 for results */
  uint32_t number;   /* among results or region arguments */
  tsr_arg_role role;
  tsr_expr lo, hi, step; /* index variables: lo, lo+step, ... < hi; step is a positive integer */
  const char *name;      /* "acc" printed as %acc; NULL: printed as a number */
} tsr_value_data;

typedef struct tsr_region_data {
  tsr_op parent;
  tsr_op first, last;
  uint32_t arg_count;
  tsr_value *args;
} tsr_region_data;

/* A symbolic dim, or one that the device computes (`from device`), with its inclusive bounds.
 * `hint` is its typical value. */
typedef struct tsr_dim_data {
  const char *name;
  int64_t lo, hi, hint;
  tsr_expr bound; /* from device: upper bound as an expression of other dims, else 0 */
  bool from_device;
} tsr_dim_data;

/* Bytes of a constant. `data` belongs to the IR's arena or to a mapping that outlives the IR. */
typedef struct tsr_const_data {
  tsr_dtype dtype;
  const void *data; /* dense row-major; NULL when the text left the bytes out (elided) */
  uint64_t bytes;
  uint64_t hash; /* tsr_hash64 of the bytes */
} tsr_const_data;

/* --- life --- */
TSR_WARN_UNUSED tsr_status tsr_ir_create(const tsr_allocator *allocator, tsr_ir **out_ir);
void tsr_ir_destroy(tsr_ir *ir);
/* The first failure of any builder call; sticky. */
tsr_status tsr_ir_status(const tsr_ir *ir);
tsr_diag *tsr_ir_diag(tsr_ir *ir);
/* Poisons: records the failure and returns 0. */
uint32_t tsr_ir_poison(tsr_ir *ir, tsr_status status, const char *format, ...) TSR_PRINTF(3, 4);
/* Memory that lives as long as the IR. */
tsr_arena *tsr_ir_arena(tsr_ir *ir);
const tsr_allocator *tsr_ir_allocator(const tsr_ir *ir);
/* The one copy of a string in this IR. */
const char *tsr_ir_intern(tsr_ir *ir, const char *text);
const char *tsr_ir_intern_n(tsr_ir *ir, const char *text, size_t length);

/* --- dims, types, constants --- */
tsr_dim tsr_dim_add(tsr_ir *ir, const char *name, int64_t lo, int64_t hi, int64_t hint);
/* A dim that is known only when the device has computed it; `bound` is its upper bound. */
tsr_dim tsr_dim_add_device(tsr_ir *ir, const char *name, tsr_expr bound);
tsr_dim tsr_dim_find(const tsr_ir *ir, const char *name);
const tsr_dim_data *tsr_dim_get(const tsr_ir *ir, tsr_dim dim);
uint32_t tsr_dim_count(const tsr_ir *ir); /* ids 1..count */
tsr_type tsr_type_make(tsr_ir *ir, tsr_level level, tsr_dtype dtype, const tsr_expr *dims,
                       uint32_t rank);
tsr_type tsr_type_index(tsr_ir *ir);
const tsr_type_info *tsr_type_get(const tsr_ir *ir, tsr_type type);
/* The product of the dims. */
tsr_expr tsr_type_elements(tsr_ir *ir, tsr_type type);
/* Adds a constant; bytes are copied when `copy`, else kept by reference. Returns its number + 1. */
uint32_t tsr_const_add(tsr_ir *ir, tsr_dtype dtype, const void *data, uint64_t bytes, bool copy);
const tsr_const_data *tsr_const_get(const tsr_ir *ir, uint32_t constant);

/* --- building: append to a region, or insert before an op. The top region holds graphs, kernels,
 * plans. --- */
tsr_region tsr_ir_top(const tsr_ir *ir);
tsr_op tsr_op_append(tsr_ir *ir, tsr_region region, tsr_opcode code);
tsr_op tsr_op_insert_before(tsr_ir *ir, tsr_op before, tsr_opcode code);
void tsr_op_move_before(tsr_ir *ir, tsr_op op, tsr_op before);
/* Unlinks an op (its results must be unused). */
void tsr_op_erase(tsr_ir *ir, tsr_op op);
void tsr_op_add_operand(tsr_ir *ir, tsr_op op, tsr_value value);
void tsr_op_add_element(tsr_ir *ir, tsr_op op, tsr_value value, const tsr_expr *subscripts,
                        uint32_t count);
void tsr_op_set_operand(tsr_ir *ir, tsr_op op, uint32_t number, tsr_value value);
void tsr_op_set_element(tsr_ir *ir, tsr_op op, uint32_t number, tsr_value value,
                        const tsr_expr *subscripts, uint32_t count);
tsr_value tsr_op_add_result(tsr_ir *ir, tsr_op op, tsr_type type);
tsr_region tsr_op_add_region(tsr_ir *ir, tsr_op op);
tsr_value tsr_region_add_arg(tsr_ir *ir, tsr_region region, tsr_arg_role role, tsr_type type);
/* An index variable over lo, lo+step, ... < hi. */
tsr_value tsr_region_add_index(tsr_ir *ir, tsr_region region, tsr_arg_role role, tsr_expr lo,
                               tsr_expr hi, int64_t step);
void tsr_op_set_symbol(tsr_ir *ir, tsr_op op, const char *symbol);
void tsr_op_add_origin(tsr_ir *ir, tsr_op op, const char *node_name);
void tsr_op_copy_origins(tsr_ir *ir, tsr_op to, tsr_op from);
void tsr_value_set_name(tsr_ir *ir, tsr_value value, const char *name);
void tsr_value_set_type(tsr_ir *ir, tsr_value value, tsr_type type);
void tsr_value_replace_all(tsr_ir *ir, tsr_value from, tsr_value to); /* operands and subscripts */

void tsr_op_set_int(tsr_ir *ir, tsr_op op, const char *key, int64_t number);
void tsr_op_set_float(tsr_ir *ir, tsr_op op, const char *key, double number);
void tsr_op_set_bool(tsr_ir *ir, tsr_op op, const char *key, bool boolean);
void tsr_op_set_string(tsr_ir *ir, tsr_op op, const char *key, const char *text);
void tsr_op_set_symbol_attr(tsr_ir *ir, tsr_op op, const char *key, const char *symbol);
void tsr_op_set_dtype(tsr_ir *ir, tsr_op op, const char *key, tsr_dtype dtype);
void tsr_op_set_expr(tsr_ir *ir, tsr_op op, const char *key, tsr_expr expr);
void tsr_op_set_exprs(tsr_ir *ir, tsr_op op, const char *key, const tsr_expr *exprs,
                      uint32_t count);
void tsr_op_set_ints(tsr_ir *ir, tsr_op op, const char *key, const int64_t *numbers,
                     uint32_t count);
void tsr_op_set_attr(tsr_ir *ir, tsr_op op, const tsr_attr *attr);
void tsr_op_remove_attr(tsr_ir *ir, tsr_op op, const char *key);

/* --- reading --- */
const tsr_op_data *tsr_op_get(const tsr_ir *ir, tsr_op op);
const tsr_value_data *tsr_value_get(const tsr_ir *ir, tsr_value value);
const tsr_region_data *tsr_region_get(const tsr_ir *ir, tsr_region region);
const tsr_type_info *tsr_value_type(const tsr_ir *ir, tsr_value value);
uint32_t tsr_op_count(const tsr_ir *ir);    /* ids 1..count, erased ones included */
uint32_t tsr_value_count(const tsr_ir *ir); /* ids 1..count */
const tsr_attr *tsr_op_attr(const tsr_ir *ir, tsr_op op, const char *key); /* NULL: absent */
int64_t tsr_op_int(const tsr_ir *ir, tsr_op op, const char *key, int64_t otherwise);
double tsr_op_float(const tsr_ir *ir, tsr_op op, const char *key, double otherwise);
bool tsr_op_bool(const tsr_ir *ir, tsr_op op, const char *key, bool otherwise);
const char *tsr_op_string(const tsr_ir *ir, tsr_op op, const char *key); /* NULL: absent */
/* Reads a list of plain integers; false when absent, of another kind, or longer than `capacity`. */
bool tsr_op_ints(const tsr_ir *ir, tsr_op op, const char *key, int64_t *out, uint32_t capacity,
                 uint32_t *out_count);
tsr_op tsr_ir_find_symbol(const tsr_ir *ir, const char *symbol); /* top-level op @symbol, or 0 */
/* Number of uses per value over the whole IR (subscripts included): `out_counts` has
 * tsr_value_count + 1 entries. */
void tsr_ir_count_uses(const tsr_ir *ir, uint32_t *out_counts);
#define TSR_FOR_EACH_OP(ir, region, op)                                                            \
  for (tsr_op op = tsr_region_get(ir, region)->first; op != 0; op = tsr_op_get(ir, op)->next)

/* --- text (grammar: ir/README.md) --- */
TSR_WARN_UNUSED tsr_status tsr_ir_parse(const tsr_allocator *allocator, const char *text,
                                        size_t length, const char *file_name, tsr_diag *diag,
                                        tsr_ir **out_ir);
/* Terminated text allocated from `arena`; NULL when memory is out. Constants over 64 elements are
 * elided to their hash. */
char *tsr_ir_print(const tsr_ir *ir, tsr_arena *arena);
char *tsr_op_print(const tsr_ir *ir, tsr_op op, tsr_arena *arena);
char *tsr_expr_print(const tsr_ir *ir, tsr_expr expr, tsr_arena *arena);
char *tsr_type_print(const tsr_ir *ir, tsr_type type, tsr_arena *arena);

/* --- verification --- */
/* Checks every op against its row and its level's rules (verify.c has the table): TSR_ERR_VERIFY
 * with op, line and reason. */
TSR_WARN_UNUSED tsr_status tsr_ir_verify(const tsr_ir *ir, tsr_diag *diag);

/* --- copying and hashing --- */
/* Appends a deep copy of `op` to `region`; values mapped by `map` (tsr_value_count + 1 entries at
 * call time, 0 = itself). */
tsr_op tsr_op_clone(tsr_ir *ir, tsr_op op, tsr_region region, tsr_value *map, uint32_t map_size);
/* The workload hash of a graph, block, group or kernel op: structure, types, dims' bounds,
 * attributes; not names, origins, constants' bytes or the printer's form. Versioned:
 * TSR_HASH_VERSION is mixed in. */
enum { TSR_HASH_VERSION = 1 };
uint64_t tsr_op_workload_hash(const tsr_ir *ir, tsr_op op);

#endif
