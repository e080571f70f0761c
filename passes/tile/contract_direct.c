/* Windows read in place: channels of output lie on the lanes, pixels of one row of the image are
 * the rows of a register tile, and taps read the image where it is. Taps above or below the image
 * are left out by the bounds of their loop, those beside it by the rows of the tile that they
 * reach: which these are is known for the first and the last tiles of a row, and all others lie
 * inside. In rows of a width that is not known, tiles at the ends read zeros there, and a task may
 * be a part of a row: a signal is one long row. */
#include "passes/tile/contract_emit.h"

/* --- tasks --- */

void tsr_contract_direct_grid(tsr_contract_emit *e, tsr_region region, double grain) {
  tsr_ir *ir = e->ir;
  const tsr_expr zero = tsr_expr_int(ir, 0);
  const int y = e->c->direct_y;
  if (y < 0)
    return;
  e->rows_block = tsr_contract_direct_rows_of(e->nest, e->c, e->n.block, grain);
  e->rows_number = zero;
  if (!e->nest->axes[y].fixed || e->rows_block < e->nest->axes[y].size)
    e->rows_number = tsr_expr_value(
        ir,
        tsr_region_add_index(ir, region, TSR_ROLE_GRID, zero,
                             tsr_expr_ceildiv_int(ir, e->nest->axes[y].extent, e->rows_block), 1));
}

/* --- tiles of a row --- */

/* Pixels [*out_from, *out_to) of the tile that the tap finds in the image. */
static void reached(const tsr_contract_emit *e, int64_t tap, int64_t *out_from, int64_t *out_to) {
  const tsr_contract_line *line = &e->c->line[1];
  const int64_t at = tap * line->apart + line->low;
  *out_from = 0;
  *out_to = e->tile_rows;
  if (e->tile_inside)
    return;
  while (*out_from < e->tile_rows && (e->tile_first + *out_from) * line->step + at < 0)
    ++*out_from;
  while (*out_to > *out_from && (e->tile_first + *out_to - 1) * line->step + at >= line->size)
    --*out_to;
}

static bool is_inside(const tsr_contract_line *line, int64_t first, int64_t rows) {
  return first * line->step + line->low >= 0 &&
         (first + rows - 1) * line->step + (line->taps - 1) * line->apart + line->low < line->size;
}

static void tile_at(tsr_contract_emit *e, tsr_contract_step tile, tsr_expr panel, int64_t first,
                    int64_t rows, bool inside) {
  const uint32_t mark = tsr_body_mark(&e->body);
  tsr_contract_side side = e->m;
  side.first = inside ? 0 : tsr_expr_int(e->ir, first);
  e->tile_first = first;
  e->tile_rows = rows;
  e->tile_inside = inside;
  tsr_contract_bind(e, &side, panel, panel, rows);
  tile(e);
  tsr_body_release(&e->body, mark);
}

/* Tiles at the ends are straight code, those between them a loop. */
static void row_tiles(tsr_contract_emit *e, tsr_contract_step tile) {
  const tsr_contract_line *line = &e->c->line[1];
  const int64_t width = e->nest->axes[e->c->m].size, step = e->m.tile;
  const tsr_expr zero = tsr_expr_int(e->ir, 0);
  const tsr_region outer = e->body.region;
  int64_t lo = 0, hi = width / step;
  while (lo < hi && !is_inside(line, lo * step, step))
    lo++;
  while (hi > lo && !is_inside(line, (hi - 1) * step, step))
    hi--;
  for (int64_t i = 0; i < lo; i++)
    tile_at(e, tile, zero, i * step, step, false);
  if (lo < hi) {
    tsr_tile_loop loop =
        tsr_tile_for(e->ir, outer, tsr_expr_int(e->ir, lo), tsr_expr_int(e->ir, hi), NULL, 0);
    e->body.region = loop.body;
    tile_at(e, tile, loop.index, 0, step, true);
    e->body.region = outer;
  }
  for (int64_t at = hi * step; at < width; at += step)
    tile_at(e, tile, zero, at, width - at < step ? width - at : step, false);
}

/* --- tiles of a row of unknown width --- */

/* Rows `first` and up of the panel; 0: from its first row on. */
static void open_tile(tsr_contract_emit *e, tsr_contract_step tile, tsr_expr panel, tsr_expr first,
                      int64_t rows) {
  const uint32_t mark = tsr_body_mark(&e->body);
  tsr_contract_side side = e->m;
  side.first = first;
  e->tile_rows = rows;
  e->tile_inside = true;
  tsr_contract_bind(e, &side, panel, panel, rows);
  tile(e);
  tsr_body_release(&e->body, mark);
}

static void open_tiles(tsr_contract_emit *e, tsr_contract_step tile, tsr_expr lo, tsr_expr hi) {
  const tsr_region outer = e->body.region;
  tsr_tile_loop loop = tsr_tile_for(e->ir, outer, lo, hi, NULL, 0);
  e->body.region = loop.body;
  open_tile(e, tile, loop.index, 0, e->m.tile);
  e->body.region = outer;
}

/* What a row has after its last whole tile: one tile for each binary digit of the number. */
static void open_rest(tsr_contract_emit *e, tsr_contract_step tile, tsr_expr whole, tsr_expr left) {
  tsr_ir *ir = e->ir;
  const tsr_region outer = e->body.region;
  int64_t rows = 1;
  while (rows * 2 < e->m.tile)
    rows *= 2;
  for (; rows >= 1 && e->m.tile > 1; rows /= 2) {
    const tsr_expr digit = tsr_expr_mod_int(ir, tsr_expr_floordiv_int(ir, left, rows), 2);
    const tsr_expr first =
        tsr_expr_mul_int(ir, tsr_expr_floordiv_int(ir, left, 2 * rows), 2 * rows);
    e->body.region =
        tsr_tile_if(ir, outer, tsr_expr_binary(ir, TSR_INDEX_LT, tsr_expr_int(ir, 0), digit));
    open_tile(e, tile, whole, first, rows);
  }
  e->body.region = outer;
}

/* Tiles that may begin before the row, those that all taps find inside, those that may end behind
 * it; and the rest of the row. */
static void open_row_tiles(tsr_contract_emit *e, tsr_contract_step tile) {
  const tsr_contract_line *line = &e->c->line[1];
  tsr_ir *ir = e->ir;
  const int64_t step = e->m.tile, apart = step * line->step;
  const tsr_region outer = e->body.region;
  const tsr_expr width = e->m.extent, whole = tsr_expr_floordiv_int(ir, width, step);
  const int64_t beyond = line->low + (line->taps - 1) * line->apart + 1 - line->step;
  const tsr_expr inside =
      tsr_expr_floordiv_int(ir, tsr_expr_add_int(ir, line->extent, -beyond), apart);
  const tsr_expr left = tsr_expr_mod_int(ir, width, step),
                 first = tsr_contract_first_panel(e, &e->m);
  tsr_expr lo = first, hi = whole, end = 0;
  if (!e->m.whole) {
    end = tsr_expr_add_int(ir, first, e->m.block / step);
    hi = tsr_tile_min(ir, end, whole);
  }
  if (line->low < 0) {
    const tsr_expr before = tsr_expr_int(ir, (-line->low + apart - 1) / apart);
    open_tiles(e, tile, first, tsr_tile_min(ir, before, hi));
    lo = e->m.whole ? before : tsr_expr_binary(ir, TSR_INDEX_MAX, first, before);
  }
  if (tsr_expr_prove_nonnegative(ir, tsr_expr_sub(ir, inside, whole), NULL, 0)) {
    open_tiles(e, tile, lo, hi);
  } else {
    const tsr_expr last = tsr_tile_min(ir, hi, inside);
    open_tiles(e, tile, lo, last);
    open_tiles(e, tile, tsr_expr_binary(ir, TSR_INDEX_MAX, lo, last), hi);
  }
  if (tsr_expr_equals_int(ir, left, 0))
    return;
  if (!e->m.whole) /* the task with the row's end */
    e->body.region =
        tsr_tile_if(ir, outer,
                    tsr_expr_binary(ir, TSR_INDEX_AND,
                                    tsr_expr_binary(ir, TSR_INDEX_LT, tsr_expr_int(ir, 0), left),
                                    tsr_expr_binary(ir, TSR_INDEX_LT, whole, end)));
  open_rest(e, tile, whole, left);
  e->body.region = outer;
}

static void any_row_tiles(tsr_contract_emit *e, tsr_contract_step tile) {
  if (e->nest->axes[e->c->m].fixed)
    row_tiles(e, tile);
  else
    open_row_tiles(e, tile);
}

void tsr_contract_direct_rows(tsr_contract_emit *e, tsr_contract_step tile) {
  tsr_ir *ir = e->ir;
  tsr_body *body = &e->body;
  const tsr_region outer = body->region;
  if (e->c->direct_y < 0) {
    any_row_tiles(e, tile);
    return;
  }
  const tsr_expr lo = tsr_expr_mul_int(ir, e->rows_number, e->rows_block);
  const tsr_expr hi = tsr_tile_min(ir, tsr_expr_add_int(ir, lo, e->rows_block),
                                   e->nest->axes[e->c->direct_y].extent);
  tsr_tile_loop loop = tsr_tile_for(ir, outer, lo, hi, NULL, 0);
  const uint32_t mark = tsr_body_mark(body);
  body->region = loop.body;
  tsr_body_bind(body, (uint32_t)e->c->direct_y, loop.index);
  any_row_tiles(e, tile);
  tsr_body_release(body, mark);
  body->region = outer;
}

/* --- the sum of one tile --- */

/* A step of the depth, for the pixels `from` to `to` of the tile. */
static tsr_value step_product(tsr_contract_emit *e, int64_t from, int64_t to, tsr_value sum) {
  tsr_body *body = &e->body;
  tsr_ir *ir = e->ir;
  const int64_t rows = e->tile_rows;
  const tsr_value b =
      tsr_body_spread(body, tsr_body_value(body, e->c->b.value), 1, body->extents[1]);
  const tsr_value a = tsr_body_spread(body, tsr_body_value(body, e->c->a.value), to - from,
                                      e->c->each ? body->extents[1] : 1);
  tsr_op op = tsr_op_append(ir, body->region, TSR_OP_CONTRACT);
  tsr_op_add_operand(ir, op, a);
  tsr_op_add_operand(ir, op, b);
  tsr_op_add_operand(ir, op, sum);
  tsr_op_set_string(ir, op, "atom", e->c->atom);
  if (e->c->each)
    tsr_op_set_bool(ir, op, "each", true);
  if (to - from < rows)
    tsr_op_set_int(ir, op, "row", from);
  return tsr_op_add_result(ir, op, tsr_tile_type(ir, e->c->dtype, rows, body->extents[1]));
}

/* Taps along y that find the row at hand inside the image. */
static void tap_bounds(tsr_contract_emit *e, tsr_expr *out_lo, tsr_expr *out_hi) {
  const tsr_contract_line *line = &e->c->line[0];
  tsr_ir *ir = e->ir;
  const tsr_expr start =
      tsr_expr_add_int(ir, tsr_expr_mul_int(ir, e->body.to[e->c->direct_y], line->step), line->low);
  const tsr_expr zero = tsr_expr_int(ir, 0), taps = tsr_expr_int(ir, line->taps);
  const int64_t last = (e->nest->axes[e->c->direct_y].size - 1) * line->step + line->low +
                       (line->taps - 1) * line->apart;
  *out_lo = zero;
  *out_hi = taps;
  if (line->low < 0)
    *out_lo = tsr_expr_binary(ir, TSR_INDEX_MAX, zero,
                              tsr_expr_ceildiv_int(ir, tsr_expr_sub(ir, zero, start), line->apart));
  if (line->size < 0 || !e->nest->axes[e->c->direct_y].fixed || last >= line->size)
    *out_hi = tsr_tile_min(
        ir, taps, tsr_expr_ceildiv_int(ir, tsr_expr_sub(ir, line->extent, start), line->apart));
}

static tsr_value depth_from(tsr_contract_emit *e, uint32_t level, int64_t from, int64_t to,
                            tsr_value sum);

static tsr_value level_loop(tsr_contract_emit *e, uint32_t level, int64_t from, int64_t to,
                            tsr_value sum) {
  tsr_body *body = &e->body;
  tsr_ir *ir = e->ir;
  const tsr_contraction *c = e->c;
  const uint32_t axis = c->depth[level];
  const tsr_region outer = body->region;
  tsr_expr lo = tsr_expr_int(ir, 0), hi = e->nest->axes[axis].extent;
  if ((int)axis == c->line[0].tap)
    tap_bounds(e, &lo, &hi);
  tsr_tile_loop loop = tsr_tile_for(ir, outer, lo, hi, &sum, 1);
  if (level + 1 == c->depth_count && e->unroll > 1)
    tsr_op_set_int(ir, loop.op, "unroll", e->unroll);
  const uint32_t mark = tsr_body_mark(body);
  body->region = loop.body;
  tsr_body_bind(body, axis, loop.index);
  body->unbound &= ~(1u << axis);
  const tsr_value next = depth_from(e, level + 1, from, to, loop.carried[0]);
  body->unbound |= 1u << axis;
  tsr_tile_yield(ir, loop.body, &next, 1);
  tsr_body_release(body, mark);
  body->region = outer;
  tsr_body_bind(body, axis, tsr_expr_int(ir, 0));
  return loop.op == 0 ? 0 : tsr_op_get(ir, loop.op)->results[0];
}

/* Each tap along the row with the pixels that it reaches. */
static tsr_value each_tap(tsr_contract_emit *e, uint32_t level, tsr_value sum) {
  tsr_body *body = &e->body;
  tsr_ir *ir = e->ir;
  const uint32_t axis = e->c->depth[level], m = (uint32_t)e->c->m;
  const tsr_expr pixel = body->to[m];
  const int64_t rows = body->extents[0];
  body->unbound &= ~(1u << axis);
  for (int64_t tap = 0; tap < e->c->line[1].taps; tap++) {
    const uint32_t mark = tsr_body_mark(body);
    int64_t from = 0, to = 0;
    reached(e, tap, &from, &to);
    if (from >= to)
      continue;
    if (!e->tile_inside) {
      tsr_expr at = tsr_expr_int(ir, e->tile_first + from);
      if (to - from > 1)
        at = tsr_expr_add(ir, at, tsr_expr_lane(ir, 0));
      body->extents[0] = to - from;
      tsr_body_bind(body, m, at);
    }
    tsr_body_bind(body, axis, tsr_expr_int(ir, tap));
    sum = depth_from(e, level + 1, from, to, sum);
    tsr_body_release(body, mark);
  }
  body->unbound |= 1u << axis;
  body->extents[0] = rows;
  tsr_body_bind(body, m, pixel);
  tsr_body_bind(body, axis, tsr_expr_int(ir, 0));
  return sum;
}

/* What does not vary with the loops from here on is made here; but pixels lie beside each other,
 * and what several taps read alike must not wait in registers: they are read in the innermost loop.
 */
static tsr_value depth_from(tsr_contract_emit *e, uint32_t level, int64_t from, int64_t to,
                            tsr_value sum) {
  const tsr_contraction *c = e->c;
  uint32_t inner = 0;
  for (uint32_t i = level; i < c->depth_count; i++)
    inner |= 1u << c->depth[i];
  tsr_body_hoist(&e->body, c->b.value, inner);
  if (level == c->depth_count)
    return step_product(e, from, to, sum);
  if ((int)c->depth[level] == c->line[1].tap && (c->each || !e->tile_inside))
    return each_tap(e, level, sum);
  return level_loop(e, level, from, to, sum);
}

tsr_value tsr_contract_direct_sum(tsr_contract_emit *e, tsr_value sum) {
  return depth_from(e, 0, 0, e->tile_rows, sum);
}
