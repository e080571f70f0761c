/* bytes: products of integers whose factors are bytes less a zero point, as quantised models have
 * them, become products of the bytes themselves, one side unsigned and the other signed, which is
 * what targets multiply at once:
 *
 *   sum (a - za)(b - zb)  =  sum a b  -  za sum b  -  zb (sum a - K za)
 *
 * exactly, as i32 wraps. A constant side is taken by its values: they are signed bytes plus an
 * offset. A side of the wrong sign moves by 128. */
#include "ir/eval.h"
#include "ir/graph_build.h"
#include "passes/canonicalize.h"
#include "passes/passes.h"
#include "passes/point.h"
#include <string.h>

/* What is taken from every byte: nothing, a number, or a value of rank 0. */
typedef struct zero_point {
  int64_t number;
  tsr_value value; /* i32, or 0 */
} zero_point;

typedef struct factor {
  tsr_value bytes; /* i8 or u8 */
  zero_point zero;
} factor;

typedef struct rewriting {
  tsr_ir *ir;
  tsr_builder b;
  tsr_op op;
  tsr_diag *diag;
  tsr_status status;
  bool added; /* ops, perhaps for nothing */
} rewriting;

static tsr_op defined_by(const tsr_ir *ir, tsr_value value, tsr_opcode code) {
  const tsr_value_data *data = tsr_value_get(ir, value);
  const bool found =
      data->role == TSR_ROLE_RESULT && data->def != 0 && tsr_op_get(ir, data->def)->code == code;
  return found ? data->def : 0;
}

static tsr_value operand(const tsr_ir *ir, tsr_op op, uint32_t number) {
  return tsr_op_get(ir, op)->operands[number].value;
}

static tsr_dtype dtype_of(const tsr_ir *ir, tsr_value value) {
  return tsr_value_type(ir, value)->dtype;
}

static bool is_byte(tsr_dtype dtype) {
  return dtype == TSR_I8 || dtype == TSR_U8;
}

/* --- factors --- */

static tsr_value widened_bytes(const tsr_ir *ir, tsr_value value) {
  const tsr_op cast = defined_by(ir, value, TSR_OP_CAST);
  return cast != 0 && is_byte(dtype_of(ir, operand(ir, cast, 0))) ? operand(ir, cast, 0) : 0;
}

/* One number for the whole tensor, of any rank. */
static bool read_zero(rewriting *r, tsr_value value, zero_point *out_zero) {
  const tsr_type_info *type = tsr_value_type(r->ir, value);
  double number;
  *out_zero = (zero_point){0};
  if (tsr_value_splat(r->ir, value, &number, &out_zero->number))
    return true;
  for (uint32_t i = 0; i < type->rank; i++)
    if (!tsr_expr_equals_int(r->ir, type->dims[i], 1))
      return false;
  out_zero->value = type->rank == 0 ? value : tsr_graph_reshape(&r->b, value, NULL, 0);
  return true;
}

static bool read_factor(rewriting *r, tsr_value value, factor *out_factor) {
  *out_factor = (factor){.bytes = widened_bytes(r->ir, value)};
  if (out_factor->bytes != 0)
    return true;
  const tsr_op sub = defined_by(r->ir, value, TSR_OP_SUB);
  if (sub == 0)
    return false;
  const tsr_value from = operand(r->ir, sub, 0);
  out_factor->bytes = widened_bytes(r->ir, from);
  return out_factor->bytes != 0 &&
         tsr_value_get(r->ir, from)->type == tsr_value_get(r->ir, value)->type &&
         read_zero(r, operand(r->ir, sub, 1), &out_factor->zero);
}

/* A constant as signed bytes, its least value becoming -128 where they do not fit as they are. */
static tsr_status read_constant(rewriting *r, tsr_value value, factor *out_factor,
                                bool *out_found) {
  tsr_eval *eval = NULL;
  const tsr_array *array = NULL;
  int64_t low = 0, high = 0;
  *out_factor = (factor){0};
  *out_found = false;
  if (defined_by(r->ir, value, TSR_OP_CONST) == 0)
    return TSR_OK;
  tsr_status status = tsr_eval_create(r->ir, NULL, true, INT64_MAX, tsr_ir_allocator(r->ir), &eval);
  if (status == TSR_OK)
    status = tsr_eval_get(eval, value, &array);
  for (int64_t i = 0; status == TSR_OK && i < array->count; i++) {
    low = i == 0 || array->integers[i] < low ? array->integers[i] : low;
    high = i == 0 || array->integers[i] > high ? array->integers[i] : high;
  }
  if (status == TSR_OK && array->count > 0 && high - low <= 255) {
    const int64_t offset = low >= -128 && high <= 127 ? 0 : low + 128;
    int8_t *bytes = tsr_arena_alloc(tsr_ir_arena(r->ir), (size_t)array->count);
    if (bytes == NULL)
      status = TSR_ERR_OUT_OF_MEMORY;
    for (int64_t i = 0; bytes != NULL && i < array->count; i++)
      bytes[i] = (int8_t)(array->integers[i] - offset);
    if (bytes != NULL) {
      out_factor->bytes = tsr_graph_const(&r->b, TSR_I8, array->dims, array->rank, bytes, false);
      out_factor->zero.number = -offset;
      *out_found = true;
    }
  }
  if (eval != NULL)
    tsr_eval_destroy(eval);
  if (status == TSR_ERR_OUT_OF_MEMORY)
    return tsr_fail(r->diag, status, "out of memory in bytes");
  return TSR_OK; /* what cannot be evaluated stays as it is */
}

static tsr_value number(rewriting *r, int64_t value) {
  return tsr_graph_scalar_int(&r->b, TSR_I32, value);
}

static tsr_value wide(rewriting *r, tsr_value bytes) {
  return tsr_graph_cast(&r->b, bytes, TSR_I32);
}

/* Bytes of the other sign: 128 more for i8, 128 less for u8. */
static void change_sign(rewriting *r, factor *f) {
  const bool is_signed = dtype_of(r->ir, f->bytes) == TSR_I8;
  const int64_t moved = is_signed ? 128 : -128;
  const tsr_value sum = tsr_graph_binary(&r->b, TSR_OP_ADD, wide(r, f->bytes), number(r, moved));
  f->bytes = tsr_graph_cast(&r->b, sum, is_signed ? TSR_U8 : TSR_I8);
  if (f->zero.value != 0)
    f->zero.value = tsr_graph_binary(&r->b, TSR_OP_ADD, f->zero.value, number(r, moved));
  else
    f->zero.number += moved;
}

static bool is_zero(const zero_point *zero) {
  return zero->value == 0 && zero->number == 0;
}

static tsr_value zero_value(rewriting *r, const zero_point *zero) {
  return zero->value != 0 ? zero->value : number(r, zero->number);
}

/* The constant that an op on constants makes: sums over weights. */
static tsr_value folded(rewriting *r, tsr_value value) {
  if (r->status == TSR_OK)
    r->status = tsr_fold_value(&r->b, value, r->diag, &value);
  return value;
}

static bool is_constant(const rewriting *r, tsr_value value) {
  return defined_by(r->ir, value, TSR_OP_CONST) != 0;
}

static tsr_value less(rewriting *r, tsr_value from, const zero_point *zero, tsr_value times) {
  const bool known = is_constant(r, times) && zero->value == 0;
  tsr_value part = tsr_graph_binary(&r->b, TSR_OP_MUL, times, zero_value(r, zero));
  part = known ? folded(r, part) : part;
  return tsr_graph_binary(&r->b, TSR_OP_SUB, from, part);
}

/* --- einsum --- */

typedef struct einsum_spec {
  const char *letters[3]; /* x, y, result */
  uint32_t counts[3];
} einsum_spec;

static bool read_spec(const tsr_ir *ir, tsr_op op, einsum_spec *out_spec) {
  const char *text = tsr_op_string(ir, op, "spec");
  const char *comma = text != NULL ? strchr(text, ',') : NULL;
  const char *arrow = comma != NULL ? strstr(comma, "->") : NULL;
  if (arrow == NULL)
    return false;
  *out_spec = (einsum_spec){.letters = {text, comma + 1, arrow + 2}};
  out_spec->counts[0] = (uint32_t)(comma - text);
  out_spec->counts[1] = (uint32_t)(arrow - comma - 1);
  out_spec->counts[2] = (uint32_t)strlen(arrow + 2);
  return true;
}

static int position(const einsum_spec *spec, unsigned which, char letter) {
  for (uint32_t i = 0; i < spec->counts[which]; i++)
    if (spec->letters[which][i] == letter)
      return (int)i;
  return -1;
}

/* Every letter that the result lacks is in both operands, and their other letters come in the
 * result's order, so that sums over one operand only need new axes of extent 1. */
static bool is_product(const einsum_spec *spec) {
  for (unsigned which = 0; which < 2; which++) {
    int before = -1;
    for (uint32_t i = 0; i < spec->counts[which]; i++) {
      const char letter = spec->letters[which][i];
      const int at = position(spec, 2, letter);
      if (at < 0 ? position(spec, 1 - which, letter) < 0 : at <= before)
        return false;
      before = at < 0 ? before : at;
    }
  }
  return true;
}

/* The sum of one operand's bytes over what the product sums over, to be broadcast to the result. */
static tsr_value sum_of(rewriting *r, const einsum_spec *spec, unsigned which, tsr_value bytes) {
  const tsr_type_info type = *tsr_value_type(r->ir, bytes);
  int64_t axes[TSR_MAX_RANK];
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t count = 0;
  for (uint32_t i = 0; i < spec->counts[which]; i++)
    if (position(spec, 2, spec->letters[which][i]) < 0)
      axes[count++] = i;
  for (uint32_t i = 0; i < spec->counts[2]; i++) {
    const int at = position(spec, which, spec->letters[2][i]);
    dims[i] = at < 0 ? tsr_expr_int(r->ir, 1) : type.dims[at];
  }
  const tsr_value sum = tsr_graph_reduce(&r->b, wide(r, bytes), "add", axes, count);
  const tsr_value shaped = tsr_graph_reshape(&r->b, sum, dims, spec->counts[2]);
  return is_constant(r, bytes) ? folded(r, shaped) : shaped;
}

/* Extents of the sum, or 0 when they are not known. */
static int64_t depth_of(const rewriting *r, const einsum_spec *spec, tsr_value x) {
  const tsr_type_info *type = tsr_value_type(r->ir, x);
  int64_t depth = 1, extent = 0;
  for (uint32_t i = 0; i < spec->counts[0]; i++)
    if (position(spec, 2, spec->letters[0][i]) < 0)
      depth = tsr_expr_is_int(r->ir, type->dims[i], &extent) ? depth * extent : 0;
  return depth;
}

static tsr_value rewrite_einsum(rewriting *r, factor *f) {
  einsum_spec spec;
  if (!read_spec(r->ir, r->op, &spec) || !is_product(&spec))
    return 0;
  const int64_t depth = depth_of(r, &spec, f[0].bytes);
  if (depth == 0 && !is_zero(&f[0].zero) && !is_zero(&f[1].zero))
    return 0;
  tsr_value result = tsr_graph_einsum(&r->b, tsr_op_string(r->ir, r->op, "spec"),
                                      wide(r, f[0].bytes), wide(r, f[1].bytes));
  if (!is_zero(&f[0].zero))
    result = less(r, result, &f[0].zero, sum_of(r, &spec, 1, f[1].bytes));
  if (is_zero(&f[1].zero))
    return result;
  tsr_value sum = sum_of(r, &spec, 0, f[0].bytes);
  if (!is_zero(&f[0].zero))
    sum = less(r, sum, &f[0].zero, number(r, depth));
  return less(r, result, &f[1].zero, sum);
}

/* --- conv --- */

static bool read_numbers(const tsr_ir *ir, tsr_op op, const char *key, int64_t *out,
                         uint32_t count) {
  uint32_t found = 0;
  return tsr_op_ints(ir, op, key, out, TSR_MAX_RANK, &found) && found == count;
}

/* Padding is with the zero point, so that all windows are alike. */
static tsr_value padded(rewriting *r, const factor *x, const int64_t *low, const int64_t *high) {
  const tsr_type_info *type = tsr_value_type(r->ir, x->bytes);
  tsr_expr before[TSR_MAX_RANK], after[TSR_MAX_RANK];
  bool none = true;
  for (uint32_t i = 0; i < type->rank; i++) {
    before[i] = tsr_expr_int(r->ir, i < 2 ? 0 : low[i - 2]);
    after[i] = tsr_expr_int(r->ir, i < 2 ? 0 : high[i - 2]);
    none = none && (i < 2 || (low[i - 2] == 0 && high[i - 2] == 0));
  }
  if (none)
    return x->bytes;
  const tsr_value pad = tsr_graph_scalar_int(&r->b, type->dtype, x->zero.number);
  return tsr_graph_pad(&r->b, x->bytes, pad, before, after, NULL, "constant");
}

static tsr_value rewrite_conv(rewriting *r, factor *f) {
  const tsr_type_info *type = tsr_value_type(r->ir, f[0].bytes);
  const uint32_t rank = type->rank, spatial = rank - 2;
  int64_t strides[TSR_MAX_RANK], dilations[TSR_MAX_RANK], low[TSR_MAX_RANK], high[TSR_MAX_RANK];
  int64_t axes[TSR_MAX_RANK];
  tsr_expr zeros[TSR_MAX_RANK], dims[TSR_MAX_RANK];
  const bool unsigned_x = dtype_of(r->ir, f[0].bytes) == TSR_U8;
  bool pads = false;
  if (rank < 3 || tsr_op_int(r->ir, r->op, "groups", 1) != 1 ||
      !read_numbers(r->ir, r->op, "strides", strides, spatial) ||
      !read_numbers(r->ir, r->op, "dilations", dilations, spatial) ||
      !read_numbers(r->ir, r->op, "low", low, spatial) ||
      !read_numbers(r->ir, r->op, "high", high, spatial) || !is_zero(&f[1].zero))
    return 0;
  for (uint32_t i = 0; i < spatial; i++)
    pads = pads || low[i] != 0 || high[i] != 0;
  if (pads && (f[0].zero.value != 0 || f[0].zero.number < (unsigned_x ? 0 : -128) ||
               f[0].zero.number > (unsigned_x ? 255 : 127)))
    return 0;
  for (uint32_t i = 0; i < rank; i++) {
    zeros[i] = tsr_expr_int(r->ir, 0);
    axes[i] = i + 1;
    dims[i] = tsr_expr_int(r->ir, 1);
  }
  const tsr_value result = tsr_graph_conv(&r->b, wide(r, padded(r, &f[0], low, high)),
                                          wide(r, f[1].bytes), strides, dilations, zeros, zeros, 1);
  if (is_zero(&f[0].zero))
    return result;
  const tsr_value sum = tsr_graph_reduce(&r->b, wide(r, f[1].bytes), "add", axes, rank - 1);
  dims[1] = tsr_value_type(r->ir, f[1].bytes)->dims[0];
  const tsr_value shaped = tsr_graph_reshape(&r->b, sum, dims, rank);
  return less(r, result, &f[0].zero, is_constant(r, f[1].bytes) ? folded(r, shaped) : shaped);
}

/* --- the pass --- */

/* The factor that is no constant moves to the other sign: a constant that moved would have a zero
 * point, which costs sums over the other side, and convolutions take none there. */
static void make_signs_differ(rewriting *r, factor *f, const bool *constant) {
  if (dtype_of(r->ir, f[0].bytes) != dtype_of(r->ir, f[1].bytes))
    return;
  change_sign(r, &f[constant[0] ? 1 : 0]);
}

static tsr_status rewrite(rewriting *r) {
  const tsr_op_data op = *tsr_op_get(r->ir, r->op);
  const tsr_value results[1] = {op.results[0]},
                  sides[2] = {op.operands[0].value, op.operands[1].value};
  const tsr_op last = tsr_region_get(r->ir, op.parent)->last;
  factor f[2];
  bool constant[2];
  r->b = (tsr_builder){.ir = r->ir, .region = op.parent};
  for (unsigned i = 0; i < 2; i++)
    TSR_TRY(read_constant(r, sides[i], &f[i], &constant[i]));
  bool fits = !constant[0] || !constant[1];
  for (unsigned i = 0; i < 2 && fits; i++)
    fits = constant[i] || read_factor(r, sides[i], &f[i]);
  tsr_value made = 0;
  if (fits) {
    make_signs_differ(r, f, constant);
    made = op.code == TSR_OP_EINSUM ? rewrite_einsum(r, f) : rewrite_conv(r, f);
  }
  r->added = r->added || tsr_op_get(r->ir, last)->next != 0;
  tsr_move_added(r->ir, last, r->op);
  if (made != 0 && tsr_value_get(r->ir, made)->type == tsr_value_get(r->ir, results[0])->type)
    tsr_value_replace_all(r->ir, results[0], made);
  return r->status != TSR_OK ? r->status : tsr_ir_status(r->ir);
}

static bool multiplies_integers(const tsr_ir *ir, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  return (data->code == TSR_OP_EINSUM || data->code == TSR_OP_CONV) &&
         dtype_of(ir, data->results[0]) == TSR_I32 &&
         dtype_of(ir, data->operands[0].value) == TSR_I32 &&
         dtype_of(ir, data->operands[1].value) == TSR_I32;
}

static tsr_status rewrite_region(tsr_ir *ir, tsr_region region, tsr_diag *diag) {
  rewriting r = {.ir = ir, .diag = diag};
  bool shared = false, dropped = false;
  for (tsr_op op = tsr_region_get(ir, region)->first, next; op != 0; op = next) {
    next = tsr_op_get(ir, op)->next;
    r.op = op;
    if (multiplies_integers(ir, op))
      TSR_TRY(rewrite(&r));
  }
  if (!r.added)
    return TSR_OK;
  TSR_TRY(tsr_cse_region(ir, region, diag, &shared));
  return tsr_dce_region(ir, region, diag, &dropped);
}

tsr_status tsr_pass_bytes(tsr_ir *ir, const tsr_pass_options *options, tsr_diag *diag) {
  if (!options->byte_products)
    return TSR_OK;
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op)
    if (tsr_op_get(ir, op)->code == TSR_OP_GRAPH) {
      const tsr_status status = rewrite_region(ir, tsr_op_get(ir, op)->regions[0], diag);
      if (status != TSR_OK)
        return tsr_fail(diag, status, "bytes: %s", tsr_ir_diag(ir)->message);
    }
  return TSR_OK;
}
