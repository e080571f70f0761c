/* Types of what the host runs: ops of kind HOST. */
#ifndef TSR_IR_HOST_TYPES_H
#define TSR_IR_HOST_TYPES_H
#include "ir/ir.h"

/* The same dtype, and the same rank or any: items of `from` may be items of `to`. Extents are the
 * host's to compare. */
bool tsr_items_fit(const tsr_type_info *from, const tsr_type_info *to);
/* Operands and results of an op of kind HOST fit its row of host_ops.def (`call`: nothing is
 * asked): TSR_ERR_TYPE or TSR_ERR_SHAPE with the reason. */
TSR_WARN_UNUSED tsr_status tsr_check_host_types(tsr_ir *ir, tsr_op op, tsr_diag *diag);

#endif
