/* Conversions against the definitions of the formats, for every code of the narrow types. */
#include "runtime/float_convert.h"
#include <check.h>
#include <math.h>
#include <string.h>

typedef struct format {
  tsr_dtype dtype;
  int exponent_bits, mantissa_bits, bias;
  unsigned largest;  /* code of the largest finite value */
  unsigned infinity; /* 0: none */
  unsigned nan;      /* what NaN is stored as; 0: none */
  bool unsigned_zero;
} format;

static const format formats[] = {
    {TSR_F4E2M1, 2, 1, 1, 0x7, 0, 0, false},
    {TSR_F6E2M3, 2, 3, 1, 0x1f, 0, 0, false},
    {TSR_F6E3M2, 3, 2, 3, 0x1f, 0, 0, false},
    {TSR_F8E4M3, 4, 3, 7, 0x7e, 0, 0x7f, false},
    {TSR_F8E4M3UZ, 4, 3, 8, 0x7f, 0, 0x80, true},
    {TSR_F8E5M2, 5, 2, 15, 0x7b, 0x7c, 0x7e, false},
    {TSR_F8E5M2UZ, 5, 2, 16, 0x7f, 0, 0x80, true},
    {TSR_F16, 5, 10, 15, 0x7bff, 0x7c00, 0x7e00, false},
    {TSR_BF16, 8, 7, 127, 0x7f7f, 0x7f80, 0x7fc0, false},
};
enum { FORMATS = sizeof formats / sizeof formats[0] };

/* sign, exponent and mantissa as IEEE 754 reads them, for a finite code without sign. */
static double magnitude(const format *f, unsigned code) {
  int exponent = (int)(code >> f->mantissa_bits);
  int mantissa = (int)(code & ((1u << f->mantissa_bits) - 1));
  if (exponent == 0)
    return ldexp(mantissa, 1 - f->bias - f->mantissa_bits);
  return ldexp(mantissa + (1 << f->mantissa_bits), exponent - f->bias - f->mantissa_bits);
}

static unsigned sign_bit(const format *f) {
  return 1u << (f->exponent_bits + f->mantissa_bits);
}

static bool same(double a, double b) {
  return memcmp(&a, &b, sizeof a) == 0;
}

START_TEST(every_code_decodes) {
  const format *f = &formats[_i];
  unsigned sign = sign_bit(f);
  for (unsigned code = 0; code < sign; code++) {
    double plus = tsr_float_decode(f->dtype, code);
    double minus = tsr_float_decode(f->dtype, sign | code);
    if (code <= f->largest) {
      ck_assert(same(plus, magnitude(f, code)));
      if (code != 0 || !f->unsigned_zero)
        ck_assert(same(minus, -magnitude(f, code)));
    } else if (code == f->infinity) {
      ck_assert(isinf(plus) && plus > 0 && isinf(minus) && minus < 0);
    } else {
      ck_assert(isnan(plus) && isnan(minus));
    }
  }
  if (f->unsigned_zero)
    ck_assert(isnan(tsr_float_decode(f->dtype, sign)));
}
END_TEST

/* Every value, the midpoint between neighbours, and the doubles on both sides of it. */
START_TEST(every_code_is_the_nearest) {
  const format *f = &formats[_i];
  unsigned sign = sign_bit(f);
  for (unsigned code = 0; code < f->largest; code++) {
    double a = magnitude(f, code), b = magnitude(f, code + 1), middle = (a + b) / 2;
    unsigned even = code % 2 == 0 ? code : code + 1;
    unsigned minus = f->unsigned_zero && code == 0 ? 0 : sign | code;
    ck_assert_uint_eq(tsr_float_encode(f->dtype, a, TSR_OVERFLOW_SATURATE), code);
    ck_assert_uint_eq(tsr_float_encode(f->dtype, -a, TSR_OVERFLOW_SATURATE), minus);
    ck_assert_uint_eq(tsr_float_encode(f->dtype, middle, TSR_OVERFLOW_SATURATE), even);
    ck_assert_uint_eq(tsr_float_encode(f->dtype, nextafter(middle, 0), TSR_OVERFLOW_SATURATE),
                      code);
    ck_assert_uint_eq(
        tsr_float_encode(f->dtype, nextafter(middle, INFINITY), TSR_OVERFLOW_SATURATE), code + 1);
    ck_assert_uint_eq(
        tsr_float_encode(f->dtype, -nextafter(middle, INFINITY), TSR_OVERFLOW_SATURATE),
        sign | (code + 1));
  }
}
END_TEST

START_TEST(overflow_and_nan) {
  const format *f = &formats[_i];
  unsigned sign = sign_bit(f);
  double top = magnitude(f, f->largest), step = top - magnitude(f, f->largest - 1);
  double too_large = top + step / 2; /* the tie that would round to the next power */
  unsigned special = f->infinity != 0 ? f->infinity : f->nan;
  bool narrow = f->dtype != TSR_F16 && f->dtype != TSR_BF16;
  unsigned saturated = narrow ? f->largest : f->infinity;
  bool rounds_down = f->largest % 2 == 0;
  double values[] = {nextafter(too_large, INFINITY), top * 4, 1e300, INFINITY};
  for (int i = 0; i < 4; i++) {
    unsigned unsaturated = special != 0 ? special : f->largest;
    ck_assert_uint_eq(tsr_float_encode(f->dtype, values[i], TSR_OVERFLOW_SATURATE), saturated);
    ck_assert_uint_eq(tsr_float_encode(f->dtype, -values[i], TSR_OVERFLOW_SATURATE),
                      sign | saturated);
    ck_assert_uint_eq(tsr_float_encode(f->dtype, values[i], TSR_OVERFLOW_SPECIAL), unsaturated);
    if (unsaturated != 0x80)
      ck_assert_uint_eq(tsr_float_encode(f->dtype, -values[i], TSR_OVERFLOW_SPECIAL),
                        sign | unsaturated);
  }
  ck_assert_uint_eq(tsr_float_encode(f->dtype, nextafter(too_large, 0), TSR_OVERFLOW_SPECIAL),
                    f->largest);
  ck_assert_uint_eq(tsr_float_encode(f->dtype, too_large, TSR_OVERFLOW_SPECIAL),
                    rounds_down || special == 0 ? f->largest : special);
  ck_assert_uint_eq(tsr_float_encode(f->dtype, (double)NAN, TSR_OVERFLOW_SATURATE),
                    f->nan != 0 ? f->nan : f->largest);
  ck_assert_uint_eq(tsr_float_encode(f->dtype, 5e-324, TSR_OVERFLOW_SATURATE), 0);
  ck_assert_uint_eq(tsr_float_encode(f->dtype, -5e-324, TSR_OVERFLOW_SATURATE),
                    f->unsigned_zero ? 0 : sign);
}
END_TEST

START_TEST(f32_matches_the_compiler) {
  uint64_t random = 1;
  for (int i = 0; i < 2000000; i++) {
    double value;
    float expected;
    uint32_t bits;
    random = random * 6364136223846793005u + 1442695040888963407u;
    memcpy(&value, &random, sizeof value);
    if (i % 2 == 0) /* into the range where f32 is normal or subnormal */
      value = ldexp(1 + (double)(random >> 12) * 0x1p-52, (int)(random >> 3 & 0xff) * 1 - 160);
    expected = (float)value;
    memcpy(&bits, &expected, sizeof bits);
    if (isnan(value))
      continue;
    ck_assert_uint_eq(tsr_float_encode(TSR_F32, value, TSR_OVERFLOW_SATURATE), bits);
    ck_assert(same(tsr_float_decode(TSR_F32, bits), (double)expected));
  }
}
END_TEST

START_TEST(e8m0_is_a_power_of_two) {
  for (unsigned code = 0; code < 255; code++) {
    double value = ldexp(1, (int)code - 127);
    unsigned next = code < 254 ? code + 1 : 254;
    ck_assert(same(tsr_float_decode(TSR_F8E8M0, code), value));
    ck_assert_uint_eq(tsr_float_encode(TSR_F8E8M0, value, TSR_OVERFLOW_SATURATE), code);
    ck_assert_uint_eq(tsr_float_encode(TSR_F8E8M0, -value, TSR_OVERFLOW_SATURATE), code);
    ck_assert_uint_eq(tsr_float_encode(TSR_F8E8M0, value * 1.5, TSR_OVERFLOW_SATURATE), next);
    ck_assert_uint_eq(tsr_float_encode(TSR_F8E8M0, nextafter(value * 1.5, 0), TSR_OVERFLOW_SPECIAL),
                      code);
  }
  ck_assert_uint_eq(tsr_float_encode(TSR_F8E8M0, 0, TSR_OVERFLOW_SATURATE), 0);
  ck_assert_uint_eq(tsr_float_encode(TSR_F8E8M0, 5e-324, TSR_OVERFLOW_SATURATE), 0);
  ck_assert_uint_eq(tsr_float_encode(TSR_F8E8M0, 1e300, TSR_OVERFLOW_SPECIAL), 255);
  ck_assert_uint_eq(tsr_float_encode(TSR_F8E8M0, (double)INFINITY, TSR_OVERFLOW_SATURATE), 255);
  ck_assert(isnan(tsr_float_decode(TSR_F8E8M0, 255)));
}
END_TEST

START_TEST(elements_do_not_disturb_their_neighbours) {
  for (int code = 1; code < TSR_DTYPE_COUNT; code++) {
    tsr_dtype dtype = (tsr_dtype)code;
    unsigned width = tsr_dtype_bits(dtype);
    uint64_t mask = UINT64_MAX >> (64 - width), expected[37], random = (uint64_t)code;
    unsigned char bytes[37 * 8 + 1];
    size_t size = (size_t)tsr_dtype_bytes(dtype, 37);
    memset(bytes, 0xee, sizeof bytes);
    for (int i = 0; i < 37; i++) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      expected[i] = random >> 7 & mask;
    }
    for (int i = 36; i >= 0; i -= 2)
      tsr_element_store_bits(dtype, bytes, i, expected[i]);
    for (int i = 1; i < 37; i += 2)
      tsr_element_store_bits(dtype, bytes, i, expected[i]);
    for (int i = 0; i < 37; i++)
      ck_assert_uint_eq(tsr_element_load_bits(dtype, bytes, i), expected[i]);
    ck_assert_uint_eq(bytes[size], 0xee);
    if (width < 8) /* least significant bit first, rows unpadded */
      ck_assert_uint_eq(bytes[0] & mask, expected[0]);
  }
}
END_TEST

START_TEST(integers_wrap_and_saturate) {
  unsigned char bytes[16];
  tsr_element_store_f64(TSR_I4, bytes, 1, 100.0);
  ck_assert_int_eq(tsr_element_load_i64(TSR_I4, bytes, 1), 7);
  tsr_element_store_f64(TSR_I4, bytes, 1, -8.9);
  ck_assert_int_eq(tsr_element_load_i64(TSR_I4, bytes, 1), -8);
  tsr_element_store_f64(TSR_I4, bytes, 1, -100);
  ck_assert_int_eq(tsr_element_load_i64(TSR_I4, bytes, 1), -8);
  tsr_element_store_f64(TSR_U2, bytes, 3, 2.99);
  ck_assert_int_eq(tsr_element_load_i64(TSR_U2, bytes, 3), 2);
  tsr_element_store_f64(TSR_U8, bytes, 0, -3);
  ck_assert_int_eq(bytes[0], 0);
  tsr_element_store_i64(TSR_U8, bytes, 0, -3);
  ck_assert_int_eq(bytes[0], 253);
  tsr_element_store_f64(TSR_I64, bytes, 0, 1e300);
  ck_assert_int_eq(tsr_element_load_i64(TSR_I64, bytes, 0), INT64_MAX);
  tsr_element_store_f64(TSR_I64, bytes, 0, -1e300);
  ck_assert_int_eq(tsr_element_load_i64(TSR_I64, bytes, 0), INT64_MIN);
  tsr_element_store_f64(TSR_U64, bytes, 0, 1e300);
  ck_assert_double_eq(tsr_element_load_f64(TSR_U64, bytes, 0), 0x1p64);
  ck_assert_int_eq(tsr_element_load_i64(TSR_U64, bytes, 0), -1);
  tsr_element_store_f64(TSR_I32, bytes, 0, (double)NAN);
  ck_assert_int_eq(tsr_element_load_i64(TSR_I32, bytes, 0), 0);
  tsr_element_store_f64(TSR_BOOL, bytes, 0, 0.25);
  ck_assert_int_eq(bytes[0], 1);
  tsr_element_store_i64(TSR_BOOL, bytes, 0, 256);
  ck_assert_int_eq(bytes[0], 1);
  tsr_element_store_f64(TSR_F32, bytes, 0, -2.75);
  ck_assert_int_eq(tsr_element_load_i64(TSR_F32, bytes, 0), -2);
}
END_TEST

/* Rounding by way of double first would give another result for these. */
START_TEST(wide_integers_round_once) {
  static const int64_t values[] = {((int64_t)1 << 62) + ((int64_t)1 << 38) + 1,
                                   -(((int64_t)1 << 62) + ((int64_t)1 << 38) + 1),
                                   ((int64_t)1 << 60) + ((int64_t)1 << 36) - 1,
                                   INT64_MAX,
                                   INT64_MIN,
                                   ((int64_t)1 << 53) + 1,
                                   ((int64_t)3 << 60) + ((int64_t)1 << 38) + 1};
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
    float expected = (float)values[i], stored;
    double wide;
    tsr_element_store_i64(TSR_F32, &stored, 0, values[i]);
    ck_assert_float_eq(stored, expected);
    tsr_element_store_i64(TSR_F64, &wide, 0, values[i]);
    ck_assert_double_eq(wide, (double)values[i]);
  }
}
END_TEST

START_TEST(bulk_matches_single) {
  double from[50], to[50];
  int64_t from_integers[50], to_integers[50];
  unsigned char bytes[512];
  for (int i = 0; i < 50; i++) {
    from[i] = i - 3;
    from_integers[i] = i % 7 - 4;
  }
  memset(bytes, 0, sizeof bytes);
  tsr_elements_store_f64(TSR_F16, bytes, 5, 50, from);
  tsr_elements_load_f64(TSR_F16, bytes, 5, 50, to);
  ck_assert_mem_eq(from, to, sizeof from);
  tsr_elements_store_i64(TSR_I4, bytes, 3, 50, from_integers);
  tsr_elements_load_i64(TSR_I4, bytes, 3, 50, to_integers);
  ck_assert_mem_eq(from_integers, to_integers, sizeof from_integers);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("convert");
  TCase *tests = tcase_create("all");
  SRunner *runner;
  int failed;
  tcase_set_timeout(tests, 60);
  tcase_add_loop_test(tests, every_code_decodes, 0, FORMATS);
  tcase_add_loop_test(tests, every_code_is_the_nearest, 0, FORMATS);
  tcase_add_loop_test(tests, overflow_and_nan, 0, FORMATS);
  tcase_add_test(tests, f32_matches_the_compiler);
  tcase_add_test(tests, e8m0_is_a_power_of_two);
  tcase_add_test(tests, elements_do_not_disturb_their_neighbours);
  tcase_add_test(tests, integers_wrap_and_saturate);
  tcase_add_test(tests, wide_integers_round_once);
  tcase_add_test(tests, bulk_matches_single);
  suite_add_tcase(suite, tests);
  runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
