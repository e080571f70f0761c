#include "runtime/host/text_number.h"
#include "runtime/float_convert.h"
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- to text --- */

/* d1.d2d3.. x 10^exponent; digits without a point, so that no locale has a say. */
typedef struct decimal {
  char digits[20];
  int count, exponent;
} decimal;

static decimal digits_of(double x, int count) {
  char text[40];
  decimal d = {.count = 0};
  snprintf(text, sizeof text, "%.*e", count - 1, x);
  const char *c = text;
  for (; *c != 'e'; c++)
    if (*c >= '0' && *c <= '9' && d.count < count)
      d.digits[d.count++] = *c;
  d.exponent = (int)strtol(c + 1, NULL, 10);
  while (d.count > 1 && d.digits[d.count - 1] == '0')
    d.count--;
  return d;
}

static bool reads_back(const decimal *d, double x, bool narrow) {
  char text[48];
  snprintf(text, sizeof text, "%.*se%d", d->count, d->digits, d->exponent - d->count + 1);
  return narrow ? strtof(text, NULL) == (float)x : strtod(text, NULL) == x;
}

static decimal shortest(double x, bool narrow) {
  int most = narrow ? 9 : 17;
  decimal d = digits_of(x, most);
  for (int count = 1; count < most; count++) {
    decimal shorter = digits_of(x, count);
    if (reads_back(&shorter, x, narrow))
      return shorter;
  }
  return d;
}

static size_t write_decimal(const decimal *d, char *out) {
  char *to = out;
  if (d->exponent < -4 || d->exponent >= (d->count > 8 ? d->count : 8)) {
    *to++ = d->digits[0];
    if (d->count > 1)
      *to++ = '.';
    for (int i = 1; i < d->count; i++)
      *to++ = d->digits[i];
    to += snprintf(to, 8, "e%+03d", d->exponent);
    return (size_t)(to - out);
  }
  if (d->exponent < 0) {
    *to++ = '0';
    *to++ = '.';
    for (int i = d->exponent + 1; i < 0; i++)
      *to++ = '0';
  }
  for (int i = 0; i < d->count || i <= d->exponent; i++) {
    *to++ = i < d->count ? d->digits[i] : '0';
    if (i == d->exponent && i + 1 < d->count)
      *to++ = '.';
  }
  return (size_t)(to - out);
}

static size_t copy_text(char *out, const char *text) {
  size_t length = strlen(text);
  memcpy(out, text, length + 1);
  return length;
}

static size_t format_float(double x, bool narrow, char *out) {
  if (isnan(x))
    return copy_text(out, "NaN");
  size_t sign = signbit(x) ? copy_text(out, "-") : 0;
  if (isinf(x))
    return sign + copy_text(out + sign, "INF");
  if (x == 0)
    return sign + copy_text(out + sign, "0");
  decimal d = shortest(fabs(x), narrow);
  size_t length = sign + write_decimal(&d, out + sign);
  out[length] = '\0';
  return length;
}

size_t tsr_number_format(tsr_dtype dtype, const void *data, int64_t index, char *out) {
  if (tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT)
    return format_float(tsr_element_load_f64(dtype, data, index), dtype != TSR_F64, out);
  int64_t number = tsr_element_load_i64(dtype, data, index);
  if (dtype == TSR_U64)
    return (size_t)snprintf(out, TSR_NUMBER_TEXT, "%llu", (unsigned long long)number);
  return (size_t)snprintf(out, TSR_NUMBER_TEXT, "%lld", (long long)number);
}

/* --- from text --- */

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The word in any case, to the end but for white space. */
static bool is_word(const char *text, const char *word) {
  for (; *word; text++, word++)
    if ((*text | 32) != *word)
      return false;
  while (is_space(*text))
    text++;
  return *text == '\0';
}

typedef struct literal {
  const char *digits; /* at the first digit or point */
  bool negative, whole;
  int64_t exponent; /* behind e */
  size_t length;    /* digits and point */
} literal;

static bool read_literal(const char *text, literal *out) {
  bool any = false, point = false, minus = false;
  *out = (literal){.whole = true};
  out->negative = *text == '-';
  text += *text == '-' || *text == '+';
  out->digits = text;
  for (; is_digit(*text) || (*text == '.' && !point); text++) {
    any |= *text != '.';
    point |= *text == '.';
  }
  out->length = (size_t)(text - out->digits);
  out->whole = !point;
  if (any && (*text == 'e' || *text == 'E')) {
    out->whole = false;
    text++;
    minus = *text == '-';
    text += *text == '-' || *text == '+';
    any = is_digit(*text);
    for (; is_digit(*text); text++)
      if (out->exponent < 1000000000)
        out->exponent = out->exponent * 10 + (*text - '0');
    out->exponent = minus ? -out->exponent : out->exponent;
  }
  while (is_space(*text))
    text++;
  return any && *text == '\0';
}

/* strtod takes the locale's point: it gets the digits without any. */
static tsr_status literal_value(const literal *l, bool narrow, tsr_arena *arena, double *out) {
  char *plain = tsr_arena_alloc(arena, l->length + 32);
  size_t count = 0, behind = 0;
  bool point = false;
  if (!plain)
    return TSR_ERR_OUT_OF_MEMORY;
  for (size_t i = 0; i < l->length; i++) {
    if (l->digits[i] == '.') {
      point = true;
      continue;
    }
    plain[count++] = l->digits[i];
    behind += point;
  }
  snprintf(plain + count, 32, "e%lld", (long long)(l->exponent - (int64_t)behind));
  *out = narrow ? (double)strtof(plain, NULL) : strtod(plain, NULL);
  if (l->negative)
    *out = -*out;
  return TSR_OK;
}

static tsr_status parse_float(const char *text, bool narrow, tsr_arena *arena, double *out) {
  literal l;
  const char *word = text + (*text == '-' || *text == '+');
  *out = 0;
  if (is_word(word, "inf") || is_word(word, "infinity"))
    *out = *text == '-' ? -INFINITY : INFINITY;
  else if (is_word(word, "nan"))
    *out = NAN;
  else if (!read_literal(text, &l))
    return TSR_ERR_FORMAT;
  else
    return literal_value(&l, narrow, arena, out);
  return TSR_OK;
}

/* Digits alone: all 64 bits, signed or not. */
static tsr_status parse_whole(const literal *l, bool is_unsigned, int64_t *out) {
  uint64_t number = 0, most = l->negative   ? (uint64_t)1 << 63
                              : is_unsigned ? UINT64_MAX
                                            : (uint64_t)INT64_MAX;
  for (size_t i = 0; i < l->length; i++)
    if (__builtin_mul_overflow(number, 10u, &number) ||
        __builtin_add_overflow(number, (uint64_t)(l->digits[i] - '0'), &number))
      return TSR_ERR_FORMAT;
  if (number > most)
    return TSR_ERR_FORMAT;
  number = l->negative ? 0 - number : number;
  memcpy(out, &number, sizeof *out);
  return TSR_OK;
}

tsr_status tsr_number_parse(const char *text, tsr_dtype dtype, void *data, int64_t index,
                            tsr_arena *arena) {
  tsr_dtype_class kind = tsr_dtype_class_of(dtype);
  double value;
  literal l;
  while (is_space(*text))
    text++;
  if (kind == TSR_CLASS_FLOAT || kind == TSR_CLASS_BOOL) {
    TSR_TRY(parse_float(text, kind == TSR_CLASS_FLOAT && dtype == TSR_F32, arena, &value));
    if (kind == TSR_CLASS_BOOL)
      tsr_element_store_i64(dtype, data, index, value != 0);
    else
      tsr_element_store_f64(dtype, data, index, value);
    return TSR_OK;
  }
  int64_t number = 0;
  if (!read_literal(text, &l))
    return TSR_ERR_FORMAT;
  if (l.whole)
    TSR_TRY(parse_whole(&l, kind == TSR_CLASS_UINT, &number));
  else {
    TSR_TRY(literal_value(&l, false, arena, &value));
    if (!(value > -9223372036854775808.0 && value < 9223372036854775808.0))
      return TSR_ERR_FORMAT;
    number = (int64_t)value;
  }
  tsr_element_store_i64(dtype, data, index, number);
  return TSR_OK;
}
