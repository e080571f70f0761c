/* Defaults for caches: what is fetched before it is needed, and how windows walk along lines. */
#include "passes/tile/choosing.h"

/* A constant that register tiles read in panels comes from beyond L2, where it was since the last
 * run: the first tiles wait for their panel, the others find it. So where tiles one after the other
 * share a panel, and L2 holds two, they fetch the next one while they sum: each a part
 * (contract_ahead.c), or each all of it where they are few and it is small. Else they fetch what
 * they read some steps later, which is of use to the first one and costs the others little. The
 * only one does so on one thread (two that wait for memory share it, and were slower on Zen 4),
 * unless its steps are so short that fetching costs more. */
static int64_t ahead_of_panels(const tsr_choosing *s, int64_t panels, int64_t panel, int64_t sums,
                               int64_t tiles, bool in_parts) {
  enum { MOST_TILES = 16, STEPS = 64, FEW_STEPS = 16, SHORT = 16 };
  const int64_t l2 = (int64_t)s->nest->target->l2_bytes;
  if (tiles < 2 && !s->c->direct)
    return s->nest->target->threads > 1 || sums < SHORT || s->k <= STEPS ? 0 : STEPS;
  const bool next = in_parts ? panel <= l2 * 2 / 5 : tiles <= MOST_TILES && panel <= l2 / 6;
  if (next && panels > 1 && tiles > 1 && s->k <= tsr_knob_get(TSR_KNOB_AHEAD)->greatest)
    return s->k;
  if (s->c->direct)
    return panels > 1 && tiles > 1 ? FEW_STEPS : 0;
  return STEPS;
}

int64_t tsr_choose_ahead(const tsr_choosing *s, const int64_t *knobs) {
  const tsr_contraction *c = s->c;
  const tsr_nest_axis *axes = s->nest->axes;
  const int64_t mr = knobs[TSR_KNOB_MR], nr = knobs[TSR_KNOB_NR];
  const int64_t rows = least(knobs[TSR_KNOB_MC], s->m), columns = least(knobs[TSR_KNOB_NC], s->n);
  const int64_t sums = mr * ceil_div(nr, s->lanes), size = s->k * c->b.bytes;
  if (s->atom != NULL || s->window || c->each || !c->depth_fixed)
    return 0;
  if (c->a.packable && !c->b.packable)
    return ahead_of_panels(s, ceil_div(s->m, mr), size * mr, sums, ceil_div(columns, nr), false);
  if (!c->b.packable || c->flat || (!c->direct && knobs[TSR_KNOB_OUTER] == 0))
    return 0;
  const int64_t lines = c->direct && c->direct_y >= 0 ? axes[c->direct_y].size : 1;
  const bool known =
      (c->m < 0 || axes[c->m].fixed) && (!c->direct || c->direct_y < 0 || axes[c->direct_y].fixed);
  return ahead_of_panels(s, ceil_div(s->n, nr), size * nr, sums, lines * ceil_div(rows, mr), known);
}

/* Results that take much of L2 find their lines beyond it, and stores wait for them: long beside a
 * short sum. */
bool tsr_choose_fetch(const tsr_choosing *s, const int64_t *knobs) {
  const tsr_target *target = s->nest->target;
  const int64_t tile = s->kc * (knobs[TSR_KNOB_MR] + knobs[TSR_KNOB_NR]) * s->c->b.bytes;
  const double bytes = (double)s->outer * (double)s->m * (double)s->n * (double)s->c->b.bytes;
  return !s->window && tile <= (int64_t)target->l1_bytes / 2 &&
         bytes >= 0.5 * (double)target->l2_bytes;
}

/* Vectors of columns of a window's tile: more than one where columns are read with a step, as
 * neighbours share the lines, and of rows of four vectors and more: the hardware fetches
 * ahead along a line of the image where several of its vectors are read at a time. Four where that
 * leaves no rest (56 columns are a sixth faster than one by one), else three. Not where rows that
 * share what they read would no longer fit, nor where only a run knows the width. A signal, which
 * has no rows, is read four at a time. 0: as many as the model likes, as where weights leave no
 * registers for rows that share. */
int64_t tsr_choose_window_vectors(const tsr_choosing *s) {
  enum { MOST = 3, EVEN = 4 };
  const tsr_target *target = s->nest->target;
  const int64_t m = greatest(s->m, 1), step = s->c->b.side_stride;
  const bool steps = step > 1 && step < s->lanes;
  const int64_t row = ceil_div(s->n, s->lanes);
  int64_t vectors = !steps && row % EVEN == 0 ? EVEN : least(MOST, row);
  if (!s->window)
    return 0;
  if (tsr_contract_window_row(s->c) < 0)
    return least(EVEN, row);
  if (tsr_contract_window_rows(target, s->c, m, 1) < 2)
    return 0;
  if (!s->nest->axes[s->c->n].fixed || !(steps || row >= EVEN))
    return 1;
  while (vectors > 1 && tsr_contract_window_rows(target, s->c, m, vectors) <
                            tsr_contract_window_rows(target, s->c, m, 1))
    vectors--;
  return greatest(vectors, 1);
}
