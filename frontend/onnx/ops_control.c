/* Constant. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/importer.h"
#include "frontend/onnx/op_table.h"
#include <string.h>

/* --- Constant --- */

static void set_ints(tsr_lower *l, const int64_t *numbers, uint64_t count, bool scalar) {
  tsr_expr *exprs = tsr_lower_alloc(l, count, sizeof *exprs);
  tsr_expr dim = e_int(l, (int64_t)count);
  for (uint64_t i = 0; exprs && i < count; i++)
    exprs[i] = e_int(l, numbers[i]);
  tsr_content content = {.count = count, .exprs = exprs};
  if (exprs)
    tsr_lower_set_content(l, 0, TSR_I64, &dim, scalar ? 0 : 1, &content);
}

static void set_floats(tsr_lower *l, const float *numbers, uint64_t count, bool scalar) {
  double *floats = tsr_lower_alloc(l, count, sizeof *floats);
  tsr_expr dim = e_int(l, (int64_t)count);
  for (uint64_t i = 0; floats && i < count; i++)
    floats[i] = (double)numbers[i];
  tsr_content content = {.count = count, .floats = floats};
  if (floats)
    tsr_lower_set_content(l, 0, TSR_F32, &dim, scalar ? 0 : 1, &content);
}

static void set_texts(tsr_lower *l, const tsr_wire_bytes *texts, uint64_t count, bool scalar) {
  int64_t *numbers = tsr_lower_alloc(l, count + 1, sizeof *numbers);
  for (uint64_t i = 0; numbers && i < count; i++)
    numbers[i] = tsr_text_number(l->importer, texts[i].data, texts[i].size);
  if (numbers)
    set_ints(l, numbers, count, scalar);
  if (l->out[0])
    l->out[0]->text = true;
}

tsr_status tsr_lower_op_constant(tsr_lower *l) {
  const tsr_onnx_attribute *a = tsr_lower_attr(l, "value");
  if (a && a->type == TSR_ONNX_TENSOR) {
    tsr_imported *made = tsr_import_tensor(l->importer, a->t);
    if (!made)
      return tsr_lower_wrong(l, TSR_ERR_OUT_OF_MEMORY, "out of memory");
    if (made->kind == TSR_IMPORTED_BROKEN)
      return tsr_lower_unsupported(l, "element type %s", tsr_onnx_dtype_name(a->t->data_type));
    tsr_lower_set_imported(l, 0, made);
    return TSR_OK;
  }
  if ((a = tsr_lower_attr(l, "value_int")) && a->type == TSR_ONNX_INT)
    set_ints(l, &a->i, 1, true);
  else if ((a = tsr_lower_attr(l, "value_ints")) && a->type == TSR_ONNX_INTS)
    set_ints(l, a->ints.items, a->ints.count, false);
  else if ((a = tsr_lower_attr(l, "value_float")) && a->type == TSR_ONNX_FLOAT)
    set_floats(l, &a->f, 1, true);
  else if ((a = tsr_lower_attr(l, "value_floats")) && a->type == TSR_ONNX_FLOATS)
    set_floats(l, a->floats.items, a->floats.count, false);
  else if ((a = tsr_lower_attr(l, "value_string")) && a->type == TSR_ONNX_STRING)
    set_texts(l, &a->s, 1, true);
  else if ((a = tsr_lower_attr(l, "value_strings")) && a->type == TSR_ONNX_STRINGS)
    set_texts(l, a->strings.items, a->strings.count, false);
  else
    return tsr_lower_unsupported(l, "a constant that is a sparse tensor");
  return TSR_OK;
}
