#include "passes/block_info.h"
#include <string.h>

enum { MAX_FEEDERS = 1024 };

bool tsr_op_is_load(const tsr_ir *ir, tsr_op op) {
  tsr_opcode code = tsr_op_get(ir, op)->code;
  return code == TSR_OP_LOAD || code == TSR_OP_GATHER_LOAD;
}

bool tsr_op_is_store(const tsr_ir *ir, tsr_op op) {
  tsr_opcode code = tsr_op_get(ir, op)->code;
  return code == TSR_OP_STORE || code == TSR_OP_SCATTER_STORE;
}

bool tsr_op_reads(const tsr_ir *ir, tsr_op op, tsr_value value) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  for (uint32_t i = 0; i < data->operand_count; i++) {
    if (data->operands[i].value == value)
      return true;
    for (uint32_t s = 0; s < data->operands[i].subscript_count; s++)
      if (tsr_expr_uses_value(ir, data->operands[i].subscripts[s], value))
        return true;
  }
  for (uint32_t i = 0; i < data->attr_count; i++)
    if (data->attrs[i].kind == TSR_ATTR_EXPR &&
        tsr_expr_uses_value(ir, data->attrs[i].u.expr, value))
      return true;
  return false;
}

tsr_op tsr_block_store_of(const tsr_ir *ir, tsr_region body, tsr_value result) {
  tsr_op found = 0;
  TSR_FOR_EACH_OP (ir, body, op) {
    if (!tsr_op_is_store(ir, op) || tsr_op_get(ir, op)->operands[1].value != result)
      continue;
    if (found != 0)
      return 0;
    found = op;
  }
  return found;
}

static bool listed(const tsr_value *list, uint32_t count, tsr_value value) {
  for (uint32_t i = 0; i < count; i++)
    if (list[i] == value)
      return true;
  return false;
}

static void list_expr_values(const tsr_ir *ir, tsr_expr expr, tsr_value *list, uint32_t *count) {
  if (expr == 0 || !tsr_expr_has(ir, expr, TSR_INDEX_VALUE))
    return;
  tsr_expr_node node = tsr_expr_get(ir, expr);
  if (node.op != TSR_INDEX_VALUE) {
    list_expr_values(ir, node.a, list, count);
    list_expr_values(ir, node.b, list, count);
  } else if (*count < MAX_FEEDERS && !listed(list, *count, node.value)) {
    list[(*count)++] = node.value;
  }
}

/* Walks backwards from the reduces, listing the values that they need. */
bool tsr_block_feeds_reduce(const tsr_ir *ir, tsr_region body, tsr_op op) {
  tsr_value needed[MAX_FEEDERS];
  uint32_t count = 0;
  for (tsr_op at = tsr_region_get(ir, body)->last; at != 0; at = tsr_op_get(ir, at)->prev) {
    const tsr_op_data *data = tsr_op_get(ir, at);
    bool feeds = data->code == TSR_OP_REDUCE;
    for (uint32_t i = 0; i < data->result_count && !feeds; i++)
      feeds = listed(needed, count, data->results[i]);
    if (at == op)
      return feeds || count == MAX_FEEDERS;
    for (uint32_t i = 0; i < data->operand_count && feeds; i++) {
      if (count < MAX_FEEDERS && !listed(needed, count, data->operands[i].value))
        needed[count++] = data->operands[i].value;
      for (uint32_t k = 0; k < data->operands[i].subscript_count; k++)
        list_expr_values(ir, data->operands[i].subscripts[k], needed, &count);
    }
  }
  return false;
}

double tsr_hinted(tsr_ir *ir, tsr_expr expr) {
  int64_t number, dims[64];
  uint32_t count = tsr_dim_count(ir);
  if (tsr_expr_is_int(ir, expr, &number))
    return (double)number;
  if (count > 64)
    return 256;
  for (tsr_dim d = 1; d <= count; d++) {
    const tsr_dim_data *dim = tsr_dim_get(ir, d);
    dims[d - 1] = dim->hint > 0 ? dim->hint : dim->hi > 0 && dim->hi < 256 ? dim->hi : 256;
  }
  if (tsr_expr_has(ir, expr, TSR_INDEX_VALUE) || tsr_expr_has(ir, expr, TSR_INDEX_LANE) ||
      tsr_expr_eval(ir, expr, dims, &number) != TSR_OK)
    return 256;
  return (double)number;
}

double tsr_hinted_elements(tsr_ir *ir, const tsr_type_info *type) {
  double all = 1;
  for (uint32_t i = 0; i < type->rank; i++)
    all *= tsr_hinted(ir, type->dims[i]);
  return all;
}

static const double hoisted_cost = 0.125;

/* Rough prices in elementwise vector operations; memory is dearer than arithmetic. */
static double op_cost(tsr_opcode code) {
  switch (code) {
  case TSR_OP_CONST:
  case TSR_OP_INDEX:
  case TSR_OP_CAST:
  case TSR_OP_BITCAST:
    return 0.25;
  case TSR_OP_DIV:
  case TSR_OP_SQRT:
  case TSR_OP_RSQRT:
  case TSR_OP_RECIP:
  case TSR_OP_REM:
  case TSR_OP_MOD:
    return 4;
  case TSR_OP_EXP:
  case TSR_OP_LOG:
  case TSR_OP_TANH:
  case TSR_OP_ERF:
    return 12;
  case TSR_OP_POW:
    return 30;
  default:
    return code >= TSR_OP_SIN && code <= TSR_OP_ATANH ? 25 : 1;
  }
}

/* A load along the innermost axis streams, one across it hops, one without it stays in a register.
 */
static double load_cost(tsr_ir *ir, const tsr_operand *from, tsr_value innermost) {
  if (innermost == 0)
    return 1;
  tsr_expr leaf = tsr_expr_value(ir, innermost);
  for (uint32_t i = 0; i < from->subscript_count; i++) {
    if (!tsr_expr_uses_value(ir, from->subscripts[i], innermost))
      continue;
    int64_t coefficient;
    tsr_expr rest;
    bool streams = i + 1 == from->subscript_count &&
                   tsr_expr_linear(ir, from->subscripts[i], &leaf, 1, &coefficient, &rest) &&
                   coefficient == 1;
    return streams ? 4 : 8;
  }
  return 1;
}

/* True when the op's value changes from one point to the next of the innermost loop; the others are
 * computed once before it. */
static bool varies(const tsr_ir *ir, const tsr_op_data *data, tsr_value innermost,
                   const tsr_value *varying, uint32_t count) {
  for (uint32_t i = 0; i < data->operand_count; i++) {
    if (listed(varying, count, data->operands[i].value))
      return true;
    for (uint32_t s = 0; s < data->operands[i].subscript_count; s++) {
      tsr_value inside[MAX_FEEDERS];
      uint32_t found = 0;
      list_expr_values(ir, data->operands[i].subscripts[s], inside, &found);
      for (uint32_t k = 0; k < found; k++)
        if (inside[k] == innermost || listed(varying, count, inside[k]))
          return true;
    }
  }
  for (uint32_t i = 0; i < data->attr_count; i++)
    if (data->attrs[i].kind == TSR_ATTR_EXPR &&
        tsr_expr_uses_value(ir, data->attrs[i].u.expr, innermost))
      return true;
  return false;
}

static tsr_op definer(const tsr_ir *ir, tsr_value value) {
  const tsr_value_data *data = tsr_value_get(ir, value);
  return data->role == TSR_ROLE_RESULT ? data->def : 0;
}

/* The load behind casts, or 0. */
static tsr_op operand_load(const tsr_ir *ir, tsr_value value) {
  tsr_op op = definer(ir, value);
  while (op != 0 && tsr_op_get(ir, op)->code == TSR_OP_CAST)
    op = definer(ir, tsr_op_get(ir, op)->operands[0].value);
  return op != 0 && tsr_op_is_load(ir, op) ? op : 0;
}

static bool uses_all_par(const tsr_ir *ir, tsr_region body, tsr_op load) {
  const tsr_region_data *region = tsr_region_get(ir, body);
  for (uint32_t i = 0; i < region->arg_count; i++)
    if (tsr_value_get(ir, region->args[i])->role == TSR_ROLE_PAR &&
        !tsr_op_reads(ir, load, region->args[i]))
      return false;
  return true;
}

static bool is_contraction(const tsr_ir *ir, tsr_region body, tsr_op reduce) {
  const tsr_op_data *data = tsr_op_get(ir, reduce);
  const char *combine = tsr_op_string(ir, reduce, "combine");
  tsr_op mul = definer(ir, data->operands[0].value);
  if (combine == NULL || strcmp(combine, "add") != 0 || mul == 0 ||
      tsr_op_get(ir, mul)->code != TSR_OP_MUL)
    return false;
  tsr_op a = operand_load(ir, tsr_op_get(ir, mul)->operands[0].value);
  tsr_op b = operand_load(ir, tsr_op_get(ir, mul)->operands[1].value);
  return a != 0 && b != 0 && (!uses_all_par(ir, body, a) || !uses_all_par(ir, body, b));
}

static void describe_domain(tsr_ir *ir, tsr_block_info *info, tsr_value *innermost) {
  const tsr_region_data *region = tsr_region_get(ir, info->body);
  info->points = info->par_points = 1;
  for (uint32_t i = 0; i < region->arg_count; i++) {
    const tsr_value_data *arg = tsr_value_get(ir, region->args[i]);
    double extent = tsr_hinted(ir, tsr_expr_sub(ir, arg->hi, arg->lo));
    info->points *= extent;
    if (arg->role == TSR_ROLE_RED) {
      info->kind = TSR_BLOCK_REDUCE;
    } else {
      info->par_points *= extent;
      *innermost = region->args[i];
    }
  }
}

tsr_block_info tsr_block_describe(tsr_ir *ir, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  tsr_block_info info = {.op = op, .result_count = data->result_count};
  if (data->code != TSR_OP_BLOCK)
    return info;
  info.kind = TSR_BLOCK_MAP;
  info.body = data->regions[0];
  tsr_value innermost = 0;
  describe_domain(ir, &info, &innermost);
  tsr_value varying[MAX_FEEDERS];
  uint32_t varying_count = 0;
  TSR_FOR_EACH_OP (ir, info.body, inner) {
    const tsr_op_data *in = tsr_op_get(ir, inner);
    bool moves = innermost != 0 && varies(ir, in, innermost, varying, varying_count);
    for (uint32_t i = 0; i < in->result_count && moves && varying_count < MAX_FEEDERS; i++)
      varying[varying_count++] = in->results[i];
    info.op_count++;
    info.indirect |= in->code == TSR_OP_GATHER_LOAD;
    if (tsr_op_is_load(ir, inner)) {
      info.load_count++;
      info.cost += load_cost(ir, &in->operands[0], innermost);
    } else if (!tsr_op_is_store(ir, inner)) {
      info.cost += moves ? op_cost(in->code) : hoisted_cost;
    }
    if (in->code == TSR_OP_REDUCE && is_contraction(ir, info.body, inner))
      info.kind = TSR_BLOCK_CONTRACT;
  }
  return info;
}
