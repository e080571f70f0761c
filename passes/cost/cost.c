#include "passes/cost/cost.h"
#include <math.h>
#include <stdint.h>
#include <stdio.h>

enum { FMA_LATENCY = 4, LINE = 64, PAGE = 4096 };

static double greater(double a, double b) {
  return a > b ? a : b;
}

static double ceil_div(int64_t a, int64_t b) {
  return (double)((a + b - 1) / b);
}

double tsr_cost_lines_that_fit(const tsr_target *target, int64_t stride_bytes) {
  const double ways = (double)(target->l1_bytes / PAGE);
  int64_t sets = PAGE / LINE;
  if (stride_bytes <= 0 || stride_bytes % LINE != 0)
    return ways * (double)sets;
  for (int64_t lines = stride_bytes / LINE; sets > 1 && lines % 2 == 0; lines /= 2)
    sets /= 2;
  return ways * (double)sets;
}

/* The more there are too many, the sooner each goes (measured: 9 rows 4 KiB apart cost little, 14 a
 * third, 28 five times as much on a cache of 8 ways). */
double tsr_cost_of_conflicts(const tsr_target *target, int64_t stride_bytes, int64_t lines) {
  const double each = 0.25;
  const double over = (double)lines - tsr_cost_lines_that_fit(target, stride_bytes);
  return over > 0 ? each * over * over : 0;
}

/* Blocks of the outer axes that number tasks. */
static double outer_tasks(const tsr_cost_contract *s) {
  return (double)(s->outer_tasks > 0 ? s->outer_tasks : s->outer > 0 ? s->outer : 1);
}

/* Cycles of one depth step of a register tile: arithmetic, loads, or the latency of one chain. */
static double step_cycles(const tsr_target *target, const tsr_cost_contract *s, int64_t rows,
                          int64_t columns) {
  /* Lines that arrive take turns of the first cache too (measured: 25 rows by one vector take 15
   * cycles, not 13). b's pass through the sets of a's, and need a third of the ways (of 12: 8 rows
   * 16 KiB apart were not slowed down, 11 were). */
  const int64_t beside = (int64_t)target->l1_bytes / PAGE / 3;
  const double crowded = 1.18;
  const double vectors = ceil_div(columns, s->lanes), r = (double)rows;
  const double rate = s->rate > 0 ? s->rate : target->fma_rate;
  const double vector_bytes = (double)(target->vector_bits / 8);
  const double arithmetic = r * vectors / rate;
  /* Pixels that taps share are read once, a run of memory each, which comes from the second cache
   * (384 channels of 14 x 14: 14 pixels of one vector take half as long again as 7 of two). */
  const double turn = vector_bytes / target->l1_rate, taps = (double)s->each;
  const double runs = s->each > 0 ? (r + taps - 1) / taps : 0;
  const double of_a = s->each > 0 ? runs * vectors * turn : r / 2;
  const double loads = crowded * (of_a + vectors * turn);
  const double gathers = s->strided_b ? (double)columns : 0;
  return greater(greater(arithmetic, loads), FMA_LATENCY) + gathers + runs +
         tsr_cost_of_conflicts(target, s->a_row_bytes, rows + beside);
}

/* `count` register tiles of this size. */
static double tiles_cycles(const tsr_target *target, const tsr_cost_contract *s, double count,
                           int64_t rows, int64_t columns) {
  if (count <= 0 || rows == 0 || columns == 0)
    return 0;
  const double results = (double)rows * ceil_div(columns, s->lanes);
  const double passes = ceil_div(s->k, s->kc);
  const double steps = ceil_div(s->k, s->group > 1 ? s->group : 1);
  return count * (steps * step_cycles(target, s, rows, columns) + 20 +
                  (s->k > s->kc ? 20 * passes + 2.5 * results * (passes - 1) : 0) + 1.5 * results);
}

/* All register tiles of an m x n block of outputs, the rests included. */
static double tile_cycles(const tsr_target *target, const tsr_cost_contract *s) {
  const int64_t rest_rows = s->m % s->mr, rest = s->n % s->nr;
  const int64_t rest_columns = rest > 0 && s->columns_hang ? s->nr : rest;
  double total = 0;
  for (int i = 0; i < 2; i++) {
    const int64_t columns = i == 0 ? s->nr : rest_columns;
    const double count = i == 0 ? (double)(s->n / s->nr) : 1;
    total += tiles_cycles(target, s, count * (double)(s->m / s->mr), s->mr, columns);
    if (!s->rows_split)
      total += tiles_cycles(target, s, count, rest_rows, columns);
    else
      for (int64_t rows = 1; rows <= rest_rows; rows *= 2)
        total += rest_rows & rows ? tiles_cycles(target, s, count, rows, columns) : 0;
  }
  return total;
}

/* Bytes from L2: the inner loop's operand anew for each register tile; the outer one's panel too
 * unless it stays in L1. */
static double near_bytes(const tsr_target *target, const tsr_cost_contract *s) {
  const double passes = ceil_div(s->k, s->kc), k = (double)s->kc;
  const double tiles = ceil_div(s->m, s->mr) * ceil_div(s->n, s->nr);
  const double wide = s->each > 0 ? (double)s->nr / (double)s->each : 1;
  const double a = k * (double)(s->mr * s->a_bytes) * wide, b = k * (double)(s->nr * s->b_bytes);
  const double outside = s->columns_outside ? b : a, inside = s->columns_outside ? a : b;
  const double times = s->columns_outside ? ceil_div(s->n, s->nr) : ceil_div(s->m, s->mr);
  const bool stays = outside + 4096 < 0.7 * (double)target->l1_bytes;
  const double sums = (passes - 1) * (double)s->m * (double)(s->n * 8);
  return passes * (tiles * inside + (stays ? times : tiles) * outside) + sums;
}

static double again(int64_t times) {
  return times > 1 ? (double)times : 1;
}

/* Distinct bytes of a and of b. */
static double bytes_of_a(const tsr_cost_contract *s) {
  const double columns = s->each > 0 ? (double)s->n : 1;
  return (double)(s->m * s->a_bytes) * (double)s->k * columns / again(s->a_again);
}

static double bytes_of_b(const tsr_cost_contract *s) {
  return (double)(s->n * s->b_bytes) * (double)s->k;
}

/* Bytes from beyond L2, of each operand. */
typedef struct far_reads {
  double a, b;
} far_reads;

/* Each operand once per block of the other, unless all of it stays. */
static far_reads read_from_far(const tsr_target *target, const tsr_cost_contract *s) {
  const double a = bytes_of_a(s), b = bytes_of_b(s);
  if (a + b < 0.8 * (double)target->l2_bytes)
    return (far_reads){0};
  if (s->each > 0)
    return (far_reads){.a = a, .b = b};
  const double rows = ceil_div(s->m, s->mc), columns = ceil_div(s->n, s->nc);
  const double share = (double)s->kc / (double)s->k;
  const double a_block = a / rows * share, b_block = b / columns * share;
  const double cache = 0.8 * (double)target->l2_bytes;
  const double panel = (double)s->kc * (double)(s->nr * s->b_bytes);
  const double a_times = a_block + panel > cache ? ceil_div(s->nc, s->nr) * columns : columns;
  const bool anew = s->columns_outside ? panel > cache : b_block > cache;
  const double b_times = anew ? ceil_div(s->mc, s->mr) * rows : rows;
  const bool stays = b_block < cache;
  return (far_reads){.a = a * (s->columns_outside ? a_times : columns),
                     .b = b * b_times / (stays ? again(s->b_again) : 1)};
}

/* An operand of so many bytes, of which some are read again, `rate` the first time. */
static double operand_cycles(const tsr_target *target, double bytes, double read, double rate) {
  const double first = read < bytes ? read : bytes;
  const double later =
      bytes < 0.8 * (double)target->l3_bytes ? target->l3_rate : target->memory_rate;
  return first / rate + (read - first) / later;
}

/* What operands beyond L2 are read at the first time. */
static double first_rate(const tsr_target *target, const tsr_cost_contract *s) {
  const double outer = (double)(s->outer > 1 ? s->outer : 1);
  return outer * (bytes_of_a(s) + bytes_of_b(s)) < 0.8 * (double)target->l3_bytes
             ? target->l3_rate
             : target->memory_rate;
}

/* Cycles of those reads. What the last cache holds was there before, or is from the second time
 * on. */
static double far_cycles(const tsr_target *target, const tsr_cost_contract *s, far_reads reads) {
  const double rate = first_rate(target, s);
  return operand_cycles(target, bytes_of_a(s), reads.a, rate) +
         operand_cycles(target, bytes_of_b(s), reads.b, rate);
}

/* A panel of b that several tiles of rows read in place comes from beyond L2 while the first of
 * them sums, and that one waits for what its multiply-adds do not hide (measured: 6 cycles a line).
 */
static double first_tile_cycles(const tsr_target *target, const tsr_cost_contract *s) {
  const double line = 6;
  const int64_t rows = s->mc < s->m ? s->mc : s->m, tiles = (rows + s->mr - 1) / s->mr;
  const double b = (double)s->k * (double)(s->n * s->b_bytes);
  if (!s->columns_outside || tiles <= 1 || b < 0.8 * (double)target->l2_bytes)
    return 0;
  const double share = tile_cycles(target, s) * (double)rows / ((double)s->m * (double)tiles);
  return greater(line * b / (double)LINE - share, 0) * ceil_div(s->m, s->mc);
}

/* Panels of b arrive while the first tile that reads them sums, which is most of that time late (a
 * product of 128 x 2816 x 1024 whose panels were read twice took as much longer as reading them
 * takes, from memory and from the last cache). Narrow ones that others read after the first tile
 * hide nothing of it (with panels of two vectors 16 x 4096 x 4096 takes as long as its products and
 * the reading one after the other, with three as long as the greater; 64 x 4096 x 1024 7 % more, on
 * Zen 5; not seen where tiles are turned). A vector's product does nothing but read them. */
static double panel_cycles(const tsr_target *target, const tsr_cost_contract *s, double sums,
                           double b_read) {
  const double wide = 3;
  const bool narrow = !s->turned && s->m > s->mr && ceil_div(s->nr, s->lanes) < wide;
  const double late = narrow ? 1.2 : 0.7;
  const double arrival = operand_cycles(target, bytes_of_b(s), b_read, first_rate(target, s));
  if (s->m <= 1 || s->b_row_bytes > 0 || s->pack_b > 0)
    return 0;
  return late * (arrival < sums ? arrival : sums);
}

/* Cycles of walking b in place where each depth is in a page of its own: nothing fetches ahead
 * across pages, so each row of a tile waits a little, and more where it is packed from there. */
static double page_cycles(const tsr_target *target, const tsr_cost_contract *s) {
  const double in_tile = 4, in_pack = 20;
  const double panels = ceil_div(s->n, s->nr), k = (double)s->k;
  const double panel = (double)s->kc * (double)(s->nr * s->b_bytes);
  if (s->b_row_bytes < PAGE)
    return 0;
  if (s->pack_b > 0)
    return in_pack * k * panels * ceil_div(s->m, s->mc);
  return panel < 0.7 * (double)target->l1_bytes ? first_tile_cycles(target, s)
                                                : in_tile * k * panels * ceil_div(s->m, s->mr);
}

/* Results that do not stay in L2 are written to lines that come from beyond it. The hardware
 * fetches ahead of a few rows that are written at a time; of more of them each line is waited for
 * (measured: 96 rows 7 cycles a line, 12 rows none). */
double tsr_cost_of_contract_stores(const tsr_target *target, const tsr_cost_contract *s) {
  enum { STREAMS = 14 };
  const double wait = 7;
  const double outer = (double)(s->outer > 1 ? s->outer : 1);
  const double bytes = outer * (double)s->m * (double)s->n * (double)s->c_bytes;
  const int64_t block = s->mc < s->m ? s->mc : s->m;
  const int64_t rows = s->columns_outside ? block : s->mr < block ? s->mr : block;
  return bytes < 0.8 * (double)target->l2_bytes || rows <= STREAMS ? 0
                                                                   : wait * bytes / (double)LINE;
}

/* The tasks as the threads of the pool take them: each those of its share, then those of others.
 * When the last one is done, by all tasks' work. A thread whose tasks are done waits for others
 * that do not run in step with it. */
static double longest_share(const tsr_target *target, const tsr_cost_contract *s) {
  enum { THREADS = 64, TASKS = 512 };
  const double out_of_step = 0.05;
  const int64_t rows = (s->m + s->mc - 1) / s->mc, columns = (s->n + s->nc - 1) / s->nc;
  const double outer = outer_tasks(s), all = (double)s->m * (double)s->n * outer;
  const double tasks = outer * (double)(rows * columns);
  const double whole =
      (double)(s->mc < s->m ? s->mc : s->m) * (double)(s->nc < s->n ? s->nc : s->n) / all;
  const int64_t threads = (int64_t)target->threads, count = (int64_t)tasks;
  double done[THREADS] = {0}, last = 0;
  int64_t next[THREADS + 1];
  if (threads > THREADS || count > TASKS)
    return ceil_div((int64_t)tasks, threads) / tasks + out_of_step * whole;
  for (int64_t t = 0; t <= threads; t++)
    next[t] = (count * t + threads - 1) / threads;
  for (int64_t left = count; left > 0; left--) {
    int64_t at = 0, from;
    for (int64_t t = 1; t < threads; t++)
      at = done[t] < done[at] ? t : at;
    for (from = at; next[from] == (count * (from + 1) + threads - 1) / threads;)
      from = from + 1 < threads ? from + 1 : 0;
    const int64_t task = next[from]++;
    const int64_t row = s->columns_first ? task % rows : task / columns % rows;
    const int64_t column = s->columns_first ? task / rows % columns : task % columns;
    const double high = (double)(row + 1 < rows ? s->mc : s->m - row * s->mc);
    const double wide = (double)(column + 1 < columns ? s->nc : s->n - column * s->nc);
    done[at] += high * wide / all;
    last = greater(last, done[at]);
  }
  return last + out_of_step * whole;
}

void tsr_cost_of_contract(const tsr_target *target, const tsr_cost_contract *s,
                          tsr_cost *out_cost) {
  const double outer = (double)(s->outer > 0 ? s->outer : 1);
  const double rows = ceil_div(s->m, s->mc), columns = ceil_div(s->n, s->nc);
  const double tasks = outer_tasks(s) * rows * columns;
  *out_cost = (tsr_cost){.tasks = tasks, .compute = outer * tile_cycles(target, s)};
  out_cost->compute += outer * page_cycles(target, s) + tsr_cost_of_contract_stores(target, s);
  const far_reads reads = read_from_far(target, s);
  out_cost->compute += outer * panel_cycles(target, s, out_cost->compute / outer, reads.b);
  out_cost->near_bytes = outer * near_bytes(target, s);
  out_cost->far_bytes = outer * (reads.a + reads.b);
  out_cost->near = out_cost->near_bytes / target->l2_rate;
  out_cost->far = outer * far_cycles(target, s, reads);
  out_cost->packing =
      outer * (double)s->k * (s->pack_a * (double)s->m * columns + s->pack_b * (double)s->n * rows);
  out_cost->overhead = target->launch_cycles + tasks * 60;
  /* Loads run ahead of arithmetic: what is much less than the greatest hides behind it. */
  const double hidden = sqrt(out_cost->compute * out_cost->compute +
                             out_cost->near * out_cost->near + out_cost->far * out_cost->far);
  double cycles = hidden + out_cost->packing + tasks * 60;
  if (target->threads > 1 && tasks > 1)
    cycles = cycles * longest_share(target, s) + target->fork_cycles;
  out_cost->cycles = cycles + target->launch_cycles;
}

void tsr_cost_say(tsr_cost *cost) {
  snprintf(cost->why, sizeof cost->why,
           "compute %.0f%%, from L2 %.0f%%, beyond L2 %.0f%%, packing %.0f%%, tasks %.0f%% of %.3g "
           "cycles",
           100 * cost->compute / cost->cycles, 100 * cost->near / cost->cycles,
           100 * cost->far / cost->cycles, 100 * cost->packing / cost->cycles,
           100 * cost->overhead / cost->cycles, cost->cycles);
}

/* A load of every second to eighth element: vectors of all of them and shuffles, one fewer. */
bool tsr_cost_is_shuffled(int64_t stride, int64_t lanes, bool store) {
  enum { MOST_STRIDE = 8, LEAST_LANES = 4 };
  return !store && stride > 1 && stride <= MOST_STRIDE && lanes >= LEAST_LANES;
}

double tsr_cost_of_access(const tsr_target *target, int64_t stride, int64_t lanes, bool store) {
  (void)target;
  if (tsr_cost_is_shuffled(stride, lanes, store))
    return (2 * (double)stride - 1) / (double)lanes;
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
