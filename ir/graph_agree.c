/* Dims that must be equal but are not known to be: other names, arithmetic on dims, sizes that are
 * data. They are taken for equal, a check of the program makes sure of it, and the operand gets the
 * other's dims by a reshape, which moves nothing. A symbolic dim beside another is taken for a 1
 * that broadcasts only if it can be no more than that. */
#include "ir/graph_build.h"
#include <string.h>

static bool is_one(const tsr_builder *b, tsr_expr dim) {
  return tsr_expr_equals_int(b->ir, dim, 1);
}

static bool from_device(const tsr_ir *ir, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(ir, expr);
  if (node.op == TSR_INDEX_DIM)
    return tsr_dim_get(ir, node.dim)->from_device;
  return node.op > TSR_INDEX_LANE && (from_device(ir, node.a) || from_device(ir, node.b));
}

/* What says more about the extent comes first: a number, then what is known before anything runs,
 * then a plain dim. */
static int vagueness(const tsr_builder *b, tsr_expr dim) {
  int64_t number;
  if (tsr_expr_is_int(b->ir, dim, &number))
    return 0;
  return 1 + 2 * from_device(b->ir, dim) + (tsr_expr_get(b->ir, dim).op != TSR_INDEX_DIM);
}

tsr_expr tsr_graph_agree(tsr_builder *b, tsr_expr x, tsr_expr y) {
  int64_t never = 0;
  if (x == 0 || y == 0 || x == y)
    return x == y ? x : 0;
  tsr_expr equal = tsr_expr_binary(b->ir, TSR_INDEX_EQ, x, y);
  if (equal == 0 || (tsr_expr_is_int(b->ir, equal, &never) && never == 0))
    return 0;
  tsr_arena scratch;
  tsr_arena_init(&scratch, tsr_ir_allocator(b->ir));
  const char *left = tsr_expr_print(b->ir, x, &scratch);
  const char *right = tsr_expr_print(b->ir, y, &scratch);
  const char *text =
      left == NULL || right == NULL
          ? NULL
          : tsr_arena_printf(&scratch, "the extents %s and %s must be equal", left, right);
  if (text == NULL)
    (void)tsr_ir_poison(b->ir, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  else
    tsr_graph_check(b, equal, text);
  tsr_arena_reset(&scratch);
  return vagueness(b, y) < vagueness(b, x) ? y : x;
}

/* x under other dims of the same rank, which a check has made equal. */
static tsr_value with_dims(tsr_builder *b, tsr_value x, const tsr_expr *dims) {
  const tsr_type_info *type = tsr_value_type(b->ir, x);
  if (type->rank == 0 || memcmp(type->dims, dims, type->rank * sizeof *dims) == 0)
    return x;
  tsr_op op = tsr_op_append(b->ir, b->region, TSR_OP_RESHAPE);
  tsr_op_add_operand(b->ir, op, x);
  if (op != 0 && b->origin != NULL)
    tsr_op_add_origin(b->ir, op, b->origin);
  return tsr_op_add_result(b->ir, op,
                           tsr_type_make(b->ir, TSR_LEVEL_GLOBAL, type->dtype, dims, type->rank));
}

/* x with the axes that are not 1 under the dims `all`, which all checks are made for. */
static tsr_value spread(tsr_builder *b, tsr_value x, const tsr_expr *all, uint32_t rank) {
  tsr_expr dims[TSR_MAX_RANK];
  const tsr_type_info *type = tsr_value_type(b->ir, x);
  for (uint32_t i = 0; i < type->rank; i++)
    dims[i] = is_one(b, type->dims[i]) || i + rank < type->rank ? type->dims[i]
                                                                : all[i + rank - type->rank];
  return with_dims(b, x, dims);
}

static tsr_value with_dim(tsr_builder *b, tsr_value x, uint32_t axis, tsr_expr dim) {
  tsr_expr dims[TSR_MAX_RANK];
  const tsr_type_info *type = tsr_value_type(b->ir, x);
  memcpy(dims, type->dims, type->rank * sizeof *dims);
  dims[axis] = dim;
  return with_dims(b, x, dims);
}

tsr_value tsr_graph_agree_dim(tsr_builder *b, tsr_value x, uint32_t axis, tsr_expr dim) {
  if (!b->checks || x == 0 || dim == 0)
    return x;
  const tsr_type_info *type = tsr_value_type(b->ir, x);
  if (axis >= type->rank || tsr_graph_agree(b, type->dims[axis], dim) == 0)
    return x;
  return with_dim(b, x, axis, dim);
}

/* An extent of 0 or 1, such as that of the last row of a picture that may be empty. */
bool tsr_graph_one_at_most(const tsr_builder *b, tsr_expr dim) {
  int64_t number;
  tsr_expr room = tsr_expr_sub(b->ir, tsr_expr_int(b->ir, 1), dim);
  return !tsr_expr_is_int(b->ir, dim, &number) && tsr_expr_prove_nonnegative(b->ir, room, NULL, 0);
}

tsr_value tsr_graph_agree_dims(tsr_builder *b, tsr_value x, const tsr_expr *wanted, uint32_t rank) {
  if (!b->checks || x == 0)
    return x;
  for (uint32_t i = 0; i < tsr_value_type(b->ir, x)->rank; i++) {
    const tsr_type_info *type = tsr_value_type(b->ir, x);
    if (is_one(b, type->dims[i]) || i + rank < type->rank)
      continue;
    tsr_expr to = wanted[i + rank - type->rank];
    if (to != type->dims[i] && tsr_graph_one_at_most(b, type->dims[i]))
      x = tsr_graph_agree_dim(b, x, i, tsr_expr_int(b->ir, 1));
    else if (tsr_graph_agree(b, type->dims[i], to) == 0)
      return x;
  }
  return spread(b, x, wanted, rank);
}

/* Axis `axis` of a result of rank `rank` becomes 1 in the operands that have the extent there. */
static void narrow(tsr_builder *b, tsr_value *operands, uint32_t count, uint32_t axis,
                   uint32_t rank, tsr_expr extent) {
  for (uint32_t i = 0; i < count; i++) {
    const tsr_type_info *type = tsr_value_type(b->ir, operands[i]);
    uint32_t own = axis + type->rank - rank;
    if (axis + type->rank >= rank && type->dims[own] == extent)
      operands[i] = tsr_graph_agree_dim(b, operands[i], own, tsr_expr_int(b->ir, 1));
  }
}

void tsr_graph_agree_broadcast(tsr_builder *b, tsr_value *operands, uint32_t count) {
  tsr_expr all[TSR_MAX_RANK];
  uint32_t rank = 0;
  if (!b->checks)
    return;
  for (uint32_t i = 0; i < count; i++) {
    if (operands[i] == 0)
      return;
    uint32_t own = tsr_value_type(b->ir, operands[i])->rank;
    rank = own > rank ? own : rank;
  }
  for (uint32_t a = 0; a < rank; a++) {
    all[a] = tsr_expr_int(b->ir, 1);
    for (uint32_t i = 0; i < count; i++) {
      const tsr_type_info *type = tsr_value_type(b->ir, operands[i]);
      tsr_expr dim = a + type->rank < rank ? 0 : type->dims[a + type->rank - rank];
      if (dim == 0 || dim == all[a] || is_one(b, dim))
        continue;
      bool beside = !is_one(b, all[a]);
      if (beside && tsr_graph_one_at_most(b, dim)) {
        narrow(b, operands, count, a, rank, dim);
        continue;
      }
      if (beside && tsr_graph_one_at_most(b, all[a]))
        narrow(b, operands, count, a, rank, all[a]);
      all[a] = !beside || tsr_graph_one_at_most(b, all[a]) ? dim : tsr_graph_agree(b, all[a], dim);
      if (all[a] == 0)
        return;
    }
  }
  for (uint32_t i = 0; i < count; i++)
    operands[i] = spread(b, operands[i], all, rank);
}

void tsr_graph_agree_concat(tsr_builder *b, tsr_value *parts, uint32_t count, uint32_t axis) {
  if (!b->checks || count == 0 || parts[0] == 0)
    return;
  uint32_t rank = tsr_value_type(b->ir, parts[0])->rank;
  for (uint32_t i = 1; i < count; i++)
    if (parts[i] == 0 || tsr_value_type(b->ir, parts[i])->rank != rank)
      return;
  for (uint32_t a = 0; a < rank; a++) {
    tsr_expr all = tsr_value_type(b->ir, parts[0])->dims[a];
    if (a == axis)
      continue;
    for (uint32_t i = 1; i < count && all != 0; i++)
      all = tsr_graph_agree(b, all, tsr_value_type(b->ir, parts[i])->dims[a]);
    for (uint32_t i = 0; i < count && all != 0; i++)
      if ((parts[i] = with_dim(b, parts[i], a, all)) == 0)
        return;
  }
}

void tsr_graph_agree_einsum(tsr_builder *b, const char *spec, tsr_value *x, tsr_value *y) {
  const char *comma = spec == NULL ? NULL : strchr(spec, ',');
  const char *arrow = comma == NULL ? NULL : strstr(comma, "->");
  if (!b->checks || arrow == NULL || *x == 0 || *y == 0 ||
      (size_t)(comma - spec) != tsr_value_type(b->ir, *x)->rank ||
      (size_t)(arrow - comma - 1) != tsr_value_type(b->ir, *y)->rank)
    return;
  for (uint32_t i = 0; spec + i < comma; i++)
    for (uint32_t k = 0; comma + 1 + k < arrow; k++) {
      if (spec[i] != comma[1 + k])
        continue;
      tsr_expr agreed = tsr_graph_agree(b, tsr_value_type(b->ir, *x)->dims[i],
                                        tsr_value_type(b->ir, *y)->dims[k]);
      if (agreed == 0)
        return;
      *x = with_dim(b, *x, i, agreed);
      *y = with_dim(b, *y, k, agreed);
      if (*x == 0 || *y == 0)
        return;
    }
}
