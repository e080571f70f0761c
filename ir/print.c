/* Text of the IR (grammar: ir/README.md).
 *
 * Terms of expressions stand in the order of value ids, and the parser gives ids in the order of
 * the text. So that reading a printed text and printing it again gives the same text, an IR whose
 * ids run in another order (after passes), or whose ranges were narrowed, is copied in the order of
 * the text first. */
#include "ir/copy.h"
#include "ir/ir_internal.h"
#include "ir/lex.h"
#include "runtime/float_convert.h"
#include "runtime/hash.h"
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LONGEST_LIST = 64 };

typedef struct name_entry {
  const char *text;
  uint32_t scope, next; /* the top-level op it is taken in, and the next suffix to try there */
} name_entry;

typedef struct printer {
  const tsr_ir *ir;
  tsr_arena *arena;
  char *text;
  size_t size, room;
  bool failed;
  unsigned indent;
  const char **names; /* by value; NULL: printed by name or id */
  name_entry *taken;  /* open addressing over the names' text */
  uint32_t capacity, scope, next_number;
} printer;

/* --- output --- */

static void put_n(printer *p, const char *text, size_t length) {
  if (p->failed)
    return;
  if (length >= p->room - p->size) {
    size_t room = (p->room + length) * 2 + 64;
    char *grown = (char *)tsr_arena_alloc(p->arena, room);
    if (grown == NULL) {
      p->failed = true;
      return;
    }
    if (p->size != 0)
      memcpy(grown, p->text, p->size);
    p->text = grown;
    p->room = room;
  }
  memcpy(p->text + p->size, text, length);
  p->size += length;
  p->text[p->size] = '\0';
}

static void put(printer *p, const char *text) {
  put_n(p, text, strlen(text));
}

static void put_int(printer *p, int64_t number) {
  char text[32];
  (void)snprintf(text, sizeof text, "%" PRId64, number);
  put(p, text);
}

static void put_line(printer *p) {
  put(p, "\n");
  for (unsigned i = 0; i < p->indent; i++)
    put(p, "  ");
}

static void put_escaped(printer *p, const char *text, char quote) {
  size_t left = strlen(text);
  put_n(p, &quote, 1);
  while (left != 0) {
    size_t length = tsr_utf8_length(text, left);
    unsigned char c = (unsigned char)*text;
    char escape[8] = {'\\', *text, '\0'};
    if (length == 0 || c < 0x20 || c == 0x7f) {
      (void)snprintf(escape, sizeof escape, c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\x%02x", c);
      length = 1;
      put(p, escape);
    } else if (c == '\\' || *text == quote) {
      put(p, escape);
    } else {
      put_n(p, text, length);
    }
    text += length;
    left -= length;
  }
  put_n(p, &quote, 1);
}

static void put_name(printer *p, const char *name) {
  if (tsr_is_word(name))
    put(p, name);
  else
    put_escaped(p, name, '\'');
}

/* Digits that give the same number, or the same element of `dtype`, when read; integers as
 * integers, as the parser keeps them. */
static void put_float(printer *p, double number, tsr_dtype dtype) {
  char text[64];
  if (isnan(number) || isinf(number)) {
    put(p, signbit(number) ? "-" : "");
    put(p, isnan(number) ? "nan" : "inf");
    return;
  }
  if (number == 0 && signbit(number)) {
    put(p, "-0.0");
    return;
  }
  if (number == floor(number) && fabs(number) < 9223372036854775808.0) {
    put_int(p, (int64_t)number);
    return;
  }
  for (int digits = 1; digits <= 17; digits++) {
    double back;
    tsr_decimal_print(number, digits, text, sizeof text);
    back = tsr_decimal_parse(text, strlen(text));
    if (back == number ||
        (dtype != TSR_DTYPE_NONE && tsr_float_encode(dtype, back, TSR_OVERFLOW_SPECIAL) ==
                                        tsr_float_encode(dtype, number, TSR_OVERFLOW_SPECIAL)))
      break;
  }
  if (strpbrk(text, ".e") == NULL)
    tsr_decimal_print(number, 17, text, sizeof text);
  put(p, text);
}

/* --- names of values --- */

static name_entry *find_name(const printer *p, const char *text) {
  uint32_t at = (uint32_t)tsr_hash64(text, strlen(text)) & (p->capacity - 1);
  while (p->taken[at].text != NULL && strcmp(p->taken[at].text, text) != 0)
    at = (at + 1) & (p->capacity - 1);
  return &p->taken[at];
}

static bool take_name(printer *p, const char *text) {
  name_entry *entry = find_name(p, text);
  if (entry->text != NULL && entry->scope == p->scope)
    return false;
  *entry = (name_entry){text, p->scope, 2};
  return true;
}

static void name_value(printer *p, tsr_value value) {
  const char *name = tsr_value_get(p->ir, value)->name;
  if (name == NULL) {
    p->names[value] = tsr_arena_printf(p->arena, "%" PRIu32, p->next_number++);
  } else if (take_name(p, name)) {
    p->names[value] = name;
  } else {
    do
      p->names[value] = tsr_arena_printf(p->arena, "%s_%" PRIu32, name, find_name(p, name)->next++);
    while (p->names[value] != NULL && !take_name(p, p->names[value]));
  }
  p->failed = p->failed || p->names[value] == NULL;
}

static void name_op(printer *p, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(p->ir, op);
  for (uint32_t i = 0; i < data->result_count && !p->failed; i++)
    name_value(p, data->results[i]);
  for (uint32_t r = 0; r < data->region_count; r++) {
    const tsr_region_data *region = tsr_region_get(p->ir, data->regions[r]);
    for (uint32_t i = 0; i < region->arg_count && !p->failed; i++)
      name_value(p, region->args[i]);
    TSR_FOR_EACH_OP (p->ir, data->regions[r], inner)
      name_op(p, inner);
  }
}

static void name_all(printer *p) {
  uint32_t values = tsr_value_count(p->ir);
  p->capacity = 16;
  while (p->capacity < values * 4 && p->capacity < UINT32_C(1) << 31)
    p->capacity *= 2;
  p->names = (const char **)tsr_arena_alloc_array(p->arena, values + 1, sizeof *p->names);
  p->taken = (name_entry *)tsr_arena_alloc_array(p->arena, p->capacity, sizeof *p->taken);
  p->failed = p->names == NULL || p->taken == NULL;
  TSR_FOR_EACH_OP (p->ir, tsr_ir_top(p->ir), op) {
    p->scope++;
    p->next_number = 0;
    name_op(p, op);
  }
}

static void put_value(printer *p, tsr_value value) {
  const char *name = p->names != NULL && value != 0 ? p->names[value] : NULL;
  put(p, "%");
  if (name != NULL && name[0] >= '0' && name[0] <= '9' && name[strspn(name, "0123456789")] == '\0')
    put(p, name);
  else if (name != NULL)
    put_name(p, name);
  else if (tsr_value_get(p->ir, value)->name != NULL)
    put_name(p, tsr_value_get(p->ir, value)->name);
  else
    put_int(p, value);
}

/* --- expressions --- */

enum { PREC_OR = 1, PREC_AND, PREC_COMPARE, PREC_SUM, PREC_PRODUCT, PREC_ATOM };

static const char *const operator_text[TSR_INDEX_OP_COUNT] = {
#define OPERATOR_TEXT(name, text, operands) [TSR_INDEX_##name] = text,
    TSR_INDEX_OP_LIST(OPERATOR_TEXT)
#undef OPERATOR_TEXT
};

static int precedence(tsr_index_op op) {
  switch (op) {
  case TSR_INDEX_OR:
    return PREC_OR;
  case TSR_INDEX_AND:
    return PREC_AND;
  case TSR_INDEX_LT:
  case TSR_INDEX_LE:
  case TSR_INDEX_EQ:
  case TSR_INDEX_NE:
    return PREC_COMPARE;
  case TSR_INDEX_ADD:
    return PREC_SUM;
  case TSR_INDEX_MUL:
  case TSR_INDEX_FLOORDIV:
  case TSR_INDEX_CEILDIV:
  case TSR_INDEX_MOD:
    return PREC_PRODUCT;
  default:
    return PREC_ATOM;
  }
}

static bool dim_needs_quotes(const char *name) {
  static const char *const reserved[] = {"floordiv", "ceildiv", "mod",   "min", "max", "and",
                                         "or",       "true",    "false", "nan", "inf"};
  for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
    if (strcmp(name, reserved[i]) == 0)
      return true;
  return !tsr_is_word(name) || tsr_dtype_parse(name, strlen(name)) != TSR_DTYPE_NONE;
}

static void put_dim(printer *p, const char *name) {
  if (dim_needs_quotes(name))
    put_escaped(p, name, '\'');
  else
    put(p, name);
}

static void put_expr(printer *p, tsr_expr expr, int context);

static void put_arguments(printer *p, tsr_index_op op, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(p->ir, expr);
  if (node.op != op) {
    put_expr(p, expr, PREC_OR);
    return;
  }
  put_arguments(p, op, node.a);
  put(p, ", ");
  put_expr(p, node.b, PREC_OR);
}

/* The factors of a product; the integer, if any, is printed without its sign. */
static void put_factors(printer *p, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(p->ir, expr);
  int64_t number;
  if (node.op != TSR_INDEX_MUL) {
    put_expr(p, expr, PREC_ATOM);
    return;
  }
  put_factors(p, node.a);
  if (tsr_expr_is_int(p->ir, node.b, &number)) {
    if (number == -1)
      return;
    put(p, "*");
    put_int(p, number == INT64_MIN || number > 0 ? number : -number);
  } else {
    put(p, "*");
    put_expr(p, node.b, PREC_ATOM);
  }
}

static bool is_negative(const printer *p, tsr_expr term) {
  tsr_expr_node node = tsr_expr_get(p->ir, term);
  int64_t number = node.op == TSR_INDEX_INT ? node.number : 0;
  if (node.op == TSR_INDEX_MUL)
    (void)tsr_expr_is_int(p->ir, node.b, &number);
  return number < 0 && number != INT64_MIN;
}

static void put_term(printer *p, tsr_expr term, bool first) {
  tsr_expr_node node = tsr_expr_get(p->ir, term);
  bool negative = is_negative(p, term);
  put(p, first ? (negative ? "-" : "") : negative ? " - " : " + ");
  if (node.op == TSR_INDEX_INT)
    put_int(p, negative ? -node.number : node.number);
  else if (node.op == TSR_INDEX_MUL)
    put_factors(p, term);
  else
    put_expr(p, term, PREC_PRODUCT);
}

static void put_sum(printer *p, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(p->ir, expr);
  if (node.op == TSR_INDEX_ADD) {
    put_sum(p, node.a);
    put_term(p, node.b, false);
  } else {
    put_term(p, expr, true);
  }
}

static void put_operator(printer *p, const tsr_expr_node *node) {
  int own = precedence(node->op);
  bool chain = tsr_expr_get(p->ir, node->a).op == node->op && own <= PREC_AND;
  bool product = tsr_expr_get(p->ir, node->a).op == TSR_INDEX_MUL;
  put_expr(p, node->a, chain || (own == PREC_PRODUCT && product) ? own : own + 1);
  put(p, " ");
  put(p, operator_text[node->op]);
  put(p, " ");
  put_expr(p, node->b, own + 1);
}

static void put_leaf(printer *p, const tsr_expr_node *node) {
  if (node->op == TSR_INDEX_INT) {
    put_int(p, node->number);
  } else if (node->op == TSR_INDEX_DIM) {
    put_dim(p, tsr_dim_get(p->ir, node->dim)->name);
  } else if (node->op == TSR_INDEX_VALUE) {
    put_value(p, node->value);
  } else {
    put(p, "$");
    put_int(p, node->number);
  }
}

static void put_expr(printer *p, tsr_expr expr, int context) {
  tsr_expr_node node = tsr_expr_get(p->ir, expr);
  bool parentheses = precedence(node.op) < context;
  put(p, parentheses ? "(" : "");
  if (expr == 0) {
    put(p, "?");
  } else if (node.op <= TSR_INDEX_LANE) {
    put_leaf(p, &node);
  } else if (node.op == TSR_INDEX_MIN || node.op == TSR_INDEX_MAX) {
    put(p, operator_text[node.op]);
    put(p, "(");
    put_arguments(p, node.op, expr);
    put(p, ")");
  } else if (node.op == TSR_INDEX_ADD || node.op == TSR_INDEX_MUL) {
    put_sum(p, expr);
  } else {
    put_operator(p, &node);
  }
  put(p, parentheses ? ")" : "");
}

static void put_exprs(printer *p, const tsr_expr *exprs, uint32_t count) {
  put(p, "[");
  for (uint32_t i = 0; i < count; i++) {
    put(p, i == 0 ? "" : ", ");
    put_expr(p, exprs[i], PREC_OR);
  }
  put(p, "]");
}

/* --- types and attributes --- */

static void put_type(printer *p, tsr_type type) {
  static const char *const levels[] = {"",     "",      "l2 ",    "cluster ",   "l1 ",
                                       "reg ", "list ", "maybe ", "maybe list "};
  const tsr_type_info *info = tsr_type_get(p->ir, type);
  if (info->level == TSR_LEVEL_NONE) {
    put(p, "index");
    return;
  }
  if (info->level != TSR_LEVEL_REG || info->rank != 0)
    put(p, levels[info->level]);
  put(p, tsr_dtype_text(info->dtype));
  if (info->rank == TSR_RANK_ANY)
    put(p, "[..]");
  else if (info->level != TSR_LEVEL_REG || info->rank != 0)
    put_exprs(p, info->dims, info->rank);
}

static void put_text_list(printer *p, const tsr_attr *attr) {
  put(p, "[");
  for (uint32_t i = 0; i < attr->count; i++) {
    put(p, i == 0 ? "" : ", ");
    if (attr->kind == TSR_ATTR_STRINGS)
      put_escaped(p, attr->u.strings[i], '"');
    else
      put_float(p, attr->u.numbers[i], TSR_DTYPE_NONE);
  }
  put(p, "]");
}

static void put_attr_value(printer *p, const tsr_attr *attr) {
  switch (attr->kind) {
  case TSR_ATTR_INT:
    put_int(p, attr->u.integer);
    break;
  case TSR_ATTR_FLOAT:
    put_float(p, attr->u.number, TSR_DTYPE_NONE);
    break;
  case TSR_ATTR_BOOL:
    put(p, attr->u.boolean ? "true" : "false");
    break;
  case TSR_ATTR_STRING:
    put_escaped(p, attr->u.string, '"');
    break;
  case TSR_ATTR_SYMBOL:
    put(p, "@");
    put_name(p, attr->u.string);
    break;
  case TSR_ATTR_DTYPE:
    put(p, tsr_dtype_text(attr->u.dtype));
    break;
  case TSR_ATTR_EXPR:
    put_expr(p, attr->u.expr, PREC_OR);
    break;
  case TSR_ATTR_EXPRS:
    put_exprs(p, attr->u.exprs, attr->count);
    break;
  case TSR_ATTR_NUMBERS:
  case TSR_ATTR_STRINGS:
    put_text_list(p, attr);
    break;
  default:
    break;
  }
}

/* --- constants --- */

static void put_element(printer *p, const tsr_const_data *data, int64_t index) {
  if (tsr_dtype_class_of(data->dtype) == TSR_CLASS_FLOAT)
    put_float(p, tsr_element_load_f64(data->dtype, data->data, index), data->dtype);
  else
    put_int(p, tsr_element_load_i64(data->dtype, data->data, index));
}

static bool is_splat(const tsr_const_data *data, int64_t count) {
  uint64_t first = tsr_element_load_bits(data->dtype, data->data, 0);
  for (int64_t i = 1; i < count; i++)
    if (tsr_element_load_bits(data->dtype, data->data, i) != first)
      return false;
  return true;
}

/* The number of elements, as the type says; -1 when it is not static or not what the bytes hold. */
static int64_t const_elements(const printer *p, tsr_op op, const tsr_const_data *data) {
  const tsr_op_data *own = tsr_op_get(p->ir, op);
  const tsr_type_info *type = tsr_value_type(p->ir, own->result_count == 0 ? 0 : own->results[0]);
  int64_t count = 1;
  for (uint32_t i = 0; i < type->rank; i++) {
    int64_t dim;
    if (!tsr_expr_is_int(p->ir, type->dims[i], &dim) || dim < 0 ||
        __builtin_mul_overflow(count, dim, &count))
      return -1;
  }
  return tsr_dtype_bytes(data->dtype, count) == (int64_t)data->bytes ? count : -1;
}

/* `data = n` never appears: a splat, a short list, or the hash of what is left out. */
static void put_const_data(printer *p, tsr_op op, const tsr_const_data *data) {
  int64_t count = const_elements(p, op, data);
  if (data->data == NULL || count < 0 || (count > LONGEST_LIST && !is_splat(data, count))) {
    char hash[32];
    (void)snprintf(hash, sizeof hash, "%016" PRIx64, data->hash);
    put(p, "elided = ");
    put_escaped(p, hash, '"');
    return;
  }
  put(p, "value = ");
  if (count > 0 && is_splat(data, count)) {
    put_element(p, data, 0);
    return;
  }
  put(p, "[");
  for (int64_t i = 0; i < count; i++) {
    put(p, i == 0 ? "" : ", ");
    put_element(p, data, i);
  }
  put(p, "]");
}

static void put_attrs(printer *p, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(p->ir, op);
  if (data->attr_count == 0)
    return;
  put(p, " {");
  for (uint32_t i = 0; i < data->attr_count; i++) {
    const tsr_attr *attr = &data->attrs[i];
    put(p, i == 0 ? "" : ", ");
    if (data->code == TSR_OP_CONST && attr->kind == TSR_ATTR_INT &&
        strcmp(attr->key, "data") == 0) {
      put_const_data(p, op, tsr_const_get(p->ir, (uint32_t)attr->u.integer));
      continue;
    }
    put_name(p, attr->key);
    put(p, " = ");
    put_attr_value(p, attr);
  }
  put(p, "}");
}

/* --- ops --- */

static void put_index(printer *p, tsr_value value) {
  const tsr_value_data *data = tsr_value_get(p->ir, value);
  put_value(p, value);
  put(p, " in ");
  if (!tsr_expr_equals_int(p->ir, data->lo, 0)) {
    put_expr(p, data->lo, PREC_OR);
    put(p, "..");
  }
  put_expr(p, data->hi, PREC_OR);
  if (!tsr_expr_equals_int(p->ir, data->step, 1)) {
    put(p, " step ");
    put_expr(p, data->step, PREC_OR);
  }
}

static void put_typed(printer *p, tsr_value value) {
  put_value(p, value);
  put(p, ": ");
  put_type(p, tsr_value_get(p->ir, value)->type);
}

/* All arguments of one role: `(a, b)` after `word`, nothing when there are none. */
static void put_role(printer *p, const tsr_region_data *region, tsr_arg_role role,
                     const char *word) {
  const char *separator = "(";
  for (uint32_t i = 0; i < region->arg_count; i++) {
    if (tsr_value_get(p->ir, region->args[i])->role != role)
      continue;
    if (separator[0] == '(')
      put(p, word);
    put(p, separator);
    put_index(p, region->args[i]);
    separator = ", ";
  }
  put(p, separator[0] == '(' ? "" : ")");
}

static void put_kernel_args(printer *p, const tsr_region_data *region) {
  const char *separator = "";
  put(p, "(");
  for (uint32_t i = 0; i < region->arg_count; i++) {
    tsr_arg_role role = tsr_value_get(p->ir, region->args[i])->role;
    if (role != TSR_ROLE_IN && role != TSR_ROLE_OUT && role != TSR_ROLE_INOUT)
      continue;
    put(p, separator);
    put(p, role == TSR_ROLE_OUT ? "out " : role == TSR_ROLE_INOUT ? "inout " : "");
    put_typed(p, region->args[i]);
    separator = ", ";
  }
  put(p, ")");
}

static uint32_t count_role(const printer *p, const tsr_region_data *region, tsr_arg_role role) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < region->arg_count; i++)
    count += tsr_value_get(p->ir, region->args[i])->role == role;
  return count;
}

static void put_ranges(printer *p, const tsr_op_data *data, const tsr_region_data *region) {
  if (data->code == TSR_OP_KERNEL)
    put_kernel_args(p, region);
  put_role(p, region, TSR_ROLE_GRID, " grid");
  if (data->code == TSR_OP_KERNEL && count_role(p, region, TSR_ROLE_GRID) == 0)
    put(p, " grid()");
  put_role(p, region, TSR_ROLE_PAR, " par");
  put_role(p, region, TSR_ROLE_RED, " red");
  for (uint32_t i = 0; i < region->arg_count; i++)
    if (tsr_value_get(p->ir, region->args[i])->role == TSR_ROLE_LOOP) {
      put(p, " ");
      put_index(p, region->args[i]);
    }
}

static void put_operand(printer *p, const tsr_operand *operand) {
  put_value(p, operand->value);
  if (operand->subscripted)
    put_exprs(p, operand->subscripts, operand->subscript_count);
}

/* The operands from `first` on that are (or are not) the axes of a reduce. */
static void put_operands(printer *p, const tsr_op_data *data, uint32_t count, bool axes) {
  const char *separator = axes ? " over(" : " ";
  bool any = false;
  for (uint32_t i = 0; i < count; i++) {
    bool axis = data->code == TSR_OP_REDUCE &&
                tsr_value_type(p->ir, data->operands[i].value)->level == TSR_LEVEL_NONE;
    if (axis != axes)
      continue;
    put(p, separator);
    put_operand(p, &data->operands[i]);
    separator = ", ";
    any = true;
  }
  put(p, any && axes ? ")" : "");
}

/* A carried value has its start's type unless it says another one. */
static bool type_differs(const printer *p, tsr_value arg, tsr_value start) {
  return tsr_value_get(p->ir, arg)->type != tsr_value_get(p->ir, start)->type;
}

static void put_carried(printer *p, const tsr_op_data *data, const tsr_region_data *region,
                        uint32_t carried) {
  const char *separator = " carry(";
  uint32_t operand = data->operand_count - carried;
  for (uint32_t i = 0; i < region->arg_count && carried != 0; i++) {
    if (tsr_value_get(p->ir, region->args[i])->role != TSR_ROLE_CARRIED)
      continue;
    put(p, separator);
    put_value(p, region->args[i]);
    if (type_differs(p, region->args[i], data->operands[operand].value)) {
      put(p, ": ");
      put_type(p, tsr_value_get(p->ir, region->args[i])->type);
    }
    put(p, " = ");
    put_value(p, data->operands[operand++].value);
    separator = ", ";
  }
  put(p, carried != 0 ? ")" : "");
}

static void put_op(printer *p, tsr_op op);

static void put_region(printer *p, const tsr_region_data *region) {
  const char *separator = "(";
  put(p, " {");
  for (uint32_t i = 0; i < region->arg_count; i++) {
    if (tsr_value_get(p->ir, region->args[i])->role != TSR_ROLE_PLAIN)
      continue;
    put(p, separator);
    put_typed(p, region->args[i]);
    separator = ", ";
  }
  put(p, separator[0] == '(' ? "" : ")");
  p->indent++;
  for (tsr_op op = region->first; op != 0; op = tsr_op_get(p->ir, op)->next) {
    put_line(p);
    put_op(p, op);
  }
  p->indent--;
  put_line(p);
  put(p, "}");
}

static void put_results(printer *p, const tsr_op_data *data) {
  for (uint32_t i = 0; i < data->result_count; i++) {
    put(p, i == 0 ? "" : ", ");
    put_value(p, data->results[i]);
  }
  put(p, data->result_count == 0 ? "" : " = ");
}

static void put_tail(printer *p, const tsr_op_data *data) {
  for (uint32_t i = 0; i < data->result_count; i++) {
    put(p, i == 0 ? " : " : ", ");
    put_type(p, tsr_value_get(p->ir, data->results[i])->type);
  }
  for (uint32_t i = 0; i < data->origin_count; i++) {
    put(p, i == 0 ? " from " : ", ");
    put_escaped(p, data->origins[i], '"');
  }
}

static void put_op(printer *p, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(p->ir, op);
  const tsr_region_data *region = tsr_region_get(p->ir, data->region_count ? data->regions[0] : 0);
  uint32_t carried = count_role(p, region, TSR_ROLE_CARRIED);
  if (carried > data->operand_count)
    carried = data->operand_count;
  put_results(p, data);
  put(p, tsr_opcode_info(data->code)->text);
  if (data->symbol != NULL) {
    put(p, " @");
    put_name(p, data->symbol);
  }
  put_ranges(p, data, region);
  put_operands(p, data, data->operand_count - carried, false);
  put_operands(p, data, data->operand_count - carried, true);
  put_carried(p, data, region, carried);
  put_attrs(p, op);
  for (uint32_t i = 0; i < data->region_count; i++)
    put_region(p, tsr_region_get(p->ir, data->regions[i]));
  put_tail(p, data);
}

static void put_dims(printer *p) {
  for (tsr_dim dim = 1; dim <= tsr_dim_count(p->ir); dim++) {
    const tsr_dim_slot *slot = tsr_dim_slot_of(p->ir, dim);
    put(p, "dim ");
    put_dim(p, slot->data.name);
    if (slot->data.from_device) {
      put(p, " <= ");
      put_expr(p, slot->data.bound, PREC_OR);
      put(p, " from device\n");
      continue;
    }
    put(p, " in ");
    put_int(p, slot->data.lo);
    put(p, "..");
    put_int(p, slot->data.hi);
    if (slot->hint_given) {
      put(p, " hint ");
      put_int(p, slot->data.hint);
    }
    put(p, "\n");
  }
}

/* --- order of ids --- */

static bool ascend(tsr_value value, tsr_value *last) {
  bool fine = value > *last;
  *last = value;
  return fine;
}

static bool op_in_order(const tsr_ir *ir, tsr_op op, tsr_value *last) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  for (uint32_t i = 0; i < data->result_count; i++)
    if (!ascend(data->results[i], last))
      return false;
  for (uint32_t r = 0; r < data->region_count; r++) {
    const tsr_region_data *region = tsr_region_get(ir, data->regions[r]);
    for (uint32_t i = 0; i < region->arg_count; i++)
      if (!ascend(region->args[i], last))
        return false;
    TSR_FOR_EACH_OP (ir, data->regions[r], inner)
      if (!op_in_order(ir, inner, last))
        return false;
  }
  return true;
}

static bool in_order(const tsr_ir *ir) {
  tsr_value last = 0;
  if (ir->ranges_changed)
    return false;
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op)
    if (!op_in_order(ir, op, &last))
      return false;
  return true;
}

/* --- entries --- */

static char *finish(printer *p) {
  put(p, "");
  if (p->text == NULL && !p->failed)
    p->text = tsr_arena_string(p->arena, "", 0);
  return p->failed ? NULL : p->text;
}

static char *print_ordered(const tsr_ir *ir, tsr_arena *arena) {
  printer p = {.ir = ir, .arena = arena};
  bool first = tsr_dim_count(ir) == 0;
  name_all(&p);
  put_dims(&p);
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op) {
    put(&p, first ? "" : "\n");
    put_op(&p, op);
    put(&p, "\n");
    first = false;
  }
  return finish(&p);
}

/* An IR that is in order, or too broken to be copied, is printed as it is. */
char *tsr_ir_print(const tsr_ir *ir, tsr_arena *arena) {
  tsr_ir *ordered;
  char *text;
  tsr_status status =
      in_order(ir) ? TSR_ERR_STATE : tsr_ir_copy_in_order(ir, ir->allocator, &ordered);
  if (status != TSR_OK)
    return status == TSR_ERR_OUT_OF_MEMORY ? NULL : print_ordered(ir, arena);
  text = print_ordered(ordered, arena);
  tsr_ir_destroy(ordered);
  return text;
}

char *tsr_op_print(const tsr_ir *ir, tsr_op op, tsr_arena *arena) {
  printer p = {.ir = ir, .arena = arena};
  name_all(&p);
  put_op(&p, op);
  return finish(&p);
}

char *tsr_expr_print(const tsr_ir *ir, tsr_expr expr, tsr_arena *arena) {
  printer p = {.ir = ir, .arena = arena};
  put_expr(&p, expr, PREC_OR);
  return finish(&p);
}

char *tsr_type_print(const tsr_ir *ir, tsr_type type, tsr_arena *arena) {
  printer p = {.ir = ir, .arena = arena};
  put_type(&p, type);
  return finish(&p);
}
