/* Which schedules of the strategies "mma" and "wgmma" are legal, and what their kernels take. */
#include "passes/tile/mma_emit.h"
#include <string.h>

enum {
  WARP = 32,
  MOST_THREADS = 1024,
  REGISTER_FILE = 65536, /* of a multiprocessor, 32 bits each */
  MOST_REGISTERS = 255,  /* of a thread */
  OTHER_REGISTERS = 40,  /* addresses, loop counters, what a copy needs */
  WARPGROUP = 4,
  BOX = 256, /* most elements of a tensor map's box along an axis */
  MAP_RANK = 5
};

static bool is_fma(const tsr_atom *atom) {
  return atom->kind == TSR_TARGET_CPU;
}

static int64_t up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

static tsr_status refuse(const char *kernel, tsr_knob knob, const char *why, tsr_diag *diag) {
  return tsr_fail(diag, TSR_ERR_ARGUMENT, "schedule @%s: '%s' %s", kernel, tsr_knob_get(knob)->text,
                  why);
}

/* --- resources --- */

void tsr_mma_resources_of(tsr_nest *nest, const tsr_schedule *schedule,
                          tsr_mma_resources *out_resources) {
  const tsr_mma_problem *p = tsr_mma_match(nest);
  const int64_t *knobs = schedule->knobs;
  const bool wgmma = schedule->strategy == TSR_STRATEGY_WGMMA;
  *out_resources = (tsr_mma_resources){.bank_passes = 100};
  if (p == NULL || schedule->atom == NULL)
    return;
  const int64_t warps_m = knobs[TSR_KNOB_WARPS_M], warps_n = wgmma ? 1 : knobs[TSR_KNOB_WARPS_N];
  const int64_t words = up(tsr_dtype_bits(schedule->atom->c), 32);
  int64_t shared = 0, fragments = 0, passes = 0, least = 0;
  for (int i = 0; i < 2; i++) {
    tsr_mma_ring ring;
    if (wgmma)
      tsr_wgmma_ring_of(nest, p, schedule, i, &ring);
    else
      tsr_mma_ring_of(nest, p, schedule, i, &ring);
    shared += knobs[TSR_KNOB_STAGES] * ring.place_bytes;
    fragments += up(ring.tile * tsr_mma_step(schedule->atom) * tsr_dtype_bits(ring.operand.dtype),
                    WARP * (i == 0 ? warps_m : warps_n) * 32);
    if (!wgmma)
      passes += tsr_banks_worst(&ring.layout,
                                (uint32_t)(ring.panel * tsr_dtype_bits(ring.operand.dtype) / 8),
                                &ring.read);
    least += wgmma ? 1 : tsr_banks_least(&ring.read);
  }
  out_resources->threads = (uint32_t)(WARP * (warps_m * warps_n + (wgmma ? WARPGROUP : 0)));
  out_resources->shared_bytes = (uint64_t)(shared + (wgmma ? 16 * knobs[TSR_KNOB_STAGES] : 0));
  out_resources->accumulators =
      (uint32_t)up(knobs[TSR_KNOB_BM] * knobs[TSR_KNOB_BN] * words, WARP * warps_m * warps_n);
  if (wgmma)
    return;
  out_resources->bank_passes = (uint32_t)(100 * passes / least);
  /* Each thread of an fma tile is as square as its sums. */
  if (is_fma(schedule->atom)) {
    int64_t edge = 1;
    while (edge * edge * words < out_resources->accumulators)
      edge++;
    fragments = 2 * edge * words * tsr_mma_step(schedule->atom);
  }
  out_resources->fragments = (uint32_t)fragments;
}

/* --- tensor maps --- */

/* The dimension of the buffer that is this side and nothing else, or -1. */
static int plain_dim(const tsr_nest *nest, const tsr_mma_operand *o, const tsr_mma_side *side) {
  int found = -1;
  if (side->count != 1)
    return -1;
  for (uint32_t d = 0; d < o->load->rank; d++) {
    if (!tsr_expr_uses_value(nest->ir, o->load->subs[d], nest->axes[side->axes[0]].variable))
      continue;
    if (found >= 0 || o->load->subs[d] != nest->axes[side->axes[0]].leaf)
      return -1;
    found = (int)d;
  }
  return found;
}

bool tsr_wgmma_box_of(tsr_nest *nest, const tsr_mma_problem *problem, const tsr_mma_ring *ring,
                      tsr_wgmma_box *out_box) {
  const tsr_mma_operand *o = &ring->operand;
  *out_box = (tsr_wgmma_box){.rank = o->load == NULL ? 0 : o->load->rank};
  if (!o->plain)
    return false;
  const bool laid_out = nest->buffers[o->load->buffer].map != NULL;
  if (o->packed && !laid_out) { /* it will be: [outer.., side, depth] */
    out_box->packed = true;
    return true;
  }
  const int last = (int)o->load->rank - 1;
  out_box->depth = o->packed ? last : plain_dim(nest, o, &problem->k);
  out_box->side = o->packed ? last - 1 : plain_dim(nest, o, ring->side);
  if (out_box->depth < 0 || out_box->side < 0 || out_box->rank > MAP_RANK ||
      (o->along_depth ? out_box->depth : out_box->side) != last)
    return false;
  out_box->pitch = tsr_expr_mul_int(nest->ir, nest->buffers[o->load->buffer].dims[last],
                                    tsr_dtype_bits(o->dtype) / 8);
  return o->packed || tsr_mma_leaves(nest, o->load, &problem->k);
}

/* guard and condition, where 1 stands for what always holds and 0 for never. */
static tsr_expr both(tsr_ir *ir, tsr_expr guard, tsr_expr condition) {
  int64_t number = 0;
  if (tsr_expr_is_int(ir, condition, &number))
    return number != 0 ? guard : tsr_expr_int(ir, 0);
  if (tsr_expr_is_int(ir, guard, &number))
    return number != 0 ? condition : guard;
  return tsr_expr_binary(ir, TSR_INDEX_AND, guard, condition);
}

tsr_expr tsr_wgmma_guard(tsr_nest *nest, const tsr_schedule *schedule) {
  const tsr_mma_problem *p = tsr_mma_match(nest);
  tsr_ir *ir = nest->ir;
  tsr_expr guard = tsr_expr_int(ir, 1);
  if (p == NULL || p->m.count == 0)
    return tsr_expr_int(ir, 0);
  for (int i = 0; i < 2; i++) {
    tsr_mma_ring ring;
    tsr_wgmma_box box;
    tsr_wgmma_ring_of(nest, p, schedule, i, &ring);
    if (!tsr_wgmma_box_of(nest, p, &ring, &box))
      return tsr_expr_int(ir, 0);
    if (box.packed)
      continue;
    const tsr_nest_buffer *buffer = &nest->buffers[ring.operand.load->buffer];
    if (!tsr_expr_divisible(ir, box.pitch, 16))
      guard = both(ir, guard,
                   tsr_expr_binary(ir, TSR_INDEX_EQ, tsr_expr_mod_int(ir, box.pitch, 16),
                                   tsr_expr_int(ir, 0)));
    /* A tensor map has no empty dimension. */
    for (uint32_t d = 0; d < buffer->rank; d++)
      if (!tsr_expr_prove_nonnegative(ir, tsr_expr_add_int(ir, buffer->dims[d], -1), NULL, 0))
        guard = both(ir, guard,
                     tsr_expr_binary(ir, TSR_INDEX_LT, tsr_expr_int(ir, 0), buffer->dims[d]));
  }
  return guard;
}

/* --- checks --- */

static tsr_status check_common(tsr_nest *nest, const tsr_schedule *schedule, const char *kernel,
                               tsr_diag *diag) {
  const int64_t *knobs = schedule->knobs;
  const tsr_atom *list[TSR_MMA_ATOMS];
  uint32_t count = 0;
  bool listed = false;
  if (nest->target->kind != TSR_TARGET_CUDA)
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "schedule @%s: strategy \"%s\" is for CUDA targets",
                    kernel, tsr_strategy_text(schedule->strategy));
  if (!tsr_mma_atoms(nest, list, &count))
    return tsr_fail(diag, TSR_ERR_ARGUMENT,
                    "schedule @%s: the block is no contraction; use strategy = \"nest\"", kernel);
  for (uint32_t i = 0; i < count; i++)
    listed = listed || list[i] == schedule->atom;
  if (!listed)
    return tsr_fail(
        diag, TSR_ERR_ARGUMENT,
        "schedule @%s: 'atom' must be one that computes the block on %s, such as \"%s\"", kernel,
        nest->target->name, list[0]->text);
  if ((schedule->atom->place == TSR_ATOM_MEMORY) != (schedule->strategy == TSR_STRATEGY_WGMMA))
    return tsr_fail(diag, TSR_ERR_ARGUMENT,
                    "schedule @%s: 'atom' \"%s\" is not one of strategy \"%s\"", kernel,
                    schedule->atom->text, tsr_strategy_text(schedule->strategy));
  for (unsigned i = 0; i < TSR_KNOB_COUNT; i++) {
    const tsr_knob_info *info = tsr_knob_get((tsr_knob)i);
    if ((info->strategies & 1u << schedule->strategy) != 0 &&
        (knobs[i] < info->least || knobs[i] > info->greatest))
      return refuse(kernel, (tsr_knob)i, "is out of range", diag);
  }
  return TSR_OK;
}

static tsr_status check_resources(tsr_nest *nest, const tsr_schedule *schedule, const char *kernel,
                                  tsr_diag *diag) {
  tsr_mma_resources need;
  tsr_mma_resources_of(nest, schedule, &need);
  if (need.threads > MOST_THREADS)
    return refuse(kernel, TSR_KNOB_WARPS_M, "makes a task of more than 1024 threads", diag);
  if (need.shared_bytes > nest->target->gpu.block_shared_bytes)
    return refuse(kernel, TSR_KNOB_STAGES, "makes rings beyond the shared memory of a task", diag);
  const int64_t most = schedule->strategy == TSR_STRATEGY_WGMMA
                           ? tsr_wgmma_registers(schedule->knobs[TSR_KNOB_WARPS_M])
                           : REGISTER_FILE / need.threads;
  const int64_t limit = most < MOST_REGISTERS ? most : MOST_REGISTERS;
  if ((int64_t)need.accumulators + need.fragments + OTHER_REGISTERS > limit)
    return refuse(kernel, TSR_KNOB_BM, "with 'bn' makes sums beyond the registers of a thread",
                  diag);
  return TSR_OK;
}

static tsr_status check_mma(const tsr_schedule *schedule, const char *kernel, tsr_diag *diag) {
  const int64_t *knobs = schedule->knobs;
  const tsr_atom *atom = schedule->atom;
  const int64_t warps_m = knobs[TSR_KNOB_WARPS_M], warps_n = knobs[TSR_KNOB_WARPS_N];
  const int64_t m = is_fma(atom) ? 4 : atom->m, n = is_fma(atom) ? 8 : atom->n;
  const int64_t run = 128 / tsr_dtype_bits(atom->a); /* rows of whole 16 bytes */
  if (knobs[TSR_KNOB_BM] % (m * warps_m) != 0 || knobs[TSR_KNOB_BM] % run != 0)
    return refuse(kernel, TSR_KNOB_BM, "must be whole atoms for each of 'warps_m'", diag);
  if (knobs[TSR_KNOB_BN] % (n * warps_n) != 0 || knobs[TSR_KNOB_BN] % run != 0)
    return refuse(kernel, TSR_KNOB_BN, "must be whole atoms for each of 'warps_n'", diag);
  if (knobs[TSR_KNOB_BK] % tsr_mma_step(atom) != 0 || knobs[TSR_KNOB_BK] % run != 0)
    return refuse(kernel, TSR_KNOB_BK, "must be whole steps of the atom and whole 16 bytes", diag);
  if (is_fma(atom) && knobs[TSR_KNOB_BM] * knobs[TSR_KNOB_BN] < WARP * warps_m * warps_n)
    return refuse(kernel, TSR_KNOB_WARPS_M, "makes more threads than the tile has sums", diag);
  return TSR_OK;
}

/* Rows of shared memory are those of a swizzle; a cluster shares the columns' boxes evenly. */
static tsr_status check_wgmma(tsr_nest *nest, const tsr_schedule *schedule, const char *kernel,
                              tsr_diag *diag) {
  const int64_t *knobs = schedule->knobs;
  const tsr_mma_problem *p = tsr_mma_match(nest);
  const int64_t warps_m = knobs[TSR_KNOB_WARPS_M], bn = knobs[TSR_KNOB_BN];
  const int64_t bits = tsr_dtype_bits(schedule->atom->a);
  tsr_mma_ring ring;
  if (warps_m % WARPGROUP != 0 || (warps_m & (warps_m - 1)) != 0)
    return refuse(kernel, TSR_KNOB_WARPS_M, "must be whole groups of four warps, a power of two",
                  diag);
  if (knobs[TSR_KNOB_BM] % (16 * warps_m) != 0 || knobs[TSR_KNOB_BM] > BOX)
    return refuse(kernel, TSR_KNOB_BM, "must be a multiple of 16 for each warp, at most 256", diag);
  if (bn % (bits == 8 ? 16 : 8) != 0 || bn > BOX)
    return refuse(kernel, TSR_KNOB_BN,
                  "must be a multiple of 8 (16 for elements of a byte), at most 256", diag);
  if (knobs[TSR_KNOB_BK] % schedule->atom->k != 0)
    return refuse(kernel, TSR_KNOB_BK, "must be whole steps of the atom", diag);
  if (knobs[TSR_KNOB_STAGES] < 2)
    return refuse(kernel, TSR_KNOB_STAGES, "must be at least 2", diag);
  for (int i = 0; i < 2; i++) {
    tsr_wgmma_ring_of(nest, p, schedule, i, &ring);
    const tsr_knob knob = ring.operand.along_depth ? TSR_KNOB_BK
                          : i == 0                 ? TSR_KNOB_BM
                                                   : TSR_KNOB_BN;
    if (ring.layout.swizzle == 0)
      return refuse(kernel, knob, "must make rows of 32, 64 or 128 bytes in shared memory", diag);
    if (!ring.operand.along_depth && bits != 16)
      return tsr_fail(diag, TSR_ERR_ARGUMENT,
                      "schedule @%s: 'atom' takes operands that are contiguous along the depth",
                      kernel);
    /* Rows of a box begin where the swizzle does. */
    const int64_t cluster = knobs[TSR_KNOB_CLUSTER], panels = ring.length / ring.panel;
    if (i == 1 && ring.rows % (8 * cluster) != 0 &&
        (ring.operand.along_depth || panels % cluster != 0))
      return refuse(kernel, TSR_KNOB_CLUSTER, "must divide the columns' boxes evenly", diag);
  }
  return TSR_OK;
}

tsr_status tsr_mma_check(tsr_nest *nest, const tsr_schedule *schedule, const char *kernel,
                         tsr_diag *diag) {
  TSR_TRY(check_common(nest, schedule, kernel, diag));
  if (schedule->strategy == TSR_STRATEGY_WGMMA) {
    TSR_TRY(check_wgmma(nest, schedule, kernel, diag));
    if (tsr_expr_equals_int(nest->ir, tsr_wgmma_guard(nest, schedule), 0))
      return tsr_fail(diag, TSR_ERR_ARGUMENT,
                      "schedule @%s: strategy \"wgmma\" needs operands that tensor maps can read: "
                      "plain loads, rows of whole 16 bytes, one variable each for side and depth",
                      kernel);
  } else {
    TSR_TRY(check_mma(schedule, kernel, diag));
  }
  return check_resources(nest, schedule, kernel, diag);
}
