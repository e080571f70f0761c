/* Random graphs with branches, loops, lists and sizes read from the device, and an interpreter that
 * runs them op by op, and models of them too. It demands that each dim has a value, and the right
 * one, wherever it is used. Numbers are whole and small, so that float32 is exact. */
#ifndef TSR_TESTS_PASSES_CONTROL_FLOW_H
#define TSR_TESTS_PASSES_CONTROL_FLOW_H
#include "ir/const_bytes.h"
#include "ir/graph_build.h"
#include <check.h>
#include <stdio.h>
#include <string.h>

enum { MAX_VALUES = 64, MAX_EXTENT = 1 << 12, MAX_DEPTH = 3, MAX_NUMBER = 1 << 20 };

/* --- random graphs --- */

/* What may be used: vectors, f32 and i64 scalars, bools, lists of vectors, maybes of vectors. */
typedef enum value_kind { VECTOR, REAL, WHOLE, TRUTH, LIST, MAYBE, KINDS } value_kind;

typedef struct scope {
  tsr_value values[KINDS][MAX_VALUES];
  uint32_t count[KINDS];
} scope;

typedef struct generator {
  tsr_builder b;
  uint64_t state;
  unsigned dims, depth;
} generator;

static inline unsigned below(generator *g, unsigned limit) {
  g->state = g->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (unsigned)(g->state >> 33) % limit;
}

static inline tsr_value pick(generator *g, const scope *s, value_kind kind) {
  return s->values[kind][below(g, s->count[kind])];
}

static inline void add(generator *g, scope *s, value_kind kind, tsr_value value) {
  ck_assert_msg(value != 0, "%s", tsr_ir_diag(g->b.ir)->message);
  if (s->count[kind] < MAX_VALUES)
    s->values[kind][s->count[kind]++] = value;
  else
    s->values[kind][below(g, MAX_VALUES)] = value;
}

static inline tsr_expr fresh(generator *g) {
  char name[32];
  (void)snprintf(name, sizeof name, "D%u", g->dims++);
  return tsr_expr_dim(g->b.ir, tsr_dim_add(g->b.ir, name, 0, MAX_EXTENT, 0));
}

static inline tsr_type vector_type(generator *g, tsr_expr extent) {
  return tsr_type_make(g->b.ir, TSR_LEVEL_GLOBAL, TSR_F32, &extent, 1);
}

static inline tsr_type maybe_type(generator *g) {
  return tsr_type_make(g->b.ir, TSR_LEVEL_MAYBE, TSR_F32, NULL, TSR_RANK_ANY);
}

static inline tsr_type scalar_type(generator *g, tsr_dtype dtype) {
  return tsr_type_make(g->b.ir, TSR_LEVEL_GLOBAL, dtype, NULL, 0);
}

static inline tsr_type list_type(generator *g) {
  return tsr_type_make(g->b.ir, TSR_LEVEL_LIST, TSR_F32, NULL, TSR_RANK_ANY);
}

static inline tsr_type type_of(generator *g, tsr_value value) {
  return tsr_value_get(g->b.ir, value)->type;
}

static inline tsr_value host(generator *g, tsr_opcode code, const tsr_value *operands,
                             uint32_t count, tsr_type type) {
  tsr_value out = 0;
  tsr_op op = tsr_graph_host(&g->b, code, operands, count, &type, 1, &out);
  if (code == TSR_OP_LIST_CONCAT || code == TSR_OP_LIST_SPLIT)
    tsr_op_set_int(g->b.ir, op, "axis", 0);
  if (code == TSR_OP_LIST_CONCAT)
    tsr_op_set_bool(g->b.ir, op, "reverse", below(g, 2) != 0);
  return out;
}

/* A size of 0..7 from a number that may be anything. */
static inline tsr_expr read_size(generator *g, tsr_value number) {
  char name[32];
  tsr_value seven = tsr_graph_scalar_int(&g->b, TSR_I64, 7);
  tsr_value small = tsr_graph_binary(&g->b, TSR_OP_MOD, number, seven);
  (void)snprintf(name, sizeof name, "K%u", g->dims++);
  return tsr_graph_read_dim(&g->b, small, 0, name, tsr_expr_int(g->b.ir, 7));
}

static inline void add_device_op(generator *g, scope *s) {
  static const tsr_opcode codes[] = {TSR_OP_ADD, TSR_OP_SUB, TSR_OP_MAX, TSR_OP_MIN};
  static const int64_t axis = 0;
  tsr_value x = pick(g, s, VECTOR);
  tsr_opcode code = codes[below(g, 4)];
  tsr_expr extent = tsr_type_get(g->b.ir, type_of(g, x))->dims[0];
  switch (below(g, 8)) {
  case 0:
    add(g, s, VECTOR, tsr_graph_binary(&g->b, code, x, pick(g, s, REAL)));
    return;
  case 1:
    add(g, s, REAL, tsr_graph_reduce(&g->b, x, "add", &axis, 1));
    return;
  case 2:
    add(g, s, WHOLE, tsr_graph_index(&g->b, TSR_I64, extent));
    return;
  case 3:
    add(g, s, WHOLE, tsr_graph_binary(&g->b, code, pick(g, s, WHOLE), pick(g, s, WHOLE)));
    return;
  case 4:
    add(g, s, TRUTH, tsr_graph_binary(&g->b, TSR_OP_LT, pick(g, s, WHOLE), pick(g, s, WHOLE)));
    return;
  case 5:
    extent = read_size(g, pick(g, s, WHOLE));
    add(g, s, VECTOR, tsr_graph_splat(&g->b, TSR_F32, below(g, 9), &extent, 1));
    return;
  case 6:
    add(g, s, REAL, tsr_graph_scalar(&g->b, TSR_F32, below(g, 9)));
    return;
  default:
    add(g, s, VECTOR, tsr_graph_unary(&g->b, TSR_OP_NEG, x));
    return;
  }
}

/* Lists are never empty and what is taken out is there. */
static inline void add_list_op(generator *g, scope *s, unsigned what) {
  tsr_value zero = tsr_graph_scalar_int(&g->b, TSR_I64, 0);
  tsr_value some[3] = {pick(g, s, LIST), pick(g, s, VECTOR), zero};
  tsr_value two[2] = {pick(g, s, VECTOR), tsr_graph_scalar_int(&g->b, TSR_I64, 2)};
  switch (what) {
  case 0:
    two[1] = pick(g, s, VECTOR);
    add(g, s, LIST, host(g, TSR_OP_LIST_MAKE, two, 2, list_type(g)));
    return;
  case 1:
    add(g, s, LIST, host(g, TSR_OP_LIST_INSERT, some, 2 + below(g, 2), list_type(g)));
    return;
  case 2:
    some[1] = below(g, 2) == 0 ? zero : tsr_graph_scalar_int(&g->b, TSR_I64, -1);
    add(g, s, VECTOR, host(g, TSR_OP_LIST_AT, some, 2, vector_type(g, fresh(g))));
    return;
  case 3:
    add(g, s, WHOLE, host(g, TSR_OP_LIST_LENGTH, some, 1, scalar_type(g, TSR_I64)));
    return;
  case 4:
    some[0] = host(g, TSR_OP_LIST_SPLIT, two, 1 + below(g, 2), list_type(g));
    add(g, s, LIST, host(g, TSR_OP_LIST_INSERT, some, 2, list_type(g)));
    return;
  case 5:
    some[0] = host(g, TSR_OP_LIST_INSERT, some, 2, list_type(g));
    some[1] = zero;
    add(g, s, LIST, host(g, TSR_OP_LIST_ERASE, some, 1 + below(g, 2), list_type(g)));
    return;
  default:
    add(g, s, VECTOR, host(g, TSR_OP_LIST_CONCAT, some, 1, vector_type(g, fresh(g))));
    return;
  }
}

static inline void add_host_op(generator *g, scope *s) {
  tsr_value x = pick(g, s, VECTOR), made;
  unsigned what = below(g, 10);
  if (what < 7) {
    add_list_op(g, s, what);
  } else if (what == 7) {
    add(g, s, MAYBE, host(g, TSR_OP_MAYBE_MAKE, &x, below(g, 2), maybe_type(g)));
  } else if (what == 8) {
    x = pick(g, s, MAYBE);
    add(g, s, TRUTH, host(g, TSR_OP_MAYBE_HAS, &x, 1, scalar_type(g, TSR_BOOL)));
  } else {
    made = host(g, TSR_OP_MAYBE_MAKE, &x, 1, maybe_type(g));
    add(g, s, MAYBE, made);
    add(g, s, VECTOR, host(g, TSR_OP_MAYBE_GET, &made, 1, vector_type(g, fresh(g))));
  }
}

static inline void add_ops(generator *g, scope *s, unsigned count);

static inline void choose(generator *g, const scope *s, const value_kind *kinds, uint32_t count,
                          tsr_value *out) {
  for (uint32_t i = 0; i < count; i++)
    out[i] = pick(g, s, kinds[i]);
}

/* Extents of what regions yield are new to what is behind them. */
static inline void add_if(generator *g, scope *s) {
  static const value_kind kinds[5] = {VECTOR, WHOLE, LIST, MAYBE, VECTOR};
  tsr_value yields[5], results[5];
  tsr_type types[5];
  uint32_t count = 1 + below(g, 5);
  tsr_op op = tsr_graph_if_begin(&g->b, pick(g, s, TRUTH));
  scope inside = *s;
  add_ops(g, &inside, 1 + below(g, 6));
  choose(g, &inside, kinds, count, yields);
  tsr_graph_if_else(&g->b, op, yields, count);
  inside = *s;
  add_ops(g, &inside, below(g, 6));
  choose(g, &inside, kinds, count, yields);
  for (uint32_t i = 0; i < count; i++)
    types[i] = kinds[i] == VECTOR ? vector_type(g, fresh(g)) : type_of(g, yields[i]);
  tsr_graph_if_end(&g->b, op, yields, types, count, results);
  for (uint32_t i = 0; i < count; i++)
    add(g, s, kinds[i], results[i]);
}

/* Without a limit, the first carried value counts the turns. */
static inline void add_loop(generator *g, scope *s) {
  static const value_kind kinds[6] = {WHOLE, VECTOR, LIST, REAL, MAYBE, VECTOR};
  tsr_value starts[6], args[6], next[6], results[6];
  tsr_type types[6], after[6];
  uint32_t count = 1 + below(g, 6);
  bool counts = below(g, 4) == 0;
  choose(g, s, kinds, count, starts);
  if (counts)
    starts[0] = tsr_graph_scalar_int(&g->b, TSR_I64, below(g, 3));
  for (uint32_t i = 0; i < count; i++) {
    types[i] = kinds[i] == VECTOR ? vector_type(g, fresh(g)) : type_of(g, starts[i]);
    after[i] = kinds[i] == VECTOR ? vector_type(g, fresh(g)) : types[i];
  }
  tsr_expr limit = counts             ? 0
                   : below(g, 3) == 0 ? read_size(g, pick(g, s, WHOLE))
                                      : tsr_expr_int(g->b.ir, below(g, 4));
  tsr_op op = tsr_graph_loop_begin(&g->b, limit, starts, types, count, args);
  scope inside = *s;
  for (uint32_t i = 0; i < count; i++)
    add(g, &inside, kinds[i], args[i]);
  add_ops(g, &inside, 1 + below(g, 7));
  choose(g, &inside, kinds, count, next);
  tsr_value go_on = pick(g, &inside, TRUTH);
  if (counts) {
    next[0] = tsr_graph_binary(&g->b, TSR_OP_ADD, args[0], tsr_graph_scalar_int(&g->b, TSR_I64, 1));
    go_on = tsr_graph_binary(&g->b, TSR_OP_LT, next[0], tsr_graph_scalar_int(&g->b, TSR_I64, 4));
  }
  tsr_graph_loop_end(&g->b, op, go_on, next, after, count, results);
  for (uint32_t i = 0; i < count; i++)
    add(g, s, kinds[i], results[i]);
}

static inline void add_ops(generator *g, scope *s, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    unsigned what = below(g, 12);
    if (what == 0 && g->depth < MAX_DEPTH) {
      g->depth++;
      add_if(g, s);
      g->depth--;
    } else if (what == 1 && g->depth < MAX_DEPTH) {
      g->depth++;
      add_loop(g, s);
      g->depth--;
    } else if (what < 5) {
      add_host_op(g, s);
    } else {
      add_device_op(g, s);
    }
  }
}

static inline tsr_ir *random_graph(uint64_t seed) {
  tsr_ir *ir;
  scope s = {0};
  char name[16];
  ck_assert_int_eq(tsr_ir_create(tsr_allocator_default(), &ir), TSR_OK);
  generator g = {.b = tsr_graph_begin(ir, "main"), .state = seed * 77777 + 1};
  tsr_expr n = tsr_expr_dim(ir, tsr_dim_add(ir, "N", 1, 8, 0));
  add(&g, &s, VECTOR, tsr_graph_input(&g.b, "x", TSR_F32, &n, 1));
  add(&g, &s, WHOLE, tsr_graph_input(&g.b, "n", TSR_I64, NULL, 0));
  add(&g, &s, TRUTH, tsr_graph_input(&g.b, "c", TSR_BOOL, NULL, 0));
  add(&g, &s, REAL, tsr_graph_scalar(&g.b, TSR_F32, 3));
  add(&g, &s, LIST, host(&g, TSR_OP_LIST_MAKE, s.values[VECTOR], 1, list_type(&g)));
  add(&g, &s, MAYBE, host(&g, TSR_OP_MAYBE_MAKE, NULL, 0, maybe_type(&g)));
  add_ops(&g, &s, 12 + below(&g, 20));
  for (unsigned i = 0; i < KINDS; i++) {
    (void)snprintf(name, sizeof name, "%u", i);
    tsr_graph_output(&g.b, name, s.values[i][s.count[i] - 1]);
  }
  ck_assert_msg(tsr_ir_status(ir) == TSR_OK, "%s", tsr_ir_diag(ir)->message);
  return ir;
}

/* --- the interpreter --- */

typedef struct tensor {
  int64_t count; /* elements */
  double *data;
} tensor;

/* A tensor is a cell of one, an absent maybe one of none. */
typedef struct cell {
  uint32_t count;
  tensor *items;
} cell;

typedef struct machine {
  tsr_ir *ir;
  tsr_arena arena;
  cell *values;
  int64_t *dims; /* by dim - 1; -1: no value */
  uint64_t seed;
  cell outputs[KINDS];
  uint32_t output_count;
  bool too_large; /* extents or numbers grew beyond what is worth running */
} machine;

static inline int64_t eval(machine *m, tsr_expr expr) {
  int64_t number = 0;
  tsr_expr_node node = tsr_expr_get(m->ir, expr);
  if (node.op == TSR_INDEX_DIM) {
    ck_assert_msg(m->dims[node.dim - 1] >= 0, "seed %u: dim %s has no value here",
                  (unsigned)m->seed, tsr_dim_get(m->ir, node.dim)->name);
    return m->dims[node.dim - 1];
  }
  ck_assert(tsr_expr_is_int(m->ir, expr, &number));
  return number;
}

static inline tensor new_tensor(machine *m, int64_t count) {
  tensor made = {count, tsr_arena_alloc(&m->arena, (size_t)count * sizeof(double) + 1)};
  ck_assert_ptr_nonnull(made.data);
  return made;
}

static inline cell new_cell(machine *m, uint32_t count) {
  cell made = {count, tsr_arena_alloc(&m->arena, count * sizeof(tensor) + 1)};
  ck_assert_ptr_nonnull(made.items);
  return made;
}

static inline cell number_cell(machine *m, int64_t count, double number) {
  cell made = new_cell(m, 1);
  made.items[0] = new_tensor(m, count);
  for (int64_t i = 0; i < count; i++)
    made.items[0].data[i] = number;
  return made;
}

/* Gives the extent's dim its value, or finds that it has another one. */
static inline void set_value(machine *m, tsr_value value, cell made, bool binds) {
  const tsr_type_info *type = tsr_value_type(m->ir, value);
  m->values[value] = made;
  if (type->level != TSR_LEVEL_GLOBAL || type->rank == 0)
    return;
  tsr_expr_node node = tsr_expr_get(m->ir, type->dims[0]);
  if (binds && node.op == TSR_INDEX_DIM && m->dims[node.dim - 1] < 0)
    m->dims[node.dim - 1] = made.items[0].count;
  ck_assert_msg(eval(m, type->dims[0]) == made.items[0].count, "seed %u: an extent is another one",
                (unsigned)m->seed);
}

static inline double scalar_of(const machine *m, const tsr_op_data *op, uint32_t operand) {
  return m->values[op->operands[operand].value].items[0].data[0];
}

static inline double checked(machine *m, double number) {
  m->too_large = m->too_large || number > (double)MAX_NUMBER || number < -(double)MAX_NUMBER;
  return m->too_large ? 0 : number;
}

static inline double apply(machine *m, tsr_opcode code, double a, double b) {
  switch (code) {
  case TSR_OP_ADD:
    return checked(m, a + b);
  case TSR_OP_SUB:
    return checked(m, a - b);
  case TSR_OP_MAX:
    return a > b ? a : b;
  case TSR_OP_MIN:
    return a < b ? a : b;
  case TSR_OP_LT:
    return a < b;
  case TSR_OP_MOD:
    return (double)((((int64_t)a % (int64_t)b) + (int64_t)b) % (int64_t)b);
  default:
    ck_abort_msg("no such operator");
  }
}

static inline cell run_binary(machine *m, const tsr_op_data *op) {
  tensor a = m->values[op->operands[0].value].items[0];
  tensor b = m->values[op->operands[1].value].items[0];
  bool wide = tsr_value_type(m->ir, op->operands[1].value)->rank != 0;
  cell made = number_cell(m, a.count, 0);
  for (int64_t i = 0; i < a.count; i++)
    made.items[0].data[i] = apply(m, op->code, a.data[i], b.data[wide ? i : 0]);
  return made;
}

static inline cell run_const(machine *m, tsr_op op) {
  const tsr_type_info *type = tsr_value_type(m->ir, tsr_op_get(m->ir, op)->results[0]);
  double number;
  int64_t integer;
  ck_assert(tsr_const_splat(m->ir, op, &number, &integer));
  return number_cell(m, type->rank == 0 ? 1 : eval(m, type->dims[0]),
                     type->dtype == TSR_F32 ? number : (double)integer);
}

static inline cell run_reduce(machine *m, const tsr_op_data *op, bool negate) {
  tensor x = m->values[op->operands[0].value].items[0];
  cell made = number_cell(m, negate ? x.count : 1, 0);
  for (int64_t i = 0; i < x.count; i++) {
    double *sum = &made.items[0].data[negate ? i : 0];
    *sum = checked(m, *sum + (negate ? -x.data[i] : x.data[i]));
  }
  return made;
}

static inline cell run_concat(machine *m, cell list, bool reverse) {
  int64_t total = 0;
  cell made;
  for (uint32_t i = 0; i < list.count; i++)
    total += list.items[i].count;
  m->too_large = m->too_large || total > MAX_EXTENT;
  made = number_cell(m, m->too_large ? 0 : total, 0);
  total = 0;
  for (uint32_t i = 0; i < list.count && !m->too_large; i++) {
    tensor item = list.items[reverse ? list.count - 1 - i : i];
    memcpy(made.items[0].data + total, item.data, (size_t)item.count * sizeof(double));
    total += item.count;
  }
  return made;
}

static inline cell run_split(machine *m, tensor whole, int64_t size) {
  cell made = new_cell(m, (uint32_t)((whole.count + size - 1) / size));
  for (uint32_t i = 0; i < made.count; i++) {
    int64_t left = whole.count - (int64_t)i * size;
    made.items[i] = (tensor){left < size ? left : size, whole.data + (int64_t)i * size};
  }
  return made;
}

/* The list without item `without`, and with room for `more`. */
static inline cell copy_list(machine *m, cell list, uint32_t without, uint32_t more) {
  cell made = new_cell(m, list.count + more);
  made.count = 0;
  for (uint32_t i = 0; i < list.count; i++)
    if (i != without)
      made.items[made.count++] = list.items[i];
  return made;
}

static inline cell run_list_op(machine *m, tsr_op op_id) {
  static const cell none;
  const tsr_op_data *op = tsr_op_get(m->ir, op_id);
  cell first = op->operand_count == 0 ? none : m->values[op->operands[0].value], made;
  switch (op->code) {
  case TSR_OP_LIST_MAKE:
  case TSR_OP_MAYBE_MAKE:
    made = new_cell(m, op->operand_count);
    for (uint32_t i = 0; i < op->operand_count; i++)
      made.items[i] = m->values[op->operands[i].value].items[0];
    return made;
  case TSR_OP_MAYBE_GET:
    return first;
  case TSR_OP_MAYBE_HAS:
  case TSR_OP_LIST_LENGTH:
    return number_cell(m, 1, first.count);
  case TSR_OP_LIST_INSERT:
    made = copy_list(m, first, UINT32_MAX, 1);
    if (op->operand_count == 3)
      memmove(made.items + 1, made.items, made.count * sizeof *made.items);
    made.items[op->operand_count == 3 ? 0 : made.count] = m->values[op->operands[1].value].items[0];
    made.count++;
    return made;
  case TSR_OP_LIST_ERASE:
    return copy_list(m, first, op->operand_count == 2 ? 0 : first.count - 1, 0);
  case TSR_OP_LIST_AT:
    made = new_cell(m, 1);
    made.items[0] = first.items[scalar_of(m, op, 1) < 0 ? first.count - 1 : 0];
    return made;
  case TSR_OP_LIST_SPLIT:
    return run_split(m, first.items[0], op->operand_count == 2 ? (int64_t)scalar_of(m, op, 1) : 1);
  default:
    return run_concat(m, first, tsr_op_bool(m->ir, op_id, "reverse", false));
  }
}

static inline void run_region(machine *m, tsr_region region, cell *yields);

/* What a region gave a value has none behind it. */
static inline void run_inside(machine *m, tsr_region region, cell *yields) {
  size_t bytes = tsr_dim_count(m->ir) * sizeof *m->dims;
  int64_t *before = tsr_arena_alloc(&m->arena, bytes);
  ck_assert_ptr_nonnull(before);
  memcpy(before, m->dims, bytes);
  run_region(m, region, yields);
  memcpy(m->dims, before, bytes);
}

static inline void run_if(machine *m, const tsr_op_data *op) {
  cell yields[8];
  run_inside(m, op->regions[scalar_of(m, op, 0) != 0 ? 0 : 1], yields);
  for (uint32_t i = 0; i < op->result_count && !m->too_large; i++)
    set_value(m, op->results[i], yields[i], true);
}

static inline void run_loop(machine *m, tsr_op loop) {
  const tsr_op_data *op = tsr_op_get(m->ir, loop);
  const tsr_region_data *body = tsr_region_get(m->ir, op->regions[0]);
  const tsr_attr *attr = tsr_op_attr(m->ir, loop, "limit");
  int64_t limit = attr == NULL                 ? INT64_MAX
                  : attr->kind == TSR_ATTR_INT ? attr->u.integer
                                               : eval(m, attr->u.expr);
  size_t bytes = tsr_dim_count(m->ir) * sizeof *m->dims;
  int64_t *before = tsr_arena_alloc(&m->arena, bytes);
  cell carried[8], yields[8];
  ck_assert_ptr_nonnull(before);
  memcpy(before, m->dims, bytes);
  for (uint32_t i = 0; i < op->operand_count; i++)
    carried[i] = m->values[op->operands[i].value];
  for (int64_t turn = 0; turn < limit && !m->too_large; turn++) {
    for (uint32_t i = 0; i < body->arg_count; i++)
      set_value(m, body->args[i], carried[i], true);
    run_inside(m, op->regions[0], yields);
    memcpy(m->dims, before, bytes);
    for (uint32_t i = 0; i < op->result_count; i++)
      carried[i] = yields[i + 1];
    if (m->too_large || yields[0].items[0].data[0] == 0)
      break;
  }
  for (uint32_t i = 0; i < op->result_count && !m->too_large; i++)
    set_value(m, op->results[i], carried[i], true);
}

/* Inputs take the operands in order, outputs give the results. */
static inline void run_call(machine *m, tsr_op call) {
  const tsr_op_data *op = tsr_op_get(m->ir, call);
  tsr_op graph = tsr_ir_find_symbol(m->ir, tsr_op_string(m->ir, call, "graph"));
  tsr_region body = tsr_op_get(m->ir, graph)->regions[0];
  uint32_t in = 0, out = 0;
  TSR_FOR_EACH_OP (m->ir, body, inner)
    if (tsr_op_get(m->ir, inner)->code == TSR_OP_INPUT)
      set_value(m, tsr_op_get(m->ir, inner)->results[0], m->values[op->operands[in++].value],
                false);
  run_region(m, body, NULL);
  TSR_FOR_EACH_OP (m->ir, body, inner)
    if (tsr_op_get(m->ir, inner)->code == TSR_OP_OUTPUT && !m->too_large)
      set_value(m, op->results[out++], m->values[tsr_op_get(m->ir, inner)->operands[0].value],
                false);
}

static inline void run_input(machine *m, tsr_op op) {
  tsr_value value = tsr_op_get(m->ir, op)->results[0];
  const tsr_type_info *type = tsr_value_type(m->ir, value);
  int64_t count = type->rank == 0 ? 1 : 1 + (int64_t)(m->seed % 8);
  cell made = number_cell(m, count, 0);
  for (int64_t i = 0; i < count; i++)
    made.items[0].data[i] = type->dtype == TSR_BOOL ? (double)(m->seed & 1)
                                                    : (double)((m->seed * 7 + (uint64_t)i) % 11);
  set_value(m, value, made, true);
}

static inline void run_resize(machine *m, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(m->ir, op);
  tsr_dim dim = tsr_expr_get(m->ir, tsr_op_attr(m->ir, op, "dim")->u.expr).dim;
  m->dims[dim - 1] = (int64_t)scalar_of(m, data, 1);
  m->values[data->results[0]] = m->values[data->operands[0].value];
}

static inline void run_op(machine *m, tsr_op op, cell *yields) {
  const tsr_op_data *data = tsr_op_get(m->ir, op);
  switch (data->code) {
  case TSR_OP_INPUT:
    if (m->values[data->results[0]].items == NULL)
      run_input(m, op);
    return;
  case TSR_OP_OUTPUT:
    if (strcmp(tsr_op_get(m->ir, tsr_region_get(m->ir, data->parent)->parent)->symbol, "main") == 0)
      m->outputs[m->output_count++] = m->values[data->operands[0].value];
    return;
  case TSR_OP_YIELD:
    for (uint32_t i = 0; i < data->operand_count; i++)
      yields[i] = m->values[data->operands[i].value];
    return;
  case TSR_OP_IF:
    run_if(m, data);
    return;
  case TSR_OP_LOOP:
    run_loop(m, op);
    return;
  case TSR_OP_CALL:
    run_call(m, op);
    return;
  case TSR_OP_RESIZE_DIM:
    run_resize(m, op);
    return;
  case TSR_OP_CONST:
    set_value(m, data->results[0], run_const(m, op), false);
    return;
  case TSR_OP_INDEX:
    set_value(m, data->results[0],
              number_cell(m, 1, (double)eval(m, tsr_op_attr(m->ir, op, "value")->u.expr)), false);
    return;
  case TSR_OP_REDUCE:
  case TSR_OP_NEG:
    set_value(m, data->results[0], run_reduce(m, data, data->code == TSR_OP_NEG), false);
    return;
  default:
    break;
  }
  if (tsr_opcode_info(data->code)->kind == TSR_KIND_HOST) {
    cell made = run_list_op(m, op);
    if (!m->too_large)
      set_value(m, data->results[0], made, true);
  } else {
    set_value(m, data->results[0], run_binary(m, data), false);
  }
}

static inline void run_region(machine *m, tsr_region region, cell *yields) {
  for (tsr_op op = tsr_region_get(m->ir, region)->first; op != 0 && !m->too_large;
       op = tsr_op_get(m->ir, op)->next)
    run_op(m, op, yields);
}

static inline machine run(tsr_ir *ir, uint64_t seed) {
  machine m = {.ir = ir, .seed = seed};
  size_t values = (size_t)tsr_value_count(ir) + 1, dims = tsr_dim_count(ir);
  tsr_arena_init(&m.arena, tsr_allocator_default());
  m.values = tsr_arena_alloc_array(&m.arena, values, sizeof *m.values);
  m.dims = tsr_arena_alloc_array(&m.arena, dims, sizeof *m.dims);
  ck_assert(m.values != NULL && m.dims != NULL);
  memset(m.values, 0, values * sizeof *m.values);
  memset(m.dims, 0xff, dims * sizeof *m.dims);
  run_region(&m, tsr_op_get(ir, tsr_ir_find_symbol(ir, "main"))->regions[0], NULL);
  return m;
}

static inline void compare(const machine *a, const machine *b) {
  ck_assert_uint_eq(a->output_count, KINDS);
  ck_assert_uint_eq(b->output_count, KINDS);
  for (uint32_t i = 0; i < KINDS; i++) {
    ck_assert_uint_eq(a->outputs[i].count, b->outputs[i].count);
    for (uint32_t k = 0; k < a->outputs[i].count; k++) {
      tensor x = a->outputs[i].items[k], y = b->outputs[i].items[k];
      ck_assert_int_eq(x.count, y.count);
      for (int64_t e = 0; e < x.count; e++)
        ck_assert_msg(x.data[e] == y.data[e], "seed %u: element %d of output %u is %g, not %g",
                      (unsigned)a->seed, (int)e, i, y.data[e], x.data[e]);
    }
  }
}

#endif
