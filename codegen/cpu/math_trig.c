/* double sin, cos, tan over the whole range.
 *
 *   |x| < 2^20: x - k pi/2 with pi/2 in three parts, of which k times the first two is exact.
 *   otherwise:  the lanes that need it go one by one through Payne and Hanek's method: x = M 2^E
 * with a 53-bit integer M, and M times 192 bits of 2/pi from the bit that weighs 2 at exponent E
 * gives x / (pi/2) modulo 4 to 2^-126, where the smallest fraction that a double can leave is about
 * 2^-61.
 *
 * Coefficients: minimax fits made for this file (Remez exchange in 45 digits). */
#include "codegen/cpu/math_build.h"

static const double two_over_pi = 0x1.45f306dc9c883p-1;
static const double half_pi_1 = 0x1.921fb544p+0, half_pi_2 = 0x1.0b4611a6p-34,
                    half_pi_3 = 0x1.3198a2e037073p-69;
static const double half_pi_hi = 0x1.921fb54442d18p+0, half_pi_lo = 0x1.1a62633145c07p-54;

/* (sin r - r) / r^3 and (cos r - 1 + r^2/2) / r^4 in r^2, |r| <= 0.793: within 2^-57 and 2^-63. */
static const double sin_c[] = {-0.16666666666666627,   0.00833333333332129,
                               -0.0001984126982887505, 2.755731335774192e-06,
                               -2.505070431407267e-08, 1.589360004743957e-10};
static const double cos_c[] = {0.04166666666666659,    -0.0013888888888872607,
                               2.4801587288496868e-05, -2.7557314057991463e-07,
                               2.0875682076163258e-09, -1.1357459035023624e-11};

/* 2/pi, 64 bits a word from the binary point, behind one word of zeros. */
static const uint64_t two_over_pi_bits[] = {
    0x0000000000000000, 0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041,
    0xfe5163abdebbc561, 0xb7246e3a424dd2e0, 0x06492eea09d1921c, 0xfe1deb1cb129a73e,
    0xe88235f52ebb4484, 0xe99c7026b45f7e41, 0x3991d639835339f4, 0x9c845f8bbdf9283b,
    0x1ff897ffde05980f, 0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7, 0x4f463f669e5fea2d,
    0x7527bac7ebe5f17b, 0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08, 0x56033046fc7b6bab,
    0xf0cfbc209af4361d};
enum { WORDS = sizeof two_over_pi_bits / sizeof *two_over_pi_bits };

/* x = quadrant * pi/2 + hi + lo; the two low bits of quadrant count. */
typedef struct angle {
  LLVMValueRef hi, lo, quadrant;
} angle;

static LLVMValueRef bits_table(const tsr_math *math) {
  static const char name[] = "tsr.math.two_over_pi";
  LLVMValueRef table = LLVMGetNamedGlobal(math->module, name);
  if (table)
    return table;
  LLVMTypeRef i64 = LLVMInt64TypeInContext(math->context);
  LLVMValueRef words[WORDS];
  for (unsigned i = 0; i < WORDS; i++)
    words[i] = LLVMConstInt(i64, two_over_pi_bits[i], false);
  table = LLVMAddGlobal(math->module, LLVMArrayType2(i64, WORDS), name);
  LLVMSetInitializer(table, LLVMConstArray2(i64, words, WORDS));
  LLVMSetGlobalConstant(table, true);
  LLVMSetLinkage(table, LLVMPrivateLinkage);
  LLVMSetAlignment(table, 64);
  return table;
}

/* The word of 2/pi that is `index` after bit `start`: start / 64 words on, shifted by start % 64.
 */
static LLVMValueRef table_word(const mb *b, LLVMValueRef word, LLVMValueRef shift, unsigned index) {
  LLVMTypeRef i64 = b->integer;
  LLVMTypeRef array = LLVMArrayType2(i64, WORDS);
  LLVMValueRef pair[2];
  for (unsigned i = 0; i < 2; i++) {
    LLVMValueRef at = LLVMBuildAdd(b->at, word, mb_int(b, index + i), "");
    LLVMValueRef indices[] = {mb_int(b, 0), at};
    LLVMValueRef address = LLVMBuildGEP2(b->at, array, bits_table(b->math), indices, 2, "");
    pair[i] = LLVMBuildLoad2(b->at, i64, address, "");
  }
  return mb_intrinsic(b->math, "llvm.fshl", i64, (LLVMValueRef[]){pair[0], pair[1], shift}, 3);
}

/* M times the three words, modulo 2^192, less its low 64 bits. */
static LLVMValueRef product_top(const mb *b, LLVMValueRef m, LLVMValueRef w[3]) {
  LLVMTypeRef i128 = LLVMIntTypeInContext(b->math->context, 128);
  LLVMValueRef wide_m = LLVMBuildZExt(b->at, m, i128, ""), wide[3];
  for (unsigned i = 0; i < 3; i++)
    wide[i] = LLVMBuildMul(b->at, wide_m, LLVMBuildZExt(b->at, w[i], i128, ""), "");
  LLVMValueRef c64 = LLVMConstInt(i128, 64, false);
  LLVMValueRef top = LLVMBuildShl(b->at, wide[0], c64, "");
  top = LLVMBuildAdd(b->at, top, wide[1], "");
  return LLVMBuildAdd(b->at, top, LLVMBuildLShr(b->at, wide[2], c64, ""), "");
}

static LLVMValueRef power_of_two(const mb *b, unsigned bias, LLVMValueRef minus) {
  LLVMValueRef biased = LLVMBuildSub(b->at, mb_int(b, bias), minus, "");
  return mb_from_bits(b, LLVMBuildShl(b->at, biased, mb_int(b, 52), ""));
}

/* A signed fraction of 128 bits as two doubles of 53 bits each, times pi/2. */
static mb_pair fraction_angle(const mb *b, LLVMValueRef fraction) {
  LLVMTypeRef i128 = LLVMTypeOf(fraction), i64 = b->integer;
  LLVMValueRef zero = LLVMConstNull(i128);
  LLVMValueRef negative = LLVMBuildICmp(b->at, LLVMIntSLT, fraction, zero, "");
  LLVMValueRef u =
      LLVMBuildSelect(b->at, negative, LLVMBuildNeg(b->at, fraction, ""), fraction, "");
  LLVMValueRef safe = LLVMConstInt(LLVMInt1TypeInContext(b->math->context), 0, false);
  LLVMValueRef zeros = mb_intrinsic(b->math, "llvm.ctlz", i128, (LLVMValueRef[]){u, safe}, 2);
  zeros = LLVMBuildAnd(b->at, zeros, LLVMConstInt(i128, 127, false), "");
  u = LLVMBuildShl(b->at, u, zeros, "");
  LLVMValueRef count = LLVMBuildTrunc(b->at, zeros, i64, "");
  LLVMValueRef part[2];
  for (unsigned i = 0; i < 2; i++) {
    LLVMValueRef moved = LLVMBuildLShr(b->at, u, LLVMConstInt(i128, i ? 22 : 75, false), "");
    LLVMValueRef low = LLVMBuildTrunc(b->at, moved, i64, "");
    low = LLVMBuildAnd(b->at, low, mb_int(b, (UINT64_C(1) << 53) - 1), "");
    LLVMValueRef scale = power_of_two(b, 1023 - (i ? 106 : 53), count);
    part[i] = mb_mul(b, LLVMBuildSIToFP(b->at, low, b->real, ""), scale);
  }
  mb_pair x = {part[0], part[1]};
  mb_pair r = mb_pair_mul(b, x, (mb_pair){mb_real(b, half_pi_hi), mb_real(b, half_pi_lo)});
  r.hi = mb_select(b, negative, mb_neg(b, r.hi), r.hi);
  r.lo = mb_select(b, negative, mb_neg(b, r.lo), r.lo);
  return r;
}

/* The internal function (double |x| >= 2) -> {hi, lo, quadrant as i64}, for finite x. */
static LLVMValueRef large_reduction(const tsr_math *math, LLVMTypeRef *out_type) {
  LLVMTypeRef f64 = LLVMDoubleTypeInContext(math->context);
  LLVMTypeRef i64 = LLVMInt64TypeInContext(math->context);
  LLVMTypeRef fields[] = {f64, f64, i64};
  LLVMTypeRef result = LLVMStructTypeInContext(math->context, fields, 3, false);
  *out_type = LLVMFunctionType(result, &f64, 1, false);
  LLVMBuilderRef body;
  LLVMValueRef function = mb_helper(math, "tsr.math.reduce_large", *out_type, &body);
  if (!body)
    return function;
  tsr_math inner = *math;
  inner.builder = body;
  mb b = mb_begin(&inner, f64);
  LLVMValueRef x = LLVMGetParam(function, 0), bits = mb_to_bits(&b, mb_abs(&b, x)), w[3];
  LLVMValueRef m = LLVMBuildAnd(body, bits, mb_int(&b, (UINT64_C(1) << 52) - 1), "");
  m = LLVMBuildOr(body, m, mb_int(&b, UINT64_C(1) << 52), "");
  LLVMValueRef exponent = LLVMBuildLShr(body, bits, mb_int(&b, 52), "");
  LLVMValueRef start = LLVMBuildSub(body, exponent, mb_int(&b, 1075 + 2 - 64), "");
  LLVMValueRef word = LLVMBuildLShr(body, start, mb_int(&b, 6), "");
  LLVMValueRef shift = LLVMBuildAnd(body, start, mb_int(&b, 63), "");
  for (unsigned i = 0; i < 3; i++)
    w[i] = table_word(&b, word, shift, i);
  LLVMValueRef top = product_top(&b, m, w);
  LLVMTypeRef i128 = LLVMTypeOf(top);
  LLVMValueRef half =
      LLVMBuildShl(body, LLVMConstInt(i128, 1, false), LLVMConstInt(i128, 125, false), "");
  LLVMValueRef rounded = LLVMBuildAdd(body, top, half, "");
  rounded = LLVMBuildLShr(body, rounded, LLVMConstInt(i128, 126, false), "");
  LLVMValueRef quadrant = LLVMBuildTrunc(body, rounded, i64, "");
  LLVMValueRef fraction = LLVMBuildShl(body, top, LLVMConstInt(i128, 2, false), "");
  mb_pair r = fraction_angle(&b, fraction);
  LLVMValueRef negative = mb_lt(&b, x, mb_real(&b, 0));
  r.hi = mb_select(&b, negative, mb_neg(&b, r.hi), r.hi);
  r.lo = mb_select(&b, negative, mb_neg(&b, r.lo), r.lo);
  quadrant = mb_select(&b, negative, LLVMBuildNeg(body, quadrant, ""), quadrant);
  LLVMBuildAggregateRet(body, (LLVMValueRef[]){r.hi, r.lo, quadrant}, 3);
  LLVMDisposeBuilder(body);
  return function;
}

static angle reduce_small(const mb *b, LLVMValueRef x) {
  const double magic = 0x1.8p52;
  angle a;
  LLVMValueRef sum = mb_fma(b, x, mb_real(b, two_over_pi), mb_real(b, magic));
  LLVMValueRef k = mb_sub(b, sum, mb_real(b, magic));
  a.quadrant = mb_to_bits(b, sum);
  LLVMValueRef first = mb_fnma(b, k, mb_real(b, half_pi_1), x);
  mb_pair r = mb_two_sum(b, first, mb_neg(b, mb_scale_by(b, k, half_pi_2)));
  r = mb_fast_two_sum(b, r.hi, mb_fnma(b, k, mb_real(b, half_pi_3), r.lo));
  a.hi = r.hi;
  a.lo = r.lo;
  return a;
}

static LLVMValueRef any_lane(const mb *b, LLVMValueRef mask) {
  if (b->lanes == 0)
    return mask;
  LLVMTypeRef type = LLVMIntTypeInContext(b->math->context, b->lanes);
  LLVMValueRef bits = LLVMBuildBitCast(b->at, mask, type, "");
  return LLVMBuildICmp(b->at, LLVMIntNE, bits, LLVMConstNull(type), "");
}

static LLVMValueRef lane_of(const mb *b, LLVMValueRef x, unsigned lane) {
  if (b->lanes == 0)
    return x;
  LLVMTypeRef i32 = LLVMInt32TypeInContext(b->math->context);
  return LLVMBuildExtractElement(b->at, x, LLVMConstInt(i32, lane, false), "");
}

static LLVMValueRef with_lane(const mb *b, LLVMValueRef x, LLVMValueRef value, unsigned lane) {
  if (b->lanes == 0)
    return value;
  LLVMTypeRef i32 = LLVMInt32TypeInContext(b->math->context);
  return LLVMBuildInsertElement(b->at, x, value, LLVMConstInt(i32, lane, false), "");
}

/* Every lane is reduced, the small ones from a stand-in, and the large ones are taken over. */
static angle reduce_lanes(const mb *b, LLVMValueRef x, LLVMValueRef large, const angle *small) {
  LLVMTypeRef type;
  LLVMValueRef function = large_reduction(b->math, &type);
  LLVMValueRef source = mb_select(b, large, x, mb_real(b, 0x1p20));
  angle all = *small;
  LLVMValueRef *fields[] = {&all.hi, &all.lo, &all.quadrant};
  for (unsigned lane = 0; lane < (b->lanes ? b->lanes : 1); lane++) {
    LLVMValueRef argument = lane_of(b, source, lane);
    LLVMValueRef result = LLVMBuildCall2(b->at, type, function, &argument, 1, "");
    for (unsigned i = 0; i < 3; i++)
      *fields[i] = with_lane(b, *fields[i], LLVMBuildExtractValue(b->at, result, i, ""), lane);
  }
  all.hi = mb_select(b, large, all.hi, small->hi);
  all.lo = mb_select(b, large, all.lo, small->lo);
  all.quadrant = mb_select(b, large, all.quadrant, small->quadrant);
  return all;
}

static LLVMValueRef merge(const mb *b, LLVMValueRef from_small, LLVMBasicBlockRef small,
                          LLVMValueRef from_large, LLVMBasicBlockRef large) {
  LLVMValueRef phi = LLVMBuildPhi(b->at, LLVMTypeOf(from_small), "");
  LLVMAddIncoming(phi, (LLVMValueRef[]){from_small, from_large},
                  (LLVMBasicBlockRef[]){small, large}, 2);
  return phi;
}

/* Ends the builder's block: this is the body of a helper function. */
static angle reduce(const mb *b, LLVMValueRef x) {
  LLVMValueRef a = mb_abs(b, x);
  angle r = reduce_small(b, x);
  LLVMValueRef beyond = LLVMBuildNot(b->at, mb_lt(b, a, mb_real(b, 0x1p20)), "");
  LLVMValueRef large = mb_both(b, beyond, mb_lt(b, a, mb_infinity(b)));
  LLVMBasicBlockRef start = LLVMGetInsertBlock(b->at);
  LLVMValueRef function = LLVMGetBasicBlockParent(start);
  LLVMBasicBlockRef slow = LLVMAppendBasicBlockInContext(b->math->context, function, "large");
  LLVMBasicBlockRef join = LLVMAppendBasicBlockInContext(b->math->context, function, "join");
  LLVMBuildCondBr(b->at, any_lane(b, large), slow, join);
  LLVMPositionBuilderAtEnd(b->at, slow);
  angle l = reduce_lanes(b, x, large, &r);
  LLVMBuildBr(b->at, join);
  LLVMPositionBuilderAtEnd(b->at, join);
  angle both;
  both.hi = merge(b, r.hi, start, l.hi, slow);
  both.lo = merge(b, r.lo, start, l.lo, slow);
  both.quadrant = merge(b, r.quadrant, start, l.quadrant, slow);
  return both;
}

static LLVMValueRef sin_kernel(const mb *b, const angle *r, LLVMValueRef z) {
  LLVMValueRef lo = mb_fnma(b, mb_scale_by(b, z, 0.5), r->lo, r->lo);
  LLVMValueRef tail = mb_fma(b, mb_mul(b, r->hi, z), MB_POLY(b, z, sin_c), lo);
  return mb_add(b, r->hi, tail);
}

static LLVMValueRef cos_kernel(const mb *b, const angle *r, LLVMValueRef z) {
  LLVMValueRef one = mb_real(b, 1), h = mb_scale_by(b, z, 0.5);
  LLVMValueRef w = mb_sub(b, one, h);
  LLVMValueRef lost = mb_sub(b, mb_sub(b, one, w), h);
  LLVMValueRef tail = mb_fnma(b, r->hi, r->lo, mb_mul(b, mb_mul(b, z, z), MB_POLY(b, z, cos_c)));
  return mb_add(b, w, mb_add(b, lost, tail));
}

static LLVMValueRef quadrant_bit(const mb *b, LLVMValueRef quadrant, uint64_t bit) {
  LLVMValueRef masked = LLVMBuildAnd(b->at, quadrant, mb_int(b, bit), "");
  return LLVMBuildICmp(b->at, LLVMIntNE, masked, mb_int(b, 0), "");
}

LLVMValueRef mb_sincos_f64(const mb *b, LLVMValueRef x, tsr_math_fn fn) {
  angle r = reduce(b, x);
  LLVMValueRef z = mb_mul(b, r.hi, r.hi);
  LLVMValueRef s = sin_kernel(b, &r, z), c = cos_kernel(b, &r, z), y;
  LLVMValueRef odd = quadrant_bit(b, r.quadrant, 1);
  if (fn == TSR_MATH_TAN) {
    LLVMValueRef top = mb_select(b, odd, mb_neg(b, c), s);
    y = mb_div(b, top, mb_select(b, odd, s, c));
  } else {
    LLVMValueRef quadrant = r.quadrant;
    if (fn == TSR_MATH_COS) {
      quadrant = LLVMBuildAdd(b->at, quadrant, mb_int(b, 1), "");
      odd = mb_not(b, odd);
    }
    y = mb_select(b, odd, c, s);
    y = mb_select(b, quadrant_bit(b, quadrant, 2), mb_neg(b, y), y);
  }
  if (fn == TSR_MATH_COS)
    return y;
  return mb_select(b, mb_lt(b, mb_abs(b, x), mb_real(b, 0x1p-27)), x, y);
}
