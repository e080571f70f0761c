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

/* --- sequences --- */

static tsr_status need_sequence(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  if (l->in[0]->kind != TSR_IMPORTED_SEQUENCE)
    return tsr_lower_wrong(l, TSR_ERR_TYPE, "input 0 is not a sequence");
  return TSR_OK;
}

static tsr_imported *new_sequence(tsr_lower *l, uint64_t count) {
  tsr_imported *sequence = tsr_lower_alloc(l, 1, sizeof *sequence);
  tsr_imported **items = tsr_lower_alloc(l, count, sizeof *items);
  if (!sequence || !items)
    return NULL;
  sequence->kind = TSR_IMPORTED_SEQUENCE;
  sequence->items = items;
  sequence->item_count = count;
  return sequence;
}

tsr_status tsr_lower_op_sequence_construct(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, l->in_count));
  tsr_imported *sequence = new_sequence(l, l->in_count);
  for (uint32_t i = 0; sequence && i < l->in_count; i++)
    sequence->items[i] = l->in[i];
  tsr_lower_set_imported(l, 0, sequence);
  return TSR_OK;
}

/* A position in a sequence, counted from the end when negative; `room` 1 allows the end itself. */
static tsr_status position(tsr_lower *l, uint32_t input, uint64_t room, uint64_t *out) {
  int64_t at, count = (int64_t)l->in[0]->item_count;
  *out = 0;
  if (!tsr_lower_scalar_int(l, input, &at))
    return tsr_lower_unknown(l, input, "position");
  at += at < 0 ? count : 0;
  if (at < 0 || at >= count + (int64_t)room)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "position out of range");
  *out = (uint64_t)at;
  return TSR_OK;
}

tsr_status tsr_lower_op_sequence_at(tsr_lower *l) {
  uint64_t at;
  TSR_TRY(need_sequence(l));
  TSR_TRY(position(l, 1, 0, &at));
  tsr_lower_set_imported(l, 0, l->in[0]->items[at]);
  return TSR_OK;
}

tsr_status tsr_lower_op_sequence_insert(tsr_lower *l) {
  TSR_TRY(need_sequence(l));
  TSR_TRY(tsr_lower_need(l, 2));
  uint64_t at = l->in[0]->item_count;
  if (tsr_lower_has(l, 2))
    TSR_TRY(position(l, 2, 1, &at));
  tsr_imported *sequence = new_sequence(l, l->in[0]->item_count + 1);
  for (uint64_t i = 0; sequence && i < sequence->item_count; i++)
    sequence->items[i] = i == at ? l->in[1] : l->in[0]->items[i - (i > at)];
  tsr_lower_set_imported(l, 0, sequence);
  return TSR_OK;
}

tsr_status tsr_lower_op_sequence_erase(tsr_lower *l) {
  TSR_TRY(need_sequence(l));
  if (l->in[0]->item_count == 0)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "the sequence is empty");
  uint64_t at = l->in[0]->item_count - 1;
  if (tsr_lower_has(l, 1))
    TSR_TRY(position(l, 1, 0, &at));
  tsr_imported *sequence = new_sequence(l, l->in[0]->item_count - 1);
  for (uint64_t i = 0; sequence && i < sequence->item_count; i++)
    sequence->items[i] = l->in[0]->items[i + (i >= at)];
  tsr_lower_set_imported(l, 0, sequence);
  return TSR_OK;
}

tsr_status tsr_lower_op_sequence_length(tsr_lower *l) {
  TSR_TRY(need_sequence(l));
  int64_t count = (int64_t)l->in[0]->item_count;
  set_ints(l, &count, 1, true);
  return TSR_OK;
}

/* Concatenates along `axis`; with new_axis the items are stacked. */
tsr_status tsr_lower_op_concat_from_sequence(tsr_lower *l) {
  TSR_TRY(need_sequence(l));
  const tsr_imported *sequence = l->in[0];
  bool stack = tsr_lower_int(l, "new_axis", 0) != 0;
  uint32_t axis;
  if (sequence->item_count == 0)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "the sequence is empty");
  TSR_TRY(tsr_lower_axis_attr(l, "axis", 0, sequence->items[0]->rank + (stack ? 1 : 0), &axis));
  tsr_value *parts = tsr_lower_alloc(l, sequence->item_count, sizeof *parts);
  for (uint64_t i = 0; parts && i < sequence->item_count; i++) {
    tsr_value part = tsr_imported_value(l, sequence->items[i]);
    parts[i] = stack ? v_unsqueeze(l, part, axis) : part;
  }
  if (parts)
    tsr_lower_set(l, 0, tsr_graph_concat(l->b, parts, (uint32_t)sequence->item_count, axis));
  return TSR_OK;
}

/* Pieces of `split` (a size, or a list of sizes) along `axis`; without it pieces of 1, squeezed
 * unless keepdims. */
tsr_status tsr_lower_op_split_to_sequence(tsr_lower *l) {
  uint32_t axis, sizes = 0;
  int64_t extent;
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0);
  TSR_TRY(tsr_lower_axis_attr(l, "axis", 0, v_rank(l, x), &axis));
  if (!v_static_dim(l, x, axis, &extent))
    return tsr_lower_unsupported(l, "a symbolic dim along axis %u", axis);
  const int64_t *list = tsr_lower_numbers(l, 1, &sizes);
  if (tsr_lower_has(l, 1) && (!list || sizes == 0))
    return tsr_lower_unknown(l, 1, "split");
  bool even = !list || l->in[1]->rank == 0;
  int64_t size = list ? list[0] : 1;
  if (size < 1 || extent > 65536)
    return tsr_lower_unsupported(l, "pieces of %lld of an extent of %lld", (long long)size,
                                 (long long)extent);
  uint64_t count = even ? (uint64_t)((extent + size - 1) / size) : sizes;
  bool squeeze = !list && tsr_lower_int(l, "keepdims", 1) == 0;
  tsr_imported *sequence = new_sequence(l, count);
  int64_t at = 0;
  for (uint64_t i = 0; sequence && i < count; i++) {
    int64_t take = even ? (extent - at < size ? extent - at : size) : list[i];
    tsr_value piece = v_slice_axis(l, x, axis, e_int(l, at), e_int(l, take));
    if (squeeze) {
      tsr_expr dims[TSR_MAX_RANK];
      uint32_t rank = 0;
      for (uint32_t k = 0; k < v_rank(l, x); k++)
        if (k != axis)
          dims[rank++] = v_dim(l, x, k);
      piece = v_reshape(l, piece, dims, rank);
    }
    sequence->items[i] = tsr_imported_new(l, piece);
    at += take;
  }
  tsr_lower_set_imported(l, 0, sequence);
  return TSR_OK;
}
