/* Tokens of the IR's text. */
#ifndef TSR_IR_LEX_H
#define TSR_IR_LEX_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum tsr_token_kind {
  TSR_TOKEN_END,
  TSR_TOKEN_ERROR,
  TSR_TOKEN_WORD,   /* identifier */
  TSR_TOKEN_NAME,   /* 'any text' */
  TSR_TOKEN_VALUE,  /* %name, %12, %'any text' */
  TSR_TOKEN_SYMBOL, /* @name, @'any text' */
  TSR_TOKEN_STRING, /* "any text" */
  TSR_TOKEN_LANE,   /* $3 */
  TSR_TOKEN_INT,
  TSR_TOKEN_FLOAT,
  TSR_TOKEN_RANGE, /* .. */
  TSR_TOKEN_LE,
  TSR_TOKEN_EQ,
  TSR_TOKEN_NE,
  TSR_TOKEN_PUNCTUATION /* one character, in `character` */
} tsr_token_kind;

/* `text` is what stands between quotes (escapes not yet decoded), behind % or @, or the word. */
typedef struct tsr_token {
  tsr_token_kind kind;
  bool quoted;
  char character;
  const char *text; /* of ERROR: what is wrong */
  size_t length;
  uint64_t integer; /* INT, LANE: at most 2^63 */
  double number;    /* FLOAT */
  uint32_t line, column;
} tsr_token;

typedef struct tsr_lexer {
  const char *at, *end, *line_start;
  uint32_t line;
} tsr_lexer;

void tsr_lexer_init(tsr_lexer *lexer, const char *text, size_t length);
tsr_token tsr_lexer_next(tsr_lexer *lexer);
/* Decodes the escapes of a quoted text into `out` (room for `length` + 1 bytes). */
size_t tsr_unescape(const char *text, size_t length, char *out);
/* True for a word that needs no quotes. */
bool tsr_is_word(const char *text);
/* Bytes of the UTF-8 character at `text`; 0 when it is not well formed. */
size_t tsr_utf8_length(const char *text, size_t left);
/* strtod with a decimal point whatever the locale; `text` has at most 400 characters. */
double tsr_decimal_parse(const char *text, size_t length);
/* "%.*g" with a decimal point whatever the locale. */
void tsr_decimal_print(double number, int digits, char *out, size_t out_size);

#endif
