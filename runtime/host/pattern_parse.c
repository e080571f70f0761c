/* RE2's grammar (github.com/google/re2/wiki/Syntax) by recursive descent. */
#include "runtime/host/pattern_parse.h"
#include "runtime/host/unicode.h"
#include <string.h>

enum { FOLD_CASE = 1, DOT_ALL = 2, MANY_LINES = 4, LAZY = 8 };

typedef struct parser {
  tsr_arena *arena;
  tsr_diag *diag;
  const char *text;
  size_t length, at;
  unsigned flags;
  uint32_t depth;
  bool literal; /* between \Q and \E */
} parser;

typedef tsr_pattern_node node;

static tsr_status no_memory(parser *p) {
  return tsr_fail(p->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory in a regular expression");
}

/* "regular expression '...': WHAT '...'": what stands at `from`. */
static tsr_status refuse(parser *p, const char *what, size_t from) {
  size_t length = p->at > from ? p->at - from : 0;
  return tsr_fail(p->diag, TSR_ERR_FORMAT, "regular expression '%.300s': %s '%.*s'", p->text, what,
                  (int)(length < 100 ? length : 100), p->text + from);
}

static bool more(const parser *p) {
  return p->at < p->length;
}

static bool next_is(const parser *p, char c) {
  return more(p) && p->text[p->at] == c;
}

static bool take(parser *p, const char *word) {
  size_t length = strlen(word);
  if (p->length - p->at < length || memcmp(p->text + p->at, word, length) != 0)
    return false;
  p->at += length;
  return true;
}

static tsr_status take_char(parser *p, uint32_t *out) {
  size_t from = p->at;
  *out = tsr_char_decode(p->text, p->length, &p->at);
  return *out == TSR_CHAR_INVALID ? refuse(p, "invalid UTF-8", from) : TSR_OK;
}

static node *new_node(parser *p, tsr_pattern_kind kind) {
  node *n = tsr_arena_alloc(p->arena, sizeof *n);
  if (n) {
    n->kind = kind;
    n->repeats = 1;
  }
  return n;
}

/* --- sets --- */

static bool add_span(parser *p, tsr_char_set *set, uint32_t lo, uint32_t hi) {
  if (set->count == set->room) {
    uint32_t room = set->room > 0 ? 2 * set->room : 8;
    tsr_char_span *spans = tsr_arena_alloc_array(p->arena, room, sizeof *spans);
    if (!spans)
      return false;
    if (set->count > 0)
      memcpy(spans, set->spans, set->count * sizeof *spans);
    set->spans = spans;
    set->room = room;
  }
  set->spans[set->count++] = (tsr_char_span){lo, hi};
  return true;
}

/* Sorted and merged: heap sort, since sets may be large and patterns are not trusted. */
static void sift(tsr_char_span *spans, size_t root, size_t count) {
  for (size_t child = 2 * root + 1; child < count; root = child, child = 2 * root + 1) {
    if (child + 1 < count && spans[child + 1].lo > spans[child].lo)
      child++;
    if (spans[root].lo >= spans[child].lo)
      return;
    tsr_char_span held = spans[root];
    spans[root] = spans[child];
    spans[child] = held;
  }
}

static void normalize(tsr_char_set *set) {
  uint32_t kept = 0;
  for (size_t i = set->count / 2; i > 0; i--)
    sift(set->spans, i - 1, set->count);
  for (size_t end = set->count; end > 1; end--) {
    tsr_char_span largest = set->spans[0];
    set->spans[0] = set->spans[end - 1];
    set->spans[end - 1] = largest;
    sift(set->spans, 0, end - 1);
  }
  for (uint32_t i = 0; i < set->count; i++) {
    tsr_char_span span = set->spans[i];
    if (kept > 0 && span.lo <= set->spans[kept - 1].hi + 1) {
      if (span.hi > set->spans[kept - 1].hi)
        set->spans[kept - 1].hi = span.hi;
    } else
      set->spans[kept++] = span;
  }
  set->count = kept;
}

static bool add_negated(parser *p, tsr_char_set *to, tsr_char_set *set) {
  uint32_t from = 0;
  normalize(set);
  for (uint32_t i = 0; i < set->count; i++) {
    if (set->spans[i].lo > from && !add_span(p, to, from, set->spans[i].lo - 1))
      return false;
    from = set->spans[i].hi + 1;
  }
  return from > TSR_CHAR_MAX || add_span(p, to, from, TSR_CHAR_MAX);
}

static bool add_ranges(parser *p, tsr_char_set *set, const tsr_char_range *rows, size_t count) {
  for (size_t i = 0; i < count; i++)
    for (uint32_t k = 0; k < (rows[i].step == 1 ? 1u : rows[i].count); k++) {
      uint32_t lo = rows[i].first + k * rows[i].step;
      if (!add_span(p, set, lo, rows[i].step == 1 ? lo + rows[i].count - 1u : lo))
        return false;
    }
  return true;
}

static bool holds(const tsr_char_set *set, uint32_t count, uint32_t c) {
  uint32_t lo = 0, hi = count;
  while (lo < hi) {
    uint32_t middle = (lo + hi) / 2;
    if (set->spans[middle].hi < c)
      lo = middle + 1;
    else
      hi = middle;
  }
  return lo < count && set->spans[lo].lo <= c;
}

/* Adds what differs from members in case only. Twice: k, K and the Kelvin sign are one letter. */
static bool fold(parser *p, tsr_char_set *set) {
  for (int turn = 0; turn < 2; turn++) {
    normalize(set);
    uint32_t sorted = set->count;
    for (int upper = 0; upper < 2; upper++) {
      size_t count;
      const tsr_char_range *rows = tsr_char_case(upper != 0, &count);
      for (size_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < rows[i].count; k++) {
          uint32_t c = rows[i].first + k * rows[i].step;
          uint32_t other = (uint32_t)((int64_t)c + rows[i].add);
          if (holds(set, sorted, c) && !add_span(p, set, other, other))
            return false;
          if (holds(set, sorted, other) && !add_span(p, set, c, c))
            return false;
        }
    }
  }
  return true;
}

/* Folds `part` when asked to, negates it, and adds it to `set`. */
static bool add_part(parser *p, tsr_char_set *set, tsr_char_set *part, bool negated) {
  if ((p->flags & FOLD_CASE) && !fold(p, part))
    return false;
  if (negated)
    return add_negated(p, set, part);
  for (uint32_t i = 0; i < part->count; i++)
    if (!add_span(p, set, part->spans[i].lo, part->spans[i].hi))
      return false;
  return true;
}

/* --- named sets --- */

/* Spans of ASCII, as pairs. */
typedef struct named_set {
  const char *name, *pairs;
} named_set;

static const named_set perl_sets[] = {{"d", "09"}, {"s", "\t\n\f\r  "}, {"w", "09AZaz__"}};
static const named_set posix_sets[] = {{"alnum", "09AZaz"},
                                       {"alpha", "AZaz"},
                                       {"ascii", "\x01\x7f"},
                                       {"blank", "\t\t  "},
                                       {"cntrl", "\x01\x1f\x7f\x7f"},
                                       {"digit", "09"},
                                       {"graph", "!~"},
                                       {"lower", "az"},
                                       {"print", " ~"},
                                       {"punct", "!/:@[`{~"},
                                       {"space", "\t\r  "},
                                       {"upper", "AZ"},
                                       {"word", "09AZaz__"},
                                       {"xdigit", "09AFaf"}};

static tsr_status add_named(parser *p, tsr_char_set *set, const named_set *named, bool negated) {
  tsr_char_set part = {0};
  for (const char *c = named->pairs; *c; c += 2)
    if (!add_span(p, &part, (unsigned char)c[0], (unsigned char)c[1]))
      return no_memory(p);
  return add_part(p, set, &part, negated) ? TSR_OK : no_memory(p);
}

/* \d \s \w and their negations, behind the backslash. */
static const named_set *perl_set(parser *p, bool *out_negated) {
  for (size_t i = 0; more(p) && i < sizeof perl_sets / sizeof *perl_sets; i++) {
    char c = p->text[p->at], name = perl_sets[i].name[0];
    *out_negated = c == name - 32;
    if (c == name || *out_negated) {
      p->at++;
      return &perl_sets[i];
    }
  }
  return NULL;
}

/* \pL, \p{Name}, \p{^Name}, \PL; at the p. */
static tsr_status unicode_set(parser *p, size_t from, tsr_char_set *set) {
  bool negated = p->text[p->at++] == 'P';
  const char *name = p->text + p->at;
  size_t length = 1, count;
  if (!more(p))
    return refuse(p, "invalid character class", from);
  if (*name == '{') {
    const char *end = memchr(name, '}', p->length - p->at);
    if (!end)
      return refuse(p, "invalid character class", from);
    name++;
    length = (size_t)(end - name);
    p->at = (size_t)(end - p->text) + 1;
    if (length > 0 && *name == '^') {
      negated = !negated;
      name++;
      length--;
    }
  } else
    p->at++;
  tsr_char_set part = {0};
  if (length == 3 && memcmp(name, "Any", 3) == 0) {
    if (!add_span(p, &part, 0, TSR_CHAR_MAX))
      return no_memory(p);
  } else {
    const tsr_char_range *rows = tsr_char_category(name, length, &count);
    if (!rows)
      return refuse(p, "this character class is not supported:", from);
    if (!add_ranges(p, &part, rows, count))
      return no_memory(p);
  }
  return add_part(p, set, &part, negated) ? TSR_OK : no_memory(p);
}

/* --- escapes --- */

static int digit_of(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : 16;
}

/* \x41 and \x{10FFFF}, behind the x. */
static bool hex_escape(parser *p, uint32_t *out) {
  bool braced = take(p, "{");
  uint32_t digits = 0;
  *out = 0;
  while (more(p) && digit_of(p->text[p->at]) < 16 && (braced || digits < 2)) {
    *out = *out * 16 + (uint32_t)digit_of(p->text[p->at++]);
    digits++;
    if (*out > TSR_CHAR_MAX)
      return false;
  }
  return braced ? digits > 0 && take(p, "}") : digits == 2;
}

static void octal_escape(parser *p, uint32_t *code) {
  for (int i = 0; i < 2 && more(p) && p->text[p->at] >= '0' && p->text[p->at] <= '7'; i++)
    *code = *code * 8 + (uint32_t)(p->text[p->at++] - '0');
}

/* One character, at the backslash. */
static tsr_status escape(parser *p, uint32_t *out) {
  static const char names[] = "aftnrv", codes[] = "\a\f\t\n\r\v";
  size_t from = p->at++;
  if (!more(p))
    return refuse(p, "trailing \\ at the end:", from);
  uint32_t c;
  TSR_TRY(take_char(p, &c));
  const char *named = c < 0x80 && c != 0 ? strchr(names, (int)c) : NULL;
  *out = c;
  if (named)
    *out = (unsigned char)codes[named - names];
  else if (c == 'x') {
    if (!hex_escape(p, out))
      return refuse(p, "invalid escape sequence", from);
  } else if (c == '0' || (c >= '1' && c <= '7' && more(p) && digit_of(p->text[p->at]) < 8)) {
    *out = c - '0';
    octal_escape(p, out);
  } else if (c >= 0x80 || digit_of((char)c) < 10 || (c >= 'A' && c <= 'Z') ||
             (c >= 'a' && c <= 'z'))
    return refuse(p, "invalid escape sequence", from);
  return TSR_OK;
}

/* --- [...] --- */

static tsr_status class_char(parser *p, size_t from, uint32_t *out) {
  if (!more(p))
    return refuse(p, "missing ]:", from);
  return next_is(p, '\\') ? escape(p, out) : take_char(p, out);
}

/* [:name:], at the bracket. `out_found` false: it is no such thing. */
static tsr_status posix_set(parser *p, tsr_char_set *set, bool *out_found) {
  size_t from = p->at, end = from + 2;
  *out_found = false;
  if (p->length - p->at < 4 || p->text[p->at + 1] != ':')
    return TSR_OK;
  while (end + 1 < p->length && !(p->text[end] == ':' && p->text[end + 1] == ']'))
    end++;
  if (end + 1 >= p->length)
    return TSR_OK;
  *out_found = true;
  p->at = end + 2;
  const char *name = p->text + from + 2;
  bool negated = *name == '^';
  size_t length = end - from - 2 - negated;
  name += negated;
  for (size_t i = 0; i < sizeof posix_sets / sizeof *posix_sets; i++)
    if (strlen(posix_sets[i].name) == length && memcmp(posix_sets[i].name, name, length) == 0)
      return add_named(p, set, &posix_sets[i], negated);
  return refuse(p, "invalid character class", from);
}

/* One member of a bracket: a set, a character or a range. */
static tsr_status class_member(parser *p, size_t from, tsr_char_set *set) {
  size_t begin = p->at;
  bool negated, found = false;
  if (next_is(p, '['))
    TSR_TRY(posix_set(p, set, &found));
  if (found)
    return TSR_OK;
  if (next_is(p, '\\') && p->at + 1 < p->length) {
    p->at++;
    if (next_is(p, 'p') || next_is(p, 'P'))
      return unicode_set(p, begin, set);
    const named_set *named = perl_set(p, &negated);
    if (named)
      return add_named(p, set, named, negated);
    p->at = begin;
  }
  uint32_t lo, hi;
  TSR_TRY(class_char(p, from, &lo));
  hi = lo;
  if (next_is(p, '-') && p->at + 1 < p->length && p->text[p->at + 1] != ']') {
    p->at++;
    TSR_TRY(class_char(p, from, &hi));
    if (hi < lo)
      return refuse(p, "invalid character class range", begin);
  }
  tsr_char_set part = {0};
  if (!add_span(p, &part, lo, hi) || !add_part(p, set, &part, false))
    return no_memory(p);
  return TSR_OK;
}

static tsr_status bracket(parser *p, node **out) {
  size_t from = p->at++;
  bool negated = take(p, "^"), first = true;
  tsr_char_set set = {0};
  node *n = new_node(p, TSR_PATTERN_SET);
  if (!n)
    return no_memory(p);
  for (; first || !next_is(p, ']'); first = false) {
    if (!more(p))
      return refuse(p, "missing ]:", from);
    TSR_TRY(class_member(p, from, &set));
  }
  p->at++;
  if (negated ? !add_negated(p, &n->set, &set) : (n->set = set, false))
    return no_memory(p);
  normalize(&n->set);
  *out = n;
  return TSR_OK;
}

/* --- atoms --- */

static tsr_status set_node(parser *p, uint32_t lo, uint32_t hi, node **out) {
  *out = new_node(p, TSR_PATTERN_SET);
  if (!*out || !add_span(p, &(*out)->set, lo, hi))
    return no_memory(p);
  if (lo == hi && (p->flags & FOLD_CASE) && !fold(p, &(*out)->set))
    return no_memory(p);
  normalize(&(*out)->set);
  return TSR_OK;
}

static tsr_status dot(parser *p, node **out) {
  p->at++;
  TSR_TRY(set_node(p, 0, p->flags & DOT_ALL ? TSR_CHAR_MAX : '\n' - 1, out));
  if (!(p->flags & DOT_ALL) && !add_span(p, &(*out)->set, '\n' + 1, TSR_CHAR_MAX))
    return no_memory(p);
  return TSR_OK;
}

static tsr_status plain(parser *p, tsr_pattern_kind kind, node **out) {
  *out = new_node(p, kind);
  return *out ? TSR_OK : no_memory(p);
}

static tsr_status backslash(parser *p, node **out) {
  size_t from = p->at;
  bool negated;
  if (take(p, "\\b"))
    return plain(p, TSR_PATTERN_WORD_EDGE, out);
  if (take(p, "\\B"))
    return plain(p, TSR_PATTERN_NO_WORD_EDGE, out);
  if (take(p, "\\A"))
    return plain(p, TSR_PATTERN_TEXT_BEGIN, out);
  if (take(p, "\\z"))
    return plain(p, TSR_PATTERN_TEXT_END, out);
  if (take(p, "\\C"))
    return refuse(p, "single bytes are not supported:", from);
  if (p->at + 1 < p->length) {
    p->at++;
    bool unicode = next_is(p, 'p') || next_is(p, 'P');
    const named_set *named = unicode ? NULL : perl_set(p, &negated);
    if (unicode || named) {
      TSR_TRY(plain(p, TSR_PATTERN_SET, out));
      TSR_TRY(unicode ? unicode_set(p, from, &(*out)->set)
                      : add_named(p, &(*out)->set, named, negated));
      normalize(&(*out)->set);
      return TSR_OK;
    }
    p->at = from;
  }
  uint32_t c;
  TSR_TRY(escape(p, &c));
  return set_node(p, c, c, out);
}

static tsr_status alternatives(parser *p, node **out);

static unsigned flag_of(char c) {
  return c == 'i' ? FOLD_CASE : c == 'm' ? MANY_LINES : c == 's' ? DOT_ALL : c == 'U' ? LAZY : 0;
}

/* Behind "(?": names and flags. `out_open` false: flags for the rest of the group that is open. */
static tsr_status group_head(parser *p, size_t from, unsigned *flags, bool *out_open) {
  *out_open = true;
  if (take(p, "P<") || take(p, "<")) {
    size_t begin = p->at;
    while (more(p) && (digit_of(p->text[p->at]) < 10 || p->text[p->at] == '_' ||
                       (p->text[p->at] >= 'a' && p->text[p->at] <= 'z') ||
                       (p->text[p->at] >= 'A' && p->text[p->at] <= 'Z')))
      p->at++;
    bool named = p->at > begin;
    if (!take(p, ">") || !named)
      return refuse(p, "invalid named group", from);
    return TSR_OK;
  }
  bool negative = false, any = false;
  while (more(p)) {
    char c = p->text[p->at++];
    unsigned flag = flag_of(c);
    if (flag != 0) {
      *flags = negative ? *flags & ~flag : *flags | flag;
      any = true;
    } else if (c == '-' && !negative) {
      negative = true;
      any = false;
    } else if ((c == ':' || c == ')') && (!negative || any) && (c == ':' || any)) {
      *out_open = c == ':';
      return TSR_OK;
    } else
      break;
  }
  return refuse(p, "this kind of group is not supported:", from);
}

static tsr_status group(parser *p, node **out) {
  size_t from = p->at++;
  unsigned outer = p->flags, flags = p->flags;
  bool open = true;
  if (take(p, "?"))
    TSR_TRY(group_head(p, from, &flags, &open));
  p->flags = flags;
  if (!open)
    return plain(p, TSR_PATTERN_EMPTY, out);
  if (++p->depth > TSR_PATTERN_DEPTH_LIMIT)
    return tsr_fail(p->diag, TSR_ERR_LIMIT, "regular expression: groups nested deeper than %d",
                    TSR_PATTERN_DEPTH_LIMIT);
  TSR_TRY(alternatives(p, out));
  p->depth--;
  p->flags = outer;
  if (!take(p, ")"))
    return refuse(p, "missing ):", from);
  return TSR_OK;
}

static tsr_status literal(parser *p, node **out) {
  uint32_t c;
  TSR_TRY(take_char(p, &c));
  return set_node(p, c, c, out);
}

static tsr_status atom(parser *p, node **out) {
  bool lines = (p->flags & MANY_LINES) != 0;
  if (p->literal)
    return literal(p, out);
  switch (p->text[p->at]) {
  case '(':
    return group(p, out);
  case '[':
    return bracket(p, out);
  case '.':
    return dot(p, out);
  case '\\':
    return backslash(p, out);
  case '^':
    p->at++;
    return plain(p, lines ? TSR_PATTERN_LINE_BEGIN : TSR_PATTERN_TEXT_BEGIN, out);
  case '$':
    p->at++;
    return plain(p, lines ? TSR_PATTERN_LINE_END : TSR_PATTERN_TEXT_END, out);
  default:
    return literal(p, out);
  }
}

/* --- repetition --- */

static bool number(parser *p, uint32_t *out) {
  size_t from = p->at;
  *out = 0;
  for (; more(p) && digit_of(p->text[p->at]) < 10; p->at++)
    if (*out <= TSR_PATTERN_REPEAT_LIMIT)
      *out = *out * 10 + (uint32_t)digit_of(p->text[p->at]);
  return p->at > from;
}

/* * + ? {n} {n,} {n,m} with an optional ? behind it; false: there is none. Braces that are none of
 * these stand for themselves. */
static bool repetition(parser *p, uint32_t *least, uint32_t *most) {
  size_t from = p->at;
  *least = 0;
  *most = UINT32_MAX;
  if (p->literal || !more(p))
    return false;
  if (take(p, "+"))
    *least = 1;
  else if (take(p, "?"))
    *most = 1;
  else if (take(p, "{")) {
    bool counted = number(p, least);
    *most = *least;
    if (counted && take(p, ",") && !number(p, most))
      *most = UINT32_MAX;
    if (!counted || !take(p, "}")) {
      p->at = from;
      return false;
    }
  } else if (!take(p, "*"))
    return false;
  (void)take(p, "?");
  return true;
}

static tsr_status repeat(parser *p, node **out) {
  uint32_t least, most;
  size_t from = p->at;
  if (!repetition(p, &least, &most))
    return TSR_OK;
  uint32_t times = most == UINT32_MAX ? least : most;
  if (least > TSR_PATTERN_REPEAT_LIMIT || times > TSR_PATTERN_REPEAT_LIMIT || times < least ||
      (times > 1 && (uint64_t)times * (*out)->repeats > TSR_PATTERN_REPEAT_LIMIT))
    return refuse(p, "invalid repetition size", from);
  node *n = new_node(p, TSR_PATTERN_REPEAT);
  if (!n)
    return no_memory(p);
  n->first = *out;
  n->least = least;
  n->most = most;
  n->repeats = (times > 1 ? times : 1) * (*out)->repeats;
  *out = n;
  return repetition(p, &least, &most) ? refuse(p, "bad repetition operator", from) : TSR_OK;
}

/* --- sequences and alternatives --- */

static void append(node *parent, node ***end, node *child) {
  **end = child;
  *end = &child->next;
  if (child->repeats > parent->repeats)
    parent->repeats = child->repeats;
}

static tsr_status sequence(parser *p, node **out) {
  node *all = new_node(p, TSR_PATTERN_SEQUENCE);
  uint32_t least, most;
  if (!all)
    return no_memory(p);
  node **end = &all->first;
  while (more(p)) {
    if (p->literal ? take(p, "\\E") : take(p, "\\Q")) {
      p->literal = !p->literal;
      continue;
    }
    if (!p->literal && take(p, "\\E"))
      continue;
    if (!p->literal && (next_is(p, '|') || next_is(p, ')')))
      break;
    size_t from = p->at;
    if (repetition(p, &least, &most))
      return refuse(p, "no argument for repetition operator", from);
    node *item = NULL;
    TSR_TRY(atom(p, &item));
    TSR_TRY(repeat(p, &item));
    append(all, &end, item);
  }
  *out = all;
  return TSR_OK;
}

static tsr_status alternatives(parser *p, node **out) {
  node *all = new_node(p, TSR_PATTERN_CHOICE);
  if (!all)
    return no_memory(p);
  node **end = &all->first;
  do {
    node *item = NULL;
    TSR_TRY(sequence(p, &item));
    append(all, &end, item);
  } while (take(p, "|"));
  *out = all;
  return TSR_OK;
}

tsr_status tsr_pattern_parse(const char *pattern, tsr_arena *arena, tsr_diag *diag,
                             tsr_pattern_node **out_root) {
  parser p = {.arena = arena, .diag = diag, .text = pattern, .length = strlen(pattern)};
  *out_root = NULL;
  TSR_TRY(alternatives(&p, out_root));
  size_t from = p.at;
  if (take(&p, ")"))
    return refuse(&p, "unexpected", from);
  return TSR_OK;
}
