/* A block cut in two along a reduced axis. Nothing is atomic: each part has its own place, and the
 * second block takes them in order, so that results are the same on every run. */
#include "passes/tile/split.h"
#include "passes/point.h"
#include <string.h>

/* --- may it? --- */

static tsr_region body_of(const tsr_nest *nest) {
  return tsr_op_get(nest->ir, nest->op)->regions[0];
}

/* Does the value stand on a reduce? What was looked at before in this walk does not. */
static bool needs_reduce(const tsr_nest *nest, tsr_value value) {
  const tsr_value_data *data = tsr_value_get(nest->ir, value);
  if (data->role != TSR_ROLE_RESULT || data->def == nest->op || value > nest->value_count ||
      !tsr_nest_first_look(nest, value))
    return false;
  const tsr_op_data *op = tsr_op_get(nest->ir, data->def);
  if (op->code == TSR_OP_REDUCE)
    return true;
  for (uint32_t i = 0; i < op->operand_count; i++) {
    if (!op->operands[i].subscripted && needs_reduce(nest, op->operands[i].value))
      return true;
    /* Scalars in subscripts: only where there is no reduce to come from. */
    if (op->operands[i].subscripted && tsr_nest_access_of(nest, data->def)->indirect)
      return true;
  }
  return false;
}

static bool has_identity(const tsr_nest *nest, tsr_op reduce) {
  return tsr_op_get(nest->ir, reduce)->region_count == 0 ||
         tsr_op_attr(nest->ir, reduce, "identity") != NULL;
}

/* Index variables that count 0, 1, 2 ... */
static bool plain_axes(const tsr_nest *nest) {
  const tsr_region_data *region = tsr_region_get(nest->ir, body_of(nest));
  for (uint32_t i = 0; i < region->arg_count; i++) {
    const tsr_value_data *data = tsr_value_get(nest->ir, region->args[i]);
    if (!tsr_expr_equals_int(nest->ir, data->lo, 0) ||
        !tsr_expr_equals_int(nest->ir, data->step, 1))
      return false;
  }
  return true;
}

bool tsr_split_possible(tsr_nest *nest) {
  uint32_t red = 0;
  if (nest->proc || nest->reduce_count == 0 || !plain_axes(nest))
    return false;
  for (uint32_t i = nest->par_count; i < nest->axis_count; i++)
    red |= 1u << i;
  TSR_FOR_EACH_OP (nest->ir, body_of(nest), op) {
    const tsr_op_data *data = tsr_op_get(nest->ir, op);
    if (data->code == TSR_OP_SCATTER_STORE || data->code == TSR_OP_APPEND)
      return false;
    if (data->code != TSR_OP_REDUCE)
      continue;
    if (!has_identity(nest, op) || tsr_nest_reduced(nest, op) != red)
      return false;
    tsr_nest_new_walk(nest);
    for (uint32_t i = 0; i < data->operand_count; i++)
      if (needs_reduce(nest, data->operands[i].value))
        return false;
  }
  return true;
}

static tsr_expr extent_of(const tsr_nest *nest, uint32_t axis) {
  return tsr_value_get(nest->ir, nest->axes[axis].variable)->hi;
}

bool tsr_split_fits(tsr_nest *nest, uint32_t axis, int64_t parts, bool whole) {
  int64_t size = 0;
  if (axis < nest->par_count || axis >= nest->axis_count || parts < 1)
    return false;
  const bool fixed = tsr_expr_is_int(nest->ir, extent_of(nest, axis), &size);
  if (!fixed)
    size = tsr_nest_typical(nest, extent_of(nest, axis));
  return size >= 2 * parts && (!whole || (fixed && size % parts == 0));
}

int tsr_split_axis(tsr_nest *nest, int64_t parts, bool whole) {
  for (uint32_t i = nest->par_count; i < nest->axis_count; i++)
    if (tsr_split_fits(nest, i, parts, whole))
      return (int)i;
  return -1;
}

/* --- the two blocks --- */

typedef struct splitting {
  tsr_nest *nest;
  tsr_ir *ir;
  uint32_t axis;
  int64_t length;  /* of a part */
  tsr_expr parts;  /* their number */
  uint32_t varies; /* par axes that the reductions vary with */
  uint32_t map_size;
  tsr_value *map;     /* old values to those of the block being made */
  bool *needed;       /* by value: of the block being made */
  tsr_value *partial; /* by number of the reduce's result: its buffer */
  uint32_t partial_count;
  tsr_expr part, inside; /* of the first block: the part's number, the place in it */
} splitting;

static void need(splitting *s, tsr_value value, bool before_reduce);

static void need_expr(splitting *s, tsr_expr expr, bool before_reduce) {
  const tsr_expr_node node = tsr_expr_get(s->ir, expr);
  if (node.op == TSR_INDEX_VALUE)
    need(s, node.value, before_reduce);
  if (node.op < TSR_INDEX_ADD)
    return;
  need_expr(s, node.a, before_reduce);
  need_expr(s, node.b, before_reduce);
}

static void need_op(splitting *s, tsr_op op, bool before_reduce) {
  const tsr_op_data *data = tsr_op_get(s->ir, op);
  for (uint32_t i = 0; i < data->operand_count; i++) {
    if (!data->operands[i].subscripted)
      need(s, data->operands[i].value, before_reduce);
    for (uint32_t d = 0; d < data->operands[i].subscript_count; d++)
      need_expr(s, data->operands[i].subscripts[d], before_reduce);
  }
  const tsr_attr *value = tsr_op_attr(s->ir, op, "value");
  if (data->code == TSR_OP_INDEX && value->kind == TSR_ATTR_EXPR)
    need_expr(s, value->u.expr, before_reduce);
}

/* Marks what the value stands on; the second block's walk ends at reductions. */
static void need(splitting *s, tsr_value value, bool before_reduce) {
  const tsr_value_data *data = tsr_value_get(s->ir, value);
  if (data->role != TSR_ROLE_RESULT || data->def == s->nest->op || s->needed[value])
    return;
  s->needed[value] = true;
  if (!before_reduce && tsr_op_get(s->ir, data->def)->code == TSR_OP_REDUCE)
    return;
  need_op(s, data->def, before_reduce);
}

static bool is_needed(const splitting *s, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(s->ir, op);
  for (uint32_t i = 0; i < data->result_count; i++)
    if (s->needed[data->results[i]])
      return true;
  return false;
}

static bool begin(splitting *s) {
  tsr_arena *arena = s->nest->arena;
  s->map_size = tsr_value_count(s->ir) + 1;
  s->map = tsr_arena_alloc_array(arena, s->map_size, sizeof *s->map);
  s->needed = tsr_arena_alloc_array(arena, s->map_size, sizeof *s->needed);
  s->partial = tsr_arena_alloc_array(arena, s->map_size, sizeof *s->partial);
  if (s->map == NULL || s->needed == NULL || s->partial == NULL)
    return tsr_ir_poison(s->ir, TSR_ERR_OUT_OF_MEMORY, "out of memory in tiling") != 0;
  return true;
}

static void start_block(splitting *s) {
  memset(s->map, 0, s->map_size * sizeof *s->map);
  memset(s->needed, 0, s->map_size * sizeof *s->needed);
}

static tsr_expr add_axis(splitting *s, tsr_point *e, tsr_arg_role role, tsr_expr extent) {
  return tsr_expr_value(
      s->ir, tsr_region_add_index(s->ir, e->region, role, tsr_expr_int(s->ir, 0), extent, 1));
}

/* The old variable's part in the new block. */
static void carry_axis(splitting *s, tsr_point *e, uint32_t axis, tsr_arg_role role) {
  s->map[s->nest->axes[axis].variable] = tsr_region_add_index(
      s->ir, e->region, role, tsr_expr_int(s->ir, 0), extent_of(s->nest, axis), 1);
}

/* In subscripts the cut axis is the part's start and the place inside. */
static tsr_op copy_op(splitting *s, tsr_point *e, tsr_op op) {
  const tsr_op made = tsr_op_clone(s->ir, op, e->region, s->map, s->map_size);
  if (s->inside == 0 || made == 0)
    return made;
  const tsr_expr whole =
      tsr_expr_add(s->ir, tsr_expr_mul_int(s->ir, s->part, s->length), s->inside);
  const tsr_op_data *data = tsr_op_get(s->ir, made);
  for (uint32_t i = 0; i < data->operand_count; i++) {
    const tsr_operand operand = data->operands[i];
    tsr_expr subs[TSR_MAX_RANK];
    if (!operand.subscripted)
      continue;
    for (uint32_t d = 0; d < operand.subscript_count; d++)
      subs[d] = tsr_expr_substitute(s->ir, operand.subscripts[d], &s->inside, &whole, 1);
    tsr_op_set_element(s->ir, made, i, operand.value, subs, operand.subscript_count);
  }
  const tsr_attr *value = tsr_op_attr(s->ir, made, "value");
  if (data->code == TSR_OP_INDEX && value != NULL && value->kind == TSR_ATTR_EXPR)
    tsr_op_set_expr(s->ir, made, "value",
                    tsr_expr_substitute(s->ir, value->u.expr, &s->inside, &whole, 1));
  return made;
}

static tsr_value identity_of(splitting *s, tsr_point *e, tsr_op reduce, uint32_t number,
                             tsr_dtype dtype) {
  const tsr_attr *identity = tsr_op_attr(s->ir, reduce, "identity");
  int64_t integer = 0;
  if (tsr_op_get(s->ir, reduce)->region_count == 0)
    return tsr_point_identity(e, dtype, tsr_op_string(s->ir, reduce, "combine"));
  switch (identity->kind) {
  case TSR_ATTR_NUMBERS:
    return tsr_point_float(e, dtype, identity->u.numbers[number]);
  case TSR_ATTR_EXPRS:
    tsr_expr_is_int(s->ir, identity->u.exprs[number], &integer);
    return tsr_point_int(e, dtype, integer);
  case TSR_ATTR_INT:
    return tsr_point_int(e, dtype, identity->u.integer);
  case TSR_ATTR_BOOL:
    return tsr_point_int(e, dtype, identity->u.boolean);
  default:
    return tsr_point_float(e, dtype, identity->u.number);
  }
}

/* The last part is shorter: what it has too much must not count. */
static void guard_operands(splitting *s, tsr_point *e, tsr_op reduce, tsr_op made) {
  const tsr_expr whole =
      tsr_expr_add(s->ir, tsr_expr_mul_int(s->ir, s->part, s->length), s->inside);
  const tsr_expr extent = extent_of(s->nest, s->axis);
  if (tsr_expr_equals_int(
          s->ir, tsr_expr_sub(s->ir, tsr_expr_mul_int(s->ir, s->parts, s->length), extent), 0))
    return;
  const tsr_value here =
      tsr_point_condition(e, tsr_expr_binary(s->ir, TSR_INDEX_LT, whole, extent));
  const uint32_t count = tsr_op_get(s->ir, made)->operand_count;
  for (uint32_t i = 0; i < count; i++) {
    const tsr_value value = tsr_op_get(s->ir, made)->operands[i].value;
    const tsr_dtype dtype = tsr_value_type(s->ir, value)->dtype;
    tsr_op_set_operand(s->ir, made, i,
                       tsr_point_select(e, here, value, identity_of(s, e, reduce, i, dtype)));
  }
}

/* Subscripts of the partial results: the part, then the par variables. */
static uint32_t partial_subscripts(const splitting *s, tsr_expr part, tsr_expr *out_subs) {
  uint32_t rank = 0;
  out_subs[rank++] = part;
  for (uint32_t i = 0; i < s->nest->par_count; i++)
    if (s->varies >> i & 1)
      out_subs[rank++] = tsr_expr_value(s->ir, s->map[s->nest->axes[i].variable]);
  return rank;
}

static void store_partial(splitting *s, tsr_point *e, tsr_op reduce) {
  const uint32_t count = tsr_op_get(s->ir, reduce)->result_count;
  for (uint32_t k = 0; k < count; k++) {
    const tsr_value result = tsr_op_get(s->ir, reduce)->results[k];
    tsr_type_info type = *tsr_value_type(s->ir, result);
    tsr_expr subs[TSR_MAX_RANK], dims[TSR_MAX_RANK];
    const uint32_t rank = partial_subscripts(s, s->part, subs);
    dims[0] = s->parts;
    for (uint32_t i = 0, d = 1; i < s->nest->par_count; i++)
      if (s->varies >> i & 1)
        dims[d++] = extent_of(s->nest, i);
    const tsr_value buffer = tsr_op_add_result(
        s->ir, e->op, tsr_type_make(s->ir, TSR_LEVEL_GLOBAL, type.dtype, dims, rank));
    tsr_point_store(e, result, buffer, subs, rank);
    s->partial[s->partial_count++] = buffer;
  }
}

static tsr_op make_first(splitting *s) {
  tsr_nest *nest = s->nest;
  tsr_point e = tsr_point_begin(s->ir, TSR_OP_BLOCK, nest->op);
  start_block(s);
  s->part = add_axis(s, &e, TSR_ROLE_PAR, s->parts);
  for (uint32_t i = 0; i < nest->par_count; i++)
    if (s->varies >> i & 1)
      carry_axis(s, &e, i, TSR_ROLE_PAR);
  for (uint32_t i = nest->par_count; i < nest->axis_count; i++)
    if (i != s->axis)
      carry_axis(s, &e, i, TSR_ROLE_RED);
    else {
      s->inside = add_axis(s, &e, TSR_ROLE_RED, tsr_expr_int(s->ir, s->length));
      s->map[nest->axes[i].variable] = tsr_expr_get(s->ir, s->inside).value;
    }
  TSR_FOR_EACH_OP (s->ir, body_of(nest), op)
    if (tsr_op_get(s->ir, op)->code == TSR_OP_REDUCE)
      need_op(s, op, true);
  TSR_FOR_EACH_OP (s->ir, body_of(nest), op)
    if (is_needed(s, op))
      (void)copy_op(s, &e, op);
  TSR_FOR_EACH_OP (s->ir, body_of(nest), op) {
    if (tsr_op_get(s->ir, op)->code != TSR_OP_REDUCE)
      continue;
    /* The guards of its operands stand in front of it. */
    const tsr_op draft = tsr_op_clone(s->ir, op, e.region, s->map, s->map_size);
    guard_operands(s, &e, op, draft);
    const tsr_op made = tsr_op_clone(s->ir, draft, e.region, NULL, 0);
    tsr_op_erase(s->ir, draft);
    tsr_op_remove_attr(s->ir, made, "over");
    store_partial(s, &e, made);
  }
  s->part = s->inside = 0;
  return e.op;
}

static tsr_op make_second(splitting *s) {
  tsr_nest *nest = s->nest;
  tsr_point e = tsr_point_begin(s->ir, TSR_OP_BLOCK, nest->op);
  const tsr_op_data *old = tsr_op_get(s->ir, nest->op);
  tsr_expr subs[TSR_MAX_RANK];
  uint32_t number = 0;
  start_block(s);
  for (uint32_t i = 0; i < old->result_count; i++)
    s->map[old->results[i]] = tsr_point_result(&e, tsr_value_type(s->ir, old->results[i]));
  for (uint32_t i = 0; i < nest->par_count; i++)
    carry_axis(s, &e, i, TSR_ROLE_PAR);
  const tsr_expr part = add_axis(s, &e, TSR_ROLE_RED, s->parts);
  const uint32_t rank = partial_subscripts(s, part, subs);
  TSR_FOR_EACH_OP (s->ir, body_of(nest), op)
    if (tsr_op_get(s->ir, op)->code == TSR_OP_STORE)
      need_op(s, op, false);
  TSR_FOR_EACH_OP (s->ir, body_of(nest), op) {
    const tsr_opcode code = tsr_op_get(s->ir, op)->code;
    if (code != TSR_OP_REDUCE) {
      if (code == TSR_OP_STORE || is_needed(s, op))
        (void)copy_op(s, &e, op);
      continue;
    }
    /* Its operands are the parts now. */
    const uint32_t count = tsr_op_get(s->ir, op)->result_count;
    tsr_value loads[TSR_NEST_CARRIED];
    for (uint32_t k = 0; k < count && k < TSR_NEST_CARRIED; k++)
      loads[k] = tsr_point_load(&e, s->partial[number++], subs, rank);
    const tsr_op made = tsr_op_clone(s->ir, op, e.region, s->map, s->map_size);
    for (uint32_t k = 0; k < count && k < TSR_NEST_CARRIED; k++)
      tsr_op_set_operand(s->ir, made, k, loads[k]);
    tsr_op_remove_attr(s->ir, made, "over");
  }
  return e.op;
}

void tsr_split_block(tsr_nest *nest, uint32_t axis, int64_t parts, tsr_op *out_first,
                     tsr_op *out_second) {
  splitting s = {.nest = nest, .ir = nest->ir, .axis = axis};
  const int64_t size = tsr_nest_typical(nest, extent_of(nest, axis));
  *out_first = *out_second = 0;
  s.length = (size + parts - 1) / parts;
  s.parts = tsr_expr_ceildiv_int(s.ir, extent_of(nest, axis), s.length);
  TSR_FOR_EACH_OP (s.ir, body_of(nest), op) {
    const tsr_op_data *data = tsr_op_get(s.ir, op);
    for (uint32_t i = 0; data->code == TSR_OP_REDUCE && i < data->operand_count; i++)
      s.varies |= nest->varies[data->operands[i].value];
  }
  s.varies &= (1u << nest->par_count) - 1;
  if (!begin(&s))
    return;
  *out_first = make_first(&s);
  *out_second = make_second(&s);
}
