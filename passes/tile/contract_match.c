/* Is the block a product of two operands summed over a depth, and how should it be walked? */
#include "passes/tile/contract.h"
#include <string.h>

/* Along a row of pixels, which are straight code at its ends. */
enum { MOST_LINE_TAPS = 11 };

static bool in_mask(uint32_t mask, uint32_t axis) {
  return (mask >> axis & 1) != 0;
}

static uint32_t par_mask(const tsr_nest *nest) {
  uint32_t mask = 0;
  for (uint32_t i = 0; i < nest->par_count; i++)
    if (!nest->axes[i].gone)
      mask |= 1u << i;
  return mask;
}

static tsr_op only_reduce(const tsr_nest *nest) {
  tsr_op found = 0;
  if (nest->reduce_count != 1 || nest->proc)
    return 0;
  TSR_FOR_EACH_OP (nest->ir, tsr_op_get(nest->ir, nest->op)->regions[0], op)
    if (tsr_op_get(nest->ir, op)->code == TSR_OP_REDUCE)
      found = op;
  return found;
}

static const char *atom_of(tsr_dtype dtype) {
  for (unsigned i = 0; tsr_atom_at(i) != NULL; i++) {
    const tsr_atom *atom = tsr_atom_at(i);
    if (atom->kind == TSR_TARGET_CPU && atom->m == 1 && atom->k == 1 && atom->features == 0 &&
        atom->a == dtype && atom->b == dtype && atom->c == dtype)
      return atom->text;
  }
  return NULL;
}

/* Accesses (a mask by number) that the value reads through. */
static uint64_t accesses_from(const tsr_nest *nest, tsr_value value) {
  const tsr_value_data *data = tsr_value_get(nest->ir, value);
  uint64_t mask = 0;
  if (data->role != TSR_ROLE_RESULT || data->def == nest->op || !tsr_nest_first_look(nest, value))
    return 0;
  const tsr_op_data *op = tsr_op_get(nest->ir, data->def);
  for (uint32_t i = 0; i < nest->access_count && i < 64; i++)
    if (nest->accesses[i].op == data->def)
      mask |= UINT64_C(1) << i;
  for (uint32_t i = 0; i < op->operand_count; i++)
    if (!op->operands[i].subscripted)
      mask |= accesses_from(nest, op->operands[i].value);
  return mask;
}

static uint64_t accesses_under(const tsr_nest *nest, tsr_value value) {
  tsr_nest_new_walk(nest);
  return accesses_from(nest, value);
}

/* What was looked at before in this walk was simple, or the walk had ended. */
static bool is_simple(const tsr_nest *nest, tsr_value value) {
  const tsr_value_data *data = tsr_value_get(nest->ir, value);
  if (data->role != TSR_ROLE_RESULT)
    return false;
  if (!tsr_nest_first_look(nest, value))
    return true;
  const tsr_op_data *op = tsr_op_get(nest->ir, data->def);
  if (op->region_count > 0 || op->code == TSR_OP_GATHER_LOAD)
    return false;
  for (uint32_t i = 0; i < op->operand_count; i++)
    if (!op->operands[i].subscripted && !is_simple(nest, op->operands[i].value))
      return false;
  return true;
}

static unsigned axes_of(const tsr_nest *nest, const tsr_nest_access *access) {
  unsigned count = 0;
  for (uint32_t i = 0; i < nest->axis_count; i++)
    for (uint32_t d = 0; d < access->rank; d++)
      if (tsr_expr_uses_value(nest->ir, access->subs[d], nest->axes[i].variable)) {
        count++;
        break;
      }
  return count;
}

/* Whether a subscript can be outside for some point of the block. */
static bool leaves_buffer(const tsr_nest *nest, const tsr_nest_access *access) {
  for (uint32_t d = 0; d < access->rank; d++) {
    const tsr_expr last = tsr_expr_add_int(nest->ir, nest->buffers[access->buffer].dims[d], -1);
    if (!tsr_expr_prove_nonnegative(nest->ir, access->subs[d], NULL, 0) ||
        !tsr_expr_prove_nonnegative(nest->ir, tsr_expr_sub(nest->ir, last, access->subs[d]), NULL,
                                    0))
      return true;
  }
  return false;
}

/* A constant of plain bytes that only this access reads, every axis of known extent. */
static bool can_panel(const tsr_nest *nest, const tsr_nest_access *access) {
  const tsr_nest_buffer *buffer = &nest->buffers[access->buffer];
  if (!buffer->constant || access->indirect || tsr_op_attr(nest->ir, access->op, "pad") != NULL)
    return false;
  for (uint32_t i = 0; i < nest->access_count; i++)
    if (&nest->accesses[i] != access && nest->accesses[i].kind != TSR_ACCESS_INDEX &&
        nest->accesses[i].buffer == access->buffer)
      return false;
  for (uint32_t d = 0; d < access->rank; d++)
    for (uint32_t i = 0; i < nest->axis_count; i++)
      if (!nest->axes[i].fixed &&
          tsr_expr_uses_value(nest->ir, access->subs[d], nest->axes[i].variable))
        return false;
  return true;
}

static void read_operand(const tsr_nest *nest, tsr_value value, int side,
                         tsr_contract_operand *out) {
  const uint64_t under = accesses_under(nest, value);
  unsigned most = 0;
  *out = (tsr_contract_operand){.value = value, .varies = nest->varies[value], .depth_axis = -1};
  out->bytes = (tsr_dtype_bits(tsr_value_type(nest->ir, value)->dtype) + 7) / 8;
  for (uint32_t i = 0; i < nest->access_count && i < 64; i++) {
    tsr_nest_access *access = &nest->accesses[i];
    if ((under >> i & 1) == 0 || access->kind != TSR_ACCESS_LOAD)
      continue;
    if (out->main == NULL || axes_of(nest, access) > most) {
      out->main = access;
      most = axes_of(nest, access);
    }
  }
  if (out->main == NULL)
    return;
  out->side_stride = side >= 0 ? tsr_nest_stride(nest, out->main, (uint32_t)side) : 0;
  for (uint32_t i = nest->par_count; i < nest->axis_count; i++)
    if (!nest->axes[i].gone && tsr_nest_stride(nest, out->main, i) == 1)
      out->depth_axis = (int)i;
  out->constant = nest->buffers[out->main->buffer].constant;
  out->packable = side >= 0 && out->side_stride != 0 && can_panel(nest, out->main);
  out->checked = leaves_buffer(nest, out->main);
  out->alone = true;
  for (uint32_t i = 0; i < nest->access_count && i < 64; i++)
    if ((under >> i & 1) != 0 && &nest->accesses[i] != out->main)
      for (uint32_t k = nest->par_count; k < nest->axis_count; k++)
        for (uint32_t d = 0; d < nest->accesses[i].rank; d++)
          out->alone = out->alone && !tsr_expr_uses_value(nest->ir, nest->accesses[i].subs[d],
                                                          nest->axes[k].variable);
}

/* The par variable that the first store is contiguous along. */
static int lane_axis(const tsr_nest *nest) {
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

static int largest_axis(const tsr_nest *nest, uint32_t mask) {
  int best = -1;
  for (uint32_t i = 0; i < nest->axis_count; i++)
    if (in_mask(mask, i) && !nest->axes[i].gone &&
        (best < 0 || nest->axes[i].size >= nest->axes[best].size))
      best = (int)i;
  return best;
}

/* Another column variable whose rows the output keeps end to end: n then runs through both. */
static void flatten(tsr_nest *nest, tsr_contraction *c, uint32_t own) {
  const uint64_t spare = accesses_under(nest, c->b.value);
  const uint32_t x = (uint32_t)c->n;
  const tsr_nest_axis inner = nest->axes[x];
  if (!inner.fixed || inner.size < 1 || nest->access_count > 64 || c->b.constant)
    return;
  for (uint32_t i = nest->par_count; i < nest->axis_count; i++)
    if (!nest->axes[i].gone && !nest->axes[i].fixed)
      return;
  for (uint32_t y = 0; y < nest->par_count; y++) {
    if (y == x || !in_mask(own, y) || nest->axes[y].gone)
      continue;
    const tsr_expr rows = nest->axes[y].extent;
    const int64_t rows_size = nest->axes[y].size;
    if (!tsr_nest_join_pair(nest, y, x, spare))
      continue;
    c->flat = true;
    c->flat_x = x;
    c->flat_rows = rows;
    c->flat_rows_size = rows_size;
    c->flat_width = inner.size;
    c->n = (int)y;
    return;
  }
}

/* Taps outermost, those along the rows of an image first: what is beyond an edge is left out as a
 * whole, and the loop over the rest has one tap, whose pixels no other wants to find in registers.
 */
static void order_taps(tsr_contraction *c) {
  uint32_t count = 0, order[TSR_NEST_AXES];
  if (c->line[0].tap >= 0)
    order[count++] = (uint32_t)c->line[0].tap;
  if (c->line[1].tap >= 0)
    order[count++] = (uint32_t)c->line[1].tap;
  for (uint32_t i = 0; i < c->depth_count; i++)
    if ((int)c->depth[i] != c->line[0].tap && (int)c->depth[i] != c->line[1].tap)
      order[count++] = c->depth[i];
  memcpy(c->depth, order, count * sizeof *order);
}

/* The axis along which a is contiguous goes innermost. */
static void order_depth(const tsr_nest *nest, tsr_contraction *c) {
  c->depth_fixed = true;
  c->depth_size = 1;
  for (uint32_t i = nest->par_count; i < nest->axis_count; i++) {
    if (nest->axes[i].gone)
      continue;
    c->depth_fixed = c->depth_fixed && nest->axes[i].fixed;
    c->depth_size *= nest->axes[i].size;
    if ((int)i != c->a.depth_axis)
      c->depth[c->depth_count++] = i;
  }
  if (c->a.depth_axis >= 0)
    c->depth[c->depth_count++] = (uint32_t)c->a.depth_axis;
  if (c->direct)
    order_taps(c);
}

static bool uses(const tsr_nest *nest, const tsr_nest_access *access, uint32_t axis, int but) {
  for (uint32_t d = 0; d < access->rank; d++)
    if ((int)d != but && tsr_expr_uses_value(nest->ir, access->subs[d], nest->axes[axis].variable))
      return true;
  return false;
}

/* Is this axis a tap of the rows y, through subscript `d` of b? Then the steps of both. */
static bool is_tap(const tsr_nest *nest, const tsr_contraction *c, uint32_t axis, uint32_t d,
                   int64_t steps[2]) {
  enum { MOST_TAPS = 16, MOST_STEP = 4 };
  const uint32_t y = (uint32_t)c->n;
  const tsr_nest_access *access = c->b.main;
  const tsr_expr leaves[2] = {nest->axes[y].leaf, nest->axes[axis].leaf};
  tsr_expr rest = 0;
  steps[0] = steps[1] = 0;
  return nest->axes[axis].fixed && nest->axes[axis].size <= MOST_TAPS &&
         tsr_expr_linear(nest->ir, access->subs[d], leaves, 2, steps, &rest) && steps[0] > 0 &&
         steps[1] > 0 && (steps[0] == 1 || steps[1] == 1) && steps[0] <= MOST_STEP &&
         steps[0] < nest->axes[axis].size && !uses(nest, access, axis, (int)d) &&
         !uses(nest, access, y, (int)d);
}

/* A tap goes last in the depth. Nothing else of b may vary with y. */
static void find_tap(const tsr_nest *nest, tsr_contraction *c) {
  const tsr_nest_access *access = c->b.main;
  const uint64_t under = accesses_under(nest, c->b.value);
  if (!c->flat || !c->a.packable || !c->b.alone || access->indirect || c->depth_count < 2)
    return;
  for (uint32_t i = 0; i < nest->access_count && i < 64; i++)
    if ((under >> i & 1) != 0 && &nest->accesses[i] != access &&
        uses(nest, &nest->accesses[i], (uint32_t)c->n, -1))
      return;
  for (uint32_t d = 0; d < access->rank; d++)
    for (uint32_t i = 0; i < c->depth_count; i++) {
      const uint32_t axis = c->depth[i];
      int64_t steps[2];
      if (!is_tap(nest, c, axis, d, steps))
        continue;
      c->tap = (int)axis;
      c->tap_size = nest->axes[axis].size;
      c->row_step = steps[0];
      c->tap_step = steps[1];
      memmove(c->depth + i, c->depth + i + 1, (c->depth_count - i - 1) * sizeof *c->depth);
      c->depth[c->depth_count - 1] = axis;
      return;
    }
}

/* 0: not known. */
static int64_t fixed_depth(const tsr_nest *nest) {
  int64_t depth = 1;
  for (uint32_t i = nest->par_count; i < nest->axis_count; i++)
    depth *= nest->axes[i].gone ? 1 : nest->axes[i].fixed ? nest->axes[i].size : 0;
  return depth;
}

/* Columns that leave vectors part empty, such as the 49 of a 7x7 image or the 196 of a 14x14 one,
 * change places with the rows of a constant, where the depth pays for turning what is stored: a row
 * of a tile of two vectors takes a cycle per step, and some 36 to be turned. */
static bool wants_across(const tsr_nest *nest, const tsr_contraction *c) {
  enum { LEAST_ROWS = 8 };
  const double turn = 36;
  const int64_t lanes = tsr_target_lanes(nest->target, tsr_dtype_bits(c->dtype));
  const tsr_nest_axis *m = c->m < 0 ? NULL : &nest->axes[c->m], *n = &nest->axes[c->n];
  const tsr_contract_operand *a = &c->a, *b = &c->b;
  const int64_t depth = fixed_depth(nest);
  if (nest->target->kind != TSR_TARGET_CPU || m == NULL || !m->fixed || !n->fixed ||
      n->size < LEAST_ROWS || m->size < 2 * lanes || c->dtype != TSR_F32 || a->bytes != b->bytes ||
      a->bytes != (int64_t)sizeof(float))
    return false;
  const int64_t filled = (n->size + lanes - 1) / lanes * lanes;
  const tsr_value_data *read = tsr_value_get(nest->ir, b->value);
  const double saved = (double)(filled - n->size) / (double)n->size * (double)depth;
  return saved >= turn && a->packable && !b->constant && b->side_stride == 1 && !b->checked &&
         tsr_op_get(nest->ir, read->def)->code == TSR_OP_LOAD &&
         (b->varies & ~a->varies & par_mask(nest)) == 1u << c->n &&
         (a->varies & ~b->varies & par_mask(nest)) == 1u << c->m;
}

/* The subscript that axis walks in steps, beside at most one reduced axis. Without such a walk, or
 * where another subscript has the axis too: false. */
static bool read_line(const tsr_nest *nest, const tsr_nest_access *access, uint32_t axis,
                      tsr_contract_line *out) {
  tsr_expr leaves[1 + TSR_NEST_AXES];
  int64_t steps[1 + TSR_NEST_AXES] = {0};
  uint32_t axes[1 + TSR_NEST_AXES], count = 1, found = 0;
  *out = (tsr_contract_line){.tap = -1, .taps = 1, .apart = 1};
  leaves[0] = nest->axes[axis].leaf;
  for (uint32_t i = nest->par_count; i < nest->axis_count; i++)
    if (!nest->axes[i].gone) {
      axes[count] = i;
      leaves[count++] = nest->axes[i].leaf;
    }
  for (uint32_t d = 0; d < access->rank; d++) {
    tsr_expr rest = 0;
    if (!tsr_expr_uses_value(nest->ir, access->subs[d], nest->axes[axis].variable))
      continue;
    if (found++ > 0 || !tsr_expr_linear(nest->ir, access->subs[d], leaves, count, steps, &rest) ||
        steps[0] < 1 || !tsr_expr_is_int(nest->ir, rest, &out->low))
      return false;
    out->extent = nest->buffers[access->buffer].dims[d];
    if (!tsr_expr_is_int(nest->ir, out->extent, &out->size))
      out->size = -1;
  }
  out->step = steps[0];
  for (uint32_t i = 1; i < count; i++) {
    if (steps[i] == 0)
      continue;
    if (out->tap >= 0 || steps[i] < 1 || !nest->axes[axes[i]].fixed)
      return false;
    out->tap = (int)axes[i];
    out->taps = nest->axes[axes[i]].size;
    out->apart = steps[i];
  }
  return found == 1;
}

/* Does the tap move this line alone? */
static bool is_own_tap(const tsr_nest *nest, const tsr_nest_access *access,
                       const tsr_contract_line *line) {
  uint32_t found = 0;
  for (uint32_t d = 0; line->tap >= 0 && d < access->rank; d++)
    found += tsr_expr_uses_value(nest->ir, access->subs[d], nest->axes[line->tap].variable);
  return line->tap < 0 || found == 1;
}

/* The lines of an image below each other: another of `axes` that a tap of its own moves, if there
 * is one. */
static void read_rows(const tsr_nest *nest, tsr_contraction *c, const tsr_nest_access *access,
                      int x, uint32_t axes) {
  c->direct_y = -1;
  c->line[0] = (tsr_contract_line){.tap = -1, .taps = 1, .apart = 1};
  for (uint32_t y = 0; y < nest->par_count; y++) {
    tsr_contract_line line;
    if (!in_mask(axes, y) || (int)y == x || nest->axes[y].gone ||
        !read_line(nest, access, y, &line) || line.tap < 0 || line.tap == c->line[1].tap ||
        !is_own_tap(nest, access, &line))
      continue;
    c->direct_y = (int)y;
    c->line[0] = line;
    return;
  }
}

/* Tiles that multiply bf16 parts of f32 are faster than multiply-adds in any order. */
static bool has_tiles_of_parts(const tsr_target *target) {
  const tsr_atom *atom;
  for (unsigned i = 0; (atom = tsr_atom_at(i)) != NULL; i++)
    if (atom->kind == TSR_TARGET_CPU && atom->parts > 1 && atom->place == TSR_ATOM_MEMORY &&
        (atom->features & ~target->cpu_features) == 0)
      return target->bf16_parts;
  return false;
}

/* What is outside of the image is 0, so that taps which miss it may be left out. */
static bool reads_zeros_outside(const tsr_nest *nest, const tsr_nest_access *access) {
  return tsr_op_float(nest->ir, access->op, "pad", 0) == 0;
}

/* Are those pixels of a row few whose window is not all inside the image? Their tiles are straight
 * code. Rows of a width that is not known are loops. */
static bool few_at_the_ends(const tsr_nest_axis *row, const tsr_contract_line *line) {
  enum { MOST = 64, FAR = 1 << 30 };
  if (!row->fixed)
    return true;
  if (line->low < -FAR || line->low > FAR || line->step > FAR || line->apart > FAR)
    return false;
  const int64_t reach = line->low + (line->taps - 1) * line->apart;
  const int64_t first = line->low < 0 ? (-line->low + line->step - 1) / line->step : 0;
  int64_t end = line->size > reach ? (line->size - reach - 1) / line->step + 1 : 0;
  end = end < row->size ? end : row->size;
  return row->size - (end > first ? end - first : 0) <= MOST;
}

/* A window over an image, in front of it a constant with many channels of output: these lie on the
 * lanes, and pixels of a row are the rows of the register tile, which reads them where they are. No
 * copies are made of the image, what a tap reads outside of it costs nothing, and no vector is part
 * empty however wide the image is. */
static bool wants_direct(const tsr_nest *nest, tsr_contraction *c) {
  enum { LEAST_DEPTH = 128, LEAST_STEPS = 8, LEAST_WIDTH = 4 };
  const double least_fill = 0.85;
  const int64_t lanes = tsr_target_lanes(nest->target, tsr_dtype_bits(c->dtype));
  const tsr_nest_axis *m = c->m < 0 ? NULL : &nest->axes[c->m], *n = &nest->axes[c->n];
  const tsr_contract_operand *a = &c->a, *b = &c->b;
  const uint32_t par = par_mask(nest);
  const int64_t depth = fixed_depth(nest);
  if (nest->target->kind != TSR_TARGET_CPU || has_tiles_of_parts(nest->target) || m == NULL ||
      !m->fixed || (n->fixed && n->size < LEAST_WIDTH) || m->size < 2 * lanes ||
      c->dtype != TSR_F32 || a->bytes != (int64_t)sizeof(float) || b->bytes != a->bytes ||
      !a->packable || !a->alone || b->constant || !b->alone || b->main->indirect ||
      !reads_zeros_outside(nest, b->main))
    return false;
  const int64_t filled = (m->size + lanes - 1) / lanes * lanes;
  if (depth < LEAST_DEPTH || (double)m->size < least_fill * (double)filled ||
      tsr_value_get(nest->ir, b->value)->role != TSR_ROLE_RESULT ||
      tsr_op_get(nest->ir, tsr_value_get(nest->ir, b->value)->def)->code != TSR_OP_LOAD ||
      (a->varies & ~b->varies & par) != 1u << c->m ||
      !read_line(nest, b->main, (uint32_t)c->n, &c->line[1]) ||
      !is_own_tap(nest, b->main, &c->line[1]) || (n->fixed && c->line[1].size < 0) ||
      !few_at_the_ends(n, &c->line[1]))
    return false;
  read_rows(nest, c, b->main, c->n, b->varies & ~a->varies & par);
  /* Taps along a row of known width are straight code at its ends; behind them is the innermost
   * loop, which should have some steps. */
  const int64_t taps = c->line[0].taps * c->line[1].taps;
  if (!n->fixed)
    return taps > 1 || c->line[1].step > 1;
  return taps > 1 && c->line[1].taps <= MOST_LINE_TAPS && depth / taps >= LEAST_STEPS;
}

static void turn_sides(const tsr_nest *nest, tsr_contraction *c) {
  const int m = c->n;
  const tsr_value a = c->b.value, b = c->a.value;
  c->n = c->m;
  c->m = m;
  c->across = true;
  read_operand(nest, a, c->m, &c->a);
  read_operand(nest, b, c->n, &c->b);
}

/* Both factors vary with the lanes, b with nothing else that is stored: channels of an image that
 * lie side by side, each with a window of its own, whose taps are all of the depth. Rows of the
 * register tile are pixels along a line that a tap moves, as above; what several taps read of it is
 * read once. */
static bool by_channels(const tsr_nest *nest, tsr_contraction *c, tsr_value image,
                        tsr_value window) {
  const uint32_t par = par_mask(nest), n = (uint32_t)c->n, vi = nest->varies[image];
  const tsr_value_data *read = tsr_value_get(nest->ir, image);
  if (nest->target->kind != TSR_TARGET_CPU || c->dtype != TSR_F32 ||
      (nest->varies[window] & par) != 1u << n || read->role != TSR_ROLE_RESULT ||
      tsr_op_get(nest->ir, read->def)->code != TSR_OP_LOAD)
    return false;
  c->m = -1;
  read_operand(nest, image, c->n, &c->a);
  read_operand(nest, window, c->n, &c->b);
  if (c->a.main == NULL || c->b.main == NULL || c->a.main->indirect || c->b.main->indirect ||
      !reads_zeros_outside(nest, c->a.main) || c->a.side_stride != 1 ||
      (c->b.side_stride != 1 && !c->b.packable) || !c->b.alone)
    return false;
  for (uint32_t x = nest->par_count; x-- > 0 && c->m < 0;) {
    tsr_contract_line *line = &c->line[1];
    if (in_mask(vi, x) && x != n && !nest->axes[x].gone && read_line(nest, c->a.main, x, line) &&
        line->tap >= 0 && line->taps <= MOST_LINE_TAPS && is_own_tap(nest, c->a.main, line) &&
        (!nest->axes[x].fixed || line->size >= 0) && few_at_the_ends(&nest->axes[x], line))
      c->m = (int)x;
  }
  if (c->m < 0)
    return false;
  read_operand(nest, image, c->m, &c->a);
  c->a.packable = false;
  read_rows(nest, c, c->a.main, c->m, vi & par & ~(1u << n));
  for (uint32_t i = nest->par_count; i < nest->axis_count; i++)
    if (!nest->axes[i].gone && (int)i != c->line[0].tap && (int)i != c->line[1].tap)
      return false;
  c->direct = c->each = true;
  return true;
}

static bool sides(tsr_nest *nest, tsr_contraction *c, const tsr_op_data *product) {
  const tsr_value x = product->operands[0].value, y = product->operands[1].value;
  const uint32_t par = par_mask(nest), vx = nest->varies[x], vy = nest->varies[y];
  c->n = lane_axis(nest);
  if (c->n < 0)
    return false;
  const uint32_t n = (uint32_t)c->n;
  if (in_mask(vx, n) && in_mask(vy, n))
    return by_channels(nest, c, x, y) || by_channels(nest, c, y, x);
  if (in_mask(vx, n) == in_mask(vy, n))
    return false;
  const bool second = in_mask(vy, n);
  const uint32_t va = second ? vx : vy, vb = second ? vy : vx;
  c->m = largest_axis(nest, va & ~vb & par);
  read_operand(nest, second ? x : y, c->m, &c->a);
  read_operand(nest, second ? y : x, c->n, &c->b);
  if (c->a.main == NULL || c->b.main == NULL)
    return false;
  c->direct = wants_direct(nest, c);
  if (c->direct || wants_across(nest, c))
    turn_sides(nest, c);
  return true;
}

bool tsr_contract_ends(const tsr_nest *nest, int axis) {
  for (uint32_t i = 0; i < nest->access_count; i++)
    for (uint32_t d = 0; nest->accesses[i].kind == TSR_ACCESS_STORE && d < nest->accesses[i].rank;
         d++) {
      const tsr_expr sub = nest->accesses[i].subs[d];
      if (!tsr_expr_uses_value(nest->ir, sub, nest->axes[axis].variable))
        continue;
      for (uint32_t k = 0; k < nest->par_count; k++)
        if ((int)k != axis && tsr_expr_uses_value(nest->ir, sub, nest->axes[k].variable))
          return false;
    }
  return true;
}

/* Does a subscript of b move in steps along an axis of the result and along the depth? Then
 * neighbours of the result read the same elements. */
static bool slides_along(const tsr_nest *nest, const tsr_contraction *c, uint32_t axis) {
  const tsr_nest_access *access = c->b.main;
  for (uint32_t i = nest->par_count; i < nest->axis_count; i++)
    for (uint32_t d = 0; d < access->rank && !nest->axes[i].gone; d++) {
      const tsr_expr leaves[2] = {nest->axes[axis].leaf, nest->axes[i].leaf};
      int64_t steps[2] = {0, 0};
      tsr_expr rest = 0;
      if (tsr_expr_linear(nest->ir, access->subs[d], leaves, 2, steps, &rest) && steps[0] > 0 &&
          steps[1] > 0)
        return true;
    }
  return false;
}

static bool is_window(const tsr_nest *nest, const tsr_contraction *c) {
  bool slides = c->b.checked;
  if (!c->few_rows || c->b.packable)
    return false;
  for (uint32_t i = 0; i < nest->par_count && !slides && !c->b.main->indirect; i++)
    slides = !nest->axes[i].gone && (c->b.varies >> i & 1) != 0 && (c->a.varies >> i & 1) == 0 &&
             slides_along(nest, c, i);
  return slides;
}

static bool match(tsr_nest *nest, tsr_contraction *c) {
  c->reduce = only_reduce(nest);
  if (c->reduce == 0)
    return false;
  const tsr_op_data *reduce = tsr_op_get(nest->ir, c->reduce);
  const char *combine = tsr_op_string(nest->ir, c->reduce, "combine");
  if (reduce->region_count > 0 || reduce->operand_count != 1 || combine == NULL ||
      strcmp(combine, "add") != 0)
    return false;
  const tsr_value product = reduce->operands[0].value;
  tsr_nest_new_walk(nest);
  if (tsr_value_get(nest->ir, product)->role != TSR_ROLE_RESULT || !is_simple(nest, product))
    return false;
  const tsr_op_data *mul = tsr_op_get(nest->ir, tsr_value_get(nest->ir, product)->def);
  c->dtype = tsr_value_type(nest->ir, product)->dtype;
  c->atom = atom_of(c->dtype);
  c->parts = 1;
  if (mul->code != TSR_OP_MUL || c->atom == NULL || !sides(nest, c, mul))
    return false;
  const uint32_t own = c->b.varies & ~c->a.varies & par_mask(nest);
  c->few_rows = c->m < 0 || (nest->axes[c->m].fixed && nest->axes[c->m].size < 4);
  /* A column that must be gathered pays only when several rows share it, or offline. */
  if (c->b.side_stride != 1 && !c->b.packable &&
      (c->m < 0 || nest->axes[c->m].size < 4 || nest->axes[c->n].size < 4) &&
      !(c->few_rows && c->b.side_stride == 2))
    return false;
  if (!c->few_rows)
    flatten(nest, c, own);
  order_depth(nest, c);
  c->tap = -1;
  find_tap(nest, c);
  for (uint32_t i = 0; i < nest->par_count; i++)
    if (!nest->axes[i].gone && (int)i != c->m && (int)i != c->n &&
        !(c->direct && (int)i == c->direct_y))
      c->outer[c->outer_count++] = i;
  c->window = is_window(nest, c);
  return true;
}

const tsr_contraction *tsr_contract_match(tsr_nest *nest) {
  if (!nest->matched) {
    tsr_contraction *c = tsr_arena_alloc(nest->arena, sizeof *c);
    nest->matched = true;
    if (c == NULL)
      (void)tsr_ir_poison(nest->ir, TSR_ERR_OUT_OF_MEMORY, "out of memory in tiling");
    else if (match(nest, c))
      nest->contraction = c;
  }
  return nest->contraction;
}
