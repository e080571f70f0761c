/* Regular expressions in RE2's syntax (RE2::FullMatch over UTF-8 with RE2's default options), as
 * RegexFullMatch of ONNX has them: whether a whole text matches. Time is at most (length of the
 * text) x (size of the program), whatever the expression. */
#ifndef TSR_RUNTIME_HOST_PATTERN_H
#define TSR_RUNTIME_HOST_PATTERN_H
#include "runtime/arena.h"
#include "runtime/diag.h"
#include <stdbool.h>

typedef struct tsr_pattern tsr_pattern;

enum {
  TSR_PATTERN_REPEAT_LIMIT = 1000,  /* of x{n}, also of nested ones multiplied: RE2's limit */
  TSR_PATTERN_DEPTH_LIMIT = 1000,   /* of groups in groups: RE2's limit */
  TSR_PATTERN_PROGRAM_LIMIT = 20000 /* steps after repetitions are written out */
};

/* Understood: all of RE2's syntax but \C, \pX and \p{Name} other than L, Lu, Ll, N, Nd, P, Z, and
 * groups count but are not captured. TSR_ERR_FORMAT names what is not; TSR_ERR_LIMIT: one of the
 * limits above. All memory is from `arena`. */
TSR_WARN_UNUSED tsr_status tsr_pattern_compile(const char *pattern, tsr_arena *arena,
                                               tsr_diag *diag, tsr_pattern **out_pattern);
/* The pattern's own scratch memory is used: one thread at a time. */
bool tsr_pattern_matches(tsr_pattern *pattern, const char *text, size_t length);

#endif
