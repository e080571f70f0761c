/* What fusion asks of one block: its domain, what it does with it, what it costs. */
#ifndef TSR_PASSES_BLOCK_INFO_H
#define TSR_PASSES_BLOCK_INFO_H
#include "passes/point.h"

typedef enum tsr_block_kind {
  TSR_BLOCK_OTHER,    /* not a block: proc, group, graph op */
  TSR_BLOCK_MAP,      /* no reduce axis */
  TSR_BLOCK_REDUCE,   /* reduces what it reads once */
  TSR_BLOCK_CONTRACT, /* sums products of operands that are read again and again */
} tsr_block_kind;

typedef struct tsr_block_info {
  tsr_op op;
  tsr_region body;
  tsr_block_kind kind;
  uint32_t op_count, load_count, result_count;
  bool indirect; /* holds a gather */
  double points; /* of the whole domain, at the dims' hints */
  double par_points;
  double cost; /* of one point of a map, in elementwise operations */
} tsr_block_info;

tsr_block_info tsr_block_describe(tsr_ir *ir, tsr_op op);
/* True when `op` of the body feeds a reduce: it runs at every (par, red) point. */
bool tsr_block_feeds_reduce(const tsr_ir *ir, tsr_region body, tsr_op op);
/* The only store to `result`, or 0 when there is none or several. */
tsr_op tsr_block_store_of(const tsr_ir *ir, tsr_region body, tsr_value result);
bool tsr_op_is_load(const tsr_ir *ir, tsr_op op);
bool tsr_op_is_store(const tsr_ir *ir, tsr_op op);
/* True when an operand or subscript of `op` names `value`. */
bool tsr_op_reads(const tsr_ir *ir, tsr_op op, tsr_value value);
/* The elements of a type at the dims' hints. */
double tsr_hinted_elements(tsr_ir *ir, const tsr_type_info *type);
double tsr_hinted(tsr_ir *ir, tsr_expr expr);
#endif
