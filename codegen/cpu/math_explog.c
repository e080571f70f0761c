/* double exp, expm1, log, log1p. Coefficients: minimax fits made for this file (Remez exchange in
 * 45 digits); the errors stated are relative, before rounding. */
#include "codegen/cpu/math_build.h"

static const double log2_e = 0x1.71547652b82fep+0;
/* ln 2 in 32 and 53 bits: n * hi is exact for |n| < 2^21. */
static const double ln2_32_hi = 0x1.62e42feep-1;
static const double ln2_32_lo = 0x1.a39ef35793c76p-33;
/* ln 2 in 41 and 53 bits: e * hi is exact for |e| < 2^12. */
static const double ln2_41_hi = 0x1.62e42fefa3p-1;
static const double ln2_41_lo = 0x1.3de6af278ece6p-42;

/* (e^r - 1 - r) / r^2 on |r| <= 0.353: e^r - 1 within 2^-61. */
static const double exp_c[] = {0.5,
                               0.1666666666666668,
                               0.04166666666666648,
                               0.008333333333319707,
                               0.0013888888888974854,
                               0.00019841269891569108,
                               2.4801587156429656e-05,
                               2.755723824035722e-06,
                               2.7557409436602644e-07,
                               2.511126436151453e-08,
                               2.08752809942775e-09};

/* (2 atanh(s) - 2 s) / s^3 in s^2, |s| <= 0.1724: log within 2^-65. */
static const double log_c[] = {0.6666666666666666,  0.400000000000067,   0.28571428568939966,
                               0.222222226687921,   0.18181773904454845, 0.15387167793837014,
                               0.13248380426946849, 0.13267135527048116};

/* x = n ln 2 + r + rest; `bits` are those of n + 2048 in an integer of few bits. */
typedef struct reduction {
  LLVMValueRef n, r, rest, bits;
} reduction;

/* n = round(x / ln 2) by adding a number whose unit is 1. */
static reduction reduce(const mb *b, LLVMValueRef x) {
  const double magic = 0x1.8p52 + 2048;
  reduction d;
  LLVMValueRef sum = mb_fma(b, x, mb_real(b, log2_e), mb_real(b, magic));
  d.n = mb_sub(b, sum, mb_real(b, magic));
  d.bits = LLVMBuildAnd(b->at, mb_to_bits(b, sum), mb_int(b, 0x1fff), "");
  LLVMValueRef high = mb_fnma(b, d.n, mb_real(b, ln2_32_hi), x);
  LLVMValueRef low = mb_scale_by(b, d.n, ln2_32_lo);
  d.r = mb_sub(b, high, low);
  d.rest = mb_sub(b, mb_sub(b, high, d.r), low);
  return d;
}

/* e^(r + rest) - 1 */
static LLVMValueRef expm1_reduced(const mb *b, const reduction *d) {
  LLVMValueRef square = mb_mul(b, d->r, d->r);
  return mb_add(b, d->r, mb_fma(b, square, MB_POLY(b, d->r, exp_c), d->rest));
}

/* p * 2^(bits - 2048 + shift) as two factors, of which only the second can round. */
static LLVMValueRef scale(const mb *b, LLVMValueRef p, LLVMValueRef bits, int shift) {
  LLVMValueRef whole = LLVMBuildAdd(b->at, bits, mb_int(b, (uint64_t)(int64_t)shift), "");
  LLVMValueRef half = LLVMBuildLShr(b->at, whole, mb_int(b, 1), "");
  LLVMValueRef factors[] = {half, LLVMBuildSub(b->at, whole, half, "")};
  for (int i = 0; i < 2; i++) {
    LLVMValueRef biased = LLVMBuildSub(b->at, factors[i], mb_int(b, 1), "");
    p = mb_mul(b, p, mb_from_bits(b, LLVMBuildShl(b->at, biased, mb_int(b, 52), "")));
  }
  return p;
}

/* A low part may be many units of r, so that it counts e^r times: a few terms of e^r will do. */
static void add_low_part(const mb *b, reduction *d, LLVMValueRef lo) {
  static const double exp_terms[] = {1, 1, 0.5, 1.0 / 6, 1.0 / 24};
  d->rest = mb_fma(b, lo, MB_POLY(b, d->r, exp_terms), d->rest);
}

LLVMValueRef mb_exp_f64(const mb *b, LLVMValueRef hi, LLVMValueRef lo, int shift) {
  hi = mb_at_least(b, mb_at_most(b, hi, 760), -800);
  reduction d = reduce(b, hi);
  if (lo)
    add_low_part(b, &d, lo);
  LLVMValueRef p = mb_add(b, mb_real(b, 1), expm1_reduced(b, &d));
  return scale(b, p, d.bits, shift);
}

/* (e^r - 1) + (1 - 2^-n), times 2^n. Beyond n = 64 the power 2^-n no longer counts. */
LLVMValueRef mb_expm1_f64(const mb *b, LLVMValueRef x) {
  LLVMValueRef bounded = mb_at_least(b, mb_at_most(b, x, 720), -40);
  reduction d = reduce(b, bounded);
  LLVMValueRef p = expm1_reduced(b, &d);
  LLVMValueRef few = mb_at_most(b, d.n, 64);
  LLVMValueRef biased = mb_to_bits(b, mb_sub(b, mb_real(b, 0x1.8p52 + 1023), few));
  LLVMValueRef inverse = mb_from_bits(b, LLVMBuildShl(b->at, biased, mb_int(b, 52), ""));
  p = mb_add(b, p, mb_sub(b, mb_real(b, 1), inverse));
  return mb_copysign(b, scale(b, p, d.bits, 0), x);
}

/* The exponent is read off the bits above those of sqrt(1/2) and made a double by giving it the
 * exponent field of 2^52: there is no vector conversion from 64-bit integers before AVX-512. */
void mb_split_f64(const mb *b, LLVMValueRef x, LLVMValueRef *out_m, LLVMValueRef *out_e) {
  const uint64_t sqrt_half = 0x3fe6a09e667f3bcd, bias = 2048;
  LLVMValueRef tiny = mb_lt(b, x, mb_real(b, 0x1p-1022));
  LLVMValueRef bits = mb_to_bits(b, mb_select(b, tiny, mb_scale_by(b, x, 0x1p54), x));
  LLVMValueRef over = LLVMBuildAdd(b->at, bits, mb_int(b, (bias << 52) - sqrt_half), "");
  LLVMValueRef biased = LLVMBuildLShr(b->at, over, mb_int(b, 52), "");
  LLVMValueRef shifted = LLVMBuildShl(b->at, biased, mb_int(b, 52), "");
  LLVMValueRef unbias = LLVMBuildSub(b->at, bits, shifted, "");
  *out_m = mb_from_bits(b, LLVMBuildAdd(b->at, unbias, mb_int(b, bias << 52), ""));
  LLVMValueRef as_real =
      mb_from_bits(b, LLVMBuildOr(b->at, biased, mb_int(b, 0x4330000000000000), ""));
  LLVMValueRef offset =
      mb_select(b, tiny, mb_real(b, 0x1p52 + 2048 + 54), mb_real(b, 0x1p52 + 2048));
  *out_e = mb_sub(b, as_real, offset);
}

/* log(1 + f) = f - (h - s (h + s^2 L)) with s = f / (2 + f), h = f^2 / 2. */
LLVMValueRef mb_log_f64(const mb *b, LLVMValueRef x) {
  LLVMValueRef m, e;
  mb_split_f64(b, x, &m, &e);
  LLVMValueRef f = mb_sub(b, m, mb_real(b, 1));
  LLVMValueRef s = mb_div(b, f, mb_add(b, f, mb_real(b, 2)));
  LLVMValueRef z = mb_mul(b, s, s);
  LLVMValueRef h = mb_scale_by(b, mb_mul(b, f, f), 0.5);
  LLVMValueRef tail = mb_fma(b, z, MB_POLY(b, z, log_c), h);
  tail = mb_fma(b, s, tail, mb_scale_by(b, e, ln2_41_lo));
  LLVMValueRef y = mb_sub(b, f, mb_sub(b, h, tail));
  y = mb_fma(b, e, mb_real(b, ln2_41_hi), y);
  LLVMValueRef zero = mb_real(b, 0), infinity = mb_infinity(b);
  LLVMValueRef usual = mb_both(b, mb_gt(b, x, zero), mb_lt(b, x, infinity));
  LLVMValueRef special = mb_select(b, mb_gt(b, x, zero), x, mb_nan(b));
  special = mb_select(b, mb_eq(b, x, zero), mb_neg(b, infinity), special);
  return mb_select(b, usual, y, special);
}

/* With u = 1 + x rounded and c what the rounding lost: log(u) + c / u. */
LLVMValueRef mb_log1p_f64(const mb *b, LLVMValueRef x) {
  LLVMValueRef one = mb_real(b, 1);
  LLVMValueRef u = mb_add(b, one, x);
  LLVMValueRef small = mb_sub(b, x, mb_sub(b, u, one));
  LLVMValueRef large = mb_sub(b, one, mb_sub(b, u, x));
  LLVMValueRef c = mb_select(b, mb_lt(b, x, one), small, large);
  LLVMValueRef finite = mb_both(b, mb_gt(b, u, mb_real(b, 0)), mb_lt(b, u, mb_infinity(b)));
  c = mb_select(b, finite, mb_div(b, c, u), mb_real(b, 0));
  LLVMValueRef y = mb_add(b, mb_log_f64(b, u), c);
  return mb_select(b, mb_eq(b, x, mb_real(b, 0)), x, y);
}
