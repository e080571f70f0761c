#include "passes/split_axes.h"
#include "passes/rewrite.h"

enum { MAX_SPLITS = 8 };

typedef struct cut {
  tsr_value axis;
  tsr_expr inner, outer; /* extents of the two axes */
} cut;

/* `axis` floordiv or mod something that divides its extent. */
static bool cut_of(tsr_ir *ir, tsr_expr_node node, cut *out) {
  tsr_expr_node leaf = tsr_expr_get(ir, node.a);
  if (leaf.op != TSR_INDEX_VALUE || tsr_expr_has(ir, node.b, TSR_INDEX_VALUE))
    return false;
  const tsr_value_data *axis = tsr_value_get(ir, leaf.value);
  if ((axis->role != TSR_ROLE_PAR && axis->role != TSR_ROLE_RED) ||
      !tsr_expr_equals_int(ir, axis->lo, 0) || !tsr_expr_equals_int(ir, axis->step, 1))
    return false;
  tsr_expr outer = tsr_expr_binary(ir, TSR_INDEX_FLOORDIV, axis->hi, node.b);
  *out = (cut){.axis = leaf.value, .inner = node.b, .outer = outer};
  return outer != 0 && tsr_expr_mul(ir, outer, node.b) == axis->hi &&
         !tsr_expr_equals_int(ir, outer, 1);
}

static bool find_in_expr(tsr_ir *ir, tsr_expr expr, cut *out) {
  if (expr == 0 || !tsr_expr_has(ir, expr, TSR_INDEX_VALUE))
    return false;
  tsr_expr_node node = tsr_expr_get(ir, expr);
  if (node.op == TSR_INDEX_VALUE)
    return false;
  if ((node.op == TSR_INDEX_FLOORDIV || node.op == TSR_INDEX_MOD) && cut_of(ir, node, out))
    return true;
  return find_in_expr(ir, node.a, out) || find_in_expr(ir, node.b, out);
}

static bool find_cut(tsr_ir *ir, tsr_op block, cut *out) {
  TSR_FOR_EACH_OP (ir, tsr_op_get(ir, block)->regions[0], op) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    for (uint32_t i = 0; i < data->operand_count; i++)
      for (uint32_t s = 0; s < data->operands[i].subscript_count; s++)
        if (find_in_expr(ir, data->operands[i].subscripts[s], out))
          return true;
    for (uint32_t i = 0; i < data->attr_count; i++)
      if (data->attrs[i].kind == TSR_ATTR_EXPR && find_in_expr(ir, data->attrs[i].u.expr, out))
        return true;
  }
  return false;
}

/* The axes of the block with the cut one as two in its place. */
static void copy_axes(tsr_rewriter *rw, tsr_op block, const cut *c) {
  tsr_ir *ir = rw->ir;
  const tsr_region_data *region = tsr_region_get(ir, tsr_op_get(ir, block)->regions[0]);
  for (uint32_t i = 0; i < region->arg_count; i++) {
    const tsr_value_data *arg = tsr_value_get(ir, region->args[i]);
    if (region->args[i] != c->axis) {
      int64_t step = 1;
      tsr_expr_is_int(ir, arg->step, &step);
      rw->exprs[region->args[i]] = tsr_expr_value(
          ir, tsr_region_add_index(ir, rw->out.region, arg->role, arg->lo, arg->hi, step));
      continue;
    }
    tsr_expr outer = tsr_point_axis(&rw->out, arg->role, c->outer);
    tsr_expr inner = tsr_point_axis(&rw->out, arg->role, c->inner);
    rw->exprs[c->axis] = tsr_expr_add(ir, tsr_expr_mul(ir, outer, c->inner), inner);
  }
}

static tsr_status split(tsr_ir *ir, tsr_op block, const cut *c, tsr_diag *diag, tsr_op *out_made) {
  const tsr_op_data *data = tsr_op_get(ir, block);
  tsr_rewriter rw;
  TSR_TRY(tsr_rewriter_begin(&rw, ir, block, diag));
  tsr_op_copy_origins(ir, rw.out.op, block);
  for (uint32_t i = 0; i < data->result_count; i++)
    tsr_rewriter_result(&rw, data->results[i]);
  copy_axes(&rw, block, c);
  TSR_FOR_EACH_OP (ir, data->regions[0], op)
    tsr_rewriter_clone(&rw, op);
  for (uint32_t i = 0; i < data->result_count; i++)
    tsr_rewriter_take_over(&rw, data->results[i]);
  tsr_op_erase(ir, block);
  *out_made = rw.out.op;
  tsr_rewriter_end(&rw);
  return TSR_OK;
}

tsr_status tsr_split_axes(tsr_ir *ir, tsr_region region, tsr_diag *diag) {
  for (tsr_op op = tsr_region_get(ir, region)->first, next; op != 0; op = next) {
    cut c;
    next = tsr_op_get(ir, op)->next;
    if (tsr_op_get(ir, op)->code != TSR_OP_BLOCK)
      continue;
    for (uint32_t i = 0; i < MAX_SPLITS && find_cut(ir, op, &c); i++)
      TSR_TRY(split(ir, op, &c, diag, &op));
    if (tsr_ir_status(ir) != TSR_OK)
      return tsr_fail(diag, tsr_ir_status(ir), "fuse: %s", tsr_ir_diag(ir)->message);
  }
  return TSR_OK;
}
