/* Builder calls of graph IR: each makes one op, infers its result types and appends it. */
#include "ir/graph_build.h"
#include <string.h>

tsr_builder tsr_graph_begin(tsr_ir *ir, const char *name) {
  tsr_op graph = tsr_op_append(ir, tsr_ir_top(ir), TSR_OP_GRAPH);
  tsr_op_set_symbol(ir, graph, name);
  tsr_builder builder = {.ir = ir, .region = tsr_op_add_region(ir, graph), .origin = NULL};
  return builder;
}

tsr_op tsr_graph_op(tsr_builder *b, tsr_opcode code, const tsr_value *operands, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (operands[i] == 0)
      return 0;
  tsr_op op = tsr_op_append(b->ir, b->region, code);
  for (uint32_t i = 0; op != 0 && i < count; i++)
    tsr_op_add_operand(b->ir, op, operands[i]);
  if (op != 0 && b->origin != NULL)
    tsr_op_add_origin(b->ir, op, b->origin);
  return op;
}

/* Checks the declared result types, or gives the op the ones that follow from its operands. */
static tsr_value finish(tsr_builder *b, tsr_op op, uint32_t results) {
  if (op == 0 || tsr_ir_status(b->ir) != TSR_OK)
    return 0;
  tsr_type types[2];
  if (tsr_infer_types(b->ir, op, tsr_ir_diag(b->ir), types) != TSR_OK)
    return tsr_ir_poison(b->ir, tsr_ir_diag(b->ir)->status, "%s", tsr_ir_diag(b->ir)->message);
  for (uint32_t i = tsr_op_get(b->ir, op)->result_count; i < results; i++)
    tsr_op_add_result(b->ir, op, types[i]);
  return tsr_op_get(b->ir, op)->result_count == 0 ? 0 : tsr_op_get(b->ir, op)->results[0];
}

static void declare(tsr_builder *b, tsr_op op, tsr_dtype dtype, const tsr_expr *dims,
                    uint32_t rank) {
  if (op != 0)
    tsr_op_add_result(b->ir, op, tsr_type_make(b->ir, TSR_LEVEL_GLOBAL, dtype, dims, rank));
}

tsr_value tsr_graph_input(tsr_builder *b, const char *name, tsr_dtype dtype, const tsr_expr *dims,
                          uint32_t rank) {
  tsr_op op = tsr_graph_op(b, TSR_OP_INPUT, NULL, 0);
  tsr_op_set_string(b->ir, op, "name", name);
  declare(b, op, dtype, dims, rank);
  return finish(b, op, 1);
}

void tsr_graph_output(tsr_builder *b, const char *name, tsr_value value) {
  tsr_op op = tsr_graph_op(b, TSR_OP_OUTPUT, &value, 1);
  if (op != 0)
    tsr_op_set_string(b->ir, op, "name", name);
}

void tsr_graph_check(tsr_builder *b, tsr_expr holds, const char *text) {
  const char *origin = b->origin != NULL ? b->origin : "";
  const char *between = b->origin != NULL ? ": " : "";
  int64_t number;
  if (holds == 0)
    return;
  if (tsr_expr_is_int(b->ir, holds, &number)) {
    if (number == 0)
      (void)tsr_ir_poison(b->ir, TSR_ERR_SHAPE, "%s", text);
    return;
  }
  char *whole = tsr_arena_printf(tsr_ir_arena(b->ir), "%s%s%s", origin, between, text);
  tsr_op op = tsr_graph_op(b, TSR_OP_CHECK, NULL, 0);
  if (whole == NULL)
    (void)tsr_ir_poison(b->ir, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  if (op == 0 || whole == NULL)
    return;
  tsr_op_set_expr(b->ir, op, "holds", holds);
  tsr_op_set_string(b->ir, op, "text", whole);
}

tsr_value tsr_graph_const(tsr_builder *b, tsr_dtype dtype, const int64_t *dims, uint32_t rank,
                          const void *data, bool copy) {
  tsr_expr exprs[TSR_MAX_RANK];
  int64_t count = 1;
  if (rank > TSR_MAX_RANK)
    return tsr_ir_poison(b->ir, TSR_ERR_LIMIT, "constant of rank %u; the limit is %d", rank,
                         TSR_MAX_RANK);
  for (uint32_t i = 0; i < rank; i++) {
    exprs[i] = tsr_expr_int(b->ir, dims[i]);
    if (dims[i] < 0 || __builtin_mul_overflow(count, dims[i], &count))
      return tsr_ir_poison(b->ir, TSR_ERR_SHAPE, "constant with a negative or overflowing shape");
  }
  int64_t bytes = tsr_dtype_bytes(dtype, count);
  if (bytes < 0)
    return tsr_ir_poison(b->ir, TSR_ERR_SHAPE, "constant with an overflowing shape");
  tsr_op op = tsr_graph_op(b, TSR_OP_CONST, NULL, 0);
  tsr_op_set_int(b->ir, op, "data", tsr_const_add(b->ir, dtype, data, (uint64_t)bytes, copy));
  declare(b, op, dtype, exprs, rank);
  return finish(b, op, 1);
}

tsr_value tsr_graph_splat(tsr_builder *b, tsr_dtype dtype, double value, const tsr_expr *dims,
                          uint32_t rank) {
  if (tsr_dtype_class_of(dtype) != TSR_CLASS_FLOAT) {
    if (!(value >= -9007199254740992.0 && value <= 9007199254740992.0))
      return tsr_ir_poison(b->ir, TSR_ERR_ARGUMENT, "a splat of %g is not exact in %s", value,
                           tsr_dtype_text(dtype));
    tsr_value scalar = tsr_graph_scalar_int(b, dtype, (int64_t)value);
    return rank == 0 ? scalar : tsr_graph_broadcast(b, scalar, dims, rank);
  }
  tsr_op op = tsr_graph_op(b, TSR_OP_CONST, NULL, 0);
  tsr_op_set_float(b->ir, op, "value", value);
  declare(b, op, dtype, dims, rank);
  return finish(b, op, 1);
}

tsr_value tsr_graph_scalar(tsr_builder *b, tsr_dtype dtype, double value) {
  return tsr_graph_splat(b, dtype, value, NULL, 0);
}

tsr_value tsr_graph_scalar_int(tsr_builder *b, tsr_dtype dtype, int64_t value) {
  if (tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT)
    return tsr_graph_scalar(b, dtype, (double)value);
  tsr_op op = tsr_graph_op(b, TSR_OP_CONST, NULL, 0);
  tsr_op_set_int(b->ir, op, "value", value);
  declare(b, op, dtype, NULL, 0);
  return finish(b, op, 1);
}

tsr_value tsr_graph_iota(tsr_builder *b, tsr_dtype dtype, const tsr_expr *dims, uint32_t rank,
                         uint32_t axis) {
  tsr_op op = tsr_graph_op(b, TSR_OP_IOTA, NULL, 0);
  tsr_op_set_int(b->ir, op, "axis", axis);
  declare(b, op, dtype, dims, rank);
  return finish(b, op, 1);
}

tsr_value tsr_graph_index(tsr_builder *b, tsr_dtype dtype, tsr_expr value) {
  tsr_op op = tsr_graph_op(b, TSR_OP_INDEX, NULL, 0);
  tsr_op_set_expr(b->ir, op, "value", value);
  declare(b, op, dtype, NULL, 0);
  return finish(b, op, 1);
}

tsr_value tsr_graph_unary(tsr_builder *b, tsr_opcode code, tsr_value x) {
  return finish(b, tsr_graph_op(b, code, &x, 1), 1);
}

tsr_value tsr_graph_binary(tsr_builder *b, tsr_opcode code, tsr_value x, tsr_value y) {
  tsr_value operands[2] = {x, y};
  tsr_graph_agree_broadcast(b, operands, 2);
  return finish(b, tsr_graph_op(b, code, operands, 2), 1);
}

tsr_value tsr_graph_select(tsr_builder *b, tsr_value condition, tsr_value x, tsr_value y) {
  tsr_value operands[3] = {condition, x, y};
  tsr_graph_agree_broadcast(b, operands, 3);
  return finish(b, tsr_graph_op(b, TSR_OP_SELECT, operands, 3), 1);
}

/* A one-operand op whose result has the operand's shape and another dtype. */
static tsr_value retyped(tsr_builder *b, tsr_opcode code, tsr_value x, tsr_dtype dtype) {
  tsr_op op = tsr_graph_op(b, code, &x, 1);
  if (op == 0)
    return 0;
  const tsr_type_info *type = tsr_value_type(b->ir, x);
  declare(b, op, dtype, type->dims, type->rank);
  return finish(b, op, 1);
}

tsr_value tsr_graph_cast(tsr_builder *b, tsr_value x, tsr_dtype dtype) {
  if (x != 0 && tsr_value_type(b->ir, x)->dtype == dtype)
    return x;
  return retyped(b, TSR_OP_CAST, x, dtype);
}

tsr_value tsr_graph_bitcast(tsr_builder *b, tsr_value x, tsr_dtype dtype) {
  return retyped(b, TSR_OP_BITCAST, x, dtype);
}

/* A one-operand op whose result has the operand's dtype and a given shape. */
static tsr_op reshaped(tsr_builder *b, tsr_opcode code, tsr_value x, const tsr_expr *dims,
                       uint32_t rank) {
  tsr_op op = tsr_graph_op(b, code, &x, 1);
  if (op != 0)
    declare(b, op, tsr_value_type(b->ir, x)->dtype, dims, rank);
  return op;
}

static bool same_dims(tsr_builder *b, tsr_value x, const tsr_expr *dims, uint32_t rank) {
  if (x == 0)
    return false;
  const tsr_type_info *type = tsr_value_type(b->ir, x);
  return type->rank == rank && (rank == 0 || memcmp(type->dims, dims, rank * sizeof *dims) == 0);
}

/* Products that are not known to be equal are equal, or the run fails. */
static void check_count(tsr_builder *b, tsr_value x, const tsr_expr *dims, uint32_t rank) {
  const tsr_type_info *type = tsr_value_type(b->ir, x);
  tsr_expr before = tsr_expr_int(b->ir, 1), after = before;
  for (uint32_t i = 0; i < type->rank; i++)
    before = tsr_expr_mul(b->ir, before, type->dims[i]);
  for (uint32_t i = 0; i < rank; i++)
    after = tsr_expr_mul(b->ir, after, dims[i]);
  tsr_graph_check(b, tsr_expr_binary(b->ir, TSR_INDEX_EQ, before, after),
                  "the new shape has another number of elements");
}

tsr_value tsr_graph_reshape(tsr_builder *b, tsr_value x, const tsr_expr *dims, uint32_t rank) {
  if (same_dims(b, x, dims, rank))
    return x;
  if (b->checks && x != 0)
    check_count(b, x, dims, rank);
  return finish(b, reshaped(b, TSR_OP_RESHAPE, x, dims, rank), 1);
}

tsr_value tsr_graph_broadcast(tsr_builder *b, tsr_value x, const tsr_expr *dims, uint32_t rank) {
  x = tsr_graph_agree_dims(b, x, dims, rank);
  if (same_dims(b, x, dims, rank))
    return x;
  return finish(b, reshaped(b, TSR_OP_BROADCAST, x, dims, rank), 1);
}

tsr_value tsr_graph_transpose(tsr_builder *b, tsr_value x, const int64_t *perm) {
  tsr_op op = tsr_graph_op(b, TSR_OP_TRANSPOSE, &x, 1);
  if (op != 0)
    tsr_op_set_ints(b->ir, op, "perm", perm, tsr_value_type(b->ir, x)->rank);
  return finish(b, op, 1);
}

tsr_value tsr_graph_slice(tsr_builder *b, tsr_value x, const tsr_expr *start, const int64_t *step,
                          const tsr_expr *extent) {
  if (x == 0)
    return 0;
  uint32_t rank = tsr_value_type(b->ir, x)->rank;
  tsr_op op = reshaped(b, TSR_OP_SLICE, x, extent, rank);
  tsr_op_set_exprs(b->ir, op, "start", start, rank);
  tsr_op_set_ints(b->ir, op, "step", step, rank);
  return finish(b, op, 1);
}

tsr_value tsr_graph_pad(tsr_builder *b, tsr_value x, tsr_value value, const tsr_expr *low,
                        const tsr_expr *high, const int64_t *interior, const char *mode) {
  tsr_value operands[2] = {x, value};
  tsr_op op = tsr_graph_op(b, TSR_OP_PAD, operands, 2);
  if (op == 0)
    return 0;
  uint32_t rank = tsr_value_type(b->ir, x)->rank;
  tsr_op_set_exprs(b->ir, op, "low", low, rank);
  tsr_op_set_exprs(b->ir, op, "high", high, rank);
  if (interior != NULL)
    tsr_op_set_ints(b->ir, op, "interior", interior, rank);
  tsr_op_set_string(b->ir, op, "mode", mode);
  return finish(b, op, 1);
}

/* Concatenations of more parts have dims of one model anyway. */
enum { MOST_AGREED = 256 };

tsr_value tsr_graph_concat(tsr_builder *b, const tsr_value *parts, uint32_t count, uint32_t axis) {
  tsr_value agreed[MOST_AGREED];
  if (b->checks && count <= MOST_AGREED) {
    memcpy(agreed, parts, count * sizeof *parts);
    tsr_graph_agree_concat(b, agreed, count, axis);
    parts = agreed;
  }
  tsr_op op = tsr_graph_op(b, TSR_OP_CONCAT, parts, count);
  if (op != 0)
    tsr_op_set_int(b->ir, op, "axis", axis);
  return finish(b, op, 1);
}

tsr_value tsr_graph_reduce(tsr_builder *b, tsr_value x, const char *combine, const int64_t *axes,
                           uint32_t count) {
  tsr_op op = tsr_graph_op(b, TSR_OP_REDUCE, &x, 1);
  if (op != 0) {
    tsr_op_set_string(b->ir, op, "combine", combine);
    tsr_op_set_ints(b->ir, op, "axes", axes, count);
  }
  return finish(b, op, 1);
}

/* Where an axis has extent 0, nothing may be taken from it: `count` elements are. */
static void check_not_empty(tsr_builder *b, tsr_expr extent, tsr_expr count) {
  tsr_expr zero = tsr_expr_int(b->ir, 0);
  tsr_graph_check(b,
                  tsr_expr_binary(b->ir, TSR_INDEX_OR,
                                  tsr_expr_binary(b->ir, TSR_INDEX_NE, extent, zero),
                                  tsr_expr_binary(b->ir, TSR_INDEX_EQ, count, zero)),
                  "elements are taken from an axis of extent 0");
}

tsr_value tsr_graph_arg_reduce(tsr_builder *b, tsr_value x, const char *combine, uint32_t axis,
                               bool last) {
  if (b->checks && x != 0 && axis < tsr_value_type(b->ir, x)->rank) {
    const tsr_type_info *type = tsr_value_type(b->ir, x);
    tsr_expr rows = tsr_expr_int(b->ir, 1);
    for (uint32_t i = 0; i < type->rank; i++)
      rows = i == axis ? rows : tsr_expr_mul(b->ir, rows, type->dims[i]);
    check_not_empty(b, type->dims[axis], rows);
  }
  tsr_op op = tsr_graph_op(b, TSR_OP_ARG_REDUCE, &x, 1);
  if (op != 0) {
    tsr_op_set_int(b->ir, op, "axis", axis);
    tsr_op_set_string(b->ir, op, "combine", combine);
    tsr_op_set_bool(b->ir, op, "last", last);
  }
  return finish(b, op, 1);
}

tsr_value tsr_graph_einsum(tsr_builder *b, const char *spec, tsr_value x, tsr_value y) {
  tsr_graph_agree_einsum(b, spec, &x, &y);
  tsr_value operands[2] = {x, y};
  tsr_op op = tsr_graph_op(b, TSR_OP_EINSUM, operands, 2);
  if (op != 0)
    tsr_op_set_string(b->ir, op, "spec", spec);
  return finish(b, op, 1);
}

/* A window, or negative pads, may be larger than what they are taken from. */
static tsr_value check_extents(tsr_builder *b, tsr_value y) {
  if (!b->checks || y == 0)
    return y;
  const tsr_type_info *type = tsr_value_type(b->ir, y);
  for (uint32_t i = 0; i < type->rank; i++)
    tsr_graph_check(b, tsr_expr_binary(b->ir, TSR_INDEX_LE, tsr_expr_int(b->ir, 0), type->dims[i]),
                    "the result would have a negative extent");
  return y;
}

static void set_window(tsr_builder *b, tsr_op op, uint32_t spatial, const int64_t *strides,
                       const int64_t *dilations, const tsr_expr *low, const tsr_expr *high) {
  tsr_op_set_ints(b->ir, op, "strides", strides, spatial);
  tsr_op_set_ints(b->ir, op, "dilations", dilations, spatial);
  tsr_op_set_exprs(b->ir, op, "low", low, spatial);
  tsr_op_set_exprs(b->ir, op, "high", high, spatial);
}

tsr_value tsr_graph_conv(tsr_builder *b, tsr_value x, tsr_value w, const int64_t *strides,
                         const int64_t *dilations, const tsr_expr *low, const tsr_expr *high,
                         int64_t groups) {
  if (b->checks && x != 0 && w != 0 && tsr_value_type(b->ir, w)->rank > 1)
    x = tsr_graph_agree_dim(b, x, 1,
                            tsr_expr_mul_int(b->ir, tsr_value_type(b->ir, w)->dims[1], groups));
  tsr_value operands[2] = {x, w};
  tsr_op op = tsr_graph_op(b, TSR_OP_CONV, operands, 2);
  if (op == 0)
    return 0;
  uint32_t rank = tsr_value_type(b->ir, x)->rank;
  set_window(b, op, rank < 2 ? 0 : rank - 2, strides, dilations, low, high);
  tsr_op_set_int(b->ir, op, "groups", groups);
  return check_extents(b, finish(b, op, 1));
}

tsr_value tsr_graph_pool(tsr_builder *b, tsr_value x, const char *combine, uint32_t window_rank,
                         const int64_t *window, const int64_t *strides, const int64_t *dilations,
                         const tsr_expr *low, const tsr_expr *high) {
  tsr_op op = tsr_graph_op(b, TSR_OP_POOL, &x, 1);
  if (op != 0) {
    tsr_op_set_ints(b->ir, op, "window", window, window_rank);
    set_window(b, op, window_rank, strides, dilations, low, high);
    tsr_op_set_string(b->ir, op, "combine", combine);
  }
  return check_extents(b, finish(b, op, 1));
}

tsr_value tsr_graph_scan(tsr_builder *b, tsr_value x, const char *combine, uint32_t axis,
                         bool exclusive, bool reverse) {
  tsr_op op = tsr_graph_op(b, TSR_OP_SCAN, &x, 1);
  if (op != 0) {
    tsr_op_set_int(b->ir, op, "axis", axis);
    tsr_op_set_string(b->ir, op, "combine", combine);
    tsr_op_set_bool(b->ir, op, "exclusive", exclusive);
    tsr_op_set_bool(b->ir, op, "reverse", reverse);
  }
  return finish(b, op, 1);
}

/* Axis `first` (gather_nd: as many as the indices say) is what indices point into. */
static void check_indexed(tsr_builder *b, tsr_opcode code, tsr_value x, tsr_value indices,
                          uint32_t first) {
  const tsr_type_info *from = tsr_value_type(b->ir, x), *at = tsr_value_type(b->ir, indices);
  int64_t width = 1;
  if (code == TSR_OP_GATHER_ND &&
      (at->rank == 0 || !tsr_expr_is_int(b->ir, at->dims[at->rank - 1], &width)))
    return;
  for (uint32_t i = 0; i < width && first + i < from->rank; i++)
    check_not_empty(b, from->dims[first + i],
                    tsr_type_elements(b->ir, tsr_value_get(b->ir, indices)->type));
}

/* gather, gather_nd, gather_elements: an operand, indices and one integer attribute. */
static tsr_value gather(tsr_builder *b, tsr_opcode code, tsr_value x, tsr_value indices,
                        const char *key, uint32_t number) {
  if (code == TSR_OP_GATHER_ND && b->checks && x != 0)
    for (uint32_t i = 0; i < number && i < tsr_value_type(b->ir, x)->rank; i++)
      indices = tsr_graph_agree_dim(b, indices, i, tsr_value_type(b->ir, x)->dims[i]);
  if (b->checks && x != 0 && indices != 0)
    check_indexed(b, code, x, indices, number);
  tsr_value operands[2] = {x, indices};
  tsr_op op = tsr_graph_op(b, code, operands, 2);
  if (op != 0)
    tsr_op_set_int(b->ir, op, key, number);
  return finish(b, op, 1);
}

tsr_value tsr_graph_gather(tsr_builder *b, tsr_value x, tsr_value indices, uint32_t axis) {
  return gather(b, TSR_OP_GATHER, x, indices, "axis", axis);
}

tsr_value tsr_graph_gather_nd(tsr_builder *b, tsr_value x, tsr_value indices, uint32_t batch) {
  return gather(b, TSR_OP_GATHER_ND, x, indices, "batch", batch);
}

tsr_value tsr_graph_gather_elements(tsr_builder *b, tsr_value x, tsr_value indices, uint32_t axis) {
  return gather(b, TSR_OP_GATHER_ELEMENTS, x, indices, "axis", axis);
}

/* Updates take the extents of the indices, and where those end of the operand. */
static tsr_value agree_updates(tsr_builder *b, tsr_opcode code, tsr_value x, tsr_value indices,
                               tsr_value updates) {
  if (!b->checks || x == 0 || indices == 0 || updates == 0)
    return updates;
  const tsr_type_info *to = tsr_value_type(b->ir, x), *at = tsr_value_type(b->ir, indices);
  uint32_t rank = tsr_value_type(b->ir, updates)->rank;
  for (uint32_t i = 0; i < rank; i++) {
    uint32_t axis = to->rank - rank + i;
    bool index = code == TSR_OP_SCATTER_ELEMENTS ? i < at->rank : i + 1 < at->rank;
    tsr_expr want = index ? at->dims[i] : axis < to->rank ? to->dims[axis] : 0;
    updates = tsr_graph_agree_dim(b, updates, i, want);
  }
  return updates;
}

static tsr_op scatter(tsr_builder *b, tsr_opcode code, tsr_value x, tsr_value indices,
                      tsr_value updates, const char *combine) {
  updates = agree_updates(b, code, x, indices, updates);
  tsr_value operands[3] = {x, indices, updates};
  tsr_op op = tsr_graph_op(b, code, operands, 3);
  if (op != 0)
    tsr_op_set_string(b->ir, op, "combine", combine);
  return op;
}

tsr_value tsr_graph_scatter_nd(tsr_builder *b, tsr_value x, tsr_value indices, tsr_value updates,
                               const char *combine) {
  return finish(b, scatter(b, TSR_OP_SCATTER_ND, x, indices, updates, combine), 1);
}

tsr_value tsr_graph_scatter_elements(tsr_builder *b, tsr_value x, tsr_value indices,
                                     tsr_value updates, uint32_t axis, const char *combine) {
  tsr_op op = scatter(b, TSR_OP_SCATTER_ELEMENTS, x, indices, updates, combine);
  if (op != 0)
    tsr_op_set_int(b->ir, op, "axis", axis);
  return finish(b, op, 1);
}

void tsr_graph_topk(tsr_builder *b, tsr_value x, tsr_expr k, uint32_t axis, bool largest,
                    tsr_value *out_values, tsr_value *out_indices) {
  *out_values = *out_indices = 0;
  tsr_op op = tsr_graph_op(b, TSR_OP_TOPK, &x, 1);
  if (op == 0)
    return;
  const tsr_type_info *type = tsr_value_type(b->ir, x);
  tsr_expr dims[TSR_MAX_RANK];
  if (axis >= type->rank) {
    tsr_ir_poison(b->ir, TSR_ERR_SHAPE, "topk: axis is out of range");
    return;
  }
  memcpy(dims, type->dims, type->rank * sizeof *dims);
  if (b->checks)
    tsr_graph_check(b, tsr_expr_binary(b->ir, TSR_INDEX_LE, k, dims[axis]),
                    "K is larger than the axis");
  dims[axis] = k;
  tsr_op_set_int(b->ir, op, "axis", axis);
  tsr_op_set_bool(b->ir, op, "largest", largest);
  declare(b, op, type->dtype, dims, type->rank);
  declare(b, op, TSR_I64, dims, type->rank);
  if (finish(b, op, 2) == 0)
    return;
  *out_values = tsr_op_get(b->ir, op)->results[0];
  *out_indices = tsr_op_get(b->ir, op)->results[1];
}

void tsr_graph_suppress(tsr_builder *b, const tsr_value *operands, tsr_value *out_chosen,
                        tsr_value *out_count) {
  *out_chosen = *out_count = 0;
  tsr_op op = tsr_graph_op(b, TSR_OP_SUPPRESS, operands, 5);
  if (finish(b, op, 2) == 0)
    return;
  *out_chosen = tsr_op_get(b->ir, op)->results[0];
  *out_count = tsr_op_get(b->ir, op)->results[1];
}

tsr_value tsr_graph_nonzero(tsr_builder *b, tsr_value x, const char *dim_name) {
  tsr_op op = tsr_graph_op(b, TSR_OP_NONZERO, &x, 1);
  if (finish(b, op, 2) == 0)
    return 0;
  const tsr_op_data *data = tsr_op_get(b->ir, op);
  const tsr_type_info *found = tsr_value_type(b->ir, data->results[0]);
  tsr_dim dim = tsr_dim_add_device(b->ir, dim_name, found->dims[1]);
  tsr_value operands[2] = {data->results[0], data->results[1]};
  tsr_expr dims[2] = {found->dims[0], tsr_expr_dim(b->ir, dim)};
  tsr_op resize = tsr_graph_op(b, TSR_OP_RESIZE_DIM, operands, 2);
  tsr_op_set_expr(b->ir, resize, "dim", dims[1]);
  declare(b, resize, TSR_I64, dims, 2);
  return finish(b, resize, 1);
}

tsr_expr tsr_graph_read_dim(tsr_builder *b, tsr_value counts, uint32_t element, const char *name,
                            tsr_expr bound) {
  tsr_op op = tsr_graph_op(b, TSR_OP_RESIZE_DIM, &counts, 1);
  if (op == 0)
    return 0;
  const tsr_type_info *type = tsr_value_type(b->ir, counts);
  tsr_expr dim = tsr_expr_dim(b->ir, tsr_dim_add_device(b->ir, name, bound));
  tsr_expr at = tsr_expr_int(b->ir, element);
  if (type->rank == 0)
    tsr_op_add_operand(b->ir, op, counts);
  else
    tsr_op_add_element(b->ir, op, counts, &at, 1);
  tsr_op_set_expr(b->ir, op, "dim", dim);
  declare(b, op, type->dtype, type->dims, type->rank);
  return finish(b, op, 1) == 0 ? 0 : dim;
}
