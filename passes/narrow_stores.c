/* narrow_stores: what a block widens on its last step, and a product reads, is stored as narrow as
 * it was; readers widen it. Values are the same; memory is less, and products find their operands
 * as narrow as atoms take them. */
#include "passes/block_info.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

/* Every value of `from` is one of `to`. */
static bool widens(tsr_dtype from, tsr_dtype to) {
  return (to == TSR_F32 && (from == TSR_BF16 || from == TSR_F16)) ||
         (to == TSR_I32 && (from == TSR_I8 || from == TSR_U8));
}

static tsr_dtype dtype_of(const tsr_ir *ir, tsr_value value) {
  return tsr_value_type(ir, value)->dtype;
}

/* The block's only store to `result`, where it stores what a cast has widened into `out_source`;
 * or 0. */
static tsr_op widening_store(const tsr_ir *ir, tsr_region body, tsr_value result,
                             tsr_value *out_source) {
  tsr_op store = 0;
  *out_source = 0;
  TSR_FOR_EACH_OP (ir, body, op) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    bool touches = false;
    for (uint32_t i = 0; i < data->operand_count; i++)
      touches = touches || data->operands[i].value == result;
    if (!touches)
      continue;
    if (data->code != TSR_OP_STORE || store != 0 || tsr_op_attr(ir, op, "combine") != NULL)
      return 0;
    const tsr_value_data *stored = tsr_value_get(ir, data->operands[0].value);
    if (stored->role != TSR_ROLE_RESULT || stored->def == 0 ||
        tsr_op_get(ir, stored->def)->code != TSR_OP_CAST)
      return 0;
    *out_source = tsr_op_get(ir, stored->def)->operands[0].value;
    store = op;
  }
  return store != 0 && widens(dtype_of(ir, *out_source), dtype_of(ir, result)) ? store : 0;
}

/* A pad outside of the buffer is stored by nobody: it must be a number of the narrow type too. */
static bool can_narrow(const tsr_ir *ir, tsr_op load, tsr_dtype narrow) {
  const double pad = tsr_op_float(ir, load, "pad", 0);
  return pad == 0 || (narrow == TSR_U8 && pad >= 0 && pad <= 255) ||
         (narrow == TSR_I8 && pad >= -128 && pad <= 127);
}

/* Reads of `value` in `region` and inside of it: false when one of them is not a load of a block.
 * `maker` is left out: the block that stores it. `products`: reductions beside the reads. */
static bool only_loads(const tsr_ir *ir, tsr_region region, tsr_op block, tsr_op maker,
                       tsr_value value, tsr_dtype narrow, uint32_t *products) {
  TSR_FOR_EACH_OP (ir, region, op) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    if (op == maker)
      continue;
    for (uint32_t i = 0; i < data->operand_count; i++) {
      if (data->operands[i].value != value)
        continue;
      if (data->code != TSR_OP_LOAD || block == 0 || !can_narrow(ir, op, narrow))
        return false;
      TSR_FOR_EACH_OP (ir, region, other)
        *products += tsr_op_get(ir, other)->code == TSR_OP_REDUCE;
    }
    const tsr_op inside = data->code == TSR_OP_BLOCK ? op : 0;
    for (uint32_t i = 0; i < data->region_count; i++)
      if (!only_loads(ir, data->regions[i], inside, maker, value, narrow, products))
        return false;
  }
  return true;
}

static void narrow_load(tsr_ir *ir, tsr_op load, tsr_dtype narrow) {
  const tsr_op_data data = *tsr_op_get(ir, load);
  const tsr_value result = data.results[0];
  const tsr_type wide = tsr_value_get(ir, result)->type;
  const tsr_type_info type = *tsr_type_get(ir, wide);
  const tsr_op read = tsr_op_insert_before(ir, load, TSR_OP_LOAD);
  tsr_op_add_element(ir, read, data.operands[0].value, data.operands[0].subscripts,
                     data.operands[0].subscript_count);
  for (uint32_t i = 0; i < data.attr_count; i++)
    tsr_op_set_attr(ir, read, &data.attrs[i]);
  const tsr_value value =
      tsr_op_add_result(ir, read, tsr_type_make(ir, type.level, narrow, type.dims, type.rank));
  const tsr_op cast = tsr_op_insert_before(ir, load, TSR_OP_CAST);
  tsr_op_add_operand(ir, cast, value);
  tsr_value_replace_all(ir, result, tsr_op_add_result(ir, cast, wide));
  tsr_op_erase(ir, load);
}

static void narrow_readers(tsr_ir *ir, tsr_region region, tsr_value value, tsr_dtype narrow) {
  for (tsr_op op = tsr_region_get(ir, region)->first, next; op != 0; op = next) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    next = data->next;
    for (uint32_t i = 0; i < data->region_count; i++)
      narrow_readers(ir, data->regions[i], value, narrow);
    if (data->code == TSR_OP_LOAD && data->operands[0].value == value)
      narrow_load(ir, op, narrow);
  }
}

static void narrow_result(tsr_ir *ir, tsr_region region, tsr_op block, tsr_value result) {
  const tsr_region body = tsr_op_get(ir, block)->regions[0];
  tsr_value source;
  const tsr_op store = widening_store(ir, body, result, &source);
  uint32_t products = 0;
  if (store == 0)
    return;
  const tsr_dtype narrow = dtype_of(ir, source);
  if (!only_loads(ir, region, 0, block, result, narrow, &products) || products == 0)
    return;
  const tsr_type_info type = *tsr_value_type(ir, result);
  tsr_op_set_operand(ir, store, 0, source);
  tsr_point_drop_dead(ir, body);
  tsr_value_set_type(ir, result, tsr_type_make(ir, type.level, narrow, type.dims, type.rank));
  for (tsr_op op = tsr_region_get(ir, region)->first; op != 0; op = tsr_op_get(ir, op)->next)
    if (op != block)
      for (uint32_t i = 0; i < tsr_op_get(ir, op)->region_count; i++)
        narrow_readers(ir, tsr_op_get(ir, op)->regions[i], result, narrow);
}

tsr_status tsr_pass_narrow_stores(tsr_ir *ir, const tsr_pass_options *options, tsr_diag *diag) {
  if (!options->byte_products && !options->bf16_products)
    return TSR_OK;
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), graph) {
    if (tsr_op_get(ir, graph)->code != TSR_OP_GRAPH)
      continue;
    const tsr_region region = tsr_op_get(ir, graph)->regions[0];
    TSR_FOR_EACH_OP (ir, region, op) {
      if (tsr_op_get(ir, op)->code != TSR_OP_BLOCK || tsr_op_attr(ir, op, "fill") != NULL)
        continue;
      for (uint32_t i = 0; i < tsr_op_get(ir, op)->result_count; i++)
        narrow_result(ir, region, op, tsr_op_get(ir, op)->results[i]);
    }
  }
  return tsr_ir_status(ir) == TSR_OK
             ? TSR_OK
             : tsr_fail(diag, tsr_ir_status(ir), "narrow_stores: %s", tsr_ir_diag(ir)->message);
}
