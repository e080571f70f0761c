#include "frontend/onnx/sizes.h"
#include <string.h>

/* Longer inputs are no shapes. */
enum { MOST_SIZES = 64 };

static bool size_count(tsr_lower *l, uint32_t input, uint32_t *out_count) {
  int64_t extent = 1;
  *out_count = 0;
  if (!tsr_lower_has(l, input) || l->in[input]->kind != TSR_IMPORTED_TENSOR)
    return false;
  const tsr_imported *x = l->in[input];
  tsr_dtype_class kind = tsr_dtype_class_of(x->dtype);
  if (x->rank > 1 || (kind != TSR_CLASS_INT && kind != TSR_CLASS_UINT) ||
      (x->rank == 1 && !tsr_expr_is_int(l->ir, x->dims[0], &extent)) || extent > MOST_SIZES)
    return false;
  *out_count = (uint32_t)extent;
  return true;
}

tsr_value tsr_size_vector(tsr_lower *l, uint32_t input, uint32_t *out_count) {
  if (!size_count(l, input, out_count))
    return 0;
  tsr_expr count = e_int(l, *out_count);
  return v_reshape(l, v_cast(l, tsr_lower_value(l, input), TSR_I64), &count, 1);
}

tsr_expr tsr_size_known(tsr_lower *l, uint32_t input, uint32_t number) {
  const tsr_content *content = tsr_imported_content(l, l->in[input]);
  if (content && content->exprs && number < content->count)
    return content->exprs[number];
  return l->in[input]->partial ? l->in[input]->partial[number] : 0;
}

static const char *size_name(tsr_lower *l, const char *between, const char *what, uint32_t number) {
  const char *origin = l->b->origin ? l->b->origin : l->node->op_type;
  char *name = number == UINT32_MAX
                   ? tsr_arena_printf(l->arena, "%s%s%s", origin, between, what)
                   : tsr_arena_printf(l->arena, "%s%s%s[%u]", origin, between, what, number);
  while (name && tsr_dim_find(l->ir, name))
    name = tsr_arena_printf(l->arena, "%s'", name);
  if (!name)
    (void)tsr_ir_poison(l->ir, TSR_ERR_OUT_OF_MEMORY, "out of memory while importing");
  return name ? name : "";
}

tsr_expr tsr_size_read(tsr_lower *l, tsr_value counts, uint32_t element, const char *what,
                       uint32_t number, tsr_expr bound) {
  if (!counts)
    return 0;
  return tsr_graph_read_dim(l->b, counts, element, size_name(l, ".", what, number),
                            bound ? bound : e_int(l, TSR_IMPORT_DIM_HI));
}

void tsr_size_check(tsr_lower *l, tsr_value wrong, const char *text) {
  tsr_value count = v_cast(l, wrong, TSR_I64);
  if (count)
    (void)tsr_graph_read_dim(l->b, count, 0, size_name(l, ": ", text, UINT32_MAX), e_int(l, 0));
}

/* Dims that are read inside a body mean nothing outside: what is learnt in it stays with its
 * values. */
static bool is_of_this_region(const tsr_lower *l, const tsr_imported *x) {
  const tsr_value_data *data = tsr_value_get(l->ir, x->value);
  tsr_region home = data->region ? data->region : tsr_op_get(l->ir, data->def)->parent;
  return home == l->b->region;
}

const tsr_content *tsr_size_content(tsr_lower *l, uint32_t input, const char *what) {
  const tsr_content *known = tsr_lower_content(l, input);
  uint32_t count;
  if (known)
    return known->count == 0 || known->exprs ? known : NULL;
  tsr_value counts = tsr_size_vector(l, input, &count);
  tsr_content *content = tsr_lower_alloc(l, 1, sizeof *content);
  tsr_expr *exprs = tsr_lower_alloc(l, count, sizeof *exprs);
  if (!counts || !content || !exprs)
    return NULL;
  for (uint32_t i = 0; i < count; i++) {
    exprs[i] = tsr_size_known(l, input, i);
    if (!exprs[i])
      exprs[i] = tsr_size_read(l, counts, i, what, l->in[input]->rank == 0 ? UINT32_MAX : i, 0);
  }
  content->count = count;
  content->exprs = exprs;
  if (is_of_this_region(l, l->in[input]))
    l->in[input]->content = content;
  return content;
}

tsr_value tsr_size_value(tsr_lower *l, const tsr_expr *exprs, uint32_t count) {
  tsr_content content = {.count = count, .exprs = exprs};
  tsr_expr dim = e_int(l, count);
  tsr_imported vector = {.dtype = TSR_I64, .rank = 1, .dims = &dim, .content = &content};
  return tsr_imported_value(l, &vector);
}

tsr_value tsr_size_scalar(tsr_lower *l, tsr_expr expr) {
  int64_t number;
  if (tsr_expr_is_int(l->ir, expr, &number))
    return v_i64(l, number);
  return tsr_graph_index(l->b, TSR_I64, expr);
}

tsr_value tsr_size_reduce(tsr_lower *l, tsr_value x, const char *combine) {
  static const int64_t first = 0;
  return x ? tsr_graph_reduce(l->b, x, combine, &first, 1) : 0;
}

tsr_value tsr_size_element(tsr_lower *l, tsr_value x, uint32_t at) {
  return v_to_scalar(l, v_slice_axis(l, x, 0, e_int(l, at), e_int(l, 1)));
}
