/* Structure of the IR: which op stands at which level (the table is ops.def), counts, attributes,
 * visibility of values, subscripts. Rules of single ops: verify_rules.c. */
#include "ir/ir_internal.h"
#include "ir/verify_internal.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MAX_DEPTH = 128, MAX_REDS = 64 };

tsr_status tsr_verify_fail(tsr_verifier *v, tsr_op op, const char *format, ...) {
  const tsr_op_data *data = tsr_op_get(v->ir, op);
  char message[768];
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  (void)tsr_fail(v->diag, TSR_ERR_VERIFY, "%s", message);
  tsr_diag_set_node(v->diag, data->origin_count != 0 ? data->origins[0] : NULL,
                    tsr_opcode_info(data->code)->text);
  tsr_diag_set_position(v->diag, data->line, 0);
  return TSR_ERR_VERIFY;
}

const char *tsr_verify_type_text(tsr_verifier *v, tsr_type type) {
  const char *text = type == 0 ? "nothing" : tsr_type_print(v->ir, type, tsr_ir_arena(v->ir));
  return text == NULL ? "?" : text;
}

/* --- rows --- */

static tsr_status check_counts(tsr_verifier *v, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(v->ir, op);
  const tsr_op_info *info = tsr_opcode_info(data->code);
  if ((info->levels & v->levels) == 0)
    return tsr_verify_fail(v, op, "'%s' cannot stand here", info->text);
  if (data->operand_count < (uint32_t)info->min_operands ||
      (info->max_operands >= 0 && data->operand_count > (uint32_t)info->max_operands))
    return tsr_verify_fail(v, op, "'%s' has %u operands", info->text, data->operand_count);
  if (info->results >= 0 && data->result_count != (uint32_t)info->results)
    return tsr_verify_fail(v, op, "'%s' has %u results; it makes %d", info->text,
                           data->result_count, info->results);
  if (info->regions >= 0 && data->region_count != (uint32_t)info->regions)
    return tsr_verify_fail(v, op, "'%s' has %u regions; it takes %d", info->text,
                           data->region_count, info->regions);
  for (uint32_t i = 0; i < data->result_count; i++)
    if (tsr_value_get(v->ir, data->results[i])->type == 0)
      return tsr_verify_fail(v, op, "result %u has no type", i);
  return TSR_OK;
}

static bool integers_only(const tsr_ir *ir, const tsr_attr *attr) {
  int64_t number;
  for (uint32_t i = 0; i < attr->count; i++)
    if (!tsr_expr_is_int(ir, attr->u.exprs[i], &number))
      return false;
  return true;
}

static bool kind_fits(const tsr_ir *ir, const tsr_attr *attr, const char *kind, size_t length) {
  static const struct {
    const char *text;
    unsigned kinds;
  } rows[] = {{"int", 1u << TSR_ATTR_INT},
              {"float", 1u << TSR_ATTR_INT | 1u << TSR_ATTR_FLOAT},
              {"bool", 1u << TSR_ATTR_BOOL},
              {"string", 1u << TSR_ATTR_STRING},
              {"symbol", 1u << TSR_ATTR_SYMBOL},
              {"dtype", 1u << TSR_ATTR_DTYPE},
              {"expr", 1u << TSR_ATTR_INT | 1u << TSR_ATTR_EXPR},
              {"exprs", 1u << TSR_ATTR_EXPRS},
              {"strings", 1u << TSR_ATTR_STRINGS},
              {"*", ~0u}};
  if (length == 5 && memcmp(kind, "value", 5) == 0)
    return attr->kind == TSR_ATTR_INT || attr->kind == TSR_ATTR_FLOAT ||
           attr->kind == TSR_ATTR_BOOL || attr->kind == TSR_ATTR_NUMBERS ||
           (attr->kind == TSR_ATTR_EXPRS && integers_only(ir, attr));
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (strlen(rows[i].text) == length && memcmp(rows[i].text, kind, length) == 0)
      return (rows[i].kinds >> attr->kind & 1) != 0;
  return false;
}

/* One "name:kind" or "name:kind?" of a row; `at` is moved behind it. */
typedef struct attr_rule {
  const char *name, *kind;
  size_t name_length, kind_length;
  bool optional;
} attr_rule;

static bool next_rule(const char **at, attr_rule *out) {
  const char *end;
  *at += strspn(*at, " ");
  if (**at == '\0')
    return false;
  out->name = *at;
  out->name_length = strcspn(*at, ": ");
  out->kind = out->name + out->name_length + 1;
  end = out->name + strcspn(out->name, " ");
  out->optional = end[-1] == '?';
  out->kind_length = (size_t)(end - out->kind) - (out->optional ? 1 : 0);
  *at = end;
  return true;
}

static const tsr_attr *find_attr(const tsr_op_data *data, const attr_rule *rule) {
  for (uint32_t i = 0; i < data->attr_count; i++)
    if (strlen(data->attrs[i].key) == rule->name_length &&
        memcmp(data->attrs[i].key, rule->name, rule->name_length) == 0)
      return &data->attrs[i];
  return NULL;
}

/* Every op of a graph may carry `sparse`. */
static tsr_status check_attrs(tsr_verifier *v, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(v->ir, op);
  const tsr_op_info *info = tsr_opcode_info(data->code);
  const char *at = info->attrs;
  uint32_t known = 0;
  attr_rule rule;
  if (strcmp(info->attrs, "*") == 0)
    return TSR_OK;
  while (next_rule(&at, &rule)) {
    const tsr_attr *attr = find_attr(data, &rule);
    if (attr == NULL && !rule.optional)
      return tsr_verify_fail(v, op, "'%s' needs the attribute '%.*s'", info->text,
                             (int)rule.name_length, rule.name);
    if (attr != NULL && !kind_fits(v->ir, attr, rule.kind, rule.kind_length))
      return tsr_verify_fail(v, op, "the attribute '%s' is not of kind %.*s", attr->key,
                             (int)rule.kind_length, rule.kind);
    known += attr != NULL;
  }
  if (known == data->attr_count)
    return TSR_OK;
  for (uint32_t i = 0; i < data->attr_count; i++) {
    bool found = v->levels == TSR_AT_GRAPH && data->attrs[i].kind == TSR_ATTR_STRING &&
                 strcmp(data->attrs[i].key, "sparse") == 0;
    at = info->attrs;
    while (!found && next_rule(&at, &rule))
      found = find_attr(data, &rule) == &data->attrs[i];
    if (!found)
      return tsr_verify_fail(v, op, "'%s' has no attribute '%s'", info->text, data->attrs[i].key);
  }
  return TSR_OK;
}

/* --- visibility --- */

static bool expr_visible(const tsr_verifier *v, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(v->ir, expr);
  if (!tsr_expr_has(v->ir, expr, TSR_INDEX_VALUE))
    return true;
  if (node.op == TSR_INDEX_VALUE)
    return v->visible[node.value] != 0;
  return expr_visible(v, node.a) && expr_visible(v, node.b);
}

static tsr_status check_operands(tsr_verifier *v, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(v->ir, op);
  for (uint32_t i = 0; i < data->operand_count; i++) {
    const tsr_operand *operand = &data->operands[i];
    const tsr_type_info *type = tsr_value_type(v->ir, operand->value);
    if (operand->value != 0 && v->visible[operand->value] == TSR_VERIFY_TAKEN)
      return tsr_verify_fail(v, op, "operand %u gave its memory to a launch before this use", i);
    if (operand->value == 0 || !v->visible[operand->value])
      return tsr_verify_fail(v, op, "operand %u is not defined before this use", i);
    if (operand->subscripted && type->level == TSR_LEVEL_NONE)
      return tsr_verify_fail(v, op, "operand %u is an index and has no elements", i);
    if (operand->subscripted && operand->subscript_count != type->rank)
      return tsr_verify_fail(v, op, "operand %u has %u subscripts for rank %u", i,
                             operand->subscript_count, type->rank);
    for (uint32_t s = 0; s < operand->subscript_count; s++)
      if (!expr_visible(v, operand->subscripts[s]))
        return tsr_verify_fail(v, op, "subscript %u of operand %u uses a value that is not defined",
                               s, i);
  }
  return TSR_OK;
}

static bool attr_may_hold_lanes(tsr_opcode code) {
  return code == TSR_OP_INDEX || code == TSR_OP_RELAYOUT || code == TSR_OP_DECODE;
}

static tsr_status check_attr_expr(tsr_verifier *v, tsr_op op, const tsr_attr *attr, tsr_expr expr) {
  if (!expr_visible(v, expr))
    return tsr_verify_fail(v, op, "the attribute '%s' uses a value that is not defined", attr->key);
  if (tsr_expr_has(v->ir, expr, TSR_INDEX_LANE) &&
      !attr_may_hold_lanes(tsr_op_get(v->ir, op)->code))
    return tsr_verify_fail(v, op, "lanes cannot stand in the attribute '%s'", attr->key);
  return TSR_OK;
}

static tsr_status check_attr_exprs(tsr_verifier *v, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(v->ir, op);
  for (uint32_t i = 0; i < data->attr_count; i++) {
    const tsr_attr *attr = &data->attrs[i];
    if (attr->kind == TSR_ATTR_EXPR)
      TSR_TRY(check_attr_expr(v, op, attr, attr->u.expr));
    for (uint32_t e = 0; attr->kind == TSR_ATTR_EXPRS && e < attr->count; e++)
      TSR_TRY(check_attr_expr(v, op, attr, attr->u.exprs[e]));
  }
  return TSR_OK;
}

static tsr_status check_index(tsr_verifier *v, tsr_op op, const tsr_value_data *arg) {
  if (!expr_visible(v, arg->lo) || !expr_visible(v, arg->hi))
    return tsr_verify_fail(v, op, "the range of index %u uses a value that is not defined",
                           arg->number);
  if (tsr_expr_has(v->ir, arg->lo, TSR_INDEX_LANE) || tsr_expr_has(v->ir, arg->hi, TSR_INDEX_LANE))
    return tsr_verify_fail(v, op, "lanes cannot stand in the range of an index");
  return TSR_OK;
}

/* Which roles the arguments of an op's regions may have. */
static unsigned roles_of(tsr_opcode code) {
  switch (code) {
  case TSR_OP_KERNEL:
    return 1u << TSR_ROLE_IN | 1u << TSR_ROLE_OUT | 1u << TSR_ROLE_INOUT | 1u << TSR_ROLE_GRID;
  case TSR_OP_BLOCK:
    return 1u << TSR_ROLE_PAR | 1u << TSR_ROLE_RED;
  case TSR_OP_PROC:
    return 1u << TSR_ROLE_PAR;
  case TSR_OP_FOR:
    return 1u << TSR_ROLE_LOOP | 1u << TSR_ROLE_CARRIED;
  case TSR_OP_LOOP:
    return 1u << TSR_ROLE_CARRIED;
  case TSR_OP_REDUCE:
    return 1u << TSR_ROLE_PLAIN;
  default:
    return 0;
  }
}

static tsr_status check_args(tsr_verifier *v, tsr_op op, const tsr_region_data *region) {
  const tsr_op_data *data = tsr_op_get(v->ir, op);
  unsigned reds = 0;
  for (uint32_t i = 0; i < region->arg_count; i++) {
    const tsr_value_data *arg = tsr_value_get(v->ir, region->args[i]);
    bool ranged = arg->role == TSR_ROLE_PAR || arg->role == TSR_ROLE_RED ||
                  arg->role == TSR_ROLE_GRID || arg->role == TSR_ROLE_LOOP;
    if ((roles_of(data->code) >> arg->role & 1) == 0)
      return tsr_verify_fail(v, op, "argument %u does not belong to '%s'", i,
                             tsr_opcode_info(data->code)->text);
    if (ranged != (arg->hi != 0))
      return tsr_verify_fail(v, op, "argument %u is %s", i,
                             ranged ? "an index without a range" : "no index but has a range");
    if (ranged)
      TSR_TRY(check_index(v, op, arg));
    if (arg->role == TSR_ROLE_RED && reds == MAX_REDS)
      return tsr_verify_fail(v, op, "more than %d red indices", MAX_REDS);
    v->varies[region->args[i]] = arg->role == TSR_ROLE_RED ? UINT64_C(1) << reds++ : 0;
    v->visible[region->args[i]] = 1;
  }
  return TSR_OK;
}

/* --- regions --- */

static uint32_t levels_inside(const tsr_verifier *v, tsr_opcode code) {
  switch (code) {
  case TSR_OP_GRAPH:
  case TSR_OP_GROUP:
    return TSR_AT_GRAPH;
  case TSR_OP_KERNEL:
    return TSR_AT_TILE;
  case TSR_OP_PLAN:
    return TSR_AT_PLAN;
  case TSR_OP_MODEL:
    return TSR_AT_MODEL;
  case TSR_OP_BLOCK:
  case TSR_OP_PROC:
    return TSR_AT_BLOCK;
  default:
    return v->levels;
  }
}

static bool is_container(tsr_opcode code) {
  return code == TSR_OP_GRAPH || code == TSR_OP_MODEL || code == TSR_OP_KERNEL ||
         code == TSR_OP_PLAN || code == TSR_OP_BLOCK || code == TSR_OP_PROC;
}

static tsr_status verify_op(tsr_verifier *v, tsr_op op);

static void hide_region(tsr_verifier *v, const tsr_region_data *region) {
  for (uint32_t i = 0; i < region->arg_count; i++)
    v->visible[region->args[i]] = 0;
  for (tsr_op op = region->first; op != 0; op = tsr_op_get(v->ir, op)->next) {
    const tsr_op_data *data = tsr_op_get(v->ir, op);
    for (uint32_t i = 0; i < data->result_count; i++)
      v->visible[data->results[i]] = 0;
  }
}

/* Values of a region stay visible until all regions of the op and the op itself are verified, which
 * compares what they yield. */
static tsr_status verify_region(tsr_verifier *v, tsr_op op, tsr_region region) {
  const tsr_region_data *data = tsr_region_get(v->ir, region);
  TSR_TRY(check_args(v, op, data));
  for (tsr_op inner = data->first; inner != 0; inner = tsr_op_get(v->ir, inner)->next) {
    const tsr_op_data *inner_data = tsr_op_get(v->ir, inner);
    if (inner_data->code == TSR_OP_YIELD && inner_data->next != 0)
      return tsr_verify_fail(v, inner, "'yield' must be the last op of its region");
    TSR_TRY(verify_op(v, inner));
  }
  return TSR_OK;
}

static tsr_status verify_regions(tsr_verifier *v, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(v->ir, op);
  uint32_t levels = v->levels;
  tsr_op container = v->container;
  if (v->depth == MAX_DEPTH)
    return tsr_verify_fail(v, op, "regions nest more than %d deep", MAX_DEPTH);
  v->depth++;
  v->levels = levels_inside(v, data->code);
  v->container = is_container(data->code) ? op : container;
  for (uint32_t i = 0; i < data->region_count; i++) {
    TSR_TRY(verify_region(v, op, data->regions[i]));
    hide_region(v, tsr_region_get(v->ir, data->regions[i]));
  }
  v->levels = levels;
  v->container = container;
  v->depth--;
  return TSR_OK;
}

static tsr_status verify_op(tsr_verifier *v, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(v->ir, op);
  TSR_TRY(check_counts(v, op));
  TSR_TRY(check_attrs(v, op));
  TSR_TRY(check_operands(v, op));
  TSR_TRY(check_attr_exprs(v, op));
  for (uint32_t i = 0; i < data->result_count; i++)
    v->visible[data->results[i]] = 1;
  TSR_TRY(verify_regions(v, op));
  return tsr_verify_op(v, op);
}

static tsr_status verify_top(tsr_verifier *v) {
  for (tsr_op op = tsr_region_get(v->ir, tsr_ir_top(v->ir))->first; op != 0;
       op = tsr_op_get(v->ir, op)->next) {
    v->levels = TSR_AT_TOP;
    v->container = 0;
    TSR_TRY(verify_op(v, op));
  }
  return TSR_OK;
}

/* Inference interns types, so the IR is not quite constant here; nothing that can be seen from
 * outside changes. */
tsr_status tsr_ir_verify(const tsr_ir *ir, tsr_diag *diag) {
  const tsr_allocator *allocator = tsr_ir_allocator(ir);
  size_t values = (size_t)tsr_value_count(ir) + 1;
  size_t bytes = values * (sizeof(uint64_t) + 1);
  tsr_verifier v = {.ir = (tsr_ir *)ir, .diag = diag};
  tsr_status status;
  if (tsr_ir_status(ir) != TSR_OK)
    return tsr_fail(diag, tsr_ir_status(ir), "%s", tsr_ir_diag((tsr_ir *)ir)->message);
  v.varies = (uint64_t *)allocator->allocate(allocator->context, bytes, _Alignof(uint64_t));
  if (v.varies == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  memset(v.varies, 0, bytes);
  v.visible = (uint8_t *)(v.varies + values);
  status = verify_top(&v);
  allocator->release(allocator->context, v.varies, bytes);
  if (tsr_ir_status(ir) == TSR_ERR_OUT_OF_MEMORY)
    return TSR_ERR_OUT_OF_MEMORY;
  return status;
}
