/* What an atom of a CUDA device may compute: a sum of products, whatever ops it came from,
 * recognised by what varies with what. */
#include "passes/tile/mma_emit.h"
#include <stdio.h>
#include <string.h>

enum { RUN_BYTES = 16, SECTOR_BITS = 256 };

static bool in_mask(uint32_t mask, uint32_t axis) {
  return (mask >> axis & 1) != 0;
}

static uint32_t live_axes(const tsr_nest *nest, bool red) {
  uint32_t mask = 0;
  for (uint32_t i = 0; i < nest->axis_count; i++)
    if (!nest->axes[i].gone && nest->axes[i].red == red)
      mask |= 1u << i;
  return mask;
}

static const tsr_op_data *definition(const tsr_nest *nest, tsr_value value) {
  const tsr_value_data *data = tsr_value_get(nest->ir, value);
  return data->role == TSR_ROLE_RESULT && data->def != nest->op ? tsr_op_get(nest->ir, data->def)
                                                                : NULL;
}

/* --- the form --- */

/* The one reduce, a plain sum over all red axes; no store but to computed places, no counter. */
static tsr_op only_sum(const tsr_nest *nest) {
  tsr_op found = 0;
  if (nest->proc || nest->reduce_count != 1 || nest->access_count > 64)
    return 0;
  TSR_FOR_EACH_OP (nest->ir, tsr_op_get(nest->ir, nest->op)->regions[0], op) {
    const tsr_opcode code = tsr_op_get(nest->ir, op)->code;
    if (code == TSR_OP_SCATTER_STORE || code == TSR_OP_APPEND)
      return 0;
    if (code == TSR_OP_REDUCE)
      found = op;
  }
  if (found == 0)
    return 0;
  const tsr_op_data *data = tsr_op_get(nest->ir, found);
  const char *combine = tsr_op_string(nest->ir, found, "combine");
  const uint32_t red = live_axes(nest, true);
  if (data->region_count > 0 || data->operand_count != 1 || combine == NULL ||
      strcmp(combine, "add") != 0 || red == 0 || (tsr_nest_reduced(nest, found) & red) != red)
    return 0;
  return found;
}

/* No op with a region, and something is loaded. */
static bool is_straight(const tsr_nest *nest, tsr_value value, bool *loads) {
  const tsr_op_data *op = definition(nest, value);
  if (op == NULL)
    return false;
  if (!tsr_nest_first_look(nest, value))
    return true;
  if (op->region_count > 0)
    return false;
  *loads = *loads || op->code == TSR_OP_LOAD;
  for (uint32_t i = 0; i < op->operand_count; i++)
    if (!op->operands[i].subscripted && !is_straight(nest, op->operands[i].value, loads))
      return false;
  return true;
}

static bool is_factor(const tsr_nest *nest, tsr_value value) {
  bool loads = false;
  tsr_nest_new_walk(nest);
  return is_straight(nest, value, &loads) && loads &&
         (nest->varies[value] & live_axes(nest, true)) != 0;
}

/* The par variable that the first store is contiguous along, or -1. */
static int store_axis(const tsr_nest *nest) {
  for (uint32_t i = 0; i < nest->access_count; i++) {
    if (nest->accesses[i].kind != TSR_ACCESS_STORE)
      continue;
    for (uint32_t k = 0; k < nest->par_count; k++)
      if (!nest->axes[k].gone && tsr_nest_stride(nest, &nest->accesses[i], k) == 1)
        return (int)k;
    return -1;
  }
  return -1;
}

static void add_axis(const tsr_nest *nest, tsr_mma_side *side, uint32_t axis) {
  const tsr_nest_axis *a = &nest->axes[axis];
  side->axes[side->count++] = axis;
  side->extent = tsr_expr_mul(nest->ir, side->extent, a->extent);
  side->size *= a->size > 0 ? a->size : 1;
  side->fixed = side->fixed && a->fixed;
}

/* The axes of the mask in their order, `last` at the end. */
static void make_side(const tsr_nest *nest, tsr_mma_side *side, uint32_t mask, int last) {
  *side = (tsr_mma_side){.extent = tsr_expr_int(nest->ir, 1), .size = 1, .fixed = true};
  for (uint32_t i = 0; i < nest->axis_count; i++)
    if (in_mask(mask, i) && (int)i != last)
      add_axis(nest, side, i);
  if (last >= 0)
    add_axis(nest, side, (uint32_t)last);
}

/* --- operands --- */

static uint64_t loads_from(const tsr_nest *nest, tsr_value value) {
  const tsr_op_data *op = definition(nest, value);
  uint64_t mask = 0;
  if (op == NULL || !tsr_nest_first_look(nest, value))
    return 0;
  for (uint32_t i = 0; i < nest->access_count && i < 64; i++)
    if (tsr_op_get(nest->ir, nest->accesses[i].op) == op &&
        nest->accesses[i].kind == TSR_ACCESS_LOAD)
      mask |= UINT64_C(1) << i;
  for (uint32_t i = 0; i < op->operand_count; i++)
    if (!op->operands[i].subscripted)
      mask |= loads_from(nest, op->operands[i].value);
  return mask;
}

static bool uses_axis(const tsr_nest *nest, const tsr_nest_access *access, uint32_t axis) {
  for (uint32_t d = 0; d < access->rank; d++)
    if (tsr_expr_uses_value(nest->ir, access->subs[d], nest->axes[axis].variable))
      return true;
  return false;
}

uint32_t tsr_mma_loads(const tsr_nest *nest, tsr_value value, tsr_value *out, uint32_t most) {
  const uint32_t red = live_axes(nest, true);
  uint32_t count = 0;
  tsr_nest_new_walk(nest);
  const uint64_t mask = loads_from(nest, value);
  for (uint32_t i = 0; i < nest->access_count && i < 64 && count < most; i++) {
    const tsr_value result = tsr_op_get(nest->ir, nest->accesses[i].op)->results[0];
    if ((mask >> i & 1) != 0 && (nest->varies[result] & red) != 0)
      out[count++] = result;
  }
  return count;
}

static tsr_nest_access *largest_load(const tsr_nest *nest, tsr_value value) {
  tsr_nest_access *best = NULL;
  unsigned most = 0;
  tsr_nest_new_walk(nest);
  const uint64_t mask = loads_from(nest, value);
  for (uint32_t i = 0; i < nest->access_count && i < 64; i++) {
    unsigned axes = 0;
    if ((mask >> i & 1) == 0)
      continue;
    for (uint32_t k = 0; k < nest->axis_count; k++)
      axes += uses_axis(nest, &nest->accesses[i], k) ? 1 : 0;
    if (best == NULL || axes > most) {
      best = &nest->accesses[i];
      most = axes;
    }
  }
  return best;
}

/* The value in front of casts that lose nothing: what an atom of that narrower type takes. */
static tsr_value narrowest(const tsr_nest *nest, tsr_value value) {
  const tsr_op_data *op = definition(nest, value);
  if (op == NULL || op->code != TSR_OP_CAST)
    return value;
  const tsr_value inner = op->operands[0].value;
  const tsr_dtype from = tsr_value_type(nest->ir, inner)->dtype;
  const tsr_dtype to = tsr_value_type(nest->ir, value)->dtype;
  const bool floats = tsr_dtype_class_of(from) == TSR_CLASS_FLOAT && to == TSR_F32;
  const bool ints = from == TSR_I8 && to == TSR_I32;
  return tsr_dtype_bits(from) < 32 && (floats || ints) ? inner : value;
}

/* Along which of the axes, if any, is the load contiguous? */
static int contiguous_axis(const tsr_nest *nest, const tsr_nest_access *access, uint32_t mask) {
  int best = -1;
  for (uint32_t i = 0; access != NULL && !access->indirect && i < nest->axis_count; i++)
    if (in_mask(mask, i) && tsr_nest_stride(nest, access, i) == 1 &&
        (best < 0 || nest->axes[i].size > nest->axes[best].size))
      best = (int)i;
  return best;
}

static uint32_t side_mask(const tsr_mma_side *side) {
  uint32_t mask = 0;
  for (uint32_t i = 0; i < side->count; i++)
    mask |= 1u << side->axes[i];
  return mask;
}

/* Bytes along `axis` that lie in one aligned piece of the buffer or are outside together. */
static int64_t run_of(const tsr_nest *nest, const tsr_nest_access *access, uint32_t axis,
                      const tsr_mma_side *side) {
  const tsr_nest_buffer *buffer = &nest->buffers[access->buffer];
  const int64_t bytes = tsr_dtype_bits(buffer->dtype) / 8;
  const tsr_expr leaf = nest->axes[axis].leaf, last = access->subs[access->rank - 1];
  int64_t coefficient = 0, elements = bytes > 0 ? RUN_BYTES / bytes : 0;
  tsr_expr rest = 0;
  if (elements == 0 || side->count == 0 || side->axes[side->count - 1] != axis ||
      !tsr_expr_linear(nest->ir, last, &leaf, 1, &coefficient, &rest) || coefficient != 1)
    return bytes;
  for (uint32_t d = 0; d + 1 < access->rank; d++)
    if (tsr_expr_uses_value(nest->ir, access->subs[d], nest->axes[axis].variable))
      return bytes;
  for (; elements > 1; elements /= 2)
    if (tsr_expr_divisible(nest->ir, rest, elements) &&
        tsr_expr_divisible(nest->ir, buffer->dims[access->rank - 1], elements) &&
        tsr_expr_divisible(nest->ir, nest->axes[axis].extent, elements))
      break;
  return elements * bytes;
}

/* Is some axis of the side longer than `run`, its elements at most a few apart? */
static bool lies_near(const tsr_nest *nest, const tsr_nest_access *access, const tsr_mma_side *side,
                      int64_t run) {
  enum { NEAR = 4 };
  for (uint32_t i = 0; i < side->count; i++) {
    const int64_t stride = tsr_nest_stride(nest, access, side->axes[i]);
    if (stride != 0 && stride >= -NEAR && stride <= NEAR && nest->axes[side->axes[i]].size > run)
      return true;
  }
  return false;
}

/* A constant of plain bytes that only this access reads, all axes of it of known extent. */
static bool can_pack(const tsr_nest *nest, const tsr_mma_problem *p,
                     const tsr_nest_access *access) {
  uint32_t rank = 2;
  for (uint32_t i = 0; i < nest->access_count; i++)
    if (&nest->accesses[i] != access && nest->accesses[i].kind != TSR_ACCESS_INDEX &&
        nest->accesses[i].buffer == access->buffer)
      return false;
  for (uint32_t i = 0; i < nest->axis_count; i++)
    if (!nest->axes[i].fixed && uses_axis(nest, access, i))
      return false;
  for (uint32_t i = 0; i < p->outer_count; i++)
    rank += uses_axis(nest, access, p->outer[i]) ? 1 : 0;
  for (uint32_t d = 0; d < access->rank; d++) {
    int64_t coefficients[TSR_NEST_AXES];
    tsr_expr leaves[TSR_NEST_AXES], rest = 0;
    for (uint32_t i = 0; i < nest->axis_count; i++)
      leaves[i] = nest->axes[i].leaf;
    if (!tsr_expr_linear(nest->ir, access->subs[d], leaves, nest->axis_count, coefficients, &rest))
      return false;
  }
  return p->k.fixed && rank <= TSR_MAX_RANK;
}

/* Do atoms of this type want both operands contiguous along the depth? */
static bool wants_depth(const tsr_nest *nest, tsr_dtype dtype) {
  return tsr_dtype_bits(dtype) == 8 || (dtype == TSR_F32 && nest->target->tf32);
}

/* `value` as it would stand in shared memory. */
static void read_operand(const tsr_nest *nest, const tsr_mma_problem *p, tsr_value value, int which,
                         tsr_mma_operand *out) {
  const tsr_op_data *op = definition(nest, value);
  const tsr_mma_side *side = which == 0 ? &p->m : &p->n;
  *out = (tsr_mma_operand){.value = value, .dtype = tsr_value_type(nest->ir, value)->dtype};
  out->load = largest_load(nest, value);
  if (out->load == NULL || op == NULL)
    return;
  const int along_k = contiguous_axis(nest, out->load, side_mask(&p->k));
  const int along_side = contiguous_axis(nest, out->load, side_mask(side));
  const tsr_attr *pad = tsr_op_attr(nest->ir, out->load->op, "pad");
  out->constant = nest->buffers[out->load->buffer].constant;
  out->plain = op == tsr_op_get(nest->ir, out->load->op) && !out->load->indirect &&
               (pad == NULL || tsr_op_float(nest->ir, out->load->op, "pad", 0) == 0) &&
               tsr_dtype_bits(out->dtype) >= 8;
  out->along_depth =
      along_k >= 0 && (along_side < 0 || nest->axes[along_k].size > nest->axes[along_side].size);
  /* A window's few neighbours are worse than elements that lie near each other along the side. */
  if (out->along_depth && nest->axes[along_k].size * tsr_dtype_bits(out->dtype) < SECTOR_BITS)
    out->along_depth = !lies_near(nest, out->load, side, nest->axes[along_k].size);
  out->run_bytes = tsr_dtype_bits(out->dtype) / 8;
  if (out->plain && out->along_depth)
    out->run_bytes = run_of(nest, out->load, (uint32_t)along_k, &p->k);
  else if (out->plain && along_side >= 0)
    out->run_bytes = run_of(nest, out->load, (uint32_t)along_side, side);
}

/* The factor without casts: its layout does not depend on the atom that is chosen. */
static void read_narrow(const tsr_nest *nest, const tsr_mma_problem *p, int which,
                        tsr_mma_operand *out) {
  read_operand(nest, p, narrowest(nest, which == 0 ? p->a : p->b), which, out);
  if (!out->plain || !out->constant)
    return;
  if (nest->buffers[out->load->buffer].map == NULL &&
      (!can_pack(nest, p, out->load) ||
       (out->run_bytes == RUN_BYTES && (out->along_depth || !wants_depth(nest, out->dtype)))))
    return;
  out->packed = out->along_depth = true;
  out->run_bytes = RUN_BYTES;
}

void tsr_mma_operand_of(tsr_nest *nest, const tsr_mma_problem *problem, const tsr_atom *atom,
                        int which, tsr_mma_operand *out_operand) {
  const tsr_value factor = which == 0 ? problem->a : problem->b;
  read_narrow(nest, problem, which, out_operand);
  if (out_operand->dtype == (which == 0 ? atom->a : atom->b) || out_operand->value == factor)
    return;
  const bool along_depth = out_operand->along_depth;
  read_operand(nest, problem, factor, which, out_operand);
  out_operand->along_depth = along_depth;
}

/* --- matching --- */

/* What both operands are contiguous along goes to the end of their sides. */
static void order_sides(const tsr_nest *nest, tsr_mma_problem *p, int store) {
  tsr_mma_operand a, b;
  const uint32_t m = side_mask(&p->m), n = side_mask(&p->n), k = side_mask(&p->k);
  read_operand(nest, p, narrowest(nest, p->a), 0, &a);
  read_operand(nest, p, narrowest(nest, p->b), 1, &b);
  const int a_depth = a.along_depth ? contiguous_axis(nest, a.load, k) : -1;
  const int b_depth = b.along_depth ? contiguous_axis(nest, b.load, k) : -1;
  const int b_side = b.along_depth ? -1 : contiguous_axis(nest, b.load, n);
  const bool stored = store >= 0 && in_mask(n, (uint32_t)store);
  make_side(nest, &p->m, m, a.along_depth ? -1 : contiguous_axis(nest, a.load, m));
  make_side(nest, &p->n, n, b_side >= 0 ? b_side : stored ? store : -1);
  make_side(nest, &p->k, k, a_depth >= 0 && (b_depth < 0 || !a.constant) ? a_depth : b_depth);
}

static bool match(const tsr_nest *nest, tsr_mma_problem *p) {
  const uint32_t par = live_axes(nest, false);
  *p = (tsr_mma_problem){.reduce = only_sum(nest)};
  if (p->reduce == 0)
    return false;
  tsr_value product = tsr_op_get(nest->ir, p->reduce)->operands[0].value;
  p->sum = tsr_value_type(nest->ir, product)->dtype;
  const tsr_op_data *op = definition(nest, product);
  if (op != NULL && op->code == TSR_OP_CAST && p->sum == TSR_F32 &&
      tsr_dtype_class_of(tsr_value_type(nest->ir, op->operands[0].value)->dtype) ==
          TSR_CLASS_FLOAT) {
    product = op->operands[0].value;
    op = definition(nest, product);
  }
  if (op == NULL || op->code != TSR_OP_MUL)
    return false;
  p->product = tsr_value_type(nest->ir, product)->dtype;
  p->a = op->operands[0].value;
  p->b = op->operands[1].value;
  if (!is_factor(nest, p->a) || !is_factor(nest, p->b))
    return false;
  const int store = store_axis(nest);
  const uint32_t va = nest->varies[p->a] & par, vb = nest->varies[p->b] & par;
  const bool in_a = store >= 0 && in_mask(va & ~vb, (uint32_t)store);
  const bool in_b = store >= 0 && in_mask(vb & ~va, (uint32_t)store);
  if (in_a || (!in_b && (vb & ~va) == 0)) {
    const tsr_value swap = p->a;
    p->a = p->b;
    p->b = swap;
  }
  const uint32_t m = nest->varies[p->a] & ~nest->varies[p->b] & par;
  const uint32_t n = nest->varies[p->b] & ~nest->varies[p->a] & par;
  make_side(nest, &p->m, m, -1);
  make_side(nest, &p->n, n, -1);
  make_side(nest, &p->k, live_axes(nest, true), -1);
  for (uint32_t i = 0; i < nest->par_count; i++)
    if (in_mask(par & ~m & ~n, i))
      p->outer[p->outer_count++] = i;
  order_sides(nest, p, store);
  return p->n.count > 0;
}

static bool sums_in(const tsr_mma_problem *p, tsr_dtype accumulator) {
  if (accumulator == TSR_F32)
    return p->sum == TSR_F32 || p->sum == TSR_F16 || p->sum == TSR_BF16;
  return p->sum == accumulator && p->product == accumulator;
}

static bool may_compute(tsr_nest *nest, const tsr_mma_problem *p, const tsr_atom *atom) {
  tsr_mma_operand a, b;
  const tsr_target *target = nest->target;
  const bool wgmma = atom->place == TSR_ATOM_MEMORY;
  if (atom->kind != TSR_TARGET_CUDA || atom->features > target->capability ||
      (wgmma && atom->features != target->capability) || !sums_in(p, atom->c) ||
      (atom->a == TSR_F32 && !target->tf32))
    return false;
  tsr_mma_operand_of(nest, p, atom, 0, &a);
  tsr_mma_operand_of(nest, p, atom, 1, &b);
  return a.dtype == atom->a && b.dtype == atom->b && (!wgmma || (a.plain && b.plain));
}

static const tsr_atom *fma_atom(const tsr_mma_problem *p) {
  char text[16];
  if (p->product != p->sum)
    return NULL;
  snprintf(text, sizeof text, "fma.%s", tsr_dtype_text(p->sum));
  const tsr_atom *atom = tsr_atom_find(text);
  return atom != NULL && atom->features == 0 ? atom : NULL;
}

static uint32_t list_atoms(tsr_nest *nest, const tsr_mma_problem *p, const tsr_atom **list) {
  uint32_t count = 0;
  for (int wgmma = 1; wgmma >= 0; wgmma--)
    for (unsigned i = 0; tsr_atom_at(i) != NULL && count + 1 < TSR_MMA_ATOMS; i++) {
      const tsr_atom *atom = tsr_atom_at(i);
      if ((atom->place == TSR_ATOM_MEMORY) == (wgmma == 1) && may_compute(nest, p, atom))
        list[count++] = atom;
    }
  const tsr_atom *fma = fma_atom(p);
  if (fma != NULL)
    list[count++] = fma;
  return count;
}

const tsr_mma_problem *tsr_mma_match(tsr_nest *nest) {
  const tsr_atom *atoms[TSR_MMA_ATOMS];
  if (nest->mma_matched || nest->target->kind != TSR_TARGET_CUDA)
    return nest->mma;
  tsr_mma_problem *p = tsr_arena_alloc(nest->arena, sizeof *p);
  nest->mma_matched = true;
  if (p == NULL)
    (void)tsr_ir_poison(nest->ir, TSR_ERR_OUT_OF_MEMORY, "out of memory in tiling");
  else if (match(nest, p) && list_atoms(nest, p, atoms) > 0)
    nest->mma = p;
  return nest->mma;
}

bool tsr_mma_atoms(tsr_nest *nest, const tsr_atom *list[TSR_MMA_ATOMS], uint32_t *out_count) {
  const tsr_mma_problem *p = tsr_mma_match(nest);
  *out_count = p != NULL ? list_atoms(nest, p, list) : 0;
  return p != NULL;
}

tsr_expr tsr_mma_guarded(tsr_nest *nest) {
  const tsr_mma_problem *p = tsr_mma_match(nest);
  if (p == NULL)
    return 0;
  return !p->m.fixed ? p->m.extent : !p->n.fixed ? p->n.extent : 0;
}

/* --- the layout of constants --- */

static tsr_expr flat_leaf(const tsr_nest *nest, const tsr_mma_side *side) {
  tsr_expr flat = tsr_expr_int(nest->ir, 0);
  for (uint32_t i = 0; i < side->count; i++)
    flat = tsr_expr_add(nest->ir, tsr_expr_mul(nest->ir, flat, nest->axes[side->axes[i]].extent),
                        nest->axes[side->axes[i]].leaf);
  return flat;
}

bool tsr_mma_leaves(const tsr_nest *nest, const tsr_nest_access *access, const tsr_mma_side *side) {
  if (side->count == 0)
    return true;
  const tsr_nest_axis *axis = &nest->axes[side->axes[0]];
  for (uint32_t d = 0; d < access->rank; d++) {
    int64_t coefficient = 0;
    tsr_expr rest = 0;
    if (!tsr_expr_linear(nest->ir, access->subs[d], &axis->leaf, 1, &coefficient, &rest) ||
        coefficient < 1)
      continue;
    const tsr_expr first =
        tsr_expr_add(nest->ir, tsr_expr_mul_int(nest->ir, axis->extent, coefficient), rest);
    if (tsr_expr_prove_nonnegative(
            nest->ir, tsr_expr_sub(nest->ir, first, nest->buffers[access->buffer].dims[d]), NULL,
            0))
      return true;
  }
  return false;
}

tsr_expr tsr_mma_beyond(tsr_nest *nest, const tsr_mma_side *side, tsr_expr at) {
  const int64_t far = INT64_C(1) << 40;
  return tsr_expr_mul_int(nest->ir, tsr_expr_binary(nest->ir, TSR_INDEX_LE, side->extent, at), far);
}

uint32_t tsr_mma_decode(tsr_nest *nest, const tsr_mma_side *side, tsr_expr at, tsr_expr *out_from,
                        tsr_expr *out_to) {
  tsr_ir *ir = nest->ir;
  tsr_expr inner = tsr_expr_int(ir, 1);
  for (uint32_t i = side->count; i-- > 0;) {
    const tsr_nest_axis *axis = &nest->axes[side->axes[i]];
    out_from[i] = axis->leaf;
    out_to[i] = tsr_expr_binary(ir, TSR_INDEX_FLOORDIV, at, inner);
    if (i > 0)
      out_to[i] = tsr_expr_binary(ir, TSR_INDEX_MOD, out_to[i], axis->extent);
    inner = tsr_expr_mul(ir, inner, axis->extent);
  }
  return side->count;
}

/* [outer.., side, depth], the depth up to whole 16 bytes: what lies beyond reads as 0. */
static void pack(tsr_nest *nest, const tsr_mma_problem *p, const tsr_mma_operand *operand,
                 const tsr_mma_side *side) {
  tsr_ir *ir = nest->ir;
  tsr_nest_access *access = operand->load;
  tsr_nest_buffer *buffer = &nest->buffers[access->buffer];
  const int64_t unit = RUN_BYTES * 8 / tsr_dtype_bits(operand->dtype);
  tsr_expr from[TSR_NEST_AXES], to[TSR_NEST_AXES], subs[TSR_MAX_RANK], dims[TSR_MAX_RANK];
  tsr_expr *map = tsr_arena_alloc_array(nest->arena, TSR_MAX_RANK, sizeof *map);
  uint32_t rank = 0, count = 0;
  if (map == NULL) {
    (void)tsr_ir_poison(ir, TSR_ERR_OUT_OF_MEMORY, "out of memory in tiling");
    return;
  }
  for (uint32_t i = 0; i < p->outer_count; i++) {
    const tsr_nest_axis *axis = &nest->axes[p->outer[i]];
    if (!uses_axis(nest, access, p->outer[i]))
      continue;
    from[count] = subs[rank] = axis->leaf;
    dims[rank] = axis->extent;
    to[count++] = tsr_expr_lane(ir, rank++);
  }
  subs[rank] = flat_leaf(nest, side);
  dims[rank] = side->extent;
  count += tsr_mma_decode(nest, side, tsr_expr_lane(ir, rank++), from + count, to + count);
  subs[rank] = flat_leaf(nest, &p->k);
  dims[rank] = tsr_expr_mul_int(ir, tsr_expr_ceildiv_int(ir, p->k.extent, unit), unit);
  const uint32_t depth = count;
  count += tsr_mma_decode(nest, &p->k, tsr_expr_lane(ir, rank), from + count, to + count);
  if (!tsr_mma_leaves(nest, access, &p->k))
    to[depth] = tsr_expr_add(ir, to[depth], tsr_mma_beyond(nest, &p->k, tsr_expr_lane(ir, rank)));
  rank++;
  for (uint32_t d = 0; d < access->rank; d++)
    map[d] = tsr_expr_substitute(ir, access->subs[d], from, to, count);
  buffer->map = map;
  buffer->map_rank = access->rank;
  memcpy(buffer->map_dims, buffer->dims, access->rank * sizeof *buffer->dims);
  buffer->rank = buffer->packed_rank = access->rank = rank;
  memcpy(buffer->packed_dims, dims, rank * sizeof *dims);
  memcpy(buffer->dims, dims, rank * sizeof *dims);
  memcpy(access->subs, subs, rank * sizeof *subs);
}

void tsr_mma_layout(tsr_nest *nest) {
  const tsr_mma_problem *p = tsr_mma_match(nest);
  for (int which = 0; p != NULL && which < 2; which++) {
    tsr_mma_operand operand;
    read_narrow(nest, p, which, &operand);
    if (operand.packed && nest->buffers[operand.load->buffer].map == NULL)
      pack(nest, p, &operand, which == 0 ? &p->m : &p->n);
  }
}
