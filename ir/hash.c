/* The workload hash: what a schedule depends on, in words fed to XXH64 one after the other. Values
 * and dims stand for their order of first appearance, opcodes and attributes for their text, terms
 * and operands of commutative operators for a sum of their hashes, so that neither ids, names nor
 * the printed form matter. */
#include "runtime/hash.h"
#include "ir/const_bytes.h"
#include "ir/ir_internal.h"
#include "runtime/float_convert.h"
#include <string.h>

typedef struct hasher {
  const tsr_ir *ir;
  uint64_t state;
  uint32_t *values, *dims; /* by id: 1 + order of first appearance, 0 = not seen */
  uint32_t value_count, dim_count;
} hasher;

static uint64_t mix_word(uint64_t state, uint64_t word) {
  unsigned char bytes[8];
  for (int i = 0; i < 8; i++)
    bytes[i] = (unsigned char)(word >> (8 * i));
  return tsr_hash64_seeded(bytes, sizeof bytes, state);
}

static void add(hasher *h, uint64_t word) {
  h->state = mix_word(h->state, word);
}

static void add_text(hasher *h, const char *text) {
  add(h, text == NULL ? 0 : tsr_hash64(text, strlen(text)) + 1);
}

static void add_number(hasher *h, double number) {
  uint64_t bits;
  memcpy(&bits, &number, sizeof bits);
  add(h, bits);
}

static uint64_t hash_expr(hasher *h, tsr_expr expr);

static uint64_t hash_dim(hasher *h, tsr_dim dim) {
  const tsr_dim_data *data = tsr_dim_get(h->ir, dim);
  uint64_t state;
  if (h->dims[dim] == 0)
    h->dims[dim] = ++h->dim_count;
  state = mix_word(h->dims[dim], (uint64_t)data->lo);
  state = mix_word(state, (uint64_t)data->hi);
  state = mix_word(state, data->from_device ? 0 : (uint64_t)data->hint);
  return mix_word(state, data->from_device ? hash_expr(h, data->bound) : 0);
}

static uint64_t hash_value(hasher *h, tsr_value value);

static bool commutes(tsr_index_op op) {
  return op != TSR_INDEX_FLOORDIV && op != TSR_INDEX_CEILDIV && op != TSR_INDEX_MOD &&
         op != TSR_INDEX_LT && op != TSR_INDEX_LE;
}

/* The sum over a chain of one commutative operator. */
static uint64_t hash_chain(hasher *h, tsr_expr expr, tsr_index_op op) {
  tsr_expr_node node = tsr_expr_get(h->ir, expr);
  uint64_t sum = 0;
  while (node.op == op) {
    sum += hash_expr(h, node.b);
    expr = node.a;
    node = tsr_expr_get(h->ir, expr);
  }
  return sum + hash_expr(h, expr);
}

static uint64_t hash_expr(hasher *h, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(h->ir, expr);
  uint64_t state = mix_word(TSR_HASH_VERSION, expr == 0 ? UINT64_MAX : (uint64_t)node.op);
  if (expr == 0)
    return state;
  switch (node.op) {
  case TSR_INDEX_INT:
  case TSR_INDEX_LANE:
    return mix_word(state, (uint64_t)node.number);
  case TSR_INDEX_DIM:
    return mix_word(state, hash_dim(h, node.dim));
  case TSR_INDEX_VALUE:
    return mix_word(state, hash_value(h, node.value));
  default:
    break;
  }
  if (commutes(node.op))
    return mix_word(state, hash_chain(h, expr, node.op));
  state = mix_word(state, hash_expr(h, node.a));
  return mix_word(state, hash_expr(h, node.b));
}

static void add_exprs(hasher *h, const tsr_expr *exprs, uint32_t count) {
  add(h, count);
  for (uint32_t i = 0; i < count; i++)
    add(h, hash_expr(h, exprs[i]));
}

static void add_type(hasher *h, tsr_type type) {
  const tsr_type_info *info = tsr_type_get(h->ir, type);
  add(h, (uint64_t)info->level << 8 | (uint64_t)info->dtype);
  if (info->rank == TSR_RANK_ANY)
    add(h, TSR_RANK_ANY);
  else
    add_exprs(h, info->dims, info->rank);
}

/* A value from outside of the op counts as defined where it is first used. */
static uint64_t hash_value(hasher *h, tsr_value value) {
  if (value != 0 && h->values[value] == 0) {
    h->values[value] = ++h->value_count;
    add_type(h, tsr_value_get(h->ir, value)->type);
  }
  return h->values[value];
}

static void define_value(hasher *h, tsr_value value) {
  const tsr_value_data *data = tsr_value_get(h->ir, value);
  h->values[value] = ++h->value_count;
  add(h, (uint64_t)data->role);
  add_type(h, data->type);
  if (data->hi != 0) {
    add(h, hash_expr(h, data->lo));
    add(h, hash_expr(h, data->hi));
    add(h, hash_expr(h, data->step));
  }
}

/* Names of inputs and outputs are names; of a constant only whether it is one number counts. */
static bool is_left_out(tsr_opcode code, const char *key) {
  return code == TSR_OP_CONST ||
         ((code == TSR_OP_INPUT || code == TSR_OP_OUTPUT) && strcmp(key, "name") == 0);
}

static void add_attr(hasher *h, const tsr_attr *attr) {
  add_text(h, attr->key);
  add(h, (uint64_t)attr->kind);
  switch (attr->kind) {
  case TSR_ATTR_INT:
    add(h, (uint64_t)attr->u.integer);
    break;
  case TSR_ATTR_FLOAT:
    add_number(h, attr->u.number);
    break;
  case TSR_ATTR_BOOL:
    add(h, attr->u.boolean);
    break;
  case TSR_ATTR_STRING:
    add_text(h, attr->u.string);
    break;
  case TSR_ATTR_SYMBOL:
    break;
  case TSR_ATTR_DTYPE:
    add(h, (uint64_t)attr->u.dtype);
    break;
  case TSR_ATTR_EXPR:
    add(h, hash_expr(h, attr->u.expr));
    break;
  case TSR_ATTR_EXPRS:
    add_exprs(h, attr->u.exprs, attr->count);
    break;
  case TSR_ATTR_NUMBERS:
    for (uint32_t i = 0; i < attr->count; i++)
      add_number(h, attr->u.numbers[i]);
    break;
  case TSR_ATTR_STRINGS:
    for (uint32_t i = 0; i < attr->count; i++)
      add_text(h, attr->u.strings[i]);
    break;
  default:
    break;
  }
}

static void add_const(hasher *h, tsr_op op) {
  double number;
  int64_t integer;
  tsr_dtype dtype = tsr_value_type(h->ir, tsr_op_get(h->ir, op)->results[0])->dtype;
  bool splat = tsr_const_splat((tsr_ir *)h->ir, op, &number, &integer);
  add(h, splat);
  if (splat && tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT)
    add(h, tsr_float_encode(dtype, number, TSR_OVERFLOW_SPECIAL));
  else if (splat)
    add(h, (uint64_t)integer);
}

static void add_op(hasher *h, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(h->ir, op);
  add_text(h, tsr_opcode_info(data->code)->text);
  add(h, (uint64_t)data->operand_count << 32 | data->result_count);
  for (uint32_t i = 0; i < data->operand_count; i++) {
    const tsr_operand *operand = &data->operands[i];
    add(h, hash_value(h, operand->value) << 1 | operand->subscripted);
    add_exprs(h, operand->subscripts, operand->subscript_count);
  }
  for (uint32_t i = 0; i < data->result_count; i++)
    define_value(h, data->results[i]);
  for (uint32_t i = 0; i < data->attr_count; i++)
    if (!is_left_out(data->code, data->attrs[i].key))
      add_attr(h, &data->attrs[i]);
  if (data->code == TSR_OP_CONST)
    add_const(h, op);
  add(h, data->region_count);
  for (uint32_t r = 0; r < data->region_count; r++) {
    const tsr_region_data *region = tsr_region_get(h->ir, data->regions[r]);
    for (uint32_t i = 0; i < region->arg_count; i++)
      define_value(h, region->args[i]);
    for (tsr_op inner = region->first; inner != 0; inner = tsr_op_get(h->ir, inner)->next)
      add_op(h, inner);
    add(h, UINT64_MAX);
  }
}

/* 0 when memory is out. */
uint64_t tsr_op_workload_hash(const tsr_ir *ir, tsr_op op) {
  const tsr_allocator *allocator = tsr_ir_allocator(ir);
  size_t values = (size_t)tsr_value_count(ir) + 1, dims = (size_t)tsr_dim_count(ir) + 1;
  size_t bytes = (values + dims) * sizeof(uint32_t);
  hasher h = {.ir = ir, .state = TSR_HASH_VERSION};
  h.values = (uint32_t *)allocator->allocate(allocator->context, bytes, _Alignof(uint32_t));
  if (h.values == NULL)
    return 0;
  memset(h.values, 0, bytes);
  h.dims = h.values + values;
  add_op(&h, op);
  allocator->release(allocator->context, h.values, bytes);
  return h.state;
}
