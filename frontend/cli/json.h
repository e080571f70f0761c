/* Texts of JSON (RFC 8259): files of results come in, figures go out. */
#ifndef TSR_FRONTEND_CLI_JSON_H
#define TSR_FRONTEND_CLI_JSON_H
#include "runtime/arena.h"
#include "runtime/diag.h"
#include <stdbool.h>
#include <stdio.h>

typedef enum tsr_json_kind {
  TSR_JSON_NULL,
  TSR_JSON_BOOL,
  TSR_JSON_NUMBER,
  TSR_JSON_TEXT,
  TSR_JSON_LIST,
  TSR_JSON_OBJECT
} tsr_json_kind;

/* A value; all of a text live in the arena that it was parsed into. */
typedef struct tsr_json {
  tsr_json_kind kind;
  uint32_t line;    /* where it begins, 1-based */
  uint32_t count;   /* LIST, OBJECT: values in it */
  bool truth;       /* BOOL */
  double number;    /* NUMBER: finite */
  const char *text; /* TEXT: well-formed UTF-8, terminated; a zero byte within became U+FFFD */
  const char *key;  /* of a value in an object */
  struct tsr_json *first, *next; /* first value in it; next beside it */
} tsr_json;

/* FORMAT, with the line, when `text` is not one value of JSON; OUT_OF_MEMORY. */
TSR_WARN_UNUSED tsr_status tsr_json_parse(const char *text, size_t length, tsr_arena *arena,
                                          tsr_diag *diag, const tsr_json **out_value);
/* The same of a file. IO as well, and FORMAT when it has more than 16 MiB. */
TSR_WARN_UNUSED tsr_status tsr_json_read(const char *path, tsr_arena *arena, tsr_diag *diag,
                                         const tsr_json **out_value);

/* The value of that key, the first when there are several; NULL when there is none, or when
 * `object` is NULL or no object. */
const tsr_json *tsr_json_get(const tsr_json *object, const char *key);

/* Writes the text in quotes, escaped. */
void tsr_json_put_text(FILE *stream, const char *text);

#endif
