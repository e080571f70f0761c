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

/* How one access is walked. */
typedef struct walk {
  const tsr_nest_access *access;
  uint32_t varies;
  bool deep, turned;
  int axis;       /* on the lanes, -1: none */
  int64_t stride; /* along it, in elements */
  double bytes;   /* of an element */
  double vectors; /* that it moves, over all tiles */
  int64_t rows;   /* of a tile that it varies with */
  double taps;    /* loads that share the vectors they shuffle */
} walk;

/* Steps of the innermost reduction that read elements of one line side by side, as straight code of
 * single rows: the shuffled vectors are those of all of them. */
static double taps_of(const layout *l, const walk *w) {
  const tsr_nest *nest = l->nest;
  const int red = tsr_nest_innermost_red(nest);
  if (red < 0 || !w->deep || l->inside != l->vector || l->knobs[TSR_KNOB_ROWS] > 1 ||
      !tsr_cost_is_shuffled(w->stride, l->lanes, w->access->kind == TSR_ACCESS_STORE))
    return 1;
  const int64_t steps = tsr_nest_straight_steps(&nest->axes[red], l->knobs[TSR_KNOB_UNROLL]);
  const int64_t apart = tsr_nest_stride(nest, w->access, (uint32_t)red);
  return steps > 1 && apart > 0 && apart <= w->stride ? (double)steps : 1;
}

/* An access that is contiguous along the rows of a tile, not along its lanes, is turned in
 * registers. */
static walk walk_of(const layout *l, const tsr_nest_access *access) {
  tsr_nest *nest = l->nest;
  const int64_t side = l->knobs[TSR_KNOB_SIDE], rows = l->knobs[TSR_KNOB_ROWS];
  walk w = {.access = access, .varies = tsr_nest_varies(nest, access), .rows = 1, .taps = 1};
  w.deep = (w.varies & l->red) != 0;
  w.axis = w.deep ? l->inside : l->vector;
  w.bytes = tsr_dtype_bits(nest->buffers[access->buffer].dtype) / 8.0;
  w.vectors = w.deep ? l->deep : l->shallow;
  w.stride = w.axis < 0 ? INT64_MAX : tsr_nest_stride(nest, access, (uint32_t)w.axis);
  if (access->indirect && w.stride == 0)
    w.stride = INT64_MAX;
  w.turned = side >= 0 && w.axis >= 0 && w.stride > 1 && !access->indirect &&
             tsr_nest_stride(nest, access, (uint32_t)side) == 1;
  /* What does not vary with the rows of a tile is read once for all of them. */
  if (side >= 0 && rows > 1 && (w.varies >> side & 1) != 0)
    w.rows = rows;
  else if (side >= 0 && rows > 1)
    w.vectors /= (double)rows;
  w.taps = taps_of(l, &w);
  return w;
}

static int64_t bytes_of(int64_t stride, double bytes) {
  const int64_t most = 1 << 24;
  return stride > 0 && stride < most ? (int64_t)((double)stride * bytes) : 0;
}

/* Share of an access's lines that the first cache has lost when the next step finds them again:
 * that of a reduction comes behind one tile, any other behind all tiles along the lanes. */
static double lost_lines(const layout *l, const walk *w) {
  const double room = tsr_cost_lines_that_fit(l->nest->target, bytes_of(w->stride, w->bytes));
  const double lines =
      w->deep ? (double)l->knobs[TSR_KNOB_LANES] : axis_size(l->nest, (uint32_t)w->axis);
  return room < lines ? 1 - room / lines : 0;
}

/* Cycles of the loads or stores themselves. Turning tiles takes the units of arithmetic. */
static void add_moves(const layout *l, const walk *w, tsr_cost_nest *inout) {
  const double gather = 1.7; /* measured, by what candidates were compared with before */
  const double lost_cycles = 6;
  const bool store = w->access->kind == TSR_ACCESS_STORE;
  const int64_t lanes = w->axis < 0 ? 1 : l->lanes;
  const double elements = w->vectors * (double)lanes;
  if (w->turned) {
    inout->operations += w->vectors * log2((double)lanes) * l->nest->target->fma_rate;
    inout->moves += elements / (double)w->rows * (1 + lost_cycles * lost_lines(l, w));
    return;
  }
  const double each = tsr_cost_of_access(l->nest->target, w->stride, lanes, store);
  if (tsr_cost_is_shuffled(w->stride, lanes, store))
    inout->moves +=
        elements * each / w->taps + w->vectors * fmax(0, w->taps - (double)w->stride) / w->taps;
  else if (w->stride == 0 || w->stride == 1 || lanes == 1)
    inout->moves += elements * each * (w->stride == 1 ? 0.5 : 1);
  else
    inout->moves += elements * (gather * each + lost_cycles * lost_lines(l, w));
}

/* Rows of a tile whose lines share sets, and steps along the reduction in pages of their own. */
static double wait_cycles(const layout *l, const walk *w) {
  const double page_cycles = 7;
  const int64_t page = 4096, side = l->knobs[TSR_KNOB_SIDE];
  const tsr_nest *nest = l->nest;
  const double steps = w->vectors / (l->row * (double)w->rows);
  double each = 0;
  if (!w->deep || w->turned || w->access->kind != TSR_ACCESS_LOAD)
    return 0;
  if (w->rows > 1) {
    const int64_t stride = tsr_nest_stride(nest, w->access, (uint32_t)side);
    each = tsr_cost_of_conflicts(nest->target, bytes_of(stride, w->bytes), w->rows);
  }
  for (uint32_t i = nest->axis_count; i-- > nest->par_count;)
    if (!nest->axes[i].gone && (int)i != w->axis) {
      if (bytes_of(tsr_nest_stride(nest, w->access, i), w->bytes) >= page)
        each += page_cycles;
      break;
    }
  return steps * each;
}

static void add_access(const layout *l, const tsr_nest_access *access, tsr_cost_nest *inout) {
  tsr_nest *nest = l->nest;
  const tsr_nest_buffer *buffer = &nest->buffers[access->buffer];
  const walk w = walk_of(l, access);
  const double lanes = w.axis < 0 ? 1 : (double)l->lanes;
  add_moves(l, &w, inout);
  inout->waits += wait_cycles(l, &w);
  double total = w.bytes;
  for (uint32_t d = 0; d < buffer->rank; d++)
    total *= (double)tsr_nest_typical(nest, buffer->dims[d]);
  const double touched = fmin(points_of(nest, w.varies) * w.bytes, total);
  /* A walk in long strides takes a line for each element, some of which is found again. */
  const double line = (double)nest->target->line_bytes / w.bytes;
  const bool sparse = w.axis >= 0 && !w.turned && w.stride > 1;
  const double wider = sparse ? fmin((double)w.stride, fmin(4, line)) / w.taps : 1;
  inout->bytes += touched;
  inout->moved_bytes +=
      w.stride == 0 ? touched : fmax(touched, w.vectors * lanes * w.bytes * wider);
}

static void add_operations(const layout *l, tsr_cost_nest *inout) {
  const tsr_nest *nest = l->nest;
  const double rows = (double)(l->knobs[TSR_KNOB_ROWS] > 1 ? l->knobs[TSR_KNOB_ROWS] : 1);
  double reduces = 0;
  TSR_FOR_EACH_OP (nest->ir, tsr_op_get(nest->ir, nest->op)->regions[0], op) {
    const tsr_op_data *data = tsr_op_get(nest->ir, op);
    if (data->code == TSR_OP_LOAD || data->code == TSR_OP_STORE)
      continue;
    double weight = (double)tsr_nest_op_weight(data->code);
    /* Long chains of a few vectors do not fill the units (measured: a third is lost with one). */
    if (weight >= 8)
      weight *= 1 + 0.12 * fmax(0, 3 - log2(l->row * rows));
    bool deep = data->code == TSR_OP_REDUCE;
    for (uint32_t i = 0; i < data->result_count; i++)
      deep = deep || (nest->varies[data->results[i]] & l->red) != 0;
    inout->operations += weight * (deep ? l->deep : l->shallow);
    reduces += data->code == TSR_OP_REDUCE ? 1 : 0;
  }
  if (reduces == 0)
    return;
  /* Each vector of a tile is a chain of its own. */
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
