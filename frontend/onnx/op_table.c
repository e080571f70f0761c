#include "frontend/onnx/op_table.h"
#include "frontend/onnx/importer.h"
#include <string.h>

#define ONNX_OP_OF(domain, name, since, until, function, arg, fold)                                \
  {domain, #name, since, until, tsr_lower_op_##function, arg, fold},
static const tsr_onnx_op rows[] = {
#include "frontend/onnx/op_table.def"
};
#undef ONNX_OP_OF

const tsr_onnx_op *tsr_onnx_op_find(const char *domain, const char *name, int64_t opset,
                                    int64_t *out_since, int64_t *out_until) {
  *out_since = *out_until = 0;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (strcmp(rows[i].name, name) != 0 || strcmp(rows[i].domain, domain) != 0)
      continue;
    if (opset >= rows[i].since && opset <= rows[i].until)
      return &rows[i];
    if (*out_since == 0 || rows[i].since < *out_since)
      *out_since = rows[i].since;
    if (rows[i].until > *out_until)
      *out_until = rows[i].until;
  }
  return NULL;
}
