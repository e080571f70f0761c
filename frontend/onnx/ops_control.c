/* Constants, If, and sequences whose length is known while importing. */
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
  else
    return tsr_lower_unsupported(l, "a constant that is a string or a sparse tensor");
  return TSR_OK;
}

/* --- If --- */

static const tsr_onnx_graph *branch(tsr_lower *l, const char *name) {
  const tsr_onnx_attribute *a = tsr_lower_attr(l, name);
  return a && a->type == TSR_ONNX_GRAPH ? a->g : NULL;
}

static bool same_type(const tsr_imported *a, const tsr_imported *b) {
  return a->kind == TSR_IMPORTED_TENSOR && b->kind == TSR_IMPORTED_TENSOR && a->dtype == b->dtype &&
         a->rank == b->rank &&
         (a->rank == 0 || memcmp(a->dims, b->dims, a->rank * sizeof *a->dims) == 0);
}

/* Graph ops have no effects, so that both branches may be computed and one be chosen. */
static tsr_status choose(tsr_lower *l, tsr_imported **yes, tsr_imported **no) {
  tsr_value condition = v_to_scalar(l, tsr_lower_value(l, 0));
  for (uint32_t i = 0; i < l->out_count; i++) {
    if (yes[i]->kind == TSR_IMPORTED_BROKEN || no[i]->kind == TSR_IMPORTED_BROKEN) {
      tsr_lower_set_imported(l, i, yes[i]->kind == TSR_IMPORTED_BROKEN ? yes[i] : no[i]);
      continue;
    }
    if (!same_type(yes[i], no[i]))
      return tsr_lower_unsupported(
          l, "its branches give results of different types and the condition is not known");
    tsr_lower_set(
        l, i, v_select(l, condition, tsr_imported_value(l, yes[i]), tsr_imported_value(l, no[i])));
  }
  return TSR_OK;
}

tsr_status tsr_lower_op_if(tsr_lower *l) {
  int64_t condition;
  TSR_TRY(tsr_lower_need(l, 1));
  const tsr_onnx_graph *then_graph = branch(l, "then_branch");
  const tsr_onnx_graph *else_graph = branch(l, "else_branch");
  if (!then_graph || !else_graph)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "a branch is missing");
  tsr_imported **yes = tsr_lower_alloc(l, l->out_count, sizeof *yes);
  tsr_imported **no = tsr_lower_alloc(l, l->out_count, sizeof *no);
  if (!yes || !no)
    return TSR_ERR_OUT_OF_MEMORY;
  tsr_imported *known = l->in[0];
  if (tsr_imported_content(l, known) && tsr_lower_scalar_int(l, 0, &condition)) {
    TSR_TRY(
        tsr_import_subgraph(l, condition ? then_graph : else_graph, NULL, 0, yes, l->out_count));
    for (uint32_t i = 0; i < l->out_count; i++)
      tsr_lower_set_imported(l, i, yes[i]);
    return TSR_OK;
  }
  TSR_TRY(tsr_import_subgraph(l, then_graph, NULL, 0, yes, l->out_count));
  TSR_TRY(tsr_import_subgraph(l, else_graph, NULL, 0, no, l->out_count));
  return choose(l, yes, no);
}
