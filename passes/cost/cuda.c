/* A contraction on a CUDA device. A task's time is that of its turns along the depth; a turn takes
 * what the slowest of tensor cores, shared memory, L2 and instruction issue needs, or, where too
 * few bytes are under way, the latency of memory divided by the turns that copies run ahead. Tasks
 * come in waves; all of it cannot be faster than memory delivers what the caches do not keep. */
#include "passes/cost/cuda.h"
#include <stdio.h>

enum {
  WARP = 32,
  /* Registers beyond sums and fragments: addresses of both copies, of the fragments and of the
   * output, loop counters, predicates of the edges. */
  ADDRESS_REGISTERS = 56,
  FMA_STEP = 4,
  WGMMA_ADDRESS_REGISTERS = 40,
  PRODUCER_WARPS = 4,
  PRODUCER_REGISTERS = 40,
  MOST_REGISTERS = 255,
  BLOCK_CYCLES = 400, /* a block starts: index arithmetic, first descriptors */
  TURN_CYCLES = 100,  /* a barrier, the first fragments and the last products of a turn */
  WGMMA_TURN_CYCLES = 30,
  EXCHANGE_CYCLES = 100, /* through shared memory to another thread, with its barriers */

  MMA_LATENCY = 33,     /* of one mma.sync whose result the next one needs */
  TURNS_AHEAD = 4,      /* of a loop of strategy nest, whose loads are under way together */
  SCHEDULE_CYCLES = 60, /* between two blocks that start on one multiprocessor */
  L2_PORT = 64          /* bytes per cycle into one multiprocessor */
};

static double greater(double a, double b) {
  return a > b ? a : b;
}

static double less(double a, double b) {
  return a < b ? a : b;
}

static double ceil_div(double a, double b) {
  const double whole = (double)(int64_t)(a / b);
  return whole * b < a ? whole + 1 : whole;
}

static int64_t at_least_one(int64_t number) {
  return number > 1 ? number : 1;
}

/* --- what a block takes --- */

int64_t tsr_cost_cuda_threads(const tsr_cost_cuda_contract *s) {
  return s->wgmma ? (s->warps_m + PRODUCER_WARPS) * WARP : s->warps_m * s->warps_n * WARP;
}

static double warp_rows(const tsr_cost_cuda_contract *s) {
  return (double)s->bm / (double)at_least_one(s->warps_m);
}

static double warp_columns(const tsr_cost_cuda_contract *s) {
  return (double)s->bn / (double)at_least_one(s->wgmma ? 1 : s->warps_n);
}

static bool is_mma(const tsr_cost_cuda_contract *s) {
  return s->atom->kind == TSR_TARGET_CUDA;
}

double tsr_cost_cuda_pieces(const tsr_cost_cuda_contract *s, int which) {
  const double tile = (double)(which == 0 ? s->bm : s->bn), run = which == 0 ? s->a_run : s->b_run;
  const double bytes = which == 0 ? s->a_bytes : s->b_bytes;
  return tile * (double)s->bk * bytes / greater(run, 1) / (double)tsr_cost_cuda_threads(s);
}

/* What copies of one operand take. Pieces of cp.async share addresses, less so beside the long
 * unrolled turns of fma atoms; without it all elements are on their way together. */
static double copy_registers(const tsr_cost_cuda_contract *s, int which) {
  const double run = which == 0 ? s->a_run : s->b_run;
  return tsr_cost_cuda_pieces(s, which) * (run < 4 ? 1 : is_mma(s) ? 0.5 : 2);
}

int64_t tsr_cost_cuda_registers(const tsr_cost_cuda_contract *s) {
  const double words = greater((double)tsr_dtype_bits(s->atom->c) / 32, 1);
  const double sums = warp_rows(s) * warp_columns(s) / (double)WARP * words;
  if (s->wgmma)
    return (int64_t)sums + WGMMA_ADDRESS_REGISTERS;
  const double copies = copy_registers(s, 0) + copy_registers(s, 1);
  double fragments = (warp_rows(s) * s->a_bytes + warp_columns(s) * s->b_bytes) *
                     (double)s->atom->k / (double)WARP / 4;
  if (!is_mma(s)) {
    /* Each thread has a square of the sums and reads FMA_STEP columns of its rows at once. */
    double side = 1;
    while (side * side < sums / words)
      side++;
    fragments = 2 * side * words * (double)FMA_STEP;
  }
  /* The next fragments are on their way while these are used. */
  return (int64_t)(sums + 1.5 * fragments + copies) + ADDRESS_REGISTERS;
}

int64_t tsr_cost_cuda_register_limit(const tsr_target *target, const tsr_cost_cuda_contract *s) {
  const int64_t all = target->gpu.registers, threads = tsr_cost_cuda_threads(s);
  int64_t limit = all / threads / 8 * 8;
  if (s->wgmma)
    limit = (all / WARP - PRODUCER_WARPS * PRODUCER_REGISTERS) / at_least_one(s->warps_m) / 8 * 8;
  return limit < MOST_REGISTERS ? limit : MOST_REGISTERS;
}

uint64_t tsr_cost_cuda_shared(const tsr_cost_cuda_contract *s) {
  if (s->shared_bytes > 0)
    return s->shared_bytes;
  const double slot = ((double)s->bm * s->a_bytes + (double)s->bn * s->b_bytes) * (double)s->bk;
  return (uint64_t)(slot * (double)s->stages) + (s->wgmma ? 1024 : 0);
}

double tsr_cost_cuda_atom_rate(const tsr_target *target, const tsr_atom *atom) {
  const tsr_gpu *gpu = &target->gpu;
  if (atom->kind == TSR_TARGET_CUDA)
    return (double)atom->m * atom->n * atom->k * atom->rate *
           (atom->place == TSR_ATOM_MEMORY ? gpu->wgmma_share : gpu->mma_share);
  switch (atom->c) {
  case TSR_F64:
    return gpu->f64_rate;
  case TSR_I64:
    return gpu->i32_rate / 4;
  case TSR_I32:
    return gpu->i32_rate;
  default:
    return gpu->f32_rate;
  }
}

int64_t tsr_cost_cuda_resident(const tsr_target *target, int64_t threads, int64_t registers,
                               uint64_t shared_bytes) {
  const tsr_gpu *gpu = &target->gpu;
  const int64_t warps = at_least_one((threads + WARP - 1) / WARP);
  const int64_t each = (registers + 7) / 8 * 8 * WARP * warps;
  int64_t blocks = gpu->blocks;
  if (shared_bytes > gpu->block_shared_bytes || registers > MOST_REGISTERS)
    return 0;
  if ((int64_t)gpu->warps / warps < blocks)
    blocks = gpu->warps / warps;
  if (each > 0 && gpu->registers / each < blocks)
    blocks = gpu->registers / each;
  const int64_t by_shared = (int64_t)(gpu->shared_bytes / (shared_bytes + gpu->shared_per_block));
  return by_shared < blocks ? by_shared : blocks;
}

/* --- one turn --- */

/* Cycles that the parts of a multiprocessor are busy with one turn of one task. */
typedef struct turn {
  double compute, shared, near, issue;
} turn;

static double copied_bytes(const tsr_cost_cuda_contract *s) {
  return ((double)s->bm * s->a_bytes + (double)s->bn * s->b_bytes) * (double)s->bk;
}

/* Bytes of fragments that the warps of a task read in one turn; of wgmma, what the tensor cores
 * read in place. */
static double fragment_bytes(const tsr_cost_cuda_contract *s) {
  const double depth = (double)s->bk;
  if (s->wgmma)
    return (double)s->bm / 64 * (64 * s->a_bytes + (double)s->bn * s->b_bytes) * depth;
  const double warps = (double)(s->warps_m * s->warps_n);
  const double lines = warp_rows(s) * s->a_bytes + warp_columns(s) * s->b_bytes;
  if (is_mma(s))
    return warps * lines * depth;
  /* Threads of a warp share rows and columns: four or eight of them read the same 16 bytes, and a
   * read of 16 bytes takes at least two cycles. */
  const double side = greater(1, (warp_rows(s) / 4 + warp_columns(s) / 8) / 4);
  return warps * depth * side * 2 * 128;
}

/* Warp instructions that copy one operand's part of a turn: the copy and its address. */
static double copy_instructions(double bytes, double run, bool wgmma) {
  if (wgmma)
    return 4;
  const double pieces = bytes / greater(run, 1) / (double)WARP;
  return pieces * (run >= 4 ? 4 : 8);
}

static turn one_turn(const tsr_target *target, const tsr_cost_cuda_contract *s, double active,
                     double resident) {
  const tsr_gpu *gpu = &target->gpu;
  const double depth = (double)s->bk, passes = s->bank_passes > 0 ? s->bank_passes : 1;
  const double work = (double)s->bm * (double)s->bn * depth;
  turn t = {.compute = work / tsr_cost_cuda_atom_rate(target, s->atom)};
  if (is_mma(s) && !s->wgmma) {
    /* Four tensor cores, each fed by its own warps: independent products hide their latency. */
    const double warps = (double)(s->warps_m * s->warps_n) * resident;
    const double chains = warp_rows(s) / s->atom->m * (warp_columns(s) / s->atom->n);
    const double each =
        (double)s->atom->m * s->atom->n * s->atom->k * 4 / tsr_cost_cuda_atom_rate(target, s->atom);
    t.compute /=
        less(1, warps / 4) * less(1, ceil_div(warps, 4) * chains * each / (double)MMA_LATENCY);
  }
  const double a = (double)s->bm * s->a_bytes * depth, b = (double)s->bn * s->b_bytes * depth;
  t.shared = (fragment_bytes(s) * passes + a + b) / gpu->shared_rate;
  t.near = (a + b / (double)at_least_one(s->cluster)) / less(L2_PORT, gpu->l2_rate / active);
  t.issue = copy_instructions(a, s->a_run, s->wgmma) + copy_instructions(b, s->b_run, s->wgmma);
  if (is_mma(s) && !s->wgmma)
    t.issue +=
        work / ((double)s->atom->m * s->atom->n * s->atom->k) + fragment_bytes(s) / (4 * 16 * 8);
  else if (!s->wgmma)
    t.issue += work / (double)WARP + fragment_bytes(s) / (2 * 128);
  /* Four schedulers; a warp alone is ready every other cycle. */
  t.issue /= less(4, 0.5 * resident * (double)tsr_cost_cuda_threads(s) / (double)WARP);
  return t;
}

/* The slowest part; of the others, some is not hidden: least where all of it is asynchronous. */
static double overlapped(double a, double b, double c, double d, double exposed) {
  const double most = greater(greater(a, b), greater(c, d));
  return most + exposed * (a + b + c + d - most);
}

static double turn_cycles(const tsr_cost_cuda_contract *s, const turn *t) {
  return overlapped(t->compute, t->shared, t->near, t->issue, s->wgmma ? 0.05 : 0.2);
}

/* --- memory --- */

static bool fits(const tsr_target *target, double bytes) {
  return bytes < 0.7 * (double)target->l2_bytes;
}

static double operand_bytes(double total, double all) {
  return total > 0 && total < all ? total : all;
}

/* Bytes from beyond L2. Tasks under way at a time are `raster` rows of tiles by some columns: what
 * they read, they share. The rows' operand stays in L2 for the whole walk along its columns if it
 * and the columns under way fit; the columns' operand is read again by the next rows unless all of
 * it stays. */
static double far_bytes(const tsr_target *target, const tsr_cost_cuda_contract *s, double flight) {
  const double rows = ceil_div((double)s->m, (double)s->bm), depth = (double)s->k;
  const double columns = ceil_div((double)s->n, (double)s->bn), outer = (double)s->outer;
  const double all_a = operand_bytes(s->a_total, outer * (double)s->m * depth * s->a_bytes);
  const double all_b = operand_bytes(s->b_total, outer * (double)s->n * depth * s->b_bytes);
  const double a = all_a / outer, b = all_b / outer;
  const double band = less((double)at_least_one(s->raster), rows);
  const double wide = less(columns, ceil_div(flight, band));
  const double bands = ceil_div(rows, band), walks = ceil_div(columns, wide);
  const double here = a / bands + b / walks;
  const double a_times = walks <= 1 || fits(target, here) ? 1 : walks;
  const double b_times = bands <= 1 || fits(target, b + a / bands) ? 1
                         : flight > band * columns ? ceil_div(bands * band * columns, flight)
                                                   : bands;
  return all_a * a_times + all_b * b_times;
}

/* --- the whole --- */

typedef struct timing {
  const tsr_target *target;
  const tsr_cost_cuda_contract *s;
  double tiles, turns; /* tiles: tasks of a grid that is not persistent */
  double copied;       /* of one turn */
  bool ahead;
} timing;

/* Cycles of one task beside `resident` - 1 others on its multiprocessor, one wave of them. `waits`:
 * the part in which nothing but latency passes. */
static double task_cycles(const timing *w, double resident, double active, double *out_waits) {
  const tsr_cost_cuda_contract *s = w->s;
  const tsr_gpu *gpu = &w->target->gpu;
  const turn t = one_turn(w->target, s, active, resident);
  /* Under load a request waits for others, too. */
  const double latency = 1.5 * gpu->memory_latency, busy = resident * turn_cycles(s, &t);
  double each = busy + (double)(s->wgmma ? WGMMA_TURN_CYCLES : TURN_CYCLES) / resident;
  if (!w->ahead)
    each = greater(each, turn_cycles(s, &t) + latency);
  else
    each = greater(each,
                   (latency + w->copied / (double)L2_PORT) / greater((double)s->stages - 1, 0.5));
  *out_waits = w->turns * (each - busy);
  const double outputs = (double)s->bm * (double)s->bn;
  const double ends =
      latency + (double)BLOCK_CYCLES + gpu->l2_latency +
      outputs * (s->split > 1 ? 4 : s->c_bytes) * resident / less(L2_PORT, gpu->l2_rate / active) +
      outputs * s->epilogue_operations * resident / gpu->f32_rate;
  *out_waits += ends / resident;
  return w->turns * each + ends / resident;
}

static double all_waves(const timing *w, int64_t resident, double *out_waits, double *out_waves) {
  const double sms = w->target->gpu.multiprocessors, seats = sms * (double)resident;
  double waits = 0, cycles = 0;
  *out_waits = *out_waves = 0;
  const double full = (double)(int64_t)(w->tiles / seats), rest = w->tiles - full * seats;
  if (full > 0) {
    cycles = full * task_cycles(w, (double)resident, sms, &waits);
    *out_waits = full * waits;
  }
  if (rest > 0) {
    cycles += task_cycles(w, ceil_div(rest, sms), less(rest, sms), &waits);
    *out_waits += waits;
  }
  *out_waves = full + (rest > 0 ? 1 : 0);
  /* The producer is at the next tile while the sums of this one are stored. */
  if (w->s->persistent)
    cycles -= (*out_waves - 1) * (w->target->gpu.memory_latency + (double)BLOCK_CYCLES);
  return cycles;
}

/* Partial sums are written, then read by a second kernel. */
static double second_pass(const tsr_target *target, const tsr_cost_cuda_contract *s,
                          double outputs) {
  if (s->split <= 1)
    return 0;
  const double sums = 4 * outputs * (double)s->split;
  const double rate = fits(target, sums) ? target->gpu.l2_rate : target->gpu.memory_rate;
  return target->gpu.launch_cycles + target->gpu.memory_latency + 2 * sums / rate +
         outputs * s->c_bytes / target->gpu.memory_rate;
}

static const char *bound(const tsr_cost *cost) {
  const double most = greater(greater(cost->compute, cost->shared), greater(cost->near, cost->far));
  if (cost->latency > most)
    return "latency";
  if (cost->overhead > most)
    return "launches";
  return most <= cost->compute ? "arithmetic"
         : most <= cost->far   ? "memory"
         : most <= cost->near  ? "L2"
                               : "shared memory";
}

void tsr_cost_say_cuda(const tsr_target *target, tsr_cost *inout_cost) {
  tsr_cost *cost = inout_cost;
  const double all = cost->cycles > 0 ? cost->cycles : 1;
  if (cost->resident < 1) {
    snprintf(cost->why, sizeof cost->why, "a block does not fit on a multiprocessor");
    return;
  }
  snprintf(
      cost->why, sizeof cost->why,
      "bound by %s: arithmetic %.0f%%, shared %.0f%%, L2 %.0f%%, memory %.0f%%, waiting %.0f%% "
      "of %.3g us; %.0f tasks in %.0f waves, %lld on each multiprocessor",
      bound(cost), 100 * cost->compute / all, 100 * cost->shared / all, 100 * cost->near / all,
      100 * cost->far / all, 100 * cost->latency / all,
      cost->cycles / (target->gpu.clock_ghz * 1000), cost->tasks, cost->waves,
      (long long)cost->resident);
}

void tsr_cost_of_cuda_contract(const tsr_target *target, const tsr_cost_cuda_contract *s,
                               tsr_cost *out_cost) {
  const tsr_gpu *gpu = &target->gpu;
  const double split = (double)at_least_one(s->split), sms = gpu->multiprocessors;
  const double rows = ceil_div((double)s->m, (double)s->bm);
  const double columns = ceil_div((double)s->n, (double)s->bn);
  const double outputs = (double)s->outer * (double)s->m * (double)s->n;
  timing w = {.target = target,
              .s = s,
              .tiles = (double)s->outer * rows * columns * split,
              .turns = ceil_div(ceil_div((double)s->k, split), (double)s->bk),
              .copied = copied_bytes(s),
              .ahead = s->a_run >= 4 && s->b_run >= 4};
  *out_cost = (tsr_cost){.tasks = w.tiles,
                         .registers = tsr_cost_cuda_registers(s),
                         .shared_bytes = tsr_cost_cuda_shared(s)};
  out_cost->resident = tsr_cost_cuda_resident(
      target, tsr_cost_cuda_threads(s),
      s->wgmma ? gpu->registers / tsr_cost_cuda_threads(s) / 8 * 8 : out_cost->registers,
      out_cost->shared_bytes);
  if (s->persistent && out_cost->resident > 1)
    out_cost->resident = 1;
  if (out_cost->resident < 1) {
    out_cost->cycles = 1e30;
    return;
  }
  const double sm_cycles = all_waves(&w, out_cost->resident, &out_cost->latency, &out_cost->waves);
  const double active = less(sms, w.tiles), share = w.tiles * w.turns / active;
  const turn t =
      one_turn(target, s, active, less((double)out_cost->resident, ceil_div(w.tiles, sms)));
  out_cost->compute = share * t.compute;
  out_cost->shared = share * t.shared;
  out_cost->near = share * t.near;
  out_cost->near_bytes = w.tiles * w.turns * w.copied;
  out_cost->far_bytes =
      far_bytes(target, s, less(w.tiles, sms * (double)out_cost->resident) / split) +
      outputs * (s->split > 1 ? 0 : s->c_bytes);
  out_cost->far = out_cost->far_bytes / gpu->memory_rate;
  out_cost->overhead = gpu->launch_cycles + second_pass(target, s, outputs);
  out_cost->cycles =
      greater(sm_cycles, out_cost->far) + 0.1 * less(sm_cycles, out_cost->far) + out_cost->overhead;
}

/* --- nest --- */

static double fraction_used(const tsr_target *target, const tsr_cost_cuda_access *a) {
  const bool along_lanes = a->lane_stride == 1 && a->lanes > 1;
  const bool along_rows = a->row_stride == 1 && a->rows > 1;
  const double run = along_lanes ? (double)a->lanes : along_rows ? (double)a->rows : 1;
  if (a->walks_on || fits(target, 2 * a->distinct))
    return 1;
  return less(1, run * a->bytes / 32);
}

/* Sectors of 32 bytes and lines of 128 that one tile touches, and warp instructions that it takes.
 */
static void tile_access(const tsr_cost_cuda_access *a, double *out_sectors, double *out_lines,
                        double *out_instructions) {
  const double elements = (double)a->rows * (double)a->lanes;
  const bool along_lanes = a->lane_stride == 1 || a->lanes == 1;
  const bool along_rows = a->row_stride == 1 && !a->store;

  if (along_lanes && (a->lanes > 1 || !along_rows)) {
    /* Rows that follow one another without a gap are one run. */
    const bool gapless = a->row_stride == a->lanes && a->lanes > 1;
    const double runs = gapless ? 1 : (double)a->rows;
    *out_sectors = runs * ceil_div(elements / runs * a->bytes, 32);
    *out_lines = runs * ceil_div(elements / runs * a->bytes, 128);
    *out_instructions = elements / (double)at_least_one(a->vector);
  } else if (along_rows) {
    *out_sectors = (double)a->lanes * ceil_div((double)a->rows * a->bytes, 32);
    *out_lines = (double)a->lanes * ceil_div((double)a->rows * a->bytes, 128);
    *out_instructions = elements;
  } else {
    *out_sectors = *out_lines = elements;
    *out_instructions = elements;
  }
  *out_instructions = ceil_div(*out_instructions, WARP);
}

/* A tile whose rows are contiguous is loaded on its side and turned through shared memory. */
static bool is_turned(const tsr_cost_cuda_access *a) {
  return !a->store && a->row_stride == 1 && a->rows > 1 && a->lane_stride != 1 && a->lanes > 1;
}

void tsr_cost_of_cuda_nest(const tsr_target *target, const tsr_cost_cuda_nest *s,
                           tsr_cost *out_cost) {
  const tsr_gpu *gpu = &target->gpu;
  const double sms = gpu->multiprocessors, active = less(sms, s->tasks),
               points = (double)(s->rows * s->lanes);
  double instructions = 0, pipe = 0, flight = 0;
  bool turned = false;

  *out_cost = (tsr_cost){.tasks = s->tasks, .registers = s->registers};
  out_cost->resident = tsr_cost_cuda_resident(target, s->threads, s->registers, 0);
  if (out_cost->resident < 1) {
    out_cost->cycles = 1e30;
    return;
  }
  for (uint32_t i = 0; i < s->access_count; i++) {
    const tsr_cost_cuda_access *a = &s->accesses[i];
    double sectors, lines, moves;
    tile_access(a, &sectors, &lines, &moves);
    /* Sectors that are used up by the next turns come out of L1 until then. */
    const double used = a->walks_on ? less(1, a->bytes / 32) : 1;
    out_cost->near_bytes +=
        a->times * sectors * 32 * (a->walks_on && a->lane_stride != 1 ? used : 1);
    out_cost->far_bytes += a->distinct / fraction_used(target, a);
    flight += a->store ? 0 : (double)a->rows * (double)a->lanes * a->bytes;
    pipe += a->times * greater(moves, lines);
    turned = turned || is_turned(a);
    instructions += a->times * moves * 4;
    out_cost->shared += is_turned(a) ? a->times * points * a->bytes * 2 / gpu->shared_rate : 0;
  }
  /* Threads beyond the tile's points idle, points beyond the threads take turns. */
  const double slots = ceil_div(points, (double)s->threads) * (double)s->threads;
  instructions += s->tasks * s->steps * slots / (double)WARP * (s->operations + 1);
  out_cost->compute = instructions / 4 / active;
  out_cost->shared = (out_cost->shared + pipe) / active;
  /* Little's law: bytes that wait for memory at a time, one turn of each resident block. */
  flight *= less((double)out_cost->resident, ceil_div(s->tasks, sms));
  const double port = less((double)L2_PORT, greater(flight, 32) / gpu->memory_latency);
  out_cost->near = out_cost->near_bytes / less(gpu->l2_rate, port * active);
  out_cost->far = out_cost->far_bytes / less(gpu->memory_rate, port * active);

  /* One task: where its loads wait, of which the compiler has those of a few turns under way, and
   * what follows. */
  const double turns = 1 + (s->steps - 1) / (double)TURNS_AHEAD;
  const double chain = (double)BLOCK_CYCLES + gpu->memory_latency * turns + s->ending +
                       (turned ? (double)EXCHANGE_CYCLES * s->steps : 0);
  out_cost->waves = ceil_div(s->tasks, sms * (double)out_cost->resident);
  out_cost->latency = chain * out_cost->waves;
  /* The multiprocessor with the most tasks is the last one to be ready. */
  const double rounds = ceil_div(s->tasks, sms) * active / s->tasks;
  const double busy = overlapped(out_cost->compute * rounds, out_cost->shared * rounds,
                                 out_cost->near, out_cost->far, 0.2);
  out_cost->overhead = gpu->launch_cycles + s->tasks * (double)SCHEDULE_CYCLES / active;
  out_cost->cycles =
      greater(busy, out_cost->latency) + 0.25 * less(busy, out_cost->latency) + out_cost->overhead;
}
