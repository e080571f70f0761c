#include "frontend/onnx/lower.h"
#include "frontend/onnx/importer.h"
#include "runtime/float_convert.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

tsr_status tsr_lower_unsupported(tsr_lower *l, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(l->reason, sizeof l->reason, format, args);
  va_end(args);
  return TSR_ERR_UNSUPPORTED;
}

tsr_status tsr_lower_wrong(tsr_lower *l, tsr_status status, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(l->reason, sizeof l->reason, format, args);
  va_end(args);
  return status == TSR_ERR_UNSUPPORTED ? TSR_ERR_FORMAT : status;
}

tsr_status tsr_lower_need(tsr_lower *l, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (!tsr_lower_has(l, i))
      return tsr_lower_wrong(l, TSR_ERR_FORMAT, "input %u is missing", i);
  return TSR_OK;
}

tsr_status tsr_lower_unknown(tsr_lower *l, uint32_t input, const char *what) {
  const char *name = input < l->node->inputs.count ? l->node->inputs.items[input] : "";
  return tsr_lower_unsupported(l, "input '%s' (%s) must be known when compiling", name, what);
}

void *tsr_lower_alloc(tsr_lower *l, uint64_t count, size_t size) {
  void *memory = tsr_arena_alloc_array(l->arena, (size_t)count, size);
  if (!memory)
    tsr_ir_poison(l->ir, TSR_ERR_OUT_OF_MEMORY, "out of memory while importing");
  return memory;
}

/* --- attributes --- */

const tsr_onnx_attribute *tsr_lower_attr(tsr_lower *l, const char *name) {
  return tsr_importer_attribute(l->importer, l->node, name);
}

int64_t tsr_lower_int(tsr_lower *l, const char *name, int64_t otherwise) {
  const tsr_onnx_attribute *attribute = tsr_lower_attr(l, name);
  return attribute && attribute->type == TSR_ONNX_INT ? attribute->i : otherwise;
}

float tsr_lower_float(tsr_lower *l, const char *name, float otherwise) {
  const tsr_onnx_attribute *attribute = tsr_lower_attr(l, name);
  return attribute && attribute->type == TSR_ONNX_FLOAT ? attribute->f : otherwise;
}

const char *tsr_lower_text(tsr_lower *l, const char *name, const char *otherwise) {
  const tsr_onnx_attribute *attribute = tsr_lower_attr(l, name);
  if (!attribute || attribute->type != TSR_ONNX_STRING)
    return otherwise;
  const char *text = tsr_arena_string(l->arena, attribute->s.size > 0 ? attribute->s.data : "",
                                      (size_t)attribute->s.size);
  return text ? text : otherwise;
}

bool tsr_lower_text_is(tsr_lower *l, const char *name, const char *otherwise, const char *text) {
  return strcmp(tsr_lower_text(l, name, otherwise), text) == 0;
}

int64_t tsr_lower_cast_target(tsr_lower *l) {
  enum { MOST = 64 }; /* more than there are types */
  const char *name = l->opset < 6 ? tsr_lower_text(l, "to", NULL) : NULL;
  if (!name)
    return tsr_lower_int(l, "to", 0);
  for (int64_t i = 1; i < MOST; i++)
    if (strcmp(tsr_onnx_dtype_name(i), name) == 0)
      return i;
  return 0;
}

const int64_t *tsr_lower_ints(tsr_lower *l, const char *name, uint32_t *out_count) {
  const tsr_onnx_attribute *attribute = tsr_lower_attr(l, name);
  *out_count = 0;
  if (!attribute || attribute->type != TSR_ONNX_INTS)
    return NULL;
  *out_count = (uint32_t)attribute->ints.count;
  return attribute->ints.items ? attribute->ints.items : tsr_lower_alloc(l, 1, sizeof(int64_t));
}

const float *tsr_lower_floats(tsr_lower *l, const char *name, uint32_t *out_count) {
  const tsr_onnx_attribute *attribute = tsr_lower_attr(l, name);
  *out_count = 0;
  if (!attribute || attribute->type != TSR_ONNX_FLOATS)
    return NULL;
  *out_count = (uint32_t)attribute->floats.count;
  return attribute->floats.items ? attribute->floats.items : tsr_lower_alloc(l, 1, sizeof(float));
}

/* --- content --- */

static const tsr_content *decode_content(tsr_lower *l, tsr_dtype dtype, const void *bytes,
                                         uint64_t count) {
  tsr_content *content = tsr_lower_alloc(l, 1, sizeof *content);
  if (!content || count > TSR_CONTENT_LIMIT)
    return NULL;
  content->count = count;
  if (tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT) {
    double *floats = tsr_lower_alloc(l, count, sizeof *floats);
    if (!floats)
      return NULL;
    for (uint64_t i = 0; i < count; i++)
      floats[i] = tsr_element_load_f64(dtype, bytes, (int64_t)i);
    content->floats = floats;
    return content;
  }
  tsr_expr *exprs = tsr_lower_alloc(l, count, sizeof *exprs);
  for (uint64_t i = 0; exprs && i < count; i++) {
    int64_t number = tsr_element_load_i64(dtype, bytes, (int64_t)i);
    if (dtype == TSR_U64 && number < 0)
      return NULL;
    exprs[i] = tsr_expr_int(l->ir, number);
  }
  content->exprs = exprs;
  return exprs ? content : NULL;
}

static bool static_count(tsr_lower *l, const tsr_imported *imported, uint64_t *out_count) {
  *out_count = 1;
  for (uint32_t i = 0; i < imported->rank; i++) {
    int64_t extent;
    if (!tsr_expr_is_int(l->ir, imported->dims[i], &extent) || extent < 0 ||
        __builtin_mul_overflow(*out_count, (uint64_t)extent, out_count))
      return false;
  }
  return true;
}

const tsr_content *tsr_imported_content(tsr_lower *l, tsr_imported *imported) {
  uint64_t count;
  if (!imported || imported->kind != TSR_IMPORTED_TENSOR)
    return NULL;
  if (!imported->content && imported->data && static_count(l, imported, &count) &&
      count <= TSR_CONTENT_LIMIT)
    imported->content = decode_content(l, imported->dtype, imported->data, count);
  return imported->content;
}

const tsr_content *tsr_imported_assume(tsr_lower *l, const tsr_import_assumption *assumption) {
  const tsr_onnx_tensor *tensor = assumption->tensor;
  return decode_content(l, tensor->dtype, tensor->data, (uint64_t)tensor->elements);
}

static const tsr_content *assumed_content(tsr_lower *l, const tsr_imported *imported) {
  if (!imported->assumed)
    return NULL;
  const tsr_import_options *options = l->importer->options;
  for (uint32_t i = 0; i < options->assumption_count && i < 64; i++)
    options->assumptions[i].used |= (imported->assumes >> i & 1) != 0;
  return imported->assumed;
}

const tsr_content *tsr_lower_content(tsr_lower *l, uint32_t input) {
  if (!tsr_lower_has(l, input))
    return NULL;
  const tsr_content *known = tsr_imported_content(l, l->in[input]);
  return known ? known : assumed_content(l, l->in[input]);
}

const int64_t *tsr_lower_numbers(tsr_lower *l, uint32_t input, uint32_t *out_count) {
  const tsr_content *content = tsr_lower_content(l, input);
  *out_count = 0;
  if (!content || (content->count > 0 && !content->exprs))
    return NULL;
  int64_t *numbers = tsr_lower_alloc(l, content->count, sizeof *numbers);
  for (uint64_t i = 0; numbers && i < content->count; i++)
    if (!tsr_expr_is_int(l->ir, content->exprs[i], &numbers[i]))
      return NULL;
  *out_count = (uint32_t)content->count;
  return numbers;
}

bool tsr_lower_scalar_int(tsr_lower *l, uint32_t input, int64_t *out_number) {
  const tsr_content *content = tsr_lower_content(l, input);
  *out_number = 0;
  return content && content->count >= 1 && content->exprs &&
         tsr_expr_is_int(l->ir, content->exprs[0], out_number);
}

bool tsr_lower_scalar_float(tsr_lower *l, uint32_t input, double *out_number) {
  const tsr_content *content = tsr_lower_content(l, input);
  int64_t number = 0;
  *out_number = 0;
  if (!content || content->count < 1)
    return false;
  if (content->floats)
    *out_number = content->floats[0];
  else if (tsr_lower_scalar_int(l, input, &number))
    *out_number = (double)number;
  else
    return false;
  return true;
}

const int64_t *tsr_lower_list(tsr_lower *l, const char *name, uint32_t input, uint32_t *out_count,
                              bool *out_known) {
  const int64_t *list = tsr_lower_ints(l, name, out_count);
  *out_known = true;
  if (list || input == UINT32_MAX || !tsr_lower_has(l, input))
    return list;
  list = tsr_lower_numbers(l, input, out_count);
  *out_known = list != NULL;
  return list;
}

/* --- inputs and outputs --- */

bool tsr_lower_has(const tsr_lower *l, uint32_t input) {
  return input < l->in_count && l->in[input] != NULL;
}

/* Whether the graph's value `name` is what output `output` of the node makes, by branches of If
 * that give it on. */
static bool is_made_by(const tsr_onnx_graph *graph, const char *name, const tsr_onnx_node *node,
                       uint32_t output, uint32_t depth) {
  for (uint64_t n = 0; n < graph->nodes.count; n++) {
    const tsr_onnx_node *maker = &graph->nodes.items[n];
    uint64_t i = 0;
    while (i < maker->outputs.count && strcmp(maker->outputs.items[i], name) != 0)
      i++;
    if (i == maker->outputs.count)
      continue;
    if (maker == node)
      return i == output;
    for (uint64_t a = 0; strcmp(maker->op_type, "If") == 0 && a < maker->attributes.count; a++) {
      const tsr_onnx_graph *branch = maker->attributes.items[a].g;
      if (branch && i < branch->outputs.count && depth < TSR_IMPORT_DEPTH_LIMIT &&
          is_made_by(branch, branch->outputs.items[i].name, node, output, depth + 1))
        return true;
    }
    return false;
  }
  return false;
}

bool tsr_lower_in_place(const tsr_lower *l, uint32_t output, uint32_t input) {
  const tsr_import_options *options = l->importer->options;
  if (!tsr_lower_wants(l, output) || !tsr_lower_has(l, input))
    return false;
  for (uint32_t i = 0; i < options->alias_count; i++)
    if (strcmp(options->aliases[i].input, l->node->inputs.items[input]) == 0 &&
        is_made_by(l->importer->model->proto.graph, options->aliases[i].output, l->node, output, 0))
      return true;
  return false;
}

bool tsr_lower_wants(const tsr_lower *l, uint32_t output) {
  return output < l->out_count && l->node->outputs.items[output][0] != '\0';
}

tsr_value tsr_lower_value(tsr_lower *l, uint32_t input) {
  return tsr_lower_has(l, input) ? tsr_imported_value(l, l->in[input]) : 0;
}

static tsr_value place_constant(tsr_lower *l, const tsr_imported *imported, const void *data,
                                bool copy) {
  int64_t dims[TSR_MAX_RANK];
  for (uint32_t i = 0; i < imported->rank; i++)
    if (!tsr_expr_is_int(l->ir, imported->dims[i], &dims[i]))
      return tsr_ir_poison(l->ir, TSR_ERR_INTERNAL, "a constant with a symbolic shape");
  return tsr_graph_const(l->b, imported->dtype, dims, imported->rank, data, copy);
}

/* A truth is an integer of the host first. */
static tsr_value place_expression(tsr_lower *l, tsr_dtype dtype, tsr_expr expr) {
  if (dtype != TSR_BOOL)
    return tsr_graph_index(l->b, dtype, expr);
  return tsr_graph_cast(l->b, tsr_graph_index(l->b, TSR_I64, expr), TSR_BOOL);
}

/* Content with symbolic dims: one index op per element. */
static tsr_value place_expressions(tsr_lower *l, const tsr_imported *imported) {
  const tsr_content *content = imported->content;
  tsr_expr one = tsr_expr_int(l->ir, 1);
  tsr_value *parts = tsr_lower_alloc(l, content->count, sizeof *parts);
  if (!parts)
    return 0;
  if (imported->rank == 0)
    return place_expression(l, imported->dtype, content->exprs[0]);
  for (uint64_t i = 0; i < content->count; i++)
    parts[i] =
        tsr_graph_reshape(l->b, place_expression(l, imported->dtype, content->exprs[i]), &one, 1);
  tsr_value all =
      content->count == 1 ? parts[0] : tsr_graph_concat(l->b, parts, (uint32_t)content->count, 0);
  return tsr_graph_reshape(l->b, all, imported->dims, imported->rank);
}

static bool store_integers(tsr_lower *l, const tsr_imported *imported, char *bytes) {
  for (uint64_t i = 0; i < imported->content->count; i++) {
    int64_t number;
    if (!tsr_expr_is_int(l->ir, imported->content->exprs[i], &number))
      return false;
    tsr_element_store_i64(imported->dtype, bytes, (int64_t)i, number);
  }
  return true;
}

static tsr_value place_content(tsr_lower *l, const tsr_imported *imported) {
  const tsr_content *content = imported->content;
  char *bytes = tsr_lower_alloc(l, content->count, sizeof(double));
  if (!bytes)
    return 0;
  if (content->floats)
    for (uint64_t i = 0; i < content->count; i++)
      tsr_element_store_f64(imported->dtype, bytes, (int64_t)i, content->floats[i]);
  else if (content->count > 0 && !store_integers(l, imported, bytes))
    return place_expressions(l, imported);
  return place_constant(l, imported, bytes, true);
}

/* A constant is placed where it is first asked for: values of a body that has been left are not
 * seen here, nor those of one that was dropped. */
static bool is_visible(const tsr_lower *l, tsr_value value) {
  const tsr_value_data *data = tsr_value_get(l->ir, value);
  tsr_region home = data->region ? data->region : tsr_op_get(l->ir, data->def)->parent;
  for (tsr_region at = l->b->region; at != 0;) {
    if (at == home)
      return true;
    tsr_op around = tsr_region_get(l->ir, at)->parent;
    at = around ? tsr_op_get(l->ir, around)->parent : 0;
  }
  return false;
}

tsr_value tsr_imported_value(tsr_lower *l, tsr_imported *imported) {
  if (!imported)
    return 0;
  if (imported->value && is_visible(l, imported->value))
    return imported->value;
  if (imported->value && !imported->data && !imported->content)
    return tsr_ir_poison(l->ir, TSR_ERR_INTERNAL, "a value of a body stands outside of it");
  if (l->assuming)
    return 0;
  if (imported->kind == TSR_IMPORTED_SEQUENCE)
    return tsr_imported_list(l, imported);
  if (imported->kind == TSR_IMPORTED_MAYBE)
    return tsr_imported_maybe(l, imported);
  if (imported->data)
    imported->value = place_constant(l, imported, imported->data, false);
  else if (imported->content)
    imported->value = place_content(l, imported);
  return imported->value;
}

tsr_imported *tsr_imported_new(tsr_lower *l, tsr_value value) {
  tsr_imported *imported = tsr_lower_alloc(l, 1, sizeof *imported);
  if (!imported || value == 0)
    return imported;
  const tsr_type_info *type = tsr_value_type(l->ir, value);
  imported->kind = type->level == TSR_LEVEL_LIST ? TSR_IMPORTED_LIST
                   : type->level == TSR_LEVEL_MAYBE || type->level == TSR_LEVEL_MAYBE_LIST
                       ? TSR_IMPORTED_MAYBE
                       : TSR_IMPORTED_TENSOR;
  imported->value = value;
  imported->dtype = type->dtype;
  imported->rank = type->rank;
  imported->dims = type->dims;
  return imported;
}

void tsr_lower_set(tsr_lower *l, uint32_t output, tsr_value value) {
  if (output < l->out_count && value != 0)
    l->out[output] = tsr_imported_new(l, value);
}

void tsr_lower_set_imported(tsr_lower *l, uint32_t output, tsr_imported *imported) {
  if (output < l->out_count)
    l->out[output] = imported;
}

void tsr_lower_set_content(tsr_lower *l, uint32_t output, tsr_dtype dtype, const tsr_expr *dims,
                           uint32_t rank, const tsr_content *content) {
  tsr_imported *imported = tsr_lower_alloc(l, 1, sizeof *imported);
  tsr_content *copy = tsr_lower_alloc(l, 1, sizeof *copy);
  tsr_expr *kept = tsr_lower_alloc(l, rank, sizeof *kept);
  if (!imported || !copy || !kept)
    return;
  *copy = *content;
  if (rank > 0)
    memcpy(kept, dims, rank * sizeof *dims);
  imported->dtype = dtype;
  imported->rank = rank;
  imported->dims = kept;
  imported->content = copy;
  tsr_lower_set_imported(l, output, imported);
}

/* --- axes --- */

bool tsr_lower_axis(int64_t axis, uint32_t rank, uint32_t *out_axis) {
  int64_t normal = axis < 0 ? axis + (int64_t)rank : axis;
  *out_axis = 0;
  if (axis < -(int64_t)rank || normal >= (int64_t)rank)
    return false;
  *out_axis = (uint32_t)normal;
  return true;
}

tsr_status tsr_lower_axis_attr(tsr_lower *l, const char *name, int64_t otherwise, uint32_t rank,
                               uint32_t *out_axis) {
  int64_t axis = tsr_lower_int(l, name, otherwise);
  if (!tsr_lower_axis(axis, rank, out_axis))
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%s %lld is out of range for rank %u", name,
                           (long long)axis, rank);
  return TSR_OK;
}

tsr_status tsr_lower_axes(tsr_lower *l, const int64_t *axes, uint32_t count, uint32_t rank,
                          int64_t *out_axes) {
  uint64_t seen = 0;
  if (count > rank)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%u axes for a tensor of rank %u", count, rank);
  for (uint32_t i = 0; i < count; i++) {
    uint32_t axis;
    if (!tsr_lower_axis(axes[i], rank, &axis) || (seen >> axis & 1) != 0)
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "axis %lld is out of range or repeated",
                             (long long)axes[i]);
    seen |= (uint64_t)1 << axis;
    out_axes[i] = axis;
  }
  return TSR_OK;
}
