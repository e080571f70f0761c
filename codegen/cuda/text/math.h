/* Math functions: the same polynomials and reductions as on the CPU (minimax fits, the errors
 * beside them are relative, before rounding), and so the same accuracy. Float functions other than
 * exp, log, tanh and erf go through double. */
#ifndef TSR_MATH_H
#define TSR_MATH_H

TSR_DEVICE float tsr_inf_f32(void) {
  return tsr_bits_to_f32(0x7f800000u);
}
TSR_DEVICE float tsr_nan_f32(void) {
  return tsr_bits_to_f32(0x7fc00000u);
}
TSR_DEVICE double tsr_inf_f64(void) {
  return tsr_bits_to_f64(0x7ff0000000000000u);
}
TSR_DEVICE double tsr_nan_f64(void) {
  return tsr_bits_to_f64(0x7ff8000000000000u);
}

/* c[0] + c[1] x + ... by Horner's rule; c is a literal list, so that its numbers become operands.
 */
#define TSR_POLY_STEP(type) sum = tsr_fma_##type(sum, x, c[i])
TSR_DEVICE float tsr_poly_f32(float x, const float *c, int count) {
  float sum = c[count - 1];
  TSR_UNROLL
  for (int i = count - 2; i >= 0; --i)
    TSR_POLY_STEP(f32);
  return sum;
}
TSR_DEVICE double tsr_poly_f64(double x, const double *c, int count) {
  double sum = c[count - 1];
  TSR_UNROLL
  for (int i = count - 2; i >= 0; --i)
    TSR_POLY_STEP(f64);
  return sum;
}
#define TSR_COUNT(c) ((int)(sizeof(c) / sizeof(c)[0]))

/* --- float --- */

/* (e^r - 1 - r) / r^2 on |r| <= 0.353: e^r within 2^-26. */
#define TSR_EXP_F32                                                                                \
  {                                                                                                \
    0.49999997922419703f, 0.16666533547090703f, 0.04166724359530322f, 0.008367854181003312f,       \
        0.0013882264735525717f                                                                     \
  }

/* n = round(x / ln 2) by adding a number whose unit is 1. The power of two is applied as two
 * factors: the first is exact, the second rounds once. */
TSR_DEVICE float tsr_exp_f32(float x) {
  const float c[] = TSR_EXP_F32;
  const float magic = 12583168.0f;
  x = 89.0f < x ? 89.0f : x;
  x = -104.5f > x ? -104.5f : x;
  const float sum = tsr_fma_f32(x, 1.44269504088896340736f, magic), n = sum - magic;
  float r = tsr_fma_f32(-n, 0.693115234375f, x);
  r = tsr_fma_f32(-n, 3.1946184945309415e-05f, r);
  float p = tsr_fma_f32(tsr_poly_f32(r, c, TSR_COUNT(c)), r, 1.0f);
  p = tsr_fma_f32(p, r, 1.0f);
  const tsr_u32 whole = tsr_f32_to_bits(sum) & 0x3ffu, half = whole >> 1, rest = whole - half;
  p *= tsr_bits_to_f32((half - 1u) << 23);
  return p * tsr_bits_to_f32((rest - 1u) << 23);
}

/* x = (1 + f) 2^e; (log(1+f) - f + f^2/2) / f^3 within sqrt(1/2)..sqrt(2): log within 2^-27. */
TSR_DEVICE float tsr_log_f32(float x) {
  const float c[] = {0.3333333156458063f,   -0.2500084997568598f, 0.20001273725761645f,
                     -0.16622288551706269f, 0.14199768906713933f, -0.13169252388558916f,
                     0.1278105624101878f,   -0.07634392569287998f};
  const int tiny = x < 1.17549435e-38f;
  const tsr_u32 bits = tsr_f32_to_bits(tiny ? x * 8388608.0f : x);
  const int power = (int)(bits - 0x3f3504f3u) >> 23;
  const float f = tsr_bits_to_f32(bits - ((tsr_u32)power << 23)) - 1.0f;
  const float e = (float)power - (tiny ? 23.0f : 0.0f), z = f * f;
  float y = tsr_poly_f32(f, c, TSR_COUNT(c)) * f * z;
  y = tsr_fma_f32(e, 3.1946184945309415e-05f, y);
  y = tsr_fma_f32(z, -0.5f, y);
  y = tsr_fma_f32(e, 0.693115234375f, f + y);
  if (x > 0 && x < tsr_inf_f32())
    return y;
  return x > 0 ? x : x == 0 ? -tsr_inf_f32() : tsr_nan_f32();
}

/* With m = e^(2|x|) - 1: m / (m + 2). */
TSR_DEVICE float tsr_tanh_f32(float x) {
  const float c[] = TSR_EXP_F32;
  const float magic = 12583039.0f;
  float a = tsr_abs_f32(x);
  a = 9.02f < a ? 9.02f : a;
  a += a;
  const float sum = tsr_fma_f32(a, 1.44269504088896340736f, magic), n = sum - magic;
  float r = tsr_fma_f32(-n, 0.693115234375f, a);
  r = tsr_fma_f32(-n, 3.1946184945309415e-05f, r);
  const float p = tsr_fma_f32(r * r, tsr_poly_f32(r, c, TSR_COUNT(c)), r);
  const float power = tsr_bits_to_f32(tsr_f32_to_bits(sum) << 23);
  const float m = tsr_fma_f32(p, power, power - 1.0f);
  return tsr_copysign_f32(m / (m + 2.0f), x);
}

/* Up to 1 erf(x) / x - 1 in x^2, above 1 - p(|x|)^8: within 2^-27. No branch: a hundred copies of
 * one in an epilogue take the compiler minutes. */
TSR_DEVICE float tsr_erf_f32(float x) {
  const float near[] = {0.12837916571689184f,   -0.3761262574888903f,  0.11283584178118942f,
                        -0.026853766421502896f, 0.005188231872550983f, -0.0008009270036224818f,
                        7.850542124384194e-05f};
  const float far[] = {1.0003621711205553f,     -0.1428871107927742f,   -0.06562747776391308f,
                       -0.006954102879370581f,  0.010195564812815467f,  -0.0014799190286197146f,
                       -4.499320439197911e-05f, 1.6056937780842245e-05f};
  const float a = tsr_abs_f32(x);
  const float small = tsr_fma_f32(x, tsr_poly_f32(x * x, near, TSR_COUNT(near)), x);
  float p = 3.93f < a ? 3.93f : a;
  p = tsr_poly_f32(p, far, TSR_COUNT(far));
  p *= p;
  p *= p;
  return a < 1.0f ? small : tsr_copysign_f32(tsr_fma_f32(-p, p, 1.0f), x);
}

/* --- double: exp, log --- */

typedef struct tsr_pair {
  double hi, lo; /* an unevaluated sum */
} tsr_pair;

TSR_DEVICE tsr_pair tsr_fast_two_sum(double x, double y) {
  tsr_pair r;
  r.hi = x + y;
  r.lo = y - (r.hi - x);
  return r;
}
TSR_DEVICE tsr_pair tsr_two_sum(double x, double y) {
  tsr_pair r;
  r.hi = x + y;
  const double y_part = r.hi - x, x_part = r.hi - y_part;
  r.lo = (x - x_part) + (y - y_part);
  return r;
}
TSR_DEVICE tsr_pair tsr_two_product(double x, double y) {
  tsr_pair r;
  r.hi = x * y;
  r.lo = tsr_fma_f64(x, y, -r.hi);
  return r;
}
TSR_DEVICE tsr_pair tsr_pair_add(tsr_pair x, tsr_pair y) {
  tsr_pair s = tsr_two_sum(x.hi, y.hi);
  s.lo += x.lo + y.lo;
  return tsr_fast_two_sum(s.hi, s.lo);
}
TSR_DEVICE tsr_pair tsr_pair_mul(tsr_pair x, tsr_pair y) {
  tsr_pair p = tsr_two_product(x.hi, y.hi);
  p.lo += tsr_fma_f64(x.hi, y.lo, x.lo * y.hi);
  return tsr_fast_two_sum(p.hi, p.lo);
}

/* (e^r - 1 - r) / r^2 on |r| <= 0.353: e^r - 1 within 2^-61. */
#define TSR_EXP_F64                                                                                \
  {                                                                                                \
    0.5, 0.1666666666666668, 0.04166666666666648, 0.008333333333319707, 0.0013888888888974854,     \
        0.00019841269891569108, 2.4801587156429656e-05, 2.755723824035722e-06,                     \
        2.7557409436602644e-07, 2.511126436151453e-08, 2.08752809942775e-09                        \
  }

/* x = n ln 2 + r + rest; `bits` is n + 2048. */
typedef struct tsr_exp_parts {
  double n, r, rest;
  tsr_u64 bits;
} tsr_exp_parts;

TSR_DEVICE tsr_exp_parts tsr_exp_reduce(double x) {
  const double magic = 6755399441057792.0; /* 3 * 2^51 + 2048 */
  tsr_exp_parts d;
  const double sum = tsr_fma_f64(x, 1.4426950408889634, magic);
  d.n = sum - magic;
  d.bits = tsr_f64_to_bits(sum) & 0x1fff;
  const double high = tsr_fma_f64(-d.n, tsr_bits_to_f64(0x3fe62e42fee00000u), x);
  const double low = d.n * tsr_bits_to_f64(0x3dea39ef35793c76u);
  d.r = high - low;
  d.rest = (high - d.r) - low;
  return d;
}
TSR_DEVICE double tsr_expm1_reduced(tsr_exp_parts d) {
  const double c[] = TSR_EXP_F64;
  return d.r + tsr_fma_f64(d.r * d.r, tsr_poly_f64(d.r, c, TSR_COUNT(c)), d.rest);
}
/* p * 2^(bits - 2048 + shift) as two factors, of which only the second can round. */
TSR_DEVICE double tsr_scale_f64(double p, tsr_u64 bits, int shift) {
  const tsr_u64 whole = bits + (tsr_u64)(tsr_s64)shift, half = whole >> 1, rest = whole - half;
  p *= tsr_bits_to_f64((half - 1) << 52);
  return p * tsr_bits_to_f64((rest - 1) << 52);
}
/* exp(hi + lo) 2^shift */
TSR_DEVICE double tsr_exp_parts_f64(double hi, double lo, int shift) {
  const double terms[] = {1, 1, 0.5, 1.0 / 6, 1.0 / 24};
  hi = 760.0 < hi ? 760.0 : hi;
  hi = -800.0 > hi ? -800.0 : hi;
  tsr_exp_parts d = tsr_exp_reduce(hi);
  d.rest = tsr_fma_f64(lo, tsr_poly_f64(d.r, terms, TSR_COUNT(terms)), d.rest);
  return tsr_scale_f64(1.0 + tsr_expm1_reduced(d), d.bits, shift);
}
TSR_DEVICE double tsr_exp_f64(double x) {
  return tsr_exp_parts_f64(x, 0, 0);
}
/* (e^r - 1) + (1 - 2^-n), times 2^n. Beyond n = 64 the power 2^-n no longer counts. */
TSR_DEVICE double tsr_expm1_f64(double x) {
  double bounded = 720.0 < x ? 720.0 : x;
  bounded = -40.0 > bounded ? -40.0 : bounded;
  const tsr_exp_parts d = tsr_exp_reduce(bounded);
  const double few = 64.0 < d.n ? 64.0 : d.n;
  const tsr_u64 biased = tsr_f64_to_bits(6755399441056767.0 - few); /* 3 * 2^51 + 1023 */
  const double p = tsr_expm1_reduced(d) + (1.0 - tsr_bits_to_f64(biased << 52));
  return tsr_copysign_f64(tsr_scale_f64(p, d.bits, 0), x);
}

/* x = m 2^e for positive finite x, m within sqrt(1/2)..sqrt(2). */
TSR_DEVICE double tsr_split_f64(double x, double *out_e) {
  const int tiny = x < 2.2250738585072014e-308;
  const tsr_u64 bits = tsr_f64_to_bits(tiny ? x * 18014398509481984.0 : x);
  const tsr_s64 power = (tsr_s64)(bits - 0x3fe6a09e667f3bcdu) >> 52;
  *out_e = (double)(int)power - (tiny ? 54.0 : 0.0);
  return tsr_bits_to_f64(bits - ((tsr_u64)power << 52));
}

/* ln 2 in 41 and 53 bits: e * hi is exact. */
#define TSR_LN2_HI tsr_bits_to_f64(0x3fe62e42fefa3000u)
#define TSR_LN2_LO tsr_bits_to_f64(0x3d53de6af278ece6u)

/* log(1 + f) = f - (h - s (h + s^2 L)) with s = f / (2 + f), h = f^2 / 2; L = (2 atanh(s) - 2 s) /
 * s^3: within 2^-65. */
TSR_DEVICE double tsr_log_f64(double x) {
  const double c[] = {0.6666666666666666,  0.400000000000067,   0.28571428568939966,
                      0.222222226687921,   0.18181773904454845, 0.15387167793837014,
                      0.13248380426946849, 0.13267135527048116};
  double e;
  const double f = tsr_split_f64(x, &e) - 1.0;
  const double s = f / (f + 2.0), z = s * s, h = f * f * 0.5;
  double tail = tsr_fma_f64(z, tsr_poly_f64(z, c, TSR_COUNT(c)), h);
  tail = tsr_fma_f64(s, tail, e * TSR_LN2_LO);
  const double y = tsr_fma_f64(e, TSR_LN2_HI, f - (h - tail));
  if (x > 0 && x < tsr_inf_f64())
    return y;
  return x > 0 ? x : x == 0 ? -tsr_inf_f64() : tsr_nan_f64();
}
/* With u = 1 + x rounded and c what the rounding lost: log(u) + c / u. */
TSR_DEVICE double tsr_log1p_f64(double x) {
  const double u = 1.0 + x;
  const double c = x < 1.0 ? x - (u - 1.0) : 1.0 - (u - x);
  const double rest = u > 0 && u < tsr_inf_f64() ? c / u : 0.0;
  return x == 0 ? x : tsr_log_f64(u) + rest;
}

/* --- double: sin, cos, tan --- */

/* x = quadrant * pi/2 + hi + lo. */
typedef struct tsr_angle {
  double hi, lo;
  tsr_u64 quadrant;
} tsr_angle;

/* The high 64 bits of a product. */
TSR_DEVICE tsr_u64 tsr_mul_high(tsr_u64 a, tsr_u64 b) {
  const tsr_u64 a0 = a & 0xffffffffu, a1 = a >> 32, b0 = b & 0xffffffffu, b1 = b >> 32;
  const tsr_u64 middle = a1 * b0 + (a0 * b0 >> 32), other = a0 * b1 + (middle & 0xffffffffu);
  return a1 * b1 + (middle >> 32) + (other >> 32);
}

/* 192 bits of 2/pi from bit `start`, word `index` of them. */
TSR_DEVICE tsr_u64 tsr_two_over_pi(tsr_u64 start, int index) {
  const tsr_u64 bits[] = {0x0000000000000000u, 0xa2f9836e4e441529u, 0xfc2757d1f534ddc0u,
                          0xdb6295993c439041u, 0xfe5163abdebbc561u, 0xb7246e3a424dd2e0u,
                          0x06492eea09d1921cu, 0xfe1deb1cb129a73eu, 0xe88235f52ebb4484u,
                          0xe99c7026b45f7e41u, 0x3991d639835339f4u, 0x9c845f8bbdf9283bu,
                          0x1ff897ffde05980fu, 0xef2f118b5a0a6d1fu, 0x6d367ecf27cb09b7u,
                          0x4f463f669e5fea2du, 0x7527bac7ebe5f17bu, 0x3d0739f78a5292eau,
                          0x6bfb5fb11f8d5d08u, 0x56033046fc7b6babu, 0xf0cfbc209af4361du};
  const int word = (int)(start >> 6) + index, shift = (int)(start & 63);
  return shift == 0 ? bits[word] : bits[word] << shift | bits[word + 1] >> (64 - shift);
}

/* Payne and Hanek's method for finite |x| >= 2: the 53-bit mantissa times 192 bits of 2/pi gives
 * x / (pi/2) modulo 4 to 2^-126. */
TSR_DEVICE tsr_angle tsr_reduce_large(double x) {
  const tsr_u64 bits = tsr_f64_to_bits(tsr_abs_f64(x));
  const tsr_u64 m = (bits & 0xfffffffffffffu) | 0x10000000000000u;
  const tsr_u64 start = (bits >> 52) - (1075 + 2 - 64);
  const tsr_u64 w0 = tsr_two_over_pi(start, 0), w1 = tsr_two_over_pi(start, 1);
  const tsr_u64 w2 = tsr_two_over_pi(start, 2);
  const tsr_u64 carry = tsr_mul_high(m, w2), low = m * w1 + carry;
  tsr_u64 high = m * w0 + tsr_mul_high(m, w1) + (low < carry), next = low;
  tsr_angle a;
  a.quadrant = (high + 0x2000000000000000u) >> 62;
  high = high << 2 | next >> 62;
  next <<= 2;
  const int negative = (high >> 63) != 0;
  if (negative) {
    next = 0 - next;
    high = ~high + (next == 0);
  }
  double unit = 1.1102230246251565e-16; /* 2^-53 */
  for (int i = 0; i < 127 && !(high >> 63); ++i) {
    high = high << 1 | next >> 63;
    next <<= 1;
    unit *= 0.5;
  }
  const tsr_u64 behind = (high << 53 | next >> 11) >> 11;
  const tsr_pair f = {(double)(high >> 11) * unit,
                      (double)behind * (unit * 1.1102230246251565e-16)};
  const tsr_pair half_pi = {1.5707963267948966, 6.1232339957367660e-17};
  const tsr_pair r = tsr_pair_mul(f, half_pi);
  a.hi = negative ? -r.hi : r.hi;
  a.lo = negative ? -r.lo : r.lo;
  if (x < 0) {
    a.hi = -a.hi;
    a.lo = -a.lo;
    a.quadrant = 0 - a.quadrant;
  }
  return a;
}

/* pi/2 in three parts, of which k times the first two is exact for |x| < 2^20. */
TSR_DEVICE tsr_angle tsr_reduce_small(double x) {
  tsr_angle a;
  const double sum = tsr_fma_f64(x, 0.63661977236758138, 6755399441055744.0);
  const double k = sum - 6755399441055744.0;
  a.quadrant = tsr_f64_to_bits(sum);
  const double first = tsr_fma_f64(-k, tsr_bits_to_f64(0x3ff921fb54400000u), x);
  tsr_pair r = tsr_two_sum(first, -(k * tsr_bits_to_f64(0x3dd0b4611a600000u)));
  r = tsr_fast_two_sum(r.hi, tsr_fma_f64(-k, tsr_bits_to_f64(0x3ba3198a2e037073u), r.lo));
  a.hi = r.hi;
  a.lo = r.lo;
  return a;
}
TSR_DEVICE tsr_angle tsr_reduce_angle(double x) {
  const double a = tsr_abs_f64(x);
  return a >= 1048576.0 && a < tsr_inf_f64() ? tsr_reduce_large(x) : tsr_reduce_small(x);
}
/* (sin r - r) / r^3 and (cos r - 1 + r^2/2) / r^4 in r^2, |r| <= 0.793. */
TSR_DEVICE double tsr_sin_reduced(tsr_angle r) {
  const double c[] = {-0.16666666666666627,  0.00833333333332129,    -0.0001984126982887505,
                      2.755731335774192e-06, -2.505070431407267e-08, 1.589360004743957e-10};
  const double z = r.hi * r.hi, lo = tsr_fma_f64(-(z * 0.5), r.lo, r.lo);
  return r.hi + tsr_fma_f64(r.hi * z, tsr_poly_f64(z, c, TSR_COUNT(c)), lo);
}
TSR_DEVICE double tsr_cos_reduced(tsr_angle r) {
  const double c[] = {0.04166666666666659,     -0.0013888888888872607, 2.4801587288496868e-05,
                      -2.7557314057991463e-07, 2.0875682076163258e-09, -1.1357459035023624e-11};
  const double z = r.hi * r.hi, h = z * 0.5, w = 1.0 - h, lost = (1.0 - w) - h;
  const double tail = tsr_fma_f64(-r.hi, r.lo, z * z * tsr_poly_f64(z, c, TSR_COUNT(c)));
  return w + (lost + tail);
}
TSR_DEVICE double tsr_sin_f64(double x) {
  const tsr_angle r = tsr_reduce_angle(x);
  const double y = r.quadrant & 1 ? tsr_cos_reduced(r) : tsr_sin_reduced(r);
  return tsr_abs_f64(x) < 7.450580596923828e-09 ? x : r.quadrant & 2 ? -y : y;
}
TSR_DEVICE double tsr_cos_f64(double x) {
  const tsr_angle r = tsr_reduce_angle(x);
  const double y = r.quadrant & 1 ? tsr_sin_reduced(r) : tsr_cos_reduced(r);
  return (r.quadrant + 1) & 2 ? -y : y;
}
TSR_DEVICE double tsr_tan_f64(double x) {
  const tsr_angle r = tsr_reduce_angle(x);
  const double s = tsr_sin_reduced(r), c = tsr_cos_reduced(r);
  return tsr_abs_f64(x) < 7.450580596923828e-09 ? x : r.quadrant & 1 ? -c / s : s / c;
}

/* --- double: inverse trigonometric and hyperbolic functions, erf --- */

#define TSR_PI_HI 3.1415926535897931
#define TSR_PI_LO 1.2246467991473532e-16

/* |x| is reduced to at most tan(pi/8) by the addition theorem with 0, pi/4 or pi/2. */
TSR_DEVICE double tsr_atan_f64(double x) {
  const double c[] = {-0.33333333333333187, 0.19999999999949722,  -0.14285714279788053,
                      0.11111110762204161,  -0.09090897125262451, 0.07692048624807303,
                      -0.06662968795400417, 0.05846881803412301,  -0.05034668306344645,
                      0.03794449719510351,  -0.01777343202278621};
  const double a = tsr_abs_f64(x);
  const int large = a > 2.414213562373095, medium = a > 0.4142135623730951;
  const double top = large ? -1.0 : medium ? a - 1.0 : a;
  const double bottom = large ? a : medium ? a + 1.0 : 1.0;
  const double part = large ? 0.5 : medium ? 0.25 : 0.0;
  const double t = top / bottom, z = t * t;
  const double tail = tsr_fma_f64(t * z, tsr_poly_f64(z, c, TSR_COUNT(c)), TSR_PI_LO * part);
  return tsr_copysign_f64(TSR_PI_HI * part + (t + tail), x);
}

/* Up to 1/2 the series; above, asin(x) = pi/2 - 2 asin(sqrt((1 - x) / 2)). */
TSR_DEVICE double tsr_asin_series(double s, double z) {
  const double c[] = {0.16666666666666763,   0.07499999999969933,  0.044642857175452064,
                      0.03038194266692918,   0.022372216151371,    0.017351590918448373,
                      0.013981075416947788,  0.011396812349998111, 0.010792097941019891,
                      0.0036613946163958004, 0.02181761612424259,  -0.021155872272442654,
                      0.03272725164006799};
  return s * z * tsr_poly_f64(z, c, TSR_COUNT(c));
}
TSR_DEVICE double tsr_asin_f64(double x) {
  const double a = tsr_abs_f64(x), z = a > 0.5 ? (1.0 - a) * 0.5 : a * a;
  const double s = a > 0.5 ? tsr_sqrt_f64(z) : a, tail = tsr_asin_series(s, z);
  const double far = TSR_PI_HI / 2 - ((s + tail) * 2.0 - TSR_PI_LO / 2);
  return tsr_copysign_f64(a > 0.5 ? far : s + tail, x);
}
TSR_DEVICE double tsr_acos_f64(double x) {
  const double a = tsr_abs_f64(x), z = a > 0.5 ? (1.0 - a) * 0.5 : a * a;
  const double s = a > 0.5 ? tsr_sqrt_f64(z) : x, tail = tsr_asin_series(s, z);
  if (!(a > 0.5))
    return TSR_PI_HI / 2 - (s - (TSR_PI_LO / 2 - tail));
  return x < 0 ? TSR_PI_HI - ((s + tail) * 2.0 - TSR_PI_LO) : (s + tail) * 2.0;
}

/* Above 1, t - 1 / (4 t) with t = e^|x| / 2, which overflows where the result does. */
TSR_DEVICE double tsr_sinh_f64(double x) {
  const double a = tsr_abs_f64(x), m = tsr_expm1_f64(a);
  const double near = (m + m / (m + 1.0)) * 0.5, t = tsr_exp_parts_f64(a, 0, -1);
  return tsr_copysign_f64(a < 1.0 ? near : t - 0.25 / t, x);
}
TSR_DEVICE double tsr_cosh_f64(double x) {
  const double t = tsr_exp_parts_f64(tsr_abs_f64(x), 0, -1);
  return t + 0.25 / t;
}
TSR_DEVICE double tsr_tanh_f64(double x) {
  double a = tsr_abs_f64(x);
  a = 22.0 < a ? 22.0 : a;
  const double m = tsr_expm1_f64(a + a);
  return tsr_copysign_f64(m / (m + 2.0), x);
}
/* log(a + sqrt(a^2 + 1)) without cancellation; from 2^60 up it is log(2 a). */
TSR_DEVICE double tsr_asinh_f64(double x) {
  const double a = tsr_abs_f64(x), square = a * a, root = tsr_sqrt_f64(square + 1.0);
  const int large = a > 1152921504606846976.0;
  const double y = tsr_log1p_f64(large ? a : a + square / (root + 1.0));
  return tsr_copysign_f64(large ? y + 0.693115234375 : y, x);
}
/* log(x + sqrt(x^2 - 1)) with t = x - 1 below 2^60. */
TSR_DEVICE double tsr_acosh_f64(double x) {
  const double t = x - 1.0;
  const int large = x > 1152921504606846976.0;
  if (x < 1.0)
    return tsr_nan_f64();
  const double y = tsr_log1p_f64(large ? x : t + tsr_sqrt_f64(t * (t + 2.0)));
  return large ? y + 0.693115234375 : y;
}
TSR_DEVICE double tsr_atanh_f64(double x) {
  const double a = tsr_abs_f64(x);
  return tsr_copysign_f64(tsr_log1p_f64((a + a) / (1.0 - a)) * 0.5, x);
}

/* erf(x) / x - 1 in x^2 up to 1; exp(x^2) erfc(x) in (x - 3) / (x + 3) beyond. */
TSR_DEVICE double tsr_erf_f64(double x) {
  const double near[] = {0.1283791670955126,      -0.3761263890318375,     0.11283791670954885,
                         -0.026866170645077864,   0.005223977624828349,    -0.0008548326981421817,
                         0.00012055331132849885,  -1.4925595770247523e-05, 1.646100845516724e-06,
                         -1.6350396058774938e-07, 1.4660328055228716e-08,  -1.1374954596774621e-09,
                         5.96068549377771e-11};
  const double far[] = {0.17900115118138993,   -0.32623356004317244,  0.24560380170759671,
                        -0.1501159365461003,   0.07166583747794218,   -0.02439248938296206,
                        0.00426923717588591,   0.0007083261060594975, -0.0005949385270045904,
                        5.03389800106841e-05,  7.17729994677742e-05,  -6.334999047731121e-06,
                        -6.546346151332495e-06};
  const double a = tsr_abs_f64(x);
  if (a < 1.0)
    return tsr_fma_f64(x, tsr_poly_f64(x * x, near, TSR_COUNT(near)), x);
  const double c = 5.95 < a ? 5.95 : a, t = (c - 3.0) / (c + 3.0);
  const double large =
      tsr_fma_f64(-tsr_exp_f64(-(c * c)), tsr_poly_f64(t, far, TSR_COUNT(far)), 1.0);
  return tsr_copysign_f64(large, x);
}

/* --- double: pow, remainders --- */

/* log(x) with a relative error near 2^-64: s = (m - 1) / (m + 1), log m = 2 s + s^3 (2/3 + s^2 P).
 */
TSR_DEVICE tsr_pair tsr_log_pair(double x) {
  const double c[] = {0.39999999999999974, 0.28571428571446317, 0.22222222217244775,
                      0.18181818905982183, 0.1538455444577205,  0.13336410420890935,
                      0.11672936640177657, 0.12004636765419223};
  double e;
  const double m = tsr_split_f64(x, &e), f = m - 1.0;
  const tsr_pair d = tsr_two_sum(m, 1.0);
  tsr_pair s;
  s.hi = f / d.hi;
  const tsr_pair back = tsr_two_product(s.hi, d.hi);
  s.lo = tsr_fma_f64(-s.hi, d.lo, (f - back.hi) - back.lo) / d.hi;
  const tsr_pair z = tsr_pair_mul(s, s);
  tsr_pair k = tsr_fast_two_sum(tsr_bits_to_f64(0x3fe5555555555555u),
                                z.hi * tsr_poly_f64(z.hi, c, TSR_COUNT(c)));
  k.lo += tsr_bits_to_f64(0x3c85555555555555u);
  const tsr_pair cubic = tsr_pair_mul(tsr_pair_mul(s, z), k);
  const tsr_pair twice = {s.hi + s.hi, s.lo + s.lo}, power = {e * TSR_LN2_HI, e * TSR_LN2_LO};
  return tsr_pair_add(power, tsr_pair_add(twice, cubic));
}

/* Annex F: pow(1, y) and pow(x, 0) are 1 even for NaN; zero and infinite bases follow the sign of
 * y; a negative base takes whole exponents only, and odd ones give its sign. */
TSR_DEVICE double tsr_pow_special(double x, double y, double r) {
  const double a = tsr_abs_f64(x), infinity = tsr_inf_f64();
  const int whole = tsr_trunc_f64(y) == y, odd = whole && tsr_trunc_f64(y * 0.5) != y * 0.5;
  if (x == 1.0 || y == 0)
    return 1.0;
  if (x != x || y != y)
    return x + y;
  if (x < 0 && a < infinity && !whole)
    return tsr_nan_f64();
  if (a == 0)
    r = y < 0 ? infinity : 0.0;
  if (a == infinity)
    r = y < 0 ? 0.0 : infinity;
  if (a == 1.0 && tsr_abs_f64(y) == infinity)
    r = 1.0;
  return odd ? tsr_copysign_f64(r, x) : r;
}
TSR_DEVICE double tsr_pow_f64(double x, double y) {
  const tsr_pair l = tsr_log_pair(tsr_abs_f64(x));
  tsr_pair p = tsr_two_product(y, l.hi);
  p.lo = tsr_abs_f64(p.hi) < 800.0 ? tsr_fma_f64(y, l.lo, p.lo) : 0.0;
  return tsr_pow_special(x, y, tsr_exp_parts_f64(p.hi, p.lo, 0));
}
TSR_DEVICE float tsr_pow_f32(float x, float y) {
  const double r = tsr_exp_f64((double)y * tsr_log_f64(tsr_abs_f64((double)x)));
  return (float)tsr_pow_special((double)x, (double)y, r);
}

/* a mod c for finite a >= c > 0, eleven bits a step. */
TSR_DEVICE double tsr_long_remainder(double a, double c) {
  const tsr_u64 one = 0x10000000000000u, fraction = one - 1;
  const tsr_u64 a_bits = tsr_f64_to_bits(a), c_bits = tsr_f64_to_bits(c);
  const tsr_u64 a_field = a_bits >> 52, c_field = c_bits >> 52;
  tsr_u64 m = a_field ? (a_bits & fraction) | one : a_bits;
  const tsr_u64 divisor = c_field ? (c_bits & fraction) | one : c_bits;
  const tsr_u64 power = c_field ? c_field : 1;
  m %= divisor;
  for (int left = (int)((a_field ? a_field : 1) - power); left > 0; left -= 11)
    m = (m << (left > 11 ? 11 : left)) % divisor;
  return (double)(tsr_s64)m * 2.2204460492503131e-16 * tsr_bits_to_f64(power << 52);
}
/* C's fmod. */
TSR_DEVICE double tsr_rem_f64(double x, double y) {
  const double a = tsr_abs_f64(x), c = tsr_abs_f64(y);
  if (x != x || y != y)
    return x + y;
  if (!(a < tsr_inf_f64()) || c == 0)
    return tsr_nan_f64();
  return a < c ? x : tsr_copysign_f64(tsr_long_remainder(a, c), x);
}
/* Moved into the divisor's sign. */
TSR_DEVICE double tsr_mod_f64(double x, double y) {
  const double r = tsr_rem_f64(x, y);
  if (!(r != 0))
    return tsr_copysign_f64(r, y);
  return (r < 0) != (y < 0) ? r + y : r;
}
TSR_DEVICE float tsr_rem_f32(float x, float y) {
  return (float)tsr_rem_f64((double)x, (double)y);
}
TSR_DEVICE float tsr_mod_f32(float x, float y) {
  const float r = tsr_rem_f32(x, y);
  if (!(r != 0))
    return tsr_copysign_f32(r, y);
  return (r < 0) != (y < 0) ? r + y : r;
}

#define TSR_BY_DOUBLE(name)                                                                        \
  TSR_DEVICE float tsr_##name##_f32(float x) {                                                     \
    return (float)tsr_##name##_f64((double)x);                                                     \
  }
TSR_BY_DOUBLE(sin)
TSR_BY_DOUBLE(cos)
TSR_BY_DOUBLE(tan)
TSR_BY_DOUBLE(asin)
TSR_BY_DOUBLE(acos)
TSR_BY_DOUBLE(atan)
TSR_BY_DOUBLE(sinh)
TSR_BY_DOUBLE(cosh)
TSR_BY_DOUBLE(asinh)
TSR_BY_DOUBLE(acosh)
TSR_BY_DOUBLE(atanh)
#endif
