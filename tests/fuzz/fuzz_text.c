/* A regular expression, a zero byte, a text: understood or refused with a reason, and the same
 * within a group and beside itself. The text as a number reads back as what is written of it. */
#include "runtime/host/pattern.h"
#include "runtime/host/text_number.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* -1: refused. */
static int match(tsr_arena *arena, const char *format, const char *pattern, const char *text,
                 size_t length) {
  tsr_pattern *made;
  tsr_diag diag = {0};
  char *whole = tsr_arena_printf(arena, format, pattern, pattern);
  tsr_status status = tsr_pattern_compile(whole, arena, &diag, &made);
  if (status != TSR_OK && diag.message[0] == '\0')
    abort();
  return status == TSR_OK ? tsr_pattern_matches(made, text, length) : -1;
}

static void check_number(tsr_arena *arena, const char *text) {
  double value, again;
  char written[TSR_NUMBER_TEXT];
  if (tsr_number_parse(text, TSR_F64, &value, 0, arena) != TSR_OK)
    return;
  if (tsr_number_format(TSR_F64, &value, 0, written) >= sizeof written)
    abort();
  if (tsr_number_parse(written, TSR_F64, &again, 0, arena) != TSR_OK ||
      !(value == again || (isnan(value) && isnan(again))))
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tsr_arena arena;
  if (size > 4096)
    return 0;
  tsr_arena_init(&arena, tsr_allocator_default());
  const char *pattern = tsr_arena_string(&arena, (const char *)data, size);
  size_t head = strlen(pattern), length = head < size ? size - head - 1 : 0;
  const char *text = pattern + (length > 0 ? head + 1 : head);
  int plain = match(&arena, "%s", pattern, text, length);
  /* \Q reaches over the end of a group, and limits count what is around. */
  bool quotes = strstr(pattern, "\\Q") != NULL;
  if (plain >= 0 && !quotes) {
    int grouped = match(&arena, "(?:%s)", pattern, text, length);
    int twice = match(&arena, "(?:%s)|(?:%s)", pattern, text, length);
    if ((grouped >= 0 && grouped != plain) || (twice >= 0 && twice != plain))
      abort();
  }
  check_number(&arena, text);
  tsr_arena_reset(&arena);
  return 0;
}
