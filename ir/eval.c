/* The evaluator's frame: values on demand, sources, rounding, storing. The ops stand in
 * eval_elementwise.c, eval_view.c, eval_reduce.c and eval_index.c. */
#include "ir/const_bytes.h"
#include "ir/eval_internal.h"
#include "runtime/float_convert.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- numbers --- */

static uint64_t splitmix(uint64_t seed, uint64_t element) {
  uint64_t x = seed + (element + 1) * UINT64_C(0x9e3779b97f4a7c15);
  x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
  return x ^ (x >> 31);
}

double tsr_random_float(uint64_t seed, uint64_t element) {
  return (double)(splitmix(seed, element) >> 11) * 0x1p-52 - 1.0;
}

int64_t tsr_random_int(uint64_t seed, uint64_t element, tsr_dtype dtype) {
  uint64_t bits = splitmix(seed, element);
  switch (tsr_dtype_class_of(dtype)) {
  case TSR_CLASS_BOOL:
    return (int64_t)(bits >> 63);
  case TSR_CLASS_UINT:
    return tsr_wrap(dtype, (int64_t)(bits >> 60));
  default:
    return tsr_wrap(dtype, (int64_t)(bits >> 60) - 8);
  }
}

int64_t tsr_wrap(tsr_dtype dtype, int64_t number) {
  unsigned bits = tsr_dtype_bits(dtype);
  uint64_t kept;
  if (tsr_dtype_class_of(dtype) == TSR_CLASS_BOOL)
    return number != 0;
  if (bits == 0 || bits >= 64)
    return number;
  kept = (uint64_t)number & ((UINT64_C(1) << bits) - 1);
  if (tsr_dtype_class_of(dtype) == TSR_CLASS_INT && (kept >> (bits - 1)) != 0)
    kept |= ~UINT64_C(0) << bits;
  return (int64_t)kept;
}

double tsr_round_to(tsr_dtype dtype, double number) {
  if (dtype == TSR_F64)
    return number;
  return tsr_float_decode(dtype, tsr_float_encode(dtype, number, TSR_OVERFLOW_SATURATE));
}

bool tsr_array_is_float(const tsr_array *array) {
  return tsr_dtype_class_of(array->dtype) == TSR_CLASS_FLOAT;
}

double tsr_array_float(const tsr_array *array, int64_t index) {
  if (array->floats != NULL)
    return array->floats[index];
  return array->dtype == TSR_U64 ? (double)(uint64_t)array->integers[index]
                                 : (double)array->integers[index];
}

/* Truncates and saturates to 64 bits; NaN gives 0. */
int64_t tsr_array_int(const tsr_array *array, int64_t index) {
  double number;
  if (array->integers != NULL)
    return array->integers[index];
  number = array->floats[index];
  if (number != number)
    return 0;
  if (number >= 9223372036854775808.0)
    return INT64_MAX;
  return number < -9223372036854775808.0 ? INT64_MIN : (int64_t)number;
}

void tsr_array_move(tsr_array *to, int64_t to_index, const tsr_array *from, int64_t from_index) {
  if (to->floats != NULL)
    to->floats[to_index] = tsr_array_float(from, from_index);
  else
    to->integers[to_index] = tsr_array_int(from, from_index);
}

void tsr_unravel(const tsr_array *array, int64_t index, int64_t *out_position) {
  for (uint32_t i = array->rank; i-- > 0;) {
    out_position[i] = index % array->dims[i];
    index /= array->dims[i];
  }
}

int64_t tsr_ravel(const tsr_array *array, const int64_t *position) {
  int64_t index = 0;
  for (uint32_t i = 0; i < array->rank; i++)
    index = index * array->dims[i] + position[i];
  return index;
}

void tsr_array_store(const tsr_array *array, void *data) {
  if (array->floats != NULL)
    tsr_elements_store_f64(array->dtype, data, 0, array->count, array->floats);
  else
    tsr_elements_store_i64(array->dtype, data, 0, array->count, array->integers);
}

/* --- life --- */

tsr_status tsr_eval_create(tsr_ir *ir, const int64_t *dims, bool round, int64_t limit,
                           const tsr_allocator *allocator, tsr_eval **out_eval) {
  tsr_eval *eval =
      (tsr_eval *)allocator->allocate(allocator->context, sizeof *eval, _Alignof(tsr_eval));
  *out_eval = NULL;
  if (eval == NULL)
    return TSR_ERR_OUT_OF_MEMORY;
  memset(eval, 0, sizeof *eval);
  eval->ir = ir;
  eval->allocator = allocator;
  eval->round = round;
  eval->limit = limit;
  eval->value_count = tsr_value_count(ir);
  eval->dim_count = tsr_dim_count(ir);
  tsr_arena_init(&eval->arena, allocator);
  eval->values = (tsr_array **)tsr_arena_alloc_array(&eval->arena, (size_t)eval->value_count + 1,
                                                     sizeof *eval->values);
  eval->dims = (int64_t *)tsr_arena_alloc_array(&eval->arena, eval->dim_count, sizeof(int64_t));
  eval->dim_known = (bool *)tsr_arena_alloc_array(&eval->arena, eval->dim_count, sizeof(bool));
  if (eval->values == NULL || eval->dims == NULL || eval->dim_known == NULL) {
    tsr_eval_destroy(eval);
    return TSR_ERR_OUT_OF_MEMORY;
  }
  for (uint32_t i = 0; dims != NULL && i < eval->dim_count; i++) {
    eval->dims[i] = dims[i];
    eval->dim_known[i] = !tsr_dim_get(ir, i + 1)->from_device;
  }
  *out_eval = eval;
  return TSR_OK;
}

void tsr_eval_destroy(tsr_eval *eval) {
  const tsr_allocator *allocator;
  if (eval == NULL)
    return;
  allocator = eval->allocator;
  tsr_arena_reset(&eval->arena);
  allocator->release(allocator->context, eval, sizeof *eval);
}

tsr_diag *tsr_eval_diag(tsr_eval *eval) {
  return &eval->diag;
}

tsr_status tsr_eval_fail(tsr_eval_op *e, tsr_status status, const char *format, ...) {
  char message[512];
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  (void)tsr_fail(&e->eval->diag, status, "%s", message);
  tsr_diag_set_node(&e->eval->diag, e->data->origin_count != 0 ? e->data->origins[0] : NULL,
                    tsr_opcode_info(e->data->code)->text);
  return status;
}

/* --- arrays --- */

static tsr_status new_array(tsr_eval *eval, tsr_dtype dtype, const int64_t *dims, uint32_t rank,
                            tsr_array **out) {
  tsr_array *array = (tsr_array *)tsr_arena_alloc(&eval->arena, sizeof *array);
  int64_t count = 1;
  *out = NULL;
  if (array == NULL)
    return TSR_ERR_OUT_OF_MEMORY;
  for (uint32_t i = 0; i < rank; i++) {
    if (dims[i] < 0)
      return tsr_fail(&eval->diag, TSR_ERR_SHAPE, "a dim is %lld", (long long)dims[i]);
    if (__builtin_mul_overflow(count, dims[i], &count))
      return tsr_fail(&eval->diag, TSR_ERR_SHAPE, "a shape overflows 64 bits");
    array->dims[i] = dims[i];
  }
  if (count > eval->limit)
    return tsr_fail(&eval->diag, TSR_ERR_LIMIT, "an array of %lld elements; the limit is %lld",
                    (long long)count, (long long)eval->limit);
  array->dtype = dtype;
  array->rank = rank;
  array->count = count;
  if (tsr_array_is_float(array))
    array->floats =
        (double *)tsr_arena_alloc_array(&eval->arena, (size_t)count, sizeof *array->floats);
  else
    array->integers =
        (int64_t *)tsr_arena_alloc_array(&eval->arena, (size_t)count, sizeof *array->integers);
  if (array->floats == NULL && array->integers == NULL)
    return TSR_ERR_OUT_OF_MEMORY;
  *out = array;
  return TSR_OK;
}

tsr_status tsr_eval_expr(tsr_eval_op *e, tsr_expr expr, const int64_t *lanes, int64_t *out) {
  tsr_expr_node node = tsr_expr_get(e->eval->ir, expr);
  int64_t a, b;
  *out = 0;
  switch (node.op) {
  case TSR_INDEX_INT:
    *out = node.number;
    return TSR_OK;
  case TSR_INDEX_DIM:
    if (node.dim > e->eval->dim_count || !e->eval->dim_known[node.dim - 1])
      return tsr_eval_fail(e, TSR_ERR_STATE, "dim '%s' is not known",
                           tsr_dim_get(e->eval->ir, node.dim)->name);
    *out = e->eval->dims[node.dim - 1];
    return TSR_OK;
  case TSR_INDEX_LANE:
    if (lanes == NULL)
      return tsr_eval_fail(e, TSR_ERR_ARGUMENT, "a lane outside of an index map");
    *out = lanes[node.number];
    return TSR_OK;
  case TSR_INDEX_VALUE:
    return tsr_eval_fail(e, TSR_ERR_ARGUMENT, "an index variable in a graph");
  default:
    break;
  }
  TSR_TRY(tsr_eval_expr(e, node.a, lanes, &a));
  TSR_TRY(tsr_eval_expr(e, node.b, lanes, &b));
  if (tsr_index_apply(node.op, a, b, out) != TSR_OK)
    return tsr_eval_fail(e, TSR_ERR_SHAPE, "index arithmetic overflows or divides by zero");
  return TSR_OK;
}

tsr_status tsr_eval_list(tsr_eval_op *e, const char *key, uint32_t count, int64_t otherwise,
                         int64_t *out) {
  const tsr_attr *attr = tsr_op_attr(e->eval->ir, e->op, key);
  for (uint32_t i = 0; i < count; i++)
    out[i] = otherwise;
  if (attr == NULL)
    return TSR_OK;
  if (attr->kind != TSR_ATTR_EXPRS || attr->count != count)
    return tsr_eval_fail(e, TSR_ERR_ARGUMENT, "'%s' does not list %u numbers", key, count);
  for (uint32_t i = 0; i < count; i++)
    TSR_TRY(tsr_eval_expr(e, attr->u.exprs[i], NULL, &out[i]));
  return TSR_OK;
}

tsr_status tsr_eval_axis(tsr_eval_op *e, uint32_t rank, uint32_t *out) {
  int64_t axis = tsr_op_int(e->eval->ir, e->op, "axis", -1);
  *out = (uint32_t)axis;
  return axis >= 0 && axis < rank
             ? TSR_OK
             : tsr_eval_fail(e, TSR_ERR_ARGUMENT, "axis %lld of rank %u", (long long)axis, rank);
}

const tsr_array *tsr_eval_operand(const tsr_eval_op *e, uint32_t number) {
  return e->eval->values[e->data->operands[number].value];
}

tsr_status tsr_eval_bind(tsr_eval *eval, tsr_value input, const int64_t *dims, uint32_t rank,
                         const void *data) {
  const tsr_type_info *type = tsr_value_type(eval->ir, input);
  tsr_array *array;
  if (input == 0 || input > eval->value_count || rank > TSR_MAX_RANK || rank != type->rank)
    return tsr_fail(&eval->diag, TSR_ERR_ARGUMENT, "an input of rank %u is bound to rank %u",
                    type->rank, rank);
  TSR_TRY(new_array(eval, type->dtype, dims, rank, &array));
  if (array->floats != NULL)
    tsr_elements_load_f64(type->dtype, data, 0, array->count, array->floats);
  else
    tsr_elements_load_i64(type->dtype, data, 0, array->count, array->integers);
  eval->values[input] = array;
  return TSR_OK;
}

/* --- sources --- */

static void fill(tsr_array *array, double number, int64_t integer) {
  for (int64_t i = 0; i < array->count; i++)
    if (array->floats != NULL)
      array->floats[i] = number;
    else
      array->integers[i] = integer;
}

static tsr_status eval_const(tsr_eval_op *e) {
  tsr_array *out = e->out[0];
  const tsr_attr *random = tsr_op_attr(e->eval->ir, e->op, "random");
  uint64_t seed = random == NULL ? 0 : (uint64_t)random->u.integer;
  const void *bytes;
  uint64_t size;
  double number;
  int64_t integer;
  if (random != NULL) {
    for (int64_t i = 0; i < out->count; i++)
      if (out->floats != NULL)
        out->floats[i] = tsr_round_to(out->dtype, tsr_random_float(seed, (uint64_t)i));
      else
        out->integers[i] = tsr_random_int(seed, (uint64_t)i, out->dtype);
    return TSR_OK;
  }
  if (tsr_const_splat(e->eval->ir, e->op, &number, &integer)) {
    fill(out, out->floats != NULL ? tsr_round_to(out->dtype, number) : 0,
         tsr_wrap(out->dtype, integer));
    return TSR_OK;
  }
  TSR_TRY(tsr_const_bytes(e->eval->ir, e->op, &e->eval->arena, &e->eval->diag, &bytes, &size));
  if (out->count > 0 && out->floats != NULL)
    tsr_elements_load_f64(out->dtype, bytes, 0, out->count, out->floats);
  else if (out->count > 0)
    tsr_elements_load_i64(out->dtype, bytes, 0, out->count, out->integers);
  return TSR_OK;
}

static tsr_status eval_iota(tsr_eval_op *e) {
  int64_t position[TSR_MAX_RANK];
  uint32_t axis;
  TSR_TRY(tsr_eval_axis(e, e->out[0]->rank, &axis));
  for (int64_t i = 0; i < e->out[0]->count; i++) {
    tsr_unravel(e->out[0], i, position);
    if (e->out[0]->floats != NULL)
      e->out[0]->floats[i] = (double)position[axis];
    else
      e->out[0]->integers[i] = position[axis];
  }
  return TSR_OK;
}

static tsr_status eval_index(tsr_eval_op *e) {
  const tsr_attr *attr = tsr_op_attr(e->eval->ir, e->op, "value");
  int64_t number = attr->u.integer;
  if (attr->kind == TSR_ATTR_EXPR)
    TSR_TRY(tsr_eval_expr(e, attr->u.expr, NULL, &number));
  fill(e->out[0], (double)number, number);
  return TSR_OK;
}

static tsr_status eval_source(tsr_eval_op *e) {
  switch (e->data->code) {
  case TSR_OP_CONST:
    return eval_const(e);
  case TSR_OP_IOTA:
    return eval_iota(e);
  case TSR_OP_INDEX:
    return eval_index(e);
  default:
    return tsr_eval_fail(e, TSR_ERR_STATE, "the input is not bound");
  }
}

/* --- ops on demand --- */

/* Integers always wrap to their dtype: that is their meaning, not a rounding. */
static void round_result(const tsr_eval *eval, tsr_array *array) {
  if (array->floats == NULL)
    for (int64_t i = 0; i < array->count; i++)
      array->integers[i] = tsr_wrap(array->dtype, array->integers[i]);
  else if (eval->round)
    for (int64_t i = 0; i < array->count; i++)
      array->floats[i] = tsr_round_to(array->dtype, array->floats[i]);
}

static tsr_status make_result(tsr_eval_op *e, uint32_t number) {
  const tsr_type_info *type = tsr_value_type(e->eval->ir, e->data->results[number]);
  int64_t dims[TSR_MAX_RANK];
  for (uint32_t i = 0; i < type->rank; i++)
    TSR_TRY(tsr_eval_expr(e, type->dims[i], NULL, &dims[i]));
  return new_array(e->eval, type->dtype, dims, type->rank, &e->out[number]);
}

/* The device dim of a resize_dim takes the value of its count. */
static tsr_status learn_dim(tsr_eval_op *e) {
  const tsr_attr *attr = tsr_op_attr(e->eval->ir, e->op, "dim");
  tsr_expr_node node = {.op = TSR_INDEX_INT};
  if (attr != NULL && attr->kind == TSR_ATTR_EXPR)
    node = tsr_expr_get(e->eval->ir, attr->u.expr);
  const tsr_array *count = tsr_eval_operand(e, 1);
  const tsr_operand *operand = &e->data->operands[1];
  int64_t position[TSR_MAX_RANK];
  bool good = operand->subscript_count == count->rank;
  for (uint32_t i = 0; good && i < count->rank; i++)
    good = tsr_expr_is_int(e->eval->ir, operand->subscripts[i], &position[i]) && position[i] >= 0 &&
           position[i] < count->dims[i];
  if (node.op != TSR_INDEX_DIM || node.dim > e->eval->dim_count || !good)
    return tsr_eval_fail(e, TSR_ERR_ARGUMENT, "'dim' is no dim, or the count no element");
  e->eval->dims[node.dim - 1] = tsr_array_int(count, tsr_ravel(count, position));
  e->eval->dim_known[node.dim - 1] = true;
  return TSR_OK;
}

static tsr_eval_rule *rule_of(tsr_opcode code) {
  switch (tsr_opcode_info(code)->kind) {
  case TSR_KIND_SOURCE:
    return eval_source;
  case TSR_KIND_UNARY:
  case TSR_KIND_BINARY:
  case TSR_KIND_COMPARE:
  case TSR_KIND_TERNARY:
    return tsr_eval_elementwise;
  case TSR_KIND_VIEW:
    return tsr_eval_view;
  case TSR_KIND_REDUCE:
    return tsr_eval_reduce;
  case TSR_KIND_INDEXED:
    return tsr_eval_indexed;
  default:
    return NULL;
  }
}

static tsr_status compute(tsr_eval *eval, tsr_op op) {
  tsr_eval_op e = {.eval = eval, .op = op, .data = tsr_op_get(eval->ir, op)};
  tsr_eval_rule *rule = rule_of(e.data->code);
  if (rule == NULL || (tsr_opcode_info(e.data->code)->levels & TSR_AT_GRAPH) == 0)
    return tsr_eval_fail(&e, TSR_ERR_UNSUPPORTED, "only graph ops can be evaluated");
  for (uint32_t i = 0; i < e.data->operand_count && i < 3; i++)
    e.in[i] = tsr_eval_operand(&e, i);
  if (e.data->code == TSR_OP_RESIZE_DIM)
    TSR_TRY(learn_dim(&e));
  for (uint32_t i = 0; i < e.data->result_count; i++)
    TSR_TRY(make_result(&e, i));
  TSR_TRY(rule(&e));
  for (uint32_t i = 0; i < e.data->result_count; i++) {
    round_result(eval, e.out[i]);
    eval->values[e.data->results[i]] = e.out[i];
  }
  return TSR_OK;
}

/* The op that makes a device dim known, or 0. */
static tsr_op maker_of(const tsr_eval *eval, tsr_dim dim) {
  for (tsr_op op = 1; op <= tsr_op_count(eval->ir); op++) {
    const tsr_attr *attr;
    if (tsr_op_get(eval->ir, op)->code != TSR_OP_RESIZE_DIM ||
        tsr_op_get(eval->ir, op)->parent == 0)
      continue;
    attr = tsr_op_attr(eval->ir, op, "dim");
    if (attr != NULL && attr->kind == TSR_ATTR_EXPR &&
        tsr_expr_get(eval->ir, attr->u.expr).dim == dim)
      return op;
  }
  return 0;
}

/* The first device dim of `expr` that is not known yet, or 0. */
static tsr_dim unknown_dim(const tsr_eval *eval, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(eval->ir, expr);
  tsr_dim dim;
  if (node.op == TSR_INDEX_DIM)
    return node.dim <= eval->dim_count && !eval->dim_known[node.dim - 1] &&
                   tsr_dim_get(eval->ir, node.dim)->from_device
               ? node.dim
               : 0;
  if (node.op <= TSR_INDEX_LANE)
    return 0;
  dim = unknown_dim(eval, node.a);
  return dim != 0 ? dim : unknown_dim(eval, node.b);
}

/* An op that must be computed before `op`, or 0. */
static tsr_op missing(const tsr_eval *eval, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(eval->ir, op);
  for (uint32_t i = 0; i < data->operand_count; i++)
    if (eval->values[data->operands[i].value] == NULL)
      return tsr_value_get(eval->ir, data->operands[i].value)->def;
  for (uint32_t i = 0; data->code != TSR_OP_RESIZE_DIM && i < data->result_count; i++) {
    const tsr_type_info *type = tsr_value_type(eval->ir, data->results[i]);
    for (uint32_t d = 0; d < type->rank; d++) {
      tsr_dim dim = unknown_dim(eval, type->dims[d]);
      tsr_op maker = dim == 0 ? 0 : maker_of(eval, dim);
      if (maker != 0)
        return maker;
    }
  }
  return 0;
}

/* A stack of ops instead of recursion: graphs are deep. Every op on it waits for the one above; one
 * that is met again waits for itself. */
static tsr_status run(tsr_eval *eval, tsr_op goal) {
  tsr_op *stack = NULL;
  uint32_t depth = 0, capacity = 0;
  uint32_t limit = tsr_op_count(eval->ir) + 1;
  tsr_op next = goal;
  while (next != 0 || depth != 0) {
    if (next != 0) {
      if (depth == limit)
        return tsr_fail(&eval->diag, TSR_ERR_STATE, "a value depends on itself");
      if (depth == capacity) {
        tsr_op *grown =
            (tsr_op *)tsr_arena_alloc_array(&eval->arena, (size_t)capacity * 2 + 16, sizeof *grown);
        if (grown == NULL)
          return TSR_ERR_OUT_OF_MEMORY;
        if (depth != 0)
          memcpy(grown, stack, depth * sizeof *grown);
        stack = grown;
        capacity = capacity * 2 + 16;
      }
      stack[depth++] = next;
    }
    next = missing(eval, stack[depth - 1]);
    if (next == 0)
      TSR_TRY(compute(eval, stack[--depth]));
  }
  return TSR_OK;
}

tsr_status tsr_eval_get(tsr_eval *eval, tsr_value value, const tsr_array **out) {
  *out = NULL;
  if (value == 0 || value > eval->value_count)
    return tsr_fail(&eval->diag, TSR_ERR_ARGUMENT, "no such value");
  if (eval->values[value] == NULL) {
    if (tsr_value_get(eval->ir, value)->role != TSR_ROLE_RESULT)
      return tsr_fail(&eval->diag, TSR_ERR_UNSUPPORTED, "only results of graph ops have a value");
    TSR_TRY(run(eval, tsr_value_get(eval->ir, value)->def));
  }
  *out = eval->values[value];
  return TSR_OK;
}
