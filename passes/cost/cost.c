#include "passes/cost/cost.h"
#include <stdint.h>
#include <stdio.h>

enum { FMA_LATENCY = 4 };

static double greater(double a, double b) {
  return a > b ? a : b;
}

static double ceil_div(int64_t a, int64_t b) {
  return (double)((a + b - 1) / b);
}

/* Cycles of one depth step of a register tile: arithmetic, loads, or the latency of one chain. */
static double step_cycles(const tsr_cost_contract *s, int64_t rows, int64_t columns) {
  const double vectors = ceil_div(columns, s->lanes), r = (double)rows;
  const double arithmetic = r * vectors / 2, loads = (r + vectors) / 2;
  const double gathers = s->strided_b ? (double)columns : 0;
  return greater(greater(arithmetic, loads), FMA_LATENCY) + gathers;
}

/* `count` register tiles of this size. */
static double tiles_cycles(const tsr_cost_contract *s, double count, int64_t rows,
                           int64_t columns) {
  if (count <= 0 || rows == 0 || columns == 0)
    return 0;
  const double results = (double)rows * ceil_div(columns, s->lanes);
  const double passes = ceil_div(s->k, s->kc);
  return count * ((double)s->k * step_cycles(s, rows, columns) + 20 +
                  (s->k > s->kc ? 20 * passes + 2.5 * results * passes : 0) + 1.5 * results);
}

/* All register tiles of an m x n block of outputs, the rests included. */
static double tile_cycles(const tsr_cost_contract *s) {
  const int64_t rest_rows = s->m % s->mr, rest = s->n % s->nr;
  const int64_t rest_columns = rest > 0 && s->columns_hang ? s->nr : rest;
  double total = 0;
  for (int i = 0; i < 2; i++) {
    const int64_t columns = i == 0 ? s->nr : rest_columns;
    const double count = i == 0 ? (double)(s->n / s->nr) : 1;
    total += tiles_cycles(s, count * (double)(s->m / s->mr), s->mr, columns);
    if (!s->rows_split)
      total += tiles_cycles(s, count, rest_rows, columns);
    else
      for (int64_t rows = 1; rows <= rest_rows; rows *= 2)
        total += rest_rows & rows ? tiles_cycles(s, count, rows, columns) : 0;
  }
  return total;
}

/* Bytes from L2: the inner loop's operand anew for each register tile; the outer one's panel too
 * unless it stays in L1. */
static double near_bytes(const tsr_target *target, const tsr_cost_contract *s) {
  const double passes = ceil_div(s->k, s->kc), k = (double)s->kc;
  const double tiles = ceil_div(s->m, s->mr) * ceil_div(s->n, s->nr);
  const double a = k * (double)(s->mr * s->a_bytes), b = k * (double)(s->nr * s->b_bytes);
  const double outside = s->columns_outside ? b : a, inside = s->columns_outside ? a : b;
  const double times = s->columns_outside ? ceil_div(s->n, s->nr) : ceil_div(s->m, s->mr);
  const bool stays = outside + 4096 < 0.7 * (double)target->l1_bytes;
  const double sums = s->k > s->kc ? (double)s->m * (double)(s->n * 8) : 0;
  return passes * (tiles * inside + (stays ? times : tiles) * outside + sums);
}

/* Bytes from beyond L2: each operand once per block of the other, unless all of it stays. */
static double far_bytes(const tsr_target *target, const tsr_cost_contract *s) {
  const double a = (double)(s->m * s->a_bytes) * (double)s->k;
  const double b = (double)(s->n * s->b_bytes) * (double)s->k;
  if (a + b < 0.8 * (double)target->l2_bytes)
    return a + b;
  const double rows = ceil_div(s->m, s->mc), columns = ceil_div(s->n, s->nc);
  const double share = (double)s->kc / (double)s->k;
  const double a_block = a / rows * share, b_block = b / columns * share;
  const double cache = 0.8 * (double)target->l2_bytes;
  const double a_times = a_block > cache ? ceil_div(s->nc, s->nr) * columns : columns;
  const double b_times =
      b_block > cache && !s->columns_outside ? ceil_div(s->mc, s->mr) * rows : rows;
  return a * (s->columns_outside ? a_times : columns) + b * b_times;
}

static void say(tsr_cost *cost) {
  snprintf(cost->why, sizeof cost->why,
           "compute %.0f%%, from L2 %.0f%%, beyond L2 %.0f%%, packing %.0f%%, tasks %.0f%% of %.3g "
           "cycles",
           100 * cost->compute / cost->cycles, 100 * cost->near / cost->cycles,
           100 * cost->far / cost->cycles, 100 * cost->packing / cost->cycles,
           100 * cost->overhead / cost->cycles, cost->cycles);
}

void tsr_cost_of_contract(const tsr_target *target, const tsr_cost_contract *s,
                          tsr_cost *out_cost) {
  const double outer = (double)(s->outer > 0 ? s->outer : 1);
  const double rows = ceil_div(s->m, s->mc), columns = ceil_div(s->n, s->nc);
  const double tasks = outer * rows * columns, threads = (double)target->threads;
  *out_cost = (tsr_cost){.compute = outer * tile_cycles(s)};
  out_cost->near = outer * near_bytes(target, s) / target->l2_rate;
  out_cost->far = outer * far_bytes(target, s) / target->l3_rate;
  out_cost->packing =
      outer * (double)s->k * (s->pack_a * (double)s->m * columns + s->pack_b * (double)s->n * rows);
  out_cost->overhead = target->launch_cycles + tasks * 60;
  const double stalls = 0.3 * out_cost->near + 0.4 * out_cost->far;
  double cycles = greater(out_cost->compute, greater(out_cost->near, out_cost->far)) + stalls +
                  out_cost->packing + tasks * 60;
  if (threads > 1 && tasks > 1) {
    const double waves = ceil_div((int64_t)tasks, (int64_t)threads) * threads / tasks;
    cycles = cycles / threads * waves + target->fork_cycles;
  }
  out_cost->cycles = cycles + target->launch_cycles;
  say(out_cost);
}

double tsr_cost_of_access(const tsr_target *target, int64_t stride, int64_t lanes, bool store) {
  (void)target;
  if (lanes <= 1)
    return 1;
  if (stride == 0)
    return store ? 1 : 0.05;
  if (stride == 1)
    return 1.0 / (double)lanes;
  if (stride == -1)
    return 2.0 / (double)lanes;
  return store ? 2.0 : stride == INT64_MAX ? 1.6 : 1.2;
}
