/* Rules of floordiv, ceildiv and mod. In all of them a = c*q + r, where q takes the multiples of c
 * out of the terms and the constant of r is in [0, c):
 *
 *   a floordiv c = q + r floordiv c       a ceildiv c = q + r ceildiv c       a mod c = r mod c
 *
 * 1. r's interval lies within one multiple of c: a constant quotient.
 * 2. a common divisor g of r's factors and c is cancelled.
 * 3. r = g*y + s with 0 <= s < g, where g divides c: s does not matter (ceildiv: -g < s <= 0).
 * 4. a quotient of a quotient is one quotient; a mod inside a mod by a divisor of its own goes.
 *
 * With a symbolic divisor that is not negative, multiples of it are taken out and r may be proven
 * to be in [0, c). Where it is 0 the division is an error, so that any result will do: N*4 floordiv
 * N is 4 for the empty N too. */
#include "ir/ir_internal.h"

typedef struct division {
  tsr_index_op op;
  tsr_expr a, b;
  int64_t divisor;
  tsr_sum quotient, rest;
} division;

static tsr_interval sum_interval(const tsr_ir *ir, const tsr_sum *sum) {
  tsr_interval total = {sum->constant, sum->constant};
  for (uint32_t i = 0; i < sum->count; i++) {
    const tsr_expr_slot *slot = tsr_expr_slot_of(ir, sum->terms[i].atom);
    tsr_interval factor = {sum->terms[i].factor, sum->terms[i].factor};
    total = tsr_interval_apply(
        TSR_INDEX_ADD, total,
        tsr_interval_apply(TSR_INDEX_MUL, (tsr_interval){slot->lo, slot->hi}, factor));
  }
  return total;
}

/* The divisor is positive, so that nothing can go wrong. */
static int64_t apply(tsr_index_op op, int64_t a, int64_t b) {
  int64_t out;
  return tsr_index_apply(op, a, b, &out) == TSR_OK ? out : 0;
}

static void split_by_number(const tsr_ir *ir, division *d) {
  tsr_sum whole;
  int64_t c = d->divisor;
  tsr_sum_init(&whole);
  tsr_sum_add_expr(ir, &whole, d->a, 1);
  tsr_sum_init(&d->quotient);
  tsr_sum_init(&d->rest);
  for (uint32_t i = 0; i < whole.count; i++) {
    tsr_sum_add_term(&d->quotient, whole.terms[i].atom, whole.terms[i].factor / c);
    tsr_sum_add_term(&d->rest, whole.terms[i].atom, whole.terms[i].factor % c);
  }
  tsr_sum_add_int(&d->quotient, apply(TSR_INDEX_FLOORDIV, whole.constant, c));
  tsr_sum_add_int(&d->rest, apply(TSR_INDEX_MOD, whole.constant, c));
}

/* quotient + part for the divisions, part for mod. */
static tsr_expr finish(tsr_ir *ir, division *d, tsr_expr part) {
  if (part == 0 || d->op == TSR_INDEX_MOD)
    return part;
  tsr_sum_add_expr(ir, &d->quotient, part, 1);
  return tsr_sum_expr(ir, &d->quotient);
}

/* Rule 1. */
static bool within_one_multiple(tsr_ir *ir, division *d, tsr_expr *out) {
  tsr_interval range = sum_interval(ir, &d->rest);
  tsr_index_op op = d->op == TSR_INDEX_CEILDIV ? TSR_INDEX_CEILDIV : TSR_INDEX_FLOORDIV;
  int64_t first, last, back;
  if (range.lo == INT64_MIN || range.hi == INT64_MAX)
    return false;
  first = apply(op, range.lo, d->divisor);
  last = apply(op, range.hi, d->divisor);
  if (first != last || __builtin_mul_overflow(first, -d->divisor, &back))
    return false;
  if (d->op == TSR_INDEX_MOD) {
    tsr_sum_add_int(&d->rest, back);
    *out = tsr_sum_expr(ir, &d->rest);
  } else {
    *out = finish(ir, d, tsr_expr_int(ir, first));
  }
  return true;
}

/* ((g*y + s) op c) with s out of the way: y op (c/g), times g plus s for mod. `y` holds g*y. */
static tsr_expr divide_reduced(tsr_ir *ir, division *d, tsr_sum *y, int64_t g, tsr_sum *s) {
  tsr_expr reduced;
  for (uint32_t i = 0; i < y->count; i++)
    y->terms[i].factor /= g;
  reduced = tsr_expr_divide(ir, d->op, tsr_sum_expr(ir, y), tsr_expr_int(ir, d->divisor / g));
  if (d->op != TSR_INDEX_MOD)
    return finish(ir, d, reduced);
  tsr_sum_add_expr(ir, s, reduced, g);
  return tsr_sum_expr(ir, s);
}

/* Rule 2. */
static bool cancel_common(tsr_ir *ir, division *d, tsr_expr *out) {
  int64_t g = d->divisor;
  tsr_index_op op = d->op == TSR_INDEX_CEILDIV ? TSR_INDEX_CEILDIV : TSR_INDEX_FLOORDIV;
  tsr_sum y, s;
  for (uint32_t i = 0; i < d->rest.count; i++)
    g = tsr_gcd(g, d->rest.terms[i].factor);
  if (g == 1)
    return false;
  tsr_sum_copy(&y, &d->rest);
  y.constant = apply(op, d->rest.constant, g);
  tsr_sum_init(&s);
  s.constant = apply(TSR_INDEX_MOD, d->rest.constant, g);
  *out = divide_reduced(ir, d, &y, g, &s);
  return true;
}

static bool splits_at(const tsr_ir *ir, const division *d, int64_t g, tsr_sum *y, tsr_sum *s) {
  tsr_interval range;
  tsr_sum_init(y);
  tsr_sum_init(s);
  for (uint32_t i = 0; i < d->rest.count; i++) {
    const tsr_sum_term *term = &d->rest.terms[i];
    tsr_sum_add_term(term->factor % g == 0 ? y : s, term->atom, term->factor);
  }
  s->constant = d->rest.constant % g;
  y->constant = d->rest.constant / g;
  range = sum_interval(ir, s);
  if (d->op == TSR_INDEX_CEILDIV && range.lo > 0) {
    s->constant -= g;
    y->constant += 1;
    range = sum_interval(ir, s);
  }
  return d->op == TSR_INDEX_CEILDIV ? range.lo > -g && range.hi <= 0
                                    : range.lo >= 0 && range.hi < g;
}

/* Rule 3, with the largest such g. */
static bool drop_small_part(tsr_ir *ir, division *d, tsr_expr *out) {
  tsr_sum y, s;
  int64_t best = 1;
  for (uint32_t i = 0; i < d->rest.count; i++) {
    int64_t g = tsr_gcd(d->divisor, d->rest.terms[i].factor);
    if (g > best && splits_at(ir, d, g, &y, &s))
      best = g;
  }
  if (best == 1)
    return false;
  (void)splits_at(ir, d, best, &y, &s);
  *out = divide_reduced(ir, d, &y, best, &s);
  return true;
}

/* (x floordiv m + k) floordiv c = (x + k*m) floordiv (m*c), likewise ceildiv. */
static bool join_quotients(tsr_ir *ir, division *d, tsr_expr *out) {
  tsr_expr_node inner;
  int64_t m, k, product;
  if (d->rest.count != 1 || d->rest.terms[0].factor != 1)
    return false;
  inner = tsr_expr_get(ir, d->rest.terms[0].atom);
  if (inner.op != d->op || !tsr_expr_is_int(ir, inner.b, &m) || m <= 0 ||
      __builtin_mul_overflow(m, d->divisor, &product) ||
      __builtin_mul_overflow(m, d->rest.constant, &k))
    return false;
  *out = finish(
      ir, d,
      tsr_expr_divide(ir, d->op, tsr_expr_add_int(ir, inner.a, k), tsr_expr_int(ir, product)));
  return true;
}

static bool join_remainders(tsr_ir *ir, division *d, tsr_expr *out) {
  for (uint32_t i = 0; i < d->rest.count; i++) {
    tsr_sum_term term = d->rest.terms[i];
    tsr_expr_node inner = tsr_expr_get(ir, term.atom);
    int64_t m;
    if (inner.op != TSR_INDEX_MOD || !tsr_expr_is_int(ir, inner.b, &m) || m % d->divisor != 0)
      continue;
    tsr_sum_remove(&d->rest, i);
    tsr_sum_add_expr(ir, &d->rest, inner.a, term.factor);
    *out = tsr_expr_divide(ir, d->op, tsr_sum_expr(ir, &d->rest), d->b);
    return true;
  }
  return false;
}

static tsr_expr divide_by_number(tsr_ir *ir, division *d) {
  tsr_expr rest, out;
  tsr_sum copy;
  if (d->divisor == 1)
    return d->op == TSR_INDEX_MOD ? tsr_expr_int(ir, 0) : d->a;
  split_by_number(ir, d);
  if (d->op == TSR_INDEX_MOD && join_remainders(ir, d, &out))
    return out;
  if (within_one_multiple(ir, d, &out) || cancel_common(ir, d, &out) ||
      drop_small_part(ir, d, &out))
    return out;
  if (d->op != TSR_INDEX_MOD && join_quotients(ir, d, &out))
    return out;
  tsr_sum_copy(&copy, &d->rest);
  rest = tsr_sum_expr(ir, &copy);
  out = rest == d->a || rest == 0 ? tsr_expr_node_make(ir, d->op, rest, d->b)
                                  : tsr_expr_divide(ir, d->op, rest, d->b);
  return finish(ir, d, out);
}

/* a by -c: (-a) by c for the quotients, -((-a) mod c) for mod. */
static tsr_expr divide_by_negative(tsr_ir *ir, const division *d) {
  tsr_expr result;
  if (d->divisor == INT64_MIN)
    return tsr_expr_refuse(ir, TSR_ERR_SHAPE, "an index expression overflows 64 bits");
  result =
      tsr_expr_divide(ir, d->op, tsr_expr_mul_int(ir, d->a, -1), tsr_expr_int(ir, -d->divisor));
  return d->op == TSR_INDEX_MOD ? tsr_expr_mul_int(ir, result, -1) : result;
}

/* --- symbolic divisors --- */

/* term = by * what is added to `quotient`; false when `by` does not divide it so. */
static bool divide_term(tsr_ir *ir, const tsr_sum_term *term, const tsr_sum_term *by,
                        tsr_sum *quotient) {
  tsr_expr factors[TSR_EXPR_MAX_FACTORS], wanted[TSR_EXPR_MAX_FACTORS];
  uint32_t count = tsr_expr_factors(ir, term->atom, factors);
  uint32_t wanted_count = tsr_expr_factors(ir, by->atom, wanted);
  if (term->factor % by->factor != 0)
    return false;
  for (uint32_t w = 0; w < wanted_count; w++) {
    uint32_t at = 0;
    while (at < count && factors[at] != wanted[w])
      at++;
    if (at == count)
      return false;
    count--;
    for (; at < count; at++)
      factors[at] = factors[at + 1];
  }
  if (count == 0)
    tsr_sum_add_int(quotient, term->factor / by->factor);
  else
    tsr_sum_add_term(quotient, tsr_expr_product(ir, factors, count), term->factor / by->factor);
  return true;
}

static void split_by_term(tsr_ir *ir, division *d, const tsr_sum_term *by) {
  tsr_sum whole;
  tsr_sum_init(&whole);
  tsr_sum_add_expr(ir, &whole, d->a, 1);
  tsr_sum_init(&d->quotient);
  tsr_sum_init(&d->rest);
  for (uint32_t i = 0; i < whole.count; i++)
    if (!divide_term(ir, &whole.terms[i], by, &d->quotient))
      tsr_sum_add_term(&d->rest, whole.terms[i].atom, whole.terms[i].factor);
  tsr_sum_add_int(&d->rest, whole.constant);
}

/* The divisor as one term; a sum is not split, only compared. */
static void split_by_expr(tsr_ir *ir, division *d) {
  tsr_sum by;
  tsr_sum_init(&by);
  tsr_sum_add_expr(ir, &by, d->b, 1);
  if (by.count == 1 && by.constant == 0) {
    split_by_term(ir, d, &by.terms[0]);
    return;
  }
  tsr_sum_init(&d->quotient);
  tsr_sum_init(&d->rest);
  if (d->a == d->b)
    tsr_sum_add_int(&d->quotient, 1);
  else
    tsr_sum_add_expr(ir, &d->rest, d->a, 1);
}

/* Intervals alone may leave one value: (-1) floordiv N is -1. */
static bool constant_result(const tsr_ir *ir, const division *d, tsr_expr rest, int64_t *out) {
  const tsr_expr_slot *a = tsr_expr_slot_of(ir, rest), *b = tsr_expr_slot_of(ir, d->b);
  tsr_interval range =
      tsr_interval_apply(d->op, (tsr_interval){a->lo, a->hi}, (tsr_interval){b->lo, b->hi});
  *out = range.lo;
  return range.lo == range.hi;
}

static tsr_expr divide_by_expr(tsr_ir *ir, division *d) {
  tsr_expr rest, part;
  int64_t number;
  bool ceil = d->op == TSR_INDEX_CEILDIV;
  if (tsr_expr_slot_of(ir, d->b)->lo < 0)
    return tsr_expr_node_make(ir, d->op, d->a, d->b);
  split_by_expr(ir, d);
  rest = tsr_sum_expr(ir, &d->rest);
  if (rest == 0)
    return 0;
  if (tsr_expr_equals_int(ir, rest, 0))
    part = rest;
  else if (constant_result(ir, d, rest, &number))
    part = tsr_expr_int(ir, number);
  else if (tsr_expr_proves_difference(ir, rest, tsr_expr_int(ir, 0), ceil) &&
           tsr_expr_proves_difference(ir, d->b, rest, ceil ? 0 : 1))
    part = d->op == TSR_INDEX_MOD ? rest : tsr_expr_int(ir, ceil);
  else if (rest != d->a)
    part = tsr_expr_divide(ir, d->op, rest, d->b);
  else
    part = tsr_expr_node_make(ir, d->op, d->a, d->b);
  return finish(ir, d, part);
}

tsr_expr tsr_expr_divide(tsr_ir *ir, tsr_index_op op, tsr_expr a, tsr_expr b) {
  division d;
  int64_t number, result;
  if (a == 0 || b == 0)
    return 0;
  d.op = op;
  d.a = a;
  d.b = b;
  if (!tsr_expr_is_int(ir, b, &d.divisor))
    return divide_by_expr(ir, &d);
  if (d.divisor == 0)
    return tsr_expr_refuse(ir, TSR_ERR_SHAPE, "an index expression divides by zero");
  if (tsr_expr_is_int(ir, a, &number)) {
    if (tsr_index_apply(op, number, d.divisor, &result) != TSR_OK)
      return tsr_expr_refuse(ir, TSR_ERR_SHAPE, "an index expression overflows 64 bits");
    return tsr_expr_int(ir, result);
  }
  return d.divisor < 0 ? divide_by_negative(ir, &d) : divide_by_number(ir, &d);
}
