#include "frontend/onnx/onnx_model.h"
#include "frontend/onnx/onnx_schema.h"
#include "frontend/onnx/tensor_data.h"
#include <string.h>

static tsr_status resolve_graph(const tsr_onnx_data_source *source, tsr_onnx_graph *graph);

static tsr_status resolve_sparse(const tsr_onnx_data_source *source,
                                 tsr_onnx_sparse_tensor *sparse) {
  if (sparse->values)
    TSR_TRY(tsr_onnx_tensor_resolve(source, sparse->values));
  if (sparse->indices)
    TSR_TRY(tsr_onnx_tensor_resolve(source, sparse->indices));
  return TSR_OK;
}

/* Writers of IR version 1 and 2 leave `type` out: then the field that is there tells. */
static int64_t infer_attribute_type(const tsr_onnx_attribute *attribute) {
  static const struct {
    unsigned field;
    tsr_onnx_attribute_type type;
  } rows[] = {{2, TSR_ONNX_FLOAT},   {3, TSR_ONNX_INT},         {4, TSR_ONNX_STRING},
              {5, TSR_ONNX_TENSOR},  {6, TSR_ONNX_GRAPH},       {7, TSR_ONNX_FLOATS},
              {8, TSR_ONNX_INTS},    {9, TSR_ONNX_STRINGS},     {10, TSR_ONNX_TENSORS},
              {11, TSR_ONNX_GRAPHS}, {14, TSR_ONNX_TYPE_PROTO}, {22, TSR_ONNX_SPARSE_TENSOR}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (TSR_WIRE_HAS(attribute, rows[i].field))
      return rows[i].type;
  return TSR_ONNX_UNDEFINED;
}

/* A declared type whose field is missing would be a NULL pointer to every reader. */
static tsr_status check_attribute(const tsr_onnx_data_source *source,
                                  const tsr_onnx_attribute *attribute) {
  bool missing = (attribute->type == TSR_ONNX_TENSOR && !attribute->t) ||
                 (attribute->type == TSR_ONNX_GRAPH && !attribute->g) ||
                 (attribute->type == TSR_ONNX_SPARSE_TENSOR && !attribute->sparse_tensor) ||
                 (attribute->type == TSR_ONNX_TYPE_PROTO && !attribute->tp);
  if (missing && attribute->ref_attr_name[0] == '\0')
    return tsr_fail(source->diag, TSR_ERR_FORMAT, "attribute '%s' has no value of its type",
                    attribute->name);
  return TSR_OK;
}

static tsr_status resolve_attribute(const tsr_onnx_data_source *source,
                                    tsr_onnx_attribute *attribute) {
  if (attribute->type == TSR_ONNX_UNDEFINED)
    attribute->type = infer_attribute_type(attribute);
  TSR_TRY(check_attribute(source, attribute));
  if (attribute->t)
    TSR_TRY(tsr_onnx_tensor_resolve(source, attribute->t));
  if (attribute->sparse_tensor)
    TSR_TRY(resolve_sparse(source, attribute->sparse_tensor));
  if (attribute->g)
    TSR_TRY(resolve_graph(source, attribute->g));
  for (uint64_t i = 0; i < attribute->tensors.count; i++)
    TSR_TRY(tsr_onnx_tensor_resolve(source, &attribute->tensors.items[i]));
  for (uint64_t i = 0; i < attribute->graphs.count; i++)
    TSR_TRY(resolve_graph(source, &attribute->graphs.items[i]));
  return TSR_OK;
}

static tsr_status resolve_node(const tsr_onnx_data_source *source, tsr_onnx_node *node) {
  for (uint64_t i = 0; i < node->attributes.count; i++) {
    tsr_status status = resolve_attribute(source, &node->attributes.items[i]);
    if (status != TSR_OK) {
      tsr_diag_set_node(source->diag, node->name, node->op_type);
      return status;
    }
  }
  return TSR_OK;
}

static tsr_status resolve_graph(const tsr_onnx_data_source *source, tsr_onnx_graph *graph) {
  for (uint64_t i = 0; i < graph->initializers.count; i++)
    TSR_TRY(tsr_onnx_tensor_resolve(source, &graph->initializers.items[i]));
  for (uint64_t i = 0; i < graph->sparse_initializers.count; i++)
    TSR_TRY(resolve_sparse(source, &graph->sparse_initializers.items[i]));
  for (uint64_t i = 0; i < graph->nodes.count; i++)
    TSR_TRY(resolve_node(source, &graph->nodes.items[i]));
  return TSR_OK;
}

static tsr_status resolve_function(const tsr_onnx_data_source *source,
                                   tsr_onnx_function *function) {
  for (uint64_t i = 0; i < function->nodes.count; i++)
    TSR_TRY(resolve_node(source, &function->nodes.items[i]));
  for (uint64_t i = 0; i < function->attribute_defaults.count; i++)
    TSR_TRY(resolve_attribute(source, &function->attribute_defaults.items[i]));
  return TSR_OK;
}

static tsr_status decode_model(tsr_onnx_model *model, const void *bytes, uint64_t size,
                               const char *path, tsr_diag *diag) {
  TSR_TRY(
      tsr_wire_decode(&tsr_onnx_model_message, bytes, size, &model->arena, diag, &model->proto));
  if (!model->proto.graph)
    return tsr_fail(diag, TSR_ERR_FORMAT, "this is no ONNX model: it has no graph");
  tsr_onnx_data_source source = {&model->arena, &model->mappings, path, diag};
  TSR_TRY(resolve_graph(&source, model->proto.graph));
  for (uint64_t i = 0; i < model->proto.functions.count; i++)
    TSR_TRY(resolve_function(&source, &model->proto.functions.items[i]));
  return TSR_OK;
}

static void begin(tsr_onnx_model *model, const tsr_allocator *allocator) {
  memset(model, 0, sizeof *model);
  tsr_arena_init(&model->arena, allocator);
}

static tsr_status finish(tsr_onnx_model *model, tsr_status status) {
  if (status != TSR_OK)
    tsr_onnx_model_close(model);
  return status;
}

static tsr_status open_model(tsr_onnx_model *model, const char *path, tsr_diag *diag) {
  TSR_TRY(tsr_onnx_map_file(&model->mappings, &model->arena, path, diag));
  const tsr_onnx_mapping *mapping = model->mappings;
  if (mapping->size == 0)
    return tsr_fail(diag, TSR_ERR_FORMAT, "the file is empty");
  return decode_model(model, mapping->data, mapping->size, mapping->path, diag);
}

tsr_status tsr_onnx_model_open(tsr_onnx_model *out_model, const tsr_allocator *allocator,
                               const char *path, tsr_diag *diag) {
  begin(out_model, allocator);
  tsr_status status = open_model(out_model, path, diag);
  if (status != TSR_OK)
    tsr_diag_set_file(diag, path);
  return finish(out_model, status);
}

tsr_status tsr_onnx_model_parse(tsr_onnx_model *out_model, const tsr_allocator *allocator,
                                const void *bytes, uint64_t size, tsr_diag *diag) {
  begin(out_model, allocator);
  return finish(out_model, decode_model(out_model, bytes, size, NULL, diag));
}

void tsr_onnx_model_close(tsr_onnx_model *model) {
  tsr_onnx_unmap_all(model->mappings);
  model->mappings = NULL;
  tsr_arena_reset(&model->arena);
  memset(&model->proto, 0, sizeof model->proto);
}
