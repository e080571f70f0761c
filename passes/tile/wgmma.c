/* Strategy "wgmma": one role brings tiles of both operands by TMA, the other multiplies them in
 * place; mbarriers say which places of the rings are full and which are empty. */
#include "passes/tile/mma_emit.h"
#include <string.h>

enum { PRODUCER_WARPS = 4, LINE_BYTES = 128, MOST_CONSUMER_REGISTERS = 240 };

typedef struct emitting {
  tsr_nest *nest;
  tsr_ir *ir;
  const tsr_mma_problem *p;
  const tsr_schedule *schedule;
  const int64_t *knobs;
  tsr_body body;
  tsr_mma_tiles tiles; /* rows: of the whole cluster */
  tsr_mma_ring rings[2];
  tsr_wgmma_box boxes[2];
  tsr_value full, empty;
  tsr_expr turns; /* of one tile through the depth */
  tsr_expr rank;  /* in the cluster */
  int64_t cluster, stages;
  bool persistent;
  tsr_expr walker; /* number of the task (of its cluster) that walks, and how many there are */
  int64_t walkers;
} emitting;

static tsr_expr number(const emitting *e, int64_t value) {
  return tsr_expr_int(e->ir, value);
}

/* --- rings --- */

static bool is_swizzle(int64_t bytes) {
  return bytes == 32 || bytes == 64 || bytes == LINE_BYTES;
}

void tsr_wgmma_ring_of(tsr_nest *nest, const tsr_mma_problem *problem, const tsr_schedule *schedule,
                       int which, tsr_mma_ring *out_ring) {
  const int64_t *knobs = schedule->knobs;
  *out_ring = (tsr_mma_ring){.which = which,
                             .side = which == 0 ? &problem->m : &problem->n,
                             .tile = knobs[which == 0 ? TSR_KNOB_BM : TSR_KNOB_BN],
                             .depth = knobs[TSR_KNOB_BK],
                             .async = true,
                             .fragment = ""};
  tsr_mma_ring *ring = out_ring;
  tsr_mma_operand_of(nest, problem, schedule->atom, which, &ring->operand);
  const bool along = ring->operand.along_depth;
  const int64_t bytes = tsr_dtype_bits(ring->operand.dtype) / 8;
  ring->rows = along ? ring->tile : ring->depth;
  ring->length = along ? ring->depth : ring->tile;
  ring->panel = ring->length;
  if (!along && bytes > 0 && ring->length * bytes % LINE_BYTES == 0)
    ring->panel = LINE_BYTES / bytes;
  ring->layout.row_bytes = (uint32_t)(ring->panel * bytes);
  ring->layout.swizzle = is_swizzle(ring->panel * bytes) ? ring->layout.row_bytes : 0;
  ring->place_bytes = ring->rows * ring->length * bytes;
}

int64_t tsr_wgmma_registers(int64_t warps) {
  const int64_t file = 65536 / 32, producer = warps > 8 ? 24 : 40;
  const int64_t left = (file - PRODUCER_WARPS * producer) / warps / 8 * 8;
  return left < MOST_CONSUMER_REGISTERS ? left : MOST_CONSUMER_REGISTERS;
}

/* --- synchronisation --- */

static void wait_on(emitting *e, tsr_region region, tsr_value barrier, tsr_expr turn,
                    int64_t ahead) {
  tsr_ir *ir = e->ir;
  const tsr_expr slot = tsr_expr_mod_int(ir, turn, e->stages);
  const tsr_expr round = tsr_expr_floordiv_int(ir, turn, e->stages);
  tsr_op op = tsr_op_append(ir, region, TSR_OP_WAIT);
  tsr_op_add_element(ir, op, barrier, &slot, 1);
  tsr_op_set_expr(ir, op, "parity", tsr_expr_mod_int(ir, tsr_expr_add_int(ir, round, ahead), 2));
}

static void wait_for_products(emitting *e, tsr_region region, int64_t pending) {
  tsr_op op = tsr_op_append(e->ir, region, TSR_OP_WAIT);
  tsr_op_set_string(e->ir, op, "of", "contract");
  tsr_op_set_int(e->ir, op, "pending", pending);
}

/* The place of turn `turn` may be filled again: every task of the cluster writes to it. */
static void release(emitting *e, tsr_region region, tsr_expr turn) {
  const tsr_expr slot = tsr_expr_mod_int(e->ir, turn, e->stages);
  tsr_op op = tsr_op_append(e->ir, region, TSR_OP_ARRIVE);
  tsr_op_add_element(e->ir, op, e->empty, &slot, 1);
  if (e->cluster > 1)
    tsr_op_set_int(e->ir, op, "multicast", (INT64_C(1) << e->cluster) - 1);
}

static tsr_value make_barriers(emitting *e, tsr_region region, int64_t arrivals) {
  const tsr_expr count = number(e, e->stages);
  tsr_op op = tsr_op_append(e->ir, region, TSR_OP_MBARRIER);
  tsr_op_set_int(e->ir, op, "arrivals", arrivals);
  return tsr_op_add_result(e->ir, op, tsr_type_make(e->ir, TSR_LEVEL_L1, TSR_U64, &count, 1));
}

/* --- producer --- */

/* First row of the task's tile: those of a cluster lie one below the other. */
static tsr_expr tile_row(const emitting *e) {
  return tsr_expr_add(e->ir, tsr_expr_mul_int(e->ir, e->tiles.row, e->cluster), e->rank);
}

/* The box of `rows` x panel whose first element is at `side`, `depth`, to row `row` of `panel`. */
static void copy_box(emitting *e, const tsr_mma_ring *ring, tsr_expr slot, tsr_expr side,
                     tsr_expr depth, tsr_expr panel, tsr_expr row, int64_t rows, bool shared) {
  tsr_ir *ir = e->ir;
  const tsr_wgmma_box *box = &e->boxes[ring->which];
  const tsr_nest_access *load = ring->operand.load;
  tsr_expr from[TSR_MAX_RANK], to[TSR_MAX_RANK], shape[TSR_MAX_RANK];
  uint32_t rank = 0, axes = 0;
  for (uint32_t d = 0; d < load->rank; d++)
    from[d] = (int)d == box->side    ? side
              : (int)d == box->depth ? depth
                                     : tsr_body_expr(&e->body, load->subs[d]);
  to[rank++] = slot;
  if (ring->panel != ring->length)
    to[rank++] = panel;
  to[rank++] = row;
  shape[axes++] = number(e, rows);
  for (uint32_t i = 0; i < ring->gap; i++) {
    to[rank++] = number(e, 0);
    shape[axes++] = number(e, 1);
  }
  to[rank++] = number(e, 0);
  shape[axes++] = number(e, ring->panel);
  tsr_op op = tsr_op_append(ir, e->body.region, TSR_OP_COPY);
  tsr_op_add_element(ir, op, e->nest->buffers[load->buffer].arg, from, load->rank);
  tsr_op_add_element(ir, op, ring->buffer, to, rank);
  tsr_op_add_element(ir, op, e->full, &slot, 1);
  tsr_op_set_string(ir, op, "atom", "tma");
  if (shared)
    tsr_op_set_int(ir, op, "multicast", (INT64_C(1) << e->cluster) - 1);
  tsr_op_set_exprs(ir, op, "shape", shape, axes);
}

/* A task's share of a tile that the whole cluster reads, or all of its own. */
static void bring(emitting *e, const tsr_mma_ring *ring, tsr_expr slot, tsr_expr depth) {
  tsr_ir *ir = e->ir;
  const bool shared = ring->which == 1 && e->cluster > 1;
  const int64_t parts = shared ? e->cluster : 1;
  const tsr_expr part = shared ? e->rank : number(e, 0);
  const tsr_expr base =
      tsr_expr_mul_int(ir, ring->which == 0 ? tile_row(e) : e->tiles.column, ring->tile);
  if (ring->operand.along_depth) {
    const tsr_expr row = tsr_expr_mul_int(ir, part, ring->rows / parts);
    copy_box(e, ring, slot, tsr_expr_add(ir, base, row), depth, 0, row, ring->rows / parts, shared);
    return;
  }
  const int64_t panels = ring->length / ring->panel;
  const bool whole = panels % parts == 0; /* panels, or the same rows of each */
  const int64_t count = whole ? panels / parts : panels;
  const int64_t rows = whole ? ring->rows : ring->rows / parts;
  const tsr_expr row = whole ? number(e, 0) : tsr_expr_mul_int(ir, part, rows);
  for (int64_t i = 0; i < count; i++) {
    const tsr_expr panel =
        whole ? tsr_expr_add_int(ir, tsr_expr_mul_int(ir, part, count), i) : number(e, i);
    copy_box(e, ring, slot, tsr_expr_add(ir, base, tsr_expr_mul_int(ir, panel, ring->panel)),
             tsr_expr_add(ir, depth, row), panel, row, rows, shared);
  }
}

/* All turns of one tile, which are turns first.. of the task. */
static void produce_tile(emitting *e, tsr_expr first) {
  tsr_ir *ir = e->ir;
  const tsr_region outer = e->body.region;
  tsr_tile_loop loop = tsr_tile_for(ir, outer, number(e, 0), e->turns, NULL, 0);
  const tsr_expr turn = tsr_expr_add(ir, first, loop.index);
  const tsr_expr slot = tsr_expr_mod_int(ir, turn, e->stages);
  e->body.region = loop.body;
  wait_on(e, loop.body, e->empty, turn, 1);
  tsr_op arrive = tsr_op_append(ir, loop.body, TSR_OP_ARRIVE);
  tsr_op_add_element(ir, arrive, e->full, &slot, 1);
  tsr_op_set_int(ir, arrive, "bytes", e->rings[0].place_bytes + e->rings[1].place_bytes);
  const tsr_expr depth = tsr_expr_mul_int(ir, loop.index, e->knobs[TSR_KNOB_BK]);
  for (int i = 0; i < 2; i++)
    bring(e, &e->rings[i], slot, depth);
  e->body.region = outer;
}

/* --- consumer --- */

static tsr_value product(emitting *e, tsr_region region, tsr_expr slot, tsr_value sum) {
  tsr_ir *ir = e->ir;
  const tsr_expr warps[2] = {number(e, e->knobs[TSR_KNOB_WARPS_M]), number(e, 1)};
  tsr_op op = tsr_op_append(ir, region, TSR_OP_CONTRACT);
  for (int i = 0; i < 2; i++) {
    tsr_expr subs[TSR_MAX_RANK];
    const uint32_t rank =
        tsr_mma_subscripts(e->nest, &e->rings[i], slot, tsr_expr_lane(ir, i == 0 ? 0 : 1),
                           tsr_expr_lane(ir, i == 0 ? 1 : 0), subs);
    tsr_op_add_element(ir, op, e->rings[i].buffer, subs, rank);
  }
  tsr_op_add_operand(ir, op, sum);
  tsr_op_set_string(ir, op, "atom", e->schedule->atom->text);
  tsr_op_set_int(ir, op, "k", e->knobs[TSR_KNOB_BK]);
  tsr_op_set_exprs(ir, op, "warps", warps, 2);
  return tsr_op_add_result(
      ir, op, tsr_tile_type(ir, e->schedule->atom->c, e->rings[0].tile, e->rings[1].tile));
}

/* One product stays under way while the next place fills; the place of the one before it is free.
 */
static void consume_tile(emitting *e, tsr_expr first) {
  tsr_ir *ir = e->ir;
  const tsr_region outer = e->body.region;
  const tsr_value zero =
      tsr_tile_const(ir, outer, e->schedule->atom->c, 0, e->rings[0].tile, e->rings[1].tile);
  tsr_tile_loop loop = tsr_tile_for(ir, outer, number(e, 0), e->turns, &zero, 1);
  const tsr_expr turn = tsr_expr_add(ir, first, loop.index);
  wait_on(e, loop.body, e->full, turn, 0);
  const tsr_value next =
      product(e, loop.body, tsr_expr_mod_int(ir, turn, e->stages), loop.carried[0]);
  wait_for_products(e, loop.body, 1);
  if (!tsr_expr_equals_int(ir, e->turns, 1))
    release(e,
            tsr_tile_if(ir, loop.body, tsr_expr_binary(ir, TSR_INDEX_LE, number(e, 1), loop.index)),
            tsr_expr_add_int(ir, turn, e->stages - 1));
  tsr_tile_yield(ir, loop.body, &next, 1);
  wait_for_products(e, outer, 0);
  release(e, outer, tsr_expr_add_int(ir, tsr_expr_add(ir, first, e->turns), e->stages - 1));
  tsr_mma_epilogue(&e->body, e->p, e->schedule,
                   loop.op == 0 ? 0 : tsr_op_get(ir, loop.op)->results[0], tile_row(e),
                   e->tiles.column);
}

/* --- tasks --- */

/* Tile `at` of all, outer axes included. */
static void bind_tile(emitting *e, tsr_expr at) {
  tsr_ir *ir = e->ir;
  const tsr_expr inner = tsr_expr_mul(ir, e->tiles.rows, e->tiles.columns);
  tsr_mma_side outer = {.count = e->p->outer_count};
  memcpy(outer.axes, e->p->outer, sizeof outer.axes);
  if (outer.count > 0) {
    tsr_mma_bind(&e->body, &outer, tsr_expr_binary(ir, TSR_INDEX_FLOORDIV, at, inner), false);
    at = tsr_expr_binary(ir, TSR_INDEX_MOD, at, inner);
  }
  tsr_mma_walk(ir, &e->tiles, at, e->knobs[TSR_KNOB_RASTER]);
}

static tsr_expr tile_count(const emitting *e) {
  tsr_expr count = tsr_expr_mul(e->ir, e->tiles.rows, e->tiles.columns);
  for (uint32_t i = 0; i < e->p->outer_count; i++)
    count = tsr_expr_mul(e->ir, count, e->nest->axes[e->p->outer[i]].extent);
  return count;
}

static void role(emitting *e, tsr_region region, void (*tile)(emitting *, tsr_expr)) {
  tsr_ir *ir = e->ir;
  e->body.region = region;
  if (!e->persistent) {
    tile(e, number(e, 0));
    return;
  }
  const tsr_op op = tsr_op_append(ir, region, TSR_OP_FOR);
  e->body.region = tsr_op_add_region(ir, op);
  const tsr_expr at =
      tsr_expr_value(ir, tsr_region_add_index(ir, e->body.region, TSR_ROLE_LOOP, e->walker,
                                              tile_count(e), e->walkers));
  bind_tile(e, at);
  tile(e, tsr_expr_mul(ir, tsr_expr_floordiv_int(ir, at, e->walkers), e->turns));
}

static tsr_expr rank_index(emitting *e, tsr_region region) {
  return tsr_expr_value(e->ir, tsr_region_add_index(e->ir, region, TSR_ROLE_GRID, number(e, 0),
                                                    number(e, e->cluster), 1));
}

/* The last grid variable is the rank in the cluster, so that its tasks have consecutive numbers. */
static void add_grid(emitting *e, tsr_region region) {
  tsr_ir *ir = e->ir;
  e->tiles.rows = tsr_expr_ceildiv_int(ir, e->p->m.extent, e->knobs[TSR_KNOB_BM] * e->cluster);
  e->tiles.columns = tsr_expr_ceildiv_int(ir, e->p->n.extent, e->knobs[TSR_KNOB_BN]);
  e->rank = number(e, 0);
  if (e->persistent) {
    e->walkers = (int64_t)e->nest->target->gpu.multiprocessors / e->cluster;
    e->walker = tsr_expr_value(ir, tsr_region_add_index(ir, region, TSR_ROLE_GRID, number(e, 0),
                                                        number(e, e->walkers), 1));
  } else {
    tsr_mma_grid(&e->body, e->p, region, &e->tiles, e->knobs[TSR_KNOB_RASTER]);
  }
  if (e->cluster == 1)
    return;
  e->rank = rank_index(e, region);
  tsr_expr extents[TSR_NEST_AXES + 4];
  uint32_t count = 0;
  const tsr_region_data *data = tsr_region_get(ir, region);
  for (uint32_t i = 0; i < data->arg_count; i++)
    if (tsr_value_get(ir, data->args[i])->role == TSR_ROLE_GRID)
      extents[count++] = number(e, 1);
  extents[count - 1] = number(e, e->cluster);
  tsr_op_set_exprs(ir, data->parent, "cluster", extents, count);
}

static void add_roles(emitting *e, tsr_region region) {
  tsr_ir *ir = e->ir;
  static const char *const names[2] = {"producer", "consumer"};
  const int64_t warps = e->knobs[TSR_KNOB_WARPS_M];
  const tsr_expr counts[2] = {number(e, PRODUCER_WARPS), number(e, warps)};
  const tsr_expr registers[2] = {number(e, warps > 8 ? 24 : 40),
                                 number(e, tsr_wgmma_registers(warps))};
  tsr_op op = tsr_op_append(ir, region, TSR_OP_ROLES);
  tsr_attr attr = {.key = "names", .kind = TSR_ATTR_STRINGS, .count = 2};
  attr.u.strings = (const char **)names;
  tsr_op_set_attr(ir, op, &attr);
  tsr_op_set_exprs(ir, op, "registers", registers, 2);
  tsr_op_set_exprs(ir, op, "warps", counts, 2);
  const tsr_region producer = tsr_op_add_region(ir, op), consumer = tsr_op_add_region(ir, op);
  role(e, producer, produce_tile);
  role(e, consumer, consume_tile);
  if (e->cluster > 1)
    tsr_op_set_string(ir, tsr_op_append(ir, region, TSR_OP_BARRIER), "scope", "cluster");
}

tsr_status tsr_tile_wgmma(tsr_nest *nest, const tsr_schedule *schedule, tsr_region region,
                          tsr_diag *diag) {
  emitting e = {.nest = nest,
                .ir = nest->ir,
                .p = tsr_mma_match(nest),
                .schedule = schedule,
                .knobs = schedule->knobs,
                .cluster = schedule->knobs[TSR_KNOB_CLUSTER],
                .stages = schedule->knobs[TSR_KNOB_STAGES],
                .persistent = schedule->knobs[TSR_KNOB_PERSISTENT] == 1};
  if (e.p == NULL)
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "the block is no contraction");
  if (!tsr_body_begin(&e.body, nest, region))
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory in tiling");
  tsr_op_set_int(nest->ir, tsr_region_get(nest->ir, region)->parent, "warps",
                 PRODUCER_WARPS + e.knobs[TSR_KNOB_WARPS_M]);
  e.body.unbound = 0;
  e.turns = tsr_expr_ceildiv_int(nest->ir, e.p->k.extent, e.knobs[TSR_KNOB_BK]);
  add_grid(&e, region);
  for (int i = 0; i < 2; i++) {
    tsr_wgmma_ring_of(nest, e.p, schedule, i, &e.rings[i]);
    if (!tsr_wgmma_box_of(nest, e.p, &e.rings[i], &e.boxes[i]) || e.boxes[i].packed)
      return tsr_fail(diag, TSR_ERR_ARGUMENT, "no tensor map reads an operand of the block");
    const int apart = e.boxes[i].side - e.boxes[i].depth;
    e.rings[i].gap = (uint32_t)(apart < 0 ? -apart : apart) - 1;
    tsr_mma_alloc(nest, region, &e.rings[i], e.stages);
  }
  e.full = make_barriers(&e, region, 1);
  e.empty = make_barriers(&e, region, e.cluster);
  add_roles(&e, region);
  tsr_body_release(&e.body, 0);
  return tsr_ir_status(nest->ir);
}
