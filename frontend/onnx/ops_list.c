/* Sequences and optionals. While a sequence's length is known it lives in the importer only and
 * costs nothing; what a run decides becomes lists and maybes that the host keeps (ops of kind
 * HOST). The type of a list says what its items are expected to be: an extent that they do not
 * share is the wildcard dim, a rank that they do not share TSR_RANK_ANY. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/importer.h"
#include "frontend/onnx/op_table.h"
#include <string.h>

/* --- types --- */

tsr_expr tsr_fresh_dim(tsr_lower *l, const char *what, uint32_t axis) {
  const char *origin = l->b->origin ? l->b->origin : "value";
  char *name = tsr_arena_printf(l->arena, "%s.%s[%u]", origin, what, axis);
  while (name && tsr_dim_find(l->ir, name))
    name = tsr_arena_printf(l->arena, "%s'", name);
  if (!name)
    return tsr_ir_poison(l->ir, TSR_ERR_OUT_OF_MEMORY, "out of memory while importing");
  return tsr_expr_dim(l->ir, tsr_dim_add(l->ir, name, 0, TSR_IMPORT_DIM_HI, 0));
}

/* The dim that stands in types of lists for extents that items do not share; no value has it. */
tsr_expr tsr_wildcard_dim(tsr_lower *l) {
  tsr_importer *im = l->importer;
  if (im->wildcard == 0) {
    const char *name = "any";
    while (name && tsr_dim_find(l->ir, name))
      name = tsr_arena_printf(l->arena, "%s_", name);
    if (name)
      im->wildcard = tsr_expr_dim(l->ir, tsr_dim_add(l->ir, name, 0, TSR_IMPORT_DIM_HI, 0));
  }
  return im->wildcard;
}

const tsr_onnx_shape *tsr_declared_shape(tsr_lower *l, uint32_t output) {
  const tsr_importer *im = l->importer;
  const char *name = output < l->node->outputs.count ? l->node->outputs.items[output] : "";
  if (!im->graph || im->frame->function || name[0] == '\0')
    return NULL;
  for (uint64_t i = 0; i < im->graph->outputs.count + im->graph->value_infos.count; i++) {
    const tsr_onnx_value_info *info =
        i < im->graph->outputs.count ? &im->graph->outputs.items[i]
                                     : &im->graph->value_infos.items[i - im->graph->outputs.count];
    if (strcmp(info->name, name) == 0 && info->type && info->type->tensor)
      return info->type->tensor->shape;
  }
  return NULL;
}

/* What the items of a list are, as far as it is known. `any`: no item was seen yet. */
typedef struct item_type {
  bool any;
  tsr_dtype dtype;
  uint32_t rank;
  tsr_expr dims[TSR_MAX_RANK];
} item_type;

static void merge(tsr_lower *l, item_type *into, tsr_dtype dtype, uint32_t rank,
                  const tsr_expr *dims) {
  if (into->any) {
    into->any = false;
    into->dtype = dtype;
    into->rank = rank;
    for (uint32_t i = 0; rank != TSR_RANK_ANY && i < rank; i++)
      into->dims[i] = dims[i];
    return;
  }
  if (into->dtype != dtype)
    into->dtype = TSR_DTYPE_NONE;
  if (into->rank != rank)
    into->rank = TSR_RANK_ANY;
  for (uint32_t i = 0; into->rank != TSR_RANK_ANY && i < rank; i++)
    if (into->dims[i] != dims[i])
      into->dims[i] = tsr_wildcard_dim(l);
}

static void merge_items(tsr_lower *l, item_type *into, const tsr_imported *x) {
  if (x->kind == TSR_IMPORTED_SEQUENCE || (x->kind == TSR_IMPORTED_MAYBE && x->value == 0)) {
    for (uint64_t i = 0; i < x->item_count; i++)
      merge_items(l, into, x->items[i]);
    if (into->any && x->item_count == 0)
      into->dtype = x->dtype;
  } else
    merge(l, into, x->dtype, x->rank, x->dims);
}

static tsr_type make_type(tsr_lower *l, tsr_level level, const item_type *item) {
  if (item->dtype == TSR_DTYPE_NONE)
    return tsr_ir_poison(l->ir, TSR_ERR_TYPE, "a list of items of different element types");
  uint32_t rank = item->any ? TSR_RANK_ANY : item->rank;
  return tsr_type_make(l->ir, level, item->dtype, item->dims, rank);
}

tsr_level tsr_imported_level(tsr_lower *l, const tsr_imported *x) {
  if (x->value != 0)
    return tsr_value_type(l->ir, x->value)->level;
  if (x->kind == TSR_IMPORTED_SEQUENCE)
    return TSR_LEVEL_LIST;
  if (x->kind != TSR_IMPORTED_MAYBE)
    return TSR_LEVEL_GLOBAL;
  bool list =
      x->item_count > 0 ? tsr_imported_level(l, x->items[0]) == TSR_LEVEL_LIST : x->of_lists;
  return list ? TSR_LEVEL_MAYBE_LIST : TSR_LEVEL_MAYBE;
}

tsr_type tsr_imported_join(tsr_lower *l, const tsr_imported *a, const tsr_imported *b) {
  item_type item = {.any = true};
  tsr_level level = tsr_imported_level(l, a), other = b ? tsr_imported_level(l, b) : level;
  bool wraps = (level == TSR_LEVEL_MAYBE && other == TSR_LEVEL_GLOBAL) ||
               (level == TSR_LEVEL_MAYBE_LIST && other == TSR_LEVEL_LIST);
  if (level == TSR_LEVEL_GLOBAL && other == TSR_LEVEL_GLOBAL)
    return 0;
  if (level != other && !wraps)
    return b && (other == TSR_LEVEL_MAYBE || other == TSR_LEVEL_MAYBE_LIST) &&
                   (level == TSR_LEVEL_GLOBAL || level == TSR_LEVEL_LIST)
               ? tsr_imported_join(l, b, a)
               : 0;
  merge_items(l, &item, a);
  if (b)
    merge_items(l, &item, b);
  return item.dtype == TSR_DTYPE_NONE ? 0 : make_type(l, level, &item);
}

/* --- making values of them --- */

tsr_value tsr_lower_host(tsr_lower *l, tsr_opcode code, const tsr_value *operands, uint32_t count,
                         tsr_type result) {
  tsr_value value = 0;
  for (uint32_t i = 0; i < count; i++)
    if (operands[i] == 0)
      return 0;
  if (result == 0 || tsr_ir_status(l->ir) != TSR_OK)
    return 0;
  return tsr_graph_host(l->b, code, operands, count, &result, 1, &value) ? value : 0;
}

tsr_value tsr_imported_list_as(tsr_lower *l, tsr_imported *sequence, tsr_type list) {
  if (sequence->kind == TSR_IMPORTED_LIST) {
    tsr_value_set_type(l->ir, sequence->value, list);
    return sequence->value;
  }
  if (sequence->kind != TSR_IMPORTED_SEQUENCE)
    return tsr_ir_poison(l->ir, TSR_ERR_TYPE, "a tensor stands where a sequence is needed");
  tsr_value *items = tsr_lower_alloc(l, sequence->item_count, sizeof *items);
  for (uint64_t i = 0; items && i < sequence->item_count; i++)
    items[i] = tsr_imported_value(l, sequence->items[i]);
  return items ? tsr_lower_host(l, TSR_OP_LIST_MAKE, items, (uint32_t)sequence->item_count, list)
               : 0;
}

tsr_value tsr_imported_list(tsr_lower *l, tsr_imported *sequence) {
  if (sequence->kind == TSR_IMPORTED_LIST)
    return sequence->value;
  if (sequence->kind != TSR_IMPORTED_SEQUENCE)
    return tsr_ir_poison(l->ir, TSR_ERR_TYPE, "a tensor stands where a sequence is needed");
  item_type item = {.any = true};
  merge_items(l, &item, sequence);
  return tsr_imported_list_as(l, sequence, make_type(l, TSR_LEVEL_LIST, &item));
}

tsr_value tsr_imported_maybe_as(tsr_lower *l, tsr_imported *x, tsr_type maybe) {
  if (x->kind == TSR_IMPORTED_MAYBE && x->value != 0) {
    tsr_value_set_type(l->ir, x->value, maybe);
    return x->value;
  }
  tsr_imported *content = x->kind == TSR_IMPORTED_MAYBE && x->item_count > 0 ? x->items[0] : x;
  bool there = content->kind != TSR_IMPORTED_MAYBE;
  tsr_value item = there ? tsr_imported_value(l, content) : 0;
  return tsr_lower_host(l, TSR_OP_MAYBE_MAKE, &item, there, maybe);
}

tsr_value tsr_imported_maybe(tsr_lower *l, tsr_imported *x) {
  if (x->kind == TSR_IMPORTED_MAYBE && x->value != 0)
    return x->value;
  item_type item = {.any = true};
  merge_items(l, &item, x);
  tsr_level level = tsr_imported_level(l, x);
  if (level == TSR_LEVEL_GLOBAL || level == TSR_LEVEL_LIST)
    level = level == TSR_LEVEL_LIST ? TSR_LEVEL_MAYBE_LIST : TSR_LEVEL_MAYBE;
  return tsr_imported_maybe_as(l, x, make_type(l, level, &item));
}

/* --- sequences --- */

/* --- sequences --- */

static bool is_list(const tsr_imported *x) {
  return x->kind == TSR_IMPORTED_SEQUENCE || x->kind == TSR_IMPORTED_LIST;
}

static tsr_status need_sequence(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  if (!is_list(l->in[0]))
    return tsr_lower_wrong(l, TSR_ERR_TYPE, "input 0 is not a sequence");
  return TSR_OK;
}

static bool is_known(const tsr_lower *l) {
  return l->in[0]->kind == TSR_IMPORTED_SEQUENCE;
}

static tsr_imported *new_sequence(tsr_lower *l, uint64_t count) {
  tsr_imported *sequence = tsr_lower_alloc(l, 1, sizeof *sequence);
  tsr_imported **items = tsr_lower_alloc(l, count, sizeof *items);
  if (!sequence || !items)
    return NULL;
  sequence->kind = TSR_IMPORTED_SEQUENCE;
  sequence->dtype = TSR_DTYPE_NONE;
  sequence->rank = TSR_RANK_ANY;
  sequence->items = items;
  sequence->item_count = count;
  return sequence;
}

/* What all items say of the sequence. */
static void set_sequence(tsr_lower *l, tsr_imported *sequence) {
  if (sequence && sequence->item_count > 0) {
    sequence->dtype = sequence->items[0]->dtype;
    sequence->text = sequence->items[0]->text;
  }
  if (sequence)
    tsr_lower_set_imported(l, 0, sequence);
}

static tsr_status need_tensors(tsr_lower *l, uint32_t first, uint32_t end) {
  for (uint32_t i = first; i < end; i++)
    if (l->in[i] && l->in[i]->kind != TSR_IMPORTED_TENSOR)
      return tsr_lower_unsupported(l, "a sequence of what is not a tensor");
  return TSR_OK;
}

static void set_host(tsr_lower *l, tsr_value value) {
  tsr_lower_set(l, 0, value);
  if (l->out_count > 0 && l->out[0])
    l->out[0]->text = l->in[0]->text;
}

tsr_status tsr_lower_op_sequence_construct(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, l->in_count));
  TSR_TRY(need_tensors(l, 0, l->in_count));
  tsr_imported *sequence = new_sequence(l, l->in_count);
  for (uint32_t i = 0; sequence && i < l->in_count; i++) {
    if (l->in[i]->dtype != l->in[0]->dtype)
      return tsr_lower_wrong(l, TSR_ERR_TYPE, "its inputs differ in element type");
    sequence->items[i] = l->in[i];
  }
  set_sequence(l, sequence);
  return TSR_OK;
}

tsr_status tsr_lower_op_sequence_empty(tsr_lower *l) {
  int64_t element = tsr_lower_int(l, "dtype", 1);
  tsr_imported *sequence = new_sequence(l, 0);
  if (!sequence)
    return TSR_ERR_OUT_OF_MEMORY;
  sequence->dtype = tsr_onnx_element(element, &sequence->text);
  if (sequence->dtype == TSR_DTYPE_NONE)
    return tsr_lower_unsupported(l, "element type %s (%lld)", tsr_onnx_dtype_name(element),
                                 (long long)element);
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

/* Both the list and the position, if there is one, are known. */
static bool is_known_at(tsr_lower *l, uint32_t input) {
  int64_t at;
  return is_known(l) && (!tsr_lower_has(l, input) || tsr_lower_scalar_int(l, input, &at));
}

/* Types of results: extents that items do not share get dims of their own. A rank that the type
 * does not say is that which the model declares. */
static tsr_status taken_type(tsr_lower *l, const item_type *item, const char *what, tsr_type *out) {
  item_type made = *item;
  *out = 0;
  if (item->any || item->rank == TSR_RANK_ANY) {
    const tsr_onnx_shape *declared = tsr_declared_shape(l, 0);
    if (!declared || declared->dims.count > TSR_MAX_RANK)
      return tsr_lower_unsupported(l, "%s: the rank of the items is not known", what);
    made.any = false;
    made.rank = (uint32_t)declared->dims.count;
    for (uint32_t i = 0; i < made.rank; i++)
      made.dims[i] = tsr_wildcard_dim(l);
  }
  for (uint32_t i = 0; i < made.rank; i++)
    if (made.dims[i] == tsr_wildcard_dim(l))
      made.dims[i] = tsr_fresh_dim(l, what, i);
  *out = make_type(l, TSR_LEVEL_GLOBAL, &made);
  return TSR_OK;
}

tsr_status tsr_lower_op_sequence_at(tsr_lower *l) {
  uint64_t at;
  TSR_TRY(need_sequence(l));
  TSR_TRY(tsr_lower_need(l, 2));
  if (is_known_at(l, 1)) {
    TSR_TRY(position(l, 1, 0, &at));
    tsr_lower_set_imported(l, 0, l->in[0]->items[at]);
    return TSR_OK;
  }
  item_type item = {.any = true};
  tsr_type type;
  merge_items(l, &item, l->in[0]);
  TSR_TRY(taken_type(l, &item, "item", &type));
  tsr_value operands[] = {tsr_imported_list(l, l->in[0]), tsr_lower_value(l, 1)};
  set_host(l, tsr_lower_host(l, TSR_OP_LIST_AT, operands, 2, type));
  return TSR_OK;
}

tsr_status tsr_lower_op_sequence_insert(tsr_lower *l) {
  TSR_TRY(need_sequence(l));
  TSR_TRY(tsr_lower_need(l, 2));
  TSR_TRY(need_tensors(l, 1, 3));
  item_type item = {.any = true};
  uint64_t at = l->in[0]->item_count;
  merge_items(l, &item, l->in[0]);
  if (item.any)
    item.any = item.dtype == l->in[1]->dtype;
  merge_items(l, &item, l->in[1]);
  if (item.dtype != l->in[1]->dtype)
    return tsr_lower_wrong(l, TSR_ERR_TYPE, "the tensor's element type is not the sequence's");
  if (!is_known_at(l, 2)) {
    tsr_value operands[] = {tsr_imported_list(l, l->in[0]), tsr_lower_value(l, 1),
                            tsr_lower_value(l, 2)};
    set_host(l, tsr_lower_host(l, TSR_OP_LIST_INSERT, operands, tsr_lower_has(l, 2) ? 3 : 2,
                               make_type(l, TSR_LEVEL_LIST, &item)));
    return TSR_OK;
  }
  if (tsr_lower_has(l, 2))
    TSR_TRY(position(l, 2, 1, &at));
  tsr_imported *sequence = new_sequence(l, l->in[0]->item_count + 1);
  for (uint64_t i = 0; sequence && i < sequence->item_count; i++)
    sequence->items[i] = i == at ? l->in[1] : l->in[0]->items[i - (i > at)];
  set_sequence(l, sequence);
  return TSR_OK;
}

tsr_status tsr_lower_op_sequence_erase(tsr_lower *l) {
  TSR_TRY(need_sequence(l));
  if (!is_known_at(l, 1)) {
    tsr_value list = tsr_imported_list(l, l->in[0]);
    tsr_value operands[] = {list, tsr_lower_value(l, 1)};
    set_host(l, list ? tsr_lower_host(l, TSR_OP_LIST_ERASE, operands, tsr_lower_has(l, 1) ? 2 : 1,
                                      tsr_value_get(l->ir, list)->type)
                     : 0);
    return TSR_OK;
  }
  if (l->in[0]->item_count == 0)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "the sequence is empty");
  uint64_t at = l->in[0]->item_count - 1;
  if (tsr_lower_has(l, 1))
    TSR_TRY(position(l, 1, 0, &at));
  tsr_imported *sequence = new_sequence(l, l->in[0]->item_count - 1);
  for (uint64_t i = 0; sequence && i < sequence->item_count; i++)
    sequence->items[i] = l->in[0]->items[i + (i >= at)];
  set_sequence(l, sequence);
  if (sequence && sequence->item_count == 0) {
    sequence->dtype = l->in[0]->dtype;
    sequence->text = l->in[0]->text;
  }
  return TSR_OK;
}

static void set_known(tsr_lower *l, tsr_dtype dtype, int64_t number) {
  tsr_expr *expr = tsr_lower_alloc(l, 1, sizeof *expr);
  if (!expr)
    return;
  *expr = e_int(l, number);
  tsr_lower_set_content(l, 0, dtype, NULL, 0, &(tsr_content){.count = 1, .exprs = expr});
}

tsr_status tsr_lower_op_sequence_length(tsr_lower *l) {
  TSR_TRY(need_sequence(l));
  if (is_known(l))
    set_known(l, TSR_I64, (int64_t)l->in[0]->item_count);
  else
    tsr_lower_set(l, 0,
                  tsr_lower_host(l, TSR_OP_LIST_LENGTH, &l->in[0]->value, 1,
                                 tsr_type_make(l->ir, TSR_LEVEL_GLOBAL, TSR_I64, NULL, 0)));
  return TSR_OK;
}

/* --- whole and parts --- */

static tsr_status concat_list(tsr_lower *l, bool stack) {
  item_type item = {.any = true};
  uint32_t axis;
  merge_items(l, &item, l->in[0]);
  if (item.any || item.rank == TSR_RANK_ANY) {
    const tsr_onnx_shape *declared = tsr_declared_shape(l, 0);
    if (!declared || declared->dims.count > TSR_MAX_RANK || (stack && declared->dims.count == 0))
      return tsr_lower_unsupported(l, "the rank of the items is not known");
    item.any = false;
    item.rank = (uint32_t)declared->dims.count - stack;
    for (uint32_t i = 0; i < item.rank; i++)
      item.dims[i] = tsr_wildcard_dim(l);
  }
  TSR_TRY(tsr_lower_axis_attr(l, "axis", 0, item.rank + stack, &axis));
  if (item.rank + stack > TSR_MAX_RANK)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "a result of rank %u", item.rank + 1);
  if (stack) {
    for (uint32_t i = item.rank++; i > axis; i--)
      item.dims[i] = item.dims[i - 1];
  }
  item.dims[axis] = tsr_wildcard_dim(l);
  tsr_type type;
  TSR_TRY(taken_type(l, &item, "whole", &type));
  tsr_value list = tsr_imported_list(l, l->in[0]);
  tsr_value y = tsr_lower_host(l, TSR_OP_LIST_CONCAT, &list, 1, type);
  if (y) {
    tsr_op op = tsr_value_get(l->ir, y)->def;
    tsr_op_set_int(l->ir, op, "axis", axis);
    if (stack)
      tsr_op_set_bool(l->ir, op, "stack", true);
  }
  set_host(l, y);
  return TSR_OK;
}

/* Concatenates along `axis`; with new_axis the items are stacked. */
tsr_status tsr_lower_op_concat_from_sequence(tsr_lower *l) {
  TSR_TRY(need_sequence(l));
  const tsr_imported *sequence = l->in[0];
  bool stack = tsr_lower_int(l, "new_axis", 0) != 0;
  uint32_t axis;
  if (!is_known(l))
    return concat_list(l, stack);
  if (sequence->item_count == 0)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "the sequence is empty");
  TSR_TRY(tsr_lower_axis_attr(l, "axis", 0, sequence->items[0]->rank + (stack ? 1 : 0), &axis));
  tsr_value *parts = tsr_lower_alloc(l, sequence->item_count, sizeof *parts);
  for (uint64_t i = 0; parts && i < sequence->item_count; i++) {
    tsr_value part = tsr_imported_value(l, sequence->items[i]);
    parts[i] = stack ? v_unsqueeze(l, part, axis) : part;
  }
  if (parts)
    set_host(l, tsr_graph_concat(l->b, parts, (uint32_t)sequence->item_count, axis));
  return TSR_OK;
}

/* Into more pieces than this the host splits at run time. */
enum { MOST_KNOWN_PIECES = 1024 };

static tsr_status split_list(tsr_lower *l, uint32_t axis, bool drop) {
  tsr_value operands[] = {tsr_lower_value(l, 0), tsr_lower_value(l, 1)};
  const tsr_imported *x = l->in[0];
  item_type item = {.dtype = x->dtype};
  int64_t size = 1;
  for (uint32_t i = 0; i < x->rank; i++)
    if (i != axis || !drop)
      item.dims[item.rank++] = i == axis ? tsr_wildcard_dim(l) : x->dims[i];
  if (!drop && !tsr_lower_has(l, 1))
    item.dims[axis] = e_int(l, size);
  tsr_value y = tsr_lower_host(l, TSR_OP_LIST_SPLIT, operands, tsr_lower_has(l, 1) ? 2 : 1,
                               make_type(l, TSR_LEVEL_LIST, &item));
  if (y) {
    tsr_op op = tsr_value_get(l->ir, y)->def;
    tsr_op_set_int(l->ir, op, "axis", axis);
    if (drop)
      tsr_op_set_bool(l->ir, op, "drop", true);
  }
  set_host(l, y);
  return TSR_OK;
}

static tsr_value piece_of(tsr_lower *l, tsr_value x, uint32_t axis, int64_t at, int64_t take,
                          bool drop) {
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t rank = 0;
  tsr_value piece = v_slice_axis(l, x, axis, e_int(l, at), e_int(l, take));
  if (!drop)
    return piece;
  for (uint32_t k = 0; k < v_rank(l, x); k++)
    if (k != axis)
      dims[rank++] = v_dim(l, x, k);
  return v_reshape(l, piece, dims, rank);
}

/* Pieces of `split` (a size, or a list of sizes) along `axis`; without it pieces of 1, squeezed
 * unless keepdims. */
tsr_status tsr_lower_op_split_to_sequence(tsr_lower *l) {
  uint32_t axis, sizes = 0;
  int64_t extent, at = 0;
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0);
  TSR_TRY(tsr_lower_axis_attr(l, "axis", 0, v_rank(l, x), &axis));
  const int64_t *list = tsr_lower_numbers(l, 1, &sizes);
  bool drop = !tsr_lower_has(l, 1) && tsr_lower_int(l, "keepdims", 1) == 0;
  if (!v_static_dim(l, x, axis, &extent) || (tsr_lower_has(l, 1) && (!list || sizes == 0)))
    return split_list(l, axis, drop);
  bool even = !list || l->in[1]->rank == 0;
  int64_t size = list ? list[0] : 1, sum = 0;
  for (uint32_t i = 0; !even && i < sizes; i++)
    if (list[i] < 0 || __builtin_add_overflow(sum, list[i], &sum))
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "a piece of %lld", (long long)list[i]);
  if (even ? size < 1 : sum != extent)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "the pieces do not make up the extent %lld",
                           (long long)extent);
  uint64_t count = even ? (uint64_t)(extent / size + (extent % size != 0)) : sizes;
  if (count > MOST_KNOWN_PIECES)
    return split_list(l, axis, drop);
  tsr_imported *sequence = new_sequence(l, count);
  for (uint64_t i = 0; sequence && i < count; i++) {
    int64_t take = !even ? list[i] : extent - at < size ? extent - at : size;
    sequence->items[i] = tsr_imported_new(l, piece_of(l, x, axis, at, take, drop));
    if (!sequence->items[i])
      return TSR_ERR_OUT_OF_MEMORY;
    sequence->items[i]->text = l->in[0]->text;
    at += take;
  }
  set_sequence(l, sequence);
  if (sequence && count == 0)
    sequence->dtype = l->in[0]->dtype;
  return TSR_OK;
}

/* --- optionals --- */

static tsr_imported *new_maybe(tsr_lower *l, tsr_imported *item) {
  tsr_imported *maybe = tsr_lower_alloc(l, 1, sizeof *maybe);
  tsr_imported **items = tsr_lower_alloc(l, 1, sizeof *items);
  if (!maybe || !items)
    return NULL;
  *items = item;
  *maybe = (tsr_imported){.kind = TSR_IMPORTED_MAYBE, .rank = TSR_RANK_ANY, .items = items};
  if (item) {
    maybe->item_count = 1;
    maybe->dtype = item->dtype;
    maybe->text = item->text;
  }
  return maybe;
}

tsr_status tsr_lower_op_optional(tsr_lower *l) {
  tsr_imported *maybe = new_maybe(l, tsr_lower_has(l, 0) ? l->in[0] : NULL);
  const tsr_onnx_attribute *a = tsr_lower_attr(l, "type");
  if (!maybe)
    return TSR_ERR_OUT_OF_MEMORY;
  if (maybe->item_count > 0 && l->in[0]->kind == TSR_IMPORTED_MAYBE)
    return tsr_lower_unsupported(l, "an optional of an optional");
  if (maybe->item_count == 0) {
    const tsr_onnx_type *type = a && a->type == TSR_ONNX_TYPE_PROTO ? a->tp : NULL;
    if (!type)
      return tsr_lower_wrong(l, TSR_ERR_FORMAT, "neither an input nor a type is given");
    maybe->of_lists = type->sequence != NULL;
    const tsr_onnx_type *item = maybe->of_lists ? type->sequence->elem_type : type;
    if (!item || !item->tensor)
      return tsr_lower_unsupported(l, "an optional of what is no tensor, nor a list of tensors");
    maybe->dtype = tsr_onnx_element(item->tensor->elem_type, &maybe->text);
    if (maybe->dtype == TSR_DTYPE_NONE)
      return tsr_lower_unsupported(l, "element type %s",
                                   tsr_onnx_dtype_name(item->tensor->elem_type));
  }
  tsr_lower_set_imported(l, 0, maybe);
  return TSR_OK;
}

tsr_status tsr_lower_op_optional_has_element(tsr_lower *l) {
  const tsr_imported *x = tsr_lower_has(l, 0) ? l->in[0] : NULL;
  if (x && x->kind == TSR_IMPORTED_MAYBE && x->value != 0)
    tsr_lower_set(l, 0,
                  tsr_lower_host(l, TSR_OP_MAYBE_HAS, &x->value, 1,
                                 tsr_type_make(l->ir, TSR_LEVEL_GLOBAL, TSR_BOOL, NULL, 0)));
  else
    set_known(l, TSR_BOOL, x && (x->kind != TSR_IMPORTED_MAYBE || x->item_count > 0));
  return TSR_OK;
}

tsr_status tsr_lower_op_optional_get_element(tsr_lower *l) {
  item_type item = {.any = true};
  tsr_type type;
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_imported *x = l->in[0];
  if (x->kind != TSR_IMPORTED_MAYBE || x->item_count > 0) {
    tsr_lower_set_imported(l, 0, x->kind == TSR_IMPORTED_MAYBE ? x->items[0] : x);
    return TSR_OK;
  }
  tsr_value maybe = tsr_imported_maybe(l, x);
  bool list = maybe && v_type(l, maybe)->level == TSR_LEVEL_MAYBE_LIST;
  merge_items(l, &item, x);
  if (list)
    type = make_type(l, TSR_LEVEL_LIST, &item);
  else
    TSR_TRY(taken_type(l, &item, "item", &type));
  set_host(l, tsr_lower_host(l, TSR_OP_MAYBE_GET, &maybe, 1, type));
  return TSR_OK;
}
