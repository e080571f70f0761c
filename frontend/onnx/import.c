/* Walks the nodes of a model in order; the operator table does the rest. */
#include "frontend/onnx/import.h"
#include "frontend/onnx/importer.h"
#include "frontend/onnx/op_values.h"
#include <stdio.h>
#include <string.h>

struct tsr_unsupported {
  tsr_unsupported *next;
  const char *op, *node, *reason;
  int64_t opset;
};

tsr_status tsr_importer_no_memory(tsr_importer *im) {
  return tsr_fail(im->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while importing");
}

/* The builder's failure, if there was one, as the import's. */
tsr_status tsr_importer_status(tsr_importer *im) {
  tsr_status status = tsr_ir_status(im->ir);
  if (status == TSR_OK)
    return TSR_OK;
  return tsr_fail(im->diag, status, "%s", tsr_ir_diag(im->ir)->message);
}

tsr_status tsr_importer_unsupported(tsr_importer *im, const char *op, const char *node,
                                    int64_t opset, const char *reason) {
  if (im->unsupported_count >= TSR_IMPORT_REPORT_LIMIT) {
    im->unsupported_count++;
    return TSR_OK;
  }
  tsr_unsupported *entry = tsr_arena_alloc(im->arena, sizeof *entry);
  char *copy = tsr_arena_string(im->arena, reason, strlen(reason));
  if (!entry || !copy)
    return tsr_importer_no_memory(im);
  *entry = (tsr_unsupported){.op = op, .node = node, .reason = copy, .opset = opset};
  *im->unsupported_end = entry;
  im->unsupported_end = &entry->next;
  im->unsupported_count++;
  return TSR_OK;
}

/* One entry per operator and reason, with the first nodes' names; what does not fit is counted. */
static tsr_status report_unsupported(tsr_importer *im) {
  char text[900];
  size_t at = 0;
  uint32_t left_out = 0;
  for (tsr_unsupported *e = im->unsupported; e; e = e->next) {
    uint32_t same = 0;
    bool seen = false;
    for (tsr_unsupported *o = im->unsupported; o; o = o->next) {
      bool equal = strcmp(o->op, e->op) == 0 && strcmp(o->reason, e->reason) == 0;
      seen |= equal && same == 0 && o != e;
      same += equal;
      if (seen)
        break;
    }
    if (seen)
      continue;
    int wrote = 0;
    char others[32] = "";
    if (same > 1)
      snprintf(others, sizeof others, " and %u more", same - 1);
    if (at < sizeof text)
      wrote = snprintf(text + at, sizeof text - at, "%s%s (opset %lld, node '%s'%s): %s",
                       at > 0 ? "; " : "", e->op, (long long)e->opset, e->node, others, e->reason);
    if (wrote <= 0 || (size_t)wrote >= sizeof text - at) {
      text[at] = '\0';
      left_out++;
    } else
      at += (size_t)wrote;
  }
  char more[48] = "";
  if (left_out > 0)
    snprintf(more, sizeof more, "; and %u more kinds", left_out);
  return tsr_fail(im->diag, TSR_ERR_UNSUPPORTED, "%u node%s cannot be imported: %s%s",
                  im->unsupported_count, im->unsupported_count == 1 ? "" : "s", text, more);
}

/* --- attributes and opsets --- */

static const tsr_onnx_attribute *find_in(const tsr_onnx_attribute *items, uint64_t count,
                                         const char *name) {
  for (uint64_t i = 0; i < count; i++)
    if (strcmp(items[i].name, name) == 0)
      return &items[i];
  return NULL;
}

static const tsr_onnx_attribute *attribute_at(const tsr_frame *frame, const tsr_onnx_node *node,
                                              const char *name) {
  const tsr_onnx_attribute *found = find_in(node->attributes.items, node->attributes.count, name);
  if (!found || found->ref_attr_name[0] == '\0' || !frame || !frame->call)
    return found;
  const tsr_onnx_attribute *given = attribute_at(frame->caller, frame->call, found->ref_attr_name);
  if (given)
    return given;
  return find_in(frame->function->attribute_defaults.items,
                 frame->function->attribute_defaults.count, found->ref_attr_name);
}

const tsr_onnx_attribute *tsr_importer_attribute(const tsr_importer *im, const tsr_onnx_node *node,
                                                 const char *name) {
  return attribute_at(im->frame, node, name);
}

static const char *plain_domain(const char *domain) {
  return strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

/* 0 when the model imports no such domain. Models before IR version 3 had opset 1 unsaid. */
int64_t tsr_importer_opset(const tsr_importer *im, const char *domain) {
  for (uint64_t i = 0; i < im->frame->opset_count; i++)
    if (strcmp(plain_domain(im->frame->opsets[i].domain), domain) == 0)
      return im->frame->opsets[i].version;
  return domain[0] == '\0' && im->frame->opset_count == 0 ? 1 : 0;
}

/* --- nodes --- */

static const char *node_label(tsr_importer *im, const tsr_onnx_node *node, uint64_t index) {
  const char *outer = im->builder.origin;
  const char *name = node->name;
  if (name[0] == '\0')
    name = tsr_arena_printf(im->arena, "%s_%llu", node->op_type, (unsigned long long)index);
  if (name && outer && im->depth > 0)
    name = tsr_arena_printf(im->arena, "%s/%s", outer, name);
  return name;
}

tsr_status tsr_importer_bind(tsr_importer *im, const char *name, tsr_imported *imported) {
  if (!imported || !tsr_scope_set(im, im->scope, name, imported))
    return tsr_importer_no_memory(im);
  return TSR_OK;
}

tsr_imported *tsr_importer_broken(tsr_importer *im, const char *note) {
  tsr_imported *imported = tsr_arena_alloc(im->arena, sizeof *imported);
  if (imported) {
    imported->kind = TSR_IMPORTED_BROKEN;
    imported->note = note;
  }
  return imported;
}

static tsr_status bind_broken(tsr_importer *im, const tsr_onnx_node *node) {
  for (uint64_t i = 0; i < node->outputs.count; i++)
    if (node->outputs.items[i][0] != '\0')
      TSR_TRY(tsr_importer_bind(im, node->outputs.items[i], tsr_importer_broken(im, NULL)));
  return TSR_OK;
}

static tsr_status find_inputs(tsr_importer *im, const tsr_onnx_node *node, tsr_imported ***out) {
  *out = tsr_arena_alloc_array(im->arena, (size_t)node->inputs.count, sizeof **out);
  if (!*out)
    return tsr_importer_no_memory(im);
  for (uint64_t i = 0; i < node->inputs.count; i++) {
    const char *name = node->inputs.items[i];
    if (name[0] == '\0')
      continue;
    (*out)[i] = tsr_scope_find(im->scope, name);
    if (!(*out)[i])
      return tsr_fail(im->diag, TSR_ERR_FORMAT,
                      "input '%s' is neither an input of the graph, an initializer nor the output "
                      "of a node",
                      name);
  }
  return TSR_OK;
}

/* True when an input is broken; `out_note` says why unless a node already did. */
static bool any_broken(tsr_imported *const *in, uint64_t count, const char **out_note) {
  bool found = false;
  *out_note = NULL;
  for (uint64_t i = 0; i < count; i++)
    if (in[i] && in[i]->kind == TSR_IMPORTED_BROKEN) {
      found = true;
      if (in[i]->note)
        *out_note = in[i]->note;
    }
  return found;
}

static tsr_status bind_outputs(tsr_importer *im, tsr_lower *l, const char *label) {
  const tsr_onnx_node *node = l->node;
  TSR_TRY(tsr_importer_status(im));
  for (uint32_t i = 0; i < l->out_count; i++) {
    const char *name = node->outputs.items[i];
    if (name[0] == '\0')
      continue;
    if (!l->out[i]) {
      char reason[64];
      snprintf(reason, sizeof reason, "its output %u is not supported", i);
      TSR_TRY(tsr_importer_unsupported(im, node->op_type, label, l->opset, reason));
      l->out[i] = tsr_importer_broken(im, NULL);
    }
    TSR_TRY(tsr_importer_bind(im, name, l->out[i]));
  }
  return TSR_OK;
}

/* What the results would be under the assumptions about inputs, for operators further on that
 * cannot do without. */
static void fold_assumptions(const tsr_lower *l) {
  tsr_lower assumed = *l;
  uint64_t assumes = 0;
  assumed.assuming = true;
  assumed.in = tsr_arena_alloc_array(l->arena, l->in_count, sizeof *assumed.in);
  assumed.out = tsr_arena_alloc_array(l->arena, l->out_count, sizeof *assumed.out);
  tsr_imported *copies = tsr_arena_alloc_array(l->arena, l->in_count, sizeof *copies);
  if (!l->row->fold || !assumed.in || !assumed.out || !copies)
    return;
  for (uint32_t i = 0; i < l->in_count; i++) {
    if (!l->in[i])
      continue;
    copies[i] = *l->in[i];
    assumed.in[i] = &copies[i];
    assumes |= copies[i].assumes;
    if (copies[i].assumed) {
      copies[i].value = 0;
      copies[i].content = copies[i].assumed;
    }
  }
  if (assumes == 0 || !l->row->fold(&assumed))
    return;
  for (uint32_t i = 0; i < l->out_count; i++)
    if (assumed.out[i] && assumed.out[i]->content && l->out[i]) {
      l->out[i]->assumed = assumed.out[i]->content;
      l->out[i]->assumes = assumes;
    }
}

static tsr_status lower_node(tsr_importer *im, const tsr_onnx_node *node, const tsr_onnx_op *row,
                             int64_t opset, tsr_imported **in, const char *label) {
  tsr_lower l = {.importer = im,
                 .ir = im->ir,
                 .b = &im->builder,
                 .arena = im->arena,
                 .node = node,
                 .row = row,
                 .opset = opset,
                 .arg = row->arg,
                 .in = in,
                 .in_count = (uint32_t)node->inputs.count,
                 .out_count = (uint32_t)node->outputs.count};
  l.out = tsr_arena_alloc_array(im->arena, (size_t)node->outputs.count, sizeof *l.out);
  if (!l.out)
    return tsr_importer_no_memory(im);
  if (!tsr_op_takes(&l, l.reason, sizeof l.reason)) {
    TSR_TRY(tsr_importer_unsupported(im, node->op_type, label, opset, l.reason));
    return bind_broken(im, node);
  }
  if (row->fold && row->fold(&l)) {
    tsr_op_mark_texts(&l);
    return bind_outputs(im, &l, label);
  }
  tsr_status status = row->lower(&l);
  TSR_TRY(tsr_importer_status(im));
  tsr_op_mark_texts(&l);
  if (status == TSR_ERR_UNSUPPORTED) {
    TSR_TRY(tsr_importer_unsupported(im, node->op_type, label, opset, l.reason));
    return bind_broken(im, node);
  }
  if (status != TSR_OK)
    return tsr_fail(im->diag, status, "%s", l.reason);
  if (im->options->assumption_count > 0)
    fold_assumptions(&l);
  return bind_outputs(im, &l, label);
}

static tsr_status import_nodes(tsr_importer *im, const tsr_onnx_node *nodes, uint64_t count);

static const char *function_key(tsr_importer *im, const char *domain, const char *name,
                                const char *overload) {
  return tsr_arena_printf(im->arena, "%s/%s/%s", plain_domain(domain), name, overload);
}

static tsr_status index_functions(tsr_importer *im) {
  const tsr_onnx_model_proto *proto = &im->model->proto;
  for (uint64_t i = 0; i < proto->functions.count; i++) {
    const tsr_onnx_function *f = &proto->functions.items[i];
    const char *key = function_key(im, f->domain, f->name, f->overload);
    if (!key || !tsr_scope_set(im, &im->functions, key, (tsr_imported *)(uintptr_t)(i + 1)))
      return tsr_importer_no_memory(im);
  }
  return TSR_OK;
}

/* The model's own function that the node calls; NULL: none. */
static tsr_status find_function(tsr_importer *im, const tsr_onnx_node *node,
                                const tsr_onnx_function **out) {
  *out = NULL;
  if (im->model->proto.functions.count == 0)
    return TSR_OK;
  const char *key = function_key(im, node->domain, node->op_type, node->overload);
  if (!key)
    return tsr_importer_no_memory(im);
  uintptr_t number = (uintptr_t)tsr_scope_find(&im->functions, key);
  if (number > 0)
    *out = &im->model->proto.functions.items[number - 1];
  return TSR_OK;
}

static tsr_status import_body(tsr_importer *im, const tsr_onnx_function *f, tsr_imported **in,
                              uint64_t in_count, const tsr_onnx_node *node, tsr_scope *outer) {
  for (uint64_t i = 0; i < f->inputs.count && i < in_count; i++)
    if (in[i])
      TSR_TRY(tsr_importer_bind(im, f->inputs.items[i], in[i]));
  TSR_TRY(import_nodes(im, f->nodes.items, f->nodes.count));
  for (uint64_t i = 0; i < node->outputs.count; i++) {
    if (node->outputs.items[i][0] == '\0')
      continue;
    tsr_imported *made =
        i < f->outputs.count ? tsr_scope_find(im->scope, f->outputs.items[i]) : NULL;
    if (!made)
      return tsr_fail(im->diag, TSR_ERR_FORMAT, "function '%s' does not make output %llu", f->name,
                      (unsigned long long)i);
    if (!tsr_scope_set(im, outer, node->outputs.items[i], made))
      return tsr_importer_no_memory(im);
  }
  return TSR_OK;
}

/* Function bodies see their inputs only, and their own opset versions. */
static tsr_status inline_function(tsr_importer *im, const tsr_onnx_node *node,
                                  const tsr_onnx_function *f, tsr_imported **in,
                                  const char *label) {
  if (im->depth >= TSR_IMPORT_DEPTH_LIMIT)
    return tsr_fail(im->diag, TSR_ERR_LIMIT, "functions call each other deeper than %d levels",
                    TSR_IMPORT_DEPTH_LIMIT);
  tsr_scope scope = {0}, *outer_scope = im->scope;
  const tsr_frame *outer_frame = im->frame;
  tsr_frame frame = {outer_frame, node, f, f->opsets.items, f->opsets.count};
  const char *outer_origin = im->builder.origin;
  im->scope = &scope;
  im->frame = &frame;
  im->builder.origin = label;
  im->depth++;
  tsr_status status = import_body(im, f, in, node->inputs.count, node, outer_scope);
  im->depth--;
  im->builder.origin = outer_origin;
  im->frame = outer_frame;
  im->scope = outer_scope;
  return status;
}

static tsr_status import_known(tsr_importer *im, const tsr_onnx_node *node, tsr_imported **in,
                               const char *label) {
  const char *domain = plain_domain(node->domain);
  const tsr_onnx_function *function;
  TSR_TRY(find_function(im, node, &function));
  int64_t since, until;
  if (function)
    return inline_function(im, node, function, in, label);
  int64_t opset = tsr_importer_opset(im, domain);
  const tsr_onnx_op *row = tsr_onnx_op_find(domain, node->op_type, opset, &since, &until);
  const char *note;
  bool cut = any_broken(in, node->inputs.count, &note);
  if (!row) {
    char reason[96];
    if (since > 0)
      snprintf(reason, sizeof reason, "the operator is supported at opsets %lld to %lld only",
               (long long)since, (long long)until);
    else
      snprintf(reason, sizeof reason, "the operator%s%.40s is not supported",
               domain[0] ? " of domain " : "", domain);
    TSR_TRY(tsr_importer_unsupported(im, node->op_type, label, opset, reason));
    return bind_broken(im, node);
  }
  if (cut) {
    if (note)
      TSR_TRY(tsr_importer_unsupported(im, node->op_type, label, opset, note));
    return bind_broken(im, node);
  }
  const char *outer_origin = im->builder.origin;
  im->builder.origin = label;
  tsr_status status = lower_node(im, node, row, opset, in, label);
  im->builder.origin = outer_origin;
  return status;
}

static tsr_status import_node(tsr_importer *im, const tsr_onnx_node *node, uint64_t index) {
  tsr_imported **in = NULL;
  const char *label = node_label(im, node, index);
  if (!label)
    return tsr_importer_no_memory(im);
  if (tsr_op_count(im->ir) > TSR_IMPORT_OP_LIMIT)
    return tsr_fail(im->diag, TSR_ERR_LIMIT, "the model expands to more than %d operations",
                    TSR_IMPORT_OP_LIMIT);
  if (im->node_budget-- == 0)
    return tsr_fail(im->diag, TSR_ERR_LIMIT, "the model expands to more than %d nodes",
                    TSR_IMPORT_NODE_LIMIT);
  tsr_status status = find_inputs(im, node, &in);
  if (status == TSR_OK)
    status = import_known(im, node, in, label);
  if (status != TSR_OK)
    tsr_diag_set_node(im->diag, label, node->op_type);
  return status;
}

static tsr_status import_nodes(tsr_importer *im, const tsr_onnx_node *nodes, uint64_t count) {
  const uint64_t *order;
  TSR_TRY(tsr_import_order(im, nodes, count, &order));
  for (uint64_t i = 0; i < count; i++)
    TSR_TRY(import_node(im, &nodes[order[i]], order[i]));
  return TSR_OK;
}

/* --- initializers --- */

/* The numbers of a tensor's strings. */
static const void *tensor_texts(tsr_importer *im, const tsr_onnx_tensor *tensor) {
  int64_t *numbers = tsr_arena_alloc_array(im->arena, tensor->string_data.count, sizeof *numbers);
  if (!numbers || tensor->string_data.count != (uint64_t)tensor->elements) {
    (void)tsr_ir_poison(im->ir, numbers ? TSR_ERR_FORMAT : TSR_ERR_OUT_OF_MEMORY,
                        "tensor '%s' has %llu strings for %lld elements", tensor->name,
                        (unsigned long long)tensor->string_data.count, (long long)tensor->elements);
    return NULL;
  }
  for (uint64_t i = 0; i < tensor->string_data.count; i++) {
    const tsr_wire_bytes *text = &tensor->string_data.items[i];
    numbers[i] = tsr_text_number(im, text->data, text->size);
    if (numbers[i] < 0)
      return NULL;
  }
  return numbers;
}

tsr_imported *tsr_import_tensor(tsr_importer *im, const tsr_onnx_tensor *tensor) {
  tsr_imported *imported = tsr_arena_alloc(im->arena, sizeof *imported);
  if (!imported) {
    (void)tsr_ir_poison(im->ir, TSR_ERR_OUT_OF_MEMORY, "out of memory while importing");
    return NULL;
  }
  bool text = tensor->data_type == TSR_ONNX_STRING_DATA;
  tsr_dtype dtype = text ? TSR_I64 : tensor->dtype;
  if (dtype == TSR_DTYPE_NONE || tensor->dims.count > TSR_MAX_RANK) {
    const char *note =
        dtype == TSR_DTYPE_NONE
            ? tsr_arena_printf(im->arena, "tensor '%s' has element type %s (%lld)", tensor->name,
                               tsr_onnx_dtype_name(tensor->data_type), (long long)tensor->data_type)
            : tsr_arena_printf(im->arena, "tensor '%s' has more than %d dims", tensor->name,
                               TSR_MAX_RANK);
    return note ? tsr_importer_broken(im, note) : NULL;
  }
  tsr_expr *dims = tsr_arena_alloc_array(im->arena, (size_t)tensor->dims.count, sizeof *dims);
  if (!dims)
    return NULL;
  for (uint64_t i = 0; i < tensor->dims.count; i++)
    dims[i] = tsr_expr_int(im->ir, tensor->dims.items[i]);
  imported->dtype = dtype;
  imported->rank = (uint32_t)tensor->dims.count;
  imported->dims = dims;
  imported->data = text ? tensor_texts(im, tensor) : tensor->data;
  imported->text = text;
  return imported->data ? imported : NULL;
}

static tsr_status import_initializers(tsr_importer *im, const tsr_onnx_graph *graph) {
  for (uint64_t i = 0; i < graph->initializers.count; i++) {
    const tsr_onnx_tensor *tensor = &graph->initializers.items[i];
    if (tsr_scope_has_own(im->scope, tensor->name))
      return tsr_fail(im->diag, TSR_ERR_FORMAT, "initializer '%s' is given twice", tensor->name);
    TSR_TRY(tsr_importer_bind(im, tensor->name, tsr_import_tensor(im, tensor)));
  }
  for (uint64_t i = 0; i < graph->sparse_initializers.count; i++) {
    const tsr_onnx_tensor *values = graph->sparse_initializers.items[i].values;
    if (values)
      TSR_TRY(tsr_importer_bind(im, values->name,
                                tsr_importer_broken(im, "sparse initializers are not supported")));
  }
  return TSR_OK;
}

/* --- the graph --- */

/* The table of texts goes with the graph. */
static tsr_status keep_texts(tsr_importer *im) {
  uint32_t count = 0;
  while (tsr_texts_get(im->texts, count))
    count++;
  const char **strings = tsr_arena_alloc_array(im->arena, count, sizeof *strings);
  if (!strings)
    return tsr_importer_no_memory(im);
  for (uint32_t i = 0; i < count; i++)
    strings[i] = tsr_ir_intern(im->ir, tsr_texts_get(im->texts, i));
  tsr_attr attr = {.key = tsr_ir_intern(im->ir, "texts"), .kind = TSR_ATTR_STRINGS, .count = count};
  attr.u.strings = strings;
  if (count > 1)
    tsr_op_set_attr(im->ir, tsr_region_get(im->ir, im->builder.region)->parent, &attr);
  return tsr_importer_status(im);
}

static tsr_status import_graph(tsr_importer *im) {
  const tsr_onnx_graph *graph = im->graph = im->model->proto.graph;
  if (graph->outputs.count == 0)
    return tsr_fail(im->diag, TSR_ERR_FORMAT, "the graph has no outputs");
  im->builder = tsr_graph_begin(im->ir, "main");
  im->builder.checks = true;
  TSR_TRY(tsr_importer_status(im));
  TSR_TRY(index_functions(im));
  TSR_TRY(tsr_import_inputs(im, graph));
  TSR_TRY(import_initializers(im, graph));
  TSR_TRY(import_nodes(im, graph->nodes.items, graph->nodes.count));
  /* The list of all that cannot be imported comes before what is declared wrongly. */
  for (uint64_t i = 0; i < graph->outputs.count; i++)
    TSR_TRY(tsr_import_note_output(im, &graph->outputs.items[i]));
  if (im->unsupported_count > 0)
    return report_unsupported(im);
  for (uint64_t i = 0; i < graph->outputs.count; i++)
    TSR_TRY(tsr_import_output(im, &graph->outputs.items[i]));
  return keep_texts(im);
}

static tsr_status bind_subgraph(tsr_importer *im, const tsr_onnx_graph *graph,
                                tsr_imported *const *inputs, uint32_t input_count,
                                tsr_imported **outputs, uint32_t output_count) {
  if (graph->inputs.count != input_count || graph->outputs.count != output_count)
    return tsr_fail(im->diag, TSR_ERR_FORMAT,
                    "a subgraph with %llu inputs and %llu outputs stands where %u and %u are "
                    "needed",
                    (unsigned long long)graph->inputs.count,
                    (unsigned long long)graph->outputs.count, input_count, output_count);
  for (uint32_t i = 0; i < input_count; i++)
    TSR_TRY(tsr_importer_bind(im, graph->inputs.items[i].name, inputs[i]));
  TSR_TRY(import_initializers(im, graph));
  TSR_TRY(import_nodes(im, graph->nodes.items, graph->nodes.count));
  for (uint32_t i = 0; i < output_count; i++) {
    outputs[i] = tsr_scope_find(im->scope, graph->outputs.items[i].name);
    if (!outputs[i])
      return tsr_fail(im->diag, TSR_ERR_FORMAT, "output '%s' of a subgraph is made by no node",
                      graph->outputs.items[i].name);
  }
  return TSR_OK;
}

tsr_status tsr_import_subgraph(tsr_lower *l, const tsr_onnx_graph *graph,
                               tsr_imported *const *inputs, uint32_t input_count,
                               tsr_imported **outputs, uint32_t output_count) {
  tsr_importer *im = l->importer;
  if (im->depth >= TSR_IMPORT_DEPTH_LIMIT)
    return tsr_fail(im->diag, TSR_ERR_LIMIT, "subgraphs nested deeper than %d levels",
                    TSR_IMPORT_DEPTH_LIMIT);
  tsr_scope scope = {.parent = im->scope};
  tsr_scope *outer = im->scope;
  const tsr_onnx_graph *outer_graph = im->graph;
  im->scope = &scope;
  im->graph = graph;
  im->depth++;
  tsr_status status = bind_subgraph(im, graph, inputs, input_count, outputs, output_count);
  im->depth--;
  im->graph = outer_graph;
  im->scope = outer;
  return status;
}

static tsr_status import_once(const tsr_onnx_model *model, const tsr_import_options *options,
                              const tsr_allocator *allocator, tsr_guesses *guesses, bool lenient,
                              tsr_diag *diag, tsr_ir **out_ir) {
  tsr_frame frame = {.opsets = model->proto.opsets.items, .opset_count = model->proto.opsets.count};
  tsr_importer im = {.model = model,
                     .options = options,
                     .diag = diag,
                     .frame = &frame,
                     .node_budget = TSR_IMPORT_NODE_LIMIT,
                     .guesses = guesses,
                     .lenient = lenient};
  tsr_scope scope = {0};
  im.scope = &scope;
  im.unsupported_end = &im.unsupported;
  for (uint32_t i = 0; i < options->assumption_count; i++)
    options->assumptions[i].used = false;
  TSR_TRY(tsr_ir_create(allocator, &im.ir));
  im.arena = tsr_ir_arena(im.ir);
  tsr_status status = tsr_texts_create(NULL, 0, allocator, &im.texts);
  if (status == TSR_OK)
    status = import_graph(&im);
  tsr_texts_destroy(im.texts);
  if (status == TSR_OK)
    *out_ir = im.ir;
  else
    tsr_ir_destroy(im.ir);
  return status;
}

/* What a model says wrongly or what is not supported in it may be the fault of a guess: other
 * combinations are tried, and what the first one met is told if none does. */
tsr_status tsr_onnx_import(const tsr_onnx_model *model, const tsr_import_options *options,
                           const tsr_allocator *allocator, tsr_diag *diag, tsr_ir **out_ir) {
  static const tsr_import_options none = {0};
  tsr_guesses guesses = {0};
  *out_ir = NULL;
  if (!options)
    options = &none;
  tsr_status first = import_once(model, options, allocator, &guesses, false, diag, out_ir);
  tsr_status status = first;
  for (int i = 1; status != TSR_OK && status != TSR_ERR_OUT_OF_MEMORY; i++) {
    bool last = i == TSR_IMPORT_ATTEMPT_LIMIT || !tsr_guesses_next(&guesses);
    if (last && i == 1)
      return first;
    if (last)
      guesses.count = 0;
    status = import_once(model, options, allocator, &guesses, last, NULL, out_ir);
    if (last)
      break;
  }
  if (status == TSR_OK && first != TSR_OK)
    tsr_diag_clear(diag);
  return status == TSR_OK ? TSR_OK : first;
}
