/* The parser's state, shared by parse.c (ops) and parse_expr.c (expressions, types, attributes). */
#ifndef TSR_IR_PARSE_INTERNAL_H
#define TSR_IR_PARSE_INTERNAL_H
#include "ir/ir_internal.h"
#include "ir/lex.h"

/* Names that are visible, innermost last; chained by the name's bucket. */
typedef struct tsr_scope_entry {
  const char *name;
  tsr_value value;
  uint32_t next;
} tsr_scope_entry;

enum { TSR_PARSE_BUCKETS = 1024, TSR_PARSE_MAX_NESTING = 64 };

typedef struct tsr_parser {
  tsr_ir *ir;
  tsr_diag *diag;
  tsr_arena scratch;
  tsr_lexer lexer;
  tsr_token token; /* the next one, not yet taken */
  tsr_status status;
  unsigned region_depth, expr_depth;
  tsr_scope_entry *scope;
  uint32_t scope_count, scope_capacity;
  uint32_t buckets[TSR_PARSE_BUCKETS]; /* number + 1 of the innermost entry */
} tsr_parser;

/* Each returns false (or 0) once `status` is set; the first error stays. */
bool tsr_parse_fail(tsr_parser *p, tsr_status status, const char *format, ...) TSR_PRINTF(3, 4);
void tsr_parse_advance(tsr_parser *p);
bool tsr_parse_at(const tsr_parser *p, char punctuation);
bool tsr_parse_at_word(const tsr_parser *p, const char *word);
/* Takes the punctuation (or the word) when it is next. */
bool tsr_parse_accept(tsr_parser *p, char punctuation);
bool tsr_parse_accept_word(tsr_parser *p, const char *word);
bool tsr_parse_expect(tsr_parser *p, char punctuation);
bool tsr_parse_expect_word(tsr_parser *p, const char *word);
/* False when an error was met, by the parser or by the builder. */
bool tsr_parse_fine(tsr_parser *p);
/* The interned text of the next token; takes it. */
const char *tsr_parse_text(tsr_parser *p);
/* The visible value that the next token names; takes it. */
tsr_value tsr_parse_value(tsr_parser *p);
bool tsr_parse_int(tsr_parser *p, int64_t *out_number);
tsr_expr tsr_parse_expr(tsr_parser *p);
/* [e, e, ...] into scratch memory. */
bool tsr_parse_exprs(tsr_parser *p, const tsr_expr **out_exprs, uint32_t *out_count);
tsr_type tsr_parse_type(tsr_parser *p);
bool tsr_parse_attrs(tsr_parser *p, tsr_op op);
/* Room for one more item in a growing list of scratch memory. */
bool tsr_parse_grow(tsr_parser *p, void **items, uint32_t count, size_t item_size);

#endif
