#include "runtime/host/unicode.h"
#include <string.h>

#define R(first, count, step)      {first, count, step, 0},
#define C(first, count, step, add) {first, count, step, add},
#define CATEGORY(name, ...)        static const tsr_char_range category_##name[] = {__VA_ARGS__};
#define CASE(name, ...)            static const tsr_char_range case_##name[] = {__VA_ARGS__};
#include "runtime/host/unicode.def"
#undef CATEGORY
#undef CASE

#define COUNT(array) (sizeof(array) / sizeof *(array))

uint32_t tsr_char_decode(const char *text, size_t length, size_t *at) {
  static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const unsigned char *s = (const unsigned char *)text + *at;
  size_t left = length - *at;
  unsigned lead = s[0];
  size_t bytes = lead < 0x80           ? 1
                 : (lead >> 5) == 0x6  ? 2
                 : (lead >> 4) == 0xE  ? 3
                 : (lead >> 3) == 0x1E ? 4
                                       : 0;
  *at += 1;
  if (bytes == 1)
    return lead;
  if (bytes == 0 || bytes > left)
    return TSR_CHAR_INVALID;
  uint32_t code = lead & (0xFFu >> (bytes + 1));
  for (size_t i = 1; i < bytes; i++) {
    if ((s[i] & 0xC0) != 0x80)
      return TSR_CHAR_INVALID;
    code = code << 6 | (s[i] & 0x3Fu);
  }
  if (code < smallest[bytes] || code > TSR_CHAR_MAX || (code >= 0xD800 && code < 0xE000))
    return TSR_CHAR_INVALID;
  *at += bytes - 1;
  return code;
}

size_t tsr_char_encode(uint32_t code, char *out) {
  if (code < 0x80) {
    out[0] = (char)code;
    return 1;
  }
  size_t bytes = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  for (size_t i = bytes - 1; i > 0; i--, code >>= 6)
    out[i] = (char)(0x80 | (code & 0x3F));
  out[0] = (char)((0xF00u >> bytes & 0xFF) | code);
  return bytes;
}

/* Rows are ascending and do not lie around one another. */
static uint32_t map(const tsr_char_range *rows, size_t count, uint32_t code) {
  size_t lo = 0, hi = count;
  while (lo < hi) {
    size_t middle = (lo + hi) / 2;
    if (rows[middle].first <= code)
      lo = middle + 1;
    else
      hi = middle;
  }
  if (lo == 0)
    return code;
  const tsr_char_range *row = &rows[lo - 1];
  uint32_t offset = code - row->first;
  bool in = offset % row->step == 0 && offset / row->step < row->count;
  return in ? (uint32_t)((int64_t)code + row->add) : code;
}

uint32_t tsr_char_lower(uint32_t code) {
  if (code < 0x80)
    return code >= 'A' && code <= 'Z' ? code + 32 : code;
  return map(case_lower, COUNT(case_lower), code);
}

uint32_t tsr_char_upper(uint32_t code) {
  if (code < 0x80)
    return code >= 'a' && code <= 'z' ? code - 32 : code;
  return map(case_upper, COUNT(case_upper), code);
}

bool tsr_char_is_space(uint32_t c) {
  return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

const tsr_char_range *tsr_char_category(const char *name, size_t length, size_t *out_count) {
#define CATEGORY(name, ...) {#name, category_##name, COUNT(category_##name)},
#define CASE(name, ...)
  static const struct {
    const char *name;
    const tsr_char_range *rows;
    size_t count;
  } categories[] = {
#include "runtime/host/unicode.def"
  };
#undef CATEGORY
#undef CASE
  *out_count = 0;
  for (size_t i = 0; i < COUNT(categories); i++)
    if (strlen(categories[i].name) == length && memcmp(categories[i].name, name, length) == 0) {
      *out_count = categories[i].count;
      return categories[i].rows;
    }
  return NULL;
}

const tsr_char_range *tsr_char_case(bool upper, size_t *out_count) {
  *out_count = upper ? COUNT(case_upper) : COUNT(case_lower);
  return upper ? case_upper : case_lower;
}
