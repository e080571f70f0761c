/* The meaning of block IR, point by point, in float64 and int64 without rounding: the oracle that
 * lowering and fusion are compared with. Slow and direct on purpose; shares nothing with the
 * passes. Also counts how often each element of a block's result is stored. Header only: every
 * function is used by the programs that include it. */
#ifndef TSR_TESTS_PASSES_BLOCK_EVAL_H
#define TSR_TESTS_PASSES_BLOCK_EVAL_H
#include "ir/const_bytes.h"
#include "ir/eval.h"
#include "ir/ir.h"
#include "runtime/float_convert.h"
#include "tests/quiet_check.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct number {
  double f;  /* floats */
  int64_t i; /* everything else */
} number;

typedef struct buffer {
  tsr_dtype dtype;
  uint32_t rank;
  int64_t dims[TSR_MAX_RANK];
  int64_t count;
  number *data;
  uint8_t *stores; /* per element, saturating; results of blocks and procs */
} buffer;

typedef struct machine {
  tsr_ir *ir;
  int64_t dims[64]; /* of symbols */
  number *scalars;  /* by value */
  buffer *buffers;  /* by value */
  uint32_t value_count;
  bool in_block; /* a block stores each element once; a proc may store often */
} machine;

static bool is_float(tsr_dtype dtype) {
  return tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT;
}

static void machine_init(machine *m, tsr_ir *ir, const int64_t *dims, uint32_t dim_count) {
  *m = (machine){.ir = ir, .value_count = tsr_value_count(ir)};
  for (uint32_t i = 0; i < dim_count; i++)
    m->dims[i] = dims[i];
  m->scalars = (number *)calloc(m->value_count + 1u, sizeof *m->scalars);
  m->buffers = (buffer *)calloc(m->value_count + 1u, sizeof *m->buffers);
}

static void machine_free(machine *m) {
  for (uint32_t i = 0; i <= m->value_count; i++) {
    free(m->buffers[i].data);
    free(m->buffers[i].stores);
  }
  free(m->buffers);
  free(m->scalars);
}

/* --- index expressions --- */

static int64_t eval_expr(const machine *m, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(m->ir, expr);
  int64_t out;
  switch (node.op) {
  case TSR_INDEX_INT:
    return node.number;
  case TSR_INDEX_DIM:
    return m->dims[node.dim - 1];
  case TSR_INDEX_VALUE:
    return m->scalars[node.value].i;
  default:
    ck_assert_int_eq(tsr_index_apply(node.op, eval_expr(m, node.a), eval_expr(m, node.b), &out),
                     TSR_OK);
    return out;
  }
}

/* --- buffers --- */

static buffer *make_buffer(machine *m, tsr_value value) {
  const tsr_type_info *type = tsr_value_type(m->ir, value);
  buffer *b = &m->buffers[value];
  free(b->data);
  free(b->stores);
  *b = (buffer){.dtype = type->dtype, .rank = type->rank, .count = 1};
  for (uint32_t i = 0; i < type->rank; i++) {
    b->dims[i] = eval_expr(m, type->dims[i]);
    b->count *= b->dims[i];
  }
  b->data = (number *)calloc((size_t)b->count + 1, sizeof *b->data);
  b->stores = (uint8_t *)calloc((size_t)b->count + 1, 1);
  return b;
}

/* The element's place, or -1 outside. */
static int64_t place(const machine *m, const buffer *b, const tsr_operand *operand) {
  int64_t at = 0;
  ck_assert_uint_eq(operand->subscript_count, b->rank);
  for (uint32_t i = 0; i < b->rank; i++) {
    int64_t s = eval_expr(m, operand->subscripts[i]);
    if (s < 0 || s >= b->dims[i])
      return -1;
    at = at * b->dims[i] + s;
  }
  return at;
}

/* --- elementwise --- */

static int64_t wrap(tsr_dtype dtype, int64_t x) {
  unsigned bits = tsr_dtype_bits(dtype);
  switch (tsr_dtype_class_of(dtype)) {
  case TSR_CLASS_BOOL:
    return x != 0;
  case TSR_CLASS_UINT:
    return bits >= 64 ? x : (int64_t)((uint64_t)x & ((UINT64_C(1) << bits) - 1));
  default:
    return bits >= 64 ? x : (int64_t)((uint64_t)x << (64 - bits)) >> (64 - bits);
  }
}

static double unary_float(tsr_opcode code, double x) {
  switch (code) {
  case TSR_OP_NEG:
    return -x;
  case TSR_OP_ABS:
    return fabs(x);
  case TSR_OP_SIGN:
    return isnan(x) ? x : (double)((x > 0) - (x < 0));
  case TSR_OP_FLOOR:
    return floor(x);
  case TSR_OP_CEIL:
    return ceil(x);
  case TSR_OP_TRUNC:
    return trunc(x);
  case TSR_OP_ROUND:
    return nearbyint(x);
  case TSR_OP_EXP:
    return exp(x);
  case TSR_OP_LOG:
    return log(x);
  case TSR_OP_SQRT:
    return sqrt(x);
  case TSR_OP_RSQRT:
    return 1 / sqrt(x);
  case TSR_OP_RECIP:
    return 1 / x;
  case TSR_OP_SIN:
    return sin(x);
  case TSR_OP_COS:
    return cos(x);
  case TSR_OP_TANH:
    return tanh(x);
  case TSR_OP_ERF:
    return erf(x);
  default:
    ck_abort_msg("no float meaning of %s", tsr_opcode_info(code)->text);
    return 0;
  }
}

static double binary_float(tsr_opcode code, double x, double y) {
  switch (code) {
  case TSR_OP_ADD:
    return x + y;
  case TSR_OP_SUB:
    return x - y;
  case TSR_OP_MUL:
    return x * y;
  case TSR_OP_DIV:
    return x / y;
  case TSR_OP_POW:
    return pow(x, y);
  case TSR_OP_REM:
    return fmod(x, y);
  case TSR_OP_MOD:
    return fmod(x, y) + (fmod(x, y) != 0 && (fmod(x, y) < 0) != (y < 0) ? y : 0);
  case TSR_OP_MIN:
    return isnan(x) || isnan(y) ? NAN : fmin(x, y);
  case TSR_OP_MAX:
    return isnan(x) || isnan(y) ? NAN : fmax(x, y);
  default:
    ck_abort_msg("no float meaning of %s", tsr_opcode_info(code)->text);
    return 0;
  }
}

static int64_t binary_int(tsr_opcode code, int64_t x, int64_t y) {
  switch (code) {
  case TSR_OP_ADD:
    return (int64_t)((uint64_t)x + (uint64_t)y);
  case TSR_OP_SUB:
    return (int64_t)((uint64_t)x - (uint64_t)y);
  case TSR_OP_MUL:
    return (int64_t)((uint64_t)x * (uint64_t)y);
  case TSR_OP_DIV:
    return y == 0 ? 0 : x / y;
  case TSR_OP_REM:
    return y == 0 ? 0 : x % y;
  case TSR_OP_MOD:
    return y == 0 ? 0 : x % y + (x % y != 0 && (x % y < 0) != (y < 0) ? y : 0);
  case TSR_OP_MIN:
    return x < y ? x : y;
  case TSR_OP_MAX:
    return x > y ? x : y;
  case TSR_OP_AND:
    return x & y;
  case TSR_OP_OR:
    return x | y;
  case TSR_OP_XOR:
    return x ^ y;
  default:
    ck_abort_msg("no integer meaning of %s", tsr_opcode_info(code)->text);
    return 0;
  }
}

static int64_t compare(tsr_opcode code, bool less, bool equal, bool greater) {
  switch (code) {
  case TSR_OP_EQ:
    return equal;
  case TSR_OP_NE:
    return !equal;
  case TSR_OP_LT:
    return less;
  case TSR_OP_LE:
    return less || equal;
  case TSR_OP_GT:
    return greater;
  default:
    return greater || equal;
  }
}

static number cast_number(tsr_dtype from, tsr_dtype to, number x) {
  if (is_float(to))
    return (number){.f = is_float(from) ? x.f : (double)x.i};
  if (to == TSR_BOOL)
    return (number){.i = is_float(from) ? x.f != 0 : x.i != 0};
  if (!is_float(from))
    return (number){.i = wrap(to, x.i)};
  uint64_t element = 0;
  tsr_element_store_f64(to, &element, 0, x.f);
  return (number){.i = tsr_element_load_i64(to, &element, 0)};
}

static number apply(machine *m, const tsr_op_data *data) {
  number x[3] = {{0}};
  tsr_dtype from = TSR_DTYPE_NONE, to = tsr_value_type(m->ir, data->results[0])->dtype;
  for (uint32_t i = 0; i < data->operand_count && i < 3; i++)
    x[i] = m->scalars[data->operands[i].value];
  if (data->operand_count > 0)
    from = tsr_value_type(m->ir, data->operands[0].value)->dtype;
  switch (data->code) {
  case TSR_OP_CAST:
    return cast_number(from, to, x[0]);
  case TSR_OP_SELECT:
    return x[0].i != 0 ? x[1] : x[2];
  case TSR_OP_NOT:
    return (number){.i = to == TSR_BOOL ? !x[0].i : wrap(to, ~x[0].i)};
  case TSR_OP_ISNAN:
    return (number){.i = isnan(x[0].f)};
  case TSR_OP_ISINF:
    return (number){.i = isinf(x[0].f)};
  default:
    break;
  }
  switch (tsr_opcode_info(data->code)->kind) {
  case TSR_KIND_COMPARE:
    return (number){
        .i = is_float(from) ? compare(data->code, x[0].f<x[1].f, x[0].f == x[1].f, x[0].f> x[1].f)
                            : compare(data->code, x[0].i<x[1].i, x[0].i == x[1].i, x[0].i> x[1].i)};
  case TSR_KIND_UNARY:
    if (is_float(to))
      return (number){.f = unary_float(data->code, x[0].f)};
    ck_assert(data->code == TSR_OP_NEG || data->code == TSR_OP_ABS);
    return (number){.i = wrap(to, data->code == TSR_OP_NEG || x[0].i < 0 ? -x[0].i : x[0].i)};
  default:
    return is_float(to) ? (number){.f = binary_float(data->code, x[0].f, x[1].f)}
                        : (number){.i = wrap(to, binary_int(data->code, x[0].i, x[1].i))};
  }
}

/* --- bodies --- */

typedef enum flow { FLOW_ON, FLOW_YIELD } flow;

static flow run_body(machine *m, tsr_region region, tsr_op first, tsr_op end, tsr_op *out_yield);

static void set(machine *m, tsr_value value, number n) {
  m->scalars[value] = n;
}

/* An element of a const op: constants are what their dtype can hold. */
static number const_number(const machine *m, tsr_op op, int64_t element, tsr_dtype dtype) {
  number n;
  uint64_t bytes = 0;
  ck_assert_int_eq(tsr_const_element(m->ir, op, element, &n.f, &n.i), TSR_OK);
  if (is_float(dtype)) {
    tsr_element_store_f64(dtype, &bytes, 0, n.f);
    n.f = tsr_element_load_f64(dtype, &bytes, 0);
  }
  return n;
}

static void run_const(machine *m, const tsr_op_data *data, tsr_op op) {
  tsr_dtype dtype = tsr_value_type(m->ir, data->results[0])->dtype;
  set(m, data->results[0], const_number(m, op, 0, dtype));
}

static void run_load(machine *m, const tsr_op_data *data, tsr_op op) {
  const buffer *b = &m->buffers[data->operands[0].value];
  ck_assert_ptr_nonnull(b->data);
  int64_t at = place(m, b, &data->operands[0]);
  double pad = tsr_op_float(m->ir, op, "pad", 0);
  set(m, data->results[0],
      at >= 0 ? b->data[at] : (number){.f = pad, .i = isfinite(pad) ? (int64_t)pad : 0});
}

static void run_store(machine *m, const tsr_op_data *data) {
  buffer *b = &m->buffers[data->operands[1].value];
  ck_assert_ptr_nonnull(b->data);
  int64_t at = place(m, b, &data->operands[1]);
  if (at < 0)
    return;
  b->data[at] = m->scalars[data->operands[0].value];
  if (b->stores[at] < 255)
    b->stores[at]++;
}

static void copy_yield(machine *m, tsr_op yield, uint32_t skip, const tsr_value *to,
                       uint32_t count) {
  number values[16];
  const tsr_op_data *data = tsr_op_get(m->ir, yield);
  for (uint32_t i = 0; i < count; i++)
    values[i] = m->scalars[data->operands[i + skip].value];
  for (uint32_t i = 0; i < count; i++)
    set(m, to[i], values[i]);
}

static void run_for(machine *m, const tsr_op_data *data) {
  const tsr_region_data *body = tsr_region_get(m->ir, data->regions[0]);
  const tsr_value_data *axis = tsr_value_get(m->ir, body->args[0]);
  ck_assert_int_eq(axis->role, TSR_ROLE_LOOP);
  for (uint32_t i = 0; i < data->operand_count; i++)
    set(m, body->args[1 + i], m->scalars[data->operands[i].value]);
  int64_t hi = eval_expr(m, axis->hi), step = eval_expr(m, axis->step);
  for (int64_t i = eval_expr(m, axis->lo); i < hi; i += step) {
    tsr_op yield = 0;
    set(m, body->args[0], (number){.i = i});
    run_body(m, data->regions[0], body->first, 0, &yield);
    if (data->operand_count > 0)
      copy_yield(m, yield, 0, body->args + 1, data->operand_count);
  }
  for (uint32_t i = 0; i < data->operand_count; i++)
    set(m, data->results[i], m->scalars[body->args[1 + i]]);
}

static void run_loop(machine *m, const tsr_op_data *data) {
  const tsr_region_data *body = tsr_region_get(m->ir, data->regions[0]);
  for (uint32_t i = 0; i < data->operand_count; i++)
    set(m, body->args[i], m->scalars[data->operands[i].value]);
  for (bool again = true; again;) {
    tsr_op yield = 0;
    run_body(m, data->regions[0], body->first, 0, &yield);
    again = m->scalars[tsr_op_get(m->ir, yield)->operands[0].value].i != 0;
    copy_yield(m, yield, 1, body->args, data->operand_count);
  }
  for (uint32_t i = 0; i < data->operand_count; i++)
    set(m, data->results[i], m->scalars[body->args[i]]);
}

static void run_if(machine *m, const tsr_op_data *data, tsr_op op) {
  bool yes = data->operand_count > 0 ? m->scalars[data->operands[0].value].i != 0
                                     : eval_expr(m, tsr_op_attr(m->ir, op, "cond")->u.expr) != 0;
  tsr_op yield = 0;
  if (!yes && data->region_count < 2)
    return;
  tsr_region region = data->regions[yes ? 0 : 1];
  run_body(m, region, tsr_region_get(m->ir, region)->first, 0, &yield);
  if (data->result_count > 0)
    copy_yield(m, yield, 0, data->results, data->result_count);
}

static flow run_body(machine *m, tsr_region region, tsr_op first, tsr_op end, tsr_op *out_yield) {
  (void)region;
  for (tsr_op op = first; op != end; op = tsr_op_get(m->ir, op)->next) {
    const tsr_op_data *data = tsr_op_get(m->ir, op);
    switch (data->code) {
    case TSR_OP_CONST:
      run_const(m, data, op);
      break;
    case TSR_OP_INDEX: {
      const tsr_attr *value = tsr_op_attr(m->ir, op, "value");
      set(m, data->results[0],
          (number){.i = value->kind == TSR_ATTR_INT ? value->u.integer
                                                    : eval_expr(m, value->u.expr)});
      break;
    }
    case TSR_OP_LOAD:
    case TSR_OP_GATHER_LOAD:
      run_load(m, data, op);
      break;
    case TSR_OP_STORE:
    case TSR_OP_SCATTER_STORE:
      run_store(m, data);
      break;
    case TSR_OP_FOR:
      run_for(m, data);
      break;
    case TSR_OP_LOOP:
      run_loop(m, data);
      break;
    case TSR_OP_IF:
      run_if(m, data, op);
      break;
    case TSR_OP_YIELD:
      *out_yield = op;
      return FLOW_YIELD;
    default:
      ck_assert_msg(tsr_opcode_elementwise(data->code), "no meaning of %s in a body",
                    tsr_opcode_info(data->code)->text);
      set(m, data->results[0], apply(m, data));
    }
  }
  return FLOW_ON;
}

/* --- reduce: one accumulator per result --- */

typedef struct reduction {
  tsr_op op;
  number acc[4];
  bool started;
} reduction;

static number identity(const char *combine, tsr_dtype dtype) {
  bool f = is_float(dtype);
  if (strcmp(combine, "mul") == 0)
    return (number){.f = 1, .i = 1};
  if (strcmp(combine, "max") == 0)
    return f ? (number){.f = -INFINITY}
             : (number){.i = tsr_dtype_class_of(dtype) == TSR_CLASS_INT ? INT64_MIN : 0};
  if (strcmp(combine, "min") == 0)
    return f ? (number){.f = INFINITY} : (number){.i = INT64_MAX};
  return (number){.i = strcmp(combine, "and") == 0 ? (dtype == TSR_BOOL ? 1 : -1) : 0};
}

static void accumulate(machine *m, reduction *r) {
  static const struct {
    const char *text;
    tsr_opcode code;
  } table[] = {{"add", TSR_OP_ADD}, {"mul", TSR_OP_MUL}, {"max", TSR_OP_MAX},
               {"min", TSR_OP_MIN}, {"and", TSR_OP_AND}, {"or", TSR_OP_OR}};
  const tsr_op_data *data = tsr_op_get(m->ir, r->op);
  uint32_t width = data->result_count;
  if (data->region_count == 1) {
    const tsr_region_data *body = tsr_region_get(m->ir, data->regions[0]);
    for (uint32_t i = 0; i < width; i++) {
      number element = m->scalars[data->operands[i].value];
      set(m, body->args[i], r->acc[i]);
      set(m, body->args[width + i], element);
      if (!r->started)
        r->acc[i] = element;
    }
    tsr_op yield = 0;
    run_body(m, data->regions[0], body->first, 0, &yield);
    for (uint32_t i = 0; i < width && r->started; i++)
      r->acc[i] = m->scalars[tsr_op_get(m->ir, yield)->operands[i].value];
    r->started = true;
    return;
  }
  const char *combine = tsr_op_string(m->ir, r->op, "combine");
  tsr_dtype dtype = tsr_value_type(m->ir, data->results[0])->dtype;
  number x = m->scalars[data->operands[0].value];
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
    if (strcmp(table[i].text, combine) == 0)
      r->acc[0] = is_float(dtype)
                      ? (number){.f = binary_float(table[i].code, r->acc[0].f, x.f)}
                      : (number){.i = wrap(dtype, binary_int(table[i].code, r->acc[0].i, x.i))};
}

/* Calls `visit` for every point of the index variables with `role`, first one outermost. */
static void each_point(machine *m, const tsr_region_data *body, uint32_t number_of_arg,
                       tsr_arg_role role, void (*visit)(machine *, void *), void *context) {
  if (number_of_arg == body->arg_count) {
    visit(m, context);
    return;
  }
  const tsr_value_data *axis = tsr_value_get(m->ir, body->args[number_of_arg]);
  if (axis->role != role) {
    each_point(m, body, number_of_arg + 1, role, visit, context);
    return;
  }
  int64_t hi = eval_expr(m, axis->hi);
  for (int64_t i = eval_expr(m, axis->lo); i < hi; i++) {
    set(m, body->args[number_of_arg], (number){.i = i});
    each_point(m, body, number_of_arg + 1, role, visit, context);
  }
}

typedef struct block_run {
  tsr_region body;
  reduction reductions[4];
  uint32_t count;
  tsr_op after; /* first op behind the last reduce */
} block_run;

/* One (par, red) point: what precedes the reduces, in order. */
static void visit_red(machine *m, void *context) {
  block_run *run = (block_run *)context;
  tsr_op from = tsr_region_get(m->ir, run->body)->first, yield = 0;
  for (uint32_t i = 0; i < run->count; i++) {
    run_body(m, run->body, from, run->reductions[i].op, &yield);
    accumulate(m, &run->reductions[i]);
    from = tsr_op_get(m->ir, run->reductions[i].op)->next;
  }
}

static void visit_par(machine *m, void *context) {
  block_run *run = (block_run *)context;
  const tsr_region_data *body = tsr_region_get(m->ir, run->body);
  tsr_op yield = 0;
  for (uint32_t i = 0; i < run->count; i++) {
    reduction *r = &run->reductions[i];
    const tsr_op_data *data = tsr_op_get(m->ir, r->op);
    r->started = false;
    memset(r->acc, 0, sizeof r->acc);
    if (data->region_count == 0)
      r->acc[0] = identity(tsr_op_string(m->ir, r->op, "combine"),
                           tsr_value_type(m->ir, data->results[0])->dtype);
  }
  if (run->count > 0)
    each_point(m, body, 0, TSR_ROLE_RED, visit_red, run);
  for (uint32_t i = 0; i < run->count; i++)
    for (uint32_t k = 0; k < tsr_op_get(m->ir, run->reductions[i].op)->result_count; k++)
      set(m, tsr_op_get(m->ir, run->reductions[i].op)->results[k], run->reductions[i].acc[k]);
  run_body(m, run->body, run->after, 0, &yield);
}

static void run_block(machine *m, const tsr_op_data *data) {
  block_run run = {.body = data->regions[0]};
  run.after = tsr_region_get(m->ir, run.body)->first;
  for (uint32_t i = 0; i < data->result_count; i++)
    make_buffer(m, data->results[i]);
  TSR_FOR_EACH_OP (m->ir, run.body, op)
    if (tsr_op_get(m->ir, op)->code == TSR_OP_REDUCE) {
      ck_assert_uint_lt(run.count, 4);
      run.reductions[run.count++].op = op;
      run.after = tsr_op_get(m->ir, op)->next;
    }
  each_point(m, tsr_region_get(m->ir, run.body), 0, TSR_ROLE_PAR, visit_par, &run);
  for (uint32_t i = 0; i < data->result_count && data->code == TSR_OP_BLOCK; i++) {
    const buffer *b = &m->buffers[data->results[i]];
    for (int64_t k = 0; k < b->count; k++)
      ck_assert_msg(b->stores[k] == 1, "element %lld of result %u is stored %u times", (long long)k,
                    i, b->stores[k]);
  }
}

/* --- graphs --- */

static void make_const(machine *m, const tsr_op_data *data, tsr_op op) {
  buffer *b = make_buffer(m, data->results[0]);
  const tsr_attr *value = tsr_op_attr(m->ir, op, "value");
  bool splat = value != NULL && value->kind != TSR_ATTR_NUMBERS && value->kind != TSR_ATTR_EXPRS;
  for (int64_t i = 0; i < b->count; i++)
    b->data[i] = const_number(m, op, splat ? 0 : i, b->dtype);
}

static void copy_buffer(machine *m, tsr_value to, tsr_value from) {
  buffer *b = make_buffer(m, to);
  const buffer *x = &m->buffers[from];
  ck_assert_ptr_nonnull(x->data);
  memcpy(b->data, x->data, (size_t)(b->count < x->count ? b->count : x->count) * sizeof *b->data);
}

/* The device dim is the count; elements are taken where the smaller shape has them. */
static void resize(machine *m, const tsr_op_data *data, tsr_op op) {
  tsr_expr dim = tsr_op_attr(m->ir, op, "dim")->u.expr;
  m->dims[tsr_expr_get(m->ir, dim).dim - 1] = m->buffers[data->operands[1].value].data[0].i;
  buffer *b = make_buffer(m, data->results[0]);
  const buffer *x = &m->buffers[data->operands[0].value];
  for (int64_t i = 0; i < b->count; i++) {
    int64_t rest = i, at = 0, scale = 1;
    for (uint32_t d = b->rank; d-- > 0;) {
      at += rest % b->dims[d] * scale;
      rest /= b->dims[d];
      scale *= x->dims[d];
    }
    b->data[i] = x->data[at];
  }
}

static tsr_value yielded(const tsr_ir *ir, tsr_region region, uint32_t at) {
  return tsr_op_get(ir, tsr_region_get(ir, region)->last)->operands[at].value;
}

/* Runs the graph's ops in order; inputs must be bound (bind_buffer) before. */
static void run_graph(machine *m, tsr_region region) {
  TSR_FOR_EACH_OP (m->ir, region, op) {
    const tsr_op_data *data = tsr_op_get(m->ir, op);
    switch (data->code) {
    case TSR_OP_INPUT:
    case TSR_OP_OUTPUT:
      break;
    case TSR_OP_CONST:
      make_const(m, data, op);
      break;
    case TSR_OP_INDEX: {
      const tsr_attr *value = tsr_op_attr(m->ir, op, "value");
      make_buffer(m, data->results[0])->data[0].i =
          value->kind == TSR_ATTR_INT ? value->u.integer : eval_expr(m, value->u.expr);
      break;
    }
    case TSR_OP_RESHAPE:
      copy_buffer(m, data->results[0], data->operands[0].value);
      break;
    case TSR_OP_RESIZE_DIM:
      resize(m, data, op);
      break;
    case TSR_OP_BLOCK:
    case TSR_OP_PROC:
      run_block(m, data);
      break;
    case TSR_OP_GROUP:
      run_graph(m, data->regions[0]);
      for (uint32_t i = 0; i < data->result_count; i++)
        copy_buffer(m, data->results[i], yielded(m->ir, data->regions[0], i));
      break;
    case TSR_OP_YIELD:
      break;
    default:
      ck_abort_msg("%s is left in the graph", tsr_opcode_info(data->code)->text);
    }
  }
}
#endif
