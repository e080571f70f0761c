/* contract. Atoms fma.*: every thread has a rectangle of the accumulators, and all of the depth of
 * its rows and columns in registers, or in shared memory where that is too much. */
#include "codegen/cuda/emit.h"
#include <string.h>

/* --- accumulators --- */

uint32_t tsr_cu_uses_by(const tsr_cu *e, const tsr_op_data *op, tsr_value value) {
  uint32_t uses = 0;
  for (uint32_t i = 0; i < op->operand_count; ++i) {
    uses += op->operands[i].value == value;
    for (uint32_t s = 0; s < op->operands[i].subscript_count; ++s)
      uses += tsr_expr_uses_value(e->ir, op->operands[i].subscripts[s], value);
  }
  for (uint32_t i = 0; i < op->attr_count; ++i) {
    const tsr_attr *attr = &op->attrs[i];
    if (attr->kind == TSR_ATTR_EXPR)
      uses += tsr_expr_uses_value(e->ir, attr->u.expr, value);
    for (uint32_t k = 0; attr->kind == TSR_ATTR_EXPRS && k < attr->count; ++k)
      uses += tsr_expr_uses_value(e->ir, attr->u.exprs[k], value);
  }
  for (uint32_t i = 0; op->code == TSR_OP_FOR && i < op->region_count; ++i) {
    const tsr_value_data *index =
        tsr_value_get(e->ir, tsr_region_get(e->ir, op->regions[i])->args[0]);
    uses += tsr_expr_uses_value(e->ir, index->lo, value);
    uses += tsr_expr_uses_value(e->ir, index->hi, value);
  }
  return uses;
}

uint32_t tsr_cu_uses_in(const tsr_cu *e, tsr_region region, tsr_value value) {
  uint32_t uses = 0;
  TSR_FOR_EACH_OP (e->ir, region, id) {
    const tsr_op_data *op = tsr_op_get(e->ir, id);
    uses += tsr_cu_uses_by(e, op, value);
    for (uint32_t i = 0; i < op->region_count; ++i)
      uses += tsr_cu_uses_in(e, op->regions[i], value);
  }
  return uses;
}

bool tsr_cu_used_up(const tsr_cu *e, tsr_value value) {
  const tsr_value_data *data = tsr_value_get(e->ir, value);
  tsr_region home = data->role == TSR_ROLE_RESULT    ? tsr_op_get(e->ir, data->def)->parent
                    : data->role == TSR_ROLE_CARRIED ? data->region
                                                     : 0;
  return home == e->op->parent && tsr_cu_uses_in(e, home, value) == 1;
}

bool tsr_cu_same_order(const tsr_cu_tile *tile, const tsr_cu_layout *layout) {
  for (uint32_t axis = 0; axis < tile->rank; ++axis) {
    const tsr_cu_axis *own = &tile->layout.axis[axis], *other = &layout->axis[axis];
    if (own->count != other->count ||
        memcmp(own->digits, other->digits, own->count * sizeof *own->digits) != 0)
      return false;
  }
  return true;
}

const tsr_cu_tile *tsr_cu_accumulators(tsr_cu *e, const tsr_cu_layout *layout) {
  const tsr_value value = e->op->operands[2].value;
  const tsr_cu_tile *acc = e->slots[value].tile;
  if (acc && !acc->packed && tsr_cu_used_up(e, value) && tsr_cu_same_order(acc, layout)) {
    tsr_cu_bind(e, e->op->results[0], acc);
    return acc;
  }
  acc = tsr_cu_relayout(e, tsr_cu_operand(e, 2), layout);
  const tsr_cu_tile *result = tsr_cu_declare_result(e, layout);
  tsr_cu_assign(e, result, acc);
  return result;
}

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
  const tsr_cu_tile *result = tsr_cu_accumulators(e, &matrix);
  tsr_dtype dtype = tsr_cu_computed(result->dtype);
  tsr_cu_line(e, "{");
  stage_side(e, &a, 0);
  stage_side(e, &b, a.array ? 8 * tsr_cu_elements(a.tile) : 0);
  tsr_cu_line(e, a.array && b.array ? "#pragma unroll 4" : "TSR_UNROLL");
  tsr_cu_line(e, "for (int k = 0; k < %u; ++k) {", depth);
  tsr_cu_begin(e, result, a.array || b.array);
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
  tsr_cu_mma mma;
  const tsr_cu_tile *acc = e->slots[e->op->operands[2].value].tile;
  if (!acc || acc->rank != 2)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "operands of contract must be tiles of rank 2");
  if (tsr_op_bool(e->ir, e->op_id, "each", false))
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "contract with 'each' has no code on CUDA");
  if (!tsr_cu_mma_of(e, e->op_id, &mma))
    contract_fma(e);
  else if (mma.groups)
    tsr_cu_contract_wgmma(e, &mma);
  else
    tsr_cu_contract_mma(e, &mma);
}
