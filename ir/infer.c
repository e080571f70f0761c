/* Result types of graph ops. Ops whose shape is a choice (reshape, broadcast, slice ...) carry it
 * in their result type, which is checked here; every other result type follows from operands and
 * attributes. */
#include "ir/bf16_parts.h"
#include "ir/graph_build.h"
#include "ir/host_types.h"
#include <string.h>

typedef struct inference {
  tsr_ir *ir;
  tsr_op op;
  const tsr_op_data *data;
  tsr_diag *diag;
  tsr_type *out;
} inference;

static const char *op_text(const inference *in) {
  return tsr_opcode_info(in->data->code)->text;
}

static tsr_status shape_error(const inference *in, const char *what) {
  return tsr_fail(in->diag, TSR_ERR_SHAPE, "%s: %s", op_text(in), what);
}

static tsr_status type_error(const inference *in, const char *what) {
  return tsr_fail(in->diag, TSR_ERR_TYPE, "%s: %s", op_text(in), what);
}

static const tsr_type_info *operand(const inference *in, uint32_t number) {
  return tsr_value_type(in->ir, in->data->operands[number].value);
}

/* The type that the builder or the text gave to result `number`; NULL when there is none yet. */
static const tsr_type_info *declared(const inference *in, uint32_t number) {
  if (number >= in->data->result_count)
    return NULL;
  return tsr_value_type(in->ir, in->data->results[number]);
}

static tsr_status give(const inference *in, uint32_t number, tsr_dtype dtype, const tsr_expr *dims,
                       uint32_t rank) {
  for (uint32_t i = 0; i < rank; i++) {
    int64_t extent;
    if (tsr_expr_is_int(in->ir, dims[i], &extent) && extent < 0)
      return shape_error(in, "a result dim would be negative");
  }
  in->out[number] = tsr_type_make(in->ir, TSR_LEVEL_GLOBAL, dtype, dims, rank);
  return in->out[number] == 0 ? tsr_ir_status(in->ir) : TSR_OK;
}

/* Keeps the declared type of result 0, which must exist and have dtype `dtype` (NONE: any). */
static tsr_status keep(const inference *in, uint32_t number, tsr_dtype dtype) {
  const tsr_type_info *type = declared(in, number);
  if (type == NULL)
    return type_error(in, "the result needs a type");
  if (dtype != TSR_DTYPE_NONE && type->dtype != dtype)
    return type_error(in, "the result's dtype differs from the operand's");
  return give(in, number, type->dtype, type->dims, type->rank);
}

bool tsr_broadcast_dims(tsr_ir *ir, const tsr_type_info *a, const tsr_type_info *b,
                        tsr_expr *out_dims, uint32_t *out_rank) {
  uint32_t rank = a->rank > b->rank ? a->rank : b->rank;
  *out_rank = rank;
  for (uint32_t i = 0; i < rank; i++) {
    tsr_expr x = i + a->rank >= rank ? a->dims[i + a->rank - rank] : tsr_expr_int(ir, 1);
    tsr_expr y = i + b->rank >= rank ? b->dims[i + b->rank - rank] : tsr_expr_int(ir, 1);
    if (x != y && !tsr_expr_equals_int(ir, x, 1) && !tsr_expr_equals_int(ir, y, 1))
      return false;
    out_dims[i] = tsr_expr_equals_int(ir, x, 1) ? y : x;
  }
  return true;
}

static tsr_status broadcast_error(const inference *in, const tsr_type_info *a,
                                  const tsr_type_info *b) {
  tsr_arena scratch;
  tsr_arena_init(&scratch, tsr_ir_allocator(in->ir));
  tsr_type x = tsr_type_make(in->ir, TSR_LEVEL_GLOBAL, a->dtype, a->dims, a->rank);
  tsr_type y = tsr_type_make(in->ir, TSR_LEVEL_GLOBAL, b->dtype, b->dims, b->rank);
  char *left = tsr_type_print(in->ir, x, &scratch);
  char *right = tsr_type_print(in->ir, y, &scratch);
  tsr_status status = tsr_fail(in->diag, TSR_ERR_SHAPE, "%s: shapes %s and %s do not broadcast",
                               op_text(in), left ? left : "?", right ? right : "?");
  tsr_arena_reset(&scratch);
  return status;
}

static bool is_float(tsr_dtype dtype) {
  return tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT;
}

static bool is_integer(tsr_dtype dtype) {
  tsr_dtype_class kind = tsr_dtype_class_of(dtype);
  return kind == TSR_CLASS_INT || kind == TSR_CLASS_UINT;
}

/* Unary ops that only floats have. */
static bool float_only(tsr_opcode code) {
  return code >= TSR_OP_EXP && code <= TSR_OP_ERF && code != TSR_OP_RECIP;
}

static tsr_status infer_unary(const inference *in) {
  const tsr_type_info *x = operand(in, 0);
  tsr_opcode code = in->data->code;
  if (code == TSR_OP_CAST || code == TSR_OP_BITCAST) {
    const tsr_type_info *type = declared(in, 0);
    if (type == NULL)
      return type_error(in, "the result needs a type");
    if (code == TSR_OP_BITCAST && tsr_dtype_bits(type->dtype) != tsr_dtype_bits(x->dtype))
      return type_error(in, "the dtypes differ in width");
    return give(in, 0, type->dtype, x->dims, x->rank);
  }
  if (code == TSR_OP_ISNAN || code == TSR_OP_ISINF) {
    if (!is_float(x->dtype))
      return type_error(in, "needs a floating-point operand");
    return give(in, 0, TSR_BOOL, x->dims, x->rank);
  }
  if (float_only(code) && !is_float(x->dtype))
    return type_error(in, "needs a floating-point operand");
  if (code == TSR_OP_NOT ? is_float(x->dtype) : x->dtype == TSR_BOOL)
    return type_error(in, "does not take this dtype");
  return give(in, 0, x->dtype, x->dims, x->rank);
}

static tsr_status infer_binary(const inference *in) {
  const tsr_type_info *x = operand(in, 0), *y = operand(in, 1);
  tsr_opcode code = in->data->code;
  bool mixed = code == TSR_OP_POW || code == TSR_OP_SHL || code == TSR_OP_SHR;
  if (x->dtype != y->dtype && !mixed)
    return tsr_fail(in->diag, TSR_ERR_TYPE, "%s: operands are %s and %s; they must agree",
                    op_text(in), tsr_dtype_text(x->dtype), tsr_dtype_text(y->dtype));
  bool bitwise = code >= TSR_OP_AND && code <= TSR_OP_SHR;
  if (bitwise && is_float(x->dtype))
    return type_error(in, "needs bool or integer operands");
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t rank;
  if (!tsr_broadcast_dims(in->ir, x, y, dims, &rank))
    return broadcast_error(in, x, y);
  bool compare = tsr_opcode_info(code)->kind == TSR_KIND_COMPARE;
  return give(in, 0, compare ? TSR_BOOL : x->dtype, dims, rank);
}

static tsr_status infer_select(const inference *in) {
  const tsr_type_info *condition = operand(in, 0), *x = operand(in, 1), *y = operand(in, 2);
  if (condition->dtype != TSR_BOOL)
    return type_error(in, "the condition must be bool");
  if (x->dtype != y->dtype)
    return type_error(in, "the two choices differ in dtype");
  tsr_expr dims[TSR_MAX_RANK], all[TSR_MAX_RANK];
  tsr_type_info both = {.level = TSR_LEVEL_GLOBAL, .dtype = x->dtype, .dims = dims};
  uint32_t rank;
  if (!tsr_broadcast_dims(in->ir, x, y, dims, &both.rank))
    return broadcast_error(in, x, y);
  if (!tsr_broadcast_dims(in->ir, condition, &both, all, &rank))
    return broadcast_error(in, condition, &both);
  return give(in, 0, x->dtype, all, rank);
}

static tsr_status infer_reshape(const inference *in) {
  const tsr_type_info *x = operand(in, 0), *y = declared(in, 0);
  TSR_TRY(keep(in, 0, x->dtype));
  tsr_expr before = tsr_expr_int(in->ir, 1), after = before;
  for (uint32_t i = 0; i < x->rank; i++)
    before = tsr_expr_mul(in->ir, before, x->dims[i]);
  for (uint32_t i = 0; i < y->rank; i++)
    after = tsr_expr_mul(in->ir, after, y->dims[i]);
  int64_t a, b;
  if (tsr_expr_is_int(in->ir, before, &a) && tsr_expr_is_int(in->ir, after, &b) && a != b)
    return tsr_fail(in->diag, TSR_ERR_SHAPE, "reshape: %lld elements do not fit a shape of %lld",
                    (long long)a, (long long)b);
  return TSR_OK;
}

/* Reads a permutation of the operand's axes. */
static bool read_perm(const inference *in, const char *key, uint32_t rank, int64_t *perm) {
  uint32_t count, seen = 0;
  if (!tsr_op_ints(in->ir, in->op, key, perm, TSR_MAX_RANK, &count) || count != rank)
    return false;
  for (uint32_t i = 0; i < rank; i++) {
    if (perm[i] < 0 || perm[i] >= rank || (seen >> perm[i] & 1) != 0)
      return false;
    seen |= 1u << perm[i];
  }
  return true;
}

static tsr_status infer_transpose(const inference *in) {
  const tsr_type_info *x = operand(in, 0);
  int64_t perm[TSR_MAX_RANK];
  tsr_expr dims[TSR_MAX_RANK];
  if (!read_perm(in, "perm", x->rank, perm))
    return shape_error(in, "perm is not a permutation of the operand's axes");
  for (uint32_t i = 0; i < x->rank; i++)
    dims[i] = x->dims[perm[i]];
  return give(in, 0, x->dtype, dims, x->rank);
}

static tsr_status infer_broadcast(const inference *in) {
  const tsr_type_info *x = operand(in, 0), *y = declared(in, 0);
  TSR_TRY(keep(in, 0, x->dtype));
  if (x->rank > y->rank)
    return shape_error(in, "the result has fewer axes than the operand");
  for (uint32_t i = 0; i < x->rank; i++) {
    tsr_expr from = x->dims[i], to = y->dims[i + y->rank - x->rank];
    if (from != to && !tsr_expr_equals_int(in->ir, from, 1))
      return broadcast_error(in, x, y);
  }
  return TSR_OK;
}

static const tsr_attr *expr_list(const inference *in, const char *key, uint32_t count) {
  const tsr_attr *attr = tsr_op_attr(in->ir, in->op, key);
  return attr != NULL && attr->kind == TSR_ATTR_EXPRS && attr->count == count ? attr : NULL;
}

static tsr_status infer_slice(const inference *in) {
  const tsr_type_info *x = operand(in, 0), *y = declared(in, 0);
  TSR_TRY(keep(in, 0, x->dtype));
  const tsr_attr *start = expr_list(in, "start", x->rank), *step = expr_list(in, "step", x->rank);
  if (y->rank != x->rank || start == NULL || step == NULL)
    return shape_error(in, "start, step and the result need one entry per axis");
  for (uint32_t i = 0; i < x->rank; i++) {
    int64_t first, by, extent, limit;
    if (!tsr_expr_is_int(in->ir, step->u.exprs[i], &by) || by == 0)
      return shape_error(in, "step must be integers other than 0");
    if (tsr_expr_is_int(in->ir, start->u.exprs[i], &first) &&
        tsr_expr_is_int(in->ir, y->dims[i], &extent) &&
        tsr_expr_is_int(in->ir, x->dims[i], &limit) && extent > 0) {
      int64_t last, span;
      if (__builtin_mul_overflow(extent - 1, by, &span) ||
          __builtin_add_overflow(first, span, &last) || first < 0 || first >= limit || last < 0 ||
          last >= limit)
        return shape_error(in, "the slice leaves the operand");
    }
  }
  return TSR_OK;
}

static const char *const pad_modes[] = {"constant", "edge", "reflect", "wrap"};

static bool one_of(const char *text, const char *const *list, size_t count) {
  for (size_t i = 0; text != NULL && i < count; i++)
    if (strcmp(text, list[i]) == 0)
      return true;
  return false;
}

static tsr_status infer_pad(const inference *in) {
  const tsr_type_info *x = operand(in, 0), *value = operand(in, 1);
  const tsr_attr *low = expr_list(in, "low", x->rank), *high = expr_list(in, "high", x->rank);
  bool has_interior = tsr_op_attr(in->ir, in->op, "interior") != NULL;
  const tsr_attr *interior = has_interior ? expr_list(in, "interior", x->rank) : NULL;
  if (low == NULL || high == NULL || (has_interior && interior == NULL))
    return shape_error(in, "low, high and interior need one entry per axis");
  if (value->rank != 0 || value->dtype != x->dtype)
    return type_error(in, "the pad value must be rank 0 of the operand's dtype");
  if (!one_of(tsr_op_string(in->ir, in->op, "mode"), pad_modes, 4))
    return shape_error(in, "mode must be constant, edge, reflect or wrap");
  tsr_expr dims[TSR_MAX_RANK];
  for (uint32_t i = 0; i < x->rank; i++) {
    tsr_expr inner = x->dims[i];
    if (interior != NULL) {
      tsr_expr gaps =
          tsr_expr_mul(in->ir, tsr_expr_add_int(in->ir, inner, -1), interior->u.exprs[i]);
      inner = tsr_expr_add(in->ir, inner, gaps);
    }
    dims[i] = tsr_expr_add(in->ir, tsr_expr_add(in->ir, inner, low->u.exprs[i]), high->u.exprs[i]);
  }
  return give(in, 0, x->dtype, dims, x->rank);
}

static tsr_status infer_concat(const inference *in) {
  const tsr_type_info *first = operand(in, 0);
  int64_t axis = tsr_op_int(in->ir, in->op, "axis", -1);
  if (axis < 0 || axis >= first->rank)
    return shape_error(in, "axis is out of range");
  tsr_expr dims[TSR_MAX_RANK];
  memcpy(dims, first->dims, first->rank * sizeof *dims);
  for (uint32_t i = 1; i < in->data->operand_count; i++) {
    const tsr_type_info *x = operand(in, i);
    if (x->dtype != first->dtype || x->rank != first->rank)
      return type_error(in, "operands differ in dtype or rank");
    for (uint32_t d = 0; d < x->rank; d++)
      if (d != (uint32_t)axis && x->dims[d] != dims[d])
        return shape_error(in, "operands differ in an axis that is not concatenated");
    dims[axis] = tsr_expr_add(in->ir, dims[axis], x->dims[axis]);
  }
  return give(in, 0, first->dtype, dims, first->rank);
}

static const char *const combiners[] = {"add", "mul", "max", "min", "and", "or"};

static tsr_status infer_reduce(const inference *in) {
  const tsr_type_info *x = operand(in, 0);
  int64_t axes[TSR_MAX_RANK];
  uint32_t count, removed = 0, rank = 0;
  if (!tsr_op_ints(in->ir, in->op, "axes", axes, TSR_MAX_RANK, &count))
    return shape_error(in, "axes must be integers");
  for (uint32_t i = 0; i < count; i++) {
    if (axes[i] < 0 || axes[i] >= x->rank || (removed >> axes[i] & 1) != 0)
      return shape_error(in, "axes are out of range or repeated");
    removed |= 1u << axes[i];
  }
  if (!one_of(tsr_op_string(in->ir, in->op, "combine"), combiners, 6))
    return type_error(in, "combine must be add, mul, max, min, and, or");
  tsr_expr dims[TSR_MAX_RANK];
  for (uint32_t i = 0; i < x->rank; i++)
    if ((removed >> i & 1) == 0)
      dims[rank++] = x->dims[i];
  return give(in, 0, x->dtype, dims, rank);
}

static tsr_status infer_arg_reduce(const inference *in) {
  const tsr_type_info *x = operand(in, 0);
  int64_t axis = tsr_op_int(in->ir, in->op, "axis", -1);
  if (axis < 0 || axis >= x->rank)
    return shape_error(in, "axis is out of range");
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t rank = 0;
  for (uint32_t i = 0; i < x->rank; i++)
    if (i != (uint32_t)axis)
      dims[rank++] = x->dims[i];
  return give(in, 0, TSR_I64, dims, rank);
}

static tsr_dtype accumulator(tsr_dtype dtype) {
  return is_integer(dtype) && tsr_dtype_bits(dtype) < 32 ? TSR_I32 : dtype;
}

static tsr_status contraction_dtype(const inference *in, tsr_dtype *out) {
  tsr_dtype a = operand(in, 0)->dtype, b = operand(in, 1)->dtype;
  bool narrow =
      is_integer(a) && is_integer(b) && accumulator(a) == TSR_I32 && accumulator(b) == TSR_I32;
  if (a == TSR_BOOL || (a != b && !narrow))
    return tsr_fail(in->diag, TSR_ERR_TYPE, "%s: operands are %s and %s; they must agree",
                    op_text(in), tsr_dtype_text(a), tsr_dtype_text(b));
  *out = accumulator(a);
  return TSR_OK;
}

/* Binds the letters of one operand to its dims; a letter bound before must have the same dim. */
static bool bind_letters(const char *letters, size_t count, const tsr_type_info *type,
                         tsr_expr *bound) {
  uint32_t seen = 0;
  if (count != type->rank)
    return false;
  for (size_t i = 0; i < count; i++) {
    if (letters[i] < 'a' || letters[i] > 'z')
      return false;
    uint32_t letter = (uint32_t)(letters[i] - 'a');
    if ((seen >> letter & 1) != 0 || (bound[letter] != 0 && bound[letter] != type->dims[i]))
      return false;
    seen |= 1u << letter;
    bound[letter] = type->dims[i];
  }
  return true;
}

static tsr_status infer_einsum(const inference *in) {
  const char *spec = tsr_op_string(in->ir, in->op, "spec");
  const char *comma = spec == NULL ? NULL : strchr(spec, ',');
  const char *arrow = comma == NULL ? NULL : strstr(comma, "->");
  tsr_expr bound[26] = {0}, dims[TSR_MAX_RANK];
  tsr_dtype dtype;
  if (arrow == NULL)
    return shape_error(in, "spec must read like \"mk,kn->mn\"");
  if (!bind_letters(spec, (size_t)(comma - spec), operand(in, 0), bound) ||
      !bind_letters(comma + 1, (size_t)(arrow - comma - 1), operand(in, 1), bound))
    return tsr_fail(in->diag, TSR_ERR_SHAPE, "einsum: the operands' shapes do not fit \"%s\"",
                    spec);
  TSR_TRY(contraction_dtype(in, &dtype));
  uint32_t rank = 0, seen = 0;
  for (const char *c = arrow + 2; *c != 0; c++, rank++) {
    if (*c < 'a' || *c > 'z' || rank == TSR_MAX_RANK || bound[*c - 'a'] == 0 ||
        (seen >> (*c - 'a') & 1) != 0)
      return shape_error(in, "the spec's result has an unknown or repeated axis");
    seen |= 1u << (*c - 'a');
    dims[rank] = bound[*c - 'a'];
  }
  return give(in, 0, dtype, dims, rank);
}

/* floor((x + low + high - (window - 1) * dilation - 1) / stride) + 1 */
static tsr_expr window_extent(tsr_ir *ir, tsr_expr x, tsr_expr low, tsr_expr high, tsr_expr window,
                              int64_t dilation, int64_t stride) {
  tsr_expr padded = tsr_expr_add(ir, tsr_expr_add(ir, x, low), high);
  tsr_expr reach = tsr_expr_mul_int(ir, tsr_expr_add_int(ir, window, -1), dilation);
  tsr_expr room = tsr_expr_add_int(ir, tsr_expr_sub(ir, padded, reach), -1);
  return tsr_expr_add_int(ir, tsr_expr_floordiv_int(ir, room, stride), 1);
}

typedef struct window_attrs {
  int64_t strides[TSR_MAX_RANK], dilations[TSR_MAX_RANK];
  const tsr_attr *low, *high;
} window_attrs;

static tsr_status read_window(const inference *in, uint32_t spatial, window_attrs *out) {
  uint32_t strides, dilations;
  out->low = expr_list(in, "low", spatial);
  out->high = expr_list(in, "high", spatial);
  if (!tsr_op_ints(in->ir, in->op, "strides", out->strides, TSR_MAX_RANK, &strides) ||
      !tsr_op_ints(in->ir, in->op, "dilations", out->dilations, TSR_MAX_RANK, &dilations) ||
      strides != spatial || dilations != spatial || out->low == NULL || out->high == NULL)
    return shape_error(in, "strides, dilations, low and high need one entry per spatial axis");
  for (uint32_t i = 0; i < spatial; i++)
    if (out->strides[i] < 1 || out->dilations[i] < 1)
      return shape_error(in, "strides and dilations must be positive");
  return TSR_OK;
}

static tsr_status infer_conv(const inference *in) {
  const tsr_type_info *x = operand(in, 0), *w = operand(in, 1);
  if (x->rank < 3 || x->rank != w->rank)
    return shape_error(in, "x and w need the same rank of 3 or more");
  uint32_t spatial = x->rank - 2;
  window_attrs attrs;
  TSR_TRY(read_window(in, spatial, &attrs));
  int64_t groups = tsr_op_int(in->ir, in->op, "groups", 0);
  if (groups < 1 || tsr_expr_mul_int(in->ir, w->dims[1], groups) != x->dims[1])
    return shape_error(in, "the channels of x are not groups times the channels of w");
  if (!tsr_expr_divisible(in->ir, w->dims[0], groups))
    return shape_error(in, "groups does not divide the output channels");
  tsr_dtype dtype;
  TSR_TRY(contraction_dtype(in, &dtype));
  tsr_expr dims[TSR_MAX_RANK] = {x->dims[0], w->dims[0]};
  for (uint32_t i = 0; i < spatial; i++)
    dims[i + 2] =
        window_extent(in->ir, x->dims[i + 2], attrs.low->u.exprs[i], attrs.high->u.exprs[i],
                      w->dims[i + 2], attrs.dilations[i], attrs.strides[i]);
  return give(in, 0, dtype, dims, x->rank);
}

static tsr_status infer_pool(const inference *in) {
  const tsr_type_info *x = operand(in, 0);
  int64_t window[TSR_MAX_RANK];
  uint32_t spatial;
  if (!tsr_op_ints(in->ir, in->op, "window", window, TSR_MAX_RANK, &spatial) || spatial > x->rank)
    return shape_error(in, "window must be integers, one per pooled axis");
  if (!one_of(tsr_op_string(in->ir, in->op, "combine"), combiners, 4))
    return type_error(in, "combine must be add, mul, max or min");
  window_attrs attrs;
  TSR_TRY(read_window(in, spatial, &attrs));
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t lead = x->rank - spatial;
  memcpy(dims, x->dims, lead * sizeof *dims);
  for (uint32_t i = 0; i < spatial; i++) {
    if (window[i] < 1)
      return shape_error(in, "window extents must be positive");
    dims[lead + i] =
        window_extent(in->ir, x->dims[lead + i], attrs.low->u.exprs[i], attrs.high->u.exprs[i],
                      tsr_expr_int(in->ir, window[i]), attrs.dilations[i], attrs.strides[i]);
  }
  return give(in, 0, x->dtype, dims, x->rank);
}

static tsr_status infer_scan(const inference *in) {
  const tsr_type_info *x = operand(in, 0);
  int64_t axis = tsr_op_int(in->ir, in->op, "axis", -1);
  if (axis < 0 || axis >= x->rank)
    return shape_error(in, "axis is out of range");
  return give(in, 0, x->dtype, x->dims, x->rank);
}

static tsr_status check_indices(const inference *in) {
  if (!is_integer(operand(in, 1)->dtype))
    return type_error(in, "indices must be integers");
  return TSR_OK;
}

static tsr_status infer_gather(const inference *in) {
  const tsr_type_info *x = operand(in, 0), *indices = operand(in, 1);
  int64_t axis = tsr_op_int(in->ir, in->op, "axis", -1);
  TSR_TRY(check_indices(in));
  if (axis < 0 || axis >= x->rank || x->rank + indices->rank - 1 > TSR_MAX_RANK)
    return shape_error(in, "axis is out of range");
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t rank = 0;
  for (uint32_t i = 0; i < x->rank; i++) {
    if (i != (uint32_t)axis)
      dims[rank++] = x->dims[i];
    else
      for (uint32_t k = 0; k < indices->rank; k++)
        dims[rank++] = indices->dims[k];
  }
  return give(in, 0, x->dtype, dims, rank);
}

static tsr_status infer_gather_nd(const inference *in) {
  const tsr_type_info *x = operand(in, 0), *indices = operand(in, 1);
  int64_t batch = tsr_op_int(in->ir, in->op, "batch", -1), width;
  TSR_TRY(check_indices(in));
  if (indices->rank == 0 || batch < 0 || batch >= indices->rank ||
      !tsr_expr_is_int(in->ir, indices->dims[indices->rank - 1], &width) || width < 0 ||
      batch + width > x->rank || indices->rank - 1 + x->rank > TSR_MAX_RANK)
    return shape_error(in, "the last axis of indices must be a known number of operand axes");
  for (int64_t i = 0; i < batch; i++)
    if (x->dims[i] != indices->dims[i])
      return shape_error(in, "batch axes differ");
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t rank = 0;
  for (uint32_t i = 0; i + 1 < indices->rank; i++)
    dims[rank++] = indices->dims[i];
  for (uint32_t i = (uint32_t)(batch + width); i < x->rank; i++)
    dims[rank++] = x->dims[i];
  return give(in, 0, x->dtype, dims, rank);
}

static tsr_status infer_gather_elements(const inference *in) {
  const tsr_type_info *x = operand(in, 0), *indices = operand(in, 1);
  int64_t axis = tsr_op_int(in->ir, in->op, "axis", -1);
  TSR_TRY(check_indices(in));
  if (axis < 0 || axis >= x->rank || indices->rank != x->rank)
    return shape_error(in, "axis is out of range, or indices have another rank");
  return give(in, 0, x->dtype, indices->dims, indices->rank);
}

static tsr_status infer_scatter(const inference *in) {
  const tsr_type_info *x = operand(in, 0), *indices = operand(in, 1), *updates = operand(in, 2);
  TSR_TRY(check_indices(in));
  if (updates->dtype != x->dtype)
    return type_error(in, "updates must have the operand's dtype");
  if (in->data->code == TSR_OP_SCATTER_ELEMENTS) {
    int64_t axis = tsr_op_int(in->ir, in->op, "axis", -1);
    if (axis < 0 || axis >= x->rank || indices->rank != x->rank || updates->rank != x->rank)
      return shape_error(in, "axis is out of range, or ranks differ");
    for (uint32_t i = 0; i < x->rank; i++)
      if (indices->dims[i] != updates->dims[i])
        return shape_error(in, "indices and updates differ in shape");
    return give(in, 0, x->dtype, x->dims, x->rank);
  }
  int64_t width;
  if (indices->rank == 0 || !tsr_expr_is_int(in->ir, indices->dims[indices->rank - 1], &width) ||
      width < 0 || width > x->rank ||
      updates->rank != indices->rank - 1 + x->rank - (uint32_t)width)
    return shape_error(in, "updates do not fit indices and operand");
  for (uint32_t i = 0; i < updates->rank; i++) {
    tsr_expr want =
        i + 1 < indices->rank ? indices->dims[i] : x->dims[(uint32_t)width + i + 1 - indices->rank];
    if (updates->dims[i] != want)
      return shape_error(in, "updates do not fit indices and operand");
  }
  return give(in, 0, x->dtype, x->dims, x->rank);
}

static tsr_status infer_topk(const inference *in) {
  const tsr_type_info *x = operand(in, 0);
  const tsr_type_info *values = declared(in, 0);
  int64_t axis = tsr_op_int(in->ir, in->op, "axis", -1), k, extent;
  if (axis < 0 || axis >= x->rank)
    return shape_error(in, "axis is out of range");
  if (values == NULL || values->rank != x->rank)
    return shape_error(in, "the results need types of the operand's rank");
  if (tsr_expr_is_int(in->ir, values->dims[axis], &k) &&
      tsr_expr_is_int(in->ir, x->dims[axis], &extent) && k > extent)
    return shape_error(in, "k is larger than the axis");
  for (uint32_t i = 0; i < x->rank; i++)
    if (i != (uint32_t)axis && values->dims[i] != x->dims[i])
      return shape_error(in, "the results differ from the operand in another axis");
  TSR_TRY(give(in, 0, x->dtype, values->dims, values->rank));
  return give(in, 1, TSR_I64, values->dims, values->rank);
}

static tsr_status infer_suppress(const inference *in) {
  const tsr_type_info *boxes = operand(in, 0), *order = operand(in, 1), *running = operand(in, 2);
  const tsr_type_info *overlap = operand(in, 3), *most = operand(in, 4);
  if (!is_float(boxes->dtype) || overlap->dtype != boxes->dtype || order->dtype != TSR_I64 ||
      running->dtype != TSR_I64 || most->dtype != TSR_I64)
    return type_error(in, "boxes and overlap are floats, everything else is i64");
  if (boxes->rank != 3 || order->rank != 3 || running->rank != 2 || overlap->rank != 0 ||
      most->rank != 0 || !tsr_expr_equals_int(in->ir, boxes->dims[2], 4))
    return shape_error(in, "operands are [B, N, 4], [B, C, N], [B, C], [] and []");
  if (order->dims[0] != boxes->dims[0] || order->dims[2] != boxes->dims[1] ||
      running->dims[0] != order->dims[0] || running->dims[1] != order->dims[1])
    return shape_error(in, "the operands' extents differ");
  TSR_TRY(give(in, 0, TSR_I64, order->dims, 3));
  return give(in, 1, TSR_I64, order->dims, 2);
}

static tsr_status infer_nonzero(const inference *in) {
  const tsr_type_info *x = operand(in, 0);
  tsr_expr dims[2] = {tsr_expr_int(in->ir, x->rank), tsr_expr_int(in->ir, 1)};
  for (uint32_t i = 0; i < x->rank; i++)
    dims[1] = tsr_expr_mul(in->ir, dims[1], x->dims[i]);
  TSR_TRY(give(in, 0, TSR_I64, dims, 2));
  return give(in, 1, TSR_I64, NULL, 0);
}

/* The count may be an element of a tensor: its subscripts are numbers inside the tensor. */
static bool names_element(const inference *in, const tsr_operand *operand,
                          const tsr_type_info *type) {
  if (operand->subscript_count != type->rank)
    return false;
  for (uint32_t i = 0; i < type->rank; i++) {
    int64_t at, extent;
    if (!tsr_expr_is_int(in->ir, operand->subscripts[i], &at) ||
        !tsr_expr_is_int(in->ir, type->dims[i], &extent) || at < 0 || at >= extent)
      return false;
  }
  return true;
}

static tsr_status infer_resize_dim(const inference *in) {
  const tsr_type_info *x = operand(in, 0), *count = operand(in, 1), *y = declared(in, 0);
  TSR_TRY(keep(in, 0, x->dtype));
  if (count->dtype != TSR_I64)
    return type_error(in, "the count must be i64");
  if (!names_element(in, &in->data->operands[1], count))
    return shape_error(in, "the count must be a scalar or one element of a tensor of known shape");
  if (x->rank != y->rank)
    return shape_error(in, "the result has another rank");
  return TSR_OK;
}

static tsr_status infer_relayout(const inference *in) {
  const tsr_type_info *x = operand(in, 0);
  const int64_t parts = tsr_op_int(in->ir, in->op, "parts", -1);
  TSR_TRY(keep(in, 0, parts >= 0 ? TSR_BF16 : x->dtype));
  if (expr_list(in, "map", x->rank) == NULL)
    return shape_error(in, "map needs one subscript per axis of the operand");
  if (parts < 0)
    return TSR_OK;
  if (x->dtype != TSR_F32)
    return type_error(in, "parts are those of f32");
  const tsr_type_info *y = declared(in, 0);
  return parts >= y->rank || !tsr_expr_equals_int(in->ir, y->dims[parts], TSR_BF16_PARTS)
             ? shape_error(in, "parts is no axis of 3 positions")
             : TSR_OK;
}

static tsr_status infer_iota(const inference *in) {
  const tsr_type_info *y = declared(in, 0);
  TSR_TRY(keep(in, 0, TSR_DTYPE_NONE));
  int64_t axis = tsr_op_int(in->ir, in->op, "axis", -1);
  return axis < 0 || axis >= y->rank ? shape_error(in, "axis is out of range") : TSR_OK;
}

static tsr_status infer_index(const inference *in) {
  TSR_TRY(keep(in, 0, TSR_DTYPE_NONE));
  const tsr_type_info *y = declared(in, 0);
  return y->rank != 0 || !is_integer(y->dtype) ? type_error(in, "the result is a rank-0 integer")
                                               : TSR_OK;
}

static tsr_status keep_all(const inference *in) {
  for (uint32_t i = 0; i < in->data->result_count && i < 2; i++)
    TSR_TRY(keep(in, i, TSR_DTYPE_NONE));
  return TSR_OK;
}

tsr_status tsr_infer_types(tsr_ir *ir, tsr_op op, tsr_diag *diag, tsr_type *out_types) {
  inference in = {.ir = ir, .op = op, .data = tsr_op_get(ir, op), .diag = diag, .out = out_types};
  out_types[0] = out_types[1] = 0;
  if (tsr_opcode_info(in.data->code)->kind == TSR_KIND_HOST)
    return tsr_check_host_types(ir, op, diag);
  for (uint32_t i = 0; i < in.data->operand_count; i++)
    if (tsr_type_of_host(operand(&in, i)))
      return type_error(&in, "lists and maybes are for the host's operators");
  switch (tsr_opcode_info(in.data->code)->kind) {
  case TSR_KIND_UNARY:
    return infer_unary(&in);
  case TSR_KIND_BINARY:
  case TSR_KIND_COMPARE:
    return infer_binary(&in);
  case TSR_KIND_TERNARY:
    return infer_select(&in);
  default:
    break;
  }
  switch (in.data->code) {
  case TSR_OP_IOTA:
    return infer_iota(&in);
  case TSR_OP_INDEX:
    return infer_index(&in);
  case TSR_OP_RESHAPE:
    return infer_reshape(&in);
  case TSR_OP_TRANSPOSE:
    return infer_transpose(&in);
  case TSR_OP_BROADCAST:
    return infer_broadcast(&in);
  case TSR_OP_SLICE:
    return infer_slice(&in);
  case TSR_OP_PAD:
    return infer_pad(&in);
  case TSR_OP_CONCAT:
    return infer_concat(&in);
  case TSR_OP_RELAYOUT:
    return infer_relayout(&in);
  case TSR_OP_REDUCE:
    return infer_reduce(&in);
  case TSR_OP_ARG_REDUCE:
    return infer_arg_reduce(&in);
  case TSR_OP_EINSUM:
    return infer_einsum(&in);
  case TSR_OP_CONV:
    return infer_conv(&in);
  case TSR_OP_POOL:
    return infer_pool(&in);
  case TSR_OP_SCAN:
    return infer_scan(&in);
  case TSR_OP_GATHER:
    return infer_gather(&in);
  case TSR_OP_GATHER_ND:
    return infer_gather_nd(&in);
  case TSR_OP_GATHER_ELEMENTS:
    return infer_gather_elements(&in);
  case TSR_OP_SCATTER_ND:
  case TSR_OP_SCATTER_ELEMENTS:
    return infer_scatter(&in);
  case TSR_OP_TOPK:
    return infer_topk(&in);
  case TSR_OP_SUPPRESS:
    return infer_suppress(&in);
  case TSR_OP_NONZERO:
    return infer_nonzero(&in);
  case TSR_OP_RESIZE_DIM:
    return infer_resize_dim(&in);
  default:
    return keep_all(&in);
  }
}
