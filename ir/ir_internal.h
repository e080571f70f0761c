/* What the files of this folder share and nobody else includes: storage, the slots behind ids, sums
 * of index terms. */
#ifndef TSR_IR_IR_INTERNAL_H
#define TSR_IR_IR_INTERNAL_H
#include "ir/ir.h"

/* Items of one size in chunks that never move; ids 1..count, slot 0 is unused. */
typedef struct tsr_store {
  void **chunks;
  uint32_t chunk_count, chunk_capacity;
  uint32_t count;
  uint32_t item_size;
} tsr_store;

/* Open addressing from a hash to ids or to anything else that fits 32 bits; 0 is empty. */
typedef struct tsr_id_table {
  uint32_t *ids;
  uint32_t capacity, used;
} tsr_id_table;

typedef struct tsr_string_slot {
  const char *text;
  size_t length;
  uint32_t hash;
} tsr_string_slot;

/* lo and hi: constant interval without lane extents. `size` counts the nodes of the printed tree,
 * `depth` its nesting; both are bounded so that recursion over an expression always is.
 * `leaves` has one bit per leaf kind. */
typedef struct tsr_expr_slot {
  tsr_expr_node node;
  int64_t lo, hi;
  uint32_t hash;
  uint32_t size;
  uint8_t leaves;
  uint8_t depth;
} tsr_expr_slot;

typedef struct tsr_type_slot {
  tsr_type_info info;
  uint32_t hash;
} tsr_type_slot;

typedef struct tsr_op_slot {
  tsr_op_data data;
  bool erased;
} tsr_op_slot;

/* `uses` counts operands, and occurrences in subscripts, attributes and bounds (an expression that
 * holds the value several times counts as often as it is printed). */
typedef struct tsr_value_slot {
  tsr_value_data data;
  uint32_t uses;
  tsr_expr expr;
  tsr_expr last; /* index variables: the greatest value as an expression, once asked for */
} tsr_value_slot;

typedef struct tsr_dim_slot {
  tsr_dim_data data;
  tsr_expr expr;
  bool hint_given;
} tsr_dim_slot;

struct tsr_ir {
  const tsr_allocator *allocator;
  tsr_arena arena;
  tsr_diag diag;
  tsr_status status;
  tsr_store strings, exprs, types, dims, consts, ops, values, regions;
  tsr_id_table string_table, expr_table, type_table;
  tsr_region top;
  uint32_t quiet;       /* > 0: limits and overflow of index arithmetic give 0 without poisoning */
  uint32_t proof_depth; /* > 0: inside a proof, which starts no other one */
  bool ranges_changed;  /* expressions may be simpler if they were built again */
};

enum {
  TSR_EXPR_MAX_SIZE = 8192,
  TSR_EXPR_MAX_DEPTH = 96,
  TSR_SUM_MAX_TERMS = 128,
  TSR_EXPR_MAX_FACTORS = 16
};

/* --- storage --- */
/* The new item's id with the item zeroed, or 0 when memory is out (the IR is poisoned). */
uint32_t tsr_store_add(tsr_ir *ir, tsr_store *store, void **out_item);
void *tsr_store_at(const tsr_store *store, uint32_t id);
/* Room for one more item behind `count` of them in an array of the arena; NULL when memory is out.
 */
void *tsr_array_grow(tsr_ir *ir, void *items, uint32_t count, size_t item_size);
/* Makes room for one more entry and calls `hash_of` to place the old ones anew. */
bool tsr_table_reserve(tsr_ir *ir, tsr_id_table *table,
                       uint32_t (*hash_of)(const tsr_ir *ir, uint32_t id));
void *tsr_ir_alloc(tsr_ir *ir, size_t size);
void *tsr_ir_copy(tsr_ir *ir, const void *data, size_t size);
uint32_t tsr_mix(uint32_t hash, uint64_t more);

tsr_expr_slot *tsr_expr_slot_of(const tsr_ir *ir, tsr_expr expr);
tsr_op_slot *tsr_op_slot_of(const tsr_ir *ir, tsr_op op);
tsr_value_slot *tsr_value_slot_of(const tsr_ir *ir, tsr_value value);
tsr_region_data *tsr_region_slot_of(const tsr_ir *ir, tsr_region region);
tsr_dim_slot *tsr_dim_slot_of(const tsr_ir *ir, tsr_dim dim);

/* A result whose type is set later: the parser meets types last. */
tsr_value tsr_op_add_untyped_result(tsr_ir *ir, tsr_op op);
/* Counts the values that `expr` mentions as used (delta 1) or no longer used (delta -1). */
void tsr_expr_count_uses(tsr_ir *ir, tsr_expr expr, int delta);
void tsr_attr_count_uses(tsr_ir *ir, const tsr_attr *attr, int delta);
/* The place of `key` in the op's attributes, which are in key order. */
tsr_attr *tsr_attr_find(const tsr_ir *ir, tsr_op op, const char *key);

/* --- expressions --- */
typedef struct tsr_sum_term {
  tsr_expr atom; /* a leaf, a compound, or a product of those; never an integer or a sum */
  int64_t factor;
} tsr_sum_term;

/* constant + sum of factor * atom; atoms are distinct, in no order. `status` keeps the first
 * overflow or excess of terms. */
typedef struct tsr_sum {
  int64_t constant;
  uint32_t count;
  tsr_status status;
  tsr_sum_term terms[TSR_SUM_MAX_TERMS];
} tsr_sum;

void tsr_sum_init(tsr_sum *sum);
void tsr_sum_add_int(tsr_sum *sum, int64_t number);
void tsr_sum_add_term(tsr_sum *sum, tsr_expr atom, int64_t factor);
void tsr_sum_add_expr(const tsr_ir *ir, tsr_sum *sum, tsr_expr expr, int64_t factor);
void tsr_sum_remove(tsr_sum *sum, uint32_t number);
void tsr_sum_copy(tsr_sum *to, const tsr_sum *from);
tsr_expr tsr_sum_expr(tsr_ir *ir, tsr_sum *sum);

/* Index arithmetic that cannot be carried out: poisons, unless a proof only tried. */
tsr_expr tsr_expr_refuse(tsr_ir *ir, tsr_status status, const char *what);
/* The node (op, a, b), simplified by nobody. */
tsr_expr tsr_expr_node_make(tsr_ir *ir, tsr_index_op op, tsr_expr a, tsr_expr b);
tsr_expr tsr_expr_divide(tsr_ir *ir, tsr_index_op op, tsr_expr a, tsr_expr b);
tsr_expr tsr_expr_min_max(tsr_ir *ir, tsr_index_op op, tsr_expr a, tsr_expr b);
tsr_expr tsr_expr_compare_op(tsr_ir *ir, tsr_index_op op, tsr_expr a, tsr_expr b);
tsr_expr tsr_expr_logic(tsr_ir *ir, tsr_index_op op, tsr_expr a, tsr_expr b);
/* The stable order of atoms: dims, values, compounds, lanes, integers. */
int tsr_expr_order(const tsr_ir *ir, tsr_expr a, tsr_expr b);
/* The factors of a product in order; at most TSR_EXPR_MAX_FACTORS. */
uint32_t tsr_expr_factors(const tsr_ir *ir, tsr_expr atom, tsr_expr *out_factors);
/* The product of factors, which need not be in order. */
tsr_expr tsr_expr_product(tsr_ir *ir, tsr_expr *factors, uint32_t count);
/* What is known to divide `expr`; 0 when it is 0. */
int64_t tsr_expr_content(const tsr_ir *ir, tsr_expr expr);
/* True when a - b - gap >= 0 is proven without lane extents. */
bool tsr_expr_proves_difference(tsr_ir *ir, tsr_expr a, tsr_expr b, int64_t gap);
/* Replaces leaves by what `map` gives for them (0 fails). */
typedef tsr_expr tsr_leaf_map(tsr_ir *ir, void *context, tsr_expr leaf);
tsr_expr tsr_expr_rewrite(tsr_ir *ir, tsr_expr expr, unsigned leaf_mask, tsr_leaf_map *map,
                          void *context);

typedef struct tsr_interval {
  int64_t lo, hi; /* INT64_MIN, INT64_MAX: unbounded */
} tsr_interval;
tsr_interval tsr_interval_apply(tsr_index_op op, tsr_interval a, tsr_interval b);
/* The interval of a node from those of its operands and the ranges of its leaf. */
tsr_interval tsr_expr_leaf_interval(const tsr_ir *ir, const tsr_expr_node *node);
/* After ranges of dims or index variables changed: intervals of all expressions anew. */
void tsr_expr_refresh_intervals(tsr_ir *ir);
int64_t tsr_gcd(int64_t a, int64_t b);

#define TSR_LEAF_BIT(op) (1u << (op))

#endif
