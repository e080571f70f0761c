/* What a block computes and how far a right kernel may be from it: a second block, made from the
 * first one op by op; of a group, one for each of its blocks, which hand on numbers and bounds.
 * Each float becomes a number in f64 with a bound of the absolute error that the kernel's value may
 * have; integers that depend on no float stay as they are, exact.
 *
 * Rules (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., ch. 2 to 4; u is the unit
 * roundoff of the kernel's dtype, e a bound of an operand):
 *   an op that rounds    adds its accuracy in ulps times 2 u |result|, and one subnormal;
 *   x + y                ex + ey;  x y: |x| ey + |y| ex + ex ey;  x / y: (ex + |q| ey) / (|y| - ey)
 *   f(x), f monotone     the larger of |f(x + ex) - f(x)| and |f(x - ex) - f(x)|; sin, cos: ex
 *   a sum of n terms     n u / (1 - n u) times the sum of (|x| + ex), in whatever order, plus the
 *                        sum of ex; n counts four roundings more, for atoms that split or convert
 *                        what they multiply
 *   a comparison         is uncertain where the operands are nearer than ex + ey; what it selects
 *                        may then be either
 *   a step (floor, cast to an integer) adds 1 where its operand is not exact.
 * An inexact cast to a narrower float adds its rounding; an exact one is done as the kernel does
 * it. f64 kernels are given twice as much, since the reference rounds as well. Not covered, and
 * refused: integers that depend on rounded floats in products of bits and in subscripts, combiners
 * of tuples over rounded floats, bits of rounded floats, pieces of stores that meet. */
#include "codegen/common.h"
#include "passes/point.h"
#include "tuner/memo.h"
#include <math.h>
#include <string.h>

enum { MOST_LEAVES = 256, EXTRA_ROUNDINGS = 4 };

typedef struct pair {
  tsr_value value; /* f64 for floats, else of `dtype` */
  tsr_value bound; /* f64; 0: exact. Of a bool 1 where it is uncertain, else 0 */
  tsr_dtype dtype; /* that the kernel has it in */
} pair;

/* A result of a block of the kernel's: what it is, and how far from it the kernel's may be. */
typedef struct stored {
  tsr_value old, value, bound;
  bool exact; /* all bounds are 0 */
} stored;

typedef struct making {
  tsr_ir *ir;
  tsr_diag *diag;
  tsr_op old; /* the block that is being made */
  tsr_point e;
  pair *pairs; /* by value of the old block */
  uint32_t pair_count;
  stored *stored; /* results of the blocks made so far, and of this one */
  uint32_t stored_count;
  tsr_expr from[MOST_LEAVES], to[MOST_LEAVES];
  uint32_t leaf_count;
  tsr_arena arena;
} making;

static tsr_status refuse(making *m, tsr_op op, const char *why) {
  return tsr_fail(m->diag, TSR_ERR_UNSUPPORTED,
                  "'%s' %s: how exact a kernel must be is not known, so it cannot be checked",
                  tsr_opcode_info(tsr_op_get(m->ir, op)->code)->text, why);
}

/* --- numbers --- */

static bool is_float(tsr_dtype dtype) {
  return tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT;
}

static double unit_roundoff(tsr_dtype dtype) {
  switch (dtype) {
  case TSR_F64:
    return 0x1p-52; /* twice: the reference's own */
  case TSR_F32:
    return 0x1p-24;
  case TSR_F16:
    return 0x1p-11;
  case TSR_BF16:
    return 0x1p-8;
  case TSR_F8E4M3:
  case TSR_F8E4M3UZ:
  case TSR_F6E2M3:
    return 0x1p-4;
  case TSR_F8E5M2:
  case TSR_F8E5M2UZ:
  case TSR_F6E3M2:
    return 0x1p-3;
  default:
    return 0.5;
  }
}

static double tiny(tsr_dtype dtype) {
  switch (dtype) {
  case TSR_F64:
    return 0x1p-1074;
  case TSR_F32:
    return 0x1p-149;
  case TSR_F16:
    return 0x1p-24;
  case TSR_BF16:
    return 0x1p-133;
  default:
    return 0x1p-9;
  }
}

/* In ulps, as codegen/cpu/math_emit.h promises for f32 and f64 with and without FMA; < 0: the op
 * has no figure. 0: exact. */
static double accuracy(tsr_opcode code) {
  if (tsr_codegen_is_exact(code))
    return 0;
  switch (code) {
  case TSR_OP_REM:
    return 0;
  case TSR_OP_ADD:
  case TSR_OP_SUB:
  case TSR_OP_MUL:
  case TSR_OP_DIV:
  case TSR_OP_SQRT:
  case TSR_OP_RECIP:
  case TSR_OP_MOD:
    return 0.5;
  case TSR_OP_RSQRT:
    return 2;
  default:
    return tsr_opcode_elementwise(code) ? 4.5 : -1;
  }
}

static tsr_value number(making *m, double value) {
  return tsr_point_float(&m->e, TSR_F64, value);
}

static tsr_value op2(making *m, tsr_opcode code, tsr_value x, tsr_value y) {
  return tsr_point_binary(&m->e, code, x, y);
}

static tsr_value add(making *m, tsr_value x, tsr_value y) {
  return x == 0 ? y : y == 0 ? x : op2(m, TSR_OP_ADD, x, y);
}

static tsr_value greater(making *m, tsr_value x, tsr_value y) {
  return x == 0 ? y : y == 0 ? x : op2(m, TSR_OP_MAX, x, y);
}

static tsr_value times(making *m, tsr_value x, tsr_value y) {
  return x == 0 || y == 0 ? 0 : op2(m, TSR_OP_MUL, x, y);
}

/* As f64, whatever it is. */
static tsr_value real(making *m, const pair *x) {
  return tsr_point_cast(&m->e, x->value, TSR_F64);
}

static tsr_value magnitude(making *m, const pair *x) {
  return tsr_point_unary(&m->e, TSR_OP_ABS, real(m, x));
}

static tsr_value distance(making *m, tsr_value x, tsr_value y) {
  return tsr_point_unary(&m->e, TSR_OP_ABS, op2(m, TSR_OP_SUB, x, y));
}

/* An ulp is at most 2 u |value|. */
static tsr_value rounding(making *m, tsr_dtype dtype, tsr_value value, double ulps) {
  if (ulps == 0)
    return 0;
  const tsr_value size = tsr_point_unary(&m->e, TSR_OP_ABS, value);
  return add(m, times(m, size, number(m, 2 * unit_roundoff(dtype) * ulps)), number(m, tiny(dtype)));
}

/* 1 where the condition holds, else 0. */
static tsr_value where(making *m, tsr_value condition) {
  return tsr_point_select(&m->e, condition, number(m, 1), number(m, 0));
}

static pair pair_of(making *m, tsr_value old) {
  return old < m->pair_count ? m->pairs[old] : (pair){0};
}

static void define(making *m, tsr_value old, pair made) {
  m->pairs[old] = made;
  if (!is_float(made.dtype) && made.bound == 0 && m->leaf_count < MOST_LEAVES) {
    m->from[m->leaf_count] = tsr_expr_value(m->ir, old);
    m->to[m->leaf_count++] = tsr_expr_value(m->ir, made.value);
  }
}

static tsr_dtype dtype_of(const making *m, tsr_value old) {
  return tsr_value_type(m->ir, old)->dtype;
}

/* The op on the kernel's own values, which are all exact. */
static tsr_op do_exactly(making *m, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(m->ir, op);
  tsr_value *map = tsr_arena_alloc_array(&m->arena, m->pair_count, sizeof *map);
  if (map == NULL)
    return tsr_ir_poison(m->ir, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  for (uint32_t i = 0; i < data->operand_count; i++) {
    const pair x = pair_of(m, data->operands[i].value);
    if (x.value != 0)
      map[data->operands[i].value] = tsr_point_cast(&m->e, x.value, x.dtype);
  }
  return tsr_op_clone(m->ir, op, m->e.region, map, m->pair_count);
}

/* A value of the kernel's own, exact: floats go on in f64. */
static void define_exactly(making *m, tsr_value old, tsr_value made) {
  const tsr_dtype dtype = dtype_of(m, old);
  define(m, old, (pair){is_float(dtype) ? tsr_point_cast(&m->e, made, TSR_F64) : made, 0, dtype});
}

static void all_exactly(making *m, tsr_op op) {
  const tsr_op made = do_exactly(m, op);
  const tsr_op_data *data = tsr_op_get(m->ir, op);
  for (uint32_t i = 0; made != 0 && i < data->result_count; i++)
    define_exactly(m, data->results[i], tsr_op_get(m->ir, made)->results[i]);
}

static bool operands_exact(making *m, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(m->ir, op);
  for (uint32_t i = 0; i < data->operand_count; i++)
    if (pair_of(m, data->operands[i].value).bound != 0)
      return false;
  return true;
}

/* --- elementwise --- */

static bool is_monotone(tsr_opcode code) {
  switch (code) {
  case TSR_OP_EXP:
  case TSR_OP_LOG:
  case TSR_OP_SQRT:
  case TSR_OP_ASIN:
  case TSR_OP_ACOS:
  case TSR_OP_ATAN:
  case TSR_OP_SINH:
  case TSR_OP_TANH:
  case TSR_OP_ASINH:
  case TSR_OP_ACOSH:
  case TSR_OP_ATANH:
  case TSR_OP_ERF:
  case TSR_OP_COSH: /* of |x|, and an interval around 0 reaches further at one end than inside */
    return true;
  default:
    return false;
  }
}

static tsr_value reach(making *m, tsr_opcode code, tsr_value x, tsr_value bound, tsr_value centre) {
  tsr_value most = 0;
  for (int side = 0; side < 2; side++) {
    const tsr_value moved = op2(m, side == 0 ? TSR_OP_ADD : TSR_OP_SUB, x, bound);
    most = greater(m, most, distance(m, tsr_point_unary(&m->e, code, moved), centre));
  }
  return most;
}

/* (1 / |x|) where the interval holds no 0, else without bound. */
static tsr_value away_from_zero(making *m, const pair *x) {
  const tsr_value room = op2(m, TSR_OP_SUB, magnitude(m, x), x->bound);
  return op2(m, TSR_OP_MAX, room, number(m, 0));
}

static tsr_status float_unary(making *m, tsr_op op, const pair *x, pair *out) {
  const tsr_opcode code = tsr_op_get(m->ir, op)->code;
  const double ulps = accuracy(code);
  const tsr_value made = tsr_point_unary(&m->e, code, x->value);
  tsr_value moved = 0;
  out->value = made;
  if (x->bound == 0) {
    out->bound = rounding(m, x->dtype, made, ulps);
    return TSR_OK;
  }
  switch (code) {
  case TSR_OP_NEG:
  case TSR_OP_ABS:
  case TSR_OP_SIN:
  case TSR_OP_COS:
    moved = x->bound;
    break;
  case TSR_OP_FLOOR:
  case TSR_OP_CEIL:
  case TSR_OP_TRUNC:
  case TSR_OP_ROUND:
    moved = add(m, x->bound, number(m, 1));
    break;
  case TSR_OP_SIGN:
    moved = times(m, number(m, 2), where(m, op2(m, TSR_OP_LE, magnitude(m, x), x->bound)));
    break;
  case TSR_OP_RECIP: /* |1 / x| e / (|x| - e) */
    moved = op2(m, TSR_OP_DIV, times(m, tsr_point_unary(&m->e, TSR_OP_ABS, made), x->bound),
                away_from_zero(m, x));
    break;
  case TSR_OP_RSQRT: { /* its slope is steepest at the lower end, where it is 1 / (2 t sqrt t) */
    const tsr_value low = away_from_zero(m, x);
    const tsr_value slope =
        times(m, low, times(m, number(m, 2), tsr_point_unary(&m->e, TSR_OP_SQRT, low)));
    moved = op2(m, TSR_OP_DIV, x->bound, slope);
    break;
  }
  default:
    if (!is_monotone(code))
      return refuse(m, op, "of a rounded number");
    moved = reach(m, code, x->value, x->bound, made);
    break;
  }
  out->bound = add(m, moved, rounding(m, x->dtype, made, ulps));
  return TSR_OK;
}

static tsr_value product_bound(making *m, const pair *x, const pair *y) {
  const tsr_value first = times(m, magnitude(m, x), y->bound);
  const tsr_value second = times(m, magnitude(m, y), x->bound);
  return add(m, add(m, first, second), times(m, x->bound, y->bound));
}

/* The corners of the rectangle that both are in; for functions monotone in each operand. */
static tsr_value corners(making *m, tsr_opcode code, const pair *x, const pair *y,
                         tsr_value centre) {
  tsr_value most = 0;
  for (int corner = 0; corner < 4; corner++) {
    tsr_value a = x->value, b = y->value;
    if ((corner & 1 && x->bound == 0) || (corner & 2 && y->bound == 0))
      continue;
    if (x->bound != 0)
      a = op2(m, corner & 1 ? TSR_OP_SUB : TSR_OP_ADD, a, x->bound);
    if (y->bound != 0)
      b = op2(m, corner & 2 ? TSR_OP_SUB : TSR_OP_ADD, b, y->bound);
    most = greater(m, most, distance(m, op2(m, code, a, b), centre));
  }
  return most;
}

static tsr_status binary_bound(making *m, tsr_op op, const pair *x, const pair *y, tsr_value made,
                               tsr_value *out) {
  *out = 0;
  if (x->bound == 0 && y->bound == 0)
    return TSR_OK;
  switch (tsr_op_get(m->ir, op)->code) {
  case TSR_OP_ADD:
  case TSR_OP_SUB:
    *out = add(m, x->bound, y->bound);
    return TSR_OK;
  case TSR_OP_MUL:
    *out = product_bound(m, x, y);
    return TSR_OK;
  case TSR_OP_MIN:
  case TSR_OP_MAX:
    *out = greater(m, x->bound, y->bound);
    return TSR_OK;
  case TSR_OP_DIV: {
    const tsr_value size = tsr_point_unary(&m->e, TSR_OP_ABS, tsr_point_cast(&m->e, made, TSR_F64));
    if (!is_float(x->dtype))
      return refuse(m, op, "of a rounded number");
    *out = op2(m, TSR_OP_DIV, add(m, x->bound, times(m, size, y->bound)),
               y->bound == 0 ? magnitude(m, y) : away_from_zero(m, y));
    return TSR_OK;
  }
  case TSR_OP_POW:
    *out = corners(m, TSR_OP_POW, x, y, made);
    return TSR_OK;
  case TSR_OP_AND:
  case TSR_OP_OR:
  case TSR_OP_XOR:
    *out = greater(m, x->bound, y->bound);
    return x->dtype == TSR_BOOL ? TSR_OK : refuse(m, op, "of a rounded number");
  default:
    return refuse(m, op, "of a rounded number");
  }
}

static tsr_status do_binary(making *m, tsr_op op, const pair *x, const pair *y, pair *out) {
  const tsr_opcode code = tsr_op_get(m->ir, op)->code;
  const double ulps = accuracy(code);
  out->value = op2(m, code, x->value, y->value);
  TSR_TRY(binary_bound(m, op, x, y, out->value, &out->bound));
  if (is_float(out->dtype))
    out->bound = add(m, out->bound, rounding(m, out->dtype, out->value, ulps));
  return TSR_OK;
}

static void do_compare(making *m, tsr_op op, const pair *x, const pair *y, pair *out) {
  out->value = op2(m, tsr_op_get(m->ir, op)->code, x->value, y->value);
  const tsr_value room = add(m, x->bound, y->bound);
  if (room != 0)
    out->bound = where(m, op2(m, TSR_OP_LE, distance(m, real(m, x), real(m, y)), room));
}

static void do_select(making *m, const pair *c, const pair *x, const pair *y, pair *out) {
  out->value = tsr_point_select(&m->e, c->value, x->value, y->value);
  if (x->bound != 0 || y->bound != 0)
    out->bound = tsr_point_select(&m->e, c->value, x->bound != 0 ? x->bound : number(m, 0),
                                  y->bound != 0 ? y->bound : number(m, 0));
  if (c->bound != 0) {
    const tsr_value either =
        add(m, distance(m, real(m, x), real(m, y)), greater(m, x->bound, y->bound));
    const tsr_value uncertain = op2(m, TSR_OP_GT, c->bound, number(m, 0));
    out->bound =
        tsr_point_select(&m->e, uncertain, either, out->bound != 0 ? out->bound : number(m, 0));
  }
}

static bool holds(tsr_dtype wide, tsr_dtype narrow) {
  return unit_roundoff(wide) <= unit_roundoff(narrow) && tiny(wide) <= tiny(narrow);
}

/* Of a value that is not exact. */
static void cast_inexact(making *m, const pair *x, pair *out) {
  const tsr_dtype to = out->dtype;
  out->bound = x->bound;
  if (to == TSR_BOOL) {
    out->value = op2(m, TSR_OP_NE, real(m, x), number(m, 0));
    out->bound = where(m, op2(m, TSR_OP_LE, magnitude(m, x), x->bound));
  } else if (is_float(to)) {
    out->value = real(m, x);
    if (x->dtype != TSR_BOOL && !(is_float(x->dtype) && holds(to, x->dtype)))
      out->bound = add(m, x->bound, rounding(m, to, out->value, 0.5));
  } else {
    out->value = tsr_point_cast(&m->e, x->value, to);
    if (is_float(x->dtype))
      out->bound = add(m, x->bound, number(m, 1));
  }
}

static tsr_status do_unary(making *m, tsr_op op, const pair *x, pair *out) {
  const tsr_opcode code = tsr_op_get(m->ir, op)->code;
  if (code == TSR_OP_CAST) {
    cast_inexact(m, x, out);
    return TSR_OK;
  }
  if (code == TSR_OP_ISNAN || code == TSR_OP_ISINF) {
    out->value = tsr_point_unary(&m->e, code, x->value);
    return TSR_OK;
  }
  if (code == TSR_OP_BITCAST)
    return refuse(m, op, "of a rounded number");
  if (is_float(x->dtype))
    return float_unary(m, op, x, out);
  out->value = tsr_point_unary(&m->e, code, x->value);
  out->bound = x->bound;
  return code == TSR_OP_NEG || code == TSR_OP_ABS || (code == TSR_OP_NOT && x->dtype == TSR_BOOL)
             ? TSR_OK
             : refuse(m, op, "of a rounded number");
}

static tsr_status elementwise(making *m, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(m->ir, op);
  pair x[3] = {{0}}, out = {.dtype = dtype_of(m, data->results[0])};
  for (uint32_t i = 0; i < data->operand_count && i < 3; i++)
    x[i] = pair_of(m, data->operands[i].value);
  /* What does not round is done as the kernel does it. */
  if (operands_exact(m, op) &&
      (!is_float(out.dtype) || accuracy(data->code) == 0 || data->code == TSR_OP_SELECT ||
       data->code == TSR_OP_CAST || data->code == TSR_OP_BITCAST)) {
    all_exactly(m, op);
    return TSR_OK;
  }
  switch (tsr_opcode_info(data->code)->kind) {
  case TSR_KIND_UNARY:
    TSR_TRY(do_unary(m, op, &x[0], &out));
    break;
  case TSR_KIND_BINARY:
    TSR_TRY(do_binary(m, op, &x[0], &x[1], &out));
    break;
  case TSR_KIND_COMPARE:
    do_compare(m, op, &x[0], &x[1], &out);
    break;
  default:
    do_select(m, &x[0], &x[1], &x[2], &out);
    break;
  }
  define(m, data->results[0], out);
  return TSR_OK;
}

/* --- reductions --- */

static tsr_expr mapped(making *m, tsr_expr expr) {
  return tsr_expr_substitute(m->ir, expr, m->from, m->to, m->leaf_count);
}

/* The terms of a sum, the dims at their hints. */
static double terms_of(const making *m, tsr_op op) {
  const tsr_attr *over = tsr_op_attr(m->ir, op, "over");
  const tsr_region body = tsr_op_get(m->ir, m->old)->regions[0];
  const tsr_region_data *region = tsr_region_get(m->ir, body);
  double terms = 1;
  for (uint32_t i = 0; i < region->arg_count; i++) {
    const tsr_value_data *arg = tsr_value_get(m->ir, region->args[i]);
    bool reduced = arg->role == TSR_ROLE_RED && over == NULL;
    for (uint32_t k = 0; over != NULL && over->kind == TSR_ATTR_EXPRS && k < over->count; k++)
      reduced = reduced || tsr_expr_get(m->ir, over->u.exprs[k]).value == region->args[i];
    int64_t extent = 1;
    if (reduced && tsr_expr_at_hints(m->ir, arg->hi, &extent) == TSR_OK)
      terms *= (double)(extent > 0 ? extent : 1);
  }
  return terms;
}

static tsr_value reduce(making *m, tsr_op op, const char *combine, tsr_value x) {
  const tsr_attr *over = tsr_op_attr(m->ir, op, "over");
  const tsr_op made = tsr_op_append(m->ir, m->e.region, TSR_OP_REDUCE);
  tsr_expr axes[TSR_MAX_RANK * 2];
  tsr_op_add_operand(m->ir, made, x);
  tsr_op_set_string(m->ir, made, "combine", combine);
  if (over != NULL && over->kind == TSR_ATTR_EXPRS && over->count <= TSR_MAX_RANK * 2) {
    for (uint32_t i = 0; i < over->count; i++)
      axes[i] = mapped(m, over->u.exprs[i]);
    tsr_op_set_exprs(m->ir, made, "over", axes, over->count);
  }
  return tsr_op_add_result(m->ir, made, tsr_value_get(m->ir, x)->type);
}

static void do_sum(making *m, tsr_op op, const pair *x, pair *out) {
  const double n = (terms_of(m, op) + (double)EXTRA_ROUNDINGS) * unit_roundoff(x->dtype);
  out->value = reduce(m, op, "add", x->value);
  if (is_float(x->dtype)) {
    const tsr_value size = add(m, magnitude(m, x), x->bound);
    out->bound = times(m, number(m, n < 1 ? n / (1 - n) : INFINITY), reduce(m, op, "add", size));
  }
  if (x->bound != 0)
    out->bound = add(m, out->bound, reduce(m, op, "add", x->bound));
}

static tsr_status reduction(making *m, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(m->ir, op);
  const char *combine = tsr_op_string(m->ir, op, "combine");
  const bool exact = operands_exact(m, op);
  const pair x = pair_of(m, data->operands[0].value);
  pair out = {.dtype = x.dtype};
  if (combine == NULL || data->operand_count != 1) {
    if (!exact)
      return refuse(m, op, "by a combiner of tuples, of rounded numbers");
    all_exactly(m, op);
    return TSR_OK;
  }
  if (strcmp(combine, "add") == 0 && (is_float(x.dtype) || !exact)) {
    do_sum(m, op, &x, &out);
  } else if (exact && !(is_float(x.dtype) && strcmp(combine, "mul") == 0)) {
    all_exactly(m, op);
    return TSR_OK;
  } else if (strcmp(combine, "mul") == 0 && exact) {
    const double n = terms_of(m, op) * unit_roundoff(x.dtype);
    out.value = reduce(m, op, combine, x.value);
    out.bound = add(m,
                    times(m, number(m, n < 1 ? n / (1 - n) : INFINITY),
                          tsr_point_unary(&m->e, TSR_OP_ABS, out.value)),
                    number(m, tiny(x.dtype)));
  } else if (strcmp(combine, "max") == 0 || strcmp(combine, "min") == 0 ||
             (x.dtype == TSR_BOOL && strcmp(combine, "mul") != 0)) {
    out.value = reduce(m, op, combine, x.value);
    out.bound = reduce(m, op, "max", x.bound);
  } else {
    return refuse(m, op, "of rounded numbers");
  }
  define(m, data->results[0], out);
  return TSR_OK;
}

/* --- memory --- */

static tsr_status subscripts_of(making *m, tsr_op op, const tsr_operand *operand, tsr_expr *out) {
  for (uint32_t i = 0; i < operand->subscript_count; i++) {
    for (tsr_value value = 1; value < m->pair_count; value++)
      if (m->pairs[value].bound != 0 && !is_float(m->pairs[value].dtype) &&
          tsr_expr_uses_value(m->ir, operand->subscripts[i], value))
        return refuse(m, op, "at a position that depends on rounded numbers");
    out[i] = mapped(m, operand->subscripts[i]);
  }
  return TSR_OK;
}

static stored *stored_of(making *m, tsr_value old) {
  for (uint32_t i = 0; i < m->stored_count; i++)
    if (m->stored[i].old == old)
      return &m->stored[i];
  return NULL;
}

/* What another block of a group has stored, with its bound. */
static tsr_status load_stored(making *m, tsr_op op, const stored *from) {
  const tsr_op_data *data = tsr_op_get(m->ir, op);
  const tsr_operand *at = &data->operands[0];
  tsr_expr subscripts[TSR_MAX_RANK];
  pair out = {.dtype = dtype_of(m, data->results[0])};
  if (data->code != TSR_OP_LOAD || data->attr_count > 0)
    return refuse(m, op, "with padding, of what another block stores");
  TSR_TRY(subscripts_of(m, op, at, subscripts));
  out.value = tsr_point_load(&m->e, from->value, subscripts, at->subscript_count);
  if (!from->exact)
    out.bound = tsr_point_load(&m->e, from->bound, subscripts, at->subscript_count);
  define(m, data->results[0], out);
  return TSR_OK;
}

static tsr_status load(making *m, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(m->ir, op);
  const stored *from = stored_of(m, data->operands[0].value);
  tsr_expr subscripts[TSR_MAX_RANK];
  if (from != NULL)
    return load_stored(m, op, from);
  TSR_TRY(subscripts_of(m, op, &data->operands[0], subscripts));
  const tsr_op made = tsr_op_append(m->ir, m->e.region, data->code);
  tsr_op_add_element(m->ir, made, data->operands[0].value, subscripts,
                     data->operands[0].subscript_count);
  for (uint32_t i = 0; i < data->attr_count; i++)
    tsr_op_set_attr(m->ir, made, &data->attrs[i]);
  define_exactly(m, data->results[0],
                 tsr_op_add_result(m->ir, made, tsr_value_get(m->ir, data->results[0])->type));
  return TSR_OK;
}

static tsr_status store(making *m, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(m->ir, op);
  stored *to = stored_of(m, data->operands[1].value);
  const pair x = pair_of(m, data->operands[0].value);
  const uint32_t rank = data->operands[1].subscript_count;
  tsr_expr subscripts[TSR_MAX_RANK];
  if (tsr_op_attr(m->ir, op, "combine") != NULL)
    return refuse(m, op, "that adds to what others store");
  TSR_TRY(subscripts_of(m, op, &data->operands[1], subscripts));
  if (to == NULL)
    return refuse(m, op, "to what is no result of the block");
  to->exact = to->exact && x.bound == 0;
  tsr_point_store(&m->e, x.value, to->value, subscripts, rank);
  tsr_point_store(&m->e, x.bound != 0 ? x.bound : number(m, 0), to->bound, subscripts, rank);
  return TSR_OK;
}

static tsr_status index_value(making *m, tsr_op op) {
  const tsr_attr *value = tsr_op_attr(m->ir, op, "value");
  const tsr_value old = tsr_op_get(m->ir, op)->results[0];
  if (value == NULL || value->kind != TSR_ATTR_EXPR) {
    all_exactly(m, op);
    return TSR_OK;
  }
  define_exactly(m, old, tsr_point_index(&m->e, dtype_of(m, old), mapped(m, value->u.expr)));
  return TSR_OK;
}

static tsr_status make_op(making *m, tsr_op op) {
  const tsr_opcode code = tsr_op_get(m->ir, op)->code;
  switch (code) {
  case TSR_OP_LOAD:
  case TSR_OP_GATHER_LOAD:
    return load(m, op);
  case TSR_OP_STORE:
    return store(m, op);
  case TSR_OP_REDUCE:
    return reduction(m, op);
  case TSR_OP_INDEX:
    return index_value(m, op);
  case TSR_OP_CONST:
    all_exactly(m, op);
    return TSR_OK;
  default:
    return tsr_opcode_elementwise(code) ? elementwise(m, op) : refuse(m, op, "in a block");
  }
}

/* --- the block --- */

static void add_axes(making *m) {
  const tsr_region old = tsr_op_get(m->ir, m->old)->regions[0];
  const uint32_t count = tsr_region_get(m->ir, old)->arg_count;
  for (uint32_t i = 0; i < count; i++) {
    const tsr_value axis = tsr_region_get(m->ir, old)->args[i];
    const tsr_value_data *data = tsr_value_get(m->ir, axis);
    int64_t step = 1;
    (void)tsr_expr_is_int(m->ir, data->step, &step);
    const tsr_value made = tsr_region_add_index(m->ir, m->e.region, data->role, mapped(m, data->lo),
                                                mapped(m, data->hi), step);
    m->from[m->leaf_count] = tsr_expr_value(m->ir, axis);
    m->to[m->leaf_count++] = tsr_expr_value(m->ir, made);
  }
}

static void add_results(making *m) {
  const uint32_t count = tsr_op_get(m->ir, m->old)->result_count;
  for (uint32_t i = 0; i < count; i++) {
    stored *made = &m->stored[m->stored_count++];
    *made = (stored){.old = tsr_op_get(m->ir, m->old)->results[i], .exact = true};
    tsr_type_info type = *tsr_value_type(m->ir, made->old);
    type.dtype = is_float(type.dtype) ? TSR_F64 : type.dtype;
    made->value = tsr_point_result(&m->e, &type);
    type.dtype = TSR_F64;
    made->bound = tsr_point_result(&m->e, &type);
  }
}

/* The block's, in front of `before`. */
static tsr_status make_block(making *m, tsr_op block, tsr_op before) {
  m->old = block;
  m->leaf_count = 0;
  m->e = tsr_point_begin(m->ir, TSR_OP_BLOCK, before);
  add_axes(m);
  add_results(m);
  TSR_FOR_EACH_OP (m->ir, tsr_op_get(m->ir, block)->regions[0], op)
    TSR_TRY(make_op(m, op));
  return TSR_OK;
}

/* Blocks of a group read what those before them have stored. */
static tsr_status make_all(making *m, tsr_op kernel) {
  if (tsr_op_get(m->ir, kernel)->code != TSR_OP_GROUP)
    return make_block(m, kernel, kernel);
  TSR_FOR_EACH_OP (m->ir, tsr_op_get(m->ir, kernel)->regions[0], op)
    if (tsr_op_get(m->ir, op)->code == TSR_OP_BLOCK)
      TSR_TRY(make_block(m, op, kernel));
  return TSR_OK;
}

static uint32_t results_within(const tsr_ir *ir, tsr_op kernel) {
  uint32_t count = tsr_op_get(ir, kernel)->result_count;
  if (tsr_op_get(ir, kernel)->code == TSR_OP_GROUP)
    TSR_FOR_EACH_OP (ir, tsr_op_get(ir, kernel)->regions[0], op)
      count += tsr_op_get(ir, op)->result_count;
  return count;
}

/* What holds the kernel's result of that number. */
static const stored *result_of(making *m, tsr_op kernel, uint32_t number) {
  const tsr_op_data *data = tsr_op_get(m->ir, kernel);
  tsr_value old = data->results[number];
  if (data->code == TSR_OP_GROUP) {
    const tsr_op yield = tsr_region_get(m->ir, data->regions[0])->last;
    old = tsr_op_get(m->ir, yield)->operands[number].value;
  }
  return stored_of(m, old);
}

static void add_output(making *m, tsr_region graph, tsr_value value, char kind, uint32_t number) {
  const tsr_op output = tsr_op_append(m->ir, graph, TSR_OP_OUTPUT);
  const char *name = tsr_arena_printf(&m->arena, "%c%u", kind, number);
  tsr_op_add_operand(m->ir, output, value);
  if (name != NULL)
    tsr_op_set_string(m->ir, output, "name", name);
}

static tsr_status replace_outputs(making *m, tsr_op kernel) {
  const tsr_region graph = tsr_op_get(m->ir, kernel)->parent;
  const uint32_t count = tsr_op_get(m->ir, kernel)->result_count;
  for (tsr_op op = tsr_region_get(m->ir, graph)->first, next; op != 0; op = next) {
    next = tsr_op_get(m->ir, op)->next;
    if (tsr_op_get(m->ir, op)->code == TSR_OP_OUTPUT)
      tsr_op_erase(m->ir, op);
  }
  for (uint32_t i = 0; i < count; i++) {
    const stored *result = result_of(m, kernel, i);
    if (result == NULL)
      return tsr_fail(m->diag, TSR_ERR_INTERNAL, "a kernel's result that no block stores");
    add_output(m, graph, result->value, 'y', i);
    add_output(m, graph, result->bound, 'e', i);
  }
  tsr_op_erase(m->ir, kernel);
  return TSR_OK;
}

tsr_status tsr_reference_block(tsr_ir *ir, tsr_op block, tsr_diag *diag) {
  making m = {.ir = ir, .diag = diag, .old = block, .pair_count = tsr_value_count(ir) + 1};
  tsr_arena_init(&m.arena, tsr_ir_allocator(ir));
  m.pairs = tsr_arena_alloc_array(&m.arena, m.pair_count, sizeof *m.pairs);
  m.stored = tsr_arena_alloc_array(&m.arena, results_within(ir, block), sizeof *m.stored);
  if (m.pairs == NULL || m.stored == NULL) {
    tsr_arena_reset(&m.arena);
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  }
  tsr_status status = make_all(&m, block);
  if (status == TSR_OK)
    status = replace_outputs(&m, block);
  if (status == TSR_OK && tsr_ir_status(ir) != TSR_OK)
    status = tsr_fail(diag, tsr_ir_status(ir), "%s", tsr_ir_diag(ir)->message);
  tsr_arena_reset(&m.arena);
  return status;
}
