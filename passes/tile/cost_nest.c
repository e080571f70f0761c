/* What a block by strategy nest does on a CPU, counted for the model. */
#include "passes/cost/cost.h"
#include "passes/tile/default.h"
#include <math.h>

enum { ADD_LATENCY = 4 };

/* How the block's points lie on vectors under a schedule. */
typedef struct layout {
  tsr_nest *nest;
  const int64_t *knobs;
  int64_t lanes;                /* of a vector */
  int vector;                   /* par axis on the lanes, -1: none */
  int inside;                   /* axis on the lanes of what is reduced, -1: none */
  uint32_t red;                 /* mask */
  double shallow;               /* vectors of what is not reduced, over all tiles */
  double deep;                  /* of what is */
  double per_shallow, per_deep; /* points in a vector, on average */
  double row;                   /* vectors of a tile's row that is whole */
} layout;

static double axis_size(const tsr_nest *nest, uint32_t axis) {
  const tsr_nest_axis *a = &nest->axes[axis];
  return a->gone ? 1 : a->size > 1 ? (double)a->size : 1;
}

static double points_of(const tsr_nest *nest, uint32_t axes) {
  double points = 1;
  for (uint32_t i = 0; i < nest->axis_count; i++)
    points *= (axes >> i & 1) != 0 ? axis_size(nest, i) : 1;
  return points;
}

/* Vectors that the axis takes in tiles of `extent`: a rest of unknown length is a whole tile. */
static double vectors_along(const layout *l, int axis, int64_t extent) {
  const int64_t size = (int64_t)axis_size(l->nest, (uint32_t)axis), rest = size % extent;
  const double row = (double)((extent + l->lanes - 1) / l->lanes);
  double last = (double)((rest + l->lanes - 1) / l->lanes);
  if (rest > 0 && !l->nest->axes[axis].fixed)
    last = row;
  return (double)(size / extent) * row + last;
}

static layout lay_out(tsr_nest *nest, const tsr_schedule *schedule) {
  const int64_t *knobs = schedule->knobs;
  layout l = {.nest = nest, .knobs = knobs, .vector = (int)knobs[TSR_KNOB_VECTOR]};
  const uint32_t par = (1u << nest->par_count) - 1;
  const bool shared = tsr_nest_reduces_over(nest, l.vector);
  const int64_t extent = knobs[TSR_KNOB_LANES] > 0 ? knobs[TSR_KNOB_LANES] : 1;
  l.lanes = tsr_target_lanes(nest->target, tsr_dtype_bits(nest->widest));
  l.red = tsr_nest_red_mask(nest);
  l.inside = shared ? l.vector : (int)knobs[TSR_KNOB_FOLD];
  l.row = (double)((extent + l.lanes - 1) / l.lanes);
  const double outputs = points_of(nest, par), all = outputs * points_of(nest, l.red);
  l.shallow = outputs;
  l.deep = all;
  if (l.vector >= 0)
    l.shallow *= vectors_along(&l, l.vector, extent) / axis_size(nest, (uint32_t)l.vector);
  if (l.inside >= 0)
    l.deep *= vectors_along(&l, l.inside, extent) / axis_size(nest, (uint32_t)l.inside);
  l.per_shallow = outputs / l.shallow;
  l.per_deep = all / l.deep;
  return l;
}

static uint32_t access_varies(const tsr_nest *nest, const tsr_nest_access *access) {
  const tsr_op_data *op = tsr_op_get(nest->ir, access->op);
  uint32_t mask = 0;
  if (access->kind == TSR_ACCESS_LOAD && op->result_count > 0)
    return nest->varies[op->results[0]];
  for (uint32_t d = 0; d < access->rank; d++)
    for (uint32_t i = 0; i < nest->axis_count; i++)
      if (tsr_expr_uses_value(nest->ir, access->subs[d], nest->axes[i].variable))
        mask |= 1u << i;
  return mask;
}

/* Cycles of an access, and the bytes that it moves. A load that is contiguous along the rows of a
 * tile, not along its lanes, is turned in registers. */
static void add_access(const layout *l, const tsr_nest_access *access, tsr_cost_nest *inout) {
  tsr_nest *nest = l->nest;
  const tsr_nest_buffer *buffer = &nest->buffers[access->buffer];
  const uint32_t varies = access_varies(nest, access);
  const bool deep = (varies & l->red) != 0;
  const int axis = deep ? l->inside : l->vector;
  const int64_t side = l->knobs[TSR_KNOB_SIDE];
  const double bytes = tsr_dtype_bits(buffer->dtype) / 8.0;
  double vectors = deep ? l->deep : l->shallow;
  int64_t stride = axis < 0 ? INT64_MAX : tsr_nest_stride(nest, access, (uint32_t)axis);
  if (access->indirect && stride == 0)
    stride = INT64_MAX;
  const bool turned = side >= 0 && axis >= 0 && access->kind == TSR_ACCESS_LOAD && stride > 1 &&
                      !access->indirect && tsr_nest_stride(nest, access, (uint32_t)side) == 1;
  /* What does not vary with the rows of a tile is read once for all of them. */
  if (side >= 0 && (varies >> side & 1) == 0 && l->knobs[TSR_KNOB_ROWS] > 1)
    vectors /= (double)l->knobs[TSR_KNOB_ROWS];
  const int64_t lanes = axis < 0 ? 1 : l->lanes;
  const double each = tsr_cost_of_access(nest->target, turned ? 1 : stride, lanes,
                                         access->kind == TSR_ACCESS_STORE);
  double cycles = vectors * each * (double)lanes * (stride == 1 || turned ? 0.5 : 1);
  if (turned)
    cycles += vectors * log2((double)lanes);
  inout->moves += cycles;
  double total = bytes;
  for (uint32_t d = 0; d < buffer->rank; d++)
    total *= (double)tsr_nest_typical(nest, buffer->dims[d]);
  const double touched = points_of(nest, varies) * bytes;
  /* A walk in long strides takes a line for each element. */
  const bool sparse = axis >= 0 && !turned && stride > 1 && access->kind == TSR_ACCESS_LOAD;
  inout->bytes += fmin(touched, total);
  inout->moved_bytes += stride == 0
                            ? fmin(touched, total)
                            : fmax(touched, vectors * (double)lanes * bytes) *
                                  (sparse ? fmin(4, (double)nest->target->line_bytes / bytes) : 1);
}

static void add_operations(const layout *l, tsr_cost_nest *inout) {
  const tsr_nest *nest = l->nest;
  double reduces = 0;
  TSR_FOR_EACH_OP (nest->ir, tsr_op_get(nest->ir, nest->op)->regions[0], op) {
    const tsr_op_data *data = tsr_op_get(nest->ir, op);
    if (data->code == TSR_OP_LOAD || data->code == TSR_OP_STORE)
      continue;
    const double weight = (double)tsr_nest_op_weight(data->code);
    bool deep = data->code == TSR_OP_REDUCE;
    for (uint32_t i = 0; i < data->result_count; i++)
      deep = deep || (nest->varies[data->results[i]] & l->red) != 0;
    inout->operations += weight * (deep ? l->deep : l->shallow);
    reduces += data->code == TSR_OP_REDUCE ? 1 : 0;
  }
  if (reduces == 0)
    return;
  /* Each vector of a tile is a chain of its own. */
  const double rows = (double)(l->knobs[TSR_KNOB_ROWS] > 1 ? l->knobs[TSR_KNOB_ROWS] : 1);
  inout->chain = (double)ADD_LATENCY * l->deep / (l->row * rows);
  if (l->inside >= 0 && l->inside != l->vector)
    inout->ends += reduces * l->shallow * (3 * log2((double)l->lanes) + 2 * l->row);
}

void tsr_default_nest_cost(tsr_nest *nest, const tsr_schedule *schedule, tsr_cost *out_cost) {
  const layout l = lay_out(nest, schedule);
  const int64_t *knobs = schedule->knobs;
  const double rows = (double)(knobs[TSR_KNOB_ROWS] > 1 ? knobs[TSR_KNOB_ROWS] : 1);
  const double unroll = (double)(knobs[TSR_KNOB_UNROLL] > 1 ? knobs[TSR_KNOB_UNROLL] : 1);
  tsr_cost_nest shape = {.tasks = tsr_nest_tasks(nest, schedule)};
  for (uint32_t i = 0; i < nest->access_count; i++)
    if (nest->accesses[i].kind != TSR_ACCESS_INDEX)
      add_access(&l, &nest->accesses[i], &shape);
  add_operations(&l, &shape);
  shape.turns = l.shallow / (l.row * rows);
  if (nest->reduce_count > 0)
    shape.turns += l.deep / (l.row * rows * unroll);
  tsr_cost_of_nest(nest->target, &shape, out_cost);
}
