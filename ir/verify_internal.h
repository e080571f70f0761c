/* Shared by verify.c (structure, visibility, rows) and verify_rules.c (single ops). */
#ifndef TSR_IR_VERIFY_INTERNAL_H
#define TSR_IR_VERIFY_INTERNAL_H
#include "ir/ir.h"

/* States of tsr_verifier.visible: not in sight, in sight, and gone: a launch's `alias` took its
 * memory. */
enum { TSR_VERIFY_HIDDEN, TSR_VERIFY_VISIBLE, TSR_VERIFY_TAKEN };

typedef struct tsr_verifier {
  tsr_ir *ir;
  tsr_diag *diag;
  uint8_t *visible; /* by value */
  uint64_t *varies; /* by value: the red indices of the block at hand it depends on */
  uint32_t levels;  /* of the region at hand: one of TSR_AT_ */
  tsr_op container; /* the innermost graph, kernel, plan, block or proc around the op at hand */
  unsigned depth;
} tsr_verifier;

/* Records the reason with the op's line and origin; returns the status. */
tsr_status tsr_verify_fail(tsr_verifier *v, tsr_op op, const char *format, ...) TSR_PRINTF(3, 4);
/* Everything about one op that its row and its regions do not say. Its regions were verified. */
TSR_WARN_UNUSED tsr_status tsr_verify_op(tsr_verifier *v, tsr_op op);
/* Text of a type for messages; lives as long as the IR. */
const char *tsr_verify_type_text(tsr_verifier *v, tsr_type type);

/* --- shared by the rules --- */

#define CACHE_WORDS "streaming keep"

static inline const tsr_op_data *data_of(const tsr_verifier *v, tsr_op op) {
  return tsr_op_get(v->ir, op);
}

static inline const tsr_type_info *operand_type(const tsr_verifier *v, tsr_op op, uint32_t number) {
  return tsr_value_type(v->ir, data_of(v, op)->operands[number].value);
}

static inline const tsr_type_info *result_type(const tsr_verifier *v, tsr_op op, uint32_t number) {
  return tsr_value_type(v->ir, data_of(v, op)->results[number]);
}

static inline tsr_op parent_of(const tsr_verifier *v, tsr_op op) {
  return tsr_region_get(v->ir, data_of(v, op)->parent)->parent;
}

bool tsr_verify_same_shape(const tsr_type_info *a, const tsr_type_info *b); /* but for the level */
bool tsr_verify_is_integer(tsr_dtype dtype);
const char *tsr_verify_value_text(tsr_verifier *v, tsr_value value);
/* The attribute, if there is one, is a word of the list. */
TSR_WARN_UNUSED tsr_status tsr_verify_word(tsr_verifier *v, tsr_op op, const char *key,
                                           const char *words);
tsr_status tsr_verify_dtypes(tsr_verifier *v, tsr_op op); /* fails: they do not fit */
/* The operand is a scalar or a tile; the result is. */
TSR_WARN_UNUSED tsr_status tsr_verify_register(tsr_verifier *v, tsr_op op, uint32_t number);
TSR_WARN_UNUSED tsr_status tsr_verify_result_level(tsr_verifier *v, tsr_op op, uint32_t number);
/* All lanes are below `rank`. */
bool tsr_verify_lanes_below(const tsr_verifier *v, tsr_expr expr, uint32_t rank);
/* The operand's subscripts fit a tile or box of these extents. */
TSR_WARN_UNUSED tsr_status tsr_verify_subscripts(tsr_verifier *v, tsr_op op, uint32_t number,
                                                 const tsr_expr *extents, uint32_t tile_rank,
                                                 bool indirect);
/* The operand may be written here. */
TSR_WARN_UNUSED tsr_status tsr_verify_target(tsr_verifier *v, tsr_op op, uint32_t number);

/* The attributes of an op of kind HOST against its types (verify_host.c). */
TSR_WARN_UNUSED tsr_status tsr_verify_host_attrs(tsr_verifier *v, tsr_op op);

/* --- rules of verify_tile.c --- */

TSR_WARN_UNUSED tsr_status tsr_verify_alloc(tsr_verifier *v, tsr_op op);
TSR_WARN_UNUSED tsr_status tsr_verify_copy(tsr_verifier *v, tsr_op op);
TSR_WARN_UNUSED tsr_status tsr_verify_fragment(tsr_verifier *v, tsr_op op);
TSR_WARN_UNUSED tsr_status tsr_verify_contract(tsr_verifier *v, tsr_op op);
TSR_WARN_UNUSED tsr_status tsr_verify_tile_transpose(tsr_verifier *v, tsr_op op);
TSR_WARN_UNUSED tsr_status tsr_verify_tile_slice(tsr_verifier *v, tsr_op op);
TSR_WARN_UNUSED tsr_status tsr_verify_tile_relayout(tsr_verifier *v, tsr_op op);
TSR_WARN_UNUSED tsr_status tsr_verify_decode(tsr_verifier *v, tsr_op op);
TSR_WARN_UNUSED tsr_status tsr_verify_roles(tsr_verifier *v, tsr_op op);
TSR_WARN_UNUSED tsr_status tsr_verify_barrier(tsr_verifier *v, tsr_op op);
TSR_WARN_UNUSED tsr_status tsr_verify_mbarrier(tsr_verifier *v, tsr_op op);
TSR_WARN_UNUSED tsr_status tsr_verify_arrive(tsr_verifier *v, tsr_op op);
TSR_WARN_UNUSED tsr_status tsr_verify_wait(tsr_verifier *v, tsr_op op);

#endif
