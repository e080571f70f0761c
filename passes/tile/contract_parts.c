/* Products of f32 made of products of bf16 parts: x = x0 + x1 + x2 exactly, and of the nine
 * products of two values' parts the six greatest, in the order of their size: those of x1 and x2 of
 * the whole depth first, then x0 times y0. What is left out is 2^-24 of a product at most,
 * typically an eighth of that; sums start from zero again every 16 or 32 depths (within a tile of
 * AMX they do by themselves), which rounds far less than one chain of multiply-adds.
 *
 * The units that multiply bf16 take subnormal numbers for zero and make zeros of subnormal results.
 * So parts are used for values in a range only, where no part is subnormal, no sum overflows, and
 * what is lost of a subnormal result is 2^-26 of the product:
 *
 *   |weight| in 2^-40 .. 2^40,  |other| in 2^-60 .. 2^60,  or 0
 *
 * Weights are looked at here; a weight beyond the range means no such schedule. The other operand's
 * values are looked at while they are split, and a block that has a NaN, an infinity or any value
 * out of range is copied again as it is and multiplied by multiply-adds in f32, with weights that
 * are put together from their parts, which is exact too ((w0 + w1) + w2). */
#include "passes/tile/contract_parts.h"
#include "ir/const_bytes.h"
#include "passes/tile/contract_dot.h"
#include "passes/tile/default.h"

enum {
  LEAST_DEPTH = 64, /* of few products, sums are no better than those of multiply-adds */
  MOST_DEPTH = 1 << 22,
  WEIGHT_RANGE = 40, /* exponents of two */
  VALUE_RANGE = 60,
  FLAG_ROWS = 16, /* of the greatest tile that is copied at a time */
  FLAG_LANES = 64,
  EXPONENT_BIAS = 127,
  MANTISSA_BITS = 23
};

/* --- which contractions --- */

/* Read from memory as it is, f32. */
static bool is_plain(const tsr_nest *nest, const tsr_contract_operand *operand) {
  const tsr_value_data *data = tsr_value_get(nest->ir, operand->value);
  return data->role == TSR_ROLE_RESULT && data->def == operand->main->op &&
         nest->buffers[operand->main->buffer].dtype == TSR_F32;
}

bool tsr_contract_parts_match(const tsr_nest *nest, tsr_contraction *inout) {
  tsr_contraction *c = inout;
  const tsr_contract_operand *weights = c->a.packable ? &c->a : &c->b;
  if (!nest->target->bf16_parts || c->dtype != TSR_F32 || c->a.packable == c->b.packable ||
      !is_plain(nest, weights) || c->depth_size < LEAST_DEPTH || c->depth_size > MOST_DEPTH)
    return false;
  c->parts = TSR_BF16_PARTS;
  c->a.bytes = c->b.bytes = (int64_t)sizeof(uint16_t) * TSR_BF16_PARTS;
  return true;
}

static bool all_in_range(const uint32_t *bits, uint64_t count) {
  const uint32_t least = (uint32_t)(EXPONENT_BIAS - WEIGHT_RANGE) << MANTISSA_BITS;
  const uint32_t most = (uint32_t)(EXPONENT_BIAS + WEIGHT_RANGE) << MANTISSA_BITS;
  uint32_t outside = 0;
  for (uint64_t i = 0; i < count; i++) {
    const uint32_t magnitude = bits[i] & 0x7fffffffu;
    outside |= (magnitude != 0) & (magnitude - least > most - least);
  }
  return outside == 0;
}

/* A constant whose bytes were left out of a text has no range. */
static bool weigh(const tsr_nest *nest, const tsr_contract_operand *weights) {
  const tsr_value value = nest->buffers[weights->main->buffer].value;
  tsr_arena scratch;
  tsr_diag why = {0};
  const void *bytes = NULL;
  uint64_t count = 0;
  tsr_arena_init(&scratch, tsr_ir_allocator(nest->ir));
  const tsr_status status = tsr_const_bytes(nest->ir, tsr_value_get(nest->ir, value)->def, &scratch,
                                            &why, &bytes, &count);
  const bool fits = status == TSR_OK && all_in_range(bytes, count / sizeof(uint32_t));
  tsr_arena_reset(&scratch);
  return fits;
}

bool tsr_contract_parts_in_range(tsr_nest *nest) {
  const tsr_contraction *c = tsr_contract_narrow(nest);
  if (c == NULL || c->parts == 1)
    return false;
  if (!nest->weighed) {
    nest->weighed = true;
    nest->weights_split = weigh(nest, c->a.packable ? &c->a : &c->b);
  }
  return nest->weights_split;
}

/* --- splitting, and the guard --- */

bool tsr_contract_splits(const tsr_contract_emit *e) {
  return e->parts > 1 && !e->exact;
}

static tsr_value convert(tsr_contract_emit *e, tsr_value tile, tsr_dtype dtype) {
  int64_t extents[2];
  tsr_tile_extents(e->ir, tile, extents);
  tsr_op op = tsr_op_append(e->ir, e->body.region, TSR_OP_CAST);
  tsr_op_add_operand(e->ir, op, tile);
  return tsr_op_add_result(e->ir, op, tsr_tile_type(e->ir, dtype, extents[0], extents[1]));
}

void tsr_contract_split(tsr_contract_emit *e, tsr_value tile, tsr_value out_parts[TSR_BF16_PARTS]) {
  for (int i = 0; i < TSR_BF16_PARTS; i++) {
    out_parts[i] = convert(e, tile, TSR_BF16);
    if (i + 1 < TSR_BF16_PARTS)
      tile = tsr_tile_binary(e->ir, e->body.region, TSR_OP_SUB, tile,
                             convert(e, out_parts[i], TSR_F32));
  }
}

static tsr_value number(tsr_contract_emit *e, double value) {
  return tsr_tile_const(e->ir, e->body.region, TSR_F32, value, 1, 1);
}

static tsr_value load_flags(tsr_contract_emit *e, int64_t rows, int64_t lanes) {
  const tsr_expr subs[2] = {tsr_expr_lane(e->ir, 0), tsr_expr_lane(e->ir, 1)};
  tsr_op load = tsr_op_append(e->ir, e->body.region, TSR_OP_LOAD);
  tsr_op_add_element(e->ir, load, e->flags, subs, 2);
  return tsr_op_add_result(e->ir, load, tsr_tile_type(e->ir, TSR_F32, rows, lanes));
}

static void store_flags(tsr_contract_emit *e, tsr_value tile) {
  const tsr_expr subs[2] = {tsr_expr_lane(e->ir, 0), tsr_expr_lane(e->ir, 1)};
  tsr_op store = tsr_op_append(e->ir, e->body.region, TSR_OP_STORE);
  tsr_op_add_operand(e->ir, store, tile);
  tsr_op_add_element(e->ir, store, e->flags, subs, 2);
}

/* A flag per place in the greatest tile: 1 where any value that stood there was out of range, also
 * NaN, of which no comparison holds. */
void tsr_contract_guard(tsr_contract_emit *e, tsr_value tile) {
  tsr_ir *ir = e->ir;
  const tsr_region region = e->body.region;
  int64_t extents[2];
  if (e->flags == 0 || tile == 0)
    return;
  tsr_tile_extents(ir, tile, extents);
  tsr_op op = tsr_op_append(ir, region, TSR_OP_ABS);
  tsr_op_add_operand(ir, op, tile);
  const tsr_value size = tsr_op_add_result(ir, op, tsr_value_get(ir, tile)->type);
  const tsr_value high =
      tsr_tile_binary(ir, region, TSR_OP_LE, size, number(e, (double)(INT64_C(1) << VALUE_RANGE)));
  const tsr_value low = tsr_tile_binary(ir, region, TSR_OP_GE, size,
                                        number(e, 1.0 / (double)(INT64_C(1) << VALUE_RANGE)));
  const tsr_value zero = tsr_tile_binary(ir, region, TSR_OP_EQ, size, number(e, 0));
  const tsr_value fits = tsr_tile_binary(ir, region, TSR_OP_OR, zero,
                                         tsr_tile_binary(ir, region, TSR_OP_AND, low, high));
  store_flags(e, tsr_tile_select(ir, region, fits, load_flags(e, extents[0], extents[1]),
                                 tsr_tile_const(ir, region, TSR_F32, 1, extents[0], extents[1])));
}

static void begin_guard(tsr_contract_emit *e) {
  const tsr_expr dims[2] = {tsr_expr_int(e->ir, FLAG_ROWS), tsr_expr_int(e->ir, FLAG_LANES)};
  tsr_op alloc = tsr_op_append(e->ir, e->body.region, TSR_OP_ALLOC);
  e->flags = tsr_op_add_result(e->ir, alloc, tsr_type_make(e->ir, TSR_LEVEL_L2, TSR_F32, dims, 2));
  store_flags(e, tsr_tile_const(e->ir, e->body.region, TSR_F32, 0, FLAG_ROWS, FLAG_LANES));
}

/* A bool of rank 0: nothing was out of range. */
static tsr_value end_guard(tsr_contract_emit *e) {
  tsr_ir *ir = e->ir;
  const tsr_region region = e->body.region;
  const int64_t axes[2] = {0, 1};
  const tsr_expr first[2] = {tsr_expr_int(ir, 0), tsr_expr_int(ir, 0)};
  const tsr_value all = load_flags(e, FLAG_ROWS, FLAG_LANES);
  tsr_op reduce = tsr_op_append(ir, region, TSR_OP_REDUCE);
  tsr_op_add_operand(ir, reduce, all);
  tsr_op_set_string(ir, reduce, "combine", "max");
  tsr_op_set_ints(ir, reduce, "axes", axes, 2);
  store_flags(e, tsr_op_add_result(ir, reduce, tsr_tile_type(ir, TSR_F32, 1, 1)));
  const tsr_type real = tsr_type_make(ir, TSR_LEVEL_REG, TSR_F32, NULL, 0);
  const tsr_type logical = tsr_type_make(ir, TSR_LEVEL_REG, TSR_BOOL, NULL, 0);
  tsr_op load = tsr_op_append(ir, region, TSR_OP_LOAD);
  tsr_op_add_element(ir, load, e->flags, first, 2);
  const tsr_value worst = tsr_op_add_result(ir, load, real);
  tsr_op zero = tsr_op_append(ir, region, TSR_OP_CONST);
  tsr_op_set_int(ir, zero, "value", 0);
  tsr_op same = tsr_op_append(ir, region, TSR_OP_EQ);
  tsr_op_add_operand(ir, same, worst);
  tsr_op_add_operand(ir, same, tsr_op_add_result(ir, zero, real));
  return tsr_op_add_result(ir, same, logical);
}

static void exact_block(tsr_contract_emit *e, tsr_contract_step pack, tsr_contract_step walk) {
  const int64_t group = e->group;
  e->exact = true;
  e->group = 1;
  e->stored_count = 0;
  pack(e);
  walk(e);
  e->group = group;
  e->exact = false;
}

void tsr_contract_parts_block(tsr_contract_emit *e, tsr_contract_step pack,
                              tsr_contract_step walk) {
  tsr_body *body = &e->body;
  const tsr_region outer = body->region;
  e->flags = 0;
  if (e->atom->k == 1) { /* multiply-adds anyway */
    exact_block(e, pack, walk);
    return;
  }
  begin_guard(e);
  e->stored_count = 0;
  pack(e);
  const tsr_value fits = end_guard(e);
  e->flags = 0;
  tsr_op fork = tsr_op_append(e->ir, outer, TSR_OP_IF);
  tsr_op_add_operand(e->ir, fork, fits);
  const tsr_region split = tsr_op_add_region(e->ir, fork);
  const tsr_region whole = tsr_op_add_region(e->ir, fork);
  uint32_t mark = tsr_body_mark(body);
  body->region = split;
  walk(e);
  tsr_body_release(body, mark);
  mark = tsr_body_mark(body);
  body->region = whole;
  exact_block(e, pack, walk);
  tsr_body_release(body, mark);
  body->region = outer;
}

/* --- products --- */

static const uint8_t orders[][2] = {{2, 0}, {0, 2}, {1, 1}, {1, 0}, {0, 1}, {0, 0}};
enum { PRODUCTS = sizeof orders / sizeof *orders };

static tsr_value zeros(tsr_contract_emit *e) {
  return tsr_tile_const(e->ir, e->body.region, TSR_F32, 0, e->body.extents[0], e->body.extents[1]);
}

static tsr_value by_tiles(tsr_contract_emit *e, tsr_expr lo) {
  tsr_value sum = zeros(e);
  for (int i = 0; i < PRODUCTS; i++)
    sum = tsr_contract_dot_product(e, "amx.bf16", sum, lo, e->depth_block, orders[i][0],
                                   orders[i][1]);
  return sum;
}

static tsr_tile_loop begin_loop(tsr_contract_emit *e, int64_t steps, int64_t unroll,
                                tsr_value acc) {
  tsr_tile_loop loop = tsr_tile_for(e->ir, e->body.region, tsr_expr_int(e->ir, 0),
                                    tsr_expr_int(e->ir, steps), &acc, 1);
  if (unroll > 1)
    tsr_op_set_int(e->ir, loop.op, "unroll", unroll);
  e->body.region = loop.body;
  return loop;
}

static tsr_value end_loop(tsr_contract_emit *e, const tsr_tile_loop *loop, tsr_region outer,
                          tsr_value next) {
  tsr_tile_yield(e->ir, loop->body, &next, 1);
  e->body.region = outer;
  return loop->op == 0 ? 0 : tsr_op_get(e->ir, loop->op)->results[0];
}

static tsr_value by_vectors(tsr_contract_emit *e, tsr_expr lo) {
  tsr_ir *ir = e->ir;
  const tsr_region outer = e->body.region;
  const int64_t step = (int64_t)e->atom->k;
  tsr_tile_loop loop = begin_loop(e, e->depth_block / e->group, least(e->unroll, 2), zeros(e));
  tsr_value sum = loop.carried[0];
  tsr_expr at = tsr_expr_add(ir, lo, tsr_expr_mul_int(ir, loop.index, e->group));
  for (int i = 0; i + 1 < PRODUCTS; i++)
    sum = tsr_contract_dot_product(e, "dot.bf16", sum, at, e->group, orders[i][0], orders[i][1]);
  sum = end_loop(e, &loop, outer, sum);
  loop = begin_loop(e, e->depth_block / step, 1, sum);
  at = tsr_expr_add(ir, lo, tsr_expr_mul_int(ir, loop.index, step));
  sum = tsr_contract_dot_product(e, "dot.bf16", zeros(e), at, step, orders[PRODUCTS - 1][0],
                                 orders[PRODUCTS - 1][1]);
  return end_loop(e, &loop, outer,
                  tsr_tile_binary(ir, loop.body, TSR_OP_ADD, loop.carried[0], sum));
}

/* --- multiply-adds --- */

static tsr_value load_tile(tsr_contract_emit *e, tsr_value buffer, tsr_dtype dtype,
                           const tsr_expr *from, uint32_t rank) {
  const tsr_body *body = &e->body;
  tsr_expr subs[TSR_NEST_AXES + 2];
  unsigned lanes = 0;
  for (uint32_t d = 0; d < rank; d++) {
    subs[d] = tsr_body_expr(body, from[d]);
    lanes |= tsr_body_lanes(body, subs[d]);
  }
  tsr_op load = tsr_op_append(e->ir, body->region, TSR_OP_LOAD);
  tsr_op_add_element(e->ir, load, buffer, subs, rank);
  return tsr_op_add_result(e->ir, load,
                           tsr_tile_type(e->ir, dtype, lanes & 1 ? body->extents[0] : 1,
                                         lanes & 2 ? body->extents[1] : 1));
}

/* The operand at one depth: from its copy, or put together from the constant's parts. */
static tsr_value whole_value(tsr_contract_emit *e, const tsr_contract_operand *operand) {
  const tsr_nest_access *access = operand->main;
  const tsr_body *body = &e->body;
  tsr_value sum = 0;
  for (uint32_t i = 0; i < e->stored_count; i++)
    if (body->stored[i].value == operand->value)
      return load_tile(e, body->stored[i].buffer, TSR_F32, body->stored[i].subs,
                       body->stored[i].rank);
  for (int i = 0; i < TSR_BF16_PARTS; i++) {
    tsr_contract_bind_leaf(&e->body, e->part, tsr_expr_int(e->ir, i));
    const tsr_value part = convert(
        e, load_tile(e, e->nest->buffers[access->buffer].arg, TSR_BF16, access->subs, access->rank),
        TSR_F32);
    sum = i == 0 ? part : tsr_tile_binary(e->ir, body->region, TSR_OP_ADD, sum, part);
  }
  return sum;
}

static tsr_value by_multiply_adds(tsr_contract_emit *e, tsr_value acc, tsr_expr lo) {
  enum { PAIR = 2 }; /* a group of the constant's layout */
  tsr_ir *ir = e->ir;
  tsr_body *body = &e->body;
  const tsr_region outer = body->region;
  tsr_tile_loop loop = begin_loop(e, e->depth_block / PAIR, 2, acc);
  const tsr_expr at = tsr_expr_add(ir, lo, tsr_expr_mul_int(ir, loop.index, PAIR));
  tsr_value sum = loop.carried[0];
  for (int64_t i = 0; i < PAIR; i++) {
    tsr_contract_bind_leaf(body, e->depth_index, tsr_expr_add_int(ir, at, i));
    const tsr_value a = tsr_body_spread(body, whole_value(e, &e->c->a), body->extents[0], 1);
    const tsr_value b = tsr_body_spread(body, whole_value(e, &e->c->b), 1, body->extents[1]);
    tsr_op op = tsr_op_append(ir, body->region, TSR_OP_CONTRACT);
    tsr_op_add_operand(ir, op, a);
    tsr_op_add_operand(ir, op, b);
    tsr_op_add_operand(ir, op, sum);
    tsr_op_set_string(ir, op, "atom", e->c->atom);
    sum = tsr_op_add_result(ir, op, tsr_tile_type(ir, TSR_F32, body->extents[0], body->extents[1]));
  }
  return end_loop(e, &loop, outer, sum);
}

tsr_value tsr_contract_parts_loop(tsr_contract_emit *e, tsr_value acc) {
  const tsr_expr lo = tsr_expr_mul_int(e->ir, e->depth_first, e->depth_outer);
  if (e->exact)
    return by_multiply_adds(e, acc, lo);
  const tsr_value sum = e->atom->place == TSR_ATOM_MEMORY ? by_tiles(e, lo) : by_vectors(e, lo);
  if (e->phase == TSR_SUM_WHOLE || e->phase == TSR_SUM_FIRST)
    return sum; /* acc is 0 */
  return tsr_tile_binary(e->ir, e->body.region, TSR_OP_ADD, acc, sum);
}
