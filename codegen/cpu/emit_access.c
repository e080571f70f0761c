/* Loads and stores of tiles. Each row of the tile is an address, a stride along the last lane, and
 * what has to hold for it: a condition for the whole row, a mask over its lanes, or neither.
 *
 *   stride 1          one vector access
 *   stride 0          one scalar, splat
 *   stride -1, 2..8   vector accesses and shuffles (masked for 2..8, where the machine masks loads)
 *   a leading lane has stride 1 and the last one has not: the tile is moved transposed
 *   another number    lane by lane: gathers are slower where addresses are known
 *   anything else     gather and scatter where the machine has them, else lane by lane
 *
 * An access whose condition fails must not touch memory: loads read a constant of pads instead (a
 * select of the address, no branch), stores branch. */
#include "codegen/cpu/emit.h"
#include "runtime/float_convert.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { MAX_STRIDE = 8 };

typedef struct access {
  const tsr_operand *operand;
  const tsr_type_info *buffer;
  tsr_type buffer_type;
  LLVMValueRef base;
  LLVMTypeRef element; /* storage */
  tsr_dtype dtype;
  uint32_t extents[TSR_MAX_RANK], rank, rows, lanes, count;
  tsr_expr subscripts[TSR_MAX_RANK];
  tsr_expr strides[TSR_MAX_RANK]; /* elements per step of each axis of the buffer */
  bool linear;                    /* the address is rest + sum of coefficients[axis] * $axis */
  tsr_expr coefficients[TSR_MAX_RANK], rest;
  tsr_emit_check checks[TSR_EMIT_MAX_CHECKS];
  uint32_t check_count;
  bool by_elements; /* every lane is loaded alone: they are used as scalars */
  LLVMValueRef pad; /* storage, one lane */
  double pad_number;
} access;

/* One value of the tile: a row or a piece of it. */
typedef struct place {
  uint32_t lanes;
  LLVMValueRef address; /* of lane 0, or what `offsets` start from */
  LLVMValueRef offsets; /* in elements, a vector; NULL: lane * stride */
  int64_t stride;
  LLVMValueRef condition; /* i1, NULL: holds */
  LLVMValueRef mask;      /* a vector of i1, NULL: all */
} place;

/* address = rest + sum coefficients[i] * $(first + i); false when a lane is under a division. */
static bool linearise(tsr_emit *e, const access *at, const tsr_expr *subscripts, uint32_t first,
                      tsr_expr *coefficients, tsr_expr *out_rest) {
  tsr_ir *ir = e->ir;
  tsr_expr lanes[TSR_MAX_RANK], rest = tsr_expr_int(ir, 0);
  uint32_t count = at->rank - first;
  for (uint32_t i = 0; i < count; ++i) {
    lanes[i] = tsr_expr_lane(ir, first + i);
    coefficients[i] = rest;
  }
  for (uint32_t axis = 0; axis < at->buffer->rank; ++axis) {
    int64_t steps[TSR_MAX_RANK] = {0};
    tsr_expr start = subscripts[axis];
    if (tsr_expr_has(ir, start, TSR_INDEX_LANE) &&
        !tsr_expr_linear(ir, subscripts[axis], lanes, count, steps, &start))
      return false;
    rest = tsr_expr_add(ir, rest, tsr_expr_mul(ir, start, at->strides[axis]));
    for (uint32_t i = 0; i < count; ++i)
      if (steps[i] != 0)
        coefficients[i] =
            tsr_expr_add(ir, coefficients[i], tsr_expr_mul_int(ir, at->strides[axis], steps[i]));
  }
  *out_rest = rest;
  return true;
}

static bool access_init(tsr_emit *e, access *at, const tsr_operand *operand,
                        const tsr_expr *subscripts, const uint32_t *extents, uint32_t rank) {
  *at = (access){.operand = operand, .rank = rank, .rows = 1, .lanes = 1};
  at->base = e->slots[operand->value].pointer;
  at->buffer_type = tsr_value_get(e->ir, operand->value)->type;
  at->buffer = tsr_type_get(e->ir, at->buffer_type);
  at->dtype = at->buffer->dtype;
  if (!at->base)
    return tsr_emit_fail(e, TSR_ERR_VERIFY, "the accessed value is not a buffer") != NULL;
  if (operand->subscript_count != at->buffer->rank)
    return tsr_emit_fail(e, TSR_ERR_VERIFY, "%u subscripts for a buffer of rank %u",
                         operand->subscript_count, at->buffer->rank) != NULL;
  if (!tsr_numeric_supports(at->dtype))
    return tsr_emit_fail(e, TSR_ERR_UNSUPPORTED, "buffers of %s have no code on the CPU",
                         tsr_dtype_text(at->dtype)) != NULL;
  at->element = tsr_numeric_storage_type(&e->math, at->dtype, 0);
  for (uint32_t axis = 0; axis < rank; ++axis) {
    at->extents[axis] = extents[axis];
    if (axis + 1 < rank)
      at->rows *= extents[axis];
    else
      at->lanes = extents[axis];
  }
  at->count = at->rows * tsr_emit_pieces(at->lanes);
  tsr_expr stride = tsr_expr_int(e->ir, 1);
  for (uint32_t axis = at->buffer->rank; axis-- > 0;) {
    at->subscripts[axis] = subscripts[axis];
    at->strides[axis] = stride;
    stride = tsr_expr_mul(e->ir, stride, at->buffer->dims[axis]);
  }
  at->linear = linearise(e, at, at->subscripts, 0, at->coefficients, &at->rest);
  tsr_operand checked = *operand;
  checked.subscripts = at->subscripts;
  at->check_count = tsr_emit_checks(e, at->buffer_type, &checked, at->extents, rank, at->checks);
  return true;
}

static LLVMValueRef element_address(tsr_emit *e, const access *at, LLVMValueRef from,
                                    LLVMValueRef offset) {
  if (LLVMIsAConstantInt(offset) && LLVMConstIntGetZExtValue(offset) == 0)
    return from;
  return at->check_count == 0 ? LLVMBuildInBoundsGEP2(e->builder, at->element, from, &offset, 1, "")
                              : LLVMBuildGEP2(e->builder, at->element, from, &offset, 1, "");
}

/* --- bounds of one row --- */

/* rest + step * lane >= 0 as a comparison of lane numbers, in 32 bits. */
static LLVMValueRef lanes_mask(tsr_emit *e, LLVMValueRef rest, int64_t step, uint32_t lanes) {
  LLVMBuilderRef b = e->builder;
  const uint64_t size = step < 0 ? -(uint64_t)step : (uint64_t)step;
  if ((size & (size - 1)) != 0) {
    LLVMValueRef all = LLVMBuildNSWMul(b, tsr_emit_iota(e, e->i64, 0, lanes),
                                       tsr_emit_splat(e, tsr_emit_int(e, step), lanes), "");
    all = LLVMBuildNSWAdd(b, all, tsr_emit_splat(e, rest, lanes), "");
    return LLVMBuildICmp(b, LLVMIntSGE, all, LLVMConstNull(LLVMTypeOf(all)), "");
  }
  if (size > 1) /* rounds down */
    rest = LLVMBuildAShr(b, rest, tsr_emit_int(e, __builtin_ctzll(size)), "");
  LLVMValueRef limit =
      step < 0 ? LLVMBuildNSWAdd(b, rest, tsr_emit_int(e, 1), "") : LLVMBuildNSWNeg(b, rest, "");
  LLVMTypeRef type = e->i64;
  LLVMValueRef low[2] = {limit, tsr_emit_int(e, 0)}, high[2] = {NULL, tsr_emit_int(e, lanes)};
  high[0] = tsr_emit_intrinsic(e, "llvm.smax", &type, 1, low, 2);
  limit = tsr_emit_intrinsic(e, "llvm.smin", &type, 1, high, 2);
  limit = tsr_emit_splat(e, LLVMBuildTrunc(b, limit, e->i32, ""), lanes);
  LLVMValueRef numbers = tsr_emit_iota(e, e->i32, 0, lanes);
  return LLVMBuildICmp(b, step < 0 ? LLVMIntULT : LLVMIntUGE, numbers, limit, "");
}

static void conjoin(tsr_emit *e, LLVMValueRef *all, LLVMValueRef one) {
  *all = *all ? LLVMBuildAnd(e->builder, *all, one, "") : one;
}

static void check_row(tsr_emit *e, const access *at, tsr_expr expr, const tsr_emit_point *point,
                      place *out_place) {
  tsr_ir *ir = e->ir;
  tsr_expr lanes[TSR_MAX_RANK], rest = 0;
  int64_t steps[TSR_MAX_RANK] = {0};
  for (uint32_t axis = 0; axis < at->rank; ++axis)
    lanes[axis] = tsr_expr_lane(ir, axis);
  bool linear = tsr_expr_linear(ir, expr, lanes, at->rank, steps, &rest);
  if (linear) {
    int64_t moved = 0;
    for (uint32_t axis = 0; axis + 1 < at->rank; ++axis)
      moved += steps[axis] * tsr_emit_row_index(at->extents, at->rank, point->row, axis);
    if (at->rank > 0)
      moved += steps[at->rank - 1] * point->start;
    expr = tsr_expr_add_int(ir, rest, moved);
  }
  LLVMValueRef value = tsr_emit_index_at(e, expr, point);
  int64_t step = linear && at->rank > 0 ? steps[at->rank - 1] : 0;
  if (tsr_emit_is_vector(value) && step != 0) {
    LLVMValueRef part = LLVMBuildNSWMul(e->builder, tsr_emit_iota(e, e->i64, 0, point->lanes),
                                        tsr_emit_splat(e, tsr_emit_int(e, step), point->lanes), "");
    value = LLVMBuildNSWAdd(e->builder, value, part, "");
    step = 0;
  }
  if (step != 0 && point->lanes > 1)
    conjoin(e, &out_place->mask, lanes_mask(e, value, step, point->lanes));
  else {
    LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(value));
    LLVMValueRef holds = LLVMBuildICmp(e->builder, LLVMIntSGE, value, zero, "");
    conjoin(e, tsr_emit_is_vector(value) ? &out_place->mask : &out_place->condition, holds);
  }
}

/* --- address of one row --- */

static void place_linear(tsr_emit *e, const access *at, const tsr_emit_point *point, tsr_expr rest,
                         tsr_expr step, tsr_expr moved, place *out_place) {
  LLVMValueRef start = tsr_emit_index_at(e, rest, point);
  LLVMValueRef row = tsr_emit_index_at(e, moved, point);
  bool vector = tsr_emit_is_vector(start);
  out_place->address = vector ? at->base : element_address(e, at, at->base, start);
  out_place->address = element_address(e, at, out_place->address, row);
  bool known = tsr_expr_is_int(e->ir, step, &out_place->stride);
  if (known && !vector)
    return;
  LLVMValueRef scale = tsr_emit_splat(e, tsr_emit_index_at(e, step, point), point->lanes);
  LLVMValueRef along =
      LLVMBuildNSWMul(e->builder, tsr_emit_iota(e, e->i64, 0, point->lanes), scale, "");
  out_place->offsets = vector ? LLVMBuildNSWAdd(e->builder, start, along, "") : along;
}

/* A row whose leading lanes stand under divisions: they are numbers here, so put them in. */
static void place_row_alone(tsr_emit *e, const access *at, const tsr_emit_point *point,
                            place *out_place) {
  tsr_ir *ir = e->ir;
  tsr_expr from[TSR_MAX_RANK], to[TSR_MAX_RANK], subscripts[TSR_MAX_RANK];
  tsr_expr address = tsr_expr_int(ir, 0), step[1], rest = 0;
  for (uint32_t axis = 0; axis + 1 < at->rank; ++axis) {
    from[axis] = tsr_expr_lane(ir, axis);
    to[axis] = tsr_expr_int(ir, tsr_emit_row_index(at->extents, at->rank, point->row, axis));
  }
  for (uint32_t axis = 0; axis < at->buffer->rank; ++axis) {
    subscripts[axis] = at->rank > 1
                           ? tsr_expr_substitute(ir, at->subscripts[axis], from, to, at->rank - 1)
                           : at->subscripts[axis];
    tsr_expr part = tsr_expr_mul(ir, subscripts[axis], at->strides[axis]);
    address = tsr_expr_add(ir, address, part);
  }
  if (linearise(e, at, subscripts, at->rank - 1, step, &rest)) {
    tsr_expr moved = tsr_expr_mul_int(ir, step[0], point->start);
    place_linear(e, at, point, rest, step[0], moved, out_place);
    return;
  }
  LLVMValueRef value = tsr_emit_index_at(e, address, point);
  if (tsr_emit_is_vector(value)) {
    out_place->address = at->base;
    out_place->offsets = value;
  } else
    out_place->address = element_address(e, at, at->base, value);
}

static place place_row(tsr_emit *e, const access *at, uint32_t number) {
  tsr_emit_point point = tsr_emit_point_of(at->extents, at->rank, number);
  place result = {.lanes = point.lanes};
  tsr_ir *ir = e->ir;
  if (at->linear) {
    tsr_expr moved = tsr_expr_int(ir, 0);
    for (uint32_t axis = 0; axis + 1 < at->rank; ++axis) {
      uint32_t position = tsr_emit_row_index(at->extents, at->rank, point.row, axis);
      moved = tsr_expr_add(ir, moved, tsr_expr_mul_int(ir, at->coefficients[axis], position));
    }
    tsr_expr step = at->rank > 0 ? at->coefficients[at->rank - 1] : tsr_expr_int(ir, 0);
    moved = tsr_expr_add(ir, moved, tsr_expr_mul_int(ir, step, point.start));
    place_linear(e, at, &point, at->rest, step, moved, &result);
  } else
    place_row_alone(e, at, &point, &result);
  for (uint32_t i = 0; i < at->check_count; ++i)
    check_row(e, at, at->checks[i].expr, &point, &result);
  if (result.lanes == 1 && result.mask) {
    conjoin(e, &result.condition, result.mask);
    result.mask = NULL;
  }
  return result;
}

/* --- what the machine has --- */

static bool has_masked_access(const tsr_emit *e, tsr_dtype dtype) {
  unsigned bits = tsr_dtype_bits(dtype);
  tsr_cpu_level level = e->target->isa.level;
  return level == TSR_CPU_LEVEL_X86_64_V4 || (level == TSR_CPU_LEVEL_X86_64_V3 && bits >= 32);
}

static bool has_gather(const tsr_emit *e, tsr_dtype dtype) {
  return tsr_dtype_bits(dtype) >= 32 && e->target->isa.level >= TSR_CPU_LEVEL_X86_64_V3;
}

static bool has_scatter(const tsr_emit *e, tsr_dtype dtype) {
  return tsr_dtype_bits(dtype) >= 32 && e->target->isa.level == TSR_CPU_LEVEL_X86_64_V4;
}

static unsigned element_bytes(const access *at) {
  return tsr_dtype_bits(at->dtype) / 8;
}

static LLVMValueRef load_plain(tsr_emit *e, const access *at, LLVMValueRef address,
                               uint32_t lanes) {
  LLVMTypeRef type = tsr_emit_vector(at->element, lanes);
  LLVMValueRef load = LLVMBuildLoad2(e->builder, type, address, "");
  LLVMSetAlignment(load, element_bytes(at));
  return load;
}

static LLVMValueRef alignment(const tsr_emit *e, const access *at) {
  return LLVMConstInt(e->i32, element_bytes(at), false);
}

/* Mask and condition as one vector; NULL when neither is there. */
static LLVMValueRef whole_mask(tsr_emit *e, const place *row, uint32_t lanes) {
  LLVMValueRef mask = row->mask;
  if (row->condition)
    conjoin(e, &mask, tsr_emit_splat(e, row->condition, lanes));
  return mask;
}

/* --- pads --- */

static LLVMValueRef storage_constant(const access *at, double number) {
  uint64_t bits = 0;
  if (LLVMGetTypeKind(at->element) != LLVMIntegerTypeKind)
    return LLVMConstReal(at->element, number);
  tsr_element_store_f64(at->dtype, &bits, 0, number);
  return LLVMConstInt(at->element, bits, false);
}

/* A constant of `lanes` pads: what a row that is not there is read from. */
static LLVMValueRef pad_source(tsr_emit *e, const access *at, uint32_t lanes) {
  uint64_t bits = 0;
  char name[64];
  memcpy(&bits, &at->pad_number, sizeof bits);
  snprintf(name, sizeof name, "pad.%s.%u.%llx", tsr_dtype_text(at->dtype), lanes,
           (unsigned long long)bits);
  LLVMValueRef source = LLVMGetNamedGlobal(e->math.module, name);
  if (source)
    return source;
  LLVMTypeRef type = LLVMArrayType2(at->element, lanes);
  LLVMValueRef *items = tsr_emit_alloc(e, lanes, sizeof *items);
  source = LLVMAddGlobal(e->math.module, type, name);
  for (uint32_t i = 0; items && i < lanes; ++i)
    items[i] = at->pad;
  LLVMSetInitializer(source,
                     items ? LLVMConstArray2(at->element, items, lanes) : LLVMConstNull(type));
  LLVMSetGlobalConstant(source, true);
  LLVMSetLinkage(source, LLVMPrivateLinkage);
  LLVMSetUnnamedAddress(source, LLVMGlobalUnnamedAddr);
  LLVMSetAlignment(source, element_bytes(at));
  return source;
}

static LLVMValueRef address_or_pads(tsr_emit *e, const access *at, LLVMValueRef condition,
                                    LLVMValueRef address, uint32_t lanes) {
  return condition ? LLVMBuildSelect(e->builder, condition, address, pad_source(e, at, lanes), "")
                   : address;
}

/* --- loads of one row, storage values --- */

static LLVMValueRef lane_offset(tsr_emit *e, const place *row, uint32_t lane) {
  return row->offsets ? tsr_emit_lane(e, row->offsets, lane)
                      : tsr_emit_int(e, row->stride * (int64_t)lane);
}

static LLVMValueRef load_lanes(tsr_emit *e, const access *at, const place *row) {
  LLVMValueRef result = LLVMGetPoison(LLVMVectorType(at->element, row->lanes));
  LLVMValueRef mask = whole_mask(e, row, row->lanes);
  for (uint32_t lane = 0; lane < row->lanes; ++lane) {
    LLVMValueRef address = element_address(e, at, row->address, lane_offset(e, row, lane));
    LLVMValueRef condition = mask ? tsr_emit_lane(e, mask, lane) : NULL;
    address = address_or_pads(e, at, condition, address, 1);
    result = tsr_emit_insert(e, result, load_plain(e, at, address, 1), lane);
  }
  return result;
}

static LLVMValueRef load_gather(tsr_emit *e, const access *at, const place *row) {
  if (!has_gather(e, at->dtype))
    return load_lanes(e, at, row);
  uint32_t lanes = row->lanes;
  LLVMValueRef offsets = row->offsets;
  LLVMValueRef mask = whole_mask(e, row, lanes);
  if (!mask)
    mask = LLVMConstAllOnes(LLVMVectorType(e->i1, lanes));
  LLVMValueRef addresses = LLVMBuildGEP2(e->builder, at->element, row->address, &offsets, 1, "");
  LLVMTypeRef types[2] = {LLVMVectorType(at->element, lanes), LLVMTypeOf(addresses)};
  LLVMValueRef arguments[4] = {addresses, alignment(e, at), mask,
                               tsr_emit_splat(e, at->pad, lanes)};
  return tsr_emit_intrinsic(e, "llvm.masked.gather", types, 2, arguments, 4);
}

/* Lanes of a masked access at a time: with AVX2 a register. LLVM 19 makes a plain load of half a
 * vector of two registers whose mask is known to be false there. */
static uint32_t masked_lanes(const tsr_emit *e, const access *at, uint32_t lanes) {
  const uint32_t most = tsr_cpu_isa_lanes(&e->target->isa, tsr_dtype_bits(at->dtype));
  const bool cut = e->target->isa.level == TSR_CPU_LEVEL_X86_64_V3 && lanes % most == 0;
  return cut ? most : lanes;
}

static LLVMValueRef masked_load(tsr_emit *e, const access *at, LLVMValueRef address,
                                LLVMValueRef mask, uint32_t lanes) {
  const uint32_t width = masked_lanes(e, at, lanes), count = lanes / width;
  LLVMValueRef *parts = tsr_emit_alloc(e, count, sizeof *parts);
  LLVMTypeRef types[2] = {LLVMVectorType(at->element, width), e->pointer};
  if (!parts)
    return LLVMConstNull(LLVMVectorType(at->element, lanes));
  for (uint32_t i = 0; i < count; ++i) {
    LLVMValueRef arguments[4] = {element_address(e, at, address, tsr_emit_int(e, i * width)),
                                 alignment(e, at), tsr_emit_take(e, mask, i * width, width),
                                 tsr_emit_splat(e, at->pad, width)};
    parts[i] = tsr_emit_intrinsic(e, "llvm.masked.load", types, 2, arguments, 4);
  }
  return tsr_emit_join(e, parts, count);
}

static void masked_store(tsr_emit *e, const access *at, const place *row, LLVMValueRef value) {
  const uint32_t width = masked_lanes(e, at, row->lanes), count = row->lanes / width;
  LLVMTypeRef types[2] = {LLVMVectorType(at->element, width), e->pointer};
  for (uint32_t i = 0; i < count; ++i) {
    LLVMValueRef arguments[4] = {tsr_emit_take(e, value, i * width, width),
                                 element_address(e, at, row->address, tsr_emit_int(e, i * width)),
                                 alignment(e, at), tsr_emit_take(e, row->mask, i * width, width)};
    tsr_emit_intrinsic(e, "llvm.masked.store", types, 2, arguments, 4);
  }
}

static LLVMValueRef load_masked(tsr_emit *e, const access *at, const place *row) {
  if (!has_masked_access(e, at->dtype))
    return load_lanes(e, at, row);
  return masked_load(e, at, row->address, whole_mask(e, row, row->lanes), row->lanes);
}

/* A vector from `address`, of whose lanes those are wanted that the `row` has at element `from`
 * plus their number: what a masked row leaves out is not read. */
static LLVMValueRef load_window(tsr_emit *e, const access *at, const place *row,
                                LLVMValueRef address, uint32_t from) {
  uint32_t lanes = row->lanes, stride = (uint32_t)row->stride;
  if (!row->mask)
    return load_plain(e, at, address, lanes);
  uint32_t *order = tsr_emit_alloc(e, lanes, sizeof *order);
  if (!order)
    return LLVMConstNull(LLVMVectorType(at->element, lanes));
  for (uint32_t lane = 0; lane < lanes; ++lane)
    order[lane] = (from + lane) % stride == 0 ? (from + lane) / stride : lanes;
  LLVMValueRef mask = whole_mask(e, row, lanes);
  mask = tsr_emit_shuffle(e, mask, LLVMConstNull(LLVMTypeOf(mask)), order, lanes);
  return masked_load(e, at, address, mask, lanes);
}

/* Every `stride`-th element: whole vectors over the span, the last one moved back so that it ends
 * at the last element. Each shuffle adds the elements that one more vector holds. */
static LLVMValueRef load_strided(tsr_emit *e, const access *at, const place *row) {
  uint32_t lanes = row->lanes, stride = (uint32_t)row->stride;
  uint32_t last = stride * (lanes - 1), done = 0;
  uint32_t *mask = tsr_emit_alloc(e, lanes, sizeof *mask);
  LLVMValueRef result = NULL, address = row->address;
  if (!row->mask)
    address = address_or_pads(e, at, row->condition, address, last + 1);
  for (uint32_t start = 0; mask && done < lanes; start += lanes) {
    uint32_t from = start + lanes - 1 > last ? last + 1 - lanes : start;
    LLVMValueRef window =
        load_window(e, at, row, element_address(e, at, address, tsr_emit_int(e, from)), from);
    for (uint32_t lane = 0; lane < lanes; ++lane) {
      uint32_t element = lane * stride;
      bool held = lane >= done && element < from + lanes;
      mask[lane] = lane < done ? lane : held ? lanes + element - from : 0;
    }
    while (done < lanes && done * stride < from + lanes)
      ++done;
    result = tsr_emit_shuffle(e, result ? result : window, window, mask, lanes);
  }
  return result ? result : LLVMConstNull(LLVMVectorType(at->element, lanes));
}

static LLVMValueRef load_reversed(tsr_emit *e, const access *at, const place *row) {
  uint32_t lanes = row->lanes;
  LLVMValueRef start = tsr_emit_int(e, 1 - (int64_t)lanes);
  LLVMValueRef value = load_plain(e, at, element_address(e, at, row->address, start), lanes);
  uint32_t *mask = tsr_emit_alloc(e, lanes, sizeof *mask);
  for (uint32_t lane = 0; mask && lane < lanes; ++lane)
    mask[lane] = lanes - 1 - lane;
  return mask ? tsr_emit_shuffle(e, value, NULL, mask, lanes) : value;
}

static LLVMValueRef load_row(tsr_emit *e, const access *at, const place *row) {
  uint32_t lanes = row->lanes;
  bool bare = !row->mask && !row->condition;
  if (lanes == 1 || (!row->offsets && row->stride == 0 && !row->mask)) {
    LLVMValueRef offset = row->offsets && lanes == 1 ? row->offsets : tsr_emit_int(e, 0);
    LLVMValueRef address = element_address(e, at, row->address, offset);
    return load_plain(e, at, address_or_pads(e, at, row->condition, address, 1), 1);
  }
  if (at->by_elements && !row->offsets)
    return load_lanes(e, at, row);
  if (row->offsets)
    return load_gather(e, at, row);
  if (row->stride == 1 && !row->mask)
    return load_plain(e, at, address_or_pads(e, at, row->condition, row->address, lanes), lanes);
  if (row->stride == 1)
    return load_masked(e, at, row);
  if (row->stride == -1 && bare)
    return load_reversed(e, at, row);
  if (row->stride > 1 && row->stride <= MAX_STRIDE && lanes >= 4 &&
      (!row->mask || has_masked_access(e, at->dtype)))
    return load_strided(e, at, row);
  return load_lanes(e, at, row);
}

/* --- transposed access --- */

/* True when a 2-D tile lies transposed in memory: moving it with its axes swapped makes every row
 * contiguous. */
static bool lies_transposed(const tsr_emit *e, const access *at) {
  int64_t row_step = 0, lane_step = 0;
  if (at->rank != 2 || !at->linear || at->rows < 4 || at->lanes < 2 || at->rows > 256)
    return false;
  for (uint32_t axis = 0; axis < at->buffer->rank; ++axis) {
    tsr_expr_node node = tsr_expr_get(e->ir, at->subscripts[axis]);
    bool tile = node.op == TSR_INDEX_VALUE && e->slots[node.value].tile;
    if (tile || e->op->code == TSR_OP_GATHER_LOAD || e->op->code == TSR_OP_SCATTER_STORE)
      return false;
  }
  bool rows_contiguous = tsr_expr_is_int(e->ir, at->coefficients[0], &row_step) && row_step == 1;
  bool lanes_known = tsr_expr_is_int(e->ir, at->coefficients[1], &lane_step);
  return rows_contiguous && !(lanes_known && (lane_step == 0 || lane_step == 1));
}

static bool access_swap(tsr_emit *e, const access *at, access *out_swapped) {
  tsr_expr from[2] = {tsr_expr_lane(e->ir, 0), tsr_expr_lane(e->ir, 1)};
  tsr_expr to[2] = {from[1], from[0]}, subscripts[TSR_MAX_RANK];
  uint32_t extents[2] = {at->extents[1], at->extents[0]};
  for (uint32_t axis = 0; axis < at->buffer->rank; ++axis)
    subscripts[axis] = tsr_expr_substitute(e->ir, at->subscripts[axis], from, to, 2);
  return access_init(e, out_swapped, at->operand, subscripts, extents, 2);
}

static const uint32_t swap_axes[2] = {1, 0};

enum { LINE = 64 };

/* The line that lies `ahead` bytes behind what the row starts with, into the first or second level
 * of the cache. It may be outside of the buffer: a prefetch does not fault. */
static void prefetch(tsr_emit *e, const place *row, int64_t ahead, bool stored, unsigned level) {
  LLVMValueRef offset = tsr_emit_int(e, ahead);
  LLVMValueRef arguments[4] = {LLVMBuildGEP2(e->builder, LLVMInt8TypeInContext(e->math.context),
                                             row->address, &offset, 1, ""),
                               LLVMConstInt(e->i32, stored, false),
                               LLVMConstInt(e->i32, 4 - level, false),
                               LLVMConstInt(e->i32, 1, false)};
  (void)tsr_emit_intrinsic(e, "llvm.prefetch", &e->pointer, 1, arguments, 4);
}

/* Is piece `number` of the tile the first one in its line, as far as the tile's shape says? Pieces
 * of a row are, and rows of single elements side by side. */
static bool begins_line(const tsr_emit *e, const access *at, uint32_t number) {
  int64_t step = 0;
  const bool column = at->rank == 2 && at->lanes == 1 && at->linear &&
                      tsr_expr_is_int(e->ir, at->coefficients[0], &step) && step == 1;
  const uint32_t start = column ? number : tsr_emit_point_of(at->extents, at->rank, number).start;
  return start * element_bytes(at) % LINE == 0;
}

static const tsr_emit_tile *load_tile(tsr_emit *e, access *at, double pad) {
  const int64_t ahead = tsr_op_int(e->ir, e->op_id, "ahead", 0);
  at->pad_number = pad;
  at->pad = storage_constant(at, pad);
  tsr_emit_tile *tile = tsr_emit_tile_new(e, at->dtype, at->extents, at->rank);
  for (uint32_t number = 0; tile && number < at->count && e->status == TSR_OK; ++number) {
    place from = place_row(e, at, number);
    LLVMValueRef value = tsr_numeric_widen(&e->math, at->dtype, load_row(e, at, &from));
    if (ahead != 0 && from.offsets == NULL && begins_line(e, at, number))
      prefetch(e, &from, ahead, false, 1);
    tile->values[number] = tsr_emit_splat(e, value, from.lanes);
  }
  return tile;
}

LLVMValueRef tsr_emit_load_line(tsr_emit *e, const tsr_operand *operand, const tsr_expr *subscripts,
                                const uint32_t *extents, uint32_t rank, double pad) {
  access at;
  if (!access_init(e, &at, operand, subscripts, extents, rank))
    return NULL;
  at.pad_number = pad;
  at.pad = storage_constant(&at, pad);
  const place from = place_row(e, &at, 0);
  return load_row(e, &at, &from);
}

/* True when the tile loaded is only ever the left operand of contract, which takes its elements one
 * by one: from memory they are broadcast for nothing. */
static bool feeds_contract(const tsr_emit *e) {
  tsr_value value = e->op->results[0];
  uint32_t uses = 0;
  for (tsr_op id = e->op->next; id != 0; id = tsr_op_get(e->ir, id)->next) {
    const tsr_op_data *op = tsr_op_get(e->ir, id);
    uses += op->code == TSR_OP_CONTRACT && op->operands[0].value == value &&
            !tsr_op_bool(e->ir, id, "each", false);
  }
  return uses == e->uses[value];
}

const tsr_emit_tile *tsr_emit_load(tsr_emit *e) {
  const tsr_emit_tile *shape =
      tsr_emit_tile_of_type(e, tsr_value_get(e->ir, e->op->results[0])->type);
  const tsr_operand *operand = &e->op->operands[0];
  double pad = tsr_op_float(e->ir, e->op_id, "pad", 0);
  access at, swapped;
  if (!shape || !access_init(e, &at, operand, operand->subscripts, shape->extents, shape->rank))
    return NULL;
  at.by_elements = at.lanes > 1 && feeds_contract(e);
  const tsr_emit_tile *tile = at.by_elements ? NULL : tsr_emit_load_strided(e, shape, pad);
  if (tile)
    return tile->dtype != shape->dtype ? tsr_emit_convert(e, tile, shape->dtype) : tile;
  if (!at.by_elements && lies_transposed(e, &at) && access_swap(e, &at, &swapped)) {
    tile = load_tile(e, &swapped, pad);
    tile = tile ? tsr_emit_transpose(e, tile, swap_axes) : NULL;
  } else
    tile = load_tile(e, &at, pad);
  return tile && tile->dtype != shape->dtype ? tsr_emit_convert(e, tile, shape->dtype) : tile;
}

/* --- stores --- */

/* Runs what follows only where `condition` holds, until the block returned here is entered. */
static LLVMBasicBlockRef guard_begin(tsr_emit *e, LLVMValueRef condition) {
  LLVMBasicBlockRef inside = tsr_emit_block(e, "store"), after = tsr_emit_block(e, "stored");
  LLVMBuildCondBr(e->builder, condition, inside, after);
  LLVMPositionBuilderAtEnd(e->builder, inside);
  return after;
}

static void guard_end(tsr_emit *e, LLVMBasicBlockRef after) {
  LLVMBuildBr(e->builder, after);
  LLVMPositionBuilderAtEnd(e->builder, after);
}

static void store_plain(tsr_emit *e, const access *at, LLVMValueRef value, LLVMValueRef address) {
  LLVMSetAlignment(LLVMBuildStore(e->builder, value, address), element_bytes(at));
}

static LLVMAtomicRMWBinOp atomic_op(const char *combine, tsr_dtype dtype, bool *out_exists) {
  tsr_dtype_class kind = tsr_dtype_class_of(dtype);
  bool is_float = kind == TSR_CLASS_FLOAT, is_signed = kind == TSR_CLASS_INT;
  *out_exists = true;
  if (!strcmp(combine, "add"))
    return is_float ? LLVMAtomicRMWBinOpFAdd : LLVMAtomicRMWBinOpAdd;
  if (!is_float && !strcmp(combine, "max"))
    return is_signed ? LLVMAtomicRMWBinOpMax : LLVMAtomicRMWBinOpUMax;
  if (!is_float && !strcmp(combine, "min"))
    return is_signed ? LLVMAtomicRMWBinOpMin : LLVMAtomicRMWBinOpUMin;
  if (!strcmp(combine, "and"))
    return LLVMAtomicRMWBinOpAnd;
  if (!strcmp(combine, "or"))
    return LLVMAtomicRMWBinOpOr;
  *out_exists = false;
  return LLVMAtomicRMWBinOpXchg;
}

/* old = *address; do new = combine(old, value) while another thread was faster. */
static void combine_by_exchange(tsr_emit *e, const access *at, const char *combine,
                                LLVMValueRef value, LLVMValueRef address) {
  LLVMTypeRef bits = LLVMIntTypeInContext(e->math.context, 8 * element_bytes(at));
  LLVMBasicBlockRef before = LLVMGetInsertBlock(e->builder);
  LLVMBasicBlockRef again = tsr_emit_block(e, "combine"), done = tsr_emit_block(e, "combined");
  LLVMValueRef first = LLVMBuildLoad2(e->builder, bits, address, "");
  LLVMSetOrdering(first, LLVMAtomicOrderingMonotonic);
  LLVMSetAlignment(first, element_bytes(at));
  LLVMBuildBr(e->builder, again);
  LLVMPositionBuilderAtEnd(e->builder, again);
  LLVMValueRef old = LLVMBuildPhi(e->builder, bits, "");
  LLVMValueRef wide =
      tsr_numeric_widen(&e->math, at->dtype, LLVMBuildBitCast(e->builder, old, at->element, ""));
  LLVMValueRef next = tsr_emit_combine(e, combine, at->dtype, wide, value);
  next = LLVMBuildBitCast(e->builder, tsr_numeric_narrow(&e->math, at->dtype, next), bits, "");
  LLVMValueRef result =
      LLVMBuildAtomicCmpXchg(e->builder, address, old, next, LLVMAtomicOrderingMonotonic,
                             LLVMAtomicOrderingMonotonic, false);
  LLVMSetAlignment(result, element_bytes(at));
  LLVMBasicBlockRef end = LLVMGetInsertBlock(e->builder);
  LLVMValueRef seen = LLVMBuildExtractValue(e->builder, result, 0, "");
  LLVMValueRef won = LLVMBuildExtractValue(e->builder, result, 1, "");
  LLVMBuildCondBr(e->builder, won, done, again);
  LLVMAddIncoming(old, (LLVMValueRef[]){first, seen}, (LLVMBasicBlockRef[]){before, end}, 2);
  LLVMPositionBuilderAtEnd(e->builder, done);
}

/* Tasks of one kernel may run on several threads, so a combining store to memory that tasks share
 * is atomic. `value` is a compute value. */
static void store_combined(tsr_emit *e, const access *at, const char *combine, LLVMValueRef value,
                           LLVMValueRef address) {
  bool exists = false;
  if (at->buffer->level != TSR_LEVEL_GLOBAL || e->one_task) {
    LLVMValueRef old = tsr_numeric_widen(&e->math, at->dtype, load_plain(e, at, address, 1));
    LLVMValueRef next = tsr_emit_combine(e, combine, at->dtype, old, value);
    store_plain(e, at, tsr_numeric_narrow(&e->math, at->dtype, next), address);
    return;
  }
  LLVMAtomicRMWBinOp op = atomic_op(combine, at->dtype, &exists);
  LLVMTypeKind kind = LLVMGetTypeKind(at->element);
  bool same = kind != LLVMIntegerTypeKind || tsr_dtype_class_of(at->dtype) != TSR_CLASS_FLOAT;
  if (!exists || !same || at->dtype == TSR_BOOL) {
    combine_by_exchange(e, at, combine, value, address);
    return;
  }
  LLVMValueRef done =
      LLVMBuildAtomicRMW(e->builder, op, address, value, LLVMAtomicOrderingMonotonic, false);
  LLVMSetAlignment(done, element_bytes(at));
}

/* In lane order, so that of equal addresses the last lane wins. */
static void store_lanes(tsr_emit *e, const access *at, const place *row, LLVMValueRef value,
                        const char *combine) {
  for (uint32_t lane = 0; lane < row->lanes; ++lane) {
    LLVMValueRef address = element_address(e, at, row->address, lane_offset(e, row, lane));
    LLVMValueRef one = tsr_emit_lane(e, value, lane);
    LLVMBasicBlockRef after = row->mask ? guard_begin(e, tsr_emit_lane(e, row->mask, lane)) : NULL;
    if (combine)
      store_combined(e, at, combine, one, address);
    else
      store_plain(e, at, one, address);
    if (after)
      guard_end(e, after);
  }
}

static void store_scatter(tsr_emit *e, const access *at, const place *row, LLVMValueRef value) {
  uint32_t lanes = row->lanes;
  LLVMValueRef mask = row->mask ? row->mask : LLVMConstAllOnes(LLVMVectorType(e->i1, lanes));
  LLVMValueRef addresses =
      LLVMBuildGEP2(e->builder, at->element, row->address, (LLVMValueRef *)&row->offsets, 1, "");
  LLVMTypeRef types[2] = {LLVMTypeOf(value), LLVMTypeOf(addresses)};
  LLVMValueRef arguments[4] = {value, addresses, alignment(e, at), mask};
  tsr_emit_intrinsic(e, "llvm.masked.scatter", types, 2, arguments, 4);
}

static void store_row(tsr_emit *e, const access *at, const place *row, LLVMValueRef value,
                      const char *combine) {
  LLVMBasicBlockRef after = row->condition ? guard_begin(e, row->condition) : NULL;
  if (!combine)
    value = tsr_numeric_narrow(&e->math, at->dtype, value);
  if (!combine && !row->offsets && row->stride == 1 && !row->mask)
    store_plain(e, at, value, row->address);
  else if (!combine && !row->offsets && row->stride == 1 && has_masked_access(e, at->dtype))
    masked_store(e, at, row, value);
  else if (!combine && row->offsets && row->lanes > 1 && has_scatter(e, at->dtype))
    store_scatter(e, at, row, value);
  else
    store_lanes(e, at, row, value, combine);
  if (after)
    guard_end(e, after);
}

static void store_tile(tsr_emit *e, const access *at, const tsr_emit_tile *tile,
                       const char *combine) {
  for (uint32_t number = 0; number < at->count && e->status == TSR_OK; ++number) {
    place to = place_row(e, at, number);
    LLVMValueRef value = tsr_emit_part(e, tile, at->extents, at->rank, number, true);
    store_row(e, at, &to, value, combine);
  }
}

/* Rows that lie side by side, element by element: a[0], b[0], c[0], d[0], a[1] .. */
static bool lies_interleaved(const tsr_emit *e, const access *at) {
  int64_t row_step = 0, lane_step = 0;
  return at->rank == 2 && at->linear && at->check_count == 0 && at->lanes > 1 &&
         (at->rows == 2 || at->rows == 4) &&
         tsr_expr_is_int(e->ir, at->coefficients[0], &row_step) && row_step == 1 &&
         tsr_expr_is_int(e->ir, at->coefficients[1], &lane_step) &&
         lane_step == (int64_t)at->rows && e->op->code != TSR_OP_SCATTER_STORE;
}

static LLVMValueRef interleave(tsr_emit *e, LLVMValueRef a, LLVMValueRef b, uint32_t lanes) {
  uint32_t *mask = tsr_emit_alloc(e, 2 * (size_t)lanes, sizeof *mask);
  for (uint32_t i = 0; i < 2 * lanes; ++i)
    mask[i] = i / 2 + (i % 2 ? lanes : 0);
  return tsr_emit_shuffle(e, a, b, mask, 2 * lanes);
}

static void store_interleaved(tsr_emit *e, const access *at, const tsr_emit_tile *tile) {
  const uint32_t pieces = tsr_emit_pieces(at->lanes);
  for (uint32_t piece = 0; piece < pieces; ++piece) {
    LLVMValueRef rows[4];
    const place to = place_row(e, at, piece);
    for (uint32_t row = 0; row < at->rows; ++row) {
      LLVMValueRef value =
          tsr_emit_part(e, tile, at->extents, at->rank, row * pieces + piece, true);
      rows[row] = tsr_numeric_narrow(&e->math, at->dtype, value);
      if (to.lanes == 1)
        rows[row] =
            LLVMBuildInsertElement(e->builder, LLVMGetPoison(LLVMVectorType(at->element, 1)),
                                   rows[row], LLVMConstInt(e->i32, 0, false), "");
    }
    uint32_t lanes = to.lanes;
    if (at->rows == 4) {
      rows[0] = interleave(e, rows[0], rows[2], lanes);
      rows[1] = interleave(e, rows[1], rows[3], lanes);
      lanes *= 2;
    }
    store_plain(e, at, interleave(e, rows[0], rows[1], lanes), to.address);
  }
}

void tsr_emit_store(tsr_emit *e) {
  const tsr_emit_tile *tile = tsr_emit_operand(e, 0);
  if (!tile)
    return;
  const tsr_operand *operand = &e->op->operands[1];
  const char *combine = tsr_op_string(e->ir, e->op_id, "combine");
  access at, swapped;
  if (combine && !strcmp(combine, "none"))
    combine = NULL;
  if (!access_init(e, &at, operand, operand->subscripts, tile->extents, tile->rank))
    return;
  if (combine && !tsr_emit_identity(e, combine, at.dtype)) {
    tsr_emit_fail(e, TSR_ERR_UNSUPPORTED, "a store cannot combine by '%s'", combine);
    return;
  }
  tile = tsr_emit_convert(e, tile, at.dtype);
  if (tile && !combine && lies_interleaved(e, &at)) {
    store_interleaved(e, &at, tile);
    return;
  }
  if (tile && !combine && lies_transposed(e, &at) && access_swap(e, &at, &swapped)) {
    tile = tsr_emit_transpose(e, tile, swap_axes);
    at = swapped;
  }
  if (tile)
    store_tile(e, &at, tile, combine);
}

/* --- copy --- */

/* A box through registers: `shape` is its extents. Subscripts without lanes name its first element,
 * its axes are the buffer's last ones. */
static bool copy_side(tsr_emit *e, const tsr_operand *operand, const uint32_t *extents,
                      uint32_t rank, access *out_access) {
  tsr_expr subscripts[TSR_MAX_RANK];
  uint32_t count = operand->subscript_count;
  bool has_lanes = false;
  for (uint32_t axis = 0; axis < count; ++axis)
    has_lanes = has_lanes || tsr_expr_has(e->ir, operand->subscripts[axis], TSR_INDEX_LANE);
  if ((count < rank && !has_lanes) || count > TSR_MAX_RANK)
    return tsr_emit_fail(e, TSR_ERR_VERIFY, "a box of rank %u in a buffer of rank %u", rank,
                         count) != NULL;
  for (uint32_t axis = 0; axis < count; ++axis) {
    subscripts[axis] = operand->subscripts[axis];
    if (!has_lanes && axis + rank >= count)
      subscripts[axis] =
          tsr_expr_add(e->ir, subscripts[axis], tsr_expr_lane(e->ir, axis + rank - count));
  }
  return access_init(e, out_access, operand, subscripts, extents, rank);
}

/* The box of a copy or prefetch. */
static bool shape_extents(tsr_emit *e, uint32_t *out_extents, uint32_t *out_rank) {
  const int64_t most = UINT16_MAX + 1;
  int64_t shape[TSR_MAX_RANK], elements = 1;
  *out_rank = 0;
  if (!tsr_op_ints(e->ir, e->op_id, "shape", shape, TSR_MAX_RANK, out_rank)) {
    tsr_emit_fail(e, TSR_ERR_UNSUPPORTED, "%s needs a shape of numbers",
                  tsr_opcode_info(e->op->code)->text);
    return false;
  }
  for (uint32_t axis = 0; axis < *out_rank; ++axis) {
    if (shape[axis] < 1 || shape[axis] > most / elements) {
      tsr_emit_fail(e, TSR_ERR_LIMIT, "%s of not 1 to %lld elements",
                    tsr_opcode_info(e->op->code)->text, (long long)most);
      return false;
    }
    elements *= shape[axis];
    out_extents[axis] = (uint32_t)shape[axis];
  }
  return true;
}

/* One for each line of rows that lie as they are, or of columns of what lies transposed. */
void tsr_emit_prefetch(tsr_emit *e) {
  const tsr_operand *operand = &e->op->operands[0];
  uint32_t rank = 0, extents[TSR_MAX_RANK];
  access at, swapped;
  if (!shape_extents(e, extents, &rank) ||
      !access_init(e, &at, operand, operand->subscripts, extents, rank))
    return;
  if (lies_transposed(e, &at) && access_swap(e, &at, &swapped))
    at = swapped;
  at.check_count = 0;
  const bool stored = tsr_value_get(e->ir, operand->value)->role != TSR_ROLE_IN;
  for (uint32_t number = 0; number < at.count && e->status == TSR_OK; ++number) {
    const place row = place_row(e, &at, number);
    if (row.offsets == NULL && row.stride == 1 && begins_line(e, &at, number))
      prefetch(e, &row, 0, stored, 2);
  }
}

void tsr_emit_copy(tsr_emit *e) {
  const char *atom = tsr_op_string(e->ir, e->op_id, "atom");
  uint32_t rank = 0, extents[TSR_MAX_RANK];
  access from, to;
  if ((atom && strcmp(atom, "vector") != 0) || e->op->operand_count != 2) {
    tsr_emit_fail(e, TSR_ERR_UNSUPPORTED, "copy by '%s' has no code on the CPU",
                  atom ? atom : "barrier");
    return;
  }
  if (!shape_extents(e, extents, &rank) ||
      !copy_side(e, &e->op->operands[0], extents, rank, &from) ||
      !copy_side(e, &e->op->operands[1], extents, rank, &to))
    return;
  const tsr_emit_tile *tile = load_tile(e, &from, tsr_op_float(e->ir, e->op_id, "pad", 0));
  tile = tile ? tsr_emit_convert(e, tile, to.dtype) : NULL;
  if (tile)
    store_tile(e, &to, tile, NULL);
}

/* --- append --- */

/* Exclusive prefix sums over the lanes by doubling: log2(lanes) shuffled additions. */
static LLVMValueRef prefix_sums(tsr_emit *e, LLVMValueRef ones, uint32_t lanes) {
  LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(ones)), sums = ones;
  uint32_t *mask = tsr_emit_alloc(e, lanes, sizeof *mask);
  for (uint32_t shift = 1; mask && shift < lanes; shift *= 2) {
    for (uint32_t lane = 0; lane < lanes; ++lane)
      mask[lane] = lane < shift ? lanes : lane - shift;
    sums = LLVMBuildAdd(e->builder, sums, tsr_emit_shuffle(e, sums, zero, mask, lanes), "");
  }
  return LLVMBuildSub(e->builder, sums, ones, "");
}

/* One addition to the counter for the whole tile; then every true element's position, row-major; -1
 * for the others. */
const tsr_emit_tile *tsr_emit_append(tsr_emit *e) {
  const tsr_emit_tile *mask = tsr_emit_operand(e, 0);
  const tsr_operand *operand = &e->op->operands[1];
  const tsr_type_info *type = tsr_value_type(e->ir, e->op->results[0]);
  access at;
  if (!mask || !access_init(e, &at, operand, operand->subscripts, NULL, 0))
    return NULL;
  tsr_dtype_class kind = tsr_dtype_class_of(at.dtype), result = tsr_dtype_class_of(type->dtype);
  if (mask->dtype != TSR_BOOL || (kind != TSR_CLASS_INT && kind != TSR_CLASS_UINT) ||
      (result != TSR_CLASS_INT && result != TSR_CLASS_UINT))
    return tsr_emit_fail(e, TSR_ERR_VERIFY, "append needs an integer counter and a bool tile");
  tsr_emit_tile *tile = tsr_emit_tile_new(e, type->dtype, mask->extents, mask->rank);
  if (!tile)
    return NULL;
  LLVMTypeRef counter = at.element;
  LLVMValueRef total = LLVMConstNull(e->i32);
  for (uint32_t number = 0; number < tile->count; ++number) {
    uint32_t lanes = tsr_emit_point_of(tile->extents, tile->rank, number).lanes;
    LLVMTypeRef counts = tsr_emit_vector(e->i32, lanes);
    LLVMValueRef ones = LLVMBuildZExt(e->builder, mask->values[number], counts, "");
    LLVMValueRef before = lanes > 1 ? prefix_sums(e, ones, lanes) : LLVMConstNull(e->i32);
    tile->values[number] = LLVMBuildAdd(e->builder, before, tsr_emit_splat(e, total, lanes), "");
    LLVMValueRef last = LLVMBuildAdd(e->builder, before, ones, "");
    total = LLVMBuildAdd(e->builder, total, tsr_emit_lane(e, last, lanes - 1), "");
  }
  place counted = place_row(e, &at, 0);
  LLVMValueRef base = LLVMBuildAtomicRMW(e->builder, LLVMAtomicRMWBinOpAdd, counted.address,
                                         LLVMBuildIntCast2(e->builder, total, counter, false, ""),
                                         LLVMAtomicOrderingMonotonic, false);
  LLVMSetAlignment(base, element_bytes(&at));
  LLVMTypeRef element = tsr_numeric_compute_type(&e->math, type->dtype, 0);
  base = LLVMBuildIntCast2(e->builder, base, element, true, "");
  for (uint32_t number = 0; number < tile->count; ++number) {
    uint32_t lanes = tsr_emit_point_of(tile->extents, tile->rank, number).lanes;
    LLVMTypeRef positions = tsr_emit_vector(element, lanes);
    LLVMValueRef offset = LLVMBuildIntCast2(e->builder, tile->values[number], positions, false, "");
    LLVMValueRef at_lanes = LLVMBuildAdd(e->builder, tsr_emit_splat(e, base, lanes), offset, "");
    tile->values[number] = LLVMBuildSelect(e->builder, mask->values[number], at_lanes,
                                           LLVMConstAllOnes(positions), "");
  }
  return tile;
}
