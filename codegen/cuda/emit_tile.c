/* Ops that make tiles from tiles or from nothing. */
#include "codegen/common.h"
#include "codegen/cuda/emit.h"
#include "runtime/float_convert.h"
#include <string.h>

/* --- elementwise --- */

/* An operand of the result's size keeps its layout; otherwise the one that the uses want. */
static tsr_cu_layout choose_layout(tsr_cu *e) {
  tsr_value value = e->op->results[0];
  tsr_cu_tile result = tsr_cu_tile_of_type(e, tsr_value_get(e->ir, value)->type);
  for (uint32_t i = 0; i < e->op->operand_count; ++i) {
    const tsr_cu_tile *tile = tsr_cu_operand(e, i);
    if (tsr_cu_elements(tile) == tsr_cu_elements(&result) && tile->rank == result.rank)
      return tile->layout;
  }
  return tsr_cu_wanted(e, value, &result);
}

static void check_shapes(tsr_cu *e, const tsr_cu_tile *tile, const tsr_cu_tile *result) {
  bool fits = tile->rank <= result->rank;
  for (uint32_t axis = 0; fits && axis < tile->rank; ++axis)
    fits = tile->extents[axis] == 1 || tile->extents[axis] == result->extents[axis];
  if (!fits)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "an operand does not broadcast to the result");
}

static const char *element(tsr_cu *e, tsr_dtype from, tsr_dtype to, const char *const *values) {
  if (e->op->code == TSR_OP_CAST)
    return tsr_cu_cast_by(e, from, to,
                          tsr_op_bool(e->ir, e->op_id, "saturate", true) ? TSR_OVERFLOW_SATURATE
                                                                         : TSR_OVERFLOW_SPECIAL,
                          values[0]);
  if (e->op->code == TSR_OP_BITCAST)
    return tsr_cu_bitcast(e, from, to, values[0]);
  const char *text = tsr_cu_apply(e, e->op->code, from, values[0], values[1], values[2]);
  return text ? text
              : tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "not defined on %s", tsr_dtype_text(from));
}

void tsr_cu_elementwise(tsr_cu *e) {
  const tsr_cu_tile *tiles[3] = {NULL};
  const char *values[3] = {NULL};
  tsr_cu_layout layout = choose_layout(e);
  tsr_cu_tile shape = tsr_cu_tile_of_type(e, tsr_value_get(e->ir, e->op->results[0])->type);
  bool ternary = tsr_opcode_info(e->op->code)->kind == TSR_KIND_TERNARY;
  uint32_t count = e->op->operand_count;
  for (uint32_t i = 0; i < count; ++i) {
    check_shapes(e, tsr_cu_operand(e, i), &shape);
    tiles[i] = tsr_cu_relayout(e, tsr_cu_operand(e, i), &layout);
  }
  tsr_dtype from = tiles[ternary ? 1 : 0]->dtype;
  if (count > 1 && tiles[count - 1]->dtype != from)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "operands of %s and %s", tsr_dtype_text(from),
                tsr_dtype_text(tiles[count - 1]->dtype));
  if (e->op->code == TSR_OP_BITCAST && tsr_dtype_bits(from) != tsr_dtype_bits(shape.dtype))
    tsr_cu_fail(e, TSR_ERR_VERIFY, "bitcast between types of different width");
  const size_t declared = e->used;
  const tsr_cu_tile *result = tsr_cu_declare_result(e, &layout);
  tsr_cu_begin_chained(e, result, declared);
  for (uint32_t i = 0; i < count; ++i)
    values[i] = tsr_cu_register(e, tiles[i]);
  tsr_cu_line(e, "%s = %s;", tsr_cu_register(e, result), element(e, from, shape.dtype, values));
  tsr_cu_end_chained(e);
}

/* --- const, index --- */

static const char *attr_element(tsr_cu *e, const tsr_attr *attr, tsr_dtype dtype, uint64_t number) {
  tsr_codegen_number found;
  if (!tsr_codegen_attr_number(e->ir, attr, dtype, number, &found))
    return tsr_cu_fail(e, TSR_ERR_VERIFY, "the value is not a number");
  if (!found.whole)
    return tsr_cu_number(e, dtype, found.real);
  return tsr_cu_format(e, "(%s)%s", tsr_cu_ctype(dtype), tsr_cu_integer(e, dtype, found.integer));
}

static const char *table_element(tsr_cu *e, const tsr_const_data *data, uint64_t number) {
  if (tsr_dtype_class_of(data->dtype) == TSR_CLASS_FLOAT)
    return tsr_cu_number(e, tsr_cu_computed(data->dtype),
                         tsr_element_load_f64(data->dtype, data->data, (int64_t)number));
  return tsr_cu_integer(e, data->dtype,
                        tsr_element_load_i64(data->dtype, data->data, (int64_t)number));
}

static void splat(tsr_cu *e, const char *value) {
  const tsr_cu_tile *tile = tsr_cu_declare_result(e, NULL);
  tsr_cu_begin(e, tile, false);
  tsr_cu_line(e, "%s = %s;", tsr_cu_register(e, tile), value);
  tsr_cu_end(e);
}

void tsr_cu_const(tsr_cu *e) {
  tsr_cu_tile shape = tsr_cu_tile_of_type(e, tsr_value_get(e->ir, e->op->results[0])->type);
  const tsr_attr *attr = tsr_op_attr(e->ir, e->op_id, "value");
  int64_t table = tsr_op_int(e->ir, e->op_id, "data", 0);
  uint64_t elements = tsr_cu_elements(&shape);
  const tsr_const_data *data = table > 0 ? tsr_const_get(e->ir, (uint32_t)table) : NULL;
  bool in_table = data && data->data && data->dtype == shape.dtype &&
                  data->bytes == elements * tsr_dtype_bits(shape.dtype) / 8;
  if (!attr && !in_table)
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "a constant in a kernel needs its value");
  bool list = !attr || attr->kind == TSR_ATTR_NUMBERS || attr->kind == TSR_ATTR_EXPRS;
  const size_t start = e->used;
  if (!list || elements == 1) {
    splat(e, attr ? attr_element(e, attr, shape.dtype, 0) : table_element(e, data, 0));
    tsr_cu_pass_chain(e, start);
    return;
  }
  const tsr_cu_tile *tile = tsr_cu_declare_result(e, NULL);
  const char *name = tsr_cu_temporary(e, "table");
  tsr_cu_line(e, "{");
  tsr_cu_line(e, "const %s %s[%llu] = {", tsr_cu_ctype(tile->dtype), name,
              (unsigned long long)elements);
  for (uint64_t i = 0; i < elements; ++i)
    tsr_cu_line(e, "%s,", attr ? attr_element(e, attr, shape.dtype, i) : table_element(e, data, i));
  tsr_cu_line(e, "};");
  tsr_cu_begin(e, tile, true);
  const char *inside = tsr_cu_inside(e, tile);
  tsr_cu_line(e, "%s = %s ? %s[%s] : 0;", tsr_cu_register(e, tile), inside, name,
              tsr_cu_linear(e, tile));
  tsr_cu_end(e);
  tsr_cu_line(e, "}");
}

void tsr_cu_index_tile(tsr_cu *e) {
  const tsr_attr *attr = tsr_op_attr(e->ir, e->op_id, "value");
  tsr_expr expr = !attr                         ? 0
                  : attr->kind == TSR_ATTR_EXPR ? attr->u.expr
                  : attr->kind == TSR_ATTR_INT  ? tsr_expr_int(e->ir, attr->u.integer)
                                                : 0;
  if (!expr)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "the value is not an index expression");
  const tsr_cu_tile *tile = tsr_cu_declare_result(e, NULL);
  tsr_cu_begin(e, tile, true);
  const char *value = tsr_cu_format(e, "(tsr_s64)%s", tsr_cu_index(e, expr, tile));
  tsr_cu_line(e, "%s = %s;", tsr_cu_register(e, tile),
              tsr_cu_cast(e, TSR_I64, tile->dtype, tsr_cu_format(e, "(%s)", value)));
  tsr_cu_end(e);
}

/* --- transpose, tile_slice --- */

/* The layout goes with the axes, so that every thread keeps its elements. */
void tsr_cu_transpose(tsr_cu *e) {
  const tsr_cu_tile *from = tsr_cu_operand(e, 0);
  int64_t perm[TSR_MAX_RANK];
  uint32_t rank = 0, seen = 0, source[TSR_MAX_RANK] = {0};
  bool fits = tsr_op_ints(e->ir, e->op_id, "perm", perm, TSR_MAX_RANK, &rank) && rank == from->rank;
  tsr_cu_layout layout = from->layout;
  for (uint32_t i = 0; fits && i < rank; ++i) {
    fits = perm[i] >= 0 && perm[i] < rank;
    if (!fits)
      break;
    uint32_t axis = rank - 1 - i;
    source[axis] = rank - 1 - (uint32_t)perm[i];
    seen |= 1U << source[axis];
    layout.axis[axis] = from->layout.axis[source[axis]];
  }
  if (!fits || seen != (1U << rank) - 1)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "perm is not a permutation of the tile's axes");
  const tsr_cu_tile *to = tsr_cu_declare_result(e, &layout);
  tsr_cu_begin(e, to, false);
  const char *r[TSR_MAX_RANK];
  for (uint32_t axis = 0; axis < rank; ++axis)
    r[source[axis]] = tsr_cu_format(e, "r%u", axis);
  tsr_cu_line(e, "%s = %s;", tsr_cu_register(e, to), tsr_cu_register_at(e, from, r));
  tsr_cu_end(e);
}

void tsr_cu_slice(tsr_cu *e) {
  const tsr_cu_tile *from = tsr_cu_operand(e, 0);
  const tsr_attr *attr = tsr_op_attr(e->ir, e->op_id, "start");
  const tsr_cu_tile *to = tsr_cu_declare_result(e, NULL);
  if (!attr || attr->kind != TSR_ATTR_EXPRS || attr->count != from->rank ||
      to->rank != from->rank || to->dtype != from->dtype)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "start must have a number per axis of the tile");
  tsr_cu_line(e, "{");
  const char *array = tsr_cu_stage(e, from);
  tsr_cu_begin(e, to, true);
  const char *place = "0";
  for (uint32_t axis = from->rank; axis-- > 0;) {
    const char *start = tsr_cu_index(e, attr->u.exprs[from->rank - 1 - axis], NULL);
    const char *here = to->extents[axis] == 1 ? start : tsr_cu_format(e, "%s + x%u", start, axis);
    place = tsr_cu_format(e, "(%s) * %u + %s", place, from->extents[axis], here);
  }
  const char *inside = tsr_cu_inside(e, to);
  tsr_cu_line(e, "%s = %s ? %s[%s] : 0;", tsr_cu_register(e, to), inside, array, place);
  tsr_cu_end(e);
  tsr_cu_barrier(e);
  tsr_cu_line(e, "}");
}
