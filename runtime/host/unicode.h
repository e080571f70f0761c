/* UTF-8, letter case and categories of characters: simple mappings of the Unicode database, the
 * same on every machine and under every locale (unicode.def). */
#ifndef TSR_RUNTIME_HOST_UNICODE_H
#define TSR_RUNTIME_HOST_UNICODE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TSR_CHAR_MAX 0x10FFFFu
/* What a byte is read as that is no part of well-formed UTF-8. */
#define TSR_CHAR_INVALID UINT32_MAX

/* The character at text[*at], which is moved behind it; an invalid byte moves it by one. */
uint32_t tsr_char_decode(const char *text, size_t length, size_t *at);
/* At most 4 bytes; their number. `code` is at most TSR_CHAR_MAX. */
size_t tsr_char_encode(uint32_t code, char *out);

/* One character becomes one character: sharp s stays, final sigma is not known. */
uint32_t tsr_char_lower(uint32_t code);
uint32_t tsr_char_upper(uint32_t code);
/* White space of Unicode and the four separators of ASCII, as Python's str.split. */
bool tsr_char_is_space(uint32_t code);

/* Characters first, first + step, ..: `count` of them, each + add under a mapping. */
typedef struct tsr_char_range {
  uint32_t first;
  uint16_t count, step;
  int32_t add;
} tsr_char_range;
/* The ranges of a general category ("L", "Lu", "Ll", "N", "Nd", "P", "Z"), ascending; NULL: not
 * among the tables. */
const tsr_char_range *tsr_char_category(const char *name, size_t length, size_t *out_count);
/* Those that change under a mapping to lower (or upper) case. */
const tsr_char_range *tsr_char_case(bool upper, size_t *out_count);

#endif
