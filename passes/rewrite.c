#include "passes/rewrite.h"
#include "passes/block_info.h"
#include "passes/canonicalize.h"
#include <string.h>

enum { MAX_LEAVES = 64 };

tsr_status tsr_rewriter_begin(tsr_rewriter *rw, tsr_ir *ir, tsr_op before, tsr_diag *diag) {
  *rw = (tsr_rewriter){.ir = ir, .size = tsr_value_count(ir) + 1};
  tsr_arena_init(&rw->arena, tsr_ir_allocator(ir));
  rw->values = (tsr_value *)tsr_arena_alloc_array(&rw->arena, rw->size, sizeof *rw->values);
  rw->exprs = (tsr_expr *)tsr_arena_alloc_array(&rw->arena, rw->size, sizeof *rw->exprs);
  if (rw->values == NULL || rw->exprs == NULL) {
    tsr_arena_reset(&rw->arena);
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while rewriting a block");
  }
  rw->out = tsr_point_begin(ir, TSR_OP_BLOCK, before);
  return TSR_OK;
}

void tsr_rewriter_end(tsr_rewriter *rw) {
  tsr_arena_reset(&rw->arena);
}

tsr_value tsr_rewriter_value(const tsr_rewriter *rw, tsr_value old) {
  return old < rw->size && rw->values[old] != 0 ? rw->values[old] : old;
}

/* What a value inside a subscript has become. The number of an index op is written out, so that an
 * indirect subscript turns affine when its index does. */
static tsr_expr leaf_expr(const tsr_rewriter *rw, tsr_value old) {
  if (old < rw->size && rw->exprs[old] != 0)
    return rw->exprs[old];
  tsr_value value = tsr_rewriter_value(rw, old);
  const tsr_value_data *data = tsr_value_get(rw->ir, value);
  if (data->role == TSR_ROLE_RESULT && tsr_op_get(rw->ir, data->def)->code == TSR_OP_INDEX &&
      tsr_scalar_dtype(rw->ir, value) == TSR_I64) {
    const tsr_attr *attr = tsr_op_attr(rw->ir, data->def, "value");
    if (attr->kind == TSR_ATTR_EXPR)
      return attr->u.expr;
    if (attr->kind == TSR_ATTR_INT)
      return tsr_expr_int(rw->ir, attr->u.integer);
  }
  return tsr_expr_value(rw->ir, value);
}

static void collect_leaves(tsr_rewriter *rw, tsr_expr expr, tsr_expr *from, tsr_expr *to,
                           unsigned *count) {
  if (expr == 0 || !tsr_expr_has(rw->ir, expr, TSR_INDEX_VALUE))
    return;
  tsr_expr_node node = tsr_expr_get(rw->ir, expr);
  if (node.op != TSR_INDEX_VALUE) {
    collect_leaves(rw, node.a, from, to, count);
    collect_leaves(rw, node.b, from, to, count);
    return;
  }
  for (unsigned i = 0; i < *count; i++)
    if (from[i] == expr)
      return;
  if (*count == MAX_LEAVES) {
    (void)tsr_ir_poison(rw->ir, TSR_ERR_LIMIT, "a subscript holds more than %d variables",
                        MAX_LEAVES);
    return;
  }
  from[*count] = expr;
  to[(*count)++] = leaf_expr(rw, node.value);
}

tsr_expr tsr_rewriter_expr(tsr_rewriter *rw, tsr_expr expr) {
  tsr_expr from[MAX_LEAVES], to[MAX_LEAVES];
  unsigned count = 0;
  collect_leaves(rw, expr, from, to, &count);
  return count == 0 ? expr : tsr_expr_substitute(rw->ir, expr, from, to, count);
}

void tsr_rewriter_copy_axes(tsr_rewriter *rw, tsr_op from) {
  const tsr_region_data *region = tsr_region_get(rw->ir, tsr_op_get(rw->ir, from)->regions[0]);
  for (uint32_t i = 0; i < region->arg_count; i++) {
    const tsr_value_data *arg = tsr_value_get(rw->ir, region->args[i]);
    int64_t step = 1;
    tsr_expr_is_int(rw->ir, arg->step, &step);
    tsr_value made =
        tsr_region_add_index(rw->ir, rw->out.region, arg->role, tsr_rewriter_expr(rw, arg->lo),
                             tsr_rewriter_expr(rw, arg->hi), step);
    if (made != 0 && region->args[i] < rw->size)
      rw->exprs[region->args[i]] = tsr_expr_value(rw->ir, made);
  }
}

tsr_value tsr_rewriter_result(tsr_rewriter *rw, tsr_value old) {
  tsr_value made = tsr_point_result(&rw->out, tsr_value_type(rw->ir, old));
  if (old < rw->size)
    rw->values[old] = made;
  return made;
}

void tsr_rewriter_take_over(tsr_rewriter *rw, tsr_value old) {
  tsr_value made = tsr_rewriter_value(rw, old);
  const char *name = tsr_value_get(rw->ir, old)->name;
  tsr_value_replace_all(rw->ir, old, made);
  tsr_value_set_name(rw->ir, old, NULL);
  tsr_value_set_name(rw->ir, made, name);
}

/* The same value, for everything in a body but stores and reduces. */
static tsr_op find_same(const tsr_ir *ir, tsr_op op) {
  if (tsr_op_get(ir, op)->code == TSR_OP_REDUCE || tsr_op_get(ir, op)->result_count != 1)
    return 0;
  for (tsr_op earlier = tsr_op_get(ir, op)->prev; earlier != 0;
       earlier = tsr_op_get(ir, earlier)->prev)
    if (tsr_ops_equal(ir, earlier, op))
      return earlier;
  return 0;
}

static void clone_attrs(tsr_rewriter *rw, tsr_op to, const tsr_op_data *from) {
  for (uint32_t i = 0; i < from->attr_count; i++) {
    tsr_attr attr = from->attrs[i];
    tsr_expr list[TSR_MAX_RANK * 2];
    if (attr.kind == TSR_ATTR_EXPR) {
      tsr_op_set_expr(rw->ir, to, attr.key, tsr_rewriter_expr(rw, attr.u.expr));
    } else if (attr.kind == TSR_ATTR_EXPRS && attr.count <= TSR_MAX_RANK * 2) {
      for (uint32_t k = 0; k < attr.count; k++)
        list[k] = tsr_rewriter_expr(rw, attr.u.exprs[k]);
      tsr_op_set_exprs(rw->ir, to, attr.key, list, attr.count);
    } else {
      tsr_op_set_attr(rw->ir, to, &attr);
    }
  }
}

static void clone_operands(tsr_rewriter *rw, tsr_op to, const tsr_op_data *from) {
  for (uint32_t i = 0; i < from->operand_count; i++) {
    const tsr_operand *operand = &from->operands[i];
    tsr_value value = tsr_rewriter_value(rw, operand->value);
    tsr_expr subscripts[TSR_MAX_RANK];
    if (!operand->subscripted) {
      bool axis = operand->value < rw->size && rw->exprs[operand->value] != 0;
      if (axis)
        value = tsr_expr_get(rw->ir, rw->exprs[operand->value]).value;
      tsr_op_add_operand(rw->ir, to, value);
      continue;
    }
    for (uint32_t s = 0; s < operand->subscript_count; s++)
      subscripts[s] = tsr_rewriter_expr(rw, operand->subscripts[s]);
    tsr_op_add_element(rw->ir, to, value, subscripts, operand->subscript_count);
  }
}

/* A load is indirect as long as its subscripts are. */
static tsr_opcode clone_code(tsr_rewriter *rw, const tsr_op_data *data) {
  if (data->code != TSR_OP_GATHER_LOAD && data->code != TSR_OP_LOAD)
    return data->code;
  tsr_expr subscripts[TSR_MAX_RANK];
  const tsr_operand *from = &data->operands[0];
  for (uint32_t s = 0; s < from->subscript_count; s++)
    subscripts[s] = tsr_rewriter_expr(rw, from->subscripts[s]);
  return tsr_subscripts_indirect(rw->ir, subscripts, from->subscript_count) ? TSR_OP_GATHER_LOAD
                                                                            : TSR_OP_LOAD;
}

static void clone_regions(tsr_rewriter *rw, tsr_op to, const tsr_op_data *from);

static tsr_op clone_into(tsr_rewriter *rw, tsr_region region, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(rw->ir, op);
  tsr_op made = tsr_op_append(rw->ir, region, clone_code(rw, data));
  if (made == 0)
    return 0;
  clone_operands(rw, made, data);
  clone_attrs(rw, made, data);
  clone_regions(rw, made, data);
  for (uint32_t i = 0; i < data->result_count; i++) {
    tsr_value result =
        tsr_op_add_result(rw->ir, made, tsr_value_get(rw->ir, data->results[i])->type);
    if (data->results[i] < rw->size)
      rw->values[data->results[i]] = result;
  }
  return made;
}

/* Combiners: plain arguments and straight code. */
static void clone_regions(tsr_rewriter *rw, tsr_op to, const tsr_op_data *from) {
  for (uint32_t r = 0; r < from->region_count; r++) {
    const tsr_region_data *region = tsr_region_get(rw->ir, from->regions[r]);
    tsr_region made = tsr_op_add_region(rw->ir, to);
    for (uint32_t i = 0; i < region->arg_count; i++) {
      const tsr_value_data *arg = tsr_value_get(rw->ir, region->args[i]);
      tsr_value value = tsr_region_add_arg(rw->ir, made, arg->role, arg->type);
      if (region->args[i] < rw->size)
        rw->values[region->args[i]] = value;
    }
    TSR_FOR_EACH_OP (rw->ir, from->regions[r], inner)
      clone_into(rw, made, inner);
  }
}

void tsr_rewriter_clone(tsr_rewriter *rw, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(rw->ir, op);
  tsr_op made = clone_into(rw, rw->out.region, op);
  if (made == 0 || data->result_count != 1)
    return;
  tsr_op same = find_same(rw->ir, made);
  if (same == 0)
    return;
  rw->values[data->results[0]] = tsr_op_get(rw->ir, same)->results[0];
  tsr_op_erase(rw->ir, made);
}

static bool used_after(const tsr_ir *ir, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  if (tsr_op_is_store(ir, op) || data->result_count == 0)
    return true;
  for (tsr_op user = data->next; user != 0; user = tsr_op_get(ir, user)->next)
    for (uint32_t i = 0; i < data->result_count; i++)
      if (tsr_op_reads(ir, user, data->results[i]))
        return true;
  return false;
}

void tsr_point_drop_dead(tsr_ir *ir, tsr_region body) {
  for (tsr_op op = tsr_region_get(ir, body)->last, before; op != 0; op = before) {
    before = tsr_op_get(ir, op)->prev;
    if (!used_after(ir, op))
      tsr_op_erase(ir, op);
  }
}
