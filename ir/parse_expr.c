/* Expressions, types and attributes of the IR's text. */
#include "ir/parse_internal.h"
#include <math.h>
#include <string.h>

static tsr_expr parse_or(tsr_parser *p);

/* --- expressions: or < and < comparisons < sums < products and divisions < unary minus --- */

static tsr_expr combine(tsr_parser *p, tsr_index_op op, tsr_expr a, tsr_expr b) {
  tsr_expr result = a == 0 || b == 0 ? 0 : tsr_expr_binary(p->ir, op, a, b);
  if (result == 0)
    (void)tsr_parse_fine(p);
  return result;
}

static tsr_expr parse_call(tsr_parser *p, tsr_index_op op) {
  tsr_expr result;
  tsr_parse_advance(p);
  if (!tsr_parse_expect(p, '('))
    return 0;
  result = parse_or(p);
  while (result != 0 && tsr_parse_accept(p, ','))
    result = combine(p, op, result, parse_or(p));
  return result != 0 && tsr_parse_expect(p, ')') ? result : 0;
}

static tsr_expr parse_dim(tsr_parser *p) {
  tsr_token token = p->token;
  const char *name = tsr_parse_text(p);
  tsr_dim dim = name == NULL ? 0 : tsr_dim_find(p->ir, name);
  if (name != NULL && dim == 0) {
    p->token = token;
    (void)tsr_parse_fail(p, TSR_ERR_FORMAT, "'%s' is not a declared dim", name);
  }
  return dim == 0 ? 0 : tsr_expr_dim(p->ir, dim);
}

static tsr_expr parse_lane(tsr_parser *p) {
  uint64_t axis = p->token.integer;
  if (axis >= TSR_MAX_RANK) {
    (void)tsr_parse_fail(p, TSR_ERR_LIMIT, "a tile has at most %d axes", TSR_MAX_RANK);
    return 0;
  }
  tsr_parse_advance(p);
  return tsr_expr_lane(p->ir, (unsigned)axis);
}

static tsr_expr parse_number(tsr_parser *p, bool negative) {
  uint64_t number = p->token.integer;
  if (number > (uint64_t)INT64_MAX + negative) {
    (void)tsr_parse_fail(p, TSR_ERR_FORMAT, "the number does not fit 64 bits");
    return 0;
  }
  tsr_parse_advance(p);
  return tsr_expr_int(p->ir, negative ? (int64_t)(0 - number) : (int64_t)number);
}

static bool is_keyword(const tsr_token *token) {
  static const char *const words[] = {"floordiv", "ceildiv", "mod", "and", "or"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (token->length == strlen(words[i]) && memcmp(token->text, words[i], token->length) == 0)
      return true;
  return false;
}

static tsr_expr parse_primary(tsr_parser *p) {
  tsr_expr inner;
  switch (p->token.kind) {
  case TSR_TOKEN_INT:
    return parse_number(p, false);
  case TSR_TOKEN_LANE:
    return parse_lane(p);
  case TSR_TOKEN_VALUE:
    return tsr_expr_value(p->ir, tsr_parse_value(p));
  case TSR_TOKEN_NAME:
    return parse_dim(p);
  case TSR_TOKEN_WORD:
    if (tsr_parse_at_word(p, "min"))
      return parse_call(p, TSR_INDEX_MIN);
    if (tsr_parse_at_word(p, "max"))
      return parse_call(p, TSR_INDEX_MAX);
    if (!is_keyword(&p->token))
      return parse_dim(p);
    break;
  default:
    if (!tsr_parse_accept(p, '('))
      break;
    inner = parse_or(p);
    return inner != 0 && tsr_parse_expect(p, ')') ? inner : 0;
  }
  (void)tsr_parse_fail(p, TSR_ERR_FORMAT, "an index expression is expected here");
  return 0;
}

static tsr_expr parse_unary(tsr_parser *p) {
  bool negative = false;
  tsr_expr inner;
  while (tsr_parse_accept(p, '-'))
    negative = !negative;
  if (p->token.kind == TSR_TOKEN_INT)
    return parse_number(p, negative);
  inner = parse_primary(p);
  return negative ? combine(p, TSR_INDEX_MUL, inner, tsr_expr_int(p->ir, -1)) : inner;
}

static tsr_expr parse_product(tsr_parser *p) {
  tsr_expr left = parse_unary(p);
  while (left != 0) {
    tsr_index_op op = TSR_INDEX_MUL;
    if (tsr_parse_at_word(p, "floordiv"))
      op = TSR_INDEX_FLOORDIV;
    else if (tsr_parse_at_word(p, "ceildiv"))
      op = TSR_INDEX_CEILDIV;
    else if (tsr_parse_at_word(p, "mod"))
      op = TSR_INDEX_MOD;
    else if (!tsr_parse_at(p, '*'))
      break;
    tsr_parse_advance(p);
    left = combine(p, op, left, parse_unary(p));
  }
  return left;
}

static tsr_expr parse_sum(tsr_parser *p) {
  tsr_expr left = parse_product(p);
  while (left != 0 && (tsr_parse_at(p, '+') || tsr_parse_at(p, '-'))) {
    bool minus = tsr_parse_at(p, '-');
    tsr_expr right;
    tsr_parse_advance(p);
    right = parse_product(p);
    left = right == 0 ? 0
           : minus    ? tsr_expr_sub(p->ir, left, right)
                      : tsr_expr_add(p->ir, left, right);
    if (left == 0)
      (void)tsr_parse_fine(p);
  }
  return left;
}

static tsr_expr parse_comparison(tsr_parser *p) {
  tsr_expr left = parse_sum(p);
  tsr_index_op op;
  if (left == 0)
    return 0;
  if (tsr_parse_at(p, '<'))
    op = TSR_INDEX_LT;
  else if (p->token.kind == TSR_TOKEN_LE)
    op = TSR_INDEX_LE;
  else if (p->token.kind == TSR_TOKEN_EQ)
    op = TSR_INDEX_EQ;
  else if (p->token.kind == TSR_TOKEN_NE)
    op = TSR_INDEX_NE;
  else
    return left;
  tsr_parse_advance(p);
  return combine(p, op, left, parse_sum(p));
}

static tsr_expr parse_and(tsr_parser *p) {
  tsr_expr left = parse_comparison(p);
  while (left != 0 && tsr_parse_accept_word(p, "and"))
    left = combine(p, TSR_INDEX_AND, left, parse_comparison(p));
  return left;
}

static tsr_expr parse_or(tsr_parser *p) {
  tsr_expr left;
  if (p->expr_depth == TSR_PARSE_MAX_NESTING) {
    (void)tsr_parse_fail(p, TSR_ERR_LIMIT, "parentheses nest more than %d deep",
                         TSR_PARSE_MAX_NESTING);
    return 0;
  }
  p->expr_depth++;
  left = parse_and(p);
  while (left != 0 && tsr_parse_accept_word(p, "or"))
    left = combine(p, TSR_INDEX_OR, left, parse_and(p));
  p->expr_depth--;
  return left;
}

tsr_expr tsr_parse_expr(tsr_parser *p) {
  tsr_expr expr = tsr_parse_fine(p) ? parse_or(p) : 0;
  return tsr_parse_fine(p) ? expr : 0;
}

bool tsr_parse_exprs(tsr_parser *p, const tsr_expr **out_exprs, uint32_t *out_count) {
  tsr_expr *exprs = NULL;
  uint32_t count = 0;
  *out_exprs = NULL;
  *out_count = 0;
  if (!tsr_parse_expect(p, '['))
    return false;
  while (!tsr_parse_at(p, ']')) {
    if (count != 0 && !tsr_parse_expect(p, ','))
      return false;
    if (!tsr_parse_grow(p, (void **)&exprs, count, sizeof *exprs))
      return false;
    exprs[count] = tsr_parse_expr(p);
    if (exprs[count++] == 0)
      return false;
  }
  *out_exprs = exprs;
  *out_count = count;
  return tsr_parse_expect(p, ']');
}

/* --- types --- */

static tsr_level parse_level(tsr_parser *p) {
  if (tsr_parse_accept_word(p, "l2"))
    return TSR_LEVEL_L2;
  if (tsr_parse_accept_word(p, "cluster"))
    return TSR_LEVEL_CLUSTER;
  if (tsr_parse_accept_word(p, "l1"))
    return TSR_LEVEL_L1;
  if (tsr_parse_accept_word(p, "maybe"))
    return tsr_parse_accept_word(p, "list") ? TSR_LEVEL_MAYBE_LIST : TSR_LEVEL_MAYBE;
  if (tsr_parse_accept_word(p, "list"))
    return TSR_LEVEL_LIST;
  return tsr_parse_accept_word(p, "reg") ? TSR_LEVEL_REG : TSR_LEVEL_GLOBAL;
}

/* `[..]`: items of any rank. */
static bool accept_any_rank(tsr_parser *p) {
  tsr_lexer ahead = p->lexer;
  if (!tsr_parse_at(p, '[') || tsr_lexer_next(&ahead).kind != TSR_TOKEN_RANGE)
    return false;
  tsr_parse_advance(p);
  tsr_parse_advance(p);
  return tsr_parse_expect(p, ']');
}

tsr_type tsr_parse_type(tsr_parser *p) {
  const tsr_expr *dims = NULL;
  uint32_t rank = 0;
  tsr_level level;
  tsr_dtype dtype;
  tsr_type type;
  if (tsr_parse_accept_word(p, "index"))
    return tsr_type_index(p->ir);
  level = parse_level(p);
  dtype = p->token.kind == TSR_TOKEN_WORD ? tsr_dtype_parse(p->token.text, p->token.length)
                                          : TSR_DTYPE_NONE;
  if (dtype == TSR_DTYPE_NONE) {
    (void)tsr_parse_fail(p, TSR_ERR_FORMAT, "a type is expected here, such as f32[N, 4]");
    return 0;
  }
  tsr_parse_advance(p);
  if (level == TSR_LEVEL_GLOBAL && !tsr_parse_at(p, '['))
    level = TSR_LEVEL_REG;
  else if (level >= TSR_LEVEL_LIST && accept_any_rank(p))
    rank = TSR_RANK_ANY;
  else if (!tsr_parse_exprs(p, &dims, &rank))
    return 0;
  type = tsr_type_make(p->ir, level, dtype, dims, rank);
  return tsr_parse_fine(p) ? type : 0;
}

/* --- attributes --- */

/* One element of a list, or a whole value: text, a number that is no index expression, or an
 * expression. */
typedef struct element {
  enum { ELEMENT_TEXT, ELEMENT_REAL, ELEMENT_EXPR } kind;
  const char *text;
  double number;
  tsr_expr expr;
} element;

/* `-` stands before a float, inf or nan; with anything else the lexer is set back. */
static bool parse_real(tsr_parser *p, double *out_number) {
  tsr_lexer lexer = p->lexer;
  tsr_token token = p->token;
  bool negative = tsr_parse_accept(p, '-'), found = true;
  if (p->token.kind == TSR_TOKEN_FLOAT)
    *out_number = p->token.number;
  else if (tsr_parse_at_word(p, "inf"))
    *out_number = INFINITY;
  else if (tsr_parse_at_word(p, "nan"))
    *out_number = NAN;
  else
    found = false;
  if (found) {
    *out_number = negative ? -*out_number : *out_number;
    tsr_parse_advance(p);
  } else if (p->status == TSR_OK) {
    p->lexer = lexer;
    p->token = token;
  }
  return found;
}

static bool parse_element(tsr_parser *p, element *out) {
  if (p->token.kind == TSR_TOKEN_STRING) {
    out->kind = ELEMENT_TEXT;
    out->text = tsr_parse_text(p);
    return out->text != NULL;
  }
  if (parse_real(p, &out->number)) {
    out->kind = ELEMENT_REAL;
    return tsr_parse_fine(p);
  }
  out->kind = ELEMENT_EXPR;
  out->expr = tsr_parse_expr(p);
  return out->expr != 0;
}

static bool to_number(tsr_parser *p, const element *e, double *out) {
  int64_t integer;
  *out = e->number;
  if (e->kind == ELEMENT_REAL)
    return true;
  if (e->kind == ELEMENT_TEXT || !tsr_expr_is_int(p->ir, e->expr, &integer))
    return tsr_parse_fail(p, TSR_ERR_FORMAT, "a list holds numbers, texts or expressions");
  *out = (double)integer;
  return true;
}

/* All elements are of one kind; integers among floats are floats. */
static bool set_list(tsr_parser *p, tsr_op op, const char *key, const element *list,
                     uint32_t count) {
  tsr_attr attr = {.key = key, .kind = TSR_ATTR_EXPRS, .count = count};
  tsr_expr *exprs = (tsr_expr *)tsr_arena_alloc_array(&p->scratch, count, sizeof *exprs);
  double *numbers = (double *)tsr_arena_alloc_array(&p->scratch, count, sizeof *numbers);
  const char **texts = (const char **)tsr_arena_alloc_array(&p->scratch, count, sizeof *texts);
  bool real = false, text = false;
  if (exprs == NULL || numbers == NULL || texts == NULL)
    return tsr_parse_fail(p, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  for (uint32_t i = 0; i < count; i++) {
    real = real || list[i].kind == ELEMENT_REAL;
    text = text || list[i].kind == ELEMENT_TEXT;
  }
  for (uint32_t i = 0; i < count; i++) {
    if (text && list[i].kind != ELEMENT_TEXT)
      return tsr_parse_fail(p, TSR_ERR_FORMAT, "a list holds numbers, texts or expressions");
    if (real && !to_number(p, &list[i], &numbers[i]))
      return false;
    exprs[i] = list[i].expr;
    texts[i] = list[i].text;
  }
  if (text) {
    attr.kind = TSR_ATTR_STRINGS;
    attr.u.strings = texts;
  } else if (real) {
    attr.kind = TSR_ATTR_NUMBERS;
    attr.u.numbers = numbers;
  } else {
    attr.u.exprs = exprs;
  }
  tsr_op_set_attr(p->ir, op, &attr);
  return tsr_parse_fine(p);
}

static bool parse_list(tsr_parser *p, tsr_op op, const char *key) {
  element *list = NULL;
  uint32_t count = 0;
  tsr_parse_advance(p);
  while (!tsr_parse_at(p, ']')) {
    if (count != 0 && !tsr_parse_expect(p, ','))
      return false;
    if (!tsr_parse_grow(p, (void **)&list, count, sizeof *list) || !parse_element(p, &list[count]))
      return false;
    count++;
  }
  return tsr_parse_expect(p, ']') && set_list(p, op, key, list, count);
}

static bool parse_word_value(tsr_parser *p, tsr_op op, const char *key, bool *out_done) {
  tsr_dtype dtype = tsr_dtype_parse(p->token.text, p->token.length);
  *out_done = true;
  if (tsr_parse_at_word(p, "true") || tsr_parse_at_word(p, "false"))
    tsr_op_set_bool(p->ir, op, key, tsr_parse_at_word(p, "true"));
  else if (dtype != TSR_DTYPE_NONE)
    tsr_op_set_dtype(p->ir, op, key, dtype);
  else
    *out_done = false;
  if (*out_done)
    tsr_parse_advance(p);
  return tsr_parse_fine(p);
}

static bool parse_attr_value(tsr_parser *p, tsr_op op, const char *key) {
  element value = {.kind = ELEMENT_EXPR};
  bool done = false;
  if (tsr_parse_at(p, '['))
    return parse_list(p, op, key);
  if (p->token.kind == TSR_TOKEN_SYMBOL) {
    const char *symbol = tsr_parse_text(p);
    if (symbol != NULL)
      tsr_op_set_symbol_attr(p->ir, op, key, symbol);
    return tsr_parse_fine(p);
  }
  if (p->token.kind == TSR_TOKEN_WORD && (!parse_word_value(p, op, key, &done) || done))
    return tsr_parse_fine(p);
  if (!parse_element(p, &value))
    return false;
  if (value.kind == ELEMENT_TEXT)
    tsr_op_set_string(p->ir, op, key, value.text);
  else if (value.kind == ELEMENT_REAL)
    tsr_op_set_float(p->ir, op, key, value.number);
  else
    tsr_op_set_expr(p->ir, op, key, value.expr);
  return tsr_parse_fine(p);
}

/* `data` numbers a table that only memory has. */
static bool parse_attr(tsr_parser *p, tsr_op op) {
  const char *key;
  if (p->token.kind != TSR_TOKEN_WORD && p->token.kind != TSR_TOKEN_NAME)
    return tsr_parse_fail(p, TSR_ERR_FORMAT, "the name of an attribute is expected here");
  key = tsr_parse_text(p);
  if (key == NULL)
    return false;
  if (tsr_op_attr(p->ir, op, key) != NULL)
    return tsr_parse_fail(p, TSR_ERR_FORMAT, "attribute '%s' is given twice", key);
  if (tsr_op_get(p->ir, op)->code == TSR_OP_CONST && strcmp(key, "data") == 0)
    return tsr_parse_fail(p, TSR_ERR_FORMAT, "'data' cannot stand in text; use 'value'");
  return tsr_parse_expect(p, '=') && parse_attr_value(p, op, key);
}

bool tsr_parse_attrs(tsr_parser *p, tsr_op op) {
  if (!tsr_parse_expect(p, '{'))
    return false;
  do
    if (!parse_attr(p, op))
      return false;
  while (tsr_parse_accept(p, ','));
  return tsr_parse_expect(p, '}');
}
