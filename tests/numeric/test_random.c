/* Random graphs: fused, unfused and for the oldest processor, each against float64 within a bound
 * derived for that very graph. The number of graphs is TESSERA_RANDOM_GRAPHS; a failure prints the
 * seed, and TESSERA_RANDOM_SEED runs that one alone. */
#include "tests/numeric/harness.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

enum { POOL = 48 };

typedef struct maker {
  trial t;
  uint64_t state;
  tsr_value pool[POOL];
  uint32_t count;
} maker;

static tsr_value keep(maker *m, tsr_value value) {
  if (value != 0 && m->count < POOL)
    m->pool[m->count++] = value;
  return value;
}

static tsr_value any(maker *m) {
  return m->pool[random_below(&m->state, m->count)];
}

static const tsr_type_info *type_of(const maker *m, tsr_value value) {
  return tsr_value_type(m->t.ir, value);
}

/* Keeps magnitudes near 1, so that bounds stay meaningful. */
static tsr_value tame(maker *m, tsr_value value) {
  return tsr_graph_unary(&m->t.b, TSR_OP_TANH, value);
}

static tsr_expr random_dim(maker *m) {
  static const int64_t sizes[] = {1, 2, 3, 5, 8, 16, 17, 33};
  if (random_below(&m->state, 4) == 0)
    return tsr_expr_dim(m->t.ir, 1 + random_below(&m->state, tsr_dim_count(m->t.ir)));
  return tsr_expr_int(m->t.ir, sizes[random_below(&m->state, 8)]);
}

static void make_unary(maker *m) {
  static const tsr_opcode codes[] = {TSR_OP_NEG, TSR_OP_ABS,   TSR_OP_TANH, TSR_OP_ERF, TSR_OP_SIN,
                                     TSR_OP_COS, TSR_OP_ASINH, TSR_OP_ATAN, TSR_OP_EXP};
  tsr_value x = any(m);
  tsr_opcode code = codes[random_below(&m->state, 9)];
  keep(m, tsr_graph_unary(&m->t.b, code, code == TSR_OP_EXP ? tame(m, x) : x));
}

/* An input that broadcasts against `x`: some axes 1, some leading axes absent. */
static tsr_value partner(maker *m, tsr_value x) {
  const tsr_type_info *type = type_of(m, x);
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t skip = random_below(&m->state, type->rank + 1), rank = type->rank - skip;
  for (uint32_t i = 0; i < rank; i++)
    dims[i] = random_below(&m->state, 3) == 0 ? tsr_expr_int(m->t.ir, 1) : type->dims[i + skip];
  if (m->t.input_count == MAX_PORTS)
    return x;
  return trial_input(&m->t, TSR_F32, dims, rank, -1, 1);
}

static void make_binary(maker *m) {
  static const tsr_opcode codes[] = {TSR_OP_ADD, TSR_OP_SUB, TSR_OP_MUL, TSR_OP_MIN, TSR_OP_MAX};
  tsr_value x = any(m), y = random_below(&m->state, 2) == 0 ? x : partner(m, x);
  tsr_opcode code = codes[random_below(&m->state, 5)];
  tsr_value z = tsr_graph_binary(&m->t.b, code, x, y);
  keep(m, code == TSR_OP_MUL ? tame(m, z) : z);
}

static void make_select(maker *m) {
  tsr_value x = any(m), a = partner(m, x), b = partner(m, x);
  tsr_value condition = tsr_graph_binary(&m->t.b, TSR_OP_LT, a, b);
  keep(m, tsr_graph_select(&m->t.b, condition, x, tsr_graph_unary(&m->t.b, TSR_OP_NEG, x)));
}

static void make_transpose(maker *m) {
  tsr_value x = any(m);
  uint32_t rank = type_of(m, x)->rank;
  int64_t perm[TSR_MAX_RANK];
  for (uint32_t i = 0; i < rank; i++)
    perm[i] = i;
  for (uint32_t i = rank; i > 1; i--) {
    uint32_t j = random_below(&m->state, i);
    int64_t swap = perm[i - 1];
    perm[i - 1] = perm[j];
    perm[j] = swap;
  }
  keep(m, tsr_graph_transpose(&m->t.b, x, perm));
}

/* Joins two neighbouring axes, or adds an axis of 1. */
static void make_reshape(maker *m) {
  tsr_value x = any(m);
  const tsr_type_info *type = type_of(m, x);
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t rank = 0, at = random_below(&m->state, type->rank + 1);
  bool join = at + 1 < type->rank;
  for (uint32_t i = 0; i < type->rank; i++) {
    if (!join && i == at && type->rank < 5)
      dims[rank++] = tsr_expr_int(m->t.ir, 1);
    if (join && i == at + 1)
      dims[rank - 1] = tsr_expr_mul(m->t.ir, dims[rank - 1], type->dims[i]);
    else
      dims[rank++] = type->dims[i];
  }
  keep(m, tsr_graph_reshape(&m->t.b, x, dims, rank));
}

static void make_slice(maker *m) {
  tsr_value x = any(m);
  const tsr_type_info *type = type_of(m, x);
  tsr_expr start[TSR_MAX_RANK], extent[TSR_MAX_RANK];
  int64_t step[TSR_MAX_RANK], size;
  for (uint32_t i = 0; i < type->rank; i++) {
    start[i] = tsr_expr_int(m->t.ir, 0);
    extent[i] = type->dims[i];
    step[i] = 1;
    if (!tsr_expr_is_int(m->t.ir, type->dims[i], &size) || size < 3)
      continue;
    step[i] = random_below(&m->state, 3) == 0 ? 2 : 1;
    start[i] = tsr_expr_int(m->t.ir, 1);
    extent[i] = tsr_expr_int(m->t.ir, (size - 2) / step[i] + 1);
  }
  keep(m, tsr_graph_slice(&m->t.b, x, start, step, extent));
}

static void make_pad(maker *m) {
  tsr_value x = any(m);
  uint32_t rank = type_of(m, x)->rank;
  tsr_expr low[TSR_MAX_RANK], high[TSR_MAX_RANK];
  for (uint32_t i = 0; i < rank; i++) {
    low[i] = tsr_expr_int(m->t.ir, random_below(&m->state, 3));
    high[i] = tsr_expr_int(m->t.ir, random_below(&m->state, 3));
  }
  tsr_value fill = tsr_graph_scalar(&m->t.b, TSR_F32, random_below(&m->state, 2) == 0 ? 0 : 0.5);
  keep(m, tsr_graph_pad(&m->t.b, x, fill, low, high, NULL, "constant"));
}

static void make_concat(maker *m) {
  tsr_value x = any(m);
  uint32_t rank = type_of(m, x)->rank;
  if (rank == 0)
    return;
  tsr_value parts[] = {x, tsr_graph_unary(&m->t.b, TSR_OP_NEG, x)};
  keep(m, tsr_graph_concat(&m->t.b, parts, 2, random_below(&m->state, rank)));
}

static void make_reduce(maker *m) {
  static const char *const combine[] = {"add", "max", "min"};
  tsr_value x = any(m);
  uint32_t rank = type_of(m, x)->rank;
  if (rank == 0)
    return;
  int64_t axis = random_below(&m->state, rank);
  tsr_value y = tsr_graph_reduce(&m->t.b, x, combine[random_below(&m->state, 3)], &axis, 1);
  keep(m, tame(m, y));
}

/* Softmax along a random axis, as importers write it. */
static void make_softmax(maker *m) {
  tsr_value x = any(m);
  const tsr_type_info *type = type_of(m, x);
  if (type->rank == 0)
    return;
  int64_t axis = random_below(&m->state, type->rank);
  tsr_expr kept[TSR_MAX_RANK];
  for (uint32_t i = 0; i < type->rank; i++)
    kept[i] = i == axis ? tsr_expr_int(m->t.ir, 1) : type->dims[i];
  tsr_builder *b = &m->t.b;
  tsr_value top = tsr_graph_reshape(b, tsr_graph_reduce(b, x, "max", &axis, 1), kept, type->rank);
  tsr_value e = tsr_graph_unary(b, TSR_OP_EXP, tsr_graph_binary(b, TSR_OP_SUB, x, top));
  tsr_value sum = tsr_graph_reshape(b, tsr_graph_reduce(b, e, "add", &axis, 1), kept, type->rank);
  keep(m, tsr_graph_binary(b, TSR_OP_DIV, e, sum));
}

static void make_einsum(maker *m) {
  tsr_value x = any(m);
  const tsr_type_info *type = type_of(m, x);
  if (type->rank == 0 || type->rank > 4 || m->t.input_count == MAX_PORTS)
    return;
  char spec[32];
  const char *lead = &"abcd"[5 - type->rank];
  tsr_expr dims[2] = {type->dims[type->rank - 1], random_dim(m)};
  bool turned = random_below(&m->state, 2) == 0;
  if (turned) {
    tsr_expr swap = dims[0];
    dims[0] = dims[1];
    dims[1] = swap;
  }
  tsr_value w = trial_input(&m->t, TSR_F32, dims, 2, -0.5, 0.5);
  snprintf(spec, sizeof spec, "%sk,%s->%sn", lead, turned ? "nk" : "kn", lead);
  keep(m, tame(m, tsr_graph_einsum(&m->t.b, spec, x, w)));
}

typedef void make_function(maker *m);
static make_function *const makers[] = {
    make_unary,   make_unary, make_binary, make_binary, make_binary, make_select,  make_transpose,
    make_reshape, make_slice, make_pad,    make_concat, make_reduce, make_softmax, make_einsum};

static bool run_graph(uint64_t seed) {
  static const char *const oldest[] = {"cpu:x86-64-v2"};
  maker m = {.state = seed};
  trial_begin(&m.t, seed);
  m.t.what = "random graph";
  trial_dim(&m.t, "N", 1 + random_below(&m.state, 20));
  trial_dim(&m.t, "M", 1 + random_below(&m.state, 5));
  uint32_t inputs = 1 + random_below(&m.state, 3);
  for (uint32_t i = 0; i < inputs; i++) {
    tsr_expr dims[4];
    uint32_t rank = random_below(&m.state, 5);
    for (uint32_t d = 0; d < rank; d++)
      dims[d] = random_dim(&m);
    keep(&m, trial_input(&m.t, TSR_F32, dims, rank, -1, 1));
  }
  uint32_t steps = 2 + random_below(&m.state, 12);
  for (uint32_t i = 0; i < steps; i++)
    makers[random_below(&m.state, sizeof makers / sizeof *makers)](&m);
  for (uint32_t i = 0; i < m.count; i++)
    if (i + 1 == m.count || random_below(&m.state, 4) == 0)
      trial_output(&m.t, m.pool[i]);
  tsr_compile_options options[3] = {{.threads = 2},
                                    {.threads = 1, .no_fuse = true},
                                    {.targets = oldest, .target_count = 1, .threads = 1}};
  bool good = trial_check(&m.t, options, 3);
  trial_end(&m.t);
  return good;
}

START_TEST(random_graphs) {
  const char *one = getenv("TESSERA_RANDOM_SEED"), *many = getenv("TESSERA_RANDOM_GRAPHS");
  if (one != NULL) {
    ck_assert(run_graph(strtoull(one, NULL, 10)));
    return;
  }
  long count = many == NULL ? 60 / TEST_SHARE : strtol(many, NULL, 10);
  for (long i = 0; i < count; i++)
    ck_assert_msg(run_graph((uint64_t)i + 1), "seed %ld", i + 1);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("numeric.random");
  TCase *tests = tcase_create("random");
  tcase_set_timeout(tests, 0);
  tcase_add_test(tests, random_graphs);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
