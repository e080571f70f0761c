/* Evaluates ops on constants by the IR's own evaluator, rounded to each op's dtype. Constants of
 * one value stay so, whatever their shape; others are folded when the result is small or no larger
 * than what it is made of, so that weights end in the layout in which they are read. */
#include "ir/const_bytes.h"
#include "ir/eval.h"
#include "ir/graph_build.h"
#include "passes/canonicalize.h"
#include <math.h>

static tsr_op const_op(const tsr_ir *ir, tsr_value value) {
  const tsr_value_data *data = tsr_value_get(ir, value);
  bool is_const = data->role == TSR_ROLE_RESULT && data->def != 0 &&
                  tsr_op_get(ir, data->def)->code == TSR_OP_CONST;
  return is_const ? data->def : 0;
}

static bool static_elements(const tsr_ir *ir, const tsr_type_info *type, int64_t *out) {
  *out = 1;
  for (uint32_t i = 0; i < type->rank; i++) {
    int64_t extent;
    if (!tsr_expr_is_int(ir, type->dims[i], &extent) || __builtin_mul_overflow(*out, extent, out))
      return false;
  }
  return true;
}

tsr_value tsr_insert_splat(tsr_ir *ir, tsr_op before, tsr_type type, double number,
                           int64_t integer) {
  tsr_op op = tsr_op_insert_before(ir, before, TSR_OP_CONST);
  bool is_float = tsr_dtype_class_of(tsr_type_get(ir, type)->dtype) == TSR_CLASS_FLOAT;
  bool whole = is_float && number == floor(number) && fabs(number) < 0x1p53 && !signbit(number);
  if (is_float && !whole)
    tsr_op_set_float(ir, op, "value", number);
  else
    tsr_op_set_int(ir, op, "value", whole ? (int64_t)number : integer);
  tsr_op_copy_origins(ir, op, before);
  return tsr_op_add_result(ir, op, type);
}

static void replace(tsr_ir *ir, tsr_op op, tsr_value value) {
  tsr_value_replace_all(ir, tsr_op_get(ir, op)->results[0], value);
  tsr_op_erase(ir, op);
}

/* --- one value of any shape: elementwise ops and views --- */

static bool keeps_splat(tsr_opcode code) {
  return tsr_opcode_elementwise(code) || code == TSR_OP_RESHAPE || code == TSR_OP_TRANSPOSE ||
         code == TSR_OP_BROADCAST || code == TSR_OP_SLICE;
}

/* The number of an elementwise op on numbers: evaluated as rank-0 ops, which then go again. */
static bool evaluate_scalars(tsr_ir *ir, tsr_op op, double *out_number, int64_t *out_integer) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  tsr_value operands[3] = {0};
  for (uint32_t i = 0; i < data->operand_count; i++) {
    tsr_value x = data->operands[i].value;
    double number;
    int64_t integer;
    tsr_const_splat(ir, const_op(ir, x), &number, &integer);
    tsr_type scalar = tsr_type_make(ir, TSR_LEVEL_GLOBAL, tsr_value_type(ir, x)->dtype, NULL, 0);
    operands[i] = tsr_insert_splat(ir, op, scalar, number, integer);
  }
  tsr_op made = tsr_op_insert_before(ir, op, data->code);
  for (uint32_t i = 0; i < data->operand_count; i++)
    tsr_op_add_operand(ir, made, operands[i]);
  for (uint32_t i = 0; i < data->attr_count; i++)
    tsr_op_set_attr(ir, made, &data->attrs[i]);
  tsr_dtype dtype = tsr_value_type(ir, data->results[0])->dtype;
  tsr_value result =
      tsr_op_add_result(ir, made, tsr_type_make(ir, TSR_LEVEL_GLOBAL, dtype, NULL, 0));
  tsr_eval *eval = NULL;
  const tsr_array *array = NULL;
  bool done = tsr_eval_create(ir, NULL, true, 16, tsr_ir_allocator(ir), &eval) == TSR_OK &&
              tsr_eval_get(eval, result, &array) == TSR_OK;
  if (done) {
    bool is_float = tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT;
    *out_number = is_float ? array->floats[0] : 0;
    *out_integer = is_float ? 0 : array->integers[0];
  }
  if (eval != NULL)
    tsr_eval_destroy(eval);
  tsr_op_erase(ir, made);
  for (uint32_t i = 0; i < data->operand_count; i++)
    tsr_op_erase(ir, tsr_value_get(ir, operands[i])->def);
  return done;
}

static bool fold_splat(tsr_ir *ir, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  double number = 0;
  int64_t integer = 0;
  if (!keeps_splat(data->code) || data->operand_count > 3)
    return false;
  for (uint32_t i = 0; i < data->operand_count; i++) {
    tsr_op source = const_op(ir, data->operands[i].value);
    if (source == 0 || !tsr_const_splat(ir, source, &number, &integer))
      return false;
  }
  if (tsr_opcode_elementwise(data->code) && !evaluate_scalars(ir, op, &number, &integer))
    return false;
  tsr_type type = tsr_value_get(ir, data->results[0])->type;
  replace(ir, op, tsr_insert_splat(ir, op, type, number, integer));
  return true;
}

/* --- any constants of known shape --- */

static bool foldable(const tsr_ir *ir, tsr_op op, int64_t limit) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  tsr_op_kind kind = tsr_opcode_info(data->code)->kind;
  int64_t operand_elements = 0, elements;
  bool pure = tsr_opcode_elementwise(data->code) || kind == TSR_KIND_VIEW ||
              kind == TSR_KIND_REDUCE || data->code == TSR_OP_GATHER ||
              data->code == TSR_OP_GATHER_ND || data->code == TSR_OP_GATHER_ELEMENTS ||
              data->code == TSR_OP_SCATTER_ND || data->code == TSR_OP_SCATTER_ELEMENTS;
  if (!pure || data->result_count != 1 || data->operand_count == 0 ||
      !static_elements(ir, tsr_value_type(ir, data->results[0]), &elements))
    return false;
  for (uint32_t i = 0; i < data->operand_count; i++) {
    tsr_op source = const_op(ir, data->operands[i].value);
    int64_t count;
    if (source == 0 || !static_elements(ir, tsr_value_type(ir, data->operands[i].value), &count))
      return false;
    int64_t table = tsr_op_int(ir, source, "data", 0);
    if (table > 0 && tsr_const_get(ir, (uint32_t)table)->data == NULL)
      return false;
    bool made_up = tsr_op_attr(ir, source, "random") != NULL;
    if (made_up && count > limit)
      return false;
    operand_elements += count;
  }
  bool contraction = data->code == TSR_OP_EINSUM || data->code == TSR_OP_CONV;
  return elements <= limit ? !contraction || operand_elements <= limit
                           : !contraction && elements <= operand_elements;
}

/* --- constants that products read as narrow as they are --- */

static bool is_product(tsr_opcode code) {
  return code == TSR_OP_EINSUM || code == TSR_OP_CONV;
}

/* The narrow values that `value` is a view of, widened; 0 if of none. */
static tsr_value widened_from(const tsr_ir *ir, tsr_value value) {
  for (;;) {
    const tsr_value_data *data = tsr_value_get(ir, value);
    if (data->role != TSR_ROLE_RESULT || data->def == 0)
      return 0;
    const tsr_op_data *op = tsr_op_get(ir, data->def);
    if (op->code == TSR_OP_CAST) {
      tsr_value from = op->operands[0].value;
      unsigned bits = tsr_dtype_bits(tsr_value_type(ir, from)->dtype);
      return tsr_dtype_bits(tsr_value_type(ir, value)->dtype) > bits ? from : 0;
    }
    if (tsr_opcode_info(op->code)->kind != TSR_KIND_VIEW)
      return 0;
    value = op->operands[0].value;
  }
}

/* Does a product from `first` on read `value`, or a view of it, next to widened values of `dtype`
 * that are not constant? */
static bool multiplied_as(const tsr_ir *ir, tsr_op first, tsr_value value, tsr_dtype dtype) {
  for (tsr_op op = first; op != 0; op = tsr_op_get(ir, op)->next) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    bool view = tsr_opcode_info(data->code)->kind == TSR_KIND_VIEW;
    if ((!view && !is_product(data->code)) || data->operand_count == 0)
      continue;
    if (view && data->operands[0].value == value &&
        multiplied_as(ir, data->next, data->results[0], dtype))
      return true;
    for (uint32_t i = 0; !view && i < 2; i++) {
      tsr_value other = widened_from(ir, data->operands[1 - i].value);
      if (data->operands[i].value == value && other != 0 && const_op(ir, other) == 0 &&
          tsr_value_type(ir, other)->dtype == dtype)
        return true;
    }
  }
  return false;
}

static bool stays_narrow(const tsr_ir *ir, tsr_op op, uint64_t dtypes) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  if (data->code != TSR_OP_CAST || dtypes == 0)
    return false;
  tsr_value from = widened_from(ir, data->results[0]);
  if (from == 0)
    return false;
  tsr_dtype dtype = tsr_value_type(ir, from)->dtype;
  return (dtypes >> dtype & 1) != 0 && multiplied_as(ir, data->next, data->results[0], dtype);
}

tsr_status tsr_fold_value(tsr_builder *b, tsr_value value, tsr_diag *diag, tsr_value *out_value) {
  tsr_ir *ir = b->ir;
  tsr_eval *eval = NULL;
  const tsr_array *array = NULL;
  *out_value = value;
  tsr_status status = tsr_eval_create(ir, NULL, true, INT64_MAX, tsr_ir_allocator(ir), &eval);
  if (status == TSR_OK)
    status = tsr_eval_get(eval, value, &array);
  if (status == TSR_OK) {
    const int64_t bytes = tsr_dtype_bytes(array->dtype, array->count);
    void *memory = bytes < 0 ? NULL : tsr_arena_alloc(tsr_ir_arena(ir), (size_t)bytes);
    if (memory != NULL) {
      tsr_array_store(array, memory);
      const tsr_value made =
          tsr_graph_const(b, array->dtype, array->dims, array->rank, memory, false);
      *out_value = made != 0 ? made : value;
    } else if (bytes >= 0) {
      status = TSR_ERR_OUT_OF_MEMORY;
    }
  }
  if (eval != NULL)
    tsr_eval_destroy(eval);
  if (status == TSR_ERR_OUT_OF_MEMORY)
    return tsr_fail(diag, status, "out of memory while folding constants");
  return tsr_ir_status(ir) == TSR_ERR_OUT_OF_MEMORY ? TSR_ERR_OUT_OF_MEMORY : TSR_OK;
}

void tsr_move_added(tsr_ir *ir, tsr_op last, tsr_op before) {
  for (tsr_op added = tsr_op_get(ir, last)->next, next; added != 0; added = next) {
    next = tsr_op_get(ir, added)->next;
    tsr_op_copy_origins(ir, added, before);
    tsr_op_move_before(ir, added, before);
  }
}

static tsr_status fold_op(tsr_ir *ir, tsr_op op, tsr_diag *diag, bool *out_changed) {
  const tsr_op_data data = *tsr_op_get(ir, op);
  const tsr_op last = tsr_region_get(ir, data.parent)->last;
  tsr_builder builder = {.ir = ir, .region = data.parent};
  tsr_value made;
  TSR_TRY(tsr_fold_value(&builder, data.results[0], diag, &made));
  if (made == data.results[0])
    return TSR_OK;
  tsr_move_added(ir, last, op);
  replace(ir, op, made);
  *out_changed = true;
  return TSR_OK;
}

tsr_status tsr_fold_region(tsr_ir *ir, tsr_region region, int64_t limit, uint64_t narrow,
                           tsr_diag *diag, bool *out_changed) {
  for (tsr_op op = tsr_region_get(ir, region)->first, next; op != 0; op = next) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    next = data->next;
    if (data->code == TSR_OP_IF || data->code == TSR_OP_LOOP)
      for (uint32_t i = 0; i < data->region_count; i++)
        TSR_TRY(tsr_fold_region(ir, data->regions[i], limit, narrow, diag, out_changed));
    if (fold_splat(ir, op))
      *out_changed = true;
    else if (foldable(ir, op, limit) && !stays_narrow(ir, op, narrow))
      TSR_TRY(fold_op(ir, op, diag, out_changed));
  }
  return TSR_OK;
}
