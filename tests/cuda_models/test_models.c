/* Small whole models on the emulated device against float64, within bounds derived per graph
 * (tests/numeric/error_graph.h): softmax, layer normalisation, convolutions, attention, two layers
 * of a transformer. Each runs for every architecture, fused and not, in a process of its own. */
#include "tests/numeric/harness.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct device {
  const char *target, *capability;
} device;

static const device devices[] = {{"cuda-emulated:sm_80", "80"}, {"cuda-emulated:sm_90a", "90"}};
enum { DEVICES = sizeof devices / sizeof *devices };

/* Bounds are worst cases, and grow with each layer; one that says less than this of the largest
 * value would hide a mistake. */
static const double loosest = 0.25;

/* The plans of what was compiled last. */
static char plans[65536];

static void keep_plan(void *context, const char *kind, const char *target, const char *part,
                      const char *data, size_t bytes) {
  size_t used = strlen(plans), room = sizeof plans - 1 - used;
  (void)context;
  (void)kind;
  (void)target;
  (void)part;
  memcpy(plans + used, data, bytes < room ? bytes : room);
}

/* With `ways` 2 unfused as well. */
static void check_with(trial *t, int number, const char *what, const char *precision,
                       uint32_t ways) {
  const device *d = &devices[number];
  const tsr_compile_options options[] = {
      {.targets = &d->target,
       .target_count = 1,
       .precision = precision,
       .emit = TSR_EMIT_PLAN,
       .emit_function = keep_plan},
      {.targets = &d->target, .target_count = 1, .precision = precision, .no_fuse = true}};
  memset(plans, 0, sizeof plans);
  const char *driver = getenv("TESSERA_EMULATED_DRIVER");
  ck_assert_msg(driver != NULL, "TESSERA_EMULATED_DRIVER is the emulated driver's path");
  setenv("TESSERA_CUDA_DRIVER", driver, 1);
  setenv("TESSERA_EMULATED_SM", d->capability, 1);
  setenv("TESSERA_EMULATED_SEED", number == 0 ? "5" : "1", 1);
  t->what = what;
  t->loosest = loosest;
  ck_assert_msg(trial_check(t, options, ways), "%s for %s", what, d->target);
  trial_end(t);
}

static void check(trial *t, int number, const char *what) {
  check_with(t, number, what, NULL, 2);
}

/* --- parts of models --- */

static tsr_value scalar(trial *t, tsr_value like, double value) {
  return tsr_graph_scalar(&t->b, tsr_value_type(t->ir, like)->dtype, value);
}

static tsr_value binary(trial *t, tsr_opcode code, tsr_value x, tsr_value y) {
  return tsr_graph_binary(&t->b, code, x, y);
}

/* Over the last axis, which the result keeps as 1. */
static tsr_value reduce(trial *t, tsr_value x, const char *combine) {
  const tsr_type_info *type = tsr_value_type(t->ir, x);
  uint32_t rank = type->rank;
  int64_t axis = (int64_t)rank - 1;
  tsr_expr dims[TSR_MAX_RANK];
  for (uint32_t i = 0; i < rank; i++)
    dims[i] = i + 1 < rank ? type->dims[i] : tsr_expr_int(t->ir, 1);
  return tsr_graph_reshape(&t->b, tsr_graph_reduce(&t->b, x, combine, &axis, 1), dims, rank);
}

static tsr_value softmax(trial *t, tsr_value x) {
  tsr_value shifted = binary(t, TSR_OP_SUB, x, reduce(t, x, "max"));
  tsr_value e = tsr_graph_unary(&t->b, TSR_OP_EXP, shifted);
  return binary(t, TSR_OP_DIV, e, reduce(t, e, "add"));
}

static tsr_value layernorm(trial *t, tsr_value x, int64_t width, tsr_value scale, tsr_value shift) {
  tsr_value count = scalar(t, x, (double)width);
  tsr_value mean = binary(t, TSR_OP_DIV, reduce(t, x, "add"), count);
  tsr_value d = binary(t, TSR_OP_SUB, x, mean);
  tsr_value sum = reduce(t, binary(t, TSR_OP_MUL, d, d), "add");
  tsr_value variance = binary(t, TSR_OP_DIV, sum, count);
  tsr_value root =
      tsr_graph_unary(&t->b, TSR_OP_SQRT, binary(t, TSR_OP_ADD, variance, scalar(t, x, 1e-3)));
  tsr_value y = binary(t, TSR_OP_MUL, binary(t, TSR_OP_DIV, d, root), scale);
  return binary(t, TSR_OP_ADD, y, shift);
}

/* x * (1 + erf(x / sqrt(2))) / 2 */
static tsr_value gelu(trial *t, tsr_value x) {
  tsr_value inner = binary(t, TSR_OP_MUL, x, scalar(t, x, 0.70710678118654752));
  tsr_value outer =
      binary(t, TSR_OP_ADD, tsr_graph_unary(&t->b, TSR_OP_ERF, inner), scalar(t, x, 1));
  return binary(t, TSR_OP_MUL, binary(t, TSR_OP_MUL, x, outer), scalar(t, x, 0.5));
}

/* Weights are small, as in models: so are the factors that errors grow by. */
static tsr_value weight(trial *t, tsr_dtype dtype, int64_t rows, int64_t columns, int64_t seed) {
  tsr_value w = trial_const(t, dtype, (int64_t[]){rows, columns}, 2, seed);
  return binary(t, TSR_OP_MUL, w, scalar(t, w, 0.0625));
}

static tsr_value vector(trial *t, int64_t count, int64_t seed) {
  return trial_const(t, TSR_F32, &count, 1, seed);
}

/* Scaled dot products of q, k, v: [batch, rows, depth]. */
static tsr_value attention(trial *t, tsr_value q, tsr_value k, tsr_value v, double scale) {
  tsr_value scores = tsr_graph_einsum(&t->b, "bmd,bnd->bmn", q, k);
  tsr_value p = softmax(t, binary(t, TSR_OP_MUL, scores, scalar(t, scores, scale)));
  return tsr_graph_einsum(&t->b, "bmn,bnd->bmd", p, v);
}

/* --- models --- */

START_TEST(softmax_and_layernorm) {
  trial t;
  trial_begin(&t, 11);
  tsr_expr dims[] = {trial_dim(&t, "N", 37), tsr_expr_int(t.ir, 83)};
  tsr_value x = trial_input(&t, TSR_F32, dims, 2, -3, 3);
  trial_output(&t, softmax(&t, x));
  trial_output(&t, layernorm(&t, x, 83, vector(&t, 83, 1), vector(&t, 83, 2)));
  check(&t, _i, "softmax, layernorm");
}
END_TEST

START_TEST(layernorm_of_half_floats) {
  trial t;
  trial_begin(&t, 12);
  tsr_value x = trial_input_static(&t, TSR_F16, (int64_t[]){5, 64}, 2, -2, 2);
  tsr_value y =
      layernorm(&t, tsr_graph_cast(&t.b, x, TSR_F32), 64, vector(&t, 64, 3), vector(&t, 64, 4));
  trial_output(&t, tsr_graph_cast(&t.b, y, TSR_F16));
  check(&t, _i, "layernorm of f16");
}
END_TEST

/* Two convolutions with activations, the second with stride and groups, and a mean of all. */
START_TEST(convolutions) {
  trial t;
  trial_begin(&t, 13);
  int64_t ones[] = {1, 1}, twos[] = {2, 2};
  tsr_expr one = tsr_expr_int(t.ir, 1), around[] = {one, one};
  tsr_value x = trial_input_static(&t, TSR_F32, (int64_t[]){2, 3, 11, 9}, 4, -1, 1);
  tsr_value w = trial_const(&t, TSR_F32, (int64_t[]){8, 3, 3, 3}, 4, 5);
  tsr_value v = trial_const(&t, TSR_F32, (int64_t[]){16, 4, 3, 3}, 4, 6);
  tsr_value a = tsr_graph_conv(&t.b, x, w, ones, ones, around, around, 1);
  a = binary(&t, TSR_OP_MAX, a, scalar(&t, a, 0));
  tsr_value b = tsr_graph_conv(&t.b, a, v, twos, ones, around, around, 2);
  trial_output(&t, b);
  trial_output(&t, tsr_graph_reduce(&t.b, b, "add", (int64_t[]){2, 3}, 2));
  check(&t, _i, "convolutions");
}
END_TEST

typedef struct contraction {
  tsr_dtype dtype;
  const char *spec, *precision;
} contraction;

static const contraction contractions[] = {
    {TSR_F32, "mk,kn->mn", NULL},  {TSR_F32, "mk,nk->mn", "tf32"}, {TSR_F16, "mk,kn->mn", NULL},
    {TSR_F16, "mk,nk->mn", NULL},  {TSR_F16, "km,kn->mn", NULL},   {TSR_BF16, "mk,kn->mn", NULL},
    {TSR_BF16, "mk,nk->mn", NULL}, {TSR_I8, "mk,nk->mn", NULL},    {TSR_F64, "mk,kn->mn", NULL}};
enum { CONTRACTIONS = sizeof contractions / sizeof *contractions };

/* relu(x w + bias), x an input whose rows may be known at run time only, w a constant; with
 * `inputs` a product of two inputs as well. */
static void one_contraction(int number, const contraction *c, const int64_t *mnk, bool symbolic,
                            bool inputs) {
  trial t;
  trial_begin(&t, 14);
  bool rows_first = c->spec[0] == 'm', depth_first = c->spec[3] == 'k';
  tsr_expr m = symbolic ? trial_dim(&t, "M", mnk[0]) : tsr_expr_int(t.ir, mnk[0]);
  tsr_expr k = tsr_expr_int(t.ir, mnk[2]);
  tsr_expr dims[] = {rows_first ? m : k, rows_first ? k : m};
  int64_t w_dims[] = {depth_first ? mnk[2] : mnk[1], depth_first ? mnk[1] : mnk[2]};
  bool integer = c->dtype == TSR_I8;
  double reach = integer ? 127 : 1;
  tsr_value x = trial_input(&t, c->dtype, dims, 2, -reach, reach);
  tsr_value w = trial_const(&t, c->dtype, w_dims, 2, 8);
  tsr_value y = tsr_graph_einsum(&t.b, c->spec, x, w);
  if (!integer)
    y = binary(&t, TSR_OP_ADD, y, trial_const(&t, c->dtype, &mnk[1], 1, 9));
  tsr_value zero =
      integer ? tsr_graph_scalar_int(&t.b, TSR_I32, 0) : tsr_graph_scalar(&t.b, c->dtype, 0);
  trial_output(&t, binary(&t, TSR_OP_MAX, y, zero));
  if (inputs) {
    tsr_value v = trial_input_static(&t, c->dtype, w_dims, 2, -reach, reach);
    trial_output(&t, tsr_graph_einsum(&t.b, c->spec, x, v));
  }
  /* tf32 has 10 bits behind the point; wgmma cuts the others off. */
  t.operand_rounding = c->precision != NULL ? 0x1p-10 : 0;
  check_with(&t, number, c->spec, c->precision, 1);
}

START_TEST(contract) {
  static const int64_t shapes[][3] = {{64, 64, 64}, {37, 72, 40}, {136, 72, 96}, {5, 3, 7}};
  for (int s = 0; s < 4; s++)
    one_contraction(_i % DEVICES, &contractions[_i / DEVICES], shapes[s], s == 1, true);
}
END_TEST

/* Large enough for the units of whole warp groups. */
START_TEST(large_contractions) {
  static const contraction half = {TSR_F16, "mk,kn->mn", NULL},
                           tf32 = {TSR_F32, "mk,nk->mn", "tf32"};
  const contraction *c = _i == 0 ? &half : &tf32;
  one_contraction(1, c, (int64_t[]){512, 512, _i == 0 ? 256 : 128}, false, false);
  ck_assert_msg(strstr(plans, "\"wgmma") != NULL, "%s", plans);
}
END_TEST

START_TEST(attention_heads) {
  trial t;
  trial_begin(&t, 15);
  int64_t dims[] = {4, 21, 16};
  tsr_value q = trial_input_static(&t, TSR_F32, dims, 3, -1, 1);
  tsr_value k = trial_input_static(&t, TSR_F32, dims, 3, -1, 1);
  tsr_value v = trial_input_static(&t, TSR_F32, dims, 3, -1, 1);
  trial_output(&t, attention(&t, q, k, v, 0.25));
  check(&t, _i, "attention");
}
END_TEST

enum { ROWS = 12, WIDTH = 32, HEADS = 2, HIDDEN = 64 };

/* [rows, width] to [heads, rows, depth]. */
static tsr_value split_heads(trial *t, tsr_value x) {
  tsr_expr dims[] = {tsr_expr_int(t->ir, ROWS), tsr_expr_int(t->ir, HEADS),
                     tsr_expr_int(t->ir, WIDTH / HEADS)};
  return tsr_graph_transpose(&t->b, tsr_graph_reshape(&t->b, x, dims, 3), (int64_t[]){1, 0, 2});
}

static tsr_value join_heads(trial *t, tsr_value x) {
  tsr_expr dims[] = {tsr_expr_int(t->ir, ROWS), tsr_expr_int(t->ir, WIDTH)};
  return tsr_graph_reshape(&t->b, tsr_graph_transpose(&t->b, x, (int64_t[]){1, 0, 2}), dims, 2);
}

static tsr_value dense(trial *t, tsr_value x, int64_t from, int64_t to, int64_t seed) {
  tsr_value y = tsr_graph_einsum(&t->b, "mk,kn->mn", x, weight(t, TSR_F32, from, to, seed));
  return binary(t, TSR_OP_ADD, y, vector(t, to, seed + 1));
}

static tsr_value layer(trial *t, tsr_value x, int64_t seed) {
  tsr_value n = layernorm(t, x, WIDTH, vector(t, WIDTH, seed), vector(t, WIDTH, seed + 1));
  tsr_value q = split_heads(t, dense(t, n, WIDTH, WIDTH, seed + 2));
  tsr_value k = split_heads(t, dense(t, n, WIDTH, WIDTH, seed + 4));
  tsr_value v = split_heads(t, dense(t, n, WIDTH, WIDTH, seed + 6));
  tsr_value a = join_heads(t, attention(t, q, k, v, 0.25));
  x = binary(t, TSR_OP_ADD, x, dense(t, a, WIDTH, WIDTH, seed + 8));
  n = layernorm(t, x, WIDTH, vector(t, WIDTH, seed + 10), vector(t, WIDTH, seed + 11));
  tsr_value h = gelu(t, dense(t, n, WIDTH, HIDDEN, seed + 12));
  return binary(t, TSR_OP_ADD, x, dense(t, h, HIDDEN, WIDTH, seed + 14));
}

START_TEST(transformer) {
  trial t;
  trial_begin(&t, 16);
  tsr_value x = trial_input_static(&t, TSR_F32, (int64_t[]){ROWS, WIDTH}, 2, -1, 1);
  trial_output(&t, layer(&t, layer(&t, x, 100), 200));
  check(&t, _i, "transformer");
}
END_TEST

int main(void) {
  Suite *suite = suite_create("cuda_models.models");
  TCase *tests = tcase_create("models");
  tcase_set_timeout(tests, 120);
  tcase_add_loop_test(tests, softmax_and_layernorm, 0, DEVICES);
  tcase_add_loop_test(tests, layernorm_of_half_floats, 0, DEVICES);
  tcase_add_loop_test(tests, convolutions, 0, DEVICES);
  tcase_add_loop_test(tests, contract, 0, CONTRACTIONS * DEVICES);
  tcase_add_loop_test(tests, large_contractions, 0, 2);
  tcase_add_loop_test(tests, attention_heads, 0, DEVICES);
  tcase_add_loop_test(tests, transformer, 0, DEVICES);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
