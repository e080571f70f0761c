/* Reductions, contractions and windows: one block with the result's axes parallel and the summed
 * axes last. Narrow floats are widened in the body and rounded once at the end. */
#include "passes/blocks.h"
#include <math.h>
#include <string.h>

/* Ends a reducing body: reduce over all red axes (none: the value itself), round, store. */
static tsr_op finish_reduce(tsr_point *e, const char *combine, tsr_value element, bool reduces,
                            tsr_value result, const tsr_expr *axes, uint32_t rank) {
  tsr_dtype dtype = tsr_scalar_dtype(e->ir, result);
  tsr_value sum = element;
  if (reduces) {
    tsr_op op = tsr_op_append(e->ir, e->region, TSR_OP_REDUCE);
    tsr_op_add_operand(e->ir, op, element);
    tsr_op_set_string(e->ir, op, "combine", combine);
    sum = tsr_op_add_result(e->ir, op, tsr_scalar_type(e->ir, tsr_scalar_dtype(e->ir, element)));
  }
  tsr_point_store(e, tsr_point_cast(e, sum, dtype), result, axes, rank);
  return e->op;
}

/* Sums and products of narrow floats are kept wider; extrema need no more bits than they have. */
static tsr_dtype reduce_dtype(const char *combine, tsr_dtype dtype) {
  tsr_opcode code = tsr_combiner_opcode(combine);
  return code == TSR_OP_ADD || code == TSR_OP_MUL ? tsr_accumulator_dtype(dtype) : dtype;
}

static bool any_variable(const tsr_ir *ir, const tsr_expr *axes, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (tsr_expr_has(ir, axes[i], TSR_INDEX_VALUE))
      return true;
  return false;
}

tsr_op tsr_lower_reduce(tsr_ir *ir, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  tsr_value x = data->operands[0].value;
  const tsr_type_info *type = tsr_value_type(ir, x);
  const tsr_type_info *out = tsr_value_type(ir, data->results[0]);
  const char *combine = tsr_op_string(ir, op, "combine");
  int64_t axes[TSR_MAX_RANK];
  uint32_t count = 0, kept = 0, reduced = 0, removed = 0;
  tsr_expr par[TSR_MAX_RANK], red[TSR_MAX_RANK], subscripts[TSR_MAX_RANK];
  if (!tsr_op_ints(ir, op, "axes", axes, TSR_MAX_RANK, &count))
    return tsr_ir_poison(ir, TSR_ERR_VERIFY, "reduce: axes must be integers");
  for (uint32_t i = 0; i < count; i++)
    removed |= 1u << axes[i];
  tsr_point e = tsr_point_begin(ir, TSR_OP_BLOCK, op);
  tsr_value result = tsr_point_result(&e, out);
  tsr_point_axes(&e, TSR_ROLE_PAR, out->dims, out->rank, par);
  for (uint32_t i = 0; i < type->rank; i++)
    if ((removed >> i & 1) != 0)
      subscripts[i] = red[reduced++] = tsr_point_axis(&e, TSR_ROLE_RED, type->dims[i]);
    else
      subscripts[i] = par[kept++];
  tsr_value element = tsr_read(&e, x, subscripts, type->rank);
  element = tsr_point_cast(&e, element, reduce_dtype(combine, type->dtype));
  return finish_reduce(&e, combine, element, any_variable(ir, red, reduced), result, par,
                       out->rank);
}

/* True when (b, bi) replaces (a, ai): a total order, so that any order of combining gives the same
 * pair. NaN beats numbers. */
static tsr_value arg_better(tsr_point *e, const tsr_value v[4], bool greatest, bool last) {
  tsr_value tie = tsr_point_binary(e, TSR_OP_EQ, v[0], v[2]);
  tsr_value better = tsr_point_binary(e, greatest ? TSR_OP_GT : TSR_OP_LT, v[2], v[0]);
  if (tsr_dtype_is_float(tsr_scalar_dtype(e->ir, v[0]))) {
    tsr_value nan_a = tsr_point_unary(e, TSR_OP_ISNAN, v[0]);
    tsr_value nan_b = tsr_point_unary(e, TSR_OP_ISNAN, v[2]);
    tsr_value both = tsr_point_binary(e, TSR_OP_AND, nan_a, nan_b);
    tsr_value only_b =
        tsr_point_binary(e, TSR_OP_AND, nan_b, tsr_point_unary(e, TSR_OP_NOT, nan_a));
    tie = tsr_point_binary(e, TSR_OP_OR, tie, both);
    better = tsr_point_binary(e, TSR_OP_OR, better, only_b);
  }
  tsr_value order = tsr_point_binary(e, last ? TSR_OP_GT : TSR_OP_LT, v[3], v[1]);
  return tsr_point_binary(e, TSR_OP_OR, better, tsr_point_binary(e, TSR_OP_AND, tie, order));
}

/* The combiner region of a (value, position) pair: arguments (a, ai, b, bi). */
static void arg_combiner(tsr_point *e, tsr_op reduce, tsr_dtype dtype, bool greatest, bool last) {
  tsr_point body = {.ir = e->ir, .op = e->op, .region = tsr_op_add_region(e->ir, reduce)};
  tsr_value v[4];
  for (uint32_t i = 0; i < 4; i++)
    v[i] = tsr_region_add_arg(e->ir, body.region, TSR_ROLE_PLAIN,
                              tsr_scalar_type(e->ir, i % 2 == 0 ? dtype : TSR_I64));
  tsr_value take = arg_better(&body, v, greatest, last);
  tsr_value chosen[2] = {tsr_point_select(&body, take, v[2], v[0]),
                         tsr_point_select(&body, take, v[3], v[1])};
  tsr_point_yield(&body, chosen, 2);
}

tsr_op tsr_lower_arg_reduce(tsr_ir *ir, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  tsr_value x = data->operands[0].value;
  const tsr_type_info *type = tsr_value_type(ir, x);
  const tsr_type_info *out = tsr_value_type(ir, data->results[0]);
  uint32_t axis = (uint32_t)tsr_op_int(ir, op, "axis", 0);
  const char *combine = tsr_op_string(ir, op, "combine");
  tsr_expr par[TSR_MAX_RANK], subscripts[TSR_MAX_RANK];
  tsr_point e = tsr_point_begin(ir, TSR_OP_BLOCK, op);
  tsr_value result = tsr_point_result(&e, out);
  tsr_point_axes(&e, TSR_ROLE_PAR, out->dims, out->rank, par);
  for (uint32_t i = 0; i < type->rank; i++)
    subscripts[i] =
        i == axis ? tsr_point_axis(&e, TSR_ROLE_RED, type->dims[i]) : par[i - (i > axis)];
  tsr_value position = tsr_point_index(&e, TSR_I64, subscripts[axis]);
  if (tsr_expr_has(ir, subscripts[axis], TSR_INDEX_VALUE)) {
    tsr_value element = tsr_read(&e, x, subscripts, type->rank);
    tsr_op reduce = tsr_op_append(ir, e.region, TSR_OP_REDUCE);
    tsr_op_add_operand(ir, reduce, element);
    tsr_op_add_operand(ir, reduce, position);
    tsr_op_add_result(ir, reduce, tsr_scalar_type(ir, type->dtype));
    position = tsr_op_add_result(ir, reduce, tsr_scalar_type(ir, TSR_I64));
    arg_combiner(&e, reduce, type->dtype, combine == NULL || strcmp(combine, "min") != 0,
                 tsr_op_bool(ir, op, "last", false));
  }
  tsr_point_store(&e, position, result, par, out->rank);
  return e.op;
}

/* Both operands of a contraction in the dtype that products are summed in. */
static tsr_value product(tsr_point *e, tsr_value a, tsr_value b, tsr_dtype result) {
  tsr_dtype dtype = tsr_accumulator_dtype(result);
  tsr_value x = tsr_point_cast(e, a, dtype), y = tsr_point_cast(e, b, dtype);
  return tsr_point_binary(e, TSR_OP_MUL, x, y);
}

tsr_op tsr_lower_einsum(tsr_ir *ir, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  const char *spec = tsr_op_string(ir, op, "spec");
  const tsr_type_info *out = tsr_value_type(ir, data->results[0]);
  const char *text[2] = {spec, spec == NULL ? NULL : strchr(spec, ',')};
  const char *arrow = text[1] == NULL ? NULL : strstr(text[1], "->");
  if (arrow == NULL)
    return tsr_ir_poison(ir, TSR_ERR_VERIFY, "einsum: spec must read like \"mk,kn->mn\"");
  text[1]++;
  tsr_expr axis[26] = {0}, par[TSR_MAX_RANK], subscripts[TSR_MAX_RANK];
  tsr_point e = tsr_point_begin(ir, TSR_OP_BLOCK, op);
  tsr_value result = tsr_point_result(&e, out), values[2];
  tsr_point_axes(&e, TSR_ROLE_PAR, out->dims, out->rank, par);
  for (uint32_t i = 0; i < out->rank; i++)
    axis[arrow[2 + i] - 'a'] = par[i];
  bool reduces = false;
  for (uint32_t n = 0; n < 2; n++) {
    tsr_value x = data->operands[n].value;
    const tsr_type_info *type = tsr_value_type(ir, x);
    for (uint32_t i = 0; i < type->rank; i++) {
      tsr_expr *a = &axis[text[n][i] - 'a'];
      if (*a == 0) {
        *a = tsr_point_axis(&e, TSR_ROLE_RED, type->dims[i]);
        reduces |= tsr_expr_has(ir, *a, TSR_INDEX_VALUE);
      }
      subscripts[i] = *a;
    }
    values[n] = tsr_read(&e, x, subscripts, type->rank);
  }
  tsr_value element = product(&e, values[0], values[1], out->dtype);
  return finish_reduce(&e, "add", element, reduces, result, par, out->rank);
}

/* Where a window reads: axis * stride + tap * dilation - low. */
static tsr_expr window_subscript(tsr_ir *ir, tsr_expr axis, int64_t stride, tsr_expr tap,
                                 int64_t dilation, tsr_expr low) {
  tsr_expr at =
      tsr_expr_add(ir, tsr_expr_mul_int(ir, axis, stride), tsr_expr_mul_int(ir, tap, dilation));
  return tsr_expr_sub(ir, at, low);
}

typedef struct window {
  int64_t strides[TSR_MAX_RANK], dilations[TSR_MAX_RANK];
  const tsr_expr *low;
} window;

static bool read_window(tsr_ir *ir, tsr_op op, uint32_t spatial, window *out) {
  out->low = tsr_read_exprs(ir, op, "low", spatial);
  return tsr_read_ints(ir, op, "strides", spatial, out->strides) &&
         tsr_read_ints(ir, op, "dilations", spatial, out->dilations) && out->low != NULL;
}

/* Padding needs no attribute: a load beyond the input is the 0 that the sum wants. */
tsr_op tsr_lower_conv(tsr_ir *ir, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  tsr_value x = data->operands[0].value, w = data->operands[1].value;
  const tsr_type_info *kernel = tsr_value_type(ir, w);
  const tsr_type_info *out = tsr_value_type(ir, data->results[0]);
  int64_t groups = tsr_op_int(ir, op, "groups", 1);
  uint32_t spatial = out->rank - 2;
  window attrs;
  if (!read_window(ir, op, spatial, &attrs))
    return 0;
  tsr_expr per_group = tsr_expr_floordiv_int(ir, kernel->dims[0], groups);
  tsr_expr from[TSR_MAX_RANK], taps[TSR_MAX_RANK], to[TSR_MAX_RANK];
  tsr_point e = tsr_point_begin(ir, TSR_OP_BLOCK, op);
  tsr_value result = tsr_point_result(&e, out);
  from[0] = to[0] = tsr_point_axis(&e, TSR_ROLE_PAR, out->dims[0]);
  tsr_expr group = tsr_point_axis(&e, TSR_ROLE_PAR, tsr_expr_int(ir, groups));
  tsr_expr channel = tsr_point_axis(&e, TSR_ROLE_PAR, per_group);
  to[1] = taps[0] = tsr_expr_add(ir, tsr_expr_mul(ir, group, per_group), channel);
  tsr_point_axes(&e, TSR_ROLE_PAR, out->dims + 2, spatial, to + 2);
  taps[1] = tsr_point_axis(&e, TSR_ROLE_RED, kernel->dims[1]);
  tsr_point_axes(&e, TSR_ROLE_RED, kernel->dims + 2, spatial, taps + 2);
  from[1] = tsr_expr_add(ir, tsr_expr_mul(ir, group, kernel->dims[1]), taps[1]);
  for (uint32_t i = 0; i < spatial; i++)
    from[i + 2] = window_subscript(ir, to[i + 2], attrs.strides[i], taps[i + 2], attrs.dilations[i],
                                   attrs.low[i]);
  tsr_value a = tsr_point_load(&e, x, from, out->rank), b = tsr_read(&e, w, taps, out->rank);
  tsr_value element = product(&e, a, b, out->dtype);
  return finish_reduce(&e, "add", element, any_variable(ir, taps + 1, spatial + 1), result, to,
                       out->rank);
}

/* The element, or the identity where the window leaves the input. */
static tsr_value load_or_identity(tsr_point *e, tsr_value x, const tsr_expr *subscripts,
                                  uint32_t rank, const char *combine) {
  tsr_dtype dtype = tsr_scalar_dtype(e->ir, x);
  tsr_opcode code = tsr_combiner_opcode(combine);
  bool is_float = tsr_dtype_is_float(dtype);
  if (is_float || code == TSR_OP_ADD || code == TSR_OP_MUL) {
    double pad = code == TSR_OP_MAX   ? -INFINITY
                 : code == TSR_OP_MIN ? INFINITY
                 : code == TSR_OP_MUL ? 1
                                      : 0;
    return tsr_point_load_pad(e, x, subscripts, rank, pad);
  }
  const tsr_type_info *type = tsr_value_type(e->ir, x);
  tsr_expr guard = 0;
  for (uint32_t i = 0; i < rank; i++)
    guard = tsr_inside(e->ir, guard, subscripts[i], type->dims[i]);
  tsr_value loaded = tsr_point_load(e, x, subscripts, rank);
  if (guard == 0)
    return loaded;
  tsr_value identity = tsr_point_identity(e, dtype, combine);
  tsr_value inside = tsr_point_condition(e, guard);
  return tsr_point_select(e, inside, loaded, identity);
}

tsr_op tsr_lower_pool(tsr_ir *ir, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  tsr_value x = data->operands[0].value;
  const tsr_type_info *type = tsr_value_type(ir, x);
  const tsr_type_info *out = tsr_value_type(ir, data->results[0]);
  const char *combine = tsr_op_string(ir, op, "combine");
  int64_t extents[TSR_MAX_RANK];
  uint32_t spatial = 0;
  window attrs;
  if (!tsr_op_ints(ir, op, "window", extents, TSR_MAX_RANK, &spatial))
    return tsr_ir_poison(ir, TSR_ERR_VERIFY, "pool: window must be integers");
  if (!read_window(ir, op, spatial, &attrs))
    return 0;
  uint32_t lead = out->rank - spatial;
  tsr_expr axes[TSR_MAX_RANK], taps[TSR_MAX_RANK], from[TSR_MAX_RANK];
  tsr_point e = tsr_point_begin(ir, TSR_OP_BLOCK, op);
  tsr_value result = tsr_point_result(&e, out);
  tsr_point_axes(&e, TSR_ROLE_PAR, out->dims, out->rank, axes);
  memcpy(from, axes, lead * sizeof *from);
  for (uint32_t i = 0; i < spatial; i++) {
    taps[i] = tsr_point_axis(&e, TSR_ROLE_RED, tsr_expr_int(ir, extents[i]));
    from[lead + i] = window_subscript(ir, axes[lead + i], attrs.strides[i], taps[i],
                                      attrs.dilations[i], attrs.low[i]);
  }
  tsr_value element = load_or_identity(&e, x, from, out->rank, combine);
  element = tsr_point_cast(&e, element, reduce_dtype(combine, type->dtype));
  return finish_reduce(&e, combine, element, any_variable(ir, taps, spatial), result, axes,
                       out->rank);
}
