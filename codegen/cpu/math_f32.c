/* The float functions on the critical path (softmax, gelu, sigmoid): no branches, no integer
 * conversions, FMA polynomials. Coefficients: minimax fits made for this file (Remez exchange in
 * 30 or more digits); the error beside each is relative, before rounding of coefficients and
 * arithmetic. */
#include "codegen/cpu/math_build.h"

static const double log2_e = 0x1.71547652b82fep+0;
static const double ln2_hi = 0.693115234375; /* 14 bits: n * ln2_hi is exact */
static const double ln2_lo = 3.1946184945309415e-05;

/* (e^r - 1 - r) / r^2 on |r| <= 0.353: e^r within 2^-26. */
static const double exp_c[] = {0.49999997922419703, 0.16666533547090703, 0.04166724359530322,
                               0.008367854181003312, 0.0013882264735525717};

/* (log(1+f) - f + f^2/2) / f^3 for 1+f within sqrt(1/2)..sqrt(2): log within 2^-27. */
static const double log_c[] = {0.3333333156458063,   -0.2500084997568598, 0.20001273725761645,
                               -0.16622288551706269, 0.14199768906713933, -0.13169252388558916,
                               0.1278105624101878,   -0.07634392569287998};

/* erf(x) / x - 1 in x^2 on |x| <= 1: within 2^-29 of erf. */
static const double erf_small_c[] = {
    0.12837916571689184,  -0.3761262574888903,    0.11283584178118942,  -0.026853766421502896,
    0.005188231872550983, -0.0008009270036224818, 7.850542124384194e-05};

/* erfc(x)^(1/8) on 1..3.93: erf within 2^-27. */
static const double erf_large_c[] = {
    1.0003621711205553,   -0.1428871107927742,    -0.06562747776391308,   -0.006954102879370581,
    0.010195564812815467, -0.0014799190286197146, -4.499320439197911e-05, 1.6056937780842245e-05};

/* x * 2^n for the float n by AVX-512's scalef, one register at a time. */
static LLVMValueRef scalef(const mb *b, LLVMValueRef x, LLVMValueRef n) {
  enum { WIDTH = 16 };
  LLVMContextRef context = b->math->context;
  LLVMTypeRef i32 = LLVMInt32TypeInContext(context);
  LLVMValueRef result = LLVMGetUndef(b->real);
  for (unsigned first = 0; first < b->lanes; first += WIDTH) {
    LLVMValueRef pick[WIDTH], put[4096];
    for (unsigned i = 0; i < WIDTH; i++)
      pick[i] = LLVMConstInt(i32, first + i, false);
    LLVMValueRef mask = LLVMConstVector(pick, WIDTH), undef = LLVMGetUndef(b->real);
    LLVMValueRef part = LLVMBuildShuffleVector(b->at, x, undef, mask, "");
    LLVMValueRef power = LLVMBuildShuffleVector(b->at, n, undef, mask, "");
    LLVMValueRef arguments[] = {part, power, LLVMGetUndef(LLVMTypeOf(part)),
                                LLVMConstAllOnes(LLVMInt16TypeInContext(context)),
                                LLVMConstInt(i32, 4, false)};
    part = mb_intrinsic(b->math, "llvm.x86.avx512.mask.scalef.ps.512", NULL, arguments, 5);
    if (b->lanes == WIDTH)
      return part;
    for (unsigned i = 0; i < b->lanes; i++)
      put[i] = LLVMConstInt(i32, i < WIDTH ? i : 0, false);
    part = LLVMBuildShuffleVector(b->at, part, LLVMGetUndef(LLVMTypeOf(part)),
                                  LLVMConstVector(put, b->lanes), "");
    for (unsigned i = 0; i < b->lanes; i++)
      put[i] = LLVMConstInt(i32, i >= first && i < first + WIDTH ? b->lanes + i - first : i, false);
    result = LLVMBuildShuffleVector(b->at, result, part, LLVMConstVector(put, b->lanes), "");
  }
  return result;
}

/* n = round(x / ln 2) by adding a number whose unit is 1: the low bits of the sum are n + 256. The
 * power of two is applied as two factors, since n reaches from -151 to 128: the first is exact, the
 * second rounds once. */
LLVMValueRef mb_exp_f32(const mb *b, LLVMValueRef x) {
  const double magic = 0x1.8p23 + 256;
  x = mb_at_least(b, mb_at_most(b, x, 89), -104.5);
  LLVMValueRef sum = mb_fma(b, x, mb_real(b, log2_e), mb_real(b, magic));
  LLVMValueRef n = mb_sub(b, sum, mb_real(b, magic));
  LLVMValueRef r = mb_fnma(b, n, mb_real(b, ln2_hi), x);
  r = mb_fnma(b, n, mb_real(b, ln2_lo), r);
  LLVMValueRef p = mb_fma(b, MB_POLY(b, r, exp_c), r, mb_real(b, 1));
  p = mb_fma(b, p, r, mb_real(b, 1));
  if (b->math->target->isa.level == TSR_CPU_LEVEL_X86_64_V4 && b->lanes && b->lanes % 16 == 0)
    return scalef(b, p, n);
  LLVMValueRef whole = LLVMBuildAnd(b->at, mb_to_bits(b, sum), mb_int(b, 0x3ff), "");
  LLVMValueRef half = LLVMBuildLShr(b->at, whole, mb_int(b, 1), "");
  LLVMValueRef rest = LLVMBuildSub(b->at, whole, half, "");
  LLVMValueRef factors[] = {half, rest};
  for (int i = 0; i < 2; i++) {
    LLVMValueRef biased = LLVMBuildSub(b->at, factors[i], mb_int(b, 1), "");
    LLVMValueRef power = LLVMBuildShl(b->at, biased, mb_int(b, 23), "");
    p = mb_mul(b, p, mb_from_bits(b, power));
  }
  return p;
}

/* x = (1 + f) 2^e; e * ln2_hi is exact. Subnormals are scaled by 2^23 first. */
LLVMValueRef mb_log_f32(const mb *b, LLVMValueRef x) {
  const uint64_t sqrt_half = 0x3f3504f3;
  LLVMValueRef tiny = mb_lt(b, x, mb_real(b, 0x1p-126));
  LLVMValueRef bits = mb_to_bits(b, mb_select(b, tiny, mb_scale_by(b, x, 0x1p23), x));
  LLVMValueRef over = LLVMBuildSub(b->at, bits, mb_int(b, sqrt_half), "");
  LLVMValueRef power = LLVMBuildAShr(b->at, over, mb_int(b, 23), "");
  LLVMValueRef shifted = LLVMBuildShl(b->at, power, mb_int(b, 23), "");
  LLVMValueRef f =
      mb_sub(b, mb_from_bits(b, LLVMBuildSub(b->at, bits, shifted, "")), mb_real(b, 1));
  LLVMValueRef e = LLVMBuildSIToFP(b->at, power, b->real, "");
  e = mb_select(b, tiny, mb_sub(b, e, mb_real(b, 23)), e);
  LLVMValueRef z = mb_mul(b, f, f);
  LLVMValueRef y = mb_mul(b, mb_mul(b, MB_POLY(b, f, log_c), f), z);
  y = mb_fma(b, e, mb_real(b, ln2_lo), y);
  y = mb_fma(b, z, mb_real(b, -0.5), y);
  y = mb_fma(b, e, mb_real(b, ln2_hi), mb_add(b, f, y));
  LLVMValueRef zero = mb_real(b, 0), infinity = mb_infinity(b);
  LLVMValueRef usual = mb_both(b, mb_gt(b, x, zero), mb_lt(b, x, infinity));
  LLVMValueRef special = mb_select(b, mb_gt(b, x, zero), x, mb_nan(b));
  special = mb_select(b, mb_eq(b, x, zero), mb_neg(b, infinity), special);
  return mb_select(b, usual, y, special);
}

/* With m = e^(2|x|) - 1: m / (m + 2). Since |2x| is bounded by 18.04, 2^n is a float made from the
 * low bits of the rounding sum, and m = 2^n (e^r - 1) + (2^n - 1). */
LLVMValueRef mb_tanh_f32(const mb *b, LLVMValueRef x) {
  const double magic = 0x1.8p23 + 127;
  LLVMValueRef a = mb_at_most(b, mb_abs(b, x), 9.02);
  a = mb_add(b, a, a);
  LLVMValueRef sum = mb_fma(b, a, mb_real(b, log2_e), mb_real(b, magic));
  LLVMValueRef n = mb_sub(b, sum, mb_real(b, magic));
  LLVMValueRef r = mb_fnma(b, n, mb_real(b, ln2_hi), a);
  r = mb_fnma(b, n, mb_real(b, ln2_lo), r);
  LLVMValueRef p = mb_fma(b, mb_mul(b, r, r), MB_POLY(b, r, exp_c), r);
  LLVMValueRef power = mb_from_bits(b, LLVMBuildShl(b->at, mb_to_bits(b, sum), mb_int(b, 23), ""));
  LLVMValueRef m = mb_fma(b, p, power, mb_sub(b, power, mb_real(b, 1)));
  return mb_copysign(b, mb_div(b, m, mb_add(b, m, mb_real(b, 2))), x);
}

/* No division and no exponential: above 1, 1 - p(|x|)^8 with a polynomial p. */
LLVMValueRef mb_erf_f32(const mb *b, LLVMValueRef x) {
  LLVMValueRef a = mb_abs(b, x);
  LLVMValueRef small = mb_fma(b, x, MB_POLY(b, mb_mul(b, x, x), erf_small_c), x);
  LLVMValueRef p = mb_at_most(b, a, 3.93);
  p = MB_POLY(b, p, erf_large_c);
  p = mb_mul(b, p, p);
  p = mb_mul(b, p, p);
  LLVMValueRef large = mb_copysign(b, mb_fnma(b, p, p, mb_real(b, 1)), x);
  return mb_select(b, mb_lt(b, a, mb_real(b, 1)), small, large);
}
