/* The public graph calls over the IR's builder. */
#include "frontend/context.h"
#include "frontend/pipeline.h"
#include "ir/graph_build.h"
#include <string.h>
#include <tessera/graph.h>

struct tsr_graph {
  const tsr_allocator *allocator;
  tsr_builder b;
};

tsr_status tsr_graph_create(tsr_context *context, const char *name, tsr_graph **out_graph) {
  if (out_graph == NULL)
    return TSR_ERR_ARGUMENT;
  *out_graph = NULL;
  if (context == NULL || name == NULL)
    return TSR_ERR_ARGUMENT;
  const tsr_allocator *allocator = tsr_context_allocator(context);
  tsr_graph *graph = allocator->allocate(allocator->context, sizeof *graph, 16);
  tsr_ir *ir;
  if (graph == NULL)
    return TSR_ERR_OUT_OF_MEMORY;
  tsr_status status = tsr_ir_create(allocator, &ir);
  if (status != TSR_OK) {
    allocator->release(allocator->context, graph, sizeof *graph);
    return status;
  }
  *graph = (tsr_graph){.allocator = allocator, .b = tsr_graph_begin(ir, name)};
  *out_graph = graph;
  return TSR_OK;
}

void tsr_graph_destroy(tsr_graph *graph) {
  if (graph == NULL)
    return;
  tsr_ir_destroy(graph->b.ir);
  graph->allocator->release(graph->allocator->context, graph, sizeof *graph);
}

tsr_graph_dim tsr_graph_add_dim(tsr_graph *graph, const char *name, int64_t lo, int64_t hi) {
  if (graph == NULL)
    return 0;
  tsr_ir *ir = graph->b.ir;
  if (name == NULL || lo < 0 || hi < lo)
    return tsr_ir_poison(ir, TSR_ERR_ARGUMENT, "dim '%s': the range is empty or negative",
                         name == NULL ? "" : name);
  tsr_dim dim = tsr_dim_find(ir, name);
  return tsr_expr_dim(ir, dim != 0 ? dim : tsr_dim_add(ir, name, lo, hi, hi));
}

tsr_graph_dim tsr_graph_int(tsr_graph *graph, int64_t number) {
  return graph == NULL ? 0 : tsr_expr_int(graph->b.ir, number);
}

tsr_graph_dim tsr_graph_formula(tsr_graph *graph, const char *op, tsr_graph_dim a,
                                tsr_graph_dim b) {
  static const tsr_index_op known[] = {TSR_INDEX_ADD,     TSR_INDEX_MUL, TSR_INDEX_FLOORDIV,
                                       TSR_INDEX_CEILDIV, TSR_INDEX_MOD, TSR_INDEX_MIN,
                                       TSR_INDEX_MAX};
  static const char *const texts[] = {
#define INDEX_TEXT(name, text, operands) text,
      TSR_INDEX_OP_LIST(INDEX_TEXT)
#undef INDEX_TEXT
  };
  if (graph == NULL)
    return 0;
  for (size_t i = 0; op != NULL && i < sizeof known / sizeof *known; i++)
    if (strcmp(texts[known[i]], op) == 0)
      return tsr_expr_binary(graph->b.ir, known[i], a, b);
  return tsr_ir_poison(graph->b.ir, TSR_ERR_ARGUMENT, "'%s' is no operator of formulas",
                       op == NULL ? "" : op);
}

/* True when the handles are good; otherwise the graph is poisoned. */
static bool good_dims(tsr_graph *graph, const tsr_graph_dim *dims, uint32_t rank) {
  bool good = rank <= TSR_MAX_RANK && (rank == 0 || dims != NULL);
  for (uint32_t i = 0; good && i < rank; i++)
    good = dims[i] != 0;
  if (!good)
    tsr_ir_poison(graph->b.ir, TSR_ERR_ARGUMENT, "dims are missing, failed, or more than %d",
                  TSR_MAX_RANK);
  return good;
}

tsr_graph_value tsr_graph_add_input(tsr_graph *graph, const char *name, tsr_dtype dtype,
                                    const tsr_graph_dim *dims, uint32_t rank) {
  if (graph == NULL || !good_dims(graph, dims, rank))
    return 0;
  if (name == NULL || tsr_dtype_bits(dtype) == 0)
    return tsr_ir_poison(graph->b.ir, TSR_ERR_ARGUMENT, "an input needs a name and a dtype");
  return tsr_graph_input(&graph->b, name, dtype, dims, rank);
}

void tsr_graph_add_output(tsr_graph *graph, const char *name, tsr_graph_value value) {
  if (graph == NULL)
    return;
  if (name == NULL || value == 0)
    tsr_ir_poison(graph->b.ir, TSR_ERR_ARGUMENT, "an output needs a name and a value");
  else
    tsr_graph_output(&graph->b, name, value);
}

tsr_graph_value tsr_graph_add_constant(tsr_graph *graph, tsr_dtype dtype, const int64_t *dims,
                                       uint32_t rank, const void *data) {
  if (graph == NULL)
    return 0;
  if (tsr_dtype_bits(dtype) == 0 || data == NULL || (rank != 0 && dims == NULL))
    return tsr_ir_poison(graph->b.ir, TSR_ERR_ARGUMENT, "a constant needs dtype, dims and data");
  return tsr_graph_const(&graph->b, dtype, dims, rank, data, true);
}

static void set_attr(tsr_graph *graph, tsr_op op, const tsr_graph_attr *attr) {
  tsr_ir *ir = graph->b.ir;
  bool list = attr->kind == TSR_GRAPH_INTS || attr->kind == TSR_GRAPH_DIMS;
  if (attr->key == NULL || (list && attr->count > TSR_MAX_RANK) ||
      (attr->kind == TSR_GRAPH_STRING && attr->string == NULL) ||
      (attr->kind == TSR_GRAPH_INTS && attr->count != 0 && attr->ints == NULL)) {
    tsr_ir_poison(ir, TSR_ERR_ARGUMENT, "attribute '%s' has no value",
                  attr->key == NULL ? "" : attr->key);
    return;
  }
  switch (attr->kind) {
  case TSR_GRAPH_INT:
    tsr_op_set_int(ir, op, attr->key, attr->integer);
    break;
  case TSR_GRAPH_FLOAT:
    tsr_op_set_float(ir, op, attr->key, attr->number);
    break;
  case TSR_GRAPH_BOOL:
    tsr_op_set_bool(ir, op, attr->key, attr->integer != 0);
    break;
  case TSR_GRAPH_STRING:
    tsr_op_set_string(ir, op, attr->key, attr->string);
    break;
  case TSR_GRAPH_INTS:
    tsr_op_set_ints(ir, op, attr->key, attr->ints, attr->count);
    break;
  case TSR_GRAPH_DIMS:
    if (good_dims(graph, attr->dims, attr->count))
      tsr_op_set_exprs(ir, op, attr->key, attr->dims, attr->count);
    break;
  }
}

/* The opcode of a computing op that may stand in graphs; NONE is poison. */
static tsr_opcode graph_opcode(tsr_graph *graph, const char *op) {
  tsr_opcode code = op == NULL ? TSR_OP_NONE : tsr_opcode_parse(op, strlen(op));
  const tsr_op_info *info = code == TSR_OP_NONE ? NULL : tsr_opcode_info(code);
  if (info != NULL && (info->levels & TSR_AT_GRAPH) != 0 && info->kind != TSR_KIND_STRUCTURE &&
      info->regions <= 0 && code != TSR_OP_INPUT)
    return code;
  if (code == TSR_OP_REDUCE)
    return code;
  tsr_ir_poison(graph->b.ir, TSR_ERR_UNSUPPORTED, "'%s' is no op of graphs", op == NULL ? "" : op);
  return TSR_OP_NONE;
}

static tsr_value add_results(tsr_graph *graph, tsr_op op) {
  tsr_ir *ir = graph->b.ir;
  tsr_diag *diag = tsr_ir_diag(ir);
  tsr_type types[2];
  if (tsr_ir_status(ir) != TSR_OK)
    return 0;
  if (tsr_infer_types(ir, op, diag, types) != TSR_OK)
    return tsr_ir_poison(ir, diag->status, "%s", diag->message);
  for (uint32_t i = tsr_op_get(ir, op)->result_count; i < 2 && types[i] != 0; i++)
    tsr_op_add_result(ir, op, types[i]);
  return tsr_op_get(ir, op)->results[0];
}

tsr_graph_value tsr_graph_add_node(tsr_graph *graph, const char *op,
                                   const tsr_graph_value *operands, uint32_t operand_count,
                                   const tsr_graph_attr *attrs, uint32_t attr_count,
                                   const tsr_graph_type *type) {
  if (graph == NULL || tsr_ir_status(graph->b.ir) != TSR_OK)
    return 0;
  tsr_ir *ir = graph->b.ir;
  tsr_opcode code = graph_opcode(graph, op);
  if (code == TSR_OP_NONE)
    return 0;
  const tsr_op_info *info = tsr_opcode_info(code);
  if ((int)operand_count < info->min_operands ||
      (info->max_operands >= 0 && (int)operand_count > info->max_operands))
    return tsr_ir_poison(ir, TSR_ERR_ARGUMENT, "%s: %u operands are given", op, operand_count);
  for (uint32_t i = 0; i < operand_count; i++)
    if (operands[i] == 0 || operands[i] > tsr_value_count(ir))
      return tsr_ir_poison(ir, TSR_ERR_ARGUMENT, "%s: operand %u is no value", op, i);
  tsr_op made = tsr_op_append(ir, graph->b.region, code);
  for (uint32_t i = 0; i < operand_count; i++)
    tsr_op_add_operand(ir, made, operands[i]);
  for (uint32_t i = 0; i < attr_count; i++)
    set_attr(graph, made, &attrs[i]);
  if (type != NULL && good_dims(graph, type->dims, type->rank)) {
    tsr_op_add_result(ir, made,
                      tsr_type_make(ir, TSR_LEVEL_GLOBAL, type->dtype, type->dims, type->rank));
    if (code == TSR_OP_TOPK)
      tsr_op_add_result(ir, made,
                        tsr_type_make(ir, TSR_LEVEL_GLOBAL, TSR_I64, type->dims, type->rank));
  }
  return add_results(graph, made);
}

tsr_graph_value tsr_graph_result(tsr_graph *graph, tsr_graph_value value, uint32_t number) {
  if (graph == NULL || value == 0 || value > tsr_value_count(graph->b.ir))
    return 0;
  const tsr_op_data *op = tsr_op_get(graph->b.ir, tsr_value_get(graph->b.ir, value)->def);
  if (number >= op->result_count)
    return tsr_ir_poison(graph->b.ir, TSR_ERR_ARGUMENT, "the node has no result %u", number);
  return op->results[number];
}

tsr_status tsr_compile_graph(tsr_context *context, const tsr_graph *graph,
                             const tsr_compile_options *options, void **out_bytes,
                             size_t *out_size) {
  *out_bytes = NULL;
  *out_size = 0;
  if (context == NULL || graph == NULL)
    return TSR_ERR_ARGUMENT;
  if (tsr_ir_status(graph->b.ir) != TSR_OK)
    return tsr_context_fail(context, tsr_ir_diag(graph->b.ir));
  const tsr_op_data *op =
      tsr_op_get(graph->b.ir, tsr_region_get(graph->b.ir, graph->b.region)->parent);
  tsr_model_source source = {.path = op->symbol, .graph = graph->b.ir};
  return tsr_context_compile(context, &source, options, out_bytes, out_size);
}
