/* contract. Atoms fma.*: every thread has a rectangle of the accumulators, and all of the depth of
 * its rows and columns in registers, or in shared memory where that is too much. */
#include "codegen/cuda/emit.h"
#include <string.h>

/* --- fma --- */

/* Where an operand's element (row or column, k) is read from: its registers, or shared memory. */
typedef struct contract_side {
  const tsr_cu_tile *tile;
  const char *array; /* NULL: in registers */
  bool is_a;
} contract_side;

static contract_side open_side(tsr_cu *e, uint32_t number, const tsr_cu_layout *matrix) {
  contract_side side = {.tile = tsr_cu_operand(e, number), .is_a = number == 0};
  const uint32_t depth = side.tile->extents[side.is_a ? 0 : 1];
  tsr_cu_layout layout = tsr_cu_operand_layout(matrix, depth, side.is_a);
  if (side.tile->rank != 2)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "operands of contract must be tiles of rank 2");
  if (!tsr_cu_same_layout(side.tile, &layout) ||
      tsr_cu_registers(side.tile) > TSR_CU_OPERAND_REGISTERS)
    side.array = "";
  return side;
}

/* Both operands may be in shared memory at once: b lies behind a. */
static void stage_side(tsr_cu *e, contract_side *side, uint64_t before) {
  if (!side->array)
    return;
  const uint64_t alloc_bytes = e->alloc_bytes, exchange_bytes = e->exchange_bytes;
  e->alloc_bytes += before;
  e->exchange_bytes = 0;
  side->array = tsr_cu_stage(e, side->tile);
  e->alloc_bytes = alloc_bytes;
  const uint64_t needed = before + e->exchange_bytes;
  e->exchange_bytes = needed > exchange_bytes ? needed : exchange_bytes;
}

/* The operand at depth k, in the loops over the accumulators' registers. */
static const char *side_element(tsr_cu *e, const contract_side *side, const tsr_cu_tile *acc) {
  const tsr_cu_tile *tile = side->tile;
  uint32_t along = side->is_a ? 1 : 0, columns = tile->extents[0];
  const char *position = tile->extents[along] == 1 ? "0" : tsr_cu_format(e, "x%u", along);
  if (side->array) {
    const char *where = side->is_a ? tsr_cu_format(e, "%s * %u + k", position, columns)
                                   : tsr_cu_format(e, "k * %u + %s", columns, position);
    const char *text = tsr_cu_format(e, "%s[%s]", side->array, where);
    return tsr_cu_exact(acc, along)
               ? text
               : tsr_cu_format(e, "(%s < %u ? %s : 0)", position, acc->extents[along], text);
  }
  const char *r[2] = {NULL, NULL};
  r[1 - along] = "k";
  return tsr_cu_register_at(e, tile, r);
}

static void multiply_add(tsr_cu *e, tsr_dtype dtype, const char *acc, const char *a,
                         const char *b) {
  const char *type = tsr_cu_ctype(dtype);
  if (dtype == TSR_BOOL)
    tsr_cu_line(e, "%s = %s | (%s & %s);", acc, acc, a, b);
  else if (tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT)
    tsr_cu_line(e, "%s = tsr_fma_%s(%s, %s, %s);", acc, dtype == TSR_F64 ? "f64" : "f32", a, b,
                acc);
  else {
    const char *wide = tsr_dtype_bits(dtype) == 64 ? "tsr_u64" : "tsr_u32";
    tsr_cu_line(e, "%s = (%s)((%s)%s * (%s)%s + (%s)%s);", acc, type, wide, a, wide, b, wide, acc);
  }
}

/* Rank-1 updates in the order of k. f16 and bf16 are f32 here and rounded at the end. */
static void contract_fma(tsr_cu *e) {
  const tsr_cu_tile *acc = tsr_cu_operand(e, 2);
  tsr_cu_layout matrix = tsr_cu_matrix_layout(e->threads, acc);
  contract_side a = open_side(e, 0, &matrix), b = open_side(e, 1, &matrix);
  uint32_t depth = a.tile->extents[0];
  if (a.tile->extents[1] != acc->extents[1] || b.tile->extents[0] != acc->extents[0] ||
      b.tile->extents[1] != depth)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "the operands of contract do not fit together");
  acc = tsr_cu_relayout(e, acc, &matrix);
  const tsr_cu_tile *result = tsr_cu_declare_result(e, &matrix);
  tsr_dtype dtype = result->dtype == TSR_F16 || result->dtype == TSR_BF16 ? TSR_F32 : result->dtype;
  tsr_cu_line(e, "{");
  stage_side(e, &a, 0);
  stage_side(e, &b, a.array ? 8 * tsr_cu_elements(a.tile) : 0);
  tsr_cu_assign(e, result, acc);
  tsr_cu_line(e, a.array && b.array ? "#pragma unroll 4" : "TSR_UNROLL");
  tsr_cu_line(e, "for (int k = 0; k < %u; ++k) {", depth);
  tsr_cu_begin(e, result, true);
  multiply_add(e, dtype, tsr_cu_register(e, result),
               tsr_cu_cast(e, a.tile->dtype, dtype, side_element(e, &a, result)),
               tsr_cu_cast(e, b.tile->dtype, dtype, side_element(e, &b, result)));
  tsr_cu_end(e);
  tsr_cu_line(e, "}");
  if (dtype != result->dtype) {
    tsr_cu_begin(e, result, false);
    const char *value = tsr_cu_register(e, result);
    tsr_cu_line(e, "%s = %s;", value, tsr_cu_cast(e, dtype, result->dtype, value));
    tsr_cu_end(e);
  }
  if (a.array || b.array)
    tsr_cu_barrier(e);
  tsr_cu_line(e, "}");
}

void tsr_cu_contract(tsr_cu *e) {
  const char *atom = tsr_op_string(e->ir, e->op_id, "atom");
  if (tsr_cu_operand(e, 2)->rank != 2)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "operands of contract must be tiles of rank 2");
  if (atom && strncmp(atom, "fma.", 4) != 0)
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "atom '%s' has no code on CUDA", atom);
  contract_fma(e);
}
