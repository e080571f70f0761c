/* Loads that step through one line of memory side by side: the taps of a window that moves by more
 * than one element. Each of them alone would read `stride` vectors and pick its elements; together
 * they read these vectors once, at one anchor:
 *
 *   phase r     elements anchor + r + stride * lane: picked from the vectors by shuffles
 *   tap         a phase, as it is or moved by a lane or two: what comes in at the end is a phase's
 *               neighbour, or single elements where the line ends
 *
 * The group is made where its first load stands; the others find their tiles in e->early. */
#include "codegen/cpu/emit.h"
#include <string.h>

enum { MOST_STRIDE = 8, MOST_CHUNKS = 8, MOST_TAPS = 8, MOST_MOVED = 2, LEAST_LANES = 4 };
enum { LOOK_AHEAD = 96 }; /* ops: a window has a few for each product */

typedef struct line {
  const tsr_operand *operand;
  const uint32_t *extents;
  uint32_t rank, lanes, last; /* the buffer's axis that is stepped through */
  tsr_dtype dtype;
  double pad;
  int64_t stride, anchor;
  tsr_expr start; /* of the first load, without its lane */
  uint32_t chunk_count;
  uint32_t starts[MOST_CHUNKS], widths[MOST_CHUNKS]; /* machine registers of a tap */
  LLVMValueRef phases[MOST_STRIDE][MOST_CHUNKS];
} line;

typedef struct tap {
  tsr_op op;
  int64_t offset; /* from the first load's */
} tap;

typedef struct group {
  tap taps[TSR_EMIT_EARLY];
  uint32_t count;
  int64_t offsets[MOST_TAPS]; /* distinct */
  uint32_t offset_count;
} group;

/* --- what goes together --- */

static bool cut_chunks(const tsr_emit *e, line *l) {
  const uint32_t most = tsr_emit_register_lanes(e, l->dtype);
  for (uint32_t piece = 0; piece < tsr_emit_pieces(l->lanes); ++piece) {
    uint32_t start = 0, lanes = 0;
    tsr_emit_piece(l->lanes, piece, &start, &lanes);
    const uint32_t width = lanes < most ? lanes : most;
    if (width < LEAST_LANES)
      return false;
    for (uint32_t from = start; from < start + lanes; from += width) {
      if (l->chunk_count == MOST_CHUNKS)
        return false;
      l->starts[l->chunk_count] = from;
      l->widths[l->chunk_count++] = width;
    }
  }
  return true;
}

/* A single row whose lane steps through the buffer's last axis alone. */
static bool line_of(tsr_emit *e, const tsr_emit_tile *shape, double pad, line *l) {
  const tsr_operand *operand = &e->op->operands[0];
  const tsr_type_info *buffer = tsr_value_type(e->ir, operand->value);
  *l = (line){.operand = operand,
              .extents = shape->extents,
              .rank = shape->rank,
              .lanes = shape->lanes,
              .last = buffer->rank - 1,
              .dtype = buffer->dtype,
              .pad = pad};
  if (e->op->code != TSR_OP_LOAD || shape->rows != 1 || buffer->rank == 0 || shape->rank == 0 ||
      operand->subscript_count != buffer->rank || tsr_op_int(e->ir, e->op_id, "ahead", 0) != 0)
    return false;
  const tsr_expr lane = tsr_expr_lane(e->ir, shape->rank - 1);
  for (uint32_t axis = 0; axis < buffer->rank; ++axis)
    if (axis != l->last && tsr_expr_has(e->ir, operand->subscripts[axis], TSR_INDEX_LANE))
      return false;
  return tsr_expr_linear(e->ir, operand->subscripts[l->last], &lane, 1, &l->stride, &l->start) &&
         !tsr_expr_has(e->ir, l->start, TSR_INDEX_LANE) && l->stride > 1 &&
         l->stride <= MOST_STRIDE && cut_chunks(e, l);
}

/* The same load but for a number of elements further on? */
static bool is_beside(tsr_emit *e, const line *l, tsr_op id, int64_t *out_offset) {
  const tsr_op_data *op = tsr_op_get(e->ir, id);
  const double pad = tsr_op_float(e->ir, id, "pad", 0);
  if (op->code != TSR_OP_LOAD || memcmp(&pad, &l->pad, sizeof pad) != 0 ||
      tsr_op_int(e->ir, id, "ahead", 0) != 0 ||
      tsr_value_get(e->ir, op->results[0])->type != tsr_value_get(e->ir, e->op->results[0])->type)
    return false;
  const tsr_operand *a = l->operand, *b = &op->operands[0];
  if (b->value != a->value || b->subscript_count != a->subscript_count)
    return false;
  for (uint32_t axis = 0; axis < l->last; ++axis)
    if (a->subscripts[axis] != b->subscripts[axis])
      return false;
  const tsr_expr apart = tsr_expr_sub(e->ir, b->subscripts[l->last], a->subscripts[l->last]);
  return tsr_expr_is_int(e->ir, apart, out_offset);
}

/* What writes the line stands behind the group. Two values are never one memory. */
static bool leaves_line(const tsr_emit *e, const line *l, const tsr_op_data *op) {
  if (op->code == TSR_OP_STORE)
    return op->operands[op->operand_count - 1].value != l->operand->value;
  if (op->region_count > 0 || op->result_count == 0 || op->code == TSR_OP_APPEND)
    return false;
  return tsr_value_type(e->ir, op->results[0])->level == TSR_LEVEL_REG;
}

static bool take_offset(group *g, int64_t offset) {
  for (uint32_t i = 0; i < g->offset_count; ++i)
    if (g->offsets[i] == offset)
      return true;
  if (g->offset_count == MOST_TAPS)
    return false;
  g->offsets[g->offset_count++] = offset;
  return true;
}

static void find_group(tsr_emit *e, const line *l, group *g) {
  uint32_t looked = 0;
  *g = (group){.taps = {{e->op_id, 0}}, .count = 1};
  take_offset(g, 0);
  for (tsr_op id = e->op->next; id != 0 && looked < LOOK_AHEAD && g->count < TSR_EMIT_EARLY;
       id = tsr_op_get(e->ir, id)->next, ++looked) {
    int64_t offset = 0;
    if (!leaves_line(e, l, tsr_op_get(e->ir, id)))
      return;
    if (is_beside(e, l, id, &offset) && take_offset(g, offset))
      g->taps[g->count++] = (tap){id, offset};
  }
}

static int64_t floor_div(int64_t a, int64_t b) {
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

/* The number that is added to all else. */
static int64_t constant_term(const tsr_emit *e, tsr_expr expr) {
  const tsr_expr_node node = tsr_expr_get(e->ir, expr);
  int64_t number = 0;
  if (node.op == TSR_INDEX_ADD)
    return constant_term(e, node.a) + constant_term(e, node.b);
  return tsr_expr_is_int(e->ir, expr, &number) ? number : 0;
}

/* Of the taps' own places the one from which the fewest have to be moved, where the vectors hold
 * nothing that no tap reads; of equal ones that which the line is most likely aligned at. */
static bool choose_anchor(const tsr_emit *e, line *l, const group *g) {
  const int64_t at = constant_term(e, l->start);
  int64_t greatest = INT64_MIN, best = INT64_MAX;
  for (uint32_t i = 0; i < g->offset_count; ++i)
    greatest = g->offsets[i] > greatest ? g->offsets[i] : greatest;
  for (uint32_t i = 0; i < g->offset_count; ++i) {
    const int64_t anchor = g->offsets[i];
    int64_t moved = 0, far = 0;
    for (uint32_t k = 0; k < g->offset_count; ++k) {
      const int64_t lanes = floor_div(g->offsets[k] - anchor, l->stride);
      moved += lanes != 0;
      far |= lanes < -MOST_MOVED || lanes > MOST_MOVED;
    }
    const int64_t price = 2 * moved + ((at + anchor) % (int64_t)l->widths[0] != 0);
    if (anchor > greatest - l->stride + 1 || far != 0 || price >= best)
      continue;
    best = price;
    l->anchor = anchor;
  }
  return best != INT64_MAX;
}

/* --- vectors --- */

/* `lanes` neighbours, `from` elements behind the anchor. */
static LLVMValueRef neighbours(tsr_emit *e, const line *l, int64_t from, uint32_t lanes) {
  tsr_expr subscripts[TSR_MAX_RANK];
  uint32_t extents[TSR_MAX_RANK];
  memcpy(subscripts, l->operand->subscripts, (l->last + 1) * sizeof *subscripts);
  memcpy(extents, l->extents, l->rank * sizeof *extents);
  extents[l->rank - 1] = lanes;
  subscripts[l->last] = tsr_expr_add_int(e->ir, l->start, l->anchor + from);
  if (lanes > 1)
    subscripts[l->last] =
        tsr_expr_add(e->ir, subscripts[l->last], tsr_expr_lane(e->ir, l->rank - 1));
  return tsr_emit_load_line(e, l->operand, subscripts, extents, l->rank, l->pad);
}

/* Every stride-th element of `stride` vectors, each shuffle adding those of one more. */
static LLVMValueRef pick(tsr_emit *e, const line *l, const LLVMValueRef *windows, uint32_t phase,
                         uint32_t lanes) {
  const uint32_t stride = (uint32_t)l->stride;
  uint32_t *mask = tsr_emit_alloc(e, lanes, sizeof *mask), done = 0;
  LLVMValueRef result = windows[0];
  for (uint32_t next = 1; next < stride; ++next) {
    const uint32_t end = (next + 1) * lanes;
    for (uint32_t lane = 0; lane < lanes; ++lane) {
      const uint32_t element = phase + lane * stride;
      if (next == 1)
        mask[lane] = element < end ? element : 0;
      else
        mask[lane] = lane < done ? lane : element < end ? lanes + element - next * lanes : 0;
    }
    while (done < lanes && phase + done * stride < end)
      ++done;
    result = tsr_emit_shuffle(e, result, windows[next], mask, lanes);
  }
  return result;
}

static void make_phases(tsr_emit *e, line *l) {
  for (uint32_t chunk = 0; chunk < l->chunk_count; ++chunk) {
    LLVMValueRef windows[MOST_STRIDE];
    const uint32_t lanes = l->widths[chunk];
    for (uint32_t i = 0; i < l->stride; ++i)
      windows[i] = neighbours(e, l, l->stride * l->starts[chunk] + i * (int64_t)lanes, lanes);
    for (uint32_t phase = 0; phase < l->stride; ++phase)
      l->phases[phase][chunk] = pick(e, l, windows, phase, lanes);
  }
}

/* Lanes `first` and up of a phase, `count` of them, where no vector has them: as many lanes of a
 * vector from lane `to` on. */
static LLVMValueRef single_lanes(tsr_emit *e, const line *l, uint32_t phase, int64_t first,
                                 uint32_t count, uint32_t to, uint32_t lanes) {
  LLVMValueRef result = NULL;
  for (uint32_t i = 0; i < count; ++i) {
    LLVMValueRef one = neighbours(e, l, phase + l->stride * (first + i), 1);
    if (count == 1)
      return tsr_emit_splat(e, one, lanes);
    if (!result)
      result = LLVMGetPoison(tsr_emit_vector(LLVMTypeOf(one), lanes));
    result = tsr_emit_insert(e, result, one, to + i);
  }
  return result;
}

/* The lanes of another chunk as a vector of `lanes`, which are the first of it or the last. */
static LLVMValueRef end_lanes(tsr_emit *e, LLVMValueRef vector, uint32_t width, uint32_t lanes,
                              bool last) {
  uint32_t *mask = tsr_emit_alloc(e, lanes, sizeof *mask);
  if (width == lanes)
    return vector;
  for (uint32_t i = 0; i < lanes; ++i)
    mask[i] = last ? (i + width >= lanes ? i + width - lanes : 0) : i < width ? i : 0;
  return tsr_emit_shuffle(e, vector, NULL, mask, lanes);
}

/* A chunk of the phase moved by `by` lanes. */
static LLVMValueRef moved(tsr_emit *e, const line *l, uint32_t phase, uint32_t chunk, int64_t by) {
  const uint32_t lanes = l->widths[chunk], count = (uint32_t)(by < 0 ? -by : by);
  const uint32_t end = l->starts[chunk] + lanes;
  uint32_t *mask = tsr_emit_alloc(e, lanes, sizeof *mask);
  LLVMValueRef other;
  if (by == 0)
    return l->phases[phase][chunk];
  if (by < 0)
    other = chunk > 0 ? end_lanes(e, l->phases[phase][chunk - 1], l->widths[chunk - 1], lanes, true)
                      : single_lanes(e, l, phase, by, count, lanes - count, lanes);
  else
    other = end < l->lanes
                ? end_lanes(e, l->phases[phase][chunk + 1], l->widths[chunk + 1], lanes, false)
                : single_lanes(e, l, phase, end, count, 0, lanes);
  for (uint32_t i = 0; i < lanes; ++i) {
    if (by < 0)
      mask[i] = i < count ? lanes - count + i : lanes + i - count;
    else
      mask[i] = i + count < lanes ? lanes + i + count : i + count - lanes;
  }
  return tsr_emit_shuffle(e, other, l->phases[phase][chunk], mask, lanes);
}

static const tsr_emit_tile *tap_tile(tsr_emit *e, const line *l, int64_t offset) {
  tsr_emit_tile *tile = tsr_emit_tile_new(e, l->dtype, l->extents, l->rank);
  const int64_t by = floor_div(offset - l->anchor, l->stride);
  const uint32_t phase = (uint32_t)(offset - l->anchor - by * l->stride);
  for (uint32_t piece = 0, chunk = 0; piece < tile->count; ++piece) {
    LLVMValueRef parts[MOST_CHUNKS];
    uint32_t start = 0, lanes = 0, count = 0;
    tsr_emit_piece(l->lanes, piece, &start, &lanes);
    for (; chunk < l->chunk_count && l->starts[chunk] < start + lanes; ++chunk)
      parts[count++] = moved(e, l, phase, chunk, by);
    tile->values[piece] = tsr_numeric_widen(&e->math, l->dtype, tsr_emit_join(e, parts, count));
  }
  return tile;
}

static const tsr_emit_tile *take_early(tsr_emit *e) {
  for (uint32_t i = 0; i < e->early_count; ++i)
    if (e->early[i].op == e->op_id) {
      const tsr_emit_tile *tile = e->early[i].tile;
      e->early[i] = e->early[--e->early_count];
      return tile;
    }
  return NULL;
}

const tsr_emit_tile *tsr_emit_load_strided(tsr_emit *e, const tsr_emit_tile *shape, double pad) {
  const tsr_emit_tile *tiles[MOST_TAPS];
  line l;
  group g;
  const tsr_emit_tile *early = take_early(e);
  if (early)
    return early;
  if (!line_of(e, shape, pad, &l))
    return NULL;
  find_group(e, &l, &g);
  if (g.offset_count < 2 || e->early_count + g.count > TSR_EMIT_EARLY || !choose_anchor(e, &l, &g))
    return NULL;
  make_phases(e, &l);
  for (uint32_t i = 0; i < g.offset_count; ++i)
    tiles[i] = tap_tile(e, &l, g.offsets[i]);
  for (uint32_t i = 1; i < g.count; ++i)
    for (uint32_t k = 0; k < g.offset_count; ++k)
      if (g.offsets[k] == g.taps[i].offset)
        e->early[e->early_count++] = (tsr_emit_early){g.taps[i].op, tiles[k]};
  return tiles[0];
}
