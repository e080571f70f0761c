#include "ir/lex.h"
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_NUMBER = 400 };

void tsr_lexer_init(tsr_lexer *lexer, const char *text, size_t length) {
  *lexer = (tsr_lexer){text, text + length, text, 1};
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static bool starts_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool continues_word(char c) {
  return starts_word(c) || is_digit(c);
}

bool tsr_is_word(const char *text) {
  if (!starts_word(*text))
    return false;
  while (continues_word(*text))
    text++;
  return *text == '\0';
}

/* The Unicode standard, table 3-7: shortest forms only, no surrogates, at most U+10FFFF. */
size_t tsr_utf8_length(const char *text, size_t left) {
  const unsigned char *u = (const unsigned char *)text;
  size_t length = u[0] < 0x80 ? 1 : u[0] < 0xc2 ? 0 : u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;
  if (length == 0 || length > left || u[0] > 0xf4)
    return 0;
  for (size_t i = 1; i < length; i++)
    if ((u[i] & 0xc0) != 0x80)
      return 0;
  if (length > 2) {
    unsigned first = (unsigned)u[0] << 8 | u[1];
    if (first < 0xe0a0 || (first >= 0xeda0 && first < 0xee00) ||
        (first >= 0xf000 && (first < 0xf090 || first >= 0xf490)))
      return 0;
  }
  return length;
}

/* --- numbers and locales --- */

double tsr_decimal_parse(const char *text, size_t length) {
  char copy[LONGEST_NUMBER + 16];
  const char *point = localeconv()->decimal_point;
  size_t out = 0, point_length = strlen(point);
  for (size_t i = 0; i < length && out < LONGEST_NUMBER; i++)
    if (text[i] == '.' && point_length < 8) {
      memcpy(copy + out, point, point_length);
      out += point_length;
    } else {
      copy[out++] = text[i];
    }
  copy[out] = '\0';
  return strtod(copy, NULL);
}

void tsr_decimal_print(double number, int digits, char *out, size_t out_size) {
  const char *point = localeconv()->decimal_point;
  char *found;
  (void)snprintf(out, out_size, "%.*g", digits, number);
  found = strcmp(point, ".") == 0 ? NULL : strstr(out, point);
  if (found != NULL) {
    *found = '.';
    memmove(found + 1, found + strlen(point), strlen(found + strlen(point)) + 1);
  }
}

/* --- escapes --- */

static int hex_digit(char c) {
  if (is_digit(c))
    return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Bytes of the escape at `text`, which starts with a backslash; 0 when there is no such escape. */
static size_t escape_length(const char *text, size_t left) {
  if (left < 2)
    return 0;
  if (text[1] == 'x') {
    bool fine = left >= 4 && hex_digit(text[2]) >= 0 && hex_digit(text[3]) >= 0;
    return fine && (text[2] != '0' || text[3] != '0') ? 4 : 0;
  }
  return text[1] != '\0' && strchr("\\\"'nt", text[1]) != NULL ? 2 : 0;
}

size_t tsr_unescape(const char *text, size_t length, char *out) {
  size_t size = 0;
  for (size_t i = 0; i < length;) {
    if (text[i] != '\\') {
      out[size++] = text[i++];
    } else if (text[i + 1] == 'x') {
      out[size++] = (char)(hex_digit(text[i + 2]) * 16 + hex_digit(text[i + 3]));
      i += 4;
    } else {
      out[size++] = text[i + 1] == 'n' ? '\n' : text[i + 1] == 't' ? '\t' : text[i + 1];
      i += 2;
    }
  }
  out[size] = '\0';
  return size;
}

/* --- tokens --- */

static void skip_blanks(tsr_lexer *lexer) {
  while (lexer->at < lexer->end) {
    char c = *lexer->at;
    if (c == '\n') {
      lexer->line++;
      lexer->line_start = lexer->at + 1;
    } else if (c == '/' && lexer->end - lexer->at >= 2 && lexer->at[1] == '/') {
      while (lexer->at < lexer->end && *lexer->at != '\n')
        lexer->at++;
      continue;
    } else if (c != ' ' && c != '\t' && c != '\r') {
      return;
    }
    lexer->at++;
  }
}

static char peek(const tsr_lexer *lexer, size_t ahead) {
  return (size_t)(lexer->end - lexer->at) > ahead ? lexer->at[ahead] : '\0';
}

static void fail(tsr_token *token, const char *why) {
  token->kind = TSR_TOKEN_ERROR;
  token->text = why;
  token->length = strlen(why);
}

static void lex_quoted(tsr_lexer *lexer, tsr_token *token, char quote) {
  token->quoted = true;
  token->text = ++lexer->at;
  while (lexer->at < lexer->end && *lexer->at != quote) {
    size_t left = (size_t)(lexer->end - lexer->at), length;
    if ((unsigned char)*lexer->at < 0x20) {
      fail(token, "a quoted text must end on its line");
      return;
    }
    length = *lexer->at == '\\' ? escape_length(lexer->at, left) : tsr_utf8_length(lexer->at, left);
    if (length == 0) {
      fail(token, *lexer->at == '\\' ? "unknown escape; \\\\ \\\" \\' \\n \\t \\xHH are known"
                                     : "the text is not UTF-8");
      return;
    }
    lexer->at += length;
  }
  token->length = (size_t)(lexer->at - token->text);
  if (lexer->at == lexer->end)
    fail(token, "a quoted text has no end");
  else
    lexer->at++;
}

static void lex_word(tsr_lexer *lexer, tsr_token *token) {
  token->text = lexer->at;
  while (continues_word(peek(lexer, 0)))
    lexer->at++;
  token->length = (size_t)(lexer->at - token->text);
}

static void lex_integer(tsr_lexer *lexer, tsr_token *token) {
  const uint64_t limit = (uint64_t)1 << 63;
  for (; is_digit(peek(lexer, 0)); lexer->at++) {
    unsigned digit = (unsigned)(*lexer->at - '0');
    if (token->integer > (limit - digit) / 10) {
      fail(token, "the number does not fit 64 bits");
      return;
    }
    token->integer = token->integer * 10 + digit;
  }
}

static bool exponent_follows(const tsr_lexer *lexer) {
  size_t sign = peek(lexer, 1) == '+' || peek(lexer, 1) == '-';
  return (peek(lexer, 0) == 'e' || peek(lexer, 0) == 'E') && is_digit(peek(lexer, 1 + sign));
}

static void lex_number(tsr_lexer *lexer, tsr_token *token) {
  bool real = false;
  const char *start = lexer->at;
  while (is_digit(peek(lexer, 0)))
    lexer->at++;
  if (peek(lexer, 0) == '.' && is_digit(peek(lexer, 1))) {
    real = true;
    lexer->at++;
    while (is_digit(peek(lexer, 0)))
      lexer->at++;
  }
  if (exponent_follows(lexer)) {
    real = true;
    lexer->at += 2;
    while (is_digit(peek(lexer, 0)))
      lexer->at++;
  }
  token->length = (size_t)(lexer->at - start);
  token->kind = real ? TSR_TOKEN_FLOAT : TSR_TOKEN_INT;
  if (starts_word(peek(lexer, 0))) {
    fail(token, "a number runs into a word");
  } else if (token->length > LONGEST_NUMBER) {
    fail(token, "the number has too many digits");
  } else if (real) {
    token->number = tsr_decimal_parse(start, token->length);
  } else {
    lexer->at = start;
    lex_integer(lexer, token);
  }
}

static void lex_named(tsr_lexer *lexer, tsr_token *token, tsr_token_kind kind) {
  token->kind = kind;
  lexer->at++;
  if (peek(lexer, 0) == '\'')
    lex_quoted(lexer, token, '\'');
  else
    lex_word(lexer, token);
  if (token->kind != TSR_TOKEN_ERROR && token->length == 0)
    fail(token, "a name is missing");
}

static void lex_lane(tsr_lexer *lexer, tsr_token *token) {
  token->kind = TSR_TOKEN_LANE;
  lexer->at++;
  if (!is_digit(peek(lexer, 0)))
    fail(token, "$ stands before the number of an axis");
  else
    lex_integer(lexer, token);
}

static void lex_punctuation(tsr_lexer *lexer, tsr_token *token) {
  static const struct {
    char text[3];
    tsr_token_kind kind;
  } pairs[] = {
      {"..", TSR_TOKEN_RANGE}, {"<=", TSR_TOKEN_LE}, {"==", TSR_TOKEN_EQ}, {"!=", TSR_TOKEN_NE}};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
    if (peek(lexer, 0) == pairs[i].text[0] && peek(lexer, 1) == pairs[i].text[1]) {
      token->kind = pairs[i].kind;
      lexer->at += 2;
      return;
    }
  token->kind = TSR_TOKEN_PUNCTUATION;
  token->character = peek(lexer, 0);
  if (token->character == '\0' || strchr(",=(){}[]:+-*<", token->character) == NULL)
    fail(token, tsr_utf8_length(lexer->at, (size_t)(lexer->end - lexer->at)) == 0
                    ? "the text is not UTF-8"
                    : "an unexpected character");
  else
    lexer->at++;
}

tsr_token tsr_lexer_next(tsr_lexer *lexer) {
  tsr_token token = {.kind = TSR_TOKEN_END};
  char c;
  skip_blanks(lexer);
  token.line = lexer->line;
  token.column = (uint32_t)(lexer->at - lexer->line_start) + 1;
  if (lexer->at == lexer->end)
    return token;
  c = *lexer->at;
  if (starts_word(c)) {
    token.kind = TSR_TOKEN_WORD;
    lex_word(lexer, &token);
  } else if (is_digit(c)) {
    lex_number(lexer, &token);
  } else if (c == '%' || c == '@') {
    lex_named(lexer, &token, c == '%' ? TSR_TOKEN_VALUE : TSR_TOKEN_SYMBOL);
  } else if (c == '$') {
    lex_lane(lexer, &token);
  } else if (c == '"' || c == '\'') {
    token.kind = c == '"' ? TSR_TOKEN_STRING : TSR_TOKEN_NAME;
    lex_quoted(lexer, &token, c);
  } else {
    lex_punctuation(lexer, &token);
  }
  return token;
}
