/* ONNX model to graph IR. */
#ifndef TSR_FRONTEND_ONNX_IMPORT_H
#define TSR_FRONTEND_ONNX_IMPORT_H
#include "frontend/onnx/onnx_model.h"
#include "ir/ir.h"

/* `--dim NAME=N` (lo == hi: the dim becomes a number) and `--dim NAME=LO..HI`. NAME is a dim_param
 * of the model, or INPUT.AXIS for a dim without one. */
typedef struct tsr_import_dim {
  const char *name;
  int64_t lo, hi;
} tsr_import_dim;

/* The value that an input is going to have. It stays an input of the graph; its value is used only
 * where an operator must know it to have a shape (the shape of Reshape, the axes of Squeeze), and
 * then the program is right for this value only. */
typedef struct tsr_import_assumption {
  const char *name;
  const tsr_onnx_tensor *tensor;
  bool used; /* set by the import */
} tsr_import_assumption;

/* The output lives in the input's memory; tsr_compile_options.aliases. */
typedef struct tsr_import_alias {
  const char *output, *input;
} tsr_import_alias;

typedef struct tsr_import_options {
  const tsr_import_dim *dims;
  uint32_t dim_count;
  tsr_import_assumption *assumptions;
  uint32_t assumption_count;
  const tsr_import_alias *aliases;
  uint32_t alias_count;
} tsr_import_options;

/* Bounds of symbolic dims that no option narrows. */
#define TSR_IMPORT_DIM_LO 0
#define TSR_IMPORT_DIM_HI (1 << 28)

/* Imports the model as the graph @main of a new IR; `options` may be NULL. Constants are kept by
 * reference, at any alignment: `model` must outlive the IR. All operators that cannot be imported
 * are reported at once with TSR_ERR_UNSUPPORTED; other errors name the node. */
TSR_WARN_UNUSED tsr_status tsr_onnx_import(const tsr_onnx_model *model,
                                           const tsr_import_options *options,
                                           const tsr_allocator *allocator, tsr_diag *diag,
                                           tsr_ir **out_ir);

#endif
