#include "frontend/onnx/op_table.h"
#include "frontend/onnx/importer.h"
#include <string.h>

#define ONNX_OP(name, since, until, function, arg, fold)                                           \
  {"", #name, since, until, tsr_lower_op_##function, arg, fold},
static const tsr_onnx_op rows[] = {
#include "frontend/onnx/op_table.def"
};
#undef ONNX_OP

const tsr_onnx_op *tsr_onnx_op_find(const char *domain, const char *name, int64_t opset,
                                    bool *out_known_name) {
  *out_known_name = false;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (strcmp(rows[i].name, name) != 0 || strcmp(rows[i].domain, domain) != 0)
      continue;
    *out_known_name = true;
    if (opset >= rows[i].since && opset <= rows[i].until)
      return &rows[i];
  }
  return NULL;
}
