/* Boxes between memories. By cp.async: pieces of 16, 8 or 4 bytes that are contiguous and aligned
 * on both sides, dealt out to the team's threads; a piece that reaches over the edge of its buffer
 * is filled with zeros by the instruction. What cp.async cannot do goes by loads and stores in the
 * same place. By TMA: one thread names a box of a tensor map, which is a parameter that the runtime
 * encodes from tsr_cuda_map. */
#include "codegen/cuda/emit.h"
#include <string.h>

static bool atom_is(const tsr_cu *e, const char *atom) {
  const char *text = tsr_op_string(e->ir, e->op_id, "atom");
  return text && !strcmp(text, atom);
}

/* --- boxes --- */

/* Subscripts without lanes name a box's first element, its axes are the buffer's last ones. */
static void box_side(tsr_cu *e, const tsr_operand *operand, uint32_t rank,
                     tsr_expr *out_subscripts) {
  uint32_t count = operand->subscript_count;
  bool has_lanes = false;
  for (uint32_t i = 0; i < count; ++i)
    has_lanes = has_lanes || tsr_expr_has(e->ir, operand->subscripts[i], TSR_INDEX_LANE);
  if (count > TSR_MAX_RANK || (count < rank && !has_lanes))
    tsr_cu_fail(e, TSR_ERR_VERIFY, "a box of rank %u in a buffer of rank %u", rank, count);
  for (uint32_t i = 0; i < count; ++i) {
    out_subscripts[i] = operand->subscripts[i];
    if (!has_lanes && i + rank >= count)
      out_subscripts[i] =
          tsr_expr_add(e->ir, out_subscripts[i], tsr_expr_lane(e->ir, i + rank - count));
  }
}

void tsr_cu_copy_box(tsr_cu *e, tsr_cu_tile *out_box, tsr_expr *out_from, tsr_expr *out_to) {
  int64_t shape[TSR_MAX_RANK];
  *out_box = (tsr_cu_tile){0};
  if (!tsr_op_ints(e->ir, e->op_id, "shape", shape, TSR_MAX_RANK, &out_box->rank))
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "copy needs a shape of numbers");
  for (uint32_t i = 0; i < out_box->rank; ++i) {
    if (shape[i] < 1 || shape[i] > UINT16_MAX)
      tsr_cu_fail(e, TSR_ERR_LIMIT, "copy of an extent of %lld", (long long)shape[i]);
    out_box->extents[out_box->rank - 1 - i] = (uint32_t)shape[i];
  }
  out_box->dtype = tsr_value_type(e->ir, e->op->operands[0].value)->dtype;
  box_side(e, &e->op->operands[0], out_box->rank, out_from);
  box_side(e, &e->op->operands[1], out_box->rank, out_to);
}

/* --- cp.async --- */

/* One side of a copy in pieces of `count` elements along the last lane. */
typedef struct piece_side {
  const tsr_operand *operand;
  const tsr_type_info *type;
  const tsr_expr *subscripts;
} piece_side;

typedef struct pieces {
  tsr_cu_tile box;
  uint32_t count, bytes;       /* elements and bytes of a piece */
  int64_t lanes[TSR_MAX_RANK]; /* extents, the last one in pieces; behind them the place in one */
  piece_side from, to;
} pieces;

static bool equal(tsr_cu *e, const pieces *p, tsr_expr a, tsr_expr b) {
  uint32_t lanes = p->box.rank + 1;
  return a == b || (tsr_expr_prove_nonnegative(e->ir, tsr_expr_sub(e->ir, a, b), p->lanes, lanes) &&
                    tsr_expr_prove_nonnegative(e->ir, tsr_expr_sub(e->ir, b, a), p->lanes, lanes));
}

/* The expression with the last lane counting pieces, at `place` (0: none) inside of the piece. */
static tsr_expr in_piece(tsr_cu *e, const pieces *p, tsr_expr expr, tsr_expr place) {
  if (p->box.rank == 0)
    return expr;
  tsr_expr lane = tsr_expr_lane(e->ir, p->box.rank - 1);
  tsr_expr at = tsr_expr_mul_int(e->ir, lane, p->count);
  if (place)
    at = tsr_expr_add(e->ir, at, place);
  return tsr_expr_substitute(e->ir, expr, &lane, &at, 1);
}

static tsr_expr side_offset(tsr_cu *e, const piece_side *side, const tsr_expr *subscripts) {
  tsr_expr offset = tsr_expr_int(e->ir, 0);
  for (uint32_t i = 0; i < side->type->rank; ++i)
    offset = tsr_expr_add(e->ir, tsr_expr_mul(e->ir, offset, side->type->dims[i]), subscripts[i]);
  return offset;
}

/* Every piece is contiguous and starts at a multiple of its size. Buffers and allocs do. */
static bool side_fits(tsr_cu *e, const pieces *p, const piece_side *side) {
  uint32_t rank = side->type->rank;
  tsr_expr starts[TSR_MAX_RANK];
  tsr_expr place = tsr_expr_lane(e->ir, p->box.rank), zero = tsr_expr_int(e->ir, 0);
  for (uint32_t i = 0; i < rank; ++i) {
    starts[i] = in_piece(e, p, side->subscripts[i], 0);
    tsr_expr moved = tsr_expr_sub(e->ir, in_piece(e, p, side->subscripts[i], place), starts[i]);
    if (p->count > 1 && !equal(e, p, moved, i + 1 == rank ? place : zero))
      return false;
  }
  return tsr_expr_divisible(e->ir, side_offset(e, side, starts), p->count);
}

static bool proven(tsr_cu *e, const pieces *p, tsr_expr expr) {
  return tsr_expr_prove_nonnegative(e->ir, expr, p->lanes, p->box.rank);
}

static bool never_outside(tsr_cu *e, const pieces *p, const piece_side *side) {
  for (uint32_t i = 0; i < side->type->rank; ++i) {
    tsr_expr at = in_piece(e, p, side->subscripts[i], 0);
    int64_t length = i + 1 == side->type->rank ? p->count : 1;
    tsr_expr last = tsr_expr_add_int(e->ir, side->type->dims[i], -length);
    if (!proven(e, p, at) || !proven(e, p, tsr_expr_sub(e->ir, last, at)))
      return false;
  }
  return true;
}

/* A piece that starts before its row would need its last bytes, which the instruction cannot. */
static bool starts_inside(tsr_cu *e, const pieces *p) {
  const piece_side *from = &p->from;
  if (from->type->rank == 0 || p->count == 1)
    return true;
  tsr_expr at = in_piece(e, p, from->subscripts[from->type->rank - 1], 0);
  return proven(e, p, at) || tsr_expr_divisible(e->ir, at, p->count);
}

static bool try_pieces(tsr_cu *e, pieces *p, uint32_t bytes) {
  uint32_t size = tsr_dtype_bits(p->box.dtype) / 8, rank = p->box.rank;
  uint32_t last = rank > 0 ? p->box.extents[0] : 1;
  if (bytes % size != 0 || last % (bytes / size) != 0 || rank >= TSR_MAX_RANK)
    return false;
  p->bytes = bytes;
  p->count = bytes / size;
  for (uint32_t lane = 0; lane < rank; ++lane)
    p->lanes[lane] = p->box.extents[rank - 1 - lane];
  if (rank > 0)
    p->lanes[rank - 1] /= p->count;
  p->lanes[rank] = p->count;
  double pad = tsr_op_float(e->ir, e->op_id, "pad", 0);
  return side_fits(e, p, &p->from) && side_fits(e, p, &p->to) && never_outside(e, p, &p->to) &&
         starts_inside(e, p) && (pad == 0 || never_outside(e, p, &p->from));
}

/* One coordinate of a piece, (piece / below) % extent with piece = r * threads + thread: the sum of
 * what r says and of what the thread says; `turn` is NULL where it cannot be told apart, and "0"
 * where the piece's r does not matter. */
typedef struct coordinate {
  const char *turn, *mine;
} coordinate;

static coordinate split_coordinate(tsr_cu *e, uint32_t below, uint32_t extent, bool outermost) {
  const uint32_t team = e->threads;
  if (extent == 1)
    return (coordinate){"0", "0"};
  if (team % below == 0) {
    uint32_t turn = team / below; /* of r */
    const char *mine = below > 1 ? tsr_cu_format(e, "thread / %u", below) : "thread";
    if (!outermost && turn % extent == 0)
      return (coordinate){"0", turn == extent ? mine : tsr_cu_format(e, "%s %% %u", mine, extent)};
    if (outermost)
      return (coordinate){tsr_cu_format(e, "r * %u", turn), mine};
    if (extent % turn == 0)
      return (coordinate){tsr_cu_format(e, "r %% %u * %u", extent / turn, turn), mine};
  } else if (below % team == 0) {
    const char *turn = tsr_cu_format(e, "r / %u", below / team);
    return (coordinate){outermost ? turn : tsr_cu_format(e, "%s %% %u", turn, extent), "0"};
  }
  const char *mine = tsr_cu_format(e, "(r * %u + thread) / %u", team, below);
  return (coordinate){NULL, outermost ? mine : tsr_cu_format(e, "%s %% %u", mine, extent)};
}

/* The place of piece r in elements, by axis. False: not all axes split. */
static bool coordinates_of(tsr_cu *e, const pieces *p, coordinate *out) {
  uint32_t below = 1, left = 1;
  bool all = true;
  for (uint32_t axis = 0; axis < p->box.rank; ++axis)
    left *= p->box.extents[axis] / (axis == 0 ? p->count : 1);
  for (uint32_t axis = 0; axis < p->box.rank; ++axis) {
    uint32_t extent = p->box.extents[axis] / (axis == 0 ? p->count : 1);
    left /= extent;
    out[axis] = split_coordinate(e, below, extent, left == 1);
    all = all && out[axis].turn;
    below *= extent;
    if (axis > 0 || p->count == 1)
      continue;
    out[0].mine = tsr_cu_format(e, "(%s) * %u", out[0].mine, p->count);
    if (out[0].turn && strcmp(out[0].turn, "0"))
      out[0].turn = tsr_cu_format(e, "(%s) * %u", out[0].turn, p->count);
  }
  return all;
}

/* Declares x0, x1 ..: the place of piece r of this thread. */
static void declare_place(tsr_cu *e, const pieces *p, const coordinate *at) {
  for (uint32_t axis = 0; axis < p->box.rank; ++axis)
    if (p->box.extents[axis] > 1)
      tsr_cu_line(e, "const int x%u = %s;", axis,
                  at[axis].turn && strcmp(at[axis].turn, "0")
                      ? tsr_cu_format(e, "%s + %s", at[axis].turn, at[axis].mine)
                      : at[axis].mine);
}

/* How many bytes of the piece exist. */
static const char *valid_bytes(tsr_cu *e, const pieces *p) {
  const piece_side *from = &p->from;
  const char *inside = "1", *valid = tsr_cu_format(e, "%u", p->bytes);
  uint32_t size = p->bytes / p->count;
  for (uint32_t i = 0; i < from->type->rank; ++i) {
    tsr_expr at = in_piece(e, p, from->subscripts[i], 0), dim = from->type->dims[i];
    int64_t length = i + 1 == from->type->rank ? p->count : 1;
    bool low = proven(e, p, at);
    bool high = proven(e, p, tsr_expr_sub(e->ir, tsr_expr_add_int(e->ir, dim, -length), at));
    if (low && high)
      continue;
    const char *bound = tsr_cu_index(e, dim, NULL);
    tsr_cu_line(e, "const tsr_s64 s%u = %s;", i, tsr_cu_index(e, from->subscripts[i], &p->box));
    if (!low)
      inside = tsr_cu_both(e, inside, tsr_cu_format(e, "s%u >= 0", i));
    if (high)
      continue;
    inside = tsr_cu_both(e, inside, tsr_cu_format(e, "s%u < %s", i, bound));
    bool whole = tsr_expr_divisible(e->ir, dim, length) && tsr_expr_divisible(e->ir, at, length);
    if (!whole)
      valid = tsr_cu_format(e, "(int)tsr_min_s64(%u, (%s - s%u) * %u)", p->bytes, bound, i, size);
  }
  return strcmp(inside, "1") ? tsr_cu_format(e, "%s ? %s : 0", inside, valid) : valid;
}

/* The element of the source where piece r starts, as a sum of what is the same for all r, declared
 * in front of the loop over r, and of steps from piece to piece, which are mostly numbers. NULL:
 * the place is no such sum. */
static const char *stepped_source(tsr_cu *e, const pieces *p, const coordinate *at) {
  const piece_side *from = &p->from;
  uint32_t rank = p->box.rank;
  tsr_expr leaves[TSR_MAX_RANK], factors[TSR_MAX_RANK], rest = 0;
  tsr_expr offset = side_offset(e, from, from->subscripts);
  for (uint32_t lane = 0; lane < rank; ++lane)
    leaves[lane] = tsr_expr_lane(e->ir, lane);
  if (!tsr_expr_linear_symbolic(e->ir, offset, leaves, rank, factors, &rest))
    return NULL;
  tsr_cu_tile start = p->box;
  const char *name = tsr_cu_temporary(e, "start"), *place = name;
  for (uint32_t axis = 0; axis < rank; ++axis)
    start.at[axis] = at[axis].mine;
  tsr_cu_line(e, "const tsr_s64 %s = %s;", name, tsr_cu_index(e, offset, &start));
  for (uint32_t axis = 0; axis < rank; ++axis)
    if (p->box.extents[axis] > 1 && strcmp(at[axis].turn, "0"))
      place = tsr_cu_format(e, "%s + (tsr_s64)(%s) * %s", place, at[axis].turn,
                            tsr_cu_index(e, factors[rank - 1 - axis], NULL));
  return place;
}

static int64_t swizzle_of(const tsr_cu *e, tsr_value buffer) {
  const tsr_value_data *data = tsr_value_get(e->ir, buffer);
  return data->role == TSR_ROLE_RESULT ? tsr_op_int(e->ir, data->def, "swizzle", 0) : 0;
}

/* The address of the piece in shared memory. What of its place is a multiple of the swizzle's
 * pattern stays outside of it, so that the rest is the same in every turn. */
static const char *target_address(tsr_cu *e, const pieces *p) {
  const piece_side *to = &p->to;
  tsr_expr leaves[TSR_MAX_RANK], rest = 0, offset = side_offset(e, to, to->subscripts);
  int64_t factors[TSR_MAX_RANK], size = p->bytes / p->count;
  int64_t swizzle = swizzle_of(e, to->operand->value);
  const char *base = e->slots[to->operand->value].buffer, *inner = NULL;
  uint32_t rank = p->box.rank;
  for (uint32_t lane = 0; lane < rank; ++lane)
    leaves[lane] = tsr_expr_lane(e->ir, lane);
  bool linear = tsr_expr_linear(e->ir, offset, leaves, rank, factors, &rest);
  if (swizzle > 0)
    linear = linear && tsr_expr_divisible(e->ir, tsr_expr_mul_int(e->ir, rest, size), 8 * swizzle);
  for (uint32_t lane = 0; linear && lane < rank; ++lane) {
    if (factors[lane] == 0 || p->box.extents[rank - 1 - lane] == 1)
      continue;
    const char *term =
        tsr_cu_format(e, "x%u * %lld", rank - 1 - lane, (long long)(factors[lane] * size));
    inner = inner ? tsr_cu_format(e, "%s + %s", inner, term) : term;
  }
  if (!linear) {
    rest = tsr_expr_int(e->ir, 0);
    inner = tsr_cu_format(e, "%s * %lld", tsr_cu_index(e, offset, &p->box), (long long)size);
  }
  if (!inner)
    inner = "0";
  if (swizzle > 0)
    inner = tsr_cu_format(e, "tsr_swizzle_%lld((tsr_u32)(%s))", (long long)swizzle, inner);
  const char *outer = tsr_cu_index(e, tsr_expr_mul_int(e->ir, rest, size), NULL);
  return tsr_cu_format(e, "(tsr_u8 *)%s + %s + %s", base, outer, inner);
}

/* False: cp.async cannot do it. */
static bool find_pieces(tsr_cu *e, pieces *p, tsr_expr *from, tsr_expr *to) {
  const tsr_operand *operands = e->op->operands;
  *p = (pieces){0};
  tsr_cu_copy_box(e, &p->box, from, to);
  p->from = (piece_side){&operands[0], tsr_value_type(e->ir, operands[0].value), from};
  p->to = (piece_side){&operands[1], tsr_value_type(e->ir, operands[1].value), to};
  if (!atom_is(e, "cp.async") || p->from.type->level != TSR_LEVEL_GLOBAL ||
      p->to.type->level == TSR_LEVEL_GLOBAL || tsr_dtype_bits(p->box.dtype) % 8 != 0 ||
      e->hazard[operands[0].value] || e->hazard[operands[1].value])
    return false;
  return try_pieces(e, p, 16) || try_pieces(e, p, 8) || try_pieces(e, p, 4);
}

static void copy_piece(tsr_cu *e, const pieces *p, const char *source) {
  const char *valid = valid_bytes(e, p);
  if (!source)
    source = tsr_cu_index(e, side_offset(e, &p->from, p->from.subscripts), &p->box);
  tsr_cu_line(e, "tsr_copy_async_%u(%s, %s + (%s), %s);", p->bytes, target_address(e, p),
              e->slots[p->from.operand->value].buffer, source, valid);
}

static void copy_pieces(tsr_cu *e, const pieces *p) {
  uint64_t count = tsr_cu_elements(&p->box) / p->count;
  uint64_t turns = (count + e->threads - 1) / e->threads;
  coordinate at[TSR_MAX_RANK];
  bool splits = coordinates_of(e, p, at), guarded = count % e->threads != 0;
  const char *source = splits ? stepped_source(e, p, at) : NULL;
  tsr_cu_line(e, "TSR_UNROLL");
  tsr_cu_line(e, "for (int r = 0; r < %llu; ++r) {", (unsigned long long)turns);
  if (guarded)
    tsr_cu_line(e, "if (r * %u + thread < %llu) {", e->threads, (unsigned long long)count);
  declare_place(e, p, at);
  copy_piece(e, p, source);
  if (guarded)
    tsr_cu_line(e, "}");
  tsr_cu_line(e, "}");
}

/* Pieces whose place is in registers: dealt out as the index tiles lie. */
static void copy_gathered(tsr_cu *e, pieces *p) {
  tsr_cu_begin_runs(e, &p->box, true, 0, p->count);
  const char *here = tsr_cu_both(e, tsr_cu_owner(e, &p->box), tsr_cu_inside(e, &p->box));
  bool always = !strcmp(here, "1");
  if (!always)
    tsr_cu_line(e, "if (%s) {", here);
  copy_piece(e, p, NULL);
  if (!always)
    tsr_cu_line(e, "}");
  tsr_cu_end(e);
}

/* --- index tiles --- */

enum { MOST_TILES = 8 };

static uint32_t tiles_in(const tsr_cu *e, tsr_expr expr, tsr_value *out_tiles, uint32_t count) {
  tsr_expr_node node = tsr_expr_get(e->ir, expr);
  if (node.op == TSR_INDEX_VALUE) {
    const tsr_type_info *type = tsr_value_type(e->ir, node.value);
    bool tile = type->level == TSR_LEVEL_REG && type->rank > 0;
    for (uint32_t i = 0; i < count; ++i)
      tile = tile && out_tiles[i] != node.value;
    if (tile && count < MOST_TILES)
      out_tiles[count++] = node.value;
  } else if (node.op != TSR_INDEX_INT && node.op != TSR_INDEX_DIM && node.op != TSR_INDEX_LANE) {
    count = tiles_in(e, node.a, out_tiles, count);
    count = tiles_in(e, node.b, out_tiles, count);
  }
  return count;
}

static uint32_t index_tiles(const tsr_cu *e, const tsr_op_data *op, tsr_value *out_tiles) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < 2; ++i)
    for (uint32_t s = 0; s < op->operands[i].subscript_count; ++s)
      count = tiles_in(e, op->operands[i].subscripts[s], out_tiles, count);
  return count;
}

/* Of the op being emitted. */
static tsr_cu_layout gathered_layout(tsr_cu *e) {
  pieces p;
  tsr_expr from[TSR_MAX_RANK], to[TSR_MAX_RANK];
  if (find_pieces(e, &p, from, to))
    return tsr_cu_default_layout(e->threads, &p.box, p.count);
  return tsr_cu_box_layout(e, &p.box, from, to);
}

bool tsr_cu_copy_wants(tsr_cu *e, tsr_op id, tsr_cu_layout *out_layout) {
  const tsr_op_data *op = e->op;
  const tsr_op outer = e->op_id;
  tsr_value tiles[MOST_TILES];
  e->op = tsr_op_get(e->ir, id);
  e->op_id = id;
  bool any = !atom_is(e, "tma") && index_tiles(e, e->op, tiles) > 0;
  if (any)
    *out_layout = gathered_layout(e);
  e->op = op;
  e->op_id = outer;
  return any;
}

static void copy_by_threads(tsr_cu *e) {
  pieces p;
  tsr_expr from[TSR_MAX_RANK], to[TSR_MAX_RANK];
  tsr_value tiles[MOST_TILES];
  tsr_cu_slot kept[MOST_TILES];
  uint32_t count = index_tiles(e, e->op, tiles);
  bool async = find_pieces(e, &p, from, to);
  if (count > 0)
    p.box.layout = gathered_layout(e);
  if (e->threads & (e->threads - 1) && (count > 0 || !async))
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "a copy by %u threads; powers of two have code",
                e->threads);
  tsr_cu_line(e, "{");
  for (uint32_t i = 0; i < count; ++i) {
    kept[i] = e->slots[tiles[i]];
    if (kept[i].tile)
      e->slots[tiles[i]].tile = tsr_cu_relayout(e, kept[i].tile, &p.box.layout);
  }
  if (!async)
    tsr_cu_copy_plain(e);
  else if (count > 0)
    copy_gathered(e, &p);
  else
    copy_pieces(e, &p);
  for (uint32_t i = 0; i < count; ++i)
    e->slots[tiles[i]] = kept[i];
  tsr_cu_line(e, "}");
}

/* --- tensor maps --- */

static uint32_t argument_number(tsr_cu *e, tsr_value buffer) {
  for (uint32_t i = 0; i < e->argument_count; ++i)
    if (e->arguments[i] == buffer)
      return i;
  tsr_cu_fail(e, TSR_ERR_VERIFY, "a copy by tma is from or to an argument of the kernel");
  return 0;
}

static bool same_map(const tsr_cuda_map *a, const tsr_cuda_map *b) {
  return a->argument == b->argument && a->dtype == b->dtype && a->rank == b->rank &&
         a->swizzle == b->swizzle && !memcmp(a->dims, b->dims, sizeof a->dims) &&
         !memcmp(a->box, b->box, sizeof a->box);
}

static uint32_t add_map(tsr_cu *e, const tsr_cuda_map *map) {
  for (uint32_t i = 0; i < e->map_count; ++i)
    if (same_map(&e->maps[i], map))
      return i;
  if (e->map_count == e->map_capacity) {
    e->map_capacity = e->map_capacity ? 2 * e->map_capacity : 4;
    tsr_cuda_map *grown = tsr_cu_alloc(e, e->map_capacity, sizeof *grown);
    if (e->map_count)
      memcpy(grown, e->maps, e->map_count * sizeof *grown);
    e->maps = grown;
  }
  e->maps[e->map_count] = *map;
  return e->map_count++;
}

/* A box of a buffer as TMA takes it: at most five axes, outermost first, and where it starts. */
typedef struct tma_box {
  tsr_cuda_map map;
  tsr_expr start[5];
} tma_box;

/* Two leading axes of which the box takes one place become one. Only a place inside of the second
 * axis stays what it was. */
static bool merge_leading(tsr_cu *e, tsr_expr *dims, tsr_expr *start, uint32_t *box,
                          uint32_t *rank) {
  for (uint32_t i = 0; i + 1 < *rank; ++i) {
    tsr_expr after = tsr_expr_sub(e->ir, tsr_expr_add_int(e->ir, dims[i + 1], -1), start[i + 1]);
    if (box[i] != 1 || box[i + 1] != 1 ||
        !tsr_expr_prove_nonnegative(e->ir, start[i + 1], NULL, 0) ||
        !tsr_expr_prove_nonnegative(e->ir, after, NULL, 0))
      continue;
    start[i] = tsr_expr_add(e->ir, tsr_expr_mul(e->ir, start[i], dims[i + 1]), start[i + 1]);
    dims[i] = tsr_expr_mul(e->ir, dims[i], dims[i + 1]);
    for (uint32_t k = i + 1; k + 1 < *rank; ++k) {
      dims[k] = dims[k + 1];
      start[k] = start[k + 1];
      box[k] = box[k + 1];
    }
    --*rank;
    return true;
  }
  return false;
}

static void check_strides(tsr_cu *e, const tsr_cuda_map *map) {
  int64_t size = tsr_dtype_bits(map->dtype) / 8;
  tsr_expr stride = tsr_expr_int(e->ir, size);
  for (uint32_t i = map->rank; i-- > 1;) {
    int64_t bytes = 0;
    stride = tsr_expr_mul(e->ir, stride, map->dims[i]);
    if (tsr_expr_is_int(e->ir, stride, &bytes) && bytes % 16 != 0)
      tsr_cu_fail(e, TSR_ERR_UNSUPPORTED,
                  "no tensor map: axis %u has a stride of %lld bytes, TMA takes multiples of 16",
                  i - 1, (long long)bytes);
  }
}

static void check_box(tsr_cu *e, const tsr_cuda_map *map) {
  int64_t row = (int64_t)map->box[map->rank - 1] * tsr_dtype_bits(map->dtype) / 8;
  for (uint32_t i = 0; i < map->rank; ++i)
    if (map->box[i] > 256)
      tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "no tensor map: a box of %u; TMA takes 256 along an axis",
                  map->box[i]);
  if (row % 16 != 0)
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED,
                "no tensor map: rows of %lld bytes, TMA takes multiples of 16", (long long)row);
  if (map->swizzle && row != map->swizzle)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "rows of %lld bytes in a buffer with swizzle = %u",
                (long long)row, map->swizzle);
}

static tma_box make_box(tsr_cu *e, const tsr_operand *global, const tsr_operand *shared) {
  const tsr_type_info *type = tsr_value_type(e->ir, global->value);
  tsr_expr dims[TSR_MAX_RANK], start[TSR_MAX_RANK];
  uint32_t box[TSR_MAX_RANK], rank = type->rank, count = 0;
  int64_t shape[TSR_MAX_RANK];
  tma_box made = {.map = {.argument = argument_number(e, global->value),
                          .dtype = type->dtype,
                          .swizzle = (uint32_t)swizzle_of(e, shared->value)}};
  if (!tsr_op_ints(e->ir, e->op_id, "shape", shape, TSR_MAX_RANK, &count) || count > rank ||
      rank == 0 || global->subscript_count != rank)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "the box does not fit its buffer");
  for (uint32_t i = 0; i < rank; ++i) {
    dims[i] = type->dims[i];
    start[i] = global->subscripts[i];
    int64_t extent = i + count >= rank ? shape[i + count - rank] : 1;
    if (extent < 1 || extent > UINT16_MAX)
      tsr_cu_fail(e, TSR_ERR_LIMIT, "copy of an extent of %lld", (long long)extent);
    box[i] = (uint32_t)extent;
  }
  while (rank > 5 && merge_leading(e, dims, start, box, &rank)) {
  }
  if (rank > 5)
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "no tensor map: %u axes, TMA takes 5", rank);
  made.map.rank = rank;
  memcpy(made.map.dims, dims, rank * sizeof *dims);
  memcpy(made.map.box, box, rank * sizeof *box);
  memcpy(made.start, start, rank * sizeof *start);
  check_strides(e, &made.map);
  check_box(e, &made.map);
  return made;
}

/* TMA writes and reads boxes without gaps, at multiples of the swizzle's pattern. */
static const char *shared_place(tsr_cu *e, const tsr_operand *operand) {
  const tsr_type_info *type = tsr_value_type(e->ir, operand->value);
  const char *base = e->slots[operand->value].buffer;
  int64_t shape[TSR_MAX_RANK], size = tsr_dtype_bits(type->dtype) / 8;
  int64_t swizzle = swizzle_of(e, operand->value);
  uint32_t count = 0;
  tsr_op_ints(e->ir, e->op_id, "shape", shape, TSR_MAX_RANK, &count);
  if (!base || operand->subscript_count != type->rank || count > type->rank)
    return tsr_cu_fail(e, TSR_ERR_VERIFY, "the box does not fit its scratch");
  bool inner = false;
  tsr_expr offset = tsr_expr_int(e->ir, 0);
  for (uint32_t i = 0; i < type->rank; ++i) {
    int64_t extent = i + count >= type->rank ? shape[i + count - type->rank] : 1;
    if (inner && !tsr_expr_equals_int(e->ir, type->dims[i], extent))
      return tsr_cu_fail(e, TSR_ERR_VERIFY, "a copy by tma needs its box without gaps in scratch");
    inner = inner || extent > 1;
    offset =
        tsr_expr_add(e->ir, tsr_expr_mul(e->ir, offset, type->dims[i]), operand->subscripts[i]);
  }
  if (!tsr_expr_divisible(e->ir, tsr_expr_mul_int(e->ir, offset, size),
                          swizzle ? 8 * swizzle : 128))
    return tsr_cu_fail(e, TSR_ERR_VERIFY,
                       "a copy by tma needs a place in scratch at a multiple of %lld bytes",
                       (long long)(swizzle ? 8 * swizzle : 128));
  return tsr_cu_format(e, "%s + %s", base, tsr_cu_index(e, offset, NULL));
}

/* Coordinates are written innermost first. */
static const char *coordinates(tsr_cu *e, const tma_box *box) {
  const char *text = "";
  for (uint32_t i = box->map.rank; i-- > 0;)
    text = tsr_cu_format(e, "%s, (int)%s", text, tsr_cu_index(e, box->start[i], NULL));
  return text;
}

static void copy_tma(tsr_cu *e) {
  const tsr_operand *operands = e->op->operands;
  bool load = e->op->operand_count == 3, all = false;
  if (e->target->capability < 90)
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "copies by tma need sm_90");
  tma_box box = make_box(e, &operands[load ? 0 : 1], &operands[load ? 1 : 0]);
  uint32_t number = add_map(e, &box.map), rank = box.map.rank;
  const char *place = shared_place(e, &operands[load ? 1 : 0]), *at = coordinates(e, &box);
  const char *mask = tsr_cu_multicast(e, &all);
  if (!e->single)
    tsr_cu_line(e, "if (thread == 0) {");
  if (!load) {
    tsr_cu_line(e, "tsr_tma_store_%ud(&map%u, %s%s);", rank, number, place, at);
    tsr_cu_line(e, "tsr_tma_store_commit();");
  } else if (mask && e->cluster > 1)
    tsr_cu_line(e, "tsr_tma_load_%ud_multicast(%s, &map%u, %s, %s%s);", rank, place, number,
                tsr_cu_mbarrier_operand(e, 2), mask, at);
  else
    tsr_cu_line(e, "tsr_tma_load_%ud(%s, &map%u, %s%s);", rank, place, number,
                tsr_cu_mbarrier_operand(e, 2), at);
  if (!e->single)
    tsr_cu_line(e, "}");
}

void tsr_cu_copy(tsr_cu *e) {
  if (atom_is(e, "tma")) {
    copy_tma(e);
    return;
  }
  copy_by_threads(e);
  if (atom_is(e, "cp.async") && e->counts_copies && e->ahead == 0)
    tsr_cu_line(e, "tsr_copy_async_commit();");
}
