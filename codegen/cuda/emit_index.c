/* Index expressions as C over 64-bit integers. Lanes are the positions x0, x1 ... of the tile that
 * the text around loops over. */
#include "codegen/cuda/emit.h"

static const char *dim_name(tsr_cu *e, tsr_dim dim) {
  if (e->dim_number[dim] == 0) {
    e->dims[e->dim_count++] = dim;
    e->dim_number[dim] = e->dim_count;
  }
  return tsr_cu_format(e, "d%u", e->dim_number[dim] - 1);
}

/* An integer tile stands for its element at the lanes. */
static const char *value_text(tsr_cu *e, tsr_value value, const tsr_cu_tile *around) {
  const tsr_cu_slot *slot = &e->slots[value];
  if (slot->index)
    return slot->index;
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

static const char *lane_text(tsr_cu *e, int64_t lane, const tsr_cu_tile *around) {
  if (!around || lane >= around->rank)
    return tsr_cu_fail(e, TSR_ERR_VERIFY, "lane $%lld does not exist here", (long long)lane);
  uint32_t axis = around->rank - 1 - (uint32_t)lane;
  if (around->extents[axis] == 1)
    return "0";
  return around->at[axis] ? tsr_cu_format(e, "(tsr_s64)(%s)", around->at[axis])
                          : tsr_cu_format(e, "(tsr_s64)x%u", axis);
}

static bool never_negative(tsr_cu *e, tsr_expr expr, const tsr_cu_tile *around) {
  int64_t lanes[TSR_MAX_RANK] = {0};
  uint32_t rank = around ? around->rank : 0;
  for (uint32_t axis = 0; axis < rank; ++axis)
    lanes[axis] = around->extents[rank - 1 - axis];
  return tsr_expr_prove_nonnegative(e->ir, expr, lanes, rank);
}

/* Rounding down; a divisor of 0 gives 0. Where C's division does the same it is used. A position
 * beyond the tile is never negative either. */
static const char *division(tsr_cu *e, tsr_expr_node node, const tsr_cu_tile *around) {
  const char *a = tsr_cu_index(e, node.a, around);
  int64_t divisor = 0;
  bool modulo = node.op == TSR_INDEX_MOD;
  bool constant = tsr_expr_is_int(e->ir, node.b, &divisor) && divisor > 0;
  if (constant && never_negative(e, node.a, around))
    return tsr_cu_format(e, "%s %c %lld", a, modulo ? '%' : '/', (long long)divisor);
  return tsr_cu_format(e, "tsr_%s_s64(%s, %s)", modulo ? "mod" : "floor_div", a,
                       tsr_cu_index(e, node.b, around));
}

static const char *expression(tsr_cu *e, tsr_expr expr, const tsr_cu_tile *around) {
  tsr_expr_node node = tsr_expr_get(e->ir, expr);
  const char *operator= NULL;
  switch (node.op) {
  case TSR_INDEX_FLOORDIV:
  case TSR_INDEX_MOD:
    return division(e, node, around);
  case TSR_INDEX_CEILDIV:
    return tsr_cu_format(e, "tsr_ceil_div_s64(%s, %s)", tsr_cu_index(e, node.a, around),
                         tsr_cu_index(e, node.b, around));
  case TSR_INDEX_MIN:
    return tsr_cu_format(e, "tsr_min_s64(%s, %s)", tsr_cu_index(e, node.a, around),
                         tsr_cu_index(e, node.b, around));
  case TSR_INDEX_MAX:
    return tsr_cu_format(e, "tsr_max_s64(%s, %s)", tsr_cu_index(e, node.a, around),
                         tsr_cu_index(e, node.b, around));
  case TSR_INDEX_ADD:
    operator= "+";
    break;
  case TSR_INDEX_MUL:
    operator= "*";
    break;
  case TSR_INDEX_LT:
    operator= "<";
    break;
  case TSR_INDEX_LE:
    operator= "<=";
    break;
  case TSR_INDEX_EQ:
    operator= "==";
    break;
  case TSR_INDEX_NE:
    operator= "!=";
    break;
  case TSR_INDEX_AND:
    operator= "&&";
    break;
  case TSR_INDEX_OR:
    operator= "||";
    break;
  default:
    return tsr_cu_fail(e, TSR_ERR_INTERNAL, "an index expression has no code");
  }
  return tsr_cu_format(e, "%s %s %s", tsr_cu_index(e, node.a, around), operator,
                       tsr_cu_index(e, node.b, around));
}

const char *tsr_cu_index(tsr_cu *e, tsr_expr expr, const tsr_cu_tile *around) {
  if (expr == 0)
    return tsr_cu_fail(e, TSR_ERR_INTERNAL, "an index expression could not be built");
  tsr_expr_node node = tsr_expr_get(e->ir, expr);
  switch (node.op) {
  case TSR_INDEX_INT:
    return tsr_cu_integer(e, TSR_I64, node.number);
  case TSR_INDEX_DIM:
    return dim_name(e, node.dim);
  case TSR_INDEX_VALUE:
    return value_text(e, node.value, around);
  case TSR_INDEX_LANE:
    return lane_text(e, node.number, around);
  default:
    return tsr_cu_format(e, "(%s)", expression(e, expr, around));
  }
}
