/* Elementwise arithmetic on contents: shape arithmetic becomes index expressions, and what models
 * compute from constants becomes constants. Anything in doubt (overflow, an order that the bounds
 * of dims do not decide) is left to the graph. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"
#include "runtime/float_convert.h"
#include <math.h>
#include <string.h>

typedef struct item {
  tsr_expr e;
  double f;
} item;

/* Elements of a result that is folded here; larger constants are the passes' business. */
enum { MOST_ELEMENTS = 256 };

/* Numbers beside symbolic dims stay below this, so that expressions cannot overflow. */
static const int64_t symbolic_limit = (int64_t)1 << 40;

static bool fits(tsr_dtype dtype, int64_t number) {
  unsigned bits = tsr_dtype_bits(dtype);
  if (dtype == TSR_BOOL)
    return number == 0 || number == 1;
  if (tsr_dtype_class_of(dtype) == TSR_CLASS_UINT)
    return number >= 0 && (bits >= 63 || number < (int64_t)1 << bits);
  return bits >= 64 || (number >= -((int64_t)1 << (bits - 1)) && number < (int64_t)1 << (bits - 1));
}

static double rounded(tsr_dtype dtype, double value) {
  if (dtype == TSR_F64)
    return value;
  return tsr_float_decode(dtype, tsr_float_encode(dtype, value, TSR_OVERFLOW_SATURATE));
}

static bool integer_result(tsr_opcode code, int64_t a, int64_t b, int64_t *out) {
  switch (code) {
  case TSR_OP_ADD:
    return !__builtin_add_overflow(a, b, out);
  case TSR_OP_SUB:
    return !__builtin_sub_overflow(a, b, out);
  case TSR_OP_MUL:
    return !__builtin_mul_overflow(a, b, out);
  case TSR_OP_DIV:
    *out = b == 0 || b == -1 ? 0 : a / b;
    return b != 0 && b != -1;
  case TSR_OP_MOD:
    *out = b == 0 || b == -1 ? 0 : a % b;
    *out += *out != 0 && (*out < 0) != (b < 0) ? b : 0;
    return b != 0 && b != -1;
  case TSR_OP_MIN:
    *out = a < b ? a : b;
    return true;
  case TSR_OP_MAX:
    *out = a > b ? a : b;
    return true;
  case TSR_OP_EQ:
    *out = a == b;
    return true;
  case TSR_OP_NE:
    *out = a != b;
    return true;
  case TSR_OP_LT:
    *out = a < b;
    return true;
  case TSR_OP_LE:
    *out = a <= b;
    return true;
  case TSR_OP_GT:
    *out = a > b;
    return true;
  case TSR_OP_GE:
    *out = a >= b;
    return true;
  default:
    return false;
  }
}

static bool never_negative(tsr_lower *l, tsr_expr e) {
  return tsr_expr_prove_nonnegative(l->ir, e, NULL, 0);
}

/* 1: a < b always; 0: never; -1: depends. */
static int less(tsr_lower *l, tsr_expr a, tsr_expr b) {
  tsr_expr gap = e_sub(l, b, a);
  if (never_negative(l, tsr_expr_add_int(l->ir, gap, -1)))
    return 1;
  return never_negative(l, e_sub(l, a, b)) ? 0 : -1;
}

static bool compare_symbolic(tsr_lower *l, tsr_opcode code, tsr_expr a, tsr_expr b, int *out) {
  int below = less(l, a, b), above = less(l, b, a);
  int equal = a == b ? 1 : below == 1 || above == 1 ? 0 : -1;
  switch (code) {
  case TSR_OP_EQ:
    *out = equal;
    break;
  case TSR_OP_NE:
    *out = equal < 0 ? -1 : !equal;
    break;
  case TSR_OP_LT:
    *out = below;
    break;
  case TSR_OP_GE:
    *out = below < 0 ? -1 : !below;
    break;
  case TSR_OP_GT:
    *out = above;
    break;
  default:
    *out = above < 0 ? -1 : !above;
  }
  return *out >= 0;
}

/* Towards zero, by a divisor that is at least 1: a quotient each for what is above 0 and below. */
static tsr_expr truncated_quotient(tsr_lower *l, tsr_expr a, tsr_expr b) {
  tsr_expr zero = e_int(l, 0);
  tsr_expr above = tsr_expr_binary(l->ir, TSR_INDEX_FLOORDIV, e_max(l, a, zero), b);
  tsr_expr least = tsr_expr_add_int(l->ir, e_sub(l, zero, b), 1);
  if (never_negative(l, e_sub(l, a, least)))
    return above;
  tsr_expr below = e_max(l, tsr_expr_mul_int(l->ir, a, -1), zero);
  return e_sub(l, above, tsr_expr_binary(l->ir, TSR_INDEX_FLOORDIV, below, b));
}

/* What the bounds of dims do not decide: an expression that is 0 or 1. */
static tsr_expr comparison(tsr_lower *l, tsr_opcode code, tsr_expr a, tsr_expr b) {
  switch (code) {
  case TSR_OP_EQ:
    return tsr_expr_binary(l->ir, TSR_INDEX_EQ, a, b);
  case TSR_OP_NE:
    return tsr_expr_binary(l->ir, TSR_INDEX_NE, a, b);
  case TSR_OP_LT:
    return tsr_expr_binary(l->ir, TSR_INDEX_LT, a, b);
  case TSR_OP_GE:
    return tsr_expr_binary(l->ir, TSR_INDEX_LE, b, a);
  case TSR_OP_GT:
    return tsr_expr_binary(l->ir, TSR_INDEX_LT, b, a);
  default:
    return tsr_expr_binary(l->ir, TSR_INDEX_LE, a, b);
  }
}

static bool symbolic_result(tsr_lower *l, tsr_opcode code, tsr_expr a, tsr_expr b, tsr_expr *out) {
  int truth;
  switch (code) {
  case TSR_OP_ADD:
    *out = e_add(l, a, b);
    return true;
  case TSR_OP_SUB:
    *out = e_sub(l, a, b);
    return true;
  case TSR_OP_MUL:
    *out = e_mul(l, a, b);
    return true;
  case TSR_OP_MIN:
    *out = e_min(l, a, b);
    return true;
  case TSR_OP_MAX:
    *out = e_max(l, a, b);
    return true;
  case TSR_OP_DIV:
  case TSR_OP_MOD:
    if (!never_negative(l, tsr_expr_add_int(l->ir, b, -1)))
      return false;
    *out = code == TSR_OP_DIV ? truncated_quotient(l, a, b)
                              : tsr_expr_binary(l->ir, TSR_INDEX_MOD, a, b);
    return true;
  case TSR_OP_AND:
  case TSR_OP_OR:
    *out = tsr_expr_binary(l->ir, code == TSR_OP_AND ? TSR_INDEX_AND : TSR_INDEX_OR, a, b);
    return true;
  default:
    if (tsr_opcode_info(code)->kind != TSR_KIND_COMPARE)
      return false;
    *out = compare_symbolic(l, code, a, b, &truth) ? e_int(l, truth) : comparison(l, code, a, b);
    return true;
  }
}

static bool small(tsr_lower *l, tsr_expr e) {
  int64_t number;
  return !tsr_expr_is_int(l->ir, e, &number) ||
         (number > -symbolic_limit && number < symbolic_limit);
}

static bool logical(tsr_opcode code, int64_t a, int64_t b, int64_t *out) {
  *out = code == TSR_OP_AND ? a & b : code == TSR_OP_OR ? a | b : a ^ b;
  return code == TSR_OP_AND || code == TSR_OP_OR || code == TSR_OP_XOR;
}

static bool integer_binary(tsr_lower *l, tsr_opcode code, tsr_dtype in, tsr_dtype dtype, item a,
                           item b, item *out) {
  int64_t x, y, number;
  bool known_x = tsr_expr_is_int(l->ir, a.e, &x), known_y = tsr_expr_is_int(l->ir, b.e, &y);
  if (known_x && known_y) {
    bool good = in == TSR_BOOL && logical(code, x, y, &number);
    good = good || integer_result(code, x, y, &number);
    if (!good || !fits(dtype, number))
      return false;
    out->e = e_int(l, number);
    return true;
  }
  if ((code == TSR_OP_AND || code == TSR_OP_OR) && in != TSR_BOOL)
    return false;
  return small(l, a.e) && small(l, b.e) && symbolic_result(l, code, a.e, b.e, &out->e);
}

static bool float_compare(tsr_opcode code, double a, double b, int64_t *out) {
  switch (code) {
  case TSR_OP_EQ:
    *out = a == b;
    return true;
  case TSR_OP_NE:
    *out = a != b;
    return true;
  case TSR_OP_LT:
    *out = a < b;
    return true;
  case TSR_OP_LE:
    *out = a <= b;
    return true;
  case TSR_OP_GT:
    *out = a > b;
    return true;
  case TSR_OP_GE:
    *out = a >= b;
    return true;
  default:
    return false;
  }
}

static bool float_binary(tsr_lower *l, tsr_opcode code, tsr_dtype dtype, item a, item b,
                         item *out) {
  int64_t truth;
  if (float_compare(code, a.f, b.f, &truth)) {
    out->e = e_int(l, truth);
    return true;
  }
  switch (code) {
  case TSR_OP_ADD:
    out->f = rounded(dtype, a.f + b.f);
    return true;
  case TSR_OP_SUB:
    out->f = rounded(dtype, a.f - b.f);
    return true;
  case TSR_OP_MUL:
    out->f = rounded(dtype, a.f * b.f);
    return true;
  case TSR_OP_DIV:
    out->f = rounded(dtype, a.f / b.f);
    return true;
  default:
    return false;
  }
}

static bool float_unary(tsr_opcode code, tsr_dtype dtype, double x, double *out) {
  switch (code) {
  case TSR_OP_NEG:
    *out = -x;
    return true;
  case TSR_OP_ABS:
    *out = fabs(x);
    return true;
  case TSR_OP_FLOOR:
    *out = floor(x);
    return true;
  case TSR_OP_CEIL:
    *out = ceil(x);
    return true;
  case TSR_OP_ROUND:
    *out = nearbyint(x);
    return true;
  case TSR_OP_SQRT:
    *out = rounded(dtype, sqrt(x));
    return true;
  default:
    return false;
  }
}

static bool integer_unary(tsr_lower *l, tsr_opcode code, tsr_dtype dtype, tsr_expr x,
                          tsr_expr *out) {
  int64_t number;
  bool known = tsr_expr_is_int(l->ir, x, &number);
  if (code == TSR_OP_NOT && dtype == TSR_BOOL)
    *out = known ? e_int(l, !number) : tsr_expr_binary(l->ir, TSR_INDEX_EQ, x, e_int(l, 0));
  else if (code == TSR_OP_NEG && (!known || number != INT64_MIN) &&
           tsr_dtype_class_of(dtype) == TSR_CLASS_INT)
    *out = tsr_expr_mul_int(l->ir, x, -1);
  else if (code == TSR_OP_ABS && never_negative(l, x))
    *out = x;
  else
    return false;
  return !tsr_expr_is_int(l->ir, *out, &number) || fits(dtype, number);
}

/* --- the walk over elements --- */

typedef struct walk {
  tsr_lower *l;
  tsr_expr dims[TSR_MAX_RANK];
  int64_t extents[TSR_MAX_RANK];
  uint32_t rank;
  uint64_t count;
} walk;

static bool begin_walk(walk *w, tsr_lower *l, uint32_t inputs) {
  tsr_type_info all = {.level = TSR_LEVEL_GLOBAL}, next = all;
  memset(w, 0, sizeof *w);
  w->l = l;
  if (l->in_count < inputs || (l->opset < 7 && tsr_lower_int(l, "broadcast", 0) != 0))
    return false;
  for (uint32_t i = 0; i < inputs; i++) {
    tsr_expr dims[TSR_MAX_RANK] = {0};
    if (!tsr_lower_has(l, i) || !tsr_imported_content(l, l->in[i]))
      return false;
    next.rank = l->in[i]->rank;
    next.dims = l->in[i]->dims;
    if (!tsr_broadcast_dims(l->ir, &all, &next, dims, &w->rank))
      return false;
    memcpy(w->dims, dims, sizeof dims);
    all.rank = w->rank;
    all.dims = w->dims;
  }
  w->count = 1;
  for (uint32_t i = 0; i < w->rank; i++) {
    if (!tsr_expr_is_int(l->ir, w->dims[i], &w->extents[i]))
      return false;
    w->count *= (uint64_t)w->extents[i];
    if (w->count > MOST_ELEMENTS)
      return false;
  }
  return true;
}

/* Element number `index` of the result, read from input `input` by broadcasting. */
static item read_item(const walk *w, uint32_t input, uint64_t index) {
  const tsr_imported *x = w->l->in[input];
  uint64_t offset = 0, stride = 1;
  for (uint32_t i = 0; i < w->rank; i++) {
    uint32_t axis = w->rank - 1 - i;
    uint64_t at = index % (uint64_t)w->extents[axis];
    index /= (uint64_t)w->extents[axis];
    if (i < x->rank && !tsr_expr_equals_int(w->l->ir, x->dims[x->rank - 1 - i], 1)) {
      offset += at * stride;
      stride *= (uint64_t)w->extents[axis];
    }
  }
  item found = {0, 0};
  if (x->content->floats)
    found.f = x->content->floats[offset];
  else
    found.e = x->content->exprs[offset];
  return found;
}

static bool is_float(tsr_dtype dtype) {
  return tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT;
}

static bool finish_walk(walk *w, tsr_dtype dtype, const item *items) {
  tsr_content content = {.count = w->count};
  double *floats = tsr_lower_alloc(w->l, w->count, sizeof *floats);
  tsr_expr *exprs = tsr_lower_alloc(w->l, w->count, sizeof *exprs);
  if (!floats || !exprs)
    return false;
  for (uint64_t i = 0; i < w->count; i++) {
    floats[i] = items[i].f;
    exprs[i] = items[i].e;
  }
  if (is_float(dtype))
    content.floats = floats;
  else
    content.exprs = exprs;
  tsr_lower_set_content(w->l, 0, dtype, w->dims, w->rank, &content);
  return true;
}

bool tsr_fold_binary(tsr_lower *l) {
  walk w;
  tsr_opcode code = (tsr_opcode)l->arg;
  if (!begin_walk(&w, l, 2) || l->in[0]->dtype != l->in[1]->dtype || l->in_count != 2)
    return false;
  tsr_dtype in = l->in[0]->dtype;
  tsr_dtype dtype = tsr_opcode_info(code)->kind == TSR_KIND_COMPARE ? TSR_BOOL : in;
  item *items = tsr_lower_alloc(l, w.count, sizeof *items);
  for (uint64_t i = 0; items && i < w.count; i++) {
    item a = read_item(&w, 0, i), b = read_item(&w, 1, i);
    if (is_float(in) ? !float_binary(l, code, in, a, b, &items[i])
                     : !integer_binary(l, code, in, dtype, a, b, &items[i]))
      return false;
  }
  return items && finish_walk(&w, dtype, items);
}

bool tsr_fold_mod(tsr_lower *l) {
  return tsr_lower_int(l, "fmod", 0) == 0 && tsr_fold_binary(l);
}

bool tsr_fold_unary(tsr_lower *l) {
  walk w;
  if (!begin_walk(&w, l, 1))
    return false;
  tsr_dtype dtype = l->in[0]->dtype;
  item *items = tsr_lower_alloc(l, w.count, sizeof *items);
  for (uint64_t i = 0; items && i < w.count; i++) {
    item x = read_item(&w, 0, i);
    if (is_float(dtype) ? !float_unary((tsr_opcode)l->arg, dtype, x.f, &items[i].f)
                        : !integer_unary(l, (tsr_opcode)l->arg, dtype, x.e, &items[i].e))
      return false;
  }
  return items && finish_walk(&w, dtype, items);
}

bool tsr_fold_relu(tsr_lower *l) {
  walk w;
  if (!begin_walk(&w, l, 1))
    return false;
  bool floating = is_float(l->in[0]->dtype);
  item *items = tsr_lower_alloc(l, w.count, sizeof *items);
  for (uint64_t i = 0; items && i < w.count; i++) {
    items[i] = read_item(&w, 0, i);
    if (floating)
      items[i].f = items[i].f < 0 ? 0 : items[i].f;
    else
      items[i].e = e_max(l, items[i].e, e_int(l, 0));
  }
  return items && finish_walk(&w, l->in[0]->dtype, items);
}

/* A symbolic integer has no float content; a float becomes an integer where it fits. */
static bool cast_item(tsr_lower *l, tsr_dtype from, tsr_dtype to, item x, item *out) {
  int64_t number;
  bool known = is_float(from) || tsr_expr_is_int(l->ir, x.e, &number);
  if (is_float(from) && is_float(to))
    out->f = rounded(to, x.f);
  else if (is_float(to) && known)
    out->f = rounded(to, (double)number);
  else if (is_float(from)) {
    if (to == TSR_BOOL)
      out->e = e_int(l, x.f != 0);
    else if (!(fabs(x.f) < 9e15) || !fits(to, (int64_t)x.f))
      return false;
    else
      out->e = e_int(l, (int64_t)x.f);
  } else if (to == TSR_BOOL && known)
    out->e = e_int(l, number != 0);
  else if (to != TSR_BOOL && !is_float(to) && (!known || fits(to, number)))
    out->e = x.e;
  else
    return false;
  return true;
}

bool tsr_fold_cast(tsr_lower *l) {
  walk w;
  if (tsr_lower_is_text(l, 0) || !begin_walk(&w, l, 1))
    return false;
  tsr_dtype from = l->in[0]->dtype, to = tsr_onnx_dtype(tsr_lower_cast_target(l));
  if (to == TSR_DTYPE_NONE || tsr_dtype_bits(to) < 8 || (is_float(to) && tsr_dtype_bits(to) < 16))
    return false;
  item *items = tsr_lower_alloc(l, w.count, sizeof *items);
  for (uint64_t i = 0; items && i < w.count; i++)
    if (!cast_item(l, from, to, read_item(&w, 0, i), &items[i]))
      return false;
  return items && finish_walk(&w, to, items);
}

bool tsr_fold_where(tsr_lower *l) {
  walk w;
  if (!begin_walk(&w, l, 3) || l->in[1]->dtype != l->in[2]->dtype || l->in[0]->dtype != TSR_BOOL)
    return false;
  item *items = tsr_lower_alloc(l, w.count, sizeof *items);
  for (uint64_t i = 0; items && i < w.count; i++) {
    int64_t condition;
    if (!tsr_expr_is_int(l->ir, read_item(&w, 0, i).e, &condition))
      return false;
    items[i] = read_item(&w, condition ? 1 : 2, i);
  }
  return items && finish_walk(&w, l->in[1]->dtype, items);
}
