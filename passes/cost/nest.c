#include "passes/cost/cost.h"
#include <stdio.h>

enum { TASK_CYCLES = 60, TURN_CYCLES = 2 };

static double greater(double a, double b) {
  return a > b ? a : b;
}

/* Bytes that the caches are too small for come from the next level; half of L2 keeps what it has.
 */
static double far_cycles(const tsr_target *target, double bytes) {
  const double kept = 0.5 * (double)target->l2_bytes;
  if (bytes < 0.8 * (double)target->l2_bytes)
    return 0;
  if (bytes < 0.8 * (double)target->l3_bytes)
    return (bytes - kept) / target->l3_rate;
  return bytes / target->memory_rate;
}

void tsr_cost_of_nest(const tsr_target *target, const tsr_cost_nest *s, tsr_cost *out_cost) {
  const double threads = (double)target->threads;
  const double busy =
      greater(s->operations / target->fma_rate, s->moves) + (double)TURN_CYCLES * s->turns;
  *out_cost =
      (tsr_cost){.compute = greater(busy, s->chain) + s->waits + s->ends, .tasks = s->tasks};
  out_cost->near =
      s->moved_bytes > 0.8 * (double)target->l1_bytes ? s->moved_bytes / target->l2_rate : 0;
  out_cost->far = far_cycles(target, s->bytes);
  out_cost->near_bytes = s->moved_bytes;
  out_cost->far_bytes = s->bytes;
  const double most = greater(out_cost->compute, greater(out_cost->near, out_cost->far));
  double cycles = most + 0.2 * (out_cost->compute + out_cost->near + out_cost->far - most) +
                  s->tasks * (double)TASK_CYCLES;
  out_cost->waves = s->tasks;
  if (threads > 1 && s->tasks > 1) {
    out_cost->waves = (double)(int64_t)((s->tasks + threads - 1) / threads);
    cycles = cycles * out_cost->waves / s->tasks + target->fork_cycles;
  }
  out_cost->overhead = target->launch_cycles + s->tasks * (double)TASK_CYCLES;
  out_cost->cycles = cycles + target->launch_cycles;
  snprintf(out_cost->why, sizeof out_cost->why,
           "compute %.0f%%, from L2 %.0f%%, beyond L2 %.0f%%, tasks %.0f%% of %.3g cycles",
           100 * out_cost->compute / out_cost->cycles, 100 * out_cost->near / out_cost->cycles,
           100 * out_cost->far / out_cost->cycles, 100 * out_cost->overhead / out_cost->cycles,
           out_cost->cycles);
}
