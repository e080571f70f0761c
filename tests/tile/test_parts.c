/* Products of f32 by bf16 parts against float64 and against multiply-adds on the same data. The
 * error of an element is |y - exact| over the sum of |a| |b|; its greatest and its root mean square
 * over all elements must not be above those of the plain kernel; where exponents are so far apart
 * that a sum is as good as one product, the mean by no more than what is left out of a product.
 * Values that cannot be split must give the plain kernel's bits. */
#include "tests/tile/tile_run.h"
#include <float.h>
#include <math.h>

enum { MOST = 1 << 16 };

/* --- data --- */

typedef enum kind { UNIFORM, POSITIVE, WIDE, CANCELLING, SPARSE, EXTREME, ANYTHING } kind;

static double uniform(uint64_t *seed) {
  *seed += 1;
  return tsr_random_float(*seed, 7);
}

/* 2 to an exponent from -most to most. */
static double scale_of(uint64_t *seed, int most) {
  return ldexp(1, (int)floor(uniform(seed) * most));
}

static float value_of(kind which, uint64_t *seed, int most) {
  const double x = uniform(seed);
  switch (which) {
  case POSITIVE:
    return (float)fabs(x);
  case WIDE:
    return (float)((1 + fabs(x)) * scale_of(seed, 20) * (x < 0 ? -1 : 1));
  case EXTREME:
    return (float)((1 + fabs(x)) * scale_of(seed, most) * (x < 0 ? -1 : 1));
  case SPARSE:
    return fabs(x) < 0.4 ? 0.0f : fabs(x) < 0.7 ? -0.0f : (float)x;
  default:
    return (float)x;
  }
}

/* A bit pattern of any exponent: subnormals, numbers near FLT_MAX; no NaN and no infinity. */
static float any_value(uint64_t *seed) {
  const uint32_t bits = (uint32_t)fabs(uniform(seed) * 4294967296.0);
  const uint32_t exponent = (uint32_t)fabs(uniform(seed) * 255.0);
  const uint32_t word = (bits & 0x807fffffu) | exponent << 23;
  float value;
  memcpy(&value, &word, sizeof value);
  return value;
}

/* --- one contraction --- */

/* [m, k] x [k, n], or a convolution of n images of `channels` over the window, whose weights are
 * its rows: the constant is b of the first, a of the second. */
typedef struct problem {
  int m, n, k; /* convolution: rows m, columns size * size, depth channels * window * window */
  int channels, size, window;
} problem;

static int64_t weight_count(const problem *p) {
  return p->window > 0 ? (int64_t)p->m * p->k : (int64_t)p->k * p->n;
}

static int64_t value_count(const problem *p) {
  return p->window > 0 ? (int64_t)p->channels * p->size * p->size : (int64_t)p->m * p->k;
}

static void fill(const problem *p, kind which, float *x, float *w) {
  uint64_t seed = (uint64_t)p->k * 1000 + (uint64_t)which * 77 + 1;
  const int64_t values = value_count(p), weights = weight_count(p);
  for (int64_t i = 0; i < weights; i++)
    w[i] = value_of(which, &seed, 39);
  for (int64_t i = 0; i < values; i++)
    x[i] = which == ANYTHING ? any_value(&seed) : value_of(which, &seed, 59);
  if (which == CANCELLING && p->window == 0)
    for (int k = 0; k + 1 < p->k; k += 2) {
      for (int i = 0; i < p->m; i++)
        x[i * p->k + k + 1] = x[i * p->k + k];
      for (int j = 0; j < p->n; j++)
        w[(k + 1) * p->n + j] = -w[k * p->n + j] * (1 + 0x1p-20f);
    }
}

static void exact(const problem *p, const float *x, const float *w, int row, int column,
                  double *out_sum, double *out_scale) {
  *out_sum = *out_scale = 0;
  for (int k = 0; k < p->k; k++) {
    double a, b;
    if (p->window == 0) {
      a = x[row * p->k + k];
      b = w[k * p->n + column];
    } else {
      const int area = p->window * p->window, c = k / area, i = k % area / p->window;
      const int y = column / p->size + i - p->window / 2;
      const int at = column % p->size + k % p->window - p->window / 2;
      const bool inside = y >= 0 && y < p->size && at >= 0 && at < p->size;
      a = w[row * p->k + k];
      b = inside ? x[(c * p->size + y) * p->size + at] : 0;
    }
    *out_sum += a * b;
    *out_scale += fabs(a * b);
  }
}

/* By this schedule, and without a variant by tiles. */
static void write_text(const problem *p, const char *schedule, char *out, size_t size) {
  size_t used = 0;
  if (schedule != NULL)
    used = (size_t)snprintf(
        out, size,
        "plan @p {\n schedule @k0 {strategy = \"contract\", %s}\n schedule @k0_1 {upto = 0}\n}\n",
        schedule);
  if (p->window == 0)
    snprintf(out + used, size - used,
             "graph @g {\n %%x = input {name = \"x\"} : f32[%d, %d]\n %%w = const {random = 1} : "
             "f32[%d, %d]\n %%y = block par(%%i in %d, %%j in %d) red(%%k in %d) {\n %%0 = load "
             "%%x[%%i, %%k] : f32\n %%1 = load %%w[%%k, %%j] : f32\n %%2 = mul %%0, %%1 : f32\n "
             "%%3 = reduce %%2 {combine = \"add\"} : f32\n store %%3, %%y[%%i, %%j]\n } : f32[%d, "
             "%d]\n output %%y {name = \"y\"}\n}\n",
             p->m, p->k, p->k, p->n, p->m, p->n, p->k, p->m, p->n);
  else
    snprintf(out + used, size - used,
             "graph @g {\n %%x = input {name = \"x\"} : f32[%d, %d, %d]\n %%w = const {random = 1} "
             ": f32[%d, %d, %d, %d]\n %%y = block par(%%o in %d, %%p in %d, %%q in %d) red(%%c in "
             "%d, %%i in %d, %%j in %d) {\n %%0 = load %%w[%%o, %%c, %%i, %%j] : f32\n %%1 = load "
             "%%x[%%c, %%p + %%i - %d, %%q + %%j - %d] : f32\n %%2 = mul %%0, %%1 : f32\n %%3 = "
             "reduce %%2 {combine = \"add\"} : f32\n store %%3, %%y[%%o, %%p, %%q]\n } : f32[%d, "
             "%d, %d]\n output %%y {name = \"y\"}\n}\n",
             p->channels, p->size, p->size, p->m, p->channels, p->window, p->window, p->m, p->size,
             p->size, p->channels, p->window, p->window, p->window / 2, p->window / 2, p->m,
             p->size, p->size);
}

/* --- running it --- */

typedef struct machine_kind {
  const char *target, *atom;
} machine_kind;

static const machine_kind machines[] = {
    {":x86-64-v4+bf16", "dot.bf16x3"},
    {":x86-64-v4+bf16+amx-bf16+amx-emulated", "amx.bf16x3"},
    {":x86-64-v4+bf16+amx-bf16+amx-emulated", "fma.bf16x3"},
};
enum { BY_VECTORS, BY_TILES, BY_MULTIPLY_ADDS, MACHINES };

static bool open_target(const char *text, unsigned threads, tsr_cpu_isa *out_isa,
                        tsr_target *out_target) {
  const tsr_cpu_caches small = {2048, 8192, 65536, 64};
  tsr_cpu_isa host;
  tsr_diag diag = {0};
  tsr_cpu_isa_host(&host);
  ck_assert_int_eq(tsr_cpu_isa_parse(text, &diag, out_isa), TSR_OK);
  if (!tsr_cpu_isa_covers(&host, out_isa)) {
    printf("SKIP cpu%s: this machine does not run it\n", text);
    return false;
  }
  tsr_target_cpu(tsr_cpu_isa_features(out_isa), &small, threads, out_target);
  out_target->bf16_parts = true;
  return true;
}

/* The const op gets these bytes. */
static void set_weights(tsr_ir *ir, const float *weights, int64_t count) {
  TSR_FOR_EACH_OP (ir, tsr_op_get(ir, graph_of(ir))->regions[0], op)
    if (tsr_op_get(ir, op)->code == TSR_OP_CONST) {
      const uint32_t data =
          tsr_const_add(ir, TSR_F32, weights, (uint64_t)count * sizeof *weights, false);
      tsr_op_remove_attr(ir, op, "random");
      tsr_op_set_int(ir, op, "data", (int64_t)data);
    }
}

/* The parts that a contract multiplies: the first subscript of the copy, that behind the panel of
 * the constant. */
static bool multiplies(const tsr_ir *ir, const tsr_op_data *data, const int *parts) {
  bool found[2] = {false, false};
  for (int i = 0; i < 2; i++) {
    const tsr_operand *operand = &data->operands[i];
    const bool copy = tsr_value_type(ir, operand->value)->level == TSR_LEVEL_L2;
    found[i] = operand->subscripted &&
               tsr_expr_equals_int(ir, operand->subscripts[copy ? 0 : 1], parts[i]);
  }
  return found[0] && found[1];
}

/* A planted bug: these contracts are left out. Returns how many. */
static int drop_products(tsr_ir *ir, tsr_region region, const int *parts) {
  int dropped = 0;
  for (tsr_op op = tsr_region_get(ir, region)->first, next; op != 0; op = next) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    next = data->next;
    for (uint32_t i = 0; i < data->region_count; i++)
      dropped += drop_products(ir, data->regions[i], parts);
    if (data->code != TSR_OP_CONTRACT || strncmp(tsr_op_string(ir, op, "atom"), "fma", 3) == 0 ||
        !multiplies(ir, data, parts))
      continue;
    tsr_value_replace_all(ir, data->results[0], data->operands[2].value);
    tsr_op_erase(ir, op);
    dropped++;
  }
  return dropped;
}

static void run_tiled(tiled *t, const float *x, float *out, int64_t count) {
  tensor *tensors = calloc(tsr_value_count(t->ir) + 1, sizeof *tensors);
  const int64_t dims[1] = {0};
  TSR_FOR_EACH_OP (t->ir, tsr_op_get(t->ir, t->graph)->regions[0], op) {
    const tsr_op_data *data = tsr_op_get(t->ir, op);
    const void *bytes = x;
    uint64_t size = 0;
    tsr_diag diag = {0};
    if (data->code == TSR_OP_LAUNCH)
      run_launch(t, op, tensors, dims);
    else if (data->code == TSR_OP_OUTPUT)
      memcpy(out, tensors[data->operands[0].value].data, (size_t)count * sizeof *out);
    if (data->code != TSR_OP_CONST && data->code != TSR_OP_INPUT && data->code != TSR_OP_RESHAPE)
      continue;
    tensor *made = &tensors[data->results[0]];
    *made = new_tensor(t, data->results[0], dims);
    if (data->code == TSR_OP_CONST)
      ck_assert_int_eq(tsr_const_bytes(t->ir, op, &t->arena, &diag, &bytes, &size), TSR_OK);
    else if (data->code == TSR_OP_RESHAPE)
      bytes = tensors[data->operands[0].value].data;
    memcpy(made->data, bytes, made->bytes);
  }
  for (uint32_t i = 0; i <= tsr_value_count(t->ir); i++)
    free_before_trap(tensors[i].data, tensors[i].bytes);
  free(tensors);
}

/* `dropped`: the parts of the product that is left out, or NULL. */
static void open_problem(const problem *p, const char *schedule, const machine_kind *on,
                         const float *w, const int *dropped, tiled *t) {
  char text[4096];
  tsr_cpu_isa isa;
  tsr_target target;
  tsr_diag diag = {0};
  *t = (tiled){0};
  ck_assert(open_target(on->target, p->n % 2 ? 4 : 1, &isa, &target));
  write_text(p, schedule, text, sizeof text);
  t->ir = parse_text(text);
  tsr_arena_init(&t->arena, tsr_allocator_default());
  set_weights(t->ir, w, weight_count(p));
  const tsr_plan_source plan = {.ir = t->ir, .plan = plan_of(t->ir)};
  if (tsr_pass_tile(t->ir, &target, &plan, &diag) != TSR_OK)
    fail_with(&diag, text);
  if (dropped != NULL)
    TSR_FOR_EACH_OP (t->ir, tsr_ir_top(t->ir), op)
      if (tsr_op_get(t->ir, op)->code == TSR_OP_KERNEL)
        ck_assert_int_ge(drop_products(t->ir, tsr_op_get(t->ir, op)->regions[0], dropped), 1);
  tiled_compile(t, &isa, &target);
}

static void run(const problem *p, const char *schedule, const machine_kind *on, const float *x,
                const float *w, const int *dropped, float *out) {
  tiled t;
  open_problem(p, schedule, on, w, dropped, &t);
  run_tiled(&t, x, out, (int64_t)p->m * p->n);
  tiled_close(&t);
}

/* --- errors --- */

typedef struct errors {
  double most, mean; /* mean: root mean square */
} errors;

static errors errors_of(const problem *p, const float *x, const float *w, const float *y) {
  errors e = {0};
  for (int i = 0; i < p->m; i++)
    for (int j = 0; j < p->n; j++) {
      double sum, scale;
      exact(p, x, w, i, j, &sum, &scale);
      const double error = scale == 0 ? fabs(y[i * p->n + j]) : fabs(y[i * p->n + j] - sum) / scale;
      e.most = error > e.most || isnan(error) ? error : e.most;
      e.mean += error * error;
    }
  e.mean = sqrt(e.mean / ((double)p->m * p->n));
  return e;
}

static bool same_bits(const float *a, const float *b) {
  return (isnan(*a) && isnan(*b)) || memcmp(a, b, sizeof *a) == 0;
}

static const problem problems[] = {
    {.m = 45, .n = 75, .k = 70},
    {.m = 16, .n = 16, .k = 64},
    {.m = 37, .n = 40, .k = 257},
    {.m = 5, .n = 33, .k = 1000},
    {.m = 20, .n = 81, .k = 72, .channels = 8, .size = 9, .window = 3},
    {.m = 33, .n = 64, .k = 96, .channels = 96, .size = 8, .window = 1}};
enum { PROBLEMS = sizeof problems / sizeof *problems };

static const char *const plain = "atom = \"fma.f32\", kc = 0";

static const char *schedule_of(const problem *p, int by, char *out, size_t size) {
  const bool window = p->window > 0;
  const int nc = window ? p->size * (p->size == 8 ? 4 : p->size) : by == BY_TILES ? 64 : 96;
  snprintf(out, size,
           "atom = \"%s\", mr = %d, nr = 32, mc = %d, nc = %d, kc = 0, pack_a = %d, pack_b = %d, "
           "outer = 1, unroll = 4",
           machines[by].atom, by == BY_TILES ? 16 : 5, by == BY_TILES ? 32 : 10, nc, !window,
           window);
  return out;
}

static float *data[4]; /* x, w, y, y of the plain kernel */

static void check_errors(const problem *p, kind which, int by) {
  char schedule[256];
  tsr_cpu_isa isa;
  tsr_target target;
  if (!open_target(machines[by].target, 1, &isa, &target))
    return;
  fill(p, which, data[0], data[1]);
  run(p, schedule_of(p, by, schedule, sizeof schedule), &machines[by], data[0], data[1], NULL,
      data[2]);
  run(p, plain, &machines[by], data[0], data[1], NULL, data[3]);
  const errors parts = errors_of(p, data[0], data[1], data[2]);
  const errors whole = errors_of(p, data[0], data[1], data[3]);
  /* The root mean square of what is left out of one product is 2^-27.5 of it; the greatest error of
   * sums that are one product is chance. */
  const bool few = which == EXTREME;
  if (!(few ? parts.mean <= whole.mean + 0x1p-27
            : parts.most <= whole.most && parts.mean <= whole.mean))
    ck_abort_msg("%s, kind %d, depth %d: most %g of %g, mean %g of %g", machines[by].atom,
                 (int)which, p->k, parts.most, whole.most, parts.mean, whole.mean);
}

START_TEST(no_worse) {
  for (int i = _i % TEST_SHARE; i < PROBLEMS; i += TEST_SHARE)
    check_errors(&problems[i], (kind)(_i / 2), _i % 2);
}
END_TEST

/* --- the guard --- */

/* Rows of the first problem: the block that holds `row` is multiplied as it is, the others are
 * split, which shows in other bits somewhere. */
static void check_block(tiled *parts, tiled *whole, int by, float odd, int row, bool fits) {
  const problem *p = &problems[0];
  const int rows = by == BY_TILES ? 32 : 10;
  const float before = data[0][row * p->k + 69];
  int others = 0;
  data[0][row * p->k + 69] = odd;
  run_tiled(parts, data[0], data[2], (int64_t)p->m * p->n);
  run_tiled(whole, data[0], data[3], (int64_t)p->m * p->n);
  for (int i = 0; i < p->m * p->n; i++) {
    const bool same = same_bits(&data[2][i], &data[3][i]);
    const bool own = i / p->n / rows == row / rows;
    if (own && !fits && !same)
      ck_abort_msg("%s, %g: element %d is %.9g, not %.9g", machines[by].atom, (double)odd, i,
                   (double)data[2][i], (double)data[3][i]);
    others += !same && (!own || fits);
  }
  if (by == BY_MULTIPLY_ADDS ? others != 0 : others == 0)
    ck_abort_msg("%s, %g: %d elements of other blocks differ", machines[by].atom, (double)odd,
                 others);
  if (fits && errors_of(p, data[0], data[1], data[2]).most >= 0x1p-22)
    ck_abort_msg("%s, %g: far off", machines[by].atom, (double)odd);
  data[0][row * p->k + 69] = before;
}

START_TEST(guard) {
  static const struct {
    float odd;
    bool fits;
  } cases[] = {{INFINITY, false},     {-INFINITY, false}, {NAN, false},        {FLT_MAX, false},
               {-0x1.fep127f, false}, {0x1p-149f, false}, {-0x1p-127f, false}, {0x1p-61f, false},
               {0x1.8p60f, false},    {0x1p60f, true},    {-0x1p-60f, true},   {0, true},
               {-0.0f, true}};
  const problem *p = &problems[0];
  char schedule[256];
  tsr_cpu_isa isa;
  tsr_target target;
  tiled parts, whole;
  if (!open_target(machines[_i].target, 1, &isa, &target))
    return;
  fill(p, UNIFORM, data[0], data[1]);
  open_problem(p, schedule_of(p, _i, schedule, sizeof schedule), &machines[_i], data[1], NULL,
               &parts);
  open_problem(p, plain, &machines[_i], data[1], NULL, &whole);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    check_block(&parts, &whole, _i, cases[i].odd, i % 2 == 0 ? 0 : 33, cases[i].fits);
  tiled_close(&parts);
  tiled_close(&whole);
}
END_TEST

/* Values of all exponents under weights in range, products that overflow: the plain kernel's bits.
 */
START_TEST(any_exponent) {
  for (int i = _i % TEST_SHARE; i < PROBLEMS; i += TEST_SHARE) {
    const problem *p = &problems[i];
    char schedule[256];
    tsr_cpu_isa isa;
    tsr_target target;
    if (!open_target(machines[_i].target, 1, &isa, &target))
      return;
    fill(p, ANYTHING, data[0], data[1]);
    run(p, schedule_of(p, _i, schedule, sizeof schedule), &machines[_i], data[0], data[1], NULL,
        data[2]);
    /* Taps change the order of a plain convolution's sums. */
    const int as_is = BY_MULTIPLY_ADDS;
    if (p->window > 1 && open_target(machines[as_is].target, 1, &isa, &target))
      run(p, schedule_of(p, as_is, schedule, sizeof schedule), &machines[as_is], data[0], data[1],
          NULL, data[3]);
    else
      run(p, plain, &machines[_i], data[0], data[1], NULL, data[3]);
    for (int k = 0; k < p->m * p->n; k++)
      if (!same_bits(&data[2][k], &data[3][k]))
        ck_abort_msg("%s, problem %d: element %d is %.9g, not %.9g", machines[_i].atom, i, k,
                     (double)data[2][k], (double)data[3][k]);
  }
}
END_TEST

/* --- that the bound sees what it should --- */

START_TEST(dropped_product) {
  static const int parts[][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}, {0, 2}, {2, 0}};
  const problem *p = &problems[_i / 2 * 4];
  char schedule[256];
  tsr_cpu_isa isa;
  tsr_target target;
  if (!open_target(machines[_i % 2].target, 1, &isa, &target))
    return;
  fill(p, UNIFORM, data[0], data[1]);
  run(p, plain, &machines[_i % 2], data[0], data[1], NULL, data[3]);
  const errors whole = errors_of(p, data[0], data[1], data[3]);
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    run(p, schedule_of(p, _i % 2, schedule, sizeof schedule), &machines[_i % 2], data[0], data[1],
        parts[i], data[2]);
    const errors less = errors_of(p, data[0], data[1], data[2]);
    if (!(less.most > whole.most && less.mean > whole.mean))
      ck_abort_msg("%s without %d %d: most %g of %g, mean %g of %g", machines[_i % 2].atom,
                   parts[i][0], parts[i][1], less.most, whole.most, less.mean, whole.mean);
  }
}
END_TEST

/* --- around the product --- */

/* Passes through the depth, rows that nobody knows, several products, code before and behind them,
 * a constant that is turned. */
static void check_around(int by, const char *knobs, int64_t rows) {
  char text[4096];
  tsr_cpu_isa isa;
  tsr_target target;
  const int64_t dims[1] = {rows};
  if (!open_target(machines[by].target, 1, &isa, &target))
    return;
  snprintf(text, sizeof text,
           "dim M in 0..128 hint 64\nplan @p {\n schedule @k0 {strategy = \"contract\", atom = "
           "\"%s\", %s}\n}\ngraph @g {\n %%x = input {name = \"x\"} : f32[3, M, 160]\n %%w = const "
           "{random = 5} : f32[3, 75, 160]\n %%c = input {name = \"c\"} : f32[75]\n %%y = block "
           "par(%%b in 3, %%i in M, %%j in 75) red(%%k in 160) {\n %%0 = load %%x[%%b, %%i, %%k] : "
           "f32\n %%1 = load %%w[%%b, %%j, %%k] : f32\n %%2 = abs %%0 : f32\n %%3 = mul %%2, %%1 : "
           "f32\n %%4 = reduce %%3 {combine = \"add\"} : f32\n %%5 = load %%c[%%j] : f32\n %%6 = "
           "add %%4, %%5 : f32\n %%7 = const {value = 0} : f32\n %%8 = max %%6, %%7 : f32\n store "
           "%%8, %%y[%%b, %%i, %%j]\n } : f32[3, M, 75]\n output %%y {name = \"y\"}\n}\n",
           machines[by].atom, knobs);
  check_text(text, dims, 1, &isa, &target);
}

START_TEST(around) {
  static const char *const others[] = {
      "mr = 5, nr = 48, mc = 10, nc = 48, kc = 32, pack_a = 1, pack_b = 0, outer = 1",
      "mr = 4, nr = 32, mc = 28, nc = 96, kc = 0, pack_a = 1, pack_b = 0, outer = 0, unroll = 1"};
  static const char *const tiles[] = {
      "mr = 32, nr = 32, mc = 32, nc = 64, kc = 32, pack_a = 1, pack_b = 0, outer = 1",
      "mr = 16, nr = 16, mc = 48, nc = 96, kc = 0, pack_a = 1, pack_b = 0, outer = 0"};
  for (int i = 0; i < 2; i++)
    check_around(_i, _i == BY_TILES ? tiles[i] : others[i], 1 + 36 * i + _i);
}
END_TEST

/* Images of 7 x 7, whose pixels become the rows. */
START_TEST(across) {
  static const char text[] =
      "graph @g {\n %x = input {name = \"x\"} : f32[192, 49]\n %w = const {random = 5} : f32[64, "
      "192]\n %y = block par(%o in 64, %p in 49) red(%c in 192) {\n %0 = load %w[%o, %c] : f32\n "
      "%1 = load %x[%c, %p] : f32\n %2 = mul %0, %1 : f32\n %3 = reduce %2 {combine = \"add\"} : "
      "f32\n store %3, %y[%o, %p]\n } : f32[64, 49]\n output %y {name = \"y\"}\n}\n";
  char whole[2048];
  tsr_cpu_isa isa;
  tsr_target target;
  if (!open_target(machines[_i].target, 1, &isa, &target))
    return;
  snprintf(
      whole, sizeof whole,
      "plan @p {\n schedule @k0 {strategy = \"contract\", atom = \"%s\", mr = %d, nr = 32, mc = "
      "%d, nc = 64, kc = 0, pack_a = 1, pack_b = 0, outer = 1, unroll = 2}\n}\n%s",
      machines[_i].atom, _i == BY_TILES ? 32 : 7, _i == BY_TILES ? 64 : 14, text);
  check_text(whole, NULL, 0, &isa, &target);
}
END_TEST

/* --- which schedules there are --- */

static tsr_status status_of(const problem *p, int by, float odd_weight, bool strict,
                            const char *more) {
  char schedule[256], text[4096];
  tsr_cpu_isa isa;
  tsr_target target;
  tsr_diag diag = {0};
  if (!open_target(machines[by].target, 1, &isa, &target))
    return TSR_ERR_UNSUPPORTED;
  target.bf16_parts = !strict;
  schedule_of(p, by, schedule, sizeof schedule);
  strncat(schedule, more, sizeof schedule - strlen(schedule) - 1);
  write_text(p, schedule, text, sizeof text);
  fill(p, UNIFORM, data[0], data[1]);
  data[1][weight_count(p) - 1] = odd_weight;
  tsr_ir *ir = parse_text(text);
  set_weights(ir, data[1], weight_count(p));
  const tsr_plan_source plan = {.ir = ir, .plan = plan_of(ir)};
  const tsr_status status = tsr_pass_tile(ir, &target, &plan, &diag);
  tsr_ir_destroy(ir);
  return status;
}

START_TEST(legality) {
  static const float bad[] = {NAN, INFINITY, -FLT_MAX, 0x1p-140f, 0x1p-41f, -0x1.1p40f};
  static const float good[] = {0, -0.0f, 1, 0x1p40f, -0x1p-40f};
  for (int i = 0; i < PROBLEMS; i += 4) {
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
      ck_assert_int_eq(status_of(&problems[i], _i, bad[k], false, ""), TSR_ERR_ARGUMENT);
    for (size_t k = 0; k < sizeof good / sizeof *good; k++)
      ck_assert_int_eq(status_of(&problems[i], _i, good[k], false, ""), TSR_OK);
    ck_assert_int_eq(status_of(&problems[i], _i, 1, true, ""), TSR_ERR_ARGUMENT);
  }
  const problem shallow = {.m = 32, .n = 32, .k = 63};
  ck_assert_int_eq(status_of(&shallow, _i, 1, false, ""), TSR_ERR_ARGUMENT);
}
END_TEST

/* Two blocks of one kind are one kernel where both constants can be split. */
START_TEST(shared_kernels) {
  static const char *const weights[] = {"random = 2", "value = 1e-30"};
  const problem p = problems[0];
  char schedule[256], text[4096];
  tsr_cpu_isa isa;
  tsr_target target;
  if (!open_target(machines[_i].target, 1, &isa, &target))
    return;
  for (int odd = 0; odd < 2; odd++) {
    tsr_diag diag = {0};
    int kernels = 0, split = 0;
    const size_t used = (size_t)snprintf(
        text, sizeof text,
        "plan @p {\n schedule @k0 {strategy = \"contract\", %s}\n schedule @k0_1 {upto = 0}\n}\n"
        "graph @g {\n %%x = input {name = \"x\"} : f32[45, 70]\n",
        schedule_of(&p, _i, schedule, sizeof schedule));
    size_t at = used;
    for (int i = 0; i < 2; i++)
      at += (size_t)snprintf(
          text + at, sizeof text - at,
          " %%w%d = const {%s} : f32[70, 75]\n %%y%d = block par(%%i in 45, %%j in 75) red(%%k in "
          "70) {\n %%0 = load %%x[%%i, %%k] : f32\n %%1 = load %%w%d[%%k, %%j] : f32\n %%2 = mul "
          "%%0, %%1 : f32\n %%3 = reduce %%2 {combine = \"add\"} : f32\n store %%3, %%y%d[%%i, "
          "%%j]\n } : f32[45, 75]\n output %%y%d {name = \"y%d\"}\n",
          i, i == 0 ? "random = 1" : weights[odd], i, i, i, i, i);
    snprintf(text + at, sizeof text - at, "}\n");
    tsr_ir *ir = parse_text(text);
    const tsr_plan_source plan = {.ir = ir, .plan = plan_of(ir)};
    if (tsr_pass_tile(ir, &target, &plan, &diag) != TSR_OK)
      fail_with(&diag, text);
    TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op)
      kernels += tsr_op_get(ir, op)->code == TSR_OP_KERNEL;
    TSR_FOR_EACH_OP (ir, tsr_op_get(ir, graph_of(ir))->regions[0], op)
      split += tsr_op_get(ir, op)->code == TSR_OP_RELAYOUT && tsr_op_int(ir, op, "parts", -1) >= 0;
    ck_assert_int_eq(kernels, 1 + odd);
    ck_assert_int_eq(split, 2 - odd);
    tsr_ir_destroy(ir);
  }
}
END_TEST

int main(void) {
  for (int i = 0; i < 4; i++)
    data[i] = calloc(MOST, sizeof **data);
  Suite *suite = suite_create("parts");
  TCase *tcase = tcase_create("parts");
  tcase_set_timeout(tcase, 200);
  tcase_add_loop_test(tcase, no_worse, 0, 2 * ANYTHING);
  tcase_add_loop_test(tcase, guard, 0, MACHINES);
  tcase_add_loop_test(tcase, any_exponent, 0, MACHINES);
  tcase_add_loop_test(tcase, dropped_product, 0, 4);
  tcase_add_loop_test(tcase, around, 0, MACHINES);
  tcase_add_loop_test(tcase, across, 0, MACHINES);
  tcase_add_loop_test(tcase, legality, 0, MACHINES);
  tcase_add_loop_test(tcase, shared_kernels, 0, MACHINES);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  const int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  for (int i = 0; i < 4; i++)
    free(data[i]);
  return failed != 0;
}
