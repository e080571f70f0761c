/* equal_dims: where a check demands that an input's dim is equal to other dims, everything is said
 * in terms of these, so that later passes see one shape: `total == P + S` makes [B, total] a [B, P
 * + S]. The program evaluates the check before anything runs. Only inputs keep their dims, for the
 * check; a reshape behind them says the rest. */
#include "passes/passes.h"

enum { MOST = 64 };

typedef struct equal {
  tsr_ir *ir;
  tsr_region region;
  tsr_expr from[MOST], to[MOST]; /* `to` holds none of `from` */
  unsigned count;
} equal;

static bool has_device_dim(const tsr_ir *ir, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(ir, expr);
  if (node.op == TSR_INDEX_DIM)
    return tsr_dim_get(ir, node.dim)->from_device;
  return node.op > TSR_INDEX_LANE && (has_device_dim(ir, node.a) || has_device_dim(ir, node.b));
}

static bool mentions(const tsr_ir *ir, tsr_expr expr, tsr_expr dim) {
  tsr_expr_node node = tsr_expr_get(ir, expr);
  return expr == dim ||
         (node.op > TSR_INDEX_LANE && (mentions(ir, node.a, dim) || mentions(ir, node.b, dim)));
}

/* Memory that an output shares with an input is compared by type. */
static bool names_state(const equal *e, tsr_expr dim) {
  TSR_FOR_EACH_OP (e->ir, e->region, op) {
    if (tsr_op_get(e->ir, op)->code != TSR_OP_OUTPUT || tsr_op_attr(e->ir, op, "alias") == NULL)
      continue;
    const tsr_type_info *type = tsr_value_type(e->ir, tsr_op_get(e->ir, op)->operands[0].value);
    for (uint32_t i = 0; i < type->rank; i++)
      if (mentions(e->ir, type->dims[i], dim))
        return true;
  }
  return false;
}

static bool replaceable(const equal *e, tsr_expr dim, tsr_expr by) {
  int64_t number, least, most;
  tsr_expr_bounds(e->ir, by, NULL, 0, &least, &most);
  return tsr_expr_get(e->ir, dim).op == TSR_INDEX_DIM && !has_device_dim(e->ir, dim) &&
         !tsr_expr_is_int(e->ir, by, &number) && !has_device_dim(e->ir, by) && least >= 0 &&
         !mentions(e->ir, by, dim) && !names_state(e, dim);
}

static tsr_expr substitute(const equal *e, tsr_expr expr) {
  return tsr_expr_substitute(e->ir, expr, e->from, e->to, e->count);
}

static void add(equal *e, tsr_expr dim, tsr_expr by) {
  for (unsigned i = 0; i < e->count; i++)
    e->to[i] = tsr_expr_substitute(e->ir, e->to[i], &dim, &by, 1);
  e->from[e->count] = dim;
  e->to[e->count++] = by;
}

static void read_check(equal *e, tsr_op check) {
  const tsr_attr *holds = tsr_op_attr(e->ir, check, "holds");
  if (holds->kind != TSR_ATTR_EXPR || e->count == MOST)
    return;
  tsr_expr_node node = tsr_expr_get(e->ir, holds->u.expr);
  if (node.op != TSR_INDEX_EQ)
    return;
  tsr_expr a = substitute(e, node.a), b = substitute(e, node.b);
  if (a == b)
    return;
  /* Of two plain dims the one that came later goes. */
  bool swap = tsr_expr_get(e->ir, b).op == TSR_INDEX_DIM &&
              (tsr_expr_get(e->ir, a).op != TSR_INDEX_DIM ||
               tsr_expr_get(e->ir, a).dim < tsr_expr_get(e->ir, b).dim);
  tsr_expr first = swap ? b : a, second = swap ? a : b;
  if (replaceable(e, first, second))
    add(e, first, second);
  else if (replaceable(e, second, first))
    add(e, second, first);
}

static tsr_type renamed(const equal *e, tsr_type type) {
  const tsr_type_info *info = tsr_type_get(e->ir, type);
  tsr_expr dims[TSR_MAX_RANK];
  if (tsr_type_of_host(info))
    return type;
  for (uint32_t i = 0; i < info->rank; i++)
    dims[i] = substitute(e, info->dims[i]);
  return tsr_type_make(e->ir, info->level, info->dtype, dims, info->rank);
}

static void rename_attrs(const equal *e, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(e->ir, op);
  for (uint32_t i = 0; i < data->attr_count; i++) {
    const tsr_attr *attr = &data->attrs[i];
    tsr_expr exprs[2 * TSR_MAX_RANK];
    if (attr->kind == TSR_ATTR_EXPR)
      tsr_op_set_expr(e->ir, op, attr->key, substitute(e, attr->u.expr));
    if (attr->kind != TSR_ATTR_EXPRS || attr->count > 2 * TSR_MAX_RANK)
      continue;
    for (uint32_t k = 0; k < attr->count; k++)
      exprs[k] = substitute(e, attr->u.exprs[k]);
    tsr_op_set_exprs(e->ir, op, attr->key, exprs, attr->count);
  }
}

/* The input keeps its type; what reads it reads a reshape. */
static void rename_input(const equal *e, tsr_op input) {
  tsr_ir *ir = e->ir;
  tsr_value value = tsr_op_get(ir, input)->results[0];
  tsr_type type = tsr_value_get(ir, value)->type, other = renamed(e, type);
  tsr_op next = tsr_op_get(ir, input)->next;
  if (type == other || next == 0)
    return;
  tsr_op reshape = tsr_op_insert_before(ir, next, TSR_OP_RESHAPE);
  tsr_value result = tsr_op_add_result(ir, reshape, other);
  tsr_value_replace_all(ir, value, result);
  tsr_op_add_operand(ir, reshape, value);
}

static void rename_all(const equal *e) {
  tsr_op next;
  for (tsr_op op = tsr_region_get(e->ir, e->region)->first; op != 0; op = next) {
    const tsr_op_data *data = tsr_op_get(e->ir, op);
    next = data->next;
    if (data->code == TSR_OP_INPUT)
      rename_input(e, op);
    if (data->code == TSR_OP_INPUT || data->code == TSR_OP_CHECK)
      continue;
    rename_attrs(e, op);
    for (uint32_t i = 0; i < data->result_count; i++)
      tsr_value_set_type(e->ir, data->results[i],
                         renamed(e, tsr_value_get(e->ir, data->results[i])->type));
  }
}

/* Only graphs of plain ops: bodies have dims of their own turns. */
static bool is_plain(const tsr_ir *ir, tsr_region region) {
  TSR_FOR_EACH_OP (ir, region, op)
    if (tsr_op_get(ir, op)->region_count != 0 || tsr_op_attr(ir, op, "packed") != NULL)
      return false;
  return true;
}

tsr_status tsr_pass_equal_dims(tsr_ir *ir, const tsr_pass_options *options, tsr_diag *diag) {
  (void)options;
  (void)diag;
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), graph) {
    equal e = {.ir = ir};
    if (tsr_op_get(ir, graph)->code != TSR_OP_GRAPH)
      continue;
    e.region = tsr_op_get(ir, graph)->regions[0];
    if (!is_plain(ir, e.region))
      continue;
    TSR_FOR_EACH_OP (ir, e.region, op)
      if (tsr_op_get(ir, op)->code == TSR_OP_CHECK)
        read_check(&e, op);
    if (e.count != 0)
      rename_all(&e);
  }
  return tsr_ir_status(ir);
}
