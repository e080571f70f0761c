/* One module of an ONNX model with symbolic dims, run on data sets of any sizes against the
 * evaluator on the same graph. Inputs are f32; '?' before the name: bool, '#': i64 in {0, 1}, '@':
 * i64 counted from 0 up. All are small integers, so that sums and products are exact. */
#ifndef TSR_TESTS_ROBUST_DIMS_MODEL_H
#define TSR_TESTS_ROBUST_DIMS_MODEL_H
#include "frontend/onnx/import.h"
#include "tests/onnx/model_writer.h"
#include <tessera/compiler.h>
#include <tessera/runtime.h>

enum { MOST_INPUTS = 8 };

typedef struct dims_model {
  char path[128], target[64];
  char kinds[MOST_INPUTS];
  tsr_onnx_model onnx;
  tsr_ir *ir;
  tsr_module *module;
  tsr_exec *exec;
  double tolerance; /* relative, and a hundredth of it absolute; 0: exact */
} dims_model;

/* Adds an input "name dim dim .." to the graph, and its name to `names`. */
void dims_add_input(wire *graph, const char *text, char *names);
/* Imports and compiles; a failure fails the test. `target`: "cpu" or "cuda-emulated:sm_80". */
void dims_open(dims_model *m, wire model, const char *target, const tsr_dim_range *ranges,
               uint32_t range_count);
/* The run ends with TSR_ERR_SHAPE and a text that holds `error`, or, without one, with what the
 * evaluator gives.
 */
void dims_run(dims_model *m, const int64_t (*extents)[4], const char *error);
void dims_close(dims_model *m);
/* The model is refused at compile time. */
void dims_refuse(wire model, const char *error);
#endif
