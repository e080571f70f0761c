/* Layouts of tensor cores (PTX ISA 9.7.14 and 9.7.15; device.h and device_wgmma.h show them): with
 * g = lane / 4 and t = lane % 4 a thread has rows g and g + 8 and columns 2t and 2t + 1 of every
 * block of 16 x 8 accumulators; of the operands it has the same rows, or columns, and words of 32
 * bits at t and t + 4 along the depth. Warps and groups of warps are the highest digits: every one
 * has consecutive rows and columns. */
#include "codegen/cuda/emit.h"
#include <string.h>

enum { WARP = 32, GROUP = 4 * WARP };

/* Warps along m and n as `warps` says; by default about as many rows as columns each. */
static void divide_warps(tsr_cu *e, tsr_op op, tsr_cu_mma *mma) {
  const uint32_t unit = mma->groups ? GROUP : WARP, warps = e->threads / unit;
  int64_t given[2] = {0, 0};
  uint32_t count = 0;
  if (tsr_op_attr(e->ir, op, "warps")) {
    uint32_t per = unit / WARP;
    if (!tsr_op_ints(e->ir, op, "warps", given, 2, &count) || count != 2 || given[0] < 1 ||
        given[1] < 1 || given[0] % per != 0)
      tsr_cu_fail(e, TSR_ERR_VERIFY, "'warps' is not a way to divide m and n");
    given[0] /= per;
  } else {
    given[0] = given[1] = 1;
    while (given[0] * given[1] < warps) {
      bool rows = mma->m % (given[0] * 2 * mma->atom->m) == 0;
      bool columns = !mma->groups && mma->n % (given[1] * 2 * 8) == 0;
      bool taller = mma->m * given[1] >= mma->n * given[0];
      given[rows && (taller || !columns) ? 0 : 1] *= 2;
    }
  }
  if (given[0] * given[1] != warps)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "'warps' divides by %lld x %lld, there are %u%s",
                (long long)given[0], (long long)given[1], warps, mma->groups ? " groups" : "");
  mma->warps_m = (uint32_t)given[0];
  mma->warps_n = (uint32_t)given[1];
}

/* Elements of a row of b in place that runs along the columns; 0: they run along the depth. */
static uint32_t panel_of(tsr_cu *e, const tsr_op_data *op) {
  const tsr_operand *b = &op->operands[1];
  const tsr_type_info *type = tsr_value_type(e->ir, b->value);
  int64_t row = 0;
  if (!b->subscripted || b->subscript_count == 0 || b->subscript_count != type->rank ||
      !tsr_expr_is_int(e->ir, type->dims[type->rank - 1], &row) || row > UINT16_MAX)
    return 0;
  const tsr_expr lane = tsr_expr_lane(e->ir, 1), zero = tsr_expr_int(e->ir, 0);
  tsr_expr last = b->subscripts[b->subscript_count - 1];
  return tsr_expr_substitute(e->ir, last, &lane, &zero, 1) != last ? (uint32_t)row : 0;
}

/* Columns of wgmma's instructions: multiples of 8, of 16 for more than 24 of integers; whole panels
 * or an equal part of one. */
static bool columns_fit(const tsr_cu_mma *mma, uint32_t n, uint32_t panel) {
  if (n % 8 != 0 || n > mma->atom->n || (panel && n % panel != 0 && panel % n != 0))
    return false;
  return mma->atom->c != TSR_I32 || n <= 24 || n % 16 == 0;
}

static void divide_columns(tsr_cu_mma *mma, uint32_t panel) {
  const uint32_t n = mma->n / mma->warps_n;
  mma->n_blocks = 1;
  while (mma->n_blocks < n &&
         (n % mma->n_blocks != 0 || !columns_fit(mma, n / mma->n_blocks, panel)))
    ++mma->n_blocks;
  mma->n_step = n / mma->n_blocks;
}

static uint32_t depth_of(tsr_cu *e, tsr_op contract, const tsr_op_data *op) {
  int64_t depth = tsr_op_int(e->ir, contract, "k", 0);
  for (uint32_t i = 0; i < 2 && depth == 0; ++i)
    if (!op->operands[i].subscripted)
      tsr_expr_is_int(e->ir, tsr_value_type(e->ir, op->operands[i].value)->dims[1 - i], &depth);
  return depth > 0 && depth <= UINT16_MAX ? (uint32_t)depth : 0;
}

bool tsr_cu_mma_of(tsr_cu *e, tsr_op contract, tsr_cu_mma *out_mma) {
  const tsr_op_data *op = tsr_op_get(e->ir, contract);
  const char *name = tsr_op_string(e->ir, contract, "atom");
  const tsr_atom *atom = name ? tsr_atom_find(name) : NULL;
  *out_mma = (tsr_cu_mma){.atom = atom};
  if (!name || !strncmp(name, "fma.", 4))
    return false;
  if (!atom || atom->kind != TSR_TARGET_CUDA)
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "atom '%s' has no code on CUDA", name);
  if (e->target->capability < atom->features)
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "atom '%s' needs compute capability %u", name,
                (unsigned)atom->features);
  tsr_cu_tile acc = tsr_cu_tile_of_type(e, tsr_value_get(e->ir, op->results[0])->type);
  if (acc.rank != 2 || acc.dtype != atom->c)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "atom '%s' needs accumulators of %s of rank 2", name,
                tsr_dtype_text(atom->c));
  for (uint32_t i = 0; i < 2; ++i)
    if (tsr_value_type(e->ir, op->operands[i].value)->dtype != (i ? atom->b : atom->a))
      tsr_cu_fail(e, TSR_ERR_VERIFY, "atom '%s' needs operands of %s", name,
                  tsr_dtype_text(i ? atom->b : atom->a));
  tsr_cu_mma *mma = out_mma;
  mma->groups = atom->place == TSR_ATOM_MEMORY;
  mma->m = acc.extents[1];
  mma->n = acc.extents[0];
  mma->k = depth_of(e, contract, op);
  mma->fields = 32 / tsr_dtype_bits(atom->a);
  divide_warps(e, contract, mma);
  if (mma->groups)
    divide_columns(mma, panel_of(e, op));
  else
    mma->n_step = 8;
  mma->m_blocks = mma->m / mma->warps_m / atom->m;
  mma->n_blocks = mma->n / mma->warps_n / mma->n_step;
  mma->k_blocks = mma->k / atom->k;
  if (mma->m_blocks * mma->warps_m * atom->m != mma->m ||
      mma->n_blocks * mma->warps_n * mma->n_step != mma->n || mma->n_step % 8 != 0 ||
      mma->k_blocks * atom->k != mma->k || mma->k_blocks == 0)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "atom '%s' does not divide %u x %u x %u among %u x %u %s", name,
                mma->m, mma->n, mma->k, mma->warps_m, mma->warps_n,
                mma->groups ? "groups of warps" : "warps");
  return true;
}

/* Rows: 8 of the lanes, both halves of a block of 16, the four warps of a group, blocks, warps. */
static void push_rows(tsr_cu_axis *axis, const tsr_cu_mma *mma, uint32_t block_order) {
  tsr_cu_push(axis, 8, 4, 0);
  tsr_cu_push(axis, 2, 0, 1);
  if (mma->groups)
    tsr_cu_push(axis, 4, WARP, 0);
  tsr_cu_push(axis, mma->m_blocks, 0, block_order);
  tsr_cu_push(axis, mma->warps_m, mma->groups ? GROUP : WARP, 0);
}

tsr_cu_layout tsr_cu_mma_accumulators(const tsr_cu_mma *mma) {
  const uint32_t unit = mma->groups ? GROUP : WARP;
  tsr_cu_layout l = {0};
  push_rows(&l.axis[1], mma, 4);
  tsr_cu_push(&l.axis[0], 2, 0, 0);
  tsr_cu_push(&l.axis[0], 4, 1, 0);
  tsr_cu_push(&l.axis[0], mma->n_step / 8, 0, 2);
  tsr_cu_push(&l.axis[0], mma->n_blocks, 0, 3);
  tsr_cu_push(&l.axis[0], mma->warps_n, unit * mma->warps_m, 0);
  return l;
}

tsr_cu_layout tsr_cu_mma_operand(const tsr_cu_mma *mma, bool is_a) {
  tsr_cu_layout l = {.use = is_a ? TSR_CU_OPERAND_A : TSR_CU_OPERAND_B};
  tsr_cu_axis *depth = &l.axis[is_a ? 0 : 1];
  tsr_cu_push(depth, mma->fields, 0, 0);
  tsr_cu_push(depth, 4, 1, 0);
  tsr_cu_push(depth, 2, 0, 2);
  tsr_cu_push(depth, mma->k_blocks, 0, 3);
  if (is_a) {
    push_rows(&l.axis[1], mma, 4);
    return l;
  }
  tsr_cu_push(&l.axis[0], 8, 4, 0);
  tsr_cu_push(&l.axis[0], mma->n_blocks, 0, 4);
  tsr_cu_push(&l.axis[0], mma->warps_n, WARP * mma->warps_m, 0);
  return l;
}
