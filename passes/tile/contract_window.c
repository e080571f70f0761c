/* Windows: contractions of few rows that read a small window of b, such as depthwise convolution. A
 * register tile is straight code over the taps, for several rows of the output one under the other:
 * what they read of b they share. The generator makes the code twice, so that tiles inside need no
 * checks. */
#include "passes/tile/contract_emit.h"

enum { MOST_TAPS = 32, MOST_ROWS = 4 };

/* Taps of the depth axes from `level` on; more than MOST_TAPS: too many. */
static int64_t taps_from(const tsr_nest *nest, const tsr_contraction *c, uint32_t level) {
  int64_t taps = 1;
  for (uint32_t i = level; i < c->depth_count; i++) {
    const tsr_nest_axis *axis = &nest->axes[c->depth[i]];
    if (!axis->fixed || axis->size > MOST_TAPS)
      return MOST_TAPS + 1;
    taps *= axis->size;
  }
  return taps;
}

bool tsr_contract_window(const tsr_nest *nest, const tsr_contraction *c) {
  return c->window && taps_from(nest, c, 0) <= MOST_TAPS;
}

/* The depth from this level on is straight code: what a tap reads outside of a row is then known,
 * and row checks leave the loop. */
bool tsr_contract_is_window(const tsr_contract_emit *e, uint32_t level) {
  return e->c->window && !e->pack_a && !e->pack_b && taps_from(e->nest, e->c, level) <= MOST_TAPS;
}

int tsr_contract_window_row(const tsr_contraction *c) {
  if (!c->window || c->outer_count == 0)
    return -1;
  const uint32_t axis = c->outer[c->outer_count - 1];
  return (c->b.varies >> axis & 1) != 0 && (c->a.varies >> axis & 1) == 0 ? (int)axis : -1;
}

/* As many rows as leave room for the weights, each a register. */
int64_t tsr_contract_window_rows(const tsr_target *target, const tsr_contraction *c, int64_t tile,
                                 int64_t vectors) {
  const int64_t rows =
      ((int64_t)target->vector_registers - 1 - c->depth_size) / vectors / (tile > 0 ? tile : 1) - 1;
  return rows < 1 ? 1 : rows > MOST_ROWS ? MOST_ROWS : rows;
}

static int64_t rows_of_tile(const tsr_contract_emit *e) {
  const tsr_target *target = e->nest->target;
  const int64_t lanes = tsr_target_lanes(target, tsr_dtype_bits(e->c->dtype));
  return tsr_contract_window_rows(target, e->c, e->m.tile, (e->n.tile + lanes - 1) / lanes);
}

static void rows_at(tsr_contract_emit *e, tsr_expr first, int64_t count, tsr_contract_step block) {
  e->row_first = first;
  e->row_count = count;
  block(e);
}

/* Tiles of the greatest number of rows, then of 2 and of 1. */
void tsr_contract_rows(tsr_contract_emit *e, tsr_contract_step block) {
  tsr_ir *ir = e->ir;
  const tsr_expr extent = e->nest->axes[e->row_axis].extent;
  const int64_t rows = rows_of_tile(e);
  const tsr_region outer = e->body.region;
  const tsr_expr whole = tsr_expr_floordiv_int(ir, extent, rows);
  const tsr_expr left = tsr_expr_mod_int(ir, extent, rows);
  tsr_expr lo = tsr_expr_int(ir, 0), hi = whole;
  tsr_region end = outer;
  int64_t known = 0;
  if (e->window_number != 0) {
    const int64_t tiles = e->window_block / rows;
    lo = tsr_expr_mul_int(ir, e->window_number, tiles);
    hi = tsr_expr_add_int(ir, lo, tiles);
  }
  if (!tsr_expr_equals_int(ir, whole, 0)) {
    const tsr_expr last = hi == whole ? hi : tsr_tile_min(ir, hi, whole);
    tsr_tile_loop loop = tsr_tile_for(ir, outer, lo, last, NULL, 0);
    e->body.region = loop.body;
    rows_at(e, tsr_expr_mul_int(ir, loop.index, rows), rows, block);
    e->body.region = outer;
  }
  if (tsr_expr_equals_int(ir, left, 0))
    return;
  if (hi != whole) /* the task with the last rows */
    end = tsr_tile_if(ir, outer, tsr_expr_binary(ir, TSR_INDEX_LT, whole, hi));
  e->body.region = end;
  tsr_expr first = tsr_expr_mul_int(ir, whole, rows);
  if (tsr_expr_is_int(ir, left, &known))
    rows_at(e, first, known, block);
  for (int64_t some = 2; some >= 1 && known == 0; some /= 2) {
    const tsr_expr there = tsr_expr_mod_int(ir, tsr_expr_floordiv_int(ir, left, some), 2);
    if (some >= rows)
      continue;
    e->body.region =
        tsr_tile_if(ir, end, tsr_expr_binary(ir, TSR_INDEX_LT, tsr_expr_int(ir, 0), there));
    rows_at(e, first, some, block);
    first = tsr_expr_add(ir, first, tsr_expr_mul_int(ir, there, some));
  }
  e->body.region = outer;
}

/* Blocks of rows number tasks, innermost, where there are too few others. */
void tsr_contract_window_grid(tsr_contract_emit *e, tsr_region region, double grain) {
  tsr_ir *ir = e->ir;
  const tsr_nest_axis *axis = &e->nest->axes[e->row_axis];
  const int64_t rows = rows_of_tile(e), all = e->nest->axes[e->c->n].size;
  const int64_t columns = e->n.whole ? 1 : (all + e->n.block - 1) / e->n.block;
  const int64_t block = tsr_contract_window_block(e->nest, e->c, e->outer_grid, (double)columns,
                                                  e->block_work, grain);
  e->window_block = (block + rows - 1) / rows * rows;
  if (block < axis->size)
    e->window_number = tsr_expr_value(
        ir, tsr_region_add_index(ir, region, TSR_ROLE_GRID, tsr_expr_int(ir, 0),
                                 tsr_expr_ceildiv_int(ir, axis->extent, e->window_block), 1));
}

/* --- the tile: rows under each other --- */

/* How the window's lines lie to the output's rows: output row r reads by tap t the line r * step +
 * t * apart. Without a tap that moves along the rows, each row reads a line of its own. */
typedef struct window_lines {
  uint32_t taps[TSR_NEST_AXES], tap_count; /* the other axes of the depth, in order */
  int tap;
  int64_t size, step, apart;
} window_lines;

static window_lines lines_of(const tsr_contract_emit *e) {
  enum { FAR = 64 }; /* steps that are not walked through line by line */
  const tsr_nest *nest = e->nest;
  const tsr_nest_access *access = e->c->b.main;
  window_lines lines = {.tap = -1, .size = 1, .step = 1, .apart = 1};
  for (uint32_t d = 0; d < access->rank && lines.tap < 0; d++)
    for (uint32_t i = 0; i < e->c->depth_count && lines.tap < 0; i++) {
      const tsr_expr leaves[2] = {nest->axes[e->row_axis].leaf, nest->axes[e->c->depth[i]].leaf};
      int64_t steps[2] = {0, 0};
      tsr_expr rest = 0;
      if (!tsr_expr_linear(nest->ir, access->subs[d], leaves, 2, steps, &rest) || steps[0] < 1 ||
          steps[1] < 1 || steps[0] > FAR || steps[1] > FAR)
        continue;
      lines.tap = (int)e->c->depth[i];
      lines.size = nest->axes[e->c->depth[i]].size;
      lines.step = steps[0];
      lines.apart = steps[1];
    }
  for (uint32_t i = 0; i < e->c->depth_count; i++)
    if ((int)e->c->depth[i] != lines.tap)
      lines.taps[lines.tap_count++] = e->c->depth[i];
  return lines;
}

/* The products of one line with every row that reads it, by one tap along the line. */
static void line_products(tsr_contract_emit *e, const window_lines *lines, int64_t line,
                          tsr_value *sums) {
  tsr_body *body = &e->body;
  for (int64_t row = 0; row < e->row_count; row++) {
    const int64_t left = line - row * lines->step;
    if (left < 0 || left % lines->apart != 0 || left / lines->apart >= lines->size)
      continue;
    const uint32_t mark = tsr_body_mark(body);
    tsr_body_bind(body, (uint32_t)e->row_axis, tsr_expr_add_int(e->ir, e->row_first, row));
    if (lines->tap >= 0)
      tsr_body_bind(body, (uint32_t)lines->tap, tsr_expr_int(e->ir, left / lines->apart));
    sums[row] = tsr_contract_product(e, sums[row]);
    tsr_body_release(body, mark);
  }
}

static void line_taps(tsr_contract_emit *e, const window_lines *lines, uint32_t level, int64_t line,
                      tsr_value *sums) {
  tsr_body *body = &e->body;
  if (level == lines->tap_count) {
    line_products(e, lines, line, sums);
    return;
  }
  const uint32_t axis = lines->taps[level];
  for (int64_t i = 0; i < e->nest->axes[axis].size; i++) {
    tsr_body_bind(body, axis, tsr_expr_int(e->ir, i));
    line_taps(e, lines, level + 1, line, sums);
  }
  tsr_body_bind(body, axis, tsr_expr_int(e->ir, 0));
}

/* Line by line of what the window reads: a vector that is read meets all rows that want it before
 * the next one is, so that registers hold weights and sums and little else. */
void tsr_contract_window_tile(tsr_contract_emit *e, tsr_contract_finish finish) {
  tsr_body *body = &e->body;
  const window_lines lines = lines_of(e);
  const uint32_t unbound = body->unbound;
  tsr_value sums[MOST_ROWS];
  for (int64_t row = 0; row < e->row_count; row++)
    sums[row] =
        tsr_tile_const(e->ir, body->region, e->c->dtype, 0, body->extents[0], body->extents[1]);
  for (uint32_t i = 0; i < e->c->depth_count; i++)
    body->unbound &= ~(1u << e->c->depth[i]);
  const int64_t last = (e->row_count - 1) * lines.step + (lines.size - 1) * lines.apart;
  for (int64_t line = 0; line <= last; line++)
    line_taps(e, &lines, 0, line, sums);
  body->unbound = unbound;
  if (lines.tap >= 0)
    tsr_body_bind(body, (uint32_t)lines.tap, tsr_expr_int(e->ir, 0));
  for (int64_t row = 0; row < e->row_count; row++) {
    const uint32_t mark = tsr_body_mark(body);
    tsr_body_bind(body, (uint32_t)e->row_axis, tsr_expr_add_int(e->ir, e->row_first, row));
    finish(e, sums[row]);
    tsr_body_release(body, mark);
  }
}
