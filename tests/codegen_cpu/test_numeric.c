/* Conversions of every pair of element types and integer arithmetic, on every level this machine
 * runs: 16-bit sources exhaustively, the others over special and random values. */
#include "tests/codegen_cpu/jit.h"
#include <math.h>

static const tsr_dtype types[] = {TSR_BOOL, TSR_I8,  TSR_I16, TSR_I32,  TSR_I64, TSR_U8, TSR_U16,
                                  TSR_U32,  TSR_U64, TSR_F16, TSR_BF16, TSR_F32, TSR_F64};
enum { TYPES = sizeof types / sizeof *types, COUNT = 65536 + 4096 };

/* What an element stands for: floats as long double, integers as their 64 bits. */
typedef struct value {
  bool is_float, is_unsigned;
  long double real;
  uint64_t bits;
} value;

static long double minifloat(uint16_t bits, int exponent_bits) {
  int fraction_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
  int exponent = bits >> fraction_bits & ((1 << exponent_bits) - 1);
  int fraction = bits & ((1 << fraction_bits) - 1);
  long double magnitude;
  if (exponent == (1 << exponent_bits) - 1)
    magnitude = fraction ? (long double)NAN : (long double)INFINITY;
  else
    magnitude = ldexpl(exponent ? fraction + (1 << fraction_bits) : fraction,
                       (exponent ? exponent : 1) - bias - fraction_bits);
  return bits >> 15 ? -magnitude : magnitude;
}

/* The nearest minifloat, ties to even, found by comparing with both neighbours. */
static uint16_t to_minifloat(long double real, int exponent_bits) {
  uint16_t sign = signbit(real) ? 0x8000 : 0;
  uint16_t infinity = (uint16_t)(((1 << exponent_bits) - 1) << (15 - exponent_bits));
  long double magnitude = fabsl(real);
  if (isnan(real))
    return (uint16_t)(infinity | 1);
  uint16_t low = 0, high = infinity;
  while (high - low > 1) {
    uint16_t middle = (uint16_t)((low + high) / 2);
    if (minifloat(middle, exponent_bits) <= magnitude)
      low = middle;
    else
      high = middle;
  }
  long double below = minifloat(low, exponent_bits);
  if (magnitude == below || isinf(magnitude))
    return (uint16_t)(sign | (isinf(magnitude) ? infinity : low));
  long double step = below - minifloat((uint16_t)(low - 1), exponent_bits);
  long double above = high == infinity ? below + step : minifloat(high, exponent_bits);
  long double down = magnitude - below, up = above - magnitude;
  return (uint16_t)(sign | (down < up || (down == up && !(low & 1)) ? low : high));
}

static value read_value(tsr_dtype type, const unsigned char *data, size_t index) {
  value v = {0};
  size_t size = tsr_dtype_bits(type) / 8;
  uint64_t bits = 0;
  memcpy(&bits, data + index * size, size);
  v.is_float = tsr_dtype_class_of(type) == TSR_CLASS_FLOAT;
  v.is_unsigned = tsr_dtype_class_of(type) != TSR_CLASS_INT;
  v.bits = bits;
  if (type == TSR_BOOL)
    v.bits = bits != 0;
  if (tsr_dtype_class_of(type) == TSR_CLASS_INT && size < 8)
    v.bits = (uint64_t)((int64_t)(bits << (64 - 8 * size)) >> (64 - 8 * size));
  if (type == TSR_F16)
    v.real = minifloat((uint16_t)bits, 5);
  if (type == TSR_BF16)
    v.real = minifloat((uint16_t)bits, 8);
  if (type == TSR_F32) {
    float narrow;
    memcpy(&narrow, data + index * 4, 4);
    v.real = (long double)narrow;
  }
  if (type == TSR_F64) {
    double wide;
    memcpy(&wide, data + index * 8, 8);
    v.real = (long double)wide;
  }
  return v;
}

static uint64_t real_to_int(long double real, tsr_dtype to) {
  unsigned bits = tsr_dtype_bits(to);
  bool sign = tsr_dtype_class_of(to) == TSR_CLASS_INT;
  long double limit = ldexpl(1, (int)bits - sign), whole = truncl(real);
  if (to == TSR_BOOL)
    return isnan(real) || real != 0;
  if (isnan(real))
    return 0;
  if (whole >= limit)
    return UINT64_MAX >> (64 - bits + sign);
  if (whole < (sign ? -limit : 0))
    return sign ? UINT64_C(1) << (bits - 1) : 0;
  return sign ? (uint64_t)(int64_t)whole : (uint64_t)whole;
}

/* The bits that the converted element should have; NaN results are compared as such. */
static uint64_t expected(const value *v, tsr_dtype to, bool *out_nan) {
  long double real = v->is_float      ? v->real
                     : v->is_unsigned ? (long double)v->bits
                                      : (long double)(int64_t)v->bits;
  uint64_t bits = 0;
  *out_nan = isnan(real) && tsr_dtype_class_of(to) == TSR_CLASS_FLOAT;
  if (to == TSR_F16 || to == TSR_BF16)
    return to_minifloat(real, to == TSR_F16 ? 5 : 8);
  if (to == TSR_F32) {
    float narrow = (float)real;
    memcpy(&bits, &narrow, sizeof narrow);
    return bits;
  }
  if (to == TSR_F64) {
    double wide = (double)real;
    memcpy(&bits, &wide, sizeof wide);
    return bits;
  }
  if (v->is_float)
    return real_to_int(real, to);
  return to == TSR_BOOL ? v->bits != 0 : v->bits;
}

static void store_real(tsr_dtype type, unsigned char *data, size_t index, double real) {
  float narrow = (float)real;
  if (type == TSR_F64)
    memcpy(data + index * 8, &real, 8);
  else
    memcpy(data + index * 4, &narrow, 4);
}

/* Half way between two bf16 numbers and a little off, by less than a double holds. */
static uint64_t bf16_near_tie(uint64_t random) {
  unsigned exponent = 56 + (unsigned)(random % 7);
  uint64_t magnitude = UINT64_C(0x101) << (exponent - 8);
  magnitude += (random >> 8 & 1) << (exponent - 7);
  magnitude += (random >> 16 & 2) - 1;
  return random >> 20 & 1 ? magnitude : -magnitude;
}

/* Values around every power of two, where conversions round, overflow and change sign. */
static void fill(tsr_dtype type, unsigned char *data) {
  size_t size = tsr_dtype_bits(type) / 8;
  uint64_t state = 1234567;
  for (size_t i = 0; i < COUNT; i++) {
    uint64_t bits = size == 2 ? i : jit_random(&state);
    if (size > 2 && tsr_dtype_class_of(type) != TSR_CLASS_FLOAT && i % 2)
      bits = (UINT64_C(1) << (bits & 63)) + (bits >> 8 & 7) - 3 + (bits >> 11 & 1 ? bits >> 40 : 0);
    if (size == 8 && tsr_dtype_class_of(type) != TSR_CLASS_FLOAT && i % 16 == 3)
      bits = bf16_near_tie(bits);
    if (type == TSR_BOOL)
      bits &= 1;
    memcpy(data + i * size, &bits, size);
    if (size < 4 || tsr_dtype_class_of(type) != TSR_CLASS_FLOAT || i % 4 == 0)
      continue;
    int exponent = (int)(bits % 170) - 100;
    double fraction = (double)(bits >> 32 & 0xffff) * (i % 4 == 1 ? 0x1p-11 : 0x1p-16);
    double tail = i % 8 < 4 ? 0 : 0x1p-45;
    store_real(type, data, i, ldexp((bits & 1 ? -1 : 1) * (fraction + tail + 1), exponent));
  }
}

typedef struct pair {
  tsr_dtype from, to;
  bool through_compute;
} pair;

static LLVMValueRef convert(const tsr_math *math, LLVMValueRef a, LLVMValueRef b,
                            const void *user) {
  const pair *p = user;
  (void)b;
  LLVMValueRef x = tsr_numeric_widen(math, p->from, a);
  if (p->through_compute)
    return tsr_numeric_narrow(math, p->to,
                              tsr_numeric_convert(math, x, p->from, p->to, TSR_OVERFLOW_SATURATE));
  return tsr_numeric_convert_storage(math, x, p->from, p->to, TSR_OVERFLOW_SATURATE);
}

static LLVMTypeRef storage(jit *j, tsr_dtype type) {
  tsr_math math = {j->target, j->context, j->module, NULL};
  return tsr_numeric_storage_type(&math, type, 0);
}

static void compare(const char *target, const pair *p, const unsigned char *in,
                    const unsigned char *out, const char *what) {
  size_t size = tsr_dtype_bits(p->to) / 8;
  uint64_t mask = size == 8 ? UINT64_MAX : (UINT64_C(1) << (8 * size)) - 1;
  for (size_t i = 0; i < COUNT; i++) {
    value from = read_value(p->from, in, i), got = read_value(p->to, out, i);
    bool is_nan;
    uint64_t want = expected(&from, p->to, &is_nan) & mask;
    bool right = is_nan ? isnan(got.real) : (got.bits & mask) == want;
    if (!right)
      ck_abort_msg("%s %s -> %s %s: %Lg (0x%llx) gives 0x%llx, not 0x%llx", target,
                   tsr_dtype_text(p->from), tsr_dtype_text(p->to), what, from.real,
                   (unsigned long long)from.bits, (unsigned long long)(got.bits & mask),
                   (unsigned long long)want);
  }
}

START_TEST(conversions) {
  static unsigned char in[COUNT * 8], out[COUNT * 8];
  static const unsigned widths[] = {0, 8, 16, 64};
  tsr_dtype from = types[_i];
  fill(from, in);
  for (const char *const *target = jit_targets(); *target; target++) {
    jit j;
    char name[32];
    pair pairs[TYPES];
    jit_begin(&j, *target);
    for (unsigned k = 0; k < TYPES; k++) {
      pairs[k] = (pair){from, types[k], k % 2 == 0};
      for (unsigned w = 0; w < 4; w++) {
        snprintf(name, sizeof name, "%u.%u", k, widths[w]);
        jit_map(&j, name, storage(&j, from), storage(&j, types[k]), widths[w], convert, &pairs[k]);
      }
    }
    jit_finish(&j);
    for (unsigned k = 0; k < TYPES; k++)
      for (unsigned w = 0; w < 4; w++) {
        snprintf(name, sizeof name, "%u.%u", k, widths[w]);
        jit_entry(&j, name)(in, in, out, COUNT / (widths[w] ? widths[w] : 1));
        compare(*target, &pairs[k], in, out, name);
      }
    jit_end(&j);
  }
}
END_TEST

typedef enum arithmetic { DIVIDE, SHIFT = 4, POWER = 7, ARITHMETIC_END } arithmetic;
typedef struct operation {
  int code;
  bool is_signed;
} operation;

static LLVMValueRef calculate(const tsr_math *math, LLVMValueRef a, LLVMValueRef b,
                              const void *user) {
  const operation *o = user;
  if (o->code < SHIFT)
    return tsr_numeric_divide(math, (tsr_int_division)o->code, a, b, o->is_signed);
  if (o->code < POWER)
    return tsr_numeric_shift(math, (tsr_int_shift)(o->code - SHIFT), a, b);
  return tsr_numeric_ipow(math, a, b, o->is_signed);
}

static __int128 wide(const value *v) {
  return v->is_unsigned ? (__int128)v->bits : (__int128)(int64_t)v->bits;
}

static __int128 divided(int code, __int128 a, __int128 b) {
  if (b == 0)
    return 0;
  __int128 q = a / b, r = a % b;
  if (code >= TSR_INT_DIV_FLOOR && r != 0 && (r < 0) != (b < 0)) {
    q--;
    r += b;
  }
  return code == TSR_INT_DIV_TRUNC || code == TSR_INT_DIV_FLOOR ? q : r;
}

static __int128 shifted(int code, const value *a, const value *b, unsigned bits) {
  uint64_t mask = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
  uint64_t count = b->bits & mask, low = a->bits & mask;
  if (code == TSR_INT_ASHR) {
    int64_t extended = (int64_t)(low << (64 - bits)) >> (64 - bits);
    return extended >> (count >= bits ? bits - 1 : count);
  }
  if (count >= bits)
    return 0;
  return (__int128)(code == TSR_INT_SHL ? low << count : low >> count);
}

static __int128 powered(const value *a, const value *b) {
  __int128 exponent = wide(b), base = wide(a);
  if (exponent < 0)
    return base == 1 ? 1 : base == -1 ? (exponent & 1 ? -1 : 1) : 0;
  uint64_t result = 1, factor = a->bits;
  for (uint64_t e = (uint64_t)exponent; e; e >>= 1, factor *= factor)
    if (e & 1)
      result *= factor;
  return (__int128)result;
}

START_TEST(integer_arithmetic) {
  static unsigned char a[COUNT * 8], b[COUNT * 8], out[COUNT * 8];
  tsr_dtype type = types[1 + _i];
  size_t size = tsr_dtype_bits(type) / 8;
  uint64_t mask = size == 8 ? UINT64_MAX : (UINT64_C(1) << (8 * size)) - 1;
  uint64_t state = 99;
  fill(type, a);
  for (size_t i = 0; i < COUNT; i++) {
    uint64_t bits = jit_random(&state);
    bits = i % 3 == 0 ? bits : (uint64_t)((int64_t)(bits % 141) - 70);
    memcpy(b + i * size, &bits, size);
    if (i % 16 == 0) {
      uint64_t least = UINT64_C(1) << (8 * size - 1), minus_one = UINT64_MAX;
      memcpy(a + i * size, &least, size);
      memcpy(b + i * size, i % 32 ? &minus_one : &least, size);
    }
  }
  for (const char *const *target = jit_targets(); *target; target++) {
    jit j;
    char name[32];
    operation operations[ARITHMETIC_END + 1];
    static const unsigned widths[] = {0, 4, 32};
    jit_begin(&j, *target);
    for (int k = 0; k <= POWER; k++) {
      operations[k] = (operation){k, tsr_dtype_class_of(type) == TSR_CLASS_INT};
      for (unsigned w = 0; w < 3; w++) {
        snprintf(name, sizeof name, "%d.%u", k, widths[w]);
        jit_map(&j, name, storage(&j, type), storage(&j, type), widths[w], calculate,
                &operations[k]);
      }
    }
    jit_finish(&j);
    for (int k = 0; k <= POWER; k++)
      for (unsigned w = 0; w < 3; w++) {
        snprintf(name, sizeof name, "%d.%u", k, widths[w]);
        jit_entry(&j, name)(a, b, out, COUNT / (widths[w] ? widths[w] : 1));
        for (size_t i = 0; i < COUNT; i++) {
          value x = read_value(type, a, i), y = read_value(type, b, i);
          value got = read_value(type, out, i);
          __int128 want = k < SHIFT   ? divided(k, wide(&x), wide(&y))
                          : k < POWER ? shifted(k - SHIFT, &x, &y, (unsigned)(8 * size))
                                      : powered(&x, &y);
          if ((got.bits & mask) != ((uint64_t)want & mask))
            ck_abort_msg("%s %s operation %s: 0x%llx, 0x%llx gives 0x%llx, not 0x%llx", *target,
                         tsr_dtype_text(type), name, (unsigned long long)x.bits,
                         (unsigned long long)y.bits, (unsigned long long)(got.bits & mask),
                         (unsigned long long)((uint64_t)want & mask));
        }
      }
    jit_end(&j);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("codegen_cpu.numeric");
  TCase *cases = tcase_create("numeric");
  tcase_set_timeout(cases, 0);
  tcase_add_loop_test(cases, conversions, 0, TYPES);
  tcase_add_loop_test(cases, integer_arithmetic, 0, 8);
  suite_add_tcase(suite, cases);
  return jit_main(suite);
}
