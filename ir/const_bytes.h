/* The bytes of a const op, whichever way its value is written. */
#ifndef TSR_IR_CONST_BYTES_H
#define TSR_IR_CONST_BYTES_H
#include "ir/ir.h"

/* Dense row-major bytes of the const op `op` (value, list, random or data): those of the constant
 * table as they are, others made in `arena`. TSR_ERR_SHAPE when its shape is symbolic,
 * TSR_ERR_STATE when the text had left its bytes out. */
TSR_WARN_UNUSED tsr_status tsr_const_bytes(tsr_ir *ir, tsr_op op, tsr_arena *arena, tsr_diag *diag,
                                           const void **out_data, uint64_t *out_bytes);
/* True when every element is the same number, given as float64 (and exactly as int64 for integers).
 */
bool tsr_const_splat(tsr_ir *ir, tsr_op op, double *out_float, int64_t *out_integer);
/* One element of a const op with static shape: `element` in row-major order. */
TSR_WARN_UNUSED tsr_status tsr_const_element(tsr_ir *ir, tsr_op op, int64_t element,
                                             double *out_float, int64_t *out_integer);
#endif
