/* Types of ops of kind HOST: one row each. A row names the kinds of operands and results, and which
 * of them hold the same items. */
#include "ir/host_types.h"
#include "ir/verify_internal.h"
#include <string.h>

/* Kinds of operands and results in a row: T tensor of the items' dtype, L list, M maybe of a
 * tensor, N maybe of a list, P position (integers, rank 0 or 1), I i64 tensor, B bool tensor, A any
 * tensor.
 * `*` repeats the one before, `?` makes it optional. Rows of one op are tried in order. */
typedef struct host_row {
  tsr_opcode code;
  const char *operands, *results;
  /* Items of results and of operands T, L, M, N agree in dtype and rank. */
  bool same_items;
} host_row;

static const host_row rows[] = {
    {TSR_OP_LIST_MAKE, "T*", "L", true},    {TSR_OP_LIST_INSERT, "LTP?", "L", true},
    {TSR_OP_LIST_ERASE, "LP?", "L", true},  {TSR_OP_LIST_AT, "LP", "T", true},
    {TSR_OP_LIST_LENGTH, "L", "I", false},  {TSR_OP_LIST_SPLIT, "TP?", "L", false},
    {TSR_OP_LIST_CONCAT, "L", "T", false},  {TSR_OP_MAYBE_MAKE, "T?", "M", true},
    {TSR_OP_MAYBE_MAKE, "L?", "N", true},   {TSR_OP_MAYBE_HAS, "M", "B", false},
    {TSR_OP_MAYBE_HAS, "N", "B", false},    {TSR_OP_MAYBE_GET, "M", "T", true},
    {TSR_OP_MAYBE_GET, "N", "L", true},     {TSR_OP_TEXT_NORMALIZE, "I", "I", false},
    {TSR_OP_TEXT_CONCAT, "II", "I", false}, {TSR_OP_TEXT_SPLIT, "I", "II", false},
    {TSR_OP_TEXT_MATCH, "I", "B", false},   {TSR_OP_TEXT_PARSE, "I", "A", false},
    {TSR_OP_TEXT_FORMAT, "A", "I", false},  {TSR_OP_TEXT_RANK, "I", "I", false},
};

bool tsr_items_fit(const tsr_type_info *from, const tsr_type_info *to) {
  bool any = (tsr_type_of_host(from) && from->rank == TSR_RANK_ANY) ||
             (tsr_type_of_host(to) && to->rank == TSR_RANK_ANY);
  return from->dtype == to->dtype && (any || from->rank == to->rank);
}

static bool is_kind(const tsr_type_info *type, char kind) {
  tsr_dtype_class class = tsr_dtype_class_of(type->dtype);
  bool tensor = type->level == TSR_LEVEL_GLOBAL;
  switch (kind) {
  case 'L':
    return type->level == TSR_LEVEL_LIST;
  case 'M':
    return type->level == TSR_LEVEL_MAYBE;
  case 'N':
    return type->level == TSR_LEVEL_MAYBE_LIST;
  case 'P':
    return tensor && type->rank <= 1 && (class == TSR_CLASS_INT || class == TSR_CLASS_UINT);
  case 'I':
    return tensor && type->dtype == TSR_I64;
  case 'B':
    return tensor && type->dtype == TSR_BOOL;
  default:
    return tensor;
  }
}

/* The kind at `number` of a row's text; 0 past its end. */
static char kind_at(const char *text, uint32_t number) {
  for (;;) {
    if (*text == '\0')
      return 0;
    if (text[1] == '*' || number == 0)
      return *text;
    text += text[1] == '?' ? 2 : 1;
    number--;
  }
}

static bool holds_items(char kind) {
  return kind == 'T' || kind == 'L' || kind == 'M' || kind == 'N';
}

/* Every operand against every result: rows have one result that holds items. */
static bool row_fits(const tsr_ir *ir, const tsr_op_data *data, const host_row *row) {
  for (uint32_t i = 0; i < data->result_count; i++)
    if (!is_kind(tsr_value_type(ir, data->results[i]), kind_at(row->results, i)))
      return false;
  for (uint32_t i = 0; i < data->operand_count; i++) {
    const tsr_type_info *type = tsr_value_type(ir, data->operands[i].value);
    char kind = kind_at(row->operands, i);
    if (kind == 0 || !is_kind(type, kind))
      return false;
    if (row->same_items && holds_items(kind) &&
        !tsr_items_fit(type, tsr_value_type(ir, data->results[0])))
      return false;
  }
  return true;
}

/* Pieces have the rank of the whole or one less, the stacked one more or the same. */
static bool ranks_near(const tsr_type_info *whole, const tsr_type_info *list) {
  return whole->dtype == list->dtype &&
         (list->rank == TSR_RANK_ANY || whole->rank == list->rank || whole->rank == list->rank + 1);
}

tsr_status tsr_check_host_types(tsr_ir *ir, tsr_op op, tsr_diag *diag) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  const char *text = tsr_opcode_info(data->code)->text;
  bool fits = data->code == TSR_OP_CALL;
  for (size_t i = 0; i < sizeof rows / sizeof *rows && !fits; i++)
    fits = rows[i].code == data->code && row_fits(ir, data, &rows[i]);
  if (!fits)
    return tsr_fail(diag, TSR_ERR_TYPE, "%s: these operands do not give these results", text);
  if (data->code == TSR_OP_LIST_SPLIT || data->code == TSR_OP_LIST_CONCAT) {
    const tsr_type_info *from = tsr_value_type(ir, data->operands[0].value);
    const tsr_type_info *to = tsr_value_type(ir, data->results[0]);
    bool split = data->code == TSR_OP_LIST_SPLIT;
    if (!ranks_near(split ? from : to, split ? to : from))
      return tsr_fail(diag, TSR_ERR_SHAPE, "%s: the items' rank or dtype does not fit", text);
  }
  return TSR_OK;
}

/* --- attributes --- */

static tsr_status check_axis(tsr_verifier *v, tsr_op op, const tsr_type_info *whole,
                             const tsr_type_info *list, bool drops) {
  int64_t axis = tsr_op_int(v->ir, op, "axis", -1);
  if (axis < 0 || axis >= whole->rank)
    return tsr_verify_fail(v, op, "the axis is out of range");
  if (list->rank != TSR_RANK_ANY && whole->rank != list->rank + (drops ? 1u : 0u))
    return tsr_verify_fail(v, op, "the items' rank does not fit");
  return TSR_OK;
}

tsr_status tsr_verify_host_attrs(tsr_verifier *v, tsr_op op) {
  switch (data_of(v, op)->code) {
  case TSR_OP_LIST_SPLIT:
    return check_axis(v, op, operand_type(v, op, 0), result_type(v, op, 0),
                      tsr_op_bool(v->ir, op, "drop", false));
  case TSR_OP_LIST_CONCAT:
    return check_axis(v, op, result_type(v, op, 0), operand_type(v, op, 0),
                      tsr_op_bool(v->ir, op, "stack", false));
  case TSR_OP_TEXT_NORMALIZE:
    return tsr_verify_word(v, op, "case", "none lower upper");
  default:
    return TSR_OK;
  }
}
