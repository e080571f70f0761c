/* The tree of a regular expression, between parsing (pattern_parse.c) and the program that is run
 * (pattern.c). */
#ifndef TSR_RUNTIME_HOST_PATTERN_PARSE_H
#define TSR_RUNTIME_HOST_PATTERN_PARSE_H
#include "runtime/host/pattern.h"

typedef struct tsr_char_span {
  uint32_t lo, hi;
} tsr_char_span;

/* Characters: ascending spans with gaps between them. */
typedef struct tsr_char_set {
  tsr_char_span *spans;
  uint32_t count, room;
} tsr_char_set;

typedef enum tsr_pattern_kind {
  TSR_PATTERN_EMPTY,
  TSR_PATTERN_SET,
  TSR_PATTERN_SEQUENCE,
  TSR_PATTERN_CHOICE,
  TSR_PATTERN_REPEAT,
  TSR_PATTERN_TEXT_BEGIN,
  TSR_PATTERN_TEXT_END,
  TSR_PATTERN_LINE_BEGIN,
  TSR_PATTERN_LINE_END,
  TSR_PATTERN_WORD_EDGE,
  TSR_PATTERN_NO_WORD_EDGE
} tsr_pattern_kind;

typedef struct tsr_pattern_node {
  tsr_pattern_kind kind;
  tsr_char_set set;
  struct tsr_pattern_node *first, *next; /* children; the next child of the same parent */
  uint32_t least, most;                  /* REPEAT; UINT32_MAX: any number */
  uint32_t repeats;                      /* of nested repetitions, multiplied; 1 at least */
} tsr_pattern_node;

TSR_WARN_UNUSED tsr_status tsr_pattern_parse(const char *pattern, tsr_arena *arena, tsr_diag *diag,
                                             tsr_pattern_node **out_root);

#endif
