/* Packing at run time: a task copies its block of an operand into l2 scratch, in the order in which
 * the register tiles read it. Copies are whole vectors along whatever axis is contiguous in the
 * source; where that is a red axis, square tiles are turned on the way. */
#include "passes/tile/contract_dot.h"
#include "passes/tile/contract_parts.h"
#include "passes/tile/default.h"
#include <string.h>

enum { ABREAST = 4, ROW_END = 64, TURN = 16, MAX_COPY_LANES = 64, UNROLLED_TAPS = 4 };

/* A copy under construction: loops over the depth axes around one copied tile. */
typedef struct packing {
  tsr_contract_emit *e;
  const tsr_contract_operand *operand;
  const tsr_body_stored *to;
  int turned;         /* depth axis on the tile's rows, or -1 */
  int lengthwise;     /* depth axis on the lanes, or -1 */
  bool grouped;       /* b's copy, of an atom with k-groups */
  tsr_expr group_at;  /* position of the tile's first row along the innermost axis */
  int64_t group_left; /* rows that the axis has from there on, where they are less than the tile's;
                         the others are zeros */
  int64_t tap;        /* step of the contraction's tap that flat rows are copied for */
  int64_t abreast;    /* panels that are copied together, */
  tsr_expr panel, local; /* the first of all and of the block */
  void (*inside)(struct packing *p);
} packing;

/* The flat depth at which the axes stand. */
static void bind_depth(tsr_contract_emit *e) {
  if (e->atom != NULL)
    tsr_contract_bind_leaf(&e->body, e->depth_index, tsr_body_expr(&e->body, e->depth_axes));
}

/* What is stored of a tile: itself, or its parts. */
static int pieces_of(packing *p, tsr_value tile, tsr_value out[TSR_BF16_PARTS]) {
  out[0] = tile;
  if (!tsr_contract_splits(p->e))
    return 1;
  tsr_contract_guard(p->e, tile);
  tsr_contract_split(p->e, tile, out);
  return TSR_BF16_PARTS;
}

static int piece_count(const packing *p) {
  return tsr_contract_splits(p->e) ? TSR_BF16_PARTS : 1;
}

static void bind_piece(packing *p, int piece) {
  if (tsr_contract_splits(p->e))
    tsr_contract_bind_leaf(&p->e->body, p->e->part, tsr_expr_int(p->e->ir, piece));
}

static void store_piece(packing *p, tsr_value piece) {
  tsr_body *body = &p->e->body;
  tsr_ir *ir = p->e->ir;
  tsr_expr subs[TSR_NEST_AXES + 2];
  unsigned lanes = 0;
  for (uint32_t d = 0; d < p->to->rank; d++) {
    subs[d] = tsr_body_expr(body, p->to->subs[d]);
    lanes |= tsr_body_lanes(body, subs[d]);
  }
  const tsr_value tile = tsr_body_spread(body, piece, lanes & 1 ? body->extents[0] : 1,
                                         lanes & 2 ? body->extents[1] : 1);
  tsr_op store = tsr_op_append(ir, body->region, TSR_OP_STORE);
  tsr_op_add_operand(ir, store, tile);
  tsr_op_add_element(ir, store, p->to->buffer, subs, p->to->rank);
}

static void store_tile(packing *p) {
  tsr_body *body = &p->e->body;
  tsr_value pieces[TSR_BF16_PARTS];
  const uint32_t mark = tsr_body_mark(body);
  bind_depth(p->e);
  const int count = pieces_of(p, tsr_body_value(body, p->operand->value), pieces);
  for (int i = 0; i < count; i++) {
    bind_piece(p, i);
    store_piece(p, pieces[i]);
  }
  tsr_body_release(body, mark);
}

/* --- groups of depths side by side --- */

/* Rows [from, from + group) of the tile, column n's to places n * group and up: the copy's last
 * axis. */
static void store_group(packing *p, tsr_value tile, int64_t from, int64_t rows, int64_t lanes) {
  const tsr_contract_emit *e = p->e;
  tsr_body *body = &p->e->body;
  tsr_ir *ir = e->ir;
  tsr_expr subs[TSR_NEST_AXES + 2];
  const uint32_t axis = e->c->depth[e->c->depth_count - 1], last = p->to->rank - 1;
  if (rows > e->group) {
    const tsr_expr start[2] = {tsr_expr_int(ir, from), tsr_expr_int(ir, 0)};
    tsr_op slice = tsr_op_append(ir, body->region, TSR_OP_TILE_SLICE);
    tsr_op_add_operand(ir, slice, tile);
    tsr_op_set_exprs(ir, slice, "start", start, 2);
    tile = tsr_op_add_result(ir, slice, tsr_tile_type(ir, p->to->dtype, e->group, lanes));
  }
  const tsr_expr before = body->to[axis];
  tsr_body_bind(body, axis, tsr_expr_add_int(ir, p->group_at, from));
  bind_depth(p->e);
  for (uint32_t d = 0; d < p->to->rank; d++)
    subs[d] = tsr_body_expr(body, p->to->subs[d]);
  if (e->group > 1)
    subs[last] = tsr_expr_add(ir, subs[last], tsr_expr_lane(ir, 0));
  tsr_body_bind(body, axis, before);
  tsr_op store = tsr_op_append(ir, body->region, TSR_OP_STORE);
  tsr_op_add_operand(ir, store, tile);
  tsr_op_add_element(ir, store, p->to->buffer, subs, p->to->rank);
}

/* A tile of whole groups, one depth per row. */
static void store_groups(packing *p) {
  tsr_body *body = &p->e->body;
  tsr_ir *ir = p->e->ir;
  const int64_t rows = body->extents[0], lanes = body->extents[1], left = p->group_left;
  const uint32_t mark = tsr_body_mark(body);
  tsr_value tile, pieces[TSR_BF16_PARTS];
  int count = piece_count(p);
  if (left <= 0) {
    tile = tsr_tile_const(ir, body->region, p->to->dtype, 0, rows, lanes);
    for (int i = 0; i < count; i++)
      pieces[i] = tile;
  } else {
    tile = tsr_body_spread(body, tsr_body_value(body, p->operand->value), rows, lanes);
    if (left < rows) {
      const tsr_dtype dtype = tsr_contract_splits(p->e) ? TSR_F32 : p->to->dtype;
      const tsr_value zero = tsr_tile_const(ir, body->region, dtype, 0, rows, lanes);
      const tsr_expr inside =
          tsr_expr_binary(ir, TSR_INDEX_LT, tsr_expr_lane(ir, 0), tsr_expr_int(ir, left));
      tile = tsr_tile_select(ir, body->region,
                             tsr_tile_condition(ir, body->region, inside, rows, lanes), tile, zero);
    }
    count = pieces_of(p, tile, pieces);
  }
  for (int i = 0; i < count; i++) {
    bind_piece(p, i);
    for (int64_t from = 0; from < rows; from += p->e->group)
      store_group(p, pieces[i], from, rows, lanes);
  }
  tsr_body_release(body, mark);
}

static void depth_level(packing *p, uint32_t level);

static void group_rows(packing *p, uint32_t level, tsr_expr at, int64_t rows, int64_t left) {
  tsr_body *body = &p->e->body;
  const int64_t saved = body->extents[0];
  const uint32_t axis = p->e->c->depth[level], mark = tsr_body_mark(body);
  body->extents[0] = rows;
  p->group_left = left;
  p->group_at = at;
  tsr_body_bind(body, axis, tsr_expr_add(p->e->ir, at, tsr_expr_lane(p->e->ir, 0)));
  depth_level(p, level + 1);
  tsr_body_bind(body, axis, tsr_expr_int(p->e->ir, 0));
  tsr_body_release(body, mark);
  body->extents[0] = saved;
}

/* The innermost axis in whole groups; the end of what the axis is padded to is zeros. */
static void grouped_level(packing *p, uint32_t level) {
  tsr_contract_emit *e = p->e;
  tsr_body *body = &e->body;
  tsr_ir *ir = e->ir;
  const tsr_nest_axis *axis = &e->nest->axes[e->c->depth[level]];
  const bool passes = level == 0 && e->depth_block < e->depth_total;
  const int64_t size = passes ? e->depth_block : axis->size,
                step = p->turned >= 0 ? TURN : e->group;
  const int64_t padded = up_to(size, e->unit);
  const tsr_expr first = passes ? e->depth_first : tsr_expr_int(ir, 0);
  const tsr_region outer = body->region;
  if (size / step > 0) {
    tsr_tile_loop loop =
        tsr_tile_for(ir, outer, tsr_expr_int(ir, 0), tsr_expr_int(ir, size / step), NULL, 0);
    body->region = loop.body;
    group_rows(p, level, tsr_expr_add(ir, first, tsr_expr_mul_int(ir, loop.index, step)), step,
               step);
    body->region = outer;
  }
  int64_t at = size / step * step;
  for (; at < size; at += e->group)
    group_rows(p, level, tsr_expr_add_int(ir, first, at), e->group, size - at);
  if (at >= padded)
    return;
  tsr_tile_loop zeros = tsr_tile_for(ir, outer, tsr_expr_int(ir, at / e->group),
                                     tsr_expr_int(ir, padded / e->group), NULL, 0);
  body->region = zeros.body;
  group_rows(p, level, tsr_expr_add(ir, first, tsr_expr_mul_int(ir, zeros.index, e->group)),
             e->group, 0);
  body->region = outer;
}

/* Steps of an axis in one pass: the outermost is shared out among the passes. */
static int64_t level_size(const packing *p, uint32_t level) {
  const tsr_contract_emit *e = p->e;
  if (level == 0 && e->depth_flat && e->depth_block < e->depth_total)
    return e->depth_block / e->depth_outer;
  return e->nest->axes[e->c->depth[level]].size;
}

static void bound_level(packing *p, uint32_t level, tsr_expr position) {
  tsr_body *body = &p->e->body;
  if (level == 0 && p->e->depth_flat)
    position = tsr_expr_add(p->e->ir, position, p->e->depth_first);
  const uint32_t mark = tsr_body_mark(body), axis = p->e->c->depth[level];
  tsr_body_bind(body, axis, position);
  depth_level(p, level + 1);
  tsr_body_bind(body, axis, tsr_expr_int(p->e->ir, 0));
  tsr_body_release(body, mark);
}

/* Zeros behind the end of a row's innermost axis, up to whole groups. */
static void zero_end(packing *p, uint32_t level, int64_t size) {
  tsr_contract_emit *e = p->e;
  tsr_body *body = &e->body;
  const int64_t end = up_to(size, e->unit) - size;
  const uint32_t axis = e->c->depth[level];
  tsr_expr subs[TSR_NEST_AXES + 2];
  if (end == 0)
    return;
  tsr_expr at = tsr_expr_int(e->ir, size);
  if (end > 1)
    at = tsr_expr_add(e->ir, at, tsr_expr_lane(e->ir, 1));
  const tsr_expr before = body->to[axis];
  const tsr_value zeros = tsr_tile_const(e->ir, body->region, p->to->dtype, 0, 1, end);
  tsr_body_bind(body, axis, at);
  bind_depth(e);
  for (int i = 0; i < piece_count(p); i++) {
    bind_piece(p, i);
    for (uint32_t d = 0; d < p->to->rank; d++)
      subs[d] = tsr_body_expr(body, p->to->subs[d]);
    tsr_op store = tsr_op_append(e->ir, body->region, TSR_OP_STORE);
    tsr_op_add_operand(e->ir, store, zeros);
    tsr_op_add_element(e->ir, store, p->to->buffer, subs, p->to->rank);
  }
  tsr_body_bind(body, axis, before);
}

/* An axis taken `step` at a time on tile axis `lane`; the rest has its exact extent. */
static void stepped_level(packing *p, uint32_t level, int64_t step, unsigned lane) {
  tsr_body *body = &p->e->body;
  tsr_ir *ir = p->e->ir;
  const int64_t size = level_size(p, level);
  const int64_t saved = body->extents[lane];
  const tsr_region outer = body->region;
  if (size / step > 0) {
    tsr_tile_loop loop =
        tsr_tile_for(ir, outer, tsr_expr_int(ir, 0), tsr_expr_int(ir, size / step), NULL, 0);
    body->region = loop.body;
    body->extents[lane] = step;
    bound_level(p, level,
                tsr_expr_add(ir, tsr_expr_mul_int(ir, loop.index, step), tsr_expr_lane(ir, lane)));
    body->region = outer;
  }
  const int64_t rest = size % step;
  if (rest > 0) {
    body->extents[lane] = rest;
    tsr_expr at = tsr_expr_int(ir, size - rest);
    if (rest > 1)
      at = tsr_expr_add(ir, at, tsr_expr_lane(ir, lane));
    bound_level(p, level, at);
  }
  body->extents[lane] = saved;
  if (p->e->atom != NULL && lane == 1)
    zero_end(p, level, size);
}

static void depth_level(packing *p, uint32_t level) {
  tsr_body *body = &p->e->body;
  tsr_ir *ir = p->e->ir;
  const uint32_t levels = tsr_contract_flat_axes(p->e);
  if (level == levels) {
    p->inside(p);
    return;
  }
  if (p->grouped && level + 1 == p->e->c->depth_count) {
    grouped_level(p, level);
    return;
  }
  const uint32_t axis = p->e->c->depth[level];
  const int64_t size = level_size(p, level);
  if ((int)axis == p->turned) {
    stepped_level(p, level, TURN, 0);
    return;
  }
  if ((int)axis == p->lengthwise) {
    stepped_level(p, level, MAX_COPY_LANES, 1);
    return;
  }
  /* Taps of a padded window one by one: which lanes are outside is then known at compile time. */
  if (level + 1 == levels && p->operand->checked && size <= UNROLLED_TAPS) {
    for (int64_t i = 0; i < size; i++)
      bound_level(p, level, tsr_expr_int(ir, i));
    return;
  }
  const tsr_region outer = body->region;
  tsr_tile_loop loop =
      tsr_tile_for(ir, outer, tsr_expr_int(ir, 0), tsr_expr_int(ir, size), NULL, 0);
  body->region = loop.body;
  bound_level(p, level, loop.index);
  body->region = outer;
}

static tsr_value scratch(tsr_contract_emit *e, tsr_dtype dtype, const tsr_expr *dims,
                         uint32_t rank) {
  tsr_op op = tsr_op_append(e->ir, e->body.region, TSR_OP_ALLOC);
  return tsr_op_add_result(e->ir, op, tsr_type_make(e->ir, TSR_LEVEL_L2, dtype, dims, rank));
}

static tsr_body_stored *new_stored(tsr_contract_emit *e, const tsr_contract_operand *operand) {
  tsr_body_stored *stored = &e->body.stored[e->stored_count++];
  *stored = (tsr_body_stored){.value = operand->value};
  stored->dtype = tsr_contract_splits(e) ? TSR_BF16 : tsr_value_type(e->ir, operand->value)->dtype;
  return stored;
}

static void add_dim(tsr_body_stored *stored, tsr_expr *dims, tsr_expr sub, tsr_expr extent) {
  dims[stored->rank] = extent;
  stored->subs[stored->rank++] = sub;
}

/* The parts of what is split come first. */
static void add_parts(tsr_contract_emit *e, tsr_body_stored *stored, tsr_expr *dims) {
  if (tsr_contract_splits(e))
    add_dim(stored, dims, e->part, tsr_expr_int(e->ir, e->parts));
}

/* Groups of depths, and the axis of the columns' groups behind them: `column` of `columns`. */
static void add_groups(tsr_contract_emit *e, tsr_body_stored *stored, tsr_expr *dims,
                       tsr_expr column, int64_t columns) {
  tsr_ir *ir = e->ir;
  const tsr_expr first = tsr_expr_mul_int(ir, e->depth_first, e->depth_outer);
  const tsr_expr depth = tsr_expr_sub(ir, e->depth_index, first);
  add_dim(stored, dims, tsr_expr_floordiv_int(ir, depth, e->group),
          tsr_expr_int(ir, e->depth_block / e->group));
  add_dim(stored, dims,
          tsr_expr_add(ir, tsr_expr_mul_int(ir, column, e->group),
                       tsr_expr_mod_int(ir, depth, e->group)),
          tsr_expr_int(ir, columns * e->group));
}

static void add_depth(tsr_contract_emit *e, tsr_body_stored *stored, tsr_expr *dims) {
  if (e->depth_flat) {
    const tsr_expr first = tsr_expr_mul_int(e->ir, e->depth_first, e->depth_outer / e->taps);
    add_dim(stored, dims, tsr_expr_sub(e->ir, e->depth_index, first),
            tsr_expr_int(e->ir, e->depth_block / e->taps));
    return;
  }
  for (uint32_t i = 0; i < e->c->depth_count; i++) {
    const tsr_nest_axis *axis = &e->nest->axes[e->c->depth[i]];
    add_dim(stored, dims, axis->leaf, axis->extent);
  }
}

/* --- panels: [panel, depth..., lane] --- */

static void panel_part(packing *p, tsr_expr panel, tsr_expr local, int64_t offset, int64_t extent) {
  tsr_contract_emit *e = p->e;
  tsr_contract_side part = e->n;
  tsr_body *body = &e->body;
  const uint32_t mark = tsr_body_mark(body);
  tsr_contract_bind(e, &part, panel, local, extent);
  if (offset > 0) {
    const uint32_t axis = (uint32_t)part.axis;
    tsr_body_bind(body, axis, tsr_expr_add_int(e->ir, body->to[axis], offset));
    for (uint32_t i = e->nest->axis_count; i < body->leaf_count; i++)
      if (body->from[i] == part.leaves[TSR_SIDE_LANE])
        body->to[i] = tsr_expr_add_int(e->ir, body->to[i], offset);
  }
  depth_level(p, 0);
  tsr_body_release(body, mark);
}

/* What lies at the depth at hand, into several panels: the source is read in long runs. */
static void store_abreast(packing *p) {
  tsr_contract_emit *e = p->e;
  tsr_body *body = &e->body;
  for (int64_t i = 0; i < p->abreast; i++) {
    const uint32_t mark = tsr_body_mark(body);
    tsr_contract_bind(e, &e->n, tsr_expr_add_int(e->ir, p->panel, i),
                      tsr_expr_add_int(e->ir, p->local, i), e->n.tile);
    store_tile(p);
    tsr_body_release(body, mark);
  }
}

/* Panels lo..hi, ABREAST at a time and the rest one by one. */
static void panels_abreast(tsr_contract_emit *e, packing *p, tsr_expr lo, tsr_expr hi) {
  tsr_ir *ir = e->ir;
  tsr_body *body = &e->body;
  const tsr_region outer = body->region;
  const tsr_expr groups = tsr_expr_floordiv_int(ir, tsr_expr_sub(ir, hi, lo), ABREAST);
  const tsr_expr first[2] = {tsr_expr_int(ir, 0), tsr_expr_mul_int(ir, groups, ABREAST)};
  const tsr_expr end[2] = {groups, tsr_expr_sub(ir, hi, lo)};
  p->inside = store_abreast;
  for (int rest = 0; rest < 2; rest++) {
    if (first[rest] == end[rest])
      continue;
    tsr_tile_loop loop = tsr_tile_for(ir, outer, first[rest], end[rest], NULL, 0);
    body->region = loop.body;
    p->abreast = rest == 0 ? ABREAST : 1;
    p->local = tsr_expr_mul_int(ir, loop.index, p->abreast);
    p->panel = tsr_expr_add(ir, lo, p->local);
    panel_part(p, p->panel, p->local, 0, e->n.tile);
    body->region = outer;
  }
}

static void pack_panels(tsr_contract_emit *e, packing *p, tsr_body_stored *stored) {
  tsr_ir *ir = e->ir;
  tsr_body *body = &e->body;
  tsr_contract_side *n = &e->n;
  tsr_expr dims[TSR_NEST_AXES + 2];
  int64_t size = 0;
  int64_t panels = n->block / n->tile;
  if (tsr_expr_is_int(ir, n->extent, &size) && (size + n->tile - 1) / n->tile < panels)
    panels = (size + n->tile - 1) / n->tile;
  add_dim(stored, dims, n->leaves[TSR_SIDE_LOCAL], tsr_expr_int(ir, panels));
  add_parts(e, stored, dims);
  if (p->grouped) {
    add_groups(e, stored, dims, n->leaves[TSR_SIDE_LANE], n->tile);
  } else {
    add_depth(e, stored, dims);
    add_dim(stored, dims, n->leaves[TSR_SIDE_LANE], tsr_expr_int(ir, n->tile));
  }
  stored->buffer = scratch(e, stored->dtype, dims, stored->rank);
  const tsr_region outer = body->region;
  const tsr_expr lo = tsr_contract_first_panel(e, n);
  const tsr_expr all = tsr_expr_ceildiv_int(ir, n->extent, n->tile);
  const tsr_expr hi = tsr_tile_min(ir, tsr_expr_add_int(ir, lo, panels), all);
  if (p->inside == store_tile && p->turned < 0 && panels >= ABREAST) {
    panels_abreast(e, p, lo, hi);
    return;
  }
  tsr_tile_loop loop = tsr_tile_for(ir, outer, lo, hi, NULL, 0);
  body->region = loop.body;
  const int64_t step = p->turned >= 0 && n->tile > TURN ? TURN : n->tile;
  for (int64_t at = 0; at < n->tile; at += step)
    panel_part(p, loop.index, tsr_expr_sub(ir, loop.index, lo), at,
               n->tile - at < step ? n->tile - at : step);
  body->region = outer;
}

/* --- whole output rows: [depth..., column] --- */

/* Row `row` of the block, columns at `from` to `from` + extent of it. */
static void flat_part(packing *p, tsr_expr row, tsr_expr from, int64_t extent) {
  tsr_contract_emit *e = p->e;
  tsr_body *body = &e->body;
  tsr_ir *ir = e->ir;
  const int64_t width = e->c->flat_width;
  const tsr_expr lane = extent > 1 ? tsr_expr_lane(ir, 1) : tsr_expr_int(ir, 0);
  const tsr_expr x = tsr_expr_add(ir, from, lane), zero = tsr_expr_int(ir, 0);
  const uint32_t mark = tsr_body_mark(body);
  tsr_contract_bind(e, &e->n, zero, zero, extent);
  const tsr_expr first = tsr_expr_mul_int(ir, e->n.number, e->n.block / width);
  tsr_body_bind(body, (uint32_t)e->n.axis, tsr_expr_add(ir, first, row));
  tsr_body_bind(body, e->c->flat_x, x);
  if (e->taps > 1)
    tsr_body_bind(body, (uint32_t)e->c->tap, tsr_expr_int(ir, p->tap));
  for (uint32_t i = e->nest->axis_count; i < body->leaf_count; i++)
    if (body->from[i] == e->n.leaves[TSR_SIDE_COLUMN])
      body->to[i] = tsr_expr_add(ir, tsr_expr_mul_int(ir, row, width), x);
  depth_level(p, 0);
  if (e->taps > 1)
    tsr_body_bind(body, (uint32_t)e->c->tap, zero);
  tsr_body_bind(body, e->c->flat_x, zero);
  tsr_body_release(body, mark);
}

/* Rows below each other in the source lie below each other in the copy, so that a tap finds the
 * columns of its rows further on; with a stride, every row_step-th of them, and the others apart:
 * by the first tap that reads them. */
static int64_t last_step(const tsr_contraction *c, int64_t first_tap) {
  int64_t last = 0;
  for (int64_t tap = first_tap; tap < c->tap_size; tap++)
    if (tap * c->tap_step % c->row_step == first_tap * c->tap_step % c->row_step)
      last = tap * c->tap_step / c->row_step;
  return last;
}

static int64_t first_taps(const tsr_contraction *c) {
  return c->tap_size < c->row_step ? c->tap_size : c->row_step;
}

int64_t tsr_contract_tap_rows(const tsr_contraction *c, int64_t rows) {
  int64_t sum = 0;
  for (int64_t tap = 0; tap < first_taps(c); tap++)
    sum += rows + last_step(c, tap);
  return sum;
}

/* The copy's dims behind the depth, where it has taps. */
static int64_t add_taps(tsr_contract_emit *e, tsr_body_stored *stored, tsr_expr *dims,
                        tsr_expr *out_column) {
  const tsr_contraction *c = e->c;
  tsr_ir *ir = e->ir;
  const tsr_expr position = tsr_expr_mul_int(ir, e->nest->axes[c->tap].leaf, c->tap_step);
  int64_t most = 0;
  for (int64_t tap = 0; tap < first_taps(c); tap++)
    most = last_step(c, tap) > most ? last_step(c, tap) : most;
  if (c->row_step > 1)
    add_dim(stored, dims, tsr_expr_mod_int(ir, position, c->row_step),
            tsr_expr_int(ir, c->row_step));
  *out_column = tsr_expr_add(
      ir, *out_column,
      tsr_expr_mul_int(ir, tsr_expr_floordiv_int(ir, position, c->row_step), c->flat_width));
  return most * c->flat_width;
}

static void pack_flat(tsr_contract_emit *e, packing *p, tsr_body_stored *stored) {
  tsr_ir *ir = e->ir;
  tsr_body *body = &e->body;
  tsr_expr dims[TSR_NEST_AXES + 2];
  const int64_t width = e->c->flat_width, rows = e->n.block / width;
  const int64_t lanes = 16, padded = (e->n.block + lanes - 1) / lanes * lanes;
  int64_t columns = padded % 512 == 0 ? padded + lanes : padded;
  add_parts(e, stored, dims);
  if (p->grouped) {
    add_groups(e, stored, dims, e->n.leaves[TSR_SIDE_COLUMN], columns);
  } else {
    tsr_expr column = e->n.leaves[TSR_SIDE_COLUMN];
    add_depth(e, stored, dims);
    if (e->taps > 1) {
      columns = (padded + add_taps(e, stored, dims, &column) + lanes - 1) / lanes * lanes;
      columns = columns % 512 == 0 ? columns + lanes : columns;
    }
    add_dim(stored, dims, column, tsr_expr_int(ir, columns));
  }
  stored->buffer = scratch(e, stored->dtype, dims, stored->rank);
  const tsr_region outer = body->region;
  const int64_t step = p->turned >= 0 ? TURN : MAX_COPY_LANES;
  for (p->tap = 0; p->tap < (e->taps > 1 ? first_taps(e->c) : 1); p->tap++) {
    const int64_t here = e->taps > 1 ? rows + last_step(e->c, p->tap) : rows;
    tsr_tile_loop loop =
        tsr_tile_for(ir, outer, tsr_expr_int(ir, 0), tsr_expr_int(ir, here), NULL, 0);
    body->region = loop.body;
    for (int64_t at = 0; at < width; at += step)
      flat_part(p, loop.index, tsr_expr_int(ir, at), width - at < step ? width - at : step);
    body->region = outer;
  }
}

/* Columns a few elements apart are read faster as they come than by turning the few taps between
 * them. */
static bool reads_strided(const tsr_contract_emit *e) {
  enum { FEW_APART = 4, FEW_TAPS = 8 };
  const tsr_contract_operand *b = &e->c->b;
  return b->side_stride > 1 && b->side_stride <= FEW_APART && b->depth_axis >= 0 &&
         e->nest->axes[b->depth_axis].fixed && e->nest->axes[b->depth_axis].size < FEW_TAPS;
}

void tsr_contract_pack_b(tsr_contract_emit *e) {
  tsr_body_stored *stored = new_stored(e, &e->c->b);
  packing p = {.e = e, .operand = &e->c->b, .to = stored, .turned = -1, .lengthwise = -1};
  p.grouped = e->atom != NULL;
  p.inside = p.grouped ? store_groups : store_tile;
  if (e->c->b.side_stride != 1 && !reads_strided(e))
    p.turned = e->c->b.depth_axis;
  if (p.grouped && p.turned != (int)e->c->depth[e->c->depth_count - 1])
    p.turned = -1;
  if (e->c->flat)
    pack_flat(e, &p, stored);
  else
    pack_panels(e, &p, stored);
}

/* Rows of a, each contiguous along the depth, with a stride that spreads over the cache's sets; or,
 * where a is contiguous along m, one line of m per depth. */
void tsr_contract_pack_a(tsr_contract_emit *e) {
  tsr_body_stored *stored = new_stored(e, &e->c->a);
  tsr_ir *ir = e->ir;
  tsr_body *body = &e->body;
  tsr_contract_side *m = &e->m;
  packing p = {.e = e, .operand = &e->c->a, .to = stored, .turned = -1, .lengthwise = -1};
  tsr_expr dims[TSR_NEST_AXES + 2];
  int64_t size = 0, rows = m->block;
  if (tsr_expr_is_int(ir, m->extent, &size) && size < rows)
    rows = size;
  p.inside = store_tile;
  p.lengthwise = (int)e->c->depth[e->c->depth_count - 1];
  add_parts(e, stored, dims);
  add_dim(stored, dims, m->leaves[TSR_SIDE_COLUMN],
          tsr_expr_int(ir, (rows + m->tile - 1) / m->tile * m->tile));
  add_depth(e, stored, dims);
  dims[stored->rank - 1] =
      tsr_expr_add_int(ir, dims[stored->rank - 1], e->atom != NULL ? ROW_END : 16);
  stored->buffer = scratch(e, stored->dtype, dims, stored->rank);
  const tsr_region outer = body->region;
  const tsr_expr zero = tsr_expr_int(ir, 0);
  const tsr_expr first = tsr_expr_mul_int(ir, tsr_contract_first_panel(e, m), m->tile);
  const tsr_expr last = tsr_tile_min(ir, tsr_expr_add_int(ir, first, m->block), m->extent);
  tsr_tile_loop loop = tsr_tile_for(ir, outer, first, last, NULL, 0);
  const uint32_t mark = tsr_body_mark(body);
  body->region = loop.body;
  tsr_contract_bind(e, m, zero, zero, 1);
  tsr_body_bind(body, (uint32_t)m->axis, loop.index);
  for (uint32_t i = e->nest->axis_count; i < body->leaf_count; i++)
    if (body->from[i] == m->leaves[TSR_SIDE_COLUMN])
      body->to[i] = tsr_expr_sub(ir, loop.index, first);
  depth_level(&p, 0);
  tsr_body_release(body, mark);
  body->region = outer;
}
