/* Reductions of tiles over some of their axes, of one tile or of tuples of tiles. The order is a
 * fixed tree over rows, then a fixed tree over lanes, so the bits depend on the tile's shape only.
 * f16 and bf16 sums are kept in f32 until the end. */
#include "codegen/cpu/emit.h"
#include <string.h>

enum { MAX_TUPLE = 8, MAX_PIECES = 16 };

typedef struct reduction {
  uint32_t count; /* of tiles in the tuple */
  const char *combine;
  tsr_region region; /* 0: `combine` names the operation */
  tsr_dtype dtypes[MAX_TUPLE];
} reduction;

/* Values of the region's arguments are tiles of one row, as wide as the values are. */
static void bind_row(tsr_emit *e, tsr_value argument, tsr_dtype dtype, LLVMValueRef value) {
  uint32_t lanes = tsr_emit_is_vector(value) ? LLVMGetVectorSize(LLVMTypeOf(value)) : 1;
  tsr_emit_tile *tile = tsr_emit_tile_new(e, dtype, &lanes, lanes > 1 ? 1 : 0);
  if (!tile)
    return;
  tile->values[0] = value;
  tsr_emit_bind(e, argument, tile);
}

static void combine_by_region(tsr_emit *e, const reduction *r, const LLVMValueRef *a,
                              const LLVMValueRef *b, LLVMValueRef *out) {
  const tsr_region_data *region = tsr_region_get(e->ir, r->region);
  if (region->arg_count != 2 * r->count) {
    tsr_emit_fail(e, TSR_ERR_VERIFY, "a combiner of %u values takes %u arguments", r->count,
                  2 * r->count);
    return;
  }
  for (uint32_t i = 0; i < r->count; ++i) {
    bind_row(e, region->args[i], r->dtypes[i], a[i]);
    bind_row(e, region->args[r->count + i], r->dtypes[i], b[i]);
  }
  uint32_t mark = tsr_emit_scope_begin(e);
  tsr_emit_region(e, r->region);
  tsr_emit_scope_end(e, mark);
  if (e->status == TSR_OK && e->yielded_count != r->count)
    tsr_emit_fail(e, TSR_ERR_VERIFY, "the combiner yields %u values", e->yielded_count);
  uint32_t lanes = tsr_emit_is_vector(a[0]) ? LLVMGetVectorSize(LLVMTypeOf(a[0])) : 1;
  for (uint32_t i = 0; i < r->count && e->status == TSR_OK; ++i)
    out[i] = tsr_emit_splat(e, e->yielded[i]->values[0], lanes);
}

static void combine(tsr_emit *e, const reduction *r, const LLVMValueRef *a, const LLVMValueRef *b,
                    LLVMValueRef *out) {
  if (e->status != TSR_OK)
    return;
  if (r->region)
    combine_by_region(e, r, a, b, out);
  else
    out[0] = tsr_emit_combine(e, r->combine, r->dtypes[0], a[0], b[0]);
}

/* values[i] of `stride` tuples apart: halves first, then their results. */
static void reduce_list(tsr_emit *e, const reduction *r, const LLVMValueRef *values, uint32_t count,
                        LLVMValueRef *out) {
  if (count == 1) {
    memcpy(out, values, r->count * sizeof *out);
    return;
  }
  LLVMValueRef low[MAX_TUPLE] = {0}, high[MAX_TUPLE] = {0};
  uint32_t half = count / 2;
  reduce_list(e, r, values, half, low);
  reduce_list(e, r, values + (size_t)half * r->count, count - half, high);
  combine(e, r, low, high, out);
}

static void take_lanes(tsr_emit *e, const reduction *r, const LLVMValueRef *from, uint32_t start,
                       uint32_t lanes, uint32_t *mask, LLVMValueRef *out) {
  for (uint32_t i = 0; i < lanes; ++i)
    mask[i] = start + i;
  for (uint32_t i = 0; i < r->count; ++i)
    out[i] = lanes == 1 ? tsr_emit_lane(e, from[i], start)
                        : tsr_emit_shuffle(e, from[i], NULL, mask, lanes);
}

static void fold_lanes(tsr_emit *e, const reduction *r, LLVMValueRef *values, uint32_t from,
                       uint32_t to, uint32_t *mask) {
  LLVMValueRef low[MAX_TUPLE] = {0}, high[MAX_TUPLE] = {0};
  for (uint32_t width = from / 2; width >= to && width > 0 && e->status == TSR_OK; width /= 2) {
    take_lanes(e, r, values, 0, width, mask, low);
    take_lanes(e, r, values, width, width, mask, high);
    combine(e, r, low, high, values);
  }
}

/* The longest piece is folded to the width of the next one and combined with it, and so on; what is
 * left is folded to one lane. `pieces`: a tuple each. */
static void reduce_lanes(tsr_emit *e, const reduction *r, LLVMValueRef *pieces, uint32_t lanes) {
  uint32_t *mask = tsr_emit_alloc(e, lanes, sizeof *mask);
  uint32_t start = 0, width = 0, next = 0;
  tsr_emit_piece(lanes, 0, &start, &width);
  for (uint32_t piece = 1; mask && piece < tsr_emit_pieces(lanes); ++piece) {
    tsr_emit_piece(lanes, piece, &start, &next);
    fold_lanes(e, r, pieces, width, next, mask);
    combine(e, r, pieces, pieces + (size_t)piece * r->count, pieces);
    width = next;
  }
  if (mask)
    fold_lanes(e, r, pieces, width, 1, mask);
}

/* One row of the results: which values of the operands fall on a piece of it, in order of rows. */
static uint32_t collect_rows(const tsr_emit_tile *const *tiles, const reduction *r,
                             const bool *reduced, const tsr_emit_tile *result, uint32_t row,
                             uint32_t piece, LLVMValueRef *out) {
  const tsr_emit_tile *tile = tiles[0];
  uint32_t found = 0, pieces = tsr_emit_pieces(tile->lanes);
  for (uint32_t source = 0; source < tile->rows; ++source) {
    bool falls = true;
    for (uint32_t axis = 0; axis + 1 < tile->rank; ++axis)
      falls = falls &&
              (reduced[axis] || tsr_emit_row_index(tile->extents, tile->rank, source, axis) ==
                                    tsr_emit_row_index(result->extents, tile->rank, row, axis));
    if (!falls)
      continue;
    for (uint32_t i = 0; i < r->count; ++i)
      out[(size_t)found * r->count + i] = tiles[i]->values[source * pieces + piece];
    ++found;
  }
  return found;
}

static bool reduced_axes(tsr_emit *e, uint32_t rank, bool *out_reduced) {
  const tsr_attr *attr = tsr_op_attr(e->ir, e->op_id, "axes");
  int64_t axes[TSR_MAX_RANK];
  uint32_t count = 0;
  for (uint32_t axis = 0; axis < rank; ++axis)
    out_reduced[axis] = attr == NULL;
  if (!attr)
    return true;
  bool fits = tsr_op_ints(e->ir, e->op_id, "axes", axes, TSR_MAX_RANK, &count);
  for (uint32_t i = 0; fits && i < count; ++i) {
    fits = axes[i] >= 0 && axes[i] < rank;
    if (fits)
      out_reduced[axes[i]] = true;
  }
  if (!fits)
    tsr_emit_fail(e, TSR_ERR_VERIFY, "axes are not axes of the tile");
  return fits;
}

/* Operands in the types that they are accumulated in. */
static bool reduce_operands(tsr_emit *e, reduction *r, const tsr_emit_tile **tiles) {
  for (uint32_t i = 0; i < r->count; ++i) {
    tsr_dtype to = tsr_value_type(e->ir, e->op->results[i])->dtype;
    tiles[i] = tsr_emit_operand(e, i);
    if (!tiles[i])
      return false;
    r->dtypes[i] = !r->region && tsr_numeric_is_narrow(to) ? TSR_F32 : to;
    tiles[i] = tsr_emit_convert(e, tiles[i], r->dtypes[i]);
    if (!tiles[i])
      return false;
    if (tiles[i]->rank != tiles[0]->rank ||
        memcmp(tiles[i]->extents, tiles[0]->extents, sizeof tiles[0]->extents) != 0)
      return tsr_emit_fail(e, TSR_ERR_VERIFY, "the operands differ in shape") != NULL;
  }
  return true;
}

static void reduce_row(tsr_emit *e, const reduction *r, const tsr_emit_tile *const *tiles,
                       const bool *reduced, tsr_emit_tile *const *results, uint32_t row,
                       LLVMValueRef *list) {
  LLVMValueRef values[MAX_PIECES * MAX_TUPLE] = {0};
  const tsr_emit_tile *tile = tiles[0];
  uint32_t pieces = tsr_emit_pieces(tile->lanes), left = pieces;
  for (uint32_t piece = 0; piece < pieces; ++piece) {
    uint32_t found = collect_rows(tiles, r, reduced, results[0], row, piece, list);
    reduce_list(e, r, list, found, values + (size_t)piece * r->count);
  }
  if (e->status == TSR_OK && tile->rank > 0 && reduced[tile->rank - 1]) {
    reduce_lanes(e, r, values, tile->lanes);
    left = 1;
  }
  for (uint32_t piece = 0; piece < left && e->status == TSR_OK; ++piece)
    for (uint32_t i = 0; i < r->count; ++i)
      results[i]->values[row * left + piece] = values[(size_t)piece * r->count + i];
}

void tsr_emit_reduce(tsr_emit *e) {
  const tsr_emit_tile *tiles[MAX_TUPLE] = {0};
  tsr_emit_tile *results[MAX_TUPLE] = {0};
  bool reduced[TSR_MAX_RANK] = {0};
  uint32_t extents[TSR_MAX_RANK] = {0};
  tsr_op id = e->op_id;
  const tsr_op_data *op = e->op;
  reduction r = {.count = op->operand_count, .combine = tsr_op_string(e->ir, id, "combine")};
  r.region = op->region_count > 0 ? op->regions[0] : 0;
  bool named = r.combine && tsr_emit_identity(e, r.combine, TSR_F32) && r.count == 1;
  if (r.count < 1 || r.count > MAX_TUPLE || r.count != op->result_count || (!named && !r.region)) {
    tsr_emit_fail(e, TSR_ERR_VERIFY,
                  "needs a known combine, or a region, and a result per operand");
    return;
  }
  if (!reduce_operands(e, &r, tiles) || !reduced_axes(e, tiles[0]->rank, reduced))
    return;
  for (uint32_t axis = 0; axis < tiles[0]->rank; ++axis)
    extents[axis] = reduced[axis] ? 1 : tiles[0]->extents[axis];
  for (uint32_t i = 0; i < r.count; ++i) {
    results[i] = tsr_emit_tile_new(e, r.dtypes[i], extents, tiles[0]->rank);
    if (!results[i])
      return;
  }
  LLVMValueRef *list = tsr_emit_alloc(e, (size_t)tiles[0]->rows * r.count, sizeof *list);
  for (uint32_t row = 0; list && row < results[0]->rows && e->status == TSR_OK; ++row)
    reduce_row(e, &r, tiles, reduced, results, row, list);
  for (uint32_t i = 0; i < r.count && e->status == TSR_OK; ++i) {
    tsr_dtype to = tsr_value_type(e->ir, op->results[i])->dtype;
    tsr_emit_bind(e, op->results[i], tsr_emit_convert(e, results[i], to));
  }
}
