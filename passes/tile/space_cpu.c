/* Schedules of strategy nest on every target, and of strategy contract. */
#include "passes/tile/choosing.h"
#include "passes/tile/contract_dot.h"
#include "passes/tile/space_form.h"

static int64_t down_to(int64_t a, int64_t multiple) {
  return greatest(a / multiple * multiple, multiple);
}

/* --- nest --- */

enum { MOST_CPU_VECTORS = 16, MOST_CPU_ROWS = 16 };

static bool is_cuda(const tsr_space *space) {
  return space->take.target->kind == TSR_TARGET_CUDA;
}

static int64_t vector_lanes(const tsr_space *space) {
  return tsr_target_lanes(space->take.target, tsr_dtype_bits(space->nest->widest));
}

static bool is_live(const tsr_nest *nest, int64_t axis, bool red) {
  return axis >= 0 && axis < nest->axis_count && !nest->axes[axis].gone &&
         (axis >= nest->par_count) == red;
}

/* Variables of the block and of the first kernel of a cut one. */
static void add_axes(const tsr_space *space, bool red, tsr_value_list *values) {
  tsr_space_add_value(values, -1);
  for (int64_t i = 0; i < TSR_NEST_AXES; i++) {
    bool any = is_live(space->nest, i, red);
    for (uint32_t p = 0; p < space->part_count; p++)
      any = any || is_live(space->parts[p].first, i, red);
    if (any)
      tsr_space_add_value(values, i);
  }
}

void tsr_space_nest_values(tsr_space *space, tsr_space_form *form) {
  tsr_value_list *knobs = form->knobs;
  const tsr_nest *nest = space->nest;
  const bool region = tsr_nest_has_region_reduce(nest), cuda = is_cuda(space);
  const int64_t lanes = vector_lanes(space);
  add_axes(space, false, &knobs[TSR_KNOB_VECTOR]);
  tsr_space_add_value(&knobs[TSR_KNOB_FOLD], -1);
  if (!region)
    add_axes(space, true, &knobs[TSR_KNOB_FOLD]);
  add_axes(space, false, &knobs[TSR_KNOB_SIDE]);
  if (cuda && !region)
    add_axes(space, true, &knobs[TSR_KNOB_SIDE]);
  for (int64_t unroll = 1; unroll <= (nest->reduce_count > 0 ? 8 : 1); unroll *= 2)
    tsr_space_add_value(&knobs[TSR_KNOB_UNROLL], unroll);
  tsr_space_add_value(&knobs[TSR_KNOB_SPLIT], 1);
  for (uint32_t i = 0; i < space->part_count; i++)
    tsr_space_add_value(&knobs[TSR_KNOB_SPLIT], space->parts[i].parts);
  if (cuda) {
    for (int64_t extent = 1; extent <= 4096; extent *= 2) {
      tsr_space_add_value(&knobs[TSR_KNOB_LANES], extent);
      if (extent <= 1024)
        tsr_space_add_value(&knobs[TSR_KNOB_ROWS], extent);
      if (extent <= 8)
        tsr_space_add_value(&knobs[TSR_KNOB_WARPS], extent);
    }
    return;
  }
  for (int64_t extent = 1; extent <= 8; extent *= 2)
    tsr_space_add_value(&knobs[TSR_KNOB_LANES], extent * lanes);
  for (int64_t rows = 1; rows <= MOST_CPU_ROWS; rows *= 2)
    tsr_space_add_value(&knobs[TSR_KNOB_ROWS], rows);
  for (int64_t grain = 1250; grain <= 640000; grain *= 2)
    tsr_space_add_value(&knobs[TSR_KNOB_GRAIN], grain);
}

/* A tile no longer than its axis, rows of known length exactly as long. */
static int64_t tile_extent(const tsr_nest *nest, int64_t axis, int64_t extent) {
  const tsr_nest_axis *a = &nest->axes[axis];
  const int64_t size = greatest(a->size, 1);
  while (extent > 1 && extent / 2 >= size)
    extent /= 2;
  return a->fixed ? least(extent, size) : extent;
}

void tsr_space_nest_settle(const tsr_space *space, tsr_schedule *inout) {
  const tsr_nest *nest = tsr_space_nest_of(space, inout);
  int64_t *knobs = inout->knobs;
  if (nest == NULL) {
    knobs[TSR_KNOB_SPLIT] = 1;
    nest = space->nest;
  }
  int64_t *vector = &knobs[TSR_KNOB_VECTOR], *fold = &knobs[TSR_KNOB_FOLD];
  int64_t *side = &knobs[TSR_KNOB_SIDE];
  if (!is_live(nest, *vector, false))
    *vector = -1;
  if (!is_live(nest, *fold, true) || tsr_nest_reduces_over(nest, (int)*vector))
    *fold = -1;
  const int64_t wide = *vector >= 0 ? *vector : *fold;
  const bool red_side = is_cuda(space) && *vector >= 0 && is_live(nest, *side, true);
  if (*side == *vector || *side == *fold || wide < 0 || (!is_live(nest, *side, false) && !red_side))
    *side = -1;
  knobs[TSR_KNOB_LANES] = wide < 0 ? 1 : tile_extent(nest, wide, knobs[TSR_KNOB_LANES]);
  knobs[TSR_KNOB_ROWS] =
      *side < 0 ? 1 : tile_extent(nest, *side, greatest(knobs[TSR_KNOB_ROWS], 2));
  if (knobs[TSR_KNOB_ROWS] == 1)
    *side = -1;
  if (!is_cuda(space))
    return;
  const int64_t points = knobs[TSR_KNOB_LANES] * knobs[TSR_KNOB_ROWS];
  while (knobs[TSR_KNOB_WARPS] > 1 && knobs[TSR_KNOB_WARPS] * 32 > points)
    knobs[TSR_KNOB_WARPS] /= 2;
  knobs[TSR_KNOB_GRAIN] = tsr_default_cuda_grain(nest, inout);
}

/* Vectors of one tile. */
static int64_t tile_vectors(const tsr_space *space, const int64_t *knobs) {
  const int64_t lanes = vector_lanes(space);
  return knobs[TSR_KNOB_ROWS] * (up_to(knobs[TSR_KNOB_LANES], lanes) / lanes);
}

bool tsr_space_nest_fits(const tsr_space *space, const tsr_schedule *schedule) {
  const int64_t *knobs = schedule->knobs;
  if (is_cuda(space))
    return tsr_default_cuda_nest_fits(space->nest, schedule);
  const int64_t vectors = tile_vectors(space, knobs);
  int64_t most = (int64_t)((double)space->take.target->vector_registers / (space->live + 1));
  if (space->first.strategy == TSR_STRATEGY_NEST)
    most = greatest(most, tile_vectors(space, space->first.knobs));
  return vectors <= greatest(1, least(most, MOST_CPU_VECTORS)) && knobs[TSR_KNOB_GRAIN] >= 1;
}

/* --- contract --- */

static int64_t axis_size(const tsr_space *space, int axis) {
  return axis < 0 ? 1 : greatest(space->matched->axes[axis].size, 1);
}

/* As the atom sees it: with k-groups, operands as narrow as they are in memory. */
static const tsr_contraction *contraction_of(const tsr_space *space, const tsr_atom *atom) {
  return atom == NULL ? space->contraction : space->narrow;
}

static int64_t lanes_of(const tsr_space *space, const tsr_contraction *c) {
  return tsr_target_lanes(space->take.target, tsr_dtype_bits(c->dtype));
}

static bool may_pack(const tsr_contraction *c, int which) {
  const tsr_contract_operand *operand = which == 0 ? &c->a : &c->b;
  if (which == 1 && c->flat)
    return true;
  return c->depth_fixed && !c->direct && !operand->packable && (which == 1 || c->m >= 0);
}

/* How the depth is walked when these operands are packed at run time. */
static tsr_contract_emit depth_of(const tsr_space *space, const tsr_schedule *schedule) {
  tsr_contract_emit e = {.nest = space->matched,
                         .ir = space->take.ir,
                         .c = contraction_of(space, schedule->atom),
                         .pack_a = schedule->knobs[TSR_KNOB_PACK_A] == 1,
                         .pack_b = schedule->knobs[TSR_KNOB_PACK_B] == 1};
  tsr_contract_dot_begin(&e, schedule);
  tsr_contract_flatten(&e);
  return e;
}

/* Passes of an equal number of steps of the outermost depth axis. */
static void add_passes(const tsr_space *space, const tsr_atom *atom, tsr_value_list *values) {
  enum { LEAST_PASS = 64 };
  const tsr_contraction *c = contraction_of(space, atom);
  tsr_schedule all = {.strategy = TSR_STRATEGY_CONTRACT, .atom = atom};
  all.knobs[TSR_KNOB_PACK_A] = may_pack(c, 0);
  all.knobs[TSR_KNOB_PACK_B] = may_pack(c, 1);
  const tsr_contract_emit e = depth_of(space, &all);
  tsr_space_add_value(values, 0);
  if (!e.depth_flat)
    return;
  const int64_t steps = e.depth_total / e.depth_outer;
  for (int64_t passes = 2; passes <= steps && e.depth_total / passes >= LEAST_PASS; passes++)
    if (steps % passes == 0)
      tsr_space_add_value(values, e.depth_total / passes);
}

void tsr_space_contract_values(tsr_space *space, tsr_space_form *form) {
  static const int64_t widths[] = {1, 2, 3, 4, 5, 6, 8};
  const tsr_contraction *c = contraction_of(space, form->atom);
  const bool tiles = form->atom != NULL && form->atom->place == TSR_ATOM_MEMORY;
  const int64_t lanes = lanes_of(space, c), m = axis_size(space, c->m);
  const int64_t n = axis_size(space, c->n);
  tsr_value_list *knobs = form->knobs;
  const int64_t most_rows = c->m < 0 ? 1 : rows_that_fit(space->take.target, 1, 1);
  for (int64_t mr = 1; !tiles && mr <= least(most_rows, m); mr++)
    tsr_space_add_value(&knobs[TSR_KNOB_MR], mr);
  for (int64_t mr = 16; tiles && mr <= 32; mr += 16)
    tsr_space_add_value(&knobs[TSR_KNOB_MR], mr);
  for (unsigned i = 0; i < sizeof widths / sizeof *widths; i++)
    if ((i == 0 || widths[i] * lanes < n + lanes) && (!tiles || widths[i] <= 2))
      tsr_space_add_value(&knobs[TSR_KNOB_NR], widths[i] * lanes);
  tsr_space_add_shares(&knobs[TSR_KNOB_MC], m, 1);
  if (c->flat) {
    tsr_value_list rows = {0};
    tsr_space_add_shares(&rows, greatest(c->flat_rows_size, 1), 1);
    for (uint32_t i = 0; i < rows.count; i++)
      tsr_space_add_value(&knobs[TSR_KNOB_NC], rows.list[i] * c->flat_width);
  } else {
    tsr_space_add_shares(&knobs[TSR_KNOB_NC], n, lanes);
  }
  add_passes(space, form->atom, &knobs[TSR_KNOB_KC]);
  for (int64_t unroll = 1; unroll <= 8; unroll *= 2)
    tsr_space_add_value(&knobs[TSR_KNOB_UNROLL], unroll);
  tsr_space_add_value(&knobs[TSR_KNOB_AHEAD], 0);
  for (int64_t steps = 4; form->atom == NULL && steps <= 64; steps *= 4)
    tsr_space_add_value(&knobs[TSR_KNOB_AHEAD], steps);
  if (form->atom == NULL && (c->a.packable || c->b.packable) && c->depth_size > 64 &&
      c->depth_size <= tsr_knob_get(TSR_KNOB_AHEAD)->greatest)
    tsr_space_add_value(&knobs[TSR_KNOB_AHEAD], c->depth_size); /* the next panel */
  tsr_space_add_value(&knobs[TSR_KNOB_FETCH], 0);
  tsr_space_add_value(&knobs[TSR_KNOB_FETCH], 1);
  /* Atoms with k-groups read panels only. */
  for (int which = 0; which < 2; which++) {
    tsr_value_list *pack = &knobs[which == 0 ? TSR_KNOB_PACK_A : TSR_KNOB_PACK_B];
    const bool may = may_pack(c, which),
               must = may && (form->atom != NULL || (which == 1 && c->flat));
    if (!must)
      tsr_space_add_value(pack, 0);
    if (may)
      tsr_space_add_value(pack, 1);
  }
  tsr_space_add_value(&knobs[TSR_KNOB_OUTER], 0);
  tsr_space_add_value(&knobs[TSR_KNOB_OUTER], 1);
  if (c->outer_count == 0)
    tsr_space_add_value(&knobs[TSR_KNOB_GRAIN], tsr_default_grain(space->take.target, 0));
  for (int64_t grain = 2500; c->outer_count > 0 && grain <= 320000; grain *= 2)
    tsr_space_add_value(&knobs[TSR_KNOB_GRAIN], grain);
}

/* Rows of a register tile. By parts, sums stand beside those that they are added to. */
static int64_t most_rows_of(const tsr_space *space, const tsr_atom *atom, int64_t vectors) {
  enum { ROWS_OF_TILES = 32 };
  if (atom != NULL && atom->place == TSR_ATOM_MEMORY)
    return ROWS_OF_TILES;
  const bool twice = atom != NULL ? atom->parts > 1 : contraction_of(space, NULL)->each;
  return rows_that_fit(space->take.target, vectors, twice ? 2 : 1);
}

/* Steps at a time: an unrolled loop reads ahead, and where sums leave no registers for that, LLVM
 * keeps sums in memory. */
static int64_t most_unroll(const tsr_space *space, const tsr_schedule *schedule, int64_t vectors) {
  const int64_t mr = schedule->knobs[TSR_KNOB_MR];
  const bool tiles = schedule->atom != NULL && schedule->atom->place == TSR_ATOM_MEMORY;
  const bool full = vectors <= 2 && mr > 1 && mr >= most_rows_of(space, schedule->atom, vectors);
  return full && !tiles ? 1 : INT64_MAX;
}

void tsr_space_contract_settle(const tsr_space *space, tsr_schedule *inout) {
  const tsr_contraction *c = contraction_of(space, inout->atom);
  const int64_t lanes = lanes_of(space, c), m = axis_size(space, c->m);
  const int64_t n = axis_size(space, c->n);
  int64_t *knobs = inout->knobs;
  int64_t vectors = up_to(greatest(knobs[TSR_KNOB_NR], 1), lanes) / lanes;
  while (vectors > 1 && most_rows_of(space, inout->atom, vectors) < 1)
    vectors--;
  knobs[TSR_KNOB_NR] = vectors * lanes;
  const int64_t most_rows = greatest(1, most_rows_of(space, inout->atom, vectors));
  const int64_t mr = least(knobs[TSR_KNOB_MR], most_rows), nr = knobs[TSR_KNOB_NR];
  knobs[TSR_KNOB_MR] = c->m < 0 ? 1 : mr;
  knobs[TSR_KNOB_UNROLL] = least(knobs[TSR_KNOB_UNROLL], most_unroll(space, inout, vectors));
  knobs[TSR_KNOB_MC] =
      least(up_to(knobs[TSR_KNOB_MC], knobs[TSR_KNOB_MR]), up_to(m, knobs[TSR_KNOB_MR]));
  if (c->direct)
    knobs[TSR_KNOB_MC] = up_to(m, knobs[TSR_KNOB_MR]);
  knobs[TSR_KNOB_NC] = c->flat ? down_to(knobs[TSR_KNOB_NC], c->flat_width)
                               : least(up_to(knobs[TSR_KNOB_NC], nr), up_to(n, nr));
  if (knobs[TSR_KNOB_KC] == 0)
    return;
  const tsr_contract_emit e = depth_of(space, inout);
  if (!e.depth_flat || e.depth_total % knobs[TSR_KNOB_KC] != 0 ||
      knobs[TSR_KNOB_KC] % e.depth_outer != 0 || knobs[TSR_KNOB_KC] == e.depth_total)
    knobs[TSR_KNOB_KC] = 0;
}

/* What a task copies or keeps is bounded by a few times the second cache. */
bool tsr_space_contract_fits(const tsr_space *space, const tsr_schedule *schedule) {
  const tsr_contraction *c = contraction_of(space, schedule->atom);
  if (c == NULL)
    return false;
  const int64_t *knobs = schedule->knobs, lanes = lanes_of(space, c);
  const int64_t most = 4 * (int64_t)space->take.target->l2_bytes;
  const int64_t vectors = up_to(knobs[TSR_KNOB_NR], lanes) / lanes;
  if (knobs[TSR_KNOB_MR] < 1 || knobs[TSR_KNOB_NR] < 1 || knobs[TSR_KNOB_UNROLL] < 1 ||
      knobs[TSR_KNOB_GRAIN] < 1 || knobs[TSR_KNOB_MC] < 1 || knobs[TSR_KNOB_NC] < 1 ||
      knobs[TSR_KNOB_MR] > greatest(1, most_rows_of(space, schedule->atom, vectors)) ||
      knobs[TSR_KNOB_UNROLL] > most_unroll(space, schedule, vectors))
    return false;
  const int64_t depth = knobs[TSR_KNOB_KC] > 0 ? knobs[TSR_KNOB_KC] : greatest(c->depth_size, 1);
  const bool passes = knobs[TSR_KNOB_KC] > 0 && knobs[TSR_KNOB_KC] < c->depth_size;
  const int64_t sum = tsr_dtype_bits(c->dtype) / 8;
  return (knobs[TSR_KNOB_PACK_A] == 0 || depth * knobs[TSR_KNOB_MC] * c->a.bytes <= most) &&
         (knobs[TSR_KNOB_PACK_B] == 0 || depth * knobs[TSR_KNOB_NC] * c->b.bytes <= most) &&
         (!passes || knobs[TSR_KNOB_MC] * knobs[TSR_KNOB_NC] * sum <= most);
}
