/* Every math function on every level this machine runs against libm, in units of the last place:
 * float against double, double against 80-bit long double. The samples are all magnitudes (bit
 * patterns at a stride), the ranges where functions bend, and every pair of special values.
 * TESSERA_TEST_STRIDE makes the float sweep finer. */
#include "tests/codegen_cpu/jit.h"
#include <float.h>
#include <math.h>

typedef long double (*reference)(long double a, long double b);

#define UNARY(name, call)                                                                          \
  static long double name(long double a, long double b) {                                          \
    (void)b;                                                                                       \
    return call;                                                                                   \
  }
UNARY(ref_abs, fabsl(a))
UNARY(ref_floor, floorl(a))
UNARY(ref_ceil, ceill(a))
UNARY(ref_trunc, truncl(a))
UNARY(ref_round, rintl(a))
UNARY(ref_sqrt, sqrtl(a))
UNARY(ref_rsqrt, 1 / sqrtl(a))
UNARY(ref_exp, expl(a))
UNARY(ref_expm1, expm1l(a))
UNARY(ref_log, logl(a))
UNARY(ref_log1p, log1pl(a))
UNARY(ref_sin, sinl(a))
UNARY(ref_cos, cosl(a))
UNARY(ref_tan, tanl(a))
UNARY(ref_asin, asinl(a))
UNARY(ref_acos, acosl(a))
UNARY(ref_atan, atanl(a))
UNARY(ref_sinh, sinhl(a))
UNARY(ref_cosh, coshl(a))
UNARY(ref_tanh, tanhl(a))
UNARY(ref_asinh, asinhl(a))
UNARY(ref_acosh, acoshl(a))
UNARY(ref_atanh, atanhl(a))
UNARY(ref_erf, erfl(a))

static long double ref_copysign(long double a, long double b) {
  return copysignl(a, b);
}
/* powl(-inf, -2^63) of glibc 2.36 is wrong; where a special value decides, pow is exact. */
static long double ref_pow(long double a, long double b) {
  if (!isfinite(a) || !isfinite(b) || a == 0)
    return pow((double)a, (double)b);
  return powl(a, b);
}
static long double ref_fmod(long double a, long double b) {
  return fmodl(a, b);
}

static const reference references[TSR_MATH_COUNT] = {
    [TSR_MATH_ABS] = ref_abs,     [TSR_MATH_COPYSIGN] = ref_copysign, [TSR_MATH_FLOOR] = ref_floor,
    [TSR_MATH_CEIL] = ref_ceil,   [TSR_MATH_TRUNC] = ref_trunc,       [TSR_MATH_ROUND] = ref_round,
    [TSR_MATH_SQRT] = ref_sqrt,   [TSR_MATH_RSQRT] = ref_rsqrt,       [TSR_MATH_EXP] = ref_exp,
    [TSR_MATH_EXPM1] = ref_expm1, [TSR_MATH_LOG] = ref_log,           [TSR_MATH_LOG1P] = ref_log1p,
    [TSR_MATH_SIN] = ref_sin,     [TSR_MATH_COS] = ref_cos,           [TSR_MATH_TAN] = ref_tan,
    [TSR_MATH_ASIN] = ref_asin,   [TSR_MATH_ACOS] = ref_acos,         [TSR_MATH_ATAN] = ref_atan,
    [TSR_MATH_SINH] = ref_sinh,   [TSR_MATH_COSH] = ref_cosh,         [TSR_MATH_TANH] = ref_tanh,
    [TSR_MATH_ASINH] = ref_asinh, [TSR_MATH_ACOSH] = ref_acosh,       [TSR_MATH_ATANH] = ref_atanh,
    [TSR_MATH_ERF] = ref_erf,     [TSR_MATH_POW] = ref_pow,           [TSR_MATH_FMOD] = ref_fmod,
};

static const double bounds[TSR_MATH_COUNT][2] = {
#define BOUND(name, text, operands, ulp_f32, ulp_f64) {ulp_f32, ulp_f64},
    TSR_MATH_LIST(BOUND)
#undef BOUND
};

enum { BATCH = 4096 };

/* One function on one target and type: samples are gathered, run and compared in batches. */
typedef struct sweep {
  const char *target;
  tsr_math_fn fn;
  bool is_f64;
  jit_function function, scalar;
  unsigned lanes;
  double a[BATCH], b[BATCH]; /* floats when not is_f64 */
  double out[BATCH], out_scalar[BATCH];
  unsigned count;
  double worst;
  long double worst_a, worst_b;
} sweep;

static long double element(const sweep *s, const double *array, unsigned i) {
  if (s->is_f64)
    return array[i];
  float value;
  memcpy(&value, (const char *)array + i * sizeof value, sizeof value);
  return value;
}

static bool same(long double x, long double y) {
  return (isnan(x) && isnan(y)) || (x == y && !signbit(x) == !signbit(y));
}

/* The distance of adjacent numbers of the type at `x`. */
static long double unit(bool is_f64, long double x) {
  int exponent = 0;
  (void)frexpl(x, &exponent);
  int least = is_f64 ? -1021 : -125;
  return ldexpl(1, (exponent < least ? least : exponent) - (is_f64 ? 53 : 24));
}

/* Beyond the largest number, infinity stands for the next power of two. */
static double ulps(bool is_f64, long double got, long double want) {
  long double largest = is_f64 ? DBL_MAX : FLT_MAX;
  if (isnan(got) || isnan(want))
    return isnan(got) && isnan(want) ? 0 : HUGE_VAL;
  long double rounded = is_f64 ? (long double)(double)want : (long double)(float)want;
  if (got == rounded)
    return same(got, rounded) || got != 0 ? (double)0 : HUGE_VAL;
  if (isinf(got) && fabsl(want) > largest / 2 && signbit(got) == signbit(want))
    got = copysignl(ldexpl(1, is_f64 ? 1024 : 128), got);
  if (isinf(want))
    want = copysignl(ldexpl(1, is_f64 ? 1024 : 128), want);
  return (double)(fabsl(got - want) / unit(is_f64, want));
}

static void flush(sweep *s) {
  if (s->count == 0)
    return;
  for (unsigned i = s->count; i < BATCH; i++)
    memcpy((char *)s->a + i * (s->is_f64 ? 8 : 4), s->a, s->is_f64 ? 8 : 4),
        memcpy((char *)s->b + i * (s->is_f64 ? 8 : 4), s->b, s->is_f64 ? 8 : 4);
  s->function(s->a, s->b, s->out, BATCH / s->lanes);
  s->scalar(s->a, s->b, s->out_scalar, s->count);
  for (unsigned i = 0; i < s->count; i++) {
    long double a = element(s, s->a, i), b = element(s, s->b, i), got = element(s, s->out, i);
    if (!same(got, element(s, s->out_scalar, i)))
      ck_abort_msg("%s %s%s(%.21Lg, %.21Lg): vector %.21Lg, scalar %.21Lg", s->target,
                   tsr_math_text(s->fn), s->is_f64 ? "" : "f", a, b, got,
                   element(s, s->out_scalar, i));
    double error = ulps(s->is_f64, got, references[s->fn](a, b));
    if (error > s->worst) {
      s->worst = error;
      s->worst_a = a;
      s->worst_b = b;
    }
  }
  s->count = 0;
}

static void sample(sweep *s, double a, double b) {
  if (s->is_f64) {
    s->a[s->count] = a;
    s->b[s->count] = b;
  } else {
    float narrow[2] = {(float)a, (float)b};
    memcpy((char *)s->a + s->count * sizeof(float), &narrow[0], sizeof(float));
    memcpy((char *)s->b + s->count * sizeof(float), &narrow[1], sizeof(float));
  }
  if (++s->count == BATCH)
    flush(s);
}

static const double specials[] = {0.0,
                                  0.25,
                                  0.5,
                                  1.0,
                                  1.5,
                                  2.0,
                                  2.5,
                                  3.0,
                                  3.5,
                                  4.0,
                                  5.0,
                                  7.0,
                                  10.0,
                                  0.999999940395355224609375,
                                  1.00000011920928955078125,
                                  0x1.fffffffffffffp-1,
                                  0x1.0000000000001p+0,
                                  0x1p-149,
                                  0x1.8p-140,
                                  0x1p-126,
                                  0x1.fffffcp-127,
                                  0x1p-1074,
                                  0x1.8p-1060,
                                  0x1p-1022,
                                  0x0.fffffffffffffp-1022,
                                  FLT_MAX,
                                  DBL_MAX,
                                  0x1p23,
                                  0x1.000002p23,
                                  0x1p24,
                                  0x1p52,
                                  0x1.0000000000001p52,
                                  0x1p53,
                                  0x1p63,
                                  0x1p31,
                                  0x1p100,
                                  0x1p127,
                                  0x1p1023,
                                  88.72283,
                                  88.7229,
                                  103.97,
                                  104.1,
                                  87.33654,
                                  709.782712893384,
                                  709.782712893385,
                                  745.13,
                                  745.14,
                                  708.39,
                                  710.4758600739439,
                                  36.7,
                                  1.57079632679489661923,
                                  3.14159265358979323846,
                                  6.2831853071795864769,
                                  1.5707963705062866,
                                  3.1415927410125732,
                                  1e10,
                                  1e22,
                                  1e300,
                                  6381956970095103.0 * 0x1p797,
                                  0.70710678118654752440,
                                  1.41421356237309504880,
                                  0.41421356237309503,
                                  2.414213562373095,
                                  3.92,
                                  5.95,
                                  9.02,
                                  22.0,
                                  (double)INFINITY,
                                  (double)NAN};
enum { SPECIALS = sizeof specials / sizeof *specials };

static double special(unsigned i) {
  return i < SPECIALS ? specials[i] : -specials[i - SPECIALS];
}

static void sample_specials(sweep *s) {
  for (unsigned i = 0; i < 2 * SPECIALS; i++)
    for (unsigned k = 0; k < (tsr_math_operands(s->fn) == 2 ? 2 * SPECIALS : 1); k++)
      sample(s, special(i), special(k));
}

static double from_bits(bool is_f64, uint64_t bits) {
  if (is_f64) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
  }
  uint32_t low = (uint32_t)bits;
  float value;
  memcpy(&value, &low, sizeof value);
  return (double)value;
}

static uint64_t stride(void) {
  const char *text = getenv("TESSERA_TEST_STRIDE");
  uint64_t value = text ? strtoull(text, NULL, 10) : 0;
  return value ? value : 16411;
}

static double between(uint64_t *state, double low, double high) {
  return low + (high - low) * ((double)(jit_random(state) >> 11) * 0x1p-53);
}

/* For pow the exponent that brings the result into the range of the type, and a little beyond. */
static double partner(sweep *s, uint64_t *state, double a, uint64_t bits) {
  double log_a = log2(fabs(a));
  if (s->fn != TSR_MATH_POW || (bits & 3) == 0 || !isfinite(log_a) || log_a == 0)
    return from_bits(s->is_f64, jit_random(state));
  double y = between(state, -1, 1) * (s->is_f64 ? 1080 : 150) / log_a;
  return (bits & 3) == 1 ? rint(y) : y;
}

static void sample_all(sweep *s) {
  static const double ranges[][2] = {{-0.6, 0.6}, {0.4, 2.5},  {-2, 2},           {-12, 12},
                                     {-110, 110}, {-800, 800}, {-100000, 100000}, {-3e6, 3e6}};
  uint64_t state = 88172645463325252u;
  sample_specials(s);
  if (!s->is_f64 && tsr_math_operands(s->fn) == 1)
    for (uint64_t bits = 0; bits <= UINT32_MAX; bits += stride())
      sample(s, from_bits(false, bits), 0);
  for (unsigned i = 0; i < 60000; i++) {
    double a = from_bits(s->is_f64, jit_random(&state));
    sample(s, a, partner(s, &state, a, jit_random(&state)));
  }
  for (unsigned k = 0; k < sizeof ranges / sizeof *ranges; k++)
    for (unsigned i = 0; i < 10000; i++) {
      double a = between(&state, ranges[k][0], ranges[k][1]);
      sample(s, a, k & 1 ? between(&state, -20, 20) : partner(s, &state, a, 1 + i % 3));
    }
  flush(s);
}

static LLVMValueRef body(const tsr_math *math, LLVMValueRef a, LLVMValueRef b, const void *user) {
  tsr_math_fn fn = *(const tsr_math_fn *)user;
  return tsr_math_emit(math, fn, a, tsr_math_operands(fn) == 2 ? b : NULL);
}

static void check_function(const char *target, tsr_math_fn fn, bool is_f64) {
  sweep *s = calloc(1, sizeof *s);
  jit j;
  ck_assert_ptr_nonnull(s);
  jit_begin(&j, target);
  LLVMTypeRef type =
      is_f64 ? LLVMDoubleTypeInContext(j.context) : LLVMFloatTypeInContext(j.context);
  s->target = target;
  s->fn = fn;
  s->is_f64 = is_f64;
  s->lanes = tsr_cpu_isa_lanes(&j.target->isa, is_f64 ? 64 : 32);
  jit_map(&j, "vector", type, type, s->lanes, body, &fn);
  jit_map(&j, "scalar", type, type, 0, body, &fn);
  jit_finish(&j);
  s->function = jit_entry(&j, "vector");
  s->scalar = jit_entry(&j, "scalar");
  sample_all(s);
  printf("%-13s %s%-9s worst %.3f ulp at (%.17Lg, %.17Lg)\n", target, is_f64 ? "f64 " : "f32 ",
         tsr_math_text(fn), s->worst, s->worst_a, s->worst_b);
  double bound = bounds[fn][is_f64];
  if (bound > 0.5 && !j.target->isa.has_fma)
    bound += 0.5;
  ck_assert_msg(s->worst <= bound, "%s %s%s: %.3f ulp at (%.21Lg, %.21Lg), bound %g", target,
                tsr_math_text(fn), is_f64 ? "" : "f", s->worst, s->worst_a, s->worst_b, bound);
  jit_end(&j);
  free(s);
}

START_TEST(float_functions) {
  for (const char *const *target = jit_targets(); *target; target++)
    check_function(*target, (tsr_math_fn)_i, false);
}
END_TEST

START_TEST(double_functions) {
  for (const char *const *target = jit_targets(); *target; target++)
    check_function(*target, (tsr_math_fn)_i, true);
}
END_TEST

/* Widths that are no register's, and several registers at once, give the scalar function's bits. */
START_TEST(any_width) {
  static const unsigned widths[] = {1, 2, 4, 8, 16, 32, 64};
  tsr_math_fn fn = (tsr_math_fn)_i;
  for (const char *const *target = jit_targets(); *target; target++) {
    jit j;
    char name[16];
    float a[64], b[64], want[64], got[64];
    uint64_t state = 7;
    for (unsigned i = 0; i < 64; i++) {
      a[i] =
          i % 8 ? (float)between(&state, -100, 100) : (float)from_bits(false, jit_random(&state));
      b[i] = (float)between(&state, -3, 3);
    }
    jit_begin(&j, *target);
    LLVMTypeRef type = LLVMFloatTypeInContext(j.context);
    jit_map(&j, "scalar", type, type, 0, body, &fn);
    for (unsigned i = 0; i < sizeof widths / sizeof *widths; i++) {
      snprintf(name, sizeof name, "w%u", widths[i]);
      jit_map(&j, name, type, type, widths[i], body, &fn);
    }
    jit_finish(&j);
    jit_entry(&j, "scalar")(a, b, want, 64);
    for (unsigned i = 0; i < sizeof widths / sizeof *widths; i++) {
      snprintf(name, sizeof name, "w%u", widths[i]);
      jit_entry(&j, name)(a, b, got, 64 / widths[i]);
      for (unsigned k = 0; k < 64; k++)
        ck_assert_msg(same((long double)want[k], (long double)got[k]), "%s %s width %u: f(%a, %a)",
                      *target, tsr_math_text(fn), widths[i], (double)a[k], (double)b[k]);
    }
    jit_end(&j);
  }
}
END_TEST

static LLVMValueRef min_max(const tsr_math *math, LLVMValueRef a, LLVMValueRef b,
                            const void *user) {
  return user ? tsr_math_max(math, a, b) : tsr_math_min(math, a, b);
}

/* Between two constants, zero among them. */
static LLVMValueRef bounded(const tsr_math *math, LLVMValueRef a, LLVMValueRef b,
                            const void *user) {
  (void)b;
  (void)user;
  const LLVMTypeRef type = LLVMTypeOf(a);
  const bool is_vector = LLVMGetTypeKind(type) == LLVMVectorTypeKind;
  const LLVMValueRef six = LLVMConstReal(is_vector ? LLVMGetElementType(type) : type, 6);
  LLVMValueRef sixes[64];
  const unsigned lanes = is_vector ? LLVMGetVectorSize(type) : 1;
  for (unsigned i = 0; i < lanes && i < 64; i++)
    sixes[i] = six;
  return tsr_math_min(math, tsr_math_max(math, a, LLVMConstNull(type)),
                      is_vector ? LLVMConstVector(sixes, lanes) : six);
}

START_TEST(bounds_keep_nan) {
  static const float values[] = {-INFINITY, -1, -0.0f, 0.0f, 2, 7, INFINITY, NAN};
  for (const char *const *target = jit_targets(); *target; target++) {
    jit j;
    float a[64], got[64];
    for (unsigned i = 0; i < 64; i++)
      a[i] = values[i % 8];
    jit_begin(&j, *target);
    LLVMTypeRef type = LLVMFloatTypeInContext(j.context);
    jit_map(&j, "bounded", type, type, 16, bounded, NULL);
    jit_finish(&j);
    jit_entry(&j, "bounded")(a, a, got, 4);
    for (unsigned i = 0; i < 64; i++)
      ck_assert(isnan(a[i]) ? isnan(got[i]) : got[i] == fminf(fmaxf(a[i], 0), 6));
    jit_end(&j);
  }
}
END_TEST

START_TEST(minimum_and_maximum_keep_nan) {
  static const float values[] = {-INFINITY, -1, -0.0f, 0.0f, 2, INFINITY, NAN, 3};
  for (const char *const *target = jit_targets(); *target; target++) {
    jit j;
    float a[64], b[64], low[64], high[64];
    for (unsigned i = 0; i < 64; i++) {
      a[i] = values[i / 8];
      b[i] = values[i % 8];
    }
    jit_begin(&j, *target);
    LLVMTypeRef type = LLVMFloatTypeInContext(j.context);
    jit_map(&j, "min", type, type, 16, min_max, NULL);
    jit_map(&j, "max", type, type, 16, min_max, "max");
    jit_finish(&j);
    jit_entry(&j, "min")(a, b, low, 4);
    jit_entry(&j, "max")(a, b, high, 4);
    for (unsigned i = 0; i < 64; i++) {
      if (isnan(a[i]) || isnan(b[i])) {
        ck_assert(isnan(low[i]) && isnan(high[i]));
        continue;
      }
      ck_assert(low[i] == fminf(a[i], b[i]));
      ck_assert(high[i] == fmaxf(a[i], b[i]));
    }
    jit_end(&j);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("codegen_cpu.math");
  TCase *cases = tcase_create("math");
  tcase_set_timeout(cases, 0);
  tcase_add_loop_test(cases, float_functions, 0, TSR_MATH_COUNT);
  tcase_add_loop_test(cases, double_functions, 0, TSR_MATH_COUNT);
  tcase_add_loop_test(cases, any_width, 0, TSR_MATH_COUNT);
  tcase_add_test(cases, minimum_and_maximum_keep_nan);
  tcase_add_test(cases, bounds_keep_nan);
  suite_add_tcase(suite, cases);
  return jit_main(suite);
}
