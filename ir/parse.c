/* Recursive descent over the grammar of ir/README.md. The values of an op are made before its
 * regions, so that ids follow the text and a block's body can store to the block's results. */
#include "ir/parse_internal.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- errors and tokens --- */

bool tsr_parse_fail(tsr_parser *p, tsr_status status, const char *format, ...) {
  char message[512];
  va_list arguments;
  if (p->status != TSR_OK)
    return false;
  p->status = status;
  va_start(arguments, format);
  (void)vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  (void)tsr_fail(p->diag, status, "%s", message);
  tsr_diag_set_position(p->diag, p->token.line, p->token.column);
  return false;
}

bool tsr_parse_fine(tsr_parser *p) {
  if (p->status == TSR_OK && p->ir->status != TSR_OK)
    (void)tsr_parse_fail(p, p->ir->status, "%s", p->ir->diag.message);
  return p->status == TSR_OK;
}

void tsr_parse_advance(tsr_parser *p) {
  p->token = tsr_lexer_next(&p->lexer);
  if (p->token.kind == TSR_TOKEN_ERROR)
    (void)tsr_parse_fail(p, TSR_ERR_FORMAT, "%s", p->token.text);
}

bool tsr_parse_at(const tsr_parser *p, char punctuation) {
  return p->token.kind == TSR_TOKEN_PUNCTUATION && p->token.character == punctuation;
}

bool tsr_parse_at_word(const tsr_parser *p, const char *word) {
  return p->token.kind == TSR_TOKEN_WORD && p->token.length == strlen(word) &&
         memcmp(p->token.text, word, p->token.length) == 0;
}

bool tsr_parse_accept(tsr_parser *p, char punctuation) {
  if (p->status != TSR_OK || !tsr_parse_at(p, punctuation))
    return false;
  tsr_parse_advance(p);
  return p->status == TSR_OK;
}

bool tsr_parse_accept_word(tsr_parser *p, const char *word) {
  if (p->status != TSR_OK || !tsr_parse_at_word(p, word))
    return false;
  tsr_parse_advance(p);
  return p->status == TSR_OK;
}

bool tsr_parse_expect(tsr_parser *p, char punctuation) {
  return tsr_parse_accept(p, punctuation) ||
         tsr_parse_fail(p, TSR_ERR_FORMAT, "'%c' is expected here", punctuation);
}

bool tsr_parse_expect_word(tsr_parser *p, const char *word) {
  return tsr_parse_accept_word(p, word) ||
         tsr_parse_fail(p, TSR_ERR_FORMAT, "'%s' is expected here", word);
}

bool tsr_parse_grow(tsr_parser *p, void **items, uint32_t count, size_t item_size) {
  void *grown;
  if (count != 0 && (count < 4 || (count & (count - 1)) != 0))
    return true;
  grown = tsr_arena_alloc_array(&p->scratch, count == 0 ? 4 : (size_t)count * 2, item_size);
  if (grown == NULL)
    return tsr_parse_fail(p, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  if (count != 0)
    memcpy(grown, *items, count * item_size);
  *items = grown;
  return true;
}

const char *tsr_parse_text(tsr_parser *p) {
  const char *text = NULL;
  if (p->status != TSR_OK)
    return NULL;
  if (p->token.quoted) {
    char *copy = (char *)tsr_arena_alloc_array(&p->scratch, p->token.length + 1, 1);
    if (copy != NULL) {
      size_t length = tsr_unescape(p->token.text, p->token.length, copy);
      text = tsr_ir_intern_n(p->ir, copy, length);
    }
  } else {
    text = tsr_ir_intern_n(p->ir, p->token.text, p->token.length);
  }
  if (text == NULL)
    (void)tsr_parse_fail(p, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  tsr_parse_advance(p);
  return p->status == TSR_OK ? text : NULL;
}

bool tsr_parse_int(tsr_parser *p, int64_t *out_number) {
  *out_number = 0;
  if (p->token.kind != TSR_TOKEN_INT || p->token.integer > INT64_MAX)
    return tsr_parse_fail(p, TSR_ERR_FORMAT, "a whole number is expected here");
  *out_number = (int64_t)p->token.integer;
  tsr_parse_advance(p);
  return p->status == TSR_OK;
}

/* --- scopes --- */

static uint32_t *bucket_of(tsr_parser *p, const char *name) {
  return &p->buckets[((uintptr_t)name >> 4) * 0x9e3779b1u % TSR_PARSE_BUCKETS];
}

/* Interned names are compared by address. */
static tsr_value find_value(tsr_parser *p, const char *name) {
  for (uint32_t at = *bucket_of(p, name); at != 0; at = p->scope[at - 1].next)
    if (p->scope[at - 1].name == name)
      return p->scope[at - 1].value;
  return 0;
}

static void leave_scope(tsr_parser *p, uint32_t count) {
  while (p->scope_count > count) {
    const tsr_scope_entry *entry = &p->scope[--p->scope_count];
    *bucket_of(p, entry->name) = entry->next;
  }
}

static bool define(tsr_parser *p, const char *name, tsr_value value) {
  if (value == 0)
    return tsr_parse_fine(p);
  if (p->scope_count == p->scope_capacity) {
    uint32_t capacity = p->scope_capacity == 0 ? 64 : p->scope_capacity * 2;
    tsr_scope_entry *grown =
        (tsr_scope_entry *)tsr_arena_alloc_array(&p->scratch, capacity, sizeof *grown);
    if (grown == NULL)
      return tsr_parse_fail(p, TSR_ERR_OUT_OF_MEMORY, "out of memory");
    if (p->scope_count != 0)
      memcpy(grown, p->scope, p->scope_count * sizeof *grown);
    p->scope = grown;
    p->scope_capacity = capacity;
  }
  p->scope[p->scope_count++] = (tsr_scope_entry){name, value, *bucket_of(p, name)};
  *bucket_of(p, name) = p->scope_count;
  tsr_value_set_name(p->ir, value, name);
  return tsr_parse_fine(p);
}

/* The name of a value about to be defined. */
static const char *new_name(tsr_parser *p) {
  tsr_token token = p->token;
  const char *name;
  if (p->token.kind != TSR_TOKEN_VALUE) {
    (void)tsr_parse_fail(p, TSR_ERR_FORMAT, "the name of a value (%%name) is expected here");
    return NULL;
  }
  name = tsr_parse_text(p);
  if (name != NULL && find_value(p, name) != 0) {
    p->token = token;
    (void)tsr_parse_fail(p, TSR_ERR_FORMAT, "%%%s is defined already", name);
    return NULL;
  }
  return name;
}

tsr_value tsr_parse_value(tsr_parser *p) {
  tsr_token token = p->token;
  const char *name;
  tsr_value value;
  if (p->token.kind != TSR_TOKEN_VALUE) {
    (void)tsr_parse_fail(p, TSR_ERR_FORMAT, "a value (%%name) is expected here");
    return 0;
  }
  name = tsr_parse_text(p);
  value = name == NULL ? 0 : find_value(p, name);
  if (name != NULL && value == 0) {
    p->token = token;
    (void)tsr_parse_fail(p, TSR_ERR_FORMAT, "%%%s is not defined before this use", name);
  }
  return value;
}

/* --- parts of ops --- */

/* The op's first region, which its arguments and ranges stand in before its body does. */
static tsr_region first_region(tsr_parser *p, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(p->ir, op);
  return data->region_count != 0 ? data->regions[0] : tsr_op_add_region(p->ir, op);
}

static bool parse_typed(tsr_parser *p, tsr_region region, tsr_arg_role role) {
  const char *name = new_name(p);
  tsr_type type;
  if (name == NULL || !tsr_parse_expect(p, ':'))
    return false;
  type = tsr_parse_type(p);
  return type != 0 && define(p, name, tsr_region_add_arg(p->ir, region, role, type));
}

static bool parse_index(tsr_parser *p, tsr_region region, tsr_arg_role role) {
  const char *name = new_name(p);
  tsr_expr lo, hi;
  int64_t step = 1;
  if (name == NULL || !tsr_parse_expect_word(p, "in"))
    return false;
  hi = tsr_parse_expr(p);
  lo = tsr_expr_int(p->ir, 0);
  if (hi != 0 && p->token.kind == TSR_TOKEN_RANGE) {
    tsr_parse_advance(p);
    lo = hi;
    hi = tsr_parse_expr(p);
  }
  if (hi == 0 || (tsr_parse_accept_word(p, "step") && !tsr_parse_int(p, &step)))
    return tsr_parse_fine(p) && false;
  return define(p, name, tsr_region_add_index(p->ir, region, role, lo, hi, step));
}

static bool parse_index_list(tsr_parser *p, tsr_op op, tsr_arg_role role) {
  tsr_region region = first_region(p, op);
  if (!tsr_parse_expect(p, '('))
    return false;
  if (tsr_parse_accept(p, ')'))
    return true;
  do
    if (!parse_index(p, region, role))
      return false;
  while (tsr_parse_accept(p, ','));
  return tsr_parse_expect(p, ')');
}

static bool parse_kernel_args(tsr_parser *p, tsr_op op) {
  tsr_region region = first_region(p, op);
  if (!tsr_parse_expect(p, '('))
    return false;
  while (!tsr_parse_at(p, ')')) {
    tsr_arg_role role = tsr_parse_accept_word(p, "out")     ? TSR_ROLE_OUT
                        : tsr_parse_accept_word(p, "inout") ? TSR_ROLE_INOUT
                                                            : TSR_ROLE_IN;
    if (!parse_typed(p, region, role))
      return false;
    if (!tsr_parse_accept(p, ','))
      break;
  }
  return tsr_parse_expect(p, ')');
}

static bool parse_ranges(tsr_parser *p, tsr_op op) {
  static const struct {
    const char *word;
    tsr_arg_role role;
  } rows[] = {{"grid", TSR_ROLE_GRID}, {"par", TSR_ROLE_PAR}, {"red", TSR_ROLE_RED}};
  if (tsr_op_get(p->ir, op)->code == TSR_OP_KERNEL && !parse_kernel_args(p, op))
    return false;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (tsr_parse_accept_word(p, rows[i].word) && !parse_index_list(p, op, rows[i].role))
      return false;
  if (tsr_op_get(p->ir, op)->code == TSR_OP_FOR &&
      !parse_index(p, first_region(p, op), TSR_ROLE_LOOP))
    return false;
  return tsr_parse_fine(p);
}

static bool parse_operand(tsr_parser *p, tsr_op op) {
  tsr_value value = tsr_parse_value(p);
  const tsr_expr *subscripts;
  uint32_t count;
  if (value == 0)
    return tsr_parse_fine(p) && false;
  if (!tsr_parse_at(p, '[')) {
    tsr_op_add_operand(p->ir, op, value);
    return tsr_parse_fine(p);
  }
  if (!tsr_parse_exprs(p, &subscripts, &count))
    return false;
  tsr_op_add_element(p->ir, op, value, subscripts, count);
  return tsr_parse_fine(p);
}

/* `%a, %b =` starts the next op, also behind one that has no operands. */
static bool at_results(const tsr_parser *p) {
  tsr_lexer ahead = p->lexer;
  tsr_token token = tsr_lexer_next(&ahead);
  while (token.kind == TSR_TOKEN_PUNCTUATION && token.character == ',') {
    token = tsr_lexer_next(&ahead);
    if (token.kind != TSR_TOKEN_VALUE)
      return false;
    token = tsr_lexer_next(&ahead);
  }
  return token.kind == TSR_TOKEN_PUNCTUATION && token.character == '=';
}

static bool parse_operands(tsr_parser *p, tsr_op op) {
  if (p->token.kind != TSR_TOKEN_VALUE || at_results(p))
    return tsr_parse_fine(p);
  do
    if (!parse_operand(p, op))
      return false;
  while (tsr_parse_accept(p, ','));
  return tsr_parse_fine(p);
}

static bool parse_over(tsr_parser *p, tsr_op op) {
  if (!tsr_parse_accept_word(p, "over"))
    return tsr_parse_fine(p);
  if (!tsr_parse_expect(p, '('))
    return false;
  do {
    tsr_token token = p->token;
    tsr_value axis = tsr_parse_value(p);
    if (axis != 0 && tsr_value_type(p->ir, axis)->level != TSR_LEVEL_NONE) {
      p->token = token;
      return tsr_parse_fail(p, TSR_ERR_FORMAT, "over(...) lists index variables");
    }
    tsr_op_add_operand(p->ir, op, axis);
    if (!tsr_parse_fine(p))
      return false;
  } while (tsr_parse_accept(p, ','));
  return tsr_parse_expect(p, ')');
}

static bool parse_carried(tsr_parser *p, tsr_op op) {
  const char *name = new_name(p);
  tsr_value init, value;
  tsr_type type = 0;
  if (name == NULL)
    return false;
  if (tsr_parse_accept(p, ':')) {
    type = tsr_parse_type(p);
    if (type == 0)
      return tsr_parse_fine(p) && false;
  }
  if (!tsr_parse_expect(p, '='))
    return false;
  init = tsr_parse_value(p);
  if (init == 0)
    return false;
  if (tsr_value_get(p->ir, init)->type == 0)
    return tsr_parse_fail(p, TSR_ERR_FORMAT, "a value cannot carry what is not computed yet");
  tsr_op_add_operand(p->ir, op, init);
  value = tsr_region_add_arg(p->ir, first_region(p, op), TSR_ROLE_CARRIED,
                             type != 0 ? type : tsr_value_get(p->ir, init)->type);
  return define(p, name, value);
}

static bool parse_carry(tsr_parser *p, tsr_op op) {
  if (!tsr_parse_accept_word(p, "carry"))
    return tsr_parse_fine(p);
  if (!tsr_parse_expect(p, '('))
    return false;
  do
    if (!parse_carried(p, op))
      return false;
  while (tsr_parse_accept(p, ','));
  return tsr_parse_expect(p, ')');
}

/* `{ key =` starts attributes, any other brace a region. */
static bool at_attrs(const tsr_parser *p) {
  tsr_lexer ahead = p->lexer;
  tsr_token key, equals;
  if (!tsr_parse_at(p, '{'))
    return false;
  key = tsr_lexer_next(&ahead);
  equals = tsr_lexer_next(&ahead);
  return (key.kind == TSR_TOKEN_WORD || key.kind == TSR_TOKEN_NAME) &&
         equals.kind == TSR_TOKEN_PUNCTUATION && equals.character == '=';
}

static bool parse_op(tsr_parser *p, tsr_region region);

static bool parse_plain_args(tsr_parser *p, tsr_region region) {
  do
    if (!parse_typed(p, region, TSR_ROLE_PLAIN))
      return false;
  while (tsr_parse_accept(p, ','));
  return tsr_parse_expect(p, ')');
}

static bool parse_region(tsr_parser *p, tsr_region region) {
  if (region == 0 || !tsr_parse_expect(p, '{'))
    return tsr_parse_fine(p) && false;
  if (p->region_depth == TSR_PARSE_MAX_NESTING)
    return tsr_parse_fail(p, TSR_ERR_LIMIT, "regions nest more than %d deep",
                          TSR_PARSE_MAX_NESTING);
  p->region_depth++;
  if (tsr_parse_accept(p, '(') && !parse_plain_args(p, region))
    return false;
  while (!tsr_parse_at(p, '}') && p->token.kind != TSR_TOKEN_END)
    if (!parse_op(p, region))
      return false;
  p->region_depth--;
  return tsr_parse_expect(p, '}');
}

static bool parse_regions(tsr_parser *p, tsr_op op) {
  uint32_t scope = p->scope_count;
  bool pending = tsr_op_get(p->ir, op)->region_count != 0;
  while (pending || tsr_parse_at(p, '{')) {
    tsr_region region = pending ? first_region(p, op) : tsr_op_add_region(p->ir, op);
    if (!parse_region(p, region))
      return false;
    pending = false;
    leave_scope(p, scope);
  }
  return tsr_parse_fine(p);
}

static bool parse_result_types(tsr_parser *p, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(p->ir, op);
  for (uint32_t i = 0; i < data->result_count; i++) {
    tsr_type type;
    if (!tsr_parse_expect(p, i == 0 ? ':' : ','))
      return false;
    type = tsr_parse_type(p);
    if (type == 0)
      return tsr_parse_fine(p) && false;
    tsr_value_set_type(p->ir, data->results[i], type);
  }
  if (tsr_parse_at(p, data->result_count == 0 ? ':' : ','))
    return tsr_parse_fail(p, TSR_ERR_FORMAT, "%u types for %u results", data->result_count + 1,
                          data->result_count);
  return true;
}

static bool parse_origins(tsr_parser *p, tsr_op op) {
  if (!tsr_parse_accept_word(p, "from"))
    return tsr_parse_fine(p);
  do {
    const char *origin;
    if (p->token.kind != TSR_TOKEN_STRING)
      return tsr_parse_fail(p, TSR_ERR_FORMAT, "the name of a node (\"text\") is expected here");
    origin = tsr_parse_text(p);
    if (origin == NULL)
      return false;
    tsr_op_add_origin(p->ir, op, origin);
  } while (tsr_parse_accept(p, ','));
  return tsr_parse_fine(p);
}

/* --- ops --- */

static bool parse_result_names(tsr_parser *p, const char ***out_names, uint32_t *out_count) {
  const char **names = NULL;
  uint32_t count = 0;
  *out_names = NULL;
  *out_count = 0;
  if (p->token.kind != TSR_TOKEN_VALUE)
    return true;
  do {
    if (!tsr_parse_grow(p, (void **)&names, count, sizeof *names))
      return false;
    names[count] = new_name(p);
    if (names[count++] == NULL)
      return false;
  } while (tsr_parse_accept(p, ','));
  *out_names = names;
  *out_count = count;
  return tsr_parse_expect(p, '=');
}

static tsr_op parse_opcode(tsr_parser *p, tsr_region region) {
  uint32_t line = p->token.line;
  tsr_opcode code = p->token.kind == TSR_TOKEN_WORD
                        ? tsr_opcode_parse(p->token.text, p->token.length)
                        : TSR_OP_NONE;
  tsr_op op;
  if (code == TSR_OP_NONE) {
    int shown = p->token.kind == TSR_TOKEN_WORD && p->token.length < 40 ? (int)p->token.length : 0;
    (void)tsr_parse_fail(p, TSR_ERR_FORMAT, "'%.*s' is not an op", shown,
                         shown == 0 ? "" : p->token.text);
    return 0;
  }
  op = tsr_op_append(p->ir, region, code);
  if (op != 0)
    tsr_op_slot_of(p->ir, op)->data.line = line;
  tsr_parse_advance(p);
  return tsr_parse_fine(p) ? op : 0;
}

static bool parse_symbol(tsr_parser *p, tsr_op op) {
  const char *symbol;
  if (p->token.kind != TSR_TOKEN_SYMBOL)
    return true;
  symbol = tsr_parse_text(p);
  if (symbol != NULL)
    tsr_op_set_symbol(p->ir, op, symbol);
  return tsr_parse_fine(p);
}

static bool make_results(tsr_parser *p, tsr_op op, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    (void)tsr_op_add_untyped_result(p->ir, op);
  return tsr_parse_fine(p);
}

static bool define_results(tsr_parser *p, tsr_op op, const char **names) {
  const tsr_op_data *data = tsr_op_get(p->ir, op);
  for (uint32_t i = 0; i < data->result_count; i++) {
    if (find_value(p, names[i]) != 0)
      return tsr_parse_fail(p, TSR_ERR_FORMAT, "%%%s is defined already", names[i]);
    if (!define(p, names[i], data->results[i]))
      return false;
  }
  return true;
}

static bool parse_head(tsr_parser *p, tsr_op op) {
  if (!parse_ranges(p, op) || !parse_operands(p, op) || !parse_over(p, op) || !parse_carry(p, op))
    return false;
  return !at_attrs(p) || tsr_parse_attrs(p, op);
}

/* The results have the first ids, but their names are visible only from the op's regions on; the
 * names of its arguments end with it. */
static bool parse_op(tsr_parser *p, tsr_region region) {
  uint32_t count, scope = p->scope_count;
  const char **names;
  tsr_op op;
  if (!parse_result_names(p, &names, &count))
    return false;
  op = parse_opcode(p, region);
  if (op == 0 || !parse_symbol(p, op) || !make_results(p, op, count) || !parse_head(p, op))
    return false;
  if (!define_results(p, op, names) || !parse_regions(p, op))
    return false;
  leave_scope(p, scope);
  if (!parse_result_types(p, op) || !parse_origins(p, op))
    return false;
  return define_results(p, op, names);
}

/* --- files --- */

static bool parse_dim_range(tsr_parser *p, const char *name) {
  int64_t lo, hi, hint = 0;
  if (!tsr_parse_expect_word(p, "in") || !tsr_parse_int(p, &lo))
    return false;
  if (p->token.kind != TSR_TOKEN_RANGE)
    return tsr_parse_fail(p, TSR_ERR_FORMAT, "'..' is expected here");
  tsr_parse_advance(p);
  if (!tsr_parse_int(p, &hi))
    return false;
  if (tsr_parse_accept_word(p, "hint") && !tsr_parse_int(p, &hint))
    return false;
  (void)tsr_dim_add(p->ir, name, lo, hi, hint);
  return tsr_parse_fine(p);
}

static bool parse_dim(tsr_parser *p) {
  const char *name;
  tsr_expr bound;
  if (p->token.kind != TSR_TOKEN_WORD && p->token.kind != TSR_TOKEN_NAME)
    return tsr_parse_fail(p, TSR_ERR_FORMAT, "the name of a dim is expected here");
  name = tsr_parse_text(p);
  if (name == NULL)
    return false;
  if (p->token.kind != TSR_TOKEN_LE)
    return parse_dim_range(p, name);
  tsr_parse_advance(p);
  bound = tsr_parse_expr(p);
  if (bound == 0 || !tsr_parse_expect_word(p, "from") || !tsr_parse_expect_word(p, "device"))
    return false;
  (void)tsr_dim_add_device(p->ir, name, bound);
  return tsr_parse_fine(p);
}

static bool parse_file(tsr_parser *p) {
  tsr_parse_advance(p);
  while (p->status == TSR_OK && p->token.kind != TSR_TOKEN_END) {
    if (tsr_parse_accept_word(p, "dim")) {
      if (!parse_dim(p))
        return false;
    } else {
      if (!parse_op(p, tsr_ir_top(p->ir)))
        return false;
      leave_scope(p, 0);
    }
  }
  return tsr_parse_fine(p);
}

tsr_status tsr_ir_parse(const tsr_allocator *allocator, const char *text, size_t length,
                        const char *file_name, tsr_diag *diag, tsr_ir **out_ir) {
  tsr_parser *p;
  tsr_status status;
  *out_ir = NULL;
  p = (tsr_parser *)allocator->allocate(allocator->context, sizeof *p, _Alignof(tsr_parser));
  if (p == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  memset(p, 0, sizeof *p);
  p->diag = diag;
  tsr_arena_init(&p->scratch, allocator);
  tsr_lexer_init(&p->lexer, text == NULL ? "" : text, length);
  status = tsr_ir_create(allocator, &p->ir);
  if (status == TSR_OK && !parse_file(p))
    status = p->status;
  if (status != TSR_OK) {
    (void)tsr_fail(diag, status, "out of memory");
    tsr_diag_set_file(diag, file_name);
    tsr_ir_destroy(p->ir);
    p->ir = NULL;
  }
  *out_ir = p->ir;
  tsr_arena_reset(&p->scratch);
  allocator->release(allocator->context, p, sizeof *p);
  return status;
}
