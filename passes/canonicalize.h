/* The parts of the canonicalize pass. Each reads one region and its nested regions, and says
 * whether it changed anything. */
#ifndef TSR_PASSES_CANONICALIZE_H
#define TSR_PASSES_CANONICALIZE_H
#include "ir/graph_build.h"
#include "passes/passes.h"

/* Rewrites by the table of rules in simplify.c. */
bool tsr_simplify_region(tsr_ir *ir, tsr_region region);
/* Evaluates ops on constants. `limit`: elements that a result may have beyond its operands';
 * `narrow`: tsr_pass_options.narrow_products. */
TSR_WARN_UNUSED tsr_status tsr_fold_region(tsr_ir *ir, tsr_region region, int64_t limit,
                                           uint64_t narrow, tsr_diag *diag, bool *out_changed);
/* A constant with the contents of `value`, where they are known, behind the ops of the builder's
 * region; else `value`. */
TSR_WARN_UNUSED tsr_status tsr_fold_value(tsr_builder *b, tsr_value value, tsr_diag *diag,
                                          tsr_value *out_value);
/* Ops behind `last` of a region move before `before`, which they were made for. */
void tsr_move_added(tsr_ir *ir, tsr_op last, tsr_op before);
/* One op for equal ops. */
TSR_WARN_UNUSED tsr_status tsr_cse_region(tsr_ir *ir, tsr_region region, tsr_diag *diag,
                                          bool *out_changed);
/* Drops ops whose results nobody reads; blocks and procs too. */
TSR_WARN_UNUSED tsr_status tsr_dce_region(tsr_ir *ir, tsr_region region, tsr_diag *diag,
                                          bool *out_changed);
/* The same code on the same operands with the same attributes and types, without regions. */
bool tsr_ops_equal(const tsr_ir *ir, tsr_op a, tsr_op b);
/* A const op of one value and of `type` (of any shape) before `before`. */
tsr_value tsr_insert_splat(tsr_ir *ir, tsr_op before, tsr_type type, double number,
                           int64_t integer);
#endif
