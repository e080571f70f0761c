/* If. A known condition picks a branch; branches of a few cheap nodes are computed both and one is
 * selected; else the op `if`. */
#include "frontend/onnx/bodies.h"
#include "frontend/onnx/op_table.h"
#include <string.h>

/* Ops of a branch that is computed in vain. */
enum { FEW_OPS = 8 };

typedef struct choice {
  tsr_lower *l;
  tsr_attempt attempt;
  tsr_region regions[2]; /* then, else */
  tsr_imported **results[2];
} choice;

static const tsr_onnx_graph *branch(tsr_lower *l, const char *name) {
  const tsr_onnx_attribute *a = tsr_lower_attr(l, name);
  return a && a->type == TSR_ONNX_GRAPH ? a->g : NULL;
}

/* Both branches, each in its region, without yields. */
static tsr_status import_branches(choice *c, const tsr_onnx_graph *const *graphs) {
  tsr_lower *l = c->l;
  c->regions[0] = l->b->region;
  c->regions[1] = tsr_op_add_region(l->ir, c->attempt.op);
  for (int k = 0; k < 2; k++) {
    c->results[k] = tsr_lower_alloc(l, l->out_count, sizeof *c->results[k]);
    if (!c->results[k])
      return TSR_ERR_OUT_OF_MEMORY;
    tsr_attempt_enter(l, &c->attempt, c->regions[k]);
    TSR_TRY(tsr_import_subgraph(l, graphs[k], NULL, 0, c->results[k], l->out_count));
  }
  return TSR_OK;
}

static bool same_type(const choice *c, const tsr_imported *a, const tsr_imported *b) {
  if (a->kind != TSR_IMPORTED_TENSOR || b->kind != TSR_IMPORTED_TENSOR || a->dtype != b->dtype ||
      a->rank != b->rank)
    return false;
  for (uint32_t i = 0; i < a->rank; i++)
    if (a->dims[i] != b->dims[i] || tsr_attempt_binds(c->l, &c->attempt, a->dims[i]))
      return false;
  return true;
}

/* Ops that cost next to nothing are not counted; what must not run in vain is more than any number.
 */
static uint32_t count_ops(const tsr_ir *ir, tsr_region region) {
  uint32_t count = 0;
  TSR_FOR_EACH_OP (ir, region, op) {
    tsr_opcode code = tsr_op_get(ir, op)->code;
    switch (tsr_opcode_info(code)->kind) {
    case TSR_KIND_SOURCE:
      break;
    case TSR_KIND_UNARY:
    case TSR_KIND_BINARY:
    case TSR_KIND_COMPARE:
    case TSR_KIND_TERNARY:
    case TSR_KIND_VIEW:
      count++;
      break;
    case TSR_KIND_REDUCE:
      if (code == TSR_OP_EINSUM || code == TSR_OP_CONV || code == TSR_OP_POOL)
        return UINT32_MAX;
      count++;
      break;
    default:
      if (code != TSR_OP_GATHER)
        return UINT32_MAX;
      count++;
    }
  }
  return count;
}

static bool may_select(const choice *c) {
  const tsr_ir *ir = c->l->ir;
  for (uint32_t i = 0; i < c->l->out_count; i++)
    if (!same_type(c, c->results[0][i], c->results[1][i]))
      return false;
  return count_ops(ir, c->regions[0]) <= FEW_OPS && count_ops(ir, c->regions[1]) <= FEW_OPS;
}

static void select_results(choice *c, tsr_value condition) {
  tsr_lower *l = c->l;
  tsr_attempt_dissolve(l, &c->attempt);
  for (uint32_t i = 0; i < l->out_count; i++) {
    tsr_value yes = tsr_imported_value(l, c->results[0][i]);
    tsr_value no = tsr_imported_value(l, c->results[1][i]);
    tsr_lower_set(l, i, yes == no ? yes : v_select(l, condition, yes, no));
    if (l->out[i])
      l->out[i]->text = c->results[0][i]->text;
  }
}

/* The type of result `i`: of tensors with dims of its own where the branches differ. */
static tsr_status result_type(const choice *c, uint32_t i, tsr_type *out) {
  tsr_lower *l = c->l;
  const tsr_imported *yes = c->results[0][i], *no = c->results[1][i];
  tsr_expr dims[TSR_MAX_RANK];
  *out = 0;
  if (yes->kind != TSR_IMPORTED_TENSOR || no->kind != TSR_IMPORTED_TENSOR) {
    tsr_type type = tsr_imported_join(l, yes, no);
    *out = tsr_attempt_outer_type(l, &c->attempt, type);
    return type ? TSR_OK
                : tsr_lower_unsupported(
                      l, "result %u is a tensor, a sequence or an optional, as the branch is", i);
  }
  if (yes->dtype != no->dtype)
    return tsr_lower_unsupported(l, "result %u is %s in one branch and %s in the other", i,
                                 tsr_dtype_text(yes->dtype), tsr_dtype_text(no->dtype));
  if (yes->rank != no->rank)
    return tsr_lower_unsupported(l,
                                 "result %u has rank %u in one branch and %u in the other, and the "
                                 "condition is not known when compiling",
                                 i, yes->rank, no->rank);
  const char *what = tsr_arena_printf(l->arena, "out%u", i);
  for (uint32_t k = 0; k < yes->rank; k++)
    dims[k] = yes->dims[k] == no->dims[k] && !tsr_attempt_binds(l, &c->attempt, yes->dims[k])
                  ? yes->dims[k]
                  : tsr_fresh_dim(l, what ? what : "out", k);
  *out = tsr_type_make(l->ir, TSR_LEVEL_GLOBAL, yes->dtype, dims, yes->rank);
  return TSR_OK;
}

static tsr_value value_as(tsr_lower *l, tsr_imported *x, tsr_type type) {
  switch (tsr_type_get(l->ir, type)->level) {
  case TSR_LEVEL_LIST:
    return tsr_imported_list_as(l, x, type);
  case TSR_LEVEL_MAYBE:
  case TSR_LEVEL_MAYBE_LIST:
    return tsr_imported_maybe_as(l, x, type);
  default:
    return tsr_imported_value(l, x);
  }
}

/* Yields what the branches gave; the op's results are the node's. */
static tsr_status finish_if(choice *c) {
  tsr_lower *l = c->l;
  tsr_type *types = tsr_lower_alloc(l, l->out_count, sizeof *types);
  tsr_value *yields = tsr_lower_alloc(l, l->out_count, sizeof *yields);
  if (!types || !yields)
    return TSR_ERR_OUT_OF_MEMORY;
  for (uint32_t i = 0; i < l->out_count; i++)
    TSR_TRY(result_type(c, i, &types[i]));
  for (int k = 0; k < 2; k++) {
    tsr_attempt_enter(l, &c->attempt, c->regions[k]);
    for (uint32_t i = 0; i < l->out_count; i++)
      yields[i] = value_as(l, c->results[k][i], types[i]);
    TSR_TRY(tsr_ir_status(l->ir));
    tsr_attempt_yield(l, c->regions[k], yields, l->out_count);
  }
  tsr_attempt_leave(l, &c->attempt);
  for (uint32_t i = 0; i < l->out_count; i++) {
    tsr_lower_set(l, i, tsr_op_add_result(l->ir, c->attempt.op, types[i]));
    if (l->out[i])
      l->out[i]->text = c->results[0][i]->text || c->results[1][i]->text;
  }
  return TSR_OK;
}

/* What a condition over dims is unless they have one special value: extents are seldom equal to a
 * number. */
static bool usual_truth(const tsr_ir *ir, tsr_expr expr, bool *out) {
  tsr_expr_node node = tsr_expr_get(ir, expr);
  bool a, b;
  switch (node.op) {
  case TSR_INDEX_EQ:
    if (tsr_expr_equals_int(ir, node.b, 0) && usual_truth(ir, node.a, &a)) {
      *out = !a;
      return true;
    }
    *out = false;
    return true;
  case TSR_INDEX_NE:
    *out = true;
    return true;
  case TSR_INDEX_AND:
  case TSR_INDEX_OR:
    *out = node.op == TSR_INDEX_OR;
    return (usual_truth(ir, node.a, &a) && a == *out) || (usual_truth(ir, node.b, &b) && b == *out);
  default:
    return false;
  }
}

/* The branches' results are of different ranks, so that one is all that a program can be made for.
 */
static tsr_status take_one(tsr_lower *l, const tsr_onnx_graph *const *graphs, tsr_expr condition,
                           bool usual) {
  bool truth = tsr_lower_guess(l, 0, condition, usual);
  return tsr_import_subgraph(l, graphs[truth ? 0 : 1], NULL, 0, l->out, l->out_count);
}

/* The condition is data, or an expression over dims that their bounds do not decide. */
static tsr_status choose(tsr_lower *l, const tsr_onnx_graph *const *graphs) {
  choice c = {.l = l};
  const tsr_content *content = tsr_imported_content(l, l->in[0]);
  bool symbolic = content && content->count == 1 && content->exprs;
  tsr_value condition = symbolic ? 0 : v_to_scalar(l, tsr_lower_value(l, 0));
  c.attempt = tsr_attempt_begin(l, TSR_OP_IF);
  TSR_TRY(tsr_ir_status(l->ir));
  if (symbolic)
    tsr_op_set_expr(l->ir, c.attempt.op, "cond", content->exprs[0]);
  else
    tsr_op_add_operand(l->ir, c.attempt.op, condition);
  TSR_TRY(import_branches(&c, graphs));
  tsr_imported *broken = tsr_broken_of(c.results[0], l->out_count);
  if (!broken)
    broken = tsr_broken_of(c.results[1], l->out_count);
  if (broken) {
    tsr_attempt_drop(l, &c.attempt);
    tsr_lower_set_broken(l, broken);
    return TSR_OK;
  }
  if (!symbolic && may_select(&c)) {
    select_results(&c, condition);
    return TSR_OK;
  }
  tsr_status status = finish_if(&c);
  if (status != TSR_ERR_UNSUPPORTED)
    return status;
  tsr_attempt_drop(l, &c.attempt);
  int64_t assumed;
  bool usual;
  if (symbolic && usual_truth(l->ir, content->exprs[0], &usual)) {
    tsr_attempt_forget_reports(l, &c.attempt);
    return take_one(l, graphs, content->exprs[0], usual);
  }
  if (!tsr_lower_scalar_int(l, 0, &assumed))
    return status;
  tsr_attempt_forget_reports(l, &c.attempt);
  return tsr_import_subgraph(l, graphs[assumed ? 0 : 1], NULL, 0, l->out, l->out_count);
}

tsr_status tsr_lower_op_if(tsr_lower *l) {
  bool condition;
  TSR_TRY(tsr_lower_need(l, 1));
  const tsr_onnx_graph *graphs[2] = {branch(l, "then_branch"), branch(l, "else_branch")};
  if (!graphs[0] || !graphs[1])
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "a branch is missing");
  if (!tsr_known_bool(l, l->in[0], &condition))
    return choose(l, graphs);
  return tsr_import_subgraph(l, graphs[condition ? 0 : 1], NULL, 0, l->out, l->out_count);
}
