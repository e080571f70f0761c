/* Which thread holds which element. Layouts come from the uses of a value: a sweep from the end of
 * the kernel to its start tells every operand what its user would like. What contractions and the
 * variables of loops have settled by it is then carried on to what is made of them, and a second
 * sweep asks for all the rest. */
#include "codegen/cuda/emit.h"
#include <string.h>

static uint32_t power_at_least(uint32_t number) {
  uint32_t power = 1;
  while (power < number)
    power *= 2;
  return power;
}

static uint32_t along(const tsr_cu_layout *l, uint32_t extent, uint32_t axis) {
  if (extent == 1)
    return 1;
  uint32_t turn = (uint32_t)l->threads[axis] * l->vector[axis];
  return (extent + turn - 1) / turn * l->vector[axis];
}

uint32_t tsr_cu_registers_along(const tsr_cu_tile *tile, uint32_t axis) {
  return along(&tile->layout, tile->extents[axis], axis);
}

uint32_t tsr_cu_registers(const tsr_cu_tile *tile) {
  uint32_t count = 1;
  for (uint32_t axis = 0; axis < tile->rank; ++axis)
    count *= tsr_cu_registers_along(tile, axis);
  return count;
}

uint64_t tsr_cu_elements(const tsr_cu_tile *tile) {
  uint64_t count = 1;
  for (uint32_t axis = 0; axis < tile->rank; ++axis)
    count *= tile->extents[axis];
  return count;
}

bool tsr_cu_exact(const tsr_cu_tile *tile, uint32_t axis) {
  return tile->extents[axis] == 1 ||
         tile->extents[axis] == tsr_cu_registers_along(tile, axis) * tile->layout.threads[axis];
}

bool tsr_cu_same_layout(const tsr_cu_tile *tile, const tsr_cu_layout *layout) {
  const tsr_cu_layout *own = &tile->layout;
  for (uint32_t axis = 0; axis < tile->rank; ++axis)
    if (tile->extents[axis] > 1 &&
        (own->threads[axis] != layout->threads[axis] || own->vector[axis] != layout->vector[axis] ||
         (own->threads[axis] > 1 && own->stride[axis] != layout->stride[axis])))
      return false;
  return true;
}

/* Every axis in every thread. */
static tsr_cu_layout replicated(void) {
  tsr_cu_layout l;
  for (uint32_t axis = 0; axis < TSR_MAX_RANK; ++axis)
    l.threads[axis] = l.stride[axis] = l.vector[axis] = 1;
  return l;
}

tsr_cu_layout tsr_cu_default_layout(uint32_t threads, const uint32_t *extents, uint32_t rank) {
  tsr_cu_layout l = replicated();
  uint32_t stride = 1;
  for (uint32_t axis = 0; axis < rank && stride < threads; ++axis) {
    uint32_t wide = power_at_least(extents[axis]), left = threads / stride;
    l.threads[axis] = (uint16_t)(wide < left ? wide : left);
    l.stride[axis] = (uint16_t)stride;
    stride *= l.threads[axis];
  }
  return l;
}

tsr_cu_layout tsr_cu_matrix_layout(uint32_t threads, uint32_t rows, uint32_t columns) {
  tsr_cu_layout l = replicated();
  uint32_t across = 1, most = power_at_least(columns), down = power_at_least(rows);
  while (across < threads && across < most &&
         (uint64_t)across * across * rows < (uint64_t)threads * columns)
    across *= 2;
  while (across < most && across < threads && threads / across > down)
    across *= 2;
  l.threads[0] = (uint16_t)across;
  l.threads[1] = (uint16_t)(threads / across < down ? threads / across : down);
  l.stride[1] = (uint16_t)across;
  return l;
}

tsr_cu_layout tsr_cu_operand_layout(const tsr_cu_layout *matrix, bool is_a) {
  tsr_cu_layout l = *matrix;
  uint32_t depth = is_a ? 0 : 1;
  l.threads[depth] = l.stride[depth] = l.vector[depth] = 1;
  return l;
}

/* --- what uses want --- */

static bool is_tile(const tsr_cu *e, tsr_value value) {
  const tsr_type_info *type = tsr_value_type(e->ir, value);
  return type->level == TSR_LEVEL_REG && type->dtype != TSR_DTYPE_NONE;
}

static void want(tsr_cu *e, tsr_value value, const tsr_cu_layout *layout) {
  if (is_tile(e, value) && !e->wanted[value] && layout)
    e->wanted[value] = layout;
}

static void insist(tsr_cu *e, tsr_value value, tsr_cu_layout layout) {
  tsr_cu_layout *kept = tsr_cu_alloc(e, 1, sizeof *kept);
  *kept = layout;
  e->wanted[value] = kept;
}

static const tsr_cu_layout *settle(tsr_cu *e, tsr_value value) {
  if (!e->wanted[value]) {
    tsr_cu_tile tile = tsr_cu_tile_of_type(e, tsr_value_get(e->ir, value)->type);
    insist(e, value, tsr_cu_default_layout(e->threads, tile.extents, tile.rank));
  }
  return e->wanted[value];
}

/* Tiles inside subscripts are read where the tile that they index is. */
static void want_in_expr(tsr_cu *e, tsr_expr expr, const tsr_cu_layout *layout) {
  tsr_expr_node node = tsr_expr_get(e->ir, expr);
  if (node.op == TSR_INDEX_VALUE)
    want(e, node.value, layout);
  else if (node.op != TSR_INDEX_INT && node.op != TSR_INDEX_DIM && node.op != TSR_INDEX_LANE) {
    want_in_expr(e, node.a, layout);
    want_in_expr(e, node.b, layout);
  }
}

static void want_in_subscripts(tsr_cu *e, const tsr_op_data *op, const tsr_cu_layout *layout) {
  for (uint32_t i = 0; i < op->operand_count; ++i)
    for (uint32_t s = 0; s < op->operands[i].subscript_count; ++s)
      want_in_expr(e, op->operands[i].subscripts[s], layout);
}

static void want_contract(tsr_cu *e, const tsr_op_data *op) {
  tsr_cu_tile acc = tsr_cu_tile_of_type(e, tsr_value_get(e->ir, op->results[0])->type);
  if (acc.rank != 2)
    return;
  acc.layout = tsr_cu_matrix_layout(e->threads, acc.extents[1], acc.extents[0]);
  insist(e, op->results[0], acc.layout);
  want(e, op->operands[2].value, e->wanted[op->results[0]]);
  for (uint32_t i = 0; i < 2; ++i) {
    tsr_value value = op->operands[i].value;
    if (!is_tile(e, value) || op->operands[i].subscripted || e->wanted[value])
      continue;
    tsr_cu_tile tile = tsr_cu_tile_of_type(e, tsr_value_get(e->ir, value)->type);
    tile.layout = tsr_cu_operand_layout(&acc.layout, i == 0);
    if (tsr_cu_registers(&tile) <= TSR_CU_OPERAND_REGISTERS)
      insist(e, value, tile.layout);
  }
}

static void want_transpose(tsr_cu *e, tsr_op id, const tsr_op_data *op) {
  int64_t perm[TSR_MAX_RANK];
  uint32_t count = 0;
  const tsr_cu_layout *to = settle(e, op->results[0]);
  if (!tsr_op_ints(e->ir, id, "perm", perm, TSR_MAX_RANK, &count))
    return;
  tsr_cu_layout from = replicated();
  for (uint32_t i = 0; i < count; ++i) {
    if (perm[i] < 0 || perm[i] >= count)
      return;
    uint32_t axis = count - 1 - i, source = count - 1 - (uint32_t)perm[i];
    from.threads[source] = to->threads[axis];
    from.stride[source] = to->stride[axis];
    from.vector[source] = to->vector[axis];
  }
  if (!e->wanted[op->operands[0].value])
    insist(e, op->operands[0].value, from);
}

/* A full operand whose layout is settled decides for an elementwise op: with it go the others. */
static void keep_layouts(tsr_cu *e, const tsr_op_data *op) {
  if (!tsr_opcode_elementwise(op->code))
    return;
  tsr_type type = tsr_value_get(e->ir, op->results[0])->type;
  tsr_cu_tile result = tsr_cu_tile_of_type(e, type);
  for (uint32_t i = 0; i < op->operand_count; ++i) {
    tsr_value value = op->operands[i].value;
    if (!e->wanted[value])
      continue;
    tsr_cu_tile tile = tsr_cu_tile_of_type(e, tsr_value_get(e->ir, value)->type);
    if (tsr_cu_elements(&tile) == tsr_cu_elements(&result)) {
      e->wanted[op->results[0]] = e->wanted[value];
      return;
    }
  }
}

static void sweep(tsr_cu *e, tsr_region region, const tsr_value *targets);

/* Carried values and results are one variable each. */
static void want_loop(tsr_cu *e, const tsr_op_data *op) {
  const tsr_region_data *region = tsr_region_get(e->ir, op->regions[0]);
  const uint32_t first = op->code == TSR_OP_FOR ? 1 : 0;
  sweep(e, op->regions[0], op->results);
  for (uint32_t i = 0; i < op->result_count && first + i < region->arg_count; ++i) {
    tsr_value argument = region->args[first + i];
    want(e, argument, e->wanted[op->results[i]]);
    const tsr_cu_layout *layout = settle(e, argument);
    e->wanted[op->results[i]] = layout;
    want(e, op->operands[i].value, layout);
  }
}

static void want_op(tsr_cu *e, tsr_op id, const tsr_value *targets) {
  const tsr_op_data *op = tsr_op_get(e->ir, id);
  switch (op->code) {
  case TSR_OP_FOR:
  case TSR_OP_LOOP:
    want_loop(e, op);
    return;
  case TSR_OP_IF:
    for (uint32_t i = 0; i < op->region_count; ++i)
      sweep(e, op->regions[i], op->results);
    return;
  case TSR_OP_ROLES:
    for (uint32_t i = 0; i < op->region_count; ++i) {
      tsr_cu_team outer;
      tsr_cu_enter_role(e, id, i, &outer);
      sweep(e, op->regions[i], NULL);
      tsr_cu_leave_role(e, &outer);
    }
    return;
  case TSR_OP_YIELD: {
    uint32_t results = targets ? op->operand_count : 0;
    tsr_op around = tsr_region_get(e->ir, op->parent)->parent;
    uint32_t skip = tsr_op_get(e->ir, around)->code == TSR_OP_LOOP ? 1 : 0;
    for (uint32_t i = skip; i < results; ++i)
      want(e, op->operands[i].value, e->wanted[targets[i - skip]]);
    return;
  }
  case TSR_OP_CONTRACT:
    want_contract(e, op);
    return;
  case TSR_OP_TRANSPOSE:
    want_transpose(e, id, op);
    return;
  case TSR_OP_REDUCE:
    for (uint32_t i = 0; i < op->operand_count; ++i)
      settle(e, op->operands[i].value);
    return;
  case TSR_OP_APPEND:
    want(e, op->operands[0].value, settle(e, op->results[0]));
    return;
  case TSR_OP_STORE:
  case TSR_OP_SCATTER_STORE:
    want_in_subscripts(e, op, settle(e, op->operands[0].value));
    return;
  case TSR_OP_LOAD:
  case TSR_OP_GATHER_LOAD:
    want_in_subscripts(e, op, settle(e, op->results[0]));
    return;
  default:
    break;
  }
  if (tsr_opcode_elementwise(op->code))
    for (uint32_t i = 0; i < op->operand_count; ++i)
      want(e, op->operands[i].value, settle(e, op->results[0]));
}

static void sweep(tsr_cu *e, tsr_region region, const tsr_value *targets) {
  for (tsr_op id = tsr_region_get(e->ir, region)->last; id != 0; id = tsr_op_get(e->ir, id)->prev)
    want_op(e, id, targets);
}

static void carry_on(tsr_cu *e, tsr_region region) {
  TSR_FOR_EACH_OP (e->ir, region, id) {
    const tsr_op_data *op = tsr_op_get(e->ir, id);
    for (uint32_t i = 0; i < op->region_count; ++i)
      carry_on(e, op->regions[i]);
    keep_layouts(e, op);
  }
}

/* What contractions and the variables of loops have settled stays, the rest is asked anew. */
static void forget(tsr_cu *e, tsr_region region) {
  TSR_FOR_EACH_OP (e->ir, region, id) {
    const tsr_op_data *op = tsr_op_get(e->ir, id);
    for (uint32_t i = 0; i < op->region_count; ++i)
      forget(e, op->regions[i]);
    bool keeps = op->code == TSR_OP_CONTRACT || op->code == TSR_OP_FOR || op->code == TSR_OP_LOOP;
    for (uint32_t i = 0; i < op->result_count && !keeps; ++i)
      e->wanted[op->results[i]] = NULL;
  }
}

void tsr_cu_choose_layouts(tsr_cu *e, tsr_region region) {
  sweep(e, region, NULL);
  forget(e, region);
  carry_on(e, region);
  sweep(e, region, NULL);
}

tsr_cu_layout tsr_cu_wanted(tsr_cu *e, tsr_value value, const tsr_cu_tile *tile) {
  if (e->wanted[value])
    return *e->wanted[value];
  return tsr_cu_default_layout(e->threads, tile->extents, tile->rank);
}
