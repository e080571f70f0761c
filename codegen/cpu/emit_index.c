/* Index expressions as i64 arithmetic. Sums are built from the outermost terms inwards, so that the
 * parts that do not change in a loop are whole subexpressions that LLVM moves out of it. */
#include "codegen/cpu/emit.h"
#include <assert.h>

enum { MAX_TERMS = 32, DEPTH_LANE = 1000 };

static LLVMValueRef emit_at(tsr_emit *e, tsr_expr expr, const tsr_emit_point *point);

/* How many regions a value's definition lies inside of. */
static uint32_t value_depth(const tsr_emit *e, tsr_value value) {
  const tsr_value_data *data = tsr_value_get(e->ir, value);
  tsr_region region = data->region ? data->region : tsr_op_get(e->ir, data->def)->parent;
  uint32_t depth = 0;
  while (region) {
    tsr_op parent = tsr_region_get(e->ir, region)->parent;
    region = parent ? tsr_op_get(e->ir, parent)->parent : 0;
    ++depth;
  }
  return depth;
}

static uint32_t expr_depth(const tsr_emit *e, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(e->ir, expr);
  switch (node.op) {
  case TSR_INDEX_INT:
  case TSR_INDEX_DIM:
    return 0;
  case TSR_INDEX_LANE:
    return DEPTH_LANE;
  case TSR_INDEX_VALUE:
    return value_depth(e, node.value);
  default: {
    uint32_t a = expr_depth(e, node.a), b = expr_depth(e, node.b);
    return a > b ? a : b;
  }
  }
}

static bool is_memoised(const tsr_emit *e, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(e->ir, expr);
  if (node.op == TSR_INDEX_INT || node.op == TSR_INDEX_DIM)
    return true;
  if (node.op == TSR_INDEX_LANE)
    return false;
  if (node.op == TSR_INDEX_VALUE) {
    const tsr_emit_tile *tile = e->slots[node.value].tile;
    return !tile || (tile->rows == 1 && tile->lanes == 1);
  }
  return is_memoised(e, node.a) && is_memoised(e, node.b);
}

static void remember(tsr_emit *e, tsr_expr expr, LLVMValueRef value) {
  if (!tsr_emit_grow(e, (void **)&e->memo, &e->memo_capacity, expr + 1, sizeof *e->memo) ||
      !tsr_emit_grow(e, (void **)&e->undo, &e->undo_capacity, e->undo_count + 1, sizeof *e->undo))
    return;
  e->undo[e->undo_count++] = (tsr_emit_undo){.expr = expr, .before = e->memo[expr]};
  e->memo[expr] = value;
}

/* Dims are read once, at the top of the function. */
static LLVMValueRef emit_dim(tsr_emit *e, tsr_dim dim) {
  if (e->dim_values[dim])
    return e->dim_values[dim];
  LLVMBasicBlockRef here = LLVMGetInsertBlock(e->builder);
  LLVMPositionBuilderBefore(e->builder, LLVMGetBasicBlockTerminator(e->entry));
  LLVMValueRef offset = tsr_emit_int(e, e->dim_count);
  LLVMValueRef address =
      LLVMBuildInBoundsGEP2(e->builder, e->i64, e->dims_argument, &offset, 1, "");
  const char *name = tsr_dim_get(e->ir, dim)->name;
  LLVMValueRef value = LLVMBuildLoad2(e->builder, e->i64, address, name ? name : "");
  LLVMPositionBuilderAtEnd(e->builder, here);
  e->dims[e->dim_count++] = dim;
  e->dim_values[dim] = value;
  return value;
}

/* The integer tile's elements for this row, as i64. */
static LLVMValueRef emit_value(tsr_emit *e, tsr_value value, const tsr_emit_point *point) {
  const tsr_emit_slot *slot = &e->slots[value];
  if (slot->index)
    return slot->index;
  const tsr_emit_tile *tile = slot->tile;
  tsr_dtype_class kind = tile ? tsr_dtype_class_of(tile->dtype) : TSR_CLASS_NONE;
  if (kind != TSR_CLASS_INT && kind != TSR_CLASS_UINT && kind != TSR_CLASS_BOOL) {
    tsr_emit_fail(e, TSR_ERR_VERIFY, "a subscript uses a value that is not an integer");
    return tsr_emit_int(e, 0);
  }
  LLVMValueRef row = tile->values[0];
  if (tile->rows > 1 || tile->lanes > 1) {
    bool fits = point && tile->rank <= point->rank;
    for (uint32_t i = 0; fits && i < tile->rank; ++i) {
      uint32_t extent = tile->extents[tile->rank - 1 - i];
      fits = extent == 1 || extent == point->extents[point->rank - 1 - i];
    }
    if (!fits) {
      tsr_emit_fail(e, TSR_ERR_VERIFY, "the index tile of a subscript does not fit the result");
      return tsr_emit_int(e, 0);
    }
    row = tsr_emit_part(e, tile, point->extents, point->rank, point->number, false);
  }
  LLVMTypeRef type = tsr_emit_vector(e->i64, tsr_emit_is_vector(row) ? point->lanes : 1);
  if (tsr_dtype_bits(tile->dtype) == 64 && kind != TSR_CLASS_BOOL)
    return row;
  return kind == TSR_CLASS_INT ? LLVMBuildSExt(e->builder, row, type, "")
                               : LLVMBuildZExt(e->builder, row, type, "");
}

static LLVMValueRef emit_lane(tsr_emit *e, uint32_t axis, const tsr_emit_point *point) {
  if (!point || axis >= point->rank) {
    tsr_emit_fail(e, TSR_ERR_VERIFY, "lane $%u does not exist here", axis);
    return tsr_emit_int(e, 0);
  }
  if (axis + 1 == point->rank)
    return tsr_emit_iota(e, e->i64, point->start, point->lanes);
  return tsr_emit_int(e, tsr_emit_row_index(point->extents, point->rank, point->row, axis));
}

static void same_shape(tsr_emit *e, LLVMValueRef *a, LLVMValueRef *b) {
  if (tsr_emit_is_vector(*a) && !tsr_emit_is_vector(*b))
    *b = tsr_emit_splat(e, *b, LLVMGetVectorSize(LLVMTypeOf(*a)));
  else if (tsr_emit_is_vector(*b) && !tsr_emit_is_vector(*a))
    *a = tsr_emit_splat(e, *a, LLVMGetVectorSize(LLVMTypeOf(*b)));
}

static uint32_t flatten(const tsr_emit *e, tsr_expr expr, tsr_expr *terms, uint32_t count) {
  tsr_expr_node node = tsr_expr_get(e->ir, expr);
  if (node.op != TSR_INDEX_ADD || count + 2 > MAX_TERMS) {
    terms[count] = expr;
    return count + 1;
  }
  return flatten(e, node.b, terms, flatten(e, node.a, terms, count));
}

static LLVMValueRef emit_sum(tsr_emit *e, tsr_expr expr, const tsr_emit_point *point) {
  tsr_expr terms[MAX_TERMS + 1];
  uint32_t depths[MAX_TERMS + 1];
  tsr_expr_node node = tsr_expr_get(e->ir, expr);
  uint32_t count = flatten(e, node.a, terms, 0);
  if (count < MAX_TERMS)
    count = flatten(e, node.b, terms, count);
  else
    terms[count++] = node.b;
  for (uint32_t i = 0; i < count; ++i) {
    tsr_expr term = terms[i];
    uint32_t depth = expr_depth(e, term), at = i;
    for (; at > 0 && depths[at - 1] > depth; --at) {
      depths[at] = depths[at - 1];
      terms[at] = terms[at - 1];
    }
    depths[at] = depth;
    terms[at] = term;
  }
  LLVMValueRef sum = emit_at(e, terms[0], point);
  for (uint32_t i = 1; i < count; ++i) {
    LLVMValueRef term = emit_at(e, terms[i], point);
    same_shape(e, &sum, &term);
    sum = LLVMBuildNSWAdd(e->builder, sum, term, "");
  }
  return sum;
}

static bool power_of_two(int64_t number, unsigned *out_shift) {
  if (number < 1 || (number & (number - 1)))
    return false;
  *out_shift = (unsigned)__builtin_ctzll((unsigned long long)number);
  return true;
}

static LLVMValueRef constant_like(const tsr_emit *e, LLVMValueRef like, int64_t number) {
  LLVMValueRef scalar = tsr_emit_int(e, number);
  if (!tsr_emit_is_vector(like))
    return scalar;
  LLVMValueRef lanes[1 << 12];
  uint32_t count = LLVMGetVectorSize(LLVMTypeOf(like));
  assert(count <= sizeof lanes / sizeof *lanes);
  for (uint32_t i = 0; i < count; ++i)
    lanes[i] = scalar;
  return LLVMConstVector(lanes, count);
}

/* floordiv and mod: shifts for powers of two, unsigned division where the dividend cannot be
 * negative, else division that rounds down. A divisor of 0 gives 0, not a trap. */
static LLVMValueRef emit_division(tsr_emit *e, tsr_expr_node node, const tsr_emit_point *point,
                                  bool modulo) {
  LLVMValueRef a = emit_at(e, node.a, point);
  int64_t divisor = 0;
  unsigned shift = 0;
  bool constant = tsr_expr_is_int(e->ir, node.b, &divisor);
  if (constant && power_of_two(divisor, &shift)) {
    LLVMValueRef amount = constant_like(e, a, modulo ? divisor - 1 : (int64_t)shift);
    return modulo ? LLVMBuildAnd(e->builder, a, amount, "")
                  : LLVMBuildAShr(e->builder, a, amount, "");
  }
  LLVMValueRef b = emit_at(e, node.b, point);
  same_shape(e, &a, &b);
  int64_t lanes[TSR_MAX_RANK] = {0};
  for (uint32_t axis = 0; point && axis < point->rank; ++axis)
    lanes[axis] = point->extents[axis];
  if (constant && divisor > 0 &&
      tsr_expr_prove_nonnegative(e->ir, node.a, lanes, point ? point->rank : 0))
    return modulo ? LLVMBuildURem(e->builder, a, b, "") : LLVMBuildUDiv(e->builder, a, b, "");
  return tsr_numeric_divide(&e->math, modulo ? TSR_INT_REM_FLOOR : TSR_INT_DIV_FLOOR, a, b, true);
}

static LLVMValueRef truth(tsr_emit *e, LLVMValueRef value) {
  return LLVMBuildICmp(e->builder, LLVMIntNE, value, LLVMConstNull(LLVMTypeOf(value)), "");
}

static LLVMValueRef emit_compare(tsr_emit *e, tsr_index_op op, LLVMValueRef a, LLVMValueRef b) {
  switch (op) {
  case TSR_INDEX_LT:
    return LLVMBuildICmp(e->builder, LLVMIntSLT, a, b, "");
  case TSR_INDEX_LE:
    return LLVMBuildICmp(e->builder, LLVMIntSLE, a, b, "");
  case TSR_INDEX_EQ:
    return LLVMBuildICmp(e->builder, LLVMIntEQ, a, b, "");
  case TSR_INDEX_NE:
    return LLVMBuildICmp(e->builder, LLVMIntNE, a, b, "");
  case TSR_INDEX_AND:
    return LLVMBuildAnd(e->builder, truth(e, a), truth(e, b), "");
  default:
    assert(op == TSR_INDEX_OR);
    return LLVMBuildOr(e->builder, truth(e, a), truth(e, b), "");
  }
}

static LLVMValueRef emit_binary(tsr_emit *e, tsr_expr_node node, const tsr_emit_point *point) {
  LLVMValueRef a = emit_at(e, node.a, point), b = emit_at(e, node.b, point);
  same_shape(e, &a, &b);
  LLVMTypeRef type = LLVMTypeOf(a);
  switch (node.op) {
  case TSR_INDEX_MUL:
    return LLVMBuildNSWMul(e->builder, a, b, "");
  case TSR_INDEX_MIN:
    return tsr_emit_intrinsic(e, "llvm.smin", &type, 1, (LLVMValueRef[]){a, b}, 2);
  case TSR_INDEX_MAX:
    return tsr_emit_intrinsic(e, "llvm.smax", &type, 1, (LLVMValueRef[]){a, b}, 2);
  default:
    return LLVMBuildZExt(e->builder, emit_compare(e, node.op, a, b), type, "");
  }
}

/* ceildiv(a, b) = -floordiv(-a, b); for the usual positive divisor (a + b - 1) floordiv b. */
static LLVMValueRef emit_ceildiv(tsr_emit *e, tsr_expr_node node, const tsr_emit_point *point) {
  int64_t divisor = 0;
  if (tsr_expr_is_int(e->ir, node.b, &divisor) && divisor > 0) {
    tsr_expr raised = tsr_expr_add_int(e->ir, node.a, divisor - 1);
    return emit_at(e, tsr_expr_floordiv_int(e->ir, raised, divisor), point);
  }
  LLVMValueRef a = emit_at(e, node.a, point), b = emit_at(e, node.b, point);
  same_shape(e, &a, &b);
  a = LLVMBuildNSWNeg(e->builder, a, "");
  a = tsr_numeric_divide(&e->math, TSR_INT_DIV_FLOOR, a, b, true);
  return LLVMBuildNSWNeg(e->builder, a, "");
}

static LLVMValueRef emit_at(tsr_emit *e, tsr_expr expr, const tsr_emit_point *point) {
  if (expr == 0) {
    tsr_emit_fail(e, TSR_ERR_INTERNAL, "an index expression could not be built");
    return tsr_emit_int(e, 0);
  }
  if (expr < e->memo_capacity && e->memo[expr])
    return e->memo[expr];
  tsr_expr_node node = tsr_expr_get(e->ir, expr);
  switch (node.op) {
  case TSR_INDEX_INT:
    return tsr_emit_int(e, node.number);
  case TSR_INDEX_DIM:
    return emit_dim(e, node.dim);
  case TSR_INDEX_VALUE:
    return emit_value(e, node.value, point);
  case TSR_INDEX_LANE:
    return emit_lane(e, (uint32_t)node.number, point);
  default:
    break;
  }
  LLVMValueRef value = NULL;
  if (node.op == TSR_INDEX_ADD)
    value = emit_sum(e, expr, point);
  else if (node.op == TSR_INDEX_FLOORDIV || node.op == TSR_INDEX_MOD)
    value = emit_division(e, node, point, node.op == TSR_INDEX_MOD);
  else if (node.op == TSR_INDEX_CEILDIV)
    value = emit_ceildiv(e, node, point);
  else
    value = emit_binary(e, node, point);
  if (is_memoised(e, expr))
    remember(e, expr, value);
  return value;
}

LLVMValueRef tsr_emit_index_at(tsr_emit *e, tsr_expr expr, const tsr_emit_point *point) {
  return emit_at(e, expr, point);
}

LLVMValueRef tsr_emit_index(tsr_emit *e, tsr_expr expr) {
  return emit_at(e, expr, NULL);
}

LLVMValueRef tsr_emit_condition(tsr_emit *e, tsr_expr expr) {
  return truth(e, tsr_emit_index(e, expr));
}
