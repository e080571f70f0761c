/* Ops that make or rearrange tiles, and contract. */
#include "codegen/common.h"
#include "codegen/cpu/emit.h"
#include "codegen/cpu/emit_dot.h"
#include "runtime/float_convert.h"
#include <string.h>

/* Element `number` of the op's constant, as a compute value. */
static LLVMValueRef const_element(tsr_emit *e, const tsr_attr *attr, tsr_dtype dtype,
                                  uint32_t number) {
  tsr_codegen_number found;
  if (!tsr_codegen_attr_number(e->ir, attr, dtype, number, &found))
    return NULL;
  return found.whole ? LLVMConstInt(tsr_numeric_compute_type(&e->math, dtype, 0),
                                    (unsigned long long)found.integer, true)
                     : tsr_emit_number(e, dtype, found.real);
}

static LLVMValueRef table_element(tsr_emit *e, const tsr_const_data *data, tsr_dtype dtype,
                                  uint32_t number) {
  LLVMTypeRef type = tsr_numeric_compute_type(&e->math, dtype, 0);
  if (tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT)
    return LLVMConstReal(type, tsr_element_load_f64(dtype, data->data, number));
  int64_t integer = tsr_element_load_i64(dtype, data->data, number);
  return LLVMConstInt(type, (unsigned long long)integer, true);
}

const tsr_emit_tile *tsr_emit_const(tsr_emit *e) {
  tsr_emit_tile *tile = tsr_emit_tile_of_type(e, tsr_value_get(e->ir, e->op->results[0])->type);
  const tsr_attr *attr = tsr_op_attr(e->ir, e->op_id, "value");
  int64_t table = tsr_op_int(e->ir, e->op_id, "data", 0);
  if (!tile)
    return NULL;
  const tsr_const_data *data = table > 0 ? tsr_const_get(e->ir, (uint32_t)table) : NULL;
  bool in_table =
      data && data->data && data->dtype == tile->dtype &&
      data->bytes == (uint64_t)tile->rows * tile->lanes * tsr_dtype_bits(tile->dtype) / 8;
  if (!attr && !in_table)
    return tsr_emit_fail(e, TSR_ERR_UNSUPPORTED, "a constant in a kernel needs its value");
  LLVMValueRef *lanes = tsr_emit_alloc(e, tile->lanes, sizeof *lanes);
  for (uint32_t i = 0; lanes && i < tile->count; ++i) {
    tsr_emit_point at = tsr_emit_point_of(tile->extents, tile->rank, i);
    for (uint32_t lane = 0; lane < at.lanes; ++lane) {
      uint32_t number = at.row * tile->lanes + at.start + lane;
      lanes[lane] = attr ? const_element(e, attr, tile->dtype, number)
                         : table_element(e, data, tile->dtype, number);
      if (!lanes[lane])
        return tsr_emit_fail(e, TSR_ERR_VERIFY, "the value is not a number");
    }
    tile->values[i] = at.lanes == 1 ? lanes[0] : LLVMConstVector(lanes, at.lanes);
  }
  return tile;
}

const tsr_emit_tile *tsr_emit_index_tile(tsr_emit *e) {
  tsr_emit_tile *tile = tsr_emit_tile_of_type(e, tsr_value_get(e->ir, e->op->results[0])->type);
  const tsr_attr *attr = tsr_op_attr(e->ir, e->op_id, "value");
  if (!tile)
    return NULL;
  tsr_expr expr = attr && attr->kind == TSR_ATTR_EXPR  ? attr->u.expr
                  : attr && attr->kind == TSR_ATTR_INT ? tsr_expr_int(e->ir, attr->u.integer)
                                                       : 0;
  if (!expr)
    return tsr_emit_fail(e, TSR_ERR_VERIFY, "the value is not an index expression");
  for (uint32_t i = 0; i < tile->count; ++i) {
    tsr_emit_point point = tsr_emit_point_of(tile->extents, tile->rank, i);
    LLVMValueRef value = tsr_emit_index_at(e, expr, &point);
    value = tsr_numeric_convert(&e->math, value, TSR_I64, tile->dtype, TSR_OVERFLOW_SATURATE);
    tile->values[i] = tsr_emit_splat(e, value, point.lanes);
  }
  return tile;
}

/* --- contract --- */

/* Row k of a matrix operand as [rows, lanes]; missing leading axes count as 1. */
static bool matrix_shape(tsr_emit *e, const tsr_emit_tile *tile) {
  if (tile->rank == 2)
    return true;
  tsr_emit_fail(e, TSR_ERR_VERIFY, "operands of contract must be tiles of rank 2");
  return false;
}

static LLVMValueRef multiply_add(tsr_emit *e, tsr_dtype dtype, LLVMValueRef a, LLVMValueRef b,
                                 LLVMValueRef c) {
  if (tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT)
    return tsr_math_fma(&e->math, a, b, c);
  return LLVMBuildAdd(e->builder, LLVMBuildMul(e->builder, a, b, ""), c, "");
}

/* f16 and bf16 accumulators are f32 here and rounded when the op is done. */
static tsr_dtype accumulator_dtype(tsr_dtype dtype) {
  return tsr_numeric_is_narrow(dtype) ? TSR_F32 : dtype;
}

/* Rank-1 updates: for every k, a column of a times a row of b, in the order of k; or each element
 * of a times that of b's only row. */
const tsr_emit_tile *tsr_emit_contract(tsr_emit *e) {
  const char *atom = tsr_op_string(e->ir, e->op_id, "atom");
  const tsr_atom *grouped = atom != NULL ? tsr_atom_find(atom) : NULL;
  if (grouped != NULL && grouped->parts > 1)
    return tsr_emit_fail(e, TSR_ERR_UNSUPPORTED, "'%s' is made of contracts by other atoms",
                         grouped->text);
  if (grouped != NULL && grouped->kind == TSR_TARGET_CPU && grouped->k > 1) {
    const tsr_emit_tile *sums = tsr_emit_operand(e, 2);
    return sums && matrix_shape(e, sums) ? tsr_emit_dot(e, grouped, sums) : NULL;
  }
  const tsr_emit_tile *a = tsr_emit_operand(e, 0), *b = a ? tsr_emit_operand(e, 1) : NULL;
  const tsr_emit_tile *acc = b ? tsr_emit_operand(e, 2) : NULL;
  if (!acc || !matrix_shape(e, a) || !matrix_shape(e, b) || !matrix_shape(e, acc))
    return NULL;
  if (atom && strncmp(atom, "fma.", 4) != 0)
    return tsr_emit_fail(e, TSR_ERR_UNSUPPORTED, "atom '%s' has no code on the CPU", atom);
  const int64_t from = tsr_op_int(e->ir, e->op_id, "row", 0);
  const bool part = tsr_op_attr(e->ir, e->op_id, "row") != NULL;
  const bool each = tsr_op_bool(e->ir, e->op_id, "each", false);
  const uint32_t first = from > 0 && from < acc->rows ? (uint32_t)from : 0;
  if ((part ? a->rows > acc->rows - first : a->rows != acc->rows) || b->lanes != acc->lanes ||
      (each ? a->lanes != acc->lanes || b->rows != 1 : a->lanes != b->rows))
    return tsr_emit_fail(e, TSR_ERR_VERIFY, "[%u, %u] x [%u, %u] + [%u, %u]", a->rows, a->lanes,
                         b->rows, b->lanes, acc->rows, acc->lanes);
  tsr_dtype dtype = accumulator_dtype(acc->dtype);
  a = tsr_emit_convert(e, a, dtype);
  b = a ? tsr_emit_convert(e, b, dtype) : NULL;
  tsr_emit_tile *result = b ? tsr_emit_tile_new(e, acc->dtype, acc->extents, 2) : NULL;
  if (!result)
    return NULL;
  memcpy(result->values, acc->values, acc->count * sizeof *acc->values);
  uint32_t pieces = tsr_emit_pieces(result->lanes);
  for (uint32_t k = 0; k < b->rows; ++k)
    for (uint32_t i = first * pieces; i < (first + a->rows) * pieces; ++i) {
      tsr_emit_point at = tsr_emit_point_of(result->extents, 2, i);
      LLVMValueRef element =
          each ? a->values[i - first * pieces]
               : tsr_emit_splat(e, tsr_emit_element(e, a, at.row - first, k), at.lanes);
      LLVMValueRef row = b->values[k * pieces + i % pieces];
      result->values[i] = multiply_add(e, dtype, element, row, result->values[i]);
    }
  if (dtype != acc->dtype)
    for (uint32_t i = 0; i < result->count; ++i)
      result->values[i] = tsr_numeric_convert(&e->math, result->values[i], dtype, acc->dtype,
                                              TSR_OVERFLOW_SATURATE);
  return result;
}

/* --- transpose --- */

enum { MAX_BLOCK = 64 };

/* Lanes of a and b in turn: the first half (or the second) of a0 b0 a1 b1 ... */
static LLVMValueRef zip(tsr_emit *e, LLVMValueRef a, LLVMValueRef b, uint32_t lanes, bool second,
                        uint32_t *mask) {
  for (uint32_t i = 0; i < lanes; ++i)
    mask[i] = (second ? lanes / 2 : 0) + i / 2 + (i % 2 ? lanes : 0);
  return tsr_emit_shuffle(e, a, b, mask, lanes);
}

/* A block of W rows of W lanes in place. Taken as one array of W * W elements, a perfect shuffle
 * moves element p to 2 p mod (W W - 1); log2(W) of them move (r, c) = r W + c to c W + r. */
static void transpose_block(tsr_emit *e, LLVMValueRef *rows, uint32_t width, uint32_t *mask) {
  LLVMValueRef next[MAX_BLOCK];
  for (uint32_t step = 1; step < width; step *= 2) {
    for (uint32_t i = 0; i < width / 2; ++i) {
      next[2 * i] = zip(e, rows[i], rows[i + width / 2], width, false, mask);
      next[2 * i + 1] = zip(e, rows[i], rows[i + width / 2], width, true, mask);
    }
    memcpy(rows, next, width * sizeof *rows);
  }
}

/* The largest square blocks that both extents are made of and that registers hold. Blocks below 4
 * gain nothing: those that hang over the edges do. */
static uint32_t block_width(const tsr_emit *e, const tsr_emit_tile *tile) {
  enum { LEAST = 4, HANGING = 8 };
  uint32_t both = tile->rows | tile->lanes, width = both & (~both + 1);
  uint32_t most = tsr_emit_register_lanes(e, tile->dtype);
  most = most > MAX_BLOCK ? MAX_BLOCK : most;
  if (width < LEAST && tile->rows >= LEAST && tile->lanes >= LEAST)
    width = HANGING;
  return width > most ? most : width;
}

/* Lanes [start, start + width) of a row: they lie in one piece, as pieces are powers of two, or
 * hang over the edge. */
static LLVMValueRef take_block_row(tsr_emit *e, const tsr_emit_tile *tile, uint32_t row,
                                   uint32_t start, uint32_t width) {
  uint32_t pieces = tsr_emit_pieces(tile->lanes), piece = 0, first = 0, lanes = 0;
  LLVMTypeRef type = tsr_numeric_compute_type(&e->math, tile->dtype, width);
  LLVMValueRef hanging = LLVMGetPoison(type);
  if (row >= tile->rows)
    return hanging;
  if (start + width > tile->lanes) {
    for (uint32_t lane = start; lane < tile->lanes; ++lane)
      hanging = tsr_emit_insert(e, hanging, tsr_emit_element(e, tile, row, lane), lane - start);
    return hanging;
  }
  for (;; ++piece) {
    tsr_emit_piece(tile->lanes, piece, &first, &lanes);
    if (start < first + lanes)
      return tsr_emit_take(e, tile->values[row * pieces + piece], start - first, width);
  }
}

static void transpose_by_blocks(tsr_emit *e, const tsr_emit_tile *tile, uint32_t width,
                                tsr_emit_tile *result) {
  uint32_t across = (tile->rows + width - 1) / width, down_to = (tile->lanes + width - 1) / width;
  LLVMValueRef *parts = tsr_emit_alloc(e, (size_t)down_to * width * across, sizeof *parts);
  uint32_t mask[MAX_BLOCK];
  for (uint32_t down = 0; parts && down < across; ++down)
    for (uint32_t start = 0; start < tile->lanes; start += width) {
      LLVMValueRef block[MAX_BLOCK];
      for (uint32_t i = 0; i < width; ++i)
        block[i] = take_block_row(e, tile, down * width + i, start, width);
      transpose_block(e, block, width, mask);
      for (uint32_t i = 0; i < width; ++i)
        parts[(start + i) * across + down] = block[i];
    }
  for (uint32_t i = 0; parts && i < result->count; ++i) {
    tsr_emit_point at = tsr_emit_point_of(result->extents, 2, i);
    const LLVMValueRef *first = parts + at.row * across + at.start / width;
    result->values[i] = at.lanes < width ? tsr_emit_take(e, first[0], at.start % width, at.lanes)
                                         : tsr_emit_join(e, first, at.lanes / width);
  }
}

/* result[i...] = tile[j...] with i[axis] = j[perm[axis]], element by element. */
static void transpose_by_elements(tsr_emit *e, const tsr_emit_tile *tile, const uint32_t *perm,
                                  tsr_emit_tile *result) {
  tsr_emit_tile_clear(e, result);
  for (uint32_t row = 0; row < result->rows; ++row)
    for (uint32_t lane = 0; lane < result->lanes; ++lane) {
      uint32_t source[TSR_MAX_RANK] = {0}, from = 0;
      for (uint32_t axis = 0; axis < result->rank; ++axis)
        source[perm[axis]] = axis + 1 == result->rank
                                 ? lane
                                 : tsr_emit_row_index(result->extents, result->rank, row, axis);
      for (uint32_t axis = 0; axis + 1 < tile->rank; ++axis)
        from = from * tile->extents[axis] + source[axis];
      LLVMValueRef element = tsr_emit_element(e, tile, from, source[tile->rank - 1]);
      tsr_emit_set_element(e, result, row, lane, element);
    }
}

const tsr_emit_tile *tsr_emit_transpose(tsr_emit *e, const tsr_emit_tile *tile,
                                        const uint32_t *perm) {
  uint32_t extents[TSR_MAX_RANK] = {0};
  for (uint32_t axis = 0; axis < tile->rank; ++axis)
    extents[axis] = tile->extents[perm[axis]];
  tsr_emit_tile *result = tsr_emit_tile_new(e, tile->dtype, extents, tile->rank);
  if (!result)
    return NULL;
  bool swap = tile->rank == 2 && perm[0] == 1;
  uint32_t width = swap ? block_width(e, tile) : 1;
  if (width >= 4)
    transpose_by_blocks(e, tile, width, result);
  else
    transpose_by_elements(e, tile, perm, result);
  return result;
}

const tsr_emit_tile *tsr_emit_transpose_op(tsr_emit *e) {
  const tsr_emit_tile *tile = tsr_emit_operand(e, 0);
  int64_t numbers[TSR_MAX_RANK];
  uint32_t count = 0, perm[TSR_MAX_RANK] = {0}, seen = 0;
  if (!tile)
    return NULL;
  bool fits = tsr_op_ints(e->ir, e->op_id, "perm", numbers, TSR_MAX_RANK, &count) &&
              count == tile->rank && count > 0;
  for (uint32_t axis = 0; fits && axis < count; ++axis) {
    fits = numbers[axis] >= 0 && numbers[axis] < count;
    perm[axis] = fits ? (uint32_t)numbers[axis] : 0;
    seen |= 1U << perm[axis];
  }
  if (!fits || seen != (1U << count) - 1)
    return tsr_emit_fail(e, TSR_ERR_VERIFY, "perm is not a permutation of the tile's axes");
  return tsr_emit_transpose(e, tile, perm);
}

/* --- tile_slice --- */

/* Starts are numbers once loops are unrolled. */
static bool slice_starts(tsr_emit *e, const tsr_emit_tile *tile, const tsr_emit_tile *result,
                         uint32_t *starts) {
  const tsr_attr *attr = tsr_op_attr(e->ir, e->op_id, "start");
  bool fits = attr && attr->kind == TSR_ATTR_EXPRS && attr->count == tile->rank &&
              result->rank == tile->rank && tile->rank > 0 && result->dtype == tile->dtype;
  for (uint32_t axis = 0; fits && axis < tile->rank; ++axis) {
    LLVMValueRef value = tsr_emit_index(e, attr->u.exprs[axis]);
    fits = LLVMIsAConstantInt(value) != NULL;
    int64_t start = fits ? LLVMConstIntGetSExtValue(value) : 0;
    fits = fits && start >= 0 && start + result->extents[axis] <= tile->extents[axis];
    starts[axis] = (uint32_t)start;
  }
  if (!fits)
    tsr_emit_fail(e, TSR_ERR_UNSUPPORTED, "start must be numbers inside the tile");
  return fits;
}

/* Row `from` of `tile` from lane `start` on, as row `row` of `result`. */
static void slice_row(tsr_emit *e, const tsr_emit_tile *tile, uint32_t from, uint32_t start,
                      tsr_emit_tile *result, uint32_t row, uint32_t *mask) {
  uint32_t pieces = tsr_emit_pieces(tile->lanes);
  if (result->lanes == tile->lanes) {
    memcpy(result->values + row * pieces, tile->values + from * pieces,
           pieces * sizeof *result->values);
    return;
  }
  if (pieces == 1 && result->lanes > 1 && tsr_emit_pieces(result->lanes) == 1) {
    for (uint32_t lane = 0; lane < result->lanes; ++lane)
      mask[lane] = start + lane;
    result->values[row] = tsr_emit_shuffle(e, tile->values[from], NULL, mask, result->lanes);
    return;
  }
  for (uint32_t lane = 0; lane < result->lanes; ++lane)
    tsr_emit_set_element(e, result, row, lane, tsr_emit_element(e, tile, from, start + lane));
}

const tsr_emit_tile *tsr_emit_slice(tsr_emit *e) {
  const tsr_emit_tile *tile = tsr_emit_operand(e, 0);
  tsr_type type = tsr_value_get(e->ir, e->op->results[0])->type;
  tsr_emit_tile *result = tile ? tsr_emit_tile_of_type(e, type) : NULL;
  uint32_t starts[TSR_MAX_RANK] = {0};
  if (!result || !slice_starts(e, tile, result, starts))
    return NULL;
  uint32_t *mask = tsr_emit_alloc(e, result->lanes, sizeof *mask);
  uint32_t rank = tile->rank;
  tsr_emit_tile_clear(e, result);
  for (uint32_t row = 0; mask && row < result->rows; ++row) {
    uint32_t from = 0;
    for (uint32_t axis = 0; axis + 1 < rank; ++axis)
      from = from * tile->extents[axis] + starts[axis] +
             tsr_emit_row_index(result->extents, rank, row, axis);
    slice_row(e, tile, from, starts[rank - 1], result, row, mask);
  }
  return result;
}
