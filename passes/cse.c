#include "passes/canonicalize.h"
#include <string.h>

static bool same_exprs(const tsr_expr *a, const tsr_expr *b, uint32_t count) {
  return count == 0 || memcmp(a, b, count * sizeof *a) == 0;
}

static bool same_attr(const tsr_attr *a, const tsr_attr *b) {
  if (a->key != b->key || a->kind != b->kind || a->count != b->count)
    return false;
  switch (a->kind) {
  case TSR_ATTR_INT:
    return a->u.integer == b->u.integer;
  case TSR_ATTR_FLOAT:
    return memcmp(&a->u.number, &b->u.number, sizeof a->u.number) == 0;
  case TSR_ATTR_BOOL:
    return a->u.boolean == b->u.boolean;
  case TSR_ATTR_STRING:
  case TSR_ATTR_SYMBOL:
    return strcmp(a->u.string, b->u.string) == 0;
  case TSR_ATTR_DTYPE:
    return a->u.dtype == b->u.dtype;
  case TSR_ATTR_EXPR:
    return a->u.expr == b->u.expr;
  case TSR_ATTR_EXPRS:
    return same_exprs(a->u.exprs, b->u.exprs, a->count);
  case TSR_ATTR_NUMBERS:
    return a->count == 0 ||
           memcmp(a->u.numbers, b->u.numbers, a->count * sizeof *a->u.numbers) == 0;
  default:
    return false;
  }
}

/* Entries of the constant table are equal when their bytes are. */
static bool same_table_entry(const tsr_ir *ir, const tsr_attr *a, const tsr_attr *b) {
  const tsr_const_data *x = tsr_const_get(ir, (uint32_t)a->u.integer);
  const tsr_const_data *y = tsr_const_get(ir, (uint32_t)b->u.integer);
  return x->dtype == y->dtype && x->bytes == y->bytes && x->hash == y->hash && x->data != NULL &&
         y->data != NULL && memcmp(x->data, y->data, x->bytes) == 0;
}

static bool same_attrs(const tsr_ir *ir, const tsr_op_data *a, const tsr_op_data *b) {
  if (a->attr_count != b->attr_count)
    return false;
  for (uint32_t i = 0; i < a->attr_count; i++) {
    const tsr_attr *x = &a->attrs[i], *y = &b->attrs[i];
    bool table = a->code == TSR_OP_CONST && x->key == y->key && x->kind == TSR_ATTR_INT &&
                 y->kind == TSR_ATTR_INT && strcmp(x->key, "data") == 0;
    if (!same_attr(x, y) && !(table && same_table_entry(ir, x, y)))
      return false;
  }
  return true;
}

bool tsr_ops_equal(const tsr_ir *ir, tsr_op x, tsr_op y) {
  const tsr_op_data *a = tsr_op_get(ir, x), *b = tsr_op_get(ir, y);
  if (a->code != b->code || a->operand_count != b->operand_count || a->region_count != 0 ||
      b->region_count != 0 || a->result_count != b->result_count)
    return false;
  for (uint32_t i = 0; i < a->result_count; i++)
    if (tsr_value_get(ir, a->results[i])->type != tsr_value_get(ir, b->results[i])->type)
      return false;
  for (uint32_t i = 0; i < a->operand_count; i++) {
    const tsr_operand *p = &a->operands[i], *q = &b->operands[i];
    if (p->value != q->value || p->subscripted != q->subscripted ||
        p->subscript_count != q->subscript_count ||
        !same_exprs(p->subscripts, q->subscripts, p->subscript_count))
      return false;
  }
  return same_attrs(ir, a, b);
}

static uint64_t mix(uint64_t hash, uint64_t more) {
  hash = (hash ^ more) * UINT64_C(0x9e3779b97f4a7c15);
  return hash ^ (hash >> 29);
}

/* Weaker than tsr_ops_equal: equal ops hash alike. */
static uint64_t hash_op(const tsr_ir *ir, const tsr_op_data *data) {
  uint64_t hash = mix(0, (uint64_t)data->code);
  for (uint32_t i = 0; i < data->operand_count; i++)
    hash = mix(hash, data->operands[i].value);
  for (uint32_t i = 0; i < data->result_count; i++)
    hash = mix(hash, tsr_value_get(ir, data->results[i])->type);
  for (uint32_t i = 0; i < data->attr_count; i++) {
    const tsr_attr *attr = &data->attrs[i];
    bool table = data->code == TSR_OP_CONST && strcmp(attr->key, "data") == 0;
    if (attr->kind == TSR_ATTR_INT)
      hash = mix(hash, table ? tsr_const_get(ir, (uint32_t)attr->u.integer)->hash
                             : (uint64_t)attr->u.integer);
    else if (attr->kind == TSR_ATTR_STRING)
      for (const char *c = attr->u.string; *c != 0; c++)
        hash = mix(hash, (unsigned char)*c);
    else if (attr->kind == TSR_ATTR_EXPR)
      hash = mix(hash, attr->u.expr);
  }
  return hash;
}

static bool sharable(const tsr_op_data *data) {
  tsr_op_kind kind = tsr_opcode_info(data->code)->kind;
  return data->region_count == 0 && data->result_count > 0 && kind != TSR_KIND_STRUCTURE &&
         kind != TSR_KIND_MEMORY && data->code != TSR_OP_INPUT && data->code != TSR_OP_RESIZE_DIM;
}

static uint32_t region_size(const tsr_ir *ir, tsr_region region) {
  uint32_t count = 0;
  TSR_FOR_EACH_OP (ir, region, op)
    count++;
  return count;
}

static void share(tsr_ir *ir, tsr_op kept, tsr_op op) {
  for (uint32_t i = 0; i < tsr_op_get(ir, op)->result_count; i++)
    tsr_value_replace_all(ir, tsr_op_get(ir, op)->results[i], tsr_op_get(ir, kept)->results[i]);
  tsr_op_copy_origins(ir, kept, op);
  tsr_op_erase(ir, op);
}

tsr_status tsr_cse_region(tsr_ir *ir, tsr_region region, tsr_diag *diag, bool *out_changed) {
  uint32_t capacity = 16;
  while (capacity < 2 * region_size(ir, region))
    capacity *= 2;
  tsr_arena arena;
  tsr_arena_init(&arena, tsr_ir_allocator(ir));
  tsr_op *table = (tsr_op *)tsr_arena_alloc_array(&arena, capacity, sizeof *table);
  tsr_status status =
      table != NULL ? TSR_OK
                    : tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while sharing ops");
  for (tsr_op op = tsr_region_get(ir, region)->first, next; status == TSR_OK && op != 0;
       op = next) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    next = data->next;
    for (uint32_t i = 0; i < data->region_count && status == TSR_OK; i++)
      if (data->code == TSR_OP_IF || data->code == TSR_OP_LOOP)
        status = tsr_cse_region(ir, data->regions[i], diag, out_changed);
    if (status != TSR_OK || !sharable(data))
      continue;
    uint32_t slot = (uint32_t)hash_op(ir, data) & (capacity - 1);
    while (table[slot] != 0 && !tsr_ops_equal(ir, table[slot], op))
      slot = (slot + 1) & (capacity - 1);
    if (table[slot] == 0) {
      table[slot] = op;
      continue;
    }
    share(ir, table[slot], op);
    *out_changed = true;
  }
  tsr_arena_reset(&arena);
  return status;
}
