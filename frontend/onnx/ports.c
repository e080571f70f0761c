/* Inputs and outputs of the model: tensors, sequences and optionals, of numbers or of strings. */
#include "frontend/onnx/importer.h"
#include <string.h>

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
    TSR_TRY(tsr_importer_unsupported(im, "input", info->name, tsr_importer_opset(im, ""), why));
    return tsr_importer_bind(im, info->name, tsr_importer_broken(im, NULL));
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
  tsr_status status = tsr_importer_status(im);
  if (status != TSR_OK) {
    tsr_diag_set_node(im->diag, info->name, "input");
    return status;
  }
  tsr_imported *imported = tsr_imported_new(&l, value);
  if (!imported)
    return tsr_importer_no_memory(im);
  imported->text = text;
  if (text)
    tsr_op_set_bool(im->ir, tsr_value_get(im->ir, value)->def, "text", true);
  if (level == TSR_LEVEL_GLOBAL)
    assume_input(im, imported, find_assumption(im, info->name));
  return tsr_importer_bind(im, info->name, imported);
}

/* Models before IR version 4 list initializers among the inputs too: those are constants. */
static bool is_initializer(const tsr_importer *im, const char *name) {
  return tsr_scope_has_own(&im->constants, name);
}

tsr_status tsr_import_inputs(tsr_importer *im, const tsr_onnx_graph *graph) {
  for (uint64_t i = 0; i < graph->initializers.count; i++)
    if (!tsr_scope_set(im, &im->constants, graph->initializers.items[i].name, (tsr_imported *)im))
      return tsr_importer_no_memory(im);
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

/* A declared shape of another rank, or that names another dim of the inputs. */
static bool contradicts(const tsr_importer *im, const tsr_onnx_shape *shape,
                        const tsr_imported *made) {
  if (!shape)
    return false;
  if (shape->dims.count != made->rank)
    return true;
  for (uint32_t i = 0; i < made->rank; i++) {
    const tsr_imported *known = is_named(&shape->dims.items[i])
                                    ? tsr_scope_find(&im->dims, shape->dims.items[i].param)
                                    : NULL;
    if (known && known->dims[0] != made->dims[i] &&
        tsr_expr_get(im->ir, known->dims[0]).op == TSR_INDEX_DIM &&
        tsr_expr_get(im->ir, made->dims[i]).op == TSR_INDEX_DIM)
      return true;
  }
  return false;
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
  /* Exporters leave wrong shapes behind, and the rank that is made is the one that runs. What a
   * guess made is another matter: the declaration may say how to guess. */
  if (given == TSR_LEVEL_GLOBAL && im->guesses->count > 0 && !im->lenient &&
      contradicts(im, type->shape, made))
    return tsr_fail(im->diag, TSR_ERR_TYPE, "output '%s' is not declared with the shape it has",
                    info->name);
  return TSR_OK;
}

tsr_status tsr_import_note_output(tsr_importer *im, const tsr_onnx_value_info *info) {
  const tsr_imported *made = tsr_scope_find(im->scope, info->name);
  if (!made || made->kind != TSR_IMPORTED_BROKEN || !made->note)
    return TSR_OK;
  return tsr_importer_unsupported(im, "output", info->name, tsr_importer_opset(im, ""), made->note);
}

tsr_status tsr_import_output(tsr_importer *im, const tsr_onnx_value_info *info) {
  tsr_imported *made = tsr_scope_find(im->scope, info->name);
  tsr_lower l = {.importer = im, .ir = im->ir, .b = &im->builder, .arena = im->arena};
  tsr_level level;
  if (!made)
    return tsr_fail(im->diag, TSR_ERR_FORMAT, "output '%s' is made by no node", info->name);
  TSR_TRY(check_output_type(im, info, made, &level));
  bool maybe = level == TSR_LEVEL_MAYBE || level == TSR_LEVEL_MAYBE_LIST;
  tsr_graph_output(&im->builder, info->name,
                   maybe ? tsr_imported_maybe(&l, made) : tsr_imported_value(&l, made));
  TSR_TRY(tsr_importer_status(im));
  if (made->text)
    tsr_op_set_bool(im->ir, tsr_region_get(im->ir, im->builder.region)->last, "text", true);
  return tsr_importer_status(im);
}
