/* Replacing values, cloning ops, and copying a whole IR so that ids follow the order of the text.
 */
#include "ir/copy.h"
#include "ir/ir_internal.h"
#include <stdio.h>
#include <string.h>

/* --- replacing --- */

typedef struct replacement {
  tsr_value from, to;
} replacement;

static tsr_expr map_replaced(tsr_ir *ir, void *context, tsr_expr leaf) {
  const replacement *r = (const replacement *)context;
  return tsr_expr_get(ir, leaf).value == r->from ? tsr_expr_value(ir, r->to) : leaf;
}

static tsr_expr replace_in(tsr_ir *ir, tsr_expr expr, replacement *r) {
  return tsr_expr_rewrite(ir, expr, TSR_LEAF_BIT(TSR_INDEX_VALUE), map_replaced, r);
}

/* The list with `from` replaced: itself when nothing changes, a copy otherwise, NULL on failure. */
static const tsr_expr *replace_in_list(tsr_ir *ir, const tsr_expr *list, uint32_t count,
                                       replacement *r) {
  tsr_expr *changed = NULL;
  for (uint32_t i = 0; i < count; i++) {
    tsr_expr expr = replace_in(ir, list[i], r);
    if (expr == 0)
      return NULL;
    if (expr != list[i] && changed == NULL) {
      changed = (tsr_expr *)tsr_ir_copy(ir, list, count * sizeof *list);
      if (changed == NULL)
        return NULL;
    }
    if (changed != NULL)
      changed[i] = expr;
  }
  return changed == NULL ? list : changed;
}

static void replace_operand(tsr_ir *ir, tsr_op op, uint32_t number, replacement *r) {
  const tsr_operand *operand = &tsr_op_get(ir, op)->operands[number];
  tsr_value value = operand->value == r->from ? r->to : operand->value;
  const tsr_expr *subscripts =
      replace_in_list(ir, operand->subscripts, operand->subscript_count, r);
  bool failed = subscripts == NULL && operand->subscript_count != 0;
  if (failed || (value == operand->value && subscripts == operand->subscripts))
    return;
  if (operand->subscripted)
    tsr_op_set_element(ir, op, number, value, subscripts, operand->subscript_count);
  else
    tsr_op_set_operand(ir, op, number, value);
}

static void replace_attr(tsr_ir *ir, tsr_op op, const tsr_attr *attr, replacement *r) {
  if (attr->kind == TSR_ATTR_EXPR) {
    tsr_expr expr = replace_in(ir, attr->u.expr, r);
    if (expr != 0 && expr != attr->u.expr)
      tsr_op_set_expr(ir, op, attr->key, expr);
  } else if (attr->kind == TSR_ATTR_EXPRS) {
    const tsr_expr *exprs = replace_in_list(ir, attr->u.exprs, attr->count, r);
    if (exprs != NULL && exprs != attr->u.exprs)
      tsr_op_set_exprs(ir, op, attr->key, exprs, attr->count);
  }
}

static bool replace_bounds(tsr_ir *ir, tsr_value arg, replacement *r) {
  tsr_value_data *data = &tsr_value_slot_of(ir, arg)->data;
  tsr_expr lo = replace_in(ir, data->lo, r), hi = replace_in(ir, data->hi, r);
  if (data->hi == 0 || lo == 0 || hi == 0 || (lo == data->lo && hi == data->hi))
    return false;
  tsr_expr_count_uses(ir, lo, 1);
  tsr_expr_count_uses(ir, hi, 1);
  tsr_expr_count_uses(ir, data->lo, -1);
  tsr_expr_count_uses(ir, data->hi, -1);
  data->lo = lo;
  data->hi = hi;
  tsr_value_slot_of(ir, arg)->last = 0;
  return true;
}

static bool replace_in_op(tsr_ir *ir, tsr_op op, replacement *r) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  bool ranges_changed = false;
  for (uint32_t i = 0; i < data->operand_count; i++)
    replace_operand(ir, op, i, r);
  for (uint32_t i = 0; i < data->attr_count; i++)
    replace_attr(ir, op, &data->attrs[i], r);
  for (uint32_t i = 0; i < data->region_count; i++) {
    const tsr_region_data *region = tsr_region_get(ir, data->regions[i]);
    for (uint32_t a = 0; a < region->arg_count; a++)
      ranges_changed = replace_bounds(ir, region->args[a], r) || ranges_changed;
  }
  return ranges_changed;
}

/* Uses mostly stand behind the definition, so the search starts there and ends with the last use.
 */
void tsr_value_replace_all(tsr_ir *ir, tsr_value from, tsr_value to) {
  replacement r = {from, to};
  uint32_t count = ir->ops.count, start;
  bool ranges_changed = false;
  if (from == 0 || to == 0 || from == to)
    return;
  start = tsr_value_get(ir, from)->def;
  for (uint32_t i = 0; i < count && tsr_value_slot_of(ir, from)->uses != 0; i++) {
    tsr_op op = (start - 1 + i) % count + 1;
    if (!tsr_op_slot_of(ir, op)->erased)
      ranges_changed = replace_in_op(ir, op, &r) || ranges_changed;
  }
  if (ranges_changed)
    tsr_expr_refresh_intervals(ir);
}

/* --- copying --- */

/* Within one IR unmapped values stand for themselves; from one IR to another all are mapped. */
typedef struct copier {
  tsr_ir *to;
  const tsr_ir *from;
  tsr_value *map;
  uint32_t map_size;
  tsr_dim *dims;    /* by dim; NULL: dims have the same ids in both */
  uint32_t *consts; /* the same for constants; 0: not copied yet */
} copier;

static tsr_value map_value(const copier *c, tsr_value value) {
  tsr_value mapped = value < c->map_size ? c->map[value] : 0;
  return mapped != 0 || c->to != c->from ? mapped : value;
}

static tsr_expr map_leaf(tsr_ir *ir, void *context, tsr_expr leaf) {
  return tsr_expr_value(ir, map_value((const copier *)context, tsr_expr_get(ir, leaf).value));
}

static tsr_expr rebuild(copier *c, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(c->from, expr);
  tsr_expr a;
  switch (node.op) {
  case TSR_INDEX_INT:
    return tsr_expr_int(c->to, node.number);
  case TSR_INDEX_DIM:
    return tsr_expr_dim(c->to, c->dims == NULL ? node.dim : c->dims[node.dim]);
  case TSR_INDEX_VALUE:
    return tsr_expr_value(c->to, map_value(c, node.value));
  case TSR_INDEX_LANE:
    return tsr_expr_lane(c->to, (unsigned)node.number);
  default:
    a = rebuild(c, node.a);
    return tsr_expr_binary(c->to, node.op, a, rebuild(c, node.b));
  }
}

static tsr_expr map_expr(copier *c, tsr_expr expr) {
  if (expr == 0)
    return 0;
  if (c->to == c->from)
    return tsr_expr_rewrite(c->to, expr, TSR_LEAF_BIT(TSR_INDEX_VALUE), map_leaf, c);
  return rebuild(c, expr);
}

static tsr_expr *map_exprs(copier *c, const tsr_expr *exprs, uint32_t count) {
  tsr_expr *mapped = (tsr_expr *)tsr_ir_alloc(c->to, count * sizeof *mapped);
  for (uint32_t i = 0; mapped != NULL && i < count; i++)
    mapped[i] = map_expr(c, exprs[i]);
  return mapped;
}

static tsr_type map_type(copier *c, tsr_type type) {
  const tsr_type_info *info = tsr_type_get(c->from, type);
  tsr_expr *dims;
  if (c->to == c->from || type == 0)
    return type;
  if (info->level == TSR_LEVEL_NONE)
    return tsr_type_index(c->to);
  dims = map_exprs(c, info->dims, tsr_type_dim_count(info));
  return dims == NULL ? 0 : tsr_type_make(c->to, info->level, info->dtype, dims, info->rank);
}

static void record(copier *c, tsr_value from, tsr_value to) {
  if (from < c->map_size)
    c->map[from] = to;
  tsr_value_set_name(c->to, to, tsr_value_get(c->from, from)->name);
}

static void copy_operands(copier *c, tsr_op to, const tsr_op_data *from) {
  for (uint32_t i = 0; i < from->operand_count; i++) {
    const tsr_operand *operand = &from->operands[i];
    tsr_value value = map_value(c, operand->value);
    tsr_expr *subscripts = map_exprs(c, operand->subscripts, operand->subscript_count);
    if (subscripts == NULL)
      return;
    if (operand->subscripted)
      tsr_op_add_element(c->to, to, value, subscripts, operand->subscript_count);
    else
      tsr_op_add_operand(c->to, to, value);
  }
}

/* The constant's number where it is copied to, with the same bytes. */
static int64_t map_const(copier *c, int64_t number) {
  const tsr_const_data *data;
  void *item;
  if (c->consts == NULL || number <= 0 || number > c->from->consts.count)
    return number;
  data = tsr_const_get(c->from, (uint32_t)number);
  if (c->consts[number] == 0) {
    c->consts[number] = tsr_store_add(c->to, &c->to->consts, &item);
    if (c->consts[number] != 0)
      *(tsr_const_data *)item = *data;
  }
  return c->consts[number];
}

static void copy_attrs(copier *c, tsr_op to, const tsr_op_data *from) {
  for (uint32_t i = 0; i < from->attr_count; i++) {
    const tsr_attr *attr = &from->attrs[i];
    if (from->code == TSR_OP_CONST && attr->kind == TSR_ATTR_INT && strcmp(attr->key, "data") == 0)
      tsr_op_set_int(c->to, to, attr->key, map_const(c, attr->u.integer));
    else if (attr->kind == TSR_ATTR_EXPR) {
      tsr_op_set_expr(c->to, to, attr->key, map_expr(c, attr->u.expr));
    } else if (attr->kind == TSR_ATTR_EXPRS) {
      tsr_expr *exprs = map_exprs(c, attr->u.exprs, attr->count);
      if (exprs != NULL)
        tsr_op_set_exprs(c->to, to, attr->key, exprs, attr->count);
    } else {
      tsr_op_set_attr(c->to, to, attr);
    }
  }
}

static void copy_arg(copier *c, tsr_region to, tsr_value arg) {
  const tsr_value_data *data = tsr_value_get(c->from, arg);
  int64_t step;
  tsr_value value;
  if (data->hi != 0) {
    (void)tsr_expr_is_int(c->from, data->step, &step);
    value = tsr_region_add_index(c->to, to, data->role, map_expr(c, data->lo),
                                 map_expr(c, data->hi), step);
  } else {
    value = tsr_region_add_arg(c->to, to, data->role, map_type(c, data->type));
  }
  record(c, arg, value);
}

static tsr_op copy_op(copier *c, tsr_op op, tsr_region region);

/* Stops at what was the last op at first, so that an op can be cloned into itself. */
static void copy_region(copier *c, tsr_op to, tsr_region from) {
  const tsr_region_data *data = tsr_region_get(c->from, from);
  tsr_op last = data->last, op = data->first;
  tsr_region region = tsr_op_add_region(c->to, to);
  for (uint32_t i = 0; i < data->arg_count; i++)
    copy_arg(c, region, data->args[i]);
  while (op != 0 && c->to->status == TSR_OK) {
    (void)copy_op(c, op, region);
    op = op == last ? 0 : tsr_op_get(c->from, op)->next;
  }
}

static tsr_op copy_op(copier *c, tsr_op op, tsr_region region) {
  const tsr_op_data *from = tsr_op_get(c->from, op);
  tsr_op to = tsr_op_append(c->to, region, from->code);
  if (to == 0)
    return 0;
  for (uint32_t i = 0; i < from->result_count; i++) {
    const tsr_value_data *result = tsr_value_get(c->from, from->results[i]);
    record(c, from->results[i], tsr_op_add_result(c->to, to, map_type(c, result->type)));
  }
  for (uint32_t i = 0; i < from->region_count; i++)
    copy_region(c, to, from->regions[i]);
  copy_operands(c, to, from);
  copy_attrs(c, to, from);
  if (from->symbol != NULL)
    tsr_op_set_symbol(c->to, to, from->symbol);
  for (uint32_t i = 0; i < from->origin_count; i++)
    tsr_op_add_origin(c->to, to, from->origins[i]);
  tsr_op_slot_of(c->to, to)->data.line = from->line;
  return c->to->status == TSR_OK ? to : 0;
}

tsr_op tsr_op_clone(tsr_ir *ir, tsr_op op, tsr_region region, tsr_value *map, uint32_t map_size) {
  copier c = {.to = ir, .from = ir, .map = map, .map_size = map_size};
  size_t bytes = 0;
  tsr_op clone;
  if (op == 0 || region == 0)
    return 0;
  if (map == NULL) {
    c.map_size = ir->values.count + 1;
    bytes = c.map_size * sizeof *c.map;
    c.map = (tsr_value *)ir->allocator->allocate(ir->allocator->context, bytes, 16);
    if (c.map == NULL)
      return tsr_ir_poison(ir, TSR_ERR_OUT_OF_MEMORY, "out of memory");
    memset(c.map, 0, bytes);
  }
  clone = copy_op(&c, op, region);
  if (map == NULL)
    ir->allocator->release(ir->allocator->context, c.map, bytes);
  return clone;
}

static tsr_dim copy_dim(copier *c, tsr_dim dim, bool from_device) {
  const tsr_dim_slot *slot = tsr_dim_slot_of(c->from, dim);
  if (from_device)
    return tsr_dim_add_device(c->to, slot->data.name, map_expr(c, slot->data.bound));
  return tsr_dim_add(c->to, slot->data.name, slot->data.lo, slot->data.hi,
                     slot->hint_given ? slot->data.hint : 0);
}

static void copy_tables(copier *c) {
  for (tsr_dim dim = 1; dim <= c->from->dims.count; dim++)
    if (copy_dim(c, dim, tsr_dim_slot_of(c->from, dim)->data.from_device) == 0)
      return;
  for (uint32_t i = 1; i <= c->from->consts.count; i++) {
    const tsr_const_data *data = tsr_const_get(c->from, i);
    void *item;
    if (tsr_store_add(c->to, &c->to->consts, &item) == 0)
      return;
    *(tsr_const_data *)item = *data;
  }
}

tsr_status tsr_ir_copy_in_order(const tsr_ir *from, const tsr_allocator *allocator,
                                tsr_ir **out_ir) {
  copier c = {.from = from, .map_size = from->values.count + 1};
  tsr_status status;
  size_t bytes = c.map_size * sizeof *c.map;
  *out_ir = NULL;
  TSR_TRY(tsr_ir_create(allocator, &c.to));
  c.map = (tsr_value *)allocator->allocate(allocator->context, bytes, 16);
  if (c.map != NULL) {
    memset(c.map, 0, bytes);
    copy_tables(&c);
    for (tsr_op op = tsr_region_get(from, from->top)->first; op != 0 && c.to->status == TSR_OK;
         op = tsr_op_get(from, op)->next)
      (void)copy_op(&c, op, c.to->top);
    allocator->release(allocator->context, c.map, bytes);
  }
  status = c.map == NULL ? TSR_ERR_OUT_OF_MEMORY : c.to->status;
  if (status == TSR_OK)
    *out_ir = c.to;
  else
    tsr_ir_destroy(c.to);
  return status;
}

/* --- one graph --- */

enum { DIM_USED = 1, DIM_GIVEN = 2 };

/* What a graph uses of the tables: dims by DIM_ bits. */
typedef struct usage {
  const tsr_ir *ir;
  uint8_t *dims;
} usage;

static void use_expr(usage *u, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(u->ir, expr);
  if (expr == 0 || !tsr_expr_has(u->ir, expr, TSR_INDEX_DIM))
    return;
  if (node.op == TSR_INDEX_DIM) {
    u->dims[node.dim] |= DIM_USED;
    return;
  }
  use_expr(u, node.a);
  use_expr(u, node.b);
}

static void use_exprs(usage *u, const tsr_expr *exprs, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    use_expr(u, exprs[i]);
}

static void use_value(usage *u, tsr_value value) {
  const tsr_value_data *data = tsr_value_get(u->ir, value);
  const tsr_type_info *type = tsr_type_get(u->ir, data->type);
  use_exprs(u, type->dims, tsr_type_dim_count(type));
  use_expr(u, data->lo);
  use_expr(u, data->hi);
}

static void use_op(usage *u, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(u->ir, op);
  for (uint32_t i = 0; i < data->result_count; i++)
    use_value(u, data->results[i]);
  for (uint32_t i = 0; i < data->operand_count; i++)
    use_exprs(u, data->operands[i].subscripts, data->operands[i].subscript_count);
  for (uint32_t i = 0; i < data->attr_count; i++) {
    const tsr_attr *attr = &data->attrs[i];
    tsr_expr_node node = {.op = TSR_INDEX_INT};
    if (attr->kind == TSR_ATTR_EXPR) {
      use_expr(u, attr->u.expr);
      node = tsr_expr_get(u->ir, attr->u.expr);
    } else if (attr->kind == TSR_ATTR_EXPRS) {
      use_exprs(u, attr->u.exprs, attr->count);
    }
    if (data->code == TSR_OP_RESIZE_DIM && strcmp(attr->key, "dim") == 0 &&
        node.op == TSR_INDEX_DIM)
      u->dims[node.dim] |= DIM_GIVEN;
  }
  for (uint32_t r = 0; r < data->region_count; r++) {
    const tsr_region_data *region = tsr_region_get(u->ir, data->regions[r]);
    for (uint32_t i = 0; i < region->arg_count; i++)
      use_value(u, region->args[i]);
    TSR_FOR_EACH_OP (u->ir, data->regions[r], inner)
      use_op(u, inner);
  }
}

/* A dim's bound names dims that were made before it. */
static void copy_used_dims(copier *c, usage *u) {
  for (tsr_dim dim = c->from->dims.count; dim != 0; dim--)
    if (u->dims[dim] == (DIM_USED | DIM_GIVEN))
      use_expr(u, tsr_dim_slot_of(c->from, dim)->data.bound);
  for (tsr_dim dim = 1; dim <= c->from->dims.count && c->to->status == TSR_OK; dim++)
    if (u->dims[dim] != 0)
      c->dims[dim] = copy_dim(c, dim,
                              (u->dims[dim] & DIM_GIVEN) != 0 &&
                                  tsr_dim_slot_of(c->from, dim)->data.from_device);
}

static void extract(copier *c, usage *u, tsr_op graph, tsr_op *out_op) {
  use_op(u, graph);
  copy_used_dims(c, u);
  if (c->to->status == TSR_OK)
    *out_op = copy_op(c, graph, c->to->top);
  tsr_op_set_symbol(c->to, *out_op, "main");
}

typedef void (*extraction)(copier *c, usage *u, tsr_op op, tsr_op *out_op);

static tsr_status extract_by(const tsr_ir *from, tsr_op op, extraction take,
                             const tsr_allocator *allocator, tsr_ir **out_ir, tsr_op *out_op) {
  copier c = {.from = from, .map_size = from->values.count + 1};
  usage u = {.ir = from};
  size_t dims = from->dims.count + 1, consts = from->consts.count + 1;
  size_t bytes =
      c.map_size * sizeof *c.map + dims * (sizeof *c.dims + 1) + consts * sizeof *c.consts;
  void *tables;
  tsr_status status;
  *out_ir = NULL;
  *out_op = 0;
  TSR_TRY(tsr_ir_create(allocator, &c.to));
  tables = allocator->allocate(allocator->context, bytes, 16);
  if (tables == NULL) {
    tsr_ir_destroy(c.to);
    return TSR_ERR_OUT_OF_MEMORY;
  }
  memset(tables, 0, bytes);
  c.map = (tsr_value *)tables;
  c.dims = (tsr_dim *)(c.map + c.map_size);
  c.consts = c.dims + dims;
  u.dims = (uint8_t *)(c.consts + consts);
  take(&c, &u, op, out_op);
  allocator->release(allocator->context, tables, bytes);
  status = c.to->status;
  if (status == TSR_OK)
    *out_ir = c.to;
  else
    tsr_ir_destroy(c.to);
  return status;
}

tsr_status tsr_ir_extract(const tsr_ir *from, tsr_op graph, const tsr_allocator *allocator,
                          tsr_ir **out_ir) {
  tsr_op made;
  return extract_by(from, graph, extract, allocator, out_ir, &made);
}

/* --- one op --- */

/* The constant itself, or an input in place of what else the op reads. */
static void bring_value(copier *c, tsr_value value, tsr_region region, uint32_t *inputs) {
  const tsr_value_data *data = tsr_value_get(c->from, value);
  char name[24];
  tsr_op op;
  if (data->role == TSR_ROLE_RESULT && tsr_op_get(c->from, data->def)->code == TSR_OP_CONST) {
    (void)copy_op(c, data->def, region);
    return;
  }
  op = tsr_op_append(c->to, region, TSR_OP_INPUT);
  snprintf(name, sizeof name, "x%u", (*inputs)++);
  tsr_op_set_string(c->to, op, "name", name);
  c->map[value] = tsr_op_add_result(c->to, op, map_type(c, data->type));
}

/* What is defined outside of `op` or in none of its regions. */
static void bring_operands(copier *c, tsr_op op, tsr_region region, uint32_t *inputs) {
  const tsr_op_data *data = tsr_op_get(c->from, op);
  for (uint32_t i = 0; i < data->operand_count; i++)
    if (c->map[data->operands[i].value] == 0)
      bring_value(c, data->operands[i].value, region, inputs);
  /* What is inside stands for itself while its surroundings are looked for. */
  for (uint32_t i = 0; i < data->result_count; i++)
    c->map[data->results[i]] = UINT32_MAX;
  for (uint32_t r = 0; r < data->region_count; r++) {
    const tsr_region_data *inner = tsr_region_get(c->from, data->regions[r]);
    for (uint32_t i = 0; i < inner->arg_count; i++)
      c->map[inner->args[i]] = UINT32_MAX;
    TSR_FOR_EACH_OP (c->from, data->regions[r], body)
      bring_operands(c, body, region, inputs);
  }
}

static void use_operands(usage *u, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(u->ir, op);
  for (uint32_t i = 0; i < data->operand_count; i++)
    use_value(u, data->operands[i].value);
  for (uint32_t r = 0; r < data->region_count; r++)
    TSR_FOR_EACH_OP (u->ir, data->regions[r], inner)
      use_operands(u, inner);
}

static bool is_extent(const tsr_ir *ir, tsr_region graph, tsr_expr dim) {
  TSR_FOR_EACH_OP (ir, graph, op) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    const tsr_type_info *type =
        data->code == TSR_OP_INPUT ? tsr_value_type(ir, data->results[0]) : NULL;
    for (uint32_t i = 0; type != NULL && i < type->rank; i++)
      if (type->dims[i] == dim)
        return true;
  }
  return false;
}

static void bring_extents(copier *c, tsr_region graph, uint32_t *inputs) {
  for (tsr_dim dim = 1; dim <= c->to->dims.count; dim++) {
    const tsr_expr extent = tsr_expr_dim(c->to, dim);
    char name[24];
    if (is_extent(c->to, graph, extent))
      continue;
    tsr_op op = tsr_op_append(c->to, graph, TSR_OP_INPUT);
    snprintf(name, sizeof name, "x%u", (*inputs)++);
    tsr_op_set_string(c->to, op, "name", name);
    (void)tsr_op_add_result(c->to, op, tsr_type_make(c->to, TSR_LEVEL_GLOBAL, TSR_U8, &extent, 1));
  }
}

static void isolate(copier *c, usage *u, tsr_op op, tsr_op *out_op) {
  uint32_t inputs = 0;
  use_op(u, op);
  use_operands(u, op);
  copy_used_dims(c, u);
  if (c->to->status != TSR_OK)
    return;
  const tsr_op graph = tsr_op_append(c->to, c->to->top, TSR_OP_GRAPH);
  tsr_op_set_symbol(c->to, graph, "main");
  const tsr_region region = tsr_op_add_region(c->to, graph);
  bring_operands(c, op, region, &inputs);
  bring_extents(c, region, &inputs);
  *out_op = copy_op(c, op, region);
  if (*out_op == 0)
    return;
  const tsr_op_data *made = tsr_op_get(c->to, *out_op);
  for (uint32_t i = 0; i < made->result_count; i++) {
    char name[24];
    tsr_op output = tsr_op_append(c->to, region, TSR_OP_OUTPUT);
    snprintf(name, sizeof name, "y%u", i);
    tsr_op_add_operand(c->to, output, made->results[i]);
    tsr_op_set_string(c->to, output, "name", name);
  }
}

tsr_status tsr_ir_isolate(const tsr_ir *from, tsr_op op, const tsr_allocator *allocator,
                          tsr_ir **out_ir, tsr_op *out_op) {
  return extract_by(from, op, isolate, allocator, out_ir, out_op);
}
