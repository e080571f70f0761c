/* Default schedules of strategy nest on CUDA: which variable lies on the lanes of a tile, which on
 * its rows, how large the tile is and how many warps share it. All combinations are ranked by the
 * model. */
#include "passes/tile/default.h"
#include <math.h>
#include <string.h>

enum {
  WARP = 32,
  MOST_LANES = 4096,
  MOST_ROWS = 1024,
  MOST_WARPS = 8,
  MOST_EACH = 64, /* bytes of a tile in one thread */
  BASE_REGISTERS = 32,
  SHUFFLE_CYCLES = 30,
  EXCHANGE_CYCLES = 90 /* store, barrier, load */
};

/* One load or store. */
typedef struct facts {
  int64_t strides[TSR_NEST_AXES]; /* elements; INT64_MAX: anywhere */
  uint32_t varies;
  int64_t bytes;
  double total; /* of the buffer */
  bool deep, store;
} facts;

typedef struct choosing {
  tsr_nest *nest;
  facts *facts;
  tsr_cost_cuda_access *accesses;
  uint32_t count;
  uint32_t red;
  int64_t sizes[TSR_NEST_AXES];
  double parts;
  bool region;       /* a reduce has a combiner region */
  int64_t most_each; /* points of a thread */
} choosing;

/* A candidate: axes (-1: none) and extents. */
typedef struct tile {
  int vector, fold, side;
  int64_t lanes, rows, warps;
} tile;

/* --- the block --- */

static double buffer_bytes(tsr_nest *nest, const tsr_nest_buffer *buffer) {
  double elements = 1;
  for (uint32_t d = 0; d < buffer->rank; d++)
    elements *= (double)tsr_nest_typical(nest, buffer->dims[d]);
  return elements * (tsr_dtype_bits(buffer->dtype) / 8.0);
}

static void read_access(choosing *c, const tsr_nest_access *access) {
  const tsr_nest_buffer *buffer = &c->nest->buffers[access->buffer];
  facts *f = &c->facts[c->count++];
  *f = (facts){.varies = tsr_nest_varies(c->nest, access),
               .store = access->kind == TSR_ACCESS_STORE};
  f->bytes = greatest(1, tsr_dtype_bits(buffer->dtype) / 8);
  f->total = buffer_bytes(c->nest, buffer);
  f->deep = (f->varies & c->red) != 0;
  for (uint32_t i = 0; i < c->nest->axis_count; i++) {
    f->strides[i] = tsr_nest_stride(c->nest, access, i);
    if (access->indirect && (f->varies >> i & 1) != 0 && f->strides[i] == 0)
      f->strides[i] = INT64_MAX;
  }
}

/* Points of a thread. */
static int64_t most_each(const tsr_nest *nest) {
  return MOST_EACH / greatest(2, tsr_dtype_bits(nest->widest) / 8);
}

bool tsr_default_cuda_nest_fits(const tsr_nest *nest, const tsr_schedule *schedule) {
  const int64_t *knobs = schedule->knobs;
  const int64_t points = knobs[TSR_KNOB_LANES] * knobs[TSR_KNOB_ROWS];
  const int64_t warps = knobs[TSR_KNOB_WARPS];
  return warps >= 1 && points >= 1 && points <= most_each(nest) * warps * WARP &&
         (warps == 1 || warps * WARP <= points);
}

static bool read_block(choosing *c) {
  tsr_nest *nest = c->nest;
  c->facts = tsr_arena_alloc_array(nest->arena, nest->access_count + 1, sizeof *c->facts);
  c->accesses = tsr_arena_alloc_array(nest->arena, nest->access_count + 1, sizeof *c->accesses);
  if (c->facts == NULL || c->accesses == NULL)
    return tsr_ir_poison(nest->ir, TSR_ERR_OUT_OF_MEMORY, "out of memory in tiling") != 0;
  for (uint32_t i = 0; i < nest->axis_count; i++) {
    c->sizes[i] = nest->axes[i].gone ? 1 : greatest(nest->axes[i].size, 1);
    if (i >= nest->par_count)
      c->red |= 1u << i;
  }
  for (uint32_t i = 0; i < nest->access_count; i++)
    if (nest->accesses[i].kind != TSR_ACCESS_INDEX)
      read_access(c, &nest->accesses[i]);
  c->most_each = most_each(nest);
  c->region = tsr_nest_has_region_reduce(nest);
  return true;
}

/* --- one candidate --- */

/* Elements that a thread takes at once: where every other step of the access is a multiple. */
static int64_t vector_of(const facts *f, uint32_t axes, int lane_axis, int64_t lanes) {
  int64_t vector = least(greatest(16 / f->bytes, 1), lanes);
  while (vector > 1 && (vector & (vector - 1)) != 0)
    vector &= vector - 1;
  for (uint32_t i = 0; i < axes && vector > 1; i++)
    while (vector > 1 && (int)i != lane_axis && f->strides[i] != 0 && f->strides[i] % vector != 0)
      vector /= 2;
  return lanes % vector == 0 ? vector : 1;
}

static tsr_cost_cuda_access access_at(const choosing *c, const facts *f, const tile *t, bool shared,
                                      double tasks, double steps) {
  const int on_lanes = f->deep && !shared ? t->fold : t->vector;
  const bool lanes = on_lanes >= 0 && (f->varies >> on_lanes & 1) != 0;
  const bool rows = t->side >= 0 && (f->varies >> t->side & 1) != 0;
  tsr_cost_cuda_access a = {.times = tasks * (f->deep ? steps : 1),
                            .rows = rows ? t->rows : 1,
                            .lanes = lanes ? t->lanes : 1,
                            .vector = 1,
                            .bytes = (double)f->bytes,
                            .store = f->store};
  a.lane_stride = lanes ? f->strides[on_lanes] : 0;
  a.row_stride = rows ? f->strides[t->side] : 0;
  if (lanes && a.lane_stride == 1)
    a.vector = vector_of(f, c->nest->axis_count, on_lanes, t->lanes);
  double points = 1;
  for (uint32_t i = 0; i < c->nest->axis_count; i++) {
    if ((f->varies >> i & 1) == 0)
      continue;
    points *= (double)c->sizes[i] * ((c->red >> i & 1) != 0 ? c->parts : 1);
    if ((c->red >> i & 1) != 0 && (int)i != on_lanes && (int)i != t->side && f->strides[i] == 1)
      a.walks_on = true;
  }
  a.distinct = fmin(points * (double)f->bytes, f->total);
  return a;
}

/* Partial results of the threads meet: by shuffles in a warp, through shared memory beyond it. */
static double ending_of(const choosing *c, const tile *t, bool shared) {
  const bool red_rows = t->side >= (int)c->nest->par_count;
  const int64_t threads = t->warps * WARP;
  double cycles = 0;
  const double each = (double)greatest(1, t->rows * t->lanes / threads);
  if (!shared && t->fold >= 0)
    for (int64_t step = 1; step < least(threads, t->lanes); step *= 2)
      cycles += step < WARP ? SHUFFLE_CYCLES : EXCHANGE_CYCLES;
  if (red_rows)
    for (int64_t step = 1; step < least(threads, t->rows); step *= 2)
      cycles += (double)EXCHANGE_CYCLES + 4 * each;
  return cycles;
}

static void evaluate(choosing *c, const tile *t, bool shared, tsr_cost *out_cost) {
  const tsr_nest *nest = c->nest;
  const int64_t threads = t->warps * WARP, each = ceil_div(t->rows * t->lanes, threads);
  tsr_cost_cuda_nest shape = {.tasks = c->parts,
                              .steps = 1,
                              .rows = t->rows,
                              .lanes = t->lanes,
                              .threads = threads,
                              .accesses = c->accesses,
                              .access_count = c->count};
  for (uint32_t i = 0; i < nest->axis_count; i++) {
    const int64_t step = (int)i == t->side                          ? t->rows
                         : (int)i == t->vector || (int)i == t->fold ? t->lanes
                                                                    : 1;
    double *count = i < nest->par_count ? &shape.tasks : &shape.steps;
    /* The tiles along lanes that no reduction varies with are walked in one task. */
    if (!(nest->reduce_count > 0 && !shared && (int)i == t->vector))
      *count *= (double)ceil_div(c->sizes[i], step);
  }
  uint32_t loads = 0;
  for (uint32_t i = 0; i < c->count; i++) {
    c->accesses[i] = access_at(c, &c->facts[i], t, shared, shape.tasks, shape.steps);
    loads += c->facts[i].store ? 0 : 1;
  }
  shape.operations = (double)nest->op_count;
  shape.ending = ending_of(c, t, shared);
  shape.registers = BASE_REGISTERS + each * (2 + (int64_t)least(loads, 4));
  tsr_cost_of_cuda_nest(nest->target, &shape, out_cost);
}

/* --- all of them --- */

typedef struct best_tile {
  tile tile;
  tsr_cost cost;
  bool found;
} best_tile;

static void consider(choosing *c, const tile *t, bool shared, best_tile *best) {
  tsr_cost cost;
  evaluate(c, t, shared, &cost);
  if (best->found && cost.cycles >= best->cost.cycles)
    return;
  *best = (best_tile){.tile = *t, .cost = cost, .found = true};
}

/* The next extent of a tile along an axis: powers of two, and the axis's own where it is short. */
static int64_t next_extent(int64_t extent, int64_t size, int64_t most) {
  if (extent >= size || extent >= most)
    return 0;
  const int64_t next = extent * 2;
  return next > size && size <= most ? size : next;
}

static void consider_extents(choosing *c, tile t, bool shared, best_tile *best) {
  const int wide = t.vector >= 0 ? t.vector : t.fold;
  int64_t size = wide < 0 ? 1 : c->sizes[wide];
  if (!shared && t.fold >= 0)
    size = greatest(size, c->sizes[t.fold]);
  const int64_t height = t.side < 0 ? 1 : c->sizes[t.side];
  for (t.lanes = 1; t.lanes > 0; t.lanes = next_extent(t.lanes, size, MOST_LANES))
    for (t.rows = 1; t.rows > 0; t.rows = next_extent(t.rows, height, MOST_ROWS)) {
      const int64_t points = t.lanes * t.rows;
      if (t.side >= 0 && t.rows == 1)
        continue;
      for (t.warps = 1; t.warps <= MOST_WARPS; t.warps *= 2)
        if (points <= c->most_each * t.warps * WARP && (t.warps == 1 || t.warps * WARP <= points))
          consider(c, &t, shared, best);
    }
}

static bool live(const tsr_nest *nest, int axis) {
  return !nest->axes[axis].gone;
}

/* Lanes: a par axis, or a red one where no reduced element varies with a par axis on them. Rows:
 * another par axis, or a red one. */
static void consider_axes(choosing *c, best_tile *best) {
  const tsr_nest *nest = c->nest;
  const int pars = (int)nest->par_count, all = (int)nest->axis_count;
  for (int v = -1; v < pars; v++) {
    if (v >= 0 && !live(nest, v))
      continue;
    const bool shared = tsr_nest_reduces_over(nest, v);
    for (int f = -1; f < all; f++) {
      if (f >= 0 && (f < pars || !live(nest, f) || c->region || shared))
        continue;
      for (int s = -1; s < all; s++) {
        if (s >= 0 && (!live(nest, s) || s == v || s == f || (v < 0 && f < 0) ||
                       (s >= pars && (c->region || v < 0))))
          continue;
        consider_extents(c, (tile){.vector = v, .fold = f, .side = s}, shared, best);
      }
    }
  }
}

/* All tiles along lanes that no reduction varies with are one task's, which reduces once. */
int64_t tsr_default_cuda_grain(const tsr_nest *nest, const tsr_schedule *schedule) {
  const int64_t vector = schedule->knobs[TSR_KNOB_VECTOR];
  if (nest->reduce_count == 0 || vector < 0 || tsr_nest_reduces_over(nest, (int)vector))
    return 1;
  const int64_t size = greatest(nest->axes[vector].size, 1);
  return (int64_t)(tsr_nest_tile_cycles(nest, schedule) *
                   (double)ceil_div(size, schedule->knobs[TSR_KNOB_LANES])) +
         1;
}

void tsr_default_cuda_nest(tsr_nest *nest, int axis, int64_t size, int64_t parts,
                           tsr_schedule *out_schedule, tsr_cost *out_cost) {
  choosing c = {.nest = nest, .parts = (double)parts};
  best_tile best = {.tile = {-1, -1, -1, 1, 1, 1}};
  int64_t *knobs = out_schedule->knobs;
  *out_schedule = (tsr_schedule){.strategy = TSR_STRATEGY_NEST};
  *out_cost = (tsr_cost){0};
  if (read_block(&c)) {
    if (axis >= 0)
      c.sizes[axis] = size;
    consider_axes(&c, &best);
    *out_cost = best.cost;
  }
  const tile *t = &best.tile;
  knobs[TSR_KNOB_VECTOR] = t->vector;
  knobs[TSR_KNOB_FOLD] = t->fold;
  knobs[TSR_KNOB_SIDE] = t->side;
  knobs[TSR_KNOB_LANES] = t->lanes;
  knobs[TSR_KNOB_ROWS] = t->rows;
  knobs[TSR_KNOB_WARPS] = t->warps;
  knobs[TSR_KNOB_SPLIT] = 1;
  knobs[TSR_KNOB_UNROLL] = nest->reduce_count > 0 ? 4 : 1;
  knobs[TSR_KNOB_GRAIN] = tsr_default_cuda_grain(nest, out_schedule);
}

void tsr_default_cuda_nest_cost(tsr_nest *nest, const tsr_schedule *schedule, tsr_cost *out_cost) {
  choosing c = {.nest = nest, .parts = 1};
  const int64_t *knobs = schedule->knobs;
  const tile t = {.vector = (int)knobs[TSR_KNOB_VECTOR],
                  .fold = (int)knobs[TSR_KNOB_FOLD],
                  .side = (int)knobs[TSR_KNOB_SIDE],
                  .lanes = knobs[TSR_KNOB_LANES],
                  .rows = knobs[TSR_KNOB_ROWS],
                  .warps = greatest(knobs[TSR_KNOB_WARPS], 1)};
  *out_cost = (tsr_cost){0};
  if (read_block(&c))
    evaluate(&c, &t, tsr_nest_reduces_over(nest, t.vector), out_cost);
}
