/* Ops, values and regions: building, changing, reading. */
#include "ir/ir_internal.h"
#include <assert.h>
#include <string.h>

/* What lists without room point to: when memory runs out while an op is made, the first results,
 * regions, arguments and operands that its maker asks for are 0, as those of op 0 are. Never
 * written: a list's first element makes room. */
static const tsr_operand no_operands[4];
#define NO_IDS ((uint32_t *)no_operands)

static const tsr_op_data no_op = {
    .operands = (tsr_operand *)no_operands, .results = NO_IDS, .regions = NO_IDS};
static const tsr_value_data no_value;
static const tsr_region_data no_region = {.args = NO_IDS};

static const tsr_op_info opcode_table[] = {
    {"", 0, 0, 0, 0, 0, TSR_KIND_OTHER, ""},
#define TSR_OP(name, text, levels, min_operands, max_operands, results, regions, kind, attrs)      \
  {text, levels, min_operands, max_operands, results, regions, TSR_KIND_##kind, attrs},
#include "ir/ops.def"
#undef TSR_OP
};

const tsr_op_info *tsr_opcode_info(tsr_opcode code) {
  assert(code >= TSR_OP_NONE && code < TSR_OP_COUNT);
  return &opcode_table[code];
}

tsr_opcode tsr_opcode_parse(const char *text, size_t length) {
  for (int code = 1; code < TSR_OP_COUNT; code++)
    if (strlen(opcode_table[code].text) == length &&
        memcmp(opcode_table[code].text, text, length) == 0)
      return (tsr_opcode)code;
  return TSR_OP_NONE;
}

bool tsr_opcode_elementwise(tsr_opcode code) {
  tsr_op_kind kind = tsr_opcode_info(code)->kind;
  return kind == TSR_KIND_UNARY || kind == TSR_KIND_BINARY || kind == TSR_KIND_COMPARE ||
         kind == TSR_KIND_TERNARY;
}

/* --- slots --- */

tsr_op_slot *tsr_op_slot_of(const tsr_ir *ir, tsr_op op) {
  return (tsr_op_slot *)tsr_store_at(&ir->ops, op);
}

tsr_value_slot *tsr_value_slot_of(const tsr_ir *ir, tsr_value value) {
  return (tsr_value_slot *)tsr_store_at(&ir->values, value);
}

tsr_region_data *tsr_region_slot_of(const tsr_ir *ir, tsr_region region) {
  return (tsr_region_data *)tsr_store_at(&ir->regions, region);
}

const tsr_op_data *tsr_op_get(const tsr_ir *ir, tsr_op op) {
  return op == 0 ? &no_op : &tsr_op_slot_of(ir, op)->data;
}

const tsr_value_data *tsr_value_get(const tsr_ir *ir, tsr_value value) {
  return value == 0 ? &no_value : &tsr_value_slot_of(ir, value)->data;
}

const tsr_region_data *tsr_region_get(const tsr_ir *ir, tsr_region region) {
  return region == 0 ? &no_region : tsr_region_slot_of(ir, region);
}

const tsr_type_info *tsr_value_type(const tsr_ir *ir, tsr_value value) {
  return tsr_type_get(ir, tsr_value_get(ir, value)->type);
}

uint32_t tsr_op_count(const tsr_ir *ir) {
  return ir->ops.count;
}

uint32_t tsr_value_count(const tsr_ir *ir) {
  return ir->values.count;
}

/* --- counting uses --- */

static void count_value(tsr_ir *ir, tsr_value value, int delta) {
  if (value == 0)
    return;
  assert(delta > 0 || tsr_value_slot_of(ir, value)->uses > 0);
  tsr_value_slot_of(ir, value)->uses += (uint32_t)delta;
}

void tsr_expr_count_uses(tsr_ir *ir, tsr_expr expr, int delta) {
  while (expr != 0 && (tsr_expr_slot_of(ir, expr)->leaves & TSR_LEAF_BIT(TSR_INDEX_VALUE)) != 0) {
    const tsr_expr_node *node = &tsr_expr_slot_of(ir, expr)->node;
    if (node->op == TSR_INDEX_VALUE) {
      count_value(ir, node->value, delta);
      return;
    }
    tsr_expr_count_uses(ir, node->b, delta);
    expr = node->a;
  }
}

static void count_operand(tsr_ir *ir, const tsr_operand *operand, int delta) {
  count_value(ir, operand->value, delta);
  for (uint32_t i = 0; i < operand->subscript_count; i++)
    tsr_expr_count_uses(ir, operand->subscripts[i], delta);
}

/* The uses inside an op, those of its regions included; with delta -1 it is about to go. */
static void count_op(tsr_ir *ir, tsr_op op, int delta) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  for (uint32_t i = 0; i < data->operand_count; i++)
    count_operand(ir, &data->operands[i], delta);
  for (uint32_t i = 0; i < data->attr_count; i++)
    tsr_attr_count_uses(ir, &data->attrs[i], delta);
  for (uint32_t r = 0; r < data->region_count; r++) {
    const tsr_region_data *region = tsr_region_get(ir, data->regions[r]);
    for (uint32_t i = 0; i < region->arg_count; i++) {
      tsr_expr_count_uses(ir, tsr_value_get(ir, region->args[i])->lo, delta);
      tsr_expr_count_uses(ir, tsr_value_get(ir, region->args[i])->hi, delta);
    }
    TSR_FOR_EACH_OP (ir, data->regions[r], inner)
      count_op(ir, inner, delta);
  }
}

void tsr_ir_count_uses(const tsr_ir *ir, uint32_t *out_counts) {
  out_counts[0] = 0;
  for (tsr_value value = 1; value <= ir->values.count; value++)
    out_counts[value] = tsr_value_slot_of(ir, value)->uses;
}

/* --- ops in regions --- */

static tsr_op new_op(tsr_ir *ir, tsr_opcode code) {
  void *item;
  tsr_op op = tsr_store_add(ir, &ir->ops, &item);
  if (op != 0) {
    tsr_op_data *data = &((tsr_op_slot *)item)->data;
    *data = no_op;
    data->code = code;
  }
  return op;
}

static void link_op(tsr_ir *ir, tsr_op op, tsr_region region, tsr_op before) {
  tsr_region_data *list = tsr_region_slot_of(ir, region);
  tsr_op_data *data = &tsr_op_slot_of(ir, op)->data;
  data->parent = region;
  data->next = before;
  data->prev = before == 0 ? list->last : tsr_op_get(ir, before)->prev;
  if (data->prev != 0)
    tsr_op_slot_of(ir, data->prev)->data.next = op;
  else
    list->first = op;
  if (before != 0)
    tsr_op_slot_of(ir, before)->data.prev = op;
  else
    list->last = op;
}

static void unlink_op(tsr_ir *ir, tsr_op op) {
  tsr_op_data *data = &tsr_op_slot_of(ir, op)->data;
  tsr_region_data *list = tsr_region_slot_of(ir, data->parent);
  if (data->prev != 0)
    tsr_op_slot_of(ir, data->prev)->data.next = data->next;
  else
    list->first = data->next;
  if (data->next != 0)
    tsr_op_slot_of(ir, data->next)->data.prev = data->prev;
  else
    list->last = data->prev;
  data->prev = data->next = 0;
  data->parent = 0;
}

tsr_op tsr_op_append(tsr_ir *ir, tsr_region region, tsr_opcode code) {
  tsr_op op = region == 0 ? 0 : new_op(ir, code);
  if (op != 0)
    link_op(ir, op, region, 0);
  return op;
}

tsr_op tsr_op_insert_before(tsr_ir *ir, tsr_op before, tsr_opcode code) {
  tsr_op op = before == 0 ? 0 : new_op(ir, code);
  if (op != 0)
    link_op(ir, op, tsr_op_get(ir, before)->parent, before);
  return op;
}

void tsr_op_move_before(tsr_ir *ir, tsr_op op, tsr_op before) {
  if (op == 0 || before == 0 || op == before)
    return;
  unlink_op(ir, op);
  link_op(ir, op, tsr_op_get(ir, before)->parent, before);
}

static void mark_erased(tsr_ir *ir, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  tsr_op_slot_of(ir, op)->erased = true;
  for (uint32_t r = 0; r < data->region_count; r++)
    TSR_FOR_EACH_OP (ir, data->regions[r], inner)
      mark_erased(ir, inner);
}

/* Poisoned IR may have kept uses that could not be replaced. */
void tsr_op_erase(tsr_ir *ir, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  if (op == 0 || tsr_op_slot_of(ir, op)->erased)
    return;
  count_op(ir, op, -1);
  for (uint32_t i = 0; i < data->result_count; i++)
    assert(ir->status != TSR_OK || tsr_value_slot_of(ir, data->results[i])->uses == 0);
  unlink_op(ir, op);
  mark_erased(ir, op);
}

/* --- operands --- */

static bool fill_operand(tsr_ir *ir, tsr_operand *operand, tsr_value value, bool subscripted,
                         const tsr_expr *subscripts, uint32_t count) {
  *operand = (tsr_operand){value, subscripted, count, NULL};
  for (uint32_t i = 0; i < count; i++)
    if (subscripts[i] == 0)
      return tsr_ir_poison(ir, TSR_ERR_ARGUMENT, "a subscript is missing") != 0;
  if (count != 0) {
    operand->subscripts = (const tsr_expr *)tsr_ir_copy(ir, subscripts, count * sizeof *subscripts);
    if (operand->subscripts == NULL)
      operand->subscript_count = 0;
    return operand->subscripts != NULL;
  }
  return true;
}

static void add_operand(tsr_ir *ir, tsr_op op, tsr_value value, bool subscripted,
                        const tsr_expr *subscripts, uint32_t count) {
  tsr_operand operand;
  tsr_op_data *data;
  tsr_operand *operands;
  if (op == 0)
    return;
  if (value == 0) {
    (void)tsr_ir_poison(ir, TSR_ERR_ARGUMENT, "an operand is missing");
    return;
  }
  if (!fill_operand(ir, &operand, value, subscripted, subscripts, count))
    return;
  data = &tsr_op_slot_of(ir, op)->data;
  operands =
      (tsr_operand *)tsr_array_grow(ir, data->operands, data->operand_count, sizeof *operands);
  if (operands == NULL)
    return;
  operands[data->operand_count++] = operand;
  data->operands = operands;
  count_operand(ir, &operand, 1);
}

void tsr_op_add_operand(tsr_ir *ir, tsr_op op, tsr_value value) {
  add_operand(ir, op, value, false, NULL, 0);
}

void tsr_op_add_element(tsr_ir *ir, tsr_op op, tsr_value value, const tsr_expr *subscripts,
                        uint32_t count) {
  add_operand(ir, op, value, true, subscripts, count);
}

static void set_operand(tsr_ir *ir, tsr_op op, uint32_t number, tsr_value value, bool subscripted,
                        const tsr_expr *subscripts, uint32_t count) {
  tsr_operand operand;
  tsr_op_data *data;
  if (op == 0)
    return;
  if (value == 0) {
    (void)tsr_ir_poison(ir, TSR_ERR_ARGUMENT, "an operand is missing");
    return;
  }
  data = &tsr_op_slot_of(ir, op)->data;
  assert(number < data->operand_count);
  if (!fill_operand(ir, &operand, value, subscripted, subscripts, count))
    return;
  count_operand(ir, &operand, 1);
  count_operand(ir, &data->operands[number], -1);
  data->operands[number] = operand;
}

void tsr_op_set_operand(tsr_ir *ir, tsr_op op, uint32_t number, tsr_value value) {
  set_operand(ir, op, number, value, false, NULL, 0);
}

void tsr_op_set_element(tsr_ir *ir, tsr_op op, uint32_t number, tsr_value value,
                        const tsr_expr *subscripts, uint32_t count) {
  set_operand(ir, op, number, value, true, subscripts, count);
}

/* --- results, regions, arguments --- */

tsr_value tsr_op_add_untyped_result(tsr_ir *ir, tsr_op op) {
  tsr_op_data *data = &tsr_op_slot_of(ir, op)->data;
  tsr_value *results =
      (tsr_value *)tsr_array_grow(ir, data->results, data->result_count, sizeof *results);
  void *item;
  tsr_value value = results == NULL ? 0 : tsr_store_add(ir, &ir->values, &item);
  if (value == 0)
    return 0;
  data->results = results;
  ((tsr_value_slot *)item)->data =
      (tsr_value_data){.def = op, .number = data->result_count, .role = TSR_ROLE_RESULT};
  results[data->result_count++] = value;
  return value;
}

tsr_value tsr_op_add_result(tsr_ir *ir, tsr_op op, tsr_type type) {
  tsr_value value = op == 0 || type == 0 ? 0 : tsr_op_add_untyped_result(ir, op);
  if (value != 0)
    tsr_value_slot_of(ir, value)->data.type = type;
  return value;
}

tsr_region tsr_op_add_region(tsr_ir *ir, tsr_op op) {
  tsr_op_data *data;
  tsr_region *regions;
  tsr_region region;
  void *item;
  if (op == 0)
    return 0;
  data = &tsr_op_slot_of(ir, op)->data;
  regions = (tsr_region *)tsr_array_grow(ir, data->regions, data->region_count, sizeof *regions);
  region = regions == NULL ? 0 : tsr_store_add(ir, &ir->regions, &item);
  if (region == 0)
    return 0;
  data->regions = regions;
  *(tsr_region_data *)item = no_region;
  ((tsr_region_data *)item)->parent = op;
  regions[data->region_count++] = region;
  return region;
}

tsr_value tsr_region_add_arg(tsr_ir *ir, tsr_region region, tsr_arg_role role, tsr_type type) {
  tsr_region_data *data;
  tsr_value *args;
  tsr_value value;
  void *item;
  if (region == 0 || type == 0)
    return 0;
  data = tsr_region_slot_of(ir, region);
  args = (tsr_value *)tsr_array_grow(ir, data->args, data->arg_count, sizeof *args);
  value = args == NULL ? 0 : tsr_store_add(ir, &ir->values, &item);
  if (value == 0)
    return 0;
  data->args = args;
  ((tsr_value_slot *)item)->data = (tsr_value_data){
      .type = type, .def = data->parent, .region = region, .number = data->arg_count, .role = role};
  args[data->arg_count++] = value;
  return value;
}

tsr_value tsr_region_add_index(tsr_ir *ir, tsr_region region, tsr_arg_role role, tsr_expr lo,
                               tsr_expr hi, int64_t step) {
  tsr_value value;
  tsr_value_data *data;
  if (region == 0 || lo == 0 || hi == 0)
    return 0;
  if (step <= 0)
    return tsr_ir_poison(ir, TSR_ERR_ARGUMENT, "the step of an index must be positive");
  value = tsr_region_add_arg(ir, region, role, tsr_type_index(ir));
  if (value == 0)
    return 0;
  data = &tsr_value_slot_of(ir, value)->data;
  data->lo = lo;
  data->hi = hi;
  data->step = tsr_expr_int(ir, step);
  tsr_expr_count_uses(ir, lo, 1);
  tsr_expr_count_uses(ir, hi, 1);
  return data->step == 0 ? 0 : value;
}

void tsr_op_set_symbol(tsr_ir *ir, tsr_op op, const char *symbol) {
  if (op != 0)
    tsr_op_slot_of(ir, op)->data.symbol = tsr_ir_intern(ir, symbol);
}

/* Origins are sorted and unique: an op that was made from many nodes names each once. */
void tsr_op_add_origin(tsr_ir *ir, tsr_op op, const char *node_name) {
  const char *interned = op == 0 ? NULL : tsr_ir_intern(ir, node_name);
  const tsr_op_data *data = tsr_op_get(ir, op);
  uint32_t at = 0;
  const char **origins;
  if (interned == NULL)
    return;
  while (at < data->origin_count && strcmp(data->origins[at], interned) < 0)
    at++;
  if (at < data->origin_count && data->origins[at] == interned)
    return;
  origins = (const char **)tsr_ir_alloc(ir, (data->origin_count + 1) * sizeof *origins);
  if (origins == NULL)
    return;
  for (uint32_t i = 0; i < data->origin_count; i++)
    origins[i < at ? i : i + 1] = data->origins[i];
  origins[at] = interned;
  tsr_op_slot_of(ir, op)->data.origins = origins;
  tsr_op_slot_of(ir, op)->data.origin_count++;
}

void tsr_op_copy_origins(tsr_ir *ir, tsr_op to, tsr_op from) {
  const tsr_op_data *source = tsr_op_get(ir, from);
  if (to == 0 || from == 0)
    return;
  if (tsr_op_get(ir, to)->origin_count == 0) {
    tsr_op_slot_of(ir, to)->data.origins = source->origins;
    tsr_op_slot_of(ir, to)->data.origin_count = source->origin_count;
    return;
  }
  for (uint32_t i = 0; i < source->origin_count; i++)
    tsr_op_add_origin(ir, to, source->origins[i]);
}

/* A name of digits only would read as a number in text, so it is dropped. */
void tsr_value_set_name(tsr_ir *ir, tsr_value value, const char *name) {
  if (value == 0)
    return;
  if (name != NULL && name[strspn(name, "0123456789")] == '\0')
    name = NULL;
  tsr_value_slot_of(ir, value)->data.name = tsr_ir_intern(ir, name);
}

void tsr_value_set_type(tsr_ir *ir, tsr_value value, tsr_type type) {
  if (value != 0 && type != 0)
    tsr_value_slot_of(ir, value)->data.type = type;
}

tsr_op tsr_ir_find_symbol(const tsr_ir *ir, const char *symbol) {
  TSR_FOR_EACH_OP (ir, ir->top, op) {
    const char *own = tsr_op_get(ir, op)->symbol;
    if (own != NULL && strcmp(own, symbol) == 0)
      return op;
  }
  return 0;
}
