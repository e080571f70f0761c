/* for {stages = n} as a pipeline. The copies of a turn are those by cp.async in front of its first
 * barrier (or wait for copies); they, and the index arithmetic and loads that they need, are
 * written twice: in front of the loop for the turns 0 .. n - 2, and behind the barrier of turn k
 * for turn k + n - 1, whose place in the ring turn k - 1 was the last to read. Every turn closes
 * one group of copies, empty ones too, so that at the barrier all but the latest n - 2 groups have
 * to be there. The rest of the turn is written as it stands. */
#include "codegen/cuda/emit.h"
#include <string.h>

enum { MOST_STAGES = 16, MOST_STEP = 1 << 24 };

struct tsr_cu_turn {
  tsr_cu_turn *outer;
  tsr_op loop;
  tsr_region body;
  tsr_op point, barrier; /* where copies are complete; behind which places are free */
  int64_t stages, step;
  const char *index, *end, *type;
  bool *skip_ahead, *skip_rest; /* by op id */
  const bool *outer_skip;
  tsr_value *values; /* made by what is written twice */
  uint32_t value_count, value_capacity;
  uint32_t copies;
};

static bool word_is(const tsr_cu *e, tsr_op op, const char *key, const char *word) {
  const char *text = tsr_op_string(e->ir, op, key);
  return text && !strcmp(text, word);
}

/* --- what runs ahead --- */

static void *refuse(tsr_cu *e, tsr_op op, const char *why) {
  e->op = tsr_op_get(e->ir, op);
  e->op_id = op;
  return tsr_cu_fail(e, TSR_ERR_VERIFY, "%s", why);
}

static bool is_inside(const tsr_cu *e, tsr_op op, tsr_op loop) {
  while (op != 0 && op != loop)
    op = tsr_region_get(e->ir, tsr_op_get(e->ir, op)->parent)->parent;
  return op == loop;
}

static bool may_run_ahead(const tsr_cu *e, const tsr_op_data *op) {
  switch (op->code) {
  case TSR_OP_LOAD:
  case TSR_OP_GATHER_LOAD: {
    tsr_value from = op->operands[0].value;
    return tsr_value_type(e->ir, from)->level == TSR_LEVEL_GLOBAL && !e->hazard[from];
  }
  case TSR_OP_INDEX:
  case TSR_OP_CONST:
  case TSR_OP_REDUCE:
  case TSR_OP_TRANSPOSE:
  case TSR_OP_TILE_SLICE:
    return true;
  default:
    return tsr_opcode_elementwise(op->code);
  }
}

static void need_op(tsr_cu *e, tsr_cu_turn *turn, tsr_op id);

static void need_value(tsr_cu *e, tsr_cu_turn *turn, tsr_op user, tsr_value value) {
  const tsr_value_data *data = tsr_value_get(e->ir, value);
  if (!is_inside(e, data->def, turn->loop) || data->role == TSR_ROLE_LOOP)
    return;
  if (data->role != TSR_ROLE_RESULT)
    refuse(e, user, "a copy that runs ahead depends on a carried value");
  if (data->def == turn->loop || tsr_op_get(e->ir, data->def)->code == TSR_OP_ALLOC ||
      !turn->skip_ahead[data->def])
    return;
  if (!may_run_ahead(e, tsr_op_get(e->ir, data->def)))
    refuse(e, user, "a copy that runs ahead depends on what its turn computes");
  need_op(e, turn, data->def);
}

static void need_expr(tsr_cu *e, tsr_cu_turn *turn, tsr_op user, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(e->ir, expr);
  if (node.op == TSR_INDEX_VALUE)
    need_value(e, turn, user, node.value);
  else if (node.op != TSR_INDEX_INT && node.op != TSR_INDEX_DIM && node.op != TSR_INDEX_LANE) {
    need_expr(e, turn, user, node.a);
    need_expr(e, turn, user, node.b);
  }
}

static void keep_value(tsr_cu *e, tsr_cu_turn *turn, tsr_value value) {
  if (turn->value_count == turn->value_capacity) {
    turn->value_capacity = turn->value_capacity ? 2 * turn->value_capacity : 16;
    tsr_value *grown = tsr_cu_alloc(e, turn->value_capacity, sizeof *grown);
    if (turn->value_count)
      memcpy(grown, turn->values, turn->value_count * sizeof *grown);
    turn->values = grown;
  }
  turn->values[turn->value_count++] = value;
}

static void need_op(tsr_cu *e, tsr_cu_turn *turn, tsr_op id) {
  const tsr_op_data *op = tsr_op_get(e->ir, id);
  turn->skip_ahead[id] = false;
  for (uint32_t i = 0; i < op->result_count; ++i)
    keep_value(e, turn, op->results[i]);
  for (uint32_t i = 0; i < op->operand_count; ++i) {
    need_value(e, turn, id, op->operands[i].value);
    for (uint32_t s = 0; s < op->operands[i].subscript_count; ++s)
      need_expr(e, turn, id, op->operands[i].subscripts[s]);
  }
  for (uint32_t i = 0; i < op->attr_count; ++i) {
    if (op->attrs[i].kind == TSR_ATTR_EXPR)
      need_expr(e, turn, id, op->attrs[i].u.expr);
    for (uint32_t k = 0; op->attrs[i].kind == TSR_ATTR_EXPRS && k < op->attrs[i].count; ++k)
      need_expr(e, turn, id, op->attrs[i].u.exprs[k]);
  }
}

/* The copies of n turns in a row go to different places: the first subscript grows by a number, as
 * it stands or under one `mod`. */
static void check_ring(tsr_cu *e, const tsr_cu_turn *turn, tsr_op copy) {
  const tsr_operand *to = &tsr_op_get(e->ir, copy)->operands[1];
  tsr_value variable = tsr_region_get(e->ir, turn->body)->args[0];
  tsr_expr index = tsr_expr_value(e->ir, variable), place = tsr_expr_int(e->ir, 0);
  if (to->subscript_count > 0)
    place = to->subscripts[0];
  tsr_expr_node node = tsr_expr_get(e->ir, place);
  int64_t ring = 0;
  if (node.op == TSR_INDEX_MOD && tsr_expr_is_int(e->ir, node.b, &ring) && ring > 0)
    place = node.a;
  else
    ring = 0;
  for (int64_t ahead = 1; ahead < turn->stages; ++ahead) {
    tsr_expr later = tsr_expr_add_int(e->ir, index, ahead * turn->step);
    tsr_expr there = tsr_expr_substitute(e->ir, place, &index, &later, 1);
    int64_t distance = 0;
    if (!tsr_expr_is_int(e->ir, tsr_expr_sub(e->ir, there, place), &distance) ||
        (ring ? distance % ring : distance) == 0)
      refuse(e, copy,
             "the ring has no place for each stage: its first subscript must step from "
             "turn to turn, modulo the number of stages or more");
  }
}

static bool find_copies(tsr_cu *e, tsr_cu_turn *turn, tsr_region region);

/* An `if` is written twice when copies stand in it; its rest may be empty. */
static void split_if(tsr_cu *e, tsr_cu_turn *turn, tsr_op id, const tsr_op_data *op) {
  uint32_t before = turn->copies;
  bool all = true;
  for (uint32_t i = 0; i < op->region_count; ++i)
    all = find_copies(e, turn, op->regions[i]) && all;
  if (turn->copies == before)
    return;
  if (op->result_count > 0)
    refuse(e, id, "an `if` around copies that run ahead has results");
  need_op(e, turn, id);
  turn->skip_rest[id] = all;
}

/* Marks the copies of a region up to the turn's point. True: there is nothing else in it. */
static bool find_copies(tsr_cu *e, tsr_cu_turn *turn, tsr_region region) {
  bool only = true;
  TSR_FOR_EACH_OP (e->ir, region, id) {
    const tsr_op_data *op = tsr_op_get(e->ir, id);
    if (id == turn->point)
      return false;
    if (op->code == TSR_OP_COPY && op->operand_count == 2 && word_is(e, id, "atom", "cp.async")) {
      check_ring(e, turn, id);
      need_op(e, turn, id);
      turn->skip_rest[id] = true;
      ++turn->copies;
    } else if (op->code == TSR_OP_IF) {
      split_if(e, turn, id, op);
      only = only && turn->skip_rest[id];
    } else if (op->code != TSR_OP_YIELD)
      only = only && may_run_ahead(e, op);
  }
  return only;
}

static bool has_barrier(const tsr_cu *e, const tsr_op_data *op) {
  for (uint32_t i = 0; i < op->region_count; ++i)
    TSR_FOR_EACH_OP (e->ir, op->regions[i], id) {
      const tsr_op_data *inner = tsr_op_get(e->ir, id);
      if (inner->code == TSR_OP_BARRIER || has_barrier(e, inner))
        return true;
    }
  return false;
}

static void skip_all(const tsr_cu *e, tsr_region region, bool *skip) {
  TSR_FOR_EACH_OP (e->ir, region, id) {
    const tsr_op_data *op = tsr_op_get(e->ir, id);
    skip[id] = true;
    for (uint32_t i = 0; i < op->region_count; ++i)
      skip_all(e, op->regions[i], skip);
  }
}

static void find_point(tsr_cu *e, tsr_cu_turn *turn) {
  TSR_FOR_EACH_OP (e->ir, turn->body, id) {
    const tsr_op_data *op = tsr_op_get(e->ir, id);
    bool waits = op->code == TSR_OP_WAIT && word_is(e, id, "of", "copy");
    if ((waits || op->code == TSR_OP_BARRIER) && turn->point == 0)
      turn->point = id;
    if (op->code == TSR_OP_BARRIER && turn->barrier == 0)
      turn->barrier = id;
    if (turn->point == 0 && has_barrier(e, op))
      refuse(e, id, "the first barrier of a turn with stages stands in an inner region");
  }
}

static void analyse(tsr_cu *e, tsr_cu_turn *turn) {
  const tsr_op_data *op = e->op;
  const tsr_op id = e->op_id;
  turn->skip_ahead = tsr_cu_alloc(e, tsr_op_count(e->ir) + 1, sizeof *turn->skip_ahead);
  turn->skip_rest = tsr_cu_alloc(e, tsr_op_count(e->ir) + 1, sizeof *turn->skip_rest);
  skip_all(e, turn->body, turn->skip_ahead);
  if (e->skip)
    memcpy(turn->skip_rest, e->skip, tsr_op_count(e->ir) + 1);
  find_point(e, turn);
  find_copies(e, turn, turn->body);
  if (turn->copies > 0 && turn->barrier == 0)
    refuse(e, id, "a turn with stages has no barrier");
  e->op = op;
  e->op_id = id;
}

/* --- text --- */

/* The copies of the turn whose index is `index`, if there is one. */
static void emit_ahead(tsr_cu *e, tsr_cu_turn *turn, const char *index) {
  tsr_value variable = tsr_region_get(e->ir, turn->body)->args[0];
  const bool *skip = e->skip;
  const tsr_cu_slot own = e->slots[variable];
  const tsr_cu_sink nothing = {0};
  tsr_cu_slot *kept = tsr_cu_alloc(e, turn->value_count, sizeof *kept);
  for (uint32_t i = 0; i < turn->value_count; ++i)
    kept[i] = e->slots[turn->values[i]];
  e->turn = turn->outer;
  e->skip = turn->skip_ahead;
  e->slots[variable] = (tsr_cu_slot){.index = index, .is_int = !strcmp(turn->type, "int")};
  ++e->ahead;
  tsr_cu_line(e, "if (%s < %s) {", index, turn->end);
  tsr_cu_region(e, turn->body, &nothing);
  tsr_cu_line(e, "}");
  tsr_cu_line(e, "tsr_copy_async_commit();");
  --e->ahead;
  e->turn = turn;
  e->skip = skip;
  e->slots[variable] = own;
  for (uint32_t i = 0; i < turn->value_count; ++i)
    e->slots[turn->values[i]] = kept[i];
}

bool tsr_cu_turn_begins(tsr_cu *e) {
  tsr_cu_turn *turn = e->turn;
  if (!turn || e->op_id != turn->point)
    return false;
  tsr_cu_line(e, "tsr_copy_async_wait(%lld);", (long long)(turn->stages - 2));
  return true;
}

void tsr_cu_turn_goes_on(tsr_cu *e) {
  tsr_cu_turn *turn = e->turn;
  if (!turn || e->op_id != turn->barrier)
    return;
  const char *later = tsr_cu_temporary(e, "later");
  tsr_cu_line(e, "{");
  tsr_cu_line(e, "const %s %s = %s + %lld;", turn->type, later, turn->index,
              (long long)((turn->stages - 1) * turn->step));
  emit_ahead(e, turn, later);
  tsr_cu_line(e, "}");
}

static void emit_start(tsr_cu *e, tsr_cu_turn *turn, const char *lo) {
  const char *stage = tsr_cu_temporary(e, "stage"), *first = tsr_cu_temporary(e, "first");
  if (e->loops > 0 || e->scratch_touched)
    tsr_cu_barrier(e);
  tsr_cu_line(e, "for (int %s = 0; %s < %lld; ++%s) {", stage, stage, (long long)(turn->stages - 1),
              stage);
  tsr_cu_line(e, "const %s %s = (%s)(%s) + %s * %lld;", turn->type, first, turn->type, lo, stage,
              (long long)turn->step);
  emit_ahead(e, turn, first);
  tsr_cu_line(e, "}");
}

bool tsr_cu_pipeline_start(tsr_cu *e, const tsr_cu_loop_text *loop) {
  int64_t stages = tsr_op_int(e->ir, e->op_id, "stages", 1);
  if (stages < 2)
    return false;
  if (stages > MOST_STAGES || loop->step > MOST_STEP)
    tsr_cu_fail(e, TSR_ERR_LIMIT, "%lld stages of %lld; %d of %d at most", (long long)stages,
                (long long)loop->step, MOST_STAGES, MOST_STEP);
  tsr_cu_turn *turn = tsr_cu_alloc(e, 1, sizeof *turn);
  *turn = (tsr_cu_turn){.outer = e->turn,
                        .loop = e->op_id,
                        .body = e->op->regions[0],
                        .stages = stages,
                        .step = loop->step,
                        .index = loop->index,
                        .end = loop->end,
                        .type = loop->type};
  analyse(e, turn);
  if (turn->copies == 0)
    return false;
  emit_start(e, turn, loop->lo);
  turn->outer_skip = e->skip;
  e->turn = turn;
  e->skip = turn->skip_rest;
  return true;
}

void tsr_cu_pipeline_end(tsr_cu *e) {
  e->skip = e->turn->outer_skip;
  e->turn = e->turn->outer;
}
