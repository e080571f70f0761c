/* Default schedules: a small set of candidates per block, ranked by the analytic model. */
#include "passes/cost/cost.h"
#include "passes/tile/choosing.h"
#include "passes/tile/contract_dot.h"
#include "passes/tile/contract_parts.h"
#include "passes/tile/mma.h"
#include <math.h>

/* A variant has to gain that much where it is chosen. A dim whose range was not given has no high
 * end to plan for. */
static const double VARIANT_GAIN = 1.1;
enum { MOST_HIGH_END = 1 << 17 };

/* --- contract --- */

static double copy_cycles(const tsr_choosing *s, const tsr_contract_operand *operand) {
  const double vector = 3.0 / (double)s->lanes;
  if (operand->side_stride == 1)
    return vector;
  return operand->depth_axis >= 0 ? 3 * vector : 1.5;
}

/* b is packed when a register tile could not read whole vectors of it, or when enough rows share
 * the copy to pay for it. */
static bool wants_pack_b(const tsr_choosing *s) {
  const tsr_contract_operand *b = &s->c->b;
  if (s->c->flat)
    return true;
  if (!s->c->depth_fixed || b->packable || s->c->window)
    return false;
  const int64_t panel = s->k * s->lanes * b->bytes;
  if (panel > (int64_t)s->nest->target->l2_bytes * 4)
    return false;
  return b->side_stride != 1 || b->checked || s->m >= 48;
}

/* Scalar code in front of the product runs on whole vectors while packing, on single elements in a
 * register tile. */
static bool is_computed(const tsr_nest *nest, tsr_value value) {
  const tsr_value_data *data = tsr_value_get(nest->ir, value);
  return data->role == TSR_ROLE_RESULT && tsr_op_get(nest->ir, data->def)->code != TSR_OP_LOAD;
}

/* Rows of a that are computed, which a copy does once. */
static bool packs_computed_a(const tsr_choosing *s) {
  const tsr_contract_operand *a = &s->c->a;
  const uint32_t red = tsr_nest_red_mask(s->nest);
  return s->c->depth_fixed && !s->window && s->c->m >= 0 && !a->packable &&
         (a->varies & red) != 0 && is_computed(s->nest, a->value) && s->n >= s->lanes / 2 &&
         s->k * a->bytes <= (int64_t)s->nest->target->l2_bytes / 8;
}

/* A copy may pay for itself where rows of a fall into few sets of the first cache; how many rows a
 * register tile has decides. */
static bool wants_pack_a(const tsr_choosing *s) {
  const tsr_contract_operand *a = &s->c->a;
  if (packs_computed_a(s))
    return true;
  if (a->packable || s->c->direct || !s->c->depth_fixed || s->c->m < 0 || s->m < 4 ||
      s->n < 4 * s->lanes || a->depth_axis < 0 ||
      s->k * a->bytes > (int64_t)s->nest->target->l2_bytes / 8)
    return false;
  return a->checked || a->side_stride * a->bytes % 2048 == 0;
}

/* Rows of the source that a block of so many rows copies, by those that it would copy without
 * taps. */
static double copied_share(const tsr_choosing *s, int64_t rows) {
  return s->taps == 1 ? 1
                      : (double)tsr_contract_tap_rows(s->c, rows) / (double)(rows * s->c->tap_size);
}

/* Columns whose copy takes no more than `target` columns without taps would. */
static int64_t columns_for(const tsr_choosing *s, int64_t target) {
  int64_t rows = greatest(s->c->flat_rows_size, 1);
  while (rows > 1 && (double)(rows * s->c->flat_width) * copied_share(s, rows) > (double)target)
    rows--;
  return rows * s->c->flat_width;
}

static int64_t flat_rows(const tsr_choosing *s, int64_t target) {
  const int64_t rows = greatest(s->c->flat_rows_size, 1);
  int64_t best = least(rows, greatest(1, target / s->c->flat_width));
  int64_t fixed = 0;
  if (!tsr_expr_is_int(s->nest->ir, s->c->flat_rows, &fixed))
    return best;
  while (best > 1 && rows % best != 0)
    best--;
  return best;
}

/* Blocks as long as the first ones, of an axis that has as many. */
static int64_t even_blocks(int64_t all, int64_t block, int64_t step) {
  const int64_t blocks = (all + block - 1) / block;
  return up_to((all + blocks - 1) / blocks, step);
}

static bool is_open(const tsr_nest *nest) {
  for (uint32_t i = 0; i < nest->par_count; i++)
    if (!nest->axes[i].gone && !nest->axes[i].fixed)
      return true;
  return false;
}

int64_t tsr_default_grain(const tsr_target *target, double cycles) {
  const double alone = 20000, tasks_per_thread = 8;
  const double worth = 5 * target->fork_cycles;
  if (target->kind == TSR_TARGET_CUDA || target->threads <= 1)
    return (int64_t)alone;
  const double share = cycles / (tasks_per_thread * (double)target->threads);
  return greatest((int64_t)worth, (int64_t)(share < alone ? share : alone));
}

/* Cycles of so many outputs, were there nothing but multiply-adds. */
static double work_of(const tsr_choosing *s, double points) {
  return points * (double)s->k / (2.0 * (double)s->lanes);
}

static int64_t default_grain(const tsr_choosing *s) {
  return tsr_default_grain(s->nest->target,
                           work_of(s, (double)s->m * (double)s->n) * (double)s->outer);
}

/* Of all steps along the outer axes, how many number tasks of blocks like these. */
static int64_t outer_tasks(const tsr_choosing *s, int64_t mc, int64_t nc, int64_t grain) {
  const tsr_contraction *c = s->c;
  uint32_t count = c->outer_count;
  double points = (double)least(mc, s->m) * (double)least(nc, s->n);
  int64_t tasks = 1;
  if (c->direct) {
    const int64_t all = c->direct_y < 0 ? 1 : s->nest->axes[c->direct_y].size;
    tasks = ceil_div(all, tsr_contract_direct_rows_of(s->nest, c, nc, (double)grain));
    for (uint32_t i = 0; i < count; i++)
      tasks *= greatest(s->nest->axes[c->outer[i]].size, 1);
    return tasks;
  }
  const int row = s->window && !s->pack_a && !s->pack_b ? tsr_contract_window_row(c) : -1;
  if (row >= 0) { /* the rows of the output are a loop of their own */
    points *= (double)s->nest->axes[row].size;
    count--;
  }
  const double work = work_of(s, points) + 20;
  if (mc >= s->m && nc >= s->n)
    count = tsr_contract_outer_grid(s->nest, c, count, work, (double)grain);
  for (uint32_t i = 0; i < count; i++)
    tasks *= greatest(s->nest->axes[c->outer[i]].size, 1);
  if (row >= 0)
    tasks *= ceil_div(s->nest->axes[row].size,
                      tsr_contract_window_block(s->nest, c, count, (double)ceil_div(s->n, nc), work,
                                                (double)grain));
  return tasks;
}

/* Blocks of an extent that is not known may be many more than they typically are: they are short
 * enough to be several of a small problem. */
static bool is_long(const tsr_choosing *s, int64_t mc, int64_t nc) {
  const double longest = 1280000;
  return s->nest->target->threads > 1 && is_open(s->nest) &&
         work_of(s, (double)mc * (double)nc) > longest;
}

/* Could more tasks be of use? */
static bool wants_more_tasks(const tsr_choosing *s, int64_t tasks) {
  const tsr_target *target = s->nest->target;
  const double work = work_of(s, (double)s->m * (double)s->n) * (double)s->outer;
  return target->threads > 1 && tasks < 4 * (int64_t)target->threads &&
         work > 4 * target->fork_cycles;
}

/* Do blocks of half as many flat columns copy little more, all together? */
static bool halves_cost_little(const tsr_choosing *s, int64_t nc) {
  const double little = 1.05;
  const int64_t rows = flat_rows(s, nc), half = flat_rows(s, nc / 2);
  return half < rows && copied_share(s, half) <= little * copied_share(s, rows);
}

/* More tasks: twice as many blocks of rows or of columns. Where b is copied, every block of
 * rows copies it anew, and blocks of flat columns copy rows that their neighbours copy too: that is
 * done for as many tasks as threads, and further only where it costs little, since a thread that
 * comes late finds nothing to do when there are no more tasks than threads. False: no more. */
static bool halve_blocks(const tsr_choosing *s, int64_t tasks, int64_t mr, int64_t nr, int64_t *mc,
                         int64_t *nc) {
  const int64_t rows = *mc / mr, columns = *nc / nr;
  const bool enough = tasks >= (int64_t)s->nest->target->threads;
  bool by_rows = rows >= 2 * columns || columns <= 1 || (!s->pack_b && rows > 1 && s->m > s->n);
  if (s->pack_b && enough)
    by_rows = false;
  if (s->c->direct || (by_rows ? rows : columns) <= 1 ||
      (s->c->flat && enough && !halves_cost_little(s, *nc)))
    return false;
  int64_t *block = by_rows ? mc : nc;
  const int64_t tile = by_rows ? mr : nr, all = greatest(by_rows ? s->m : s->n, 1);
  const int64_t blocks = 2 * ceil_div(all, *block);
  *block = least(up_to(ceil_div(all, blocks), tile), up_to(*block / tile, 2) / 2 * tile);
  return true;
}

/* Flat columns come in whole rows of the output. */
static int64_t whole_columns(const tsr_choosing *s, int64_t nc) {
  return s->c->flat ? flat_rows(s, nc) * s->c->flat_width : nc;
}

static int64_t tasks_of(const tsr_choosing *s, int64_t mc, int64_t nc) {
  const int64_t block = whole_columns(s, nc);
  const int64_t rows = ceil_div(greatest(s->m, 1), mc), columns = ceil_div(s->n, block);
  return outer_tasks(s, mc, block, default_grain(s)) * rows * greatest(columns, 1);
}

/* Of rows of any length, parts that are worth several tasks. */
static int64_t long_row(const tsr_choosing *s, int64_t mr, int64_t nr) {
  const double grains = 8;
  const double tile = work_of(s, (double)mr * (double)nr);
  const double tiles = grains * (double)default_grain(s) / tile;
  return mr * (tiles > 1 ? (int64_t)tiles : 1);
}

/* Does a panel of b stay in L2 while rows pass by, wherever those are? */
static bool panel_stays(const tsr_choosing *s, int64_t mr, int64_t nr) {
  const double room = 0.9 * (double)s->nest->target->l2_bytes;
  return !s->pack_a && !s->c->flat && s->kc >= s->k &&
         (double)(s->k * (nr * s->c->b.bytes + mr * s->c->a.bytes)) < room;
}

/* Blocks: the operand that a task copies or rereads stays in half of L2, or, where each panel of b
 * serves all rows of a block, in a part of what is beyond it. */
static void largest_blocks(const tsr_choosing *s, int64_t mr, int64_t nr, int64_t *out_mc,
                           int64_t *out_nc) {
  const int64_t half = (int64_t)s->nest->target->l2_bytes / 2;
  const int64_t all_m = up_to(greatest(s->m, 1), mr), all_n = up_to(greatest(s->n, 1), nr);
  int64_t mc = all_m, nc = all_n;
  if (s->c->direct) { /* a panel of the constant serves all rows of an image, each a task */
    *out_mc = s->nest->axes[s->c->m].fixed ? all_m : long_row(s, mr, nr);
    *out_nc = nr;
    return;
  }
  if (s->pack_b) {
    const int64_t room = half / greatest(1, s->kc * s->c->b.bytes);
    nc = even_blocks(all_n, least(all_n, greatest(nr, room / nr * nr)), nr);
    if (s->taps > 1)
      nc = columns_for(s, room);
  } else if (s->k * s->n * s->c->b.bytes > half) {
    /* Of several passes, partial sums and a panel of b take what the block of a leaves. */
    const int64_t sharing = greatest(8, 2 * (int64_t)s->nest->target->threads);
    const int64_t far = (int64_t)s->nest->target->l3_bytes / sharing;
    const int64_t room = s->kc < s->k                           ? half / 4 * 3
                         : far > half && panel_stays(s, mr, nr) ? far
                                                                : half;
    mc = least(all_m, greatest(mr, room / greatest(1, s->kc * s->c->a.bytes) / mr * mr));
    mc = even_blocks(all_m, mc, mr);
    if (s->kc < s->k)
      nc = least(all_n, greatest(nr, half / 2 / (mc * s->c->b.bytes) / nr * nr));
  }
  if (s->pack_a)
    mc = least(mc, greatest(mr, half / greatest(1, s->kc * s->c->a.bytes) / mr * mr));
  while (is_long(s, mc, nc) && halve_blocks(s, tasks_of(s, mc, nc), mr, nr, &mc, &nc))
    ;
  *out_mc = mc;
  *out_nc = nc;
}

static void set_blocks(const tsr_choosing *s, int64_t mc, int64_t nc, int64_t *knobs) {
  knobs[TSR_KNOB_MC] = mc;
  knobs[TSR_KNOB_NC] = whole_columns(s, nc);
}

/* As many tasks as could be of use. */
static void choose_blocks(const tsr_choosing *s, int64_t mr, int64_t nr, int64_t *knobs) {
  int64_t mc = 0, nc = 0, tasks;
  largest_blocks(s, mr, nr, &mc, &nc);
  do
    tasks = tasks_of(s, mc, nc);
  while (wants_more_tasks(s, tasks) && halve_blocks(s, tasks, mr, nr, &mc, &nc));
  set_blocks(s, mc, nc, knobs);
}

/* Bytes between neighbours along the axis of an operand that is read in place; 0: it is not, or
 * nobody knows. */
static int64_t bytes_along(const tsr_choosing *s, const tsr_contract_operand *operand, bool packed,
                           int axis) {
  const int64_t most = 1 << 20;
  if (packed || operand->packable || axis < 0)
    return 0;
  const int64_t stride = tsr_nest_stride(s->nest, operand->main, (uint32_t)axis);
  return stride > 0 && stride < most ? stride * operand->bytes : 0;
}

/* A step of an atom with k-groups is as many depths; its rate is that of a vector of sums. */
static void take_atom(const tsr_target *target, const tsr_atom *atom, tsr_cost_contract *inout) {
  const double rows = atom->m > 1 ? (double)atom->m : 1;
  const double share = atom->place == TSR_ATOM_MEMORY                ? target->amx_share
                       : (atom->features & TSR_CPU_AVX512_BF16) != 0 ? target->dot_bf16_share
                                                                     : target->fma_rate / 2;
  inout->group = (int64_t)atom->k;
  inout->rate = atom->rate * rows * share;
  if (atom->scope == TSR_ATOM_MACHINE)
    inout->rate /= target->threads > 1 ? target->threads : 1;
}

/* What a copy costs besides: its elements are compared, rounded three times and stored three times.
 */
static const double SPLIT_OPS = 16;

static int last_depth(const tsr_contraction *c) {
  return c->depth_count == 0 ? -1 : (int)c->depth[c->depth_count - 1];
}

static tsr_cost_contract cost_shape(const tsr_choosing *s, const int64_t *knobs) {
  const tsr_contraction *c = s->c;
  tsr_cost_contract shape = {
      .outer = s->outer,
      .outer_tasks = outer_tasks(s, knobs[TSR_KNOB_MC], knobs[TSR_KNOB_NC], knobs[TSR_KNOB_GRAIN]),
      .m = s->m,
      .n = s->n,
      .k = s->k,
      .a_bytes = c->a.bytes,
      .b_bytes = c->b.bytes,
      .c_bytes = c->direct || s->window || s->atom != NULL ? 0 : tsr_dtype_bits(c->dtype) / 8,
      .mr = knobs[TSR_KNOB_MR],
      .nr = knobs[TSR_KNOB_NR],
      .lanes = s->lanes,
      .mc = knobs[TSR_KNOB_MC],
      .nc = knobs[TSR_KNOB_NC],
      .kc = s->kc,
      .turned = c->across,
      .columns_outside = knobs[TSR_KNOB_OUTER] == 1,
      .columns_first = tsr_contract_columns_first(s->nest, c, knobs[TSR_KNOB_PACK_A] == 1)};
  shape.pack_a = s->pack_a ? copy_cycles(s, &c->a) : 0;
  shape.pack_b = s->pack_b ? copy_cycles(s, &c->b) : 0;
  if (c->flat)
    shape.pack_b *= copied_share(s, knobs[TSR_KNOB_NC] / c->flat_width);
  shape.a_row_bytes = bytes_along(s, &c->a, s->pack_a, c->m);
  shape.b_row_bytes = bytes_along(s, &c->b, false, last_depth(c));
  if (s->atom != NULL)
    take_atom(s->nest->target, s->atom, &shape);
  if (s->atom != NULL && s->atom->parts > 1) {
    shape.pack_a += s->pack_a ? SPLIT_OPS / (double)s->lanes : 0;
    shape.pack_b += s->pack_b ? SPLIT_OPS / (double)s->lanes : 0;
  }
  shape.strided_b = !s->pack_b && !c->b.packable && c->b.side_stride != 1 && c->b.side_stride != 2;
  shape.rows_split = s->hang && c->m >= 0 && !s->nest->axes[c->m].fixed;
  shape.columns_hang = s->hang && !c->flat && !s->nest->axes[c->n].fixed;
  if (c->direct) {
    shape.a_again = c->line[0].taps * c->line[1].taps;
    shape.each = c->each ? c->line[1].taps : 0;
    shape.b_again = c->direct_y < 0 ? 1 : s->nest->axes[c->direct_y].size;
  }
  /* The rests of flat columns come once per block. */
  if (c->flat) {
    shape.outer *= up_to(s->n, shape.nc) / shape.nc;
    shape.outer_tasks *= up_to(s->n, shape.nc) / shape.nc;
    shape.n = least(s->n, shape.nc);
    shape.nc = shape.n;
  }
  return shape;
}

static void candidate_cost(const tsr_choosing *s, const int64_t *knobs, tsr_cost *out_cost) {
  const tsr_cost_contract shape = cost_shape(s, knobs);
  tsr_cost_of_contract(s->nest->target, &shape, out_cost);
}

static double candidate_cycles(const tsr_choosing *s, const int64_t *knobs) {
  tsr_cost cost;
  candidate_cost(s, knobs, &cost);
  return cost.cycles;
}

/* The columns after the last whole register tile of a block that is not the only one are a vector
 * for each binary digit of their number. */
static bool rest_fits(const tsr_choosing *s, const int64_t *knobs) {
  const int64_t rest = knobs[TSR_KNOB_NC] % knobs[TSR_KNOB_NR];
  if (!s->c->flat || rest == 0 || knobs[TSR_KNOB_NC] >= s->n)
    return true;
  const int64_t vectors =
      rest / s->lanes + __builtin_popcountll((unsigned long long)(rest % s->lanes));
  return knobs[TSR_KNOB_MR] <= rows_that_fit(s->nest->target, vectors, 1);
}

/* A schedule that the choice is among, and the best one so far. */
typedef struct race {
  tsr_schedule entry, winner;
  double best;
} race;

static void enter_one(const tsr_choosing *s, race *inout) {
  const int64_t *knobs = inout->entry.knobs;
  const int64_t sums = knobs[TSR_KNOB_MC] * knobs[TSR_KNOB_NC] * s->c->b.bytes;
  if (!rest_fits(s, knobs) || (s->kc < s->k && sums > 2 * (int64_t)s->nest->target->l2_bytes))
    return;
  double cycles = candidate_cycles(s, knobs);
  if (s->later != NULL)
    cycles = cycles <= s->limit ? candidate_cycles(s->later, knobs) : HUGE_VAL;
  if (cycles < inout->best) {
    inout->best = cycles;
    inout->winner = inout->entry;
  }
}

/* Register tiles that walk the columns first read b as often as there are rows of them; where many
 * rows at a time are what stores wait for, that may be less. */
static void enter(const tsr_choosing *s, race *inout) {
  int64_t *knobs = inout->entry.knobs;
  enter_one(s, inout);
  const tsr_cost_contract shape = cost_shape(s, knobs);
  if (!shape.columns_outside || s->later != NULL ||
      tsr_cost_of_contract_stores(s->nest->target, &shape) <= 0)
    return;
  knobs[TSR_KNOB_OUTER] = 0;
  enter_one(s, inout);
  knobs[TSR_KNOB_OUTER] = 1;
}

/* Large blocks, and smaller ones as long as more tasks could be of use; for two sizes at once those
 * of the greater one. */
static void enter_blocks(const tsr_choosing *s, int64_t mr, int64_t nr, race *inout) {
  int64_t *knobs = inout->entry.knobs, mc = 0, nc = 0, tasks;
  if (s->later != NULL) {
    choose_blocks(s->later, mr, nr, knobs);
    mc = knobs[TSR_KNOB_MC];
    choose_blocks(s, mr, nr, knobs);
    knobs[TSR_KNOB_MC] = greatest(mc, knobs[TSR_KNOB_MC]);
    enter(s, inout);
    return;
  }
  largest_blocks(s, mr, nr, &mc, &nc);
  do {
    set_blocks(s, mc, nc, knobs);
    enter(s, inout);
    tasks = tasks_of(s, mc, nc);
  } while (wants_more_tasks(s, tasks) && halve_blocks(s, tasks, mr, nr, &mc, &nc));
}

/* The best register tile and blocks for passes of depth s->kc. */
static double choose_tiles(const tsr_choosing *s, double best, tsr_schedule *out) {
  static const int64_t widths[] = {1, 2, 3, 4, 5, 6, 8};
  race all = {.entry = {.strategy = TSR_STRATEGY_CONTRACT}, .best = best};
  int64_t *knobs = all.entry.knobs;
  const tsr_choosing *largest = s->later != NULL ? s->later : s;
  const int64_t vectors = tsr_choose_window_vectors(s);
  const int64_t most_rows = s->c->m < 0 ? 1 : least(28, greatest(largest->m, 1));
  for (unsigned w = 0; w < sizeof widths / sizeof *widths; w++)
    for (int64_t mr = 1; mr <= most_rows; mr++) {
      int64_t nr = widths[w] * s->lanes;
      if (mr > rows_that_fit(s->nest->target, widths[w], s->c->each ? 2 : 1) ||
          (w > 0 && nr >= largest->n + s->lanes && nr != s->only_nr) ||
          (vectors > 0 && widths[w] != vectors && nr != s->only_nr) ||
          (s->only_mr > 0 && mr != s->only_mr) || (s->only_nr > 0 && nr != s->only_nr))
        continue;
      knobs[TSR_KNOB_MR] = mr;
      knobs[TSR_KNOB_NR] = nr;
      knobs[TSR_KNOB_KC] = s->kc < s->k ? s->kc : 0;
      knobs[TSR_KNOB_UNROLL] = steps_at_a_time(mr, widths[w]);
      knobs[TSR_KNOB_PACK_A] = s->pack_a;
      knobs[TSR_KNOB_PACK_B] = s->pack_b;
      knobs[TSR_KNOB_OUTER] = !s->pack_b;
      knobs[TSR_KNOB_GRAIN] = default_grain(s);
      enter_blocks(s, mr, nr, &all);
    }
  if (all.best < best) {
    *out = all.winner;
    out->knobs[TSR_KNOB_AHEAD] = tsr_choose_ahead(s, out->knobs);
    out->knobs[TSR_KNOB_FETCH] = tsr_choose_fetch(s, out->knobs);
  }
  return all.best;
}

static void pack_at_run_time(tsr_choosing *s, bool pack_a, bool pack_b) {
  s->pack_a = pack_a;
  s->pack_b = pack_b;
  tsr_contract_emit e = {
      .nest = s->nest, .ir = s->nest->ir, .c = s->c, .pack_a = pack_a, .pack_b = pack_b};
  tsr_contract_flatten(&e);
  s->depth_flat = e.depth_flat;
  s->depth_outer = e.depth_outer;
  s->taps = e.taps;
}

/* The best with passes of an equal number of steps of the outermost depth axis, so that what a task
 * packs stays in L2 with enough columns. */
static double choose_passes(tsr_choosing *s, double best, tsr_schedule *out) {
  enum { MOST_PASS = 1200 };
  const int64_t least_pass = s->pack_b ? 128 : 256;
  if (!s->depth_flat || s->k <= least_pass)
    return best;
  const int64_t steps = s->k / s->depth_outer;
  for (int64_t passes = 2; passes <= steps && s->k / passes >= least_pass; passes++) {
    if (steps % passes != 0 || s->k / passes > MOST_PASS)
      continue;
    s->kc = s->k / passes;
    best = choose_tiles(s, best, out);
  }
  return best;
}

/* Where register tiles can read whole vectors of b as it lies, a copy of it has to pay for itself.
 */
static double choose_in_place(tsr_choosing *s, double best, tsr_schedule *out) {
  if (s->c->flat || s->c->b.side_stride != 1 || s->c->b.checked)
    return best;
  pack_at_run_time(s, s->pack_a, false);
  s->kc = greatest(s->k, 1);
  return choose_tiles(s, best, out);
}

/* One pass through the whole depth or several. Where b is a constant, several need a copy of a,
 * which should be worth it. */
static double default_contract(tsr_choosing *s, tsr_schedule *out) {
  const double worth = 0.93;
  s->kc = greatest(s->k, 1);
  double best = choose_tiles(s, HUGE_VAL, out);
  if (s->pack_b)
    return choose_in_place(s, choose_passes(s, best, out), out);
  if (s->pack_a && !s->c->a.checked && !packs_computed_a(s)) {
    pack_at_run_time(s, false, false);
    best = choose_tiles(s, best, out);
  }
  if (!s->c->b.packable || s->c->across || s->c->a.packable || !s->c->depth_fixed || s->c->m < 0)
    return best;
  pack_at_run_time(s, true, false);
  const double cut = choose_passes(s, worth * best, out);
  return cut < worth * best ? cut : best;
}

/* A row of any length: tiles for long ones cost short ones nothing, which take parts of them. */
enum { OPEN_ROW = 64 };

/* The contraction at its typical size, or where `extent` (0: none) has the value `size`. */
static tsr_choosing choosing_of(tsr_nest *nest, const tsr_contraction *c, tsr_expr extent,
                                int64_t size) {
  tsr_choosing s = {.nest = nest, .c = c, .m = 1, .k = 1, .outer = 1};
  if (s.c == NULL)
    return s;
  s.lanes = tsr_target_lanes(nest->target, tsr_dtype_bits(s.c->dtype));
  for (uint32_t i = 0; i < nest->axis_count; i++) {
    const tsr_nest_axis *axis = &nest->axes[i];
    const int64_t here = extent != 0 && axis->extent == extent ? size : axis->size;
    if (axis->gone)
      continue;
    if ((int)i == s.c->m)
      s.m = s.c->direct && !axis->fixed && extent == 0 ? greatest(here, OPEN_ROW) : here;
    else if ((int)i == s.c->n)
      s.n = here;
    else if (i >= nest->par_count)
      s.k *= here;
    else
      s.outer *= greatest(here, 1);
  }
  s.window = tsr_contract_window(nest, s.c);
  pack_at_run_time(&s, wants_pack_a(&s), wants_pack_b(&s));
  return s;
}

static void cost_at(tsr_nest *nest, const tsr_schedule *schedule, bool hang, tsr_expr extent,
                    int64_t size, tsr_cost *out_cost);

static tsr_choosing choosing_at(tsr_nest *nest, tsr_expr extent, int64_t size) {
  return choosing_of(nest, tsr_contract_match(nest), extent, size);
}

/* f32 by AMX tiles and bf16 parts, where that gains by the model: multiply-adds on the same panels,
 * of which it will be a variant. */
static void prefer_parts(tsr_nest *nest, tsr_schedule *inout) {
  tsr_schedule tiles;
  tsr_cost by_tiles, otherwise;
  if (!tsr_contract_dot_parts(nest, &tiles))
    return;
  cost_at(nest, &tiles, false, 0, 0, &by_tiles);
  cost_at(nest, inout, false, 0, 0, &otherwise);
  if (by_tiles.cycles * VARIANT_GAIN < otherwise.cycles && tsr_contract_parts_in_range(nest))
    (void)tsr_contract_dot_stand_in(nest, &tiles, inout);
}

static double proc_cycles(const tsr_nest *nest) {
  double cycles = 50;
  for (uint32_t i = 0; i < nest->axis_count; i++)
    cycles *= (double)greatest(nest->axes[i].size, 1);
  return cycles;
}

static void mind_low_end(tsr_nest *nest, tsr_schedule *inout);

void tsr_schedule_default(tsr_nest *nest, tsr_schedule *out_schedule) {
  *out_schedule = (tsr_schedule){.strategy = TSR_STRATEGY_PROC};
  out_schedule->knobs[TSR_KNOB_GRAIN] = tsr_default_grain(nest->target, proc_cycles(nest));
  if (nest->proc)
    return;
  if (nest->target->kind == TSR_TARGET_CUDA) {
    tsr_cost cost;
    tsr_default_cuda(nest, out_schedule, &cost);
    return;
  }
  tsr_choosing s = choosing_at(nest, 0, 0);
  const tsr_atom *atom = tsr_contract_dot_choice(nest);
  if (s.c == NULL)
    tsr_default_nest(nest, out_schedule);
  else if (atom != NULL)
    tsr_contract_dot_default(nest, atom, out_schedule);
  else {
    default_contract(&s, out_schedule);
    tsr_schedule_high_end(nest, out_schedule);
    mind_low_end(nest, out_schedule);
    prefer_parts(nest, out_schedule);
  }
}

void tsr_default_part(tsr_nest *part, const tsr_schedule *whole, tsr_schedule *out_schedule) {
  if (part->target->kind == TSR_TARGET_CUDA) {
    tsr_default_cuda_part(part, whole, out_schedule);
    return;
  }
  *out_schedule = (tsr_schedule){0};
  tsr_default_nest(part, out_schedule);
  out_schedule->knobs[TSR_KNOB_SPLIT] = whole->knobs[TSR_KNOB_SPLIT];
}

void tsr_default_uncut(tsr_nest *nest, tsr_schedule *inout) {
  if (nest->target->kind == TSR_TARGET_CUDA)
    tsr_default_cuda_uncut(nest, inout);
  else if (inout->knobs[TSR_KNOB_SPLIT] > 1)
    inout->knobs[TSR_KNOB_SPLIT] = 1;
}

/* --- variants --- */

tsr_expr tsr_schedule_guarded(tsr_nest *nest) {
  const tsr_contraction *c = nest->proc ? NULL : tsr_contract_match(nest);
  if (c == NULL)
    return 0;
  const tsr_nest_axis *m = c->m < 0 ? NULL : &nest->axes[c->m], *n = &nest->axes[c->n];
  return m != NULL && !m->fixed ? m->extent : !n->fixed && !c->flat ? n->extent : 0;
}

/* The extent where dims are as small as they can be but for 0, or as great; at least 1. */
static int64_t end_of(tsr_nest *nest, tsr_expr extent, bool high) {
  const uint32_t count = tsr_dim_count(nest->ir);
  int64_t *dims = tsr_arena_alloc_array(nest->arena, count + 1, sizeof *dims), end = 0;
  if (dims == NULL) {
    (void)tsr_ir_poison(nest->ir, TSR_ERR_OUT_OF_MEMORY, "out of memory in tiling");
    return 1;
  }
  for (uint32_t i = 0; i < count; i++)
    dims[i] =
        greatest(high ? tsr_dim_get(nest->ir, i + 1)->hi : tsr_dim_get(nest->ir, i + 1)->lo, 1);
  if (tsr_expr_has(nest->ir, extent, TSR_INDEX_VALUE) ||
      tsr_expr_eval(nest->ir, extent, dims, &end) != TSR_OK)
    return 1;
  return greatest(end, 1);
}

/* A choice among schedules that read the same packed constants as `first`. */
static tsr_choosing variant_at(tsr_nest *nest, const tsr_schedule *first, tsr_expr extent,
                               int64_t size) {
  tsr_choosing s = choosing_at(nest, extent, size);
  s.hang = true;
  if (s.c->a.packable)
    s.only_mr = first->knobs[TSR_KNOB_MR];
  if (s.c->b.packable && !s.c->flat)
    s.only_nr = first->knobs[TSR_KNOB_NR];
  return s;
}

static void cost_at(tsr_nest *nest, const tsr_schedule *schedule, bool hang, tsr_expr extent,
                    int64_t size, tsr_cost *out_cost) {
  tsr_choosing s = choosing_of(nest, tsr_contract_of(nest, schedule), extent, size);
  const int64_t *knobs = schedule->knobs;
  s.hang = hang;
  s.atom = schedule->atom;
  pack_at_run_time(&s, knobs[TSR_KNOB_PACK_A] == 1, knobs[TSR_KNOB_PACK_B] == 1);
  s.kc = knobs[TSR_KNOB_KC] > 0 ? knobs[TSR_KNOB_KC] : greatest(s.k, 1);
  candidate_cost(&s, knobs, out_cost);
}

static double cycles_at(tsr_nest *nest, const tsr_schedule *schedule, tsr_expr extent,
                        int64_t size) {
  tsr_cost cost;
  cost_at(nest, schedule, true, extent, size, &cost);
  return cost.cycles;
}

void tsr_default_contract_cost(tsr_nest *nest, const tsr_schedule *schedule, tsr_cost *out_cost) {
  *out_cost = (tsr_cost){0};
  if (tsr_contract_match(nest) != NULL)
    cost_at(nest, schedule, false, 0, 0, out_cost);
}

static double best_at(tsr_nest *nest, const tsr_schedule *first, tsr_expr extent, int64_t size,
                      tsr_schedule *out) {
  tsr_choosing s = variant_at(nest, first, extent, size);
  return default_contract(&s, out);
}

/* The schedule for sizes from `size` on: near `*out`, the best there, and the best of those further
 * up. */
static void choose_variant(tsr_nest *nest, const tsr_schedule *first, tsr_expr extent, int64_t size,
                           int64_t end, double best, tsr_schedule *out) {
  const double near = 1.1;
  const bool pack_a = out->knobs[TSR_KNOB_PACK_A] == 1, pack_b = out->knobs[TSR_KNOB_PACK_B] == 1;
  tsr_choosing s = variant_at(nest, first, extent, size);
  tsr_choosing later = variant_at(nest, first, extent, least(end, 8 * size));
  pack_at_run_time(&s, pack_a, pack_b);
  pack_at_run_time(&later, pack_a, pack_b);
  later.kc = greatest(later.k, 1);
  s.later = &later;
  s.limit = best * near;
  s.kc = greatest(s.k, 1);
  choose_tiles(&s, HUGE_VAL, out);
}

/* The extent where dims have their hints. */
static int64_t typical_size(const tsr_nest *nest, tsr_expr extent) {
  for (uint32_t i = 0; i < nest->axis_count; i++)
    if (nest->axes[i].extent == extent)
      return nest->axes[i].size;
  return 1;
}

void tsr_schedule_high_end(tsr_nest *nest, tsr_schedule *inout) {
  const tsr_expr extent = tsr_schedule_guarded(nest);
  const int64_t high = extent == 0 ? 0 : end_of(nest, extent, true);
  tsr_schedule best = *inout;
  if (extent == 0 || high > MOST_HIGH_END || high <= typical_size(nest, extent))
    return;
  if (best_at(nest, inout, extent, high, &best) * VARIANT_GAIN <=
      cycles_at(nest, inout, extent, high))
    *inout = best;
}

/* The extent from which on there are no variants for the low end. */
static int64_t end_of_variants(const tsr_schedule *first) {
  enum { LEAST_END = 64 };
  return greatest(greatest(first->knobs[TSR_KNOB_MR], first->knobs[TSR_KNOB_NR]), LEAST_END);
}

/* Where even the least extent is too great for variants, such as one image's pixels of an unknown
 * number of images, blocks that suit the typical size may leave threads without tasks there: others
 * are taken where they lose less at the typical size than a variant has to gain. */
static void mind_low_end(tsr_nest *nest, tsr_schedule *inout) {
  const tsr_expr extent = tsr_schedule_guarded(nest);
  tsr_schedule other = *inout;
  if (extent == 0)
    return;
  const int64_t low = end_of(nest, extent, false), typical = typical_size(nest, extent);
  if (low < end_of_variants(inout) || low >= typical)
    return;
  const double best = best_at(nest, inout, extent, low, &other);
  if (cycles_at(nest, inout, extent, low) < VARIANT_GAIN * best)
    return;
  choose_variant(nest, inout, extent, low, typical, best, &other);
  if (cycles_at(nest, &other, extent, typical) <
      VARIANT_GAIN * cycles_at(nest, inout, extent, typical))
    *inout = other;
}

/* One more variant where `first` is far from the best at the typical size, beyond `before`, as far
 * as it is better. */
static bool typical_variant(tsr_nest *nest, const tsr_schedule *first, tsr_expr extent,
                            int64_t before, tsr_schedule *out) {
  int64_t size = typical_size(nest, extent), end = end_of(nest, extent, true);
  *out = *first;
  if (size <= before || size >= end || end > MOST_HIGH_END ||
      best_at(nest, first, extent, size, out) * VARIANT_GAIN > cycles_at(nest, first, extent, size))
    return false;
  while (size + 1 < end) { /* it is better at `size`, and not at `end` */
    const int64_t middle = size + (end - size) / 2;
    if (cycles_at(nest, out, extent, middle) < cycles_at(nest, first, extent, middle))
      size = middle;
    else
      end = middle;
  }
  out->knobs[TSR_KNOB_UPTO] = size;
  return true;
}

/* From the low end of the extent's range upwards: where the first schedule costs VARIANT_GAIN times
 * what the best one would, a variant for as far as it is better and loses at most LOSS; then one
 * for the typical size. */
uint32_t tsr_schedule_variants(tsr_nest *nest, const tsr_schedule *first, tsr_schedule *out,
                               uint32_t most) {
  const double loss = 1.7;
  if (nest->target->kind == TSR_TARGET_CUDA) {
    const tsr_expr guarded = tsr_mma_guarded(nest);
    return tsr_default_cuda_variants(nest, first, guarded == 0 ? 1 : end_of(nest, guarded, false),
                                     out, most);
  }
  const tsr_expr extent = tsr_schedule_guarded(nest);
  if (extent == 0 || first->strategy != TSR_STRATEGY_CONTRACT || first->atom != NULL)
    return 0;
  const int64_t end = end_of_variants(first);
  int64_t size = end_of(nest, extent, false);
  uint32_t count = 0;
  while (count < most && size < end) {
    tsr_schedule *variant = &out[count];
    *variant = *first;
    const double best = best_at(nest, first, extent, size, variant);
    if (cycles_at(nest, first, extent, size) < VARIANT_GAIN * best)
      break;
    choose_variant(nest, first, extent, size, end, best, variant);
    for (size++; size < end; size++) {
      tsr_schedule other = *first;
      const double cycles = cycles_at(nest, variant, extent, size);
      if (cycles >= cycles_at(nest, first, extent, size) ||
          cycles > loss * best_at(nest, first, extent, size, &other))
        break;
    }
    out[count++].knobs[TSR_KNOB_UPTO] = size - 1;
  }
  if (count < most && typical_variant(nest, first, extent, size - 1, &out[count]))
    count++;
  return count;
}
