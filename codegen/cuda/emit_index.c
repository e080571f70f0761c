/* Index expressions as C over integers of 32 bits where no part of them can leave these, else
 * of 64. Lanes are the positions x0, x1 ... of the tile that the text around loops over. */
#include "codegen/cuda/emit.h"

static const char *dim_name(tsr_cu *e, tsr_dim dim) {
  if (e->dim_number[dim] == 0) {
    e->dims[e->dim_count++] = dim;
    e->dim_number[dim] = e->dim_count;
  }
  return tsr_cu_format(e, "d%u", e->dim_number[dim] - 1);
}

/* --- how wide --- */

/* Half of what an int holds, so that a step or the sum of two stays inside. */
enum { LARGEST = 1 << 30 };

static uint32_t reach(const tsr_cu_tile *tile, uint32_t axis) {
  uint32_t span = 1;
  for (uint32_t i = 0; i < tile->layout.axis[axis].count; ++i)
    span *= tile->layout.axis[axis].digits[i].size;
  return tile->extents[axis] > span ? tile->extents[axis] : span;
}

/* Positions reach beyond the tile where its layout does. */
static bool bounded(tsr_cu *e, tsr_expr expr, const tsr_cu_tile *around) {
  int64_t lanes[TSR_MAX_RANK] = {0}, lo = INT64_MIN, hi = INT64_MAX;
  uint32_t rank = around ? around->rank : 0;
  for (uint32_t axis = 0; axis < rank; ++axis)
    lanes[rank - 1 - axis] = reach(around, axis);
  tsr_expr_bounds(e->ir, expr, lanes, rank, &lo, &hi);
  return lo > -LARGEST && hi < LARGEST;
}

bool tsr_cu_index_is_int(tsr_cu *e, tsr_expr expr, const tsr_cu_tile *around) {
  if (expr == 0)
    return false;
  tsr_expr_node node = tsr_expr_get(e->ir, expr);
  if (node.op == TSR_INDEX_VALUE && !e->slots[node.value].index)
    return false;
  if (!bounded(e, expr, around))
    return false;
  return node.op <= TSR_INDEX_LANE ||
         (tsr_cu_index_is_int(e, node.a, around) && tsr_cu_index_is_int(e, node.b, around));
}

const char *tsr_cu_index_type(tsr_cu *e, tsr_value variable) {
  int64_t lo = INT64_MIN, hi = INT64_MAX, step = 1;
  const tsr_value_data *data = tsr_value_get(e->ir, variable);
  (void)tsr_expr_is_int(e->ir, data->step, &step);
  tsr_expr_bounds(e->ir, data->lo, NULL, 0, &lo, &hi);
  if (lo <= -LARGEST || hi >= LARGEST || step >= LARGEST)
    return "tsr_s64";
  tsr_expr_bounds(e->ir, data->hi, NULL, 0, &lo, &hi);
  return lo <= -LARGEST || hi >= LARGEST ? "tsr_s64" : "int";
}

/* --- text --- */

/* An integer tile stands for its element at the lanes. */
static const char *value_text(tsr_cu *e, tsr_value value, const tsr_cu_tile *around, bool wide) {
  const tsr_cu_slot *slot = &e->slots[value];
  if (slot->index)
    return slot->is_int == !wide ? slot->index
                                 : tsr_cu_format(e, wide ? "(tsr_s64)%s" : "(int)%s", slot->index);
  const tsr_cu_tile *tile = slot->tile;
  if (!tile || tsr_dtype_class_of(tile->dtype) == TSR_CLASS_FLOAT)
    return tsr_cu_fail(e, TSR_ERR_VERIFY, "a subscript uses a value that is not an integer");
  if (tsr_cu_elements(tile) > 1) {
    bool fits = around && tile->rank <= around->rank;
    for (uint32_t axis = 0; fits && axis < tile->rank; ++axis)
      fits = tile->extents[axis] == 1 || tile->extents[axis] == around->extents[axis];
    if (!fits || !tsr_cu_same_layout(tile, &around->layout))
      return tsr_cu_fail(e, TSR_ERR_VERIFY, "the index tile of a subscript does not fit");
  }
  return tsr_cu_format(e, "(tsr_s64)%s", tsr_cu_register(e, tile));
}

static const char *lane_text(tsr_cu *e, int64_t lane, const tsr_cu_tile *around, bool wide) {
  if (!around || lane >= around->rank)
    return tsr_cu_fail(e, TSR_ERR_VERIFY, "lane $%lld does not exist here", (long long)lane);
  uint32_t axis = around->rank - 1 - (uint32_t)lane;
  if (around->extents[axis] == 1)
    return "0";
  const char *text =
      around->at[axis] ? tsr_cu_format(e, "(%s)", around->at[axis]) : tsr_cu_format(e, "x%u", axis);
  return wide ? tsr_cu_format(e, "(tsr_s64)%s", text) : text;
}

static bool never_negative(tsr_cu *e, tsr_expr expr, const tsr_cu_tile *around) {
  int64_t lanes[TSR_MAX_RANK] = {0};
  uint32_t rank = around ? around->rank : 0;
  for (uint32_t axis = 0; axis < rank; ++axis)
    lanes[axis] = around->extents[rank - 1 - axis];
  return tsr_expr_prove_nonnegative(e->ir, expr, lanes, rank);
}

/* The same at every lane? */
static bool is_uniform(tsr_cu *e, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(e->ir, expr);
  if (node.op == TSR_INDEX_LANE)
    return false;
  if (node.op == TSR_INDEX_VALUE)
    return e->slots[node.value].index != NULL;
  return node.op <= TSR_INDEX_LANE || (is_uniform(e, node.a) && is_uniform(e, node.b));
}

/* How many of the open scopes have the index variables; UINT32_MAX: one is of none of them. */
static uint32_t scopes_of(const tsr_cu *e, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(e->ir, expr);
  if (node.op == TSR_INDEX_VALUE) {
    const uint32_t open = e->scope_count < TSR_CU_NESTING ? e->scope_count : TSR_CU_NESTING;
    if (open > 0 && tsr_value_get(e->ir, node.value)->role == TSR_ROLE_GRID)
      return 1;
    for (uint32_t i = 0; i < open; ++i)
      if (e->scopes[i].variable == node.value && e->scopes[i].index == e->slots[node.value].index)
        return i + 1;
    return UINT32_MAX;
  }
  if (node.op <= TSR_INDEX_LANE)
    return e->scope_count ? 1 : UINT32_MAX;
  const uint32_t a = scopes_of(e, node.a), b = scopes_of(e, node.b);
  return a > b ? a : b;
}

/* Divisions are dozens of instructions, which every use and a copy for each register would repeat.
 */
static const char *divide_once(tsr_cu *e, tsr_expr_node node, const char *text, bool wide) {
  if (!is_uniform(e, node.a) || !is_uniform(e, node.b))
    return text;
  const uint32_t a = scopes_of(e, node.a), b = scopes_of(e, node.b), scopes = a > b ? a : b;
  return tsr_cu_constant(e, scopes == UINT32_MAX ? 0 : scopes, wide ? "tsr_s64" : "int", text);
}

static const char *call(tsr_cu *e, const char *function, tsr_expr_node node,
                        const tsr_cu_tile *around, bool wide) {
  return tsr_cu_format(e, "tsr_%s_s%s(%s, %s)", function, wide ? "64" : "32",
                       tsr_cu_index_as(e, node.a, around, wide),
                       tsr_cu_index_as(e, node.b, around, wide));
}

/* Rounding down; a divisor of 0 gives 0. Where C's division does the same it is used. A position
 * beyond the tile is never negative either. */
static const char *division(tsr_cu *e, tsr_expr_node node, const tsr_cu_tile *around, bool wide) {
  int64_t divisor = 0;
  bool modulo = node.op == TSR_INDEX_MOD;
  bool constant = tsr_expr_is_int(e->ir, node.b, &divisor) && divisor > 0;
  if (constant && never_negative(e, node.a, around))
    return tsr_cu_format(e, "%s %c %lld", tsr_cu_index_as(e, node.a, around, wide),
                         modulo ? '%' : '/', (long long)divisor);
  return divide_once(e, node, call(e, modulo ? "mod" : "floor_div", node, around, wide), wide);
}

static const char *infix(tsr_index_op op) {
  switch (op) {
  case TSR_INDEX_ADD:
    return "+";
  case TSR_INDEX_MUL:
    return "*";
  case TSR_INDEX_LT:
    return "<";
  case TSR_INDEX_LE:
    return "<=";
  case TSR_INDEX_EQ:
    return "==";
  case TSR_INDEX_NE:
    return "!=";
  case TSR_INDEX_AND:
    return "&&";
  case TSR_INDEX_OR:
    return "||";
  default:
    return NULL;
  }
}

static const char *expression(tsr_cu *e, tsr_expr_node node, const tsr_cu_tile *around, bool wide) {
  switch (node.op) {
  case TSR_INDEX_FLOORDIV:
  case TSR_INDEX_MOD:
    return division(e, node, around, wide);
  case TSR_INDEX_CEILDIV:
    return divide_once(e, node, call(e, "ceil_div", node, around, wide), wide);
  case TSR_INDEX_MIN:
    return call(e, "min", node, around, wide);
  case TSR_INDEX_MAX:
    return call(e, "max", node, around, wide);
  default:
    break;
  }
  const char *operator= infix(node.op);
  if (!operator)
    return tsr_cu_fail(e, TSR_ERR_INTERNAL, "an index expression has no code");
  return tsr_cu_format(e, "%s %s %s", tsr_cu_index_as(e, node.a, around, wide), operator,
                       tsr_cu_index_as(e, node.b, around, wide));
}

/* Conditions are int whatever they compare. */
static bool is_condition(tsr_index_op op) {
  return op == TSR_INDEX_LT || op == TSR_INDEX_LE || op == TSR_INDEX_EQ || op == TSR_INDEX_NE ||
         op == TSR_INDEX_AND || op == TSR_INDEX_OR;
}

const char *tsr_cu_index_as(tsr_cu *e, tsr_expr expr, const tsr_cu_tile *around, bool wide) {
  if (expr == 0)
    return tsr_cu_fail(e, TSR_ERR_INTERNAL, "an index expression could not be built");
  tsr_expr_node node = tsr_expr_get(e->ir, expr);
  switch (node.op) {
  case TSR_INDEX_INT:
    return tsr_cu_integer(e, TSR_I64, node.number);
  case TSR_INDEX_DIM:
    return wide ? dim_name(e, node.dim) : tsr_cu_format(e, "(int)%s", dim_name(e, node.dim));
  case TSR_INDEX_VALUE:
    return value_text(e, node.value, around, wide);
  case TSR_INDEX_LANE:
    return lane_text(e, node.number, around, wide);
  default:
    break;
  }
  /* What fits an int is computed as one, and widened as a whole. */
  bool narrow = tsr_cu_index_is_int(e, expr, around);
  const char *text = tsr_cu_format(e, "(%s)", expression(e, node, around, !narrow));
  return wide && (narrow || is_condition(node.op)) ? tsr_cu_format(e, "(tsr_s64)%s", text) : text;
}

const char *tsr_cu_index(tsr_cu *e, tsr_expr expr, const tsr_cu_tile *around) {
  return tsr_cu_index_as(e, expr, around, !tsr_cu_index_is_int(e, expr, around));
}
