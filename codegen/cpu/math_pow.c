/* double pow and fmod. Coefficients: a minimax fit made for this file (Remez exchange in 45
 * digits). */
#include "codegen/cpu/math_build.h"

/* ln 2 in 41 and 53 bits: e * hi is exact. */
static const double ln2_hi = 0x1.62e42fefa3p-1, ln2_lo = 0x1.3de6af278ece6p-42;
static const double two_thirds_hi = 0x1.5555555555555p-1, two_thirds_lo = 0x1.5555555555555p-55;

/* (2 atanh(s) - 2 s - 2/3 s^3) / s^5 in s^2, |s| <= 0.1724: log within 2^-72. */
static const double log_c[] = {0.39999999999999974, 0.28571428571446317, 0.22222222217244775,
                               0.18181818905982183, 0.1538455444577205,  0.13336410420890935,
                               0.11672936640177657, 0.12004636765419223};

/* log(x) for positive finite x with a relative error near 2^-64: x = m 2^e, s = (m - 1) / (m + 1),
 * log m = 2 s + s^3 (2/3 + s^2 P), all but P in pairs. */
static mb_pair log_pair(const mb *b, LLVMValueRef x) {
  LLVMValueRef m, e, one = mb_real(b, 1);
  mb_split_f64(b, x, &m, &e);
  LLVMValueRef f = mb_sub(b, m, one);
  mb_pair d = mb_two_sum(b, m, one), s, c;
  s.hi = mb_div(b, f, d.hi);
  mb_pair back = mb_two_product(b, s.hi, d.hi);
  LLVMValueRef left = mb_sub(b, mb_sub(b, f, back.hi), back.lo);
  s.lo = mb_div(b, mb_fnma(b, s.hi, d.lo, left), d.hi);
  mb_pair z = mb_pair_mul(b, s, s);
  c = mb_fast_two_sum(b, mb_real(b, two_thirds_hi), mb_mul(b, z.hi, MB_POLY(b, z.hi, log_c)));
  c.lo = mb_add(b, c.lo, mb_real(b, two_thirds_lo));
  mb_pair cubic = mb_pair_mul(b, mb_pair_mul(b, s, z), c);
  mb_pair twice = {mb_add(b, s.hi, s.hi), mb_add(b, s.lo, s.lo)};
  mb_pair log_m = mb_pair_add(b, twice, cubic);
  mb_pair power = {mb_scale_by(b, e, ln2_hi), mb_scale_by(b, e, ln2_lo)};
  return mb_pair_add(b, power, log_m);
}

static LLVMValueRef is_whole(const mb *b, LLVMValueRef x) {
  return mb_eq(b, mb_intrinsic(b->math, "llvm.trunc", b->real, &x, 1), x);
}

/* |x|^y for every |x| and y but NaN and the cases where the exponent or the base alone decides. */
static LLVMValueRef magnitude(const mb *b, LLVMValueRef a, LLVMValueRef y, bool precise) {
  if (!precise)
    return mb_exp_f64(b, mb_mul(b, y, mb_log_f64(b, a)), NULL, 0);
  mb_pair l = log_pair(b, a), p = mb_two_product(b, y, l.hi);
  p.lo = mb_fma(b, y, l.lo, p.lo);
  LLVMValueRef usual = mb_lt(b, mb_abs(b, p.hi), mb_real(b, 800));
  p.lo = mb_select(b, usual, p.lo, mb_real(b, 0));
  return mb_exp_f64(b, p.hi, p.lo, 0);
}

/* Annex F: pow(1, y) and pow(x, 0) are 1 even for NaN; zero and infinite bases follow the sign of
 * y; a negative base takes whole exponents only, and odd ones give its sign. */
LLVMValueRef mb_pow_f64(const mb *b, LLVMValueRef x, LLVMValueRef y, bool precise) {
  LLVMValueRef a = mb_abs(b, x), zero = mb_real(b, 0), one = mb_real(b, 1);
  LLVMValueRef infinity = mb_infinity(b);
  LLVMValueRef r = magnitude(b, a, y, precise);
  LLVMValueRef falling = mb_lt(b, y, zero);
  LLVMValueRef of_zero = mb_select(b, falling, infinity, zero);
  LLVMValueRef of_infinity = mb_select(b, falling, zero, infinity);
  r = mb_select(b, mb_eq(b, a, zero), of_zero, r);
  r = mb_select(b, mb_eq(b, a, infinity), of_infinity, r);
  LLVMValueRef endless = mb_eq(b, mb_abs(b, y), infinity);
  r = mb_select(b, mb_both(b, endless, mb_eq(b, a, one)), one, r);
  LLVMValueRef whole = is_whole(b, y);
  LLVMValueRef odd = mb_both(b, whole, mb_not(b, is_whole(b, mb_scale_by(b, y, 0.5))));
  r = mb_select(b, odd, mb_copysign(b, r, x), r);
  LLVMValueRef finite_negative = mb_both(b, mb_lt(b, x, zero), mb_lt(b, a, infinity));
  r = mb_select(b, mb_both(b, finite_negative, mb_not(b, whole)), mb_nan(b), r);
  LLVMValueRef unordered = LLVMBuildFCmp(b->at, LLVMRealUNO, x, y, "");
  r = mb_select(b, unordered, mb_add(b, x, y), r);
  return mb_select(b, mb_either(b, mb_eq(b, x, one), mb_eq(b, y, zero)), one, r);
}

/* Mantissa with its implicit bit and exponent field (1 for subnormals) of a positive double. */
static void decompose(const mb *b, LLVMValueRef x, LLVMValueRef *out_mantissa,
                      LLVMValueRef *out_exponent) {
  LLVMValueRef bits = mb_to_bits(b, x), one = mb_int(b, 1);
  LLVMValueRef field = LLVMBuildLShr(b->at, bits, mb_int(b, 52), "");
  LLVMValueRef fraction = LLVMBuildAnd(b->at, bits, mb_int(b, (UINT64_C(1) << 52) - 1), "");
  LLVMValueRef normal = LLVMBuildICmp(b->at, LLVMIntNE, field, mb_int(b, 0), "");
  LLVMValueRef full = LLVMBuildOr(b->at, fraction, mb_int(b, UINT64_C(1) << 52), "");
  *out_mantissa = mb_select(b, normal, full, fraction);
  *out_exponent = mb_select(b, normal, field, one);
}

/* The loop of long_remainder: m = m 2^d mod divisor, eleven bits a step. Leaves the builder in the
 * block after it. */
static LLVMValueRef shift_modulo(const mb *b, LLVMValueRef function, LLVMValueRef m,
                                 LLVMValueRef divisor, LLVMValueRef d) {
  LLVMContextRef context = b->math->context;
  LLVMBasicBlockRef before = LLVMGetInsertBlock(b->at);
  LLVMBasicBlockRef loop = LLVMAppendBasicBlockInContext(context, function, "loop");
  LLVMBasicBlockRef after = LLVMAppendBasicBlockInContext(context, function, "after");
  LLVMBuildBr(b->at, loop);
  LLVMPositionBuilderAtEnd(b->at, loop);
  LLVMValueRef m_phi = LLVMBuildPhi(b->at, b->integer, "");
  LLVMValueRef d_phi = LLVMBuildPhi(b->at, b->integer, "");
  LLVMValueRef many = LLVMBuildICmp(b->at, LLVMIntSGT, d_phi, mb_int(b, 11), "");
  LLVMValueRef step = mb_select(b, many, mb_int(b, 11), d_phi);
  LLVMValueRef shifted = LLVMBuildShl(b->at, m_phi, step, "");
  LLVMValueRef m_next = LLVMBuildURem(b->at, shifted, divisor, "");
  LLVMValueRef d_next = LLVMBuildSub(b->at, d_phi, step, "");
  LLVMAddIncoming(m_phi, (LLVMValueRef[]){m, m_next}, (LLVMBasicBlockRef[]){before, loop}, 2);
  LLVMAddIncoming(d_phi, (LLVMValueRef[]){d, d_next}, (LLVMBasicBlockRef[]){before, loop}, 2);
  LLVMValueRef again = LLVMBuildICmp(b->at, LLVMIntSGT, d_next, mb_int(b, 0), "");
  LLVMBuildCondBr(b->at, again, loop, after);
  LLVMPositionBuilderAtEnd(b->at, after);
  return m_next;
}

/* The internal function (double a, double c) -> a mod c for finite a >= c > 0. */
static LLVMValueRef long_remainder(const tsr_math *math, LLVMTypeRef *out_type) {
  LLVMTypeRef f64 = LLVMDoubleTypeInContext(math->context);
  *out_type = LLVMFunctionType(f64, (LLVMTypeRef[]){f64, f64}, 2, false);
  LLVMBuilderRef body;
  LLVMValueRef function = mb_helper(math, "tsr.math.long_remainder", *out_type, &body);
  if (!body)
    return function;
  tsr_math inner = *math;
  inner.builder = body;
  mb b = mb_begin(&inner, f64);
  LLVMValueRef ma, ea, mc, ec;
  decompose(&b, LLVMGetParam(function, 0), &ma, &ea);
  decompose(&b, LLVMGetParam(function, 1), &mc, &ec);
  LLVMValueRef first = LLVMBuildURem(body, ma, mc, "");
  LLVMValueRef m = shift_modulo(&b, function, first, mc, LLVMBuildSub(body, ea, ec, ""));
  LLVMValueRef y = mb_scale_by(&b, LLVMBuildSIToFP(body, m, f64, ""), 0x1p-52);
  LLVMValueRef power = mb_from_bits(&b, LLVMBuildShl(body, ec, mb_int(&b, 52), ""));
  LLVMBuildRet(body, mb_mul(&b, y, power));
  LLVMDisposeBuilder(body);
  return function;
}

/* For a < 2^52 c: the quotient q is at most one off and a - q c exact. */
static LLVMValueRef short_remainder(const mb *b, LLVMValueRef a, LLVMValueRef c) {
  LLVMValueRef quotient = mb_div(b, a, c);
  LLVMValueRef q = mb_intrinsic(b->math, "llvm.trunc", b->real, &quotient, 1);
  mb_pair p = mb_two_product(b, q, c);
  LLVMValueRef r = mb_sub(b, mb_sub(b, a, p.hi), p.lo);
  r = mb_select(b, mb_lt(b, r, mb_real(b, 0)), mb_add(b, r, c), r);
  return mb_select(b, mb_lt(b, r, c), r, mb_sub(b, r, c));
}

static LLVMValueRef lane_of(const mb *b, LLVMValueRef x, LLVMValueRef lane) {
  return b->lanes ? LLVMBuildExtractElement(b->at, x, lane, "") : x;
}

/* The lanes in `slow` by the internal function, one by one; the others get it with 1 and 1. */
static LLVMValueRef slow_lanes(const mb *b, LLVMValueRef slow, LLVMValueRef a, LLVMValueRef c,
                               LLVMValueRef fast) {
  LLVMTypeRef type;
  LLVMValueRef function = long_remainder(b->math, &type);
  LLVMValueRef one = mb_real(b, 1), all = fast;
  LLVMValueRef top = mb_select(b, slow, a, one), bottom = mb_select(b, slow, c, one);
  for (unsigned i = 0; i < (b->lanes ? b->lanes : 1); i++) {
    LLVMValueRef lane = LLVMConstInt(LLVMInt32TypeInContext(b->math->context), i, false);
    LLVMValueRef arguments[] = {lane_of(b, top, lane), lane_of(b, bottom, lane)};
    LLVMValueRef r = LLVMBuildCall2(b->at, type, function, arguments, 2, "");
    all = b->lanes ? LLVMBuildInsertElement(b->at, all, r, lane, "") : r;
  }
  return mb_select(b, slow, all, fast);
}

/* Ends the builder's block: this is the body of a helper function. */
LLVMValueRef mb_fmod_f64(const mb *b, LLVMValueRef x, LLVMValueRef y) {
  LLVMValueRef a = mb_abs(b, x), c = mb_abs(b, y), infinity = mb_infinity(b);
  LLVMValueRef defined = mb_both(b, mb_lt(b, a, infinity), mb_gt(b, c, mb_real(b, 0)));
  LLVMValueRef far = mb_not(b, mb_lt(b, a, mb_scale_by(b, c, 0x1p52)));
  LLVMValueRef slow = mb_both(b, far, defined), any = slow;
  LLVMValueRef fast = short_remainder(b, a, c);
  if (b->lanes) {
    LLVMTypeRef type = LLVMIntTypeInContext(b->math->context, b->lanes);
    any = LLVMBuildICmp(b->at, LLVMIntNE, LLVMBuildBitCast(b->at, slow, type, ""),
                        LLVMConstNull(type), "");
  }
  LLVMBasicBlockRef start = LLVMGetInsertBlock(b->at);
  LLVMValueRef function = LLVMGetBasicBlockParent(start);
  LLVMBasicBlockRef lanes = LLVMAppendBasicBlockInContext(b->math->context, function, "lanes");
  LLVMBasicBlockRef join = LLVMAppendBasicBlockInContext(b->math->context, function, "join");
  LLVMBuildCondBr(b->at, any, lanes, join);
  LLVMPositionBuilderAtEnd(b->at, lanes);
  LLVMValueRef exact = slow_lanes(b, slow, a, c, fast);
  LLVMBuildBr(b->at, join);
  LLVMPositionBuilderAtEnd(b->at, join);
  LLVMValueRef r = LLVMBuildPhi(b->at, b->real, "");
  LLVMAddIncoming(r, (LLVMValueRef[]){fast, exact}, (LLVMBasicBlockRef[]){start, lanes}, 2);
  LLVMValueRef result = mb_select(b, mb_lt(b, a, c), x, mb_copysign(b, r, x));
  LLVMValueRef valid = mb_both(b, defined, mb_le(b, c, infinity));
  LLVMValueRef unordered = LLVMBuildFCmp(b->at, LLVMRealUNO, x, y, "");
  LLVMValueRef invalid = mb_select(b, unordered, mb_add(b, x, y), mb_nan(b));
  return mb_select(b, valid, result, invalid);
}
