/* Attributes: sorted by key, numbers in one form. A float that is an integer is kept as an INT, so
 * that `value = 0` means the same however it was made. */
#include "ir/ir_internal.h"
#include <assert.h>
#include <math.h>
#include <string.h>

void tsr_attr_count_uses(tsr_ir *ir, const tsr_attr *attr, int delta) {
  if (attr->kind == TSR_ATTR_EXPR)
    tsr_expr_count_uses(ir, attr->u.expr, delta);
  if (attr->kind == TSR_ATTR_EXPRS)
    for (uint32_t i = 0; i < attr->count; i++)
      tsr_expr_count_uses(ir, attr->u.exprs[i], delta);
}

tsr_attr *tsr_attr_find(const tsr_ir *ir, tsr_op op, const char *key) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  for (uint32_t i = 0; i < data->attr_count; i++)
    if (data->attrs[i].key == key || strcmp(data->attrs[i].key, key) == 0)
      return &data->attrs[i];
  return NULL;
}

static void insert_attr(tsr_ir *ir, tsr_op op, const tsr_attr *attr) {
  tsr_op_data *data = &tsr_op_slot_of(ir, op)->data;
  tsr_attr *attrs = (tsr_attr *)tsr_array_grow(ir, data->attrs, data->attr_count, sizeof *attrs);
  uint32_t at = data->attr_count;
  if (attrs == NULL)
    return;
  for (; at > 0 && strcmp(attrs[at - 1].key, attr->key) > 0; at--)
    attrs[at] = attrs[at - 1];
  attrs[at] = *attr;
  data->attrs = attrs;
  data->attr_count++;
}

static void put_attr(tsr_ir *ir, tsr_op op, const char *key, tsr_attr attr) {
  tsr_attr *old;
  if (op == 0)
    return;
  attr.key = tsr_ir_intern(ir, key);
  if (attr.key == NULL)
    return;
  tsr_attr_count_uses(ir, &attr, 1);
  old = tsr_attr_find(ir, op, attr.key);
  if (old != NULL) {
    tsr_attr_count_uses(ir, old, -1);
    *old = attr;
  } else {
    insert_attr(ir, op, &attr);
  }
}

/* -0, fractions, infinities, NaN and what int64 cannot hold stay floats. */
static bool is_integral(double number) {
  return number >= -9223372036854775808.0 && number < 9223372036854775808.0 &&
         number == floor(number) && !(number == 0 && signbit(number));
}

void tsr_op_set_int(tsr_ir *ir, tsr_op op, const char *key, int64_t number) {
  put_attr(ir, op, key, (tsr_attr){.kind = TSR_ATTR_INT, .u.integer = number});
}

void tsr_op_set_float(tsr_ir *ir, tsr_op op, const char *key, double number) {
  if (is_integral(number))
    tsr_op_set_int(ir, op, key, (int64_t)number);
  else
    put_attr(ir, op, key, (tsr_attr){.kind = TSR_ATTR_FLOAT, .u.number = number});
}

void tsr_op_set_bool(tsr_ir *ir, tsr_op op, const char *key, bool boolean) {
  put_attr(ir, op, key, (tsr_attr){.kind = TSR_ATTR_BOOL, .u.boolean = boolean});
}

static void set_text(tsr_ir *ir, tsr_op op, const char *key, tsr_attr_kind kind, const char *text) {
  const char *interned = tsr_ir_intern(ir, text);
  if (interned != NULL)
    put_attr(ir, op, key, (tsr_attr){.kind = kind, .u.string = interned});
}

void tsr_op_set_string(tsr_ir *ir, tsr_op op, const char *key, const char *text) {
  set_text(ir, op, key, TSR_ATTR_STRING, text);
}

void tsr_op_set_symbol_attr(tsr_ir *ir, tsr_op op, const char *key, const char *symbol) {
  set_text(ir, op, key, TSR_ATTR_SYMBOL, symbol);
}

void tsr_op_set_dtype(tsr_ir *ir, tsr_op op, const char *key, tsr_dtype dtype) {
  put_attr(ir, op, key, (tsr_attr){.kind = TSR_ATTR_DTYPE, .u.dtype = dtype});
}

void tsr_op_set_expr(tsr_ir *ir, tsr_op op, const char *key, tsr_expr expr) {
  int64_t number;
  if (tsr_expr_is_int(ir, expr, &number))
    tsr_op_set_int(ir, op, key, number);
  else if (expr != 0)
    put_attr(ir, op, key, (tsr_attr){.kind = TSR_ATTR_EXPR, .u.expr = expr});
}

void tsr_op_set_exprs(tsr_ir *ir, tsr_op op, const char *key, const tsr_expr *exprs,
                      uint32_t count) {
  tsr_attr attr = {.kind = TSR_ATTR_EXPRS, .count = count};
  if (op == 0)
    return;
  for (uint32_t i = 0; i < count; i++)
    if (exprs[i] == 0) {
      (void)tsr_ir_poison(ir, TSR_ERR_ARGUMENT, "an expression of attribute '%s' is missing", key);
      return;
    }
  attr.u.exprs = (const tsr_expr *)tsr_ir_copy(ir, exprs, count * sizeof *exprs);
  if (attr.u.exprs != NULL)
    put_attr(ir, op, key, attr);
}

void tsr_op_set_ints(tsr_ir *ir, tsr_op op, const char *key, const int64_t *numbers,
                     uint32_t count) {
  tsr_attr attr = {.kind = TSR_ATTR_EXPRS, .count = count};
  tsr_expr *exprs = op == 0 ? NULL : (tsr_expr *)tsr_ir_alloc(ir, count * sizeof *exprs);
  if (exprs == NULL)
    return;
  for (uint32_t i = 0; i < count; i++) {
    exprs[i] = tsr_expr_int(ir, numbers[i]);
    if (exprs[i] == 0)
      return;
  }
  attr.u.exprs = exprs;
  put_attr(ir, op, key, attr);
}

static void set_numbers(tsr_ir *ir, tsr_op op, const tsr_attr *attr) {
  tsr_attr copy = *attr;
  bool integral = true;
  for (uint32_t i = 0; i < attr->count; i++)
    integral = integral && is_integral(attr->u.numbers[i]);
  if (integral) {
    tsr_expr *exprs = (tsr_expr *)tsr_ir_alloc(ir, attr->count * sizeof *exprs);
    for (uint32_t i = 0; exprs != NULL && i < attr->count; i++)
      exprs[i] = tsr_expr_int(ir, (int64_t)attr->u.numbers[i]);
    if (exprs != NULL)
      tsr_op_set_exprs(ir, op, attr->key, exprs, attr->count);
    return;
  }
  copy.u.numbers =
      (const double *)tsr_ir_copy(ir, attr->u.numbers, attr->count * sizeof *attr->u.numbers);
  if (copy.u.numbers != NULL)
    put_attr(ir, op, attr->key, copy);
}

static void set_strings(tsr_ir *ir, tsr_op op, const tsr_attr *attr) {
  tsr_attr copy = *attr;
  const char **strings = (const char **)tsr_ir_alloc(ir, attr->count * sizeof *strings);
  if (strings == NULL)
    return;
  for (uint32_t i = 0; i < attr->count; i++) {
    strings[i] = tsr_ir_intern(ir, attr->u.strings[i]);
    if (strings[i] == NULL)
      return;
  }
  copy.u.strings = strings;
  put_attr(ir, op, attr->key, copy);
}

void tsr_op_set_attr(tsr_ir *ir, tsr_op op, const tsr_attr *attr) {
  if (op == 0)
    return;
  switch (attr->kind) {
  case TSR_ATTR_INT:
  case TSR_ATTR_BOOL:
  case TSR_ATTR_DTYPE:
    put_attr(ir, op, attr->key, *attr);
    break;
  case TSR_ATTR_FLOAT:
    tsr_op_set_float(ir, op, attr->key, attr->u.number);
    break;
  case TSR_ATTR_STRING:
  case TSR_ATTR_SYMBOL:
    set_text(ir, op, attr->key, attr->kind, attr->u.string);
    break;
  case TSR_ATTR_EXPR:
    tsr_op_set_expr(ir, op, attr->key, attr->u.expr);
    break;
  case TSR_ATTR_EXPRS:
    tsr_op_set_exprs(ir, op, attr->key, attr->u.exprs, attr->count);
    break;
  case TSR_ATTR_NUMBERS:
    set_numbers(ir, op, attr);
    break;
  case TSR_ATTR_STRINGS:
    if (attr->count == 0)
      tsr_op_set_exprs(ir, op, attr->key, NULL, 0);
    else
      set_strings(ir, op, attr);
    break;
  default:
    assert(false && "unknown kind of attribute");
  }
}

void tsr_op_remove_attr(tsr_ir *ir, tsr_op op, const char *key) {
  tsr_attr *attr = tsr_attr_find(ir, op, key);
  tsr_op_data *data;
  if (attr == NULL)
    return;
  data = &tsr_op_slot_of(ir, op)->data;
  tsr_attr_count_uses(ir, attr, -1);
  data->attr_count--;
  for (; attr < data->attrs + data->attr_count; attr++)
    attr[0] = attr[1];
}

/* --- reading --- */

const tsr_attr *tsr_op_attr(const tsr_ir *ir, tsr_op op, const char *key) {
  return tsr_attr_find(ir, op, key);
}

int64_t tsr_op_int(const tsr_ir *ir, tsr_op op, const char *key, int64_t otherwise) {
  const tsr_attr *attr = tsr_attr_find(ir, op, key);
  return attr != NULL && attr->kind == TSR_ATTR_INT ? attr->u.integer : otherwise;
}

double tsr_op_float(const tsr_ir *ir, tsr_op op, const char *key, double otherwise) {
  const tsr_attr *attr = tsr_attr_find(ir, op, key);
  if (attr != NULL && attr->kind == TSR_ATTR_INT)
    return (double)attr->u.integer;
  return attr != NULL && attr->kind == TSR_ATTR_FLOAT ? attr->u.number : otherwise;
}

bool tsr_op_bool(const tsr_ir *ir, tsr_op op, const char *key, bool otherwise) {
  const tsr_attr *attr = tsr_attr_find(ir, op, key);
  return attr != NULL && attr->kind == TSR_ATTR_BOOL ? attr->u.boolean : otherwise;
}

const char *tsr_op_string(const tsr_ir *ir, tsr_op op, const char *key) {
  const tsr_attr *attr = tsr_attr_find(ir, op, key);
  bool text = attr != NULL && (attr->kind == TSR_ATTR_STRING || attr->kind == TSR_ATTR_SYMBOL);
  return text ? attr->u.string : NULL;
}

bool tsr_op_ints(const tsr_ir *ir, tsr_op op, const char *key, int64_t *out, uint32_t capacity,
                 uint32_t *out_count) {
  const tsr_attr *attr = tsr_attr_find(ir, op, key);
  *out_count = 0;
  if (attr == NULL || attr->kind != TSR_ATTR_EXPRS || attr->count > capacity)
    return false;
  for (uint32_t i = 0; i < attr->count; i++)
    if (!tsr_expr_is_int(ir, attr->u.exprs[i], &out[i]))
      return false;
  *out_count = attr->count;
  return true;
}
