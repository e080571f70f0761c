/* Index expressions: reading, rewriting, linear splits, intervals, evaluation. */
#include "ir/ir_internal.h"
#include <assert.h>
#include <string.h>

__extension__ typedef __int128 wide;

tsr_expr_node tsr_expr_get(const tsr_ir *ir, tsr_expr expr) {
  return expr == 0 ? (tsr_expr_node){.op = TSR_INDEX_INT} : tsr_expr_slot_of(ir, expr)->node;
}

bool tsr_expr_is_int(const tsr_ir *ir, tsr_expr expr, int64_t *out_number) {
  const tsr_expr_node *node;
  *out_number = 0;
  if (expr == 0)
    return false;
  node = &tsr_expr_slot_of(ir, expr)->node;
  if (node->op == TSR_INDEX_INT)
    *out_number = node->number;
  return node->op == TSR_INDEX_INT;
}

bool tsr_expr_equals_int(const tsr_ir *ir, tsr_expr expr, int64_t number) {
  int64_t own;
  return tsr_expr_is_int(ir, expr, &own) && own == number;
}

bool tsr_expr_has(const tsr_ir *ir, tsr_expr expr, tsr_index_op leaf) {
  assert(leaf <= TSR_INDEX_LANE);
  return expr != 0 && (tsr_expr_slot_of(ir, expr)->leaves & TSR_LEAF_BIT(leaf)) != 0;
}

static bool has_leaf(const tsr_ir *ir, tsr_expr expr, tsr_expr leaf, unsigned mask) {
  while ((tsr_expr_slot_of(ir, expr)->leaves & mask) != 0) {
    const tsr_expr_node *node = &tsr_expr_slot_of(ir, expr)->node;
    if (expr == leaf)
      return true;
    if (node->op <= TSR_INDEX_LANE)
      return false;
    if (has_leaf(ir, node->b, leaf, mask))
      return true;
    expr = node->a;
  }
  return false;
}

bool tsr_expr_uses_value(const tsr_ir *ir, tsr_expr expr, tsr_value value) {
  tsr_expr leaf = value == 0 ? 0 : tsr_value_slot_of(ir, value)->expr;
  return expr != 0 && leaf != 0 && has_leaf(ir, expr, leaf, TSR_LEAF_BIT(TSR_INDEX_VALUE));
}

/* --- rewriting --- */

tsr_expr tsr_expr_rewrite(tsr_ir *ir, tsr_expr expr, unsigned leaf_mask, tsr_leaf_map *map,
                          void *context) {
  tsr_expr_node node;
  tsr_expr a, b;
  if (expr == 0 || (tsr_expr_slot_of(ir, expr)->leaves & leaf_mask) == 0)
    return expr;
  node = tsr_expr_slot_of(ir, expr)->node;
  if (node.op <= TSR_INDEX_LANE)
    return map(ir, context, expr);
  a = tsr_expr_rewrite(ir, node.a, leaf_mask, map, context);
  b = tsr_expr_rewrite(ir, node.b, leaf_mask, map, context);
  return a == node.a && b == node.b ? expr : tsr_expr_binary(ir, node.op, a, b);
}

typedef struct leaf_list {
  const tsr_expr *from, *to;
  unsigned count;
} leaf_list;

static tsr_expr map_listed(tsr_ir *ir, void *context, tsr_expr leaf) {
  const leaf_list *list = (const leaf_list *)context;
  (void)ir;
  for (unsigned i = 0; i < list->count; i++)
    if (list->from[i] == leaf)
      return list->to[i];
  return leaf;
}

static unsigned leaf_mask(const tsr_ir *ir, const tsr_expr *leaves, unsigned count) {
  unsigned mask = 0;
  for (unsigned i = 0; i < count; i++)
    if (leaves[i] != 0)
      mask |= tsr_expr_slot_of(ir, leaves[i])->leaves;
  return mask & ~TSR_LEAF_BIT(TSR_INDEX_INT);
}

tsr_expr tsr_expr_substitute(tsr_ir *ir, tsr_expr expr, const tsr_expr *from, const tsr_expr *to,
                             unsigned count) {
  leaf_list list = {from, to, count};
  return tsr_expr_rewrite(ir, expr, leaf_mask(ir, from, count), map_listed, &list);
}

/* --- linear splits --- */

static bool mentions_any(const tsr_ir *ir, tsr_expr expr, const tsr_expr *leaves, unsigned count,
                         unsigned mask) {
  for (unsigned i = 0; i < count; i++)
    if (leaves[i] != 0 && has_leaf(ir, expr, leaves[i], mask))
      return true;
  return false;
}

/* The number of the only leaf among the factors of `atom`, the other factors (free of leaves) left
 * in `factors`; -1 when there is none, -2 when the term is not linear. */
static int split_term(const tsr_ir *ir, tsr_expr atom, const tsr_expr *leaves, unsigned count,
                      unsigned mask, tsr_expr *factors, uint32_t *out_factors) {
  uint32_t total = tsr_expr_factors(ir, atom, factors), kept = 0;
  int found = -1;
  for (uint32_t f = 0; f < total; f++) {
    int leaf = -1;
    for (unsigned i = 0; i < count; i++)
      if (leaves[i] == factors[f])
        leaf = (int)i;
    if (leaf >= 0 && found >= 0)
      return -2;
    if (leaf >= 0)
      found = leaf;
    else if (mentions_any(ir, factors[f], leaves, count, mask))
      return -2;
    else
      factors[kept++] = factors[f];
  }
  *out_factors = kept;
  return found;
}

bool tsr_expr_linear(tsr_ir *ir, tsr_expr expr, const tsr_expr *leaves, unsigned count,
                     int64_t *out_coefficients, tsr_expr *out_rest) {
  tsr_expr factors[TSR_EXPR_MAX_FACTORS];
  unsigned mask = leaf_mask(ir, leaves, count);
  uint32_t left;
  tsr_sum sum, rest;
  *out_rest = 0;
  memset(out_coefficients, 0, count * sizeof *out_coefficients);
  if (expr == 0)
    return false;
  tsr_sum_init(&sum);
  tsr_sum_init(&rest);
  tsr_sum_add_expr(ir, &sum, expr, 1);
  for (uint32_t i = 0; i < sum.count; i++) {
    int leaf = split_term(ir, sum.terms[i].atom, leaves, count, mask, factors, &left);
    if (leaf == -2 || (leaf >= 0 && left != 0))
      return false;
    if (leaf >= 0)
      out_coefficients[leaf] = sum.terms[i].factor;
    else
      tsr_sum_add_term(&rest, sum.terms[i].atom, sum.terms[i].factor);
  }
  tsr_sum_add_int(&rest, sum.constant);
  *out_rest = tsr_sum_expr(ir, &rest);
  return *out_rest != 0;
}

bool tsr_expr_linear_symbolic(tsr_ir *ir, tsr_expr expr, const tsr_expr *leaves, unsigned count,
                              tsr_expr *out_coefficients, tsr_expr *out_rest) {
  tsr_expr factors[TSR_EXPR_MAX_FACTORS];
  unsigned mask = leaf_mask(ir, leaves, count);
  uint32_t left;
  tsr_sum sum, rest;
  *out_rest = 0;
  for (unsigned i = 0; i < count; i++)
    out_coefficients[i] = tsr_expr_int(ir, 0);
  if (expr == 0)
    return false;
  tsr_sum_init(&sum);
  tsr_sum_init(&rest);
  tsr_sum_add_expr(ir, &sum, expr, 1);
  for (uint32_t i = 0; i < sum.count; i++) {
    int leaf = split_term(ir, sum.terms[i].atom, leaves, count, mask, factors, &left);
    tsr_expr coefficient;
    if (leaf == -2)
      return false;
    if (leaf == -1) {
      tsr_sum_add_term(&rest, sum.terms[i].atom, sum.terms[i].factor);
      continue;
    }
    coefficient = left == 0 ? tsr_expr_int(ir, 1) : tsr_expr_product(ir, factors, left);
    coefficient = tsr_expr_mul_int(ir, coefficient, sum.terms[i].factor);
    out_coefficients[leaf] = tsr_expr_add(ir, out_coefficients[leaf], coefficient);
  }
  tsr_sum_add_int(&rest, sum.constant);
  *out_rest = tsr_sum_expr(ir, &rest);
  return *out_rest != 0;
}

/* --- intervals --- */

static int64_t narrow(wide number) {
  return number <= INT64_MIN ? INT64_MIN : number >= INT64_MAX ? INT64_MAX : (int64_t)number;
}

static bool unbounded(int64_t end) {
  return end == INT64_MIN || end == INT64_MAX;
}

static int64_t add_ends(int64_t a, int64_t b, int64_t infinity) {
  return a == infinity || b == infinity ? infinity : narrow((wide)a + b);
}

static int64_t multiply_ends(int64_t a, int64_t b) {
  if (a == 0 || b == 0)
    return 0;
  if (unbounded(a) || unbounded(b))
    return (a < 0) != (b < 0) ? INT64_MIN : INT64_MAX;
  return narrow((wide)a * b);
}

static int64_t floor_ends(int64_t a, int64_t b) {
  int64_t quotient;
  if (unbounded(a))
    return a;
  if (b == INT64_MAX)
    return a < 0 ? -1 : 0;
  quotient = a / b;
  return quotient - (a % b < 0);
}

static int64_t ceil_ends(int64_t a, int64_t b) {
  if (unbounded(a))
    return a;
  if (b == INT64_MAX)
    return a > 0;
  return a / b + (a % b > 0);
}

static int64_t least(int64_t a, int64_t b) {
  return a < b ? a : b;
}

static int64_t greatest(int64_t a, int64_t b) {
  return a > b ? a : b;
}

static tsr_interval multiply_intervals(tsr_interval a, tsr_interval b) {
  int64_t p = multiply_ends(a.lo, b.lo), q = multiply_ends(a.lo, b.hi);
  int64_t r = multiply_ends(a.hi, b.lo), s = multiply_ends(a.hi, b.hi);
  return (tsr_interval){least(least(p, q), least(r, s)), greatest(greatest(p, q), greatest(r, s))};
}

/* The divisor is not negative; where it is 0, there is no result. */
static tsr_interval divide_intervals(tsr_index_op op, tsr_interval a, tsr_interval b) {
  b.lo = greatest(b.lo, 1);
  int64_t (*divide)(int64_t, int64_t) = op == TSR_INDEX_FLOORDIV ? floor_ends : ceil_ends;
  if (op == TSR_INDEX_MOD) {
    int64_t last = b.hi == INT64_MAX ? INT64_MAX : b.hi - 1;
    return (tsr_interval){0, a.lo >= 0 ? least(a.hi, last) : last};
  }
  return (tsr_interval){divide(a.lo, a.lo >= 0 ? b.hi : b.lo),
                        divide(a.hi, a.hi >= 0 ? b.lo : b.hi)};
}

tsr_interval tsr_interval_apply(tsr_index_op op, tsr_interval a, tsr_interval b) {
  switch (op) {
  case TSR_INDEX_ADD:
    return (tsr_interval){add_ends(a.lo, b.lo, INT64_MIN), add_ends(a.hi, b.hi, INT64_MAX)};
  case TSR_INDEX_MUL:
    return multiply_intervals(a, b);
  case TSR_INDEX_FLOORDIV:
  case TSR_INDEX_CEILDIV:
  case TSR_INDEX_MOD:
    if (b.lo >= 0 && b.hi >= 1)
      return divide_intervals(op, a, b);
    break;
  case TSR_INDEX_MIN:
    return (tsr_interval){least(a.lo, b.lo), least(a.hi, b.hi)};
  case TSR_INDEX_MAX:
    return (tsr_interval){greatest(a.lo, b.lo), greatest(a.hi, b.hi)};
  case TSR_INDEX_LT:
  case TSR_INDEX_LE:
  case TSR_INDEX_EQ:
  case TSR_INDEX_NE:
  case TSR_INDEX_AND:
  case TSR_INDEX_OR:
    return (tsr_interval){0, 1};
  case TSR_INDEX_INT:
  case TSR_INDEX_DIM:
  case TSR_INDEX_VALUE:
  case TSR_INDEX_LANE:
  case TSR_INDEX_OP_COUNT:
  default:
    break;
  }
  return (tsr_interval){INT64_MIN, INT64_MAX};
}

/* lo, lo + step, ... < hi. An empty range may claim anything; it claims lo. */
static tsr_interval index_interval(const tsr_ir *ir, const tsr_value_data *data) {
  const tsr_expr_slot *lo = tsr_expr_slot_of(ir, data->lo), *hi = tsr_expr_slot_of(ir, data->hi);
  int64_t step = 1;
  tsr_interval range = {lo->lo, hi->hi == INT64_MAX ? INT64_MAX : hi->hi - 1};
  (void)tsr_expr_is_int(ir, data->step, &step);
  if (lo->lo == lo->hi && !unbounded(lo->lo) && hi->hi != INT64_MAX && hi->lo == hi->hi &&
      range.hi >= range.lo)
    range.hi = narrow((wide)range.lo + ((wide)range.hi - range.lo) / step * step);
  if (range.hi < range.lo)
    range.hi = range.lo;
  return range;
}

tsr_interval tsr_expr_leaf_interval(const tsr_ir *ir, const tsr_expr_node *node) {
  if (node->op == TSR_INDEX_INT)
    return (tsr_interval){node->number, node->number};
  if (node->op == TSR_INDEX_DIM) {
    const tsr_dim_data *dim = tsr_dim_get(ir, node->dim);
    return (tsr_interval){dim->lo, dim->hi};
  }
  if (node->op == TSR_INDEX_LANE)
    return (tsr_interval){0, INT64_MAX};
  if (tsr_value_get(ir, node->value)->hi != 0)
    return index_interval(ir, tsr_value_get(ir, node->value));
  return (tsr_interval){INT64_MIN, INT64_MAX};
}

/* Bounds of loops may mention outer loops whose expressions are younger, so one round may not
 * reach the end; nesting bounds the number of rounds. */
void tsr_expr_refresh_intervals(tsr_ir *ir) {
  bool changed = true;
  ir->ranges_changed = true;
  while (changed) {
    changed = false;
    for (tsr_expr expr = 1; expr <= ir->exprs.count; expr++) {
      tsr_expr_slot *slot = tsr_expr_slot_of(ir, expr);
      tsr_interval range;
      if (slot->node.op <= TSR_INDEX_LANE) {
        range = tsr_expr_leaf_interval(ir, &slot->node);
      } else {
        const tsr_expr_slot *a = tsr_expr_slot_of(ir, slot->node.a);
        const tsr_expr_slot *b = tsr_expr_slot_of(ir, slot->node.b);
        range = tsr_interval_apply(slot->node.op, (tsr_interval){a->lo, a->hi},
                                   (tsr_interval){b->lo, b->hi});
      }
      changed = changed || range.lo != slot->lo || range.hi != slot->hi;
      slot->lo = range.lo;
      slot->hi = range.hi;
    }
  }
}

static tsr_interval bounds_of(const tsr_ir *ir, tsr_expr expr, const int64_t *lane_extents,
                              unsigned lane_count) {
  const tsr_expr_slot *slot = tsr_expr_slot_of(ir, expr);
  const tsr_expr_node *node = &slot->node;
  if ((slot->leaves & TSR_LEAF_BIT(TSR_INDEX_LANE)) == 0)
    return (tsr_interval){slot->lo, slot->hi};
  if (node->op == TSR_INDEX_LANE) {
    bool known = lane_extents != NULL && (uint64_t)node->number < lane_count &&
                 lane_extents[node->number] > 0;
    return (tsr_interval){0, known ? lane_extents[node->number] - 1 : INT64_MAX};
  }
  return tsr_interval_apply(node->op, bounds_of(ir, node->a, lane_extents, lane_count),
                            bounds_of(ir, node->b, lane_extents, lane_count));
}

void tsr_expr_bounds(const tsr_ir *ir, tsr_expr expr, const int64_t *lane_extents,
                     unsigned lane_count, int64_t *out_lo, int64_t *out_hi) {
  tsr_interval range = {INT64_MIN, INT64_MAX};
  if (expr != 0)
    range = bounds_of(ir, expr, lane_extents, lane_count);
  *out_lo = range.lo;
  *out_hi = range.hi;
}

/* --- divisibility --- */

int64_t tsr_gcd(int64_t a, int64_t b) {
  uint64_t x = a < 0 ? 0 - (uint64_t)a : (uint64_t)a, y = b < 0 ? 0 - (uint64_t)b : (uint64_t)b;
  while (y != 0) {
    uint64_t rest = x % y;
    x = y;
    y = rest;
  }
  return x > INT64_MAX ? 1 : (int64_t)x;
}

static int64_t content_of_product(int64_t a, int64_t b) {
  int64_t product;
  return __builtin_mul_overflow(a, b, &product) ? greatest(a, b) : product;
}

static int64_t content_of_leaf(const tsr_ir *ir, const tsr_expr_node *node) {
  const tsr_value_data *value;
  if (node->op == TSR_INDEX_INT)
    return tsr_gcd(node->number, 0);
  if (node->op == TSR_INDEX_DIM) {
    const tsr_dim_data *dim = tsr_dim_get(ir, node->dim);
    return dim->lo == dim->hi ? dim->lo : 1;
  }
  if (node->op == TSR_INDEX_LANE)
    return 1;
  value = tsr_value_get(ir, node->value);
  return value->hi == 0
             ? 1
             : tsr_gcd(tsr_expr_content(ir, value->lo), tsr_expr_content(ir, value->step));
}

int64_t tsr_expr_content(const tsr_ir *ir, tsr_expr expr) {
  const tsr_expr_node *node = &tsr_expr_slot_of(ir, expr)->node;
  int64_t a, b;
  if (node->op <= TSR_INDEX_LANE)
    return content_of_leaf(ir, node);
  if (node->op >= TSR_INDEX_LT)
    return 1;
  a = tsr_expr_content(ir, node->a);
  b = tsr_expr_content(ir, node->b);
  if (node->op == TSR_INDEX_MUL)
    return content_of_product(a, b);
  if (node->op == TSR_INDEX_FLOORDIV || node->op == TSR_INDEX_CEILDIV) {
    int64_t divisor;
    bool exact = tsr_expr_is_int(ir, node->b, &divisor) && divisor > 0 && a % divisor == 0;
    return exact ? a / divisor : 1;
  }
  return tsr_gcd(a, b);
}

bool tsr_expr_divisible(const tsr_ir *ir, tsr_expr expr, int64_t divisor) {
  return expr != 0 && divisor != 0 && tsr_expr_content(ir, expr) % divisor == 0;
}

/* --- evaluation --- */

/* `dims` NULL: hints. */
static tsr_status evaluate(const tsr_ir *ir, tsr_expr expr, const int64_t *dims, int64_t *out) {
  tsr_expr_node node = tsr_expr_get(ir, expr);
  int64_t a, b;
  *out = 0;
  if (expr == 0 || node.op == TSR_INDEX_VALUE || node.op == TSR_INDEX_LANE)
    return TSR_ERR_ARGUMENT;
  if (node.op == TSR_INDEX_INT || node.op == TSR_INDEX_DIM) {
    *out = node.op == TSR_INDEX_INT ? node.number
           : dims == NULL           ? tsr_dim_get(ir, node.dim)->hint
                                    : dims[node.dim - 1];
    return TSR_OK;
  }
  TSR_TRY(evaluate(ir, node.a, dims, &a));
  TSR_TRY(evaluate(ir, node.b, dims, &b));
  return tsr_index_apply(node.op, a, b, out);
}

tsr_status tsr_expr_eval(const tsr_ir *ir, tsr_expr expr, const int64_t *dims, int64_t *out) {
  return evaluate(ir, expr, dims, out);
}

tsr_status tsr_expr_at_hints(const tsr_ir *ir, tsr_expr expr, int64_t *out) {
  return evaluate(ir, expr, NULL, out);
}
