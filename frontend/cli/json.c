#include "frontend/cli/json.h"
#include "ir/lex.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DEPTH = 64, MOST_NUMBER = 400, MOST_BYTES = 16 << 20 };

typedef struct reader {
  const char *at, *end;
  uint32_t line;
  int depth;
  tsr_arena *arena;
  tsr_diag *diag;
} reader;

static tsr_status fail(reader *r, const char *what) {
  tsr_diag_set_position(r->diag, r->line, 0);
  return tsr_fail(r->diag, TSR_ERR_FORMAT, "%s", what);
}

static tsr_status fail_memory(reader *r) {
  return tsr_fail(r->diag, TSR_ERR_OUT_OF_MEMORY, "no memory for the text's values");
}

static void skip_blanks(reader *r) {
  for (; r->at < r->end && memchr(" \t\r\n", *r->at, 4) != NULL; r->at++)
    r->line += *r->at == '\n';
}

static bool take(reader *r, char wanted) {
  skip_blanks(r);
  bool is = r->at < r->end && *r->at == wanted;
  r->at += is;
  return is;
}

static bool is_digit(const reader *r, const char *at) {
  return at < r->end && *at >= '0' && *at <= '9';
}

static const char *skip_digits(const reader *r, const char *at) {
  while (is_digit(r, at))
    at++;
  return at;
}

/* The end of the number at r->at as the standard writes them, NULL when there is none. */
static const char *number_end(const reader *r) {
  const char *at = r->at + (*r->at == '-');
  if (!is_digit(r, at))
    return NULL;
  at = *at == '0' ? at + 1 : skip_digits(r, at);
  if (at < r->end && *at == '.') {
    if (!is_digit(r, ++at))
      return NULL;
    at = skip_digits(r, at);
  }
  if (at < r->end && (*at == 'e' || *at == 'E')) {
    at++;
    at += at < r->end && (*at == '+' || *at == '-');
    if (!is_digit(r, at))
      return NULL;
    at = skip_digits(r, at);
  }
  return at;
}

static tsr_status read_number(reader *r, tsr_json *out) {
  const char *end = number_end(r);
  if (end == NULL)
    return fail(r, "neither a value of JSON nor a number");
  if (end - r->at > MOST_NUMBER)
    return fail(r, "a number of more than 400 characters");
  out->kind = TSR_JSON_NUMBER;
  out->number = tsr_decimal_parse(r->at, (size_t)(end - r->at));
  r->at = end;
  return isfinite(out->number) ? TSR_OK : fail(r, "a number that is too large");
}

/* Four hexadecimal digits, or -1. */
static int32_t read_code(reader *r) {
  int32_t code = 0;
  for (int i = 0; i < 4; i++, r->at++) {
    static const char digits[] = "0123456789abcdef";
    const char *digit = r->at < r->end && *r->at != '\0'
                            ? strchr(digits, *r->at >= 'A' ? *r->at | 0x20 : *r->at)
                            : NULL;
    if (digit == NULL)
      return -1;
    code = code * 16 + (int32_t)(digit - digits);
  }
  return code;
}

static char *put_utf8(char *out, int32_t code) {
  if (code < 0x80) {
    *out++ = (char)code;
    return out;
  }
  if (code < 0x800) {
    *out++ = (char)(0xc0 | code >> 6);
  } else {
    if (code < 0x10000) {
      *out++ = (char)(0xe0 | code >> 12);
    } else {
      *out++ = (char)(0xf0 | code >> 18);
      *out++ = (char)(0x80 | (code >> 12 & 0x3f));
    }
    *out++ = (char)(0x80 | (code >> 6 & 0x3f));
  }
  *out++ = (char)(0x80 | (code & 0x3f));
  return out;
}

/* Behind a backslash and u: one character, of two codes where they are a pair. What is no character
 * becomes U+FFFD, and so does zero, which would end the text. */
static bool read_escaped_code(reader *r, char **out) {
  enum { REPLACEMENT = 0xfffd };
  int32_t code = read_code(r);
  if (code < 0)
    return false;
  if (code >= 0xd800 && code < 0xdc00 && r->end - r->at >= 6 && r->at[0] == '\\' &&
      r->at[1] == 'u') {
    const char *before = r->at;
    r->at += 2;
    int32_t low = read_code(r);
    if (low >= 0xdc00 && low < 0xe000)
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    else
      r->at = before;
  }
  if (code == 0 || (code >= 0xd800 && code < 0xe000))
    code = REPLACEMENT;
  *out = put_utf8(*out, code);
  return true;
}

static bool read_escape(reader *r, char **out) {
  static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
  if (r->at == r->end)
    return false;
  char name = *r->at++;
  if (name == 'u')
    return read_escaped_code(r, out);
  const char *found = name != '\0' ? strchr(names, name) : NULL;
  if (found == NULL)
    return false;
  *(*out)++ = values[found - names];
  return true;
}

/* Where the quoted text ends that r->at is in; escapes only get shorter when they are decoded. */
static const char *text_end(const reader *r) {
  const char *at = r->at;
  for (; at < r->end && *at != '"'; at++)
    at += *at == '\\' && at + 1 < r->end;
  return at;
}

static tsr_status read_text(reader *r, const char **out_text) {
  if (!take(r, '"'))
    return fail(r, r->at == r->end ? "the file ends where a text is wanted: it is not whole"
                                   : "a text in quotes is missing");
  char *text = tsr_arena_alloc(r->arena, (size_t)(text_end(r) - r->at) + 1), *out = text;
  if (text == NULL)
    return fail_memory(r);
  while (r->at < r->end && *r->at != '"') {
    if ((unsigned char)*r->at < 0x20)
      return fail(r, "a text with a control character, or without its closing quote");
    if (*r->at == '\\') {
      r->at++;
      if (!read_escape(r, &out))
        return fail(r, "an escape that is none of JSON's");
      continue;
    }
    size_t bytes = tsr_utf8_length(r->at, (size_t)(r->end - r->at));
    if (bytes == 0)
      return fail(r, "a text that is not UTF-8");
    memcpy(out, r->at, bytes);
    out += bytes;
    r->at += bytes;
  }
  if (!take(r, '"'))
    return fail(r, "the file ends within a text: it is not whole");
  *out = '\0';
  *out_text = text;
  return TSR_OK;
}

static tsr_status read_value(reader *r, tsr_json *out);

/* The values of a list or an object, up to `close`. */
static tsr_status read_values(reader *r, tsr_json *out, char close) {
  tsr_json **end = &out->first;
  if (++r->depth > MOST_DEPTH)
    return fail(r, "lists and objects within each other deeper than 64");
  while (!take(r, close)) {
    if (out->count > 0 && !take(r, ','))
      return fail(r, r->at == r->end ? "the file ends within a list or object: it is not whole"
                                     : "a comma or the end of a list or object is missing");
    tsr_json *value = tsr_arena_alloc(r->arena, sizeof *value);
    if (value == NULL)
      return fail_memory(r);
    if (close == '}') {
      TSR_TRY(read_text(r, &value->key));
      if (!take(r, ':'))
        return fail(r, "a colon is missing behind a key");
    }
    TSR_TRY(read_value(r, value));
    *end = value;
    end = &value->next;
    out->count++;
  }
  r->depth--;
  return TSR_OK;
}

static bool take_word(reader *r, const char *word) {
  size_t length = strlen(word);
  bool is = (size_t)(r->end - r->at) >= length && memcmp(r->at, word, length) == 0;
  r->at += is ? length : 0;
  return is;
}

static tsr_status read_value(reader *r, tsr_json *out) {
  skip_blanks(r);
  out->line = r->line;
  if (r->at == r->end)
    return fail(r, "the file ends where a value is wanted: it is not whole");
  if (*r->at == '"') {
    out->kind = TSR_JSON_TEXT;
    return read_text(r, &out->text);
  }
  if (*r->at == '{' || *r->at == '[') {
    out->kind = *r->at == '{' ? TSR_JSON_OBJECT : TSR_JSON_LIST;
    return read_values(r, out, *r->at++ == '{' ? '}' : ']');
  }
  if (take_word(r, "null"))
    return TSR_OK;
  out->truth = take_word(r, "true");
  if (out->truth || take_word(r, "false")) {
    out->kind = TSR_JSON_BOOL;
    return TSR_OK;
  }
  return read_number(r, out);
}

tsr_status tsr_json_parse(const char *text, size_t length, tsr_arena *arena, tsr_diag *diag,
                          const tsr_json **out_value) {
  reader r = {.at = text, .end = text + length, .line = 1, .arena = arena, .diag = diag};
  *out_value = NULL;
  tsr_json *value = tsr_arena_alloc(arena, sizeof *value);
  if (value == NULL)
    return fail_memory(&r);
  TSR_TRY(read_value(&r, value));
  skip_blanks(&r);
  if (r.at != r.end)
    return fail(&r, "something follows the value of JSON");
  *out_value = value;
  return TSR_OK;
}

static tsr_status read_bytes(FILE *file, tsr_arena *arena, tsr_diag *diag, char **out_text,
                             size_t *out_length) {
  size_t room = 1 << 16;
  *out_length = 0;
  *out_text = NULL;
  while (true) {
    char *text = tsr_arena_alloc(arena, room);
    if (text == NULL)
      return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "no memory for the file");
    if (*out_length > 0)
      memcpy(text, *out_text, *out_length);
    *out_text = text;
    *out_length += fread(text + *out_length, 1, room - *out_length, file);
    if (ferror(file) != 0)
      return tsr_fail(diag, TSR_ERR_IO, "it cannot be read: %s", strerror(errno));
    if (*out_length < room)
      return TSR_OK;
    if (room >= MOST_BYTES)
      return tsr_fail(diag, TSR_ERR_FORMAT, "it has more than 16 MiB, which results never have");
    room *= 4;
  }
}

tsr_status tsr_json_read(const char *path, tsr_arena *arena, tsr_diag *diag,
                         const tsr_json **out_value) {
  char *text = NULL;
  size_t length = 0;
  *out_value = NULL;
  FILE *file = fopen(path, "rb");
  tsr_status status = TSR_OK;
  if (file == NULL) {
    status = tsr_fail(diag, TSR_ERR_IO, "%s", strerror(errno));
  } else {
    status = read_bytes(file, arena, diag, &text, &length);
    fclose(file);
  }
  if (status == TSR_OK)
    status = tsr_json_parse(text, length, arena, diag, out_value);
  if (status != TSR_OK)
    tsr_diag_set_file(diag, path);
  return status;
}

const tsr_json *tsr_json_get(const tsr_json *object, const char *key) {
  if (object == NULL || object->kind != TSR_JSON_OBJECT)
    return NULL;
  for (const tsr_json *value = object->first; value != NULL; value = value->next)
    if (strcmp(value->key, key) == 0)
      return value;
  return NULL;
}

void tsr_json_put_text(FILE *stream, const char *text) {
  putc('"', stream);
  for (; *text != '\0'; text++) {
    if (*text == '"' || *text == '\\')
      fprintf(stream, "\\%c", *text);
    else if ((unsigned char)*text < 0x20)
      fprintf(stream, "\\u%04x", (unsigned)*text);
    else
      putc(*text, stream);
  }
  putc('"', stream);
}
