/* group: blocks that walk the same rows one after the other become one kernel. What they hand on is
 * then as small as a few rows and never leaves the inner caches:
 *
 *   softmax        greatest, exponentials, sum and quotient of a row while it is in the first cache
 *   attention      products with the keys, softmax and products with the values for some rows
 *   normalisation  mean, deviations, their mean square, what is scaled by it
 *
 * A group starts at a block and takes readers of its results in their order, as long as every value
 * handed on has the group's axes in front, for writer and reader alike. What else a value has are
 * dims of known extent, which make its row. A value that somebody outside reads too goes to memory,
 * and inside the group is read back from there. */
#include "passes/group.h"
#include "passes/canonicalize.h"
#include "passes/fuse_graph.h"

/* Elements of the longest row: shorter ones are better walked across. */
static const double least_run = 64;
/* Rows for threads to share, or points that are one task anyway. */
static const double least_rows = 16, small_work = 20000;
/* Rows of everything that must fit at the same time. */
static const double some_rows = 8;

typedef tsr_group_rows group;
typedef tsr_group_member member;

typedef struct grouping {
  tsr_ir *ir;
  const tsr_pass_options *options;
  tsr_fuse_graph graph;
  tsr_diag *diag;
} grouping;

/* --- one member by itself --- */

static bool is_constant(const tsr_ir *ir, tsr_value value) {
  for (;;) {
    const tsr_value_data *data = tsr_value_get(ir, value);
    const tsr_op_data *op = data->role == TSR_ROLE_RESULT ? tsr_op_get(ir, data->def) : NULL;
    if (op == NULL || op->code != TSR_OP_RESHAPE)
      return op != NULL && op->code == TSR_OP_CONST;
    value = op->operands[0].value;
  }
}

/* The variables of the block that are no axes of the group: how many have more than one step, and
 * their steps together; -1: not known. */
static double inner_points(grouping *p, const group *g, const member *m, uint32_t *out_count,
                           tsr_value *out_variable) {
  const tsr_region_data *region = tsr_region_get(p->ir, tsr_op_get(p->ir, m->op)->regions[0]);
  double points = 1;
  *out_count = 0;
  *out_variable = 0;
  for (uint32_t i = 0; i < region->arg_count; i++) {
    const tsr_value_data *data = tsr_value_get(p->ir, region->args[i]);
    int64_t extent = 0;
    if (tsr_group_is_axis(g, m, region->args[i]))
      continue;
    if (!tsr_expr_is_int(p->ir, data->hi, &extent) || !tsr_expr_equals_int(p->ir, data->lo, 0) ||
        !tsr_expr_equals_int(p->ir, data->step, 1) || extent < 1)
      return -1;
    points *= (double)extent;
    *out_variable = region->args[i];
    ++*out_count;
  }
  return points;
}

/* Elements side by side along the variable are side by side in memory, or it does not matter. */
static bool is_run(const tsr_ir *ir, const tsr_operand *at, tsr_value variable) {
  const tsr_type_info *type = tsr_value_type(ir, at->value);
  uint32_t last = at->subscript_count;
  while (last > 0 && tsr_expr_equals_int(ir, type->dims[last - 1], 1))
    last--;
  for (uint32_t i = 0; i < at->subscript_count; i++)
    if (tsr_expr_uses_value(ir, at->subscripts[i], variable) &&
        (i + 1 != last || tsr_group_variable(ir, at->subscripts[i]) != variable))
      return false;
  return true;
}

/* Maps and reductions go along one row at a time. */
static bool goes_along_rows(grouping *p, const group *g, const member *m) {
  uint32_t count = 0;
  tsr_value variable = 0;
  if (inner_points(p, g, m, &count, &variable) < 0 || count > 1)
    return false;
  TSR_FOR_EACH_OP (p->ir, tsr_op_get(p->ir, m->op)->regions[0], op) {
    const tsr_op_data *data = tsr_op_get(p->ir, op);
    if (data->code == TSR_OP_GATHER_LOAD || data->code == TSR_OP_SCATTER_STORE)
      return false;
    if (variable != 0 &&
        ((data->code == TSR_OP_LOAD && !is_run(p->ir, &data->operands[0], variable)) ||
         (data->code == TSR_OP_STORE && !is_run(p->ir, &data->operands[1], variable))))
      return false;
  }
  return true;
}

/* A contraction packs its operands for each task anew: they are no constants, which are packed
 * once, and fit the cache. */
static bool packs_little(grouping *p, const group *g, const member *m) {
  const tsr_region body = tsr_op_get(p->ir, m->op)->regions[0];
  const tsr_region_data *region = tsr_region_get(p->ir, body);
  uint32_t count = 0;
  tsr_value variable = 0;
  if (inner_points(p, g, m, &count, &variable) < 0 || count > 2)
    return false;
  TSR_FOR_EACH_OP (p->ir, body, op) {
    const tsr_op_data *data = tsr_op_get(p->ir, op);
    double bytes = 4;
    if (data->code == TSR_OP_GATHER_LOAD || data->code == TSR_OP_SCATTER_STORE)
      return false;
    if (data->code != TSR_OP_LOAD || !tsr_block_feeds_reduce(p->ir, body, op))
      continue;
    if (is_constant(p->ir, data->operands[0].value))
      return false;
    for (uint32_t i = 0; i < region->arg_count; i++)
      if (!tsr_group_is_axis(g, m, region->args[i]) && tsr_op_reads(p->ir, op, region->args[i]))
        bytes *= tsr_hinted(p->ir, tsr_value_get(p->ir, region->args[i])->hi);
    if (bytes > (double)p->options->group_bytes)
      return false;
  }
  return true;
}

static bool fits_alone(grouping *p, const group *g, const member *m) {
  const tsr_block_info info = tsr_block_describe(p->ir, m->op);
  if (g->axis_count == 0 || info.kind == TSR_BLOCK_OTHER ||
      tsr_op_attr(p->ir, m->op, "fill") != NULL)
    return false;
  return info.kind == TSR_BLOCK_CONTRACT ? packs_little(p, g, m) : goes_along_rows(p, g, m);
}

/* --- what members hand on --- */

static const member *member_of(const group *g, tsr_op op) {
  for (uint32_t i = 0; i < g->count; i++)
    if (g->members[i].op == op)
      return &g->members[i];
  return NULL;
}

static bool read_inside(const grouping *p, const group *g, tsr_value value) {
  for (uint32_t i = 0; i < g->count; i++)
    TSR_FOR_EACH_OP (p->ir, tsr_op_get(p->ir, g->members[i].op)->regions[0], op) {
      const tsr_op_data *data = tsr_op_get(p->ir, op);
      if (data->code == TSR_OP_LOAD && tsr_fuse_is_alias(p->ir, data->operands[0].value, value))
        return true;
    }
  return false;
}

/* Rows of all that is handed on fit a part of the cache, some at a time. */
static bool rows_fit(const grouping *p, const group *g) {
  double sum = 0;
  for (uint32_t i = 0; i < g->count; i++) {
    const tsr_op_data *data = tsr_op_get(p->ir, g->members[i].op);
    for (uint32_t k = 0; k < data->result_count; k++) {
      if (!read_inside(p, g, data->results[k]))
        continue;
      const double bytes = tsr_group_row_bytes(p->ir, g, data->results[k]);
      if (bytes < 0)
        return false;
      sum += bytes;
    }
  }
  return sum * some_rows <= (double)p->options->group_bytes / 2;
}

/* --- growing a group --- */

/* The group with the block in it. */
static bool add(grouping *p, tsr_op block, group *inout) {
  group g = *inout;
  tsr_group_join(p->ir, block, &g);
  for (uint32_t i = 0; i < g.count; i++)
    if (!fits_alone(p, &g, &g.members[i]))
      return false;
  if (!rows_fit(p, &g))
    return false;
  *inout = g;
  return true;
}

/* The first reader of the group's results that is no member and stands behind `after`; 0: none. */
static tsr_op next_reader(const grouping *p, const group *g, uint32_t after) {
  tsr_fuse_link links[TSR_FUSE_MAX_READERS];
  tsr_op best = 0;
  for (uint32_t i = 0; i < g->count; i++) {
    const uint32_t count =
        tsr_fuse_links_of(&p->graph, p->ir, g->members[i].op, links, TSR_FUSE_MAX_READERS);
    if (count > TSR_FUSE_MAX_READERS)
      return 0;
    for (uint32_t k = 0; k < count; k++) {
      const tsr_op reader = links[k].consumer;
      const uint32_t at = p->graph.position[reader];
      if (member_of(g, reader) == NULL && at > after && (best == 0 || at < p->graph.position[best]))
        best = reader;
    }
  }
  return best;
}

/* Does an output that lives in an input's memory come from this op? Readers of the old contents
 * must not move behind it. */
static bool writes_input(const grouping *p, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(p->ir, op);
  TSR_FOR_EACH_OP (p->ir, p->graph.region, output) {
    const tsr_op_data *out = tsr_op_get(p->ir, output);
    if (out->code != TSR_OP_OUTPUT || tsr_op_string(p->ir, output, "alias") == NULL)
      continue;
    for (uint32_t i = 0; i < data->result_count; i++)
      if (tsr_fuse_is_alias(p->ir, out->operands[0].value, data->results[i]))
        return true;
  }
  return false;
}

/* May what stands between the first member and `block` stay there, when all members go to where the
 * block is? */
static bool way_is_free(const grouping *p, const group *g, tsr_op block) {
  for (tsr_op op = g->members[0].op; op != block && op != 0; op = tsr_op_get(p->ir, op)->next)
    if (tsr_op_get(p->ir, op)->code == TSR_OP_RESIZE_DIM || writes_input(p, op))
      return false;
  return true;
}

/* Takes readers in their order. Behind one that does not join nothing joins: it needs what the
 * group makes before that. */
static void grow(grouping *p, group *g) {
  for (;;) {
    const tsr_op last = g->members[g->count - 1].op;
    const tsr_op reader = next_reader(p, g, p->graph.position[last]);
    if (reader == 0 || !way_is_free(p, g, reader) || !add(p, reader, g))
      return;
  }
}

static bool pays(grouping *p, const group *g) {
  double rows = 1, longest = 0, work = 0;
  const member *first = &g->members[0];
  for (uint32_t i = 0; i < g->axis_count; i++)
    rows *= tsr_hinted(p->ir, tsr_value_get(p->ir, first->axes[i])->hi);
  for (uint32_t i = 0; i < g->count; i++) {
    uint32_t count = 0;
    tsr_value variable = 0;
    const double points = inner_points(p, g, &g->members[i], &count, &variable);
    longest = points > longest ? points : longest;
    work += points * rows;
  }
  return g->count > 1 && longest >= least_run && (rows >= least_rows || work <= small_work);
}

/* --- making it --- */

static bool read_outside(const grouping *p, const group *g, tsr_value value) {
  tsr_fuse_link links[TSR_FUSE_MAX_READERS];
  const tsr_op writer = tsr_value_get(p->ir, value)->def;
  const uint32_t count = tsr_fuse_links_of(&p->graph, p->ir, writer, links, TSR_FUSE_MAX_READERS);
  for (uint32_t i = 0; i < count && i < TSR_FUSE_MAX_READERS; i++)
    if (links[i].value == value && member_of(g, links[i].consumer) == NULL)
      return true;
  return count > TSR_FUSE_MAX_READERS;
}

/* Members read each other's results themselves, not reshapes of them. */
static void read_directly(grouping *p, const group *g) {
  tsr_ir *ir = p->ir;
  for (uint32_t i = 0; i < g->count; i++)
    TSR_FOR_EACH_OP (ir, tsr_op_get(ir, g->members[i].op)->regions[0], op) {
      const tsr_op_data *data = tsr_op_get(ir, op);
      tsr_expr at[TSR_MAX_RANK];
      if (data->code != TSR_OP_LOAD)
        continue;
      const tsr_value value = tsr_group_result(ir, g, data->operands[0].value);
      if (value != 0 && value != data->operands[0].value &&
          tsr_fuse_to_value(ir, data->operands[0].value, value, data->operands[0].subscripts, at))
        tsr_op_set_element(ir, op, 0, value, at, tsr_value_type(ir, value)->rank);
    }
}

/* Reshapes of results between the members go behind the last one. */
static void move_reshapes(grouping *p, const group *g, tsr_op last) {
  tsr_ir *ir = p->ir;
  const tsr_op behind = tsr_op_get(ir, last)->next;
  for (tsr_op op = g->members[0].op, next; op != last && op != 0; op = next) {
    next = tsr_op_get(ir, op)->next;
    if (behind != 0 && tsr_op_get(ir, op)->code == TSR_OP_RESHAPE &&
        tsr_group_result(ir, g, tsr_op_get(ir, op)->results[0]) != 0)
      tsr_op_move_before(ir, op, behind);
  }
}

/* The member's own stores and the members' loads name the block's result again, everybody else the
 * group's. */
static void name_inside(grouping *p, const group *g, tsr_value outside, tsr_value inside) {
  tsr_ir *ir = p->ir;
  for (uint32_t i = 0; i < g->count; i++)
    TSR_FOR_EACH_OP (ir, tsr_op_get(ir, g->members[i].op)->regions[0], op) {
      const tsr_op_data *data = tsr_op_get(ir, op);
      for (uint32_t k = 0; k < data->operand_count; k++) {
        const tsr_operand operand = data->operands[k];
        if (operand.value == outside && operand.subscripted)
          tsr_op_set_element(ir, op, k, inside, operand.subscripts, operand.subscript_count);
      }
    }
}

static void make(grouping *p, const group *g) {
  tsr_ir *ir = p->ir;
  const tsr_op last = g->members[g->count - 1].op;
  tsr_value leaving[TSR_GROUP_MEMBERS * TSR_FUSE_MAX_RESULTS];
  uint32_t leaving_count = 0;
  read_directly(p, g);
  const tsr_op made = tsr_op_insert_before(ir, last, TSR_OP_GROUP);
  move_reshapes(p, g, last);
  const tsr_region region = tsr_op_add_region(ir, made);
  const tsr_op yield = tsr_op_append(ir, region, TSR_OP_YIELD);
  for (uint32_t i = 0; i < g->count; i++) {
    const tsr_op op = g->members[i].op;
    tsr_op_copy_origins(ir, made, op);
    const tsr_op_data *data = tsr_op_get(ir, op);
    for (uint32_t k = 0; k < data->result_count; k++) {
      const tsr_value value = data->results[k];
      const tsr_type_info type = *tsr_value_type(ir, value);
      if (read_outside(p, g, value) && leaving_count < sizeof leaving / sizeof *leaving)
        leaving[leaving_count++] = value;
      else
        tsr_value_set_type(
            ir, value,
            tsr_type_make(ir, tsr_group_stands(ir, g, value) ? TSR_LEVEL_L2 : TSR_LEVEL_L1,
                          type.dtype, type.dims, type.rank));
    }
  }
  for (uint32_t i = 0; i < g->count; i++)
    tsr_op_move_before(ir, g->members[i].op, yield);
  for (uint32_t i = 0; i < leaving_count; i++) {
    const tsr_value outside = tsr_op_add_result(ir, made, tsr_value_get(ir, leaving[i])->type);
    tsr_value_replace_all(ir, leaving[i], outside);
    name_inside(p, g, outside, leaving[i]);
    tsr_op_add_operand(ir, yield, leaving[i]);
  }
}

static tsr_status group_region(grouping *p, tsr_region region) {
  tsr_ir *ir = p->ir;
  TSR_FOR_EACH_OP (ir, region, op) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    if (data->code == TSR_OP_IF || data->code == TSR_OP_LOOP)
      for (uint32_t i = 0; i < data->region_count; i++)
        TSR_TRY(group_region(p, data->regions[i]));
  }
  TSR_TRY(tsr_fuse_graph_build(&p->graph, ir, region, p->diag));
  for (tsr_op op = tsr_region_get(ir, region)->first, next; op != 0; op = next) {
    group g;
    next = tsr_op_get(ir, op)->next;
    if (!tsr_group_begin(ir, op, &g) || !fits_alone(p, &g, &g.members[0]))
      continue;
    grow(p, &g);
    if (!pays(p, &g))
      continue;
    next = tsr_op_get(ir, g.members[g.count - 1].op)->next;
    make(p, &g);
    TSR_TRY(tsr_ir_status(ir));
    TSR_TRY(tsr_fuse_graph_build(&p->graph, ir, region, p->diag));
  }
  return TSR_OK;
}

tsr_status tsr_pass_group(tsr_ir *ir, const tsr_pass_options *options, tsr_diag *diag) {
  grouping p = {.ir = ir, .options = options, .diag = diag};
  bool dropped = false;
  if (options->group_bytes <= 0)
    return TSR_OK;
  tsr_status status = tsr_fuse_graph_init(&p.graph, ir, diag);
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op)
    if (status == TSR_OK && tsr_op_get(ir, op)->code == TSR_OP_GRAPH)
      status = group_region(&p, tsr_op_get(ir, op)->regions[0]);
  tsr_fuse_graph_reset(&p.graph);
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op)
    if (status == TSR_OK && tsr_op_get(ir, op)->code == TSR_OP_GRAPH)
      status = tsr_dce_region(ir, tsr_op_get(ir, op)->regions[0], diag, &dropped);
  return status;
}
