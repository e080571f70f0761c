/* Long chains of elementwise ops over many registers, in turns. Registers cannot be indexed by a
 * variable, so that loops over them are unrolled: an epilogue with erf and a division behind 128
 * accumulators is ten thousand instructions, which takes ptxas ten seconds, and loads beside all
 * accumulators leave it no registers. Such a chain, from its first op to its last store, becomes a
 * loop that is not unrolled: every turn works on the first group of registers, and then moves the
 * others down by a group. In layouts the number of the turn is a digit of the position, like those
 * of the thread's number, so that the ops are emitted as ever. */
#include "codegen/cuda/emit.h"
#include <string.h>

enum {
  MOST_OPERATIONS = 2048, /* instructions, about; above it the moves are few beside them */
  LEAST_REGISTERS = 64,
  GROUP = 32, /* registers of a turn: enough to hide the latency of their operations */
  MOST_TILES = 8
};

/* The ops of a region from `first` to `last`. */
typedef struct chain {
  tsr_region region;
  tsr_op first, last;
  tsr_value tiles[MOST_TILES]; /* full tiles that the chain finds and uses up */
  uint32_t tile_count;
  uint32_t operations; /* per register */
} chain;

/* --- which ops --- */

static bool uses_tiles(const tsr_cu *e, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(e->ir, expr);
  if (node.op == TSR_INDEX_VALUE)
    return e->slots[node.value].index == NULL;
  return node.op > TSR_INDEX_LANE && (uses_tiles(e, node.a) || uses_tiles(e, node.b));
}

/* Elements that no other access of the kernel touches. */
static bool is_free(const tsr_cu *e, const tsr_operand *operand) {
  if (tsr_value_type(e->ir, operand->value)->level != TSR_LEVEL_GLOBAL || e->hazard[operand->value])
    return false;
  for (uint32_t i = 0; i < operand->subscript_count; ++i)
    if (uses_tiles(e, operand->subscripts[i]))
      return false;
  return true;
}

static bool may_take_turns(const tsr_cu *e, tsr_op id) {
  const tsr_op_data *op = tsr_op_get(e->ir, id);
  if (op->code == TSR_OP_LOAD)
    return is_free(e, &op->operands[0]);
  if (op->code == TSR_OP_STORE)
    return is_free(e, &op->operands[1]);
  return op->code == TSR_OP_CONST ? !tsr_op_attr(e->ir, id, "data")
                                  : tsr_opcode_elementwise(op->code);
}

/* Instructions per element, about. */
static uint32_t operations_of(const tsr_cu *e, const tsr_op_data *op) {
  const tsr_op_kind kind = tsr_opcode_info(op->code)->kind;
  switch (op->code) {
  case TSR_OP_CONST:
    return 0;
  case TSR_OP_LOAD:
  case TSR_OP_STORE:
    return 4;
  case TSR_OP_DIV:
  case TSR_OP_REM:
  case TSR_OP_MOD:
  case TSR_OP_SQRT:
  case TSR_OP_RSQRT:
  case TSR_OP_RECIP:
    return 10;
  case TSR_OP_EXP:
  case TSR_OP_LOG:
  case TSR_OP_TANH:
  case TSR_OP_ERF:
    return 20;
  case TSR_OP_POW:
    return 100;
  default:
    break;
  }
  const uint32_t rounds =
      tsr_dtype_bits(tsr_value_type(e->ir, op->results[0])->dtype) == 16 ? 1 : 0;
  if (kind == TSR_KIND_UNARY && op->code >= TSR_OP_SIN && op->code <= TSR_OP_ATANH)
    return 100;
  return 1 + rounds;
}

static bool in_chain(const tsr_cu *e, const chain *c, tsr_value value) {
  const tsr_value_data *data = tsr_value_get(e->ir, value);
  if (data->role != TSR_ROLE_RESULT || tsr_op_get(e->ir, data->def)->parent != c->region)
    return false;
  for (tsr_op id = c->first; id != 0; id = tsr_op_get(e->ir, id)->next) {
    if (id == data->def)
      return true;
    if (id == c->last)
      break;
  }
  return false;
}

static uint32_t uses_in_chain(const tsr_cu *e, const chain *c, tsr_value value) {
  uint32_t uses = 0;
  for (tsr_op id = c->first; id != 0; id = tsr_op_get(e->ir, id)->next) {
    uses += tsr_cu_uses_by(e, tsr_op_get(e->ir, id), value);
    if (id == c->last)
      break;
  }
  return uses;
}

/* Nothing behind the chain, and no other turn of a loop around it, reads the value. */
static bool ends_in_chain(const tsr_cu *e, const chain *c, tsr_value value) {
  const tsr_value_data *data = tsr_value_get(e->ir, value);
  tsr_region home = data->role == TSR_ROLE_RESULT    ? tsr_op_get(e->ir, data->def)->parent
                    : data->role == TSR_ROLE_CARRIED ? data->region
                                                     : 0;
  return home == c->region && tsr_cu_uses_in(e, home, value) == uses_in_chain(e, c, value);
}

/* From `first` to the last store before an op that cannot be in a chain. */
static bool find_chain(const tsr_cu *e, tsr_region region, tsr_op first, chain *out_chain) {
  *out_chain = (chain){.region = region, .first = first};
  uint32_t operations = 0;
  for (tsr_op id = first; id != 0 && may_take_turns(e, id); id = tsr_op_get(e->ir, id)->next) {
    const tsr_op_data *op = tsr_op_get(e->ir, id);
    operations += operations_of(e, op);
    if (op->code == TSR_OP_STORE) {
      out_chain->last = id;
      out_chain->operations = operations;
    }
  }
  return out_chain->last != 0;
}

/* --- which registers --- */

/* The tile that the chain is about: the one from outside with the most registers. */
static const tsr_cu_tile *find_tiles(const tsr_cu *e, chain *c) {
  const tsr_cu_tile *widest = NULL;
  for (tsr_op id = c->first;; id = tsr_op_get(e->ir, id)->next) {
    const tsr_op_data *op = tsr_op_get(e->ir, id);
    for (uint32_t i = 0; i < op->operand_count; ++i) {
      tsr_value value = op->operands[i].value;
      const tsr_cu_tile *tile = e->slots[value].tile;
      bool known = !tile || op->operands[i].subscripted || in_chain(e, c, value);
      for (uint32_t k = 0; k < c->tile_count && !known; ++k)
        known = c->tiles[k] == value;
      if (known)
        continue;
      if (c->tile_count == MOST_TILES || tile->packed)
        return NULL;
      c->tiles[c->tile_count++] = value;
      if (!widest || tsr_cu_registers(tile) > tsr_cu_registers(widest))
        widest = tile;
    }
    if (id == c->last)
      return widest;
  }
}

/* Splits the register digit that varies slowest in the array: its upper part counts turns. */
static uint32_t split(const tsr_cu_tile *tile, tsr_cu_layout *out_layout, uint32_t *out_axis) {
  tsr_cu_digit *slowest = NULL;
  *out_layout = tile->layout;
  for (uint32_t axis = 0; axis < tile->rank; ++axis)
    for (uint32_t i = 0; tile->extents[axis] > 1 && i < out_layout->axis[axis].count; ++i) {
      tsr_cu_digit *digit = &out_layout->axis[axis].digits[i];
      if (digit->stride || (slowest && slowest->order > digit->order))
        continue;
      slowest = digit;
      *out_axis = axis;
    }
  if (!slowest || out_layout->axis[*out_axis].count == TSR_CU_DIGITS)
    return 1;
  const uint32_t registers = tsr_cu_registers(tile), size = slowest->size;
  uint32_t turns = 1;
  for (uint32_t i = 2; i <= size && registers / turns > GROUP; ++i)
    turns = size % i == 0 ? i : turns;
  tsr_cu_axis *axis = &out_layout->axis[*out_axis];
  const uint32_t place = (uint32_t)(slowest - axis->digits);
  memmove(slowest + 1, slowest, (axis->count++ - place) * sizeof *slowest);
  slowest[0].size = size / turns;
  slowest[1] = (tsr_cu_digit){turns, TSR_CU_TURN, 0};
  return turns;
}

/* Does a tile lie, where it is not broadcast, as the full one? */
static bool lies_alike(const tsr_cu_tile *tile, const tsr_cu_tile *full) {
  if (tile->rank > full->rank)
    return false;
  for (uint32_t axis = 0; axis < tile->rank; ++axis) {
    const tsr_cu_axis *own = &tile->layout.axis[axis], *other = &full->layout.axis[axis];
    if (tile->extents[axis] == 1)
      continue;
    if (tile->extents[axis] != full->extents[axis] || own->count != other->count ||
        memcmp(own->digits, other->digits, own->count * sizeof *own->digits) != 0)
      return false;
  }
  return true;
}

/* Tiles that the chain makes are to lie like the full one as well, and to end in it. */
static bool results_fit(tsr_cu *e, const chain *c, const tsr_cu_tile *full) {
  for (tsr_op id = c->first;; id = tsr_op_get(e->ir, id)->next) {
    const tsr_op_data *op = tsr_op_get(e->ir, id);
    for (uint32_t i = 0; i < op->result_count; ++i) {
      tsr_value value = op->results[i];
      tsr_cu_tile tile = tsr_cu_tile_of_type(e, tsr_value_get(e->ir, value)->type);
      tile.layout = tsr_cu_wanted(e, value, &tile);
      bool alike = tile.rank <= full->rank && tsr_cu_same_layout(&tile, &full->layout);
      for (uint32_t axis = 0; alike && axis < tile.rank; ++axis)
        alike = tile.extents[axis] == 1 || tile.extents[axis] == full->extents[axis];
      if (!alike || tile.layout.use != TSR_CU_NO_USE || !ends_in_chain(e, c, value))
        return false;
    }
    if (id == c->last)
      return true;
  }
}

static bool is_split(const tsr_cu_tile *tile, uint32_t axis) {
  return axis < tile->rank && tile->extents[axis] > 1;
}

static bool tiles_fit(const tsr_cu *e, const chain *c, const tsr_cu_tile *full, uint32_t axis) {
  for (uint32_t i = 0; i < c->tile_count; ++i) {
    const tsr_cu_tile *tile = e->slots[c->tiles[i]].tile;
    if (!lies_alike(tile, full) || (is_split(tile, axis) && !ends_in_chain(e, c, c->tiles[i])))
      return false;
  }
  return true;
}

/* --- text --- */

/* From now on the names of tiles and results mean their part in the turn. */
static void narrow(tsr_cu *e, const chain *c, const tsr_cu_layout *layout, uint32_t axis) {
  tsr_cu_layout *kept = tsr_cu_alloc(e, 1, sizeof *kept);
  *kept = *layout;
  e->turns.moved = tsr_cu_alloc(e, c->tile_count, sizeof *e->turns.moved);
  for (uint32_t i = 0; i < c->tile_count; ++i) {
    const tsr_cu_tile *tile = e->slots[c->tiles[i]].tile;
    if (!is_split(tile, axis))
      continue;
    tsr_cu_tile *part = tsr_cu_alloc(e, 1, sizeof *part);
    *part = *tile;
    part->layout = *layout;
    e->turns.moved[e->turns.moved_count++] = part;
    e->slots[c->tiles[i]].tile = part;
  }
  for (tsr_op id = c->first;; id = tsr_op_get(e->ir, id)->next) {
    const tsr_op_data *op = tsr_op_get(e->ir, id);
    for (uint32_t i = 0; i < op->result_count; ++i)
      e->wanted[op->results[i]] = kept;
    if (id == c->last)
      return;
  }
}

void tsr_cu_turns_begin(tsr_cu *e, tsr_region region, tsr_op first) {
  chain c;
  tsr_cu_layout layout;
  uint32_t axis = 0, count = 0;
  if (e->turns.count || e->skip || !find_chain(e, region, first, &c))
    return;
  const tsr_cu_tile *full = find_tiles(e, &c);
  if (!full || tsr_cu_registers(full) < LEAST_REGISTERS ||
      tsr_cu_registers(full) * c.operations <= MOST_OPERATIONS)
    return;
  count = split(full, &layout, &axis);
  if (count == 1 || !tiles_fit(e, &c, full, axis) || !results_fit(e, &c, full))
    return;
  for (uint32_t i = 0; i < c.tile_count; ++i)
    tsr_cu_wgmma_settle(e, e->slots[c.tiles[i]].tile);
  e->turns = (tsr_cu_turns){.count = count, .last = c.last, .at = e->used, .indent = e->indent};
  narrow(e, &c, &layout, axis);
  tsr_cu_line(e, "#pragma unroll 1");
  tsr_cu_line(e, "for (int turn = 0; turn < %u; ++turn) {", count);
}

void tsr_cu_turns_end(tsr_cu *e, tsr_op id) {
  if (e->turns.count == 0 || e->turns.last != id)
    return;
  for (uint32_t i = 0; i < e->turns.moved_count; ++i) {
    const tsr_cu_tile *part = e->turns.moved[i];
    const uint32_t group = tsr_cu_registers(part);
    tsr_cu_line(e, "TSR_UNROLL");
    tsr_cu_line(e, "for (int r = 0; r < %u; ++r)", group * (e->turns.count - 1));
    tsr_cu_line(e, "  %s[r] = %s[r + %u];", part->name, part->name, group);
  }
  tsr_cu_line(e, "}");
  e->turns = (tsr_cu_turns){0};
}
