#include "runtime/index_code.h"
#include <stdbool.h>
#include <string.h>

/* Deeper expressions are refused by the module reader too, so that evaluation needs no memory. */
enum { STACK_DEPTH = 64 };

/* Quotient rounded towards minus infinity and a remainder with the divisor's sign. INT64_MIN / -1
 * does not fit. */
static tsr_status divide_floor(int64_t a, int64_t b, int64_t *out_quotient, int64_t *out_rest) {
  if (b == 0 || (a == INT64_MIN && b == -1))
    return TSR_ERR_SHAPE;
  *out_quotient = a / b;
  *out_rest = a % b;
  if (*out_rest != 0 && (*out_rest < 0) != (b < 0)) {
    *out_quotient -= 1;
    *out_rest += b;
  }
  return TSR_OK;
}

static tsr_status apply_division(tsr_index_op op, int64_t a, int64_t b, int64_t *out) {
  int64_t quotient, rest;
  if (op == TSR_INDEX_MOD && b == -1)
    return TSR_OK; /* the remainder is 0 even where the quotient does not fit */
  if (divide_floor(a, b, &quotient, &rest) != TSR_OK)
    return TSR_ERR_SHAPE;
  if (op == TSR_INDEX_MOD)
    *out = rest;
  else
    *out = quotient + (op == TSR_INDEX_CEILDIV && rest != 0);
  return TSR_OK;
}

tsr_status tsr_index_apply(tsr_index_op op, int64_t a, int64_t b, int64_t *out) {
  int64_t value = 0;
  tsr_status status = TSR_OK;
  *out = 0;
  switch (op) {
  case TSR_INDEX_ADD:
    status = __builtin_add_overflow(a, b, &value) ? TSR_ERR_SHAPE : TSR_OK;
    break;
  case TSR_INDEX_MUL:
    status = __builtin_mul_overflow(a, b, &value) ? TSR_ERR_SHAPE : TSR_OK;
    break;
  case TSR_INDEX_FLOORDIV:
  case TSR_INDEX_CEILDIV:
  case TSR_INDEX_MOD:
    status = apply_division(op, a, b, &value);
    break;
  case TSR_INDEX_MIN:
    value = a < b ? a : b;
    break;
  case TSR_INDEX_MAX:
    value = a > b ? a : b;
    break;
  case TSR_INDEX_LT:
    value = a < b;
    break;
  case TSR_INDEX_LE:
    value = a <= b;
    break;
  case TSR_INDEX_EQ:
    value = a == b;
    break;
  case TSR_INDEX_NE:
    value = a != b;
    break;
  case TSR_INDEX_AND:
    value = a != 0 && b != 0;
    break;
  case TSR_INDEX_OR:
    value = a != 0 || b != 0;
    break;
  case TSR_INDEX_INT:
  case TSR_INDEX_DIM:
  case TSR_INDEX_VALUE:
  case TSR_INDEX_LANE:
  case TSR_INDEX_OP_COUNT:
  default:
    return TSR_ERR_FORMAT;
  }
  if (status == TSR_OK)
    *out = value;
  return status;
}

tsr_status tsr_index_eval(const tsr_index_step *steps, uint32_t count, const int64_t *dims,
                          uint32_t dim_count, int64_t *out) {
  int64_t stack[STACK_DEPTH];
  uint32_t depth = 0;
  *out = 0;
  for (uint32_t i = 0; i < count; i++) {
    int64_t op = steps[i].op, operand = steps[i].operand;
    if (op == TSR_INDEX_INT || op == TSR_INDEX_DIM) {
      bool known = op == TSR_INDEX_INT || (operand >= 0 && operand < (int64_t)dim_count);
      if (depth == STACK_DEPTH || !known)
        return TSR_ERR_FORMAT;
      stack[depth++] = op == TSR_INDEX_INT ? operand : dims[operand];
    } else {
      tsr_status status;
      if (depth < 2 || op < TSR_INDEX_ADD || op >= TSR_INDEX_OP_COUNT)
        return TSR_ERR_FORMAT;
      depth--;
      status = tsr_index_apply((tsr_index_op)op, stack[depth - 1], stack[depth], &stack[depth - 1]);
      if (status != TSR_OK)
        return status;
    }
  }
  if (depth != 1)
    return TSR_ERR_FORMAT;
  *out = stack[0];
  return TSR_OK;
}
