/* The operations on texts. What each does: host_ops.def, and the operators of ONNX they are made
 * for. */
#include "runtime/float_convert.h"
#include "runtime/host/pattern.h"
#include "runtime/host/text.h"
#include "runtime/host/text_number.h"
#include "runtime/host/unicode.h"
#include <stdlib.h>
#include <string.h>

typedef struct text_call {
  const int64_t *numbers;
  const char *const *words;
  uint32_t word_count;
  tsr_texts *texts;
  const tsr_host_array *in;
  tsr_host_array *out;
  tsr_arena *arena;
  tsr_diag *diag;
} text_call;

static int64_t element_count(const tsr_host_array *a) {
  int64_t count = 1;
  for (uint32_t i = 0; i < a->rank; i++)
    count *= a->shape[i];
  return count;
}

static tsr_status no_memory(text_call *c) {
  return tsr_fail(c->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory for texts");
}

/* A result of this shape; its data is zeroed. */
static tsr_status make(text_call *c, uint32_t result, const int64_t *shape, uint32_t rank) {
  tsr_host_array *out = &c->out[result];
  int64_t count = 1;
  if (rank > TSR_MAX_RANK)
    return tsr_fail(c->diag, TSR_ERR_SHAPE, "a tensor of texts of rank %u", rank);
  for (uint32_t i = 0; i < rank; i++) {
    out->shape[i] = shape[i];
    if (shape[i] < 0 || __builtin_mul_overflow(count, shape[i], &count))
      return tsr_fail(c->diag, TSR_ERR_SHAPE, "a tensor of texts is too large");
  }
  int64_t bytes = tsr_dtype_bytes(out->dtype, count);
  out->rank = rank;
  if (bytes < 0)
    return tsr_fail(c->diag, TSR_ERR_SHAPE, "a tensor of texts is too large");
  out->data = tsr_arena_alloc(c->arena, (size_t)bytes);
  return out->data ? TSR_OK : no_memory(c);
}

static tsr_status text_at(text_call *c, const tsr_host_array *a, int64_t index, const char **out) {
  int64_t number = ((const int64_t *)a->data)[index];
  *out = tsr_texts_get(c->texts, number);
  if (!*out)
    return tsr_fail(c->diag, TSR_ERR_ARGUMENT, "%lld is not the number of a text",
                    (long long)number);
  return TSR_OK;
}

static tsr_status number_of(text_call *c, const char *text, size_t length, int64_t *out) {
  tsr_status status = tsr_texts_number(c->texts, text, length, out);
  return status == TSR_OK ? TSR_OK : tsr_fail(c->diag, status, "no room for another text");
}

/* --- normalize --- */

/* In lower or upper case; bytes that are no UTF-8 stay. */
static char *change_case(text_call *c, const char *text, bool upper, size_t *out_length) {
  size_t length = strlen(text), at = 0, to = 0;
  char *out =
      tsr_arena_alloc_array(c->arena, length + 1, 2); /* U+0250 takes 2 bytes, its upper 3 */
  while (out && at < length) {
    size_t from = at;
    uint32_t code = tsr_char_decode(text, length, &at);
    if (code == TSR_CHAR_INVALID)
      out[to++] = text[from];
    else
      to += tsr_char_encode(upper ? tsr_char_upper(code) : tsr_char_lower(code), out + to);
  }
  *out_length = to;
  return out;
}

static tsr_status is_stop_word(text_call *c, const char *text, char *const *lower, bool *out) {
  size_t length = 0;
  *out = false;
  if (c->word_count <= 1)
    return TSR_OK;
  const char *own = lower ? change_case(c, text, false, &length) : text;
  if (!own)
    return no_memory(c);
  for (uint32_t i = 1; i < c->word_count && !*out; i++)
    *out = strcmp(own, lower ? lower[i] : c->words[i]) == 0;
  return TSR_OK;
}

static tsr_status lower_words(text_call *c, char ***out) {
  size_t length;
  *out = tsr_arena_alloc_array(c->arena, c->word_count + (size_t)1, sizeof **out);
  for (uint32_t i = 1; *out && i < c->word_count; i++) {
    (*out)[i] = change_case(c, c->words[i], false, &length);
    if (!(*out)[i])
      return no_memory(c);
  }
  return *out ? TSR_OK : no_memory(c);
}

static tsr_status normalize(text_call *c) {
  const tsr_host_array *x = &c->in[0];
  int64_t count = element_count(x), kept = 0, shape[2] = {1, 0};
  char **lower = NULL;
  if (x->rank < 1 || x->rank > 2 || (x->rank == 2 && x->shape[0] != 1))
    return tsr_fail(c->diag, TSR_ERR_SHAPE, "texts to normalize have shape [N] or [1, N]");
  if (c->numbers[1] == 0)
    TSR_TRY(lower_words(c, &lower));
  int64_t *numbers = tsr_arena_alloc_array(c->arena, (size_t)count + 1, sizeof *numbers);
  if (!numbers)
    return no_memory(c);
  for (int64_t i = 0; i < count; i++) {
    const char *text;
    bool stop;
    TSR_TRY(text_at(c, x, i, &text));
    TSR_TRY(is_stop_word(c, text, lower, &stop));
    if (stop)
      continue;
    size_t length = strlen(text);
    if (c->numbers[0] != 0 && !(text = change_case(c, text, c->numbers[0] == 2, &length)))
      return no_memory(c);
    TSR_TRY(number_of(c, text, length, &numbers[kept++]));
  }
  shape[1] = kept > 0 ? kept : 1; /* numbers[0] is 0, the empty text, when none is kept */
  TSR_TRY(make(c, 0, shape + (x->rank == 1), x->rank));
  memcpy(c->out[0].data, numbers, (size_t)shape[1] * sizeof *numbers);
  return TSR_OK;
}

/* --- concat --- */

static tsr_status broadcast(text_call *c, int64_t *shape, uint32_t *out_rank) {
  const tsr_host_array *x = &c->in[0], *y = &c->in[1];
  uint32_t rank = x->rank > y->rank ? x->rank : y->rank;
  for (uint32_t i = 0; i < rank; i++) {
    int64_t a = i + x->rank >= rank ? x->shape[i + x->rank - rank] : 1;
    int64_t b = i + y->rank >= rank ? y->shape[i + y->rank - rank] : 1;
    if (a != b && a != 1 && b != 1)
      return tsr_fail(c->diag, TSR_ERR_SHAPE, "texts of extents %lld and %lld do not broadcast",
                      (long long)a, (long long)b);
    shape[i] = a == 1 ? b : a;
  }
  *out_rank = rank;
  return TSR_OK;
}

/* Where element `index` of the broadcast shape comes from. */
static int64_t source(const tsr_host_array *a, const int64_t *shape, uint32_t rank, int64_t index) {
  int64_t at = 0, stride = 1;
  for (uint32_t i = rank; i > 0; i--) {
    int64_t position = index % shape[i - 1];
    index /= shape[i - 1];
    if (i + a->rank <= rank)
      continue;
    int64_t extent = a->shape[i - 1 + a->rank - rank];
    at += extent == 1 ? 0 : position * stride;
    stride *= extent;
  }
  return at;
}

static tsr_status concat(text_call *c) {
  int64_t shape[TSR_MAX_RANK];
  uint32_t rank = 0;
  TSR_TRY(broadcast(c, shape, &rank));
  TSR_TRY(make(c, 0, shape, rank));
  int64_t *out = c->out[0].data;
  char *joined = NULL;
  size_t room = 0;
  for (int64_t i = 0, count = element_count(&c->out[0]); i < count; i++) {
    const char *x, *y;
    TSR_TRY(text_at(c, &c->in[0], source(&c->in[0], shape, rank, i), &x));
    TSR_TRY(text_at(c, &c->in[1], source(&c->in[1], shape, rank, i), &y));
    size_t first = strlen(x), second = strlen(y);
    if (first + second > room || !joined) {
      room = 2 * (first + second) + 64;
      joined = tsr_arena_alloc(c->arena, room);
      if (!joined)
        return no_memory(c);
    }
    memcpy(joined, x, first);
    memcpy(joined + first, y, second);
    TSR_TRY(number_of(c, joined, first + second, &out[i]));
  }
  return TSR_OK;
}

/* --- split, as Python's str.split --- */

/* The next piece from *at on; false: there is none. `rest`: all that is left is one. */
static bool next_piece(const char *text, size_t length, const char *delimiter, bool rest,
                       size_t *at, size_t *out_begin, size_t *out_end) {
  size_t by = strlen(delimiter), look;
  if (delimiter[0] != '\0') {
    if (*at > length)
      return false;
    const char *found = rest ? NULL : strstr(text + *at, delimiter);
    *out_begin = *at;
    *out_end = found ? (size_t)(found - text) : length;
    *at = found ? *out_end + by : length + 1;
    return true;
  }
  for (look = *at; look < length; *at = look)
    if (!tsr_char_is_space(tsr_char_decode(text, length, &look)))
      break;
  if (*at >= length)
    return false;
  *out_begin = *at;
  *out_end = length;
  for (look = *at; look < length && !rest; *at = look)
    if (tsr_char_is_space(tsr_char_decode(text, length, &look))) {
      *out_end = *at;
      return true;
    }
  *at = length;
  return true;
}

/* The number of pieces; their numbers when `out` is not NULL. */
static tsr_status split_text(text_call *c, const char *text, int64_t *out, int64_t *out_count) {
  bool spaces = c->numbers[1] != 0;
  const char *delimiter = spaces ? "" : c->words[0];
  size_t length = strlen(text), at = 0, begin, end;
  int64_t count = 0, most = c->numbers[0];
  while (next_piece(text, length, delimiter, most >= 0 && count == most, &at, &begin, &end)) {
    if (out)
      TSR_TRY(number_of(c, text + begin, end - begin, &out[count]));
    count++;
  }
  *out_count = count;
  return TSR_OK;
}

static tsr_status split(text_call *c) {
  const tsr_host_array *x = &c->in[0];
  int64_t count = element_count(x), most = 0, shape[TSR_MAX_RANK + 1], unused;
  const char *text;
  if (c->numbers[1] == 0 && (c->word_count < 1 || c->words[0][0] == '\0'))
    return tsr_fail(c->diag, TSR_ERR_ARGUMENT, "texts are to be split at nothing");
  memcpy(shape, x->shape, x->rank * sizeof *shape);
  TSR_TRY(make(c, 1, shape, x->rank));
  int64_t *counts = c->out[1].data;
  for (int64_t i = 0; i < count; i++) {
    TSR_TRY(text_at(c, x, i, &text));
    TSR_TRY(split_text(c, text, NULL, &counts[i]));
    most = counts[i] > most ? counts[i] : most;
  }
  shape[x->rank] = most;
  TSR_TRY(make(c, 0, shape, x->rank + 1));
  for (int64_t i = 0; i < count; i++) {
    TSR_TRY(text_at(c, x, i, &text));
    TSR_TRY(split_text(c, text, (int64_t *)c->out[0].data + i * most, &unused));
  }
  return TSR_OK;
}

/* --- match, parse, format --- */

static tsr_status match(text_call *c) {
  const tsr_host_array *x = &c->in[0];
  tsr_pattern *pattern;
  TSR_TRY(tsr_pattern_compile(c->word_count > 0 ? c->words[0] : "", c->arena, c->diag, &pattern));
  TSR_TRY(make(c, 0, x->shape, x->rank));
  for (int64_t i = 0, count = element_count(x); i < count; i++) {
    const char *text;
    TSR_TRY(text_at(c, x, i, &text));
    tsr_element_store_i64(c->out[0].dtype, c->out[0].data, i,
                          tsr_pattern_matches(pattern, text, strlen(text)));
  }
  return TSR_OK;
}

static tsr_status parse(text_call *c) {
  const tsr_host_array *x = &c->in[0];
  TSR_TRY(make(c, 0, x->shape, x->rank));
  for (int64_t i = 0, count = element_count(x); i < count; i++) {
    const char *text;
    TSR_TRY(text_at(c, x, i, &text));
    tsr_status status = tsr_number_parse(text, c->out[0].dtype, c->out[0].data, i, c->arena);
    if (status == TSR_ERR_OUT_OF_MEMORY)
      return no_memory(c);
    if (status != TSR_OK)
      return tsr_fail(c->diag, status, "the text '%.80s' is no number that %s can hold", text,
                      tsr_dtype_text(c->out[0].dtype));
  }
  return TSR_OK;
}

static tsr_status format(text_call *c) {
  const tsr_host_array *x = &c->in[0];
  char text[TSR_NUMBER_TEXT];
  TSR_TRY(make(c, 0, x->shape, x->rank));
  int64_t *out = c->out[0].data;
  for (int64_t i = 0, count = element_count(x); i < count; i++) {
    size_t length = tsr_number_format(x->dtype, x->data, i, text);
    TSR_TRY(number_of(c, text, length, &out[i]));
  }
  return TSR_OK;
}

/* --- rank --- */

typedef struct placed_text {
  const char *text;
  int64_t at;
} placed_text;

static int compare_texts(const void *a, const void *b) {
  return strcmp(((const placed_text *)a)->text, ((const placed_text *)b)->text);
}

static tsr_status rank(text_call *c) {
  const tsr_host_array *x = &c->in[0];
  int64_t count = element_count(x);
  TSR_TRY(make(c, 0, x->shape, x->rank));
  placed_text *all = tsr_arena_alloc_array(c->arena, (size_t)count + 1, sizeof *all);
  int64_t *out = c->out[0].data;
  if (!all)
    return no_memory(c);
  for (int64_t i = 0; i < count; i++) {
    all[i].at = i;
    TSR_TRY(text_at(c, x, i, &all[i].text));
  }
  qsort(all, (size_t)count, sizeof *all, compare_texts);
  for (int64_t i = 0; i < count; i++) {
    bool again = i > 0 && compare_texts(&all[i], &all[i - 1]) == 0;
    out[all[i].at] = again ? out[all[i - 1].at] : i;
  }
  return TSR_OK;
}

tsr_status tsr_text_run(tsr_host_op op, const int64_t *numbers, const char *const *words,
                        uint32_t word_count, tsr_texts *texts, const tsr_host_array *operands,
                        uint32_t operand_count, tsr_host_array *results, uint32_t result_count,
                        tsr_arena *arena, tsr_diag *diag) {
  text_call c = {numbers, words, word_count, texts, operands, results, arena, diag};
  uint32_t needs = op == TSR_HOST_TEXT_CONCAT ? 2 : 1, gives = op == TSR_HOST_TEXT_SPLIT ? 2 : 1;
  if (operand_count != needs || result_count != gives)
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "an operation on texts with %u operands, %u results",
                    operand_count, result_count);
  switch (op) {
  case TSR_HOST_TEXT_NORMALIZE:
    return normalize(&c);
  case TSR_HOST_TEXT_CONCAT:
    return concat(&c);
  case TSR_HOST_TEXT_SPLIT:
    return split(&c);
  case TSR_HOST_TEXT_MATCH:
    return match(&c);
  case TSR_HOST_TEXT_PARSE:
    return parse(&c);
  case TSR_HOST_TEXT_FORMAT:
    return format(&c);
  case TSR_HOST_TEXT_RANK:
    return rank(&c);
  default:
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "no operation on texts");
  }
}

tsr_status tsr_text_pattern_check(const char *pattern, const tsr_allocator *allocator,
                                  tsr_diag *diag) {
  tsr_arena arena;
  tsr_pattern *made;
  tsr_arena_init(&arena, allocator ? allocator : tsr_allocator_default());
  tsr_status status = tsr_pattern_compile(pattern, &arena, diag, &made);
  tsr_arena_reset(&arena);
  return status;
}
