#include "codegen/cpu/emit.h"
#include "codegen/common.h"
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void *tsr_emit_fail(tsr_emit *e, tsr_status status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  e->status = tsr_codegen_fail(e->ir, e->op, e->diag, status, format, arguments);
  va_end(arguments);
  longjmp(*e->escape, 1);
}

void *tsr_emit_alloc(tsr_emit *e, size_t count, size_t size) {
  void *memory = tsr_arena_alloc_array(e->arena, count, size);
  return memory ? memory : tsr_emit_fail(e, TSR_ERR_OUT_OF_MEMORY, "out of memory");
}

bool tsr_emit_grow(tsr_emit *e, void **array, uint32_t *capacity, uint32_t need, size_t size) {
  if (need <= *capacity)
    return true;
  uint32_t larger = *capacity ? *capacity : 64;
  while (larger < need)
    larger *= 2;
  void *memory = tsr_emit_alloc(e, larger, size);
  if (!memory)
    return false;
  if (*capacity)
    memcpy(memory, *array, *capacity * size);
  *array = memory;
  *capacity = larger;
  return true;
}

/* Unrolled rows and lanes beyond this are a schedule gone wrong, not a tile. */
enum { MAX_ELEMENTS = 1 << 16, MAX_LANES = 1 << 12 };

tsr_emit_tile *tsr_emit_tile_new(tsr_emit *e, tsr_dtype dtype, const uint32_t *extents,
                                 uint32_t rank) {
  if (!tsr_numeric_supports(dtype))
    return tsr_emit_fail(e, TSR_ERR_UNSUPPORTED, "tiles of %s have no code on the CPU",
                         tsr_dtype_text(dtype));
  tsr_emit_tile *tile = tsr_emit_alloc(e, 1, sizeof *tile);
  if (!tile)
    return NULL;
  tile->dtype = dtype;
  tile->rank = rank;
  tile->lanes = rank > 0 ? extents[rank - 1] : 1;
  uint64_t rows = 1;
  for (uint32_t axis = 0; axis < rank; ++axis) {
    tile->extents[axis] = extents[axis];
    if (axis + 1 < rank)
      rows *= extents[axis];
    if (rows * tile->lanes > MAX_ELEMENTS || rows * tile->lanes == 0 || tile->lanes > MAX_LANES)
      return tsr_emit_fail(e, TSR_ERR_LIMIT, "a tile must have 1 to %d elements in rows of %d",
                           MAX_ELEMENTS, MAX_LANES);
  }
  tile->rows = (uint32_t)rows;
  tile->count = tile->rows * tsr_emit_pieces(tile->lanes);
  tile->values = tsr_emit_alloc(e, tile->count, sizeof *tile->values);
  return tile->values ? tile : NULL;
}

tsr_emit_tile *tsr_emit_tile_of_type(tsr_emit *e, tsr_type type) {
  const tsr_type_info *info = tsr_type_get(e->ir, type);
  uint32_t extents[TSR_MAX_RANK] = {0};
  for (uint32_t axis = 0; axis < info->rank; ++axis) {
    int64_t extent = 0;
    if (!tsr_expr_is_int(e->ir, info->dims[axis], &extent) || extent < 1 || extent > MAX_ELEMENTS)
      return tsr_emit_fail(e, TSR_ERR_VERIFY, "axis %u of a tile is not a positive number", axis);
    extents[axis] = (uint32_t)extent;
  }
  return tsr_emit_tile_new(e, info->dtype, extents, info->rank);
}

bool tsr_emit_broadcast(tsr_emit *e, const tsr_emit_tile *a, const tsr_emit_tile *b,
                        uint32_t *out_extents, uint32_t *out_rank) {
  uint32_t rank = a->rank > b->rank ? a->rank : b->rank;
  for (uint32_t i = 0; i < rank; ++i) {
    uint32_t from_a = i < a->rank ? a->extents[a->rank - 1 - i] : 1;
    uint32_t from_b = i < b->rank ? b->extents[b->rank - 1 - i] : 1;
    if (from_a != from_b && from_a != 1 && from_b != 1) {
      tsr_emit_fail(e, TSR_ERR_VERIFY, "tiles with extents %u and %u do not broadcast", from_a,
                    from_b);
      return false;
    }
    out_extents[rank - 1 - i] = from_a > from_b ? from_a : from_b;
  }
  *out_rank = rank;
  return true;
}

uint32_t tsr_emit_row_index(const uint32_t *extents, uint32_t rank, uint32_t row, uint32_t axis) {
  for (uint32_t inner = rank - 1; inner-- > axis + 1;)
    row /= extents[inner];
  return row % extents[axis];
}

uint32_t tsr_emit_pieces(uint32_t lanes) {
  return (uint32_t)__builtin_popcount(lanes);
}

void tsr_emit_piece(uint32_t lanes, uint32_t piece, uint32_t *out_start, uint32_t *out_lanes) {
  *out_start = 0;
  for (uint32_t i = 0;; ++i) {
    *out_lanes = 1U << (31 - __builtin_clz(lanes));
    if (i == piece)
      return;
    *out_start += *out_lanes;
    lanes -= *out_lanes;
  }
}

/* The value that holds a lane of a row, and the lane's place in it. */
static uint32_t find_element(const tsr_emit_tile *tile, uint32_t row, uint32_t lane,
                             uint32_t *out_place) {
  uint32_t pieces = tsr_emit_pieces(tile->lanes), piece = 0, start = 0, lanes = 0;
  for (;; ++piece) {
    assert(piece < pieces);
    tsr_emit_piece(tile->lanes, piece, &start, &lanes);
    if (lane < start + lanes)
      break;
  }
  *out_place = lane - start;
  return row * pieces + piece;
}

LLVMValueRef tsr_emit_element(tsr_emit *e, const tsr_emit_tile *tile, uint32_t row, uint32_t lane) {
  uint32_t place = 0, number = find_element(tile, row, lane, &place);
  return tsr_emit_lane(e, tile->values[number], place);
}

void tsr_emit_set_element(tsr_emit *e, tsr_emit_tile *tile, uint32_t row, uint32_t lane,
                          LLVMValueRef value) {
  uint32_t place = 0, number = find_element(tile, row, lane, &place);
  tile->values[number] = tsr_emit_insert(e, tile->values[number], value, place);
}

void tsr_emit_tile_clear(tsr_emit *e, tsr_emit_tile *tile) {
  LLVMTypeRef element = tsr_numeric_compute_type(&e->math, tile->dtype, 0);
  for (uint32_t number = 0; number < tile->count; ++number) {
    tsr_emit_point at = tsr_emit_point_of(tile->extents, tile->rank, number);
    tile->values[number] = LLVMGetPoison(tsr_emit_vector(element, at.lanes));
  }
}

tsr_emit_point tsr_emit_point_of(const uint32_t *extents, uint32_t rank, uint32_t number) {
  uint32_t lanes = rank > 0 ? extents[rank - 1] : 1, pieces = tsr_emit_pieces(lanes);
  tsr_emit_point point = {rank, extents, number, number / pieces, 0, 0};
  tsr_emit_piece(lanes, number % pieces, &point.start, &point.lanes);
  return point;
}

LLVMValueRef tsr_emit_part(tsr_emit *e, const tsr_emit_tile *tile, const uint32_t *extents,
                           uint32_t rank, uint32_t number, bool splat) {
  tsr_emit_point point = tsr_emit_point_of(extents, rank, number);
  uint32_t source = 0, row = point.row;
  for (uint32_t axis = 0; axis + 1 < tile->rank; ++axis) {
    uint32_t position = tsr_emit_row_index(extents, rank, row, axis + rank - tile->rank);
    source = source * tile->extents[axis] + (tile->extents[axis] == 1 ? 0 : position);
  }
  assert(source < tile->rows);
  if (tile->lanes == 1)
    return splat ? tsr_emit_splat(e, tile->values[source], point.lanes) : tile->values[source];
  uint32_t pieces = tsr_emit_pieces(tile->lanes);
  return tile->values[source * pieces + number % pieces];
}

const tsr_emit_tile *tsr_emit_operand(tsr_emit *e, uint32_t number) {
  if (number >= e->op->operand_count)
    return tsr_emit_fail(e, TSR_ERR_VERIFY, "operand %u is missing", number);
  tsr_value value = e->op->operands[number].value;
  const tsr_emit_slot *slot = &e->slots[value];
  if (slot->tile)
    return slot->tile;
  if (slot->index) {
    tsr_emit_tile *tile = tsr_emit_tile_new(e, TSR_I64, NULL, 0);
    if (tile)
      tile->values[0] = slot->index;
    return tile;
  }
  return tsr_emit_fail(e, TSR_ERR_VERIFY, "operand %u is not a tile or scalar", number);
}

void tsr_emit_bind(tsr_emit *e, tsr_value value, const tsr_emit_tile *tile) {
  assert(value < e->slot_count);
  e->slots[value] = (tsr_emit_slot){.tile = tile};
}

uint32_t tsr_emit_scope_begin(const tsr_emit *e) {
  return e->undo_count;
}

void tsr_emit_scope_end(tsr_emit *e, uint32_t mark) {
  while (e->undo_count > mark) {
    const tsr_emit_undo *undo = &e->undo[--e->undo_count];
    e->memo[undo->expr] = undo->before;
  }
}

LLVMTypeRef tsr_emit_vector(LLVMTypeRef element, uint32_t lanes) {
  return lanes == 1 ? element : LLVMVectorType(element, lanes);
}

bool tsr_emit_is_vector(LLVMValueRef value) {
  return LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMVectorTypeKind;
}

LLVMValueRef tsr_emit_int(const tsr_emit *e, int64_t number) {
  return LLVMConstInt(e->i64, (unsigned long long)number, true);
}

LLVMValueRef tsr_emit_splat(tsr_emit *e, LLVMValueRef scalar, uint32_t lanes) {
  if (lanes == 1 || tsr_emit_is_vector(scalar))
    return scalar;
  LLVMTypeRef type = LLVMVectorType(LLVMTypeOf(scalar), lanes);
  LLVMValueRef first = tsr_emit_insert(e, LLVMGetPoison(type), scalar, 0);
  LLVMValueRef zeros = LLVMConstNull(LLVMVectorType(e->i32, lanes));
  return LLVMBuildShuffleVector(e->builder, first, LLVMGetPoison(type), zeros, "");
}

LLVMValueRef tsr_emit_iota(tsr_emit *e, LLVMTypeRef element, uint32_t start, uint32_t lanes) {
  LLVMValueRef *numbers = tsr_emit_alloc(e, lanes, sizeof *numbers);
  if (!numbers)
    return LLVMConstNull(tsr_emit_vector(element, lanes));
  for (uint32_t lane = 0; lane < lanes; ++lane)
    numbers[lane] = LLVMConstInt(element, start + lane, false);
  return lanes == 1 ? numbers[0] : LLVMConstVector(numbers, lanes);
}

LLVMValueRef tsr_emit_shuffle(tsr_emit *e, LLVMValueRef a, LLVMValueRef b, const uint32_t *mask,
                              uint32_t lanes) {
  LLVMValueRef *numbers = tsr_emit_alloc(e, lanes, sizeof *numbers);
  if (!numbers)
    return LLVMGetPoison(tsr_emit_vector(LLVMGetElementType(LLVMTypeOf(a)), lanes));
  for (uint32_t lane = 0; lane < lanes; ++lane)
    numbers[lane] = LLVMConstInt(e->i32, mask[lane], false);
  return LLVMBuildShuffleVector(e->builder, a, b ? b : LLVMGetPoison(LLVMTypeOf(a)),
                                LLVMConstVector(numbers, lanes), "");
}

LLVMValueRef tsr_emit_take(tsr_emit *e, LLVMValueRef vector, uint32_t start, uint32_t lanes) {
  uint32_t *mask = tsr_emit_alloc(e, lanes, sizeof *mask);
  if (lanes == 1 || !mask)
    return tsr_emit_lane(e, vector, start);
  if (start == 0 && lanes == LLVMGetVectorSize(LLVMTypeOf(vector)))
    return vector;
  for (uint32_t lane = 0; lane < lanes; ++lane)
    mask[lane] = start + lane;
  return tsr_emit_shuffle(e, vector, NULL, mask, lanes);
}

LLVMValueRef tsr_emit_join(tsr_emit *e, const LLVMValueRef *parts, uint32_t count) {
  LLVMValueRef *joined = tsr_emit_alloc(e, count, sizeof *joined);
  uint32_t lanes = tsr_emit_is_vector(parts[0]) ? LLVMGetVectorSize(LLVMTypeOf(parts[0])) : 1;
  uint32_t *mask = tsr_emit_alloc(e, (size_t)lanes * count, sizeof *mask);
  if (!joined || !mask || count == 1)
    return parts[0];
  memcpy(joined, parts, count * sizeof *joined);
  for (uint32_t i = 0; i < lanes * count; ++i)
    mask[i] = i;
  for (; count > 1; count /= 2, lanes *= 2)
    for (uint32_t i = 0; i < count / 2; ++i)
      joined[i] = tsr_emit_shuffle(e, joined[2 * i], joined[2 * i + 1], mask, 2 * lanes);
  return joined[0];
}

uint32_t tsr_emit_register_lanes(const tsr_emit *e, tsr_dtype dtype) {
  unsigned bits = tsr_numeric_is_narrow(dtype) ? 32 : tsr_dtype_bits(dtype);
  return tsr_cpu_isa_lanes(&e->target->isa, bits);
}

LLVMValueRef tsr_emit_lane(tsr_emit *e, LLVMValueRef vector, uint32_t lane) {
  if (!tsr_emit_is_vector(vector))
    return vector;
  return LLVMBuildExtractElement(e->builder, vector, LLVMConstInt(e->i32, lane, false), "");
}

LLVMValueRef tsr_emit_insert(tsr_emit *e, LLVMValueRef vector, LLVMValueRef scalar, uint32_t lane) {
  if (!tsr_emit_is_vector(vector))
    return scalar;
  return LLVMBuildInsertElement(e->builder, vector, scalar, LLVMConstInt(e->i32, lane, false), "");
}

LLVMValueRef tsr_emit_intrinsic(tsr_emit *e, const char *name, LLVMTypeRef *types,
                                unsigned type_count, LLVMValueRef *arguments, unsigned count) {
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  assert(id != 0);
  LLVMValueRef callee = LLVMGetIntrinsicDeclaration(e->math.module, id, types, type_count);
  LLVMTypeRef type = LLVMIntrinsicGetType(e->math.context, id, types, type_count);
  return LLVMBuildCall2(e->builder, type, callee, arguments, count, "");
}

LLVMBasicBlockRef tsr_emit_block(tsr_emit *e, const char *name) {
  return LLVMAppendBasicBlockInContext(e->math.context, e->function, name);
}

/* !{!"branch_weights", i32 yes, i32 no}: keeps spills of the rare side out of the usual one. */
void tsr_emit_branch(tsr_emit *e, LLVMValueRef condition, LLVMBasicBlockRef yes,
                     LLVMBasicBlockRef no, bool likely) {
  LLVMValueRef branch = LLVMBuildCondBr(e->builder, condition, yes, no);
  if (!likely)
    return;
  LLVMContextRef context = e->math.context;
  LLVMMetadataRef parts[3] = {
      LLVMMDStringInContext2(context, "branch_weights", 14),
      LLVMValueAsMetadata(LLVMConstInt(e->i32, 2000, false)),
      LLVMValueAsMetadata(LLVMConstInt(e->i32, 1, false)),
  };
  LLVMMetadataRef node = LLVMMDNodeInContext2(context, parts, 3);
  LLVMSetMetadata(branch, LLVMGetMDKindIDInContext(context, "prof", 4),
                  LLVMMetadataAsValue(context, node));
}
