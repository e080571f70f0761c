/* segments: a graph with control flow, lists, maybes or texts becomes a model, which the host runs,
 * and the graphs that it calls. Each graph holds the device ops of one segment of one region (see
 * segments_order.c); constants, and what is made of constants alone, are copied into every graph
 * that uses them, so that each can lay them out as it likes. What is not needed is left behind,
 * down to single carried values. */
#include "passes/segments.h"
#include "passes/canonicalize.h"
#include <string.h>

typedef struct cutting {
  tsr_segments s;
  tsr_op source;       /* the graph that is cut */
  tsr_value *in_model; /* by value of the source: its place in the model */
  tsr_value *in_graph; /* the same for the graph at hand, 0: not in it yet */
  tsr_value *touched;  /* entries of in_graph to be cleared */
  uint32_t touched_count;
  tsr_op *members; /* the ops of the segment at hand */
  uint32_t member_count;
  tsr_region body;         /* of the graph at hand */
  tsr_op call;             /* the call of it, whose operands are its inputs */
  uint32_t inputs, graphs; /* counters */
} cutting;

static const tsr_op_data *data_of(const cutting *c, tsr_op op) {
  return tsr_op_get(c->s.ir, op);
}

/* --- graphs --- */

static void put(cutting *c, tsr_value value, tsr_value in_graph) {
  if (c->in_graph[value] == 0)
    c->touched[c->touched_count++] = value;
  c->in_graph[value] = in_graph;
}

static void clone_member(cutting *c, tsr_op op) {
  const tsr_op_data *data = data_of(c, op);
  for (uint32_t i = 0; i < data->result_count; i++)
    put(c, data->results[i], 0);
  (void)tsr_op_clone(c->s.ir, op, c->body, c->in_graph, c->s.value_count + 1);
}

static void clone_free(cutting *c, tsr_op op) {
  const tsr_op_data *data = data_of(c, op);
  if (c->in_graph[data->results[0]] != 0)
    return;
  for (uint32_t i = 0; i < data->operand_count; i++)
    clone_free(c, tsr_value_get(c->s.ir, data->operands[i].value)->def);
  clone_member(c, op);
}

/* What a `sparse` attribute says of a value is true of the input that it becomes. */
static void copy_sparse(cutting *c, tsr_op input, tsr_value value) {
  const tsr_value_data *data = tsr_value_get(c->s.ir, value);
  const char *sparse = tsr_op_string(c->s.ir, data->def, "sparse");
  if (sparse != NULL && data->role == TSR_ROLE_RESULT && data->number == 0 &&
      strncmp(sparse, "mask:", 5) != 0)
    tsr_op_set_string(c->s.ir, input, "sparse", sparse);
}

static void name_port(cutting *c, tsr_op port, uint32_t number) {
  const char *name = tsr_arena_printf(c->s.arena, "%u", number);
  if (name == NULL)
    (void)tsr_ir_poison(c->s.ir, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  else
    tsr_op_set_string(c->s.ir, port, "name", name);
}

static void add_input(cutting *c, tsr_value value) {
  tsr_ir *ir = c->s.ir;
  tsr_op input = tsr_op_append(ir, c->body, TSR_OP_INPUT);
  tsr_value inside = tsr_op_add_result(ir, input, tsr_value_get(ir, value)->type);
  tsr_value_set_name(ir, inside, tsr_value_get(ir, value)->name);
  name_port(c, input, c->inputs++);
  copy_sparse(c, input, value);
  tsr_op_add_operand(ir, c->call, c->in_model[value]);
  put(c, value, inside);
}

static bool is_member(const cutting *c, tsr_op op) {
  tsr_op first = c->members[0];
  return data_of(c, op)->parent == data_of(c, first)->parent &&
         c->s.level[op] == c->s.level[first] && !tsr_op_of_host(c->s.ir, op) &&
         data_of(c, op)->code != TSR_OP_INPUT;
}

static void fetch_input(void *context, tsr_op user, tsr_value value) {
  cutting *c = (cutting *)context;
  tsr_op maker = tsr_value_get(c->s.ir, value)->def;
  (void)user;
  if (!c->s.is_free[maker] && !is_member(c, maker) && c->in_graph[value] == 0)
    add_input(c, value);
}

static void fetch_free(void *context, tsr_op user, tsr_value value) {
  cutting *c = (cutting *)context;
  tsr_op maker = tsr_value_get(c->s.ir, value)->def;
  (void)user;
  if (c->s.is_free[maker])
    clone_free(c, maker);
}

static void add_outputs(cutting *c) {
  tsr_ir *ir = c->s.ir;
  uint32_t count = 0;
  for (uint32_t m = 0; m < c->member_count; m++) {
    const tsr_op_data *data = data_of(c, c->members[m]);
    for (uint32_t i = 0; i < data->result_count; i++) {
      tsr_value value = data->results[i];
      if (!c->s.on_host[value] && !c->s.exported[value])
        continue;
      tsr_op output = tsr_op_append(ir, c->body, TSR_OP_OUTPUT);
      tsr_op_add_operand(ir, output, c->in_graph[value]);
      name_port(c, output, count++);
      c->in_model[value] = tsr_op_add_result(ir, c->call, tsr_value_get(ir, value)->type);
      tsr_value_set_name(ir, c->in_model[value], tsr_value_get(ir, value)->name);
    }
  }
}

/* The members as a graph, and its call at the end of `region` of the model. */
static void make_graph(cutting *c, tsr_region region) {
  tsr_ir *ir = c->s.ir;
  tsr_op graph = tsr_op_insert_before(ir, c->source, TSR_OP_GRAPH);
  const char *symbol =
      tsr_arena_printf(c->s.arena, "%s.%u", data_of(c, c->source)->symbol, c->graphs++);
  if (symbol == NULL) {
    (void)tsr_ir_poison(ir, TSR_ERR_OUT_OF_MEMORY, "out of memory");
    return;
  }
  tsr_op_set_symbol(ir, graph, symbol);
  c->body = tsr_op_add_region(ir, graph);
  c->call = tsr_op_append(ir, region, TSR_OP_CALL);
  tsr_op_set_symbol_attr(ir, c->call, "graph", symbol);
  c->inputs = 0;
  for (uint32_t m = 0; m < c->member_count; m++)
    tsr_visit_uses(&c->s, c->members[m], fetch_input, c);
  for (uint32_t m = 0; m < c->member_count; m++) {
    if (c->s.is_free[c->members[m]]) {
      clone_free(c, c->members[m]);
      continue;
    }
    tsr_visit_uses(&c->s, c->members[m], fetch_free, c);
    clone_member(c, c->members[m]);
  }
  add_outputs(c);
  while (c->touched_count != 0)
    c->in_graph[c->touched[--c->touched_count]] = 0;
}

/* --- the model --- */

static void cut_region(cutting *c, tsr_region from, tsr_region to);

static void clone_host(cutting *c, tsr_op op, tsr_region region) {
  (void)tsr_op_clone(c->s.ir, op, region, c->in_model, c->s.value_count + 1);
}

static void copy_slots(cutting *c, tsr_op op, tsr_op copy) {
  tsr_ir *ir = c->s.ir;
  const tsr_op_data *data = data_of(c, op);
  for (uint32_t i = 0; i < data->result_count; i++) {
    if (!tsr_slot_live(&c->s, op, i))
      continue;
    tsr_value value = data->results[i];
    c->in_model[value] = tsr_op_add_result(ir, copy, tsr_value_get(ir, value)->type);
    tsr_value_set_name(ir, c->in_model[value], tsr_value_get(ir, value)->name);
    if (data->code == TSR_OP_LOOP)
      tsr_op_add_operand(ir, copy, c->in_model[data->operands[i].value]);
  }
  if (data->code == TSR_OP_IF && data->operand_count != 0)
    tsr_op_add_operand(ir, copy, c->in_model[data->operands[0].value]);
  for (uint32_t i = 0; i < data->attr_count; i++)
    tsr_op_set_attr(ir, copy, &data->attrs[i]);
  tsr_op_copy_origins(ir, copy, op);
}

/* `if` or `loop`, without the results that nobody needs. */
static void copy_control(cutting *c, tsr_op op, tsr_region region) {
  tsr_ir *ir = c->s.ir;
  const tsr_op_data *data = data_of(c, op);
  tsr_op copy = tsr_op_append(ir, region, data->code);
  copy_slots(c, op, copy);
  for (uint32_t r = 0; r < data->region_count; r++) {
    const tsr_region_data *body = tsr_region_get(ir, data->regions[r]);
    tsr_region inside = tsr_op_add_region(ir, copy);
    for (uint32_t i = 0; i < body->arg_count; i++) {
      if (!tsr_slot_live(&c->s, op, i))
        continue;
      tsr_value arg = body->args[i];
      c->in_model[arg] =
          tsr_region_add_arg(ir, inside, TSR_ROLE_CARRIED, tsr_value_get(ir, arg)->type);
      tsr_value_set_name(ir, c->in_model[arg], tsr_value_get(ir, arg)->name);
    }
    cut_region(c, data->regions[r], inside);
  }
}

/* Yields leave out what is not needed; a region without results need not yield. */
static void copy_end(cutting *c, tsr_region from, tsr_region to) {
  tsr_ir *ir = c->s.ir;
  tsr_op around = tsr_region_get(ir, from)->parent, end = tsr_region_get(ir, from)->last;
  bool loop = data_of(c, around)->code == TSR_OP_LOOP;
  if (end == 0 || data_of(c, end)->code != TSR_OP_YIELD)
    return;
  const tsr_op_data *data = data_of(c, end);
  tsr_op yield = tsr_op_append(ir, to, TSR_OP_YIELD);
  for (uint32_t i = 0; i < data->operand_count; i++)
    if ((loop && i == 0) || tsr_slot_live(&c->s, around, i - (loop ? 1 : 0)))
      tsr_op_add_operand(ir, yield, c->in_model[data->operands[i].value]);
}

/* Inputs, and constants that the host needs. */
static void start_region(cutting *c, tsr_region from, tsr_region to) {
  TSR_FOR_EACH_OP (c->s.ir, from, op) {
    const tsr_op_data *data = data_of(c, op);
    if (c->s.op_live[op] && (data->code == TSR_OP_INPUT ||
                             (data->code == TSR_OP_CONST && c->s.on_host[data->results[0]] &&
                              tsr_is_host_constant(&c->s, data->results[0]))))
      clone_host(c, op, to);
  }
}

/* What a segment or a group runs: live, not a port, and not made by whoever needs it. */
static bool has_turn(const cutting *c, tsr_op op) {
  tsr_opcode code = data_of(c, op)->code;
  return c->s.op_live[op] && code != TSR_OP_INPUT && code != TSR_OP_OUTPUT &&
         code != TSR_OP_YIELD && (!c->s.is_free[op] || tsr_is_made_free(&c->s, op));
}

/* The ops of a region by turns, in their order within each: segment 0, group 0, segment 1 .. */
typedef struct turns {
  tsr_op *ops;
  uint32_t *start; /* by turn, and the end */
  uint32_t count;
} turns;

static uint32_t turn_of(const cutting *c, tsr_op op) {
  return 2 * c->s.level[op] + (tsr_op_of_host(c->s.ir, op) ? 1 : 0);
}

static bool list_turns(cutting *c, tsr_region region, turns *out) {
  uint32_t ops = 0;
  *out = (turns){0};
  TSR_FOR_EACH_OP (c->s.ir, region, op) {
    if (!has_turn(c, op))
      continue;
    ops++;
    out->count = turn_of(c, op) + 1 > out->count ? turn_of(c, op) + 1 : out->count;
  }
  size_t starts = (size_t)out->count + 2;
  out->ops = (tsr_op *)tsr_arena_alloc_array(c->s.arena, (size_t)ops + 1, sizeof *out->ops);
  out->start = (uint32_t *)tsr_arena_alloc_array(c->s.arena, starts, sizeof *out->start);
  if (out->ops == NULL || out->start == NULL)
    return tsr_ir_poison(c->s.ir, TSR_ERR_OUT_OF_MEMORY, "out of memory") != 0;
  memset(out->start, 0, starts * sizeof *out->start);
  TSR_FOR_EACH_OP (c->s.ir, region, op)
    if (has_turn(c, op))
      out->start[turn_of(c, op) + 2]++;
  for (uint32_t turn = 2; turn < starts; turn++)
    out->start[turn] += out->start[turn - 1];
  TSR_FOR_EACH_OP (c->s.ir, region, op)
    if (has_turn(c, op))
      out->ops[out->start[turn_of(c, op) + 1]++] = op;
  return true;
}

static void copy_host(cutting *c, tsr_op op, tsr_region to) {
  tsr_opcode code = data_of(c, op)->code;
  if (code == TSR_OP_IF || code == TSR_OP_LOOP)
    copy_control(c, op, to);
  else
    clone_host(c, op, to);
}

/* Device and host take turns. */
static void cut_region(cutting *c, tsr_region from, tsr_region to) {
  turns order;
  start_region(c, from, to);
  if (!list_turns(c, from, &order))
    return;
  for (uint32_t turn = 0; turn < order.count && tsr_ir_status(c->s.ir) == TSR_OK; turn++) {
    uint32_t first = order.start[turn], end = order.start[turn + 1];
    c->members = order.ops + first;
    c->member_count = end - first;
    if (turn % 2 == 0 && first != end)
      make_graph(c, to);
    for (uint32_t i = first; turn % 2 == 1 && i < end; i++)
      copy_host(c, order.ops[i], to);
  }
  TSR_FOR_EACH_OP (c->s.ir, from, op)
    if (data_of(c, op)->code == TSR_OP_OUTPUT)
      clone_host(c, op, to);
  copy_end(c, from, to);
}

/* --- the pass --- */

static tsr_value *value_table(cutting *c) {
  size_t count = (size_t)c->s.value_count + 1;
  tsr_value *table = (tsr_value *)tsr_arena_alloc_array(c->s.arena, count, sizeof *table);
  if (table != NULL)
    memset(table, 0, count * sizeof *table);
  return table;
}

static tsr_status cut_graph(tsr_ir *ir, tsr_op graph, tsr_arena *arena, tsr_diag *diag) {
  cutting c = {.s = {.ir = ir, .arena = arena}, .source = graph};
  TSR_TRY(tsr_segments_order(&c.s, graph, diag));
  c.in_model = value_table(&c);
  c.in_graph = value_table(&c);
  c.touched = value_table(&c);
  if (c.in_model == NULL || c.in_graph == NULL || c.touched == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while cutting a graph");
  tsr_op model = tsr_op_insert_before(ir, graph, TSR_OP_MODEL);
  const tsr_op_data *data = tsr_op_get(ir, graph);
  tsr_op_set_symbol(ir, model, data->symbol);
  for (uint32_t i = 0; i < data->attr_count; i++)
    tsr_op_set_attr(ir, model, &data->attrs[i]);
  tsr_op_copy_origins(ir, model, graph);
  cut_region(&c, data->regions[0], tsr_op_add_region(ir, model));
  if (tsr_ir_status(ir) == TSR_OK)
    tsr_op_erase(ir, graph);
  return TSR_OK;
}

/* Lists, maybes and texts that only come and go, too. */
static bool needs_host(const tsr_ir *ir, tsr_op graph) {
  TSR_FOR_EACH_OP (ir, tsr_op_get(ir, graph)->regions[0], op) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    bool list =
        data->code == TSR_OP_INPUT && tsr_value_type(ir, data->results[0])->level >= TSR_LEVEL_LIST;
    if (list || tsr_op_of_host(ir, op) || tsr_op_bool(ir, op, "text", false))
      return true;
  }
  return false;
}

tsr_status tsr_pass_segments(tsr_ir *ir, const tsr_pass_options *options, tsr_diag *diag) {
  (void)options;
  for (tsr_op op = tsr_region_get(ir, tsr_ir_top(ir))->first, next; op != 0; op = next) {
    bool changed;
    next = tsr_op_get(ir, op)->next;
    if (tsr_op_get(ir, op)->code != TSR_OP_GRAPH || !needs_host(ir, op))
      continue;
    TSR_TRY(tsr_cse_region(ir, tsr_op_get(ir, op)->regions[0], diag, &changed));
    tsr_arena arena;
    tsr_arena_init(&arena, tsr_ir_allocator(ir));
    tsr_status status = cut_graph(ir, op, &arena, diag);
    tsr_arena_reset(&arena);
    TSR_TRY(status);
  }
  return TSR_OK;
}
