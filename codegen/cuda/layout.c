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

void tsr_cu_push(tsr_cu_axis *axis, uint32_t size, uint32_t stride, uint32_t order) {
  if (size > 1 && axis->count < TSR_CU_DIGITS)
    axis->digits[axis->count++] = (tsr_cu_digit){size, stride, order};
}

static uint32_t span_of(const tsr_cu_axis *axis) {
  uint32_t span = 1;
  for (uint32_t i = 0; i < axis->count; ++i)
    span *= axis->digits[i].size;
  return span;
}

void tsr_cu_fill(tsr_cu_axis *axis, uint32_t extent, uint32_t order) {
  uint32_t span = span_of(axis);
  tsr_cu_push(axis, (extent + span - 1) / span, 0, order);
}

uint32_t tsr_cu_registers_along(const tsr_cu_tile *tile, uint32_t axis) {
  const tsr_cu_axis *own = &tile->layout.axis[axis];
  uint32_t count = 1;
  for (uint32_t i = 0; tile->extents[axis] > 1 && i < own->count; ++i)
    count *= own->digits[i].stride ? 1U : own->digits[i].size;
  return count;
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
  return tile->extents[axis] == 1 || tile->extents[axis] == span_of(&tile->layout.axis[axis]);
}

uint32_t tsr_cu_run_of(const tsr_cu_tile *tile, uint32_t axis) {
  const tsr_cu_axis *own = &tile->layout.axis[axis];
  uint32_t run = 1;
  for (uint32_t i = 0; tile->extents[axis] > 1 && i < own->count && !own->digits[i].stride; ++i)
    run *= own->digits[i].size;
  return run;
}

/* Digits that continue each other are one. */
static tsr_cu_axis merged(const tsr_cu_axis *axis) {
  tsr_cu_axis m = {0};
  for (uint32_t i = 0; i < axis->count; ++i) {
    const tsr_cu_digit *digit = &axis->digits[i];
    tsr_cu_digit *last = m.count ? &m.digits[m.count - 1] : NULL;
    if (last && (digit->stride ? last->stride && digit->stride == last->stride * last->size
                               : !last->stride))
      last->size *= digit->size;
    else
      m.digits[m.count++] = (tsr_cu_digit){digit->size, digit->stride, 0};
  }
  return m;
}

bool tsr_cu_same_layout(const tsr_cu_tile *tile, const tsr_cu_layout *layout) {
  for (uint32_t axis = 0; axis < tile->rank; ++axis) {
    if (tile->extents[axis] == 1)
      continue;
    tsr_cu_axis own = merged(&tile->layout.axis[axis]), other = merged(&layout->axis[axis]);
    if (own.count != other.count ||
        memcmp(own.digits, other.digits, own.count * sizeof *own.digits) != 0)
      return false;
  }
  return true;
}

tsr_cu_layout tsr_cu_default_layout(uint32_t threads, const tsr_cu_tile *tile, uint32_t vector) {
  tsr_cu_layout l = {0};
  uint32_t stride = 1;
  for (uint32_t axis = 0; axis < tile->rank; ++axis) {
    uint32_t run = axis == 0 ? vector : 1, left = threads / stride;
    uint32_t wide = power_at_least((tile->extents[axis] + run - 1) / run);
    tsr_cu_push(&l.axis[axis], run, 0, 2 * axis);
    tsr_cu_push(&l.axis[axis], wide < left ? wide : left, stride, 0);
    tsr_cu_fill(&l.axis[axis], tile->extents[axis], 2 * axis + 1);
    stride *= wide < left ? wide : left;
  }
  return l;
}

/* The longest run of up to 16 bytes that leaves every one of `threads` an equal part. */
static uint32_t matrix_run(const tsr_cu_tile *tile, uint32_t axis, uint32_t threads) {
  uint32_t bits = tsr_dtype_bits(tile->dtype), run = bits < 32 ? 4 : 128 / bits;
  while (run > 1 && tile->extents[axis] % (run * threads) != 0)
    run /= 2;
  return run;
}

tsr_cu_layout tsr_cu_matrix_layout(uint32_t threads, const tsr_cu_tile *accumulators) {
  tsr_cu_layout l = {0};
  uint32_t rows = accumulators->extents[1], columns = accumulators->extents[0];
  uint32_t across = 1, most = power_at_least(columns), down = power_at_least(rows);
  while (across < threads && across < most &&
         (uint64_t)across * across * rows < (uint64_t)threads * columns)
    across *= 2;
  while (across < most && across < threads && threads / across > down)
    across *= 2;
  if (threads / across < down)
    down = threads / across;
  tsr_cu_push(&l.axis[0], matrix_run(accumulators, 0, across), 0, 0);
  tsr_cu_push(&l.axis[0], across, 1, 0);
  tsr_cu_fill(&l.axis[0], columns, 1);
  tsr_cu_push(&l.axis[1], matrix_run(accumulators, 1, down), 0, 2);
  tsr_cu_push(&l.axis[1], down, across, 0);
  tsr_cu_fill(&l.axis[1], rows, 3);
  return l;
}

tsr_cu_layout tsr_cu_operand_layout(const tsr_cu_layout *matrix, uint32_t depth, bool is_a) {
  tsr_cu_layout l = {0};
  uint32_t side = is_a ? 1 : 0;
  l.axis[side] = matrix->axis[side];
  tsr_cu_fill(&l.axis[1 - side], depth, 4);
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

/* --- runs --- */

/* Runs of which length the access would move at once, if threads enough are left with one each. */
static uint32_t access_vector(tsr_cu *e, const tsr_operand *operand, const tsr_cu_tile *tile) {
  tsr_dtype dtype = tsr_value_type(e->ir, operand->value)->dtype;
  uint32_t bits = tsr_dtype_bits(dtype), most = bits ? 128 / bits : 1;
  while (most > 1 &&
         (tile->extents[0] % most != 0 || tsr_cu_elements(tile) < (uint64_t)most * e->threads))
    most /= 2;
  return tile->rank == 0 ? 1 : tsr_cu_run(e, operand->value, operand->subscripts, tile, 0, most);
}

/* The runs that the loads have that a value is made from elementwise. */
static uint32_t runs_of(tsr_cu *e, tsr_value value, const tsr_cu_tile *tile, uint32_t depth) {
  const tsr_value_data *data = tsr_value_get(e->ir, value);
  uint32_t best = 1;
  if (data->role != TSR_ROLE_RESULT || depth == 0)
    return 1;
  const tsr_op_data *op = tsr_op_get(e->ir, data->def);
  if (op->code == TSR_OP_LOAD || op->code == TSR_OP_GATHER_LOAD || op->code == TSR_OP_FRAGMENT)
    return access_vector(e, &op->operands[0], tile);
  for (uint32_t i = 0; tsr_opcode_elementwise(op->code) && i < op->operand_count; ++i) {
    const tsr_type_info *type = tsr_value_type(e->ir, op->operands[i].value);
    int64_t extent = 1;
    if (type->rank == 0 || !tsr_expr_is_int(e->ir, type->dims[type->rank - 1], &extent) ||
        extent != tile->extents[0] || type->rank != tile->rank)
      continue;
    uint32_t run = runs_of(e, op->operands[i].value, tile, depth - 1);
    best = run > best ? run : best;
  }
  return best;
}

static uint32_t natural_vector(tsr_cu *e, tsr_value value, const tsr_cu_tile *tile) {
  enum { FAR = 8 };
  return runs_of(e, value, tile, FAR);
}

static const tsr_cu_layout *settle(tsr_cu *e, tsr_value value) {
  if (!e->wanted[value]) {
    tsr_cu_tile tile = tsr_cu_tile_of_type(e, tsr_value_get(e->ir, value)->type);
    insist(e, value, tsr_cu_default_layout(e->threads, &tile, natural_vector(e, value, &tile)));
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

/* What is asked of one operand of a contraction. */
static void want_operand(tsr_cu *e, tsr_value value, uint32_t number, const tsr_cu_layout *matrix,
                         const tsr_cu_mma *mma) {
  if (!is_tile(e, value) || e->wanted[value])
    return;
  tsr_cu_tile tile = tsr_cu_tile_of_type(e, tsr_value_get(e->ir, value)->type);
  if (tile.rank != 2)
    return;
  if (mma) {
    insist(e, value, tsr_cu_mma_operand(mma, number == 0));
    return;
  }
  tile.layout = tsr_cu_operand_layout(matrix, tile.extents[number], number == 0);
  if (tsr_cu_registers(&tile) <= TSR_CU_OPERAND_REGISTERS)
    insist(e, value, tile.layout);
}

static void want_contract(tsr_cu *e, tsr_op id, const tsr_op_data *op) {
  tsr_cu_mma mma;
  tsr_cu_tile acc = tsr_cu_tile_of_type(e, tsr_value_get(e->ir, op->results[0])->type);
  if (acc.rank != 2)
    return;
  bool tensor_cores = tsr_cu_mma_of(e, id, &mma);
  acc.layout =
      tensor_cores ? tsr_cu_mma_accumulators(&mma) : tsr_cu_matrix_layout(e->threads, &acc);
  insist(e, op->results[0], acc.layout);
  want(e, op->operands[2].value, e->wanted[op->results[0]]);
  if (tensor_cores && mma.groups)
    e->accumulates[op->operands[2].value] = e->accumulates[op->results[0]] = true;
  for (uint32_t i = 0; i < 2; ++i)
    if (!op->operands[i].subscripted)
      want_operand(e, op->operands[i].value, i, &acc.layout, tensor_cores ? &mma : NULL);
}

static void want_transpose(tsr_cu *e, tsr_op id, const tsr_op_data *op) {
  int64_t perm[TSR_MAX_RANK];
  uint32_t count = 0;
  const tsr_cu_layout *to = settle(e, op->results[0]);
  if (!tsr_op_ints(e->ir, id, "perm", perm, TSR_MAX_RANK, &count))
    return;
  tsr_cu_layout from = {0};
  for (uint32_t i = 0; i < count; ++i) {
    if (perm[i] < 0 || perm[i] >= count)
      return;
    uint32_t axis = count - 1 - i, source = count - 1 - (uint32_t)perm[i];
    from.axis[source] = to->axis[axis];
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

static void want_store(tsr_cu *e, const tsr_op_data *op) {
  tsr_value value = op->operands[0].value;
  if (!e->wanted[value]) {
    tsr_cu_tile tile = tsr_cu_tile_of_type(e, tsr_value_get(e->ir, value)->type);
    uint32_t vector = access_vector(e, &op->operands[1], &tile);
    insist(e, value, tsr_cu_default_layout(e->threads, &tile, vector));
  }
  want_in_subscripts(e, op, e->wanted[value]);
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
  case TSR_OP_DECODE:
  case TSR_OP_RELAYOUT:
    for (uint32_t i = 0; i < op->operand_count; ++i) {
      tsr_cu_layout layout;
      if (tsr_cu_decode_wants(e, id, i, settle(e, op->results[0]), &layout) &&
          !e->wanted[op->operands[i].value])
        insist(e, op->operands[i].value, layout);
    }
    return;
  case TSR_OP_COPY: {
    tsr_cu_layout *layout = tsr_cu_alloc(e, 1, sizeof *layout);
    if (tsr_cu_copy_wants(e, id, layout))
      want_in_subscripts(e, op, layout);
    return;
  }
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
    want_contract(e, id, op);
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
    want_store(e, op);
    return;
  case TSR_OP_LOAD:
  case TSR_OP_GATHER_LOAD:
  case TSR_OP_FRAGMENT:
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
  return tsr_cu_default_layout(e->threads, tile, 1);
}
