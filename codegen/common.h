/* What the generators of all targets say alike. */
#ifndef TSR_CODEGEN_COMMON_H
#define TSR_CODEGEN_COMMON_H
#include "ir/ir.h"
#include <stdarg.h>

/* Records a failure at `op` (0: nowhere) with the ONNX node of it or of the innermost op around it
 * that came from one. Returns `status`. */
tsr_status tsr_codegen_fail(const tsr_ir *ir, const tsr_op_data *op, tsr_diag *diag,
                            tsr_status status, const char *format, va_list arguments);

/* Whether an elementwise op only gives values of its operands' type, so that nothing is rounded. */
bool tsr_codegen_is_exact(tsr_opcode code);

/* A number written in an attribute. */
typedef struct tsr_codegen_number {
  bool whole; /* integer is meant, else real */
  int64_t integer;
  double real;
} tsr_codegen_number;

/* Element `number` (of a splat: any) of the attribute `value` for a constant of `dtype`; false: it
 * is no number. */
bool tsr_codegen_attr_number(const tsr_ir *ir, const tsr_attr *attr, tsr_dtype dtype,
                             uint64_t number, tsr_codegen_number *out_number);

#endif
