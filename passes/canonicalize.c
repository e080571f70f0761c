#include "passes/canonicalize.h"

enum { DEFAULT_FOLD_ELEMENTS = 65536, MAX_ROUNDS = 8 };

/* Rules feed folding, folding feeds sharing, sharing leaves dead ops behind; until nothing moves.
 */
static tsr_status canonicalize_region(tsr_ir *ir, tsr_region region, int64_t limit, uint64_t narrow,
                                      tsr_diag *diag) {
  bool changed = true;
  for (uint32_t round = 0; round < MAX_ROUNDS && changed; round++) {
    bool folded = false, shared = false, dropped = false;
    changed = tsr_simplify_region(ir, region);
    if (limit >= 0)
      TSR_TRY(tsr_fold_region(ir, region, limit, narrow, diag, &folded));
    TSR_TRY(tsr_cse_region(ir, region, diag, &shared));
    TSR_TRY(tsr_dce_region(ir, region, diag, &dropped));
    changed |= folded || shared;
    if (tsr_ir_status(ir) != TSR_OK)
      return tsr_fail(diag, tsr_ir_status(ir), "canonicalize: %s", tsr_ir_diag(ir)->message);
  }
  return TSR_OK;
}

tsr_status tsr_pass_canonicalize(tsr_ir *ir, const tsr_pass_options *options, tsr_diag *diag) {
  int64_t limit = options->fold_elements != 0 ? options->fold_elements : DEFAULT_FOLD_ELEMENTS;
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op)
    if (tsr_op_get(ir, op)->code == TSR_OP_GRAPH)
      TSR_TRY(canonicalize_region(ir, tsr_op_get(ir, op)->regions[0], limit,
                                  options->narrow_products, diag));
  return TSR_OK;
}
