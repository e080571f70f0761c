/* Index expressions: nodes, sums and products, reading.
 *
 * Canonical form. Every expression is a sum of terms, ADD leaning left; a term is a product of
 * atoms times an integer that is not 1, MUL leaning left with the integer last; the constant is the
 * last term. Atoms are leaves and compounds (divisions, min, max, comparisons, and, or). Factors
 * and terms stand in the order of tsr_expr_order: dims by id, values by id, compounds, lanes.
 * Products of sums are multiplied out. A node (op, a, b) is made only when no rule applies to
 * exactly these operands, and rules look at nothing but the operands and the immutable ranges of
 * dims and index variables, so that building an expression again from its parts (as the parser does
 * from printed text) gives the same id. Rules of single operators stand in expr_divide.c and
 * expr_order.c. */
#include "ir/ir_internal.h"
#include <assert.h>
#include <string.h>

tsr_expr_slot *tsr_expr_slot_of(const tsr_ir *ir, tsr_expr expr) {
  return (tsr_expr_slot *)tsr_store_at(&ir->exprs, expr);
}

static const tsr_expr_node *node_of(const tsr_ir *ir, tsr_expr expr) {
  return &tsr_expr_slot_of(ir, expr)->node;
}

tsr_expr tsr_expr_refuse(tsr_ir *ir, tsr_status status, const char *what) {
  return ir->quiet != 0 ? 0 : tsr_ir_poison(ir, status, "%s", what);
}

/* --- nodes --- */

static bool is_leaf(tsr_index_op op) {
  return op <= TSR_INDEX_LANE;
}

static uint32_t hash_node(const tsr_expr_node *node) {
  uint32_t hash = tsr_mix((uint32_t)node->op, (uint64_t)node->a << 32 | node->b);
  return tsr_mix(hash,
                 (uint64_t)node->number ^ (uint64_t)node->dim << 32 ^ (uint64_t)node->value << 16);
}

static uint32_t expr_hash_of(const tsr_ir *ir, uint32_t id) {
  return tsr_expr_slot_of(ir, id)->hash;
}

static bool same_node(const tsr_expr_node *a, const tsr_expr_node *b) {
  return a->op == b->op && a->a == b->a && a->b == b->b && a->number == b->number &&
         a->dim == b->dim && a->value == b->value;
}

/* A left-leaning sum or product nests no deeper than its deepest term. */
static bool measure(const tsr_ir *ir, tsr_expr_slot *slot) {
  const tsr_expr_slot *a, *b;
  bool spine;
  slot->size = 1;
  slot->leaves = (uint8_t)TSR_LEAF_BIT(slot->node.op);
  if (is_leaf(slot->node.op))
    return true;
  a = tsr_expr_slot_of(ir, slot->node.a);
  b = tsr_expr_slot_of(ir, slot->node.b);
  spine = slot->node.op == a->node.op || slot->node.op == TSR_INDEX_MUL ||
          slot->node.op == TSR_INDEX_ADD;
  slot->leaves = (uint8_t)(a->leaves | b->leaves);
  slot->size = a->size + b->size + 1;
  slot->depth = a->depth > b->depth ? a->depth : b->depth;
  slot->depth = (uint8_t)(slot->depth + (spine ? 0 : 1));
  return slot->size <= TSR_EXPR_MAX_SIZE && slot->depth <= TSR_EXPR_MAX_DEPTH;
}

static tsr_interval node_interval(const tsr_ir *ir, const tsr_expr_node *node) {
  const tsr_expr_slot *a, *b;
  if (is_leaf(node->op))
    return tsr_expr_leaf_interval(ir, node);
  a = tsr_expr_slot_of(ir, node->a);
  b = tsr_expr_slot_of(ir, node->b);
  return tsr_interval_apply(node->op, (tsr_interval){a->lo, a->hi}, (tsr_interval){b->lo, b->hi});
}

static tsr_expr add_node(tsr_ir *ir, const tsr_expr_node *node, uint32_t hash) {
  tsr_expr_slot slot = {.node = *node, .hash = hash};
  tsr_id_table *table = &ir->expr_table;
  tsr_interval interval;
  uint32_t at;
  void *item;
  tsr_expr expr;
  if (!measure(ir, &slot))
    return tsr_expr_refuse(ir, TSR_ERR_LIMIT, "an index expression is too large");
  interval = node_interval(ir, node);
  slot.lo = interval.lo;
  slot.hi = interval.hi;
  if (!tsr_table_reserve(ir, table, expr_hash_of))
    return 0;
  expr = tsr_store_add(ir, &ir->exprs, &item);
  if (expr == 0)
    return 0;
  *(tsr_expr_slot *)item = slot;
  at = hash & (table->capacity - 1);
  while (table->ids[at] != 0)
    at = (at + 1) & (table->capacity - 1);
  table->ids[at] = expr;
  table->used++;
  return expr;
}

static tsr_expr intern_node(tsr_ir *ir, tsr_expr_node node) {
  uint32_t hash = hash_node(&node);
  const tsr_id_table *table = &ir->expr_table;
  if (table->capacity != 0)
    for (uint32_t at = hash & (table->capacity - 1); table->ids[at] != 0;
         at = (at + 1) & (table->capacity - 1))
      if (same_node(node_of(ir, table->ids[at]), &node))
        return table->ids[at];
  return add_node(ir, &node, hash);
}

tsr_expr tsr_expr_node_make(tsr_ir *ir, tsr_index_op op, tsr_expr a, tsr_expr b) {
  return a == 0 || b == 0 ? 0 : intern_node(ir, (tsr_expr_node){.op = op, .a = a, .b = b});
}

tsr_expr tsr_expr_int(tsr_ir *ir, int64_t number) {
  return intern_node(ir, (tsr_expr_node){.op = TSR_INDEX_INT, .number = number});
}

tsr_expr tsr_expr_dim(tsr_ir *ir, tsr_dim dim) {
  if (dim == 0)
    return 0;
  if (tsr_dim_slot_of(ir, dim)->expr == 0)
    tsr_dim_slot_of(ir, dim)->expr =
        intern_node(ir, (tsr_expr_node){.op = TSR_INDEX_DIM, .dim = dim});
  return tsr_dim_slot_of(ir, dim)->expr;
}

tsr_expr tsr_expr_value(tsr_ir *ir, tsr_value value) {
  if (value == 0)
    return 0;
  if (tsr_value_slot_of(ir, value)->expr == 0)
    tsr_value_slot_of(ir, value)->expr =
        intern_node(ir, (tsr_expr_node){.op = TSR_INDEX_VALUE, .value = value});
  return tsr_value_slot_of(ir, value)->expr;
}

tsr_expr tsr_expr_lane(tsr_ir *ir, unsigned axis) {
  if (axis >= TSR_MAX_RANK)
    return tsr_ir_poison(ir, TSR_ERR_LIMIT, "lane $%u; a tile has at most %d axes", axis,
                         TSR_MAX_RANK);
  return intern_node(ir, (tsr_expr_node){.op = TSR_INDEX_LANE, .number = axis});
}

/* --- the order of atoms --- */

/* A product stands before its first factor, a sum next to its first term. */
static int rank_of(tsr_index_op op) {
  static const int ranks[TSR_INDEX_OP_COUNT] = {
      [TSR_INDEX_MUL] = 0,   [TSR_INDEX_ADD] = 1,    [TSR_INDEX_DIM] = 2,
      [TSR_INDEX_VALUE] = 3, [TSR_INDEX_LANE] = 900, [TSR_INDEX_INT] = 1000};
  return ranks[op] != 0 || op == TSR_INDEX_MUL ? ranks[op] : 10 + (int)op;
}

static int sign_of(int64_t a, int64_t b) {
  return a < b ? -1 : a > b;
}

/* Descends into the first difference only; equal parts have equal ids. */
static int order_structure(const tsr_ir *ir, tsr_expr a, tsr_expr b) {
  while (a != b) {
    const tsr_expr_node *x = node_of(ir, a), *y = node_of(ir, b);
    if (x->op != y->op)
      return rank_of(x->op) < rank_of(y->op) ? -1 : 1;
    if (is_leaf(x->op)) {
      int order = sign_of(x->dim, y->dim);
      order = order != 0 ? order : sign_of(x->value, y->value);
      return order != 0 ? order : sign_of(x->number, y->number);
    }
    a = x->a != y->a ? x->a : x->b;
    b = x->a != y->a ? y->a : y->b;
  }
  return 0;
}

static tsr_expr head_of(const tsr_ir *ir, tsr_expr expr) {
  const tsr_expr_node *node = node_of(ir, expr);
  while (node->op == TSR_INDEX_MUL || node->op == TSR_INDEX_ADD) {
    expr = node->a;
    node = node_of(ir, expr);
  }
  return expr;
}

int tsr_expr_order(const tsr_ir *ir, tsr_expr a, tsr_expr b) {
  int order;
  if (a == b)
    return 0;
  order = order_structure(ir, head_of(ir, a), head_of(ir, b));
  return order != 0 ? order : order_structure(ir, a, b);
}

/* --- products --- */

uint32_t tsr_expr_factors(const tsr_ir *ir, tsr_expr atom, tsr_expr *out_factors) {
  uint32_t count = 0;
  const tsr_expr_node *node = node_of(ir, atom);
  while (node->op == TSR_INDEX_MUL) {
    out_factors[count++] = node->b;
    atom = node->a;
    node = node_of(ir, atom);
  }
  out_factors[count++] = atom;
  for (uint32_t i = 0; i < count / 2; i++) {
    tsr_expr swap = out_factors[i];
    out_factors[i] = out_factors[count - 1 - i];
    out_factors[count - 1 - i] = swap;
  }
  return count;
}

tsr_expr tsr_expr_product(tsr_ir *ir, tsr_expr *factors, uint32_t count) {
  tsr_expr product;
  if (count > TSR_EXPR_MAX_FACTORS)
    return tsr_expr_refuse(ir, TSR_ERR_LIMIT, "an index expression has too many factors");
  for (uint32_t i = 1; i < count; i++)
    for (uint32_t j = i; j > 0 && tsr_expr_order(ir, factors[j - 1], factors[j]) > 0; j--) {
      tsr_expr swap = factors[j];
      factors[j] = factors[j - 1];
      factors[j - 1] = swap;
    }
  product = factors[0];
  for (uint32_t i = 1; i < count; i++)
    product = tsr_expr_node_make(ir, TSR_INDEX_MUL, product, factors[i]);
  return product;
}

static tsr_expr multiply_atoms(tsr_ir *ir, tsr_expr a, tsr_expr b) {
  tsr_expr factors[2 * TSR_EXPR_MAX_FACTORS];
  uint32_t count = tsr_expr_factors(ir, a, factors);
  count += tsr_expr_factors(ir, b, factors + count);
  return tsr_expr_product(ir, factors, count);
}

/* --- sums --- */

void tsr_sum_init(tsr_sum *sum) {
  sum->constant = 0;
  sum->count = 0;
  sum->status = TSR_OK;
}

void tsr_sum_copy(tsr_sum *to, const tsr_sum *from) {
  to->constant = from->constant;
  to->count = from->count;
  to->status = from->status;
  memcpy(to->terms, from->terms, from->count * sizeof *from->terms);
}

void tsr_sum_add_int(tsr_sum *sum, int64_t number) {
  if (__builtin_add_overflow(sum->constant, number, &sum->constant))
    sum->status = TSR_ERR_SHAPE;
}

void tsr_sum_remove(tsr_sum *sum, uint32_t number) {
  sum->count--;
  sum->terms[number] = sum->terms[sum->count];
}

void tsr_sum_add_term(tsr_sum *sum, tsr_expr atom, int64_t factor) {
  if (factor == 0)
    return;
  for (uint32_t i = 0; i < sum->count; i++)
    if (sum->terms[i].atom == atom) {
      if (__builtin_add_overflow(sum->terms[i].factor, factor, &sum->terms[i].factor))
        sum->status = TSR_ERR_SHAPE;
      else if (sum->terms[i].factor == 0)
        tsr_sum_remove(sum, i);
      return;
    }
  if (sum->count == TSR_SUM_MAX_TERMS)
    sum->status = TSR_ERR_LIMIT;
  else
    sum->terms[sum->count++] = (tsr_sum_term){atom, factor};
}

static void add_one(const tsr_ir *ir, tsr_sum *sum, tsr_expr term, int64_t factor) {
  const tsr_expr_node *node = node_of(ir, term);
  int64_t own = 1;
  if (node->op == TSR_INDEX_MUL && node_of(ir, node->b)->op == TSR_INDEX_INT) {
    own = node_of(ir, node->b)->number;
    term = node->a;
  } else if (node->op == TSR_INDEX_INT) {
    own = node->number;
  }
  if (__builtin_mul_overflow(own, factor, &own))
    sum->status = TSR_ERR_SHAPE;
  else if (node->op == TSR_INDEX_INT)
    tsr_sum_add_int(sum, own);
  else
    tsr_sum_add_term(sum, term, own);
}

void tsr_sum_add_expr(const tsr_ir *ir, tsr_sum *sum, tsr_expr expr, int64_t factor) {
  const tsr_expr_node *node;
  if (expr == 0) {
    sum->status = TSR_ERR_ARGUMENT;
    return;
  }
  for (node = node_of(ir, expr); node->op == TSR_INDEX_ADD; node = node_of(ir, expr)) {
    add_one(ir, sum, node->b, factor);
    expr = node->a;
  }
  add_one(ir, sum, expr, factor);
}

/* (x floordiv c)*c*k + (x mod c)*k = x*k, for the first such pair; false when there is none. */
static bool merge_one_division(const tsr_ir *ir, tsr_sum *sum) {
  for (uint32_t i = 0; i < sum->count; i++) {
    tsr_sum_term rest = sum->terms[i];
    const tsr_expr_node *mod = node_of(ir, rest.atom);
    int64_t divisor, factor;
    if (mod->op != TSR_INDEX_MOD || !tsr_expr_is_int(ir, mod->b, &divisor) ||
        __builtin_mul_overflow(rest.factor, divisor, &factor))
      continue;
    for (uint32_t j = 0; j < sum->count; j++) {
      const tsr_expr_node *quotient = node_of(ir, sum->terms[j].atom);
      if (quotient->op != TSR_INDEX_FLOORDIV || quotient->a != mod->a || quotient->b != mod->b ||
          sum->terms[j].factor != factor)
        continue;
      tsr_sum_remove(sum, i > j ? i : j);
      tsr_sum_remove(sum, i > j ? j : i);
      tsr_sum_add_expr(ir, sum, mod->a, rest.factor);
      return true;
    }
  }
  return false;
}

static void sort_terms(const tsr_ir *ir, tsr_sum *sum) {
  for (uint32_t i = 1; i < sum->count; i++) {
    tsr_sum_term term = sum->terms[i];
    uint32_t at = i;
    for (; at > 0 && tsr_expr_order(ir, sum->terms[at - 1].atom, term.atom) > 0; at--)
      sum->terms[at] = sum->terms[at - 1];
    sum->terms[at] = term;
  }
}

static tsr_expr term_expr(tsr_ir *ir, const tsr_sum_term *term) {
  return term->factor == 1
             ? term->atom
             : tsr_expr_node_make(ir, TSR_INDEX_MUL, term->atom, tsr_expr_int(ir, term->factor));
}

tsr_expr tsr_sum_expr(tsr_ir *ir, tsr_sum *sum) {
  tsr_expr expr = 0;
  while (sum->status == TSR_OK && merge_one_division(ir, sum))
    continue;
  if (sum->status == TSR_ERR_ARGUMENT)
    return 0;
  if (sum->status == TSR_ERR_LIMIT)
    return tsr_expr_refuse(ir, sum->status, "an index expression has too many terms");
  if (sum->status != TSR_OK)
    return tsr_expr_refuse(ir, sum->status, "an index expression overflows 64 bits");
  sort_terms(ir, sum);
  for (uint32_t i = 0; i < sum->count; i++) {
    tsr_expr term = term_expr(ir, &sum->terms[i]);
    expr = i == 0 ? term : tsr_expr_node_make(ir, TSR_INDEX_ADD, expr, term);
    if (expr == 0)
      return 0;
  }
  if (expr == 0)
    return tsr_expr_int(ir, sum->constant);
  return sum->constant == 0
             ? expr
             : tsr_expr_node_make(ir, TSR_INDEX_ADD, expr, tsr_expr_int(ir, sum->constant));
}

/* --- arithmetic --- */

tsr_expr tsr_expr_add(tsr_ir *ir, tsr_expr a, tsr_expr b) {
  tsr_sum sum;
  if (a == 0 || b == 0)
    return 0;
  tsr_sum_init(&sum);
  tsr_sum_add_expr(ir, &sum, a, 1);
  tsr_sum_add_expr(ir, &sum, b, 1);
  return tsr_sum_expr(ir, &sum);
}

tsr_expr tsr_expr_sub(tsr_ir *ir, tsr_expr a, tsr_expr b) {
  tsr_sum sum;
  if (a == 0 || b == 0)
    return 0;
  tsr_sum_init(&sum);
  tsr_sum_add_expr(ir, &sum, a, 1);
  tsr_sum_add_expr(ir, &sum, b, -1);
  return tsr_sum_expr(ir, &sum);
}

tsr_expr tsr_expr_mul_int(tsr_ir *ir, tsr_expr a, int64_t b) {
  tsr_sum sum;
  if (a == 0)
    return 0;
  tsr_sum_init(&sum);
  tsr_sum_add_expr(ir, &sum, a, b);
  return tsr_sum_expr(ir, &sum);
}

tsr_expr tsr_expr_add_int(tsr_ir *ir, tsr_expr a, int64_t b) {
  tsr_sum sum;
  if (a == 0)
    return 0;
  tsr_sum_init(&sum);
  tsr_sum_add_expr(ir, &sum, a, 1);
  tsr_sum_add_int(&sum, b);
  return tsr_sum_expr(ir, &sum);
}

static void multiply_terms(tsr_ir *ir, tsr_sum *product, const tsr_sum *x, const tsr_sum *y) {
  for (uint32_t i = 0; i < x->count; i++)
    for (uint32_t j = 0; j < y->count && product->status == TSR_OK; j++) {
      int64_t factor;
      tsr_expr atom = multiply_atoms(ir, x->terms[i].atom, y->terms[j].atom);
      if (atom == 0)
        product->status = TSR_ERR_ARGUMENT;
      else if (__builtin_mul_overflow(x->terms[i].factor, y->terms[j].factor, &factor))
        product->status = TSR_ERR_SHAPE;
      else
        tsr_sum_add_term(product, atom, factor);
    }
}

static void scale_terms(tsr_sum *product, const tsr_sum *x, int64_t number) {
  for (uint32_t i = 0; i < x->count; i++) {
    int64_t factor;
    if (__builtin_mul_overflow(x->terms[i].factor, number, &factor))
      product->status = TSR_ERR_SHAPE;
    else
      tsr_sum_add_term(product, x->terms[i].atom, factor);
  }
}

tsr_expr tsr_expr_mul(tsr_ir *ir, tsr_expr a, tsr_expr b) {
  tsr_sum x, y, product;
  int64_t number;
  if (a == 0 || b == 0)
    return 0;
  if (tsr_expr_is_int(ir, b, &number))
    return tsr_expr_mul_int(ir, a, number);
  if (tsr_expr_is_int(ir, a, &number))
    return tsr_expr_mul_int(ir, b, number);
  tsr_sum_init(&x);
  tsr_sum_init(&y);
  tsr_sum_init(&product);
  tsr_sum_add_expr(ir, &x, a, 1);
  tsr_sum_add_expr(ir, &y, b, 1);
  multiply_terms(ir, &product, &x, &y);
  scale_terms(&product, &x, y.constant);
  scale_terms(&product, &y, x.constant);
  if (__builtin_mul_overflow(x.constant, y.constant, &number))
    product.status = TSR_ERR_SHAPE;
  tsr_sum_add_int(&product, number);
  return tsr_sum_expr(ir, &product);
}

tsr_expr tsr_expr_binary(tsr_ir *ir, tsr_index_op op, tsr_expr a, tsr_expr b) {
  if (a == 0 || b == 0)
    return 0;
  switch (op) {
  case TSR_INDEX_ADD:
    return tsr_expr_add(ir, a, b);
  case TSR_INDEX_MUL:
    return tsr_expr_mul(ir, a, b);
  case TSR_INDEX_FLOORDIV:
  case TSR_INDEX_CEILDIV:
  case TSR_INDEX_MOD:
    return tsr_expr_divide(ir, op, a, b);
  case TSR_INDEX_MIN:
  case TSR_INDEX_MAX:
    return tsr_expr_min_max(ir, op, a, b);
  case TSR_INDEX_LT:
  case TSR_INDEX_LE:
  case TSR_INDEX_EQ:
  case TSR_INDEX_NE:
    return tsr_expr_compare_op(ir, op, a, b);
  case TSR_INDEX_AND:
  case TSR_INDEX_OR:
    return tsr_expr_logic(ir, op, a, b);
  case TSR_INDEX_INT:
  case TSR_INDEX_DIM:
  case TSR_INDEX_VALUE:
  case TSR_INDEX_LANE:
  case TSR_INDEX_OP_COUNT:
  default:
    return tsr_ir_poison(ir, TSR_ERR_ARGUMENT, "not an operator of two index expressions");
  }
}

tsr_expr tsr_expr_floordiv_int(tsr_ir *ir, tsr_expr a, int64_t b) {
  return tsr_expr_binary(ir, TSR_INDEX_FLOORDIV, a, tsr_expr_int(ir, b));
}

tsr_expr tsr_expr_ceildiv_int(tsr_ir *ir, tsr_expr a, int64_t b) {
  return tsr_expr_binary(ir, TSR_INDEX_CEILDIV, a, tsr_expr_int(ir, b));
}

tsr_expr tsr_expr_mod_int(tsr_ir *ir, tsr_expr a, int64_t b) {
  return tsr_expr_binary(ir, TSR_INDEX_MOD, a, tsr_expr_int(ir, b));
}
