/* Rules of single ops, by level. Types of graph ops are what infer.c says; below the graph they are
 * checked here: scalars (rank 0) and tiles of level `reg`, extents equal or 1. */
#include "ir/graph_build.h"
#include "ir/host_types.h"
#include "ir/verify_internal.h"
#include <string.h>

static bool same_dims(const tsr_type_info *a, const tsr_type_info *b) {
  uint32_t count = tsr_type_dim_count(a);
  return a->rank == b->rank &&
         (count == 0 || memcmp(a->dims, b->dims, count * sizeof *a->dims) == 0);
}

/* Equal but for the memory level. */
bool tsr_verify_same_shape(const tsr_type_info *a, const tsr_type_info *b) {
  return a->dtype == b->dtype && same_dims(a, b);
}

const char *tsr_verify_value_text(tsr_verifier *v, tsr_value value) {
  return tsr_verify_type_text(v, tsr_value_get(v->ir, value)->type);
}

static tsr_opcode container_code(const tsr_verifier *v) {
  return data_of(v, v->container)->code;
}

static bool is_scalar(const tsr_type_info *type) {
  return type->level == TSR_LEVEL_REG && type->rank == 0;
}

bool tsr_verify_is_integer(tsr_dtype dtype) {
  tsr_dtype_class kind = tsr_dtype_class_of(dtype);
  return kind == TSR_CLASS_INT || kind == TSR_CLASS_UINT;
}

static bool one_of(const char *text, const char *list) {
  size_t length = strlen(text);
  while (*list != '\0') {
    size_t word = strcspn(list, " ");
    if (word == length && memcmp(list, text, length) == 0)
      return true;
    list += word + strspn(list + word, " ");
  }
  return false;
}

tsr_status tsr_verify_word(tsr_verifier *v, tsr_op op, const char *key, const char *words) {
  const char *text = tsr_op_string(v->ir, op, key);
  if (text == NULL || one_of(text, words))
    return TSR_OK;
  return tsr_verify_fail(v, op, "'%s' is \"%s\"; known are: %s", key, text, words);
}

/* --- what may vary along red indices of a block --- */

static uint64_t expr_varies(const tsr_verifier *v, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(v->ir, expr);
  if (!tsr_expr_has(v->ir, expr, TSR_INDEX_VALUE))
    return 0;
  if (node.op == TSR_INDEX_VALUE)
    return v->varies[node.value];
  return expr_varies(v, node.a) | expr_varies(v, node.b);
}

static uint64_t operand_varies(const tsr_verifier *v, const tsr_operand *operand) {
  uint64_t varies = v->varies[operand->value];
  for (uint32_t i = 0; i < operand->subscript_count; i++)
    varies |= expr_varies(v, operand->subscripts[i]);
  return varies;
}

static uint64_t op_varies(const tsr_verifier *v, tsr_op op) {
  const tsr_op_data *data = data_of(v, op);
  uint64_t varies = 0;
  for (uint32_t i = 0; i < data->operand_count; i++)
    varies |= operand_varies(v, &data->operands[i]);
  for (uint32_t i = 0; i < data->attr_count; i++)
    if (data->attrs[i].kind == TSR_ATTR_EXPR)
      varies |= expr_varies(v, data->attrs[i].u.expr);
  return varies;
}

/* A reduce takes away the axes it is over (all red ones when none is named). */
static void note_varies(tsr_verifier *v, tsr_op op) {
  const tsr_op_data *data = data_of(v, op);
  uint64_t varies = op_varies(v, op), over = 0;
  if (data->code == TSR_OP_REDUCE) {
    for (uint32_t i = 0; i < data->operand_count; i++)
      if (operand_type(v, op, i)->level == TSR_LEVEL_NONE)
        over |= v->varies[data->operands[i].value];
    varies &= over == 0 ? 0 : ~over;
  }
  for (uint32_t i = 0; i < data->result_count; i++)
    v->varies[data->results[i]] = varies;
}

/* --- elementwise below the graph --- */

tsr_status tsr_verify_register(tsr_verifier *v, tsr_op op, uint32_t number) {
  const tsr_operand *operand = &data_of(v, op)->operands[number];
  if (operand->subscripted || operand_type(v, op, number)->level != TSR_LEVEL_REG)
    return tsr_verify_fail(v, op, "operand %u must be a scalar or a tile", number);
  return TSR_OK;
}

tsr_status tsr_verify_result_level(tsr_verifier *v, tsr_op op, uint32_t number) {
  if (result_type(v, op, number)->level != TSR_LEVEL_REG)
    return tsr_verify_fail(v, op, "result %u must be a scalar or a tile", number);
  return TSR_OK;
}

/* Every axis of the result has the extent of an operand that is not 1, or 1. */
static tsr_status check_broadcast(tsr_verifier *v, tsr_op op) {
  const tsr_op_data *data = data_of(v, op);
  const tsr_type_info *result = result_type(v, op, 0);
  uint32_t rank = 0;
  for (uint32_t i = 0; i < data->operand_count; i++) {
    const tsr_type_info *type = operand_type(v, op, i);
    rank = type->rank > rank ? type->rank : rank;
    if (type->rank > result->rank)
      return tsr_verify_fail(v, op, "operand %u has more axes than the result", i);
    for (uint32_t a = 0; a < type->rank; a++)
      if (type->dims[a] != result->dims[a + result->rank - type->rank] &&
          !tsr_expr_equals_int(v->ir, type->dims[a], 1))
        return tsr_verify_fail(v, op, "operand %u is %s; it does not broadcast to %s", i,
                               tsr_verify_value_text(v, data->operands[i].value),
                               tsr_verify_value_text(v, data->results[0]));
  }
  if (rank != result->rank)
    return tsr_verify_fail(v, op, "the result has axes that no operand has");
  for (uint32_t a = 0; a < rank; a++) {
    bool found = tsr_expr_equals_int(v->ir, result->dims[a], 1);
    for (uint32_t i = 0; i < data->operand_count && !found; i++) {
      const tsr_type_info *type = operand_type(v, op, i);
      found = a + type->rank >= rank && type->dims[a + type->rank - rank] == result->dims[a];
    }
    if (!found)
      return tsr_verify_fail(v, op, "no operand has the result's extent along axis %u", a);
  }
  return TSR_OK;
}

tsr_status tsr_verify_dtypes(tsr_verifier *v, tsr_op op) {
  return tsr_verify_fail(v, op, "the dtypes of operands and result do not fit");
}

static tsr_status check_unary_dtypes(tsr_verifier *v, tsr_op op) {
  tsr_dtype from = operand_type(v, op, 0)->dtype, to = result_type(v, op, 0)->dtype;
  switch (data_of(v, op)->code) {
  case TSR_OP_CAST:
    return TSR_OK;
  case TSR_OP_BITCAST:
    return tsr_dtype_bits(from) == tsr_dtype_bits(to) ? TSR_OK : tsr_verify_dtypes(v, op);
  case TSR_OP_ISNAN:
  case TSR_OP_ISINF:
    return to == TSR_BOOL ? TSR_OK : tsr_verify_dtypes(v, op);
  case TSR_OP_NOT:
    return from == to && tsr_dtype_class_of(from) != TSR_CLASS_FLOAT ? TSR_OK
                                                                     : tsr_verify_dtypes(v, op);
  default:
    return from == to ? TSR_OK : tsr_verify_dtypes(v, op);
  }
}

static tsr_status check_elementwise_dtypes(tsr_verifier *v, tsr_op op) {
  tsr_opcode code = data_of(v, op)->code;
  tsr_op_kind kind = tsr_opcode_info(code)->kind;
  tsr_dtype to = result_type(v, op, 0)->dtype, a = operand_type(v, op, 0)->dtype, b;
  if (kind == TSR_KIND_UNARY)
    return check_unary_dtypes(v, op);
  b = operand_type(v, op, 1)->dtype;
  if (kind == TSR_KIND_TERNARY)
    return a == TSR_BOOL && b == to && operand_type(v, op, 2)->dtype == to
               ? TSR_OK
               : tsr_verify_dtypes(v, op);
  if (kind == TSR_KIND_COMPARE)
    return a == b && to == TSR_BOOL ? TSR_OK : tsr_verify_dtypes(v, op);
  if (code == TSR_OP_SHL || code == TSR_OP_SHR)
    return a == to && tsr_verify_is_integer(a) && tsr_verify_is_integer(b)
               ? TSR_OK
               : tsr_verify_dtypes(v, op);
  if (code == TSR_OP_POW)
    return a == to ? TSR_OK : tsr_verify_dtypes(v, op);
  return a == b && a == to ? TSR_OK : tsr_verify_dtypes(v, op);
}

static tsr_status check_elementwise(tsr_verifier *v, tsr_op op) {
  for (uint32_t i = 0; i < data_of(v, op)->operand_count; i++)
    TSR_TRY(tsr_verify_register(v, op, i));
  TSR_TRY(tsr_verify_result_level(v, op, 0));
  TSR_TRY(check_elementwise_dtypes(v, op));
  return check_broadcast(v, op);
}

/* --- graph ops --- */

static tsr_status check_graph_types(tsr_verifier *v, tsr_op op) {
  const tsr_op_data *data = data_of(v, op);
  tsr_type types[2] = {0, 0};
  tsr_diag found;
  tsr_status status;
  tsr_diag_clear(&found);
  for (uint32_t i = 0; i < data->operand_count; i++) {
    if (data->operands[i].subscripted && !(data->code == TSR_OP_RESIZE_DIM && i == 1))
      return tsr_verify_fail(v, op, "operand %u is an element; graph ops take whole tensors", i);
    if (operand_type(v, op, i)->level == TSR_LEVEL_NONE)
      return tsr_verify_fail(v, op, "operand %u is an index; graph ops take tensors", i);
  }
  TSR_TRY(tsr_verify_host_attrs(v, op));
  status = tsr_infer_types(v->ir, op, &found, types);
  if (status == TSR_ERR_OUT_OF_MEMORY)
    return status;
  if (status != TSR_OK)
    return tsr_verify_fail(v, op, "%s", found.message);
  for (uint32_t i = 0; i < data->result_count && i < 2; i++)
    if (types[i] != 0 &&
        !tsr_verify_same_shape(tsr_type_get(v->ir, types[i]), result_type(v, op, i)))
      return tsr_verify_fail(v, op, "result %u is %s; it must be %s", i,
                             tsr_verify_value_text(v, data->results[i]),
                             tsr_verify_type_text(v, types[i]));
  return TSR_OK;
}

/* --- subscripts --- */

/* The lanes of an expression must be axes of a tile of rank `rank`. */
bool tsr_verify_lanes_below(const tsr_verifier *v, tsr_expr expr, uint32_t rank) {
  tsr_expr_node node = tsr_expr_get(v->ir, expr);
  if (!tsr_expr_has(v->ir, expr, TSR_INDEX_LANE))
    return true;
  if (node.op == TSR_INDEX_LANE)
    return node.number < rank;
  return tsr_verify_lanes_below(v, node.a, rank) && tsr_verify_lanes_below(v, node.b, rank);
}

/* A tile inside brackets stands for its element at the lanes: it broadcasts to the tile moved. */
static bool lanes_cover(const tsr_verifier *v, const tsr_type_info *type, const tsr_expr *extents,
                        uint32_t rank) {
  if (type->rank > rank)
    return false;
  for (uint32_t a = 0; a < type->rank; a++)
    if (type->dims[a] != extents[a + rank - type->rank] &&
        !tsr_expr_equals_int(v->ir, type->dims[a], 1))
      return false;
  return true;
}

/* The dtype-less rule of values inside brackets: index variables, or integers where `indirect`. */
static tsr_status check_subscript_values(tsr_verifier *v, tsr_op op, tsr_expr expr, bool indirect,
                                         const tsr_expr *extents, uint32_t rank) {
  tsr_expr_node node = tsr_expr_get(v->ir, expr);
  const tsr_type_info *type;
  if (!tsr_expr_has(v->ir, expr, TSR_INDEX_VALUE))
    return TSR_OK;
  if (node.op != TSR_INDEX_VALUE) {
    TSR_TRY(check_subscript_values(v, op, node.a, indirect, extents, rank));
    return check_subscript_values(v, op, node.b, indirect, extents, rank);
  }
  type = tsr_value_type(v->ir, node.value);
  if (type->level == TSR_LEVEL_NONE)
    return TSR_OK;
  if (!indirect)
    return tsr_verify_fail(v, op, "a computed subscript needs gather_load or scatter_store");
  if (type->level != TSR_LEVEL_REG || !tsr_verify_is_integer(type->dtype))
    return tsr_verify_fail(v, op, "a computed subscript must be an integer scalar or tile");
  if (!lanes_cover(v, type, extents, rank))
    return tsr_verify_fail(v, op, "the subscript tile %s does not broadcast to the tile moved",
                           tsr_verify_value_text(v, node.value));
  return TSR_OK;
}

/* `extents`: of the tile or box that is moved. */
tsr_status tsr_verify_subscripts(tsr_verifier *v, tsr_op op, uint32_t number,
                                 const tsr_expr *extents, uint32_t tile_rank, bool indirect) {
  const tsr_operand *operand = &data_of(v, op)->operands[number];
  if (!operand->subscripted)
    return tsr_verify_fail(v, op, "operand %u needs subscripts", number);
  for (uint32_t i = 0; i < operand->subscript_count; i++) {
    if (!tsr_verify_lanes_below(v, operand->subscripts[i], tile_rank))
      return tsr_verify_fail(v, op, "subscript %u uses a lane that the tile of rank %u lacks", i,
                             tile_rank);
    TSR_TRY(check_subscript_values(v, op, operand->subscripts[i], indirect, extents, tile_rank));
  }
  return TSR_OK;
}

/* --- memory --- */

static tsr_status check_load(tsr_verifier *v, tsr_op op) {
  bool indirect = data_of(v, op)->code == TSR_OP_GATHER_LOAD;
  TSR_TRY(tsr_verify_word(v, op, "cache", CACHE_WORDS));
  TSR_TRY(tsr_verify_result_level(v, op, 0));
  TSR_TRY(tsr_verify_subscripts(v, op, 0, result_type(v, op, 0)->dims, result_type(v, op, 0)->rank,
                                indirect));
  if (operand_type(v, op, 0)->dtype != result_type(v, op, 0)->dtype)
    return tsr_verify_dtypes(v, op);
  return TSR_OK;
}

/* Blocks write their own results, kernels their out arguments and scratch. */
tsr_status tsr_verify_target(tsr_verifier *v, tsr_op op, uint32_t number) {
  tsr_value target = data_of(v, op)->operands[number].value;
  const tsr_value_data *value = tsr_value_get(v->ir, target);
  if (v->levels == TSR_AT_BLOCK && (value->region != 0 || value->def != v->container))
    return tsr_verify_fail(v, op, "a block stores only to its own results");
  if (v->levels == TSR_AT_TILE && value->role == TSR_ROLE_IN)
    return tsr_verify_fail(v, op, "operand %u is an input of the kernel and cannot be written",
                           number);
  if (v->levels == TSR_AT_TILE && value->role == TSR_ROLE_RESULT &&
      data_of(v, value->def)->code != TSR_OP_ALLOC)
    return tsr_verify_fail(v, op, "operand %u is neither an output nor scratch", number);
  return TSR_OK;
}

static tsr_status check_store(tsr_verifier *v, tsr_op op) {
  bool indirect = data_of(v, op)->code == TSR_OP_SCATTER_STORE;
  TSR_TRY(tsr_verify_register(v, op, 0));
  TSR_TRY(tsr_verify_subscripts(v, op, 1, operand_type(v, op, 0)->dims,
                                operand_type(v, op, 0)->rank, indirect));
  TSR_TRY(tsr_verify_target(v, op, 1));
  TSR_TRY(tsr_verify_word(v, op, "combine", "none add mul max min and or"));
  TSR_TRY(tsr_verify_word(v, op, "cache", CACHE_WORDS));
  if (operand_type(v, op, 0)->dtype != operand_type(v, op, 1)->dtype)
    return tsr_verify_dtypes(v, op);
  if (container_code(v) == TSR_OP_BLOCK && op_varies(v, op) != 0)
    return tsr_verify_fail(v, op, "what is stored still varies along a red index");
  return TSR_OK;
}

static tsr_status check_prefetch(tsr_verifier *v, tsr_op op) {
  const tsr_attr *shape = tsr_op_attr(v->ir, op, "shape");
  TSR_TRY(tsr_verify_subscripts(v, op, 0, shape->u.exprs, shape->count, false));
  const tsr_value_data *value = tsr_value_get(v->ir, data_of(v, op)->operands[0].value);
  return value->role == TSR_ROLE_IN ? TSR_OK : tsr_verify_target(v, op, 0);
}

static tsr_status check_append(tsr_verifier *v, tsr_op op) {
  TSR_TRY(tsr_verify_register(v, op, 0));
  TSR_TRY(tsr_verify_subscripts(v, op, 1, NULL, 0, false));
  TSR_TRY(tsr_verify_target(v, op, 1));
  if (operand_type(v, op, 0)->dtype != TSR_BOOL ||
      !tsr_verify_is_integer(operand_type(v, op, 1)->dtype) ||
      operand_type(v, op, 1)->dtype != result_type(v, op, 0)->dtype)
    return tsr_verify_dtypes(v, op);
  if (!same_dims(operand_type(v, op, 0), result_type(v, op, 0)))
    return tsr_verify_fail(v, op, "there is one position per element of operand 0");
  return TSR_OK;
}

/* --- reduce below the graph --- */

#define COMBINERS "add mul max min and or"

static uint32_t data_operands(const tsr_verifier *v, tsr_op op) {
  uint32_t count = 0;
  while (count < data_of(v, op)->operand_count &&
         operand_type(v, op, count)->level != TSR_LEVEL_NONE)
    count++;
  return count;
}

static tsr_op last_op(const tsr_verifier *v, tsr_region region) {
  return tsr_region_get(v->ir, region)->last;
}

/* Whether a value of type `from` may become one of type `to`. Extents of what regions of a graph
 * take and give are the host's to compare: those of a result may be dims that nothing else names.
 */
static bool may_become(const tsr_verifier *v, tsr_op op, const tsr_type_info *from,
                       const tsr_type_info *to) {
  tsr_opcode code = data_of(v, op)->code;
  int64_t a, b;
  if ((v->levels & (TSR_AT_GRAPH | TSR_AT_MODEL)) == 0 ||
      (code != TSR_OP_IF && code != TSR_OP_LOOP && code != TSR_OP_CALL))
    return tsr_verify_same_shape(from, to);
  if (from->level != to->level || !tsr_items_fit(from, to))
    return false;
  for (uint32_t i = 0; i < tsr_type_dim_count(to) && !tsr_type_of_host(to); i++)
    if (tsr_expr_is_int(v->ir, from->dims[i], &a) && tsr_expr_is_int(v->ir, to->dims[i], &b) &&
        a != b)
      return false;
  return true;
}

/* `op`'s region ends with a yield of values like the results, after `skip` other ones. */
static tsr_status check_yield(tsr_verifier *v, tsr_op op, tsr_region region, uint32_t skip) {
  const tsr_op_data *data = data_of(v, op);
  tsr_op yield = last_op(v, region);
  if (yield == 0 || data_of(v, yield)->code != TSR_OP_YIELD)
    return data->result_count + skip == 0
               ? TSR_OK
               : tsr_verify_fail(v, op, "a region of '%s' must end with 'yield'",
                                 tsr_opcode_info(data->code)->text);
  if (data_of(v, yield)->operand_count != data->result_count + skip)
    return tsr_verify_fail(v, yield, "%u values are yielded for %u results",
                           data_of(v, yield)->operand_count, data->result_count + skip);
  for (uint32_t i = 0; i < data->result_count; i++)
    if (!may_become(v, op, operand_type(v, yield, i + skip), result_type(v, op, i)))
      return tsr_verify_fail(v, yield, "value %u is %s; the result is %s", i + skip,
                             tsr_verify_value_text(v, data_of(v, yield)->operands[i + skip].value),
                             tsr_verify_value_text(v, data->results[i]));
  return TSR_OK;
}

static tsr_status check_combiner(tsr_verifier *v, tsr_op op, uint32_t count) {
  tsr_region region = data_of(v, op)->regions[0];
  const tsr_region_data *body = tsr_region_get(v->ir, region);
  if (body->arg_count != 2 * count)
    return tsr_verify_fail(v, op, "a combiner of %u values has %u arguments, not %u", count,
                           2 * count, body->arg_count);
  for (uint32_t i = 0; i < 2 * count; i++)
    if (!tsr_verify_same_shape(tsr_value_type(v->ir, body->args[i]),
                               operand_type(v, op, i % count)))
      return tsr_verify_fail(v, op, "argument %u of the combiner differs from operand %u", i,
                             i % count);
  for (tsr_op inner = body->first; inner != 0; inner = data_of(v, inner)->next) {
    tsr_opcode code = data_of(v, inner)->code;
    if (code != TSR_OP_YIELD && code != TSR_OP_CONST && !tsr_opcode_elementwise(code))
      return tsr_verify_fail(v, inner, "a combiner computes element by element");
  }
  return check_yield(v, op, region, 0);
}

static tsr_status check_over(tsr_verifier *v, tsr_op op, uint32_t first) {
  const tsr_op_data *data = data_of(v, op);
  for (uint32_t i = first; i < data->operand_count; i++) {
    const tsr_value_data *axis = tsr_value_get(v->ir, data->operands[i].value);
    if (axis->role != TSR_ROLE_RED || axis->def != v->container || data->operands[i].subscripted)
      return tsr_verify_fail(v, op, "over(...) lists red indices of the block");
  }
  return TSR_OK;
}

static tsr_status check_tile_axes(tsr_verifier *v, tsr_op op, uint32_t number) {
  const tsr_type_info *from = operand_type(v, op, number), *to = result_type(v, op, number);
  int64_t axes[TSR_MAX_RANK];
  uint32_t count, reduced = 0;
  if (!tsr_op_ints(v->ir, op, "axes", axes, TSR_MAX_RANK, &count) || to->rank != from->rank)
    return tsr_verify_fail(v, op, "'axes' lists axes of the tile, which the result keeps as 1");
  for (uint32_t i = 0; i < count; i++) {
    if (axes[i] < 0 || axes[i] >= from->rank)
      return tsr_verify_fail(v, op, "'axes' names axis %lld of a tile of rank %u",
                             (long long)axes[i], from->rank);
    reduced |= 1u << axes[i];
  }
  for (uint32_t a = 0; a < from->rank; a++)
    if ((reduced >> a & 1) != 0 ? !tsr_expr_equals_int(v->ir, to->dims[a], 1)
                                : to->dims[a] != from->dims[a])
      return tsr_verify_fail(v, op, "the result's axis %u does not fit", a);
  return TSR_OK;
}

static tsr_status check_identity(tsr_verifier *v, tsr_op op, uint32_t count) {
  const tsr_attr *identity = tsr_op_attr(v->ir, op, "identity");
  if (identity == NULL)
    return TSR_OK;
  if (data_of(v, op)->region_count == 0)
    return tsr_verify_fail(v, op, "'identity' belongs to a combiner region");
  if (identity->kind == TSR_ATTR_NUMBERS || identity->kind == TSR_ATTR_EXPRS
          ? identity->count != count
          : count != 1)
    return tsr_verify_fail(v, op, "'identity' has one number per value reduced");
  return TSR_OK;
}

static tsr_status check_reduce(tsr_verifier *v, tsr_op op) {
  const tsr_op_data *data = data_of(v, op);
  uint32_t count = data_operands(v, op);
  TSR_TRY(tsr_verify_word(v, op, "combine", COMBINERS));
  if ((tsr_op_attr(v->ir, op, "combine") != NULL) == (data->region_count == 1) ||
      data->region_count > 1)
    return tsr_verify_fail(v, op, "a reduce has 'combine' or one combiner region");
  if (count == 0 || data->result_count != count)
    return tsr_verify_fail(v, op, "%u values are reduced to %u results", count, data->result_count);
  for (uint32_t i = 0; i < count; i++) {
    TSR_TRY(tsr_verify_register(v, op, i));
    TSR_TRY(tsr_verify_result_level(v, op, i));
    if (operand_type(v, op, i)->dtype != result_type(v, op, i)->dtype)
      return tsr_verify_dtypes(v, op);
  }
  if (data->region_count == 1)
    TSR_TRY(check_combiner(v, op, count));
  TSR_TRY(check_identity(v, op, count));
  for (uint32_t i = 0; i < count && v->levels == TSR_AT_TILE; i++)
    TSR_TRY(check_tile_axes(v, op, i));
  if (v->levels == TSR_AT_TILE)
    return TSR_OK;
  for (uint32_t i = 0; i < count; i++)
    if (!is_scalar(operand_type(v, op, i)) || !is_scalar(result_type(v, op, i)))
      return tsr_verify_fail(v, op, "a block reduces scalars");
  return check_over(v, op, count);
}

/* --- control flow --- */

static tsr_status check_proc_only(tsr_verifier *v, tsr_op op) {
  if (v->levels == TSR_AT_BLOCK && container_code(v) == TSR_OP_BLOCK)
    return tsr_verify_fail(v, op, "the body of a block is straight code; use 'proc'");
  return TSR_OK;
}

/* Operand, carried argument and result of the same position agree. */
static tsr_status check_carried(tsr_verifier *v, tsr_op op) {
  const tsr_op_data *data = data_of(v, op);
  const tsr_region_data *body = tsr_region_get(v->ir, data->regions[0]);
  uint32_t carried = 0;
  for (uint32_t i = 0; i < body->arg_count; i++) {
    if (tsr_value_get(v->ir, body->args[i])->role != TSR_ROLE_CARRIED)
      continue;
    if (carried >= data->operand_count || carried >= data->result_count ||
        data->operands[carried].subscripted ||
        !may_become(v, op, operand_type(v, op, carried), tsr_value_type(v->ir, body->args[i])) ||
        !may_become(v, op, tsr_value_type(v->ir, body->args[i]), result_type(v, op, carried)))
      return tsr_verify_fail(v, op, "carried value %u, its start and its result differ", carried);
    carried++;
  }
  if (carried != data->operand_count || carried != data->result_count)
    return tsr_verify_fail(v, op, "%u values are carried, %u start, %u result", carried,
                           data->operand_count, data->result_count);
  return TSR_OK;
}

static tsr_status check_for(tsr_verifier *v, tsr_op op) {
  const tsr_region_data *body = tsr_region_get(v->ir, data_of(v, op)->regions[0]);
  uint32_t loops = 0;
  TSR_TRY(check_proc_only(v, op));
  for (uint32_t i = 0; i < body->arg_count; i++)
    loops += tsr_value_get(v->ir, body->args[i])->role == TSR_ROLE_LOOP;
  if (loops != 1)
    return tsr_verify_fail(v, op, "a 'for' has one index");
  TSR_TRY(check_carried(v, op));
  return check_yield(v, op, data_of(v, op)->regions[0], 0);
}

static bool is_condition(const tsr_verifier *v, tsr_op op, uint32_t number) {
  const tsr_type_info *type = operand_type(v, op, number);
  return type->dtype == TSR_BOOL && type->rank == 0 &&
         !data_of(v, op)->operands[number].subscripted;
}

static tsr_status check_if(tsr_verifier *v, tsr_op op) {
  const tsr_op_data *data = data_of(v, op);
  TSR_TRY(check_proc_only(v, op));
  if ((tsr_op_attr(v->ir, op, "cond") != NULL) == (data->operand_count == 1))
    return tsr_verify_fail(v, op, "an 'if' has 'cond' or one operand");
  if (data->operand_count == 1 && !is_condition(v, op, 0))
    return tsr_verify_fail(v, op, "the condition must be a bool of rank 0");
  if (data->region_count < 1 || data->region_count > 2 ||
      (data->result_count != 0 && data->region_count != 2))
    return tsr_verify_fail(v, op, "an 'if' has one region, or two that yield its results");
  for (uint32_t i = 0; i < data->region_count; i++)
    TSR_TRY(check_yield(v, op, data->regions[i], 0));
  return TSR_OK;
}

static tsr_status check_loop(tsr_verifier *v, tsr_op op) {
  tsr_region body = data_of(v, op)->regions[0];
  TSR_TRY(check_proc_only(v, op));
  TSR_TRY(check_carried(v, op));
  TSR_TRY(check_yield(v, op, body, 1));
  if (!is_condition(v, last_op(v, body), 0))
    return tsr_verify_fail(v, op, "the first yielded value must be a bool of rank 0");
  return TSR_OK;
}

static tsr_status check_yield_place(tsr_verifier *v, tsr_op op) {
  tsr_opcode around = data_of(v, parent_of(v, op))->code;
  if (around != TSR_OP_FOR && around != TSR_OP_IF && around != TSR_OP_LOOP &&
      around != TSR_OP_GROUP && around != TSR_OP_REDUCE)
    return tsr_verify_fail(v, op, "'yield' ends regions of for, if, loop, group and reduce");
  for (uint32_t i = 0; i < data_of(v, op)->operand_count; i++)
    if (data_of(v, op)->operands[i].subscripted)
      return tsr_verify_fail(v, op, "'yield' takes whole values");
  return TSR_OK;
}

/* --- containers --- */

static bool writes_to(const tsr_verifier *v, tsr_region region, tsr_value target) {
  for (tsr_op op = tsr_region_get(v->ir, region)->first; op != 0; op = data_of(v, op)->next) {
    const tsr_op_data *data = data_of(v, op);
    bool writes = data->code == TSR_OP_STORE || data->code == TSR_OP_SCATTER_STORE ||
                  data->code == TSR_OP_APPEND;
    if (writes && data->operands[1].value == target)
      return true;
    for (uint32_t i = 0; i < data->region_count; i++)
      if (writes_to(v, data->regions[i], target))
        return true;
  }
  return false;
}

static tsr_status check_block(tsr_verifier *v, tsr_op op) {
  const tsr_op_data *data = data_of(v, op);
  if (data->result_count == 0)
    return tsr_verify_fail(v, op, "a block without results computes nothing");
  for (uint32_t i = 0; i < data->result_count; i++) {
    if (result_type(v, op, i)->level == TSR_LEVEL_NONE)
      return tsr_verify_fail(v, op, "result %u is an index; a block's results are buffers", i);
    if (!writes_to(v, data->regions[0], data->results[i]))
      return tsr_verify_fail(v, op, "result %u is never stored", i);
  }
  return TSR_OK;
}

static tsr_status check_symbol(tsr_verifier *v, tsr_op op) {
  const tsr_op_data *data = data_of(v, op);
  if (data->symbol == NULL)
    return tsr_verify_fail(v, op, "a name (@name) is missing");
  for (tsr_op other = tsr_region_get(v->ir, tsr_ir_top(v->ir))->first; other != op;
       other = data_of(v, other)->next)
    if (data_of(v, other)->code == data->code && data_of(v, other)->symbol == data->symbol)
      return tsr_verify_fail(v, op, "@%s is defined twice", data->symbol);
  return TSR_OK;
}

static tsr_status check_kernel(tsr_verifier *v, tsr_op op) {
  const tsr_region_data *body = tsr_region_get(v->ir, data_of(v, op)->regions[0]);
  const tsr_attr *cluster = tsr_op_attr(v->ir, op, "cluster");
  uint32_t grid = 0;
  TSR_TRY(check_symbol(v, op));
  for (uint32_t i = 0; i < body->arg_count; i++)
    grid += tsr_value_get(v->ir, body->args[i])->role == TSR_ROLE_GRID;
  if (cluster != NULL && cluster->count != grid)
    return tsr_verify_fail(v, op, "'cluster' has %u extents for a grid of %u", cluster->count,
                           grid);
  for (uint32_t i = 0; i < body->arg_count; i++) {
    const tsr_value_data *arg = tsr_value_get(v->ir, body->args[i]);
    if (arg->role != TSR_ROLE_GRID && tsr_type_get(v->ir, arg->type)->level != TSR_LEVEL_GLOBAL)
      return tsr_verify_fail(v, op, "argument %u of a kernel must live in global memory", i);
  }
  return TSR_OK;
}

static tsr_status check_boundary(tsr_verifier *v, tsr_op op) {
  const tsr_op_data *data = data_of(v, op);
  tsr_opcode around = data_of(v, parent_of(v, op))->code;
  if (around != TSR_OP_GRAPH && around != TSR_OP_MODEL)
    return tsr_verify_fail(v, op, "'%s' stands directly in a graph",
                           tsr_opcode_info(data->code)->text);
  if (data->code == TSR_OP_INPUT && result_type(v, op, 0)->level != TSR_LEVEL_GLOBAL &&
      !tsr_type_of_host(result_type(v, op, 0)))
    return tsr_verify_fail(v, op, "an input lives in global memory");
  if (data->code == TSR_OP_OUTPUT &&
      (data->operands[0].subscripted || operand_type(v, op, 0)->level == TSR_LEVEL_NONE))
    return tsr_verify_fail(v, op, "an output is a whole tensor");
  return TSR_OK;
}

/* A packed port holds the bytes of what the call passes, which `packed` and `shape` describe. */
static bool port_fits(const tsr_verifier *v, tsr_op op, tsr_op port, const tsr_type_info *outside) {
  const tsr_attr *packed = tsr_op_attr(v->ir, port, "packed");
  const tsr_attr *shape = tsr_op_attr(v->ir, port, "shape");
  bool in = data_of(v, port)->code == TSR_OP_INPUT;
  tsr_type_info inside = *(in ? result_type(v, port, 0) : operand_type(v, port, 0));
  if (packed != NULL) {
    inside.dtype = packed->u.dtype;
    inside.rank = shape == NULL ? 0 : shape->count;
    inside.dims = shape == NULL ? NULL : shape->u.exprs;
  }
  return in ? may_become(v, op, outside, &inside) : may_become(v, op, &inside, outside);
}

/* The inputs (or outputs) of a graph beside the operands (or results) of a call, in order. */
static tsr_status check_call_ports(tsr_verifier *v, tsr_op op, tsr_op graph, tsr_opcode port) {
  const tsr_op_data *data = data_of(v, op);
  bool in = port == TSR_OP_INPUT;
  uint32_t have = in ? data->operand_count : data->result_count, count = 0;
  for (tsr_op inner = tsr_region_get(v->ir, data_of(v, graph)->regions[0])->first; inner != 0;
       inner = data_of(v, inner)->next) {
    const tsr_type_info *outside;
    if (data_of(v, inner)->code != port)
      continue;
    if (count >= have)
      return tsr_verify_fail(v, op, "the graph has more than %u %s", have,
                             in ? "inputs" : "outputs");
    outside = in ? operand_type(v, op, count) : result_type(v, op, count);
    if (!port_fits(v, op, inner, outside))
      return tsr_verify_fail(
          v, op, "%s %u is %s; the graph's is %s", in ? "operand" : "result", count,
          tsr_verify_value_text(v, in ? data->operands[count].value : data->results[count]),
          tsr_verify_value_text(v, in ? data_of(v, inner)->results[0]
                                      : data_of(v, inner)->operands[0].value));
    count++;
  }
  return count == have ? TSR_OK
                       : tsr_verify_fail(v, op, "%u %s for a graph with %u", have,
                                         in ? "operands" : "results", count);
}

static tsr_status check_call(tsr_verifier *v, tsr_op op) {
  const char *symbol = tsr_op_string(v->ir, op, "graph");
  for (tsr_op graph = tsr_region_get(v->ir, tsr_ir_top(v->ir))->first; graph != 0;
       graph = data_of(v, graph)->next) {
    if (data_of(v, graph)->code != TSR_OP_GRAPH || data_of(v, graph)->symbol != symbol)
      continue;
    TSR_TRY(check_call_ports(v, op, graph, TSR_OP_INPUT));
    return check_call_ports(v, op, graph, TSR_OP_OUTPUT);
  }
  return tsr_verify_fail(v, op, "there is no graph @%s", symbol);
}

/* A kernel may see the elements of a dense tensor under another shape, with dims merged or split,
 * and those narrower than a byte as words. */
static bool sees(const tsr_type_info *have, const tsr_type_info *want) {
  return have->dtype == want->dtype ||
         (tsr_dtype_bits(have->dtype) < 8 && tsr_dtype_class_of(want->dtype) == TSR_CLASS_UINT);
}

/* A result that takes over an operand's memory is no argument of its own. */
static bool is_argument(const tsr_verifier *v, tsr_op op, uint32_t number) {
  const tsr_attr *alias = tsr_op_attr(v->ir, op, "alias");
  uint32_t operands = data_of(v, op)->operand_count;
  return number < operands || alias == NULL ||
         tsr_expr_equals_int(v->ir, alias->u.exprs[number - operands], -1);
}

/* The number-th argument that a launch passes: operands, then results. NULL past the end. */
static const tsr_type_info *passed_type(const tsr_verifier *v, tsr_op op, uint32_t number) {
  const tsr_op_data *data = data_of(v, op);
  uint32_t all = data->operand_count + data->result_count;
  for (uint32_t i = 0; i < all; i++)
    if (is_argument(v, op, i) && number-- == 0)
      return i < data->operand_count ? operand_type(v, op, i)
                                     : result_type(v, op, i - data->operand_count);
  return NULL;
}

static tsr_status check_launch_kernel(tsr_verifier *v, tsr_op op, const char *symbol) {
  tsr_op kernel = tsr_ir_find_symbol(v->ir, symbol);
  const tsr_region_data *body;
  uint32_t number = 0, given = 0;
  if (kernel == 0 || data_of(v, kernel)->code != TSR_OP_KERNEL)
    return TSR_OK;
  while (passed_type(v, op, given) != NULL)
    given++;
  body = tsr_region_get(v->ir, data_of(v, kernel)->regions[0]);
  for (uint32_t i = 0; i < body->arg_count; i++) {
    if (tsr_value_get(v->ir, body->args[i])->role == TSR_ROLE_GRID)
      continue;
    if (number >= given)
      return tsr_verify_fail(v, op, "@%s takes more than %u arguments", symbol, given);
    if (!sees(passed_type(v, op, number), tsr_value_type(v->ir, body->args[i])))
      return tsr_verify_fail(v, op, "argument %u of @%s differs in dtype", number, symbol);
    number++;
  }
  return number == given ? TSR_OK
                         : tsr_verify_fail(v, op, "@%s takes %u arguments, %u are given", symbol,
                                           number, given);
}

static tsr_status check_launch_lists(tsr_verifier *v, tsr_op op) {
  const tsr_op_data *data = data_of(v, op);
  const tsr_attr *alias = tsr_op_attr(v->ir, op, "alias"), *zero = tsr_op_attr(v->ir, op, "zero");
  int64_t number;
  for (uint32_t i = 0; zero != NULL && i < zero->count; i++)
    if (!tsr_expr_is_int(v->ir, zero->u.exprs[i], &number) || number < 0 ||
        number >= data->result_count)
      return tsr_verify_fail(v, op, "'zero' lists numbers of results");
  if (alias == NULL)
    return TSR_OK;
  if (alias->count != data->result_count)
    return tsr_verify_fail(v, op, "'alias' has one operand or -1 per result");
  for (uint32_t i = 0; i < alias->count; i++)
    if (!tsr_expr_is_int(v->ir, alias->u.exprs[i], &number) || number < -1 ||
        number >= data->operand_count ||
        (number >= 0 &&
         !tsr_verify_same_shape(operand_type(v, op, (uint32_t)number), result_type(v, op, i))))
      return tsr_verify_fail(v, op, "result %u cannot take the memory of that operand", i);
    else if (number >= 0)
      v->visible[data->operands[number].value] = TSR_VERIFY_TAKEN;
  return TSR_OK;
}

static tsr_status check_launch(tsr_verifier *v, tsr_op op) {
  const tsr_op_data *data = data_of(v, op);
  const tsr_attr *kernels = tsr_op_attr(v->ir, op, "kernels");
  const tsr_attr *guards = tsr_op_attr(v->ir, op, "guards");
  if ((data->symbol == NULL) == (kernels == NULL))
    return tsr_verify_fail(v, op, "a launch names its kernel, or lists 'kernels'");
  if (kernels != NULL && kernels->count != (guards == NULL ? 0 : guards->count) + 1)
    return tsr_verify_fail(v, op, "there is one guard less than kernels");
  if (kernels == NULL && guards != NULL)
    return tsr_verify_fail(v, op, "'guards' choose from 'kernels'");
  TSR_TRY(check_launch_lists(v, op));
  if (kernels == NULL)
    return check_launch_kernel(v, op, data->symbol);
  for (uint32_t i = 0; i < kernels->count; i++)
    TSR_TRY(check_launch_kernel(v, op, kernels->u.strings[i]));
  return TSR_OK;
}

/* --- sources --- */

static bool static_elements(const tsr_verifier *v, const tsr_type_info *type, int64_t *out) {
  *out = 1;
  for (uint32_t i = 0; i < type->rank; i++) {
    int64_t dim;
    if (!tsr_expr_is_int(v->ir, type->dims[i], &dim) || __builtin_mul_overflow(*out, dim, out))
      return false;
  }
  return true;
}

static tsr_status check_const(tsr_verifier *v, tsr_op op) {
  const tsr_type_info *type = result_type(v, op, 0);
  const tsr_attr *value = tsr_op_attr(v->ir, op, "value");
  const tsr_attr *number = tsr_op_attr(v->ir, op, "data");
  int64_t elements;
  bool fixed = static_elements(v, type, &elements);
  if ((value != NULL) + (number != NULL) + (tsr_op_attr(v->ir, op, "random") != NULL) +
          (tsr_op_attr(v->ir, op, "elided") != NULL) !=
      1)
    return tsr_verify_fail(v, op, "a const has one of value, random, data, elided");
  if (type->level == TSR_LEVEL_NONE)
    return tsr_verify_fail(v, op, "a const is a tensor, a tile or a scalar");
  if (value != NULL && (value->kind == TSR_ATTR_EXPRS || value->kind == TSR_ATTR_NUMBERS) &&
      (!fixed || value->count != elements))
    return tsr_verify_fail(v, op, "a list of %u values does not fill %s", value->count,
                           tsr_verify_value_text(v, data_of(v, op)->results[0]));
  if (number != NULL) {
    int64_t id = number->u.integer;
    const tsr_const_data *data = tsr_const_get(v->ir, id < 0 || id > UINT32_MAX ? 0 : (uint32_t)id);
    if (data->dtype != type->dtype || !fixed ||
        (uint64_t)tsr_dtype_bytes(type->dtype, elements) != data->bytes)
      return tsr_verify_fail(v, op, "the constant's bytes do not fill its type");
  }
  if (tsr_type_of_host(type))
    return tsr_verify_fail(v, op, "a const is a tensor, a tile or a scalar");
  return (v->levels & (TSR_AT_GRAPH | TSR_AT_MODEL)) != 0 ? TSR_OK
                                                          : tsr_verify_result_level(v, op, 0);
}

static tsr_status check_index_op(tsr_verifier *v, tsr_op op) {
  const tsr_attr *value = tsr_op_attr(v->ir, op, "value");
  const tsr_type_info *type = result_type(v, op, 0);
  if (tsr_dtype_class_of(type->dtype) == TSR_CLASS_BOOL || type->dtype == TSR_DTYPE_NONE)
    return tsr_verify_fail(v, op, "an index becomes a number");
  if (v->levels == TSR_AT_GRAPH) {
    bool fixed =
        value->kind == TSR_ATTR_INT || (!tsr_expr_has(v->ir, value->u.expr, TSR_INDEX_VALUE) &&
                                        !tsr_expr_has(v->ir, value->u.expr, TSR_INDEX_LANE));
    return type->rank == 0 && fixed
               ? TSR_OK
               : tsr_verify_fail(v, op, "in a graph an index is made of dims and has rank 0");
  }
  if (value->kind == TSR_ATTR_EXPR && !tsr_verify_lanes_below(v, value->u.expr, type->rank))
    return tsr_verify_fail(v, op, "the value uses a lane that the result lacks");
  return tsr_verify_result_level(v, op, 0);
}

/* --- the table --- */

typedef tsr_status op_rule(tsr_verifier *v, tsr_op op);

static op_rule *const rules[TSR_OP_COUNT] = {
    [TSR_OP_GRAPH] = check_symbol,
    [TSR_OP_MODEL] = check_symbol,
    [TSR_OP_CALL] = check_call,
    [TSR_OP_PLAN] = check_symbol,
    [TSR_OP_KERNEL] = check_kernel,
    [TSR_OP_INPUT] = check_boundary,
    [TSR_OP_OUTPUT] = check_boundary,
    [TSR_OP_BLOCK] = check_block,
    [TSR_OP_PROC] = check_block,
    [TSR_OP_LAUNCH] = check_launch,
    [TSR_OP_FOR] = check_for,
    [TSR_OP_IF] = check_if,
    [TSR_OP_LOOP] = check_loop,
    [TSR_OP_YIELD] = check_yield_place,
    [TSR_OP_CONST] = check_const,
    [TSR_OP_INDEX] = check_index_op,
    [TSR_OP_LOAD] = check_load,
    [TSR_OP_GATHER_LOAD] = check_load,
    [TSR_OP_STORE] = check_store,
    [TSR_OP_SCATTER_STORE] = check_store,
    [TSR_OP_PREFETCH] = check_prefetch,
    [TSR_OP_APPEND] = check_append,
    [TSR_OP_ALLOC] = tsr_verify_alloc,
    [TSR_OP_COPY] = tsr_verify_copy,
    [TSR_OP_FRAGMENT] = tsr_verify_fragment,
    [TSR_OP_CONTRACT] = tsr_verify_contract,
    [TSR_OP_TILE_SLICE] = tsr_verify_tile_slice,
    [TSR_OP_ROLES] = tsr_verify_roles,
    [TSR_OP_BARRIER] = tsr_verify_barrier,
    [TSR_OP_MBARRIER] = tsr_verify_mbarrier,
    [TSR_OP_ARRIVE] = tsr_verify_arrive,
    [TSR_OP_WAIT] = tsr_verify_wait,
    [TSR_OP_DECODE] = tsr_verify_decode,
};

static tsr_status check_group(tsr_verifier *v, tsr_op op) {
  return check_yield(v, op, data_of(v, op)->regions[0], 0);
}

tsr_status tsr_verify_op(tsr_verifier *v, tsr_op op) {
  tsr_opcode code = data_of(v, op)->code;
  note_varies(v, op);
  if (rules[code] != NULL)
    return rules[code](v, op);
  if (code == TSR_OP_GROUP)
    return check_group(v, op);
  if ((v->levels & (TSR_AT_GRAPH | TSR_AT_MODEL)) != 0 &&
      tsr_opcode_info(code)->kind != TSR_KIND_STRUCTURE)
    return check_graph_types(v, op);
  if (tsr_opcode_elementwise(code))
    return check_elementwise(v, op);
  if (code == TSR_OP_REDUCE)
    return check_reduce(v, op);
  if (code == TSR_OP_TRANSPOSE)
    return tsr_verify_tile_transpose(v, op);
  if (code == TSR_OP_RELAYOUT)
    return tsr_verify_tile_relayout(v, op);
  return TSR_OK;
}
