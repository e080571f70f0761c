/* Windows: contractions of few rows whose depth is a small window of b, such as depthwise
 * convolution. A register tile is straight code over the taps, for several rows of the output one
 * under the other: what they read of b they share. The generator makes the code twice, so that
 * tiles inside need no checks. */
#include "passes/tile/contract_emit.h"

enum { MOST_TAPS = 32 };

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
  return c->few_rows && c->b.checked && taps_from(nest, c, 0) <= MOST_TAPS;
}

/* The depth from this level on is straight code: what a tap reads outside of a row is then known,
 * and row checks leave the loop. */
bool tsr_contract_is_window(const tsr_contract_emit *e, uint32_t level) {
  enum { MOST_ROWS = 3 };
  return taps_from(e->nest, e->c, level) <= MOST_TAPS && e->m.tile <= MOST_ROWS &&
         e->c->b.checked && !e->pack_b;
}

int tsr_contract_row_axis(const tsr_contract_emit *e) {
  const uint32_t count = e->c->outer_count;
  if (count == 0 || !tsr_contract_is_window(e, 0))
    return -1;
  const uint32_t axis = e->c->outer[count - 1];
  return (e->c->b.varies >> axis & 1) != 0 && (e->c->a.varies >> axis & 1) == 0 ? (int)axis : -1;
}

/* As many rows as leave room for the weights, each a register. */
static int64_t rows_of_tile(const tsr_contract_emit *e) {
  enum { MOST_ROWS = 4 };
  const tsr_target *target = e->nest->target;
  const int64_t lanes = tsr_target_lanes(target, tsr_dtype_bits(e->c->dtype));
  const int64_t vectors = (e->n.tile + lanes - 1) / lanes;
  const int64_t rows = ((int64_t)target->vector_registers - 1 - e->c->depth_size) / vectors /
                           (e->m.tile > 0 ? e->m.tile : 1) -
                       1;
  return rows < 1 ? 1 : rows > MOST_ROWS ? MOST_ROWS : rows;
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
  tsr_expr left = tsr_expr_mod_int(ir, extent, rows);
  int64_t known = 0;
  if (!tsr_expr_equals_int(ir, whole, 0)) {
    tsr_tile_loop loop = tsr_tile_for(ir, outer, tsr_expr_int(ir, 0), whole, NULL, 0);
    e->body.region = loop.body;
    rows_at(e, tsr_expr_mul_int(ir, loop.index, rows), rows, block);
    e->body.region = outer;
  }
  tsr_expr first = tsr_expr_mul_int(ir, whole, rows);
  if (tsr_expr_is_int(ir, left, &known)) {
    if (known > 0)
      rows_at(e, first, known, block);
    return;
  }
  for (int64_t some = 2; some >= 1; some /= 2) {
    const tsr_expr there = tsr_expr_mod_int(ir, tsr_expr_floordiv_int(ir, left, some), 2);
    if (some >= rows)
      continue;
    e->body.region =
        tsr_tile_if(ir, outer, tsr_expr_binary(ir, TSR_INDEX_LT, tsr_expr_int(ir, 0), there));
    rows_at(e, first, some, block);
    first = tsr_expr_add(ir, first, tsr_expr_mul_int(ir, there, some));
  }
  e->body.region = outer;
}

void tsr_contract_each_row(tsr_contract_emit *e, tsr_contract_step tile) {
  for (int64_t row = 0; row < e->row_count; row++) {
    const uint32_t mark = tsr_body_mark(&e->body);
    tsr_body_bind(&e->body, (uint32_t)e->row_axis, tsr_expr_add_int(e->ir, e->row_first, row));
    tile(e);
    tsr_body_release(&e->body, mark);
  }
}
