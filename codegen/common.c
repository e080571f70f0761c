#include "codegen/common.h"
#include <stdio.h>

static const char *origin_of(const tsr_ir *ir, const tsr_op_data *op) {
  while (op->origin_count == 0) {
    tsr_op around = tsr_region_get(ir, op->parent)->parent;
    if (around == 0)
      return "";
    op = tsr_op_get(ir, around);
  }
  return op->origins[0];
}

tsr_status tsr_codegen_fail(const tsr_ir *ir, const tsr_op_data *op, tsr_diag *diag,
                            tsr_status status, const char *format, va_list arguments) {
  char message[512];
  vsnprintf(message, sizeof message, format, arguments);
  status = tsr_fail(diag, status, "%s", message);
  if (diag != NULL && op != NULL) {
    tsr_diag_set_node(diag, origin_of(ir, op), tsr_opcode_info(op->code)->text);
    tsr_diag_set_position(diag, op->line, 0);
  }
  return status;
}

bool tsr_codegen_is_exact(tsr_opcode code) {
  switch (code) {
  case TSR_OP_NEG:
  case TSR_OP_ABS:
  case TSR_OP_SIGN:
  case TSR_OP_FLOOR:
  case TSR_OP_CEIL:
  case TSR_OP_TRUNC:
  case TSR_OP_ROUND:
  case TSR_OP_MIN:
  case TSR_OP_MAX:
  case TSR_OP_SELECT:
  case TSR_OP_ISNAN:
  case TSR_OP_ISINF:
    return true;
  default:
    return tsr_opcode_info(code)->kind == TSR_KIND_COMPARE;
  }
}

bool tsr_codegen_attr_number(const tsr_ir *ir, const tsr_attr *attr, tsr_dtype dtype,
                             uint64_t number, tsr_codegen_number *out_number) {
  uint64_t at = number < attr->count ? number : 0;
  *out_number = (tsr_codegen_number){0};
  switch (attr->kind) {
  case TSR_ATTR_FLOAT:
    out_number->real = attr->u.number;
    return true;
  case TSR_ATTR_NUMBERS:
    out_number->real = attr->u.numbers[at];
    return true;
  case TSR_ATTR_INT:
    out_number->integer = attr->u.integer;
    break;
  case TSR_ATTR_BOOL:
    out_number->integer = attr->u.boolean;
    break;
  case TSR_ATTR_EXPRS:
    if (!tsr_expr_is_int(ir, attr->u.exprs[at], &out_number->integer))
      return false;
    break;
  default:
    return false;
  }
  out_number->whole = tsr_dtype_class_of(dtype) != TSR_CLASS_FLOAT && dtype != TSR_BOOL;
  out_number->real = (double)out_number->integer;
  return true;
}
