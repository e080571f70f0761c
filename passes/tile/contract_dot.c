/* Which contractions the atoms with k-groups can take, and the parts of strategy "contract" that
 * differ for them: panels of constants and the loop over the depth. */
#include "passes/tile/contract_dot.h"
#include "passes/tile/contract_parts.h"
#include "passes/tile/default.h"
#include <string.h>

/* --- which contractions --- */

/* The value in front of the cast that widens it. */
static tsr_value before_cast(const tsr_nest *nest, tsr_value value) {
  const tsr_value_data *data = tsr_value_get(nest->ir, value);
  if (data->role != TSR_ROLE_RESULT || data->def == nest->op)
    return 0;
  const tsr_op_data *op = tsr_op_get(nest->ir, data->def);
  return op->code == TSR_OP_CAST ? op->operands[0].value : 0;
}

static bool take_narrow(const tsr_nest *nest, tsr_contract_operand *operand) {
  const tsr_value value = before_cast(nest, operand->value);
  if (value == 0)
    return false;
  operand->value = value;
  /* What is computed from a constant is computed while it is copied. */
  const tsr_value_data *data = tsr_value_get(nest->ir, value);
  operand->packable = operand->packable && data->def == operand->main->op;
  operand->bytes = (tsr_dtype_bits(tsr_value_type(nest->ir, value)->dtype) + 7) / 8;
  return true;
}

static tsr_dtype dtype_of(const tsr_nest *nest, const tsr_contract_operand *operand) {
  return tsr_value_type(nest->ir, operand->value)->dtype;
}

/* Sums by tiles are whole registers: what these have beyond an axis's end must not be stored. */
static bool in_registers(const tsr_nest *nest, const tsr_atom *atom, int axis) {
  return atom->place != TSR_ATOM_MEMORY || tsr_contract_ends(nest, axis) ||
         (nest->axes[axis].fixed && nest->axes[axis].size % (int64_t)atom->m == 0);
}

/* Vectors multiply unsigned bytes by signed ones; which operand is which is free. */
static bool atom_fits(const tsr_nest *nest, const tsr_contraction *c, const tsr_atom *atom) {
  const tsr_dtype a = dtype_of(nest, &c->a), b = dtype_of(nest, &c->b);
  return atom->kind == TSR_TARGET_CPU && (atom->k > 1 || atom->parts > 1) &&
         atom->parts == c->parts && atom->c == c->dtype &&
         (atom->features & ~nest->target->cpu_features) == 0 && in_registers(nest, atom, c->m) &&
         in_registers(nest, atom, c->n) &&
         ((atom->a == a && atom->b == b) || (atom->a == b && atom->b == a));
}

static uint32_t atoms_of(const tsr_nest *nest, const tsr_contraction *c,
                         const tsr_atom *out_atoms[TSR_CONTRACT_ATOMS]) {
  uint32_t count = 0;
  for (unsigned i = 0; tsr_atom_at(i) != NULL && count < TSR_CONTRACT_ATOMS; i++)
    if (atom_fits(nest, c, tsr_atom_at(i)))
      out_atoms[count++] = tsr_atom_at(i);
  return count;
}

static int64_t unit_of(const tsr_nest *nest, const tsr_contraction *c) {
  const tsr_atom *atoms[TSR_CONTRACT_ATOMS];
  int64_t unit = 1;
  for (uint32_t i = atoms_of(nest, c, atoms); i-- > 0;)
    unit = atoms[i]->k > unit ? atoms[i]->k : unit;
  return unit;
}

/* A group lies along one axis: that along which a operand is contiguous that is copied, else the
 * one that pads least, then the longest. */
static void order_depth(const tsr_nest *nest, tsr_contraction *c, int64_t unit) {
  uint32_t best = c->depth_count - 1;
  if (c->a.packable || c->a.depth_axis < 0)
    for (uint32_t i = 0; i < c->depth_count; i++) {
      const int64_t now = nest->axes[c->depth[best]].size, size = nest->axes[c->depth[i]].size;
      const bool is_whole = size % unit == 0, was_whole = now % unit == 0;
      if (is_whole != was_whole ? is_whole : size > now)
        best = i;
    }
  const uint32_t axis = c->depth[best];
  memmove(c->depth + best, c->depth + best + 1, (c->depth_count - best - 1) * sizeof *c->depth);
  c->depth[c->depth_count - 1] = axis;
}

/* Positions beyond the axis's end read zeros: they must be outside of the constant. */
static bool pads_by_zeros(const tsr_nest *nest, const tsr_contract_operand *operand, uint32_t axis,
                          int64_t unit) {
  const tsr_nest_access *access = operand->main;
  if (!operand->packable || nest->axes[axis].size % unit == 0)
    return true;
  for (uint32_t d = 0; d < access->rank; d++)
    if (access->subs[d] == nest->axes[axis].leaf &&
        tsr_expr_equals_int(nest->ir, nest->buffers[access->buffer].dims[d], nest->axes[axis].size))
      return true;
  return false;
}

static bool find_narrow(tsr_nest *nest, tsr_contraction *c) {
  const tsr_contraction *wide =
      nest->target->kind == TSR_TARGET_CPU ? tsr_contract_match(nest) : NULL;
  const tsr_atom *atoms[TSR_CONTRACT_ATOMS];
  if (wide == NULL || wide->direct || wide->m < 0 || wide->few_rows || !wide->depth_fixed ||
      wide->depth_count == 0 || wide->depth_size < 1)
    return false;
  *c = *wide;
  c->tap = -1;
  if (!tsr_contract_parts_match(nest, c) &&
      (!take_narrow(nest, &c->a) || !take_narrow(nest, &c->b)))
    return false;
  if (atoms_of(nest, c, atoms) == 0)
    return false;
  const int64_t unit = unit_of(nest, c);
  order_depth(nest, c, unit);
  const uint32_t last = c->depth[c->depth_count - 1];
  return pads_by_zeros(nest, &c->a, last, unit) && pads_by_zeros(nest, &c->b, last, unit);
}

static bool copies_a(const tsr_contraction *c) {
  return !c->a.packable;
}

static bool copies_b(const tsr_contraction *c) {
  return !c->b.packable || c->flat;
}

const tsr_contraction *tsr_contract_narrow(tsr_nest *nest) {
  if (nest->narrow_matched)
    return nest->narrow;
  nest->narrow_matched = true;
  tsr_contraction *c = tsr_arena_alloc(nest->arena, sizeof *c);
  if (c == NULL) {
    (void)tsr_ir_poison(nest->ir, TSR_ERR_OUT_OF_MEMORY, "out of memory in tiling");
    return NULL;
  }
  if (!find_narrow(nest, c))
    return NULL;
  tsr_contract_emit e = {
      .nest = nest, .ir = nest->ir, .c = c, .pack_a = copies_a(c), .pack_b = copies_b(c)};
  tsr_contract_flatten(&e);
  nest->narrow = e.depth_flat ? c : NULL;
  return nest->narrow;
}

uint32_t tsr_contract_atoms(tsr_nest *nest, const tsr_atom *out_atoms[TSR_CONTRACT_ATOMS]) {
  const tsr_contraction *c = tsr_contract_narrow(nest);
  return c == NULL ? 0 : atoms_of(nest, c, out_atoms);
}

int64_t tsr_contract_unit(tsr_nest *nest) {
  const tsr_contraction *c = tsr_contract_narrow(nest);
  return c == NULL ? 1 : unit_of(nest, c);
}

const tsr_contraction *tsr_contract_of(tsr_nest *nest, const tsr_schedule *schedule) {
  return schedule->atom == NULL ? tsr_contract_match(nest) : tsr_contract_narrow(nest);
}

void tsr_contract_dot_begin(tsr_contract_emit *e, const tsr_schedule *schedule) {
  enum { GROUP_BITS = 32, PART_BITS = 16 };
  e->atom = schedule->atom;
  e->group = e->parts = 1;
  if (e->atom == NULL)
    return;
  e->parts = e->atom->parts;
  e->part = tsr_expr_lane(e->ir, 6) /* beside the flat depth's */;
  e->group = GROUP_BITS / (e->parts > 1 ? PART_BITS : (int64_t)tsr_dtype_bits(e->atom->b));
  e->unit = tsr_contract_unit(e->nest);
}

/* --- panels of constants --- */

typedef struct panel_form {
  tsr_contract_emit *e;
  tsr_nest_access *access;
  tsr_expr from[TSR_NEST_AXES + 1], to[TSR_NEST_AXES + 1]; /* leaves to lanes of the panels */
  uint32_t count;
  tsr_expr subs[TSR_MAX_RANK], dims[TSR_MAX_RANK];
  uint32_t rank;
  int parts_axis;
} panel_form;

static tsr_expr add_dim(panel_form *f, tsr_expr sub, tsr_expr extent) {
  if (f->rank >= TSR_MAX_RANK) {
    (void)tsr_ir_poison(f->e->ir, TSR_ERR_LIMIT, "a constant of too many axes");
    return tsr_expr_int(f->e->ir, 0);
  }
  f->subs[f->rank] = sub;
  f->dims[f->rank] = extent;
  return tsr_expr_lane(f->e->ir, f->rank++);
}

static void map_leaf(panel_form *f, tsr_expr leaf, tsr_expr to) {
  f->from[f->count] = leaf;
  f->to[f->count++] = to;
}

static void add_axis(panel_form *f, uint32_t axis) {
  const tsr_nest_axis *at = &f->e->nest->axes[axis];
  for (uint32_t d = 0; d < f->access->rank; d++)
    if (tsr_expr_uses_value(f->e->ir, f->access->subs[d], at->variable)) {
      map_leaf(f, at->leaf, add_dim(f, at->leaf, at->extent));
      return;
    }
}

/* [outer.., panel, row, depth..] for a, [outer.., panel, depth.., group, column * k] for b; parts
 * are behind the panel. */
static void set_layout(panel_form *f, const tsr_contract_side *side) {
  tsr_contract_emit *e = f->e;
  tsr_ir *ir = e->ir;
  const tsr_contraction *c = e->c;
  const tsr_nest_axis *own = &e->nest->axes[side->axis];
  const tsr_nest_axis *last = &e->nest->axes[c->depth[c->depth_count - 1]];
  const int64_t padded = up_to(last->size, e->unit);
  for (uint32_t i = 0; i < c->outer_count; i++)
    add_axis(f, c->outer[i]);
  tsr_expr at =
      add_dim(f, side->leaves[TSR_SIDE_PANEL], tsr_expr_ceildiv_int(ir, own->extent, side->tile));
  at = tsr_expr_mul_int(ir, at, side->tile);
  if (e->parts > 1) {
    f->parts_axis = (int)f->rank;
    (void)add_dim(f, e->part, tsr_expr_int(ir, e->parts));
  }
  if (side->lane == 0)
    map_leaf(f, own->leaf,
             tsr_expr_add(ir, at,
                          add_dim(f, side->leaves[TSR_SIDE_LANE], tsr_expr_int(ir, side->tile))));
  for (uint32_t i = 0; i + 1 < c->depth_count; i++)
    add_axis(f, c->depth[i]);
  if (side->lane == 0) {
    map_leaf(f, last->leaf, add_dim(f, last->leaf, tsr_expr_int(ir, padded)));
    return;
  }
  tsr_expr group = add_dim(f, 0, tsr_expr_int(ir, padded / e->group));
  tsr_expr word = add_dim(f, 0, tsr_expr_int(ir, side->tile * e->group));
  map_leaf(f, own->leaf, tsr_expr_add(ir, at, tsr_expr_floordiv_int(ir, word, e->group)));
  map_leaf(f, last->leaf,
           tsr_expr_add(ir, tsr_expr_mul_int(ir, group, e->group),
                        tsr_expr_mod_int(ir, word, e->group)));
}

/* Kernels see the depth axes as one. */
static void flatten_view(panel_form *f, const tsr_contract_side *side) {
  tsr_contract_emit *e = f->e;
  tsr_ir *ir = e->ir;
  f->rank -= e->c->depth_count + (side->lane == 1);
  if (side->lane == 0) {
    (void)add_dim(f, e->depth_index, tsr_expr_int(ir, e->depth_total));
    return;
  }
  (void)add_dim(f, tsr_expr_floordiv_int(ir, e->depth_index, e->group),
                tsr_expr_int(ir, e->depth_total / e->group));
  (void)add_dim(f,
                tsr_expr_add(ir, tsr_expr_mul_int(ir, side->leaves[TSR_SIDE_LANE], e->group),
                             tsr_expr_mod_int(ir, e->depth_index, e->group)),
                tsr_expr_int(ir, side->tile * e->group));
}

void tsr_contract_dot_panel(tsr_contract_emit *e, const tsr_contract_operand *operand,
                            const tsr_contract_side *side) {
  tsr_ir *ir = e->ir;
  panel_form f = {.e = e, .access = operand->main};
  tsr_nest_buffer *buffer = &e->nest->buffers[f.access->buffer];
  tsr_expr *map = tsr_arena_alloc_array(e->nest->arena, TSR_MAX_RANK, sizeof *map);
  if (map == NULL) {
    (void)tsr_ir_poison(ir, TSR_ERR_OUT_OF_MEMORY, "out of memory in tiling");
    return;
  }
  set_layout(&f, side);
  for (uint32_t d = 0; d < f.access->rank; d++)
    map[d] = tsr_expr_substitute(ir, f.access->subs[d], f.from, f.to, f.count);
  buffer->map = map;
  buffer->map_rank = f.access->rank;
  memcpy(buffer->map_dims, buffer->dims, f.access->rank * sizeof *buffer->dims);
  buffer->parts_axis = f.parts_axis;
  buffer->packed_rank = f.rank;
  memcpy(buffer->packed_dims, f.dims, f.rank * sizeof *f.dims);
  flatten_view(&f, side);
  buffer->rank = f.access->rank = f.rank;
  memcpy(buffer->dims, f.dims, f.rank * sizeof *f.dims);
  memcpy(f.access->subs, f.subs, f.rank * sizeof *f.subs);
}

/* --- the loop over the depth --- */

/* The operand where it lies: a copy in scratch, or a constant in panels. */
static void add_place(tsr_contract_emit *e, tsr_op op, const tsr_contract_operand *operand) {
  const tsr_body *body = &e->body;
  const tsr_nest_access *access = operand->main;
  tsr_value buffer = e->nest->buffers[access->buffer].arg;
  const tsr_expr *from = access->subs;
  uint32_t rank = access->rank;
  tsr_expr subs[TSR_NEST_AXES + 2];
  for (uint32_t i = 0; i < e->stored_count; i++)
    if (body->stored[i].value == operand->value) {
      buffer = body->stored[i].buffer;
      from = body->stored[i].subs;
      rank = body->stored[i].rank;
    }
  for (uint32_t d = 0; d < rank; d++)
    subs[d] = tsr_body_expr(body, from[d]);
  tsr_op_add_element(e->ir, op, buffer, subs, rank);
}

static void bind_part(tsr_contract_emit *e, int part) {
  if (e->parts > 1)
    tsr_contract_bind_leaf(&e->body, e->part, tsr_expr_int(e->ir, part));
}

tsr_value tsr_contract_dot_product(tsr_contract_emit *e, const char *atom, tsr_value acc,
                                   tsr_expr at, int64_t depth, int part_a, int part_b) {
  tsr_body *body = &e->body;
  tsr_ir *ir = e->ir;
  tsr_op op = tsr_op_append(ir, body->region, TSR_OP_CONTRACT);
  bind_part(e, part_a);
  tsr_contract_bind_leaf(body, e->depth_index, tsr_expr_add(ir, at, tsr_expr_lane(ir, 1)));
  add_place(e, op, &e->c->a);
  bind_part(e, part_b);
  tsr_contract_bind_leaf(body, e->depth_index, tsr_expr_add(ir, at, tsr_expr_lane(ir, 0)));
  add_place(e, op, &e->c->b);
  tsr_op_add_operand(ir, op, acc);
  tsr_op_set_string(ir, op, "atom", atom);
  tsr_op_set_int(ir, op, "k", depth);
  return tsr_op_add_result(ir, op,
                           tsr_tile_type(ir, e->c->dtype, body->extents[0], body->extents[1]));
}

tsr_value tsr_contract_dot_loop(tsr_contract_emit *e, tsr_value acc) {
  tsr_body *body = &e->body;
  tsr_ir *ir = e->ir;
  const tsr_region outer = body->region;
  const tsr_expr lo = tsr_expr_mul_int(ir, e->depth_first, e->depth_outer);
  if (e->parts > 1)
    return tsr_contract_parts_loop(e, acc);
  if (e->atom->place == TSR_ATOM_MEMORY)
    return tsr_contract_dot_product(e, e->atom->text, acc, lo, e->depth_block, 0, 0);
  tsr_tile_loop loop = tsr_tile_for(ir, outer, tsr_expr_int(ir, 0),
                                    tsr_expr_int(ir, e->depth_block / e->group), &acc, 1);
  if (e->unroll > 1)
    tsr_op_set_int(ir, loop.op, "unroll", e->unroll);
  body->region = loop.body;
  const tsr_value next = tsr_contract_dot_product(
      e, e->atom->text, loop.carried[0],
      tsr_expr_add(ir, lo, tsr_expr_mul_int(ir, loop.index, e->group)), e->group, 0, 0);
  tsr_tile_yield(ir, loop.body, &next, 1);
  body->region = outer;
  return loop.op == 0 ? 0 : tsr_op_get(ir, loop.op)->results[0];
}
