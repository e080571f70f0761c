/* Default schedules on CUDA: contractions by every atom that computes them, in tiles that fit the
 * registers and the shared memory of the target, and what strategy nest makes of the block; ranked
 * by the model. There is no list of shapes: extents are powers of two and multiples of what the
 * atom takes. */
#include "passes/tile/default.h"
#include "passes/tile/mma.h"
#include "passes/tile/split.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

enum {
  MOST_CANDIDATES = 1 << 16,
  LEGAL = 8, /* of the best candidates, those that are looked at closely */
  MOST_SPLIT = 64,
  MOST_NEST_SPLIT = 256,
  REGISTER_MARGIN = 8,
  MOST_STAGED = 8
};

/* --- the contraction as the model sees it --- */

typedef struct contraction {
  tsr_nest *nest;
  const tsr_mma_problem *problem;
  tsr_cost_cuda_contract shape; /* what no candidate changes; sizes are at least 1 */
  tsr_mma_operand a, b;         /* as the atom takes them */
} contraction;

static double buffer_bytes(tsr_nest *nest, const tsr_nest_access *load) {
  const tsr_nest_buffer *buffer = &nest->buffers[load->buffer];
  double elements = 1;
  for (uint32_t d = 0; d < buffer->rank; d++)
    elements *= (double)tsr_nest_typical(nest, buffer->dims[d]);
  return elements * (tsr_dtype_bits(buffer->dtype) / 8.0);
}

/* Bytes of memory for one output: stores, and what the epilogue loads. */
static double epilogue_bytes(const tsr_nest *nest) {
  uint32_t red = 0;
  double bytes = 0;
  for (uint32_t i = nest->par_count; i < nest->axis_count; i++)
    red |= 1u << i;
  for (uint32_t i = 0; i < nest->access_count; i++) {
    const tsr_nest_access *access = &nest->accesses[i];
    if (access->kind == TSR_ACCESS_INDEX)
      continue;
    const tsr_op_data *op = tsr_op_get(nest->ir, access->op);
    uint32_t varies = UINT32_MAX, pars = 0;
    if (access->kind == TSR_ACCESS_LOAD && op->result_count > 0)
      varies = nest->varies[op->results[0]];
    for (uint32_t k = 0; k < nest->par_count; k++)
      pars |= nest->axes[k].gone ? 0 : 1u << k;
    /* A bias is read once per tile: nothing next to the outputs. */
    if (access->kind == TSR_ACCESS_LOAD && ((varies & red) != 0 || (varies & pars) != pars))
      continue;
    bytes += tsr_dtype_bits(nest->buffers[access->buffer].dtype) / 8.0;
  }
  return bytes;
}

static contraction describe(tsr_nest *nest, const tsr_mma_problem *problem) {
  contraction c = {.nest = nest, .problem = problem};
  c.shape = (tsr_cost_cuda_contract){.outer = 1,
                                     .m = greatest(problem->m.size, 1),
                                     .n = greatest(problem->n.size, 1),
                                     .k = greatest(problem->k.size, 1),
                                     .c_bytes = epilogue_bytes(nest),
                                     .epilogue_operations =
                                         (double)greatest((int64_t)nest->op_count - 2, 0)};
  for (uint32_t i = 0; i < problem->outer_count; i++)
    c.shape.outer *= greatest(nest->axes[problem->outer[i]].size, 1);
  return c;
}

static double operand_total(tsr_nest *nest, const tsr_mma_operand *operand) {
  return operand->load == NULL || operand->packed ? 0 : buffer_bytes(nest, operand->load);
}

static void take_atom(contraction *c, const tsr_atom *atom) {
  tsr_cost_cuda_contract *s = &c->shape;
  tsr_mma_operand_of(c->nest, c->problem, atom, 0, &c->a);
  tsr_mma_operand_of(c->nest, c->problem, atom, 1, &c->b);
  s->atom = atom;
  s->wgmma = atom->place == TSR_ATOM_MEMORY;
  s->a_bytes = tsr_dtype_bits(c->a.dtype) / 8.0;
  s->b_bytes = tsr_dtype_bits(c->b.dtype) / 8.0;
  s->a_total = operand_total(c->nest, &c->a);
  s->b_total = operand_total(c->nest, &c->b);
  s->a_run = c->a.plain ? (double)c->a.run_bytes : 2;
  s->b_run = c->b.plain ? (double)c->b.run_bytes : 2;
}

/* --- schedules of it --- */

static void to_schedule(const tsr_cost_cuda_contract *s, tsr_schedule *out) {
  int64_t *knobs = out->knobs;
  *out =
      (tsr_schedule){.strategy = s->wgmma ? TSR_STRATEGY_WGMMA : TSR_STRATEGY_MMA, .atom = s->atom};
  knobs[TSR_KNOB_BM] = s->bm;
  knobs[TSR_KNOB_BN] = s->bn;
  knobs[TSR_KNOB_BK] = s->bk;
  knobs[TSR_KNOB_WARPS_M] = s->warps_m;
  knobs[TSR_KNOB_STAGES] = s->stages;
  knobs[TSR_KNOB_SPLIT] = s->split;
  knobs[TSR_KNOB_RASTER] = s->raster;
  if (s->wgmma) {
    knobs[TSR_KNOB_CLUSTER] = s->cluster;
    knobs[TSR_KNOB_PERSISTENT] = s->persistent;
  } else {
    knobs[TSR_KNOB_WARPS_N] = s->warps_n;
  }
}

static void from_schedule(const tsr_schedule *schedule, tsr_cost_cuda_contract *inout) {
  const int64_t *knobs = schedule->knobs;
  inout->bm = knobs[TSR_KNOB_BM];
  inout->bn = knobs[TSR_KNOB_BN];
  inout->bk = knobs[TSR_KNOB_BK];
  inout->warps_m = knobs[TSR_KNOB_WARPS_M];
  inout->warps_n = schedule->strategy == TSR_STRATEGY_WGMMA ? 1 : knobs[TSR_KNOB_WARPS_N];
  inout->stages = knobs[TSR_KNOB_STAGES];
  inout->split = knobs[TSR_KNOB_SPLIT];
  inout->raster = knobs[TSR_KNOB_RASTER];
  inout->cluster = greatest(knobs[TSR_KNOB_CLUSTER], 1);
  inout->persistent = knobs[TSR_KNOB_PERSISTENT] == 1;
}

/* The model on what the kernel of a legal schedule really takes. */
static void cost_closely(contraction *c, const tsr_schedule *schedule, tsr_cost *out_cost) {
  tsr_mma_resources need;
  tsr_cost_cuda_contract shape = c->shape;
  from_schedule(schedule, &shape);
  tsr_mma_resources_of(c->nest, schedule, &need);
  shape.shared_bytes = need.shared_bytes;
  shape.bank_passes = need.bank_passes / 100.0;
  tsr_cost_of_cuda_contract(c->nest->target, &shape, out_cost);
}

/* --- candidates --- */

/* What tells candidates of one block apart. */
typedef struct candidate {
  float cycles;
  uint16_t number; /* of the atom; to order equal ones */
  uint16_t bm, bn, bk;
  uint8_t warps_m, warps_n, stages, split, cluster, persistent;
} candidate;

typedef struct candidates {
  contraction *c;
  candidate *list;
  uint32_t count;
  uint16_t atom;
  int64_t splits[8], split_count;
} candidates;

/* Elements that go through registers are all on their way at once: so many, no more. */
static bool few_elements(const tsr_cost_cuda_contract *s) {
  return (s->a_run >= 4 || tsr_cost_cuda_pieces(s, 0) <= (double)MOST_STAGED) &&
         (s->b_run >= 4 || tsr_cost_cuda_pieces(s, 1) <= (double)MOST_STAGED);
}

static bool fits_block(const tsr_target *target, const tsr_cost_cuda_contract *s) {
  return (s->wgmma || few_elements(s)) &&
         tsr_cost_cuda_shared(s) <= target->gpu.block_shared_bytes &&
         tsr_cost_cuda_registers(s) + REGISTER_MARGIN <= tsr_cost_cuda_register_limit(target, s);
}

bool tsr_default_cuda_fits(tsr_nest *nest, const tsr_schedule *schedule) {
  const tsr_mma_problem *problem = tsr_mma_match(nest);
  if (problem == NULL || schedule->atom == NULL)
    return false;
  contraction c = describe(nest, problem);
  take_atom(&c, schedule->atom);
  from_schedule(schedule, &c.shape);
  tsr_cost cost;
  if (!fits_block(nest->target, &c.shape))
    return false;
  tsr_cost_of_cuda_contract(nest->target, &c.shape, &cost);
  return cost.resident >= 1;
}

/* A tile may stand over the edge, by less than half of itself. */
static bool too_large(int64_t tile, int64_t extent, int64_t unit) {
  return tile > unit && tile >= 2 * extent;
}

/* Returns its cycles; infinity where it does not fit. */
static double add(candidates *l, const tsr_cost_cuda_contract *s) {
  tsr_cost cost;
  if (l->count == MOST_CANDIDATES || !fits_block(l->c->nest->target, s))
    return HUGE_VAL;
  tsr_cost_of_cuda_contract(l->c->nest->target, s, &cost);
  l->list[l->count++] = (candidate){.cycles = (float)cost.cycles,
                                    .number = l->atom,
                                    .bm = (uint16_t)s->bm,
                                    .bn = (uint16_t)s->bn,
                                    .bk = (uint16_t)s->bk,
                                    .warps_m = (uint8_t)s->warps_m,
                                    .warps_n = (uint8_t)s->warps_n,
                                    .stages = (uint8_t)s->stages,
                                    .split = (uint8_t)s->split,
                                    .cluster = (uint8_t)s->cluster,
                                    .persistent = s->persistent};
  return cost.cycles;
}

/* Stages and parts of the depth: no more stages than there are turns, and none that gain nothing.
 */
static void add_depths(candidates *l, tsr_cost_cuda_contract s) {
  enum { MOST_STAGES = 8 };
  const double tiles =
      (double)s.outer * (double)((s.m + s.bm - 1) / s.bm) * (double)((s.n + s.bn - 1) / s.bn);
  const double enough = 4.0 * l->c->nest->target->gpu.multiprocessors;
  for (int64_t i = 0; i < (s.wgmma ? 1 : l->split_count); i++) {
    s.split = l->splits[i];
    const int64_t turns = (s.k / s.split + s.bk - 1) / s.bk;
    if (s.split > 1 && (turns < 2 || tiles * (double)s.split > enough))
      break;
    double last = HUGE_VAL;
    for (s.stages = 2; s.stages <= MOST_STAGES && s.stages <= greatest(turns + 1, 2); s.stages++) {
      const double cycles = add(l, &s);
      if (cycles >= last)
        break;
      last = cycles;
    }
  }
}

/* Rows of shared memory of 32 to 256 bytes. */
static void add_turns(candidates *l, tsr_cost_cuda_contract s, int64_t unit, double bytes,
                      double most_bytes) {
  for (s.bk = unit; (double)s.bk * bytes <= most_bytes; s.bk *= 2)
    if ((double)s.bk * bytes >= 32 && !too_large(s.bk, s.k, unit))
      add_depths(l, s);
}

static void add_mma(candidates *l, tsr_cost_cuda_contract s) {
  const int64_t m = s.atom->m, n = s.atom->n;
  const double bytes = fmax(s.a_bytes, s.b_bytes);
  s.cluster = 1;
  for (s.warps_m = 1; s.warps_m <= 4; s.warps_m *= 2)
    for (s.warps_n = 1; s.warps_n * s.warps_m <= 8; s.warps_n *= 2)
      for (int64_t wm = m; wm <= 4 * m; wm *= 2)
        for (int64_t wn = 2 * n; wn <= 16 * n; wn *= 2) {
          s.bm = wm * s.warps_m;
          s.bn = wn * s.warps_n;
          if (!too_large(s.bm, s.m, m) && !too_large(s.bn, s.n, 2 * n))
            add_turns(l, s, s.atom->k, bytes, 256);
        }
}

/* Each thread sums up a rectangle; a warp is 4 rows of 8 threads. */
static void add_fma(candidates *l, tsr_cost_cuda_contract s) {
  s.cluster = 1;
  for (s.warps_m = 1; s.warps_m <= 4; s.warps_m *= 2)
    for (s.warps_n = 1; s.warps_n * s.warps_m <= 8; s.warps_n *= 2)
      for (int64_t tm = 1; tm <= 8; tm *= 2)
        for (int64_t tn = 1; tn <= 8; tn *= 2) {
          s.bm = 4 * tm * s.warps_m;
          s.bn = 8 * tn * s.warps_n;
          if (!too_large(s.bm, s.m, 4) && !too_large(s.bn, s.n, 8))
            add_turns(l, s, 8, fmax(s.a_bytes, s.b_bytes), 128);
        }
}

/* Groups of four warps of 64 rows each, one or two such tiles; clusters along the rows. */
static void add_wgmma(candidates *l, tsr_cost_cuda_contract s) {
  s.split = 1;
  const double bytes = fmax(s.a_bytes, s.b_bytes);
  s.warps_n = 1;
  for (s.warps_m = 4; s.warps_m <= 12; s.warps_m += 4)
    for (int64_t tiles = 1; tiles <= 2; tiles++)
      for (s.bn = 16; s.bn <= 256; s.bn += s.bn < 64 ? 16 : 32) {
        s.bm = 16 * s.warps_m * tiles;
        if (too_large(s.bm, s.m, 64) || too_large(s.bn, s.n, 16))
          continue;
        for (s.cluster = 1; s.cluster <= 2; s.cluster++)
          for (int persistent = 0; persistent < 2; persistent++) {
            s.persistent = persistent == 1;
            if (s.cluster == 1 || (s.m + s.bm - 1) / s.bm >= s.cluster)
              add_turns(l, s, s.atom->k, bytes, 128);
          }
      }
}

static bool before(const candidate *a, const candidate *b) {
  if (a->cycles != b->cycles)
    return a->cycles < b->cycles;
  return memcmp(&a->number, &b->number, sizeof *a - offsetof(candidate, number)) < 0;
}

/* The list as a heap, the best candidate first: few are ever taken out. */
static void sink(candidates *l, uint32_t at) {
  const candidate moved = l->list[at];
  for (uint32_t child = 2 * at + 1; child < l->count; child = 2 * at + 1) {
    if (child + 1 < l->count && before(&l->list[child + 1], &l->list[child]))
      child++;
    if (!before(&l->list[child], &moved))
      break;
    l->list[at] = l->list[child];
    at = child;
  }
  l->list[at] = moved;
}

static void order(candidates *l) {
  for (uint32_t i = l->count / 2; i-- > 0;)
    sink(l, i);
}

static candidate take_best(candidates *l) {
  const candidate best = l->list[0];
  l->list[0] = l->list[--l->count];
  if (l->count > 0)
    sink(l, 0);
  return best;
}

/* Parts that the depth can be cut into. */
static void find_splits(candidates *l) {
  l->splits[l->split_count++] = 1;
  if (!tsr_split_possible(l->c->nest))
    return;
  for (int64_t parts = 2; parts <= MOST_SPLIT; parts *= 2)
    if (tsr_split_axis(l->c->nest, parts, true) >= 0)
      l->splits[l->split_count++] = parts;
}

static void restore(const candidate *from, const tsr_cost_cuda_contract *base,
                    tsr_schedule *out_schedule) {
  tsr_cost_cuda_contract s = *base;
  s.bm = from->bm;
  s.bn = from->bn;
  s.bk = from->bk;
  s.warps_m = from->warps_m;
  s.warps_n = from->warps_n;
  s.stages = from->stages;
  s.split = from->split;
  s.raster = base->raster;
  s.cluster = from->cluster;
  s.persistent = from->persistent == 1;
  to_schedule(&s, out_schedule);
}

/* Rows of tiles that are walked together, for what that leaves of memory traffic. */
static void choose_raster(contraction *c, tsr_schedule *inout, tsr_cost *inout_cost) {
  for (int64_t raster = 1; raster <= 32; raster *= 2) {
    tsr_schedule other = *inout;
    tsr_cost cost;
    other.knobs[TSR_KNOB_RASTER] = raster;
    cost_closely(c, &other, &cost);
    if (cost.cycles < inout_cost->cycles ||
        (cost.cycles == inout_cost->cycles && cost.far_bytes < inout_cost->far_bytes)) {
      *inout = other;
      *inout_cost = cost;
    }
  }
}

/* Which schedules may be taken. */
typedef enum when {
  ALWAYS,
  /* that run whatever the dims are */ GUARDED /* wgmma, behind a guard */
} when;

static bool may_run(tsr_nest *nest, const tsr_schedule *schedule, when may) {
  tsr_diag diag = {0};
  if (tsr_mma_check(nest, schedule, "", &diag) != TSR_OK)
    return false;
  return may == GUARDED || schedule->strategy == TSR_STRATEGY_MMA ||
         tsr_expr_equals_int(nest->ir, tsr_wgmma_guard(nest, schedule), 1);
}

/* Of the candidates in the order of the model, the first few that are legal; of these, the best by
 * what they really take. */
static bool choose(candidates *l, const tsr_atom *const *atoms, when may,
                   tsr_schedule *out_schedule, tsr_cost *out_cost) {
  uint32_t legal = 0;
  order(l);
  while (l->count > 0 && legal < LEGAL) {
    const candidate next = take_best(l);
    tsr_schedule schedule;
    tsr_cost cost;
    take_atom(l->c, atoms[next.number]);
    restore(&next, &l->c->shape, &schedule);
    if (!may_run(l->c->nest, &schedule, may))
      continue;
    cost_closely(l->c, &schedule, &cost);
    if (legal++ == 0 || cost.cycles < out_cost->cycles) {
      *out_schedule = schedule;
      *out_cost = cost;
    }
  }
  if (legal > 0) {
    take_atom(l->c, out_schedule->atom);
    choose_raster(l->c, out_schedule, out_cost);
  }
  return legal > 0;
}

/* The best schedule of the contraction; false: nothing that is legal. */
static bool best_contract(contraction *c, when may, tsr_schedule *out_schedule,
                          tsr_cost *out_cost) {
  const tsr_atom *atoms[TSR_MMA_ATOMS];
  uint32_t count = 0;
  candidates l = {.c = c};
  if (!tsr_mma_atoms(c->nest, atoms, &count))
    return false;
  l.list = tsr_arena_alloc_array(c->nest->arena, MOST_CANDIDATES, sizeof *l.list);
  if (l.list == NULL)
    return tsr_ir_poison(c->nest->ir, TSR_ERR_OUT_OF_MEMORY, "out of memory in tiling") != 0;
  find_splits(&l);
  for (uint32_t i = 0; i < count; i++) {
    l.atom = (uint16_t)i;
    take_atom(c, atoms[i]);
    c->shape.raster = 8;
    /* ptxas serialises wgmma in some loops whose number of turns it does not know (C7514). */
    if (c->shape.wgmma && !c->problem->k.fixed)
      continue;
    if (c->shape.wgmma)
      add_wgmma(&l, c->shape);
    else if (may == GUARDED)
      continue;
    else if (atoms[i]->kind == TSR_TARGET_CUDA)
      add_mma(&l, c->shape);
    else
      add_fma(&l, c->shape);
  }
  return choose(&l, atoms, may, out_schedule, out_cost);
}

/* --- nest --- */

/* In parts where the device would be idle otherwise. */
static void default_nest(tsr_nest *nest, tsr_schedule *out_schedule, tsr_cost *out_cost) {
  const double sure = 1.1; /* a second kernel must be worth it */
  const tsr_gpu *gpu = &nest->target->gpu;
  tsr_default_cuda_nest(nest, -1, 0, 1, out_schedule, out_cost);
  if (!tsr_split_possible(nest))
    return;
  double outputs = 1, best = out_cost->cycles;
  for (uint32_t i = 0; i < nest->par_count; i++)
    outputs *= nest->axes[i].gone ? 1 : (double)greatest(nest->axes[i].size, 1);
  for (int64_t parts = 2; parts <= MOST_NEST_SPLIT; parts *= 2) {
    const int axis = tsr_split_axis(nest, parts, false);
    tsr_schedule other;
    tsr_cost cost;
    if (axis < 0)
      break;
    const int64_t size = greatest(nest->axes[axis].size, 1);
    tsr_default_cuda_nest(nest, nest->axes[axis].gone ? -1 : axis, (size + parts - 1) / parts,
                          parts, &other, &cost);
    cost.overhead +=
        gpu->launch_cycles + gpu->memory_latency + 8 * outputs * (double)parts / gpu->l2_rate;
    cost.cycles +=
        gpu->launch_cycles + gpu->memory_latency + 8 * outputs * (double)parts / gpu->l2_rate;
    if (sure * cost.cycles < best) {
      *out_schedule = other;
      *out_cost = cost;
      out_schedule->knobs[TSR_KNOB_SPLIT] = parts;
      best = cost.cycles;
    }
  }
}

/* The contraction where the extent that tells variants apart is `size`. */
static contraction describe_at(tsr_nest *nest, int64_t size) {
  const tsr_mma_problem *p = tsr_mma_match(nest);
  contraction c = describe(nest, p);
  if (size > 0 && !p->m.fixed)
    c.shape.m = size;
  else if (size > 0)
    c.shape.n = size;
  return c;
}

void tsr_default_cuda(tsr_nest *nest, tsr_schedule *out_schedule, tsr_cost *out_cost) {
  tsr_schedule other;
  tsr_cost cost;
  *out_cost = (tsr_cost){0};
  default_nest(nest, out_schedule, out_cost);
  if (tsr_mma_match(nest) != NULL) {
    contraction c = describe_at(nest, 0);
    /* With an extent that is not known, strategy nest would be all that runs. */
    if (best_contract(&c, ALWAYS, &other, &cost) &&
        (tsr_mma_guarded(nest) != 0 || cost.cycles < out_cost->cycles)) {
      *out_schedule = other;
      *out_cost = cost;
    }
  }
  tsr_cost_say_cuda(nest->target, out_cost);
}

void tsr_default_cuda_part(tsr_nest *part, const tsr_schedule *whole, tsr_schedule *out_schedule) {
  tsr_cost cost;
  *out_schedule = *whole;
  if (whole->strategy != TSR_STRATEGY_NEST)
    return;
  tsr_default_cuda_nest(part, -1, 0, 1, out_schedule, &cost);
  out_schedule->knobs[TSR_KNOB_SPLIT] = whole->knobs[TSR_KNOB_SPLIT];
}

void tsr_default_cuda_uncut(tsr_nest *nest, tsr_schedule *inout) {
  tsr_cost cost;
  if (inout->knobs[TSR_KNOB_SPLIT] <= 1)
    return;
  if (inout->strategy == TSR_STRATEGY_NEST)
    tsr_default_cuda_nest(nest, -1, 0, 1, inout, &cost);
  inout->knobs[TSR_KNOB_SPLIT] = 1;
}

void tsr_default_cuda_cost(tsr_nest *nest, const tsr_schedule *schedule, int64_t size,
                           tsr_cost *out_cost) {
  *out_cost = (tsr_cost){0};
  if (schedule->strategy == TSR_STRATEGY_NEST) {
    tsr_default_cuda_nest_cost(nest, schedule, out_cost);
  } else if (schedule->atom != NULL && tsr_mma_match(nest) != NULL) {
    contraction c = describe_at(nest, size);
    take_atom(&c, schedule->atom);
    cost_closely(&c, schedule, out_cost);
  }
  tsr_cost_say_cuda(nest->target, out_cost);
}

/* --- variants --- */

/* Few rows want other tiles than many: a variant up to where the main schedule is as good. */
static bool small_variant(tsr_nest *nest, const tsr_schedule *first, int64_t low,
                          tsr_schedule *out) {
  const double gain = 1.3;
  const int64_t split = first->knobs[TSR_KNOB_SPLIT];
  const int64_t most = first->knobs[tsr_mma_match(nest)->m.fixed ? TSR_KNOB_BN : TSR_KNOB_BM];
  contraction c = describe_at(nest, low);
  tsr_cost here, there;
  int64_t upto = 0;
  if (!best_contract(&c, ALWAYS, out, &here) || out->knobs[TSR_KNOB_SPLIT] != split)
    return false;
  for (int64_t size = low; size <= most; size = size < 16 ? 16 : size * 2) {
    tsr_default_cuda_cost(nest, out, size, &here);
    tsr_default_cuda_cost(nest, first, size, &there);
    if (there.cycles < (size == low ? gain : 1) * here.cycles)
      break;
    upto = size;
  }
  out->knobs[TSR_KNOB_UPTO] = upto;
  return upto > 0;
}

uint32_t tsr_default_cuda_variants(tsr_nest *nest, const tsr_schedule *first, int64_t low,
                                   tsr_schedule *out, uint32_t most) {
  uint32_t count = 0;
  const bool mma = first->strategy == TSR_STRATEGY_MMA || first->strategy == TSR_STRATEGY_WGMMA;
  if (!mma || tsr_mma_match(nest) == NULL || first->knobs[TSR_KNOB_SPLIT] > 1)
    return 0;
  if (count < most && tsr_mma_guarded(nest) != 0 && small_variant(nest, first, low, &out[count]))
    count++;
  /* Where the tensors suit tensor maps only for some values of the dims. */
  if (count < most && first->strategy == TSR_STRATEGY_MMA) {
    contraction c = describe_at(nest, 0);
    tsr_cost cost, main_cost;
    tsr_default_cuda_cost(nest, first, 0, &main_cost);
    if (best_contract(&c, GUARDED, &out[count], &cost) && cost.cycles < main_cost.cycles) {
      out[count].knobs[TSR_KNOB_UPTO] = tsr_knob_get(TSR_KNOB_UPTO)->greatest;
      count++;
    }
  }
  return count;
}
