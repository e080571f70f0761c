/* Regions and control flow. Conditions are the same in all threads of a block, so that barriers may
 * stand anywhere. Carried tiles are variables that the body assigns. */
#include "codegen/cuda/emit.h"
#include <string.h>

/* What a region yields in the place of `to`. Contracts may go on in the variable itself. */
static const tsr_cu_tile *yielded(tsr_cu *e, uint32_t number, const tsr_cu_tile *to) {
  const tsr_operand *operand = &e->op->operands[number];
  return e->slots[operand->value].tile == to && !operand->subscripted ? to
                                                                      : tsr_cu_operand(e, number);
}

/* Values are taken before the first of them is overwritten. */
static void emit_yield(tsr_cu *e) {
  const tsr_cu_sink *sink = e->sink;
  uint32_t skip = sink->condition ? 1 : 0;
  if (e->op->operand_count != sink->count + skip)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "%u values are yielded, %u are needed", e->op->operand_count,
                sink->count + skip);
  const tsr_cu_tile **sources = tsr_cu_alloc(e, sink->count, sizeof *sources);
  if (sink->condition)
    tsr_cu_line(e, "%s = %s;", sink->condition, tsr_cu_operand(e, 0)->name);
  for (uint32_t i = 0; i < sink->count; ++i) {
    const tsr_cu_tile *to = sink->tiles[i], *source = yielded(e, i + skip, to);
    if (source->dtype != to->dtype || source->rank != to->rank ||
        memcmp(source->extents, to->extents, sizeof to->extents) != 0)
      tsr_cu_fail(e, TSR_ERR_VERIFY, "value %u of yield has another type", i);
    sources[i] = source;
    for (uint32_t j = 0; j < i; ++j)
      if (source == sink->tiles[j] && source != to) {
        sources[i] = tsr_cu_declare(e, source, tsr_cu_temporary(e, "taken"));
        tsr_cu_assign(e, sources[i], source);
        break;
      }
  }
  for (uint32_t i = 0; i < sink->count; ++i)
    if (sources[i] != sink->tiles[i])
      tsr_cu_assign(e, sink->tiles[i], sources[i]);
}

static void emit_op(tsr_cu *e) {
  switch (e->op->code) {
  case TSR_OP_FOR:
    tsr_cu_for(e);
    break;
  case TSR_OP_IF:
    tsr_cu_if(e);
    break;
  case TSR_OP_LOOP:
    tsr_cu_loop(e);
    break;
  case TSR_OP_YIELD:
    emit_yield(e);
    break;
  case TSR_OP_CONST:
    tsr_cu_const(e);
    break;
  case TSR_OP_INDEX:
    tsr_cu_index_tile(e);
    break;
  case TSR_OP_LOAD:
  case TSR_OP_GATHER_LOAD:
    tsr_cu_load(e);
    break;
  case TSR_OP_STORE:
  case TSR_OP_SCATTER_STORE:
    tsr_cu_store(e);
    break;
  case TSR_OP_APPEND:
    tsr_cu_append(e);
    break;
  case TSR_OP_COPY:
    tsr_cu_copy(e);
    break;
  case TSR_OP_ALLOC:
  case TSR_OP_MBARRIER:
    break; /* carved before the first op */
  case TSR_OP_FRAGMENT:
    tsr_cu_fragment(e);
    break;
  case TSR_OP_CONTRACT:
    tsr_cu_contract(e);
    break;
  case TSR_OP_REDUCE:
    tsr_cu_reduce(e);
    break;
  case TSR_OP_TRANSPOSE:
    tsr_cu_transpose(e);
    break;
  case TSR_OP_TILE_SLICE:
    tsr_cu_slice(e);
    break;
  case TSR_OP_BARRIER:
    tsr_cu_barrier_op(e);
    break;
  case TSR_OP_DECODE:
    tsr_cu_decode(e);
    break;
  case TSR_OP_RELAYOUT:
    tsr_cu_relayout_op(e);
    break;
  case TSR_OP_ARRIVE:
    tsr_cu_arrive(e);
    break;
  case TSR_OP_WAIT:
    tsr_cu_wait(e);
    break;
  case TSR_OP_ROLES:
    tsr_cu_roles(e);
    break;
  default:
    if (tsr_opcode_elementwise(e->op->code))
      tsr_cu_elementwise(e);
    else
      tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "%s has no code on CUDA",
                  tsr_opcode_info(e->op->code)->text);
  }
}

/* Tiles are laid over powers of two of threads. */
static void check_team(tsr_cu *e) {
  if ((e->threads & (e->threads - 1)) == 0)
    return;
  for (uint32_t i = 0; i < e->op->result_count; ++i) {
    const tsr_type_info *type = tsr_value_type(e->ir, e->op->results[i]);
    if (type->level == TSR_LEVEL_REG && type->rank > 0)
      tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "tiles over %u threads; powers of two have code",
                  e->threads);
  }
}

static bool touches_scratch(const tsr_cu *e, const tsr_op_data *op) {
  for (uint32_t i = 0; i < op->operand_count; ++i)
    if (op->operands[i].subscripted &&
        tsr_value_type(e->ir, op->operands[i].value)->level != TSR_LEVEL_GLOBAL)
      return true;
  return false;
}

void tsr_cu_region(tsr_cu *e, tsr_region region, const tsr_cu_sink *sink) {
  const tsr_op_data *outer = e->op;
  const tsr_cu_sink *outer_sink = e->sink;
  const tsr_op outer_id = e->op_id;
  bool yielded = false;
  e->sink = sink;
  TSR_FOR_EACH_OP (e->ir, region, id) {
    e->op_id = id;
    e->op = tsr_op_get(e->ir, id);
    if (e->skip && e->skip[id])
      continue;
    yielded = yielded || e->op->code == TSR_OP_YIELD;
    check_team(e);
    tsr_cu_turns_begin(e, region, id);
    emit_op(e);
    tsr_cu_turns_end(e, id);
    e->scratch_touched = e->scratch_touched || touches_scratch(e, tsr_op_get(e->ir, id));
  }
  e->op = outer;
  e->op_id = outer_id;
  e->sink = outer_sink;
  if (!yielded && (sink->count > 0 || sink->condition))
    tsr_cu_fail(e, TSR_ERR_VERIFY, "a region yields nothing, %u values are needed", sink->count);
}

/* May a loop go on in the variable of what it starts with? */
static bool goes_on_in(tsr_cu *e, uint32_t number, const tsr_cu_tile *shape) {
  const tsr_operand *operand = &e->op->operands[number];
  const tsr_cu_tile *from = e->slots[operand->value].tile;
  return from && !operand->subscripted && !from->packed && from->dtype == shape->dtype &&
         from->rank == shape->rank &&
         !memcmp(from->extents, shape->extents, sizeof shape->extents) &&
         tsr_cu_used_up(e, operand->value) && tsr_cu_same_order(from, &shape->layout);
}

/* A variable per result, in the layout that its uses want. */
static const tsr_cu_tile **declare_results(tsr_cu *e, bool start) {
  uint32_t count = e->op->result_count;
  const tsr_cu_tile **tiles = tsr_cu_alloc(e, count, sizeof *tiles);
  for (uint32_t i = 0; i < count; ++i) {
    tsr_value value = e->op->results[i];
    tsr_cu_tile shape = tsr_cu_tile_of_type(e, tsr_value_get(e->ir, value)->type);
    shape.layout = tsr_cu_wanted(e, value, &shape);
    if (start && goes_on_in(e, i, &shape)) {
      tiles[i] = e->slots[e->op->operands[i].value].tile;
      continue;
    }
    tiles[i] = tsr_cu_declare(e, &shape, tsr_cu_name(e, value, "v"));
    if (start) {
      const tsr_cu_tile *from = tsr_cu_operand(e, i);
      if (from->dtype != shape.dtype || from->rank != shape.rank ||
          memcmp(from->extents, shape.extents, sizeof shape.extents) != 0)
        tsr_cu_fail(e, TSR_ERR_VERIFY, "carried value %u has another type than the result", i);
      tsr_cu_assign(e, tiles[i], from);
    }
  }
  return tiles;
}

static void bind_results(tsr_cu *e, const tsr_cu_tile *const *tiles) {
  for (uint32_t i = 0; i < e->op->result_count; ++i)
    tsr_cu_bind(e, e->op->results[i], tiles[i]);
}

/* A bound as a number or a constant. */
static const char *bound(tsr_cu *e, tsr_expr expr, const char *type) {
  int64_t number = 0;
  if (tsr_expr_is_int(e->ir, expr, &number))
    return tsr_cu_integer(e, TSR_I64, number);
  const char *name = tsr_cu_temporary(e, "to");
  tsr_cu_line(e, "const %s %s = (%s)%s;", type, name, type, tsr_cu_index(e, expr, NULL));
  return name;
}

void tsr_cu_for(tsr_cu *e) {
  const tsr_region_data *region = tsr_region_get(e->ir, e->op->regions[0]);
  uint32_t count = e->op->operand_count;
  int64_t step = 0, unroll = tsr_op_int(e->ir, e->op_id, "unroll", 1);
  if (region->arg_count != 1 + count || e->op->result_count != count ||
      tsr_value_get(e->ir, region->args[0])->role != TSR_ROLE_LOOP)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "needs one index variable and an argument per carry");
  const tsr_value_data *range = tsr_value_get(e->ir, region->args[0]);
  if (!tsr_expr_is_int(e->ir, range->step, &step) || step < 1 || unroll < 0)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "step must be positive and unroll not negative");
  const tsr_cu_tile **tiles = declare_results(e, true);
  tsr_cu_loop_text loop = {.type = tsr_cu_index_type(e, region->args[0]),
                           .index = tsr_cu_name(e, region->args[0], "i"),
                           .step = step};
  loop.lo = bound(e, range->lo, loop.type);
  loop.end = bound(e, range->hi, loop.type);
  /* A way around the loop would be one around the wgmma in it, which ptxas does not follow. */
  tsr_expr spare = tsr_expr_add_int(e->ir, tsr_expr_sub(e->ir, range->hi, range->lo), -1);
  int64_t turns = 0;
  if (!tsr_expr_is_int(e->ir, spare, &turns) && tsr_expr_prove_nonnegative(e->ir, spare, NULL, 0))
    tsr_cu_line(e, "TSR_ASSUME(%s < %s);", loop.lo, loop.end);
  bool pipeline = tsr_cu_pipeline_start(e, &loop);
  if (unroll == 0)
    tsr_cu_line(e, "TSR_UNROLL");
  if (unroll > 1)
    tsr_cu_line(e, "#pragma unroll %lld", (long long)unroll);
  tsr_cu_line(e, "for (%s %s = %s; %s < %s; %s += %lld) {", loop.type, loop.index, loop.lo,
              loop.index, loop.end, loop.index, (long long)step);
  e->slots[region->args[0]] =
      (tsr_cu_slot){.index = loop.index, .is_int = !strcmp(loop.type, "int")};
  for (uint32_t i = 0; i < count; ++i)
    tsr_cu_bind(e, region->args[1 + i], tiles[i]);
  tsr_cu_sink sink = {.tiles = tiles, .count = count};
  ++e->loops;
  tsr_cu_scope_begin(e, region->args[0], loop.index);
  tsr_cu_region(e, e->op->regions[0], &sink);
  tsr_cu_scope_end(e);
  --e->loops;
  tsr_cu_line(e, "}");
  if (pipeline)
    tsr_cu_pipeline_end(e);
  bind_results(e, tiles);
}

static const char *scalar_bool(tsr_cu *e) {
  const tsr_cu_tile *tile = e->op->operand_count > 0 ? tsr_cu_operand(e, 0) : NULL;
  if (!tile || tile->dtype != TSR_BOOL || tsr_cu_elements(tile) != 1)
    return tsr_cu_fail(e, TSR_ERR_VERIFY, "the condition is not a scalar bool");
  return tile->name;
}

void tsr_cu_if(tsr_cu *e) {
  const tsr_attr *attr = tsr_op_attr(e->ir, e->op_id, "cond");
  const char *condition = NULL;
  if (attr && attr->kind == TSR_ATTR_EXPR)
    condition = tsr_cu_index(e, attr->u.expr, NULL);
  else if (attr && (attr->kind == TSR_ATTR_INT || attr->kind == TSR_ATTR_BOOL))
    condition = (attr->kind == TSR_ATTR_INT ? attr->u.integer != 0 : attr->u.boolean) ? "1" : "0";
  else
    condition = scalar_bool(e);
  uint32_t regions = e->op->region_count;
  if (regions < 1 || regions > 2 || (regions == 1 && e->op->result_count > 0))
    tsr_cu_fail(e, TSR_ERR_VERIFY, "needs one or two regions, two for results");
  const tsr_cu_tile **tiles = declare_results(e, false);
  tsr_cu_sink sink = {.tiles = tiles, .count = e->op->result_count};
  tsr_cu_line(e, "if (%s) {", condition);
  tsr_cu_region(e, e->op->regions[0], &sink);
  if (regions == 2) {
    tsr_cu_line(e, "} else {");
    tsr_cu_region(e, e->op->regions[1], &sink);
  }
  tsr_cu_line(e, "}");
  bind_results(e, tiles);
}

/* The body runs once before its condition is asked, unless the limit is 0. */
void tsr_cu_loop(tsr_cu *e) {
  const tsr_region_data *region = tsr_region_get(e->ir, e->op->regions[0]);
  const tsr_attr *limit = tsr_op_attr(e->ir, e->op_id, "limit");
  uint32_t count = e->op->operand_count;
  if (region->arg_count != count || e->op->result_count != count)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "needs an argument and a result per carried value");
  const tsr_cu_tile **tiles = declare_results(e, true);
  const char *more = tsr_cu_temporary(e, "more"), *turn = tsr_cu_temporary(e, "turn");
  tsr_cu_line(e, "int %s = 1;", more);
  if (limit) {
    tsr_expr expr =
        limit->kind == TSR_ATTR_INT ? tsr_expr_int(e->ir, limit->u.integer) : limit->u.expr;
    tsr_cu_line(e, "for (tsr_s64 %s = 0; %s && %s < %s; ++%s) {", turn, more, turn,
                tsr_cu_index(e, expr, NULL), turn);
  } else
    tsr_cu_line(e, "while (%s) {", more);
  for (uint32_t i = 0; i < count; ++i)
    tsr_cu_bind(e, region->args[i], tiles[i]);
  tsr_cu_sink sink = {.tiles = tiles, .count = count, .condition = more};
  ++e->loops;
  tsr_cu_region(e, e->op->regions[0], &sink);
  --e->loops;
  tsr_cu_line(e, "}");
  bind_results(e, tiles);
}
