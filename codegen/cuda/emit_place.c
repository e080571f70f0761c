/* Where elements of buffers are: subscripts as C, bounds, swizzles, and which elements lie side by
 * side. Checks of bounds that `tsr_expr_prove_nonnegative` proves are left out. */
#include "codegen/cuda/emit.h"
#include <string.h>

void tsr_cu_access_init(tsr_cu *e, tsr_cu_access *at, const tsr_operand *operand,
                        const tsr_expr *subscripts, const tsr_cu_tile *tile) {
  *at = (tsr_cu_access){.value = operand->value,
                        .buffer = tsr_value_type(e->ir, operand->value),
                        .subscripts = subscripts,
                        .tile = *tile};
  at->dtype = at->buffer->dtype;
  if (!e->slots[operand->value].buffer)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "the accessed value is not a buffer");
  if (operand->subscript_count != at->buffer->rank)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "%u subscripts for a buffer of rank %u",
                operand->subscript_count, at->buffer->rank);
  if (!tsr_cu_supports(at->dtype))
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "buffers of %s have no code on CUDA",
                tsr_dtype_text(at->dtype));
  if (e->hazard[operand->value])
    tsr_cu_barrier(e);
}

/* --- places --- */

uint32_t tsr_cu_swizzle(const tsr_cu *e, tsr_value buffer) {
  const tsr_value_data *data = tsr_value_get(e->ir, buffer);
  if (data->role != TSR_ROLE_RESULT || tsr_op_get(e->ir, data->def)->code != TSR_OP_ALLOC)
    return 0;
  return (uint32_t)tsr_op_int(e->ir, data->def, "swizzle", 0);
}

/* Can the number of any element be an int? */
static bool is_small(tsr_cu *e, tsr_value value) {
  int64_t lo = 0, hi = INT64_MAX;
  tsr_expr elements = tsr_type_elements(e->ir, tsr_value_get(e->ir, value)->type);
  tsr_expr_bounds(e->ir, elements, NULL, 0, &lo, &hi);
  return hi <= INT32_MAX;
}

/* Subscripts as C of one type, int or tsr_s64. */
typedef struct subscript_texts {
  const char *text[TSR_MAX_RANK];
  bool narrow[TSR_MAX_RANK];
} subscript_texts;

/* The number of the element: ((s0) * d1 + s1) * d2 + s2, of the first `count` subscripts. */
static const char *horner(tsr_cu *e, tsr_value value, const subscript_texts *s, uint32_t count) {
  const tsr_type_info *buffer = tsr_value_type(e->ir, value);
  const bool small = is_small(e, value);
  const char *offset = NULL;
  for (uint32_t i = 0; i < count; ++i) {
    const char *text = s->text[i];
    if (small && !s->narrow[i])
      text = tsr_cu_format(e, "(int)%s", text);
    if (!small && s->narrow[i])
      text = tsr_cu_format(e, "(tsr_s64)%s", text);
    if (offset)
      offset = tsr_cu_format(e, "%s * %s + %s", i > 1 ? tsr_cu_format(e, "(%s)", offset) : offset,
                             tsr_cu_index_as(e, buffer->dims[i], NULL, !small), text);
    else
      offset = text;
  }
  return offset ? offset : "0";
}

/* Rows of exactly the swizzle's width are told from the place inside of them, so that the compiler
 * sees which bits the xor can touch. */
static const char *swizzled(tsr_cu *e, tsr_value value, uint32_t width, const subscript_texts *s) {
  const tsr_type_info *buffer = tsr_value_type(e->ir, value);
  const uint32_t rank = buffer->rank, bytes = tsr_dtype_bits(buffer->dtype) / 8;
  const char *type = tsr_cu_storage(buffer->dtype), *base = e->slots[value].buffer;
  int64_t row = 0;
  if (rank < 2 || !tsr_expr_is_int(e->ir, buffer->dims[rank - 1], &row) || row * bytes != width)
    return tsr_cu_format(e, "*(%s *)((tsr_u8 *)%s + tsr_swizzle_%u((tsr_u32)(%s) * %u))", type,
                         base, width, horner(e, value, s, rank), bytes);
  return tsr_cu_format(e,
                       "*(%s *)((tsr_u8 *)%s + tsr_swizzle_row_%u((tsr_u32)(%s), (tsr_u32)(%s) * "
                       "%u))",
                       type, base, width, horner(e, value, s, rank - 1), s->text[rank - 1], bytes);
}

static const char *element_at(tsr_cu *e, tsr_value value, const subscript_texts *s) {
  uint32_t width = tsr_cu_swizzle(e, value);
  if (width)
    return swizzled(e, value, width, s);
  return tsr_cu_format(e, "%s[%s]", e->slots[value].buffer,
                       horner(e, value, s, tsr_value_type(e->ir, value)->rank));
}

const char *tsr_cu_element(tsr_cu *e, tsr_value buffer, const tsr_expr *subscripts,
                           const tsr_cu_tile *around) {
  subscript_texts s;
  uint32_t rank = tsr_value_type(e->ir, buffer)->rank;
  for (uint32_t i = 0; i < rank; ++i) {
    s.narrow[i] = tsr_cu_index_is_int(e, subscripts[i], around);
    s.text[i] = tsr_cu_index(e, subscripts[i], around);
  }
  return element_at(e, buffer, &s);
}

/* &*x is x. */
const char *tsr_cu_address_of(tsr_cu *e, const char *element) {
  return *element == '*' ? tsr_cu_format(e, "(%s)", element + 1) : tsr_cu_format(e, "&%s", element);
}

const char *tsr_cu_address(tsr_cu *e, tsr_value buffer, const tsr_expr *subscripts,
                           const tsr_cu_tile *around) {
  return tsr_cu_address_of(e, tsr_cu_element(e, buffer, subscripts, around));
}

static bool proven(tsr_cu *e, const tsr_cu_tile *tile, tsr_expr expr) {
  int64_t lanes[TSR_MAX_RANK] = {0};
  for (uint32_t lane = 0; lane < tile->rank; ++lane)
    lanes[lane] = tile->extents[tile->rank - 1 - lane];
  return tsr_expr_prove_nonnegative(e->ir, expr, lanes, tile->rank);
}

static bool never_beyond(tsr_cu *e, const tsr_cu_tile *tile, tsr_expr subscript, tsr_expr dim) {
  return proven(e, tile, tsr_expr_sub(e->ir, tsr_expr_add_int(e->ir, dim, -1), subscript));
}

bool tsr_cu_never_outside(tsr_cu *e, tsr_value buffer, const tsr_expr *subscripts,
                          const tsr_cu_tile *tile) {
  const tsr_type_info *type = tsr_value_type(e->ir, buffer);
  for (uint32_t i = 0; i < type->rank; ++i)
    if (!proven(e, tile, subscripts[i]) || !never_beyond(e, tile, subscripts[i], type->dims[i]))
      return false;
  return true;
}

const char *tsr_cu_place(tsr_cu *e, const tsr_cu_access *at, const char **out_condition) {
  const char *condition = tsr_cu_inside(e, &at->tile);
  subscript_texts s;
  for (uint32_t i = 0; i < at->buffer->rank; ++i) {
    tsr_expr subscript = at->subscripts[i], dim = at->buffer->dims[i];
    s.narrow[i] = tsr_cu_index_is_int(e, subscript, &at->tile);
    const char *text = tsr_cu_index(e, subscript, &at->tile);
    tsr_cu_line(e, "const %s s%u = %s;", s.narrow[i] ? "int" : "tsr_s64", i, text);
    if (!proven(e, &at->tile, subscript))
      condition = tsr_cu_both(e, condition, tsr_cu_format(e, "s%u >= 0", i));
    if (!never_beyond(e, &at->tile, subscript, dim))
      condition =
          tsr_cu_both(e, condition, tsr_cu_format(e, "s%u < %s", i, tsr_cu_index(e, dim, NULL)));
    s.text[i] = tsr_cu_format(e, "s%u", i);
  }
  *out_condition = condition;
  return element_at(e, at->value, &s);
}

/* --- runs --- */

/* An indirect subscript moves along an axis where its tile does. */
static bool moves_along(tsr_cu *e, tsr_expr expr, const tsr_cu_tile *tile, uint32_t axis) {
  tsr_expr_node node = tsr_expr_get(e->ir, expr);
  if (node.op == TSR_INDEX_VALUE) {
    const tsr_type_info *type = tsr_value_type(e->ir, node.value);
    return type->dtype != TSR_DTYPE_NONE && type->rank > axis &&
           !tsr_expr_equals_int(e->ir, type->dims[type->rank - 1 - axis], 1);
  }
  if (node.op == TSR_INDEX_INT || node.op == TSR_INDEX_DIM || node.op == TSR_INDEX_LANE)
    return false;
  return moves_along(e, node.a, tile, axis) || moves_along(e, node.b, tile, axis);
}

/* The subscript with the lane at run * lane + place. */
static tsr_expr in_run(tsr_cu *e, tsr_expr expr, uint32_t lane, uint32_t run, int64_t place) {
  tsr_expr from = tsr_expr_lane(e->ir, lane);
  tsr_expr to = tsr_expr_add_int(e->ir, tsr_expr_mul_int(e->ir, from, run), place);
  return tsr_expr_substitute(e->ir, expr, &from, &to, 1);
}

/* `subscript` goes up by `step` from each element of every run to the next. */
static bool steps_by(tsr_cu *e, tsr_expr subscript, uint32_t lane, uint32_t run, int64_t step) {
  tsr_expr first = in_run(e, subscript, lane, run, 0);
  for (uint32_t place = 1; place < run; ++place)
    if (in_run(e, subscript, lane, run, place) != tsr_expr_add_int(e->ir, first, step * place))
      return false;
  return true;
}

/* Whatever the subscripts of the other axes are, they count whole rows. */
static bool rows_divisible(tsr_cu *e, const tsr_type_info *buffer, uint32_t last, uint32_t run) {
  tsr_expr row = tsr_expr_int(e->ir, 1);
  for (uint32_t i = last; i < buffer->rank; ++i)
    row = tsr_expr_mul(e->ir, row, buffer->dims[i]);
  return last == 0 || tsr_expr_divisible(e->ir, row, run);
}

static bool is_run(tsr_cu *e, tsr_value value, const tsr_expr *subscripts, const tsr_cu_tile *tile,
                   uint32_t axis, uint32_t run) {
  const tsr_type_info *buffer = tsr_value_type(e->ir, value);
  uint32_t lane = tile->rank - 1 - axis, last = buffer->rank;
  while (last > 0 && tsr_expr_equals_int(e->ir, buffer->dims[last - 1], 1))
    --last;
  if (last-- == 0)
    return false;
  for (uint32_t i = 0; i < buffer->rank; ++i)
    if (moves_along(e, subscripts[i], tile, axis) ||
        !steps_by(e, subscripts[i], lane, run, i == last))
      return false;
  tsr_expr first = in_run(e, subscripts[last], lane, run, 0), dim = buffer->dims[last];
  if (!tsr_expr_divisible(e->ir, first, run) || !rows_divisible(e, buffer, last, run))
    return false;
  return tsr_expr_divisible(e->ir, dim, run) || never_beyond(e, tile, subscripts[last], dim);
}

uint32_t tsr_cu_run(tsr_cu *e, tsr_value buffer, const tsr_expr *subscripts,
                    const tsr_cu_tile *tile, uint32_t axis, uint32_t most) {
  while (most > 1 && !is_run(e, buffer, subscripts, tile, axis, most))
    most /= 2;
  return most;
}
