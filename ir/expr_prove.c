/* Proofs of expr >= 0 by elimination.
 *
 * The goal is kept as a sum. One step replaces a term by something that is never greater: an index
 * variable by its first or last value, a quotient by the relation with its dividend, a lane by its
 * extent. The goal follows from the smaller sum, and in the end only dims are left, whose intervals
 * decide. Compounds of index variables go first, because what they contain may cancel against what
 * remains; then index variables from the innermost (youngest) outwards, since bounds mention outer
 * ones; then lanes, and compounds of dims, which the bounds of index variables may have cancelled
 * (N - 1 - i with i below (N floordiv 16)*16). Where several bounds hold, each is tried; the number
 * of steps is bounded. Products lose one factor at a time, the others known not to be negative.
 * Divisors that are not negative count as positive: what divides by 0 has no value. */
#include "ir/ir_internal.h"

enum { MAX_STEPS = 160, MAX_NESTING = 24 };

typedef struct proof {
  tsr_ir *ir;
  const int64_t *lane_extents;
  unsigned lane_count;
  int steps;   /* left */
  int nesting; /* of the goal at hand */
} proof;

static bool prove(proof *p, const tsr_sum *goal);

static tsr_interval interval_of(const proof *p, tsr_expr expr) {
  tsr_interval range;
  tsr_expr_bounds(p->ir, expr, p->lane_extents, p->lane_count, &range.lo, &range.hi);
  return range;
}

static int64_t lower_end(const proof *p, const tsr_sum *goal) {
  tsr_interval total = {goal->constant, goal->constant};
  for (uint32_t i = 0; i < goal->count && total.lo != INT64_MIN; i++) {
    tsr_interval factor = {goal->terms[i].factor, goal->terms[i].factor};
    total = tsr_interval_apply(
        TSR_INDEX_ADD, total,
        tsr_interval_apply(TSR_INDEX_MUL, interval_of(p, goal->terms[i].atom), factor));
  }
  return total.lo;
}

/* goal with `factor` times `expr` (0: nothing) plus `constant` in place of term `number`. */
static bool try_instead(proof *p, const tsr_sum *goal, uint32_t number, tsr_expr expr,
                        int64_t factor, int64_t constant) {
  tsr_sum next;
  bool proven;
  if (p->steps <= 0 || p->nesting >= MAX_NESTING)
    return false;
  tsr_sum_copy(&next, goal);
  tsr_sum_remove(&next, number);
  if (expr != 0)
    tsr_sum_add_expr(p->ir, &next, expr, factor);
  tsr_sum_add_int(&next, constant);
  if (next.status != TSR_OK)
    return false;
  p->steps--;
  p->nesting++;
  proven = prove(p, &next);
  p->nesting--;
  return proven;
}

/* The goal times a positive number, so that a quotient's term can be replaced exactly. */
static bool scale_goal(tsr_sum *goal, int64_t by) {
  for (uint32_t i = 0; i < goal->count; i++)
    if (__builtin_mul_overflow(goal->terms[i].factor, by, &goal->terms[i].factor))
      return false;
  return !__builtin_mul_overflow(goal->constant, by, &goal->constant);
}

/* --- bounds of index variables --- */

/* The last value: hi - step when step divides hi - lo, else hi - 1. */
static tsr_expr make_last(tsr_ir *ir, const tsr_value_data *data) {
  int64_t step = 1;
  tsr_expr span;
  (void)tsr_expr_is_int(ir, data->step, &step);
  if (step == 1)
    return tsr_expr_add_int(ir, data->hi, -1);
  span = tsr_expr_sub(ir, data->hi, data->lo);
  return tsr_expr_add_int(ir, data->hi, tsr_expr_divisible(ir, span, step) ? -step : -1);
}

static tsr_expr last_of(tsr_ir *ir, tsr_value value) {
  tsr_value_slot *slot = tsr_value_slot_of(ir, value);
  if (slot->last == 0)
    slot->last = make_last(ir, &slot->data);
  return slot->last;
}

/* The bound of a leaf from above or below; 0 when there is none. */
static tsr_expr leaf_bound(const proof *p, tsr_expr leaf, bool above) {
  tsr_expr_node node = tsr_expr_get(p->ir, leaf);
  if (node.op == TSR_INDEX_VALUE) {
    const tsr_value_data *data = tsr_value_get(p->ir, node.value);
    if (data->hi == 0)
      return 0;
    return above ? last_of(p->ir, node.value) : data->lo;
  }
  if (node.op == TSR_INDEX_DIM && above && tsr_dim_get(p->ir, node.dim)->from_device)
    return tsr_dim_get(p->ir, node.dim)->bound;
  if (node.op == TSR_INDEX_DIM || node.op == TSR_INDEX_LANE) {
    tsr_interval range = interval_of(p, leaf);
    int64_t end = above ? range.hi : range.lo;
    return end == INT64_MIN || end == INT64_MAX ? 0 : tsr_expr_int(p->ir, end);
  }
  return 0;
}

/* `expr` with its index variables and lanes moved to the end that makes it greatest (or least); 0
 * when nothing can be moved. Only terms that are such a leaf are moved. */
static tsr_expr move_to_end(const proof *p, tsr_expr expr, bool above) {
  tsr_sum sum, moved;
  bool any = false;
  tsr_sum_init(&sum);
  tsr_sum_init(&moved);
  tsr_sum_add_expr(p->ir, &sum, expr, 1);
  for (uint32_t i = 0; i < sum.count; i++) {
    tsr_index_op op = tsr_expr_get(p->ir, sum.terms[i].atom).op;
    bool movable = op == TSR_INDEX_VALUE || op == TSR_INDEX_LANE;
    tsr_expr bound =
        movable ? leaf_bound(p, sum.terms[i].atom, (sum.terms[i].factor > 0) == above) : 0;
    any = any || bound != 0;
    if (bound != 0)
      tsr_sum_add_expr(p->ir, &moved, bound, sum.terms[i].factor);
    else
      tsr_sum_add_term(&moved, sum.terms[i].atom, sum.terms[i].factor);
  }
  tsr_sum_add_int(&moved, sum.constant);
  return any ? tsr_sum_expr(p->ir, &moved) : 0;
}

/* --- one term --- */

/* c*(x floordiv c) is in [x - c + 1, x], c*(x ceildiv c) in [x, x + c - 1]. */
static bool prove_quotient(proof *p, const tsr_sum *goal, uint32_t number,
                           const tsr_expr_node *node) {
  tsr_sum scaled;
  bool above = goal->terms[number].factor < 0, floor = node->op == TSR_INDEX_FLOORDIV;
  int64_t divisor, factor = goal->terms[number].factor, by, slack = 0;
  tsr_expr moved;
  if (interval_of(p, node->b).lo < 0)
    return false;
  by = tsr_expr_is_int(p->ir, node->b, &divisor) ? divisor / tsr_gcd(divisor, factor) : 0;
  tsr_sum_copy(&scaled, goal);
  if (by != 0 && scale_goal(&scaled, by)) {
    factor = scaled.terms[number].factor / divisor;
    if (floor != above && __builtin_mul_overflow(factor, floor ? 1 - divisor : divisor - 1, &slack))
      return false;
    if (try_instead(p, &scaled, number, node->a, factor, slack))
      return true;
  }
  moved = move_to_end(p, node->a, above);
  moved = moved == 0 ? 0 : tsr_expr_divide(p->ir, node->op, moved, node->b);
  return moved != 0 && try_instead(p, goal, number, moved, goal->terms[number].factor, 0);
}

/* x mod c is in [0, c - 1], and not above x where x is not negative. */
static bool prove_remainder(proof *p, const tsr_sum *goal, uint32_t number,
                            const tsr_expr_node *node) {
  int64_t factor = goal->terms[number].factor;
  if (interval_of(p, node->b).lo < 0)
    return false;
  if (factor > 0)
    return try_instead(p, goal, number, 0, 0, 0);
  if (factor == INT64_MIN)
    return false;
  return try_instead(p, goal, number, node->b, factor, -factor) ||
         (interval_of(p, node->a).lo >= 0 && try_instead(p, goal, number, node->a, factor, 0));
}

/* One operand bounds the result on one side; on the other both have to do. */
static bool prove_extremum(proof *p, const tsr_sum *goal, uint32_t number,
                           const tsr_expr_node *node) {
  int64_t factor = goal->terms[number].factor;
  bool either = (node->op == TSR_INDEX_MIN) == (factor < 0);
  bool first = try_instead(p, goal, number, node->a, factor, 0);
  if (first == either)
    return first;
  return try_instead(p, goal, number, node->b, factor, 0);
}

static bool prove_leaf(proof *p, const tsr_sum *goal, uint32_t number) {
  int64_t factor = goal->terms[number].factor;
  tsr_expr bound = leaf_bound(p, goal->terms[number].atom, factor < 0);
  return bound != 0 && try_instead(p, goal, number, bound, factor, 0);
}

/* Multiplies factor `at` of the product out: rest * bound. */
static tsr_expr with_factor(proof *p, const tsr_expr *factors, uint32_t count, uint32_t at,
                            tsr_expr bound) {
  tsr_expr product = bound;
  for (uint32_t i = 0; i < count; i++)
    if (i != at)
      product = tsr_expr_mul(p->ir, product, factors[i]);
  return product;
}

/* (x floordiv c)*c <= x for the quotient at `at` when its divisor stands among the factors. */
static bool prove_exact_quotient(proof *p, const tsr_sum *goal, uint32_t number,
                                 const tsr_expr *factors, uint32_t count, uint32_t at) {
  tsr_expr_node node = tsr_expr_get(p->ir, factors[at]);
  bool above = goal->terms[number].factor < 0;
  tsr_expr kept[TSR_EXPR_MAX_FACTORS];
  uint32_t kept_count = 0;
  bool found = false;
  if (node.op != (above ? TSR_INDEX_FLOORDIV : TSR_INDEX_CEILDIV) || interval_of(p, node.b).lo < 0)
    return false;
  for (uint32_t i = 0; i < count; i++) {
    if (i == at)
      continue;
    if (!found && factors[i] == node.b)
      found = true;
    else
      kept[kept_count++] = factors[i];
  }
  return found && try_instead(p, goal, number, with_factor(p, kept, kept_count, kept_count, node.a),
                              goal->terms[number].factor, 0);
}

/* Youngest index variables first. */
static bool prove_product(proof *p, const tsr_sum *goal, uint32_t number) {
  tsr_expr factors[TSR_EXPR_MAX_FACTORS];
  uint32_t count = tsr_expr_factors(p->ir, goal->terms[number].atom, factors);
  bool above = goal->terms[number].factor < 0;
  for (uint32_t i = 0; i < count; i++)
    if (interval_of(p, factors[i]).lo < 0)
      return false;
  if (!above && try_instead(p, goal, number, 0, 0, 0))
    return true;
  for (uint32_t i = count; i-- > 0;) {
    tsr_expr bound = leaf_bound(p, factors[i], above);
    tsr_index_op op = tsr_expr_get(p->ir, factors[i]).op;
    if (prove_exact_quotient(p, goal, number, factors, count, i))
      return true;
    if (bound == 0 && op > TSR_INDEX_LANE && !above)
      bound = tsr_expr_int(p->ir, interval_of(p, factors[i]).lo);
    if (bound != 0 && try_instead(p, goal, number, with_factor(p, factors, count, i, bound),
                                  goal->terms[number].factor, 0))
      return true;
  }
  return false;
}

static bool prove_compound(proof *p, const tsr_sum *goal, uint32_t number) {
  tsr_expr_node node = tsr_expr_get(p->ir, goal->terms[number].atom);
  tsr_interval range;
  int64_t end, product;
  bool proven = false;
  if (node.op == TSR_INDEX_FLOORDIV || node.op == TSR_INDEX_CEILDIV)
    proven = prove_quotient(p, goal, number, &node);
  else if (node.op == TSR_INDEX_MOD)
    proven = prove_remainder(p, goal, number, &node);
  else if (node.op == TSR_INDEX_MIN || node.op == TSR_INDEX_MAX)
    proven = prove_extremum(p, goal, number, &node);
  if (proven)
    return true;
  range = interval_of(p, goal->terms[number].atom);
  end = goal->terms[number].factor > 0 ? range.lo : range.hi;
  return end != INT64_MIN && end != INT64_MAX &&
         !__builtin_mul_overflow(end, goal->terms[number].factor, &product) &&
         try_instead(p, goal, number, 0, 0, product);
}

/* --- choosing --- */

static bool has_device_dim(const tsr_ir *ir, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(ir, expr);
  if (node.op == TSR_INDEX_DIM)
    return tsr_dim_get(ir, node.dim)->from_device;
  return node.op > TSR_INDEX_LANE && (has_device_dim(ir, node.a) || has_device_dim(ir, node.b));
}

enum { LAST = 1, FIXED = 2, DEVICE = 4, DEVICE_COMPOUND = 5, LANE = 6 };
#define VARIABLE (UINT64_C(1) << 32)
#define COMPOUND (UINT64_C(1) << 33)

/* Which term goes first: greater is earlier, 0 never. */
static uint64_t urgency(const proof *p, tsr_expr atom) {
  const unsigned moving = TSR_LEAF_BIT(TSR_INDEX_VALUE) | TSR_LEAF_BIT(TSR_INDEX_LANE);
  const tsr_expr_slot *slot = tsr_expr_slot_of(p->ir, atom);
  switch (slot->node.op) {
  case TSR_INDEX_DIM:
    return tsr_dim_get(p->ir, slot->node.dim)->from_device ? DEVICE : 0;
  case TSR_INDEX_LANE:
    return LANE;
  case TSR_INDEX_VALUE:
    return VARIABLE | slot->node.value;
  case TSR_INDEX_MUL: {
    uint64_t a = urgency(p, slot->node.a), b = urgency(p, slot->node.b), most = a > b ? a : b;
    return most == 0 ? LAST : most;
  }
  default:
    if ((slot->leaves & moving) != 0)
      return COMPOUND | slot->depth;
    return has_device_dim(p->ir, atom) ? DEVICE_COMPOUND : FIXED;
  }
}

static bool prove(proof *p, const tsr_sum *goal) {
  uint32_t first = 0;
  uint64_t most = 0;
  tsr_index_op op;
  if (lower_end(p, goal) >= 0)
    return true;
  for (uint32_t i = 0; i < goal->count; i++)
    if (urgency(p, goal->terms[i].atom) > most) {
      most = urgency(p, goal->terms[i].atom);
      first = i;
    }
  if (most == 0)
    return false;
  op = tsr_expr_get(p->ir, goal->terms[first].atom).op;
  if (op == TSR_INDEX_MUL)
    return prove_product(p, goal, first);
  return op <= TSR_INDEX_LANE ? prove_leaf(p, goal, first) : prove_compound(p, goal, first);
}

/* A proof makes expressions, and making some asks for proofs: those inside a proof are not started,
 * and what cannot be computed is no failure. */
static bool run(tsr_ir *ir, const tsr_sum *goal, const int64_t *lane_extents, unsigned lane_count) {
  proof p = {ir, lane_extents, lane_count, MAX_STEPS, 0};
  bool proven;
  if (ir->proof_depth != 0)
    return goal->status == TSR_OK && lower_end(&p, goal) >= 0;
  if (goal->status != TSR_OK)
    return false;
  ir->proof_depth++;
  ir->quiet++;
  proven = prove(&p, goal);
  ir->quiet--;
  ir->proof_depth--;
  return proven;
}

bool tsr_expr_prove_nonnegative(tsr_ir *ir, tsr_expr expr, const int64_t *lane_extents,
                                unsigned lane_count) {
  tsr_sum goal;
  if (expr == 0)
    return false;
  if (tsr_expr_slot_of(ir, expr)->lo >= 0)
    return true;
  tsr_sum_init(&goal);
  tsr_sum_add_expr(ir, &goal, expr, 1);
  return run(ir, &goal, lane_extents, lane_count);
}

bool tsr_expr_proves_difference(tsr_ir *ir, tsr_expr a, tsr_expr b, int64_t gap) {
  tsr_sum goal;
  if (a == 0 || b == 0)
    return false;
  tsr_sum_init(&goal);
  tsr_sum_add_expr(ir, &goal, a, 1);
  tsr_sum_add_expr(ir, &goal, b, -1);
  tsr_sum_add_int(&goal, -gap);
  return run(ir, &goal, NULL, 0);
}
