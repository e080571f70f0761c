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

static tsr_status no_memory(tsr_importer *im) {
  return tsr_fail(im->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while importing");
}

/* The builder's failure, if there was one, as the import's. */
static tsr_status builder_status(tsr_importer *im) {
  tsr_status status = tsr_ir_status(im->ir);
  if (status == TSR_OK)
    return TSR_OK;
  return tsr_fail(im->diag, status, "%s", tsr_ir_diag(im->ir)->message);
}

static tsr_status add_unsupported(tsr_importer *im, const char *op, const char *node, int64_t opset,
                                  const char *reason) {
  if (im->unsupported_count >= TSR_IMPORT_REPORT_LIMIT) {
    im->unsupported_count++;
    return TSR_OK;
  }
  tsr_unsupported *entry = tsr_arena_alloc(im->arena, sizeof *entry);
  char *copy = tsr_arena_string(im->arena, reason, strlen(reason));
  if (!entry || !copy)
    return no_memory(im);
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
static int64_t opset_of(const tsr_importer *im, const char *domain) {
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

static tsr_status bind(tsr_importer *im, const char *name, tsr_imported *imported) {
  if (!imported || !tsr_scope_set(im, im->scope, name, imported))
    return no_memory(im);
  return TSR_OK;
}

static tsr_imported *broken(tsr_importer *im, const char *note) {
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
      TSR_TRY(bind(im, node->outputs.items[i], broken(im, NULL)));
  return TSR_OK;
}

static tsr_status find_inputs(tsr_importer *im, const tsr_onnx_node *node, tsr_imported ***out) {
  *out = tsr_arena_alloc_array(im->arena, (size_t)node->inputs.count, sizeof **out);
  if (!*out)
    return no_memory(im);
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
  TSR_TRY(builder_status(im));
  for (uint32_t i = 0; i < l->out_count; i++) {
    const char *name = node->outputs.items[i];
    if (name[0] == '\0')
      continue;
    if (!l->out[i]) {
      char reason[64];
      snprintf(reason, sizeof reason, "its output %u is not supported", i);
      TSR_TRY(add_unsupported(im, node->op_type, label, l->opset, reason));
      l->out[i] = broken(im, NULL);
    }
    TSR_TRY(bind(im, name, l->out[i]));
  }
  return TSR_OK;
}

/* What the results would be under the assumptions about inputs, for operators further on that
 * cannot do without. */
static void fold_assumptions(const tsr_lower *l) {
  tsr_lower assumed = *l;
  uint64_t assumes = 0;
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
    return no_memory(im);
  if (!tsr_op_takes(&l, l.reason, sizeof l.reason)) {
    TSR_TRY(add_unsupported(im, node->op_type, label, opset, l.reason));
    return bind_broken(im, node);
  }
  if (row->fold && row->fold(&l)) {
    tsr_op_mark_texts(&l);
    return bind_outputs(im, &l, label);
  }
  tsr_status status = row->lower(&l);
  TSR_TRY(builder_status(im));
  tsr_op_mark_texts(&l);
  if (status == TSR_ERR_UNSUPPORTED) {
    TSR_TRY(add_unsupported(im, node->op_type, label, opset, l.reason));
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
      return no_memory(im);
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
    return no_memory(im);
  uintptr_t number = (uintptr_t)tsr_scope_find(&im->functions, key);
  if (number > 0)
    *out = &im->model->proto.functions.items[number - 1];
  return TSR_OK;
}

static tsr_status import_body(tsr_importer *im, const tsr_onnx_function *f, tsr_imported **in,
                              uint64_t in_count, const tsr_onnx_node *node, tsr_scope *outer) {
  for (uint64_t i = 0; i < f->inputs.count && i < in_count; i++)
    if (in[i])
      TSR_TRY(bind(im, f->inputs.items[i], in[i]));
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
      return no_memory(im);
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
  int64_t opset = opset_of(im, domain);
  const tsr_onnx_op *row = tsr_onnx_op_find(domain, node->op_type, opset, &since, &until);
  const char *note;
  bool cut = any_broken(in, node->inputs.count, &note);
  if (!row) {
    char reason[96];
    if (since > 0)
      snprintf(reason, sizeof reason, "the operator is supported at opsets %lld to %lld only",
               (long long)since, (long long)until);
    else
      snprintf(reason, sizeof reason, "the operator%s is not supported",
               domain[0] ? "'s domain" : "");
    TSR_TRY(add_unsupported(im, node->op_type, label, opset, reason));
    return bind_broken(im, node);
  }
  if (cut) {
    if (note)
      TSR_TRY(add_unsupported(im, node->op_type, label, opset, note));
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
    return no_memory(im);
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
    return note ? broken(im, note) : NULL;
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
    TSR_TRY(bind(im, tensor->name, tsr_import_tensor(im, tensor)));
  }
  for (uint64_t i = 0; i < graph->sparse_initializers.count; i++) {
    const tsr_onnx_tensor *values = graph->sparse_initializers.items[i].values;
    if (values)
      TSR_TRY(bind(im, values->name, broken(im, "sparse initializers are not supported")));
  }
  return TSR_OK;
}

/* --- inputs --- */

static const tsr_import_dim *find_dim_option(const tsr_importer *im, const char *name) {
  for (uint32_t i = 0; i < im->options->dim_count; i++)
    if (strcmp(im->options->dims[i].name, name) == 0)
      return &im->options->dims[i];
  return NULL;
}

/* NAME of the IR's grammar from any text: letters, digits and _, not an operator's name. */
static const char *clean_name(tsr_importer *im, const char *text) {
  static const char *const words[] = {"mod", "min", "max", "and", "or", "floordiv", "ceildiv"};
  bool lead =
      !((text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z') || text[0] == '_');
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    lead |= strcmp(text, words[i]) == 0;
  char *name = tsr_arena_printf(im->arena, "%s%s", lead ? "_" : "", text);
  for (char *c = name; c && *c; c++)
    if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9')))
      *c = '_';
  return name;
}

/* Dims of equal dim_param are one; `param` is the model's spelling. */
static tsr_expr symbolic_dim(tsr_importer *im, const char *param) {
  const tsr_import_dim *option = find_dim_option(im, param);
  tsr_imported *known = tsr_scope_find(&im->dims, param);
  if (known)
    return known->dims[0];
  int64_t lo = option ? option->lo : TSR_IMPORT_DIM_LO;
  int64_t hi = option ? option->hi : TSR_IMPORT_DIM_HI;
  tsr_expr expr = 0;
  if (lo == hi)
    expr = tsr_expr_int(im->ir, lo);
  else {
    const char *name = clean_name(im, param);
    while (name && tsr_dim_find(im->ir, name))
      name = tsr_arena_printf(im->arena, "%s_", name);
    expr = name ? tsr_expr_dim(im->ir, tsr_dim_add(im->ir, name, lo, hi, 0)) : 0;
  }
  tsr_imported *entry = tsr_arena_alloc(im->arena, sizeof *entry);
  tsr_expr *kept = tsr_arena_alloc(im->arena, sizeof *kept);
  if (entry && kept) {
    *kept = expr;
    entry->dims = kept;
    if (tsr_scope_set(im, &im->dims, param, entry))
      return expr;
  }
  return tsr_ir_poison(im->ir, TSR_ERR_OUT_OF_MEMORY, "out of memory while importing");
}

/* Some exporters write "?" for a dim without a name. */
static bool is_named(const tsr_onnx_dim *dim) {
  return TSR_WIRE_HAS(dim, TSR_ONNX_DIM_PARAM) && dim->param[0] != '\0' &&
         strcmp(dim->param, "?") != 0;
}

static tsr_expr input_dim(tsr_importer *im, const char *input, const tsr_onnx_dim *dim,
                          uint64_t axis) {
  if (TSR_WIRE_HAS(dim, TSR_ONNX_DIM_VALUE) && dim->value >= 0)
    return tsr_expr_int(im->ir, dim->value);
  if (is_named(dim))
    return symbolic_dim(im, dim->param);
  const char *derived = tsr_arena_printf(im->arena, "%s.%llu", input, (unsigned long long)axis);
  return derived ? symbolic_dim(im, derived) : 0;
}

static tsr_import_assumption *find_assumption(const tsr_importer *im, const char *name) {
  for (uint32_t i = 0; i < im->options->assumption_count; i++)
    if (strcmp(im->options->assumptions[i].name, name) == 0)
      return &im->options->assumptions[i];
  return NULL;
}

/* The tensor that the type is of, or that the items of a list or optional are; NULL: none. */
static const tsr_onnx_tensor_type *items_of(const tsr_onnx_type *type, tsr_level *out_level) {
  *out_level = TSR_LEVEL_GLOBAL;
  if (type && type->optional) {
    *out_level = TSR_LEVEL_MAYBE;
    type = type->optional->elem_type;
  }
  if (type && type->sequence) {
    *out_level = *out_level == TSR_LEVEL_MAYBE ? TSR_LEVEL_MAYBE_LIST : TSR_LEVEL_LIST;
    type = type->sequence->elem_type;
  }
  return type ? type->tensor : NULL;
}

/* Why the input cannot be one of the graph's; NULL when it can. */
static const char *unusable_input(tsr_importer *im, const tsr_onnx_value_info *info) {
  tsr_level level;
  bool text;
  if (!info->type)
    return tsr_arena_printf(im->arena, "input '%s' has no type", info->name);
  const tsr_onnx_tensor_type *type = items_of(info->type, &level);
  if (!type)
    return tsr_arena_printf(im->arena, "input '%s' %s", info->name,
                            info->type->sparse_tensor ? "is a sparse tensor" : "is not of tensors");
  if (tsr_onnx_element(type->elem_type, &text) == TSR_DTYPE_NONE)
    return tsr_arena_printf(im->arena, "input '%s' has element type %s (%lld)", info->name,
                            tsr_onnx_dtype_name(type->elem_type), (long long)type->elem_type);
  if (!type->shape && level == TSR_LEVEL_GLOBAL && !find_assumption(im, info->name))
    return tsr_arena_printf(im->arena, "input '%s' has no rank", info->name);
  return NULL;
}

/* A list or optional: extents that are no numbers may be another for each item. */
static tsr_value host_input(tsr_importer *im, const tsr_onnx_value_info *info) {
  tsr_lower l = {.importer = im, .ir = im->ir, .b = &im->builder, .arena = im->arena};
  tsr_expr dims[TSR_MAX_RANK];
  tsr_level level;
  bool text;
  const tsr_onnx_tensor_type *item = items_of(info->type, &level);
  uint64_t rank = item->shape ? item->shape->dims.count : 0;
  if (rank > TSR_MAX_RANK)
    return tsr_ir_poison(im->ir, TSR_ERR_LIMIT, "input '%s' has items of more than %d dims",
                         info->name, TSR_MAX_RANK);
  for (uint64_t i = 0; i < rank; i++) {
    const tsr_onnx_dim *dim = &item->shape->dims.items[i];
    bool number = TSR_WIRE_HAS(dim, TSR_ONNX_DIM_VALUE) && dim->value >= 0;
    dims[i] = number ? tsr_expr_int(im->ir, dim->value) : tsr_wildcard_dim(&l);
  }
  tsr_dtype dtype = tsr_onnx_element(item->elem_type, &text);
  tsr_op op = tsr_op_append(im->ir, im->builder.region, TSR_OP_INPUT);
  tsr_op_set_string(im->ir, op, "name", info->name);
  return tsr_op_add_result(
      im->ir, op,
      tsr_type_make(im->ir, level, dtype, dims, item->shape ? (uint32_t)rank : TSR_RANK_ANY));
}

static tsr_status input_dims(tsr_importer *im, const tsr_onnx_value_info *info, tsr_expr *dims,
                             uint32_t *out_rank) {
  const tsr_onnx_shape *shape = info->type->tensor->shape;
  tsr_import_assumption *assumption = find_assumption(im, info->name);
  uint64_t rank = shape ? shape->dims.count : assumption->tensor->dims.count;
  if (rank > TSR_MAX_RANK)
    return tsr_fail(im->diag, TSR_ERR_LIMIT, "input '%s' has %llu dims, more than %d", info->name,
                    (unsigned long long)rank, TSR_MAX_RANK);
  for (uint64_t i = 0; i < rank; i++)
    dims[i] = shape ? input_dim(im, info->name, &shape->dims.items[i], i)
                    : tsr_expr_int(im->ir, assumption->tensor->dims.items[i]);
  if (!shape)
    assumption->used = true;
  *out_rank = (uint32_t)rank;
  return TSR_OK;
}

static void assume_input(tsr_importer *im, tsr_imported *input,
                         const tsr_import_assumption *assumption) {
  tsr_lower l = {.importer = im, .ir = im->ir, .b = &im->builder, .arena = im->arena};
  if (!assumption || assumption->tensor->dtype != input->dtype ||
      assumption - im->options->assumptions >= 64)
    return;
  input->assumes = (uint64_t)1 << (assumption - im->options->assumptions);
  input->assumed = tsr_imported_assume(&l, assumption);
}

static tsr_status import_input(tsr_importer *im, const tsr_onnx_value_info *info) {
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t rank = 0;
  if (tsr_scope_has_own(im->scope, info->name))
    return tsr_fail(im->diag, TSR_ERR_FORMAT, "input '%s' is given twice", info->name);
  const char *why = unusable_input(im, info);
  if (why) {
    TSR_TRY(add_unsupported(im, "input", info->name, opset_of(im, ""), why));
    return bind(im, info->name, broken(im, NULL));
  }
  tsr_lower l = {.importer = im, .ir = im->ir, .b = &im->builder, .arena = im->arena};
  tsr_level level;
  bool text;
  tsr_dtype dtype = tsr_onnx_element(items_of(info->type, &level)->elem_type, &text);
  if (level == TSR_LEVEL_GLOBAL)
    TSR_TRY(input_dims(im, info, dims, &rank));
  tsr_value value = level == TSR_LEVEL_GLOBAL
                        ? tsr_graph_input(&im->builder, info->name, dtype, dims, rank)
                        : host_input(im, info);
  tsr_status status = builder_status(im);
  if (status != TSR_OK) {
    tsr_diag_set_node(im->diag, info->name, "input");
    return status;
  }
  tsr_imported *imported = tsr_imported_new(&l, value);
  if (!imported)
    return no_memory(im);
  imported->text = text;
  if (text)
    tsr_op_set_bool(im->ir, tsr_value_get(im->ir, value)->def, "text", true);
  if (level == TSR_LEVEL_GLOBAL)
    assume_input(im, imported, find_assumption(im, info->name));
  return bind(im, info->name, imported);
}

/* Models before IR version 4 list initializers among the inputs too: those are constants. */
static bool is_initializer(const tsr_importer *im, const char *name) {
  return tsr_scope_has_own(&im->constants, name);
}

static tsr_status import_inputs(tsr_importer *im, const tsr_onnx_graph *graph) {
  for (uint64_t i = 0; i < graph->initializers.count; i++)
    if (!tsr_scope_set(im, &im->constants, graph->initializers.items[i].name, (tsr_imported *)im))
      return no_memory(im);
  for (uint64_t i = 0; i < graph->inputs.count; i++)
    if (!is_initializer(im, graph->inputs.items[i].name))
      TSR_TRY(import_input(im, &graph->inputs.items[i]));
  for (uint32_t i = 0; i < im->options->dim_count; i++)
    if (!tsr_scope_find(&im->dims, im->options->dims[i].name))
      return tsr_fail(im->diag, TSR_ERR_NOT_FOUND,
                      "--dim %s: no input of the model has a dynamic dim of this name",
                      im->options->dims[i].name);
  return TSR_OK;
}

/* --- outputs --- */

static const char *level_word(tsr_level level) {
  return level == TSR_LEVEL_GLOBAL ? "a tensor"
         : level == TSR_LEVEL_LIST ? "a sequence"
                                   : "an optional";
}

/* What the output is declared to be; what is made where nothing is declared. */
static tsr_status check_output_type(tsr_importer *im, const tsr_onnx_value_info *info,
                                    const tsr_imported *made, tsr_level *out_level) {
  tsr_lower l = {.importer = im, .ir = im->ir, .b = &im->builder, .arena = im->arena};
  tsr_level level, given = tsr_imported_level(&l, made);
  bool text;
  const tsr_onnx_tensor_type *type = items_of(info->type, &level);
  *out_level = given;
  if (!type || type->elem_type == 0)
    return TSR_OK;
  bool wraps = (level == TSR_LEVEL_MAYBE && given == TSR_LEVEL_GLOBAL) ||
               (level == TSR_LEVEL_MAYBE_LIST && given == TSR_LEVEL_LIST);
  *out_level = level;
  if (level != given && !wraps)
    return tsr_fail(im->diag, TSR_ERR_TYPE,
                    "output '%s' is declared to be %s but the graph makes %s", info->name,
                    level_word(level), level_word(given));
  tsr_dtype declared = tsr_onnx_element(type->elem_type, &text);
  if (declared != made->dtype || text != made->text)
    return tsr_fail(im->diag, TSR_ERR_TYPE, "output '%s' is declared %s but the graph makes %s",
                    info->name, tsr_onnx_dtype_name(type->elem_type),
                    made->text ? "strings" : tsr_dtype_text(made->dtype));
  if (given == TSR_LEVEL_GLOBAL && type->shape && type->shape->dims.count != made->rank)
    return tsr_fail(im->diag, TSR_ERR_TYPE, "output '%s' is declared with rank %llu but has %u",
                    info->name, (unsigned long long)type->shape->dims.count, made->rank);
  return TSR_OK;
}

static tsr_status import_output(tsr_importer *im, const tsr_onnx_value_info *info) {
  tsr_imported *made = tsr_scope_find(im->scope, info->name);
  tsr_lower l = {.importer = im, .ir = im->ir, .b = &im->builder, .arena = im->arena};
  tsr_level level;
  if (!made)
    return tsr_fail(im->diag, TSR_ERR_FORMAT, "output '%s' is made by no node", info->name);
  if (made->kind == TSR_IMPORTED_BROKEN)
    return made->note ? add_unsupported(im, "output", info->name, opset_of(im, ""), made->note)
                      : TSR_OK;
  TSR_TRY(check_output_type(im, info, made, &level));
  bool maybe = level == TSR_LEVEL_MAYBE || level == TSR_LEVEL_MAYBE_LIST;
  tsr_graph_output(&im->builder, info->name,
                   maybe ? tsr_imported_maybe(&l, made) : tsr_imported_value(&l, made));
  TSR_TRY(builder_status(im));
  if (made->text)
    tsr_op_set_bool(im->ir, tsr_region_get(im->ir, im->builder.region)->last, "text", true);
  return builder_status(im);
}

/* The table of texts goes with the graph. */
static tsr_status keep_texts(tsr_importer *im) {
  uint32_t count = 0;
  while (tsr_texts_get(im->texts, count))
    count++;
  const char **strings = tsr_arena_alloc_array(im->arena, count, sizeof *strings);
  if (!strings)
    return no_memory(im);
  for (uint32_t i = 0; i < count; i++)
    strings[i] = tsr_ir_intern(im->ir, tsr_texts_get(im->texts, i));
  tsr_attr attr = {.key = tsr_ir_intern(im->ir, "texts"), .kind = TSR_ATTR_STRINGS, .count = count};
  attr.u.strings = strings;
  if (count > 1)
    tsr_op_set_attr(im->ir, tsr_region_get(im->ir, im->builder.region)->parent, &attr);
  return builder_status(im);
}

static tsr_status import_graph(tsr_importer *im) {
  const tsr_onnx_graph *graph = im->graph = im->model->proto.graph;
  if (graph->outputs.count == 0)
    return tsr_fail(im->diag, TSR_ERR_FORMAT, "the graph has no outputs");
  im->builder = tsr_graph_begin(im->ir, "main");
  im->builder.checks = true;
  TSR_TRY(builder_status(im));
  TSR_TRY(index_functions(im));
  TSR_TRY(import_inputs(im, graph));
  TSR_TRY(import_initializers(im, graph));
  TSR_TRY(import_nodes(im, graph->nodes.items, graph->nodes.count));
  for (uint64_t i = 0; i < graph->outputs.count; i++)
    TSR_TRY(import_output(im, &graph->outputs.items[i]));
  TSR_TRY(keep_texts(im));
  return im->unsupported_count > 0 ? report_unsupported(im) : TSR_OK;
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
    TSR_TRY(bind(im, graph->inputs.items[i].name, inputs[i]));
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

tsr_status tsr_onnx_import(const tsr_onnx_model *model, const tsr_import_options *options,
                           const tsr_allocator *allocator, tsr_diag *diag, tsr_ir **out_ir) {
  static const tsr_import_options none = {0};
  tsr_frame frame = {.opsets = model->proto.opsets.items, .opset_count = model->proto.opsets.count};
  tsr_importer im = {.model = model,
                     .options = options ? options : &none,
                     .diag = diag,
                     .frame = &frame,
                     .node_budget = TSR_IMPORT_NODE_LIMIT};
  tsr_scope scope = {0};
  im.scope = &scope;
  im.unsupported_end = &im.unsupported;
  *out_ir = NULL;
  TSR_TRY(tsr_ir_create(allocator, &im.ir));
  im.arena = tsr_ir_arena(im.ir);
  tsr_status status = tsr_texts_create(NULL, 0, allocator, &im.texts);
  if (status == TSR_OK)
    status = import_graph(&im);
  tsr_texts_destroy(im.texts);
  if (status != TSR_OK) {
    tsr_ir_destroy(im.ir);
    return status;
  }
  *out_ir = im.ir;
  return TSR_OK;
}
