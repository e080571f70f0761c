/* Strings, sequences and optionals at operators: which take them, and which outputs are strings. */
#ifndef TSR_FRONTEND_ONNX_OP_VALUES_H
#define TSR_FRONTEND_ONNX_OP_VALUES_H
#include "frontend/onnx/lower.h"

/* False, with the reason: the node's operator does not take what its inputs are. */
bool tsr_op_takes(const tsr_lower *l, char *out_why, size_t size);
/* Behind the lowering: outputs that are moved texts are texts. */
void tsr_op_mark_texts(const tsr_lower *l);

#endif
