/* Contractions of f32 by atoms with parts (atoms.def): a constant operand is laid out as its bf16
 * parts, the other one is split while it is copied. */
#ifndef TSR_PASSES_TILE_CONTRACT_PARTS_H
#define TSR_PASSES_TILE_CONTRACT_PARTS_H
#include "ir/bf16_parts.h"
#include "passes/tile/contract_emit.h"

/* Makes `inout`, a copy of what tsr_contract_match found, the contraction that atoms with parts
 * compute; false: they cannot. Whether the constant's values can be split is a question of its own.
 */
bool tsr_contract_parts_match(const tsr_nest *nest, tsr_contraction *inout);
/* Are all values of the constant in the range that parts are exact in? Of contractions with parts.
 */
bool tsr_contract_parts_in_range(tsr_nest *nest);

/* Is what a task copies split now? Else it is copied as it is: an exact block. */
bool tsr_contract_splits(const tsr_contract_emit *e);
void tsr_contract_split(tsr_contract_emit *e, tsr_value tile, tsr_value out_parts[TSR_BF16_PARTS]);
/* Packs the task's block and walks over its register tiles, by parts where all values that it
 * packed are in their range, else by multiply-adds. */
void tsr_contract_parts_block(tsr_contract_emit *e, tsr_contract_step pack, tsr_contract_step walk);
/* Notes whether a tile's values are in range. */
void tsr_contract_guard(tsr_contract_emit *e, tsr_value tile);
/* acc plus the pass's share of the depth. */
tsr_value tsr_contract_parts_loop(tsr_contract_emit *e, tsr_value acc);

#endif
