/* Strategy "group". A task takes `rows` rows of the group's last axis through all of its blocks,
 * then the next ones. Values that are handed on stand in scratch, `rows` rows of them; what only
 * blocks without a contraction see stands there row by row.
 *
 * Each block is cut down to these rows as a block of its own, which reads and writes the kernel's
 * arguments and the scratch, and whose variables are those that are no axes of the group, and the
 * rows where a contraction shares what it reads among them. That block is then tiled by its own
 * strategy where the kernel stands, as one task. */
#include "passes/tile/group.h"
#include "passes/block_info.h"
#include "passes/rewrite.h"
#include "passes/tile/contract_dot.h"
#include "passes/tile/default.h"
#include <math.h>

enum { MOST_VALUES = 64, MOST_ROWS = 1024 };

/* A value of the graph, as the kernel sees it. */
typedef struct place {
  tsr_value value;
  tsr_value buffer; /* an argument, or scratch */
  bool scratch;
  bool row_only;  /* scratch for one row */
  uint32_t front; /* dims that the group's axes take */
} place;

typedef struct grouped {
  tsr_taking *taking;
  tsr_ir *ir;
  tsr_op op;
  tsr_group_rows rows;
  bool contracts[TSR_GROUP_MEMBERS];
  place places[MOST_VALUES];
  uint32_t place_count;
  tsr_region region; /* where ops go now */
  tsr_target single; /* the target with one thread: a task is one */
  int64_t step;      /* rows at once */
  int64_t now;       /* of them, where the kernel is being written: fewer in the rest */
  tsr_expr position[TSR_GROUP_AXES];
  tsr_expr row; /* number of the row among those at once, where blocks go row by row */
  int64_t chunk[TSR_GROUP_AXES];
  tsr_expr number[TSR_GROUP_AXES]; /* grid variables */
} grouped;

/* --- what is known before the kernel --- */

static tsr_expr extent_of(const grouped *g, uint32_t axis) {
  return tsr_value_get(g->ir, g->rows.members[0].axes[axis])->hi;
}

static double size_of(const grouped *g, uint32_t axis) {
  return tsr_hinted(g->ir, extent_of(g, axis));
}

static bool begin(tsr_ir *ir, tsr_op op, grouped *out) {
  *out = (grouped){.ir = ir, .op = op};
  if (!tsr_group_read(ir, op, &out->rows))
    return false;
  for (uint32_t i = 0; i < out->rows.count; i++)
    out->contracts[i] = tsr_block_describe(ir, out->rows.members[i].op).kind == TSR_BLOCK_CONTRACT;
  return true;
}

static double all_rows(const grouped *g) {
  double rows = 1;
  for (uint32_t i = 0; i < g->rows.axis_count; i++)
    rows *= size_of(g, i);
  return rows;
}

/* Cycles of one row, roughly: vectors times operations. */
static double row_cycles(const grouped *g, const tsr_target *target) {
  const double rows = all_rows(g);
  double cycles = 0;
  for (uint32_t i = 0; i < g->rows.count; i++) {
    const tsr_block_info info = tsr_block_describe(g->ir, g->rows.members[i].op);
    const double lanes = tsr_target_lanes(target, 32);
    double weight = 2;
    TSR_FOR_EACH_OP (g->ir, info.body, op)
      weight += g->contracts[i] ? 0 : tsr_nest_op_weight(tsr_op_get(g->ir, op)->code);
    cycles += 10 + info.points / (rows > 0 ? rows : 1) / lanes * (g->contracts[i] ? 1 : weight);
  }
  return cycles;
}

static bool is_result(const grouped *g, tsr_value value) {
  const tsr_op_data *yield =
      tsr_op_get(g->ir, tsr_region_get(g->ir, tsr_op_get(g->ir, g->op)->regions[0])->last);
  for (uint32_t i = 0; i < yield->operand_count; i++)
    if (yield->operands[i].value == value)
      return true;
  return false;
}

bool tsr_group_possible(tsr_ir *ir, const tsr_target *target, tsr_op group) {
  grouped g;
  tsr_value inputs[MOST_VALUES];
  if (target->kind != TSR_TARGET_CPU || !begin(ir, group, &g))
    return false;
  uint32_t values = tsr_group_inputs(ir, group, inputs, MOST_VALUES);
  for (uint32_t i = 0; i < g.rows.count; i++) {
    const tsr_op_data *data = tsr_op_get(ir, g.rows.members[i].op);
    values += data->result_count;
    for (uint32_t k = 0; k < data->result_count; k++) {
      const tsr_type_info *type = tsr_value_type(ir, data->results[k]);
      int64_t extent = 0;
      for (uint32_t d = tsr_group_dims(ir, &g.rows, data->results[k]); d < type->rank; d++)
        if (!is_result(&g, data->results[k]) && !tsr_expr_is_int(ir, type->dims[d], &extent))
          return false;
    }
  }
  return values <= MOST_VALUES;
}

/* As many rows as leave half of the second cache to what they are multiplied with, but tasks enough
 * for threads, and parts of equal size if there are; one row, where none shares anything with the
 * next one. */
static int64_t default_rows(const grouped *g, const tsr_target *target) {
  enum { LEAST = 64, TASKS = 16 };
  const int64_t all = (int64_t)size_of(g, g->rows.axis_count - 1);
  double bytes = 0, outer = 1;
  bool shares = false;
  for (uint32_t i = 0; i < g->rows.count; i++) {
    const tsr_op_data *data = tsr_op_get(g->ir, g->rows.members[i].op);
    shares = shares || tsr_group_shares_rows(g->ir, &g->rows, i);
    for (uint32_t k = 0; k < data->result_count; k++)
      if (!is_result(g, data->results[k]) && tsr_group_stands(g->ir, &g->rows, data->results[k]))
        bytes += tsr_group_row_bytes(g->ir, &g->rows, data->results[k]);
  }
  for (uint32_t i = 0; i + 1 < g->rows.axis_count; i++)
    outer *= size_of(g, i);
  if (!shares)
    return 1;
  int64_t rows = bytes > 0 ? (int64_t)((double)target->l2_bytes / 2 / bytes) : MOST_ROWS;
  const int64_t fair = ceil_div((int64_t)(outer * (double)all), TASKS);
  rows = least(least(rows, MOST_ROWS), greatest(fair, LEAST));
  rows = greatest(least(rows, all), 1);
  for (int64_t part = rows; part > rows / 2; part--)
    if (all % part == 0)
      return part;
  return ceil_div(all, ceil_div(all, rows));
}

void tsr_group_default(tsr_ir *ir, const tsr_target *target, tsr_op group, tsr_schedule *out) {
  grouped g;
  *out = (tsr_schedule){.strategy = TSR_STRATEGY_GROUP};
  if (!begin(ir, group, &g))
    return;
  out->knobs[TSR_KNOB_ROWS] = default_rows(&g, target);
  out->knobs[TSR_KNOB_GRAIN] = tsr_default_grain(target, row_cycles(&g, target) * all_rows(&g));
}

/* --- what the tuner asks --- */

tsr_status tsr_group_check(const tsr_schedule *schedule, const char *kernel, tsr_diag *diag) {
  const tsr_knob_info *rows = tsr_knob_get(TSR_KNOB_ROWS), *grain = tsr_knob_get(TSR_KNOB_GRAIN);
  const int64_t *knobs = schedule->knobs;
  if (schedule->strategy != TSR_STRATEGY_GROUP || schedule->atom != NULL)
    return tsr_fail(diag, TSR_ERR_ARGUMENT,
                    "schedule @%s: 'strategy' must be \"group\": the kernel is several blocks",
                    kernel);
  if (knobs[TSR_KNOB_ROWS] < rows->least || knobs[TSR_KNOB_ROWS] > rows->greatest ||
      knobs[TSR_KNOB_GRAIN] < grain->least || knobs[TSR_KNOB_GRAIN] > grain->greatest)
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "schedule @%s: rows and grain must be at least 1",
                    kernel);
  return TSR_OK;
}

static double bytes_of(tsr_ir *ir, tsr_value value) {
  const tsr_type_info *type = tsr_value_type(ir, value);
  double bytes = tsr_dtype_bits(type->dtype) / 8.0;
  for (uint32_t d = 0; d < type->rank; d++)
    bytes *= tsr_hinted(ir, type->dims[d]);
  return bytes;
}

/* Bytes of what the contraction reads that are the same for all rows of the last axis. */
static double shared_bytes(const grouped *g, uint32_t number) {
  const tsr_group_member *m = &g->rows.members[number];
  const tsr_region body = tsr_op_get(g->ir, m->op)->regions[0];
  const tsr_region_data *region = tsr_region_get(g->ir, body);
  double sum = 0;
  TSR_FOR_EACH_OP (g->ir, body, op) {
    if (!tsr_op_is_load(g->ir, op) || !tsr_block_feeds_reduce(g->ir, body, op) ||
        tsr_op_reads(g->ir, op, m->axes[g->rows.axis_count - 1]))
      continue;
    const tsr_value from = tsr_op_get(g->ir, op)->operands[0].value;
    double bytes = tsr_dtype_bits(tsr_value_type(g->ir, from)->dtype) / 8.0;
    for (uint32_t i = 0; i < region->arg_count; i++)
      if (!tsr_group_is_axis(&g->rows, m, region->args[i]) &&
          tsr_op_reads(g->ir, op, region->args[i]))
        bytes *= tsr_hinted(g->ir, tsr_value_get(g->ir, region->args[i])->hi);
    sum += bytes;
  }
  return sum;
}

static void describe(const grouped *g, const tsr_target *target, tsr_group_facts *out) {
  tsr_value inputs[MOST_VALUES];
  const uint32_t count = tsr_group_inputs(g->ir, g->op, inputs, MOST_VALUES);
  *out = (tsr_group_facts){.members = g->rows.count,
                           .outer = all_rows(g),
                           .rows = size_of(g, g->rows.axis_count - 1),
                           .cycles = row_cycles(g, target)};
  out->outer /= out->rows > 0 ? out->rows : 1;
  for (uint32_t i = 0; i < g->rows.count; i++) {
    const tsr_op_data *data = tsr_op_get(g->ir, g->rows.members[i].op);
    if (tsr_group_shares_rows(g->ir, &g->rows, i))
      out->shared_bytes += shared_bytes(g, i);
    out->stores += data->result_count;
    for (uint32_t k = 0; k < data->result_count; k++)
      if (is_result(g, data->results[k]))
        out->bytes += bytes_of(g->ir, data->results[k]);
      else if (tsr_group_stands(g->ir, &g->rows, data->results[k]))
        out->scratch_bytes += tsr_group_row_bytes(g->ir, &g->rows, data->results[k]);
  }
  for (uint32_t i = 0; i < count && i < MOST_VALUES; i++)
    out->bytes += bytes_of(g->ir, inputs[i]);
}

bool tsr_group_describe(tsr_ir *ir, const tsr_target *target, tsr_op group, tsr_group_facts *out) {
  grouped g;
  *out = (tsr_group_facts){0};
  if (!begin(ir, group, &g))
    return false;
  describe(&g, target, out);
  return true;
}

static void choose_grid(grouped *g, double grain);
static int64_t step_of(const grouped *g, uint32_t axis);

void tsr_group_cost(tsr_ir *ir, const tsr_target *target, tsr_op group,
                    const tsr_schedule *schedule, tsr_cost *out_cost) {
  grouped g;
  tsr_group_facts facts;
  *out_cost = (tsr_cost){0};
  if (!begin(ir, group, &g))
    return;
  describe(&g, target, &facts);
  g.single = *target;
  g.single.threads = 1;
  g.step = schedule->knobs[TSR_KNOB_ROWS];
  choose_grid(&g, (double)schedule->knobs[TSR_KNOB_GRAIN]);
  double tasks = 1;
  for (uint32_t i = 0; i < g.rows.axis_count; i++)
    if (g.chunk[i] > 0)
      tasks *= ceil(size_of(&g, i) / (double)(step_of(&g, i) * g.chunk[i]));
  const double steps = facts.outer * ceil(facts.rows / (double)g.step);
  const double at_once = (double)least(g.step, (int64_t)facts.rows);
  const double beyond = facts.scratch_bytes * at_once - 0.5 * (double)target->l2_bytes;
  /* What rows hand on is written and read once in scratch; what of it has no room in the second
   * cache goes to the third one and comes back. */
  tsr_cost_nest shape = {.tasks = tasks,
                         .moves = facts.cycles * facts.outer * facts.rows +
                                  2 * facts.shared_bytes * steps / target->l2_rate,
                         .turns = facts.members * steps,
                         .waits = beyond > 0 ? 2 * beyond * steps / target->l3_rate : 0,
                         .bytes = facts.bytes,
                         .moved_bytes = 2 * facts.scratch_bytes * facts.outer * facts.rows};
  tsr_cost_of_nest(target, &shape, out_cost);
}

/* --- arguments and scratch --- */

static place *place_of(grouped *g, tsr_value value) {
  for (uint32_t i = 0; i < g->place_count; i++)
    if (g->places[i].value == value)
      return &g->places[i];
  return NULL;
}

uint32_t tsr_group_inputs(tsr_ir *ir, tsr_op group, tsr_value *out, uint32_t most) {
  uint32_t count = 0;
  TSR_FOR_EACH_OP (ir, tsr_op_get(ir, group)->regions[0], block)
    for (uint32_t r = 0; r < tsr_op_get(ir, block)->region_count; r++)
      TSR_FOR_EACH_OP (ir, tsr_op_get(ir, block)->regions[r], op) {
        if (!tsr_op_is_load(ir, op))
          continue;
        const tsr_value value = tsr_op_get(ir, op)->operands[0].value;
        const tsr_value_data *data = tsr_value_get(ir, value);
        bool known = data->role == TSR_ROLE_RESULT && data->def != 0 &&
                     tsr_op_get(ir, data->def)->parent == tsr_op_get(ir, group)->regions[0];
        for (uint32_t i = 0; i < count && i < most; i++)
          known = known || out[i] == value;
        if (!known && count++ < most)
          out[count - 1] = value;
      }
  return count;
}

static void add_place(grouped *g, tsr_value value, tsr_value buffer, bool scratch) {
  if (g->place_count < MOST_VALUES)
    g->places[g->place_count++] = (place){.value = value, .buffer = buffer, .scratch = scratch};
}

static void add_argument(grouped *g, tsr_region region, tsr_value value, tsr_arg_role role) {
  const tsr_type_info *type = tsr_value_type(g->ir, value);
  add_place(g, value,
            tsr_region_add_arg(
                g->ir, region, role,
                tsr_type_make(g->ir, TSR_LEVEL_GLOBAL, type->dtype, type->dims, type->rank)),
            false);
}

static bool read_by_member(const grouped *g, tsr_value value) {
  for (uint32_t i = 0; i < g->rows.count; i++)
    TSR_FOR_EACH_OP (g->ir, tsr_op_get(g->ir, g->rows.members[i].op)->regions[0], op)
      if (tsr_op_is_load(g->ir, op) && tsr_op_get(g->ir, op)->operands[0].value == value)
        return true;
  return false;
}

/* Rows of scratch must not meet in few sets of the cache. */
static tsr_expr spread(tsr_ir *ir, tsr_expr extent) {
  int64_t number = 0;
  return tsr_expr_is_int(ir, extent, &number) && number % 256 == 0 ? tsr_expr_int(ir, number + 16)
                                                                   : extent;
}

static void add_scratch(grouped *g, tsr_value value) {
  tsr_ir *ir = g->ir;
  const tsr_type_info *type = tsr_value_type(ir, value);
  const bool all = tsr_group_stands(g->ir, &g->rows, value);
  const uint32_t front = tsr_group_dims(ir, &g->rows, value);
  tsr_expr dims[TSR_MAX_RANK + 1] = {tsr_expr_int(ir, all ? g->step : 1)};
  uint32_t rank = 1;
  for (uint32_t d = front; d < type->rank; d++)
    dims[rank++] = all && d + 1 == type->rank ? spread(ir, type->dims[d]) : type->dims[d];
  tsr_op alloc = tsr_op_append(ir, g->region, TSR_OP_ALLOC);
  add_place(
      g, value,
      tsr_op_add_result(
          ir, alloc, tsr_type_make(ir, all ? TSR_LEVEL_L2 : TSR_LEVEL_L1, type->dtype, dims, rank)),
      true);
  place *made = place_of(g, value);
  if (made != NULL) {
    made->front = front;
    made->row_only = !all;
  }
}

static void add_buffers(grouped *g, tsr_region region) {
  tsr_value inputs[MOST_VALUES];
  const uint32_t count = tsr_group_inputs(g->ir, g->op, inputs, MOST_VALUES);
  const tsr_op_data *yield =
      tsr_op_get(g->ir, tsr_region_get(g->ir, tsr_op_get(g->ir, g->op)->regions[0])->last);
  for (uint32_t i = 0; i < count; i++)
    add_argument(g, region, inputs[i], TSR_ROLE_IN);
  for (uint32_t i = 0; i < yield->operand_count; i++) {
    const tsr_value value = yield->operands[i].value;
    add_argument(g, region, value, read_by_member(g, value) ? TSR_ROLE_INOUT : TSR_ROLE_OUT);
  }
  for (uint32_t i = 0; i < g->rows.count; i++) {
    const tsr_op_data *data = tsr_op_get(g->ir, g->rows.members[i].op);
    for (uint32_t k = 0; k < data->result_count; k++)
      if (place_of(g, data->results[k]) == NULL)
        add_scratch(g, data->results[k]);
  }
}

/* --- a block cut down to some rows --- */

typedef struct cutting {
  grouped *g;
  tsr_rewriter rw;
  const tsr_group_member *member;
  tsr_expr row; /* number of the row among those in scratch */
} cutting;

/* Subscripts of the buffer for those of the value. */
static uint32_t subscripts_at(cutting *c, const place *at, const tsr_operand *operand,
                              tsr_expr *out) {
  uint32_t count = 0;
  if (at->scratch)
    out[count++] = at->row_only ? tsr_expr_int(c->g->ir, 0) : c->row;
  for (uint32_t d = at->scratch ? at->front : 0; d < operand->subscript_count; d++)
    out[count++] = tsr_rewriter_expr(&c->rw, operand->subscripts[d]);
  return count;
}

static void cut_memory(cutting *c, tsr_op op) {
  tsr_ir *ir = c->g->ir;
  const tsr_op_data *data = tsr_op_get(ir, op);
  const bool store = data->code == TSR_OP_STORE;
  const tsr_operand *operand = &data->operands[store ? 1 : 0];
  const place *at = place_of(c->g, operand->value);
  tsr_expr subs[TSR_MAX_RANK + 1];
  if (at == NULL) {
    (void)tsr_ir_poison(ir, TSR_ERR_INTERNAL, "a group reads what it does not know");
    return;
  }
  const uint32_t count = subscripts_at(c, at, operand, subs);
  const tsr_op made = tsr_op_append(ir, c->rw.out.region, data->code);
  if (store)
    tsr_op_add_operand(ir, made, tsr_rewriter_value(&c->rw, data->operands[0].value));
  tsr_op_add_element(ir, made, at->buffer, subs, count);
  for (uint32_t i = 0; i < data->attr_count; i++)
    tsr_op_set_attr(ir, made, &data->attrs[i]);
  if (!store)
    c->rw.values[data->results[0]] =
        tsr_op_add_result(ir, made, tsr_value_get(ir, data->results[0])->type);
}

/* Variables that are no axes of the group stay, and the rows where they are walked together. */
static void cut_axes(cutting *c, tsr_expr first, int64_t rows) {
  grouped *g = c->g;
  tsr_ir *ir = g->ir;
  const tsr_region_data *region = tsr_region_get(ir, tsr_op_get(ir, c->member->op)->regions[0]);
  const uint32_t last = g->rows.axis_count - 1;
  for (uint32_t i = 0; i + 1 < g->rows.axis_count; i++)
    c->rw.exprs[c->member->axes[i]] = g->position[i];
  for (uint32_t i = 0; i < region->arg_count; i++) {
    const tsr_value variable = region->args[i];
    const tsr_value_data *data = tsr_value_get(ir, variable);
    const bool is_row = variable == c->member->axes[last];
    if (is_row && rows == 1)
      c->rw.exprs[variable] = first;
    if ((is_row && rows == 1) || (!is_row && tsr_group_is_axis(&g->rows, c->member, variable)))
      continue;
    const tsr_expr made = tsr_expr_value(
        ir, tsr_region_add_index(ir, c->rw.out.region, data->role, tsr_expr_int(ir, 0),
                                 is_row ? tsr_expr_int(ir, rows) : data->hi, 1));
    c->rw.exprs[variable] = is_row ? tsr_expr_add(ir, first, made) : made;
    if (is_row)
      c->row = made;
  }
}

/* The member for `rows` rows from `first` on, as a block before it. */
static tsr_status cut(grouped *g, uint32_t number, tsr_expr first, int64_t rows, tsr_op *out) {
  cutting c = {.g = g, .member = &g->rows.members[number], .row = g->row};
  TSR_TRY(tsr_rewriter_begin(&c.rw, g->ir, c.member->op, g->taking->diag));
  cut_axes(&c, first, rows);
  TSR_FOR_EACH_OP (g->ir, tsr_op_get(g->ir, c.member->op)->regions[0], op) {
    const tsr_opcode code = tsr_op_get(g->ir, op)->code;
    if (code == TSR_OP_LOAD || code == TSR_OP_STORE)
      cut_memory(&c, op);
    else
      tsr_rewriter_clone(&c.rw, op);
  }
  *out = c.rw.out.op;
  tsr_rewriter_end(&c.rw);
  return tsr_ir_status(g->ir);
}

/* --- tiling it --- */

static void name_buffers(tsr_nest *nest) {
  for (uint32_t i = 0; i < nest->buffer_count; i++)
    nest->buffers[i].arg = nest->buffers[i].value;
}

static tsr_status read_cut(grouped *g, tsr_op block, tsr_nest **out_nest) {
  TSR_TRY(tsr_nest_read(g->ir, &g->single, &g->taking->pool, block, g->taking->diag, out_nest));
  name_buffers(*out_nest);
  return TSR_OK;
}

/* All rows and columns are one task. */
static void one_task(tsr_nest *nest, tsr_schedule *inout) {
  const tsr_contraction *c = tsr_contract_of(nest, inout);
  int64_t *knobs = inout->knobs;
  knobs[TSR_KNOB_GRAIN] = tsr_knob_get(TSR_KNOB_GRAIN)->greatest;
  knobs[TSR_KNOB_SPLIT] = 1;
  if (inout->strategy != TSR_STRATEGY_CONTRACT || c == NULL)
    return;
  knobs[TSR_KNOB_MC] = up_to(c->m < 0 ? 1 : nest->axes[c->m].size, knobs[TSR_KNOB_MR]);
  knobs[TSR_KNOB_NC] = up_to(nest->axes[c->n].size, knobs[TSR_KNOB_NR]);
}

static tsr_status tile_cut(grouped *g, uint32_t number, tsr_op block) {
  tsr_nest *nest = NULL;
  tsr_schedule schedule = {.strategy = TSR_STRATEGY_NEST};
  TSR_TRY(tsr_taking_grow(g->taking));
  TSR_TRY(read_cut(g, block, &nest));
  if (g->contracts[number])
    tsr_schedule_default(nest, &schedule);
  if (schedule.strategy != TSR_STRATEGY_CONTRACT) {
    /* What asks whether a block is a contraction may join its axes. */
    TSR_TRY(read_cut(g, block, &nest));
    schedule = (tsr_schedule){.strategy = TSR_STRATEGY_NEST};
    tsr_default_nest(nest, &schedule);
  }
  one_task(nest, &schedule);
  return schedule.strategy == TSR_STRATEGY_CONTRACT
             ? tsr_tile_contract(nest, &schedule, g->region, g->taking->diag)
             : tsr_tile_nest(nest, &schedule, g->region, g->taking->diag);
}

static tsr_status emit_member(grouped *g, uint32_t number, tsr_expr first, int64_t rows) {
  tsr_op block = 0;
  TSR_TRY(cut(g, number, first, rows, &block));
  const tsr_status status = tile_cut(g, number, block);
  tsr_op_erase(g->ir, block);
  return status;
}

/* Members from `from` on that go row by row, up to the next contraction that does not. */
static tsr_status emit_rows(grouped *g, uint32_t from, uint32_t to, tsr_expr base) {
  tsr_ir *ir = g->ir;
  const tsr_region outer = g->region;
  tsr_expr row = tsr_expr_int(ir, 0);
  if (g->now > 1) {
    tsr_tile_loop loop = tsr_tile_for(ir, outer, row, tsr_expr_int(ir, g->now), NULL, 0);
    g->region = loop.body;
    row = loop.index;
  }
  g->row = row;
  tsr_status status = TSR_OK;
  for (uint32_t i = from; i < to && status == TSR_OK; i++)
    status = emit_member(g, i, tsr_expr_add(ir, base, row), 1);
  g->region = outer;
  g->row = tsr_expr_int(ir, 0);
  return status;
}

static tsr_status emit_members(grouped *g) {
  const tsr_expr base = g->position[g->rows.axis_count - 1];
  for (uint32_t i = 0, end; i < g->rows.count; i = end) {
    end = i + 1;
    if (tsr_group_shares_rows(g->ir, &g->rows, i)) {
      TSR_TRY(emit_member(g, i, base, g->now));
      continue;
    }
    while (end < g->rows.count && !tsr_group_shares_rows(g->ir, &g->rows, end))
      end++;
    TSR_TRY(emit_rows(g, i, end, base));
  }
  return TSR_OK;
}

/* --- tasks --- */

static int64_t step_of(const grouped *g, uint32_t axis) {
  return axis + 1 == g->rows.axis_count ? g->step : 1;
}

/* From the rows outwards: whole axes while a task is smaller than the grain, then a part of one,
 * and the others number tasks. */
static void choose_grid(grouped *g, double grain) {
  double work = row_cycles(g, &g->single) * (double)g->step;
  bool split = false;
  for (uint32_t i = g->rows.axis_count; i-- > 0;) {
    const double units = size_of(g, i) / (double)step_of(g, i);
    if (split) {
      g->chunk[i] = 1;
    } else if (work * units > grain) {
      g->chunk[i] = grain > work ? (int64_t)(grain / work) : 1;
      split = true;
    } else {
      work *= units;
    }
  }
}

static void add_grid(grouped *g, tsr_region region) {
  tsr_ir *ir = g->ir;
  for (uint32_t i = 0; i < g->rows.axis_count; i++)
    if (g->chunk[i] > 0)
      g->number[i] = tsr_expr_value(
          ir, tsr_region_add_index(
                  ir, region, TSR_ROLE_GRID, tsr_expr_int(ir, 0),
                  tsr_expr_ceildiv_int(ir, extent_of(g, i), step_of(g, i) * g->chunk[i]), 1));
}

static tsr_status emit_axis(grouped *g, uint32_t axis);

static tsr_status emit_at(grouped *g, uint32_t axis, tsr_region region, tsr_expr position,
                          int64_t rows) {
  const tsr_region outer = g->region;
  g->region = region;
  g->position[axis] = position;
  g->now = rows;
  const tsr_status status = emit_axis(g, axis + 1);
  g->region = outer;
  return status;
}

/* Rows after the last whole `step` of them: all at once when their number is known, else one by
 * one. */
static tsr_status emit_rest(grouped *g, uint32_t axis, tsr_expr units) {
  tsr_ir *ir = g->ir;
  const int64_t step = step_of(g, axis);
  const tsr_expr left = tsr_expr_mod_int(ir, extent_of(g, axis), step);
  const tsr_expr first = tsr_expr_mul_int(ir, units, step);
  int64_t known = 0;
  if (tsr_expr_equals_int(ir, left, 0))
    return TSR_OK;
  tsr_region region = g->region;
  if (g->chunk[axis] > 0)
    region = tsr_tile_if(ir, region,
                         tsr_expr_binary(ir, TSR_INDEX_EQ, g->number[axis],
                                         tsr_expr_floordiv_int(ir, units, g->chunk[axis])));
  if (tsr_expr_is_int(ir, left, &known))
    return emit_at(g, axis, region, first, known);
  tsr_tile_loop loop = tsr_tile_for(ir, region, first, extent_of(g, axis), NULL, 0);
  return emit_at(g, axis, loop.body, loop.index, 1);
}

static tsr_status emit_axis(grouped *g, uint32_t axis) {
  tsr_ir *ir = g->ir;
  if (axis == g->rows.axis_count)
    return emit_members(g);
  const int64_t step = step_of(g, axis);
  const tsr_expr units = tsr_expr_floordiv_int(ir, extent_of(g, axis), step);
  tsr_expr lo = tsr_expr_int(ir, 0), hi = units;
  if (g->chunk[axis] > 0) {
    lo = tsr_expr_mul_int(ir, g->number[axis], g->chunk[axis]);
    hi = tsr_tile_min(ir, tsr_expr_add_int(ir, lo, g->chunk[axis]), units);
  }
  if (!tsr_expr_equals_int(ir, units, 0)) {
    tsr_tile_loop loop = tsr_tile_for(ir, g->region, lo, hi, NULL, 0);
    TSR_TRY(emit_at(g, axis, loop.body, tsr_expr_mul_int(ir, loop.index, step), step));
  }
  return emit_rest(g, axis, units);
}

tsr_status tsr_tile_group(tsr_taking *taking, tsr_op group, const tsr_schedule *schedule,
                          tsr_region region) {
  grouped g;
  if (!begin(taking->ir, group, &g))
    return tsr_fail(taking->diag, TSR_ERR_INTERNAL, "the blocks of a group do not fit each other");
  g.taking = taking;
  g.region = region;
  g.single = *taking->target;
  g.single.threads = 1;
  g.step = schedule->knobs[TSR_KNOB_ROWS];
  g.row = tsr_expr_int(g.ir, 0);
  add_buffers(&g, region);
  choose_grid(&g, (double)schedule->knobs[TSR_KNOB_GRAIN]);
  add_grid(&g, region);
  TSR_TRY(emit_axis(&g, 0));
  return tsr_ir_status(g.ir);
}
