/* Ops that need a sequential program: scans, scatters, topk, nonzero, suppress. Each becomes a proc
 * whose par axes are those along which the points are independent. */
#include "passes/blocks.h"
#include <math.h>
#include <string.h>

enum { MAX_LOOPS = TSR_MAX_RANK };

static tsr_expr zero(tsr_point *e) {
  return tsr_expr_int(e->ir, 0);
}

static tsr_expr as_subscript(const tsr_point *e, tsr_value scalar) {
  return scalar == 0 ? 0 : tsr_expr_value(e->ir, scalar);
}

/* A body under an `if` on a scalar bool. */
static tsr_point emit_if(tsr_point *e, tsr_value condition) {
  tsr_op op = tsr_op_append(e->ir, e->region, TSR_OP_IF);
  tsr_op_add_operand(e->ir, op, condition);
  return (tsr_point){.ir = e->ir, .op = e->op, .region = tsr_op_add_region(e->ir, op)};
}

/* A body under an `if` on an index expression; the same body when there is nothing to ask. */
static tsr_point emit_if_expr(tsr_point *e, tsr_expr condition) {
  if (condition == 0)
    return *e;
  tsr_op op = tsr_op_append(e->ir, e->region, TSR_OP_IF);
  tsr_op_set_expr(e->ir, op, "cond", condition);
  return (tsr_point){.ir = e->ir, .op = e->op, .region = tsr_op_add_region(e->ir, op)};
}

/* Nested loops over `extents`; an extent of 1 needs none. */
static tsr_point emit_nest(tsr_point *e, const tsr_expr *extents, uint32_t count,
                           tsr_expr *out_axes) {
  tsr_point body = *e;
  for (uint32_t i = 0; i < count; i++) {
    if (tsr_expr_equals_int(e->ir, extents[i], 1))
      out_axes[i] = zero(e);
    else
      body = tsr_point_for(&body, zero(e), extents[i], NULL, 0, &out_axes[i], NULL, NULL);
  }
  return body;
}

/* A loop that carries a number, 0 at first; the body ends in a yield of (go on, next number). */
static tsr_point emit_loop(tsr_point *e, tsr_value *out_number, tsr_value *out_last) {
  tsr_ir *ir = e->ir;
  tsr_op loop = tsr_op_append(ir, e->region, TSR_OP_LOOP);
  tsr_point body = {.ir = ir, .op = e->op, .region = tsr_op_add_region(ir, loop)};
  tsr_op first = tsr_op_insert_before(ir, loop, TSR_OP_CONST);
  tsr_op_set_int(ir, first, "value", 0);
  tsr_op_add_operand(ir, loop, tsr_op_add_result(ir, first, tsr_scalar_type(ir, TSR_I64)));
  *out_number = tsr_region_add_arg(ir, body.region, TSR_ROLE_CARRIED, tsr_scalar_type(ir, TSR_I64));
  *out_last = tsr_op_add_result(ir, loop, tsr_scalar_type(ir, TSR_I64));
  return body;
}

/* Begins a proc with one par axis for each axis of `type` but `skipped`. */
static tsr_point begin_rows(tsr_ir *ir, tsr_op op, const tsr_type_info *type, uint32_t skipped,
                            tsr_expr *out_axes) {
  tsr_point e = tsr_point_begin(ir, TSR_OP_PROC, op);
  for (uint32_t i = 0; i < type->rank; i++)
    out_axes[i] = i == skipped ? 0 : tsr_point_axis(&e, TSR_ROLE_PAR, type->dims[i]);
  return e;
}

tsr_op tsr_lower_scan(tsr_ir *ir, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  tsr_value x = data->operands[0].value;
  const tsr_type_info *type = tsr_value_type(ir, x);
  uint32_t axis = (uint32_t)tsr_op_int(ir, op, "axis", 0);
  const char *combine = tsr_op_string(ir, op, "combine");
  tsr_dtype dtype = tsr_accumulator_dtype(type->dtype);
  tsr_expr at[TSR_MAX_RANK], step;
  tsr_point e = begin_rows(ir, op, type, axis, at);
  tsr_value result = tsr_point_result(&e, type), carried;
  tsr_value init = tsr_point_identity(&e, dtype, combine);
  tsr_point body = tsr_point_for(&e, zero(&e), type->dims[axis], &init, 1, &step, &carried, NULL);
  bool reverse = tsr_op_bool(ir, op, "reverse", false);
  tsr_expr last = tsr_expr_add_int(ir, type->dims[axis], -1);
  at[axis] = reverse ? tsr_expr_sub(ir, last, step) : step;
  tsr_value element = tsr_point_cast(&body, tsr_read(&body, x, at, type->rank), dtype);
  tsr_value next = tsr_point_combine(&body, combine, carried, element);
  tsr_value stored = tsr_op_bool(ir, op, "exclusive", false) ? carried : next;
  tsr_point_store(&body, tsr_point_cast(&body, stored, type->dtype), result, at, type->rank);
  tsr_point_yield(&body, &next, 1);
  return e.op;
}

/* Counts from the end when negative; what is out of range after that is dropped by the store. */
static tsr_expr scatter_subscript(tsr_point *e, tsr_value index, tsr_expr extent) {
  tsr_value wide = tsr_point_cast(e, index, TSR_I64);
  if (tsr_dtype_class_of(tsr_scalar_dtype(e->ir, index)) != TSR_CLASS_INT)
    return as_subscript(e, wide);
  tsr_value wrapped = tsr_point_binary(e, TSR_OP_ADD, wide, tsr_point_index(e, TSR_I64, extent));
  tsr_value negative = tsr_point_binary(e, TSR_OP_LT, wide, tsr_point_int(e, TSR_I64, 0));
  return as_subscript(e, tsr_point_select(e, negative, wrapped, wide));
}

static void emit_update(tsr_point *e, const char *combine, tsr_value update, tsr_value result,
                        const tsr_expr *at, uint32_t rank) {
  if (tsr_combiner_opcode(combine) != TSR_OP_NONE)
    update = tsr_point_combine(e, combine, tsr_point_load(e, result, at, rank), update);
  tsr_point_store(e, update, result, at, rank);
}

/* False: the elements that no update reaches are in their place already. */
static bool keeps_rest(tsr_ir *ir, tsr_op scatter, tsr_op proc) {
  bool in_place = tsr_op_bool(ir, scatter, "in_place", false);
  if (in_place)
    tsr_op_set_bool(ir, proc, "in_place", true);
  return !in_place;
}

/* Updates in the order of the indices; the axes that indices do not address are parallel. */
tsr_op tsr_lower_scatter_nd(tsr_ir *ir, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  tsr_value x = data->operands[0].value, indices = data->operands[1].value;
  const tsr_type_info *type = tsr_value_type(ir, x), *places = tsr_value_type(ir, indices);
  uint32_t lead = places->rank - 1;
  int64_t known = 0;
  tsr_expr_is_int(ir, places->dims[lead], &known);
  uint32_t width = (uint32_t)known;
  tsr_expr at[TSR_MAX_RANK], from[TSR_MAX_RANK], place[TSR_MAX_RANK];
  tsr_point e = tsr_point_begin(ir, TSR_OP_PROC, op);
  tsr_value result = tsr_point_result(&e, type);
  tsr_point_axes(&e, TSR_ROLE_PAR, type->dims + width, type->rank - width, at + width);
  if (keeps_rest(ir, op, e.op)) {
    tsr_point copy = emit_nest(&e, type->dims, width, at);
    tsr_point_store(&copy, tsr_read(&copy, x, at, type->rank), result, at, type->rank);
  }
  tsr_point body = emit_nest(&e, places->dims, lead, place);
  memcpy(from, place, lead * sizeof *from);
  memcpy(from + lead, at + width, (type->rank - width) * sizeof *from);
  for (uint32_t i = 0; i < width; i++) {
    place[lead] = tsr_expr_int(ir, i);
    at[i] = scatter_subscript(&body, tsr_read(&body, indices, place, places->rank), type->dims[i]);
  }
  tsr_value update = tsr_read(&body, data->operands[2].value, from, lead + type->rank - width);
  emit_update(&body, tsr_op_string(ir, op, "combine"), update, result, at, type->rank);
  return e.op;
}

/* Columns along the axis are independent of one another. */
tsr_op tsr_lower_scatter_elements(tsr_ir *ir, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  tsr_value x = data->operands[0].value, indices = data->operands[1].value;
  const tsr_type_info *type = tsr_value_type(ir, x), *places = tsr_value_type(ir, indices);
  uint32_t axis = (uint32_t)tsr_op_int(ir, op, "axis", 0);
  tsr_expr at[TSR_MAX_RANK], from[TSR_MAX_RANK], covered = 0;
  tsr_point e = begin_rows(ir, op, type, axis, at);
  tsr_value result = tsr_point_result(&e, type);
  if (keeps_rest(ir, op, e.op)) {
    tsr_point copy = emit_nest(&e, &type->dims[axis], 1, &at[axis]);
    tsr_point_store(&copy, tsr_read(&copy, x, at, type->rank), result, at, type->rank);
  }
  for (uint32_t i = 0; i < type->rank; i++)
    if (i != axis && places->dims[i] != type->dims[i])
      covered = tsr_inside(ir, covered, at[i], places->dims[i]);
  tsr_point inner = emit_if_expr(&e, covered);
  memcpy(from, at, type->rank * sizeof *from);
  tsr_point body = emit_nest(&inner, &places->dims[axis], 1, &from[axis]);
  at[axis] = scatter_subscript(&body, tsr_read(&body, indices, from, type->rank), type->dims[axis]);
  tsr_value update = tsr_read(&body, data->operands[2].value, from, type->rank);
  emit_update(&body, tsr_op_string(ir, op, "combine"), update, result, at, type->rank);
  return e.op;
}

/* --- topk: the k best so far stand in the result row as a heap with the worst at its root; each
 * element that beats the root replaces it. Taking the root out k times then leaves the row sorted.
 * Pairs (value, position) are totally ordered, so the row is the same whatever the algorithm. ---
 */

typedef struct topk {
  tsr_value values, indices;
  tsr_expr at[TSR_MAX_RANK];
  uint32_t rank, axis;
  tsr_dtype dtype;
  bool largest;
} topk;

typedef struct pair {
  tsr_value value, index;
} pair;

static pair load_pair(tsr_point *e, topk *t, tsr_expr place) {
  t->at[t->axis] = place;
  return (pair){.value = tsr_point_load(e, t->values, t->at, t->rank),
                .index = tsr_point_load(e, t->indices, t->at, t->rank)};
}

static void store_pair(tsr_point *e, topk *t, tsr_expr place, pair p) {
  t->at[t->axis] = place;
  tsr_point_store(e, p.value, t->values, t->at, t->rank);
  tsr_point_store(e, p.index, t->indices, t->at, t->rank);
}

/* True when `a` stands before `b` in the result. NaN is greater than every number. */
static tsr_value before(tsr_point *e, const topk *t, pair a, pair b) {
  tsr_value better = tsr_point_binary(e, t->largest ? TSR_OP_GT : TSR_OP_LT, a.value, b.value);
  tsr_value tie = tsr_point_binary(e, TSR_OP_EQ, a.value, b.value);
  if (tsr_dtype_is_float(t->dtype)) {
    tsr_value nan_a = tsr_point_unary(e, TSR_OP_ISNAN, a.value);
    tsr_value nan_b = tsr_point_unary(e, TSR_OP_ISNAN, b.value);
    tsr_value wins = t->largest ? nan_a : nan_b, loses = t->largest ? nan_b : nan_a;
    tsr_value only = tsr_point_binary(e, TSR_OP_AND, wins, tsr_point_unary(e, TSR_OP_NOT, loses));
    tie = tsr_point_binary(e, TSR_OP_OR, tie, tsr_point_binary(e, TSR_OP_AND, nan_a, nan_b));
    better = tsr_point_binary(e, TSR_OP_OR, better, only);
  }
  tsr_value earlier = tsr_point_binary(e, TSR_OP_LT, a.index, b.index);
  return tsr_point_binary(e, TSR_OP_OR, better, tsr_point_binary(e, TSR_OP_AND, tie, earlier));
}

/* The child to move up, and where it stands: the worse of the two at 2 * place + 1 and + 2. */
static pair worse_child(tsr_point *e, topk *t, tsr_value place, tsr_value size,
                        tsr_value *out_place, tsr_value *out_exists) {
  tsr_value one = tsr_point_int(e, TSR_I64, 1);
  tsr_value twice = tsr_point_binary(e, TSR_OP_ADD, place, place);
  tsr_value left = tsr_point_binary(e, TSR_OP_ADD, twice, one);
  tsr_value right = tsr_point_binary(e, TSR_OP_ADD, left, one);
  pair l = load_pair(e, t, as_subscript(e, left)), r = load_pair(e, t, as_subscript(e, right));
  tsr_value has_right = tsr_point_binary(e, TSR_OP_LT, right, size);
  tsr_value pick = tsr_point_binary(e, TSR_OP_AND, has_right, before(e, t, l, r));
  *out_place = tsr_point_select(e, pick, right, left);
  *out_exists = tsr_point_binary(e, TSR_OP_LT, left, size);
  return (pair){.value = tsr_point_select(e, pick, r.value, l.value),
                .index = tsr_point_select(e, pick, r.index, l.index)};
}

/* Puts `p` into the heap of `size` whose root is vacant. */
static void sift_down(tsr_point *e, topk *t, pair p, tsr_expr size) {
  tsr_value place, rest, child_place, exists;
  tsr_point body = emit_loop(e, &place, &rest);
  pair child =
      worse_child(&body, t, place, tsr_point_index(&body, TSR_I64, size), &child_place, &exists);
  tsr_value go = tsr_point_binary(&body, TSR_OP_AND, exists, before(&body, t, p, child));
  tsr_point up = emit_if(&body, go);
  store_pair(&up, t, as_subscript(e, place), child);
  tsr_value next[2] = {go, tsr_point_select(&body, go, child_place, place)};
  tsr_point_yield(&body, next, 2);
  store_pair(e, t, as_subscript(e, rest), p);
}

/* What every element beats: the greatest position decides ties. */
static pair topk_sentinel(tsr_point *e, const topk *t) {
  tsr_value value = !t->largest && tsr_dtype_is_float(t->dtype)
                        ? tsr_point_float(e, t->dtype, NAN)
                        : tsr_point_identity(e, t->dtype, t->largest ? "max" : "min");
  return (pair){.value = value, .index = tsr_point_int(e, TSR_I64, INT64_MAX)};
}

tsr_op tsr_lower_topk(tsr_ir *ir, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  tsr_value x = data->operands[0].value;
  const tsr_type_info *type = tsr_value_type(ir, x);
  const tsr_type_info *out = tsr_value_type(ir, data->results[0]);
  topk t = {.rank = type->rank,
            .axis = (uint32_t)tsr_op_int(ir, op, "axis", 0),
            .dtype = type->dtype,
            .largest = tsr_op_bool(ir, op, "largest", true)};
  tsr_point e = begin_rows(ir, op, type, t.axis, t.at);
  tsr_expr k = out->dims[t.axis], i;
  t.values = tsr_point_result(&e, out);
  t.indices = tsr_point_result(&e, tsr_value_type(ir, data->results[1]));
  pair none = topk_sentinel(&e, &t);
  tsr_point fill = tsr_point_for(&e, zero(&e), k, NULL, 0, &i, NULL, NULL);
  store_pair(&fill, &t, i, none);
  tsr_point scan = tsr_point_for(&e, zero(&e), type->dims[t.axis], NULL, 0, &i, NULL, NULL);
  t.at[t.axis] = i;
  pair element = {.value = tsr_read(&scan, x, t.at, t.rank),
                  .index = tsr_point_index(&scan, TSR_I64, i)};
  pair root = load_pair(&scan, &t, zero(&e));
  tsr_point enter = emit_if(&scan, before(&scan, &t, element, root));
  sift_down(&enter, &t, element, k);
  tsr_point sort =
      tsr_point_for(&e, zero(&e), tsr_expr_add_int(ir, k, -1), NULL, 0, &i, NULL, NULL);
  tsr_expr last = tsr_expr_sub(ir, tsr_expr_add_int(ir, k, -1), i);
  pair moved = load_pair(&sort, &t, last);
  store_pair(&sort, &t, last, load_pair(&sort, &t, zero(&e)));
  sift_down(&sort, &t, moved, last);
  return e.op;
}

/* --- nonzero: one walk in row-major order that carries the count --- */

typedef struct nonzero {
  tsr_value x, indices;
  const tsr_type_info *type;
  tsr_expr at[TSR_MAX_RANK];
} nonzero;

static tsr_value is_nonzero(tsr_point *e, tsr_value element) {
  tsr_dtype dtype = tsr_scalar_dtype(e->ir, element);
  return dtype == TSR_BOOL ? element
                           : tsr_point_binary(e, TSR_OP_NE, element, tsr_point_int(e, dtype, 0));
}

/* The loops from `axis` on; returns the count after them. */
static tsr_value walk_nonzero(tsr_point *e, nonzero *n, uint32_t axis, tsr_value count) {
  tsr_ir *ir = e->ir;
  if (axis == n->type->rank) {
    tsr_value found = is_nonzero(e, tsr_read(e, n->x, n->at, n->type->rank));
    tsr_point hit = emit_if(e, found);
    for (uint32_t i = 0; i < n->type->rank; i++) {
      tsr_expr place[2] = {tsr_expr_int(ir, i), as_subscript(e, count)};
      tsr_point_store(&hit, tsr_point_index(&hit, TSR_I64, n->at[i]), n->indices, place, 2);
    }
    return tsr_point_binary(e, TSR_OP_ADD, count, tsr_point_cast(e, found, TSR_I64));
  }
  tsr_value carried, next;
  tsr_op loop;
  tsr_point body =
      tsr_point_for(e, zero(e), n->type->dims[axis], &count, 1, &n->at[axis], &carried, &loop);
  next = walk_nonzero(&body, n, axis + 1, carried);
  tsr_point_yield(&body, &next, 1);
  return tsr_op_result(ir, loop, 0);
}

/* The indices of a scalar are [0, 1]: a store that lies outside keeps the rule that a proc stores
 * to each of its results. */
static void store_nothing(tsr_point *e, tsr_value indices) {
  tsr_expr outside[2] = {zero(e), zero(e)};
  tsr_point_store(e, tsr_point_int(e, TSR_I64, 0), indices, outside, 2);
}

tsr_op tsr_lower_nonzero(tsr_ir *ir, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  tsr_point e = tsr_point_begin(ir, TSR_OP_PROC, op);
  nonzero n = {.x = data->operands[0].value, .type = tsr_value_type(ir, data->operands[0].value)};
  n.indices = tsr_point_result(&e, tsr_value_type(ir, data->results[0]));
  tsr_value count = tsr_point_result(&e, tsr_value_type(ir, data->results[1]));
  tsr_value total = walk_nonzero(&e, &n, 0, tsr_point_int(&e, TSR_I64, 0));
  tsr_point_store(&e, total, count, NULL, 0);
  if (n.type->rank == 0)
    store_nothing(&e, n.indices);
  return e.op;
}

/* --- suppress: every box in its turn against those chosen so far, which stand in the result --- */

typedef struct suppress {
  tsr_value boxes, overlap, chosen;
  tsr_dtype dtype;
  tsr_expr at[3]; /* batch, class, place */
} suppress;

typedef struct box {
  tsr_value sides[4], area;
} box;

static box load_box(tsr_point *e, const suppress *s, tsr_value number) {
  tsr_expr at[3] = {s->at[0], as_subscript(e, number), 0};
  box b;
  for (uint32_t i = 0; i < 4; i++) {
    at[2] = tsr_expr_int(e->ir, i);
    b.sides[i] = tsr_read(e, s->boxes, at, 3);
  }
  tsr_value height = tsr_point_binary(e, TSR_OP_SUB, b.sides[2], b.sides[0]);
  tsr_value width = tsr_point_binary(e, TSR_OP_SUB, b.sides[3], b.sides[1]);
  b.area = tsr_point_binary(e, TSR_OP_MUL, height, width);
  return b;
}

/* Empty boxes overlap nothing; two that are not have a union. */
static tsr_value emit_overlaps(tsr_point *e, const suppress *s, box a, box b) {
  tsr_value none = tsr_point_int(e, s->dtype, 0), extents[2];
  for (uint32_t i = 0; i < 2; i++) {
    tsr_value low = tsr_point_binary(e, TSR_OP_MAX, a.sides[i], b.sides[i]);
    tsr_value high = tsr_point_binary(e, TSR_OP_MIN, a.sides[i + 2], b.sides[i + 2]);
    tsr_value length = tsr_point_binary(e, TSR_OP_SUB, high, low);
    extents[i] = tsr_point_binary(e, TSR_OP_MAX, length, none);
  }
  tsr_value common = tsr_point_binary(e, TSR_OP_MUL, extents[0], extents[1]);
  tsr_value all = tsr_point_binary(e, TSR_OP_ADD, a.area, b.area);
  tsr_value share =
      tsr_point_binary(e, TSR_OP_DIV, common, tsr_point_binary(e, TSR_OP_SUB, all, common));
  tsr_value over = tsr_point_binary(e, TSR_OP_GT, share, tsr_read(e, s->overlap, NULL, 0));
  over = tsr_point_binary(e, TSR_OP_AND, over, tsr_point_binary(e, TSR_OP_GT, a.area, none));
  return tsr_point_binary(e, TSR_OP_AND, over, tsr_point_binary(e, TSR_OP_GT, b.area, none));
}

/* Whether the box overlaps none of those chosen: then the place behind the list's end was looked
 * at, too. What is read there is not used. The next place does not depend on what was found, so
 * that looks overlap in time. */
static tsr_value emit_is_free(tsr_point *e, suppress *s, box b, tsr_value live, tsr_value count) {
  tsr_value place, last;
  tsr_point body = emit_loop(e, &place, &last);
  tsr_value more = tsr_point_binary(&body, TSR_OP_LT, place, count);
  s->at[2] = as_subscript(e, place);
  box other = load_box(&body, s, tsr_point_load(&body, s->chosen, s->at, 3));
  tsr_value over = emit_overlaps(&body, s, b, other);
  tsr_value go = tsr_point_binary(&body, TSR_OP_AND, live, more);
  go = tsr_point_binary(&body, TSR_OP_AND, go, tsr_point_unary(&body, TSR_OP_NOT, over));
  tsr_value one = tsr_point_int(&body, TSR_I64, 1);
  tsr_value next = tsr_point_binary(&body, TSR_OP_ADD, place, one);
  tsr_value yields[2] = {go, next};
  tsr_point_yield(&body, yields, 2);
  return tsr_point_binary(e, TSR_OP_AND, live, tsr_point_binary(e, TSR_OP_GT, last, count));
}

tsr_op tsr_lower_suppress(tsr_ir *ir, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  tsr_value order = data->operands[1].value, count, result, number;
  const tsr_type_info *type = tsr_value_type(ir, order);
  suppress s = {.boxes = data->operands[0].value,
                .overlap = data->operands[3].value,
                .dtype = tsr_value_type(ir, data->operands[0].value)->dtype};
  tsr_point e = begin_rows(ir, op, type, 2, s.at);
  s.chosen = tsr_point_result(&e, type);
  result = tsr_point_result(&e, tsr_value_type(ir, data->results[1]));
  tsr_value running = tsr_read(&e, data->operands[2].value, s.at, 2);
  tsr_value most = tsr_read(&e, data->operands[4].value, NULL, 0);
  tsr_value none = tsr_point_int(&e, TSR_I64, 0);
  tsr_expr turn;
  tsr_op loop;
  tsr_point body = tsr_point_for(&e, zero(&e), type->dims[2], &none, 1, &turn, &count, &loop);
  tsr_value in_time =
      tsr_point_binary(&body, TSR_OP_LT, tsr_point_index(&body, TSR_I64, turn), running);
  tsr_value live =
      tsr_point_binary(&body, TSR_OP_AND, in_time, tsr_point_binary(&body, TSR_OP_LT, count, most));
  s.at[2] = turn;
  number = tsr_read(&body, order, s.at, 3);
  tsr_value enters = emit_is_free(&body, &s, load_box(&body, &s, number), live, count);
  tsr_point enter = emit_if(&body, enters);
  s.at[2] = as_subscript(&body, count);
  tsr_point_store(&enter, number, s.chosen, s.at, 3);
  tsr_value next =
      tsr_point_binary(&body, TSR_OP_ADD, count, tsr_point_cast(&body, enters, TSR_I64));
  tsr_point_yield(&body, &next, 1);
  tsr_point_store(&e, tsr_op_result(ir, loop, 0), result, s.at, 2);
  return e.op;
}
