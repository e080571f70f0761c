/* What a learned model sees of a schedule. */
#include "passes/tile/contract_dot.h"
#include "passes/tile/group.h"
#include "passes/tile/space_form.h"
#include <math.h>
#include <string.h>

/* X(NAME, "what it is"). Sizes are logarithms to base 2. */
#define FEATURE_LIST(X)                                                                            \
  X(COPY_A, "1: the row operand is copied to scratch")                                             \
  X(COPY_B, "1: the column operand is copied to scratch")                                          \
  X(SUMS, "1: sums in a register tile")                                                            \
  X(RESULT, "1: results are stored")                                                               \
  X(NEST, "1: strategy nest")                                                                      \
  X(CONTRACT, "1: strategy contract")                                                              \
  X(PROC, "1: strategy proc")                                                                      \
  X(MMA, "1: strategy mma")                                                                        \
  X(WGMMA, "1: strategy wgmma")                                                                    \
  X(GROUP, "1: strategy group")                                                                    \
  X(ATOM_WORK, "multiply-adds of one step of the atom")                                            \
  X(THREADS, "threads or multiprocessors")                                                         \
  X(TASKS, "tasks")                                                                                \
  X(TAIL, "share of the threads' time that the last wave leaves idle")                             \
  X(POINTS, "points of the block, reduced ones included")                                          \
  X(OUTPUTS, "points of the results")                                                              \
  X(DEPTH, "reduced points of one output")                                                         \
  X(TIMES, "times that the store is done, in tiles")                                               \
  X(TILE_ROWS, "rows of the tile that is stored")                                                  \
  X(TILE_COLUMNS, "columns of it")                                                                 \
  X(TILE_VECTORS, "its vectors, of the registers")                                                 \
  X(CHAINS, "independent sums of vectors")                                                         \
  X(LANE_FILL, "share of the last vector's lanes that is used")                                    \
  X(ROWS_LEFT, "share of the rows in rests of tiles")                                              \
  X(COLUMNS_LEFT, "share of the columns in rests of tiles")                                        \
  X(BLOCK_ROWS, "rows of a task")                                                                  \
  X(BLOCK_COLUMNS, "columns of a task")                                                            \
  X(PASS_DEPTH, "depth of a pass or turn")                                                         \
  X(UNROLL, "steps in one")                                                                        \
  X(AHEAD, "steps that are fetched ahead")                                                         \
  X(FETCH, "knob fetch")                                                                           \
  X(OUTER, "knob outer")                                                                           \
  X(GRAIN, "cycles of a task, at least")                                                           \
  X(SPLIT, "parts of the reduced axis")                                                            \
  X(STAGES, "places of the ring")                                                                  \
  X(WARPS, "warps of a task")                                                                      \
  X(RASTER, "rows of tiles walked together")                                                       \
  X(CLUSTER, "tasks of a cluster")                                                                 \
  X(PERSISTENT, "knob persistent")                                                                 \
  X(A_TILE, "bytes of the row operand for one register tile, by the first cache")                  \
  X(B_TILE, "of the column operand")                                                               \
  X(A_BLOCK, "bytes of the row operand for one task, by the second cache")                         \
  X(B_BLOCK, "of the column operand")                                                              \
  X(BYTES, "bytes that the block reaches")                                                         \
  X(INTENSITY, "points by these bytes")                                                            \
  X(WEIGHT, "operations of the body")                                                              \
  X(COMPUTE, "share of arithmetic in the analytic model's cycles")                                 \
  X(NEAR, "of the second cache")                                                                   \
  X(FAR, "of what is beyond")                                                                      \
  X(PACKING, "of copies")                                                                          \
  X(CYCLES, "the analytic model's cycles")

typedef enum feature_kind {
#define FEATURE_ENUM(name, text) FEATURE_##name,
  FEATURE_LIST(FEATURE_ENUM)
#undef FEATURE_ENUM
      FEATURE_COUNT
} feature_kind;
_Static_assert((int)FEATURE_COUNT == (int)TSR_SPACE_FEATURES, "one layout for all");

static const char *const texts[] = {
#define FEATURE_TEXT(name, text) text,
    FEATURE_LIST(FEATURE_TEXT)
#undef FEATURE_TEXT
};

const char *tsr_space_feature_text(uint32_t feature) {
  return feature < TSR_SPACE_FEATURES ? texts[feature] : NULL;
}

static float size_of(double number) {
  return number > 0 ? (float)log2(1 + number) : 0;
}

static float ratio_of(double a, double b) {
  return a > 0 && b > 0 ? (float)log2(a / b) : 0;
}

static double one_or(int64_t number) {
  return number > 1 ? (double)number : 1;
}

/* The block and the schedule as rows, columns and depth. */
typedef struct shape {
  double m, n, k, outer;
  double tile_m, tile_n, block_m, block_n, pass;
  double a_bytes, b_bytes;
  int64_t lanes;
} shape;

static double sizes_of(const tsr_nest *nest, uint32_t from, uint32_t to) {
  double points = 1;
  for (uint32_t i = from; i < to; i++)
    points *= nest->axes[i].gone ? 1 : one_or(nest->axes[i].size);
  return points;
}

static double size_at(const tsr_nest *nest, int64_t axis) {
  return axis < 0 || axis >= nest->axis_count ? 1 : one_or(nest->axes[axis].size);
}

static shape shape_of_contract(const tsr_space *space, const tsr_schedule *schedule) {
  const tsr_contraction *c = schedule->atom == NULL ? space->contraction : space->narrow;
  const int64_t *knobs = schedule->knobs;
  const tsr_nest *nest = space->matched;
  shape s = {.m = size_at(nest, c->m), .n = size_at(nest, c->n), .k = one_or(c->depth_size)};
  s.outer = sizes_of(nest, 0, nest->par_count) / (s.m * s.n);
  s.tile_m = (double)knobs[TSR_KNOB_MR];
  s.tile_n = (double)knobs[TSR_KNOB_NR];
  s.block_m = (double)knobs[TSR_KNOB_MC];
  s.block_n = (double)knobs[TSR_KNOB_NC];
  s.pass = knobs[TSR_KNOB_KC] > 0 ? (double)knobs[TSR_KNOB_KC] : s.k;
  s.a_bytes = (double)c->a.bytes;
  s.b_bytes = (double)c->b.bytes;
  s.lanes = tsr_target_lanes(nest->target, tsr_dtype_bits(c->dtype));
  return s;
}

static shape shape_of_mma(const tsr_space *space, const tsr_schedule *schedule) {
  const tsr_mma_problem *p = space->problem;
  const int64_t *knobs = schedule->knobs;
  shape s = {.m = one_or(p->m.size), .n = one_or(p->n.size), .k = one_or(p->k.size)};
  s.outer = sizes_of(space->nest, 0, space->nest->par_count) / (s.m * s.n);
  s.tile_m = (double)knobs[TSR_KNOB_BM] / one_or(knobs[TSR_KNOB_WARPS_M]);
  s.tile_n = (double)knobs[TSR_KNOB_BN] / one_or(knobs[TSR_KNOB_WARPS_N]);
  s.block_m = (double)knobs[TSR_KNOB_BM];
  s.block_n = (double)knobs[TSR_KNOB_BN];
  s.pass = (double)knobs[TSR_KNOB_BK];
  s.a_bytes = s.b_bytes = tsr_dtype_bits(schedule->atom->a) / 8.0;
  s.lanes = 8;
  return s;
}

static shape shape_of_nest(const tsr_nest *nest, const int64_t *knobs) {
  const int64_t vector = knobs[TSR_KNOB_VECTOR], fold = knobs[TSR_KNOB_FOLD];
  shape s = {.n = size_at(nest, vector >= 0 ? vector : fold), .outer = 1};
  const double outputs = sizes_of(nest, 0, nest->par_count);
  s.k = sizes_of(nest, nest->par_count, nest->axis_count);
  s.m = vector >= 0 ? outputs / s.n : outputs;
  s.tile_m = s.block_m = one_or(knobs[TSR_KNOB_ROWS]);
  s.tile_n = s.block_n = one_or(knobs[TSR_KNOB_LANES]);
  s.pass = s.k;
  s.a_bytes = s.b_bytes = tsr_dtype_bits(nest->widest) / 8.0;
  s.lanes = tsr_target_lanes(nest->target, tsr_dtype_bits(nest->widest));
  return s;
}

static float share_left(double size, double tile) {
  return tile > 0 && size > 0 ? (float)((size - floor(size / tile) * tile) / size) : 0;
}

static double all_bytes(tsr_nest *nest) {
  double bytes = 0;
  for (uint32_t i = 0; i < nest->buffer_count; i++) {
    double each = tsr_dtype_bits(nest->buffers[i].dtype) / 8.0;
    for (uint32_t d = 0; d < nest->buffers[i].rank; d++)
      each *= one_or(tsr_nest_typical(nest, nest->buffers[i].dims[d]));
    bytes += each;
  }
  return bytes;
}

/* What is the same in all rows of a schedule. */
static void fill_common(tsr_space *space, tsr_nest *nest, const tsr_schedule *schedule,
                        const shape *s, float *row) {
  const int64_t *knobs = schedule->knobs;
  const tsr_target *target = space->take.target;
  const double threads = one_or((int64_t)target->threads);
  const double vectors = s->tile_m * ceil(s->tile_n / (double)s->lanes), bytes = all_bytes(nest);
  const double points = s->outer * s->m * s->n * s->k;
  tsr_cost cost;
  tsr_space_cost(space, schedule, &cost);
  double tasks = cost.tasks;
  if (schedule->strategy == TSR_STRATEGY_CONTRACT)
    tasks = s->outer * ceil(s->m / s->block_m) * ceil(s->n / s->block_n);
  const double waves = ceil(tasks / threads);
  row[FEATURE_NEST + (int)schedule->strategy] = 1;
  if (schedule->atom != NULL)
    row[FEATURE_ATOM_WORK] =
        size_of((double)schedule->atom->m * schedule->atom->k * one_or((int64_t)schedule->atom->n));
  row[FEATURE_THREADS] = size_of(threads);
  row[FEATURE_TASKS] = size_of(tasks);
  row[FEATURE_TAIL] = waves > 0 ? (float)(1 - tasks / (waves * threads)) : 0;
  row[FEATURE_POINTS] = size_of(points);
  row[FEATURE_OUTPUTS] = size_of(s->outer * s->m * s->n);
  row[FEATURE_DEPTH] = size_of(s->k);
  row[FEATURE_TILE_VECTORS] = (float)(vectors / one_or((int64_t)target->vector_registers));
  row[FEATURE_CHAINS] = size_of(vectors);
  row[FEATURE_LANE_FILL] = (float)(s->n / (ceil(s->n / (double)s->lanes) * (double)s->lanes));
  row[FEATURE_ROWS_LEFT] = share_left(s->m, s->tile_m);
  row[FEATURE_COLUMNS_LEFT] = share_left(s->n, s->tile_n);
  row[FEATURE_BLOCK_ROWS] = size_of(s->block_m);
  row[FEATURE_BLOCK_COLUMNS] = size_of(s->block_n);
  row[FEATURE_PASS_DEPTH] = size_of(s->pass);
  row[FEATURE_UNROLL] = size_of((double)knobs[TSR_KNOB_UNROLL]);
  row[FEATURE_AHEAD] = size_of((double)knobs[TSR_KNOB_AHEAD]);
  row[FEATURE_FETCH] = (float)knobs[TSR_KNOB_FETCH];
  row[FEATURE_OUTER] = (float)knobs[TSR_KNOB_OUTER];
  row[FEATURE_GRAIN] = size_of((double)knobs[TSR_KNOB_GRAIN]);
  row[FEATURE_SPLIT] = size_of(one_or(knobs[TSR_KNOB_SPLIT]));
  row[FEATURE_STAGES] = (float)knobs[TSR_KNOB_STAGES];
  row[FEATURE_WARPS] = size_of(one_or(knobs[TSR_KNOB_WARPS]) * one_or(knobs[TSR_KNOB_WARPS_M]) *
                               one_or(knobs[TSR_KNOB_WARPS_N]));
  row[FEATURE_RASTER] = size_of((double)knobs[TSR_KNOB_RASTER]);
  row[FEATURE_CLUSTER] = (float)knobs[TSR_KNOB_CLUSTER];
  row[FEATURE_PERSISTENT] = (float)knobs[TSR_KNOB_PERSISTENT];
  row[FEATURE_A_TILE] = ratio_of(s->tile_m * s->pass * s->a_bytes, (double)target->l1_bytes);
  row[FEATURE_B_TILE] = ratio_of(s->tile_n * s->pass * s->b_bytes, (double)target->l1_bytes);
  row[FEATURE_A_BLOCK] = ratio_of(s->block_m * s->pass * s->a_bytes, (double)target->l2_bytes);
  row[FEATURE_B_BLOCK] = ratio_of(s->block_n * s->pass * s->b_bytes, (double)target->l2_bytes);
  row[FEATURE_BYTES] = size_of(bytes);
  row[FEATURE_INTENSITY] = ratio_of(points, bytes);
  row[FEATURE_WEIGHT] = size_of((double)nest->op_count);
  const double all = cost.cycles > 0 ? cost.cycles : 1;
  row[FEATURE_COMPUTE] = (float)(cost.compute / all);
  row[FEATURE_NEAR] = (float)(cost.near / all);
  row[FEATURE_FAR] = (float)(cost.far / all);
  row[FEATURE_PACKING] = (float)(cost.packing / all);
  row[FEATURE_CYCLES] = size_of(cost.cycles);
}

typedef struct row_list {
  float (*list)[TSR_SPACE_FEATURES];
  const float *common;
  uint32_t count;
} row_list;

static void add_row(row_list *r, feature_kind kind, double times, double tile_m, double tile_n) {
  if (r->count == TSR_SPACE_STORES)
    return;
  float *row = r->list[r->count++];
  memcpy(row, r->common, sizeof *r->list);
  row[kind] = 1;
  row[FEATURE_TIMES] = size_of(times);
  row[FEATURE_TILE_ROWS] = size_of(tile_m);
  row[FEATURE_TILE_COLUMNS] = size_of(tile_n);
}

/* Sums of each reduction, then each store. */
static void add_body(row_list *r, const tsr_nest *nest, const shape *s) {
  const double tiles = s->outer * ceil(s->m / s->tile_m) * ceil(s->n / s->tile_n);
  for (uint32_t i = 0; i < nest->reduce_count; i++)
    add_row(r, FEATURE_SUMS, tiles * s->k, s->tile_m, s->tile_n);
  for (uint32_t i = 0; i < nest->access_count; i++)
    if (nest->accesses[i].kind == TSR_ACCESS_STORE)
      add_row(r, FEATURE_RESULT, tiles, s->tile_m, s->tile_n);
}

/* Of a group: rows at once, the points and stores of all its blocks, nothing of their tiles. */
static uint32_t group_features(tsr_space *space, const tsr_schedule *schedule,
                               float out_rows[TSR_SPACE_STORES][TSR_SPACE_FEATURES]) {
  const tsr_target *target = space->take.target;
  const double threads = one_or((int64_t)target->threads);
  const double rows = (double)schedule->knobs[TSR_KNOB_ROWS];
  float *row = out_rows[0];
  tsr_group_facts facts;
  tsr_cost cost;
  if (!tsr_group_describe(space->take.ir, target, space->block, &facts))
    return 0;
  tsr_space_cost(space, schedule, &cost);
  const double waves = ceil(cost.tasks / threads), all = cost.cycles > 0 ? cost.cycles : 1;
  memset(row, 0, sizeof *out_rows);
  row[FEATURE_GROUP] = row[FEATURE_RESULT] = 1;
  row[FEATURE_THREADS] = size_of(threads);
  row[FEATURE_TASKS] = size_of(cost.tasks);
  row[FEATURE_TAIL] = waves > 0 ? (float)(1 - cost.tasks / (waves * threads)) : 0;
  row[FEATURE_OUTPUTS] = size_of(facts.outer * facts.rows);
  row[FEATURE_TIMES] = size_of(facts.stores * facts.outer * facts.rows);
  row[FEATURE_TILE_ROWS] = row[FEATURE_BLOCK_ROWS] = size_of(rows);
  row[FEATURE_ROWS_LEFT] = share_left(facts.rows, rows);
  row[FEATURE_GRAIN] = size_of((double)schedule->knobs[TSR_KNOB_GRAIN]);
  row[FEATURE_A_TILE] = ratio_of(facts.scratch_bytes, (double)target->l1_bytes);
  row[FEATURE_A_BLOCK] = ratio_of(rows * facts.scratch_bytes, (double)target->l2_bytes);
  row[FEATURE_B_BLOCK] = ratio_of(facts.shared_bytes, (double)target->l2_bytes);
  row[FEATURE_BYTES] = size_of(facts.bytes);
  row[FEATURE_WEIGHT] = size_of(facts.cycles);
  row[FEATURE_COMPUTE] = (float)(cost.compute / all);
  row[FEATURE_NEAR] = (float)(cost.near / all);
  row[FEATURE_FAR] = (float)(cost.far / all);
  row[FEATURE_CYCLES] = size_of(cost.cycles);
  return 1;
}

uint32_t tsr_space_features(tsr_space *space, const tsr_schedule *schedule,
                            float out_rows[TSR_SPACE_STORES][TSR_SPACE_FEATURES]) {
  float common[TSR_SPACE_FEATURES] = {0};
  row_list r = {.list = out_rows, .common = common};
  if (space->group)
    return group_features(space, schedule, out_rows);
  tsr_nest *nest = tsr_space_nest_of(space, schedule);
  const int64_t *knobs = schedule->knobs;
  const bool contract = schedule->strategy == TSR_STRATEGY_CONTRACT;
  const bool mma =
      schedule->strategy == TSR_STRATEGY_MMA || schedule->strategy == TSR_STRATEGY_WGMMA;
  shape s;
  if (nest == NULL ||
      (contract && (schedule->atom == NULL ? space->contraction : space->narrow) == NULL) ||
      (mma && space->problem == NULL))
    return 0;
  s = contract ? shape_of_contract(space, schedule)
      : mma    ? shape_of_mma(space, schedule)
               : shape_of_nest(nest, knobs);
  fill_common(space, nest, schedule, &s, common);
  const double rows = s.outer * ceil(s.m / s.block_m), columns = ceil(s.n / s.block_n);
  if (mma || knobs[TSR_KNOB_PACK_B] == 1)
    add_row(&r, FEATURE_COPY_B, rows * s.k * s.n / s.tile_n, s.pass, s.tile_n);
  if (mma || knobs[TSR_KNOB_PACK_A] == 1)
    add_row(&r, FEATURE_COPY_A, columns * s.k * s.m / s.tile_m, s.tile_m, s.pass);
  if (schedule->strategy == TSR_STRATEGY_PROC)
    add_row(&r, FEATURE_RESULT, s.outer * s.m * s.n, 1, 1);
  else
    add_body(&r, nest, &s);
  tsr_arena_reset(&space->scratch);
  return r.count;
}
