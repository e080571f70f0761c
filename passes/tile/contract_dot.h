/* Contractions by atoms with k-groups (atoms.def: vnni, dot, amx): operands stay as narrow as they
 * are in memory, a in rows along the depth, b in "vnni order", and the atom reads both in place. */
#ifndef TSR_PASSES_TILE_CONTRACT_DOT_H
#define TSR_PASSES_TILE_CONTRACT_DOT_H
#include "passes/tile/contract_emit.h"

enum { TSR_CONTRACT_ATOMS = 4 };

/* The contraction with its operands before they are widened, and a depth whose innermost axis is
 * cut into groups; NULL: the target has no atom for it, or its layout cannot be had. */
const tsr_contraction *tsr_contract_narrow(tsr_nest *nest);
/* The atoms with k-groups that the block may be scheduled with on its target, slowest first. */
uint32_t tsr_contract_atoms(tsr_nest *nest, const tsr_atom *out_atoms[TSR_CONTRACT_ATOMS]);
/* As a schedule sees the block: with an atom, the narrow one. */
const tsr_contraction *tsr_contract_of(tsr_nest *nest, const tsr_schedule *schedule);
TSR_WARN_UNUSED tsr_status tsr_contract_dot_check(tsr_nest *nest, const tsr_schedule *schedule,
                                                  const char *kernel, tsr_diag *diag);
/* The default with this atom. */
void tsr_contract_dot_default(tsr_nest *nest, const tsr_atom *atom, tsr_schedule *out_schedule);
/* A further schedule by AMX tiles, for every extent, which runs where the system lets the process
 * use them; `first` is by vectors. Returns 0 or 1. */
uint32_t tsr_contract_dot_variants(tsr_nest *nest, const tsr_schedule *first, tsr_schedule *out);
/* f32 by AMX tiles and parts of bf16, where extents are known; false: it is not to be had. Whether
 * the constant can be split is to be asked then. */
bool tsr_contract_dot_parts(tsr_nest *nest, tsr_schedule *out);
/* A schedule by vectors that reads the panels of `tiles`, which is by AMX tiles; false: none. */
bool tsr_contract_dot_stand_in(tsr_nest *nest, const tsr_schedule *tiles, tsr_schedule *out);
/* The atom that the default takes, or NULL: multiply-adds as wide as the sum. */
const tsr_atom *tsr_contract_dot_choice(tsr_nest *nest);

/* Depths that the innermost axis is padded to multiples of: one number for all atoms of the block,
 * so that they read the same panels. */
int64_t tsr_contract_unit(tsr_nest *nest);
/* Sets the atom's fields of a lowering; `e->c` is the narrow contraction. */
void tsr_contract_dot_begin(tsr_contract_emit *e, const tsr_schedule *schedule);
void tsr_contract_dot_panel(tsr_contract_emit *e, const tsr_contract_operand *operand,
                            const tsr_contract_side *side);
/* acc plus `depth` steps from `at` of the flat depth on, of these parts of a and b (0 where there
 * is one). */
tsr_value tsr_contract_dot_product(tsr_contract_emit *e, const char *atom, tsr_value acc,
                                   tsr_expr at, int64_t depth, int part_a, int part_b);
/* acc plus the pass's share of the depth. */
tsr_value tsr_contract_dot_loop(tsr_contract_emit *e, tsr_value acc);

#endif
