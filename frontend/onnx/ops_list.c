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

tsr_value tsr_host_op(tsr_lower *l, tsr_opcode code, const tsr_value *operands, uint32_t count,
                      tsr_type result) {
  for (uint32_t i = 0; i < count; i++)
    if (operands[i] == 0)
      return 0;
  if (result == 0 || tsr_ir_status(l->ir) != TSR_OK)
    return 0;
  tsr_op op = tsr_op_append(l->ir, l->b->region, code);
  for (uint32_t i = 0; op != 0 && i < count; i++)
    tsr_op_add_operand(l->ir, op, operands[i]);
  if (op != 0 && l->b->origin)
    tsr_op_add_origin(l->ir, op, l->b->origin);
  return op != 0 ? tsr_op_add_result(l->ir, op, result) : 0;
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
  return items ? tsr_host_op(l, TSR_OP_LIST_MAKE, items, (uint32_t)sequence->item_count, list) : 0;
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
  return tsr_host_op(l, TSR_OP_MAYBE_MAKE, &item, there, maybe);
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
  tsr_expr *count = tsr_lower_alloc(l, 1, sizeof *count);
  if (count) {
    *count = e_int(l, (int64_t)l->in[0]->item_count);
    tsr_lower_set_content(l, 0, TSR_I64, NULL, 0, &(tsr_content){.count = 1, .exprs = count});
  }
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
