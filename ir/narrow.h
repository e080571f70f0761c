#ifndef TSR_IR_NARROW_H
#define TSR_IR_NARROW_H
#include "ir/ir.h"

/* Narrows the input dim `name` to lo..hi, which must lie in its range. TSR_ERR_NOT_FOUND,
 * TSR_ERR_SHAPE. */
TSR_WARN_UNUSED tsr_status tsr_dim_narrow(tsr_ir *ir, const char *name, int64_t lo, int64_t hi,
                                          tsr_diag *diag);

#endif
