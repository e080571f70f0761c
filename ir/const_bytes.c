#include "ir/const_bytes.h"
#include "ir/eval.h"
#include "runtime/float_convert.h"
#include <string.h>

/* One element as both numbers; the dtype's class says which one counts. */
typedef struct number {
  double real;
  int64_t integer;
} number;

static bool is_float(tsr_dtype dtype) {
  return tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT;
}

static number from_int(int64_t integer) {
  return (number){.real = (double)integer, .integer = integer};
}

static number from_real(double real) {
  bool fits = real >= -9223372036854775808.0 && real < 9223372036854775808.0;
  return (number){.real = real, .integer = fits ? (int64_t)real : 0};
}

/* Element `element` of a value attribute; false when the attribute has another form or too few
 * elements. */
static bool attr_number(const tsr_ir *ir, const tsr_attr *value, int64_t element, number *out) {
  switch (value->kind) {
  case TSR_ATTR_INT:
    *out = from_int(value->u.integer);
    return true;
  case TSR_ATTR_BOOL:
    *out = from_int(value->u.boolean);
    return true;
  case TSR_ATTR_FLOAT:
    *out = from_real(value->u.number);
    return true;
  case TSR_ATTR_NUMBERS:
    if (element >= value->count)
      return false;
    *out = from_real(value->u.numbers[element]);
    return true;
  case TSR_ATTR_EXPRS: {
    int64_t integer;
    if (element >= value->count || !tsr_expr_is_int(ir, value->u.exprs[element], &integer))
      return false;
    *out = from_int(integer);
    return true;
  }
  default:
    return false;
  }
}

static bool scalar_attr(const tsr_attr *value) {
  return value->kind == TSR_ATTR_INT || value->kind == TSR_ATTR_BOOL ||
         value->kind == TSR_ATTR_FLOAT;
}

static tsr_status element_count(tsr_ir *ir, tsr_op op, tsr_diag *diag, int64_t *out) {
  const tsr_type_info *type = tsr_value_type(ir, tsr_op_get(ir, op)->results[0]);
  *out = 1;
  for (uint32_t i = 0; i < type->rank; i++) {
    int64_t extent;
    if (!tsr_expr_is_int(ir, type->dims[i], &extent) || extent < 0)
      return tsr_fail(diag, TSR_ERR_SHAPE, "const: the shape must be known");
    if (__builtin_mul_overflow(*out, extent, out))
      return tsr_fail(diag, TSR_ERR_SHAPE, "const: the shape overflows");
  }
  return TSR_OK;
}

static tsr_status find_element(tsr_ir *ir, tsr_op op, tsr_diag *diag, int64_t element,
                               number *out) {
  tsr_dtype dtype = tsr_value_type(ir, tsr_op_get(ir, op)->results[0])->dtype;
  const tsr_attr *value = tsr_op_attr(ir, op, "value"), *random = tsr_op_attr(ir, op, "random");
  int64_t data = tsr_op_int(ir, op, "data", 0);
  if (value != NULL) {
    if (!attr_number(ir, value, element, out))
      return tsr_fail(diag, TSR_ERR_SHAPE, "const: value has fewer elements than the type");
  } else if (random != NULL && random->kind == TSR_ATTR_INT) {
    uint64_t seed = (uint64_t)random->u.integer;
    *out = is_float(dtype) ? from_real(tsr_random_float(seed, (uint64_t)element))
                           : from_int(tsr_random_int(seed, (uint64_t)element, dtype));
  } else {
    const tsr_const_data *constant = data > 0 ? tsr_const_get(ir, (uint32_t)data) : NULL;
    if (constant == NULL || constant->data == NULL)
      return tsr_fail(diag, TSR_ERR_STATE,
                      "const: its bytes were left out of the text; give value or random");
    *out = is_float(dtype) ? from_real(tsr_element_load_f64(dtype, constant->data, element))
                           : from_int(tsr_element_load_i64(dtype, constant->data, element));
  }
  return TSR_OK;
}

static void store(tsr_dtype dtype, void *data, int64_t element, number value) {
  if (is_float(dtype))
    tsr_element_store_f64(dtype, data, element, value.real);
  else
    tsr_element_store_i64(dtype, data, element, value.integer);
}

static tsr_status fill(tsr_ir *ir, tsr_op op, tsr_diag *diag, tsr_dtype dtype, int64_t count,
                       void *data) {
  const tsr_attr *value = tsr_op_attr(ir, op, "value");
  bool splat = value != NULL && scalar_attr(value);
  number element = {0};
  for (int64_t i = 0; i < count; i++) {
    if (!splat || i == 0)
      TSR_TRY(find_element(ir, op, diag, i, &element));
    store(dtype, data, i, element);
  }
  return TSR_OK;
}

tsr_status tsr_const_bytes(tsr_ir *ir, tsr_op op, tsr_arena *arena, tsr_diag *diag,
                           const void **out_data, uint64_t *out_bytes) {
  tsr_dtype dtype = tsr_value_type(ir, tsr_op_get(ir, op)->results[0])->dtype;
  int64_t count, number_of_table = tsr_op_int(ir, op, "data", 0);
  *out_data = NULL;
  *out_bytes = 0;
  TSR_TRY(element_count(ir, op, diag, &count));
  int64_t bytes = tsr_dtype_bytes(dtype, count);
  if (bytes < 0)
    return tsr_fail(diag, TSR_ERR_SHAPE, "const: the shape overflows");
  *out_bytes = (uint64_t)bytes;
  const tsr_const_data *table =
      number_of_table > 0 ? tsr_const_get(ir, (uint32_t)number_of_table) : NULL;
  if (table != NULL && table->data != NULL) {
    if (table->bytes != (uint64_t)bytes)
      return tsr_fail(diag, TSR_ERR_SHAPE, "const: its bytes do not fit its type");
    *out_data = table->data;
    return TSR_OK;
  }
  void *data = tsr_arena_alloc(arena, (size_t)bytes);
  if (data == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory for a constant of %lld bytes",
                    (long long)bytes);
  TSR_TRY(fill(ir, op, diag, dtype, count, data));
  *out_data = data;
  return TSR_OK;
}

bool tsr_const_splat(tsr_ir *ir, tsr_op op, double *out_float, int64_t *out_integer) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  *out_float = 0;
  *out_integer = 0;
  if (data->code != TSR_OP_CONST)
    return false;
  const tsr_attr *value = tsr_op_attr(ir, op, "value");
  int64_t count;
  bool single = (value != NULL && scalar_attr(value)) ||
                (element_count(ir, op, NULL, &count) == TSR_OK && count == 1);
  return single && tsr_const_element(ir, op, 0, out_float, out_integer) == TSR_OK;
}

tsr_status tsr_const_element(tsr_ir *ir, tsr_op op, int64_t element, double *out_float,
                             int64_t *out_integer) {
  number value = {0};
  tsr_status status = find_element(ir, op, NULL, element, &value);
  *out_float = value.real;
  *out_integer = value.integer;
  return status;
}
