/* Defaults for caches: what is fetched before it is needed, and how windows walk along lines. */
#include "passes/tile/choosing.h"

/* A constant that register tiles read in panels comes from beyond L2, where it was since the last
 * run: the first tiles wait for their panel, the others find it. So where not many tiles share one
 * panel, and L2 holds several, they fetch the next one while they sum; else what they read some
 * steps later, which is of use to the first one and costs the others little. The only one does so
 * on one thread (two that wait for memory share it, and were slower on Zen 4), unless its steps are
 * so short that fetching costs more. */
static int64_t ahead_of_panels(const tsr_choosing *s, const tsr_contract_operand *constant,
                               int64_t width, int64_t sums, int64_t tiles) {
  enum { MOST_TILES = 16, STEPS = 64, SHORT = 16 };
  const int64_t panel = s->k * width * constant->bytes;
  if (tiles < 2)
    return s->nest->target->threads > 1 || sums < SHORT || s->k <= STEPS ? 0 : STEPS;
  return tiles <= MOST_TILES && s->k <= tsr_knob_get(TSR_KNOB_AHEAD)->greatest &&
                 panel <= (int64_t)s->nest->target->l2_bytes / 6
             ? s->k
             : STEPS;
}

int64_t tsr_choose_ahead(const tsr_choosing *s, const int64_t *knobs) {
  const int64_t mr = knobs[TSR_KNOB_MR], nr = knobs[TSR_KNOB_NR];
  const int64_t rows = least(knobs[TSR_KNOB_MC], s->m), columns = least(knobs[TSR_KNOB_NC], s->n);
  const int64_t sums = mr * ceil_div(nr, s->lanes);
  if (s->atom != NULL || s->c->direct || s->window || !s->c->depth_fixed)
    return 0;
  if (s->c->a.packable && !s->c->b.packable)
    return ahead_of_panels(s, &s->c->a, mr, sums, ceil_div(columns, nr));
  if (!s->c->b.packable || s->c->flat || knobs[TSR_KNOB_OUTER] == 0)
    return 0;
  return ahead_of_panels(s, &s->c->b, nr, sums, ceil_div(rows, mr));
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
 * neighbours share the lines, and of rows of four vectors and more beyond L2: the hardware fetches
 * ahead along a line of the image where several of its vectors are read at a time. Four where that
 * leaves no rest (56 columns are a sixth faster than one by one), else three. Not where rows that
 * share what they read would no longer fit, nor where only a run knows the width. */
int64_t tsr_choose_window_vectors(const tsr_choosing *s) {
  enum { MOST = 3, EVEN = 4 };
  const tsr_target *target = s->nest->target;
  const int64_t m = greatest(s->m, 1), step = s->c->b.side_stride;
  const double bytes = (double)s->outer * (double)s->n * (double)s->c->b.bytes;
  const bool steps = step > 1 && step < s->lanes;
  const bool far = bytes >= 0.8 * (double)target->l2_bytes;
  const int64_t row = ceil_div(s->n, s->lanes);
  int64_t vectors = far && !steps && row % EVEN == 0 ? EVEN : least(MOST, row);
  if (!s->nest->axes[s->c->n].fixed || !(steps || (far && row >= EVEN)))
    return 1;
  while (vectors > 1 && tsr_contract_window_rows(target, s->c, m, vectors) <
                            tsr_contract_window_rows(target, s->c, m, 1))
    vectors--;
  return greatest(vectors, 1);
}
