/* Axes that reshapes cut: i with subscripts i floordiv C and i mod C becomes two axes, so that
 * every subscript is a plain sum of axes again and loads and stores stay streams. */
#ifndef TSR_PASSES_SPLIT_AXES_H
#define TSR_PASSES_SPLIT_AXES_H
#include "passes/point.h"

/* All blocks of a graph region, not of nested ones. */
TSR_WARN_UNUSED tsr_status tsr_split_axes(tsr_ir *ir, tsr_region region, tsr_diag *diag);
#endif
