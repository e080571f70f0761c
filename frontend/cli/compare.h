/* Whether a result is right: the rule of ONNX's backend tests. */
#ifndef TSR_FRONTEND_CLI_COMPARE_H
#define TSR_FRONTEND_CLI_COMPARE_H
#include "frontend/cli/host_tensor.h"
#include <stdbool.h>

/* Same dtype and shape; texts equal byte by byte; floats |a - e| <= 1e-7 + 1e-3 |e|, NaN equals
 * NaN, infinities by sign; everything else exact. Otherwise false, and a line that names the first
 * difference, how many there are and the largest in `out_reason`. */
bool tsr_tensors_agree(const tsr_host_tensor *actual, const tsr_host_tensor *expected,
                       char *out_reason, size_t reason_size);
/* The same for each of as many; nothing equals nothing only. */
bool tsr_items_agree(const tsr_host_items *actual, const tsr_host_items *expected, char *out_reason,
                     size_t reason_size);

#endif
