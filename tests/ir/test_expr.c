/* Index expressions: canonical form and proofs against brute-force evaluation of random
 * expressions. */
#include "ir/ir.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIMS = 3, INDEXES = 4, LANES = 2, POINTS = 40, ROUNDS = 30000 / TEST_SHARE };

typedef struct world {
  tsr_ir *ir;
  tsr_op op;
  tsr_region region;
  tsr_dim dims[DIMS];
  tsr_value indexes[INDEXES];
  int64_t lanes[LANES];
  uint64_t seed;
} world;

static uint64_t next(world *w) {
  w->seed = w->seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
  return w->seed >> 33;
}

static int64_t below(world *w, int64_t count) {
  return (int64_t)(next(w) % (uint64_t)count);
}

static tsr_expr dim(world *w, int number) {
  return tsr_expr_dim(w->ir, w->dims[number]);
}

static tsr_expr index_var(world *w, int number) {
  return tsr_expr_value(w->ir, w->indexes[number]);
}

static tsr_expr num(world *w, int64_t number) {
  return tsr_expr_int(w->ir, number);
}

/* N in 1..40, M in 0..20, K in 4..4; i in 0..N, j in 0..(N floordiv 4)*4 step 4, k in i..i + 3,
 * l in 0..8. */
static world make_world(uint64_t seed) {
  world w = {.seed = seed * 77 + 5, .lanes = {4, 3}};
  ck_assert_int_eq(tsr_ir_create(tsr_allocator_default(), &w.ir), TSR_OK);
  w.dims[0] = tsr_dim_add(w.ir, "N", 1, 40, 0);
  w.dims[1] = tsr_dim_add(w.ir, "M", 0, 20, 0);
  w.dims[2] = tsr_dim_add(w.ir, "K", 4, 4, 0);
  w.op = tsr_op_append(w.ir, tsr_ir_top(w.ir), TSR_OP_FOR);
  w.region = tsr_op_add_region(w.ir, w.op);
  w.indexes[0] = tsr_region_add_index(w.ir, w.region, TSR_ROLE_LOOP, num(&w, 0), dim(&w, 0), 1);
  w.indexes[1] = tsr_region_add_index(
      w.ir, w.region, TSR_ROLE_LOOP, num(&w, 0),
      tsr_expr_mul_int(w.ir, tsr_expr_floordiv_int(w.ir, dim(&w, 0), 4), 4), 4);
  w.indexes[2] = tsr_region_add_index(w.ir, w.region, TSR_ROLE_LOOP, index_var(&w, 0),
                                      tsr_expr_add_int(w.ir, index_var(&w, 0), 3), 1);
  w.indexes[3] = tsr_region_add_index(w.ir, w.region, TSR_ROLE_LOOP, num(&w, 0), num(&w, 8), 1);
  ck_assert_int_eq(tsr_ir_status(w.ir), TSR_OK);
  return w;
}

/* A point of the world; false when some range is empty. */
typedef struct point {
  int64_t dims[DIMS], indexes[INDEXES], lanes[LANES];
} point;

static bool make_point(world *w, point *p) {
  int64_t n = p->dims[0] = 1 + below(w, 40);
  p->dims[1] = below(w, 21);
  p->dims[2] = 4;
  if (n / 4 == 0)
    return false;
  p->indexes[0] = below(w, 4) == 0 ? n - 1 : below(w, n);
  p->indexes[1] = below(w, 4) == 0 ? (n / 4 - 1) * 4 : below(w, n / 4) * 4;
  p->indexes[2] = p->indexes[0] + below(w, 3);
  p->indexes[3] = below(w, 8);
  for (int i = 0; i < LANES; i++)
    p->lanes[i] = below(w, w->lanes[i]);
  return true;
}

/* --- expressions as trees of the test's own --- */

typedef struct tree {
  tsr_index_op op;
  int64_t number;
  struct tree *a, *b;
} tree;

static void free_tree(tree *t) {
  if (t == NULL)
    return;
  free_tree(t->a);
  free_tree(t->b);
  free(t);
}

static tree *random_tree(world *w, int depth) {
  static const tsr_index_op operators[] = {
      TSR_INDEX_ADD, TSR_INDEX_ADD,      TSR_INDEX_ADD, TSR_INDEX_MUL,     TSR_INDEX_FLOORDIV,
      TSR_INDEX_MOD, TSR_INDEX_FLOORDIV, TSR_INDEX_MOD, TSR_INDEX_CEILDIV, TSR_INDEX_MIN,
      TSR_INDEX_MAX, TSR_INDEX_LT,       TSR_INDEX_LE,  TSR_INDEX_EQ,      TSR_INDEX_NE,
      TSR_INDEX_AND, TSR_INDEX_OR};
  tree *t = calloc(1, sizeof *t);
  ck_assert_ptr_nonnull(t);
  if (depth == 0 || below(w, 5) == 0) {
    t->op = (tsr_index_op)below(w, 4);
    t->number = t->op == TSR_INDEX_INT     ? below(w, 25) - 8
                : t->op == TSR_INDEX_DIM   ? below(w, DIMS)
                : t->op == TSR_INDEX_VALUE ? below(w, INDEXES)
                                           : below(w, LANES);
    return t;
  }
  t->op = operators[(size_t)below(w, below(w, 3) == 0 ? 17 : 11)];
  t->a = random_tree(w, depth - 1);
  t->b = random_tree(w, depth - 1);
  bool divides =
      t->op == TSR_INDEX_FLOORDIV || t->op == TSR_INDEX_CEILDIV || t->op == TSR_INDEX_MOD;
  if ((divides || t->op == TSR_INDEX_MUL) && below(w, 6) != 0) {
    static const int64_t divisors[] = {1, 2, 3, 4, 6, 8, 16, -3, -4};
    free_tree(t->b->a);
    free_tree(t->b->b);
    *t->b = (tree){TSR_INDEX_INT, divisors[below(w, 9)], NULL, NULL};
  }
  return t;
}

static tsr_expr build(world *w, const tree *t) {
  switch (t->op) {
  case TSR_INDEX_INT:
    return num(w, t->number);
  case TSR_INDEX_DIM:
    return dim(w, (int)t->number);
  case TSR_INDEX_VALUE:
    return index_var(w, (int)t->number);
  case TSR_INDEX_LANE:
    return tsr_expr_lane(w->ir, (unsigned)t->number);
  default:
    return tsr_expr_binary(w->ir, t->op, build(w, t->a), build(w, t->b));
  }
}

static bool eval_tree(const tree *t, const point *p, int64_t *out) {
  int64_t a, b;
  if (t->op == TSR_INDEX_INT)
    *out = t->number;
  else if (t->op == TSR_INDEX_DIM)
    *out = p->dims[t->number];
  else if (t->op == TSR_INDEX_VALUE)
    *out = p->indexes[t->number];
  else if (t->op == TSR_INDEX_LANE)
    *out = p->lanes[t->number];
  else
    return eval_tree(t->a, p, &a) && eval_tree(t->b, p, &b) &&
           tsr_index_apply(t->op, a, b, out) == TSR_OK;
  return true;
}

static bool eval_expr(const world *w, tsr_expr expr, const point *p, int64_t *out) {
  tsr_expr_node node = tsr_expr_get(w->ir, expr);
  int64_t a, b;
  if (node.op == TSR_INDEX_INT)
    *out = node.number;
  else if (node.op == TSR_INDEX_DIM)
    *out = p->dims[node.dim - w->dims[0]];
  else if (node.op == TSR_INDEX_VALUE)
    *out = p->indexes[node.value - w->indexes[0]];
  else if (node.op == TSR_INDEX_LANE)
    *out = p->lanes[node.number];
  else
    return eval_expr(w, node.a, p, &a) && eval_expr(w, node.b, p, &b) &&
           tsr_index_apply(node.op, a, b, out) == TSR_OK;
  return true;
}

static tsr_expr rebuild(world *w, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(w->ir, expr);
  if (node.op <= TSR_INDEX_LANE)
    return expr;
  tsr_expr a = rebuild(w, node.a);
  return tsr_expr_binary(w->ir, node.op, a, rebuild(w, node.b));
}

static const char *text_of(world *w, tsr_expr expr) {
  return tsr_expr_print(w->ir, expr, tsr_ir_arena(w->ir));
}

static void check_values(world *w, const tree *t, tsr_expr expr, bool proven) {
  int64_t lo, hi;
  tsr_expr_bounds(w->ir, expr, w->lanes, LANES, &lo, &hi);
  for (int i = 0; i < POINTS; i++) {
    point p;
    int64_t want, got;
    if (!make_point(w, &p) || !eval_tree(t, &p, &want))
      continue;
    ck_assert_msg(eval_expr(w, expr, &p, &got), "%s cannot be evaluated", text_of(w, expr));
    ck_assert_msg(got == want, "%s is %lld, not %lld", text_of(w, expr), (long long)got,
                  (long long)want);
    ck_assert_msg(got >= lo && got <= hi, "%s is %lld, outside %lld..%lld", text_of(w, expr),
                  (long long)got, (long long)lo, (long long)hi);
    ck_assert_msg(!proven || got >= 0, "%s is %lld at N=%lld i=%lld j=%lld k=%lld l=%lld",
                  text_of(w, expr), (long long)got, (long long)p.dims[0], (long long)p.indexes[0],
                  (long long)p.indexes[1], (long long)p.indexes[2], (long long)p.indexes[3]);
  }
}

START_TEST(random_expressions_keep_their_value) {
  world w = make_world((uint64_t)_i);
  int proven = 0;
  for (int round = 0; round < ROUNDS / 10; round++) {
    tree *t = random_tree(&w, 1 + (int)below(&w, 4));
    tsr_expr expr = build(&w, t);
    if (expr == 0) {
      tsr_ir_destroy(w.ir);
      w = make_world(w.seed);
      free_tree(t);
      continue;
    }
    ck_assert_msg(rebuild(&w, expr) == expr, "%s is not canonical: %s", text_of(&w, expr),
                  text_of(&w, rebuild(&w, expr)));
    bool is_proven = tsr_expr_prove_nonnegative(w.ir, expr, w.lanes, LANES);
    proven += is_proven;
    check_values(&w, t, expr, is_proven);
    for (int64_t divisor = 2; divisor < 9; divisor++)
      if (tsr_expr_divisible(w.ir, expr, divisor))
        for (int i = 0; i < 5; i++) {
          point p;
          int64_t got;
          if (make_point(&w, &p) && eval_expr(&w, expr, &p, &got))
            ck_assert_msg(got % divisor == 0, "%s is not divisible by %lld", text_of(&w, expr),
                          (long long)divisor);
        }
    free_tree(t);
  }
  ck_assert_int_gt(proven, ROUNDS / 100);
  tsr_ir_destroy(w.ir);
}
END_TEST

/* --- forms and proofs, written as text over the world --- */

/* Parses `text` inside a loop nest over the world's names; returns the attribute `e`. */
static tsr_ir *parse_one(const char *text, tsr_expr *out) {
  static const char head[] =
      "dim N in 1..1000000\ndim M in 1..1000000\ndim Z in 0..100\n"
      "kernel @k() grid(%t in N ceildiv 112, %b in N floordiv 16) {\n"
      "for %r in 112 step 14 { for %i in (N floordiv 16)*16 step 16 { for %j in N {\n"
      "for %q in %i..min(N, %i + 16) { for %h in M*N { for %e in 8 { for %o in N*4 {"
      "for %tail in (N floordiv 16)*16..N {\n"
      "barrier {scope = \"\", value = ";
  static const char tail[] = "} } } } } } } } } }";
  char buffer[2048];
  tsr_diag diag;
  tsr_ir *ir;
  tsr_diag_clear(&diag);
  int size = snprintf(buffer, sizeof buffer, "%s%s%s", head, text, tail);
  tsr_status status =
      tsr_ir_parse(tsr_allocator_default(), buffer, (size_t)size, "test", &diag, &ir);
  ck_assert_msg(status == TSR_OK, "%s: %s", text, diag.message);
  tsr_op op = tsr_op_count(ir);
  const tsr_attr *attr = tsr_op_attr(ir, op, "value");
  ck_assert_ptr_nonnull(attr);
  *out = attr->kind == TSR_ATTR_INT ? tsr_expr_int(ir, attr->u.integer) : attr->u.expr;
  return ir;
}

static const struct {
  const char *text, *canonical;
} forms[] = {
    {"%j + 3 - 3", "%j"},
    {"(N*32) floordiv 32", "N"},
    {"(N*8 + 5) floordiv 4", "N*2 + 1"},
    {"(N*8 + %e) floordiv 8", "N"},
    {"(N*8 + %e) mod 8", "%e"},
    {"(N floordiv 4)*4 + N mod 4", "N"},
    {"(N floordiv 4) floordiv 8", "N floordiv 32"},
    {"((N floordiv 4) + 3) floordiv 8", "(N + 12) floordiv 32"},
    {"(N mod 12) mod 4", "N mod 4"},
    {"(N*6 + 4) floordiv 4", "(N*3) floordiv 2 + 1"},
    {"(N*16) ceildiv 16", "N"},
    {"N ceildiv 16", "N ceildiv 16"},
    {"(N + 1)*(M + 2)", "N*M + N*2 + M + 2"},
    {"%j*2 + N - 1", "N + %j*2 - 1"},
    {"-%j", "-%j"},
    {"N - (N floordiv 4)*4", "N - (N floordiv 4)*4"},
    {"min(N, N + 1)", "N"},
    {"max(N, N + 1)", "N + 1"},
    {"min(N, M, N)", "min(N, M)"},
    {"min(%j, N)", "%j"},
    {"0 < N", "1"},
    {"N < 0", "0"},
    {"%j < N", "1"},
    {"N <= 64 and N mod 16 == 0", "N <= 64 and N mod 16 == 0"},
    {"(N < 5 or M < 5) and N < 7", "(N < 5 or M < 5) and N < 7"},
    {"(N*M) floordiv N", "M"},
    {"(M*N + %j) floordiv N", "M"},
    {"(M*N + %j) mod N", "%j"},
    {"%e floordiv 8", "0"},
    {"(8*%r + %e) floordiv 16", "%r floordiv 2"},
    {"(N + 5) mod 4", "(N + 1) mod 4"},
    {"N*(-3)", "-N*3"},
    {"-(N floordiv 3)", "-(N floordiv 3)"},
    {"N - (M - 3)", "N - M + 3"},
    {"(N floordiv 2)*3", "(N floordiv 2)*3"},
    {"N floordiv -2", "(-N) floordiv 2"},
    {"-9223372036854775808", "-9223372036854775808"},
    {"$0 + %j + (%j floordiv 2)*5 + 1", "%j + (%j floordiv 2)*5 + $0 + 1"},
};

START_TEST(canonical_forms) {
  tsr_expr expr, again;
  tsr_ir *ir = parse_one(forms[_i].text, &expr);
  char *text = tsr_expr_print(ir, expr, tsr_ir_arena(ir));
  tsr_ir *second = parse_one(text, &again);
  char *second_text = tsr_expr_print(second, again, tsr_ir_arena(second));
  ck_assert_str_eq(text, second_text);
  if (strchr(forms[_i].canonical, '(') == NULL)
    ck_assert_str_eq(text, forms[_i].canonical);
  tsr_ir_destroy(second);
  second = parse_one(forms[_i].canonical, &again);
  ck_assert_str_eq(text, tsr_expr_print(second, again, tsr_ir_arena(second)));
  tsr_ir_destroy(second);
  tsr_ir_destroy(ir);
}
END_TEST

/* Lanes: $0 below 14, $1 below 16. */
static const char *const proofs[] = {
    "N - 1 - %i - $1",
    "N - 1 - %j",
    "%j",
    "N - 1 - %q",
    "%q - %i",
    "M*N - 1 - %h",
    "111 - %r - $0",
    "(N ceildiv 112)*112 - %t*112 - 1",
    "(N ceildiv 112)*112 - 1 - %t*112 - %r - $0",
    "(N floordiv 16)*16 - %b*16 - $1 - 1",
    "N - %b*16 - $1 - 1",
    "N - (N floordiv 16)*16",
    "(N ceildiv 16)*16 - N",
    "N mod 7",
    "6 - N mod 7",
    "N - N mod 7",
    "M - 1 - %h floordiv N",
    "N - 1 - %h mod N",
    "N - 1 - %o floordiv 4",
    "7 - (%e + %i) mod 8",
    "min(N, M) - 1",
    "N - min(N, M)",
    "max(N, M) - N",
    "N*M - M",
    "N*M - N",
    "%tail - (N floordiv 16)*16",
    "N - 1 - %tail",
    "%tail",
    "N - 1 - %t*112",
    "N*M - 1 - %j*M",
    "Z",
    "%i floordiv 16",
    "N floordiv 16 - 1 - %i floordiv 16",
};

static const char *const unproven[] = {
    "N - 2 - %j",
    "N - %i - $1 - 2",
    "%j - 1",
    "M - N",
    "N - 1 - %q - 1",
    "110 - %r - $0",
    "N floordiv 16 - 1",
    "Z - 1",
    "-%j",
    "N mod 7 - 1",
    "N - 2 - %t*112",
    "5 - N mod 7",
    "(N ceildiv 16)*16 - N - 1",
};

START_TEST(provable) {
  const int64_t lanes[] = {14, 16};
  tsr_expr expr;
  tsr_ir *ir = parse_one(proofs[_i], &expr);
  ck_assert_msg(tsr_expr_prove_nonnegative(ir, expr, lanes, 2), "%s", proofs[_i]);
  tsr_ir_destroy(ir);
}
END_TEST

START_TEST(not_provable) {
  const int64_t lanes[] = {14, 16};
  tsr_expr expr;
  tsr_ir *ir = parse_one(unproven[_i], &expr);
  ck_assert_msg(!tsr_expr_prove_nonnegative(ir, expr, lanes, 2), "%s", unproven[_i]);
  tsr_ir_destroy(ir);
}
END_TEST

START_TEST(linear_splits) {
  world w = make_world(1);
  tsr_expr leaves[2] = {index_var(&w, 0), tsr_expr_lane(w.ir, 1)}, rest, symbolic[2];
  tsr_expr expr = tsr_expr_add(w.ir, tsr_expr_mul_int(w.ir, leaves[0], 5), dim(&w, 0));
  int64_t coefficients[2];
  ck_assert(tsr_expr_linear(w.ir, expr, leaves, 2, coefficients, &rest));
  ck_assert_int_eq(coefficients[0], 5);
  ck_assert_int_eq(coefficients[1], 0);
  ck_assert_uint_eq(rest, dim(&w, 0));
  expr = tsr_expr_add(w.ir, expr, tsr_expr_mul(w.ir, leaves[1], dim(&w, 1)));
  ck_assert(!tsr_expr_linear(w.ir, expr, leaves, 2, coefficients, &rest));
  ck_assert(tsr_expr_linear_symbolic(w.ir, expr, leaves, 2, symbolic, &rest));
  ck_assert_uint_eq(symbolic[1], dim(&w, 1));
  ck_assert_uint_eq(symbolic[0], num(&w, 5));
  expr = tsr_expr_floordiv_int(w.ir, leaves[0], 3);
  ck_assert(!tsr_expr_linear_symbolic(w.ir, expr, leaves, 2, symbolic, &rest));
  ck_assert_int_eq(tsr_ir_status(w.ir), TSR_OK);
  tsr_ir_destroy(w.ir);
}
END_TEST

START_TEST(substitution_is_simultaneous) {
  world w = make_world(1);
  tsr_expr from[2] = {dim(&w, 0), dim(&w, 1)}, to[2] = {dim(&w, 1), dim(&w, 0)};
  tsr_expr expr = tsr_expr_sub(w.ir, from[0], tsr_expr_mul_int(w.ir, from[1], 2));
  tsr_expr want = tsr_expr_sub(w.ir, from[1], tsr_expr_mul_int(w.ir, from[0], 2));
  ck_assert_uint_eq(tsr_expr_substitute(w.ir, expr, from, to, 2), want);
  tsr_ir_destroy(w.ir);
}
END_TEST

START_TEST(overflow_and_zero_poison) {
  world w = make_world(1);
  ck_assert_uint_eq(tsr_expr_add_int(w.ir, num(&w, INT64_MAX), 1), 0);
  ck_assert_int_eq(tsr_ir_status(w.ir), TSR_ERR_SHAPE);
  ck_assert_uint_eq(tsr_expr_add(w.ir, 0, num(&w, 1)), 0);
  tsr_ir_destroy(w.ir);
  w = make_world(1);
  ck_assert_uint_eq(tsr_expr_floordiv_int(w.ir, dim(&w, 0), 0), 0);
  ck_assert_int_eq(tsr_ir_status(w.ir), TSR_ERR_SHAPE);
  tsr_ir_destroy(w.ir);
}
END_TEST

/* Repeated squaring of sums, and towers of divisions, end in a limit. */
START_TEST(growth_is_limited) {
  world w = make_world(1);
  tsr_expr expr = tsr_expr_add(w.ir, dim(&w, 0), tsr_expr_add(w.ir, dim(&w, 1), index_var(&w, 0)));
  for (int i = 0; i < 20; i++)
    expr = tsr_expr_mul(w.ir, expr, expr);
  ck_assert_int_eq(tsr_ir_status(w.ir), TSR_ERR_LIMIT);
  tsr_ir_destroy(w.ir);
  w = make_world(1);
  expr = dim(&w, 0);
  for (int i = 0; i < 300; i++)
    expr = tsr_expr_mod_int(w.ir, tsr_expr_mul(w.ir, expr, dim(&w, 0)), 97 + i);
  ck_assert_int_eq(tsr_ir_status(w.ir), TSR_ERR_LIMIT);
  tsr_ir_destroy(w.ir);
}
END_TEST

#define COUNT(array) (int)(sizeof(array) / sizeof *(array))

int main(void) {
  Suite *suite = suite_create("expr");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_loop_test(tests, random_expressions_keep_their_value, 0, 10);
  tcase_add_loop_test(tests, canonical_forms, 0, COUNT(forms));
  tcase_add_loop_test(tests, provable, 0, COUNT(proofs));
  tcase_add_loop_test(tests, not_provable, 0, COUNT(unproven));
  tcase_add_test(tests, linear_splits);
  tcase_add_test(tests, substitution_is_simultaneous);
  tcase_add_test(tests, overflow_and_zero_poison);
  tcase_add_test(tests, growth_is_limited);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
