/* Legality of blocks and procs by dependences, asked of isl: changes nothing. A block stores each
 * element of its results exactly once; points of a proc's par axes touch nothing of one another's.
 * A load beyond its buffer is defined (it gives its pad value). What isl cannot say passes. */
#include "passes/block_info.h"
#include "passes/passes.h"
#include "passes/poly/poly.h"

typedef struct checker {
  tsr_ir *ir;
  tsr_poly *poly;
  tsr_diag *diag;
} checker;

static tsr_status fail(const checker *c, tsr_op block, tsr_op op, const char *what) {
  const tsr_op_data *data = tsr_op_get(c->ir, block);
  tsr_status status = tsr_fail(c->diag, TSR_ERR_VERIFY, "%s in a %s: %s",
                               tsr_opcode_info(tsr_op_get(c->ir, op)->code)->text,
                               tsr_opcode_info(data->code)->text, what);
  if (c->diag != NULL) {
    tsr_diag_set_position(c->diag, tsr_op_get(c->ir, op)->line, 0);
    tsr_diag_set_node(c->diag, data->origin_count > 0 ? data->origins[0] : NULL, NULL);
  }
  return status;
}

/* `operand` of `op` against every store to the same buffer in the region and the regions in it. */
static tsr_status check_against_stores(const checker *c, tsr_op block, tsr_region region,
                                       const tsr_operand *operand, tsr_op op, const char *what) {
  TSR_FOR_EACH_OP (c->ir, region, other) {
    const tsr_op_data *data = tsr_op_get(c->ir, other);
    if (tsr_op_is_store(c->ir, other) && data->operands[1].value == operand->value &&
        tsr_poly_par_disjoint(c->poly, c->ir, block, operand, &data->operands[1]) == TSR_POLY_NO)
      return fail(c, block, op, what);
    for (uint32_t i = 0; i < data->region_count; i++)
      TSR_TRY(check_against_stores(c, block, data->regions[i], operand, op, what));
  }
  return TSR_OK;
}

static tsr_status check_store(const checker *c, tsr_op block, tsr_op op) {
  const tsr_operand *to = &tsr_op_get(c->ir, op)->operands[1];
  tsr_region body = tsr_op_get(c->ir, block)->regions[0];
  TSR_TRY(
      check_against_stores(c, block, body, to, op, "two parallel points store the same element"));
  if (tsr_op_get(c->ir, block)->code == TSR_OP_BLOCK &&
      tsr_block_store_of(c->ir, body, to->value) == op &&
      tsr_poly_covers(c->poly, c->ir, block, to) == TSR_POLY_NO)
    return fail(c, block, op, "some element of the result is never stored");
  return TSR_OK;
}

static tsr_status check_load(const checker *c, tsr_op block, tsr_op op) {
  const tsr_operand *from = &tsr_op_get(c->ir, op)->operands[0];
  const tsr_value_data *data = tsr_value_get(c->ir, from->value);
  if (data->def != block || data->role != TSR_ROLE_RESULT)
    return TSR_OK;
  return check_against_stores(c, block, tsr_op_get(c->ir, block)->regions[0], from, op,
                              "a parallel point reads what another one stores");
}

static tsr_status check_body(const checker *c, tsr_op block, tsr_region region) {
  TSR_FOR_EACH_OP (c->ir, region, op) {
    const tsr_op_data *data = tsr_op_get(c->ir, op);
    if (tsr_op_is_store(c->ir, op))
      TSR_TRY(check_store(c, block, op));
    if (tsr_op_is_load(c->ir, op))
      TSR_TRY(check_load(c, block, op));
    for (uint32_t i = 0; i < data->region_count; i++)
      TSR_TRY(check_body(c, block, data->regions[i]));
  }
  return TSR_OK;
}

static tsr_status check_region(const checker *c, tsr_region region) {
  TSR_FOR_EACH_OP (c->ir, region, op) {
    const tsr_op_data *data = tsr_op_get(c->ir, op);
    if (data->code == TSR_OP_BLOCK || data->code == TSR_OP_PROC) {
      TSR_TRY(check_body(c, op, data->regions[0]));
      continue;
    }
    for (uint32_t i = 0; i < data->region_count; i++)
      TSR_TRY(check_region(c, data->regions[i]));
  }
  return TSR_OK;
}

tsr_status tsr_pass_check_blocks(tsr_ir *ir, const tsr_pass_options *options, tsr_diag *diag) {
  (void)options;
  checker c = {.ir = ir, .diag = diag};
  if (tsr_poly_create(tsr_ir_allocator(ir), &c.poly) != TSR_OK)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while checking blocks");
  tsr_status status = TSR_OK;
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op)
    if (status == TSR_OK && tsr_op_get(ir, op)->code == TSR_OP_GRAPH)
      status = check_region(&c, tsr_op_get(ir, op)->regions[0]);
  tsr_poly_destroy(c.poly);
  return status;
}
