/* Are two blocks the same program up to the names of their values? Exact, so that sharing a kernel
 * never rests on a hash. */
#include "passes/tile/nest.h"
#include <string.h>

enum { MAX_PAIRS = 1024 };

typedef struct comparing {
  const tsr_ir *ir;
  tsr_value *to; /* by value of the first block */
  tsr_value pairs[MAX_PAIRS];
  uint32_t count;
} comparing;

static bool pair_values(comparing *c, tsr_value a, tsr_value b) {
  if (c->to[a] != 0)
    return c->to[a] == b;
  for (uint32_t i = 0; i < c->count; i++)
    if (c->to[c->pairs[i]] == b)
      return false;
  if (c->count == MAX_PAIRS || tsr_value_get(c->ir, a)->type != tsr_value_get(c->ir, b)->type ||
      tsr_nest_is_const(c->ir, a) != tsr_nest_is_const(c->ir, b))
    return false;
  c->pairs[c->count++] = a;
  c->to[a] = b;
  return true;
}

static bool same_expr(comparing *c, tsr_expr a, tsr_expr b) {
  const tsr_expr_node x = tsr_expr_get(c->ir, a), y = tsr_expr_get(c->ir, b);
  if (x.op != y.op)
    return false;
  if (x.op == TSR_INDEX_VALUE)
    return pair_values(c, x.value, y.value);
  if (x.op < TSR_INDEX_ADD)
    return a == b;
  return same_expr(c, x.a, y.a) && same_expr(c, x.b, y.b);
}

static bool same_attr(comparing *c, const tsr_attr *a, const tsr_attr *b) {
  if (strcmp(a->key, b->key) != 0 || a->kind != b->kind || a->count != b->count)
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
    return same_expr(c, a->u.expr, b->u.expr);
  case TSR_ATTR_EXPRS:
    for (uint32_t i = 0; i < a->count; i++)
      if (!same_expr(c, a->u.exprs[i], b->u.exprs[i]))
        return false;
    return true;
  case TSR_ATTR_NUMBERS:
    return memcmp(a->u.numbers, b->u.numbers, a->count * sizeof *a->u.numbers) == 0;
  default:
    return false;
  }
}

static bool same_op(comparing *c, tsr_op a, tsr_op b);

static bool same_region(comparing *c, tsr_region a, tsr_region b) {
  const tsr_region_data *x = tsr_region_get(c->ir, a), *y = tsr_region_get(c->ir, b);
  if (x->arg_count != y->arg_count)
    return false;
  for (uint32_t i = 0; i < x->arg_count; i++) {
    const tsr_value_data *p = tsr_value_get(c->ir, x->args[i]);
    const tsr_value_data *q = tsr_value_get(c->ir, y->args[i]);
    if (p->role != q->role || !pair_values(c, x->args[i], y->args[i]))
      return false;
    if (p->hi != 0 && (q->hi == 0 || !same_expr(c, p->lo, q->lo) || !same_expr(c, p->hi, q->hi) ||
                       !same_expr(c, p->step, q->step)))
      return false;
  }
  tsr_op p = x->first, q = y->first;
  for (; p != 0 && q != 0; p = tsr_op_get(c->ir, p)->next, q = tsr_op_get(c->ir, q)->next)
    if (!same_op(c, p, q))
      return false;
  return p == 0 && q == 0;
}

static bool same_operand(comparing *c, const tsr_operand *a, const tsr_operand *b) {
  if (a->subscripted != b->subscripted || a->subscript_count != b->subscript_count ||
      !pair_values(c, a->value, b->value))
    return false;
  for (uint32_t i = 0; i < a->subscript_count; i++)
    if (!same_expr(c, a->subscripts[i], b->subscripts[i]))
      return false;
  return true;
}

static bool same_op(comparing *c, tsr_op a, tsr_op b) {
  const tsr_op_data *x = tsr_op_get(c->ir, a), *y = tsr_op_get(c->ir, b);
  if (x->code != y->code || x->operand_count != y->operand_count ||
      x->result_count != y->result_count || x->region_count != y->region_count ||
      x->attr_count != y->attr_count)
    return false;
  for (uint32_t i = 0; i < x->result_count; i++)
    if (!pair_values(c, x->results[i], y->results[i]))
      return false;
  for (uint32_t i = 0; i < x->operand_count; i++)
    if (!same_operand(c, &x->operands[i], &y->operands[i]))
      return false;
  for (uint32_t i = 0; i < x->region_count; i++)
    if (!same_region(c, x->regions[i], y->regions[i]))
      return false;
  for (uint32_t i = 0; i < x->attr_count; i++)
    if (!same_attr(c, &x->attrs[i], &y->attrs[i]))
      return false;
  return true;
}

bool tsr_nest_same_block(const tsr_ir *ir, const tsr_nest_pool *pool, tsr_op a, tsr_op b) {
  comparing c = {.ir = ir, .to = pool->memo};
  const bool same = same_op(&c, a, b);
  for (uint32_t i = 0; i < c.count; i++)
    pool->memo[c.pairs[i]] = 0;
  return same;
}
