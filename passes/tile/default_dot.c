/* Schedules of contractions by atoms with k-groups: what is legal, and the default. */
#include "passes/tile/choosing.h"
#include "passes/tile/contract_dot.h"
#include "passes/tile/contract_parts.h"
#include <math.h>

enum { TILE = 16 };

static tsr_status refuse(const char *kernel, const char *what, const char *why, tsr_diag *diag) {
  return tsr_fail(diag, TSR_ERR_ARGUMENT, "schedule @%s: '%s' %s", kernel, what, why);
}

static bool has_atom(tsr_nest *nest, const tsr_atom *atom) {
  const tsr_atom *atoms[TSR_CONTRACT_ATOMS];
  for (uint32_t i = tsr_contract_atoms(nest, atoms); i-- > 0;)
    if (atoms[i] == atom)
      return true;
  return false;
}

/* A register of tiles would otherwise reach into the columns of another task. */
static bool whole_registers(const tsr_nest *nest, const tsr_contraction *c, int64_t columns) {
  const tsr_nest_axis *n = &nest->axes[c->n];
  return columns % TILE == 0 || (n->fixed && columns >= n->size);
}

tsr_status tsr_contract_dot_check(tsr_nest *nest, const tsr_schedule *schedule, const char *kernel,
                                  tsr_diag *diag) {
  const int64_t *knobs = schedule->knobs;
  const bool tiles = schedule->atom->place == TSR_ATOM_MEMORY;
  if (!has_atom(nest, schedule->atom))
    return refuse(kernel, "atom", "does not multiply what this block multiplies on its target",
                  diag);
  const tsr_contraction *c = tsr_contract_narrow(nest);
  if (c->parts > 1 && !tsr_contract_parts_in_range(nest))
    return refuse(kernel, "atom", "splits constants whose values are 0 or in 2^-40 .. 2^40", diag);
  if (knobs[TSR_KNOB_NR] % TILE != 0 || (tiles && knobs[TSR_KNOB_NR] > 2 * TILE))
    return refuse(kernel, "nr", tiles ? "must be 16 or 32" : "must be a multiple of 16", diag);
  if (tiles && c->flat && !whole_registers(nest, c, knobs[TSR_KNOB_NC]))
    return refuse(kernel, "nc", "must be a multiple of 16, or all columns", diag);
  if (tiles && (knobs[TSR_KNOB_MR] % TILE != 0 || knobs[TSR_KNOB_MR] > 2 * TILE))
    return refuse(kernel, "mr", "must be 16 or 32", diag);
  if (!c->a.packable && knobs[TSR_KNOB_PACK_A] != 1)
    return refuse(kernel, "pack_a", "must be 1: the atom reads rows along the depth", diag);
  if ((!c->b.packable || c->flat) && knobs[TSR_KNOB_PACK_B] != 1)
    return refuse(kernel, "pack_b", "must be 1: the atom reads groups of depths", diag);
  if (knobs[TSR_KNOB_KC] > 0 &&
      (knobs[TSR_KNOB_KC] % (int64_t)schedule->atom->k != 0 ||
       nest->axes[c->depth[c->depth_count - 1]].size % tsr_contract_unit(nest) != 0))
    return refuse(kernel, "kc", "must cut the depth into whole groups", diag);
  return TSR_OK;
}

/* --- the default --- */

typedef struct shape {
  int64_t m, n, k, outer;
} shape;

static shape typical(const tsr_nest *nest, const tsr_contraction *c) {
  shape s = {.m = 1, .n = 1, .k = 1, .outer = 1};
  for (uint32_t i = 0; i < nest->axis_count; i++) {
    const int64_t size = greatest(nest->axes[i].size, 1);
    if (nest->axes[i].gone)
      continue;
    if ((int)i == c->m)
      s.m = size;
    else if ((int)i == c->n)
      s.n = size;
    else if (i >= nest->par_count)
      s.k *= size;
    else
      s.outer *= size;
  }
  return s;
}

static const tsr_atom *tile_atom(tsr_nest *nest) {
  const tsr_atom *atoms[TSR_CONTRACT_ATOMS];
  for (uint32_t i = tsr_contract_atoms(nest, atoms); i-- > 0;)
    if (atoms[i]->place == TSR_ATOM_MEMORY)
      return atoms[i];
  return NULL;
}

/* Sums that start from zero again and again stand beside those that they are added to. */
static bool chained(const tsr_atom *atom) {
  return atom->parts > 1 && atom->place == TSR_ATOM_REG && atom->k > 1;
}

/* Of a deep product of parts, passes whose rows are enough to share the panels that they read. */
static int64_t choose_pass(tsr_nest *nest, const tsr_contraction *c, const shape *s) {
  enum { ROWS = 128 };
  const int64_t most = (int64_t)nest->target->l2_bytes / 2 / (ROWS * c->a.bytes);
  if (c->parts == 1 || c->depth_count != 1 || s->k <= most || s->k % tsr_contract_unit(nest) != 0)
    return 0;
  for (int64_t passes = 2; s->k / passes >= most / 4; passes++)
    if (s->k % passes == 0 && s->k / passes <= most && s->k / passes % tsr_contract_unit(nest) == 0)
      return s->k / passes;
  return 0;
}

/* A block of rows takes a quarter of L2, columns that a task copies take half; then enough tasks
 * for all threads: blocks of half as many rows read b once more, of half as many columns copy a. */
static void choose_blocks(const tsr_nest *nest, const tsr_contraction *c, const shape *s,
                          bool tiles, int64_t *knobs) {
  const int64_t mr = knobs[TSR_KNOB_MR], nr = knobs[TSR_KNOB_NR];
  const int64_t half = (int64_t)nest->target->l2_bytes / 2;
  const int64_t all_m = up_to(s->m, mr), all_n = up_to(s->n, nr);
  const bool packs_b = knobs[TSR_KNOB_PACK_B] == 1;
  const int64_t row = greatest(1, s->k * c->a.bytes), column = greatest(1, s->k * c->b.bytes);
  int64_t mc = least(all_m, greatest(mr, half / 2 / row / mr * mr));
  int64_t nc = packs_b ? least(all_n, greatest(nr, half / column / nr * nr)) : all_n;
  const int64_t each = tiles ? 2 : 4; /* tasks of a thread: those of tiles read more bytes */
  const int64_t copy = 32;            /* bytes of b that are read while an element of a is copied */
  const int64_t wanted = nest->target->threads > 1 ? each * (int64_t)nest->target->threads : 1;
  const double work = (double)s->m * (double)s->n * (double)s->k * (double)s->outer / 64;
  while (s->outer * ceil_div(all_m, mc) * ceil_div(all_n, nc) < wanted &&
         work > 4 * nest->target->fork_cycles && (mc > mr || nc > nr)) {
    const bool by_rows = packs_b ? nc / nr <= 2 : all_n * c->b.bytes <= copy * all_m;
    if (mc > mr && (by_rows || nc <= nr))
      mc = up_to(mc / 2, mr);
    else
      nc = up_to(nc / 2, nr);
  }
  knobs[TSR_KNOB_MC] = mc;
  knobs[TSR_KNOB_NC] = nc;
  if (c->flat) {
    int64_t rows = greatest(1, least(c->flat_rows_size, nc / c->flat_width)), fixed = 0;
    while (tsr_expr_is_int(nest->ir, c->flat_rows, &fixed) && rows > 1 && fixed % rows != 0)
      rows--;
    while (tiles && rows < c->flat_rows_size && !whole_registers(nest, c, rows * c->flat_width))
      rows++;
    knobs[TSR_KNOB_NC] = rows * c->flat_width;
  }
}

/* Blocks for the register tile of the schedule; partial sums of passes stay in half of L2. */
static void settle(const tsr_nest *nest, const tsr_contraction *c, const shape *s,
                   tsr_schedule *inout) {
  int64_t *knobs = inout->knobs;
  shape pass = *s;
  if (knobs[TSR_KNOB_KC] > 0)
    pass.k = knobs[TSR_KNOB_KC];
  choose_blocks(nest, c, &pass, inout->atom->place == TSR_ATOM_MEMORY, knobs);
  if (knobs[TSR_KNOB_KC] == 0)
    return;
  const int64_t panel = knobs[TSR_KNOB_MC] * (int64_t)sizeof(float) * knobs[TSR_KNOB_NR];
  const int64_t panels = greatest(1, (int64_t)nest->target->l2_bytes / 2 / panel);
  knobs[TSR_KNOB_NC] = least(knobs[TSR_KNOB_NC], panels * knobs[TSR_KNOB_NR]);
}

/* The register tile of vectors whose schedule costs least; one that stores shorter pieces of rows
 * has to gain, as the model does not know what those cost. */
static void choose_tile(tsr_nest *nest, const tsr_contraction *c, const shape *s,
                        tsr_schedule *inout) {
  enum { MOST_ROWS = 28, MOST_VECTORS = 4 };
  const double gain = 1.03;
  /* Panels that a variant by tiles reads too. */
  const bool shared = tile_atom(nest) != NULL;
  const int64_t only_rows = shared && c->a.packable ? TILE : 0;
  const int64_t only_vectors = shared && c->b.packable && !c->flat ? 2 : 0;
  const int64_t each = chained(inout->atom) ? 2 : 1;
  tsr_schedule entry = *inout;
  double best = HUGE_VAL;
  const int64_t widest =
      only_vectors > 0 ? only_vectors : least(MOST_VECTORS, ceil_div(s->n, TILE));
  for (int64_t vectors = widest; vectors >= 1; vectors--) {
    const double wider = best / gain;
    for (int64_t rows = 1; rows <= MOST_ROWS; rows++) {
      tsr_cost cost;
      if (rows > rows_that_fit(nest->target, vectors, each))
        break;
      if ((only_rows > 0 && rows != only_rows) || (only_vectors > 0 && vectors != only_vectors))
        continue;
      entry.knobs[TSR_KNOB_MR] = rows;
      entry.knobs[TSR_KNOB_NR] = vectors * TILE;
      entry.knobs[TSR_KNOB_UNROLL] = steps_at_a_time(rows, vectors);
      settle(nest, c, s, &entry);
      tsr_default_contract_cost(nest, &entry, &cost);
      if (cost.cycles < (inout->knobs[TSR_KNOB_NR] == vectors * TILE ? best : wider)) {
        best = cost.cycles;
        *inout = entry;
      }
    }
  }
}

void tsr_contract_dot_default(tsr_nest *nest, const tsr_atom *atom, tsr_schedule *out_schedule) {
  const tsr_contraction *c = tsr_contract_narrow(nest);
  *out_schedule = (tsr_schedule){.strategy = TSR_STRATEGY_CONTRACT, .atom = atom};
  int64_t *knobs = out_schedule->knobs;
  if (c == NULL)
    return;
  const shape s = typical(nest, c);
  const double work = (double)s.m * (double)s.n * (double)s.k * (double)s.outer / 64;
  knobs[TSR_KNOB_PACK_A] = !c->a.packable;
  knobs[TSR_KNOB_PACK_B] = !c->b.packable || c->flat;
  knobs[TSR_KNOB_OUTER] = knobs[TSR_KNOB_PACK_B] == 0;
  knobs[TSR_KNOB_UNROLL] = 4;
  knobs[TSR_KNOB_GRAIN] = tsr_default_grain(nest->target, work);
  knobs[TSR_KNOB_KC] = choose_pass(nest, c, &s);
  if (atom->place == TSR_ATOM_REG) {
    choose_tile(nest, c, &s, out_schedule);
    return;
  }
  knobs[TSR_KNOB_MR] = s.m > TILE ? 2 * TILE : TILE;
  knobs[TSR_KNOB_NR] = 2 * TILE;
  settle(nest, c, &s, out_schedule);
}

/* Vectors, on whose schedule a variant by tiles may stand; slow ones only for its sake. */
static bool is_first(tsr_nest *nest, const tsr_atom *atom) {
  if (atom->parts > 1)
    return false;
  return atom->place == TSR_ATOM_REG &&
         (atom->c != TSR_F32 || tile_atom(nest) != NULL || tsr_target_bf16_vectors(nest->target));
}

uint32_t tsr_contract_dot_variants(tsr_nest *nest, const tsr_schedule *first, tsr_schedule *out) {
  const tsr_atom *atom = tile_atom(nest);
  if (atom == NULL || first->atom == NULL || first->atom->place != TSR_ATOM_REG)
    return 0;
  const tsr_contraction *c = tsr_contract_narrow(nest);
  const int64_t mr = first->knobs[TSR_KNOB_MR], nr = first->knobs[TSR_KNOB_NR];
  const int64_t tiles[2] = {TILE, 2 * TILE};
  const bool rows_fit = !c->a.packable || mr == tiles[0] || mr == tiles[1];
  const bool columns_fit = !c->b.packable || c->flat || nr == tiles[0] || nr == tiles[1];
  if (!rows_fit || !columns_fit)
    return 0;
  tsr_contract_dot_default(nest, atom, out);
  if (c->flat && !whole_registers(nest, c, out->knobs[TSR_KNOB_NC]))
    return 0;
  int64_t *knobs = out->knobs;
  if (c->a.packable)
    knobs[TSR_KNOB_MR] = mr;
  if (c->b.packable && !c->flat)
    knobs[TSR_KNOB_NR] = nr;
  knobs[TSR_KNOB_MC] = up_to(knobs[TSR_KNOB_MC], knobs[TSR_KNOB_MR]);
  if (!c->flat)
    knobs[TSR_KNOB_NC] = up_to(knobs[TSR_KNOB_NC], knobs[TSR_KNOB_NR]);
  knobs[TSR_KNOB_UPTO] = tsr_knob_get(TSR_KNOB_UPTO)->greatest;
  return 1;
}

bool tsr_contract_dot_parts(tsr_nest *nest, tsr_schedule *out) {
  const tsr_contraction *c = tsr_contract_narrow(nest);
  const tsr_atom *atom = c == NULL || c->parts == 1 ? NULL : tile_atom(nest);
  if (atom == NULL || !nest->axes[c->m].fixed || !nest->axes[c->n].fixed)
    return false;
  tsr_contract_dot_default(nest, atom, out);
  return !c->flat || whole_registers(nest, c, out->knobs[TSR_KNOB_NC]);
}

/* Of multiply-adds only where elements are split: instructions for bf16 vectors would take longer.
 */
bool tsr_contract_dot_stand_in(tsr_nest *nest, const tsr_schedule *tiles, tsr_schedule *out) {
  const tsr_atom *atoms[TSR_CONTRACT_ATOMS];
  const tsr_contraction *c = tsr_contract_narrow(nest);
  for (uint32_t i = tsr_contract_atoms(nest, atoms); i-- > 0;) {
    if (c->parts == 1 || atoms[i]->place != TSR_ATOM_REG || atoms[i]->k > 1)
      continue;
    tsr_contract_dot_default(nest, atoms[i], out);
    int64_t *knobs = out->knobs;
    if (c->a.packable)
      knobs[TSR_KNOB_MR] = tiles->knobs[TSR_KNOB_MR];
    if (c->b.packable && !c->flat)
      knobs[TSR_KNOB_NR] = tiles->knobs[TSR_KNOB_NR];
    knobs[TSR_KNOB_MC] = up_to(knobs[TSR_KNOB_MC], knobs[TSR_KNOB_MR]);
    if (!c->flat)
      knobs[TSR_KNOB_NC] = up_to(knobs[TSR_KNOB_NC], knobs[TSR_KNOB_NR]);
    return true;
  }
  return false;
}

const tsr_atom *tsr_contract_dot_choice(tsr_nest *nest) {
  const tsr_atom *atoms[TSR_CONTRACT_ATOMS];
  const tsr_contraction *c = tsr_contract_narrow(nest);
  for (uint32_t i = tsr_contract_atoms(nest, atoms); i-- > 0;)
    if (c != NULL && is_first(nest, atoms[i]))
      return atoms[i];
  return NULL;
}
