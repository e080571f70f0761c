/* contract by atoms with k-groups: a [m, k] with the depth contiguous, b [k, n] in "vnni order",
 * groups of consecutive depths side by side, and both read in place:
 *
 *   %c = contract %a[%i*8 + $0, %k*4 + $1], %b[%p, %k + $0 floordiv 4, $1*4 + $0 mod 4], %acc {atom
 * = "vnni.u8i8", k = 4}
 *
 * One step multiplies a group of a, broadcast, by the groups of 16 columns. */
#include "codegen/cpu/emit_dot.h"
#include "ir/target.h"
#include <stdio.h>

enum { MAX_GROUP = 4, WORD_BYTES = 4 };

/* Σ subscript * stride with the lanes replaced; 0 when a lane is left over. */
static tsr_expr offset_at(tsr_emit *e, const tsr_operand *operand, int64_t first, int64_t second) {
  tsr_ir *ir = e->ir;
  const tsr_type_info *type = tsr_value_type(ir, operand->value);
  const tsr_expr from[2] = {tsr_expr_lane(ir, 0), tsr_expr_lane(ir, 1)};
  const tsr_expr to[2] = {tsr_expr_int(ir, first), tsr_expr_int(ir, second)};
  tsr_expr stride = tsr_expr_int(ir, 1), offset = tsr_expr_int(ir, 0);
  for (uint32_t axis = type->rank; axis-- > 0;) {
    const tsr_expr at = tsr_expr_substitute(ir, operand->subscripts[axis], from, to, 2);
    offset = tsr_expr_add(ir, offset, tsr_expr_mul(ir, at, stride));
    stride = tsr_expr_mul(ir, stride, type->dims[axis]);
  }
  return tsr_expr_has(ir, offset, TSR_INDEX_LANE) ? 0 : offset;
}

static bool is_step(tsr_emit *e, tsr_expr from, tsr_expr to, int64_t *out_step) {
  return from != 0 && to != 0 && tsr_expr_is_int(e->ir, tsr_expr_sub(e->ir, to, from), out_step);
}

/* Is element ($0 = i, $1 = j) at first + by_i[i] + j * step for all of them? The subscripts hold
 * divisions of lanes at most, so every element is looked at. */
static bool lies_in_groups(tsr_emit *e, const tsr_operand *operand, tsr_dot_side *side,
                           uint32_t depth, uint32_t columns, uint32_t group) {
  int64_t step = 0, rows = 0;
  side->first = offset_at(e, operand, 0, 0);
  for (uint32_t k = 0; k < depth; ++k)
    for (uint32_t n = 0; n < columns; ++n) {
      if (k >= 2 * group && n > 0)
        break; /* the same division as in the groups before, by the check of their first column */
      if (!is_step(e, side->first, offset_at(e, operand, k, n), &step))
        return false;
      if (k == group && n == 0)
        rows = step;
      if (step != (int64_t)(k / group) * rows + (int64_t)n * group + k % group)
        return false;
    }
  side->stride = tsr_expr_int(e->ir, rows);
  return true;
}

/* Rows of a: contiguous along the depth, any distance apart. */
static bool lies_in_rows(tsr_emit *e, const tsr_operand *operand, tsr_dot_side *side, uint32_t rows,
                         uint32_t depth) {
  tsr_ir *ir = e->ir;
  int64_t step = 0;
  side->first = offset_at(e, operand, 0, 0);
  const tsr_expr second = offset_at(e, operand, rows > 1, 0);
  if (side->first == 0 || second == 0)
    return false;
  side->stride = tsr_expr_sub(ir, second, side->first);
  for (uint32_t m = 0; m < rows; ++m) {
    const tsr_expr start =
        tsr_expr_add(ir, side->first, tsr_expr_mul_int(ir, side->stride, (int64_t)m));
    for (uint32_t k = 0; k < depth; k += k == 0 || depth == 2 ? 1 : depth - 2)
      if (!is_step(e, start, offset_at(e, operand, m, k), &step) || step != (int64_t)k)
        return false;
  }
  return true;
}

/* Programs read in place what they have copied, so all of it is inside. Where that is not proven,
 * the place is moved into the buffer, whose size must be known. */
static bool keep_inside(tsr_emit *e, const tsr_operand *operand, uint32_t rows, uint32_t lanes,
                        int64_t span, tsr_dot_side *side) {
  const uint32_t extents[2] = {rows, lanes};
  const tsr_type type = tsr_value_get(e->ir, operand->value)->type;
  tsr_emit_check checks[TSR_EMIT_MAX_CHECKS];
  int64_t elements = 0;
  side->last = -1;
  if (tsr_emit_checks(e, type, operand, extents, 2, checks) == 0)
    return true;
  if (!tsr_expr_is_int(e->ir, tsr_type_elements(e->ir, type), &elements) || elements < span)
    return false;
  side->last = elements - span;
  return true;
}

/* Elements from the first that is read to the end of the last; -1 when that is not known. */
static int64_t span_of(tsr_emit *e, const tsr_dot_side *side, uint32_t number, uint32_t rows,
                       uint32_t lanes, uint32_t group) {
  int64_t stride = 0;
  const int64_t count = number == 0 ? rows : rows / group;
  if (!tsr_expr_is_int(e->ir, side->stride, &stride))
    return -1;
  return (count - 1) * stride + (number == 0 ? lanes : (int64_t)lanes * group);
}

static bool read_side(tsr_emit *e, uint32_t number, uint32_t rows, uint32_t lanes, uint32_t group,
                      tsr_dot_side *out_side) {
  const tsr_operand *operand = &e->op->operands[number];
  *out_side = (tsr_dot_side){.base = e->slots[operand->value].pointer};
  const tsr_type_info *type = tsr_value_type(e->ir, operand->value);
  if (!operand->subscripted || !out_side->base || operand->subscript_count != type->rank)
    return tsr_emit_fail(e, TSR_ERR_VERIFY, "operand %u must be read in place", number) != NULL;
  out_side->dtype = type->dtype;
  out_side->bytes = tsr_dtype_bits(type->dtype) / 8;
  const bool fits = number == 0 ? lies_in_rows(e, operand, out_side, rows, lanes)
                                : lies_in_groups(e, operand, out_side, rows, lanes, group);
  if (!fits)
    return tsr_emit_fail(e, TSR_ERR_UNSUPPORTED, "operand %u does not lie as its atom wants it",
                         number) != NULL;
  const int64_t span = span_of(e, out_side, number, rows, lanes, group);
  if (span < 0 || !keep_inside(e, operand, rows, lanes, span, out_side))
    return tsr_emit_fail(e, TSR_ERR_UNSUPPORTED,
                         "operand %u is read in place and may be outside of its buffer",
                         number) != NULL;
  return true;
}

LLVMValueRef tsr_dot_address(tsr_emit *e, const tsr_dot_side *side, LLVMValueRef bytes) {
  LLVMTypeRef byte = LLVMInt8TypeInContext(e->math.context);
  LLVMTypeRef type = e->i64;
  LLVMValueRef first = tsr_emit_index(e, side->first);
  if (side->last >= 0) {
    LLVMValueRef low[2] = {first, tsr_emit_int(e, 0)}, high[2] = {0};
    high[0] = tsr_emit_intrinsic(e, "llvm.smax", &type, 1, low, 2);
    high[1] = tsr_emit_int(e, side->last);
    first = tsr_emit_intrinsic(e, "llvm.smin", &type, 1, high, 2);
  }
  LLVMValueRef start =
      LLVMBuildNSWMul(e->builder, first, tsr_emit_int(e, (int64_t)side->bytes), "");
  LLVMValueRef address = LLVMBuildInBoundsGEP2(e->builder, byte, side->base, &start, 1, "");
  return LLVMBuildInBoundsGEP2(e->builder, byte, address, &bytes, 1, "");
}

LLVMValueRef tsr_dot_stride(tsr_emit *e, const tsr_dot_side *side) {
  return LLVMBuildNSWMul(e->builder, tsr_emit_index(e, side->stride),
                         tsr_emit_int(e, (int64_t)side->bytes), "");
}

/* --- vectors --- */

/* `lanes` words (a group each) from `address` on. */
static LLVMValueRef load_words(tsr_emit *e, LLVMValueRef address, uint32_t lanes, uint32_t bytes) {
  LLVMValueRef load = LLVMBuildLoad2(e->builder, tsr_emit_vector(e->i32, lanes), address, "");
  LLVMSetAlignment(load, bytes);
  return load;
}

/* Lanes of an operation, which takes 4, 8 or 16: more are undefined. */
static LLVMValueRef widen_to(tsr_emit *e, LLVMValueRef value, uint32_t lanes, uint32_t width) {
  uint32_t mask[16] = {0};
  if (lanes == width)
    return value;
  if (lanes == 1)
    return LLVMBuildInsertElement(e->builder,
                                  LLVMGetPoison(LLVMVectorType(LLVMTypeOf(value), width)), value,
                                  LLVMConstInt(e->i32, 0, false), "");
  for (uint32_t i = 0; i < width; ++i)
    mask[i] = i % lanes;
  return tsr_emit_shuffle(e, value, NULL, mask, width);
}

static LLVMValueRef narrow_to(tsr_emit *e, LLVMValueRef value, uint32_t lanes, uint32_t width) {
  if (lanes == width)
    return value;
  return lanes == 1 ? tsr_emit_lane(e, value, 0) : tsr_emit_take(e, value, 0, lanes);
}

/* acc + a . b for `width` columns; a and b are words. */
static LLVMValueRef dot_step(tsr_emit *e, const tsr_dot *d, LLVMValueRef acc, LLVMValueRef a,
                             LLVMValueRef b, uint32_t width) {
  const bool real = d->b.dtype == TSR_BF16;
  char name[48];
  LLVMValueRef arguments[3] = {acc, a, b};
  snprintf(name, sizeof name, "llvm.x86.avx512%s.%u", real ? "bf16.dpbf16ps" : ".vpdpbusd",
           width * 32);
  if (real) {
    LLVMTypeRef pairs = LLVMVectorType(LLVMBFloatTypeInContext(e->math.context), 2 * width);
    arguments[1] = LLVMBuildBitCast(e->builder, a, pairs, "");
    arguments[2] = LLVMBuildBitCast(e->builder, b, pairs, "");
  } else if (d->a.dtype == TSR_I8) { /* the first factor is the unsigned one */
    arguments[1] = b;
    arguments[2] = a;
  }
  return tsr_emit_intrinsic(e, name, NULL, 0, arguments, 3);
}

/* Up to 16 columns of a row: a lane of an operation each. */
typedef struct dot_columns {
  uint32_t piece, part; /* of the row; of the piece */
  uint32_t start;       /* in the row */
  uint32_t lanes, width;
} dot_columns;

/* A row taken apart; returns how many there are. */
static uint32_t columns_of(tsr_emit *e, uint32_t row_lanes, dot_columns **out_columns) {
  uint32_t count = 0;
  *out_columns = tsr_emit_alloc(e, row_lanes, sizeof **out_columns);
  for (uint32_t piece = 0; piece < tsr_emit_pieces(row_lanes); ++piece) {
    uint32_t start = 0, lanes = 0;
    tsr_emit_piece(row_lanes, piece, &start, &lanes);
    const uint32_t step = lanes > 16 ? 16 : lanes;
    for (uint32_t at = 0; at < lanes; at += step)
      (*out_columns)[count++] =
          (dot_columns){piece, at / step, start + at, step, step < 4 ? 4 : step};
  }
  return count;
}

/* One group of the depth: b's vectors stay in registers while the rows of a go by. */
static void dot_group(tsr_emit *e, const tsr_dot *d, uint32_t number, const LLVMValueRef *a_rows,
                      const tsr_emit_tile *result) {
  const uint32_t group_bytes = d->group * d->b.bytes, pieces = tsr_emit_pieces(result->lanes);
  dot_columns *columns = NULL;
  const uint32_t count = columns_of(e, result->lanes, &columns);
  LLVMValueRef *words = tsr_emit_alloc(e, count, sizeof *words);
  LLVMValueRef skip =
      LLVMBuildNSWMul(e->builder, tsr_dot_stride(e, &d->b), tsr_emit_int(e, (int64_t)number), "");
  for (uint32_t i = 0; i < count; ++i) {
    LLVMValueRef here = LLVMBuildNSWAdd(
        e->builder, skip, tsr_emit_int(e, (int64_t)columns[i].start * group_bytes), "");
    words[i] = load_words(e, tsr_dot_address(e, &d->b, here), columns[i].lanes, d->b.bytes);
    words[i] = widen_to(e, words[i], columns[i].lanes, columns[i].width);
  }
  for (uint32_t row = 0; row < result->rows; ++row)
    for (uint32_t i = 0; i < count; ++i) {
      const dot_columns *at = &columns[i];
      LLVMValueRef *sum = &d->sums[(row * pieces + at->piece) * d->parts + at->part];
      LLVMValueRef a = tsr_emit_splat(e, a_rows[row], at->width);
      *sum = dot_step(e, d, *sum, a, words[i], at->width);
    }
}

/* Accumulators as the operations take them: at most 16 lanes each. */
static void split_sums(tsr_emit *e, tsr_dot *d, const tsr_emit_tile *acc) {
  d->parts = acc->lanes / 16 + 1;
  d->sums = tsr_emit_alloc(e, (size_t)acc->count * d->parts, sizeof *d->sums);
  for (uint32_t i = 0; i < acc->count; ++i) {
    const uint32_t lanes = tsr_emit_point_of(acc->extents, 2, i).lanes;
    const uint32_t step = lanes > 16 ? 16 : lanes, width = step < 4 ? 4 : step;
    for (uint32_t at = 0; at < lanes; at += step) {
      LLVMValueRef part = lanes > 16 ? tsr_emit_take(e, acc->values[i], at, step) : acc->values[i];
      d->sums[i * d->parts + at / step] = widen_to(e, part, step, width);
    }
  }
}

static void join_sums(tsr_emit *e, const tsr_dot *d, tsr_emit_tile *result) {
  for (uint32_t i = 0; i < result->count; ++i) {
    const uint32_t lanes = tsr_emit_point_of(result->extents, 2, i).lanes;
    const uint32_t step = lanes > 16 ? 16 : lanes, width = step < 4 ? 4 : step;
    LLVMValueRef *parts = &d->sums[i * d->parts];
    parts[0] = narrow_to(e, parts[0], step, width);
    result->values[i] = lanes > 16 ? tsr_emit_join(e, parts, lanes / step) : parts[0];
  }
}

static void dot_vectors(tsr_emit *e, tsr_dot *d, const tsr_emit_tile *acc, tsr_emit_tile *result) {
  LLVMValueRef *rows = tsr_emit_alloc(e, acc->rows, sizeof *rows);
  split_sums(e, d, acc);
  LLVMValueRef stride = tsr_dot_stride(e, &d->a);
  for (uint32_t number = 0; number < d->depth / d->group; ++number) {
    for (uint32_t row = 0; row < acc->rows; ++row) {
      LLVMValueRef skip = LLVMBuildNSWMul(e->builder, stride, tsr_emit_int(e, (int64_t)row), "");
      skip = LLVMBuildNSWAdd(e->builder, skip, tsr_emit_int(e, (int64_t)number * WORD_BYTES), "");
      rows[row] = load_words(e, tsr_dot_address(e, &d->a, skip), 1, d->a.bytes);
    }
    dot_group(e, d, number, rows, result);
  }
  join_sums(e, d, result);
}

/* --- the op --- */

/* Two types of one group's elements that the atom multiplies: of integers, one is unsigned and the
 * other is not, in any order. */
static bool takes_dtypes(const tsr_atom *atom, tsr_dtype a, tsr_dtype b) {
  return (atom->a == a && atom->b == b) || (atom->a == b && atom->b == a);
}

const tsr_emit_tile *tsr_emit_dot(tsr_emit *e, const tsr_atom *atom, const tsr_emit_tile *acc) {
  tsr_dot d = {.atom = atom, .group = WORD_BYTES * 8 / tsr_dtype_bits(atom->b)};
  const int64_t depth = tsr_op_int(e->ir, e->op_id, "k", 0);
  const uint64_t missing = atom->features & ~tsr_cpu_isa_features(&e->target->isa);
  if (missing != 0 && !(atom->place == TSR_ATOM_MEMORY && e->target->isa.amx_emulated))
    return tsr_emit_fail(e, TSR_ERR_UNSUPPORTED, "the target has no atom '%s'", atom->text);
  if (depth < 1 || depth > 65536 || depth % atom->k != 0 || acc->dtype != atom->c)
    return tsr_emit_fail(e, TSR_ERR_VERIFY,
                         "'%s' takes %u steps of the depth at a time and sums %s", atom->text,
                         atom->k, tsr_dtype_text(atom->c));
  d.depth = (uint32_t)depth;
  if (!read_side(e, 0, acc->rows, d.depth, d.group, &d.a) ||
      !read_side(e, 1, d.depth, acc->lanes, d.group, &d.b))
    return NULL;
  if (!takes_dtypes(atom, d.a.dtype, d.b.dtype))
    return tsr_emit_fail(e, TSR_ERR_VERIFY, "'%s' does not multiply %s by %s", atom->text,
                         tsr_dtype_text(d.a.dtype), tsr_dtype_text(d.b.dtype));
  tsr_emit_tile *result = tsr_emit_tile_new(e, acc->dtype, acc->extents, 2);
  if (atom->place == TSR_ATOM_MEMORY)
    tsr_emit_amx(e, &d, acc, result);
  else
    dot_vectors(e, &d, acc, result);
  return result;
}
