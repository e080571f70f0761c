/* The attributes that convolutions and pools share: kernel_shape, strides, dilations, pads and
 * auto_pad. */
#ifndef TSR_FRONTEND_ONNX_WINDOW_H
#define TSR_FRONTEND_ONNX_WINDOW_H
#include "frontend/onnx/build.h"

typedef struct tsr_window {
  uint32_t spatial; /* axes: the last ones of the operand */
  int64_t kernel[TSR_MAX_RANK];
  int64_t strides[TSR_MAX_RANK];
  int64_t dilations[TSR_MAX_RANK];
  tsr_expr low[TSR_MAX_RANK], high[TSR_MAX_RANK];
} tsr_window;

/* For an operand [N, C, spatial...]; `weights` gives the kernel's extents, 0: only the attribute
 * does. */
TSR_WARN_UNUSED tsr_status tsr_window_read(tsr_lower *l, tsr_value x, tsr_value weights,
                                           tsr_window *out);
/* Strides, dilations and pads alone; the kernel stays 0. */
TSR_WARN_UNUSED tsr_status tsr_window_read_steps(tsr_lower *l, uint32_t spatial, tsr_window *out);
/* Strides and dilations 1 where absent, kernel and pads as given by attributes; no auto_pad. */
TSR_WARN_UNUSED tsr_status tsr_window_read_lists(tsr_lower *l, uint32_t spatial, tsr_value weights,
                                                 tsr_window *out);
/* The average of each window of x [N, C, spatial...], as AveragePool's attributes say. */
TSR_WARN_UNUSED tsr_status tsr_average_windows(tsr_lower *l, tsr_value x, tsr_value *out);
#endif
