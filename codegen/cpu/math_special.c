/* double inverse trigonometric and hyperbolic functions and erf. Coefficients: minimax fits made
 * for this file (Remez exchange in 45 digits); the errors stated are relative, before rounding. */
#include "codegen/cpu/math_build.h"
#include <assert.h>

static const double pi_hi = 0x1.921fb54442d18p+1, pi_lo = 0x1.1a62633145c07p-53;
static const double ln2 = 0x1.62e42fefa39efp-1;

/* (asin(x) - x) / x^3 in x^2 on |x| <= 0.5: asin within 2^-59. */
static const double asin_c[] = {0.16666666666666763,   0.07499999999969933,  0.044642857175452064,
                                0.03038194266692918,   0.022372216151371,    0.017351590918448373,
                                0.013981075416947788,  0.011396812349998111, 0.010792097941019891,
                                0.0036613946163958004, 0.02181761612424259,  -0.021155872272442654,
                                0.03272725164006799};

/* (atan(x) - x) / x^3 in x^2 on |x| <= tan(pi/8): atan within 2^-59. */
static const double atan_c[] = {-0.33333333333333187, 0.19999999999949722,  -0.14285714279788053,
                                0.11111110762204161,  -0.09090897125262451, 0.07692048624807303,
                                -0.06662968795400417, 0.05846881803412301,  -0.05034668306344645,
                                0.03794449719510351,  -0.01777343202278621};

/* erf(x) / x - 1 in x^2 on |x| <= 1, within 2^-62 of erf. */
static const double erf_small_c[] = {
    0.1283791670955126,    -0.3761263890318375,     0.11283791670954885,    -0.026866170645077864,
    0.005223977624828349,  -0.0008548326981421817,  0.00012055331132849885, -1.4925595770247523e-05,
    1.646100845516724e-06, -1.6350396058774938e-07, 1.4660328055228716e-08, -1.1374954596774621e-09,
    5.96068549377771e-11};

/* exp(x^2) erfc(x) in (x - 3) / (x + 3) on 1..5.95: within 2^-61 of erf. */
static const double erf_large_c[] = {
    0.17900115118138993,    -0.32623356004317244, 0.24560380170759671,  -0.1501159365461003,
    0.07166583747794218,    -0.02439248938296206, 0.00426923717588591,  0.0007083261060594975,
    -0.0005949385270045904, 5.03389800106841e-05, 7.17729994677742e-05, -6.334999047731121e-06,
    -6.546346151332495e-06};

/* |x| is reduced to at most tan(pi/8) by the addition theorem with 0, pi/4 or pi/2. */
static LLVMValueRef atan_f64(const mb *b, LLVMValueRef x) {
  LLVMValueRef a = mb_abs(b, x), one = mb_real(b, 1), zero = mb_real(b, 0);
  LLVMValueRef large = mb_gt(b, a, mb_real(b, 2.414213562373095));
  LLVMValueRef medium = mb_gt(b, a, mb_real(b, 0.4142135623730951));
  LLVMValueRef top = mb_select(b, medium, mb_sub(b, a, one), a);
  top = mb_select(b, large, mb_real(b, -1), top);
  LLVMValueRef bottom = mb_select(b, medium, mb_add(b, a, one), one);
  bottom = mb_select(b, large, a, bottom);
  LLVMValueRef t = mb_div(b, top, bottom), z = mb_mul(b, t, t);
  LLVMValueRef hi = mb_select(b, medium, mb_real(b, pi_hi / 4), zero);
  LLVMValueRef lo = mb_select(b, medium, mb_real(b, pi_lo / 4), zero);
  hi = mb_select(b, large, mb_real(b, pi_hi / 2), hi);
  lo = mb_select(b, large, mb_real(b, pi_lo / 2), lo);
  LLVMValueRef tail = mb_fma(b, mb_mul(b, t, z), MB_POLY(b, z, atan_c), lo);
  return mb_copysign(b, mb_add(b, hi, mb_add(b, t, tail)), x);
}

/* Up to 1/2 the series; above, asin(x) = pi/2 - 2 asin(sqrt((1 - x) / 2)). `s` is the argument of
 * the series, `tail` what it adds to s. */
static LLVMValueRef asin_acos_f64(const mb *b, LLVMValueRef x, bool is_acos) {
  LLVMValueRef a = mb_abs(b, x);
  LLVMValueRef large = mb_gt(b, a, mb_real(b, 0.5));
  LLVMValueRef folded = mb_scale_by(b, mb_sub(b, mb_real(b, 1), a), 0.5);
  LLVMValueRef z = mb_select(b, large, folded, mb_mul(b, a, a));
  LLVMValueRef s = mb_select(b, large, mb_sqrt(b, z), is_acos ? x : a);
  LLVMValueRef tail = mb_mul(b, mb_mul(b, s, z), MB_POLY(b, z, asin_c));
  LLVMValueRef half_pi = mb_real(b, pi_hi / 2), half_pi_lo = mb_real(b, pi_lo / 2);
  LLVMValueRef twice = mb_scale_by(b, mb_add(b, s, tail), 2);
  if (!is_acos) {
    LLVMValueRef y = mb_sub(b, half_pi, mb_sub(b, twice, half_pi_lo));
    return mb_copysign(b, mb_select(b, large, y, mb_add(b, s, tail)), x);
  }
  LLVMValueRef near = mb_sub(b, half_pi, mb_sub(b, s, mb_sub(b, half_pi_lo, tail)));
  LLVMValueRef left = mb_sub(b, mb_real(b, pi_hi), mb_sub(b, twice, mb_real(b, pi_lo)));
  LLVMValueRef negative = mb_lt(b, x, mb_real(b, 0));
  return mb_select(b, large, mb_select(b, negative, left, twice), near);
}

LLVMValueRef mb_arc_f64(const mb *b, LLVMValueRef x, tsr_math_fn fn) {
  assert(fn == TSR_MATH_ATAN || fn == TSR_MATH_ASIN || fn == TSR_MATH_ACOS);
  return fn == TSR_MATH_ATAN ? atan_f64(b, x) : asin_acos_f64(b, x, fn == TSR_MATH_ACOS);
}

/* Above 1, t - 1 / (4 t) with t = e^|x| / 2, which overflows where the result does. */
static LLVMValueRef sinh_f64(const mb *b, LLVMValueRef x) {
  LLVMValueRef a = mb_abs(b, x), one = mb_real(b, 1);
  LLVMValueRef m = mb_expm1_f64(b, a);
  LLVMValueRef small = mb_scale_by(b, mb_add(b, m, mb_div(b, m, mb_add(b, m, one))), 0.5);
  LLVMValueRef t = mb_exp_f64(b, a, NULL, -1);
  LLVMValueRef large = mb_sub(b, t, mb_div(b, mb_real(b, 0.25), t));
  return mb_copysign(b, mb_select(b, mb_lt(b, a, one), small, large), x);
}

static LLVMValueRef cosh_f64(const mb *b, LLVMValueRef x) {
  LLVMValueRef t = mb_exp_f64(b, mb_abs(b, x), NULL, -1);
  return mb_add(b, t, mb_div(b, mb_real(b, 0.25), t));
}

static LLVMValueRef tanh_f64(const mb *b, LLVMValueRef x) {
  LLVMValueRef a = mb_at_most(b, mb_abs(b, x), 22);
  LLVMValueRef m = mb_expm1_f64(b, mb_add(b, a, a));
  return mb_copysign(b, mb_div(b, m, mb_add(b, m, mb_real(b, 2))), x);
}

/* log(a + sqrt(a^2 + 1)) without cancellation; from 2^60 up it is log(2 a). */
static LLVMValueRef asinh_f64(const mb *b, LLVMValueRef x) {
  LLVMValueRef a = mb_abs(b, x), one = mb_real(b, 1);
  LLVMValueRef large = mb_gt(b, a, mb_real(b, 0x1p60));
  LLVMValueRef square = mb_mul(b, a, a);
  LLVMValueRef root = mb_sqrt(b, mb_add(b, square, one));
  LLVMValueRef sum = mb_add(b, a, mb_div(b, square, mb_add(b, root, one)));
  LLVMValueRef y = mb_log1p_f64(b, mb_select(b, large, a, sum));
  LLVMValueRef extra = mb_select(b, large, mb_real(b, ln2), mb_real(b, 0));
  return mb_copysign(b, mb_add(b, y, extra), x);
}

static LLVMValueRef acosh_f64(const mb *b, LLVMValueRef x) {
  LLVMValueRef one = mb_real(b, 1);
  LLVMValueRef large = mb_gt(b, x, mb_real(b, 0x1p60));
  LLVMValueRef t = mb_sub(b, x, one);
  LLVMValueRef root = mb_sqrt(b, mb_fma(b, t, t, mb_add(b, t, t)));
  LLVMValueRef y = mb_log1p_f64(b, mb_select(b, large, x, mb_add(b, t, root)));
  y = mb_add(b, y, mb_select(b, large, mb_real(b, ln2), mb_real(b, 0)));
  return mb_select(b, mb_lt(b, x, one), mb_nan(b), y);
}

static LLVMValueRef atanh_f64(const mb *b, LLVMValueRef x) {
  LLVMValueRef a = mb_abs(b, x);
  LLVMValueRef ratio = mb_div(b, mb_add(b, a, a), mb_sub(b, mb_real(b, 1), a));
  return mb_copysign(b, mb_scale_by(b, mb_log1p_f64(b, ratio), 0.5), x);
}

LLVMValueRef mb_hyperbolic_f64(const mb *b, LLVMValueRef x, tsr_math_fn fn) {
  switch (fn) {
  case TSR_MATH_SINH:
    return sinh_f64(b, x);
  case TSR_MATH_COSH:
    return cosh_f64(b, x);
  case TSR_MATH_TANH:
    return tanh_f64(b, x);
  case TSR_MATH_ASINH:
    return asinh_f64(b, x);
  case TSR_MATH_ACOSH:
    return acosh_f64(b, x);
  default:
    assert(fn == TSR_MATH_ATANH);
    return atanh_f64(b, x);
  }
}

LLVMValueRef mb_erf_f64(const mb *b, LLVMValueRef x) {
  LLVMValueRef a = mb_abs(b, x), one = mb_real(b, 1), three = mb_real(b, 3);
  LLVMValueRef small = mb_fma(b, x, MB_POLY(b, mb_mul(b, x, x), erf_small_c), x);
  LLVMValueRef c = mb_at_most(b, a, 5.95);
  LLVMValueRef t = mb_div(b, mb_sub(b, c, three), mb_add(b, c, three));
  LLVMValueRef gauss = mb_exp_f64(b, mb_neg(b, mb_mul(b, c, c)), NULL, 0);
  LLVMValueRef large = mb_fnma(b, gauss, MB_POLY(b, t, erf_large_c), one);
  return mb_select(b, mb_lt(b, a, one), small, mb_copysign(b, large, x));
}
